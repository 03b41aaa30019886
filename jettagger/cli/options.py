"""Types of options, and options that several commands have."""

from __future__ import annotations

import argparse
import math

from jettagger.errors import LONGEST_NAME, ConfigError, visible

__all__ = ["add_run_options", "counted", "finite", "range_of", "seed"]

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
