"""Files about which a fileset says enough: they are opened when their events are read, and compared then."""

from __future__ import annotations

import os
import uuid
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from jettagger.errors import InputFileError
from jettagger.search.filesets import ListedFile
from jettagger.search.normalisation import GENERATOR_WEIGHT
from jettagger.search.skims import is_parquet

__all__ = ["MetadataCheck", "check_listed", "missing_files", "well_known"]


def well_known(
    config: Any, processor: Any, wanted: Iterable[tuple[str, str, ListedFile | None]], *, verify: bool
) -> set[str]:
    """The files that do not have to be opened before the run.

    The first file of each data set with the same columns is opened, to compare these with the configuration. Skims are
    opened for their checksums.

    Parameters
    ----------
    config : SearchConfig, or another with ``samples`` and ``files``
    processor : SearchProcessor
    wanted : iterable of tuple of str, str, ListedFile or None
        Data set, file, and what a fileset says about it.
    verify : bool
        Whether all events are read in advance: then all files are opened.

    Returns
    -------
    set of str
    """
    seen: set[Hashable] = set()
    found = set()
    for dataset, path, listed in wanted:
        if verify or listed is None or listed.events is None or listed.uuid is None or is_parquet(path):
            continue
        files, sample = config.files[dataset], config.samples[dataset]
        summed = sample.sum_of_weights is None and processor.generator_weight in (None, GENERATOR_WEIGHT)
        needs_generated = not sample.data and (summed or files.from_runs or files.section_from_runs)
        if listed.skim or (listed.skim is None and processor.tagger is None):
            continue
        if needs_generated and listed.generated is None:
            continue
        if (dataset, listed.columns) in seen:
            found.add(path)
        seen.add((dataset, listed.columns))
    return found


def missing_files(wanted: Iterable[tuple[str, str, ListedFile | None]]) -> dict[str, str]:
    """Local files that a list or fileset names and that do not exist -> reason."""
    return {
        path: f"no such file: {path}, named in {listed.source}"
        for _, path, listed in wanted
        if listed is not None and "://" not in path and not os.path.exists(path)
    }


def check_listed(path: str, listed: ListedFile | None, events: int, identifier: str | None) -> None:
    """Compare an open file with what a fileset says about it.

    Parameters
    ----------
    path : str
    listed : ListedFile, optional
    events : int
        Number of its events.
    identifier : str, optional
        Its UUID; None for files without.

    Raises
    ------
    InputFileError
        If it is another file by now.
    """
    if listed is None:
        return
    for what, expected, got in (("events", listed.events, events), ("uuid", listed.uuid, identifier)):
        if expected is not None and got is not None and got != expected:
            raise InputFileError(
                f"{path} has changed since {listed.source} was made: {what} {got}, expected {expected}; make the "
                "fileset again"
            )


class MetadataCheck(dict[Any, Any]):
    """The cache of coffea's Runner for numbers of events and UUIDs, which it reads when it opens a file.

    Parameters
    ----------
    listed : mapping of str to ListedFile
        File -> what a fileset says about it.
    skip_broken : bool
        Leave out files that differ, and name them in ``changed``; otherwise they are an error.
    """

    def __init__(self, listed: Mapping[str, ListedFile], skip_broken: bool) -> None:
        super().__init__()
        self.listed = listed
        self.skip_broken = skip_broken
        self.changed: dict[str, str] = {}

    def __setitem__(self, item: Any, metadata: Any) -> None:
        path = str(item.filename)
        if path in self.listed and metadata:
            raw = metadata["uuid"]
            identifier = str(uuid.UUID(bytes=raw)) if isinstance(raw, bytes) and len(raw) == 16 else None
            try:
                check_listed(path, self.listed[path], int(metadata["numentries"]), identifier)
            except InputFileError as error:
                if not self.skip_broken:
                    raise
                self.changed[path] = str(error)
                metadata.clear()  # coffea leaves out files whose number of events it does not know
        super().__setitem__(item, metadata)
