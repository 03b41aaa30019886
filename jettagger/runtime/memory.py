"""Freed memory that this process keeps while it computes with large arrays, where the C library is glibc."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["freed_memory_kept"]

#: parameters of mallopt(3)
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4

#: their values in between: nothing is given back, and large arrays are in the heap, where they are found again
_KEPT = ((_TRIM_THRESHOLD, 2**31 - 1), (_MMAP_MAX, 0))

#: and afterwards: those that glibc itself reaches in a process that frees large arrays
_USUAL = ((_MMAP_THRESHOLD, 32 * 2**20), (_TRIM_THRESHOLD, 64 * 2**20), (_MMAP_MAX, 65536))

#: settings of the user, which stay
_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TOP_PAD_")


class _Uses:
    """How many computations want it at present, in all threads."""

    lock = threading.Lock()
    number = 0


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep the memory of arrays that are freed until the end of the block; also a decorator.

    Without it glibc gets the pages of each large array anew from the system, and the system fills them with zeros: a
    third of the time of gradients of a network, and of trainings. All freed memory is given back at the end of the
    outermost block. It does nothing with another C library, or where the user has set ``MALLOC_..._`` or the tunables
    of glibc.

    Examples
    --------
    >>> with freed_memory_kept():
    ...     float(np.ones(10**6).sum())
    1000000.0
    """
    library = _glibc()
    if library is None:
        yield
        return
    with _Uses.lock:
        _Uses.number += 1
        if _Uses.number == 1:
            _set(library, _KEPT)
    try:
        yield
    finally:
        with _Uses.lock:
            _Uses.number -= 1
            if not _Uses.number:
                _set(library, _USUAL)
                library.malloc_trim(0)


def _set(library: Any, values: tuple[tuple[int, int], ...]) -> None:
    for parameter, value in values:
        library.mallopt(parameter, value)


def _glibc() -> Any:
    """The C library; None if it is another one, or the user has settings of it."""
    if any(name in os.environ for name in _VARIABLES) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return None
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows
        return None
    return library if hasattr(library, "gnu_get_libc_version") and hasattr(library, "mallopt") else None
