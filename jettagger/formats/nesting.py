"""From flat NanoAOD columns ``FatJet_pt`` to events with collections ``FatJet``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jettagger.errors import MismatchError

__all__ = ["nest"]


def nest(columns: Mapping[str, Any]) -> Any:
    """Group flat columns into collections.

    Parameters
    ----------
    columns : mapping of str to array
        Jagged columns are named ``<collection>_<field>`` (up to the first underscore); others become plain fields.

    Returns
    -------
    awkward array
        One record per event.

    Raises
    ------
    MismatchError
        If columns have different numbers of events, or those of a collection different numbers of entries in one.

    Examples
    --------
    >>> import awkward as ak
    >>> nest({"event": np.array([7]), "FatJet_pt": ak.Array([[300.0]])}).tolist()
    [{'event': 7, 'FatJet': [{'pt': 300.0}]}]
    """
    import awkward as ak

    fields: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    length = len(next(iter(columns.values()), ()))
    for name, column in columns.items():
        layout = ak.to_layout(column)
        if layout.length != length:
            first_name = next(iter(columns))
            raise MismatchError(f"{name} has {layout.length} events, expected {length} as in {first_name}")
        collection, _, field = name.partition("_")
        if field and layout.is_list:
            nested.setdefault(collection, {})[field] = layout.to_ListOffsetArray64(True)
            fields.setdefault(collection, None)
        else:
            fields[name] = layout
    for collection, members in nested.items():
        first = next(iter(members.values()))
        for name, member in members.items():
            counts, expected = np.diff(np.asarray(member.offsets)), np.diff(np.asarray(first.offsets))
            differing = np.flatnonzero(counts != expected)
            if len(differing):
                event = differing[0]
                raise MismatchError(
                    f"{collection}_{name} has {counts[event]} entries in event {event}, expected {expected[event]} as "
                    f"in {collection}_{next(iter(members))} ({len(differing)} of {length} events differ)"
                )
        total = int(np.asarray(first.offsets)[-1])
        record = ak.contents.RecordArray(
            [member.content[:total] for member in members.values()], list(members), length=total
        )
        fields[collection] = ak.contents.ListOffsetArray(first.offsets, record)
    return ak.Array(ak.contents.RecordArray(list(fields.values()), list(fields), length=length))
