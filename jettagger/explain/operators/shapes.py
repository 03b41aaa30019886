"""Operators that rearrange elements: shapes, axes, joining, cutting, filling."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from jettagger.explain.operators.table import Step, integers, operator
from jettagger.types import Array

__all__: list[str] = []


@operator("Shape", plain=(0,))
def _shape(step: Step, x: Tensor | Array) -> Array:
    """The shape of a tensor is an array, so that what follows is arithmetic in NumPy."""
    return np.array(tuple(x.shape)[step.get("start", 0) : step.get("end")], dtype=np.int64)


@operator("Size", plain=(0,))
def _size(step: Step, x: Tensor | Array) -> Array:
    return np.array(int(np.prod(tuple(x.shape))), dtype=np.int64)


@operator("Reshape", plain=(1,))
def _reshape(step: Step, x: Tensor, shape: Tensor | Array | None = None) -> Tensor:
    sizes = list(step.attributes["shape"]) if shape is None else integers(shape)
    if not step.get("allowzero", 0):
        sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return x.reshape(sizes)


@operator("Flatten")
def _flatten(step: Step, x: Tensor) -> Tensor:
    axis = step.get("axis", 1)
    first = x.shape[:axis]
    return x.reshape(int(np.prod(first)), int(np.prod(x.shape[axis:])))


@operator("Transpose")
def _transpose(step: Step, x: Tensor) -> Tensor:
    return x.permute(step.get("perm") or list(range(x.ndim))[::-1])


@operator("Unsqueeze", plain=(1,))
def _unsqueeze(step: Step, x: Tensor, axes: Tensor | Array | None = None) -> Tensor:
    wanted = list(step.attributes["axes"]) if axes is None else integers(axes)
    n_axes = x.ndim + len(wanted)
    for axis in sorted(axis % n_axes for axis in wanted):
        x = x.unsqueeze(axis)
    return x


@operator("Squeeze", plain=(1,))
def _squeeze(step: Step, x: Tensor, axes: Tensor | Array | None = None) -> Tensor:
    wanted = step.get("axes") if axes is None else integers(axes)
    if wanted is None:
        return x.squeeze()
    return x.squeeze(tuple(wanted))


@operator("Concat")
def _concat(step: Step, *parts: Tensor) -> Tensor:
    return torch.cat(parts, dim=step.attributes["axis"])


@operator("Split", plain=(1,))
def _split(step: Step, x: Tensor, sizes: Tensor | Array | None = None) -> tuple[Tensor, ...]:
    axis = step.get("axis", 0)
    wanted = step.get("split") if sizes is None else integers(sizes)
    if wanted is None:
        number = step.get("num_outputs", len(step.outputs))
        size = -(-x.shape[axis] // number)
        wanted = [size] * (number - 1) + [x.shape[axis] - size * (number - 1)]
    return tuple(torch.split(x, list(wanted), dim=axis))


@operator("Expand", plain=(1,))
def _expand(step: Step, x: Tensor, shape: Tensor | Array) -> Tensor:
    # sizes of one keep those of the tensor
    return x.expand(torch.broadcast_shapes(x.shape, tuple(integers(shape))))


@operator("Tile", plain=(1,))
def _tile(step: Step, x: Tensor, repeats: Tensor | Array) -> Tensor:
    return x.repeat(integers(repeats))


@operator("Slice", plain=(1, 2, 3, 4))
def _slice(
    step: Step,
    x: Tensor,
    starts: Tensor | Array | None = None,
    ends: Tensor | Array | None = None,
    axes: Tensor | Array | None = None,
    strides: Tensor | Array | None = None,
) -> Tensor:
    first = list(step.attributes["starts"]) if starts is None else integers(starts)
    last = list(step.attributes["ends"]) if ends is None else integers(ends)
    along = step.get("axes") if axes is None else integers(axes)
    by = [1] * len(first) if strides is None else integers(strides)
    index: list[Any] = [slice(None)] * x.ndim
    for begin, end, axis, stride in zip(first, last, along or range(len(first)), by, strict=True):
        if stride < 0:
            places = list(range(x.shape[axis]))[begin:end:stride]
            x = x.index_select(axis, torch.tensor(places, dtype=torch.int64, device=x.device))
        else:
            index[axis] = slice(begin, end, stride)
    return x[tuple(index)]


@operator("Pad", plain=(1, 2, 3))
def _pad(
    step: Step,
    x: Tensor,
    pads: Tensor | Array | None = None,
    value: Tensor | Array | None = None,
    axes: Tensor | Array | None = None,
) -> Tensor:
    mode = step.get("mode", "constant")
    if mode != "constant":
        raise step.refuse(f"mode {mode!r}")
    widths = list(step.attributes["pads"]) if pads is None else integers(pads)
    along = list(range(x.ndim)) if axes is None else integers(axes)
    filled = step.get("value", 0.0) if value is None else float(value)
    pairs = [[0, 0] for _ in range(x.ndim)]
    for place, axis in enumerate(along):
        pairs[axis] = [widths[place], widths[place + len(along)]]
    return functional.pad(x, [width for pair in reversed(pairs) for width in pair], value=filled)


@operator("ConstantOfShape", plain=(0,))
def _constant_of_shape(step: Step, shape: Tensor | Array) -> Tensor:
    value = step.get("value", np.zeros(1, dtype=np.float32))
    filled = torch.from_numpy(np.asarray(value).astype(step.precision(value.dtype)))
    return filled.reshape(()).expand(integers(shape)).clone()


@operator("Range", plain=(0, 1, 2))
def _range(step: Step, start: Any, limit: Any, delta: Any) -> Tensor:
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=torch.as_tensor(start).dtype)


@operator("Trilu", plain=(1,))
def _trilu(step: Step, x: Tensor, diagonal: Tensor | Array | None = None) -> Tensor:
    shift = 0 if diagonal is None else int(diagonal.item())
    return torch.triu(x, shift) if step.get("upper", 1) else torch.tril(x, shift)
