"""Training skims from events: labels from generator particles, on coffea's executors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from clusters import local_cluster
from coffea import processor
from coffea.nanoevents import PFNanoAODSchema
from jettagger.processors import FinetuneInputsProcessor
from jettagger.processors.finetune_inputs import generator_labels

import jettagger as jt
from jettagger.errors import MissingColumns, UnknownName
from jettagger.files.root import write_tree
from jettagger.finetuning import open_skim
from jettagger.testing import make_columns, make_events, write_pfnano

Particle = tuple[int, float, float, float, int]  # pdgId, eta, phi, mass, mother


def with_particles(particles: list[list[Particle]], jets: list[list[tuple[float, float]]]) -> Any:
    """Events of these generator particles and fat jets (eta, phi)."""
    names = ("pdgId", "eta", "phi", "mass", "genPartIdxMother")
    content = {
        name: ak.Array([[particle[i] for particle in event] for event in particles]) for i, name in enumerate(names)
    }
    content = {
        name: ak.values_astype(column, np.int32 if i in (0, 4) else np.float32)
        for i, (name, column) in enumerate(content.items())
    }
    axes = {
        name: ak.values_astype(ak.Array([[jet[i] for jet in event] for event in jets]), np.float32)
        for i, name in enumerate(("eta", "phi"))
    }
    return ak.zip({"GenPart": ak.zip(content), "FatJet": ak.zip(axes)}, depth_limit=1)


#: H -> gg with a copy in between and a gluon that is radiated; a second H -> tau tau
GLUONS: list[Particle] = [
    (25, 0.0, 0.0, 120.0, -1),
    (25, 0.1, 0.0, 119.0, 0),
    (21, 0.0, 0.3, 0.0, 1),
    (21, 0.2, -0.3, 0.0, 1),
    (21, 0.2, 0.6, 0.0, 2),
    (25, -1.0, 3.1, 90.0, -1),
    (15, -1.0, -3.1, 1.8, 5),
    (-15, -1.2, 2.0, 1.8, 5),
]
#: t -> b W -> b mu nu, and W -> c s on its own
TOP: list[Particle] = [
    (6, 0.0, 1.0, 172.0, -1),
    (5, 0.3, 1.0, 4.8, 0),
    (24, -0.1, 1.1, 80.0, 0),
    (24, -0.1, 1.1, 80.0, 2),
    (-13, -0.1, 1.3, 0.1, 3),
    (14, -0.1, 0.9, 0.0, 3),
    (-24, 1.5, -1.0, 81.0, -1),
    (-4, 1.5, -1.1, 1.3, 6),
    (3, 1.5, -2.5, 0.1, 6),
]


def test_jets_get_what_is_inside_of_them() -> None:
    events = with_particles(
        [GLUONS, TOP, [], [(21, 0.0, 0.0, 0.0, -1)]],
        [[(0.05, 0.0), (-1.0, -3.0), (2.4, 1.0)], [(0.1, 1.0), (1.5, -1.2)], [(0.0, 0.0)], [(0.0, 0.0)]],
    )
    found = {name: values.tolist() for name, values in generator_labels(events).items()}
    assert found["genResonance"] == [[25, 25, 0], [6, 24], [0], [0]]
    assert found["genResonanceMass"] == [[119, 90, -1], [172, 81], [-1], [-1]]
    assert found["genLegs"] == [[2, 2, 0], [2, 2], [0], [0]]
    assert found["genInside"] == [[2, 1, 0], [2, 1], [0], [0]]
    assert found["genGluons"] == [[2, 0, 0], [0, 0], [0], [0]]
    assert found["genTaus"] == [[0, 1, 0], [0, 0], [0], [0]]
    assert found["genBottoms"] == [[0, 0, 0], [1, 0], [0], [0]]
    assert found["genMuons"] == [[0, 0, 0], [1, 0], [0], [0]]
    assert found["genCharms"] == [[0, 0, 0], [0, 1], [0], [0]]
    assert found["genLights"] == [[0, 0, 0], [0, 0], [0], [0]]


def test_without_jets_or_particles() -> None:
    events = with_particles([GLUONS, []], [[], []])
    assert generator_labels(events)["genResonance"].tolist() == [[], []]
    with pytest.raises(MissingColumns, match="need the collection GenPart"):
        generator_labels(make_events(2, seed=1))


def two_gluons(events: Any) -> dict[str, Any]:
    """Labels that need no generator."""
    return {"label": ak.values_astype(events.FatJet.pt > 300, np.int32)}


@pytest.mark.slow
@pytest.mark.parametrize(
    "executor", [processor.IterativeExecutor(), processor.FuturesExecutor(workers=2)], ids=["iterative", "futures"]
)
def test_skims_are_written_by_executors(executor: Any, tmp_path: Path) -> None:
    files = [str(write_pfnano(tmp_path / f"{i}.root", 6, seed=i)) for i in range(2)]
    job = FinetuneInputsProcessor("tinyParT", tmp_path / "skims", keep=["FatJet_rawFactor"], labels=two_gluons)
    run = processor.Runner(executor=executor, schema=PFNanoAODSchema, chunksize=4)
    out = run({"toy": files}, job, treename="Events")
    assert out["toy"]["events"] == 12
    assert len(out["toy"]["files"]) == 4
    parts = [ak.from_parquet(path) for path in out["toy"]["files"]]
    skim = ak.concatenate(parts)
    assert len(skim) == 12
    assert out["toy"]["jets"] == ak.count(skim.FatJet_pt)
    assert {"event", "genWeight", "FatJet_rawFactor", "FatJet_label", "FatJet_tinyParT_hidNeurons127"} <= set(
        skim.fields
    )
    assert skim.FatJet_label.tolist() == (skim.FatJet_pt > 300).tolist()
    direct = jt.tag_files(files, "tinyParT", str(tmp_path / "direct.parquet"))
    assert direct.events == 12
    expected = ak.from_parquet(tmp_path / "direct.parquet")["FatJet_tinyParT_mass"]
    np.testing.assert_allclose(
        ak.flatten(skim.FatJet_tinyParT_mass).to_numpy(), ak.flatten(expected).to_numpy(), rtol=1e-4
    )
    assert open_skim(out["toy"]["files"][0]).digest == jt.load_bundle("tinyParT").digest


def with_generator(path: Path, seed: int) -> str:
    """A PFNano file with an H -> gg on the first fat jet of every other event."""
    columns = make_columns(30, seed=seed)
    particles: list[list[Particle]] = []
    for number, (etas, phis) in enumerate(zip(columns["FatJet_eta"], columns["FatJet_phi"], strict=True)):
        if number % 2 or not len(etas):
            particles.append([])
        else:
            eta, phi = etas[0], phis[0]
            particles.append([(25, eta, phi, 125, -1), (21, eta, phi + 0.1, 0, 0), (21, eta + 0.1, phi, 0, 0)])
    made = with_particles(particles, [[(0.0, 0.0)]] * len(particles)).GenPart
    columns |= {f"GenPart_{name}": made[name] for name in made.fields} | {"GenPart_pt": 0 * made.eta + 100}
    write_tree(path, [columns])
    return str(path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore:.*:UserWarning:distributed.*")
def test_dask_workers_write_the_same_skims(tmp_path: Path) -> None:
    files = {f"toy{i}": [with_generator(tmp_path / f"{i}.root", i)] for i in range(2)}
    skims = {}
    with local_cluster(tmp_path / "dask") as client:
        for name, executor in (
            ("iterative", processor.IterativeExecutor(status=False)),
            ("dask", processor.DaskExecutor(client=client, status=False)),
        ):
            job = FinetuneInputsProcessor("tinyParT", tmp_path / name, keep=["FatJet_rawFactor"])
            run = processor.Runner(executor=executor, schema=PFNanoAODSchema, chunksize=8)
            skims[name] = run(files, job, treename="Events")
    assert set(skims["dask"]) == {"toy0", "toy1"}
    for dataset, found in skims["dask"].items():
        expected = skims["iterative"][dataset]
        assert {key: found[key] for key in ("events", "jets")} == {key: expected[key] for key in ("events", "jets")}
        names = [[Path(path).name for path in result["files"]] for result in (found, expected)]
        assert names[0] == names[1]
        assert len(names[0]) > 2
        ours, theirs = (ak.concatenate([ak.from_parquet(path) for path in r["files"]]) for r in (found, expected))
        assert ours.fields == theirs.fields
        assert 8 < ak.sum(ours.FatJet_genGluons == 2) < len(ours)
        for name in ours.fields:
            first, second = (ak.to_numpy(ak.flatten(array[name], axis=None)) for array in (ours, theirs))
            np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6, err_msg=name)


def test_patterns_that_match_nothing(tmp_path: Path) -> None:
    events = make_events(3, seed=1)
    with pytest.raises(
        UnknownName, match=r"unknown column to keep in these events: 'FatJet_rawfactor' \(nearest: FatJet_raw"
    ):
        FinetuneInputsProcessor("tinyParT", tmp_path, keep=["FatJet_rawfactor"], labels=None).process(events)


def test_labels_agree_with_those_of_the_simulation(tmp_path: Path, one_mass: None) -> None:
    pytest.importorskip("pythia8mc", reason="the extra sim is not installed")
    pytest.importorskip("fastjet", reason="the extra sim is not installed")
    from coffea.nanoevents import NanoEventsFactory

    from jettagger.simulation import LABELS, simulate

    path = tmp_path / "xgg.root"
    simulate("Xgg", 25, str(path), seed=3)
    events = NanoEventsFactory.from_root({str(path): "Events"}, schemaclass=PFNanoAODSchema, mode="eager").events()
    found = generator_labels(events)
    truth = ak.flatten(events.FatJet.label).to_numpy()
    mine = ak.flatten((found["genResonance"] == 25) & (found["genGluons"] == 2)).to_numpy()
    assert (mine == (truth == LABELS["Xgg"])).all()
    assert mine.sum() >= 20
    np.testing.assert_allclose(
        ak.flatten(found["genResonanceMass"]).to_numpy()[mine],
        ak.flatten(events.FatJet.genResonanceMass).to_numpy()[mine],
        rtol=2e-3,
    )
