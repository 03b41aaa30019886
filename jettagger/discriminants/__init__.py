"""Discriminants: numbers computed from the scores of a tagger, for the selection of jets.

A discriminant is built from named scores with Python's operators, from text, or from YAML; presets are available by
name. It is applied to jets of any layout: jagged in, jagged out, eager, virtual or dask::

    from jettagger.discriminants import discriminant, score, sum_of

    hbb = discriminant("HbbvsQCD")(events.FatJet)
    mine = Discriminant(score("probHbb") / (score("probHbb") + 0.5 * sum_of("probQCD*")))
"""

from jettagger.discriminants.algebra import (
    LOG_FLOOR,
    group,
    log,
    log_ratio,
    parameter,
    ratio,
    score,
    sum_of,
)
from jettagger.discriminants.columns import taggers
from jettagger.discriminants.derivedcolumn import DerivedColumn, PointColumn
from jettagger.discriminants.discriminant import ZERO, Discriminant, discriminant, load, save
from jettagger.discriminants.metrics import (
    Measured,
    Roc,
    Scan,
    as_rejection,
    auc,
    binned_roc,
    efficiency,
    rejection,
    roc,
    scan,
)
from jettagger.discriminants.tables import Model, Preset, model, models, presets
from jettagger.discriminants.working_points import ProvenanceWarning, WorkingPoint, WorkingPoints, derive

__all__ = [
    "LOG_FLOOR",
    "ZERO",
    "DerivedColumn",
    "Discriminant",
    "Measured",
    "Model",
    "PointColumn",
    "Preset",
    "ProvenanceWarning",
    "Roc",
    "Scan",
    "WorkingPoint",
    "WorkingPoints",
    "as_rejection",
    "auc",
    "binned_roc",
    "derive",
    "discriminant",
    "efficiency",
    "group",
    "load",
    "log",
    "log_ratio",
    "model",
    "models",
    "parameter",
    "presets",
    "ratio",
    "rejection",
    "roc",
    "save",
    "scan",
    "score",
    "sum_of",
    "taggers",
]


def __dir__() -> list[str]:
    return sorted(__all__)
