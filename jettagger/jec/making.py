"""Training sets from files of events: two passes at constant memory, shards and ``data.yaml``, complete or absent."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from jettagger.arguments import guard, in_range
from jettagger.errors import InputFileError, MismatchError
from jettagger.files import check_folder, complete_or_absent, folder_complete_or_absent, refuse_repeats
from jettagger.files.jsonfile import parse_json
from jettagger.files.root import EventFile, iterate
from jettagger.jec.maker import JetCounts, ShardMaker
from jettagger.jec.rows import RawJets
from jettagger.jec.sampling import Acceptance, JetSpectrum, Sampling, acceptance_of
from jettagger.jec.shards import DATA, write_data, write_shard
from jettagger.provenance import KEY, Provenance

__all__ = [
    "DATA",
    "EVENTS_PER_SHARD",
    "RECORD",
    "SHARDS",
    "finish",
    "make_training_set",
    "provenance_of_set",
    "spectrum_of_files",
    "write_jets",
]

#: events of a shard, and of a step of the passes
EVENTS_PER_SHARD = 3_000

#: folder of the shards and file with counts and settings, beside ``data.yaml``
SHARDS, RECORD = "shards", "training_set.json"

Progress = Callable[[int], None]


def spectrum_of_files(
    files: Iterable[str | os.PathLike[str]],
    maker: ShardMaker,
    sampling: Sampling,
    *,
    step: int = 10 * EVENTS_PER_SHARD,
    progress: Progress | None = None,
) -> JetSpectrum:
    """The first pass: numbers of matched jets in the bins of a down-sampling; constituents are not read.

    Parameters
    ----------
    files : iterable of path
    maker : ShardMaker
    sampling : Sampling
    step : int
        Events that are read at a time.
    progress : callable, optional
        Called with the number of events of each step.

    Returns
    -------
    JetSpectrum

    Raises
    ------
    MissingColumns, InputFileError
        As for `ShardMaker.plan`.
    """
    found = []
    for path in files:
        with EventFile(path) as file:
            plan = maker.plan(file, os.fspath(path))
            for _, events in iterate(file, plan.more, step):
                found.append(maker.matched(events, plan).spectrum(sampling))
                found = [reduce(add, found)]
                if progress is not None:
                    progress(len(events))
    if not found:
        raise InputFileError("no events: expected files with simulated events")
    return found[0]


def write_jets(folder: Path, name: str, jets: RawJets, note: str) -> str | None:
    """Write the jets of a chunk of events as a shard.

    Parameters
    ----------
    folder : pathlib.Path
        Of the training set.
    name : str
        Of the shard, without folder and suffix.
    jets : RawJets
    note : str
        Provenance.

    Returns
    -------
    str or None
        Path relative to the folder; None if there are no jets, and so no shard.
    """
    if not len(jets):
        return None
    (folder / SHARDS).mkdir(parents=True, exist_ok=True)
    path = f"{SHARDS}/{name}.root"
    write_shard(folder / path, jets, force=True, note=note)
    return path


def finish(
    folder: Path,
    shards: dict[str, int],
    counts: JetCounts,
    maker: ShardMaker,
    acceptance: Acceptance | None,
    files: Iterable[str],
) -> None:
    """Write ``data.yaml`` and the record of a training set of which all shards are complete.

    Parameters
    ----------
    folder : pathlib.Path
    shards : dict of str to int
        Path relative to the folder -> number of jets, in order.
    counts : JetCounts
    maker : ShardMaker
    acceptance : Acceptance or None
    files : iterable of str
        Files that were read.

    Raises
    ------
    MismatchError
        If there are no jets.
    """
    if not shards:
        raise MismatchError(
            f"the training set has no jets: of {counts.jets} jets in {counts.events} events {counts.not_selected} are "
            f"not selected, {counts.pileup} have no generator jet, {counts.partial} lack constituents, and "
            f"{counts.sampled_out} were left out by the down-sampling"
        )
    record = {
        "jets": counts.to_dict(),
        "settings": dataclasses.asdict(maker),
        "sampling": None if acceptance is None else acceptance.to_dict(),
        KEY: provenance_of_set(maker, files).to_dict(),
    }
    with complete_or_absent(folder / RECORD) as part:
        part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    write_data(folder, shards, force=True)


def provenance_of_set(maker: ShardMaker, files: Iterable[str]) -> Provenance:
    """The record of a training set, or of a shard.

    Parameters
    ----------
    maker : ShardMaker
    files : iterable of str
        Files that were read.

    Returns
    -------
    Provenance
    """
    settings = parse_json(json.dumps(dataclasses.asdict(maker)), "settings")
    return Provenance("jec inputs", where=maker.where, files=tuple(files), configuration=settings)


def make_training_set(
    files: Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    maker: ShardMaker | None = None,
    sampling: Sampling | None = None,
    *,
    events_per_shard: int = EVENTS_PER_SHARD,
    force: bool = False,
    progress: Progress | None = None,
) -> JetCounts:
    """Write the jets of files of simulated events as a training set.

    Parameters
    ----------
    files : iterable of path
        PFNano with generator jets.
    output : path
        Folder to write: ``data.yaml``, ``shards/`` and ``training_set.json`` with counts and settings.
    maker : ShardMaker, optional
        Default: AK4 jets with all branches that PFNano has.
    sampling : Sampling, optional
        Down-sampling; files are then read twice, the first time without constituents.
    events_per_shard : int
        Events that are read at a time; their jets are one shard.
    force : bool
        Whether an existing training set is replaced.
    progress : callable, optional
        Called with the number of events of each step.

    Returns
    -------
    JetCounts

    Raises
    ------
    MissingColumns
        Lists all missing columns.
    MismatchError
        If a file is given twice, or no jet is left.
    OutputError
        If the folder exists already, or cannot be written; nothing is left in this case.
    """
    maker = ShardMaker() if maker is None else maker
    in_range(events_per_shard, "argument events_per_shard", 1)
    paths = [os.fspath(path) for path in files]
    refuse_repeats(paths)
    check_folder(output, marker=DATA, force=force, inputs=paths)
    acceptance = None
    if sampling is not None:
        acceptance = acceptance_of(spectrum_of_files(paths, maker, sampling, progress=progress))
    shards: dict[str, int] = {}
    counts = JetCounts()
    with folder_complete_or_absent(output, marker=DATA, force=force) as folder:
        for path, jets, more in _chunks(paths, maker, acceptance, events_per_shard):
            counts += more
            note = provenance_of_set(maker, [path]).text
            written = write_jets(folder, f"{len(shards) + 1}", jets, note)
            if written is not None:
                shards[written] = len(jets)
            if progress is not None:
                progress(more.events)
        finish(folder, shards, counts, maker, acceptance, paths)
    return counts


def _chunks(
    paths: list[str], maker: ShardMaker, acceptance: Acceptance | None, size: int
) -> Iterator[tuple[str, RawJets, JetCounts]]:
    for path in paths:
        with EventFile(path) as file:
            plan: Any = maker.plan(file, path)
            for _, events in iterate(file, plan.columns, size):
                yield path, *maker.made(events, acceptance)


guard(globals())
