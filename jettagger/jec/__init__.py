"""Jet energy calibration: regression of the true pt from constituents, a standard correction, and their measures."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jettagger.jec.configuration import JecConfig, read_config
    from jettagger.jec.correcting import corrected, factor_column
    from jettagger.jec.estimate_files import EstimateSource, read_estimates
    from jettagger.jec.estimates import EstimateColumns, JetEstimates, estimates_of_events, flavour_of, jet_estimates
    from jettagger.jec.figures import performance_figures, write_performance
    from jettagger.jec.importing import ImportedModel, import_weights
    from jettagger.jec.maker import JetCounts, ShardMaker
    from jettagger.jec.making import make_training_set
    from jettagger.jec.performance import Performance, ResponseHistogram, measure_estimates
    from jettagger.jec.prediction import Calibration, JetPredictions, load_calibration, predict_files
    from jettagger.jec.rows import JetRows, RawJets, prepare
    from jettagger.jec.sampling import Acceptance, JetSpectrum, Sampling, acceptance_of
    from jettagger.jec.shards import JetData, open_data, read_shard, write_data, write_shard
    from jettagger.jec.standard import StandardCorrection, derive_standard
    from jettagger.jec.standard_files import derive_from_files, fill_standard
    from jettagger.jec.steering import SteeredRun, steer
    from jettagger.jec.streaming import TrainingSets, prepared_jets, training_sets
    from jettagger.jec.training import ImportedCalibration, JecTraining, import_model, train
    from jettagger.jec.transforms import Transforms, read_transform, write_transform

#: public name -> its module
_HOMES: dict[str, str] = {
    "Acceptance": "sampling",
    "Calibration": "prediction",
    "EstimateColumns": "estimates",
    "EstimateSource": "estimate_files",
    "ImportedCalibration": "training",
    "ImportedModel": "importing",
    "JecConfig": "configuration",
    "JecTraining": "training",
    "JetCounts": "maker",
    "JetData": "shards",
    "JetEstimates": "estimates",
    "JetPredictions": "prediction",
    "JetRows": "rows",
    "JetSpectrum": "sampling",
    "Performance": "performance",
    "RawJets": "rows",
    "ResponseHistogram": "performance",
    "Sampling": "sampling",
    "ShardMaker": "maker",
    "StandardCorrection": "standard",
    "SteeredRun": "steering",
    "TrainingSets": "streaming",
    "Transforms": "transforms",
    "acceptance_of": "sampling",
    "corrected": "correcting",
    "derive_from_files": "standard_files",
    "derive_standard": "standard",
    "estimates_of_events": "estimates",
    "factor_column": "correcting",
    "fill_standard": "standard_files",
    "flavour_of": "estimates",
    "import_model": "training",
    "import_weights": "importing",
    "jet_estimates": "estimates",
    "load_calibration": "prediction",
    "make_training_set": "making",
    "measure_estimates": "performance",
    "open_data": "shards",
    "performance_figures": "figures",
    "predict_files": "prediction",
    "prepare": "rows",
    "prepared_jets": "streaming",
    "read_config": "configuration",
    "read_estimates": "estimate_files",
    "read_shard": "shards",
    "read_transform": "transforms",
    "steer": "steering",
    "train": "training",
    "training_sets": "streaming",
    "write_data": "shards",
    "write_performance": "figures",
    "write_shard": "shards",
    "write_transform": "transforms",
}

__all__ = [
    "Acceptance",
    "Calibration",
    "EstimateColumns",
    "EstimateSource",
    "ImportedCalibration",
    "ImportedModel",
    "JecConfig",
    "JecTraining",
    "JetCounts",
    "JetData",
    "JetEstimates",
    "JetPredictions",
    "JetRows",
    "JetSpectrum",
    "Performance",
    "RawJets",
    "ResponseHistogram",
    "Sampling",
    "ShardMaker",
    "StandardCorrection",
    "SteeredRun",
    "TrainingSets",
    "Transforms",
    "acceptance_of",
    "corrected",
    "derive_from_files",
    "derive_standard",
    "estimates_of_events",
    "factor_column",
    "fill_standard",
    "flavour_of",
    "import_model",
    "import_weights",
    "jet_estimates",
    "load_calibration",
    "make_training_set",
    "measure_estimates",
    "open_data",
    "performance_figures",
    "predict_files",
    "prepare",
    "prepared_jets",
    "read_config",
    "read_estimates",
    "read_shard",
    "read_transform",
    "steer",
    "train",
    "training_sets",
    "write_data",
    "write_performance",
    "write_shard",
    "write_transform",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"jettagger.jec.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'jettagger.jec' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
