"""Objects beside the fat jets of a search: leptons, AK4 jets and others, selected and cleaned by distance."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import ConfigError, MismatchError, UnknownName
from jettagger.expressions import Expression, parse
from jettagger.kinematics import delta_r

__all__ = [
    "CANDIDATES",
    "COUNT",
    "ObjectSelection",
    "SelectedObjects",
    "check_object_columns",
    "check_objects",
    "column_of_object",
    "distances",
    "far_from",
    "object_columns",
    "read_objects",
    "select_objects",
]

#: name of all candidates of a search, from which objects may be distant
CANDIDATES = "jets"

#: name of the number of objects of an event
COUNT = "count"

#: a name that ends in a digit would be the name of one object of another
_NAME = re.compile(r"[A-Za-z_]\w*(?<!\d)", flags=re.ASCII)

_NUMBERED = re.compile(r"(?P<name>\w*?)(?P<number>[1-9]\d*)", flags=re.ASCII)


@dataclass(frozen=True)
class ObjectSelection(Brief):
    """A selection of objects of one collection.

    Parameters
    ----------
    collection : str
        E.g. ``Muon``.
    selection : str or Expression, optional
        Cut in its columns; objects for which it has no value do not pass.
    sort_by : str or Expression
        Expression in its columns by which they are numbered, in decreasing order; objects without a value are last.
    not_near : mapping of str to float
        Other objects, one candidate (``jet1``) or all (``jets``) -> minimum distance sqrt(deta^2 + dphi^2) from each.

    Raises
    ------
    ConfigError
        If a distance is not above zero.

    Examples
    --------
    >>> muons = ObjectSelection("Muon", "pt > 30 and abs(eta) < 2.4", not_near={"jets": 0.8})
    >>> muons.columns
    ('pt', 'eta', 'phi')
    """

    collection: str
    selection: Any = None
    sort_by: Any = "pt"
    not_near: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        def read(text: Any, key: str) -> Expression:
            return text if isinstance(text, Expression) else parse(text, f"{key} of {self.collection}")

        object.__setattr__(self, "selection", None if self.selection is None else read(self.selection, "selection"))
        object.__setattr__(self, "sort_by", read(self.sort_by, "sort_by"))
        object.__setattr__(self, "not_near", distances(self.not_near))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the collection that the selection needs."""
        names = [*(() if self.selection is None else self.selection.names), *self.sort_by.names]
        return tuple(dict.fromkeys([*names, *(("eta", "phi") if self.not_near else ())]))


def distances(not_near: Mapping[str, float]) -> dict[str, float]:
    """Minimum distances, checked.

    Parameters
    ----------
    not_near : mapping of str to float
        Names of objects -> distance.

    Returns
    -------
    dict of str to float

    Raises
    ------
    ConfigError
        If one is not a number above zero.
    """
    for name, distance in not_near.items():
        if not (math.isfinite(distance) and distance > 0):
            raise ConfigError(f"the minimum distance from {name!r} must be a number above zero, got {distance}")
    return {name: float(distance) for name, distance in not_near.items()}


class SelectedObjects(Mapping[str, Any], Brief):
    """The columns of selected objects, and their number as ``count``.

    Parameters
    ----------
    records : jagged record array
        The objects of each event.
    """

    def __init__(self, records: Any) -> None:
        self.records = records

    def __getitem__(self, name: str) -> Any:
        import awkward as ak

        return ak.num(self.records, axis=1) if name == COUNT else self.records[name]

    def __iter__(self) -> Iterator[str]:
        return iter([COUNT, *self.records.fields])

    def __len__(self) -> int:
        return 1 + len(self.records.fields)


def column_of_object(objects: Iterable[str], name: str) -> tuple[str, int, str] | None:
    """What a name in an expression says of objects.

    Parameters
    ----------
    objects : iterable of str
        The names of all objects.
    name : str
        E.g. ``muons.count``, ``muons.pt`` or ``muons1.pt``.

    Returns
    -------
    (str, int, str) or None
        Objects, number of the object (0: all of them), column; None if it is about something else.

    Examples
    --------
    >>> column_of_object(["muons"], "muons2.pt"), column_of_object(["muons"], "MET.pt")
    (('muons', 2, 'pt'), None)
    """
    known = set(objects)
    front, _, column = name.partition(".")
    if front in known:
        return front, 0, column
    numbered = _NUMBERED.fullmatch(front)
    if numbered is None or numbered["name"] not in known:
        return None
    return numbered["name"], int(numbered["number"]), column


def check_objects(
    objects: Mapping[str, ObjectSelection], not_near: Mapping[str, float], n_jets: int, taken: Iterable[str]
) -> None:
    """Refuse names and distances that have no meaning.

    Parameters
    ----------
    objects : mapping of str to ObjectSelection
    not_near : mapping of str to float
        Objects -> minimum distance of the fat jets from them.
    n_jets : int
        Number of candidates.
    taken : iterable of str
        Names with another meaning.

    Raises
    ------
    ConfigError
        If a name is taken, or ends in a digit; if objects are cleaned in a circle.
    UnknownName
        If a distance is from unknown objects.
    """
    reserved = {*taken, CANDIDATES, *_candidates(n_jets), "jet"}
    for name in objects:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"objects cannot be called {name!r}: a name has letters, digits and underscores, and no digit at its "
                "end, which is the number of one of them (muons1)"
            )
        if name in reserved:
            raise ConfigError(f"objects cannot be called {name!r}, which has another meaning in expressions")
    for name, item in objects.items():
        _check_known(objects, name, item.not_near, n_jets)
    unknown = [name for name in not_near if name not in objects]
    if unknown:
        raise UnknownName("objects", unknown, objects, "not_near of the fat jets")
    _in_order(objects, objects)
    for name in _in_order(objects, not_near):
        of = [other for other in objects[name].not_near if other not in objects]
        if of:
            raise ConfigError(
                f"the fat jets are cleaned by {', '.join(not_near)}, which depends on the distance of {name!r} from "
                f"{of[0]!r}: the candidates are selected afterwards"
            )


def _check_known(objects: Iterable[str], name: str, not_near: Iterable[str], n_jets: int) -> None:
    known = [*(other for other in objects if other != name), CANDIDATES, *_candidates(n_jets)]
    unknown = [other for other in not_near if other not in known]
    if unknown:
        raise UnknownName("objects", unknown, known, f"not_near of {name!r}")


def _in_order(objects: Mapping[str, ObjectSelection], names: Iterable[str]) -> tuple[str, ...]:
    """Objects with all that they are cleaned by, which comes first.

    Parameters
    ----------
    objects : mapping of str to ObjectSelection
    names : iterable of str

    Returns
    -------
    tuple of str

    Raises
    ------
    ConfigError
        If they depend on each other in a circle.
    """
    found: dict[str, None] = {}

    def add(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = " -> ".join((*path[path.index(name) :], name))
            raise ConfigError(f"objects are cleaned by each other in a circle: {circle}")
        for other in objects[name].not_near:
            if other in objects:
                add(other, (*path, name))
        found.setdefault(name)

    for name in names:
        add(name, ())
    return tuple(found)


def _candidates(n_jets: int) -> tuple[str, ...]:
    return tuple(f"jet{number}" for number in range(1, n_jets + 1))


def select_objects(
    objects: Mapping[str, ObjectSelection],
    columns: Mapping[str, Any],
    used: Iterable[str],
    names: Iterable[str] | None = None,
    candidates: Sequence[Any] = (),
) -> dict[str, Any]:
    """The selected objects of the events of a chunk.

    Parameters
    ----------
    objects : mapping of str to ObjectSelection
    columns : mapping of str to jagged record array
        Collections of the events, which may be varied.
    used : iterable of str
        Names in expressions, e.g. ``muons1.pt``; other columns are not read.
    names : iterable of str, optional
        Which objects; default: all. Those that clean them are returned, too.
    candidates : sequence of record arrays
        ``jet1`` and so on, one entry per event that is None where there is none.

    Returns
    -------
    dict of str to (SelectedObjects or record array)
        ``muons`` with all objects, and ``muons1`` and so on for the numbers in ``used``: one entry per event, None
        where there are fewer.

    Raises
    ------
    UnknownName
        If a collection or column does not exist.
    MismatchError
        If a selection is not a condition.
    """
    import awkward as ak

    named = [item for item in (column_of_object(objects, name) for name in used) if item is not None]
    selected: dict[str, Any] = {}
    for name in _in_order(objects, objects if names is None else names):
        item, where = objects[name], f"objects {name!r}"
        if item.collection not in columns:
            raise UnknownName("collection", item.collection, list(columns), where)
        collection = columns[item.collection]
        if getattr(collection, "ndim", 0) != 2:
            raise MismatchError(f"{where}: {item.collection} is not a list of objects in each event")
        missing = [column for column in item.columns if column not in collection.fields]
        if missing:
            raise UnknownName("column", missing, collection.fields, f"{item.collection}, {where}")
        wanted = [*item.columns, "eta", "phi", *(column for front, _, column in named if front == name)]
        table = ak.zip({key: collection[key] for key in dict.fromkeys(wanted) if key in collection.fields})
        masks = [] if item.selection is None else [_condition(item.selection, table, where)]
        for other, distance in item.not_near.items():
            others = selected[other].records if other in objects else _of_candidates(candidates, other)
            masks.append(far_from(table, others, distance))
        for mask in masks[1:]:
            masks[0] = masks[0] & mask
        table = table[masks[0]] if masks else table
        key = ak.values_astype(item.sort_by.evaluate(table), np.float64)
        key = ak.fill_none(ak.nan_to_num(key, nan=-np.inf, posinf=np.inf, neginf=-np.inf), -np.inf)
        table = table[ak.argsort(key, axis=1, ascending=False, stable=True)]
        selected[name] = SelectedObjects(table)
    return selected | {
        f"{name}{number}": ak.pad_none(selected[name].records, number, axis=1)[:, number - 1]
        for name, number in dict.fromkeys((front, number) for front, number, _ in named)
        if number and name in selected
    }


def _condition(selection: Expression, table: Any, where: str) -> Any:
    """Mask of the objects that pass the selection."""
    import awkward as ak

    value = selection.evaluate(table)
    mask = ak.fill_none(value, False, axis=None) if isinstance(value, ak.Array) else None
    if mask is None or ak.to_numpy(ak.flatten(mask, axis=None)).dtype != np.bool_:
        raise MismatchError(f"{where}: the selection {selection.text!r} is not true or false for each of them")
    return mask


def _of_candidates(candidates: Sequence[Any], name: str) -> Any:
    """The directions of one candidate or all of them, as lists by event."""
    import awkward as ak

    numbers = range(len(candidates)) if name == CANDIDATES else [int(name[3:]) - 1]
    directions = [ak.zip({key: ak.singletons(candidates[number][key]) for key in ("eta", "phi")}) for number in numbers]
    return ak.concatenate(directions, axis=1)


def far_from(objects: Any, others: Any, distance: float) -> Any:
    """Mask of objects at a minimum distance from all others.

    Parameters
    ----------
    objects, others : jagged record arrays
        With ``eta`` and ``phi``, by event.
    distance : float
        Minimum of sqrt(deta^2 + dphi^2).

    Returns
    -------
    jagged bool array
        Aligned with the objects.

    Examples
    --------
    >>> import awkward as ak
    >>> jets = ak.Array([[{"eta": 0.0, "phi": 3.1}, {"eta": 0.0, "phi": 0.0}], []])
    >>> muons = ak.Array([[{"eta": 0.1, "phi": -3.1}], [{"eta": 0.0, "phi": 0.0}]])
    >>> far_from(jets, muons, 0.4).tolist()
    [[False, True], []]
    """
    import awkward as ak

    one, other = (
        ak.zip({key: ak.values_astype(side[key], np.float64) for key in ("eta", "phi")}) for side in (objects, others)
    )
    pairs = ak.cartesian({"one": one, "other": other}, axis=1, nested=True)
    apart = delta_r(pairs["one"]["eta"], pairs["one"]["phi"], pairs["other"]["eta"], pairs["other"]["phi"])
    return ~ak.any(apart < distance, axis=-1)


def object_columns(objects: Mapping[str, ObjectSelection], fields: Mapping[str, Sequence[str]]) -> list[str]:
    """Names that expressions may have for objects.

    Parameters
    ----------
    objects : mapping of str to ObjectSelection
    fields : mapping of str to sequence of str
        Collection -> its columns.

    Returns
    -------
    list of str
        ``muons.count``, and for each column ``muons.pt`` and ``muons1.pt``.
    """
    names = []
    for name, item in objects.items():
        names += [
            f"{name}.{COUNT}",
            *(f"{front}.{key}" for front in (name, f"{name}1") for key in fields[item.collection]),
        ]
    return names


def read_objects(document: Any, content: Any) -> dict[str, ObjectSelection]:
    """The objects of a configuration.

    Parameters
    ----------
    document : Document
    content : SearchFile

    Returns
    -------
    dict of str to ObjectSelection

    Raises
    ------
    ConfigError
        Gives the line.
    """
    made = {}
    for name, keys in content.objects.items():
        texts = {"selection": keys.selection, "sort_by": keys.sort_by}
        parts = {
            key: parse(text, document.where("objects", name, key)) for key, text in texts.items() if text is not None
        }
        made[name] = ObjectSelection(keys.collection, **parts, not_near=keys.not_near)
        with document.at("objects", name):
            check_objects({name: ObjectSelection(keys.collection)}, {}, content.jets.count, ())
    n_jets = content.jets.count
    for name, item in made.items():
        with document.at("objects", name, "not_near"):
            _check_known(made, name, item.not_near, n_jets)
    with document.at("jets", "not_near"):
        check_objects(made, content.jets.not_near, n_jets, ())
    return made


def check_object_columns(
    document: Any, objects: Mapping[str, ObjectSelection], file: Any, events: Sequence[str]
) -> dict[str, Sequence[str]]:
    """Compare the objects of a configuration with the columns of a file.

    Parameters
    ----------
    document : Document
        For the lines of errors.
    objects : mapping of str to ObjectSelection
    file : EventFile or ParquetSkim
    events : sequence of str
        Columns of its events, ``MET.pt``.

    Returns
    -------
    dict of str to sequence of str
        Collection of objects -> its columns in the file.

    Raises
    ------
    UnknownName
        If a collection or a column is not in the file; gives the line.
    ConfigError
        If the name of objects is one of the file.
    """
    found: dict[str, Sequence[str]] = {}
    for name, item in objects.items():
        with document.at("objects", name):
            if name in file.collections or name in events:
                raise ConfigError(f"objects cannot be called {name!r}: {file.path} has this name already")
        columns = list(file.fields(item.collection))
        found[item.collection] = columns
        with document.at("objects", name, "collection"):
            if not columns:
                raise UnknownName("collection", item.collection, file.collections, file.path)
        parts = {"selection": item.selection, "sort_by": item.sort_by}
        for key, names in {key: part.names for key, part in parts.items() if part is not None}.items():
            unknown = [column for column in names if column not in columns]
            if unknown:
                with document.at("objects", name, *((key,) if ("objects", name, key) in document.lines else ())):
                    raise UnknownName(f"column of {item.collection}", unknown, columns, file.path)
        if item.not_near and not {"eta", "phi"}.issubset(columns):
            with document.at("objects", name, "not_near"):
                raise UnknownName(f"column of {item.collection}", ["eta", "phi"], columns, file.path)
    return found


guard(globals(), "ObjectSelection")
