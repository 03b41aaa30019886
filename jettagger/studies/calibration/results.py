"""From fits to scale factors, efficiencies and mass factors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.calibration import (
    BandYields,
    EfficiencyMap,
    FormulaFactors,
    MassFactors,
    ScaleFactors,
    efficiency_map,
)
from jettagger.discriminants import Measured
from jettagger.display import Brief
from jettagger.errors import InvalidValues
from jettagger.histograms import categories_of
from jettagger.statistics.bins import effective_events
from jettagger.studies.calibration.config import CalibrationConfig
from jettagger.studies.calibration.fits import BinFit, Fits, sources_of
from jettagger.types import Floats

__all__ = [
    "SIMULATION",
    "STATISTICS",
    "MassMean",
    "efficiencies_of",
    "mass_factors",
    "mass_means",
    "scale_factors",
    "systematic",
]

#: sample of the efficiencies for all that have none of their own
ALL_SAMPLES = "all"

#: sources that every measurement has
STATISTICS, SIMULATION = "statistics", "simulation"

#: change of a source: up and down, float64[category, point, *bins]
Sides = tuple[Floats, Floats]


def scale_factors(
    config: CalibrationConfig,
    fits: Fits,
    mistags: FormulaFactors | None = None,
    *,
    record: Mapping[str, Any] | None = None,
    model: Any = None,
) -> ScaleFactors:
    """The factors of all bins with their sources of uncertainty.

    Parameters
    ----------
    config : CalibrationConfig
    fits : Fits
        Of all bins.
    mistags : FormulaFactors, optional
        In the same bins.
    record : mapping, optional
        Details for the file.
    model : Origin, optional
        The model of the scores.

    Returns
    -------
    ScaleFactors

    Raises
    ------
    ConfigError
        If a source has a name that files of scale factors reserve.
    """
    categories = [*config.measured, *([config.content.mistag.category] if config.content.mistag else [])]
    points = list(config.thresholds)
    shape = (len(categories), len(points), *(axis.size for axis in fits.axes))
    values = np.ones(shape)
    changes: dict[str, Sides] = {}

    def change(source: str) -> Sides:
        return changes.setdefault(source, (np.zeros(shape), np.zeros(shape)))

    for place, item in fits.bins.items():
        for row, category in enumerate(config.measured):
            index = item.factors.categories.index(category)
            cell: Any = (row, slice(None), *place)
            values[cell] = item.factors.values[index]
            for source, (up, down) in item.factors.contributions.items():
                upward, downward = change(source)
                upward[cell], downward[cell] = up[index], down[index]
            bound = np.isnan(item.factors.uncertainties[index])
            if bound.any():
                ends = _ends(config, item, category)
                for side, end in zip(change(STATISTICS), ends, strict=True):
                    side[cell] = np.where(bound, end, side[cell])
    if mistags is not None:
        values[-1] = mistags.values
        for source, (up, down) in mistags.sources.items():
            upward, downward = change(source)
            upward[-1], downward[-1] = up - mistags.values, down - mistags.values
    own = {STATISTICS, SIMULATION, *(f"norm_{name}" for name in config.content.categories)}
    chosen = config.content.correlated
    with config.document.at("name"):
        return ScaleFactors.make(
            config.content.name,
            values,
            {source: (values + up, values + down) for source, (up, down) in changes.items()},
            points=points,
            thresholds=list(config.thresholds.values()),
            axes=fits.axes,
            categories=categories,
            kind=config.content.kind,
            discriminant=config.content.discriminant,
            correlated=[name for name in changes if name not in own and (chosen is None or name in chosen)],
            outside=config.outside,
            record=record,
            model=model,
        )


def _ends(config: CalibrationConfig, item: BinFit, category: str) -> Sides:
    """Ends of the profile likelihood intervals of factors, relative to them; of inclusive points a sum over bands."""
    fit = item.fit
    row = list(fit.model.categories).index(category)
    upward, downward = (fit.intervals()[row, :, end] - fit.values[row] for end in (1, 0))
    if config.content.kind == "bands":
        return upward[1:], downward[1:]
    yields = fit.model.yields[row]

    def over(ends: Floats) -> Floats:
        jets = np.cumsum((yields * np.nan_to_num(ends))[::-1])[::-1]
        return np.asarray((jets / np.cumsum(yields[::-1])[::-1])[1:])

    return over(upward), over(downward)


def systematic(factors: ScaleFactors) -> Floats:
    """All sources but the numbers of jets in data and simulation, in quadrature; float64[category, point, *bins].

    Parameters
    ----------
    factors : ScaleFactors

    Returns
    -------
    float64[category, point, *bins]
        Half of the difference between up and down of each source.
    """
    parts = [
        np.square((up - down) / 2)
        for source, (up, down) in factors.sources.items()
        if source not in (STATISTICS, SIMULATION)
    ]
    return np.asarray(np.sqrt(np.sum([np.zeros(factors.values.shape), *parts], axis=0)))


def efficiencies_of(
    config: CalibrationConfig, fits: Fits, mistags: Mapping[str, BandYields] | None = None, *, model: Any = None
) -> EfficiencyMap:
    """Efficiencies in the simulation of the measurement, by data set and category.

    A data set has its own if each of its categories has enough jets; the sum is for all others.

    Parameters
    ----------
    config : CalibrationConfig
    fits : Fits
    mistags : mapping of str to BandYields, optional
        Data set of the control sample -> jets whose mistag rate is measured.
    model : Origin, optional

    Returns
    -------
    EfficiencyMap

    Raises
    ------
    InvalidValues
        If a sum of weights is negative.
    """
    names = [axis.name for axis in fits.axes]
    simulated = [name for name in categories_of(fits.histogram)["dataset"] if name not in fits.data]
    cells: dict[str, dict[str, BandYields]] = {}
    for category, source in sources_of(config).items():
        if category not in config.measured:
            continue
        for dataset in source.datasets or simulated:
            part = BandYields.from_histogram(
                fits.histogram,
                names,
                what=f"{dataset}, {category}",
                dataset=dataset,
                category=list(source.categories),
                variation="nominal",
            )
            if part.values.any():
                cells.setdefault(dataset, {})[category] = part
    for dataset, part in (mistags or {}).items():
        assert config.content.mistag is not None
        cells.setdefault(dataset, {})[config.content.mistag.category] = part
    least = config.content.min_effective_events
    every = dict.fromkeys(category for parts in cells.values() for category in parts)
    whole = {
        dataset: {category: parts[category] for category in every}
        for dataset, parts in cells.items()
        if set(parts) == set(every) and all(_effective(part) > least for part in parts.values())
    }
    total: dict[str, BandYields] = {}
    whole[ALL_SAMPLES] = total
    for parts in cells.values():
        for category, part in parts.items():
            total[category] = total[category] + part if category in total else part
    return efficiency_map(
        whole,
        name=f"{config.content.name}_efficiency",
        points=list(config.thresholds),
        discriminant=config.content.discriminant,
        # the fit of a bin needs that many jets of all categories together, a single one can have less
        min_effective_jets=min(least, *(0.999 * _effective(part) for part in total.values())),
        total=False,
        model=model,
    )


def _effective(part: BandYields) -> float:
    total = np.array([part.values.sum(), np.sum(np.asarray(part.variances))])
    return float(effective_events(total[:1], total[1:])[0])


@dataclass(frozen=True)
class MassMean(Brief):
    """A measured shape, averaged over bins.

    Parameters
    ----------
    bins : dict of str to Measured
        Bin -> fitted factor; those at a bound are left out.
    mean : Measured
        Weighted with the inverse variances; the uncertainty is multiplied by ``sqrt(chi2 / degrees of freedom)`` if
        this is above 1, as the Particle Data Group does.
    chi_square : float
    """

    bins: dict[str, Measured]
    mean: Measured
    chi_square: float
    at_bounds: tuple[str, ...] = field(default=())


def mass_means(fits: Fits) -> dict[str, MassMean]:
    """The measured shapes, averaged over bins.

    Parameters
    ----------
    fits : Fits

    Returns
    -------
    dict of str to MassMean
        Without those that no bin determines.
    """
    found: dict[str, dict[str, Measured]] = {}
    for item in fits.bins.values():
        for name, value in item.fit.shapes.items():
            found.setdefault(name, {})[item.name] = value
    means = {}
    for name, bins in found.items():
        good = {place: value for place, value in bins.items() if value.uncertainty > 0}
        if not good:
            continue
        values, sigmas = (np.array([getattr(value, key) for value in good.values()]) for key in _PARTS)
        weights = sigmas**-2
        mean = float(np.average(values, weights=weights))
        chi_square = float((np.square(values - mean) * weights).sum())
        excess = math.sqrt(max(chi_square / (len(good) - 1), 1.0)) if len(good) > 1 else 1.0
        bound = tuple(place for place in bins if place not in good)
        means[name] = MassMean(good, Measured(mean, excess * float(weights.sum() ** -0.5)), chi_square, bound)
    return means


_PARTS = ("value", "uncertainty")


def mass_factors(config: CalibrationConfig, means: Mapping[str, MassMean]) -> MassFactors | None:
    """Scale and resolution for `variations` of a search.

    Parameters
    ----------
    config : CalibrationConfig
    means : mapping of str to MassMean

    Returns
    -------
    MassFactors or None
        None if they are not asked for.

    Raises
    ------
    InvalidValues
        If no bin determines them.
    """
    keys = config.content.mass_factors
    if keys is None:
        return None
    numbers: dict[str, float] = {}
    for kind, name in config.mass_names.items():
        if name not in means:
            with config.document.at("mass_factors"):
                raise InvalidValues(f"no bin determines {name!r}: it is at a bound of the fit, or in no template")
        numbers |= {kind: means[name].mean.value, f"{kind}_uncertainty": means[name].mean.uncertainty}
    with config.document.at("mass_factors"):
        return MassFactors(keys.column, **numbers, width=keys.width, reference=keys.reference)


guard(globals(), "scale_factors", "efficiencies_of", "mass_means", "mass_factors")
