"""Fits of a search: spectra before and after the fit, pulls, impacts, correlations, significances; needs ``plot``.

Each function returns a figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from jettagger.arguments import Kind, guard, in_range
from jettagger.errors import InvalidValues, UnknownName
from jettagger.plots.spectra import draw_band, headroom, outlined
from jettagger.plots.style import DIVERGING, FILLS, PETROFF, PlotLabel, Styles, canvas, drawing, styles_of, titled

__all__ = [
    "closure_spectrum",
    "correlation_matrix",
    "fitted_pulls",
    "fitted_spectrum",
    "significances",
    "strength_impacts",
]

#: range of the changes before the fit that is shown, relative to the largest one after it
PREFIT = 3.0
#: correlations with a number in each cell
WRITTEN = 12

_Closure = Annotated[Any, Kind("a closure", lambda value: hasattr(value, "spectra") and hasattr(value, "degrees"))]
_Fit = Annotated[Any, Kind("a fit of a search", lambda value: hasattr(value, "postfit") and hasattr(value, "impacts"))]


def fitted_spectrum(
    fit: _Fit,
    region: str,
    *,
    edges: Sequence[float],
    variable: str = "",
    fitted: bool = True,
    title: str = "",
    log: bool = True,
    counted: str = "Events",
    styles: Styles | None = None,
    label: PlotLabel | None = None,
) -> Any:
    """Data and stacked processes of a region, with the total uncertainty before or after the fit.

    Parameters
    ----------
    fit : jettagger.statistics.searchfits.SearchFit
    region : str
    edges : sequence of float
        Of the bins.
    variable : str
        Label of the x axis.
    fitted : bool
        Whether after the fit.
    title : str
        Title above the plot.
    log : bool
        Whether the y axis is logarithmic.
    counted : str
        What is counted, for the axis label.
    styles : mapping of str to ProcessStyle, optional
        Colours, lines and hatches of all pictures; default: by the order in this one.
    label : PlotLabel, optional
        Label of an experiment.

    Returns
    -------
    matplotlib.figure.Figure
        The signal is a line: after the fit on top of the backgrounds, before it alone, as simulated. The lower panel is
        data over backgrounds and, after the fit, signal, with the total uncertainty as a band.

    Raises
    ------
    UnknownName
        If there is no such region.
    """
    spectra = {item.region: item for item in (fit.postfit if fitted else fit.prefit)}
    if region not in spectra:
        raise UnknownName("region", region, list(spectra), "the fit")
    item = spectra[region]
    bounds = np.asarray(edges, dtype=np.float64)
    centres, nothing = (bounds[:-1] + bounds[1:]) / 2, np.zeros_like(item.total)
    chosen = styles_of(item.processes, styles)
    signal = item.processes.get(fit.signal, nothing)
    backgrounds = {name: values for name, values in item.processes.items() if name != fit.signal}
    total = item.total if fitted else item.total - signal
    with drawing():
        figure, ((upper,), (lower,)) = canvas(2, height_ratios=(3, 1), sharex=True)
        base = nothing
        for name, values in backgrounds.items():
            upper.stairs(base + values, bounds, baseline=base, fill=True, label=name, **chosen[name].fill)
            base = base + values
        if fit.signal in item.processes:
            line = {**chosen[fit.signal].stroke, "linewidth": 2.2, "path_effects": outlined()}
            text = f"{fit.signal} ({fit.strength:.3g} times)" if fitted else fit.signal
            upper.stairs(base + signal if fitted else signal, bounds, label=text, **line)
        draw_band(upper, bounds, total - item.uncertainty, total + item.uncertainty, "uncertainty")
        error = np.sqrt(np.maximum(item.data, 0))
        points = {"fmt": "o", "color": "black", "markersize": 5, "linewidth": 1.2}
        observed = "sum of backgrounds" if fit.asimov else "data"
        upper.errorbar(centres, np.where(item.data > 0, item.data, np.nan), error, label=observed, **points)
        safe = np.where(total > 0, total, np.nan)
        draw_band(lower, bounds, 1 - item.uncertainty / safe, 1 + item.uncertainty / safe, None)
        lower.errorbar(centres, item.data / safe, error / safe, **points)
        lower.axhline(1, color="black", linewidth=0.8)
        farthest = np.nanmax([0.1, *(np.abs(item.data / safe - 1) + error / safe), *(item.uncertainty / safe)])
        lower.set_ylim(1 - min(1.1 * farthest, 1), 1 + min(1.1 * farthest, 1))
        lower.set_ylabel("data / fit" if fitted else "data / bkg.")
        lines = (len(item.processes) + 4) // 2 + (label is not None)
        headroom(upper, [total, np.maximum(signal, 0), item.data + error], log, lines=lines, decades=4.0)
        upper.set_ylabel(f"{counted} / bin")
        upper.legend(loc="upper right", ncols=2, frameon=False)
        titled(upper, title, label, data=not fit.asimov)
        lower.set_xlabel(variable)
        lower.set_xlim(bounds[0], bounds[-1])
    return figure


def closure_spectrum(
    closure: _Closure,
    region: str,
    *,
    edges: Sequence[float],
    variable: str = "",
    title: str = "",
    styles: Styles | None = None,
    label: PlotLabel | None = None,
) -> Any:
    """Data and prediction in a validation region of a background from data.

    Parameters
    ----------
    closure : jettagger.statistics.closure.Closure
    region, edges, variable, styles, label
        As for `fitted_spectrum`.
    title : str
        Title above the plot; default: the region with the goodness of fit.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    UnknownName
        If there is no such region.
    """
    from types import SimpleNamespace

    fit = SimpleNamespace(postfit=closure.spectra, impacts=(), signal="", strength=0.0, asimov=False)
    text = title or (
        f"{region}: $-2 \\ln L$ = {closure.statistic:.1f} for {closure.degrees} degrees of freedom, "
        f"p = {closure.probability:.2f}"
    )
    return fitted_spectrum(fit, region, edges=edges, variable=variable, title=text, styles=styles, label=label)


def fitted_pulls(fit: _Fit, *, number: int = 40, title: str = "", label: PlotLabel | None = None) -> Any:
    """Fitted values and uncertainties of the constrained parameters, in units of those before the fit.

    Parameters
    ----------
    fit : jettagger.statistics.searchfits.SearchFit
    number : int
        Maximum number of parameters; those of simulated events come last.
    title : str
        Title above the plot.
    label : PlotLabel, optional
        Label of an experiment.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidValues
        If no parameter is constrained.
    """
    in_range(number, "fitted_pulls(), argument number", 1)
    listed = [item for item in fit.parameters if item.pull is not None]
    listed = sorted(listed, key=lambda item: item.name.startswith("mcstat_"))[:number]
    if not listed:
        raise InvalidValues("no pulls to draw: the fit has no parameter that is constrained")
    rows = np.arange(len(listed))[::-1]
    with drawing():
        figure, ((axes,),) = canvas(figsize=(8.5, 2.2 + 0.36 * len(listed)))
        axes.axvspan(-2, 2, color="#ececec", zorder=0)
        axes.axvspan(-1, 1, color="#d0d0d0", zorder=0)
        points = {"fmt": "o", "color": "black", "markersize": 5, "linewidth": 1.4}
        axes.errorbar([item.pull for item in listed], rows, xerr=[item.constraint for item in listed], **points)
        farthest = max(2.6, *(1.1 * (abs(item.pull) + item.constraint) for item in listed))
        axes.set_xlim(-farthest, farthest)
        axes.set_ylim(-0.7, len(listed) - 0.3)
        axes.set_yticks(rows, [item.name for item in listed], fontsize=12)
        axes.tick_params(axis="y", which="both", length=0)
        axes.set_xlabel("(fitted - nominal) / prior uncertainty")
        _above(figure, axes, title, label, fit)
    return figure


def _above(figure: Any, axes: Any, title: str, label: PlotLabel | None, fit: Any) -> None:
    """Title or label where the axes have no place for a text."""
    if label is None:
        axes.set_title(title, loc="right", fontsize=14)
        return
    label.draw(axes, data=not fit.asimov)
    if title:
        figure.suptitle(title, fontsize=14)


def strength_impacts(fit: _Fit, *, number: int = 20, title: str = "", label: PlotLabel | None = None) -> Any:
    """The parameters with the largest impacts on the strength, and their pulls.

    Parameters
    ----------
    fit : jettagger.statistics.searchfits.SearchFit
    number : int
        Maximum number of parameters.
    title : str
        Title above the plot.
    label : PlotLabel, optional
        Label of an experiment.

    Returns
    -------
    matplotlib.figure.Figure
        At the left pulls with their constraints, for free parameters their values; at the right changes of the strength
        by one standard deviation after the fit (filled, hatched) and before it (lines).

    Raises
    ------
    InvalidValues
        If there are no impacts.
    """
    in_range(number, "strength_impacts(), argument number", 1)
    ranked = fit.impacts[:number]
    if not ranked:
        raise InvalidValues("no impacts to draw: the fit has no parameter besides the strength")
    found = {item.name: item for item in fit.parameters}
    rows = np.arange(len(ranked))[::-1]
    with drawing():
        figure, ((left, right),) = canvas(1, 2, figsize=(11, 2.4 + 0.4 * len(ranked)), width_ratios=(1, 1.3))
        left.axvspan(-1, 1, color="#d9d9d9", zorder=0)
        points = {"color": "black", "markersize": 5, "linewidth": 1.4}
        farthest = 1.4
        for row, item in zip(rows, ranked, strict=True):
            parameter = found[item.name]
            if parameter.pull is None:
                left.text(
                    0,
                    row,
                    f"{parameter.value:.3g} ± {parameter.uncertainty:.2g}",
                    ha="center",
                    va="center",
                    fontsize=12,
                )
                continue
            left.errorbar([parameter.pull], [row], xerr=[parameter.constraint], fmt="o", **points)
            farthest = max(farthest, 1.1 * (abs(parameter.pull) + parameter.constraint))
        left.set_xlim(-farthest, farthest)
        left.set_yticks(rows, [item.name for item in ranked], fontsize=12)
        left.set_xlabel("(fitted - nominal) / prior")
        for name, colour, hatch in (("up", FILLS[0], None), ("down", FILLS[1], "////")):
            changes = np.asarray([getattr(item, name) for item in ranked], dtype=np.float64)
            text = f"{'+' if name == 'up' else '-'}1 standard deviation after the fit"
            right.barh(rows, changes, 0.7, facecolor=colour, edgecolor="black", linewidth=0.8, hatch=hatch, label=text)
            outline = np.asarray([getattr(item, f"prefit_{name}") for item in ranked], dtype=np.float64)
            lines = {"facecolor": "none", "edgecolor": "#4a4a4a", "linewidth": 1.0, "linestyle": (0, (2, 2))}
            right.barh(rows, outline, 0.8, label="before the fit" if name == "down" else None, **lines)
        right.axvline(0, color="black", linewidth=0.8)
        right.set_yticks(rows, [])
        right.set_xlabel(f"change of the strength of {fit.signal}")
        largest = max(item.size for item in ranked)
        before = [abs(value or 0.0) for item in ranked for value in (item.prefit_up, item.prefit_down)]
        end = 1.1 * max(largest, min(max(before, default=0.0), PREFIT * largest), 1e-9)
        right.set_xlim(-end, end)
        right.locator_params(axis="x", nbins=4)
        for axes in (left, right):
            axes.set_ylim(-0.6, len(ranked) - 0.4)
            axes.tick_params(axis="y", which="both", length=0)
            axes.minorticks_off()
            axes.grid(axis="x", alpha=0.25)
        handles, labels = right.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=3, frameon=False, fontsize=12)
        measured = f"{title + ', ' if title else ''}{fit.strength:.3g} ± {fit.uncertainty:.2g}"
        right.set_title(measured, loc="left", fontsize=14)
        if label is not None:
            label.draw(left, data=not fit.asimov, right=False)
            right.set_title(label.right, loc="right", fontsize=16)
    return figure


def correlation_matrix(fit: _Fit, *, smallest: float = 0.0, title: str = "", label: PlotLabel | None = None) -> Any:
    """Correlations of the parameters of a fit.

    Parameters
    ----------
    fit : jettagger.statistics.searchfits.SearchFit
    smallest : float
        Parameters whose correlations with all others are smaller are left out, except the strength.
    title : str
        Title above the plot.
    label : PlotLabel, optional
        Label of an experiment.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidValues
        If no parameter floats.
    """
    in_range(smallest, "correlation_matrix(), argument smallest", 0)
    others = np.abs(fit.correlation - np.eye(len(fit.names)))
    constrained = {item.name for item in fit.parameters}
    kept = [i for i, name in enumerate(fit.names) if name not in constrained or others[i].max(initial=0.0) >= smallest]
    if not kept:
        raise InvalidValues("no correlations to draw: no parameter floats in the fit")
    names, values = [fit.names[i] for i in kept], fit.correlation[np.ix_(kept, kept)]
    side = max(3.6 + 0.36 * len(names), 7.5)
    with drawing():
        figure, ((axes,),) = canvas(figsize=(side + 1.2, side))
        image = axes.imshow(values, vmin=-1, vmax=1, cmap=DIVERGING)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=11)
        axes.set_yticks(range(len(names)), names, fontsize=11)
        axes.tick_params(which="both", length=0)
        axes.minorticks_off()
        for row, column in np.ndindex(values.shape) if len(names) <= WRITTEN else ():
            shade = "white" if abs(values[row, column]) > 0.6 else "black"
            axes.text(column, row, f"{values[row, column]:.2f}", ha="center", va="center", fontsize=9, color=shade)
        figure.colorbar(image, ax=axes, label="correlation", fraction=0.046)
        _above(figure, axes, title, label, fit)
    return figure


def significances(
    fits: Sequence[_Fit], *, title: str = "", styles: Mapping[str, Any] | None = None, label: PlotLabel | None = None
) -> Any:
    """Observed and expected significance against the mass.

    Parameters
    ----------
    fits : sequence of SearchFit
        One per mass.
    title : str
        Title above the plot.
    styles : mapping of str to ProcessStyle, optional
        Colours and markers of the signals, for their points.
    label : PlotLabel, optional
        Label of an experiment.

    Returns
    -------
    matplotlib.figure.Figure
        Expected is that of the signals as simulated. The axis at the right has probabilities of the background alone.

    Raises
    ------
    InvalidValues
        If there is no fit.
    """
    from scipy.stats import norm

    if not fits:
        raise InvalidValues("no significances to draw, expected at least one fit")
    ordered = sorted(fits, key=lambda item: item.mass)
    masses = np.asarray([item.mass for item in ordered])
    expected = np.asarray([item.expected_significance for item in ordered])
    observed = np.asarray([item.significance for item in ordered], dtype=np.float64)
    with drawing():
        figure, ((axes,),) = canvas()
        axes.plot(masses, expected, color=PETROFF[0], linestyle="--", linewidth=2, marker="s", label="expected, signal")
        if not all(item.asimov for item in ordered):
            axes.plot(masses, observed, color="black", linewidth=2, marker="o", label="observed")
        for item, value in zip(ordered, expected, strict=True):
            if styles and item.signal in styles:
                style = styles[item.signal]
                axes.plot([item.mass], [value], style.marker, color=style.colour, markersize=9)
        top = 1.35 * max(3.2, float(np.nanmax([*expected, *observed])))
        axes.set_ylim(0, top)
        for level in range(1, 6):
            if level < 0.8 * top:
                axes.axhline(level, color="#717581", linewidth=0.8, linestyle=":")
                text = rf"$p$ = {norm.sf(level):.1e}"
                axes.text(0.01, level, text, transform=axes.get_yaxis_transform(), ha="left", va="bottom", fontsize=11)
        axes.set_xlabel("Resonance mass [GeV]")
        axes.set_ylabel("Local significance [std. dev.]")
        axes.legend(loc="upper right", frameon=False)
        titled(axes, title, label, data=not all(item.asimov for item in ordered))
    return figure


guard(globals())
