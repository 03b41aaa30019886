"""Assignment of the objects of an event to the particles of its topology."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jettagger.assignment.assigner import Assigned, Assigner, load_assigner
    from jettagger.assignment.assigneroptions import AssignerOptions
    from jettagger.assignment.baseline import ChiSquareBaseline, parse_baseline
    from jettagger.assignment.blocks import (
        AssignmentEvents,
    )
    from jettagger.assignment.checking import (
        DatasetReport,
        check_dataset,
    )
    from jettagger.assignment.chisquare import BTag, ChiSquareAssignment, MassTerm, chi_square, higgs_term, top_terms
    from jettagger.assignment.comparison import MethodComparison, compare_methods
    from jettagger.assignment.converting import (
        concatenate_datasets,
        convert_dataset,
    )
    from jettagger.assignment.counting import AssignmentReport, CutObjectsWarning
    from jettagger.assignment.datasets import (
        AssignmentDataset,
        DatasetWriter,
    )
    from jettagger.assignment.decoding import (
        METHODS,
        AssignmentFunction,
        Decoded,
        check_assignments,
        decode,
    )
    from jettagger.assignment.ensembles import mean_network, read_model
    from jettagger.assignment.evaluating import EvaluationPlan, evaluate_networks, plan_evaluation
    from jettagger.assignment.exporting import (
        export_network,
    )
    from jettagger.assignment.folders import AssignerFolder, import_assigner, read_assigner
    from jettagger.assignment.losses import (
        AssignmentLoss,
        AssignmentTargets,
        LossTerms,
    )
    from jettagger.assignment.making import (
        InputCounts,
        InputMaker,
        make_inputs,
    )
    from jettagger.assignment.model_export import ExportedModel, export_model
    from jettagger.assignment.model_outputs import AssignmentModel, ModelOutputs, open_model
    from jettagger.assignment.networks import (
        AssignmentOutputs,
        build_network,
        parameter_count,
    )
    from jettagger.assignment.predictions import PredictionWriter
    from jettagger.assignment.purity import CategoryPurity, Purities, purities
    from jettagger.assignment.results import NetworkEvaluation
    from jettagger.assignment.statistics import (
        Normalization,
        TrainingStatistics,
        log_inputs,
        training_statistics,
    )
    from jettagger.assignment.training import (
        TrainedNetwork,
        train_assignment,
    )
    from jettagger.assignment.training_folder import AssignmentTraining, train_to_folder
    from jettagger.assignment.training_options import (
        AssignmentOptions,
        OptionsWarning,
        OwnOptions,
        read_options,
    )
    from jettagger.assignment.weights import (
        LoadedWeights,
        convert_weights,
        load_weights,
        read_network,
        read_state,
        write_network,
    )
    from jettagger.assignment.weights_import import ImportedWeights, import_weights
    from jettagger.assignment.whole_events import EventRequest, WholeEvents
    from jettagger.inputs.event_targets import (
        EventTargets,
        MatchingTable,
        event_targets,
    )
    from jettagger.inputs.event_tensors import (
        EventTensors,
        event_tensors,
    )
    from jettagger.topology.eventfile import (
        Daughter,
        EventDescription,
        EventInput,
        InputFeature,
        Particle,
        event_text,
        parse_event_text,
        read_event_file,
        write_event_file,
    )
    from jettagger.topology.mapping import (
        EventMapping,
        parse_mapping,
        read_mapping,
    )
    from jettagger.topology.permutations import (
        PermutationGroup,
    )

#: public name -> module of its definition
_HOMES: dict[str, str] = {
    "Assigned": "assignment.assigner",
    "Assigner": "assignment.assigner",
    "AssignerFolder": "assignment.folders",
    "AssignerOptions": "assignment.assigneroptions",
    "AssignmentDataset": "assignment.datasets",
    "AssignmentEvents": "assignment.blocks",
    "AssignmentFunction": "assignment.decoding",
    "AssignmentLoss": "assignment.losses",
    "AssignmentModel": "assignment.model_outputs",
    "AssignmentOptions": "assignment.training_options",
    "AssignmentOutputs": "assignment.networks",
    "AssignmentReport": "assignment.counting",
    "AssignmentTargets": "assignment.losses",
    "AssignmentTraining": "assignment.training_folder",
    "BTag": "assignment.chisquare",
    "CategoryPurity": "assignment.purity",
    "ChiSquareAssignment": "assignment.chisquare",
    "ChiSquareBaseline": "assignment.baseline",
    "CutObjectsWarning": "assignment.counting",
    "DatasetReport": "assignment.checking",
    "DatasetWriter": "assignment.datasets",
    "Daughter": "topology.eventfile",
    "Decoded": "assignment.decoding",
    "EvaluationPlan": "assignment.evaluating",
    "EventDescription": "topology.eventfile",
    "EventInput": "topology.eventfile",
    "EventMapping": "topology.mapping",
    "EventRequest": "assignment.whole_events",
    "EventTargets": "inputs.event_targets",
    "EventTensors": "inputs.event_tensors",
    "ExportedModel": "assignment.model_export",
    "ImportedWeights": "assignment.weights_import",
    "InputCounts": "assignment.making",
    "InputFeature": "topology.eventfile",
    "InputMaker": "assignment.making",
    "LoadedWeights": "assignment.weights",
    "LossTerms": "assignment.losses",
    "METHODS": "assignment.decoding",
    "MassTerm": "assignment.chisquare",
    "MatchingTable": "inputs.event_targets",
    "MethodComparison": "assignment.comparison",
    "ModelOutputs": "assignment.model_outputs",
    "NetworkEvaluation": "assignment.results",
    "Normalization": "assignment.statistics",
    "OptionsWarning": "assignment.training_options",
    "OwnOptions": "assignment.training_options",
    "Particle": "topology.eventfile",
    "PermutationGroup": "topology.permutations",
    "PredictionWriter": "assignment.predictions",
    "Purities": "assignment.purity",
    "TrainedNetwork": "assignment.training",
    "TrainingStatistics": "assignment.statistics",
    "WholeEvents": "assignment.whole_events",
    "build_network": "assignment.networks",
    "check_assignments": "assignment.decoding",
    "check_dataset": "assignment.checking",
    "chi_square": "assignment.chisquare",
    "compare_assignments": "assignment.comparison",
    "compare_methods": "assignment.comparison",
    "concatenate_datasets": "assignment.converting",
    "convert_dataset": "assignment.converting",
    "convert_weights": "assignment.weights",
    "decode": "assignment.decoding",
    "evaluate_networks": "assignment.evaluating",
    "event_targets": "inputs.event_targets",
    "event_tensors": "inputs.event_tensors",
    "event_text": "topology.eventfile",
    "export_model": "assignment.model_export",
    "export_network": "assignment.exporting",
    "higgs_term": "assignment.chisquare",
    "import_assigner": "assignment.folders",
    "import_weights": "assignment.weights_import",
    "load_assigner": "assignment.assigner",
    "load_weights": "assignment.weights",
    "log_inputs": "assignment.statistics",
    "make_inputs": "assignment.making",
    "mean_network": "assignment.ensembles",
    "open_model": "assignment.model_outputs",
    "parameter_count": "assignment.networks",
    "parse_baseline": "assignment.baseline",
    "parse_event_text": "topology.eventfile",
    "parse_mapping": "topology.mapping",
    "plan_evaluation": "assignment.evaluating",
    "purities": "assignment.purity",
    "read_assigner": "assignment.folders",
    "read_event_file": "topology.eventfile",
    "read_mapping": "topology.mapping",
    "read_model": "assignment.ensembles",
    "read_network": "assignment.weights",
    "read_options": "assignment.training_options",
    "read_state": "assignment.weights",
    "top_terms": "assignment.chisquare",
    "train_assignment": "assignment.training",
    "train_to_folder": "assignment.training_folder",
    "training_statistics": "assignment.statistics",
    "write_event_file": "topology.eventfile",
    "write_network": "assignment.weights",
}

__all__ = [
    "METHODS",
    "Assigned",
    "Assigner",
    "AssignerFolder",
    "AssignerOptions",
    "AssignmentDataset",
    "AssignmentEvents",
    "AssignmentFunction",
    "AssignmentLoss",
    "AssignmentModel",
    "AssignmentOptions",
    "AssignmentOutputs",
    "AssignmentReport",
    "AssignmentTargets",
    "AssignmentTraining",
    "BTag",
    "CategoryPurity",
    "ChiSquareAssignment",
    "ChiSquareBaseline",
    "CutObjectsWarning",
    "DatasetReport",
    "DatasetWriter",
    "Daughter",
    "Decoded",
    "EvaluationPlan",
    "EventDescription",
    "EventInput",
    "EventMapping",
    "EventRequest",
    "EventTargets",
    "EventTensors",
    "ExportedModel",
    "ImportedWeights",
    "InputCounts",
    "InputFeature",
    "InputMaker",
    "LoadedWeights",
    "LossTerms",
    "MassTerm",
    "MatchingTable",
    "MethodComparison",
    "ModelOutputs",
    "NetworkEvaluation",
    "Normalization",
    "OptionsWarning",
    "OwnOptions",
    "Particle",
    "PermutationGroup",
    "PredictionWriter",
    "Purities",
    "TrainedNetwork",
    "TrainingStatistics",
    "WholeEvents",
    "build_network",
    "check_assignments",
    "check_dataset",
    "chi_square",
    "compare_assignments",
    "compare_methods",
    "concatenate_datasets",
    "convert_dataset",
    "convert_weights",
    "decode",
    "evaluate_networks",
    "event_targets",
    "event_tensors",
    "event_text",
    "export_model",
    "export_network",
    "higgs_term",
    "import_assigner",
    "import_weights",
    "load_assigner",
    "load_weights",
    "log_inputs",
    "make_inputs",
    "mean_network",
    "open_model",
    "parameter_count",
    "parse_baseline",
    "parse_event_text",
    "parse_mapping",
    "plan_evaluation",
    "purities",
    "read_assigner",
    "read_event_file",
    "read_mapping",
    "read_model",
    "read_network",
    "read_options",
    "read_state",
    "top_terms",
    "train_assignment",
    "train_to_folder",
    "training_statistics",
    "write_event_file",
    "write_network",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"jettagger.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'jettagger.assignment' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
