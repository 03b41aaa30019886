"""Ready-to-use coffea processors, imported as ``jettagger.processors``.

They use only public names of jettagger, so each can be copied and changed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jettagger.processors.assignment import AssignmentProcessor, ChiSquareMethod
    from jettagger.processors.assignment_inputs import AssignmentInputsProcessor
    from jettagger.processors.attribution import Attribution
    from jettagger.processors.finetune_inputs import FinetuneInputsProcessor
    from jettagger.processors.jec_inputs import JecInputsProcessor, JecSpectrumProcessor
    from jettagger.processors.scale_factors import ScaleFactorProcessor
    from jettagger.processors.search import ResonanceSearchProcessor
    from jettagger.processors.tagging import TaggingProcessor

_HOMES = {
    "AssignmentProcessor": "assignment",
    "ChiSquareMethod": "assignment",
    "AssignmentInputsProcessor": "assignment_inputs",
    "Attribution": "attribution",
    "FinetuneInputsProcessor": "finetune_inputs",
    "JecInputsProcessor": "jec_inputs",
    "JecSpectrumProcessor": "jec_inputs",
    "ResonanceSearchProcessor": "search",
    "ScaleFactorProcessor": "scale_factors",
    "TaggingProcessor": "tagging",
}

__all__ = [
    "AssignmentInputsProcessor",
    "AssignmentProcessor",
    "Attribution",
    "ChiSquareMethod",
    "FinetuneInputsProcessor",
    "JecInputsProcessor",
    "JecSpectrumProcessor",
    "ResonanceSearchProcessor",
    "ScaleFactorProcessor",
    "TaggingProcessor",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"jettagger.processors.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'jettagger.processors' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
