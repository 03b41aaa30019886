"""New fields on nested records without touching the old ones.

Awkward's own ``with_field`` reads every column of a virtual array when lists were sliced or masked. Here the
records are rebuilt around the same buffers: old columns stay unread until somebody asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jettagger.features.definition import Array

__all__ = ["with_fields", "with_list_fields"]


def _resolve(layout: Any, carry: Array) -> tuple[Any, Array]:
    """Follow indexed and option layouts down to the records; -1 in the result is None."""
    while layout.is_indexed or layout.is_option:
        if layout.is_option and not layout.is_indexed:
            layout = layout.to_IndexedOptionArray64()
        index = np.asarray(layout.index).astype(np.int64, copy=False)
        inner = np.full(len(carry), -1, dtype=np.int64)
        inner[carry >= 0] = index[carry[carry >= 0]]
        carry, layout = inner, layout.content
    return layout, carry


def _records(layout: Any, carry: Array, new: Mapping[str, Any]) -> Any:
    """Records ``layout[carry]`` with new contents, one entry a carried record; None where carry is -1."""
    import awkward as ak

    layout, carry = _resolve(layout, carry)
    present = carry >= 0
    taken = carry[present]
    whole = len(taken) == layout.length and bool((taken == np.arange(len(taken))).all())
    contents = {}
    for name in layout.fields:
        content = layout.content(name)
        if not whole:
            content = ak.contents.IndexedArray.simplified(ak.index.Index64(taken), content)
        contents[name] = content
    for name, content in new.items():
        if not present.all():
            index = ak.index.Index64(np.flatnonzero(present))
            content = ak.contents.IndexedArray.simplified(index, content)
        contents[name] = content
    records = ak.contents.RecordArray(
        list(contents.values()), list(contents), length=len(taken), parameters=layout.parameters
    )
    if present.all():
        return records
    index = np.where(present, np.cumsum(present) - 1, -1).astype(np.int64)
    return ak.contents.IndexedOptionArray(ak.index.Index64(index), records)


def with_fields(array: Any, new: Mapping[str, Any]) -> Any:
    """An array of records with more fields.

    Parameters
    ----------
    array : awkward array of records
        May be indexed, masked, virtual.
    new : mapping of str to awkward layout
        New contents, one entry a record; an existing field of that name is replaced.

    Returns
    -------
    awkward array
        Of the same behaviour and attributes.

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
    """Lists of records with more fields.

    Parameters
    ----------
    array : awkward array of lists of records
        May be indexed, masked, virtual at both levels.
    counts : int64[lists]
        Length of each list; 0 for lists that are None.
    new : mapping of str to awkward layout
        New contents, one entry a record, list after list (records that are None included).

    Returns
    -------
    awkward array
        Lists that are None stay so.

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
    lists, carry = _resolve(layout, np.arange(layout.length))
    present = carry >= 0
    starts = np.asarray(lists.starts)[carry[present]].astype(np.int64)
    lengths = counts[present]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    inner = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - starts, lengths)
    content = _records(lists.content, inner, new)
    result = ak.contents.ListOffsetArray(ak.index.Index64(offsets), content, parameters=lists.parameters)
    if not present.all():
        index = np.where(present, np.cumsum(present) - 1, -1).astype(np.int64)
        result = ak.contents.IndexedOptionArray(ak.index.Index64(index), result)
    return ak.Array(result, behavior=array.behavior, attrs=array.attrs)
