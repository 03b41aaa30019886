"""Assignment of the objects of an event to the particles of its topology."""

from __future__ import annotations

import importlib
from typing import Any

#: public name -> module of its definition
_HOMES: dict[str, str] = {}

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"jettagger.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'jettagger.assignment' has no attribute {name!r}")
