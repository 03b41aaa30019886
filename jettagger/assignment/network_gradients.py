# mypy: disable-error-code="misc,no-any-return,untyped-decorator"
"""Parts of the network with their gradients written out, for trainings: fewer passes than automatic differentiation.

Imported only where torch is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

__all__ = ["RowAttention", "TrainedGate", "writes_out"]


def writes_out(*values: Any) -> bool:
    """Whether gradients of functions of these tensors are those that are written out.

    Parameters
    ----------
    *values : torch.Tensor

    Returns
    -------
    bool
        Not in mixed precision, and not where a graph is recorded for other programs.
    """
    if not torch.is_grad_enabled() or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    kind, dtype = values[0].device.type, values[0].dtype
    if kind not in ("cpu", "cuda") or torch.is_autocast_enabled(kind):
        return False
    return all(value.dtype == dtype for value in values)


class TrainedGate(torch.autograd.Function):
    """The gate of a GRU between a residual x and a value v, with float[..., width] and matrices of its layers::

        r = sigmoid(U_r v + S_r x + b_r)        z = sigmoid(U_z v + S_z x + b_z - g)
        h = tanh(U_h v + C (r x) + b_h)         (1 - z) x + z h

    Arguments: v, x, U, b, S, C, g.
    """

    @staticmethod
    def forward(
        context: Any, value: Any, residual: Any, update: Any, bias: Any, state: Any, candidate: Any, shift: Any
    ) -> Any:
        """The gated update, of the shape of ``residual``."""
        width = residual.shape[-1]
        v, x = value.reshape(-1, width), residual.reshape(-1, width)
        bias = torch.cat([bias[:width], bias[width : 2 * width] - shift, bias[2 * width :]])
        sums = torch.addmm(bias, v, update.t())
        shares = torch.sigmoid(sums[:, : 2 * width].addmm_(x, state.t()))
        reset, share = shares[:, :width], shares[:, width:]
        kept = reset * x
        new = _tanh(sums[:, 2 * width :].addmm_(kept, candidate.t()))
        context.save_for_backward(v, x, kept, shares, new, update, state, candidate)
        return torch.lerp(x, new, share).reshape(residual.shape)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Any) -> Any:
        """The gradient of the arguments."""
        v, x, kept, shares, new, update, state, candidate = context.saved_tensors
        wanted = context.needs_input_grad
        width = x.shape[1]
        shape = gradient.shape
        g = gradient.reshape(-1, width)
        reset, share = shares[:, :width], shares[:, width:]
        slopes = torch.empty(len(x), 3 * width, dtype=x.dtype, device=x.device)
        weighted = g * share
        x_slope = g - weighted
        torch.addcmul(weighted, weighted * new, new, value=-1, out=slopes[:, 2 * width :])
        torch.ops.aten.sigmoid_backward.grad_input((new - x).mul_(g), share, grad_input=slopes[:, width : 2 * width])
        kept_slope = torch.mm(slopes[:, 2 * width :], candidate)
        x_slope.addcmul_(kept_slope, reset)
        torch.ops.aten.sigmoid_backward.grad_input(kept_slope.mul_(x), reset, grad_input=slopes[:, :width])
        of_state = slopes[:, : 2 * width]
        made: list[Any] = [None] * 7
        if wanted[0]:
            made[0] = torch.mm(slopes, update).reshape(shape)
        if wanted[1]:
            made[1] = x_slope.addmm_(of_state, state).reshape(shape)
        if wanted[2]:
            made[2] = torch.mm(slopes.t(), v)
        if wanted[3] or wanted[6]:
            made[3] = slopes.sum(0)
            made[6] = -made[3][width : 2 * width]
        if wanted[4]:
            made[4] = torch.mm(of_state.t(), x)
        if wanted[5]:
            made[5] = torch.mm(slopes[:, 2 * width :].t(), kept)
        return tuple(made)


def _tanh(x: Any) -> Any:
    """tanh(x) in place. On a CPU, torch has a much faster sigmoid."""
    if x.device.type != "cpu":
        return torch.tanh(x)
    return torch.sigmoid(x.mul_(2)).mul_(2).sub_(1)


class RowAttention(torch.autograd.Function):
    """Attention between the rows of each event on a CPU, see `jettagger.assignment.attention_kernels.attend`.

    Arguments: projected, order, starts, offsets (arrays of NumPy), number of heads, scale.
    """

    @staticmethod
    def forward(context: Any, projected: Any, order: Any, starts: Any, offsets: Any, heads: int, scale: float) -> Any:
        """The sums of values, float32[rows, width]."""
        from jettagger.assignment.attention_kernels import attend

        projected = projected.contiguous()
        made = projected.new_empty(len(projected), projected.shape[1] // 3)
        shares = projected.new_empty(heads * int(offsets[-1]))
        attend(projected.numpy(), order, starts, offsets, heads, scale, made.numpy(), shares.numpy())
        context.save_for_backward(projected, shares)
        context.about = order, starts, offsets, heads, scale
        return made

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Any) -> Any:
        """The gradient of what was projected."""
        from jettagger.assignment.attention_kernels import attend_back

        projected, shares = context.saved_tensors
        order, starts, offsets, heads, scale = context.about
        gradient, made = gradient.contiguous(), torch.empty_like(projected)
        attend_back(
            projected.numpy(), order, starts, offsets, heads, scale, shares.numpy(), gradient.numpy(), made.numpy()
        )
        return made, None, None, None, None, None
