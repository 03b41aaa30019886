"""Combinations of objects in the same event."""

from __future__ import annotations

import numpy as np

from jettagger.types import Array, Ints

__all__ = ["nearest_first", "pairs"]


def pairs(first: Ints, second: Ints, n_events: int) -> tuple[Ints, Ints]:
    """All pairs of entries in the same event.

    Parameters
    ----------
    first : int64[n]
        Event of each entry, in any order.
    second : int64[m]
        Event of each entry, sorted.
    n_events : int

    Returns
    -------
    int64[p], int64[p]
        Indices among the first and among the second: all partners of an entry of the first are contiguous.

    Examples
    --------
    >>> pairs(np.array([0, 1]), np.array([0, 0, 1]), 2)
    (array([0, 0, 1]), array([0, 1, 2]))
    """
    counts = np.bincount(second, minlength=n_events)
    starts = np.concatenate([[0], np.cumsum(counts)])
    number = counts[first]
    left = np.repeat(np.arange(len(first)), number)
    within = np.arange(len(left)) - np.repeat(np.cumsum(number) - number, number)
    right = np.repeat(starts[first], number) + within
    return left, right


def nearest_first(first: Ints, second: Ints, distance: Array, n_first: int) -> Ints:
    """Partners one to one: of all pairs the nearest, then the nearest of the remaining ones, and so on.

    Parameters
    ----------
    first, second : int64[p]
        Indices of the two of each pair.
    distance : float[p]
    n_first : int
        Number of entries of the first.

    Returns
    -------
    int64[n_first]
        Index among the second; -1 for none.

    Examples
    --------
    >>> nearest_first(np.array([0, 1, 1]), np.array([0, 0, 1]), np.array([0.2, 0.1, 0.3]), 3).tolist()
    [-1, 0, -1]
    """
    order = np.lexsort((second, first, distance))
    first, second = first[order], second[order]
    found = np.full(n_first, -1, dtype=np.int64)
    while len(first):
        # the first pair of both is nearer than all others of either
        of_first, of_second = (np.unique(index, return_index=True)[1] for index in (first, second))
        mutual = np.intersect1d(of_first, of_second)
        found[first[mutual]] = second[mutual]
        free = (found[first] < 0) & ~np.isin(second, second[mutual])
        first, second = first[free], second[free]
    return found
