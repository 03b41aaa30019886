"""Data sets of whole events for networks that assign objects to particles, in coffea jobs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from coffea import processor
from jettagger.processors.tagging import chunk_key, in_order

from jettagger.arguments import guard
from jettagger.assignment import EventDescription, EventMapping
from jettagger.assignment.making import (
    InputCounts,
    InputMaker,
    check_output,
    dataset_writer,
    mixed,
    read_block,
    write_block,
)
from jettagger.display import Brief

__all__ = ["AssignmentInputsProcessor"]


class AssignmentInputsProcessor(Brief, processor.ProcessorABC):
    """Writes events as one data set, in the layout of SPANet or as parquet.

    Each chunk is stored beside the output; the last step writes all in the order of files and events, with data sets
    mixed, and removes them. The output does not depend on the executor, and is complete or absent.

    Parameters
    ----------
    output : path
        ``.h5``, ``.hdf5`` or ``.parquet``, on a disk that all workers see.
    event : EventDescription or path
        The event file.
    mapping : EventMapping or path
        Its mapping.
    force : bool
        Whether an existing file is replaced.

    Raises
    ------
    ConfigError
        If one of the files is not valid, or the suffix is not known.
    OutputError
        If the output exists already, or its folder does not.
    """

    def __init__(
        self,
        output: str | os.PathLike[str],
        event: EventDescription | str | os.PathLike[str],
        mapping: EventMapping | str | os.PathLike[str],
        force: bool = False,
    ) -> None:
        self.maker = InputMaker(event, mapping)
        self.output = check_output(output, force=force)
        self.force = force
        if self.chunks.is_dir():  # of a job that was stopped
            shutil.rmtree(self.chunks)

    @property
    def chunks(self) -> Path:
        """The folder of the chunks until all are written."""
        return self.output.with_name(f"{self.output.name}.chunks")

    def process(self, events: Any) -> dict[str, dict[str, Any]]:
        """Store the events of one chunk.

        Parameters
        ----------
        events : NanoEvents

        Returns
        -------
        dict
            Dataset -> ``counts`` (`jettagger.assignment.InputCounts`) and ``chunks``: place in a file -> stored chunk
            and the number of events that were read.

        Raises
        ------
        MissingColumns
            Lists all missing columns.
        """
        place = events.metadata
        dataset = str(place["dataset"])
        made = self.maker.made(events, dataset)
        name, first = chunk_key(place)
        self.chunks.mkdir(parents=True, exist_ok=True)
        path = self.chunks / f"{dataset.replace(os.sep, '_')}-{place['fileuuid']}-{first:012d}.npz"
        write_block(path, made.events)
        read = int(place["entrystop"]) - first
        return {dataset: {"counts": made.counts, "chunks": {(name, first): [(str(path), read)]}}}

    def postprocess(self, accumulator: dict[str, dict[str, Any]]) -> dict[str, InputCounts]:
        """Write the output.

        Parameters
        ----------
        accumulator : dict

        Returns
        -------
        dict
            Dataset -> counts.

        Raises
        ------
        MismatchError
            If a file was read twice.
        OutputError
            If the output cannot be written.
        """
        stored = {name: in_order(accumulator[name]["chunks"]) for name in sorted(accumulator)}
        files = sorted({file for result in accumulator.values() for file, _ in result["chunks"]})
        sizes = {name: [number for _, number in chunks] for name, chunks in stored.items()}
        with dataset_writer(self.output, self.maker, files, force=self.force) as writer:
            for events in mixed(sizes, lambda name, index: read_block(Path(stored[name][index][0]))):
                writer.append(events)
        shutil.rmtree(self.chunks, ignore_errors=True)
        return {name: accumulator[name]["counts"] for name in stored}


guard(globals(), "AssignmentInputsProcessor")
