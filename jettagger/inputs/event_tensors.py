"""Whole events as the inputs of an event file: objects of collections and variables of the event, padded.

`jettagger.topology.mapping` says which columns they are. Nothing is normalised, and no logarithm is taken: this is what
data sets store and what networks take.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, MismatchError, MissingColumns, hint, renamed
from jettagger.expressions import Expression, parse
from jettagger.formats import EventColumns
from jettagger.formats.base import Offer
from jettagger.inputs.event_pairs import evaluate_pairs
from jettagger.kinematics import delta_r
from jettagger.topology.mapping import EventMapping, InputMapping, TagKeys
from jettagger.topology.pairs import pair_columns
from jettagger.truth.matching import pairs
from jettagger.truth.tags import ParametrisedTag
from jettagger.types import Array, Bools, Ints

if TYPE_CHECKING:
    from jettagger.topology.eventfile import EventDescription, EventInput

__all__ = ["EventTensors", "Selected", "check_columns", "event_tensors", "event_values", "required_columns"]


@dataclass(frozen=True)
class Selected(Brief):
    """The selected objects of one input, before the cut at the number of slots.

    Attributes
    ----------
    rows : int64[n]
        Indices in the flat collection, event after event, in the order of the slots.
    event : int64[n]
    slot : int64[n]
        Position in the event.
    index : int64[n]
        Index in the event's own collection.
    """

    rows: Ints
    event: Ints
    slot: Ints
    index: Ints


@dataclass(frozen=True)
class EventTensors(Brief):
    """Inputs of whole events, by the names of the event file.

    Attributes
    ----------
    values : dict of str to float32[events, slots, features]
        Features in the order of the event file, 0 where padded. Inputs that are global have one slot. Of relative
        inputs these are the features of one object.
    masks : dict of str to bool[events, slots]
        Slots with an object.
    indices : dict of str to int64[events, slots]
        Index in the event's own collection; -1 where padded, and for variables of the event.
    counts : dict of str to int64[events]
        Numbers of selected objects, before the cut at the number of slots.
    collections : dict of str to str
        Empty for variables of the event.
    tags : dict of str to str
        ``INPUT.TAG`` -> the column that was used, or the efficiencies.
    selected : dict of str to Selected
        Selected objects of inputs with a collection.
    pair_values : dict of str to float32[events, slots, slots, features]
        Relative input -> features of pairs in the order of the event file, of the first and the second object; 0 where
        one is padded.
    pair_features : dict of str to tuple of str
        Relative input -> names of its features of pairs.
    """

    values: dict[str, Array]
    masks: dict[str, Bools]
    indices: dict[str, Ints]
    counts: dict[str, Ints]
    collections: dict[str, str]
    tags: dict[str, str] = field(default_factory=dict)
    selected: dict[str, Selected] = field(default_factory=dict, repr=False)
    pair_values: dict[str, Array] = field(default_factory=dict)
    pair_features: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(next(iter(self.counts.values())))

    @property
    def cut(self) -> dict[str, int]:
        """Input -> number of events that lose objects because there are more than slots."""
        return {
            name: int(np.count_nonzero(counts > self.masks[name].shape[1]))
            for name, counts in self.counts.items()
            if self.collections[name] and name in self.masks
        }


def event_tensors(events: Any, mapping: EventMapping, description: EventDescription) -> EventTensors:
    """The inputs of an event file for each event.

    Parameters
    ----------
    events : awkward array or EventColumns
        Eager or virtual; only the required columns are read. Events that are None have no objects.
    mapping : EventMapping
    description : EventDescription

    Returns
    -------
    EventTensors

    Raises
    ------
    MissingColumns
        Lists all missing columns, what needs them, and the nearest ones.
    InvalidValues
        If a feature of a selected object is None, NaN or infinite, and the mapping has no value for it; names the
        event.
    MismatchError
        If a collection is not a list of objects per event.

    Examples
    --------
    >>> import awkward as ak
    >>> from jettagger.topology.eventfile import parse_event_text
    >>> from jettagger.topology.mapping import parse_mapping
    >>> event = parse_event_text("INPUTS: {SEQUENTIAL: {Jets: {pt: log, cos_phi: none}}}\\nEVENT: {h: [b1, b2]}")
    >>> text = "version: 1\\ninputs: {Jets: {collection: Jet, max_objects: 3, features: {cos_phi: cos(phi)}}}"
    >>> jets = [[{"pt": 30.0, "phi": 0.0}, {"pt": 50.0, "phi": 0.0}], []]
    >>> tensors = event_tensors(ak.Array({"Jet": jets}), parse_mapping(text, event), event)
    >>> tensors.values["Jets"][0].tolist(), tensors.indices["Jets"].tolist()
    ([[50.0, 1.0], [30.0, 1.0], [0.0, 0.0]], [[1, 0, -1], [-1, -1, -1]])
    """
    columns = events if isinstance(events, EventColumns) else EventColumns(events)
    check_columns(columns, mapping, description)
    objects = _Objects(columns, mapping)
    made = EventTensors({}, {}, {}, {}, {}, objects.tags, objects.found)
    for item in description.inputs:
        keys = mapping.inputs[item.name]
        made.collections[item.name] = keys.collection or ""
        if keys.collection is None:
            values, mask = _of_event(columns, item, keys)
            made.indices[item.name] = np.full(mask.shape, -1, dtype=np.int64)
            made.counts[item.name] = mask[:, 0].astype(np.int64)
        else:
            values, mask, made.indices[item.name] = _of_objects(columns, item, keys, objects)
            if keys.pairs:
                made.pair_features[item.name] = tuple(name for name in item.feature_names if name in keys.pairs)
                made.pair_values[item.name] = _of_pairs(columns, item, keys, objects)
            chosen = objects.selected(item.name)
            made.counts[item.name] = np.bincount(chosen.event, minlength=len(columns)).astype(np.int64)
        made.values[item.name], made.masks[item.name] = values, mask
    return made


def required_columns(offer: Offer, mapping: EventMapping, description: EventDescription) -> tuple[str, ...]:
    """The stored columns that `event_tensors` reads, sorted.

    Parameters
    ----------
    offer : Offer
        Events or an open file.
    mapping : EventMapping
    description : EventDescription

    Returns
    -------
    tuple of str
        ``Collection.field``, or the name of a column of the event.

    Raises
    ------
    MissingColumns
        As for `check_columns`.
    """
    return check_columns(offer, mapping, description)


def check_columns(
    offer: Offer, mapping: EventMapping, description: EventDescription, source: str = "these events"
) -> tuple[str, ...]:
    """Compare the available columns with the required ones; nothing is read.

    Parameters
    ----------
    offer : Offer
    mapping : EventMapping
    description : EventDescription
    source : str
        Name of the input, for errors.

    Returns
    -------
    tuple of str
        The required columns, sorted.

    Raises
    ------
    MissingColumns
        Lists all missing columns, what needs them, and the nearest ones.
    """
    found: set[str] = set()
    absent: dict[str, list[str]] = {}
    for column, resolved, use in _uses(offer, mapping, description):
        if resolved is None:
            absent.setdefault(column, []).append(use)
        else:
            found.add(resolved)
    if absent:
        raise MissingColumns(missing_text(source, offer, absent))
    return tuple(sorted(found))


def missing_text(source: str, offer: Offer, absent: Mapping[str, Iterable[str]]) -> str:
    """The message on missing columns.

    Parameters
    ----------
    source : str
        Name of the input.
    offer : Offer
    absent : mapping of str to iterable of str
        Missing column -> what needs it.

    Returns
    -------
    str
    """
    lines = []
    for column, uses in absent.items():
        near = _available(offer, column)
        close = renamed(column, near) or hint(column, near)
        lines.append(f"  {column}{close}, for {', '.join(dict.fromkeys(uses))}")
    plural = "s" if len(lines) > 1 else ""
    return f"{source} lack columns of the mapping\n{len(lines)} missing column{plural}:\n" + "\n".join(lines)


def _available(offer: Offer, column: str) -> list[str]:
    """Names that a missing column could have had."""
    collection, _, name = column.partition(".")
    fields = getattr(offer, "fields", None)
    if name and callable(fields) and collection in offer.collections:
        return [f"{collection}.{item}" for item in fields(collection)]
    if name and callable(fields):
        return [f"{item}.{name}" for item in offer.collections if offer.has(f"{item}.{name}")] + list(offer.collections)
    return list(offer.collections)


def resolve(offer: Offer, name: str, collection: str | None = None) -> str | None:
    """The stored column of a name in an expression.

    Parameters
    ----------
    offer : Offer
    name : str
    collection : str, optional
        Its fields come first.

    Returns
    -------
    str or None
        None if there is none.
    """
    if collection is not None and offer.has(f"{collection}.{name}"):
        return f"{collection}.{name}"
    return name if offer.has(name) else None


def _tag_source(offer: Offer, keys: InputMapping, tag: TagKeys) -> Expression | None:
    """The expression of a tag, None if it is drawn."""
    if tag.column is None:
        return None
    made = parse(tag.column)
    if tag.efficiencies is None or all(resolve(offer, name, keys.collection) for name in made.names):
        return made
    return None


def _uses(offer: Offer, mapping: EventMapping, description: EventDescription) -> Iterator[tuple[str, str | None, str]]:
    """Column as it is written, as it is stored, and its use."""
    for item in description.inputs:
        keys = mapping.inputs[item.name]
        collection = keys.collection
        single = [name for name in item.feature_names if name not in keys.pairs]
        texts = [(keys.expression(name), f"feature {name!r}") for name in single]
        if collection is not None:
            texts += [(text, "the order") for text in keys.order]
            texts += [(keys.select, "the selection")] if keys.select is not None else []
        used_tags: set[str] = set()
        named = [(name, use) for text, use in texts for name in parse(text).names]
        for feature, text in keys.pairs.items():
            of_objects, others = pair_columns(text)
            named += [(name, f"feature {feature!r}") for name in of_objects]
            for name in others:
                yield name, resolve(offer, name), f"feature {feature!r} of {item.name}"
        for name, use in named:
            if name in keys.tags:
                used_tags.add(name)
            else:
                shown = f"{collection}.{name}" if collection is not None and "." not in name else name
                yield shown, resolve(offer, name, collection), f"{use} of {item.name}"
        for tag in sorted(used_tags):
            source = _tag_source(offer, keys, keys.tags[tag])
            names = (keys.tags[tag].flavour,) if source is None else source.names
            for name in names:
                yield f"{collection}.{name}", resolve(offer, name, collection), f"tag {tag!r} of {item.name}"
            if source is None:
                yield "event", resolve(offer, "event"), f"tag {tag!r} of {item.name}"
        apart = [item.name, *keys.apart_from] if keys.apart_from else []
        for other in apart:
            owner = mapping.inputs[other].collection
            for name in ("eta", "phi"):
                yield f"{owner}.{name}", resolve(offer, name, owner), f"'apart_from' of {item.name}"


class _Objects:
    """Columns and selected objects of the inputs of a chunk of events, each computed once."""

    def __init__(self, columns: EventColumns, mapping: EventMapping) -> None:
        self.columns, self.mapping = columns, mapping
        self.tags: dict[str, str] = {}
        self.found: dict[str, Selected] = {}
        self._values: dict[str, Array] = {}

    def value(self, name: str, column: str) -> Array:
        """The values of an expression's name, one for each object of the collection of an input."""
        keys = self.mapping.inputs[name]
        collection = keys.collection or ""
        if column in keys.tags:
            return self._tag(name, column)
        stored = resolve(self.columns, column, collection)
        assert stored is not None  # `check_columns`
        own = stored == f"{collection}.{column}"
        key = stored if own else f"event {stored}"
        if key not in self._values:
            self._values[key] = _flat(self.columns, stored) if own else _number(self.columns, stored, name)
        return self._values[key] if own else self._values[key][self.columns.owners(collection)]

    def evaluate(self, name: str, text: str, rows: Ints | None = None) -> Array:
        """An expression for some objects of an input, or for all."""
        expression = parse(text)
        values = {column: self.value(name, column) for column in expression.names}
        if rows is not None:
            values = {column: array[rows] for column, array in values.items()}
        count = (
            int(self.columns.counts(self.mapping.inputs[name].collection or "").sum()) if rows is None else len(rows)
        )
        return np.broadcast_to(np.asarray(expression.evaluate(values)), (count,))

    def _tag(self, name: str, tag: str) -> Array:
        keys = self.mapping.inputs[name]
        collection, made = keys.collection or "", keys.tags[tag]
        key = f"{name}.{tag}"
        if f"tag {key}" not in self._values:
            source = _tag_source(self.columns, keys, made)
            if source is not None:
                self.tags[key] = source.text
                self._values[f"tag {key}"] = self.evaluate(name, source.text)
            else:
                drawn = ParametrisedTag(made.efficiencies or {}, made.flavour)
                self.tags[key] = f"drawn {drawn}"
                owners = self.columns.owners(collection)
                index = np.arange(len(owners)) - self.columns.starts(collection)[owners]
                number = event_column(self.columns, "event")
                passed = drawn.passes(self.value(name, made.flavour), number[owners], index)
                self._values[f"tag {key}"] = passed
        return self._values[f"tag {key}"]

    def selected(self, name: str) -> Selected:
        """The selected objects of an input, sorted."""
        if name in self.found:
            return self.found[name]
        keys = self.mapping.inputs[name]
        collection = keys.collection or ""
        owners = self.columns.owners(collection)
        chosen = self.columns.present(collection)
        if keys.select is not None:
            passes = self.evaluate(name, keys.select)
            if passes.dtype != np.bool_:
                raise ConfigError(
                    f"input {name!r}: select {keys.select!r} is not a cut: it gives {passes.dtype}, expected true or "
                    "false for each object"
                )
            chosen = chosen & passes
        for other, radius in keys.apart_from.items():
            chosen = chosen & ~self._near(name, other, radius)
        rows = np.flatnonzero(chosen)
        sorting = [self.evaluate(name, text, rows) for text in keys.order]
        # None and NaN last, equal ones in the order of the file
        rows = rows[np.lexsort((*reversed(sorting), owners[rows]))]
        event = owners[rows]
        counts = np.bincount(event, minlength=len(self.columns))
        slot = np.arange(len(rows)) - (np.cumsum(counts) - counts)[event]
        self.found[name] = Selected(rows, event, slot, rows - self.columns.starts(collection)[event])
        return self.found[name]

    def _near(self, name: str, other: str, radius: float) -> Bools:
        """Whether objects are near one of another input."""
        eta, phi = (self.value(name, column) for column in ("eta", "phi"))
        theirs = self.selected(other)
        their_eta, their_phi = (self.value(other, column)[theirs.rows] for column in ("eta", "phi"))
        owners = self.columns.owners(self.mapping.inputs[name].collection or "")
        left, right = pairs(owners, theirs.event, len(self.columns))
        near = left[delta_r(eta[left], phi[left], their_eta[right], their_phi[right]) < radius]
        flags = np.zeros(len(owners), dtype=bool)
        flags[near] = True
        return flags


def _number(columns: EventColumns, column: str, name: str) -> Array:
    """A column of the event with one number per event, for an input."""
    values = event_column(columns, column)
    if not isinstance(values, np.ndarray):
        raise MismatchError(f"{column}, for {name}, is a list for each event, expected one number")
    return values


def _flat(columns: EventColumns, column: str) -> Array:
    """A column of objects, NaN for None also among integers."""
    import awkward as ak

    values = columns.flat(column)
    if values.dtype.kind in "iub":
        array = columns.column(column)
        kind = str(array.type)
        if "?" in kind or "option" in kind:
            absent = ak.to_numpy(ak.is_none(ak.flatten(array, axis=1)))
            if absent.any():
                values = np.where(absent, np.nan, values)
    return values


def event_column(columns: EventColumns, column: str) -> Any:
    """A column of the event.

    Parameters
    ----------
    columns : EventColumns
    column : str

    Returns
    -------
    array[events]
        NumPy with one number per event, NaN where the number is None, and NaN, or 0 for integers, where the event is;
        or awkward lists, for columns of collections.
    """
    import awkward as ak

    array = columns.column(column)
    if array.ndim > 1:
        if columns.valid.all():
            return array
        index = np.where(columns.valid, np.cumsum(columns.valid) - 1, -1)
        return ak.mask(array[np.maximum(index, 0)], columns.valid) if len(array) else ak.Array([None] * len(columns))
    kind = str(array.type)
    option = "?" in kind or "option" in kind
    if option:
        absent = ak.to_numpy(ak.is_none(array))
        values = ak.to_numpy(ak.fill_none(array, 0))
        if absent.any():
            values = np.where(absent, np.nan, values)
    else:
        values = ak.to_numpy(array)
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        raise MismatchError(f"{column} is {array.type!s:.100}, expected one number per event")
    if columns.valid.all():
        return values
    found = np.full(len(columns), np.nan if values.dtype.kind == "f" else 0, dtype=values.dtype)
    found[columns.valid] = values
    return found


def event_values(columns: EventColumns, text: str, more: Mapping[str, Array] | None = None) -> Array:
    """An expression in columns of the event.

    Parameters
    ----------
    columns : EventColumns
    text : str
    more : mapping of str to array[events], optional
        Further names.

    Returns
    -------
    array[events]
        NaN where it is None.

    Raises
    ------
    MismatchError
        If it does not give one number per event.
    """
    import awkward as ak

    expression = parse(text)
    values = {}
    for name in expression.names:
        values[name] = (more or {})[name] if name in (more or {}) else event_column(columns, name)
    found = expression.evaluate(values)
    if isinstance(found, ak.Array):
        if found.ndim != 1:
            raise MismatchError(f"{text!r} gives {found.type!s:.100}, expected one number per event")
        found = ak.to_numpy(ak.fill_none(found, np.nan if ak.any(ak.is_none(found)) else 0))
    return np.broadcast_to(np.asarray(found), (len(columns),))


def _of_event(columns: EventColumns, item: EventInput, keys: InputMapping) -> tuple[Array, Bools]:
    """Values, float32[events, 1, features], and mask, bool[events, 1], of variables of the event."""
    values = np.zeros((len(columns), 1, len(item.features)), dtype=np.float32)
    mask = columns.valid.copy()[:, np.newaxis]
    for place, feature in enumerate(item.features):
        found = np.array(event_values(columns, keys.expression(feature.name)), dtype=np.float32)
        if feature.name in keys.fill:
            found[np.isnan(found)] = keys.fill[feature.name]
        _refuse(columns, item.name, feature.name, found[mask[:, 0]], np.flatnonzero(mask[:, 0]))
        values[:, 0, place] = np.where(mask[:, 0], found, 0)
    return values, mask


def _of_objects(
    columns: EventColumns, item: EventInput, keys: InputMapping, objects: _Objects
) -> tuple[Array, Bools, Ints]:
    """Values, float32[events, slots, features], mask and indices, [events, slots], of objects of a collection."""
    slots = keys.max_objects or 1
    chosen = objects.selected(item.name)
    kept = chosen.slot < slots
    rows, event, slot = chosen.rows[kept], chosen.event[kept], chosen.slot[kept]
    single = [name for name in item.feature_names if name not in keys.pairs]
    values = np.zeros((len(columns), slots, len(single)), dtype=np.float32)
    for place, feature in enumerate(single):
        found = np.array(objects.evaluate(item.name, keys.expression(feature), rows), dtype=np.float32)
        if feature in keys.fill:
            found[np.isnan(found)] = keys.fill[feature]
        _refuse(columns, item.name, feature, found, event)
        values[event, slot, place] = found
    mask = np.zeros((len(columns), slots), dtype=bool)
    mask[event, slot] = True
    indices = np.full((len(columns), slots), -1, dtype=np.int64)
    indices[event, slot] = chosen.index[kept]
    return values, mask, indices


def _of_pairs(columns: EventColumns, item: EventInput, keys: InputMapping, objects: _Objects) -> Array:
    """Values of pairs of objects, also of an object with itself, float32[events, slots, slots, features]."""
    slots = keys.max_objects or 1
    chosen = objects.selected(item.name)
    kept = np.flatnonzero(chosen.slot < slots)
    first, second = pairs(chosen.event[kept], chosen.event[kept], len(columns))
    both = kept[np.stack([first, second])]
    event, slot, other_slot = chosen.event[both[0]], chosen.slot[both[0]], chosen.slot[both[1]]
    features = [name for name in item.feature_names if name in keys.pairs]
    values = np.zeros((len(columns), slots, slots, len(features)), dtype=np.float32)
    for place, feature in enumerate(features):
        text = keys.pairs[feature]
        others = {name: _number(columns, name, item.name)[event] for name in pair_columns(text)[1]}
        made = evaluate_pairs(text, lambda column: objects.value(item.name, column), others, chosen.rows[both])
        found = np.array(made, dtype=np.float32)
        if feature in keys.fill:
            found[np.isnan(found)] = keys.fill[feature]
        _refuse(columns, item.name, feature, found, event)
        values[event, slot, other_slot, place] = found
    return values


def _refuse(columns: EventColumns, name: str, feature: str, values: Array, event: Ints) -> None:
    """Raise an error where a feature is not finite."""
    bad = np.flatnonzero(~np.isfinite(values))
    if not len(bad):
        return
    first = int(event[bad[0]])
    number = f"event number {int(event_column(columns, 'event')[first])}, " if columns.has("event") else ""
    what = "None or NaN" if np.isnan(values[bad[0]]) else "infinite"
    raise InvalidValues(
        f"feature {feature!r} of the input {name!r} is {what} in {len(np.unique(event[bad]))} of {len(columns)} "
        f"events, first in {number}entry {columns.place(first)} of {columns.source}: select other objects, or give the "
        f"value that stands for it as 'fill: {{{feature}: NUMBER}}' of this input"
    )


guard(globals(), "check_columns", "required_columns", "event_tensors")
