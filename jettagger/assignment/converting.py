"""Files of datasets made of files: several one after the other, and the layout that SPANet had before 2022."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.assignment.blocks import AssignmentEvents
from jettagger.assignment.datasets import EVENT_WEIGHTS, DatasetWriter, described
from jettagger.display import Brief
from jettagger.errors import ConfigError, InputFileError, MismatchError, MissingColumns, hint
from jettagger.files import refuse_inputs, refuse_repeats
from jettagger.files.hdf5 import hdf5_note, intact, new_hdf5, open_hdf5, read_rows
from jettagger.provenance import Provenance, parsed
from jettagger.topology.eventfile import EventDescription, EventInput
from jettagger.types import Array

__all__ = ["Concatenated", "concatenate_datasets", "convert_dataset"]

#: groups with one row per event
GROUPS = ("INPUTS", "TARGETS", "REGRESSIONS", "CLASSIFICATIONS")

#: events that are copied at a time
_ROWS = 20_000


@dataclass(frozen=True)
class Concatenated(Brief):
    """What was copied.

    Parameters
    ----------
    events : tuple of int
        Events of each file.
    left_out : tuple of str
        Datasets outside of the layout, which no reader takes and which do not have one row per event in each file.
    """

    events: tuple[int, ...]
    left_out: tuple[str, ...]


def concatenate_datasets(
    paths: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Concatenated:
    """Write the events of several datasets into one, in the order of the files; complete or not at all.

    Parameters
    ----------
    paths : sequence of path
        HDF5 files with the same datasets and numbers of slots; weights that only some of them have are 1 in the others.
        Datasets beside the layout are copied, too, if they have
        one row for each event in every file.
    output : path
    force : bool
        Whether an existing output may be replaced; never one of the inputs.
    progress : callable, optional
        Called with the number of events done since its last call.

    Returns
    -------
    Concatenated

    Raises
    ------
    ConfigError
        Without files.
    InputFileError
        If a file is missing or damaged, or is none in this layout.
    MismatchError
        If a file is given twice, datasets are missing in some files, or shapes or kinds of dtypes differ.
    OutputError
        If the output is an input, exists already, or cannot be written.
    """
    if not paths:
        raise ConfigError("concatenate_datasets(): no files, expected at least one")
    names = [os.fspath(path) for path in paths]
    refuse_inputs(output, names)
    refuse_repeats(names)
    layouts = [_layout(name) for name in names]
    columns, left_out = _common(names, layouts)
    provenance = Provenance("concatenate", files=tuple(names), configuration=_histories(names))
    with new_hdf5(output, provenance.text, force=force) as target:
        made = {
            place: target.create_dataset(
                place,
                (0, *shape),
                dtype,
                maxshape=(None, *shape),
                chunks=(max(1, 2**18 // max(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize, 1)), *shape),
                compression="gzip",
                compression_opts=1,
                shuffle=True,
                fillvalue=1 if _is_one(place, shape) else None,
            )
            for place, (shape, dtype) in columns.items()
        }
        first = 0
        for name, layout in zip(names, layouts, strict=True):
            with open_hdf5(name) as file:
                for start in range(0, layout.events, _ROWS):
                    stop = min(start + _ROWS, layout.events)
                    for place, dataset in made.items():
                        dataset.resize(first + stop, axis=0)
                        if place in layout.datasets:
                            dataset[first + start :] = read_rows(file[place], start, stop)
                    if progress is not None:
                        progress(stop - start)
            first += layout.events
    return Concatenated(tuple(layout.events for layout in layouts), left_out)


@dataclass(frozen=True)
class _FileLayout:
    events: int
    datasets: Mapping[str, tuple[tuple[int, ...], Any]]


def _layout(path: str) -> _FileLayout:
    datasets: dict[str, tuple[tuple[int, ...], Any]] = {}

    def visit(name: str, node: Any) -> None:
        if getattr(node, "shape", None) is not None:
            datasets[name] = (node.shape, node.dtype)

    with open_hdf5(path) as file, intact(path):
        file.visititems(visit)
    masks = [place for place in datasets if place.startswith("INPUTS/") and place.endswith("/MASK")]
    if not masks:
        old = " (a file of the layout before 2022: 'jettagger assignment convert')" if "source/mask" in datasets else ""
        raise InputFileError(f"{path} has no dataset INPUTS/<input>/MASK, so it is no dataset of whole events{old}")
    events = datasets[masks[0]][0][0] if datasets[masks[0]][0] else -1
    for place, (shape, _) in datasets.items():
        if _inside(place) and (not shape or shape[0] != events):
            length = shape[0] if shape else "none"
            raise MismatchError(f"{path}: datasets of unequal length: {events} in {masks[0]}, {length} in {place}")
    return _FileLayout(events, datasets)


def _common(
    names: Sequence[str], layouts: Sequence[_FileLayout]
) -> tuple[dict[str, tuple[tuple[int, ...], Any]], tuple[str, ...]]:
    """The datasets of the output with the shape of a row and the dtype, and what is left out."""
    columns, left_out = {}, []
    for place in dict.fromkeys(chain.from_iterable(layout.datasets for layout in layouts)):
        inside = _inside(place)
        without = [name for name, layout in zip(names, layouts, strict=True) if place not in layout.datasets]
        having = next(layout for layout in layouts if place in layout.datasets)
        if without and _is_one(place, having.datasets[place][0][1:]):
            columns[place] = having.datasets[place][0][1:], having.datasets[place][1]
            continue
        if without:
            if inside:
                other_name = next(name for name in names if name not in without)
                raise MismatchError(
                    f"{place} is in {other_name}, but not in {', '.join(without)}: expected the same datasets in all "
                    "files"
                )
            left_out.append(place)
            continue
        shapes = [layout.datasets[place][0][1:] for layout in layouts]
        dtypes = [layout.datasets[place][1] for layout in layouts]
        rows = all(layout.datasets[place][0][:1] == (layout.events,) for layout in layouts)
        other = next((number for number, shape in enumerate(shapes) if shape != shapes[0]), None)
        kind = next((number for number, dtype in enumerate(dtypes) if dtype.kind != dtypes[0].kind), None)
        if not inside and (not rows or other is not None or kind is not None or dtypes[0].kind not in "biuf"):
            left_out.append(place)
            continue
        if other is not None:
            raise MismatchError(
                f"{place} has rows of shape {shapes[0]} in {names[0]} and {shapes[other]} in {names[other]}: expected "
                "the same number of slots in all files"
            )
        if kind is not None:
            raise MismatchError(f"{place} has the dtype {dtypes[0]} in {names[0]} and {dtypes[kind]} in {names[kind]}")
        columns[place] = shapes[0], np.result_type(*dtypes)
    return columns, tuple(left_out)


def _inside(place: str) -> bool:
    """Whether a dataset is part of the layout."""
    return place.split("/")[0] in GROUPS or place == EVENT_WEIGHTS


def _is_one(place: str, shape: tuple[int, ...]) -> bool:
    """Whether a dataset stands for ones where it is absent: weights, masks of global inputs."""
    if place == EVENT_WEIGHTS:
        return not shape
    parts = place.split("/")
    return not shape and (parts[0], parts[-1]) in (("TARGETS", "WEIGHT"), ("INPUTS", "MASK"))


def _histories(names: Sequence[str]) -> dict[str, Any]:
    """The records of the files that have one."""
    records = {name: parsed(hdf5_note(name)) for name in names}
    return {"records": {name: record for name, record in records.items() if record}} if any(records.values()) else {}


def convert_dataset(
    old: str | os.PathLike[str],
    event: EventDescription | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write a dataset of the layout that SPANet had before 2022 in the present one; complete or not at all.

    The old layout has ``source/<feature>`` and ``source/mask``, or a group for each input, and for each particle
    ``<particle>/<daughter>`` and ``<particle>/mask``.

    Parameters
    ----------
    old : path
    event : EventDescription or path
        The description of the event, or its file, also an old ``.ini``. The only input with slots is the group
        ``source``, whatever its name; several inputs have groups of their names.
    output : path
    force : bool
        Whether an existing output may be replaced; never the input.
    progress : callable, optional
        Called with the number of events done since its last call.

    Returns
    -------
    int
        Number of events.

    Raises
    ------
    InputFileError
        If the file is missing, damaged, or in the present layout already; or a dataset has another shape.
    MissingColumns
        If groups or datasets are missing: all of them, with the nearest names.
    InvalidValues
        If targets cannot be used, as for `AssignmentDataset.blocks`.
    OutputError
        If the output is the input, exists already, or cannot be written.

    Notes
    -----
    Before April 2022 the option ``log`` was ln(max(x, 1e-6)); since then it is ln(x + 1). Datasets hold the features
    without it, so that this changes nothing here, but networks from before cannot be used with the present formula.
    """
    described_event = described(event)
    inputs = [os.fspath(old), *([os.fspath(event)] if not isinstance(event, EventDescription) else [])]
    refuse_inputs(output, inputs)
    provenance = Provenance("convert", files=(inputs[0],), configuration={"layout": "source and mask"})
    with open_hdf5(old) as file:
        with intact(inputs[0]):
            reader = _OldFile(file, inputs[0], described_event)
        with DatasetWriter(output, described_event, reader.slots, provenance=provenance, force=force) as writer:
            for events in reader.blocks():
                writer.append(events)
                if progress is not None:
                    progress(events.n_events)
    return reader.events


class _OldFile:
    """A file of the old layout."""

    def __init__(self, file: Any, path: str, event: EventDescription) -> None:
        self.file, self.path, self.event = file, path, event
        if "INPUTS" in file:
            raise InputFileError(f"{path} has a group INPUTS, so it is in the present layout already")
        missing: list[str] = []
        self.groups = {item.name: self.group(item, missing) for item in event.inputs}
        self.places: dict[str, str] = {}
        wanted = []
        for item in event.inputs:
            group = self.groups[item.name]
            if group is not None and item.kind != "global":
                wanted.append((f"{group}/mask", f"{group}/mask", 2))
            if group is not None:
                axes = 1 if item.kind == "global" else 2
                wanted += [(f"{item.name}/{name}", f"{group}/{name}", axes) for name in item.feature_names]
        for particle in event.particles:
            wanted += [
                (f"TARGETS/{particle.name}/{name}", f"{particle.name}/{name}", 1) for name in particle.daughter_names
            ]
            if f"{particle.name}/mask" in file:
                wanted.append((f"TARGETS/{particle.name}/MASK", f"{particle.name}/mask", 1))
        wanted += [(f"REGRESSIONS/{target}", f"REGRESSIONS/{target}", 1) for target in event.regressions]
        wanted += [(f"CLASSIFICATIONS/{target}", f"CLASSIFICATIONS/{target}", 1) for target in event.classifications]
        lengths = {}
        for key, place, axes in wanted:
            if place not in file or not hasattr(file[place], "shape"):
                missing.append(self.absent(place))
                continue
            kinds, kind = ("iu", "whole numbers") if key.startswith(("TARGETS", "CLASS")) else ("biuf", "numbers")
            if key.endswith(("/mask", "/MASK")):
                kinds, kind = "biu", "booleans"
            if file[place].dtype.kind not in kinds:
                raise InputFileError(f"{path}: {place} has the dtype {file[place].dtype}, expected {kind}")
            if len(file[place].shape) != axes:
                expected = "(events)" if axes == 1 else "(events, slots)"
                raise InputFileError(f"{path}: {place} has the shape {file[place].shape}, expected {expected}")
            lengths[place] = file[place].shape[0]
            self.places[key] = place
        if missing:
            raise MissingColumns(f"{path} lacks datasets of the old layout: {'; '.join(missing)}")
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{length} in {place}" for place, length in lengths.items())
            raise MismatchError(f"{path}: datasets of unequal length: {listed}")
        self.events = next(iter(lengths.values()))
        self.slots = {
            item.name: file[f"{self.groups[item.name]}/mask"].shape[1] for item in event.inputs if item.kind != "global"
        }

    def group(self, item: EventInput, missing: list[str]) -> str | None:
        known = [name for name in self.file if hasattr(self.file[name], "keys")]
        names = [item.name, item.name.lower(), *(["source"] if len(self.event.sequential) == 1 else [])]
        if item.kind == "global":
            names = names[:2]
        for name in names:
            if name in known:
                return name
        missing.append(f"group {names[-1]!r} of input {item.name!r}{hint(item.name, known)}")
        return None

    def absent(self, place: str) -> str:
        *groups, last = place.split("/")
        group = "/".join(groups)
        if group not in self.file:
            return f"{place}{hint(groups[0], list(self.file))}"
        return f"{place}{hint(last, list(self.file[group]))}"

    def rows(self, key: str, start: int, stop: int) -> Array:
        rows: Array = read_rows(self.file[self.places[key]], start, stop)
        return rows

    def blocks(self) -> Iterator[AssignmentEvents]:
        offsets, first = {}, 0
        for item in self.event.sequential:
            offsets[item.name] = first
            first += self.slots[item.name]
        for start in range(0, self.events, _ROWS):
            stop = min(start + _ROWS, self.events)
            values, masks, targets, target_masks = {}, {}, {}, {}
            for item in self.event.inputs:
                if item.kind == "global":
                    mask = np.ones((stop - start, 1), bool)
                else:
                    mask = self.rows(f"{self.groups[item.name]}/mask", start, stop).astype(bool)
                features = [self.rows(f"{item.name}/{name}", start, stop) for name in item.feature_names]
                stacked = np.stack([np.asarray(rows, np.float32).reshape(mask.shape) for rows in features], axis=-1)
                values[item.name] = np.where(mask[..., None], stacked, np.float32(0))
                masks[item.name] = mask
            for particle in self.event.particles:
                columns = []
                for daughter in particle.daughters:
                    indices = self.rows(f"TARGETS/{particle.name}/{daughter.name}", start, stop).astype(np.int64)
                    columns.append(np.where(indices >= 0, indices + offsets.get(daughter.source or "", 0), indices))
                targets[particle.name] = np.stack(columns, axis=1)
                if f"TARGETS/{particle.name}/MASK" in self.places:
                    present = self.rows(f"TARGETS/{particle.name}/MASK", start, stop).astype(bool)
                    target_masks[particle.name] = present
            regressions = {
                path: np.asarray(self.rows(f"REGRESSIONS/{path}", start, stop), np.float32)
                for path in self.event.regressions
            }
            classes = {path: self.rows(f"CLASSIFICATIONS/{path}", start, stop) for path in self.event.classifications}
            yield AssignmentEvents(
                values, masks, targets, target_masks, regressions=regressions, classifications=classes, start=start
            )


guard(globals())
