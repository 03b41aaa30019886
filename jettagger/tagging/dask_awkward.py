"""Tagging dask-awkward collections: nothing runs while the graph is built, the output form comes from the bundle.

Dask-awkward finds the columns that are needed by calling the partition functions with typetracers, arrays without data.
Then only the columns of the plan are touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jettagger.errors import InputFileError, MismatchError, require
from jettagger.expressions import parse
from jettagger.formats import EventColumns, ReadPlan, split
from jettagger.tagging.scores import attach_scores, refuse_existing

if TYPE_CHECKING:
    from jettagger.tagging.tagger import Tagger

__all__ = ["attached", "scores"]


def scores(tagger: Tagger, events: Any, where: Any) -> Any:
    """The scores of all partitions as a dask-awkward collection; see `Tagger.__call__`."""
    return _map(_Scores(tagger), events, where, label=f"score-{tagger.bundle.name}")


def attached(tagger: Tagger, events: Any, where: Any, names: Mapping[str, str]) -> Any:
    """The events of all partitions with the columns as a dask-awkward collection; see `Tagger.attach`."""
    return _map(_Attach(tagger, dict(names)), events, where, label=f"tag-{tagger.bundle.name}")


def _map(function: _Scores, events: Any, where: Any, label: str) -> Any:
    dask_awkward = require("dask_awkward", "dask-awkward", "tagging a dask-awkward collection")
    if isinstance(where, str):
        function.cut, where = where, None
    elif where is not None and not isinstance(where, dask_awkward.Array):
        raise MismatchError(
            f"where is a {type(where).__name__}, expected a cut such as 'pt > 200' or a dask-awkward array: events are "
            "a dask-awkward collection"
        )
    _refuse_rntuple(events)
    arguments = (events,) if where is None else (events, where)
    meta = function(*(argument._meta for argument in arguments))
    return dask_awkward.map_partitions(function, *arguments, meta=meta, label=label)


def _refuse_rntuple(events: Any) -> None:
    """Say now what uproot would say of an RNTuple at the end, and less clearly.

    Coffea asks uproot for the titles of branches, which fields of RNTuples lack; the failure would come when the
    graph is computed, before any of our functions is reached.
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


class _Scores:
    """Scores of one partition; for a typetracer, the touched columns and the form."""

    def __init__(self, tagger: Tagger) -> None:
        self.tagger = tagger
        self.names: dict[str, str] | None = None
        self.cut: str | None = None

    def __call__(self, events: Any, where: Any = None) -> Any:
        import awkward as ak

        where = where if self.cut is None else self.cut
        if ak.backend(events) == "typetracer":
            return self._trace(events, where)
        return self._compute(events, where)

    def _compute(self, events: Any, where: Any) -> Any:
        return self.tagger(events, where)

    def _trace(self, events: Any, where: Any) -> Any:
        return _form(self.tagger, _touch(self.tagger, events, where), events)


class _Attach(_Scores):
    """Events of one partition with the new columns."""

    def __init__(self, tagger: Tagger, names: dict[str, str]) -> None:
        super().__init__(tagger)
        self.names = names

    def _compute(self, events: Any, where: Any) -> Any:
        names = self.names or {}
        collection = self.tagger.plan(events).format.jets
        return attach_scores(events, self.tagger.run(events, where, tuple(names)).scores, names, collection)

    def _trace(self, events: Any, where: Any) -> Any:
        import awkward as ak

        plan = _touch(self.tagger, events, where)
        name = plan.format.jets
        names = self.names or {}
        refuse_existing(events[name].fields, names, name)
        values = _form(self.tagger, plan, events)
        fatjets = events[name]
        for output, column in names.items():
            fatjets = ak.with_field(fatjets, values[output], column)
        return ak.with_field(events, fatjets, name)


def _touch(tagger: Tagger, events: Any, where: Any) -> ReadPlan:
    """Mark the columns of the plan as needed."""
    import awkward as ak

    plan = tagger.plan(events)
    columns = EventColumns(events)
    for column in plan.columns:
        collection, field = split(column)
        ak.typetracer.touch_data(columns.events[collection, field] if field else columns.events[collection])
    if isinstance(where, str):
        expression, name = parse(where, where="where"), plan.format.jets
        expression.check(columns.fields(name), f"column of {name}")
        for field in expression.names:
            ak.typetracer.touch_data(columns.events[name, field])
    elif where is not None:
        ak.typetracer.touch_data(where)
    return plan


def _form(tagger: Tagger, plan: ReadPlan, events: Any) -> Any:
    """A typetracer of the scores of these events."""
    import awkward as ak

    lists = ak.to_layout(EventColumns(events).events[plan.format.jets, "pt"])
    float32 = ak.contents.NumpyArray(np.empty(0, dtype=np.float32))
    outputs = tagger.outputs
    records = ak.contents.RecordArray([float32] * len(outputs), [output.name for output in outputs], length=0)
    jets = ak.contents.IndexedOptionArray(ak.index.Index64(np.empty(0, dtype=np.int64)), records)
    empty = ak.contents.ListOffsetArray(ak.index.Index64(np.zeros(1, dtype=np.int64)), jets)
    if lists.is_option:
        empty = ak.contents.IndexedOptionArray(ak.index.Index64(np.empty(0, dtype=np.int64)), empty)
    return ak.Array(empty.to_typetracer(forget_length=True))
