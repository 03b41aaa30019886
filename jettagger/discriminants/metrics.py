"""Performance of a discriminant: efficiency, rejection, ROC curve, AUC; weighted, with uncertainties.

Uncertainties are statistical, one standard deviation. Those of weighted efficiencies follow from the sums of
squared weights of passing and failing jets; without weights they are binomial. Where so few jets pass that these
carry little information, there is also a bound at 95 % CL, which is printed instead. Jets without a score are left
out and counted.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jettagger.arguments import Histogram, Numbers, guard
from jettagger.discriminants.columns import generator_weights
from jettagger.discriminants.discriminant import Discriminant
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName
from jettagger.types import Floats
from jettagger.weights import flat

__all__ = [
    "CONFIDENCE",
    "Measured",
    "Roc",
    "Scan",
    "as_rejection",
    "auc",
    "binned_roc",
    "efficiency",
    "rejection",
    "roc",
    "scan",
]

#: confidence level of bounds
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Measured(Brief):
    """A number with its statistical uncertainty (one standard deviation), or with a bound if that is more informative.

    Attributes
    ----------
    value, uncertainty : float
    above, below : float, optional
        Lower and upper bound at 95 % CL; printed instead of the value.

    Examples
    --------
    >>> print(Measured(12.345, 0.678), Measured(math.inf, math.inf, above=123.4), sep=", ")
    12.35 ± 0.68, > 123 (95 % CL)
    """

    value: float
    uncertainty: float
    above: float | None = None
    below: float | None = None

    @property
    def bound(self) -> str:
        """The bound as text; empty if there is none."""
        for sign, limit in ((">", self.above), ("<", self.below)):
            if limit is not None:
                return f"{sign} {_short(limit)} ({100 * CONFIDENCE:g} % CL)"
        return ""

    def __str__(self) -> str:
        return self.bound or f"{self.value:.4g} ± {self.uncertainty:.2g}"


def _short(number: float) -> str:
    """Three digits, large numbers without an exponent; more digits close to one."""
    if number >= 1000:
        return f"{float(f'{number:.3g}'):.0f}"
    away = 1 - number
    return f"{number:.{1 - math.floor(math.log10(away))}f}" if 0 < away < 0.01 else f"{number:.3g}"


def _fraction(passing: Any, passing2: Any, total: float, total2: float) -> tuple[Any, Any]:
    """A weighted fraction and its uncertainty from sums of weights and of squared weights."""
    value = passing / total
    variance = ((1 - value) ** 2 * passing2 + value**2 * (total2 - passing2)) / total**2
    return value, np.sqrt(np.maximum(variance, 0.0))


def _upper(value: float, sigma: float, effective: float) -> float:
    """Upper limit of a fraction at 95 % CL (Clopper and Pearson, 1934), for weights with effective numbers.

    A passing event has the average weight of passing events, but at least that of all events: a few passing events with
    small weights do not exclude one with a large weight.
    """
    from scipy.stats import beta

    # with less than one effective event, of weights of both signs, the variance alone sets the scale
    passing = sigma**2 / value if value > 0 and value >= sigma else sigma
    scale = max(1 / effective, passing)
    counted, number = max(value, 0.0) / scale, 1 / scale
    return float(beta.ppf(CONFIDENCE, counted + 1, number - counted)) if number > counted else 1.0


def _bounded(value: float, sigma: float, effective: float) -> Measured:
    """A fraction, with a bound if nothing passes, nothing fails, or the uncertainty exceeds either of them."""
    above = below = None
    if value <= 0 or sigma > value:
        below = _upper(value, sigma, effective)
    elif value >= 1 or sigma > 1 - value:
        above = 1 - _upper(1 - value, sigma, effective)
    return Measured(value, sigma, above, below)


def _total(weights: Floats, what: str) -> float:
    total = float(weights.sum())
    if len(weights) == 0:
        raise InvalidValues(f"{what}: no jets with a score")
    if total <= 0:
        raise InvalidValues(f"{what}: the sum of weights is {total:g}, expected a positive one")
    return total


def efficiency(passes: Numbers, weights: Numbers | None = None) -> Measured:
    """The weighted fraction of passing jets.

    Parameters
    ----------
    passes : array of bool
        In any nesting; None is left out.
    weights : array, optional
        One per jet, or one per event.

    Returns
    -------
    Measured
        With a bound if none or all of them pass. Its variance is
        ``((1 - e)**2 * sum(w**2, passing) + e**2 * sum(w**2, failing)) / sum(w)**2``, which
        for equal weights is the binomial ``e * (1 - e) / n``.

    Raises
    ------
    InvalidValues
        If there are no jets, the weights do not sum to a positive number, or one is not finite.

    Examples
    --------
    >>> print(efficiency([True, True, False, False]))
    0.5 ± 0.25
    >>> print(efficiency([False] * 300))
    < 0.00994 (95 % CL)
    """
    return _passing(passes, weights)[0]


def _passing(passes: Any, weights: Any) -> tuple[Measured, float]:
    """The efficiency, and the effective number of jets."""
    values, factors, _ = flat(passes, weights, what="decisions")
    total = _total(factors, "efficiency")
    passed = values != 0
    squares = float((factors**2).sum())
    value, sigma = _fraction(factors[passed].sum(), (factors[passed] ** 2).sum(), total, squares)
    effective = total**2 / squares
    return _bounded(float(value), float(sigma), effective), effective


def as_rejection(passing: Measured, effective: float) -> Measured:
    """One over an efficiency.

    Parameters
    ----------
    passing : Measured
        The efficiency.
    effective : float
        The effective number of all jets, ``sum(w)**2 / sum(w**2)``.

    Returns
    -------
    Measured
        With a lower bound at 95 % CL if the uncertainty exceeds half of the value, i.e. for fewer than four passing
        jets. Infinite if none passes.

    Examples
    --------
    >>> print(as_rejection(Measured(0.01, 0.001), 10_000), as_rejection(Measured(1e-4, 1e-4), 10_000), sep=", ")
    100 ± 10, > 2110 (95 % CL)
    """
    if passing.value > 0 and passing.uncertainty <= passing.value / 2:
        return Measured(1 / passing.value, passing.uncertainty / passing.value**2)
    upper = passing.below
    upper = _upper(passing.value, passing.uncertainty, effective) if upper is None else upper
    if passing.value <= 0:
        return Measured(math.inf, math.inf, above=1 / upper)
    return Measured(1 / passing.value, passing.uncertainty / passing.value**2, above=1 / upper)


def rejection(passes: Numbers, weights: Numbers | None = None) -> Measured:
    """One over the efficiency; infinite, with infinite uncertainty and a bound, if no jet passes.

    Parameters
    ----------
    passes, weights : array
        As for :func:`efficiency`.

    Returns
    -------
    Measured
    """
    return as_rejection(*_passing(passes, weights))


@dataclass(frozen=True)
class Roc(Brief):
    """Efficiencies of signal and background for cuts ``score >= threshold``.

    Attributes
    ----------
    thresholds : numpy.ndarray
        Every score that occurs, in decreasing order; the first is infinite: no jet passes.
    signal, background : numpy.ndarray
        Efficiencies at the thresholds.
    signal_uncertainty, background_uncertainty : numpy.ndarray
        Their statistical uncertainties.
    auc : Measured
        Area under the curve: the probability that a signal jet scores higher than a background jet.
    missing : tuple of int
        Numbers of signal and background jets without a score, which were left out.
    effective : tuple of float
        Effective numbers of signal and background jets, ``sum(w)**2 / sum(w**2)``.
    binning : float
        Uncertainty of the area, to either side, from values that share bins; 0 for an exact curve.
    """

    thresholds: Floats
    signal: Floats
    background: Floats
    signal_uncertainty: Floats
    background_uncertainty: Floats
    auc: Measured
    missing: tuple[int, int]
    effective: tuple[float, float]
    binning: float = 0.0

    def threshold_at(self, signal_efficiency: float) -> float:
        """The highest threshold passed by at least this fraction of the signal."""
        return float(self.thresholds[self._position(signal_efficiency)])

    def background_at(self, signal_efficiency: float) -> Measured:
        """The background efficiency at a signal efficiency.

        Returns
        -------
        Measured
            Uncertainty and bound include the uncertainty of the threshold, through the local slope of the curve.
        """
        passing, upper = self._background_at(signal_efficiency)
        bounded = passing.value <= 0 or passing.uncertainty > passing.value
        return Measured(passing.value, passing.uncertainty, below=upper if bounded else None)

    def _background_at(self, signal_efficiency: float) -> tuple[Measured, float]:
        """The background efficiency, and its upper bound at 95 % CL."""
        position = self._position(signal_efficiency)
        # A shift of the signal efficiency by its uncertainty moves the threshold, and with it the background.
        sigma = self.signal_uncertainty[position]
        # rounding can leave an efficiency above one, too
        upper, lower = (
            self._position(float(np.clip(self.signal[position] + shift, 0.0, 1.0))) for shift in (sigma, -sigma)
        )
        moved = (self.background[upper] - self.background[lower]) / 2
        value, sigma = float(self.background[position]), float(self.background_uncertainty[position])
        # one-sided, as the bound of the efficiency itself: 1.64 standard deviations of the threshold
        up = statistics.NormalDist().inv_cdf(CONFIDENCE) * max(float(self.background[upper]) - value, 0.0)
        limit = value + math.hypot(_upper(value, sigma, self.effective[1]) - value, up)
        return Measured(value, math.hypot(sigma, float(moved))), min(limit, 1.0)

    def rejection_at(self, signal_efficiency: float) -> Measured:
        """One over the background efficiency at a signal efficiency, with a bound if hardly any background passes."""
        passing, upper = self._background_at(signal_efficiency)
        return as_rejection(Measured(passing.value, passing.uncertainty, below=upper), self.effective[1])

    def _position(self, signal_efficiency: float) -> int:
        if not 0 <= signal_efficiency <= 1:
            raise ConfigError(f"a signal efficiency lies between 0 and 1, got {signal_efficiency}")
        # Negative weights can make the curve turn back; its running maximum does not.
        rising = np.maximum.accumulate(self.signal)
        wanted = min(signal_efficiency - 1e-12, float(rising[-1]))
        return int(np.searchsorted(rising, wanted, side="left"))


def _cumulative(values: Floats, weights: Floats, thresholds: Floats) -> tuple[Floats, Floats]:
    """Sums of weights and of squared weights of all values at or above each of the decreasing thresholds."""
    order = np.argsort(-values, kind="stable")
    counts = np.searchsorted(-values[order], -thresholds, side="right")
    sums = np.concatenate([[0.0], np.cumsum(weights[order])])
    squares = np.concatenate([[0.0], np.cumsum(weights[order] ** 2)])
    return sums[counts], squares[counts]


def _placements(values: Floats, others: Floats, other_weights: Floats, total: float) -> Floats:
    """For each value, the weighted fraction of the others below it, ties counting half."""
    order = np.argsort(others, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(other_weights[order])])
    below = sums[np.searchsorted(others[order], values, side="left")]
    not_above = sums[np.searchsorted(others[order], values, side="right")]
    return np.asarray((below + not_above) / 2 / total)


def _auc(
    signal: Floats,
    sw: Floats,
    background: Floats,
    bw: Floats,
    totals: tuple[float, float],
    squares: tuple[Floats, Floats],
) -> Measured:
    of_signal = _placements(signal, background, bw, totals[1])
    of_background = 1 - _placements(background, signal, sw, totals[0])
    value = float((sw * of_signal).sum() / totals[0])
    # DeLong, DeLong, Clarke-Pearson (1988), with weights
    variance = (squares[0] * (of_signal - value) ** 2).sum() / totals[0] ** 2
    variance += (squares[1] * (of_background - value) ** 2).sum() / totals[1] ** 2
    numbers = (totals[0] ** 2 / squares[0].sum(), totals[1] ** 2 / squares[1].sum())
    # Separated completely: the area is at least the signal above times the background below a threshold between them.
    least = math.prod((0.5 - CONFIDENCE / 2) ** (1 / float(number)) for number in numbers)
    above = least if value >= 1 - 1e-12 else None
    below = 1 - least if value <= 1e-12 else None
    return Measured(value, float(np.sqrt(variance)), above, below)


def roc(
    signal: Numbers,
    background: Numbers,
    signal_weights: Numbers | None = None,
    background_weights: Numbers | None = None,
) -> Roc:
    """The ROC curve of a discriminant.

    Parameters
    ----------
    signal, background : array
        Values of the discriminant, in any nesting; None and NaN are left out and counted.
    signal_weights, background_weights : array, optional
        One per jet, or one per event.

    Returns
    -------
    Roc
        Exact: with a point for each value that occurs; equal values pass together. Negative weights enter as they are,
        so that the curve may turn back and the area may exceed the range from 0 to 1 within its uncertainty.

    Raises
    ------
    InvalidValues
        If one of the samples is empty, or weights are not finite or do not sum to a positive number.

    Examples
    --------
    >>> curve = roc([0.9, 0.8, 0.3], [0.7, 0.2, 0.1])
    >>> print(curve.auc.value, curve.background_at(0.6).value)
    0.8888888888888888 0.0
    """
    s, sw, s_missing = flat(signal, signal_weights, what="signal")
    b, bw, b_missing = flat(background, background_weights, what="background")
    totals = _total(sw, "signal"), _total(bw, "background")
    thresholds = np.concatenate([[np.inf], np.unique(np.concatenate([s, b]))[::-1]])
    s_sum, s_square = _cumulative(s, sw, thresholds)
    b_sum, b_square = _cumulative(b, bw, thresholds)
    tpr, tpr_sigma = _fraction(s_sum, s_square, totals[0], float((sw**2).sum()))
    fpr, fpr_sigma = _fraction(b_sum, b_square, totals[1], float((bw**2).sum()))
    area = _auc(s, sw, b, bw, totals, (sw**2, bw**2))
    effective = (totals[0] ** 2 / float((sw**2).sum()), totals[1] ** 2 / float((bw**2).sum()))
    return Roc(thresholds, tpr, fpr, tpr_sigma, fpr_sigma, area, (s_missing, b_missing), effective)


def binned_roc(signal: Histogram, background: Histogram) -> Roc:
    """The ROC curve of a discriminant from its histograms.

    Parameters
    ----------
    signal, background : hist.Hist
        Of one variable with the same bins, weighted or not. Underflow and overflow are included, if they exist.

    Returns
    -------
    Roc
        With a point for each edge. Values that share a bin are ties, half of which count as correctly ordered. The area
        of the unbinned values lies between those with all and with none of the ties correctly ordered: ``binning`` is
        half of their fraction of all pairs. This holds for non-negative weights.

    Raises
    ------
    MismatchError
        If there is more than one variable, or the bins differ.
    InvalidValues
        If one of the histograms has no positive sum.

    Examples
    --------
    >>> from hist import Hist
    >>> filled = [Hist.new.Reg(10, 0, 1).Double().fill(x) for x in ([0.92, 0.81, 0.33], [0.74, 0.21, 0.12])]
    >>> curve = binned_roc(*filled)
    >>> print(curve.auc.value, curve.binning)
    0.8888888888888888 0.0
    """
    if len(signal.axes) != 1 or len(background.axes) != 1:
        got = f"{len(signal.axes)} and {len(background.axes)}"
        raise MismatchError(f"a ROC curve needs histograms of one variable, got {got}")
    edges = np.asarray(signal.axes[0].edges, dtype=np.float64)
    if not np.array_equal(edges, background.axes[0].edges):
        raise MismatchError("the histograms of signal and background have different bins: give both the same axis")
    (sw, s2), (bw, b2) = (_bins(item, len(edges) - 1) for item in (signal, background))
    totals = _total(sw, "signal"), _total(bw, "background")
    places = np.arange(len(sw), dtype=np.float64)
    sums = [np.concatenate([[0.0], np.cumsum(item[::-1])]) for item in (sw, s2, bw, b2)]
    tpr, tpr_sigma = _fraction(sums[0], sums[1], totals[0], float(s2.sum()))
    fpr, fpr_sigma = _fraction(sums[2], sums[3], totals[1], float(b2.sum()))
    area = _auc(places, sw, places, bw, totals, (s2, b2))
    thresholds = np.concatenate([[np.inf], edges[::-1], [-np.inf]])
    effective = (totals[0] ** 2 / float(s2.sum()), totals[1] ** 2 / float(b2.sum()))
    binning = float(np.abs(sw * bw).sum() / 2 / totals[0] / totals[1])
    return Roc(thresholds, tpr, fpr, tpr_sigma, fpr_sigma, area, (0, 0), effective, binning)


def _bins(histogram: Any, number: int) -> tuple[Floats, Floats]:
    """Contents and variances including underflow and overflow, which are zero if a histogram has none."""
    traits = histogram.axes[0].traits
    flow = (int(getattr(traits, "underflow", False)), int(getattr(traits, "overflow", False)))
    contents = np.asarray(histogram.values(flow=True), dtype=np.float64)
    variances = histogram.variances(flow=True)
    squares = contents if variances is None else np.asarray(variances, dtype=np.float64)
    room = (1 - flow[0], 1 - flow[1])
    assert len(contents) + sum(room) == number + 2
    return np.pad(contents, room), np.pad(squares, room)


def auc(
    signal: Numbers,
    background: Numbers,
    signal_weights: Numbers | None = None,
    background_weights: Numbers | None = None,
) -> Measured:
    """The area under the ROC curve, with the uncertainty of DeLong et al. extended to weights.

    Parameters
    ----------
    signal, background, signal_weights, background_weights : array
        As for :func:`roc`.

    Returns
    -------
    Measured
    """
    return roc(signal, background, signal_weights, background_weights).auc


@dataclass(frozen=True)
class Scan(Brief):
    """Background efficiencies at one signal efficiency, for values of a discriminant's parameters.

    Attributes
    ----------
    discriminant : Discriminant
        The discriminant whose parameters were scanned.
    grid : dict
        Each parameter -> its values, in the order of the axes of the arrays.
    signal_efficiency : float
        Signal efficiency at which the background is evaluated.
    background : numpy.ndarray
        Efficiency of the mixture, one axis per parameter.
    uncertainty : numpy.ndarray
        Its statistical uncertainty.
    below : numpy.ndarray
        Upper bound at 95 % CL, which is more informative than the uncertainty if hardly any background passes.
    parts : dict
        The efficiency of each background separately.
    """

    discriminant: Discriminant
    grid: dict[str, tuple[float, ...]]
    signal_efficiency: float
    background: Floats
    uncertainty: Floats
    below: Floats
    parts: dict[str, Floats]

    @property
    def best(self) -> Discriminant:
        """The discriminant with the parameters of the lowest background efficiency."""
        position = np.unravel_index(int(np.argmin(self.background)), self.background.shape)
        chosen = {name: values[i] for (name, values), i in zip(self.grid.items(), position, strict=True)}
        return self.discriminant.with_parameters(**chosen)

    def __str__(self) -> str:
        heads = [*self.grid, "background", "uncertainty", f"below ({100 * CONFIDENCE:g} % CL)", *self.parts]
        rows = [heads]
        for position in np.ndindex(self.background.shape):
            chosen = [values[i] for values, i in zip(self.grid.values(), position, strict=True)]
            numbers = [self.background[position], self.uncertainty[position], self.below[position]]
            numbers += [part[position] for part in self.parts.values()]
            rows.append([f"{number:.4g}" for number in [*chosen, *numbers]])
        widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
        return "\n".join("  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows)


def scan(
    discriminant: Discriminant,
    signal: Any,
    backgrounds: Mapping[str, Any],
    mix: Mapping[str, float],
    parameters: Mapping[str, Sequence[float]],
    *,
    signal_efficiency: float = 0.5,
    weights: Mapping[str, Any] | None = None,
    prefix: str | None = None,
) -> Scan:
    """Optimise weights, such as alpha and beta, for the backgrounds of an analysis.

    Parameters
    ----------
    discriminant : Discriminant
        With the parameters to scan.
    signal : jets
        Signal jets, in any form accepted by the discriminant.
    backgrounds : mapping
        Name -> jets, e.g. ``{"QCD": ..., "Top": ...}``.
    mix : mapping
        Name -> its fraction of the background before the cut; normalised to a sum of one.
    parameters : mapping
        Parameter -> values to try, e.g. ``{"alpha": [0.1, 1], "beta": [0.1, 1]}``.
    signal_efficiency : float
        The signal efficiency.
    weights : mapping, optional
        Weights of ``"signal"`` and of the backgrounds by name; one per jet or one per event. For other samples the
        generator weights (``genWeight``) stored with the jets are used, if any; otherwise each jet has weight 1.
    prefix : str, optional
        Prefix of the tagger, required if there are several.

    Returns
    -------
    Scan

    Raises
    ------
    UnknownName
        If the mixture has an unknown background, or the discriminant lacks the parameter.
    ConfigError
        If a fraction is not positive or missing for a background.
    """
    given = dict(weights or {})
    unknown = [name for name in (*mix, *given) if name not in backgrounds and name != "signal"]
    if unknown:
        raise UnknownName("background", unknown, backgrounds)
    absent = [name for name in backgrounds if name not in mix]
    if absent:
        raise ConfigError(f"the mix lacks {', '.join(absent)}")
    if any(not math.isfinite(part) or part < 0 for part in mix.values()) or sum(mix.values()) <= 0:
        raise ConfigError(f"the parts of a mix must not be negative, nor all zero, got {dict(mix)}")
    unknown = [name for name in parameters if name not in discriminant.parameters]
    if unknown:
        raise UnknownName("parameter", unknown, discriminant.parameters, str(discriminant))
    for name, jets in {"signal": signal, **backgrounds}.items():
        beside = generator_weights(jets)
        if name not in given and beside is not None:
            given[name] = beside
    grid = {name: tuple(float(value) for value in values) for name, values in parameters.items()}
    shape = tuple(len(values) for values in grid.values())
    share = {name: mix[name] / sum(mix.values()) for name in backgrounds}
    parts = {name: np.empty(shape) for name in backgrounds}
    sigmas = {name: np.empty(shape) for name in backgrounds}
    limits = {name: np.empty(shape) for name in backgrounds}
    for position, chosen in zip(np.ndindex(shape), itertools.product(*grid.values()), strict=True):
        item = discriminant.with_parameters(**dict(zip(grid, chosen, strict=True)))
        of_signal = item(signal, prefix=prefix)
        for name, jets in backgrounds.items():
            curve = roc(of_signal, item(jets, prefix=prefix), given.get("signal"), given.get(name))
            there, limits[name][position] = curve._background_at(signal_efficiency)
            parts[name][position], sigmas[name][position] = there.value, there.uncertainty
    total = sum((share[name] * parts[name] for name in backgrounds), np.zeros(shape))
    # The threshold is common to all backgrounds, so that their uncertainties are taken as fully correlated.
    uncertainty = sum((share[name] * sigmas[name] for name in backgrounds), np.zeros(shape))
    below = sum((share[name] * limits[name] for name in backgrounds), np.zeros(shape))
    return Scan(discriminant, grid, signal_efficiency, total, uncertainty, below, parts)


guard(globals())
