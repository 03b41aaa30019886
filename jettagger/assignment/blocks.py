"""Blocks of events with their inputs and targets, and what can be wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import MismatchError, UnknownName
from jettagger.topology.eventfile import EventDescription, EventInput
from jettagger.types import Array

__all__ = ["AssignmentEvents", "EventProblem", "check_events", "offsets_of", "problems_of", "whole_values"]


@dataclass
class AssignmentEvents(Brief):
    """Consecutive events of a dataset.

    Parameters
    ----------
    values : mapping of str to numpy.ndarray
        Input -> float32[events, slots, features], in the order of the features of the event file, as in events: without
        logarithm and normalization; 0 where padded. A global input has one slot. Of relative inputs these are the
        features of one object.
    masks : mapping of str to numpy.ndarray
        Input -> bool[events, slots]: whether a slot is real.
    targets : mapping of str to numpy.ndarray
        Particle -> int64[events, daughters]: index over the slots of all sequential and relative inputs in order, -1
        for a missing one. Empty for events without labels.
    target_masks : mapping of str to numpy.ndarray
        Particle -> bool[events]: whether the particle can be reconstructed; default: no daughter is missing.
    weights : mapping of str to numpy.ndarray
        Particle -> float32[events], of its terms in the loss; default: 1.
    event_weights : mapping of str to numpy.ndarray
        ``EVENT`` -> float32[events], weights of the events, also negative ones; empty if there are none.
    regressions : mapping of str to numpy.ndarray
        Path of a target as in `EventDescription.regressions` -> float32[events], NaN where it is unknown.
    classifications : mapping of str to numpy.ndarray
        Path of a target -> int64[events], -1 where it is unknown.
    pair_values : mapping of str to numpy.ndarray
        Relative input -> float32[events, slots, slots, features of pairs]; empty without relative inputs.
    pair_features : mapping of str to tuple of str
        Relative input -> its features of pairs, in the order of ``pair_values``; the others are those of ``values``.
    start : int
        Number of the first event in its file.

    Attributes
    ----------
    n_events : int

    Examples
    --------
    >>> events = AssignmentEvents(
    ...     values={"Jets": np.zeros((1, 3, 2), np.float32)},
    ...     masks={"Jets": np.array([[True, True, False]])},
    ...     targets={"h": np.array([[0, 1]])},
    ... )
    >>> events.n_events, events.target_masks["h"].tolist(), events.weights["h"].tolist()
    (1, [True], [1.0])
    """

    values: Mapping[str, Array]
    masks: Mapping[str, Array]
    targets: Mapping[str, Array] = field(default_factory=dict)
    target_masks: Mapping[str, Array] = field(default_factory=dict)
    weights: Mapping[str, Array] = field(default_factory=dict)
    regressions: Mapping[str, Array] = field(default_factory=dict)
    classifications: Mapping[str, Array] = field(default_factory=dict)
    pair_values: Mapping[str, Array] = field(default_factory=dict)
    pair_features: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    start: int = 0
    event_weights: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        present: dict[str, Array] = {
            name: np.all(np.asarray(indices) >= 0, axis=1) for name, indices in self.targets.items()
        }
        self.target_masks = {**present, **self.target_masks}
        ones = {name: np.ones(len(indices), np.float32) for name, indices in self.targets.items()}
        self.weights = {**ones, **self.weights}

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(next(iter(self.masks.values()))) if self.masks else 0

    def __len__(self) -> int:
        return self.n_events

    def take(self, rows: Any) -> AssignmentEvents:
        """Some of the events.

        Parameters
        ----------
        rows : slice, or sequence of int

        Returns
        -------
        AssignmentEvents
            With `start` 0.
        """
        index = rows if isinstance(rows, slice) else np.asarray(rows, dtype=np.int64)
        names = [item.name for item in fields(self) if item.name not in ("pair_features", "start")]
        parts: dict[str, Any] = {
            part: {name: array[index] for name, array in getattr(self, part).items()} for part in names
        }
        return AssignmentEvents(**parts, pair_features=self.pair_features)


def whole_values(
    item: EventInput, values: Array, pair_values: Array | None = None, pair_features: tuple[str, ...] = ()
) -> Array:
    """All features of a relative input for each pair of slots, as networks take them.

    Parameters
    ----------
    item : EventInput
    values : float32[events, slots, features of objects]
    pair_values : float32[events, slots, slots, features of pairs], optional
    pair_features : tuple of str
        Names of the features of pairs.

    Returns
    -------
    float32[events, slots, slots, features]
        Features in the order of the event file; those of objects are those of the second one of a pair.

    Raises
    ------
    MismatchError
        If there are not as many features as the event file has.

    Examples
    --------
    >>> from jettagger.topology.eventfile import parse_event_text
    >>> event = parse_event_text("INPUTS: {RELATIVE: {Jets: {dr: none, pt: none}}}\\nEVENT: {h: [b1, b2]}")
    >>> pt, dr = np.array([[[50.0], [30.0]]]), np.array([[[[0.0], [1.0]], [[1.0], [0.0]]]])
    >>> whole_values(event.inputs[0], pt, dr, ("dr",))[0, 0].tolist()
    [[0.0, 50.0], [1.0, 30.0]]
    """
    single = [name for name in item.feature_names if name not in pair_features]
    pairs = [name for name in item.feature_names if name in pair_features]
    found = 0 if pair_values is None else pair_values.shape[-1]
    if (values.shape[-1], found) != (len(single), len(pairs)):
        raise MismatchError(
            f"relative input {item.name!r} has {values.shape[-1]} features of objects and {found} of pairs, expected "
            f"{len(single)} ({', '.join(single) or 'none'}) and {len(pairs)} ({', '.join(pairs) or 'none'})"
        )
    n_events, slots = values.shape[:2]
    made = np.zeros((n_events, slots, slots, len(item.features)), dtype=np.float32)
    for place, name in enumerate(item.feature_names):
        if name in single:
            made[..., place] = values[:, np.newaxis, :, single.index(name)]
        elif pair_values is not None:
            made[..., place] = pair_values[..., pairs.index(name)]
    return made


def offsets_of(event: EventDescription, slots: Mapping[str, int]) -> dict[str, int]:
    """The first index of each sequential and relative input: targets count the slots of all of them, in order.

    Parameters
    ----------
    event : EventDescription
    slots : mapping of str to int

    Returns
    -------
    dict of str to int
        With the total under the empty name.
    """
    offsets, total = {}, 0
    for item in event.sequential:
        offsets[item.name] = total
        total += slots[item.name]
    return {**offsets, "": total}


def check_events(
    events: AssignmentEvents,
    event: EventDescription,
    slots: Mapping[str, int],
    pair_features: Mapping[str, tuple[str, ...]],
) -> None:
    """Check names and shapes of a block.

    Parameters
    ----------
    events : AssignmentEvents
    event : EventDescription
    slots : mapping of str to int
        Input -> number of slots.
    pair_features : mapping of str to tuple of str
        Relative input -> its features of pairs.

    Raises
    ------
    UnknownName
        For a missing or an unexpected name, with the nearest ones.
    MismatchError
        If an array has another shape; gives name, shape and expectation.
    """
    count = events.n_events
    expected: dict[str, dict[str, tuple[int, ...]]] = {"values": {}, "masks": {}, "pair_values": {}}
    for item in event.inputs:
        width, pairs = slots[item.name], pair_features.get(item.name, ())
        if item.name in events.pair_features and tuple(events.pair_features[item.name]) != pairs:
            raise MismatchError(
                f"features of pairs of {item.name!r} are {list(events.pair_features[item.name])}, expected "
                f"{list(pairs)}"
            )
        expected["values"][item.name] = (count, width, len(item.features) - len(pairs))
        expected["masks"][item.name] = (count, width)
        if pairs:
            expected["pair_values"][item.name] = (count, width, width, len(pairs))
    if events.targets:
        expected["targets"] = {one.name: (count, len(one.daughters)) for one in event.particles}
        expected["target_masks"] = dict.fromkeys(event.particle_names, (count,))
        expected["weights"] = expected["target_masks"]
        expected["regressions"] = dict.fromkeys(event.regressions, (count,))
        expected["event_weights"] = dict.fromkeys(events.event_weights and ("EVENT",), (count,))
        expected["classifications"] = dict.fromkeys(event.classifications, (count,))
    for kind, shapes in expected.items():
        arrays: Mapping[str, Array] = getattr(events, kind)
        for name in arrays:
            if name not in shapes:
                raise UnknownName(f"name in {kind}", name, shapes, "the events")
        for name, shape in shapes.items():
            if name not in arrays:
                raise UnknownName(f"name in {kind}", name, arrays, "the events")
            if np.shape(arrays[name]) != shape:
                raise MismatchError(f"{kind} of {name!r}: shape {np.shape(arrays[name])}, expected {shape}")


@dataclass(frozen=True)
class EventProblem(Brief):
    """What is wrong with some events.

    Parameters
    ----------
    dataset : str
        Path in the file, ``"TARGETS/t1/b"``.
    what : str
        The problem.
    events : int
        How many events have it.
    first : int
        Number of the first of them, from 0.
    fatal : bool
        Whether such events cannot be used; if not, they are learned from differently than one may expect.
    """

    dataset: str
    what: str
    events: int
    first: int
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.dataset}: {self.what} in {self.events} events, first in event {self.first}"


def problems_of(
    events: AssignmentEvents,
    event: EventDescription,
    slots: Mapping[str, int],
    pair_features: Mapping[str, tuple[str, ...]],
) -> Iterator[EventProblem]:
    """The problems of a block of events.

    Parameters
    ----------
    events : AssignmentEvents
    event : EventDescription
    slots : mapping of str to int
    pair_features : mapping of str to tuple of str

    Yields
    ------
    EventProblem
    """

    def problem(bad: Array, dataset: str, what: str, *, fatal: bool = True) -> Iterator[EventProblem]:
        bad = np.any(bad, axis=tuple(range(1, bad.ndim)))
        if bad.any():
            yield EventProblem(dataset, what, int(bad.sum()), events.start + int(np.argmax(bad)), fatal)

    for item in event.inputs:
        pairs = pair_features.get(item.name, ())
        mask = np.asarray(events.masks[item.name], bool)
        both = mask[:, :, None] & mask[:, None, :]
        single = [feature for feature in item.features if feature.name not in pairs]
        paired = [feature for feature in item.features if feature.name in pairs]
        for arrays, features, real in ((events.values, single, mask), (events.pair_values, paired, both)):
            for number, feature in enumerate(features):
                values, place = arrays[item.name][..., number], f"INPUTS/{item.name}/{feature.name}"
                finite = np.isfinite(values)
                yield from problem(np.isnan(values) & real, place, "NaN")
                yield from problem(~finite & ~np.isnan(values) & real, place, "infinite")
                if feature.log:  # ln(x + 1)
                    yield from problem((values <= -1) & finite & real, place, "at most -1 with the option log")
    if events.targets:
        yield from _target_problems(events, event, slots)
    for path, values in events.event_weights.items():
        yield from problem(~np.isfinite(values), f"WEIGHTS/{path}", "not finite")
    for path, values in events.regressions.items():
        yield from problem(np.isinf(values), f"REGRESSIONS/{path}", "infinite")
    for path, values in events.classifications.items():
        yield from problem(np.asarray(values) < -1, f"CLASSIFICATIONS/{path}", "below -1")


def _target_problems(
    events: AssignmentEvents, event: EventDescription, slots: Mapping[str, int]
) -> Iterator[EventProblem]:
    offsets = offsets_of(event, slots)
    total = offsets[""]
    real = np.concatenate([np.asarray(events.masks[item.name], bool) for item in event.sequential], axis=1)

    def problem(bad: Array, dataset: str, what: str, *, fatal: bool = True) -> Iterator[EventProblem]:
        if bad.any():
            yield EventProblem(dataset, what, int(bad.sum()), events.start + int(np.argmax(bad)), fatal)

    for particle in event.particles:
        name = particle.name
        indices = np.asarray(events.targets[name], np.int64)
        present = np.asarray(events.target_masks[name], bool)
        outside = np.zeros(len(indices), bool)
        for number, daughter in enumerate(particle.daughters):
            target, place = indices[:, number], f"TARGETS/{name}/{daughter.name}"
            low = offsets[daughter.source] if daughter.source else 0
            high = low + slots[daughter.source] if daughter.source else total
            beyond = (target < -1) | ((target >= 0) & ((target < low) | (target >= high)))
            outside |= beyond
            where = f"of input {daughter.source!r}" if daughter.source else "of all inputs"
            yield from problem(beyond, place, f"out of range, -1 to {high - low - 1} {where},")
            if total:
                slot = np.clip(target, 0, total - 1)
                padded = (target >= 0) & ~beyond & ~np.take_along_axis(real, slot[:, None], 1)[:, 0]
                yield from problem(padded & present, place, "on a padded slot")
                yield from problem(
                    padded & ~present, place, "on a padded slot of a particle that is masked", fatal=False
                )
            missing = (target == -1) & present
            yield from problem(missing, place, f"missing (-1) although TARGETS/{name}/MASK is true,")
        twice = _repeated(indices)
        yield from problem(twice & present & ~outside, f"TARGETS/{name}", "one object for two daughters")
        weights = np.asarray(events.weights[name])
        yield from problem(~(weights >= 0) | np.isinf(weights), f"TARGETS/{name}/WEIGHT", "negative or not finite")
    every = np.concatenate([np.asarray(events.targets[name]) for name in event.particle_names], axis=1)
    inside = np.logical_or.reduce([_repeated(np.asarray(events.targets[name])) for name in event.particle_names])
    yield from problem(_repeated(every) & ~inside, "TARGETS", "one object for two particles", fatal=False)


def _repeated(indices: Array) -> Array:
    """Whether an index that is not missing appears twice in a row."""
    ordered = np.sort(indices, axis=1)
    repeated: Array = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(axis=1)
    return repeated


guard(globals())
