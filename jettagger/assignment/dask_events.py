"""Assignment in dask-awkward collections: nothing runs while the graph is built, as the event file gives the form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jettagger.assignment.whole_events import empty_columns, named_vectors, refuse_taken
from jettagger.errors import require
from jettagger.formats import EventColumns

if TYPE_CHECKING:
    from jettagger.assignment.assigner import Assigner

__all__ = ["attached"]


def attached(assigner: Assigner, events: Any, prefix: str, embeddings: bool) -> Any:
    """The events of all partitions with what was found; see `Assigner.attach`.

    Parameters
    ----------
    assigner : Assigner
    events : dask-awkward collection
    prefix : str
    embeddings : bool

    Returns
    -------
    dask-awkward collection
    """
    dask_awkward = require("dask_awkward", "dask-awkward", "assignment in a dask-awkward collection")
    function = _Attach(assigner, prefix, embeddings)
    return dask_awkward.map_partitions(
        function, events, meta=function(events._meta), label=f"assign-{assigner.model.name}"
    )


class _Attach:
    """Events of one partition with what was found; for a typetracer, the touched columns and the form."""

    def __init__(self, assigner: Assigner, prefix: str, embeddings: bool) -> None:
        self.assigner = assigner
        self.prefix = prefix
        self.embeddings = embeddings

    def __call__(self, events: Any) -> Any:
        import awkward as ak

        assigner, prefix = self.assigner, self.prefix
        if ak.backend(events) != "typetracer":
            return assigner.attach(events, prefix=prefix, embeddings=self.embeddings)
        columns = EventColumns(events)
        for column in assigner.source.check(columns):
            ak.typetracer.touch_data(columns.array(column))
        refuse_taken(events.fields, assigner.event, prefix)
        behavior, vector = named_vectors(events.behavior)
        made = events
        for name, layout in empty_columns(assigner.event, prefix, assigner.columns(self.embeddings), vector).items():
            made = ak.with_field(made, ak.Array(layout.to_typetracer(forget_length=True)), name)
        if behavior is not None:
            made.behavior = behavior
        return made
