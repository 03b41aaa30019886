"""Display of a model: its inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from jettagger.bundles.card import KINDS, Mass
from jettagger.bundles.outputs import Output
from jettagger.display import Grid, ObjectSummary, some

if TYPE_CHECKING:
    from jettagger.bundles.bundle import Bundle

__all__ = ["bundle_summary", "input_grid", "output_grid"]

_KINDS = {
    "prob": "probability",
    "logit": "logit",
    "mass": "regressed mass",
    "regression": "regressed number",
    "hidden": "hidden neuron",
    "other": "other",
}


def input_grid(bundle: Bundle) -> Grid:
    """The input tensors, one per row.

    Parameters
    ----------
    bundle : Bundle

    Returns
    -------
    Grid
    """
    rows = []
    for group in bundle.groups:
        names = [variable.feature.name for variable in group.variables]
        equal = group.min_length == group.max_length
        length = f"{group.max_length}" if equal else f"{group.min_length} to {group.max_length}"
        length = "one per jet" if group.per_jet else length
        if group.image is not None:
            length = " x ".join(map(str, group.image.shape))
        rows.append((group.name, group.object, some(names, 3), str(len(names)), length))
    return Grid("Inputs", ("input", "object", "variables", "number", "length"), rows, numbers=2)


def output_grid(outputs: Iterable[Output]) -> Grid:
    """The outputs, one kind per row.

    Parameters
    ----------
    outputs : iterable of Output

    Returns
    -------
    Grid
    """
    names: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for output in outputs:
        names[output.kind].append(output.name)
    rows = [(_KINDS[kind], some(listed, 8), str(len(listed))) for kind, listed in names.items() if listed]
    return Grid("Outputs", ("kind", "names", "number"), rows, numbers=1)


def bundle_summary(bundle: Bundle) -> ObjectSummary:
    """The summary of a model for display.

    Parameters
    ----------
    bundle : Bundle

    Returns
    -------
    ObjectSummary
    """
    graph = bundle.graph
    facts = [
        ("title", bundle.card.title),
        ("folder", str(bundle.folder)),
        ("weights", "not in this folder" if graph is None else f"{graph.path.name}, {graph.path.parent}"),
        ("described by", bundle.described_by),
        ("input description", bundle.notes.get("input description", "preprocess.json")),
        ("prefix of columns", bundle.prefix),
        ("regressed mass", "" if bundle.card.mass is None else _mass(bundle.card.mass)),
        ("training domain", _domain(bundle)),
        ("scored jets", bundle.domain),
        ("approximate", ", ".join(bundle.approximate)),
        ("digest", bundle.digest),
    ]
    return ObjectSummary(f"Bundle {bundle.name}", facts, (input_grid(bundle), output_grid(bundle.outputs)))


def _mass(mass: Mass) -> str:
    unit = "in GeV" if mass.unit == "GeV" else f"a factor on {mass.scales or 'the mass of the jet'}"
    return f"{unit}; trained on {mass.target}" if mass.target else unit


def _domain(bundle: Bundle) -> str:
    if "training selection" in bundle.notes:
        return bundle.notes["training selection"]
    domain = bundle.card.domain
    ranges = (("pt", domain.pt, " GeV"), ("|eta|", domain.abseta, ""), ("msoftdrop", domain.msoftdrop, " GeV"))
    return ", ".join(f"{name} {span[0]:g} to {span[1]:g}{unit}" for name, span, unit in ranges if span is not None)
