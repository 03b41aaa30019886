"""Names in the documents: modules, functions, commands and options that they mention exist."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
from functools import cache
from pathlib import Path

import pytest

from jettagger.cli import COMMANDS, parser_of

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")),
]

#: what ends a name that is a file or an address, not a module
FILES = ("md", "json", "yaml", "root", "git", "io")

#: options of other programs
FOREIGN = {"--optimizer"}  # of pyhf


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one, also one that instances of a class have."""
    words = name.split(".")
    for count in range(len(words), 0, -1):
        try:
            place: object = importlib.import_module(".".join(words[:count]))
        except ImportError:
            continue
        for word in words[count:]:
            if isinstance(place, type) and word in getattr(place, "__annotations__", {}):
                return True
            if not hasattr(place, word):
                return False
            place = getattr(place, word)
        return True
    return False


def dotted_names(text: str) -> set[str]:
    """The names of the package in a text; ``jt`` stands for it in the documents."""
    found = {
        f"jettagger{rest}"
        for _, rest in re.findall(r"(?<![\w./-])(jettagger|jt)((?:\.[A-Za-z_]\w*)+)", text)
        if rest.rpartition(".")[2] not in FILES
    }
    for module, names in re.findall(r"from (jettagger(?:\.\w+)*) import ([\w, ]+)", text):
        found |= {f"{module}.{name.split(' as ')[0].strip()}" for name in names.split(",") if name.strip()}
    return found


@cache
def options_of(verb: str) -> set[str]:
    """The options of a command and of what it is divided into."""
    top: argparse.ArgumentParser = parser_of(verb)
    found: set[str] = set()
    waiting = [top]
    while waiting:
        parser = waiting.pop()
        found |= set(parser._option_string_actions)
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                waiting += action.choices.values()
    return found


def command_lines(text: str) -> list[tuple[str, list[str]]]:
    """Verb and options of what begins with ``jettagger`` in a span or a line of code."""
    code = re.findall(r"`(jettagger [^`\n]+)`", text)
    for block in re.findall(r"^```(?:sh|console)?\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        code += [line for line in block.replace("\\\n", " ").splitlines() if line.startswith("jettagger ")]
    lines = []
    for line in code:
        words = line.partition("#")[0].split()
        verb = next((two for two in [" ".join(words[1:3])] if two in COMMANDS), words[1])
        lines.append((verb, [word.partition("=")[0] for word in words[2:] if re.match(r"--?[a-z]", word)]))
    return lines


@cache
def options_of_scripts() -> set[str]:
    """Those of benchmarks, examples and the tests."""
    found = set()
    folders = (ROOT / "benchmarks", ROOT / "examples", ROOT / "docs")
    for path in (*(path for folder in folders for path in folder.rglob("*.py")), ROOT / "tests" / "conftest.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            # also of parsers whose add_argument has a short name: add("--json")
            name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and name in ("add_argument", "add", "addoption"):
                found |= {str(item.value) for item in node.args if isinstance(item, ast.Constant)}
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_names_of_the_package_exist(page: Path) -> None:
    wrong = [name for name in sorted(dotted_names(page.read_text(encoding="utf-8"))) if not exists(name)]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    wrong = []
    for verb, options in command_lines(page.read_text(encoding="utf-8")):
        if verb in ("COMMAND", "--help", "--version"):
            continue
        known = options_of(verb) if verb in COMMANDS else set()
        wrong += [f"{verb} {option}" for option in options if option not in known]
        wrong += [verb] if verb not in COMMANDS else []
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_options_that_are_named_alone_exist(page: Path) -> None:
    known = {option for verb in COMMANDS for option in options_of(verb)} | options_of_scripts() | FOREIGN
    named = set(re.findall(r"`(--[a-z][a-z-]*)", page.read_text(encoding="utf-8")))
    assert sorted(named - known) == []


def test_what_does_not_exist_is_found() -> None:
    assert not exists("jettagger.jetclass")
    assert not exists("jettagger.Tagger.attatch")
    assert exists("jettagger.Tagger.attach")
    assert exists("jettagger.processors.TaggingProcessor")
    text = (
        "`jettagger.jetclass` and jt.load_taggr, `jettagger tag x --wher y`\n```sh\njettagger limt OUT/ # --no\n```\n"
    )
    assert dotted_names(text) == {"jettagger.jetclass", "jettagger.load_taggr"}
    assert command_lines(text) == [("tag", ["--wher"]), ("limt", [])]
    assert "--where" in options_of("tag")
    assert "--model" in options_of("discriminants")
    assert sum(len(command_lines(page.read_text(encoding="utf-8"))) for page in PAGES) > 40
    assert sum(len(dotted_names(page.read_text(encoding="utf-8"))) for page in PAGES) > 40
