"""Running a search: chunks on an executor of coffea, failures named, nothing lost on the way."""

from __future__ import annotations

import inspect
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coffea import processor
from coffea.nanoevents import schemas
from coffea.processor import accumulate

from jettagger.errors import ConfigError, InputFileError, JettaggerError, UnknownName, require
from jettagger.processors.search import ResonanceSearchProcessor
from jettagger.search.config import SearchConfig
from jettagger.search.files import Survey, survey

__all__ = ["EXECUTORS", "SearchResult", "run_search"]

#: where a search can run
EXECUTORS = ("iterative", "futures", "dask")

Progress = Callable[[int], None]


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes
    ----------
    config : SearchConfig
    survey : Survey
    histograms : dict
        Name to ``hist.Hist`` in events at the luminosity, with the categories dataset, region and variation.
    cutflow : dict
        Data set -> region -> cut -> ``events`` and ``weighted``.
    datasets : dict
        Data set -> counts, sum of weights, scale, and events of each file.
    notes : tuple of str
        What is probably not meant.
    missing : dict
        File, or part of one, to the reason why it is not in the histograms.
    model : dict
        Name, version and checksum of the model that was run; empty without one.
    executor : str
    workers : int
    seconds : float
        Wall time.
    """

    config: SearchConfig
    survey: Survey
    histograms: dict[str, Any]
    cutflow: dict[str, Any]
    datasets: dict[str, Any]
    notes: tuple[str, ...]
    missing: dict[str, str]
    model: dict[str, str] = field(default_factory=dict)
    executor: str = "iterative"
    workers: int = 1
    seconds: float = 0.0


class _Guard(processor.ProcessorABC):
    """Runs a processor and returns its errors as results, so that each executor brings them back whole.

    Parameters
    ----------
    inner : ResonanceSearchProcessor
    """

    def __init__(self, inner: ResonanceSearchProcessor) -> None:
        self.inner = inner

    def process(self, events: Any) -> dict[str, Any]:
        place = events.metadata
        key = (str(place["filename"]), int(place["entrystart"]), int(place["entrystop"]))
        try:
            return {"results": self.inner.process(events), "errors": {}}
        except Exception as error:
            return {"results": {}, "errors": {key: _explained(error)}}

    def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
        return accumulator


def _explained(error: Exception) -> JettaggerError:
    """An error of a chunk as one of jettagger's: whether the file cannot be read, or something else went wrong."""
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    for cause in causes:
        # Columns are read when they are first used: what uproot raises then, damage above all, may come up anywhere.
        if any("uproot" in Path(frame.filename).parts for frame in traceback.extract_tb(cause.__traceback__)):
            text = (str(cause).strip() or type(cause).__name__).splitlines()[0]
            return InputFileError(f"cannot be read (truncated or damaged?): {type(cause).__name__}: {text}")
    if isinstance(error, JettaggerError):
        return error
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    place = f"in {last.name}, line {last.lineno} of {last.filename}"
    return JettaggerError(f"cannot be processed: {type(error).__name__}: {text} ({place})")


@dataclass
class _Iterative(processor.IterativeExecutor):  # type: ignore[misc, unused-ignore]
    """One chunk after the other in this process; the progress goes where jettagger's goes."""

    progress: Progress | None = None
    stop: bool = True

    def __call__(self, items: Any, function: Any, accumulator: Any) -> Any:
        total = accumulator
        for item in items:
            found = function(item)
            total = found if total is None else accumulate([found], total)
            if self.progress is not None:
                self.progress(item.entrystop - item.entrystart if hasattr(item, "entrystop") else 0)
            if self.stop and isinstance(found, Mapping) and found.get("out", {}).get("errors"):
                break
        return total, 0


def _schema(name: str) -> Any:
    """A schema of coffea that does not list all cross references that a file lacks."""
    return type(name, (getattr(schemas, name),), {"warn_missing_crossrefs": False})


def _ignore_interrupts() -> None:
    """Ctrl-C reaches all processes of a terminal: the first one ends the others, which have nothing to say to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _kill(pool: Any) -> None:
    """End a pool and what it runs at once."""
    if "kill_workers" in inspect.signature(pool.shutdown).parameters:  # loky
        pool.shutdown(wait=True, kill_workers=True)
        return
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        process.terminate()
    pool.shutdown(wait=True, cancel_futures=True)


def _follow(pool: Any, progress: Progress) -> None:
    """Report each chunk that a pool has finished."""
    submit = pool.submit

    def submit_and_follow(function: Any, item: Any, *more: Any, **options: Any) -> Any:
        future = submit(function, item, *more, **options)
        if hasattr(item, "entrystart"):  # a chunk, not a file to look at or results to merge
            future.add_done_callback(lambda _: progress(item.entrystop - item.entrystart))
        return future

    pool.submit = submit_and_follow


@contextmanager
def _executor(
    name: str, workers: int, scheduler: str | None, progress: Progress | None, status: bool, stop: bool
) -> Iterator[Any]:
    if name == "iterative":
        yield _Iterative(status=False, retries=0, progress=progress, stop=stop)
    elif name == "futures":
        # coffea's choice of a pool, held here: left to coffea, an interrupted run waits for all that is queued
        pool = processor.FuturesExecutor.pool(max_workers=workers, initializer=_ignore_interrupts)
        if progress is not None:
            _follow(pool, progress)
        try:
            yield processor.FuturesExecutor(pool=pool, workers=workers, status=False, retries=0)
        except BaseException:
            _kill(pool)
            raise
        pool.shutdown()
    else:
        distributed = require("distributed", "dask", "running on dask")
        from jettagger.dask import lost_workers_named

        if scheduler is not None:
            try:
                client = distributed.Client(scheduler, timeout="30s")
            except (OSError, TimeoutError, ValueError) as error:
                raise ConfigError(f"no dask scheduler answers at {scheduler}: {error}") from error
            with client, lost_workers_named():
                yield processor.DaskExecutor(client=client, status=status, retries=0)
            return
        with (
            distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
            distributed.Client(cluster) as client,
            lost_workers_named(),
        ):
            yield processor.DaskExecutor(client=client, status=status, retries=0)


def run_search(
    config: SearchConfig,
    *,
    executor: str = "iterative",
    workers: int = 1,
    scheduler: str | None = None,
    skip_broken: bool = False,
    cls: type[ResonanceSearchProcessor] = ResonanceSearchProcessor,
    found: Survey | None = None,
    progress: Progress | None = None,
    status: bool = False,
) -> SearchResult:
    """Run a search.

    Parameters
    ----------
    config : SearchConfig
        From `read_config`.
    executor : str
        One of `EXECUTORS`.
    workers : int
        Processes of ``futures`` and of a local dask cluster.
    scheduler : str, optional
        Address of a dask scheduler; jettagger and the files must be reachable for its workers.
    skip_broken : bool
        Go on without files, or parts of files, that cannot be read; the result names them.
    cls : type
        A class derived from `jettagger.processors.ResonanceSearchProcessor`.
    found : Survey, optional
        What `survey` found already.
    progress : callable, optional
        Called with the number of events after each chunk, not with dask.
    status : bool
        Whether the executor dask shows its own progress.

    Returns
    -------
    SearchResult

    Raises
    ------
    ConfigError, UnknownName
        If the configuration does not fit the files or the model.
    InputFileError
        If a file cannot be read, and ``skip_broken`` was not given; names all of them.
    InvalidValues
        If a weight is not finite; names the file and the event.
    """
    if executor not in EXECUTORS:
        raise UnknownName("executor", executor, EXECUTORS)
    if workers < 1:
        raise ConfigError(f"workers must be at least 1, got {workers}")
    if scheduler is not None and executor != "dask":
        raise ConfigError(f"a scheduler is for the executor dask, not for {executor}")
    start = time.perf_counter()
    found = survey(config, config.make_processor(cls), skip_broken=skip_broken) if found is None else found
    inner = config.make_processor(cls, found.samples)
    with _executor(executor, workers, scheduler, progress, status, not skip_broken) as runs_on:
        runner = processor.Runner(
            executor=runs_on,
            schema=_schema(config.schema),
            chunksize=config.chunk_size,
            savemetrics=False,
            skipbadfiles=skip_broken,
        )
        output = runner(found.fileset(), _Guard(inner), treename=config.tree)
    missing = dict(found.broken) | _failures(output["errors"], skip_broken)
    if not output["results"]:
        raise InputFileError("no event could be read: " + "; ".join(f"{path}: {why}" for path, why in missing.items()))
    result = inner.postprocess(output["results"])
    missing |= _unread(found, result["datasets"], missing)
    model = {}
    if inner.tagger is not None:
        bundle = inner.tagger.bundle
        model = {"name": bundle.name, "version": str(bundle.card.version), "digest": bundle.digest}
    return SearchResult(
        config=config,
        survey=found,
        histograms=result["histograms"],
        cutflow=result["cutflow"],
        datasets=result["datasets"],
        notes=tuple(result["notes"]),
        missing=missing,
        model=model,
        executor=executor,
        workers=workers,
        seconds=time.perf_counter() - start,
    )


def _failures(errors: Mapping[tuple[str, int, int], JettaggerError], skip_broken: bool) -> dict[str, str]:
    """Parts of files that were left out; raises if something else went wrong."""
    missing = {}
    fatal = [(key, error) for key, error in sorted(errors.items()) if not isinstance(error, InputFileError)]
    if fatal:
        (path, _, _), error = fatal[0]
        more = f" (and {len(fatal) - 1} more chunks)" if len(fatal) > 1 else ""
        kind = ConfigError if isinstance(error, UnknownName) else type(error)
        raise kind(f"{path}: {error}{more}") from error
    for (path, first, last), error in sorted(errors.items()):
        missing[f"{path}, events {first} to {last}"] = str(error)
    if missing and not skip_broken:
        listed = "; ".join(f"{place}: {why}" for place, why in missing.items())
        raise InputFileError(f"{listed} (skip_broken, --skip-broken, goes on without)")
    return missing


def _unread(found: Survey, datasets: Mapping[str, Any], missing: Mapping[str, str]) -> dict[str, str]:
    """Files with events that are in no result and have no reason yet."""
    lacking = {}
    for info in found.files:
        read = datasets.get(info.dataset, {}).get("files", {}).get(info.path, 0)
        named = any(place.startswith(info.path) for place in missing)
        if read < info.events and not named:
            lacking[info.path] = f"{info.events - read} of {info.events} events were not read"
    return lacking
