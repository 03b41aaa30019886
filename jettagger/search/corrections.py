"""Corrections of simulation from files of correctionlib, declared in the configuration of a search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, UnknownName
from jettagger.expressions import Expression, parse
from jettagger.search.correctiontables import OUTSIDE, CorrectionTable
from jettagger.types import Bools, Floats, Ints

__all__ = [
    "ALL_ERAS",
    "CANDIDATES",
    "SYSTEMATIC",
    "CorrectionFactor",
    "EventCorrections",
    "Systematic",
    "correction_notes",
]

#: the input that names the variation
SYSTEMATIC = "$systematic"

#: all candidates of a search, for corrections of each of them
CANDIDATES = "jets"

#: the era of tables that apply to all samples
ALL_ERAS = ""


@dataclass(frozen=True)
class Systematic(Brief):
    """Values of the input `SYSTEMATIC` for a variation.

    Parameters
    ----------
    up, down : str
    where : str or Expression, optional
        Condition on the objects, or the events, to which it applies; others keep the nominal value.
    """

    up: str
    down: str
    where: Any = None

    def __post_init__(self) -> None:
        if self.where is not None and not isinstance(self.where, Expression):
            object.__setattr__(self, "where", parse(self.where, "condition of a systematic"))


@dataclass(frozen=True)
class EventCorrections(Brief):
    """The weights of the events of a chunk.

    Attributes
    ----------
    nominal : float64[events]
    shifts : dict of str to (float64[events], float64[events])
        Source -> up and down; the only one without a name is ``""``.
    count : dict of str to int
        ``values`` that were corrected, and those ``outside``, for which the file has no number.
    """

    nominal: Floats
    shifts: Mapping[str, tuple[Floats, Floats]]
    count: Mapping[str, int]

    def add_to(self, weights: Any, name: str) -> None:
        """Add them to weights of coffea, with the variations ``<name>Up`` or ``<name>_<source>Up`` and so on.

        Parameters
        ----------
        weights : coffea.analysis_tools.Weights
        name : str
        """
        if not self.shifts:
            weights.add(name, self.nominal.copy())
        elif "" in self.shifts:
            weights.add(name, self.nominal.copy(), *(side.copy() for side in self.shifts[""]))
        else:
            ups, downs = ([sides[i].copy() for sides in self.shifts.values()] for i in (0, 1))
            weights.add_multivariation(name, self.nominal.copy(), list(self.shifts), ups, downs)


@dataclass(frozen=True)
class CorrectionFactor(Brief):
    """A correction of simulation by a file of correctionlib, with its variations.

    Parameters
    ----------
    tables : mapping of str to CorrectionTable
        Era -> correction; the key `ALL_ERAS` alone: the same for all samples.
    inputs : mapping of str to mapping of str to (str, int, float or Expression)
        Era, as in ``tables`` -> input -> its value: text for an input of type ``string``, `SYSTEMATIC` for the one that
        names the variation; otherwise a number or an expression.
    nominal : str
        Value of the input `SYSTEMATIC` without variation.
    systematics : mapping of str to Systematic
        Source -> its values; one with the name ``""`` has the variations of the weight itself.
    each : str, optional
        Objects over which the weight of an event is the product: ``jets`` (the candidates), a collection of the events
        or selected objects. Names without a dot in expressions are then columns of these objects.
    selection : str or Expression, optional
        With ``each``: condition on objects that count.
    outside : {"refuse", "clamp", "one"}
        Where the file has no number: an error, the number of the nearest bin, or 1.

    Raises
    ------
    ConfigError
        If inputs are missing, or have values of another type.
    UnknownName
        If an input, or a value of one of type ``string``, is not in the file.
    """

    tables: Mapping[str, CorrectionTable]
    inputs: Mapping[str, Mapping[str, Any]]
    nominal: str = "nominal"
    systematics: Mapping[str, Systematic] = field(default_factory=dict)
    each: str | None = None
    selection: Any = None
    outside: str = "refuse"

    def __post_init__(self) -> None:
        if self.outside not in OUTSIDE:
            raise UnknownName("value of 'outside'", self.outside, OUTSIDE)
        if self.selection is not None and self.each is None:
            raise ConfigError("'selection' belongs to 'each', the objects that it selects")
        if "" in self.systematics and len(self.systematics) > 1:
            raise ConfigError("give either up and down, or systematics with names")
        if set(self.tables) != set(self.inputs) or not self.tables:
            raise ConfigError(f"tables of {', '.join(self.tables)}, but inputs of {', '.join(self.inputs)}")
        object.__setattr__(self, "tables", dict(self.tables))
        object.__setattr__(self, "systematics", dict(self.systematics))
        if self.selection is not None and not isinstance(self.selection, Expression):
            object.__setattr__(self, "selection", parse(self.selection, "selection of a correction"))
        read = {era: self._read(self.tables[era], values) for era, values in self.inputs.items()}
        object.__setattr__(self, "inputs", read)
        expressions = [item for values in read.values() for item in values.values() if isinstance(item, Expression)]
        if self.each is not None and all("." in name for item in expressions for name in item.names):
            raise ConfigError(f"no input depends on a column of {self.each!r}, over which the weight is a product")

    def _read(self, table: CorrectionTable, values: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs in the order of the correction, checked."""
        where = f"correction {table.correction!r} ({table.name})"
        unknown = [name for name in values if name not in table.inputs]
        if unknown:
            raise UnknownName("input", unknown, table.inputs, where)
        missing = [f"{name} ({kind})" for name, kind in table.inputs.items() if name not in values]
        if missing:
            raise ConfigError(f"{where}: no value for the inputs {', '.join(missing)}")
        made: dict[str, Any] = {}
        for name, kind in table.inputs.items():
            value = values[name]
            if value == SYSTEMATIC or kind == "string":
                if kind != "string" or not isinstance(value, str):
                    got = "the systematic" if value == SYSTEMATIC else repr(value)
                    raise ConfigError(f"{where}: the input {name!r} is of type {kind}, got {got}")
                if value != SYSTEMATIC:
                    table.check_key(name, value)
                made[name] = value
            elif isinstance(value, bool) or not isinstance(value, (str, int, float, Expression)):
                raise ConfigError(f"{where}: the input {name!r} must be a number or an expression, got {value!r}")
            else:
                made[name] = value if isinstance(value, Expression) else parse(str(value), f"input {name!r}")
        varied = [name for name, value in made.items() if value == SYSTEMATIC]
        if self.systematics and not varied:
            raise ConfigError(
                f"{where}: variations are given, but none of the inputs {', '.join(made)} is {SYSTEMATIC!r}"
            )
        keys = [self.nominal, *(key for item in self.systematics.values() for key in (item.up, item.down))]
        for name in varied:
            for key in keys:
                table.check_key(name, key)
        return made

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources of uncertainty; ``""`` for the variations of the weight itself."""
        return tuple(self.systematics)

    def names(self, name: str) -> tuple[str, ...]:
        """The names of its variations in a search, without ``Up`` and ``Down``.

        Parameters
        ----------
        name : str
            Of the weight.

        Returns
        -------
        tuple of str
        """
        return tuple(f"{name}_{source}" if source else name for source in self.sources)

    @property
    def files(self) -> tuple[str, ...]:
        """The names of its files."""
        return tuple(dict.fromkeys(table.name for table in self.tables.values()))

    def to_dict(self) -> dict[str, Any]:
        """Era -> file, correction and digest, for the record of an output."""
        return {
            era or "all": {"file": table.name, "correction": table.correction, "digest": table.digest}
            for era, table in self.tables.items()
        }

    def _era(self, era: str) -> str:
        key = ALL_ERAS if ALL_ERAS in self.tables else era
        if key not in self.tables:
            raise UnknownName("era", key, self.tables, "the files of a correction")
        return key

    def expressions(self, n_jets: int) -> Iterator[tuple[str, Expression]]:
        """The columns that it reads, each with the key of the configuration that asks for it.

        Parameters
        ----------
        n_jets : int
            Number of candidates.

        Yields
        ------
        str, Expression
        """
        found: dict[tuple[str, str], None] = {}
        parts = [("inputs", value) for values in self.inputs.values() for value in values.values()]
        parts += [("selection", self.selection)]
        parts += [("systematics", item.where) for item in self.systematics.values()]
        for key, value in parts:
            for name in value.names if isinstance(value, Expression) else ():
                for full in self._columns(name, n_jets):
                    found.setdefault((key, full))
        for key, name in found:
            yield key, parse(name)

    def _columns(self, name: str, n_jets: int) -> tuple[str, ...]:
        if self.each is None or "." in name:
            return (name,)
        if self.each == CANDIDATES:
            return tuple(f"jet{number}.{name}" for number in range(1, n_jets + 1))
        return (f"{self.each}.{name}",)

    def check(self, eras: Mapping[str, Any]) -> None:
        """Refuse files of other eras than those of the search.

        Parameters
        ----------
        eras : mapping of str to Era

        Raises
        ------
        UnknownName
            If a file is of an unknown era.
        ConfigError
            If an era has no file.
        """
        if ALL_ERAS in self.tables:
            return
        unknown = [era for era in self.tables if era not in eras]
        if unknown:
            raise UnknownName("era", unknown, eras, "the files of a correction")
        lacking = [era for era in eras if era not in self.tables]
        if lacking:
            raise ConfigError(f"no file of the era {lacking[0]!r}, got those of {', '.join(self.tables)}")

    def event_weights(self, columns: Any, era: str, n_jets: int, numbers: Sequence[Any]) -> EventCorrections:
        """The weights of the events of a chunk.

        Parameters
        ----------
        columns : mapping
            Candidates, objects and columns of the events, with ``find`` for dotted names.
        era : str
            Of the sample.
        n_jets : int
            Number of candidates.
        numbers : sequence
            Event numbers, for messages.

        Returns
        -------
        EventCorrections
            1 for events without the candidates in the inputs, and without objects.

        Raises
        ------
        InvalidValues
            If a value is missing, is not whole where it must be, or the file has no number for it.
        UnknownName
            If a column does not exist.
        """
        size = len(numbers)
        era = self._era(era)
        nominal = np.ones(size)
        shifts = {source: (np.ones(size), np.ones(size)) for source in self.sources}
        count = {"values": 0, "outside": 0}
        for objects in self._objects(columns, n_jets, size):
            if self.selection is not None:
                objects = objects.chosen(_flags(self.selection, objects))
            factors, sides, outside = self._factors(era, objects, np.asarray(numbers)[objects.rows])
            np.multiply.at(nominal, objects.rows, factors)
            for source, pair in sides.items():
                for total, side in zip(shifts[source], pair, strict=True):
                    np.multiply.at(total, objects.rows, side)
            count["values"] += len(objects.rows)
            count["outside"] += outside
        return EventCorrections(nominal, shifts, count)

    def _factors(
        self, era: str, objects: _Objects, numbers: Any
    ) -> tuple[Floats, dict[str, tuple[Floats, Floats]], int]:
        """Nominal factors, those of each source, and the number of values outside."""
        table = self.tables[era]
        values: dict[str, Any] = {}
        for name, value in self.inputs[era].items():
            values[name] = value
            if isinstance(value, Expression):
                values[name] = objects.evaluate(value)
                self._check(table, name, value, values[name], numbers)

        def evaluated(key: str, chosen: Any = slice(None)) -> tuple[Floats, Bools]:
            given = {
                name: (key if value == SYSTEMATIC else value)
                if isinstance(value, str)
                else _typed(table, name, value[chosen])
                for name, value in values.items()
            }
            return table.evaluate(given, len(numbers[chosen]), self.outside, numbers[chosen])

        nominal, outside = evaluated(self.nominal)
        sides: dict[str, tuple[Floats, Floats]] = {}
        for source, item in self.systematics.items():
            applies: Any = slice(None) if item.where is None else _flags(item.where, objects)
            pair = (nominal.copy(), nominal.copy())
            for side, key in zip(pair, (item.up, item.down), strict=True):
                side[applies] = evaluated(key, applies)[0]
            sides[source] = pair
        return nominal, sides, int(np.count_nonzero(outside))

    @staticmethod
    def _check(table: CorrectionTable, name: str, expression: Expression, values: Floats, numbers: Any) -> None:
        """Refuse missing values, and fractions where whole numbers are expected."""
        missing = np.isnan(values)
        if missing.any():
            raise InvalidValues(
                f"correction {table.correction!r}: the input {name!r} ({expression}) has no value for event "
                f"{numbers[np.argmax(missing)]}; {np.count_nonzero(missing)} of {len(values)} are missing"
            )
        fractions = np.rint(values) != values
        if table.inputs[name] == "int" and fractions.any():
            first = np.argmax(fractions)
            raise InvalidValues(
                f"correction {table.correction!r}: the input {name!r} is a whole number, but {expression} is "
                f"{values[first]:g} for event {numbers[first]}"
            )

    def _objects(self, columns: Any, n_jets: int, size: int) -> Iterator[_Objects]:
        """What is corrected: events, candidates or objects."""
        import awkward as ak

        names = list(dict.fromkeys(item.text for _, item in self.expressions(n_jets)))
        if self.each is None:
            present = np.ones(size, dtype=bool)
            for name in names:
                present &= ~_absent(columns, name, size)
            yield _Objects(np.flatnonzero(present), columns)
        elif self.each == CANDIDATES:
            for number in range(1, n_jets + 1):
                jets = columns[f"jet{number}"]
                rows = np.flatnonzero(~ak.to_numpy(ak.is_none(jets)))
                yield _Objects(rows, columns, jets, rows)
        else:
            if self.each not in list(columns):
                raise UnknownName("collection", self.each, list(columns), "a correction of each object")
            objects = columns[self.each]
            own = [name.partition(".")[2] for name in names if name.partition(".")[0] == self.each]
            known = list(getattr(objects, "fields", None) or objects)
            unknown = [name for name in own if name not in known]
            if unknown:
                raise UnknownName("column", unknown, known, self.each)
            lengths = ak.to_numpy(ak.num(objects[own[0]], axis=1))
            flat = {name: ak.flatten(objects[name], axis=1) for name in own}
            yield _Objects(np.repeat(np.arange(size), lengths), columns, flat, slice(None))


@dataclass(frozen=True)
class _Objects:
    """Events, candidates or objects.

    Attributes
    ----------
    rows : int[n]
        The event of each.
    columns : mapping
        Of the events.
    own : mapping or record array, optional
        Columns of the objects.
    index : int[n], bool[all] or slice, optional
        Those of ``own``.
    """

    rows: Ints
    columns: Any
    own: Any = None
    index: Any = None

    def chosen(self, mask: Bools) -> _Objects:
        """Some of them."""
        index = (
            None
            if self.own is None
            else np.arange(len(mask))[mask]
            if isinstance(self.index, slice)
            else self.index[mask]
        )
        return _Objects(self.rows[mask], self.columns, self.own, index)

    def evaluate(self, expression: Expression) -> Floats:
        """An expression, float64[n]; NaN where it has no value."""
        import awkward as ak

        values = {}
        for name in expression.names:
            if self.own is not None and "." not in name:
                values[name] = self.own[name][self.index]
            else:
                values[name] = self.columns.find(name)[self.rows]
        found = expression.evaluate(values)
        if isinstance(found, ak.Array):
            found = ak.to_numpy(ak.fill_none(ak.values_astype(found, np.float64), np.nan))
        return np.array(np.broadcast_to(np.asarray(found, dtype=np.float64), (len(self.rows),)))


def _typed(table: CorrectionTable, name: str, values: Floats) -> Any:
    return values.astype(np.int64) if table.inputs[name] == "int" else values


def _absent(columns: Any, name: str, size: int) -> Bools:
    """Events without the candidate or object of a column; of derived quantities, those without candidates."""
    import awkward as ak

    front, _, column = name.partition(".")
    found = columns[front] if column and front in list(columns) else columns["jet1"]
    if not (isinstance(found, ak.Array) and found.ndim == 1 and found.fields):
        return np.zeros(size, dtype=bool)
    flags = ak.is_none(found)
    if flags.fields:  # records that are always there
        return np.zeros(size, dtype=bool)
    absent: Bools = ak.to_numpy(flags)
    return absent if column else absent & ak.to_numpy(ak.is_none(columns.find(name)))


def _flags(condition: Expression, objects: _Objects) -> Bools:
    """Where a condition holds; not where it has no value."""
    return np.nan_to_num(objects.evaluate(condition)) != 0


def correction_notes(counts: Mapping[str, Mapping[str, Mapping[str, int]]], outside: Mapping[str, str]) -> list[str]:
    """Values for which files of corrections have no number.

    Parameters
    ----------
    counts : mapping
        Data set -> weight -> ``values`` and ``outside``.
    outside : mapping of str to str
        Weight -> what happened to them.

    Returns
    -------
    list of str

    Examples
    --------
    >>> correction_notes({"tt": {"id": {"values": 8, "outside": 2}}}, {"id": "one"})
    ["dataset 'tt', weight 'id': 2 of 8 values are outside of its bins and have a factor of 1"]
    """
    words = {"one": "have a factor of 1", "clamp": "have the factor of the nearest bin"}
    return [
        f"dataset {dataset!r}, weight {name!r}: {count['outside']} of {count['values']} values are outside of its bins "
        f"and {words[outside[name]]}"
        for dataset, weights in counts.items()
        for name, count in weights.items()
        if count["outside"]
    ]


guard(globals(), "CorrectionFactor")
