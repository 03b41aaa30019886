"""Plots with mplhep: spectra, shapes, ROC curves, mass sculpting, cutflows, limits; needs the extra ``plot``.

Each function draws one figure and returns it; :func:`save_figure` writes it. Lines differ in style and fills in
lightness, so that a plot can be read in grey.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from jettagger.arguments import Histogram, Kind, guard
from jettagger.discriminants.metrics import Roc
from jettagger.errors import InvalidValues, MismatchError, require
from jettagger.files import complete_or_absent
from jettagger.types import Floats

if TYPE_CHECKING:
    from jettagger.statistics.limits import Limit

__all__ = ["cutflow", "limit_band", "roc_curves", "save_figure", "sculpting", "shapes", "spectrum"]

Figure = Annotated[Any, Kind("a figure of matplotlib", lambda value: hasattr(value, "savefig"))]
_Limit = Annotated["Limit", Kind("a limit", lambda value: hasattr(value, "expected"))]


#: of contents that are shown on a logarithmic scale, lest a stray event squeezes the rest
DECADES = 4.0
#: fills from light to dark, told apart without colour too
FILLS = ("#c6dbef", "#fdae6b", "#74a476", "#9e6ab8", "#a63603", "#4a4a4a")
#: colours and styles of lines, told apart without colour too
LINES = (
    ("#08306b", "-"),
    ("#d94801", "--"),
    ("#006d2c", "-."),
    ("#7a0177", ":"),
    ("#000000", (0, (5, 1, 1, 1, 1, 1))),
    ("#636363", (0, (1, 1))),
)


#: letters of a name that leave room for the area behind it
_LONG = 36


@contextmanager
def _style() -> Iterator[Any]:
    """mplhep's plain style for one figure, without a window; nothing global stays changed."""
    mplhep = require("mplhep", "plot", "plotting")
    matplotlib = require("matplotlib", "plot", "plotting")
    with matplotlib.rc_context():
        mplhep.style.use(mplhep.style.ROOT)
        matplotlib.rcParams.update({"font.size": 16, "legend.fontsize": 13, "figure.figsize": (8.5, 7.5)})
        yield mplhep


def _figure(rows: Sequence[float] = (1,)) -> tuple[Any, list[Any]]:
    """A figure that belongs to no window, so that none has to be closed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), 1, sharex=True, height_ratios=list(rows), squeeze=False)
    return figure, list(axes[:, 0])


def save_figure(
    figure: Figure,
    path: str | os.PathLike[str],
) -> None:
    """Write a figure; the suffix (png, pdf, svg) is its format.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    matplotlib = require("matplotlib", "plot", "plotting")
    # Formulae look for all fonts that they might need; the calligraphic one, "cursive", is on few machines and warns.
    plain = {"mathtext.cal": matplotlib.rcParams["mathtext.rm"]}
    with complete_or_absent(path) as part, matplotlib.rc_context(plain):
        figure.savefig(part, dpi=120, metadata=None)


def _per_unit(histogram: Any, counted: str) -> str:
    """What the axis of counts says: per bin, with the bin's width if all bins have the same."""
    widths = histogram.axes[0].widths
    if not np.allclose(widths, widths[0], rtol=1e-6):
        return f"{counted} / bin"
    label = histogram.axes[0].label
    unit = label[label.rindex("[") + 1 : -1] if label.endswith("]") else ""
    return f"{counted} / {widths[0]:.4g}{' ' + unit if unit else ''}"


def _check(histograms: Mapping[str, Any]) -> None:
    edges = None
    for name, histogram in histograms.items():
        if len(histogram.axes) != 1:
            raise MismatchError(f"{name!r}: only histograms of one variable can be drawn, got {len(histogram.axes)}")
        if edges is not None and not np.array_equal(edges, histogram.axes[0].edges):
            raise MismatchError(f"{name!r} has other bins than the others")
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
) -> Any:
    """Stacked backgrounds with their statistical uncertainty, signals as lines, data as points, and a ratio panel.

    Parameters
    ----------
    backgrounds : mapping
        Name to ``hist.Hist`` of one variable; drawn from below in this order.
    data : hist.Hist, optional
        Drawn as points with the uncertainty of their number.
    signals : mapping, optional
        Name to ``hist.Hist``, drawn as lines over the stack.
    title : str
        Above the plot, e.g. luminosity and region.
    log : bool
        Whether the counts are drawn on a logarithmic scale.
    counted : str
        What the counts are.

    Returns
    -------
    matplotlib.figure.Figure
        The lower panel is data over background; without data, each signal over background.

    Raises
    ------
    MismatchError
        If the histograms have different bins or more than one variable.
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
    with _style() as hep:
        figure, (upper, lower) = _figure((3, 1))
        hep.histplot(
            list(backgrounds.values()),
            ax=upper,
            stack=True,
            histtype="fill",
            yerr=False,
            label=list(backgrounds),
            facecolor=[FILLS[i % len(FILLS)] for i in range(len(backgrounds))],
            edgecolor="black",
            linewidth=0.8,
            flow="none",
        )
        _band(upper, edges, total - sigma, total + sigma, "stat. uncertainty")
        for i, (name, histogram) in enumerate(signals.items()):
            colour, style = LINES[i % len(LINES)]
            upper.stairs(_values(histogram)[0], edges, color=colour, linestyle=style, linewidth=2.2, label=name)
        safe = np.where(total > 0, total, np.nan)
        _band(lower, edges, 1 - sigma / safe, 1 + sigma / safe, None)
        if data is not None:
            observed = _values(data)[0]
            centres = first.axes[0].centers
            error = np.sqrt(np.maximum(observed, 0))
            points = {"fmt": "o", "color": "black", "markersize": 5, "linewidth": 1.2}
            upper.errorbar(centres, np.where(observed > 0, observed, np.nan), error, label="data", **points)
            lower.errorbar(centres, observed / safe, error / safe, **points)
            lower.set_ylim(0, 2)
            lower.set_ylabel("data / bkg.")
        else:
            for i, histogram in enumerate(signals.values()):
                colour, style = LINES[i % len(LINES)]
                over = np.nan_to_num(_values(histogram)[0] / safe)
                lower.stairs(over, edges, color=colour, linestyle=style, linewidth=2.2)
            lower.set_ylabel("signal / bkg.")
            if signals and any(_values(h)[0].any() for h in signals.values()):
                lower.set_yscale("log")
                _floor(lower, [np.nan_to_num(_values(h)[0] / safe) for h in signals.values()], 3, DECADES)
        lower.axhline(1, color="black", linewidth=0.8)
        everything = [total, *(_values(h)[0] for h in signals.values())]
        if data is not None:
            everything.append(_values(data)[0])
        _headroom(upper, everything, log, lines=(len(backgrounds) + len(signals) + 3) // 2, decades=DECADES)
        upper.set_xlabel("")
        upper.set_ylabel(_per_unit(first, counted))
        upper.legend(loc="upper right", ncols=2, frameon=False)
        upper.set_title(title, loc="right", fontsize=14)
        lower.set_xlabel(first.axes[0].label)
        lower.set_xlim(edges[0], edges[-1])
    return figure


def _band(axes: Any, edges: Floats, low: Floats, high: Floats, label: str | None) -> None:
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
    """The range of a logarithmic scale: down to the smallest content that is not zero, or some decades."""
    largest = max(float(np.nanmax(item)) for item in contents)
    positive = [float(np.min(item[item > 0])) for item in contents if (item > 0).any()]
    lowest = max(min(positive, default=largest / 10), largest / 10**decades)
    axes.set_ylim(lowest / 2, largest * room)


def _headroom(axes: Any, contents: Sequence[Floats], log: bool, lines: int, decades: float = math.inf) -> None:
    """Room above the contents for a legend of so many lines."""
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


def shapes(histograms: Mapping[str, Histogram], *, title: str = "", log: bool = False, counted: str = "Jets") -> Any:
    """Shapes of one variable for several samples, each normalised to one.

    Parameters
    ----------
    histograms : mapping
        Name to ``hist.Hist`` of one variable.
    title, counted : str
        Above the plot; what the counts are.
    log : bool
        Whether the fractions are drawn on a logarithmic scale.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MismatchError
        If the histograms have different bins or more than one variable.
    InvalidValues
        If one is empty.
    """
    _check(histograms)
    with _style():
        figure, (axes,) = _figure()
        contents = []
        for i, (name, histogram) in enumerate(histograms.items()):
            values, variances = _values(histogram)
            total = values.sum()
            if total <= 0:
                raise InvalidValues(f"{name!r} has no entries to normalise")
            colour, style = LINES[i % len(LINES)]
            edges = histogram.axes[0].edges
            axes.stairs(values / total, edges, color=colour, linestyle=style, linewidth=2.2, label=name)
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
        _headroom(axes, contents, log, lines=(len(histograms) + 1) // 2, decades=DECADES)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_xlabel(first.axes[0].label)
        axes.set_ylabel(f"Fraction of {_per_unit(first, counted[0].lower() + counted[1:])}")
        axes.legend(loc="upper center", ncols=2, frameon=False)
        axes.set_title(title, loc="right", fontsize=14)
    return figure


def roc_curves(
    curves: Mapping[str, Roc], *, title: str = "", signal: str = "Signal", background: str = "Background"
) -> Any:
    """ROC curves: background efficiency against signal efficiency, with bands of the statistical uncertainty.

    The legend has the areas with their uncertainties, and by how much the bins of histograms may have changed them.

    Parameters
    ----------
    curves : mapping
        Name to :class:`jettagger.discriminants.Roc`.
    title, signal, background : str
        For labels.

    Returns
    -------
    matplotlib.figure.Figure
    """
    with _style():
        figure, (axes,) = _figure()
        lowest = 1.0
        # all areas with as many digits as the most precise one deserves
        smallest = min((c.auc.uncertainty for c in curves.values() if c.auc.uncertainty > 0), default=1e-4)
        digits = min(max(1 - math.floor(math.log10(smallest)), 2), 5)
        for i, (name, curve) in enumerate(curves.items()):
            colour, style = LINES[i % len(LINES)]
            area = curve.auc.bound or f"{curve.auc.value:.{digits}f} ± {curve.auc.uncertainty:.{digits}f}"
            area = f"(AUC {area}, bins < {_rounded_up(curve.binning)})" if curve.binning else f"(AUC {area})"
            label = f"{name}{chr(10) if len(name) > _LONG else ' '}{area}"
            seen = curve.background > 0
            axes.plot(
                curve.signal[seen],
                curve.background[seen],
                color=colour,
                linestyle=style,
                linewidth=2.2,
                label=label,
            )
            low = np.maximum(curve.background - curve.background_uncertainty, 1e-12)
            high = curve.background + curve.background_uncertainty
            axes.fill_between(curve.signal[seen], low[seen], high[seen], color=colour, alpha=0.18, linewidth=0)
            lowest = min(lowest, float(curve.background[seen].min())) if seen.any() else lowest
        axes.set_yscale("log")
        axes.set_xlim(0, 1)
        bottom = max(lowest / 2, 1e-6)
        axes.set_ylim(bottom, 1)
        axes.set_xlabel(f"{signal} efficiency")
        axes.set_ylabel(f"{background} efficiency")
        axes.grid(which="both", alpha=0.25)
        legend = axes.legend(loc=_free_corner(curves.values(), bottom), frameon=True, framealpha=0.9, edgecolor="none")
        legend.set_in_layout(False)  # a wide one must not squeeze the axes
        axes.set_title(title, loc="right", fontsize=14)
    return figure


def _rounded_up(number: float) -> str:
    """One digit behind the zeros, not below the number."""
    digits = max(-math.floor(math.log10(number)), 1)
    return f"{math.ceil(number * 10**digits * (1 - 1e-9)) / 10**digits:.{digits}f}"


def _free_corner(curves: Iterable[Roc], bottom: float) -> str:
    """Where a wide legend hides less of ROC curves on a logarithmic axis from ``bottom`` to 1."""
    x = np.linspace(0.02, 0.98, 97)
    upper = lower = 0
    for curve in curves:
        height = 1 - np.log(np.maximum(np.interp(x, curve.signal, curve.background), bottom)) / math.log(bottom)
        upper += np.count_nonzero((height > 0.8) & (x < 0.8))
        lower += np.count_nonzero((height < 0.2) & (x > 0.2))
    return "upper left" if upper <= lower else "lower right"


def sculpting(before: Histogram, after: Mapping[str, Histogram], *, title: str = "", counted: str = "Jets") -> Any:
    """The mass spectrum of a background before and after cuts on a discriminant, and the ratio of their shapes.

    Parameters
    ----------
    before : hist.Hist
        The mass of all jets.
    after : mapping
        Name of a cut to the mass of the jets that pass.
    title, counted : str
        Above the plot; what the counts are.

    Returns
    -------
    matplotlib.figure.Figure
        A discriminant that does not sculpt the mass has ratios of one.

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
    with _style():
        figure, (upper, lower) = _figure((3, 1))
        upper.stairs(shape, edges, fill=True, facecolor=FILLS[0], edgecolor="black", label="no cut")
        _band(upper, edges, shape - sigma, shape + sigma, None)
        safe = np.where(shape > 0, shape, np.nan)
        contents, ratios = [shape], []
        for i, (name, histogram) in enumerate(after.items()):
            passing, passing_variances = _values(histogram)
            if passing.sum() <= 0:
                raise InvalidValues(f"{name!r} has no entries to normalise")
            colour, style = LINES[i % len(LINES)]
            part = passing / passing.sum()
            error = np.sqrt(passing_variances) / passing.sum()
            upper.stairs(part, edges, color=colour, linestyle=style, linewidth=2.2, label=name)
            lower.stairs(np.nan_to_num(part / safe), edges, color=colour, linestyle=style, linewidth=2.2)
            centres = before.axes[0].centers
            lower.errorbar(centres, part / safe, error / safe, fmt="none", color=colour, linewidth=1.2)
            contents.append(part)
            ratios.append(part / safe)
        lower.axhline(1, color="black", linewidth=0.8)
        largest = max((float(np.nanmax(item)) for item in ratios), default=1.0)
        lower.set_ylim(0, min(max(2.0, 1.15 * largest), 5.0))
        lower.set_ylabel("cut / no cut")
        lower.set_xlabel(before.axes[0].label)
        lower.set_xlim(edges[0], edges[-1])
        _headroom(upper, contents, False, lines=(len(after) + 2) // 2)
        upper.set_ylabel(f"Fraction of {_per_unit(before, counted[0].lower() + counted[1:])}")
        upper.legend(loc="upper right", ncols=2, frameon=False)
        upper.set_title(title, loc="right", fontsize=14)
    return figure


def cutflow(yields: Mapping[str, Mapping[str, float]], *, title: str = "", counted: str = "Events") -> Any:
    """How many events are left after each cut, one line a sample.

    Parameters
    ----------
    yields : mapping
        Sample to a mapping from cut to events, in the order of the cuts; the same cuts for all. NaN is not drawn.
    title, counted : str
        Above the plot; what the counts are.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MismatchError
        If the samples have different cuts.
    """
    names = None
    for sample, counts in yields.items():
        if names is not None and list(counts) != names:
            raise MismatchError(f"{sample!r} has other cuts than the others: {', '.join(counts)}")
        names = list(counts)
    names = names or []
    edges = np.arange(len(names) + 1) - 0.5
    with _style():
        figure, (axes,) = _figure()
        contents = []
        for i, (sample, counts) in enumerate(yields.items()):
            colour, style = LINES[i % len(LINES)]
            values = np.asarray(list(counts.values()), dtype=np.float64)
            axes.stairs(values, edges, color=colour, linestyle=style, linewidth=2.2, label=sample)
            contents.append(values)
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
        axes.minorticks_off()
        axes.set_xlim(-0.5, len(names) - 0.5)
        if contents:
            _headroom(axes, contents, True, lines=(len(yields) + 1) // 2)
        axes.set_ylabel(counted)
        axes.legend(loc="upper right", ncols=2, frameon=False)
        axes.set_title(title, loc="right", fontsize=14)
    return figure


def limit_band(limits: Sequence[_Limit], *, title: str = "", process: str = "X") -> Any:
    """Upper limits on the cross section against the resonance mass, with the bands of one and two deviations.

    Parameters
    ----------
    limits : sequence of Limit
        One a mass.
    title : str
        Above the plot.
    process : str
        What is produced, for the axis.

    Returns
    -------
    matplotlib.figure.Figure
        In fb; the observed line is left out where there are no data, and missing limits leave gaps.

    Raises
    ------
    InvalidValues
        If there is no limit.
    """
    if not limits:
        raise InvalidValues("no limits to draw")
    ordered = sorted(limits, key=lambda item: item.mass)
    masses = np.asarray([item.mass for item in ordered])
    scale = np.asarray([item.cross_section * 1e3 for item in ordered])
    # a limit that is missing leaves a gap
    bands = np.asarray([item.expected for item in ordered], dtype=np.float64).T * scale
    observed = np.asarray([item.observed for item in ordered], dtype=np.float64) * scale
    if len(masses) == 1:
        # A single mass gets some width, or nothing of the bands would be seen.
        masses = masses[0] * np.asarray([0.98, 1.02])
        scale, observed, bands = np.repeat(scale, 2), np.repeat(observed, 2), np.repeat(bands, 2, axis=1)
    with _style():
        figure, (axes,) = _figure()
        axes.fill_between(masses, bands[0], bands[4], color="#fee08b", label="expected ± 2 std. dev.")
        axes.fill_between(masses, bands[1], bands[3], color="#74a476", label="expected ± 1 std. dev.")
        axes.plot(masses, bands[2], color="black", linestyle="--", linewidth=2, label="expected, median")
        if not all(item.asimov for item in ordered):
            axes.plot(masses, observed, color="black", marker="o", linewidth=2, label="observed")
        axes.plot(masses, scale, color="#a50f15", linestyle=":", linewidth=2.2, label="signal as simulated")
        axes.set_yscale("log")
        low, high = (
            np.nanmin([*bands.ravel(), *scale, *observed]),
            np.nanmax([*bands.ravel(), *scale, *observed]),
        )
        axes.set_ylim(low / 2, high * (high / low) ** 0.5 * 3)
        axes.set_xlabel("Resonance mass [GeV]")
        axes.set_ylabel(rf"{100 * ordered[0].confidence_level:.4g} % CL upper limit on $\sigma({process})$ [fb]")
        axes.legend(loc="upper right", frameon=False)
        axes.set_title(title, loc="right", fontsize=14)
    return figure


guard(globals())
