"""What decorrelation costs and gains; needs the extra ``plot``. Each function returns a figure.

Curves can be told apart by colour, line style and marker. Spectra after cuts are drawn by
:func:`jettagger.plots.sculpting`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np

from jettagger.arguments import Kind, guard
from jettagger.discriminants import Measured
from jettagger.errors import InvalidValues
from jettagger.plots.style import Styles, canvas, curve_styles, drawing
from jettagger.types import Floats

__all__ = ["dependence_curves", "efficiency_curves", "tradeoff"]

_Point = Annotated[
    Any,
    Kind("an operating point with rejection and divergence", lambda value: hasattr(value, "rejection")),
]
_Profile = Annotated[
    Any,
    Kind("efficiencies in bins", lambda value: hasattr(value, "efficiencies") and hasattr(value, "edges")),
]


def tradeoff(
    methods: Mapping[str, Mapping[str, _Point]],
    *,
    efficiency: float = 0.5,
    variable: str = "mass",
    title: str = "",
    styles: Styles | None = None,
) -> Any:
    """Background rejection against one over the divergence of the background's spectrum: the upper right is best.

    Parameters
    ----------
    methods : mapping
        Method -> strength as text -> :class:`jettagger.decorrelation.OperatingPoint`, in the order of the curve. The
        strengths are written beside the points; a method with one point may have the strength ``""``.
    efficiency : float
        Signal efficiency of the points, for the axis label.
    variable : str
        The protected variable, for the axis label.
    title : str
        Title above the plot.
    styles : mapping of str to ProcessStyle, optional
        Styles of the methods in all pictures, from `jettagger.plots.curve_styles`; default: by the order in this one.

    Returns
    -------
    matplotlib.figure.Figure
        The band is where the divergence is that of statistical fluctuations alone, within one standard deviation:
        points there and beyond are compatible with an unchanged spectrum.

    Raises
    ------
    InvalidValues
        If there is no point with a finite rejection and a divergence above 0.
    """
    drawn = {
        name: {strength: point for strength, point in points.items() if _drawable(point)}
        for name, points in methods.items()
    }
    points = [point for curve in drawn.values() for point in curve.values()]
    if not points:
        raise InvalidValues("no operating point to draw, expected at least one with a rejection and a divergence")
    handles = []
    chosen = curve_styles(drawn, styles)
    with drawing():
        figure, ((axes,),) = canvas(figsize=(9.5, 7.5 + 0.3 * math.ceil(len(drawn) / 3)))
        for name, curve in drawn.items():
            style = chosen[name].points
            if not curve:
                handles.append(axes.plot([], [], **style)[0])
                continue
            x, y = ([item.divergence.inverse for item in curve.values()], [item.rejection for item in curve.values()])
            keywords = {"markersize": 8, "linewidth": 1.6, "elinewidth": 1.2, **style}
            handles.append(axes.errorbar(*_values(x, y), xerr=_bars(x), yerr=_bars(y), **keywords))
            for strength, point in curve.items():
                axes.annotate(
                    strength,
                    (point.divergence.inverse.value, point.rejection.value),
                    xytext=(5, 5),
                    textcoords="offset points",
                    fontsize=10,
                    color=style["color"],
                )
        axes.set_xscale("log")
        rejections = np.array([point.rejection.value for point in points])
        if rejections.max() > 5 * rejections.min():
            axes.set_yscale("log")
        axes.margins(y=0.12)
        low, high = axes.get_ylim()
        heights = np.geomspace(low, high, 200) if axes.get_yscale() == "log" else np.linspace(low, high, 200)
        floors = _floor(points, heights)
        right = max(axes.get_xlim()[1], 1.3 * float(floors[1].max()))
        handles.append(axes.fill_betweenx(heights, *floors, color="#d9d9d9", zorder=0))
        axes.set_xlim(axes.get_xlim()[0], right)
        axes.set_ylim(low, high)
        axes.set_xlabel(f"1 / JSD of the background's {variable} [1/bit]")
        axes.set_ylabel(f"Background rejection at {100 * efficiency:g} % signal efficiency")
        axes.grid(which="major", alpha=0.25)
        _legend(figure, handles, [*drawn, "statistical floor"], 3)
        axes.set_title(title, loc="right", fontsize=14)
    return figure


def _drawable(point: Any) -> bool:
    inverse, rejection = point.divergence.inverse.value, point.rejection.value
    return bool(math.isfinite(inverse) and math.isfinite(rejection) and inverse > 0 and rejection > 0)


def _floor(points: Any, heights: Floats) -> tuple[Floats, Floats]:
    """The limits of one over the floor, which is inversely proportional to the number of jets that pass."""
    floors = [point.divergence.floor for point in points]
    value, sigma = (np.array([getattr(item, name) for item in floors]) for name in ("value", "uncertainty"))
    # jets that pass and all jets fluctuate together: the floor is proportional to 1 / passing - 1 / all
    slope = float(np.median(value / np.maximum([point.rejection.value - 1 for point in points], 1e-9)))
    # at few jets one standard deviation can reach zero
    relative = min(float(np.median(sigma / value)), 0.9)
    inverse = 1 / (slope * np.maximum(heights - 1, 1e-3))
    return inverse / (1 + relative), inverse / (1 - relative)


def efficiency_curves(
    samples: Mapping[str, Mapping[str, Mapping[str, _Profile]]],
    *,
    title: str = "",
    styles: Styles | None = None,
) -> Any:
    """Efficiencies of samples against variables, one panel for each, one curve per method.

    Parameters
    ----------
    samples : mapping
        Sample -> label of the variable with its unit -> method -> profile with ``edges`` and ``efficiencies``
        (:class:`jettagger.decorrelation.EfficiencyProfile`). All samples have the same variables.
    title : str
        Title above the plot.
    styles : mapping of str to ProcessStyle, optional
        Styles of the methods in all pictures, from `jettagger.plots.curve_styles`; default: by the order in this one.

    Returns
    -------
    matplotlib.figure.Figure
        A row per sample, a column per variable. Bins without jets are left open.

    Raises
    ------
    InvalidValues
        If there is no profile, or samples have different variables.
    """
    variables = list(next(iter(samples.values()), {}))
    if not variables or not all(profiles for panel in samples.values() for profiles in panel.values()):
        raise InvalidValues("no efficiencies to draw, expected at least one profile for each sample and variable")
    for sample, panel in samples.items():
        if list(panel) != variables:
            raise InvalidValues(f"{sample!r} has other variables than the first sample: {', '.join(panel)}")
    names = list(dict.fromkeys(name for panel in samples.values() for curves in panel.values() for name in curves))
    with drawing():
        size = (6.2 * len(variables) + 1, 4.6 * len(samples) + 0.3 * math.ceil(len(names) / 4))
        figure, panels = canvas(len(samples), len(variables), figsize=size)
        chosen = curve_styles(names, styles)
        for row, (sample, panel) in enumerate(samples.items()):
            for column, (variable, curves) in enumerate(panel.items()):
                axes = panels[row][column]
                for name, profile in curves.items():
                    _profile(axes, profile, names.index(name), len(names), chosen[name].points)
                axes.set_ylim(bottom=0)
                axes.set_ylim(top=1.08 * axes.get_ylim()[1])
                axes.set_ylabel(f"{sample} efficiency" if column == 0 else "")
                if row == len(samples) - 1:
                    axes.set_xlabel(variable)
        for column, variable in enumerate(variables):
            every = [profile.edges for panel in samples.values() for profile in panel[variable].values()]
            for axes in panels[:, column]:
                axes.set_xlim(min(edges[0] for edges in every), max(edges[-1] for edges in every))
        panels[0][-1].set_title(title, loc="right", fontsize=14)
        shown = [panels[0][0].plot([], [], markersize=5, **chosen[name].points)[0] for name in names]
        _legend(figure, shown, names, 4)
    return figure


def _profile(axes: Any, profile: Any, number: int, total: int, style: dict[str, Any]) -> None:
    """Steps in the bins, with error bars side by side within them."""
    edges = np.asarray(profile.edges, dtype=np.float64)
    numbers = [Measured(math.nan, math.nan) if item is None else item for item in profile.efficiencies]
    values = np.array([item.value for item in numbers])
    axes.stairs(values, edges, baseline=None, color=style["color"], linestyle=style["linestyle"], linewidth=1.6)
    places = edges[:-1] + np.diff(edges) * (number + 1) / (total + 1)
    bars = {"linewidth": 1.2, "markersize": 5, **style, "linestyle": ""}
    axes.errorbar(places, values, yerr=_bars(numbers), **bars)


def dependence_curves(
    methods: Mapping[str, Mapping[float, Measured]],
    *,
    references: Mapping[str, Measured] | None = None,
    measure: str = "Distance correlation",
    variable: str = "mass",
    title: str = "",
    styles: Styles | None = None,
) -> Any:
    """A measure of dependence of scores on the protected variable against the strength of the decorrelation.

    Parameters
    ----------
    methods : mapping
        Method -> strength -> value, e.g. of :func:`jettagger.decorrelation.distance_correlation`.
    references : mapping, optional
        Name -> value of scores without a strength, drawn as horizontal bands.
    measure, variable, title : str
        Text for labels.
    styles : mapping of str to ProcessStyle, optional
        Styles of methods and references in all pictures, from `jettagger.plots.curve_styles`; default: by the order in
        this one.

    Returns
    -------
    matplotlib.figure.Figure
        Strengths are on a logarithmic scale, with 0 at the left.

    Raises
    ------
    InvalidValues
        If there is no value, or a strength is negative.
    """
    strengths = sorted({strength for curve in methods.values() for strength in curve})
    if not strengths:
        raise InvalidValues("no dependence to draw, expected at least one strength with its value")
    if strengths[0] < 0 or not all(map(math.isfinite, strengths)):
        raise InvalidValues(f"strengths are finite and at least 0, got {strengths[0]:g} to {strengths[-1]:g}")
    with drawing():
        number = len(methods) + len(references or {})
        figure, ((axes,),) = canvas(figsize=(9.5, 7 + 0.3 * math.ceil(number / 3)))
        chosen = curve_styles([*methods, *(references or {})], styles)
        handles = []
        for name, curve in methods.items():
            ordered = sorted(curve.items())
            values = [value for _, value in ordered]
            handles.append(
                axes.errorbar(
                    [strength for strength, _ in ordered],
                    [value.value for value in values],
                    yerr=_bars(values),
                    markersize=8,
                    linewidth=1.8,
                    **chosen[name].points,
                )
            )
        for name, value in (references or {}).items():
            handles.append(axes.axhline(value.value, **chosen[name].stroke, linewidth=1.8))
            if math.isfinite(value.uncertainty):
                limits = value.value - value.uncertainty, value.value + value.uncertainty
                axes.axhspan(*limits, color=chosen[name].colour, alpha=0.15, linewidth=0)
        positive = [strength for strength in strengths if strength > 0]
        if positive and positive[-1] > 5 * positive[0]:
            axes.set_xscale("symlog", linthresh=positive[0], linscale=0.5)
            axes.set_xticks(strengths, [f"{strength:g}" for strength in strengths])
            axes.minorticks_off()
        low, high = (0.0 if strengths[0] == 0 else strengths[0] / 1.2), strengths[-1] * 1.2 if strengths[-1] else 1
        axes.set_xlim(low - (0.1 * positive[0] if positive and low == 0 else 0), high)
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        axes.set_xlabel("Strength")
        axes.set_ylabel(f"{measure} of score and {variable}")
        axes.grid(which="major", alpha=0.25)
        _legend(figure, handles, [*methods, *(references or {})], 3)
        axes.set_title(title, loc="right", fontsize=14)
    return figure


def _values(*columns: Any) -> list[list[float]]:
    return [[number.value for number in column] for column in columns]


def _bars(numbers: Any) -> list[float]:
    """Lengths of error bars; none where the uncertainty is not known."""
    return [number.uncertainty if math.isfinite(number.uncertainty) else 0.0 for number in numbers]


def _legend(figure: Any, handles: list[Any], labels: list[str], columns: int) -> None:
    """Above the plot, where no curve is hidden."""
    number = min(columns, len(handles))
    figure.legend(handles, labels, loc="outside upper left", ncols=number, frameon=False, fontsize=12)


guard(globals())
