"""The format ``.ini`` of event files, which SPANet had before December 2021, as the content of a YAML one."""

from __future__ import annotations

import ast
import configparser
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jettagger.arguments import guard
from jettagger.config.yamlfile import Document
from jettagger.errors import ConfigError, hint
from jettagger.files import refuse_special

__all__ = ["ini_document"]

#: the only input of files that list none
_SOURCE = "SOURCE"

_SECTION = re.compile(r"^\[([^\]]+)\]")
_OPTION = re.compile(r"^([^\s#;=:][^=:]*?)\s*[=:]")


def ini_document(path: str | os.PathLike[str]) -> Document:
    """Read an event file in the former format.

    A section ``[SOURCE]`` lists features with their options (or ``[INPUTS]`` lists inputs, each with its section),
    ``[EVENT]`` the particles and their permutations, and each particle has a section with ``jets`` and
    ``permutations``. Names of features are in lower case, as the original reads them.

    Parameters
    ----------
    path : path

    Returns
    -------
    Document
        With the content that a YAML event file has, and the lines of the old one.

    Raises
    ------
    ConfigError
        If the file cannot be read, is not in this format, or a section or key is missing.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "hh.ini"
    >>> _ = path.write_text("[SOURCE]\\npt = log\\n[EVENT]\\nparticles = (h)\\n[h]\\njets = (b1, b2)\\n")
    >>> ini_document(path).data["EVENT"]
    {'h': ['b1', 'b2']}
    """
    name = os.fspath(path)
    refuse_special(path, ConfigError)
    parser = configparser.ConfigParser(interpolation=None)
    try:
        text = Path(path).read_text(encoding="utf-8")
        parser.read_string(text, name)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from error
    except configparser.Error as error:
        line = getattr(error, "lineno", None) or next((number for number, _ in getattr(error, "errors", ())), None)
        place = f"{name}, line {line}" if line else name
        raise ConfigError(f"{place}: not a valid .ini file: {str(error).splitlines()[0]}") from error
    return _Converter(parser, Document(None, name, _lines(text))).document()


def _lines(text: str) -> dict[tuple[Any, ...], int]:
    lines: dict[tuple[Any, ...], int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if match := _SECTION.match(line):
            section = match[1]
            lines.setdefault((section,), number)
        elif match := _OPTION.match(line):
            lines.setdefault((section, match[1].lower()), number)
    return lines


class _Converter:
    """Sections and keys of the old file to those of YAML, with their lines."""

    def __init__(self, parser: configparser.ConfigParser, old: Document) -> None:
        self.parser = parser
        self.old = old
        self.lines: dict[tuple[Any, ...], int] = {}

    def document(self) -> Document:
        particles = self.names(self.value("EVENT", "particles"), "EVENT", "particles")
        data: dict[str, Any] = {"INPUTS": {}, "EVENT": {}, "PERMUTATIONS": {}}
        for name, kind in self.inputs():
            features = dict(self.section(name))
            data["INPUTS"].setdefault(kind, {})[name] = features
            for feature in features:
                self.copy((name, feature), ("INPUTS", kind, name, feature))
            self.copy((name,), ("INPUTS", kind, name))
        for owner in ("EVENT", *particles):
            if owner != "EVENT":
                data["EVENT"][owner] = list(self.names(self.value(owner, "jets"), owner, "jets"))
                self.copy((owner, "jets"), ("EVENT", owner))
            if entries := self.permutations(owner):
                data["PERMUTATIONS"][owner] = entries
                self.copy((owner, "permutations"), ("PERMUTATIONS", owner))
        return Document(data, self.old.name, self.lines)

    def copy(self, old: tuple[Any, ...], new: tuple[Any, ...]) -> None:
        if old in self.old.lines:
            self.lines[new] = self.old.lines[old]

    def inputs(self) -> Iterator[tuple[str, str]]:
        if not self.parser.has_section("INPUTS"):
            yield _SOURCE, "SEQUENTIAL"
            return
        for name, kind in self.section("INPUTS").items():
            yield name.upper(), kind.upper()

    def section(self, name: str) -> Mapping[str, str]:
        if not self.parser.has_section(name):
            near = hint(name, self.parser.sections())
            raise ConfigError(
                f"{self.old.name}: the section [{name}] is missing{near}; an event file of this format has [SOURCE], "
                "[EVENT] and one section for each particle. The present format is YAML, with INPUTS and EVENT"
            )
        return self.parser[name]

    def value(self, section: str, key: str) -> str:
        content = self.section(section)
        if key not in content:
            with self.old.at(section):
                raise ConfigError(f"the key {key!r} is missing in [{section}]{hint(key, content)}")
        return content[key]

    def names(self, text: str, section: str, key: str) -> list[str]:
        names = [name.strip() for name in text.strip().strip("[]").strip("()").split(",")]
        names = [name for name in names if name]
        if not names:
            with self.old.at(section, key):
                raise ConfigError(f"{key!r} of [{section}] is empty, expected names like (q1, q2, b)")
        return names

    def permutations(self, owner: str) -> list[list[str]]:
        """Tuples of names that may all be exchanged, written as a list in Python."""
        text = self.section(owner).get("permutations", "").strip()
        if not text:
            return []
        try:
            tree = ast.parse(text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            tree = None
        if isinstance(tree, ast.Constant) and tree.value is None:
            return []
        entries = tree.elts if isinstance(tree, ast.List) else [None]
        read = []
        for entry in entries:
            members = entry.elts if isinstance(entry, (ast.List, ast.Tuple)) else [entry]
            names = [member.id for member in members if isinstance(member, ast.Name)]
            if len(names) < len(members):
                with self.old.at(owner, "permutations"):
                    raise ConfigError(
                        f"'permutations' of [{owner}] must be a list of tuples of names, like [(q1, q2)], got {text!r}"
                    )
            read.append(names)
        return read


guard(globals())
