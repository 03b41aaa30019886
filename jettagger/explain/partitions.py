"""Attributions of dask-awkward collections: nothing runs while the graph is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jettagger.explain.attribution import AttributionSettings, run
from jettagger.explain.columns import link_table
from jettagger.inputs.put_back import refuse_existing
from jettagger.tagging.dask_awkward import PartitionScores, mapped

__all__ = ["attributed"]


def attributed(settings: AttributionSettings, events: Any, where: Any) -> Any:
    """The events of all partitions with the columns of an attribution, see `jettagger.explain.attribute`."""
    return mapped(_Attribute(settings), events, where, label=f"explain-{settings.tagger.bundle.name}")


class _Attribute(PartitionScores):
    """Events of one partition with the columns."""

    def __init__(self, settings: AttributionSettings) -> None:
        super().__init__(settings.tagger)
        self.settings = settings

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        chosen = self.settings
        baseline = chosen.baseline
        values = () if baseline is None else tuple((n, v.tobytes()) for n, v in sorted(baseline.values.items()))
        own = (str(chosen.target), chosen.method, chosen.variables, chosen.prefix, values, getattr(baseline, "seed", 0))
        return ("jettagger.explain", chosen.tagger.__dask_tokenize__(), own, self.cut, self.masked)

    def _compute(self, events: Any, where: Any, kinematics: Mapping[str, Any]) -> Any:
        return run(self.settings, events, where)

    def _trace(self, events: Any, plan: Any) -> Any:
        import awkward as ak

        for family, names in self.settings.columns.items():
            table = plan.collection
            if family != "jet" and hasattr(plan, "format"):
                table = link_table(plan, family)
            owner = events[table] if table else events
            listed = family != "jet" and not hasattr(plan, "format")
            front = "part_" if listed and not table else ""
            refuse_existing(owner.fields, {name: f"{front}{column}" for name, column in names.items()}, table)
            values = _form(owner, nested=bool(table), listed=listed)
            for column in names.values():
                owner = ak.with_field(owner, values, f"{front}{column}")
            events = ak.with_field(events, owner, table) if table else owner
        return events


def _form(owner: Any, *, nested: bool, listed: bool) -> Any:
    """A typetracer of numbers or None for each record, in the lists of events, as numbers or as lists of numbers."""
    import awkward as ak

    nothing = ak.index.Index64(np.empty(0, dtype=np.int64))
    start = ak.index.Index64(np.zeros(1, dtype=np.int64))
    numbers: Any = ak.contents.NumpyArray(np.empty(0, dtype=np.float32))
    numbers = ak.contents.IndexedOptionArray(nothing, numbers)
    if listed:
        numbers = ak.contents.IndexedOptionArray(nothing, ak.contents.ListOffsetArray(start, numbers))
    if nested:
        lists = ak.to_layout(owner[owner.fields[0]])
        numbers = ak.contents.ListOffsetArray(start, numbers)
        if lists.is_option:
            numbers = ak.contents.IndexedOptionArray(nothing, numbers)
    return ak.Array(numbers.to_typetracer(forget_length=True))
