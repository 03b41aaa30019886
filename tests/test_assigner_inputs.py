"""Assigners of several inputs with slots: offsets, indices back to each collection, four-vectors, data sets."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import awkward as ak
import numpy as np
import pytest
from slot_networks import expected_slots, write_slot_network

import jettagger as jt
from jettagger.assignment import import_assigner, parse_event_text
from jettagger.assignment.blocks import whole_values
from jettagger.errors import ConfigError, MismatchError
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


def written(path: Path, events: Any) -> str:
    columns = {f"{name}_{key}": events[name][key] for name in COLLECTIONS.values() for key in events[name].fields}
    write_tree(path, [columns | {"MET_pt": events.MET.pt, "event": events.event}], note="{}")
    return str(path)


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
    predict_events(plan_predictions(net, [written(tmp_path / "a.root", events)], tmp_path / "a.h5"))
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


#: a relative input, whose features of pairs come first and last, between others
RELATIVE = """
INPUTS:
  RELATIVE:
    Jets: {dr: none, pt: log_normalize, mass: log_normalize}
  GLOBAL:
    Met: {met: log}
  SEQUENTIAL:
    Leptons: {score: none}
EVENT:
  t: [{b: Jets}, {l: Leptons}]
  h: [{b1: Jets}, {b2: Jets}]
PERMUTATIONS: {h: [[b1, b2]]}
"""

PAIRS = """
version: 1
inputs:
  Jets:
    collection: Jet
    select: pt > 25
    max_objects: 5
    pairs: {dr: pair.delta_r * first.score, mass: pair.mass}
  Leptons: {collection: Electron, max_objects: 2}
  Met: {features: {met: MET.pt}}
targets:
  weight: "1"
"""


def relative_folder(place: Path, **more: Any) -> Path:
    (place / "event.yaml").write_text(RELATIVE)
    (place / "inputs.yaml").write_text(PAIRS)
    if not (place / "model.onnx").exists():
        write_slot_network(place / "model.onnx", parse_event_text(RELATIVE))
    files = {"mapping": place / "inputs.yaml", "input_log": True}
    import_assigner(place / "model.onnx", place / "event.yaml", place / "net", **files, **more)
    return place / "net"


def distances(events: Any, number: int) -> tuple[list[int], np.ndarray]:
    """The jets of an event in order of pt, and for each its score times the sum of its distances to all of them."""
    jets = events.Jet[number]
    order = [int(index) for index in np.argsort(-np.asarray(jets.pt), kind="stable") if jets.pt[index] > 25][:5]
    eta, phi = (np.asarray(jets[name], np.float64)[order] for name in ("eta", "phi"))
    dphi = (phi[:, None] - phi[None] + np.pi) % (2 * np.pi) - np.pi
    return order, np.hypot(eta[:, None] - eta[None], dphi).sum(1) * np.asarray(jets.score)[order]


def test_objects_of_relative_inputs(tmp_path: Path) -> None:
    """The network takes the sum of the first feature of the pairs of a jet."""
    assigner = jt.load_assigner(relative_folder(tmp_path), threads=1)
    assert assigner.model.slots == {"Jets": None, "Leptons": None}
    events = made(30, seed=2)
    attached = assigner.attach(events)
    assert attached.fields[-3:] == ["assigned_t", "assigned_h", "assigned"]
    kept = 0
    for number in range(len(events)):
        order, sums = distances(events, number)
        electrons = [int(index) for index in np.argsort(-np.asarray(events.Electron[number].pt), kind="stable")][:2]
        scores = np.asarray(events.Electron[number].score)[electrons]
        numbers = {"Jets": sums, "Leptons": scores}
        masks = {name: np.ones(len(values), bool) for name, values in numbers.items()}
        for name, slots in expected_slots(assigner.event, numbers, masks).items():
            record = attached[f"assigned_{name}"][number]
            daughters = [daughter.name for daughter in assigner.event.particle(name).daughters]
            got = [(record[f"{daughter}Input"], record[f"{daughter}Idx"]) for daughter in daughters]
            if slots[0] < 0:
                assert got == [(None, None)] * 2
                continue
            kept += 1
            first = len(order)  # slot of the first electron
            assert got == [(0, order[slot]) if slot < first else (2, electrons[slot - first]) for slot in slots]
    assert kept > 30


def test_data_sets_with_pairs_give_the_tensors_that_an_assigner_sees(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    from jettagger.assignment import AssignmentDataset, InputMaker, make_inputs

    net = relative_folder(tmp_path)
    events = made(30, seed=4)
    path = written(tmp_path / "a.root", events)
    maker = InputMaker(tmp_path / "event.yaml", tmp_path / "inputs.yaml")
    counts = make_inputs({"a": [path]}, tmp_path / "a.h5", maker, events_per_block=11)
    assert counts.written == 30
    assigner = jt.load_assigner(net, threads=1)
    request = assigner.source.request(events).tensors
    read = AssignmentDataset(tmp_path / "a.h5", assigner.event).read()
    assert read.pair_features == request.pair_features == {"Jets": ("dr", "mass")}
    for part in ("values", "masks", "pair_values"):
        for name, values in getattr(request, part).items():
            np.testing.assert_array_equal(values, getattr(read, part)[name])
    one, other = assigner(events, distributions=True), assigner.run(read, distributions=True)
    for name, logs in one.log_probabilities.items():
        np.testing.assert_array_equal(logs, other.log_probabilities[name])
    # predictions of events, and of these predictions again
    predict_events(plan_predictions(net, [path], tmp_path / "p.h5"))
    predict_events(plan_predictions(net, [tmp_path / "p.h5"], tmp_path / "q.h5"), size=7)
    again = AssignmentDataset(tmp_path / "q.h5", assigner.event, labels=False).read()
    np.testing.assert_array_equal(again.pair_values["Jets"], read.pair_values["Jets"])
    with h5py.File(tmp_path / "q.h5") as file:
        np.testing.assert_array_equal(file["TARGETS/h/b2"][:], one.assignments["h"][:, 1])


def test_data_sets_with_other_pairs_are_not_mixed(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    from jettagger.assignment import DatasetWriter

    net = relative_folder(tmp_path)
    event, slots = jt.load_assigner(net).event, {"Jets": 3, "Leptons": 2}
    for name, pairs in (("a", ["dr", "mass"]), ("b", ["dr"])):
        with DatasetWriter(tmp_path / f"{name}.h5", event, slots, labels=False, pair_features={"Jets": pairs}):
            pass
    with pytest.raises(MismatchError, match=r"b\.h5 has the features of pairs .*'dr',.* before have .*'mass'"):
        plan_predictions(net, [tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "o.h5")


def test_tables_have_the_pairs_of_real_objects(tmp_path: Path) -> None:
    from jettagger.assignment import InputMaker, make_inputs

    relative_folder(tmp_path)
    events = made(20, seed=4)
    maker = InputMaker(tmp_path / "event.yaml", tmp_path / "inputs.yaml")
    files = {"a": [written(tmp_path / "a.root", events)], "b": [written(tmp_path / "b.root", events[:0])]}
    make_inputs(files, tmp_path / "a.parquet", maker, events_per_block=7)
    read = ak.from_parquet(tmp_path / "a.parquet")
    for number in range(len(events)):
        order, sums = distances(events, number)
        rows = ak.to_list(read["INPUTS/Jets/dr"][number])
        assert [len(row) for row in rows] == [len(order)] * len(order)
        np.testing.assert_allclose([sum(row) for row in rows], sums, rtol=1e-5, atol=1e-5)
    make_inputs({"b": files["b"]}, tmp_path / "b.parquet", maker)
    assert ak.from_parquet(tmp_path / "b.parquet").type == ak.from_parquet(tmp_path / "a.parquet")[:0].type


def test_values_of_pairs_are_checked(tmp_path: Path) -> None:
    assigner = jt.load_assigner(relative_folder(tmp_path), threads=1)
    events = made(6, seed=4)
    request = assigner.source.request(events).tensors
    bare = SimpleNamespace(values=request.values, masks=request.masks)
    with pytest.raises(MismatchError, match=r"'Jets' has 1 features of objects and 0 of pairs, expected 3 \(dr, pt"):
        assigner.run(bare)
    given = {"values": request.values, "masks": request.masks, "pair_features": request.pair_features}
    short = {"Jets": request.pair_values["Jets"][:, :4]}
    with pytest.raises(MismatchError, match=r"values of pairs are \[6, 4, 5, 2\].* 6 events and 5 slots"):
        assigner.run(SimpleNamespace(**given, pair_values=short))
    number = int(np.argmax(request.masks["Jets"].sum(1)))
    broken = request.pair_values["Jets"].copy()
    broken[number, 0, 1, 0] = np.nan
    with pytest.warns(RuntimeWarning, match=f"1 of 6 events are not scored.*the first is event {number} "):
        found = assigner.run(SimpleNamespace(**given, pair_values={"Jets": broken}))
    assert not found.scored[number]
    # of a padded slot it does not matter
    padded = request.pair_values["Jets"].copy()
    padded[~request.masks["Jets"]] = np.nan
    for name, slots in assigner.run(SimpleNamespace(**given, pair_values={"Jets": padded})).assignments.items():
        np.testing.assert_array_equal(slots, assigner.run(request).assignments[name])
    # all features of each pair may be given, too
    whole = whole_values(assigner.event.inputs[0], request.values["Jets"], request.pair_values["Jets"], ("dr", "mass"))
    found = assigner.run(SimpleNamespace(values={**request.values, "Jets": whole}, masks=request.masks))
    np.testing.assert_array_equal(found.assignments["h"], assigner.run(request).assignments["h"])


@pytest.mark.parametrize("input_log", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_exported_networks_with_pairs_give_the_numbers_of_torch(input_log: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from assignment_networks import network

    from jettagger.assignment import export_network
    from jettagger.assignment.statistics import log_inputs

    description = parse_event_text(RELATIVE)
    net = network(description)
    export_network(net, tmp_path / "model.onnx", input_log=input_log)
    (tmp_path / "event.yaml").write_text(RELATIVE)
    (tmp_path / "inputs.yaml").write_text(PAIRS)
    # event file and logarithms are recorded in the file
    import_assigner(tmp_path / "model.onnx", None, tmp_path / "net", mapping=tmp_path / "inputs.yaml")
    assigner = jt.load_assigner(tmp_path / "net", threads=1)
    assert (assigner.model.input_log, assigner.event) == (input_log, description)
    events = made(12, seed=6)
    request = assigner.source.request(events).tensors
    pairs = {"pair_values": request.pair_values, "pair_features": request.pair_features}
    logs = log_inputs(request.values, request.masks, description, **pairs)
    with torch.no_grad():
        outputs = net(
            {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in logs.items()},
            {name: torch.from_numpy(mask) for name, mask in request.masks.items()},
        )
    found = assigner(events, distributions=True)
    for name, expected in outputs.assignments.items():
        got, wanted = found.log_probabilities[name][found.scored], expected.numpy()[found.scored]
        possible = np.isfinite(wanted)
        assert np.array_equal(np.isfinite(got), possible)
        np.testing.assert_allclose(got[possible], wanted[possible], rtol=1e-4, atol=1e-4)
    assert "assigned_h" in assigner.attach(events).fields


@pytest.mark.parametrize("kind", ["several", "relative"])
def test_dask_awkward_and_parts_give_the_same(kind: str, tmp_path: Path) -> None:
    assigner = jt.load_assigner(folder(tmp_path) if kind == "several" else relative_folder(tmp_path), threads=1)
    events = made(24, seed=8)
    names = [f"assigned_{particle.name}" for particle in assigner.event.particles]
    whole = assigner.attach(events)
    parts = ak.concatenate([assigner.attach(events[start : start + 7]) for start in range(0, 24, 7)])
    for name in names:
        for field in whole[name].fields:
            one, two = whole[name][field], parts[name][field]
            assert ak.to_list(ak.is_none(one)) == ak.to_list(ak.is_none(two))
            np.testing.assert_allclose(ak.drop_none(one), ak.drop_none(two), rtol=1e-5, atol=1e-6)
    dask_awkward = pytest.importorskip("dask_awkward")
    attached = assigner.attach(dask_awkward.from_awkward(events, npartitions=3))
    assert attached._meta.type.content == whole.type.content
    computed = attached.compute()
    for name in names:
        for field in whole[name].fields:
            if field.endswith(("Idx", "Input")):
                assert ak.to_list(computed[name][field]) == ak.to_list(whole[name][field])
