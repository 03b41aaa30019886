"""Jets of any file that jettagger reads as tables in JetClass-II format, a chunk at a time.

Flat files as they are, PFNano and simulated events, Delphes events.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief, briefly
from jettagger.errors import MissingColumns, UnknownName
from jettagger.files.delphes import DelphesFile, is_delphes_file
from jettagger.files.root import EventFile
from jettagger.files.tables import FlatFile
from jettagger.formats import EventColumns, load
from jettagger.formats.loading import partial
from jettagger.formats.naming import Names
from jettagger.inputs.flavours import detect
from jettagger.inputs.pfnano_tables import NANO_COLUMNS, NanoColumns, is_event_file, nano_plan
from jettagger.skims.convert import flat_columns

__all__ = ["FlatChunk", "FlatJets"]

#: columns by which jets with missing constituents are recognised
_MOMENTA = ("jet_pt", "part_px", "part_dphi")


@briefly
class FlatChunk(NamedTuple):
    """Jets of a range of rows.

    Attributes
    ----------
    jets : awkward array
        One record per jet.
    rows : int
        Rows of the file in this chunk: jets of flat files, else events.
    left_out : int
        Jets with missing constituents, which are not in ``jets``.
    """

    jets: Any
    rows: int
    left_out: int


class FlatJets(Brief):
    """The jets of a file.

    Parameters
    ----------
    path : path
        A file with one row per jet (also ``TARBALL::MEMBER``), PFNano or simulated events, or Delphes events.
    jets : str, optional
        Collection of the jets of events, fat or AK4; default: fat jets, as for taggers.
    names : mapping, optional
        PFNano's names of collections and columns -> those of the file.
    tree : str, optional
        Tree of ROOT files with one row per jet; default: the only one.

    Attributes
    ----------
    unit : {"jets", "events"}
    n_rows : int
        Jets of flat files, else events.

    Raises
    ------
    InputFileError
        If the file is missing, damaged, or of another kind.

    Examples
    --------
    >>> import tempfile
    >>> from jettagger.testing import write_pfnano
    >>> path = write_pfnano(f"{tempfile.mkdtemp()}/nano.root", 5, seed=1)
    >>> file = FlatJets(path)
    >>> chunks = list(file.chunks(["jet_pt", "part_deta"]))
    >>> file.n_rows, file.unit, chunks[0].jets.fields
    (5, 'events', ['jet_pt', 'part_deta'])
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        jets: str | None = None,
        names: Names | None = None,
        tree: str | None = None,
    ) -> None:
        self.path = os.fspath(path)
        self._jets, self._names, self._tree = jets, names, tree
        self._kind = "delphes" if is_delphes_file(path) else "events" if is_event_file(path) else "table"
        self.unit = "jets" if self._kind == "table" else "events"
        with self._open() as file:
            self.n_rows = int(file.n_jets if self._kind == "table" else file.n_events)

    def _open(self) -> Any:
        if self._kind == "table":
            return FlatFile(self.path, self._tree)
        return DelphesFile(self.path) if self._kind == "delphes" else EventFile(self.path)

    def chunks(self, columns: Iterable[str], size: int | None = None) -> Iterator[FlatChunk]:
        """Jets with some columns.

        Parameters
        ----------
        columns : iterable of str
            Names of JetClass-II; any column of flat files.
        size : int, optional
            Rows in a chunk; default: 20,000 jets, 2,000 PFNano or 500 Delphes events.

        Yields
        ------
        FlatChunk

        Raises
        ------
        UnknownName
            If the file has no such column; gives the nearest ones.
        MissingColumns
            If events lack what a column is computed from; lists all of it.
        InputFileError
            If the file is damaged.
        """
        wanted = list(dict.fromkeys(columns))
        reader = {"table": self._from_table, "delphes": self._from_delphes, "events": self._from_events}[self._kind]
        yield from reader(wanted, size)

    def _from_table(self, wanted: list[str], size: int | None) -> Iterator[FlatChunk]:
        with self._open() as file:
            for jets in file.chunks(wanted, size or 20_000):
                yield FlatChunk(jets, len(jets), 0)

    def _from_delphes(self, wanted: list[str], size: int | None) -> Iterator[FlatChunk]:
        step = size or 500
        with self._open() as file:
            generator = [name for name in file.collections if name.startswith("GenJet")]
            truth = any(name.startswith(("gen", "aux_")) or name == "jet_label" for name in wanted)
            for start in range(0, self.n_rows, step):
                stop = min(start + step, self.n_rows)
                events = file.read(self._jets, start, stop, ["Particle", *generator] if truth else [])
                found, table = flat_columns(events, self._jets)
                jets = _chosen(found, wanted, self.path)
                yield FlatChunk(jets, stop - start, len(table) - len(jets))

    def _from_events(self, wanted: list[str], size: int | None) -> Iterator[FlatChunk]:
        unknown = [name for name in wanted if name not in NANO_COLUMNS]
        if unknown:
            raise UnknownName("column", unknown, NANO_COLUMNS, f"jets of events, {self.path}")
        step = size or 2000
        with self._open() as file:
            format_ = detect(file.collections, self._jets, self._names, None)
            plan = nano_plan(format_, file, [*wanted, *_MOMENTA])
            if plan.missing:
                lines = "\n".join(f"  {need}" for need in plan.missing)
                verdict = f"{self.path} ({format_.title}) lacks {len(plan.missing)} columns"
                raise MissingColumns(f"{verdict}{f': {format_.remark}' if format_.remark else ''}\n{lines}")
            for start in range(0, self.n_rows, step):
                stop = min(start + step, self.n_rows)
                columns = EventColumns(file.read(plan.columns, start, stop))
                number = int(columns.counts(format_.jets).sum())
                linked = load(columns, plan, np.arange(number))
                whole = ~partial(linked, None)
                jets = _chosen(NanoColumns(linked), wanted, self.path)[whole]
                yield FlatChunk(jets, stop - start, int(np.count_nonzero(~whole)))


def _chosen(columns: Mapping[str, Any], wanted: list[str], path: str) -> Any:
    """Some columns as a table."""
    import awkward as ak

    unknown = [name for name in wanted if name not in columns]
    if unknown:
        raise UnknownName("column", unknown, columns, f"jets of events, {path}")
    return ak.zip({name: columns[name] for name in wanted}, depth_limit=1)


guard(globals())
