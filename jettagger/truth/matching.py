"""Combinations of objects in the same event."""

from __future__ import annotations

import numpy as np

from jettagger.types import Ints

__all__ = ["pairs"]


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
