"""Operators on constants and shapes in NumPy: what decides on the shapes of tensors is never a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from jettagger.explain.operators.table import Step, array_operator
from jettagger.types import Array

__all__: list[str] = []


def _axes(step: Step, axes: Array | None) -> list[int] | None:
    wanted = step.get("axes") if axes is None else axes.reshape(-1).tolist()
    return None if wanted is None else [int(axis) for axis in wanted]


@array_operator("Add")
def _add(step: Step, x: Array, y: Array) -> Array:
    return x + y


@array_operator("Sub")
def _sub(step: Step, x: Array, y: Array) -> Array:
    return x - y


@array_operator("Mul")
def _mul(step: Step, x: Array, y: Array) -> Array:
    return x * y


@array_operator("Div")
def _div(step: Step, x: Array, y: Array) -> Array:
    if x.dtype.kind in "iu":  # towards zero, unlike the division of Python
        return (np.sign(x) * np.sign(y) * (np.abs(x) // np.abs(y))).astype(x.dtype)
    return x / y


@array_operator("Sqrt")
def _sqrt(step: Step, x: Array) -> Array:
    return np.sqrt(x)


@array_operator("Floor")
def _floor(step: Step, x: Array) -> Array:
    return np.floor(x)


@array_operator("Equal")
def _equal(step: Step, x: Array, y: Array) -> Array:
    return np.equal(x, y)


@array_operator("Greater")
def _greater(step: Step, x: Array, y: Array) -> Array:
    return np.greater(x, y)


@array_operator("Less")
def _less(step: Step, x: Array, y: Array) -> Array:
    return np.less(x, y)


@array_operator("Not")
def _not(step: Step, x: Array) -> Array:
    return np.logical_not(x)


@array_operator("Where")
def _where(step: Step, condition: Array, x: Array, y: Array) -> Array:
    return np.where(condition, x, y)


@array_operator("Max")
def _max(step: Step, *values: Array) -> Array:
    return np.max(np.broadcast_arrays(*values), axis=0)


@array_operator("Min")
def _min(step: Step, *values: Array) -> Array:
    return np.min(np.broadcast_arrays(*values), axis=0)


@array_operator("Cast")
def _cast(step: Step, x: Array) -> Array:
    from onnx import helper

    return x.astype(step.precision(np.dtype(helper.tensor_dtype_to_np_dtype(step.attributes["to"]))))


@array_operator("Shape")
def _shape(step: Step, x: Array) -> Array:
    return np.array(x.shape[step.get("start", 0) : step.get("end")], dtype=np.int64)


@array_operator("Identity")
def _identity(step: Step, x: Array) -> Array:
    return x


@array_operator("Gather")
def _gather(step: Step, x: Array, index: Array) -> Array:
    return np.asarray(np.take(x, index, axis=step.get("axis", 0)))


@array_operator("Concat")
def _concat(step: Step, *parts: Array) -> Array:
    return np.concatenate(parts, axis=step.attributes["axis"])


@array_operator("Unsqueeze")
def _unsqueeze(step: Step, x: Array, axes: Array | None = None) -> Array:
    return np.expand_dims(x, tuple(_axes(step, axes) or ()))


@array_operator("Squeeze")
def _squeeze(step: Step, x: Array, axes: Array | None = None) -> Array:
    wanted = _axes(step, axes)
    return np.squeeze(x, None if wanted is None else tuple(wanted))


@array_operator("Reshape")
def _reshape(step: Step, x: Array, shape: Array) -> Array:
    sizes = shape.tolist()
    if not step.get("allowzero", 0):
        sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return x.reshape(sizes)


@array_operator("Transpose")
def _transpose(step: Step, x: Array) -> Array:
    return np.transpose(x, step.get("perm"))


@array_operator("Slice")
def _slice(
    step: Step,
    x: Array,
    starts: Array | None = None,
    ends: Array | None = None,
    axes: Array | None = None,
    strides: Array | None = None,
) -> Array:
    first = step.attributes["starts"] if starts is None else starts.tolist()
    last = step.attributes["ends"] if ends is None else ends.tolist()
    along = _axes(step, axes)
    by = [1] * len(first) if strides is None else strides.tolist()
    index: list[Any] = [slice(None)] * x.ndim
    for begin, end, axis, stride in zip(first, last, range(len(first)) if along is None else along, by, strict=True):
        index[axis] = slice(begin, end, stride)
    return x[tuple(index)]


@array_operator("ConstantOfShape")
def _constant_of_shape(step: Step, shape: Array) -> Array:
    value = np.asarray(step.get("value", np.zeros(1, dtype=np.float32)))
    return np.full(shape.tolist(), value.reshape(-1)[0], dtype=step.precision(value.dtype))


@array_operator("Trilu")
def _trilu(step: Step, x: Array, diagonal: Array | None = None) -> Array:
    shift = 0 if diagonal is None else int(diagonal.item())
    return np.triu(x, shift) if step.get("upper", 1) else np.tril(x, shift)


@array_operator("NonZero")
def _non_zero(step: Step, x: Array) -> Array:
    return np.stack(np.nonzero(x)).astype(np.int64)


@array_operator("Range")
def _range(step: Step, start: Array, limit: Array, delta: Array) -> Array:
    return np.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


@array_operator("Expand")
def _expand(step: Step, x: Array, shape: Array) -> Array:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape.tolist())))


@array_operator("Tile")
def _tile(step: Step, x: Array, repeats: Array) -> Array:
    return np.tile(x, repeats.tolist())


@array_operator("ReduceProd")
def _reduce_prod(step: Step, x: Array, axes: Array | None = None) -> Array:
    wanted = _axes(step, axes)
    along = None if wanted is None else tuple(wanted)
    return np.asarray(np.prod(x, axis=along, keepdims=bool(step.get("keepdims", 1)), dtype=x.dtype))
