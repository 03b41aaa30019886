"""Spectra, shapes, mass sculpting and cutflows; needs the extra ``plot``. Each function returns a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jettagger.arguments import Histogram, guard
from jettagger.errors import InvalidValues, MismatchError
from jettagger.plots.style import FILLS, PlotLabel, Styles, canvas, curve_styles, drawing, styles_of, titled
from jettagger.types import Floats

__all__ = ["cutflow", "sculpting", "shapes", "spectrum"]

#: maximum number of decades displayed on a logarithmic scale, so that a few outliers do not compress the rest
DECADES = 4.0


def _per_unit(histogram: Any, counted: str) -> str:
    """Label of the y axis: per bin, with the width if all bins have the same."""
    widths = histogram.axes[0].widths
    if not np.allclose(widths, widths[0], rtol=1e-6):
        return f"{counted} / bin"
    label = histogram.axes[0].label
    unit = label[label.rindex("[") + 1 : -1] if label.endswith("]") else ""
    return f"{counted} / {widths[0]:.4g}{' ' + unit if unit else ''}"


def _check(histograms: Mapping[str, Any]) -> None:
    if not histograms:
        raise InvalidValues("no histogram to draw, expected at least one")
    first, edges = next(iter(histograms), ""), None
    for name, histogram in histograms.items():
        if len(histogram.axes) != 1:
            raise MismatchError(f"{name!r}: only histograms of one variable can be drawn, got {len(histogram.axes)}")
        if edges is not None and not np.array_equal(edges, histogram.axes[0].edges):
            raise MismatchError(f"{name!r} has different bins than {first!r}: draw histograms with the same axis")
        edges = histogram.axes[0].edges


def _values(histogram: Any) -> tuple[Floats, Floats]:
    values = np.asarray(histogram.values(), dtype=np.float64)
    variances = histogram.variances()
    return values, values if variances is None else np.asarray(variances, dtype=np.float64)


def spectrum(
    backgrounds: Mapping[str, Histogram],
    *,
    data: Histogram | None = None,
    signals: Mapping[str, Histogram] | None = None,
    title: str = "",
    log: bool = True,
    counted: str = "Events",
    styles: Styles | None = None,
    label: PlotLabel | None = None,
) -> Any:
    """Stacked backgrounds with their statistical uncertainty, signals as lines, data as points, and a ratio panel.

    Parameters
    ----------
    backgrounds : mapping
        Name -> one-dimensional ``hist.Hist``; stacked from below in this order.
    data : hist.Hist, optional
        Drawn as points with Poisson uncertainties.
    signals : mapping, optional
        Name -> ``hist.Hist``, drawn as lines over the stack.
    title : str
        Title above the plot, e.g. luminosity and region.
    log : bool
        Whether the y axis is logarithmic.
    counted : str
        What is counted, for the axis label.
    styles : mapping of str to ProcessStyle, optional
        Colours and line styles of all pictures, from `process_styles`; default: by the order in this one.
    label : PlotLabel, optional
        Label of an experiment.

    Returns
    -------
    matplotlib.figure.Figure
        The lower panel is data over background, with the uncertainty of the background as a band; without data, each
        signal over background, with the statistical uncertainties of these ratios.

    Raises
    ------
    MismatchError
        If the histograms have different bins or are not one-dimensional.
    InvalidValues
        If there is no background.
    """
    if not backgrounds:
        raise InvalidValues("a spectrum needs at least one background")
    signals = dict(signals or {})
    _check(
        {
            **backgrounds,
            **{f"signal {key}": value for key, value in signals.items()},
            **({"data": data} if data is not None else {}),
        }
    )
    first = next(iter(backgrounds.values()))
    edges = first.axes[0].edges
    total, variance = (np.sum([_values(h)[i] for h in backgrounds.values()], axis=0) for i in (0, 1))
    sigma = np.sqrt(variance)
    styles = styles_of([*backgrounds, *signals], styles)
    with drawing() as hep:
        figure, ((upper,), (lower,)) = canvas(2, height_ratios=(3, 1), sharex=True)
        hep.histplot(
            list(backgrounds.values()),
            ax=upper,
            stack=True,
            histtype="fill",
            yerr=False,
            label=list(backgrounds),
            facecolor=[styles[name].colour for name in backgrounds],
            hatch=[styles[name].hatch for name in backgrounds],
            edgecolor="black",
            linewidth=0.8,
            flow="none",
        )
        draw_band(upper, edges, total - sigma, total + sigma, "stat. uncertainty")
        for name, histogram in signals.items():
            line = {**styles[name].stroke, "linewidth": 2.2}
            upper.stairs(_values(histogram)[0], edges, **line, label=name, path_effects=outlined())
        safe = np.where(total > 0, total, np.nan)
        if data is not None or not signals:
            draw_band(lower, edges, 1 - sigma / safe, 1 + sigma / safe, None)
            lower.axhline(1, color="black", linewidth=0.8)
            lower.set_ylabel("uncertainty")
        if data is not None:
            observed = _values(data)[0]
            centres = first.axes[0].centers
            error = np.sqrt(np.maximum(observed, 0))
            points = {"fmt": "o", "color": "black", "markersize": 5, "linewidth": 1.2}
            upper.errorbar(centres, np.where(observed > 0, observed, np.nan), error, label="data", **points)
            lower.errorbar(centres, observed / safe, error / safe, **points)
            lower.set_ylim(0, 2)
            lower.set_ylabel("data / bkg.")
        elif signals:
            ratios = [np.nan_to_num(_values(histogram)[0] / safe) for histogram in signals.values()]
            for (name, histogram), ratio in zip(signals.items(), ratios, strict=True):
                line = {**styles[name].stroke, "linewidth": 2.2}
                lower.stairs(ratio, edges, **line)
                error = np.nan_to_num(np.sqrt(_values(histogram)[1] + (ratio * sigma) ** 2) / safe)
                # on a logarithmic scale a band that reaches zero ends at the axis
                low = np.maximum(ratio - error, 1e-3 * ratio)
                band = {"color": styles[name].colour, "alpha": 0.25, "linewidth": 0}
                lower.stairs(ratio + error, edges, baseline=low, fill=True, **band)
            lower.set_ylabel("signal / bkg.")
            if any((ratio > 0).any() for ratio in ratios):  # none is where no bin has signal and background
                lower.set_yscale("log")
                _floor(lower, ratios, 3, DECADES)
        everything = [total, *(_values(h)[0] for h in signals.values())]
        if data is not None:
            everything.append(_values(data)[0])
        # a title within the axes takes a line, too
        lines = (len(backgrounds) + len(signals) + 3) // 2 + (label is not None)
        headroom(upper, everything, log, lines=lines, decades=DECADES)
        upper.set_xlabel("")
        upper.set_ylabel(_per_unit(first, counted))
        upper.legend(loc="upper right", ncols=2, frameon=False)
        titled(upper, title, label, data=data is not None)
        lower.set_xlabel(first.axes[0].label)
        lower.set_xlim(edges[0], edges[-1])
    return figure


def outlined() -> list[Any]:
    """A white outline, with which lines are seen on fills of any colour."""
    from matplotlib.patheffects import Normal, Stroke

    return [Stroke(linewidth=4, foreground="white", alpha=0.8), Normal()]


def draw_band(axes: Any, edges: Floats, low: Floats, high: Floats, label: str | None) -> None:
    """Hatch the range between float64[bins] and float64[bins]."""
    axes.stairs(
        high,
        edges,
        baseline=low,
        fill=True,
        facecolor="none",
        hatch="////",
        edgecolor="#4a4a4a",
        linewidth=0,
        label=label,
    )


def _floor(axes: Any, contents: Sequence[Floats], room: float, decades: float = math.inf) -> None:
    """Range of a logarithmic scale: from the smallest non-zero content, or a number of decades."""
    largest = max(float(np.nanmax(item)) for item in contents)
    positive = [float(np.min(item[item > 0])) for item in contents if (item > 0).any()]
    lowest = max(min(positive, default=largest / 10), largest / 10**decades)
    axes.set_ylim(lowest / 2, largest * room)


def headroom(axes: Any, contents: Sequence[Floats], log: bool, lines: int, decades: float = math.inf) -> None:
    """Space above the contents for a legend with a number of lines."""
    largest = max(float(np.nanmax(item)) for item in contents)
    if largest <= 0:
        return
    if log:
        axes.set_yscale("log")
        _floor(axes, contents, 1, decades)
        low = axes.get_ylim()[0]
        decades = np.log10(largest / low)
        axes.set_ylim(low, largest * 10 ** (decades * (0.12 + 0.09 * lines)))
    else:
        axes.set_ylim(0, largest * (1.15 + 0.12 * lines))


def shapes(
    histograms: Mapping[str, Histogram],
    *,
    title: str = "",
    log: bool = False,
    counted: str = "Jets",
    styles: Styles | None = None,
    label: PlotLabel | None = None,
) -> Any:
    """Shapes of one variable for several samples, each normalised to one.

    Parameters
    ----------
    histograms : mapping
        Name -> one-dimensional ``hist.Hist``.
    title, counted : str
        Title above the plot; what is counted.
    log : bool
        Whether the y axis is logarithmic.
    styles : mapping of str to ProcessStyle, optional
        Colours and line styles of all pictures, from `process_styles`; default: by the order in this one.
    label : PlotLabel, optional
        Label of an experiment.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MismatchError
        If the histograms have different bins or are not one-dimensional.
    InvalidValues
        If one is empty.
    """
    _check(histograms)
    styles = styles_of(histograms, styles)
    with drawing():
        figure, ((axes,),) = canvas()
        contents = []
        for name, histogram in histograms.items():
            values, variances = _values(histogram)
            total = values.sum()
            if total <= 0:
                raise InvalidValues(f"{name!r} has no entries to normalise")
            colour, edges = styles[name].colour, histogram.axes[0].edges
            axes.stairs(values / total, edges, **styles[name].stroke, linewidth=2.2, label=name)
            sigma = np.sqrt(variances) / total
            axes.stairs(
                values / total + sigma,
                edges,
                baseline=values / total - sigma,
                fill=True,
                color=colour,
                alpha=0.18,
                linewidth=0,
            )
            contents.append(values / total)
        first = next(iter(histograms.values()))
        headroom(axes, contents, log, lines=(len(histograms) + 1) // 2 + (label is not None), decades=DECADES)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_xlabel(first.axes[0].label)
        axes.set_ylabel(f"Fraction of {_per_unit(first, counted[0].lower() + counted[1:])}")
        axes.legend(loc="upper center" if label is None else "upper right", ncols=2, frameon=False)
        titled(axes, title, label)
    return figure


def sculpting(
    before: Histogram,
    after: Mapping[str, Histogram],
    *,
    title: str = "",
    counted: str = "Jets",
    fill: str = FILLS[0],
    styles: Styles | None = None,
    label: PlotLabel | None = None,
) -> Any:
    """The mass spectrum of a background before and after cuts on a discriminant, and the ratio of their shapes.

    Parameters
    ----------
    before : hist.Hist
        The mass of all jets.
    after : mapping
        Name of a cut -> mass of the jets that pass.
    title, counted : str
        Title above the plot; what is counted.
    fill : str
        Colour of the spectrum of all jets, e.g. that of the process.
    styles : mapping of str to ProcessStyle, optional
        Colours and line styles of the cuts in all pictures; default: by their order in this one.
    label : PlotLabel, optional
        Label of an experiment.

    Returns
    -------
    matplotlib.figure.Figure
        The ratios are one for a discriminant that does not sculpt the mass; the hatched band is the statistical
        uncertainty of the jets without a cut.

    Raises
    ------
    MismatchError, InvalidValues
        As for :func:`shapes`.
    """
    _check({"before": before, **after})
    values, variances = _values(before)
    if values.sum() <= 0:
        raise InvalidValues("'before' has no entries to normalise")
    shape = values / values.sum()
    sigma = np.sqrt(variances) / values.sum()
    edges = before.axes[0].edges
    chosen = curve_styles(after, styles)
    with drawing():
        figure, ((upper,), (lower,)) = canvas(2, height_ratios=(3, 1), sharex=True)
        upper.stairs(shape, edges, fill=True, facecolor=fill, edgecolor="black", label="no cut")
        draw_band(upper, edges, shape - sigma, shape + sigma, None)
        safe = np.where(shape > 0, shape, np.nan)
        contents, ratios = [shape], []
        for name, histogram in after.items():
            passing, passing_variances = _values(histogram)
            if passing.sum() <= 0:
                raise InvalidValues(f"{name!r} has no entries to normalise")
            line = {**chosen[name].stroke, "linewidth": 2.2}
            part = passing / passing.sum()
            error = np.sqrt(passing_variances) / passing.sum()
            upper.stairs(part, edges, **line, label=name)
            lower.stairs(np.nan_to_num(part / safe), edges, **line)
            centres = before.axes[0].centers
            lower.errorbar(centres, part / safe, error / safe, fmt="none", color=chosen[name].colour, linewidth=1.2)
            contents.append(part)
            ratios.append(part / safe)
        draw_band(lower, edges, 1 - sigma / safe, 1 + sigma / safe, None)
        lower.axhline(1, color="black", linewidth=0.8)
        largest = max((float(np.nanmax(item)) for item in ratios), default=1.0)
        lower.set_ylim(0, min(max(2.0, 1.15 * largest), 5.0))
        lower.set_ylabel("cut / no cut")
        lower.set_xlabel(before.axes[0].label)
        lower.set_xlim(edges[0], edges[-1])
        headroom(upper, contents, False, lines=(len(after) + 2) // 2 + (label is not None))
        upper.set_ylabel(f"Fraction of {_per_unit(before, counted[0].lower() + counted[1:])}")
        upper.legend(loc="upper right", ncols=2, frameon=False)
        titled(upper, title, label)
    return figure


def cutflow(
    yields: Mapping[str, Mapping[str, float]],
    *,
    title: str = "",
    counted: str = "Events",
    styles: Styles | None = None,
    label: PlotLabel | None = None,
    data: bool = False,
) -> Any:
    """Numbers of events after each cut, one line per sample.

    Parameters
    ----------
    yields : mapping
        Sample -> cut -> number of events, in the order of the cuts, which are the same for all. NaN is not drawn.
    title, counted : str
        Title above the plot; what is counted.
    styles : mapping of str to ProcessStyle, optional
        Colours and line styles of all pictures, from `process_styles`; default: by the order in this one.
    label : PlotLabel, optional
        Label of an experiment.
    data : bool
        Whether there are data among the samples, for the label.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MismatchError
        If the samples have different cuts.
    InvalidValues
        If there is no sample, no cut, or no number to draw.
    """
    drawn = [value for counts in yields.values() for value in counts.values() if not math.isnan(value)]
    if not drawn:
        raise InvalidValues(f"no events after cuts to draw, expected a number for each cut, got {dict(yields)!r:.200}")
    names = None
    for sample, counts in yields.items():
        if names is not None and list(counts) != names:
            raise MismatchError(f"{sample!r} has different cuts than the first sample: {', '.join(counts)}")
        names = list(counts)
    names = names or []
    edges = np.arange(len(names) + 1) - 0.5
    styles = styles_of(yields, styles)
    with drawing():
        figure, ((axes,),) = canvas()
        contents = []
        for sample, counts in yields.items():
            values = np.asarray(list(counts.values()), dtype=np.float64)
            axes.stairs(values, edges, **styles[sample].stroke, linewidth=2.2, label=sample)
            if not np.isnan(values).all():
                contents.append(values)
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
        axes.minorticks_off()
        axes.set_xlim(-0.5, len(names) - 0.5)
        if contents:
            headroom(axes, contents, True, lines=(len(yields) + 1) // 2 + (label is not None))
        axes.set_ylabel(counted)
        axes.legend(loc="upper right", ncols=2, frameon=False)
        titled(axes, title, label, data=data)
    return figure


guard(globals())
