"""Backgrounds from data: a region that passes is a region that fails times a transfer factor.

The expectation of the background in bin ``i`` is ``q_i`` where it fails and ``q_i f(x_i)`` where it passes. The yields
``q_i`` are free parameters, so the data of the failing region determine them with their own fluctuations; the transfer
factor is a polynomial with coefficients above zero in the basis of Bernstein, ``f(x) = r sum_k a_k B_k(x)``. Both are
fitted together with the signal. As a sum of products it is exact in pyhf (a sample for each ``k`` with the factors
``q_i`` and ``a_k``) and in cards of combine (a process for each bin, whose rate is a formula).

With the method ``abcd`` the transfer factor is measured in two further regions: all four are fitted together, and a
polynomial of order 0 is the ratio ``B C / D`` of counting experiments.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import ConfigError
from jettagger.types import Floats

__all__ = [
    "ABCD",
    "COEFFICIENT",
    "POLYNOMIAL",
    "YIELD",
    "Transfer",
    "TransferFactor",
    "bernstein",
    "coefficients",
    "joined",
]

#: methods by which transfer factors are measured
POLYNOMIAL, ABCD = "polynomial", "abcd"
#: how the names of parameters begin: those of coefficients, and of yields in bins of failing regions
COEFFICIENT, YIELD = "tf_", "fail_"
#: what follows the background in the names of samples that belong to one coefficient
PART = "__tf"
#: the highest order of a polynomial in one variable
HIGHEST = 6
#: smallest starting value of a coefficient, relative to the mean transfer factor: at 0 there is no gradient
SMALLEST = 0.02
#: upper bounds of coefficients and yields, relative to their starting values
ROOM = 10.0


@dataclass(frozen=True)
class TransferFactor(Brief):
    """How a background is taken from data.

    Parameters
    ----------
    passing, failing : str
        Region with the prediction, and the one from whose data it is made.
    method : str
        ``polynomial``: the transfer factor is fitted in these regions; ``abcd``: in those of ``control``, too.
    order : sequence of int
        Order of the polynomial in each variable of the histogram; default: 0 for ``abcd``.
    control : (str, str), optional
        For ``abcd``: the regions, passing and failing, with the same transfer factor.
    validation : (str, str), optional
        Regions, passing and failing, in which the prediction is compared with data.

    Raises
    ------
    ConfigError
        If regions are missing, superfluous or used twice, or an order is not between 0 and 6.

    Examples
    --------
    >>> TransferFactor("SR", "CR", order=[1, 2]).pairs
    (('SR', 'CR'),)
    """

    passing: str
    failing: str
    method: Literal["polynomial", "abcd"] = "polynomial"
    order: Sequence[int] = ()
    control: tuple[str, str] | None = None
    validation: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if self.method == ABCD and self.control is None:
            raise ConfigError("the method abcd measures the transfer factor in two further regions: give 'control'")
        if self.method == POLYNOMIAL and self.control is not None:
            raise ConfigError("'control' belongs to the method abcd; a polynomial is fitted in 'pass' and 'fail'")
        if self.method == POLYNOMIAL and not self.order:
            raise ConfigError("the method polynomial needs the 'order' in each variable, e.g. [1, 2]")
        names = [name for pair in (*self.pairs, self.validation or ()) for name in pair]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ConfigError(f"the region {twice[0]!r} is used twice by one transfer factor, expected once")
        if any(isinstance(order, bool) or not 0 <= order <= HIGHEST for order in self.order):
            raise ConfigError(f"the order of a transfer factor: got {list(self.order)}, expected 0 to {HIGHEST} each")

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Regions, passing and failing, that are fitted together; that of the prediction is the first."""
        first = (self.passing, self.failing)
        return (first,) if self.control is None else (first, self.control)


@dataclass(frozen=True)
class Transfer(Brief):
    """A background from data in the regions of a fit.

    Attributes
    ----------
    process : str
    pairs : tuple of (str, str)
        Regions, passing and failing.
    basis : tuple of float64[coefficients, bins]
        The polynomials of the basis in the bins of each pair.
    start : float64[coefficients]
        Coefficients relative to `ratio` at which fits start.
    ratio : float
        Mean transfer factor.
    predicted : tuple of str
        Passing regions to which normalisation uncertainties of the background apply.
    """

    process: str
    pairs: tuple[tuple[str, str], ...]
    basis: tuple[Floats, ...]
    start: Floats
    ratio: float
    predicted: tuple[str, ...]

    def pair_of(self, region: str) -> int | None:
        """The position of the pair with a region, or None."""
        return next((position for position, pair in enumerate(self.pairs) if region in pair), None)

    def passes(self, region: str) -> bool:
        """Whether a region of the pairs is a passing one."""
        return any(region == passing for passing, _ in self.pairs)

    @property
    def coefficient_names(self) -> list[str]:
        """The parameters of the transfer factor."""
        return [f"{COEFFICIENT}{self.process}_{k}" for k in range(len(self.start))]

    def yield_name(self, position: int) -> str:
        """The parameters, one per bin, of the yields in a failing region."""
        return f"{YIELD}{self.process}_{self.pairs[position][1]}"

    def sample_name(self, k: int) -> str:
        """The part of the background in a passing region that belongs to one coefficient."""
        return f"{self.process}{PART}{k}"

    @property
    def bin_names(self) -> list[str]:
        """The background in each bin as a process of a card."""
        return [f"{self.process}_bin{position}" for position in range(1, self.basis[0].shape[1] + 1)]

    def owns(self, process: str) -> bool:
        """Whether a process is this background, or one of its bins."""
        return process == self.process or process in self.bin_names

    def factor(self, position: int) -> Floats:
        """The transfer factor at the start, float64[bins], of a pair."""
        return np.asarray(self.ratio * (self.start @ self.basis[position]))

    @property
    def bounds(self) -> list[tuple[float, float]]:
        """Bounds of the coefficients."""
        return [(0.0, ROOM * max(1.0, float(f"{value:.2g}"))) for value in self.start]


def joined(sample: Mapping[str, Any]) -> str:
    """The process of a sample of a workspace: that of its name, or the background of which it is a part.

    Parameters
    ----------
    sample : mapping
        In pyhf's JSON format.

    Returns
    -------
    str
    """
    name = str(sample["name"])
    process, _, k = name.rpartition(PART)
    if process and any(modifier["name"] == f"{COEFFICIENT}{process}_{k}" for modifier in sample["modifiers"]):
        return process
    return name


def bernstein(order: int, x: Floats) -> Floats:
    """The Bernstein polynomials ``B_k(x) = C(n, k) x^k (1 - x)^(n - k)`` of order n.

    Parameters
    ----------
    order : int
    x : numpy.ndarray, float64[points]
        Between 0 and 1.

    Returns
    -------
    numpy.ndarray, float64[order + 1, points]
        Their sum is 1.

    Examples
    --------
    >>> bernstein(2, np.array([0.0, 0.5, 1.0])).tolist()
    [[1.0, 0.25, 0.0], [0.0, 0.5, 0.0], [0.0, 0.25, 1.0]]
    """
    return np.array([math.comb(order, k) * x**k * (1 - x) ** (order - k) for k in range(order + 1)])


def coefficients(
    passing: Sequence[Floats], failing: Sequence[Floats], basis: Sequence[Floats]
) -> tuple[Floats, float] | None:
    """The least-squares transfer factor with coefficients above zero, as a start for fits.

    Parameters
    ----------
    passing, failing : sequence of float64[bins]
        Events of the background in each pair of regions.
    basis : sequence of float64[coefficients, bins]

    Returns
    -------
    start : float64[coefficients]
        Relative to the ratio.
    ratio : float
        Sum of passing events over that of failing ones.
    None
        If one of both is not above zero.
    """
    from scipy.optimize import nnls

    above, below, functions = np.concatenate(passing), np.concatenate(failing), np.concatenate(basis, axis=1)
    if not (above.sum() > 0 and below.sum() > 0):
        return None
    ratio = float(above.sum() / below.sum())
    below = np.maximum(below, 0.0)
    # fluctuations of the expectation: those of the observation would favour bins that fluctuated down
    spread = np.sqrt(np.maximum(below * ratio * (1 + ratio), ratio**2 + 1e-12))
    start, _ = nnls((functions * below * ratio / spread).T, above / spread)
    return np.maximum(start, SMALLEST), ratio


guard(globals())
