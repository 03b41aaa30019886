"""Columns of events as flat NumPy arrays: the only module that handles awkward layouts of events.

Supports eager and virtual arrays, NanoEvents and plain records, masked, sliced, indexed and option-type events. Reads
only the requested columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from jettagger.display import Brief
from jettagger.errors import InputFileError, MismatchError, UnknownName
from jettagger.types import Array

__all__ = ["EventColumns", "not_none", "split"]


def split(column: str) -> tuple[str, str]:
    """Collection and field of a column ``"PFCands.pt"``.

    Parameters
    ----------
    column : str

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> split("FatJetSVs.sVIdx")
    ('FatJetSVs', 'sVIdx')
    """
    collection, _, field = column.partition(".")
    return collection, field


class EventColumns(Brief):
    """Flat access to the collections of an events array.

    Parameters
    ----------
    events : awkward array of records
        Collections as fields (``FatJet``, ``PFCands``, ...), each a list of records per event. Events may be None; they
        count as events without objects.

    Raises
    ------
    InputFileError
        If ``events`` is not an array of records.

    Examples
    --------
    >>> import awkward as ak
    >>> events = ak.Array({"FatJet": [[{"pt": 300.0}], []]})
    >>> columns = EventColumns(events)
    >>> columns.counts("FatJet").tolist(), columns.flat("FatJet.pt").tolist()
    ([1, 0], [300.0])
    """

    def __init__(self, events: Any) -> None:
        import awkward as ak

        if not isinstance(events, ak.Array) or not events.fields or events.ndim != 1:
            kind = type(events).__name__ if not isinstance(events, ak.Array) else str(events.type)[:80]
            raise InputFileError(f"expected an array of events with fields like FatJet, got {kind}")
        # without behaviours: classes of coffea refuse records that lack fields which taggers do not need
        self.events = ak.Array(ak.to_layout(events), behavior={})
        self._fields: dict[str, list[str]] = {}
        self._valid: Array | None = None
        self._counts: dict[str, Array] = {}
        self._places: Array | None = None
        self._plain_lists: dict[str, tuple[Array, Any] | None] = {}

    def part(self, places: Array) -> EventColumns:
        """The columns of some events; nothing is read, and data of other events are not copied unless requested.

        Parameters
        ----------
        places : int64[events]
            Increasing indices of the events in this array.

        Returns
        -------
        EventColumns
        """
        found = EventColumns.__new__(EventColumns)
        found.events, found._fields, found._plain_lists = self.events, self._fields, self._plain_lists
        found._valid = self.valid[places]
        found._counts = {name: counts[places] for name, counts in self._counts.items()}
        found._places = places if self._places is None else self._places[places]
        return found

    def place(self, event: int) -> int:
        """The index of an event in the original array, of which this may be a part."""
        return event if self._places is None else int(self._places[event])

    def _taken(self, array: Any) -> Any:
        """The entries of the events of this part."""
        places = self._places
        if places is None:
            return array
        if len(places) and places[-1] - places[0] + 1 == len(places):
            return array[int(places[0]) : int(places[-1]) + 1]  # without copying
        return array[places]

    def _offsets_and_records(self, collection: str) -> tuple[Array, Any] | None:
        """Offsets of the lists of these events, int[events + 1], and the records of all events, without awkward's
        dispatching, which takes longer than anything else in small chunks; None for other than plain lists of records.
        """
        if collection not in self._plain_lists:
            self._plain_lists[collection] = _plain_lists(self.events.layout, collection)
        lists, places = self._plain_lists[collection], self._places
        if lists is None or places is None:
            return lists
        if not len(places) or places[-1] - places[0] + 1 != len(places):
            return None
        offsets, records = lists
        return offsets[int(places[0]) : int(places[-1]) + 2], records

    def __len__(self) -> int:
        return len(self.events) if self._places is None else len(self._places)

    @property
    def collections(self) -> list[str]:
        """Names of the collections."""
        return list(self.events.fields)

    def has(self, column: str) -> bool:
        """Whether a column ``"Collection.field"``, or a plain column of the event, exists; nothing is read."""
        collection, field = split(column)
        if not field:
            return collection in self.events.fields and not self.fields(collection)
        return field in self.fields(collection) or (self._nested and self._plain(column) in self.events.fields)

    @property
    def _nested(self) -> bool:
        """Whether there are collections with fields; a table of plain columns has none."""
        return any(self.fields(name) for name in self.events.fields)

    @staticmethod
    def _plain(column: str) -> str:
        """The name in files of an event-level variable that coffea puts into a record: ``PV_npvs`` for ``PV.npvs``."""
        return column.replace(".", "_", 1)

    def array(self, column: str) -> Any:
        """A column of all events as it is stored, including events that are None."""
        collection, field = split(column)
        if field and field not in self.fields(collection):
            return self.events[self._plain(column)]
        return self.events[collection, field] if field else self.events[collection]

    def is_list(self, collection: str) -> bool:
        """Whether a collection is a list of objects per event, as opposed to event-level variables."""
        return collection in self.events.fields and self.events[collection].ndim > 1

    def fields(self, collection: str) -> list[str]:
        """Fields of a collection, empty if it does not exist."""
        if collection not in self._fields:
            self._fields[collection] = list(self.events[collection].fields) if collection in self.events.fields else []
        return self._fields[collection]

    @property
    def valid(self) -> Array:
        """Mask of events that are not None; bool[events]."""
        import awkward as ak

        if self._valid is None:
            self._valid = not_none(ak.to_layout(self.events))
        return self._valid

    def column(self, column: str) -> Any:
        """The column of all events that are not None, as an awkward array.

        Raises
        ------
        UnknownName
            If the column does not exist; gives the nearest ones.
        """

        collection = split(column)[0]
        if not self.has(column):
            known = [f"{collection}.{name}" for name in self.fields(collection)] or self.collections
            raise UnknownName("column", column, known, "these events")
        array = self._taken(self.array(column))
        return array if self.valid.all() else array[self.valid]  # other Nones keep their places

    def counts(self, collection: str) -> Array:
        """Number of objects in each event, int64[events], including objects that are None.

        Raises
        ------
        MismatchError
            If the collection is not a list of objects per event.
        """
        import awkward as ak

        if collection not in self._counts:
            plain = self._offsets_and_records(collection)
            if plain is not None:
                self._counts[collection] = np.diff(plain[0])
                return self._counts[collection]
            lists = self._taken(_without_fields(self.events[collection]))
            if not self.valid.all():
                lists = lists[self.valid]
            try:
                found = ak.to_numpy(ak.fill_none(ak.num(lists, axis=1), 0))
            except (ValueError, TypeError) as error:
                raise MismatchError(f"{collection} is not a list of objects per event: {lists.type!s:.80}") from error
            counts = np.zeros(len(self), dtype=np.int64)
            counts[self.valid] = found
            self._counts[collection] = counts
        return self._counts[collection]

    def offsets(self, collection: str) -> Array:
        """Index of each event's first object in the flat arrays, int64[events + 1]."""
        return np.concatenate([[0], np.cumsum(self.counts(collection))]).astype(np.int64)

    def starts(self, collection: str) -> Array:
        """Index of each event's first object in the flat arrays, int64[events]."""
        return self.offsets(collection)[:-1]

    def owners(self, collection: str) -> Array:
        """The event of each object in the flat arrays, int64[objects]."""
        return np.repeat(np.arange(len(self)), self.counts(collection))

    def places(self, collection: str, event: Array, index: Array) -> Array:
        """Indices in the flat arrays of objects given by their index in their event.

        Parameters
        ----------
        collection : str
        event, index : int64[n]

        Returns
        -------
        int64[n]
            -1 if the event has no such object.

        Examples
        --------
        >>> import awkward as ak
        >>> columns = EventColumns(ak.Array({"Jet": [[{"pt": 30.0}], [{"pt": 50.0}, {"pt": 40.0}]]}))
        >>> columns.places("Jet", np.array([0, 1, 1, 1]), np.array([1, 0, 1, -1])).tolist()
        [-1, 1, 2, -1]
        """
        known = (index >= 0) & (index < self.counts(collection)[event])
        return np.where(known, self.starts(collection)[event] + index, -1)

    def per_event(self, column: str) -> Array:
        """An event-level variable, float32[events]; NaN where it is None.

        Raises
        ------
        MismatchError
            If it does not have one value per event.
        """
        import awkward as ak

        array = self.column(column)
        try:
            values = ak.to_numpy(ak.fill_none(array, np.nan))
        except (ValueError, TypeError):
            values = np.empty((0, 0))
        if values.ndim != 1 or values.dtype.kind not in "biuf":
            raise MismatchError(f"{column} is {array.type!s:.100}, expected one number per event")
        found = np.full(len(self), np.nan, dtype=np.float32)
        found[self.valid] = values
        return found

    def present(self, collection: str) -> Array:
        """Mask of objects that are not None, bool[objects]."""
        import awkward as ak

        counts = self.counts(collection)  # refuses what is no list
        if self._offsets_and_records(collection) is not None:
            return np.ones(int(counts.sum()), dtype=bool)
        lists = self._taken(_without_fields(self.events[collection]))
        if not self.valid.all():
            lists = ak.drop_none(lists, axis=0)
        return not_none(ak.to_layout(ak.flatten(lists, axis=1)))

    def flat(self, column: str) -> Array:
        """All values of a column, event after event; one entry per object, NaN (or 0 for integers) for None.

        Raises
        ------
        MismatchError
            If it does not have one value per object.
        """
        import awkward as ak

        values = self._plain_numbers(column)
        if values is not None:
            return values
        array = self.column(column)
        try:
            values = ak.flatten(array, axis=1)
            kind = None
            if "?" in str(values.type) or "option" in str(values.type):
                kind = ak.to_numpy(ak.drop_none(values)[:0]).dtype
                values = ak.fill_none(values, np.nan if kind.kind == "f" else 0)
            flat = ak.to_numpy(values)
        except (ValueError, TypeError):
            flat, kind = np.empty((0, 0)), None
        if flat.ndim != 1 or flat.dtype.kind not in "biuf":
            raise MismatchError(f"{column} is {array.type!s:.100}, expected one number per object")
        return flat if kind is None else flat.astype(kind, copy=False)

    def _plain_numbers(self, column: str) -> Array | None:
        """The result of `flat` for a field of numbers in plain lists of records; None for others."""
        collection, field = split(column)
        plain = self._offsets_and_records(collection)
        if plain is None or field not in plain[1].fields:
            return None
        offsets, records = plain
        content = records.content(field)
        if not content.is_numpy or content.inner_shape or content.dtype.kind not in "biuf":
            return None
        return np.asarray(content.data)[offsets[0] : offsets[-1]]

    @property
    def source(self) -> str:
        """Origin of the events, if provided by coffea's Runner: file and range."""
        import awkward as ak

        known = ak.to_layout(self.events).purelist_parameter("metadata")
        try:
            return f"events {known['entrystart']} to {known['entrystop']} of {known['filename']}"
        except (TypeError, KeyError):
            return f"a chunk of {len(self)} events"

    def nbytes(self, columns: Iterable[str]) -> int:
        """Size of some columns in bytes; reads only the numbers of objects."""
        total = 0
        for collection, field in map(split, columns):
            array = self.array(f"{collection}.{field}" if field else collection)
            plain = bool(field) and array.ndim == 2 and not array.fields
            total += int(self.counts(collection).sum()) * _itemsize(array) if plain else _nbytes(array)
        return total

    @property
    def uneven(self) -> list[str]:
        """Columns that only some of the events have: those of a union, made by concatenating different events."""
        import awkward as ak

        found: set[str] = set()
        for member in _members(ak.to_layout(self.events)):
            for collection in member.fields:
                for inner in _members(member.content(collection)):
                    found |= {f"{collection}.{name}" for name in inner.fields} or {collection}
        return sorted(column for column in found if not self.has(column))

    def missing(self, columns: Iterable[str]) -> list[str]:
        """The columns that do not exist."""
        return [column for column in columns if not self.has(column)]


def _plain_lists(layout: Any, collection: str) -> tuple[Array, Any] | None:
    """Offsets, int64[events + 1], and content of a collection in the layout of events; None unless it is a list of
    records without None, an index or a union.
    """
    if not layout.is_record or collection not in layout.fields:
        return None
    lists = layout.content(collection)
    if not lists.is_list or not hasattr(lists, "offsets") or not lists.content.is_record:
        return None
    return np.asarray(lists.offsets.data).astype(np.int64), lists.content


def not_none(layout: Any) -> Array:
    """Mask of entries of a layout that are not None, bool[entries]."""
    if layout.is_indexed and not layout.is_option:
        return not_none(layout.content)[np.asarray(layout.index)]
    if layout.is_union:
        tags, index = np.asarray(layout.tags), np.asarray(layout.index)
        flags = np.ones(layout.length, dtype=bool)
        for tag, content in enumerate(layout.contents):
            own = tags[: layout.length] == tag
            flags[own] = not_none(content)[index[: layout.length][own]]
        return flags
    return np.asarray(layout.mask_as_bool(valid_when=True)) if layout.is_option else np.ones(layout.length, dtype=bool)


def _itemsize(array: Any) -> int:
    """Bytes of one value."""
    import awkward as ak

    return max((leaf.dtype.itemsize for leaf in _members(ak.to_layout(array)) if leaf.is_numpy), default=0)


def _nbytes(array: Any) -> int:
    """Bytes of all values, also of records inside lists; reads the lengths of lists only."""
    import awkward as ak

    if array.fields:
        return sum(_nbytes(array[name]) for name in array.fields)
    lists = array.ndim > 1
    return int(ak.sum(ak.num(array, axis=array.ndim - 1), axis=None) if lists else len(array)) * _itemsize(array)


def _members(layout: Any) -> Iterator[Any]:
    """Contents of a layout below lists, indices and options: one, or the members of a union."""
    if layout.is_union:
        for content in layout.contents:
            yield from _members(content)
    elif layout.is_indexed or layout.is_option or layout.is_list:
        yield from _members(layout.content)
    else:
        yield layout


def _without_fields(lists: Any) -> Any:
    """The same lists with the objects' record stripped, so that counting reads no field."""
    import awkward as ak

    fields = lists.fields
    return lists[fields[0]] if fields and not isinstance(lists, ak.Record) else lists
