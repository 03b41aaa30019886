"""Bins without simulated events: what one event weighs there, what they get, which are merged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettagger.statistics.bins import Template, effective_events, event_weights, fill_empty, groups

events = st.lists(st.tuples(st.integers(0, 4), st.floats(0.01, 1e5)), min_size=1, max_size=40)


def sums(weighted: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    places, weights = (np.asarray(column) for column in zip(*weighted, strict=True))
    return (
        np.bincount(places, weights, minlength=5),
        np.bincount(places, np.square(weights), minlength=5),
    )


@given(number=st.integers(1, 1000), weight=st.floats(1e-3, 1e5))
def test_events_of_equal_weight_are_counted(number: int, weight: float) -> None:
    values, variances = np.array([number * weight]), np.array([number * weight**2])
    assert effective_events(values, variances)[0] == pytest.approx(number)
    assert event_weights(values, variances)[0] == pytest.approx(weight)  # type: ignore[index]


@given(events)
def test_an_empty_bin_gets_an_event_of_the_weights_that_there_are(weighted: list[tuple[int, float]]) -> None:
    values, variances = sums(weighted)
    weights = event_weights(values, variances)
    assert weights is not None
    sizes = [weight for _, weight in weighted]
    assert (weights >= min(sizes) * (1 - 1e-9)).all()
    assert (weights <= max(sizes) * (1 + 1e-9)).all()
    filled, empty = fill_empty(Template(values, variances, {"jes": (values * 1.1, values * 0.9)}), weights)
    assert empty.tolist() == [i for i in range(5) if i not in {place for place, _ in weighted}]
    full = np.setdiff1d(np.arange(5), empty)
    np.testing.assert_array_equal(filled.values[full], values[full])
    np.testing.assert_array_equal(filled.values[empty], weights[empty])
    np.testing.assert_allclose(np.sqrt(filled.variances[empty]), weights[empty])
    # no uncertainty is larger than the yield, which no factor of a fit could follow
    assert (np.sqrt(filled.variances) <= filled.values * (1 + 1e-9)).all()
    np.testing.assert_allclose(filled.shifts["jes"][0][empty], weights[empty])


def test_weights_of_both_signs_that_cancel_are_no_event() -> None:
    values, variances = np.array([0.5, 10.0, 0.0]), np.array([50.0, 20.0, 18.0])
    assert event_weights(values, variances).tolist() == [2.0, 2.0, 2.0]  # type: ignore[union-attr]
    filled, empty = fill_empty(Template(values, variances, {}), np.array([2.0, 2.0, 2.0]))
    assert empty.tolist() == [0, 2]
    np.testing.assert_allclose(filled.values, [np.sqrt(50), 10, np.sqrt(18)])
    assert event_weights(np.zeros(2), np.zeros(2)) is None


@given(st.dictionaries(st.sampled_from("abc"), events, min_size=1), st.floats(0.5, 10))
def test_merged_bins_have_the_events(contents: dict[str, list[tuple[int, float]]], needed: float) -> None:
    made = {name: sums(weighted) for name, weighted in contents.items()}
    starts, lacking = groups(made, needed)
    for name, (values, variances) in made.items():
        merged = effective_events(np.add.reduceat(values, starts), np.add.reduceat(variances, starts))
        assert (name in lacking) == (effective_events(values.sum(keepdims=True), variances.sum(keepdims=True)) < needed)
        if not lacking:
            assert (merged >= needed * (1 - 1e-12)).all()
    assert starts[0] == 0


def test_bins_are_merged_from_the_right() -> None:
    values = np.array([50.0, 20.0, 9.0, 4.0, 1.0, 0.0])
    assert groups({"qcd": (values, values)}, 5.0) == ([0, 1, 2, 3], {})
    assert groups({"qcd": (values, values)}, 84.5) == ([0], {"qcd": 84.0})
    assert groups({"qcd": (values, values), "tt": (values[::-1], values[::-1])}, 10) == ([0], {})
    assert groups({"qcd": (values, values), "tt": (values[::-1], values[::-1])}, 1) == ([0, 2, 3, 4], {})
