"""How many threads a network may use."""

from __future__ import annotations

import multiprocessing
import os
import sys

__all__ = ["default_threads", "in_worker", "usable_cores"]


def usable_cores() -> int:
    """Cores that this process may use, by its affinity.

    Returns
    -------
    int

    Examples
    --------
    >>> usable_cores() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return max(len(os.sched_getaffinity(0)), 1)
    return os.cpu_count() or 1


def in_worker() -> bool:
    """Whether this process works for another one: a child of multiprocessing, or a dask worker.

    Returns
    -------
    bool
    """
    if multiprocessing.parent_process() is not None:
        return True
    worker = sys.modules.get("distributed.worker")
    if worker is None:
        return False
    try:
        worker.get_worker()
    except (ValueError, AttributeError):
        return False
    return True


def default_threads() -> int:
    """One in a worker, where the scheduler hands out the cores; all usable cores in a plain process.

    Returns
    -------
    int
    """
    return 1 if in_worker() else usable_cores()
