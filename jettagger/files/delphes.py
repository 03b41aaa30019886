"""Delphes files: opened with clear errors, selected collections read with their references as nested events."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import InputFileError, hint
from jettagger.files import refuse_special, special
from jettagger.files.addresses import masked
from jettagger.formats.delphes import CANDIDATES, DEFAULT_JETS, VERTICES

__all__ = ["DelphesFile", "is_delphes_file"]

_log = logging.getLogger(__name__)

TREE = "Delphes"

#: collections that are read by default
_USUAL = ("Event", *CANDIDATES, VERTICES)


def is_delphes_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a ROOT file with Delphes' tree; False if it cannot be opened.

    Parameters
    ----------
    path : path

    Returns
    -------
    bool
    """
    import uproot

    if not os.fspath(path).endswith(".root") or special(path):
        return False
    try:
        with uproot.open(path) as file:
            return any(name.partition(";")[0] == TREE for name in file.keys(recursive=False))
    except Exception:  # whoever opens the file next says what is wrong with it
        return False


class DelphesFile(Brief):
    """An open Delphes file.

    Parameters
    ----------
    path : path

    Raises
    ------
    InputFileError
        If the file is missing, damaged, or not a Delphes file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        import uproot

        self.path = os.fspath(path)
        refuse_special(self.path)
        if "://" not in self.path and not Path(self.path).is_file():
            raise InputFileError(f"no such file: {self.path}")
        try:
            self._file = uproot.open(self.path)
            names = {name.partition(";")[0] for name in self._file.keys(recursive=False)}
        except Exception as error:  # uproot's errors for damaged files have no common base
            raise InputFileError(f"{self.path} is not a readable ROOT file (truncated or damaged?): {error}") from error
        if TREE not in names:
            self._file.close()
            raise InputFileError(
                f"{self.path} has no tree {TREE!r}{hint(TREE, names)}; it holds {', '.join(sorted(names))}"
            )
        self._tree = self._file[TREE]
        self.n_events = int(self._tree.num_entries)
        _log.info("opened %s: %d events of Delphes", masked(self.path), self.n_events)

    def __enter__(self) -> DelphesFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @cached_property
    def collections(self) -> list[str]:
        """Names of the collections."""
        names = {name.partition("/")[0] for name in self._tree.keys(recursive=False)}
        return sorted(name for name in names if not name.endswith("_size"))

    @cached_property
    def jets(self) -> list[str]:
        """Collections of reconstructed jets with constituents."""
        return [name for name in self.collections if name.startswith("Jet") and "Constituents" in self.fields(name)]

    def fields(self, collection: str) -> list[str]:
        """Fields of a collection, without the sizes of arrays (``Tau`` for ``Tau[5]``)."""
        if collection not in self.collections:
            return []
        return [key.rpartition(".")[2].partition("[")[0] for key in self._tree[collection].keys(recursive=False)]

    def read(self, jets: str | None = None, start: int = 0, stop: int | None = None, also: Iterable[str] = ()) -> Any:
        """Events with a collection of jets and the columns of its constituents.

        Parameters
        ----------
        jets : str, optional
            The collection; default: ``JetPUPPIAK8``, or the only one with constituents.
        start, stop : int
            Range of events.
        also : iterable of str
            Further collections, e.g. ``Particle``; those that the file lacks are ignored.

        Returns
        -------
        awkward array
            One record per event; references are lists of numbers (``Constituents.refs``).

        Raises
        ------
        InputFileError
            If the collection does not exist, or there are no candidates; lists the available ones. If the data are
            damaged.
        """
        import awkward as ak

        if jets is None:
            jets = self.jets[0] if len(self.jets) == 1 else DEFAULT_JETS
        if jets not in self.jets:
            raise InputFileError(
                f"{self.path} has no jets {jets!r}{hint(jets, self.jets)} with constituents; collections of jets: "
                f"{', '.join(self.jets) or 'none'}; all collections: {', '.join(self.collections)}"
            )
        if not set(CANDIDATES) & set(self.collections):
            raise InputFileError(
                f"{self.path} has no {' or '.join(CANDIDATES)}, which constituents are read from; collections: "
                f"{', '.join(self.collections)}"
            )
        wanted = dict.fromkeys([*_USUAL, jets, *also])
        try:
            found = {name: self._collection(name, start, stop) for name in wanted if name in self.collections}
        except Exception as error:
            raise InputFileError(f"{self.path}: events cannot be read (truncated or damaged?): {error}") from error
        return ak.zip(found, depth_limit=1)

    def _collection(self, name: str, start: int, stop: int | None) -> Any:
        import awkward as ak

        columns = {}
        for key in self._tree[name].keys(recursive=False):
            field = key.rpartition(".")[2].partition("[")[0]
            if field in _SKIPPED:
                continue
            columns[field] = self._tree[name][key].array(entry_start=start, entry_stop=stop)
        return ak.zip(columns, depth_limit=2)


#: fields that are not needed and slow to read
_SKIPPED = (
    "fBits",
    "TrimmedP4",
    "PrunedP4",
    "SoftDroppedJet",
    "SoftDroppedSubJet1",
    "SoftDroppedSubJet2",
    "Area",
    "Edges",
)


guard(globals())
