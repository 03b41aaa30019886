"""YAML files with line numbers, so that errors can give the file and the line."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from jettagger.display import Brief
from jettagger.errors import ConfigError, JettaggerError, hint, nearest
from jettagger.files import refuse_special

__all__ = ["Document", "FlowList", "check_keys", "composed", "kind_of", "lines_of", "read_yaml", "yaml_text"]

#: path inside a document: keys and indices from the top
Path_ = tuple[Any, ...]


@dataclass(frozen=True)
class Document(Brief):
    """The content of a YAML text, and the line of each part of it.

    Attributes
    ----------
    data : object
        Dictionaries, lists, strings, numbers, booleans and None.
    name : str
        Name of the file, for messages.
    lines : dict
        Path inside the document (keys and indices from the top) -> line number from 1.
    """

    data: Any
    name: str
    lines: Mapping[Path_, int]

    @property
    def digest(self) -> str:
        """SHA-256 of the content, independent of the layout of the text."""
        return hashlib.sha256(repr(self.data).encode()).hexdigest()

    def where(self, *path: Any) -> str:
        """File and line of a part, e.g. ``"search.yaml, line 12"``; those of its parent if it is absent."""
        while path and path not in self.lines:
            path = path[:-1]
        line = self.lines.get(path)
        return f"{self.name}, line {line}" if line else self.name

    @contextmanager
    def at(self, *path: Any) -> Iterator[None]:
        """Add the file and the line of a part to errors raised in the block.

        Raises
        ------
        ConfigError
            For a wrong name or value, with the place in front of its message.
        JettaggerError
            Other errors, e.g. those of data files, of their own class, with the place in front of their messages.
        """
        try:
            yield
        except JettaggerError as error:
            if str(error).startswith(self.name):
                raise
            raise error.placed(self.where(*path)) from error

    def mapping(self, *path: Any) -> dict[str, Any]:
        """A part that must be a mapping with text keys.

        Raises
        ------
        ConfigError
            If it is something else.
        """
        part = self.data
        for key in path:
            part = part[key]
        if not isinstance(part, dict):
            what = f"'{path[-1]}'" if path else "the file"
            raise ConfigError(f"{self.where(*path)}: {what} must be a mapping, got {kind_of(part)}")
        return part

    def check_keys(self, allowed: Iterable[str], *path: Any, required: Iterable[str] = (), what: str = "key") -> None:
        """Refuse unknown and missing keys of a mapping.

        Raises
        ------
        ConfigError
            Gives the file, the line, the key, and the nearest allowed keys.
        """
        check_keys(self.mapping(*path), allowed, required, what=what, where=lambda key: self.where(*path, key))


def check_keys(
    mapping: Mapping[str, Any],
    allowed: Iterable[str],
    required: Iterable[str] = (),
    *,
    what: str = "key",
    where: Any = "",
) -> None:
    """Refuse unknown and missing keys of a mapping.

    Parameters
    ----------
    mapping : mapping
        The mapping.
    allowed, required : iterable of str
        Allowed keys and required keys.
    what : str
        Description of the keys.
    where : str, or callable of a key
        Place of the mapping.

    Raises
    ------
    ConfigError
        Gives the key and the nearest allowed keys.

    Examples
    --------
    >>> check_keys({"colour": 1}, ["color"], where="plots.yaml")
    Traceback (most recent call last):
        ...
    jettagger.errors.ConfigError: plots.yaml: unknown key 'colour' (nearest: color). Allowed: color
    """

    def place(key: Any) -> str:
        text = where(key) if callable(where) else where
        return f"{text}: " if text else ""

    allowed = list(allowed)
    for key in mapping:
        if key not in allowed:
            near, names = hint(str(key), allowed), ", ".join(allowed)
            raise ConfigError(
                f"{place(key)}unknown {what} {key!r}{near}. Allowed: {names}",
                where=place(key).removesuffix(": "),
                got=repr(key),
                expected=f"one of {names}",
                nearest=nearest(str(key), allowed),
            )
    for key in required:
        if key not in mapping:
            raise ConfigError(
                f"{place(key)}the {what} {key!r} is missing",
                where=place(key).removesuffix(": "),
                got="is missing",
                expected=f"the {what} {key!r}",
            )


def kind_of(value: Any) -> str:
    """The type of a value of a document, for messages."""
    names = {dict: "a mapping", list: "a list", str: "text", type(None): "nothing"}
    return names.get(type(value), f"{value!r}")


#: maximum number of entries of a configuration, counting repeated parts each time
MOST_ENTRIES = 200_000

#: maximum number of characters of a configuration
MOST_CHARACTERS = 10_000_000

#: maximum depth of nested lists and mappings
DEEPEST = 100

#: maximum number of characters of a number; reading those with base 60 (1:30:00) takes quadratic time
_LONGEST_NUMBER = 1000
_NUMBER = re.compile(r"[-+]?[0-9][0-9_:.]*")

#: libyaml's parser, if available: it is an order of magnitude faster
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):
    """The safe loader, which also reads 1e-3 as a number (YAML 1.1 wants 1.0e-3)."""


_Loader.yaml_implicit_resolvers = {
    key: [item for item in value if item[0] != "tag:yaml.org,2002:float"]
    for key, value in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_FLOAT = (
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)
_Loader.add_implicit_resolver(*_FLOAT)


class _Dumper(yaml.SafeDumper):
    """Quotes a text that this loader, or any of YAML 1.1, would take for a number."""


_Dumper.add_implicit_resolver(*_FLOAT)

#: line breaks of Unicode and the mark of byte order, which are read unchanged only where they are escaped
_BREAKS = re.compile("[\x85\u2028\u2029\ufeff]")


def _represented(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if _BREAKS.search(text) else None)


_Dumper.add_representer(str, _represented)


class FlowList(list[Any]):
    """A list that `yaml_text` writes on one line, as in ``[t1, t2]``.

    Examples
    --------
    >>> yaml_text({"EVENT": [FlowList(["t1", "t2"])]})
    'EVENT:\\n- [t1, t2]\\n'
    """


_Dumper.add_representer(
    FlowList, lambda dumper, items: dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)
)


def yaml_text(content: Any) -> str:
    """A YAML text that `read_yaml` reads unchanged: keys keep their order, text stays text.

    Parameters
    ----------
    content : object
        Dictionaries, lists, strings, numbers, booleans and None.

    Returns
    -------
    str

    Examples
    --------
    >>> yaml_text({"expression": "1e-3", "zero": 0.5})
    "expression: '1e-3'\\nzero: 0.5\\n"
    """
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


@contextmanager
def composed(
    text: str,
    name: str,
    loader: Any = _Safe,
    *,
    characters: int = MOST_CHARACTERS,
    entries: int = MOST_ENTRIES,
) -> Iterator[tuple[Any, yaml.Node | None]]:
    """The nodes of a YAML text, within limits; errors raised in the block are worded in the same way.

    Parameters
    ----------
    text : str
    name : str
        Name of the text in messages.
    loader : type
        A safe loader of PyYAML.
    characters, entries : int
        Maximum numbers; entries of repeated parts count once.

    Yields
    ------
    loader : object
        An instance, which constructs objects from nodes.
    node : yaml.Node or None
        None for an empty text.

    Raises
    ------
    ConfigError
        If it is not YAML, or exceeds the limits of a configuration in size, depth or entries; gives the place.

    Examples
    --------
    >>> with composed("a: [1, 2]", "example") as (loader, node):
    ...     loader.construct_document(node)
    {'a': [1, 2]}
    """
    if len(text) > characters:
        raise ConfigError(f"{name}: {len(text)} characters, expected at most {characters}")
    try:
        _limit(text, name, entries)
        stream = loader(text)
        yield stream, stream.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place, column = (f"{name}, line {mark.line + 1}", f" (column {mark.column + 1})") if mark else (name, "")
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        reason = "nested too deeply" if "nesting depth" in reason else reason  # libyaml has a limit of its own
        raise ConfigError(f"{place}: not valid YAML: {reason}{column}") from error
    except (ValueError, TypeError, OverflowError) as error:  # a date that is none, a key that is a list
        raise ConfigError(f"{name}: not valid YAML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{name}: not valid YAML: nested too deeply") from error


def _limit(text: str, name: str, entries: int) -> None:
    """Refuse a document that is too large, before it is constructed."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, _Safe)):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise ConfigError(f"{name}, line {line}: not valid YAML: nested too deeply, {DEEPEST} levels at most")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent):
            size = len(event.value)
            if size > _LONGEST_NUMBER and _NUMBER.fullmatch(event.value):
                raise ConfigError(f"{name}, line {line}: not valid YAML: a number of {size} digits")
        if number > 2 * entries:
            raise ConfigError(f"{name}: more than {entries} entries, expected at most that many")


def _collect(node: yaml.Node, path: Path_, lines: dict[Path_, int], name: str, loader: Any) -> None:
    if len(lines) > MOST_ENTRIES:
        raise ConfigError(
            f"{name}: more than {MOST_ENTRIES} entries, those of repeated parts included; expected at most that many"
        )
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: dict[Any, int] = {}
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, (str, int, float, bool)):
                raise ConfigError(f"{name}, line {line}: a key must be text, got {kind_of(key)}")
            if key in seen:
                message = f"the key {key!r} appears twice, first on line {seen[key]}"
                raise ConfigError(f"{name}, line {line}: {message}")
            seen[key] = line
            inside = (*path, key)
            lines[inside] = line
            _collect(value_node, inside, lines, name, loader)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            _collect(item, (*path, position), lines, name, loader)


def read_yaml(source: str | os.PathLike[str], name: str = "") -> Document:
    """Read a YAML file, or a YAML text if ``name`` is given.

    Parameters
    ----------
    source : path, or str
        The file; with ``name``, the text itself.
    name : str
        Name of the text in messages.

    Returns
    -------
    Document

    Raises
    ------
    ConfigError
        If the file cannot be read, is not YAML, or has a key twice; gives the place.

    Examples
    --------
    >>> read_yaml("a: 1\\nb: [x, y]", name="example").where("b", 1)
    'example, line 2'
    """
    if name:
        text = str(source)
    else:
        path = Path(source)
        name = str(path)
        refuse_special(path, ConfigError)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:  # also a name with a zero byte, and bytes that are no text
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"cannot read {path}: {reason}") from error
    lines: dict[Path_, int] = {}
    data = None
    with composed(text, name, _Loader) as (loader, node):
        if node is not None:
            _collect(node, (), lines, name, loader)
            data = loader.construct_document(node)
    return Document(data, name, lines)


def lines_of(text: str) -> dict[Path_, int]:
    """The lines of a JSON text, as far as it is also valid YAML, which includes most of JSON.

    Parameters
    ----------
    text : str

    Returns
    -------
    dict
        As in `Document.lines`; empty if the lines are not known.

    Examples
    --------
    >>> lines_of('{"a": 1,\\n "b": [2]}')[("b",)]
    2
    """
    lines: dict[Path_, int] = {}
    try:
        with composed(text, "json", _Loader) as (loader, node):
            if node is not None:
                _collect(node, (), lines, "json", loader)
    except ConfigError:
        return {}
    return lines
