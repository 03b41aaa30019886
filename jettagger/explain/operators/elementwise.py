"""Operators of single elements: arithmetic, comparisons, activations, casts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from jettagger.explain.operators import subgradients
from jettagger.explain.operators.table import Step, operator

__all__: list[str] = []


@operator("Add")
def _add(step: Step, x: Tensor, y: Tensor) -> Tensor:
    return x + y


@operator("Sub")
def _sub(step: Step, x: Tensor, y: Tensor) -> Tensor:
    return x - y


@operator("Mul")
def _mul(step: Step, x: Tensor, y: Tensor) -> Tensor:
    return x * y


@operator("Div")
def _div(step: Step, x: Tensor, y: Tensor) -> Tensor:
    if not x.is_floating_point():
        return torch.div(x, y, rounding_mode="trunc")
    return subgradients.divide(step, x, y)


@operator("Pow")
def _pow(step: Step, x: Tensor, y: Tensor) -> Tensor:
    if not x.is_floating_point():
        return torch.pow(x, y).to(x.dtype)
    return subgradients.power(step, x, y)


@operator("Mod")
def _mod(step: Step, x: Tensor, y: Tensor) -> Tensor:
    return torch.fmod(x, y) if step.get("fmod", 0) else torch.remainder(x, y)


@operator("Neg")
def _neg(step: Step, x: Tensor) -> Tensor:
    return -x


@operator("Abs")
def _abs(step: Step, x: Tensor) -> Tensor:
    return torch.abs(x)  # its derivative at 0 is 0


@operator("Sign")
def _sign(step: Step, x: Tensor) -> Tensor:
    return torch.sign(x)


@operator("Floor")
def _floor(step: Step, x: Tensor) -> Tensor:
    return torch.floor(x)


@operator("Ceil")
def _ceil(step: Step, x: Tensor) -> Tensor:
    return torch.ceil(x)


@operator("Round")
def _round(step: Step, x: Tensor) -> Tensor:
    return torch.round(x)


@operator("Sqrt")
def _sqrt(step: Step, x: Tensor) -> Tensor:
    return subgradients.sqrt(step, x)


@operator("Reciprocal")
def _reciprocal(step: Step, x: Tensor) -> Tensor:
    return subgradients.reciprocal(step, x)


@operator("Exp")
def _exp(step: Step, x: Tensor) -> Tensor:
    return subgradients.exp(step, x)


@operator("Log")
def _log(step: Step, x: Tensor) -> Tensor:
    return subgradients.log(step, x)


@operator("Sin")
def _sin(step: Step, x: Tensor) -> Tensor:
    return torch.sin(x)


@operator("Cos")
def _cos(step: Step, x: Tensor) -> Tensor:
    return torch.cos(x)


@operator("Atan")
def _atan(step: Step, x: Tensor) -> Tensor:
    return torch.atan(x)


@operator("Tanh")
def _tanh(step: Step, x: Tensor) -> Tensor:
    return torch.tanh(x)


@operator("Erf")
def _erf(step: Step, x: Tensor) -> Tensor:
    return torch.erf(x)


@operator("Sigmoid")
def _sigmoid(step: Step, x: Tensor) -> Tensor:
    return torch.sigmoid(x)


@operator("HardSigmoid")
def _hard_sigmoid(step: Step, x: Tensor) -> Tensor:
    return subgradients.clip(step.get("alpha", 0.2) * x + step.get("beta", 0.5), 0, 1)


@operator("Relu")
def _relu(step: Step, x: Tensor) -> Tensor:
    return torch.relu(x)


@operator("LeakyRelu")
def _leaky_relu(step: Step, x: Tensor) -> Tensor:
    return functional.leaky_relu(x, step.get("alpha", 0.01))


@operator("PRelu")
def _prelu(step: Step, x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x > 0, x, slope * x)


@operator("Elu")
def _elu(step: Step, x: Tensor) -> Tensor:
    return functional.elu(x, step.get("alpha", 1.0))


@operator("Selu")
def _selu(step: Step, x: Tensor) -> Tensor:
    alpha, gamma = step.get("alpha", 1.67326319217681884765625), step.get("gamma", 1.05070102214813232421875)
    return gamma * functional.elu(x, alpha)


@operator("Softplus")
def _softplus(step: Step, x: Tensor) -> Tensor:
    return functional.softplus(x)


@operator("Gelu")
def _gelu(step: Step, x: Tensor) -> Tensor:
    return functional.gelu(x, approximate=step.get("approximate", "none"))


@operator("fused Gelu")
def _fused_gelu(step: Step, x: Tensor) -> Tensor:
    return functional.gelu(x)


@operator("Clip")
def _clip(step: Step, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    smallest: Any = step.get("min") if low is None else low
    largest: Any = step.get("max") if high is None else high
    if isinstance(smallest, Tensor):
        smallest = smallest.item()
    if isinstance(largest, Tensor):
        largest = largest.item()
    return subgradients.clip(x, smallest, largest)


@operator("Max")
def _max(step: Step, first: Tensor, *others: Tensor) -> Tensor:
    for other in others:
        first = subgradients.larger(first, other)
    return first


@operator("Min")
def _min(step: Step, first: Tensor, *others: Tensor) -> Tensor:
    for other in others:
        first = subgradients.smaller(first, other)
    return first


@operator("Sum")
def _sum(step: Step, first: Tensor, *others: Tensor) -> Tensor:
    for other in others:
        first = first + other
    return first


@operator("Equal")
def _equal(step: Step, x: Tensor, y: Tensor) -> Tensor:
    return torch.eq(x, y)


@operator("Greater")
def _greater(step: Step, x: Tensor, y: Tensor) -> Tensor:
    return torch.gt(x, y)


@operator("GreaterOrEqual")
def _greater_or_equal(step: Step, x: Tensor, y: Tensor) -> Tensor:
    return torch.ge(x, y)


@operator("Less")
def _less(step: Step, x: Tensor, y: Tensor) -> Tensor:
    return torch.lt(x, y)


@operator("LessOrEqual")
def _less_or_equal(step: Step, x: Tensor, y: Tensor) -> Tensor:
    return torch.le(x, y)


@operator("Not")
def _not(step: Step, x: Tensor) -> Tensor:
    return torch.logical_not(x)


@operator("And")
def _and(step: Step, x: Tensor, y: Tensor) -> Tensor:
    return torch.logical_and(x, y)


@operator("Or")
def _or(step: Step, x: Tensor, y: Tensor) -> Tensor:
    return torch.logical_or(x, y)


@operator("IsNaN")
def _is_nan(step: Step, x: Tensor) -> Tensor:
    return torch.isnan(x)


@operator("Where")
def _where(step: Step, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return torch.where(condition, x, y)


@operator("Identity", "Dropout")
def _identity(step: Step, x: Tensor, *ignored: Tensor) -> Tensor | tuple[Tensor, Tensor]:
    if len(step.outputs) == 2:
        return x, torch.ones_like(x, dtype=torch.bool)
    return x


@operator("Cast")
def _cast(step: Step, x: Tensor) -> Tensor:
    from onnx import helper

    dtype = step.precision(np.dtype(helper.tensor_dtype_to_np_dtype(step.attributes["to"])))
    return x.to(torch.from_numpy(np.zeros((), dtype)).dtype)
