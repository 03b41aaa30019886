"""Adding fields to nested records without reading the existing ones.

Awkward's own ``with_field`` reads every column of a virtual array if lists were sliced or masked. Here the records are
built around the same buffers: existing columns stay unread until they are accessed.

Unions, which awkward makes when arrays with different columns are concatenated, are preserved: each kind of record
gets the new fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jettagger.errors import MismatchError
from jettagger.types import Array

__all__ = ["with_fields", "with_list_fields"]


def _resolve(layout: Any, carry: Array) -> tuple[Any, Array]:
    """Follow indexed and option layouts to their content; -1 in the result is None."""
    while layout.is_indexed or layout.is_option:
        if layout.is_option and not layout.is_indexed:
            layout = layout.to_IndexedOptionArray64()
        index = np.asarray(layout.index).astype(np.int64, copy=False)
        inner = np.full(len(carry), -1, dtype=np.int64)
        inner[carry >= 0] = index[carry[carry >= 0]]
        carry, layout = inner, layout.content
    return layout, carry


def _kinds(layout: Any, carry: Array) -> Iterator[tuple[Any, Array, Array]]:
    """Components of ``layout[carry]``: each member of a union with the carry into it and its positions."""
    layout, carry = _resolve(layout, carry)
    places = np.flatnonzero(carry >= 0)
    if not layout.is_union:
        yield layout, carry[places], places
        return
    tags = np.asarray(layout.tags)[carry[places]]
    index = np.asarray(layout.index)[carry[places]].astype(np.int64)
    for tag, content in enumerate(layout.contents):
        chosen = tags == tag
        for member, inner, own in _kinds(content, index[chosen]):
            yield member, inner, places[chosen][own]


def _joined(contents: Sequence[Any], places: Sequence[Array], length: int) -> Any:
    """Contents at their positions among a number of entries, None elsewhere."""
    import awkward as ak

    index = np.full(length, -1, dtype=np.int64)
    tags = np.zeros(length, dtype=np.int8)
    for tag, own in enumerate(places):
        index[own] = np.arange(len(own))
        tags[own] = tag
    present = index >= 0
    result = contents[0]
    if len(contents) > 1:
        result = ak.contents.UnionArray.simplified(ak.index.Index8(tags[present]), _index(index[present]), contents)
        index[present] = np.arange(np.count_nonzero(present))
    return result if present.all() else ak.contents.IndexedOptionArray.simplified(_index(index), result)


def _index(values: Array) -> Any:
    import awkward as ak

    return ak.index.Index64(values.astype(np.int64, copy=False))


def _carried(content: Any, carry: Array) -> Any:
    """``content[carry]``, unread; the content itself if this is the same."""
    import awkward as ak

    whole = len(carry) == content.length and bool((carry == np.arange(len(carry))).all())
    return content if whole else ak.contents.IndexedArray.simplified(_index(carry), content)


def _records(layout: Any, carry: Array, new: Mapping[str, Any]) -> Any:
    """Records ``layout[carry]`` with new contents, one entry per carried record; None where carry is -1."""
    import awkward as ak

    records, places = [], []
    for member, taken, own in _kinds(layout, carry):
        if not member.is_record:
            if not len(own):  # of a kind that no entry has
                continue
            raise MismatchError(f"expected records to add the columns {', '.join(new)} to, got {member.form.type}")
        contents = {name: _carried(member.content(name), taken) for name in member.fields}
        contents |= {name: _carried(content, own) for name, content in new.items()}
        records.append(
            ak.contents.RecordArray(
                list(contents.values()), list(contents), length=len(own), parameters=member.parameters
            )
        )
        places.append(own)
    if not records:
        empty = [_carried(content, np.empty(0, dtype=np.int64)) for content in new.values()]
        records, places = [ak.contents.RecordArray(empty, list(new), length=0)], [np.empty(0, dtype=np.int64)]
    return _joined(records, places, len(carry))


def with_fields(array: Any, new: Mapping[str, Any]) -> Any:
    """An array of records with additional fields.

    Parameters
    ----------
    array : awkward array of records
        May be indexed, masked, virtual, a union of different records.
    new : mapping of str to awkward layout
        New contents, one entry per record; an existing field of that name is replaced.

    Returns
    -------
    awkward array
        With the same behaviour and attributes.

    Raises
    ------
    MismatchError
        If some entries are not records.

    Examples
    --------
    >>> import awkward as ak
    >>> array = ak.Array([{"x": 1}, {"x": 2}])[[True, False]]
    >>> with_fields(array, {"y": ak.to_layout(ak.Array([3.5]))}).tolist()
    [{'x': 1, 'y': 3.5}]
    """
    import awkward as ak

    layout = ak.to_layout(array)
    records = _records(layout, np.arange(layout.length), new)
    return ak.Array(records, behavior=array.behavior, attrs=array.attrs)


def with_list_fields(array: Any, counts: Array, new: Mapping[str, Any]) -> Any:
    """Lists of records with additional fields.

    Parameters
    ----------
    array : awkward array of lists of records
        May be indexed, masked, virtual, a union at both levels.
    counts : int64[lists]
        Length of each list; 0 for lists that are None.
    new : mapping of str to awkward layout
        New contents, one entry per record, list after list (including records that are None).

    Returns
    -------
    awkward array
        Lists that are None remain None.

    Raises
    ------
    MismatchError
        If some entries are not lists of records.

    Examples
    --------
    >>> import awkward as ak
    >>> array = ak.Array([[{"x": 1}], [], [{"x": 2}, {"x": 3}]])
    >>> more = with_list_fields(array, np.array([1, 0, 2]), {"y": ak.to_layout(ak.Array([4, 5, 6]))})
    >>> more.y.tolist()
    [[4], [], [5, 6]]
    """
    import awkward as ak

    layout = ak.to_layout(array)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    present = np.zeros(layout.length, dtype=bool)
    contents, places, parameters = [], [], None
    for lists, carry, own in _kinds(layout, np.arange(layout.length)):
        if not lists.is_list:
            if not len(own):
                continue
            raise MismatchError(f"expected lists to add the columns {', '.join(new)} to, got {lists.form.type}")
        present[own] = True
        lengths = counts[own]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        slots = np.repeat(offsets[own], lengths) + within
        inner = np.repeat(np.asarray(lists.starts)[carry].astype(np.int64), lengths) + within
        own_new = {name: _carried(content, slots) for name, content in new.items()}
        contents.append(_records(lists.content, inner, own_new))
        places.append(slots)
        parameters = lists.parameters
    if not contents:  # all lists are None, of no known type
        contents, places = [_records(ak.contents.EmptyArray(), offsets[:0], new)], [offsets[:0]]
    content = _joined(contents, places, int(offsets[-1]))
    result = ak.contents.ListOffsetArray(_index(offsets), content, parameters=parameters)
    if not present.all():
        # lists that are None have no entries: only their places are marked
        result = ak.contents.IndexedOptionArray(_index(np.where(present, np.arange(len(present)), -1)), result)
    return ak.Array(result, behavior=array.behavior, attrs=array.attrs)
