"""Execution of chunks of events on coffea's executors: errors are results, workers end with this process."""

from __future__ import annotations

import inspect
import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from coffea import processor
from coffea.nanoevents import NanoEventsFactory, schemas
from coffea.processor import accumulate

from jettagger.arguments import guard
from jettagger.errors import (
    ConfigError,
    InputFileError,
    JettaggerError,
    UnknownName,
    WorkerError,
    WrongType,
    reason_of,
    require,
)
from jettagger.files.pages import checked_classes
from jettagger.files.retrying import RETRIES, check_retries, retried
from jettagger.runtime.workers import follow_parent, watched
from jettagger.search.batch import BATCH, BatchJobs, BatchOptions, batch_client, check_batch
from jettagger.search.interface import SearchProcessor
from jettagger.search.kept import KeptChunks
from jettagger.search.packing import pack
from jettagger.search.schema import SCHEMAS
from jettagger.search.skims import is_parquet
from jettagger.search.summing import OrderedSum

__all__ = ["EXECUTORS", "ChunkGuard", "Progress", "check_executor", "client_at", "coffea_schema", "executor_of"]

#: executors of a search; the last two are batch systems
EXECUTORS = ("iterative", "futures", "dask", *BATCH)

Progress = Callable[[int], None]


class ChunkGuard(processor.ProcessorABC):
    """Runs a processor and returns its errors as results, so that every executor transfers them unchanged.

    Parameters
    ----------
    inner : SearchProcessor
    schema : str
        Schema of the events.
    retries : int
        How often a chunk is read again after a transient error.
    packed : bool
        Whether results are packed, for the way to another process or to disk.
    """

    def __init__(self, inner: SearchProcessor, schema: str, retries: int, packed: bool = False) -> None:
        self.inner = inner
        self.schema = schema
        self.retries = retries
        self.packed = packed

    def process(self, events: Any) -> dict[str, Any] | bytes:
        """The results of one chunk, or its error.

        Parameters
        ----------
        events : NanoEvents

        Returns
        -------
        dict, or bytes
            ``results`` of the processor, ``errors`` and ``retried`` by file and range of events; packed if it can be.
        """
        place = events.metadata
        key = (str(place["filename"]), int(place["entrystart"]), int(place["entrystop"]))
        held = [events]

        def attempt() -> Any:
            if not held:
                held.append(self._again(place))
            return self.inner.process(held[0])

        try:
            results, again = retried(attempt, key[0], self.retries, held.clear)
        except Exception as error:
            return {"results": {}, "errors": {key: _explained(error)}, "retried": {}}
        made = {"results": results, "errors": {}, "retried": {key: again} if again else {}}
        if self.packed:
            with suppress(WrongType):  # a derived class may add whatever can be added up
                return pack(made)
        return made

    def _again(self, place: Mapping[str, Any]) -> Any:
        """The events of a chunk from a newly opened file."""
        if is_parquet(str(place["filename"])):
            return NanoEventsFactory.from_parquet(
                str(place["filename"]),
                schemaclass=coffea_schema(self.schema),
                metadata=dict(place),
                entry_start=int(place["entrystart"]),
                entry_stop=int(place["entrystop"]),
                mode="virtual",
                parquet_options={"page_checksum_verification": True},
            ).events()
        return NanoEventsFactory.from_root(
            {str(place["filename"]): str(place["treename"])},
            schemaclass=coffea_schema(self.schema),
            metadata=dict(place),
            entry_start=int(place["entrystart"]),
            entry_stop=int(place["entrystop"]),
            mode="virtual",
            uproot_options={"custom_classes": checked_classes()},
        ).events()

    def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
        """The sum of all chunks, as it is."""
        return accumulator


def _explained(error: Exception) -> JettaggerError:
    """An error of a chunk as one of jettagger's: an unreadable file, or another problem."""
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    for cause in causes:
        # Columns are read when they are first used: what readers raise then, damage above all, may come up anywhere.
        frames = traceback.extract_tb(cause.__traceback__)
        if any({"uproot", "pyarrow"} & {*Path(frame.filename).parts} for frame in frames):
            text = reason_of(cause)
            return InputFileError(f"cannot be read (truncated or damaged?): {type(cause).__name__}: {text}")
    if isinstance(error, JettaggerError):
        return error
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = reason_of(error)
    place = f"in {last.name}, line {last.lineno} of {last.filename}"
    return JettaggerError(f"cannot be processed: {type(error).__name__}: {text} ({place})")


@dataclass
class _InOrder:
    """What executors have in common: chunks that were finished before are not run, and sums have a fixed order."""

    retries: int = RETRIES  # coffea before 2025.11 has it for dask only
    progress: Progress | None = None
    stop: bool = True
    kept: KeptChunks | None = None

    def __call__(self, items: Any, function: Any, accumulator: Any) -> Any:
        items = list(items)
        chunks = all(hasattr(item, "entrystop") for item in items)  # otherwise files that are opened
        kept = self.kept if chunks else None
        if kept is not None:
            kept.expect(items)
        total = OrderedSum(items, kept)
        places = {item: number for number, item in enumerate(items)}
        todo = [item for item in items if kept is None or item not in kept]
        for item in {*items} - {*todo}:
            self._advance(item)
        for item, result in self.results(todo, function) if kept is None else kept.absent(todo, self.results, function):
            made = result["out"] if chunks and result is not None else None  # coffea leaves out bad files
            failed = isinstance(made, Mapping) and bool(made["errors"])
            if kept is not None and made is not None and not failed and kept.put(item, made):
                total.proceed()
            else:
                total.add(places[item], result)
            self._advance(item)
            if failed and self.stop:
                break
        found = total.result()
        return (found if accumulator is None or found is None else accumulate([found], accumulator)), 0

    def results(self, items: Sequence[Any], function: Any) -> Iterator[tuple[Any, Any]]:
        """Item and result for each of some items, in any order."""
        raise NotImplementedError

    def _advance(self, item: Any) -> None:
        if self.progress is not None:
            self.progress(item.entrystop - item.entrystart if hasattr(item, "entrystop") else 0)


@dataclass
class _Iterative(_InOrder, processor.IterativeExecutor):  # type: ignore[misc, unused-ignore]
    """Processes chunks one after another in this process."""

    def results(self, items: Sequence[Any], function: Any) -> Iterator[tuple[Any, Any]]:
        return ((item, function(item)) for item in items)


@dataclass
class _Futures(_InOrder, processor.FuturesExecutor):  # type: ignore[misc, unused-ignore]
    """Processes chunks in a pool; coffea's own loop prints bars and tracebacks in any case."""

    def results(self, items: Sequence[Any], function: Any) -> Iterator[tuple[Any, Any]]:
        # what waits behind an error ends with the pool: loky does not expect cancelled futures when it is killed
        waiting = {self.pool.submit(function, item): item for item in items}
        for future in as_completed(list(waiting)):
            yield waiting.pop(future), future.result()


@dataclass
class _Dask(_InOrder, processor.DaskExecutor):  # type: ignore[misc, unused-ignore]
    """Processes chunks on a cluster; each result comes here, where coffea's own loop adds them up on the workers."""

    jobs: BatchJobs | None = None  # its workers, if a batch system runs them

    def results(self, items: Sequence[Any], function: Any) -> Iterator[tuple[Any, Any]]:
        from distributed import KilledWorker

        sent: list[Any] = list(items)
        if self.heavy_input is not None:  # the processor, once for all chunks
            heavy = self.client.submit(_same, self.heavy_input, pure=False)
            sent = [(item, heavy) for item in items]
        futures = self.client.map(function, sent, pure=False, priority=self.priority, retries=self.retries)
        waiting = dict(zip(futures, items, strict=True))
        done: SimpleQueue[Any] = SimpleQueue()
        for future in futures:
            future.add_done_callback(done.put)
        del futures
        try:
            while waiting:
                try:
                    future = done.get(timeout=None if self.jobs is None else self.jobs.interval)
                except Empty:
                    if self.jobs is not None:
                        self.jobs.check(len(items) - len(waiting))
                    continue
                item = waiting.pop(future)
                try:
                    result = future.result()
                except KilledWorker as error:
                    raise WorkerError(
                        f"the chunk {item} was lost with its worker",
                        where=f"the chunk {item}",
                        got="was lost with its worker",
                        expected="workers with more memory, or smaller chunks",
                    ) from error
                yield item, result
        finally:
            self.client.cancel(list(waiting))


def _same(value: Any) -> Any:
    return value


class _PFNano(schemas.PFNanoAODSchema):  # type: ignore[misc, unused-ignore]
    warn_missing_crossrefs = False


class _Nano(schemas.NanoAODSchema):  # type: ignore[misc, unused-ignore]
    warn_missing_crossrefs = False


class _ScoutingNano(schemas.ScoutingNanoAODSchema):  # type: ignore[misc, unused-ignore]
    warn_missing_crossrefs = False


def coffea_schema(name: str) -> Any:
    """A coffea schema without the warnings on missing cross-references; coffea 2025.9 pickles it by its name.

    Parameters
    ----------
    name : str
        One of `jettagger.search.schema.SCHEMAS`.

    Returns
    -------
    type
    """
    return dict(zip(SCHEMAS, (_PFNano, _Nano, _ScoutingNano), strict=True))[name]


def _kill(pool: Any) -> None:
    """End a pool and its processes at once."""
    if "kill_workers" in inspect.signature(pool.shutdown).parameters:  # loky
        pool.shutdown(wait=True, kill_workers=True)
        return
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        process.terminate()
    pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def executor_of(
    name: str,
    workers: int,
    scheduler: str | None,
    progress: Progress | None,
    stop: bool,
    retries: int,
    kept: KeptChunks | None = None,
    batch: BatchOptions | None = None,
) -> Iterator[Any]:
    """An executor of coffea, whose workers end with the block.

    Parameters
    ----------
    name, workers, scheduler, progress, retries, kept, batch
        As for `jettagger.search.run.run_search`.
    stop : bool
        Whether the first error ends the run.

    Yields
    ------
    coffea.processor.executor.ExecutorBase
    """
    options: dict[str, Any] = {"status": False, "retries": retries, "progress": progress, "stop": stop, "kept": kept}
    if name == "iterative":
        yield _Iterative(**options)
    elif name == "futures":
        # coffea's choice of a pool, held here: left to coffea, an interrupted run waits for all that is queued
        pool = processor.FuturesExecutor.pool(max_workers=workers, initializer=follow_parent, initargs=(os.getpid(),))
        try:
            with watched(pool, "chunks of a search"):
                yield _Futures(pool=pool, workers=workers, **options)
        except BaseException:
            _kill(pool)
            raise
        pool.shutdown()
    elif name in BATCH and batch is not None:
        from jettagger.dask import lost_workers_named

        with batch_client(name, workers, batch) as (client, jobs), lost_workers_named():
            yield _Dask(client=client, jobs=jobs, **options)
    else:
        distributed = require("distributed", "dask", "running on dask")
        from jettagger.dask import lost_workers_named

        if scheduler is not None:
            with client_at(scheduler) as client, lost_workers_named():
                yield _Dask(client=client, **options)
            return
        # a free port: without an address the scheduler asks for 8787, which another search may have
        with (
            distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as cluster,
            distributed.Client(cluster) as client,
            lost_workers_named(),
        ):
            yield _Dask(client=client, **options)


@contextmanager
def client_at(scheduler: str) -> Iterator[Any]:
    """A client of a dask cluster.

    Parameters
    ----------
    scheduler : str
        Its address.

    Yields
    ------
    distributed.Client

    Raises
    ------
    ConfigError
        If no scheduler answers there.
    """
    distributed = require("distributed", "dask", "running on dask")
    try:
        client = distributed.Client(scheduler, timeout="30s")
    except (OSError, TimeoutError, ValueError) as error:
        raise ConfigError(f"no dask scheduler answers at {scheduler}: {error}") from error
    with client:
        yield client


def check_executor(
    executor: str,
    workers: int = 1,
    scheduler: str | None = None,
    retries: int = RETRIES,
    batch: BatchOptions | None = None,
) -> None:
    """Refuse options of a run that cannot be used, before files are opened.

    Parameters
    ----------
    executor, workers, scheduler, retries, batch
        As for `run_search`.

    Raises
    ------
    UnknownName
        If the executor does not exist; gives the nearest one.
    ConfigError
        If a number is too small, a scheduler is given to another executor than dask, or a batch system cannot be used.
    """
    if executor not in EXECUTORS:
        raise UnknownName("executor", executor, EXECUTORS)
    if workers < 1:
        raise ConfigError(f"workers must be at least 1, got {workers}")
    if scheduler is not None and executor != "dask":
        raise ConfigError(f"a scheduler ({scheduler}) is for the executor 'dask', not for {executor!r}")
    check_retries(retries)
    if executor in BATCH:
        check_batch(executor, batch)


guard(globals(), "check_executor")
