"""Errors of commands: one line on standard error, an object in the document of ``--json``."""

from __future__ import annotations

import os
import re
import traceback

from jettagger.errors import JettaggerError, UnknownName, visible

__all__ = ["TRACEBACK", "error_line", "error_object", "show_traceback"]

#: environment variable that enables the traceback of unexpected errors
TRACEBACK = "JETTAGGER_TRACEBACK"

#: place in front of a message: a line of a file, a command, an option, a file
_WHERE = re.compile(
    r"(?P<where>.+?, line \d+|jettagger(?: [\w-]+)+|--[\w-]+|\S+\.(?:root|parquet|h5|json|yaml|yml|onnx|npz|txt)\S*?): "
)
_GOT = re.compile(r"\b(?:got|unknown [a-z ]+) (?P<got>.+?)(?=, expected |; |, which | \(|$)", re.MULTILINE)
_EXPECTED = re.compile(r"\b(?:expected|must be) (?P<expected>.+?)(?=, got |; |$)", re.MULTILINE)
_ALLOWED = re.compile(r"\bAllowed: (?P<allowed>.+)$", re.MULTILINE)
_NEAREST = re.compile(r"\(nearest: (?P<nearest>[^)]+)\)")


def error_line(error: BaseException) -> str:
    """What an error says, in one line.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    str

    Examples
    --------
    >>> error_line(FileNotFoundError(2, "No such file or directory", "nano.root"))
    'nano.root: No such file or directory'
    """
    if isinstance(error, JettaggerError):
        return str(error)
    if isinstance(error, OSError):  # a name that is too long, a full disk
        place = f"{error.filename}: " if error.filename is not None else ""
        text = f"{place}{error.strerror or error}"
    elif isinstance(error, MemoryError):
        text = f"out of memory: {error}"
    else:
        text = (
            f"unexpected {type(error).__name__}: {error}. Either a file is not understood, or this is a bug in "
            f"jettagger; {TRACEBACK}=1 shows where"
        )
    return visible(" ".join(text.split()))


def show_traceback(error: BaseException) -> None:
    """Show where an unexpected error was raised, if `TRACEBACK` is set."""
    if os.environ.get(TRACEBACK) and not isinstance(error, JettaggerError):
        traceback.print_exception(error)


def error_object(error: BaseException, message: str | None = None) -> dict[str, object]:
    """An error for programs; what its message does not tell is None.

    Parameters
    ----------
    error : BaseException
    message : str, optional
        Default: `error_line`.

    Returns
    -------
    dict
        With class, message, what, where, got, expected and nearest, a list.

    Examples
    --------
    >>> error_object(UnknownName("model", "tinyPart", ["tinyParT"], "the search path"))["nearest"]
    ['tinyParT']
    """
    message = error_line(error) if message is None else message
    place = _WHERE.match(message)
    patterns = (_GOT, _EXPECTED, _ALLOWED, _NEAREST)
    got, expected, allowed, close = (pattern.search(message) for pattern in patterns)
    valid = f"one of {allowed['allowed']}" if allowed else None
    described: dict[str, object] = {
        "class": type(error).__name__,
        "message": message,
        "what": message[place.end() :] if place else message,
        "where": place["where"] if place else None,
        "got": got["got"] if got else None,
        "expected": expected["expected"] if expected else valid,
        "nearest": close["nearest"].split(", ") if close else [],
    }
    if isinstance(error, UnknownName):
        named = {"what": f"unknown {error.kind}", "where": error.where or None, "got": error.got}
        described |= {**named, "expected": error.expected, "nearest": error.nearest}
    elif isinstance(error, JettaggerError):
        told = {key: getattr(error, key) for key in ("where", "got", "expected", "nearest")}
        described |= {key: value for key, value in told.items() if value}
    elif isinstance(error, OSError) and error.filename is not None:
        described |= {"what": error.strerror, "where": os.fsdecode(error.filename)}
    return described
