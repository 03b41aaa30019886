"""Reads that fail for a moment are tried again; what is damaged or not there stays so and is not."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import http.client
import re
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from typing import TypeVar

from jettagger.errors import ConfigError

__all__ = ["RETRIES", "RetryWarning", "check_retries", "is_momentary", "retried", "retried_text", "warn_retried"]

Result = TypeVar("Result")

#: how often a read that failed is tried again before it counts as broken
RETRIES = 2

#: seconds before the first further attempt; each later one waits twice as long
PAUSE = 0.5

#: what an answer of the system or of a server means: no further attempt
_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)

#: what says nothing of the file but that it did not come
_MOMENTARY = (
    TimeoutError,
    asyncio.TimeoutError,
    concurrent.futures.TimeoutError,
    ConnectionError,
    http.client.HTTPException,
    socket.gaierror,
)

#: errors of network file systems and of busy machines; not all systems know all of them
_NUMBERS = {
    getattr(errno, name)
    for name in (
        "EAGAIN", "EBUSY", "ECOMM", "EHOSTDOWN", "EHOSTUNREACH", "EIO", "ENETDOWN", "ENETRESET", "ENETUNREACH",
        "ENOBUFS", "ENOLINK", "ENOTCONN", "EPROTO", "EREMOTEIO", "ESTALE", "ETIMEDOUT",
    )
    if hasattr(errno, name)
}  # fmt: skip

#: packages that speak with servers and have errors of their own
_CLIENTS = {"aiohttp", "botocore", "requests", "urllib3"}

#: answers of a server to a request that may be granted later: timeout, too early, too many requests
_LATER = (408, 425, 429)


#: fsspec returns errors in the place of bytes, and uproot treats them as bytes
_TAKEN_FOR_BYTES = re.compile(r"^'\w*(Error|Exception|Timeout|Disconnected)\w*' object is not ")


class RetryWarning(UserWarning):
    """Reads failed for a moment and were tried again."""


def is_momentary(error: BaseException, path: str) -> bool:
    """Whether a read that failed may work in a moment: the connection, the server or a network disk has failed.

    Parameters
    ----------
    error : BaseException
        Judged by itself and by what caused it; the first that tells decides.
    path : str
        What was read: a library's plain OSError is a break of the connection where that is a URL, damage where it is
        a file.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_momentary(ConnectionResetError(), "a.root"), is_momentary(FileNotFoundError(), "root://host//a.root")
    (True, False)
    >>> is_momentary(OSError("expected Chunk of length 8"), "a.root")
    False
    """
    for cause in _causes(error):
        verdict = _verdict(cause, "://" in path)
        if verdict is not None:
            return verdict
    return False


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        yield cause
        cause = cause.__cause__ or cause.__context__


def _verdict(error: BaseException, remote: bool) -> bool | None:
    """Whether an error is momentary; None where it does not tell."""
    # of aiohttp, of urllib; properties of the one that the other has are deprecated
    status = error.status if hasattr(error, "status") else getattr(error, "code", None)
    if isinstance(status, int) and 400 <= status < 500 and status not in _LATER:
        return False
    if isinstance(error, _LASTING):
        return False
    if isinstance(error, _MOMENTARY) or type(error).__module__.partition(".")[0] in _CLIENTS:
        return True
    if isinstance(error, OSError):
        return error.errno in _NUMBERS or (remote and error.errno is None)
    if isinstance(error, TypeError) and remote and _TAKEN_FOR_BYTES.search(str(error)):
        return True
    return None


def check_retries(retries: int) -> None:
    """Refuse a number of further attempts that is below zero.

    Parameters
    ----------
    retries : int

    Raises
    ------
    ConfigError
    """
    if retries < 0:
        raise ConfigError(f"retries must not be below zero, got {retries}")


def retried(
    read: Callable[[], Result], path: str, retries: int = RETRIES, reset: Callable[[], None] | None = None
) -> tuple[Result, int]:
    """Read, and again after a pause where that fails for a moment.

    Parameters
    ----------
    read : callable
    path : str
        What is read, for `is_momentary`.
    retries : int
        How often it is called again at most.
    reset : callable, optional
        Called before each further attempt, to close what is open.

    Returns
    -------
    object
        What ``read`` returned.
    int
        How often it failed before.

    Raises
    ------
    Exception
        That of the last attempt, or the first that is not momentary.

    Examples
    --------
    >>> retried(lambda: 3, "root://host//a.root")
    (3, 0)
    """
    failed = 0
    while True:
        try:
            return read(), failed
        except Exception as error:
            if failed >= retries or not is_momentary(error, path):
                raise
        if reset is not None:
            reset()
        time.sleep(PAUSE * 2**failed)
        failed += 1


def warn_retried(count: int, place: str) -> None:
    """Say that reads were tried again.

    Parameters
    ----------
    count : int
        How often; nothing is said of none.
    place : str
        Where the first of them was.
    """
    if count:
        warnings.warn(retried_text(count, place), RetryWarning, stacklevel=3)


def retried_text(count: int, place: str) -> str:
    """What `warn_retried` says.

    Parameters
    ----------
    count : int
    place : str

    Returns
    -------
    str

    Examples
    --------
    >>> retried_text(2, "root://host//a.root")
    '2 reads failed for a moment and were tried again, first in root://host//a.root'
    """
    reads = "1 read failed for a moment and was" if count == 1 else f"{count} reads failed for a moment and were"
    return f"{reads} tried again, first in {place}"
