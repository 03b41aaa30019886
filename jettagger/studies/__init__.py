"""Comparisons that fit or train several things with one configuration and end in a report.

``jettagger decorrelate`` is the command line of the study of decorrelation; from Python::

    from jettagger.studies import decorrelate

    result = decorrelate("study.yaml", "study")
    print(result.table)

``jettagger calibrate`` is that of the measurement of scale factors::

    from jettagger.studies import calibrate

    result = calibrate("calibration.yaml", "calibration")
    print(result.factors.table())
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

_HOMES = {
    "CalibrationConfig": "calibration.config",
    "CalibrationInputs": "calibration.run",
    "CalibrationResult": "calibration.run",
    "PredictionPlan": "assigning",
    "StudyConfig": "sculpting.config",
    "StudyResult": "sculpting.run",
    "StudySurvey": "sculpting.run",
    "calibrate": "calibration.run",
    "decorrelate": "sculpting.run",
    "plan_predictions": "assigning",
    "predict_events": "assigning",
    "read_calibration": "calibration.config",
    "read_config": "sculpting.config",
    "read_inputs": "calibration.run",
    "survey": "sculpting.run",
    "survey_inputs": "calibration.run",
}

__all__ = [
    "CalibrationConfig",
    "CalibrationInputs",
    "CalibrationResult",
    "PredictionPlan",
    "StudyConfig",
    "StudyResult",
    "StudySurvey",
    "calibrate",
    "decorrelate",
    "plan_predictions",
    "predict_events",
    "read_calibration",
    "read_config",
    "read_inputs",
    "survey",
    "survey_inputs",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"jettagger.studies.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'jettagger.studies' has no attribute {name!r}")
