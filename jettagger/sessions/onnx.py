"""ONNX Runtime in this process: one session per process, file content, number of threads and provider.

On a GPU, inputs and outputs are bound in its memory, several runs are in flight, and a run that does not fit into
memory is split.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import warnings
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import numpy as np

from jettagger.display import Brief
from jettagger.errors import ConfigError, ModelFileError
from jettagger.runtime.processcache import ProcessCache
from jettagger.sessions.base import flat_columns, run_error, wants_memory
from jettagger.sessions.graph import Graph
from jettagger.sessions.providers import Provider
from jettagger.sessions.threads import default_threads
from jettagger.types import Array

__all__ = ["GpuSession", "OrtSession", "checked_threads", "make_session", "open_onnx"]

_log = logging.getLogger(__name__)

#: number of concurrent runs on a GPU: one is computed while the inputs of the next are transferred
IN_FLIGHT = 2

# sessions do not survive a fork, so the process is part of the key
_SESSIONS: ProcessCache[tuple[int, str, int, Provider], OrtSession] = ProcessCache()


class OrtSession(Brief):
    """A network in ONNX Runtime.

    Parameters
    ----------
    graph : Graph
        The file to load.
    threads : int
        Threads within an operator.
    provider : str or Provider
        Execution provider, short or full name.
    rewritten : bytes, optional
        An ONNX file with the same inputs and outputs to run instead of the original one.

    Raises
    ------
    ProviderError
        If the provider is not available, or another one became active.
    ModelFileError
        If ONNX Runtime refuses the file.
    """

    def __init__(self, graph: Graph, threads: int, provider: str | Provider, rewritten: bytes | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = False  # lengths differ from run to run
        options.log_severity_level = 4  # what fails is raised
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        provider = Provider.of(provider)
        provider.require()
        # external data is found from the path; a plain file is checked to be still the one that was described
        try:
            source: Any = rewritten or (str(graph.path) if graph.external else graph.path.read_bytes())
        except OSError as error:
            raise ModelFileError(f"{graph.path} cannot be read: {error.strerror or error}") from error
        if not rewritten and not graph.external and hashlib.sha256(source).hexdigest() != graph.sha256:
            raise ModelFileError(f"{graph.path} has changed since it was described (SHA-256 expected {graph.sha256})")
        asked: list[Any] = [(provider.name, dict(provider.options)) if provider.options else provider.name]
        try:  # another provider is never taken silently
            session = onnxruntime.InferenceSession(source, options, providers=asked, enable_fallback=0)
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            short = wants_memory(error)
            if not short and not provider.on_cpu and _opens_on_cpu(source, options):
                raise provider.inactive(f"and cannot open the network: {error}") from error
            raise ModelFileError(f"ONNX Runtime cannot load {graph.path}: {error}") from error
        active = session.get_providers()[0]
        if active != provider.name:
            raise provider.inactive(f"{active} is active")
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


def _opens_on_cpu(source: Any, options: Any) -> bool:
    """Whether the failure is due to the provider rather than the file."""
    import onnxruntime

    try:
        onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception:
        return False
    return True


class GpuSession(OrtSession):
    """A network in ONNX Runtime on a GPU with CUDA; see `jettagger.sessions.base.ConcurrentSession`.

    Parameters
    ----------
    graph, threads, provider, rewritten
        As for `OrtSession`.

    Raises
    ------
    ProviderError, ModelFileError
        As for `OrtSession`.
    """

    def __init__(self, graph: Graph, threads: int, provider: str | Provider, rewritten: bytes | None = None) -> None:
        provider = Provider.of(provider)
        super().__init__(graph, threads, provider, rewritten)
        self.in_flight = IN_FLIGHT
        self.pool: Executor = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="jettagger-gpu")
        self._refused = 0
        self._device = provider.device
        self._fixed = graph.fixed_batch is not None
        #: maximum number of jets that fit, and number of values per jet; None if no run was refused
        self._room: tuple[int, int] | None = None
        self._lock = threading.Lock()

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate the network; see `Session.run`.

        Warns
        -----
        RuntimeWarning
            When the GPU refuses a run for the first time. The run is split into halves until they fit, and later runs
            are limited to this size.

        Raises
        ------
        ModelFileError
            Also if a single jet does not fit.
        """
        rows = len(next(iter(inputs.values())))
        numbers = sum(array[:1].size for array in inputs.values())
        parts: list[dict[str, Array]] = []
        start, step = 0, self._fitting(rows, numbers)
        if step == rows:
            try:
                return self._bound(inputs)
            except Exception as error:
                step = self._halved(inputs, rows, numbers, error)
        while start < rows:
            part = {name: array[start : start + step] for name, array in inputs.items()}
            count = min(step, rows - start)
            try:
                outputs = self._bound(part)
            except Exception as error:
                step = self._halved(part, count, numbers, error)
                continue
            parts.append({name: flat_columns(name, array, count) for name, array in outputs.items()})
            start += count
        return {name: np.concatenate([part[name] for part in parts]) for name in self._outputs}

    def abandon(self) -> None:
        """Do nothing: runs are not repeated."""

    def take_refused(self) -> int:
        """Number of runs that did not fit on the GPU and were split, since the last call."""
        with self._lock:
            count, self._refused = self._refused, 0
        return count

    def _bound(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One run, with inputs and outputs in the memory of the GPU."""
        from onnxruntime import OrtValue

        binding = self._session.io_binding()
        for name, array in inputs.items():
            value = OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), "cuda", self._device)
            binding.bind_ortvalue_input(name, value)
        for name in self._outputs:
            binding.bind_output(name, "cuda", self._device)
        self._session.run_with_iobinding(binding)
        return dict(zip(self._outputs, binding.copy_outputs_to_cpu(), strict=True))

    def _fitting(self, rows: int, numbers: int) -> int:
        """Number of these jets to try in one run."""
        with self._lock:
            if self._room is None or self._fixed:
                return rows
            count, known = self._room
        ratio = known / max(numbers, 1)  # memory goes with the length at least and its square at most
        return min(max(int(count * min(ratio, ratio**2)), 1), rows)

    def _halved(self, inputs: Mapping[str, Array], rows: int, numbers: int, error: Exception) -> int:
        """Number of jets to try after a refusal; raises if fewer would not help."""
        if rows < 2 or self._fixed or not _too_large(error):
            raise run_error("ONNX Runtime", self._path, inputs, error) from error
        step = rows // 2
        with self._lock:
            self._refused += 1
            first, self._room = self._room is None, (step, numbers)
        if first:
            warnings.warn(
                f"the GPU refused {rows} jets in one run of {self._path}: they run {step} or fewer at a time "
                f"({' '.join(str(error).split())[:200]})",
                RuntimeWarning,
                stacklevel=4,
            )
        return step


def _too_large(error: Exception) -> bool:
    """Whether fewer jets may fit: lack of memory, or tensors that are too large for cuDNN."""
    said = str(error).lower()
    return any(word in said for word in ("memory", "bad_alloc", "alloc_failed", "not_supported", "not supported"))


def make_session(graph: Graph, threads: int, provider: str | Provider, rewritten: bytes | None = None) -> OrtSession:
    """A new session for the given provider.

    Parameters
    ----------
    graph, threads, provider, rewritten
        As for `OrtSession`.

    Returns
    -------
    OrtSession

    Raises
    ------
    ProviderError, ModelFileError
        As for `OrtSession`.
    """
    provider = Provider.of(provider)
    kind = GpuSession if provider.on_gpu else OrtSession
    session = kind(graph, threads, provider, rewritten)
    how = "rewritten graph" if rewritten else "graph of the file"
    _log.info("session made for %s: ONNX Runtime, %s, %s threads, %s", graph.path, provider.name, threads, how)
    return session


#: threads of a network, above which a number is a mistake
MOST_THREADS = 4096


def checked_threads(threads: int | None) -> int:
    """A validated number of threads; None is the default.

    Raises
    ------
    ConfigError
        If it is not an integer from 1 to `MOST_THREADS`.
    """
    threads = default_threads() if threads is None else threads
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS:
        raise ConfigError(f"threads must be a whole number from 1 to {MOST_THREADS}, got {threads!r}")
    return threads


def open_onnx(graph: Graph, threads: int | None = None, provider: str | Provider | None = None) -> OrtSession:
    """The session of a network in this process; created on first use and kept.

    Parameters
    ----------
    graph : Graph
    threads : int, optional
        Default: 1 in a worker, all usable cores otherwise.
    provider : str or Provider, optional
        ``cpu`` (default), ``cuda`` or the full name of an execution provider.

    Returns
    -------
    OrtSession

    Raises
    ------
    ConfigError
        If ``threads`` is not a positive integer.
    ProviderError
        If the provider is not available, or another one became active.
    ModelFileError
        If ONNX Runtime refuses the file.
    """
    threads = checked_threads(threads)
    provider = Provider.of(provider)
    key = (os.getpid(), graph.sha256, threads, provider)
    if key not in _SESSIONS:
        _SESSIONS[key] = make_session(graph, threads, provider)
    return _SESSIONS[key]
