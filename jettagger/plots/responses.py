"""Response and resolution of jet energies; needs the extra ``plot``. Each function returns a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from jettagger.arguments import Kind, Numbers, guard
from jettagger.errors import InvalidValues, MismatchError
from jettagger.plots.style import ProcessStyle, Styles, canvas, curve_styles, drawing
from jettagger.types import Floats

__all__ = ["flavour_responses", "response_distributions", "response_summary"]

_Measure = Annotated[
    Any,
    Kind("numbers with value and uncertainty", lambda value: hasattr(value, "value") and hasattr(value, "uncertainty")),
]
_Distribution = Annotated[
    Any,
    Kind(
        "a distribution with edges and contents", lambda value: hasattr(value, "edges") and hasattr(value, "contents")
    ),
]

#: titles of flavours
_TITLES: Mapping[str, str] = {"all": "all flavours", "uds": "u, d, s", "c": "c", "b": "b", "g": "gluon"}


_PARTS = ("value", "uncertainty")


def _title(flavour: str) -> str:
    return _TITLES.get(flavour, flavour)


def response_distributions(
    distributions: Sequence[_Distribution], *, title: str = "", styles: Styles | None = None
) -> Any:
    """Distributions of the response of several estimates: a row for each range of pt, a column for each flavour.

    Parameters
    ----------
    distributions : sequence
        With ``pt`` (range in GeV), ``flavour``, ``jets``, ``edges`` and ``contents`` (estimate -> float64[bins]), e.g.
        :class:`jettagger.jec.ResponseHistogram`.
    title : str
        Title above the plot, e.g. the range of ``|eta|``.
    styles : mapping of str to ProcessStyle, optional
        Styles of the estimates in all pictures, from `jettagger.plots.curve_styles`; default: by the order in this one.

    Returns
    -------
    matplotlib.figure.Figure
        Each distribution is normalised to the jets inside the edges.

    Raises
    ------
    InvalidValues
        If there is none.
    """
    if not distributions:
        raise InvalidValues("no distribution of the response to draw, expected at least one")
    ranges = sorted({tuple(item.pt) for item in distributions})
    flavours = list(dict.fromkeys(item.flavour for item in distributions))
    labels = list(dict.fromkeys(label for item in distributions for label in item.contents))
    chosen = curve_styles(labels, styles)
    with drawing(font_size=13):
        size = (4.2 * len(flavours) + 0.8, 3.3 * len(ranges) + 1)
        figure, panels = canvas(len(ranges), len(flavours), figsize=size, sharex=True)
        handles: dict[str, Any] = {}
        for item in distributions:
            axes = panels[ranges.index(tuple(item.pt))][flavours.index(item.flavour)]
            for label, contents in item.contents.items():
                total = float(np.sum(contents))
                if total > 0:
                    edges, merged = _merged(np.asarray(item.edges), np.asarray(contents), item.jets)
                    density = merged / total / np.diff(edges)
                    drawn = axes.stairs(density, edges, **chosen[label].stroke, linewidth=1.6)
                    handles.setdefault(label, drawn)
            text = f"{_title(item.flavour)}\n{item.pt[0]:g} to {item.pt[1]:g} GeV\n{item.jets} jets"
            axes.text(0.04, 0.95, text, transform=axes.transAxes, va="top", fontsize=10)
            axes.axvline(1, color="#8c8c8c", linewidth=0.8)
            axes.set_ylim(0, 1.35 * axes.get_ylim()[1])
        for row in panels:
            for axes in row:
                axes.set_visible(bool(axes.texts))
            row[0].set_ylabel("Density of jets")
        for axes in panels[-1]:
            axes.set_xlabel("Response")
            axes.set_xlim(distributions[0].edges[0], distributions[0].edges[-1])
        figure.legend(list(handles.values()), list(handles), loc="outside upper left", ncols=4, frameon=False)
        panels[0][-1].set_title(title, loc="right", fontsize=13)
    return figure


def _merged(edges: Floats, contents: Floats, jets: int) -> tuple[Floats, Floats]:
    """Wider bins for few jets: as many as twice the cube root of their number (Rice), at least ten."""
    wanted = max(10, math.ceil(2 * jets ** (1 / 3)))
    factor = next(
        (item for item in (1, 2, 4, 5, 10) if len(contents) / item <= wanted and len(contents) % item == 0), 1
    )
    return edges[::factor], contents.reshape(-1, factor).sum(axis=1)


def response_summary(
    pt_edges: Numbers,
    median: Mapping[str, _Measure],
    resolution: Mapping[str, _Measure],
    ratio: Mapping[str, _Measure],
    *,
    reference: str = "",
    title: str = "",
    styles: Styles | None = None,
) -> Any:
    """Median response and resolution of several estimates against the true pt, and ratios of the resolutions.

    Parameters
    ----------
    pt_edges : float[bins + 1]
        GeV.
    median, resolution : mapping
        Estimate -> ``value`` and ``uncertainty``, float64[bins] with NaN for no number.
    ratio : mapping
        The same for resolutions over that of the reference; without one there is no such panel.
    reference : str
        Label of the reference, for the axis label.
    title : str
        Title above the plot, e.g. flavour and range of ``|eta|``.
    styles : mapping of str to ProcessStyle, optional
        Styles of the estimates in all pictures, from `jettagger.plots.curve_styles`; default: by the order in this one.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidValues
        If there is no estimate.
    MismatchError
        If a measure has another number of bins.
    """
    if not median:
        raise InvalidValues("no response to draw, expected at least one estimate")
    edges = np.asarray(pt_edges, dtype=np.float64)
    labels = list(median)
    for label, measure in [*median.items(), *resolution.items(), *ratio.items()]:
        if len(measure.value) != len(edges) - 1:
            raise MismatchError(f"{label}: numbers in {len(measure.value)} bins for {len(edges) - 1} bins of pt")
    chosen = curve_styles(labels, styles)
    with drawing():
        rows = 3 if ratio else 2
        heights = (2, 2.4, 1.4)[:rows]
        figure, panels = canvas(rows, height_ratios=heights, sharex=True, figsize=(8.5, 2.1 * sum(heights)))
        for measures, axes in zip((median, resolution, ratio), panels[:, 0], strict=False):
            for label, measure in measures.items():
                _points(axes, edges, measure, (labels.index(label), len(labels)), chosen[label], label)
        panels[0, 0].axhline(1, color="#8c8c8c", linewidth=0.8)
        panels[0, 0].set_ylabel("Median response")
        panels[1, 0].set_ylabel("Resolution")
        _range(panels[0, 0], list(median.values()), 0.3)
        _range(panels[1, 0], list(resolution.values()), 0.0)
        panels[1, 0].set_ylim(bottom=0)
        if ratio:
            _range(panels[2, 0], list(ratio.values()), 0.0)
            panels[2, 0].axhline(1, color="#8c8c8c", linewidth=0.8)
            panels[2, 0].set_ylabel(f"over {reference}" if reference else "Ratio", fontsize=14)
        panels[0, 0].legend(loc="upper right", ncols=3, frameon=False, fontsize=12)
        panels[0, 0].set_title(title, loc="right", fontsize=14)
        _pt_axis(panels[-1, 0], _filled(edges, list(median.values())))
        panels[-1, 0].set_xlabel(r"$p_T$ of the generator jet [GeV]")
    return figure


def _points(axes: Any, edges: Floats, measure: Any, place: tuple[int, int], style: ProcessStyle, label: str) -> None:
    """Points side by side within their bins, joined by lines."""
    number, total = place
    share = (number + 1) / (total + 1) if total > 1 else 0.5
    low, high = edges[:-1], edges[1:]
    with np.errstate(divide="ignore"):
        places = np.where(low > 0, np.exp(np.log(low) + share * np.log(high / low)), low + share * (high - low))
    bars = np.nan_to_num(np.asarray(measure.uncertainty))
    keywords = {"markersize": 5, "linewidth": 1.2, "elinewidth": 1.2, **style.points}
    axes.errorbar(places, np.asarray(measure.value), yerr=bars, label=label, **keywords)


def _range(axes: Any, measures: Sequence[Any], above: float) -> None:
    """Limits by the points that are known to 30 %, with a share of space above them for a legend."""
    values, bars = (np.concatenate([np.asarray(getattr(item, name)) for item in measures]) for name in _PARTS)
    with np.errstate(invalid="ignore"):
        good = bars < 0.3 * np.abs(values)
    if not good.any():
        return
    low, high = float((values - bars)[good].min()), float((values + bars)[good].max())
    margin = 0.08 * (high - low) or 0.1 * abs(high)
    axes.set_ylim(low - margin, high + margin + above * (high - low))


def _filled(edges: Floats, measures: Sequence[Any]) -> Floats:
    """The edges from the first to the last bin with a number; all of them if there is none."""
    there = np.flatnonzero(np.any([np.isfinite(np.asarray(item.value)) for item in measures], axis=0))
    return edges[there[0] : there[-1] + 2] if len(there) else edges


def _pt_axis(axes: Any, edges: Floats) -> None:
    """A logarithmic scale with plain numbers, if the range is wide."""
    axes.set_xlim(edges[0], edges[-1])
    if edges[0] > 0 and edges[-1] > 4 * edges[0]:
        axes.set_xscale("log")
        steps = (1, 2, 3, 5) if edges[-1] < 40 * edges[0] else (1, 2, 5)
        ticks = [step * 10.0**power for power in range(-1, 6) for step in steps]
        shown = [tick for tick in ticks if edges[0] <= tick <= edges[-1]]
        axes.set_xticks(shown, [f"{tick:g}" for tick in shown])
        axes.set_xticks([], minor=True)
        axes.set_xlim(edges[0], edges[-1])


def flavour_responses(
    panels: Mapping[str, Mapping[str, _Measure]],
    flavours: Sequence[str],
    *,
    title: str = "",
    styles: Styles | None = None,
) -> Any:
    """Median response of several estimates by flavour, a panel for each range of ``|eta|``.

    Parameters
    ----------
    panels : mapping
        Title of the panel -> estimate -> ``value`` and ``uncertainty``, float64[flavours].
    flavours : sequence of str
    title : str
        Title above the plot, e.g. the range of pt.
    styles : mapping of str to ProcessStyle, optional
        Styles of the estimates in all pictures, from `jettagger.plots.curve_styles`; default: by the order in this one.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidValues
        If there is no panel.
    """
    if not panels or not all(panels.values()):
        raise InvalidValues("no response of flavours to draw, expected at least one panel with an estimate")
    labels = list(dict.fromkeys(label for measures in panels.values() for label in measures))
    chosen = curve_styles(labels, styles)
    with drawing(font_size=14):
        figure, drawn = canvas(1, len(panels), figsize=(1.1 + 5.2 * len(panels), 5.6))
        handles: dict[str, Any] = {}
        for (name, measures), axes in zip(panels.items(), drawn[0], strict=True):
            for label, measure in measures.items():
                number = labels.index(label)
                shift = (number + 1) / (len(labels) + 1) - 0.5 if len(labels) > 1 else 0.0
                keywords = {"markersize": 7, "elinewidth": 1.4, **chosen[label].points, "linestyle": ""}
                places = np.arange(len(flavours)) + 0.7 * shift
                bars = np.nan_to_num(np.asarray(measure.uncertainty))
                made = axes.errorbar(places, np.asarray(measure.value), yerr=bars, **keywords)
                handles.setdefault(label, made)
            axes.axhline(1, color="#8c8c8c", linewidth=0.8)
            axes.set_xticks(range(len(flavours)), [_title(flavour) for flavour in flavours])
            axes.minorticks_off()
            axes.set_xlim(-0.5, len(flavours) - 0.5)
            axes.margins(y=0.15)
            axes.set_title(name, loc="left", fontsize=12)
        drawn[0][0].set_ylabel("Median response")
        drawn[0][-1].set_title(title, loc="right", fontsize=12)
        figure.legend(list(handles.values()), list(handles), loc="outside upper left", ncols=4, frameon=False)
    return figure


guard(globals())
