"""Rows on disk in random order: shuffling of files of any size in constant memory.

Each row is assigned to one of several shards at random while the files are read once. An epoch then goes through the
shards in random order, two at a time, and shuffles the rows of each pair in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np

from jettagger.display import Brief
from jettagger.errors import OutputError
from jettagger.types import Rows

__all__ = ["Store", "epoch_pairs", "full_batches", "number_of_shards"]

#: number of shards in memory at a time, including intermediate copies
_AT_ONCE, _COPIES = 2, 4

_MOST_SHARDS = 500


def number_of_shards(size: int, memory: int) -> int:
    """The number of shards of which those in memory fit there.

    Parameters
    ----------
    size, memory : int
        All rows, and the memory for them, in bytes.

    Returns
    -------
    int
    """
    return int(min(max(1, -(-size * _AT_ONCE * _COPIES // memory)), _MOST_SHARDS))


def epoch_pairs(shards: int, random: np.random.Generator) -> Iterator[list[int]]:
    """All shards in random order, as many at a time as are in memory.

    Parameters
    ----------
    shards : int
    random : numpy.random.Generator

    Yields
    ------
    list of int
    """
    order = [int(number) for number in random.permutation(shards)]
    for start in range(0, shards, _AT_ONCE):
        yield order[start : start + _AT_ONCE]


class Store(Brief):
    """Rows of float32 in shards.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the shards; it must exist.
    width : int
        Number of values per row.
    rows : int
        Expected number of rows, which determines the number of shards.
    memory : int
        Memory in bytes for the rows being processed.
    seed : int

    Examples
    --------
    >>> import tempfile
    >>> with Store(Path(tempfile.mkdtemp()), 2, rows=10, memory=10**6, seed=1) as store:
    ...     store.add(np.arange(20, dtype="f4").reshape(10, 2))
    >>> sum(len(rows) for rows in store.epoch(np.random.default_rng(0)))
    10
    """

    def __init__(self, folder: Path, width: int, rows: int, memory: int, seed: int) -> None:
        self.width = width
        self.shards = number_of_shards(4 * width * max(rows, 1), memory)
        self.rows = 0
        self.folder = folder
        self._random = np.random.default_rng([seed, 7])
        self._paths = [folder / f"shard{number:03d}.bin" for number in range(self.shards)]
        self._files: list[IO[bytes]] = []
        self._cache: dict[int, Rows] = {}

    def __enter__(self) -> Store:
        self._files = [path.open("wb") for path in self._paths]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()
        self._files = []

    def add(self, rows: Rows) -> None:
        """Distribute rows, float32[n, width], over the shards.

        Raises
        ------
        OutputError
            If the disk is full.
        """
        shard = self._random.integers(0, self.shards, len(rows))
        order = np.argsort(shard, kind="stable")
        bounds = np.searchsorted(shard[order], np.arange(self.shards + 1))
        sorted_ = np.ascontiguousarray(rows[order], dtype=np.float32)
        try:
            for number in np.flatnonzero(np.diff(bounds)):
                self._files[number].write(sorted_[bounds[number] : bounds[number + 1]].tobytes())
        except OSError as problem:
            raise OutputError(f"cannot write the rows to {self.folder}: {problem.strerror or problem}") from problem
        self.rows += len(rows)

    def shard(self, number: int) -> Rows:
        """One shard, float32[n, width]; cached in memory if all of them fit."""
        if number in self._cache:
            return self._cache[number]
        rows: Rows = np.fromfile(self._paths[number], dtype=np.float32).reshape(-1, self.width)
        if self.shards == 1:
            self._cache[number] = rows
        return rows

    def update(self, function: Callable[[Rows], Rows]) -> None:
        """Replace the rows of each shard, float32[n, width], by ``function(rows)`` of the same shape.

        Raises
        ------
        OutputError
            If the disk is full.
        """
        for number, path in enumerate(self._paths):
            rows = np.ascontiguousarray(function(self.shard(number)), dtype=np.float32)
            self._cache.pop(number, None)
            try:
                rows.tofile(path)
            except OSError as problem:
                raise OutputError(f"cannot write the rows to {self.folder}: {problem.strerror or problem}") from problem

    def __iter__(self) -> Iterator[Rows]:
        """All shards, one after the other."""
        return (self.shard(number) for number in range(self.shards))

    def epoch(self, random: np.random.Generator) -> Iterator[Rows]:
        """All rows once, in random order, which differs for each call.

        Parameters
        ----------
        random : numpy.random.Generator

        Yields
        ------
        float32[n, width]
        """
        for numbers in epoch_pairs(self.shards, random):
            parts = [self.shard(number) for number in numbers]
            rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
            yield rows[random.permutation(len(rows))]


def full_batches(pieces: Iterable[Rows], size: int) -> Iterator[Rows]:
    """Rows in full batches except for the last, independent of the lengths of the input pieces.

    Parameters
    ----------
    pieces : iterable of float32[n, width]
    size : int
        Rows per batch.

    Yields
    ------
    float32[size, width]

    Examples
    --------
    >>> [len(rows) for rows in full_batches([np.zeros((5, 2), "f4"), np.zeros((4, 2), "f4")], 4)]
    [4, 4, 1]
    """
    rest: Rows | None = None
    for piece in pieces:
        start = 0
        if rest is not None and len(rest):
            start = size - len(rest)
            rest = np.concatenate([rest, piece[:start]])
            if len(rest) < size:
                continue
            yield rest
        stop = start + (len(piece) - start) // size * size
        for first in range(start, stop, size):
            yield piece[first : first + size]
        rest = piece[stop:]
    if rest is not None and len(rest):
        yield rest
