"""Cross-validation of heads: each event is assigned to the fold whose network was not trained on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jettagger.arguments import guard, in_range, shown
from jettagger.errors import WrongType
from jettagger.runtime.seeding import mixed

__all__ = ["EVENT", "fold_of"]

#: column that determines the fold of an event
EVENT = "event"


def fold_of(event: Any, folds: int, salt: int = 0) -> NDArray[np.int64]:
    """The folds of events, from event numbers alone: all jets of an event are in one fold, in every file and run.

    Parameters
    ----------
    event : int[n]
        Event numbers.
    folds : int
    salt : int
        Different values give independent divisions.

    Returns
    -------
    int64[n]
        From 0 to ``folds - 1``.

    Raises
    ------
    WrongType
        If the event numbers are no integers.
    ConfigError
        If there is no fold, or the salt is negative.

    Notes
    -----
    SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) of the number, modulo the number of folds: consecutive events, or
    event numbers with a pattern, are spread evenly.

    Examples
    --------
    >>> fold_of(np.arange(6), 3).tolist()
    [1, 2, 1, 0, 1, 2]
    """
    numbers = np.asarray(event)
    if numbers.size and numbers.dtype.kind not in "iu":
        where, got, expected = "fold_of(), argument event", shown(numbers), "whole numbers"
        raise WrongType(f"{where}: got {got}, expected {expected}", where=where, got=got, expected=expected)
    in_range(folds, "fold_of(), argument folds", 1, 2**31 - 1)
    in_range(salt, "fold_of(), argument salt", 0, 2**31 - 1)
    return (mixed(numbers, salt) % np.uint64(folds)).astype(np.int64)


guard(globals())
