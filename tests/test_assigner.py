"""Networks that assign objects to particles: references, formulas, attached columns, pickling, cache, bad folders."""

from __future__ import annotations

import itertools
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from agreement import Agreement
from assigners import DECAYS, EVENT, MAPPING, assigner_folder, jet_events, masses, raw_folder, tensors
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import blocks
from shown import check_shown

import jettagger as jt
from jettagger.assignment import (
    AssignerOptions,
    CutObjectsWarning,
    import_assigner,
    parse_event_text,
    read_assigner,
)
from jettagger.assignment.exporting import FLAGS
from jettagger.errors import (
    BundleError,
    BundleNotFound,
    ConfigError,
    InvalidValues,
    JettaggerError,
    MismatchError,
    MissingColumns,
    MissingModelFile,
    ModelFileError,
    UnknownName,
)
from jettagger.provenance import read_provenance

PARTICLES = ("lt", "ht", "h")


@pytest.fixture(scope="module")
def any_number(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that takes any number of jets."""
    return assigner_folder(tmp_path_factory.mktemp("any"))


@pytest.fixture(scope="module")
def six_jets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that takes six jets."""
    return assigner_folder(tmp_path_factory.mktemp("six"), slots=6)


@pytest.fixture(scope="module")
def assigner(any_number: Path) -> Any:
    return jt.load_assigner(any_number, threads=1)


def same(one: Any, other: Any, *, exact: bool = True) -> None:
    """Two results have the same assignments and numbers."""
    assert one.scored.tolist() == other.scored.tolist()
    for name in PARTICLES:
        assert one.assignments[name].tolist() == other.assignments[name].tolist()
        for kind in ("assignment_probability", "detection_probability", "marginal_probability"):
            left, right = getattr(one, kind)[name], getattr(other, kind)[name]
            np.testing.assert_allclose(left, right, rtol=0 if exact else 1e-4, atol=0 if exact else 1e-6)
    for kind in ("regressions", "classes", "embeddings"):
        for name, values in getattr(one, kind).items():
            np.testing.assert_allclose(values, getattr(other, kind)[name], rtol=1e-4, atol=1e-6)


@pytest.mark.data
def test_the_exported_network_of_the_original_gives_its_numbers(
    shared: Path, tmp_path: Path, agrees: Agreement
) -> None:
    folder = shared / "data/spanet" if (shared / "data").is_dir() else shared / "spanet"
    import_assigner(
        folder / "ttH.onnx",
        folder / "ttH_event.yaml",
        tmp_path / "ttH",
        options=folder / "ttH_options.json",
        input_log=False,
    )
    assigner = jt.load_assigner(tmp_path / "ttH", threads=1)
    assert assigner.model.slots == {"Momenta": 19}
    known = json.loads((folder / "ttH_normalisation.json").read_text())
    assert known
    assert assigner.model.statistics["Momenta"]["pt"].mean == pytest.approx(4.2452, abs=1e-4)
    reference = np.load(folder / "ttH_forward64.npz")
    values = {name: reference[f"in_{name}_data"] for name in ("Momenta", "Met")}
    masks = {name: reference[f"in_{name}_mask"] for name in ("Momenta", "Met")}
    for item in assigner.event.inputs:
        for place, feature in enumerate(item.features):
            if feature.log:
                values[item.name][..., place] = np.expm1(values[item.name][..., place])
    found = assigner.run(tensors(values, masks), distributions=True)
    for name in PARTICLES:
        expected, got = reference[f"{name}_assignment_log_probability"], found.log_probabilities[name]
        assert np.array_equal(np.isfinite(expected), np.isfinite(got))
        agrees("spanet/onnx", got, expected, sample=64, atol=1e-4, part=name)
        assert np.array_equal(found.assignments[name], reference[f"{name}_decoded"])
        detection = 1 / (1 + np.exp(-reference[f"{name}_detection_logit"]))
        np.testing.assert_allclose(found.detection_probability[name], detection, atol=1e-5)
    for path in assigner.event.regressions:
        np.testing.assert_allclose(found.regressions[path], reference[path.replace("/", "__")], rtol=1e-4, atol=1e-3)
    logits = reference["EVENT__signal_logits"]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.classes["EVENT/signal"], expected, atol=1e-5)


@pytest.mark.data
def test_a_data_set_of_the_original_gives_its_assignments(shared: Path, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    from jettagger.assignment.datasets import AssignmentDataset

    folder = shared / "spanet"
    import_assigner(folder / "ttH.onnx", folder / "ttH_event.yaml", tmp_path / "ttH", input_log=False)
    assigner = jt.load_assigner(tmp_path / "ttH", threads=1)
    found = assigner.run(AssignmentDataset(folder / "examples/ttH.h5", assigner.event).read())
    reference = np.load(folder / "ttH_full_decoded.npz")
    differing = 0
    for name in PARTICLES:
        same_slots = (found.assignments[name] == reference[f"{name}_pred"]).all(axis=1)
        differing += np.count_nonzero(~same_slots)
        for kind in ("assignment_probability", "detection_probability"):
            got, expected = getattr(found, kind)[name], reference[f"{name}_{kind}"]
            np.testing.assert_allclose(got[same_slots], expected[same_slots], atol=2e-5)
    # events with impossible particles, or fewer objects than daughters, would differ: there are none in this data set
    assert differing == 0
    assert found.report.unassigned == dict.fromkeys(PARTICLES, 0)


def test_the_page_runs(any_number: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (any_number.parent / "ttH").unlink(missing_ok=True)
    (any_number.parent / "ttH").symlink_to(any_number)
    monkeypatch.chdir(any_number.parent)
    (block,) = blocks("docs/assignment.md", "python", "load_assigner")
    names = {"jt": jt, "events": jet_events(10, seed=3)}
    exec(compile(block, "docs/assignment.md", "exec"), names)
    assert len(names["events"].assigned.EVENT_neutrino_px) == 10


def expected_distribution(jets: Any, particle: str) -> np.ndarray:
    """exp(-chi2/2) with the weights of tags, over all tuples of different jets, by loops."""
    decay = masses.__dict__[{"lt": "LEPTONIC_TOP", "ht": "HADRONIC_TOP", "h": "HIGGS"}[particle]]
    vectors = [
        np.array(
            [
                np.sqrt(jet["mass"] ** 2 + (jet["pt"] * np.cosh(jet["eta"])) ** 2),
                jet["pt"] * np.cos(jet["phi"]),
                jet["pt"] * np.sin(jet["phi"]),
                jet["pt"] * np.sinh(jet["eta"]),
            ]
        )
        for jet in jets
    ]
    made = np.zeros((len(jets),) * decay.daughters)
    for slots in itertools.permutations(range(len(jets)), decay.daughters):
        weight = 1.0
        for daughter, slot in enumerate(slots):
            tag = jets[slot]["btagDeepFlavB"]
            weight *= tag + 0.01 if daughter in decay.b_quarks else 1.01 - tag
        for daughters, mean, width in decay.masses:
            total = sum(vectors[slots[daughter]] for daughter in daughters)
            mass = np.sqrt(max(total[0] ** 2 - (total[1:] ** 2).sum(), 0))
            weight *= np.exp(-0.5 * ((mass - mean) / width) ** 2)
        made[slots] = weight
    return made / made.sum()


def test_distributions_are_those_of_the_formula(assigner: Any) -> None:
    events = jet_events(6, seed=3)
    found = assigner(events, distributions=True)
    compared = 0
    for number, event in enumerate(events):
        jets = sorted((jet for jet in ak.to_list(event.Jet) if jet["pt"] > 25), key=lambda jet: -jet["pt"])[:8]
        for particle in PARTICLES:
            if len(jets) < DECAYS[particle].daughters:
                assert found.assignments[particle][number].tolist() == [-1] * DECAYS[particle].daughters
                continue
            inside = (slice(len(jets)),) * DECAYS[particle].daughters
            got = np.exp(found.log_probabilities[particle][number].astype(np.float64))
            assert got.sum() == pytest.approx(1, abs=1e-5)
            np.testing.assert_allclose(got[inside], expected_distribution(jets, particle), atol=2e-4)
            compared += 1
    assert compared > 6


def test_attached_columns(assigner: Any) -> None:
    events = jet_events(30, seed=5)
    attached = assigner.attach(events)
    assert set(attached.fields) == {*events.fields, "assigned", "assigned_lt", "assigned_ht", "assigned_h"}
    assert set(events.fields) == {"Jet", "MET", "event", "weight"}
    found = assigner(events)
    kept = 0
    for number in range(len(events)):
        used: list[int] = []
        for particle in assigner.event.particles:
            record = attached[f"assigned_{particle.name}"][number]
            indices = [record[f"{daughter.name}Idx"] for daughter in particle.daughters]
            if found.assignments[particle.name][number, 0] < 0:
                assert indices == [None] * len(indices)
                assert all(record[name] is None for name in ("pt", "mass", "assignment_probability"))
                continue
            kept += 1
            used += indices
            jets = [events.Jet[number, index] for index in indices]
            assert all(jet.pt > 25 for jet in jets)
            px = sum(jet.pt * np.cos(jet.phi) for jet in jets)
            py = sum(jet.pt * np.sin(jet.phi) for jet in jets)
            pz = sum(jet.pt * np.sinh(jet.eta) for jet in jets)
            energy = sum(np.sqrt(jet.mass**2 + (jet.pt * np.cosh(jet.eta)) ** 2) for jet in jets)
            assert record.pt == pytest.approx(np.hypot(px, py), rel=1e-5)
            assert record.phi == pytest.approx(np.arctan2(py, px), abs=1e-5)
            assert record.eta == pytest.approx(np.arcsinh(pz / np.hypot(px, py)), abs=1e-4)
            assert record.mass == pytest.approx(np.sqrt(max(energy**2 - px**2 - py**2 - pz**2, 0)), rel=1e-3, abs=0.1)
            assert record.marginal_probability == pytest.approx(
                record.assignment_probability * record.detection_probability, rel=1e-5
            )
        assert len(set(used)) == len(used)
    assert kept > 30
    assert ak.to_list(attached.assigned.scored) == found.scored.tolist()
    assert attached.assigned.EVENT_neutrino_px[0] is None  # no jets
    assert len(attached.assigned.EVENT_signal[1]) == 2
    # the sum of two particles, None where one of them is
    pytest.importorskip("vector")
    both = (attached.assigned_ht + attached.assigned_h).mass
    missing = ak.is_none(attached.assigned_ht.mass) | ak.is_none(attached.assigned_h.mass)
    assert ak.to_list(ak.is_none(both)) == ak.to_list(missing)


def test_names_that_exist_and_prefixes(assigner: Any) -> None:
    events = assigner.attach(jet_events(3))
    with pytest.raises(MismatchError, match=r"assigned, assigned_h, assigned_ht, assigned_lt already"):
        assigner.attach(events)
    with pytest.raises(MismatchError, match="prefix"):
        assigner.attach(events, prefix="a b")
    assert "other_ht" in assigner.attach(events, prefix="other").fields


def test_padding_does_not_matter(assigner: Any, tmp_path: Path) -> None:
    padded = jt.load_assigner(assigner_folder(tmp_path, slots=11), threads=1)
    events = jet_events(30, seed=7)
    same(assigner(events), padded(events), exact=False)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_permuted_jets_permute_the_answer(assigner: Any, seed: int) -> None:
    events = jet_events(8, seed=seed)
    rng = np.random.default_rng(seed)
    counts = ak.num(events.Jet.pt)
    order = ak.Array([rng.permutation(count) for count in counts])
    permuted = ak.with_field(events, events.Jet[order], "Jet")
    one, other = assigner.attach(events), assigner.attach(permuted)
    for particle in assigner.event.particles:
        for daughter in particle.daughters:
            own = ak.to_list(one[f"assigned_{particle.name}"][f"{daughter.name}Idx"])
            moved = ak.to_list(other[f"assigned_{particle.name}"][f"{daughter.name}Idx"])
            back = [None if index is None else int(order[event][index]) for event, index in enumerate(moved)]
            assert back == own


def test_a_short_axis_of_jets_is_said_and_counted(six_jets: Path, assigner: Any) -> None:
    events = jet_events(40)
    selected = ak.to_numpy(ak.sum(events.Jet.pt > 25, axis=1))
    short = jt.load_assigner(six_jets, threads=1)
    with pytest.warns(CutObjectsWarning, match=f"{np.count_nonzero(selected > 6)} of 40 events lose objects of Jets"):
        found = short(events)
    assert found.report.cut == {"Jets": np.count_nonzero(selected > 6)}
    few = selected <= 6
    whole = assigner(events)
    for name in PARTICLES:
        assert np.array_equal(found.assignments[name][few], whole.assignments[name][few])
    # those that only the mapping cuts are counted, too
    assert whole.report.cut == {"Jets": np.count_nonzero(selected > 8)}


@pytest.mark.parametrize("options", [{"input_log": False}, {"output_log": True}])
def test_logarithms_inside_and_outside_of_the_network(options: dict[str, bool], assigner: Any, tmp_path: Path) -> None:
    other = jt.load_assigner(assigner_folder(tmp_path, **options), threads=1)
    assert other.model.input_log == options.get("input_log", True)
    assert other.model.names.output_log == options.get("output_log", False)
    events = jet_events(20, seed=11)
    one, two = assigner(events), other(events)
    for name in PARTICLES:
        first = 1 if name == "ht" else 0  # q1 and q2, or b1 and b2, come in any order where rounding differs
        for slots in (one.assignments[name], two.assignments[name]):
            slots[:, first:].sort(axis=1)
        assert np.array_equal(one.assignments[name], two.assignments[name])
        np.testing.assert_allclose(
            one.assignment_probability[name], two.assignment_probability[name], rtol=1e-3, atol=1e-5
        )
        np.testing.assert_allclose(one.detection_probability[name], two.detection_probability[name], atol=1e-4)
    np.testing.assert_allclose(one.classes["EVENT/signal"], two.classes["EVENT/signal"], atol=1e-3)


def test_embeddings_on_request(assigner: Any, tmp_path: Path) -> None:
    other = jt.load_assigner(assigner_folder(tmp_path, embeddings=True), threads=1)
    events = jet_events(5)
    found = other(events, embeddings=True)
    assert found.embeddings["EVENT"].shape == (5, 2)
    assert "embedding_EVENT" not in other.attach(events).assigned.fields
    attached = other.attach(events, embeddings=True).assigned.embedding_EVENT
    assert attached[0] is None
    np.testing.assert_array_equal(attached[1], found.embeddings["EVENT"][1])
    with pytest.raises(ConfigError, match="--output-embeddings"):
        assigner(events, embeddings=True)


def test_events_in_pieces_give_the_same(assigner: Any, any_number: Path) -> None:
    events = jet_events(30, seed=13)
    whole = assigner(events)
    small = jt.load_assigner(any_number, threads=1, batch_size=4)
    same(whole, small(events), exact=False)
    parts = [assigner(events[start : start + 7]) for start in range(0, 30, 7)]
    for name in PARTICLES:
        assert np.array_equal(whole.assignments[name], np.concatenate([part.assignments[name] for part in parts]))
    total = sum((part.report for part in parts[1:]), parts[0].report)
    assert (total.events, total.scored, total.unassigned) == (30, whole.report.scored, whole.report.unassigned)
    nothing = assigner.attach(events[:0])
    assert len(nothing) == 0
    assert nothing.assigned_ht.mass.type.content == assigner.attach(events).assigned_ht.mass.type.content


def test_only_needed_columns_of_virtual_events_are_read(assigner: Any) -> None:
    events = jet_events(12, seed=2)
    events = ak.with_field(events, ak.with_field(events.Jet, events.Jet.pt * 2, "unused"), "Jet")
    form, length, buffers = ak.to_buffers(ak.to_packed(events))
    read: list[str] = []

    def generator(key: str) -> Any:
        def generate() -> Any:
            read.append(key)
            return buffers[key]

        return generate

    virtual = ak.from_buffers(form, length, {key: generator(key) for key in buffers})
    attached = assigner.attach(virtual)
    paths = {key: str(path) for key, path in zip(buffers, buffers, strict=True)}
    expected = assigner.attach(events)
    assert ak.to_list(attached.assigned_ht) == ak.to_list(expected.assigned_ht)
    needless = [key for key, values in buffers.items() if np.array_equal(values, ak.flatten(events.Jet.unused))]
    assert needless
    assert not set(needless) & set(read), paths


def test_dask_awkward_gives_the_same_without_evaluation(assigner: Any) -> None:
    dask_awkward = pytest.importorskip("dask_awkward")
    events = jet_events(20, seed=17)
    collection = dask_awkward.from_awkward(events, npartitions=3)
    attached = assigner.attach(collection)
    expected = assigner.attach(events)
    assert attached._meta.type.content == expected.type.content
    computed = attached.compute()
    for name in ("assigned_lt", "assigned_ht", "assigned_h"):
        for field in expected[name].fields:
            one, two = computed[name][field], expected[name][field]
            assert ak.to_list(ak.is_none(one)) == ak.to_list(ak.is_none(two))
            np.testing.assert_allclose(ak.drop_none(one), ak.drop_none(two), rtol=1e-5, atol=1e-9)
    needed = dask_awkward.report_necessary_columns(attached.assigned_ht.mass)
    assert "Jet.pt" in next(iter(needed.values()))
    assert "weight" not in next(iter(needed.values()))


def test_pickles_hold_a_path_and_a_digest(any_number: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(any_number, tmp_path / "copy")
    assigner = jt.load_assigner(folder, threads=1, method="best")
    sent = pickle.dumps(assigner)
    assert len(sent) < 1000
    other = pickle.loads(sent)
    events = jet_events(10)
    same(assigner(events), other(events))
    assert other.options == assigner.options
    card = json.loads((folder / "assigner.json").read_text())
    (folder / "assigner.json").write_text(json.dumps(card | {"title": "another"}))
    changed = pickle.loads
    with pytest.raises(BundleError, match="content has changed"):
        changed(sent)
    shutil.rmtree(folder)
    gone = pickle.loads(sent)
    with pytest.raises(BundleNotFound, match=r"jettagger\.dask\.install\(client, assigner\)"):
        gone(events)


def test_the_cache_finds_results_of_the_same_content(any_number: Path, tmp_path: Path) -> None:
    assigner = jt.load_assigner(any_number, threads=1, cache=tmp_path / "cache")
    events = jet_events(10)
    first, again = assigner(events), assigner(events)
    assert first.report.cached == 0
    assert again.report.cached == again.report.scored == first.report.scored
    same(first, again)
    assert assigner(jet_events(10, seed=9)).report.cached == 0
    assert jt.load_assigner(any_number, threads=1, cache=tmp_path / "cache", method="sum")(events).report.cached == 0
    distributions = assigner(events, distributions=True)
    assert distributions.report.cached == 0
    assert set(distributions.log_probabilities) == set(PARTICLES)


def one_by_one(log_probabilities: Any) -> dict[str, np.ndarray]:
    """The most probable tuple of the first particle, and nothing else."""
    made = {}
    for name, values in log_probabilities.items():
        flat = values.reshape(len(values), -1)
        slots = np.stack(np.unravel_index(flat.argmax(axis=1), values.shape[1:]), axis=1)
        possible = np.isfinite(flat.max(axis=1)) & (name == "ht")
        made[name] = np.where(possible[:, np.newaxis], slots, -1)
    return made


def test_an_own_assignment_function(any_number: Path, assigner: Any) -> None:
    own = jt.load_assigner(any_number, threads=1, method=one_by_one)
    events = jet_events(20)
    found = own(events, distributions=True)
    assert (found.assignments["h"] == -1).all()
    for number in np.flatnonzero(found.assignments["ht"][:, 0] >= 0):
        chosen = found.log_probabilities["ht"][(number, *found.assignments["ht"][number])]
        assert found.assignment_probability["ht"][number] == pytest.approx(2 * np.exp(chosen), rel=1e-5)
    assert pickle.loads(pickle.dumps(own)).options.method is one_by_one
    padded = jt.load_assigner(
        any_number,
        threads=1,
        method=lambda values: {
            name: np.full((len(array), array.ndim - 1), 7 if name == "lt" else -1) for name, array in values.items()
        },
    )
    with pytest.raises(InvalidValues, match="expected slots that hold an object"):
        padded(events)
    with pytest.raises(ConfigError, match="leave cache out"):
        AssignerOptions(method=one_by_one, cache=True)
    with pytest.raises(ConfigError, match="detection"):
        AssignerOptions(method=one_by_one, detection=True)


def test_detection_leaves_absent_particles_out(any_number: Path, assigner: Any) -> None:
    events = jet_events(30, seed=19)
    every, likely = assigner(events), jt.load_assigner(any_number, threads=1, detection=True)(events)
    absent = {name: np.count_nonzero(found[:, 0] < 0) for name, found in likely.assignments.items()}
    before = {name: np.count_nonzero(found[:, 0] < 0) for name, found in every.assignments.items()}
    assert sum(absent.values()) > sum(before.values())


def test_events_without_a_global_input_are_scored(assigner: Any) -> None:
    """A lepton of one flavour is a global input that half of the events lack."""
    request = assigner.source.request(jet_events(5)).tensors
    masks = {name: mask.copy() for name, mask in request.masks.items()}
    masks["Met"][1:3] = False
    every, found = assigner.run(request), assigner.run(tensors(request.values, masks))
    assert found.scored.tolist() == every.scored.tolist() == [False, True, True, True, False]
    assert found.report.without_objects == 2
    assert found.assignments["lt"][1, 0] >= 0


def test_features_that_are_not_finite(assigner: Any) -> None:
    events = jet_events(5)
    request = assigner.source.request(events).tensors
    values = {name: array.copy() for name, array in request.values.items()}
    filled = request.masks["Jets"].any(axis=1)
    assert filled.tolist() == [False, True, True, True, False]
    values["Jets"][1, 0, 1] = np.nan
    with pytest.warns(RuntimeWarning, match="1 of 5 events are not scored.*the first is event 1"):
        found = assigner.run(tensors(values, request.masks))
    assert (found.report.nonfinite_inputs, found.report.without_objects) == (1, 2)
    assert found.scored.tolist() == [False, False, True, True, False]
    assert found.assignments["lt"][1, 0] == -1
    values["Jets"][1, 0, 1] = -1.0  # ln(x + 1)
    with pytest.warns(RuntimeWarning, match="not scored"):
        assigner.run(tensors(values, request.masks))
    broken = ak.with_field(events, ak.where(events.Jet.pt > 100, np.nan, events.Jet.eta), ("Jet", "eta"))
    with pytest.raises(InvalidValues, match=r"eta.*event number 10\d"):
        assigner(broken)


def test_wrong_tensors(assigner: Any) -> None:
    request = assigner.source.request(jet_events(5)).tensors
    with pytest.raises(UnknownName, match=r"'Met'.*nearest: met"):
        assigner.run(tensors({"Jets": request.values["Jets"], "met": request.values["Met"]}, request.masks))
    with pytest.raises(MismatchError, match="6 features"):
        assigner.run(tensors({**request.values, "Jets": request.values["Jets"][..., :4]}, request.masks))
    with pytest.raises(MismatchError, match="events"):
        assigner.run(tensors({**request.values, "Met": request.values["Met"][:2]}, request.masks))


def test_missing_columns_are_listed(assigner: Any) -> None:
    events = jet_events(3)
    with pytest.raises(MissingColumns, match=r"btagDeepFlavB"):
        assigner(ak.with_field(events, events.Jet[["pt", "eta", "phi", "mass"]], "Jet"))


def test_folders_without_a_card(tmp_path: Path, assigner: Any) -> None:
    folder = raw_folder(tmp_path / "raw")
    with pytest.raises(ConfigError, match=r"Jets/mass, Jets/pt, Met/met.*--input-log yes"):
        jt.load_assigner(folder)
    raw = jt.load_assigner(folder, input_log=True, threads=1)
    events = jet_events(10)
    same(raw(events), assigner(events))
    same(pickle.loads(pickle.dumps(raw))(events), assigner(events))
    assert jt.load_assigner(raw) is raw
    with pytest.raises(ConfigError, match="its options already"):
        jt.load_assigner(raw, threads=2)
    plain = raw_folder(tmp_path / "plain", event=EVENT.replace("log_normalize", "normalize"))
    assert read_assigner(plain).input_log is False
    (folder / "event.yaml").unlink()
    with pytest.raises(MissingModelFile, match=r"event\.yaml"):
        jt.load_assigner(folder, input_log=True)


def record(path: Path, text: str) -> None:
    """Write what `export_network` records into an ONNX file."""
    import onnx

    model = onnx.load(path)
    onnx.helper.set_model_props(model, {FLAGS: text})
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("input_log", [True, False])
def test_flags_that_exported_networks_record_are_not_asked_for(input_log: bool, tmp_path: Path, assigner: Any) -> None:
    folder = raw_folder(tmp_path / "raw", input_log=input_log, output_log=True)
    with pytest.raises(ConfigError, match="records no event file: give it with event="):
        import_assigner(folder / "model.onnx", None, tmp_path / "net")
    record(folder / "model.onnx", json.dumps({"input_log": input_log, "output_log": True, "event": EVENT}))
    with pytest.raises(ConfigError, match=f"says that input_log is {input_log}, got {not input_log}: leave it out"):
        read_assigner(folder, input_log=not input_log)
    raw = jt.load_assigner(folder, threads=1)
    made = import_assigner(folder / "model.onnx", None, tmp_path / "net", mapping=folder / "inputs.yaml")
    assert raw.model.input_log == made.input_log == input_log
    assert (made.event, made.names.output_log) == (raw.event, True)
    events = jet_events(10)
    same(raw(events), jt.load_assigner(tmp_path / "net", threads=1)(events))
    np.testing.assert_allclose(
        raw(events).detection_probability["ht"], assigner(events).detection_probability["ht"], atol=1e-4
    )
    for text in ("{", "[]"):
        record(folder / "model.onnx", text)
        with pytest.raises(ModelFileError, match="entry assignment"):
            read_assigner(folder)


def test_without_a_mapping_only_tensors(tmp_path: Path, assigner: Any) -> None:
    bare = jt.load_assigner(raw_folder(tmp_path / "raw", mapping=None), input_log=True, threads=1)
    events = jet_events(5)
    same(bare.run(assigner.source.request(events).tensors), assigner(events))
    with pytest.raises(ConfigError, match=r"no inputs\.yaml"):
        bare.attach(events)
    (tmp_path / "mine.yaml").write_text(MAPPING)
    given_mapping = jt.load_assigner(tmp_path / "raw", input_log=True, threads=1, mapping=tmp_path / "mine.yaml")
    (tmp_path / "mine.yaml").unlink()
    same(pickle.loads(pickle.dumps(given_mapping))(events), assigner(events))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  h: [b1, b2]\nPERM", "  higgs: [b1, b2]\nPERM", r"'higgs_assignment_probability' is missing"),
        ("ht: [b, q1, q2]", "ht: [b, q1, q2, q3]", r"has 4 axes.*4 daughters of 'ht'"),
        ("btag: none", "btag: none, ctag: none", r"'Jets_data' takes 6 features, the event file has 7"),
        ("Met: {", "MET: {", r"'MET_data' is missing \(nearest: Met_data"),
        ("neutrino_px", "neutrino_pz", r"'EVENT/neutrino_pz' is missing \(nearest: EVENT/neutrino_p"),
        (", neutrino_py", "", r"'EVENT/neutrino_py' belongs to no name of the event file"),
    ],
)
def test_networks_that_do_not_fit_the_event_file(old: str, new: str, expected: str, tmp_path: Path) -> None:
    text = EVENT.replace(old, new)
    if "higgs" in new:
        text = text.replace("  h: [[b1, b2]]", "  higgs: [[b1, b2]]")
    folder = raw_folder(tmp_path / "raw", event=text, mapping=None)
    with pytest.raises(BundleError, match=expected):
        jt.load_assigner(folder, input_log=True)


def test_slots(tmp_path: Path) -> None:
    folder = raw_folder(tmp_path / "raw", slots=5)
    assert read_assigner(folder, input_log=True).slots == {"Jets": 5}
    with pytest.raises(ConfigError, match=r"exactly 5 objects of Jets.*got Jets=6"):
        read_assigner(folder, input_log=True, slots={"Jets": 6})
    with pytest.raises(UnknownName, match="nearest: Jets"):
        read_assigner(folder, input_log=True, slots={"Jet": 5})
    assert read_assigner(raw_folder(tmp_path / "any"), input_log=True).slots == {"Jets": None}
    assert read_assigner(tmp_path / "any", input_log=True, slots={"Jets": 9}).slots == {"Jets": 9}


def test_damaged_and_incomplete_folders(any_number: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleNotFound, match="not a folder"):
        jt.load_assigner(tmp_path / "absent")
    folder = shutil.copytree(any_number, tmp_path / "net")
    (folder / "event.yaml").write_text(EVENT + "# changed\n")
    with pytest.raises(BundleError, match=r"event\.yaml is damaged or was replaced"):
        jt.load_assigner(folder)
    (folder / "event.yaml").unlink()
    with pytest.raises(MissingModelFile, match=r"has no event\.yaml"):
        jt.load_assigner(folder)
    folder = shutil.copytree(any_number, tmp_path / "other")
    card = json.loads((folder / "assigner.json").read_text())
    for key, value, expected in [
        ("schema_version", 2, "reads 1"),
        ("input_logg", True, "nearest: input_log"),
        ("outputs", card["outputs"][:-1], "outputs is"),
        ("slots", {"Jet": 3}, "slots is"),
        ("output_log", True, "output_log is True"),
        ("sha256", {"model.onnx": card["sha256"]["model.onnx"]}, "has no entry 'event.yaml'"),
        ("sha256", card["sha256"] | {"../a": "0" * 64}, "expected a file of the folder"),
    ]:
        (folder / "assigner.json").write_text(json.dumps(card | {key: value}))
        with pytest.raises(BundleError, match=expected):
            jt.load_assigner(folder)
    with pytest.raises(ConfigError, match="leave input_log and slots out"):
        jt.load_assigner(any_number, input_log=True)


def test_networks_cannot_reach_outside_of_their_folder(tmp_path: Path) -> None:
    import onnx

    folder = raw_folder(tmp_path / "raw")
    model = onnx.load(folder / "model.onnx")
    constant = model.graph.initializer[0]
    constant.ClearField("raw_data")
    constant.data_location = onnx.TensorProto.EXTERNAL
    constant.external_data.add(key="location", value="../secret")
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "secret").write_bytes(bytes(8))
    with pytest.raises(ModelFileError, match="outside the model's folder"):
        jt.load_assigner(folder, input_log=True)
    with pytest.raises(ModelFileError, match="outside the model's folder"):
        import_assigner(folder / "model.onnx", folder / "event.yaml", tmp_path / "made", input_log=True)
    assert not (tmp_path / "made").exists()


def test_damaged_networks(tmp_path: Path) -> None:
    folder = raw_folder(tmp_path / "raw")
    content = (folder / "model.onnx").read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"PNG" + content[3:]):
        (folder / "model.onnx").write_bytes(damaged)
        with pytest.raises(JettaggerError):
            jt.load_assigner(folder, input_log=True)


def test_imports_are_complete_or_absent(tmp_path: Path) -> None:
    raw = raw_folder(tmp_path / "raw")
    target = tmp_path / "net"
    with pytest.raises(ConfigError, match="--input-log"):
        import_assigner(raw / "model.onnx", raw / "event.yaml", target)
    assert not target.exists()
    import_assigner(raw / "model.onnx", raw / "event.yaml", target, input_log=True, name="mine", title="masses")
    made = json.loads((target / "assigner.json").read_text())
    assert made["name"] == "mine"
    assert made["provenance"] == read_provenance(target / "assigner.json")
    assert made["provenance"]["step"] == "assigner"
    assert set(made["sha256"]) == {"model.onnx", "event.yaml"}
    with pytest.raises(JettaggerError, match="exists already"):
        import_assigner(raw / "model.onnx", raw / "event.yaml", target, input_log=True)
    import_assigner(raw / "model.onnx", raw / "event.yaml", target, input_log=True, force=True)
    (tmp_path / "options.json").write_text("{")
    with pytest.raises(BundleError, match=r"options\.json"):
        import_assigner(
            raw / "model.onnx", raw / "event.yaml", tmp_path / "x", options=tmp_path / "options.json", input_log=True
        )


def test_options_are_checked(any_number: Path) -> None:
    with pytest.raises(UnknownName, match="nearest: threads"):
        jt.load_assigner(any_number, thread=1)  # type: ignore[call-arg]
    with pytest.raises(UnknownName, match="greedy"):
        AssignerOptions(method="gready")
    with pytest.raises(ConfigError):
        AssignerOptions(batch_size=0)
    with pytest.raises(ConfigError):
        AssignerOptions(threads=0)


def test_summaries(assigner: Any) -> None:
    assert "lt, ht, h" in repr(assigner)
    assert "any number" in assigner._repr_html_()
    check_shown(assigner)
    found = assigner(jet_events(10))
    assert any("h not assigned" in row[0] for row in found.report.rows())
    assert "events" in found.report._repr_html_()
    check_shown(found.report)
    assert parse_event_text(EVENT) == assigner.event
