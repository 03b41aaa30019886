"""The input tensors of a network, without running it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from jettagger.arguments import guard, in_range
from jettagger.bundles.bundle import Bundle
from jettagger.inference.padding import as_run
from jettagger.inputs.batching import BATCH_SIZE, Batch, make_batches, tabulate
from jettagger.inputs.group_rows import entering
from jettagger.inputs.source import EVERYTHING, source_of

__all__ = ["make_inputs"]


def make_inputs(
    bundle: Bundle, events: Any, where: Any = None, *, batch_size: int = BATCH_SIZE, collection: str | None = None
) -> Iterator[Batch]:
    """The input tensors of a model, e.g. for training or for comparisons; weights are not needed.

    Parameters
    ----------
    bundle : Bundle
    events : awkward array
        In memory or virtual.
    where : str or jagged bool array, optional
        Selection of jets.
    batch_size : int
        Maximum number of jets per batch.
    collection : str, optional
        The collection of jets, if the model applies to several in the events.

    Yields
    ------
    Batch
        ``jets`` are indices in the flat collection of all jets, ``inputs`` float32[jets, variables, length]; jets
        without constituents, or with missing ones, are in no batch.

    Examples
    --------
    >>> from jettagger.testing import make_events
    >>> from jettagger import load_bundle
    >>> batch = next(make_inputs(load_bundle("inclParTMDV1"), make_events(3, seed=1)))
    >>> batch.inputs["pf_features"].shape[1]
    25
    """
    in_range(batch_size, "make_inputs(), argument batch_size", 1)
    padded = as_run(bundle)
    for selection in source_of(bundle, jets=collection).request(events, where).blocks(EVERYTHING):
        if len(selection.index):
            inside = entering(padded, selection.jets)
            tables = tabulate(padded.groups, selection.jets, padded.card.nonfinite, rows=inside.rows)
            tables = tuple(table.of(inside.jets) for table in tables)
            index = selection.index[inside.jets]
            for batch in make_batches(tables, batch_size=batch_size, pad_mode=padded.card.pad_mode):
                yield replace(batch, jets=index[batch.jets])


guard(globals(), "make_inputs")
