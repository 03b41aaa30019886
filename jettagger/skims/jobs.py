"""What all tagging jobs share: the columns they write, files compared with the first, chunks that fit a budget."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from jettagger.errors import ConfigError, InputFileError, MissingColumns
from jettagger.files import identity, refuse_repeats
from jettagger.files.generated import GeneratedFile
from jettagger.files.retrying import RETRIES, check_retries, retried, warn_retried
from jettagger.tagging.tagger import Tagger

__all__ = ["MOST_ROWS", "Chunk", "Content", "JobFiles", "Layout", "chunk_rows", "output_columns", "survey"]

#: bytes in memory per byte of input columns: decoded, selected, in work, and the next chunk with its compressed data
OVERHEAD = 6

#: jets are scored in batches anyway; larger chunks bring nothing, and reading should overlap with scoring
MOST_ROWS = 5_000


@dataclass(frozen=True)
class Chunk:
    """A range of events, or of jets, of one file."""

    path: str
    start: int
    stop: int


class Layout(NamedTuple):
    """What a job reads from a file and passes on; all files of a job must have the same.

    Parameters
    ----------
    collection : str
        The jets' collection; empty for files with one row a jet.
    inputs : tuple of str
        Columns to read.
    keep : tuple of str
        Flat names of the columns to pass on.
    needed : tuple of str
        Those of ``inputs`` that the model and its heads need; empty: all.
    """

    collection: str
    inputs: tuple[str, ...]
    keep: tuple[str, ...]
    needed: tuple[str, ...] = ()


class Content(NamedTuple):
    """What is in a file.

    Parameters
    ----------
    layout : Layout
    rows : int
        Events or jets.
    size : int
        How many of them make a chunk at most.
    edges : int array
        Where chunks end best: numbers of rows at which blocks of compressed data begin.
    sources : tuple of GeneratedFile
        The generated events behind it, see `jettagger.files.generated`; empty where it does not say.
    """

    layout: Layout
    rows: int
    size: int
    edges: Any = ()
    sources: tuple[GeneratedFile, ...] = ()

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The first row of each chunk, and the one behind its last; an empty file is one empty chunk."""
        edges = np.asarray(self.edges, dtype=np.int64)
        start = 0
        while start < self.rows or start == 0:
            stop = min(start + self.size, self.rows)
            near = edges[(edges > start) & (edges <= stop)]
            if len(near) and stop < self.rows:
                stop = int(near[-1])
            yield start, stop
            start = max(stop, 1)


class JobFiles(NamedTuple):
    """What the files of a job are: their common layout, their chunks, and the ones left out with the reason.

    ``sources`` are the generated events behind those that are not left out; empty if one of them does not say.
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
        If nothing would be written, or nobody would work.
    UnknownName
    """
    if workers < 1:
        raise ConfigError(f"workers must be at least 1, got {workers}")
    return tagger.column_names(columns, prefix)


def chunk_rows(bytes_per_row: float, budget: int, most: int = MOST_ROWS) -> int:
    """Rows of a chunk that fits a budget of bytes.

    Parameters
    ----------
    bytes_per_row : float
        Of the columns to read, in memory.
    budget : int
    most : int
        Whatever the budget.

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
    """Look into all files, compare them with the first, and cut them into chunks.

    Parameters
    ----------
    paths : iterable of str
    examine : callable
        What is in a file.
    skip_broken : bool
        Leave out files that cannot be read, and say so in the result; else they are an error.
    skipped : mapping, optional
        Files that were left out before, and why.
    retries : int
        How often a file that cannot be read for a moment is opened again.

    Returns
    -------
    JobFiles

    Raises
    ------
    InputFileError
        For a file that cannot be read, or if none can be.
    MissingColumns
        If a file has another layout than the first.
    MismatchError
        If a file is there twice.
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
        f"{path} differs from the first file: it lacks {', '.join(sorted(there - here)) or 'nothing'} and has besides "
        f"{', '.join(sorted(here - there)) or 'nothing'}; tag such files separately"
    )
