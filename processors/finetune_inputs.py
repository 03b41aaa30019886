"""Training skims for heads: tagger outputs, event columns and labels from generator particles, in a coffea job.

Labels are those of `jettagger.truth`, or from a user-defined function.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from coffea import processor
from jettagger.processors.tagging import chunk_key, in_order, plain_values, scored_columns, write_chunk

import jettagger as jt
from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import UnknownName
from jettagger.expressions.cutlogic import warn_doubt
from jettagger.heads import JetTable
from jettagger.truth import LEGS, generator_labels

__all__ = ["LEGS", "FinetuneInputsProcessor", "generator_labels"]

DERIVED = ("metDeltaPhi", "nLeptonsNear")


class FinetuneInputsProcessor(Brief, processor.ProcessorABC):
    """Scores jets, labels them from generator particles, and writes training skims as parquet.

    Parameters
    ----------
    model : str, path or Tagger
        Name of a model or its folder, or a tagger; the parent of the heads to be trained.
    output : path
        Folder in which a file is written for each chunk.
    where : str or callable, optional
        A cut in columns of the jets (``"pt > 300"``), or a function of the jets that returns a jagged bool mask; only
        these jets are scored and can be used for training.
    columns : iterable of str
        Kinds and names of outputs.
    keep : iterable of str
        Patterns of further columns of the jets and the event by their flat names, e.g. ``"FatJet_tau*"``, ``"MET_*"``.
    labels : callable or None
        Function of the events that returns columns of the jets; default: `generator_labels` of the jets of the model,
        within their radius. None writes no labels.
    options : TaggerOptions, optional
        Options of the tagger: heads, threads, score cache, collection of jets and others; a tagger has its own.

    Examples
    --------
    >>> import tempfile
    >>> FinetuneInputsProcessor("tinyParT", tempfile.mkdtemp()).keep
    ('MET_pt', 'MET_phi')
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | jt.Tagger,
        output: str | os.PathLike[str],
        where: str | Callable[[Any], Any] | None = None,
        columns: Iterable[str] = ("prob", "mass", "regression", "hidden"),
        keep: Iterable[str] = ("MET_pt", "MET_phi"),
        labels: Callable[[Any], dict[str, Any]] | None = generator_labels,
        options: jt.TaggerOptions | None = None,
    ) -> None:
        self.tagger = jt.load_tagger(model, options)
        self.output = Path(output)
        warn_doubt(where)
        self.where = where
        self.columns = tuple(columns)
        self.keep = tuple(keep)
        self.labels = labels
        self.names = self.tagger.column_names(self.columns)

    def process(self, events: Any) -> dict[str, dict[str, Any]]:
        """Write one chunk.

        Parameters
        ----------
        events : NanoEvents

        Returns
        -------
        dict
            Dataset -> ``events`` and ``jets`` (counts) and ``chunks``: place in a file -> file written.

        Raises
        ------
        MissingColumns
            If there are no generator particles.
        UnknownName
            If a pattern to keep matches no column.
        """
        plan: Any = self.tagger.plan(events)
        collection = plan.collection
        _, content = scored_columns(self.tagger, events, collection, self.where, self.columns)
        table = JetTable(events, collection=collection)
        for name in DERIVED:
            if table.has(f"{collection}_{name}"):
                values = table.values(f"{collection}_{name}").astype(np.float32)
                content[f"{collection}_{name}"] = ak.unflatten(values, table.counts)
        content |= self._kept(events, table.names, collection)
        if self.labels is generator_labels:
            labels = generator_labels(events, radius=plan.format.radius, collection=collection)
        else:
            labels = {} if self.labels is None else self.labels(events)
        for name, values in labels.items():
            content[f"{collection}_{name}"] = values
        place = events.metadata
        path = write_chunk(self.output, content, self.tagger, self.names, self.where, place)
        return {place["dataset"]: {"events": len(events), "jets": table.n_jets, "chunks": {chunk_key(place): [path]}}}

    def _kept(self, events: Any, names: list[str], jets: str) -> dict[str, ak.Array]:
        found = {}
        for pattern in self.keep:
            matching = [name for name in names if fnmatchcase(name, pattern)]
            if not matching:
                raise UnknownName("column to keep", pattern, names, "these events")
            for name in matching:
                collection, _, field = name.partition("_")
                array = events[name] if name in events.fields else events[collection, field]
                if collection == jets or array.ndim == 1:
                    found[name] = plain_values(array)
        return found

    def postprocess(self, accumulator: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Sort the files in the order of the events, independent of the order of the workers.

        Parameters
        ----------
        accumulator : dict

        Returns
        -------
        dict
            Dataset -> ``events``, ``jets`` and ``files`` (list of str).

        Raises
        ------
        MismatchError
            If a file was read twice.
        """
        for result in accumulator.values():
            result["files"] = in_order(result.pop("chunks"))
        return accumulator


guard(globals(), "FinetuneInputsProcessor")
