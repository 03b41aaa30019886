"""How much memory a dask worker may take, and an error before a chunk takes more."""

from __future__ import annotations

import sys
from typing import Protocol

from jettagger.config.sizes import size_text
from jettagger.errors import WorkerError
from jettagger.formats import EventColumns

__all__ = ["check_fits", "worker_limit"]

#: share of the limit at which dask ends a worker
END = 0.95

#: share of the limit that the columns of a chunk should take, as the libraries and the network take their part, too
GOOD = 0.2


def worker_limit() -> int | None:
    """Bytes that the dask worker of this task may take.

    Returns
    -------
    int or None
        None outside of a task, and where there is no limit.
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
    """What will be read."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of stored columns."""

    @property
    def collection(self) -> str:
        """The jets' collection; empty for a table with one row a jet."""


def check_fits(columns: EventColumns, plan: Planned) -> None:
    """Refuse a chunk that cannot fit its worker: dask would end one worker after the other, and not say why.

    Parameters
    ----------
    columns : EventColumns
        Of events, or of a table with one row a jet.
    plan : ColumnPlan
        What will be read. Outside of dask's workers nothing is read, and nothing refused.

    Raises
    ------
    WorkerError
        If these columns alone exceed the memory limit; names the chunk and the limit.
    """
    limit = worker_limit()
    if limit is None:
        return
    need = columns.nbytes(plan.columns)
    if need > END * limit:
        fitting = max(int(len(columns) * GOOD * limit / need), 1)
        raise WorkerError(
            f"{columns.source if plan.collection else f'a table of {len(columns)} jets'}: the columns to read take "
            f"{size_text(need)} in memory, the memory limit of this worker is {size_text(limit)}; use a chunksize of "
            f"about {fitting} {'events' if plan.collection else 'jets'}, or workers with more memory"
        )
