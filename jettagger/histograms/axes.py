"""The variables of histograms and their bins."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from jettagger.arguments import guard, is_number
from jettagger.config.yamlfile import check_keys
from jettagger.display import Brief
from jettagger.errors import ConfigError
from jettagger.expressions import Expression, parse

__all__ = ["AxisSpec", "fine_edges"]


@dataclass(frozen=True)
class AxisSpec(Brief):
    """One variable and its bins.

    Parameters
    ----------
    name : str
        Name of the axis.
    bins : (int, float, float), optional
        Number of equal bins, lower and upper end.
    edges : sequence of float, optional
        Increasing bin edges, instead of ``bins``.
    label : str
        Label for plots; default: the name.
    unit : str
        Unit, e.g. ``"GeV"``; empty for dimensionless variables.
    expression : str
        Expression to fill, in the given columns; default: the column with the name of the axis.

    Raises
    ------
    ConfigError
        If the edges are not increasing and finite, or if both or neither of ``bins`` and ``edges`` are given.

    Examples
    --------
    >>> AxisSpec("mass", bins=(40, 50, 250), label="jet mass", unit="GeV").title
    'jet mass [GeV]'
    """

    name: str
    bins: tuple[int, float, float] | None = None
    edges: tuple[float, ...] | None = None
    label: str = ""
    unit: str = ""
    expression: str = ""

    def __post_init__(self) -> None:
        what = f"axis {self.name!r}"
        if not self.name.isidentifier():
            raise ConfigError(f"{what}: a name has letters, digits and underscores only")
        if (self.bins is None) == (self.edges is None):
            got = "neither" if self.bins is None else "both"
            raise ConfigError(f"{what}: give either bins (number, low, high) or edges, got {got}")
        if self.bins is not None:
            if len(self.bins) != 3 or not _is_count(self.bins[0]) or not _rising(self.bins[1:]):
                raise ConfigError(f"{what}: bins must be (number, low, high) with low < high, got {self.bins}")
            object.__setattr__(self, "bins", (int(self.bins[0]), float(self.bins[1]), float(self.bins[2])))
        if self.edges is not None:
            if len(self.edges) < 2 or not _rising(self.edges):
                raise ConfigError(f"{what}: edges must be at least two rising numbers, got {list(self.edges)}")
            object.__setattr__(self, "edges", tuple(float(edge) for edge in self.edges))
        _ = self.parsed

    @cached_property
    def parsed(self) -> Expression:
        """The parsed expression."""
        return parse(self.expression or self.name, where=f"axis {self.name!r}")

    @property
    def title(self) -> str:
        """Label and unit, for plots."""
        label = self.label or self.name
        return f"{label} [{self.unit}]" if self.unit else label

    @property
    def n_bins(self) -> int:
        """Number of bins, without flow."""
        return self.bins[0] if self.bins is not None else len(self.edges or ()) - 1

    def make(self) -> Any:
        """The ``hist`` axis."""
        import hist

        if self.bins is not None:
            return hist.axis.Regular(*self.bins, name=self.name, label=self.title)
        return hist.axis.Variable(self.edges or (), name=self.name, label=self.title)

    @classmethod
    def from_dict(cls, record: Any, name: str, where: Any = "") -> AxisSpec:
        """Read a mapping with the names of the parameters as keys, as in YAML files.

        Raises
        ------
        ConfigError
            If a key is unknown or a value is invalid; gives its place.
        """
        check_keys(record, ("bins", "edges", "label", "unit", "expression"), where=where)
        place = where() if callable(where) else where
        for key in ("bins", "edges"):
            items = record.get(key)
            if items is not None and (not isinstance(items, Sequence) or not all(map(is_number, items))):
                raise ConfigError(f"{place}: {key!r} must be a list of numbers, got {items!r}")
        for key in ("label", "unit", "expression"):
            if not isinstance(record.get(key, ""), str):
                raise ConfigError(f"{place}: {key!r} must be text, got {record[key]!r}")
        values: dict[str, Any] = dict(record)
        values.update({key: tuple(values[key]) for key in ("bins", "edges") if values.get(key) is not None})
        try:
            return cls(name, **values)
        except ConfigError as error:
            raise ConfigError(f"{place}: {error}") from error


def _is_count(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value > 0)


def _rising(values: Sequence[float]) -> bool:
    return all(math.isfinite(value) for value in values) and all(a < b for a, b in itertools.pairwise(values))


def fine_edges() -> tuple[float, ...]:
    """Bins for ROC curves of any discriminant, fine enough to change the area by no more than about 0.001.

    Returns
    -------
    tuple of float
        Increasing. 250 per decade of the distance to zero, from 1e-8, and to one; steps of 0.01 from -30 to 30, for
        logarithms.

    Examples
    --------
    >>> edges = np.array(fine_edges())
    >>> near = edges[(edges > 0.001) & (edges < 0.002)]
    >>> bool(len(near) > 70)
    True
    """
    decades = np.logspace(-8, 3, 11 * 250 + 1)
    steps = np.linspace(-30, 30, 6001)
    edges = np.concatenate([-decades, [0.0], decades, 1 - decades[decades < 0.5], steps])
    return tuple(np.unique(np.round(edges, 12)).tolist())


guard(globals())
