"""Selection and order of the objects in the groups of a model, and the jets that it scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.bundles.interface import Group
from jettagger.display import Brief
from jettagger.expressions import parse
from jettagger.features import CANDIDATES, FEATURES
from jettagger.inputs.batching import Objects, feature_of
from jettagger.report import Report
from jettagger.types import Array

__all__ = ["Entering", "GroupRows", "entering"]

#: parsed expressions of declarations, which are evaluated for every block
_parsed = lru_cache(maxsize=256)(parse)


@dataclass(frozen=True)
class GroupRows(Brief):
    """The objects in a group.

    Parameters
    ----------
    index : int64[objects]
        Their indices among all objects of the jets, jet after jet, in the order of the group.
    counts : int64[jets]
        Their number for each jet, including those beyond the limit of the group.
    """

    index: Array
    counts: Array


@dataclass(frozen=True)
class Entering(Brief):
    """The jets and objects used by a model.

    Parameters
    ----------
    rows : mapping of str to GroupRows
        Groups that do not contain all objects, or in an order other than that of the links.
    jets : bool[jets]
        Mask of jets that are scored.
    report : Report
        Counts of the other jets, and of candidates.
    """

    rows: Mapping[str, GroupRows]
    jets: Array
    report: Report


def _value(text: str, objects: Objects, object_: str, features: dict[str, Array]) -> Array:
    """The value of an expression in variables and columns of an object."""
    expression = _parsed(text)
    columns = {}
    for name in expression.names:
        feature = FEATURES.get(name)
        own = feature is not None and feature.object == object_
        columns[name] = feature_of(FEATURES[name], objects, features) if own else objects.column(object_, name)
    with np.errstate(invalid="ignore"):  # comparisons with NaN are false
        found: Array = np.asarray(expression.evaluate(columns))
    return found


def entering(bundle: Bundle, objects: Objects, features: dict[str, Array] | None = None) -> Entering:
    """Apply the selections declared by a model to jets.

    Parameters
    ----------
    bundle : Bundle
    objects : Objects
        Jets with candidates, if the model takes candidates.
    features : dict of str to float32[objects], optional
        Features by name; existing ones are used, new ones are added.

    Returns
    -------
    Entering
        Jets outside the domain, and jets whose candidates all fail the selection, are not scored.
    """
    features = {} if features is None else features
    rows: dict[str, GroupRows] = {}
    made: dict[tuple[object, ...], GroupRows] = {}
    filled = np.zeros(len(objects), dtype=bool)
    dropped: dict[tuple[object, ...], int] = {}
    selected: dict[tuple[object, ...], int] = {}
    unordered: dict[tuple[object, ...], int] = {}
    for group in bundle.groups:
        key = group.choice
        if group.selection or group.sort or group.order:
            if key not in made:
                made[key], selected[key], unordered[key] = _ordered(group, objects, features)
            rows[group.name] = made[key]
        if group.object in CANDIDATES:
            counts = objects.counts(group.object)
            if key in made:
                dropped[key[:2]] = int(counts.sum()) - selected[key]
                counts = made[key].counts
            filled |= counts > 0
    if not dropped or bundle.empty_jets:  # who made the objects has left out jets without any candidates
        filled[:] = True
    inside = np.ones(len(objects), dtype=bool)
    if bundle.domain:
        inside = np.broadcast_to(_value(bundle.domain, objects, "jet", features), inside.shape)
    scored = filled & inside
    report = Report(
        outside_domain=int(np.count_nonzero(~inside)),
        without_constituents=int(np.count_nonzero(inside & ~filled)),
        deselected_candidates=sum(dropped.values()),
        unordered=sum(unordered.values()),
    )
    return Entering(rows, scored, report + _ambiguous(bundle, objects, features, rows, scored))


def _ordered(group: Group, objects: Objects, features: dict[str, Array]) -> tuple[GroupRows, int, int]:
    """The objects of a group; how many pass its selection, and how many of these have no value to order them by."""
    counts = objects.counts(group.object)
    jet = np.repeat(np.arange(len(counts)), counts)
    index = np.arange(len(jet))

    def values(text: str) -> Array:
        return np.broadcast_to(_value(text, objects, group.object, features), jet.shape)[index]

    if group.selection:
        index = np.flatnonzero(values(group.selection))
    if group.sort:
        index = index[np.lexsort((*reversed([values(key) for key in group.sort]), jet[index]))]
    selected, unordered = len(index), 0
    if group.order:
        lacking = np.zeros(len(index), dtype=bool)
        left_out = np.zeros(len(index), dtype=bool)
        keys: list[Array] = []
        for item in group.order:
            key = values(item.by).astype(np.float64)  # the negative of an unsigned integer is another one
            absent = np.isnan(key)
            lacking |= absent
            left_out |= absent & (item.missing == "drop")
            keys += [absent != (item.missing == "first"), np.where(absent, 0, key if item.ascending else -key)]
        keys.append(-values("pt").astype(np.float64))
        unordered = int(np.count_nonzero(lacking))
        order = np.lexsort((*reversed(keys), jet[index]))
        index = index[order[~left_out[order]]]
    return GroupRows(index, np.bincount(jet[index], minlength=len(counts)).astype(np.int64)), selected, unordered


def _ambiguous(
    bundle: Bundle, objects: Objects, features: dict[str, Array], rows: Mapping[str, GroupRows], scored: Array
) -> Report:
    """Number of scored jets with objects whose reconstructed variables are ambiguous."""
    doubtful: dict[str, Array] = {}
    for group in bundle.groups:
        counts = rows[group.name].counts if group.name in rows else objects.counts(group.object)
        jet = np.repeat(np.arange(len(counts)), counts)
        for name in dict.fromkeys(name for variable in group.variables for name in variable.feature.doubts):
            mark = FEATURES[name]
            flags = feature_of(mark, objects, features)
            flags = flags[rows[group.name].index] if group.name in rows else flags
            found = np.bincount(jet[flags != 0], minlength=len(counts)) > 0
            doubtful[mark.counted] = doubtful.get(mark.counted, np.zeros(len(counts), dtype=bool)) | found
    numbers: dict[str, Any] = {kind: int(np.count_nonzero(found & scored)) for kind, found in doubtful.items()}
    return Report(**numbers)
