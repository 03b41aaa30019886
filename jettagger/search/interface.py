"""What a search asks of the processor that does its work."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

from jettagger.search.definition import Sample, Search

__all__ = ["SearchProcessor", "processor_class"]


class SearchProcessor(Protocol):
    """A processor of coffea that is made of a search, as `jettagger.processors.ResonanceSearchProcessor` is.

    Attributes
    ----------
    search : Search
        What it was made of; the prefix is that of its tagger.
    samples : dict of str to Sample
        Those of the search, which are normalised to what was read before the results are scaled.
    tagger : Tagger or None
    names : dict of str to str
        Output -> column of the jets, of what the tagger adds.
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
    """The class that runs a search where no other is given.

    It stands on this room, so that nothing but its name is known here.

    Returns
    -------
    type
        `jettagger.processors.ResonanceSearchProcessor`.
    """
    found: type[Any] = importlib.import_module("jettagger.processors").ResonanceSearchProcessor
    return found
