"""Display of a head: inputs, outputs and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jettagger.arguments import is_number
from jettagger.display import Grid, ObjectSummary, some

if TYPE_CHECKING:
    from jettagger.heads.head import Head

__all__ = ["head_summary"]


def head_summary(head: Head) -> ObjectSummary:
    """Inputs and outputs of a head, its parent and its metrics.

    Parameters
    ----------
    head : Head

    Returns
    -------
    ObjectSummary
    """
    card = head.card
    facts = [
        ("title", card.title),
        ("gives", "probabilities of classes" if card.kind == "classes" else "a mass in GeV"),
        ("made of", "boosted decision trees" if card.model == "bdt" else "a small network"),
        ("folds", str(card.folds)),
        ("parent", f"{card.parent.name}, digest {card.parent.digest}"),
        ("folder", str(head.folder)),
        (
            "measured",
            some([f"{key}: {value:.4g}" for key, value in card.metrics.items() if is_number(value)]),
        ),
        ("written by", f"jettagger {card.jettagger}" if card.jettagger else ""),
        ("digest", head.digest),
    ]
    sources = {"tagger": "the tagger", "event": "jets and events"}
    names = {text: [item.name for item in card.inputs if item.source == key] for key, text in sources.items()}
    inputs = [(text, some(listed), str(len(listed))) for text, listed in names.items() if listed]
    outputs = list(zip(card.outputs, head.columns, strict=True))
    grids = [
        Grid("Inputs", ("of", "names", "number"), inputs, 1),
        Grid("Outputs", ("output", "column of the jets"), outputs),
    ]
    return ObjectSummary(f"Head {head.name}", facts, grids)
