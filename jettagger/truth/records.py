"""Records of generator particles with indices of daughters and mothers, as in Pythia."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from jettagger.types import Bools, Ints

__all__ = ["Record", "descends", "has_quark", "last_copy"]


class Record(Protocol):
    """Particles of all events, concatenated; daughters and mothers are indices among them, -1 for none."""

    @property
    def id(self) -> Ints:
        """PDG IDs, one entry per particle."""

    @property
    def mother(self) -> Ints:
        """Index of the first mother, one entry per particle."""

    @property
    def daughter1(self) -> Ints:
        """Index of the first daughter, one entry per particle."""

    @property
    def daughter2(self) -> Ints:
        """Index of the last daughter, one entry per particle."""


def last_copy(record: Record, index: Ints) -> Ints:
    """The last copy of each particle, before it decays.

    Parameters
    ----------
    record : Record
    index : int64[n]

    Returns
    -------
    int64[n]
    """
    index = index.copy()
    while True:
        child = record.daughter1[index]
        other = record.daughter2[index]
        same_first = (child >= 0) & (record.id[np.maximum(child, 0)] == record.id[index])
        same_last = (other >= 0) & (record.id[np.maximum(other, 0)] == record.id[index])
        following = np.where(same_first, child, other)
        move = (same_first | same_last) & (following != index)
        if not np.any(move):
            return index
        index = np.where(move, following, index)


def has_quark(identity: Ints, quark: int) -> Bools:
    """Whether hadrons, PDG IDs int[n], have a quark of a given flavour as their heaviest; bool[n].

    Examples
    --------
    >>> has_quark(np.array([511, -5122, 411, 5]), 5).tolist()
    [True, True, False, False]
    """
    kind = np.abs(identity)
    result = np.zeros(len(kind), bool)
    # few particles are left for the divisions, which are slow
    rows = np.flatnonzero((kind > 100 * quark) & (kind < 10_000_000))
    number = kind[rows] % 10_000
    result[rows] = np.where(number >= 1000, number // 1000, number // 100) == quark
    return result


def descends(record: Record, index: Ints, flagged: Bools) -> Bools:
    """Whether a flagged particle is among the ancestors (first mothers, up to 30 steps).

    Parameters
    ----------
    record : Record
    index : int64[n]
    flagged : bool[particles]

    Returns
    -------
    bool[n]
    """
    result = np.zeros(len(index), bool)
    current = record.mother[index]
    for _ in range(30):
        alive = (current >= 0) & ~result
        if not np.any(alive):
            break
        safe = np.maximum(current, 0)
        result |= alive & flagged[safe]
        current = np.where(alive, record.mother[safe], -1)
    return result
