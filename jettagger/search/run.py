"""Execution of a search: chunks on an executor of coffea; failures are named, and no input is lost silently."""

from __future__ import annotations

import inspect
import os
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from coffea import processor
from coffea.nanoevents import NanoEventsFactory, schemas
from coffea.processor import accumulate

from jettagger.arguments import guard
from jettagger.decorrelation.mapcolumn import MapColumn
from jettagger.errors import ConfigError, InputFileError, JettaggerError, UnknownName, reason_of, require
from jettagger.files.pages import checked_classes
from jettagger.files.retrying import RETRIES, check_retries, retried, retried_text
from jettagger.provenance import Provenance, provenance_of
from jettagger.runtime.workers import follow_parent, watched
from jettagger.search.config import SearchConfig
from jettagger.search.definition import SearchWarning
from jettagger.search.files import Survey, survey
from jettagger.search.interface import EventsConfig, EventsProcessor, SearchProcessor
from jettagger.search.normalisation import Read, follow, generated_sum
from jettagger.search.normalisation import notes as normalisation_notes
from jettagger.search.schema import SCHEMAS
from jettagger.search.skims import is_parquet
from jettagger.search.unopened import MetadataCheck

__all__ = ["EXECUTORS", "Processed", "SearchResult", "check_executor", "run_files", "run_search"]

#: executors of a search
EXECUTORS = ("iterative", "futures", "dask")

Progress = Callable[[int], None]


@dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    Attributes
    ----------
    config : SearchConfig
    survey : Survey
    histograms : dict
        Name -> ``hist.Hist`` in events at the luminosity, with the categories dataset, region and variation.
    cutflow : dict
        Data set -> region -> cut -> ``events`` and ``weighted``.
    datasets : dict
        Data set -> counts, sum of weights, scale, and events of each file.
    notes : tuple of str
        Probable mistakes.
    missing : dict
        File, or part of one -> reason why it is not in the histograms.
    curves : dict
        Name -> histogram of a discriminant with fine bins, in inclusive regions, for ROC curves.
    masses : dict
        Name -> histogram of a mass of simulated candidates without cuts on masses, for the effect of other cuts on it.
    provenance : Provenance
        The provenance stored in all files of the output folder.
    model : dict
        Name, version and checksum of the model, checksums of its heads, and options; empty without a model.
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
    curves: dict[str, Any] = field(default_factory=dict)
    masses: dict[str, Any] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=lambda: Provenance("search"))
    model: dict[str, Any] = field(default_factory=dict)
    executor: str = "iterative"
    workers: int = 1
    seconds: float = 0.0


class _Guard(processor.ProcessorABC):
    """Runs a processor and returns its errors as results, so that every executor transfers them unchanged.

    Parameters
    ----------
    inner : SearchProcessor
    schema : str
        Schema of the events.
    retries : int
        How often a chunk is read again after a transient error.
    """

    def __init__(self, inner: SearchProcessor, schema: str, retries: int) -> None:
        self.inner = inner
        self.schema = schema
        self.retries = retries

    def process(self, events: Any) -> dict[str, Any]:
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
        return {"results": results, "errors": {}, "retried": {key: again} if again else {}}

    def _again(self, place: Mapping[str, Any]) -> Any:
        """The events of a chunk from a newly opened file."""
        if is_parquet(str(place["filename"])):
            return NanoEventsFactory.from_parquet(
                str(place["filename"]),
                schemaclass=_schema(self.schema),
                metadata=dict(place),
                entry_start=int(place["entrystart"]),
                entry_stop=int(place["entrystop"]),
                mode="virtual",
                parquet_options={"page_checksum_verification": True},
            ).events()
        return NanoEventsFactory.from_root(
            {str(place["filename"]): str(place["treename"])},
            schemaclass=_schema(self.schema),
            metadata=dict(place),
            entry_start=int(place["entrystart"]),
            entry_stop=int(place["entrystop"]),
            mode="virtual",
            uproot_options={"custom_classes": checked_classes()},
        ).events()

    def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
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
class _Iterative(processor.IterativeExecutor):  # type: ignore[misc, unused-ignore]
    """Processes chunks one after another in this process, with jettagger's own progress bar."""

    retries: int = RETRIES  # coffea before 2025.11 has it for dask only
    progress: Progress | None = None
    stop: bool = True

    def __call__(self, items: Any, function: Any, accumulator: Any) -> Any:
        return _summed(((item, function(item)) for item in items), accumulator, self.progress, self.stop), 0


@dataclass
class _Futures(processor.FuturesExecutor):  # type: ignore[misc, unused-ignore]
    """Processes chunks in a pool; coffea's own loop prints bars and tracebacks in any case."""

    retries: int = RETRIES
    progress: Progress | None = None
    stop: bool = True

    def __call__(self, items: Any, function: Any, accumulator: Any) -> Any:
        waiting = {self.pool.submit(function, item): item for item in items}

        def results() -> Iterator[tuple[Any, Any]]:
            for future in as_completed(list(waiting)):
                yield waiting.pop(future), future.result()

        total = _summed(results(), accumulator, self.progress, self.stop)
        for future in waiting:  # behind an error
            future.cancel()
        return total, 0


def _summed(results: Iterable[tuple[Any, Any]], total: Any, progress: Progress | None, stop: bool) -> Any:
    """The sum of the results of chunks, or of inspected files; ``stop``: up to the first error."""
    for item, result in results:
        total = result if total is None else accumulate([result], total)
        if progress is not None:
            progress(item.entrystop - item.entrystart if hasattr(item, "entrystop") else 0)
        if stop and isinstance(result, Mapping) and result.get("out", {}).get("errors"):
            break
    return total


class _PFNano(schemas.PFNanoAODSchema):  # type: ignore[misc, unused-ignore]
    warn_missing_crossrefs = False


class _Nano(schemas.NanoAODSchema):  # type: ignore[misc, unused-ignore]
    warn_missing_crossrefs = False


class _ScoutingNano(schemas.ScoutingNanoAODSchema):  # type: ignore[misc, unused-ignore]
    warn_missing_crossrefs = False


def _schema(name: str) -> Any:
    """A coffea schema without the warnings on missing cross-references; coffea 2025.9 pickles it by its name."""
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
def _executor(
    name: str, workers: int, scheduler: str | None, progress: Progress | None, status: bool, stop: bool, retries: int
) -> Iterator[Any]:
    if name == "iterative":
        yield _Iterative(status=False, retries=retries, progress=progress, stop=stop)
    elif name == "futures":
        # coffea's choice of a pool, held here: left to coffea, an interrupted run waits for all that is queued
        pool = processor.FuturesExecutor.pool(max_workers=workers, initializer=follow_parent, initargs=(os.getpid(),))
        try:
            with watched(pool, "chunks of a search"):
                yield _Futures(pool=pool, workers=workers, retries=retries, progress=progress, stop=stop)
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
                yield processor.DaskExecutor(client=client, status=status, retries=retries)
            return
        # a free port: without an address the scheduler asks for 8787, which another search may have
        with (
            distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as cluster,
            distributed.Client(cluster) as client,
            lost_workers_named(),
        ):
            yield processor.DaskExecutor(client=client, status=status, retries=retries)


@dataclass(frozen=True)
class Processed:
    """What a processor made of files.

    Attributes
    ----------
    output : dict
        Of its ``postprocess``.
    missing : dict
        File, or part of one -> reason why it is not in the output.
    notes : tuple of str
        Probable mistakes.
    """

    output: dict[str, Any]
    missing: dict[str, str]
    notes: tuple[str, ...]


def run_files(
    config: EventsConfig,
    inner: EventsProcessor,
    found: Survey,
    *,
    executor: str = "iterative",
    workers: int = 1,
    scheduler: str | None = None,
    skip_broken: bool = False,
    retries: int = RETRIES,
    progress: Progress | None = None,
    status: bool = False,
) -> Processed:
    """Run a processor of fat jets on files.

    Parameters
    ----------
    config : SearchConfig, or another with ``samples``, ``schema``, ``chunk_size`` and ``tree``
    inner : FatJetProcessor
        With the samples of the survey.
    found : Survey
    executor, workers, scheduler, skip_broken, retries, progress, status
        As for `run_search`.

    Returns
    -------
    Processed

    Raises
    ------
    ConfigError, UnknownName, InputFileError, InvalidValues
        As for `run_search`.
    """
    check_executor(executor, workers, scheduler, retries)
    with (
        _executor(executor, workers, scheduler, progress, status, not skip_broken, retries) as runs_on,
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Performed attempt", UserWarning)  # coffea's
        parts = []
        unopened = {info.path: info.listed for info in found.files if info.listed is not None}
        looked = MetadataCheck(unopened, skip_broken)
        for kind, files in found.filesets().items():  # a run of coffea takes files of one kind
            runner = processor.Runner(
                executor=runs_on,
                schema=_schema(config.schema),
                chunksize=config.chunk_size,
                savemetrics=False,
                skipbadfiles=skip_broken,
                format=kind,
                metadata_cache=looked,
            )
            options = {"custom_classes": checked_classes()} if kind == "root" else {}
            guard = _Guard(inner, config.schema, retries)
            parts.append(runner(files, guard, treename=config.tree, uproot_options=options))
        output = accumulate(parts)
    missing = dict(found.broken) | looked.changed | _failures(output["errors"], skip_broken)
    if not output["results"]:
        raise InputFileError("no event could be read: " + "; ".join(f"{path}: {why}" for path, why in missing.items()))
    read = _read(output["results"])
    missing |= _unread(found, read, missing)
    generated = _normalise(config, found, inner, read)
    result = inner.postprocess(output["results"])
    further = _further_notes(config, found, inner, result["datasets"], generated, missing)
    again = {**found.retried, **{path: count for (path, *_), count in sorted(output["retried"].items())}}
    if again:
        count = sum(found.retried.values()) + sum(output["retried"].values())
        further.append(retried_text(count, min(again)))
    for note in further:
        warnings.warn(note, SearchWarning, stacklevel=3)
    return Processed(result, missing, (*further, *result["notes"]))


def check_executor(executor: str, workers: int = 1, scheduler: str | None = None, retries: int = RETRIES) -> None:
    """Refuse options of a run that cannot be used, before files are opened.

    Parameters
    ----------
    executor, workers, scheduler, retries
        As for `run_search`.

    Raises
    ------
    UnknownName
        If the executor does not exist; gives the nearest one.
    ConfigError
        If a number is too small, or a scheduler is given to another executor than dask.
    """
    if executor not in EXECUTORS:
        raise UnknownName("executor", executor, EXECUTORS)
    if workers < 1:
        raise ConfigError(f"workers must be at least 1, got {workers}")
    if scheduler is not None and executor != "dask":
        raise ConfigError(f"a scheduler ({scheduler}) is for the executor 'dask', not for {executor!r}")
    check_retries(retries)


def run_search(
    config: SearchConfig,
    *,
    executor: str = "iterative",
    workers: int = 1,
    scheduler: str | None = None,
    skip_broken: bool = False,
    retries: int = RETRIES,
    cls: type[Any] | None = None,
    found: Survey | None = None,
    progress: Progress | None = None,
    status: bool = False,
    verify: bool = False,
) -> SearchResult:
    """Run a search.

    Parameters
    ----------
    config : SearchConfig
        From `read_config`.
    executor : str
        One of `EXECUTORS`.
    workers : int
        Number of processes for ``futures`` and for a local dask cluster.
    scheduler : str, optional
        Address of a dask scheduler; jettagger and the files must be accessible to its workers.
    skip_broken : bool
        Continue without unreadable files, or parts of files; the result names them, and simulation is normalised to the
        generated events behind what was read.
    retries : int
        How often a file, or a part of one, is opened again after a transient error before it counts as unreadable;
        damage is not retried (`jettagger.files.retrying.is_momentary`).
    cls : type, optional
        A class derived from `jettagger.processors.ResonanceSearchProcessor`, which is the default.
    found : Survey, optional
        Result of `survey`, if it was made before.
    progress : callable, optional
        Called with the number of events after each chunk, not with dask.
    status : bool
        Whether the dask executor shows its own progress bar.
    verify : bool
        Verify the consistency of the inputs first, as for `survey`; only without ``found``.

    Returns
    -------
    SearchResult

    Raises
    ------
    ConfigError, UnknownName
        If the configuration is inconsistent with the files or the model.
    InputFileError
        If a file cannot be read, and ``skip_broken`` is not set; names all of them. With it, if nothing of a data set
        can be read, or if the fraction of generated events that was read cannot be determined.
    InvalidValues
        If a weight is not finite; gives the file and the event.
    """
    check_executor(executor, workers, scheduler, retries)
    start = time.perf_counter()
    if found is None:
        found = survey(config, config.make_processor(cls), skip_broken=skip_broken, retries=retries, verify=verify)
    inner = config.make_processor(cls, found.samples)
    made = run_files(
        config,
        inner,
        found,
        executor=executor,
        workers=workers,
        scheduler=scheduler,
        skip_broken=skip_broken,
        retries=retries,
        progress=progress,
        status=status,
    )
    result, missing = made.output, made.missing
    model: dict[str, Any] = {}
    if inner.tagger is not None:
        bundle = inner.tagger.bundle
        state = inner.tagger.state
        model = {"name": bundle.name, "version": str(bundle.card.version), "digest": bundle.digest}
        model["heads"] = {head.name: head.digest for head in inner.tagger.heads}
        model["options"] = {name: state[name] for name in sorted(state) if name not in ("model", "heads")}
    used = {
        name: {"digest": item.map.digest, "method": item.map.method, "efficiency": item.efficiency}
        for name, item in inner.search.discriminants.items()
        if isinstance(item, MapColumn)
    }
    maps = {"maps": used} if used else {}
    calibrated = {
        name: {
            "scale_factors": item.weights.factors.digest,
            "efficiencies": item.weights.efficiencies.digest,
            "points": list(item.weights.points),
            "sources": list(item.sources),
        }
        for name, item in inner.search.tag_factors.items()
    }
    maps |= {"scale_factors": calibrated} if calibrated else {}
    return SearchResult(
        config=config,
        survey=found,
        histograms=result["histograms"],
        cutflow=result["cutflow"],
        datasets=result["datasets"],
        notes=made.notes,
        missing=missing,
        curves=result["curves"],
        masses=result["masses"],
        provenance=provenance_of(
            inner.tagger or found.origin,
            inner.names,
            inner.search.preselection.text,
            [info.path for info in found.files],
            skipped=missing,
            step="search",
            configuration={"file": config.document.name, "digest": config.digest, **maps},
        ),
        model=model,
        executor=executor,
        workers=workers,
        seconds=time.perf_counter() - start,
    )


def _failures(errors: Mapping[tuple[str, int, int], JettaggerError], skip_broken: bool) -> dict[str, str]:
    """Skipped parts of files; raises for any other error."""
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
        raise InputFileError(f"{listed} (skip_broken=True, --skip-broken, goes on without)")
    return missing


def _read(results: Mapping[str, Any]) -> dict[str, Read]:
    """File -> what is in the histograms."""
    weights = results.get("file_weights", {})
    return {
        path: Read(events, float(weights.get(dataset, {}).get(path, 0.0)))
        for dataset, files in results["files"].items()
        for path, events in files.items()
    }


def _unread(found: Survey, read: Mapping[str, Read], missing: Mapping[str, str]) -> dict[str, str]:
    """Files with events in no result, for which no reason is known yet."""
    lacking = {}
    for info in found.files:
        events = read.get(info.path, Read()).events
        named = any(place.startswith(info.path) for place in missing)
        if events < info.events and not named:
            lacking[info.path] = f"{info.events - events} of {info.events} events were not read"
    return lacking


def _normalise(config: Any, found: Survey, inner: Any, read: Mapping[str, Read]) -> dict[str, float | None]:
    """Set the sums of weights of the processor for what was read; data set -> sums recorded in the files."""
    generated: dict[str, float | None] = {}
    for dataset, sample in found.samples.items():
        mine = [info for info in found.files if info.dataset == dataset]
        if not any(read.get(info.path, Read()).events for info in mine):
            raise InputFileError(f"dataset {dataset!r}: no event of its {len(mine)} files could be read")
        arguments = (mine, read, inner.generator_weight, config.tree)
        inner.samples[dataset] = follow(dataset, sample, found.from_runs(config, dataset), *arguments)
        generated[dataset] = None
        if not sample.data and all(info.sources for info in mine):
            with suppress(InputFileError):
                whole = generated_sum(mine, inner.generator_weight)
                of_all = follow(dataset, replace(sample, sum_of_weights=whole), True, *arguments)
                generated[dataset] = float(of_all.sum_of_weights or 0.0)
    return generated


def _further_notes(
    config: Any,
    found: Survey,
    inner: Any,
    datasets: Mapping[str, Any],
    generated: Mapping[str, float | None],
    missing: Mapping[str, str],
) -> list[str]:
    """Notes beyond those of the processor: other sums of weights, missing data."""
    notes = []
    for dataset, sample in inner.samples.items():
        mine = [info for info in found.files if info.dataset == dataset]
        if sample.data:
            lost = [place for place in missing if place in found.lost.get(dataset, ())]
            lost += [place for place in missing if any(place.startswith(info.path) for info in mine)]
            if lost:
                notes.append(
                    f"dataset {dataset!r} is data, and {len(lost)} files or parts of files are missing: it has "
                    f"less than the luminosity of {inner.luminosity:g}/fb to which simulation is scaled"
                )
            continue
        before = found.samples[dataset].sum_of_weights
        after = sample.sum_of_weights
        if isinstance(before, float) and isinstance(after, float) and before != after:
            notes.append(
                f"dataset {dataset!r} was not read whole: it is divided by {after:.6g}, the generator weights of the "
                f"events behind what was read, of {before:.6g}"
            )
        notes += normalisation_notes(dataset, sample, datasets[dataset], generated[dataset], inner.generator_weight)
    return notes


guard(globals())
