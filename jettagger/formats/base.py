"""Declarations of formats, and jets with their linked constituents.

A format declares where jets, constituents and vertices are stored, how they are linked, and which stored columns give
which canonical quantity. Branch names appear only in the declarations; this module interprets them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple, Protocol

import numpy as np

from jettagger.display import Brief, briefly
from jettagger.errors import hint
from jettagger.features import Feature, columns_of
from jettagger.formats.columns import EventColumns, split
from jettagger.types import Array

__all__ = [
    "CHECKED",
    "ColumnSource",
    "ContextSource",
    "FileOrder",
    "Format",
    "JetKind",
    "Jets",
    "Link",
    "MissingColumn",
    "Offer",
    "ReadPlan",
    "make_plan",
    "of_event",
]

#: canonical columns for the consistency of constituents with their jet, if a file has them: uncorrected transverse
#: momentum of the jet, and momenta of the candidates
CHECKED = (("jet", "raw_pt"), ("pf", "summed_pt"))


#: kinds of jets: AK4, or AK8 for large-radius jets of any radius
JetKind = Literal["AK4", "AK8"]


class Offer(Protocol):
    """The available columns of an input: events or an open file."""

    def has(self, column: str) -> bool:
        """Whether there is a column ``"Collection.field"``."""

    @property
    def collections(self) -> list[str]:
        """Names of the collections."""


@dataclass(frozen=True)
class ColumnSource(Brief):
    """One way to obtain a canonical column.

    Parameters
    ----------
    columns : tuple of str
        Stored columns ``"Collection.field"``.
    function : callable, optional
        Function of these, aligned with the objects, that returns the canonical column; default: the one column
        unchanged.
    """

    columns: tuple[str, ...]
    function: Callable[..., Array] | None = None

    def __call__(self, *arrays: Array) -> Array:
        """The canonical column computed from the stored ones, all of one shape."""
        if self.function is None:
            return arrays[0]
        with np.errstate(all="ignore"):  # what is not finite is replaced and counted later
            return self.function(*arrays)


@dataclass(frozen=True)
class ContextSource(Brief):
    """A way to obtain a canonical column that needs more than the rows of its objects.

    Parameters
    ----------
    columns : tuple of str
        Stored columns ``"Collection.field"`` that are read.
    function : callable
        Function of the jets and ``columns`` that returns the canonical column.
    """

    columns: tuple[str, ...]
    function: Callable[[Jets, tuple[str, ...]], Array]


@dataclass(frozen=True)
class Link(Brief):
    """How objects are linked to jets.

    Parameters
    ----------
    table : str
        The link collection, one row per object and jet.
    jet_index : str
        Its column with the index of the jet in the event.
    target : str
        The collection that the rows refer to.
    target_index : str or None
        Its column with that index; None if the rows themselves contain the objects.
    order : ColumnSource
        Sort key for the objects of a jet, in decreasing order; ties keep the order of the table.
    dangling : bool
        Whether rows may have no target (index -1): columns of the target are then NaN.
    copied : str
        Column with an exact copy of the column of that name in the target; empty if there is none.
    """

    table: str
    jet_index: str
    target: str
    target_index: str | None
    order: ColumnSource
    dangling: bool = False
    copied: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns needed to follow the link."""
        index = () if self.target_index is None else (f"{self.table}.{self.target_index}",)
        return (f"{self.table}.{self.jet_index}", *index, *self.order.columns)

    @property
    def copies(self) -> tuple[str, ...]:
        """The copied column and its original; empty if there is none."""
        return (f"{self.table}.{self.copied}", f"{self.target}.{self.copied}") if self.copied else ()


@dataclass(frozen=True)
class Format(Brief):
    """A kind of event file.

    Parameters
    ----------
    name, title : str
    jets : str
        The collection of jets.
    signature : tuple of str
        Collections by which it is detected.
    links : mapping of str to Link
        Object (``pf``, ``sv``) -> its link.
    columns : mapping
        Object -> canonical column -> ways to obtain it, best first.
    subsets : mapping
        Object -> (the object it is a subset of, the canonical column that selects it, function to bool).
    radius : float
        Distance parameter of the jets; constituents further than 1.5 times this from the axis belong to another jet.
    remark : str
        Remark in the error for missing columns.
    names : mapping
        Differences from the format that this one was renamed from: name there -> name here, see `renamed`.
    kind : {"AK4", "AK8"}
        Kind of the jets.
    """

    name: str
    title: str
    jets: str
    signature: tuple[str, ...]
    links: Mapping[str, Link] = field(default_factory=dict)
    columns: Mapping[str, Mapping[str, tuple[ColumnSource | ContextSource, ...]]] = field(default_factory=dict)
    subsets: Mapping[str, tuple[str, str, Callable[[Array], Array]]] = field(default_factory=dict)
    radius: float = 0.8
    remark: str = ""
    names: Mapping[str, str | None] = field(default_factory=dict)
    kind: JetKind = "AK8"

    def called(self, column: str) -> str:
        """The name in this format of a column ``"Collection.field"``, or of the event, of the original format."""
        collection, name = split(column)
        renamed = self.names.get(collection) or collection
        return f"{renamed}.{self.names.get(column) or name}" if name else renamed

    def parent(self, object_: str) -> str:
        """The linked object that an object is, or is a subset of."""
        return self.subsets[object_][0] if object_ in self.subsets else object_


@dataclass(frozen=True)
class MissingColumn(Brief):
    """A canonical column that is not available, and what needs it."""

    object: str
    column: str
    features: tuple[str, ...]
    stored: tuple[str, ...]

    def __str__(self) -> str:
        source = " or ".join(self.stored) if self.stored else "not in this format"
        return f"{self.object}.{self.column} ({source}), needed by {', '.join(self.features)}"


@dataclass(frozen=True)
class ReadPlan(Brief):
    """The stored columns from which the inputs of a model are computed.

    Parameters
    ----------
    format : Format
    providers : mapping of (object, canonical column) to ColumnSource
    objects : tuple of str
        Objects whose links are followed.
    missing : tuple of MissingColumn
        Empty if the model can run.
    more : tuple of str
        Columns that are read for other purposes, e.g. for heads.
    verified : tuple of str
        Objects whose links can be verified, because a copy of a column of the target is stored.
    """

    format: Format
    providers: Mapping[tuple[str, str], ColumnSource | ContextSource]
    objects: tuple[str, ...]
    missing: tuple[MissingColumn, ...]
    more: tuple[str, ...] = ()
    verified: tuple[str, ...] = ()

    @property
    def collection(self) -> str:
        """The collection of jets."""
        return self.format.jets

    @property
    def made(self) -> tuple[str, ...]:
        """Always empty: a cut uses stored columns of the jets, not derived ones."""
        return ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The exact set of stored columns that will be read, sorted."""
        found = {column for provider in self.providers.values() for column in provider.columns} | set(self.more)
        for object_ in self.objects:
            link = self.format.links[object_]
            found |= {*link.columns, *(link.copies if object_ in self.verified else ())}
        return tuple(sorted(found))


def make_plan(format_: Format, offer: Offer, features: Iterable[Feature]) -> ReadPlan:
    """Compare the columns needed by features with those of the input; nothing is read.

    Parameters
    ----------
    format_ : Format
    offer : Offer
    features : iterable of Feature

    Returns
    -------
    ReadPlan
        With all missing columns in ``missing``.
    """
    wanted: dict[tuple[str, str], list[str]] = {}
    for feature in features:
        for need in feature.needs:
            key = ("jet", need[4:]) if need.startswith("jet.") else (feature.object, need)
            wanted.setdefault(key, []).append(feature.name)
        if feature.object != "jet":
            parent = format_.parent(feature.object)
            if feature.object in format_.subsets:
                wanted.setdefault((parent, format_.subsets[feature.object][1]), []).append(feature.name)
            for key in (("jet", "eta"), ("jet", "phi")):
                wanted.setdefault(key, []).append(feature.name)
            if parent == "pf":
                for key in (("pf", "eta"), ("pf", "phi")):
                    wanted.setdefault(key, []).append(feature.name)
    providers: dict[tuple[str, str], ColumnSource | ContextSource] = {}
    missing: list[MissingColumn] = []
    objects = []
    for object_, names in _by_object(wanted, format_).items():
        link = format_.links.get(object_)
        if object_ == "jet":
            continue
        lacking = () if link is None else tuple(column for column in link.columns if not offer.has(column))
        if link is None or lacking:
            missing.append(MissingColumn(object_, "link to the jets", tuple(names), lacking))
        else:
            objects.append(object_)
    for (object_, name), names in wanted.items():
        # columns of a subset are those of the whole, found once
        source = format_.parent(object_)
        ways = format_.columns.get(source, {}).get(name, ())
        as_stored = object_ == "jet" and not ways and name not in columns_of("jet")
        ways = _stored_ways(format_, name) if as_stored else ways
        chosen = _first_way(ways, offer)
        if chosen is not None:
            providers[(source, name)] = chosen
        else:
            lacking_of = [[column for column in way.columns if not offer.has(column)] for way in ways]
            stored = tuple(" and ".join(columns) for columns in lacking_of)
            if as_stored:
                stored = (stored[0] + hint(name, _names_for_jets(format_, offer)),)
            missing.append(MissingColumn(object_, name, tuple(dict.fromkeys(names)), stored))
    if "pf" in objects:
        for object_, name in CHECKED:
            chosen = _first_way(format_.columns.get(object_, {}).get(name, ()), offer)
            if chosen is not None:
                providers[(object_, name)] = chosen
    copies = {object_: format_.links[object_].copies for object_ in objects}
    verified = tuple(name for name, columns in copies.items() if columns and all(map(offer.has, columns)))
    return ReadPlan(format_, providers, tuple(objects), tuple(missing), verified=verified)


def _stored_ways(format_: Format, name: str) -> tuple[ColumnSource | ContextSource, ...]:
    """Where a column without a canonical meaning may be stored: in the jets, or in the event."""
    event = name.replace("_", ".", 1)
    ways = [ContextSource((column,), of_event) for column in dict.fromkeys([event, name])]
    own = () if "." in name else (ColumnSource((f"{format_.jets}.{name}",)),)
    return (*own, *ways)


def _names_for_jets(format_: Format, offer: Offer) -> list[str]:
    """Names of columns of the jets, and of others as ``MET_pt``."""
    fields = getattr(offer, "fields", None)
    if not callable(fields):
        return list(offer.collections)
    others = (f"{collection}_{field}" for collection in offer.collections for field in fields(collection))
    return [*fields(format_.jets), *offer.collections, *others]


def of_event(jets: Jets, columns: tuple[str, ...]) -> Array:
    """An event-level variable for each jet, float32[jets]."""
    (column,) = columns
    return jets.columns.per_event(column)[jets.event]


def _first_way(ways: Iterable[ColumnSource | ContextSource], offer: Offer) -> ColumnSource | ContextSource | None:
    return next((way for way in ways if all(offer.has(column) for column in way.columns)), None)


def _by_object(wanted: Mapping[tuple[str, str], list[str]], format_: Format) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for (object_, _), names in wanted.items():
        known = found.setdefault(format_.parent(object_), [])
        known += [name for name in dict.fromkeys(names) if name not in known]
    return found


@dataclass
class Rows:
    """Objects of the selected jets, jet after jet, sorted within each jet."""

    table: Array
    target: Array
    jet: Array
    counts: Array
    subset: Array | None = None

    @property
    def starts(self) -> Array:
        """Index of the first object of each jet, int64[jets]."""
        return np.concatenate([[0], np.cumsum(self.counts)[:-1]]).astype(np.int64)


@briefly
class FileOrder(NamedTuple):
    """Where the objects of jets are listed in the file.

    Parameters
    ----------
    rank : int64[objects]
        Place of each object in the list of its jet, from 0.
    counts : int64[jets]
        Length of the list of each jet, which may contain more objects.
    """

    rank: Array
    counts: Array


@dataclass(frozen=True)
class Fault:
    """Links that are inconsistent with the table they refer to.

    Parameters
    ----------
    differing : int64[n]
        Events with links of the selected jets whose copy differs from the target, in increasing order.
    beyond : int64[m]
        Events with links beyond the end of the table, in increasing order; those of the selected jets if the other
        links can be verified, otherwise those of all jets.
    links : int
        Number of links of the selected jets.
    """

    differing: Array
    beyond: Array
    links: int


class Jets(Brief):
    """Selected jets of a chunk of events with their linked constituents and vertices.

    Parameters
    ----------
    columns : EventColumns
    plan : ReadPlan
    index : int64[jets]
        The selected jets, as indices in the flat collection of all jets.
    kinematics : mapping, optional
        Canonical columns of the jets that replace the stored ones, one entry per jet, flat over all jets. Columns
        stored relative to the jet (``FatJetSVs.enration``) are still interpreted with the stored ones, with which they
        were made.

    Attributes
    ----------
    dropped : dict of str to int
        Object -> number of dropped links: those of these jets that are dangling or refer to another object, and those
        in the events that belong to jets that do not exist.
    lost : dict of str to int64[jets]
        The same for each jet.
    faults : dict of str to Fault
        Object -> inconsistencies of its links, if there are any.

    Notes
    -----
    Made by `jettagger.formats.load`. Arrays are gathered on first access and cached.
    """

    def __init__(
        self, columns: EventColumns, plan: ReadPlan, index: Array, kinematics: Mapping[str, Array] | None = None
    ) -> None:
        self.columns = columns
        self.plan = plan
        self.index = index
        self.kinematics = dict(kinematics or {})
        self.dropped: dict[str, int] = {}
        self.lost: dict[str, Array] = {}
        self.faults: dict[str, Fault] = {}
        self._rows: dict[str, Rows] = {}
        self._flat: dict[str, Array] = {}
        self._gathered: dict[tuple[str, str], Array] = {}

    def __len__(self) -> int:
        return len(self.index)

    def counts(self, object_: str) -> Array:
        """Number of objects of each jet, int64[jets]; 1 for the jet itself."""
        return np.ones(len(self), dtype=np.int64) if object_ == "jet" else self.rows(object_).counts

    def column(self, object_: str, name: str) -> Array:
        """A canonical column of an object, flat in the order of its rows.

        Parameters
        ----------
        object_ : str
            ``pf``, ``cpf``, ``npf``, ``sv`` or ``jet``.
        name : str
            The object's own column (``eta``), or that of its jet (``jet.eta``).

        Returns
        -------
        array
            One entry per row.
        """
        if name.startswith("jet.") and object_ != "jet":
            return self._canonical("jet", name[4:])[self.rows(object_).jet]
        if object_ in self.plan.format.subsets:
            subset = self.rows(object_).subset
            return self._canonical(self.plan.format.parent(object_), name)[subset]
        return self._canonical(object_, name.removeprefix("jet."))

    def _canonical(self, object_: str, name: str) -> Array:
        key = (object_, name)
        if key not in self._gathered:
            if object_ == "jet" and name in self.kinematics:
                self._gathered[key] = self.kinematics[name][self.index]
                return self._gathered[key]
            provider = self.plan.providers[key]
            if isinstance(provider, ContextSource):
                with np.errstate(all="ignore"):  # what is not finite is replaced and counted later
                    self._gathered[key] = provider.function(self, provider.columns)
            else:
                self._gathered[key] = provider(*(self.gathered(object_, column) for column in provider.columns))
        return self._gathered[key]

    @cached_property
    def event(self) -> Array:
        """The event of each jet, int64[jets]."""
        return self.columns.owners(self.plan.format.jets)[self.index]

    def stored(self, column: str) -> Array:
        """A stored column, array[objects of its collection], event after event."""
        if column not in self._flat:
            self._flat[column] = self.columns.flat(column)
        return self._flat[column]

    def gathered(self, object_: str, column: str) -> Array:
        """A stored column of an object, array[rows], in the order of its rows."""
        collection = split(column)[0]
        values = self.stored(column)
        if collection == self.plan.format.jets:
            chosen = values[self.index]
            return chosen if object_ == "jet" else chosen[self.rows(object_).jet]
        rows, link = self.rows(object_), self.plan.format.links[object_]
        if collection == link.table:
            return values[rows.table]
        if not link.dangling:
            return values[rows.target]
        known = rows.target >= 0
        gathered = np.full(len(rows.target), np.nan, dtype=np.float32)
        gathered[known] = values[rows.target[known]]
        return gathered

    def only(self, kept: Array) -> Jets:
        """A subset of these jets, without linking again.

        Parameters
        ----------
        kept : bool[jets]

        Returns
        -------
        Jets
        """
        found = Jets(self.columns, self.plan, self.index[kept], self.kinematics)
        found._flat = self._flat
        found.dropped, found.faults = dict(self.dropped), dict(self.faults)
        found.lost = {name: lost[kept] for name, lost in self.lost.items()}
        new = np.where(kept, np.cumsum(kept) - 1, -1)
        for name, rows in self._rows.items():
            if rows.subset is None:
                taken = kept[rows.jet]
                jet = new[rows.jet[taken]]
                found._rows[name] = Rows(rows.table[taken], rows.target[taken], jet, rows.counts[kept])
        return found

    def rows(self, object_: str) -> Rows:
        """The rows of an object, linked to the selected jets and sorted."""
        if object_ not in self._rows:
            subsets = self.plan.format.subsets
            self._rows[object_] = self._part(object_) if object_ in subsets else self._link(object_)
        return self._rows[object_]

    def file_order(self, object_: str) -> FileOrder:
        """The places of the objects among the rows of the link table that belong to their jet, dangling ones included.

        Parameters
        ----------
        object_ : str
            ``pf``, ``cpf``, ``npf``, ``sv`` or ``jet``.

        Returns
        -------
        FileOrder
        """
        if object_ == "jet":
            return FileOrder(np.zeros(len(self), dtype=np.int64), self.counts("jet"))
        jet = self.linked_jets(object_)
        order = np.argsort(jet, kind="stable")[np.count_nonzero(jet < 0) :]
        counts = np.bincount(jet[order], minlength=len(self)).astype(np.int64)
        rank = np.full(len(jet), -1, dtype=np.int64)
        rank[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        return FileOrder(rank[self.rows(object_).table], counts)

    def linked_jets(self, object_: str) -> Array:
        """The jet of each row of an object's link table, int64[rows]; -1 for other jets, and for none."""
        link = self.plan.format.links[self.plan.format.parent(object_)]
        jet_index = self.stored(f"{link.table}.{link.jet_index}").astype(np.int64)
        position = np.full(int(self.columns.counts(self.plan.format.jets).sum()) + 1, -1, dtype=np.int64)
        position[self.index] = np.arange(len(self))
        # the last one is of no jet
        return position[self.columns.places(self.plan.format.jets, self.columns.owners(link.table), jet_index)]

    def _part(self, object_: str) -> Rows:
        parent, column, function = self.plan.format.subsets[object_]
        whole = self.rows(parent)
        chosen = np.flatnonzero(function(self._canonical(parent, column)))
        jet = whole.jet[chosen]
        counts = np.bincount(jet, minlength=len(self)).astype(np.int64)
        return Rows(whole.table[chosen], whole.target[chosen], jet, counts, subset=chosen)

    def _link(self, object_: str) -> Rows:
        format_ = self.plan.format
        link = format_.links[object_]
        event = self.columns.owners(link.table)
        jet_index = self.stored(f"{link.table}.{link.jet_index}").astype(np.int64)
        n_jets = self.columns.counts(format_.jets)[event]
        jet = self.linked_jets(object_)
        if link.target_index is None:
            rows = np.flatnonzero(jet >= 0)
            target = np.full(len(rows), -1, dtype=np.int64)
        else:
            target_index = self.stored(f"{link.table}.{link.target_index}").astype(np.int64)
            n_targets = self.columns.counts(link.target)[event]
            target = self.columns.places(link.target, event, target_index)
            known = target >= 0
            differing = self._differing(object_, target, jet)
            nowhere = ~known & (target_index != -1) if link.dangling else ~known
            nowhere |= differing
            self.lost[object_] = np.bincount(jet[nowhere & (jet >= 0)], minlength=len(self)).astype(np.int64)
            astray = (jet_index >= n_jets) | (jet_index < -1)  # rows of no jet; which one lost them is not known
            self.dropped[object_] = int(self.lost[object_].sum() + np.count_nonzero(astray))
            beyond = target_index >= n_targets
            if object_ in self.plan.verified:  # else nothing tells which other links of the event still lead somewhere
                beyond &= jet >= 0
            if differing.any() or beyond.any():
                self.faults[object_] = Fault(event[differing], event[beyond], int(np.count_nonzero(jet >= 0)))
            rows = np.flatnonzero((jet >= 0) & ~nowhere)
            target = target[rows]
        jet = jet[rows]
        key = link.order(
            *(self.stored(column)[rows if split(column)[0] == link.table else target] for column in link.order.columns)
        )
        order = np.lexsort((-key, jet))
        counts = np.bincount(jet, minlength=len(self)).astype(np.int64)
        return Rows(rows[order], target[order], jet[order], counts)

    def _differing(self, object_: str, target: Array, jet: Array) -> Array:
        """Mask of links of these jets to an object other than the original one, as far as is known."""
        differing = np.zeros(len(target), dtype=bool)
        if object_ in self.plan.verified:
            copy, original = map(self.stored, self.plan.format.links[object_].copies)
            rows = np.flatnonzero((jet >= 0) & (target >= 0))
            here, there = copy[rows], original[target[rows]]
            differing[rows] = (here != there) & ~(np.isnan(here) & np.isnan(there))
        return differing
