"""Display of a tagger: model, options, inputs and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jettagger.bundles.summary import input_grid, output_grid
from jettagger.display import ObjectSummary

if TYPE_CHECKING:
    from jettagger.tagging.tagger import Tagger

__all__ = ["tagger_summary"]


def tagger_summary(tagger: Tagger) -> ObjectSummary:
    """The summary of a tagger for display; no session is opened.

    Parameters
    ----------
    tagger : Tagger

    Returns
    -------
    ObjectSummary
    """
    bundle, cache = tagger.bundle, tagger.cache
    state = {
        name: value for name, value in tagger.state.items() if name not in ("model", "heads") and value is not None
    }
    facts = [
        ("title", bundle.card.title),
        ("folder", str(bundle.folder)),
        ("prefix of columns", bundle.prefix),
        ("heads", ", ".join(head.name for head in tagger.heads)),
        ("options", ", ".join(f"{name}={state[name]!r}" for name in sorted(state))),
        ("score cache", "" if cache is None else f"{cache.folder}, up to {cache.limit / 1e9:.3g} GB"),
        ("digest", bundle.digest),
    ]
    return ObjectSummary(f"Tagger {bundle.name}", facts, (input_grid(bundle), output_grid(tagger.outputs)))
