"""Branches of the shards: each stands for a feature of events, and declarations of inputs are valid bundles' parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jettagger.bundles.declaration import read_declared
from jettagger.errors import UnknownName
from jettagger.features import FEATURES
from jettagger.jec.variables import ABSENT, BLOCKS, BRANCHES, declaration, input_branches

OBJECTS = {"global": "jet", "ch": "cpf", "ne": "npf", "sv": "sv"}


def test_each_branch_stands_for_a_feature_of_its_object() -> None:
    for branch in BRANCHES.values():
        assert FEATURES[branch.feature].object == OBJECTS[branch.block], branch
    assert set(ABSENT) < BRANCHES.keys()


@pytest.mark.data
def test_the_features_of_the_original_have_branches(shared: Path) -> None:
    content = json.loads((shared / "mljec/columns.json").read_text())
    features = {block: [*own["numerical"], *own["categorical"]] for block, own in content["features"].items()}
    branches = input_branches(features)
    assert list(branches) == list(BLOCKS)
    for block, names in branches.items():
        assert all(BRANCHES[name].block == block for name in names)
    categorical = {name for own in content["features"].values() for name in own["categorical"]}
    assert categorical == {branch.name for branch in BRANCHES.values() if branch.categorical}


def test_a_declaration_of_all_branches_is_valid() -> None:
    branches = {block: [item.name for item in BRANCHES.values() if item.block == block] for block in BLOCKS}
    declared, groups = read_declared(Path("inputs.json"), declaration("all", branches, "AK8"))
    assert (declared.jets, declared.empty_jets) == ("AK8", True)
    assert [group.name for group in groups] == ["global", "ch", "ch_mask", "ne", "ne_mask", "sv", "sv_mask"]
    assert [group.is_mask for group in groups] == [False, False, True, False, True, False, True]
    assert all(group.min_length == 1 for group in groups)


@pytest.mark.parametrize(
    ("branches", "message"),
    [
        ({"chs": ["ch_pt"]}, "unknown block of branches in the features of 'mine': 'chs'.*ch"),
        ({"ch": ["ch_pt", "ch_ppi_weight"]}, "unknown branch in the block 'ch' of 'mine': 'ch_ppi_weight'.*puppi"),
        ({"ne": ["ch_pt"]}, "unknown branch in the block 'ne'"),
    ],
)
def test_unknown_branches_are_refused(branches: dict[str, list[str]], message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        declaration("mine", branches)
