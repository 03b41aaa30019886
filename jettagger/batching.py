"""From flat columns to input tensors: sanitise, transform, clip, pad, stack; jets of similar length together.

The order of operations is that of CMSSW's ``center_norm_pad`` (``RecoBTag/FeatureTools``): values that are not finite
are replaced first, then ``(x - median) * norm_factor``, then the clipping, and padding is written as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from jettagger.bundle import Group, Variable
from jettagger.features.definition import Array

__all__ = ["BATCH_SIZE", "Batch", "Objects", "Table", "make_batches", "tabulate", "transform"]

#: jets in a batch at most
BATCH_SIZE = 64

#: padded slots that a batch may waste before a new one is started: a run has a fixed cost, too
WASTE = 96

#: absolute values above this count as infinite
HUGE = 1e32


class Objects(Protocol):
    """What the tensors are made of: jets with flat columns of their objects."""

    def __len__(self) -> int:
        """Number of jets."""

    def counts(self, object_: str) -> Array:
        """Number of objects of each jet."""

    def column(self, object_: str, name: str) -> Array:
        """A flat column of the objects."""


def transform(values: Array, variable: Variable, nonfinite: Literal["cmssw", "weaver"]) -> tuple[Array, int]:
    """Replace, centre, scale and clip the values of one variable.

    Parameters
    ----------
    values : float32[n]
    variable : Variable
    nonfinite : {"cmssw", "weaver"}
        ``cmssw``: what is not finite or exceeds 1e32 becomes ``replace_inf_value`` before the transformation.
        ``weaver``: NaN becomes 0 after it, infinities are clipped.

    Returns
    -------
    float32[n]
    int
        How many values were replaced.

    Examples
    --------
    >>> from jettagger.features import lookup
    >>> variable = Variable(lookup(["pfcand_dz"])[0], median=4.0, norm_factor=0.3, lower_bound=-5, upper_bound=5)
    >>> transform(np.array([4.0, np.nan, 100.0], dtype="f4"), variable, "cmssw")[0].tolist()
    [0.0, -1.2000000476837158, 5.0]
    """
    replaced = 0
    values = np.asarray(values, dtype=np.float32)
    if nonfinite == "cmssw":
        with np.errstate(invalid="ignore"):
            bad = ~(np.abs(values) <= np.float32(HUGE))
        if replaced := int(np.count_nonzero(bad)):
            values = np.where(bad, np.float32(variable.replace_inf_value), values)
    changes = variable.median != 0 or variable.norm_factor != 1
    if changes:
        with np.errstate(over="ignore", invalid="ignore"):  # the bounds deal with it
            values = (values - np.float32(variable.median)) * np.float32(variable.norm_factor)
    if changes or variable.lower_bound > -HUGE or variable.upper_bound < HUGE:
        values = np.clip(values, np.float32(variable.lower_bound), np.float32(variable.upper_bound))
    if nonfinite == "weaver":
        bad = np.isnan(values)
        if replaced := int(np.count_nonzero(bad)):
            values = np.where(bad, np.float32(0), values)
    return values, replaced


@dataclass(frozen=True)
class Table:
    """The transformed values of one group for all jets.

    Parameters
    ----------
    group : Group
    values : float32[objects + 1, variables]
        One row an object; the last row holds the pad values.
    starts : int64[jets]
        Row of each jet's first object.
    counts : int64[jets]
        Number of objects that enter, at most the group's ``max_length``.
    replaced : int
        Values that were not finite.
    """

    group: Group
    values: Array
    starts: Array
    counts: Array
    replaced: int


def tabulate(
    groups: Sequence[Group], objects: Objects, nonfinite: Literal["cmssw", "weaver"] = "cmssw"
) -> tuple[Table, ...]:
    """Compute and transform all variables of all groups.

    Parameters
    ----------
    groups : sequence of Group
    objects : Objects
    nonfinite : {"cmssw", "weaver"}

    Returns
    -------
    tuple of Table
    """
    features: dict[str, Array] = {}
    tables = []
    for group in groups:
        all_counts = objects.counts(group.object)
        total = int(all_counts.sum())
        values = np.empty((total + 1, len(group.variables)), dtype=np.float32)
        replaced = 0
        for channel, variable in enumerate(group.variables):
            feature = variable.feature
            if feature.name not in features:
                columns = (objects.column(feature.object, need) for need in feature.needs)
                features[feature.name] = feature(*columns)
            values[:-1, channel], bad = transform(features[feature.name], variable, nonfinite)
            replaced += bad
            values[-1, channel] = variable.pad
        starts = np.concatenate([[0], np.cumsum(all_counts)[:-1]]).astype(np.int64) if len(objects) else all_counts
        tables.append(Table(group, values, starts, np.minimum(all_counts, group.max_length), replaced))
    return tuple(tables)


@dataclass(frozen=True)
class Batch:
    """Inputs of one run.

    Parameters
    ----------
    jets : int64[n]
        Which jets, as positions among those tabulated.
    inputs : dict of str to float32[n, variables, length]
    slots, filled : int
        Length positions over all jets of the first group, and how many of them hold an object.
    """

    jets: Array
    inputs: Mapping[str, Array]
    slots: int
    filled: int


def make_batches(
    tables: Sequence[Table],
    *,
    batch_size: int = BATCH_SIZE,
    pad_mode: Literal["constant", "wrap"] = "constant",
) -> Iterator[Batch]:
    """Cut the jets into batches of similar length, longest first.

    A batch is padded to the longest of its jets, never below the group's ``min_length``. Objects without a mask
    group see padding, so their jets are batched with others of exactly the same length: what a jet gets never
    depends on the others.

    Parameters
    ----------
    tables : sequence of Table
    batch_size : int
        Jets in a batch at most.
    pad_mode : {"constant", "wrap"}
        Fill with the pad values, or repeat the objects, where the group does not say it; masks are always filled.

    Yields
    ------
    Batch
    """
    lengths, masked = _lengths(tables)
    names = sorted(lengths, key=lambda name: -int(lengths[name][1]))
    jet_lengths = [lengths[name][0] for name in names]
    if not jet_lengths or not len(jet_lengths[0]):
        return
    order = np.lexsort([-values for values in reversed(jet_lengths)])
    sorted_lengths = np.stack([values[order] for values in jet_lengths])
    exact = np.array([not masked[name] for name in names])
    for start, stop in _cuts(sorted_lengths, exact, batch_size):
        jets = order[start:stop]
        longest = {name: int(sorted_lengths[row, start:stop].max()) for row, name in enumerate(names)}
        yield _fill(tables, jets, longest, pad_mode)


def _lengths(tables: Sequence[Table]) -> tuple[dict[str, tuple[Array, int]], dict[str, bool]]:
    lengths: dict[str, tuple[Array, int]] = {}
    masked: dict[str, bool] = {}
    for table in tables:
        group = table.group
        lengths[group.object] = (np.clip(table.counts, group.min_length, group.max_length), group.max_length)
        masked[group.object] = masked.get(group.object, False) or group.is_mask
    return lengths, masked


def _cuts(lengths: Array, exact: Array, batch_size: int) -> Iterator[tuple[int, int]]:
    """Where to cut jets sorted by falling length, so that little is padded."""
    n_jets = lengths.shape[1]
    totals = lengths.sum(axis=0)
    start = 0
    while start < n_jets:
        stop = min(start + batch_size, n_jets)
        part = lengths[:, start:stop]
        changed = np.flatnonzero((part[exact] != part[exact][:, :1]).any(axis=0))
        if len(changed):
            stop = start + int(changed[0])
        waste = np.cumsum(totals[start] - totals[start:stop])
        over = np.flatnonzero(waste > WASTE)
        if len(over):
            stop = start + int(over[0])
        yield start, stop
        start = stop


def _fill(tables: Sequence[Table], jets: Array, longest: Mapping[str, int], pad_mode: str) -> Batch:
    rows: dict[tuple[str, bool], Array] = {}
    inputs = {}
    slots = filled = 0
    for table in tables:
        length = longest[table.group.object]
        wrap = (table.group.pad_mode or pad_mode) == "wrap" and not table.group.is_mask
        key = (table.group.object, wrap)
        if key not in rows:
            slot = np.arange(length)
            counts = table.counts[jets][:, np.newaxis]
            real = slot < counts
            within = slot % np.maximum(counts, 1) if wrap else slot
            taken = (counts > 0) & np.ones_like(real) if wrap else real
            rows[key] = np.where(taken, table.starts[jets][:, np.newaxis] + within, -1)
            if not rows.keys() - {key}:
                slots, filled = real.size, int(np.count_nonzero(real))
        inputs[table.group.name] = np.ascontiguousarray(table.values[rows[key]].transpose(0, 2, 1))
    return Batch(jets=jets, inputs=inputs, slots=slots, filled=filled)
