"""From flat columns to input tensors: sanitise, transform, clip, pad, stack; jets of similar length together.

The order of operations is that of CMSSW's ``center_norm_pad`` (``RecoBTag/FeatureTools``): non-finite values are
replaced first, then ``(x - median) * norm_factor``, then clipping; padding is not transformed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol

import numpy as np

from jettagger.bundles.interface import Group, Variable, arranged
from jettagger.display import Brief
from jettagger.features import Feature
from jettagger.inputs.image_values import ImageValues, images_of
from jettagger.types import Array

__all__ = [
    "BATCH_SIZE",
    "COST",
    "IMAGE_BYTES",
    "Batch",
    "Cost",
    "GroupValues",
    "Objects",
    "Table",
    "feature_of",
    "make_batches",
    "tabulate",
    "transform",
]

#: default maximum number of jets in a batch
BATCH_SIZE = 64

#: default maximum size in bytes of the images in a batch
IMAGE_BYTES = 64_000_000

#: absolute values above this count as infinite
HUGE = 1e32


@dataclass(frozen=True)
class Cost(Brief):
    """Cost model of a run of a network: ``fixed`` and, for each jet of length L, L (1 + L/square).

    The unit is the cost of one object alone. The defaults are those of Particle Transformers on one core
    (``python -m benchmarks.throughput --cost`` measures them). They determine only how jets are batched, never the
    scores of a jet.

    Parameters
    ----------
    fixed : float
        Fixed cost of a run.
    square : float
        Length at which the cost of pairs of objects equals that of the objects.
    cells : float
        Maximum of jets times length squared in a run: intermediate results should fit into the core's cache, or into
        the memory of a GPU.
    step : int
        Lengths are rounded up to multiples of this, unless the network is sensitive to padding: GPUs have a cost per
        shape.
    jets : int
        Default of the maximum number of jets in a run.

    Examples
    --------
    >>> float(Cost(square=50).of(np.array([50]))[0])
    100.0
    """

    fixed: float = 50
    square: float = 66
    cells: float = 40_000
    step: int = 1
    jets: int = BATCH_SIZE

    def of(self, lengths: Array) -> Array:
        """The cost of jets of given lengths, without the fixed part; float64[jets]."""
        return lengths * (1 + lengths / self.square)


#: for Particle Transformers with 0.8 to 3 million parameters in ONNX Runtime
COST = Cost()
#: widths of the bins in length by which jets are sorted; the cheapest is chosen for each chunk
WIDTHS = (2, 4, 8, 16, 32)


class Objects(Protocol):
    """Jets with flat columns of their objects, from which the tensors are made."""

    def __len__(self) -> int:
        """Number of jets."""

    def counts(self, object_: str) -> Array:
        """Number of objects of each jet."""

    def column(self, object_: str, name: str) -> Array:
        """A flat column, one entry per object."""


class Chosen(Protocol):
    """The objects of a group."""

    @property
    def index(self) -> Array:
        """Their indices among all objects of the jets, jet after jet, int64[objects]."""

    @property
    def counts(self) -> Array:
        """Their number for each jet, int64[jets]."""


def feature_of(feature: Feature, objects: Objects, features: dict[str, Array]) -> Array:
    """A feature of objects, computed once.

    Parameters
    ----------
    feature : Feature
    objects : Objects
    features : dict of str to float32[objects]
        Features computed before, by name; this one is added.

    Returns
    -------
    float32[objects]
    """
    if feature.name not in features:
        features[feature.name] = feature(*(objects.column(feature.object, need) for need in feature.needs))
    return features[feature.name]


def transform(values: Array, variable: Variable, nonfinite: Literal["cmssw", "weaver"]) -> tuple[Array, int]:
    """Replace, centre, scale and clip the values of one variable.

    Parameters
    ----------
    values : float32[n]
    variable : Variable
    nonfinite : {"cmssw", "weaver"}
        ``cmssw``: non-finite values, and absolute values above 1e32, become ``replace_inf_value`` before the
        transformation. ``weaver``: NaN becomes 0 after it, infinities are clipped.

    Returns
    -------
    float32[n]
    int
        Number of replaced values.

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
class GroupValues(Brief):
    """The transformed values of one group for all jets.

    Parameters
    ----------
    group : Group
    values : float32[objects + 1, variables]
        One row per object; the last row holds the pad values.
    starts : int64[jets]
        Row of the first object of each jet.
    counts : int64[jets]
        Number of objects in the group, at most its ``max_length``.
    replaced : int
        Number of non-finite values.
    """

    group: Group
    values: Array
    starts: Array
    counts: Array
    replaced: int

    def of(self, jets: Array) -> GroupValues:
        """The same for some of the jets, by a mask, bool[jets], or by indices, int[n]."""
        return replace(self, starts=self.starts[jets], counts=self.counts[jets])


#: the values of one group for all jets
Table = GroupValues | ImageValues


def tabulate(
    groups: Sequence[Group],
    objects: Objects,
    nonfinite: Literal["cmssw", "weaver"] = "cmssw",
    features: dict[str, Array] | None = None,
    rows: Mapping[str, Chosen] | None = None,
) -> tuple[Table, ...]:
    """Compute and transform all variables of all groups, and make the images.

    Parameters
    ----------
    groups : sequence of Group
    objects : Objects
    nonfinite : {"cmssw", "weaver"}
    features : dict, optional
        Features of these objects by name, float32[objects], before any transformation; existing ones are used, new ones
        are added.
    rows : mapping of str to Chosen, optional
        Group -> its objects; other groups contain all objects.

    Returns
    -------
    tuple of GroupValues or ImageValues
    """
    features = {} if features is None else features
    tables: list[Table] = []
    for group in groups:
        chosen = None if rows is None else rows.get(group.name)
        all_counts = objects.counts(group.object) if chosen is None else chosen.counts
        if group.image is not None:
            columns = [feature_of(variable.feature, objects, features) for variable in group.variables]
            columns = columns if chosen is None else [column[chosen.index] for column in columns]
            if group.most is not None:
                rank = np.arange(all_counts.sum()) - np.repeat(np.cumsum(all_counts) - all_counts, all_counts)
                columns = [column[rank < group.most] for column in columns]
                all_counts = np.minimum(all_counts, group.most)
            jets = {name: objects.column("jet", name) for name in group.image.jet_columns}
            tables.append(images_of(group, columns, all_counts, jets))
            continue
        total = int(all_counts.sum())
        values = np.empty((total + 1, len(group.variables)), dtype=np.float32)
        replaced = 0
        for channel, variable in enumerate(group.variables):
            column = feature_of(variable.feature, objects, features)
            column = column if chosen is None else column[chosen.index]
            values[:-1, channel], bad = transform(column, variable, nonfinite)
            replaced += bad
            values[-1, channel] = variable.pad
        starts = np.concatenate([[0], np.cumsum(all_counts)[:-1]]).astype(np.int64) if len(objects) else all_counts
        tables.append(GroupValues(group, values, starts, np.minimum(all_counts, group.limit), replaced))
    return tuple(tables)


@dataclass(frozen=True)
class Batch(Brief):
    """Inputs of one run of a network.

    Parameters
    ----------
    jets : int64[n]
        Indices of the jets in the tables.
    inputs : dict of str to float32[n, variables, length]
        Without the axes that the group lacks; images are float32[n, channels, rows, columns].
    slots, filled : int
        Number of slots of the first group over all jets, and number of slots with an object.
    rows : dict of str to int64[n, length]
        Group -> the object in each slot, as an index among the objects of the group of all jets in the tables; -1 for
        empty slots. Images have none.
    """

    jets: Array
    inputs: Mapping[str, Array]
    slots: int
    filled: int
    rows: Mapping[str, Array]


def make_batches(
    tables: Sequence[Table],
    *,
    batch_size: int = BATCH_SIZE,
    pad_mode: Literal["constant", "wrap"] = "constant",
    cost: Cost | None = COST,
    image_bytes: int = IMAGE_BYTES,
) -> Iterator[Batch]:
    """Divide the jets into batches of similar length, longest first.

    A batch is padded to the longest of its jets, never below the group's ``min_length``. Without a mask group, or if
    the group is ``exact``, the network is sensitive to padding, and jets are batched with others of exactly the same
    length: the inputs of a jet never depend on the other jets.

    Parameters
    ----------
    tables : sequence of GroupValues
    batch_size : int
        Maximum number of jets per batch.
    pad_mode : {"constant", "wrap"}
        Fill with the pad values, or repeat the objects, unless the group specifies it; masks are always filled.
    cost : Cost or None
        Cost of a run; None: batches are limited only by ``batch_size`` and by objects without a mask.
    image_bytes : int
        Maximum size of the images in a batch, which are dense there; a larger ``batch_size`` is reduced to as many jets
        as fit, but at least one.

    Yields
    ------
    Batch
    """
    axes = sorted(_axes(tables, 1 if cost is None else cost.step), key=lambda axis: -axis.limit)
    if not axes or not len(axes[0].lengths):
        return
    per_jet = sum(table.nbytes for table in tables if isinstance(table, ImageValues))
    if per_jet:
        batch_size = max(min(batch_size, image_bytes // per_jet), 1)
    jet_lengths = np.stack([axis.lengths for axis in axes])
    exact = np.array([axis.exact for axis in axes])
    for jets in _cheapest(jet_lengths, exact, batch_size, cost):
        longest = {axis.name: int(axis.lengths[jets].max()) for axis in axes}
        yield _fill(tables, jets, longest, pad_mode)


class _Axis(NamedTuple):
    """Groups with a common length in a run: slots needed by each jet, limit, sensitivity to padding."""

    name: str
    lengths: Array
    limit: int
    exact: bool


def _axes(tables: Sequence[Table], step: int) -> Iterator[_Axis]:
    by_name: dict[str, list[Table]] = {}
    for table in tables:
        by_name.setdefault(table.group.axis, []).append(table)
    for name, members in by_name.items():
        shortest = max(table.group.min_length for table in members)
        limit = max(table.group.max_length for table in members)
        masks = [table.counts for table in members if table.group.is_mask]
        # a mask tells real entries of the groups that have as many
        exact = any(table.group.exact for table in members)
        exact |= not all(any(np.array_equal(table.counts, counts) for counts in masks) for table in members)
        counts = np.max([table.counts for table in members], axis=0)
        if step > 1 and not exact:
            counts = -(-counts // step) * step
        yield _Axis(name, np.clip(counts, shortest, limit), limit, exact)


def _cheapest(lengths: Array, exact: Array, batch_size: int, cost: Cost | None) -> list[Array]:
    """Division into buckets in all lengths at once, with the widths of the lowest cost for these jets."""
    if cost is None:
        return _cut(lengths, exact, batch_size, None, _sorted(lengths, exact, 1))[0]
    best, least = _cut(lengths, exact, batch_size, cost, _sorted(lengths, exact, WIDTHS[0]))
    for width in WIDTHS[1:]:
        batches, total = _cut(lengths, exact, batch_size, cost, _sorted(lengths, exact, width))
        if total >= least:
            break
        best, least = batches, total
    return best


def _sorted(lengths: Array, exact: Array, width: int) -> Array:
    """Jets sorted by decreasing, binned length of their main objects, then of the others; exact lengths come first."""
    main, others = lengths[0], lengths[1:]
    step = -((main.max() - main) // width)
    keys = [-main, *(-row for row in others[::-1]), -step, *(-row for row in lengths[exact][::-1])]
    return np.lexsort(keys)


def _cut(lengths: Array, exact: Array, batch_size: int, cost: Cost | None, order: Array) -> tuple[list[Array], float]:
    """Batches of jets in a given order, and their cost.

    A batch ends where its padding costs more than another run.
    """
    batches = []
    total = 0.0
    start = 0
    ordered = lengths[:, order]
    own = None if cost is None else np.cumsum(cost.of(ordered.sum(axis=0)))
    numbers = np.arange(1, min(batch_size, len(order)) + 1)
    while start < len(order):
        jets = order[start : start + batch_size]
        part = ordered[:, start : start + batch_size]
        stop = len(jets)
        changed = np.flatnonzero((part[exact] != part[exact][:, :1]).any(axis=0))
        if len(changed):
            stop = int(changed[0])
        if cost is not None and own is not None:
            padded = np.maximum.accumulate(part, axis=1).sum(axis=0)
            number = numbers[: len(jets)]
            each = cost.of(padded)
            before = own[start - 1] if start else 0.0
            over = number * each - (own[start : start + batch_size] - before) > cost.fixed
            over |= number * np.square(padded, dtype=np.float64) > cost.cells
            over[0] = False
            if over[:stop].any():
                stop = int(over.argmax())
            total += cost.fixed + float(stop * each[stop - 1])
        batches.append(jets[:stop])
        start += stop
    return batches, total


def _fill(tables: Sequence[Table], jets: Array, longest: Mapping[str, int], pad_mode: str) -> Batch:
    rows: dict[tuple[object, ...], Array] = {}
    in_slots: dict[str, Array] = {}
    inputs = {}
    slots = filled = 0
    for table in tables:
        if isinstance(table, ImageValues):
            inputs[table.group.name] = table.tensor(jets)
            continue
        length = longest[table.group.axis]
        wrap = (table.group.pad_mode or pad_mode) == "wrap" and not table.group.is_mask
        group = table.group
        key = (*group.choice, group.limit, length, wrap)
        if key not in rows:
            slot = np.arange(length)
            counts = table.counts[jets][:, np.newaxis]
            real = slot < counts
            within = slot % np.maximum(counts, 1) if wrap else slot
            taken = (counts > 0) & np.ones_like(real) if wrap else real
            rows[key] = np.where(taken, table.starts[jets][:, np.newaxis] + within, -1)
            if not rows.keys() - {key}:
                slots, filled = real.size, int(np.count_nonzero(real))
        inputs[table.group.name] = arranged(table.values[rows[key]].transpose(0, 2, 1), table.group.layout)
        in_slots[group.name] = rows[key]
    return Batch(jets=jets, inputs=inputs, slots=slots, filled=filled, rows=in_slots)
