"""Models whose inputs a data configuration describes: bundles, inputs against weaver-core's own, scores of tables."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import onnx
import pytest
from agreement import Agreement
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Head, write_bundle
from onnx import TensorProto, helper, numpy_helper
from weavers import CONFIG, HEADS, run_in_weaver, table, weaver_bundle

import jettagger as jt
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.weaver_groups import weaver_groups
from jettagger.errors import (
    BundleError,
    ConfigError,
    InputFileError,
    MismatchError,
    MissingColumns,
    MissingModelFile,
    UnknownName,
)
from jettagger.inference.checking import check
from jettagger.inference.padding import as_run
from jettagger.tagging.tagger import Tagger, load_tagger
from jettagger.tagging.tensors import make_inputs
from jettagger.types import Array
from jettagger.weaver import read_config

LOADER = Path(__file__).parent / "weaver_loader.py"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle.from_folder(weaver_bundle(tmp_path / "toy"))


def stacked(bundle: Bundle, jets: ak.Array) -> dict[str, np.ndarray]:
    """The inputs of all jets in their order, at the full length."""
    inputs: dict[str, np.ndarray] = {}
    for batch in make_inputs(bundle, jets):
        for name, array in batch.inputs.items():
            inputs.setdefault(name, np.full((len(jets), *array.shape[1:]), np.nan, "f4"))[batch.jets] = array
    return inputs


# bundles


def test_a_bundle_with_a_data_configuration(bundle: Bundle) -> None:
    assert bundle.weaver is not None
    assert [group.name for group in bundle.groups] == ["pf_features", "pf_mask"]  # the network has no pf_points
    assert bundle.weaver.variables == ("part_logpt", "part_charge", "part_d0err", "part_mask")
    assert [output.raw for output in bundle.outputs] == ["label_a", "label_b", "label_c"]
    assert [output.name for output in bundle.outputs] == ["proba", "probb", "probc"]
    assert bundle.card.nonfinite == "weaver"
    first, second, _ = bundle.groups[0].variables
    assert (first.median, first.norm_factor, first.lower_bound, first.upper_bound) == (1.7, 0.7, -5, 5)
    assert (second.median, second.norm_factor, second.lower_bound, second.upper_bound) == (0, 1, -1e32, 1e32)
    assert first.feature.doc == "= np.log(part_pt)"
    assert "data.yaml" in bundle.files


def test_an_input_of_the_network_that_is_not_described_is_refused(tmp_path: Path) -> None:
    groups = {"pf_features": ("", "", ""), "sv_features": ("",), "pf_mask": ("",)}
    with pytest.raises(BundleError, match=r"inputs of the model without a group: \['sv_features'\]"):
        Bundle.from_folder(weaver_bundle(tmp_path / "toy", groups=groups))


def test_the_number_of_variables_is_that_of_the_network(tmp_path: Path) -> None:
    groups = {"pf_features": ("", ""), "pf_mask": ("",)}
    with pytest.raises(BundleError, match="'pf_features' has 3 variables"):
        Bundle.from_folder(weaver_bundle(tmp_path / "toy", groups=groups))


def test_classes_that_the_configuration_does_not_name_come_from_the_card(tmp_path: Path) -> None:
    config = CONFIG.replace(
        "type: simple, value: [label_a, label_b, label_c]", "type: custom, value: {truth: jet_label}"
    )
    with pytest.raises(BundleError, match=r"list of classes .*of data\.yaml is missing.*output_names.*bundle\.json"):
        Bundle.from_folder(weaver_bundle(tmp_path / "one", config))
    card = {"output_names": ["label_x", "label_y", "label_z"], "kinds": {"prob": ["label_*"]}}
    bundle = Bundle.from_folder(weaver_bundle(tmp_path / "two", config, card=card))
    assert [output.name for output in bundle.outputs] == ["probx", "proby", "probz"]


def test_which_file_describes_the_inputs(tmp_path: Path) -> None:
    folder = weaver_bundle(tmp_path / "toy")
    (folder / "other.yml").write_text(CONFIG)
    with pytest.raises(BundleError, match=r'several YAML files \(data.yaml, other.yml\).*"inputs"'):
        Bundle.from_folder(folder)
    card = {"schema_version": 1, "name": "toy", "inputs": "other.yml", "kinds": {"prob": ["label*"]}}
    (folder / "bundle.json").write_text(json.dumps(card))
    assert "other.yml" in Bundle.from_folder(folder).files
    (folder / "bundle.json").write_text(json.dumps(card | {"inputs": "absent.yaml"}))
    with pytest.raises(MissingModelFile, match=r"has no the file|absent\.yaml"):
        Bundle.from_folder(folder)
    both = write_bundle(tmp_path / "both")
    (both / "notes.yaml").write_text("a: 1")
    assert Bundle.from_folder(both).weaver is None


def test_a_broken_configuration_is_refused_when_the_bundle_is_read(tmp_path: Path) -> None:
    folder = weaver_bundle(tmp_path / "toy", CONFIG.replace("np.hypot", "np.hypotenuse"))
    with pytest.raises(ConfigError, match=r"data\.yaml, line 4, new_variables\.part_pt: position 1: unknown function"):
        Bundle.from_folder(folder)


def test_the_digest_depends_on_the_configuration(tmp_path: Path) -> None:
    one = Bundle.from_folder(weaver_bundle(tmp_path / "one", card={}))
    two = Bundle.from_folder(weaver_bundle(tmp_path / "two", CONFIG.replace("1.7", "1.6"), card={}))
    assert one.digest != two.digest


def test_models_with_a_configuration_can_be_added_named_and_checked(bundle: Bundle) -> None:
    from jettagger.bundles.registry import add, available

    added = add(bundle.folder, "mine")
    assert (added / "data.yaml").is_file()
    assert "mine" in available()
    results = check(bundle)
    assert [result for result in results if result.passed is False] == []
    assert sum(result.passed is True for result in results) > 8


# inputs


@pytest.mark.data
@pytest.mark.parametrize("selected", [True, False])
def test_inputs_of_real_jets_are_those_of_weaver(
    shared: Path, tmp_path: Path, selected: bool, agrees: Agreement
) -> None:
    """All 100 example jets, and the 85 of them that pass the training selection."""
    text = (shared / "sophon/JetClassII_full.yaml").read_text()
    if not selected:
        text = text.replace("(jet_pt > 200) & (jet_pt < 2500) & (jet_sdmass > 20) & (jet_sdmass < 500)", "jet_pt > 0")
    config = tmp_path / "config.yaml"
    config.write_text(text)
    run_in_weaver(LOADER, str(config), "out.npz", str(shared / "sophon/JetClassII_example.parquet"), cwd=tmp_path)
    expected = np.load(tmp_path / "out.npz")
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "data.yaml").write_text(text)
    (folder / "bundle.json").write_text(json.dumps({"schema_version": 1, "name": "x", "output_names": ["a"]}))
    bundle = Bundle.from_folder(folder)
    arrays = ak.from_parquet(shared / "sophon/JetClassII_example.parquet")
    inputs = stacked(bundle, arrays)
    assert bundle.weaver is not None
    flags = Tagger(bundle, session=Never()).request(arrays).flags["inDomain"]
    assert flags is not None
    assert flags.sum() == (85 if selected else 100)
    assert set(inputs) == {"pf_points", "pf_features", "pf_vectors", "pf_mask"}
    for name, array in inputs.items():
        reference = expected[f"input__{name}"]
        assert reference.shape == array[flags].shape
        part = f"{name}, {'selected jets' if selected else 'all jets'}"
        agrees("weaver/tensors", array[flags], reference, sample=len(reference), rtol=1e-6, atol=1e-6, part=part)
    np.testing.assert_array_equal(expected["label__truth_label"], ak.to_numpy(arrays.jet_label)[flags])


HARD = """\
new_variables:
   part_mask: ak.ones_like(part_px)
   part_ratio: part_px / part_py
   part_root: np.sqrt(part_pz)
   part_log: np.log(_clip(part_px, 0, 10))
   part_order: part_px[ak.argsort(part_py, ascending=False)]
   part_shifted: part_px - ak.mean(part_px, axis=1)
   part_p4pt: _p4_from_pxpypze(part_px, part_py, part_pz, part_energy).pt
   jet_first: ak.fill_none(ak.firsts(part_px), -1)
   jet_leading: ak.fill_none(ak.max(np.hypot(part_px, part_py), axis=1), 0)
   part_where: ak.where(part_charge == 0, part_px, -part_px)
   label_a: (jet_label % 2) == 0
   label_b: (jet_label % 2) == 1
inputs:
   pf_features:
      length: 12
      pad_mode: MODE
      vars:
         - [part_ratio, 0.5, 2, -3, 3, PAD]
         - [part_root, 1.0, 1.5, -5, 5, PAD]
         - [part_log, 1, 1, -2, 2, PAD]
         - [part_px, null, 1, -5, 5, PAD]
         - [part_order, 3, 0.1, -5, 5, PAD]
         - [part_shifted, 0, 1, -5, 5, PAD]
         - [part_p4pt, 20, 0.05, -5, 5, PAD]
         - [part_where, 1, 1, -5, 5, PAD]
   jet_features: {length: 1, vars: [[jet_first, 1, 2], jet_leading, [jet_pt, 500, 0.002]]}
   pf_mask: {length: 12, pad_mode: constant, vars: [[part_mask, null]]}
labels: {type: simple, value: [label_a, label_b]}
"""


@pytest.mark.parametrize(("mode", "pad"), [("wrap", 0), ("constant", -1), ("constant", 0)])
def test_values_that_are_hard_are_those_of_weaver(tmp_path: Path, mode: str, pad: int, agrees: Agreement) -> None:
    """Roots of negative numbers, lists that are longer than the input, sorting, sums, both paddings."""
    text = HARD.replace("MODE", mode).replace("PAD", str(pad))
    jets = table(40, seed=3)[:-1]
    ak.to_parquet(jets, tmp_path / "jets.parquet")
    (tmp_path / "data.yaml").write_text(text)
    run_in_weaver(LOADER, "data.yaml", "out.npz", "jets.parquet", cwd=tmp_path)
    expected = np.load(tmp_path / "out.npz")
    inputs = stacked(Bundle.from_folder(tmp_path_bundle(tmp_path, text)), jets)
    for name, array in inputs.items():
        part = f"{name}, {mode} {pad}"
        agrees("weaver/hard", array, expected[f"input__{name}"], sample=39, rtol=1e-6, atol=1e-6, part=part)
    assert np.isfinite(inputs["pf_features"]).all()
    np.testing.assert_array_equal(expected["label___label_"], ak.to_numpy(jets.jet_label) % 2)


AUTO = """\
selection: jet_pt > 300
new_variables:
   part_mask: ak.ones_like(part_px)
   part_ratio: part_px / part_py
   part_constant: part_mask * 3
   label_a: (jet_label % 2) == 0
   label_b: (jet_label % 2) == 1
preprocess: {method: auto, data_fraction: 1}
inputs:
   pf_features:
      length: 8
      pad_mode: wrap
      vars: [part_px, [part_energy], [part_py, 2, 0.5], [part_charge, null], part_constant, part_ratio]
   pf_mask: {length: 8, pad_mode: constant, vars: [[part_mask, null]]}
   jet_features: {length: 1, vars: [jet_pt, jet_sdmass]}
labels: {type: simple, value: [label_a, label_b]}
"""

STANDARDISE = """\
import sys
from weaver.utils.dataset import SimpleIterDataset
SimpleIterDataset({"_": ["jets.parquet"]}, "data.yaml", for_training=True, async_load=False, name="train")
"""


def test_what_weaver_standardised_by_itself_is_used(tmp_path: Path, agrees: Agreement) -> None:
    """The file that a training with ``method: auto`` writes: its numbers, and the inputs made with them."""
    jets = table(60, seed=8)[:-1]
    ak.to_parquet(jets, tmp_path / "jets.parquet")
    (tmp_path / "data.yaml").write_text(AUTO)
    (tmp_path / "standardise.py").write_text(STANDARDISE)
    with pytest.raises(ConfigError, match=r"'part_px' has no centre and scale.*\.auto\.yaml"):
        read_config(tmp_path / "data.yaml")
    run_in_weaver(tmp_path / "standardise.py", cwd=tmp_path)
    (made,) = tmp_path.glob("data.*.auto.yaml")
    config = read_config(made)
    found = {variable.name: variable for group in config.inputs for variable in group.variables}
    trained = jets[jets.jet_pt > 300]
    for name in ("part_px", "part_energy", "jet_pt", "jet_sdmass"):
        low, centre, high = np.percentile(ak.to_numpy(ak.flatten(trained[name], axis=None)), [16, 50, 84])
        assert found[name].center == pytest.approx(centre)
        assert found[name].scale == pytest.approx(1 / max(high - centre, centre - low))
    assert (found["part_py"].center, found["part_py"].scale) == (2, 0.5)
    assert (found["part_constant"].center, found["part_constant"].scale) == (3, 1)
    assert found["part_charge"].center is None
    assert found["part_mask"].center is None
    run_in_weaver(LOADER, made.name, "out.npz", "jets.parquet", cwd=tmp_path)
    expected = np.load(tmp_path / "out.npz")
    folder = tmp_path_bundle(tmp_path, made.read_text())
    inputs = stacked(Bundle.from_folder(folder), trained)
    assert set(inputs) == {"pf_features", "pf_mask", "jet_features"}
    for name, array in inputs.items():
        wanted = expected[f"input__{name}"]
        agrees("weaver/standardised", array, wanted, sample=len(wanted), rtol=1e-6, atol=1e-6, part=name)


NUMBERS = """\
new_variables:
   jet_odd: ak.where(jet_pt > 400, np.inf, jet_pt)
   jet_none: ak.where(jet_pt > 400, np.nan, jet_pt)
   part_ratio: part_px / part_py
   label_a: jet_label >= 0
inputs:
   pf_features: {length: 6, pad_mode: wrap, vars: [[part_px, 1, 2], [part_ratio, null]]}
   sv_filled: {length: 6, pad_mode: wrap, vars: [[sv_mass, 1, 2, -5, 5, 3]]}
   event: {length: null, vars: [[jet_pt, 500, 0.01], [jet_sdmass, null], [jet_odd, null], [jet_none, 1, 1, 0, 9]]}
   single: {length: null, vars: [[jet_eta, 0, 2]]}
   jet_features: {length: 1, vars: [[jet_phi, null], [jet_wide, null]]}
labels: {type: simple, value: [label_a]}
"""


def test_numbers_without_a_length_are_those_of_weaver(tmp_path: Path) -> None:
    """``length: null`` gives tensors without an axis of slots; infinities, NaN and empty lists among them."""
    jets = table(20, seed=4)
    rng = np.random.default_rng(2)
    for name in ("jet_eta", "jet_phi", "jet_wide"):
        jets[name] = rng.normal(0, 1, 20).astype("f4")
    jets["jet_wide"] = np.where(np.arange(20) % 5 == 0, -np.inf, ak.to_numpy(jets.jet_wide)).astype("f4")
    jets["sv_mass"] = ak.unflatten(rng.normal(1, 1, 30).astype("f4"), [0, 3] * 10)
    ak.to_parquet(jets, tmp_path / "jets.parquet")
    (tmp_path / "data.yaml").write_text(NUMBERS)
    run_in_weaver(LOADER, "data.yaml", "out.npz", "jets.parquet", cwd=tmp_path)
    expected = np.load(tmp_path / "out.npz")
    assert expected["input__event"].shape == (20, 4)
    assert expected["input__single"].shape == (20,)
    folder = tmp_path_bundle(tmp_path, NUMBERS)
    (folder / "bundle.json").write_text(json.dumps({"schema_version": 1, "name": "x", "output_names": ["a"]}))
    bundle = Bundle.from_folder(folder)
    assert {group.name: len(group.layout) for group in bundle.groups} == {
        "pf_features": 3, "sv_filled": 3, "event": 2, "single": 1, "jet_features": 3,
    }  # fmt: skip
    kept = ak.num(jets.part_px) > 0  # the others are not scored
    for name, array in stacked(bundle, jets).items():
        np.testing.assert_allclose(array[kept], expected[f"input__{name}"][kept], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("axes", [1, 2])
def test_a_network_with_numbers_of_the_jet_is_run(tmp_path: Path, axes: int) -> None:
    config = """\
inputs:
   pf_features: {length: 8, vars: [part_px]}
   pf_mask: {length: 8, vars: [part_mask]}
   event: {length: null, vars: [NAMES]}
new_variables: {part_mask: ak.ones_like(part_px)}
labels: {type: simple, value: [label_a, label_b, label_c]}
""".replace("NAMES", ", ".join(["[jet_pt, 400, 0.01]", "[jet_sdmass, 50, 0.01]"][:axes]))
    groups, heads = {"pf_features": ("",), "pf_mask": ("",)}, (Head("softmax", 3),)
    folder = weaver_bundle(tmp_path / "toy", config, groups, heads)
    model = onnx.load(folder / "model.onnx")
    shape = ["N", axes][:axes]
    model.graph.input.append(onnx.helper.make_tensor_value_info("event", onnx.TensorProto.FLOAT, shape))
    constants = {"flat": np.array([-1, axes]), "weights": np.eye(axes, 3, dtype="f4")}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in constants.items())
    (last,) = model.graph.output
    nodes = [
        onnx.helper.make_node("Reshape", ["event", "flat"], ["event_flat"]),
        onnx.helper.make_node("MatMul", ["event_flat", "weights"], ["event_part"]),
        onnx.helper.make_node("Add", [last.name, "event_part"], ["total"]),
    ]
    model.graph.node.extend(nodes)
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("total", onnx.TensorProto.FLOAT, ["N", 3]))
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
    bundle = Bundle.from_folder(folder)
    assert {group.name: len(group.layout) for group in bundle.groups}["event"] == axes
    jets = table(6)
    scores = Tagger(bundle)(jets)
    plain = Tagger(Bundle.from_folder(weaver_bundle(tmp_path / "plain", config, groups, heads)))(jets)
    added = [np.clip((ak.to_numpy(jets.jet_pt) - 400) * 0.01, -5, 5), (ak.to_numpy(jets.jet_sdmass) - 50) * 0.01]
    for number, name in enumerate(("logita", "logitb", "logitc")):
        expected = ak.to_numpy(plain[name][:-1]) + (added[number][:-1] if number < axes else 0)
        np.testing.assert_allclose(ak.to_numpy(scores[name][:-1]), expected, atol=1e-5)
    wrong = model.graph.input[-1].type.tensor_type.shape.dim.add()
    wrong.dim_value = 1
    wrong = model.graph.input[-1].type.tensor_type.shape.dim.add()
    wrong.dim_value = 1
    onnx.save(model, folder / "model.onnx")
    with pytest.raises(BundleError, match=r"input 'event' is float32\['N'.*expected float32 \[jets"):
        Bundle.from_folder(folder)


def tmp_path_bundle(tmp_path: Path, text: str) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "data.yaml").write_text(text)
    return folder


class Never:
    """A session that is not to be run."""

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    def run(self, inputs: object) -> dict[str, np.ndarray]:
        raise AssertionError("the network was run")


def test_the_order_is_scale_clip_then_nan_and_infinities_without_a_centre_stay(tmp_path: Path) -> None:
    text = (
        "new_variables: {part_mask: ak.ones_like(part_px)}\n"
        "inputs:\n  pf_features: {length: 4, vars: [[part_px, 4, 0.5, -2, 2, 7], [part_py, null]]}\n"
        "  pf_mask: {length: 4, vars: [part_mask]}\nlabels: {type: simple, value: [a]}\n"
    )
    bundle = Bundle.from_folder(tmp_path_bundle(tmp_path, text))
    values = [np.nan, np.inf, 5.0]
    inputs = stacked(bundle, ak.Array({"part_px": [values], "part_py": [values]}))["pf_features"][0]
    assert inputs[0].tolist() == [0.0, 2.0, 0.5, 7.0]
    assert inputs[1].tolist() == [0.0, np.inf, 5.0, 0.0]


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_inputs_of_a_jet_do_not_depend_on_the_others(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bundle = Bundle.from_folder(weaver_bundle(tmp_path_factory.mktemp("bundle")))
    jets = table(8, seed=1)
    whole = stacked_by_jet(bundle, jets)
    chosen = sorted(data.draw(st.sets(st.integers(0, 7), min_size=1), label="jets"))
    for jet, inputs in stacked_by_jet(bundle, jets[chosen]).items():
        for name, array in inputs.items():
            n = min(array.shape[1], whole[chosen[jet]][name].shape[1])
            np.testing.assert_array_equal(array[:, :n], whole[chosen[jet]][name][:, :n])


def stacked_by_jet(bundle: Bundle, jets: ak.Array) -> dict[int, dict[str, np.ndarray]]:
    found = {}
    for batch in make_inputs(bundle, jets):
        for row, jet in enumerate(batch.jets):
            found[int(jet)] = {name: array[row] for name, array in batch.inputs.items()}
    return found


# scores


def test_a_table_gets_one_row_a_jet(bundle: Bundle) -> None:
    jets = table(6)
    jets["jet_sdmass"] = np.array([10, 30, 30, 30, 30, 15], dtype="f4")
    tagged = Tagger(bundle).attach(jets)
    assert len(tagged) == 6
    assert tagged.fields[-4:] == ["toy_proba", "toy_probb", "toy_probc", "toy_inDomain"]
    sums = tagged.toy_proba + tagged.toy_probb + tagged.toy_probc
    assert ak.is_none(sums).tolist() == [False] * 5 + [True]  # the last jet has no constituents
    assert ak.all(np.abs(ak.drop_none(sums) - 1) < 1e-5)
    expected = (jets.jet_pt > 200) & (jets.jet_sdmass > 20)
    assert tagged.toy_inDomain.tolist() == expected.tolist()
    assert 0 < ak.sum(expected) < 6
    assert "toy_proba" not in jets.fields


def test_scores_are_those_of_each_jet_alone_and_of_a_chosen_part(bundle: Bundle) -> None:
    jets = table(12, seed=4)
    tagger = Tagger(bundle)
    whole = tagger(jets)
    for jet in range(11):
        assert tagger(jets[jet : jet + 1]).proba[0] == pytest.approx(whole.proba[jet], abs=1e-6)
    part = tagger(jets, where=jets.jet_pt > 400)
    assert ak.is_none(part.proba).tolist() == [*(~(jets.jet_pt > 400)).tolist()[:-1], True]
    assert part.inDomain.tolist() == whole.inDomain.tolist()


def test_jets_outside_the_training_selection_can_be_left_out(bundle: Bundle) -> None:
    jets = table(12, seed=4)
    inside = ((jets.jet_pt > 200) & (jets.jet_sdmass > 20)).tolist()
    tagger = Tagger(bundle, outside="skip")
    result = tagger.run(jets)
    assert [score is not None for score in result.scores.proba.tolist()] == [*inside[:-1], False]
    assert result.report.outside_domain == inside[:-1].count(False) + (not inside[-1])
    assert result.report.scored + result.report.outside_domain + result.report.without_constituents == 12
    assert result.scores.inDomain.tolist() == inside
    with pytest.raises(MismatchError, match="outside is 'drop', expected 'score' or 'skip'"):
        Tagger(bundle, outside="drop").run(jets)  # type: ignore[arg-type]


def test_a_selection_for_tests_decides_what_is_left_out(tmp_path: Path) -> None:
    bundle = Bundle.from_folder(weaver_bundle(tmp_path / "t", f"test_time_selection: jet_pt > 500\n{CONFIG}"))
    jets = table(12, seed=4)
    scores = Tagger(bundle, outside="skip")(jets)
    assert ak.is_none(scores.proba).tolist() == [*(~(jets.jet_pt > 500)).tolist()[:-1], True]
    assert scores.inDomain.tolist() == ((jets.jet_pt > 200) & (jets.jet_sdmass > 20)).tolist()


def test_without_the_columns_of_the_selection_the_flag_is_unknown(bundle: Bundle) -> None:
    jets = table(6)[[name for name in table(6).fields if name != "jet_sdmass"]]
    tagged = Tagger(bundle).attach(jets)
    assert tagged.toy_inDomain.tolist() == [None] * 6
    assert ak.count(tagged.toy_proba) == 5
    with pytest.raises(MissingColumns, match="needs jet_sdmass"):
        Tagger(bundle, outside="skip")(jets)


def test_missing_columns_are_all_named_with_what_needs_them_and_where(bundle: Bundle) -> None:
    jets = table(6)
    jets = ak.with_field(
        jets[[name for name in jets.fields if name not in ("part_py", "part_charge")]], jets.part_py, "part_pyy"
    )
    with pytest.raises(MissingColumns) as info:
        Tagger(bundle)(jets)
    message = str(info.value)
    assert "part_py (nearest: part_pyy" in message
    assert "needed by part_logpt (line 5)" in message
    assert "part_charge" in message


def test_tables_that_are_none_and_masks_that_do_not_fit_are_refused(bundle: Bundle) -> None:
    tagger = Tagger(bundle)
    with pytest.raises(InputFileError, match="expected a table of jets"):
        tagger([1, 2])
    with pytest.raises(
        MismatchError, match=r"where is bool\[3\], expected a bool array with one entry per jet \(6 jets\)"
    ):
        tagger(table(6), where=np.ones(3, dtype=bool))
    with pytest.raises(MismatchError, match="where is float64"):
        tagger(table(6), where=np.ones(6))
    with pytest.raises(MismatchError, match="kinematics 'pt' are not aligned"):
        tagger.run(table(6), kinematics={"pt": table(7).jet_pt})
    with pytest.raises(MismatchError, match="the table has 4 of these columns already"):
        tagger.attach(tagger.attach(table(6)))
    with pytest.raises(UnknownName, match="probx"):
        tagger.attach(table(6), columns=["probx"])
    with pytest.raises(InputFileError, match="has no collection 'FatJet'"):
        Tagger(bundle, jets="FatJet")(table(6))
    with pytest.raises(MismatchError, match="outside= is for models with a data configuration"):
        jt.load_tagger("tinyParT", outside="skip")


def test_rows_that_are_none_stay_none(bundle: Bundle) -> None:
    jets = ak.mask(table(6), [True, False, True, True, True, True])
    tagged = Tagger(bundle).attach(jets)
    assert tagged[1] is None
    report = Tagger(bundle).run(jets).report
    assert (report.jets, report.absent, report.scored, report.without_constituents) == (6, 1, 4, 1)
    plain = Tagger(bundle).attach(table(6))
    assert tagged.toy_proba.tolist()[2:] == pytest.approx([*plain.toy_proba.tolist()[2:-1], None], abs=1e-6)


def test_empty_tables_give_empty_scores(bundle: Bundle) -> None:
    tagged = Tagger(bundle).attach(table(6)[:0])
    assert len(tagged) == 0
    assert str(tagged.toy_proba.type) == "0 * ?float32"
    assert str(tagged.toy_inDomain.type) == "0 * ?bool"


def test_a_tagger_of_this_kind_is_a_value(bundle: Bundle) -> None:
    tagger = Tagger(bundle, outside="skip")
    again = pickle.loads(pickle.dumps(tagger))
    assert again.options.outside == "skip"
    assert again(table(6)).tolist() == tagger(table(6)).tolist()


def test_two_axes_and_variables_of_the_jet(tmp_path: Path) -> None:
    config = """\
inputs:
   pf_features: {length: 8, vars: [part_px]}
   sv_features: {length: 3, vars: [sv_mass]}
   jet_features: {length: 1, vars: [jet_pt]}
labels: {type: simple, value: [label_a, label_b, label_c]}
"""
    groups = {"pf_features": ("",), "sv_features": ("",), "jet_features": ("",)}
    bundle = Bundle.from_folder(weaver_bundle(tmp_path / "t", config, groups))
    jets = ak.Array(
        {"part_px": [[1.0, 2.0], [3.0], []], "sv_mass": [[], [1.0, 2.0, 3.0, 4.0], [2.0]], "jet_pt": [1.0, 2.0, 3.0]}
    )
    scores = Tagger(bundle)(jets)
    assert ak.is_none(scores.proba).tolist() == [False, False, True]
    assert scores.fields == ["proba", "probb", "probc"]  # no selection, no flag


def pooled(folder: Path, config: str, inputs: dict[str, tuple[int, Any]], masks: dict[str, str]) -> Array:
    """A bundle whose network sums each input over its slots, behind its mask; returns the weights of the two classes.

    ``inputs``: name -> channels and the length axis, None for numbers of the jet.
    """
    nodes, parts = [], []
    for name, (_, axis) in inputs.items():
        source = name
        if name in masks:
            nodes.append(helper.make_node("Mul", [name, masks[name]], [f"{name}_masked"]))
            source = f"{name}_masked"
        if axis is not None:
            nodes.append(helper.make_node("ReduceSum", [source, "last"], [f"{name}_sum"], keepdims=0))
            source = f"{name}_sum"
        parts.append(source)
    width = sum(channels for channels, _ in inputs.values())
    weights = np.linspace(-1, 1, 2 * width, dtype=np.float32).reshape(width, 2)
    nodes += [
        helper.make_node("Concat", parts, ["all"], axis=1),
        helper.make_node("MatMul", ["all", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["softmax"], axis=1),
    ]
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", channels, *([] if axis is None else [axis])])
        for name, (channels, axis) in inputs.items()
    ]
    result = helper.make_tensor_value_info("softmax", TensorProto.FLOAT, ["N", 2])
    constants = [numpy_helper.from_array(np.array([2]), "last"), numpy_helper.from_array(weights, "weights")]
    content = helper.make_graph(nodes, "sums", tensors, [result], constants)
    model = helper.make_model(content, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    (folder / "data.yaml").write_text(config + "labels: {type: simple, value: [label_A, label_B]}\n")
    return weights


#: symbols of the length axes: as weaver exports them, as PyTorch calls them itself, all alike, fixed, none
AXES: dict[str, Callable[[str, str, int], Any]] = {
    "named": lambda group, kind, length: kind,
    "by the beginning": lambda group, kind, length: f"n_{group.split('_')[0]}",
    "after the input": lambda group, kind, length: f"{group}_dynamic_axes_2",
    "alike": lambda group, kind, length: "n",
    "fixed": lambda group, kind, length: length,
    "unnamed": lambda group, kind, length: "",
}


def softmax(logits: Array) -> Array:
    """Along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("edges", [300, 50])
def test_each_group_has_its_own_length_whatever_it_is_called(tmp_path: Path, axes: str, edges: int) -> None:
    """Pairs of tracks in ``pf_ef`` beside tracks in ``pf_features``; scores in closed form."""
    config = f"""\
new_variables: {{part_mask: ak.ones_like(part_pt), edge_valid: ak.ones_like(edge_d)}}
inputs:
  pf_features: {{length: 50, vars: [[part_pt, null]]}}
  pf_mask: {{length: 50, vars: [[part_mask, null]]}}
  pf_ef: {{length: {edges}, vars: [[edge_d, null]]}}
  pf_ef_slots: {{length: {edges}, vars: [[edge_valid, null]]}}
"""
    kinds = {"pf_features": ("n", 50), "pf_mask": ("n", 50), "pf_ef": ("e", edges), "pf_ef_slots": ("e", edges)}
    inputs = {name: (1, AXES[axes](name, kind, length)) for name, (kind, length) in kinds.items()}
    weights = pooled(tmp_path / "t", config, inputs, {"pf_features": "pf_mask", "pf_ef": "pf_ef_slots"})
    rng = np.random.default_rng(3)
    tracks, pairs = rng.integers(1, 9, 30), rng.integers(0, 40, 30)
    pt = ak.unflatten(rng.normal(0, 0.2, tracks.sum()).astype(np.float32), tracks)
    distance = ak.unflatten(rng.normal(0, 0.1, pairs.sum()).astype(np.float32), pairs)
    scores = load_tagger(tmp_path / "t")(ak.Array({"part_pt": pt, "edge_d": distance}))
    sums = [ak.to_numpy(ak.sum(pt, axis=1)), tracks, ak.to_numpy(ak.sum(distance, axis=1)), pairs]
    want = softmax(np.stack(sums, axis=1) @ weights)
    found = np.stack([ak.to_numpy(scores.probA), ak.to_numpy(scores.probB)], axis=1)
    np.testing.assert_allclose(found, want, atol=2e-6)
    results = check(Bundle.from_folder(tmp_path / "t"))
    assert not [result for result in results if result.passed is False]


def test_a_list_of_jets_beside_numbers_of_the_event(tmp_path: Path) -> None:
    config = """\
new_variables: {jet_mask: ak.ones_like(jet_pt)}
inputs:
  jet: {length: 6, vars: [[jet_pt, 0, 0.01]]}
  jet_mask: {length: 6, vars: [[jet_mask, null]]}
  event: {length: null, vars: [[met, 0, 0.01], [ht, 0, 0.001]]}
"""
    inputs = {"jet": (1, "n"), "jet_mask": (1, "n"), "event": (2, None)}
    weights = pooled(tmp_path / "t", config, inputs, {"jet": "jet_mask"})
    events = ak.Array({"jet_pt": [[100.0, 50.0], [200.0, 30.0, 20.0]], "met": [100.0, 20.0], "ht": [150.0, 250.0]})
    tagger = load_tagger(tmp_path / "t")
    want = softmax(np.array([[1.5, 2, 1.0, 0.15], [2.5, 3, 0.2, 0.25]]) @ weights)
    scores = tagger(events)
    np.testing.assert_allclose(np.stack([scores.probA, scores.probB], axis=1), want, atol=1e-6)
    assert [(group.axis, group.per_jet, group.is_mask) for group in tagger.bundle.groups] == [
        ("jet", False, False),
        ("jet", False, True),
        ("event", True, False),
    ]
    assert not [result for result in check(tagger.bundle) if result.passed is False]


def test_a_mask_is_one_by_its_definition(tmp_path: Path) -> None:
    """A list that is only called a mask hides no padding: such jets run with others of exactly their length."""
    text = "new_variables:\n  part_mask: {}\ninputs: {{pf_mask: {{length: 8, vars: [[part_mask, null]]}}}}\n"
    for formula, expected in (
        ("ak.ones_like(part_pt)", True),
        ("np.ones_like(part_pt)", True),
        ("ak.values_astype(ak.ones_like(part_pt), 'float32')", True),
        ("part_pt * 2", False),
        ("part_pt > 0", False),
    ):
        (group,) = weaver_groups(read_config(text=text.format(formula)))
        assert group.is_mask is expected, formula
    (group,) = weaver_groups(read_config(text="inputs: {pf_mask: {length: 8, vars: [[part_mask, null]]}}"))
    assert not group.is_mask
    jets = ak.Array({"part_pt": [[1.0], [2.0, 3.0], [4.0], [5.0, 6.0, 7.0]]})
    folder = tmp_path / "t"
    pooled(folder, text.format("part_pt * 2"), {"pf_mask": (1, "n")}, {})
    batches = list(make_inputs(Bundle.from_folder(folder), jets))
    assert sorted(batch.inputs["pf_mask"].shape for batch in batches) == [(1, 1, 2), (1, 1, 3), (2, 1, 1)]


def test_a_jet_without_the_first_and_the_longest_list_is_not_scored(tmp_path: Path) -> None:
    """A jet with one track has no pair of tracks, and is scored all the same."""
    config = "inputs: {pf: {length: 3, vars: [part_pt]}, pairs: {length: 9, vars: [edge_d]}}\n"
    pooled(tmp_path / "t", config, {"pf": (1, "n"), "pairs": (1, "e")}, {})
    jets = ak.Array({"part_pt": [[1.0], [], []], "edge_d": [[], [0.5], []]})
    assert ak.is_none(load_tagger(tmp_path / "t")(jets).probA).tolist() == [False, False, True]


def test_inputs_are_batched_with_their_own_paddings(tmp_path: Path) -> None:
    """``wrap`` repeats the list, ``constant`` fills; both in one model."""
    config = """\
inputs:
   pf_wrapped: {length: 5, pad_mode: wrap, vars: [part_px]}
   pf_filled: {length: 5, pad_mode: constant, vars: [[part_py, null, 1, -5, 5, 9]]}
"""
    folder = tmp_path_bundle(tmp_path, config)
    (folder / "bundle.json").write_text(json.dumps({"schema_version": 1, "name": "x", "output_names": ["a"]}))
    jets = ak.Array({"part_px": [[1.0, 2.0]], "part_py": [[3.0, 4.0]]})
    (batch,) = make_inputs(Bundle.from_folder(folder), jets)
    assert batch.inputs["pf_wrapped"].tolist() == [[[1, 2, 1, 2, 1]]]
    assert batch.inputs["pf_filled"].tolist() == [[[3, 4, 9, 9, 9]]]


def test_what_is_exported_for_cmssw_is_the_same_model(tmp_path: Path) -> None:
    """Weaver's own preprocess.json of this configuration: medians, factors, bounds, paddings."""
    (tmp_path / "data.yaml").write_text(CONFIG)
    script = tmp_path / "export.py"
    script.write_text(
        "import sys\nfrom weaver.utils.data.config import DataConfig\n"
        "DataConfig.load(sys.argv[1]).export_json(sys.argv[2])\n"
    )
    run_in_weaver(script, "data.yaml", "preprocess.json", cwd=tmp_path)
    exported = json.loads((tmp_path / "preprocess.json").read_text())
    bundle = Bundle.from_folder(weaver_bundle(tmp_path / "toy", heads=HEADS))
    assert exported["output_names"] == [output.raw for output in bundle.outputs]
    for group in bundle.groups:
        assert exported[group.name]["var_length"] == 20
        for variable in group.variables:
            info = exported[group.name]["var_infos"][variable.feature.name]
            assert info == {
                "median": variable.median,
                "norm_factor": variable.norm_factor,
                "replace_inf_value": variable.replace_inf_value,
                "lower_bound": variable.lower_bound,
                "upper_bound": variable.upper_bound,
                "pad": variable.pad,
            }


def test_a_fixed_length_of_the_graph_is_honoured(tmp_path: Path) -> None:
    free = Bundle.from_folder(weaver_bundle(tmp_path / "free"))
    fixed = Bundle.from_folder(weaver_bundle(tmp_path / "fixed", axes={"pf": 20}))
    assert {(group.min_length, group.max_length) for group in fixed.groups} == {(20, 20)}
    assert {(group.min_length, group.max_length) for group in free.groups} == {(20, 20)}
    assert {(group.min_length, group.max_length) for group in as_run(free).groups} == {(1, 20)}
    assert {batch.inputs["pf_mask"].shape[2] for batch in make_inputs(fixed, table(6))} == {20}
    assert ak.to_list(Tagger(fixed)(table(6)).proba)[:5] == pytest.approx(ak.to_list(Tagger(free)(table(6)).proba)[:5])


def test_hidden_neurons_beside_the_classes_are_named_by_the_card(tmp_path: Path) -> None:
    names = ["label_a", "label_b", "label_c", "hidNeuron000", "hidNeuron001"]
    card = {"output_names": names, "kinds": {"prob": ["label_*"], "hidden": ["hidNeuron*"]}, "prefix": "my"}
    heads = (*HEADS, Head("hidden", 2))
    bundle = Bundle.from_folder(weaver_bundle(tmp_path / "toy", heads=heads, card=card))
    tagged = Tagger(bundle).attach(table(6), columns=["hidden"])
    assert [name for name in tagged.fields if name.startswith("my_")] == [
        "my_hidNeurons000",
        "my_hidNeurons001",
        "my_inDomain",
    ]


def test_the_configuration_is_read_once_more_from_its_own_text() -> None:
    assert read_config(text=CONFIG) == read_config(text=CONFIG)
