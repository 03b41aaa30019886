"""Weights and flat values: what is refused with its place, what is missing, weights per event and per jet."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jettagger.discriminants import Discriminant, derive, efficiency
from jettagger.errors import InvalidValues, MismatchError, WrongType
from jettagger.histograms import AxisSpec, HistSpec
from jettagger.weights import broadcast, check_weights, flat

jagged = st.lists(st.lists(st.none() | st.floats(-5, 5) | st.just(float("nan")), max_size=4), min_size=1, max_size=8)
good_or_bad = st.floats(-3, 3) | st.sampled_from([None, float("nan"), float("inf"), float("-inf")])


def listed(events: list[list[float | None]]) -> ak.Array:
    """Lists of numbers or None, also where all of them are empty."""
    return ak.values_astype(ak.Array([*events, [1.0, None]])[:-1], np.float64)


# ---------------------------------------------------------------------------------------- weights


@pytest.mark.parametrize(
    "weights",
    [
        np.array([-1.0, 0.0, 2.5]),
        np.array([1, -1], dtype=np.int8),
        np.array([True, False]),
        np.array([], dtype=np.float32),
        ak.Array([[1.0, 2.0], [], [-3.0]]),
        [1, 2.5],
    ],
    ids=["negative", "integers", "booleans", "none at all", "jagged", "list"],
)
def test_finite_numbers_are_weights(weights: Any) -> None:
    check_weights(weights)
    lists = ak.Array([[weight] for weight in ak.flatten(ak.Array(weights), axis=None)] + [[np.nan]])
    with pytest.raises(InvalidValues, match=rf"position {len(lists) - 1} is nan; 1 of {len(lists)} are not finite$"):
        check_weights(lists)


@given(st.lists(good_or_bad, min_size=1, max_size=12))
@settings(max_examples=25)
def test_the_first_bad_weight_is_named_and_all_are_counted(weights: list[float | None]) -> None:
    numbers = np.array([np.nan if weight is None else weight for weight in weights])
    bad = np.flatnonzero(~np.isfinite(numbers))
    if not len(bad):
        check_weights(ak.Array(weights))
        return
    with pytest.raises(InvalidValues) as caught:
        check_weights(ak.Array(weights), name="pileup", events=np.arange(len(weights)) + 500)
    first = bad[0]
    place = f"event {500 + first} (position {first})"
    assert str(caught.value) == f"pileup of {place} is {numbers[first]}; {len(bad)} of {len(weights)} are not finite"


def test_the_event_of_a_bad_weight_of_a_jet_is_named() -> None:
    deep = ak.Array([[[1.0], []], [], [[2.0], [3.0, -np.inf, np.nan]]])
    with pytest.raises(InvalidValues, match=r"^weight of event at position 2 is -inf; 2 of 5 are not finite$"):
        check_weights(deep)
    with pytest.raises(InvalidValues, match=r"^weight of event 30 \(position 2\) is -inf; 2 of 5"):
        check_weights(deep, events=[10, 20, 30])


@pytest.mark.parametrize(
    ("weights", "kind"),
    [
        (ak.Array(["1.0", "2.0"]), "string"),
        (np.array(["a", "b"]), "<U1|string"),
        ([object()], "list"),
        (np.array([object()]), "object"),
    ],
)
def test_weights_that_are_no_numbers(weights: Any, kind: str) -> None:
    with pytest.raises(WrongType, match=rf"^trigger: got .*({kind}).*, expected an array of numbers$"):
        check_weights(weights, name="trigger")


# ---------------------------------------------------------------------------------------- values


@given(jagged)
@settings(max_examples=25)
def test_values_keep_their_order_and_missing_ones_are_counted(events: list[list[float | None]]) -> None:
    numbers = [value for jets in events for value in jets]
    kept = [value for value in numbers if value is not None and not np.isnan(value)]
    values, weights, missing = flat(listed(events))
    assert values.dtype == weights.dtype == np.float64
    assert values.tolist() == kept
    assert weights.tolist() == [1.0] * len(kept)
    assert missing == len(numbers) - len(kept)


@given(jagged, st.data())
@settings(max_examples=25)
def test_a_weight_of_an_event_is_that_of_its_jets(events: list[list[float | None]], data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.floats(-2, 2), min_size=len(events), max_size=len(events)))
    array = listed(events)
    per_jet = ak.unflatten(np.repeat(sizes, ak.num(array)), ak.num(array))
    for one, other in zip(flat(array, np.array(sizes)), flat(array, per_jet), strict=True):
        np.testing.assert_array_equal(one, other)
    # split and put together, nothing changes
    cut = data.draw(st.integers(0, len(events)))
    parts = [flat(array[part], np.array(sizes[part])) for part in (slice(cut), slice(cut, None))]
    whole = flat(array, np.array(sizes))
    for position in (0, 1):
        np.testing.assert_array_equal(np.concatenate([part[position] for part in parts]), whole[position])
    assert parts[0][2] + parts[1][2] == whole[2]


def test_values_of_every_nesting() -> None:
    for values in (np.arange(4.0), np.arange(4.0).reshape(2, 2), ak.Array([[[0.0]], [[], [1.0, 2.0, 3.0]]]), range(4)):
        assert flat(values)[0].tolist() == [0, 1, 2, 3]
    values, weights, missing = flat(np.arange(4.0).reshape(2, 2), [2.0, 3.0])
    assert (values.tolist(), weights.tolist(), missing) == ([0, 1, 2, 3], [2, 2, 3, 3], 0)
    nothing = flat([], [])
    assert [len(nothing[0]), len(nothing[1]), nothing[2]] == [0, 0, 0]
    assert flat([True, False, None])[0].tolist() == [1, 0]


@pytest.mark.parametrize("jets", [0, 1, 2, 3])
def test_weights_of_events_with_equally_many_jets(jets: int) -> None:
    """NumPy would align rectangular arrays by their last axes, i.e. weights with jets."""
    numbers, sizes = np.arange(2.0 * jets).reshape(2, jets), np.array([5.0, 7.0])
    for array in (numbers, ak.Array(numbers), ak.from_regular(ak.Array(numbers))):
        values, weights, missing = flat(array, sizes)
        assert (values.tolist(), missing) == (numbers.ravel().tolist(), 0)
        assert weights.tolist() == [5.0] * jets + [7.0] * jets
    if jets:
        made = efficiency(numbers < jets, sizes)  # all jets of the first event
        assert made.value == pytest.approx(5 / 12)
        spec = HistSpec("x", [AxisSpec("x", bins=(2, 0, 2 * jets))], categories=[])
        h = spec.make()
        assert spec.fill(h, {"x": numbers}, sizes) == 0
        assert h.values().tolist() == [5 * jets, 7 * jets]


def test_thresholds_on_one_jet_of_each_event_are_those_of_flat_jets() -> None:
    generator = np.random.default_rng(1)
    scores, weights = generator.random(200), generator.exponential(1, 200)
    pt = generator.uniform(200, 400, 200)
    item, wanted = Discriminant.from_string("x"), {"half": 0.5}
    jets = {"x": scores[:, None], "pt": pt[:, None]}
    made = derive(item, jets, wanted, weights=weights, pt=[200, 300, 400])
    expected = derive(item, {"x": scores, "pt": pt}, wanted, weights=weights, pt=[200, 300, 400])
    assert made.record["bins"] == expected.record["bins"]
    with pytest.raises(MismatchError, match=r"1 weights for 200 jets\): arrays of different lengths: 200, 200, 1$"):
        derive(item, {"x": scores, "pt": pt}, wanted, weights=[2.0], pt=[200, 400])


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6))
@settings(max_examples=25)
def test_numbers_of_events_are_repeated_for_their_jets(counts: list[int]) -> None:
    events = np.arange(len(counts))
    jets = ak.unflatten(np.arange(sum(counts)), counts)
    repeated, same = broadcast(events, jets)
    assert ak.flatten(repeated).tolist() == np.repeat(events, counts).tolist()
    assert same.tolist() == jets.tolist()
    with pytest.raises(ValueError, match=rf"^arrays of different lengths: {len(counts) + 1}, {len(counts)}$"):
        broadcast(np.arange(len(counts) + 1), jets)


def test_the_weight_of_a_missing_value_goes_with_it() -> None:
    values, weights, missing = flat(ak.Array([[0.1, None], [np.nan, 0.4]]), ak.Array([[1.0, 20.0], [30.0, 4.0]]))
    assert (values.tolist(), weights.tolist(), missing) == ([0.1, 0.4], [1.0, 4.0], 2)


def test_refused_weights_say_of_what() -> None:
    with pytest.raises(MismatchError, match=r"^3 weights for 2 entries of signal$"):
        flat([0.1, 0.2], [1.0, 1.0, 1.0], what="signal")
    with pytest.raises(MismatchError, match=r"^the weights do not fit the signal: "):
        flat(ak.Array([[0.1], [0.2]]), ak.Array([[1.0], [1.0, 2.0]]), what="signal")
    with pytest.raises(InvalidValues, match=r"^signal: weight of event 8 \(position 1\) is inf; 1 of 2"):
        flat([0.1, 0.2], [1.0, np.inf], what="signal", events=[7, 8])
    with pytest.raises(InvalidValues, match=r"^weight of event at position 0 is nan"):
        flat([0.1], [None])
