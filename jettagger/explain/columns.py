"""Numbers of the objects of jets as columns where the file lists these objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jettagger.display import Brief
from jettagger.formats import Jets
from jettagger.formats.attach import with_fields, with_list_fields
from jettagger.inputs.flat_tables import TableRequest
from jettagger.inputs.nano_jets import NanoRequest
from jettagger.inputs.put_back import refuse_existing
from jettagger.inputs.selection import LinkedRequest
from jettagger.types import Array

__all__ = ["ObjectColumns", "link_table", "put_back"]

#: name of the columns of constituents in tables, before ``_``
_PARTS = "part"


@dataclass
class ObjectColumns(Brief):
    """Columns of the objects of all jets of a chunk, filled jet by jet.

    Parameters
    ----------
    values : dict of str to float32[objects]
        Name -> numbers in the order of the file.
    known : dict of str to bool[objects]
        Where there is a number.
    starts, counts : int64[jets]
        The objects of each jet, as a range of ``order``.
    order : int64[objects]
        Their places in the file.
    done : bool[jets]
        Jets with numbers.
    """

    values: dict[str, Array]
    known: dict[str, Array]
    starts: Array
    counts: Array
    order: Array
    done: Array

    @classmethod
    def of(cls, request: Any, family: str, names: Iterable[str]) -> ObjectColumns:
        """Empty columns for the jets of a request.

        Parameters
        ----------
        request : Request
        family : str
            List of objects, as in `JetInputs.families`.
        names : iterable of str

        Returns
        -------
        ObjectColumns
        """
        import awkward as ak

        n_jets = request.report.jets
        if family == "jet":
            counts, order, size = np.ones(n_jets, dtype=np.int64), np.arange(n_jets), n_jets
        elif isinstance(request, TableRequest):
            column = request.table.column(_list_column(request, family))
            counts = ak.to_numpy(ak.fill_none(ak.num(ak.Array(column), axis=1), 0)).astype(np.int64)
            size = int(counts.sum())
            order = np.arange(size)
        else:
            linked = _linked(request)
            every = Jets(linked.columns, linked.plan, np.arange(n_jets), linked.moved)
            jet = every.linked_jets(_object(request, family))
            order = np.argsort(jet, kind="stable")[np.count_nonzero(jet < 0) :]
            counts = np.bincount(jet[order], minlength=n_jets).astype(np.int64)
            size = len(jet)
        starts = np.cumsum(counts) - counts
        values = {name: np.zeros(size, dtype=np.float32) for name in names}
        known = {name: np.zeros(size, dtype=bool) for name in names}
        return cls(values, known, starts, counts, order, np.zeros(n_jets, dtype=bool))

    def add(self, name: str, jets: Array, values: Array) -> None:
        """Numbers of some jets.

        Parameters
        ----------
        name : str
        jets : int64[n]
            Indices among all jets.
        values : float64[n, longest list]
            In the order of the file; those behind the end of a list are passed over. NaN stays without a number.
        """
        rank = np.arange(values.shape[1])
        row, column = np.nonzero(rank < self.counts[jets][:, np.newaxis])
        places = self.order[self.starts[jets][row] + column]
        numbers = values[row, column]
        self.values[name][places] = np.nan_to_num(numbers)
        self.known[name][places] = np.isfinite(numbers)
        self.done[jets] = True

    def flat(self, name: str) -> Any:
        """A column of all objects as a layout, None where there is no number."""
        import awkward as ak

        known = self.known[name]
        index = np.where(known, np.arange(len(known)), -1).astype(np.int64)
        return ak.contents.IndexedOptionArray(ak.index.Index64(index), ak.contents.NumpyArray(self.values[name]))

    def lists(self, name: str) -> Any:
        """A column as lists of the jets, None for jets without numbers."""
        import awkward as ak

        offsets = np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)
        lists = ak.contents.ListOffsetArray(ak.index.Index64(offsets), self.flat(name))
        index = np.where(self.done, np.arange(len(self.done)), -1).astype(np.int64)
        return ak.contents.IndexedOptionArray(ak.index.Index64(index), lists)


def put_back(
    request: Any, events: Any, lists: Mapping[str, ObjectColumns], columns: Mapping[str, Mapping[str, str]]
) -> Any:
    """The events, or the table, with the columns.

    Parameters
    ----------
    request : Request
    events : awkward array
    lists : mapping of str to ObjectColumns
        List of objects -> its numbers.
    columns : mapping of str to mapping of str to str
        List of objects -> name -> column.

    Returns
    -------
    awkward array

    Raises
    ------
    MismatchError
        If a column of that name exists already.
    """
    collection = request.plan.collection
    if isinstance(request, TableRequest):
        new = {}
        for family, names in columns.items():
            for name, column in names.items():
                if family == "jet":
                    new[column] = lists[family].flat(name)
                else:
                    new[column if collection else f"{_PARTS}_{column}"] = lists[family].lists(name)
        owner = events[collection] if collection else events
        refuse_existing(owner.fields, {name: name for name in new}, collection or "the table")
        if request.counts is None:
            return with_fields(events, new)
        return with_fields(events, {collection: _layout(with_list_fields(owner, request.counts, new))})
    linked = _linked(request)
    changed = {}
    for family, names in columns.items():
        table = collection if family == "jet" else link_table(linked.plan, family)
        refuse_existing(linked.columns.fields(table), names, table)
        new = {column: lists[family].flat(name) for name, column in names.items()}
        changed[table] = _layout(with_list_fields(linked.columns.events[table], linked.columns.counts(table), new))
    return with_fields(events, changed)


def link_table(plan: Any, family: str) -> str:
    """The collection whose rows link objects to jets.

    Parameters
    ----------
    plan : ReadPlan
    family : str
        As in `JetInputs.families`.

    Returns
    -------
    str
    """
    links = plan.format.links
    return str(links[family if family in links else "pf"].table)


def _layout(array: Any) -> Any:
    import awkward as ak

    return ak.to_layout(array)


def _linked(request: Any) -> LinkedRequest:
    linked: LinkedRequest = request.linked if isinstance(request, NanoRequest) else request
    return linked


def _object(request: Any, family: str) -> str:
    """The linked object of a list: tables made of events have candidates only."""
    return family if family in _linked(request).plan.format.links else "pf"


def _list_column(request: TableRequest, family: str) -> str:
    """A column of a table with as many entries as there are objects in the list."""
    names = request.reader.lists()
    return next((name for name in names if name.startswith(f"{family}_")), names[0])
