"""From files to a skim: one row per event, or per jet, with the kinematics of the jets and the outputs of a tagger.

Files are divided into chunks within a memory budget, read with only the required columns (those of constituents only
for events with a jet to score), scored in this process or in several, and written in order. One process reads the
next chunk while the network processes the current one.
"""

from __future__ import annotations

import json
import logging
import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from importlib.metadata import version
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from jettagger._version import __version__
from jettagger.arguments import guard, in_range
from jettagger.config.sizes import size_text
from jettagger.display import Brief, in_full
from jettagger.errors import MismatchError, WorkerError
from jettagger.expressions import parse
from jettagger.expressions.cutlogic import warn_doubt
from jettagger.files.addresses import masked
from jettagger.files.generated import GeneratedFile
from jettagger.files.retrying import RETRIES, retried, warn_retried
from jettagger.provenance import provenance_of
from jettagger.report import PartialJetsWarning, Report, warn_partial
from jettagger.runtime.codedigest import code_digest
from jettagger.runtime.workers import deadline, finished, submit, worker_pool
from jettagger.sessions.threads import default_threads
from jettagger.skims.jobs import Chunk, output_columns, survey
from jettagger.skims.kinds import Events, FileKind, Wanted, close_all, kind_of
from jettagger.skims.resume import Finished, kept_inputs, resumed, source_digest
from jettagger.skims.writers import check_target, write_skim
from jettagger.tagging.options import TaggerOptions
from jettagger.tagging.tagger import DEFAULT_COLUMNS, Tagger, load_tagger

__all__ = ["Job", "Progress", "SkimResult", "make_job", "run_job", "tag_files"]

_log = logging.getLogger(__name__)

#: default memory budget in bytes for the data of all chunks processed at a time
MEMORY = 500_000_000


@dataclass(frozen=True)
class Job(Brief):
    """All information that a worker needs.

    Parameters
    ----------
    tagger : Tagger
    names : dict of str to str
        Output -> column of the jets.
    collection : str
        The collection of jets.
    inputs : tuple of str
        Columns to read, ``"Collection.field"`` or plain.
    keep : tuple of str
        Flat names of the columns to copy.
    where : str or None
        Expression in jet columns.
    chunks : tuple of Chunk
    skipped : dict of str to str
        Skipped files -> reason.
    needed : tuple of str
        Those of ``inputs`` that the model and its heads need; empty: all.
    memory : int
        Memory budget in bytes for the data being processed.
    sources : tuple of GeneratedFile
        The generated events of the files that are read; empty if one of them does not record them.
    retries : int
        How often a chunk is read again after a transient error, from a newly opened file.
    kind : FileKind
        How its files are opened, divided and written.
    """

    tagger: Tagger
    names: Mapping[str, str]
    collection: str
    inputs: tuple[str, ...]
    keep: tuple[str, ...]
    where: str | None
    chunks: tuple[Chunk, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    needed: tuple[str, ...] = ()
    memory: int = MEMORY
    sources: tuple[GeneratedFile, ...] = ()
    retries: int = RETRIES
    kind: FileKind = field(default_factory=Events)

    @property
    def n_events(self) -> int:
        """Events in all chunks."""
        return sum(chunk.stop - chunk.start for chunk in self.chunks)

    def process(self, chunk: Chunk) -> tuple[dict[str, Any], Report]:
        """Read, score and arrange one chunk.

        Parameters
        ----------
        chunk : Chunk

        Returns
        -------
        dict of str to awkward array
            Flat columns, one entry per row of the skim.
        Report
        """
        loaded, again = self.load(chunk)
        columns, report = self.score(loaded)
        return columns, report + Report(retried=again)

    def load(self, chunk: Chunk) -> tuple[Any, int]:
        """Read one chunk, again after transient errors.

        Parameters
        ----------
        chunk : Chunk

        Returns
        -------
        object
            The result of `read`.
        int
            Number of failed attempts.
        """
        return retried(lambda: self.read(chunk), chunk.path, self.retries, close_all)

    def read(self, chunk: Chunk) -> Any:
        """Read one chunk: all columns, or with ``where`` the columns of the model only for events with a jet to score.

        Parameters
        ----------
        chunk : Chunk

        Returns
        -------
        object
            The input of `score` of the same kind of file.
        """
        return self.kind.read(self, chunk)

    def score(self, loaded: Any) -> tuple[dict[str, Any], Report]:
        """Score and arrange a chunk from `read`; see `process`."""
        return self.kind.score(self, loaded)

    def key(self, workers: int) -> str:
        """Digest of what the scores depend on, to the last bit, apart from the input files.

        Parameters
        ----------
        workers : int
            Number of workers, on which the number of threads depends.

        Returns
        -------
        str
        """
        parts = {item.name: getattr(self, item.name) for item in fields(self)}
        for name in ("tagger", "chunks", "skipped", "memory", "sources", "retries", "kind"):
            del parts[name]
        made_by = [
            __version__,
            code_digest(),
            source_digest(type(self)),
            source_digest(type(self.kind)),
            version("onnxruntime"),
            version("awkward"),
        ]
        threads = [default_threads(), workers == 1]
        return json.dumps([made_by, threads, self.tagger.state, in_full(self.kind), parts], sort_keys=True)

    @property
    def provenance(self) -> str:
        """The provenance of the output, as JSON."""
        files = (chunk.path for chunk in self.chunks)
        record = provenance_of(self.tagger, self.names, self.where, files, skipped=self.skipped, generated=self.sources)
        return record.text


@dataclass(frozen=True)
class SkimResult(Brief):
    """The result of a job.

    Parameters
    ----------
    path : pathlib.Path
    events : int
        Number of rows written.
    report : Report
    skipped : dict of str to str
        Skipped files -> reason.
    sources : tuple of GeneratedFile
        The generated events of the files that were read, whose sums the skim carries; empty if one of them does not
        record them.
    simulated : bool
        Whether they have generator weights.
    earlier : Report
        Report of the inputs finished by an interrupted run; part of ``report``.
    """

    path: Path
    events: int
    report: Report
    skipped: Mapping[str, str]
    sources: tuple[GeneratedFile, ...] = ()
    simulated: bool = False
    earlier: Report = field(default_factory=Report)


Progress = Callable[[int], None]


def make_job(
    files: Sequence[str],
    tagger: Tagger,
    *,
    prefix: str | None = None,
    where: str | None = None,
    columns: Iterable[str] = DEFAULT_COLUMNS,
    keep: Iterable[str] = (),
    memory: int = MEMORY,
    workers: int = 1,
    skip_broken: bool = False,
    verify: bool = False,
    retries: int = RETRIES,
    tree: str | None = None,
) -> Job:
    """Open all files, compare them with what the model needs, and divide them into chunks.

    Parameters
    ----------
    files : sequence of str
        NanoAOD-like ROOT files. For models with a data configuration of weaver also Delphes files, and ROOT and
        parquet files with one row a jet, members ``TARBALL::MEMBER``, and whole tarballs.
    tagger : Tagger
    prefix : str, optional
        Prefix of the columns; default: that of the bundle.
    where : str, optional
        Expression in columns of the jets (``"pt > 200 and abs(eta) < 2.4"``; of rows of jets ``"jet_pt > 200"``);
        other jets are not scored.
    columns : iterable of str
        Kinds and names of outputs.
    keep : iterable of str
        Patterns of further columns to copy, e.g. ``"FatJet_tau*"``, ``"MET_pt"``.
    memory : int
        Memory budget in bytes for the data of all chunks processed at a time.
    workers : int
        Number of chunks processed at a time.
    skip_broken : bool
        Skip files that cannot be opened, and list them in the result; otherwise they are an error.
    verify : bool
        Verify the consistency of the columns that the model reads, in all events, see `jettagger.files.verification`; a
        file that fails is treated like one that cannot be opened.
    retries : int
        How often a file, or a part of one, is opened again after a transient error; damage is not retried
        (`jettagger.files.retrying.is_momentary`).
    tree : str, optional
        The tree of ROOT files with one row per jet; default: the only one.

    Returns
    -------
    Job

    Raises
    ------
    InputFileError, MissingColumns, ConfigError, UnknownName
    MismatchError
        If a file is given twice, also by different names.
    """
    names = output_columns(tagger, columns, prefix, workers)
    in_range(memory, "memory (bytes)", 1)
    warn_doubt(where, "--where")
    paths = list(map(str, files))
    kind = kind_of(paths, tagger, tree)
    cut = None if where is None else parse(where, where="--where")
    wanted = Wanted(tagger, names, cut, tuple(keep), memory // workers, verify)
    skipped: dict[str, str] = {}
    paths = kind.expanded(paths, skipped, skip_broken=skip_broken)
    found = survey(
        paths, lambda path: kind.examine(path, wanted), skip_broken=skip_broken, skipped=skipped, retries=retries
    )
    return Job(
        tagger,
        names,
        where=where,
        chunks=found.chunks,
        skipped=found.skipped,
        memory=memory,
        retries=retries,
        sources=found.sources,
        kind=kind,
        **found.layout._asdict(),
    )


def process_chunk(job: Job, chunk: Chunk) -> tuple[dict[str, Any], Report]:
    """Read, score and arrange a chunk, also in other processes."""
    return _scored(job, chunk, *job.load(chunk))


def _scored(job: Job, chunk: Chunk, loaded: Any, again: int) -> tuple[dict[str, Any], Report]:
    """Score and arrange a chunk; errors give its place, and partial jets are reported once for all chunks."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PartialJetsWarning)
        try:
            columns, report = job.score(loaded)
        except MismatchError as error:
            raise MismatchError(f"{_place(chunk)}: {error}") from error
    place = f"events {chunk.start} to {chunk.stop} of {masked(chunk.path)}"
    _log.debug("%s: %d of %d jets scored in %.3f s", place, report.scored, report.jets, time.perf_counter() - start)
    return columns, report + Report(retried=again)


def _read_ahead(job: Job) -> Generator[tuple[dict[str, Any], Report], None, None]:
    """Score chunk after chunk; a thread reads the next one in the meantime, and never more than one."""
    with ThreadPoolExecutor(1, thread_name_prefix="jettagger-reader") as reader:
        following = deque(reader.submit(job.load, chunk) for chunk in job.chunks[:1])
        try:
            for chunk, after in zip_longest(job.chunks, job.chunks[1:]):
                loaded, again = _loaded(following.popleft(), chunk)
                if after is not None:
                    following.append(reader.submit(job.load, after))
                yield _scored(job, chunk, loaded, again)
                del loaded  # before the next one is waited for
        finally:
            reader.shutdown(wait=True, cancel_futures=True)


def _place(chunk: Chunk) -> str:
    return f"events {chunk.start} to {chunk.stop} of {chunk.path}"


def _loaded(reading: Future[Any], chunk: Chunk) -> Any:
    """The result of the reader; a disk or a server that does not answer is reported at intervals."""
    limit = deadline()
    while not wait([reading], timeout=limit).done:
        warnings.warn(
            f"{_place(chunk)} could not be read for {limit:g} s: the disk or the server does not answer",
            RuntimeWarning,
            stacklevel=2,
        )
    return reading.result()


def _results(job: Job, workers: int) -> Generator[tuple[dict[str, Any], Report], None, None]:
    if workers == 1:
        yield from _read_ahead(job)
        return
    pending: deque[tuple[Chunk, Future[tuple[dict[str, Any], Report]]]] = deque()
    todo = iter(job.chunks)
    with worker_pool(workers) as pool:
        while True:
            try:
                for following in islice(todo, workers + 1 - len(pending)):
                    pending.append((following, submit(pool, process_chunk, job, following)))
                if not pending:
                    break
                chunk, future = pending.popleft()
                place = _place(chunk)
                finished([future], pool, f"at {place}")
                content = future.result()
            except BrokenProcessPool as error:
                raise WorkerError(
                    f"a worker died at {place}, most likely out of memory "
                    f"(budget for the data being processed: {size_text(job.memory)}): use a smaller --memory or fewer "
                    "--workers; nothing was written",
                    where=place,
                    got="a worker died",
                    expected="a smaller --memory or fewer --workers",
                ) from error
            yield content
            del content


def run_job(
    job: Job,
    output: str,
    *,
    workers: int = 1,
    force: bool = False,
    progress: Progress | None = None,
    resume: bool = False,
) -> SkimResult:
    """Score all chunks and write the skim.

    Parameters
    ----------
    job : Job
    output : str
        ``.parquet`` or ``.root``.
    workers : int
        Number of processes; 1 uses the current one.
    force : bool
        Whether an existing output may be replaced.
    progress : callable, optional
        Called with the number of events after each chunk.
    resume : bool
        Store the scores of each finished input in a folder ``OUTPUT.resume`` until the output is complete, and use
        those left by an interrupted run: the same job then gives the same columns, bit for bit. Nothing is stored for
        jobs with one input.

    Returns
    -------
    SkimResult

    Raises
    ------
    OutputError
        If the output cannot be written completely, or is an input; nothing is changed in these cases. With ``resume``,
        also if another run is currently writing the same output.
    """
    inputs: list[str | Path] = [*{chunk.path for chunk in job.chunks}, *job.skipped, *job.tagger.sources]
    target = check_target(output, force=force, inputs=inputs)
    total, earlier = Report(), Report()
    partial_in: list[Chunk] = []
    retried_in: list[Chunk] = []

    def columns(kept: Finished | None) -> Generator[dict[str, Any], None, None]:
        nonlocal total, earlier
        chunks = resumed(job.chunks, kept, lambda todo: _results(replace(job, chunks=todo), workers))
        with closing(chunks):
            for chunk, content, report in chunks:
                if kept is not None and chunk in kept:
                    earlier = earlier + report
                total = total + report
                partial_in.extend([chunk] if report.partial else [])
                retried_in.extend([chunk] if report.retried else [])
                yield content
                if progress is not None:
                    progress(report.events)

    try:
        with (
            kept_inputs(target, job.chunks, job.key(workers), resume=resume) as kept,
            closing(columns(kept)) as stream,
        ):
            events = write_skim(target, stream, job.provenance, force=force)
    finally:
        close_all()
    if partial_in:
        place = f"the first is in {_place(partial_in[0])}"
        warn_partial(total.partial, total.jets, place, job.tagger.options.min_pt_share)
    if retried_in:
        warn_retried(total.retried, _place(retried_in[0]))
    return SkimResult(target, events, total, job.skipped, job.sources, "genWeight" in job.keep, earlier)


def tag_files(
    files: Sequence[str],
    model: str | os.PathLike[str] | Tagger,
    output: str,
    *,
    options: TaggerOptions | None = None,
    prefix: str | None = None,
    where: str | None = None,
    columns: Iterable[str] = DEFAULT_COLUMNS,
    keep: Iterable[str] = (),
    memory: int = MEMORY,
    workers: int = 1,
    force: bool = False,
    resume: bool = False,
    verify: bool = False,
    retries: int = RETRIES,
    tree: str | None = None,
) -> SkimResult:
    """Score the jets of files and write a skim: ``jettagger tag`` as a function.

    Parameters
    ----------
    files : sequence of str
        As for `make_job`.
    model : str, path or Tagger
        As for `jettagger.load_tagger`.
    output : str
        ``.parquet`` or ``.root``.
    options : TaggerOptions, optional
        Options of the tagger; a tagger has its own.
    prefix, where, columns, keep, memory, workers, retries, tree
        As for `make_job`.
    force : bool
        Whether an existing output may be replaced.
    resume : bool
        Store finished inputs until the output is complete, as for `run_job`.
    verify : bool
        Verify the consistency of the columns, as for `make_job`.

    Returns
    -------
    SkimResult

    Examples
    --------
    >>> import tempfile
    >>> from jettagger.testing import write_pfnano
    >>> folder = tempfile.mkdtemp()
    >>> path = write_pfnano(f"{folder}/nano.root", 5, seed=1)
    >>> tag_files([str(path)], "tinyParT", f"{folder}/scores.parquet", columns=["prob"]).events
    5
    """
    files = list(files)
    check_target(output, force=force, inputs=map(str, files))
    tagger = load_tagger(model, options)
    job = make_job(
        files,
        tagger,
        prefix=prefix,
        where=where,
        columns=columns,
        keep=keep,
        memory=memory,
        workers=workers,
        verify=verify,
        retries=retries,
        tree=tree,
    )
    return run_job(job, output, workers=workers, force=force, resume=resume)


guard(globals(), "tag_files")
