"""Execution of a search: chunks on an executor of coffea; failures are named, and no input is lost silently."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from coffea import processor
from coffea.processor import accumulate

from jettagger.arguments import guard
from jettagger.decorrelation.mapcolumn import MapColumn
from jettagger.discriminants import PointColumn
from jettagger.display import Brief
from jettagger.errors import ConfigError, InputFileError, JettaggerError, UnknownName
from jettagger.files.pages import checked_classes
from jettagger.files.resuming import ResumeWarning
from jettagger.files.retrying import RETRIES, retried_text
from jettagger.provenance import Provenance, provenance_of
from jettagger.search.batch import BatchOptions
from jettagger.search.config import SearchConfig
from jettagger.search.definition import SearchWarning
from jettagger.search.executors import EXECUTORS, ChunkGuard, Progress, check_executor, coffea_schema, executor_of
from jettagger.search.files import Survey, survey
from jettagger.search.interface import EventsConfig, EventsProcessor
from jettagger.search.kept import KeptChunks
from jettagger.search.normalisation import GENERATOR_WEIGHT, Read, follow, generated_sum
from jettagger.search.normalisation import notes as normalisation_notes
from jettagger.search.theory import recorded_ratios
from jettagger.search.unopened import MetadataCheck

__all__ = ["EXECUTORS", "Processed", "SearchResult", "check_executor", "run_chunks", "run_files", "run_search"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchResult(Brief):
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


@dataclass(frozen=True)
class Processed(Brief):
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


def run_chunks(
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
    kept: KeptChunks | None = None,
    batch: BatchOptions | None = None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Run a processor of fat jets on the chunks of files.

    Parameters
    ----------
    config, inner, found, executor, workers, scheduler, skip_broken, retries, progress, kept, batch
        As for `run_files`.

    Returns
    -------
    output : dict
        Sums of ``results``, and ``retried``.
    missing : dict
        File, or part of one -> reason why it is not in the output, as far as known.

    Raises
    ------
    ConfigError, UnknownName, InputFileError, InvalidValues
        As for `run_search`.
    """
    check_executor(executor, workers, scheduler, retries, batch)
    with (
        executor_of(executor, workers, scheduler, progress, not skip_broken, retries, kept, batch) as runs_on,
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Performed attempt", UserWarning)  # coffea's
        parts = []
        packed = executor != "iterative" or kept is not None
        unopened = {info.path: info.listed for info in found.files if info.listed is not None}
        looked = MetadataCheck(unopened, skip_broken)
        for kind, files in found.filesets().items():  # a run of coffea takes files of one kind
            runner = processor.Runner(
                executor=runs_on,
                schema=coffea_schema(config.schema),
                chunksize=config.chunk_size,
                savemetrics=False,
                skipbadfiles=skip_broken,
                format=kind,
                metadata_cache=looked,
            )
            options = {"custom_classes": checked_classes()} if kind == "root" else {}
            guard = ChunkGuard(inner, config.schema, retries, packed)
            parts.append(runner(files, guard, treename=config.tree, uproot_options=options))
        output = accumulate(parts) or {"results": {}, "errors": {}, "retried": {}}
    return output, dict(found.broken) | looked.changed | _failures(output["errors"], skip_broken)


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
    kept: KeptChunks | None = None,
    batch: BatchOptions | None = None,
) -> Processed:
    """Run a processor of fat jets on files.

    Parameters
    ----------
    config : SearchConfig, or another with ``samples``, ``schema``, ``chunk_size`` and ``tree``
    inner : FatJetProcessor
        With the samples of the survey.
    found : Survey
    executor, workers, scheduler, skip_broken, retries, progress, kept, batch
        As for `run_search`.

    Returns
    -------
    Processed

    Raises
    ------
    ConfigError, UnknownName, InputFileError, InvalidValues
        As for `run_search`.
    """
    _log.info("chunks of %d files run, executor %s, %d workers", len(found.files), executor, workers)
    output, missing = run_chunks(
        config,
        inner,
        found,
        executor=executor,
        workers=workers,
        scheduler=scheduler,
        skip_broken=skip_broken,
        retries=retries,
        progress=progress,
        kept=kept,
        batch=batch,
    )
    if kept is not None and kept.unused():
        text = f"{kept.unused()} finished chunks are not used: their files have changed, moved, or are no longer read"
        warnings.warn(f"{kept.folder}: {text}", ResumeWarning, stacklevel=3)
    if not output["results"]:
        raise InputFileError("no event could be read: " + "; ".join(f"{path}: {why}" for path, why in missing.items()))
    read = _read(output["results"])
    missing |= _unread(found, read, missing)
    generated = _normalise(config, found, inner, read)
    theory = inner.search.theory if hasattr(inner, "search") and inner.generator_weight == GENERATOR_WEIGHT else {}
    for dataset in found.samples if theory else ():
        sources = [source for info in found.files if info.dataset == dataset for source in info.sources]
        inner.generated[dataset] = recorded_ratios(theory, sources)
    _log.info("all chunks are done; %d files are missing", len(missing))
    result = inner.postprocess(output["results"])
    further = _further_notes(config, found, inner, result["datasets"], generated, missing)
    again = {**found.retried, **{path: count for (path, *_), count in sorted(output["retried"].items())}}
    if again:
        count = sum(found.retried.values()) + sum(output["retried"].values())
        further.append(retried_text(count, min(again)))
    for note in further:
        warnings.warn(note, SearchWarning, stacklevel=3)
    return Processed(result, missing, (*further, *result["notes"]))


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
    kept: KeptChunks | None = None,
    batch: BatchOptions | None = None,
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
        Number of processes for ``futures`` and for a local dask cluster, of jobs for ``condor`` and ``slurm``.
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
        Called with the number of events after each chunk.
    kept : KeptChunks, optional
        Where the results of finished chunks are kept, so that an interrupted run can go on (`kept_chunks`).
    batch : BatchOptions, optional
        What each job asks for, for the executors ``condor`` and ``slurm``.
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
    check_executor(executor, workers, scheduler, retries, batch)
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
        kept=kept,
        batch=batch,
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
    maps: dict[str, Any] = {"maps": used} if used else {}
    points = {
        name: {"digest": item.derived.digest, "name": item.point.name}
        for name, item in inner.search.discriminants.items()
        if isinstance(item, PointColumn)
    }
    maps |= {"working_points": points} if points else {}
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
    corrected = {name: item.to_dict() for name, item in inner.search.corrections.items()}
    maps |= {"corrections": corrected} if corrected else {}
    energy = inner.search.jet_energy
    maps |= {} if energy is None else {"jet_energy": energy.record()}
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
