"""Bundles: what is read from a folder, and every way in which a folder can be wrong."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import GROUPS, LENGTHS, NAMES, Head, description, graph, write_bundle

from jettagger.bundles.bundle import Bundle
from jettagger.bundles.outputs import canonical_name
from jettagger.bundles.places import PACKAGE
from jettagger.bundles.preprocess import PRODUCER_SELECTION, read_groups
from jettagger.errors import BundleError, MissingModelFile, ModelFileError, UnknownName
from jettagger.sessions import open_onnx
from jettagger.tagging.tagger import load_tagger
from jettagger.testing import make_events, make_tiny_model

V1_CLASSES = [
    *(f"probHWqqWqq{n}c" for n in range(3)),
    *(f"probHWqqWq{n}c" for n in range(3)),
    *(f"probHWqqW{tail}{n}c" for tail in ("ev", "mv", "tauev", "taumv", "tauhv") for n in range(2)),
    *(f"probH{tail}" for tail in ("bb", "cc", "ss", "qq", "tauhtaue", "tauhtaum", "tauhtauh")),
    *(f"probQCD{tail}" for tail in ("bb", "cc", "b", "c", "others")),
    *(f"probTopbW{tail}" for tail in ("qq0c", "qq1c", "q0c", "q1c", "ev", "mv", "tauhv", "tauev", "taumv")),
]


def change(folder: Path, **changes: Any) -> Path:
    """Change top-level keys of the folder's preprocess.json; ``...`` removes one."""
    path = folder / "preprocess.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))
    return folder


def change_group(folder: Path, group: str, **changes: Any) -> Path:
    content = json.loads((folder / "preprocess.json").read_text())[group] | changes
    return change(folder, **{group: {key: value for key, value in content.items() if value is not ...}})


def change_variable(folder: Path, group: str, variable: str, **changes: Any) -> Path:
    infos = json.loads((folder / "preprocess.json").read_text())[group]["var_infos"]
    infos[variable] |= changes
    infos[variable] = {key: value for key, value in infos[variable].items() if value is not ...}
    return change_group(folder, group, var_infos=infos)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """The folder of a model that nobody has seen before."""
    return write_bundle(tmp_path / "toy")


class TestUnseenFolder:
    """A folder with only model.onnx and preprocess.json."""

    def test_softmax_in_graph_gives_probabilities(self, toy: Path) -> None:
        bundle = Bundle.from_folder(toy)
        assert bundle.described_by == "inferred"
        assert [(output.name, output.kind) for output in bundle.outputs] == [
            ("probHbb", "prob"),
            ("probHcc", "prob"),
            ("probQCDothers", "prob"),
            ("mass", "mass"),
            *((f"hidNeurons{n:03d}", "hidden") for n in range(4)),
        ]
        assert (bundle.name, bundle.prefix) == ("toy", "toy")

    @pytest.mark.parametrize("joined", [True, False], ids=["one tensor", "three tensors"])
    def test_it_tags(self, tmp_path: Path, joined: bool) -> None:
        tagger = load_tagger(write_bundle(tmp_path / "new", joined=joined))
        events = make_events(6, seed=3)
        scores = tagger(events)
        import awkward as ak

        flat = ak.drop_none(ak.flatten(scores))
        assert len(flat) > 3
        total = flat.probHbb + flat.probHcc + flat.probQCDothers
        assert np.abs(np.asarray(total) - 1).max() < 1e-6
        assert tagger.attach(events).FatJet.new_hidNeurons003.type == scores.hidNeurons003.type

    def test_no_softmax_gives_logits(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "raw", heads=(Head("probabilities", 3), Head("mass", 1), Head("hidden", 4)))
        outputs = Bundle.from_folder(folder).outputs
        assert [output.name for output in outputs[:3]] == ["logitHbb", "logitHcc", "logitQCDothers"]
        assert {output.kind for output in outputs} == {"logit", "mass", "hidden"}

    def test_each_tensor_for_itself(self, tmp_path: Path) -> None:
        """One output tensor passed a softmax, the next did not."""
        heads = (Head("first", 2, softmax=True), Head("second", 2))
        names = ["label_a", "label_b", "label_c", "label_d"]
        folder = write_bundle(tmp_path / "two", heads=heads, joined=False, output_names=names)
        assert [output.name for output in Bundle.from_folder(folder).outputs] == [
            "proba",
            "probb",
            "logitc",
            "logitd",
        ]

    def test_a_softmax_over_the_jets_is_none(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "axis")
        model = graph()
        (node,) = (node for node in model.graph.node if node.op_type == "Softmax")
        node.attribute[0].i = 0
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        assert {output.kind for output in Bundle.from_folder(folder).outputs[:3]} == {"logit"}

    def test_names_of_no_known_form(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "odd", heads=(Head("a", 2),), output_names=["apple", "pear"])
        assert [(output.name, output.kind) for output in Bundle.from_folder(folder).outputs] == [
            ("apple", "other"),
            ("pear", "other"),
        ]

    @pytest.mark.parametrize(
        ("folder", "name", "prefix"),
        [("my-model v2", "my-model_v2", "my_model_v2"), ("2prong", "2prong", "m_2prong")],
    )
    def test_name_from_folder(self, tmp_path: Path, folder: str, name: str, prefix: str) -> None:
        bundle = Bundle.from_folder(write_bundle(tmp_path / folder))
        assert (bundle.name, bundle.prefix) == (name, prefix)

    def test_jet_level_group_of_length_one(self, tmp_path: Path) -> None:
        groups = GROUPS | {"jet_features": ("jet_pt_log", "jet_eta")}
        bundle = Bundle.from_folder(write_bundle(tmp_path / "jet", groups=groups))
        assert [(group.object, group.min_length, group.max_length) for group in bundle.groups][-1] == (
            "jet",
            1,
            1,
        )

    def test_groups_of_different_length(self, toy: Path) -> None:
        bundle = Bundle.from_folder(toy)
        assert [(group.object, group.min_length, group.max_length, group.is_mask) for group in bundle.groups] == [
            ("pf", 4, 20, False),
            ("pf", 4, 20, True),
            ("sv", 1, 5, False),
            ("sv", 1, 5, True),
        ]


class TestLengths:
    """The description counts, unless the axis of the ONNX file is fixed."""

    @pytest.mark.parametrize(
        ("lengths", "axis", "expected"),
        [
            ({"var_length": 20}, "n", (20, 20)),
            ({"min_length": 20, "max_length": 20}, "n", (20, 20)),
            ({"var_length": 20}, 12, (12, 12)),
            ({"min_length": 4, "max_length": 20}, "n", (4, 20)),
            ({"min_length": 4, "max_length": 20}, 20, (20, 20)),
            ({"min_length": 0, "max_length": 20}, "n", (1, 20)),
            ({"var_length": 20, "min_length": 3, "max_length": 9}, "n", (20, 20)),
        ],
    )
    def test_axis(self, tmp_path: Path, lengths: dict[str, int], axis: int | str, expected: tuple[int, int]) -> None:
        folder = write_bundle(tmp_path / "m", lengths=LENGTHS | {"pf": lengths}, axes={"pf": axis})
        group = Bundle.from_folder(folder).groups[0]
        assert (group.min_length, group.max_length) == expected

    def test_without_weights_the_description_counts(self) -> None:
        groups = read_groups(description(lengths=LENGTHS | {"pf": {"var_length": 20}}), "here")
        assert (groups[0].min_length, groups[0].max_length) == (20, 20)

    def test_fixed_batch(self, tmp_path: Path) -> None:
        assert Bundle.from_folder(write_bundle(tmp_path / "m", batch=1)).fixed_batch == 1
        assert Bundle.from_folder(write_bundle(tmp_path / "n")).fixed_batch is None

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"min_length": ..., "max_length": 20}, "expected 'var_length', or both"),
            ({"min_length": 30}, "0 <= min_length <= max_length"),
            ({"min_length": 0, "max_length": 0}, "max_length >= 1"),
            ({"min_length": 2.5}, "whole numbers"),
            ({"max_length": True}, "whole numbers"),
            ({"var_length": "20"}, "whole numbers"),
        ],
    )
    def test_refused(self, toy: Path, changes: dict[str, Any], said: str) -> None:
        change_group(toy, "pf_features", **changes)
        with pytest.raises(BundleError, match=said) as info:
            Bundle.from_folder(toy)
        assert "'pf_features'" in str(info.value)

    def test_groups_of_an_object_must_agree(self, toy: Path) -> None:
        change_group(toy, "pf_mask", max_length=19)
        with pytest.raises(BundleError, match=r"'pf' differ in length.*\(4, 20\).*\(4, 19\).*pf_mask"):
            Bundle.from_folder(toy)


class TestDescription:
    """What a preprocess.json can do wrong."""

    def test_unknown_variables_are_all_listed(self, toy: Path) -> None:
        change_group(toy, "pf_features", var_names=["pfcand_etarell", "pfcand_dz", "pfcand_btagIp3d"])
        change_group(toy, "sv_features", var_names=["sv_ntrack", "sv_mass"])
        with pytest.raises(UnknownName) as info:
            Bundle.from_folder(toy)
        assert info.value.names == ["pfcand_etarell", "pfcand_btagIp3d", "sv_ntrack"]
        text = str(info.value)
        assert "'pfcand_etarell' (nearest: pfcand_etarel" in text
        assert "'sv_ntrack' (nearest: sv_ntracks" in text
        assert str(toy / "preprocess.json") in text

    def test_missing_groups(self, toy: Path) -> None:
        change(toy, sv_mask=...)
        with pytest.raises(
            BundleError, match=r"\['sv_mask'\] of 'input_names' are missing; the file has \['pf_features'"
        ):
            Bundle.from_folder(toy)

    @pytest.mark.parametrize("names", [None, [], "pf_features", [1], {"a": 1}])
    def test_input_names(self, toy: Path, names: Any) -> None:
        change(toy, input_names=names)
        with pytest.raises(BundleError, match="'input_names' must be a list of group names"):
            Bundle.from_folder(toy)

    def test_group_named_twice(self, toy: Path) -> None:
        change(toy, input_names=[*GROUPS, "pf_mask"])
        with pytest.raises(BundleError, match="lists a group twice"):
            Bundle.from_folder(toy)

    @pytest.mark.parametrize("variables", [None, [], "pfcand_dz", 3, {"pfcand_dz": 1}, [["pfcand_dz"]], [None]])
    def test_var_names(self, toy: Path, variables: Any) -> None:
        change_group(toy, "pf_features", var_names=variables)
        with pytest.raises(BundleError, match=r"group 'pf_features': 'var_names' must be a list of variables"):
            Bundle.from_folder(toy)

    @pytest.mark.parametrize("infos", [None, [], "x"])
    def test_var_infos(self, toy: Path, infos: Any) -> None:
        change_group(toy, "pf_features", var_infos=infos)
        with pytest.raises(BundleError, match="'var_infos' must be an object"):
            Bundle.from_folder(toy)

    def test_var_infos_lack_one(self, toy: Path) -> None:
        infos = json.loads((toy / "preprocess.json").read_text())["pf_features"]["var_infos"]
        del infos["pfcand_dz"]
        change_group(toy, "pf_features", var_infos=infos)
        with pytest.raises(BundleError, match=r"'var_infos' lacks \['pfcand_dz'\]"):
            Bundle.from_folder(toy)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"median": "x"}, "'median' must be a finite number, got 'x'"),
            ({"median": None}, "'median' must be a finite number"),
            ({"norm_factor": True}, "'norm_factor' must be a finite number"),
            ({"median": math.nan}, "'median' must be a finite number"),
            ({"norm_factor": math.inf}, "'norm_factor' must be a finite number"),
            ({"median": 10**400}, "'median' must be a finite number"),
            ({"lower_bound": math.nan}, "'lower_bound' must be a number"),
            ({"lower_bound": 6}, "lower_bound 6.0 exceeds upper_bound 5.0"),
            ({"pad": -7}, r"pad -7.0 lies outside \[-5.0, 5.0\]"),
            ({"median": ...}, r"\['median'\] missing"),
            ({"norm_facto": 1}, r"unknown 'norm_facto' \(nearest: norm_factor"),
        ],
    )
    def test_variable(self, toy: Path, changes: dict[str, Any], said: str) -> None:
        change_variable(toy, "pf_features", "pfcand_dz", **({"lower_bound": -5, "upper_bound": 5} | changes))
        with pytest.raises(BundleError, match=said) as info:
            Bundle.from_folder(toy)
        assert "group 'pf_features', variable 'pfcand_dz'" in str(info.value)

    def test_infinite_bounds_are_none(self, toy: Path) -> None:
        change_variable(toy, "pf_features", "pfcand_dz", lower_bound=-math.inf, upper_bound=math.inf)
        assert Bundle.from_folder(toy).groups[0].variables[2].upper_bound == math.inf

    def test_pad_defaults_to_zero(self, toy: Path) -> None:
        change_variable(toy, "pf_features", "pfcand_dz", pad=...)
        assert Bundle.from_folder(toy).groups[0].variables[2].pad == 0

    def test_values_are_taken_over(self, toy: Path) -> None:
        change_variable(
            toy,
            "pf_features",
            "pfcand_dz",
            median=4,
            norm_factor=0.3,
            replace_inf_value=-1,
            upper_bound=2.5,
            pad=0.5,
        )
        variable = Bundle.from_folder(toy).groups[0].variables[2]
        found = (
            variable.median,
            variable.norm_factor,
            variable.replace_inf_value,
            variable.upper_bound,
            variable.pad,
        )
        assert found == (4, 0.3, -1, 2.5, 0.5)

    def test_variables_of_two_objects(self, tmp_path: Path) -> None:
        groups = GROUPS | {"pf_features": ("pfcand_dz", "pfcand_px", "sv_mass")}
        with pytest.raises(BundleError, match=r"different objects \['pf', 'sv'\], expected one"):
            Bundle.from_folder(write_bundle(tmp_path / "m", groups=groups))

    @pytest.mark.parametrize(
        ("text", "said"),
        [("", "not valid JSON"), ("{", "line 1, column 2"), ("[]", "holds a list, expected an object")],
    )
    def test_no_json(self, toy: Path, text: str, said: str) -> None:
        (toy / "preprocess.json").write_text(text)
        with pytest.raises(BundleError, match=said) as info:
            Bundle.from_folder(toy)
        assert "preprocess.json" in str(info.value)

    def test_not_utf8(self, toy: Path) -> None:
        (toy / "preprocess.json").write_bytes(b"\xff\xfe{}")
        with pytest.raises(BundleError, match="cannot read"):
            Bundle.from_folder(toy)


class TestFit:
    """Description and ONNX file must agree."""

    def test_channels(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "m", channels={"pf_features": 5})
        with pytest.raises(BundleError, match=r"group 'pf_features' has 3 variables.* expects 5"):
            Bundle.from_folder(folder)

    def test_group_without_input(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "m")
        without = {name: variables for name, variables in GROUPS.items() if name != "sv_mask"}
        (folder / "model.onnx").write_bytes(graph(without).SerializeToString())
        with pytest.raises(BundleError, match=r"inputs of the model without a group: none; .*: \['sv_mask'\]"):
            Bundle.from_folder(folder)

    def test_input_without_group(self, toy: Path) -> None:
        change(toy, input_names=[name for name in GROUPS if name != "sv_mask"])
        with pytest.raises(BundleError, match=r"inputs of the model without a group: \['sv_mask'\]; .*: none"):
            Bundle.from_folder(toy)

    def test_input_of_another_rank(self, toy: Path) -> None:
        model = graph()
        del model.graph.input[0].type.tensor_type.shape.dim[2]
        (toy / "model.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(BundleError, match=r"input 'pf_features' is float32\['N', 3\], expected float32 \[jets"):
            Bundle.from_folder(toy)

    def test_input_of_another_type(self, toy: Path) -> None:
        model = graph()
        model.graph.input[0].type.tensor_type.elem_type = 11
        (toy / "model.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(BundleError, match=r"input 'pf_features' is float64"):
            Bundle.from_folder(toy)

    def test_number_of_outputs(self, toy: Path) -> None:
        change(toy, output_names=NAMES[:3])
        with pytest.raises(BundleError, match=r"gives 8 output columns, the description names 3.*bundle\.json"):
            Bundle.from_folder(toy)

    def test_number_of_outputs_on_a_symbolic_axis(self, toy: Path) -> None:
        """Where the graph does not say, the first run does."""
        model = graph()
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "columns"
        (toy / "model.onnx").write_bytes(model.SerializeToString())
        assert len(Bundle.from_folder(toy).outputs) == 8
        change(toy, output_names=NAMES[:3])
        with pytest.raises(ModelFileError, match=r"gave 8 columns for .*, expected 3"):
            load_tagger(toy)(make_events(3, seed=1))

    @pytest.mark.parametrize(
        ("names", "said"),
        [
            (None, "missing"),
            (..., "missing"),
            ({"class": ["a"]}, "a dict"),
            ("a", "a str"),
            ([1, 2], "a list"),
        ],
    )
    def test_output_names_of_another_form(self, toy: Path, names: Any, said: str) -> None:
        change(toy, output_names=names)
        with pytest.raises(BundleError, match=rf"'output_names' of preprocess.json is {said}.*bundle.json"):
            Bundle.from_folder(toy)

    @pytest.mark.parametrize("names", [None, {"class": ["a"], "mass": ["b"]}])
    def test_names_from_the_card(self, tmp_path: Path, names: Any) -> None:
        folder = write_bundle(
            tmp_path / "m", output_names=names, card={"output_names": NAMES, "kinds": {"prob": ["label*"]}}
        )
        bundle = Bundle.from_folder(folder)
        assert [output.name for output in bundle.outputs][:4] == [
            "probHbb",
            "probHcc",
            "probQCDothers",
            "mass",
        ]
        assert [output.kind for output in bundle.outputs][2:5] == ["prob", "other", "other"]

    def test_outputs_twice(self, toy: Path) -> None:
        change(toy, output_names=[NAMES[0], *NAMES[:-1]])
        with pytest.raises(BundleError, match=r"appear twice: \['label_H_bb'\]"):
            Bundle.from_folder(toy)

    def test_outputs_twice_in_canonical_form(self, toy: Path) -> None:
        change(toy, output_names=["probHbb", *NAMES[:-1]])
        with pytest.raises(BundleError, match="'probHbb' and 'label_H_bb' have the same name 'probHbb'"):
            Bundle.from_folder(toy)


class TestCard:
    def test_softmax_and_kinds(self, tmp_path: Path) -> None:
        heads = (Head("probabilities", 3), Head("mass", 1), Head("hidden", 4))
        card = {"kinds": {"prob": ["label_*"], "mass": ["mass"], "hidden": ["hid*"]}, "softmax": ["label_*"]}
        folder = write_bundle(tmp_path / "m", heads=heads, card=card)
        bundle = Bundle.from_folder(folder)
        assert [output.softmax for output in bundle.outputs] == [True] * 3 + [False] * 5
        import awkward as ak

        flat = ak.drop_none(ak.flatten(load_tagger(folder)(make_events(5, seed=2))))
        raw = open_onnx(bundle.graph)  # type: ignore[arg-type]
        assert raw.provider == "CPUExecutionProvider"
        total = flat.probHbb + flat.probHcc + flat.probQCDothers
        assert np.abs(np.asarray(total) - 1).max() < 1e-6

    def test_softmax_pattern_must_match(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "m", card={"softmax": ["lable_*"]})
        with pytest.raises(BundleError, match=r"'softmax' pattern 'lable_\*' of 'toy' matches no output"):
            Bundle.from_folder(folder)

    def test_kind_pattern_must_match(self, tmp_path: Path) -> None:
        """A typing error would otherwise turn probabilities into other outputs, in silence."""
        folder = write_bundle(tmp_path / "m", card={"kinds": {"mass": ["mass"], "prob": ["label_H*", "label_QDC*"]}})
        with pytest.raises(BundleError, match=r"pattern 'label_QDC\*' for the kind 'prob' of 'toy' matches no output"):
            Bundle.from_folder(folder)

    def test_first_kind_that_matches(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "m", card={"kinds": {"other": ["label_QCD*"], "prob": ["label_*"]}})
        assert [output.name for output in Bundle.from_folder(folder).outputs][:3] == [
            "probHbb",
            "probHcc",
            "label_QCD_others",
        ]

    def test_aliases(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "m", card={"kinds": {"prob": ["label_*"]}, "aliases": {"Xbb": "probHbb"}})
        assert Bundle.from_folder(folder)["Xbb"].index == 0

    def test_alias_to_nothing(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "m", card={"kinds": {"prob": ["label_*"]}, "aliases": {"Xbb": "probHbbb"}})
        with pytest.raises(BundleError, match=r"is for 'probHbbb', which is not an output \(nearest: probHbb"):
            Bundle.from_folder(folder)

    @pytest.mark.parametrize("alias", ["probHcc", "label_H_cc", "hidNeuron3", "all", "prob"])
    def test_alias_that_is_taken(self, tmp_path: Path, alias: str) -> None:
        """It would never be reached: the output of that name comes first."""
        card = {"kinds": {"prob": ["label_*"], "hidden": ["hid*"]}, "aliases": {alias: "probHbb"}}
        with pytest.raises(BundleError, match=rf"alias '{alias}' .* is taken"):
            Bundle.from_folder(write_bundle(tmp_path / "m", card=card))

    def test_sha256(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "m")
        found = {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("model.onnx", "preprocess.json")
        }
        write_bundle(folder, card={"sha256": found | {"model.onnx": found["model.onnx"].upper()}})
        assert Bundle.from_folder(folder).described_by == "bundle.json"
        for name in found:
            write_bundle(folder, card={"sha256": found | {name: "0" * 64}})
            with pytest.raises(BundleError, match=rf"{name}: its SHA-256 is {found[name]}, .* expects 000"):
                Bundle.from_folder(folder)

    def test_sha256_of_further_files(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "m", card={"sha256": {"golden.npz": "0" * 64}})
        with pytest.raises(BundleError, match=r"has no 'golden.npz', whose SHA-256 .* declares"):
            Bundle.from_folder(folder)
        (folder / "golden.npz").write_bytes(b"something")
        with pytest.raises(BundleError, match=r"golden\.npz: its SHA-256 is"):
            Bundle.from_folder(folder)
        right = hashlib.sha256(b"something").hexdigest()
        write_bundle(folder, card={"sha256": {"golden.npz": right}})
        assert Bundle.from_folder(folder).card.sha256 == {"golden.npz": right}


class TestFolder:
    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match=r"is not a folder, expected one with model\.onnx and preprocess\.json"):
            Bundle.from_folder(tmp_path / "nowhere")

    def test_no_description(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "inclParTMDV2")
        (folder / "preprocess.json").unlink()
        with pytest.raises(MissingModelFile, match=r"has no preprocess.json;.*\(nearest: inclParTMDV1"):
            Bundle.from_folder(folder)

    def test_no_weights(self, toy: Path) -> None:
        (toy / "model.onnx").unlink()
        bundle = Bundle.from_folder(toy)
        assert not bundle.has_weights
        with pytest.raises(MissingModelFile, match=r"'toy' has no weights: the file model.onnx is missing\. Put it at"):
            bundle.require_weights()

    def test_the_folder_for_weights_is_where_they_are_found(self, toy: Path) -> None:
        """A folder may be called otherwise than its network: the weights belong beside the description."""
        folder = toy.rename(toy.parent / "other-name")
        weights = (folder / "model.onnx").read_bytes()
        (folder / "model.onnx").unlink()
        with pytest.raises(MissingModelFile) as error:
            Bundle.from_folder(folder).require_weights()
        assert f"Put it at {folder.resolve() / 'model.onnx'}" in str(error.value)
        (folder / "model.onnx").write_bytes(weights)
        assert Bundle.from_folder(folder).require_weights().name == "model.onnx"

    def test_weights_in_a_folder_named_like_a_packaged_description(self, tmp_path: Path) -> None:
        """A user who has the weights of GloParT V1 brings only that one file."""
        folder = tmp_path / "inclParTMDV1"
        folder.mkdir()
        make_tiny_model(folder / "model.onnx")
        bundle = Bundle.from_folder(folder)
        assert (bundle.name, bundle.described_by, bundle.has_weights) == ("inclParTMDV1", "bundle.json", True)
        assert bundle.files["preprocess.json"] == PACKAGE / "models" / "inclParTMDV1" / "preprocess.json"
        assert bundle.select(["mass"])[0].index == 37

    def test_own_description_counts_alone(self, tmp_path: Path) -> None:
        """A folder that has a preprocess.json is not completed from the package, whatever its name."""
        bundle = Bundle.from_folder(write_bundle(tmp_path / "inclParTMDV1"))
        assert (bundle.described_by, len(bundle.outputs)) == ("inferred", 8)

    def test_digest(self, tmp_path: Path) -> None:
        first, again = (
            Bundle.from_folder(write_bundle(tmp_path / "a/m")),
            Bundle.from_folder(write_bundle(tmp_path / "b/m")),
        )
        assert first.digest == again.digest
        others = [
            Bundle.from_folder(write_bundle(tmp_path / "c/m", seed=1)),
            Bundle.from_folder(write_bundle(tmp_path / "d/m", lengths=LENGTHS | {"sv": {"var_length": 4}})),
            Bundle.from_folder(write_bundle(tmp_path / "e/m", card={"name": "m"})),
        ]
        assert len({first.digest, *(bundle.digest for bundle in others)}) == 4
        rounding = {"jets": 3, "median": 0, "q99": 1e-6, "largest": 1e-6}  # what was measured changes no score
        measured = Bundle.from_folder(write_bundle(tmp_path / "f/m", card={"name": "m", "rounding": rounding}))
        assert measured.digest == others[-1].digest


class TestNames:
    @pytest.mark.parametrize("raw", ["hidNeuron000", "hidNeurons000", "hidNeurons_0", "hidNeuron0", "hidNeuron_000"])
    def test_hidden(self, raw: str) -> None:
        assert canonical_name(raw, "hidden") == "hidNeurons000"

    @pytest.mark.parametrize(
        ("raw", "name"),
        [
            ("label_H_WqqWqq_0c", "probHWqqWqq0c"),
            ("probHbb", "probHbb"),
            ("prob_H_bb", "probHbb"),
            ("label_Top_bWqq_1c", "probTopbWqq1c"),
            ("mass", "mass"),
            ("xtauhtauh", "xtauhtauh"),
        ],
    )
    def test_probabilities(self, raw: str, name: str) -> None:
        assert canonical_name(raw, "prob") == name

    @pytest.mark.parametrize(
        "name", ["probHbb", "label_H_bb", "hidNeuron003", "hidNeurons003", "hidNeuron3", "hidNeurons3"]
    )
    def test_accepted(self, toy: Path, name: str) -> None:
        assert Bundle.from_folder(toy)[name].index in (0, 7)

    def test_unknown(self, tiny: Bundle) -> None:
        with pytest.raises(UnknownName, match=r"unknown output in bundle 'tinyParT': 'probHBB' \(nearest: probHbb"):
            tiny["probHBB"]

    def test_select(self, tiny: Bundle) -> None:
        assert [output.name for output in tiny.select(["mass", "probHbb"])] == ["probHbb", "mass"]
        assert len(tiny.select("all")) == len(tiny.select(["prob", "mass", "hidden"])) == 166
        assert tiny.select(["logit"]) == ()
        with pytest.raises(UnknownName, match=r"unknown kind or output .*'hiden' \(nearest: hidden"):
            tiny.select(["prob", "hiden"])


class TestTiny:
    """The network that the package ships."""

    def test_interface(self, tiny: Bundle) -> None:
        assert [(group.name, len(group.variables), group.min_length, group.max_length) for group in tiny.groups] == [
            ("pf_features", 25, 16, 128),
            ("pf_vectors", 4, 16, 128),
            ("pf_mask", 1, 16, 128),
            ("sv_features", 11, 1, 10),
            ("sv_vectors", 4, 1, 10),
            ("sv_mask", 1, 1, 10),
        ]
        assert [output.name for output in tiny.outputs] == [
            *V1_CLASSES,
            "mass",
            *(f"hidNeurons{n:03d}" for n in range(128)),
        ]
        assert tiny.graph is not None
        assert all(
            isinstance(tensor.shape[0], str) and isinstance(tensor.shape[2], str) for tensor in tiny.graph.inputs
        )

    def test_is_what_the_generator_writes(self, tmp_path: Path) -> None:
        """Tensor by tensor: another version of onnx may write the same graph in other bytes."""
        import onnx
        from onnx import numpy_helper

        packaged = PACKAGE / "models" / "tinyParT" / "model.onnx"
        rebuilt = onnx.load(make_tiny_model(tmp_path / "model.onnx"))
        stored = onnx.load(packaged)
        assert [(node.op_type, list(node.input), list(node.output)) for node in rebuilt.graph.node] == [
            (node.op_type, list(node.input), list(node.output)) for node in stored.graph.node
        ]
        for new, old in zip(rebuilt.graph.initializer, stored.graph.initializer, strict=True):
            assert new.name == old.name
            assert np.array_equal(numpy_helper.to_array(new), numpy_helper.to_array(old))
        assert packaged.stat().st_size < 100_000

    def test_same_input_as_v1(self, tiny: Bundle) -> None:
        v1 = Bundle.from_folder(PACKAGE / "models" / "inclParTMDV1")
        assert {group.selection for group in v1.groups if group.object == "pf"} == {PRODUCER_SELECTION}
        assert tuple(replace(group, selection="") for group in v1.groups) == tiny.groups
        assert [output.name for output in v1.outputs] == [output.name for output in tiny.outputs]


class TestV1:
    """The packaged description of GloParT V1."""

    @pytest.fixture
    def v1(self) -> Bundle:
        return Bundle.from_folder(PACKAGE / "models" / "inclParTMDV1")

    def test_outputs(self, v1: Bundle) -> None:
        assert [output.name for output in v1.outputs if output.kind == "prob"] == V1_CLASSES
        assert len(V1_CLASSES) == 37
        assert v1.card.mass is not None
        assert v1.card.mass.unit == "GeV"
        assert len(v1.outputs) == 166

    def test_missing_weights_are_explained(self, v1: Bundle) -> None:
        with pytest.raises(MissingModelFile) as info:
            load_tagger("inclParTMDV1")
        text = str(info.value)
        assert "model.onnx is missing" in text
        assert "inclParTMDV1/model.onnx" in text
        assert "DNNTuples" in text

    @pytest.mark.data
    def test_equals_the_published_description(self, v1: Bundle, shared: Path) -> None:
        """Variable by variable against the file that was published with the network."""
        content = json.loads((shared / "models/glopart-v1/preprocess.json").read_text())
        assert [group.name for group in v1.groups] == content["input_names"]
        for group in v1.groups:
            infos = content[group.name]["var_infos"]
            assert [variable.feature.name for variable in group.variables] == content[group.name]["var_names"]
            assert group.max_length == content[group.name]["var_length"]
            for variable in group.variables:
                found = {key: getattr(variable, key) for key in infos[variable.feature.name]}
                assert found == infos[variable.feature.name], variable.feature.name
        assert [output.name for output in v1.outputs[:37]] == [
            canonical_name(raw, "prob") for raw in content["output_names"]
        ]


@pytest.mark.data
class TestKnown:
    """Public networks whose folders have no bundle.json."""

    def test_part_ak8_2023(self, shared: Path) -> None:
        bundle = Bundle.from_folder(shared / "models/part-ak8-2023")
        kinds = [output.kind for output in bundle.outputs]
        assert kinds == ["prob"] * 314 + ["other"] * 2
        assert all(output.softmax for output in bundle.outputs[:314])
        assert [output.name for output in bundle.outputs[314:]] == ["mreg1", "mreg2"]
        assert [output.raw for output in bundle.outputs] == [
            *json.loads((shared / "models/part-ak8-2023/preprocess.json").read_text())["output_names"]
        ]
        assert bundle.described_by == "jettagger"

    def test_part_ak8_2023_without_its_card(self, shared: Path, tmp_path: Path) -> None:
        """One bit of the weights changed: it is unknown, and its logits are logits."""
        content = bytearray((shared / "models/part-ak8-2023/model.onnx").read_bytes())
        import onnx

        model = onnx.load_from_string(bytes(content))
        model.producer_name += "?"
        folder = tmp_path / "mine"
        folder.mkdir()
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        (folder / "preprocess.json").write_bytes((shared / "models/part-ak8-2023/preprocess.json").read_bytes())
        # not tmp_path itself, which has the name of this test, and so that of the network
        kinds = [output.kind for output in Bundle.from_folder(folder).outputs]
        assert "prob" not in kinds
        assert kinds.count("logit") == 314

    def test_glopart_v1(self, shared: Path) -> None:
        bundle = Bundle.from_folder(shared / "models/glopart-v1")
        assert (bundle.name, len(bundle.outputs), bundle.has_weights) == ("inclParTMDV1", 166, False)

    def test_glopart_v3(self, shared: Path) -> None:
        bundle = Bundle.from_folder(shared / "models/glopart-v3")
        counts = {
            kind: sum(output.kind == kind for output in bundle.outputs) for kind in ("prob", "mass", "hidden", "other")
        }
        assert counts == {"prob": 17, "mass": 2, "hidden": 256, "other": 3}
        assert [output.name for output in bundle.select(["mass", "other"])] == [
            "massCorrX2p",
            "massCorrGeneric",
            "probWithMassTopvsQCD",
            "probWithMassWvsQCD",
            "probWithMassZvsQCD",
        ]
        assert bundle.card.mass is not None
        assert bundle.card.mass.unit == "factor"

    @pytest.mark.parametrize(
        ("folder", "names"),
        [
            ("particlenet-ak8-md", ["probQCDbb", "probHbb"]),
            ("scouting-particlenet-ak8", ["probHbb", "probQCDall"]),
        ],
    )
    def test_particlenet(self, shared: Path, folder: str, names: list[str]) -> None:
        bundle = Bundle.from_folder(shared / "models" / folder)
        assert {output.kind for output in bundle.outputs} == {"prob"}
        assert not any(output.softmax for output in bundle.outputs)
        assert {bundle[name].name for name in names} == set(names)
        assert bundle.graph is not None
        assert bundle.graph.softmaxed == {"softmax": ((0, len(bundle.outputs)),)}
