"""Convolutions and poolings."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from jettagger.explain.operators.table import Step, operator

__all__: list[str] = []


def _sides(step: Step, x: Tensor, kernel: list[int], strides: list[int], dilations: list[int]) -> list[tuple[int, int]]:
    """Padding before and after, for each axis of the image."""
    n_axes = len(kernel)
    mode = step.get("auto_pad", "NOTSET")
    if mode == "VALID":
        return [(0, 0)] * n_axes
    if mode == "NOTSET":
        pads = list(step.get("pads") or [0] * 2 * n_axes)
        return list(zip(pads[:n_axes], pads[n_axes:], strict=True))
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise step.refuse(f"auto_pad {mode!r}")
    sides = []
    for size, width, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        missing = max((-(-size // stride) - 1) * stride + (width - 1) * dilation + 1 - size, 0)
        small, large = missing // 2, missing - missing // 2
        sides.append((small, large) if mode == "SAME_UPPER" else (large, small))
    return sides


def _padded(x: Tensor, sides: list[tuple[int, int]], value: float = 0.0) -> Tensor:
    if not any(map(any, sides)):
        return x
    return functional.pad(x, [width for pair in reversed(sides) for width in pair], value=value)


@operator("Conv")
def _conv(step: Step, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    n_axes = x.ndim - 2
    kernel = list(weight.shape[2:])
    strides = list(step.get("strides") or [1] * n_axes)
    dilations = list(step.get("dilations") or [1] * n_axes)
    groups = step.get("group", 1)
    x = _padded(x, _sides(step, x, kernel, strides, dilations))
    if kernel == [1] * n_axes == strides and groups == 1:  # a product of matrices, which is faster
        matrix, columns = weight.flatten(1).expand(len(x), -1, -1), x.flatten(2)
        flat = torch.bmm(matrix, columns) if bias is None else torch.baddbmm(bias[None, :, None], matrix, columns)
        return flat.reshape(x.shape[0], -1, *x.shape[2:])
    if n_axes not in (1, 2, 3):
        raise step.refuse(f"{n_axes} axes")
    function: Any = (functional.conv1d, functional.conv2d, functional.conv3d)[n_axes - 1]
    return function(x, weight, bias, strides, 0, dilations, groups)


def _pool(step: Step, x: Tensor) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    kernel = list(step.attributes["kernel_shape"])
    strides = list(step.get("strides") or [1] * len(kernel))
    dilations = list(step.get("dilations") or [1] * len(kernel))
    if len(kernel) not in (1, 2) or set(dilations) != {1}:
        raise step.refuse(f"{len(kernel)} axes, dilations {dilations}")
    if step.get("ceil_mode", 0):
        raise step.refuse("ceil_mode")
    return kernel, strides, _sides(step, x, kernel, strides, dilations)


@operator("MaxPool")
def _max_pool(step: Step, x: Tensor) -> Tensor:
    if len(step.outputs) > 1:
        raise step.refuse("indices as a second output")
    kernel, strides, sides = _pool(step, x)
    function: Any = functional.max_pool1d if len(kernel) == 1 else functional.max_pool2d
    return function(_padded(x, sides, -torch.inf), kernel, strides)


@operator("AveragePool")
def _average_pool(step: Step, x: Tensor) -> Tensor:
    kernel, strides, sides = _pool(step, x)
    function: Any = functional.avg_pool1d if len(kernel) == 1 else functional.avg_pool2d
    means = function(_padded(x, sides), kernel, strides)
    if step.get("count_include_pad", 0) or not any(map(any, sides)):
        return means
    return means / function(_padded(torch.ones_like(x[:1, :1]), sides), kernel, strides)


@operator("GlobalAveragePool")
def _global_average_pool(step: Step, x: Tensor) -> Tensor:
    return x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)


@operator("GlobalMaxPool")
def _global_max_pool(step: Step, x: Tensor) -> Tensor:
    return x.amax(dim=tuple(range(2, x.ndim)), keepdim=True)
