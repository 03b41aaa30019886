"""Training skims, parquet or ROOT: content, model, and reading of jets chunk by chunk."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import InputFileError, MismatchError, reason_of
from jettagger.files import refuse_repeats, refuse_special
from jettagger.files.parquet import note_of, open_parquet
from jettagger.files.root import EventFile
from jettagger.heads import JetTable
from jettagger.provenance import parsed

__all__ = ["Skim", "expand", "open_skim"]

#: default collection if a skim does not show which jets a tagger has scored
FAT_JETS = "FatJet"


@dataclass(frozen=True)
class Skim(Brief):
    """A file with one row per event.

    Parameters
    ----------
    path : str
    events : int
    names : tuple of str
        Flat names of all columns.
    record : dict
        Its provenance; empty if there is none.
    """

    path: str
    events: int
    names: tuple[str, ...]
    record: dict[str, Any]

    @property
    def digest(self) -> str:
        """Digest of the model of the tagger's columns, empty if the file does not record it."""
        return str(self.record.get("digest", ""))

    def collection(self, prefix: str) -> str:
        """The jets scored by a tagger: the collection with columns of its prefix.

        Parameters
        ----------
        prefix : str
            Prefix of the tagger's columns.

        Returns
        -------
        str
            Fat jets if no collection has such columns, or several have.
        """
        parts = (name.partition("_") for name in self.names)
        found = {owner for owner, _, column in parts if column.startswith(f"{prefix}_")}
        return found.pop() if len(found) == 1 else FAT_JETS

    def columns_of(self, names: Iterable[str], prefix: str, what: str) -> tuple[str, ...]:
        """The stored columns from which given columns are computed; nothing is read.

        Raises
        ------
        MissingColumns
            Gives the file and all missing columns.
        """
        names = list(names)
        table = JetTable(self.empty, prefix, self.collection(prefix))
        table.require(names, f"{self.path}: {what}")
        return tuple(dict.fromkeys(need for name in names for need in table.needs(name)))

    @cached_property
    def empty(self) -> Any:
        """All columns without rows, read once, to determine from which columns others are computed."""
        import awkward as ak

        if self.path.endswith(".root"):
            with EventFile(self.path) as file:
                return file.read(self.names, 0, 0)

        with open_parquet(self.path) as file:
            return ak.from_arrow(file.schema_arrow.empty_table())

    def read(self, columns: Sequence[str], rows: int) -> Iterator[Any]:
        """The events in chunks.

        Parameters
        ----------
        columns : sequence of str
            Flat names.
        rows : int
            Maximum number of events per chunk.

        Yields
        ------
        awkward array

        Raises
        ------
        InputFileError
            If the file is damaged.
        """
        import awkward as ak

        if self.path.endswith(".root"):
            with EventFile(self.path) as file:
                for start in range(0, file.n_events, rows):
                    yield file.read(columns, start, min(start + rows, file.n_events))
            return
        import pyarrow

        try:
            with open_parquet(self.path) as file:
                for batch in file.iter_batches(batch_size=rows, columns=list(columns), use_threads=False):
                    if batch.num_rows:
                        yield ak.from_arrow(batch)
        except (OSError, pyarrow.ArrowException) as error:
            raise InputFileError(f"{self.path} cannot be read (truncated or damaged?): {reason_of(error)}") from error


def open_skim(path: str) -> Skim:
    """Open a skim.

    Parameters
    ----------
    path : str
        ``.parquet`` or ``.root``.

    Returns
    -------
    Skim

    Raises
    ------
    InputFileError
        If it is missing, damaged, or neither parquet nor ROOT.
    """
    if path.endswith(".root"):
        with EventFile(path) as file:
            names, events, note = sorted(file.names), file.n_events, file.note()
        return Skim(path, events, tuple(names), parsed(note))
    if not path.endswith(".parquet"):
        raise InputFileError(f"{path}: expected a file .parquet or .root")
    with open_parquet(path) as parquet:
        schema, events = parquet.schema_arrow, parquet.metadata.num_rows
    return Skim(path, events, tuple(schema.names), parsed(note_of(schema)))


def expand(patterns: Iterable[str], folder: Path, where: str) -> list[str]:
    """The files matched by patterns, without repetition.

    Parameters
    ----------
    patterns : iterable of str
        Paths and globs; relative ones are relative to ``folder``.
    folder : pathlib.Path
    where : str
        Place of the patterns.

    Returns
    -------
    list of str

    Raises
    ------
    InputFileError
        If a pattern matches nothing.
    MismatchError
        If a file is given twice, also by different names.
    """
    found: list[str] = []
    for pattern in patterns:
        full = str(folder / pattern)
        matches = sorted(glob.glob(full)) if glob.has_magic(full) else [full]
        if not matches:
            raise InputFileError(f"{where}: no file matches {full}")
        for path in matches:
            refuse_special(path)
            if not os.path.isfile(path):
                raise InputFileError(f"{where}: no such file: {path}")
        found += matches
    try:
        refuse_repeats(found)
    except MismatchError as error:
        raise MismatchError(f"{where}: {error}") from None
    return found


guard(globals(), "Skim", "open_skim")
