"""Scores of finished inputs, stored next to an output until it is complete, so that interrupted jobs can resume.

A folder ``OUTPUT.resume`` contains a folder for each finished input: its chunks as written to the output, bit for bit,
their reports, and the checksums of both. Its name is a digest of everything that the scores depend on: the input
(path, size, modification time, chunks), the model, the options and the code. After any change it is not found.
`kept_inputs` opens the folder for a job, `resumed` takes chunks from there or makes them.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.display import Brief
from jettagger.errors import InputFileError, OutputError
from jettagger.files import SEPARATOR, complete_or_absent
from jettagger.files.jsonfile import parse_json, read_object
from jettagger.files.parts import forget, remember
from jettagger.files.resuming import LOCK, ResumeWarning, lock_folder, resume_folder
from jettagger.report import Report
from jettagger.skims.jobs import Chunk

__all__ = [
    "Finished",
    "drop_finished",
    "finished_inputs",
    "kept_inputs",
    "resumed",
    "source_digest",
]

_DONE = "done.json"


def finished_inputs(output: str | os.PathLike[str]) -> int:
    """Number of stored finished inputs of an output."""
    return len(list(resume_folder(output).glob(f"*/{_DONE}")))


def drop_finished(output: str | os.PathLike[str]) -> None:
    """Remove the stored inputs of an output.

    Raises
    ------
    OutputError
        If another run is currently writing the same output.
    """
    if resume_folder(output).is_dir():
        Finished(output, (), "").drop()


class Finished(Brief):
    """The finished inputs of a job.

    Parameters
    ----------
    output : path
        The output of the job.
    chunks : iterable of Chunk
        All chunks of the job, grouped by input.
    key : str
        Digest of what the scores depend on apart from the inputs.
    kind : type
        Class of the reports of chunks, a dataclass of what JSON has.

    Raises
    ------
    OutputError
        If another run is currently writing the same output.

    Warns
    -----
    ResumeWarning
        If inputs were finished by an earlier run: whether they are used, or discarded because something has changed.
    """

    def __init__(
        self, output: str | os.PathLike[str], chunks: Iterable[Chunk], key: str, kind: type[Any] = Report
    ) -> None:
        self.kind = kind
        self.folder = resume_folder(output)
        self._chunks: dict[str, list[Chunk]] = {}
        for chunk in chunks:
            self._chunks.setdefault(chunk.path, []).append(chunk)
        self._names = {path: _name(path, found, key) for path, found in self._chunks.items()}
        #: nothing is stored for the last input, after which the output is complete
        self._last = next(reversed(self._chunks), "")
        self._kept: dict[Chunk, tuple[str, Any]] = {}
        self._open: dict[Chunk, tuple[str, Any]] = {}
        self._lock: Any = None
        self._active = True
        if self.folder.is_dir():
            self._lock = lock_folder(self.folder)
            if self._chunks:
                self._look()

    def _look(self) -> None:
        """Determine which inputs are finished and valid; remove the others."""
        wanted = {name: path for path, name in self._names.items()}
        other, damaged, taken = 0, 0, 0
        for place in sorted(self.folder.iterdir()):
            if place.name == LOCK:
                continue
            done = (place / _DONE).is_file()
            mine = self._chunks[wanted[place.name]] if done and place.name in wanted else None
            found = None if mine is None else _whole(place, mine, self.kind)
            if found is not None:
                self._kept |= found
                taken += 1
                continue
            other += done and place.name not in wanted
            damaged += done and place.name in wanted
            shutil.rmtree(place, ignore_errors=True)
        number = len(self._chunks)
        for text in (
            f"{taken} of {number} inputs were finished by an earlier run and are taken from there" if taken else "",
            f"{damaged} finished inputs are damaged and are made again" if damaged else "",
            f"{other} finished inputs are dropped: files, model, options or code have changed since" if other else "",
        ):
            if text:
                warnings.warn(f"{self.folder}: {text}", ResumeWarning, stacklevel=4)

    def __contains__(self, chunk: Chunk) -> bool:
        return chunk in self._kept

    def get(self, chunk: Chunk) -> tuple[dict[str, Any], Any]:
        """The stored columns of a chunk, and its report.

        Raises
        ------
        OutputError
            If they cannot be read.
        """
        checksum, report = self._kept[chunk]
        path = self._place(chunk)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise OutputError(f"cannot read {path}: {error.strerror or error}; run it again") from error
        if hashlib.sha256(content).hexdigest() != checksum:
            raise OutputError(f"{path} has changed during the run; run it again")
        return _unpacked(content), report

    def put(self, chunk: Chunk, columns: Mapping[str, Any], report: Any) -> None:
        """Store a chunk; its input is finished when all of its chunks are stored.

        Parameters
        ----------
        chunk : Chunk
        columns : mapping of str to array
        report : object
            Of the class of this job's reports.

        Warns
        -----
        ResumeWarning
            If the disk does not allow it; nothing is stored in this case.
        """
        if not self._active or chunk.path == self._last:
            return
        place = self._place(chunk)
        try:
            if self._lock is None:
                self.folder.mkdir(exist_ok=True)
                self._lock = lock_folder(self.folder)
            remember(place.parent)
            place.parent.mkdir(exist_ok=True)
            content = _packed(columns)
            place.write_bytes(content)
            self._open[chunk] = (hashlib.sha256(content).hexdigest(), report)
            mine = self._chunks[chunk.path]
            if all(one in self._open for one in mine):
                facts = [{"sha256": self._open[one][0], "report": asdict(self._open[one][1])} for one in mine]
                note = {"sha256": _checksum(facts), "input": chunk.path, "chunks": facts}
                with complete_or_absent(place.parent / _DONE) as part:
                    part.write_text(json.dumps(note, indent=1), encoding="utf-8")
                forget(place.parent)
                self._open.clear()
        except (OSError, OutputError) as error:
            warnings.warn(f"finished inputs are not kept in {self.folder}: {error}", ResumeWarning, stacklevel=2)
            self._active = False
            if isinstance(error, OSError):
                self.drop()

    def drop(self) -> None:
        """Remove the folder: the output is complete, or nothing is to be kept."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._close()

    def leave(self) -> None:
        """Keep finished inputs, and nothing else."""
        for chunk in self._open:
            shutil.rmtree(self._place(chunk).parent, ignore_errors=True)
            forget(self._place(chunk).parent)
        if self.folder.is_dir() and not list(self.folder.glob(f"*/{_DONE}")) and self._active:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._close()

    def _close(self) -> None:
        for path in self._names.values():
            forget(self.folder / path)
        if self._lock is not None:
            self._lock.close()

    def _place(self, chunk: Chunk) -> Path:
        return self.folder / self._names[chunk.path] / f"{self._chunks[chunk.path].index(chunk):06d}.npz"


@contextmanager
def kept_inputs(
    output: str | os.PathLike[str], chunks: Sequence[Chunk], key: str, kind: type[Any] = Report, *, resume: bool = True
) -> Iterator[Finished | None]:
    """The finished inputs of a job while its output is written; they are dropped when it is complete.

    Parameters
    ----------
    output : path
    chunks : sequence of Chunk
    key : str
    kind : type
        As for `Finished`.
    resume : bool
        False: nothing is kept.

    Yields
    ------
    Finished or None
        None if nothing is kept.
    """
    if not resume:
        yield None
        return
    kept = Finished(output, chunks, key, kind)
    try:
        yield kept
        kept.drop()
    except OutputError:  # a full disk: nothing is left on it
        kept.drop()
        raise
    finally:
        kept.leave()


def resumed(
    chunks: Sequence[Chunk],
    kept: Finished | None,
    make: Callable[[tuple[Chunk, ...]], Generator[tuple[dict[str, Any], Any], None, None]],
) -> Generator[tuple[Chunk, dict[str, Any], Any], None, None]:
    """The columns of all chunks: those of finished inputs as they were stored, the others are made, and stored.

    Parameters
    ----------
    chunks : sequence of Chunk
    kept : Finished or None
    make : callable
        Gives columns and report of each of some chunks.

    Yields
    ------
    tuple
        Chunk, columns, report.
    """
    made = make(tuple(chunk for chunk in chunks if kept is None or chunk not in kept))
    try:
        for chunk in chunks:
            if kept is not None and chunk in kept:
                columns, report = kept.get(chunk)
            else:
                columns, report = next(made)
                if kept is not None:
                    kept.put(chunk, columns, report)
            yield chunk, columns, report
    finally:
        made.close()


def _name(path: str, chunks: list[Chunk], key: str) -> str:
    """The key of the scores of an input."""
    front = path.partition(SEPARATOR)[0]
    state: list[Any] = [path]
    if "://" not in front:
        state = [os.path.abspath(front), path]
        with suppress(OSError):
            status = os.stat(front)
            state += [status.st_size, status.st_mtime_ns]
    ranges = [(chunk.start, chunk.stop) for chunk in chunks]
    return hashlib.sha256(json.dumps([key, state, ranges]).encode()).hexdigest()[:32]


def _whole(place: Path, chunks: list[Chunk], kind: type[Any]) -> dict[Chunk, tuple[str, Any]] | None:
    """Checksum and report of each chunk of a finished input; None if anything is damaged."""
    try:
        note = read_object(place / _DONE)
        if note["sha256"] != _checksum(note["chunks"]):
            return None
        facts = [(str(fact["sha256"]), kind(**fact["report"])) for fact in note["chunks"]]
        for number, (checksum, _) in enumerate(facts):
            if hashlib.sha256((place / f"{number:06d}.npz").read_bytes()).hexdigest() != checksum:
                return None
    except (InputFileError, OSError, ValueError, KeyError, TypeError):
        return None
    return dict(zip(chunks, facts, strict=True)) if len(facts) == len(chunks) else None


def _checksum(facts: Any) -> str:
    """Of the reports, too: a changed digit in them is valid JSON."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _packed(columns: Mapping[str, Any]) -> bytes:
    """Columns as bytes, without loss."""
    import awkward as ak

    arrays: dict[str, Any] = {}
    forms: dict[str, Any] = {}
    for number, (name, column) in enumerate(columns.items()):
        if isinstance(column, np.ndarray):
            forms[name] = None
            arrays[f"{number}"] = column
            continue
        form, length, buffers = ak.to_buffers(ak.to_packed(column))
        forms[name] = {"form": form.to_dict(), "length": length}
        arrays |= {f"{number} {key}": values for key, values in buffers.items()}
    stream = io.BytesIO()
    np.savez(stream, forms=np.array(json.dumps(forms)), **arrays)
    return stream.getvalue()


def _unpacked(content: bytes) -> dict[str, Any]:
    import awkward as ak

    columns: dict[str, Any] = {}
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        for number, (name, how) in enumerate(parse_json(str(stored["forms"]), "forms", kind=dict).items()):
            if how is None:
                columns[name] = stored[f"{number}"]
                continue
            front = f"{number} "
            buffers = {key.removeprefix(front): stored[key] for key in stored.files if key.startswith(front)}
            columns[name] = ak.from_buffers(ak.forms.from_dict(how["form"]), how["length"], buffers)
    return columns


def source_digest(kind: type) -> str:
    """SHA-256 of the modules that define a class and its bases."""
    digest = hashlib.sha256()
    for one in kind.__mro__:
        path = getattr(sys.modules.get(one.__module__), "__file__", None)
        if path is not None and one is not object:
            digest.update(Path(path).read_bytes())
    return digest.hexdigest()
