"""The tables of operators, and what an implementation is given of its node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from jettagger.display import Brief
from jettagger.errors import Unsupported
from jettagger.types import Array

__all__ = ["ARRAYS", "TENSORS", "Implementation", "Operator", "Step", "array_operator", "integers", "operator"]

#: a step and its arguments -> its result, or several
Implementation = Callable[..., Any]


@dataclass(frozen=True)
class Step(Brief):
    """A node of the graph, as an implementation sees it.

    Parameters
    ----------
    name : str
        Name of the node, or of its first output if it has none.
    operator : str
        Type, with its domain if that is not ONNX's own.
    version : int
        Version of the set of operators.
    attributes : mapping of str to value
        Texts as str, tensors as arrays, inner graphs as plans.
    inputs, outputs : tuple of str
        Names of tensors; empty for an optional one that is left out.
    floating : {"float32", "float64"}
        Precision of numbers that are single in the file.
    replaced : collections.Counter
        Node -> number of derivatives that were not finite and are 0, see `jettagger.explain.operators.subgradients`;
        shared by all steps of a graph.
    """

    name: str
    operator: str
    version: int
    attributes: Mapping[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    floating: str = "float32"
    replaced: Counter[str] = field(default_factory=Counter, compare=False, repr=False)

    def get(self, attribute: str, default: Any = None) -> Any:
        """An attribute, or the default of the specification."""
        return self.attributes.get(attribute, default)

    def precision(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """The type in which numbers of a type of the file are computed."""
        if dtype.kind == "f" and self.floating == "float64":
            return np.dtype("float64")
        return dtype

    def refuse(self, what: str) -> Unsupported:
        """The error for a form of the operator that has no implementation.

        Parameters
        ----------
        what : str
            The form, e.g. ``"mode 'reflect'"``.
        """
        return Unsupported(
            f"the operator {self.operator} (node {self.name!r}, version {self.version} of the operators) with {what} "
            "has no implementation in torch"
        )


@dataclass(frozen=True)
class Operator(Brief):
    """An implementation of one operator.

    Parameters
    ----------
    run : callable
        Called with the step and its arguments, None for those left out.
    plain : frozenset of int
        Positions of arguments that stay as they are, NumPy arrays or tensors: shapes, axes, indices. All others
        are made tensors.
    """

    run: Implementation
    plain: frozenset[int] = field(default_factory=frozenset)


#: operator -> implementation on tensors of torch
TENSORS: dict[str, Operator] = {}

#: operator -> implementation in NumPy, used where all arguments are arrays: constants and shapes
ARRAYS: dict[str, Implementation] = {}


def operator(*names: str, plain: tuple[int, ...] = ()) -> Callable[[Implementation], Implementation]:
    """Enter an implementation on tensors into the table.

    Parameters
    ----------
    *names : str
        Operators that it implements.
    plain : tuple of int
        See `Operator`.
    """

    def enter(run: Implementation) -> Implementation:
        for name in names:
            TENSORS[name] = Operator(run, frozenset(plain))
        return run

    return enter


def array_operator(*names: str) -> Callable[[Implementation], Implementation]:
    """Enter an implementation in NumPy into the table."""

    def enter(run: Implementation) -> Implementation:
        for name in names:
            ARRAYS[name] = run
        return run

    return enter


def integers(value: Array | torch.Tensor) -> list[int]:
    """A shape, axes or the like as a list of integers.

    Parameters
    ----------
    value : int64[n] or Tensor[n]

    Returns
    -------
    list of int
    """
    return [int(item) for item in value.reshape(-1).tolist()]
