"""Comparisons that fit or train several things with one configuration and end in a report.

``jettagger decorrelate`` is the command line of the study of decorrelation; from Python::

    from jettagger.studies import decorrelate

    result = decorrelate("study.yaml", "study")
    print(result.table)

``jettagger calibrate`` is that of the measurement of scale factors::

    from jettagger.studies import calibrate

    result = calibrate("calibration.yaml", "calibration")
    print(result.factors.table())

``jettagger assignment tune`` is that of the search for options of assignment networks::

    from jettagger.studies import tune_assignment

    result = tune_assignment("options.json", "space.json", "tuned", trials=20)
    print(result.best.parameters)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jettagger.studies.assigning import PredictionPlan, plan_predictions, predict_events
    from jettagger.studies.calibration.config import CalibrationConfig, read_calibration
    from jettagger.studies.calibration.run import (
        CalibrationInputs,
        CalibrationResult,
        calibrate,
        read_inputs,
        survey_inputs,
    )
    from jettagger.studies.sculpting.config import StudyConfig, read_config
    from jettagger.studies.sculpting.run import StudyResult, StudySurvey, decorrelate, survey
    from jettagger.studies.tuning.run import Tuning, plan_tuning, tune_assignment
    from jettagger.studies.tuning.spaces import SearchSpace, read_search_space

_HOMES = {
    "CalibrationConfig": "calibration.config",
    "CalibrationInputs": "calibration.run",
    "CalibrationResult": "calibration.run",
    "PredictionPlan": "assigning",
    "SearchSpace": "tuning.spaces",
    "StudyConfig": "sculpting.config",
    "StudyResult": "sculpting.run",
    "StudySurvey": "sculpting.run",
    "Tuning": "tuning.run",
    "calibrate": "calibration.run",
    "decorrelate": "sculpting.run",
    "plan_predictions": "assigning",
    "plan_tuning": "tuning.run",
    "predict_events": "assigning",
    "read_calibration": "calibration.config",
    "read_config": "sculpting.config",
    "read_inputs": "calibration.run",
    "read_search_space": "tuning.spaces",
    "survey": "sculpting.run",
    "survey_inputs": "calibration.run",
    "tune_assignment": "tuning.run",
}

__all__ = [
    "CalibrationConfig",
    "CalibrationInputs",
    "CalibrationResult",
    "PredictionPlan",
    "SearchSpace",
    "StudyConfig",
    "StudyResult",
    "StudySurvey",
    "Tuning",
    "calibrate",
    "decorrelate",
    "plan_predictions",
    "plan_tuning",
    "predict_events",
    "read_calibration",
    "read_config",
    "read_inputs",
    "read_search_space",
    "survey",
    "survey_inputs",
    "tune_assignment",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"jettagger.studies.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'jettagger.studies' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
