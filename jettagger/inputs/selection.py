"""Which jets of a chunk are scored, what their input must offer, and the tensors that the network gets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.registry import available, load_bundle
from jettagger.errors import JettaggerError, MismatchError, MissingColumns
from jettagger.expressions import select
from jettagger.formats import EventColumns, Format, Jets, ReadPlan, detect, load, make_plan, partial, split
from jettagger.formats.base import Offer
from jettagger.formats.naming import Names
from jettagger.report import Report
from jettagger.types import Array

__all__ = ["Request", "Selection", "blocks", "check_columns", "link_jets", "make_request", "select_jets"]

#: bytes that the jets of a chunk which are in work at a time may take
BLOCK = 150_000_000

#: bytes for each linked constituent: links, gathered columns, features, transformed values
LINKED = 500


@runtime_checkable
class HeadColumns(Protocol):
    """What is known of a head here: the columns of jets and events that it reads."""

    def needs(self, offer: Offer, collection: str = ..., what: str = ...) -> tuple[str, ...]:
        """Those that are offered; an error where one is missing."""


def check_columns(
    bundle: Bundle,
    offer: Offer,
    source: str = "these events",
    heads: Iterable[HeadColumns] = (),
    *,
    jets: str | None = None,
    names: Names | None = None,
) -> ReadPlan:
    """Compare what a model needs with what an input offers; nothing is read.

    Parameters
    ----------
    bundle : Bundle
    offer : Offer
        Events or an open file.
    source : str
        Named in the error.
    heads : iterable of Head
        Heads that run with the model; the columns that they read join those of the plan.
    jets : str, optional
        The collection of jets, where there are several of known formats.
    names : mapping, optional
        PFNano's names -> those of the input, see `jettagger.tagging.tagger.Tagger`.

    Returns
    -------
    ReadPlan

    Raises
    ------
    MissingColumns
        Listing every missing column, the variables that want it, and what would run on this input instead.
    InputFileError
        If the format is not known.
    """
    format_ = detect(offer.collections, jets, names)
    plan = make_plan(format_, offer, bundle.features)
    if plan.missing:
        lines = "\n".join(f"  {need}" for need in plan.missing)
        others = _runnable(format_, offer, bundle.name)
        advice = [f"models that would run on it: {', '.join(others)}" if others else "no known model runs on it"]
        advice += [format_.remark] if format_.remark else []
        uneven = offer.uneven if isinstance(offer, EventColumns) else []
        if uneven:
            advice.insert(
                0,
                "tag them apart, before they are concatenated: the events were put together from some that have the "
                f"columns {', '.join(uneven[:6])} and others that have not (a union of records)",
            )
        raise MissingColumns(
            f"{source} ({format_.title}) lacks columns that the model {bundle.name!r} needs: {'; '.join(advice)}\n"
            f"{len(plan.missing)} missing columns:\n{lines}"
        )
    more = [column for head in heads for column in head.needs(offer, format_.jets, source)]
    return replace(plan, more=tuple(dict.fromkeys(more)))


def _runnable(format_: Format, offer: Offer, but: str) -> list[str]:
    names = []
    for name in available():
        try:
            bundle = load_bundle(name)
        except JettaggerError:
            continue
        if bundle.name != but and not make_plan(format_, offer, bundle.features).missing:
            names.append(name if bundle.has_weights else f"{name} (without weights here)")
    return names


@dataclass(frozen=True)
class Selection:
    """Jets that can be scored, and what became of the others.

    Parameters
    ----------
    jets : Jets
        Of some or of all events of a chunk.
    index : int64[jets]
        Their positions in the flat collection of all jets of the chunk.
    report : Report
    partial : int64[n]
        Positions of those that were left out because only a part of their constituents is there.
    """

    jets: Jets
    index: Array
    report: Report
    partial: Array


class Request(NamedTuple):
    """A chunk of events, which columns are needed, and which jets were asked for."""

    columns: EventColumns
    plan: ReadPlan
    chosen: Array
    not_selected: int
    absent: int
    moved: dict[str, Array]
    min_pt_share: float | None = None

    @property
    def report(self) -> Report:
        """What is known before anything is linked."""
        return Report(
            events=len(self.columns), jets=len(self.chosen), not_selected=self.not_selected, absent=self.absent
        )


def make_request(
    columns: EventColumns,
    plan: ReadPlan,
    where: Any = None,
    kinematics: Mapping[str, Any] | None = None,
    min_pt_share: float | None = None,
) -> Request:
    """Which jets are asked for; reads ``where`` and what the jets' collection holds of it only."""
    name = plan.format.jets
    chosen, not_selected, absent = _chosen(columns, name, where)
    moved = {key: _moved(columns, name, key, values) for key, values in (kinematics or {}).items()}
    return Request(columns, plan, chosen, not_selected, absent, moved, min_pt_share)


def select_jets(bundle: Bundle, events: Any, where: Any = None, collection: str | None = None) -> Selection:
    """Link the constituents of the jets that pass a mask and have some.

    Parameters
    ----------
    bundle : Bundle
        Whose inputs are wanted.
    events : awkward array
    where : str or jagged bool array, optional
    collection : str, optional
        The jets, where there are several collections of known formats.

    Returns
    -------
    Selection

    Raises
    ------
    MissingColumns, MismatchError
        As for `Tagger.__call__`.
    """
    columns = EventColumns(events)
    return link_jets([bundle], make_request(columns, check_columns(bundle, columns, jets=collection), where))


def link_jets(bundles: Sequence[Bundle], request: Request) -> Selection:
    """Link the constituents of all jets of a request at once; jets without any are left out."""
    return _linked(bundles, request, np.arange(len(request.columns)))


def blocks(bundles: Sequence[Bundle], request: Request, budget: int = BLOCK) -> Iterator[Selection]:
    """Link the constituents of the jets of a request, some events at a time.

    So what is made of a chunk takes a bounded part of the memory, however large the chunk is. Events without a jet to
    score are passed over.

    Parameters
    ----------
    bundles : sequence of Bundle
        Whose inputs are wanted.
    request : Request
    budget : int
        Bytes that a block may take, roughly; one event is taken in any case.

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


def _linked(bundles: Sequence[Bundle], request: Request, events: Array) -> Selection:
    """The chosen jets of some events with their constituents; jets without any are left out."""
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
    if any(plan.format.parent(group.object) == "pf" for bundle in bundles for group in bundle.groups):
        empty = (jets.counts("pf") == 0) & ~left_out
    report = Report(
        without_constituents=int(np.count_nonzero(empty)),
        partial=len(places),
        dangling_links=sum(jets.dropped.values()),
    )
    if left_out.any() or empty.any():
        jets = jets.only(~left_out & ~empty)
    return Selection(jets, index[jets.index], report, places)


def _chosen(columns: EventColumns, name: str, where: Any) -> tuple[Array, int, int]:
    """Which jets to score; how many were left out by ``where``; how many are None."""
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


guard(globals(), "check_columns")
