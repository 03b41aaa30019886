"""Bootstrap replicas of weighted samples, and quantiles in bins for many of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jettagger.arguments import Numbers, guard
from jettagger.display import Brief
from jettagger.types import Floats, Ints

__all__ = ["BinnedQuantiles", "event_replicas"]


def event_replicas(events: Numbers, seed: int = 1) -> Callable[[int], Floats]:
    """Bootstrap multiplicities of jets.

    Parameters
    ----------
    events : int[jets]
        Event of each jet.
    seed : int

    Returns
    -------
    callable
        Number of a replica -> float64[jets], Poisson multiplicities with a mean of one, equal for all jets of an event.

    Examples
    --------
    >>> draw = event_replicas([7, 7, 9])
    >>> bool(draw(0)[0] == draw(0)[1]), bool((draw(3) == draw(3)).all())
    (True, True)
    """
    distinct, position = np.unique(np.asarray(events), return_inverse=True)
    return lambda number: np.random.default_rng([seed, number]).poisson(1.0, len(distinct))[position].astype(float)


class BinnedQuantiles(Brief):
    """Quantiles of a variable in bins, sorted once and evaluated for any weights.

    Parameters
    ----------
    values : float64[jets]
        The variable; finite for all jets with a bin.
    bins : int64[jets] or int64[layers, jets]
        Bin of each jet; negative ones are left out. With several layers a jet is in several bins.
    number : int
        Number of bins.

    Notes
    -----
    Between the middles of the steps of the weighted cumulative distribution it is interpolated linearly; of jets of
    equal weight these are the quantiles of Hazen (definition 5 in R. Hyndman, Y. Fan, Am. Stat. 50 (1996) 361). Where
    weights are negative, a cumulative sum that turns back is replaced by its largest value so far.

    Examples
    --------
    >>> jets = BinnedQuantiles(np.array([3.0, 1.0, 2.0, 9.0]), np.array([0, 0, 0, 1]), 3)
    >>> jets.at(np.ones(4), [0.5]).tolist()
    [[2.0, 9.0, nan]]
    """

    def __init__(self, values: Floats, bins: Ints, number: int) -> None:
        layers = np.atleast_2d(np.asarray(bins))
        layer, jet = np.nonzero(layers >= 0)
        order = np.lexsort((np.asarray(values)[jet], layers[layer, jet]))
        #: the jets in the bins, sorted by bin and value; int64[kept]
        self.order = jet[order]
        self._values = np.asarray(values, dtype=np.float64)[self.order]
        self._bins = layers[layer, jet][order]
        self.number = number

    def at(self, weights: Floats, fractions: list[float]) -> Floats:
        """The quantiles for one set of weights.

        Parameters
        ----------
        weights : float64[jets]
        fractions : list of float
            Between 0 and 1.

        Returns
        -------
        float64[fractions, bins]
            NaN in bins whose sum of weights is not positive.
        """
        factors = weights[self.order]
        if factors.min(initial=0.0) < 0:
            factors = self._monotone(factors)
        filled = np.flatnonzero(factors)
        factors, values, bins = factors[filled], self._values[filled], self._bins[filled]
        ends = np.searchsorted(bins, np.arange(self.number), side="right")
        starts = np.searchsorted(bins, np.arange(self.number), side="left")
        result = np.full((len(fractions), self.number), np.nan)
        there = np.flatnonzero(ends > starts)
        if not len(there):
            return result
        sums = np.cumsum(factors)
        middles = sums - factors / 2
        first, last = starts[there], ends[there] - 1
        base = sums[first] - factors[first]
        for row, fraction in enumerate(fractions):
            wanted = base + fraction * (sums[last] - base)
            upper = np.clip(np.searchsorted(middles, wanted), first, last)
            lower = np.clip(upper - 1, first, last)
            distance = middles[upper] - middles[lower]
            share = np.divide(wanted - middles[lower], distance, out=np.zeros(len(there)), where=distance > 0)
            low, high = values[lower], values[upper]
            result[row, there] = low + np.clip(share, 0.0, 1.0) * (high - low)
        return result

    def _monotone(self, factors: Floats) -> Floats:
        """Weights of at least 0 with the cumulative sums of weights that may be negative, where these rise."""
        sums = np.cumsum(factors)
        starts = np.searchsorted(self._bins, self._bins, side="left")
        base = np.where(starts > 0, sums[starts - 1], 0.0)
        ends = np.searchsorted(self._bins, self._bins, side="right") - 1
        total = np.maximum(sums[ends] - base, 0.0)
        inside = np.clip(sums - base, 0.0, total)
        # the bins one after the other, so that one running maximum serves all of them
        totals = total[np.unique(starts, return_index=True)[1]] if len(starts) else total
        offsets = np.concatenate([[0.0], np.cumsum(totals)])
        position = np.searchsorted(np.unique(starts), starts)
        return np.diff(np.maximum.accumulate(inside + offsets[position]), prepend=0.0)


guard(globals())
