"""Errors of commands: one line on standard error, an object in the document of ``--json``."""

from __future__ import annotations

import os
import traceback

from jettagger.errors import JettaggerError, UnknownName, parts_of, visible

__all__ = ["TRACEBACK", "error_line", "error_object", "show_traceback"]

#: environment variable that enables the traceback of unexpected errors
TRACEBACK = "JETTAGGER_TRACEBACK"


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
    parts = error.parts if isinstance(error, JettaggerError) else parts_of(message)
    what = message.removeprefix(f"{parts['where']}: ")
    if isinstance(error, UnknownName):
        what = f"unknown {error.kind}"
    elif isinstance(error, OSError) and error.filename is not None:
        what, parts = error.strerror or what, {**parts, "where": os.fsdecode(error.filename)}
    return {"class": type(error).__name__, "message": message, "what": what, **parts}
