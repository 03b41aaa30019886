"""The interface between a search and its processor."""

from __future__ import annotations

import importlib
from typing import Annotated, Any, Protocol

from jettagger.arguments import Kind
from jettagger.search.definition import Sample, Search

__all__ = ["EventsConfig", "EventsProcessor", "SearchProcessor", "processor_class"]

#: a configuration of events: that of a search, or another with its files and samples
EventsConfig = Annotated[
    Any,
    Kind(
        "the configuration of a search, or another with its files and samples",
        lambda value: all(hasattr(value, name) for name in ("document", "folder", "files", "samples", "tree")),
    ),
]

#: a processor of fat jets in events
EventsProcessor = Annotated[
    Any,
    Kind(
        "a processor of fat jets",
        lambda value: all(hasattr(value, name) for name in ("samples", "tagger", "names", "process", "collection")),
    ),
]


class SearchProcessor(Protocol):
    """A coffea processor made from a search, e.g. `jettagger.processors.ResonanceSearchProcessor`.

    Attributes
    ----------
    search : Search
        Its search; the prefix is that of its tagger.
    generator_weight, luminosity, collection
        As for `Search`.
    samples : dict of str to Sample
        Those of the search; they are normalised to what was read before the results are scaled.
    tagger : Tagger or None
    names : dict of str to str
        Output -> column of the jets, for the outputs of the tagger.
    """

    search: Search
    generator_weight: str | None
    luminosity: float
    collection: str
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
