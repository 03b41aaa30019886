"""Functions whose derivative is infinite or undefined somewhere.

Square roots and fractional powers at 0, logarithms at 0 and below, quotients and reciprocals with a denominator of 0,
and exponentials that overflow: there the derivative is 0, and is counted. A derivative that arrives as 0 stays 0,
whatever it is multiplied with: a value that is masked later contributes nothing, even if it is infinite.

Values that are clipped have the derivative 0 beyond the bound and at it. Where two values that both depend on the
inputs are equal, each has half of the derivative of their maximum or minimum.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from jettagger.explain.operators.table import Step

__all__ = ["clip", "divide", "exp", "larger", "log", "power", "reciprocal", "smaller", "sqrt"]

#: largest constant that is searched for zeros
SMALL = 4096


def sqrt(step: Step, x: Tensor) -> Tensor:
    """Square root; its derivative at 0 is 0."""
    return _Sqrt.apply(x, step) if x.requires_grad else torch.sqrt(x)


def log(step: Step, x: Tensor) -> Tensor:
    """Natural logarithm; its derivative is 0 where it is not finite."""
    return _Log.apply(x, step) if x.requires_grad else torch.log(x)


def exp(step: Step, x: Tensor) -> Tensor:
    """Exponential; its derivative is 0 where it overflows."""
    return _Exp.apply(x, step) if x.requires_grad else torch.exp(x)


def reciprocal(step: Step, x: Tensor) -> Tensor:
    """1 / x; its derivative at 0 is 0."""
    return _Divide.apply(torch.ones_like(x), x, step) if x.requires_grad else torch.reciprocal(x)


def divide(step: Step, x: Tensor, y: Tensor) -> Tensor:
    """x / y; its derivatives are 0 where y is."""
    if not (x.requires_grad or y.requires_grad):
        return x / y
    if not y.requires_grad and y.numel() <= SMALL and (y.item() != 0 if y.numel() == 1 else bool(torch.all(y != 0))):
        return x / y
    return _Divide.apply(x, y, step)


def power(step: Step, x: Tensor, y: Tensor) -> Tensor:
    """x ** y; its derivatives are 0 where they are not finite."""
    if y.numel() == 1 and not y.requires_grad and y.ndim <= x.ndim:
        exponent = float(y)
        if exponent == 2:
            return x * x
        if exponent == 0.5:
            return sqrt(step, x)
        if exponent == 1:
            return x
    if not (x.requires_grad or y.requires_grad):
        return torch.pow(x, y)
    return _Power.apply(x, y, step)


def larger(x: Tensor, y: Tensor) -> Tensor:
    """Maximum; if only one of the two depends on the inputs the other one is a bound."""
    if x.requires_grad and not y.requires_grad:
        return _AtLeast.apply(x, y)
    if y.requires_grad and not x.requires_grad:
        return _AtLeast.apply(y, x)
    return torch.maximum(x, y)


def smaller(x: Tensor, y: Tensor) -> Tensor:
    """Minimum; if only one of the two depends on the inputs the other one is a bound."""
    if x.requires_grad and not y.requires_grad:
        return _AtMost.apply(x, y)
    if y.requires_grad and not x.requires_grad:
        return _AtMost.apply(y, x)
    return torch.minimum(x, y)


def clip(x: Tensor, low: float | None, high: float | None) -> Tensor:
    """Values between two bounds, each of which may be absent; all are ``high`` if this is below ``low``."""
    if low is None and high is None:
        return x
    if not x.requires_grad:
        return torch.clamp(x, low, high)
    if low is not None and high is not None and low >= high:
        return torch.clamp(x.detach(), low, high)
    lowest, highest = -torch.inf if low is None else low, torch.inf if high is None else high
    return functional.hardtanh(x, lowest, highest)  # clamp has the derivative 1 at the bounds


class _AtLeast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bound: Tensor) -> Tensor:
        ctx.save_for_backward(x > bound)
        ctx.shape = x.shape
        return torch.maximum(x, bound)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return torch.where(inside, upstream, 0).sum_to_size(ctx.shape), None


class _AtMost(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bound: Tensor) -> Tensor:
        ctx.save_for_backward(x < bound)
        ctx.shape = x.shape
        return torch.minimum(x, bound)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return torch.where(inside, upstream, 0).sum_to_size(ctx.shape), None


def _finite(product: Tensor, upstream: Tensor, step: Step) -> Tensor:
    """A product of derivatives, 0 where it is not finite although the factor that arrived is."""
    if bool(torch.isfinite(product.sum())):  # one pass in most cases; an infinity cannot vanish in a sum
        return product
    bad = ~torch.isfinite(product) & torch.isfinite(upstream)
    if count := int((bad & (upstream != 0)).sum()):
        step.replaced[step.name] += count
    return product.masked_fill(bad, 0)


class _Sqrt(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Step) -> Tensor:
        root = torch.sqrt(x)
        ctx.save_for_backward(root)
        ctx.step = step
        return root

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        (root,) = ctx.saved_tensors
        return _finite(upstream / (2 * root), upstream, ctx.step), None


class _Log(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Step) -> Tensor:
        ctx.save_for_backward(x)
        ctx.step = step
        return torch.log(x)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        # below 0 the logarithm is NaN, and has no derivative
        return _finite(upstream / torch.where(x > 0, x, 0), upstream, ctx.step), None


class _Exp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Step) -> Tensor:
        result = torch.exp(x)
        ctx.save_for_backward(result)
        ctx.step = step
        return result

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        (result,) = ctx.saved_tensors
        return _finite(upstream * result, upstream, ctx.step), None


class _Divide(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, step: Step) -> Tensor:
        ctx.save_for_backward(x, y)
        ctx.step = step
        return x / y

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, y = ctx.saved_tensors
        along_x = along_y = None
        per_x = upstream / y
        if ctx.needs_input_grad[1]:
            along_y = _finite(-per_x * (x / y), upstream, ctx.step).sum_to_size(y.shape)
        if ctx.needs_input_grad[0]:
            along_x = _finite(per_x, upstream, ctx.step).sum_to_size(x.shape)
        return along_x, along_y, None


class _Power(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, step: Step) -> Tensor:
        ctx.save_for_backward(x, y)
        ctx.step = step
        return torch.pow(x, y)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, y = ctx.saved_tensors
        along_x = along_y = None
        if ctx.needs_input_grad[0]:
            along_x = _finite(upstream * y * torch.pow(x, y - 1), upstream, ctx.step).sum_to_size(x.shape)
        if ctx.needs_input_grad[1]:
            slope = torch.pow(x, y) * torch.log(x)
            along_y = _finite(upstream * slope, upstream, ctx.step).sum_to_size(y.shape)
        return along_x, along_y, None
