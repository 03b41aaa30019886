"""The pivot toy: closed forms by integration, and what methods reach on it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.pivot import (
    Performance,
    log_ratio,
    optimal_test,
    performance,
    similar_score,
    similar_test,
    toy,
    train_disco,
    x1_test,
)


@pytest.fixture(scope="module")
def optimal() -> Performance:
    return optimal_test()


@pytest.fixture(scope="module")
def similar() -> Performance:
    return similar_test()


def test_closed_forms(optimal: Performance, similar: Performance) -> None:
    """As published for the toy, to the digits given: the first from a sample, the others from integrals."""
    assert optimal.rejection == pytest.approx(44.4, rel=0.003)
    assert [optimal.efficiencies[z] for z in (-1, 0, 1)] == pytest.approx([0.238, 0.500, 0.760], abs=0.0015)
    assert similar.rejection == pytest.approx(6.519, abs=0.0005)
    assert similar.auc == pytest.approx(0.764, abs=0.0005)
    assert list(similar.efficiencies.values()) == pytest.approx([0.5] * 3, abs=1e-9)
    alone = x1_test()
    assert (alone.rejection, alone.auc) == pytest.approx((6.303, 0.760), abs=0.0005)
    assert alone.rejection < similar.rejection < optimal.rejection


def test_samples_agree_with_the_closed_forms(optimal: Performance, similar: Performance) -> None:
    for score, expected in (
        (log_ratio, optimal),
        (similar_score, similar),
        (lambda x: x[:, 0], x1_test()),
    ):
        found = performance(score, (-1, 0, 1), events=100_000)
        error = math.sqrt(expected.rejection / 50_000) + 2 * 0.7 / math.sqrt(
            100_000
        )  # of class 0, and of the threshold
        assert found.rejection == pytest.approx(expected.rejection, rel=4 * error)
        assert list(found.efficiencies.values()) == pytest.approx(list(expected.efficiencies.values()), abs=0.012)
        if not math.isnan(expected.auc):
            assert found.auc == pytest.approx(expected.auc, abs=0.006)


def test_events_are_those_of_the_definition() -> None:
    events = toy(40_000, seed=3)
    one = events.label == 1
    np.testing.assert_allclose(np.cov(events.x[~one].T), [[1, -0.5], [-0.5, 1]], atol=0.03)
    np.testing.assert_allclose(events.x[~one].mean(axis=0), 0, atol=0.03)
    rest = events.x[one] - np.stack([np.ones(one.sum()), 1 + events.z[one]], axis=1)
    np.testing.assert_allclose(np.cov(rest.T), np.eye(2), atol=0.03)
    np.testing.assert_allclose(rest.mean(axis=0), 0, atol=0.03)
    assert np.corrcoef(events.z[~one], events.x[~one, 1])[0, 1] == pytest.approx(0, abs=0.03)


def spread(found: Performance) -> float:
    return max(abs(value - 0.5) for value in found.efficiencies.values())


def test_distance_correlation_turns_away_from_the_optimal_test(optimal: Performance) -> None:
    pytest.importorskip("torch", reason="the extra train is not installed")
    score = train_disco(30, events=16_000, epochs=10, batch=1000)
    found = performance(score, (-2, -1, 0, 1, 2), events=40_000)
    assert 5.5 < found.rejection < 10 < optimal.rejection
    assert spread(found) < 0.1


@pytest.mark.slow  # 15 s
def test_distance_correlation_reaches_the_best_test_that_does_not_depend_on_z(similar: Performance) -> None:
    pytest.importorskip("torch", reason="the extra train is not installed")
    found = performance(train_disco(30))
    assert found.rejection == pytest.approx(similar.rejection, rel=0.08)
    assert spread(found) < 0.03


@pytest.mark.long  # 30 s
def test_the_strength_moves_from_one_closed_form_to_the_other(optimal: Performance, similar: Performance) -> None:
    pytest.importorskip("torch", reason="the extra train is not installed")
    found = [performance(train_disco(strength, epochs=12)) for strength in (0, 1, 10)]
    rejections = [item.rejection for item in found]
    assert optimal.rejection * 1.02 > rejections[0] > rejections[1] > rejections[2] > similar.rejection * 0.92
    assert spread(found[0]) > spread(found[1]) > spread(found[2])
