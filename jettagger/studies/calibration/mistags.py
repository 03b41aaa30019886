"""Mistag rates of a control sample in the bins of a calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.calibration import (
    BandYields,
    BinAxis,
    Contamination,
    FormulaFactors,
    YieldVariation,
    mistag_factors,
)
from jettagger.errors import UnknownName
from jettagger.histograms import categories_of
from jettagger.studies.calibration.config import CalibrationConfig
from jettagger.studies.calibration.fits import Fits, data_sets
from jettagger.studies.calibration.rebinning import in_bins
from jettagger.studies.calibration.schema import ContaminationKeys, MistagKeys

__all__ = ["measure_mistags", "mistag_yields"]

_NOMINAL = "nominal"


def mistag_yields(
    config: CalibrationConfig, histogram: Any, axes: Sequence[BinAxis]
) -> tuple[Any, tuple[str, ...], dict[str, BandYields]]:
    """The control sample in the bins of a calibration.

    Parameters
    ----------
    config : CalibrationConfig
        With mistags.
    histogram : hist.Hist
    axes : sequence of BinAxis

    Returns
    -------
    histogram : hist.Hist
        In these bins, without the fitted variable.
    data : tuple of str
        Data sets of data.
    yields : dict of str to BandYields
        Data set of simulation -> jets whose rate is measured.

    Raises
    ------
    ConfigError, MismatchError, UnknownName
        If the histogram lacks a bin, a data set or a category; gives the line.
    """
    keys = _keys(config)
    with config.document.at("mistag"):
        made = in_bins(histogram, {axis.name: axis.edges for axis in axes}, tuple(config.thresholds.values()), None)
        data = data_sets(made, keys.data, f"histogram {keys.histogram!r}")
        sets = _simulated(made, data, keys.datasets)
        names = [axis.name for axis in axes]
        parts = {
            name: BandYields.from_histogram(
                made, names, what=name, dataset=name, category=list(keys.sources), variation=_NOMINAL
            )
            for name in sets
        }
        return made, data, {name: part for name, part in parts.items() if part.values.any()}


def measure_mistags(config: CalibrationConfig, histogram: Any, fits: Fits) -> FormulaFactors:
    """Mistag rates in data over simulation, in the bins of the fits.

    Parameters
    ----------
    config : CalibrationConfig
        With mistags.
    histogram : hist.Hist
        Of the control sample.
    fits : Fits

    Returns
    -------
    FormulaFactors

    Raises
    ------
    ConfigError, MismatchError, UnknownName
        As for `mistag_yields`.
    InvalidValues
        If a bin is empty, or the contamination exceeds the data.
    """
    keys = _keys(config)
    made, data, _ = mistag_yields(config, histogram, fits.axes)
    names = [axis.name for axis in fits.axes]
    known = categories_of(made)
    ended = [name for name in known["variation"] if name.endswith(("Up", "Down"))]
    both = list(dict.fromkeys(name.removesuffix("Up").removesuffix("Down") for name in ended))
    with config.document.at("mistag", "systematics"):
        unknown = [name for name in keys.systematics or () if name not in both]
        if unknown:
            raise UnknownName("variation", unknown, both, "the histogram of the control sample")
    wanted = both if keys.systematics is None else list(keys.systematics)

    def yields(sources: Sequence[str], datasets: Sequence[str], variation: str, what: str) -> BandYields:
        """Simulated jets; data sets without the variation are nominal."""
        total = None
        for name in datasets:
            there = variation in known["variation"]
            part = there and BandYields.from_histogram(made, names, what=what, dataset=name, category=list(sources),
                                                       variation=variation)  # fmt: skip
            if not part or not np.any(part.values):
                part = BandYields.from_histogram(made, names, what=what, dataset=name, category=list(sources),
                                                 variation=_NOMINAL)  # fmt: skip
            total = part if total is None else total + part
        assert total is not None
        return total

    def contamination(variation: str) -> dict[str, Contamination]:
        result = {}
        for name, part in keys.contamination.items():
            with config.document.at("mistag", "contamination", name):
                found = yields(part.sources, _simulated(made, data, part.datasets), variation, name)
                result[name] = Contamination(found, part.uncertainty, *_factors(part, fits))
        return result

    def shifted(variation: str) -> YieldVariation:
        own = contamination(variation)
        background = None
        for part in own.values():
            background = part.expected() if background is None else background + part.expected()
        return YieldVariation(simulation=yields(keys.sources, sets, variation, keys.category), background=background)

    with config.document.at("mistag"):
        sets = _simulated(made, data, keys.datasets)
        observed = BandYields.from_histogram(
            made, names, what="data", dataset=list(data), category=known["category"], variation=_NOMINAL
        )
        variations = {name: (shifted(f"{name}Up"), shifted(f"{name}Down")) for name in wanted}
        return mistag_factors(
            BandYields(observed.values, None, observed.axes, observed.thresholds, "data"),
            yields(keys.sources, sets, _NOMINAL, keys.category),
            contamination(_NOMINAL),
            kind=config.content.kind,
            variations=variations,
        )


def _keys(config: CalibrationConfig) -> MistagKeys:
    assert config.content.mistag is not None
    return config.content.mistag


def _simulated(histogram: Any, data: Sequence[str], given: Sequence[str] | None) -> list[str]:
    known = categories_of(histogram)["dataset"]
    unknown = [name for name in given or () if name not in known]
    if unknown:
        raise UnknownName("dataset", unknown, known, "the histogram")
    return [name for name in known if name not in data] if given is None else list(given)


def _factors(part: ContaminationKeys, fits: Fits) -> tuple[Any, Any]:
    """Factors of the bands above the lowest with their uncertainties, as the fits have them."""
    if part.factors_of is None:
        return 1.0, 0.0
    shape = tuple(axis.size for axis in fits.axes)
    first = next(iter(fits.bins.values())).fit.factors
    values = np.ones((len(first.points) - 1, *shape))
    sigmas = np.zeros_like(values)
    for place, item in fits.bins.items():
        factors = item.fit.factors
        row = factors.categories.index(part.factors_of)
        cell: Any = (slice(None), *place)
        values[cell] = factors.values[row, 1:]
        sigmas[cell] = np.nan_to_num(factors.uncertainties[row, 1:])
    return values, sigmas


guard(globals())
