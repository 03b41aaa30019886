"""Writing files and folders so that an output is complete or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jettagger.errors import OutputError

__all__ = ["check_folder", "complete_or_absent", "folder_complete_or_absent"]


@contextmanager
def complete_or_absent(target: str | os.PathLike[str], *, force: bool = True) -> Iterator[Path]:
    """A temporary path beside ``target`` that becomes ``target`` when the block ends without an error.

    Parameters
    ----------
    target : path
        The file to write in the end.
    force : bool
        Whether an existing ``target`` may be replaced.

    Yields
    ------
    pathlib.Path
        Where to write; it has the suffix of ``target`` and lies in the same folder.

    Raises
    ------
    OutputError
        If the folder does not exist or cannot be written, if ``target`` exists and ``force`` is not given, or if the
        disk is full. Nothing is left behind then.

    Examples
    --------
    >>> folder = Path(tempfile.mkdtemp())
    >>> with complete_or_absent(folder / "a.txt") as part:
    ...     _ = part.write_text("complete")
    >>> sorted(path.name for path in folder.iterdir())
    ['a.txt']
    """
    target = Path(target)
    if target.is_dir():
        raise OutputError(f"cannot write {target}: it is a folder, expected the name of a file")
    if not force and target.exists():
        raise OutputError(f"{target} exists already; use --force (force=True) to replace it")
    try:
        handle, name = tempfile.mkstemp(suffix=target.suffix, prefix=f".{target.stem}.part-", dir=target.parent)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    os.close(handle)
    part = Path(name)
    try:
        yield part
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o666 & ~umask)
        os.replace(part, target)
    except OSError as error:
        if isinstance(error, (FileNotFoundError, PermissionError)) and error.filename not in (name, part):
            raise
        raise OutputError(f"cannot write {target} completely: {error.strerror or error}; nothing was left") from error
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


@contextmanager
def folder_complete_or_absent(target: str | os.PathLike[str], *, marker: str, force: bool = False) -> Iterator[Path]:
    """A temporary folder beside ``target`` that becomes ``target`` when the block ends without an error.

    Parameters
    ----------
    target : path
        The folder to write in the end.
    marker : str
        A file that every such folder holds: only a folder with it, or an empty one, is ever replaced.
    force : bool
        Whether an existing one may be replaced.

    Yields
    ------
    pathlib.Path

    Raises
    ------
    OutputError
        If it exists and ``force`` is not given, is something else, or cannot be written.
    """
    target = check_folder(target, marker=marker, force=force)
    try:
        part = Path(tempfile.mkdtemp(prefix=f".{target.name}.part-", dir=target.parent))
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    try:
        yield part
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o777 & ~umask)
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
            os.replace(target, old / "old")
            os.replace(part, target)
            shutil.rmtree(old)
        else:
            os.replace(part, target)
    except OSError as error:
        raise OutputError(f"cannot write {target} completely: {error.strerror or error}; nothing was left") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_folder(target: str | os.PathLike[str], *, marker: str, force: bool = False) -> Path:
    """Refuse an output folder that cannot be written, before any work is done.

    Parameters
    ----------
    target : path
    marker, force
        As for `folder_complete_or_absent`.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    OutputError
    """
    target = Path(target)
    if target.exists() and not target.is_dir():
        raise OutputError(f"cannot write {target}: it is a file, expected the name of a folder")
    if not target.parent.is_dir():
        raise OutputError(f"cannot write {target}: the folder {target.parent} does not exist")
    if not os.access(target.parent, os.W_OK):
        raise OutputError(f"cannot write {target}: the folder {target.parent} is not writable")
    if target.exists() and any(target.iterdir()):
        if not (target / marker).is_file():
            raise OutputError(f"{target} has no {marker}, so it is something else: it is not replaced")
        if not force:
            raise OutputError(f"{target} exists already; use --force (force=True) to replace it")
    return target
