"""Output of the commands: results on standard output, warnings and progress on standard error."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout

from jettagger.errors import LONGEST_NAME, ConfigError, visible

__all__ = [
    "INTERVAL",
    "add_run_options",
    "counted",
    "finite",
    "progress_bar",
    "range_of",
    "say",
    "seed",
    "table",
    "tell",
    "warn",
]

#: interval in seconds between lines of progress without a terminal
INTERVAL = 30.0


#: limit on the absolute value of integer options: numbers of threads, processes and events, seeds
_WHOLE = 2**31


def counted(text: str) -> int:
    """An integer option within the range of signed machine integers; each verb has its own limits.

    Parameters
    ----------
    text : str

    Returns
    -------
    int

    Raises
    ------
    argparse.ArgumentTypeError
    """
    return _whole(text, -_WHOLE + 1)


def seed(text: str) -> int:
    """A non-negative integer option; otherwise like `counted`."""
    return _whole(text, 0)


def _whole(text: str, lowest: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = _WHOLE
    if not lowest <= number < _WHOLE:
        low = f"from {lowest} " if lowest == 0 else ""
        raise argparse.ArgumentTypeError(
            f"expected a whole number {low}to {_WHOLE - 1}, got {visible(text, LONGEST_NAME)!r}"
        )
    return number


def finite(text: str) -> float:
    """A finite number of an option, not NaN.

    Parameters
    ----------
    text : str

    Returns
    -------
    float

    Raises
    ------
    argparse.ArgumentTypeError
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"expected a number, got {visible(text, LONGEST_NAME)!r}")
    return number


def range_of(option: str, text: str) -> tuple[int, int | None]:
    """The range of an option, as of a list.

    Parameters
    ----------
    option : str
    text : str

    Returns
    -------
    int, int or None

    Raises
    ------
    ConfigError
        If it is no range.

    Examples
    --------
    >>> range_of("--files", "8:"), range_of("--files", ":-1")
    ((8, None), (0, -1))
    """
    first, colon, last = text.partition(":")
    try:
        if colon:
            return int(first or 0), int(last) if last else None
    except ValueError:
        pass
    raise ConfigError(f"{option}: got {visible(text, LONGEST_NAME)!r}, expected a range such as 0:8, 8: or :-1")


def say(text: str) -> None:
    """Print a text on standard output; control characters in names are shown, not interpreted."""
    print(visible(text, sys.maxsize))  # noqa: T201


def tell(text: str) -> None:
    """Print a line about progress on standard error."""
    print(visible(text, sys.maxsize), file=sys.stderr, flush=True)  # noqa: T201


def warn(text: str) -> None:
    """Print a warning on standard error."""
    tell(f"jettagger: warning: {text}")


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on standard output.

    Parameters
    ----------
    title : str
    header : sequence of str
        Titles of the columns; if all are empty, there is no header line.
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
    lines = [[visible(cell, sys.maxsize) for cell in line] for line in ([header, *rows] if any(header) else rows)]
    widths = [max((len(line[column]) for line in lines), default=0) for column in range(len(header))]
    for number, line in enumerate(lines):
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        if number == 0 and any(header):
            say("  ".join("-" * width for width in widths))


@contextmanager
def progress_bar(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Progress on standard error: a bar on a terminal, otherwise a line at intervals.

    Output of libraries on standard output is redirected to standard error in the meantime.

    Parameters
    ----------
    what : str
        Description of the task.
    total : int
    unit : str
        Unit of the count.

    Yields
    ------
    callable
        Function to be called with the number of units done since its last call.
    """
    with redirect_stdout(sys.stderr):
        if not sys.stderr.isatty():
            yield _Lines(what, total, unit)
            return
        with _bar(what, total, unit) as advance:
            yield advance


class _Lines:
    """Lines of progress, at most one per `INTERVAL`; none for short tasks."""

    def __init__(self, what: str, total: int, unit: str) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = 0
        self.start = self.last = time.monotonic()

    def __call__(self, done: int) -> None:
        self.done += done
        now = time.monotonic()
        if now - self.last < INTERVAL:
            return
        self.last = now
        share = f" ({100 * self.done / self.total:.0f} %)" if self.total else ""
        tell(f"{self.what}: {self.done} of {self.total} {self.unit}{share} in {now - self.start:.0f} s")


@contextmanager
def _bar(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
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


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that run a processor on files of events."""
    add = parser.add_argument
    add(
        "--executor",
        default="iterative",
        metavar="E",
        help="iterative, futures or dask; for a search also condor or slurm (default: %(default)s)",
    )
    add(
        "--workers",
        type=counted,
        default=1,
        metavar="N",
        help="processes of futures and dask (default: %(default)s)",
    )
    add("--scheduler", metavar="ADDRESS", help="of a dask cluster; without it dask makes one on this machine")
    add("--skip-broken", action="store_true", help="go on without files that cannot be read, and name them")
    add(
        "--retries",
        type=counted,
        default=2,
        metavar="N",
        help="how often a read that fails temporarily is repeated; damaged files are not read again "
        "(default: %(default)s)",
    )
