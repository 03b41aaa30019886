"""ONNX Runtime in this process: one session per process, file content, thread count and provider."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from jettagger.errors import ConfigError, ModelFileError, ProviderError, hint
from jettagger.runtime.processcache import ProcessCache
from jettagger.sessions.base import run_error, wants_memory
from jettagger.sessions.graph import Graph
from jettagger.sessions.threads import default_threads
from jettagger.types import Array

__all__ = ["PROVIDERS", "OrtSession", "checked_threads", "open_onnx"]

#: short names of execution providers
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "coreml": "CoreMLExecutionProvider"}

# sessions do not survive a fork, so the process is part of the key
_SESSIONS: ProcessCache[tuple[int, str, int, str], OrtSession] = ProcessCache()


class OrtSession:
    """A network in ONNX Runtime.

    Parameters
    ----------
    graph : Graph
        The file to load.
    threads : int
        Threads within an operator.
    provider : str
        Execution provider, short or full name.
    rewritten : bytes, optional
        An ONNX file with the same inputs and outputs to run in the place of the graph's.

    Raises
    ------
    ProviderError
        If the provider is not there, or another one became active.
    ModelFileError
        If ONNX Runtime refuses the file.
    """

    def __init__(self, graph: Graph, threads: int, provider: str, rewritten: bytes | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = False  # lengths differ from run to run
        options.log_severity_level = 4  # what fails is raised
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        name = PROVIDERS.get(provider, provider)
        present = onnxruntime.get_available_providers()
        if name not in present:
            raise ProviderError(
                f"execution provider {provider!r} is not available{hint(name, present)}; this ONNX Runtime has "
                f"{', '.join(present)}"
            )
        # external data is found from the path; a plain file is checked to be still the one that was described
        try:
            source: Any = rewritten or (str(graph.path) if graph.external else graph.path.read_bytes())
        except OSError as error:
            raise ModelFileError(f"{graph.path} cannot be read: {error.strerror or error}") from error
        if not rewritten and not graph.external and hashlib.sha256(source).hexdigest() != graph.sha256:
            raise ModelFileError(f"{graph.path} has changed since it was described (SHA-256 expected {graph.sha256})")
        try:
            session = onnxruntime.InferenceSession(source, options, providers=[name])
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            wants_memory(error)
            raise ModelFileError(f"ONNX Runtime cannot load {graph.path}: {error}") from error
        active = session.get_providers()[0]
        if active != name:
            raise ProviderError(f"execution provider {name} was asked for, {active} is active")
        self.provider = active
        self.threads = threads
        self._session = session
        self._path = graph.path
        self._outputs = [tensor.name for tensor in graph.outputs]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate the network; see `Session.run`."""
        try:
            values = self._session.run(self._outputs, dict(inputs))
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            raise run_error("ONNX Runtime", self._path, inputs, error) from error
        return dict(zip(self._outputs, values, strict=True))


def checked_threads(threads: int | None) -> int:
    """A number of threads that can be used; None is the default.

    Raises
    ------
    ConfigError
        If it is no whole number of at least 1.
    """
    threads = default_threads() if threads is None else threads
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ConfigError(f"threads must be a whole number of at least 1, got {threads!r}")
    return threads


def open_onnx(graph: Graph, threads: int | None = None, provider: str | None = None) -> OrtSession:
    """The session of a network in this process; made when first asked for, kept afterwards.

    Parameters
    ----------
    graph : Graph
    threads : int, optional
        Default: 1 in a worker, all usable cores in a plain process.
    provider : str, optional
        ``cpu`` (default), ``cuda`` or the full name of an execution provider.

    Returns
    -------
    OrtSession

    Raises
    ------
    ConfigError
        If ``threads`` is not a positive whole number.
    ProviderError
        If the provider is not there, or another one became active.
    ModelFileError
        If ONNX Runtime refuses the file.
    """
    threads = checked_threads(threads)
    provider = provider or "cpu"
    key = (os.getpid(), graph.sha256, threads, PROVIDERS.get(provider, provider))
    if key not in _SESSIONS:
        _SESSIONS[key] = OrtSession(graph, threads, provider)
    return _SESSIONS[key]
