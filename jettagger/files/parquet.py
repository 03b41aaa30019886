"""Parquet files on disk: one way to open them, common wording of errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jettagger.errors import InputFileError, reason_of
from jettagger.files import refuse_special

__all__ = ["METADATA", "note_of", "open_parquet"]

#: key of the provenance in the metadata of a skim
METADATA = "jettagger"


def open_parquet(path: str) -> Any:
    """Open a local parquet file, whose pages are compared with their checksums when they are read.

    Parameters
    ----------
    path : str

    Returns
    -------
    pyarrow.parquet.ParquetFile

    Raises
    ------
    InputFileError
        If it is missing, not a regular file, or not readable.
    """
    import pyarrow
    import pyarrow.parquet

    refuse_special(path)
    if not Path(path).is_file():
        raise InputFileError(f"no such file: {path}")
    try:
        return pyarrow.parquet.ParquetFile(path, page_checksum_verification=True)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputFileError(
            f"{path} is not a readable parquet file (truncated or damaged?): {reason_of(error)}"
        ) from error


def note_of(schema: Any) -> str:
    """The provenance of a skim.

    Parameters
    ----------
    schema : pyarrow.Schema

    Returns
    -------
    str
        JSON; empty if there is none.
    """
    return (schema.metadata or {}).get(METADATA.encode(), b"").decode()
