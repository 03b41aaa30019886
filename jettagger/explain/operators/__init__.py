"""Operators of ONNX in torch, and those of shape arithmetic in NumPy; one module per kind."""

from __future__ import annotations

from jettagger.explain.operators import (
    arrays,
    convolution,
    elementwise,
    linear,
    normalisation,
    recurrent,
    reductions,
    selection,
    shapes,
)
from jettagger.explain.operators.table import ARRAYS, TENSORS, Operator, Step

# the modules fill the tables when they are imported
_MODULES = (arrays, convolution, elementwise, linear, normalisation, recurrent, reductions, selection, shapes)

__all__ = ["ARRAYS", "TENSORS", "Operator", "Step"]
