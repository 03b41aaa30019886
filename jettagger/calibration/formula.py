"""Scale factors by the formula: efficiency in data over efficiency in simulation.

``SF = eff(data) / eff(simulation)`` with ``eff(data) = (N_pass - B_pass) / (N - B)``. Jets are counted in bands of the
score, from the lowest; a single working point has two bands, of the jets that fail and of those that pass. The bands
are disjoint, so that their weighted yields are independent, while efficiencies are not: passing jets are a part of all
jets. Variances follow from this by propagation; for equal weights they are binomial, ``e (1 - e) / n``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jettagger.arguments import Histogram, guard
from jettagger.calibration.binning import AXES, BinAxis, as_numbers, bin_index, bin_label, require_same_bins
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName
from jettagger.histograms.categories import categories_of, pick
from jettagger.types import Floats

__all__ = [
    "KINDS",
    "SIMULATION",
    "STATISTICS",
    "BandYields",
    "Efficiencies",
    "FormulaFactors",
    "YieldVariation",
    "efficiencies",
    "formula_factors",
]

#: inclusive working points, or exclusive bands of the score
KINDS = ("points", "bands")

#: sources of uncertainty that every measurement has: the number of jets in data, and in simulation
STATISTICS, SIMULATION = "statistics", "simulation"


@dataclass(frozen=True, eq=False)
class BandYields(Brief):
    """Weighted numbers of jets in bands of the score and in bins.

    Parameters
    ----------
    values : float64[bands, *bins]
        Sums of weights, from the lowest band; at least two bands.
    variances : float64[bands, *bins], optional
        Sums of squared weights; default: the values, as for data.
    axes : sequence of BinAxis
        The bins; without them bins are compared by their number only.
    thresholds : sequence of float
        Lower edges of the bands above the lowest, where known.
    what : str
        For messages, e.g. ``data``.

    Raises
    ------
    InvalidValues
        If a number is not finite, or a variance is negative.
    MismatchError
        If the shapes do not fit.
    """

    values: Floats
    variances: Floats | None = None
    axes: Sequence[BinAxis] = ()
    thresholds: Sequence[float] = ()
    what: str = "yields"

    def __post_init__(self) -> None:
        values = as_numbers(self.values, f"{self.what}, values")
        variances = values.copy() if self.variances is None else as_numbers(self.variances, f"{self.what}, variances")
        if values.ndim < 1 or len(values) < 2:
            raise MismatchError(f"{self.what}: got the shape {values.shape}, expected at least two bands first")
        if variances.shape != values.shape:
            raise MismatchError(f"{self.what}: variances of shape {variances.shape} for values of {values.shape}")
        shape = tuple(axis.size for axis in self.axes)
        if self.axes and values.shape[1:] != shape:
            raise MismatchError(f"{self.what}: bins of shape {values.shape[1:]}, the axes have {shape}")
        thresholds = tuple(float(threshold) for threshold in self.thresholds)
        if thresholds and len(thresholds) != len(values) - 1:
            raise MismatchError(f"{self.what}: {len(thresholds)} thresholds for {len(values)} bands, expected one less")
        for name, numbers in (("yield", values), ("variance", variances)):
            # counts, whose variances they are themselves, cannot be negative
            bad = ~np.isfinite(numbers) | ((numbers < 0) if name == "variance" or self.variances is None else False)
            if bad.any():
                place = tuple(np.argwhere(bad)[0])
                raise InvalidValues(
                    f"{self.what}: the {name} in band {place[0]}, {bin_label(self.axes, place[1:])}, is "
                    f"{numbers[place]:g}; {bad.sum()} of {bad.size} cannot be used"
                )
        for key, value in (("values", values), ("variances", variances), ("axes", tuple(self.axes))):
            object.__setattr__(self, key, value)
        object.__setattr__(self, "thresholds", thresholds)

    @property
    def total(self) -> Floats:
        """All bands together, float64[bins]."""
        return np.asarray(self.values.sum(axis=0))

    def label(self, index: Sequence[int]) -> str:
        """A bin in words."""
        return bin_label(self.axes, index)

    def require_like(self, other: BandYields) -> None:
        """Refuse yields in other bins or bands.

        Raises
        ------
        MismatchError
            Gives the axis and both edges.
        """
        if self.axes and other.axes:
            require_same_bins(self.axes, other.axes, self.what, other.what)
        if self.values.shape != other.values.shape:
            raise MismatchError(
                f"{self.what} has {len(self.values)} bands and bins of shape {self.values.shape[1:]}, {other.what} has "
                f"{len(other.values)} and {other.values.shape[1:]}: expected the same"
            )
        if self.thresholds and other.thresholds and self.thresholds != other.thresholds:
            raise MismatchError(
                f"{self.what} has bands at the thresholds {self.thresholds}, {other.what} at {other.thresholds}"
            )

    def __add__(self, other: BandYields) -> BandYields:
        self.require_like(other)
        return replace(self, values=self.values + other.values, variances=_square(self) + _square(other))

    def scaled(self, factor: float) -> BandYields:
        """The yields times a number, e.g. a luminosity."""
        return replace(self, values=self.values * factor, variances=_square(self) * factor**2)

    def with_factors(self, factors: Floats) -> BandYields:
        """Jets moved between bands by factors on the bands above the lowest; the sum of a bin stays.

        Parameters
        ----------
        factors : float64[bands - 1, *bins], or broadcast to it

        Returns
        -------
        BandYields

        Raises
        ------
        InvalidValues
            If more jets would be needed than the lowest band has.
        """
        upper = self.values[1:] * factors
        lowest = self.total - upper.sum(axis=0)
        if (lowest < 0).any():
            place = tuple(np.argwhere(lowest < 0)[0])
            raise InvalidValues(
                f"{self.what}, {self.label(place)}: the factors need more jets than there are; the lowest band would "
                f"have {lowest[place]:g}"
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(self.values[0] != 0, lowest / self.values[0], 1.0)
        scales = np.concatenate([ratios[None], np.broadcast_to(factors, upper.shape)])
        return replace(self, values=np.concatenate([lowest[None], upper]), variances=_square(self) * scales**2)

    def merged(self, starts: Sequence[int], axis: str = "pt") -> BandYields:
        """Neighbouring bins added.

        Parameters
        ----------
        starts : sequence of int
            The first bin of each group; the first is 0.
        axis : str
            Name of the axis.

        Returns
        -------
        BandYields

        Raises
        ------
        UnknownName
            If the yields have no such axis.
        ConfigError
            If the groups do not increase from 0.
        """
        names = [item.name for item in self.axes]
        if axis not in names:
            raise UnknownName("axis", axis, names, self.what)
        place = names.index(axis)
        size = self.axes[place].size
        if not starts or starts[0] != 0 or any(b <= a for a, b in zip(starts, [*starts[1:], size], strict=True)):
            raise ConfigError(f"{self.what}: groups of {size} bins begin at increasing numbers from 0, got {starts}")
        edges = [self.axes[place].edges[start] for start in (*starts, size)]
        axes = tuple(replace(item, edges=edges) if item.name == axis else item for item in self.axes)
        values, variances = (
            np.add.reduceat(numbers, list(starts), axis=place + 1) for numbers in (self.values, _square(self))
        )
        return replace(self, values=values, variances=variances, axes=axes)

    @classmethod
    def from_jets(
        cls,
        scores: Any,
        columns: Mapping[str, Any],
        axes: Sequence[BinAxis],
        thresholds: Sequence[float],
        weights: Any = None,
        *,
        what: str = "jets",
    ) -> BandYields:
        """Count jets.

        Parameters
        ----------
        scores : float array
            Flat; jets with NaN are left out.
        columns : mapping of str to float array
            The columns of the axes. Jets outside of the bins are left out.
        axes : sequence of BinAxis
        thresholds : sequence of float
            Lower edges of the bands above the lowest, increasing.
        weights : float array, optional
        what : str
            For messages.

        Returns
        -------
        BandYields

        Raises
        ------
        ConfigError
            If the thresholds do not increase.
        InvalidValues
            If a weight is not finite.
        MismatchError
            If the arrays have different lengths.
        """
        limits = np.asarray(thresholds, dtype=np.float64)
        if not len(limits) or not np.all(np.diff(limits) > 0):
            raise ConfigError(f"{what}: expected increasing thresholds, got {list(thresholds)}")
        numbers = np.asarray(scores, dtype=np.float64)
        factors = np.ones(len(numbers)) if weights is None else np.asarray(weights, dtype=np.float64)
        lengths = {"scores": len(numbers), "weights": len(factors)}
        lengths |= {axis.column: len(columns[axis.column]) for axis in axes}
        if len(set(lengths.values())) > 1:
            raise MismatchError(f"{what}: {', '.join(f'{number} {name}' for name, number in lengths.items())}")
        if not np.isfinite(factors).all():
            bad = np.flatnonzero(~np.isfinite(factors))
            raise InvalidValues(f"{what}: the weight of jet {bad[0]} is {factors[bad[0]]}; {len(bad)} are not finite")
        place = bin_index(axes, columns) if axes else np.zeros(len(numbers), dtype=np.int64)
        kept = (place >= 0) & np.isfinite(numbers)
        bins = [axis.size for axis in axes]
        size = int(np.prod(bins)) if bins else 1
        flat = np.searchsorted(limits, numbers[kept], side="right") * size + place[kept]
        shape = (len(limits) + 1, *bins)
        values, variances = (
            np.asarray(np.bincount(flat, factor, shape[0] * size), dtype=np.float64).reshape(shape)
            for factor in (factors[kept], factors[kept] ** 2)
        )
        return cls(values, variances, axes, tuple(limits), what)

    @classmethod
    def from_histogram(
        cls,
        histogram: Histogram,
        axes: Sequence[str] = ("pt",),
        score: str = "score",
        *,
        what: str = "",
        **categories: str | Sequence[str],
    ) -> BandYields:
        """From a histogram whose bins of the score are the bands.

        Scores beyond the outermost edges belong to the outermost bands. Jets outside of the bins of ``axes`` are left
        out, further variables are summed over.

        Parameters
        ----------
        histogram : hist.Hist
            With weights.
        axes : sequence of str
            Names of the binned axes.
        score : str
            Name of the axis of the score.
        what : str
            For messages.
        **categories : str or sequence of str
            Category axis -> a value, or several values to be added.

        Returns
        -------
        BandYields

        Raises
        ------
        UnknownName
            If an axis or a category does not exist.
        """
        import hist

        part = pick(histogram, **categories) if categories_of(histogram) else histogram
        names = [axis.name for axis in part.axes]
        unknown = [name for name in (score, *axes) if name not in names]
        if unknown:
            raise UnknownName("axis", unknown, names, what or "the histogram")
        projected = part.project(score, *axes)
        view = projected.view(flow=True)
        values, variances = (view["value"], view["variance"]) if view.dtype.names else (view, view)
        traits = [axis.traits for axis in projected.axes]
        arrays = []
        for numbers in (np.asarray(values, dtype=np.float64), np.asarray(variances, dtype=np.float64)):
            if traits[0].underflow:
                numbers = np.concatenate([numbers[:1] + numbers[1:2], numbers[2:]])
            if traits[0].overflow:
                numbers = np.concatenate([numbers[:-2], numbers[-2:-1] + numbers[-1:]])
            kept = tuple(
                slice(int(trait.underflow), int(trait.underflow) + len(axis))
                for trait, axis in zip(traits[1:], list(projected.axes)[1:], strict=True)
            )
            place = (slice(None), *kept)
            arrays.append(numbers[place])
        made = []
        for axis in list(projected.axes)[1:]:
            if axis.name not in AXES:
                raise UnknownName("axis of bins", axis.name, AXES)
            made.append(BinAxis(axis.name, [float(edge) for edge in axis.edges]))
        first = projected.axes[0]
        limits = () if isinstance(first, hist.axis.StrCategory) else tuple(float(edge) for edge in first.edges[1:-1])
        chosen = ", ".join(f"{name} {value}" for name, value in categories.items())
        return cls(arrays[0], arrays[1], made, limits, what or chosen or "yields")


def _square(yields: BandYields) -> Floats:
    """The variances, which are arrays once the yields are made."""
    assert yields.variances is not None
    return yields.variances


@dataclass(frozen=True, eq=False)
class Efficiencies(Brief):
    """Efficiencies of working points, or fractions of jets in bands above the lowest.

    Attributes
    ----------
    values : float64[points, *bins]
    covariance : float64[points, points, *bins]
        Statistical.
    """

    values: Floats
    covariance: Floats

    @property
    def uncertainties(self) -> Floats:
        """Standard deviations, float64[points, *bins]."""
        return np.sqrt(np.maximum(np.einsum("ii...->i...", self.covariance), 0.0))


def efficiencies(yields: BandYields, kind: str = "points") -> Efficiencies:
    """Weighted efficiencies with their covariance.

    A band without jets has the variance of one jet of the mean weight of its bin, so that an efficiency of 0 or 1 has
    an uncertainty.

    Parameters
    ----------
    yields : BandYields
    kind : {"points", "bands"}
        Efficiencies above each threshold, or fractions of the bands above the lowest.

    Returns
    -------
    Efficiencies

    Raises
    ------
    UnknownName
        If the kind is unknown.
    InvalidValues
        If a bin has no jets, or the sum of the weights of a band is negative; gives the bin.

    Examples
    --------
    >>> made = efficiencies(BandYields(np.array([75.0, 25.0])))
    >>> made.values.tolist(), bool(np.isclose(made.uncertainties[0] ** 2, 0.25 * 0.75 / 100))
    ([0.25], True)
    """
    _require_positive(yields)
    transform = _transform(kind, len(yields.values))
    return Efficiencies(*_ratio(yields.values, _with_floor(yields), transform))


def _transform(kind: str, bands: int) -> Floats:
    """Matrix from bands to points or bands above the lowest, float64[bands - 1, bands]."""
    if kind not in KINDS:
        raise UnknownName("kind of factors", kind, KINDS)
    identity = np.eye(bands)[1:]
    return np.triu(np.ones((bands, bands)))[1:] if kind == "points" else identity


def _with_floor(yields: BandYields) -> Floats:
    """Variances; those of empty bands are that of one jet of the mean weight."""
    variances = _square(yields)
    total = yields.total
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(total > 0, variances.sum(axis=0) / total, 0.0)
    return np.where((yields.values == 0) & (variances == 0), weight**2, variances)


def _ratio(values: Floats, variances: Floats, transform: Floats) -> tuple[Floats, Floats]:
    """Fractions of the sum over bands, and their covariance."""
    total = values.sum(axis=0)
    fractions = np.einsum("pb,b...->p...", transform, values) / total
    return fractions, _covariance(fractions, total, variances, transform)


def _covariance(fractions: Floats, total: Floats, variances: Floats, transform: Floats) -> Floats:
    ones = np.ones(fractions.ndim - 1, dtype=int)
    jacobian = (transform.reshape(*transform.shape, *ones) - fractions[:, None]) / total
    return np.einsum("pb...,qb...,b...->pq...", jacobian, jacobian, variances)


def _require_positive(yields: BandYields) -> None:
    empty = yields.total <= 0
    if empty.any():
        place = tuple(np.argwhere(empty)[0])
        raise InvalidValues(
            f"{yields.what}: no jets in {yields.label(place)} (sum of weights {yields.total[place]:g}); {empty.sum()} "
            f"of {empty.size} bins are empty: wider bins, or BandYields.merged"
        )
    negative = yields.values < 0
    if negative.any():
        place = tuple(np.argwhere(negative)[0])
        raise InvalidValues(
            f"{yields.what}: the weights in band {place[0]}, {yields.label(place[1:])}, sum up to "
            f"{yields.values[place]:g}, expected no negative yield: wider bins, or a larger sample"
        )


@dataclass(frozen=True, eq=False)
class YieldVariation(Brief):
    """What a systematic variation changes on one side; None: nothing.

    Parameters
    ----------
    data, simulation, background : BandYields, optional
        In place of the nominal ones.
    """

    data: BandYields | None = None
    simulation: BandYields | None = None
    background: BandYields | None = None


@dataclass(frozen=True, eq=False)
class FormulaFactors(Brief):
    """Scale factors by the formula, with what each source contributes.

    Attributes
    ----------
    values : float64[points, *bins]
        Scale factors.
    data, simulation : Efficiencies
        After subtraction of the background; that of data without the uncertainty of the background.
    covariances : dict of str to float64[points, points, *bins]
        Of `STATISTICS` and `SIMULATION`, independent between bins.
    shifts : dict of str to (float64[points, *bins], float64[points, *bins])
        Systematic source -> factors up and down.
    correlated : frozenset of str
        Systematic sources that are fully correlated between bins; the others are independent.
    kind : str
    axes : tuple of BinAxis
    thresholds : tuple of float
    """

    values: Floats
    data: Efficiencies
    simulation: Efficiencies
    covariances: Mapping[str, Floats]
    shifts: Mapping[str, tuple[Floats, Floats]]
    correlated: frozenset[str] = frozenset()
    kind: str = "points"
    axes: tuple[BinAxis, ...] = ()
    thresholds: tuple[float, ...] = ()
    what: str = field(default="", compare=False)

    @property
    def sources(self) -> dict[str, tuple[Floats, Floats]]:
        """Factors up and down of each source, float64[points, *bins], as scale factors are stored."""
        made = {}
        for name, covariance in self.covariances.items():
            sigma = np.sqrt(np.maximum(np.einsum("ii...->i...", covariance), 0.0))
            made[name] = (self.values + sigma, self.values - sigma)
        return {**made, **self.shifts}

    @property
    def uncertainties(self) -> Floats:
        """All sources in quadrature, the mean of up and down of each; float64[points, *bins]."""
        return np.sqrt(sum(((up - down) / 2) ** 2 for up, down in self.sources.values()))

    def covariance(self) -> Floats:
        """The covariance of all factors, of points and bins.

        Returns
        -------
        float64[n, n]
            For the factors in C order. A source of `correlated` moves all bins together, others move the points of
            a bin together.
        """
        points, bins = len(self.values), int(np.prod(self.values.shape[1:], dtype=int))
        total = np.zeros((points, bins, points, bins))
        diagonal = np.arange(bins)
        for covariance in self.covariances.values():
            flat = covariance.reshape(points, points, bins)
            total[:, diagonal, :, diagonal] += np.moveaxis(flat, -1, 0)
        for name, (up, down) in self.shifts.items():
            half = ((up - down) / 2).reshape(points, bins)
            if name in self.correlated:
                total += half[:, :, None, None] * half[None, None]
            else:
                total[:, diagonal, :, diagonal] += np.einsum("pb,qb->bpq", half, half)
        return total.reshape(points * bins, points * bins)


def formula_factors(
    data: BandYields,
    simulation: BandYields,
    background: BandYields | None = None,
    *,
    kind: str = "points",
    variations: Mapping[str, tuple[YieldVariation | None, YieldVariation | None]] | None = None,
    correlated: Sequence[str] | None = None,
) -> FormulaFactors:
    """Scale factors: efficiency in data after subtraction of a background, over the efficiency in simulation.

    Parameters
    ----------
    data : BandYields
        Counts.
    simulation : BandYields
        Of the jets whose efficiency is measured.
    background : BandYields, optional
        Expected number of other jets in data.
    kind : {"points", "bands"}
    variations : mapping of str to (YieldVariation, YieldVariation), optional
        Systematic source -> up and down.
    correlated : sequence of str, optional
        Sources that move all bins together; default: all of the variations.

    Returns
    -------
    FormulaFactors

    Raises
    ------
    MismatchError
        If the bins differ.
    InvalidValues
        If a bin is empty, the background exceeds the data, or no jet of simulation passes; gives the bin.
    ConfigError
        If a variation has one side only, or the name of a source that every measurement has.
    UnknownName
        If a correlated source is none of the variations.

    Examples
    --------
    >>> made = formula_factors(BandYields(np.array([700.0, 300.0])), BandYields(np.array([75.0, 25.0])))
    >>> print(made.values, made.uncertainties.round(3))
    [1.2] [0.216]
    """
    transform = _transform(kind, len(data.values))
    shifted = {}
    for name, sides in (variations or {}).items():
        if name in (STATISTICS, SIMULATION):
            raise ConfigError(f"a variation cannot be called {name!r}: every measurement has this source already")
        if any(side is None for side in sides):
            raise ConfigError(
                f"variation {name!r}: up or down is missing; give both, or the mirrored yields 2 * nominal - varied"
            )
        shifted[name] = sides
    named = tuple(shifted) if correlated is None else tuple(correlated)
    unknown = [name for name in named if name not in shifted]
    if unknown:
        raise UnknownName("variation", unknown, shifted, "the correlated sources")

    def ratio(varied: YieldVariation | None) -> Floats:
        side = varied or YieldVariation()
        own = side.background if side.background is not None else background
        top = _subtracted(side.data or data, own)
        bottom = side.simulation or simulation
        data.require_like(bottom)
        _require_positive(bottom)
        first, second = (
            np.einsum("pb,b...->p...", transform, item) / item.sum(axis=0) for item in (top, bottom.values)
        )
        _require_passing(second, bottom, kind)
        return np.asarray(first / second)

    values = ratio(None)
    signal = _subtracted(data, background)
    of_simulation = efficiencies(simulation, kind)
    variances = _with_floor(data)
    of_data = Efficiencies(*_ratio(signal, variances, transform))
    scale = 1 / of_simulation.values
    statistics = of_data.covariance * scale[:, None] * scale[None]
    relative = of_simulation.covariance * scale[:, None] * scale[None]
    limited = relative * values[:, None] * values[None]
    if background is not None:
        more = _ratio(signal, _square(background), transform)[1]
        limited = limited + more * scale[:, None] * scale[None]
    return FormulaFactors(
        values,
        of_data,
        of_simulation,
        {STATISTICS: statistics, SIMULATION: limited},
        {name: (ratio(up), ratio(down)) for name, (up, down) in shifted.items()},
        frozenset(named),
        kind,
        tuple(data.axes or simulation.axes),
        tuple(data.thresholds or simulation.thresholds),
        data.what,
    )


def _subtracted(data: BandYields, background: BandYields | None) -> Floats:
    """Yields of data minus background, float64[bands, *bins]; positive."""
    _require_positive(data)
    if background is None:
        return data.values
    data.require_like(background)
    remaining = data.values - background.values
    bad = (remaining < 0) | (remaining.sum(axis=0) <= 0)
    if bad.any():
        place = tuple(np.argwhere(bad)[0])
        raise InvalidValues(
            f"the background exceeds the data in band {place[0]}, {data.label(place[1:])}: "
            f"{background.what} {background.values[place]:g}, {data.what} {data.values[place]:g}; in {bad.sum()} of "
            f"{bad.size} bins: wider bins, or a fit of templates"
        )
    return remaining


def _require_passing(fractions: Floats, yields: BandYields, kind: str) -> None:
    bad = fractions <= 0
    if bad.any():
        place = tuple(np.argwhere(bad)[0])
        what = "passes working point" if kind == "points" else "is in band"
        raise InvalidValues(
            f"{yields.what}: no jet in {yields.label(place[1:])} {what} {place[0] + 1}: the scale factor is not "
            "defined; wider bins, or a looser working point"
        )


guard(globals(), "BandYields", "efficiencies", "formula_factors")
