"""Sums of the results of chunks in a fixed order, whatever the order in which they are finished."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coffea.processor import accumulate

from jettagger.display import Brief
from jettagger.search.joining import join
from jettagger.search.kept import KeptChunks
from jettagger.search.packing import unpack

__all__ = ["OrderedSum"]


class OrderedSum(Brief):
    """The sum of the results of chunks: of each data set in the order of its chunks.

    Floating point sums depend on their order, so that a fixed one is needed for equal results to the last bit. What
    comes too early waits: on disk, if chunks are kept, otherwise packed in memory.

    Parameters
    ----------
    items : sequence of coffea.processor.executor.WorkItem
        All chunks in their order.
    kept : KeptChunks, optional
        Where finished chunks are.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> total = OrderedSum([SimpleNamespace(dataset="tt") for _ in range(3)])
    >>> for number, value in ((2, 1e16), (1, -1e16), (0, 1.0)):
    ...     total.add(number, {"sum": value})
    >>> total.result()
    {'sum': 0.0}
    """

    def __init__(self, items: Sequence[Any], kept: KeptChunks | None = None) -> None:
        self.items = items
        self.kept = kept
        self._waiting: dict[int, Any] = {}
        self._next = 0
        self._totals: dict[str, Any] = {}

    def add(self, number: int, result: Any) -> None:
        """Add the result of a chunk.

        Parameters
        ----------
        number : int
            Position of the chunk in ``items``.
        result : accumulator, or None
            As coffea's Runner makes it, of which ``out`` may be packed; None: there is none.
        """
        self._waiting[number] = result
        self.proceed()

    def proceed(self) -> None:
        """Add up what can be, after a chunk was kept."""
        while self._next < len(self.items) and self._take(self._next):
            self._next += 1

    def result(self) -> Any:
        """The sum of all that was added; None if that is nothing."""
        for number in range(self._next, len(self.items)):  # also behind one that is missing, after an error
            self._take(number)
        self._next = len(self.items)
        totals = list(self._totals.values())
        self._totals = {}
        return join(totals)

    def _take(self, number: int) -> bool:
        """Add a chunk to the sum of its data set, if it is there."""
        item = self.items[number]
        if number in self._waiting:
            result = self._waiting.pop(number)
        elif self.kept is not None and item in self.kept:
            result = {"out": self.kept.get(item), "processed": {item}}
        else:
            return False
        if result is None:
            return True
        if isinstance(result, dict) and isinstance(result.get("out"), bytes):
            result = {**result, "out": unpack(result["out"])}
        before = self._totals.get(item.dataset)
        self._totals[item.dataset] = result if before is None else accumulate([result], before)
        return True
