"""Linked jets of a chunk that are scored: the request, and their constituents in blocks of events."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.display import Brief
from jettagger.errors import MismatchError
from jettagger.expressions import select
from jettagger.formats import EventColumns, ReadPlan, load, make_plan, partial, split
from jettagger.inputs.batching import Objects
from jettagger.inputs.jet_table import JetTable
from jettagger.inputs.memory import check_fits
from jettagger.inputs.put_back import attach_scores
from jettagger.report import Report
from jettagger.types import Array

__all__ = ["BLOCK", "LINKED", "LinkedRequest", "Selection", "blocks", "link_jets", "make_request"]

#: maximum size in bytes of the jets of a chunk that are processed at a time
BLOCK = 150_000_000

#: bytes for each linked constituent: links, gathered columns, features, transformed values
LINKED = 500


@dataclass(frozen=True)
class Selection(Brief):
    """Jets that can be scored, and counts of the others.

    Parameters
    ----------
    jets : Objects
        Those of some or of all events of a chunk.
    index : int64[jets]
        Their indices in the flat collection of all jets of the chunk.
    report : Report
    partial : int64[n]
        Indices of jets that were left out because some of their constituents are missing.
    """

    jets: Objects
    index: Array
    report: Report
    partial: Array


@dataclass(frozen=True)
class LinkedRequest(Brief):
    """A chunk of events with linked jets, the required columns, and the requested jets.

    Parameters
    ----------
    columns : EventColumns
    plan : ReadPlan
    chosen : bool[jets]
        Jets to score.
    not_selected, absent : int
        Number of jets not selected by ``where``, and number of jets that are None.
    moved : dict of str to float32[jets]
        Canonical columns of the jets after a variation.
    min_pt_share : float or None
    bundles : tuple of Bundle
        Models whose inputs are needed.
    """

    columns: EventColumns
    plan: ReadPlan
    chosen: Array
    not_selected: int
    absent: int
    moved: dict[str, Array]
    min_pt_share: float | None = None
    bundles: tuple[Bundle, ...] = ()

    @property
    def report(self) -> Report:
        """Counts known before constituents are linked."""
        return Report(
            events=len(self.columns), jets=len(self.chosen), not_selected=self.not_selected, absent=self.absent
        )

    @property
    def counts(self) -> Array:
        """Number of jets of each event, int64[events]."""
        return self.columns.counts(self.plan.collection)

    @property
    def valid(self) -> Array:
        """Mask of events that are not None, bool[events]."""
        return self.columns.valid

    @property
    def present(self) -> Array:
        """Mask of jets that are not None, bool[jets]."""
        return self.columns.present(self.plan.collection)

    @property
    def flags(self) -> dict[str, Array | None]:
        """Empty: there are no flags per jet."""
        return {}

    def blocks(self, budget: int = BLOCK) -> Iterator[Selection]:
        """See `blocks`."""
        return blocks(self.bundles, self, budget)

    def content(self) -> Iterator[tuple[str, Array]]:
        """The data that the model's inputs depend on: columns in their stored shapes, before linking."""
        columns = self.columns
        stored = replace(self.plan, more=()).columns  # what heads read does not change what the model gives
        for collection in sorted({split(column)[0] for column in stored}):
            if columns.is_list(collection):
                yield collection, columns.counts(collection)
        for column in stored:
            is_list = columns.is_list(split(column)[0])
            yield column, columns.flat(column) if is_list else columns.per_event(column)
        yield "chosen", self.chosen
        yield "valid", columns.valid
        for name, values in sorted(self.moved.items()):
            yield f"moved {name}", values
        yield "counts", np.array([self.not_selected, self.absent])
        yield "share", np.array([-1.0 if self.min_pt_share is None else self.min_pt_share])

    @cached_property
    def _table(self) -> JetTable:
        collection = self.plan.collection
        moved = {f"{collection}_{name}": column for name, column in self.moved.items()}
        return JetTable(self.columns, collection=collection, given=moved)

    def values(self, name: str) -> Array:
        """A jet-level or event-level variable by its name in a skim, one entry per jet; NaN for None."""
        return self._table.values(name)

    def put_back(self, events: Any, scores: Any, names: Mapping[str, str]) -> Any:
        """The events with columns of scores, see `attach_scores`."""
        return attach_scores(events, scores, names, self.plan.collection)

    @property
    def group(self) -> Hashable:
        """Requests of the same events with equal groups can be linked together.

        Jets without candidates, or with missing ones, are left out by models that need candidates, but not by others.
        """
        return "linked", self.plan.format.jets, _need_candidates(self.bundles, self.plan), self.min_pt_share

    def together(self, others: Sequence[LinkedRequest]) -> LinkedRequest:
        """One request for the inputs of several models on the same jets."""
        bundles = tuple(bundle for request in (self, *others) for bundle in request.bundles)
        plan = make_plan(self.plan.format, self.columns, [item for bundle in bundles for item in bundle.wanted])
        check_fits(self.columns, plan)
        return replace(self, plan=plan, bundles=bundles)


def make_request(
    columns: EventColumns,
    plan: ReadPlan,
    where: Any = None,
    kinematics: Mapping[str, Any] | None = None,
    min_pt_share: float | None = None,
    bundles: tuple[Bundle, ...] = (),
) -> LinkedRequest:
    """The requested jets; reads only ``where`` and its columns of the jets."""
    name = plan.format.jets
    chosen, not_selected, absent = _chosen(columns, name, where)
    moved = {key: _moved(columns, name, key, values) for key, values in (kinematics or {}).items()}
    return LinkedRequest(columns, plan, chosen, not_selected, absent, moved, min_pt_share, bundles)


def link_jets(bundles: Sequence[Bundle], request: LinkedRequest) -> Selection:
    """Link the constituents of all jets of a request at once; jets without constituents are left out."""
    return _linked(bundles, request, np.arange(len(request.columns)))


def blocks(bundles: Sequence[Bundle], request: LinkedRequest, budget: int = BLOCK) -> Iterator[Selection]:
    """Link the constituents of the jets of a request in blocks of events.

    Derived data thus take a bounded amount of memory, independent of the size of the chunk. Events without a jet to
    score are skipped.

    Parameters
    ----------
    bundles : sequence of Bundle
        Models whose inputs are needed.
    request : LinkedRequest
    budget : int
        Approximate size of a block in bytes; a block has at least one event.

    Yields
    ------
    Selection
    """
    columns, plan = request.columns, request.plan
    offsets = columns.offsets(plan.format.jets)
    before = np.concatenate([[0], np.cumsum(request.chosen)])
    busy = np.flatnonzero(before[offsets[1:]] > before[offsets[:-1]])
    if not len(busy):
        return
    size = np.zeros(len(busy))
    for object_ in plan.objects:
        link = plan.format.links[object_]
        read = sum(split(column)[0] == link.target for column in plan.columns)
        size += LINKED * columns.counts(link.table)[busy] + 4 * read * columns.counts(link.target)[busy]
    end = np.cumsum(size)
    start = 0
    while start < len(busy):
        spent = end[start - 1] if start else 0
        stop = max(int(np.searchsorted(end, spent + budget, side="right")), start + 1)
        places = busy[start:stop]
        if places[-1] - places[0] < 2 * len(places):  # neighbours are read in place, without copying
            places = np.arange(places[0], places[-1] + 1)
        yield _linked(bundles, request, places)
        start = stop


def _need_candidates(bundles: Sequence[Bundle], plan: ReadPlan) -> bool:
    """Whether jets without candidates are left out."""
    taking = [bundle for bundle in bundles if not bundle.empty_jets]
    return any(plan.format.parent(group.object) == "pf" for bundle in taking for group in bundle.groups)


def _linked(bundles: Sequence[Bundle], request: LinkedRequest, events: Array) -> Selection:
    """The selected jets of some events with their constituents; jets without constituents are left out."""
    columns, plan = request.columns, request.plan
    whole = len(events) == len(columns)
    if whole:
        index = np.arange(len(request.chosen))
    else:
        counts, offsets = columns.counts(plan.format.jets)[events], columns.offsets(plan.format.jets)[events]
        index = np.repeat(offsets - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    moved = {name: values[index] for name, values in request.moved.items()}
    chosen = np.flatnonzero(request.chosen[index])
    strict = request.min_pt_share is None
    jets = load(columns if whole else columns.part(events), plan, chosen, moved, strict=strict)
    left_out = partial(jets, request.min_pt_share)
    places = index[jets.index[left_out]]
    empty = np.zeros(len(jets), dtype=bool)
    if _need_candidates(bundles, plan):
        empty = (jets.counts("pf") == 0) & ~left_out
    report = Report(
        without_constituents=int(np.count_nonzero(empty)),
        partial=len(places),
        dangling_links=sum(jets.dropped.values()),
    )
    if left_out.any() or empty.any():
        jets = jets.only(~left_out & ~empty)
    if "sv" in plan.objects:
        report += Report(recovered_vertices=int(np.count_nonzero(jets.rows("sv").target < 0)))
    return Selection(jets, index[jets.index], report, places)


def _chosen(columns: EventColumns, name: str, where: Any) -> tuple[Array, int, int]:
    """Mask of jets to score; number not selected by ``where``; number of jets that are None."""
    present = columns.present(name)
    absent = int(np.count_nonzero(~present))
    if where is None:
        return present, 0, absent
    if isinstance(where, str):

        def get(field: str) -> Array:
            return columns.flat(f"{name}.{field}")

        selected = select(where, columns.fields(name), get, len(present), f"column of {name}")
    else:
        selected = _mask(columns, name, where)
    return present & selected, int(np.count_nonzero(present & ~selected)), absent


def _mask(columns: EventColumns, name: str, where: Any) -> Array:
    import awkward as ak

    expected = f"a cut such as 'pt > 200', or a jagged bool array aligned with events.{name} ({len(columns)} events)"
    if not isinstance(where, ak.Array):
        raise MismatchError(f"where is a {type(where).__name__}, expected {expected}")
    if len(where) != len(columns):
        raise MismatchError(f"where has {len(where)} events, expected {expected}")
    if not columns.valid.all():
        where = where[columns.valid]
    try:
        where = ak.fill_none(where, [], axis=0)
        where = ak.fill_none(where, False, axis=1)
        counts = ak.to_numpy(ak.num(where, axis=1))
        flat = ak.to_numpy(ak.flatten(where, axis=1))
    except (ValueError, TypeError) as error:
        raise MismatchError(f"where has the type {where.type}, expected {expected}") from error
    if flat.dtype != np.bool_ and len(flat):
        raise MismatchError(f"where holds {flat.dtype}, expected {expected}")
    wanted = columns.counts(name)[columns.valid]
    differing = np.flatnonzero(counts != wanted)
    if len(differing):
        first = int(differing[0])
        event = int(np.flatnonzero(columns.valid)[first])
        raise MismatchError(
            f"where has {counts[first]} entries in event {event} where events.{name} has {wanted[first]} jets "
            f"({len(differing)} events differ), expected {expected}"
        )
    return flat.astype(bool)


def _moved(columns: EventColumns, name: str, key: str, values: Any) -> Array:
    """One column of the jets after a variation, flat over all jets."""
    import awkward as ak

    counts = ak.to_numpy(ak.fill_none(ak.num(values, axis=1), 0))
    if not np.array_equal(counts, columns.counts(name)):
        raise MismatchError(f"the kinematics {key!r} are not aligned with events.{name}")
    flat = ak.fill_none(ak.flatten(values, axis=1), np.nan)
    return np.asarray(ak.to_numpy(flat), dtype=np.float32)
