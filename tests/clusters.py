"""Dask clusters of this machine for tests."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def _collected_at_the_end() -> Iterator[None]:
    """What dask leaves open is found here, not in the test in which Python happens to collect it."""
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


@contextmanager
def local_cluster(
    folder: Path, *, workers: int = 2, threads: int = 1, processes: bool = True, **settings: Any
) -> Iterator[Any]:
    """A client of a new cluster that keeps its files in ``folder``.

    The scheduler takes a free port. ``dashboard_address=None`` would not: without a dashboard it still asks
    for port 8787, and warns where a cluster of another process has it.
    """
    distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")
    import dask

    with (
        _collected_at_the_end(),
        # a worker that starts again is given up for good after 15 s, which a busy machine may need
        dask.config.set({"distributed.deploy.lost-worker-timeout": "300s"}),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=threads,
            processes=processes,
            dashboard_address=":0",
            local_directory=str(folder),
            **settings,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client
