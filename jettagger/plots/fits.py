"""Fits of factors on efficiencies: spectra in bands before and after the fit, and impacts; needs the extra ``plot``.

Each function returns a figure.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from jettagger.arguments import Kind, guard, in_range
from jettagger.errors import InvalidValues, UnknownName
from jettagger.plots.spectra import draw_band, headroom
from jettagger.plots.style import FILLS, ProcessStyle, Styles, canvas, drawing, fill_styles

__all__ = ["band_spectra", "impact_ranking"]

#: range of the changes before the fit that is shown, relative to the largest one after it
PREFIT = 3.0

_Fit = Annotated[
    Any,
    Kind("a fit of factors", lambda value: hasattr(value, "expectations") and hasattr(value, "impacts")),
]


def band_spectra(
    fit: _Fit,
    *,
    fitted: bool = True,
    title: str = "",
    log: bool = False,
    counted: str = "Jets",
    styles: Styles | None = None,
) -> Any:
    """Data and stacked categories in each band of a fit, with ratio panels.

    Parameters
    ----------
    fit : jettagger.calibration.FactorFit
    fitted : bool
        Whether after the fit; else as simulated, with the uncertainties before the fit.
    title : str
        Title above the plot, e.g. luminosity and bin.
    log : bool
        Whether the y axes are logarithmic.
    counted : str
        What is counted, for the axis label.
    styles : mapping of str to ProcessStyle, optional
        Colours and hatches of the categories in all pictures; default: by the order in this one.

    Returns
    -------
    matplotlib.figure.Figure
        A column per band, from the lowest. Contents of bins of different widths are per width of the narrowest bin. The
        hatched band is the total uncertainty.
    """
    expectations = fit.expectations(fitted=fitted)
    axis = fit.model.templates.variable
    edges = np.asarray(axis.edges, dtype=np.float64)
    widths = np.diff(edges)
    unit = widths.min() / widths
    centres = (edges[:-1] + edges[1:]) / 2
    names = list(fit.model.categories)
    chosen = fill_styles(names, styles)
    with drawing():
        size = (1.5 + 5.2 * len(expectations), 7.8)
        figure, panels = canvas(2, len(expectations), figsize=size, height_ratios=(3, 1), sharex=True)
        for column, expected in enumerate(expectations):
            upper, lower = panels[0][column], panels[1][column]
            base = np.zeros_like(centres)
            for name in reversed(names):
                if name not in expected.categories:
                    continue
                top = base + expected.categories[name] * unit
                upper.stairs(top, edges, baseline=base, fill=True, **chosen[name].fill)
                base = top
            total, sigma = expected.total, expected.uncertainty
            draw_band(upper, edges, (total - sigma) * unit, (total + sigma) * unit, None)
            error = np.sqrt(np.maximum(expected.data, 0))
            points = {"fmt": "o", "color": "black", "markersize": 5, "linewidth": 1.2}
            seen = np.where(expected.data > 0, expected.data, np.nan)
            upper.errorbar(centres, seen * unit, error * unit, **points)
            safe = np.where(total > 0, total, np.nan)
            draw_band(lower, edges, 1 - sigma / safe, 1 + sigma / safe, None)
            lower.errorbar(centres, expected.data / safe, error / safe, **points)
            lower.axhline(1, color="black", linewidth=0.8)
            farthest = np.nanmax([0.1, *np.abs(expected.data / safe - 1), *(sigma / safe)])
            lower.set_ylim(1 - min(1.3 * farthest, 1), 1 + min(1.3 * farthest, 1))
            headroom(upper, [total * unit, (expected.data + error) * unit], log, lines=0)
            upper.set_title(f"band {expected.band}", loc="left", fontsize=14)
            lower.set_xlabel(axis.label or axis.name)
            lower.set_xlim(edges[0], edges[-1])
        per = f"{widths.min():.4g}" if np.ptp(widths) > 1e-6 * widths.min() else f"{widths[0]:.4g}"
        label = axis.label or ""
        unit_text = f" {label[label.rindex('[') + 1 : -1]}" if label.endswith("]") else ""
        panels[0][0].set_ylabel(f"{counted} / {per}{unit_text}")
        panels[1][0].set_ylabel("data / fit" if fitted else "data / simulation")
        panels[0][-1].set_title(title, loc="right", fontsize=14)
        shown = {name: chosen[name] for name in names if any(name in e.categories for e in expectations)}
        _legend(figure, panels[0][0], shown)
    return figure


def _legend(figure: Any, axes: Any, styles: dict[str, ProcessStyle]) -> None:
    """Above the panels, where nothing is hidden."""
    from matplotlib.patches import Patch

    handles = [Patch(**style.fill) for style in styles.values()]
    hatched = Patch(facecolor="none", hatch="////", edgecolor="#4a4a4a", linewidth=0)
    points = axes.errorbar([], [], [], fmt="o", color="black", markersize=5, linewidth=1.2)
    labels = ["data", *styles, "uncertainty"]
    columns = min(len(labels), 5)
    figure.legend(
        [points, *handles, hatched], labels, loc="outside upper left", ncols=columns, frameon=False, fontsize=12
    )


def impact_ranking(fit: _Fit, category: str, band: str, *, number: int = 15, title: str = "") -> Any:
    """The constrained parameters with the largest impacts on a factor, and their fitted values.

    Parameters
    ----------
    fit : jettagger.calibration.FactorFit
    category, band : str
        The factor.
    number : int
        Maximum number of parameters.
    title : str
        Title above the plot.

    Returns
    -------
    matplotlib.figure.Figure
        At the left, fitted values and uncertainties in units of the standard deviation before the fit. At the right,
        changes of the factor if a parameter is fixed one standard deviation after the fit above (filled) and below its
        value (hatched), and as lines one before the fit.

    Raises
    ------
    UnknownName
        If there is no such category or band.
    InvalidValues
        If no parameter is constrained.
    """
    in_range(number, "impact_ranking(), argument number", 1)
    categories, bands = list(fit.model.categories), list(fit.model.templates.bands)
    for kind, name, known in (("category", category, categories), ("band", band, bands)):
        if name not in known:
            raise UnknownName(kind, name, known, "the fit")
    place = categories.index(category), bands.index(band)

    def size(impact: Any) -> float:
        return float(np.nanmax([abs(impact.up[place]), abs(impact.down[place]), -1.0]))

    ranked = sorted(fit.impacts.values(), key=size, reverse=True)[:number]
    if not ranked or size(ranked[0]) < 0:
        raise InvalidValues(f"no impacts on the factor of {category!r} in band {band!r}: nothing that is constrained")
    rows = np.arange(len(ranked))[::-1]
    measured = fit.factor(category, band)
    with drawing():
        figure, ((left, right),) = canvas(
            1, 2, figsize=(11, 1.9 + 0.42 * len(ranked)), width_ratios=(1, 1.3), sharex=False
        )
        left.axvspan(-1, 1, color="#d9d9d9", zorder=0)
        values, sigmas = ([getattr(item, name) for item in ranked] for name in ("value", "uncertainty"))
        points = {"fmt": "o", "color": "black", "markersize": 5, "linewidth": 1.4}
        left.errorbar(values, rows, xerr=sigmas, **points)
        farthest = max(1.4, *(1.1 * (abs(value) + sigma) for value, sigma in zip(values, sigmas, strict=True)))
        left.set_xlim(-farthest, farthest)
        left.set_yticks(rows, [item.parameter for item in ranked], fontsize=12)
        left.set_xlabel("(fitted - nominal) / prior")
        styles = (("up", FILLS[0], None), ("down", FILLS[1], "////"))
        for name, colour, hatch in styles:
            changes = np.array([getattr(item, name)[place] for item in ranked])
            label = f"{'+' if name == 'up' else '-'}1 standard deviation after the fit"
            right.barh(rows, changes, 0.7, facecolor=colour, edgecolor="black", linewidth=0.8, hatch=hatch, label=label)
            outline = np.array([getattr(item, f"prefit_{name}")[place] for item in ranked])
            lines = {"facecolor": "none", "edgecolor": "#4a4a4a", "linewidth": 1.0, "linestyle": (0, (2, 2))}
            right.barh(rows, outline, 0.8, label="before the fit" if name == "down" else None, **lines)
        right.axvline(0, color="black", linewidth=0.8)
        right.set_yticks(rows, [])
        right.set_xlabel(f"change of the factor of {category}, {band}")
        # changes before the fit can be many times larger
        largest = size(ranked[0])
        before = [abs(getattr(item, name)[place]) for item in ranked for name in ("prefit_up", "prefit_down")]
        farthest = 1.1 * max(largest, min(np.nanmax([*before, 0.0]), PREFIT * largest), 1e-6)
        right.set_xlim(-farthest, farthest)
        right.locator_params(axis="x", nbins=4)  # the numbers are long
        for axes in (left, right):
            axes.set_ylim(-0.6, len(ranked) - 0.4)
            axes.tick_params(axis="y", which="both", length=0)
            axes.minorticks_off()
            axes.grid(axis="x", alpha=0.25)
        handles, labels = right.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=2, frameon=False, fontsize=12)
        left.set_title(f"{measured.value:.3f} ± {measured.uncertainty:.3f}", loc="left", fontsize=14)
        right.set_title(title, loc="right", fontsize=14)
    return figure


guard(globals())
