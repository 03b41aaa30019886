"""Completion in shells, by the shells."""

from __future__ import annotations

import os
import pty
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from survivors import ROOT, until

from jettagger.bundles.registry import available
from jettagger.cli import COMMANDS, main, parser_of
from jettagger.cli.parser import leaves
from jettagger.cli.shells import SCRIPTS, commands

SHELLS = ("bash", "zsh", "fish")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scripts, a command ``jettagger``, and one file to be completed in a folder."""
    folder = tmp_path_factory.mktemp("shells")
    program = folder / "bin" / "jettagger"
    program.parent.mkdir()
    run = f"{shlex.quote(sys.executable)} -c 'import sys; from jettagger.cli import main; sys.exit(main())'"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {run} "$@"\n')
    program.chmod(0o755)
    (folder / "work").mkdir()
    (folder / "work" / "nano.root").write_text("")
    for name, script in SCRIPTS.items():
        (folder / f"script.{name}").write_text(script(commands()))
    return folder


#: what is typed -> what must and what must not be offered
TYPED: dict[str, tuple[set[str], set[str]]] = {
    "": ({"tag", "models", "search"}, {"merge", "list", "nano.root"}),
    "mod": ({"models"}, {"tag"}),
    "models ": ({"list", "show", "remove"}, {"tag"}),
    "-q models s": ({"show", "serve-config"}, {"list", "show image"}),
    "tag --mo": ({"--model"}, {"--output"}),
    "tag --model tiny": ({"tinyParT"}, {"Sophon"}),
    "tag -m tiny": ({"tinyParT"}, {"Sophon"}),
    "models show tiny": ({"tinyParT"}, set()),
    "tag nano.root --outside ": ({"score", "skip"}, {"tinyParT"}),
    "tag --skims r": ({"root"}, {"parquet"}),
    "tag --skims=": ({"root", "parquet"}, set()),
    "search m": ({"merge"}, {"models"}),
    "search merge --fo": ({"--force", "--format"}, {"--part"}),
    "schema se": ({"search"}, {"card"}),
    "convert ": ({"delphes"}, {"tag"}),
    "explain nano.root --method ": ({"saliency", "attention"}, set()),
    "assignment train --options-": ({"--options-file"}, {"--options_file"}),
    "completion ": ({"bash", "zsh", "fish"}, set()),
}

#: where a shell offers files
OF_FILES = ("tag ", "tag -o ", "search ", "convert delphes ", "jec train ", "models add ")


def check(offered: dict[str, set[str]], start: str = "") -> None:
    for line, (expected, others) in TYPED.items():
        words = {word.rpartition("=")[2] or word for word in offered[line]}
        assert expected <= words, line
        assert not others & words, line
    for line in OF_FILES if start else ():
        assert "nano.root" in offered[line], line


def environment(place: Path) -> dict[str, str]:
    return os.environ | {"PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}", "HOME": str(place), "TERM": "dumb"}


def test_bash(place: Path) -> None:
    """The function is called with the words as bash divides them."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    lines = list(TYPED)
    calls = []
    for line in [*lines, *OF_FILES]:
        words = ["jettagger", *line.replace("=", " = ").split(" ")]
        words = [word for number, word in enumerate(words) if word or number == len(words) - 1]
        calls.append(f"try {' '.join(map(shlex.quote, words))}")
    script = "\n".join(
        (
            f"source {shlex.quote(str(place / 'script.bash'))}",
            'compopt() { files="$files $*"; }',
            'try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); files=""',
            '_jettagger; echo "${COMPREPLY[*]}|$files"; }',
            *calls,
        )
    )
    done = subprocess.run(
        [bash, "--norc", "-c", script], capture_output=True, text=True, env=environment(place), cwd=place / "work"
    )
    assert done.stderr == ""
    said = done.stdout.splitlines()
    offered = [set(line.partition("|")[0].split()) for line in said]
    check(dict(zip(lines, offered, strict=False)))
    files = dict(zip(OF_FILES, said[len(lines) :], strict=True))
    assert all("-o default" in line for line in files.values()), "files are left to bash where nothing else is offered"
    assert files["search "].partition("|")[0].split() == ["merge", "nano.root"]
    assert "-o filenames" in files["search "]


def test_bash_offers_all_options_of_all_commands(place: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    parsers = {" ".join(words): one for verb in COMMANDS for words, one in leaves(parser_of(verb), [verb])}
    calls = [f"_jettagger_options {shlex.quote(words)}" for words in ("", *parsers)]
    script = "\n".join((f"source {shlex.quote(str(place / 'script.bash'))}", *calls))
    said = subprocess.run([bash, "--norc", "-c", script], capture_output=True, text=True, check=True).stdout
    first, *others = said.splitlines()
    assert set(first.split()) == {"-h", "--help", "-V", "--version", "-q", "--quiet", "--json", "-v", "--verbose"}
    offered = dict(zip(parsers, others, strict=True))
    for words, parser in parsers.items():
        assert set(offered[words].split()) == set(parser._option_string_actions), words


@pytest.mark.slow
def test_fish(place: Path) -> None:
    fish = shutil.which("fish")
    if fish is None:
        pytest.skip("fish is not installed")
    lines = [*TYPED, *OF_FILES]
    script = f"source {place / 'script.fish'}\n" + "\n".join(
        f"echo 'LINE {line}'; complete -C 'jettagger {line}'" for line in lines
    )
    done = subprocess.run(
        [fish, "--no-config", "-c", script], capture_output=True, text=True, env=environment(place), cwd=place / "work"
    )
    assert done.stderr == ""
    offered: dict[str, set[str]] = {}
    for text in done.stdout.splitlines():
        if text.startswith("LINE "):
            words = offered.setdefault(text[5:], set())
        else:
            words.add(text.partition("\t")[0])
    check(offered, "files")


#: in an interactive zsh, with what it offers written to a file; the last line is there when a key was answered
ZSH = """
PS1=
autoload -Uz compinit; compinit -D -u
source {script}
compadd() {{
  if (( ${{@[(I)-O]}} + ${{@[(I)-A]}} + ${{@[(I)-D]}} )); then builtin compadd "$@"; return; fi
  local -a hits; builtin compadd -A hits "$@"; print -rl -- $hits >> {out}; builtin compadd "$@"
}}
_captured() {{ _main_complete; compstate[insert]=; compstate[list]=; print END >> {out}; }}
zle -C captured complete-word _captured
bindkey '^I' captured
print END >> {out}
"""


@pytest.mark.slow
def test_zsh(place: Path, tmp_path: Path) -> None:
    zsh = shutil.which("zsh")
    if zsh is None:
        pytest.skip("zsh is not installed")
    out = tmp_path / "offered"
    (tmp_path / ".zshrc").write_text(ZSH.format(script=place / "script.zsh", out=out))
    keyboard, terminal = pty.openpty()
    # what it shows has to be read, or it waits
    reader = threading.Thread(target=read_all, args=[keyboard], daemon=True)
    reader.start()
    with subprocess.Popen(
        [zsh, "-i"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=place / "work",
        env=environment(place) | {"ZDOTDIR": str(tmp_path)},
        start_new_session=True,
    ) as shell:
        try:
            answered(out)
            offered = {}
            for line in [*TYPED, *OF_FILES]:
                out.write_text("")
                os.write(keyboard, f"\x15jettagger {line}\t".encode())
                offered[line] = set(answered(out))
        finally:
            shell.kill()
            os.close(terminal)
    reader.join()  # or it might read from the next file of this number
    os.close(keyboard)
    check(offered, "files")


def read_all(file: int) -> None:
    with suppress(OSError):
        while os.read(file, 65536):
            pass


def answered(out: Path) -> Sequence[str]:
    until(lambda: out.exists() and out.read_text().endswith("END\n"))
    return out.read_text().split("\n")[:-2]


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_are_valid(shell: str, place: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([program, "-n", place / f"script.{shell}"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_scripts_are_printed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for shell in SHELLS:
        assert main(["completion", shell]) == 0
        assert capsys.readouterr().out.strip() == (place / f"script.{shell}").read_text().strip()
    assert main(["completion", "models"]) == 0
    assert capsys.readouterr().out.split() == list(available())
    assert main(["completion", "bsh"]) == 2
    assert "unknown value of SHELL in jettagger completion: 'bsh' (nearest: bash" in capsys.readouterr().err
