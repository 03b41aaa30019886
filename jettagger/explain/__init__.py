"""What a network looks at: gradients of ONNX files with torch, and what is built on them; extra ``train``.

The public names are loaded on first use: importing the room needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from jettagger.errors import require

if TYPE_CHECKING:
    from jettagger.explain.attribution import AttributionWarning, attribute
    from jettagger.explain.baselines import (
        Baseline,
        DrawnBaseline,
        another_jet,
        median_constituent,
        no_constituents,
        other_constituents,
    )
    from jettagger.explain.gradients import COLUMNS, Gradients, Target
    from jettagger.explain.graph import TorchGraph
    from jettagger.explain.physical import physical
    from jettagger.explain.scorer import Scorer
    from jettagger.explain.target_names import target_of

_HOMES = {
    "AttributionWarning": "attribution",
    "COLUMNS": "gradients",
    "Baseline": "baselines",
    "DrawnBaseline": "baselines",
    "Gradients": "gradients",
    "Scorer": "scorer",
    "Target": "gradients",
    "TorchGraph": "graph",
    "another_jet": "baselines",
    "attribute": "attribution",
    "median_constituent": "baselines",
    "no_constituents": "baselines",
    "other_constituents": "baselines",
    "physical": "physical",
    "target_of": "target_names",
}

__all__ = [
    "COLUMNS",
    "AttributionWarning",
    "Baseline",
    "DrawnBaseline",
    "Gradients",
    "Scorer",
    "Target",
    "TorchGraph",
    "another_jet",
    "attribute",
    "median_constituent",
    "no_constituents",
    "other_constituents",
    "physical",
    "target_of",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        if name == "TorchGraph":  # the rest is there without torch
            require("torch", "train", "an ONNX file with derivatives")
        return getattr(importlib.import_module(f"jettagger.explain.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'jettagger.explain' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
