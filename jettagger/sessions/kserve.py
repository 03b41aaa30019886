"""A network on a server with the protocol KServe v2 (extra ``remote``): Triton, MLServer, OpenVINO Model Server.

One request carries one batch. Each process and thread opens its own connection.
"""

from __future__ import annotations

import copy
import os
import random
import ssl
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from http.client import HTTPException
from time import monotonic, sleep
from typing import Any, Protocol

import numpy as np

from jettagger.display import Brief
from jettagger.errors import ConfigError, JettaggerError, RemoteError, hint, nearest, require
from jettagger.sessions.base import Traffic
from jettagger.sessions.graph import Graph
from jettagger.sessions.remote import Remote
from jettagger.types import Array

__all__ = ["KServeSession", "Transport"]

#: time limit in seconds for the first answer of a server, unless `Remote.patience` is shorter
FIRST_CONTACT = 15.0

#: milliseconds: random intervals before a request is repeated are up to the first value, doubled up to the second
FIRST_WAIT, LONGEST_WAIT = 100, 5_000


class RequestFault(Exception):
    """The failure of one request.

    Parameters
    ----------
    text : str
    passing : bool
        Whether the failure is transient: no server, no answer in time.
    unknown : bool
        Whether the server lacks the model or its version.
    """

    def __init__(self, text: str, *, passing: bool = False, unknown: bool = False) -> None:
        super().__init__(" ".join(text.split()))
        self.passing = passing
        self.unknown = unknown


class Transport(Protocol):
    """One connection of one thread. Each method raises `RequestFault`."""

    def metadata(self) -> dict[str, Any]:
        """``inputs`` and ``outputs`` of the model, each with ``name``, ``datatype`` and ``shape``."""

    def largest_batch(self) -> int:
        """Maximum number of jets in one request; 0 if the server does not provide it."""

    def models(self) -> list[str]:
        """Models of the server; empty if it does not list them."""

    def infer(self, inputs: Mapping[str, Array], outputs: list[str]) -> tuple[dict[str, Array], str]:
        """Evaluate the network.

        Parameters
        ----------
        inputs : mapping of str to float32[jets, ...]
            As for `Session.run`.
        outputs : list of str

        Returns
        -------
        dict of str to array[jets, ...]
            Outputs from the server.
        str
            Version of the model that was used; empty if the server does not provide it.
        """


class KServeSession(Brief):
    """A network on a server.

    Parameters
    ----------
    graph : Graph
        Interface of the network.
    remote : Remote
    connect : callable
        Returns a connection; called once per thread.

    Attributes
    ----------
    traffic : Traffic
        Counts of the requests to the server.

    Raises
    ------
    RemoteError
        If the server cannot be reached, lacks the model, or has one with other inputs or outputs.
    MissingExtra
        If the client is not installed.
    """

    provider = "remote"

    def __init__(self, graph: Graph, remote: Remote, connect: Callable[[Remote], Transport] | None = None) -> None:
        self.remote = remote
        self.in_flight = remote.in_flight
        self.traffic = Traffic()
        self._version = ""
        self._reached = False
        self._connect = connect or _connect
        self._local = threading.local()
        self._abandoned = threading.Event()
        # threads keep their connections from one chunk to the next
        self.pool: Executor = ThreadPoolExecutor(remote.in_flight, thread_name_prefix="jettagger-remote")
        self._outputs = [tensor.name for tensor in graph.outputs]
        served = self._asked("its description", lambda transport: transport.metadata())
        for kind, tensors in (("inputs", graph.inputs), ("outputs", graph.outputs)):
            offered = {str(entry["name"]): entry for entry in served.get(kind) or ()}
            missing = [tensor.name for tensor in tensors if tensor.name not in offered]
            if missing or (kind == "inputs" and len(offered) != len(tensors)):
                got, expected = ", ".join(sorted(offered)) or "none", ", ".join(tensor.name for tensor in tensors)
                raise RemoteError(
                    f"the model at {remote.url} has the {kind} {got}, expected {expected}: the server has another "
                    "network of that name",
                    where=remote.url,
                    got=f"the {kind} {got}",
                    expected=f"the {kind} {expected}",
                )
            for tensor in tensors:
                kept = str(offered[tensor.name].get("datatype"))
                if kept != "FP32":
                    raise RemoteError(
                        f"the model at {remote.url} has {kept} for {tensor.name!r}, expected FP32: the server has "
                        "another network of that name",
                        where=remote.url,
                        got=f"{kept} for {tensor.name!r}",
                        expected="FP32",
                    )
        self.largest_batch = self._asked("its configuration", lambda transport: transport.largest_batch())

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate the network; see `Session.run`.

        Raises
        ------
        RemoteError
            If the server refuses, or does not answer within `Remote.patience` seconds.
        """
        rows = len(next(iter(inputs.values())))
        step = self.largest_batch or max(rows, 1)
        parts = [
            self._request({name: np.ascontiguousarray(array[at : at + step]) for name, array in inputs.items()})
            for at in range(0, max(rows, 1), step)
        ]
        return {name: _joined([part[name] for part in parts], min(rows, step)) for name in self._outputs}

    def for_run(self, traffic: Traffic) -> KServeSession:
        """The same connections for one run of a tagger; abandoning its requests does not affect other runs."""
        session = copy.copy(self)
        session.traffic, session._abandoned = traffic, threading.Event()
        return session

    def abandon(self) -> None:
        """Prevent further attempts for batches in flight, whose results are no longer needed."""
        self._abandoned.set()
        self._abandoned = threading.Event()

    def _request(self, inputs: dict[str, Array]) -> dict[str, Array]:
        rows = len(next(iter(inputs.values())))
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in inputs.items())
        self.traffic.add(requests=1)
        outputs, version = self._asked(
            f"{rows} jets ({shapes})", lambda transport: transport.infer(inputs, self._outputs)
        )
        self._check_version(version)
        for name in self._outputs:
            array = outputs.get(name)
            if array is None or array.dtype != np.float32 or not array.ndim or not _of_jets(array.shape, rows):
                got = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
                expected = f"float32 for {rows} jets"
                raise RemoteError(
                    f"{self.remote.url} gave {got} for {name!r}, expected {expected}",
                    where=self.remote.url,
                    got=f"{got} for {name!r}",
                    expected=expected,
                )
        return {name: outputs[name] for name in self._outputs}

    def _check_version(self, version: str) -> None:
        """Refuse answers of a version other than the first, with which the server was compared."""
        self._version = self._version or version
        if version and version != self._version:
            raise RemoteError(
                f"{self.remote.url} answered with version {version} of the model, expected {self._version} "
                "as before: it was replaced on the server. A new process compares it again; an address with "
                f"/versions/{self._version} stays with one version",
                where=self.remote.url,
                got=f"version {version}",
                expected=f"version {self._version}",
            )
        named = f" (version {version})" if version and not self.remote.version else ""
        self.traffic.add(server=self.remote.url + named)

    def _asked(self, what: str, ask: Callable[[Transport], Any]) -> Any:
        """The answer of the server; requests are repeated after transient failures."""
        remote = self.remote
        patience = remote.patience if self._reached else min(remote.patience, FIRST_CONTACT)
        end = monotonic() + patience
        attempt, longest, abandoned = 0, FIRST_WAIT, self._abandoned
        while True:
            attempt += 1
            try:
                answer = ask(self._transport())
                self._reached = True
                return answer
            except RequestFault as fault:
                self._local.transport = None
                wait = random.uniform(longest / 2, longest) / 1000
                if not fault.passing or monotonic() + wait > end or abandoned.is_set():
                    raise self._failed(what, fault, attempt, patience) from fault
                longest = min(2 * longest, LONGEST_WAIT)
                self.traffic.add(resent=1)
                sleep(wait)

    def _failed(self, what: str, fault: RequestFault, attempt: int, patience: float) -> RemoteError:
        remote = self.remote
        text = f"{remote.url} failed at attempt {attempt} for {what}: {fault}"
        expected, close = f"an answer for {what}", list[str]()
        if fault.unknown:
            try:
                present = self._transport().models()
            except (RequestFault, JettaggerError):
                present = []
            text += f"{hint(remote.model, present)}; the server has {', '.join(present) or 'no list of its models'}"
            expected, close = f"one of {', '.join(present)}" if present else expected, nearest(remote.model, present)
        elif fault.passing:
            text += f"; given up after {patience:g} s. Is the server up, and is this its {remote.protocol} port?"
        return RemoteError(text, where=remote.url, got=f"{fault}", expected=expected, nearest=close)

    def _transport(self) -> Transport:
        transport: Transport | None = getattr(self._local, "transport", None)
        if transport is None:
            transport = self._local.transport = self._connect(self.remote)
        return transport


def _connect(remote: Remote) -> Transport:
    for path in (remote.ca, remote.certificate, remote.key):
        if path is not None and not os.path.isfile(path):
            raise ConfigError(f"the PEM file {path} for {remote.url} does not exist")
    return _Grpc(remote) if remote.protocol == "grpc" else _Http(remote)


class _Grpc:
    """Transport by tritonclient's gRPC client."""

    def __init__(self, remote: Remote) -> None:
        self._library = require("tritonclient.grpc", "remote", "a model on a server")
        self._remote = remote
        # its finalizer uses modules that are gone when Python ends; the channel closes by itself
        client = type("Client", (self._library.InferenceServerClient,), {"__del__": lambda self: None})
        self._client: Any = client(
            remote.address,
            ssl=remote.encrypted,
            root_certificates=remote.ca,
            private_key=remote.key,
            certificate_chain=remote.certificate,
        )

    def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        try:
            return getattr(self._client, name)(*arguments, client_timeout=self._remote.timeout, **options)
        except self._library.InferenceServerException as error:
            status = str(error.status()).rpartition(".")[2]
            said = f"{status}: {error.message()}"
            passing = status in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
            unknown = status == "NOT_FOUND" or "unknown model" in said.lower()
            raise RequestFault(said, passing=passing and not unknown, unknown=unknown) from error

    def metadata(self) -> dict[str, Any]:
        remote = self._remote
        return dict(self._call("get_model_metadata", remote.model, remote.version, as_json=True))

    def largest_batch(self) -> int:
        try:
            found = self._call("get_model_config", self._remote.model, self._remote.version, as_json=True)
        except RequestFault as fault:
            if fault.passing:
                raise
            return 0  # an extension of Triton's
        return int(found["config"].get("max_batch_size", 0))

    def models(self) -> list[str]:
        found = self._call("get_model_repository_index", as_json=True)
        return _named(found.get("models", ()))

    def infer(self, inputs: Mapping[str, Array], outputs: list[str]) -> tuple[dict[str, Array], str]:
        remote, library = self._remote, self._library
        tensors = []
        for name, array in inputs.items():
            tensors.append(library.InferInput(name, list(array.shape), "FP32"))
            tensors[-1].set_data_from_numpy(array)
        wanted = [library.InferRequestedOutput(name) for name in outputs]
        result = self._call("infer", remote.model, tensors, remote.version, wanted)
        return _arrays(result, outputs), str(result.get_response().model_version)


class _Http:
    """Transport by tritonclient's HTTP client; binary tensors if the server supports them, otherwise JSON."""

    def __init__(self, remote: Remote) -> None:
        self._library = require("tritonclient.http", "remote", "a model on a server")
        self._remote = remote
        options: dict[str, Any] = {}
        if remote.encrypted:

            def context() -> ssl.SSLContext:
                found = ssl.create_default_context(cafile=remote.ca)
                if remote.certificate:
                    found.load_cert_chain(remote.certificate, remote.key)
                return found

            options = {"ssl": True, "ssl_context_factory": context}
        self._client = self._library.InferenceServerClient(
            remote.address, connection_timeout=remote.timeout, network_timeout=remote.timeout, **options
        )
        self.binary: bool | None = None

    def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        try:
            return getattr(self._client, name)(*arguments, **options)
        except self._library.InferenceServerException as error:
            status, said = str(error.status()), f"HTTP {error.status()}: {error.message()}"
            unknown = status == "404" or any(words in said.lower() for words in ("unknown model", "not found"))
            raise RequestFault(
                said, passing=status in ("502", "503", "504") and not unknown, unknown=unknown
            ) from error
        except (OSError, HTTPException) as error:
            raise RequestFault(
                f"{type(error).__name__}: {error}", passing=not isinstance(error, ssl.SSLError)
            ) from error

    def metadata(self) -> dict[str, Any]:
        found = dict(self._call("get_model_metadata", self._remote.model, self._remote.version))
        server = self._call("get_server_metadata")
        self.binary = "binary_tensor_data" in (server.get("extensions") or ())
        return found

    def largest_batch(self) -> int:
        try:
            found = self._call("get_model_config", self._remote.model, self._remote.version)
        except RequestFault as fault:
            if fault.passing:
                raise
            return 0  # an extension of Triton's
        return int(found.get("max_batch_size", 0))

    def models(self) -> list[str]:
        return _named(self._call("get_model_repository_index"))

    def infer(self, inputs: Mapping[str, Array], outputs: list[str]) -> tuple[dict[str, Array], str]:
        remote, library = self._remote, self._library
        if self.binary is None:
            self.metadata()
        tensors = []
        for name, array in inputs.items():
            tensors.append(library.InferInput(name, list(array.shape), "FP32"))
            tensors[-1].set_data_from_numpy(array, binary_data=bool(self.binary))
        wanted = [library.InferRequestedOutput(name, binary_data=bool(self.binary)) for name in outputs]
        result = self._call("infer", remote.model, tensors, remote.version, wanted)
        return _arrays(result, outputs), str(result.get_response().get("model_version") or "")


def _of_jets(shape: tuple[int, ...], rows: int) -> bool:
    """Whether the first axis is that of the jets, or the second after one of size one, see `flat_columns`."""
    return shape[0] == rows or (len(shape) > 1 and shape[:2] == (1, rows))


def _joined(parts: list[Array], rows: int) -> Array:
    """The answers for all jets, joined along the axis of the jets; the first part has ``rows`` of them."""
    return np.concatenate(parts, axis=0 if len(parts[0]) == rows else 1)


def _arrays(result: Any, outputs: list[str]) -> dict[str, Array]:
    found = {name: result.as_numpy(name) for name in outputs}
    return {name: array for name, array in found.items() if array is not None}


def _named(models: Any) -> list[str]:
    """Names with versions from a list of models."""
    entries = [(str(entry["name"]), str(entry.get("version") or "")) for entry in models]
    return sorted({f"{name} (version {version})" if version else name for name, version in entries})
