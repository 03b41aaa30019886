"""The processor gives the same columns under every executor of coffea."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from coffea import processor
from coffea.nanoevents import PFNanoAODSchema
from jettagger.processors import TaggingProcessor

import jettagger as jt
from jettagger.errors import UnknownName
from jettagger.testing import make_events, write_pfnano

IDENTITY = ["run", "luminosityBlock", "event"]


def high(fatjets: Any) -> Any:
    return fatjets.pt > 250


@pytest.fixture(scope="module")
def fileset(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("nano")
    for name, seed in (("a1", 1), ("a2", 2), ("b", 3)):
        write_pfnano(folder / f"{name}.root", 20 + seed, seed=seed)
    paths = {name: str(folder / f"{name}.root") for name in ("a1", "a2", "b")}
    return {
        "A": {"files": {paths["a1"]: "Events", paths["a2"]: "Events"}},
        "B": {"files": {paths["b"]: "Events"}},
    }


def run(executor: Any, fileset: dict[str, Any], instance: TaggingProcessor, chunksize: int = 9) -> Any:
    runner = processor.Runner(executor, schema=PFNanoAODSchema, chunksize=chunksize)
    return runner(fileset, processor_instance=instance)


def quiet() -> Any:
    return processor.IterativeExecutor(status=False)


@pytest.fixture(scope="module")
def reference(fileset: dict[str, Any]) -> Any:
    return run(quiet(), fileset, TaggingProcessor("tinyParT", where=high, columns=["prob", "mass"]))


def assert_same_columns(got: Any, expected: Any) -> None:
    assert set(got) == set(expected)
    for dataset, result in expected.items():
        assert (got[dataset]["events"], got[dataset]["jets"]) == (result["events"], result["jets"])
        one, other = got[dataset]["columns"], result["columns"]
        assert list(one) == list(other)
        for name, column in other.items():
            assert ak.almost_equal(one[name], column, atol=1e-5, rtol=1e-4), name


@pytest.mark.slow
def test_the_columns_are_those_of_the_tagger(reference: Any) -> None:
    tagger = jt.load_tagger("tinyParT", threads=1)
    for dataset, seeds in (("A", (1, 2)), ("B", (3,))):
        events = ak.concatenate([make_events(20 + seed, seed=seed) for seed in seeds])
        scores = tagger(events, high(events.FatJet))
        result = reference[dataset]
        assert result["events"] == len(events)
        assert result["jets"] == ak.count(events.FatJet.pt)
        columns = result["columns"]
        assert columns["event"].tolist() == events.event.tolist()
        assert columns["FatJet_pt"].tolist() == events.FatJet.pt.tolist()
        for name in ("probHbb", "mass"):
            got, expected = (
                ak.to_numpy(ak.fill_none(ak.flatten(column), np.nan))
                for column in (columns[f"FatJet_tinyParT_{name}"], scores[name])
            )
            np.testing.assert_allclose(got, expected, atol=1e-5, rtol=1e-4)
        assert "FatJet_tinyParT_hidNeurons000" not in columns


@pytest.mark.slow
def test_chunks_change_nothing(fileset: dict[str, Any], reference: Any) -> None:
    instance = TaggingProcessor("tinyParT", where=high, columns=["prob", "mass"])
    assert_same_columns(run(quiet(), fileset, instance, chunksize=1000), reference)


@pytest.mark.slow
def test_processes_change_nothing(fileset: dict[str, Any], reference: Any) -> None:
    executor = processor.FuturesExecutor(workers=1, status=False)
    instance = TaggingProcessor("tinyParT", where=high, columns=["prob", "mass"])
    assert_same_columns(run(executor, fileset, instance), reference)


@pytest.mark.slow
def test_columns_may_go_to_a_folder(fileset: dict[str, Any], reference: Any, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    instance = TaggingProcessor("tinyParT", where=high, columns=["prob", "mass"], output=folder)
    result = run(quiet(), fileset, instance)
    assert {path.name for path in folder.iterdir()} == {
        Path(path).name for dataset in result.values() for path in dataset["files"]
    }
    for dataset, expected in reference.items():
        read = ak.concatenate([ak.from_parquet(path) for path in result[dataset]["files"]])
        for name, column in expected["columns"].items():
            assert ak.almost_equal(read[name], column, atol=1e-5, rtol=1e-4), name
    again = run(quiet(), fileset, instance)  # the same names: nothing appears twice
    assert again["A"]["files"] == result["A"]["files"]


def test_unknown_names_are_refused_when_it_is_made() -> None:
    with pytest.raises(UnknownName, match="probHbb"):
        TaggingProcessor("tinyParT", columns=["probHbbb"])
    assert TaggingProcessor("tinyParT", prefix="p", columns=["mass"]).names == {"mass": "p_mass"}
