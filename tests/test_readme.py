"""The README: its shell commands, targets and extras; test_docs_start.py and test_code_blocks.py have the rest."""

from __future__ import annotations

import re
import shlex
from configparser import ConfigParser
from pathlib import Path

import pytest
from pages import blocks

from jettagger.cli import main
from jettagger.testing import write_pfnano

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_shell_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_pfnano("nano.root", 5, seed=1)
    lines = [
        line for block in blocks("README.md", "sh") for line in block.splitlines() if line.startswith("jettagger ")
    ]
    assert len(lines) >= 5
    for line in lines:
        assert main(shlex.split(line, comments=True)[1:]) == 0, line
    assert (tmp_path / "scores.parquet").exists()
    assert "inclParTMDV1" in capsys.readouterr().out


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = [line.split("#")[0].split() for block in blocks("README.md", "sh") for line in block.splitlines()]
    targets = [words[1] for words in commands if words[:1] == ["make"] and words[1:]]
    assert targets == ["demo", "test", "docs"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


def test_extras_are_those_of_setup_cfg() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    table = README[README.index("| extra |") :].split("\n\n")[0]
    named = {
        name
        for cell in re.findall(r"^\| (`[^|]*) \|", table, flags=re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", cell)
    }
    assert named == set(config["options.extras_require"])
