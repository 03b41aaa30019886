"""Bins of scale factors and efficiencies."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jettagger.arguments import guard, shown
from jettagger.display import Brief
from jettagger.errors import ConfigError, MismatchError, UnknownName, WrongType
from jettagger.types import Floats, Ints

__all__ = ["AXES", "BinAxis", "as_numbers", "bin_index", "bin_label", "check_axes", "inside", "require_same_bins"]

#: name of an axis -> its column and unit
AXES: Mapping[str, tuple[str, str]] = {
    "pt": ("pt", "GeV"),
    "mass": ("msoftdrop", "GeV"),
    "abseta": ("eta", ""),
    "eta": ("eta", ""),
}


@dataclass(frozen=True)
class BinAxis(Brief):
    """Bins in one quantity of jets.

    Parameters
    ----------
    name : str
        ``pt``, ``mass``, ``abseta`` or ``eta``.
    edges : sequence of float
        Increasing, ``low <= x < high``; the outermost may be infinite.
    column : str
        Column of the jets; default: ``pt``, ``msoftdrop`` or ``eta``. The absolute value is taken for ``abseta``.
    unit : str
        Default: GeV for pt and mass.

    Raises
    ------
    UnknownName
        If the axis is unknown.
    ConfigError
        If the edges do not increase.

    Examples
    --------
    >>> BinAxis("pt", [300, 400, 600]).label(1)
    'pt 400 to 600 GeV'
    """

    name: str
    edges: Sequence[float]
    column: str = ""
    unit: str = ""

    def __post_init__(self) -> None:
        if self.name not in AXES:
            raise UnknownName("axis of bins", self.name, AXES)
        column, unit = AXES[self.name]
        edges = tuple(float(edge) for edge in self.edges)
        if len(edges) < 2 or not all(low < high for low, high in itertools.pairwise(edges)):
            raise ConfigError(f"edges in {self.name}: expected at least two increasing numbers, got {list(self.edges)}")
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "column", self.column or column)
        object.__setattr__(self, "unit", self.unit or unit)

    @property
    def size(self) -> int:
        """The number of bins."""
        return len(self.edges) - 1

    @property
    def inner(self) -> Floats:
        """A number in each bin, float64[bins]: the centre, or beside the finite edge of an infinite bin."""
        low, high = np.asarray(self.edges[:-1]), np.asarray(self.edges[1:])
        finite_low = np.where(np.isfinite(low), low, np.where(np.isfinite(high), high, 1.0) - 1.0)
        finite_high = np.where(np.isfinite(high), high, finite_low + 1.0)
        return np.asarray((finite_low + finite_high) / 2)

    def label(self, index: int) -> str:
        """A bin in words, with the unit."""
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.name} {self.edges[index]:g} to {self.edges[index + 1]:g}{unit}"

    def numbers(self, columns: Mapping[str, Any]) -> Floats:
        """The quantity from columns of jets, float64[jets]; NaN where missing.

        Parameters
        ----------
        columns : mapping of str to float array
            Those named by `column`.
        """
        values = np.asarray(columns[self.column], dtype=np.float64)
        return np.abs(values) if self.name == "abseta" else values

    def to_dict(self) -> dict[str, Any]:
        """Content for JSON."""
        edges = [edge if math.isfinite(edge) else "inf" if edge > 0 else "-inf" for edge in self.edges]
        return {"name": self.name, "edges": edges, "column": self.column, "unit": self.unit}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> BinAxis:
        """From the result of `to_dict`."""
        return cls(record["name"], [float(edge) for edge in record["edges"]], record["column"], record["unit"])


def as_numbers(given: Any, what: str) -> Floats:
    """An array of numbers.

    Parameters
    ----------
    given : array or nested list
    what : str
        For messages.

    Returns
    -------
    float64[...]

    Raises
    ------
    WrongType
        If it is something else.
    """
    try:
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        got, expected = shown(given), "an array of numbers"
        raise WrongType(f"{what}: got {got}, expected {expected}", where=what, got=got, expected=expected) from error


def check_axes(axes: Sequence[BinAxis], what: str) -> None:
    """Refuse a combination of axes that jets are not binned in.

    Parameters
    ----------
    axes : sequence of BinAxis
    what : str
        For messages.

    Raises
    ------
    ConfigError
        If pt is missing, an axis is there twice, or there are both eta and its absolute value.
    """
    names = [axis.name for axis in axes]
    if "pt" not in names or len(set(names)) < len(names) or {"eta", "abseta"} <= set(names):
        raise ConfigError(
            f"{what}: expected bins in pt, and in mass, abseta or eta if needed, got {', '.join(names) or 'none'}"
        )


def bin_label(axes: Sequence[BinAxis], index: Sequence[int]) -> str:
    """A bin in words.

    Parameters
    ----------
    axes : sequence of BinAxis
    index : sequence of int
        In each axis.

    Returns
    -------
    str
        ``all jets`` without axes.
    """
    return ", ".join(axis.label(int(i)) for axis, i in zip(axes, index, strict=False)) or (
        f"bin {', '.join(map(str, index))}" if len(index) else "all jets"
    )


def bin_index(axes: Sequence[BinAxis], columns: Mapping[str, Any]) -> Ints:
    """The bin of each jet, int64[jets], in C order of the axes; -1 outside of the bins and where a column is missing.

    Parameters
    ----------
    axes : sequence of BinAxis
    columns : mapping of str to float array
        By name of the column.

    Returns
    -------
    int64[jets]

    Examples
    --------
    >>> bin_index([BinAxis("pt", [200, 300, 400])], {"pt": np.array([250.0, 300.0, 400.0, np.nan])}).tolist()
    [0, 1, -1, -1]
    """
    total: Any = 0
    good: Any = True
    for axis in axes:
        numbers = axis.numbers(columns)
        place = np.searchsorted(axis.edges, numbers, side="right") - 1
        good = good & (numbers >= axis.edges[0]) & (numbers < axis.edges[-1])
        total = total * axis.size + np.clip(place, 0, axis.size - 1)
    return np.where(good, total, -1)


def inside(axes: Sequence[BinAxis], columns: Mapping[str, Any]) -> Any:
    """Which jets are inside of the bins, bool[jets].

    Parameters
    ----------
    axes : sequence of BinAxis
    columns : mapping of str to float array

    Returns
    -------
    bool[jets]
    """
    return bin_index(axes, columns) >= 0


def require_same_bins(first: Sequence[BinAxis], second: Sequence[BinAxis], what: str, other: str) -> None:
    """Refuse different bins.

    Parameters
    ----------
    first, second : sequence of BinAxis
    what, other : str
        What they belong to, for the message.

    Raises
    ------
    MismatchError
        Gives the axis and both edges.
    """
    names, others = [axis.name for axis in first], [axis.name for axis in second]
    if names != others:
        raise MismatchError(
            f"{what} has bins in {', '.join(names) or 'nothing'}, {other} in {', '.join(others) or 'nothing'}: "
            "expected the same"
        )
    for axis, theirs in zip(first, second, strict=True):
        if not np.array_equal(np.asarray(axis.edges), np.asarray(theirs.edges)):
            raise MismatchError(
                f"bins in {axis.name}: {what} has the edges {_shown(axis)}, {other} {_shown(theirs)}: expected the same"
            )


def _shown(axis: BinAxis) -> str:
    return ", ".join(f"{edge:g}" for edge in axis.edges)


guard(globals())
