"""Normalisation of simulation: sums of generator weights of the generated events behind the histograms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from jettagger.display import Brief
from jettagger.errors import InputFileError, MismatchError, reason_of
from jettagger.files.generated import RUNS, GeneratedFile
from jettagger.files.parquet import open_parquet
from jettagger.files.root import EventFile
from jettagger.search.definition import EVENTS_READ, Sample

if TYPE_CHECKING:
    from jettagger.search.config import FileSet
    from jettagger.search.files import FileInfo

__all__ = ["GENERATOR_WEIGHT", "Read", "cross_section", "follow", "generated_sum", "normalise"]

#: relative tolerances of two sums for rounding, also of numbers with few digits
ROUNDING = 1e-3

#: the column of the weights summed in ``Runs``
GENERATOR_WEIGHT = "genWeight"


@dataclass(frozen=True)
class Read(Brief):
    """What was read of a file: number of events, and sum of their generator weights."""

    events: int = 0
    weights: float = 0.0


def _weight(source: GeneratedFile, column: str | None) -> float:
    """Sum over all generated events of a source; without a column of weights each counts 1."""
    if column is not None:
        return source.sum_of_weights
    if source.count is None:
        raise InputFileError(
            f"{source.file}: its tree {RUNS!r} has the sum of generator weights but no number of generated events, "
            "which 'generator_weight: null' needs"
        )
    return float(source.count)


def _distinct(infos: Iterable[FileInfo]) -> list[GeneratedFile]:
    """Sources without repetition, although parts of a source may be in several skims."""
    return list({source.file: source for info in infos for source in info.sources}.values())


def generated_sum(infos: Sequence[FileInfo], column: str | None) -> float | None:
    """The sum of generator weights of all generated events of files.

    Parameters
    ----------
    infos : sequence of FileInfo
    column : str, optional
        Column of the generator weights; None: each event counts 1.

    Returns
    -------
    float or None
        None unless all of the files record it.
    """
    if not infos or not all(info.sources for info in infos):
        return None
    return math.fsum(_weight(source, column) for source in _distinct(infos))


def normalise(
    dataset: str, sample: Sample, files: FileSet, infos: Sequence[FileInfo], column: str | None, broken: Sequence[str]
) -> Sample:
    """Determine the sum of weights of a sample, before any event is read.

    Parameters
    ----------
    dataset : str
    sample : Sample
    files : FileSet
        The files in the configuration.
    infos : sequence of FileInfo
        The files that can be opened.
    column : str, optional
        Column of the generator weights; None: each event counts 1.
    broken : sequence of str
        The skipped files.

    Returns
    -------
    Sample
        With the sum in ``Runs`` and the cross section in ``Runs``, if these are used.

    Raises
    ------
    InputFileError
        If a requested value is not in all files, or includes skipped files.
    MismatchError
        If two of the files contain the same events.
    """
    if sample.data:
        return sample
    _check_twice(dataset, infos)
    if files.section_from_runs:
        sample = replace(sample, cross_section=cross_section(dataset, infos))
    if isinstance(sample.sum_of_weights, float) and broken:
        raise InputFileError(
            f"dataset {dataset!r}: sum_of_weights is {sample.sum_of_weights:g} for all files, but {broken[0]} is left "
            f"out and its share of that is not known: give the sum for the other files, or 'sum_of_weights: {RUNS}'"
        )
    counted = column in (None, GENERATOR_WEIGHT)
    if sample.sum_of_weights is not None or not (counted or files.from_runs):
        return sample
    lacking = [info.path for info in infos if not info.sources]
    if files.from_runs and lacking:
        raise InputFileError(f"{lacking[0]} has no sum of generator weights in a tree {RUNS!r}")
    if lacking and len(lacking) < len(infos):
        known = next(info.path for info in infos if info.sources)
        raise InputFileError(
            f"dataset {dataset!r}: {known} has the generator weights of all generated events in a tree {RUNS!r}, "
            f"{lacking[0]} does not: give a number as sum_of_weights, or 'sum_of_weights: events' if no file is a skim"
        )
    total = generated_sum(infos, column)
    if total is None:
        return sample
    if not total > 0:
        raise InputFileError(
            f"dataset {dataset!r}: the sums of generator weights in its trees {RUNS!r} add up to {total:g}, expected a "
            "number above zero; give a number as sum_of_weights"
        )
    return replace(sample, sum_of_weights=total)


def _check_twice(dataset: str, infos: Sequence[FileInfo]) -> None:
    """Refuse skims with the same events of a source."""
    ranges: dict[str, list[tuple[int, int, str]]] = {}
    for info in infos:
        for source in info.sources:
            ranges.setdefault(source.file, []).append((source.first, source.last, info.path))
    for file, spans in ranges.items():
        spans.sort()
        for (_, last, path), (first, end, other) in pairwise(spans):
            if first < min(last, end):
                raise MismatchError(
                    f"dataset {dataset!r}: events {first} to {min(last, end)} of {file} are in {path} and in {other}: "
                    "they would count twice"
                )


def cross_section(dataset: str, infos: Sequence[FileInfo]) -> float:
    """The cross section in the trees ``Runs``, as ``jettagger simulate`` writes it.

    Parameters
    ----------
    dataset : str
    infos : sequence of FileInfo

    Returns
    -------
    float
        In pb: the mean over all rows, which are estimates of the same number, weighted with their generated events.

    Raises
    ------
    InputFileError
        If a file does not contain it.
    MismatchError
        If the files contain several processes, whose cross sections differ.
    """
    needed = ("crossSection", "genEventCount")
    sources = _distinct(infos)
    if any(not info.sources for info in infos) or any(name not in item.runs for item in sources for name in needed):
        raise InputFileError(f"not all files of {dataset!r} have a cross section in a tree {RUNS!r}")
    processes = sorted({int(number) for source in sources for number in source.runs.get("genProcess", ())})
    if len(processes) > 1:
        raise MismatchError(
            f"dataset {dataset!r} holds {len(processes)} processes (genProcess {', '.join(map(str, processes))}), each "
            "with its own cross section: make a sample of each, or give cross_section in pb"
        )
    sections, counts = (np.array([x for item in sources for x in item.runs[name]], dtype=float) for name in needed)
    mean = float((sections * counts).sum() / counts.sum()) if counts.sum() > 0 else math.nan
    if not (math.isfinite(mean) and mean > 0):
        raise InputFileError(
            f"dataset {dataset!r}: the cross section in its trees {RUNS!r} is {mean}, expected a number above zero"
        )
    return mean


def follow(
    dataset: str,
    sample: Sample,
    from_runs: bool,
    infos: Sequence[FileInfo],
    read: Mapping[str, Read],
    column: str | None,
    tree: str,
) -> Sample:
    """Correct the sum of weights of a sample for parts of files that were not read.

    If a file contains all of its generated events, the weights of those read are summed. If it is a skim, the sum in
    ``Runs`` is scaled by the fraction of the generator weights of its events that was read.

    Parameters
    ----------
    dataset : str
    sample : Sample
        With the sum for all files.
    from_runs : bool
        Whether this is the sum in ``Runs``, from which skipped files are excluded already.
    infos : sequence of FileInfo
    read : mapping of str to Read
        File -> what was read of it.
    column : str, optional
        Column of the generator weights; None: each event counts 1.
    tree : str
        Name of the tree of events.

    Returns
    -------
    Sample

    Raises
    ------
    InputFileError
        If the fraction that was read cannot be determined.
    """
    if sample.data or not isinstance(sample.sum_of_weights, float):
        return sample
    if all(read.get(info.path, Read()).events == info.events for info in infos) and (
        not from_runs or all(_covered(group) for group in _groups(infos))
    ):
        return sample
    groups = _groups(infos) if from_runs else [list(infos)]
    total = math.fsum(_share(dataset, sample.sum_of_weights, from_runs, group, read, column, tree) for group in groups)
    return replace(sample, sum_of_weights=total)


def _share(
    dataset: str,
    total: float,
    from_runs: bool,
    group: Sequence[FileInfo],
    read: Mapping[str, Read],
    column: str | None,
    tree: str,
) -> float:
    """Sum of generator weights of the generated events behind the parts of files that were read."""
    mine = [read.get(info.path, Read()) for info in group]
    events, there = sum(item.events for item in mine), sum(info.events for info in group)
    weights = math.fsum(item.weights for item in mine)
    covered = not from_runs or _covered(group)
    whole = math.fsum(_weight(source, column) for source in _distinct(group)) if from_runs else total
    if covered and events == there:
        return whole
    if events == 0:
        return 0.0
    sources = _distinct(group) if from_runs else []
    inside = sum(source.last - source.first for info in group for source in info.sources)
    if sources and there == inside and all(source.count == source.events for source in sources):
        return weights
    everything = _all_weights(group, mine, column, tree) if covered else None
    if everything is None or not (everything > 0 and weights > 0):
        paths = [info.path for info, item in zip(group, mine, strict=True) if item.events < info.events]
        place = f"{there - events} of {there} events" if paths else "some chunks"
        of = sources[0].file if sources and not paths else ", ".join(paths)
        raise InputFileError(
            f"dataset {dataset!r}: {place} of {of} were not read, and which share of the generated events is behind "
            f"them is not known ({column or 'their number'} cannot be read, or does not tell): leave the file out"
        )
    return whole * weights / everything


def _all_weights(group: Sequence[FileInfo], mine: Sequence[Read], column: str | None, tree: str) -> float | None:
    """The generator weights of all events in files; None where they cannot be read."""
    found = []
    for info, item in zip(group, mine, strict=True):
        if item.events == info.events:
            found.append(item.weights)
        elif column is None:
            found.append(float(info.events))
        else:
            try:
                found.append(_column_sum(info.path, column, tree))
            except InputFileError:
                return None
    total = math.fsum(found)
    return total if math.isfinite(total) else None


def _column_sum(path: str, column: str, tree: str) -> float:
    if path.endswith(".parquet"):
        import pyarrow

        try:
            with open_parquet(path) as file:
                values = file.read(columns=[column])[column].to_numpy()
        except (OSError, KeyError, pyarrow.ArrowException) as error:
            raise InputFileError(f"{path}: {column!r} cannot be read: {reason_of(error)}") from error
        return float(values.astype(np.float64).sum())
    with EventFile(path, tree) as events:
        return float(np.asarray(events.read([column])[column], dtype=np.float64).sum())


def _groups(infos: Sequence[FileInfo]) -> list[list[FileInfo]]:
    """Groups of files that contain parts of the same sources."""
    groups: list[tuple[set[str], list[FileInfo]]] = []
    for info in infos:
        names, members = {source.file for source in info.sources}, [info]
        apart = []
        for other, others in groups:
            if names & other:
                names, members = names | other, others + members
            else:
                apart.append((other, others))
        groups = [*apart, (names, members)]
    return [members for _, members in groups]


def _covered(group: Sequence[FileInfo]) -> bool:
    """Whether the files contain all events of their sources, without overlap."""
    inside: dict[str, int] = {}
    for info in group:
        for source in info.sources:
            inside[source.file] = inside.get(source.file, 0) + source.last - source.first
    return all(inside[source.file] >= source.events for source in _distinct(group))


def notes(
    dataset: str, sample: Sample, counts: Mapping[str, Any], generated: float | None, column: str | None
) -> list[str]:
    """Notes on the sum of weights of a sample.

    Parameters
    ----------
    dataset : str
    sample : Sample
        The sample as used in the search.
    counts : mapping
        Counts of the data set from the processor.
    generated : float or None
        Sum in ``Runs`` for what was read.
    column : str, optional
        Column of the generator weights.

    Returns
    -------
    list of str
    """
    if sample.data or generated is None or column not in (None, GENERATOR_WEIGHT):
        return []
    used = float(counts["sum_of_weights"])
    if not used > 0 or abs(generated / used - 1) <= ROUNDING:
        return []
    what = "the sum over the events read" if sample.sum_of_weights in (None, EVENTS_READ) else "sum_of_weights as given"
    return [
        f"dataset {dataset!r} is divided by {used:.6g}, {what}, but its tree {RUNS!r} says {generated:.6g} for all "
        f"generated events: its yields are {generated / used:.4g} times those with 'sum_of_weights: {RUNS}'"
    ]
