"""Caches in the memory of a process: open sessions, measurements of networks, results of trials.

The only module-level state. It can be cleared at once, after which a process is in the same state as at its start.
"""

from __future__ import annotations

from typing import TypeVar

__all__ = ["ProcessCache", "forget"]

Key = TypeVar("Key")
Value = TypeVar("Value")

_ALL: list[ProcessCache[object, object]] = []


class ProcessCache(dict[Key, Value]):
    """A dictionary of a module that lives as long as the process, or until :func:`forget`.

    Entries that must not survive a fork have the process ID in their key.

    Examples
    --------
    >>> squares: ProcessCache[int, int] = ProcessCache()
    >>> squares[3] = 9
    >>> forget()
    >>> len(squares)
    0
    """

    def __init__(self) -> None:
        super().__init__()
        _ALL.append(self)  # type: ignore[arg-type]


def forget() -> None:
    """Clear all caches of this process: sessions without other references are closed; files on disk are kept."""
    for cache in _ALL:
        cache.clear()
