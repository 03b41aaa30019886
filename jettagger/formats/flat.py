"""Flat tables of jets: one row per jet, as in JetClass and JetClass-II files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from jettagger.display import Brief
from jettagger.errors import InputFileError, MismatchError, MissingColumns, UnknownName
from jettagger.formats.columns import not_none
from jettagger.kinematics import energy
from jettagger.types import Array

__all__ = ["FlatTable", "JetColumns"]


class JetColumns(Protocol):
    """Jets with named columns, one entry per jet: numbers or lists of numbers."""

    #: description of the input, for messages
    title: str
    #: the collection in events that the jets belong to; empty for a table of jets alone
    collection: str

    def __len__(self) -> int:
        """Number of jets."""

    @property
    def fields(self) -> Sequence[str]:
        """Names of the columns."""

    def column(self, name: str, rows: Array | None = None) -> Any:
        """A column, one entry per jet, of all jets or of those at the increasing indices ``rows``, int64[n]."""

    def lengths(self, names: Iterable[str]) -> Array:
        """Total number of values per jet in the lists of these columns, int64[jets]."""

    def stored(self, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
        """The stored columns from which these are computed, by name."""

    def moved(self, kinematics: Mapping[str, Any]) -> JetColumns:
        """The same jets after a variation of ``pt``, ``eta``, ``phi`` or ``mass`` (GeV)."""

    def values(self, name: str) -> Array:
        """A jet-level variable by its name in a skim, NaN for None; one entry per jet."""

    @property
    def counts(self) -> Array | None:
        """Number of jets of each event, int64[events]; None for a table of jets alone."""

    @property
    def present(self) -> Array:
        """Mask of jets that are not None, bool[jets]."""

    @property
    def dangling(self) -> int:
        """Number of references to constituents that do not exist."""

    @property
    def valid(self) -> Array | None:
        """Mask of events that are not None, bool[events]; None for a table of jets alone."""

    def partial(self, min_pt_share: float | None = None) -> Array:
        """Mask of jets with missing constituents, bool[jets]."""

    def mask(self, where: Any) -> Array:
        """A user's selection as bool[jets]."""


def _numbers(values: Any) -> Array:
    """One value per jet, NaN for None, float64."""
    import awkward as ak

    return np.asarray(ak.to_numpy(ak.fill_none(ak.Array(values), np.nan)), dtype=np.float64)


class FlatTable(Brief):
    """A record array with one record per jet.

    Parameters
    ----------
    jets : awkward array of records
        In memory or virtual; records may be None.

    Raises
    ------
    InputFileError
        If it is not an array of records.

    Examples
    --------
    >>> import awkward as ak
    >>> table = FlatTable(ak.Array([{"jet_pt": 300.0, "part_px": [1.0, 2.0]}, {"jet_pt": 500.0, "part_px": []}]))
    >>> len(table), table.column("jet_pt").tolist()
    (2, [300.0, 500.0])
    """

    title = "a table with one row per jet"
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

    def column(self, name: str, rows: Array | None = None) -> Any:
        """A column, one entry per jet, of all jets or of those at ``rows``, int[n]."""
        return self.jets[name] if rows is None else self.jets[name][rows]

    def lengths(self, names: Iterable[str]) -> Array:
        """Total number of values per jet in the lists of these columns, int64[jets]."""
        import awkward as ak

        total = np.zeros(len(self), dtype=np.int64)
        for name in names:
            if self.jets[name].ndim > 1:
                total += ak.to_numpy(ak.fill_none(ak.num(self.jets[name], axis=1), 0))
        return total

    def stored(self, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
        """These columns."""
        return ((name, self.jets[name]) for name in names)

    def moved(self, kinematics: Mapping[str, Any]) -> FlatTable:
        """The same jets after a variation.

        Parameters
        ----------
        kinematics : mapping of str to array
            ``pt``, ``eta``, ``phi`` or ``mass`` (GeV), or another column ``jet_...`` without ``jet_``; one number per
            jet. An energy in the table is scaled accordingly. Columns relative to the jet (``part_deta``) are kept.

        Returns
        -------
        FlatTable

        Raises
        ------
        MismatchError
            If the number of values differs from that of jets.
        MissingColumns
            If the energy cannot be scaled.
        """
        import awkward as ak

        new: dict[str, Array] = {}
        for key, values in kinematics.items():
            plain = _numbers(values)
            if plain.shape != (len(self),):
                raise MismatchError(f"the kinematics {key!r} are not aligned with the table ({len(self)} jets)")
            new[f"jet_{key}"] = plain
        moves_energy = {"jet_pt", "jet_eta", "jet_mass"} & new.keys()
        if moves_energy and "jet_energy" in self.fields and "jet_energy" not in new:
            lacking = [name for name in ("jet_pt", "jet_eta") if name not in self.fields]
            if lacking:
                raise MissingColumns(
                    f"kinematics: the energy of the jets cannot be recomputed without the column {lacking[0]}"
                )
            pt, eta, total = (_numbers(self.jets[name]) for name in ("jet_pt", "jet_eta", "jet_energy"))
            stored = np.sqrt(np.maximum(total**2 - (pt * np.cosh(eta)) ** 2, 0))
            new["jet_energy"] = energy(new.get("jet_pt", pt), new.get("jet_eta", eta), new.get("jet_mass", stored))
        jets = self.jets
        for name, values in new.items():
            if name in self.fields:
                jets = ak.with_field(jets, values.astype(np.float32), name)
        return FlatTable(jets)

    def has(self, column: str) -> bool:
        """Whether there is a column; nothing is read."""
        return column in self.fields

    def values(self, name: str) -> Array:
        """A jet-level variable, NaN for None; float or integer[jets].

        Raises
        ------
        UnknownName
            If the column does not exist.
        MismatchError
            If it does not have one number per jet.
        """
        import awkward as ak

        if name not in self.fields:
            raise UnknownName("column", name, self.fields, self.title)
        array = self.jets[name]
        if array.ndim != 1:
            raise MismatchError(f"{name} is {array.type}, expected one number per jet")
        return np.asarray(ak.to_numpy(ak.fill_none(array, np.nan) if "?" in str(array.type) else array))

    @property
    def present(self) -> Array:
        """Mask of jets that are not None, bool[jets]."""
        import awkward as ak

        if self._present is None:
            self._present = not_none(ak.to_layout(self.jets))
        return self._present

    def partial(self, min_pt_share: float | None = None) -> Array:
        """All false: a row contains all constituents of a jet, bool[jets]."""
        return np.zeros(len(self), dtype=bool)

    def mask(self, where: Any) -> Array:
        """A user's selection as bool[jets].

        Raises
        ------
        MismatchError
            If it is not aligned with the jets.
        """
        import awkward as ak

        expected = f"a bool array with one entry per jet ({len(self)} jets)"
        try:
            flags = ak.to_numpy(ak.fill_none(ak.Array(where), False))
        except (ValueError, TypeError) as error:
            raise MismatchError(f"where is {type(where).__name__}, expected {expected}") from error
        if flags.shape != (len(self),) or (flags.dtype != np.bool_ and len(flags)):
            raise MismatchError(f"where is {flags.dtype}{list(flags.shape)}, expected {expected}")
        return flags.astype(bool)
