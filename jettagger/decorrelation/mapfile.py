"""Maps: numbers and decisions for jets that do not depend on protected columns, stored as correctionlib JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from jettagger._version import __version__
from jettagger.discriminants import Discriminant, discriminant
from jettagger.discriminants.derived import (
    NEVER,
    SYSTEMATICS,
    BackgroundSample,
    DerivedFile,
    decisions,
    description,
    numbers_of_jets,
)
from jettagger.discriminants.tables import presets
from jettagger.display import Brief, Grid, ObjectSummary, aligned
from jettagger.errors import ConfigError, UnknownName

__all__ = ["DecorrelationMap", "MapCount", "as_discriminant", "map_text"]

#: format of the description of maps
FORMAT = "map 1"


@dataclass(frozen=True)
class MapCount(Brief):
    """How many jets a map was applied to.

    Attributes
    ----------
    jets : int
        All jets.
    without_score : int
        Jets without a score, which get None.
    outside : int
        Jets with a score outside of the map, which get its value for these.
    """

    jets: int
    without_score: int
    outside: int

    def __str__(self) -> str:
        return f"{self.jets} jets, {self.without_score} without a score, {self.outside} outside of the map"

    def __add__(self, other: MapCount) -> MapCount:
        return MapCount(self.jets + other.jets, self.without_score + other.without_score, self.outside + other.outside)


class DecorrelationMap(DerivedFile):
    """A number for each jet computed from its discriminant and protected columns, decorrelated from these.

    Made by `fit_linear`, `fit_thresholds`, `fit_quantiles`, or `load_map`. A value: its pickle is the JSON text.

    Attributes
    ----------
    discriminant : Discriminant
        The discriminant that it replaces.
    name : str
        Name of the correction in the file, and of columns.
    method : str
        ``linear``, ``thresholds`` or ``quantiles``.
    inputs : dict
        Input of the correction -> column.
    efficiencies : dict
        Name -> background efficiency, for thresholds; otherwise empty.
    outside : float
        The number for jets outside of the map or without a protected column. It fails every cut.
    record : dict
        Details of the fit: parameters, sizes of the sample, weights, versions.
    origin, prefix, scores
        The model of the scores, their prefix and names.
    """

    title: ClassVar[str] = "map"
    holds: ClassVar[str] = "the numbers of a map"
    formats: ClassVar[tuple[Any, ...]] = (FORMAT,)
    #: the method of the class
    method: ClassVar[str] = ""

    def _read(self, described: dict[str, Any]) -> None:
        if described["method"] != self.method:
            raise ValueError(f"a map of {described['method']!r}, not of {self.method!r}")
        self.efficiencies: dict[str, float] = dict(described["efficiencies"])
        self.outside = float(described["outside"])
        self.name: str = self._correction

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} of {self.discriminant.name or self.discriminant}>"

    # ---------------------------------------------------------------------------------------- application

    def __call__(
        self,
        jets: Any,
        efficiency: str | float | None = None,
        *,
        systematic: str = "nominal",
        prefix: str | None = None,
        collection: str = "FatJet",
        model: Any = None,
    ) -> Any:
        """The decorrelated number for each jet.

        Parameters
        ----------
        jets : awkward array or record, dask-awkward array, pyarrow table, or mapping of arrays
            As for discriminants, with the protected columns.
        efficiency : str or float, optional
            For thresholds with several efficiencies: which one, by its name or value.
        systematic : {"nominal", "up", "down"}
            Shifted by one standard deviation due to the size of the sample: ``up`` to a higher threshold.
        prefix : str, optional
            Prefix of the tagger, required if there are several.
        collection : str
            Name of the jets in events and skims.
        model : path, mapping, Tagger or Bundle, optional
            Origin of the scores, as for working points.

        Returns
        -------
        awkward array, NumPy array, float or None
            float64 in the nesting of the jets; None (NaN in NumPy arrays) for jets without a score, `outside` for jets
            outside of the map.

        Raises
        ------
        MissingColumns
            If a score or a protected column is missing.
        MismatchError
            If the scores belong to another model than that of the map.
        UnknownName
            If the efficiency or the systematic does not exist.
        """
        values, others, columns = self._values(jets, prefix, collection, model)
        evaluate = _Evaluate(self, self._selected(efficiency), _systematic(systematic))
        if columns.lazy:
            import dask_awkward

            return dask_awkward.map_partitions(evaluate.numbers, values, *others, label=f"map-{self.name}")
        return evaluate.numbers(values, *others)

    def passes(
        self,
        jets: Any,
        efficiency: str | float | None = None,
        *,
        systematic: str = "nominal",
        prefix: str | None = None,
        collection: str = "FatJet",
        model: Any = None,
    ) -> Any:
        """Whether jets pass at a background efficiency.

        Parameters
        ----------
        jets, systematic, prefix, collection, model
            As in a call.
        efficiency : str or float
            For thresholds the name or value of one of the efficiencies; for quantiles any number between 0 and 1.

        Returns
        -------
        array or bool
            ``bool`` in the nesting of the jets. Jets without a score and jets outside of the map fail.

        Raises
        ------
        ConfigError
            If the map has no efficiencies.
        UnknownName, MissingColumns, MismatchError
            As in a call.
        """
        values, others, columns = self._values(jets, prefix, collection, model)
        at_least = self.cut(efficiency)
        decide = _Evaluate(self, self._selected(efficiency), _systematic(systematic), at_least)
        if columns.lazy:
            import dask_awkward

            return dask_awkward.map_partitions(decide.decisions, values, *others, label=f"passes-{self.name}")
        return decide.decisions(values, *others)

    def cut(self, efficiency: str | float | None = None) -> float:
        """The lowest number of jets that pass at a background efficiency.

        Parameters
        ----------
        efficiency : str or float

        Returns
        -------
        float

        Raises
        ------
        ConfigError
            If the map has no efficiencies, or the number is not between 0 and 1.
        UnknownName
            If the efficiency does not exist.
        """
        raise ConfigError(f"{self._name}: a linear map has no efficiencies: cut on its number")

    def count(self, jets: Any, *, prefix: str | None = None, collection: str = "FatJet", model: Any = None) -> MapCount:
        """How many jets have no score and how many are outside of the map.

        Parameters
        ----------
        jets, prefix, collection, model
            As in a call; not dask-awkward arrays.

        Returns
        -------
        MapCount
        """
        first = next(iter(self.efficiencies), None)
        return self.count_of(self(jets, first, prefix=prefix, collection=collection, model=model))

    def count_of(self, numbers: Any) -> MapCount:
        """The same from the numbers that the map gave, of any efficiency.

        Parameters
        ----------
        numbers : array
            The result of a call.

        Returns
        -------
        MapCount
        """
        import awkward as ak

        # None among lists is an event, which has no jets
        flat = ak.to_numpy(ak.fill_none(ak.ravel(ak.fill_none(ak.Array(numbers), np.nan, axis=-1)), np.nan))
        scored = flat[np.isfinite(flat)]
        return MapCount(len(flat), len(flat) - len(scored), int(np.count_nonzero(self._is_outside(scored))))

    def _is_outside(self, numbers: Any) -> Any:
        """Which numbers are those of jets outside of the map."""
        return np.abs(numbers) >= NEVER / 2

    def _selected(self, efficiency: str | float | None) -> str:
        """The working point to evaluate, by its name; empty for maps that have none."""
        return ""

    def _evaluate(self, point: str, systematic: str, scores: Any, columns: Sequence[Any]) -> Any:
        """The numbers of flat jets by correctionlib; NaN in a column is outside of the map."""
        points = [point] if point else []
        return self.evaluator.evaluate(*points, systematic, scores, *columns)

    # ---------------------------------------------------------------------------------------- display

    def report(self) -> dict[str, Any]:
        """The content of the record with the name, method, discriminant and inputs, for JSON."""
        return {
            "name": self.name,
            "method": self.method,
            "discriminant": str(self.discriminant),
            "inputs": dict(self.inputs),
            "efficiencies": dict(self.efficiencies),
            "outside": self.outside,
            **self.record,
        }

    def table(self) -> str:
        """What the map does as text, with the origin of the scores."""
        return "\n".join([*self._context(), "", *aligned(self._rows())])

    def _context(self) -> list[str]:
        record = self.record
        lines = [*super()._context(), f"columns: {', '.join(f'{name} = {at}' for name, at in self.inputs.items())}"]
        lines.append(
            f"jets: {record['jets']}; left out: {record['without_score']} without a score, {record['outside']} outside "
            "of the map"
        )
        lines.append(f"jets outside of the map get {self.outside:g}")
        return lines

    def _rows(self) -> list[list[str]]:
        """Rows of a table, the header first."""
        return [["map"]]

    def summary(self) -> ObjectSummary:
        """Discriminant, origin of the scores, and content, for display."""
        what, *context = self._context()
        facts = [("", what)]
        for line in context:
            name, _, text = line.partition(": ")
            facts.append((name, text))
        header, *rows = self._rows()
        return ObjectSummary(
            f"{type(self).__name__} {self.name}", facts, [Grid(self.method, header, rows, max(len(header) - 1, 0))]
        )


def _systematic(name: str) -> str:
    if name not in SYSTEMATICS:
        raise UnknownName("systematic", name, SYSTEMATICS)
    return name


@dataclass(frozen=True)
class _Evaluate:
    """The evaluation for one chunk; a value, so that dask can send it."""

    map: DecorrelationMap
    point: str
    systematic: str
    at_least: float = 0.0

    def numbers(self, values: Any, *others: Any) -> Any:
        return numbers_of_jets(self._flat, values, others)

    def decisions(self, values: Any, *others: Any) -> Any:
        return decisions(self._passing, values, others)

    def _flat(self, scores: Any, *columns: Any) -> Any:
        return self.map._evaluate(self.point, self.systematic, scores, columns)

    def _passing(self, scores: Any, *columns: Any) -> Any:
        # jets without a score come as NaN or -inf
        there = np.isfinite(scores)
        numbers = self._flat(np.where(there, scores, 0.0), *columns)
        return there & (numbers >= self.at_least)


def as_discriminant(given: Discriminant | str) -> Discriminant:
    """A discriminant, a preset by name, or text, which may be the name of one column.

    Examples
    --------
    >>> print(as_discriminant("HbbvsQCD"), as_discriminant("1 - tau2 / tau1"), sep=", ")
    sum(Hbb) / (sum(Hbb) + sum(QCD)), 1 - tau2 / tau1
    """
    if isinstance(given, Discriminant):
        return given
    return discriminant(given) if given in presets() else Discriminant.from_string(given)


def map_text(
    method: str,
    item: Discriminant,
    sample: BackgroundSample,
    *,
    name: str,
    inputs: Mapping[str, str],
    record: Mapping[str, Any],
    corrections: Callable[[str], Sequence[Mapping[str, Any]]],
    outside: float,
    efficiencies: Mapping[str, float],
) -> str:
    """The correctionlib JSON of a map.

    Parameters
    ----------
    method : str
    item : Discriminant
    sample : BackgroundSample
    name : str
        Of the map; default: that of the discriminant.
    inputs : mapping of str to str
    record : mapping
        Details of the fit; sizes of the sample and weights are added.
    corrections : callable
        Name -> contents of corrections; the first is that of the map.
    outside : float
    efficiencies : mapping of str to float

    Returns
    -------
    str
    """
    import json

    title = name or item.name or "discriminant"
    scored = np.isfinite(sample.scores)
    content = {
        "schema_version": 2,
        "description": description(
            item,
            sample,
            {
                "jettagger": __version__,
                "without_score": int((~scored).sum()),
                "weighted": sample.weighted,
                "weights": sample.weighting,
                **record,
            },
            form=FORMAT,
            inputs=inputs,
            step="map",
            method=method,
            efficiencies=dict(efficiencies),
            outside=outside,
        ),
        "corrections": list(corrections(title)),
    }
    return json.dumps(content, allow_nan=False) + "\n"


def variables(inputs: Mapping[str, str], *first: Mapping[str, str], score: str = "") -> list[dict[str, str]]:
    """The inputs of a correction: text, the score, and the protected columns."""
    systematic = {"name": "systematic", "type": "string", "description": "nominal, up, down (one standard deviation)"}
    made = [*map(dict, first), systematic]
    if score:
        made.append({"name": "score", "type": "real", "description": score})
    return made + [{"name": key, "type": "real", "description": column} for key, column in inputs.items()]


def category(name: str, contents: Mapping[str, Any]) -> dict[str, Any]:
    """A node that chooses by a text input."""
    return {
        "nodetype": "category",
        "input": name,
        "content": [{"key": key, "value": value} for key, value in contents.items()],
    }
