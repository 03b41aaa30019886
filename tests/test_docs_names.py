"""Names in the documents: modules, functions, commands and options that they mention exist."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import re
from functools import cache
from pathlib import Path

import pytest

from jettagger.cli import COMMANDS, parser_of
from jettagger.cli.parser import subparsers

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")),
    *sorted((ROOT / "examples").glob("*/*.md")),
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")),
]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

#: what ends a name that is a file or an address, not a module
FILES = ("md", "json", "yaml", "root", "git", "io")

#: options of other programs
FOREIGN = {"--optimizer"}  # of pyhf


def text_of(page: Path) -> str:
    """A page, or the cells of a notebook."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    return text


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


cached_parser = cache(parser_of)


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """The options of a command and of what it is divided into."""
    inner = subparsers(parser).values()
    return set(parser._option_string_actions).union(*(options_of(one) for one in inner))


def command_lines(text: str) -> list[list[str]]:
    """The words of what begins with ``jettagger`` in a span or a line of code, after that."""
    code = re.findall(r"`(jettagger [^`\n]+)`", text)
    for block in re.findall(r"^```(?:sh|console)?\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        code += [line for line in block.replace("\\\n", " ").splitlines() if line.startswith("jettagger ")]
    return [line.partition("#")[0].split()[1:] for line in code]


def absent_parts(words: list[str]) -> list[str]:
    """What does not exist of a command: its verb, its sub-verb or options."""
    verb = next((two for two in [" ".join(words[:2])] if two in COMMANDS), words[0])
    if verb not in COMMANDS:
        return [] if verb in ("COMMAND", "--help", "--version") else [verb]
    parser, rest = cached_parser(verb), words[len(verb.split()) :]
    while rest and not rest[0].startswith("-") and subparsers(parser):
        if rest[0] not in subparsers(parser):
            return [f"{verb} {rest[0]}"]
        parser, rest = subparsers(parser)[rest[0]], rest[1:]
    named = (word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word))
    return [f"{verb} {option}" for option in named if option not in options_of(parser)]


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


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_names_of_the_package_exist(page: Path) -> None:
    wrong = [name for name in sorted(dotted_names(text_of(page))) if not exists(name)]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_and_their_options_exist(page: Path) -> None:
    assert [part for words in command_lines(text_of(page)) for part in absent_parts(words)] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_options_that_are_named_alone_exist(page: Path) -> None:
    known = {option for verb in COMMANDS for option in options_of(cached_parser(verb))} | options_of_scripts() | FOREIGN
    named = set(re.findall(r"`(--[a-z][a-z-]*)", text_of(page)))
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
    assert command_lines(text) == [["tag", "x", "--wher", "y"], ["limt", "OUT/"]]
    assert [absent_parts(words) for words in command_lines(text)] == [["tag --wher"], ["limt"]]
    assert absent_parts(["assignment", "make-inputs"]) == ["assignment make-inputs"]
    assert absent_parts(["models", "show", "x", "--jets=AK4"]) == ["models --jets"]
    assert absent_parts(["search", "merge", "a", "-o", "b"]) == absent_parts(["discriminants"]) == []
    assert "--where" in options_of(cached_parser("tag"))
    assert "--model" in options_of(cached_parser("discriminants"))
    assert sum(len(command_lines(text_of(page))) for page in PAGES) > 40
    assert sum(len(dotted_names(text_of(page))) for page in PAGES) > 40
