"""Writing of skims: one row per event, as parquet or as a ROOT tree, complete or absent."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.errors import ConfigError, OutputError, hint, output_exists
from jettagger.files import complete_or_absent, refuse_inputs
from jettagger.files.generated import RUNS, merged_rows, sources_of_note
from jettagger.files.parquet import METADATA
from jettagger.files.parts import remove_stale
from jettagger.files.root import write_tree

__all__ = ["SUFFIXES", "check_target", "write_skim"]

SUFFIXES = (".parquet", ".root")


def check_target(
    path: str | os.PathLike[str], *, force: bool = False, inputs: Iterable[str | os.PathLike[str]] = ()
) -> Path:
    """Refuse an output that cannot be written, before any work is done.

    Parameters
    ----------
    path : path
    force : bool
        Whether an existing file may be replaced.
    inputs : iterable of path
        The files that it is made from; none of them may be the output.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ConfigError
        If the suffix is not known.
    OutputError
        If the folder is missing or not writable, or if the file exists or is an input.
    """
    refuse_inputs(path, inputs)
    target = Path(path)
    if target.suffix not in SUFFIXES:
        raise ConfigError(
            f"output {target}: suffix {target.suffix!r}{hint(target.suffix, SUFFIXES)}, expected "
            f"{' or '.join(SUFFIXES)}"
        )
    if target.is_dir():
        raise OutputError(f"cannot write {target}: it is a folder, expected the name of a file")
    if not target.parent.is_dir():
        raise OutputError(f"cannot write {target}: the folder {target.parent} does not exist")
    if not os.access(target.parent, os.W_OK):
        raise OutputError(f"cannot write {target}: the folder {target.parent} is not writable")
    remove_stale(target.parent)
    if target.exists() and not force:
        raise output_exists(target)
    return target


def write_skim(
    path: str | os.PathLike[str],
    chunks: Iterable[Mapping[str, Any]],
    metadata: str,
    *,
    force: bool = False,
    inputs: Iterable[str | os.PathLike[str]] = (),
) -> int:
    """Write chunks of flat columns as one file.

    Parameters
    ----------
    path : path
        ``.parquet`` or ``.root``.
    chunks : iterable of mapping of str to array
        At least one chunk, all with the same columns; entries may be None.
    metadata : str
        JSON on how the file was made; stored in the file. Its generated events (`jettagger.files.generated`) are also
        written as a tree ``Runs`` in a ROOT file.
    force : bool
        Whether an existing file may be replaced.
    inputs : iterable of path
        The files that it is made from; none of them may be the output.

    Returns
    -------
    int
        Number of events written.

    Raises
    ------
    OutputError
        If it cannot be written completely, or there is no chunk, or one without columns; nothing is left then.
    """
    target = check_target(path, force=force, inputs=inputs)
    with complete_or_absent(target, force=force) as part:
        write = _write_parquet if target.suffix == ".parquet" else _write_root
        return write(part, _any(chunks, target), metadata)


def _any(chunks: Iterable[Mapping[str, Any]], target: Path) -> Iterator[Mapping[str, Any]]:
    """These chunks, of which there must be one with columns: a file without a tree or a schema is no skim."""
    empty = True
    for number, chunk in enumerate(chunks):
        if not chunk:
            raise OutputError(f"{target}: chunk {number} has no columns, expected at least one")
        empty = False
        yield chunk
    if empty:
        raise OutputError(f"{target}: got no chunk to write, expected at least one, with columns; it may have no rows")


def _write_parquet(part: Path, chunks: Iterable[Mapping[str, Any]], metadata: str) -> int:
    import pyarrow
    import pyarrow.parquet

    n_events = 0
    writer = None
    try:
        for chunk in chunks:
            table = _table(chunk)
            if writer is None:
                schema = table.schema.with_metadata({METADATA: metadata})
                writer = pyarrow.parquet.ParquetWriter(part, schema, compression="zstd", write_page_checksum=True)
            try:
                fitting = table.cast(writer.schema)
            except ValueError as error:  # other types, other columns
                raise OutputError(f"the chunks do not fit together: {error}") from error
            writer.write_table(fitting)
            n_events += table.num_rows
        if writer is not None:
            writer.close()
            writer = None
    finally:
        if writer is not None:  # an error is on its way; closing may fail too, on a full disk
            with suppress(OSError):
                writer.close()
    return n_events


def _counters(chunk: Mapping[str, Any]) -> dict[str, Any]:
    """The lengths of the lists of each collection, ``nFatJet``, by which coffea's schemas identify collections."""
    import awkward as ak

    counters: dict[str, Any] = {}
    for name, column in chunk.items():
        collection, _, field = name.partition("_")
        counter = f"n{collection}"
        if field and counter not in {**chunk, **counters} and ak.to_layout(column).is_list:
            counters[counter] = ak.Array(ak.to_numpy(ak.num(column, axis=1)).astype(np.int32))
    return counters


def _table(chunk: Mapping[str, Any]) -> Any:
    import awkward as ak
    import pyarrow

    fields, arrays = [], []
    for name, column in {**_counters(chunk), **chunk}.items():
        layout = ak.to_layout(column)
        array = ak.to_arrow(layout, list_to32=True, extensionarray=False)
        kind = array.type
        if pyarrow.types.is_list(kind):
            # said once for all chunks: which entries may be null does not depend on a chunk's content
            item = pyarrow.field("item", kind.value_type, nullable=layout.content.is_option)
            kind = pyarrow.list_(item)
        fields.append(pyarrow.field(name, kind, nullable=layout.is_option))
        arrays.append(array.cast(kind))
    return pyarrow.table(arrays, schema=pyarrow.schema(fields))


def _write_root(part: Path, chunks: Iterable[Mapping[str, Any]], metadata: str) -> int:
    return write_tree(
        part,
        ({name: _nan_for_none(column) for name, column in chunk.items()} for chunk in chunks),
        note=metadata,
        more={RUNS: merged_rows(sources_of_note(metadata))},
    )


def _nan_for_none(column: Any) -> Any:
    """ROOT trees have no missing values: None becomes NaN."""
    import awkward as ak

    array = ak.Array(column)
    layout = ak.to_layout(array)
    if layout.is_option:
        return ak.values_astype(ak.fill_none(array, np.float32(np.nan)), np.float32)
    if layout.is_list and layout.content.is_option:
        return ak.values_astype(ak.fill_none(array, np.float32(np.nan), axis=1), np.float32)
    return array


guard(globals())
