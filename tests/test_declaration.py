"""Declared inputs: what is refused, and that a declaration says the same as ``preprocess.json``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from comparing import assert_same_scores
from networks import GROUPS, LENGTHS, NAMES, description, write_bundle

import jettagger as jt
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.declaration import families, read_declared
from jettagger.bundles.interface import LAYOUT, Group, arranged
from jettagger.bundles.known import known_card
from jettagger.bundles.preprocess import PRODUCER_SELECTION
from jettagger.cli import main
from jettagger.errors import BundleError, ConfigError, JettaggerError, UnknownName
from jettagger.features import FEATURES
from jettagger.files.jsonfile import read_object
from jettagger.inference.checking import check
from jettagger.inference.padding import measured_slots
from jettagger.inputs.source import source_of
from jettagger.provenance import Provenance, provenance_of
from jettagger.testing import make_events

NUMBERS = ("median", "norm_factor", "replace_inf_value", "lower_bound", "upper_bound", "pad")
WORDS = {"pf": "candidates", "sv": "vertices", "jet": "jet"}


def content() -> dict[str, Any]:
    """What the ``preprocess.json`` of the toy network says, as a declaration."""
    said = description(lengths=LENGTHS)
    groups = []
    for name in said["input_names"]:
        group = said[name]
        object_ = FEATURES[group["var_names"][0]].object
        lengths = [group.get("var_length", group.get(f"{key}_length")) for key in ("min", "max")]
        declared = {"input": name, "object": WORDS[object_], "axes": list(LAYOUT), "length": lengths}
        declared["variables"] = [
            {"name": variable} | {key: group["var_infos"][variable].get(key, 0) for key in NUMBERS}
            for variable in group["var_names"]
        ]
        if object_ == "pf":
            declared["selection"] = PRODUCER_SELECTION
        groups.append(declared)
    return {"schema_version": 1, "name": "toy", "groups": groups}


def write(folder: Path, declared: Any, **card: Any) -> Path:
    write_bundle(folder, card={"output_names": list(NAMES)} | card)
    (folder / "preprocess.json").unlink()
    (folder / "inputs.json").write_text(json.dumps(declared, indent=1))
    return folder


def test_a_declaration_says_the_same_as_preprocess_json(tmp_path: Path) -> None:
    declared = Bundle.from_folder(write(tmp_path / "declared", content()))
    described = Bundle.from_folder(write_bundle(tmp_path / "described"))
    assert declared.groups == described.groups
    assert declared.digest != described.digest
    events = make_events(6, seed=2)
    taggers = [jt.load_tagger(bundle.folder, threads=1) for bundle in (declared, described)]
    assert_same_scores(taggers[0](events), taggers[1](events))


def transposed(path: Path) -> None:
    """Give the inputs of a network their axes in the order jets, objects, variables."""
    model = onnx.load(path)
    turned = []
    for tensor in model.graph.input:
        plain = f"{tensor.name}_plain"
        for node in model.graph.node:
            node.input[:] = [plain if name == tensor.name else name for name in node.input]
        turned.append(onnx.helper.make_node("Transpose", [tensor.name], [plain], perm=[0, 2, 1]))
        first, second = (onnx.TensorShapeProto.Dimension() for _ in range(2))
        first.CopyFrom(tensor.type.tensor_type.shape.dim[2])
        second.CopyFrom(tensor.type.tensor_type.shape.dim[1])
        tensor.type.tensor_type.shape.dim[1].CopyFrom(first)
        tensor.type.tensor_type.shape.dim[2].CopyFrom(second)
    nodes = [*turned, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)


def test_the_order_of_axes_changes_nothing(tmp_path: Path) -> None:
    plain = Bundle.from_folder(write(tmp_path / "plain", content()))
    declared = content()
    for group in declared["groups"]:
        group["axes"] = ["jets", "objects", "variables"]
    folder = write(tmp_path / "turned", declared)
    transposed(folder / "model.onnx")
    turned = Bundle.from_folder(folder)
    assert measured_slots(turned) == measured_slots(plain)
    assert set(measured_slots(plain)) == {"pf", "sv"}
    assert all(result.passed is not False for result in check(turned)), check(turned)
    events = make_events(12, seed=2)
    taggers = [jt.load_tagger(bundle.folder, threads=1) for bundle in (turned, plain)]
    assert_same_scores(taggers[0](events), taggers[1](events))


def test_an_axis_of_length_one_is_one(tmp_path: Path) -> None:
    groups = {"jet_features": ("jet_pt_log", "jet_eta")}
    group = {"input": "jet_features", "object": "jet", "axes": ["jets", "variables", "one"]}
    declared = {"schema_version": 1, "name": "toy", "groups": [group | {"variables": list(groups["jet_features"])}]}
    for length in (1, 3):
        folder = tmp_path / str(length)
        write_bundle(
            folder,
            groups=groups,
            lengths={"jet": {"var_length": 1}},
            axes={"jet": length},
            card={"output_names": list(NAMES)},
        )
        (folder / "preprocess.json").unlink()
        (folder / "inputs.json").write_text(json.dumps(declared))
    assert Bundle.from_folder(tmp_path / "1").groups[0].layout == ("jets", "variables", "one")
    with pytest.raises(BundleError, match=r"the axis 'one' of the input of .* has 3 entries"):
        Bundle.from_folder(tmp_path / "3")


def test_a_variation_of_what_chooses_jets_and_candidates_changes_the_scores(tmp_path: Path) -> None:
    texts: dict[str, Callable[[Any], None]] = {
        "none": lambda declared: None,
        "domain": lambda declared: declared.update(domain="mass > 40"),
        "sort": of("vertices", lambda group: group.update(sort=["sv_erel"])),
    }
    changed = {}
    for name, change in texts.items():
        declared = content()
        change(declared)
        source = source_of(Bundle.from_folder(write(tmp_path / name, declared)))
        changed[name] = [bool(source.changed_by([column])) for column in ("mass", "uncorrected_mass")]
    assert changed == {"none": [False, False], "domain": [True, False], "sort": [False, True]}


def of(object_: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Any], None]:
    def changed(declared: Any) -> None:
        change(next(group for group in declared["groups"] if group["object"] == object_))

    return changed


def first_variable(**numbers: Any) -> Callable[[Any], None]:
    return of("candidates", lambda group: group["variables"][0].update(numbers))


BAD: dict[str, tuple[Callable[[Any], None], type[JettaggerError], list[str]]] = {
    "a variable": (first_variable(name="pfcand_pt_logg"), UnknownName, ["'pfcand_pt_logg'", "pfcand_pt_log"]),
    "a variable of another object": (first_variable(name="sv_pt_log"), UnknownName, ["'sv_pt_log'"]),
    "a column of the selection": (
        of("candidates", lambda group: group.update(selection="pupiWeight > 0")),
        UnknownName,
        ["'pupiWeight'", "puppiWeight", "selection"],
    ),
    "a sort key": (
        of("candidates", lambda group: group.update(sort=["-ptt"])),
        UnknownName,
        ["'ptt'", "(nearest: pt", "sort"],
    ),
    "a cut as a sort key": (
        of("candidates", lambda group: group.update(sort=["pt > 3"])),
        ConfigError,
        ["is not a sort key", "'-pt'"],
    ),
    "a number as a cut": (of("candidates", lambda group: group.update(selection="pt")), ConfigError, ["is not a cut"]),
    "a domain": (lambda declared: declared.update(domain="raw_ptt > 3"), UnknownName, ["'raw_ptt'", "domain"]),
    "a key": (of("candidates", lambda group: group.update(sorted=["-pt"])), BundleError, ["sorted", "line", "sort"]),
    "an object": (
        of("candidates", lambda group: group.update(object="candidate")),
        BundleError,
        ["line", "'candidate'", "candidates"],
    ),
    "axes": (
        of("candidates", lambda group: group.update(axes=["jets", "objects", "variables"])),
        BundleError,
        ["variables", "expects", "['jets', 'variables', 'objects'] it would fit"],
    ),
    "an axis twice": (
        of("candidates", lambda group: group.update(axes=["jets", "objects", "objects"])),
        BundleError,
        ["expected for a tensor of", "jets first"],
    ),
    "an axis too many": (
        of("candidates", lambda group: group.update(axes=["jets", "variables", "objects", "one"])),
        BundleError,
        ["expected float32 [jets, variables, length, 1]"],
    ),
    "the name of an axis": (
        of("candidates", lambda group: group.update(axes=["jets", "variables", "length"])),
        BundleError,
        ["line", "'length'", "objects"],
    ),
    "lengths": (of("candidates", lambda group: group.update(length=[5, 2])), BundleError, ["length is [5, 2]"]),
    "no length": (of("candidates", lambda group: group.update(length=0)), BundleError, ["length is 0"]),
    "bounds": (first_variable(lower_bound=1), BundleError, ["lower_bound <= pad"]),
    "a version": (lambda declared: declared.update(schema_version=2), BundleError, ["schema_version is 2", "reads 1"]),
    "an input twice": (
        lambda declared: declared["groups"].append(dict(declared["groups"][0])),
        BundleError,
        ["declared twice"],
    ),
    "an input that is none": (
        of("candidates", lambda group: group.update(input="pf")),
        BundleError,
        ["groups without an input: ['pf']"],
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_one_error_says_what_is_wrong_and_what_is_near(what: str, tmp_path: Path) -> None:
    change, error, phrases = BAD[what]
    declared = content()
    change(declared)
    with pytest.raises(error) as caught:
        Bundle.from_folder(write(tmp_path / "toy", declared))
    assert "inputs.json" in str(caught.value) or "model.onnx" in str(caught.value)
    assert all(phrase in str(caught.value) for phrase in phrases), caught.value


def test_all_unknown_variables_are_listed_at_once(tmp_path: Path) -> None:
    declared = content()
    for group in declared["groups"]:
        group["variables"][0]["name"] += "x"
    wrong = {group["variables"][0]["name"] for group in declared["groups"]}
    with pytest.raises(UnknownName) as caught:
        Bundle.from_folder(write(tmp_path / "toy", declared))
    assert set(caught.value.names) == wrong


def test_a_family_that_there_is_not(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "toy", card={"inputs": "deepjet-v3", "output_names": list(NAMES)})
    with pytest.raises(BundleError, match=r"'deepjet-v3'.*\(nearest: deepjet-v03"):
        Bundle.from_folder(folder)


def test_a_selection_of_the_card_and_jets_that_contradict_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"remove 'selection' from bundle\.json, it is for"):
        Bundle.from_folder(write(tmp_path / "a", content(), selection="none"))
    with pytest.raises(BundleError, match=r"is for AK8 jets, bundle\.json says AK4"):
        Bundle.from_folder(write(tmp_path / "b", content(), jets="AK4"))


@pytest.mark.parametrize("name", families())
def test_the_families_of_the_package_are_sound(name: str) -> None:
    path = families()[name]
    declared, groups = read_declared(path, read_object(path, BundleError))
    assert declared.name == name
    assert declared.title
    assert declared.source
    assert len({group.name for group in groups}) == len(groups)
    for group in groups:
        assert all(variable.feature.object == group.object for variable in group.variables)


def test_models_of_the_families_are_listed_without_weights() -> None:
    for name in ("deepdoublex-v02-bvl", "deepjet-v03", "deepak8-md-v02", "deepak8-v02", "part-ak4", "particlenet-ak8"):
        bundle = jt.load_bundle(name)
        assert not bundle.has_weights
        assert bundle.card.get_weights
        (sha256,) = bundle.card.sha256.values()
        known = known_card([sha256])
        assert known is not None
        assert known.name == name


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        (LAYOUT, (2, 3, 4)),
        (("jets", "objects", "variables"), (2, 4, 3)),
        (("jets", "variables", "objects", "one"), (2, 3, 4, 1)),
        (("jets", "one", "objects", "variables"), (2, 1, 4, 3)),
        (("jets", "variables"), (2, 3)),
        (("jets",), (2,)),
    ],
)
def test_axes_are_arranged(layout: tuple[str, ...], shape: tuple[int, ...]) -> None:
    array = np.arange(24).reshape(2, 3, 4)
    found = arranged(array, layout)
    assert found.shape == shape
    assert found.flags.c_contiguous
    for jet, variable, slot in np.ndindex(2, 3, 4):
        places = {"jets": jet, "variables": variable, "objects": slot, "one": 0}
        lost = [places[name] for name in LAYOUT if name not in layout]
        if not any(lost):
            assert found[tuple(places[name] for name in layout)] == array[jet, variable, slot]


def test_groups_of_the_toy_are_those_of_its_names() -> None:
    assert {group["input"] for group in content()["groups"]} == set(GROUPS)
    assert Group("x", (), 1, 1, axis="x").limit == 1


def test_what_is_rebuilt_is_said_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    bundle = jt.load_bundle("deepjet-v03")
    rebuilt = {"Cpfcan_BtagPf_trackSip2dVal", "Cpfcan_BtagPf_trackSip2dSig", "Npfcan_HadFrac"}
    rebuilt |= {"Cpfcan_drminsv", "Npfcan_drminsv"}
    assert set(bundle.approximate) == rebuilt
    assert jt.load_bundle("inclParTMDV1").approximate == {}
    record = provenance_of(bundle, {}, None, [])
    assert record.to_dict()["approximate"] == bundle.approximate
    assert Provenance.from_dict(record.to_dict()) == record
    assert "approximate" not in provenance_of(jt.load_bundle("tinyParT"), {}, None, []).to_dict()
    assert main(["models", "show", "deepjet-v03"]) == 0
    shown = capsys.readouterr().out
    assert "Jet_DeepJet_<output>" in shown
    assert "by -Cpfcan_BtagPf_trackSip2dSig, min(Cpfcan_drminsv, 0.4), -pt" in shown
    assert main(["models", "show", "deepjet-v03", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["result"]
    assert said["approximate"] == bundle.approximate
    assert said["inputs"][1]["selection"] == "pt >= 0.95"
    assert rebuilt <= set(dict(bundle.summary().facts)["approximate"].split(", "))
