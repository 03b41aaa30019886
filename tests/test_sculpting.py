"""Measures of sculpting, against scipy and closed forms."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.integrate import quad
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, norm

from jettagger.decorrelation import (
    cut_at,
    divergence,
    efficiency_profile,
    jensen_shannon,
    operating_point,
    spectrum,
)
from jettagger.decorrelation.sculpting import effective_number
from jettagger.errors import ConfigError, InvalidValues, MismatchError
from jettagger.statistics.bootstrap import event_replicas

EDGES = np.arange(30.0, 251.0, 10.0)
contents = arrays(np.float64, 8, elements=st.floats(0, 1e6)).filter(lambda x: x.sum() > 1e-6)


def jets(number: int = 20_000, seed: int = 1) -> tuple[np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return rng.uniform(30, 250, number), rng


@given(contents, contents, st.sampled_from([2.0, math.e, 10.0]))
def test_the_divergence_is_that_of_scipy_and_lies_within_its_bounds(p, q, base):
    found = jensen_shannon(p, q, base)
    assert found == pytest.approx(np.nan_to_num(jensenshannon(p, q, base)) ** 2, abs=1e-9)
    assert 0 <= found <= math.log(2) / math.log(base) + 1e-12


@given(contents, contents, st.floats(0.01, 100))
def test_the_divergence_is_symmetric_and_ignores_normalisation_and_order(p, q, factor):
    found = jensen_shannon(p, q)
    assert found == pytest.approx(jensen_shannon(q, p), abs=1e-12)
    assert found == pytest.approx(jensen_shannon(p * factor, q), abs=1e-12)
    assert found == pytest.approx(jensen_shannon(p[::-1], q[::-1]), abs=1e-12)
    assert jensen_shannon(p, p) == pytest.approx(0, abs=1e-12)


@given(contents, contents)
def test_splitting_a_bin_in_equal_proportions_changes_nothing(p, q):
    halves = [np.repeat(x, 2) / 2 for x in (p, q)]
    assert jensen_shannon(*halves) == pytest.approx(jensen_shannon(p, q), abs=1e-12)


@pytest.mark.parametrize(
    ("p", "q", "base", "error"),
    [
        ([1, 2], [1, 2, 3], 2.0, MismatchError),
        ([1, -2], [1, 2], 2.0, InvalidValues),
        ([0, 0], [1, 2], 2.0, InvalidValues),
        ([1, np.nan], [1, 2], 2.0, InvalidValues),
        ([1, 2], [1, 2], 1.0, ConfigError),
    ],
)
def test_histograms_that_have_no_divergence_are_refused(p, q, base, error):
    with pytest.raises(error):
        jensen_shannon(p, q, base)


def test_the_divergence_of_a_known_cut_is_that_of_integration():
    mass, rng = jets(60_000)
    # passing with a probability that rises linearly in the mass
    passes = rng.random(len(mass)) < (mass - 30) / 220
    bins = np.linspace(30, 250, 12)
    rising = [quad(lambda m: 2 * (m - 30) / 220**2, low, high)[0] for low, high in itertools.pairwise(bins)]
    expected = jensenshannon(np.ones(11), rising, 2) ** 2
    found = divergence(mass, passes, edges=bins)
    assert found.value.value == pytest.approx(expected, abs=4 * found.value.uncertainty)
    assert found.value.uncertainty < 0.04 * expected
    assert found.efficiency == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_floor_is_what_random_subsets_show(weighted):
    mass, rng = jets(6000)
    weights = rng.uniform(0.2, 2, len(mass)) if weighted else None
    bins = np.linspace(30, 250, 12)
    found = [divergence(mass, rng.random(len(mass)) < 0.1, weights, edges=bins, replicas=20) for _ in range(60)]
    values, floors = (np.array([getattr(x, name).value for x in found]) for name in ("value", "floor"))
    assert values.mean() == pytest.approx(floors.mean(), rel=4 * values.std() / values.mean() / math.sqrt(60))
    # second order in the fluctuations: bins - 1 degrees of freedom, less what both have in common
    assert found[0].floor.uncertainty == pytest.approx(values.std(), rel=0.6)
    if not weighted:
        expected = 10 * np.mean([1 / x.after.jets - 1 / x.before.jets for x in found]) / (8 * math.log(2))
        assert floors.mean() == pytest.approx(expected, rel=0.05)


def test_the_bootstrap_covers_the_spread_of_repeated_samples():
    found = []
    for seed in range(60):
        mass, rng = jets(4000, seed)
        found.append(divergence(mass, rng.random(len(mass)) < (mass - 30) / 500, edges=EDGES[::2], replicas=40).value)
    spread = np.std([item.value for item in found])
    assert np.mean([item.uncertainty for item in found]) == pytest.approx(spread, rel=0.4)


def test_all_jets_of_an_event_vary_together():
    mass, rng = jets(3000)
    passes = rng.random(len(mass)) < (mass - 30) / 300
    double = [np.repeat(array, 2) for array in (mass, passes)]
    alone = divergence(mass, passes, edges=EDGES)
    together = divergence(*double, events=np.arange(len(double[0])) // 2, edges=EDGES)
    apart = divergence(*double, edges=EDGES)
    assert together.value.uncertainty == pytest.approx(alone.value.uncertainty, rel=1e-9)
    assert apart.value.uncertainty < 0.8 * together.value.uncertainty
    multiplicities = event_replicas(np.repeat(np.arange(2000), 2))(5)
    assert (multiplicities[::2] == multiplicities[1::2]).all()
    assert multiplicities.mean() == pytest.approx(1, abs=0.1)


@settings(max_examples=25)
@given(st.floats(0.1, 50), st.floats(0.1, 10), st.integers(0, 100))
def test_units_and_the_scale_of_weights_change_nothing(unit, scale, seed):
    mass, rng = jets(500, seed)
    passes, weights = rng.random(500) < 0.3, rng.uniform(0.5, 2, 500)
    found = divergence(mass, passes, weights, edges=EDGES, replicas=5)
    other = divergence(mass * unit, passes, weights * scale, edges=EDGES * unit, replicas=5)
    if np.array_equal(np.digitize(mass, EDGES), np.digitize(mass * unit, EDGES * unit)):
        assert other.value.value == pytest.approx(found.value.value, rel=1e-9)
        assert other.floor.value == pytest.approx(found.floor.value, rel=1e-9)
    assert 0 <= found.value.value <= 1


def test_another_base_changes_the_unit_alone():
    mass, rng = jets(3000)
    passes = rng.random(3000) < (mass - 30) / 300
    bits, nats = (divergence(mass, passes, edges=EDGES, base=base) for base in (2.0, math.e))
    for name in ("value", "floor"):
        assert getattr(nats, name).value == pytest.approx(getattr(bits, name).value * math.log(2))
        assert getattr(nats, name).uncertainty == pytest.approx(getattr(bits, name).uncertainty * math.log(2))
    inverse = bits.inverse
    assert inverse.value == pytest.approx(1 / bits.value.value)
    assert inverse.uncertainty / inverse.value == pytest.approx(bits.value.uncertainty / bits.value.value)
    assert inverse.value < bits.inverse_floor.value


def test_what_lies_outside_the_edges_is_counted():
    mass = np.array([20, 35, 45, 55, 249, 250, np.nan, 300])
    passes = np.array([True, True, True, False, True, True, True, False])
    found = divergence(mass, passes, edges=EDGES, replicas=10)
    assert (found.before.jets, found.before.outside) == (4, 4)
    assert (found.after.jets, found.after.outside) == (3, 3)
    alone = spectrum(mass, passes, edges=EDGES)
    assert alone.content() == found.after.content()
    assert alone.fractions.sum() == pytest.approx(1)


def test_bins_that_are_negative_are_merged_and_counted():
    mass = np.repeat([35.0, 45.0, 55.0, 65.0], 50)
    weights = np.ones(200)
    weights[50:90] = -1.5  # the second bin
    weights[100:150] = 2
    weights[199] = -55  # the last one
    found = divergence(mass, np.arange(200) % 2 == 0, weights, edges=[30, 40, 50, 60, 70], replicas=10)
    assert found.merged == 2
    assert found.after.edges.tolist() == found.before.edges.tolist() == [30, 40, 70]
    assert (found.before.fractions >= 0).all()
    assert (found.after.fractions >= 0).all()
    weights[199] = -110
    with pytest.raises(InvalidValues, match="no two bins"):
        divergence(mass, np.arange(200) % 2 == 0, weights, edges=[30, 40, 50, 60, 70])
    with pytest.raises(InvalidValues, match="sum of weights of -"):
        divergence(mass, np.arange(200) % 2 == 0, -np.ones(200), edges=EDGES)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"edges": [1, 1, 2]}, ConfigError, "rising"),
        ({"edges": [1, 2]}, ConfigError, "at least 3"),
        ({"passes": [True]}, MismatchError, "1 decisions for 4 jets"),
        ({"passes": [False] * 4}, InvalidValues, "0 jets"),
        ({"weights": [1, 1, np.nan, 1]}, InvalidValues, "1 weights"),
        ({"weights": [1.0]}, MismatchError, "1 weights for 4 jets"),
        ({"events": [1]}, MismatchError, "1 events for 4 jets"),
        ({"base": 0.5}, ConfigError, "above 1"),
        ({"values": [np.nan] * 4}, InvalidValues, "0 jets"),
    ],
)
def test_bad_input_is_refused(change, error, text):
    arguments = {"values": [40.0, 50, 60, 70], "passes": [True] * 4, "edges": EDGES} | change
    with pytest.raises(error, match=text):
        divergence(**arguments)


@given(st.floats(0, 1), st.integers(1, 300), st.integers(0, 50))
def test_a_cut_is_the_highest_one_that_is_loose_enough(efficiency, number, seed):
    rng = np.random.default_rng(seed)
    scores, weights = rng.integers(0, 20, number).astype(float), rng.uniform(0.1, 2, number)
    cut = cut_at(scores, efficiency, weights)
    total = weights.sum()
    assert weights[scores >= cut].sum() >= efficiency * total * (1 - 1e-9)
    if efficiency > 1e-6:
        assert weights[scores > cut].sum() < efficiency * total * (1 + 1e-9)


def test_a_cut_needs_scores_and_an_efficiency():
    with pytest.raises(ConfigError, match=r"between 0 and 1, got 1\.5"):
        cut_at([1.0], 1.5)
    for scores in ([], [np.nan]):
        with pytest.raises(InvalidValues, match="finite scores"):
            cut_at(np.array(scores), 0.5)


@pytest.mark.slow
def test_the_operating_point_of_gaussians_is_the_closed_form():
    rng = np.random.default_rng(5)
    mass, score = rng.uniform(30, 250, 60_000), rng.normal(size=60_000)
    point = operating_point(rng.normal(1.5, 1, 20_000), score, mass, edges=EDGES)
    expected = 1 / norm.sf(1.5)
    assert point.rejection.value == pytest.approx(expected, abs=4 * point.rejection.uncertainty)
    # binomial, and the threshold: the density of both samples there
    slope = norm.pdf(1.5) / norm.sf(1.5)
    threshold = math.sqrt(0.25 / 20_000) / norm.pdf(0) * slope
    relative = math.hypot(math.sqrt(expected / 60_000), threshold)
    assert point.rejection.uncertainty / expected == pytest.approx(relative, rel=0.25)
    # a score that knows nothing of the mass: at the floor
    shape = point.divergence
    assert shape.value.value == pytest.approx(shape.floor.value, abs=5 * shape.floor.uncertainty)
    json.dumps(point.content(), allow_nan=False)


def test_points_on_the_same_jets_are_compared_more_precisely_than_alone():
    rng = np.random.default_rng(6)
    mass = rng.uniform(30, 250, 20_000)
    background, signal = rng.normal(size=20_000), rng.normal(2, 1, 5000)
    first = operating_point(signal, background, mass, edges=EDGES)
    second = operating_point(signal + 0.1 * rng.normal(size=5000), background + 0.1, mass, edges=EDGES)
    kept = second.retained(first)
    assert kept.value == pytest.approx(second.rejection.value / first.rejection.value)
    assert kept.uncertainty / kept.value < 0.5 * first.rejection.uncertainty / first.rejection.value
    assert first.retained(first).value == 1
    assert first.retained(first).uncertainty == 0
    with pytest.raises(MismatchError, match="200 and 5"):
        first.retained(operating_point(signal, background, mass, edges=EDGES, replicas=5))


def test_an_operating_point_needs_all_scores():
    with pytest.raises(InvalidValues, match="background: 1 of 2 scores"):
        operating_point([1.0], [1.0, np.nan], [50.0, 60.0], edges=EDGES)


def test_flatness_without_weights_is_the_test_of_contingency():
    mass, rng = jets(5000)
    passes = rng.random(5000) < 0.2
    found = efficiency_profile(mass, passes, edges=EDGES)
    table = [np.histogram(mass[mask], EDGES)[0] for mask in (passes, ~passes)]
    reference = chi2_contingency(table, correction=False)
    assert (found.chi2, found.ndf) == (pytest.approx(reference.statistic), reference.dof)
    assert found.probability == pytest.approx(reference.pvalue)
    assert sum(found.jets) == 5000


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
def test_probabilities_of_flat_efficiencies_are_uniform(weighted):
    found = []
    for seed in range(80):
        mass, rng = jets(1500, seed)
        weights = rng.uniform(0.5, 1.5, 1500) if weighted else None
        found.append(efficiency_profile(mass, rng.random(1500) < 0.2, weights, edges=EDGES[::5]).probability)
    assert np.mean(found) == pytest.approx(0.5, abs=4 / math.sqrt(12 * 80))
    assert np.std(found) == pytest.approx(1 / math.sqrt(12), rel=0.25)


def test_an_efficiency_that_rises_is_not_flat():
    mass, rng = jets(5000)
    found = efficiency_profile(mass, rng.random(5000) < (mass - 30) / 400, edges=EDGES)
    assert found.probability < 1e-6
    first, last = found.efficiencies[0], found.efficiencies[-1]
    assert first is not None
    assert last is not None
    assert first.value < 0.1 < 0.4 < last.value


def test_thin_bins_are_merged_before_flatness_and_empty_ones_have_no_efficiency():
    mass, rng = jets(400)
    mass = np.where(mass > 200, np.nan, mass)
    found = efficiency_profile(mass, rng.random(400) < 0.1, edges=EDGES)
    assert found.ndf < 17
    assert found.efficiencies[-1] is None
    assert found.outside == np.count_nonzero(np.isnan(mass))
    assert json.loads(json.dumps(found.content(), allow_nan=False))["efficiencies"][-1] is None
    for passes in (np.zeros(400, bool), np.ones(400, bool)):
        assert efficiency_profile(mass, passes, edges=EDGES).ndf == 0
    assert efficiency_profile(mass, passes, edges=EDGES).content()["probability"] is None


def test_a_profile_needs_matching_columns():
    with pytest.raises(MismatchError, match="1 decisions for 2 jets"):
        efficiency_profile([50.0, 60.0], [True], edges=EDGES)
    with pytest.raises(InvalidValues, match="1 weights are not finite"):
        efficiency_profile([50.0, 60.0], [True, False], [1.0, np.inf], edges=EDGES)


@given(arrays(np.float64, st.integers(1, 30), elements=st.floats(0.01, 100)))
def test_the_effective_number_is_at_most_the_number(weights):
    assert 1 - 1e-9 <= effective_number(weights) <= len(weights) + 1e-9
    assert effective_number(np.ones(len(weights))) == len(weights)
