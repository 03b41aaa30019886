"""Memory that Python allocates while something runs."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable


def traced_peak(run: Callable[[], object]) -> int:
    """The most memory that a call takes, in bytes: the smaller of two calls.

    What an interpreter allocates now and then counts in one of them at most, e.g. when its table of interned names
    doubles (megabytes in a process that has run thousands of tests), or what threads of earlier tests do meanwhile.
    """
    peaks = []
    for _ in range(2):
        gc.collect()  # so that the next collections come after as many allocations, whatever ran before
        tracemalloc.start()
        try:
            run()
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return min(peaks)
