"""Measures of sculpting: how much a cut changes the spectrum of the background that passes it, and what it rejects.

Uncertainties are one standard deviation. Those of divergences and rejections come from a bootstrap over events: all
jets of an event together, with Poisson multiplicities. The same seed gives all methods the same replicas, so that
ratios of methods are more precise than the methods themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jettagger.arguments import Numbers, guard
from jettagger.discriminants import Measured, roc
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, MismatchError
from jettagger.statistics.bootstrap import event_replicas
from jettagger.types import Array, Bools, Floats, Ints

__all__ = [
    "REPLICAS",
    "Divergence",
    "OperatingPoint",
    "Spectrum",
    "content_of",
    "cut_at",
    "divergence",
    "effective_number",
    "jensen_shannon",
    "operating_point",
    "spectrum",
]

#: default number of bootstrap replicas
REPLICAS = 200


def effective_number(weights: Numbers) -> float:
    """The number of jets of equal weight with the same relative statistical uncertainty, ``sum(w)**2 / sum(w**2)``.

    Parameters
    ----------
    weights : float[jets]

    Returns
    -------
    float
        0 without jets.

    Examples
    --------
    >>> effective_number([2.0, 2.0, 0.0])
    2.0
    """
    values = np.asarray(weights, dtype=np.float64)
    squares = float(np.sum(values**2))
    return float(np.sum(values)) ** 2 / squares if squares else 0.0


def cut_at(scores: Numbers, efficiency: float, weights: Numbers | None = None) -> float:
    """The highest score at or above which at least this fraction of the sample lies.

    Parameters
    ----------
    scores : float[jets]
        Without missing values.
    efficiency : float
        Fraction of the sum of weights.
    weights : float[jets], optional
        Default: 1.

    Returns
    -------
    float

    Raises
    ------
    ConfigError
        If the efficiency is not between 0 and 1.
    InvalidValues
        If there are no jets, or scores are not finite.

    Examples
    --------
    >>> cut_at([0.1, 0.4, 0.6, 0.9], 0.5)
    0.6
    """
    if not 0 <= efficiency <= 1:
        raise ConfigError(f"an efficiency is between 0 and 1, got {efficiency:g}")
    values = np.asarray(scores, dtype=np.float64)
    if not len(values) or not np.isfinite(values).all():
        raise InvalidValues(f"cut at an efficiency of {efficiency:g}: expected finite scores of at least one jet")
    factors = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    # negative weights can make the sum turn back
    sums = np.maximum.accumulate(np.cumsum(factors[order]))
    position = int(np.searchsorted(sums, efficiency * factors.sum() * (1 - 1e-12)))
    return float(values[order[min(position, len(order) - 1)]])


def jensen_shannon(p: Numbers, q: Numbers, base: float = 2.0) -> float:
    """Jensen-Shannon divergence of two histograms with the same bins.

    Parameters
    ----------
    p, q : float[bins]
        Contents, in any normalisation.
    base : float
        Base of the logarithm: 2 for bits, in which disjoint histograms have a divergence of 1.

    Returns
    -------
    float
        From 0 (equal shapes) to log(2) / log(base).

    Raises
    ------
    MismatchError
        If the numbers of bins differ.
    InvalidValues
        If a content is negative or not finite, or all are zero.
    ConfigError
        If the base is not above 1.

    References
    ----------
    J. Lin, IEEE Trans. Inf. Theory 37 (1991) 145.

    Examples
    --------
    >>> jensen_shannon([1, 3], [2, 6]), jensen_shannon([1, 0], [0, 4])
    (0.0, 1.0)
    """
    if not base > 1:
        raise ConfigError(f"the base of a logarithm is above 1, e.g. 2 for bits, got {base:g}")
    first, second = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    if first.shape != second.shape:
        raise MismatchError(f"histograms with {first.size} and {second.size} bins cannot be compared")
    for contents in (first, second):
        if not np.isfinite(contents).all() or (contents < 0).any() or not contents.sum() > 0:
            raise InvalidValues(
                f"expected bins with contents of at least 0, not all of them 0; got a sum of {contents.sum():g} and a "
                f"smallest content of {contents.min(initial=np.inf):g}"
            )
    return _divergence(first, second) / math.log2(base)


def _divergence(p: Floats, q: Floats) -> float:
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2

    def relative_entropy(x: Floats) -> float:
        filled = x > 0
        return float((x[filled] * np.log2(x[filled] / middle[filled])).sum())

    # rounding can leave a divergence of equal shapes below zero
    return max((relative_entropy(p) + relative_entropy(q)) / 2, 0.0)


@dataclass(frozen=True)
class Spectrum(Brief):
    """The shape of a spectrum.

    Attributes
    ----------
    edges : numpy.ndarray
        Bin edges, n + 1.
    fractions : numpy.ndarray
        Fractions of the sum of weights inside the edges.
    uncertainties : numpy.ndarray
        Their statistical uncertainties, ``sqrt(sum(w**2))`` of the bin over the sum of weights.
    jets : int
        Number of jets inside the edges.
    effective : float
        Their effective number.
    outside : int
        Number of jets outside the edges or without a value, which are left out.
    """

    edges: Floats
    fractions: Floats
    uncertainties: Floats
    jets: int
    effective: float
    outside: int

    def content(self) -> dict[str, Any]:
        """All numbers, for JSON."""
        return {name: _plain(value) for name, value in vars(self).items()}


@dataclass(frozen=True)
class Divergence(Brief):
    """Jensen-Shannon divergence of a background's spectrum before and after a cut.

    Attributes
    ----------
    value : Measured
        Divergence, with its bootstrap uncertainty for a fixed cut.
    floor : Measured
        The divergence that statistical fluctuations alone lead to: mean and standard deviation for random subsets of
        the jets with the same effective number as those that pass.
    base : float
        Base of the logarithm.
    efficiency : float
        Fraction of the background inside the edges that passes.
    before, after : Spectrum
        The shapes that were compared.
    merged : int
        Number of bins that were merged with a neighbour because their sums of weights were negative.
    """

    value: Measured
    floor: Measured
    base: float
    efficiency: float
    before: Spectrum
    after: Spectrum
    merged: int = 0

    @property
    def inverse(self) -> Measured:
        """One over the divergence, with propagated uncertainty; infinite for equal shapes."""
        return _inverse(self.value)

    @property
    def inverse_floor(self) -> Measured:
        """One over the floor: the largest value of `inverse` that jets as many as these can show on average."""
        return _inverse(self.floor)

    def content(self) -> dict[str, Any]:
        """All numbers, for JSON."""
        return {
            "value": content_of(self.value),
            "floor": content_of(self.floor),
            "inverse": content_of(self.inverse),
            "inverse_floor": content_of(self.inverse_floor),
            "base": self.base,
            "efficiency": self.efficiency,
            "before": self.before.content(),
            "after": self.after.content(),
            "merged": self.merged,
        }


def _inverse(number: Measured) -> Measured:
    if number.value <= 0:
        return Measured(math.inf, math.inf)
    return Measured(1 / number.value, number.uncertainty / number.value**2)


def content_of(number: Measured) -> dict[str, float | None]:
    """A measured number for JSON: value, uncertainty and bounds; None where infinite.

    Examples
    --------
    >>> content_of(Measured(math.inf, math.inf, above=2110.0))
    {'value': None, 'uncertainty': None, 'above': 2110.0}
    """
    shown = {"value": number.value, "uncertainty": number.uncertainty, "above": number.above, "below": number.below}
    return {name: _plain(value) for name, value in shown.items() if value is not None}


def _plain(value: Any) -> Any:
    """Arrays as lists, numbers that are not finite as None."""
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True)
class _Jets:
    """Jets inside the edges, with their bins."""

    bins: Ints
    passes: Bools
    weights: Floats
    events: Array
    number: int

    def contents(self, weights: Floats, mask: Any = slice(None)) -> Floats:
        return np.asarray(np.bincount(self.bins[mask], weights[mask], self.number), dtype=np.float64)


def _edges(edges: Any) -> Floats:
    values = np.asarray(edges, dtype=np.float64)
    if values.ndim != 1 or len(values) < 3 or not (np.diff(values) > 0).all():
        raise ConfigError(f"expected at least 3 rising bin edges, got {np.array2string(values, threshold=8)}")
    return values


def _columns(edges: Floats, values: Any, passes: Any, weights: Any, events: Any) -> tuple[_Jets, int]:
    """The jets inside the edges, and the number of those outside."""
    x = np.asarray(values, dtype=np.float64)
    arrays = {
        "decisions": np.ones(len(x), bool) if passes is None else np.asarray(passes, dtype=bool),
        "weights": np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64),
        "events": np.arange(len(x)) if events is None else np.asarray(events),
    }
    for name, array in arrays.items():
        if array.shape != x.shape:
            raise MismatchError(f"{array.size} {name} for {x.size} jets")
    if not np.isfinite(arrays["weights"]).all():
        raise InvalidValues(f"{np.count_nonzero(~np.isfinite(arrays['weights']))} weights are not finite")
    # a comparison with NaN is false
    inside = (x >= edges[0]) & (x < edges[-1])
    bins = np.searchsorted(edges, x[inside], side="right") - 1
    decisions, factors, numbers = (array[inside] for array in arrays.values())
    return _Jets(bins, decisions, factors, numbers, len(edges) - 1), int(np.count_nonzero(~inside))


def spectrum(
    values: Numbers,
    passes: Numbers | None = None,
    weights: Numbers | None = None,
    *,
    edges: Numbers,
) -> Spectrum:
    """The shape of the spectrum of the jets that pass a cut.

    Parameters
    ----------
    values : float[jets]
        The protected variable, e.g. the soft-drop mass in GeV; NaN is left out and counted.
    passes : bool[jets], optional
        Default: all pass.
    weights : float[jets], optional
        Default: 1.
    edges : float[bins + 1]
        Bin edges.

    Returns
    -------
    Spectrum

    Raises
    ------
    InvalidValues
        If no jet is left, or the sum of weights is not positive.
    MismatchError
        If the lengths differ.
    ConfigError
        If the edges do not rise.

    Examples
    --------
    >>> spectrum([50, 60, 150, 900], edges=[40, 100, 200]).fractions.tolist()
    [0.6666666666666666, 0.3333333333333333]
    """
    bounds = _edges(edges)
    jets, _ = _columns(bounds, values, passes, weights, None)
    outside = int(np.count_nonzero(passes)) if passes is not None else len(values)
    return _spectrum(bounds, jets, jets.passes, outside - int(np.count_nonzero(jets.passes)))


def _spectrum(edges: Floats, jets: _Jets, mask: Bools, outside: int) -> Spectrum:
    total = float(jets.weights[mask].sum())
    if not total > 0:
        raise InvalidValues(
            f"no spectrum: {np.count_nonzero(mask)} jets between {edges[0]:g} and {edges[-1]:g} have a sum of weights "
            f"of {total:g}, expected a positive one"
        )
    contents, squares = jets.contents(jets.weights, mask), jets.contents(jets.weights**2, mask)
    number = effective_number(jets.weights[mask])
    return Spectrum(edges, contents / total, np.sqrt(squares) / total, int(np.count_nonzero(mask)), number, outside)


def divergence(
    values: Numbers,
    passes: Numbers,
    weights: Numbers | None = None,
    events: Numbers | None = None,
    *,
    edges: Numbers,
    base: float = 2.0,
    replicas: int = REPLICAS,
    seed: int = 1,
) -> Divergence:
    """How much a cut changes a spectrum of the background.

    Parameters
    ----------
    values : float[jets]
        The protected variable of the background, e.g. the soft-drop mass in GeV. Jets outside the edges and NaN are
        left out and counted.
    passes : bool[jets]
        Which jets pass the cut.
    weights : float[jets], optional
        Default: 1. Bins with a negative sum of weights are merged with a neighbour.
    events : int[jets], optional
        Event of each jet, for the bootstrap; default: each jet is an event of its own.
    edges : float[bins + 1]
        Bin edges.
    base : float
        Base of the logarithm; 2 gives bits.
    replicas, seed : int
        Number of bootstrap replicas and of random subsets, and their seed.

    Returns
    -------
    Divergence

    Raises
    ------
    InvalidValues
        If no jet inside the edges passes, or sums of weights are not positive.
    MismatchError
        If the lengths differ.
    ConfigError
        If the edges do not rise, or the base is not above 1.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> mass = rng.exponential(60, 20_000)
    >>> edges = np.arange(30.0, 251.0, 10.0)
    >>> print(divergence(mass, rng.random(20_000) < 0.1, edges=edges).value)  # at random: the floor
    0.0035... ± 0.00...
    >>> print(divergence(mass, mass > 100, edges=edges).value)
    0.50... ± 0.00...
    """
    bounds = _edges(edges)
    if not base > 1:
        raise ConfigError(f"the base of a logarithm is above 1, e.g. 2 for bits, got {base:g}")
    jets, outside = _columns(bounds, values, passes, weights, events)
    before = _spectrum(bounds, jets, np.ones(len(jets.bins), bool), outside)
    passing_outside = int(np.count_nonzero(passes)) - int(np.count_nonzero(jets.passes))
    after = _spectrum(bounds, jets, jets.passes, passing_outside)
    starts = _non_negative(before.fractions, after.fractions)
    if len(starts) < 2:
        raise InvalidValues(
            f"no two bins between {bounds[0]:g} and {bounds[-1]:g} have positive sums of weights before and after the "
            "cut"
        )
    if len(starts) < jets.number:
        bounds = bounds[[*starts, -1]]
        bins = np.searchsorted(starts, jets.bins, side="right") - 1
        jets = replace(jets, bins=bins, number=len(starts))
        before = _spectrum(bounds, jets, np.ones(len(jets.bins), bool), outside)
        after = _spectrum(bounds, jets, jets.passes, passing_outside)
    unit = math.log2(base)
    draw = event_replicas(jets.events, seed)
    varied, subsets = [], []
    for number in range(replicas):
        varied.append(_of(jets, jets.weights * draw(number), jets.passes))
    size = max(round(len(jets.bins) * after.effective / before.effective), 1)
    rng = np.random.default_rng(seed)
    for _ in range(replicas):
        # weights of both signs can have fewer effective events than those of a part of them
        subsets.append(_of(jets, jets.weights, rng.choice(len(jets.bins), min(size, len(jets.bins)), replace=False)))
    return Divergence(
        Measured(_divergence(before.fractions, after.fractions) / unit, _moments(varied)[1] / unit),
        Measured(*(number / unit for number in _moments(subsets))),
        base,
        float(jets.weights[jets.passes].sum() / jets.weights.sum()),
        before,
        after,
        len(_edges(edges)) - len(bounds),
    )


def _non_negative(*spectra: Floats) -> list[int]:
    """First bins of the groups in which no sum is negative; the last group takes what is left over."""
    starts, sums = [0], np.zeros(len(spectra))
    for index in range(len(spectra[0])):
        if index > starts[-1] and (sums >= 0).all():
            starts.append(index)
            sums = np.zeros(len(spectra))
        sums = sums + [contents[index] for contents in spectra]
    while len(starts) > 1 and any(contents[starts[-1] :].sum() < 0 for contents in spectra):
        starts.pop()
    return starts


def _of(jets: _Jets, weights: Floats, mask: Any) -> float:
    """The divergence in a replica; NaN if nothing is left."""
    # a bin that is negative in a replica alone counts as empty there
    before, after = (np.maximum(jets.contents(weights, part), 0.0) for part in (slice(None), mask))
    return _divergence(before, after) if before.sum() > 0 and after.sum() > 0 else math.nan


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of finite values; NaN if fewer than half of them are."""
    finite = np.asarray(values)[np.isfinite(values)]
    if not len(finite) or len(finite) < len(values) / 2:
        return math.nan, math.nan
    return float(np.mean(finite)), float(np.std(finite))


@dataclass(frozen=True)
class OperatingPoint(Brief):
    """A cut on a score at a given signal efficiency: its rejection of background, and its sculpting.

    Attributes
    ----------
    signal_efficiency : float
        The signal efficiency asked for.
    threshold : float
        Jets with ``score >= threshold`` pass.
    rejection : Measured
        One over the background efficiency, with bootstrap uncertainty (including that of the threshold).
    divergence : Divergence
        Of the background's spectrum.
    logs : numpy.ndarray
        Logarithms of the rejection in the bootstrap replicas; NaN where no background passes.
    """

    signal_efficiency: float
    threshold: float
    rejection: Measured
    divergence: Divergence
    logs: Floats = field(repr=False, compare=False)

    def retained(self, reference: OperatingPoint) -> Measured:
        """The fraction of the rejection of another score that this one keeps, on the same jets.

        Parameters
        ----------
        reference : OperatingPoint
            Made from the same jets with the same seed.

        Returns
        -------
        Measured
            With an uncertainty from replicas that both have in common.

        Raises
        ------
        MismatchError
            If the numbers of replicas differ.
        """
        if self.logs.shape != reference.logs.shape:
            raise MismatchError(
                f"{len(self.logs)} and {len(reference.logs)} replicas: the points are of different jets"
            )
        value = self.rejection.value / reference.rejection.value
        return Measured(value, value * _moments(list(self.logs - reference.logs))[1])

    def content(self) -> dict[str, Any]:
        """All numbers, for JSON."""
        return {
            "signal_efficiency": self.signal_efficiency,
            "threshold": self.threshold,
            "rejection": content_of(self.rejection),
            "divergence": self.divergence.content(),
        }


def operating_point(
    signal: Numbers,
    background: Numbers,
    values: Numbers,
    *,
    edges: Numbers,
    efficiency: float = 0.5,
    signal_weights: Numbers | None = None,
    background_weights: Numbers | None = None,
    signal_events: Numbers | None = None,
    background_events: Numbers | None = None,
    base: float = 2.0,
    replicas: int = REPLICAS,
    seed: int = 1,
) -> OperatingPoint:
    """Rejection and sculpting of a score at a signal efficiency.

    Parameters
    ----------
    signal, background : float[jets]
        The score, without missing values.
    values : float[background jets]
        The protected variable of the background.
    edges : float[bins + 1]
        Its bins.
    efficiency : float
        Signal efficiency.
    signal_weights, background_weights : float[jets], optional
        Default: 1.
    signal_events, background_events : int[jets], optional
        Event of each jet, for the bootstrap.
    base, replicas, seed
        As for :func:`divergence`.

    Returns
    -------
    OperatingPoint

    Raises
    ------
    InvalidValues
        If a score is missing, a sample is empty, or no background passes.
    ConfigError
        If the efficiency is not between 0 and 1.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> mass = rng.exponential(60, 20_000)
    >>> score = rng.normal(size=20_000)
    >>> point = operating_point(rng.normal(2, 1, 5000), score, mass, edges=np.arange(30.0, 251.0, 10.0))
    >>> print(point.rejection)
    45... ± 2...
    """
    s, b = np.asarray(signal, dtype=np.float64), np.asarray(background, dtype=np.float64)
    for name, scores in (("signal", s), ("background", b)):
        if not np.isfinite(scores).all():
            raise InvalidValues(f"{name}: {np.count_nonzero(~np.isfinite(scores))} of {len(scores)} scores are missing")
    sw = np.ones(len(s)) if signal_weights is None else np.asarray(signal_weights, dtype=np.float64)
    bw = np.ones(len(b)) if background_weights is None else np.asarray(background_weights, dtype=np.float64)
    curve = roc(s, b, sw, bw)
    threshold = curve.threshold_at(efficiency)
    shape = divergence(
        values, b >= threshold, bw, background_events, edges=edges, base=base, replicas=replicas, seed=seed
    )
    draw_signal = event_replicas(np.arange(len(s)) if signal_events is None else signal_events, seed + 1)
    draw_background = event_replicas(np.arange(len(b)) if background_events is None else background_events, seed)
    order_s, order_b = np.argsort(-s, kind="stable"), np.argsort(-b, kind="stable")
    # how many jets of the background lie at or above each jet of the signal
    counts = np.searchsorted(-b[order_b], -s[order_s], side="right")
    logs = np.full(replicas, np.nan)
    for number in range(replicas):
        sums = np.maximum.accumulate(np.cumsum((sw * draw_signal(number))[order_s]))
        position = min(int(np.searchsorted(sums, efficiency * sums[-1] * (1 - 1e-12))), len(s) - 1)
        factors = (bw * draw_background(number))[order_b]
        passing, total = factors[: counts[position]].sum(), factors.sum()
        if passing > 0 and total > 0:
            logs[number] = math.log(total / passing)
    rejection = curve.rejection_at(efficiency)
    spread = rejection.value * _moments(list(logs))[1]
    if math.isfinite(spread):
        rejection = replace(rejection, uncertainty=spread)
    return OperatingPoint(efficiency, threshold, rejection, shape, logs)


guard(globals())
