"""Sequences, sets and vectors in declarations: their order, what the check says of it, and columns by name."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import awkward as ak
import numpy as np
import onnx
import pytest
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory
from comparing import assert_same_scores, flat
from heads import make_head
from networks import write_bundle
from onnx import TensorProto, helper, numpy_helper
from pages import blocks
from sequence_networks import SEQUENCE, VECTOR, declared, events_with_shapes, recurrent, with_shapes, write

import jettagger as jt
import jettagger.inference.checking as checking
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.declaration import read_declared
from jettagger.cli import main
from jettagger.errors import BundleError, ConfigError, JettaggerError, MissingColumns, UnknownName
from jettagger.files.root import EventFile, write_tree
from jettagger.formats.nesting import nest
from jettagger.inference.checking import check, write_golden
from jettagger.inference.padding import measured_slots
from jettagger.inputs.group_rows import entering
from jettagger.inputs.source import check_columns, source_of
from jettagger.tagging.tensors import make_inputs
from jettagger.testing import make_columns, make_events, write_pfnano


class Columns:
    """Objects of jets with given columns."""

    def __init__(self, counts: Any, **columns: Any) -> None:
        self._counts, self._columns = np.asarray(counts), columns

    def __len__(self) -> int:
        return len(self._counts)

    def counts(self, object_: str) -> Any:
        return np.ones(len(self), dtype=np.int64) if object_ == "jet" else self._counts

    def column(self, object_: str, name: str) -> Any:
        return self._columns[name]


def slow_order(jets: Any, columns: Mapping[str, Any], order: list[tuple[str, bool, str]]) -> list[list[int]]:
    """Indices of the objects of each jet, by insertion, one comparison at a time."""

    def before(one: int, two: int) -> bool:
        for name, ascending, missing in order:
            a, b = float(columns[name][one]), float(columns[name][two])
            if math.isnan(a) != math.isnan(b):
                return math.isnan(a) == (missing == "first")
            if not math.isnan(a) and a != b:
                return a < b if ascending else a > b
        if columns["pt"][one] != columns["pt"][two]:
            return bool(columns["pt"][one] > columns["pt"][two])
        return one < two

    found = []
    start = 0
    for number in jets:
        ordered: list[int] = []
        for item in range(start, start + number):
            if any(missing == "drop" and math.isnan(columns[name][item]) for name, _, missing in order):
                continue
            place = len(ordered)
            while place and before(item, ordered[place - 1]):
                place -= 1
            ordered.insert(place, item)
        found.append(ordered)
        start += number
    return found


@pytest.mark.parametrize("missing", ["last", "first", "drop"])
@pytest.mark.parametrize("ascending", [True, False])
def test_the_order_is_that_of_an_independent_sort(ascending: bool, missing: str) -> None:
    """Many ties, NaN and infinities; unsigned integers as the second key."""
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 30, 60)
    total = int(counts.sum())
    key = rng.choice([np.nan, -np.inf, np.inf, 0.0, -0.0, 1.5, -2.0], total).astype(np.float32)
    code = rng.integers(0, 3, total).astype(np.uint8)
    pt = rng.choice([1.0, 2.0, 3.0], total).astype(np.float32)
    objects = Columns(counts, dzsig=key, trkQuality=code, pt=pt)
    order = [{"by": "dzsig", "direction": "ascending" if ascending else "descending", "missing": missing}]
    group = {"input": "x", "object": "candidates", "axes": ["jets", "variables", "objects"], "columns": ["pt"]}
    group |= {"length": 30, "order": [*order, "trkQuality"]}
    groups = read_declared(Path("inputs.json"), declared(group))[1]
    inside = entering(SimpleNamespace(groups=groups, domain="", empty_jets=True), objects)  # type: ignore[arg-type]
    expected = slow_order(
        counts,
        {"dzsig": key, "trkQuality": code, "pt": pt},
        [("dzsig", ascending, missing), ("trkQuality", False, "last")],
    )
    rows = inside.rows["x"]
    assert rows.index.tolist() == [item for jet in expected for item in jet]
    assert rows.counts.tolist() == [len(jet) for jet in expected]
    assert inside.report.unordered == int(np.isnan(key).sum()) > 100
    assert inside.report.deselected_candidates == 0


def pooled(path: Path, *, slots: int | str = "n", masked: bool = True, weighted: bool = False) -> None:
    """A sum over the objects, ``weighted`` by position; without a mask, empty slots count, too."""
    nodes = [helper.make_node("Exp", ["tracks"], ["each"])]
    inputs = [helper.make_tensor_value_info("tracks", TensorProto.FLOAT, ["N", slots, 4])]
    last = "each"
    if masked:
        inputs.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["N", slots, 1]))
        nodes.append(helper.make_node("Mul", [last, "mask"], ["real"]))
        last = "real"
    if weighted:
        nodes.append(helper.make_node("CumSum", ["mask", "axis"], ["position"]))
        nodes.append(helper.make_node("Mul", [last, "position"], ["weighted"]))
        last = "weighted"
    if masked:
        nodes.append(helper.make_node("ReduceSum", [last, "axis"], ["sum"], keepdims=0))
    else:
        nodes.append(helper.make_node("ReduceMean", [last], ["sum"], keepdims=0, axes=[1]))
    nodes.append(helper.make_node("Log", ["sum"], ["scores"]))
    graph = helper.make_graph(
        nodes,
        "pooled",
        inputs,
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(np.array([1]), "axis")] if masked else [],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def by_hand(events: Any, weights: Mapping[str, Any], jets: str = "FatJet") -> list[Any]:
    """The scores of all jets by loops: selection, order, padding, recurrence, softmax; None without a track."""
    found = []
    for event in events.to_list():
        for place, jet in enumerate(event[jets]):
            rows = []
            for link in event[f"{jets}PFCands"]:
                part = event["PFCands"][link["pFCandsIdx"]]
                if link["jetIdx"] == place and part["charge"] != 0 and part["pt"] > 0.8:
                    if math.isnan(link["btagSip3dSig"]):
                        continue
                    has_track = part["trkChi2"] != -1
                    sig = link["btagSip3dSig"] if has_track else 0
                    row = [part["puppiWeight"], sig * 0.1, np.log(part["pt"] / jet["pt"]), abs(part["eta"])]
                    rows.append((abs(link["btagSip3dSig"]), part["pt"], row))
            if not rows:
                found.append(None)
                continue
            rows.sort(key=lambda item: (-item[0], -item[1]))
            steps = np.zeros((12, 4))
            chosen = np.array([row for _, _, row in rows[:12]])
            steps[: len(chosen)] = chosen
            state = np.zeros(5)
            bias = weights["B"][0][:5] + weights["B"][0][5:]
            for step in steps:
                state = np.tanh(weights["W"][0] @ step + weights["R"][0] @ state + bias)
            shape = [jet["msoftdrop"] * 0.01, np.log(jet["pt"]) - 5, jet["tau2"] / jet["tau1"], event["genWeight"]]
            logits = np.concatenate([state, shape]) @ weights["V"]
            found.append(np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum())
    return found


@pytest.mark.parametrize("jets", ["FatJet", "Jet"])
def test_a_recurrent_network_of_somebody_else_tags_a_file(jets: str, tmp_path: Path) -> None:
    """Its file is made with onnx, its two descriptions by hand; the scores are those of NumPy."""
    folder = write(tmp_path / "model", declared(SEQUENCE, VECTOR, jets="AK4" if jets == "Jet" else "AK8"))
    weights = recurrent(folder / "model.onnx")
    tagger = jt.load_tagger(folder, threads=1)
    events = events_with_shapes(jets)
    expected = by_hand(events, weights, jets)
    tagged = tagger.run(events)
    scores = ak.to_list(ak.flatten(tagged.scores, axis=1))
    assert [score is None for score in scores] == [score is None for score in expected]
    numbers = np.array([[score["probb"], score["probc"], score["probl"]] for score in scores if score is not None])
    np.testing.assert_allclose(numbers, [score for score in expected if score is not None], rtol=2e-4, atol=2e-6)
    assert np.ptp(numbers, axis=0).max() > 0.1

    path = tmp_path / "nano.root"
    columns = with_shapes(make_columns(12, seed=5, constituents=20, ak4=True), jets)
    write_tree(path, [columns])
    with EventFile(path) as file:
        read = file.read(check_columns(tagger.bundle, file).columns)
    assert_same_scores(tagger(read), tagged.scores)
    assert main(["tag", str(path), "--model", str(folder), "-o", str(tmp_path / "out.parquet")]) == 0
    table = ak.from_parquet(tmp_path / "out.parquet")
    skimmed = table[f"{jets}_other_probb"]
    np.testing.assert_allclose(flat({"x": skimmed}, "x"), flat(tagged.scores, "probb"), atol=1e-6)


def test_columns_of_the_event_are_found_as_files_and_coffea_name_them(tmp_path: Path) -> None:
    """One number per event for each of its jets, from a file, a record of collections, and NanoEvents."""
    columns = ["MET_pt / 100", "PV_npvs / 50", "tau2 / tau1", "fixedGridRhoFastjetAll / 30"]
    folder = write(tmp_path / "model", declared(SEQUENCE, VECTOR | {"columns": columns}))
    recurrent(folder / "model.onnx")
    rng = np.random.default_rng(1)
    stored = with_shapes(make_columns(12, seed=5, constituents=20, ak4=True))
    more = {
        "MET_pt": rng.uniform(0, 200, 12).astype("f4"),
        "PV_npvs": rng.integers(10, 60, 12).astype("i4"),
        "fixedGridRhoFastjetAll": rng.uniform(5, 40, 12).astype("f4"),
    }
    path = tmp_path / "nano.root"
    write_tree(path, [stored | more])
    tagger = jt.load_tagger(folder, threads=1)
    with EventFile(path) as file:
        read = file.read(check_columns(tagger.bundle, file).columns)
    nested = nest(stored | more)
    records = ak.with_field(nested, ak.zip({"pt": more["MET_pt"]}), "MET")
    records = records[[name for name in records.fields if name != "MET_pt"]]
    nano = NanoEventsFactory.from_root({str(path): "Events"}, schemaclass=NanoAODSchema, mode="virtual").events()
    for events in (nested, records, nano):
        assert_same_scores(tagger(events), tagger(read))
    made: dict[int, Any] = {}
    for batch in make_inputs(tagger.bundle, nested):
        made |= dict(zip(batch.jets.tolist(), batch.inputs["shape"], strict=True))
    event = np.repeat(np.arange(12), ak.num(nested.FatJet.pt))
    for jet, values in made.items():
        expected = [more["MET_pt"][event[jet]] / 100, more["PV_npvs"][event[jet]] / 50]
        np.testing.assert_allclose(values[:2], expected, rtol=1e-6)
        np.testing.assert_allclose(values[3], more["fixedGridRhoFastjetAll"][event[jet]] / 30, rtol=1e-6)


MASK: dict[str, Any] = {
    "input": "mask",
    "object": "candidates",
    "axes": ["jets", "objects", "variables"],
    "variables": ["pfcand_mask"],
}
POOLED = SEQUENCE | {"object": "candidates", "columns": ["log(pt)", "abs(eta)"], "order": [], "selection": ""}
POOLED |= {"variables": ["pfcand_puppiw", "pfcand_charge"]}


@pytest.fixture
def _no_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "response_of", lambda _: None)


@pytest.mark.usefixtures("_no_rounding")
@pytest.mark.parametrize(
    ("kind", "weighted", "masked", "failed"),
    [
        ("set", False, True, []),
        ("set", True, True, ["order of pf: others"]),
        ("set", False, False, ["padding of pf: others"]),
        ("sequence", True, True, []),
        ("sequence", False, True, ["order of pf"]),
        (None, True, True, ["order of pf: others"]),
        (None, False, False, []),
    ],
)
def test_order_and_padding_are_checked_as_declared(
    kind: str | None, weighted: bool, masked: bool, failed: list[str], tmp_path: Path
) -> None:
    """A set depends on neither, a sequence on its order; what is not declared is judged by the mask."""
    stated = {"kind": kind, "length": [2, 20]}
    groups = [POOLED | stated, *([MASK | stated] if masked else [])]
    folder = write(tmp_path / "model", declared(*groups), output_names=["a", "b", "c", "d"], kinds={})
    pooled(folder / "model.onnx", masked=masked, weighted=weighted)
    found = {result.name: result for result in check(Bundle.from_folder(folder))}
    assert [name for name, result in found.items() if result.passed is False] == failed
    if kind == "sequence":
        assert ("do not depend" in found["order of pf"].detail) == bool(failed)


@pytest.mark.usefixtures("_no_rounding")
def test_a_card_says_what_lists_are_of_any_description(tmp_path: Path) -> None:
    """The sum of `networks.graph` is a set, also in a ``preprocess.json``; the digest does not depend on it."""
    plain = Bundle.from_folder(write_bundle(tmp_path / "plain", card={}))
    for kind, failed in (("set", []), ("sequence", ["order of pf"])):
        folder = write_bundle(tmp_path / kind, card={"lists": {"pf_features": kind}})
        bundle = Bundle.from_folder(folder)
        assert bundle.digest == plain.digest
        assert [result.name for result in check(bundle) if result.passed is False] == failed
    with pytest.raises(UnknownName, match=r"'pf_feature'.*nearest: pf_features"):
        Bundle.from_folder(write_bundle(tmp_path / "unknown", card={"lists": {"pf_feature": "set"}}))
    lists = {"pf_features": "sequence", "pf_mask": "set"}
    with pytest.raises(BundleError, match=r"slots in common"):
        Bundle.from_folder(write_bundle(tmp_path / "both", card={"lists": lists}))
    folder = write(tmp_path / "declared", declared(SEQUENCE, VECTOR), lists={"tracks": "set"})
    recurrent(folder / "model.onnx")
    with pytest.raises(BundleError, match=r"says that 'tracks' is a sequence, bundle\.json a set"):
        Bundle.from_folder(folder)


def test_lists_in_two_orders(tmp_path: Path) -> None:
    """The same objects in another order: the scores of a set stay, those of a sequence do not."""
    events = events_with_shapes()
    scores: dict[str, list[Any]] = {"set": [], "sequence": []}
    for number, order in enumerate((["pt"], [{"by": "abs(eta)", "direction": "ascending"}])):
        stated = {"order": order, "length": [2, 200]}
        folder = write(
            tmp_path / f"set{number}",
            declared(POOLED | stated | {"kind": "set"}, MASK | stated | {"kind": "set"}),
            output_names=["a", "b", "c", "d"],
            kinds={},
        )
        pooled(folder / "model.onnx")
        scores["set"].append(jt.load_tagger(folder, threads=1)(events))
        whole = {"order": order, "selection": "pt > 20", "columns": ["log(pt)", "eta - jet.eta"]}
        folder = write(tmp_path / f"sequence{number}", declared(SEQUENCE | whole, VECTOR))
        recurrent(folder / "model.onnx")
        scores["sequence"].append(jt.load_tagger(folder, threads=1)(events))
    assert_same_scores(*scores["set"])
    change = flat(scores["sequence"][0], "probb") - flat(scores["sequence"][1], "probb")
    assert np.nanmax(np.abs(change)) > 1e-3


@pytest.mark.usefixtures("_no_rounding")
def test_the_check_of_a_recurrent_network_passes_and_its_golden_vectors_are_kept(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", declared(SEQUENCE, VECTOR), golden="golden.npz")
    recurrent(folder / "model.onnx")
    bundle = Bundle.from_folder(folder)
    write_golden(bundle, folder / "golden.npz")
    found = {result.name: result for result in check(bundle)}
    assert [name for name, result in found.items() if result.passed is False] == []
    assert found["order of cpf"].passed
    assert found["golden vectors: probabilities"].passed
    with np.load(folder / "golden.npz") as stored:
        arrays = dict(stored)
    arrays["input__tracks"] = arrays["input__tracks"][:, ::-1]
    np.savez(folder / "golden.npz", **arrays)
    assert {r.name: r for r in check(bundle)}["golden vectors: probabilities"].passed is False


def test_lists_of_one_object_with_lengths_of_their_own(tmp_path: Path) -> None:
    """Two inputs of the same objects, short and long, in different orders."""
    other = SEQUENCE | {"input": "shape", "order": ["pt"], "length": 5, "columns": ["pt", "eta"], "kind": None}
    folder = write(tmp_path / "model", declared(SEQUENCE | {"kind": None}, other))
    nodes = [
        helper.make_node("ReduceSum", ["tracks", "axis"], ["one"], keepdims=0),
        helper.make_node("ReduceSum", ["shape", "axis"], ["two"], keepdims=0),
        helper.make_node("Sub", ["one", "two"], ["scores"]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", f"n_{name}", 4]) for name in ("tracks", "shape")
    ]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 4])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(np.array([1]), "axis")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    (folder / "bundle.json").write_text(json.dumps({"schema_version": 1, "name": "other", "output_names": [*"abcd"]}))
    bundle = Bundle.from_folder(folder)
    assert bundle.limits == {"cpf": (12, 12), "cpf of shape": (5, 5)}
    assert set(measured_slots(bundle)) == {"cpf", "cpf of shape"}
    toys = source_of(bundle).random_jets({"cpf": np.array([3]), "cpf of shape": np.array([7])}, 1, 0)
    assert toys.counts("cpf").tolist() == [7]
    for batch in make_inputs(bundle, events_with_shapes()):
        assert batch.inputs["shape"].shape[1] <= 5
        pt = batch.inputs["shape"][:, :, 2]
        assert (np.diff(pt, axis=1) <= 0).all()
    assert all(result.passed is not False for result in check(bundle))


def test_scores_do_not_depend_on_how_events_come(tmp_path: Path) -> None:
    """A cache, blocks, a pickle, virtual arrays and attach give the same; a head runs on them."""
    folder = write(tmp_path / "model", declared(SEQUENCE, VECTOR))
    recurrent(folder / "model.onnx")
    tagger = jt.load_tagger(folder, threads=1)
    events = events_with_shapes()
    scores = tagger(events)
    cached = jt.load_tagger(folder, threads=1, cache=tmp_path / "cache", block_bytes=1)
    assert_same_scores(cached(events), scores)
    assert cached.run(events).report.cached == int(ak.count(scores.probb)) > 5
    moved = ak.with_field(events, ak.with_field(events.FatJet, 2 * events.FatJet.tau2, "tau2"), "FatJet")
    report = cached.run(moved).report
    assert (report.cached, report.scored > 5) == (0, True)  # a column of the vector is part of the key
    assert_same_scores(pickle.loads(pickle.dumps(tagger))(events), scores)
    attached = tagger.attach(events)
    np.testing.assert_array_equal(
        ak.to_numpy(ak.fill_none(ak.flatten(attached.FatJet.other_probb), np.nan)), flat(scores, "probb").astype("f4")
    )
    head = make_head(tmp_path / "head", "Small", parent=tagger.bundle, inputs=("probb", "FatJet_pt"))
    found = tagger.with_heads(head)(events)
    (*_, last) = found.fields
    assert last.startswith("Small")
    assert ak.count(found[last]) == ak.count(scores.probb)
    varied = tagger.run(events, kinematics={"pt": 1.1 * events.FatJet.pt}).scores
    assert np.nanmax(np.abs(flat(varied, "probb") - flat(scores, "probb"))) > 1e-3
    assert {"log(pt)"} <= set(source_of(tagger.bundle).changed_by(["pt"]))


def test_objects_without_a_value_are_counted_and_placed_as_declared(tmp_path: Path) -> None:
    events = make_events(12, seed=5, constituents=20)
    sig = events.FatJetPFCands.btagSip3dSig
    holes = ak.where(ak.local_index(sig) % 3 == 0, np.nan, sig)
    events = ak.with_field(events, ak.with_field(events.FatJetPFCands, holes, "btagSip3dSig"), "FatJetPFCands")
    group = {"input": "x", "object": "candidates", "length": 200, "axes": ["jets", "objects", "variables"]}
    group |= {"columns": ["btagSip3dSig", "pt"]}
    seen = {}
    for missing in ("last", "first", "drop"):
        content = declared(group | {"order": [{"by": "btagSip3dSig", "missing": missing}]})
        (tmp_path / "inputs.json").write_text(json.dumps(content))
        (tmp_path / "bundle.json").write_text('{"schema_version": 1, "name": "x", "output_names": ["a"]}')
        (tmp_path / "checksums.json").unlink(missing_ok=True)
        bundle = Bundle.from_folder(tmp_path)
        request = source_of(bundle).request(events)
        inside = entering(bundle, next(iter(request.blocks())).jets)
        seen[missing] = inside
        assert inside.report.unordered > 20
    counts = {missing: int(inside.rows["x"].counts.sum()) for missing, inside in seen.items()}
    assert counts["last"] == counts["first"] == counts["drop"] + seen["drop"].report.unordered
    reports = [inside.report for inside in seen.values()]
    assert reports[0] == reports[1] == reports[2]
    assert reports[0].deselected_candidates == 0


BAD: dict[str, tuple[dict[str, Any], type[JettaggerError], list[str]]] = {
    "the variable of an order": ({"order": ["Cpfcan_trackSip3dSig"]}, UnknownName, ["(nearest: Cpfcan_", "order"]),
    "the direction": (
        {"order": [{"by": "pt", "direction": "down"}]},
        BundleError,
        ["must be one of descending, ascending", "'down'", "line"],
    ),
    "what is missing": ({"order": [{"by": "pt", "missing": "lost"}]}, BundleError, ["nearest: last"]),
    "a cut as an order": ({"order": ["pt > 3"]}, ConfigError, ["order", "not a sort key"]),
    "two orders": ({"order": ["pt"], "sort": ["-pt"]}, BundleError, ["both order and sort"]),
    "a kind": ({"kind": "sequense"}, BundleError, ["nearest: sequence"]),
    "a vector of tracks": ({"kind": "vector"}, BundleError, ["'vector'", "'sequence' or 'set'"]),
    "a sequence of the jet": (
        {"object": "jet", "order": [], "selection": "", "length": 1, "variables": []},
        BundleError,
        ["is a vector"],
    ),
    "a column of tracks": ({"columns": ["log(ptt)"]}, UnknownName, ["'ptt'", "nearest: pt", "position 5"]),
    "a column of their jet": ({"columns": ["pt / jet.ptt"]}, UnknownName, ["'jet.ptt'", "jet.pt"]),
    "no column": ({"columns": ["3 + 4"]}, ConfigError, ["names no column"]),
    "nothing": ({"columns": [], "variables": []}, BundleError, ["no variables and no columns"]),
}


@pytest.mark.parametrize("what", BAD)
def test_one_error_says_what_is_wrong_and_what_is_near(what: str, tmp_path: Path) -> None:
    change, error, phrases = BAD[what]
    folder = write(tmp_path / "model", declared(SEQUENCE | change, VECTOR))
    recurrent(folder / "model.onnx")
    with pytest.raises(error) as caught:
        Bundle.from_folder(folder)
    assert "inputs.json" in str(caught.value)
    assert all(phrase in str(caught.value) for phrase in phrases), caught.value


def test_columns_that_a_file_lacks_are_named_with_the_nearest(tmp_path: Path) -> None:
    wrong = VECTOR | {"columns": ["msoftdrp", "genWeigth", "MET_pt", "tau2"]}
    folder = write(tmp_path / "model", declared(SEQUENCE | {"order": ["normchi2", "btagSip3dSig"]}, wrong))
    recurrent(folder / "model.onnx")
    tagger = jt.load_tagger(folder, threads=1)
    events = make_events(2, seed=1)
    links = events.FatJetPFCands
    events = ak.with_field(events, links[[name for name in links.fields if name != "btagSip3dSig"]], "FatJetPFCands")
    with pytest.raises(MissingColumns) as caught:
        tagger(events)
    text = str(caught.value)
    assert "jet.msoftdrp (FatJet.msoftdrp (nearest: msoftdrop" in text
    assert "genWeigth (nearest: genWeight" in text
    assert "the order by 'btagSip3dSig'" in text
    assert "normchi2" not in text  # that one is there
    path = write_pfnano(tmp_path / "nano.root", 2, seed=1)
    with pytest.raises(MissingColumns, match=r"nearest: msoftdrop"), EventFile(path) as file:
        check_columns(tagger.bundle, file)


def test_lists_are_no_columns_of_a_vector(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", declared(SEQUENCE, VECTOR | {"columns": ["SV_pt", "pt", "mass", "eta"]}))
    recurrent(folder / "model.onnx")
    with pytest.raises(JettaggerError, match=r"SV\.pt is .* expected one number per event"):
        jt.load_tagger(folder, threads=1)(events_with_shapes())


def test_what_is_declared_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "model", declared(SEQUENCE, VECTOR))
    recurrent(folder / "model.onnx")
    assert main(["models", "show", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "a sequence, pt > 0.8, by abs(btagSip3dSig) descending" in shown
    assert "tau2 / tau1" in shown
    assert main(["models", "show", str(folder), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["result"]["inputs"]
    assert said[0]["order"] == [{"by": "abs(btagSip3dSig)", "ascending": False, "missing": "drop"}]
    assert [item["kind"] for item in said] == ["sequence", "vector"]


def test_the_examples_of_the_page_are_valid() -> None:
    page = "docs/images.md"
    whole, image = map(json.loads, blocks(page, "json"))
    groups = read_declared(Path(page), declared(*whole["groups"], image))[1]
    assert [group.kind for group in groups] == ["sequence", "vector", "image"]
