"""Rows with lists of different lengths on disk in random order, e.g. jets with their constituents.

As in `jettagger.training.shards`, each row goes into one of several shards at random while the files are read once, and
an epoch shuffles the rows of two shards at a time in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from types import TracebackType

import numpy as np

from jettagger.display import Brief
from jettagger.errors import InputFileError, InvalidValues, OutputError
from jettagger.training.shards import epoch_pairs, number_of_shards
from jettagger.types import Array, Bools, Ints, Rows

__all__ = ["RaggedRows", "RaggedStore", "joined", "ragged_batches", "repeated_batches"]


@dataclass(frozen=True)
class RaggedRows(Brief):
    """Rows with numbers of their own and lists of different lengths.

    Parameters
    ----------
    numbers : float32[n, width]
        What each row has once: label, weight, features of the jet.
    counts : dict of str to int64[n]
        Name of a list -> its length in each row.
    lists : dict of str to float32[sum of counts, width]
        Name of a list -> its elements, those of one row after the other.

    Raises
    ------
    InvalidValues
        If lengths do not fit.

    Examples
    --------
    >>> rows = RaggedRows(np.zeros((2, 1), "f4"), {"pf": np.array([1, 2])}, {"pf": np.array([[1], [2], [3]], "f4")})
    >>> values, mask = rows.padded("pf")
    >>> values[..., 0].tolist(), mask.tolist()
    ([[1.0, 0.0], [2.0, 3.0]], [[True, False], [True, True]])
    """

    numbers: Rows
    counts: Mapping[str, Ints]
    lists: Mapping[str, Rows]

    def __post_init__(self) -> None:
        if set(self.counts) != set(self.lists):
            raise InvalidValues(f"counts of {', '.join(self.counts)} for lists {', '.join(self.lists)}")
        for name, counts in self.counts.items():
            if len(counts) != len(self.numbers) or (counts < 0).any() or counts.sum() != len(self.lists[name]):
                raise InvalidValues(
                    f"the list {name!r} has {len(counts)} counts with the sum {counts.sum()}, expected "
                    f"{len(self.numbers)} counts with the sum {len(self.lists[name])}"
                )

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, order: Array) -> RaggedRows:
        """Some rows in a given order, int[k]."""
        lists = {}
        for name, counts in self.counts.items():
            starts, chosen = np.cumsum(counts) - counts, counts[order]
            first = np.repeat(starts[order] - (np.cumsum(chosen) - chosen), chosen)
            lists[name] = np.take(self.lists[name], first + np.arange(len(first)), axis=0)
        return RaggedRows(self.numbers[order], {name: counts[order] for name, counts in self.counts.items()}, lists)

    def parts(self, edges: Sequence[int]) -> Iterator[RaggedRows]:
        """Consecutive rows between each two edges, which share their memory with these.

        Parameters
        ----------
        edges : sequence of int
            Rising, from 0 to the number of rows.

        Yields
        ------
        RaggedRows

        Examples
        --------
        >>> rows = RaggedRows(np.zeros((3, 1), "f4"), {"pf": np.array([1, 0, 2])}, {"pf": np.ones((3, 1), "f4")})
        >>> [len(part.lists["pf"]) for part in rows.parts([0, 2, 3])]
        [1, 2]
        """
        ends = {name: np.concatenate([[0], np.cumsum(counts)]) for name, counts in self.counts.items()}
        for first, last in pairwise(edges):
            counts = {name: values[first:last] for name, values in self.counts.items()}
            lists = {name: values[ends[name][first] : ends[name][last]] for name, values in self.lists.items()}
            yield RaggedRows(self.numbers[first:last], counts, lists)

    def padded(self, name: str, length: int | None = None) -> tuple[Rows, Bools]:
        """A list with the same number of places in each row.

        Parameters
        ----------
        name : str
        length : int, optional
            Number of places; longer lists are cut. Default: the length of the longest, at least 1.

        Returns
        -------
        values : float32[n, length, width]
            0 where the list has ended.
        mask : bool[n, length]
            Where there is an element.
        """
        counts, elements = self.counts[name], self.lists[name]
        length = max(int(counts.max(initial=0)), 1) if length is None else length
        mask: Bools = np.arange(length) < counts[:, None]
        places = (np.cumsum(counts) - counts)[:, None] + np.arange(length)
        values = np.zeros((len(self), length, elements.shape[1]), dtype=np.float32)
        values[mask] = elements[places[mask]]
        return values, mask


def joined(parts: Iterable[RaggedRows]) -> RaggedRows:
    """Rows one after the other.

    Parameters
    ----------
    parts : iterable of RaggedRows
        At least one, with the same lists.

    Returns
    -------
    RaggedRows
    """
    found = list(parts)
    if len(found) == 1:
        return found[0]
    names = found[0].counts
    return RaggedRows(
        np.concatenate([part.numbers for part in found]),
        {name: np.concatenate([part.counts[name] for part in found]) for name in names},
        {name: np.concatenate([part.lists[name] for part in found]) for name in names},
    )


def _size(rows: RaggedRows) -> int:
    counts, lists = rows.counts.values(), rows.lists.values()
    return rows.numbers.nbytes + sum(each.nbytes for each in counts) + sum(each.nbytes for each in lists)


#: part of the memory in which rows wait until they are written
_WAITING = 16


class RaggedStore(Brief):
    """Rows with lists in shards on disk.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the shards; it must exist.
    width : int
        Number of values that each row has once.
    lists : mapping of str to int
        Name of a list -> number of values of each of its elements.
    size : int
        Expected size of all rows in bytes, which determines the number of shards.
    memory : int
        Memory in bytes for the rows being processed.
    seed : int

    Examples
    --------
    >>> import tempfile
    >>> rows = RaggedRows(np.zeros((2, 1), "f4"), {"pf": np.array([1, 2])}, {"pf": np.array([[1], [2], [3]], "f4")})
    >>> with RaggedStore(Path(tempfile.mkdtemp()), 1, {"pf": 1}, size=100, memory=10**6, seed=1) as store:
    ...     store.add(rows)
    >>> [batch.lists["pf"].sum() for batch in ragged_batches(store.epoch(np.random.default_rng(0)), 2)]
    [np.float32(6.0)]
    """

    def __init__(self, folder: Path, width: int, lists: Mapping[str, int], size: int, memory: int, seed: int) -> None:
        self.folder, self.width, self.widths = folder, width, dict(lists)
        self.shards = number_of_shards(size, memory)
        self.rows = 0
        self._random = np.random.default_rng([seed, 7])
        self._waiting: list[RaggedRows] = []
        self._room = max(memory // _WAITING, 1)

    @classmethod
    def reopened(cls, folder: Path, width: int, lists: Mapping[str, int], shards: int, rows: int) -> RaggedStore:
        """A store whose rows were written before.

        Parameters
        ----------
        folder : pathlib.Path
        width, lists
            As when it was written.
        shards, rows : int
            Their numbers.

        Returns
        -------
        RaggedStore

        Raises
        ------
        InputFileError
            If the folder does not hold that many rows.
        """
        store = cls(folder, width, lists, 0, 1, 0)
        store.shards, store.rows = shards, rows
        paths = [store._path(number, "numbers") for number in range(shards)]
        size = sum(path.stat().st_size for path in paths if path.is_file())
        if size != 4 * width * rows or not all(path.is_file() for path in paths):
            raise InputFileError(f"{folder} has {size} bytes of rows, expected {4 * width * rows}: remove the folder")
        return store

    def __enter__(self) -> RaggedStore:
        for number in range(self.shards):
            for part in self._parts:
                self._path(number, part).write_bytes(b"")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._flush()
        self._waiting = []

    @property
    def _parts(self) -> list[str]:
        return ["numbers", *(f"{front}{place}" for place in range(len(self.widths)) for front in ("counts", "list"))]

    def _path(self, number: int, part: str) -> Path:
        return self.folder / f"shard{number:03d}-{part}.bin"

    def add(self, rows: RaggedRows) -> None:
        """Distribute rows over the shards.

        Raises
        ------
        InvalidValues
            If they have other lists or widths than the store.
        OutputError
            If the disk is full.
        """
        widths = {name: values.shape[1] for name, values in rows.lists.items()}
        if (rows.numbers.shape[1], widths) != (self.width, self.widths):
            raise InvalidValues(
                f"rows with {rows.numbers.shape[1]} numbers and lists {widths}, expected {self.width} and {self.widths}"
            )
        self._waiting.append(rows)
        self.rows += len(rows)
        if sum(_size(each) for each in self._waiting) >= self._room:
            self._flush()

    def _flush(self) -> None:
        """Write the rows that were added; small pieces together, since each of them would go to all shards."""
        if not self._waiting:
            return
        rows, self._waiting = joined(self._waiting), []
        shard = self._random.integers(0, self.shards, len(rows))
        order = np.argsort(shard, kind="stable")
        bounds = np.searchsorted(shard[order], np.arange(self.shards + 1))
        try:
            for number in np.flatnonzero(np.diff(bounds)):
                mine = rows.take(order[bounds[number] : bounds[number + 1]])
                self._write(int(number), "numbers", np.asarray(mine.numbers, dtype=np.float32))
                for place, name in enumerate(self.widths):
                    self._write(int(number), f"counts{place}", np.asarray(mine.counts[name], dtype=np.int64))
                    self._write(int(number), f"list{place}", np.asarray(mine.lists[name], dtype=np.float32))
        except OSError as problem:
            raise OutputError(f"cannot write the rows to {self.folder}: {problem.strerror or problem}") from problem

    def _write(self, number: int, part: str, values: Array) -> None:
        # files of all shards open at a time would be more than a process may have
        with self._path(number, part).open("ab") as file:
            file.write(np.ascontiguousarray(values).tobytes())

    def shard(self, number: int) -> RaggedRows:
        """The rows of one shard."""
        numbers = np.fromfile(self._path(number, "numbers"), dtype=np.float32).reshape(-1, self.width)
        counts, lists = {}, {}
        for place, (name, width) in enumerate(self.widths.items()):
            counts[name] = np.fromfile(self._path(number, f"counts{place}"), dtype=np.int64)
            lists[name] = np.fromfile(self._path(number, f"list{place}"), dtype=np.float32).reshape(-1, width)
        return RaggedRows(numbers, counts, lists)

    def __iter__(self) -> Iterator[RaggedRows]:
        """All shards, one after the other."""
        return (self.shard(number) for number in range(self.shards))

    def epoch(self, random: np.random.Generator) -> Iterator[RaggedRows]:
        """All rows once, in random order, which differs for each call.

        Parameters
        ----------
        random : numpy.random.Generator

        Yields
        ------
        RaggedRows
        """
        for numbers in epoch_pairs(self.shards, random):
            rows = joined(self.shard(number) for number in numbers)
            yield rows.take(random.permutation(len(rows)))


def repeated_batches(
    store: RaggedStore, size: int, random: Callable[[int], np.random.Generator], *, start: int = 0
) -> Iterator[RaggedRows]:
    """Batches of a store that is read again and again, each time in another order: an infinite sequence.

    The rest of a pass that does not fill a batch begins the next one, so that no row is left out.

    Parameters
    ----------
    store : RaggedStore
    size : int
        Rows per batch.
    random : callable
        Number of a pass, from 0 -> its random numbers.
    start : int
        Number of batches that are left out at the beginning.

    Yields
    ------
    RaggedRows

    Raises
    ------
    InvalidValues
        If the store has no rows.
    """
    if not store.rows:
        raise InvalidValues("there are no rows to train on")
    number, skipped = divmod(start * size, store.rows)

    def pieces() -> Iterator[RaggedRows]:
        skip = skipped
        for pass_ in count(number):
            for piece in store.epoch(random(pass_)):
                if skip < len(piece):
                    yield piece.take(np.arange(skip, len(piece))) if skip else piece
                skip = max(skip - len(piece), 0)

    return ragged_batches(pieces(), size)


def ragged_batches(pieces: Iterable[RaggedRows], size: int) -> Iterator[RaggedRows]:
    """Rows in full batches except for the last, independent of the lengths of the input pieces.

    Parameters
    ----------
    pieces : iterable of RaggedRows
    size : int
        Rows per batch.

    Yields
    ------
    RaggedRows
    """
    rest: RaggedRows | None = None
    for piece in pieces:
        start = 0 if rest is None else min(size - len(rest), len(piece))
        stop = start + (len(piece) - start) // size * size
        parts = piece.parts([0, *range(start, stop + 1, size)])
        first = next(parts)
        if rest is not None:
            rest = joined([rest, first])
            if len(rest) < size:
                continue
            yield rest
        yield from parts
        rest = piece.take(np.arange(stop, len(piece)))  # a copy: the piece is not kept in memory
    if rest is not None and len(rest):
        yield rest
