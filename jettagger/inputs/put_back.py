"""Scores as columns of the events or the table they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jettagger.errors import MismatchError
from jettagger.formats import EventColumns
from jettagger.formats.attach import with_fields, with_list_fields
from jettagger.types import Array

__all__ = ["attach_flat", "attach_scores", "refuse_existing"]


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
        The collection of jets.

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
    return with_fields(events, {collection: ak.to_layout(fatjets)})


def refuse_existing(fields: Iterable[str], names: Mapping[str, str], collection: str) -> None:
    """Refuse columns that exist already.

    Parameters
    ----------
    fields : iterable of str
        Columns of the collection.
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


def attach_flat(events: Any, scores: Any, names: Mapping[str, str], collection: str, counts: Array | None) -> Any:
    """Add outputs, and flags of all jets, to the rows of a table or to the jets of the original events.

    Parameters
    ----------
    events : awkward array
    scores : awkward array
        From `Tagger.run` on the same input; flags may have values where scores are None.
    names : mapping of str to str
        Output -> column.
    collection : str
        The collection of jets; empty for a table.
    counts : int64[events] or None
        Number of jets of each event; None for a table.

    Returns
    -------
    awkward array
    """
    import awkward as ak

    owner = events[collection] if collection else events
    refuse_existing(owner.fields, names, collection or "the table")
    flat = scores if counts is None else ak.flatten(scores, axis=1)
    new = {column: ak.to_layout(flat[output]) for output, column in names.items()}
    if counts is None:
        return with_fields(events, new)
    return with_fields(events, {collection: ak.to_layout(with_list_fields(owner, counts, new))})
