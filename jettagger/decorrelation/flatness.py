"""Whether an efficiency depends on a variable: efficiencies in bins, and the probability of a constant one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jettagger.arguments import Numbers, guard
from jettagger.decorrelation.sculpting import _edges, content_of
from jettagger.discriminants import Measured
from jettagger.discriminants import efficiency as fraction_of
from jettagger.display import Brief
from jettagger.errors import InvalidValues, MismatchError
from jettagger.types import Floats, Ints

__all__ = ["MIN_EXPECTED", "EfficiencyProfile", "efficiency_profile"]

#: bins in which fewer effective jets are expected to pass, or to fail, are merged before chi-square is computed
MIN_EXPECTED = 5.0


@dataclass(frozen=True)
class EfficiencyProfile(Brief):
    """Efficiency of a cut in bins of a variable.

    Attributes
    ----------
    edges : numpy.ndarray
        Bin edges, n + 1.
    efficiencies : tuple of Measured or None
        One per bin; None if the bin has no positive sum of weights.
    jets : numpy.ndarray
        Numbers of jets in the bins.
    outside : int
        Number of jets outside the edges or without a value, which are left out.
    chi2 : float
        Sum of squared deviations from a constant efficiency; NaN without at least two bins.
    ndf : int
        Degrees of freedom: one less than the bins, after merging.
    probability : float
        Chi-square probability of a constant efficiency.
    """

    edges: Floats
    efficiencies: tuple[Measured | None, ...]
    jets: Ints
    outside: int
    chi2: float
    ndf: int
    probability: float

    def content(self) -> dict[str, Any]:
        """All numbers, for JSON."""
        return {
            "edges": self.edges.tolist(),
            "efficiencies": [None if item is None else content_of(item) for item in self.efficiencies],
            "jets": self.jets.tolist(),
            "outside": self.outside,
            "chi2": self.chi2 if self.ndf else None,
            "ndf": self.ndf,
            "probability": self.probability if self.ndf else None,
        }


def efficiency_profile(
    values: Numbers, passes: Numbers, weights: Numbers | None = None, *, edges: Numbers
) -> EfficiencyProfile:
    """Efficiency of a cut in bins of a variable, and the probability that it is the same in all of them.

    The variance of a bin is that of the common efficiency, ``e * (1 - e) / n`` with effective numbers ``n``. Without
    weights this is Pearson's test of the table of passing and failing jets. Adjacent bins are merged until
    `MIN_EXPECTED` effective jets are expected to pass and to fail in each.

    Parameters
    ----------
    values : float[jets]
        E.g. mass or pt in GeV; NaN is left out and counted.
    passes : bool[jets]
    weights : float[jets], optional
        Default: 1.
    edges : float[bins + 1]

    Returns
    -------
    EfficiencyProfile

    Raises
    ------
    MismatchError
        If the lengths differ.
    InvalidValues
        If a weight is not finite.
    ConfigError
        If the edges do not rise.

    Examples
    --------
    >>> rng = np.random.default_rng(2)
    >>> mass = rng.uniform(50, 150, 10_000)
    >>> flat = efficiency_profile(mass, rng.random(10_000) < 0.1, edges=[50, 75, 100, 125, 150])
    >>> flat.ndf, flat.probability > 0.01
    (3, True)
    """
    bounds = _edges(edges)
    x, passed = np.asarray(values, dtype=np.float64), np.asarray(passes, dtype=bool)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64)
    for name, array in (("decisions", passed), ("weights", w)):
        if array.shape != x.shape:
            raise MismatchError(f"{array.size} {name} for {x.size} jets")
    if not np.isfinite(w).all():
        raise InvalidValues(f"{np.count_nonzero(~np.isfinite(w))} weights are not finite")
    inside = (x >= bounds[0]) & (x < bounds[-1])
    bins = np.searchsorted(bounds, x[inside], side="right") - 1
    passed, w, number = passed[inside], w[inside], len(bounds) - 1
    sums, squares, passing = (
        np.asarray(np.bincount(bins, factors, number), dtype=np.float64) for factors in (w, w**2, w * passed)
    )
    efficiencies = [
        fraction_of(passed[bins == index], w[bins == index]) if sums[index] > 0 else None for index in range(number)
    ]
    chi2, ndf, probability = _constant(sums, squares, passing)
    jets = np.bincount(bins, minlength=number)
    return EfficiencyProfile(bounds, tuple(efficiencies), jets, int(np.count_nonzero(~inside)), chi2, ndf, probability)


def _constant(sums: Floats, squares: Floats, passing: Floats) -> tuple[float, int, float]:
    """Chi-square, degrees of freedom and probability of a constant efficiency."""
    from scipy.stats import chi2 as chi2_distribution

    undefined = float("nan"), 0, float("nan")
    if not sums.sum() > 0:
        return undefined
    common = passing.sum() / sums.sum()
    if not 0 < common < 1:
        return undefined
    groups: list[Floats] = []
    for row in np.stack([sums, squares, passing], axis=1):
        if groups and not _enough(groups[-1], common):
            groups[-1] = groups[-1] + row
        else:
            groups.append(row)
    if len(groups) > 1 and not _enough(groups[-1], common):
        groups[-2:] = [groups[-2] + groups[-1]]
    if len(groups) < 2:
        return undefined
    total, square, passed = np.stack(groups, axis=1)
    numbers, fractions = total**2 / square, passed / total
    mean = float((numbers * fractions).sum() / numbers.sum())
    if not 0 < mean < 1:
        return undefined
    chi2 = float((numbers * (fractions - mean) ** 2).sum() / (mean * (1 - mean)))
    return chi2, len(groups) - 1, float(chi2_distribution.sf(chi2, len(groups) - 1))


def _enough(group: Floats, common: float) -> bool:
    total, squares, _ = group
    return bool(total > 0 and total**2 / squares * min(common, 1 - common) >= MIN_EXPECTED)


guard(globals())
