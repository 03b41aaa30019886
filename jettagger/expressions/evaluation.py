"""Evaluation of a validated syntax tree on columns."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import numpy as np

from jettagger.expressions.grammar import dotted
from jettagger.expressions.operations import BINARY, COMPARE, Function
from jettagger.expressions.text import chain_of

__all__ = ["ABSENT", "evaluate", "find", "known_names"]

#: marks a column that does not exist; None and NaN are values of columns
ABSENT = object()


def known_names(values: Any) -> list[str]:
    """The names of the available columns.

    Parameters
    ----------
    values : mapping, or awkward record array

    Returns
    -------
    list of str
    """
    return list(values) if isinstance(values, Mapping) else list(getattr(values, "fields", []))


def find(values: Any, name: str) -> Any:
    """A column by its name, or `ABSENT`; ``FatJet.pt`` is also the field ``pt`` of the column ``FatJet``.

    Parameters
    ----------
    values : mapping, or awkward record array
    name : str

    Returns
    -------
    array or number
    """
    if name in known_names(values):
        return values[name]
    front, _, rest = name.partition(".")
    if rest and front in known_names(values):
        return find(values[front], rest)
    return ABSENT


def evaluate(node: ast.expr, values: Mapping[str, Any], functions: Mapping[str, Function]) -> Any:
    """The value of a validated tree.

    Parameters
    ----------
    node : ast.expr
    values : mapping of str to array or number
        All names in the tree.
    functions : mapping of str to Function

    Returns
    -------
    array or number
    """
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, (ast.Name, ast.Attribute)):
        return values[dotted(node) or ""]
    if isinstance(node, ast.BinOp):
        first, operations = chain_of(node)
        result = evaluate(first, values, functions)
        for operation in operations:
            result = _operate(operation.op, result, evaluate(operation.right, values, functions))
        return result
    if isinstance(node, ast.UnaryOp):
        operand = evaluate(node.operand, values, functions)
        if isinstance(node.op, ast.USub):
            return -operand
        if isinstance(node.op, ast.UAdd):
            return operand
        return np.logical_not(operand)
    if isinstance(node, ast.BoolOp):
        combine = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        result = evaluate(node.values[0], values, functions)
        for value in node.values[1:]:
            result = combine(result, evaluate(value, values, functions))
        return result
    if isinstance(node, ast.Compare):
        sides = [evaluate(side, values, functions) for side in (node.left, *node.comparators)]
        result = None
        for symbol, left, right in zip(node.ops, sides[:-1], sides[1:], strict=True):
            part = COMPARE[type(symbol)](left, right)
            result = part if result is None else result & part
        return result
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)  # noqa: PT018
    return functions[node.func.id].call(*(evaluate(value, values, functions) for value in node.args))


def _operate(operator: ast.operator, left: Any, right: Any) -> Any:
    operation = BINARY[type(operator)]
    plain = isinstance(left, (int, float)) and isinstance(right, (int, float))
    if isinstance(operator, (ast.BitAnd, ast.BitOr)) or not plain:
        return operation(left, right)
    # Python's own integers grow without bound and divide by zero with an exception; the result is a plain
    # number again so that it does not widen float32 columns.
    return float(operation(np.float64(left), np.float64(right)))
