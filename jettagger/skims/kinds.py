"""Kinds of input files of jobs (events, rows of jets, Delphes events): their content, chunks, and skims.

`kind_of` selects the kind that fits the files and the model. Jobs are the same for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, Protocol

from jettagger.display import Brief, briefly
from jettagger.errors import ConfigError, InputFileError, UnknownName
from jettagger.expressions import Expression, parse
from jettagger.files.delphes import DelphesFile, is_delphes_file
from jettagger.files.generated import sources_of_root
from jettagger.files.root import EventFile
from jettagger.files.tables import SEPARATOR, TARBALLS, FlatFile, members
from jettagger.files.verification import verify_events, verify_jets
from jettagger.formats.delphes import DelphesJets
from jettagger.inputs.pfnano_tables import is_event_file
from jettagger.report import Report
from jettagger.skims.columns import DELPHES_COLUMNS, ROW_COLUMNS, kept_columns
from jettagger.skims.jobs import Chunk, Content, Layout, chunk_rows
from jettagger.tagging.tagger import Tagger

__all__ = ["DelphesEvents", "Events", "FileKind", "JetTables", "Loaded", "ReadJob", "Wanted", "close_all", "kind_of"]


@briefly
class Wanted(NamedTuple):
    """What a job requests from each file.

    Parameters
    ----------
    tagger : Tagger
    names : mapping of str to str
        Output -> column.
    where : Expression or None
    keep : tuple of str
        Patterns of further columns to copy.
    budget : int
        Memory budget of a chunk in bytes.
    verify : bool
        Whether to verify the consistency of the columns.
    """

    tagger: Tagger
    names: Mapping[str, str]
    where: Expression | None
    keep: tuple[str, ...]
    budget: int
    verify: bool


class ReadJob(Protocol):
    """The part of a job that its kind of files needs; see `jettagger.skims.skim.Job`."""

    @property
    def tagger(self) -> Tagger:
        """The tagger."""

    @property
    def names(self) -> Mapping[str, str]:
        """Output -> column of the jets."""

    @property
    def collection(self) -> str:
        """The collection of jets."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns to read."""

    @property
    def needed(self) -> tuple[str, ...]:
        """Those of the model."""

    @property
    def keep(self) -> tuple[str, ...]:
        """Flat names of the columns to copy."""

    @property
    def where(self) -> str | None:
        """A cut in columns of the jets."""


class FileKind(Protocol):
    """How files of one kind are opened, divided and written."""

    @property
    def rows(self) -> str:
        """What a row of the skim stands for, in plural."""

    def expanded(self, files: Iterable[str], skipped: dict[str, str], *, skip_broken: bool) -> list[str]:
        """The files to read for given paths; skipped ones are added to ``skipped``."""

    def examine(self, path: str, wanted: Wanted) -> Content:
        """The content of a file, and its division into chunks."""

    def read(self, job: Any, chunk: Chunk) -> Any:
        """A chunk in memory."""

    def score(self, job: Any, loaded: Any) -> tuple[dict[str, Any], Report]:
        """The columns of the skim, one entry per row."""


@dataclass(frozen=True)
class Events(Brief):
    """ROOT files of events whose jets are linked to constituents: one row per event."""

    rows: str = "events"

    def expanded(self, files: Iterable[str], skipped: dict[str, str], *, skip_broken: bool) -> list[str]:
        """The files themselves."""
        return list(map(str, files))

    def examine(self, path: str, wanted: Wanted) -> Content:
        """See `FileKind`."""
        with EventFile(path) as file:
            layout = _event_layout(file, wanted)
            probe = min(file.n_events, 20)
            size = file.read(layout.inputs, 0, probe).nbytes / probe if probe else 0
            content = Content(
                layout,
                file.n_events,
                chunk_rows(size, wanted.budget),
                file.edges(layout.inputs),
                sources_of_root(file),
            )
            if wanted.verify:
                verify_events(file, wanted.tagger.check(file, path), content.ranges())
            return content

    def read(self, job: ReadJob, chunk: Chunk) -> Loaded:
        """Without a cut all columns at once; with a cut, columns of the model only for events with a jet to score."""
        file = _open(chunk.path)
        if job.where is None:
            events = file.read(job.inputs, chunk.start, chunk.stop)
            return Loaded(events, None, None, events)
        import awkward as ak
        import numpy as np

        expression = parse(job.where, where="--where")
        if job.tagger.source.flags:  # something is said of all jets, not only of those that are scored
            events = file.read(job.inputs, chunk.start, chunk.stop)
            return Loaded(events, _passing(expression, events[job.collection]), None, events)
        few = {f"{job.collection}.{name}" for name in expression.names} | {_dotted(name, file) for name in job.keep}
        few |= {column for column in job.inputs if column.startswith(f"{job.collection}.")}
        events = file.read(sorted(few), chunk.start, chunk.stop)
        jets = events[job.collection]
        where = _passing(expression, jets)
        wanted = np.flatnonzero(ak.to_numpy(ak.any(ak.fill_none(where, False, axis=1), axis=1)))
        if not len(wanted):
            return Loaded(events, where, wanted, None)
        columns = sorted(job.needed or job.inputs)
        # blocks of compressed data without an event to score are passed over, the others are decoded once
        block = np.searchsorted(file.edges(columns), chunk.start + wanted, side="right")
        breaks = np.flatnonzero(np.diff(block) > 1) + 1
        parts = []
        for span in np.split(wanted, breaks):
            first, last = int(span[0]), int(span[-1]) + 1
            parts.append(file.read(columns, chunk.start + first, chunk.start + last)[span - first])
        return Loaded(events, where, wanted, ak.concatenate(parts) if len(parts) > 1 else parts[0])

    def score(self, job: ReadJob, loaded: Loaded) -> tuple[dict[str, Any], Report]:
        """See `FileKind`."""
        events = loaded.events
        scores, report = _scores(job, loaded)
        columns: dict[str, Any] = {}
        for name in job.keep:
            collection, _, field_ = name.partition("_")
            columns[name] = events[name] if name in events.fields else events[collection, field_]
        for output, column in job.names.items():
            columns[f"{job.collection}_{column}"] = scores[output]
        return columns, report


def _event_layout(file: EventFile, wanted: Wanted) -> Layout:
    plan = wanted.tagger.check(file, file.path)
    collection = plan.collection
    taken = sorted(set(wanted.names.values()) & set(file.fields(collection)))
    if taken:
        raise ConfigError(f"{file.path} already has the columns {collection}_{taken[0]}, ...: give another --prefix")
    kept = list(kept_columns(file.names, collection))
    for pattern in wanted.keep:
        found = sorted(name for name in file.names if fnmatchcase(name, pattern) and not name.startswith("n"))
        if not found:
            raise UnknownName("column to keep", pattern, file.names, file.path)
        kept += found
    used: list[str] = []
    if wanted.where is not None:
        wanted.where.check(file.fields(collection), f"column of {collection}")
        used = [f"{collection}.{name}" for name in sorted(wanted.where.names)]
    keep = tuple(dict.fromkeys(kept))
    inputs = {*plan.columns, *used, *(_dotted(name, file) for name in keep)}
    return Layout(collection, tuple(sorted(inputs)), keep, plan.columns)


def _dotted(name: str, file: EventFile) -> str:
    collection, _, field_ = name.partition("_")
    return f"{collection}.{field_}" if field_ and f"n{collection}" in file.names else name


# one open file per process: chunks of a file come one after the other
_OPEN: dict[str, EventFile] = {}


def _open(path: str) -> EventFile:
    if path not in _OPEN:
        while _OPEN:
            _OPEN.popitem()[1].close()
        _OPEN[path] = EventFile(path)
    return _OPEN[path]


def _passing(expression: Expression, jets: Any) -> Any:
    """Which jets of each event pass a cut; one without columns holds for all of them."""
    import awkward as ak
    import numpy as np

    flags = expression.evaluate({name: jets[name] for name in jets.fields})
    if getattr(flags, "ndim", 0) > 0:
        return flags
    if not isinstance(flags, (bool, np.bool_)):
        got = f"it gives {flags!r}, expected true or false for each jet"
        raise ConfigError(f"--where: {expression.text!r} is not a cut: {got}")
    return ak.full_like(jets[jets.fields[0]], bool(flags), dtype=bool)


def close_all() -> None:
    """Close the event file of this process, if one is open."""
    while _OPEN:
        with suppress(OSError):
            _OPEN.popitem()[1].close()


@dataclass(frozen=True)
class Loaded(Brief):
    """A chunk in memory.

    Parameters
    ----------
    events : awkward array
        All events, with the columns to keep and those of ``where``.
    where : awkward array or None
        The mask of their jets.
    passing : int64[n] or None
        Events with a jet to score; None for all of them.
    inputs : awkward array or None
        The columns of the model for these events; None if there are none.
    """

    events: Any
    where: Any
    passing: Any
    inputs: Any


def _scores(job: ReadJob, loaded: Loaded) -> tuple[Any, Report]:
    if loaded.passing is None:
        return job.tagger.run(loaded.inputs, loaded.where, tuple(job.names))
    import awkward as ak
    import numpy as np

    counts = ak.to_numpy(ak.num(loaded.where, axis=1))
    jets = int(counts.sum())
    if loaded.inputs is None:
        float32 = ak.contents.NumpyArray(np.empty(0, dtype=np.float32))
        records = ak.contents.RecordArray([float32] * len(job.names), list(job.names), length=0)
        report = Report(events=len(counts), jets=jets, not_selected=jets)
        index = np.full(jets, -1, dtype=np.int64)
    else:
        few, report = job.tagger.run(loaded.inputs, loaded.where[loaded.passing], tuple(job.names))
        flat = ak.to_layout(ak.flatten(few, axis=1)).to_IndexedOptionArray64()
        taken = np.zeros(len(counts), dtype=bool)
        taken[loaded.passing] = True
        index = np.full(jets, -1, dtype=np.int64)
        index[np.repeat(taken, counts)] = np.asarray(flat.index)
        records = flat.content
        left = jets - report.jets
        report += Report(events=len(counts) - report.events, jets=left, not_selected=left)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    content = ak.contents.IndexedOptionArray(ak.index.Index64(index), records)
    return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(offsets), content)), report


@dataclass(frozen=True)
class JetTables(Brief):
    """Files with one row per jet, ROOT, parquet and tarballs of them: one row per jet.

    Parameters
    ----------
    tree : str or None
        The tree of ROOT files; None: the only one.
    """

    tree: str | None = None
    rows: str = "jets"

    def expanded(self, files: Iterable[str], skipped: dict[str, str], *, skip_broken: bool) -> list[str]:
        """The members of tarballs, and the other files."""
        return _expanded(files, skipped, skip_broken=skip_broken)

    def examine(self, path: str, wanted: Wanted) -> Content:
        """See `FileKind`."""
        with FlatFile(path, self.tree) as file:
            layout = _row_layout(file, wanted)
            probe = min(file.n_jets, 20)
            size = file.read(layout.inputs, 0, probe).nbytes / probe if probe else 0
            content = Content(layout, file.n_jets, chunk_rows(size, wanted.budget))
            if wanted.verify:
                for start, stop in content.ranges():
                    jets = file.read(layout.needed, start, stop)
                    verify_jets(path, {name: jets[name] for name in jets.fields}, start)
            return content

    def read(self, job: ReadJob, chunk: Chunk) -> Any:
        """The columns of a chunk."""
        with FlatFile(chunk.path, self.tree) as file:
            return file.read(job.inputs, chunk.start, chunk.stop)

    def score(self, job: ReadJob, loaded: Any) -> tuple[dict[str, Any], Report]:
        """See `FileKind`."""
        where = None
        if job.where is not None:
            where = parse(job.where, where="--where").evaluate({name: loaded[name] for name in loaded.fields})
        scores, report = job.tagger.run(loaded, where, tuple(job.names))
        columns = {name: loaded[name] for name in job.keep}
        columns |= {column: scores[output] for output, column in job.names.items()}
        return columns, report


def _expanded(files: Iterable[str], skipped: dict[str, str], *, skip_broken: bool) -> list[str]:
    """The members of tarballs, and the other files."""
    found: list[str] = []
    for path in map(str, files):
        if SEPARATOR in path or not path.endswith(TARBALLS):
            found.append(path)
            continue
        try:
            inside, reason = members(path)
        except InputFileError as error:
            inside, reason = [], str(error)
        if reason and not skip_broken:
            raise InputFileError(f"{reason}; --skip-broken reads the files before that")
        if reason:
            skipped[path] = reason
        elif not inside:
            raise InputFileError(f"{path} holds no ROOT or parquet file")
        found += inside
    return found


def _row_layout(file: FlatFile, wanted: Wanted) -> Layout:
    plan = wanted.tagger.check(file, file.path)
    taken = sorted(set(wanted.names.values()) & set(file.names))
    if taken:
        raise ConfigError(f"{file.path} already has the columns {taken[0]}, ...: give another --prefix")
    kept = [name for name in file.names if any(fnmatchcase(name, pattern) for pattern in ROW_COLUMNS)]
    for pattern in wanted.keep:
        found = [name for name in file.names if fnmatchcase(name, pattern)]
        if not found:
            raise UnknownName("column to keep", pattern, file.names, file.path)
        kept += found
    used: tuple[str, ...] = ()
    if wanted.where is not None:
        wanted.where.check(file.names, "column")
        used = wanted.where.names
    keep = tuple(dict.fromkeys(kept))
    inputs = {*plan.columns, *keep, *used}
    return Layout("", tuple(sorted(inputs)), keep, tuple(sorted(plan.columns)))


@dataclass(frozen=True)
class DelphesEvents(Brief):
    """Delphes files: one row per event with the jets of a collection."""

    rows: str = "events"

    def expanded(self, files: Iterable[str], skipped: dict[str, str], *, skip_broken: bool) -> list[str]:
        """The files themselves."""
        return list(map(str, files))

    def examine(self, path: str, wanted: Wanted) -> Content:
        """See `FileKind`.

        Raises
        ------
        ConfigError
            If columns of the file are to be copied.
        """
        if wanted.keep:
            raise ConfigError(
                "--keep is not for Delphes files: 'jettagger convert delphes' writes all columns of the jets"
            )
        tagger = wanted.tagger
        with DelphesFile(path) as file:
            probe = min(file.n_events, 5)
            events = file.read(tagger.options.jets, 0, probe)
            table = DelphesJets(events, tagger.options.jets)
            tagger.check(file, path)
            if wanted.where is not None:
                wanted.where.check(list(_kinematics(table)), f"column of {table.collection}")
            kept = (*(["event"] if "Number" in file.fields("Event") else []), *_kinematics(table))
            size = events.nbytes / probe if probe else 0
            layout = Layout(table.collection, tuple(events.fields), kept)
            content = Content(layout, file.n_events, chunk_rows(size, wanted.budget, _MOST_EVENTS))
            if wanted.verify:
                before = 0
                for start, stop in content.ranges():
                    table = DelphesJets(file.read(tagger.options.jets, start, stop), tagger.options.jets)
                    verify_jets(path, {name: table.column(name) for name in table.fields}, before)
                    before += len(table)
            return content

    def read(self, job: ReadJob, chunk: Chunk) -> Any:
        """The events of a chunk."""
        with DelphesFile(chunk.path) as file:
            return file.read(job.collection, chunk.start, chunk.stop)

    def score(self, job: ReadJob, loaded: Any) -> tuple[dict[str, Any], Report]:
        """See `FileKind`."""
        import awkward as ak

        table = DelphesJets(loaded, job.collection)
        jets = {name: ak.unflatten(table.column(column), table.counts) for name, column in _kinematics(table).items()}
        where = None if job.where is None else parse(job.where, where="--where").evaluate(jets)
        scores, report = job.tagger.run(loaded, where, tuple(job.names))
        columns: dict[str, Any] = {}
        if "event" in job.keep:
            columns["event"] = ak.to_numpy(ak.fill_none(ak.firsts(loaded.Event.Number), -1))
        columns |= {f"{job.collection}_{name}": values for name, values in jets.items()}
        columns |= {f"{job.collection}_{column}": scores[output] for output, column in job.names.items()}
        return columns, report


#: Delphes events are large, and most of the data is read only for the links
_MOST_EVENTS = 2_000


def _kinematics(table: DelphesJets) -> dict[str, str]:
    return {name: column for name, column in DELPHES_COLUMNS.items() if column in table.fields}


def kind_of(files: Sequence[str], tagger: Tagger, tree: str | None = None) -> FileKind:
    """The kind of the files, from the first one that can be opened.

    Parameters
    ----------
    files : sequence of str
    tagger : Tagger
    tree : str, optional
        The tree of ROOT files with one row per jet.

    Returns
    -------
    FileKind

    Raises
    ------
    ConfigError
        If a tree is given, but the model does not take rows of jets.
    """
    if not tagger.source.tables:
        if tree is not None:
            raise ConfigError("--tree is for models that take files with one row per jet")
        return Events()
    for path in map(str, files):
        if tree is not None or SEPARATOR in path or path.endswith((".parquet", *TARBALLS)):
            return JetTables(tree)
        if is_delphes_file(path):
            return DelphesEvents()
        if tagger.options.names is not None or is_event_file(path):
            return Events()
        with suppress(InputFileError), FlatFile(path):
            return JetTables()
    return JetTables(tree)
