"""Display of objects: a summary as HTML in notebooks and through rich in terminals.

A class derives from `Displayed` and defines ``summary``. Nothing is read or opened for it. Names chosen by users are
escaped, long texts are shortened in the middle, and long tables end with the number of omitted rows.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jettagger.errors import visible

__all__ = [
    "LONGEST_CELL",
    "MAX_ROWS",
    "Displayed",
    "Grid",
    "ObjectSummary",
    "aligned",
    "latex_text",
    "markdown_text",
    "shortened",
    "some",
]

#: maximum number of displayed rows
MAX_ROWS = 40

#: maximum number of characters in a cell
LONGEST_CELL = 400

#: characters with a meaning in LaTeX
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "±": r"$\pm$",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    "*": r"$*$",
}

_RIGHT = ' style="text-align:right"'


def some(names: Sequence[str], number: int = 6) -> str:
    """The first few of a list of names, and their number.

    Parameters
    ----------
    names : sequence of str
    number : int
        Maximum number of names.

    Returns
    -------
    str

    Examples
    --------
    >>> some(["a", "b"]), some(["a", "b", "c", "d"], 2)
    ('a, b', 'a, b, ... (4)')
    """
    return ", ".join(names[:number]) + (f", ... ({len(names)})" if len(names) > number else "")


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text with aligned columns, for terminals.

    Parameters
    ----------
    rows : sequence of sequence of str
        All of one length; the first may be the header.

    Returns
    -------
    list of str
        One line per row.

    Examples
    --------
    >>> aligned([("name", "jets"), ("tt", "12")])
    ['name  jets', 'tt    12']
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def shortened(text: str, longest: int = LONGEST_CELL) -> str:
    """A printable text: without control characters, and shortened if it is long.

    Parameters
    ----------
    text : str
    longest : int
        Maximum number of characters; longer texts are shortened in the middle.

    Returns
    -------
    str
    """
    return visible(str(text), longest)


@dataclass(frozen=True)
class Grid:
    """A table of a summary.

    Parameters
    ----------
    title : str
    header : sequence of str
    rows : sequence of sequence of str
        With as many cells as the header.
    numbers : int
        Number of columns at the end with numbers, which are right-aligned.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: int = 0

    def shown(self) -> list[list[str]]:
        """The displayed rows as printable texts; at most `MAX_ROWS`."""
        return [[shortened(cell) for cell in row] for row in self.rows[:MAX_ROWS]]

    @property
    def left_out(self) -> str:
        """Number of omitted rows, in words; empty if there are none."""
        number = len(self.rows) - MAX_ROWS
        return f"... and {number} more" if number > 0 else ""

    @property
    def right(self) -> list[bool]:
        """Columns that are right-aligned."""
        return [column >= len(self.header) - self.numbers for column in range(len(self.header))]


def latex_text(grid: Grid) -> str:
    """A table for LaTeX with the rules of ``booktabs``.

    Parameters
    ----------
    grid : Grid
        Where the first column changes, there is a rule, unless it does in each row.

    Returns
    -------
    str

    Examples
    --------
    >>> print(latex_text(Grid("purities", ["category", "event"], [["*t", "0.5 ± 0.1"]], 1)))
    % purities
    \\begin{tabular}{lr}
    \\toprule
    category & event \\\\
    \\midrule
    $*$t & 0.5 $\\pm$ 0.1 \\\\
    \\bottomrule
    \\end{tabular}
    <BLANKLINE>
    """
    columns = len(grid.header)
    lines = [
        f"% {' '.join(grid.title.split())}",
        rf"\begin{{tabular}}{{{'l' * (columns - grid.numbers)}{'r' * grid.numbers}}}",
    ]
    lines += [r"\toprule", _latex_row(grid.header)]
    last = None
    groups = len({row[0] for row in grid.rows}) < len(grid.rows)
    for row in grid.rows:
        if last is None or (groups and row[0] != last):
            lines.append(r"\midrule")
        last = row[0]
        lines.append(_latex_row(row))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex_row(cells: Sequence[str]) -> str:
    escaped = ["".join(_LATEX.get(character, character) for character in cell) for cell in cells]
    return f"{' & '.join(escaped)} \\\\"


def markdown_text(grid: Grid) -> str:
    """A table in Markdown, with its title above.

    Parameters
    ----------
    grid : Grid

    Returns
    -------
    str

    Examples
    --------
    >>> print(markdown_text(Grid("SR", ["cut", "tt"], [["a|b", "12"]], 1)))
    SR
    <BLANKLINE>
    | cut | tt |
    |---|--:|
    | a\\|b | 12 |
    <BLANKLINE>
    """
    rows = [
        "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in row) + " |"
        for row in (grid.header, *grid.rows)
    ]
    rows.insert(1, "|" + "|".join("--:" if right else "---" for right in grid.right) + "|")
    return "\n".join([grid.title, "", *rows, ""])


@dataclass(frozen=True)
class ObjectSummary:
    """The summary of an object.

    Parameters
    ----------
    title : str
    facts : iterable of (str, str)
        Names and values; those with an empty value are omitted.
    grids : iterable of Grid
        Tables; those without rows are omitted.
    """

    title: str
    facts: Iterable[tuple[str, str]] = ()
    grids: Iterable[Grid] = ()

    def __post_init__(self) -> None:
        facts = tuple((name, shortened(text)) for name, text in self.facts if text)
        object.__setattr__(self, "facts", facts)
        object.__setattr__(self, "grids", tuple(grid for grid in self.grids if grid.rows))

    def to_html(self) -> str:
        """Well-formed HTML for notebooks.

        Returns
        -------
        str
        """
        return "".join(self._html())

    def _html(self) -> Iterator[str]:
        yield f'<div class="jettagger"><p><strong>{_escaped(self.title)}</strong></p>'
        if self.facts:
            yield "<table><tbody>"
            for name, text in self.facts:
                yield f'<tr><th scope="row">{_escaped(name)}</th>'
                yield f'<td style="text-align:left">{_escaped(text)}</td></tr>'
            yield "</tbody></table>"
        for grid in self.grids:
            styles = [_RIGHT if right else ' style="text-align:left"' for right in grid.right]
            yield f"<table><caption>{_escaped(grid.title)}</caption><thead><tr>"
            yield from (f"<th{style}>{_escaped(cell)}</th>" for cell, style in zip(grid.header, styles, strict=True))
            yield "</tr></thead><tbody>"
            for row in grid.shown():
                cells = (f"<td{style}>{_escaped(cell)}</td>" for cell, style in zip(row, styles, strict=True))
                yield f"<tr>{''.join(cells)}</tr>"
            if grid.left_out:
                yield f'<tr><td colspan="{len(grid.header)}">{grid.left_out}</td></tr>'
            yield "</tbody></table>"
        yield "</div>"

    def to_rich(self) -> Any:
        """The same for rich.

        Returns
        -------
        rich.console.Group
        """
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        def plain(content: str, style: str = "") -> Text:  # names may hold what rich takes for markup
            return Text(shortened(content), style=style)

        parts: list[Any] = [plain(self.title, "bold")]
        if self.facts:
            facts = Table.grid(padding=(0, 2))
            facts.add_column()
            facts.add_column(overflow="fold")
            for name, content in self.facts:
                facts.add_row(plain(name, "dim"), plain(content))
            parts.append(facts)
        for grid in self.grids:
            table = Table(title=plain(grid.title), title_justify="left", caption=grid.left_out or None)
            for content, right in zip(grid.header, grid.right, strict=True):
                table.add_column(plain(content), justify="right" if right else "left", overflow="fold")
            for row in grid.shown():
                table.add_row(*map(plain, row))
            parts.append(table)
        return Group(*parts)


class Displayed:
    """Base of objects with a summary in notebooks and in output of rich."""

    __slots__ = ()

    def summary(self) -> ObjectSummary:
        """The summary of the object, for notebooks and rich.

        Returns
        -------
        ObjectSummary
        """
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return self.summary().to_html()

    def __rich__(self) -> Any:
        return self.summary().to_rich()


def _escaped(text: str) -> str:
    return html.escape(shortened(text))
