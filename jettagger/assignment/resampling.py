"""Sums over events with their bootstrap replicas, in blocks: the memory does not depend on the number of events.

In a replica each event counts as often as a Poisson number of mean one says. The numbers depend on the seed and the
number of the event alone: all methods and networks vary together, and differences between them are paired.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.types import Array, Bools, Floats, Ints

__all__ = ["BINS", "CellSums", "Draws", "Estimate", "ScoreSums", "estimate"]

#: events whose draws are made at once
_CHUNK = 1000

#: bins of a score, in equal steps of its logit from -16 to 16: 0.5 is an edge
BINS, _MAX_LOGIT = 2048, 16.0


@dataclass(frozen=True)
class Estimate(Brief):
    """A number with its statistical uncertainty.

    Attributes
    ----------
    value : float or None
        None if there are no events for it.
    uncertainty : float or None
        One standard deviation of the bootstrap.

    Examples
    --------
    >>> print(Estimate(0.5, 0.0123), Estimate(None, None))
    0.500 ± 0.012 -
    """

    value: float | None
    uncertainty: float | None

    def __str__(self) -> str:
        return self.text()

    def text(self, form: str = ".3f") -> str:
        """The number as text.

        Parameters
        ----------
        form : str
            Format of the value; the uncertainty has no sign.

        Returns
        -------
        str
        """
        if self.value is None:
            return "-"
        bar = "" if self.uncertainty is None else f" ± {self.uncertainty:{form.lstrip('+')}}"
        return f"{self.value:{form}}{bar}"


def estimate(values: Floats) -> Estimate:
    """A number from those of the sample and its replicas.

    Parameters
    ----------
    values : float64[1 + replicas]
        The sample first; NaN where nothing is.

    Returns
    -------
    Estimate
        Without an uncertainty if fewer than two replicas have a number.

    Examples
    --------
    >>> estimate(np.array([2.0, 1.0, 3.0]))
    Estimate(value=2.0, uncertainty=1.4142135623730951)
    """
    value = float(values[0])
    if not math.isfinite(value):
        return Estimate(None, None)
    replicas = values[1:][np.isfinite(values[1:])]
    return Estimate(value, float(np.std(replicas, ddof=1)) if len(replicas) > 1 else None)


class Draws(Brief):
    """How often each event counts in the sample and its replicas.

    Parameters
    ----------
    replicas : int
    seed : int
    """

    def __init__(self, replicas: int, seed: int) -> None:
        self.replicas, self.seed = replicas, seed

    def of(self, start: int, weights: Floats) -> Floats:
        """The factors of consecutive events.

        Parameters
        ----------
        start : int
            Number of the first event in its file.
        weights : float64[events]

        Returns
        -------
        float64[events, 1 + replicas]
            The first column is the weight; the others are multiplied by Poisson numbers of mean one.

        Examples
        --------
        >>> draws = Draws(3, seed=1)
        >>> whole = draws.of(0, np.ones(2000))
        >>> whole.shape, bool((draws.of(990, np.ones(20)) == whole[990:1010]).all())
        ((2000, 4), True)
        """
        stop = start + len(weights)
        made = np.ones((len(weights), 1 + self.replicas))
        if self.replicas:
            for chunk in range(start // _CHUNK, -(-stop // _CHUNK)):
                first = chunk * _CHUNK
                numbers = np.random.default_rng([self.seed, chunk]).poisson(1.0, size=(_CHUNK, self.replicas))
                low, high = max(start, first), min(stop, first + _CHUNK)
                made[low - start : high - start, 1:] = numbers[low - first : high - first]
        made *= weights[:, None]
        return made


class CellSums(Brief):
    """Sums over events with equal outcomes.

    Parameters
    ----------
    columns : int
        Number of whole numbers that an outcome is.
    replicas : int

    Examples
    --------
    >>> cells = CellSums(2, replicas=0)
    >>> cells.add(np.array([[1, 0], [0, 2], [1, 0]]), np.ones((3, 1)))
    >>> cells.outcomes.tolist(), cells.counts.tolist(), cells.sums.tolist()
    ([[0, 2], [1, 0]], [1, 2], [[1.0], [2.0]])
    """

    def __init__(self, columns: int, replicas: int) -> None:
        self.outcomes: Ints = np.zeros((0, columns), dtype=np.int64)
        self.counts: Ints = np.zeros(0, dtype=np.int64)
        self.sums: Floats = np.zeros((0, 1 + replicas))

    def add(self, outcomes: Ints, factors: Floats) -> None:
        """Add events.

        Parameters
        ----------
        outcomes : int64[events, columns]
        factors : float64[events, 1 + replicas]
            Of `Draws.of`.
        """
        counts = np.concatenate([self.counts, np.ones(len(outcomes), dtype=np.int64)])
        rows = np.concatenate([self.outcomes, outcomes])
        if not len(rows):
            return
        self.outcomes, place = np.unique(rows, axis=0, return_inverse=True)
        place = place.reshape(-1)
        order = np.argsort(place, kind="stable")
        starts = np.searchsorted(place[order], np.arange(len(self.outcomes)))
        self.counts = np.add.reduceat(counts[order], starts)
        self.sums = np.add.reduceat(np.concatenate([self.sums, factors])[order], starts, axis=0)

    def ratio(self, numerator: Array, denominator: Array) -> Floats:
        """A ratio of sums over all events.

        Parameters
        ----------
        numerator, denominator : number[cells]
            Values of each outcome.

        Returns
        -------
        float64[1 + replicas]
            NaN where the denominator is 0.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            made: Floats = (numerator @ self.sums) / (denominator @ self.sums)
        return made


class ScoreSums(Brief):
    """Distributions of a score for what is and what is not what it looks for.

    Parameters
    ----------
    replicas : int

    Examples
    --------
    >>> scores = ScoreSums(replicas=0)
    >>> scores.add(np.array([0.9, 0.2, 0.6, 0.1]), np.array([True, True, False, False]), np.ones((4, 1)))
    >>> scores.area().tolist(), scores.sensitivity().tolist(), scores.specificity().tolist()
    ([0.75], [0.5], [0.5])
    """

    def __init__(self, replicas: int) -> None:
        self.counts = np.zeros(2, dtype=np.int64)
        self.sums: Floats = np.zeros((2 * BINS, 1 + replicas))

    def add(self, scores: Array, positive: Bools, factors: Floats) -> None:
        """Add events; those whose score is NaN are left out.

        Parameters
        ----------
        scores : float[events]
            Probabilities.
        positive : bool[events]
        factors : float64[events, 1 + replicas]
        """
        rows = ~np.isnan(scores)
        chosen, truth = scores[rows].astype(np.float64), positive[rows].astype(np.int64)
        if not len(chosen):
            return
        with np.errstate(divide="ignore"):
            logits = np.log(chosen) - np.log1p(-chosen)
        bins = np.clip(np.floor((logits + _MAX_LOGIT) * (BINS / (2 * _MAX_LOGIT))), 0, BINS - 1).astype(np.int64)
        keys = truth * BINS + bins
        order = np.argsort(keys, kind="stable")
        unique, starts = np.unique(keys[order], return_index=True)
        self.sums[unique] += np.add.reduceat(factors[rows][order], starts, axis=0)
        self.counts += np.bincount(truth, minlength=2)

    def area(self) -> Floats:
        """Area under the ROC curve, float64[1 + replicas]; ties count half, NaN without both kinds."""
        false, true = self.sums[:BINS], self.sums[BINS:]
        below = np.cumsum(false, axis=0) - 0.5 * false
        return _quotient((below * true).sum(axis=0), false.sum(axis=0) * true.sum(axis=0))

    def sensitivity(self) -> Floats:
        """Share of what is there with a score of 0.5 and more, float64[1 + replicas]."""
        true = self.sums[BINS:]
        return _quotient(true[BINS // 2 :].sum(axis=0), true.sum(axis=0))

    def specificity(self) -> Floats:
        """Share of what is not there with a score below 0.5, float64[1 + replicas]."""
        false = self.sums[:BINS]
        return _quotient(false[: BINS // 2].sum(axis=0), false.sum(axis=0))

    def accuracy(self) -> Floats:
        """Share of events on the right side of 0.5, float64[1 + replicas]."""
        right = self.sums[: BINS // 2].sum(axis=0) + self.sums[BINS + BINS // 2 :].sum(axis=0)
        return _quotient(right, self.sums.sum(axis=0))


def _quotient(numerator: Floats, denominator: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        made: Floats = numerator / denominator
    return made


guard(globals())
