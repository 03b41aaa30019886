"""A checksummed, size-limited cache of arrays on disk; results never depend on it.

An entry is one file that contains its own checksum. Damaged entries are ignored with a warning and made again;
concurrent writers each put a complete file in place; the oldest entries are removed when the folder exceeds its limit.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from jettagger.display import Brief
from jettagger.errors import OutputError
from jettagger.files import complete_or_absent
from jettagger.types import Array

__all__ = ["DiskCache"]

_log = logging.getLogger(__name__)

SUFFIX = ".jettagger"
MAGIC = b"jettagger-cache-1\n"


class DiskCache(Brief):
    """A folder of cached arrays.

    Parameters
    ----------
    folder : path
        Created when something is written.
    limit : int
        Maximum size of all entries in bytes.

    Examples
    --------
    >>> import tempfile
    >>> cache = DiskCache(tempfile.mkdtemp(), limit=1_000_000)
    >>> cache.put("abc", {"x": np.arange(3)})
    >>> cache.get("abc")["x"].tolist(), cache.get("abd")
    ([0, 1, 2], None)
    """

    def __init__(self, folder: str | os.PathLike[str], limit: int) -> None:
        self.folder = Path(folder)
        self.limit = limit

    def __repr__(self) -> str:
        return f"DiskCache({str(self.folder)!r}, limit={self.limit})"

    def get(self, key: str) -> dict[str, Array] | None:
        """The entry of a key.

        Parameters
        ----------
        key : str
            Hexadecimal.

        Returns
        -------
        dict of str to array, or None
            In their original shapes and types; None if there is no valid entry. An invalid one gives a RuntimeWarning.
        """
        path = self._path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            _log.info("cache %s: no entry %.12s", self.folder, key)
            return None
        except (OSError, ValueError) as error:  # also a name with a zero byte
            reason = getattr(error, "strerror", None) or error
            warnings.warn(f"cannot read the cache {path}: {reason}; going on without", RuntimeWarning)
            return None
        head = len(MAGIC) + 32
        if content[: len(MAGIC)] != MAGIC or hashlib.sha256(content[head:]).digest() != content[len(MAGIC) : head]:
            warnings.warn(f"the cache file {path} is damaged: it is ignored and replaced", RuntimeWarning)
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            os.utime(path)  # used last
        _log.info("cache %s: entry %.12s is there, %d bytes", self.folder, key, len(content))
        with np.load(io.BytesIO(content[head:]), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}

    def put(self, key: str, arrays: Mapping[str, Array]) -> None:
        """Store arrays; if the disk does not allow it, a RuntimeWarning is given and nothing is stored.

        Parameters
        ----------
        key : str
            Hexadecimal.
        arrays : mapping of str to array
            Of any shape, with numbers or text, not objects.
        """
        stream = io.BytesIO()
        np.savez(stream, **arrays)  # type: ignore[arg-type]
        content = stream.getvalue()
        if len(content) > self.limit:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with complete_or_absent(self._path(key)) as part:
                part.write_bytes(MAGIC + hashlib.sha256(content).digest() + content)
            self._trim()
        except (OSError, ValueError, OutputError) as error:
            warnings.warn(f"cannot write to the cache {self.folder}: {error}; going on without", RuntimeWarning)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{SUFFIX}"

    def _trim(self) -> None:
        """Remove the least recently used entries until the rest fits."""
        entries = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            with suppress(OSError):  # another process may have dropped it
                stat = path.stat()
                entries.append((stat.st_mtime_ns, stat.st_size, path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self.limit:
                return
            with suppress(OSError):
                path.unlink()
            total -= size
