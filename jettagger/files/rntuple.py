"""RNTuples as tables of flat columns, including those with records, as uproot writes ``{"FatJet": ak.zip(...)}``."""

from __future__ import annotations

from typing import Any

__all__ = ["field_paths", "is_rntuple"]

#: structural roles of fields in the format of RNTuples
_COLLECTION, _RECORD = 1, 2


def is_rntuple(tree: Any) -> bool:
    """Whether an object opened by uproot is an RNTuple.

    Parameters
    ----------
    tree : object

    Returns
    -------
    bool
    """
    import uproot

    return isinstance(tree, uproot.behaviors.RNTuple.RNTuple)


def field_paths(tree: Any) -> dict[str, str]:
    """The columns of an RNTuple by the flat names that they would have in a TTree.

    Parameters
    ----------
    tree : uproot RNTuple

    Returns
    -------
    dict of str to str
        ``FatJet_pt`` -> its path in uproot: ``FatJet_pt``, or ``FatJet.pt`` in records and lists of records. Duplicates
        below ``_collectionN`` from ROOT's importer are left out.
    """
    # one pass over the header: uproot takes seconds to walk through all fields of a NanoAOD
    records = tree.ntuple.field_records
    children: dict[int, list[int]] = {}
    for number, record in enumerate(records):
        if record.parent_field_id != number:
            children.setdefault(record.parent_field_id, []).append(number)
    paths: dict[str, str] = {}
    inner: dict[str, str] = {}
    for number, record in enumerate(records):
        name = record.field_name
        if record.parent_field_id != number or name.startswith("_collection"):
            continue
        place, role = number, record.struct_role
        if role == _COLLECTION and len(children.get(number, ())) == 1:
            place = children[number][0]
            role = records[place].struct_role
        if role != _RECORD:
            paths[name] = name
            continue
        for child in children.get(place, ()):
            field = records[child].field_name
            inner[f"{name}_{field}"] = f"{name}.{field}"
    return inner | paths
