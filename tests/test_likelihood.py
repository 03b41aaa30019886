"""The likelihood is that of pyhf, with all kinds of modifiers; its derivatives are those of differences."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime

from jettagger.errors import InvalidValues
from jettagger.statistics.fits import _quiet, model_of
from jettagger.statistics.likelihood import Deviance

pyhf = pytest.importorskip("pyhf")
# jsonschema's own deprecation, which pyhf 0.7 always raises
pytestmark = pytest.mark.filterwarnings("ignore:.*RefResolver.*:DeprecationWarning")


def modifier(kind: str, name: str, data: Any = None) -> dict[str, Any]:
    return {"name": name, "type": kind, "data": data}


def sample(name: str, values: list[float], *modifiers: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "data": values, "modifiers": list(modifiers)}


def sides(up: list[float], down: list[float]) -> dict[str, Any]:
    return {"hi_data": up, "lo_data": down}


MU = modifier("normfactor", "mu")
LUMI = modifier("lumi", "lumi")
JES = modifier("normsys", "jes", {"hi": 1.2, "lo": 0.7})
#: all seven kinds; two regions of different length, given in another order than pyhf's; bins without uncertainty
WORKSPACE: dict[str, Any] = {
    "channels": [
        {
            "name": "SR",
            "samples": [
                sample("X", [3.0, 5.0, 1.0], MU, JES, LUMI, modifier("staterror", "mc_X", [1, 2, 0])),
                sample(
                    "qcd",
                    [50.0, 20.0, 5.0],
                    modifier("histosys", "jes", sides([60, 21, 4], [45, 17, 7])),
                    modifier("normsys", "jes", {"hi": 0.9, "lo": 1.2}),
                    modifier("normsys", "rate", {"hi": 1.5, "lo": 0.6}),
                    modifier("normfactor", "norm_qcd"),
                    modifier("staterror", "mc_SR", [4, 3, 1]),
                ),
                sample(
                    "tt",
                    [20.0, 10.0, 0.0],
                    modifier("histosys", "jer", sides([22, 11, 1], [22, 12, 0])),
                    modifier("histosys", "jes", sides([19, 10, 0], [25, 10, 0])),
                    LUMI,
                    modifier("staterror", "mc_SR", [1, 2, 0]),
                ),
                sample("W", [4.0, 6.0, 2.0], modifier("shapesys", "shape_W", [1, 2, 0]), JES),
            ],
        },
        {
            "name": "CR",
            "samples": [
                sample("qcd", [500.0, 80.0], modifier("normfactor", "norm_qcd"), modifier("shapefactor", "free")),
                sample("tt", [9.0, 1e5], LUMI, modifier("staterror", "mc_CR", [3, 200])),
            ],
        },
    ],
    "observations": [{"name": "SR", "data": [80.0, 30.0, 0.0]}, {"name": "CR", "data": [480.0, 1e5 + 90]}],
    "measurements": [
        {
            "name": "m",
            "config": {
                "poi": "mu",
                "parameters": [
                    {"name": "mu", "bounds": [[-5, 10]], "inits": [1.0]},
                    {"name": "lumi", "auxdata": [1.0], "sigmas": [0.02], "bounds": [[0.9, 1.1]], "inits": [1.0]},
                ],
            },
        }
    ],
    "version": "1.0.0",
}  # fmt: skip
MODEL, DATA = model_of(WORKSPACE)
OURS = Deviance(MODEL)
SEEDS = st.integers(0, 2**32 - 1)


def random_point(seed: int, size: float = 1.0) -> np.ndarray:
    """Parameters on both sides of one deviation, and factors that are positive."""
    generator = np.random.default_rng(seed)
    start = np.asarray(MODEL.config.suggested_init(), dtype=float)
    around_zero, around_one = generator.uniform(-2.5, 2.5, len(start)), generator.uniform(0.7, 1.3, len(start))
    return np.where(start == 0, size * around_zero, 1 + size * (around_one - 1))


@settings(max_examples=60)
@given(seed=SEEDS)
def test_differences_are_those_of_pyhf(seed: int) -> None:
    one, other = random_point(seed), random_point(seed + 1)
    data = np.random.default_rng(seed).poisson(DATA) + np.where(np.arange(len(DATA)) < 5, 0, 0.3)
    ours = OURS(one, data)[0] - OURS(other, data)[0]
    theirs = -2 * (MODEL.logpdf(one, data) - MODEL.logpdf(other, data))
    assert ours == pytest.approx(float(theirs[0]), rel=1e-7, abs=1e-6)


@settings(max_examples=60)
@given(seed=SEEDS)
def test_expectations_are_those_of_pyhf(seed: int) -> None:
    point = random_point(seed)
    np.testing.assert_allclose(OURS.rates(point), MODEL.expected_data(point, include_auxdata=False), rtol=1e-12)


def test_all_kinds_of_modifiers_are_tried() -> None:
    kinds = {item["type"] for region in WORKSPACE["channels"] for s in region["samples"] for item in s["modifiers"]}
    assert kinds == set(pyhf.modifiers.histfactory_set)


@settings(max_examples=30)
@given(seed=SEEDS)
def test_derivatives_are_those_of_differences(seed: int) -> None:
    point = random_point(seed, size=0.9)
    # not across one deviation, where the third derivative jumps
    point = np.where(np.abs(np.abs(point) - 1) < 1e-3, point + 2e-3, point)
    value, gradient = OURS(point, DATA)
    np.testing.assert_allclose(
        gradient, approx_fprime(point, lambda x: OURS(x, DATA)[0], 1e-7), rtol=2e-4, atol=2e-5 * value
    )
    hessian = OURS.hessian(point, DATA, np.ones(len(point)))
    numerical = approx_fprime(point, lambda x: OURS(x, DATA)[1], 1e-7)
    np.testing.assert_allclose(hessian, hessian.T)
    size = np.sqrt(np.outer(*2 * [np.diag(np.abs(hessian)) + 1]))
    np.testing.assert_allclose(hessian / size, numerical / size, atol=2e-4)


def test_the_saturated_model_is_zero() -> None:
    """Also with 10^9 events, where ln L has no digits left for a difference of 1e-8."""
    space = copy.deepcopy(WORKSPACE)
    space["channels"][0]["samples"][1]["data"][0] = 1e9
    model, _ = model_of(space)
    ours, point = Deviance(model), np.asarray(model.config.suggested_init(), dtype=float)
    data = np.asarray(model.expected_data(point), dtype=float)
    value, gradient = ours(point, data)
    assert value == 0
    assert not gradient.any()
    point[model.config.poi_index] += 1e-3
    change = np.asarray([3e-3, 5e-3, 1e-3]) / ours.rates(point)[2:]
    expected = float(np.square(change) @ data[2:5])
    assert ours(point, data)[0] == pytest.approx(expected, rel=1e-3)


def test_where_there_is_no_likelihood_it_is_not_finite() -> None:
    point = np.asarray(MODEL.config.suggested_init(), dtype=float)
    point[MODEL.config.poi_index] = -1e3
    assert not np.isfinite(OURS(point, DATA)[0])


def test_other_interpolations_are_refused() -> None:
    with _quiet():
        model = pyhf.Workspace(WORKSPACE).model(
            modifier_settings={"normsys": {"interpcode": "code1"}, "histosys": {"interpcode": "code0"}}
        )
    with pytest.raises(InvalidValues, match=r"pyhf expects other numbers of .*default interpolations"):
        Deviance(model)
