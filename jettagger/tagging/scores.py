"""Scores as jagged records aligned with the jets, and as columns of the events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jettagger.bundles.bundle import Output
from jettagger.errors import MismatchError
from jettagger.formats import EventColumns
from jettagger.formats.attach import with_fields, with_list_fields
from jettagger.inputs.flatjets import IN_DOMAIN
from jettagger.report import Report
from jettagger.types import Array

if TYPE_CHECKING:
    import awkward as ak

__all__ = ["Scored", "attach_scores", "jagged", "joined", "refuse_existing", "with_domain"]


@dataclass(frozen=True)
class Scored:
    """All outputs of the scored jets, float32[n, outputs], and which of all jets these are, int64[n].

    ``partial`` are those that were not scored because only a part of their constituents is there, int64[m].
    """

    values: Array
    index: Array
    report: Report
    partial: Array


def joined(parts: Sequence[Scored]) -> Scored:
    """Scores of several parts of a chunk as those of one."""
    report = parts[0].report
    for part in parts[1:]:
        report += part.report
    values, index, partial = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("values", "index", "partial")
    )
    return Scored(values, index, report, partial)


def jagged(
    values: Array, index: Array, counts: Array | None, valid: Array | None, outputs: tuple[Output, ...]
) -> ak.Array:
    """Outputs as jagged records, None for jets that were not scored.

    Parameters
    ----------
    values : float32[scored, columns]
    index : int64[jets]
        Row of ``values`` for each jet, -1 for none.
    counts : int64[events] or None
        Jets of each event; None: the result has one entry a jet.
    valid : bool[events] or None
        Events that are not None.
    outputs : tuple of Output
        Which columns, by their positions, and how they are called.

    Returns
    -------
    awkward array
        ``events * var * ?{output: float32, ...}``, or ``jets * ?{...}``.
    """
    import awkward as ak

    by_column = np.asfortranarray(values)
    records = ak.contents.RecordArray(
        [ak.contents.NumpyArray(by_column[:, output.index]) for output in outputs],
        [output.name for output in outputs],
        length=len(values),
    )
    jets = ak.contents.IndexedOptionArray(ak.index.Index64(index), records)
    if counts is None:
        return ak.Array(jets)
    offsets = np.concatenate([[0], np.cumsum(counts if valid is None else counts[valid])]).astype(np.int64)
    lists = ak.contents.ListOffsetArray(ak.index.Index64(offsets), jets)
    if valid is not None and not valid.all():
        events = np.where(valid, np.cumsum(valid) - 1, -1).astype(np.int64)
        lists = ak.contents.IndexedOptionArray(ak.index.Index64(events), lists)
    return ak.Array(lists)


def with_domain(
    scores: Any, in_domain: Array | None, present: Array, counts: Array | None, valid: Array | None = None
) -> Any:
    """Scores with the flag that tells whether a jet passes the training selection.

    Parameters
    ----------
    scores : awkward array
        ``jets * ?{...}``, or ``events * var * ?{...}`` with ``counts``.
    in_domain : bool[jets] or None
        None where the input lacks what the selection needs.
    present : bool[jets]
        Jets that are there.
    counts : int64[events] or None
    valid : bool[events] or None
        Events that are not None.

    Returns
    -------
    awkward array
        With the field ``inDomain``, also for jets that were not scored.
    """
    import awkward as ak

    known = present if in_domain is not None else np.zeros(len(present), dtype=bool)
    content = np.zeros(len(present), dtype=bool) if in_domain is None else in_domain
    flag = ak.contents.ByteMaskedArray(ak.index.Index8(known.astype(np.int8)), ak.contents.NumpyArray(content), True)
    flat = scores if counts is None else ak.flatten(scores, axis=1)
    columns = {name: flat[name] for name in flat.fields} | {IN_DOMAIN: ak.Array(flag.to_IndexedOptionArray64())}
    result = ak.zip(columns, depth_limit=1)
    if counts is None:
        return result
    lists = ak.unflatten(result, counts)
    return lists if valid is None or valid.all() else ak.mask(lists, valid)


def attach_scores(events: Any, scores: Any, names: Mapping[str, str], collection: str) -> Any:
    """Add outputs to the jets of events as columns.

    Parameters
    ----------
    events : awkward array
        In memory or virtual.
    scores : awkward array
        From `Tagger.run` on the same events.
    names : mapping of str to str
        Output -> column.
    collection : str
        The jets.

    Returns
    -------
    awkward array
    """
    import awkward as ak

    columns = EventColumns(events)
    refuse_existing(columns.fields(collection), names, collection)
    layout = ak.to_layout(scores)
    lists = (layout.project() if layout.is_option else layout).to_ListOffsetArray64(True)
    content = lists.content[: int(lists.offsets[-1])]
    index, records = content.index, content.content
    new = {column: ak.contents.IndexedOptionArray(index, records.content(output)) for output, column in names.items()}
    fatjets = with_list_fields(columns.events[collection], columns.counts(collection), new)
    if not columns.valid.all():
        fatjets = ak.drop_none(fatjets, axis=0)
        full = np.where(columns.valid, np.cumsum(columns.valid) - 1, -1)
        jets = ak.contents.IndexedOptionArray(ak.index.Index64(full), ak.to_layout(fatjets))
        return with_fields(events, {collection: jets})
    return with_fields(events, {collection: ak.to_layout(fatjets)})


def refuse_existing(fields: Iterable[str], names: Mapping[str, str], collection: str) -> None:
    """Raise where a column exists already.

    Parameters
    ----------
    fields : iterable of str
        Those of the collection.
    names : mapping of str to str
        Output -> column.
    collection : str

    Raises
    ------
    MismatchError
    """
    taken = sorted(set(fields) & set(names.values()))
    if taken:
        raise MismatchError(
            f"{collection} has {len(taken)} of these columns already ({', '.join(taken[:3])}, ...): "
            "give another prefix=, or tag the events as they were read"
        )
