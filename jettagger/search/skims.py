"""Parquet skims as samples of a search: their content, without reading events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from jettagger.display import Brief
from jettagger.errors import InputFileError, MismatchError, reason_of
from jettagger.files.parquet import note_of, open_parquet
from jettagger.files.tables import FlatFile
from jettagger.formats.nesting import nest

__all__ = ["ParquetSkim", "is_parquet"]


def is_parquet(path: str) -> bool:
    """Whether a file is a parquet skim, judged by its name."""
    return path.endswith(".parquet")


class ParquetSkim(Brief):
    """An open parquet skim with one row per event, with the interface of `EventFile`.

    Parameters
    ----------
    path : str
        A local file.

    Raises
    ------
    InputFileError
        If it is missing or damaged, or if a collection has no counter (``nFatJet``), by which coffea identifies
        collections.
    """

    def __init__(self, path: str) -> None:
        import pyarrow

        self.path = path
        with open_parquet(path) as file:
            self.n_events = int(file.metadata.num_rows)
            schema = file.schema_arrow
            self._note = note_of(schema)
        self.names: frozenset[str] = frozenset(schema.names)
        lists = {
            item.name.partition("_")[0] for item in schema if pyarrow.types.is_list(item.type) and "_" in item.name
        }
        lacking = sorted(f"n{name}" for name in lists if f"n{name}" not in self.names)
        if lacking:
            raise InputFileError(
                f"{path} has no column {', '.join(lacking)}, so coffea cannot tell its collections: it was not written "
                "by this version of jettagger; make the skim again, or write it as .root"
            )

    def note(self) -> str:
        """Its provenance as text; empty if there is none."""
        return self._note

    def verify(self) -> None:
        """Read all pages and compare them with their checksums, if any, which coffea does not do.

        Raises
        ------
        InputFileError
            If the file is damaged.
        """
        import pyarrow

        try:
            with open_parquet(self.path) as file:
                for group in range(file.metadata.num_row_groups):
                    file.read_row_group(group)
        except (OSError, pyarrow.ArrowException) as error:
            raise InputFileError(f"{self.path} cannot be read (truncated or damaged?): {reason_of(error)}") from error

    def read(self, columns: Iterable[str], start: int, stop: int) -> Any:
        """Some columns of a range of events.

        Parameters
        ----------
        columns : iterable of str
            ``"Collection.field"``, or plain names.
        start, stop : int

        Returns
        -------
        awkward array
            One record per event, collections nested.

        Raises
        ------
        InputFileError
            If the data are damaged.
        """
        flat = [column.replace(".", "_", 1) for column in columns]
        with FlatFile(self.path) as file:
            found = file.read(flat, start, stop)
        try:
            return nest({name: found[name] for name in flat})
        except MismatchError as error:
            raise InputFileError(f"{self.path}: events {start} to {stop}: {error}; the file is damaged") from error

    @property
    def collections(self) -> list[str]:
        """Names of the collections."""
        return sorted({name.partition("_")[0] for name in self.names if "_" in name})

    def fields(self, collection: str) -> Sequence[str]:
        """Fields of a collection."""
        return sorted(name[len(collection) + 1 :] for name in self.names if name.startswith(f"{collection}_"))

    def has(self, column: str) -> bool:
        """Whether there is a column ``"Collection.field"``."""
        return column.replace(".", "_", 1) in self.names
