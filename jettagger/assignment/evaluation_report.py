"""Files of an evaluation of networks: JSON with all numbers, LaTeX tables, and a picture."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.assignment.results import NetworkEvaluation
from jettagger.display import latex_text
from jettagger.files import complete_or_absent
from jettagger.provenance import KEY, Provenance

__all__ = ["evaluation_figure", "write_evaluation", "write_latex"]


def write_evaluation(
    path: str | os.PathLike[str], found: NetworkEvaluation, *, provenance: Provenance, force: bool = False
) -> None:
    """Write all numbers as JSON, complete or not at all.

    Parameters
    ----------
    path : path
    found : NetworkEvaluation
    provenance : Provenance
        The record in the file.
    force : bool
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        If it exists already, or cannot be written.
    """
    content = {**found.to_dict(), KEY: provenance.to_dict()}
    with complete_or_absent(path, force=force) as part:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        part.write_text(f"{text}\n", encoding="utf-8")


def write_latex(
    path: str | os.PathLike[str],
    found: NetworkEvaluation,
    *,
    provenance: Provenance,
    categories: Sequence[str] | None = None,
    force: bool = False,
) -> None:
    """Write the tables for LaTeX, complete or not at all; they need the package ``booktabs``.

    Parameters
    ----------
    path : path
    found : NetworkEvaluation
    provenance : Provenance
        The record, a comment in the first line.
    categories : sequence of str, optional
        As of `NetworkEvaluation.tables`.
    force : bool
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        If it exists already, or cannot be written.
    UnknownName
        If there are no events of a category.
    """
    record = json.dumps(provenance.to_dict())
    text = "\n".join([f"% {KEY}: {record}", *(latex_text(grid) for grid in found.tables(categories))])
    with complete_or_absent(path, force=force) as part:
        part.write_text(text, encoding="utf-8")


def evaluation_figure(found: NetworkEvaluation, methods: Sequence[str] | None = None) -> Any:
    """Purities by number of objects; needs the extra ``plot``.

    Parameters
    ----------
    found : NetworkEvaluation
    methods : sequence of str, optional
        Default: those that do not use detection probabilities.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for events, and one for each cluster of particles, of all events with any of the particles; see
        `jettagger.plots.purities_by_objects`.

    Raises
    ------
    InvalidValues
        If there are no events with particles.
    """
    from jettagger.plots import curve_styles, purities_by_objects

    category = found.summary_categories[0]
    chosen = [name for name in found.methods if not name.endswith(", detection")] if methods is None else methods
    rows = [row for row in found.purities if row.category == category and row.method in chosen]
    bins = list(dict.fromkeys(row.objects for row in rows))
    panels: dict[str, dict[str, tuple[Any, Any]]] = {}
    for row in rows:
        own = panels.setdefault(row.measure, {}).setdefault(
            row.method, (np.full(len(bins), np.nan), np.full(len(bins), np.nan))
        )
        place = bins.index(row.objects)
        own[0][place] = np.nan if row.purity.value is None else row.purity.value
        own[1][place] = np.nan if row.purity.uncertainty is None else row.purity.uncertainty
    return purities_by_objects(panels, bins, styles=curve_styles(found.methods))


guard(globals())
