"""A graph of ONNX as steps in order: attributes as values, constants as arrays, inner graphs as plans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jettagger.display import Brief
from jettagger.errors import Unsupported, nearest
from jettagger.explain.operators import TENSORS, Step
from jettagger.types import Array

__all__ = ["CONTROL", "MIN_VERSION", "GraphPlan", "make_plan", "needed", "unsupported"]

#: operators that the executor runs itself
CONTROL = ("If",)

#: operators of earlier sets broadcast by attributes, and have none of the forms that exporters write today
MIN_VERSION = 7


@dataclass(frozen=True)
class GraphPlan(Brief):
    """A graph whose nodes are in an order in which they can run.

    Parameters
    ----------
    steps : tuple of Step
    constants : dict of str to array
        Initialisers and constants.
    inputs, outputs : tuple of str
    """

    steps: tuple[Step, ...]
    constants: dict[str, Array]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def read(self, step: Step) -> list[str]:
        """All tensors that a step reads, those of inner graphs included."""
        return [name for name in (*step.inputs, *self.captured(step)) if name]

    @staticmethod
    def captured(step: Step) -> list[str]:
        """The tensors of outer graphs that the inner graphs of a step read."""
        names: list[str] = []
        for value in step.attributes.values():
            if isinstance(value, GraphPlan):
                made = {*value.constants, *(name for inner in value.steps for name in inner.outputs)}
                read = [name for inner in value.steps for name in value.read(inner)]
                names += [name for name in (*read, *value.outputs) if name not in made]
        return names


def make_plan(graph: Any, version: int, floating: str, replaced: Counter[str]) -> GraphPlan:
    """The steps of a graph.

    Parameters
    ----------
    graph : onnx.GraphProto
    version : int
        Version of ONNX's own operators.
    floating : {"float32", "float64"}
        Precision of numbers that are single in the file.
    replaced : collections.Counter
        See `Step`.

    Returns
    -------
    GraphPlan
    """
    from onnx import numpy_helper

    constants = {item.name: _number(numpy_helper.to_array(item), floating) for item in graph.initializer}
    steps = []
    for node in graph.node:
        attributes = {item.name: _value(item, version, floating, replaced) for item in node.attribute}
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            constants[node.output[0]] = _number(_constant(attributes), floating)
            continue
        domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}."
        steps.append(
            Step(
                name=node.name or node.output[0],
                operator=domain + node.op_type,
                version=version,
                attributes=attributes,
                inputs=tuple(node.input),
                outputs=tuple(node.output),
                floating=floating,
                replaced=replaced,
            )
        )
    inputs = tuple(item.name for item in graph.input if item.name not in constants)
    return GraphPlan(tuple(steps), constants, inputs, tuple(item.name for item in graph.output))


def _number(value: Array, floating: str) -> Array:
    """A constant in the precision of the run."""
    return value.astype(np.float64) if floating == "float64" and value.dtype.kind == "f" else value


def _constant(attributes: dict[str, Any]) -> Array:
    """The value of a node of type Constant."""
    (name, value), *_ = attributes.items()
    if name in ("value_float", "value_floats"):
        return np.array(value, dtype=np.float32)
    return np.array(value, dtype=np.int64) if name in ("value_int", "value_ints") else np.asarray(value)


def _value(attribute: Any, version: int, floating: str, replaced: Counter[str]) -> Any:
    """An attribute as a Python value."""
    from onnx import AttributeProto, helper, numpy_helper

    if attribute.type == AttributeProto.GRAPH:
        return make_plan(attribute.g, version, floating, replaced)
    value = helper.get_attribute_value(attribute)
    if attribute.type == AttributeProto.TENSOR:
        return numpy_helper.to_array(value)
    if isinstance(value, bytes):
        return value.decode()
    if attribute.type == AttributeProto.STRINGS:
        return [item.decode() for item in value]
    return list(value) if isinstance(value, Sequence) else value


def unsupported(plan: GraphPlan) -> Unsupported | None:
    """The error for the first operator that has no implementation.

    Parameters
    ----------
    plan : GraphPlan

    Returns
    -------
    Unsupported or None
        Names the operator, its node, the version of the operators, and the implementations with a similar name.
    """
    known = {*TENSORS, *CONTROL}
    for step in plan.steps:
        if step.version < MIN_VERSION:
            return Unsupported(
                f"the file has version {step.version} of the operators, expected at least {MIN_VERSION}: convert it "
                "with onnx.version_converter.convert_version"
            )
        if step.operator not in known:
            close = nearest(step.operator, known)
            return Unsupported(
                f"the operator {step.operator} (node {step.name!r}, version {step.version} of the operators) has no "
                f"implementation in torch; there are {len(known)}"
                + (f", the nearest of them {', '.join(close)}" if close else "")
            )
        for value in step.attributes.values():
            if isinstance(value, GraphPlan) and (error := unsupported(value)) is not None:
                return error
    return None


def needed(plan: GraphPlan, names: Iterable[str]) -> tuple[Step, ...]:
    """The steps that some tensors depend on, in order.

    Parameters
    ----------
    plan : GraphPlan
    names : iterable of str

    Returns
    -------
    tuple of Step
    """
    wanted = set(names)
    chosen = []
    for step in reversed(plan.steps):
        if wanted.intersection(step.outputs):
            chosen.append(step)
            wanted.update(plan.read(step))
    return tuple(reversed(chosen))
