"""Scale factors, mistag rates, mass scale and resolution: measured in data, written, applied."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jettagger.calibration.binning import BinAxis
    from jettagger.calibration.datacard import write_datacard
    from jettagger.calibration.efficiencymap import EfficiencyMap, efficiency_map
    from jettagger.calibration.fitting import (
        Expectation,
        FactorFit,
        Factors,
        Goodness,
        Impact,
        PseudoExperiments,
        fit_factors,
        pseudo_experiments,
    )
    from jettagger.calibration.formula import (
        BandYields,
        Efficiencies,
        FormulaFactors,
        YieldVariation,
        efficiencies,
        formula_factors,
    )
    from jettagger.calibration.histogram import BinnedTemplates, CategorySource, band_templates
    from jettagger.calibration.masses import MassFactors, MassShift
    from jettagger.calibration.massshapes import (
        mass_factors,
        mass_shapes,
        peak_position,
        shifted_mass,
        with_mass_shapes,
    )
    from jettagger.calibration.mistag import Contamination, mistag_factors
    from jettagger.calibration.model import CategoryFactor, FactorModel, ShapeFactor
    from jettagger.calibration.scalefactors import ScaleFactors
    from jettagger.calibration.templates import BandTemplates
    from jettagger.calibration.weights import EventTagWeights, JetFactors, TagCount, TagWeights
    from jettagger.calibration.writing import OutsideBins

#: public name -> its module
_HOMES = {
    "BandTemplates": "templates",
    "BandYields": "formula",
    "BinAxis": "binning",
    "BinnedTemplates": "histogram",
    "CategoryFactor": "model",
    "CategorySource": "histogram",
    "Contamination": "mistag",
    "Efficiencies": "formula",
    "EfficiencyMap": "efficiencymap",
    "EventTagWeights": "weights",
    "Expectation": "fitting",
    "FactorFit": "fitting",
    "FactorModel": "model",
    "Factors": "fitting",
    "FormulaFactors": "formula",
    "Goodness": "fitting",
    "Impact": "fitting",
    "JetFactors": "weights",
    "MassFactors": "masses",
    "MassShift": "masses",
    "OutsideBins": "writing",
    "PseudoExperiments": "fitting",
    "ScaleFactors": "scalefactors",
    "ShapeFactor": "model",
    "TagCount": "weights",
    "TagWeights": "weights",
    "YieldVariation": "formula",
    "band_templates": "histogram",
    "efficiencies": "formula",
    "efficiency_map": "efficiencymap",
    "fit_factors": "fitting",
    "formula_factors": "formula",
    "mass_factors": "massshapes",
    "mass_shapes": "massshapes",
    "mistag_factors": "mistag",
    "peak_position": "massshapes",
    "pseudo_experiments": "fitting",
    "shifted_mass": "massshapes",
    "with_mass_shapes": "massshapes",
    "write_datacard": "datacard",
}

__all__ = [
    "BandTemplates",
    "BandYields",
    "BinAxis",
    "BinnedTemplates",
    "CategoryFactor",
    "CategorySource",
    "Contamination",
    "Efficiencies",
    "EfficiencyMap",
    "EventTagWeights",
    "Expectation",
    "FactorFit",
    "FactorModel",
    "Factors",
    "FormulaFactors",
    "Goodness",
    "Impact",
    "JetFactors",
    "MassFactors",
    "MassShift",
    "OutsideBins",
    "PseudoExperiments",
    "ScaleFactors",
    "ShapeFactor",
    "TagCount",
    "TagWeights",
    "YieldVariation",
    "band_templates",
    "efficiencies",
    "efficiency_map",
    "fit_factors",
    "formula_factors",
    "mass_factors",
    "mass_shapes",
    "mistag_factors",
    "peak_position",
    "pseudo_experiments",
    "shifted_mass",
    "with_mass_shapes",
    "write_datacard",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"jettagger.calibration.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'jettagger.calibration' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
