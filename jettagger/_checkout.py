"""Finder of ``jettagger.processors`` in a checkout, where it is ``processors/`` at the top; wheels contain it."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any

PROCESSORS = Path(__file__).resolve().parent.parent / "processors"


class ProcessorsFinder:
    """Finds this one package."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The specification of the package in the checkout; None for any other name."""
        if name != "jettagger.processors":
            return None
        return spec_from_file_location(name, PROCESSORS / "__init__.py", submodule_search_locations=[str(PROCESSORS)])


def install() -> None:
    """Add the finder, if the folder exists."""
    if PROCESSORS.is_dir():
        # first: an editable install of another checkout would answer with its own processors
        sys.meta_path.insert(0, ProcessorsFinder)
