"""Real files that many tests read: opened once a process, as describing 1,800 branches takes most of a second."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from jettagger.files.root import EventFile


@cache
def kept_open(path: Path) -> EventFile:
    """The file, until the process ends."""
    file = EventFile(path)
    atexit.register(file.close)
    return file


@contextmanager
def opened(path: Path) -> Iterator[EventFile]:
    """In the place of ``EventFile`` in a ``with`` statement."""
    yield kept_open(path)
