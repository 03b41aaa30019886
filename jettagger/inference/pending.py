"""Jets whose batches are processed by a session, sequentially or with several batches in flight."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.display import Brief
from jettagger.inference.network import evaluate
from jettagger.inputs.batching import Batch
from jettagger.sessions import ConcurrentSession, CountedSession, GpuSession, Session, Traffic
from jettagger.types import Array

__all__ = ["Pending"]

_log = logging.getLogger(__name__)


class Pending(Brief):
    """The outputs of jets, some of which may still be in flight.

    Parameters
    ----------
    bundle : Bundle
    session : Session
        A `ConcurrentSession` processes several batches at a time while further ones are made, and only `wait` waits for
        the last of them; with other sessions all batches have run when this object is made.
    batches : iterable of Batch
    n_jets : int
        Number of jets in all batches.

    Attributes
    ----------
    values : float32[jets, outputs]
        Complete after `wait`.
    slots, filled : int
        Sums over the batches.
    seconds : float
        Time spent waiting for the network.
    refused : int
        Runs that a GPU refused and that were split.
    traffic : Traffic
        Counts of the requests to a server.

    Raises
    ------
    ModelFileError
        As for `jettagger.inference.network.evaluate`.
    RemoteError
        If a server fails.
    """

    def __init__(self, bundle: Bundle, session: Session, batches: Iterable[Batch], n_jets: int) -> None:
        self.values: Array = np.empty((n_jets, len(bundle.outputs)), dtype=np.float32)
        self.slots = self.filled = self.refused = 0
        self.seconds = 0.0
        self.traffic = Traffic()
        if isinstance(session, CountedSession):
            session = session.for_run(self.traffic)
        self._session = session
        details = _log.isEnabledFor(logging.DEBUG)  # once, not in each batch
        concurrent = session if isinstance(session, ConcurrentSession) else None
        self._waiting: deque[tuple[Array, Future[Array]]] = deque()
        try:
            for batch in batches:
                self.slots += batch.slots
                self.filled += batch.filled
                if concurrent:
                    answer = concurrent.pool.submit(evaluate, bundle, concurrent, batch.inputs)
                    self._waiting.append((batch.jets, answer))
                    if len(self._waiting) > concurrent.in_flight:
                        self._arrive()
                else:
                    start = time.perf_counter()
                    self.values[batch.jets] = evaluate(bundle, session, batch.inputs)
                    seconds = time.perf_counter() - start
                    self.seconds += seconds
                    if details:
                        _log.debug("%s: %d jets in %.4f s", bundle.name, len(batch.jets), seconds)
        except BaseException:  # also Ctrl-C
            self.abandon()
            raise

    def wait(self) -> Pending:
        """Wait for batches in flight; raises the same errors as the constructor.

        Returns
        -------
        Pending
            This object.
        """
        try:
            while self._waiting:
                self._arrive()
        except BaseException:
            self.abandon()
            raise
        if isinstance(self._session, GpuSession):
            self.refused += self._session.take_refused()
        return self

    def abandon(self) -> None:
        """Do not wait for batches in flight, and prevent further attempts."""
        for _, answer in self._waiting:
            answer.cancel()
        if self._waiting and isinstance(self._session, ConcurrentSession):
            self._session.abandon()
        self._waiting.clear()

    def _arrive(self) -> None:
        jets, answer = self._waiting[0]
        start = time.perf_counter()
        self.values[jets] = answer.result()
        self.seconds += time.perf_counter() - start
        self._waiting.popleft()
