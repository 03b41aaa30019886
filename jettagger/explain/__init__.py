"""What a network looks at: gradients of ONNX files with torch, and what is built on them; extra ``train``.

The public names are loaded on first use: importing the room needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jettagger.explain.gradients import COLUMNS, Gradients, Target
    from jettagger.explain.graph import TorchGraph

_HOMES = {
    "COLUMNS": "gradients",
    "Gradients": "gradients",
    "Target": "gradients",
    "TorchGraph": "graph",
}

__all__ = ["COLUMNS", "Gradients", "Target", "TorchGraph"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"jettagger.explain.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'jettagger.explain' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
