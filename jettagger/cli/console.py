"""What the commands print: lines, tables that can be pasted, a progress bar on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

__all__ = ["progress_bar", "say", "table"]


def say(text: str) -> None:
    """Print a line on standard output, as it is."""
    print(text)  # noqa: T201


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on standard output.

    Parameters
    ----------
    title : str
    header : sequence of str
        Titles of the columns; all empty: no header line.
    rows : sequence of sequence of str

    Examples
    --------
    >>> table("jets", ("name", "n"), [("scored", "3")])
    jets
    name    n
    ------  -
    scored  3
    """
    say(title)
    lines = [header, *rows] if any(header) else list(rows)
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for number, line in enumerate(lines):
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        if number == 0 and any(header):
            say("  ".join("-" * width for width in widths))


@contextmanager
def progress_bar(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, if that is a terminal.

    Parameters
    ----------
    what : str
        What is going on.
    total : int
    unit : str
        What is counted.

    Yields
    ------
    callable
        To be called with the number of units done since the last call.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.advance(task, done)
