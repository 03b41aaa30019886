"""An ONNX file executed node by node with torch, so that its outputs have derivatives."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.display import Brief
from jettagger.errors import ConfigError, JettaggerError, MismatchError, ModelFileError, UnknownName
from jettagger.explain.agreement import agreement, settled
from jettagger.explain.fusion import fused
from jettagger.explain.operators import ARRAYS, TENSORS, Operator, Step
from jettagger.explain.operators.table import Implementation
from jettagger.explain.plan import GraphPlan, make_plan, needed, unsupported
from jettagger.inference.network import PROB_TOLERANCE
from jettagger.sessions import Session
from jettagger.sessions.graph import inspect
from jettagger.types import Array

__all__ = ["TorchGraph"]

#: steps, and after each the tensors that are no longer read
_Schedule: TypeAlias = tuple[tuple[Step, tuple[str, ...]], ...]

#: operators whose result has a shape that depends on values, besides those with a tensor as a plain argument
BY_VALUE = ("NonZero",)

#: operators with a tensor as a plain argument whose result has a shape that does not depend on its values
BY_SHAPE = ("Gather", "Shape", "Size")

#: how many combinations of shapes and asked tensors are remembered
REMEMBERED = 64


@dataclass
class _Run:
    """What steps give that depends on the shapes of the inputs alone.

    Parameters
    ----------
    schedule : tuple of (Step, tuple of str)
        The other steps.
    arrays : dict of str to array
        Shapes, axes, positions.
    tensors : dict of str to Tensor
        Those of the arrays that were needed as tensors.
    repeats : bool
        Whether that holds: no shape depends on values of the inputs.
    """

    schedule: _Schedule
    arrays: dict[str, Array] = field(default_factory=dict)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    repeats: bool = True


class TorchGraph(Brief):
    """A network of an ONNX file in torch.

    Arithmetic of shapes is done in NumPy, everything that depends on the inputs in torch, on their device. Where a
    derivative is infinite or undefined it is 0 (`jettagger.explain.operators.subgradients`).

    Parameters
    ----------
    model : onnx.ModelProto or path
    dtype : {"float32", "float64"}
        Precision of numbers that are single in the file; with ``float64`` all floating-point numbers are double.

    Attributes
    ----------
    inputs, outputs : tuple of str
        Names of inputs and outputs, in the order of the file.
    replaced : collections.Counter
        Node -> number of derivatives that were not finite, and were replaced by 0, since it was last cleared.

    Raises
    ------
    Unsupported
        If an operator has no implementation; gives operator, node and version.
    ConfigError
        If ``dtype`` is another one, or the model is neither a ModelProto nor a path.
    MissingModelFile, ModelFileError
        If there is no such file, or it is not a readable ONNX model.
    MissingExtra
        If torch is not installed.

    Examples
    --------
    >>> import torch
    >>> from jettagger import load_bundle
    >>> graph = TorchGraph(load_bundle("tinyParT").require_weights())
    >>> graph.inputs[:2], graph.outputs
    (('pf_features', 'pf_vectors'), ('scores',))
    """

    #: implementations on tensors, and on constants and shapes
    in_torch: Mapping[str, Operator] = TENSORS
    in_numpy: Mapping[str, Implementation] = ARRAYS

    def __init__(self, model: Any, dtype: str = "float32") -> None:
        if dtype not in ("float32", "float64"):
            raise ConfigError(f"dtype is {dtype!r}, expected 'float32' or 'float64'")
        import onnx

        self.path: Path | None = None
        if isinstance(model, str | os.PathLike):
            self.path = Path(model)
            inspect(self.path)  # refuses what is damaged, and data outside its folder
            model = onnx.load(self.path)
        if not isinstance(model, onnx.ModelProto):
            raise ConfigError(f"the model is {type(model).__name__}, expected an onnx.ModelProto or the path of a file")
        version = max((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), default=1)
        self.replaced: Counter[str] = Counter()
        self.dtype = dtype
        self._plan = make_plan(model.graph, version, dtype, self.replaced)
        if (error := unsupported(self._plan)) is not None:
            raise error
        self.inputs = self._plan.inputs
        self.outputs = self._plan.outputs
        self._types = {item.name: _element_type(item, dtype) for item in model.graph.input}
        self._tensors: dict[tuple[str, str], torch.Tensor] = {}
        self._schedules: dict[tuple[str, ...], _Schedule] = {}
        self._runs: dict[Hashable, _Run] = {}

    def __repr__(self) -> str:
        place = "" if self.path is None else f", from {str(self.path)!r}"
        return f"TorchGraph({', '.join(self.inputs)} -> {', '.join(self.outputs)}, {self.dtype}{place})"

    @property
    def names(self) -> tuple[str, ...]:
        """All tensors that `run` can give: inputs, and results of nodes."""
        made = (name for step in self._plan.steps for name in step.outputs if name)
        return (*self.inputs, *made)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The nodes, in order; those of inner graphs are attributes of theirs."""
        return self._plan.steps

    def run(self, inputs: Mapping[str, torch.Tensor], names: Sequence[str] | None = None) -> dict[str, torch.Tensor]:
        """Execute the graph.

        Parameters
        ----------
        inputs : mapping of str to Tensor[jets, ...]
            All inputs, on one device.
        names : sequence of str, optional
            Outputs, or any other results of nodes (hidden neurons, attention weights); default: all outputs.

        Returns
        -------
        dict of str to Tensor
            In the order of ``names``.

        Raises
        ------
        UnknownName
            If there is no tensor of a name.
        MismatchError
            If an input is missing, or there is one that the graph does not have.
        ModelFileError
            If a node fails; gives the node.
        Unsupported
            If a node has a form that is not implemented.
        """
        wanted = self.outputs if names is None else tuple(names)
        if set(inputs) != set(self.inputs):
            raise MismatchError(f"inputs are {', '.join(inputs) or 'none'}, expected {', '.join(self.inputs)}")
        device = next(iter(inputs.values())).device
        values: dict[str, Any] = {name: tensor.to(self._types[name]) for name, tensor in inputs.items()}
        key = (wanted, str(device), tuple((name, tuple(values[name].shape)) for name in self.inputs))
        first = key not in self._runs
        run = _Run(self._schedule(wanted)) if first else self._runs[key]
        values.update(run.arrays)
        for step, finished in run.schedule:
            self._execute(step, values, self._plan.constants, device, run)
            if first:
                run.arrays.update((name, values[name]) for name in step.outputs if _is_array(values.get(name)))
            for name in finished:
                values.pop(name, None)
        if first and run.repeats:
            others = [step for step, _ in run.schedule if not set(filter(None, step.outputs)) <= set(run.arrays)]
            run.schedule = self._timed(others, wanted)
            while len(self._runs) >= REMEMBERED:
                self._runs.pop(next(iter(self._runs)), None)
            self._runs[key] = run
        constants = self._plan.constants
        return {name: _tensor(values[name] if name in values else constants[name], device) for name in wanted}

    def arrays(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs for arrays on the CPU.

        Parameters
        ----------
        feeds : mapping of str to array[jets, ...]

        Returns
        -------
        dict of str to array[jets, ...]

        Raises
        ------
        MismatchError, ModelFileError, Unsupported
            As for `run`.
        """
        found = self.run({name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in feeds.items()})
        return {name: tensor.detach().cpu().numpy() for name, tensor in found.items()}

    def checked(self, reference: Bundle | Session, feeds: Mapping[str, Array]) -> float:
        """Compare the outputs with those of a session on the same jets.

        Parameters
        ----------
        reference : Bundle or Session
            A bundle, whose file is run in ONNX Runtime, or a session.
        feeds : mapping of str to float32[jets, ...]
            Inputs of the network.

        Returns
        -------
        float
            Largest difference, in units of the tolerance: 1e-5 for probabilities, 1e-4 * max(1, abs(value)) for other
            outputs of a bundle; for all outputs of a session 1e-5 * max(1, abs(value)).

        Raises
        ------
        MismatchError
            If it exceeds 1; gives the output, the jet and both values.
        """
        ours = self.arrays(feeds)
        if isinstance(reference, Bundle):
            return agreement(reference, feeds, ours)
        theirs = reference.run(feeds)
        old, new = (np.concatenate([_flat(part[name]) for name in self.outputs], axis=1) for part in (theirs, ours))
        labels = [name for name in self.outputs for _ in range(_flat(theirs[name]).shape[1])]
        return settled(_relative(new, old), new, old, labels, "the graph")

    def _schedule(self, wanted: tuple[str, ...]) -> _Schedule:
        """The steps to execute, with the tensors that can be forgotten after each."""
        if wanted not in self._schedules:
            known = {*self.names, *self._plan.constants}
            unknown = [name for name in wanted if name not in known]
            if unknown:
                raise UnknownName("tensor", unknown, self.names, f"the graph {self.path or ''}".rstrip())
            steps = fused(needed(self._plan, wanted), self._plan.constants, wanted)
            self._schedules[wanted] = self._timed(steps, wanted)
        return self._schedules[wanted]

    def _timed(self, steps: Iterable[Step], wanted: tuple[str, ...]) -> _Schedule:
        """Steps with the tensors that can be forgotten after each."""
        steps = tuple(steps)
        last = {name: place for place, step in enumerate(steps) for name in (*self._plan.read(step), *step.outputs)}
        finished: list[list[str]] = [[] for _ in steps]
        for name, place in last.items():
            if name not in wanted and name not in self._plan.constants:
                finished[place].append(name)
        return tuple(zip(steps, map(tuple, finished), strict=True))

    def _execute(
        self,
        step: Step,
        values: dict[str, Any],
        constants: Mapping[str, Array],
        device: torch.device,
        run: _Run,
    ) -> None:
        """Run one step and enter its results."""
        arguments: list[Any] = []
        results: Any
        arrays = True
        for name in step.inputs:
            value = None if not name else values[name] if name in values else constants[name]
            arrays &= value is None or isinstance(value, np.ndarray)
            arguments.append(value)
        try:
            if step.operator == "If":
                results = self._branch(step, arguments[0], values, constants, device, run)
            elif arrays and step.operator in self.in_numpy:
                results = np.asarray(self.in_numpy[step.operator](step, *arguments))
            else:
                operator = self.in_torch[step.operator]
                for place, value in enumerate(arguments):
                    if isinstance(value, np.ndarray):
                        if place not in operator.plain:
                            arguments[place] = self._kept(step.inputs[place], value, constants, device, run)
                    elif value is not None and (step.operator in BY_VALUE or place in operator.plain):
                        run.repeats &= step.operator in BY_SHAPE
                results = operator.run(step, *arguments)
        except JettaggerError:
            raise
        except Exception as error:  # whatever torch and NumPy raise for shapes that do not fit
            given = zip(step.inputs, arguments, strict=True)
            shapes = ", ".join(f"{name} {list(np.shape(value))}" for name, value in given)
            raise ModelFileError(
                f"the node {step.name!r} ({step.operator}) cannot run in torch on {shapes}: {error}"
            ) from error
        for name, result in zip(step.outputs, results if isinstance(results, tuple) else (results,), strict=False):
            if name:
                values[name] = result

    def _branch(
        self,
        step: Step,
        condition: Any,
        values: dict[str, Any],
        constants: Mapping[str, Array],
        device: torch.device,
        run: _Run,
    ) -> tuple[Any, ...]:
        """The results of an inner graph."""
        run.repeats &= isinstance(condition, np.ndarray)
        body: GraphPlan = step.attributes["then_branch" if bool(condition) else "else_branch"]
        inner = dict(values)
        known = {**constants, **body.constants}
        for item in body.steps:
            self._execute(item, inner, known, device, run)
        return tuple(inner[name] if name in inner else known[name] for name in body.outputs)

    def _kept(
        self, name: str, value: Array, constants: Mapping[str, Array], device: torch.device, run: _Run
    ) -> torch.Tensor:
        """An array as a tensor, made once: per device for constants, per run for what depends on shapes."""
        if self._plan.constants.get(name) is value:
            key = (name, str(device))
            if key not in self._tensors:
                self._tensors[key] = _tensor(value, device)
            return self._tensors[key]
        if constants.get(name) is value:  # of an inner graph
            return _tensor(value, device)
        if name not in run.tensors:
            run.tensors[name] = _tensor(value, device)
        return run.tensors[name]


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def _tensor(value: Any, device: torch.device) -> torch.Tensor:
    """An array as a tensor; one that cannot be written to is copied."""
    if isinstance(value, torch.Tensor):
        return value
    array = np.ascontiguousarray(value) if value.ndim else np.asarray(value)
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)


def _element_type(item: Any, floating: str) -> torch.dtype:
    from onnx import helper

    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(item.type.tensor_type.elem_type))
    if dtype.kind == "f" and floating == "float64":
        return torch.float64
    return torch.from_numpy(np.zeros(1, dtype)).dtype


def _flat(array: Array) -> Array:
    return array.reshape(len(array), -1).astype(np.float64)


def _relative(new: Array, old: Array) -> Array:
    """Differences in units of 1e-5 * max(1, abs(value)); infinite where only one is finite."""
    same = (old == new) | (np.isnan(old) & np.isnan(new))
    with np.errstate(invalid="ignore"):
        change = np.abs(new - old) / (PROB_TOLERANCE * np.maximum(1, np.abs(old)))
    result: Array = np.where(same, 0, np.where(np.isfinite(change), change, np.inf))
    return result


guard(globals())
