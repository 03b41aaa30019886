"""From a data configuration of weaver to the tensors of a network: axes, padding, and functions of lists."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jettagger.bundles.weaver_groups import weaver_groups, with_axes
from jettagger.sessions.graph import Graph, Tensor
from jettagger.weaver.config import read_config
from jettagger.weaver.functions import HELPERS, known_names, modern, resolve

CONFIG = read_config(
    text="""
    new_variables: {part_mask: ak.ones_like(part_pt), part_ones: ak.ones_like(part_pt)}
    preprocess: {method: manual}
    inputs:
      pf_points: {length: 8, pad_mode: constant, vars: [[part_deta, 0, 1, -1, 1, 7], [part_dphi, null]]}
      pf_features: {length: 8, pad_mode: wrap, vars: [[part_pt, 1.5, 0.5, -2, 3, 7], [part_ones, null]]}
      pf_mask: {length: 8, pad_mode: constant, vars: [[part_mask, null]]}
      sv_features: {length: 8, vars: [[sv_mass, null]]}
      jet_features: {length: null, vars: [[jet_pt, null], [jet_eta, null]]}
      number: {length: null, vars: [[jet_nparts, null]]}"""
)
CONFIG_NAMES = ("pf_points", "pf_features", "pf_mask", "sv_features", "jet_features", "number")


def graph(tiny: Any, **shapes: tuple[int | str, ...]) -> Graph:
    return replace(tiny.graph, inputs=tuple(Tensor(name, shape, "float32") for name, shape in shapes.items()))


def test_groups_are_those_of_the_configuration() -> None:
    points, features, mask, vertices, jet, number = groups = weaver_groups(CONFIG)
    assert [group.name for group in groups] == list(CONFIG_NAMES)
    assert [group.is_mask for group in groups] == [False, False, True, False, False, False]
    assert [group.per_jet for group in groups] == [False] * 4 + [True] * 2
    assert [(group.min_length, group.max_length) for group in groups] == [(8, 8)] * 4 + [(1, 1)] * 2
    assert (points.pad_mode, features.pad_mode) == ("constant", "wrap")
    assert (jet.layout, number.layout) == (("jets", "variables"), ("jets",))
    pt, whole = features.variables
    assert (pt.median, pt.norm_factor, pt.lower_bound, pt.upper_bound, pt.pad) == (1.5, 0.5, -2, 3, 0)
    assert (whole.median, whole.norm_factor, whole.lower_bound) == (0, 1, -1e32)
    # where the list is repeated there is no padding, and a column of ones tells nothing
    assert not whole.feature.is_mask
    assert [variable.pad for variable in points.variables] == [7, 0]
    assert mask.variables[0].feature.doc.startswith("= ak.ones_like(part_pt)")
    assert vertices.variables[0].feature.needs == ("sv_mass",)


def axes(groups: Any, graph: Graph | None) -> dict[str, str]:
    return {group.name: group.axis for group in with_axes(groups, graph)}


def test_groups_share_an_axis_as_the_graph_says(tiny: Any) -> None:
    """By the name of the length; otherwise, and for names that an exporter makes of the input's, by the length."""
    groups = weaver_groups(CONFIG)
    particles = ("pf_points", "pf_features", "pf_mask")
    apart = {name: ("N", 2, "n_sv" if name == "sv_features" else "n_pf") for name in CONFIG_NAMES[:4]}
    found = axes(groups, graph(tiny, **apart))
    assert [found[name] for name in particles] == ["pf"] * 3
    assert found["sv_features"] == "sv_features"
    assert (found["jet_features"], found["number"]) == ("jet_features", "number")
    own = {name: ("N", 2, f"{name}_length") for name in CONFIG_NAMES[:4]}
    fixed: dict[str, tuple[int | str, ...]] = dict.fromkeys(CONFIG_NAMES[:4], ("N", 2, 8))
    unnamed = dict.fromkeys(CONFIG_NAMES[:4], ("N", 2, "?"))
    for one in (None, *(graph(tiny, **shapes) for shapes in (own, fixed, unnamed))):
        found = axes(groups, one)
        assert len({found[name] for name in CONFIG_NAMES[:4]}) == 1  # of one length: nothing tells them apart
        assert len(set(found.values())) == 3


def test_groups_of_other_lengths_have_axes_of_their_own() -> None:
    """Names are different where the common part of the groups' names is the same."""
    config = read_config(
        text="""
        inputs:
          pf_one: {length: 4, vars: [[a, null]]}
          pf_two: {length: 4, vars: [[b, null]]}
          pf_three: {length: 6, vars: [[c, null]]}
          pf_four: {length: 6, vars: [[d, null]]}"""
    )
    found = axes(weaver_groups(config), None)
    assert found["pf_one"] == found["pf_two"] != found["pf_three"] == found["pf_four"]


lists = st.lists(st.lists(st.floats(-100, 100, width=32), max_size=5), min_size=1, max_size=5)


class TestFunctions:
    @settings(max_examples=25)
    @given(rows=lists, length=st.integers(1, 6), value=st.integers(-3, 3))
    def test_padding_is_that_of_a_loop(self, rows: list[list[float]], length: int, value: int) -> None:
        array = ak.values_astype(ak.Array([*rows, [1.0]]), "f4")
        rows = array.tolist()
        padded = HELPERS["_pad"](array, length, value=value)
        assert padded.dtype == np.float32
        assert padded.tolist() == [(row + [value] * length)[:length] for row in rows]
        repeated = HELPERS["_repeat_pad"](array, length)
        assert repeated.tolist() == [(row * length)[:length] if row else [0] * length for row in rows]

    @settings(max_examples=25)
    @given(rows=lists)
    def test_sorted_lists_are_gathered(self, rows: list[list[float]]) -> None:
        array = ak.values_astype(ak.Array([*rows, [1.0]]), "f4")
        order = HELPERS["_batch_argsort"](array)
        assert HELPERS["_batch_gather"](array, order).tolist() == [sorted(row) for row in array.tolist()]
        both = HELPERS["_concat"]([array, -array], axis=1)
        assert both.tolist() == [row + [-value for value in row] for row in array.tolist()]

    def test_stacks_of_numbers_and_of_lists(self) -> None:
        first, second = np.array([1.0, 2]), np.array([3.0, 4])
        assert HELPERS["_stack"]([first, second]).tolist() == [[1, 3], [2, 4]]
        assert HELPERS["_stack"]([first, second], axis=0).tolist() == [[1, 2], [3, 4]]
        ragged = ak.Array([[1.0, 2], [3.0]])
        assert HELPERS["_stack"]([ragged, ragged + 10]).tolist() == [[[1, 2], [11, 12]], [[3], [13]]]

    def test_numbers_without_lists_are_lists_of_one(self) -> None:
        assert HELPERS["_pad"](np.array([5.0, 6]), 3, value=-1).tolist() == [[5, -1, -1], [6, -1, -1]]
        assert HELPERS["_repeat_pad"](np.array([5.0, 6]), 2).tolist() == [[5, 5], [6, 6]]

    def test_hashes_tell_combinations_apart(self) -> None:
        run, event = np.array([1, 1, 2, 1]), np.array([7, 8, 7, 7])
        found = HELPERS["_hash"](run, event)
        assert len(set(found.tolist())) == 3
        assert found[0] == found[3]

    @pytest.mark.parametrize("kind", ["pxpypze", "ptetaphie", "ptetaphim"])
    def test_four_momenta_of_all_kinds_are_the_same(self, kind: str) -> None:
        px, py, pz, mass = 3.0, 4.0, 12.0, 84.0  # pt 5, p 13, E 85
        pt, phi, eta = 5.0, np.arctan2(4, 3), np.arcsinh(12 / 5)
        given_as = {"pxpypze": (px, py, pz, 85.0), "ptetaphie": (pt, eta, phi, 85.0), "ptetaphim": (pt, eta, phi, mass)}
        made = HELPERS[f"_p4_from_{kind}"](*(ak.Array([[value], []]) for value in given_as[kind]))
        for name, expected in (("px", 3), ("py", 4), ("pz", 12), ("energy", 85), ("mass", 84), ("pt", 5), ("p", 13)):
            assert ak.to_list(getattr(made, name)) == [[pytest.approx(expected, rel=1e-12)], []]

    def test_every_name_that_is_offered_is_there(self) -> None:
        for name in known_names():
            module, _, function = name.rpartition(".")
            made = HELPERS[function] if not module else resolve(module, function)
            assert callable(made) or isinstance(made, float) or made is None, name
        assert modern("no such function") == ""
        # NumPy 1.26 has it by another name
        assert resolve("np", "trapezoid")(np.array([1.0, 3, 3]), dx=0.5) == pytest.approx(2.5)
