"""Workspaces as users get them: pyhf with both of its minimisers and cabinetry find our limits."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fitting import check_cabinetry, check_command, check_pyhf
from scipy.optimize import brentq

from jettagger.statistics.bins import Template
from jettagger.statistics.fits import Likelihood, asimov, fit, guess_strength, model_of
from jettagger.statistics.limits import limit
from jettagger.statistics.workspaces import UNIT, WorkspaceContent, expected_limit, unit_of, workspace
from jettagger.types import Floats

pytest.importorskip("pyhf")
# jsonschema's own deprecation, which pyhf 0.7 always raises; bounds that a fit meets
pytestmark = pytest.mark.filterwarnings("ignore:.*RefResolver.*:DeprecationWarning")


def template(values: list[float], events: float = 100.0, **shifts: tuple[float, float]) -> Template:
    """With so many effective events in each bin; a shift scales the bins from the first to the last."""
    contents = np.asarray(values, dtype=float)
    slope = np.linspace(1, 2, len(contents)) if len(contents) > 1 else np.ones(1)
    changed = {
        name: (contents * (1 + up * slope), contents * (1 + down * slope)) for name, (up, down) in shifts.items()
    }
    return Template(contents, contents**2 / events, changed)


def content(
    signal: list[float], *regions: dict[str, Template], data: list[list[float]] | None = None, events: float = 400.0
) -> WorkspaceContent:
    jes = {"jes": (0.03, -0.03)}
    nominal = {f"R{i}": {**parts, "X": template(signal, events, **jes)} for i, parts in enumerate(regions)}
    sums = [np.sum([part.values for part in parts.values()], axis=0) for parts in regions]
    observed = sums if data is None else [np.asarray(item, dtype=float) for item in data]
    sizes = {"lumi": {"tt": 0.016, "X": 0.016}, "xsec_qcd": {"qcd": 0.3}}
    return WorkspaceContent(nominal, {f"R{i}": item for i, item in enumerate(observed)}, "X", sizes)


JES = {"jes": (0.05, -0.04)}
CONTENTS = {
    "counting": content([5.0], {"qcd": template([50.0], 1000)}),
    "few events": content([3, 2, 0.5], {"qcd": template([5, 2, 0.1], 50, **JES)}),
    "one event in a bin": content([3, 2, 0.5], {"qcd": template([5, 2, 1], 1, **JES), "tt": template([2, 1, 0.2])}),
    "excess": content([5, 10, 2], {"qcd": template([100, 20, 3], **JES)}, data=[[115, 41, 8]]),
    "deficit": content([5, 10, 2], {"qcd": template([100, 20, 3], **JES)}, data=[[91, 12, 1]]),
    "signal far too large": content([5e4, 1e5, 2e4], {"qcd": template([100, 20, 3], **JES)}),
    "signal far too small": content([5e-4, 1e-3, 2e-4], {"qcd": template([100, 20, 3], **JES)}),
    "10^7 events of little simulation": content(
        [3e5, 1e5, 1e4], {"qcd": template([2e7, 6e6, 6e5], 150, **JES), "tt": template([8e4, 2e4, 2e3], **JES)}
    ),
    "two regions, one of 10^7 events": content(
        [3e4, 1e5, 1e4],
        {"qcd": template([6e5, 1e5, 1e4], 9, **JES), "tt": template([1e5, 3e4, 5e3], 80, **JES)},
        {"qcd": template([2e7, 6e6, 6e5], 200, **JES), "tt": template([8e4, 2e4, 2e3], 50, **JES)},
    ),
    "a variation that empties a bin": content(
        [3, 2, 4],
        {"qcd": Template(np.r_[50.0, 9, 4], np.r_[25.0, 4, 2], {"jes": (np.r_[52.0, 8, 0], np.r_[40.0, 9, 6])})},
    ),
    "both sides of a variation are lower": content(
        [3, 2, 4],
        {"qcd": Template(np.r_[50.0, 9, 4], np.r_[25.0, 4, 2], {"jes": (np.r_[45.0, 8, 3], np.r_[40.0, 7, 2])})},
    ),
}  # fmt: skip


@cache
def made(name: str) -> dict[str, Any]:
    return workspace(CONTENTS[name])[0]


#: kinds that are fitted in each run; the others are slow
FEW = ("counting", "few events", "10^7 events of little simulation", "a variation that empties a bin")


@pytest.mark.parametrize(
    "name", [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in CONTENTS]
)
def test_pyhf_finds_the_same(name: str, tmp_path: Path) -> None:
    for optimizer in ("scipy", "minuit"):
        found = check_pyhf(made(name), optimizer)
        check_command(made(name), tmp_path / "workspace.json", optimizer)
    unit = unit_of(made(name))
    assert found.expected[2] is not None
    # of order one, and the estimate that this comes from is good for bounds
    assert 0.5 < found.expected[2] / unit < 40
    assert expected_limit(CONTENTS[name])[0] == pytest.approx(found.expected[2], rel=0.7)


# a limit takes cabinetry a hundred fits
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name if name in FEW[1:3] else pytest.param(name, marks=pytest.mark.long) for name in CONTENTS]
)
def test_cabinetry_finds_the_same(name: str) -> None:
    check_cabinetry(made(name))


def unscaled(parts: WorkspaceContent) -> dict[str, Any]:
    """The workspace with all of its events, written down here."""
    channels = []
    for region, processes in parts.nominal.items():
        samples = []
        for name, item in processes.items():
            modifiers: list[dict[str, Any]] = []
            if name == "X":
                modifiers.append({"name": "mu", "type": "normfactor", "data": None})
            for shift, (up, down) in item.shifts.items():
                total, high, low = item.values.sum(), up.sum(), down.sum()
                shapes = {"hi_data": (up * total / high).tolist(), "lo_data": (down * total / low).tolist()}
                modifiers.append({"name": shift, "type": "histosys", "data": shapes})
                modifiers.append({"name": shift, "type": "normsys", "data": {"hi": high / total, "lo": low / total}})
            for size, relative in parts.normalisations.items():
                if name in relative:
                    sides = {"hi": 1 + relative[name], "lo": 1 / (1 + relative[name])}
                    modifiers.append({"name": size, "type": "normsys", "data": sides})
            errors = {
                "name": f"mc_{region}_{name == 'X'}",
                "type": "staterror",
                "data": np.sqrt(item.variances).tolist(),
            }
            samples.append({"name": name, "data": item.values.tolist(), "modifiers": [*modifiers, errors]})
        channels.append({"name": region, "samples": samples})
    return {
        "channels": channels,
        "observations": [{"name": region, "data": values.tolist()} for region, values in parts.data.items()],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }


@pytest.mark.parametrize("name", CONTENTS)
def test_fewer_events_at_the_same_uncertainty_change_no_limit(name: str) -> None:
    """Only the robust minimiser of `limit` can fit the events as they are."""
    ours, full = limit(made(name)), limit(unscaled(CONTENTS[name]))
    # the shape that leaves nothing of a bin is not followed to the end, also where a signal would fill the bin
    tolerance = 0.05 if name == "a variation that empties a bin" else 0.02
    np.testing.assert_allclose(
        np.asarray(ours.expected, dtype=float), np.asarray(full.expected, dtype=float), rtol=tolerance
    )
    assert ours.observed == pytest.approx(full.observed, rel=tolerance)


def profiled(space: dict[str, Any], data: Floats, bounds: tuple[float, float], value: float, sigma: float) -> float:
    """The mean distance to the strengths below and above the best one at which -2 ln L is higher by one."""
    likelihood = Likelihood(space, bounds, guess_strength(space))
    best = likelihood.minimise(data, "best")[1]

    def excess(strength: float) -> float:
        return likelihood.minimise(data, "profile", strength=strength)[1] - best - 1

    below = brentq(excess, value - 1.7 * sigma, value - sigma / 3, rtol=1e-4)
    return float(brentq(excess, value + sigma / 3, value + 3 * sigma, rtol=1e-4) - below) / 2


@pytest.mark.parametrize("name", CONTENTS)
def test_fits_of_all_events_have_the_uncertainty_of_the_profile(name: str) -> None:
    """Second derivatives by differences of -2 ln L, with 10^7 events in a bin, have no digits."""
    found = []
    for space in (made(name), unscaled(CONTENTS[name])):
        # an injected signal of the size of the limit
        strength = expected_limit(CONTENTS[name])[0] / unit_of(space)
        bounds = (-10 * strength, 10 * strength)
        data = asimov(model_of(space)[0], strength)
        value, sigma = fit(space, data, bounds=bounds).strength
        assert value == pytest.approx(strength, rel=2e-3)
        assert sigma == pytest.approx(profiled(space, data, bounds, value, sigma), rel=0.12)
        found.append(sigma * unit_of(space))
    assert found[0] == pytest.approx(found[1], rel=0.01)


@pytest.mark.parametrize(("deviations", "power"), [(1.0, 1), (-1.0, -1)])
def test_each_side_of_an_uncertainty_is_that_of_its_process(deviations: float, power: int) -> None:
    """What pyhf expects at one deviation: the template of that side, or the yield with its relative change."""
    asymmetric = {"jes": (0.05, -0.12)}
    parts = content([3, 2, 0.5], {"qcd": template([5, 2, 0.1], **asymmetric), "tt": template([4, 3, 1], **JES)})
    space, _ = workspace(parts, bounds=(0.0, 10.0))
    model, _ = model_of(space)

    def expected(name: str | None = None) -> dict[str, Floats]:
        point = np.asarray(model.config.suggested_init(), dtype=float)
        if name is not None:
            point[model.config.par_slice(name)] = deviations
        rates = model.main_model.expected_data(point, return_by_sample=True)
        return dict(zip(model.config.samples, np.asarray(rates, dtype=float), strict=True))

    for name, item in parts.nominal["R0"].items():
        np.testing.assert_allclose(expected()[name], item.values)
        side = item.shifts["jes"][0 if deviations > 0 else 1]
        np.testing.assert_allclose(expected("jes")[name], side)
    for size, processes in parts.normalisations.items():
        for name, values in expected(size).items():
            np.testing.assert_allclose(values, expected()[name] * (1 + processes.get(name, 0.0)) ** power)


def test_bins_that_simulation_predicts_are_left_as_they_are() -> None:
    """The fluctuation of the data counts there, however many they are."""
    parts = content([1e4, 5e3], {"qcd": template([1e6, 2e5], 1e7)})
    space, report = workspace(parts)
    assert space["observations"][0]["data"] == [1e6, 2e5]
    assert not any("written with fewer" in line for line in report)
    assert space["channels"][0]["samples"][0]["data"] == [1e6, 2e5]


def test_the_variance_of_a_bin_is_kept_and_said() -> None:
    parts = content([1e4, 10], {"qcd": template([1e7, 10.0], 225)})
    space, report = workspace(parts)
    (kept, as_it_is) = space["observations"][0]["data"]
    assert as_it_is == 10
    error = space["channels"][0]["samples"][0]["modifiers"][-1]["data"][0]
    assert error**2 / kept**2 + 1 / kept == pytest.approx(1 / 225 + 1e-7)
    assert any("0: 1e+07 as 1125" in line for line in report)


def test_the_unit_is_written_and_used() -> None:
    space, report = workspace(CONTENTS["signal far too large"])
    assert report == [f"X: in its workspace a strength of 1 is {unit_of(space):g} times the signal"]
    entry = {item["name"]: item for item in space["measurements"][0]["config"]["parameters"]}
    assert entry[UNIT] == {"name": UNIT, "inits": [unit_of(space)], "fixed": True}
    # 10^8 times the signal is 10^8 times as easy to exclude
    large, small = limit(space), limit(made("signal far too small"))
    np.testing.assert_allclose(
        np.asarray(large.expected, dtype=float) * 1e8, np.asarray(small.expected, dtype=float), rtol=2e-3
    )
    fixed, report = workspace(CONTENTS["signal far too large"], bounds=(-1.0, 1.0))
    assert unit_of(fixed) == 1
    assert report == []
    assert json.loads(json.dumps(fixed))["measurements"][0]["config"]["parameters"][0]["bounds"] == [[-1.0, 1.0]]
    assert unit_of({"measurements": [{"config": {"parameters": []}}]}) == 1


def test_the_range_of_a_variation_is_that_of_positive_yields_with_a_signal() -> None:
    """A shape of the signal alone: its second bin would be empty at one over 0.35 standard deviations."""
    signal, background = np.array([2.0, 8.0]), np.array([0.5, 0.8])
    moved = 0.35 * signal[1] * np.array([1.0, -1.0])
    parts = {
        "qcd": Template(background, background**2 / 100, {}),
        "X": Template(signal, signal**2 / 100, {"jes": (signal + moved, signal)}),
    }
    made = WorkspaceContent({"R0": parts}, {"R0": background}, "X", {})
    space, _ = workspace(made)
    (entry,) = (item for item in space["measurements"][0]["config"]["parameters"] if item["name"] == "jes")
    ((low, high),) = entry["bounds"]
    strength = expected_limit(made)[0]
    end = (background[1] + strength * signal[1]) / (strength * 0.35 * signal[1])
    assert 1 / 0.35 < end < 5  # the background helps
    assert (low, high) == (-5.0, pytest.approx(0.98 * end, abs=1e-3))
