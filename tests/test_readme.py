"""The README is run: its Python blocks, its shell commands, and what it says of extras and models."""

from __future__ import annotations

import re
import shlex
from configparser import ConfigParser
from pathlib import Path

import pytest

from benchmarks.readme_picture import PICTURE
from jettagger.cli import main
from jettagger.testing import write_pfnano

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: these pages need files: test_docs_search.py, test_search_resume.py, test_docs_calibration.py, test_docs_jec.py and
#: test_docs_assignment.py run them; test_project.py runs the example that draws a picture
ELSEWHERE = {
    ROOT / "docs" / f"{name}.md"
    for name in ("search", "search_backgrounds", "search_batch", "calibration", "jec", "assignment")
}
DOCUMENTS = sorted([ROOT / "README.md", *(set((ROOT / "docs").glob("*.md")) - ELSEWHERE)])


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


PYTHON = [
    pytest.param(block, id=f"{path.name}-{number}")
    for path in DOCUMENTS
    for number, block in enumerate(blocks(path.read_text(encoding="utf-8"), "python"))
    if PICTURE.name not in block
]


@pytest.mark.parametrize("block", PYTHON)
def test_python_block_runs(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "jettagger.simulation" in block:
        pytest.importorskip("pythia8mc", reason="the extra sim is not installed")
    if "judge_protected" in block:
        pytest.importorskip("sklearn", reason="the extra train is not installed")
    code = compile(block, "document", "exec")
    if "examples/data" in block:
        pytest.importorskip("mplhep", reason="the extra plot is not installed")
        (tmp_path / "examples").symlink_to(ROOT / "examples")
    if "cluster" in block:
        pytest.skip("needs a cluster; tests/test_dask_install.py runs what it says on one")
    exec(code, {"__name__": "document"})


def test_first_processor_runs_in_a_job(tmp_path: Path) -> None:
    from coffea import processor
    from coffea.nanoevents import PFNanoAODSchema

    names: dict[str, object] = {"__name__": "readme"}
    (block,) = (block for block in blocks(README, "python") if "class Scores" in block)
    exec(compile(block, "README", "exec"), names)
    sample = write_pfnano(tmp_path / "nano.root", 20, seed=1)
    run = processor.Runner(processor.IterativeExecutor(status=False), schema=PFNanoAODSchema, chunksize=8)
    hist = run({"sample": {"files": {str(sample): "Events"}}}, names["Scores"]())
    assert hist.sum(flow=True) > 0


def test_shell_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_pfnano("nano.root", 5, seed=1)
    lines = [line for block in blocks(README, "sh") for line in block.splitlines() if line.startswith("jettagger ")]
    assert len(lines) >= 5
    for line in lines:
        assert main(shlex.split(line, comments=True)[1:]) == 0, line
    assert (tmp_path / "scores.parquet").exists()
    assert "inclParTMDV1" in capsys.readouterr().out


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = [line.split("#")[0].split() for block in blocks(README, "sh") for line in block.splitlines()]
    targets = [words[1] for words in commands if words and words[0] == "make"]
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
