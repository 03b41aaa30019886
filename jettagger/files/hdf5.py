"""HDF5 files on disk: one way to open, read and make them, common wording of errors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.errors import InputFileError, JettaggerError, OutputError, reason_of, require
from jettagger.files.atomic import complete_or_absent, refuse_special

__all__ = ["NOTE", "hdf5_note", "intact", "new_hdf5", "open_hdf5", "read_rows"]

#: attribute of the file that has the provenance
NOTE = "jettagger"

#: what h5py raises for bytes that are not what they should be
_DAMAGED = (OSError, RuntimeError, ValueError, KeyError, TypeError)


@contextmanager
def open_hdf5(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a local HDF5 file for reading.

    Parameters
    ----------
    path : path

    Yields
    ------
    h5py.File

    Raises
    ------
    MissingExtra
        If h5py is not installed.
    InputFileError
        If it is missing, not a regular file, or not readable.
    """
    h5py = require("h5py", "hdf5", "reading HDF5 files")
    text = os.fspath(path)
    refuse_special(text)
    if not Path(text).is_file():
        raise InputFileError(f"no such file: {text}")
    try:
        file = h5py.File(text, "r")
    except _DAMAGED as error:
        raise InputFileError(
            f"{text} is not a readable HDF5 file (truncated or damaged?): {reason_of(error)}"
        ) from error
    with file:
        yield file


@contextmanager
def intact(path: str | os.PathLike[str]) -> Iterator[None]:
    """Errors of HDF5 in the block, which looks at groups and datasets, are those of a damaged file.

    Parameters
    ----------
    path : path

    Raises
    ------
    InputFileError

    Examples
    --------
    >>> with intact("a.h5"):
    ...     raise RuntimeError("incorrect metadata checksum")
    Traceback (most recent call last):
        ...
    jettagger.errors.InputFileError: a.h5: cannot read its layout (truncated or damaged?): incorrect metadata checksum
    """
    try:
        yield
    except JettaggerError:
        raise
    except _DAMAGED as error:
        raise InputFileError(f"{path}: cannot read its layout (truncated or damaged?): {reason_of(error)}") from error


def read_rows(dataset: Any, start: int, stop: int) -> Any:
    """The rows of a dataset.

    Parameters
    ----------
    dataset : h5py.Dataset
    start, stop : int

    Returns
    -------
    numpy.ndarray

    Raises
    ------
    InputFileError
        If they cannot be read.
    """
    try:
        return dataset[start:stop]
    except _DAMAGED as error:
        raise InputFileError(
            f"{dataset.file.filename}: cannot read rows {start} to {stop - 1} of {dataset.name.strip('/')} "
            f"(truncated or damaged?): {reason_of(error)}"
        ) from error


@contextmanager
def new_hdf5(path: str | os.PathLike[str], note: str, *, force: bool = False) -> Iterator[Any]:
    """Make an HDF5 file, complete or not at all, with the provenance as an attribute.

    Parameters
    ----------
    path : path
    note : str
        JSON text of the provenance.
    force : bool
        Whether an existing file may be replaced.

    Yields
    ------
    h5py.File
        For writing.

    Raises
    ------
    MissingExtra
        If h5py is not installed.
    OutputError
        If it exists and ``force`` is not given, or cannot be written.
    """
    h5py = require("h5py", "hdf5", "writing HDF5 files")
    with complete_or_absent(path, force=force) as part:
        # HDF5 1.8 and later read it; the first version limits attributes to 64 kB, less than a long list of files
        file = h5py.File(part, "w", libver=("v108", "v108"))
        try:
            # of fixed length: damaged heaps, where texts of any length lie, can keep HDF5 busy for ever
            file.attrs[NOTE] = np.bytes_(note.encode())
            yield file
        except BaseException:
            with suppress(RuntimeError, OSError):
                file.close()
            raise
        try:
            file.close()
        except RuntimeError as error:  # what h5py makes of a full disk
            raise OutputError(f"cannot write {path} completely: {reason_of(error)}") from error


def hdf5_note(path: str | os.PathLike[str]) -> str:
    """The provenance of a file.

    Parameters
    ----------
    path : path

    Returns
    -------
    str
        JSON; empty if there is none.

    Raises
    ------
    InputFileError
        If the file cannot be read.
    """
    with open_hdf5(path) as file, intact(path):
        note = file.attrs.get(NOTE, b"")
        return note.decode() if isinstance(note, bytes) else ""
