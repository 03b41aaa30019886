"""Checkpoints of the networks of a head, stored next to it until it is complete, so that a training can resume.

A folder ``HEAD.resume`` contains a file for each network. Its name has a digest of everything that the training depends
on: configuration, skims (path, size, modification time), parent and code. After any change it is not used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from jettagger.bundles.bundle import Bundle
from jettagger.finetuning.config import FinetuneConfig
from jettagger.finetuning.prepare import SkimSurvey
from jettagger.runtime.codedigest import code_digest, digest_of
from jettagger.skims.resume import ResumeWarning, lock_folder, resume_folder

__all__ = ["Checkpoints", "checkpoints_beside", "checkpoints_kept", "drop_checkpoints", "training_subject"]

_SUFFIX = ".pt"

#: packages whose code a training depends on, and which do not count for scores
_CODE = ("decorrelation", "discriminants", "finetuning", "skims", "training")


def training_subject(config: FinetuneConfig, bundle: Bundle, found: SkimSurvey) -> str:
    """Digest of what a training depends on.

    Parameters
    ----------
    config : FinetuneConfig
    bundle : Bundle
        The parent.
    found : SkimSurvey

    Returns
    -------
    str
    """
    skims = []
    for skim in found.skims:
        status = os.stat(skim.path)
        skims.append([os.path.abspath(skim.path), status.st_size, status.st_mtime_ns])
    code = [code_digest(), *(digest_of(files("jettagger") / name) for name in _CODE)]
    libraries = [version("torch"), version("numpy")]
    content = [config.document.digest, bundle.digest, skims, code, libraries]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def checkpoints_kept(output: str | os.PathLike[str]) -> int:
    """Number of stored checkpoints of a head."""
    return len(list(resume_folder(output).glob(f"*{_SUFFIX}")))


def drop_checkpoints(output: str | os.PathLike[str]) -> None:
    """Remove the stored checkpoints of a head.

    Raises
    ------
    OutputError
        If another run is currently writing the same head.
    """
    if resume_folder(output).is_dir():
        Checkpoints(output, "").drop()


class Checkpoints:
    """The checkpoints of the networks of a head.

    Parameters
    ----------
    output : path
        Folder of the head.
    subject : str
        Digest of what the training depends on, see `training_subject`.

    Raises
    ------
    OutputError
        If another run is currently writing the same head.

    Warns
    -----
    ResumeWarning
        If there are checkpoints of an earlier run: whether they are used, or discarded because something has changed.
    """

    def __init__(self, output: str | os.PathLike[str], subject: str) -> None:
        self.folder = resume_folder(output)
        self.subject = subject
        self._lock: Any = None
        if not self.folder.is_dir():
            return
        self._lock = lock_folder(self.folder)
        stored = sorted(self.folder.glob(f"*{_SUFFIX}"))
        other = [path for path in stored if not path.stem.endswith(self._mark)]
        for path in other:
            path.unlink()
        if len(stored) > len(other):
            text = f"the training goes on where an earlier run was interrupted ({len(stored) - len(other)} networks)"
            warnings.warn(f"{self.folder}: {text}", ResumeWarning, stacklevel=3)
        elif other and subject:
            text = "checkpoints are dropped: skims, parent, configuration or code have changed since"
            warnings.warn(f"{self.folder}: {text}", ResumeWarning, stacklevel=3)

    @property
    def _mark(self) -> str:
        return f"-{self.subject[:32]}"

    def path(self, name: str) -> Path:
        """The file of a network; its folder is made if necessary.

        Parameters
        ----------
        name : str
            Name of the network among those of the head.

        Returns
        -------
        pathlib.Path
        """
        self.folder.mkdir(exist_ok=True)
        if self._lock is None:
            self._lock = lock_folder(self.folder)
        return self.folder / f"{name}{self._mark}{_SUFFIX}"

    def drop(self) -> None:
        """Remove the folder: the head is complete, or nothing is to be kept."""
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
def checkpoints_beside(output: str | os.PathLike[str], subject: str) -> Iterator[Checkpoints | None]:
    """The checkpoints of a head, removed if the block ends without an error.

    Parameters
    ----------
    output : path
        Folder of the head.
    subject : str
        As for `Checkpoints`; if it is empty, nothing is stored.

    Yields
    ------
    Checkpoints or None
    """
    if not subject:
        yield None
        return
    kept = Checkpoints(output, subject)
    try:
        yield kept
    except BaseException:
        kept.leave()
        raise
    kept.drop()
