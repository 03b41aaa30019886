"""Tables with one row per jet, and Delphes events, as inputs of networks with declared inputs.

The columns of JetClass-II are converted to those of CMS candidates, as far as they exist there: tracks have impact
parameters and no quality, there are no secondary vertices, and the pt of a jet counts as uncorrected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.display import Brief
from jettagger.errors import InputFileError, MismatchError, MissingColumns, hint
from jettagger.features import CANDIDATES, columns_of
from jettagger.features.jetclass import CANONICAL_COLUMNS
from jettagger.formats import EventColumns, FileOrder
from jettagger.formats.delphes import DelphesJets, delphes_content, is_delphes
from jettagger.formats.flat import FlatTable, JetColumns
from jettagger.formats.naming import Names
from jettagger.inputs.advice import Others, advice, nobody
from jettagger.inputs.batching import Objects
from jettagger.inputs.flat_tables import DelphesNames, TablePlan, TableRequest, TakenColumns, cut_of, is_event_offer
from jettagger.inputs.memory import check_fits
from jettagger.inputs.wanted import HeadColumns, columns_of_heads
from jettagger.report import Report
from jettagger.types import Array

__all__ = ["DeclaredTables", "is_table"]

#: names of columns of jets and of their constituents begin with one of these
_PREFIXES = ("jet_", "part_")

#: columns that decide which constituents belong to a group, and in which order
_ALWAYS = (("pf", "pt"), ("pf", "charge"), ("jet", "pt"), ("jet", "eta"), ("jet", "phi"))

Key = tuple[str, str]
Way = tuple[tuple[str, ...], Callable[..., Array]]


def is_table(bundle: Bundle, collections: Iterable[str]) -> bool:
    """Whether an input of a model with declared inputs is a table with one row per jet, or has events of Delphes.

    Parameters
    ----------
    bundle : Bundle
    collections : iterable of str
        Collections of events, or columns of a table.

    Returns
    -------
    bool
    """
    present = list(collections)
    declared = bundle.notes.get("input description", "").startswith("declaration")
    if not declared or is_event_offer(present, bundle.card.jets):
        return False
    return is_delphes(present) or any(name.startswith(_PREFIXES) for name in present)


@dataclass(frozen=True)
class DeclaredTables(Brief):
    """Source for models with declared inputs, for tables with one row per jet and for Delphes events.

    Parameters
    ----------
    bundle : Bundle
    jets : str, optional
        The collection of jets, if there are several.
    names : mapping, optional
        Must be None: only PFNano has other names.
    min_pt_share : float, optional
    others : callable
        Finds models that can run on an input.
    """

    bundle: Bundle
    jets: str | None = None
    names: Names | None = None
    min_pt_share: float | None = None
    others: Others = field(default=nobody, compare=False)

    def check(self, offer: Any, source: str = "this table", heads: Iterable[HeadColumns] = ()) -> TablePlan:
        """See `jettagger.inputs.source.Source`.

        Raises
        ------
        MismatchError
            If names of PFNano are given.
        InputFileError
            If a collection is given for an input without collections.
        MissingColumns
            If columns are missing; lists them.
        """
        if self.names is not None:
            raise MismatchError(f"names= is for PFNano events, {source} is something else")
        if is_delphes(offer.collections):
            content = delphes_content(offer, self.jets)
            stored = self._stored(content.fields, f"{source} (Delphes, jets {content.collection})", offer)
            columns_of_heads(heads, DelphesNames(content), content.collection, source)
            made = (*(name.removeprefix("jet_") for name in content.fields), *content.fields)
            return TablePlan(f"Delphes, jets {content.collection}", content.columns, content.collection, made)
        if self.jets is not None:
            raise InputFileError(f"a table with one row per jet has no collection {self.jets!r} to choose")
        stored = self._stored(offer.collections, f"{source} ({FlatTable.title})", offer)
        of_heads = columns_of_heads(heads, offer, "jet", source)
        return TablePlan(FlatTable.title, tuple(dict.fromkeys([*stored, *of_heads])))

    def _stored(self, fields: Iterable[str], title: str, offer: Any) -> tuple[str, ...]:
        """The stored columns that are read; missing ones are an error."""
        fields = list(fields)
        ways, missing = _ways(self.bundle, fields)
        if missing:
            others = advice(self.others(offer, self.bundle, self.jets, None))
            lines = "\n".join(f"  {line}" for line in missing)
            raise MissingColumns(
                f"{title} lacks columns that the model {self.bundle.name!r} needs: {others}\n"
                f"{len(missing)} missing columns:\n{lines}"
            )
        return tuple(dict.fromkeys(name for columns, _ in ways.values() for name in columns))

    def request(
        self,
        events: Any,
        where: Any = None,
        kinematics: Mapping[str, Any] | None = None,
        heads: Iterable[HeadColumns] = (),
    ) -> TableRequest:
        """See `jettagger.inputs.source.Source`."""
        events = events.events if isinstance(events, EventColumns) else events
        delphes = is_delphes(getattr(events, "fields", []))
        table: JetColumns = DelphesJets(events, self.jets) if delphes else FlatTable(events)
        columns = EventColumns(events)
        plan = self.check(columns, heads=heads)
        check_fits(columns, plan)
        if kinematics:
            table = table.moved(kinematics)
        present = table.present
        chosen = present
        if where is not None:
            chosen = present & (cut_of(table, where) if isinstance(where, str) else table.mask(where))
        report = Report(
            events=len(table) if table.counts is None else len(table.counts),
            jets=len(table),
            not_selected=int(np.count_nonzero(present & ~chosen)),
            absent=int(np.count_nonzero(~present)),
        )
        reader = _DeclaredReader(self.bundle, _ways(self.bundle, table.fields)[0])
        return TableRequest(reader, table, plan, chosen, report, {}, self.min_pt_share)


def _ways(bundle: Bundle, fields: Iterable[str]) -> tuple[dict[Key, Way], list[str]]:
    """How each canonical column is made of stored ones; and what is missing, with what needs it."""
    fields = set(fields)
    wanted: dict[Key, list[str]] = {}
    for feature in bundle.wanted:
        for need in feature.needs:
            key = ("jet", need[4:]) if need.startswith("jet.") else (_whole(feature.object), need)
            wanted.setdefault(key, []).append(feature.name)
        if feature.object in CANDIDATES:
            for key in _ALWAYS:
                wanted.setdefault(key, []).append(feature.name)
    ways, missing = {}, []
    for (object_, name), users in wanted.items():
        way = CANONICAL_COLUMNS.get(object_, {}).get(name)
        if way is None and object_ == "jet" and name not in columns_of("jet"):  # any column of the table
            stored = next((item for item in (f"jet_{name}", name) if item in fields), f"jet_{name}")
            way = (stored,), _itself
        lacking = [] if way is None else [item for item in way[0] if item not in fields]
        if way is None or lacking:
            said = (
                "not in tables"
                if way is None
                else " and ".join(f"{item}{hint(item, sorted(fields))}" for item in lacking)
            )
            missing.append(f"{object_}.{name} ({said}), needed by {', '.join(dict.fromkeys(users))}")
        else:
            ways[object_, name] = way
    return ways, missing


def _whole(object_: str) -> str:
    return "pf" if object_ in CANDIDATES else object_


def _itself(column: Array) -> Array:
    return column


@dataclass(frozen=True)
class _DeclaredReader:
    """Rows as a declaration of inputs requires them."""

    bundle: Bundle
    ways: Mapping[Key, Way]

    def lists(self) -> tuple[str, ...]:
        return tuple(
            dict.fromkeys(name for (object_, _), way in self.ways.items() if object_ == "pf" for name in way[0])
        )

    def objects(self, table: JetColumns, index: Array) -> Objects:
        return _TableObjects(TakenColumns(table, index), self.ways, len(index))

    def filled(self, jets: Any) -> Array:
        if self.bundle.empty_jets or not any(group.object in CANDIDATES for group in self.bundle.groups):
            return np.ones(len(jets), dtype=bool)
        return np.asarray(jets.counts("pf") > 0)

    def incomplete(self, table: JetColumns, min_pt_share: float | None) -> Array:
        """Jets with too few constituents, and jets whose momentum is not positive or direction not finite."""
        found = table.partial(min_pt_share) if self.lists() else np.zeros(len(table), dtype=bool)
        for name in ("pt", "eta", "phi"):
            if ("jet", name) in self.ways:
                (column,), _ = self.ways["jet", name]
                values = _numbers(table.column(column))
                found = found | ~np.isfinite(values) | ((values <= 0) if name == "pt" else False)
        return found


class _TableObjects:
    """Jets of a table with canonical columns; constituents in decreasing order of pt, ties as in the table."""

    def __init__(self, columns: Mapping[str, Any], ways: Mapping[Key, Way], n_jets: int) -> None:
        self._columns, self._ways, self._size = columns, ways, n_jets
        self._made: dict[Key, Array] = {}
        self._order: Array | None = None
        self._counts: Array | None = None

    def __len__(self) -> int:
        return self._size

    def counts(self, object_: str) -> Array:
        """Number of objects of each jet, int64[jets]."""
        if object_ == "jet":
            return np.ones(self._size, dtype=np.int64)
        self._sort()
        assert self._counts is not None
        if object_ == "pf":
            return self._counts
        return np.bincount(self._owners[self._subset(object_)], minlength=self._size).astype(np.int64)

    def column(self, object_: str, name: str) -> Array:
        """A flat column, one entry per object; ``jet.pt``: of its jet."""
        if object_ == "jet":
            return self._canonical("jet", name.removeprefix("jet."))
        if name.startswith("jet."):
            values = self._canonical("jet", name[4:])[self._owners]
        else:
            values = self._canonical("pf", name)
        return values if object_ == "pf" else values[self._subset(object_)]

    def file_order(self, object_: str) -> FileOrder:
        """The places of the objects in the lists of the table, see `jettagger.formats.Jets.file_order`."""
        if object_ == "jet":
            return FileOrder(np.zeros(self._size, dtype=np.int64), self.counts("jet"))
        counts = self.counts("pf")
        assert self._order is not None
        rank = self._order - np.repeat(np.cumsum(counts) - counts, counts)
        return FileOrder(rank if object_ == "pf" else rank[self._subset(object_)], counts)

    @property
    def _owners(self) -> Array:
        return np.repeat(np.arange(self._size), self.counts("pf"))

    def _subset(self, object_: str) -> Array:
        charged = self._canonical("pf", "charge") != 0
        return np.flatnonzero(charged if object_ == "cpf" else ~charged)

    def _sort(self) -> None:
        if self._order is None:
            pt, counts = self._flat("pf", "pt")
            self._counts = counts
            self._order = np.lexsort((-pt, np.repeat(np.arange(self._size), counts)))

    def _canonical(self, object_: str, name: str) -> Array:
        key = (object_, name)
        if key not in self._made:
            values, counts = self._flat(object_, name)
            if object_ == "pf":
                if not np.array_equal(counts, self.counts("pf")):
                    stored = " and ".join(self._ways[key][0])
                    raise MismatchError(f"{stored} and part_px differ in the number of constituents of a jet")
                values = values[self._order]
            self._made[key] = values
        return self._made[key]

    def _flat(self, object_: str, name: str) -> tuple[Array, Array]:
        """Values in the order of the table, float32, and their number for each jet."""
        import awkward as ak

        stored, function = self._ways[object_, name]
        if object_ == "jet":
            values = [_numbers(self._columns[item]) for item in stored]
            counts = np.ones(self._size, dtype=np.int64)
        else:
            lists = [ak.fill_none(ak.fill_none(ak.Array(self._columns[item]), [], axis=0), np.nan) for item in stored]
            every = [ak.to_numpy(ak.num(item, axis=1)).astype(np.int64) for item in lists]
            for item, other in zip(stored, every, strict=True):
                different = np.flatnonzero(other != every[0])
                if len(different):
                    jet = int(different[0])
                    raise MismatchError(
                        f"{item} has {other[jet]} entries in jet {jet} of a block where {stored[0]} has "
                        f"{every[0][jet]}: the constituents of a jet must have as many of all columns"
                    )
            values, counts = [ak.to_numpy(ak.flatten(item, axis=1)) for item in lists], every[0]
        with np.errstate(all="ignore"):  # what is not finite is replaced and counted later
            return np.asarray(function(*values), dtype=np.float32), counts


def _numbers(column: Any) -> Array:
    """One number per jet, NaN for None."""
    import awkward as ak

    array = ak.Array(column)
    if array.ndim != 1 or array.fields:
        raise MismatchError(f"a column of jets is {array.type!s:.80}, expected one number per jet")
    return np.asarray(ak.to_numpy(ak.fill_none(array, np.nan)), dtype=np.float32)
