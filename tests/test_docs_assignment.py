"""The page on the assignment of objects to particles: its Python blocks and its event file are right."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from assignments import EXAMPLES, top_pair_file

from jettagger.topology.eventfile import event_text, parse_event_text
from jettagger.topology.mapping import parse_mapping

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "assignment.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python_block_runs(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if ".h5" in block:
        pytest.importorskip("h5py", reason="the extra train is not installed")
    if "options.json" in block:  # it trains, or reads a training: that its names exist is tested
        compile(block, "document", "exec")
        block = "\n".join(line for line in block.splitlines() if line.startswith("from jettagger"))
    monkeypatch.chdir(tmp_path)
    if "coffea" in block:
        pytest.importorskip("coffea.processor", reason="coffea is not installed")
        for name in ("event.yaml", "inputs.yaml"):
            shutil.copy(EXAMPLES / "ttH" / name, tmp_path)
        for name in ("tth", "ttbb"):
            top_pair_file(tmp_path / f"{name}.root", 10, leptonic=True)
    exec(compile(block, "document", "exec"), {"__name__": "document"})
    said = capsys.readouterr().out
    for shown in re.findall(r"print\(.*\) +# ([(\[P].*)$", block, flags=re.MULTILINE):
        assert shown in said


def test_the_event_file_is_valid() -> None:
    (text,) = re.findall(r"^```yaml\n(INPUTS.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    event = parse_event_text(text)
    assert parse_event_text(event_text(event)) == event
    assert event.regressions == {"EVENT/neutrino_pz": "laplacian", "t1/PARTICLE/pt": "gaussian"}


def test_the_mapping_is_valid() -> None:
    (text,) = re.findall(r"^```yaml\n(version: 1\ninputs:.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    event = """
INPUTS:
  SEQUENTIAL: {Jets: {mass: log, pt: log, eta: none, sin_phi: none, cos_phi: none, btag: none}}
  GLOBAL: {Electron: {pt: log}, Met: {met: log, ht: log}}
EVENT: {ht: [b: Jets, q1: Jets, q2: Jets], lt: [b: Jets]}
REGRESSIONS: {EVENT: [neutrino_px]}
"""
    assert parse_mapping(text, parse_event_text(event)).inputs["Jets"].max_objects == 10
