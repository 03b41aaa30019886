"""Files with one row per jet: ROOT trees and parquet, on disk or as members of tarballs, read without unpacking."""

from __future__ import annotations

import io
import logging
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import InputFileError, UnknownName, hint, reason_of
from jettagger.files import SEPARATOR, refuse_special
from jettagger.files.addresses import masked
from jettagger.files.basketsums import BasketSums
from jettagger.files.rntuple import field_paths, is_rntuple

__all__ = ["SEPARATOR", "TARBALLS", "FlatFile", "members"]

_log = logging.getLogger(__name__)

TARBALLS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_CONTENT = (".root", ".parquet")


def members(tarball: str | os.PathLike[str]) -> tuple[list[str], str]:
    """The files of jets in a tarball.

    Parameters
    ----------
    tarball : path

    Returns
    -------
    list of str
        Names for `FlatFile`, ``TARBALL::MEMBER``.
    str
        Reason why the list may be incomplete (a truncated tarball); empty if it is complete.

    Raises
    ------
    InputFileError
        If it is not a tarball, or does not exist.
    """
    path = os.fspath(tarball)
    refuse_special(path)
    found: list[str] = []
    reason = ""
    try:
        with tarfile.open(path) as archive:
            try:
                for member in archive:
                    if member.isfile() and member.name.endswith(_CONTENT):
                        found.append(f"{path}{SEPARATOR}{member.name}")
            except (tarfile.TarError, EOFError, OSError) as error:
                reason = f"{path} is damaged after {len(found)} files: {error}"
    except FileNotFoundError:
        raise InputFileError(f"no such file: {path}") from None
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputFileError(f"{path} is not a readable tarball: {error}") from error
    return found, reason


def _from_tarball(name: str) -> io.BytesIO:
    """The content of a member, in memory."""
    path, _, wanted = name.partition(SEPARATOR)
    try:
        with tarfile.open(path) as archive:
            names = []
            for member in archive:  # in order: a damaged end does not hide what lies before it
                names.append(member.name)
                if member.name == wanted:
                    stream = archive.extractfile(member)
                    content = stream.read() if stream is not None else b""
                    if len(content) != member.size:
                        raise InputFileError(
                            f"{name}: only {len(content)} of {member.size} bytes are in the tarball (truncated?)"
                        )
                    return io.BytesIO(content)
    except FileNotFoundError:
        raise InputFileError(f"no such file: {path}") from None
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputFileError(f"{name} cannot be read from the tarball (truncated or damaged?): {error}") from error
    raise InputFileError(f"{path} has no member {wanted!r}{hint(wanted, names)}")


class FlatFile(Brief):
    """An open file with one row per jet.

    Parameters
    ----------
    path : path or str
        A ROOT or parquet file, or ``TARBALL::MEMBER``.
    tree : str, optional
        The tree of a ROOT file; default: the only one.

    Raises
    ------
    InputFileError
        If the file is missing, damaged, of another kind, or if it has several trees and none was named.

    Examples
    --------
    >>> import awkward as ak, tempfile
    >>> path = f"{tempfile.mkdtemp()}/jets.parquet"
    >>> _ = ak.to_parquet(ak.Array({"jet_pt": [300.0, 500.0], "part_px": [[1.0], []]}), path)
    >>> with FlatFile(path) as file:
    ...     print(file.n_jets, file.names, file.read(["part_px"], 0, 1).tolist())
    2 ['jet_pt', 'part_px'] [{'part_px': [1.0]}]
    """

    def __init__(self, path: str | os.PathLike[str], tree: str | None = None) -> None:
        self.path = os.fspath(path)
        refuse_special(self.path)
        if SEPARATOR in self.path:
            source: Any = _from_tarball(self.path)
        elif self.path.endswith(TARBALLS):
            inside, _ = members(self.path)
            raise InputFileError(f"{self.path} is a tarball, expected one of its members: {', '.join(inside[:3])}, ...")
        else:
            source = self.path
            if "://" not in self.path and not Path(self.path).is_file():
                raise InputFileError(f"no such file: {self.path}")
        self._tree: Any = None
        self._parquet: Any = None
        if self.path.endswith(".parquet"):
            self._open_parquet(source)
        else:
            self._open_root(source, tree)
        _log.info("opened %s: %d rows", masked(self.path), self.n_jets)

    def _open_root(self, source: Any, tree: str | None) -> None:
        import uproot

        from jettagger.files.pages import checked_classes

        try:
            self._file = uproot.open(source, custom_classes=checked_classes())
            self._sums = BasketSums(self._file)
            kinds = {name.partition(";")[0]: kind for name, kind in self._file.classnames(recursive=False).items()}
        except Exception as error:  # uproot's errors for damaged files have no common base
            raise InputFileError(
                f"{self.path} is not a readable ROOT file (truncated or damaged?): {reason_of(error)}"
            ) from error
        trees = [
            name
            for name, kind in kinds.items()
            if kind in ("TTree", "TNtuple", "ROOT::RNTuple", "ROOT::Experimental::RNTuple")
        ]
        name = tree if tree is not None else trees[0] if len(trees) == 1 else None
        if name not in trees:
            asked = (
                f"no tree {tree!r}{hint(tree, trees)}"
                if tree is not None
                else "no tree"
                if not trees
                else "several trees"
            )
            raise InputFileError(f"{self.path} has {asked}; it holds {', '.join(kinds) or 'nothing'}")
        try:
            self._tree = self._file[name]
            self.n_jets = int(self._tree.num_entries)
            self._paths = field_paths(self._tree) if is_rntuple(self._tree) else {}
            self.names = sorted(self._paths or self._tree.keys(recursive=False))
        except Exception as error:
            raise InputFileError(
                f"{self.path}: {name!r} cannot be read (truncated or damaged?): {reason_of(error)}"
            ) from error

    def _open_parquet(self, source: Any) -> None:
        import pyarrow
        import pyarrow.parquet

        try:
            self._parquet = pyarrow.parquet.ParquetFile(source, page_checksum_verification=True)
        except (pyarrow.ArrowException, OSError) as error:
            raise InputFileError(f"{self.path} is not a readable parquet file: {reason_of(error)}") from error
        self.n_jets = int(self._parquet.metadata.num_rows)
        self.names = sorted(self._parquet.schema_arrow.names)
        self._kept: tuple[tuple[Any, ...], Any] | None = None

    def __enter__(self) -> FlatFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            (self._parquet if self._parquet is not None else self._file).close()

    @property
    def fields(self) -> list[str]:
        """Names of the columns."""
        return self.names

    @property
    def collections(self) -> list[str]:
        """Names of the columns, for comparison with the needs of models."""
        return list(self.names)

    def has(self, column: str) -> bool:
        """Whether there is a column; nothing is read."""
        return column in self.names

    def read(self, columns: Iterable[str] | None = None, start: int = 0, stop: int | None = None) -> Any:
        """Some columns of a range of jets.

        Parameters
        ----------
        columns : iterable of str, optional
            Default: all.
        start, stop : int

        Returns
        -------
        awkward array
            One record per jet.

        Raises
        ------
        UnknownName
            If a column does not exist.
        InputFileError
            If the data are damaged; gives the file and the range.
        """
        import awkward as ak

        wanted = list(self.names if columns is None else dict.fromkeys(columns))
        unknown = [name for name in wanted if name not in self.names]
        if unknown:
            raise UnknownName("column", unknown, self.names, self.path)
        stop = self.n_jets if stop is None else min(stop, self.n_jets)
        try:
            if self._parquet is not None:
                found = self._row_groups(wanted, start, stop)
            elif self._paths:
                paths = {name: self._tree[self._paths[name]] for name in wanted}
                found = {name: field.array(entry_start=start, entry_stop=stop) for name, field in paths.items()}
            else:
                self._sums.check(self._tree, wanted, start, stop)
                found = self._tree.arrays(wanted, entry_start=start, entry_stop=stop, how=dict)
        except Exception as error:
            raise InputFileError(
                f"{self.path}: jets {start} to {stop} cannot be read (truncated or damaged?): {reason_of(error)}"
            ) from error
        return ak.zip({name: found[name] for name in wanted}, depth_limit=1)

    def _row_groups(self, wanted: list[str], start: int, stop: int) -> Mapping[str, Any]:

        metadata = self._parquet.metadata
        first, position = 0, 0
        chosen: list[int] = []
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            if position < max(stop, start + 1) and position + rows > start:
                first = position if not chosen else first
                chosen.append(group)
            position += rows
        key = (tuple(wanted), tuple(chosen))
        if self._kept is None or self._kept[0] != key:  # the next range may lie in the same groups
            table = (
                self._parquet.read_row_groups(chosen, columns=wanted)
                if chosen
                else self._parquet.schema_arrow.empty_table()
            )
            self._kept = (key, {name: _plain(_awkward(table[name])) for name in wanted})
        return {name: array[start - first : stop - first] for name, array in self._kept[1].items()}

    def chunks(self, columns: Iterable[str] | None = None, size: int = 20_000) -> Iterator[Any]:
        """The jets in chunks.

        Parameters
        ----------
        columns : iterable of str, optional
        size : int
            Maximum number of jets per chunk.

        Yields
        ------
        awkward array
        """
        wanted = None if columns is None else list(columns)
        for start in range(0, self.n_jets, size):
            yield self.read(wanted, start, start + size)


def _awkward(column: Any) -> Any:
    """A column of Arrow; older versions of awkward take no chunks without rows."""
    import awkward as ak

    return ak.from_arrow(column if len(column) else column.combine_chunks())


def _plain(array: Any) -> Any:
    """Remove option types, which Arrow uses for most columns, if no values are missing."""
    import awkward as ak

    if "?" not in str(array.type) and "option" not in str(array.type):
        return array
    array = ak.to_packed(array)  # with 64 bits: others than awkward write lists of 32, which drop_none does not take
    for axis in range(array.ndim - 1, -1, -1):
        if not ak.any(ak.is_none(array, axis=axis), axis=None):
            array = ak.drop_none(array, axis=axis)
    return array


guard(globals())
