"""Figures of fits of factors: all bands and categories are drawn, largest impacts first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bands import TWO, templates

pytest.importorskip("mplhep", reason="the extra plot is not installed")
pytest.importorskip("pyhf", reason="the extra stats is not installed")

from jettagger.calibration import CategoryFactor, FactorFit, fit_factors
from jettagger.errors import ConfigError, UnknownName, WrongType
from jettagger.plots import band_spectra, impact_ranking

pytestmark = pytest.mark.filterwarnings("ignore:.*RefResolver.*:DeprecationWarning")


@pytest.fixture(scope="module")
def fit() -> FactorFit:
    made = templates({**TWO, "merged": (800.0, 0.0)}, seed=1, bins=8)
    return fit_factors(made, categories={"other": CategoryFactor(normalisation=0.2)})


def texts(figure: Any) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


@pytest.mark.slow
@pytest.mark.parametrize(("fitted", "log"), [(False, True), (True, False)])
def test_all_bands_and_categories_are_drawn(fit: FactorFit, fitted: bool, log: bool) -> None:
    figure = band_spectra(fit, fitted=fitted, log=log, title="pt")
    axes = figure.axes
    assert len(axes) == 4
    assert texts(figure) == ["data", "signal", "merged", "other", "uncertainty"]
    assert [panel.get_title(loc="left") for panel in axes[:2]] == ["band fail", "band pass"]
    # the top of the stack is the sum
    for panel, expected in zip(axes[:2], fit.expectations(fitted=fitted), strict=True):
        edges = np.concatenate([patch.get_data().values for patch in panel.patches])
        assert np.isclose(edges.reshape(-1, 8), expected.total).all(axis=1).any()
        assert len(panel.patches) == len(expected.categories) + 1
    assert axes[2].get_ylabel() == ("data / fit" if fitted else "data / simulation")
    figure.canvas.draw()


def test_the_largest_impacts_are_on_top(fit: FactorFit) -> None:
    figure = impact_ranking(fit, "signal", "pass", number=5)
    left, right = figure.axes
    shown = [label.get_text() for label in left.get_yticklabels()]
    sizes = {name: max(abs(item.up[0, 1]), abs(item.down[0, 1])) for name, item in fit.impacts.items()}
    assert shown == sorted(sizes, key=sizes.__getitem__, reverse=True)[:5]
    assert len(right.patches) == 4 * 5
    figure.canvas.draw()
    with pytest.raises(UnknownName, match="'top'"):
        impact_ranking(fit, "top", "pass")
    with pytest.raises(UnknownName, match="'tight'"):
        impact_ranking(fit, "signal", "tight")
    with pytest.raises(ConfigError, match="number"):
        impact_ranking(fit, "signal", "pass", number=0)
    with pytest.raises(WrongType, match="a fit of factors"):
        band_spectra(fit.factors)
