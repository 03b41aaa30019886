"""Limits: those of pyhf and of closed forms, also where bins are empty, signals large, and a minimiser gives up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jettagger.errors import InvalidValues, UnknownName
from jettagger.statistics import limits
from jettagger.statistics.fits import MINIMISERS, Likelihood, fit, model_of
from jettagger.statistics.limits import limit, save_limits

pyhf = pytest.importorskip("pyhf")
# jsonschema's own deprecation, which pyhf 0.7 always raises
pytestmark = pytest.mark.filterwarnings("ignore:.*RefResolver.*:DeprecationWarning")


def floats(values: Sequence[float]) -> list[float]:
    return [float(value) for value in values]


def workspace(
    signal: Sequence[float], background: Sequence[float], data: Sequence[float], *modifiers: dict[str, Any]
) -> dict[str, Any]:
    """One region, one background."""
    strength = {"name": "mu", "type": "normfactor", "data": None}
    parameter = {"name": "mu", "bounds": [[0, 10]], "inits": [1]}
    samples = [
        {"name": "s", "data": floats(signal), "modifiers": [strength]},
        {"name": "b", "data": floats(background), "modifiers": list(modifiers)},
    ]
    return {
        "channels": [{"name": "SR", "samples": samples}],
        "observations": [{"name": "SR", "data": floats(data)}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": [parameter]}}],
        "version": "1.0.0",
    }


def statistics(*errors: float) -> dict[str, Any]:
    return {"name": "mcstat", "type": "staterror", "data": floats(errors)}


def norm(size: float) -> dict[str, Any]:
    return {"name": "norm", "type": "normsys", "data": {"hi": 1 + size, "lo": 1 / (1 + size)}}


def shape(up: Sequence[float], down: Sequence[float]) -> dict[str, Any]:
    return {"name": "jes", "type": "histosys", "data": {"hi_data": floats(up), "lo_data": floats(down)}}


MODELS = {
    "no background": workspace([1], [0], [0]),
    "no background, one event": workspace([1], [0], [1]),
    "floors": workspace([1, 1], [1e-3, 1e-3], [0, 0], statistics(1e-3, 1e-3)),
    "empty bins": workspace([2, 5, 1], [50, 1e-3, 3], [47, 0, 4], statistics(10, 1e-3, 2), norm(0.3)),
    "large signal": workspace([1000, 2000], [5, 1], [6, 1], statistics(1, 0.5), norm(0.3)),
    "excess": workspace([5, 10, 2], [100, 20, 3], [130, 90, 20], statistics(10, 4, 2), norm(0.1)),
    "deficit": workspace([5, 10, 2], [100, 20, 3], [80, 8, 0], statistics(5, 2, 1), norm(0.1)),
    # two deviations down make a rate negative: there is no likelihood beyond
    "rates below zero": workspace(
        [5, 10, 2], [100, 20, 3], [120, 18, 2], statistics(10, 4, 2), shape([140, 35, 7], [60, 5, 0.2])
    ),
}


def scaled(space: dict[str, Any], factor: float) -> dict[str, Any]:
    """With a larger signal."""
    copy: dict[str, Any] = json.loads(json.dumps(space))
    signal = copy["channels"][0]["samples"][0]
    signal["data"] = [value * factor for value in signal["data"]]
    return copy


@pytest.mark.parametrize("name", ["no background", "no background, one event", "floors"])
def test_limits_are_those_that_pyhf_finds(name: str) -> None:
    """Its own search begins at a strength of zero, where numerical noise stops it for other models."""
    found = limit(MODELS[name])
    # pyhf needs the limit inside of fixed bounds
    factor = found.expected[2] / 2
    space = scaled(MODELS[name], factor)
    space["measurements"][0]["config"]["parameters"][0]["bounds"] = [[0, 20]]
    model, data = model_of(space)
    observed, expected = pyhf.infer.intervals.upper_limits.upper_limit(data, model, scan=None, rtol=1e-4)
    assert found.observed == pytest.approx(factor * float(observed), rel=2e-3)
    np.testing.assert_allclose(found.expected, factor * np.asarray(expected, dtype=float), rtol=2e-3)


@pytest.mark.parametrize("name", ["empty bins", "large signal", "excess", "deficit", "rates below zero"])
def test_cls_is_that_of_pyhf_at_the_limits(name: str) -> None:
    found = limit(MODELS[name])
    factor = found.expected[2] / 2
    space = scaled(MODELS[name], factor)
    space["measurements"][0]["config"]["parameters"][0]["bounds"] = [[0, 20]]
    model, data = model_of(space)
    for position, value in enumerate([found.observed, *found.expected]):
        observed, expected = pyhf.infer.hypotest(
            value / factor, data, model, test_stat="qtilde", return_expected_set=True
        )
        assert float([observed, *expected][position]) == pytest.approx(0.05, rel=0.01)


def test_data_far_from_the_expectation() -> None:
    """Both probabilities of CLs are below the smallest number there."""
    found = limit(workspace([1], [1e6], [100], norm(0.01)))
    assert 0 < found.observed < found.expected[0]


def test_without_background_the_limit_is_the_closed_form() -> None:
    """Asimov data are empty: q = 2 mu, and CLs = 0.05 at sqrt(q) = 1.96."""
    found = limit(MODELS["no background"])
    assert found.expected[2] == pytest.approx(1.959964**2 / 2, rel=1e-3)
    assert found.observed == pytest.approx(found.expected[2], rel=1e-3)


@pytest.mark.parametrize("position", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", MODELS)
def test_each_minimiser_alone_finds_the_same(name: str, position: int) -> None:
    expected = limit(MODELS[name])
    found = limit(MODELS[name], minimisers=[MINIMISERS[position]])
    np.testing.assert_allclose(found.expected, expected.expected, rtol=1e-3)
    assert found.observed == pytest.approx(expected.observed, rel=1e-3)


def test_the_next_minimiser_takes_over() -> None:
    expected = limit(MODELS["excess"])
    gives_up = ("SLSQP", {"maxiter": 1, "ftol": 1e-30})
    found = limit(MODELS["excess"], minimisers=[gives_up, MINIMISERS[1]])
    assert found.observed == pytest.approx(expected.observed, rel=1e-3)
    with pytest.raises(InvalidValues, match="the signal: the fit does not converge"):
        limit(MODELS["excess"], minimisers=[gives_up])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["empty bins", "rates below zero", "excess"])
def test_the_size_of_the_signal_only_scales_the_limit(name: str) -> None:
    one = limit(MODELS[name])
    for factor in (1e-4, 1e3, 1e7):
        other = limit(scaled(MODELS[name], factor))
        assert other.observed * factor == pytest.approx(one.observed, rel=2e-3)
        np.testing.assert_allclose(np.asarray(other.expected) * factor, one.expected, rtol=2e-3)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@example([8104.0, 885.625, 5476.0], 1.0, 0.5, 54)  # a step of sqrt(q) at the expected limit, 0.15 % high
@given(
    background=st.lists(st.floats(0, 1e4), min_size=1, max_size=4),
    share=st.floats(0.05, 1.0),
    relative=st.floats(0.01, 0.6),
    seed=st.integers(0, 1000),
)
def test_limits_are_finite_and_in_order(background: list[float], share: float, relative: float, seed: int) -> None:
    """Whatever the templates are, with floors in empty bins and data that fluctuate."""
    rates = np.maximum(background, 1e-3)
    signal = share * np.linspace(1, 2, len(rates))
    data = np.random.default_rng(seed).poisson(rates)
    found = limit(workspace(signal, rates, data, statistics(*(relative * rates)), norm(0.2)))
    assert 0 < found.observed < np.inf
    assert list(found.expected) == sorted(found.expected)
    assert found.expected[0] > 0.2 * found.expected[2]
    assert found.expected[4] < 5 * found.expected[2]


def test_what_has_no_limit_is_said() -> None:
    # one simulated event, an uncertainty of 100 %: a signal of zero is one deviation away, whatever its strength
    space = workspace([5], [10], [10])
    space["channels"][0]["samples"][0]["modifiers"].append(statistics(5))
    with pytest.raises(InvalidValues, match=r"'X': no upper limit was found up to .* enough events behind"):
        limit(space, signal="X")
    with pytest.raises(InvalidValues, match="'X': the templates have no sensitivity to the signal"):
        limit(workspace([0, 0], [1, 1], [1, 1]), signal="X")


def test_what_can_be_had_is_given() -> None:
    """The data exclude nothing, the expectation does."""
    found = limit(workspace([1], [1], [1e6]), signal="X")
    assert found.observed is None
    assert list(found.missing) == ["observed"]
    assert "signal 'X': the data exclude no strength up to" in found.missing["observed"]
    assert found.expected == limit(workspace([1], [1], [1])).expected
    printed = limits.table([found]).splitlines()
    assert printed[1].split()[:3] == ["X", "0", "none"]
    assert printed[2].startswith("none (observed): signal 'X': the data exclude no strength")


@pytest.mark.parametrize(("error", "number"), [(4.4, 1), (3.9, 2), (3.3, 3), (2.6, 4), (2.2, 5)])
def test_a_plateau_leaves_the_bands_below_it(error: float, number: int) -> None:
    """With a signal of 5 +- ``error`` a strength of zero is 5 / ``error`` deviations away, whatever the strength."""
    space = workspace([5], [10], [10])
    space["channels"][0]["samples"][0]["modifiers"].append(statistics(error))
    found = limit(space, signal="X")
    there = [value for value in found.expected if value is not None]
    assert found.expected[: len(there)] == tuple(there)
    assert there == sorted(there)
    # sqrt(q) that the bands need: 1.05, 1.41, 1.96, 2.65, 3.41
    reached = [root for root in (1.05, 1.41, 1.96, 2.65, 3.41) if root < 5 / error]
    assert len(there) == len(reached)
    assert list(found.missing) == list(limits.BANDS[len(there) :])
    assert all("no upper limit was found up to" in reason for reason in found.missing.values())


@pytest.mark.parametrize("relative", [0.0, 0.3, 0.45, 0.5])
def test_an_uncertain_signal_has_the_limits_of_the_closed_form(
    relative: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With many events q = (mu s)^2 / (b + (relative mu s)^2): sqrt(q) hardly rises near 1 / relative."""
    fits: list[float | None] = []
    minimise = Likelihood.minimise

    def counted(self: Likelihood, *arguments: Any, **keywords: Any) -> Any:
        fits.append(keywords["strength"])
        return minimise(self, *arguments, **keywords)

    monkeypatch.setattr(Likelihood, "minimise", counted)
    space = workspace([1e4], [1e8], [1e8])
    if relative:
        space["channels"][0]["samples"][0]["modifiers"].append(statistics(1e4 * relative))
    found = limit(space, asimov=True)
    for value, root in zip(found.expected, (1.0518, 1.4120, 1.9600, 2.7272, 3.6560), strict=True):
        left = 1 - (relative * root) ** 2
        if left <= 0:
            assert value is None
            continue
        # sqrt(q) is found to 5e-4, and rises with the strength to the power `left`
        assert value == pytest.approx(root / np.sqrt(left), rel=1e-3 + 5e-4 / left)
    # each band takes a few steps, also where a proportional one would take a hundred
    assert len(fits) < 50


def test_fits_that_do_not_agree_give_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """sqrt(q) rises with the strength; a jump over what is wanted, or a fall, is a fit that failed."""
    expected = limit(MODELS["excess"]).expected
    assert expected[3] is not None
    minimise = Likelihood.minimise
    for change in (20.0, -20.0):

        def failing(self: Likelihood, *arguments: Any, change: float = change, **keywords: Any) -> Any:
            point, value = minimise(self, *arguments, **keywords)
            beyond = (keywords["strength"] or 0.0) > (expected[2] + expected[3]) / 2
            return point, value + change * beyond

        monkeypatch.setattr(Likelihood, "minimise", failing)
        found = limit(MODELS["excess"], signal="X")
        assert found.expected[:3] == pytest.approx(expected[:3], rel=1e-3)
        assert found.expected[3:] == (None, None)
        assert "'X': no upper limit was found: fits at" in found.missing["+1 sigma"]


def test_the_parameter_of_interest_has_any_name_and_place() -> None:
    space = json.loads(json.dumps(MODELS["excess"]).replace('"mu"', '"r"'))
    space["measurements"][0]["config"]["parameters"] = [{"name": "norm", "inits": [0.0]}]
    other = {"name": "other", "config": {"poi": "norm", "parameters": []}}
    space["measurements"].append(other)
    found = limit(space)
    assert found.observed == pytest.approx(limit(MODELS["excess"]).observed, rel=1e-3)
    free = fit(space, bounds=(-5, 50))
    assert free.poi == "r"
    assert free.strength[0] == pytest.approx(fit(MODELS["excess"], bounds=(-5, 50)).strength[0], rel=1e-3)
    space["measurements"][0]["config"]["poi"] = "mu"
    with pytest.raises(UnknownName, match=r"unknown parameter of interest in the workspace's factors: 'mu'.* r"):
        limit(space)


def test_data_where_nothing_is_expected_are_named() -> None:
    with pytest.raises(InvalidValues, match=r"region 'SR': data \(2, 1 events\) in bins \[1, 3\], where neither"):
        limit(workspace([1, 0, 1, 0], [1, 0, 0, 0], [1, 2, 1, 1]))


def test_other_confidence_levels(tmp_path: Path) -> None:
    loose = limit(MODELS["empty bins"], level=0.1)
    assert loose.expected[2] < limit(MODELS["empty bins"]).expected[2]
    save_limits([loose], tmp_path / "limits.json")
    (kept,) = json.loads((tmp_path / "limits.json").read_text())["limits"]
    assert kept["confidence_level"] == pytest.approx(0.9)
