"""The made-up world: the same every time, of the shape of PFNano, open to coffea."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

import jettagger as jt
from jettagger.bundles.places import PACKAGE
from jettagger.errors import OutputError
from jettagger.files.root import EventFile
from jettagger.testing import make_columns, make_events, make_tiny_model, write_pfnano


def test_the_same_seed_gives_the_same_events() -> None:
    one, other = make_columns(20, seed=4), make_columns(20, seed=4)
    assert list(one) == list(other)
    assert all(ak.array_equal(one[name], other[name], dtype_exact=True) for name in one)
    assert not ak.array_equal(one["FatJet_pt"], make_columns(20, seed=5)["FatJet_pt"])


def test_events_hang_together() -> None:
    events = make_events(200, seed=1)
    assert len(events) == 200
    n_jets = ak.num(events.FatJet.pt)
    assert 1.9 < ak.mean(n_jets) < 2.5
    assert ak.min(n_jets) == 0
    assert ak.all(events.FatJetPFCands.jetIdx < n_jets)
    assert ak.all(events.FatJetPFCands.pFCandsIdx < ak.num(events.PFCands.pt))
    assert ak.all(events.FatJetSVs.sVIdx < ak.num(events.SV.pt))
    for row in events.FatJetPFCands.pFCandsIdx.tolist():
        assert sorted(row) == list(range(len(row)))
    used = ak.flatten([[np.sum(np.asarray(e.FatJetPFCands.jetIdx) == j) for j in range(len(e.FatJet))] for e in events])
    assert 0 < np.mean(np.asarray(used) == 0) < 0.06
    assert 0 < np.mean(np.asarray(used) > 128) < 0.06
    assert ak.any(events.FatJetSVs.sVIdx == -1)
    assert ak.any(events.PFCands.trkChi2 == -1)
    neutral = events.PFCands.charge == 0
    assert ak.all(events.PFCands.trkChi2[neutral] == -1)
    known = events.FatJetSVs.sVIdx >= 0
    np.testing.assert_array_equal(
        ak.flatten(events.SV.pt[events.FatJetSVs.sVIdx[known]]), ak.flatten(events.FatJetSVs.pt[known])
    )


def test_the_numbers_asked_for_are_the_numbers_given() -> None:
    events = make_events(300, seed=2, jets=1.0, constituents=20)
    assert 0.8 < ak.mean(ak.num(events.FatJet.pt)) < 1.2
    assert 15 < ak.count(events.PFCands.pt) / ak.count(events.FatJet.pt) < 30


@pytest.mark.parametrize("n_events", [0, 1])
def test_few_events(n_events: int, tmp_path: Path) -> None:
    assert len(make_events(n_events, seed=1)) == n_events
    path = write_pfnano(tmp_path / "few.root", n_events, seed=1)
    with EventFile(path) as file:
        assert file.n_events == n_events


def test_the_file_opens_with_coffea_and_holds_the_same(tmp_path: Path) -> None:
    from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

    path = write_pfnano(tmp_path / "nano.root", 25, seed=6)
    events = NanoEventsFactory.from_root({str(path): "Events"}, schemaclass=PFNanoAODSchema).events()
    made = make_events(25, seed=6)
    for collection in ("FatJet", "PFCands", "FatJetPFCands", "SV", "FatJetSVs"):
        for field in made[collection].fields:
            assert ak.array_equal(events[collection, field], made[collection, field], check_parameters=False), field
    assert ak.all(events.FatJet.delta_r(events.FatJet) == 0)
    assert events.event.tolist() == list(range(1, 26))


def test_an_existing_file_is_kept_when_told_so(tmp_path: Path) -> None:
    path = write_pfnano(tmp_path / "nano.root", 2, seed=1)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        write_pfnano(path, 3, seed=1, force=False)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["nano.root"]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_tiny_network_is_the_packaged_one(tmp_path: Path) -> None:
    packaged = PACKAGE / "models" / "tinyParT" / "model.onnx"
    assert packaged.stat().st_size < 100_000
    made = make_tiny_model(tmp_path / "model.onnx")
    assert digest(made) == digest(make_tiny_model(tmp_path / "again.onnx")) == digest(packaged)
    assert digest(make_tiny_model(tmp_path / "other.onnx", seed=1)) != digest(packaged)


def test_the_tiny_network_has_the_interface_of_the_first_glopart(tiny: Any) -> None:
    real = jt.load_bundle("inclParTMDV1")
    assert [output.name for output in tiny.outputs] == [output.name for output in real.outputs]
    for one, other in zip(tiny.groups, real.groups, strict=True):
        assert (one.name, one.min_length, one.max_length) == (other.name, other.min_length, other.max_length)
        assert one.variables == other.variables
