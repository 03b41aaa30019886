"""Jets whose batches are on their way through a session: one after the other, or several at the same time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.inference.network import evaluate
from jettagger.inputs.batching import Batch
from jettagger.sessions import ConcurrentSession, CountedSession, GpuSession, Session, Traffic
from jettagger.types import Array

__all__ = ["Pending"]


class Pending:
    """The outputs of jets, some of which may still be on their way.

    Parameters
    ----------
    bundle : Bundle
    session : Session
        A `ConcurrentSession` is asked for several batches at the same time while further ones are made, and the last of
        them are waited for in `wait` only; others have run when this is made.
    batches : iterable of Batch
    n_jets : int
        Of all batches.

    Attributes
    ----------
    values : float32[jets, outputs]
        Complete after `wait`.
    slots, filled : int
        Of the batches.
    seconds : float
        For which the network was waited for.
    refused : int
        Runs that a GPU refused and that were made in parts.
    traffic : Traffic
        What a server was asked.

    Raises
    ------
    ModelFileError
        As `jettagger.inference.network.evaluate` does.
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
        self._waiting: deque[tuple[Array, Future[Array]]] = deque()
        try:
            for batch in batches:
                self.slots += batch.slots
                self.filled += batch.filled
                if isinstance(session, ConcurrentSession):
                    answer = session.pool.submit(evaluate, bundle, session, batch.inputs)
                    self._waiting.append((batch.jets, answer))
                    if len(self._waiting) > session.in_flight:
                        self._arrive()
                else:
                    start = time.perf_counter()
                    self.values[batch.jets] = evaluate(bundle, session, batch.inputs)
                    self.seconds += time.perf_counter() - start
        except BaseException:  # also Ctrl-C
            self.abandon()
            raise

    def wait(self) -> Pending:
        """Wait for what is on its way; raises as making it does.

        Returns
        -------
        Pending
            This one.
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
        """Do not wait for what is on its way, and let it not be asked for again."""
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
