"""Figures of decorrelation: rejection against sculpting, efficiencies, dependence; from the package's own measures."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mplhep", reason="the extra plot is not installed")

from jettagger import plots
from jettagger.decorrelation import efficiency_profile, operating_point
from jettagger.discriminants import Measured
from jettagger.errors import InvalidValues, WrongType
from jettagger.plots.tradeoffs import _floor

EDGES = np.arange(30.0, 251.0, 10.0)


def jets(seed: int = 1, count: int = 6000) -> Any:
    rng = np.random.default_rng(seed)
    mass = rng.exponential(60, count)
    return SimpleNamespace(mass=mass, score=rng.normal(size=count), signal=rng.normal(2, 1, 2000))


def test_points_bars_and_strengths_are_those_of_the_measures() -> None:
    sample = jets()
    sculpted = operating_point(sample.signal, sample.score + 0.01 * sample.mass, sample.mass, edges=EDGES, replicas=20)
    flat = operating_point(sample.signal, sample.score, sample.mass, edges=EDGES, replicas=20)
    figure = plots.tradeoff({"raw": {"": sculpted}, "DisCo": {"1": sculpted, "10": flat}}, efficiency=0.5)
    axes = figure.axes[0]
    x, y = (np.asarray(values, dtype=float) for values in axes.containers[1].lines[0].get_data())
    np.testing.assert_allclose(x, [sculpted.divergence.inverse.value, flat.divergence.inverse.value])
    np.testing.assert_allclose(y, [sculpted.rejection.value, flat.rejection.value])
    assert [text.get_text() for text in axes.texts] == ["", "1", "10"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["raw", "DisCo", "statistical floor"]
    assert "50 % signal efficiency" in axes.get_ylabel()
    assert "[1/bit]" in axes.get_xlabel()
    # the band is where a cut at random is, and its rejection is within the axes
    low, high = axes.get_xlim()
    assert low < flat.divergence.inverse_floor.value < high


def test_the_band_is_the_floor_at_each_rejection() -> None:
    sample = jets(count=20_000)
    rng = np.random.default_rng(3)
    points = [
        operating_point(rng.normal(shift, 1, 3000), sample.score, sample.mass, edges=EDGES, replicas=60)
        for shift in (0.5, 1.0, 2.0)
    ]
    low, high = _floor(points, np.array([point.rejection.value for point in points]))
    for position, point in enumerate(points):
        assert low[position] < point.divergence.inverse_floor.value < high[position]


def test_points_that_cannot_be_drawn_are_left_out() -> None:
    sample = jets()
    good = operating_point(sample.signal, sample.score, sample.mass, edges=EDGES, replicas=10)
    bad = SimpleNamespace(rejection=Measured(math.inf, math.nan), divergence=good.divergence)
    figure = plots.tradeoff({"all": {"1": good, "2": bad}, "none": {"3": bad}})
    assert [text.get_text() for text in figure.axes[0].texts] == ["1"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["all", "none", "statistical floor"]
    with pytest.raises(InvalidValues, match="no operating point to draw"):
        plots.tradeoff({"none": {"3": bad}})
    with pytest.raises(WrongType, match="an operating point"):
        plots.tradeoff({"none": {"3": 5}})


def test_twelve_curves_differ_in_two_ways() -> None:
    styles = [style.points for style in plots.curve_styles(map(str, range(12))).values()]
    for number, one in enumerate(styles):
        for other in styles[:number]:
            assert sum(str(one[key]) != str(other[key]) for key in one) >= 2


def test_efficiencies_are_drawn_in_their_bins_and_side_by_side() -> None:
    sample = jets()
    profiles = {
        name: efficiency_profile(sample.mass, sample.score + slope * sample.mass > 1, edges=[0, 50, 100, 5000, 6000])
        for name, slope in (("raw", 0.01), ("map", 0.0))
    }
    label = "Soft-drop mass [GeV]"
    figure = plots.efficiency_curves({"Background": {label: profiles}, "Signal": {label: profiles}})
    axes = figure.axes[0]
    values = [stairs.get_data().values for stairs in axes.patches]
    for drawn, profile in zip(values, profiles.values(), strict=True):
        expected = [math.nan if item is None else item.value for item in profile.efficiencies]
        np.testing.assert_allclose(drawn, expected)
        assert math.isnan(expected[-1])
    places = [np.asarray(container.lines[0].get_xdata()) for container in axes.containers]
    assert (places[0] < places[1]).all()
    assert (places[1] < profiles["raw"].edges[1:]).all()
    assert [panel.get_ylabel() for panel in figure.axes] == ["Background efficiency", "Signal efficiency"]
    assert axes.get_xlim() == figure.axes[1].get_xlim() == (0, 6000)
    with pytest.raises(InvalidValues, match="no efficiencies to draw"):
        plots.efficiency_curves({})
    with pytest.raises(InvalidValues, match="'Signal' has other variables than the first sample: pt"):
        plots.efficiency_curves({"Background": {label: profiles}, "Signal": {"pt": profiles}})


def test_strengths_from_zero_are_drawn_in_order() -> None:
    curve = {10.0: Measured(0.1, 0.01), 0.0: Measured(0.4, math.nan), 1.0: Measured(0.2, 0.01)}
    figure = plots.dependence_curves({"DisCo": curve}, references={"raw": Measured(0.4, 0.01)}, measure="DisCo measure")
    axes = figure.axes[0]
    x, y = axes.containers[0].lines[0].get_data()
    assert (list(x), list(y)) == ([0, 1, 10], [0.4, 0.2, 0.1])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "1", "10"]
    assert axes.get_ylabel() == "DisCo measure of score and mass"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["DisCo", "raw"]
    plots.dependence_curves({"one": {0.0: Measured(0.1, 0.01)}})
    with pytest.raises(InvalidValues, match="strengths are finite and at least 0, got -1"):
        plots.dependence_curves({"DisCo": {-1.0: Measured(0.1, 0.01)}})
    with pytest.raises(InvalidValues, match="no dependence to draw"):
        plots.dependence_curves({"DisCo": {}})
