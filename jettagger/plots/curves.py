"""ROC curves and limits; needs the extra ``plot``. Each function returns a figure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from jettagger.arguments import Kind, guard
from jettagger.discriminants.metrics import Roc
from jettagger.errors import InvalidValues
from jettagger.plots.style import PlotLabel, Styles, canvas, curve_styles, drawing, titled

if TYPE_CHECKING:
    from jettagger.statistics.limits import Limit

__all__ = ["limit_band", "roc_curves"]

_Limit = Annotated["Limit", Kind("a limit", lambda value: hasattr(value, "expected"))]

#: length of names in characters that leaves room for the area
_LONG = 36


def roc_curves(
    curves: Mapping[str, Roc],
    *,
    title: str = "",
    signal: str = "Signal",
    background: str = "Background",
    styles: Styles | None = None,
    label: PlotLabel | None = None,
) -> Any:
    """ROC curves: background efficiency against signal efficiency, with bands of the statistical uncertainty.

    The legend gives the areas with their uncertainties, including that from the bins of histograms.

    Parameters
    ----------
    curves : mapping
        Name -> :class:`jettagger.discriminants.Roc`.
    title, signal, background : str
        Text for labels.
    styles : mapping of str to ProcessStyle, optional
        Colours and line styles of all pictures; default: by the order in this one.
    label : PlotLabel, optional
        Label of an experiment.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidValues
        If there is no curve.
    """
    if not curves:
        raise InvalidValues("no ROC curve to draw, expected at least one")
    chosen = curve_styles(curves, styles)
    with drawing():
        figure, ((axes,),) = canvas()
        lowest = 1.0
        # all areas with as many digits as the most precise one deserves
        smallest = min((c.auc.uncertainty for c in curves.values() if c.auc.uncertainty > 0), default=1e-4)
        digits = min(max(1 - math.floor(math.log10(smallest)), 2), 5)
        for name, curve in curves.items():
            colour = chosen[name].colour
            area = curve.auc.bound or f"{curve.auc.value:.{digits}f} ± {curve.auc.uncertainty:.{digits}f}"
            area = f"(AUC {area}, bins < {_rounded_up(curve.binning)})" if curve.binning else f"(AUC {area})"
            entry = f"{name}{chr(10) if len(name) > _LONG else ' '}{area}"
            seen = curve.background > 0
            axes.plot(
                curve.signal[seen],
                curve.background[seen],
                **chosen[name].stroke,
                linewidth=2.2,
                label=entry,
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
        if label is None:
            axes.set_title(title, loc="right", fontsize=14)
        else:  # curves and legend leave no place for a title within the axes
            label.draw(axes, data=False)
            axes.set_xlabel(f"{signal} efficiency{', ' if title else ''}{title}")
    return figure


def _rounded_up(number: float) -> str:
    """Rounded up to one significant digit."""
    digits = max(-math.floor(math.log10(number)), 1)
    return f"{math.ceil(number * 10**digits * (1 - 1e-9)) / 10**digits:.{digits}f}"


def _free_corner(curves: Iterable[Roc], bottom: float) -> str:
    """The corner in which a wide legend hides least of ROC curves, with a logarithmic axis from ``bottom`` to 1."""
    x = np.linspace(0.02, 0.98, 97)
    upper = lower = 0
    for curve in curves:
        height = 1 - np.log(np.maximum(np.interp(x, curve.signal, curve.background), bottom)) / math.log(bottom)
        upper += np.count_nonzero((height > 0.8) & (x < 0.8))
        lower += np.count_nonzero((height < 0.2) & (x > 0.2))
    return "upper left" if upper <= lower else "lower right"


def limit_band(limits: Sequence[_Limit], *, title: str = "", process: str = "X", label: PlotLabel | None = None) -> Any:
    """Upper limits on the cross section against the resonance mass, with bands of one and two standard deviations.

    Parameters
    ----------
    limits : sequence of Limit
        One per mass.
    title : str
        Title above the plot.
    process : str
        Process, for the axis label.
    label : PlotLabel, optional
        Label of an experiment.

    Returns
    -------
    matplotlib.figure.Figure
        In fb; without data there is no observed line, and missing limits leave gaps.

    Raises
    ------
    InvalidValues
        If there is no limit.
    """
    if not limits:
        raise InvalidValues("no limits to draw, expected at least one")
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
    with drawing():
        figure, ((axes,),) = canvas()
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
        titled(axes, title, label, data=not all(item.asimov for item in ordered))
    return figure


guard(globals())
