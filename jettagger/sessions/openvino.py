"""OpenVINO in this process (extra ``openvino``): an alternative to run the same ONNX file on the CPU."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from jettagger.display import Brief
from jettagger.errors import ModelFileError, require
from jettagger.runtime.processcache import ProcessCache
from jettagger.sessions.base import run_error
from jettagger.sessions.graph import Graph
from jettagger.sessions.onnx import checked_threads
from jettagger.types import Array

__all__ = ["OpenVinoSession", "open_openvino"]

_log = logging.getLogger(__name__)

# a compiled network does not survive a fork, so the process is part of the key
_SESSIONS: ProcessCache[tuple[int, str, int], OpenVinoSession] = ProcessCache()


class OpenVinoSession(Brief):
    """A network in OpenVINO, in float32.

    Parameters
    ----------
    graph : Graph
        The file to load.
    threads : int
        Number of threads.

    Raises
    ------
    MissingExtra
        If OpenVINO is not installed.
    ModelFileError
        If OpenVINO refuses the file.
    """

    provider = "OpenVINO"

    def __init__(self, graph: Graph, threads: int) -> None:
        openvino = require("openvino", "openvino", "the backend 'openvino'")
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 is taken where the processor has it
            "ENABLE_CPU_PINNING": False,  # the scheduler of the machine knows better who else is there
        }
        try:
            compiled = openvino.Core().compile_model(str(graph.path), "CPU", options)
            self._request = compiled.create_infer_request()
        except RuntimeError as error:
            raise ModelFileError(f"OpenVINO cannot load {graph.path}: {error}") from error
        self.threads = threads
        self._path = graph.path
        self._outputs = [tensor.name for tensor in graph.outputs]
        self._lock = threading.Lock()
        _log.info("session made for %s: OpenVINO on the CPU, %s threads", graph.path, threads)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate the network; see `Session.run`."""
        contiguous: dict[str, Any] = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        with self._lock:  # one request is one run
            try:
                result = self._request.infer(contiguous)
                return {name: np.array(result[place]) for place, name in enumerate(self._outputs)}
            except RuntimeError as error:
                raise run_error("OpenVINO", self._path, inputs, error) from error


def open_openvino(graph: Graph, threads: int | None = None) -> OpenVinoSession:
    """The OpenVINO session of a network in this process; created on first use and kept.

    Parameters
    ----------
    graph : Graph
    threads : int, optional
        Default: 1 in a worker, all usable cores otherwise.

    Returns
    -------
    OpenVinoSession

    Raises
    ------
    ConfigError
        If ``threads`` is not a positive integer.
    MissingExtra
        If OpenVINO is not installed.
    ModelFileError
        If OpenVINO refuses the file.
    """
    threads = checked_threads(threads)
    key = (os.getpid(), graph.sha256, threads)
    if key not in _SESSIONS:
        _SESSIONS[key] = OpenVinoSession(graph, threads)
    return _SESSIONS[key]
