"""Numbers of jets from files derived from a discriminant, as columns where a discriminant can stand in a search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.discriminants.columns import Resolved
from jettagger.discriminants.derived import NEVER, DerivedFile, numbers_of_jets
from jettagger.discriminants.discriminant import Discriminant
from jettagger.discriminants.working_points import WorkingPoint
from jettagger.display import Brief
from jettagger.errors import JettaggerError, MissingColumns, hint

__all__ = ["DerivedColumn", "PointColumn"]


class DerivedColumn(Brief):
    """A number for each jet from a file derived from a discriminant, with the methods of a discriminant of a search.

    Attributes
    ----------
    derived : DerivedFile
        The file.
    label : str
        What it is, in messages.
    """

    @property
    def derived(self) -> DerivedFile:
        """The file."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """What it is, in messages."""
        return f"{self.derived.title} {self.derived._name!r}"

    @property
    def discriminant(self) -> Discriminant:
        """The discriminant that it replaces."""
        return self.derived.discriminant

    @property
    def prefix(self) -> str | None:
        """The tagger that the discriminant asks for, if it does."""
        return self.discriminant.prefix

    @property
    def of_model(self) -> bool:
        """Whether the scores are those of a tagger, and not plain columns such as tau2 and tau1."""
        return self.derived.prefix != ""

    def needs(self, names: str | Iterable[str]) -> tuple[str, ...]:
        """The required scores of a model; none for plain columns.

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
        """The required columns among those given, with the further ones of the file.

        Parameters
        ----------
        columns : iterable of str
        prefix : str, optional
            Prefix of the tagger where no column has that of the file.

        Returns
        -------
        Resolved

        Raises
        ------
        ConfigError, MissingColumns, UnknownName
            As for discriminants, and for the further columns.
        """
        columns = tuple(columns)
        found = self.discriminant.resolve(columns, prefix=self._prefix(columns, prefix))
        for axis, column in self.derived.inputs.items():
            if column not in columns:
                raise MissingColumns(
                    f"the {self.label} reads {axis} from the column {column!r}, which these jets lack"
                    f"{hint(column, columns)}"
                )
        kind = self.derived.title
        inputs = {f"{axis} of the {kind}": column for axis, column in self.derived.inputs.items()}
        return replace(found, columns={**found.columns, **inputs})

    def _prefix(self, columns: tuple[str, ...], prefix: str | None) -> str | None:
        if self.derived.prefix is None:
            return prefix
        try:
            self.discriminant.resolve(columns, prefix=self.derived.prefix)
        except JettaggerError:
            return prefix
        return self.derived.prefix

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
            In the nesting of the scores, None where these are.

        Raises
        ------
        MismatchError
            If the scores belong to another model.
        """
        raise NotImplementedError

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
        if self.derived.origin is not None and theirs is not None:
            what = f"{self.derived._name}: {self.derived.holds} on {self.discriminant}"
            self.derived.origin.check(theirs, what)


@dataclass(frozen=True, eq=False)
class PointColumn(DerivedColumn):
    """A working point as a column of jets: score minus threshold, which is not below zero for jets that pass.

    Parameters
    ----------
    point : WorkingPoint
    """

    point: WorkingPoint

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PointColumn) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash((self.derived.digest, self.point.name))

    def _content(self) -> tuple[Any, ...]:
        return (self.point.points.to_string(), self.point.name)

    @property
    def derived(self) -> DerivedFile:
        """The working points."""
        return self.point.points

    def __call__(self, jets: Mapping[str, Any], *, prefix: str | None = None, model: Any = None) -> Any:
        """Score minus threshold for each jet; see `DerivedColumn`."""
        used = self._prefix(tuple(jets), prefix)
        values, others, _ = self.point.points._values(jets, used, "FatJet", model if self.of_model else None)
        return numbers_of_jets(self._distance, values, others)

    def _distance(self, scores: Any, *others: Any) -> Any:
        given = (np.nan_to_num(item, nan=-NEVER) for item in others)
        return scores - self.point.threshold(**dict(zip(self.point.points.inputs, given, strict=True)))


guard(globals())
