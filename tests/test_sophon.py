"""Sophon: its bundle without weights, exact inputs, and networks of its interface made with weaver-core."""

from __future__ import annotations

import json
import math
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from agreement import Agreement
from weavers import REPOSITORY, run_in_weaver

from jettagger import jetclass2
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.places import PACKAGE
from jettagger.bundles.registry import load_bundle
from jettagger.errors import MissingModelFile
from jettagger.inference.checking import check
from jettagger.inference.padding import as_run
from jettagger.sessions import open_onnx
from jettagger.tagging.tagger import load_tagger
from jettagger.tagging.tensors import make_inputs
from jettagger.weaver import Values, read_config

CONVERT = REPOSITORY / "examples" / "sophon" / "convert.py"
GROUPS = {"pf_features": 17, "pf_vectors": 4, "pf_mask": 1}


def random_network(folder: Path, *options: str) -> Bundle:
    """Sophon's architecture with random weights, exported in an environment with weaver-core."""
    run_in_weaver(CONVERT, "--random", "1", "-o", str(folder), *options, cwd=CONVERT.parent)
    return Bundle.from_folder(folder)


# the description


def test_the_bundle_in_the_package_has_all_but_the_weights(tmp_path: Path) -> None:
    bundle = load_bundle("Sophon")
    assert {group.name: len(group.variables) for group in bundle.groups} == GROUPS
    assert {(group.min_length, group.max_length) for group in bundle.groups} == {(128, 128)}
    kinds = [output.kind for output in bundle.outputs]
    assert kinds == ["prob"] * 188 + ["hidden"] * 128
    assert [output.raw for output in bundle.outputs[:188]] == [f"label_{name}" for name in jetclass2.LABELS]
    assert bundle["probXYYbbq"].index == jetclass2.LABELS.index("X_YY_bbq")
    assert bundle["hidNeurons127"].index == 315
    with pytest.raises(MissingModelFile, match=r"Put it at .*Sophon/model\.onnx .*JetClassII_Sophon"):
        bundle.require_weights()


@pytest.mark.data
def test_the_inputs_are_those_of_the_published_configuration(shared: Path) -> None:
    ours, theirs = read_config(PACKAGE / "models/Sophon/data.yaml"), read_config(shared / "sophon/JetClassII_full.yaml")
    published = {group.name: group for group in theirs.inputs}
    assert {group.name: group for group in ours.inputs} == {name: published[name] for name in GROUPS}
    for name in ours.variables:
        assert ours.formulas.get(name) == theirs.formulas.get(name)
    assert ours.selection == theirs.selection
    assert ours.observers == theirs.observers
    labels = {"jet_label": ak.Array(np.arange(188))}
    for name in theirs.formulas:
        if name.startswith("label_"):
            assert Values(ours, labels)[name].tolist() == Values(theirs, labels)[name].tolist()


@pytest.mark.data
def test_the_training_is_weighed_as_published(shared: Path) -> None:
    import yaml

    ours, theirs = (
        yaml.safe_load(path.read_text())["weights"]
        for path in (PACKAGE / "models/Sophon/data.yaml", shared / "sophon/JetClassII_full.yaml")
    )
    assert ours["reweight_vars"] == theirs["reweight_vars"]
    weights = dict(zip(theirs["reweight_classes"], theirs["class_weights"], strict=True))
    assert dict(zip(ours["reweight_classes"], ours["class_weights"], strict=True)) == weights


@pytest.mark.slow
@pytest.mark.data
def test_inputs_of_all_example_jets_equal_an_independent_computation(shared: Path, agrees: Agreement) -> None:
    """Number by number, in double precision, without awkward expressions."""
    jets = ak.from_parquet(shared / "sophon/JetClassII_example.parquet")
    inputs: dict[str, np.ndarray] = {}
    for batch in make_inputs(load_bundle("Sophon"), jets):
        for name, array in batch.inputs.items():
            inputs.setdefault(name, np.full((100, *array.shape[1:]), np.nan))[batch.jets] = array

    def scaled(value: float, centre: float, scale: float) -> float:
        return min(max((value - centre) * scale, -5), 5)

    made: dict[str, list[list[float]]] = {"pf_features": [], "pf_vectors": []}
    for index, jet in enumerate(jets.tolist()):
        number = len(jet["part_px"])
        for slot in range(128):
            part = {name[5:]: values[slot % number] for name, values in jet.items() if name.startswith("part_")}
            factor = 500 / jet["jet_pt"]
            pt = math.hypot(part["px"], part["py"])
            features = [
                scaled(math.log(pt * factor), 1.7, 0.7),
                scaled(math.log(part["energy"] * factor), 2.0, 0.7),
                scaled(math.log(pt / jet["jet_pt"]), -4.7, 0.7),
                scaled(math.log(part["energy"] / jet["jet_energy"]), -4.7, 0.7),
                scaled(math.hypot(part["deta"], part["dphi"]), 0.2, 4.0),
                part["charge"],
                part["isChargedHadron"],
                part["isNeutralHadron"],
                part["isPhoton"],
                part["isElectron"],
                part["isMuon"],
                math.tanh(part["d0val"]),
                min(max(part["d0err"], 0), 1),
                math.tanh(part["dzval"]),
                min(max(part["dzerr"], 0), 1),
                part["deta"],
                part["dphi"],
            ]
            vectors = [part[name] * factor for name in ("px", "py", "pz", "energy")]
            made["pf_features"].append(features)
            made["pf_vectors"].append(vectors)
            assert inputs["pf_mask"][index, 0, slot] == (slot < number)
    for name, expected in made.items():
        rows = inputs[name].transpose(0, 2, 1).reshape(len(expected), -1)
        agrees("weaver/sophon", rows, expected, sample=len(jets), rtol=1e-5, atol=2e-6, part=name)


def test_weights_alone_in_a_folder_of_the_name_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from networks import Head, graph

    (tmp_path / "Sophon").mkdir()
    groups = {name: ("",) * number for name, number in GROUPS.items()}
    model = graph(groups, (Head("a", 188, softmax=True), Head("b", 128)), axes={"pf": 128})
    (tmp_path / "Sophon/model.onnx").write_bytes(model.SerializeToString())
    monkeypatch.setenv("JETTAGGER_MODELS", str(tmp_path))
    bundle = load_bundle("Sophon")
    assert bundle.has_weights
    assert bundle.files["data.yaml"] == PACKAGE / "models/Sophon/data.yaml"
    assert {(group.min_length, group.max_length) for group in bundle.groups} == {(128, 128)}


# networks made with weaver


@pytest.mark.data
def test_the_published_architecture_runs_with_a_fixed_length(shared: Path, tmp_path: Path) -> None:
    bundle = random_network(tmp_path / "fixed", "--fixed-length")
    assert bundle.graph is not None
    assert [(tensor.name, tensor.shape) for tensor in bundle.graph.inputs] == [
        (name, ("N", number, 128)) for name, number in GROUPS.items()
    ]
    jets = ak.from_parquet(shared / "sophon/JetClassII_example.parquet")[:12]
    tagger = load_tagger(bundle.folder)
    tagged = tagger.attach(jets)
    assert {batch.inputs["pf_mask"].shape[2] for batch in make_inputs(bundle, jets)} == {128}
    sums = jetclass2.coarse(tagged, "fixed")
    np.testing.assert_allclose(sum(np.asarray(ak.to_numpy(ak.drop_none(x))) for x in sums.values()), 1, atol=1e-5)
    for index in (0, 7):
        alone = tagger(jets[index : index + 1])
        assert alone.probXbb[0] == pytest.approx(tagged.fixed_probXbb[index], abs=1e-5)
        assert alone.hidNeurons005[0] == pytest.approx(tagged.fixed_hidNeurons005[index], abs=1e-5)
    assert (
        tagged.fixed_inDomain.tolist()
        == ((jets.jet_pt > 200) & (jets.jet_pt < 2500) & (jets.jet_sdmass > 20) & (jets.jet_sdmass < 500)).tolist()
    )


def test_the_onnx_file_gives_what_torch_gives_at_all_lengths(tmp_path: Path) -> None:
    path = tmp_path / "lengths.npz"
    bundle = random_network(tmp_path / "free", "--option", "num_layers", "2", "--lengths", str(path))
    assert bundle.graph is not None
    assert {(group.min_length, group.max_length) for group in as_run(bundle).groups} == {(1, 128)}
    session = open_onnx(bundle.graph)
    stored = np.load(path)
    for length in range(1, 129):
        inputs = {name: stored[f"{length}__{name}"] for name in GROUPS}
        (found,) = session.run(inputs).values()
        np.testing.assert_allclose(found, stored[f"{length}__output"], atol=2e-5)
        assert np.ptp(found[:, :188]) > 1e-4
    failed = [result for result in check(bundle) if result.passed is False]
    assert failed == []
    assert any(result.name.startswith("golden vectors") and result.passed for result in check(bundle))


def test_the_card_names_all_outputs() -> None:
    card = json.loads((PACKAGE / "models/Sophon/bundle.json").read_text())
    assert len(set(card["output_names"])) == 316


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:invalid value encountered")  # the toy's scores are 0 or 1, so ratios may be 0/0
@pytest.mark.data
def test_the_notebook_runs(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from networks import Head
    from weavers import weaver_bundle

    groups = {name: ("",) * number for name, number in GROUPS.items()}
    card = json.loads((PACKAGE / "models/Sophon/bundle.json").read_text())
    heads = (Head("a", 188, softmax=True), Head("b", 128))
    config = (PACKAGE / "models/Sophon/data.yaml").read_text()
    folder = weaver_bundle(tmp_path / "like", config, groups, heads, card=card, axes={"pf": 128})
    monkeypatch.setenv("JETS", str(shared / "sophon/JetClassII_example.parquet"))
    monkeypatch.setenv("MODEL", str(folder))
    names: dict[str, object] = {"__name__": "notebook"}
    script = (REPOSITORY / "examples/sophon/notebook.py").read_text()
    exec(compile(script, "notebook.py", "exec"), names)
    ratios = np.nan_to_num(np.asarray(ak.drop_none(names["xbb_vs_qcd"])))
    assert len(ratios) == 100
    assert np.all((ratios >= 0) & (ratios <= 1))
    assert len(names["figure"].axes) == 7  # type: ignore[attr-defined]
