"""A recording double of ONNX Runtime on a CUDA GPU: the CPU computes, and what was asked of the GPU is noted."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
import pytest

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class Gpu:
    """What was asked of the GPU.

    Parameters
    ----------
    memory : float
        Jets times the largest squared axis of their inputs that fit in a run.
    off : float
        Added to what a network gives.
    broken : str
        What the GPU says when a session is opened.

    Attributes
    ----------
    opened : list of dict
        Options of each session.
    models : list of bytes or str
        What they run.
    runs : list of dict
        Shapes of the inputs of each run that was finished.
    bound : set of (str, str, int)
        Names of tensors in the GPU's memory, with device and its number.
    refused : list of dict
        Shapes of runs that did not fit.
    """

    def __init__(self, memory: float = np.inf, off: float = 0.0, broken: str = "") -> None:
        self.memory, self.off, self.broken = memory, off, broken
        self.says = "Failed to allocate memory for requested buffer of size 123"
        self.opened: list[dict[str, str]] = []
        self.models: list[Any] = []
        self.runs: list[dict[str, tuple[int, ...]]] = []
        self.refused: list[dict[str, tuple[int, ...]]] = []
        self.bound: set[tuple[str, str, int]] = set()
        self.preloaded = 0
        self.before: Any = lambda: None
        #: what it computes in the place of a graph
        self.graph_of: Any = lambda source: source

    def install(self, monkeypatch: pytest.MonkeyPatch) -> Gpu:
        """Put it in the place of ONNX Runtime's own."""
        real, gpu = onnxruntime.InferenceSession, self

        class Session:
            def __init__(self, source: Any, options: Any = None, providers: Any = (CPU,), **keywords: Any) -> None:
                name, chosen = providers[0] if isinstance(providers[0], tuple) else (providers[0], {})
                self.name = name
                if name == CUDA:
                    assert keywords == {"enable_fallback": 0}
                    if gpu.broken:
                        raise RuntimeError(gpu.broken)
                    gpu.opened.append(dict(chosen))
                    gpu.models.append(source)
                    source = gpu.graph_of(source)
                self.real = real(source, options, providers=[CPU])

            def __getattr__(self, name: str) -> Any:
                return getattr(self.real, name)

            def get_providers(self) -> list[str]:
                return [CUDA, CPU] if self.name == CUDA else [CPU]

            def run(self, *arguments: Any) -> Any:
                assert self.name != CUDA, "inputs and outputs of a GPU are bound"
                return self.real.run(*arguments)

            def io_binding(self) -> Binding:
                return Binding()

            def run_with_iobinding(self, binding: Binding) -> None:
                gpu.before()
                shapes = {name: array.shape for name, array in binding.inputs.items()}
                if cells(shapes) > gpu.memory:
                    gpu.refused.append(shapes)
                    raise RuntimeError(gpu.says)
                binding.values = [
                    value + np.float32(gpu.off) for value in self.real.run(binding.outputs, binding.inputs)
                ]
                gpu.runs.append(shapes)

        class Value:
            def __init__(self, array: Any, device: str, number: int) -> None:
                self.array, self.place = array, (device, number)

            @staticmethod
            def ortvalue_from_numpy(array: Any, device: str = "cpu", number: int = 0) -> Value:
                assert array.flags.c_contiguous
                return Value(array, device, number)

        class Binding:
            def __init__(self) -> None:
                self.inputs: dict[str, Any] = {}
                self.outputs: list[str] = []
                self.values: list[Any] = []

            def bind_ortvalue_input(self, name: str, value: Value) -> None:
                gpu.bound.add((name, *value.place))
                self.inputs[name] = value.array

            def bind_output(self, name: str, device: str, number: int) -> None:
                gpu.bound.add((name, device, number))
                self.outputs.append(name)

            def copy_outputs_to_cpu(self) -> list[Any]:
                return self.values

        def preload() -> None:
            sys.stdout.write("Failed to load libcudnn.so.9")
            gpu.preloaded += 1

        monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
        monkeypatch.setattr(onnxruntime, "OrtValue", Value)
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
        monkeypatch.setattr(onnxruntime, "preload_dlls", preload, raising=False)
        return self


def cells(shapes: Mapping[str, tuple[int, ...]]) -> float:
    """Jets times the square of their largest axis."""
    return float(max(shape[0] * max(shape[1:]) ** 2 for shape in shapes.values()))
