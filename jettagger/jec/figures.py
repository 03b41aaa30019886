"""Pictures of the measures of estimates, and a folder with them and the table."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jettagger.arguments import guard
from jettagger.errors import UnknownName
from jettagger.files import folder_complete_or_absent
from jettagger.jec.performance import BinnedMeasure, Performance

__all__ = ["FORMATS", "TABLE", "performance_figures", "write_performance"]

#: the file of all numbers
TABLE = "performance.json"

#: formats of pictures
FORMATS = ("png", "pdf", "svg")


def performance_figures(found: Performance) -> Iterator[tuple[str, Any]]:
    """The pictures of the measures of estimates; needs the extra ``plot``.

    Parameters
    ----------
    found : Performance

    Yields
    ------
    str
        Name with its folder, without the format: ``summary/b_eta0-2.5``.
    matplotlib.figure.Figure
    """
    from jettagger.plots import curve_styles, flavour_responses, response_distributions, response_summary

    styles = curve_styles(found.labels)
    ranges = list(zip(found.eta_edges[:-1].tolist(), found.eta_edges[1:].tolist(), strict=True))
    for low, high in ranges:
        shown = [item for item in found.distributions if item.eta == (low, high)]
        if shown:
            figure = response_distributions(shown, title=_eta(low, high), styles=styles)
            yield f"distributions/eta{low:g}-{high:g}", figure
    for number, flavour in enumerate(found.flavours):
        for row, (low, high) in enumerate(ranges):
            place = (number, row)
            if not any(_any(found.median[label][place]) for label in found.labels):
                continue
            name = f"summary/{flavour}_eta{low:g}-{high:g}"
            title = f"{'all flavours' if flavour == 'all' else flavour}, {_eta(low, high)}"
            yield (
                name,
                response_summary(
                    found.pt_edges,
                    {label: found.median[label][place] for label in found.labels},
                    {label: found.resolution[label][place] for label in found.labels},
                    {label: measure[place] for label, measure in found.ratio.items()},
                    reference=found.reference,
                    title=title,
                    styles=styles,
                ),
            )
    order = [name for name in ("g", "uds", "c", "b") if name in found.flavours]
    rows = [found.flavours.index(name) for name in order]
    panels = {
        _eta(low, high): {label: found.flavour_median[label][rows, column] for label in found.labels}
        for column, (low, high) in enumerate(ranges)
    }
    panels = {name: measures for name, measures in panels.items() if any(map(_any, measures.values()))}
    if order and panels:
        title = rf"$p_T$ > {found.flavour_pt:g} GeV"
        yield "flavours/response", flavour_responses(panels, order, title=title, styles=styles)


def _any(measure: Any) -> bool:
    """Whether a number is there in any bin."""
    return isinstance(measure, BinnedMeasure) and bool((measure.value == measure.value).any())


def _eta(low: float, high: float) -> str:
    return rf"$|\eta|$ < {high:g}" if low == 0 else rf"{low:g} < $|\eta|$ < {high:g}"


def write_performance(
    found: Performance,
    folder: str | os.PathLike[str],
    *,
    provenance: dict[str, Any] | None = None,
    format: str = "png",
    plots: bool = True,
    force: bool = False,
) -> list[str]:
    """Write the table and the pictures: the folder is complete or not there.

    Parameters
    ----------
    found : Performance
    folder : path
    provenance : dict, optional
        Stored in the table.
    format : {"png", "pdf", "svg"}
        Of the pictures.
    plots : bool
        Whether there are any.
    force : bool
        Replace an existing folder with such a table.

    Returns
    -------
    list of str
        The files, relative to the folder.

    Raises
    ------
    UnknownName
        If there is no such format.
    OutputError
        If the folder exists already or cannot be written.
    """
    from jettagger.provenance import KEY

    if format not in FORMATS:
        raise UnknownName("format of pictures", format, FORMATS)
    content = {**({KEY: provenance} if provenance else {}), **found.content()}
    written = [TABLE]
    with folder_complete_or_absent(folder, marker=TABLE, force=force) as part:
        text = json.dumps(content, indent=1, allow_nan=False)
        (Path(part) / TABLE).write_text(f"{text}\n", encoding="utf-8")
        if plots:
            from jettagger.plots import save_figure

            for name, figure in performance_figures(found):
                path = Path(part) / f"{name}.{format}"
                path.parent.mkdir(exist_ok=True)
                save_figure(figure, path)
                written.append(f"{name}.{format}")
    return written


guard(globals())
