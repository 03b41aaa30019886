"""NanoAOD-like ROOT files: opened with clear errors, columns read in chunks, trees written for coffea."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import ConfigError, InputFileError, MismatchError, UnknownName, hint, reason_of
from jettagger.files import complete_or_absent, refuse_special
from jettagger.files.addresses import masked
from jettagger.files.basketsums import BasketSums, add_sums
from jettagger.files.rntuple import field_paths, is_rntuple
from jettagger.formats.columns import split
from jettagger.formats.nesting import nest
from jettagger.types import Array

__all__ = ["NOTE", "EventFile", "object_names", "read_note", "write_objects", "write_tree"]

_log = logging.getLogger(__name__)

TREE = "Events"

#: name of the object with the provenance
NOTE = "jettagger"


class EventFile(Brief):
    """An open file with a TTree or RNTuple ``Events``.

    Parameters
    ----------
    path : path or str
        Local, or any URL that uproot opens (``root://...``).
    tree : str
        Name of the tree.

    Raises
    ------
    InputFileError
        If the file is missing, truncated, not a ROOT file, or has no such tree.
    """

    def __init__(self, path: str | os.PathLike[str], tree: str = TREE) -> None:
        self.path = os.fspath(path)
        self._file, self._sums = _opened(self.path)
        names = {name.partition(";")[0] for name in self._file.keys(recursive=False)}
        if tree not in names:
            self._file.close()
            raise InputFileError(
                f"{self.path} has no tree {tree!r}{hint(tree, names)}; it holds {', '.join(sorted(names)) or 'nothing'}"
            )
        try:
            self._tree = self._file[tree]
            self.n_events = int(self._tree.num_entries)
        except Exception as error:
            self._file.close()
            raise InputFileError(
                f"{self.path}: {tree!r} cannot be read (truncated or damaged?): {reason_of(error)}"
            ) from error

        _log.info("opened %s: %d events in %s", masked(self.path), self.n_events, tree)

    def __enter__(self) -> EventFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def is_rntuple(self) -> bool:
        """Whether the events are an RNTuple; else they are a TTree."""
        return is_rntuple(self._tree)

    @property
    def uuid(self) -> str:
        """The unique identifier that a ROOT file gets when it is written."""
        return str(self._file.file.uuid)

    @cached_property
    def _paths(self) -> Mapping[str, str]:
        """Flat name of each column -> its name in uproot."""
        if is_rntuple(self._tree):
            return field_paths(self._tree)
        return {name: name for name in self._tree.keys(recursive=False)}

    @cached_property
    def names(self) -> frozenset[str]:
        """Flat names of all columns, e.g. ``FatJet_pt``, including those of records in an RNTuple (``FatJet.pt``)."""
        return frozenset(self._paths)

    @cached_property
    def collections(self) -> list[str]:
        """Names of the collections."""
        return sorted({name.partition("_")[0] for name in self.names if "_" in name})

    def fields(self, collection: str) -> list[str]:
        """Fields of a collection."""
        return sorted(name[len(collection) + 1 :] for name in self.names if name.startswith(f"{collection}_"))

    def has(self, column: str) -> bool:
        """Whether there is a column ``"Collection.field"``."""
        collection, field = split(column)
        return (f"{collection}_{field}" if field else collection) in self.names

    def read(self, columns: Iterable[str], start: int = 0, stop: int | None = None) -> Any:
        """Read some columns of a range of events.

        Parameters
        ----------
        columns : iterable of str
            ``"Collection.field"``, or plain names for one value per event.
        start, stop : int
            Range of events.

        Returns
        -------
        awkward array
            One record per event, collections nested.

        Raises
        ------
        InputFileError
            If the data are damaged; gives the file and the range.
        """
        flat = [column.replace(".", "_", 1) for column in columns]
        stop = self.n_events if stop is None else stop
        arrays = self.arrays(flat, start, stop)
        try:
            return nest(arrays)
        except MismatchError as error:
            raise InputFileError(f"{self.path}: events {start} to {stop}: {error}; the file is damaged") from error

    def arrays(self, names: Iterable[str], start: int = 0, stop: int | None = None) -> dict[str, Any]:
        """As `read`, but columns by their flat names, without collections.

        Parameters
        ----------
        names : iterable of str
        start, stop : int
            Range of events.

        Returns
        -------
        dict of str to awkward array

        Raises
        ------
        InputFileError
            If the data are damaged; gives the file and the range.
        """
        names, stop = list(names), self.n_events if stop is None else stop
        try:
            arrays = self._arrays(names, start, stop)
        except InputFileError:  # says where
            raise
        except Exception as error:
            raise InputFileError(
                f"{self.path}: events {start} to {stop} cannot be read (truncated or damaged?): {reason_of(error)}"
            ) from error
        return {name: arrays[name] for name in names}

    def _arrays(self, names: list[str], start: int, stop: int) -> Mapping[str, Any]:
        if is_rntuple(self._tree):
            # uproot's arrays() would walk through all fields of all collections, seconds for a NanoAOD
            paths = {name: self._paths.get(name, name) for name in names}
            return {name: self._tree[path].array(entry_start=start, entry_stop=stop) for name, path in paths.items()}
        self._sums.check(self._tree, names, start, stop)
        found: Mapping[str, Any] = self._tree.arrays(names, entry_start=start, entry_stop=stop, how=dict)
        return found

    def edges(self, columns: Iterable[str]) -> Array:
        """Common boundaries of the blocks of compressed data of some columns, across which no block is decoded twice.

        Parameters
        ----------
        columns : iterable of str

        Returns
        -------
        int64[n + 1]
            Indices of events, from 0 to ``n_events``.
        """
        found: set[int] = set()
        if is_rntuple(self._tree):
            found = {int(cluster.num_first_entry) for cluster in self._tree.ntuple.cluster_summaries}
        else:
            names = [column.replace(".", "_", 1) for column in columns]
            starts = [set(map(int, self._tree[name].entry_offsets)) for name in names]
            found = set.intersection(*starts) if starts else set()
        return np.array(sorted(found | {0, self.n_events}), dtype=np.int64)

    def table(self, tree: str) -> dict[str, Any]:
        """The branches of another tree of the file, e.g. of ``Runs``, as NumPy arrays; empty if it does not exist.

        Raises
        ------
        InputFileError
            If the tree cannot be read.
        """
        if tree not in {name.partition(";")[0] for name in self._file.keys(recursive=False)}:
            return {}
        try:
            found = self._file[tree]
            if not is_rntuple(found):
                self._sums.check(found, found.keys(recursive=False), 0, int(found.num_entries))
            return {name: found[name].array(library="np") for name in found.keys(recursive=False)}
        except Exception as error:
            raise InputFileError(
                f"{self.path}: {tree!r} cannot be read (truncated or damaged?): {reason_of(error)}"
            ) from error

    def verify(self) -> None:
        """Compare all baskets with the checksums written by `write_tree`, if there are any.

        Raises
        ------
        InputFileError
            If one differs.
        """
        self._sums.check_all()

    def note(self) -> str:
        """The provenance written by `write_tree`, empty if there is none; read once."""
        return self._read_note

    @cached_property
    def _read_note(self) -> str:
        return _note(self._file)

    def bytes_per_event(self, columns: Iterable[str]) -> float:
        """Uncompressed size of some columns per event, estimated from the metadata of the file."""
        if not self.n_events:
            return 0.0
        total = 0
        for column in columns:
            branch = self._tree[self._paths[column.replace(".", "_", 1)]]
            total += int(getattr(branch, "uncompressed_bytes", 0) or 0)
        return total / self.n_events


def _opened(path: str) -> tuple[Any, BasketSums]:
    """A ROOT file and its checksums."""
    import uproot

    from jettagger.files.pages import checked_classes

    refuse_special(path)
    if "://" not in path:
        if not os.path.exists(path):
            raise InputFileError(f"no such file: {path}")
        if Path(path).is_dir():
            raise InputFileError(f"{path} is a folder, expected a ROOT file")
    file = None
    try:
        # no cache of arrays: each range is read once
        file = uproot.open(path, array_cache=None, custom_classes=checked_classes())
        return file, BasketSums(file)
    except InputFileError:
        if file is not None:
            file.close()
        raise
    except Exception as error:  # uproot's errors for damaged files have no common base
        raise unreadable(path, error) from error


#: first bytes of a ROOT file
_MAGIC = b"root"


def unreadable(path: str, error: Exception) -> InputFileError:
    """The error for a file that cannot be opened: by its first bytes, or what a library says.

    Parameters
    ----------
    path : str
    error : Exception
        Of uproot.

    Returns
    -------
    InputFileError
    """
    got, expected, reason = None, "a ROOT file", reason_of(error).rstrip(",")
    if "://" not in path:
        with suppress(OSError), Path(path).open("rb") as file:
            begin = file.read(len(_MAGIC))
            if begin != _MAGIC:
                got, expected = f"{begin!r} as its first bytes", f"{_MAGIC!r}"
                reason = f"got {got}, expected {expected}"
    return InputFileError(
        f"{path} is not a readable ROOT file (truncated or damaged?): {reason}", where=path, got=got, expected=expected
    )


def _note(file: Any) -> str:
    names = {name.partition(";")[0] for name in file.keys(recursive=False)}
    return str(file[NOTE]) if NOTE in names else ""


def read_note(path: str | os.PathLike[str]) -> str:
    """The provenance written to a file by `write_tree` or `write_objects`.

    Parameters
    ----------
    path : path

    Returns
    -------
    str
        Empty if there is none.

    Raises
    ------
    InputFileError
        If the file is missing, truncated or not a ROOT file.
    """
    file, _ = _opened(os.fspath(path))
    with file:
        return _note(file)


def object_names(path: str | os.PathLike[str]) -> frozenset[str]:
    """The names of the trees and other objects of a file.

    Parameters
    ----------
    path : path

    Returns
    -------
    frozenset of str

    Raises
    ------
    InputFileError
        If the file is missing, truncated or not a ROOT file.
    """
    file, _ = _opened(os.fspath(path))
    with file:
        return frozenset(name.partition(";")[0] for name in file.keys(recursive=False))


def write_objects(path: str | os.PathLike[str], objects: Mapping[str, Any], note: str) -> None:
    """Write histograms, or other objects supported by uproot, with their provenance.

    Parameters
    ----------
    path : path
    objects : mapping
        Name, with ``/`` for folders -> object.
    note : str
        Stored in the file as the object ``jettagger``.

    Raises
    ------
    ConfigError
        If an object has the name of the provenance.
    OutputError
        If the file cannot be written.
    """
    import uproot

    if NOTE in objects:
        raise ConfigError(
            f"{os.fspath(path)}: the name {NOTE!r} is that of the note on how the file was made; choose another"
        )
    with complete_or_absent(path) as part, uproot.recreate(part) as file:
        for name, content in objects.items():
            file[name] = content
        file[NOTE] = note


def write_tree(
    path: str | os.PathLike[str],
    chunks: Iterable[Mapping[str, Any]],
    tree: str = TREE,
    compression: str = "zstd",
    note: str = "",
    more: Mapping[str, Mapping[str, Any]] | None = None,
    counter: str = "n{}",
) -> int:
    """Write flat columns as a TTree for coffea's schemas.

    Parameters
    ----------
    path : path
    chunks : iterable of mapping of str to array
        Jagged columns ``<collection>_<field>`` share one counter; missing values must be NaN already.
    tree : str
    compression : str
        ``zstd``, ``zlib`` or ``lzma``.
    note : str
        Stored in the file as the object ``jettagger``, if not empty; the file then also gets checksums
        (`jettagger.files.basketsums`).
    more : mapping of str to mapping, optional
        Further trees: name -> columns with a number, or a list of numbers, per row; trees without columns are not
        written.
    counter : str
        Name of the counters, with ``{}`` for the collection.

    Returns
    -------
    int
        Number of events.

    Raises
    ------
    OSError
        If the file cannot be written; `jettagger.files.complete_or_absent` then removes it and names the output.
    UnknownName
        If the compression does not exist.
    """
    import awkward as ak
    import uproot

    compressions = {"zstd": uproot.ZSTD(5), "zlib": uproot.ZLIB(4), "lzma": uproot.LZMA(4)}
    if compression not in compressions:
        raise UnknownName("compression", compression, compressions)
    n_events = 0
    with uproot.recreate(path, compression=compressions[compression]) as file:
        target = None
        for chunk in chunks:
            content = _branches(chunk)
            if target is None:
                types = {name: _branch_type(array) for name, array in content.items()}
                target = file.mktree(tree, types, counter_name=counter.format)
            n_events += len(next(iter(chunk.values())))
            target.extend(content)
        for name, columns in (more or {}).items():
            rows = {column: ak.Array(values) for column, values in columns.items()}
            if rows:
                file.mktree(name, {column: _branch_type(array) for column, array in rows.items()}).extend(rows)
        if note:
            file[NOTE] = note
    if note:
        add_sums(path)
    return n_events


def _branches(chunk: Mapping[str, Any]) -> dict[str, Any]:
    """Flat columns grouped such that uproot writes one counter per collection."""
    nested = nest(chunk)
    return {name: nested[name] for name in nested.fields}


def _branch_type(array: Any) -> Any:
    import awkward as ak

    return array.type.content if ak.to_layout(array).is_list else ak.to_numpy(array).dtype


def iterate(file: EventFile, columns: Iterable[str], size: int) -> Iterator[tuple[int, Any]]:
    """The events of a file in chunks.

    Parameters
    ----------
    file : EventFile
    columns : iterable of str
    size : int
        Maximum number of events per chunk.

    Yields
    ------
    int
        The first event of the chunk.
    awkward array
        Its events.
    """
    columns = list(columns)
    for start in range(0, file.n_events, size):
        yield start, file.read(columns, start, min(start + size, file.n_events))


guard(globals())
