"""Products of matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from jettagger.explain.operators.table import Step, operator

__all__: list[str] = []


@operator("MatMul")
def _mat_mul(step: Step, x: Tensor, y: Tensor) -> Tensor:
    return torch.matmul(x, y)


@operator("Gemm")
def _gemm(step: Step, x: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
    x = x.t() if step.get("transA", 0) else x
    y = y.t() if step.get("transB", 0) else y
    alpha, beta = step.get("alpha", 1.0), step.get("beta", 1.0)
    if bias is None:
        return alpha * (x @ y)
    return torch.addmm(bias, x, y, beta=beta, alpha=alpha)


@operator("Einsum")
def _einsum(step: Step, *factors: Tensor) -> Tensor:
    return torch.einsum(step.attributes["equation"], *factors)


@operator("fused Linear")
def _linear(step: Step, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.addmm(bias, x.reshape(-1, x.shape[-1]), weight).reshape(*x.shape[:-1], weight.shape[1])
