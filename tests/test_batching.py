"""Batches against a slow reference: one jet, one variable, one value at a time, as CMSSW's center_norm_pad."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jettagger.bundles.interface import Group, Variable
from jettagger.features import lookup
from jettagger.inputs.batching import BATCH_SIZE, COST, Batch, Cost, make_batches, tabulate, transform

NAMES = ("pfcand_dz", "pfcand_dxy", "pfcand_btagEtaRel")


def variable(name: str, **changes: float) -> Variable:
    return Variable(lookup([name])[0], **changes)


#: one untouched, one scaled and clipped, one with a pad value and a replacement of its own
VARIABLES = (
    variable("pfcand_dz", lower_bound=-1e32, upper_bound=1e32),
    variable("pfcand_dxy", median=0.25, norm_factor=300, lower_bound=-5, upper_bound=5),
    variable(
        "pfcand_btagEtaRel", median=1.5, norm_factor=0.5, lower_bound=-5, upper_bound=6, replace_inf_value=-99, pad=-1
    ),
)
FEATURES = Group("pf_features", VARIABLES, 16, 128)
MASK = Group("pf_mask", (variable("pfcand_mask"),), 16, 128)
VERTICES = Group("sv_features", (variable("sv_mass", median=1.2, norm_factor=0.3, pad=0.5),), 1, 10)
VERTEX_MASK = Group("sv_mask", (variable("sv_mask"),), 1, 10)
JET = Group("jet_features", (variable("jet_eta", median=0.5),), 1, 1)


class Jets:
    """Jets given as lists of rows, one a constituent; a row is {column: value}."""

    def __init__(self, **objects: Sequence[Sequence[Mapping[str, float]]]) -> None:
        self.objects = objects

    def __len__(self) -> int:
        return len(next(iter(self.objects.values())))

    def counts(self, object_: str) -> Any:
        return np.array([len(rows) for rows in self.objects[object_]], dtype=np.int64)

    def column(self, object_: str, name: str) -> Any:
        return np.array([row[name] for rows in self.objects[object_] for row in rows], dtype=np.float32)


COLUMN = {
    "pfcand_dz": "dz",
    "pfcand_dxy": "dxy",
    "pfcand_btagEtaRel": "btagEtaRel",
    "sv_mass": "mass",
    "jet_eta": "eta",
}


def raw(variable: Variable, row: Mapping[str, float]) -> np.float32:
    """The value of a variable before any transformation; masks are 1."""
    name = variable.feature.name
    return np.float32(1) if name.endswith("_mask") else np.float32(row[COLUMN[name]])


def slow_cmssw(value: np.float32, variable: Variable) -> np.float32:
    if math.isnan(value) or math.isinf(value) or abs(value) > np.float32(1e32):
        value = np.float32(variable.replace_inf_value)
    value = (value - np.float32(variable.median)) * np.float32(variable.norm_factor)
    return min(max(value, np.float32(variable.lower_bound)), np.float32(variable.upper_bound))


def slow_weaver(value: np.float32, variable: Variable) -> np.float32:
    value = (value - np.float32(variable.median)) * np.float32(variable.norm_factor)
    if math.isnan(value):
        return np.float32(0)
    plain = variable.median == 0 and variable.norm_factor == 1 and variable.upper_bound >= 1e32
    return value if plain else min(max(value, np.float32(variable.lower_bound)), np.float32(variable.upper_bound))


def slow_jet(group: Group, rows: Sequence[Mapping[str, float]], convention: str = "cmssw", wrap: bool = False) -> Any:
    """float32[variables, length] of one jet."""
    function = slow_cmssw if convention == "cmssw" else slow_weaver
    length = min(max(len(rows), group.min_length), group.max_length)
    result = []
    for one in group.variables:
        channel = []
        for slot in range(length):
            if slot < len(rows):
                channel.append(function(raw(one, rows[slot]), one))
            elif wrap and rows and not group.is_mask:
                channel.append(function(raw(one, rows[slot % len(rows)]), one))
            else:
                channel.append(np.float32(one.pad))
        result.append(channel)
    return np.array(result, dtype=np.float32)


def ordinary(rng: np.random.Generator, count: int) -> list[dict[str, float]]:
    names = ("dz", "dxy", "btagEtaRel", "pt", "mass", "eta")
    return [{name: float(np.float32(rng.normal(0.3, 1))) for name in names} for _ in range(count)]


def jets_of(counts: Sequence[int], vertices: Sequence[int] | None = None, seed: int = 0) -> Jets:
    rng = np.random.default_rng(seed)
    objects = {"pf": [ordinary(rng, count) for count in counts]}
    objects["sv"] = [ordinary(rng, count) for count in (vertices if vertices is not None else [2] * len(counts))]
    objects["jet"] = [ordinary(rng, 1) for _ in counts]
    return Jets(**objects)


def contents(groups: Sequence[Group], jets: Jets, batch_size: int = BATCH_SIZE, **options: Any) -> list[dict[str, Any]]:
    """What each jet gets, padding behind its own length cut off after it was checked to be padding."""
    nonfinite = options.pop("nonfinite", "cmssw")
    wrap = options.get("pad_mode") == "wrap"
    tables = tabulate(groups, jets, nonfinite)
    found: list[dict[str, Any]] = [{} for _ in range(len(jets))]
    for batch in make_batches(tables, batch_size=batch_size, **options):
        assert len(batch.jets) <= batch_size
        for row, jet in enumerate(batch.jets):
            assert found[jet] == {}, "a jet was batched twice"
            for group in groups:
                array = batch.inputs[group.name][row]
                count = int(jets.counts(group.object)[jet])
                own = min(max(count, group.min_length), group.max_length)
                assert group.min_length <= array.shape[1] <= group.max_length
                if not wrap or group.is_mask or not count:
                    pads = np.array([[one.pad] for one in group.variables], dtype=np.float32)
                    assert (array[:, own:] == pads).all()
                found[jet][group.name] = array[:, :own]
    assert all(item for item in found), "a jet is missing"
    return found


def check_against_reference(groups: Sequence[Group], jets: Jets, convention: str = "cmssw", **options: Any) -> None:
    wrap = options.get("pad_mode") == "wrap"
    for jet, item in enumerate(contents(groups, jets, nonfinite=convention, **options)):
        for group in groups:
            expected = slow_jet(group, jets.objects[group.object][jet], convention, wrap)
            assert item[group.name].dtype == np.float32
            assert np.array_equal(item[group.name], expected, equal_nan=True), (jet, group.name)


ALL = (FEATURES, MASK, VERTICES, VERTEX_MASK, JET)


class TestReference:
    @pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 127, 128, 129, 300])
    @pytest.mark.parametrize("pad_mode", ["constant", "wrap"])
    def test_lengths(self, count: int, pad_mode: str) -> None:
        check_against_reference(ALL, jets_of([count], [count % 13]), pad_mode=pad_mode)

    @pytest.mark.parametrize("batch_size", [1, 2, 7, 64])
    @pytest.mark.parametrize("pad_mode", ["constant", "wrap"])
    def test_all_lengths_at_once(self, batch_size: int, pad_mode: str) -> None:
        counts = [0, 1, 15, 16, 17, 127, 128, 129, 40, 41, 40, 0]
        jets = jets_of(counts, [0, 1, 9, 10, 11, 0, 3, 3, 3, 3, 3, 0])
        check_against_reference(ALL, jets, batch_size=batch_size, pad_mode=pad_mode)

    @pytest.mark.parametrize("convention", ["cmssw", "weaver"])
    @pytest.mark.parametrize(
        "value", [math.nan, math.inf, -math.inf, 1e33, -1e33, 1e32, -1e32, 9.9e31, 3e38, 0.0, -0.0, 1e-40, 7.25, -7.25]
    )
    def test_bad_values(self, convention: str, value: float) -> None:
        jets = jets_of([3, 20])
        for name in ("dz", "dxy", "btagEtaRel"):
            jets.objects["pf"][0][1][name] = value  # type: ignore[index]
            jets.objects["pf"][1][19][name] = value  # type: ignore[index]
        with np.errstate(over="ignore"):  # the reference multiplies 3e38, too
            check_against_reference((FEATURES, MASK), jets, convention)

    def test_order_of_operations(self) -> None:
        """A replaced value is centred and scaled like any other, padding is not."""
        one = variable(
            "pfcand_dz", median=4, norm_factor=0.5, replace_inf_value=2, lower_bound=-5, upper_bound=5, pad=3
        )
        group = Group("pf_features", (one,), 3, 8)
        rows = [{"dz": math.nan}, {"dz": 100.0}]
        (batch,) = make_batches(tabulate([group], Jets(pf=[rows])))
        assert batch.inputs["pf_features"].tolist() == [[[-1, 5, 3]]]
        (batch,) = make_batches(tabulate([group], Jets(pf=[rows]), "weaver"))
        assert batch.inputs["pf_features"].tolist() == [[[0, 5, 3]]]

    def test_bounds_of_cmssw_also_hold_after_scaling(self) -> None:
        """Bounds of 1e32 are bounds: what exceeds them after the scaling is clipped."""
        values, replaced = transform(
            np.array([9e31, -9e31], dtype="f4"), variable("pfcand_dz", norm_factor=300, median=0), "cmssw"
        )
        assert values.tolist() == [np.float32(1e32), np.float32(-1e32)]
        assert replaced == 0

    def test_empty_jets_are_padding(self) -> None:
        for mode in ("constant", "wrap"):
            (batch,) = make_batches(tabulate(ALL[:4], jets_of([0], [0])), pad_mode=mode)  # type: ignore[arg-type]
            assert batch.inputs["pf_features"].tolist() == [[[0.0] * 16, [0.0] * 16, [-1.0] * 16]]
            assert batch.inputs["pf_mask"].tolist() == [[[0.0] * 16]]
            assert batch.inputs["sv_features"].tolist() == [[[0.5]]]
            assert (batch.slots, batch.filled) == (16, 0)

    def test_masks_are_never_wrapped(self) -> None:
        (batch,) = make_batches(tabulate((FEATURES, MASK), jets_of([3])), pad_mode="wrap")
        assert batch.inputs["pf_mask"].tolist() == [[[1.0] * 3 + [0.0] * 13]]
        features = batch.inputs["pf_features"]
        assert np.array_equal(features[:, :, 3:6], features[:, :, :3])

    def test_wrapping_repeats_what_was_kept(self) -> None:
        """Of a jet with more objects than there is room for, nothing is repeated."""
        check_against_reference((FEATURES, MASK), jets_of([129, 128, 127]), pad_mode="wrap")


#: drawing whole jets takes its time
SLOW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
numbers = st.one_of(finite, st.sampled_from([math.nan, math.inf, -math.inf, 1e33, -1e33, 1e32]))


@st.composite
def some_jets(draw: st.DrawFn, largest: int = 9) -> Jets:
    """A few jets with any numbers in them."""

    def rows(most: int, least: int = 0) -> st.SearchStrategy[Any]:
        row = st.fixed_dictionaries(dict.fromkeys(("dz", "dxy", "btagEtaRel", "pt", "mass", "eta"), numbers))
        return st.lists(row, min_size=least, max_size=most)

    n_jets = draw(st.integers(1, 4))
    pf = [draw(rows(largest)) for _ in range(n_jets)]
    sv = [draw(rows(5)) for _ in range(n_jets)]
    jet = [draw(rows(1, 1)) for _ in range(n_jets)]
    return Jets(pf=pf, sv=sv, jet=jet)


SMALL = tuple(replace(group, min_length=2, max_length=7) if group.object == "pf" else group for group in ALL)
SMALL = tuple(replace(group, min_length=1, max_length=3) if group.object == "sv" else group for group in SMALL)


def same(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> bool:
    return len(first) == len(second) and all(
        np.array_equal(one[name], other[name], equal_nan=True)
        for one, other in zip(first, second, strict=True)
        for name in one
    )


class TestInvariants:
    """What a jet gets never depends on the others, on their order, or on the size of the batch."""

    @pytest.mark.slow
    @SLOW
    @given(some_jets(), st.sampled_from(["cmssw", "weaver"]), st.sampled_from(["constant", "wrap"]), st.integers(1, 8))
    def test_reference(self, jets: Jets, convention: str, pad_mode: str, batch_size: int) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            check_against_reference(SMALL, jets, convention, pad_mode=pad_mode, batch_size=batch_size)

    @pytest.mark.slow
    @SLOW
    @given(some_jets(), st.randoms(use_true_random=False), st.integers(1, 7))
    def test_order_of_jets_and_batch_size(self, jets: Jets, random: Any, batch_size: int) -> None:
        order = list(range(len(jets)))
        random.shuffle(order)
        shuffled = Jets(**{name: [rows[jet] for jet in order] for name, rows in jets.objects.items()})
        plain = contents(SMALL, jets)
        assert same([plain[jet] for jet in order], contents(SMALL, shuffled, batch_size))

    @pytest.mark.slow
    @SLOW
    @given(some_jets(), some_jets())
    def test_company(self, jets: Jets, others: Jets) -> None:
        together = Jets(**{name: [*rows, *others.objects[name]] for name, rows in jets.objects.items()})
        assert same(contents(SMALL, jets), contents(SMALL, together)[: len(jets)])

    @SLOW
    @given(st.lists(numbers, min_size=1, max_size=20), st.floats(-100, 100, width=32), st.floats(-1000, 1000, width=32))
    def test_transform_is_bounded(self, values: list[float], median: float, factor: float) -> None:
        one = variable(
            "pfcand_dz", median=median, norm_factor=factor, lower_bound=-5, upper_bound=5, replace_inf_value=1
        )
        found, replaced = transform(np.array(values, dtype="f4"), one, "cmssw")
        assert np.isfinite(found).all()
        assert (np.abs(found) <= 5).all()
        assert replaced == sum(not abs(np.float32(value)) <= np.float32(1e32) for value in values)


class TestBatches:
    def batches(self, groups: Sequence[Group], jets: Jets, **options: Any) -> list[Batch]:
        return list(make_batches(tabulate(groups, jets), **options))

    def test_no_jets(self) -> None:
        assert self.batches(ALL, Jets(pf=[], sv=[], jet=[])) == []

    @pytest.mark.parametrize("size", [1, 3, 64])
    def test_size(self, size: int) -> None:
        found = self.batches((FEATURES, MASK), jets_of([20] * 10), batch_size=size)
        assert [len(batch.jets) for batch in found] == {1: [1] * 10, 3: [3, 3, 3, 1], 64: [10]}[size]

    def test_longest_first_and_no_longer_than_needed(self) -> None:
        rng = np.random.default_rng(0)
        found = self.batches((FEATURES, MASK), jets_of(rng.integers(0, 140, 200).tolist()))
        lengths = [batch.inputs["pf_mask"].shape[2] for batch in found]
        assert lengths == sorted(lengths, reverse=True)
        assert lengths[0] == 128
        for batch in found:
            real = batch.inputs["pf_mask"].sum(axis=2)
            assert batch.inputs["pf_mask"].shape[2] == max(16, real.max())
            assert batch.filled == real.sum()
            assert batch.slots == batch.inputs["pf_mask"].size

    def test_padding_costs_less_than_another_run(self) -> None:
        """In both lengths together, and no batch outgrows the cache."""
        rng = np.random.default_rng(1)
        counts, vertices = rng.integers(0, 140, 300), rng.integers(0, 14, 300)
        for batch in self.batches(ALL, jets_of(counts.tolist(), vertices.tolist())):
            own = np.clip(counts[batch.jets], 16, 128) + np.clip(vertices[batch.jets], 1, 10) + 1
            length = batch.inputs["pf_mask"].shape[2] + batch.inputs["sv_mask"].shape[2] + 1
            assert len(own) * COST.of(np.array(length)) - COST.of(own).sum() <= COST.fixed
            assert len(own) == 1 or len(own) * length**2 <= COST.cells

    @pytest.mark.slow
    def test_buckets_are_cheaper_than_a_list_of_one_length(self) -> None:
        """Against cutting after the number of candidates alone, as many as fit, for jets with many vertices or few."""
        rng = np.random.default_rng(2)
        counts, vertices = rng.integers(16, 128, 1000), rng.choice([1, 10], 1000)

        def price(found: Sequence[Batch]) -> float:
            lengths = np.array([b.inputs["pf_mask"].shape[2] + b.inputs["sv_mask"].shape[2] + 1 for b in found])
            return float(sum(len(b.jets) * COST.of(lengths)[i] + COST.fixed for i, b in enumerate(found)))

        found = self.batches(ALL, jets_of(counts.tolist(), vertices.tolist()))
        own = COST.of(counts + vertices + 1).sum()
        assert price(found) < 1.08 * own
        order = np.argsort(-counts, kind="stable")
        naive = 0.0
        for start in range(0, 1000, 16):
            part = order[start : start + 16]
            length = np.array(counts[part].max() + vertices[part].max() + 1)
            naive += len(part) * float(COST.of(length)) + COST.fixed
        assert price(found) < 0.97 * naive

    def test_without_a_cost_only_the_size_cuts(self) -> None:
        found = self.batches((FEATURES, MASK), jets_of(list(range(16, 129))), batch_size=64, cost=None)
        assert [len(batch.jets) for batch in found] == [64, 49]

    def test_more_cells_make_larger_batches(self) -> None:
        jets = jets_of([100] * 40)
        small = self.batches((FEATURES, MASK), jets)
        assert [len(batch.jets) for batch in small] == [4] * 10
        assert len(self.batches((FEATURES, MASK), jets, cost=Cost(cells=np.inf))) == 1

    def test_objects_without_a_mask_see_no_padding_of_others(self) -> None:
        """Only jets with the same number of such objects share a batch."""
        counts = [20, 21, 20, 130, 128, 5, 16, 0]
        found = self.batches((FEATURES, VERTICES, VERTEX_MASK), jets_of(counts))
        clipped = [{int(np.clip(counts[jet], 16, 128)) for jet in batch.jets} for batch in found]
        assert all(len(lengths) == 1 for lengths in clipped)
        assert [lengths.pop() for lengths in clipped] == [128, 21, 20, 16]
        assert found[0].inputs["pf_features"].shape == (2, 3, 128)

    def test_lengths_in_steps(self) -> None:
        """Few shapes: multiples of the step, or the limit; only where a mask tells padding, and no jet gets another."""
        rng = np.random.default_rng(3)
        jets = jets_of(rng.integers(0, 140, 300).tolist(), rng.integers(0, 14, 300).tolist())
        cost = Cost(fixed=40_000, cells=1e7, step=48)
        found = self.batches(ALL, jets, batch_size=1000, cost=cost)
        assert {batch.inputs["pf_mask"].shape[2] for batch in found} <= {48, 96, 128}
        assert {batch.inputs["sv_mask"].shape[2] for batch in found} == {10}
        assert len(found) < 4
        assert same(contents(ALL, jets), contents(ALL, jets, 1000, cost=cost))
        exact = self.batches((FEATURES, VERTICES, VERTEX_MASK), jets_of([20, 21, 20]), cost=cost)
        assert [batch.inputs["pf_features"].shape[2] for batch in exact] == [21, 20]

    def test_fixed_length(self) -> None:
        fixed = tuple(replace(group, min_length=30, max_length=30) for group in (FEATURES, MASK))
        found = self.batches(fixed, jets_of([0, 3, 30, 31, 200]))
        assert {batch.inputs["pf_features"].shape[2] for batch in found} == {30}

    def test_layout(self) -> None:
        (batch,) = self.batches(ALL, jets_of([20, 18], [3, 1]))
        assert {name: array.shape for name, array in batch.inputs.items()} == {
            "pf_features": (2, 3, 20),
            "pf_mask": (2, 1, 20),
            "sv_features": (2, 1, 3),
            "sv_mask": (2, 1, 3),
            "jet_features": (2, 1, 1),
        }
        assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in batch.inputs.values())

    def test_replaced_values_are_counted(self) -> None:
        jets = jets_of([3, 3])
        jets.objects["pf"][0][0]["dz"] = math.nan  # type: ignore[index]
        jets.objects["pf"][1][2]["dxy"] = math.inf  # type: ignore[index]
        jets.objects["pf"][1][2]["dz"] = 1e33  # type: ignore[index]
        assert [table.replaced for table in tabulate((FEATURES, MASK, VERTICES), jets)] == [3, 0, 0]
        assert [table.replaced for table in tabulate((FEATURES, MASK), jets, "weaver")] == [1, 0]

    def test_inputs_stay_as_they_were(self) -> None:
        column = np.array([1, np.nan, 3], dtype="f4")
        column.setflags(write=False)
        values, replaced = transform(column, VARIABLES[1], "cmssw")
        assert replaced == 1
        assert np.isnan(column[1])
        assert np.isfinite(values).all()
