"""The page on the assignment of objects to particles: its Python blocks and its event file are right."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from assignments import EXAMPLES, top_pair_file
from pages import blocks

from jettagger.assignment import decode
from jettagger.topology.eventfile import event_text, parse_event_text
from jettagger.topology.mapping import parse_mapping

PAGE = "docs/assignment.md"
BLOCKS = [block for block in blocks(PAGE, "python") if "load_assigner" not in block]


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python_block_runs(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if ".h5" in block:
        pytest.importorskip("h5py", reason="the extra hdf5 is not installed")
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
    names: dict[str, Any] = {"__name__": "document"}
    if "event.yaml" in block and "coffea" not in block:  # it goes on from distributions or events of the reader
        shutil.copy(EXAMPLES / "tthad" / "event.yaml", tmp_path)
        names |= all_hadronic()
    exec(compile(block, "document", "exec"), names)
    said = capsys.readouterr().out
    for shown in re.findall(r"print\(.*\) +# ([(\[P].*)$", block, flags=re.MULTILINE):
        assert shown in said


def all_hadronic(n_events: int = 5, n_jets: int = 7) -> dict[str, Any]:
    """Distributions, targets, and jets of some all-hadronic top pairs, by the names of the page."""
    rng = np.random.default_rng(1)
    scores = np.log(rng.random((2, n_events, n_jets, n_jets, n_jets)))
    logs = dict(zip(("t1", "t2"), scores - np.log(n_jets**3), strict=True))
    targets = dict(zip(("t1", "t2"), np.tile(np.arange(6).reshape(2, 1, 3), (1, n_events, 1)), strict=True))
    jets = {name: rng.random((n_events, n_jets)) for name in ("eta", "phi", "mass", "btag")}
    jets["pt"] = 30 + 100 * rng.random((n_events, n_jets))
    return {
        "log_t1": logs["t1"],
        "log_t2": logs["t2"],
        "logs": logs,
        "targets": targets,
        "target_masks": {name: np.ones(n_events, dtype=bool) for name in targets},
        "decoded": decode(logs, EXAMPLES / "tthad" / "event.yaml"),
        "number_of_jets": np.full(n_events, n_jets),
        "events": ak.Array({"Jet": ak.zip({name: ak.Array(column.tolist()) for name, column in jets.items()})}),
    }


def test_the_event_file_is_valid() -> None:
    (text,) = blocks(PAGE, "yaml", "INPUTS")
    event = parse_event_text(text)
    assert parse_event_text(event_text(event)) == event
    assert event.regressions == {"EVENT/neutrino_pz": "laplacian", "t1/PARTICLE/pt": "gaussian"}


def test_the_mapping_is_valid() -> None:
    (text,) = blocks(PAGE, "yaml", "version: 1\ninputs:")
    event = """
INPUTS:
  SEQUENTIAL: {Jets: {mass: log, pt: log, eta: none, sin_phi: none, cos_phi: none, btag: none}}
  GLOBAL: {Electron: {pt: log}, Met: {met: log, ht: log}}
EVENT: {ht: [b: Jets, q1: Jets, q2: Jets], lt: [b: Jets]}
REGRESSIONS: {EVENT: [neutrino_px]}
"""
    assert parse_mapping(text, parse_event_text(event)).inputs["Jets"].max_objects == 10
