"""Known networks: the description that belongs to each, and golden vectors from the columns to the scores."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from networks import GROUPS, HEADS, LENGTHS, NAMES, write_bundle

import jettagger.bundles.known as known
from benchmarks.known import content
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.card import read_card
from jettagger.bundles.places import PACKAGE
from jettagger.errors import BundleError
from jettagger.features import FEATURES
from jettagger.inference.checking import Check, check
from jettagger.inputs.random_jets import ToyJets

PUBLIC = ["part-ak8-2023", "particlenet-ak8-md", "scouting-particlenet-ak8", "particlenet-ak4"]
INFOS = {"pfcand_dz": {"median": 0.1, "norm_factor": 3.0, "lower_bound": -5, "upper_bound": 5}}


def swapped(content: Any) -> None:
    names = content["pf_features"]["var_names"]
    names[0], names[1] = names[1], names[0]


def swapped_numbers(content: Any) -> None:
    infos = content["pf_features"]["var_infos"]
    first, second = content["pf_features"]["var_names"][0], content["pf_features"]["var_names"][-1]
    infos[first], infos[second] = infos[second], infos[first]


def changed(**numbers: float) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        content["pf_features"]["var_infos"][content["pf_features"]["var_names"][-1]] |= numbers

    return change


def reversed_outputs(content: Any) -> None:
    content["output_names"].reverse()


def two_outputs(content: Any) -> None:
    names = content["output_names"]
    names[0], names[1] = names[1], names[0]


def renamed_variable(content: Any) -> None:
    group = content["pf_features"]
    group["var_infos"]["pfcand_dxy"] = group["var_infos"].pop(group["var_names"][-1])
    group["var_names"][-1] = "pfcand_dxy"


WRONG = {
    "swapped": (swapped, "pf_features: number 0 is .*, expected "),
    "swapped numbers": (swapped_numbers, "has other numbers"),
    "no factor": (changed(norm_factor=0), "has other numbers"),
    "bound": (changed(lower_bound=-0.2), "has other numbers"),
    "median": (changed(median=0.3), "has other numbers"),
    "replacement": (changed(replace_inf_value=-1), "has other numbers"),
    "reversed outputs": (reversed_outputs, "output number 0 is .*, expected .* more outputs"),
    "two outputs": (two_outputs, "output number 0 is '.*', expected '.*'; output number 1"),
    "renamed variable": (renamed_variable, "is 'pfcand_dxy', expected another variable"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network that is known by its checksum, as the public ones are."""
    folder = write_bundle(tmp_path / "toy", infos=INFOS, seed=5)
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    card = {"schema_version": 1, "name": "known-toy", "sha256": {"model.onnx": digest}}
    card |= {"kinds": {"prob": ["label_*"], "mass": ["mass"], "hidden": ["hid*"]}}
    shelf = tmp_path / "known"
    shelf.mkdir()
    (shelf / "known-toy.json").write_text(json.dumps(card))
    np.savez(shelf / "known-toy.npz", **content(folder, card))
    pairs = ((read_card(shelf / "known-toy.json"), shelf / "known-toy.json"),)
    monkeypatch.setattr(known, "_cards", lambda: pairs)
    return folder


def edit(folder: Path, change: Callable[[Any], None]) -> str:
    path = folder / "preprocess.json"
    description = json.loads(path.read_text())
    change(description)
    path.write_text(json.dumps(description))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def golden(folder: Path) -> list[Check]:
    return [item for item in check(Bundle.from_folder(folder)) if item.name.startswith("golden")]


class TestToy:
    def test_the_right_description_passes(self, folder: Path) -> None:
        bundle = Bundle.from_folder(folder)
        assert (bundle.name, bundle.described_by) == ("known-toy", "jettagger")
        assert [item.name for item in golden(folder)] == ["golden vectors: probabilities", "golden vectors: others"]
        assert all(item.passed for item in golden(folder))

    @pytest.mark.parametrize("name", WRONG)
    def test_another_one_is_refused(self, folder: Path, name: str) -> None:
        change, said = WRONG[name]
        edit(folder, change)
        with pytest.raises(BundleError, match=rf"not the description of the network beside it.*'known-toy'.*{said}"):
            Bundle.from_folder(folder)

    @pytest.mark.parametrize("name", WRONG)
    def test_one_that_is_meant_is_read_and_the_golden_vectors_show_it(self, folder: Path, name: str) -> None:
        digest = edit(folder, WRONG[name][0])
        card = {"schema_version": 1, "name": "mine", "sha256": {"preprocess.json": digest}}
        card |= {"kinds": {"prob": ["label_*"], "mass": ["mass"], "hidden": ["hid*"]}}
        (folder / "bundle.json").write_text(json.dumps(card))
        found = golden(folder)
        if name == "replacement":  # all stored values are finite
            assert all(item.passed for item in found)
        else:
            assert any(item.passed is False for item in found)

    def test_a_card_of_ones_own_does_not_excuse_it(self, folder: Path) -> None:
        (folder / "bundle.json").write_text(
            json.dumps(
                {"schema_version": 1, "name": "mine", "output_names": NAMES[::-1], "kinds": {"prob": ["label*"]}}
            )
        )
        with pytest.raises(BundleError, match="output number 0 is 'hidNeuron003'"):
            Bundle.from_folder(folder)

    def test_lengths_and_the_order_of_inputs_are_free(self, folder: Path) -> None:
        def change(description: Any) -> None:
            description["input_names"].reverse()
            for group in ("pf_features", "pf_mask"):
                description[group] |= {"var_length": 20}
            description["pf_features"]["var_infos"]["pfcand_px"] = description["pf_features"]["var_infos"]["pfcand_dz"]
            description["pf_features"]["var_infos"]["pfcand_dz"] |= {"lower_bound": -5.0, "pad": -0.0}

        edit(folder, change)
        assert Bundle.from_folder(folder).limits["pf"] == (20, 20)
        assert all(item.passed for item in golden(folder))

    def test_another_spelling_of_the_outputs_is_the_same(self, folder: Path) -> None:
        def change(description: Any) -> None:
            names = description["output_names"]
            description["output_names"] = [name.replace("label_H_", "probH") for name in names]

        edit(folder, change)
        (folder / "bundle.json").write_text(json.dumps({"schema_version": 1, "name": "mine"}))
        assert Bundle.from_folder(folder)["probHbb"].raw == "probHbb"
        assert all(item.passed for item in golden(folder))


@pytest.mark.data
@pytest.mark.parametrize("name", PUBLIC)
class TestPublicNetworks:
    def test_what_is_kept_is_what_the_file_gives(self, shared: Path, name: str) -> None:
        card = json.loads((PACKAGE / "known" / f"{name}.json").read_text())
        made = content(shared / "models" / name, card)
        with np.load(PACKAGE / "known" / f"{name}.npz", allow_pickle=False) as stored:
            assert set(stored.files) == set(made)
            for key in ("variables", "outputs"):
                assert stored[key].tolist() == made[key].tolist()
            np.testing.assert_allclose(stored["scores"], made["scores"], atol=1e-5)
            assert stored["scores"].std(axis=0).max() > 0.02, "jets that are alike would prove nothing"

    @pytest.mark.slow
    def test_the_product_gives_it_back(self, shared: Path, name: str) -> None:
        found = golden(shared / "models" / name)
        assert found
        assert all(item.passed for item in found)
        assert f"3 jets that jettagger keeps for '{name}'" in found[0].detail

    @pytest.mark.parametrize("wrong", ["swapped", "swapped numbers", "no factor", "reversed outputs"])
    def test_another_description_is_refused(self, shared: Path, tmp_path: Path, name: str, wrong: str) -> None:
        folder = tmp_path / name
        shutil.copytree(shared / "models" / name, folder)
        for path in (folder, *folder.iterdir()):
            path.chmod(0o755)
        assert Bundle.from_folder(folder).described_by == "jettagger"
        edit(folder, WRONG[wrong][0])
        with pytest.raises(BundleError, match="is not the description of the network beside it"):
            Bundle.from_folder(folder)


def test_every_card_of_a_public_network_has_golden_vectors_of_a_few_kilobytes() -> None:
    for card in sorted((PACKAGE / "known").glob("*.json")):
        vectors = card.with_suffix(".npz")
        assert vectors.is_file() == ("model.onnx" in read_card(card).sha256)
        assert not vectors.is_file() or vectors.stat().st_size < 12_000


class TestUnknownNetworks:
    """What the numbers of a description alone can say."""

    def inputs(self, folder: Path, infos: Any) -> Check:
        write_bundle(folder, infos=infos)
        return next(item for item in check(Bundle.from_folder(folder)) if item.name == "inputs")

    @pytest.mark.parametrize(
        ("numbers", "said"),
        [
            ({"norm_factor": 0}, "pf_features: pfcand_dz is multiplied by 0"),
            ({"lower_bound": 0, "upper_bound": 0}, "pf_features: pfcand_dz is cut to 0"),
            ({"median": 1000, "lower_bound": -5, "upper_bound": 5}, r"pfcand_dz is -5 \(a bound\) for all random jets"),
            ({"norm_factor": 1e-44}, "pfcand_dz is 0 for all random jets"),
        ],
    )
    def test_variables_that_are_always_the_same(self, tmp_path: Path, numbers: Any, said: str) -> None:
        found = self.inputs(tmp_path / "m", {"pfcand_dz": numbers})
        assert (found.passed, found.measured) == (False, 1)
        assert re.search(said, found.detail)

    @pytest.mark.parametrize("name", ["pfcand_hcalFrac", "pfcand_drminsv", "pfcand_dxydz"])
    def test_what_is_rebuilt_may_only_be_the_same_where_it_is_declared_so(self, tmp_path: Path, name: str) -> None:
        groups = GROUPS | {"pf_features": (*GROUPS["pf_features"], name)}
        for folder, numbers in (("good", {}), ("bad", {"median": 1000.0, "lower_bound": -5.0, "upper_bound": 5.0})):
            write_bundle(tmp_path / folder, groups=groups, infos={name: numbers})
            found = next(item for item in check(Bundle.from_folder(tmp_path / folder)) if item.name == "inputs")
            assert found.passed == (folder == "good" or name == "pfcand_dxydz"), found.detail

    def test_good_ones(self, tmp_path: Path) -> None:
        assert self.inputs(tmp_path / "m", INFOS).passed

    def test_random_jets_differ_in_every_feature(self) -> None:
        toys = ToyJets({name: np.full(20, 8) for name in ("pf", "cpf", "npf", "sv")}, seed=0)
        for feature in FEATURES.values():
            varies = np.ptp(feature(*(toys.column(feature.object, need) for need in feature.needs))) > 0
            assert varies != (feature.is_mask or feature.constant) or feature.counted, feature.name  # rare ones


def test_names_of_the_toy_belong_to_it() -> None:
    assert sum(head.width for head in HEADS) == len(NAMES)
    assert set(LENGTHS) >= {name.split("_")[0] for name in GROUPS}


class TestNames:
    """What bears the name of a known network, and is not it, is said."""

    def flipped(self, folder: Path, name: str) -> Path:
        """A copy with one bit of a weight turned over."""
        copy = folder.with_name(name)
        shutil.copytree(folder, copy)
        network = onnx.load(copy / "model.onnx")
        weights = next(item for item in network.graph.initializer if item.data_type == 1)
        values = onnx.numpy_helper.to_array(weights).copy()
        values.view(np.uint32).flat[0] ^= 1
        weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
        onnx.save(network, copy / "model.onnx")
        return copy

    @pytest.mark.parametrize("name", ["known-toy", "Known_Toy", "my-known-toy.v2"])
    def test_another_network_under_the_name_is_said(self, folder: Path, name: str) -> None:
        with pytest.warns(RuntimeWarning, match=r"has the name of the known network 'known-toy'.*SHA-256 is"):
            Bundle.from_folder(self.flipped(folder, name))

    def test_the_network_itself_and_other_names_are_not(self, folder: Path) -> None:
        Bundle.from_folder(folder.rename(folder.with_name("known-toy")))
        Bundle.from_folder(self.flipped(folder.with_name("known-toy"), "known-toys"))

    def test_a_declared_checksum_says_that_it_is_meant(self, folder: Path) -> None:
        copy = self.flipped(folder, "known-toy")
        digest = hashlib.sha256((copy / "model.onnx").read_bytes()).hexdigest()
        card = {"schema_version": 1, "name": "known-toy", "sha256": {"model.onnx": digest}}
        (copy / "bundle.json").write_text(json.dumps(card))
        Bundle.from_folder(copy)
