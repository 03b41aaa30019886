"""The page on models trained with weaver: its code runs, on tables, PFNano events and files of Delphes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from networks import Head, graph
from pages import blocks
from weavers import table, weaver_bundle

import jettagger as jt
from jettagger import jetclass2
from jettagger.testing import make_events

PAGE = "docs/weaver.md"


def run(holding: str, **names: Any) -> dict[str, Any]:
    (block,) = blocks(PAGE, "python", holding)
    exec(compile(block, PAGE, "exec"), names)
    return names


def test_tables_and_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    weaver_bundle(tmp_path / "mymodel")
    ak.to_parquet(table(8), "jets.parquet")
    jets = run('ak.from_parquet("jets.parquet")')["tagged"]
    above = ak.to_numpy(jets.jet_pt) > 300
    assert ak.to_numpy(~ak.is_none(jets.mymodel_proba))[:-1].tolist() == above[:-1].tolist()
    assert "mymodel_inDomain" in jets.fields
    events = run('where="pt > 300")', tagger=jt.load_tagger("mymodel"), events=make_events(10, seed=1))["events"]
    assert ak.count(events.FatJet.mymodel_proba) == ak.count(events.FatJet.pt[events.FatJet.pt > 300])


@pytest.mark.data
def test_delphes(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "delphes.root").symlink_to(shared / "sophon/events_delphes_example.root")
    tagger = jt.load_tagger(weaver_bundle(tmp_path / "mymodel"))
    events = run("DelphesFile", tagger=tagger)["events"]
    assert ak.count(events.JetPUPPIAK8.mymodel_proba) > 5


@pytest.mark.data
def test_sophon(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a network of its interface in the place of its weights."""
    (tmp_path / "Sophon").mkdir()
    groups = {name: ("",) * number for name, number in (("pf_features", 17), ("pf_vectors", 4), ("pf_mask", 1))}
    model = graph(groups, (Head("a", 188, softmax=True), Head("b", 128)), axes={"pf": 128})
    (tmp_path / "Sophon/model.onnx").write_bytes(model.SerializeToString())
    monkeypatch.setenv("JETTAGGER_MODELS", str(tmp_path))
    monkeypatch.chdir(shared / "sophon")
    top = run("jetclass2.coarse", jt=jt, ak=ak, jetclass2=jetclass2)["top"]
    assert len(top) == 30
    total = sum(ak.to_numpy(scores) for scores in top.values())
    np.testing.assert_allclose(total, 1, atol=1e-5)
