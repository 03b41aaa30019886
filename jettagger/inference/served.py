"""A network on a server, after a comparison with the bundle."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from jettagger.bundles.bundle import Bundle
from jettagger.errors import RemoteError
from jettagger.files.addresses import masked
from jettagger.inference.proof import shortfall
from jettagger.sessions import Session, Traffic, open_onnx
from jettagger.sessions.remote import Remote
from jettagger.types import Array

if TYPE_CHECKING:
    from jettagger.sessions.kserve import KServeSession

__all__ = ["connected"]

_log = logging.getLogger(__name__)


class _InPlace:
    """Runs the file of the bundle instead of a server."""

    provider = "this machine"

    def __init__(self, local: Session, traffic: Traffic | None = None) -> None:
        self._local, self._traffic = local, traffic or Traffic()

    def for_run(self, traffic: Traffic) -> _InPlace:
        """See `CountedSession.for_run`."""
        return _InPlace(self._local, traffic)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate the network; see `Session.run`."""
        self._traffic.add(runs_here=1)
        return self._local.run(inputs)


class _WithLocal:
    """Uses the server, and after its first failure the file of the bundle, in all runs of the process."""

    provider = "remote, or this machine"

    def __init__(
        self, bundle: Bundle, served: KServeSession, local: _InPlace, failed: threading.Event | None = None
    ) -> None:
        self._bundle, self._served, self._local = bundle, served, local
        self._failed = failed or threading.Event()
        self.in_flight, self.pool = served.in_flight, served.pool
        self.abandon = served.abandon

    def for_run(self, traffic: Traffic) -> _WithLocal:
        """See `CountedSession.for_run`."""
        return _WithLocal(self._bundle, self._served.for_run(traffic), self._local.for_run(traffic), self._failed)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate the network; see `Session.run`."""
        if not self._failed.is_set():
            try:
                return self._served.run(inputs)
            except RemoteError as error:
                self._failed.set()
                _warn_local(self._bundle, error)
        return self._local.run(inputs)


def connected(bundle: Bundle, remote: Remote, threads: int | None = None) -> Session:
    """A session of a model on a server, compared with the file of the bundle.

    Parameters
    ----------
    bundle : Bundle
        With weights: a server is used only after it gave the same outputs.
    remote : Remote
    threads : int, optional
        Threads of local runs.

    Returns
    -------
    Session

    Raises
    ------
    BundleError
        If the bundle has no weights, or ONNX Runtime refuses them.
    RemoteError
        If the server cannot be reached, refuses, or gives other outputs; if `Remote.local` allows the file of the
        bundle, only for other outputs.
    MissingExtra
        If the client is not installed.

    Warns
    -----
    RuntimeWarning
        If the file of the bundle runs instead of the server.
    """
    from jettagger.sessions.kserve import KServeSession

    graph = bundle.require_graph()
    local = open_onnx(graph, threads)
    try:
        served = KServeSession(graph, remote)
        reason = shortfall(bundle, served, remote.url, threads)
    except RemoteError as error:
        if not remote.local:
            raise
        _warn_local(bundle, error)
        return _InPlace(local)
    _log.info("server %s compared with %s: %s", masked(remote.url), graph.path, reason or "the same outputs")
    if reason:
        raise RemoteError(
            f"{remote.url} does not give the outputs of {bundle.name!r} in {bundle.folder}: it {reason}. "
            "The server has another network or version of that name, or less precise arithmetic (TF32)",
            where=remote.url,
            got=reason,
            expected=f"the outputs of {bundle.name!r} in {bundle.folder}",
        )
    return _WithLocal(bundle, served, _InPlace(local)) if remote.local else served


def _warn_local(bundle: Bundle, error: RemoteError) -> None:
    warnings.warn(f"the network of {bundle.name!r} runs on this machine: {error}", RuntimeWarning, stacklevel=2)
