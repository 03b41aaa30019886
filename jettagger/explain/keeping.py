"""Numbers of finished chunks beside an output until it is complete, so that interrupted explanations go on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief, in_full
from jettagger.explain.collecting import JetNumbers
from jettagger.files import complete_or_absent
from jettagger.files.jsonfile import parse_json
from jettagger.files.resuming import LOCK, ResumeWarning, lock_folder, resume_folder

__all__ = ["KeptNumbers"]

_PARTS = ("signed", "absolute", "maps", "checks", "columns")


class KeptNumbers(Brief):
    """The folder ``OUTPUT.resume`` with the numbers of finished chunks.

    Parameters
    ----------
    output : path
        The output of the explanation.
    key : mapping
        What the numbers depend on, for JSON: model, target, method, files and the code. Numbers of another key are
        discarded.

    Attributes
    ----------
    taken : int
        Chunks that an earlier run has finished.

    Raises
    ------
    OutputError
        If another run is writing the same output.

    Warns
    -----
    ResumeWarning
        If there are chunks of an earlier run: whether they are used.
    """

    def __init__(self, output: str | os.PathLike[str], key: Mapping[str, Any]) -> None:
        self.folder = resume_folder(output)
        name = hashlib.sha256(json.dumps(key, sort_keys=True, default=in_full).encode()).hexdigest()[:24]
        self._place = self.folder / name
        self._lock: Any = None
        self.taken = 0
        if self.folder.is_dir():
            self._lock = lock_folder(self.folder)
            others = [path for path in self.folder.iterdir() if path.name not in (LOCK, name)]
            for path in others:
                shutil.rmtree(path, ignore_errors=True)
            self.taken = len(list(self._place.glob("*.npz")))
            if self.taken:
                text = f"{self.taken} chunks were finished by an earlier run and are taken from there"
                warnings.warn(f"{self.folder}: {text}", ResumeWarning, stacklevel=2)
            if others:
                text = "finished chunks are dropped: files, model, options or code have changed since"
                warnings.warn(f"{self.folder}: {text}", ResumeWarning, stacklevel=2)

    def _path(self, sample: int, chunk: int) -> Path:
        return self._place / f"{sample}-{chunk:06d}.npz"

    def get(self, sample: int, chunk: int) -> JetNumbers | None:
        """The numbers of a chunk; None if there are none, or if they are damaged."""
        path = self._path(sample, chunk)
        try:
            with np.load(path, allow_pickle=False) as content:
                arrays = {name: content[name] for name in content.files}
            note = parse_json(bytes(arrays.pop("note")), str(path), kind=dict)
            parts: dict[str, dict[str, Any]] = {name: {} for name in _PARTS}
            for name, array in arrays.items():
                part, slash, key = name.partition("/")
                if slash:
                    parts[part][key] = array
            names = {title: tuple(things) for title, things in note["names"].items()}
            return JetNumbers(arrays["jets"], arrays["outputs"], names, remarks=tuple(note["remarks"]), **parts)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):  # it is made again
            return None

    def put(self, sample: int, chunk: int, numbers: JetNumbers) -> None:
        """Store the numbers of a chunk.

        Warns
        -----
        ResumeWarning
            If the disk does not allow it.
        """
        note = {"names": {title: list(things) for title, things in numbers.names.items()}, "remarks": numbers.remarks}
        arrays = {"jets": numbers.jets, "outputs": numbers.outputs}
        arrays["note"] = np.frombuffer(json.dumps(note).encode(), dtype=np.uint8)
        for part in _PARTS:
            arrays |= {f"{part}/{key}": array for key, array in getattr(numbers, part).items()}
        try:
            self.folder.mkdir(exist_ok=True)
            if self._lock is None:
                self._lock = lock_folder(self.folder)
            self._place.mkdir(exist_ok=True)
            with complete_or_absent(self._path(sample, chunk)) as part_path, part_path.open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
        except OSError as error:
            warnings.warn(f"finished chunks are not kept in {self.folder}: {error}", ResumeWarning, stacklevel=2)

    def finished(self) -> int:
        """Number of chunks that are stored."""
        return len(list(self._place.glob("*.npz")))

    def drop(self) -> None:
        """Remove the folder: the output is complete, or nothing is to be kept."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.close()

    def close(self) -> None:
        """End the lock; without finished chunks, remove the folder."""
        if self.folder.is_dir() and not self.finished():
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()


guard(globals())
