"""What a network looks at: ranked features, maps over constituents and features, curves, attention.

Needs the extra ``plot``; functions return a figure. Point clouds coloured by contribution: `jettagger.plots.draw_jets`;
images: `jettagger.plots.contribution_images`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from jettagger.arguments import Kind, Numbers, guard, in_range
from jettagger.errors import InvalidValues, MismatchError
from jettagger.plots.style import DIVERGING, SEQUENTIAL, Styles, canvas, curve_styles, drawing, fill_styles
from jettagger.types import Floats

__all__ = ["attention_maps", "feature_maps", "feature_ranking", "sufficiency_curves"]

#: a number with its uncertainty
_Measured = Annotated[Any, Kind("a measured number", lambda value: hasattr(value, "value"))]

#: maximum number of panels in a row
_COLUMNS = 3


def feature_ranking(
    rankings: Mapping[str, Mapping[str, _Measured]],
    *,
    number: int = 20,
    label: str = "importance",
    title: str = "",
    styles: Styles | None = None,
) -> Any:
    """Ranked bars of features with uncertainties, for one or several groups of jets.

    Parameters
    ----------
    rankings : mapping of str to mapping of str to Measured
        Group of jets -> feature -> its importance with uncertainty (`jettagger.discriminants.Measured`). Features are
        ranked by the largest absolute value in any group; a feature that a group lacks has no bar there.
    number : int
        Maximum number of features; that there are others is written above.
    label : str
        Axis label.
    title : str
        Title above the plot.
    styles : mapping of str to ProcessStyle, optional
        Styles of all pictures, from `jettagger.plots.process_styles`; default: by the order in this one.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidValues
        If there are no groups or no features.
    """
    in_range(number, "feature_ranking(), argument number", 1)
    features = list(dict.fromkeys(name for ranking in rankings.values() for name in ranking))
    if not features:
        raise InvalidValues("no features to rank, expected at least one group of jets with one feature")

    def size(name: str) -> float:
        values = [abs(float(ranking[name].value)) for ranking in rankings.values() if name in ranking]
        return max((value for value in values if np.isfinite(value)), default=-1.0)

    ranked = sorted(features, key=size, reverse=True)[:number]
    height = 0.8 / len(rankings)
    chosen = fill_styles(rankings, styles)
    with drawing():
        each = max(0.36, 0.2 * len(rankings))
        figure, ((axes,),) = canvas(figsize=(9.5, 1.9 + each * len(ranked)))
        for row, (name, ranking) in enumerate(rankings.items()):
            found = [(place, ranking[feature]) for place, feature in enumerate(ranked) if feature in ranking]
            places = [place + (row + 0.5) * height - 0.4 for place, _ in found]
            values = [float(item.value) for _, item in found]
            errors = [_error(item) for _, item in found]
            bars = {"elinewidth": 1.2, "ecolor": "black"}
            axes.barh(places, values, height, xerr=errors, label=name, error_kw=bars, **chosen[name].fill)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(ranked)), ranked, fontsize=12)
        axes.set_ylim(len(ranked) - 0.4, -0.6)
        axes.tick_params(axis="y", which="both", length=0)
        axes.minorticks_off()
        axes.grid(axis="x", alpha=0.25)
        axes.locator_params(axis="x", nbins=6)
        axes.set_xlabel(label)
        if len(features) > len(ranked):
            axes.set_title(f"the first {len(ranked)} of {len(features)}", loc="left", fontsize=11, color="#4a4a4a")
        if len(rankings) > 1 or any(rankings):
            figure.legend(loc="outside upper left", ncols=min(len(rankings), 3), frameon=False, fontsize=12)
        axes.set_title(title, loc="right", fontsize=14)
    return figure


def _error(item: Any) -> float:
    sigma = float(getattr(item, "uncertainty", 0.0))
    return sigma if np.isfinite(sigma) else 0.0


def feature_maps(
    maps: Mapping[str, Numbers],
    features: Sequence[str],
    *,
    label: str = "contribution",
    order: str = "constituent, by decreasing pt",
    signed: bool = True,
    title: str = "",
) -> Any:
    """Maps over constituents and features, one panel per group of jets.

    Parameters
    ----------
    maps : mapping of str to float[features, constituents]
        Group of jets -> its map; NaN where no jet has a constituent.
    features : sequence of str
        Names of the rows.
    label : str
        Name of the numbers, for the colour scale.
    order : str
        Name of the horizontal axis: what the order of the constituents is.
    signed : bool
        Whether the colour scale is symmetric around 0; else it begins at 0.
    title : str
        Title above the plot.

    Returns
    -------
    matplotlib.figure.Figure
        All panels have one colour scale, which ends at the 99.5 % quantile of the absolute values, so that single cells
        do not hide the others.

    Raises
    ------
    InvalidValues
        If there are no maps.
    MismatchError
        If a map has another number of rows than there are features.
    """
    if not maps:
        raise InvalidValues("no map to draw, expected at least one")
    panels = {name: np.asarray(values, dtype=np.float64) for name, values in maps.items()}
    for name, values in panels.items():
        if values.ndim != 2 or len(values) != len(features):
            raise MismatchError(
                f"the map of {name!r} has the shape {values.shape}, expected {len(features)} features x constituents"
            )
    bound = _bound(list(panels.values()))
    n_columns = min(_COLUMNS, len(panels))
    n_rows = -(-len(panels) // n_columns)
    with drawing(font_size=13):
        height = max(3.2, 1.3 + 0.24 * len(features))
        size = (2.6 + 4.2 * n_columns, height * n_rows + (0.4 if title else 0))
        figure, grid = canvas(n_rows, n_columns, figsize=size)
        for place, (name, values) in enumerate(panels.items()):
            axes = grid[place // n_columns][place % n_columns]
            extent = (0.5, values.shape[1] + 0.5, len(features) - 0.5, -0.5)
            colours = DIVERGING if signed else SEQUENTIAL
            style: dict[str, Any] = {"vmin": -bound if signed else 0.0, "vmax": bound, "interpolation": "none"}
            picture = axes.imshow(values, aspect="auto", extent=extent, cmap=colours, **style)
            axes.set_facecolor("#d9d9d9")
            axes.set_title(name, fontsize=12)
            axes.set_xlabel(order, fontsize=12)
            labels = features if place % n_columns == 0 else [""] * len(features)
            axes.set_yticks(range(len(features)), labels, fontsize=9)
            axes.tick_params(axis="both", which="both", direction="out", top=False, right=False)
            axes.minorticks_off()
            axes.locator_params(axis="x", nbins=6, integer=True)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        extend = "both" if signed else "max"
        bar = figure.colorbar(picture, ax=grid.ravel().tolist(), pad=0.02, aspect=30 * n_rows, extend=extend)
        bar.set_label(label, fontsize=12)
        bar.ax.tick_params(labelsize=10)
        bar.minorticks_off()
        if title:
            figure.suptitle(title, fontsize=14)
    return figure


def _bound(values: Sequence[Floats]) -> float:
    """End of a colour scale: the 99.5 % quantile of the absolute values that are not 0."""
    sizes = np.abs(np.concatenate([item.ravel() for item in values]))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    return float(np.quantile(sizes, 0.995)) if len(sizes) else 1.0


def sufficiency_curves(
    curves: Mapping[str, tuple[Numbers, Numbers, Numbers]],
    *,
    whole: Mapping[str, float] | None = None,
    label: str = "output",
    title: str = "",
    styles: Styles | None = None,
) -> Any:
    """The output of a network from a part of the constituents: which of them suffice.

    Parameters
    ----------
    curves : mapping of str to (int[n], float[n], float[n])
        Name -> numbers of constituents, outputs and their uncertainties, e.g. with those of the largest contributions
        kept, or with the leading ones in pt.
    whole : mapping of str to float, optional
        Outputs with all constituents, drawn as horizontal lines of the same colour.
    label : str
        Axis label of the output.
    title : str
        Title above the plot.
    styles : mapping of str to ProcessStyle, optional
        Styles of all pictures, from `jettagger.plots.curve_styles`; default: by the order in this one.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidValues
        If there are no curves.
    MismatchError
        If the numbers of a curve have different lengths.
    """
    if not curves:
        raise InvalidValues("no curve to draw, expected at least one")
    chosen = curve_styles(curves, styles)
    with drawing():
        figure, ((axes,),) = canvas()
        for name, columns in curves.items():
            numbers, values, sigmas = (np.asarray(column, dtype=np.float64) for column in columns)
            if not numbers.shape == values.shape == sigmas.shape:
                shapes = ", ".join(str(len(column)) for column in (numbers, values, sigmas))
                raise MismatchError(f"the curve of {name!r} has columns of different lengths: {shapes}")
            colour = chosen[name].colour
            axes.plot(numbers, values, **chosen[name].stroke, linewidth=2, label=name)
            axes.fill_between(numbers, values - sigmas, values + sigmas, color=colour, alpha=0.18, linewidth=0)
            if whole is not None and name in whole:
                axes.axhline(whole[name], color=colour, linewidth=1, alpha=0.7)
        axes.set_xlabel("constituents kept")
        axes.set_ylabel(label)
        axes.legend(fontsize=12)
        axes.set_title(title, loc="right", fontsize=14)
    return figure


def attention_maps(weights: Mapping[str, Numbers], *, order: str = "constituent", title: str = "") -> Any:
    """Mean attention weights, one panel per layer.

    Parameters
    ----------
    weights : mapping of str to float[queries, keys]
        Layer -> weights, averaged over jets and heads; NaN where no jet has a constituent.
    order : str
        What the order of queries and keys is.
    title : str
        Title above the plot.

    Returns
    -------
    matplotlib.figure.Figure
        Queries from top to bottom, keys from left to right; each panel has its own colour scale from 0.

    Raises
    ------
    InvalidValues
        If there are no weights.
    MismatchError
        If weights are no matrices.
    """
    if not weights:
        raise InvalidValues("no attention weights to draw, expected those of at least one layer")
    n_columns = min(_COLUMNS, len(weights))
    n_rows = -(-len(weights) // n_columns)
    with drawing(font_size=13):
        figure, grid = canvas(n_rows, n_columns, figsize=(4.8 * n_columns, 4.2 * n_rows + (0.4 if title else 0)))
        for axes, (name, matrix) in zip(grid.flat, weights.items(), strict=False):
            values = np.asarray(matrix, dtype=np.float64)
            if values.ndim != 2:
                raise MismatchError(f"the weights of {name!r} have the shape {values.shape}, expected queries x keys")
            extent = (0.5, values.shape[1] + 0.5, values.shape[0] + 0.5, 0.5)
            bound = _bound([values])
            picture = axes.imshow(
                values, extent=extent, aspect="auto", cmap=SEQUENTIAL, vmin=0, vmax=bound, interpolation="none"
            )
            bar = figure.colorbar(picture, ax=axes, pad=0.02, aspect=28, extend="max")
            bar.ax.tick_params(labelsize=9)
            bar.minorticks_off()
            axes.locator_params(nbins=6, integer=True)
            axes.set_facecolor("#d9d9d9")
            axes.set_title(name, fontsize=11)
            axes.set_xlabel(f"key: {order}", fontsize=11)
            axes.set_ylabel(f"query: {order}", fontsize=11)
            axes.tick_params(labelsize=9)
            axes.minorticks_off()
        for axes in grid.flat[len(weights) :]:
            axes.set_axis_off()
        if title:
            figure.suptitle(title, fontsize=14)
    return figure


guard(globals())
