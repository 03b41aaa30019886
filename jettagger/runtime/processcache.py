"""What a process keeps in memory while it runs: open sessions, measurements of networks, verdicts of trials.

The only state of modules. All of it can be forgotten at once, after which a process is as if it had just started.
"""

from __future__ import annotations

from typing import TypeVar

__all__ = ["ProcessCache", "forget"]

Key = TypeVar("Key")
Value = TypeVar("Value")

_ALL: list[ProcessCache[object, object]] = []


class ProcessCache(dict[Key, Value]):
    """A dictionary of a module that lives as long as the process, or until :func:`forget`.

    What must not survive a fork has the number of the process in its key.

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
    """Empty all caches of this process: sessions that nobody else holds are closed, what is on disk stays."""
    for cache in _ALL:
        cache.clear()
