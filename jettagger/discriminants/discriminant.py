"""Discriminants: expressions in scores with parameters, applied to jets."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.config.yamlfile import Document, check_keys, read_yaml, yaml_text
from jettagger.discriminants import algebra
from jettagger.discriminants.algebra import Node, Parameter, Score, Sum
from jettagger.discriminants.columns import Resolved, Unresolvable, resolve, resolve_names, table
from jettagger.discriminants.tables import Model, find_model, preset
from jettagger.discriminants.tables import model as model_named
from jettagger.display import Displayed, Grid, ObjectSummary, shortened, some
from jettagger.errors import ConfigError, MismatchError, UnknownName
from jettagger.files import complete_or_absent

__all__ = ["ZERO", "Discriminant", "discriminant", "load", "save"]

#: value of a quotient with a zero denominator: below every ratio of scores, so that it fails every cut
ZERO = -1.0

#: version of the files written by :func:`save`
VERSION = 1

_KEYS = ("expression", "preset", "form", "parameters", "zero", "label", "prefix", "text")


@dataclass(frozen=True)
class Discriminant(Displayed):
    """A number for each jet, computed from scores.

    Discriminants are equal if they compute the same number: name, label and text are ignored.

    Parameters
    ----------
    expression : Node
        The expression, see :mod:`jettagger.discriminants.algebra`.
    name : str
        Its name.
    parameters : mapping
        The values of the parameters in the expression.
    zero : float
        The value of a quotient whose denominator is zero.
    prefix : str, optional
        The tagger whose scores are used; by default the only one in the input.
    label, text : str
        Axis label for plots, and one-line description.

    Raises
    ------
    ConfigError
        If a parameter has no value, or a non-finite one.
    UnknownName
        If a parameter is not in the expression.

    Examples
    --------
    >>> from jettagger.discriminants import parameter, score, sum_of
    >>> signal = score("probHbb")
    >>> mine = Discriminant(signal / (signal + parameter("alpha") * sum_of("QCD")), parameters={"alpha": 2})
    >>> print(mine)
    probHbb / (probHbb + alpha * sum(QCD)) where alpha = 2
    >>> mine == Discriminant.from_string(str(mine))
    True
    >>> columns = {f"probQCD{name}": np.array([0.1]) for name in ("bb", "cc", "b", "c", "others")}
    >>> mine({"probHbb": np.array([0.5])} | columns)
    array([0.33333333])
    """

    expression: Node
    name: str = field(default="", compare=False)
    parameters: Mapping[str, float] = field(default_factory=dict)
    zero: float = ZERO
    prefix: str | None = None
    label: str = field(default="", compare=False)
    text: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        wanted = {node.name for node in self.expression.walk() if isinstance(node, Parameter)}
        scores = {node.name for node in self.expression.walk() if isinstance(node, Score)}
        what = f"discriminant {self.name or str(self.expression)!r}"
        for key, value in self.parameters.items():
            if key not in wanted:
                raise UnknownName("parameter", key, sorted(wanted), what)
            if key in scores:
                raise ConfigError(f"{what}: {key!r} is both a score and a parameter")
            _check_number(value, f"{what}: parameter {key!r}")
        for key in sorted(wanted - set(self.parameters)):
            raise ConfigError(f"{what}: the parameter {key!r} has no value")
        _check_number(self.zero, f"{what}: the value for an empty denominator")
        values = {key: float(self.parameters[key]) for key in sorted(wanted)}
        object.__setattr__(self, "parameters", values)
        object.__setattr__(self, "zero", float(self.zero))

    def __hash__(self) -> int:
        return hash((self.expression, tuple(self.parameters.items()), self.zero, self.prefix))

    def __str__(self) -> str:
        return self.to_string()

    def __repr__(self) -> str:
        return f"<Discriminant {self.name + ': ' if self.name else ''}{shortened(str(self))}>"

    def summary(self) -> ObjectSummary:
        """The expression, its scores and its parameters, for display."""
        scores = sorted({node.name for node in self.expression.walk() if isinstance(node, Score)})
        sums = sorted({str(node) for node in self.expression.walk() if isinstance(node, Sum)})
        facts = [
            ("expression", algebra.write(self.expression)),
            ("for", self.text),
            ("scores", some(scores)),
            ("sums of scores", some(sums)),
            ("tagger", self.prefix or "the only one that has these scores"),
            ("axis label", self.label),
            ("value for an empty denominator", f"{self.zero:g}"),
        ]
        rows = [(name, f"{value:g}") for name, value in self.parameters.items()]
        return ObjectSummary(
            f"Discriminant {self.name}".strip(), facts, [Grid("Parameters", ("name", "value"), rows, 1)]
        )

    # ---------------------------------------------------------------------------------------- application

    def __call__(self, jets: Any, *, prefix: str | None = None, collection: str = "FatJet") -> Any:
        """The value for each jet.

        Parameters
        ----------
        jets : awkward array or record, dask-awkward array, pyarrow table, or mapping of arrays
            Jets with columns ``<prefix>_<score>`` in any nesting, one jet, or events and skims with such jets as
            ``FatJet`` or as columns ``FatJet_<prefix>_<score>``.
        prefix : str, optional
            Prefix of the tagger; required if several taggers have the scores.
        collection : str
            Name of the jets in events and skims.

        Returns
        -------
        awkward array, NumPy array, float or None
            float64, in the nesting of the jets. A jet without all required scores gets None, in NumPy arrays NaN: this
            applies to scores that are None, NaN or infinite, and to negative scores of known models, by which
            experiments mark jets without scores. Dask arrays remain dask arrays.

        Raises
        ------
        ConfigError
            If several taggers have the scores and no prefix is given; lists them.
        MissingColumns
            If no tagger has them; lists what is missing.
        UnknownName
            If the given tagger does not exist.
        """
        columns = table(jets, collection)
        found = self.resolve(columns.columns, prefix=prefix)
        names = sorted(found.columns)
        if not names:
            raise ConfigError(f"{self}: contains no score, so it has no value for a jet")
        values = [columns.get(found.columns[name]) for name in names]
        compute = _Compute(self, found, tuple(names))
        if columns.lazy:
            import dask_awkward

            return dask_awkward.map_partitions(compute, *values, label=self.name or "discriminant")
        return compute(*values)

    def resolve(self, columns: Iterable[str], *, prefix: str | None = None) -> Resolved:
        """The required columns among those given.

        Parameters
        ----------
        columns : iterable of str
            The fields of a jet collection.
        prefix : str, optional
            Prefix of the tagger.

        Returns
        -------
        Resolved

        Raises
        ------
        ConfigError, MissingColumns, UnknownName
            As in a call.
        """
        prefix = self.prefix if prefix is None else prefix
        return resolve(self.expression, tuple(columns), prefix, self.name)

    def needs(self, names: str | Iterable[str]) -> tuple[str, ...]:
        """The required scores of a model.

        Parameters
        ----------
        names : str, or iterable of str
            A known model (``"inclParTMDV1"``), or the output names of a model.

        Returns
        -------
        tuple of str

        Raises
        ------
        UnknownName
            If the model lacks some; gives the nearest ones.

        Examples
        --------
        >>> discriminant("HWW4qvsQCD").needs("inclParTMDV1")[:4]
        ('probHWqqWqq0c', 'probHWqqWqq1c', 'probHWqqWqq2c', 'probQCDbb')
        """
        if isinstance(names, str):
            named = model_named(names)
            known: Model | None = named
            where = f"model {names!r}"
            outputs = named.outputs
        else:
            outputs, where = frozenset(names), "the model's outputs"
            known = find_model("", outputs)
        try:
            found = resolve_names(self.expression, "", outputs, known)
        except Unresolvable as error:
            place = f"{where}, which {self.name or str(self.expression)!r} needs"
            raise UnknownName("score or group", list(error.missing), error.known, place) from None
        order = [node for node in found.expression.walk() if isinstance(node, (Score, Sum))]
        scores = (item for node in order for item in (found.members[node] if isinstance(node, Sum) else (node.name,)))
        return tuple(dict.fromkeys(found.columns[item] for item in scores))

    # ---------------------------------------------------------------------------------------- variants

    def with_parameters(self, **parameters: float) -> Discriminant:
        """The same discriminant with other values of some parameters.

        Raises
        ------
        UnknownName
            If the parameter does not exist.
        """
        return replace(self, parameters={**self.parameters, **parameters})

    def log_ratio(self) -> Discriminant:
        """``log(signal / background)`` of a discriminant of the form ``signal / (signal + background)``.

        Raises
        ------
        ConfigError
            If it has another form.
        """
        whole = self.expression
        signal, division, lower = whole.split() if isinstance(whole, algebra.Chain) else (whole, "", whole)
        repeated, addition, background = lower.split() if isinstance(lower, algebra.Chain) else (lower, "", lower)
        if (division, addition) == ("/", "+") and repeated == signal:
            expression = algebra.log_ratio(signal, background)
            return replace(self, expression=expression, name=f"log_{self.name}" if self.name else "")
        raise ConfigError(f"{self.name or self.expression}: does not have the form signal / (signal + background)")

    # ---------------------------------------------------------------------------------------- writing

    def to_string(self) -> str:
        """The expression, followed after ``where`` by the parameters and the settings that differ from the defaults."""
        extras = [f"{key} = {algebra._number(value)}" for key, value in self.parameters.items()]
        if self.zero != ZERO:
            extras.append(f"zero = {algebra._number(self.zero)}")
        if self.prefix is not None:
            extras.append(f"prefix = {self.prefix}")
        text = algebra.write(self.expression)
        return f"{text} where {', '.join(extras)}" if extras else text

    @classmethod
    def from_string(
        cls, text: str, *, name: str = "", where: str = "", parameters: Mapping[str, float] | None = None
    ) -> Discriminant:
        """Read a discriminant from text; nothing is evaluated as code.

        Parameters
        ----------
        text : str
            E.g. ``"probHbb / (probHbb + alpha * sum(probQCD*)) where alpha = 0.5"``.
        name : str
            Its name.
        where : str
            Origin of the text, for messages.
        parameters : mapping, optional
            Values of parameters, which override those in the text.

        Raises
        ------
        ConfigError
            If the text is not valid; gives the token and its position.
        """
        formula, *rest = re.split(r"\bwhere\b", text, maxsplit=1) if isinstance(text, str) else [text]
        settings: dict[str, Any] = {}
        for item in rest[0].split(",") if rest else []:
            key, equals, value = (part.strip() for part in item.partition("="))
            place = f"{where}: " if where else ""
            if not equals or not key.isidentifier():
                raise ConfigError(f"{place}after 'where' expected 'name = number', got {item.strip()!r}")
            settings[key] = value if key == "prefix" else _read_number(value, f"{place}{key}")
        prefix, zero = settings.pop("prefix", None), settings.pop("zero", ZERO)
        values = {**settings, **(parameters or {})}
        return cls(algebra.read(formula, values, where), name, values, zero, prefix)

    def to_dict(self) -> dict[str, Any]:
        """Its content for YAML and JSON files; :meth:`from_dict` reads it."""
        record: dict[str, Any] = {"expression": algebra.write(self.expression)}
        if self.parameters:
            record["parameters"] = dict(self.parameters)
        if self.zero != ZERO:
            record["zero"] = self.zero
        for key in ("prefix", "label", "text"):
            if getattr(self, key):
                record[key] = getattr(self, key)
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], *, name: str = "", where: Any = "") -> Discriminant:
        """Read the result of :meth:`to_dict`.

        Parameters
        ----------
        record : mapping
            ``expression``, or ``preset`` and optionally its ``form`` (``ratio``, ``log_ratio``); and optionally
            ``parameters``, ``zero``, ``prefix``, ``label`` and ``text``.
        name : str
            Its name.
        where : str, or callable of keys
            Origin of the record, for messages.

        Raises
        ------
        ConfigError
            If a key is unknown or a value is invalid.
        UnknownName
            If the preset, its form or its parameter does not exist.
        """

        def place(*keys: Any) -> str:
            return str(where(*keys)) if callable(where) else str(where)

        check_keys(record, _KEYS, () if "preset" in record else ("expression",), where=place)
        if "preset" in record and "expression" in record:
            raise ConfigError(f"{place('preset')}: give either 'preset' or 'expression', not both")
        if "form" in record and "preset" not in record:
            raise ConfigError(f"{place('form')}: 'form' belongs to a 'preset', but none is given")
        parameters = record.get("parameters", {})
        if not isinstance(parameters, Mapping):
            raise ConfigError(f"{place('parameters')}: 'parameters' must be a mapping of names to numbers")
        for key, value in parameters.items():
            _check_number(value, f"{place('parameters', key)}: parameter {key!r}")
        _check_number(record.get("zero", ZERO), f"{place('zero')}: 'zero'")
        for key in ("preset", "form", "prefix", "label", "text"):
            if not isinstance(record.get(key, ""), str):
                raise ConfigError(f"{place(key)}: {key!r} must be text, got {record[key]!r}")
        if "preset" in record:
            known = preset(record["preset"])  # formulas have the key 'expression'
            made = discriminant(
                known.name,
                form=record.get("form", "ratio"),
                prefix=record.get("prefix"),
                zero=record.get("zero", ZERO),
                **parameters,
            )
            return replace(made, name=name, **{key: record[key] for key in ("label", "text") if key in record})
        return cls(
            expression=algebra.read(record["expression"], parameters, place("expression")),
            name=name,
            parameters=dict(parameters),
            zero=record.get("zero", ZERO),
            prefix=record.get("prefix"),
            label=record.get("label", ""),
            text=record.get("text", ""),
        )

    def to_yaml(self) -> str:
        """A YAML text with this one discriminant, under its name."""
        return _dump({self.name or "discriminant": self})

    @classmethod
    def from_yaml(cls, text: str) -> Discriminant:
        """Read one discriminant from YAML text.

        Raises
        ------
        ConfigError
            If it contains none or several, or is not valid; gives the line.
        """
        found = _read(read_yaml(text, name="discriminant"))
        if len(found) != 1:
            raise ConfigError(f"expected one discriminant, got {len(found)}: {', '.join(found) or 'none'}")
        return next(iter(found.values()))


def _check_number(value: Any, what: str) -> None:
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise ConfigError(f"{what} must be a finite number, got {value!r}")


def _read_number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{what}: expected a number, got {text!r}") from None


@dataclass(frozen=True)
class _Compute:
    """The computation for one chunk; a value, so that dask can send it."""

    discriminant: Discriminant
    found: Resolved
    names: tuple[str, ...]

    def __call__(self, *values: Any) -> Any:
        if any(hasattr(value, "layout") for value in values):
            return self._awkward(values)
        if all(value is None or np.ndim(value) == 0 for value in values):
            return self._one(values)
        return self._numpy([np.ma.filled(np.ma.asarray(value, dtype=np.float64), np.nan) for value in values])

    def _evaluate(self, values: Mapping[str, Any]) -> Any:
        item = self.discriminant
        return algebra.evaluate(self.found.expression, values, self.found.members, item.parameters, item.zero)

    def _good(self, name: str, value: Any) -> Any:
        good = np.isfinite(value)
        return good & (value >= 0) if name in self.found.probabilities else good

    def _one(self, values: tuple[Any, ...]) -> float | None:
        scores = dict(zip(self.names, values, strict=True))
        if any(value is None or not self._good(name, value) for name, value in scores.items()):
            return None
        return float(self._evaluate({name: np.float64(value) for name, value in scores.items()}))

    def _numpy(self, values: list[Any]) -> Any:
        shapes = {name: value.shape for name, value in zip(self.names, values, strict=True)}
        if len(set(shapes.values())) > 1:
            raise MismatchError(f"the scores have different shapes: {shapes}")
        good = np.logical_and.reduce(list(map(self._good, self.names, values)))
        clean = (np.where(good, value, 0.0) for value in values)
        return np.where(good, self._evaluate(dict(zip(self.names, clean, strict=True))), np.nan)

    def _awkward(self, values: tuple[Any, ...]) -> Any:
        import awkward as ak

        with np.errstate(invalid="ignore", over="ignore"):
            wide = [ak.without_parameters(ak.values_astype(value, np.float64)) for value in values]
            good = self._good(self.names[0], wide[0])
            for name, value in zip(self.names[1:], wide[1:], strict=True):
                good = good & self._good(name, value)
            return ak.mask(self._evaluate(dict(zip(self.names, wide, strict=True))), good)


def discriminant(
    name: str, *, form: str = "ratio", prefix: str | None = None, zero: float = ZERO, **parameters: float
) -> Discriminant:
    """A preset, or a discriminant from text.

    Parameters
    ----------
    name : str
        A preset such as ``"HbbvsQCD"`` (see :func:`presets`), or an expression.
    form : {"ratio", "log_ratio"}
        For a preset: ``signal / (signal + background)`` or ``log(signal / background)``.
    prefix : str, optional
        The tagger whose scores are used; by default the only one in the input.
    zero : float
        Value for a zero denominator. Not used for logarithms, whose arguments are at least 1e-10.
    **parameters : float
        Weights, e.g. ``alpha=0.3``.

    Returns
    -------
    Discriminant

    Raises
    ------
    UnknownName
        If the preset or the parameter does not exist; gives the nearest names.
    ConfigError
        If an expression is not valid.

    Examples
    --------
    >>> print(discriminant("HbbvsQCD"))
    sum(Hbb) / (sum(Hbb) + sum(QCD))
    >>> print(discriminant("HWWlvqqvsQCDTop", alpha=0.3).parameters)
    {'alpha': 0.3, 'beta': 1.0}
    """
    if re.fullmatch(r"\w+", name):
        known = preset(name)
        unknown = [key for key in parameters if key not in known.parameters]
        if unknown:
            raise UnknownName("parameter", unknown, known.parameters, f"discriminant {name!r}")
        return Discriminant(
            expression=known.expression(form),
            name=name if form == "ratio" else f"log_{name}",
            parameters={**known.parameters, **parameters},
            zero=zero,
            prefix=prefix,
            label=name if form == "ratio" else f"log {name}",
            text=known.text,
        )
    item = Discriminant.from_string(name, parameters=parameters)
    item = replace(item, zero=zero if zero != ZERO else item.zero, prefix=prefix or item.prefix)
    return item.log_ratio() if form == "log_ratio" else item


# ------------------------------------------------------------------------------------------------ files


def _dump(items: Mapping[str, Discriminant]) -> str:
    content = {"version": VERSION, "discriminants": {name: item.to_dict() for name, item in items.items()}}
    return yaml_text(content)


def _read(document: Document) -> dict[str, Discriminant]:
    document.check_keys(("version", "discriminants"), required=("version", "discriminants"))
    version = document.data["version"]
    if version != VERSION:
        raise ConfigError(
            f"{document.where('version')}: version {version!r}, this version of jettagger reads {VERSION}"
        )
    found = {}
    for name in document.mapping("discriminants"):
        record = document.mapping("discriminants", name)

        def where(*keys: Any, name: str = name) -> str:
            return document.where("discriminants", name, *keys)

        found[str(name)] = Discriminant.from_dict(record, name=str(name), where=where)
    return found


def save(items: Mapping[str, Discriminant] | Iterable[Discriminant], path: str | os.PathLike[str]) -> None:
    """Write discriminants to a YAML file.

    Raises
    ------
    OutputError
        If the file cannot be written.
    ConfigError
        If one has no name, or two have the same.
    """
    if not isinstance(items, Mapping):
        listed = list(items)
        names = [item.name for item in listed]
        if "" in names or len(set(names)) < len(names):
            raise ConfigError(f"discriminants in a file need different names, got {names}")
        items = dict(zip(names, listed, strict=True))
    with complete_or_absent(path) as part:
        part.write_text(_dump(items), encoding="utf-8")


def load(path: str | os.PathLike[str]) -> dict[str, Discriminant]:
    """Read discriminants from a YAML file.

    Returns
    -------
    dict
        Name -> discriminant.

    Raises
    ------
    ConfigError
        If the file is not valid; gives the line and, for unknown keys, the nearest ones.
    """
    return _read(read_yaml(path))


guard(globals())
