"""Bins of protected columns, and what is continuous between them: smoothing, interpolation, trees of correctionlib.

Numbers are measured in bins and are valid at nodes: the weighted means of the columns in the bins, and half a step
beyond the outermost of them (not beyond the edges). Between nodes they are interpolated linearly in each axis.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from jettagger.discriminants.derived import BackgroundSample, ThresholdCurve, json_edge
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, UnknownName
from jettagger.types import Array, Floats

__all__ = [
    "AXES",
    "SMOOTHINGS",
    "BinnedCurves",
    "ColumnGrid",
    "GridAxis",
    "binned_curves",
    "inputs_of",
    "make_grid",
    "multilinear",
]

#: default numbers of bins
AXES: Mapping[str, int] = {"mass": 16, "pt": 6}

#: axis computed from others: ln(m^2 / pt^2)
RHO = "rho"

SMOOTHINGS = ("none", "gaussian", "neighbours", "monotone")

#: smallest positive mass and pt for which rho is computed
POSITIVE = 1e-30


def inputs_of(axes: Mapping[str, Any], columns: Mapping[str, str] | None) -> dict[str, str]:
    """The columns that the axes need, with the mass and pt first.

    Parameters
    ----------
    axes : mapping of str to object
        ``rho`` needs ``mass`` and ``pt``; other names are those of columns unless ``columns`` gives another.
    columns : mapping of str to str, optional

    Returns
    -------
    dict
        Input -> column.

    Raises
    ------
    ConfigError
        If there are none or more than three axes, or one of them twice.
    UnknownName
        If ``columns`` names what no axis needs.

    Examples
    --------
    >>> inputs_of({"rho": 10, "pt": [200, 400]}, None)
    {'mass': 'msoftdrop', 'pt': 'pt'}
    """
    if not 1 <= len(axes) <= 3:
        raise ConfigError(f"axes: got {len(axes)}, expected one to three such as {{'mass': 16, 'pt': 6}}")
    if RHO in axes and "mass" in axes:
        raise ConfigError("axes: rho is computed from the mass and pt: give rho or mass, not both")
    needed = {name for axis in axes for name in (("mass", "pt") if axis == RHO else (axis,))}
    ordered: list[str] = [name for name in ("mass", "pt") if name in needed]
    ordered += [name for name in axes if name not in ("mass", "pt", RHO)]
    known = {"mass": "msoftdrop", "pt": "pt"}
    unknown = [name for name in columns or {} if name not in known and name not in needed]
    if unknown:
        raise UnknownName("axis", unknown, [*ordered, *known], "columns")
    given = {**known, **(columns or {})}
    return {name: given.get(name, name) for name in ordered}


@dataclass(frozen=True)
class GridAxis(Brief):
    """Bins in one column.

    Attributes
    ----------
    name : str
    edges : float64[bins + 1]
        ``low <= x < high``; the outermost may be infinite.
    centres : float64[bins]
        Weighted mean of the column in each bin.
    """

    name: str
    edges: Floats
    centres: Floats

    @property
    def input(self) -> str:
        """The input of the correction in which it is binned."""
        return "mass" if self.name == RHO else self.name

    @cached_property
    def nodes(self) -> Floats:
        """Where numbers are given, for linear interpolation between; float64[nodes]."""
        centres = self.centres
        if len(centres) < 2:
            return centres
        low = max(self.edges[0], centres[0] - (centres[1] - centres[0]) / 2)
        high = min(self.edges[-1], centres[-1] + (centres[-1] - centres[-2]) / 2)
        return distinct(np.array([low, *centres, high]))

    @cached_property
    def to_nodes(self) -> Floats:
        """Matrix from numbers in bins to numbers at nodes, float64[nodes, bins]."""
        size = len(self.centres)
        if size < 2:
            return np.eye(size)
        rows = []
        for node in self.nodes:
            row = np.zeros(size)
            place = int(np.clip(np.searchsorted(self.centres, node, side="right") - 1, 0, size - 2))
            step = (node - self.centres[place]) / (self.centres[place + 1] - self.centres[place])
            row[place], row[place + 1] = 1 - step, step
            rows.append(row)
        return np.stack(rows)


@dataclass(frozen=True)
class ColumnGrid(Brief):
    """Bins in one to three protected columns.

    Attributes
    ----------
    axes : tuple of GridAxis
    """

    axes: tuple[GridAxis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of bins in each axis."""
        return tuple(len(axis.centres) for axis in self.axes)

    @property
    def size(self) -> int:
        """The number of bins."""
        return math.prod(self.shape)

    def label(self, index: int) -> str:
        """A bin in messages."""
        where = np.unravel_index(index, self.shape)
        return ", ".join(
            f"{axis.name} {axis.edges[i]:.6g} to {axis.edges[i + 1]:.6g}"
            for axis, i in zip(self.axes, where, strict=True)
        )

    def to_nodes(self) -> Floats:
        """Matrix from numbers in bins to numbers at nodes, float64[nodes, bins]."""
        matrix: Any = np.ones((1, 1))
        for axis in self.axes:
            matrix = np.kron(matrix, axis.to_nodes)
        return matrix

    @property
    def node_shape(self) -> tuple[int, ...]:
        """The number of nodes in each axis."""
        return tuple(len(axis.nodes) for axis in self.axes)

    def index(self, columns: Mapping[str, Floats]) -> Array:
        """The bin of each jet, -1 outside of the bins and where a column is missing; int64[jets]."""
        total: Any = 0
        outside: Any = False
        for axis in self.axes:
            number = values_of(axis.name, columns)
            place = np.searchsorted(axis.edges, number, side="right") - 1
            beyond = ~(number >= axis.edges[0]) | ~(number < axis.edges[-1])
            place = np.clip(place, 0, len(axis.centres) - 1)
            total, outside = total * len(axis.centres) + place, outside | beyond
        return np.where(outside, -1, total)

    def smoothing(self, width: float, precision: Floats) -> Floats:
        """Matrix that smooths numbers in bins: for each bin a straight line in each axis through those around it.

        Parameters
        ----------
        width : float
            Standard deviation of the Gaussian weight, in bins.
        precision : float64[bins]
            Further weight of each bin, e.g. the effective number of jets.

        Returns
        -------
        float64[bins, bins]
            The weighted local linear fit (Cleveland, 1979), which leaves numbers on a plane as they are, also at the
            edges.
        """
        places = np.stack([item.ravel() for item in np.indices(self.shape)], axis=1).astype(np.float64)
        matrix = np.empty((self.size, self.size))
        scale = precision / precision.max()
        for number, place in enumerate(places):
            away = (places - place) / width
            weights = np.sqrt(np.exp(-0.5 * (away**2).sum(axis=1)) * scale)
            basis = np.column_stack([np.ones(self.size), places - place])
            matrix[number] = np.linalg.pinv(basis * weights[:, None], rcond=1e-8)[0] * weights
        return matrix

    def interpolated(self, numbers: Floats, columns: Mapping[str, Floats]) -> Floats:
        """Numbers at nodes, interpolated to jets: float64[nodes] to float64[jets]; NaN where a column is missing."""
        weights: Floats = np.ones((1, 1))
        flat: Array = np.zeros((1, 1), dtype=np.int64)
        for axis in self.axes:
            size = len(axis.nodes)
            place = np.interp(values_of(axis.name, columns), axis.nodes, np.arange(size, dtype=np.float64))
            low = np.clip(np.nan_to_num(place).astype(np.int64), 0, max(size - 2, 0))
            both = np.stack([low, np.minimum(low + 1, size - 1)])
            parts = np.stack([1 - (place - low), place - low])
            flat = (flat[:, None] * size + both).reshape(-1, both.shape[1])
            weights = (weights[:, None] * parts).reshape(-1, parts.shape[1])
        return np.asarray((numbers[flat] * weights).sum(axis=0))

    # ---------------------------------------------------------------------------------------- correctionlib

    def guarded(self, content: Any, outside: float) -> Any:
        """A tree for jets inside of the edges; others get a number."""
        for axis in reversed(self.axes):
            content = binning_node(axis.input, (axis.edges[0], axis.edges[-1]), [content], outside)
            if axis.name == RHO:
                rule = formula_node("log(x*x/(y*y))", ["mass", "pt"])
                content = {"nodetype": "transform", "input": "mass", "rule": rule, "content": content}
                for name in ("pt", "mass"):
                    content = binning_node(name, (POSITIVE, math.inf), [content], outside)
        return content

    def in_bins(self, contents: Sequence[Any], outside: float) -> Any:
        """A tree with one content for each bin."""
        values = list(contents)
        for axis in reversed(self.axes):
            size = len(axis.centres)
            values = [
                binning_node(axis.input, axis.edges, values[start : start + size], outside)
                for start in range(0, len(values), size)
            ]
        return values[0]

    def in_cells(self, contents: Sequence[Any], outside: float) -> Any:
        """A tree with one content for each cell between nodes, in coordinates that count the nodes."""
        return self.in_coordinates(self.in_cells_only(contents, outside), outside)

    def in_cells_only(self, contents: Sequence[Any], outside: float) -> Any:
        """The same where the inputs have become such coordinates."""
        values = list(contents)
        for axis in reversed(self.axes):
            size = max(len(axis.nodes) - 1, 1)
            edges = np.arange(size + 1, dtype=np.float64)
            values = [
                binning_node(axis.input, edges, values[start : start + size], "clamp")
                for start in range(0, len(values), size)
            ]
        return values[0]

    def in_coordinates(self, content: Any, outside: float) -> Any:
        """A tree in which the inputs become coordinates that count the nodes."""
        for axis in reversed(self.axes):
            nodes = axis.nodes
            steps: list[Any] = [0.0]
            for number, (low, high) in enumerate(itertools.pairwise(nodes)):
                slope = 1 / (high - low)
                steps.append(formula_node("[0]+(x-[1])*[2]", [axis.input], [float(number), float(low), float(slope)]))
            steps.append(float(len(nodes) - 1))
            rule = binning_node(axis.input, [-math.inf, *nodes, math.inf], steps, outside)
            content = {"nodetype": "transform", "input": axis.input, "rule": rule, "content": content}
        return content

    def cells(self) -> list[tuple[tuple[int, ...], list[int]]]:
        """For each cell the index of its first node in each axis, and the flat indices of the nodes at its corners."""
        shape = self.node_shape
        ranges = [range(max(size - 1, 1)) for size in shape]
        found = []
        for place in itertools.product(*ranges):
            corners = []
            for step in itertools.product((0, 1), repeat=len(shape)):
                where = [min(i + j, size - 1) for i, j, size in zip(place, step, shape, strict=True)]
                corners.append(int(np.ravel_multi_index(where, shape)))
            found.append((place, corners))
        return found


def distinct(numbers: Floats) -> Floats:
    """Sorted numbers that differ also for parsers of JSON that round the last digits, as that of correctionlib does.

    Examples
    --------
    >>> distinct(np.array([1.0, 0.0, 1.0 + 1e-15]))
    array([0., 1.])
    """
    ordered = np.unique(numbers)
    apart = np.diff(ordered) > 1e-12 * np.maximum(np.abs(ordered[1:]), np.abs(ordered[:-1]))
    return np.asarray(ordered[np.concatenate([[True], apart])])


def values_of(axis: str, columns: Mapping[str, Floats]) -> Floats:
    """The value of an axis for each jet; NaN where rho is not defined.

    Examples
    --------
    >>> values_of("rho", {"mass": np.array([100.0, 0.0]), "pt": np.array([100.0, 300.0])})
    array([ 0., nan])
    """
    if axis != RHO:
        return columns[axis]
    mass, pt = columns["mass"], columns["pt"]
    defined = (mass >= POSITIVE) & (pt >= POSITIVE)
    mass, pt = np.where(defined, mass, 1.0), np.where(defined, pt, 1.0)
    return np.where(defined, np.log(mass * mass / (pt * pt)), np.nan)


def make_grid(axes: Mapping[str, Any], sample: BackgroundSample) -> ColumnGrid:
    """The bins for a sample.

    Parameters
    ----------
    axes : mapping of str to (int or sequence of float)
        Axis -> edges, or a number of bins within the range of the sample: equidistant in the mean of the fraction of
        the jets below and the fraction of the range below.
    sample : BackgroundSample

    Returns
    -------
    ColumnGrid

    Raises
    ------
    ConfigError
        If edges do not rise.
    InvalidValues
        If a column is constant or has no finite value.
    """
    made = []
    scored = np.isfinite(sample.scores)
    for name, given in axes.items():
        values = values_of(name, sample.columns)
        there = scored & np.isfinite(values)
        if not there.any():
            raise InvalidValues(f"the protected column {name!r} has no finite value in {int(scored.sum())} jets")
        numbers, weights = values[there], np.abs(sample.weights[there])
        if numbers.min() == numbers.max():
            raise InvalidValues(
                f"the protected column {name!r} has the single value {numbers[0]:g} in all {len(numbers)} jets: "
                "nothing to decorrelate from, leave it out"
            )
        edges = _edges(name, given, numbers, weights)
        place = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, len(edges) - 2)
        inside = (numbers >= edges[0]) & (numbers < edges[-1])
        sums = np.bincount(place[inside], weights[inside], len(edges) - 1)
        moments = np.bincount(place[inside], (weights * numbers)[inside], len(edges) - 1)
        middle = (np.nan_to_num(edges[:-1], neginf=edges[1]) + np.nan_to_num(edges[1:], posinf=edges[-2])) / 2
        centres = np.where(sums > 0, moments / np.where(sums > 0, sums, 1), middle)
        # a mean over jets of one value may be rounded to the edge of the next bin
        centres = np.clip(centres, edges[:-1], np.nextafter(edges[1:], -np.inf))
        made.append(GridAxis(name, edges, centres))
    return ColumnGrid(tuple(made))


def _edges(name: str, given: Any, numbers: Floats, weights: Floats) -> Floats:
    if isinstance(given, (int, np.integer)) and not isinstance(given, bool):
        if given < 1:
            raise ConfigError(f"bins in {name}: expected a number above zero or edges, got {given}")
        order = np.argsort(numbers, kind="stable")
        reached = np.cumsum(weights[order])
        # equal sums of weights would leave one bin for a long tail, equal widths nothing in most bins
        ordered = numbers[order]
        along = (reached / reached[-1] + (ordered - ordered[0]) / (ordered[-1] - ordered[0])) / 2
        inner = ordered[np.searchsorted(along, np.arange(1, given) / given)]
        return np.unique([ordered[0], *inner, np.nextafter(ordered[-1], np.inf)])
    try:
        edges = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        edges = np.empty(0)
    if edges.ndim != 1 or len(edges) < 2 or not bool(np.all(edges[1:] > edges[:-1])):
        raise ConfigError(f"bins in {name}: expected at least two rising edges or a number of bins, got {given!r}")
    return edges


# ------------------------------------------------------------------------------------------------ curves in bins


@dataclass(frozen=True)
class BinnedCurves(Brief):
    """Thresholds of all bins.

    Attributes
    ----------
    thresholds, up, down : float64[efficiencies, bins]
        At falling efficiencies; shifted by one standard deviation.
    lowest, highest : float64[bins]
        The range of scores, up to the next number above the highest one.
    effective : float64[bins]
        Effective number of jets, with those of bins that were merged with it.
    jets : int64[bins]
        Number of jets in the bin itself.
    reach : int64[bins]
        In how many bins to each side jets were taken to resolve the efficiencies.
    """

    thresholds: Floats
    up: Floats
    down: Floats
    lowest: Floats
    highest: Floats
    effective: Floats
    jets: Array
    reach: Array

    def shifted(self, shifts: Floats) -> BinnedCurves:
        """With thresholds moved by float64[efficiencies, bins], with their uncertainties."""
        return replace(self, thresholds=self.thresholds + shifts, up=self.up + shifts, down=self.down + shifts)


def binned_curves(
    grid: ColumnGrid,
    sample: BackgroundSample,
    efficiencies: Sequence[float],
    *,
    least: float,
    sparse: str,
    resolved: Sequence[float] | None = None,
    strict: bool = True,
    neighbours: int | None = None,
    reach: int = 3,
) -> BinnedCurves:
    """The thresholds of a sample in bins.

    Parameters
    ----------
    grid : ColumnGrid
    sample : BackgroundSample
    efficiencies : sequence of float
        In falling order.
    least : float
        Minimum effective number of passing jets, and of failing jets, in each bin.
    sparse : {"merge", "refuse"}
        What is done with bins that have too few jets: jets of the bins around them are added, or it is an error.
    resolved : sequence of float, optional
        Those of the efficiencies that must be resolved; default: all.
    strict : bool
        Whether a bin that does not resolve them even with the bins around is an error; otherwise half of the jets is
        all that it must resolve.
    neighbours : int, optional
        Use this number of jets nearest to the centre of each bin instead of those in it.
    reach : int
        In how many bins to each side jets are taken at most.

    Returns
    -------
    BinnedCurves

    Raises
    ------
    InvalidValues
        If a bin has too few jets; gives the bin, and how many it takes.
    """
    index = grid.index(sample.columns)
    used = np.isfinite(sample.scores) & (index >= 0)
    index, scores, weights = index[used], sample.scores[used], sample.weights[used]
    counts = np.bincount(index, minlength=grid.size)
    order = np.argsort(index, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)])
    rows_of_bin = [order[low:high] for low, high in itertools.pairwise(starts)]
    nearest = None
    if neighbours is not None:
        nearest = _nearest(grid, {name: column[used] for name, column in sample.columns.items()}, neighbours)
    required = efficiencies if resolved is None else resolved
    size = (len(efficiencies), grid.size)
    thresholds, up, down = np.empty(size), np.empty(size), np.empty(size)
    lowest, highest, effective = np.empty(grid.size), np.empty(grid.size), np.empty(grid.size)
    reached = np.zeros(grid.size, dtype=np.int64)
    for number in range(grid.size):
        for step in range(reach + 1):
            if nearest is not None:
                rows = nearest[number]
            else:
                rows = np.concatenate([rows_of_bin[other] for other in _around(grid.shape, number, step)])
            curve = ThresholdCurve(scores[rows], weights[rows])
            failing = [value for value in required if not curve.resolves(value, least)]
            if not failing:
                break
            if not strict and step == reach and curve.resolves(0.5, least):
                break
            if sparse == "refuse" or step == reach or nearest is not None:
                hardest = min(failing, key=lambda value: min(value, 1 - value))
                what = f"bin {grid.label(number)}"
                what += f" with those {step} to each side" if step else ""
                what += f", {neighbours} nearest jets" if nearest is not None else ""
                curve.require(hardest, least, what)
        reached[number] = step
        for row, value in enumerate(efficiencies):
            point = curve.point(value)
            thresholds[row, number], up[row, number], down[row, number] = (
                point[key] for key in ("threshold", "up", "down")
            )
        lowest[number], highest[number] = curve.span[0], curve.above
        effective[number] = curve.effective
    return BinnedCurves(thresholds, up, down, lowest, highest, effective, counts, reached)


def _around(shape: tuple[int, ...], number: int, step: int) -> list[int]:
    """The bins within some steps of a bin, flat indices."""
    place = np.unravel_index(number, shape)
    ranges = [range(max(0, i - step), min(size, i + step + 1)) for i, size in zip(place, shape, strict=True)]
    return [int(np.ravel_multi_index(where, shape)) for where in itertools.product(*ranges)]


def _nearest(grid: ColumnGrid, columns: Mapping[str, Floats], neighbours: int) -> list[Array]:
    """The rows of the jets nearest to the centre of each bin, in coordinates in which neighbouring centres have the
    distance one."""
    from scipy.spatial import cKDTree

    places = []
    for axis in grid.axes:
        values = values_of(axis.name, columns)
        if len(axis.centres) < 2:
            places.append(np.zeros(len(values)))
            continue
        steps = np.arange(len(axis.centres), dtype=np.float64)
        place = np.interp(values, axis.centres, steps)
        for side, near, next_ in ((values < axis.centres[0], 0, 1), (values > axis.centres[-1], -1, -2)):
            slope = 1 / abs(axis.centres[near] - axis.centres[next_])
            place = np.where(side, steps[near] + (values - axis.centres[near]) * slope, place)
        places.append(place)
    wanted = min(neighbours, len(places[0]))
    centres = np.stack([item.ravel() for item in np.indices(grid.shape)], axis=1).astype(np.float64)
    _, rows = cKDTree(np.column_stack(places)).query(centres, k=wanted)
    return list(np.asarray(rows).reshape(len(centres), wanted))


# ------------------------------------------------------------------------------------------------ smoothing


def at_nodes(
    grid: ColumnGrid, curves: BinnedCurves, smoothing: str, width: float, *, interpolate: bool = True
) -> tuple[Floats, Floats, Floats, Floats]:
    """Smooth thresholds between bins, and take them to the nodes.

    Parameters
    ----------
    grid : ColumnGrid
    curves : BinnedCurves
    smoothing : {"none", "gaussian", "neighbours", "monotone"}
        ``gaussian``: a local linear fit with Gaussian weights and the effective numbers of jets; ``monotone``: the
        same with the inverse variance of each threshold. The neighbours were taken before.
    width : float
        Of the Gaussian, in bins.
    interpolate : bool
        Whether to go to the nodes; otherwise the numbers belong to bins.

    Returns
    -------
    thresholds, up, down : float64[2 + efficiencies, nodes]
        From the lowest score to the one above the highest; never falling with falling efficiency.
    relative : float64[nodes]
        One over the effective number of jets that determine the numbers at a node.
    """
    levels = np.vstack([curves.lowest, curves.thresholds, curves.highest])
    above = np.vstack([np.zeros(grid.size), curves.up - curves.thresholds, np.zeros(grid.size)])
    below = np.vstack([np.zeros(grid.size), curves.thresholds - curves.down, np.zeros(grid.size)])
    extend = grid.to_nodes() if interpolate else np.eye(grid.size)
    common = extend @ grid.smoothing(width, curves.effective) if smoothing in ("gaussian", "monotone") else extend
    matrices = [common] * len(levels)
    if smoothing == "monotone":
        for row in range(1, len(levels) - 1):
            sigma = np.maximum((above[row] + below[row]) / 2, 1e-12)
            matrices[row] = extend @ grid.smoothing(width, 1 / sigma**2)
    smooth = np.stack([matrix @ row for matrix, row in zip(matrices, levels, strict=True)])
    upper, lower = (
        np.stack([np.sqrt(matrix**2 @ row**2) for matrix, row in zip(matrices, rows, strict=True)])
        for rows in (above, below)
    )
    smooth = np.clip(smooth, curves.lowest.min(), curves.highest.max())
    smooth = isotonic(smooth)
    return smooth, smooth + upper, smooth - lower, common**2 @ (1 / curves.effective)


def isotonic(rows: Floats) -> Floats:
    """Numbers that never fall from row to row, nearest to those given by least squares.

    Parameters
    ----------
    rows : float64[rows, columns]

    Returns
    -------
    float64[rows, columns]

    Examples
    --------
    >>> isotonic(np.array([[0.0, 1.0], [2.0, 3.0], [1.0, 4.0]]))
    array([[0. , 1. ],
           [1.5, 3. ],
           [1.5, 4. ]])
    """
    result = rows.copy()
    for number in np.flatnonzero((np.diff(rows, axis=0) < 0).any(axis=0)):
        means: list[float] = []
        sizes: list[int] = []
        # pool adjacent violators (Ayer et al., 1955)
        for value in rows[:, number]:
            means.append(float(value))
            sizes.append(1)
            while len(means) > 1 and means[-2] > means[-1]:
                size = sizes[-2] + sizes[-1]
                means[-2] = (means[-2] * sizes[-2] + means[-1] * sizes[-1]) / size
                sizes[-2] = size
                del means[-1], sizes[-1]
        result[:, number] = np.repeat(means, sizes)
    return result


# ------------------------------------------------------------------------------------------------ nodes of the file


def binning_node(name: str, edges: Any, content: Sequence[Any], flow: Any) -> dict[str, Any]:
    return {
        "nodetype": "binning",
        "input": name,
        "edges": [json_edge(float(edge)) for edge in edges],
        "content": list(content),
        "flow": flow,
    }


def formula_node(
    expression: str, variables: Sequence[str], parameters: Sequence[float] | None = None
) -> dict[str, Any]:
    made = {"nodetype": "formula", "expression": expression, "parser": "TFormula", "variables": list(variables)}
    return made if parameters is None else {**made, "parameters": list(parameters)}


def multilinear(corners: Floats, place: Sequence[int]) -> Floats:
    """Coefficients of the function that is linear in each axis and has given values at the corners of a cell.

    Parameters
    ----------
    corners : float64[..., 2**axes]
        The last axis varies fastest.
    place : sequence of int
        Coordinates of the first corner; the opposite one is one step further in each axis.

    Returns
    -------
    float64[..., 2**axes]
        Of 1, the last coordinate, the one before it, their product, and so on.

    Examples
    --------
    >>> multilinear(np.array([1.0, 3.0]), [2])
    array([-3.,  2.])
    """
    shape = corners.shape[:-1]
    values = corners.reshape(*shape, *(2,) * len(place))
    for number, first in enumerate(place):
        axis = len(shape) + number
        low, high = np.take(values, 0, axis), np.take(values, 1, axis)
        values = np.stack([low - first * (high - low), high - low], axis)
    return values.reshape(*shape, -1)


def multilinear_text(axes: int, start: int, variables: Sequence[str]) -> str:
    """The formula for these coefficients, with parameters from a number on.

    Examples
    --------
    >>> multilinear_text(2, 1, ["y", "z"])
    '([1]+[2]*z+[3]*y+[4]*y*z)'
    """
    terms = []
    for number, powers in enumerate(itertools.product((0, 1), repeat=axes)):
        factors = [f"[{start + number}]", *(name for name, power in zip(variables, powers, strict=True) if power)]
        terms.append("*".join(factors))
    return f"({'+'.join(terms)})"
