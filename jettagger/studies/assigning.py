"""Assignment of objects to particles in files: events to tables or predictions, data sets to predictions."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

from jettagger._version import __version__
from jettagger.arguments import guard, in_range
from jettagger.assignment.assigner import Assigner, load_assigner
from jettagger.assignment.counting import AssignmentReport
from jettagger.assignment.datasets import AssignmentDataset, AssignmentEvents
from jettagger.assignment.making import unlabelled
from jettagger.assignment.predictions import PredictionWriter
from jettagger.assignment.whole_events import check_prefix
from jettagger.display import Brief
from jettagger.errors import ConfigError, InputFileError, MismatchError, OutputError, output_exists
from jettagger.files import refuse_inputs, refuse_repeats
from jettagger.files.generated import sources_of_root
from jettagger.files.root import EventFile
from jettagger.provenance import Origin, Provenance
from jettagger.runtime.codedigest import code_digest
from jettagger.sessions.providers import Provider
from jettagger.sessions.threads import default_threads
from jettagger.skims.columns import EVENT_COLUMNS
from jettagger.skims.jobs import Chunk
from jettagger.skims.resume import Finished, kept_inputs, resumed
from jettagger.skims.writers import check_target, write_skim

__all__ = ["PredictionPlan", "flat_assignments", "plan_predictions", "predict_events"]

_HDF5 = (".h5", ".hdf5")

#: events read at a time
EVENTS = 4096


@dataclass(frozen=True)
class PredictionPlan(Brief):
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
    pair_features : dict of str to tuple of str
        Relative input -> its features of pairs.
    """

    assigner: Assigner
    files: tuple[tuple[str, int], ...]
    output: Path
    columns: tuple[str, ...]
    slots: dict[str, int]
    pair_features: dict[str, tuple[str, ...]]

    @property
    def n_events(self) -> int:
        """Number of events."""
        return sum(count for _, count in self.files)

    def chunks(self, size: int) -> tuple[Chunk, ...]:
        """The events that are in memory at a time, file after file; an empty file is one empty chunk.

        Parameters
        ----------
        size : int
            Maximum number of events.

        Returns
        -------
        tuple of Chunk
        """
        return tuple(
            Chunk(path, start, min(start + size, count))
            for path, count in self.files
            for start in range(0, max(count, 1), size)
        )

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
            raise output_exists(target)
        if not target.parent.is_dir():
            raise OutputError(f"cannot write {target}: the folder {target.parent} does not exist")
    elif datasets[0]:
        raise ConfigError(f"output {target}: predictions for data sets are written as .h5")
    else:
        check_target(target, force=force, inputs=[*paths, *made.sources])
    found: list[tuple[str, int]] = []
    columns: tuple[str, ...] = ()
    slots: dict[str, int] = {}
    pair_features: dict[str, tuple[str, ...]] = {}
    for path in paths:
        if datasets[0]:
            dataset = AssignmentDataset(path, made.event, labels=False)
            own = {item.name: dataset.slots[item.name] for item in made.event.sequential}
            if slots and own != slots:
                raise MismatchError(f"{path} has the slots {own}, the files before have {slots}")
            if slots and dataset.pair_features != pair_features:
                raise MismatchError(
                    f"{path} has the features of pairs {dataset.pair_features}, the files before have {pair_features}"
                )
            slots, pair_features = own, dataset.pair_features
            found.append((path, dataset.n_events))
        else:
            with EventFile(path) as file:
                columns = made.source.check(file, path)
                found.append((path, file.n_events))
            slots = {item.name: made.mapping.inputs[item.name].max_objects or 1 for item in made.event.sequential}
            pair_features = {name: tuple(keys.pairs) for name, keys in made.mapping.inputs.items() if keys.pairs}
    return PredictionPlan(made, tuple(found), target, columns, slots, pair_features)


def predict_events(
    plan: PredictionPlan,
    *,
    prefix: str = "assigned",
    embeddings: bool = False,
    size: int = EVENTS,
    force: bool = False,
    resume: bool = False,
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
    resume : bool
        Store what was found for each finished input in a folder ``OUTPUT.resume`` until the output is complete, and use
        what an interrupted run left there, as `jettagger.tag_files` does: the output is the same, bit for bit. Nothing
        is stored for jobs with one input, nor with an own assignment function, whose content is not known.
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
    MismatchError
        If the prefix is no name.
    OutputError
        If the output cannot be written completely; nothing is left then. With ``resume``, also if another run is
        currently writing the same output.
    """
    in_range(size, "size", 1)
    check_prefix(prefix)
    if embeddings and not plan.to_hdf5:
        raise ConfigError("embeddings are written to .h5 alone")
    assigner = plan.assigner
    total = AssignmentReport()
    record = Provenance(
        "assign",
        Origin(assigner.model.name, assigner.model.digest),
        files=tuple(path for path, _ in plan.files),
        configuration=assigner.state,
    )
    chunks = plan.chunks(size)
    resume = resume and not callable(assigner.options.method)

    def made(
        kept: Finished | None, make: Callable[[Any], tuple[dict[str, Any], AssignmentReport]]
    ) -> Generator[dict[str, Any], None, None]:
        nonlocal total
        stream = resumed(chunks, kept, lambda todo: _made(plan, todo, make))
        with closing(stream):
            for _, columns, report in stream:
                yield columns
                total += report
                if progress is not None:
                    progress(report.events)

    with ExitStack() as stack:
        key = _key(assigner, prefix, embeddings, plan.output.suffix)
        kept = stack.enter_context(kept_inputs(plan.output, chunks, key, AssignmentReport, resume=resume))
        if not plan.to_hdf5:
            record = replace(record, generated=_generated(plan))
            with closing(made(kept, lambda events: _table(assigner, events, prefix))) as tables:
                write_skim(plan.output, tables, record.text, force=force, inputs=record.files)
            return total
        writer = PredictionWriter(
            plan.output,
            assigner,
            plan.slots,
            embeddings=embeddings,
            pair_features=plan.pair_features,
            provenance=record,
            force=force,
        )
        with writer, closing(made(kept, lambda events: _rows(writer, events, embeddings))) as blocks:
            for rows in blocks:
                writer.append_rows(rows)
    return total


def _key(assigner: Assigner, prefix: str, embeddings: bool, suffix: str) -> str:
    """Digest of what the output depends on, to the last bit, apart from the input files."""
    options = assigner.options
    made_by = [__version__, code_digest(), version("onnxruntime"), version("awkward")]
    threads = [default_threads(), options.threads, options.batch_size, str(Provider.of(options.provider))]
    return json.dumps([made_by, threads, assigner.state, prefix, embeddings, suffix], sort_keys=True)


def _generated(plan: PredictionPlan) -> tuple[Any, ...]:
    """The generated events of all files; nothing if one of them does not record them."""
    found = []
    for path, _ in plan.files:
        with EventFile(path) as file:
            found.append(sources_of_root(file))
    return tuple(source for sources in found for source in sources) if all(found) else ()


def _made(
    plan: PredictionPlan,
    chunks: Sequence[Chunk],
    make: Callable[[Any], tuple[dict[str, Any], AssignmentReport]],
) -> Generator[tuple[dict[str, Any], AssignmentReport], None, None]:
    """What is made of the events, or blocks of data sets, of some chunks; each file is opened once."""
    for path, group in groupby(chunks, key=lambda chunk: chunk.path):
        count = dict(plan.files)[path]
        with ExitStack() as stack:
            read: Callable[[int, int], Any]
            if plan.columns:
                file = stack.enter_context(EventFile(path))
                found = file.n_events
                kept = [name for name in EVENT_COLUMNS if name in file.names]
                columns = tuple(dict.fromkeys([*plan.assigner.source.check(file, path), *kept]))
                read = partial(file.read, columns)
            else:
                dataset = AssignmentDataset(path, plan.assigner.event, labels=False)
                found, read = dataset.n_events, dataset.read
            if found != count:
                raise InputFileError(f"{path} has {found} events, it had {count} when it was opened first")
            for chunk in group:
                yield make(read(chunk.start, chunk.stop))


def _table(assigner: Assigner, events: Any, prefix: str) -> tuple[dict[str, Any], AssignmentReport]:
    """Columns of a table for events."""
    request = assigner.source.request(events)
    found = assigner.answer(request)
    made = request.put_back(events, found, prefix, assigner.columns())
    return flat_assignments(made, assigner, prefix), found.report


def _rows(writer: PredictionWriter, events: Any, embeddings: bool) -> tuple[dict[str, Any], AssignmentReport]:
    """Rows of a file of predictions for events, or for a block of a data set."""
    assigner = writer.assigner
    if isinstance(events, AssignmentEvents):
        found = assigner.run(events, embeddings=embeddings)
        return writer.rows(events, found), found.report
    request = assigner.source.request(events)
    found = assigner.answer(request, embeddings=embeddings)
    return writer.rows(unlabelled(request.tensors), found), found.report


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
