"""Discriminants and logarithms of scores, the same for arrays of NumPy and tensors of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jettagger.discriminants import Discriminant
from jettagger.discriminants.algebra import LOG_FLOOR, Call, Chain, Negative, Node, Number, Parameter, Score, Sum
from jettagger.discriminants.columns import Resolved
from jettagger.display import Brief

__all__ = ["Evaluation", "floored_log", "in_double_precision"]


def in_double_precision(values: Any) -> Any:
    """In double precision."""
    return values.astype(np.float64) if isinstance(values, np.ndarray) else values.double()


def floored_log(values: Any, smallest: float) -> Any:
    """Logarithm of the values, of ``smallest`` where they are below; there and at ``smallest`` the derivative is 0."""
    if isinstance(values, np.ndarray):
        return np.log(np.maximum(values, smallest))
    from jettagger.explain.operators import subgradients

    return subgradients.clip(values, smallest, None).log()


def _extreme(values: list[Any], name: str) -> Any:
    """Elementwise ``minimum`` or ``maximum`` of two operands, at least one of which has values for jets."""
    if not any(hasattr(value, "requires_grad") for value in values):
        return getattr(np, name)(*values)
    import torch

    from jettagger.explain.operators import subgradients

    function = {"minimum": subgradients.smaller, "maximum": subgradients.larger}[name]
    first = next(value for value in values if isinstance(value, torch.Tensor))
    return function(*(torch.as_tensor(value, dtype=first.dtype, device=first.device) for value in values))


class Evaluation(Brief):
    """The value of a discriminant, as `jettagger.discriminants.algebra.evaluate` gives it, for tensors too."""

    def __init__(self, item: Discriminant, found: Resolved, scores: Mapping[str, Any]) -> None:
        self.item, self.found, self.scores = item, found, scores
        self.made: dict[Node, Any] = {}

    def value(self, node: Node) -> Any:
        """The value of a node; each is computed once."""
        if node not in self.made:
            self.made[node] = self._compute(node)
        return self.made[node]

    def _compute(self, node: Node) -> Any:
        if isinstance(node, Number):
            return node.value
        if isinstance(node, Score):
            return self.scores[node.name]
        if isinstance(node, Parameter):
            return self.item.parameters[node.name]
        if isinstance(node, Sum):
            first, *others = self.found.members[node]
            total = self.scores[first]
            for name in others:
                total = total + self.scores[name]
            return total
        if isinstance(node, Negative):
            return -self.value(node.operand)
        if isinstance(node, Call):
            return self._call(node)
        assert isinstance(node, Chain)
        total = self.value(node.first)
        for symbol, following in node.rest:
            other = self.value(following)
            if symbol == "+":
                total = total + other
            elif symbol == "-":
                total = total - other
            elif symbol == "*":
                total = total * other
            else:
                total = self._divide(total, other)
        return total

    def _divide(self, upper: Any, lower: Any) -> Any:
        if isinstance(lower, float):
            return upper / lower if lower else upper * 0 + self.item.zero
        empty = lower == 0
        if isinstance(lower, np.ndarray):
            return np.where(empty, self.item.zero, upper / np.where(empty, 1, lower))
        return (upper / lower.masked_fill(empty, 1.0)).masked_fill(empty, self.item.zero)

    def _call(self, node: Call) -> Any:
        values = [self.value(argument) for argument in node.arguments]
        if all(isinstance(value, float) for value in values):
            values = [np.float64(value) for value in values]
        name = node.function
        if name == "log":
            return _log_of_score(values[0])
        if name == "log_ratio":
            return _log_of_score(values[0]) - _log_of_score(values[1])
        if name in ("min", "max"):
            return _extreme(values, f"{name}imum")
        library = np if isinstance(values[0], (np.ndarray, np.floating)) else values[0]
        return getattr(library, name)(*(values if library is np else ()))


def _log_of_score(value: Any) -> Any:
    return np.log(max(value, LOG_FLOOR)) if isinstance(value, (float, np.floating)) else floored_log(value, LOG_FLOOR)
