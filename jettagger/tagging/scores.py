"""Scores as jagged records aligned with the jets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jettagger.bundles.outputs import Output
from jettagger.display import Brief
from jettagger.report import Report
from jettagger.types import Array

if TYPE_CHECKING:
    import awkward as ak

__all__ = ["Scored", "jagged", "joined", "with_flags"]


@dataclass(frozen=True)
class Scored(Brief):
    """All outputs of the scored jets, float32[n, outputs], and their indices among all jets, int64[n].

    ``partial`` are the jets that are not scored because some of their constituents are missing, int64[m].
    """

    values: Array
    index: Array
    report: Report
    partial: Array


def joined(parts: Sequence[Scored]) -> Scored:
    """Scores of several parts of a chunk, concatenated."""
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
        Jets per event; None: the result has one entry per jet.
    valid : bool[events] or None
        Events that are not None.
    outputs : tuple of Output
        Output columns, selected by position, and their names.

    Returns
    -------
    awkward array
        Jagged, ``events * var * ?{output: float32, ...}``, or ``jets * ?{...}``.
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


def with_flags(
    scores: Any, flags: Mapping[str, Array | None], present: Array, counts: Array | None, valid: Array | None = None
) -> Any:
    """Scores together with flags of all jets, e.g. whether they pass the training selection.

    Parameters
    ----------
    scores : awkward array
        ``jets * ?{...}``, or ``events * var * ?{...}`` with ``counts``.
    flags : mapping of str to (bool[jets] or None)
        None if the input lacks the columns to determine it.
    present : bool[jets]
        Jets that are not None.
    counts : int64[events] or None
    valid : bool[events] or None
        Events that are not None.

    Returns
    -------
    awkward array
        With these fields, also for jets that were not scored.
    """
    import awkward as ak

    flat = scores if counts is None else ak.flatten(scores, axis=1)
    columns = {name: flat[name] for name in flat.fields}
    for name, flag in flags.items():
        known = present if flag is not None else np.zeros(len(present), dtype=bool)
        content = ak.contents.NumpyArray(np.zeros(len(present), dtype=bool) if flag is None else flag)
        masked = ak.contents.ByteMaskedArray(ak.index.Index8(known.astype(np.int8)), content, True)
        columns[name] = ak.Array(masked.to_IndexedOptionArray64())
    result = ak.zip(columns, depth_limit=1)
    if counts is None:
        return result
    lists = ak.unflatten(result, counts)
    return lists if valid is None or valid.all() else ak.mask(lists, valid)
