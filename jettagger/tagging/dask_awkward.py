"""Tagging of dask-awkward collections: nothing runs while the graph is built, as the bundle gives the output form.

Dask-awkward determines the required columns by calling the partition functions with typetracers, i.e. arrays without
data. The partition functions then touch only the columns of the plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jettagger.display import Brief
from jettagger.errors import InputFileError, MismatchError, require
from jettagger.expressions import parse
from jettagger.formats import EventColumns
from jettagger.inputs.put_back import refuse_existing
from jettagger.inputs.source import ColumnPlan

if TYPE_CHECKING:
    from jettagger.tagging.tagger import Tagger

__all__ = ["PartitionScores", "attached", "mapped", "scores", "touched"]


def scores(tagger: Tagger, events: Any, where: Any) -> Any:
    """The scores of all partitions as a dask-awkward collection; see `Tagger.__call__`."""
    return mapped(PartitionScores(tagger), events, where, label=f"score-{tagger.bundle.name}")


def attached(
    tagger: Tagger, events: Any, where: Any, names: Mapping[str, str], kinematics: Mapping[str, Any] | None = None
) -> Any:
    """The events of all partitions with the new columns as a dask-awkward collection; see `Tagger.attach`."""
    return mapped(_Attach(tagger, dict(names)), events, where, kinematics, label=f"tag-{tagger.bundle.name}")


def mapped(
    function: PartitionScores, events: Any, where: Any, kinematics: Mapping[str, Any] | None = None, *, label: str
) -> Any:
    """A function of all partitions as a dask-awkward collection.

    Parameters
    ----------
    function : PartitionScores
    events : dask-awkward collection
    where, kinematics
        As for `Tagger.attach`, of dask-awkward arrays.
    label : str
        Name of the layer in the graph.

    Returns
    -------
    dask-awkward collection

    Raises
    ------
    MismatchError
        If ``where`` or ``kinematics`` are not dask-awkward arrays.
    InputFileError
        If the events come from an RNTuple, which cannot be read as a collection.
    """
    dask_awkward = require("dask_awkward", "dask-awkward", "tagging a dask-awkward collection")
    arguments = [events]
    if isinstance(where, str):
        function.cut = where
    elif where is not None:
        _refuse_other("where", where, "a cut such as 'pt > 200' or a dask-awkward array")
        function.masked = True
        arguments.append(where)
    for name, values in (kinematics or {}).items():
        _refuse_other(f"kinematics {name!r}", values, "a dask-awkward array")
        function.moved = (*function.moved, name)
        arguments.append(values)
    _refuse_rntuple(events)
    meta = function(*(argument._meta for argument in arguments))
    return dask_awkward.map_partitions(function, *arguments, meta=meta, label=label)


def _refuse_other(what: str, value: Any, expected: str) -> None:
    if type(value).__module__.partition(".")[0] != "dask_awkward":
        raise MismatchError(
            f"{what} is a {type(value).__name__}, expected {expected}: events are a dask-awkward collection"
        )


def _refuse_rntuple(events: Any) -> None:
    """Refuse an RNTuple at once; uproot would do so at the end, and less clearly.

    Coffea asks uproot for the titles of branches, which fields of RNTuples lack; the failure would occur when the graph
    is computed, before any function of jettagger is called.
    """
    for layer in events.dask.layers.values():
        options = getattr(getattr(layer, "io_func", None), "interp_options", None) or {}
        first = next(iter(getattr(layer, "inputs", None) or ()), None)
        if "title" not in (options.get("ak_add_doc") or {}).values() or not isinstance(first, tuple):
            continue
        path, tree = first[0], first[1]
        if not isinstance(path, str) or not Path(path).is_file():
            continue
        import uproot

        with uproot.open(path) as file:
            if "RNTuple" in type(file[tree]).__name__:
                raise InputFileError(
                    f"{path}: {tree!r} is an RNTuple, which coffea and uproot cannot read with mode='dask' "
                    "('RField' object has no attribute 'title'); open it with mode='virtual' or mode='eager'"
                )


class PartitionScores(Brief):
    """Scores of one partition; for a typetracer, the touched columns and the form.

    Called with the events, the mask if there is one, and the columns of the jets after a variation.
    """

    def __init__(self, tagger: Tagger) -> None:
        self.tagger = tagger
        self.cut: str | None = None
        self.masked = False
        self.moved: tuple[str, ...] = ()

    def __call__(self, events: Any, *more: Any) -> Any:
        import awkward as ak

        where = more[0] if self.masked else self.cut
        kinematics = dict(zip(self.moved, more[self.masked :], strict=True))
        if ak.backend(events) == "typetracer":
            for array in more:
                ak.typetracer.touch_data(array)
            return self._trace(events, touched(self.tagger, events, self.cut))
        return self._compute(events, where, kinematics)

    def _compute(self, events: Any, where: Any, kinematics: Mapping[str, Any]) -> Any:
        return self.tagger(events, where)

    def _trace(self, events: Any, plan: ColumnPlan) -> Any:
        return _form(self.tagger, plan, events)


class _Attach(PartitionScores):
    """Events of one partition with the new columns."""

    def __init__(self, tagger: Tagger, names: dict[str, str]) -> None:
        super().__init__(tagger)
        self.names = names

    def _compute(self, events: Any, where: Any, kinematics: Mapping[str, Any]) -> Any:
        request = self.tagger.request(events, where, kinematics)
        return request.put_back(events, self.tagger.answer(request, tuple(self.names)).scores, self.names)

    def _trace(self, events: Any, plan: ColumnPlan) -> Any:
        import awkward as ak

        name = plan.collection
        jets = events[name] if name else events
        refuse_existing(jets.fields, self.names, name or "the table")
        values = _form(self.tagger, plan, events)
        for output, column in self.names.items():
            jets = ak.with_field(jets, values[output], column)
        return ak.with_field(events, jets, name) if name else jets


def touched(tagger: Tagger, events: Any, cut: str | None) -> ColumnPlan:
    """Mark the columns of the plan, and those of the cut, as needed."""
    import awkward as ak

    plan = tagger.plan(events)
    columns = EventColumns(events)
    for column in plan.columns:
        ak.typetracer.touch_data(columns.array(column))
    if cut is not None:
        names: dict[str, tuple[str, ...]] = {name: (plan.collection, name) for name in columns.fields(plan.collection)}
        if not plan.collection:
            names = {name: (name,) for name in columns.collections}
        if plan.made:  # of columns that are touched already
            names = dict.fromkeys(plan.made, ())
        expression = parse(cut, where="where")
        expression.check(list(names), f"column of {plan.collection or 'the table'}")
        for name in expression.names:
            if names[name]:
                ak.typetracer.touch_data(columns.events[names[name]])
    return plan


def _form(tagger: Tagger, plan: ColumnPlan, events: Any) -> Any:
    """A typetracer of the scores of these events, or of this table."""
    import awkward as ak

    float32 = ak.contents.NumpyArray(np.empty(0, dtype=np.float32))
    outputs = tagger.outputs
    records = ak.contents.RecordArray([float32] * len(outputs), [output.name for output in outputs], length=0)
    nothing = ak.index.Index64(np.empty(0, dtype=np.int64))
    jets: Any = ak.contents.IndexedOptionArray(nothing, records)
    if tagger.source.flags:
        flag = ak.contents.IndexedOptionArray(nothing, ak.contents.NumpyArray(np.empty(0, dtype=np.bool_)))
        jets = ak.Array(jets)
        columns = {name: jets[name] for name in jets.fields} | dict.fromkeys(tagger.source.flags, ak.Array(flag))
        jets = ak.to_layout(ak.zip(columns, depth_limit=1))
    if plan.collection:
        collection = EventColumns(events).events[plan.collection]
        lists = ak.to_layout(collection[collection.fields[0]])
        jets = ak.contents.ListOffsetArray(ak.index.Index64(np.zeros(1, dtype=np.int64)), jets)
        if lists.is_option:
            jets = ak.contents.IndexedOptionArray(nothing, jets)
    return ak.Array(jets.to_typetracer(forget_length=True))
