"""Retries after transient read errors; damaged and missing files are not retried."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import http.client
import logging
import re
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from typing import TypeVar

from jettagger.errors import ConfigError
from jettagger.files.addresses import masked

__all__ = ["RETRIES", "RetryWarning", "check_retries", "is_momentary", "retried", "retried_text", "warn_retried"]

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

#: default number of retries after a transient read error
RETRIES = 2

#: pause in seconds before the first retry; doubled for each further one
PAUSE = 0.5

#: definite answers of the system or of a server: no retry
_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)

#: errors that say only that data did not arrive
_MOMENTARY = (
    TimeoutError,
    asyncio.TimeoutError,
    concurrent.futures.TimeoutError,
    ConnectionError,
    http.client.HTTPException,
    socket.gaierror,
)

#: errors of network file systems and of busy machines; not defined on all systems
_NUMBERS = {
    getattr(errno, name)
    for name in (
        "EAGAIN", "EBUSY", "ECOMM", "EHOSTDOWN", "EHOSTUNREACH", "EIO", "ENETDOWN", "ENETRESET", "ENETUNREACH",
        "ENOBUFS", "ENOLINK", "ENOTCONN", "EPROTO", "EREMOTEIO", "ESTALE", "ETIMEDOUT",
    )
    if hasattr(errno, name)
}  # fmt: skip

#: packages that communicate with servers and have their own errors
_CLIENTS = {"aiohttp", "botocore", "requests", "urllib3"}

#: transient answers of a server: timeout, too early, too many requests
_LATER = (408, 425, 429)


#: fsspec returns errors in place of bytes, which uproot treats as bytes
_TAKEN_FOR_BYTES = re.compile(r"^'\w*(Error|Exception|Timeout|Disconnected)\w*' object is not ")


class RetryWarning(UserWarning):
    """Reads were repeated after transient errors."""


def is_momentary(error: BaseException, path: str) -> bool:
    """Whether an error of a read is transient: the connection, the server or a network disk has failed.

    Parameters
    ----------
    error : BaseException
        Judged by itself and its causes; the first conclusive one decides.
    path : str
        What was read: a plain OSError of a library means a broken connection for a URL, and damage for a file.

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
    """Whether an error is transient; None if this is not conclusive."""
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
    """Refuse a negative number of retries.

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
    """Read, repeatedly with pauses after transient errors.

    Parameters
    ----------
    read : callable
    path : str
        What is read, for `is_momentary`.
    retries : int
        Maximum number of retries.
    reset : callable, optional
        Called before each retry, to close open files.

    Returns
    -------
    object
        Result of ``read``.
    int
        Number of failed attempts.

    Raises
    ------
    Exception
        That of the last attempt, or the first one that is not transient.

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
            _log.info("%s: %s; retry %d of %d", masked(path), type(error).__name__, failed + 1, retries)
        if reset is not None:
            reset()
        time.sleep(PAUSE * 2**failed)
        failed += 1


def warn_retried(count: int, place: str) -> None:
    """Warn that reads were repeated.

    Parameters
    ----------
    count : int
        Number of retries; no warning for zero.
    place : str
        Place of the first of them.
    """
    if count:
        warnings.warn(retried_text(count, place), RetryWarning, stacklevel=3)


def retried_text(count: int, place: str) -> str:
    """The text of `warn_retried`.

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
    '2 reads failed temporarily and were tried again, first in root://host//a.root'
    """
    reads = "1 read failed temporarily and was" if count == 1 else f"{count} reads failed temporarily and were"
    return f"{reads} tried again, first in {place}"
