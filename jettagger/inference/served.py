"""A network on a server, once it is proven to be the one of the bundle; batches that are on their way together."""

from __future__ import annotations

import os
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from jettagger.bundles.bundle import Bundle
from jettagger.errors import MissingModelFile, RemoteError
from jettagger.inference.network import deviation, evaluate
from jettagger.inputs.batching import Batch
from jettagger.runtime.processcache import ProcessCache
from jettagger.sessions import Session, open_onnx
from jettagger.sessions.remote import Remote
from jettagger.types import Array

__all__ = ["SERVED_TOLERANCE", "evaluated", "open_served"]

#: how far a server may be off, in units of what a rewritten graph may: its processor and its library are others
SERVED_TOLERANCE = 10

# sessions do not survive a fork, so the process is part of the key
_SESSIONS: ProcessCache[tuple[int, str, Remote], Session] = ProcessCache()


class _WithLocal:
    """Asks the server, and the file of the bundle from the first failure on."""

    provider = "remote, or this machine"

    def __init__(self, bundle: Bundle, served: Session, threads: int | None) -> None:
        self._bundle, self._served, self._threads = bundle, served, threads
        self._failed = False
        self.in_flight = getattr(served, "in_flight", 1)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate the network; see `Session.run`."""
        if not self._failed:
            try:
                return self._served.run(inputs)
            except RemoteError as error:
                self._failed = True
                _warn_local(self._bundle, error)
        return _local(self._bundle, self._threads).run(inputs)


def open_served(
    bundle: Bundle, remote: Remote, inputs: Iterable[dict[str, Array]], threads: int | None = None
) -> Session:
    """The session of a model on a server; it is compared with the file of the bundle when first asked for.

    Parameters
    ----------
    bundle : Bundle
        With weights: a server is believed only after it gave the same numbers.
    remote : Remote
    inputs : iterable of dict of str to float32[jets, variables, length]
        Jets with which it is compared.
    threads : int, optional
        Of runs on this machine.

    Returns
    -------
    Session

    Raises
    ------
    MissingModelFile
        If the bundle has no weights.
    RemoteError
        If the server cannot be reached, refuses, or gives other numbers; where `Remote.local` allows the file of the
        bundle, only if it gives other numbers.
    MissingExtra
        If the client is not installed.

    Warns
    -----
    RuntimeWarning
        If the file of the bundle runs in the place of the server.
    """
    from jettagger.sessions.kserve import open_remote

    key = (os.getpid(), bundle.digest, remote)
    if key in _SESSIONS:
        return _SESSIONS[key]
    local = _local(bundle, threads)
    graph = bundle.graph
    assert graph is not None  # _local has raised
    found: Session
    try:
        served = open_remote(graph, remote)
        off = max(deviation(bundle, evaluate(bundle, served, jets), evaluate(bundle, local, jets)) for jets in inputs)
        found = _WithLocal(bundle, served, threads) if remote.local else served
    except RemoteError as error:
        if not remote.local:
            raise
        _warn_local(bundle, error)
        off, found = 0.0, local
    if off > SERVED_TOLERANCE:
        raise RemoteError(
            f"{remote.url} does not give the numbers of {bundle.name!r} in {bundle.folder}: random jets differ by "
            f"{off:.3g} times the tolerance of rewritten graphs, {SERVED_TOLERANCE} are allowed. Another network, or "
            "another version of it, is behind that name"
        )
    _SESSIONS[key] = found
    return found


def _local(bundle: Bundle, threads: int | None) -> Session:
    graph = bundle.graph
    if graph is None:
        raise MissingModelFile(f"the model {bundle.name!r} has no weights here, with which a server could be compared")
    return open_onnx(graph, threads)


def _warn_local(bundle: Bundle, error: RemoteError) -> None:
    warnings.warn(f"the network of {bundle.name!r} runs on this machine: {error}", RuntimeWarning, stacklevel=2)


def evaluated(bundle: Bundle, session: Session, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Array, float]]:
    """All output columns of each batch, in order.

    Parameters
    ----------
    bundle : Bundle
    session : Session
        One with an attribute ``in_flight`` above one is asked for so many batches at the same time.
    batches : iterable of Batch

    Yields
    ------
    batch : Batch
    values : float32[n, outputs]
    seconds : float
        For which the network was waited for.

    Raises
    ------
    ModelFileError
        As `jettagger.inference.network.evaluate` does.
    RemoteError
        If a server fails.
    """
    together = getattr(session, "in_flight", 1)
    if together == 1:
        for batch in batches:
            start = time.perf_counter()
            values = evaluate(bundle, session, batch.inputs)
            yield batch, values, time.perf_counter() - start
        return
    waiting: deque[tuple[Batch, Future[Array]]] = deque()
    pool = ThreadPoolExecutor(together, thread_name_prefix="jettagger-remote")
    try:
        for batch in batches:
            waiting.append((batch, pool.submit(evaluate, bundle, session, batch.inputs)))
            if len(waiting) > together:
                yield _arrived(*waiting.popleft())
        while waiting:
            yield _arrived(*waiting.popleft())
    finally:  # what is still on its way is not waited for
        pool.shutdown(wait=False, cancel_futures=True)


def _arrived(batch: Batch, answer: Future[Array]) -> tuple[Batch, Array, float]:
    start = time.perf_counter()
    values = answer.result()
    return batch, values, time.perf_counter() - start
