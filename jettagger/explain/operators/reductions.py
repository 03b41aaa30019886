"""Operators that reduce axes: sums, means, extremes, softmax, and the order of elements."""

from __future__ import annotations

import torch
from torch import Tensor

from jettagger.explain.operators.table import Step, integers, operator
from jettagger.types import Array

__all__: list[str] = []


def _axes(step: Step, x: Tensor, axes: Tensor | Array | None) -> tuple[int, ...] | None:
    """The axes to reduce; None if the tensor stays as it is."""
    wanted = step.get("axes") if axes is None else integers(axes)
    if wanted:
        return tuple(axis % x.ndim for axis in wanted)
    return None if step.get("noop_with_empty_axes", 0) else tuple(range(x.ndim))


@operator("ReduceSum", plain=(1,))
def _reduce_sum(step: Step, x: Tensor, axes: Tensor | Array | None = None) -> Tensor:
    along = _axes(step, x, axes)
    return x if along is None else x.sum(dim=along, keepdim=bool(step.get("keepdims", 1)), dtype=x.dtype)


@operator("ReduceMean", plain=(1,))
def _reduce_mean(step: Step, x: Tensor, axes: Tensor | Array | None = None) -> Tensor:
    along = _axes(step, x, axes)
    return x if along is None else x.mean(dim=along, keepdim=bool(step.get("keepdims", 1)))


@operator("ReduceMax", plain=(1,))
def _reduce_max(step: Step, x: Tensor, axes: Tensor | Array | None = None) -> Tensor:
    along = _axes(step, x, axes)
    return x if along is None else x.amax(dim=along, keepdim=bool(step.get("keepdims", 1)))


@operator("ReduceMin", plain=(1,))
def _reduce_min(step: Step, x: Tensor, axes: Tensor | Array | None = None) -> Tensor:
    along = _axes(step, x, axes)
    return x if along is None else x.amin(dim=along, keepdim=bool(step.get("keepdims", 1)))


@operator("ReduceProd", plain=(1,))
def _reduce_prod(step: Step, x: Tensor, axes: Tensor | Array | None = None) -> Tensor:
    along = _axes(step, x, axes)
    for axis in sorted(along or (), reverse=True):
        x = x.prod(dim=axis, keepdim=bool(step.get("keepdims", 1)), dtype=x.dtype)
    return x


@operator("Softmax")
def _softmax(step: Step, x: Tensor) -> Tensor:
    if step.version >= 13:
        return torch.softmax(x, dim=step.get("axis", -1))
    axis = step.get("axis", 1) % x.ndim
    return torch.softmax(x.flatten(axis), dim=-1).reshape(x.shape)


@operator("LogSoftmax")
def _log_softmax(step: Step, x: Tensor) -> Tensor:
    if step.version >= 13:
        return torch.log_softmax(x, dim=step.get("axis", -1))
    axis = step.get("axis", 1) % x.ndim
    return torch.log_softmax(x.flatten(axis), dim=-1).reshape(x.shape)


@operator("TopK", plain=(1,))
def _top_k(step: Step, x: Tensor, number: Tensor | Array | None = None) -> tuple[Tensor, Tensor]:
    axis = step.get("axis", -1)
    count = int(step.attributes["k"]) if number is None else integers(number)[0]
    # a stable order, as ONNX Runtime: of equal elements the first
    places = torch.argsort(x, dim=axis, descending=bool(step.get("largest", 1)), stable=True)
    places = places.narrow(axis, 0, count)
    return torch.gather(x, axis, places), places


@operator("ArgMax")
def _arg_max(step: Step, x: Tensor) -> Tensor:
    if step.get("select_last_index", 0):
        raise step.refuse("select_last_index")
    return torch.argmax(x, dim=step.get("axis", 0), keepdim=bool(step.get("keepdims", 1)))


@operator("CumSum", plain=(1,))
def _cum_sum(step: Step, x: Tensor, axis: Tensor | Array) -> Tensor:
    if step.get("exclusive", 0) or step.get("reverse", 0):
        raise step.refuse("exclusive or reverse sums")
    return torch.cumsum(x, dim=int(axis.item()))
