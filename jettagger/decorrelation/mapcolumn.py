"""The number of a map as a column of jets, where a discriminant can stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jettagger.arguments import guard
from jettagger.decorrelation.mapfile import DecorrelationMap
from jettagger.discriminants import Discriminant
from jettagger.discriminants.columns import Resolved
from jettagger.errors import JettaggerError, MissingColumns, hint

__all__ = ["MapColumn"]


@dataclass(frozen=True, eq=False)
class MapColumn:
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
    def discriminant(self) -> Discriminant:
        """The discriminant that the map replaces."""
        return self.map.discriminant

    @property
    def prefix(self) -> str | None:
        """The tagger that the discriminant asks for, if it does."""
        return self.discriminant.prefix

    @property
    def of_model(self) -> bool:
        """Whether the scores are those of a tagger, and not plain columns such as tau2 and tau1."""
        return self.map.prefix != ""

    def needs(self, names: str | Iterable[str]) -> tuple[str, ...]:
        """The required scores of a model; none for maps of plain columns.

        Parameters
        ----------
        names : str, or iterable of str
            As for `Discriminant.needs`.

        Returns
        -------
        tuple of str

        Raises
        ------
        UnknownName
            If the model lacks some; gives the nearest ones.
        """
        return self.discriminant.needs(names) if self.of_model else ()

    def resolve(self, columns: Iterable[str], *, prefix: str | None = None) -> Resolved:
        """The required columns among those given, with the protected ones.

        Parameters
        ----------
        columns : iterable of str
        prefix : str, optional
            Prefix of the tagger where no column has that of the map.

        Returns
        -------
        Resolved

        Raises
        ------
        ConfigError, MissingColumns, UnknownName
            As for discriminants, and for the protected columns.
        """
        columns = tuple(columns)
        found = self.discriminant.resolve(columns, prefix=self._prefix(columns, prefix))
        for axis, column in self.map.inputs.items():
            if column not in columns:
                raise MissingColumns(
                    f"the map {self.map.name!r} reads {axis} from the column {column!r}, which these jets lack"
                    f"{hint(column, columns)}"
                )
        inputs = {f"{axis} of the map": column for axis, column in self.map.inputs.items()}
        return replace(found, columns={**found.columns, **inputs})

    def _prefix(self, columns: tuple[str, ...], prefix: str | None) -> str | None:
        if self.map.prefix is None:
            return prefix
        try:
            self.discriminant.resolve(columns, prefix=self.map.prefix)
        except JettaggerError:
            return prefix
        return self.map.prefix

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

    def check_origin(self, source: Any) -> None:
        """Refuse scores of another model.

        Parameters
        ----------
        source : Tagger, Bundle, Origin or None

        Raises
        ------
        MismatchError
        """
        from jettagger.provenance import origin

        theirs = None if source is None else origin(source)
        if self.map.origin is not None and theirs is not None:
            self.map.origin.check(theirs, f"{self.map._name}: the numbers of a map on {self.discriminant}")


guard(globals())
