"""Checkpoints of the networks of a training beside its output, until that is complete.

A folder ``OUTPUT.resume`` has a file for each network. The name of the file ends with a digest of everything that the
training depends on: after any change it is not used.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jettagger.display import Brief
from jettagger.files.resuming import ResumeWarning, lock_folder, resume_folder

__all__ = ["KeptCheckpoints", "checkpoints_kept", "drop_checkpoints", "kept_checkpoints"]

_SUFFIX = ".pt"


def checkpoints_kept(output: str | os.PathLike[str]) -> int:
    """Number of stored checkpoints of an output."""
    return len(list(resume_folder(output).glob(f"*{_SUFFIX}")))


def drop_checkpoints(output: str | os.PathLike[str]) -> None:
    """Remove the stored checkpoints of an output.

    Raises
    ------
    OutputError
        If another run is currently writing the same output.
    """
    if resume_folder(output).is_dir():
        KeptCheckpoints(output).drop()


class KeptCheckpoints(Brief):
    """The checkpoints of the networks of an output. The folder is made when the first path is asked for.

    Parameters
    ----------
    output : path
    subjects : collection of str
        Digest of what each training depends on. Files of other trainings are removed.
    depends_on : str
        What that is, in words.

    Raises
    ------
    OutputError
        If another run is currently writing the same output.

    Warns
    -----
    ResumeWarning
        If there are checkpoints of an earlier run: whether they are used, or discarded because something has changed.
    """

    def __init__(self, output: str | os.PathLike[str], subjects: Collection[str] = (), depends_on: str = "") -> None:
        self.folder = resume_folder(output)
        self._lock: Any = None
        if not self.folder.is_dir():
            return
        self._lock = lock_folder(self.folder)
        marks = tuple(_mark(subject) for subject in subjects)
        stored = sorted(self.folder.glob(f"*{_SUFFIX}"))
        other = [path for path in stored if not path.stem.endswith(marks)]
        for path in other:
            path.unlink()
        if len(stored) > len(other):
            number = len(stored) - len(other)
            text = "the training goes on where an earlier run was interrupted"
            text = f"{text} ({number} network{'s' * (number > 1)})"
            warnings.warn(f"{self.folder}: {text}", ResumeWarning, stacklevel=3)
        elif other and subjects:
            text = f"checkpoints are dropped: {depends_on} have changed since"
            warnings.warn(f"{self.folder}: {text}", ResumeWarning, stacklevel=3)

    def path(self, name: str, subject: str) -> Path:
        """The file of a network; its folder is made if necessary.

        Parameters
        ----------
        name : str
            Name of the network among those of the output.
        subject : str
            Digest of what its training depends on.

        Returns
        -------
        pathlib.Path
        """
        self.folder.mkdir(exist_ok=True)
        if self._lock is None:
            self._lock = lock_folder(self.folder)
        return self.folder / f"{name}{_mark(subject)}{_SUFFIX}"

    def drop(self) -> None:
        """Remove the folder: the output is complete, or nothing is to be kept."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.close()

    def leave(self) -> None:
        """Keep the checkpoints; without any, remove the folder."""
        if not list(self.folder.glob(f"*{_SUFFIX}")):
            shutil.rmtree(self.folder, ignore_errors=True)
        self.close()

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


@contextmanager
def kept_checkpoints(
    output: str | os.PathLike[str], subjects: Collection[str], depends_on: str
) -> Iterator[KeptCheckpoints | None]:
    """The checkpoints of an output, removed if the block ends without an error.

    Around the block that writes the output, so that they are removed after it is complete.

    Parameters
    ----------
    output, subjects, depends_on
        As for `KeptCheckpoints`; without any subject, nothing is stored.

    Yields
    ------
    KeptCheckpoints or None
    """
    if not subjects:
        yield None
        return
    kept = KeptCheckpoints(output, subjects, depends_on)
    try:
        yield kept
    except BaseException:
        kept.leave()
        raise
    kept.drop()


def _mark(subject: str) -> str:
    return f"-{subject[:32]}"
