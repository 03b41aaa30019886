"""Distance correlation of two columns, with weights and ties, in O(n log n).

Definitions: Szekely, Rizzo and Bakirov, Ann. Stat. 35 (2007) 2769, arXiv:0803.4101 (biased), and Szekely and Rizzo,
Ann. Stat. 42 (2014) 2382, arXiv:1310.2926 (unbiased). In one dimension the sums over pairs follow from sorting (Huo and
Szekely, Technometrics 58 (2016) 435, arXiv:1410.1503; Chaudhuri and Hu, CSDA 135 (2019) 15, arXiv:1810.11332); here the
pairs are sorted by blocks of half the length in each step, with NumPy alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from jettagger.arguments import Numbers, guard
from jettagger.discriminants import Measured
from jettagger.display import Brief
from jettagger.errors import InvalidValues, MismatchError
from jettagger.types import Floats

__all__ = ["DistanceCorrelation", "distance_correlation", "measure_distance_correlation"]

#: longest block of rows whose pairs are formed directly
_BLOCK = 16

#: minimum number of rows with a weight for the biased form, and for the unbiased one
_FEWEST, _FEWEST_UNBIASED = 2, 4

#: rounding of sums of weights, and of distance variances relative to the squared mean distance
_ROUNDING = 1e-12


def distance_correlation(x: Numbers, y: Numbers, weights: Numbers | None = None, *, unbiased: bool = False) -> float:
    """Distance correlation of two columns: zero if and only if they are independent, for the whole population.

    With weights each row stands for a share of the population that is proportional to its weight.

    Parameters
    ----------
    x, y : float[n]
        The columns; their units and offsets do not matter.
    weights : float[n], optional
        At least 0. Default: the same for all rows.
    unbiased : bool
        False: the correlation R from 0 to 1, in which each row is a pair with itself. It is positive also for
        independent columns, about ``1.8 / sqrt(n)`` for Gaussian ones (0.0018 for 10**6 rows). True: the bias-corrected
        *square* of R from sums over distinct rows, which is zero on average for independent columns and negative about
        as often as not.

    Returns
    -------
    float

    Raises
    ------
    InvalidValues
        If a number is not finite, a weight is negative, a column is constant, or there are too few rows.
    MismatchError
        If the lengths differ.

    Notes
    -----
    With ``a = |x_i - x_j|``, ``b = |y_i - y_j|`` and means E over pairs of rows, the squared distance covariance is
    ``E[a b] + E[a] E[b] - 2 E[E[a | i] E[b | i]]``, and the squared correlation divides it by the geometric mean of the
    distance variances, the covariances of each column with itself. In the unbiased form i, j, k and l in
    ``E[a_ij b_ij] + E[a_ij b_kl] - 2 E[a_ij b_ik]`` differ from each other.

    Examples
    --------
    >>> x = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    >>> round(distance_correlation(x, 3 * x + 1), 6)
    1.0
    >>> round(distance_correlation(x, (x - 2) ** 2), 3), round(distance_correlation(x, (x - 2) ** 2, unbiased=True), 3)
    (0.516, -0.408)
    """
    pair = _Pair.of(x, y, weights, _FEWEST_UNBIASED if unbiased else _FEWEST)
    if not unbiased:
        return math.sqrt(pair.biased_square())
    return pair.unbiased_square()


@dataclass(frozen=True)
class DistanceCorrelation(Brief):
    """A measured distance correlation; made by `measure_distance_correlation`.

    Parameters
    ----------
    biased : Measured
        R, from 0 to 1, positive also for independent columns.
    unbiased : Measured
        The bias-corrected square of R, zero on average for independent columns.
    rows : int
        Number of rows with a weight above 0.
    effective : float
        Effective number of rows, ``sum(w)^2 / sum(w^2)``.
    """

    biased: Measured
    unbiased: Measured
    rows: int
    effective: float

    def __str__(self) -> str:
        return f"R = {self.biased}, R^2 without bias = {self.unbiased} ({self.rows} rows)"


def measure_distance_correlation(x: Numbers, y: Numbers, weights: Numbers | None = None) -> DistanceCorrelation:
    """Both forms of the distance correlation, with uncertainties.

    Parameters
    ----------
    x, y, weights
        As for `distance_correlation`.

    Returns
    -------
    DistanceCorrelation

    Raises
    ------
    InvalidValues, MismatchError
        As for `distance_correlation`, in its unbiased form.

    Notes
    -----
    The uncertainties are those of the jackknife, with each row left out in turn; all of these values follow from sums
    over rows in O(n log n). For dependent columns it is consistent (Arvesen, Ann. Math. Stat. 40 (1969) 2076, for
    U-statistics). Near independence, where the first order of the statistic vanishes, it does not become too small: its
    expectation is never below the true variance (Efron and Stein, Ann. Stat. 9 (1981) 586) and about twice as large. A
    bootstrap would not be consistent there (Arcones and Gine, Ann. Stat. 20 (1992) 655). The distribution is then
    skewed: a deviation of two or three uncertainties is no test of independence.

    Examples
    --------
    >>> random = np.random.default_rng(1)
    >>> x = random.normal(size=2000)
    >>> print(measure_distance_correlation(x, x + random.normal(size=2000)))
    R = 0.6483 ± 0.013, R^2 without bias = 0.4193 ± 0.017 (2000 rows)
    >>> print(measure_distance_correlation(x, random.normal(size=2000)).unbiased)
    -0.0004625 ± 0.00065
    """
    pair = _Pair.of(x, y, weights, _FEWEST_UNBIASED + 1)
    squares, without_bias = pair.left_out()
    biased = Measured(math.sqrt(pair.biased_square()), _jackknife(np.sqrt(np.maximum(squares, 0))))
    unbiased = Measured(pair.unbiased_square(), _jackknife(without_bias))
    return DistanceCorrelation(biased, unbiased, len(pair.w), float(1 / (pair.w @ pair.w)))


def _jackknife(values: Floats) -> float:
    n = len(values)
    return math.sqrt((n - 1) / n * float(np.sum((values - values.mean()) ** 2)))


def _checked(x: Any, y: Any, weights: Any, fewest: int) -> tuple[Floats, Floats, Floats]:
    """The rows with a positive weight, columns centred with unit spread, weights that add up to one."""
    columns = {"x": np.asarray(x, dtype=np.float64), "y": np.asarray(y, dtype=np.float64)}
    n = len(columns["x"])
    columns["weights"] = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    shapes = {name: column.shape for name, column in columns.items()}
    if any(shape != (n,) for shape in shapes.values()):
        listed = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise MismatchError(f"distance correlation: expected columns of the same length, got the shapes {listed}")
    for name, column in columns.items():
        wrong = np.flatnonzero(~np.isfinite(column))
        if len(wrong):
            raise InvalidValues(
                f"distance correlation: {len(wrong)} of {n} {name} are not finite (first: row {wrong[0]}, "
                f"{column[wrong[0]]}); leave these rows out"
            )
    w = columns.pop("weights")
    negative = np.flatnonzero(w < 0)
    if len(negative):
        raise InvalidValues(
            f"distance correlation: {len(negative)} of {n} weights are negative (first: row {negative[0]}, "
            f"{w[negative[0]]:g}), expected at least 0; it is not defined for these, take their absolute value or the "
            "rows with positive weights"
        )
    if not w.all():
        columns, w = {name: column[w > 0] for name, column in columns.items()}, w[w > 0]
    if len(w) < fewest:
        raise InvalidValues(f"distance correlation: {len(w)} rows with a weight above 0, expected at least {fewest}")
    w = w / w.max()  # no overflow of the sum
    w /= w.sum()
    for name, column in columns.items():
        low, high = column.min(), column.max()
        if low == high:
            raise InvalidValues(f"distance correlation: all {len(column)} values of {name} are {low:g}: it is constant")
        column = column / max(abs(low), abs(high))  # no overflow of the range
        column -= w @ column
        columns[name] = column / np.abs(column).max()
    return columns["x"], columns["y"], w


@dataclass(frozen=True)
class _Sums:
    """Sums over pairs a, b of distances in two columns, from which a distance covariance follows.

    Each is a number, or float64[n] for sums without one row; weights w add up to one over all rows.
    """

    #: sums over i and j of w_i w_j a_ij b_ij, w_i w_j^2 a_ij b_ij and w_i^2 w_j^2 a_ij b_ij
    p11: Any
    p12: Any
    p22: Any
    #: sums over i of w_i A_i, w_i B_i, w_i A_i B_i and w_i^2 A_i B_i, with A_i = sum_j w_j a_ij
    a: Any
    b: Any
    ab1: Any
    ab2: Any

    def biased(self, w: tuple[Any, ...]) -> Any:
        """With all rows in each sum; w: sums of the powers 1 to 4 of the weights."""
        return self.p11 / w[0] ** 2 + self.a * self.b / w[0] ** 4 - 2 * self.ab1 / w[0] ** 3

    def unbiased(self, w: tuple[Any, ...]) -> Any:
        """With distinct rows in each sum, by inclusion and exclusion."""
        two = w[0] ** 2 - w[1]
        three = w[0] ** 3 - 3 * w[0] * w[1] + 2 * w[2]
        four = w[0] ** 4 - 6 * w[0] ** 2 * w[1] + 8 * w[0] * w[2] + 3 * w[1] ** 2 - 6 * w[3]
        products = self.a * self.b - 4 * self.ab2 + 2 * self.p22
        return self.p11 / two + products / four - 2 * (self.ab1 - self.p12) / three


@dataclass(frozen=True)
class _Pair:
    """Two columns sorted by the first, centred, with weights that add up to one, and mean distances of each row."""

    x: Floats
    y: Floats
    w: Floats
    order: Any
    a: Floats
    b: Floats

    @classmethod
    def of(cls, x: Any, y: Any, weights: Any, fewest: int) -> _Pair:
        x, y, w = _checked(x, y, weights, fewest)
        order = np.argsort(x, kind="stable")
        x, y, w = x[order], y[order], w[order]
        order = np.argsort(y, kind="stable")
        return cls(x, y, w, order, _mean_distances(x, w), _mean_distances(y, w, order))

    @property
    def _powers(self) -> tuple[float, ...]:
        return tuple(float(np.sum(self.w**power)) for power in (1, 2, 3, 4))

    def biased_square(self) -> float:
        """The square of the biased correlation."""
        powers = self._powers
        found = [sums.biased(powers) for sums in self._sums(distinct=False)]
        return min(max(float(found[0] / math.sqrt(found[1] * found[2])), 0.0), 1.0)

    def unbiased_square(self) -> float:
        """The bias-corrected square."""
        powers = self._powers
        if not powers[0] ** 2 - _FEWEST_UNBIASED * powers[1] > -_ROUNDING:
            raise InvalidValues(
                f"distance correlation: the effective number of rows is {1 / powers[1]:.2g}, expected at least "
                f"{_FEWEST_UNBIASED} for the unbiased form: a few weights are much larger than the others"
            )
        pairs = self._sums(distinct=True)
        found = [sums.unbiased(powers) for sums in pairs]
        if any(not value > _ROUNDING * sums.a**2 for value, sums in zip(found[1:], pairs[1:], strict=True)):
            raise InvalidValues(
                f"distance correlation: the unbiased distance variances of {len(self.w)} rows are {found[1]:.3g} and "
                f"{found[2]:.3g}, expected above 0: use more rows, or the biased form"
            )
        return float(found[0] / math.sqrt(found[1] * found[2]))

    def _sums(self, *, distinct: bool) -> list[_Sums]:
        """Those of x and y, x and x, y and y; the terms with powers of weights only for sums over distinct rows."""
        return [
            _Sums(
                *self._products(number, distinct),
                self.w @ first,
                self.w @ second,
                self.w @ (first * second),
                self.w**2 @ (first * second),
            )
            for number, (first, second) in enumerate(((self.a, self.b), (self.a, self.a), (self.b, self.b)))
        ]

    def _products(self, number: int, distinct: bool) -> tuple[float, float, float]:
        w = self.w

        def product(u: Floats) -> float:
            if number:
                return _square_products(self.x if number == 1 else self.y, u)
            return _cross_products(self.x, self.y, u, self.order)

        first = product(w)
        if not distinct:
            return first, 0.0, 0.0
        if (w == w[0]).all():
            return first, first * w[0], first * w[0] ** 2
        squares = w**2 * len(w)  # of the size of w
        last = product(squares)
        return first, (product(w + squares) - first - last) / 2 / len(w), last / len(w) ** 2

    def left_out(self) -> tuple[Floats, Floats]:
        """Squares of the biased and the unbiased correlation without one row, for each row."""
        w = self.w
        powers = tuple(total - w**power for power, total in enumerate(self._powers, 1))
        biased, unbiased = [], []
        for number, sums in enumerate(self._sums(distinct=True)):
            a, b = ((self.a, self.b), (self.a, self.a), (self.b, self.b))[number]
            one, two = (self._row_products(number, u) for u in (w, w**2))
            first, second = (self._with_others(number, u) for u in (w, w**2))
            without = _Sums(
                sums.p11 - 2 * w * one,
                sums.p12 - w * two - w**2 * one,
                sums.p22 - 2 * w**2 * two,
                sums.a - 2 * w * a,
                sums.b - 2 * w * b,
                sums.ab1 - w * a * b - w * first + w**2 * one,
                sums.ab2 - w**2 * a * b - w * second + w**2 * two,
            )
            biased.append(without.biased(powers))
            unbiased.append(without.unbiased(powers))
        return tuple(found[0] / np.sqrt(found[1] * found[2]) for found in (biased, unbiased))

    def _row_products(self, number: int, u: Floats) -> Floats:
        """``sum_j u_j a_ij b_ij`` for each i."""
        if number:
            column = self.x if number == 1 else self.y
            moments = column * u
            return column**2 * u.sum() - 2 * column * moments.sum() + moments @ column
        return _row_cross_products(self.x, self.y, u, self.order)

    def _with_others(self, number: int, u: Floats) -> Floats:
        """``sum_k u_k (A_k b_ki + B_k a_ki)`` for each i."""
        if number == 1:
            return 2 * _mean_distances(self.x, u * self.a)
        if number == 2:
            return 2 * _mean_distances(self.y, u * self.b, self.order)
        return _mean_distances(self.y, u * self.a, self.order) + _mean_distances(self.x, u * self.b)


def _mean_distances(values: Floats, w: Floats, order: Any = None) -> Floats:
    """``sum_j w_j |v_i - v_j|`` for each i, of values that are sorted, or that ``order`` sorts."""
    if order is not None:
        sums = np.empty_like(values)
        sums[order] = _mean_distances(values[order], w[order])
        return sums
    weight, moment = np.cumsum(w), np.cumsum(w * values)
    return np.asarray(values * (2 * weight - weight[-1]) - (2 * moment - moment[-1]))


def _square_products(values: Floats, w: Floats) -> float:
    """``sum_ij w_i w_j (v_i - v_j)^2``."""
    weighted = w * values
    return float(2 * (w.sum() * (weighted @ values) - weighted.sum() ** 2))


@dataclass
class _Halving:
    """Rows sorted by x in blocks that are halved again and again, each block sorted by y.

    The discordant pairs of a block are those of its halves, and those of each row of the right half with the rows of
    the left half above it in y. Blocks of a few rows are left, whose pairs are formed directly.
    """

    block: int
    size: int
    levels: int

    @classmethod
    def of(cls, n: int) -> _Halving:
        levels = 0
        while n > _BLOCK << levels:
            levels += 1
        block = -(-n >> levels)
        return cls(block, block << levels, levels)

    def blocks(self, *columns: Floats) -> Any:
        """The rows of the blocks that are left, padded with rows without weight: float64[columns, rows, blocks]."""
        padded = np.zeros((len(columns), self.size))
        padded[:, : len(columns[0])] = columns
        return padded.reshape(len(columns), -1, self.block).transpose(0, 2, 1)

    def steps(self, order: Any) -> Iterator[tuple[Any, Any, Any, int]]:
        """For each halving: which rows go to the left and to the right, the new index of the rows, half the size."""
        index = np.concatenate([order, np.arange(len(order), self.size)]).astype(np.int32)
        middles = np.array([self.size // 2])
        size = self.size
        for _ in range(self.levels):
            half = size // 2
            is_left = (index.reshape(-1, size) < middles[:, None]).ravel()
            left, right = np.flatnonzero(is_left), np.flatnonzero(~is_left)
            yield left, right, index, half
            index = np.concatenate([index[left], index[right]])
            size = half
            middles = np.concatenate([middles - (half - half // 2), middles + half // 2])


def _in_two(x: Floats, y: Floats, w: Floats, order: Any, size: int) -> tuple[Any, Any]:
    """``w + i w x`` and ``w y + i w x y``, sorted by y: two sums in one, as complex numbers add by parts."""
    lower, upper = (np.zeros(size, dtype=np.complex128) for _ in range(2))
    n, wx = len(x), w * x
    lower[:n].real, lower[:n].imag, upper[:n].real, upper[:n].imag = (item[order] for item in (w, wx, w * y, wx * y))
    return lower, upper


def _cross_products(x: Floats, y: Floats, w: Floats, order: Any) -> float:
    """``sum_ij w_i w_j |x_i - x_j| |y_i - y_j|`` of rows sorted by x, where ``order`` sorts by y.

    This is the sum of ``w_i w_j (x_i - x_j) (y_i - y_j)``, which is closed, minus twice that of the discordant pairs,
    whose terms are negative.
    """
    halving = _Halving.of(len(x))
    wx, wy = w * x, w * y
    total = w.sum() * (wx @ y) - wx.sum() * wy.sum()
    discordant = 0.0
    for _, _, terms, first, second in _discordant_within(*halving.blocks(x, y, w)):
        discordant += float(np.sum(terms * first * second))
    lower, upper = _in_two(x, y, w, order, halving.size)
    for left, right, _, half in halving.steps(order):
        above = right - np.arange(len(right))  # rows of left halves before it
        halves = [(item[left], item[right]) for item in (lower, upper)]
        (a, p), (b, q) = halves
        for item, others, sign in ((b, p, 1), (a, q, -1)):
            sums = np.concatenate([[0], np.cumsum(item)])
            ends = others.reshape(-1, half).sum(axis=1)
            discordant += sign * (np.vdot(ends, sums[half::half]) - np.vdot(others, sums[above])).imag
        lower, upper = (np.concatenate(item) for item in halves)
    return float(2 * (total - 2 * discordant))


def _row_cross_products(x: Floats, y: Floats, w: Floats, order: Any) -> Floats:
    """``sum_j w_j |x_i - x_j| |y_i - y_j|`` for each i, of rows sorted by x, where ``order`` sorts by y."""
    n, halving = len(x), _Halving.of(len(x))
    wx, wy = w * x, w * y
    sums = np.zeros(halving.size)
    blocks = halving.blocks(x, y, w)
    within = np.zeros(blocks.shape[1:])
    for before, after, terms, first, second in _discordant_within(*blocks):
        within[before] += terms * second
        within[after] += terms * first
    sums += within.T.ravel()
    lower, upper = _in_two(x, y, w, order, halving.size)
    columns = np.zeros((2, halving.size))
    columns[:, :n] = x, y
    for left, right, index, half in halving.steps(order):
        halves = [(item[left], item[right]) for item in (lower, upper)]
        blocks_before = np.arange(len(left)) // half * half
        for side, mine in enumerate((left, right)):
            others = mine - np.arange(len(mine))  # rows of the other half before each
            rows = index[mine]
            u, v = columns[:, rows]
            parts = []
            for item in halves:
                running = np.concatenate([[0], np.cumsum(item[1 - side])])
                ends = running[blocks_before + half] if side else running[blocks_before]
                parts.append((ends - running[others]) if side else (running[others] - ends))
            sums[rows] += u * v * parts[0].real - v * parts[0].imag - u * parts[1].real + parts[1].imag
        lower, upper = (np.concatenate(item) for item in halves)
    return (x * y * w.sum() - x * wy.sum() - y * wx.sum() + wx @ y) - 2 * sums[:n]


def _discordant_within(x: Any, y: Any, w: Any) -> Iterator[tuple[slice, slice, Any, Any, Any]]:
    """The negative ones of ``(x_i - x_j) (y_i - y_j)``, 0 for others, of float64[rows, blocks]: places of i and j, the
    products, weights of i and j."""
    for step in range(1, len(x)):
        before, after = slice(None, -step), slice(step, None)
        products = (x[after] - x[before]) * (y[after] - y[before])
        yield before, after, np.minimum(products, 0), w[before], w[after]


guard(globals(), "distance_correlation", "measure_distance_correlation")
