"""Memory limit of a dask worker, checked before a chunk exceeds it."""

from __future__ import annotations

import sys
from typing import Protocol

from jettagger.config.sizes import size_text
from jettagger.errors import WorkerError
from jettagger.formats import EventColumns

__all__ = ["check_fits", "worker_limit"]

#: fraction of the limit at which dask ends a worker
END = 0.95

#: maximum fraction of the limit for the columns of a chunk, as libraries and network also need memory
GOOD = 0.2


def worker_limit() -> int | None:
    """Memory limit in bytes of the dask worker that runs this task.

    Returns
    -------
    int or None
        None outside of a task, or if there is no limit.
    """
    distributed = sys.modules.get("distributed.worker")
    if distributed is None:
        return None
    try:
        limit = distributed.get_worker().memory_manager.memory_limit
    except (ValueError, AttributeError):
        return None
    return int(limit) if limit else None


class Planned(Protocol):
    """The columns that will be read."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of stored columns."""

    @property
    def collection(self) -> str:
        """The collection of jets; empty for a table with one row per jet."""


def check_fits(columns: EventColumns, plan: Planned) -> None:
    """Refuse a chunk that exceeds the memory of its worker; dask would end one worker after another, unexplained.

    Parameters
    ----------
    columns : EventColumns
        Columns of events, or of a table with one row per jet.
    plan : ColumnPlan
        Columns that will be read. Outside of dask workers nothing is checked.

    Raises
    ------
    WorkerError
        If these columns alone exceed the memory limit; gives the chunk and the limit.
    """
    limit = worker_limit()
    if limit is None:
        return
    need = columns.nbytes(plan.columns)
    if need > END * limit:
        fitting = max(int(len(columns) * GOOD * limit / need), 1)
        place = str(columns.source) if plan.collection else f"a table of {len(columns)} jets"
        better = (
            f"a chunksize of about {fitting} {'events' if plan.collection else 'jets'}, or workers with more memory"
        )
        raise WorkerError(
            f"{place}: the columns to read take {size_text(need)} in memory, the memory limit of this worker is "
            f"{size_text(limit)}; use {better}",
            where=place,
            got=f"columns of {size_text(need)}, a limit of {size_text(limit)}",
            expected=better,
        )
