"""Reweighting and down-sampling of kinematics: the spectra of a class become flat, or those of another class.

Four methods: ``weights`` in bins, ``boosted`` (gradient-boosted weights of hep_ml, without bins), ``downsample`` (each
jet at most once, no weights) and ``resample`` (repeated jets, no weights). All have the same target, bins and report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.decorrelation.sculpting import jensen_shannon
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, MismatchError, hint, require
from jettagger.types import Array, Floats, Ints
from jettagger.weights import check_weights

__all__ = [
    "METHODS",
    "BoostedWeights",
    "Multiplicities",
    "Reweighted",
    "SpectrumBins",
    "SpectrumChange",
    "SpectrumTally",
    "bin_factors",
    "capped_factors",
    "expected_multiplicities",
    "refuse_constant",
    "reweight",
]

#: the methods
METHODS = ("weights", "boosted", "downsample", "resample")

#: maximum ratio of a factor, or of a multiplicity, to its average
CAP = 20.0


@dataclass(frozen=True)
class SpectrumBins(Brief):
    """Bins in one or more columns.

    Parameters
    ----------
    edges : mapping
        Column -> rising edges, at least two.

    Raises
    ------
    InvalidValues
        If there is no column, or if edges do not rise or are not finite.

    Examples
    --------
    >>> bins = SpectrumBins({"pt": (200, 300, 500), "mass": (0, 50, 100, 200)})
    >>> bins.cells
    6
    >>> bins.index({"pt": np.array([250.0, 900.0]), "mass": np.array([60.0, -1.0])}).tolist()
    [1, 3]
    """

    edges: Mapping[str, Sequence[float]]

    def __post_init__(self) -> None:
        if not self.edges:
            raise InvalidValues("no column to reweight, expected at least one with its bin edges")
        for name, edges in self.edges.items():
            rising = len(edges) > 1 and all(low < high for low, high in pairwise(edges))
            if not rising or not np.isfinite(edges).all():
                raise InvalidValues(f"edges of {name!r}: expected at least two rising numbers, got {list(edges)}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of bins of each column."""
        return tuple(len(edges) - 1 for edges in self.edges.values())

    @property
    def cells(self) -> int:
        """Number of bins in all columns together."""
        return int(np.prod(self.shape))

    def index(self, columns: Mapping[str, Any]) -> Ints:
        """The bin of each jet, int64[n]; jets outside are assigned to the nearest bin.

        Raises
        ------
        InvalidValues
            If a value is NaN.
        """
        cell: Any = np.int64(0)
        for name, edges in self.edges.items():
            values = np.asarray(columns[name], dtype=np.float64)
            missing = np.flatnonzero(np.isnan(values))
            if len(missing):
                raise InvalidValues(
                    f"{name!r} is NaN for {len(missing)} of {len(values)} jets (first: {missing[0]}), which have no "
                    "place in its spectrum: leave them out"
                )
            place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
            cell = cell * (len(edges) - 1) + place
        return np.asarray(cell, dtype=np.int64)

    def clipped(self, columns: Mapping[str, Any]) -> Floats:
        """The values within the range of the edges, float64[n, columns]."""
        return np.stack(
            [np.clip(np.asarray(columns[name], dtype=np.float64), e[0], e[-1]) for name, e in self.edges.items()],
            axis=1,
        )

    def uniform(self, cells: Ints, random: np.random.Generator) -> Floats:
        """Points that are uniform within given bins, int64[n]: float64[n, columns]."""
        places = np.unravel_index(cells, self.shape)
        points = []
        for place, edges in zip(places, self.edges.values(), strict=True):
            low, high = np.asarray(edges[:-1])[place], np.asarray(edges[1:])[place]
            points.append(random.uniform(low, high))
        return np.stack(points, axis=1)

    def cumulative(self, sums: Floats) -> dict[str, Floats]:
        """Column -> cumulative distribution at the upper edges, float64[bins], of sums, float64[cells]."""
        table = sums.reshape(self.shape) / sums.sum()
        found = {}
        for axis, name in enumerate(self.edges):
            found[name] = np.cumsum(table.sum(axis=tuple(i for i in range(table.ndim) if i != axis)))
        return found


def bin_factors(sums: Floats, target: Floats | None = None, *, cap: float = CAP) -> Floats:
    """Factors on the weights that turn a binned spectrum into another one.

    Parameters
    ----------
    sums : float64[cells]
        Sums of the weights; at least one is positive.
    target : float64[cells], optional
        The spectrum to reach, with any normalisation; default: the same in all bins with a positive sum.
    cap : float
        Maximum factor.

    Returns
    -------
    float64[cells]
        0 where the sum is not positive. Where no factor is capped and no bin of the target is empty, the sum of all
        weights stays the same.

    Raises
    ------
    InvalidValues
        If no bin has both.

    Examples
    --------
    >>> bin_factors(np.array([1.0, 3.0, 0.0])).tolist()
    [2.0, 0.6666666666666666, 0.0]
    >>> bin_factors(np.array([1.0, 3.0, 0.0]), np.array([2.0, 2.0, 0.0])).tolist()
    [2.0, 0.6666666666666666, 0.0]
    """
    sums = np.maximum(sums, 0.0)
    factors, filled = np.zeros_like(sums), sums > 0
    if not filled.any():
        raise InvalidValues("no bin has a positive sum of weights")
    if target is None:
        desired = np.full_like(sums, sums.sum() / np.count_nonzero(filled))
    else:
        wanted = np.maximum(target, 0.0)
        if not (wanted[filled] > 0).any():
            raise InvalidValues("the spectra have no bin in common, so that none can be reweighted to the other")
        desired = wanted / wanted.sum() * sums.sum()
    factors[filled] = np.minimum(desired[filled] / sums[filled], cap)
    return factors


def expected_multiplicities(weights: Array, method: str, *, mean: float, largest: float, cap: float = CAP) -> Floats:
    """How often each jet is taken on average.

    Parameters
    ----------
    weights : float[n]
        Weights of the jets that have the spectrum to reach, not negative.
    method : str
        ``downsample``: proportional to the weight, 1 for the largest one; ``resample``: the weight over its mean.
    mean, largest : float
        Mean and maximum of the weights of all jets of the class.
    cap : float
        Maximum weight over the mean.

    Returns
    -------
    float64[n]

    Examples
    --------
    >>> weights = np.array([0.5, 1.0, 1.5])
    >>> expected_multiplicities(weights, "resample", mean=1, largest=1.5).tolist()
    [0.5, 1.0, 1.5]
    >>> expected_multiplicities(weights, "downsample", mean=1, largest=1.5).round(3).tolist()
    [0.333, 0.667, 1.0]
    """
    top = cap * mean
    scale = mean if method == "resample" else min(largest, top)
    return np.minimum(np.asarray(weights, dtype=np.float64), top) / scale


class Multiplicities(Brief):
    """Draws of whole numbers with given expectations: floor or ceil of each, as in systematic resampling.

    The rounded running sum of the expectations, from a random start, gives the numbers (the minimum variance
    resampling of Carpenter, Clifford, Fearnhead 1999), separately for each stratum and in random order. The total of a
    stratum thus differs from its expectation by less than one, however many pieces it is drawn in.

    Parameters
    ----------
    strata : int
        Number of strata, e.g. bins of the spectrum.
    random : numpy.random.Generator

    Examples
    --------
    >>> draw = Multiplicities(1, np.random.default_rng(1))
    >>> counts = draw(np.full(1000, 0.25), np.zeros(1000, dtype=int))
    >>> sorted(set(counts.tolist())), int(counts.sum())
    ([0, 1], 250)
    """

    def __init__(self, strata: int, random: np.random.Generator) -> None:
        self._random = random
        self._position = random.random(strata)

    def __call__(self, expected: Floats, stratum: Ints) -> Ints:
        """Numbers, int64[n], for expectations float64[n] in strata int64[n]."""
        order = self._random.permutation(len(expected))
        order = order[np.argsort(stratum[order], kind="stable")]
        values, group = expected[order], stratum[order]
        running = np.cumsum(values)
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        before = np.concatenate([[0.0], running])[starts]
        lengths = np.diff(np.append(starts, len(group)))
        running += np.repeat(self._position[group[starts]] - before, lengths)
        previous = np.concatenate([[0.0], running[:-1]])
        previous[starts] = self._position[group[starts]]
        # rounding of long sums must not make another number of an expectation that is a whole one
        counts = np.clip(np.floor(running) - np.floor(previous), np.floor(values), np.ceil(values))
        ends = starts + lengths - 1
        self._position[group[starts]] = running[ends] - np.floor(running[ends])
        found = np.empty(len(expected), dtype=np.int64)
        found[order] = counts
        return found


class BoostedWeights(Brief):
    """Gradient-boosted weights: trees that tell two samples apart give the ratio of their densities.

    `hep_ml.reweight.GBReweighter` (Rogozhnikov 2016, doi:10.1088/1742-6596/762/1/012036).

    Parameters
    ----------
    trees, depth, min_jets : int
        Number and depth of the trees; minimum number of jets in a leaf.
    rate : float
        Learning rate.
    seed : int

    Raises
    ------
    MissingExtra
        If hep_ml is not installed (when it is fitted).
    """

    def __init__(
        self, *, trees: int = 60, depth: int = 3, min_jets: int = 200, rate: float = 0.2, seed: int = 1
    ) -> None:
        self._settings = {
            "n_estimators": trees,
            "max_depth": depth,
            "min_samples_leaf": min_jets,
            "learning_rate": rate,
            "gb_args": {"random_state": seed},
        }
        self._trees: Any = None

    def fit(
        self,
        original: Floats,
        target: Floats,
        original_weights: Floats | None = None,
        target_weights: Floats | None = None,
    ) -> BoostedWeights:
        """Fit the ratio of two samples.

        Parameters
        ----------
        original, target : float64[n, columns], float64[m, columns]
        original_weights, target_weights : float64[n], float64[m], optional
            Not negative.

        Returns
        -------
        BoostedWeights
            Itself.
        """
        hep_ml_reweight = require("hep_ml.reweight", "train", "boosted weights")
        self._trees = hep_ml_reweight.GBReweighter(**self._settings)
        self._trees.fit(original, target, original_weights, target_weights)
        return self

    def __call__(self, values: Floats) -> Floats:
        """Factors on the weights, float64[n], with any normalisation, for values float64[n, columns]."""
        return np.asarray(self._trees.predict_weights(values), dtype=np.float64)


@dataclass(frozen=True)
class SpectrumChange(Brief):
    """What a method did to one class.

    Distances are from the spectrum to reach. Numbers of jets and weights count a jet once, with the sum of the weights
    of its copies.

    Parameters
    ----------
    jets, kept, repeated : int
        Numbers of jets, of those with a weight other than zero, and of those that are taken more than once.
    effective_before, effective_after : float
        Effective number of jets, ``sum(w)^2 / sum(w^2)`` (Kish).
    largest_before, largest_after : float
        Largest weight over the mean weight.
    divergence_before, divergence_after : float
        Jensen-Shannon divergence of the binned spectra in all columns together, in bits.
    distance_before, distance_after : dict of str to float
        Column -> maximum difference of the cumulative distributions at the bin edges (Kolmogorov distance of the binned
        spectra).
    unreachable : float
        Fraction of the spectrum to reach that lies in bins without jets.
    empty, capped : int
        Numbers of these bins, and of the bins in which the factor is limited.
    """

    jets: int
    kept: int
    repeated: int
    effective_before: float
    effective_after: float
    largest_before: float
    largest_after: float
    divergence_before: float
    divergence_after: float
    distance_before: dict[str, float]
    distance_after: dict[str, float]
    unreachable: float
    empty: int
    capped: int


@dataclass
class SpectrumTally(Brief):
    """Sums over jets, in pieces, from which a `SpectrumChange` is computed.

    Parameters
    ----------
    bins : SpectrumBins
    """

    bins: SpectrumBins
    jets: int = 0
    kept: int = 0
    repeated: int = 0
    before: Any = field(init=False)
    after: Any = field(init=False)
    _squares: Any = field(init=False)
    _largest: Any = field(init=False)

    def __post_init__(self) -> None:
        self.before, self.after = np.zeros(self.bins.cells), np.zeros(self.bins.cells)
        self._squares, self._largest = np.zeros(2), np.zeros(2)

    def add(self, cell: Ints, before: Array, after: Array, copies: Array | None = None) -> None:
        """Add jets: bin, weights before and after, each [n]; copies, int64[n], of jets that are drawn."""
        if not len(cell):
            return
        self.jets += len(cell)
        self.kept += int(np.count_nonzero(after))
        self.repeated += 0 if copies is None else int(np.count_nonzero(copies > 1))
        for number, (sums, weights) in enumerate(((self.before, before), (self.after, after))):
            wide = np.asarray(weights, dtype=np.float64)
            sums += np.bincount(cell, wide, minlength=len(sums))
            self._squares[number] += float(np.sum(wide**2))
            self._largest[number] = max(self._largest[number], float(wide.max()))

    def change(self, target: Floats | None, capped: int = 0) -> SpectrumChange:
        """The result.

        Parameters
        ----------
        target : float64[cells], optional
            The spectrum to reach; default: the same in all bins with jets.
        capped : int
            Number of bins in which the factor is limited.

        Returns
        -------
        SpectrumChange
        """
        filled = self.before > 0
        wanted = filled.astype(np.float64) if target is None else np.maximum(target, 0.0)
        wanted = wanted / wanted.sum()
        totals = np.array([self.before.sum(), self.after.sum()])
        effective = totals**2 / np.maximum(self._squares, 1e-300)
        largest = self._largest * self.jets / np.where(totals > 0, totals, np.inf)
        empty = (wanted > 0) & ~filled
        before, after = (np.maximum(sums, 0.0) for sums in (self.before, self.after))
        reached = self.bins.cumulative(wanted)

        def distance(sums: Floats) -> dict[str, float]:
            found = self.bins.cumulative(sums)
            return {name: float(np.abs(values - reached[name]).max()) for name, values in found.items()}

        return SpectrumChange(
            jets=self.jets,
            kept=self.kept,
            repeated=self.repeated,
            effective_before=float(effective[0]),
            effective_after=float(effective[1]),
            largest_before=float(largest[0]),
            largest_after=float(largest[1]),
            divergence_before=jensen_shannon(before, wanted),
            divergence_after=jensen_shannon(after, wanted),
            distance_before=distance(before),
            distance_after=distance(after),
            unreachable=float(wanted[empty].sum()),
            empty=int(np.count_nonzero(~filled if target is None else empty)),
            capped=capped,
        )


@dataclass(frozen=True)
class Reweighted(Brief):
    """Jets with another spectrum; made by `reweight`.

    Parameters
    ----------
    weights : float64[n]
        New weights with a mean of 1; for drawn jets the number of copies.
    copies : int64[n] or None
        How often each jet is drawn; None for methods with weights.
    change : SpectrumChange
        Effective numbers, largest weights, distances of the spectra.
    """

    weights: Floats
    copies: Ints | None
    change: SpectrumChange

    @property
    def rows(self) -> Ints:
        """Indices of the drawn jets with repetition, int64[rows]; without draws, those of all jets with a weight."""
        copies = (self.weights != 0).astype(np.int64) if self.copies is None else self.copies
        return np.repeat(np.arange(len(copies)), copies)


def reweight(
    columns: Mapping[str, Any],
    edges: Mapping[str, Sequence[float]],
    *,
    method: str = "weights",
    to: Mapping[str, Any] | None = None,
    weights: Any = None,
    to_weights: Any = None,
    cap: float = CAP,
    seed: int = 1,
) -> Reweighted:
    """Give jets the spectrum of others, or a flat one.

    Parameters
    ----------
    columns : mapping
        Column -> float[n], e.g. pt and mass in GeV.
    edges : mapping
        Column -> bin edges; jets outside are assigned to the nearest bin. The method ``boosted`` has no bins, but
        uses the range of the edges, and the report the bins.
    method : str
        ``weights``: a factor for each bin; ``boosted``: trees of hep_ml; ``downsample``: each jet at most once, without
        weights; ``resample``: jets are repeated, each floor or ceil of its expectation, without weights.
    to : mapping, optional
        Column -> float[m] of the jets whose spectrum is to be reached; default: all bins with jets get the same sum.
    weights, to_weights : float[n], float[m], optional
        Default: 1. Negative weights are allowed for ``weights``; a bin with a sum that is not positive gets 0.
    cap : float
        Maximum factor, or number of copies, over its average.
    seed : int

    Returns
    -------
    Reweighted

    Raises
    ------
    ConfigError
        If the method is unknown.
    InvalidValues
        If a column is constant or has NaN, if weights are not finite, or negative where a method cannot take that, or
        if the spectra have no bin in common.
    MismatchError
        If columns have different lengths or are missing.
    MissingExtra
        If hep_ml is not installed (for ``boosted``).

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> pt = {"pt": rng.exponential(100, 10_000)}
    >>> found = reweight(pt, {"pt": (0, 50, 100, 200)}, method="downsample")
    >>> np.histogram(pt["pt"][found.rows].clip(0, 199), (0, 50, 100, 200))[0].tolist()
    [2359, 2359, 2359]
    """
    if method not in METHODS:
        raise ConfigError(f"unknown method {method!r}{hint(method, METHODS)}, expected one of {', '.join(METHODS)}")
    bins = SpectrumBins(edges)
    cell, own = _sample(bins, columns, weights, "weights")
    if method != "weights" and (own < 0).any():
        raise InvalidValues(
            f"{np.count_nonzero(own < 0)} of {len(own)} weights are negative, which {method!r} cannot take: use "
            "'weights'"
        )
    sums: Floats = np.asarray(np.bincount(cell, own, minlength=bins.cells), dtype=np.float64)
    target: Floats | None = None
    if to is not None:
        to_cell, others = _sample(bins, to, to_weights, "to_weights")
        target = np.asarray(np.bincount(to_cell, others, minlength=bins.cells), dtype=np.float64)
    factors = bin_factors(sums, target, cap=cap)
    random = np.random.default_rng([seed, 11])
    copies: Ints | None = None
    if method == "boosted":
        if to is None:
            filled = np.flatnonzero(sums > 0)
            goal, goal_weights = bins.uniform(filled[random.integers(0, len(filled), len(cell))], random), None
        else:
            goal, goal_weights = bins.clipped(to), others
        values = bins.clipped(columns)
        ratio = BoostedWeights(seed=seed).fit(values, goal, own, goal_weights)(values)
        new = own * capped_factors(ratio, own, cap)
    else:
        new = own * factors[cell]
    new = new * (len(new) / new.sum())
    if method in ("downsample", "resample"):
        expected = expected_multiplicities(new, method, mean=float(new.mean()), largest=float(new.max()), cap=cap)
        copies = Multiplicities(bins.cells, random)(expected, cell)
        new = copies.astype(np.float64)
    tally = SpectrumTally(bins)
    tally.add(cell, own, new, copies)
    capped = 0 if method == "boosted" else int(np.count_nonzero(factors >= cap))
    return Reweighted(new, copies, tally.change(target, capped))


def capped_factors(ratio: Floats, weights: Array, cap: float = CAP) -> Floats:
    """Factors, float64[n], of at most ``cap`` times their weighted average."""
    average = float(np.sum(ratio * weights) / np.sum(weights))
    return np.minimum(ratio, cap * average)


def _sample(bins: SpectrumBins, columns: Mapping[str, Any], weights: Any, what: str) -> tuple[Ints, Floats]:
    """Bins and weights of jets, checked."""
    missing = [name for name in bins.edges if name not in columns]
    if missing:
        near = hint(missing[0], columns)
        raise MismatchError(f"there are edges of {missing[0]!r}{near}, but no such column among {', '.join(columns)}")
    arrays = {name: np.asarray(columns[name], dtype=np.float64) for name in bins.edges}
    lengths = {name: len(values) for name, values in arrays.items()}
    own = np.ones(next(iter(lengths.values()))) if weights is None else np.asarray(weights, dtype=np.float64)
    if len({*lengths.values(), len(own)}) > 1:
        raise MismatchError(f"columns and weights have different lengths: {lengths}, {what} {len(own)}")
    if not len(own):
        raise InvalidValues("there are no jets to reweight")
    check_weights(own, name=what)
    cell = bins.index(arrays)
    for name, values in arrays.items():
        refuse_constant(name, float(values.min()), float(values.max()))
    return cell, own


def refuse_constant(name: str, low: float, high: float) -> None:
    """Refuse a column with one value.

    Raises
    ------
    InvalidValues
        If the minimum and the maximum are the same.
    """
    if low >= high:
        raise InvalidValues(f"{name!r} is {low:g} for all jets: a spectrum of one value cannot be reweighted")


guard(globals())
