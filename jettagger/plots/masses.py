"""Masses of particles from assigned jets; needs the extra ``plot``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np

from jettagger.arguments import Kind, guard
from jettagger.errors import InvalidValues
from jettagger.plots.style import Styles, canvas, curve_styles, drawing

__all__ = ["assigned_masses"]

_Histogram = Annotated[Any, Kind("a hist.Hist", lambda value: hasattr(value, "axes") and hasattr(value, "variances"))]


def assigned_masses(
    histograms: Mapping[str, _Histogram],
    *,
    labels: Mapping[str, str] | None = None,
    true_masses: Mapping[str, float] | None = None,
    title: str = "",
    styles: Styles | None = None,
) -> Any:
    """Masses of particles as several methods assign their jets: a panel for each particle.

    Parameters
    ----------
    histograms : mapping of str to hist.Hist
        Particle -> histogram with a category axis ``method`` and one axis of the mass, and weighted storage; other
        category axes are summed. As `jettagger.processors.AssignmentProcessor` gives them.
    labels : mapping of str to str, optional
        Particle -> title of its panel, method -> label in the legend; default: their names.
    true_masses : mapping of str to float, optional
        Particle -> mass in GeV, drawn as a line.
    title : str
        Title above the plot.
    styles : mapping of str to ProcessStyle, optional
        Styles of the methods in all pictures, from `jettagger.plots.curve_styles`; default: by the order in this one.

    Returns
    -------
    matplotlib.figure.Figure
        Fractions of the events of each method per bin, with statistical uncertainties; events outside of the axis are
        in the denominator.

    Raises
    ------
    InvalidValues
        If there is no histogram.
    """
    if not histograms:
        raise InvalidValues("no histogram of a mass to draw, expected at least one")
    words = labels or {}
    methods = list(dict.fromkeys(name for item in histograms.values() for name in item.axes["method"]))
    chosen = curve_styles(methods, styles)
    with drawing(font_size=14):
        figure, panels = canvas(1, len(histograms), figsize=(6.2 * len(histograms) + 0.6, 5.6))
        handles: dict[str, Any] = {}
        for axes, (particle, histogram) in zip(panels[0], histograms.items(), strict=True):
            mass = next(axis for axis in histogram.axes if not axis.traits.discrete)
            summed = histogram.project("method", mass.name)
            edges = np.asarray(mass.edges)
            for method in methods:
                if method not in summed.axes["method"]:
                    continue
                row = summed[{"method": method}]
                total = float(row.values(flow=True).sum())
                if total <= 0:
                    continue
                values, errors = row.values() / total, np.sqrt(row.variances()) / total
                drawn = axes.stairs(values, edges, **chosen[method].stroke, linewidth=2)
                centres = (edges[1:] + edges[:-1]) / 2
                axes.errorbar(centres, values, errors, color=chosen[method].colour, linestyle="none", linewidth=1)
                handles.setdefault(words.get(method, method), drawn)
            if particle in (true_masses or {}):
                axes.axvline((true_masses or {})[particle], color="#8c8c8c", linewidth=1)
            axes.set_title(words.get(particle, particle), fontsize=14, loc="left")
            axes.set_xlabel(mass.label)
            axes.set_xlim(edges[0], edges[-1])
            axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
        panels[0][0].set_ylabel(f"Fraction of events / {edges[1] - edges[0]:g} GeV")
        figure.legend(list(handles.values()), list(handles), loc="outside upper right", ncols=4, frameon=False)
        figure.suptitle(title, x=0.02, ha="left", fontsize=14)
    return figure


guard(globals())
