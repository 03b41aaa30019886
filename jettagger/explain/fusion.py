"""Several steps as one: layer normalisations, GELU and biases that an exporter wrote as single operations.

One operation of torch in the place of nine reads and writes each tensor once. Steps whose results are asked for stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from jettagger.explain.operators import Step
from jettagger.explain.plan import GraphPlan
from jettagger.types import Array

__all__ = ["FUSED", "fused"]

#: operators of this module, which are no operators of ONNX
FUSED = ("fused Gelu", "fused LayerNormalization", "fused Linear")

#: a step that replaces others, and those that it replaces, the last one included
_Match = tuple[Step, tuple[Step, ...]]


class _View:
    """Who makes a tensor, and what is constant."""

    def __init__(self, made: Mapping[str, Step], constants: Mapping[str, Array]) -> None:
        self.made, self.constants = made, constants

    def maker(self, name: str, operator: str) -> Step | None:
        """The step that makes a tensor, if it is of a type."""
        step = self.made.get(name)
        return step if step is not None and step.operator == operator else None

    def is_number(self, name: str, value: float) -> bool:
        """Whether a tensor is a constant number."""
        constant = self.constants.get(name)
        return constant is not None and constant.size == 1 and bool(np.isclose(constant.reshape(())[()], value, 1e-6))

    def split(self, step: Step, operator: str) -> tuple[Step, str] | None:
        """The operand that a step of a type makes, and the other one."""
        for one, other in (step.inputs, step.inputs[::-1]):
            if (maker := self.maker(one, operator)) is not None:
                return maker, other
        return None


def _gelu(last: Step, view: _View) -> _Match | None:
    """``x * (1 + erf(x / sqrt(2))) * 0.5``."""
    if last.operator != "Mul" or (found := view.split(last, "Mul")) is None or not view.is_number(found[1], 0.5):
        return None
    product = found[0]
    if (found := view.split(product, "Add")) is None:
        return None
    plus, x = found
    if (found := view.split(plus, "Erf")) is None or not view.is_number(found[1], 1):
        return None
    error = found[0]
    scaled = view.maker(error.inputs[0], "Div")
    if scaled is None or scaled.inputs[0] != x or not view.is_number(scaled.inputs[1], 2**0.5):
        return None
    return replace(last, operator="fused Gelu", inputs=(x,), attributes={}), (scaled, error, plus, product, last)


def _layer_norm(last: Step, view: _View) -> _Match | None:
    """``(x - mean) / sqrt(mean((x - mean)^2) + epsilon) * scale + bias``, along the last axis."""
    if last.operator != "Add" or (found := view.split(last, "Mul")) is None:
        return None
    product, bias = found
    if (found := view.split(product, "Div")) is None:
        return None
    quotient, scale = found
    centred, root = view.maker(quotient.inputs[0], "Sub"), view.maker(quotient.inputs[1], "Sqrt")
    shifted = None if root is None else view.maker(root.inputs[0], "Add")
    variance = None if shifted is None else view.split(shifted, "ReduceMean")
    if centred is None or root is None or shifted is None or variance is None:
        return None
    square, mean = view.maker(variance[0].inputs[0], "Pow"), view.maker(centred.inputs[1], "ReduceMean")
    if square is None or mean is None or not view.is_number(square.inputs[1], 2):
        return None
    x, epsilon = mean.inputs[0], view.constants.get(variance[1])
    last_axis = all(list(step.get("axes", [])) == [-1] and step.get("keepdims", 1) for step in (mean, variance[0]))
    sizes = [view.constants[name].shape if name in view.constants else () for name in (scale, bias)]
    right = centred.inputs[0] == x and square.inputs[0] == centred.outputs[0] and last_axis
    if not right or epsilon is None or epsilon.size != 1 or len(sizes[0]) != 1 or sizes[0] != sizes[1]:
        return None
    attributes = {"epsilon": float(epsilon.reshape(())), "size": sizes[0][0]}
    covered = (mean, centred, square, variance[0], shifted, root, quotient, product, last)
    return replace(last, operator="fused LayerNormalization", inputs=(x, scale, bias), attributes=attributes), covered


def _linear(last: Step, view: _View) -> _Match | None:
    """``x @ weight + bias``."""
    if last.operator != "Add" or (found := view.split(last, "MatMul")) is None:
        return None
    product, bias = found
    x, weight = product.inputs
    shapes = [view.constants[name].shape if name in view.constants else () for name in (weight, bias)]
    if len(shapes[0]) != 2 or shapes[1] != shapes[0][1:]:
        return None
    return replace(last, operator="fused Linear", inputs=(x, weight, bias), attributes={}), (product, last)


_RULES: tuple[Callable[[Step, _View], _Match | None], ...] = (_gelu, _layer_norm, _linear)


def fused(steps: Sequence[Step], constants: Mapping[str, Array], wanted: Collection[str]) -> tuple[Step, ...]:
    """The same computation in fewer steps.

    Parameters
    ----------
    steps : sequence of Step
        In order.
    constants : mapping of str to array[...]
    wanted : collection of str
        Tensors whose values are asked for.

    Returns
    -------
    tuple of Step
    """
    view = _View({name: step for step in steps for name in step.outputs}, constants)
    readers = Counter(name for step in steps for name in (*step.inputs, *GraphPlan.captured(step)))
    gone: set[int] = set()
    made: dict[int, Step] = {}
    for step in steps:
        for rule in _RULES:
            match = rule(step, view)
            if match is None:
                continue
            new, covered = match
            inside = Counter(name for item in covered for name in item.inputs)
            inner = [name for item in covered[:-1] for name in item.outputs]
            alone = all(readers[name] == inside[name] and name not in wanted for name in inner)
            if alone and gone.isdisjoint(map(id, covered)):
                gone.update(id(item) for item in covered[:-1])
                made[id(step)] = new
                break
    return tuple(made.get(id(step), step) for step in steps if id(step) not in gone)
