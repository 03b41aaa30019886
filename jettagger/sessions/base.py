"""The interface of sessions, and the layout of their outputs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from jettagger.display import Brief
from jettagger.errors import ModelFileError
from jettagger.types import Array

__all__ = [
    "SHORT_OF_MEMORY",
    "ConcurrentSession",
    "CountedSession",
    "Session",
    "Traffic",
    "flat_columns",
    "run_error",
    "wants_memory",
]

#: message of the last failure for lack of memory, which is read by `jettagger.bundles.trials`
SHORT_OF_MEMORY: list[str] = []


class Session(Protocol):
    """Runs one network."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate the network.

        Parameters
        ----------
        inputs : mapping of str to float32[jets, ...]
            All inputs of the network by name.

        Returns
        -------
        dict of str to float32[jets, ...]
            All outputs in the network's order.

        Raises
        ------
        ModelFileError
            If the network cannot be run on these inputs.
        """


class Traffic(Brief):
    """Counts of requests to a server; several threads may add to them.

    Attributes
    ----------
    requests : int
        Number of batches sent.
    resent : int
        Number of repeated requests.
    runs_here : int
        Number of batches that were run locally instead.
    servers : dict of str to None
        Servers that answered, in the order of their first answer.

    Examples
    --------
    >>> traffic = Traffic()
    >>> traffic.add(requests=2, server="grpc://gpu7:8001/net")
    >>> traffic.requests, list(traffic.servers)
    (2, ['grpc://gpu7:8001/net'])
    """

    def __init__(self) -> None:
        self.requests = self.resent = self.runs_here = 0
        self.servers: dict[str, None] = {}
        self._lock = threading.Lock()

    def add(self, *, requests: int = 0, resent: int = 0, runs_here: int = 0, server: str = "") -> None:
        """Add to the counts, and record the server."""
        with self._lock:
            self.requests += requests
            self.resent += resent
            self.runs_here += runs_here
            if server:
                self.servers[server] = None


@runtime_checkable
class CountedSession(Session, Protocol):
    """A session whose network runs on a server, or locally instead."""

    def for_run(self, traffic: Traffic) -> Session:
        """The same session for one run of a tagger, with its own counts of requests."""


@runtime_checkable
class ConcurrentSession(Session, Protocol):
    """A session with asynchronous answers, which processes several batches at a time.

    Attributes
    ----------
    in_flight : int
        Maximum number of batches in flight.
    pool : Executor
        Threads that wait for answers.
    """

    in_flight: int
    pool: Executor

    def abandon(self) -> None:
        """Prevent further attempts for batches in flight, whose results are no longer needed."""


def wants_memory(error: Exception) -> bool:
    """Whether a backend failed for lack of memory; the message is also stored in `SHORT_OF_MEMORY`.

    Parameters
    ----------
    error : Exception
        The exception of the backend.

    Returns
    -------
    bool

    Examples
    --------
    >>> wants_memory(RuntimeError("no such operator"))
    False
    """
    said = str(error).lower()
    if not isinstance(error, MemoryError) and not any(word in said for word in ("bad_alloc", "bad alloc", "memory")):
        return False
    SHORT_OF_MEMORY[:] = [said]
    return True


def run_error(backend: str, path: Path, inputs: Mapping[str, Array], error: Exception) -> ModelFileError:
    """The error for a failed run of a network, with its inputs and possible remedies.

    Parameters
    ----------
    backend : str
        Name of the backend.
    path : pathlib.Path
        The ONNX file.
    inputs : mapping of str to float32[jets, ...]
    error : Exception
        The exception of the backend.

    Returns
    -------
    ModelFileError
    """
    said = " ".join(str(error).split())
    shapes = ", ".join(f"{name} {list(np.shape(array))}" for name, array in inputs.items())
    jets = max((len(array) for array in inputs.values() if np.ndim(array)), default=0)
    if wants_memory(error):
        advice = "out of memory: try a smaller batch_size, or fewer threads"
    else:
        advice = (
            "a network with a fixed number of jets needs batch_size=1, one with a fixed length needs it as "
            "min_length and max_length (or var_length) of its input description; 'jettagger models check' on its "
            "folder runs it with few and many jets and objects"
        )
    return ModelFileError(f"{backend} cannot run {path} on {jets} jets with the inputs {shapes}: {said}. {advice}")


def flat_columns(name: str, output: Any, n_rows: int) -> Array:
    """An output of a network as a matrix with one row per jet.

    Parameters
    ----------
    name : str
        Name of the output, for errors.
    output : array
        Array returned by a session.
    n_rows : int
        Number of jets in the run. An axis of size one before that of jets is dropped.

    Returns
    -------
    array[rows, columns]

    Raises
    ------
    ModelFileError
        If it does not contain numbers, has no axis of jets, or has several values along more than one further axis.

    Examples
    --------
    >>> flat_columns("x", np.zeros((4, 1, 3)), 4).shape, flat_columns("x", np.zeros((1, 4, 3)), 4).shape
    ((4, 3), (4, 3))
    """
    if not isinstance(output, np.ndarray) or output.dtype.kind not in "fiub":
        found = f"{output.dtype}" if isinstance(output, np.ndarray) else type(output).__name__
        raise ModelFileError(f"the network's output {name!r} is {found}, expected numbers")
    if output.ndim > 1 and output.shape[0] == 1 != n_rows == output.shape[1]:
        output = output[0]
    if output.ndim == 0:
        raise ModelFileError(f"the network's output {name!r} is a single number, expected one row per jet")
    if sum(size > 1 for size in output.shape[1:]) > 1:
        raise ModelFileError(
            f"the network's output {name!r} is {list(output.shape)} for {n_rows} jets, several numbers along more than "
            "one axis; expected [jets] or [jets, columns], further axes of size one"
        )
    return output.reshape(len(output), -1 if output.size else int(np.prod(output.shape[1:])))
