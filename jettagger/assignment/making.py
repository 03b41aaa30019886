"""Data sets from events: chunks become blocks of events with inputs and targets, blocks become one file.

Several data sets are mixed, so that a split into training and validation by position holds every class.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.arguments import guard, in_range
from jettagger.assignment.blocks import AssignmentEvents, offsets_of
from jettagger.assignment.datasets import DatasetWriter, described
from jettagger.assignment.mixing import mixed
from jettagger.errors import ConfigError, InputFileError, OutputError, hint, require
from jettagger.files import complete_or_absent, refuse_inputs, refuse_repeats
from jettagger.files.parquet import METADATA
from jettagger.files.root import EventFile
from jettagger.formats import EventColumns
from jettagger.formats.base import Offer
from jettagger.inputs.event_targets import MatchingTable, check_target_columns, event_targets
from jettagger.inputs.event_tensors import EventTensors, check_columns, event_tensors, event_values
from jettagger.provenance import Provenance
from jettagger.topology.eventfile import EventDescription
from jettagger.topology.mapping import EventMapping, read_mapping

__all__ = [
    "EVENTS_PER_BLOCK",
    "SUFFIXES",
    "InputCounts",
    "InputMaker",
    "MadeInputs",
    "check_output",
    "dataset_writer",
    "make_inputs",
    "mixed",
    "read_block",
    "write_block",
]

#: events that are read at a time
EVENTS_PER_BLOCK = 10_000

#: suffixes of outputs
SUFFIXES = (".h5", ".hdf5", ".parquet")

Progress = Callable[[int], None]


@dataclass(frozen=True)
class InputCounts:
    """Numbers of events of a data set; counts can be added.

    Parameters
    ----------
    events : int
        Number read.
    not_selected : int
        Events that do not pass the cut of the mapping.
    too_few : dict of str to int
        Input -> events left out because they have fewer objects than its minimum; an event counts for the first input.
    cut : dict of str to int
        Input -> written events that lose objects because they have more than slots.
    written : int
    matching : MatchingTable
        Of the written events.
    tags : dict of str to str
        ``INPUT.TAG`` -> column that was used, or efficiencies.

    Examples
    --------
    >>> (InputCounts(10, written=8, cut={"Jets": 1}) + InputCounts(5, written=5)).cut
    {'Jets': 1}
    """

    events: int = 0
    not_selected: int = 0
    too_few: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    written: int = 0
    matching: MatchingTable = field(default_factory=MatchingTable)
    tags: dict[str, str] = field(default_factory=dict)

    def __add__(self, other: InputCounts) -> InputCounts:
        def added(name: str) -> Any:
            one, two = getattr(self, name), getattr(other, name)
            if name == "tags":
                ways = {key: dict.fromkeys([*_split(one, key), *_split(two, key)]) for key in {**one, **two}}
                return {key: " or ".join(sorted(way)) for key, way in ways.items()}
            if isinstance(one, dict):
                return {key: one.get(key, 0) + two.get(key, 0) for key in {**one, **two}}
            return one + two

        return InputCounts(**{item.name: added(item.name) for item in fields(self)})

    def to_dict(self) -> dict[str, Any]:
        """Its content for JSON."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        return {**found, "matching": self.matching.to_dict()}


def _split(tags: Mapping[str, str], key: str) -> list[str]:
    return tags[key].split(" or ") if key in tags else []


@dataclass(frozen=True)
class MadeInputs:
    """What is made of a chunk of events.

    Parameters
    ----------
    events : AssignmentEvents
    counts : InputCounts
    """

    events: AssignmentEvents
    counts: InputCounts


@dataclass(frozen=True, init=False)
class InputMaker:
    """Makes inputs and targets from events.

    Parameters
    ----------
    event : EventDescription or path
        An event file.
    mapping : EventMapping or path
        Its mapping, see `jettagger.topology.mapping`; without ``targets`` the events have no labels.

    Raises
    ------
    ConfigError
        If one of the files is not valid.
    """

    event: EventDescription
    mapping: EventMapping

    def __init__(
        self, event: EventDescription | str | os.PathLike[str], mapping: EventMapping | str | os.PathLike[str]
    ) -> None:
        description = described(event)
        object.__setattr__(self, "event", description)
        made = mapping if isinstance(mapping, EventMapping) else read_mapping(mapping, description)
        object.__setattr__(self, "mapping", made)

    @property
    def labels(self) -> bool:
        """Whether events have targets."""
        return self.mapping.targets is not None

    @property
    def slots(self) -> dict[str, int]:
        """Input -> number of slots."""
        return {item.name: self.mapping.inputs[item.name].max_objects or 1 for item in self.event.inputs}

    def check(self, offer: Offer, dataset: str = "", source: str = "these events") -> tuple[str, ...]:
        """Compare the available columns with the required ones; nothing is read.

        Parameters
        ----------
        offer : Offer
            Events or an open file.
        dataset : str
        source : str
            Name of the input, for errors.

        Returns
        -------
        tuple of str
            The required columns.

        Raises
        ------
        MissingColumns
            Lists all missing columns, what needs them, and the nearest ones.
        ConfigError
            If the mapping has no class for the data set.
        """
        columns = check_columns(offer, self.mapping, self.event, source)
        if not self.labels:
            return columns
        return tuple(sorted({*columns, *check_target_columns(offer, self.mapping, self.event, dataset, source)}))

    def made(self, events: Any, dataset: str = "") -> MadeInputs:
        """Inputs and targets of a chunk of events.

        Parameters
        ----------
        events : awkward array or EventColumns
        dataset : str
            Name of the data set, for classes that depend on it.

        Returns
        -------
        MadeInputs

        Raises
        ------
        MissingColumns, InvalidValues, MismatchError, ConfigError
            As for `jettagger.inputs.event_tensors.event_tensors` and `jettagger.inputs.event_targets.event_targets`.
        """
        columns = events if isinstance(events, EventColumns) else EventColumns(events)
        self.check(columns, dataset)
        selected = columns.valid.copy()
        if self.mapping.select is not None:
            passes = event_values(columns, self.mapping.select)
            if passes.dtype != np.bool_:
                raise ConfigError(
                    f"select {self.mapping.select!r} is not a cut: it gives {passes.dtype}, expected true or false for "
                    "each event"
                )
            selected &= passes
        total, not_selected = len(columns), int(np.count_nonzero(~selected))
        if not selected.all():
            columns = columns.part(np.flatnonzero(selected))
        tensors = event_tensors(columns, self.mapping, self.event)
        keep = np.ones(len(columns), dtype=bool)
        too_few = {}
        for name, keys in self.mapping.inputs.items():
            if keys.min_objects:
                lacking = keep & (tensors.counts[name] < keys.min_objects)
                too_few[name] = int(np.count_nonzero(lacking))
                keep &= ~lacking
        if not keep.all():
            columns = columns.part(np.flatnonzero(keep))
            tensors = event_tensors(columns, self.mapping, self.event)
        counts = InputCounts(
            total, not_selected, too_few, tensors.cut, len(columns), MatchingTable(), dict(tensors.tags)
        )
        return self._labelled(columns, tensors, counts, dataset)

    def _labelled(self, columns: EventColumns, tensors: EventTensors, counts: InputCounts, dataset: str) -> MadeInputs:
        if not self.labels:
            return MadeInputs(AssignmentEvents(tensors.values, tensors.masks), counts)
        truth = event_targets(columns, tensors, self.mapping, self.event, dataset)
        events = AssignmentEvents(
            tensors.values,
            tensors.masks,
            targets=truth.targets,
            target_masks=truth.masks,
            weights=dict.fromkeys(truth.targets, truth.weights),
            regressions=truth.regressions,
            classifications=truth.classifications,
        )
        return MadeInputs(events, counts + InputCounts(matching=truth.table))

    def provenance(self, files: Iterable[str]) -> Provenance:
        """The record of a data set.

        Parameters
        ----------
        files : iterable of str
            Files that were read.

        Returns
        -------
        Provenance
        """
        settings = self.mapping.model_dump(mode="json", exclude_defaults=True)
        return Provenance(
            "assignment inputs", where=self.mapping.select, files=tuple(files), configuration={"mapping": settings}
        )


def check_output(
    path: str | os.PathLike[str], *, force: bool = False, inputs: Iterable[str | os.PathLike[str]] = ()
) -> Path:
    """Refuse an output that cannot be written, before anything is read.

    Parameters
    ----------
    path : path
    force : bool
        Whether an existing file may be replaced.
    inputs : iterable of path

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ConfigError
        If the suffix is not known.
    OutputError
        If the folder does not exist, or the file exists or is an input.
    MissingExtra
        If h5py, or pyarrow, is not installed.
    """
    refuse_inputs(path, inputs)
    target = Path(path)
    if target.suffix not in SUFFIXES:
        near = hint(target.suffix, SUFFIXES)
        raise ConfigError(f"output {target}: suffix {target.suffix!r}{near}, expected {', '.join(SUFFIXES)}")
    if target.suffix == ".parquet":
        require("pyarrow", "parquet", "writing parquet files")
    else:
        require("h5py", "train", "writing HDF5 files")
    if not target.parent.is_dir():
        raise OutputError(f"cannot write {target}: the folder {target.parent} does not exist")
    if target.exists() and not force:
        raise OutputError(f"{target} exists already; use --force (force=True) to replace it")
    return target


@contextmanager
def dataset_writer(
    path: str | os.PathLike[str], maker: InputMaker, files: Iterable[str], *, force: bool = False
) -> Iterator[Any]:
    """A writer of blocks of events; the file is complete or absent.

    Parameters
    ----------
    path : path
        ``.h5`` in the layout of SPANet, or ``.parquet`` with the same names as columns, in which inputs that are
        sequential have one list of real objects per event.
    maker : InputMaker
    files : iterable of str
        Files that were read, for the provenance.
    force : bool
        Whether an existing file may be replaced.

    Yields
    ------
    object
        With the method ``append(AssignmentEvents)``.
    """
    note = maker.provenance(files)
    if Path(path).suffix == ".parquet":
        with complete_or_absent(path, force=force) as part, _ParquetWriter(part, maker, note.text) as writer:
            yield writer
    else:
        with DatasetWriter(path, maker.event, maker.slots, labels=maker.labels, provenance=note, force=force) as hdf5:
            yield hdf5


class _ParquetWriter:
    """Writes blocks as row groups, with the paths of the HDF5 layout as names of columns."""

    def __init__(self, path: Path, maker: InputMaker, note: str) -> None:
        self.path, self.maker, self.note = path, maker, note
        self._writer: Any = None

    def __enter__(self) -> _ParquetWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._writer is None and error is None:
            self.append(_nothing(self.maker))
        if self._writer is not None:
            self._writer.close()

    def append(self, events: AssignmentEvents) -> None:
        """Write a block of events."""
        pyarrow = require("pyarrow", "parquet", "writing parquet files")
        parquet = require("pyarrow.parquet", "parquet", "writing parquet files")
        table = pyarrow.table(dict(self._columns(events, pyarrow)))
        if self._writer is None:
            schema = table.schema.with_metadata({METADATA: self.note})
            self._writer = parquet.ParquetWriter(self.path, schema, write_page_checksum=True)
        self._writer.write_table(table.cast(self._writer.schema))

    def _columns(self, events: AssignmentEvents, pyarrow: Any) -> Iterator[tuple[str, Any]]:
        for item in self.maker.event.inputs:
            values, mask = events.values[item.name], events.masks[item.name]
            names = [feature.name for feature in item.features]
            if item.kind == "global":
                yield f"INPUTS/{item.name}/MASK", pyarrow.array(mask[:, 0])
                for place, name in enumerate(names):
                    yield f"INPUTS/{item.name}/{name}", pyarrow.array(values[:, 0, place])
                continue
            offsets = pyarrow.array(np.concatenate([[0], np.cumsum(mask.sum(axis=1))]).astype(np.int32))
            for place, name in enumerate(names):
                content = pyarrow.array(values[..., place][mask])
                yield f"INPUTS/{item.name}/{name}", pyarrow.ListArray.from_arrays(offsets, content)
        if not self.maker.labels:
            return
        offsets_in_file = offsets_of(self.maker.event, self.maker.slots)
        for particle in self.maker.event.particles:
            name = particle.name
            for place, daughter in enumerate(particle.daughters):
                index = events.targets[name][:, place]
                shift = offsets_in_file[daughter.source] if daughter.source else 0
                yield f"TARGETS/{name}/{daughter.name}", pyarrow.array(np.where(index >= 0, index - shift, -1))
            yield f"TARGETS/{name}/MASK", pyarrow.array(events.target_masks[name])
            yield f"TARGETS/{name}/WEIGHT", pyarrow.array(events.weights[name])
        for path, numbers in events.regressions.items():
            yield f"REGRESSIONS/{path}", pyarrow.array(numbers)
        for path, numbers in events.classifications.items():
            yield f"CLASSIFICATIONS/{path}", pyarrow.array(numbers)


def _nothing(maker: InputMaker) -> AssignmentEvents:
    """No events, with all names."""
    slots, event = maker.slots, maker.event
    values = {item.name: np.zeros((0, slots[item.name], len(item.features)), np.float32) for item in event.inputs}
    masks = {item.name: np.zeros((0, slots[item.name]), bool) for item in event.inputs}
    if not maker.labels:
        return AssignmentEvents(values, masks)
    return AssignmentEvents(
        values,
        masks,
        targets={item.name: np.zeros((0, len(item.daughters)), np.int64) for item in event.particles},
        regressions={path: np.zeros(0, np.float32) for path in event.regressions},
        classifications={path: np.zeros(0, np.int64) for path in event.classifications},
    )


#: parts of a block that are stored
_PARTS = ("values", "masks", "targets", "target_masks", "weights", "regressions", "classifications")


def write_block(path: Path, events: AssignmentEvents) -> None:
    """Store a block of events until all are written as one file.

    Parameters
    ----------
    path : pathlib.Path
        ``.npz``
    events : AssignmentEvents
    """
    content = {f"{part}:{name}": array for part in _PARTS for name, array in getattr(events, part).items()}
    with complete_or_absent(path) as target, target.open("wb") as file:
        np.savez(file, **content)


def read_block(path: Path) -> AssignmentEvents:
    """A block of events that was stored.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    AssignmentEvents

    Raises
    ------
    InputFileError
        If it cannot be read.
    """
    content: dict[str, Any] = {part: {} for part in _PARTS}
    try:
        with np.load(path, allow_pickle=False) as file:
            for key in file.files:
                part, _, name = key.partition(":")
                content[part][name] = file[key]
    except (OSError, ValueError, KeyError) as error:
        raise InputFileError(f"{path}: the block of events cannot be read: {error}") from error
    return AssignmentEvents(**content)


def make_inputs(
    files: Mapping[str, Iterable[str | os.PathLike[str]]],
    output: str | os.PathLike[str],
    maker: InputMaker,
    *,
    events_per_block: int = EVENTS_PER_BLOCK,
    force: bool = False,
    progress: Progress | None = None,
) -> InputCounts:
    """Write the events of files as one data set.

    Parameters
    ----------
    files : mapping of str to iterable of path
        Data set -> its files.
    output : path
        ``.h5`` or ``.parquet``, see `dataset_writer`.
    maker : InputMaker
    events_per_block : int
        Events that are read at a time.
    force : bool
        Whether an existing file is replaced.
    progress : callable, optional
        Called with the number of events of each block.

    Returns
    -------
    InputCounts

    Raises
    ------
    MissingColumns
        Lists all missing columns, before anything is written.
    MismatchError
        If a file is given twice.
    OutputError
        If the file exists already, or cannot be written; nothing is left in this case.
    """
    in_range(events_per_block, "argument events_per_block", 1)
    datasets = {name: [os.fspath(path) for path in paths] for name, paths in files.items()}
    every = [path for paths in datasets.values() for path in paths]
    refuse_repeats(every)
    check_output(output, force=force, inputs=every)
    blocks: dict[str, list[tuple[str, int, int]]] = {}
    for name, paths in datasets.items():
        blocks[name] = []
        for path in paths:
            with EventFile(path) as file:
                maker.check(file, name, path)
                for start in range(0, file.n_events, events_per_block):
                    blocks[name].append((path, start, min(start + events_per_block, file.n_events)))
    counts = InputCounts()
    with dataset_writer(output, maker, every, force=force) as writer:

        def load(name: str, index: int) -> AssignmentEvents:
            nonlocal counts
            path, start, stop = blocks[name][index]
            with EventFile(path) as file:
                made = maker.made(file.read(maker.check(file, name, path), start, stop), name)
            counts += made.counts
            if progress is not None:
                progress(stop - start)
            return made.events

        for events in mixed({name: [stop - start for _, start, stop in parts] for name, parts in blocks.items()}, load):
            writer.append(events)
    return counts


guard(globals())
