"""A growing table of losses on standard error while a network is trained."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jettagger.errors import visible
from jettagger.training.history import Epoch, Follow

__all__ = ["INTERVAL", "live_table"]

#: interval in seconds between lines without a terminal
INTERVAL = 30.0

#: rows of the table on a terminal
_ROWS = 12


@contextmanager
def live_table(title: str = "losses", interval: float = INTERVAL) -> Iterator[Follow]:
    """A table of epochs: in place on a terminal, otherwise a line at intervals.

    Parameters
    ----------
    title : str
        Above the table on a terminal.
    interval : float
        Minimum number of seconds between lines without a terminal.

    Yields
    ------
    callable
        For ``follow`` of `jettagger.training.train_network`, or to be called with each `Epoch` of another loop. Columns
        for a metric and for opponents are there if the epochs have them.

    Examples
    --------
    ::

        with live_table() as follow:
            train_network(network, loss, train, validation, settings, follow=follow)
    """
    if not sys.stderr.isatty():
        yield _lines(interval)
        return
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    epochs: list[Epoch] = []
    live: Any = None

    def grow(epoch: Epoch) -> None:
        nonlocal live
        epochs.append(epoch)
        shown = Table(title=title)
        for name in _titles(epoch):
            shown.add_column(name, justify="right")
        for row in epochs[-_ROWS:]:
            shown.add_row(*_cells(row))
        if live is None:
            live = Live(shown, console=Console(stderr=True), transient=False)
            live.start()
        live.update(shown)

    try:
        yield grow
    finally:
        if live is not None:
            live.stop()


def _titles(epoch: Epoch) -> list[str]:
    opponents = [f"opponent {place + 1}" for place in range(len(epoch.opponents))]
    metric = [] if epoch.metric is None else ["metric"]
    return ["network", "epoch", "training", "validation", *metric, *opponents, ""]


def _cells(epoch: Epoch) -> list[str]:
    metric = [] if epoch.metric is None else [epoch.metric]
    numbers = [epoch.train, epoch.validation, *metric, *epoch.opponents]
    return [f"{epoch.model}", f"{epoch.number}", *(f"{value:.5f}" for value in numbers), "best" if epoch.best else ""]


def _lines(interval: float) -> Follow:
    """Prints the first epoch, and then at most one in an interval."""
    first, last = True, time.monotonic()

    def line(epoch: Epoch) -> None:
        nonlocal first, last
        if not first and time.monotonic() - last < interval:
            return
        titles, cells = _titles(epoch), _cells(epoch)
        widths = [max(len(title), 10 if place > 1 else 0) for place, title in enumerate(titles)]
        if first:
            _print("  ".join(title.ljust(width) for title, width in zip(titles, widths, strict=True)))
        first, last = False, time.monotonic()
        pairs = list(zip(cells, widths, strict=True))
        _print("  ".join([*(c.rjust(w) for c, w in pairs[:2]), *(c.ljust(w) for c, w in pairs[2:-1]), cells[-1]]))

    return line


def _print(text: str) -> None:
    print(visible(text.rstrip(), sys.maxsize), file=sys.stderr, flush=True)  # noqa: T201
