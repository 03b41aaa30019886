"""Jets as required by data configurations of weaver: which can be scored, missing columns, training selection.

Three kinds of input provide the columns of a table: tables with one row per jet, Delphes events, and PFNano events.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.bundles.interface import Group
from jettagger.display import Brief
from jettagger.errors import InputFileError, MismatchError, MissingColumns, hint
from jettagger.expressions import select
from jettagger.formats import EventColumns
from jettagger.formats.base import JetKind
from jettagger.formats.delphes import DelphesContent, DelphesJets, delphes_content, is_delphes
from jettagger.formats.flat import FlatTable, JetColumns
from jettagger.formats.naming import Names
from jettagger.inputs.advice import Others, advice, nobody
from jettagger.inputs.batching import Objects
from jettagger.inputs.flavours import formats
from jettagger.inputs.memory import check_fits
from jettagger.inputs.put_back import attach_flat
from jettagger.inputs.selection import BLOCK, Selection
from jettagger.inputs.wanted import HeadColumns, columns_of_heads
from jettagger.report import Report
from jettagger.types import Array
from jettagger.weaver import DataConfig, Values, WeaverJets

__all__ = [
    "IN_DOMAIN",
    "DelphesNames",
    "FlatTables",
    "Outside",
    "TablePlan",
    "TableReader",
    "TableRequest",
    "TakenColumns",
    "constituent_groups",
    "cut_of",
    "domain_columns",
    "filled_jets",
    "flags_of",
    "missing_of_table",
    "needed_columns",
]

#: the column that flags jets which pass the training selection of the network
IN_DOMAIN = "inDomain"

#: treatment of jets outside the training selection
Outside = Literal["score", "skip"]

#: bytes for each value of a list that the model reads: stored, derived, and transformed
VALUE = 30


def needed_columns(config: DataConfig) -> tuple[str, ...]:
    """The columns that a table must have, with their names in the file."""
    return tuple(dict.fromkeys(config.stored(name) for name in config.columns()))


def domain_columns(config: DataConfig) -> tuple[str, ...]:
    """The columns used by the selections of a configuration, with their names in the file."""
    selections = (config.selection, config.test_time_selection)
    return tuple(dict.fromkeys(config.stored(name) for formula in selections for name in config.columns_of(formula)))


def flags_of(config: DataConfig) -> tuple[str, ...]:
    """Flags of jets in addition to scores: whether they pass the selection, if there is one."""
    return (IN_DOMAIN,) if config.selection is not None else ()


def missing_of_table(
    config: DataConfig,
    name: str,
    known: Iterable[str],
    title: str,
    source: str,
    others: Callable[[], Sequence[str]],
    why: Mapping[str, str] | None = None,
) -> MissingColumns | None:
    """The columns that a table lacks, what needs them and where this is defined; None if nothing is missing.

    Parameters
    ----------
    config : DataConfig
    name : str
        Name of the model.
    known : iterable of str
        Columns of the table.
    title, source : str
        Kind of the table, and its name.
    others : callable
        Finds models that can run on it.
    why : mapping of str to str, optional
        Column -> what it would be computed from.

    Returns
    -------
    MissingColumns or None
    """
    known = set(known)
    missing = [item for item in config.columns() if config.stored(item) not in known]
    lines = []
    for item in missing:
        stored = config.stored(item)
        users = config.needing(item)
        places = ", ".join(f"{user} (line {config.lines[user]})" if user in config.lines else user for user in users)
        made = f" ({(why or {})[stored]})" if stored in (why or {}) else hint(stored, known)
        lines.append(f"  {stored}{made}, needed by {places}")
    if not lines:
        return None
    return MissingColumns(
        f"{source} ({title}) lacks columns that the model {name!r} needs: {advice(others())}\n"
        f"{len(lines)} missing columns of {config.where}:\n" + "\n".join(lines)
    )


@dataclass(frozen=True)
class TablePlan(Brief):
    """The stored columns from which the inputs of a model are computed.

    Parameters
    ----------
    title : str
        Kind of the input, for messages.
    columns : tuple of str
        Stored columns that are read: those of a table, or ``"Collection.field"`` of Delphes events.
    collection : str
        The collection of jets; empty for a table.
    made : tuple of str
        Columns of the jets for use in cuts that are computed from ``columns``; empty: the stored ones.
    """

    title: str
    columns: tuple[str, ...]
    collection: str = ""
    made: tuple[str, ...] = ()


@dataclass(frozen=True)
class DelphesNames(Brief):
    """Columns of Delphes events available to heads: jet-level variables by their names in a skim."""

    content: DelphesContent

    @property
    def collections(self) -> list[str]:
        """Empty: variables are named in full."""
        return []

    def has(self, column: str) -> bool:
        """Whether there is a variable."""
        front = f"{self.content.collection}_"
        if column == "event":
            return "Event.Number" in self.content.columns
        name = f"jet_{column.removeprefix(front)}"
        return column.startswith(front) and name in self.content.fields


def is_event_offer(collections: Iterable[str], kind: JetKind = "AK8") -> bool:
    """Whether the collections are those of a known format of linked jets."""
    present = set(collections)
    return any(present.issuperset(format_.signature) for format_ in formats() if format_.kind == kind)


@dataclass(frozen=True)
class FlatTables(Brief):
    """Source for models with a data configuration of weaver, for tables with one row per jet and for Delphes events.

    Parameters
    ----------
    bundle : Bundle
    config : DataConfig
        Its data configuration.
    jets : str, optional
        The collection of jets, if there are several.
    names : mapping, optional
        Must be None: only PFNano has other names.
    outside : {"score", "skip"}
        ``skip``: jets that weaver would not read for predictions are not scored, i.e. those that fail the
        ``test_time_selection``, or the ``selection`` if it is absent.
    min_pt_share : float, optional
    others : callable
        Finds models that can run on an input.

    Raises
    ------
    MismatchError
        If ``outside`` is invalid.
    """

    bundle: Bundle
    config: DataConfig
    jets: str | None = None
    names: Names | None = None
    outside: Outside = "score"
    min_pt_share: float | None = None
    others: Others = field(default=nobody, compare=False)

    @property
    def flags(self) -> tuple[str, ...]:
        """Names of flags of jets."""
        return flags_of(self.config)

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
        config = self.config

        def others() -> list[str]:
            return self.others(offer, self.bundle, self.jets, None)

        if is_delphes(offer.collections):
            content = delphes_content(offer, self.jets)
            title = f"Delphes, jets {content.collection}"
            columns_of_heads(heads, DelphesNames(content), content.collection, source)
            error = missing_of_table(config, self.bundle.name, content.fields, title, source, others)
            columns, collection = content.columns, content.collection
            made = (*(name.removeprefix("jet_") for name in content.fields), *content.fields)
        else:
            if self.jets is not None:
                raise InputFileError(f"a table with one row per jet has no collection {self.jets!r} to choose")
            fields = list(offer.collections)
            error = missing_of_table(config, self.bundle.name, fields, FlatTable.title, source, others)
            of_heads = columns_of_heads(heads, offer, "jet", source) if error is None else ()
            domain = [name for name in domain_columns(config) if name in fields]
            columns = tuple(dict.fromkeys([*needed_columns(self.config), *domain, *of_heads]))
            title, collection, made = FlatTable.title, "", ()
        if error is not None:
            raise error
        return TablePlan(title, columns, collection, made)

    def request(
        self,
        events: Any,
        where: Any = None,
        kinematics: Mapping[str, Any] | None = None,
        heads: Iterable[HeadColumns] = (),
    ) -> TableRequest:
        """See `jettagger.inputs.source.Source`.

        Raises
        ------
        MissingColumns
            If columns of the model's selection are missing.
        """
        config = self.config
        delphes = is_delphes(getattr(events, "fields", []))
        table: JetColumns = DelphesJets(events, self.jets) if delphes else FlatTable(events)
        columns = EventColumns(events)
        plan = self.check(columns, heads=heads)
        check_fits(columns, plan)
        if kinematics:
            table = table.moved(kinematics)
        present = table.present
        asked = present
        if where is not None:
            asked = present & (cut_of(table, where) if isinstance(where, str) else table.mask(where))
        rows = np.flatnonzero(present)
        values = Values(config, TakenColumns(table, rows))
        flags = {name: _flags(config, table, values, rows) for name in self.flags}
        chosen = asked
        if self.outside == "skip":
            used = config.test_time_selection or config.selection
            lacking = [name for name in config.columns_of(used) if config.stored(name) not in table.fields]
            if lacking:
                raise MissingColumns(
                    f"the selection of {config.where} needs {', '.join(lacking)}, which {table.title} lacks"
                )
            inside = np.zeros(len(table), dtype=bool)
            inside[rows] = values.passes(used, len(rows))
            chosen = asked & inside
        report = Report(
            events=len(table) if table.counts is None else len(table.counts),
            jets=len(table),
            not_selected=int(np.count_nonzero(present & ~asked)),
            absent=int(np.count_nonzero(~present)),
            outside_domain=int(np.count_nonzero(asked & ~chosen)),
        )
        reader = WeaverReader(self.bundle, config)
        return TableRequest(reader, table, plan, chosen, report, flags, self.min_pt_share)


class TableReader(Protocol):
    """How rows of a table become the inputs of a model."""

    def lists(self) -> tuple[str, ...]:
        """Columns of constituents that are read."""

    def objects(self, table: JetColumns, index: Array) -> Objects:
        """The jets at some indices, int64[n], with their constituents."""

    def filled(self, jets: Any) -> Array:
        """Mask of jets with constituents, bool[jets]."""

    def incomplete(self, table: JetColumns, min_pt_share: float | None) -> Array:
        """Mask of jets that are left out because a part of them is missing, bool[jets]."""


@dataclass(frozen=True)
class WeaverReader:
    """Rows as a data configuration of weaver requires them.

    Parameters
    ----------
    bundle : Bundle
    config : DataConfig
    """

    bundle: Bundle
    config: DataConfig

    def lists(self) -> tuple[str, ...]:
        """Columns of the configuration."""
        return needed_columns(self.config)

    def objects(self, table: JetColumns, index: Array) -> WeaverJets:
        """The variables of the configuration for some jets."""
        return WeaverJets(Values(self.config, TakenColumns(table, index)), len(index))

    def filled(self, jets: WeaverJets) -> Array:
        """Mask of jets with entries in the first or the longest list."""
        return filled_jets(self.bundle.groups, jets)

    def incomplete(self, table: JetColumns, min_pt_share: float | None) -> Array:
        """Jets whose constituents carry too little of their pt."""
        return table.partial(min_pt_share)


@dataclass(frozen=True)
class TableRequest(Brief):
    """The jets of a table, the required columns, and the requested jets.

    Parameters
    ----------
    reader : TableReader
        How rows become the inputs of a model.
    table : JetColumns
    plan : TablePlan
    chosen : bool[jets]
        Jets to score.
    report : Report
        Counts known before constituents are read.
    flags : mapping of str to (bool[jets] or None)
        Flags of all jets; None if the table lacks the columns for them.
    min_pt_share : float or None
    """

    reader: TableReader
    table: JetColumns
    plan: TablePlan
    chosen: Array
    report: Report
    flags: Mapping[str, Array | None]
    min_pt_share: float | None = None

    @property
    def counts(self) -> Array | None:
        """Number of jets of each event, int64[events]; None for a table of jets alone."""
        return self.table.counts

    @property
    def valid(self) -> Array | None:
        """Mask of events that are not None, bool[events]; None for a table of jets alone."""
        return self.table.valid

    @property
    def present(self) -> Array:
        """Mask of jets that are not None, bool[jets]."""
        return self.table.present

    def blocks(self, budget: int = BLOCK) -> Iterator[Selection]:
        """The jets to score in blocks, so that derived data take a bounded amount of memory.

        Parameters
        ----------
        budget : int
            Approximate size of a block in bytes; a block has at least one jet.

        Yields
        ------
        Selection
        """
        rows = np.flatnonzero(self.chosen)
        if not len(rows):
            return
        dangling = self.table.dangling
        incomplete = self.reader.incomplete(self.table, self.min_pt_share)
        end = np.cumsum(VALUE * self.table.lengths(self.reader.lists())[rows])
        start = 0
        while start < len(rows):
            spent = end[start - 1] if start else 0
            stop = max(int(np.searchsorted(end, spent + budget, side="right")), start + 1)
            block = rows[start:stop]
            left_out = block[incomplete[block]]
            index = block[~incomplete[block]]
            jets = self.reader.objects(self.table, index)
            filled = self.reader.filled(jets)
            empty = int(np.count_nonzero(~filled))
            if empty:
                index = index[filled]
                jets = self.reader.objects(self.table, index)
            report = Report(without_constituents=empty, partial=len(left_out), dangling_links=dangling)
            yield Selection(jets, index, report, left_out)
            start, dangling = stop, 0

    def content(self) -> Iterator[tuple[str, Array]]:
        """The data that the model's inputs depend on: columns in their stored shapes."""
        import awkward as ak

        for name, array in self.table.stored(self.plan.columns):
            form, length, buffers = ak.to_buffers(ak.to_packed(ak.materialize(ak.Array(array))))
            yield f"{name} {length} {form.to_json()}", np.empty(0)
            for key, values in buffers.items():
                yield f"{name} {key}", np.asarray(values)
        yield "chosen", self.chosen
        if self.valid is not None:
            yield "valid", self.valid
        report = self.report
        yield "counts", np.array([report.not_selected, report.absent, report.outside_domain])
        yield "share", np.array([-1.0 if self.min_pt_share is None else self.min_pt_share])

    def values(self, name: str) -> Array:
        """A jet-level variable by its name in a skim, one entry per jet; NaN for None."""
        return self.table.values(name)

    def put_back(self, events: Any, scores: Any, names: Mapping[str, str]) -> Any:
        """The events, or the table, with columns of scores, see `attach_flat`."""
        return attach_flat(events, scores, names, self.plan.collection, self.counts)

    @property
    def group(self) -> Hashable:
        """Names in expressions are local to a configuration: each model makes its inputs itself."""
        return "table", id(self)

    def together(self, others: Sequence[TableRequest]) -> TableRequest:
        """This request: there are no others in its group."""
        return self


def constituent_groups(groups: Sequence[Group]) -> tuple[Group, ...]:
    """The groups in which a jet needs an entry to be scored.

    A data configuration does not specify what its lists are: the first and the longest are used.
    """
    lists = [group for group in groups if not group.per_jet] or list(groups)
    return (lists[0], max(lists, key=lambda group: group.max_length))


def filled_jets(groups: Sequence[Group], jets: WeaverJets) -> Array:
    """Mask of jets with constituents, bool[jets]."""
    return np.any([jets.counts(group.object) > 0 for group in constituent_groups(groups)], axis=0)


def cut_of(table: JetColumns, text: str) -> Array:
    """Mask of jets that pass a cut in columns of the table, bool[jets]; ``jet_`` may be omitted in a collection."""
    short = {} if table.counts is None else {name.removeprefix("jet_"): name for name in table.fields}
    return select(text, [*short, *table.fields], lambda name: table.column(short.get(name, name)), len(table))


class TakenColumns(Mapping[str, Any], Brief):
    """Some rows of a table's columns, read on access.

    Parameters
    ----------
    table : JetColumns
    rows : int64[n]
        Indices of the jets.
    """

    def __init__(self, table: JetColumns, rows: Array) -> None:
        self._table, self._rows = table, rows
        self._whole = len(rows) == len(table) and bool((rows == np.arange(len(rows))).all())

    def __contains__(self, name: object) -> bool:
        return name in self._table.fields

    def __iter__(self) -> Any:
        return iter(self._table.fields)

    def __len__(self) -> int:
        return len(self._table.fields)

    def __getitem__(self, name: str) -> Any:
        return self._table.column(name, None if self._whole else self._rows)


def _flags(config: DataConfig, table: JetColumns, values: Values, rows: Array) -> Array | None:
    """Mask of jets that pass the training selection; None if this cannot be determined."""
    lacking = any(config.stored(name) not in table.fields for name in config.columns_of(config.selection))
    if config.selection is None or lacking:
        return None
    flags = np.zeros(len(table), dtype=bool)
    flags[rows] = values.passes(config.selection, len(rows))
    return flags
