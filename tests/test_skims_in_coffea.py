"""Skims open in coffea with its schemas, and their fat jets are four-vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import vector
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory, PFNanoAODSchema

import jettagger as jt
from jettagger.testing import make_events, write_pfnano


@pytest.fixture(scope="module")
def skims(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """In several chunks, with jets that were not scored and events without a jet to score."""
    folder = tmp_path_factory.mktemp("skims")
    nano = write_pfnano(folder / "nano.root", 25, seed=1)
    for suffix in ("parquet", "root"):
        jt.tag_files(
            *([str(nano)], "tinyParT", str(folder / f"s.{suffix}")),
            where="pt > 300",
            columns=["probHbb", "mass"],
            keep=["SV_*"],
            memory=300_000,
        )
    return {suffix: folder / f"s.{suffix}" for suffix in ("parquet", "root")}


def opened(path: Path, schema: Any, mode: str) -> Any:
    if path.suffix == ".parquet":
        return NanoEventsFactory.from_parquet(str(path), schemaclass=schema, mode=mode).events()
    return NanoEventsFactory.from_root({str(path): "Events"}, schemaclass=schema, mode=mode).events()


@pytest.mark.parametrize("suffix", ["parquet", "root"])
@pytest.mark.parametrize("schema", [NanoAODSchema, PFNanoAODSchema])
@pytest.mark.parametrize("mode", ["eager", "virtual"])
def test_fat_jets_are_four_vectors(skims: dict[str, Path], suffix: str, schema: Any, mode: str) -> None:
    events, expected = opened(skims[suffix], schema, mode), make_events(25, seed=1)
    jets, true = events.FatJet, expected.FatJet
    assert events.event.tolist() == expected.event.tolist()
    assert jets.pt.tolist() == true.pt.tolist()
    assert ak.all(jets.charge == 0)
    assert events.SV.pt.tolist() == expected.SV.pt.tolist()
    two = ak.num(true.pt) > 1
    first, second = (
        vector.array({name: ak.to_numpy(true[two][:, k][name]).astype("f8") for name in ("pt", "eta", "phi", "mass")})
        for k in (0, 1)
    )
    found = (jets[two][:, 0] + jets[two][:, 1]).mass
    np.testing.assert_allclose(ak.to_numpy(found), (first + second).mass, rtol=1e-4)
    np.testing.assert_allclose(
        ak.to_numpy(jets[two][:, 0].delta_r(jets[two][:, 1])), first.deltaR(second), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("suffix", ["parquet", "root"])
def test_jets_without_scores_stay_without(skims: dict[str, Path], suffix: str) -> None:
    events, expected = opened(skims[suffix], NanoAODSchema, "eager"), make_events(25, seed=1)
    scores = jt.load_tagger("tinyParT", threads=1)(expected, expected.FatJet.pt > 300).probHbb
    found = events.FatJet.tinyParT_probHbb
    flat = ak.to_numpy(ak.fill_none(ak.flatten(found), np.nan))
    np.testing.assert_allclose(flat, ak.to_numpy(ak.fill_none(ak.flatten(scores), np.nan)), rtol=1e-4, atol=1e-6)
    assert 0 < np.isnan(flat).sum() < len(flat)
