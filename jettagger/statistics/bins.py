"""Bins of templates: effective numbers of simulated events, merging, and yields of empty bins.

Effective events are ``(sum w)^2 / sum w^2``, the number of events of equal weight with the same relative uncertainty.
The mean weight ``sum w^2 / sum w`` is the contribution expected from one more event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jettagger.display import Brief
from jettagger.errors import InvalidValues
from jettagger.types import Floats

__all__ = [
    "ONE_EVENT",
    "REFUSE",
    "Template",
    "effective_events",
    "event_weights",
    "fill_empty",
    "groups",
    "intervals",
    "positive",
]


#: an empty bin gets the yield and the uncertainty of one simulated event
ONE_EVENT = "one_event"
#: an empty bin is an error
REFUSE = "refuse"

#: a sum of positive weights has at least one effective event; a smaller number means that weights cancel
_ONE = 1 - 1e-9


@dataclass(frozen=True)
class Template(Brief):
    """One process in one region.

    Attributes
    ----------
    values, variances : numpy.ndarray
        Yield and its variance in each bin.
    shifts : dict
        Variation -> values up and down.
    """

    values: Floats
    variances: Floats
    shifts: dict[str, tuple[Floats, Floats]]


def effective_events(values: Floats, variances: Floats) -> Floats:
    """Number of events of equal weight with the same relative uncertainty; 0 if the yield is not positive.

    Parameters
    ----------
    values, variances : numpy.ndarray, float64[bins]
        Sums of weights and of squared weights.

    Returns
    -------
    numpy.ndarray, float64[bins]

    Examples
    --------
    >>> effective_events(np.array([4.0, 0.0, -1.0]), np.array([2.0, 0.0, 1.0])).tolist()
    [8.0, 0.0, 0.0]
    """
    positive = (values > 0) & (variances > 0)
    return np.where(positive, np.square(values) / np.where(positive, variances, 1.0), np.where(values > 0, np.inf, 0.0))


def event_weights(values: Floats, variances: Floats) -> Floats | None:
    """The weight of one event of a process in each bin.

    Parameters
    ----------
    values, variances : numpy.ndarray, float64[bins]
        Sums of weights and of squared weights of the process in all regions, which determine the weight in a bin even
        if a single region has no event there.

    Returns
    -------
    numpy.ndarray, float64[bins], or None
        The mean weight in the bin, or in the nearest one with events (the larger of two); None if the process has no
        events.

    Examples
    --------
    >>> event_weights(np.array([10.0, 0.0, 0.0, 0.5]), np.array([20.0, 0.0, 0.0, 0.25])).tolist()
    [2.0, 2.0, 0.5, 0.5]
    """
    filled = np.flatnonzero((variances > 0) & (effective_events(values, variances) >= _ONE))
    if not len(filled):
        return None
    means = variances[filled] / values[filled]
    distances = np.abs(np.arange(len(values))[:, None] - filled)
    nearest = distances == distances.min(axis=1, keepdims=True)
    return np.asarray(np.max(np.where(nearest, means, 0.0), axis=1))


def fill_empty(template: Template, yields: Floats) -> tuple[Template, NDArray[np.intp]]:
    """Assign a yield to a process in bins with less than one effective event.

    The expectation and its uncertainty are those of one event (the mean and the standard deviation of a Poisson rate
    after zero observed events, with a flat prior), or larger if weights of both signs cancel.

    Parameters
    ----------
    template : Template
    yields : numpy.ndarray, float64[bins]
        Yield of one event in each bin.

    Returns
    -------
    template : Template
    filled : numpy.ndarray, int[n]
        The bins that were empty.
    """
    empty = effective_events(template.values, template.variances) < _ONE
    values = np.where(empty, np.maximum(yields, np.sqrt(template.variances)), template.values)
    extra = values - template.values
    shifts = {name: (up + extra, down + extra) for name, (up, down) in template.shifts.items()}
    variances = np.where(empty, np.square(values), template.variances)
    return Template(values, variances, shifts), np.flatnonzero(empty)


def groups(contents: Mapping[str, tuple[Floats, Floats]], needed: float) -> tuple[list[int], dict[str, float]]:
    """Neighbouring bins to be merged, from the right, where spectra fall.

    Parameters
    ----------
    contents : mapping
        Name (of a background in a region) -> its values and variances, float64[bins].
    needed : float
        Minimum effective number of events of each of them in each bin.

    Returns
    -------
    starts : list of int
        The first bin of each group.
    lacking : dict
        Contents with a smaller effective number in all bins together -> this number.
    """
    (number,) = {len(values) for values, _ in contents.values()}

    def counts(first: int, last: int) -> dict[str, float]:
        sums = {name: (v[first:last].sum(), w[first:last].sum()) for name, (v, w) in contents.items()}
        return {name: float(effective_events(np.array([v]), np.array([w]))[0]) for name, (v, w) in sums.items()}

    lacking = {name: count for name, count in counts(0, number).items() if count < needed}
    if lacking:
        return [0], lacking
    starts, end = [], number
    for first in range(number - 1, -1, -1):
        if min(counts(first, end).values()) >= needed:
            starts.append(first)
            end = first
    # What is left at the low end joins its neighbours; events of other weights can also reduce the effective number.
    starts = [0, *sorted(starts)[1:]]
    while len(starts) > 1 and min(counts(0, starts[1]).values()) < needed:
        del starts[1]
    return starts, {}


def positive(values: Floats, what: str, report: list[str]) -> Floats:
    """Contents without negative bins, with the same sum.

    Parameters
    ----------
    values : numpy.ndarray, float64[bins]
    what : str
        For messages.
    report : list of str
        Gets a line if bins were negative.

    Returns
    -------
    numpy.ndarray, float64[bins]
        Zero in all bins if the sum is not positive.

    Raises
    ------
    InvalidValues
        If a value is not finite.
    """
    if not np.isfinite(values).all():
        bins = np.flatnonzero(~np.isfinite(values)).tolist()
        raise InvalidValues(f"{what}: contents that are not finite in bins {bins}")
    negative = values < 0
    if not negative.any():
        return values
    total = values.sum()
    clipped = np.where(negative, 0.0, values)
    bins, lost = np.flatnonzero(negative).tolist(), values[negative].sum()
    if total <= 0:
        return np.zeros_like(values)
    factor = total / clipped.sum()
    report.append(f"{what}: negative bins {bins} ({lost:.3g} events) set to zero, the others scaled by {factor:.4g}")
    return np.asarray(clipped * factor)


def intervals(axis: Any, bins: Sequence[int] | NDArray[np.intp]) -> str:
    """Bins for messages: their indices, int[n] from 0, and intervals.

    Examples
    --------
    >>> import hist
    >>> intervals(hist.axis.Variable([800, 1200, 1700, 2400]), [0, 2])
    '0 (800 to 1200), 2 (1700 to 2400)'
    """
    edges = np.asarray(axis.edges)
    return ", ".join(f"{i} ({edges[i]:g} to {edges[i + 1]:g})" for i in bins)
