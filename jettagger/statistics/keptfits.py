"""Fits of signals that an interrupted command has finished, kept beside its output until this is complete."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jettagger._version import __version__
from jettagger.display import Brief
from jettagger.errors import InputFileError, OutputError
from jettagger.files import complete_or_absent
from jettagger.files.jsonfile import read_object
from jettagger.files.resuming import lock_folder, resume_folder
from jettagger.statistics.limits import Limit
from jettagger.statistics.searchfits import SearchFit

__all__ = ["KeptFits", "fit_digest", "kept_fits"]


def fit_digest(workspace: Mapping[str, Any], **options: Any) -> str:
    """Checksum of everything that the fit of a signal depends on.

    Parameters
    ----------
    workspace : mapping
        In pyhf's JSON format.
    **options
        Of the fit.

    Returns
    -------
    str

    Examples
    --------
    >>> fit_digest({"channels": []}, toys=1) == fit_digest({"channels": []}, toys=2)
    False
    """
    text = json.dumps([__version__, dict(workspace), options], sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()


class KeptFits(Brief):
    """Finished fits in a folder.

    Parameters
    ----------
    folder : pathlib.Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _place(self, digest: str) -> Path:
        return self.folder / f"{digest}.json"

    def get(self, digest: str) -> tuple[SearchFit, Limit] | None:
        """The fit and the limits with a checksum; None if there are none, or if they are damaged."""
        place = self._place(digest)
        if not place.is_file():
            return None
        try:
            content = read_object(place)
            limits = {**content["limit"], "expected": tuple(content["limit"]["expected"])}
            return SearchFit.from_dict(content["fit"]), Limit(**limits)
        except (InputFileError, KeyError, TypeError, ValueError):
            return None

    def put(self, digest: str, fitted: SearchFit, limits: Limit) -> None:
        """Keep a fit and its limits."""
        content = {"fit": fitted.to_dict(), "limit": asdict(limits)}
        with complete_or_absent(self._place(digest)) as part:
            part.write_text(json.dumps(content), encoding="utf-8")


@contextmanager
def kept_fits(target: Path) -> Iterator[KeptFits]:
    """Keep fits in ``TARGET.resume`` until the block ends without an error.

    Parameters
    ----------
    target : pathlib.Path
        The output.

    Yields
    ------
    KeptFits

    Raises
    ------
    OutputError
        If the folder cannot be written, or another run writes the same output.
    """
    folder = resume_folder(target)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {folder}: {error.strerror or error}") from error
    lock = lock_folder(folder)
    try:
        yield KeptFits(folder)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        if lock is not None:
            lock.close()
        if folder.is_dir() and not list(folder.glob("*.json")):  # nothing was fitted
            shutil.rmtree(folder, ignore_errors=True)
