"""Pre-trained jet taggers on awkward arrays, in coffea and dask.

The public names are loaded on first use, so that importing the package is fast.
"""

from __future__ import annotations

import importlib
import logging
import os
from typing import TYPE_CHECKING, Any

from jettagger._version import __version__

if not os.path.isdir(os.path.join(os.path.dirname(__file__), "processors")):
    from jettagger._checkout import install

    install()

# what is not asked for is not shown: the application chooses handlers and levels
logging.getLogger(__name__).addHandler(logging.NullHandler())

if TYPE_CHECKING:
    from jettagger.assignment.assigner import load_assigner
    from jettagger.bundles.bundle import Bundle
    from jettagger.bundles.registry import load_bundle
    from jettagger.discriminants import discriminant
    from jettagger.errors import JettaggerError
    from jettagger.files.root import EventFile
    from jettagger.inputs.source import check_columns
    from jettagger.report import Report
    from jettagger.skims.skim import tag_files
    from jettagger.skims.writers import write_skim
    from jettagger.tagging.options import TaggerOptions
    from jettagger.tagging.tagger import Tagger, load_tagger
    from jettagger.tagging.taggers import Taggers, load_taggers
    from jettagger.tagging.tensors import make_inputs

_HOMES = {
    "Bundle": "bundles.bundle",
    "EventFile": "files.root",
    "JettaggerError": "errors",
    "Report": "report",
    "Tagger": "tagging.tagger",
    "TaggerOptions": "tagging.options",
    "Taggers": "tagging.taggers",
    "check_columns": "inputs.source",
    "discriminant": "discriminants",
    "load_assigner": "assignment.assigner",
    "load_bundle": "bundles.registry",
    "load_tagger": "tagging.tagger",
    "load_taggers": "tagging.taggers",
    "make_inputs": "tagging.tensors",
    "tag_files": "skims.skim",
    "write_skim": "skims.writers",
}

__all__ = [
    "Bundle",
    "EventFile",
    "JettaggerError",
    "Report",
    "Tagger",
    "TaggerOptions",
    "Taggers",
    "__version__",
    "check_columns",
    "discriminant",
    "load_assigner",
    "load_bundle",
    "load_tagger",
    "load_taggers",
    "make_inputs",
    "tag_files",
    "write_skim",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"jettagger.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'jettagger' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
