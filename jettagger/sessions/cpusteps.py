"""A network with some steps on the CPU, in the order of the file, and the rest in any provider.

Differences of nearly equal numbers depend on the order of summation. Computed on the CPU they are reproducible to the
bit, so that a provider gives the scores of the CPU although the network amplifies rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from jettagger.display import Brief
from jettagger.sessions.graph import Graph, Tensor
from jettagger.sessions.onnx import GpuSession, OrtSession
from jettagger.sessions.providers import Provider
from jettagger.types import Array

__all__ = ["CutNetwork", "make_cut_session"]


@dataclass(frozen=True)
class CutNetwork(Brief):
    """A network in two parts.

    Parameters
    ----------
    steps : tuple of str
        Results of the first part, additional inputs of the second.
    inputs : tuple of str
        Inputs of the network needed by the first part.
    first, rest : bytes
        ONNX files.
    """

    steps: tuple[str, ...]
    inputs: tuple[str, ...]
    first: bytes
    rest: bytes

    def first_session(self, graph: Graph, threads: int) -> OrtSession:
        """The first part on the CPU; it takes only its own inputs.

        Parameters
        ----------
        graph : Graph
            Graph of the network.
        threads : int

        Returns
        -------
        OrtSession
        """
        outputs = tuple(Tensor(name, (), "float32") for name in self.steps)
        return OrtSession(replace(graph, outputs=outputs), threads, "cpu", self.first)


class _CutSession(OrtSession):
    """A network in two parts, the second in one of ONNX Runtime's providers."""

    def __init__(self, graph: Graph, threads: int, provider: Provider, network: CutNetwork) -> None:
        super().__init__(graph, threads, provider, network.rest)
        self._inputs = network.inputs
        self._first = network.first_session(graph, threads)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate the network; see `Session.run`."""
        steps = self._first.run({name: inputs[name] for name in self._inputs})
        return super().run({**inputs, **steps})


class _CutGpuSession(_CutSession, GpuSession):
    """A network in two parts, the second on a GPU."""


def make_cut_session(graph: Graph, threads: int, provider: str | Provider, network: CutNetwork) -> OrtSession:
    """A new session for a network whose first part runs on the CPU.

    Parameters
    ----------
    graph : Graph
        Graph of the network.
    threads : int
    provider : str or Provider
        Provider of the second part.
    network : CutNetwork

    Returns
    -------
    OrtSession

    Raises
    ------
    ProviderError, ModelFileError
        As for `jettagger.sessions.onnx.OrtSession`.
    """
    provider = Provider.of(provider)
    return (_CutGpuSession if provider.on_gpu else _CutSession)(graph, threads, provider, network)
