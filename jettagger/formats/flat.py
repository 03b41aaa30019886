"""Flat tables of jets: one row a jet, as JetClass and JetClass-II files have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from jettagger.errors import InputFileError, MismatchError
from jettagger.formats.columns import not_none
from jettagger.types import Array

__all__ = ["FlatTable", "JetColumns"]


class JetColumns(Protocol):
    """Jets with named columns, one entry a jet: numbers or lists of numbers."""

    #: what it is, for messages
    title: str
    #: the collection of events that the jets belong to; empty for a table of jets alone
    collection: str

    def __len__(self) -> int:
        """Number of jets."""

    @property
    def fields(self) -> Sequence[str]:
        """Names of the columns."""

    def column(self, name: str) -> Any:
        """A column, one entry a jet."""

    @property
    def counts(self) -> Array | None:
        """Number of jets of each event, int64[events]; None for a table of jets alone."""

    @property
    def present(self) -> Array:
        """For each jet whether it is there (not None), bool[jets]."""

    @property
    def dangling(self) -> int:
        """References to constituents that do not exist."""

    @property
    def valid(self) -> Array | None:
        """For each event whether it is there (not None), bool[events]; None for a table of jets alone."""

    def partial(self, min_pt_share: float | None = None) -> Array:
        """Jets of which only a part of the constituents is there, bool[jets]."""

    def mask(self, where: Any) -> Array:
        """A user's selection as bool[jets]."""


class FlatTable:
    """A record array with one record a jet.

    Parameters
    ----------
    jets : awkward array of records
        In memory or virtual; records may be None.

    Raises
    ------
    InputFileError
        If it is no array of records.

    Examples
    --------
    >>> import awkward as ak
    >>> table = FlatTable(ak.Array([{"jet_pt": 300.0, "part_px": [1.0, 2.0]}, {"jet_pt": 500.0, "part_px": []}]))
    >>> len(table), table.column("jet_pt").tolist()
    (2, [300.0, 500.0])
    """

    title = "a table with one row a jet"
    collection = ""
    counts: Array | None = None
    valid: Array | None = None
    dangling = 0

    def __init__(self, jets: Any) -> None:
        import awkward as ak

        if not isinstance(jets, ak.Array) or not jets.fields:
            kind = type(jets).__name__ if not isinstance(jets, ak.Array) else str(jets.type)[:80]
            raise InputFileError(f"expected a table of jets with fields like jet_pt, got {kind}")
        self.jets = jets
        self._present: Array | None = None

    def __len__(self) -> int:
        return len(self.jets)

    @property
    def fields(self) -> Sequence[str]:
        """Names of the columns."""
        return list(self.jets.fields)

    def column(self, name: str) -> Any:
        """A column, one entry a jet."""
        return self.jets[name]

    @property
    def present(self) -> Array:
        """For each jet whether it is there (not None), bool[jets]."""
        import awkward as ak

        if self._present is None:
            self._present = not_none(ak.to_layout(self.jets))
        return self._present

    def partial(self, min_pt_share: float | None = None) -> Array:
        """No jet: a row holds all that there is of a jet, bool[jets]."""
        return np.zeros(len(self), dtype=bool)

    def mask(self, where: Any) -> Array:
        """A user's selection as bool[jets].

        Raises
        ------
        MismatchError
            If it is not aligned with the jets.
        """
        import awkward as ak

        expected = f"a bool array with one entry a jet ({len(self)} jets)"
        try:
            flags = ak.to_numpy(ak.fill_none(ak.Array(where), False))
        except (ValueError, TypeError) as error:
            raise MismatchError(f"where is {type(where).__name__}, expected {expected}") from error
        if flags.shape != (len(self),) or (flags.dtype != np.bool_ and len(flags)):
            raise MismatchError(f"where is {flags.dtype}{list(flags.shape)}, expected {expected}")
        return flags.astype(bool)
