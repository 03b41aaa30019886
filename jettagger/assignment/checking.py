"""What a dataset of whole events holds: how often particles can be reconstructed, classes, and what is wrong."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.assignment.blocks import AssignmentEvents, EventProblem, problems_of
from jettagger.assignment.datasets import AssignmentDataset
from jettagger.display import Brief
from jettagger.errors import ConfigError
from jettagger.files import complete_or_absent
from jettagger.provenance import KEY, Provenance
from jettagger.topology.eventfile import EventDescription
from jettagger.types import Array

__all__ = ["DatasetReport", "EventShare", "ObjectsRow", "check_dataset", "combination_labels", "write_report"]


@dataclass(frozen=True)
class EventShare(Brief):
    """A number of events among others.

    Parameters
    ----------
    events : int
    of : int
        Number of all.

    Examples
    --------
    >>> print(EventShare(50, 100), EventShare(0, 0))
    0.500 +- 0.050 -
    """

    events: int
    of: int

    @property
    def share(self) -> float:
        """The fraction; NaN without events."""
        return self.events / self.of if self.of else math.nan

    @property
    def error(self) -> float:
        """Binomial uncertainty of the fraction, sqrt(p (1 - p) / n)."""
        return math.sqrt(self.share * (1 - self.share) / self.of) if self.of else math.nan

    def __str__(self) -> str:
        return f"{self.share:.3f} +- {self.error:.3f}" if self.of else "-"

    def to_dict(self) -> dict[str, Any]:
        """Content for JSON; None for a share without events."""
        known = self.of > 0
        return {"events": self.events, "share": self.share if known else None, "error": self.error if known else None}


@dataclass(frozen=True)
class ObjectsRow(Brief):
    """The matching efficiency of events with some number of objects.

    Parameters
    ----------
    objects : int
        Real slots of all sequential and relative inputs.
    events : int
    particles : dict of str to EventShare
        Particle -> events in which it can be reconstructed: its mask is true.
    complete : EventShare
        Events in which all particles can be.
    """

    objects: int
    events: int
    particles: dict[str, EventShare]
    complete: EventShare


@dataclass(frozen=True)
class DatasetReport(Brief):
    """What a dataset holds.

    Parameters
    ----------
    path : str
    events : int
    slots : dict of str to int
        Input -> number of slots.
    features : dict of str to tuple of str
        Input -> its features in the order of the event file.
    particles : dict of str to EventShare
        Particle -> events in which it can be reconstructed.
    combinations : dict of str to EventShare
        Which particles can be reconstructed together, as one class those that the event's symmetry exchanges.
    by_objects : tuple of ObjectsRow
        Rising number of objects.
    partly : dict of str to EventShare
        Particle -> events in which some of its daughters have a target and others none.
    classes : dict of str to dict of int to int
        Path of a target -> class -> events; -1 for unknown.
    regressions : dict of str to EventShare
        Path of a target -> events with a value.
    weights : dict of str to tuple of float
        Particle with weights in the file, or ``EVENT`` -> smallest, mean and largest one.
    problems : tuple of EventProblem
        What is wrong, the events of which cannot be used first.
    """

    path: str
    events: int
    slots: dict[str, int]
    features: dict[str, tuple[str, ...]]
    particles: dict[str, EventShare]
    combinations: dict[str, EventShare]
    by_objects: tuple[ObjectsRow, ...]
    partly: dict[str, EventShare]
    classes: dict[str, dict[int, int]]
    regressions: dict[str, EventShare]
    weights: dict[str, tuple[float, float, float]]
    problems: tuple[EventProblem, ...]

    @property
    def usable(self) -> bool:
        """Whether all events can be used."""
        return not any(problem.fatal for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """Content for JSON."""
        return {
            "file": self.path,
            "events": self.events,
            "usable": self.usable,
            "slots": self.slots,
            "features": {name: list(features) for name, features in self.features.items()},
            "particles": {name: share.to_dict() for name, share in self.particles.items()},
            "partly": {name: share.to_dict() for name, share in self.partly.items()},
            "combinations": {name: share.to_dict() for name, share in self.combinations.items()},
            "by_objects": [
                {
                    "objects": row.objects,
                    "events": row.events,
                    "particles": {name: share.to_dict() for name, share in row.particles.items()},
                    "all": row.complete.to_dict(),
                }
                for row in self.by_objects
            ],
            "classes": {
                path: {str(key): count for key, count in found.items()} for path, found in self.classes.items()
            },
            "regressions": {path: share.to_dict() for path, share in self.regressions.items()},
            "weights": {
                name: dict(zip(("min", "mean", "max"), values, strict=True)) for name, values in self.weights.items()
            },
            "problems": [asdict(problem) for problem in self.problems],
        }


def combination_labels(event: EventDescription) -> dict[int, str]:
    """Names of the combinations of particles that can be reconstructed.

    Parameters
    ----------
    event : EventDescription

    Returns
    -------
    dict of int to str
        Sum of 2^i over the particles i that are present -> name; combinations that the symmetry of the event exchanges
        have one name. In the order of the equivalence classes.

    Examples
    --------
    >>> from jettagger.topology.eventfile import parse_event_text
    >>> event = parse_event_text('''
    ... INPUTS: {SEQUENTIAL: {Jets: {pt: log}}}
    ... EVENT: {t1: [b], t2: [b], h: [b]}
    ... PERMUTATIONS: {EVENT: [[t1, t2]]}
    ... ''')
    >>> list(dict.fromkeys(combination_labels(event).values()))
    ['none', 't1 or t2', 'h', 't1+t2', 't1+h or t2+h', 't1+t2+h']
    """
    labels = {}
    for members in event.event_group.equivalence_classes:
        named = ["+".join(event.particle_names[number] for number in subset) or "none" for subset in members]
        label = " or ".join(named if len(named) <= 3 else [named[0], f"{len(named) - 1} others"])
        labels.update({sum(1 << number for number in subset): label for subset in members})
    return labels


def check_dataset(
    path: str | os.PathLike[str] | AssignmentDataset,
    event: EventDescription | str | os.PathLike[str] | None = None,
    *,
    progress: Callable[[int], None] | None = None,
) -> DatasetReport:
    """Read a dataset, count what is in it, and what is wrong with it.

    Parameters
    ----------
    path : path or AssignmentDataset
    event : EventDescription or path, optional
        The description of the event, for a path.
    progress : callable, optional
        Called with the number of events done since its last call.

    Returns
    -------
    DatasetReport

    Raises
    ------
    InputFileError, MissingColumns, MismatchError
        If the layout is not that of the event file, see `AssignmentDataset`.
    InvalidValues
        If a mask has values other than 0 and 1.
    ConfigError
        If a path has no event file.
    """
    if isinstance(path, AssignmentDataset):
        dataset = path
    else:
        if event is None:
            raise ConfigError("check_dataset(), argument event: expected the event file of the dataset, got None")
        dataset = AssignmentDataset(path, event)
    counts = _Counts(dataset)
    for block in dataset.blocks(check=False):
        counts.add(block)
        if progress is not None:
            progress(block.n_events)
    return counts.report()


def write_report(
    path: str | os.PathLike[str], report: DatasetReport, *, event: str | os.PathLike[str] | None = None
) -> None:
    """Write a report as JSON, complete or not at all.

    Parameters
    ----------
    path : path
        An existing file is replaced.
    report : DatasetReport
    event : path, optional
        The event file, for the record.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    files = (report.path, *([os.fspath(event)] if event is not None else []))
    content = {**report.to_dict(), KEY: Provenance("check", files=files).to_dict()}
    with complete_or_absent(path) as part:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


class _Counts:
    def __init__(self, dataset: AssignmentDataset) -> None:
        self.dataset, self.event = dataset, dataset.event
        # beyond 16 particles the 2^n combinations are not listed
        self.labels = combination_labels(self.event) if len(self.event.particles) <= 16 else {}
        self.objects: Counter[int] = Counter()
        self.present: dict[str, Counter[int]] = {name: Counter() for name in self.event.particle_names}
        self.complete: Counter[int] = Counter()
        self.partly: Counter[str] = Counter()
        self.combinations: Counter[int] = Counter()
        self.classes: dict[str, Counter[int]] = {path: Counter() for path in self.event.classifications}
        self.regressions: Counter[str] = Counter()
        self.weights: dict[str, list[float]] = {}
        self.problems: dict[tuple[str, str], EventProblem] = {}

    def add(self, block: AssignmentEvents) -> None:
        dataset = self.dataset
        for problem in problems_of(block, self.event, dataset.slots, dataset.pair_features):
            key = problem.dataset, problem.what
            earlier = self.problems.get(key)
            self.problems[key] = replace(earlier, events=earlier.events + problem.events) if earlier else problem
        objects = np.sum([block.masks[item.name].sum(axis=1) for item in self.event.sequential], axis=0)
        _count(self.objects, objects)
        if not block.targets:
            return
        bits = np.zeros(block.n_events, np.int64)
        complete = np.ones(block.n_events, bool)
        for number, name in enumerate(self.event.particle_names):
            present = block.target_masks[name]
            _count(self.present[name], objects[present])
            found = block.targets[name] >= 0
            self.partly[name] += int((found.any(axis=1) & ~found.all(axis=1)).sum())
            complete &= present
            if self.labels:
                bits |= present.astype(np.int64) << number
            if f"TARGETS/{name}/WEIGHT" in dataset.optional:
                self._weigh(name, block.weights[name])
        for name, values in block.event_weights.items():
            self._weigh(name, values)
        _count(self.complete, objects[complete])
        _count(self.combinations, bits)
        for path, values in block.classifications.items():
            _count(self.classes[path], values)
        for path, values in block.regressions.items():
            self.regressions[path] += int(np.count_nonzero(~np.isnan(values)))

    def _weigh(self, name: str, weights: Array) -> None:
        values = weights.astype(np.float64)
        low, total, high = self.weights.get(name, [math.inf, 0.0, -math.inf])
        self.weights[name] = [min(low, values.min()), total + values.sum(), max(high, values.max())]

    def report(self) -> DatasetReport:
        dataset, total = self.dataset, self.dataset.n_events
        names = self.event.particle_names if dataset.labels else ()
        combinations: dict[str, int] = dict.fromkeys(self.labels.values(), 0)
        for bits, count in self.combinations.items() if self.labels else ():
            combinations[self.labels[bits]] += count
        rows = [
            ObjectsRow(
                objects,
                events,
                {name: EventShare(self.present[name][objects], events) for name in names},
                EventShare(self.complete[objects], events),
            )
            for objects, events in sorted(self.objects.items())
        ]
        return DatasetReport(
            dataset.path,
            total,
            dict(dataset.slots),
            {item.name: item.feature_names for item in self.event.inputs},
            {name: EventShare(sum(self.present[name].values()), total) for name in names},
            {label: EventShare(count, total) for label, count in combinations.items()} if dataset.labels else {},
            tuple(rows),
            {name: EventShare(self.partly[name], total) for name in names},
            {path: dict(sorted(found.items())) for path, found in self.classes.items()} if dataset.labels else {},
            {path: EventShare(self.regressions[path], total) for path in (self.event.regressions if names else ())},
            {name: (low, total_weight / total, high) for name, (low, total_weight, high) in self.weights.items()},
            tuple(sorted(self.problems.values(), key=lambda problem: (not problem.fatal, problem.dataset))),
        )


def _count(counter: Counter[int], values: Array | Iterable[int]) -> None:
    unique, counts = np.unique(np.asarray(values), return_counts=True)
    counter.update(dict(zip(unique.tolist(), counts.tolist(), strict=True)))


guard(globals())
