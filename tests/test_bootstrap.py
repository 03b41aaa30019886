"""Quantiles in bins against NumPy, their bootstrap uncertainties against SciPy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from jettagger.statistics.bootstrap import BinnedQuantiles, event_replicas

FRACTIONS = [0.16, 0.25, 0.5, 0.75, 0.84]
numbers = st.lists(st.tuples(st.integers(-1, 3), st.floats(-1e3, 1e3), st.integers(0, 4)), max_size=40)


@given(numbers)
def test_whole_weights_are_repeated_jets_and_bins_do_not_mix(jets):
    bins, values, weights = (np.array(column) for column in (zip(*jets, strict=True) if jets else ([], [], [])))
    found = BinnedQuantiles(values, bins.astype(int), 4).at(weights.astype(float), FRACTIONS)
    for number in range(4):
        mask = (bins == number) & (weights > 0)
        if not mask.any():
            assert np.isnan(found[:, number]).all()
            continue
        distinct = values[mask]
        if len(set(weights[mask])) == 1:  # of equal weights the quantiles are those of Hazen
            expected = np.quantile(distinct, FRACTIONS, method="hazen")
            assert found[:, number] == pytest.approx(expected, rel=1e-9, abs=1e-9)
        # always between the neighbours of the inverse of the weighted cumulative distribution
        order = np.argsort(distinct, kind="stable")
        steps = np.quantile(distinct, FRACTIONS, method="inverted_cdf", weights=weights[mask])
        places = np.searchsorted(distinct[order], steps)
        low = distinct[order][np.maximum(places - 1, 0)]
        high = distinct[order][np.minimum(np.searchsorted(distinct[order], steps, side="right"), len(order) - 1)]
        assert (found[:, number] >= low - 1e-9).all()
        assert (found[:, number] <= high + 1e-9).all()


def test_a_jet_may_be_in_several_bins():
    values = np.array([3.0, 1.0, 2.0, 5.0])
    found = BinnedQuantiles(values, np.array([[0, 0, 0, 0], [1, -1, 2, 1]]), 3).at(np.ones(4), [0.5])
    assert found.tolist() == [[2.5, 4.0, 2.0]]


def test_negative_weights_cancel_jets_of_the_same_value():
    rng = np.random.default_rng(5)
    values, bins = rng.normal(size=4000), rng.integers(0, 2, 4000)
    doubled = np.concatenate([values, values[:500], values[:500] + 1e-9])
    weights = np.concatenate([np.ones(4500), -np.ones(500)])
    found = BinnedQuantiles(doubled, np.concatenate([bins, bins[:500], bins[:500]]), 2).at(weights, FRACTIONS)
    expected = BinnedQuantiles(values, bins, 2).at(np.ones(4000), FRACTIONS)
    assert found == pytest.approx(expected, abs=0.01)
    none = BinnedQuantiles(values, bins, 2).at(-np.ones(4000), [0.5])
    assert np.isnan(none).all()


def spread(values: np.ndarray, replicas: int = 400, statistic=lambda q25, q50, q75: (q75 - q25) / q50) -> float:
    jets = BinnedQuantiles(values, np.zeros(len(values), int), 1)
    draw = event_replicas(np.arange(len(values)), 3)
    found = [statistic(*jets.at(draw(number), [0.25, 0.5, 0.75])[:, 0]) for number in range(replicas)]
    return float(np.std(found, ddof=1))


def test_replicas_have_the_standard_error_of_scipy_bootstrap():
    values = np.random.default_rng(2).normal(1.0, 0.15, 500)

    def resolution(sample, axis):
        q25, q50, q75 = np.percentile(sample, [25, 50, 75], axis=axis)
        return (q75 - q25) / q50

    reference = stats.bootstrap((values,), resolution, n_resamples=1000, method="percentile", rng=7).standard_error
    assert spread(values) == pytest.approx(reference, rel=0.12)  # each is known to 3 and 2 per cent, ties differ


def test_replicas_have_the_asymptotic_variance_of_quantiles():
    """Of normal responses: 1/4 / (n f^2) for the median; for the difference of quartiles with their covariance."""
    number, width = 4000, 0.1
    values = stats.norm(1.0, width).ppf((np.arange(number) + 0.5) / number)
    centre, side = (stats.norm(0, width).pdf(width * stats.norm.ppf(p)) for p in (0.5, 0.25))
    median = np.sqrt(0.25 / number) / centre
    span = np.sqrt((3 / 16 + 3 / 16 - 2 / 16) / number) / side
    assert spread(values, statistic=lambda q25, q50, q75: q50) == pytest.approx(median, rel=0.12)
    assert spread(values, statistic=lambda q25, q50, q75: q75 - q25) == pytest.approx(span, rel=0.12)
