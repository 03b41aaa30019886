"""The order of events of several data sets in one file: every part of the file has events of all of them.

SPANet takes the last events of a file for the validation and the first ones for a smaller training. Blocks of events
are too coarse for that: they are cut into stretches, which are interleaved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from jettagger.arguments import guard
from jettagger.assignment.blocks import AssignmentEvents

__all__ = ["interleaved", "mixed"]

#: minimum number of stretches of a data set
STRETCHES = 100


def interleaved(sizes: Mapping[str, list[int]]) -> list[tuple[str, int]]:
    """An order of the parts of several data sets in which every stretch has all of them.

    Parameters
    ----------
    sizes : mapping of str to list of int
        Data set -> number of events of each of its parts.

    Returns
    -------
    list of tuple
        Data set and index of the part.

    Examples
    --------
    >>> interleaved({"ttH": [10, 10], "ttbb": [10, 10, 10, 10]})
    [('ttbb', 0), ('ttH', 0), ('ttbb', 1), ('ttbb', 2), ('ttH', 1), ('ttbb', 3)]
    """
    places = []
    for rank, (name, numbers) in enumerate(sizes.items()):
        total = max(sum(numbers), 1)
        middle = (np.cumsum(numbers) - np.asarray(numbers) / 2) / total if numbers else np.zeros(0)
        places += [(float(place), rank, name, index) for index, place in enumerate(middle)]
    return [(name, index) for _, _, name, index in sorted(places)]


def mixed(sizes: Mapping[str, list[int]], load: Callable[[str, int], AssignmentEvents]) -> Iterator[AssignmentEvents]:
    """The events of several data sets, each in its order, mixed in stretches of a hundredth of a data set.

    Parameters
    ----------
    sizes : mapping of str to list of int
        Data set -> number of events of each of its blocks; of a selection, that before it.
    load : callable
        Data set and index of a block -> its events. Called once for each block; one block of each data set is in
        memory.

    Yields
    ------
    AssignmentEvents

    Examples
    --------
    >>> def load(name, index):
    ...     return AssignmentEvents({}, {"Jets": np.full((200, 1), name == "ttbb")})
    >>> made = list(mixed({"ttH": [200], "ttbb": [200]}, load))
    >>> len(made), [int(part.masks["Jets"].sum()) for part in made[:4]]
    (200, [0, 2, 0, 2])
    """
    several = sum(bool(sum(numbers)) for numbers in sizes.values()) > 1
    cuts: dict[str, list[tuple[int, int, int]]] = {}
    parts: dict[str, list[int]] = {}
    for name, numbers in sizes.items():
        step = max(sum(numbers) / STRETCHES, 1)
        cuts[name], parts[name] = [], []
        for index, number in enumerate(numbers):
            pieces = max(math.ceil(number / step), 1) if several else 1
            edges = np.linspace(0, number, pieces + 1).astype(int)
            cuts[name] += [(index, piece, pieces) for piece in range(pieces)]
            parts[name] += np.diff(edges).tolist()
    opened: dict[str, AssignmentEvents] = {}
    for name, place in interleaved(parts):
        index, piece, pieces = cuts[name][place]
        if piece == 0:
            opened.pop(name, None)
            opened[name] = load(name, index)
        block = opened[name]
        if pieces == 1:
            yield block
            continue
        first, last = (len(block) * edge // pieces for edge in (piece, piece + 1))
        if last > first:
            yield block.take(slice(first, last))


guard(globals())
