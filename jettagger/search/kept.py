"""Results of finished chunks beside an output until it is complete, so that an interrupted search goes on from there.

The folder ``OUT.resume`` has a file for each finished chunk, with its checksum, and ``search.json``: all that the
results of chunks depend on. A search goes on only if nothing of that has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from jettagger._version import __version__
from jettagger.display import Brief
from jettagger.errors import InputFileError, MismatchError, OutputError
from jettagger.files import complete_or_absent
from jettagger.files.jsonfile import read_object
from jettagger.files.resuming import LOCK, ResumeWarning, lock_folder, resume_folder
from jettagger.search.identity import differences

__all__ = ["ChunkFolder", "KeptChunks", "check_kept", "chunk_name", "drop_chunks", "kept_chunks", "kept_number"]

#: what the results depend on, and the folder with the results
MANIFEST, CHUNKS = "search.json", "chunks"

#: version of the layout
VERSION = 1

#: maximum number of differences in an error
MOST_NAMED = 5

#: length of the checksum in front of a result
_CHECKSUM = 32


class ChunkFolder(Brief):
    """Results of chunks in a folder, each with its checksum.

    Parameters
    ----------
    folder : pathlib.Path

    Examples
    --------
    >>> import tempfile
    >>> chunks = ChunkFolder(Path(tempfile.mkdtemp()))
    >>> chunks.write("first", b"result")
    >>> chunks.read("first"), chunks.read("second")
    (b'result', None)
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> set[str]:
        """The names of all chunks."""
        return {path.name for path in self.folder.iterdir() if not path.name.startswith(".")}

    def write(self, name: str, result: bytes) -> None:
        """Write the result of a chunk, complete or not at all.

        Raises
        ------
        OutputError
        """
        with complete_or_absent(self.folder / name, force=True) as part:
            part.write_bytes(hashlib.sha256(result).digest() + result)

    def read(self, name: str) -> bytes | None:
        """The result of a chunk; None if it is not there, or damaged."""
        try:
            content = (self.folder / name).read_bytes()
        except OSError:
            return None
        result = content[_CHECKSUM:]
        return result if hashlib.sha256(result).digest() == content[:_CHECKSUM] else None


class KeptChunks(Brief):
    """The finished chunks of a search while its output is not complete; made by `kept_chunks`.

    Parameters
    ----------
    folder : pathlib.Path
        With a manifest of this search.

    Attributes
    ----------
    active : bool
        False after results could not be kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chunks = ChunkFolder(folder / CHUNKS)
        self.chunks.folder.mkdir(exist_ok=True)
        self._found = self.chunks.names()
        self._names: dict[Any, str] = {}
        self._done: set[str] = set()
        self.active = True

    def expect(self, items: Sequence[Any]) -> None:
        """Determine which chunks are finished and whole.

        Parameters
        ----------
        items : sequence of coffea.processor.executor.WorkItem
            All chunks of a run.

        Warns
        -----
        ResumeWarning
            Says how many are taken from an earlier run, and how many cannot be.
        """
        self._names |= {item: chunk_name(item) for item in items}
        wanted = [self._names[item] for item in items]
        there = [name for name in wanted if name in self._found]
        whole = [name for name in there if self.chunks.read(name) is not None]
        self._done.update(whole)
        texts = []
        if whole:
            texts.append(f"{len(whole)} of {len(wanted)} chunks were finished before and are taken from there")
        if len(there) > len(whole):
            texts.append(f"{len(there) - len(whole)} finished chunks are damaged and are made again")
        for text in texts:
            warnings.warn(f"{self.folder}: {text}", ResumeWarning, stacklevel=2)

    def unused(self) -> int:
        """Number of chunks of an earlier run that are none of this one: their files have changed, or are left out."""
        return len(self._found - {*self._names.values()})

    def absent(
        self, items: Sequence[Any], run: Callable[[Sequence[Any], Any], Iterator[tuple[Any, Any]]], function: Any
    ) -> Iterator[tuple[Any, Any]]:
        """Item and result of chunks that are not finished: they are run."""
        return run(items, function)

    def __contains__(self, item: Any) -> bool:
        return self._names.get(item) in self._done

    def get(self, item: Any) -> bytes:
        """The packed result of a finished chunk.

        Raises
        ------
        OutputError
            If it was changed during the run.
        """
        found = self.chunks.read(self._names[item])
        if found is None:
            raise OutputError(f"{self.chunks.folder / self._names[item]} has changed during the run; run it again")
        return found

    def put(self, item: Any, result: Any) -> bool:
        """Keep the result of a chunk.

        Parameters
        ----------
        item : coffea.processor.executor.WorkItem
        result : bytes, or another object
            Packed; anything else is not kept.

        Returns
        -------
        bool
            Whether it is kept.

        Warns
        -----
        ResumeWarning
            Once, if results cannot be kept.
        """
        if not self.active:
            return False
        reason = "the processor gives results that are not numbers, text, arrays or histograms"
        if isinstance(result, bytes):
            reason = ""
            try:
                self.chunks.write(self._names[item], result)
            except OutputError as error:
                reason = str(error)
        if reason:
            self.active = False
            warnings.warn(f"finished chunks are not kept in {self.folder}: {reason}", ResumeWarning, stacklevel=2)
            return False
        self._done.add(self._names[item])
        return True


def chunk_name(item: Any) -> str:
    """The name of a chunk: a digest of its range of events and of its file.

    Parameters
    ----------
    item : coffea.processor.executor.WorkItem

    Returns
    -------
    str
        Changes with UUID, size and time of modification of a local file, and with the UUID of others.
    """
    path, identifier = str(item.filename), item.fileuuid
    state = [str(item.dataset), path, str(item.treename), int(item.entrystart), int(item.entrystop)]
    state.append(identifier.hex() if isinstance(identifier, bytes) else str(identifier))
    if "://" not in path:
        with suppress(OSError):
            status = os.stat(path)
            state += [status.st_size, status.st_mtime_ns]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()[:32]


def kept_number(output: str | os.PathLike[str]) -> int:
    """Number of finished chunks that are kept beside an output."""
    folder = resume_folder(output) / CHUNKS
    return len(ChunkFolder(folder).names()) if folder.is_dir() else 0


def check_kept(output: str | os.PathLike[str], identity: Mapping[str, Any]) -> None:
    """Refuse to go on with the chunks of another search.

    Parameters
    ----------
    output : path
    identity : mapping
        Of this search (`jettagger.search.identity.search_identity`).

    Raises
    ------
    MismatchError
        If chunks are kept beside the output and their results depend on something else; says what has changed.
    """
    folder = resume_folder(output)
    if not kept_number(output):
        return
    number = kept_number(output)
    otherwise = f"--no-resume (resume=False) drops the {number} finished chunks in {folder} and starts again"
    try:
        before = read_object(folder / MANIFEST)
    except InputFileError as error:
        raise MismatchError(f"{error}; {otherwise}") from error
    if before.get("version") != VERSION:
        writer = before.get("jettagger", "of an unknown version")
        raise MismatchError(f"{folder} was written by jettagger {writer}, this is {__version__}; {otherwise}")
    changed = differences(identity, before.get("search", {}))
    if changed:
        more = f"; and {len(changed) - MOST_NAMED} more changes" if len(changed) > MOST_NAMED else ""
        raise MismatchError(
            f"{folder} has finished chunks of another search: {'; '.join(changed[:MOST_NAMED])}{more}. Undo this, or "
            f"give another output; {otherwise}"
        )


def drop_chunks(output: str | os.PathLike[str]) -> None:
    """Remove what is kept beside an output.

    Parameters
    ----------
    output : path

    Raises
    ------
    OutputError
        If another run is currently writing the same output, or the folder is something else.
    """
    folder = resume_folder(output)
    if folder.is_dir():
        _refuse_others(folder)
        lock = lock_folder(folder)
        _remove(folder)
        if lock is not None:
            lock.close()


def _refuse_others(folder: Path) -> None:
    """Refuse a folder that is none of chunks."""
    if folder.is_dir() and {path.name for path in folder.iterdir()} - {LOCK} and not (folder / MANIFEST).is_file():
        raise OutputError(f"{folder} has no {MANIFEST}, so it is something else: it is neither used nor removed")


def _remove(folder: Path) -> None:
    """Remove a folder of chunks; the manifest last, without which it would be something else."""
    shutil.rmtree(folder / CHUNKS, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def kept_chunks(
    output: str | os.PathLike[str], identity: Mapping[str, Any], *, resume: bool = True
) -> Iterator[KeptChunks | None]:
    """The finished chunks of a search while its output is made; they are removed when the block ends without an error.

    Parameters
    ----------
    output : path
        Output of the search; chunks are kept in ``OUTPUT.resume``.
    identity : mapping
        All that the results depend on (`jettagger.search.identity.search_identity`).
    resume : bool
        False: nothing is kept, and chunks of an earlier run are removed.

    Yields
    ------
    KeptChunks or None
        For `jettagger.search.run_search`; None if nothing is kept.

    Raises
    ------
    MismatchError
        If chunks of another search are kept there.
    OutputError
        If another run is currently writing the same output, or the folder cannot be made.
    """
    if not resume:
        drop_chunks(output)
        yield None
        return
    folder = resume_folder(output)
    check_kept(output, identity)
    _refuse_others(folder)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
    lock = lock_folder(folder)
    try:
        manifest = {"version": VERSION, "jettagger": __version__, "search": dict(identity)}
        with complete_or_absent(folder / MANIFEST, force=True) as part:
            part.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        yield KeptChunks(folder)
        _remove(folder)
    finally:
        if folder.is_dir() and not kept_number(output):
            _remove(folder)
        if lock is not None:
            lock.close()
