"""Which objects of each jet enter the groups of a model, and which jets it scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jettagger.bundles.interface import Group
from jettagger.expressions import parse
from jettagger.inputs.batching import Objects
from jettagger.report import Report
from jettagger.types import Array

__all__ = ["Entering", "GroupRows", "entering"]

#: objects that are candidates
_CANDIDATES = ("pf", "cpf", "npf")


@dataclass(frozen=True)
class GroupRows:
    """The objects that enter a group.

    Parameters
    ----------
    index : int64[objects]
        Their places among all objects of the jets, jet after jet.
    counts : int64[jets]
        How many there are of each jet.
    """

    index: Array
    counts: Array


@dataclass(frozen=True)
class Entering:
    """What enters the inputs of a model.

    Parameters
    ----------
    rows : mapping of str to GroupRows
        Groups of which not all objects enter.
    jets : bool[jets]
        Those that are scored.
    report : Report
        What became of the others.
    """

    rows: Mapping[str, GroupRows]
    jets: Array
    report: Report


def entering(groups: Sequence[Group], objects: Objects) -> Entering:
    """Apply what a model declares of its inputs to jets.

    Parameters
    ----------
    groups : sequence of Group
    objects : Objects
        Jets of which each has candidates, where the model takes some.

    Returns
    -------
    Entering
        Jets none of whose candidates enter are not scored.
    """
    rows: dict[str, GroupRows] = {}
    made: dict[tuple[str, str], GroupRows] = {}
    filled = np.zeros(len(objects), dtype=bool)
    for group in groups:
        key = (group.object, group.selection)
        if group.selection:
            if key not in made:
                made[key] = _selected(group, objects)
            rows[group.name] = made[key]
        if group.object in _CANDIDATES:
            counts = made[key].counts if key in made else objects.counts(group.object)
            filled |= counts > 0
    if not made:  # who made the objects has left out jets without any
        filled[:] = True
    left_out = {object_: len(found.index) for (object_, _), found in made.items()}
    dropped = sum(int(objects.counts(object_).sum()) - number for object_, number in left_out.items())
    empty = int(np.count_nonzero(~filled))
    return Entering(rows, filled, Report(without_constituents=empty, deselected_candidates=dropped))


def _selected(group: Group, objects: Objects) -> GroupRows:
    expression = parse(group.selection, where=f"selection of {group.name!r}")
    counts = objects.counts(group.object)
    flags = expression.evaluate({name: objects.column(group.object, name) for name in expression.names})
    jet = np.repeat(np.arange(len(counts)), counts)
    index = np.flatnonzero(np.broadcast_to(flags, jet.shape))
    return GroupRows(index, np.bincount(jet[index], minlength=len(counts)).astype(np.int64))
