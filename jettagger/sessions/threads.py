"""Number of threads of a network."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path

from jettagger.errors import ConfigError

__all__ = ["THREADS", "cgroup_cores", "default_threads", "in_worker", "usable_cores"]

#: environment variable with the number of threads of a network
THREADS = "JETTAGGER_THREADS"

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Number of cores available to this process, by CPU affinity and control groups.

    Returns
    -------
    int
        At least 1; a limit of 1.5 cores counts as one.

    Examples
    --------
    >>> usable_cores() >= 1
    True
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = cgroup_cores()
    return max(int(min(cores, cores if limit is None else limit)), 1)


def cgroup_cores(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> float | None:
    """Number of cores allowed by the control groups of this process, e.g. in containers and batch systems.

    Parameters
    ----------
    root : pathlib.Path
        Mount point of control groups.
    membership : pathlib.Path
        File that lists those of this process.

    Returns
    -------
    float or None
        The minimum of the limits in the hierarchy; None if there is none.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    limits = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = (
            root
            if not controllers
            else next((root / name for name in (controllers, "cpu") if (root / name).is_dir()), root)
        )
        place = top / path.strip("/")
        for folder in [place, *place.parents]:
            limits += _limit(folder)
            if folder == top:
                break
    return min(limits, default=None)


def _limit(folder: Path) -> list[float]:
    """The limit of one control group, of version 2 or 1; empty if there is none."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return []
    if not quota.isdigit() or not period.isdigit() or not int(period):
        return []  # "max" and -1: no limit
    return [int(quota) / int(period)]


def in_worker() -> bool:
    """Whether this is a worker process: a child of multiprocessing, or a dask worker.

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
    """Default number of threads of a network.

    Returns
    -------
    int
        ``$JETTAGGER_THREADS`` (set in workers by `jettagger.dask.install`); otherwise one in a worker, where the
        scheduler assigns the cores, and all usable cores in other processes.

    Raises
    ------
    ConfigError
        If the variable is not a positive integer.
    """
    named = os.environ.get(THREADS, "")
    if named:
        if not named.isdigit() or not int(named):
            raise ConfigError(f"${THREADS} must be a whole number of at least 1, got {named!r}")
        return int(named)
    return 1 if in_worker() else usable_cores()
