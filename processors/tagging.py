"""Tagging of the jets of datasets in a coffea job."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import awkward as ak
from coffea import processor

import jettagger as jt
from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import OutputError
from jettagger.expressions.cutlogic import CutWarning, warn_doubt
from jettagger.files import refuse_repeats
from jettagger.files.generated import read_sources
from jettagger.provenance import provenance_of
from jettagger.skims.columns import EVENT_COLUMNS, JET_COLUMNS

__all__ = ["TaggingProcessor"]


class TaggingProcessor(Brief, processor.ProcessorABC):
    """Scores jets and collects the columns, or writes them as parquet files.

    Parameters
    ----------
    model : str, path or Tagger
        Name of a model or its folder, as `jettagger.load_tagger` takes it, or a tagger.
    where : str or callable, optional
        A cut in columns of the model's jets (``"pt > 300"``), or a function of the jets that returns a jagged mask
        (``lambda jets: jets.pt > 300``); only these jets are scored. A function is sent to the workers and must be
        picklable (a plain function, or a lambda with coffea's cloudpickle).
    columns : iterable of str
        Kinds and names of outputs, as for `jettagger.Tagger.attach`.
    prefix : str, optional
        Prefix of the columns; default: that of the model.
    output : path, optional
        Folder in which a parquet file is written for each chunk; the result lists the files. Without it the result
        contains the columns themselves.
    options : TaggerOptions, optional
        Options of the tagger: heads, threads, score cache, collection of jets and others; a tagger has its own.

    Raises
    ------
    OutputError
        If ``output`` is an empty path.

    Examples
    --------
    >>> TaggingProcessor("tinyParT", columns=["prob", "mass"]).columns
    ('prob', 'mass')
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | jt.Tagger,
        where: str | Callable[[Any], Any] | None = None,
        columns: Iterable[str] = ("prob", "mass", "regression", "hidden"),
        prefix: str | None = None,
        output: str | os.PathLike[str] | None = None,
        options: jt.TaggerOptions | None = None,
    ) -> None:
        self.tagger = jt.load_tagger(model, options)
        warn_doubt(where)
        self.where = where
        self.columns = tuple(columns)
        self.prefix = prefix
        if output is not None and not os.fspath(output):
            raise OutputError("TaggingProcessor(), argument output: got an empty path, expected a folder, or None")
        self.output = None if output is None else Path(output)
        self.names = self.tagger.column_names(self.columns, prefix)

    def process(self, events: Any) -> dict[str, dict[str, Any]]:
        """Score one chunk.

        Parameters
        ----------
        events : NanoEvents

        Returns
        -------
        dict
            Dataset -> ``events`` and ``jets`` (counts) and ``chunks``: for each chunk of a file its columns, or the
            file with the columns.
        """
        collection = self.tagger.plan(events).collection
        tagged, content = scored_columns(self.tagger, events, collection, self.where, self.columns, self.prefix)
        place = events.metadata
        chunk: Any = content
        if self.output is not None:
            chunk = write_chunk(self.output, content, self.tagger, self.names, self.where, place)
        n_jets = int(ak.sum(ak.num(tagged[collection].pt)))
        return {place["dataset"]: {"events": len(events), "jets": n_jets, "chunks": {chunk_key(place): [chunk]}}}

    def postprocess(self, accumulator: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Sort the chunks in the order of files and events, independent of the order of the workers.

        Parameters
        ----------
        accumulator : dict

        Returns
        -------
        dict
            Dataset -> ``events``, ``jets``, and ``columns`` (flat name -> awkward array) or ``files`` (list of str).

        Raises
        ------
        MismatchError
            If a file was read twice.
        """
        for result in accumulator.values():
            chunks = in_order(result.pop("chunks"))
            if self.output is not None:
                result["files"] = chunks
            else:
                result["columns"] = {name: ak.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
        return accumulator


def scored_columns(
    tagger: jt.Tagger,
    events: Any,
    collection: str,
    where: str | Callable[[Any], Any] | None,
    columns: Iterable[str],
    prefix: str | None = None,
) -> tuple[Any, dict[str, ak.Array]]:
    """Score one chunk.

    Parameters
    ----------
    tagger : Tagger
    events : NanoEvents
    collection : str
        The collection of jets.
    where, columns, prefix
        As for `TaggingProcessor`.

    Returns
    -------
    events : NanoEvents
        With the columns of the tagger.
    content : dict of str to awkward array
        Flat name -> values: `EVENT_COLUMNS` and `JET_COLUMNS`, if available, and the scores.
    """
    mask = where(events[collection]) if callable(where) else where
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CutWarning)  # it was said when the processor was made
        tagged = tagger.attach(events, where=mask, prefix=prefix, columns=columns)
    jets = tagged[collection]
    content = {name: plain_values(tagged[name]) for name in EVENT_COLUMNS if name in tagged.fields}
    for name in [*JET_COLUMNS, *tagger.column_names(columns, prefix).values()]:
        if name in jets.fields:
            content[f"{collection}_{name}"] = plain_values(jets[name])
    return tagged, content


def chunk_key(place: Mapping[str, Any]) -> tuple[str, int]:
    """File and first event of a chunk, from its metadata."""
    return str(place["filename"]), int(place["entrystart"])


def write_chunk(
    folder: Path,
    content: Mapping[str, Any],
    tagger: jt.Tagger,
    names: Mapping[str, str],
    where: str | Callable[[Any], Any] | None,
    place: Mapping[str, Any],
) -> str:
    """Write the columns of a chunk, with its provenance and its generated events.

    Parameters
    ----------
    folder : pathlib.Path
        Created if it does not exist.
    content : mapping of str to array
        Flat columns.
    tagger : Tagger
    names : mapping of str to str
        Output -> column.
    where : str, callable or None
    place : mapping
        Metadata of the chunk from coffea.

    Returns
    -------
    str
        The file.
    """
    name, first = chunk_key(place)
    sources = read_sources(name, place.get("treename", "Events"), first, place["entrystop"])
    record = provenance_of(tagger, names, where, [name], generated=sources).text
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{place['dataset']}-{place['fileuuid']}-{first:012d}.parquet"
    jt.write_skim(path, [content], record, force=True, inputs=[name])
    return str(path)


def in_order(chunks: Mapping[tuple[str, int], list[Any]]) -> list[Any]:
    """The chunks in the order of files and events.

    Parameters
    ----------
    chunks : mapping
        File and first event -> results of each time that this chunk was processed.

    Returns
    -------
    list

    Raises
    ------
    MismatchError
        If a file was read twice, also by different names.
    """
    refuse_repeats({name for name, _ in chunks})
    for (name, _), found in chunks.items():
        refuse_repeats([name] * len(found))
    return [found[0] for _, found in sorted(chunks.items())]


def plain_values(array: Any) -> ak.Array:
    """The values in memory, without behaviours and attributes of the file.

    Parameters
    ----------
    array : awkward array

    Returns
    -------
    awkward array
    """
    layout = ak.to_layout(ak.to_packed(ak.materialize(array)))
    return ak.Array(ak.without_parameters(layout, highlevel=False))


guard(globals())
