"""Columns of scores: in jets, in one jet, in a skim; and the tagger they belong to.

A tagged collection has columns ``<prefix>_<score>``; in a skim these follow the name of the collection,
``FatJet_<prefix>_<score>``. NanoAOD stores scores of AK4 jets without ``_`` between the two: ``btagPNetCvL``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jettagger.arguments import guard
from jettagger.discriminants.algebra import Node, Score, Sum, is_glob, log_ratio, match_glob
from jettagger.discriminants.tables import Model, find_model, presets, stems
from jettagger.display import Brief, some
from jettagger.errors import ConfigError, MissingColumns, UnknownName, hint, nearest

__all__ = [
    "Resolved",
    "Table",
    "Unresolvable",
    "generator_weights",
    "resolve",
    "resolve_names",
    "table",
    "taggers",
]


@dataclass(frozen=True)
class Resolved(Brief):
    """An expression for the columns of one tagger.

    Attributes
    ----------
    prefix : str
        The tagger's prefix, empty if the columns have none.
    model : str
        The model whose group table was used, empty if none.
    expression : Node
        The expression to evaluate: the one requested, or the stored quantity that replaces it.
    members : mapping
        Each sum in it -> the names of its scores.
    columns : mapping
        Each required name -> its column.
    probabilities : frozenset of str
        Those of the names with values between 0 and 1: negative values mean "not scored".
    """

    prefix: str
    model: str
    expression: Node
    members: Mapping[Sum, tuple[str, ...]]
    columns: Mapping[str, str]
    probabilities: frozenset[str]

    @property
    def scores(self) -> list[str]:
        """The columns without the tagger's prefix."""
        start = _column(self.prefix, "")
        return [column.removeprefix(start) for column in self.columns.values()]


class Unresolvable(Exception):
    """A tagger lacks scores of an expression.

    Attributes
    ----------
    missing : dict
        Each missing name -> text for the error.
    known : list of str
        The existing groups and scores.
    """

    def __init__(self, missing: dict[str, str], known: list[str]) -> None:
        super().__init__(", ".join(missing.values()))
        self.missing = missing
        self.known = known


@dataclass(frozen=True)
class Table(Brief):
    """Named columns of any container.

    Attributes
    ----------
    columns : tuple of str
        The names, without that of the collection.
    get : callable
        Name -> values.
    lazy : bool
        Whether they are dask-awkward arrays.
    """

    columns: tuple[str, ...]
    get: Callable[[str], Any]
    lazy: bool


def table(jets: Any, collection: str = "FatJet") -> Table:
    """The named columns of jets, one jet, events, a skim or a mapping of arrays.

    Parameters
    ----------
    jets : awkward array or record, dask-awkward array, pyarrow table, or mapping
        A jet collection, or a container of one as ``FatJet`` or as columns ``FatJet_...``.
    collection : str
        Name of the collection.

    Returns
    -------
    Table

    Raises
    ------
    MissingColumns
        If it has no named columns.
    """
    origin = type(jets).__module__.partition(".")[0]
    if origin == "pyarrow":
        import awkward as ak

        jets = ak.from_arrow(jets)
        origin = "awkward"
    if isinstance(jets, Mapping):
        names = [str(name) for name in jets]
        origin = type(next(iter(jets.values()), None)).__module__.partition(".")[0]
    elif hasattr(jets, "fields"):
        names = list(jets.fields)
    elif origin == "pandas":
        names = [str(name) for name in jets]
    else:
        raise MissingColumns(f"expected jets with named columns, got {type(jets).__name__}")
    if collection in names:
        return table(jets[collection], collection)
    start = f"{collection}_"
    flat = {name.removeprefix(start): name for name in names if name.startswith(start)}
    columns = flat or {name: name for name in names}
    return Table(tuple(columns), lambda name: jets[columns[name]], origin == "dask_awkward")


#: column of the generator weight in events and skims
GENERATOR_WEIGHT = "genWeight"


def generator_weights(jets: Any) -> Any:
    """The generator weights stored with the jets, in events and skims.

    Parameters
    ----------
    jets : as for `table`

    Returns
    -------
    array or None
        One per event; None if there are none, as for jets taken out of their events.
    """
    origin = type(jets).__module__.partition(".")[0]
    if origin == "pyarrow":
        return jets[GENERATOR_WEIGHT].to_numpy() if GENERATOR_WEIGHT in jets.column_names else None
    names = jets if isinstance(jets, Mapping) or origin == "pandas" else getattr(jets, "fields", ())
    return jets[GENERATOR_WEIGHT] if GENERATOR_WEIGHT in names else None


@lru_cache(maxsize=256)
def _by_prefix(columns: tuple[str, ...]) -> dict[str, frozenset[str]]:
    """Every possible prefix -> the remaining parts of the names."""
    found: dict[str, set[str]] = {"": set(columns)}
    for column in columns:
        for position, letter in enumerate(column):
            if letter == "_" and 0 < position < len(column) - 1:
                found.setdefault(column[:position], set()).add(column[position + 1 :])
    for stem in stems():
        if names := {column.removeprefix(stem) for column in columns if column.startswith(stem)} - {""}:
            found[stem] = names
    return {prefix: frozenset(names) for prefix, names in found.items()}


def _column(prefix: str, name: str) -> str:
    """The column of a score."""
    return f"{prefix}{name}" if not prefix or prefix in stems() else f"{prefix}_{name}"


def _choices(expression: Node, model: Model | None) -> list[Node]:
    """An expression and the stored quantities that can replace it, e.g. one column for a preset's ratio, best first.

    A stored ratio is the one used for cuts elsewhere. If its scores are also stored, logarithms are computed from
    these: a ratio close to 1 has too few digits for the odds.
    """
    for name, stored in model.ready.items() if model else ():
        preset = presets().get(name)
        if preset is None:
            continue
        if expression == preset.expression("ratio"):
            return [stored, expression]
        if expression == preset.expression("log_ratio"):
            # r = s / (s + b), so s / b = r / (1 - r)
            return [expression, log_ratio(stored, 1 - stored)]
    return [expression]


def _resolve_with(expression: Node, prefix: str, names: frozenset[str], model: Model | None) -> Resolved:
    """The columns of an expression for one prefix.

    Raises
    ------
    Unresolvable
        If a score is missing.
    """
    columns: dict[str, str] = {}
    members: dict[Sum, tuple[str, ...]] = {}
    missing: dict[str, str] = {}
    groups = model.groups if model else {}
    classes = model.classes if model else ()
    known = list(dict.fromkeys([*groups, *sorted(names)]))

    def need(name: str) -> bool:
        column = name if name in names else model.column(name, names) if model else None
        if column is not None:
            columns[name] = _column(prefix, column)
        return column is not None

    def expand(pattern: str) -> list[str]:
        if is_glob(pattern):
            # Globs go by the model's classes: a file that lacks some of them must not give a smaller sum.
            hits = match_glob(pattern, classes) or match_glob(pattern, sorted(names))
            if not hits:
                missing[pattern] = f"any score like {pattern!r}"
            return hits
        if pattern in groups:
            return list(groups[pattern])
        if pattern in names or pattern in classes:
            return [pattern]
        missing[pattern] = f"the group or score {pattern!r}{hint(pattern, known)}"
        return []

    for node in expression.walk():
        if isinstance(node, Score) and not need(node.name):
            tip = f" (a group: write sum({node.name}))" if node.name in groups else hint(node.name, known)
            missing[node.name] = f"the score {node.name!r}{tip}"
        if isinstance(node, Sum) and node not in members:
            members[node] = tuple(dict.fromkeys(item for text in node.patterns for item in expand(text)))
            missing.update({item: f"the score {item!r}" for item in members[node] if not need(item)})
    if missing:
        raise Unresolvable(missing, known)
    probabilities = frozenset(columns).intersection(model.names) if model else frozenset()
    return Resolved(prefix, model.name if model else "", expression, members, columns, probabilities)


def resolve_names(expression: Node, prefix: str, names: frozenset[str], model: Model | None) -> Resolved:
    """The columns of an expression for one prefix, or those of the stored quantity that replaces it.

    Parameters
    ----------
    expression : Node
        The expression to evaluate.
    prefix : str
        The tagger's prefix.
    names : frozenset of str
        The parts of the column names after the prefix.
    model : Model or None
        The model of these columns.

    Returns
    -------
    Resolved

    Raises
    ------
    Unresolvable
        If a score is missing.
    """
    first, *others = _choices(expression, model)
    if not others:
        return _resolve_with(first, prefix, names, model)
    try:
        return _resolve_with(first, prefix, names, model)
    except Unresolvable:
        return _resolve_with(others[0], prefix, names, model)


def taggers(columns: tuple[str, ...] | list[str]) -> dict[str, str]:
    """The prefixes of known models among columns.

    Parameters
    ----------
    columns : sequence of str
        The fields of a jet collection.

    Returns
    -------
    dict
        Prefix -> name of the model, in the order of the columns.

    Examples
    --------
    >>> taggers(["pt", "particleNetMD_Xbb", "particleNetMD_QCD", "particleNetMD_Xcc", "particleNetMD_Xqq"])
    {'particleNetMD': 'particleNetMD'}
    """
    found = {}
    for prefix, names in _by_prefix(tuple(columns)).items():
        model = find_model(prefix, names)
        if model is not None and not names.isdisjoint(model.names):
            found[prefix] = model.name
    return found


@lru_cache(maxsize=1024)
def resolve(expression: Node, columns: tuple[str, ...], prefix: str | None = None, what: str = "") -> Resolved:
    """Find the columns of an expression.

    Parameters
    ----------
    expression : Node
        The expression to evaluate.
    columns : tuple of str
        The fields of a jet collection.
    prefix : str, optional
        Prefix of the tagger. By default the one tagger with all required scores; scores called ``prob...``, the outputs
        of a network that was run, take precedence over those stored by the experiment.
    what : str
        Name of the discriminant, for messages.

    Returns
    -------
    Resolved

    Raises
    ------
    ConfigError
        If several taggers have all required scores and no prefix is given; lists them.
    MissingColumns
        If no tagger has them; lists what each of them lacks.
    UnknownName
        If the prefix does not exist.
    """
    by_prefix = _by_prefix(columns)
    what = what or str(expression)
    if prefix is not None:
        if prefix not in by_prefix:
            others = list(taggers(columns)) or nearest(prefix, by_prefix)
            raise UnknownName("tagger", prefix, others, "the columns of these jets")
        try:
            names = by_prefix[prefix]
            return resolve_names(expression, prefix, names, find_model(prefix, names))
        except Unresolvable as error:
            raise MissingColumns(f"{what}: tagger {prefix!r} lacks {error}") from None
    found: dict[frozenset[str], Resolved] = {}
    lacking: dict[str, str] = {}
    known = taggers(columns)
    for candidate, names in by_prefix.items():
        try:
            resolved = resolve_names(expression, candidate, names, find_model(candidate, names))
        except Unresolvable as error:
            if candidate in known:
                lacking[candidate] = str(error)
            continue
        found.setdefault(frozenset(resolved.columns.values()), resolved)
    run = [item for item in found.values() if any(name.startswith("prob") for name in item.scores)]
    choices = run or list(found.values())
    if len(choices) == 1:
        return choices[0]
    if choices:
        prefixes = ", ".join(repr(item.prefix) for item in choices)
        raise ConfigError(f"{what}: several taggers have these scores, choose one with prefix=...: {prefixes}")
    if lacking:
        lines = "".join(f"\n  {name or '(no prefix)'}: {text}" for name, text in lacking.items())
        raise MissingColumns(f"{what}: no tagger on these jets has all of its scores; what each lacks:{lines}")
    needed = ", ".join(dict.fromkeys(str(n) for n in expression.walk() if isinstance(n, (Score, Sum))))
    raise MissingColumns(f"{what}: these jets have no scores; it needs {needed}, found columns: {some(columns, 12)}")


guard(globals(), "taggers")
