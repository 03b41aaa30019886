"""Damaged copies of files: single bits, and where in a file the data of chosen columns lie.

The functions do not know what reads the files; ``tests/test_damage.py`` and ``benchmarks/attack.py`` count what is
noticed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

__all__ = ["basket_ranges", "chunk_ranges", "flip", "flipped_copies", "page_ranges"]

#: first and last byte (exclusive) of pieces of a file
Ranges = Sequence[tuple[int, int]]


def flip(path: str | os.PathLike[str], rng: np.random.Generator, ranges: Ranges | None = None) -> tuple[int, int]:
    """Turn one random bit of a file over, in place.

    Parameters
    ----------
    path : path
    rng : numpy.random.Generator
    ranges : sequence of (int, int)
        Pieces of the file that count, each byte alike; default: the whole file.

    Returns
    -------
    int, int
        The byte and its bit.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a"
    >>> _ = path.write_bytes(bytes(8))
    >>> place, bit = flip(path, np.random.default_rng(1), [(2, 4)])
    >>> 2 <= place < 4, sum(path.read_bytes()) == 1 << bit
    (True, True)
    """
    pieces = [(0, Path(path).stat().st_size)] if ranges is None else list(ranges)
    sizes = np.array([stop - start for start, stop in pieces])
    number = int(rng.integers(sizes.sum()))
    piece = int(np.searchsorted(np.cumsum(sizes), number, side="right"))
    place = pieces[piece][0] + number - int(sizes[:piece].sum())
    bit = int(rng.integers(8))
    with open(path, "r+b") as file:
        file.seek(place)
        value = file.read(1)[0]
        file.seek(place)
        file.write(bytes([value ^ (1 << bit)]))
    return place, bit


def flipped_copies(
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    number: int,
    ranges: Ranges | None = None,
    seed: int = 0,
) -> Iterator[Path]:
    """Copies of a file with one bit turned over, one at a time under the same name.

    Parameters
    ----------
    path : path
    folder : path
        Where the copy lies; the last one is left there.
    number : int
    ranges : sequence of (int, int)
        See `flip`.
    seed : int

    Yields
    ------
    pathlib.Path
    """
    rng = np.random.default_rng(seed)
    target = Path(folder) / Path(path).name
    for _ in range(number):
        target.unlink(missing_ok=True)  # a new inode: what has the old copy open, or mapped, keeps it
        shutil.copy(path, target)
        flip(target, rng, ranges)
        yield target


def basket_ranges(path: str | os.PathLike[str], branches: Iterable[str], tree: str = "Events") -> list[tuple[int, int]]:
    """Where the baskets of branches of a TTree lie, with their headers.

    Parameters
    ----------
    path : path
    branches : iterable of str
    tree : str

    Returns
    -------
    list of (int, int)
    """
    import uproot

    found = []
    with uproot.open(path) as file:
        for name in branches:
            branch = file[tree][name]
            for number in range(branch.num_baskets):
                start = int(branch.member("fBasketSeek")[number])
                found.append((start, start + int(branch.member("fBasketBytes")[number])))
    return found


def page_ranges(path: str | os.PathLike[str], fields: Iterable[str], tree: str = "Events") -> list[tuple[int, int]]:
    """Where the pages of fields of an RNTuple lie, those of their subfields included.

    Parameters
    ----------
    path : path
    fields : iterable of str
        Top-level fields.
    tree : str

    Returns
    -------
    list of (int, int)
    """
    import uproot

    with uproot.open(path) as file:
        ntuple = file[tree].ntuple
        records = ntuple.field_records
        wanted = set(fields)

        def top(number: int) -> str:
            while records[number].parent_field_id != number:
                number = records[number].parent_field_id
            return str(records[number].field_name)

        columns = [number for number, column in enumerate(ntuple.column_records) if top(column.field_id) in wanted]
        for alias in ntuple.alias_column_records:  # ROOT's importer projects lists of several columns
            if top(alias.field_id) in wanted:
                columns.append(int(alias.physical_id))
        return [
            (int(page.locator.offset), int(page.locator.offset + page.locator.num_bytes))
            for cluster in ntuple.page_link_list
            for column in columns
            if column < len(cluster)
            for page in cluster[column].pages
        ]


def chunk_ranges(path: str | os.PathLike[str], columns: Iterable[str]) -> list[tuple[int, int]]:
    """Where the column chunks of a parquet file lie.

    Parameters
    ----------
    path : path
    columns : iterable of str
        Top-level columns.

    Returns
    -------
    list of (int, int)
    """
    import pyarrow.parquet

    wanted = set(columns)
    metadata = pyarrow.parquet.read_metadata(path)
    found = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for position in range(group.num_columns):
            column = group.column(position)
            if column.path_in_schema.partition(".")[0] in wanted:
                start = column.dictionary_page_offset or column.data_page_offset
                found.append((start, start + column.total_compressed_size))
    return found
