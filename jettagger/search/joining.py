"""One accumulator of the sums of all data sets: their histograms are put together at once, not added one to another.

Adding histograms with growing categories copies all that is there already for each data set: that took minutes for
hundreds of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from coffea.processor import accumulate

from jettagger.arguments import guard

__all__ = ["join"]


def join(parts: list[Any]) -> Any:
    """The sum of accumulators, as coffea's ``accumulate`` makes it, within the memory of the sum and one part.

    Parameters
    ----------
    parts : list of accumulators
        Dictionaries are emptied.

    Returns
    -------
    accumulator, or None
        None without parts.

    Examples
    --------
    >>> join([{"a": {"x": 1}}, {"a": {"x": 2, "y": {3}}}])
    {'a': {'x': 3, 'y': {3}}}
    """
    parts = [part for part in parts if part is not None]
    if len(parts) < 2:
        return parts[0] if parts else None
    if all(type(part) is dict for part in parts):
        keys = dict.fromkeys(key for part in parts for key in part)
        return {key: join([part.pop(key) for part in parts if key in part]) for key in keys}
    joined = _joined(parts)
    return accumulate(parts) if joined is None else joined


def _joined(parts: Sequence[Any]) -> Any:
    """The sum of histograms with weights that differ in growing categories only; None for anything else."""
    import hist

    first = parts[0]
    if any(type(part) is not hist.Hist or part.ndim != first.ndim for part in parts):
        return None
    if any(part.storage_type is not hist.storage.Weight for part in parts):
        return None
    axes = []
    for number, axis in enumerate(first.axes):
        others = [part.axes[number] for part in parts]
        growing = [isinstance(one, hist.axis.StrCategory) and one.traits.growth for one in others]
        if all(growing):
            known = sorted({value for one in others for value in one})
            axes.append(hist.axis.StrCategory(known, growth=True, name=axis.name, label=axis.label))
        elif any(growing) or any(one != axis for one in others):
            return None
        else:
            axes.append(axis)
    total = hist.Hist(*axes, storage=hist.storage.Weight(), name=first.name, label=first.label)
    target = total.view(flow=True)
    for part in parts:
        view = part.view(flow=True)
        rows = [_positions(axis, part.axes[number], view.shape[number]) for number, axis in enumerate(axes)]
        where = np.ix_(*rows)
        for name in ("value", "variance"):
            target[name][where] += view[name]
    return total


def _positions(axis: Any, own: Any, size: int) -> Any:
    if axis is own or not hasattr(axis, "traits") or not axis.traits.growth:
        return np.arange(size)
    places: Mapping[str, int] = {value: number for number, value in enumerate(axis)}
    return np.array([places[value] for value in own], dtype=np.int64)


guard(globals(), "join")
