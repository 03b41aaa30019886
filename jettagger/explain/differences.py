"""Slopes by central differences in batches of ONNX Runtime, for graphs that torch cannot execute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.display import Brief
from jettagger.errors import UnknownName
from jettagger.inference.network import softmax, stacked
from jettagger.sessions import OrtSession
from jettagger.sessions.graph import Tensor
from jettagger.types import Array

__all__ = ["ROWS", "STEP", "SlopesOfSession"]

#: change of an input, times max(1, |value|): the cube root of single precision, where rounding and curvature balance
STEP = 2.0**-7

#: rows of a run: pairs of jets with one number moved up and down
ROWS = 512


class SlopesOfSession(Brief):
    """Central differences of a target for one bundle.

    Parameters
    ----------
    bundle : Bundle
        With weights.
    target : jettagger.explain.Target
    columns : str
        Key of all columns of the bundle among what the target needs.
    step : float
        Change of an input, times max(1, abs(value)).

    Raises
    ------
    MissingModelFile
        If the bundle has no weights.
    UnknownName
        If the target needs a tensor that the graph does not have.
    """

    def __init__(self, bundle: Bundle, target: Any, columns: str, step: float = STEP) -> None:
        self._bundle, self._target, self._step, self._columns = bundle, target, step, columns
        graph = bundle.require_graph()
        own = [tensor.name for tensor in graph.outputs]
        inner = [name for name in target.needs if name not in (columns, *own)]
        self._session = OrtSession(graph, 1, "cpu") if not inner else _opened(bundle, inner)

    def run(self, inputs: Mapping[str, Array]) -> tuple[dict[str, Array], Array]:
        """The slopes, and the target itself.

        Parameters
        ----------
        inputs : mapping of str to float32[jets, ...]

        Returns
        -------
        dict of str to float32[jets, ...], float64[jets]
            Masks and inputs that are not floating-point have slopes of 0.
        """
        masks = {group.name for group in self._bundle.groups if group.is_mask}
        values = {name: np.zeros(array.shape, dtype=np.float32) for name, array in inputs.items()}
        for name, array in inputs.items():
            if array.dtype.kind == "f" and name not in masks:
                for jets, places, slopes in self._slopes(inputs, name):
                    values[name].reshape(len(array), -1)[jets, places] = slopes
        return values, self._numbers(inputs)

    def _slopes(self, inputs: Mapping[str, Array], name: str) -> Iterator[tuple[Array, Array, Array]]:
        """Jets, positions within the flat input, and slopes, one run after the other."""
        moved = inputs[name]
        n_jets, size = len(moved), int(np.prod(moved.shape[1:]))
        per_run = max(ROWS // 2, 1)
        for start in range(0, n_jets * size, per_run):
            jets, places = np.divmod(np.arange(start, min(start + per_run, n_jets * size)), size)
            rows = np.arange(len(jets))
            up, down = (moved[jets].reshape(len(jets), size) for _ in range(2))
            change = (self._step * np.maximum(1, np.abs(up[rows, places]))).astype(np.float32)
            up[rows, places] += change
            down[rows, places] -= change
            width = up[rows, places].astype(np.float64) - down[rows, places]
            twice = {key: np.concatenate([array[jets], array[jets]]) for key, array in inputs.items()}
            twice[name] = np.concatenate([up, down]).reshape(-1, *moved.shape[1:])
            above, below = np.split(self._numbers(twice), 2)
            yield jets, places, (above - below) / width

    def _numbers(self, inputs: Mapping[str, Array]) -> Array:
        """The target for a batch."""
        n_jets = len(next(iter(inputs.values())))
        fixed = self._bundle.fixed_batch
        if fixed is not None and n_jets != fixed:
            return np.concatenate([self._fixed(inputs, start, fixed) for start in range(0, n_jets, fixed)])
        return self._of(self._session.run(inputs), n_jets)

    def _fixed(self, inputs: Mapping[str, Array], start: int, fixed: int) -> Array:
        """The target for as many jets as the graph takes; copies of the first fill the rest."""
        part = {name: array[start : start + fixed] for name, array in inputs.items()}
        n_jets = len(next(iter(part.values())))
        rows = np.concatenate([np.arange(n_jets), np.zeros(fixed - n_jets, dtype=np.int64)])
        return self._of(self._session.run({name: array[rows] for name, array in part.items()}), fixed)[:n_jets]

    def _of(self, outputs: dict[str, Array], n_jets: int) -> Array:
        given = {name: outputs[name].astype(np.float64) for name in self._target.needs if name != self._columns}
        if self._columns in self._target.needs:
            own = {tensor.name: outputs[tensor.name] for tensor in self._bundle.require_graph().outputs}
            columns = stacked(self._bundle, own, n_jets).astype(np.float64)
            marked = [output.index for output in self._bundle.outputs if output.softmax]
            if marked:
                columns[:, marked] = softmax(columns[:, marked])
            given[self._columns] = columns
        return np.asarray(self._target(given), dtype=np.float64)


def _opened(bundle: Bundle, inner: list[str]) -> OrtSession:
    """A session that also gives results of nodes."""
    import onnx

    graph = bundle.require_graph()
    model = onnx.load(graph.path)
    made = [name for node in model.graph.node for name in node.output if name]
    if unknown := [name for name in inner if name not in made]:
        raise UnknownName("tensor", unknown, made, f"the graph {graph.path}")
    for name in inner:
        model.graph.output.append(onnx.ValueInfoProto(name=name))
    more = tuple(Tensor(name, (), "float32") for name in inner)
    return OrtSession(replace(graph, outputs=(*graph.outputs, *more)), 1, "cpu", model.SerializeToString())
