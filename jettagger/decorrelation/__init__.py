"""Scores that do not sculpt: maps of thresholds, distance correlation, adversaries, reweighting, measures."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jettagger.decorrelation.adversary import (
        adversary_gain,
        binned_adversary,
        density_adversary,
        domain_adversary,
    )
    from jettagger.decorrelation.distance import DistanceCorrelation, distance_correlation, measure_distance_correlation
    from jettagger.decorrelation.flatness import EfficiencyProfile, efficiency_profile
    from jettagger.decorrelation.linear import LinearMap, fit_linear
    from jettagger.decorrelation.mapcolumn import MapColumn
    from jettagger.decorrelation.mapfile import DecorrelationMap, MapCount
    from jettagger.decorrelation.maps import fit_map, load_map
    from jettagger.decorrelation.quantiles import QuantileMap, fit_quantiles
    from jettagger.decorrelation.referee import Judgement, judge_domain, judge_protected, verdict
    from jettagger.decorrelation.reweighting import Reweighted, SpectrumChange, reweight
    from jettagger.decorrelation.sculpting import (
        Divergence,
        OperatingPoint,
        Spectrum,
        cut_at,
        divergence,
        jensen_shannon,
        operating_point,
        spectrum,
    )
    from jettagger.decorrelation.thresholds import ThresholdMap, fit_thresholds

#: public name -> its module
_HOMES = {
    "DecorrelationMap": "mapfile",
    "DistanceCorrelation": "distance",
    "Divergence": "sculpting",
    "EfficiencyProfile": "flatness",
    "Judgement": "referee",
    "LinearMap": "linear",
    "MapColumn": "mapcolumn",
    "MapCount": "mapfile",
    "OperatingPoint": "sculpting",
    "QuantileMap": "quantiles",
    "Reweighted": "reweighting",
    "Spectrum": "sculpting",
    "SpectrumChange": "reweighting",
    "ThresholdMap": "thresholds",
    "adversary_gain": "adversary",
    "binned_adversary": "adversary",
    "cut_at": "sculpting",
    "density_adversary": "adversary",
    "distance_correlation": "distance",
    "divergence": "sculpting",
    "domain_adversary": "adversary",
    "efficiency_profile": "flatness",
    "fit_linear": "linear",
    "fit_map": "maps",
    "fit_quantiles": "quantiles",
    "fit_thresholds": "thresholds",
    "jensen_shannon": "sculpting",
    "judge_domain": "referee",
    "judge_protected": "referee",
    "load_map": "maps",
    "measure_distance_correlation": "distance",
    "operating_point": "sculpting",
    "reweight": "reweighting",
    "spectrum": "sculpting",
    "verdict": "referee",
}

__all__ = [
    "DecorrelationMap",
    "DistanceCorrelation",
    "Divergence",
    "EfficiencyProfile",
    "Judgement",
    "LinearMap",
    "MapColumn",
    "MapCount",
    "OperatingPoint",
    "QuantileMap",
    "Reweighted",
    "Spectrum",
    "SpectrumChange",
    "ThresholdMap",
    "adversary_gain",
    "binned_adversary",
    "cut_at",
    "density_adversary",
    "distance_correlation",
    "divergence",
    "domain_adversary",
    "efficiency_profile",
    "fit_linear",
    "fit_map",
    "fit_quantiles",
    "fit_thresholds",
    "jensen_shannon",
    "judge_domain",
    "judge_protected",
    "load_map",
    "measure_distance_correlation",
    "operating_point",
    "reweight",
    "spectrum",
    "verdict",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"jettagger.decorrelation.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'jettagger.decorrelation' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
