"""Data sets of whole events as parquet, with the paths of the HDF5 layout as names of columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jettagger.assignment.blocks import AssignmentEvents, offsets_of
from jettagger.display import Brief
from jettagger.errors import require
from jettagger.files.parquet import METADATA

if TYPE_CHECKING:
    from jettagger.assignment.making import InputMaker

__all__ = ["ParquetWriter"]


class ParquetWriter(Brief):
    """Writes blocks as row groups, with the paths of the HDF5 layout as names of columns.

    Parameters
    ----------
    path : pathlib.Path
    maker : InputMaker
        With the names and the numbers of slots.
    note : str
        Provenance, JSON.
    """

    def __init__(self, path: Path, maker: InputMaker, note: str) -> None:
        self.path, self.maker, self.note = path, maker, note
        self._writer: Any = None

    def __enter__(self) -> ParquetWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._writer is None and error is None:
            self.append(_nothing(self.maker))
        if self._writer is not None:
            self._writer.close()

    def append(self, events: AssignmentEvents) -> None:
        """Write a block of events.

        Parameters
        ----------
        events : AssignmentEvents
        """
        pyarrow = require("pyarrow", "", "writing parquet files")
        parquet = require("pyarrow.parquet", "", "writing parquet files")
        table = pyarrow.table(dict(self._columns(events, pyarrow)))
        if self._writer is None:
            schema = table.schema.with_metadata({METADATA: self.note})
            self._writer = parquet.ParquetWriter(self.path, schema, write_page_checksum=True)
        self._writer.write_table(table.cast(self._writer.schema))

    def _columns(self, events: AssignmentEvents, pyarrow: Any) -> Iterator[tuple[str, Any]]:
        for item in self.maker.event.inputs:
            values, mask = events.values[item.name], events.masks[item.name]
            paired = self.maker.pair_features.get(item.name, ())
            names = [name for name in item.feature_names if name not in paired]
            if item.kind == "global":
                yield f"INPUTS/{item.name}/MASK", pyarrow.array(mask[:, 0])
                for place, name in enumerate(names):
                    yield f"INPUTS/{item.name}/{name}", pyarrow.array(values[:, 0, place])
                continue
            offsets = pyarrow.array(np.concatenate([[0], np.cumsum(mask.sum(axis=1))]).astype(np.int32))
            for place, name in enumerate(names):
                content = pyarrow.array(values[..., place][mask])
                yield f"INPUTS/{item.name}/{name}", pyarrow.ListArray.from_arrays(offsets, content)
            both, number = mask[:, :, None] & mask[:, None], mask.sum(axis=1)
            inner = pyarrow.array(np.concatenate([[0], np.cumsum(np.repeat(number, number))]).astype(np.int32))
            for place, name in enumerate(paired):
                content = pyarrow.array(events.pair_values[item.name][..., place][both])
                rows = pyarrow.ListArray.from_arrays(inner, content)
                yield f"INPUTS/{item.name}/{name}", pyarrow.ListArray.from_arrays(offsets, rows)
        if not self.maker.labels:
            return
        offsets_in_file = offsets_of(self.maker.event, self.maker.slots)
        for particle in self.maker.event.particles:
            name = particle.name
            for place, daughter in enumerate(particle.daughters):
                index = events.targets[name][:, place]
                shift = offsets_in_file[daughter.source] if daughter.source else 0
                yield f"TARGETS/{name}/{daughter.name}", pyarrow.array(np.where(index >= 0, index - shift, -1))
            yield f"TARGETS/{name}/MASK", pyarrow.array(events.target_masks[name])
            yield f"TARGETS/{name}/WEIGHT", pyarrow.array(events.weights[name])
        for path, numbers in events.event_weights.items():
            yield f"WEIGHTS/{path}", pyarrow.array(numbers)
        for path, numbers in events.regressions.items():
            yield f"REGRESSIONS/{path}", pyarrow.array(numbers)
        for path, numbers in events.classifications.items():
            yield f"CLASSIFICATIONS/{path}", pyarrow.array(numbers)


def _nothing(maker: InputMaker) -> AssignmentEvents:
    """No events, with all names."""
    slots, event, paired = maker.slots, maker.event, maker.pair_features
    values = {
        item.name: np.zeros((0, slots[item.name], len(item.features) - len(paired.get(item.name, ()))), np.float32)
        for item in event.inputs
    }
    masks = {item.name: np.zeros((0, slots[item.name]), bool) for item in event.inputs}
    pair_values = {
        name: np.zeros((0, slots[name], slots[name], len(features)), np.float32)
        for name, features in paired.items()
        if features
    }
    if not maker.labels:
        return AssignmentEvents(values, masks, pair_values=pair_values)
    weighted = maker.mapping.targets is not None and maker.mapping.targets.event_weight is not None
    return AssignmentEvents(
        values,
        masks,
        pair_values=pair_values,
        targets={item.name: np.zeros((0, len(item.daughters)), np.int64) for item in event.particles},
        regressions={path: np.zeros(0, np.float32) for path in event.regressions},
        classifications={path: np.zeros(0, np.int64) for path in event.classifications},
        event_weights={"EVENT": np.zeros(0, np.float32)} if weighted else {},
    )
