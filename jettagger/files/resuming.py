"""The folder beside an output in which a job keeps its state until the output is complete, for one run at a time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jettagger.errors import OutputError

__all__ = ["LOCK", "ResumeWarning", "lock_folder", "resume_folder"]

#: name of the file in it that a run locks
LOCK = "lock"


class ResumeWarning(UserWarning):
    """The state of an earlier run is used or discarded."""


def resume_folder(output: str | os.PathLike[str]) -> Path:
    """The folder with the state of a job that writes an output.

    Parameters
    ----------
    output : path

    Returns
    -------
    pathlib.Path

    Examples
    --------
    >>> resume_folder("skims/scores.parquet").name
    'scores.parquet.resume'
    """
    target = Path(output)
    return target.with_name(f"{target.name}.resume")


def lock_folder(folder: Path) -> Any:
    """Lock a folder ``OUTPUT.resume`` for this process, until it ends or the returned file is closed.

    Parameters
    ----------
    folder : pathlib.Path

    Returns
    -------
    file, or None
        None if the system has no such locks.

    Raises
    ------
    OutputError
        If another run is currently writing the same output.
    """
    try:
        import fcntl
    except ImportError:  # not on Unix
        return None
    lock = (folder / LOCK).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise OutputError(f"{folder} is in use: another run is writing the same output") from error
    except OSError:  # a file system without locks
        pass
    return lock
