"""Assignment of objects to particles in files: events to tables or predictions, data sets to predictions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jettagger.arguments import guard, in_range
from jettagger.assignment.assigner import Assigner, load_assigner
from jettagger.assignment.counting import AssignmentReport
from jettagger.assignment.datasets import AssignmentDataset, AssignmentEvents
from jettagger.assignment.predictions import PredictionWriter
from jettagger.errors import ConfigError, InputFileError, MismatchError, OutputError
from jettagger.files import refuse_inputs, refuse_repeats
from jettagger.files.generated import sources_of_root
from jettagger.files.root import EventFile, iterate
from jettagger.provenance import Origin, Provenance
from jettagger.skims.columns import EVENT_COLUMNS
from jettagger.skims.writers import check_target, write_skim

__all__ = ["PredictionPlan", "flat_assignments", "plan_predictions", "predict_events"]

_HDF5 = (".h5", ".hdf5")

#: events read at a time
EVENTS = 4096


@dataclass(frozen=True)
class PredictionPlan:
    """What will be read and written; made by `plan_predictions`.

    Attributes
    ----------
    assigner : Assigner
    files : tuple of (str, int)
        Path and number of events.
    output : pathlib.Path
    columns : tuple of str
        Columns that are read; empty for data sets.
    slots : dict of str to int
        Sequential input -> slots of the events.
    """

    assigner: Assigner
    files: tuple[tuple[str, int], ...]
    output: Path
    columns: tuple[str, ...]
    slots: dict[str, int]

    @property
    def n_events(self) -> int:
        """Number of events."""
        return sum(count for _, count in self.files)

    @property
    def to_hdf5(self) -> bool:
        """Whether predictions are written in the original's layout."""
        return self.output.suffix in _HDF5


def plan_predictions(
    assigner: Assigner | str | os.PathLike[str],
    files: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    force: bool = False,
) -> PredictionPlan:
    """Compare files with what a network needs; no event is read.

    Parameters
    ----------
    assigner : Assigner or path
    files : sequence of path
        ROOT files with a tree ``Events``, or HDF5 data sets in the original's layout; targets are not needed.
    output : path
        ``.h5``: predictions in the original's layout; ``.parquet`` or ``.root``, for events alone: a table.
    force : bool
        Whether an existing output may be replaced.

    Returns
    -------
    PredictionPlan

    Raises
    ------
    InputFileError
        If a file cannot be read.
    MissingColumns
        If a file lacks columns or datasets: lists all of them.
    MismatchError
        If there is no file, one is given twice, kinds are mixed, or slots of data sets differ.
    OutputError, ConfigError
        If the output cannot be written, or has another suffix.
    """
    made = load_assigner(assigner)
    paths = [os.fspath(path) for path in files]
    if not paths:
        raise MismatchError("no files, expected at least one")
    refuse_repeats(paths)
    target = Path(output)
    datasets = [Path(path).suffix in _HDF5 for path in paths]
    if any(datasets) and not all(datasets):
        raise MismatchError("files are both data sets (HDF5) and events, expected one kind")
    if target.suffix in _HDF5:
        refuse_inputs(target, [*paths, *made.sources])
        if target.exists() and not force:
            raise OutputError(f"{target} exists already; use --force (force=True) to replace it")
        if not target.parent.is_dir():
            raise OutputError(f"cannot write {target}: the folder {target.parent} does not exist")
    elif datasets[0]:
        raise ConfigError(f"output {target}: predictions for data sets are written as .h5")
    else:
        check_target(target, force=force, inputs=[*paths, *made.sources])
    found: list[tuple[str, int]] = []
    columns: tuple[str, ...] = ()
    slots: dict[str, int] = {}
    for path in paths:
        if datasets[0]:
            dataset = AssignmentDataset(path, made.event, labels=False)
            own = {item.name: dataset.slots[item.name] for item in made.event.sequential}
            if slots and own != slots:
                raise MismatchError(f"{path} has the slots {own}, the files before have {slots}")
            slots = own
            found.append((path, dataset.n_events))
        else:
            with EventFile(path) as file:
                columns = made.source.check(file, path)
                found.append((path, file.n_events))
            slots = {item.name: made.mapping.inputs[item.name].max_objects or 1 for item in made.event.sequential}
    return PredictionPlan(made, tuple(found), target, columns, slots)


def predict_events(
    plan: PredictionPlan,
    *,
    prefix: str = "assigned",
    embeddings: bool = False,
    size: int = EVENTS,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> AssignmentReport:
    """Assign the objects of the events of files, at constant memory.

    Parameters
    ----------
    plan : PredictionPlan
    prefix : str
        Front of the columns of a table.
    embeddings : bool
        Whether to write the embeddings of the network, too; in HDF5 alone.
    size : int
        Maximum number of events in memory.
    force : bool
        Whether an existing output may be replaced.
    progress : callable, optional
        Called with the number of events of each block that is done.

    Returns
    -------
    AssignmentReport

    Raises
    ------
    InputFileError
        If a file is damaged.
    InvalidValues
        If features are not finite; gives the event.
    ConfigError
        If embeddings are asked for in a table.
    OutputError
        If the output cannot be written completely; nothing is left then.
    """
    in_range(size, "size", 1)
    if embeddings and not plan.to_hdf5:
        raise ConfigError("embeddings are written to .h5 alone")
    assigner = plan.assigner
    reports = [AssignmentReport()]
    files = [path for path, _ in plan.files]
    record = Provenance(
        "assign",
        Origin(assigner.model.name, assigner.model.digest),
        files=tuple(files),
        configuration=assigner.state,
    )

    def done(report: AssignmentReport) -> None:
        reports[0] += report
        if progress is not None:
            progress(report.events)

    if plan.to_hdf5:
        writer = PredictionWriter(
            plan.output, assigner, plan.slots, embeddings=embeddings, provenance=record, force=force
        )
        with writer:
            for events, lost in _blocks(plan, size):
                found = assigner.run(events, embeddings=embeddings)
                writer.append_found(events, found)
                done(found.report if lost is None else replace(found.report, cut=lost(found.slots)))
        return reports[0]

    generated = []
    for path in files:
        with EventFile(path) as file:
            generated.append(sources_of_root(file))
    if all(generated):
        record = replace(record, generated=tuple(source for sources in generated for source in sources))

    def chunks() -> Iterator[dict[str, Any]]:
        for _, events in _events(plan, size):
            request = assigner.source.request(events)
            found = assigner.answer(request)
            made = request.put_back(events, found, prefix, assigner.columns())
            yield flat_assignments(made, assigner, prefix)
            done(found.report)

    write_skim(plan.output, chunks(), record.text, force=force, inputs=files)
    return reports[0]


def _events(plan: PredictionPlan, size: int) -> Iterator[tuple[str, Any]]:
    """Events of the files in blocks; at least one block, which may be empty."""
    for path, count in plan.files:
        with EventFile(path) as file:
            if file.n_events != count:
                raise InputFileError(f"{path} has {file.n_events} events, it had {count} when it was opened first")
            kept = [name for name in EVENT_COLUMNS if name in file.names]
            columns = tuple(dict.fromkeys([*plan.assigner.source.check(file, path), *kept]))
            if not count:
                yield path, file.read(columns, 0, 0)
            for _, events in iterate(file, columns, size):
                yield path, events


def _blocks(plan: PredictionPlan, size: int) -> Iterator[tuple[AssignmentEvents, Any]]:
    """Inputs of data sets or of events, and what counts the objects that the mapping cuts."""
    if plan.columns:
        for _, events in _events(plan, size):
            request = plan.assigner.source.request(events)
            yield AssignmentEvents(request.tensors.values, request.tensors.masks), request.lost
        return
    for path, _ in plan.files:
        for block in AssignmentDataset(path, plan.assigner.event, labels=False).blocks(size):
            yield block, None


def flat_assignments(events: Any, assigner: Assigner, prefix: str = "assigned") -> dict[str, Any]:
    """What `jettagger.assignment.Assigner.attach` added to events, as columns of a table.

    Parameters
    ----------
    events : awkward array
    assigner : Assigner
    prefix : str
        As for ``attach``.

    Returns
    -------
    dict of str to awkward array
        Run, luminosity block and event number where there are any, then ``<prefix>_<particle>_<field>``,
        ``<prefix>_<regression>`` and ``<prefix>_<class>_<number>``.
    """
    import awkward as ak

    made: dict[str, Any] = {name: events[name] for name in EVENT_COLUMNS if name in events.fields}
    for particle in assigner.event.particles:
        record = events[f"{prefix}_{particle.name}"]
        made |= {f"{prefix}_{particle.name}_{field}": record[field] for field in record.fields}
    record = events[prefix]
    classes = {path.replace("/", "_"): path for path in assigner.event.classifications}
    for name in assigner.columns():
        if name not in classes:
            made[f"{prefix}_{name}"] = record[name]
            continue
        for number in range(assigner.widths[classes[name]]):
            # scores are lists, of the same length in all events that are scored
            made[f"{prefix}_{name}_{number}"] = ak.mask(record[name], record.scored)[:, number]
    return {name: ak.Array(ak.to_layout(ak.to_packed(ak.materialize(column)))) for name, column in made.items()}


guard(globals())
