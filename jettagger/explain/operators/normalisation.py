"""Normalisations with statistics of a training, or of the elements themselves."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from jettagger.explain.operators.table import Step, operator

__all__: list[str] = []


@operator("BatchNormalization")
def _batch_normalization(step: Step, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    if step.get("training_mode", 0) or len([name for name in step.outputs if name]) > 1:
        raise step.refuse("statistics of the batch (training mode)")
    factor = scale / torch.sqrt(variance + step.get("epsilon", 1e-5))
    shape = (1, -1) + (1,) * (x.ndim - 2)
    return torch.addcmul((bias - mean * factor).reshape(shape), x, factor.reshape(shape))


@operator("LayerNormalization")
def _layer_normalization(step: Step, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    if len([name for name in step.outputs if name]) > 1:
        raise step.refuse("mean and deviation as further outputs")
    shape = x.shape[step.get("axis", -1) % x.ndim :]
    return functional.layer_norm(
        x, shape, scale.expand(shape), None if bias is None else bias.expand(shape), step.get("epsilon", 1e-5)
    )


@operator("fused LayerNormalization")
def _fused_layer_normalization(step: Step, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return functional.layer_norm(x, (step.attributes["size"],), scale, bias, step.attributes["epsilon"])


@operator("InstanceNormalization")
def _instance_normalization(step: Step, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return functional.instance_norm(x, weight=scale, bias=bias, eps=step.get("epsilon", 1e-5))
