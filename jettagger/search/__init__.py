"""A search for resonances from a configuration: histograms, cutflows, templates and plots from files.

``jettagger search`` is its command line; from Python::

    from jettagger.search import read_config, run_search, write_output

    result = run_search(read_config("search.yaml"), executor="futures", workers=4)
    write_output(result, "search-output")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jettagger.search.config import SearchConfig, read_config
    from jettagger.search.cutflows import cutflow_table
    from jettagger.search.datasets import CountedFiles, find_files, make_fileset
    from jettagger.search.files import Survey, survey
    from jettagger.search.identity import search_identity
    from jettagger.search.kept import kept_chunks
    from jettagger.search.output import make_templates, record, write_output
    from jettagger.search.run import EXECUTORS, SearchResult, run_search

_HOMES = {
    "EXECUTORS": "run",
    "CountedFiles": "datasets",
    "SearchConfig": "config",
    "SearchResult": "run",
    "Survey": "files",
    "cutflow_table": "cutflows",
    "find_files": "datasets",
    "kept_chunks": "kept",
    "make_fileset": "datasets",
    "make_templates": "output",
    "read_config": "config",
    "record": "output",
    "run_search": "run",
    "search_identity": "identity",
    "survey": "files",
    "write_output": "output",
}

__all__ = [
    "EXECUTORS",
    "CountedFiles",
    "SearchConfig",
    "SearchResult",
    "Survey",
    "cutflow_table",
    "find_files",
    "kept_chunks",
    "make_fileset",
    "make_templates",
    "read_config",
    "record",
    "run_search",
    "search_identity",
    "survey",
    "write_output",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"jettagger.search.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'jettagger.search' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
