"""Cutflows of a search as tables: text, Markdown and LaTeX."""

from __future__ import annotations

from jettagger.arguments import guard
from jettagger.display import Grid, latex_text, markdown_text
from jettagger.errors import UnknownName
from jettagger.search.run import SearchResult

__all__ = ["FORMS", "cutflow_grids", "cutflow_table"]

#: forms of a table
FORMS = ("text", "markdown", "latex")

#: entry of a row in which data are blind
BLIND = "blind"


def cutflow_grids(result: SearchResult) -> list[Grid]:
    """One table per region, one row per cut, with events and weighted events of each data set.

    Parameters
    ----------
    result : SearchResult

    Returns
    -------
    list of Grid
        In the order of the regions.
    """
    grids = []
    datasets = list(result.cutflow)
    header = ["cut", *(text for dataset in datasets for text in (dataset, "weighted"))]
    for name, region in result.config.search.regions.items():
        rows = []
        for cut in result.cutflow[datasets[0]][name]:
            row = [cut]
            for dataset in datasets:
                entry = result.cutflow[dataset][name][cut]
                seen = entry["events"] is not None
                row += [f"{entry['events']}", f"{entry['weighted']:.6g}"] if seen else [BLIND, BLIND]
            rows.append(row)
        grids.append(Grid(f"{name} ({region.kind} region)", header, rows, len(header) - 1))
    return grids


def cutflow_table(result: SearchResult, form: str = "text") -> str:
    """The cutflows: one table per region, one row per cut, with events and weighted events of each data set.

    Parameters
    ----------
    result : SearchResult
    form : {"text", "markdown", "latex"}
        Text with aligned columns, Markdown, or LaTeX for the package ``booktabs``.

    Returns
    -------
    str
        The last line says to which luminosity the events are weighted.

    Raises
    ------
    UnknownName
        If the form is none of these.
    """
    written = {"text": _plain, "markdown": markdown_text, "latex": latex_text}
    if form not in written:
        raise UnknownName("form of a table", form, FORMS)
    note = f"weighted: events at {result.config.search.luminosity:g} /fb"
    blocks = [written[form](grid).rstrip() for grid in cutflow_grids(result)]
    return "\n\n".join([*blocks, f"{'% ' if form == 'latex' else ''}{note}\n"])


def _plain(grid: Grid) -> str:
    rows = [grid.header, *grid.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(grid.header))]
    lines = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, grid.right, strict=True)
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([grid.title, *lines])


guard(globals(), "cutflow_table")
