"""The order of constituents in networks of CMS: the page has what is measured, and sequences are told from sets."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparing import assert_same_scores

import jettagger as jt
from benchmarks import sequences
from benchmarks.cms_networks import NETWORKS, opened_network
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.declaration import families
from jettagger.inference.checking import check
from jettagger.inputs.group_rows import entering
from jettagger.inputs.source import EVERYTHING, source_of
from jettagger.testing import make_events

PAGE = (Path(__file__).parent.parent / "docs" / "images.md").read_text(encoding="utf-8")
ROWS: dict[tuple[str, str], list[str]] = {}
for _line in re.findall(r"^\| `.+? \|$", PAGE.partition("sequences: measured")[2], re.MULTILINE):
    _name, _label, *_numbers = (text.strip(" `") for text in _line.strip("|").split("|"))
    ROWS[_name, _label] = _numbers
RECURRENT = [name for name in NETWORKS if name.startswith(("deepjet", "deepak8", "deepdoublex"))]


def said(name: str, label: str) -> tuple[float, float, float]:
    """With the declared order, shuffled, and its spread, as the page has them."""
    _, _, declared, shuffled, _ = ROWS[name, label]
    mean, _, spread = shuffled.partition(" ± ")
    return float(declared), float(mean), float(spread)


def test_the_page_has_all_networks_and_says_what_it_shows() -> None:
    assert {name for name, _ in ROWS} == set(NETWORKS)
    for name in RECURRENT:
        declared, mean, spread = said(name, "all")
        assert mean - 2 * spread > 10 * declared, name
    declared, mean, spread = said("particlenet-ak8-md", "all")
    assert mean == declared
    assert spread < 1e-5


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", NETWORKS)
def test_differences_are_those_of_the_page(name: str, shared: Path) -> None:
    """The stored scores come back in the declared order; in random orders only of networks that take sets."""
    if not (shared / "models" / NETWORKS[name][0]).is_file():
        pytest.skip("no network")
    found = sequences.differences(shared, name, draws=4)
    assert set(found.shuffled) == {label for other, label in ROWS if other == name}
    for label, draws in found.shuffled.items():
        declared, mean, spread = said(name, label)
        assert found.declared == pytest.approx(declared, rel=0.1)
        assert abs(draws.mean() - mean) < 0.05 * mean + 3 * spread  # two digits, and fewer draws
    assert (found.shuffled["all"].min() > 5 * found.declared) == (name in RECURRENT)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", RECURRENT)
def test_lists_of_recurrent_networks_are_sequences(name: str, shared: Path, tmp_path: Path) -> None:
    """The cards in the package say so, and the check agrees."""
    if not (shared / "models" / NETWORKS[name][0]).is_file():
        pytest.skip("no network")
    shutil.copy(shared / "models" / NETWORKS[name][0], tmp_path / "model.onnx")
    bundle = Bundle.from_folder(tmp_path)
    found = {result.name: result.passed for result in check(bundle) if result.name.startswith("order")}
    assert found == {f"order of {axis}": True for axis in bundle.limits}
    assert {group.kind for group in bundle.groups} <= {"sequence", "vector"}


@pytest.mark.data
def test_a_readable_order_is_the_same_as_sort_keys(shared: Path, tmp_path: Path) -> None:
    """DeepJet's order by significance, distance from vertices and pt, written either way."""
    name = "deepjet-v03"
    if not (shared / "models" / NETWORKS[name][0]).is_file():
        pytest.skip("no network")
    content = json.loads(families()[name].read_text())
    for group in content["groups"]:
        keys = group.pop("sort", [])
        if keys:
            group["order"] = [
                {"by": key.removeprefix("-"), "direction": "descending" if key.startswith("-") else "ascending"}
                for key in keys
            ]
        if group["object"] != "jet":
            group["kind"] = "sequence"
    with opened_network(shared, name) as (tagger, events):
        shutil.copy(tagger.bundle.require_weights(), tmp_path / "model.onnx")
        card = {"schema_version": 1, "name": "readable", "kinds": tagger.bundle.card.kinds}
        card |= {"output_names": [output.raw for output in tagger.bundle.outputs]}
        (tmp_path / "bundle.json").write_text(json.dumps(card))
        (tmp_path / "inputs.json").write_text(json.dumps(content))
        other = jt.load_tagger(tmp_path, threads=1, backend="onnxruntime")
        assert_same_scores(other(events), tagger(events))
        found = {result.name: result for result in check(other.bundle)}
        assert [key for key, result in found.items() if result.passed is False] == []
        assert {key for key in found if key.startswith("order")} == {"order of cpf", "order of npf", "order of sv"}


def test_shuffled_lists_have_the_leading_objects_in_another_order() -> None:
    """Groups of the same objects stay aligned; lists that are not shuffled stay as they are."""
    bundle: Bundle = jt.load_bundle("tinyParT")
    selection: Any = next(iter(source_of(bundle).request(make_events(12, seed=3)).blocks(EVERYTHING)))
    jets = selection.jets
    inside = entering(bundle, jets)
    found = sequences.shuffled(bundle, jets, inside, {"pf"}, np.random.default_rng(1))
    groups = [group for group in bundle.groups if group.object == "pf"]
    assert len({id(found.rows[group.name]) for group in groups}) == 1
    assert not {group.name for group in bundle.groups if group.object == "sv"} & set(found.rows) - set(inside.rows)
    counts, after = jets.counts("pf"), found.rows[groups[0].name]
    assert after.counts.tolist() == np.minimum(counts, groups[0].limit).tolist()
    moved = 0
    starts = [np.concatenate([[0], np.cumsum(numbers)]) for numbers in (counts, after.counts)]
    for jet, number in enumerate(after.counts):
        leading = np.arange(starts[0][jet], starts[0][jet] + number)
        shuffled = after.index[starts[1][jet] : starts[1][jet] + number]
        assert sorted(leading) == sorted(shuffled)
        moved += int((leading != shuffled).sum())
    assert moved > 100
