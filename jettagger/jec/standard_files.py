"""The standard correction of shards: derived from them, and applied to fill the branch ``pt_full_corr``."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.errors import MissingColumns
from jettagger.files import folder_complete_or_absent, refuse_inputs, refuse_repeats
from jettagger.jec.configuration import is_remote
from jettagger.jec.estimate_files import FULL, WEIGHT, jet_files
from jettagger.jec.rows import RawJets
from jettagger.jec.shards import (
    DATA,
    TRANSFORM,
    JetFile,
    branch_names,
    jets_of_files,
    open_data,
    read_shard,
    write_data,
    write_shard,
)
from jettagger.jec.standard import STANDARD_ETA, STANDARD_PT, StandardCorrection, derive_standard
from jettagger.provenance import provenance_of

__all__ = ["derive_from_files", "fill_standard"]

#: branches that a standard correction reads
_BRANCHES = ("pt", "eta", "area", "rho", "num_pv")


def derive_from_files(
    sources: Sequence[str | os.PathLike[str]],
    *,
    start: int = 0,
    stop: int | None = None,
    weight: str = "",
    eta_edges: Sequence[float] = STANDARD_ETA,
    pt_edges: Sequence[float] = STANDARD_PT,
    min_jets: int = 100,
) -> StandardCorrection:
    """Derive a standard correction from shards.

    Parameters
    ----------
    sources : sequence of path
        Locations with ``data.yaml``, or shards.
    start, stop : int
        Range of the files of each location.
    weight : str
        Branch with weights; default: ``weight`` if there is one.
    eta_edges, pt_edges, min_jets
        As for :func:`jettagger.jec.derive_standard`.

    Returns
    -------
    StandardCorrection

    Raises
    ------
    MissingColumns
        Gives all missing branches.
    """
    refuse_repeats(sources)
    files = [file for source in sources for file in jet_files(source, start, stop)]
    weight = weight or (WEIGHT if files and WEIGHT in branch_names(files[0]) else "")
    names = [*_BRANCHES, "pt_gen", *([weight] if weight else [])]
    pieces: dict[str, list[Any]] = {name: [] for name in names}
    for _, _, jets in jets_of_files(files, {"global": names}):
        for name in names:
            pieces[name].append(jets.columns[name])
    columns = {name: np.concatenate(arrays).astype(np.float64) for name, arrays in pieces.items()}
    return derive_standard(
        *(columns[name] for name in (*_BRANCHES, "pt_gen")),
        weight=columns[weight] if weight else None,
        eta_edges=np.asarray(eta_edges, dtype=np.float64),
        pt_edges=np.asarray(pt_edges, dtype=np.float64),
        min_jets=min_jets,
    )


def fill_standard(
    correction: StandardCorrection,
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    force: bool = False,
) -> int:
    """Copy a location of shards, with the pt after a standard correction in the branch ``pt_full_corr``.

    Parameters
    ----------
    correction : StandardCorrection
    source : path
        Folder or URL with ``data.yaml``; its ``transform.yaml`` is copied if there is one.
    output : path
        Folder to write: complete or not there.
    force : bool
        Replace an existing folder of shards.

    Returns
    -------
    int
        Number of jets.

    Raises
    ------
    MissingColumns
        Gives all missing branches.
    OutputError
        If the folder exists, is the input, or cannot be written.
    """
    location = os.fspath(source)
    data = open_data(location)
    if not is_remote(location):
        refuse_inputs(output, [*(file.path for file in data.files), os.path.join(location, DATA)])
    names = _names([file.path for file in data.files])
    note = provenance_of(None, {}, None, [file.path for file in data.files], step="jec standard").text
    counts: dict[str, int] = {}
    with folder_complete_or_absent(output, marker=DATA, force=force) as folder:
        for file, name in zip(data.files, names, strict=True):
            jets = _filled(correction, file)
            path = Path(folder) / name
            path.parent.mkdir(exist_ok=True)
            write_shard(path, jets, note=note)
            counts[name] = len(jets)
        write_data(folder, counts)
        transform = Path(location) / TRANSFORM
        if not is_remote(location) and transform.is_file():
            (Path(folder) / TRANSFORM).write_bytes(transform.read_bytes())
    return sum(counts.values())


def _names(paths: Sequence[str]) -> list[str]:
    """Names of the copies: those of the files, or their positions if several have the same."""
    bases = [posixpath.basename(path.replace(os.sep, "/")) for path in paths]
    if len(set(bases)) < len(bases):
        bases = [f"{number}.root" for number in range(1, len(paths) + 1)]
    return [f"shards/{name}" for name in bases]


def _filled(correction: StandardCorrection, file: JetFile) -> RawJets:
    names = branch_names(file)
    missing = [name for name in _BRANCHES if name not in names]
    if missing:
        raise MissingColumns(f"{file.path}: a standard correction needs the branches {', '.join(missing)}")
    blocks = sorted(name.removesuffix("_size") for name in names if name.endswith("_size"))
    branches: dict[str, list[str]] = {"global": [], **{block: [] for block in blocks}}
    for name in sorted(names):
        owner = next((block for block in blocks if name.startswith(f"{block}_")), "global")
        if not name.endswith("_size"):
            branches[owner].append(name)
    jets = read_shard(file, branches)
    columns = dict(jets.columns)
    corrected = columns["pt"] * correction.factor(*(columns[name] for name in _BRANCHES))
    columns[FULL] = np.asarray(corrected, dtype=np.float32)
    return RawJets(columns, jets.counts)


guard(globals())
