"""Pictures of explanations: what is drawn is what they are given, and what does not fit is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_show import jets_of

from jettagger.discriminants import Measured
from jettagger.errors import InvalidValues, MismatchError
from jettagger.images import ImageSettings

pytest.importorskip("mplhep", reason="the extra plot is not installed")
from jettagger import plots


def labels(axes: Any) -> list[str]:
    return [item.get_text() for item in axes.get_yticklabels()]


def test_features_are_ranked_by_the_largest_value_of_any_group() -> None:
    light = {"a": Measured(0.1, 0.01), "b": Measured(-0.3, 0.02), "c": Measured(np.nan, np.nan)}
    heavy = {"a": Measured(0.5, 0.1), "d": Measured(0.2, 0.1)}
    figure = plots.feature_ranking({"light": light, "heavy": heavy}, number=3, label="importance")
    axes = figure.axes[0]
    assert labels(axes) == ["a", "b", "d"]
    widths = [bar.get_width() for bar in axes.patches if hasattr(bar, "get_width")]
    assert widths == [0.1, -0.3, 0.5, 0.2]
    assert axes.get_title(loc="left") == "the first 3 of 4"
    errors = [segment[:, 0].tolist() for item in axes.collections for segment in item.get_segments()]
    assert errors[0] == pytest.approx([0.09, 0.11])
    with pytest.raises(InvalidValues, match="no features"):
        plots.feature_ranking({})


def test_maps_share_a_scale_around_zero() -> None:
    values = np.array([[1.0, -2.0, np.nan], [0.0, 0.5, 0.1]])
    figure = plots.feature_maps({"one": values, "other": 0.1 * values}, ["x", "y"], order="rank")
    first, second = figure.axes[0], figure.axes[1]
    assert first.images[0].get_clim() == second.images[0].get_clim()
    low, high = first.images[0].get_clim()
    assert -low == high == pytest.approx(2.0, rel=0.05)
    assert (labels(first), first.get_xlabel()) == (["x", "y"], "rank")
    assert plots.feature_maps({"one": abs(values)}, ["x", "y"], signed=False).axes[0].images[0].get_clim()[0] == 0
    assert plots.feature_maps({"one": 0 * values}, ["x", "y"]).axes[0].images[0].get_clim() == (-1, 1)
    with pytest.raises(MismatchError, match=r"map of 'one' has the shape \(2, 3\), expected 3 features"):
        plots.feature_maps({"one": values}, ["x", "y", "z"])
    with pytest.raises(InvalidValues, match="no map"):
        plots.feature_maps({}, [])


def test_curves_and_attention_refuse_what_does_not_fit() -> None:
    with pytest.raises(MismatchError, match="different lengths: 3, 2, 3"):
        plots.sufficiency_curves({"a": (np.arange(3), np.arange(2), np.arange(3))})
    with pytest.raises(InvalidValues, match="no curve"):
        plots.sufficiency_curves({})
    with pytest.raises(MismatchError, match="queries x keys"):
        plots.attention_maps({"layer": np.zeros(3)})
    with pytest.raises(InvalidValues, match="no attention"):
        plots.attention_maps({})
    assert len(plots.attention_maps({f"layer {n}": np.eye(3) for n in range(4)}).axes) == 6 + 4


def test_images_of_contributions_have_the_shape_of_the_images() -> None:
    settings = ImageSettings(size=4, channels=["all"])
    figure = plots.contribution_images({"a": np.ones((1, 4, 4)), "b": -3 * np.ones((1, 4, 4))}, settings)
    assert [axes.images[0].get_clim() for axes in figure.axes[:2]] == [(-3, 3), (-3, 3)]
    with pytest.raises(MismatchError, match=r"expected \(1, 4, 4\)"):
        plots.contribution_images({"a": np.ones((4, 4))}, settings)
    with pytest.raises(InvalidValues, match="no images"):
        plots.contribution_images({}, settings)


def test_constituents_are_coloured_by_contribution() -> None:
    shade = [1.0, -0.5, np.nan, 0.0]
    figure = plots.draw_jets(jets_of(), contributions=[shade], quantity="contribution to HbbvsQCD")
    assert len(figure.axes) == 2  # no generator particles: these have no contributions
    axes, bar = figure.axes
    red, blue, grey, white = (tuple(np.round(item.get_edgecolor()[0][:3], 2)) for item in axes.collections[:4])
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    assert grey == (0.6, 0.6, 0.6)
    assert min(white) > 0.9
    assert bar.get_ylabel() == "contribution to HbbvsQCD"
    assert "X" in [item.get_text() for item in axes.texts]
    with pytest.raises(MismatchError, match="contributions of 2 jets, expected 1"):
        plots.draw_jets(jets_of(), contributions=[shade, shade])
    with pytest.raises(MismatchError, match="jet 0 have the shape"):
        plots.draw_jets(jets_of(), contributions=[[1.0]])
