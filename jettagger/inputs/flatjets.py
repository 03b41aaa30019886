"""Jets as the data configurations of weaver take them: which can be scored, what is missing, what is outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.errors import BundleError, InputFileError, MismatchError, MissingColumns, hint
from jettagger.expressions import select
from jettagger.formats.delphes import DelphesJets, is_delphes
from jettagger.formats.flat import FlatTable, JetColumns
from jettagger.report import Report
from jettagger.types import Array
from jettagger.weaver import DataConfig, Values, WeaverJets

__all__ = ["IN_DOMAIN", "FlatSelection", "Outside", "check_table", "jet_table", "needed_columns", "select_flat"]

#: the column that says whether a jet passes the selection that the network was trained on
IN_DOMAIN = "inDomain"

#: what happens to jets outside the training selection
Outside = Literal["score", "skip"]


class Offered(Protocol):
    """What tells which columns an input has."""

    @property
    def title(self) -> str:
        """What it is, for messages."""

    @property
    def fields(self) -> Sequence[str]:
        """Names of the columns."""


class FlatSelection(NamedTuple):
    """The jets of a table that are scored, and what became of the others.

    Parameters
    ----------
    table : JetColumns
    jets : WeaverJets
        Those that are scored.
    rows : int64[scored]
        Their positions in the table.
    in_domain : bool[jets] or None
        For each jet of the table whether it passes the training selection; None where the configuration has none.
    report : Report
    partial : int64[n]
        Positions of jets that are not scored because only a part of their constituents is there.
    """

    table: JetColumns
    jets: WeaverJets
    rows: Array
    in_domain: Array | None
    report: Report
    partial: Array


class _Taken(Mapping[str, Any]):
    """Some rows of a table's columns, read when they are asked for."""

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
        column = self._table.column(name)
        return column if self._whole else column[self._rows]


def jet_table(events: Any, collection: str | None = None) -> JetColumns:
    """The table of jets of an input.

    Parameters
    ----------
    events : awkward array
        A table with one row a jet, or events of Delphes.
    collection : str, optional
        Which jets, where the input has several collections.

    Returns
    -------
    JetColumns

    Raises
    ------
    InputFileError
        If the input is none of these.
    """
    fields = getattr(events, "fields", [])
    if is_delphes(fields):
        return DelphesJets(events, collection)
    if collection is not None:
        raise InputFileError(f"a table with one row a jet has no collection {collection!r} to choose")
    return FlatTable(events)


def _cut(table: JetColumns, text: str) -> Array:
    """The jets that pass a cut in columns of the table; those of a collection are also named without ``jet_``."""
    short = {} if table.counts is None else {name.removeprefix("jet_"): name for name in table.fields}
    return select(text, [*short, *table.fields], lambda name: table.column(short.get(name, name)), len(table))


def _config(bundle: Bundle) -> DataConfig:
    if bundle.weaver is None:
        raise BundleError(f"the inputs of {bundle.name!r} are not described by a data configuration of weaver")
    return bundle.weaver


def needed_columns(bundle: Bundle) -> tuple[str, ...]:
    """The columns that a table must have.

    Parameters
    ----------
    bundle : Bundle
        Described by a data configuration.

    Returns
    -------
    tuple of str
        As the file names them.
    """
    config = _config(bundle)
    return tuple(dict.fromkeys(config.stored(name) for name in config.columns()))


def check_table(bundle: Bundle, table: Offered, source: str = "this table") -> None:
    """Compare what a model needs with the columns of a table; nothing is read.

    Parameters
    ----------
    bundle : Bundle
    table : JetColumns or open file
    source : str
        Named in the error.

    Raises
    ------
    MissingColumns
        Listing every missing column, the variables that need it and where they are written.
    """
    config = _config(bundle)
    known = set(table.fields)
    missing = [name for name in config.columns() if config.stored(name) not in known]
    if missing:
        lines = []
        for name in missing:
            users = config.needing(name)
            places = ", ".join(
                f"{user} (line {config.lines[user]})" if user in config.lines else user for user in users
            )
            lines.append(f"  {config.stored(name)}{hint(config.stored(name), known)}, needed by {places}")
        raise MissingColumns(
            f"{source} ({table.title}) lacks columns that the model {bundle.name!r} needs: {len(missing)} of "
            f"{config.where}\nmissing columns:\n" + "\n".join(lines)
        )


def select_flat(
    bundle: Bundle,
    events: Any,
    where: Any = None,
    collection: str | None = None,
    outside: Outside = "score",
    min_pt_share: float | None = None,
) -> FlatSelection:
    """Find the jets of an input that can be scored.

    Parameters
    ----------
    bundle : Bundle
        Described by a data configuration.
    events : awkward array
        As for `jet_table`.
    where : str or bool array, optional
        Only jets where it is True are scored; a text is a cut in columns of the jets.
    collection : str, optional
        Which jets, where there are several collections.
    outside : {"score", "skip"}
        ``skip`` leaves those jets unscored that weaver would not read for predictions: that fail the
        ``test_time_selection``, or the ``selection`` where there is no other.
    min_pt_share : float, optional
        As for `jettagger.tagging.tagger.Tagger`.

    Returns
    -------
    FlatSelection

    Raises
    ------
    MissingColumns
        If the table lacks columns; also those of the selection, where it is to be applied.
    MismatchError
        If ``where`` or the columns do not fit.
    """
    if outside not in ("score", "skip"):
        raise MismatchError(f"outside is {outside!r}, expected 'score' or 'skip'")
    config = _config(bundle)
    table = jet_table(events, collection)
    check_table(bundle, table)
    present = table.present
    chosen = (
        present if where is None else present & (_cut(table, where) if isinstance(where, str) else table.mask(where))
    )
    rows = np.flatnonzero(present)
    values = Values(config, _Taken(table, rows))
    in_domain = _flags(config, table, values, rows)
    left_out = 0
    if outside == "skip":
        used = config.test_time_selection or config.selection
        lacking = [name for name in config.columns_of(used) if config.stored(name) not in table.fields]
        if lacking:
            raise MissingColumns(
                f"the selection of {config.where} needs {', '.join(lacking)}, which {table.title} lacks"
            )
        inside = np.zeros(len(table), dtype=bool)
        inside[rows] = values.passes(used, len(rows))
        left_out = int(np.count_nonzero(chosen & ~inside))
        chosen = chosen & inside
    incomplete = chosen & table.partial(min_pt_share)
    index = np.flatnonzero(chosen & ~incomplete)
    jets = WeaverJets(Values(config, _Taken(table, index)), len(index))
    filled = np.any([jets.counts(group.object) > 0 for group in bundle.constituents], axis=0)
    empty = int(np.count_nonzero(~filled))
    if empty:
        index = index[filled]
        jets = WeaverJets(Values(config, _Taken(table, index)), len(index))
    n_partial = int(np.count_nonzero(incomplete))
    report = Report(
        events=len(table) if table.counts is None else len(table.counts),
        jets=len(table),
        not_selected=int(np.count_nonzero(present)) - len(index) - empty - left_out - n_partial,
        absent=int(np.count_nonzero(~present)),
        without_constituents=empty,
        partial=n_partial,
        outside_domain=left_out,
        dangling_links=table.dangling,
    )
    return FlatSelection(table, jets, index, in_domain, report, np.flatnonzero(incomplete))


def _flags(config: DataConfig, table: JetColumns, values: Values, rows: Array) -> Array | None:
    """Which jets pass the training selection; None where that cannot be told."""
    lacking = any(config.stored(name) not in table.fields for name in config.columns_of(config.selection))
    if config.selection is None or lacking:
        return None
    flags = np.zeros(len(table), dtype=bool)
    flags[rows] = values.passes(config.selection, len(rows))
    return flags
