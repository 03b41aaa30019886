"""Assignment of the objects of an event to the particles of its topology."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jettagger.assignment.blocks import AssignmentEvents
    from jettagger.assignment.datasets import AssignmentDataset, DatasetWriter
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
    from jettagger.topology.permutations import PermutationGroup

#: public name -> module of its definition
_HOMES: dict[str, str] = {
    "AssignmentDataset": "assignment.datasets",
    "AssignmentEvents": "assignment.blocks",
    "DatasetWriter": "assignment.datasets",
    "Daughter": "topology.eventfile",
    "EventDescription": "topology.eventfile",
    "EventInput": "topology.eventfile",
    "InputFeature": "topology.eventfile",
    "Particle": "topology.eventfile",
    "PermutationGroup": "topology.permutations",
    "event_text": "topology.eventfile",
    "parse_event_text": "topology.eventfile",
    "read_event_file": "topology.eventfile",
    "write_event_file": "topology.eventfile",
}

__all__ = [
    "AssignmentDataset",
    "AssignmentEvents",
    "DatasetWriter",
    "Daughter",
    "EventDescription",
    "EventInput",
    "InputFeature",
    "Particle",
    "PermutationGroup",
    "event_text",
    "parse_event_text",
    "read_event_file",
    "write_event_file",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"jettagger.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'jettagger.assignment' has no attribute {name!r}")
