"""Operators that select elements by indices."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from jettagger.explain.operators.table import Step, operator
from jettagger.types import Array

__all__: list[str] = []


@operator("Gather", plain=(1,))
def _gather(step: Step, x: Tensor, index: Tensor | Array) -> Tensor:
    axis = step.get("axis", 0) % x.ndim
    if isinstance(index, np.ndarray) and index.ndim == 0:
        return x.select(axis, int(index))
    places = (torch.tensor(index, device=x.device) if isinstance(index, np.ndarray) else index).long()
    places = torch.where(places < 0, places + x.shape[axis], places)
    rows = x.index_select(axis, places.reshape(-1))
    return rows.reshape(*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])


@operator("GatherElements")
def _gather_elements(step: Step, x: Tensor, index: Tensor) -> Tensor:
    axis = step.get("axis", 0)
    return torch.gather(x, axis, torch.where(index < 0, index + x.shape[axis], index))


@operator("GatherND")
def _gather_nd(step: Step, x: Tensor, index: Tensor) -> Tensor:
    if step.get("batch_dims", 0):
        raise step.refuse("batch_dims")
    return x[tuple(index.unbind(-1))]


@operator("ScatterND")
def _scatter_nd(step: Step, x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    if step.get("reduction", "none") != "none":
        raise step.refuse(f"reduction {step.get('reduction')!r}")
    return x.index_put(tuple(index.long().unbind(-1)), updates)


@operator("ScatterElements")
def _scatter_elements(step: Step, x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    if step.get("reduction", "none") != "none":
        raise step.refuse(f"reduction {step.get('reduction')!r}")
    axis = step.get("axis", 0)
    return x.scatter(axis, torch.where(index < 0, index + x.shape[axis], index), updates)


@operator("NonZero")
def _non_zero(step: Step, x: Tensor) -> Tensor:
    return torch.nonzero(x).t()
