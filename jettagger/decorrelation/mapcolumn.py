"""The number of a map as a column of jets, where a discriminant can stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jettagger.arguments import guard
from jettagger.decorrelation.mapfile import DecorrelationMap
from jettagger.discriminants.derived import DerivedFile
from jettagger.discriminants.derivedcolumn import DerivedColumn

__all__ = ["MapColumn"]


@dataclass(frozen=True, eq=False)
class MapColumn(DerivedColumn):
    """The number of a map for each jet, with the methods of a discriminant that a search uses.

    Parameters
    ----------
    map : DecorrelationMap
    efficiency : str or float, optional
        For maps of thresholds: at which efficiency; not needed if there is only one.
    name : str
        Of the column.

    Raises
    ------
    ConfigError, UnknownName
        If the map does not have the efficiency.
    """

    map: DecorrelationMap
    efficiency: str | float | None = None
    name: str = ""

    def __post_init__(self) -> None:
        self.map._selected(self.efficiency)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MapColumn) and (self.map, self.efficiency) == (other.map, other.efficiency)

    def __hash__(self) -> int:
        return hash((self.map.digest, self.efficiency))

    @property
    def derived(self) -> DerivedFile:
        """The map."""
        return self.map

    @property
    def label(self) -> str:
        """What it is, in messages."""
        return f"map {self.map.name!r}"

    def __call__(self, jets: Mapping[str, Any], *, prefix: str | None = None, model: Any = None) -> Any:
        """The number for each jet.

        Parameters
        ----------
        jets : mapping of str to array
            The columns of `resolve`.
        prefix : str, optional
        model : Tagger or Bundle, optional
            Origin of the scores.

        Returns
        -------
        array
            As for the map.

        Raises
        ------
        MismatchError
            If the scores belong to another model than that of the map.
        """
        used = self._prefix(tuple(jets), prefix)
        return self.map(jets, self.efficiency, prefix=used, model=model if self.of_model else None)


guard(globals())
