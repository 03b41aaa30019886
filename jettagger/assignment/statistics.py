"""Statistics of a training set: normalisation of inputs and regression targets, numbers of classes and of particles.

They are computed block by block, in double precision, so that the memory does not grow with the events; the median of a
Laplacian regression takes two more passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import InvalidValues, MismatchError
from jettagger.topology.eventfile import EventDescription, EventInput
from jettagger.types import Array

__all__ = [
    "Normalization",
    "TrainingStatistics",
    "class_balance",
    "log_inputs",
    "object_balance",
    "particle_balance",
    "training_statistics",
]

#: standard deviations below this count as none: the feature is constant, and is not scaled
_SMALLEST = 1e-5


@dataclass(frozen=True)
class Normalization(Brief):
    """What is subtracted from values, and what they are divided by then.

    Parameters
    ----------
    mean, std : float32[features], or float32[] for a regression
        Median and mean absolute deviation for a Laplacian regression; of asinh(x / 2) for ``log_gaussian``.
    """

    mean: Array
    std: Array


@dataclass(frozen=True)
class TrainingStatistics(Brief):
    """Statistics of a training set, see `training_statistics`.

    Parameters
    ----------
    inputs : mapping of str to Normalization
        For each input, after the logarithm.
    regressions : mapping of str to Normalization
        For each regression with a target.
    classes : mapping of str to int64[classes]
        For each classification: number of events of each class, without masked ones.
    subsets : int64[2 ** particles]
        Number of events for each set of particles that are there; bit i of the index is particle i.
    objects : int64[counts]
        Number of events with 0, 1, ... objects in all inputs with slots together.
    n_events : int
    """

    inputs: Mapping[str, Normalization]
    regressions: Mapping[str, Normalization] = field(default_factory=dict)
    classes: Mapping[str, Array] = field(default_factory=dict)
    subsets: Array = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    objects: Array = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    n_events: int = 0

    @property
    def class_counts(self) -> dict[str, int]:
        """Number of classes of each classification."""
        return {key: len(counts) for key, counts in self.classes.items()}


def log_inputs(
    values: Mapping[str, Array],
    masks: Mapping[str, Array],
    description: EventDescription,
    *,
    pair_values: Mapping[str, Array] | None = None,
    pair_features: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Array]:
    """Inputs as the network takes them: ln(x + 1) where the event file says so, 0 in empty slots of such features.

    Parameters
    ----------
    values : mapping of str to float32[events, slots, features]
        For each input; float32[events, slots, slots, features] for a relative one, or the features of its objects
        alone, as datasets have them.
    masks : mapping of str to bool[events, slots]
    description : EventDescription
    pair_values : mapping of str to float32[events, slots, slots, features of pairs], optional
        For relative inputs whose values are the features of objects.
    pair_features : mapping of str to sequence of str, optional
        Names of the features of pairs. The others are those of the second object of a pair.

    Returns
    -------
    dict of str to float32[...]
        With all features of an input in the order of the event file, for each pair of slots of a relative input. Inputs
        without a logarithm are those given, not copies.

    Raises
    ------
    InvalidValues
        If an object has a value of -1 or less, which has no logarithm; gives the event.
    MismatchError
        If a relative input lacks the values of its pairs.
    """
    made = {}
    for item in description.inputs:
        mask = np.asarray(masks[item.name], dtype=bool)
        columns: dict[str, Array] = {}
        for names, array in _parts(item, values, pair_values or {}, pair_features or {}):
            columns |= dict(zip(names, np.moveaxis(_logarithms(item, names, array, mask), -1, 0), strict=True))
            whole = array
        if len(columns) == whole.shape[-1]:  # one part, in order
            made[item.name] = np.stack(list(columns.values()), -1) if any(f.log for f in item.features) else whole
            continue
        shape = whole.shape[:3]
        ordered = [columns[name] for name in item.feature_names]
        ordered = [np.broadcast_to(x[:, None, :] if x.ndim == 2 else x, shape) for x in ordered]
        made[item.name] = np.stack(ordered, -1)
    return made


def _parts(
    item: EventInput,
    values: Mapping[str, Array],
    pair_values: Mapping[str, Array],
    pair_features: Mapping[str, Sequence[str]],
) -> Iterator[tuple[list[str], Array]]:
    """Features of objects, then those of pairs, with their names."""
    array = np.asarray(values[item.name], dtype=np.float32)
    names = list(item.feature_names)
    if item.kind == "relative" and array.ndim == 3:
        pairs = [name for name in names if name in pair_features.get(item.name, ())]
        if item.name not in pair_values or array.shape[-1] + np.shape(pair_values[item.name])[-1] != len(names):
            raise MismatchError(
                f"relative input {item.name}: {array.shape[-1]} features of objects and no fitting features of pairs, "
                f"expected {len(names)} together: give pair_values and pair_features"
            )
        yield [name for name in names if name not in pairs], array
        yield pairs, np.asarray(pair_values[item.name], dtype=np.float32)
    else:
        yield names, array


def _logarithms(item: EventInput, names: Sequence[str], array: Array, mask: Array) -> Array:
    logs = {feature.name for feature in item.features if feature.log}
    chosen = [place for place, name in enumerate(names) if name in logs]
    if not chosen:
        return array
    array, real = array.copy(), _real(array, mask)
    for place in chosen:
        column = array[..., place]
        low = real & ~(column > -1)
        if low.any():
            event = int(np.argwhere(low)[0, 0])
            raise InvalidValues(
                f"event {event}: {item.name}/{names[place]} is {column[low][0]:g}, which has no ln(x + 1): expected "
                "values above -1"
            )
        array[..., place] = np.log1p(np.where(real, column, 0))
    return array


def _real(array: Array, mask: Array) -> Array:
    """The mask of the slots, or of the pairs of a relative input."""
    return mask[:, :, None] & mask[:, None, :] if array.ndim == 4 else mask


class _Moments:
    """Mean and sum of squared deviations, merged block by block (Chan, Golub and LeVeque 1983)."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, np.zeros(()), np.zeros(())

    def add(self, rows: Array) -> None:
        count = len(rows)
        if not count:
            return
        rows = rows.astype(np.float64)
        mean = rows.mean(0)
        squares = np.square(rows - mean).sum(0)
        total = self.count + count
        difference = mean - self.mean
        self.squares = self.squares + squares + np.square(difference) * (self.count * count / total)
        self.mean = self.mean + difference * (count / total)
        self.count = total

    def std(self, lost: int) -> Array:
        return np.asarray(np.sqrt(self.squares / max(self.count - lost, 1)))


class _Median:
    """The lower median of float32 numbers in two passes: their upper 16 bits, then the lower ones of its bin."""

    def __init__(self) -> None:
        self.upper: Array = np.zeros(1 << 16, dtype=np.int64)
        self.lower: Array = np.zeros(1 << 16, dtype=np.int64)
        self.bin, self.rank = 0, 0

    @staticmethod
    def keys(values: Array) -> Array:
        """Unsigned numbers in the order of the values."""
        bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
        return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint32)

    def add_upper(self, values: Array) -> None:
        self.upper += np.bincount(self.keys(values) >> 16, minlength=1 << 16)

    def choose(self) -> None:
        self.rank = (int(self.upper.sum()) - 1) // 2
        below = np.cumsum(self.upper)
        self.bin = int(np.searchsorted(below, self.rank, side="right"))
        self.rank -= int(below[self.bin] - self.upper[self.bin])

    def add_lower(self, values: Array) -> None:
        keys = self.keys(values)
        self.lower += np.bincount(keys[keys >> 16 == self.bin] & 0xFFFF, minlength=1 << 16)

    def value(self) -> float:
        low = int(np.searchsorted(np.cumsum(self.lower), self.rank, side="right"))
        key = np.uint32((self.bin << 16) | low)
        bits = key & np.uint32(0x7FFFFFFF) if key >> 31 else ~key
        return float(np.array([bits], dtype=np.uint32).view(np.float32)[0])


def training_statistics(
    blocks: Callable[[], Iterable[Any]],
    description: EventDescription,
    *,
    normalize: bool = True,
    pair_features: Mapping[str, Sequence[str]] | None = None,
) -> TrainingStatistics:
    """Statistics of a training set.

    Parameters
    ----------
    blocks : callable
        Returns the blocks of events, with ``values``, ``masks``, ``target_masks``, ``regressions`` and
        ``classifications`` as those of `jettagger.assignment.datasets.AssignmentDataset`. It is called once, and twice
        more if there are Laplacian regressions.
    description : EventDescription
    normalize : bool
        Whether inputs are normalised, ``normalize_features``.
    pair_features : mapping of str to sequence of str, optional
        As those of a data set: names of the features of pairs of relative inputs.

    Returns
    -------
    TrainingStatistics
        Of the inputs: mean and unbiased standard deviation over objects, after the logarithm, of the features that are
        normalised; 0 and 1 for others, and 1 for standard deviations below 1e-5. Of the regressions, without NaN: mean
        and standard deviation of the population; of asinh(x / 2) for ``log_gaussian``; lower median and mean absolute
        deviation for ``laplacian``; 1 where this is 0, as for constant targets, or where all are masked.

    Raises
    ------
    InvalidValues
        If there are no events, an input has no objects, or a classification has no or a missing class.
    """
    # of each feature, as those of objects and of pairs of one input have different numbers of rows
    moments: dict[str, dict[tuple[str, ...], _Moments]] = {item.name: {} for item in description.inputs}
    targets = {key: _Moments() for key in description.regressions}
    medians = {key: _Median() for key, kind in description.regressions.items() if kind == "laplacian"}
    classes: dict[str, Array] = {key: np.zeros(0, dtype=np.int64) for key in description.classifications}
    particles = [particle.name for particle in description.particles]
    subsets: Array = np.zeros(2 ** len(particles), dtype=np.int64)
    objects: Array = np.zeros(1, dtype=np.int64)
    events = 0
    for events_block in blocks():
        masks = {name: np.asarray(mask, dtype=bool) for name, mask in events_block.masks.items()}
        pair_values = getattr(events_block, "pair_values", {})
        counts = np.zeros(len(next(iter(masks.values()))), dtype=np.int64)
        for item in description.inputs:
            mask = masks[item.name]
            for names, array in _parts(item, events_block.values, pair_values, pair_features or {}):
                rows = _logarithms(item, names, array, mask)[_real(array, mask)]
                moments[item.name].setdefault(tuple(names), _Moments()).add(rows)
            counts += mask.sum(1) if item.kind != "global" else 0
        objects = _added(objects, np.bincount(counts))
        events += len(counts)
        present = np.stack([np.asarray(events_block.target_masks[name], dtype=bool) for name in particles])
        subsets += np.bincount((present << np.arange(len(particles))[:, None]).sum(0), minlength=len(subsets))
        for key, kind in description.regressions.items():
            target = _target(events_block.regressions[key], kind)
            targets[key].add(target)
            if key in medians:
                medians[key].add_upper(target)
        for key in classes:
            target = np.asarray(events_block.classifications[key])
            classes[key] = _added(classes[key], np.bincount(target[target >= 0]))
    if not events:
        raise InvalidValues("the training set has no events")
    empty = [name for name, parts in moments.items() if not all(found.count for found in parts.values())]
    if empty:
        raise InvalidValues(
            f"no event of the training set has an object in {', '.join(empty)}: nothing to normalise with"
        )
    for key, found in classes.items():
        missing = [str(place) for place, count in enumerate(found) if not count]
        if missing or not len(found):
            text = f"has no events of the classes {', '.join(missing)}" if missing else "is masked in all events"
            raise InvalidValues(
                f"classification {key} {text} in the training set; expected classes from 0 without gaps"
            )
    centers = {key: (found.mean, found.std(0)) for key, found in targets.items()}
    centers |= _laplacian(blocks, medians, targets)
    return TrainingStatistics(
        inputs={item.name: _normalization(item, moments[item.name], normalize) for item in description.inputs},
        regressions={
            # without a spread, or without targets, errors are in the unit of the target
            key: Normalization(_float(mean), _float(std if std > 0 else 1))
            for key, (mean, std) in centers.items()
        },
        classes=classes,
        subsets=subsets,
        objects=objects,
        n_events=events,
    )


def _added(first: Array, second: Array) -> Array:
    made: Array = np.zeros(max(len(first), len(second)), dtype=np.int64)
    made[: len(first)] += first
    made[: len(second)] += second
    return made


def _float(value: Any) -> Array:
    return np.asarray(value, dtype=np.float32)


def _target(values: Array, kind: str) -> Array:
    values = np.asarray(values, dtype=np.float32)
    values = values[~np.isnan(values)]
    return np.arcsinh(values / 2) if kind == "log_gaussian" else values


def _normalization(item: EventInput, parts: Mapping[tuple[str, ...], _Moments], normalize: bool) -> Normalization:
    means: dict[str, Any] = {}
    stds: dict[str, Any] = {}
    for names, moments in parts.items():
        means |= dict(zip(names, moments.mean, strict=True))
        stds |= dict(zip(names, moments.std(1), strict=True))
    chosen = np.array([feature.normalize and normalize for feature in item.features])
    mean, std = (np.array([found[name] for name in item.feature_names]) for found in (means, stds))
    std = np.where(std < _SMALLEST, 1, std)
    return Normalization(_float(np.where(chosen, mean, 0)), _float(np.where(chosen, std, 1)))


def _laplacian(
    blocks: Callable[[], Iterable[Any]], medians: Mapping[str, _Median], moments: Mapping[str, _Moments]
) -> dict[str, tuple[Any, Any]]:
    """Medians and mean absolute deviations."""
    chosen = {key: median for key, median in medians.items() if moments[key].count}
    if not chosen:
        return {}
    for median in chosen.values():
        median.choose()
    for block in blocks():
        for key, median in chosen.items():
            median.add_lower(_target(block.regressions[key], "laplacian"))
    centers = {key: median.value() for key, median in chosen.items()}
    sums = dict.fromkeys(chosen, 0.0)
    for block in blocks():
        for key, center in centers.items():
            sums[key] += float(np.abs(_target(block.regressions[key], "laplacian").astype(np.float64) - center).sum())
    return {key: (center, sums[key] / moments[key].count) for key, center in centers.items()}


# ------------------------------------------------------------------------------------------------------------- balance


def _effective(counts: Array, total: int) -> Array:
    """Inverse effective numbers of events; 0 for classes without events."""
    beta = 1 - 1 / max(total, 1)
    return np.where(counts > 0, (1 - beta) / np.where(counts > 0, 1 - beta**counts, 1), 0.0)


def particle_balance(statistics: TrainingStatistics, description: EventDescription) -> Array:
    """Weights that balance the sets of particles that are there (Cui et al. 2019).

    Parameters
    ----------
    statistics : TrainingStatistics
    description : EventDescription
        Sets that the event group maps onto each other are one class.

    Returns
    -------
    float32[2 ** particles]
        Bit i of the index: particle i is there. The mean over classes is 1. One event is added to each class.
    """
    classes = description.event_group.equivalence_classes
    members = [[sum(1 << place for place in subset) for subset in subsets] for subsets in classes]
    counts = [1 + int(statistics.subsets[index].sum()) for index in members]
    values = _effective(np.array(counts), statistics.n_events)
    weights = np.zeros(2 ** len(description.particles), dtype=np.float32)
    for index, value in zip(members, values * len(values) / values.sum(), strict=True):
        weights[index] = value
    return weights


def object_balance(statistics: TrainingStatistics) -> Array:
    """Weights that balance the numbers of objects (Cui et al. 2019).

    Parameters
    ----------
    statistics : TrainingStatistics

    Returns
    -------
    float32[counts]
        Index: number of objects in inputs with slots; the original counts global inputs, too. The mean from the lowest
        to the highest number in the training set is 1.
    """
    counts = statistics.objects
    weights = _effective(counts, statistics.n_events)
    seen = np.flatnonzero(counts)
    return (weights * (seen[-1] - seen[0] + 1) / weights.sum()).astype(np.float32)


def class_balance(counts: Array) -> Array:
    """Weights that balance the classes of a classification (Cui et al. 2019).

    Parameters
    ----------
    counts : int64[classes]
        Events of each class, without masked ones.

    Returns
    -------
    float32[classes]
        With a mean of 1.

    Examples
    --------
    >>> print(class_balance(np.array([10, 30])).round(2))
    [1.41 0.59]
    """
    weights = _effective(np.asarray(counts), int(np.sum(counts)))
    return (weights * len(weights) / weights.sum()).astype(np.float32)


guard(globals())
