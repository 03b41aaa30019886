"""Derivatives and covariances of the likelihood, against differences, pyhf and fits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyhf", reason="the extra stats is not installed")

from jettagger.statistics.fits import Likelihood, fit, toys_at

pytestmark = pytest.mark.filterwarnings("ignore:.*RefResolver.*:DeprecationWarning")


def workspace() -> dict[str, Any]:
    """A factor that moves events between two regions, a shape, and few simulated events."""

    def modifiers(name: str, errors: list[float], sides: list[list[float]], *factors: str) -> list[dict[str, Any]]:
        return [
            {"name": "tilt", "type": "histosys", "data": {"hi_data": sides[0], "lo_data": sides[1]}},
            {"name": "size", "type": "normsys", "data": {"hi": 1.1, "lo": 0.92}},
            {"name": name, "type": "staterror", "data": errors},
            *({"name": factor, "type": "normfactor", "data": None} for factor in factors),
        ]

    moved = modifiers("stat_low", [0.0, 0.0], [[-22.0, -18.0], [-18.0, -23.0]], "kappa")
    low = modifiers("stat_low", [4.0, 3.0], [[66.0, 54.0], [54.0, 69.0]])
    high = modifiers("stat_high", [3.0, 2.0], [[31.0, 22.0], [29.0, 19.0]], "kappa")
    return {
        "channels": [
            {
                "name": "low",
                "samples": [
                    {"name": "a", "data": [60.0, 60.0], "modifiers": low},
                    {"name": "a_moved", "data": [-20.0, -20.0], "modifiers": moved},
                ],
            },
            {"name": "high", "samples": [{"name": "a", "data": [30.0, 20.0], "modifiers": high}]},
        ],
        "observations": [{"name": "low", "data": [44.0, 37.0]}, {"name": "high", "data": [25.0, 22.0]}],
        "measurements": [{"name": "m", "config": {"poi": "kappa", "parameters": []}}],
        "version": "1.0.0",
    }


def test_negative_samples_are_expected_as_by_pyhf_and_leave_rates_positive() -> None:
    likelihood = Likelihood(workspace(), None, None)
    generator = np.random.default_rng(1)
    low, high = np.maximum(likelihood.low, -2), np.minimum(likelihood.high, 2)
    for _ in range(20):
        point = generator.uniform(low, high)
        theirs = np.asarray(likelihood.model.expected_data(point, include_auxdata=False))
        np.testing.assert_allclose(likelihood.deviance.rates(point), theirs, rtol=1e-12)
        contents = likelihood.deviance.contents(point)
        np.testing.assert_allclose(np.concatenate([contents[0] + contents[1], contents[2]]), theirs[[2, 3, 0, 1]])
        assert (theirs > 0).all()


def test_first_derivatives_are_those_of_differences() -> None:
    likelihood = Likelihood(workspace(), None, None)
    point = likelihood.start + 0.1
    jacobian = likelihood.deviance.jacobian(point)
    for parameter in range(len(point)):
        change = np.zeros(len(point))
        change[parameter] = 1e-5
        above, below = likelihood.deviance.rates(point + change), likelihood.deviance.rates(point - change)
        np.testing.assert_allclose(jacobian[:, parameter], (above - below) / 2e-5, rtol=1e-6, atol=1e-6)


def test_the_covariance_is_the_inverse_of_second_differences_of_pyhf() -> None:
    import pyhf

    likelihood = Likelihood(workspace(), None, None)
    point, _ = likelihood.minimise(likelihood.data, "fit")
    covariance = likelihood.covariance(point, likelihood.data, "fit")
    number, step = len(point), 1e-3

    def value(*changes: int) -> float:
        moved = point.copy()
        for change in changes:
            moved[abs(change) - 1] += np.sign(change) * step
        return float(pyhf.infer.mle.twice_nll(moved, likelihood.data, likelihood.model)[0])

    hessian = np.empty((number, number))
    for i in range(1, number + 1):
        for j in range(1, number + 1):
            hessian[i - 1, j - 1] = (value(i, j) - value(i, -j) - value(-i, j) + value(-i, -j)) / (4 * step**2)
    np.testing.assert_allclose(covariance, np.linalg.inv(hessian / 2), rtol=2e-3, atol=1e-5)


def test_random_data_sets_have_the_expectation_and_the_seed() -> None:
    likelihood = Likelihood(workspace(), None, None)
    truth = likelihood.start + 0.2
    drawn = toys_at(likelihood.model, truth, 4000, seed=1)
    expected = np.asarray(likelihood.model.expected_data(truth))
    assert (np.abs(drawn.mean(axis=0) - expected) < 4 * drawn.std(axis=0) / 4000**0.5).all()
    assert np.array_equal(drawn, toys_at(likelihood.model, truth, 4000, seed=1))


def test_uncertainties_are_the_diagonal_and_none_at_bounds() -> None:
    found = fit(workspace())
    np.testing.assert_allclose(np.square(found.uncertainties), np.diag(found.covariance))
    assert found.strength == (found.values[found.names.index("kappa")], found.uncertainties[found.names.index("kappa")])
    bounded = fit(workspace(), bounds=(0.0, 0.5))
    position = bounded.names.index("kappa")
    assert bounded.values[position] == pytest.approx(0.5)
    assert not bounded.covariance[position].any()
    likelihood = Likelihood(workspace(), (0.0, 0.5), None)
    assert np.flatnonzero(likelihood.at_bounds(bounded.values)).tolist() == [position]


def test_parameters_can_be_held() -> None:
    likelihood = Likelihood(workspace(), None, None)
    names = likelihood.model.config.par_names
    held = {names.index("tilt"): 0.7, names.index("size"): -0.3}
    point, value = likelihood.minimise(likelihood.data, "fit", fixed=held)
    assert all(point[position] == number for position, number in held.items())
    assert value >= likelihood.minimise(likelihood.data, "fit")[1]
