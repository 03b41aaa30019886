"""The fits of all kinematic bins; bins in which nothing can be measured join their neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.calibration import (
    BandTemplates,
    BinAxis,
    CategorySource,
    FactorFit,
    Factors,
    band_templates,
    fit_factors,
    with_mass_shapes,
)
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName
from jettagger.histograms import categories_of, variables_of
from jettagger.studies.calibration.config import CalibrationConfig
from jettagger.studies.calibration.rebinning import SCORE, in_bins, with_edges

__all__ = ["BinFit", "Fits", "Plan", "data_sets", "fit_bins", "plan", "sources_of"]

#: category of data in a histogram
DATA = "data"

#: sources of a contamination
_OF_CONTAMINATION = ("normalisation", "factor")

Place = tuple[int, ...]


@dataclass(frozen=True)
class Plan(Brief):
    """What would be fitted.

    Parameters
    ----------
    templates : tuple of BandTemplates
        Of each kinematic bin.
    data : tuple of str
        Data sets of data.
    report : tuple of str
        What was merged, left out or corrected.
    """

    templates: tuple[BandTemplates, ...]
    data: tuple[str, ...]
    report: tuple[str, ...]


@dataclass(frozen=True)
class BinFit(Brief):
    """The fit of one kinematic bin.

    Parameters
    ----------
    name : str
        In words.
    fit : FactorFit
    factors : Factors
        Of the working points, or of the bands above the lowest.
    """

    name: str
    fit: FactorFit
    factors: Factors


@dataclass(frozen=True)
class Fits(Brief):
    """The fits of all kinematic bins.

    Parameters
    ----------
    axes : tuple of BinAxis
        The bins, after those without a result have joined others.
    histogram : hist.Hist
        In these bins.
    data : tuple of str
        Data sets of data.
    bins : dict
        Place of a bin, one index per axis -> its fit.
    report : list of str
        What was merged, left out or corrected.
    """

    axes: tuple[BinAxis, ...]
    histogram: Any
    data: tuple[str, ...]
    bins: dict[Place, BinFit] = field(default_factory=dict)
    report: list[str] = field(default_factory=list)


def data_sets(histogram: Any, given: Sequence[str], what: str) -> tuple[str, ...]:
    """The data sets of data: those that are named, or those with jets in the category `DATA`.

    Parameters
    ----------
    histogram : hist.Hist
    given : sequence of str
    what : str
        For messages.

    Returns
    -------
    tuple of str

    Raises
    ------
    InvalidValues
        If there are no data.
    """
    known = categories_of(histogram)
    if given:
        return tuple(given)
    names = []
    if DATA in known["category"]:
        names = [
            name
            for name in known["dataset"]
            if np.asarray(histogram[{"dataset": name, "category": DATA}].values(flow=True)).any()
        ]
    if not names:
        raise InvalidValues(
            f"{what} has no data: no data set has jets in the category {DATA!r}; name those of data as 'data'. Data "
            f"sets: {', '.join(known['dataset'])}"
        )
    return tuple(names)


def sources_of(config: CalibrationConfig) -> dict[str, CategorySource]:
    """Fitted category -> categories of the histogram."""
    return {
        name: CategorySource(keys.sources or (name,), keys.datasets) for name, keys in config.content.categories.items()
    }


def plan(config: CalibrationConfig, histogram: Any) -> Plan:
    """What would be fitted.

    Parameters
    ----------
    config : CalibrationConfig
    histogram : hist.Hist
        As filled by the processor.

    Returns
    -------
    Plan

    Raises
    ------
    ConfigError, UnknownName, MismatchError, InvalidValues
        As for `fit_bins`.
    """
    binned = _binned(config, histogram, lambda templates: templates)
    return Plan(tuple(binned.made.values()), binned.data, tuple(binned.report))


def fit_bins(config: CalibrationConfig, histogram: Any, *, progress: Callable[[int], None] | None = None) -> Fits:
    """Fit all kinematic bins.

    Parameters
    ----------
    config : CalibrationConfig
    histogram : hist.Hist
        As filled by the processor.
    progress : callable, optional
        Called with 1 after each bin.

    Returns
    -------
    Fits

    Raises
    ------
    ConfigError, UnknownName, MismatchError
        If the histogram lacks what the configuration names; gives the line.
    InvalidValues
        If nothing can be measured in a bin, and bins are not to be merged, or there is only one left.
    """

    def fitted(templates: BandTemplates) -> BinFit:
        made = _fit(config, templates)
        if progress is not None:
            progress(1)
        return made

    binned = _binned(config, histogram, fitted)
    return Fits(binned.axes, binned.histogram, binned.data, binned.made, binned.report)


@dataclass(frozen=True)
class _Binned:
    """What was made of each kinematic bin, by its place."""

    axes: tuple[BinAxis, ...]
    histogram: Any
    data: tuple[str, ...]
    made: dict[Place, Any]
    report: list[str]


def _binned(config: CalibrationConfig, histogram: Any, make: Callable[[BandTemplates], Any]) -> _Binned:
    """Make something of the templates of each bin; bins for which this is not possible join others."""
    content, document = config.content, config.document
    axes: list[BinAxis] = list(config.axes)
    joined: list[str] = []
    peak = content.mass_factors is not None and content.mass_factors.peak
    _check_axes(config, histogram)
    _check_variations(config, histogram)
    with document.at("data"):
        data = data_sets(histogram, content.data, f"histogram {content.histogram!r}")
    done: dict[tuple[Any, ...], Any] = {}
    while True:
        with document.at("bins"):
            edges = {axis.name: axis.edges for axis in axes}
            here = in_bins(histogram, edges, tuple(config.thresholds.values()), content.variable)
        with document.at("categories"):
            binned = band_templates(
                here,
                content.variable,
                data=data,
                bands=config.bands,
                categories=sources_of(config),
                variations=content.systematics,
                # shifts of a mass need narrow bins, which are merged afterwards
                min_effective_events=0.0 if peak else content.min_effective_events,
            )
        made, refused = {}, dict(binned.refused)
        lines: dict[Place, Sequence[str]] = {}
        for place, templates in binned.templates.items():
            key = tuple((axis.edges[i], axis.edges[i + 1]) for axis, i in zip(axes, place, strict=True))
            try:
                if key not in done:
                    _require_jets(config, templates)
                    ready = _with_shapes(config, templates)
                    done[key] = make(ready), ready.report
                made[place], lines[place] = done[key]
            except InvalidValues as error:
                refused[place] = str(error).removeprefix(f"{document.where('mass_factors', 'peak')}: ")
        if not refused:
            report = [*joined, *(line for listed in lines.values() for line in listed)]
            return _Binned(tuple(axes), here, data, made, list(dict.fromkeys(report)))
        axes[0], line = _joined(config, axes[0], refused)
        joined.append(line)


def _with_shapes(config: CalibrationConfig, templates: BandTemplates) -> BandTemplates:
    """Templates as they are fitted: with shifts of the mass, and variations that move no jets between bands."""
    content = config.content
    masses = content.mass_factors
    if masses is not None and masses.peak:
        with config.document.at("mass_factors", "peak"):
            templates = with_mass_shapes(
                templates,
                [name for name in masses.peak if name in templates.categories],
                scale=masses.scale_size,
                resolution=masses.resolution_size,
            ).merged(content.min_effective_events)
    shape_only = [name for name in content.shape_only if name in templates.variations]
    return templates.without_migration(shape_only) if shape_only else templates


def _check_axes(config: CalibrationConfig, histogram: Any) -> None:
    """Refuse a histogram of something else."""
    lacking = {"dataset", "category", "variation"} - set(categories_of(histogram))
    if lacking:
        with config.document.at("histograms"):
            names = ", ".join(axis.name for axis in histogram.axes)
            raise MismatchError(
                f"histogram {config.content.histogram!r} has the axes {names}, expected {', '.join(sorted(lacking))}, "
                "too, as jettagger.processors.ScaleFactorProcessor fills them"
            )
    known = [axis.name for axis in variables_of(histogram)]
    for key, name in (("variable", config.content.variable), ("working_points", SCORE)):
        if name not in known:
            with config.document.at(key):
                raise UnknownName("axis", name, known, f"histogram {config.content.histogram!r}")
    with config.document.at("working_points"):
        ends = histogram.axes[SCORE].edges
        with_edges(histogram, SCORE, [float(ends[0]), *config.thresholds.values(), float(ends[-1])])


def _check_variations(config: CalibrationConfig, histogram: Any) -> None:
    """Refuse names of variations that the histogram does not have."""
    ended = [name for name in categories_of(histogram).get("variation", ()) if name.endswith(("Up", "Down"))]
    known = list(dict.fromkeys(name.removesuffix("Up").removesuffix("Down") for name in ended))
    for key in ("systematics", "shapes", "shape_only"):
        for name in getattr(config.content, key) or ():
            if name not in known:
                with config.document.at(key):
                    raise UnknownName("variation", name, known, "the histogram")
    made = [name for name in config.shapes if name not in config.content.shapes]
    twice = [name for name in made if name in known and name in (config.content.systematics or known)]
    if twice:
        with config.document.at("mass_factors", "peak"):
            raise ConfigError(
                f"the histogram has the variation {twice[0]!r} already: name it under 'shapes' instead of 'peak', or "
                "leave it out of 'systematics'"
            )
    sources = [*known, *made, *config.content.normalisation_uncertainties]
    if config.content.mistag is not None:
        sources += [f"{name}_{word}" for name in config.content.mistag.contamination for word in _OF_CONTAMINATION]
    with config.document.at("correlated"):
        unknown = [name for name in config.content.correlated or () if name not in sources]
        if unknown:
            raise UnknownName("source", unknown, sources, "those that can be correlated")


def _joined(config: CalibrationConfig, axis: BinAxis, refused: dict[Place, str]) -> tuple[BinAxis, str]:
    """The bins in pt without one that has no result; it joins the one below, the lowest the one above."""
    place, reason = min(refused.items(), key=lambda item: -item[0][0])
    number = place[0]
    with config.document.at("bins"):
        if config.content.sparse == "refuse" or axis.size == 1:
            more = f" (and {len(refused) - 1} more bins)" if len(refused) > 1 else ""
            hint = "" if axis.size == 1 else "; sparse: merge joins it with its neighbour"
            raise InvalidValues(f"{reason}{more}{hint}")
    other = number - 1 if number else 1
    edges = list(axis.edges)
    del edges[max(number, other)]
    return replace(axis, edges=edges), f"{axis.label(number)} joins {axis.label(other)}: {reason}"


def _require_jets(config: CalibrationConfig, templates: BandTemplates) -> None:
    """Refuse a bin without data, or with a point at which a category has no simulated jets."""
    if not any(content.any() for content in templates.data.values()):
        raise InvalidValues(f"{templates.name}: no data")
    for category in config.measured:
        if category not in templates.categories:
            raise InvalidValues(f"{templates.name}: no simulated jets of {category!r}")
        yields = templates.yields(category)[1:]
        if config.content.kind == "points":
            yields = np.cumsum(yields[::-1])[::-1]
        empty = [point for point, number in zip(config.thresholds, yields, strict=True) if not number > 0]
        if empty:
            raise InvalidValues(f"{templates.name}: no simulated jets of {category!r} at {', '.join(empty)}")


def _fit(config: CalibrationConfig, templates: BandTemplates) -> BinFit:
    content = config.content
    there = set(templates.categories)
    fit = fit_factors(
        templates,
        categories={name: item for name, item in config.factors.items() if name in there},
        normalisations={
            name: {category: size for category, size in sizes.items() if category in there}
            for name, sizes in content.normalisation_uncertainties.items()
        },
        shapes={name: shape for name, shape in config.shapes.items() if name in templates.variations},
        simulated_statistics=content.simulated_statistics,
    )
    return BinFit(templates.name, fit, fit.inclusive() if content.kind == "points" else _above(fit.factors))


def _above(factors: Factors) -> Factors:
    """The factors of the bands above the lowest."""
    number = len(factors.points)
    kept = [i for i in range(factors.values.size) if i % number]
    return Factors(
        factors.name,
        factors.kind,
        factors.categories,
        factors.points[1:],
        factors.values[:, 1:],
        factors.covariance[np.ix_(kept, kept)],
        {name: (up[:, 1:], down[:, 1:]) for name, (up, down) in factors.contributions.items()},
        factors.at_bounds,
        {source: part[np.ix_(kept, kept)] for source, part in factors.parts.items()},
    )


guard(globals(), "BinFit", "Fits", "Plan", "fit_bins", "plan")
