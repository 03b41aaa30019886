"""Histograms in the bins of a calibration: edges chosen among those of a histogram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jettagger.arguments import Histogram, guard
from jettagger.errors import MismatchError, UnknownName
from jettagger.histograms import categories_of, variables_of
from jettagger.types import Floats

__all__ = ["SCORE", "in_bins", "with_edges"]

#: axis of the score
SCORE = "score"

#: relative difference of edges that are the same
_SAME = 1e-9


def with_edges(histogram: Histogram, axis: str, edges: Sequence[float]) -> Any:
    """The histogram with some of its edges on one axis.

    Parameters
    ----------
    histogram : hist.Hist
    axis : str
        A variable.
    edges : sequence of float
        Increasing; each is an edge of the axis. What is outside of them is counted below and above the axis.

    Returns
    -------
    hist.Hist

    Raises
    ------
    UnknownName
        If there is no such axis.
    MismatchError
        If an edge is none of the histogram.

    Examples
    --------
    >>> import hist
    >>> made = hist.Hist.new.Reg(4, 0, 4, name="pt").Weight().fill(pt=[0.5, 1.5, 2.5, 9.0])
    >>> with_edges(made, "pt", [1, 3]).values(flow=True).tolist()
    [1.0, 2.0, 1.0]
    """
    import hist

    names = [item.name for item in histogram.axes]
    variables = [item.name for item in variables_of(histogram)]
    if axis not in variables:
        raise UnknownName("axis", axis, variables, "the histogram")
    place = names.index(axis)
    old = histogram.axes[place]
    known = np.asarray(old.edges, dtype=np.float64)
    wanted = np.asarray(edges, dtype=np.float64)
    distances = np.abs(known[:, None] - wanted)
    absent = wanted[distances.min(axis=0) > _SAME * np.maximum(np.abs(wanted), 1.0)]
    if len(absent):
        raise MismatchError(
            f"{', '.join(f'{edge:g}' for edge in absent)} on the axis {axis!r} of the histogram is none of its edges, "
            f"which are {', '.join(f'{edge:g}' for edge in known)}"
        )
    first = distances.argmin(axis=0)
    new = hist.axis.Variable(wanted, name=old.name, label=old.label, underflow=True, overflow=True)
    axes = [new if item.name == axis else item for item in histogram.axes]
    made = hist.Hist(*axes, storage=histogram.storage_type(), name=histogram.name, label=histogram.label)
    view, target = histogram.view(flow=True), made.view(flow=True)

    def added(numbers: Floats) -> Floats:
        room = [(0, 0)] * numbers.ndim
        room[place] = (int(not old.traits.underflow), 1)  # an empty bin above, so that the last group has one
        padded = np.pad(numbers, room)
        return np.add.reduceat(padded, [0, *(first + 1)], axis=place)

    for field in view.dtype.names or (None,):
        if field is None:
            target[...] = added(np.asarray(view))
        else:
            target[field] = added(np.asarray(view[field]))
    return made


def in_bins(
    histogram: Histogram, edges: Mapping[str, Sequence[float]], thresholds: Sequence[float], variable: str | None
) -> Any:
    """The histogram with the axes of a calibration: categories, kinematic bins, bands, and the fitted variable.

    Parameters
    ----------
    histogram : hist.Hist
    edges : mapping of str to sequence of float
        Kinematic axis -> edges; other axes are summed over.
    thresholds : sequence of float
        Of the bands.
    variable : str, optional
        Without, the histogram has none.

    Returns
    -------
    hist.Hist

    Raises
    ------
    UnknownName, MismatchError
        As for `with_edges`.
    """
    variables = [axis.name for axis in variables_of(histogram)]
    wanted = [*edges, SCORE, *([variable] if variable is not None else [])]
    absent = [name for name in wanted if name not in variables]
    if absent:
        raise UnknownName("axis", absent, variables, "the histogram")
    made = histogram.project(*categories_of(histogram), *wanted)
    ends = made.axes[SCORE].edges
    made = with_edges(made, SCORE, [float(ends[0]), *thresholds, float(ends[-1])])
    for name, values in edges.items():
        made = with_edges(made, name, values)
    return made


guard(globals())
