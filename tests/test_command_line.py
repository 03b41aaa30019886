"""Habits of the command line that all verbs have: --json, --quiet, nearest names, help, exit statuses."""

from __future__ import annotations

import argparse
import json
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import test_streams
from command_lines import LINES

from jettagger._version import __version__
from jettagger.cli import COMMANDS, main, parser_of
from jettagger.cli.console import DOCUMENT, VERSION, Console
from jettagger.cli.parser import EXIT_STATUS, leaves
from jettagger.errors import ConfigError, JettaggerError, UnknownName

PAGE = Path(__file__).parent.parent / "docs" / "command_line.md"

#: words of a command -> its parser, for all of them
LEAVES = {" ".join(words): parser for verb in COMMANDS for words, parser in leaves(parser_of(verb), [verb])}

#: verbs whose shortest run takes seconds
LONG = ("calibrate", "finetune", "fit", "limit", "search", "search merge", "simulate")


#: commands below verbs, which the tests of streams do not run; searches for options have processes
INNER = [name for name in LINES if " " in name and name not in COMMANDS and name != "assignment tune"]


@pytest.mark.slow
@pytest.mark.parametrize("command", INNER)
@pytest.mark.filterwarnings("ignore")
def test_results_of_inner_commands(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--json", "--quiet"):
        folder = tmp_path / option.strip("-")
        folder.mkdir()
        line = LINES[command](folder)
        capsys.readouterr()
        assert main([*line, option]) == 0
        out, err = capsys.readouterr()
        if option == "--quiet":
            assert (out, err) == ("", "")
            continue
        found = document_of(out)
        assert (found["command"], found["status"], found["error"]) == (command, 0, None)
        assert bool(found["written"]) >= ("-o" in line)
        assert all(Path(path).exists() for path in found["written"])
        if command == "models add":
            shutil.rmtree(found["written"][0])


#: commands that need no input, and one that goes on after errors
NO_ERROR = {"models list", "discriminants list", "discriminants groups", "jec steer"}


def document_of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert list(found) == list(DOCUMENT)
    assert (found["version"], found["jettagger"]) == (VERSION, __version__)
    return found


def line_of(command: str) -> list[str]:
    """A command line that is understood, with inputs that are not there."""
    line = command.split()
    for action in LEAVES[command]._actions:
        if not action.option_strings or action.required:
            value = str(next(iter(action.choices))) if action.choices else "absent.h5"
            line += [action.option_strings[0]] if action.option_strings else []
            line += [value] if action.nargs != "?" else []
    return line


# ---------------------------------------------------------------------------------------- output


@pytest.mark.parametrize("command", LEAVES)
def test_every_command_has_the_options_of_all(command: str) -> None:
    options = LEAVES[command]._option_string_actions
    assert {"-q", "--quiet", "--json", "-v", "--verbose"} <= set(options)
    for name, kind in (("--quiet", argparse._StoreTrueAction), ("--json", argparse._StoreTrueAction)):
        assert isinstance(options[name], kind), "no verb has one of its own"


class Finished(Exception):
    """The run of a verb was seen."""


@pytest.mark.parametrize(
    "verb",
    [
        pytest.param(verb, marks=pytest.mark.slow if verb in LONG else [])
        for verb in COMMANDS
        if verb not in ("jec", "assignment")
    ],
)
@pytest.mark.parametrize("option", ["--json", "--quiet"])
@pytest.mark.filterwarnings("ignore:.*selects no event.*", "ignore:.*share.*")
def test_results(
    verb: str, option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shortest run of each verb that writes or tells something."""

    def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        capsys.readouterr()
        status = main([*(item for item in arguments if item != "--json"), option])
        out, err = capsys.readouterr()
        assert status == 0
        if option == "--quiet":
            assert (out, err) == ("", "")
        else:
            found = document_of(out)
            assert (found["status"], found["error"]) == (0, None)
            assert found["command"].startswith(arguments[0])
            outputs = [arguments[place + 1] for place, item in enumerate(arguments) if item == "-o"]
            assert bool(found["written"]) >= bool(outputs)
            if verb != "convert":  # whose work is replaced
                assert all(Path(path).exists() for path in found["written"])
            assert any(found[key] for key in ("counts", "tables", "notes", "result", "written"))
            lines = [line for line in err.splitlines() if line.startswith("jettagger: warning: ")]
            assert [f"jettagger: warning: {text}" for text in found["warnings"]] == lines
        raise Finished

    monkeypatch.setattr(test_streams, "run", run)
    with pytest.raises(Finished):
        test_streams.VERBS[verb](tmp_path, capsys)


@pytest.mark.parametrize("command", sorted(set(LEAVES) - NO_ERROR))
def test_errors(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = line_of(command)
    if command in ("schema", "completion"):
        line[-1] = "serch"
    assert main([*line, "--quiet"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"jettagger: error: .*\n", err, flags=re.DOTALL)
    assert main([*line, "--json"]) == 2
    out, said = capsys.readouterr()
    assert said.endswith(err), "warnings may be in front of it"
    error = document_of(out)["error"]
    assert list(error) == ["class", "message", "what", "where", "got", "expected", "nearest"]
    assert f"jettagger: error: {error['message']}\n" == err
    assert error["class"] in {kind.__name__ for kind in subclasses(JettaggerError)}


def subclasses(kind: type) -> Iterator[type]:
    for one in kind.__subclasses__():
        yield one
        yield from subclasses(one)


def test_what_an_error_says_in_parts(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def error(*line: str) -> dict[str, Any]:
        assert main([*line, "--json"]) == 2
        found: dict[str, Any] = document_of(capsys.readouterr().out)["error"]
        return found

    found = error("tag", "x.root", "--modle", "tinyParT")
    assert found["class"] == "UnknownName"
    assert (found["what"], found["where"], found["got"]) == ("unknown option", "jettagger tag", "--modle")
    assert found["nearest"][0] == "--model"
    found = error("models", "check", "tinyParT", "--seed", "-1")
    assert found["class"] == "ConfigError"
    assert (found["where"], found["got"]) == ("jettagger models check", "'-1'")
    assert found["expected"] == "a whole number from 0 to 2147483647"
    path = tmp_path / "search.yaml"
    path.write_text("version: 1\nluminosity: 138\nsampels: {}\n")
    found = error("search", str(path), "-o", str(tmp_path / "out"))
    assert found["where"].endswith("search.yaml, line 3")
    assert (found["got"], found["nearest"][0]) == ("'sampels'", "samples")
    assert found["expected"].startswith("one of version, luminosity, samples")
    assert error("tgg")["nearest"] == ["tag"]


def test_an_interrupt_is_in_the_document(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("jettagger.cli.schema.run", stopped)
    assert main(["schema", "search", "--json"]) == 130
    found = document_of(capsys.readouterr().out)
    assert (found["status"], found["error"]["class"]) == (130, "KeyboardInterrupt")


def test_options_of_all_may_be_in_front(capsys: pytest.CaptureFixture[str]) -> None:
    for line in (["--json", "models", "list"], ["models", "--json", "list"], ["models", "list", "--json"]):
        assert main(line) == 0
        assert document_of(capsys.readouterr().out)["command"] == "models list"
    assert main(["-q", "models", "list"]) == 0
    assert capsys.readouterr() == ("", "")


def test_numbers_are_numbers_in_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    numpy = pytest.importorskip("numpy")
    console = Console("tag", as_json=True)
    console.counts("x", [("events", numpy.int64(3)), ("share", float("nan"))])
    console.table("y", ("name", "n"), [("a", numpy.float32(0.5))])
    console.answer({"path": Path("a"), "set": {1}, "deep": [{"x": float("inf")}]}, "text")
    console.finish(0)
    found = document_of(capsys.readouterr().out)
    assert found["counts"] == {"events": 3, "share": None}
    assert found["tables"] == [{"title": "y", "columns": ["name", "n"], "rows": [["a", 0.5]]}]
    assert found["result"] == {"path": "a", "set": [1], "deep": [{"x": None}]}


def test_what_other_code_prints_is_not_in_the_document(tmp_path: Path) -> None:
    """Libraries in C and processes that were started, too; in a process of its own."""
    code = (
        "import os, sys, subprocess, jettagger.cli.schema as verb\n"
        "def run(args, console):\n"
        "    print('python'); os.write(1, b'library\\n'); subprocess.run(['echo', 'process'])\n"
        "    console.say('a note')\n"
        "    return 0\n"
        "verb.run = run\n"
        "from jettagger.cli import main\n"
        "sys.exit(main())\n"
    )
    for option, noise in (("--json", ["python", "library", "process"]), ("--quiet", [])):
        done = subprocess.run([sys.executable, "-c", code, "schema", "search", option], capture_output=True, text=True)
        assert done.returncode == 0
        assert sorted(done.stderr.split()) == sorted(noise)
        if option == "--json":
            assert document_of(done.stdout)["notes"] == ["a note"]
        else:
            assert done.stdout == ""


@pytest.mark.parametrize(
    ("options", "shown"),
    [([], []), (["-v"], ["INFO"]), (["-vv"], ["INFO", "DEBUG"]), (["-v", "-v"], ["INFO", "DEBUG"]), (["-vq"], [])],
)
def test_the_log_is_shown(
    options: list[str], shown: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("jettagger.files.root")

    def work(*_: object) -> int:
        logger.info("opened %s", "a\x1b[2J.root")
        logger.debug("in detail")
        return 0

    monkeypatch.setattr("jettagger.cli.schema.run", work)
    for line in ([*options, "schema", "search"] if "-vq" not in options else [], ["schema", "search", *options]):
        if line:
            assert main(line) == 0
            out, err = capsys.readouterr()
            lines = [text.split(" ", 2)[1:] for text in err.splitlines()]
            texts = {"INFO": "jettagger.files.root: opened a\\x1b[2J.root", "DEBUG": "jettagger.files.root: in detail"}
            assert (out, lines) == ("", [[level, texts[level]] for level in shown])
    assert logging.getLogger("jettagger").level == logging.NOTSET


# ---------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("command", LEAVES)
def test_misspelt_options_and_values(command: str) -> None:
    """One letter too few: the right one is among the nearest."""
    parser = LEAVES[command]
    for option, action in parser._option_string_actions.items():
        wrong = option[:3] + option[4:]
        if len(option) < 7 or any(other.startswith(wrong) for other in parser._option_string_actions):
            continue
        with pytest.raises(UnknownName, match=re.escape(f"unknown option in {parser.prog}: {wrong!r}")) as caught:
            parser.parse_args([wrong])
        assert option.replace("_", "-") in [near.replace("_", "-") for near in caught.value.nearest]
        if action.choices:
            value = str(next(iter(action.choices)))
            with pytest.raises(UnknownName, match=f"unknown value of .*{option}") as caught:
                parser.parse_args([option, f"{value}x"])
            assert value in caught.value.nearest


def test_words_that_no_command_takes() -> None:
    parser = parser_of("schema")
    with pytest.raises(ConfigError, match=r"jettagger schema: got 'more words', expected nothing more"):
        parser.parse_args(["search", "more", "words"])
    with pytest.raises(ConfigError, match=r"jettagger tag: FILE, --model/-m, --output/-o missing"):
        parser_of("tag").parse_args([])
    with pytest.raises(UnknownName, match="--bad"):
        parser_of("tag").parse_args(["--bad=1", "--", "--worse"])
    assert parser_of("tag").parse_args(["-m", "x", "-o", "y", "--", "--file"]).files == ["--file"]
    assert parser_of("tag").parse_args(["f", "-mx", "-oy", "--work", "3", "--where=-pt > 3"]).workers == 3
    with pytest.raises(UnknownName, match=r"unknown command in jettagger models: 'lst' \(nearest: list"):
        parser_of("models").parse_args(["lst"])


# ---------------------------------------------------------------------------------------- help


@pytest.mark.parametrize("command", LEAVES)
def test_help_teaches(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = LEAVES[command].format_help()
    assert "examples:" in text
    assert re.search(rf"^ +.*jettagger {command}\b", text, flags=re.MULTILINE), "an example of its own"
    for status, meaning in EXIT_STATUS.items():
        assert re.search(rf"^ +{status}  {re.escape(meaning)[:30]}", text, flags=re.MULTILINE)
    ending = text[text.index("output, of all commands") :].splitlines()
    prose = [line for line in text.splitlines() if not line.startswith(" ")] + ending
    assert max(map(len, prose)) <= 80
    for action in LEAVES[command]._actions:
        assert action.help, f"{action.option_strings or action.dest} is not explained"
        assert action.nargs == 0 or action.metavar or action.choices, f"{action.option_strings}: of what?"


def test_help_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    for line in ([], ["-h"], ["--help"], ["--json", "--help"]):
        assert main(line) == 0
        text = capsys.readouterr().out
        assert all(verb in text for verb in COMMANDS)
        assert all(f"  {status}  " in text for status in EXIT_STATUS)
    for line in (["-V"], ["--version"]):
        assert main(line) == 0
        assert capsys.readouterr().out == f"jettagger {__version__}\n"
    assert main(["-V", "--json"]) == 0
    assert document_of(capsys.readouterr().out)["result"] == {"version": __version__}
    assert main(["--vresion"]) == 2
    assert "unknown option: '--vresion' (nearest: --version" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["--help", "tag --help", "schema search", "models list --json"])
def test_a_reader_may_have_seen_enough(line: str) -> None:
    """As with head: the pipe is closed before anything is written."""
    command = [sys.executable, "-c", "import sys; from jettagger.cli import main; sys.exit(main())", *line.split()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait() == 0


# ---------------------------------------------------------------------------------------- the page


def test_the_page_has_all_keys_and_statuses() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|$", text, flags=re.MULTILINE))
    assert {name: rows[name] for name in DOCUMENT} == DOCUMENT
    assert {str(status): rows[str(status)] for status in EXIT_STATUS} == {
        str(status): meaning for status, meaning in EXIT_STATUS.items()
    }


def test_the_page_has_all_variables() -> None:
    """Those that a user may set; one is set by jettagger for its workers."""
    package = Path(__file__).parent.parent / "jettagger"
    found = {name for path in package.rglob("*.py") for name in re.findall(r'= "(JETTAGGER_[A-Z]+)"', path.read_text())}
    text = PAGE.read_text(encoding="utf-8")
    shown = re.findall(r"^\| `(JETTAGGER_\w+)` ", text, flags=re.MULTILINE)
    assert set(shown) == found - {"JETTAGGER_SHIPPED"}
