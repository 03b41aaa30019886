"""Scores and mass from stored hidden neurons."""

from __future__ import annotations

import pickle
from typing import Any

import awkward as ak
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import description
from onnx import TensorProto, helper, numpy_helper
from shown import check_shown

import jettagger as jt
from jettagger.bundles.bundle import Bundle
from jettagger.errors import BundleError, ConfigError, MismatchError, MissingColumns, MissingModelFile, UnknownName
from jettagger.heads import JetTable, Rescorer, cut_tail
from jettagger.skims.skim import tag_files
from jettagger.testing import make_events, write_pfnano

MODELS = ("tinyParT", "inclParTToyV1")
NAMES = ["label_H_bb", "label_H_cc", "label_QCD_others", "mass", *(f"hidNeuron{i:03d}" for i in range(4))]


@pytest.fixture(scope="module", params=MODELS)
def scored(request: pytest.FixtureRequest) -> tuple[Bundle, ak.Array]:
    tagger = jt.load_tagger(request.param, threads=1)
    return tagger.bundle, tagger.attach(make_events(12, seed=3))


def stored(bundle: Bundle, events: Any, names: Any) -> np.ndarray:
    flat = ak.drop_none(ak.flatten(events.FatJet, axis=1))
    return np.stack([np.asarray(ak.drop_none(flat[f"{bundle.prefix}_{name}"])) for name in names], axis=1)


def test_scores_and_mass_come_out_as_the_network_gave_them(scored: tuple[Bundle, ak.Array]) -> None:
    bundle, events = scored
    rescorer = Rescorer(bundle)
    assert rescorer.method == "linear"
    check_shown(rescorer)
    assert rescorer.outputs == tuple(output.name for output in bundle.select(["prob", "mass"]))
    expected = stored(bundle, events, rescorer.outputs)
    assert len(expected) > 10
    found = rescorer.compute(stored(bundle, events, rescorer.tail.hidden))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    again = rescorer(events)
    for name in rescorer.outputs:
        assert (
            ak.is_none(again[name], axis=1).tolist()
            == ak.is_none(events.FatJet[f"{bundle.prefix}_mass"], axis=1).tolist()
        )


def test_w_and_b_are_those_of_the_file() -> None:
    bundle = jt.load_bundle("inclParTToyV1")
    layer = cut_tail(bundle).layer
    assert layer is not None
    stored_ = {x.name: numpy_helper.to_array(x) for x in onnx.load(bundle.require_weights()).graph.initializer}
    weights = next(value for value in stored_.values() if value.shape == (38, 128))
    bias = next(value for value in stored_.values() if value.shape == (38,))
    np.testing.assert_allclose(layer.weights, weights, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(layer.bias, bias)


def test_skims_give_the_same_numbers_and_unscored_jets_stay_none(tmp_path: Any) -> None:
    path = write_pfnano(tmp_path / "nano.root", 10, seed=2)
    tag_files([str(path)], "inclParTToyV1", str(tmp_path / "skim.parquet"), where="pt > 300")
    skim = ak.from_parquet(tmp_path / "skim.parquet")
    rescorer = Rescorer(jt.load_bundle("inclParTToyV1"))
    scores = rescorer(skim)
    column = skim["FatJet_inclParTToyV1_probHbb"]
    none = ak.is_none(column, axis=1)
    assert 0 < ak.sum(none) < ak.count(skim.FatJet_pt)
    assert ak.is_none(scores.probHbb, axis=1).tolist() == none.tolist()
    assert ak.max(abs(scores.probHbb - column)) < 1e-5
    assert ak.max(abs(scores.mass / skim["FatJet_inclParTToyV1_mass"] - 1)) < 1e-5


@settings(deadline=None, max_examples=20)
@given(temperature=st.floats(0.2, 10), prior=st.floats(0.01, 100), seed=st.integers(0, 99))
def test_temperature_priors_and_groups_are_the_closed_forms(temperature: float, prior: float, seed: int) -> None:
    bundle = jt.load_bundle("tinyParT")
    hidden = np.random.default_rng(seed).normal(0, 1, (5, 128))
    plain = Rescorer(bundle)
    probabilities = plain.tail(hidden)[:, :37]
    powers = probabilities ** (1 / temperature)
    weights = np.array([prior if name.startswith("probQCD") else 1.0 for name in plain.outputs[:37]])
    expected = powers * weights / (powers * weights).sum(axis=1, keepdims=True)
    changed = Rescorer(bundle, temperature=temperature, priors={"probQCD*": prior})
    np.testing.assert_allclose(changed.compute(hidden)[:, :37], expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(changed.compute(hidden)[:, 37], plain.compute(hidden)[:, 37])
    joined = Rescorer(
        bundle, temperature=temperature, priors={"probQCD*": prior}, groups={"probQCD": ["probQCD*"], "probH": "probH*"}
    )
    assert joined.outputs == (
        *(name for name in plain.outputs[:37] if name.startswith("probTop")),
        "probQCD",
        "probH",
        "mass",
    )
    values = dict(zip(joined.outputs, joined.compute(hidden).T, strict=True))
    qcd = [i for i, name in enumerate(plain.outputs) if name.startswith("probQCD")]
    np.testing.assert_allclose(values["probQCD"], expected[:, qcd].sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(sum(values[name] for name in joined.outputs[:-1]), 1, rtol=1e-5)


def test_extreme_temperatures_do_not_underflow() -> None:
    hidden = np.random.default_rng(0).normal(0, 30, (20, 128))
    sharp = Rescorer(jt.load_bundle("tinyParT"), temperature=1e-3).compute(hidden)
    assert np.isfinite(sharp).all()
    np.testing.assert_allclose(sharp[:, :37].sum(axis=1), 1, rtol=1e-5)


def network(tail: str, folder: Any) -> Bundle:
    """A bundle whose hidden neurons are behind a tanh, with different things behind them."""
    rng = np.random.default_rng(1)
    nodes, constants = [], []

    def constant(name: str, value: Any) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    axis = constant("axis", np.array([2], dtype=np.int64))
    add("ReduceSum", ["pf_features", axis], "sum", keepdims=0)
    hidden = add("Tanh", [add("MatMul", ["sum", constant("w0", rng.normal(0, 1, (3, 4)).astype("f4"))], "lin")], "h")
    zero = constant("zero", np.zeros(1, "f4"))
    for name in ("pf_mask", "sv_features", "sv_mask"):
        unused = add("ReduceSum", [add("Mul", [name, zero], f"{name}_0"), axis], f"{name}_1", keepdims=0)
        total = add(
            "ReduceSum", [unused, constant(f"{name}_ax", np.array([1], dtype=np.int64))], f"{name}_2", keepdims=1
        )
        hidden = add("Add", [hidden, total], f"h_{name}")
    matrix = constant("w1", rng.normal(0, 1, (4, 4)).astype("f4"))
    start = hidden
    if tail == "deep":
        start = add("Relu", [add("MatMul", [hidden, constant("w2", rng.normal(0, 1, (4, 4)).astype("f4"))], "l2")], "r")
    if tail == "skip":
        start = add("Add", [hidden, add("MatMul", ["sum", "w0"], "again")], "skipped")
    if tail == "batch":
        mean = add("MatMul", [constant("average", np.full((5, 5), 0.2, "f4")), hidden], "mean")
        start = add("Sub", [hidden, mean], "centred")
    both = add("Add", [add("MatMul", [start, matrix], "m"), constant("b", rng.normal(0, 1, 4).astype("f4"))], "both")
    sizes = constant("sizes", np.array([3, 1], dtype=np.int64))
    nodes.append(helper.make_node("Split", [both, sizes], ["logits", "mass"], axis=1))
    add("Softmax", ["logits"], "probabilities", axis=1)
    shown = [hidden]
    if tail == "pieces":
        nodes.append(helper.make_node("Split", [hidden, constant("half", np.array([2, 2]))], ["left", "right"], axis=1))
        shown = ["right", "left"]
    if tail == "handed":
        shown = [add("Identity", [hidden], "copy")]
    add("Concat", ["probabilities", "mass", *shown], "scores", axis=1)
    shapes = {"pf_features": 3, "pf_mask": 1, "sv_features": 2, "sv_mask": 1}
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", k, f"n_{n[:2]}"]) for n, k in shapes.items()]
    output = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 8])
    graph = helper.make_graph(nodes, "toy", inputs, [output], initializer=constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    import json

    (folder / "preprocess.json").write_text(json.dumps(description(output_names=NAMES)))
    return Bundle.from_folder(folder)


def outputs(bundle: Bundle, jets: int = 5) -> np.ndarray:
    rng = np.random.default_rng(7)
    session = onnxruntime.InferenceSession(str(bundle.require_weights()), providers=["CPUExecutionProvider"])
    shapes = {"pf_features": (3, 6), "pf_mask": (1, 6), "sv_features": (2, 2), "sv_mask": (1, 2)}
    return session.run(None, {name: rng.normal(0, 0.4, (jets, *s)).astype("f4") for name, s in shapes.items()})[0]


@pytest.mark.parametrize(("tail", "method"), [("plain", "linear"), ("handed", "linear"), ("deep", "graph")])
def test_what_is_behind_the_neurons_is_found_or_run(tail: str, method: str, tmp_path: Any) -> None:
    bundle = network(tail, tmp_path / tail)
    values = outputs(bundle)
    rescorer = Rescorer(bundle)
    assert rescorer.method == method
    np.testing.assert_allclose(rescorer.compute(values[:, 4:]), values[:, :4], rtol=1e-5, atol=1e-6)
    again = pickle.loads(pickle.dumps(rescorer))
    np.testing.assert_array_equal(again.compute(values[:, 4:]), rescorer.compute(values[:, 4:]))
    warm = Rescorer(bundle, temperature=2.0).compute(values[:, 4:])[:, :3]
    powers = np.sqrt(values[:, :3].astype(float))
    np.testing.assert_allclose(warm, powers / powers.sum(axis=1, keepdims=True), rtol=1e-5)


def test_an_operator_along_the_jets_is_not_taken_for_a_layer(tmp_path: Any) -> None:
    bundle = network("batch", tmp_path / "batch")
    with pytest.raises(BundleError, match=r"cannot be computed from its hidden neurons: .*one jet at a time"):
        Rescorer(bundle)


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        ("skip", "cannot be computed from its hidden neurons: they also depend on the input"),
        ("pieces", "are not a tensor of"),
    ],
)
def test_where_neither_can_be_had_it_says_so(tail: str, message: str, tmp_path: Any) -> None:
    with pytest.raises(BundleError, match=message):
        Rescorer(network(tail, tmp_path / tail))


def test_bad_input() -> None:
    bundle = jt.load_bundle("tinyParT")
    with pytest.raises(MissingColumns, match=r"FatJet_tinyParT_hidNeurons000.* and 118 more"):
        Rescorer(bundle)(make_events(3, seed=1))
    with pytest.raises(MismatchError, match=r"shape \[2, 5\], 'tinyParT' has \[jets, 128\]"):
        Rescorer(bundle).compute(np.zeros((2, 5)))
    with pytest.raises(ConfigError, match="temperature must be a positive number, got 0"):
        Rescorer(bundle, temperature=0)
    with pytest.raises(ConfigError, match=r"prior of 'probHbb' must be a positive number, got nan"):
        Rescorer(bundle, priors={"probHbb": float("nan")})
    with pytest.raises(UnknownName, match=r"unknown probability .*'probHbB' \(nearest: probHbb"):
        Rescorer(bundle, priors={"probHbB": 2})
    with pytest.raises(ConfigError, match="groups overlap: probHbb"):
        Rescorer(bundle, groups={"a": ["probHbb"], "b": ["probH*"]})
    with pytest.raises(ConfigError, match="'mass' has the name of an output"):
        Rescorer(bundle, groups={"mass": ["probHbb"]})
    with pytest.raises(MissingModelFile, match="has no weights"):
        Rescorer(jt.load_bundle("inclParTMDV1"))


def test_a_model_without_neurons_is_refused(tmp_path: Any) -> None:
    from networks import Head, write_bundle

    heads = (Head("p", 3, softmax=True),)
    folder = write_bundle(tmp_path / "no", heads=heads, output_names=NAMES[:3])
    with pytest.raises(BundleError, match="has no hidden neurons among its outputs"):
        Rescorer(Bundle.from_folder(folder))


def test_no_jets_give_no_scores(scored: tuple[Bundle, ak.Array]) -> None:
    bundle, events = scored
    rescorer = Rescorer(bundle)
    assert rescorer.compute(np.zeros((0, 128))).shape == (0, 38)
    assert ak.num(rescorer(events[:0])["mass"], axis=0) == 0


def test_the_table_knows_skims_and_events_alike(tmp_path: Any) -> None:
    events = make_events(6, seed=5)
    flat = ak.zip(
        {"FatJet_pt": events.FatJet.pt, "FatJet_phi": events.FatJet.phi, "FatJet_eta": events.FatJet.eta}, depth_limit=1
    )
    met = np.linspace(-3, 3, 6)
    flat = ak.with_field(flat, met, "MET_phi")
    table = JetTable(flat)
    np.testing.assert_array_equal(table.values("FatJet_pt"), ak.to_numpy(ak.flatten(events.FatJet.pt)))
    phi = ak.to_numpy(ak.flatten(events.FatJet.phi))
    per_jet = np.repeat(met, ak.num(events.FatJet.pt))
    expected = np.abs(np.angle(np.exp(1j * (per_jet - phi))))
    np.testing.assert_allclose(table.values("FatJet_metDeltaPhi"), expected, atol=1e-6)
    assert table.needs("FatJet_metDeltaPhi") == ("MET_phi", "FatJet_phi")
    leptons = {
        "Electron_eta": [[x, x + 2] for x in ak.fill_none(ak.firsts(flat.FatJet_eta), 0)],
        "Electron_phi": [[x, x] for x in ak.fill_none(ak.firsts(flat.FatJet_phi), 0)],
        "Muon_eta": [[] for _ in range(6)],
        "Muon_phi": [[] for _ in range(6)],
    }
    for name, value in leptons.items():
        flat = ak.with_field(flat, ak.values_astype(ak.Array(value), np.float64), name)
    number = JetTable(flat).values("FatJet_nLeptonsNear")
    first = np.concatenate([[0], np.cumsum(ak.num(events.FatJet.pt))[:-1]])[ak.num(events.FatJet.pt) > 0]
    assert (number[first] == 1).all()
    with pytest.raises(MissingColumns, match=r"FatJet_nLeptonsNear \(or, to make it, Electron_eta"):
        table.values("FatJet_nLeptonsNear")
    with pytest.raises(MissingColumns, match=r"FatJet_ptt \(nearest: FatJet_pt"):
        table.require(["FatJet_ptt"], "test")
    nested = table.attach(flat, {"x": np.arange(table.n_jets, dtype="f4")}, np.arange(table.n_jets) != 1)
    assert ak.flatten(nested.FatJet_x).tolist()[:3] == [0.0, None, 2.0]
    with pytest.raises(MismatchError, match="FatJet already has the columns pt"):
        table.attach(flat, {"pt": np.zeros(table.n_jets)}, np.ones(table.n_jets, dtype=bool))
    into = JetTable(events).attach(events, {"x": np.arange(table.n_jets, dtype="f4")}, np.arange(table.n_jets) != 1)
    assert ak.flatten(into.FatJet.x).tolist()[:3] == [0.0, None, 2.0]
    assert into.FatJet.pt.tolist() == events.FatJet.pt.tolist()
