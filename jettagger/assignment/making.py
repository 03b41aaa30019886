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
from jettagger.assignment.blocks import AssignmentEvents
from jettagger.assignment.datasets import DatasetWriter, described
from jettagger.assignment.mixing import mixed
from jettagger.assignment.parquet_blocks import ParquetWriter
from jettagger.display import Brief
from jettagger.errors import ConfigError, InputFileError, OutputError, hint, output_exists, require
from jettagger.files import complete_or_absent, refuse_inputs, refuse_repeats
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
    "unlabelled",
    "write_block",
]

#: events that are read at a time
EVENTS_PER_BLOCK = 10_000

#: suffixes of outputs
SUFFIXES = (".h5", ".hdf5", ".parquet")

Progress = Callable[[int], None]


@dataclass(frozen=True)
class InputCounts(Brief):
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


def unlabelled(tensors: EventTensors) -> AssignmentEvents:
    """Events without targets.

    Parameters
    ----------
    tensors : EventTensors

    Returns
    -------
    AssignmentEvents
    """
    return AssignmentEvents(
        tensors.values, tensors.masks, pair_values=tensors.pair_values, pair_features=tensors.pair_features
    )


@dataclass(frozen=True)
class MadeInputs(Brief):
    """What is made of a chunk of events.

    Parameters
    ----------
    events : AssignmentEvents
    counts : InputCounts
    """

    events: AssignmentEvents
    counts: InputCounts


@dataclass(frozen=True, init=False)
class InputMaker(Brief):
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

    @property
    def pair_features(self) -> dict[str, tuple[str, ...]]:
        """Relative input -> its features of pairs, in the order of the event file."""
        return {
            item.name: tuple(name for name in item.feature_names if name in self.mapping.inputs[item.name].pairs)
            for item in self.event.inputs
            if item.kind == "relative"
        }

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
            return MadeInputs(unlabelled(tensors), counts)
        truth = event_targets(columns, tensors, self.mapping, self.event, dataset)
        events = AssignmentEvents(
            tensors.values,
            tensors.masks,
            targets=truth.targets,
            target_masks=truth.masks,
            weights=dict.fromkeys(truth.targets, truth.weights),
            event_weights={} if truth.event_weights is None else {"EVENT": truth.event_weights},
            regressions=truth.regressions,
            classifications=truth.classifications,
            pair_values=tensors.pair_values,
            pair_features=tensors.pair_features,
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
        require("pyarrow", "", "writing parquet files")
    else:
        require("h5py", "hdf5", "writing HDF5 files")
    if not target.parent.is_dir():
        raise OutputError(f"cannot write {target}: the folder {target.parent} does not exist")
    if target.exists() and not force:
        raise output_exists(target)
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
        with complete_or_absent(path, force=force) as part, ParquetWriter(part, maker, note.text) as writer:
            yield writer
    else:
        with DatasetWriter(
            path,
            maker.event,
            maker.slots,
            labels=maker.labels,
            pair_features=maker.pair_features,
            provenance=note,
            force=force,
        ) as hdf5:
            yield hdf5


#: parts of a block that are stored
_PARTS = (
    "values",
    "masks",
    "targets",
    "target_masks",
    "weights",
    "event_weights",
    "regressions",
    "classifications",
    "pair_values",
)


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
