"""Assigners of several inputs with slots: offsets, indices back to each collection, four-vectors, data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from slot_networks import expected_slots, write_slot_network

import jettagger as jt
from jettagger.assignment import import_assigner, parse_event_text
from jettagger.errors import ConfigError
from jettagger.files.root import write_tree
from jettagger.studies import plan_predictions, predict_events

EVENT = """
INPUTS:
  SEQUENTIAL:
    Jets: {score: none, pt: log_normalize}
    Leptons: {score: none}
    FatJets: {score: none, mass: log}
  GLOBAL:
    Met: {met: log}
EVENT:
  t: [{b: Jets}, {l: Leptons}]
  h: [{b1: Jets}, b2]
  x: [{f: FatJets}]
"""

#: the global input in front of the others
FIRST = """
INPUTS:
  GLOBAL:
    Met: {met: log}
  SEQUENTIAL:
    Leptons: {score: none}
    Jets: {score: none, pt: log_normalize}
    FatJets: {score: none, mass: log}
EVENT:
  t: [{b: Jets}, {l: Leptons}]
  h: [{b1: Jets}, b2]
  x: [{f: FatJets}]
"""

MAPPING = """
version: 1
inputs:
  Jets: {collection: Jet, select: pt > 25, max_objects: 4, apart_from: {Leptons: 0.4}}
  Leptons: {collection: Electron, order: eta, max_objects: 2}
  FatJets: {collection: FatJet, select: mass > 40, max_objects: 2}
  Met: {features: {met: MET.pt}}
"""

COLLECTIONS = {"Jets": "Jet", "Leptons": "Electron", "FatJets": "FatJet"}


def made(n_events: int = 40, seed: int = 1) -> ak.Array:
    rng = np.random.default_rng(seed)

    def objects(most: int) -> Any:
        counts = rng.integers(0, most + 1, n_events)
        total = int(counts.sum())
        columns = {
            "pt": rng.uniform(15, 200, total),
            "eta": rng.uniform(-2.4, 2.4, total),
            "phi": rng.uniform(-3.1, 3.1, total),
            "mass": rng.uniform(5, 120, total),
            "score": rng.normal(size=total),
        }
        return ak.unflatten(ak.zip({name: values.astype(np.float32) for name, values in columns.items()}), counts)

    return ak.Array(
        {
            "Jet": objects(7),
            "Electron": objects(3)[["pt", "eta", "phi", "score"]],  # without a mass
            "FatJet": objects(3),
            "MET": ak.zip({"pt": rng.uniform(10, 100, n_events)}),
            "event": np.arange(n_events) + 100,
        }
    )


def folder(place: Path, text: str = EVENT, total: int | None = None, **more: Any) -> Path:
    (place / "event.yaml").write_text(text)
    (place / "inputs.yaml").write_text(MAPPING)
    network = write_slot_network(place / "model.onnx", parse_event_text(text), total=total)
    import_assigner(network, place / "event.yaml", place / "net", mapping=place / "inputs.yaml", input_log=True, **more)
    return place / "net"


def own_place(assigner: Any, request: Any, event: int, slot: int) -> tuple[str, int]:
    """Input and index in its collection of a slot over all inputs."""
    for item in assigner.event.sequential:
        mask = request.tensors.masks[item.name]
        if slot < mask.shape[1]:
            return item.name, int(request.tensors.indices[item.name][event, slot])
        slot -= mask.shape[1]
    raise AssertionError(slot)


@pytest.mark.parametrize("text", [EVENT, FIRST], ids=["global last", "global first"])
@pytest.mark.parametrize("slots", [None, {"Jets": 3, "Leptons": 1, "FatJets": 3}], ids=["any number", "fixed"])
@pytest.mark.filterwarnings("ignore:.*lose objects:UserWarning")
def test_objects_of_several_collections(text: str, slots: dict[str, int] | None, tmp_path: Path) -> None:
    total = None if slots is None else sum(slots.values())
    assigner = jt.load_assigner(folder(tmp_path, text, total, **({} if slots is None else {"slots": slots})), threads=1)
    events = made()
    request = assigner.source.request(events)
    attached = assigner.attach(events)
    names = [item.name for item in assigner.event.inputs]
    kept: set[str] = set()
    for number in range(len(events)):
        numbers, masks = {}, {}
        for item in assigner.event.sequential:
            have = request.tensors.masks[item.name]
            taken = np.arange(have.shape[1]) < (have.shape[1] if slots is None else slots[item.name])
            masks[item.name] = have[number] & taken
            numbers[item.name] = request.tensors.values[item.name][number, :, 0]
        for name, expected in expected_slots(assigner.event, numbers, masks).items():
            record = attached[f"assigned_{name}"][number]
            vectors = []
            for daughter, slot in zip(assigner.event.particle(name).daughters, expected, strict=True):
                got = (record[f"{daughter.name}Input"], record[f"{daughter.name}Idx"])
                if slot < 0:
                    assert got == (None, None)
                    continue
                source, index = own_place(assigner, request, number, slot)
                assert got == (names.index(source), index)
                kept.add(source)
                vectors.append(events[COLLECTIONS[source]][number, index])
            if not vectors:
                assert record.mass is None
                continue
            px = sum(one.pt * np.cos(one.phi) for one in vectors)
            pz = sum(one.pt * np.sinh(one.eta) for one in vectors)
            assert record.pt * np.cos(record.phi) == pytest.approx(px, rel=1e-4, abs=1e-2)
            assert record.pt * np.sinh(record.eta) == pytest.approx(pz, rel=1e-4, abs=1e-2)
            energies = [
                np.sqrt((one.pt * np.cosh(one.eta)) ** 2 + (one.mass if "mass" in one.fields else 0) ** 2)
                for one in vectors
            ]
            momentum = record.pt * np.cosh(record.eta)
            assert np.sqrt(record.mass**2 + momentum**2) == pytest.approx(sum(energies), rel=1e-4)
    assert kept == set(COLLECTIONS)


def test_how_many_of_each_input_a_network_takes_has_to_be_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exactly 7 objects of Jets, Leptons, FatJets together: say how many of each"):
        folder(tmp_path, total=7)
    with pytest.raises(ConfigError, match="got Jets=4, Leptons=2, FatJets=2"):
        folder(tmp_path, total=7, slots={"Jets": 4, "Leptons": 2, "FatJets": 2})


def test_data_sets_of_several_inputs_give_the_slots_of_their_own(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    net = folder(tmp_path)
    events = made(30, seed=4)
    columns = {f"{name}_{key}": events[name][key] for name in COLLECTIONS.values() for key in events[name].fields}
    write_tree(tmp_path / "a.root", [columns | {"MET_pt": events.MET.pt, "event": events.event}], note="{}")
    predict_events(plan_predictions(net, [tmp_path / "a.root"], tmp_path / "a.h5"))
    predict_events(plan_predictions(net, [tmp_path / "a.h5"], tmp_path / "b.h5"))
    assigner = jt.load_assigner(net, threads=1)
    found = assigner(events)
    with h5py.File(tmp_path / "a.h5") as one, h5py.File(tmp_path / "b.h5") as other:
        for particle in assigner.event.particles:
            for place, daughter in enumerate(particle.daughters):
                for file in (one, other):  # absolute, as in the original
                    slots = file[f"TARGETS/{particle.name}/{daughter.name}"][:]
                    assert slots.tolist() == found.assignments[particle.name][:, place].tolist()
        assert (one["TARGETS/x/f"][:] >= 6).any()
