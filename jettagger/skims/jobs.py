"""Common parts of tagging jobs: output columns, comparison of files with the first, chunks within a memory budget."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from jettagger.display import Brief, briefly
from jettagger.errors import ConfigError, InputFileError, MissingColumns
from jettagger.files import identity, refuse_repeats
from jettagger.files.generated import GeneratedFile
from jettagger.files.retrying import RETRIES, check_retries, retried, warn_retried
from jettagger.tagging.tagger import Tagger

__all__ = ["MOST_ROWS", "Chunk", "Content", "JobFiles", "Layout", "chunk_rows", "output_columns", "survey"]

#: bytes in memory per byte of input columns: decoded, selected, being processed, and the next chunk while compressed
OVERHEAD = 6

#: maximum number of rows: jets are scored in batches anyway, and reading should overlap with scoring
MOST_ROWS = 5_000


@dataclass(frozen=True)
class Chunk(Brief):
    """A range of events, or of jets, in one file."""

    path: str
    start: int
    stop: int


@briefly
class Layout(NamedTuple):
    """The columns that a job reads from a file and copies; the same for all files of a job.

    Parameters
    ----------
    collection : str
        The collection of jets; empty for files with one row per jet.
    inputs : tuple of str
        Columns to read.
    keep : tuple of str
        Flat names of the columns to copy.
    needed : tuple of str
        Those of ``inputs`` that the model and its heads need; empty: all.
    """

    collection: str
    inputs: tuple[str, ...]
    keep: tuple[str, ...]
    needed: tuple[str, ...] = ()


@briefly
class Content(NamedTuple):
    """The content of a file.

    Parameters
    ----------
    layout : Layout
    rows : int
        Number of events or jets.
    size : int
        Maximum number of them per chunk.
    edges : int array
        Preferred ends of chunks: row numbers at which blocks of compressed data begin.
    sources : tuple of GeneratedFile
        The generated events of the file, see `jettagger.files.generated`; empty if it does not record them.
    """

    layout: Layout
    rows: int

    size: int
    edges: Any = ()
    sources: tuple[GeneratedFile, ...] = ()

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The first row of each chunk, and the row after its last; an empty file is one empty chunk."""
        edges = np.asarray(self.edges, dtype=np.int64)
        start = 0
        while start < self.rows or start == 0:
            stop = min(start + self.size, self.rows)
            near = edges[(edges > start) & (edges <= stop)]
            if len(near) and stop < self.rows:
                stop = int(near[-1])
            yield start, stop
            start = max(stop, 1)


@briefly
class JobFiles(NamedTuple):
    """The files of a job: their common layout, their chunks, and the skipped ones with the reason.


    ``sources`` are the generated events of the files that are read; empty if one of them does not record them.
    """

    layout: Layout
    chunks: tuple[Chunk, ...]
    skipped: Mapping[str, str]
    sources: tuple[GeneratedFile, ...] = ()


def output_columns(tagger: Tagger, columns: Iterable[str], prefix: str | None, workers: int) -> dict[str, str]:
    """Output -> column of a job; see `Tagger.column_names`.

    Raises
    ------
    ConfigError
        If nothing would be written, or the number of workers is zero.
    UnknownName
    """
    if workers < 1:
        raise ConfigError(f"workers must be at least 1, got {workers}")
    return tagger.column_names(columns, prefix)


def chunk_rows(bytes_per_row: float, budget: int, most: int = MOST_ROWS) -> int:
    """Number of rows of a chunk within a budget of bytes.

    Parameters
    ----------
    bytes_per_row : float
        Bytes in memory of the columns to read, per row.
    budget : int
    most : int
        Maximum number of rows.

    Returns
    -------
    int
        At least 1.

    Examples
    --------
    >>> chunk_rows(5_000, 50_000_000), chunk_rows(5_000, 1), chunk_rows(1, 50_000_000)
    (1666, 1, 5000)
    """
    return int(max(1, min(budget / (OVERHEAD * max(bytes_per_row, 1)), most)))


def survey(
    paths: Iterable[str],
    examine: Callable[[str], Content],
    *,
    skip_broken: bool,
    skipped: Mapping[str, str] | None = None,
    retries: int = RETRIES,
) -> JobFiles:
    """Inspect all files, compare them with the first, and divide them into chunks.

    Parameters
    ----------
    paths : iterable of str
    examine : callable
        Returns the content of a file.
    skip_broken : bool
        Skip unreadable files, and list them in the result; otherwise they are an error.
    skipped : mapping, optional
        Files that were skipped before -> reason.
    retries : int
        How often a file is opened again after a transient error.

    Returns
    -------
    JobFiles

    Raises
    ------
    InputFileError
        For an unreadable file, or if none can be read.
    MissingColumns
        If a file has another layout than the first.
    MismatchError
        If a file is given twice.
    ConfigError
        If no files are given.
    """
    check_retries(retries)
    paths = list(paths)
    again: dict[str, int] = {}
    read: dict[Hashable, str] = {}
    first: Layout | None = None
    chunks: list[Chunk] = []
    left_out = dict(skipped or {})
    sources: list[GeneratedFile] = []
    silent = False
    for path in paths:
        key = identity(path)
        if key in read:
            refuse_repeats([read[key], path])
        try:
            content, again[path] = retried(partial(examine, path), path, retries)
        except InputFileError as error:
            if not skip_broken:
                raise
            left_out[path] = str(error)
            continue
        read[key] = path
        first = first or content.layout
        if content.layout != first:
            raise MissingColumns(_difference(path, content.layout, first))
        chunks += [Chunk(path, start, stop) for start, stop in content.ranges()]
        sources += content.sources
        silent = silent or not content.sources
    if first is None:
        number = len(paths) + len(skipped or {})
        if not number:
            raise ConfigError("no input files")
        raise InputFileError(f"none of the {number} files can be read: {'; '.join(left_out.values())}")
    warn_retried(sum(again.values()), next((path for path, count in again.items() if count), ""))
    return JobFiles(first, tuple(chunks), left_out, () if silent else tuple(sources))


def _difference(path: str, layout: Layout, first: Layout) -> str:
    here, there = ({found.collection, *found.inputs, *found.keep} for found in (layout, first))
    return (
        f"{path} differs from the first file: it lacks {', '.join(sorted(there - here)) or 'nothing'} and also has "
        f"{', '.join(sorted(here - there)) or 'nothing'}; tag such files separately"
    )
