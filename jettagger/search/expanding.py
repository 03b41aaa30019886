"""The files that a path or a glob names, local or on a server."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from jettagger.arguments import guard
from jettagger.errors import InputFileError, reason_of, require

__all__ = ["expand"]


def expand(pattern: str, folder: Path) -> list[str]:
    """The files matched by a path or a glob, sorted.

    Parameters
    ----------
    pattern : str
        ``*``, ``?``, ``[...]`` and ``**`` are globs, for local paths and for protocols (``root://``) with a file system
        in fsspec.
    folder : pathlib.Path
        Folder of relative local paths.

    Returns
    -------
    list of str
        A path without globs is returned even if the file does not exist.

    Raises
    ------
    InputFileError
        If no file matches a glob, or the server does not answer.
    MissingExtra
        If the protocol needs a package that is not installed.
    """
    magic = glob.has_magic(pattern.partition("://")[2] or pattern)
    if "://" not in pattern:
        path = str(folder / os.path.expanduser(pattern))
        found = sorted(glob.glob(path, recursive=True)) if magic else [path]
    elif not magic:
        found = [pattern]
    else:
        import fsspec

        if pattern.startswith(("root://", "roots://")):
            require("fsspec_xrootd", "xrootd", "finding files on an xrootd server")
        try:
            system, inside = fsspec.core.url_to_fs(pattern)
            found = sorted(system.unstrip_protocol(path) for path in system.glob(inside))
        except Exception as error:  # whatever the file system raises
            reason = reason_of(error)
            raise InputFileError(f"{pattern}: the files cannot be listed: {reason}") from error
    if not found:
        raise InputFileError(f"no file matches {pattern!r}")
    return found


guard(globals())
