"""Datasets of whole events in the HDF5 layout of SPANet: read in blocks, written complete or not at all.

Groups ``INPUTS/<input>/<feature>``, ``TARGETS/<particle>/<daughter>``, ``REGRESSIONS`` and ``CLASSIFICATIONS``, with
``MASK`` for real slots and for particles that are present, and ``WEIGHT``; and, which the original does not read,
``WEIGHTS/EVENT``. Other groups and datasets are ignored.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import numpy as np

from jettagger.arguments import guard, in_range
from jettagger.assignment.blocks import AssignmentEvents, check_events, offsets_of, problems_of
from jettagger.assignment.dataset_layout import EVENT_WEIGHTS, MASK, WEIGHT, DatasetLayout
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, MismatchError, hint
from jettagger.files.hdf5 import intact, new_hdf5, open_hdf5, read_rows
from jettagger.provenance import Provenance
from jettagger.topology.eventfile import EventDescription, EventInput, read_event_file
from jettagger.types import Array

__all__ = ["EVENT_WEIGHTS", "AssignmentDataset", "AssignmentEvents", "DatasetWriter", "described"]

#: memory of one block of events, unless its size is given
BLOCK_BYTES = 32 * 2**20

#: bytes of one chunk of a dataset that is written
_CHUNK_BYTES = 256 * 2**10


def described(event: EventDescription | str | os.PathLike[str]) -> EventDescription:
    """The description of an event, read from its file if it is not one already.

    Parameters
    ----------
    event : EventDescription or path

    Returns
    -------
    EventDescription

    Raises
    ------
    ConfigError
        If the event file is not valid.
    """
    return event if isinstance(event, EventDescription) else read_event_file(event)


class AssignmentDataset(Brief):
    """A dataset in the layout of SPANet.

    The layout is checked when it is made; events are read in blocks, each time from the file.

    Parameters
    ----------
    path : path
        HDF5.
    event : EventDescription or path
        The description of the event, or its file.
    labels : bool
        Whether targets, regressions and classes are needed; False for files whose events have none.

    Attributes
    ----------
    path : str
    event : EventDescription
    labels : bool
    n_events : int
    slots : dict of str to int
        Input -> number of slots; 1 for global ones.
    pair_features : dict of str to tuple of str
        Relative input -> features that the file has for pairs of objects, (events, slots, slots).
    optional : frozenset of str
        ``TARGETS/<particle>/MASK``, ``TARGETS/<particle>/WEIGHT``, ``WEIGHTS/EVENT`` and ``INPUTS/<global>/MASK`` that
        the file has.

    Raises
    ------
    MissingExtra
        If h5py is not installed.
    InputFileError
        If the file is missing or damaged, or a dataset has the wrong dtype or number of dimensions.
    MissingColumns
        If datasets are missing: all of them, with the nearest names.
    MismatchError
        If datasets differ in length or in the number of slots; gives names and lengths.

    Examples
    --------
    >>> from jettagger.topology.eventfile import parse_event_text
    >>> AssignmentDataset("absent.h5", parse_event_text("INPUTS: {SEQUENTIAL: {Jets: {pt: log}}}\\nEVENT: {h: [b]}"))
    Traceback (most recent call last):
        ...
    jettagger.errors.InputFileError: no such file: absent.h5
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        event: EventDescription | str | os.PathLike[str],
        *,
        labels: bool = True,
    ) -> None:
        self.path = os.fspath(path)
        self.event = described(event)
        self.labels = labels
        with open_hdf5(self.path) as file, intact(self.path):
            layout = DatasetLayout(file, self.path, self.event, labels)
        self.n_events = layout.n_events
        self.slots = layout.slots
        self.pair_features = layout.pair_features
        self.optional = frozenset(layout.optional)
        self._bytes = layout.bytes_per_event

    def __len__(self) -> int:
        return self.n_events

    def __repr__(self) -> str:
        slots = ", ".join(f"{name}[{count}]" for name, count in self.slots.items())
        return f"AssignmentDataset({self.path}: {self.n_events} events, {slots})"

    @property
    def offsets(self) -> dict[str, int]:
        """The index of the first slot of each sequential and relative input in targets."""
        offsets = offsets_of(self.event, self.slots)
        return {item.name: offsets[item.name] for item in self.event.sequential}

    def blocks(
        self, size: int | None = None, *, start: int = 0, stop: int | None = None, check: bool = True
    ) -> Iterator[AssignmentEvents]:
        """Read the events, one block after the other.

        Parameters
        ----------
        size : int, optional
            Events of a block; default: 32 MB.
        start, stop : int
            The range of events; default: all.
        check : bool
            Whether the first block with an event that cannot be used is an error.

        Yields
        ------
        AssignmentEvents

        Raises
        ------
        InputFileError
            If the file cannot be read.
        InvalidValues
            If features are not finite, or at most -1 with the option log; if targets are out of range, on a padded
            slot, or two of a particle are the same; gives the dataset and the number of the event.
        ConfigError
            If the size is not positive.
        """
        if size is None:
            size = max(1, BLOCK_BYTES // max(self._bytes, 1))
        in_range(size, "size", 1)
        stop = self.n_events if stop is None else min(stop, self.n_events)
        with open_hdf5(self.path) as file:
            for first in range(start, stop, size):
                events = self._read(file, first, min(first + size, stop))
                if check:
                    _refuse_problems(events, self.event, self.slots, self.pair_features, self.path)
                yield events

    def read(self, start: int = 0, stop: int | None = None, *, check: bool = True) -> AssignmentEvents:
        """Read a range of events into memory at once.

        Parameters
        ----------
        start, stop : int
        check : bool
            As for `blocks`.

        Returns
        -------
        AssignmentEvents

        Raises
        ------
        InputFileError, InvalidValues
            As for `blocks`.
        """
        stop = self.n_events if stop is None else min(stop, self.n_events)
        start = min(start, stop)
        for events in self.blocks(max(stop - start, 1), start=start, stop=stop, check=check):
            return events
        with open_hdf5(self.path) as file:
            return self._read(file, start, start)

    def _read(self, file: Any, start: int, stop: int) -> AssignmentEvents:
        values, masks, pair_values = {}, {}, {}
        for item in self.event.inputs:
            mask = self._mask(file, item, start, stop)
            pairs = self.pair_features.get(item.name, ())
            single = [name for name in item.feature_names if name not in pairs]
            values[item.name] = self._features(file, item.name, single, start, stop, mask)
            if pairs:
                both = mask[:, :, None] & mask[:, None, :]
                pair_values[item.name] = self._features(file, item.name, pairs, start, stop, both)
            masks[item.name] = mask
        pairs_of = self.pair_features if pair_values else {}
        if not self.labels:
            return AssignmentEvents(values, masks, pair_values=pair_values, pair_features=pairs_of, start=start)
        offsets = offsets_of(self.event, self.slots)
        targets, target_masks, weights = {}, {}, {}
        for particle in self.event.particles:
            group = f"TARGETS/{particle.name}"
            columns = []
            for daughter in particle.daughters:
                indices = read_rows(file[f"{group}/{daughter.name}"], start, stop).astype(np.int64)
                if daughter.source:
                    indices[indices >= 0] += offsets[daughter.source]
                columns.append(indices)
            targets[particle.name] = np.stack(columns, axis=1)
            if f"{group}/{MASK}" in self.optional:
                target_masks[particle.name] = _flags(file[f"{group}/{MASK}"], start, stop, self.path)
            if f"{group}/{WEIGHT}" in self.optional:
                weights[particle.name] = _single(read_rows(file[f"{group}/{WEIGHT}"], start, stop))
        regressions = {
            path: _single(read_rows(file[f"REGRESSIONS/{path}"], start, stop)) for path in self.event.regressions
        }
        classes = {
            path: read_rows(file[f"CLASSIFICATIONS/{path}"], start, stop).astype(np.int64)
            for path in self.event.classifications
        }
        event_weights = {}
        if EVENT_WEIGHTS in self.optional:
            event_weights["EVENT"] = _single(read_rows(file[EVENT_WEIGHTS], start, stop))
        return AssignmentEvents(
            values,
            masks,
            targets,
            target_masks,
            weights,
            regressions,
            classes,
            pair_values=pair_values,
            pair_features=pairs_of,
            start=start,
            event_weights=event_weights,
        )

    def _mask(self, file: Any, item: EventInput, start: int, stop: int) -> Array:
        place = f"INPUTS/{item.name}/{MASK}"
        if item.kind == "global" and place not in self.optional:
            return np.ones((stop - start, 1), bool)
        mask = _flags(file[place], start, stop, self.path)
        return mask[:, None] if item.kind == "global" else mask

    def _features(self, file: Any, name: str, features: Sequence[str], start: int, stop: int, mask: Array) -> Array:
        values = np.empty((*mask.shape, len(features)), np.float32)
        for number, feature in enumerate(features):
            rows = _single(read_rows(file[f"INPUTS/{name}/{feature}"], start, stop))
            values[..., number] = np.where(mask, rows.reshape(mask.shape), np.float32(0))
        return values


def _single(rows: Array) -> Array:
    with np.errstate(over="ignore"):  # beyond float32: infinite, which the checks report
        return np.asarray(rows, dtype=np.float32)


def _flags(dataset: Any, start: int, stop: int, path: str) -> Array:
    rows = read_rows(dataset, start, stop)
    if rows.dtype.kind != "b":
        bad = ~np.isin(rows, (0, 1)).reshape(len(rows), -1).all(axis=1)
        if bad.any():
            number = start + int(np.argmax(bad))
            raise InvalidValues(
                f"{path}: {dataset.name.strip('/')} of event {number} has values other than 0 and 1, expected booleans"
            )
    return rows.astype(bool)


def _refuse_problems(
    events: AssignmentEvents,
    event: EventDescription,
    slots: Mapping[str, int],
    pair_features: Mapping[str, tuple[str, ...]],
    path: str,
) -> None:
    problems = [problem for problem in problems_of(events, event, slots, pair_features) if problem.fatal]
    if problems:
        last = events.start + events.n_events - 1
        listed = "; ".join(map(str, problems[:5])) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise InvalidValues(
            f"{path}: events {events.start} to {last}: {listed}. 'jettagger assignment check' counts them in the file"
        )


class DatasetWriter(Brief):
    """Writes a dataset in the layout of SPANet; complete, or not at all.

    A context manager: the file appears when the block ends without an error. Features and weights are float32, targets
    and classes int64, masks bool, compressed with gzip. Weights are written for particles of which one differs from 1:
    the original cannot drop events of files with weights, as it does with its default ``partial_events = false``.
    Weights of events, which it does not read, are written if a block has them, and are 1 in blocks without.

    Parameters
    ----------
    path : path
    event : EventDescription or path
    slots : mapping of str to int
        Sequential or relative input -> number of slots.
    pair_features : mapping of str to sequence of str, optional
        Relative input -> its features of pairs.
    labels : bool
        Whether events have targets, regressions and classes.
    provenance : Provenance, optional
        How the events were made, stored as the attribute ``jettagger`` of the file.
    force : bool
        Whether an existing file may be replaced.

    Attributes
    ----------
    n_events : int
        Number of events written.

    Raises
    ------
    MissingExtra
        If h5py is not installed.
    ConfigError
        If the slots of an input are missing or not positive.
    OutputError
        If the file cannot be written.

    Examples
    --------
    >>> from jettagger.topology.eventfile import parse_event_text
    >>> event = parse_event_text("INPUTS: {SEQUENTIAL: {Jets: {pt: log}}}\\nEVENT: {h: [b1, b2]}")
    >>> DatasetWriter("higgs.h5", event, {"Jets": 0})
    Traceback (most recent call last):
        ...
    jettagger.errors.ConfigError: input 'Jets' has 0 slots, expected at least 1
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        event: EventDescription | str | os.PathLike[str],
        slots: Mapping[str, int],
        *,
        pair_features: Mapping[str, Sequence[str]] | None = None,
        labels: bool = True,
        provenance: Provenance | None = None,
        force: bool = False,
    ) -> None:
        self.path = os.fspath(path)
        self.event = described(event)
        self.slots = {}
        for item in self.event.inputs:
            count = 1 if item.kind == "global" else slots.get(item.name)
            if count is None:
                raise ConfigError(f"no number of slots for input {item.name!r}{hint(item.name, slots)}")
            if count < 1:
                raise ConfigError(f"input {item.name!r} has {count} slots, expected at least 1")
            self.slots[item.name] = int(count)
        self.pair_features = {
            item.name: tuple(name for name in item.feature_names if name in (pair_features or {}).get(item.name, ()))
            for item in self.event.inputs
            if item.kind == "relative"
        }
        self.labels = labels
        self.provenance = Provenance("dataset") if provenance is None else provenance
        self.force = force
        self.n_events = 0
        self._stack = ExitStack()
        self._file: Any = None

    def __enter__(self) -> DatasetWriter:
        self._file = self._stack.enter_context(new_hdf5(self.path, self.provenance.text, force=self.force))
        try:
            self._create()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._file = None
        return self._stack.__exit__(kind, error, trace)

    def append(self, events: AssignmentEvents) -> None:
        """Write a block of events.

        Parameters
        ----------
        events : AssignmentEvents
            Targets count the slots of all sequential and relative inputs, also where the file counts those of one.

        Raises
        ------
        UnknownName
            For a missing or unexpected name, with the nearest ones.
        MismatchError
            If shapes differ from those of the file, or events have targets and the file has none, or the reverse.
        InvalidValues
            If events cannot be used, as for `AssignmentDataset.blocks`; gives the number of the event in the file.
        OutputError
            Outside of a ``with`` block.
        """
        self._check(events)
        self._write(dict(self._rows(events)))

    def _check(self, events: AssignmentEvents) -> None:
        if self._file is None:
            raise MismatchError(f"{self.path} is not open: append within 'with DatasetWriter(...) as writer'")
        if events.n_events and bool(events.targets) != self.labels:
            one, other = ("targets", "none") if events.targets else ("no targets", "some")
            raise MismatchError(
                f"{self.path}: the events have {one}, the file is to have {other} (labels={self.labels})"
            )
        check_events(events, self.event, self.slots, self.pair_features)
        numbered = AssignmentEvents(**{**vars(events), "start": self.n_events})
        _refuse_problems(numbered, self.event, self.slots, self.pair_features, self.path)

    def _write(self, rows: Mapping[str, Array]) -> None:
        """Dataset -> its values for the next events."""
        count = len(next(iter(rows.values())))
        for place, values in rows.items():
            dataset = self._file[place]
            dataset.resize(self.n_events + count, axis=0)
            dataset[self.n_events :] = values
        self.n_events += count

    def _create(self) -> None:
        for item in self.event.inputs:
            axes: tuple[int, ...] = () if item.kind == "global" else (self.slots[item.name],)
            pairs = self.pair_features.get(item.name, ())
            self._dataset(f"INPUTS/{item.name}/{MASK}", bool, axes)
            for feature in item.feature_names:
                self._dataset(f"INPUTS/{item.name}/{feature}", np.float32, axes * (2 if feature in pairs else 1))
        if not self.labels:
            return
        for particle in self.event.particles:
            for daughter in particle.daughters:
                self._dataset(f"TARGETS/{particle.name}/{daughter.name}", np.int64)
            self._dataset(f"TARGETS/{particle.name}/{MASK}", bool)
        for path in self.event.regressions:
            self._dataset(f"REGRESSIONS/{path}", np.float32)
        for path in self.event.classifications:
            self._dataset(f"CLASSIFICATIONS/{path}", np.int64)

    def _dataset(self, place: str, dtype: Any, axes: tuple[int, ...] = (), fill: float | None = None) -> None:
        row = int(np.prod(axes, dtype=np.int64)) * np.dtype(dtype).itemsize
        self._file.create_dataset(
            place,
            (0, *axes),
            dtype,
            maxshape=(None, *axes),
            chunks=(max(1, _CHUNK_BYTES // row), *axes),
            compression="gzip",
            compression_opts=1,
            shuffle=True,
            fillvalue=fill,
        )

    def _rows(self, events: AssignmentEvents) -> Iterator[tuple[str, Array]]:
        for item in self.event.inputs:
            group = f"INPUTS/{item.name}"
            mask = np.asarray(events.masks[item.name], bool)
            whole = item.kind == "global"
            yield f"{group}/{MASK}", mask[:, 0] if whole else mask
            pairs = self.pair_features.get(item.name, ())
            both = mask[:, :, None] & mask[:, None, :]
            single = [name for name in item.feature_names if name not in pairs]
            for number, feature in enumerate(single):
                values = np.where(mask, events.values[item.name][..., number], np.float32(0))
                yield f"{group}/{feature}", values[:, 0] if whole else values
            for number, feature in enumerate(pairs):
                yield f"{group}/{feature}", np.where(both, events.pair_values[item.name][..., number], np.float32(0))
        if not events.targets:
            return
        offsets = offsets_of(self.event, self.slots)
        for particle in self.event.particles:
            group = f"TARGETS/{particle.name}"
            for number, daughter in enumerate(particle.daughters):
                target = np.asarray(events.targets[particle.name], np.int64)[:, number]
                shift = offsets[daughter.source] if daughter.source else 0
                yield f"{group}/{daughter.name}", np.where(target >= 0, target - shift, -1)
            yield f"{group}/{MASK}", np.asarray(events.target_masks[particle.name], bool)
            weights = np.asarray(events.weights[particle.name], np.float32)
            if f"{group}/{WEIGHT}" not in self._file and (weights != 1).any():
                self._dataset(f"{group}/{WEIGHT}", np.float32, fill=1)
            if f"{group}/{WEIGHT}" in self._file:
                yield f"{group}/{WEIGHT}", weights
        if EVENT_WEIGHTS not in self._file and events.event_weights:
            self._dataset(EVENT_WEIGHTS, np.float32, fill=1)
        if EVENT_WEIGHTS in self._file:
            ones = np.ones(events.n_events, np.float32)
            yield EVENT_WEIGHTS, np.asarray(events.event_weights.get("EVENT", ones), np.float32)
        for path, values in events.regressions.items():
            yield f"REGRESSIONS/{path}", np.asarray(values, np.float32)
        for path, values in events.classifications.items():
            yield f"CLASSIFICATIONS/{path}", np.asarray(values, np.int64)


guard(globals())
