"""The output of a command: results on standard output, warnings and progress on standard error, or JSON."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from jettagger._version import __version__
from jettagger.errors import ConfigError, visible

__all__ = ["DOCUMENT", "INTERVAL", "VERSION", "Console"]

#: interval in seconds between lines of progress without a terminal
INTERVAL = 30.0

#: version of the document of ``--json``
VERSION = 1

#: keys of the document of ``--json`` -> what they hold; all of them are always there
DOCUMENT = {
    "version": "version of this layout, a whole number",
    "jettagger": "version of jettagger",
    "command": "the verb, with its sub-verb",
    "status": "exit status",
    "written": "files and folders that were written",
    "counts": "what was counted, by the words of the table that is printed without --json",
    "tables": "list of tables, each with title, columns and rows",
    "notes": "lines that are printed without --json",
    "warnings": "warnings, which are also on standard error",
    "result": "the answer of commands that print one (models show, schema, provenance, ...), otherwise null",
    "error": "null, or class, message, what, where, got, expected and nearest of an error; null where not known",
}


class Console:
    """The output of one command; each verb gets it as an argument, and has no other way to print.

    Parameters
    ----------
    command : str
        The verb, with its sub-verb.
    quiet : bool
        Whether only errors are printed.
    as_json : bool
        Whether all results are one JSON document on standard output.
    """

    def __init__(self, command: str = "", *, quiet: bool = False, as_json: bool = False) -> None:
        self.command, self.quiet, self.as_json = command, quiet, as_json
        self._written: list[str] = []
        self._counts: dict[str, object] = {}
        self._tables: list[dict[str, object]] = []
        self._notes: list[str] = []
        self._warnings: list[str] = []
        self._result: object = None

    @property
    def interval(self) -> float:
        """Interval in seconds between lines of progress without a terminal."""
        return INTERVAL

    def say(self, text: str) -> None:
        """Print lines on standard output; control characters in names are shown, not interpreted."""
        if self.as_json:
            self._notes += [line for line in text.splitlines() if line.strip()]
        else:
            print(visible(text, sys.maxsize))  # noqa: T201

    def tell(self, text: str) -> None:
        """Print a line about progress on standard error."""
        print(visible(text, sys.maxsize), file=sys.stderr, flush=True)  # noqa: T201

    def warn(self, text: str) -> None:
        """Print a warning on standard error."""
        if self.as_json:
            self._warnings.append(text)
        self.tell(f"jettagger: warning: {text}")

    def wrote(self, path: str | os.PathLike[str], line: str = "") -> None:
        """Record an output, and print a line about it.

        Parameters
        ----------
        path : str or path
            File or folder.
        line : str
            Nothing is printed without one.
        """
        self._written.append(os.fspath(path))
        if line:
            self.say(line)

    def answer(self, content: object, text: str) -> None:
        """Print what a command was asked for.

        Parameters
        ----------
        content : object
            As ``result`` of the document of ``--json``: mappings, sequences, texts and numbers.
        text : str
            Printed without ``--json``.
        """
        if self.as_json:
            self._result = content
        else:
            self.say(text)

    def agrees(self, question: str, option: str) -> bool:
        """Ask on a terminal, and take anything but yes for no.

        Parameters
        ----------
        question : str
        option : str
            The option that is the answer where nobody can be asked.

        Returns
        -------
        bool

        Raises
        ------
        ConfigError
            If there is no terminal, or ``--quiet`` or ``--json`` is given.
        """
        if self.quiet or self.as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise ConfigError(f"{question} There is nobody to ask: expected {option}")
        print(f"{visible(question, sys.maxsize)} [y/N] ", end="", file=sys.stderr, flush=True)  # noqa: T201
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a table on standard output.

        Parameters
        ----------
        title : str
        header : sequence of str
            Titles of the columns.
        rows : sequence of sequence
            Cells are texts, or numbers, which remain numbers in JSON.

        Examples
        --------
        >>> Console().table("jets", ("name", "n"), [("scored", 3)])
        jets
        name    n
        ------  -
        scored  3
        """
        if self.as_json:
            self._tables.append({"title": title.strip(), "columns": list(header), "rows": [list(row) for row in rows]})
        else:
            self._aligned(title, header, rows)

    def counts(self, title: str, rows: Sequence[tuple[str, object]]) -> None:
        """Print counts, each with the words for what was counted.

        Parameters
        ----------
        title : str
        rows : sequence of (str, object)

        Examples
        --------
        >>> Console().counts("nano.root", [("events", 3), ("jets", 10)])
        nano.root
        events  3
        jets    10
        """
        if self.as_json:
            self._counts.update(rows)
        else:
            self._aligned(title, ("", ""), rows)

    def _aligned(self, title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self.say(title)
        named = any(header)
        lines = [[visible(f"{cell}", sys.maxsize) for cell in line] for line in ([header, *rows] if named else rows)]
        widths = [max((len(line[column]) for line in lines), default=0) for column in range(len(header))]
        for number, line in enumerate(lines):
            self.say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
            if number == 0 and named:
                self.say("  ".join("-" * width for width in widths))

    @contextmanager
    def progress_bar(self, what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
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
                yield _Lines(self, what, total, unit)
                return
            with _bar(what, total, unit) as advance:
                yield advance

    @contextmanager
    def streams(self, *, whole: bool = False) -> Iterator[None]:
        """Keep what libraries print within a block off the output: with ``--json``, and with ``--quiet`` at all.

        Parameters
        ----------
        whole : bool
            Also what libraries outside of Python and worker processes print.
        """
        with ExitStack() as stack:
            if self.quiet:
                nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
                stack.enter_context(redirect_stderr(nowhere))
                stack.enter_context(redirect_stdout(nowhere))
            elif self.as_json:
                stack.enter_context(redirect_stdout(sys.stderr))
            if whole and (self.quiet or self.as_json):
                stack.enter_context(_descriptor_moved(quiet=self.quiet))
            yield

    def finish(self, status: int, error: Mapping[str, object] | None = None) -> None:
        """Print the document of ``--json``, and see that all output has left this process.

        Parameters
        ----------
        status : int
            The exit status.
        error : mapping, optional
            Of an error, see `DOCUMENT`.
        """
        if self.as_json:
            content = (
                VERSION, __version__, self.command, status, self._written, self._counts, self._tables, self._notes,
                self._warnings, self._result, error,
            )  # fmt: skip
            document = _plain(dict(zip(DOCUMENT, content, strict=True)))
            print(json.dumps(document, indent=2, allow_nan=False))  # noqa: T201
        sys.stdout.flush()


def _plain(value: Any) -> Any:
    """What JSON can hold: numbers that are not finite are null, and anything else is its text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # of NumPy
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


@contextmanager
def _descriptor_moved(*, quiet: bool) -> Iterator[None]:
    """Standard output of the process goes to standard error, or nowhere."""
    sys.stdout.flush()
    saved = os.dup(1)
    try:
        if quiet:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.close(nowhere)
        else:
            os.dup2(2, 1)
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


class _Lines:
    """Lines of progress, at most one per `INTERVAL`; none for short tasks."""

    def __init__(self, console: Console, what: str, total: int, unit: str) -> None:
        self.console, self.what, self.total, self.unit = console, what, total, unit
        self.done = 0
        self.start = self.last = time.monotonic()

    def __call__(self, done: int) -> None:
        self.done += done
        now = time.monotonic()
        if now - self.last < self.console.interval:
            return
        self.last = now
        share = f" ({100 * self.done / self.total:.0f} %)" if self.total else ""
        seconds = f"{now - self.start:.0f} s"
        self.console.tell(f"{self.what}: {self.done} of {self.total} {self.unit}{share} in {seconds}")


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
