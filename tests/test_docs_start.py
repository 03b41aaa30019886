"""The way in: the commands of the README in a copy of the project, its claims, and ``docs/start.md`` as it stands."""

from __future__ import annotations

import ast
import json
import math
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT, blocks, blocks_of, read

from benchmarks.readme_picture import DEMO, PICTURE, SHOWN
from benchmarks.validation import stored
from jettagger.cli import main

README, START = read("README.md"), read("docs/start.md")
FIRST = ROOT / "examples" / "first_score.py"


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the examples, as pages expect it."""
    from coffea.nanoevents import PFNanoAODSchema

    monkeypatch.setattr(PFNanoAODSchema, "warn_missing_crossrefs", True)  # pages change it
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path


def numbers(text: str) -> list[float]:
    """The numbers of printed records, NaN for a missing one."""
    return [math.nan if value == "None" else float(value) for value in re.findall(r": ([\d.e-]+|None)", text)]


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_first_block_is_the_example(page: str) -> None:
    (block,) = blocks(page, "python", ".show(")
    document = ast.parse(FIRST.read_text(encoding="utf-8"))
    assert ast.dump(ast.parse(block)) == ast.dump(ast.Module(document.body[1:], []))


@pytest.mark.slow
def test_the_commands_of_the_readme_lead_to_a_score(tmp_path: Path) -> None:
    """All of them as they are written, with stand-ins for what needs a network: git, and pip in a new environment."""
    commands = blocks("README.md", "sh")[0].splitlines()
    assert len(commands) <= 5
    assert commands[0].startswith("git clone https://")
    name = commands[0].rpartition("/")[2]
    parts = ("jettagger", "processors", "examples/data", "examples/first_score.py")
    stand_ins = tmp_path / "bin"
    stand_ins.mkdir()
    for part in parts:
        source, target = ROOT / part, tmp_path / "repository" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_file():
            shutil.copy(source, target)
        else:  # other tests write compiled modules at the same time
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    scripts = {
        stand_ins / "git": f'cp -R "{tmp_path}/repository" "{name}"',
        stand_ins / "python3": f'[ "$1 $2" = "-m venv" ] && mkdir -p "$3" && cp -R "{tmp_path}/made" "$3/bin"',
        tmp_path / "made" / "pip": '[ "$1" = install ] && echo "$2" > installed.txt',
        tmp_path / "made" / "python": f'PYTHONPATH="$PWD" exec "{sys.executable}" "$@"',
    }
    for path, script in scripts.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\nset -e\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
    environment = {"PATH": f"{stand_ins}:/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["sh", "-ec", "\n".join(commands)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    (said,) = blocks("README.md", "text")
    assert numbers(done.stdout) == pytest.approx(numbers(said), rel=0.02, nan_ok=True)
    assert any(map(math.isnan, numbers(said)))
    extras = re.fullmatch(r"\.\[(.*)\]", (tmp_path / name / "installed.txt").read_text().strip())
    assert extras is not None
    table = README[README.index("| extra |") :]
    assert all(f"`{extra}`" in table for extra in extras.group(1).split(","))


def test_the_claimed_agreement_is_what_was_measured() -> None:
    """The numbers of the JSON file that the tests of the comparisons wrote."""
    made: dict[str, Any] = stored()["cms_stored_scores"]["particlenet-ak8-md"]
    low, high = (f"{value:.1g}" for value in made["median"])
    text = " ".join(README.split())
    assert f"for {made['sample']} jets ({made['numbers']} scores) the median difference is {low} to {high}" in text
    assert f"and the maximum {made['maximum']:.1g}" in text


def test_the_processor_of_the_readme_runs(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = (block for block in blocks("README.md", "python") if "processor.Runner" in block)
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(block, "README", "exec"), names)
    counts = {name: names["masses"][{"dataset": name}].sum(flow=True) for name in names["fileset"]}
    assert counts["XHH-1000"] > 100
    assert 0 < counts["QCD"] < 0.02 * 2103  # of the scored jets


def test_the_picture_of_the_demo_is_shown_and_small() -> None:
    assert f"](docs/{DEMO.name})" in README
    assert f"]({PICTURE.name})" in START
    assert DEMO.stat().st_size < 150_000
    assert len(SHOWN) == 2


@pytest.mark.slow
def test_the_page_of_first_steps_runs(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyhf", reason="the extra stats is not installed")
    pytest.importorskip("mplhep", reason="the extra plot is not installed")
    (search,) = blocks("docs/start.md", "yaml")
    Path("search.yaml").write_text(search, encoding="utf-8")
    for block in blocks_of(START):
        if block.language == "python" and PICTURE.name not in block.text:  # tests/test_project.py draws the picture
            exec(compile(block.text, "start.md", "exec"), {"__name__": "document"})
        for line in block.text.splitlines() if block.language == "sh" else ():
            if line.startswith("jettagger "):  # after those that install it
                assert main(shlex.split(line)[1:]) == 0, line
    said = capsys.readouterr().out
    assert said.splitlines()[0].count("None") == 1
    (found,) = json.loads(Path("out/limits.json").read_text())["limits"]
    assert found["mass"] == 2000
    assert 1 < found["expected"][2] < 10
    for path in re.findall(r"`(out/[\w.]+)`", START):
        assert Path(path).exists()


def test_the_install_lines_of_the_first_steps_are_those_of_the_readme() -> None:
    assert blocks("docs/start.md", "sh")[0].splitlines()[:4] == blocks("README.md", "sh")[0].splitlines()[:4]


def test_there_are_six_words_on_the_way_to_a_limit() -> None:
    words = re.findall(r"\*\*(.+?)\*\*", START)
    assert len(words) <= 6
    assert f"the six words: {', '.join(words[:2])}" in START
    concepts = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    for word in words:
        assert re.search(rf"^## .*\b{word.removesuffix('s')}\b", concepts, flags=re.MULTILINE | re.IGNORECASE), word


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_make_alone_says_what_there_is() -> None:
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    (names,) = re.findall(r"^\.PHONY: (.+)$", text, flags=re.MULTILINE)
    listed = [line.split()[1] for line in said.splitlines() if line.startswith("  make ")]
    assert sorted(listed) == sorted(names.split())
