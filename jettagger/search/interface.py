"""The interface between a search and its processor."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

from jettagger.search.definition import Sample, Search

__all__ = ["SearchProcessor", "processor_class"]


class SearchProcessor(Protocol):
    """A coffea processor made from a search, e.g. `jettagger.processors.ResonanceSearchProcessor`.

    Attributes
    ----------
    search : Search
        Its search; the prefix is that of its tagger.
    samples : dict of str to Sample
        Those of the search; they are normalised to what was read before the results are scaled.
    tagger : Tagger or None
    names : dict of str to str
        Output -> column of the jets, for the outputs of the tagger.
    """

    search: Search
    samples: dict[str, Sample]
    tagger: Any
    names: dict[str, str]

    def process(self, events: Any) -> dict[str, Any]:
        """Histograms and counts of one chunk."""

    def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
        """Scaled histograms, cutflows and notes."""


def processor_class() -> type[Any]:
    """The default class of processors.

    It depends on this package, so that only its name is known here.

    Returns
    -------
    type
        `jettagger.processors.ResonanceSearchProcessor`.
    """
    found: type[Any] = importlib.import_module("jettagger.processors").ResonanceSearchProcessor
    return found
