"""The functions and operators allowed in expressions."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jettagger.display import Brief
from jettagger.errors import MismatchError

__all__ = ["BINARY", "COMPARE", "FUNCTIONS", "Function"]


@dataclass(frozen=True)
class Function(Brief):
    """A function that may be called in an expression.

    Parameters
    ----------
    call : callable
        Function of arrays that returns arrays.
    least, most : int
        Minimum and maximum number of arguments.
    text : str
        Description, for help texts.
    """

    call: Callable[..., Any]
    least: int
    most: int
    text: str


def _reducer(name: str) -> Callable[[Any], Any]:
    def reduce(values: Any) -> Any:
        # Over events a sum is never what a cut means, so only the lists inside of events are reduced.
        if getattr(values, "ndim", 0) < 2:
            raise MismatchError(
                f"{name}(...) in an expression reduces the list of each event: expected a column with one "
                f"list per event, got one with {getattr(values, 'ndim', 0)} dimension(s)"
            )
        if isinstance(values, np.ndarray):
            return getattr(np, {"count": "count_nonzero"}.get(name, name))(values, axis=-1)
        import awkward as ak

        return getattr(ak, name)(values, axis=-1)

    return reduce


def _extreme(name: str, pairwise: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    reduce = _reducer(name)

    def extreme(first: Any, *others: Any) -> Any:
        if not others:
            return reduce(first)
        result = first
        for other in others:
            result = pairwise(result, other)
        return result

    return extreme


def _where(condition: Any, yes: Any, no: Any) -> Any:
    if any(type(item).__module__.partition(".")[0] in ("awkward", "coffea") for item in (condition, yes, no)):
        import awkward as ak

        return ak.where(condition, yes, no)
    return np.where(condition, yes, no)


#: functions allowed in an expression, by name
FUNCTIONS: dict[str, Function] = {
    "abs": Function(np.abs, 1, 1, "absolute value"),
    "sqrt": Function(np.sqrt, 1, 1, "square root"),
    "exp": Function(np.exp, 1, 1, "exponential"),
    "log": Function(np.log, 1, 1, "natural logarithm"),
    "log10": Function(np.log10, 1, 1, "logarithm to base 10"),
    "sin": Function(np.sin, 1, 1, "sine (radians)"),
    "cos": Function(np.cos, 1, 1, "cosine (radians)"),
    "tan": Function(np.tan, 1, 1, "tangent (radians)"),
    "sinh": Function(np.sinh, 1, 1, "hyperbolic sine"),
    "cosh": Function(np.cosh, 1, 1, "hyperbolic cosine"),
    "tanh": Function(np.tanh, 1, 1, "hyperbolic tangent"),
    "arctan2": Function(np.arctan2, 2, 2, "angle of (y, x) (radians)"),
    "hypot": Function(np.hypot, 2, 2, "length of (x, y)"),
    "floor": Function(np.floor, 1, 1, "largest integer not above"),
    "ceil": Function(np.ceil, 1, 1, "smallest integer not below"),
    "isfinite": Function(np.isfinite, 1, 1, "neither NaN nor infinite"),
    "isnan": Function(np.isnan, 1, 1, "not a number"),
    "min": Function(_extreme("min", np.minimum), 1, 99, "smallest of the arguments, or of each event's list"),
    "max": Function(_extreme("max", np.maximum), 1, 99, "largest of the arguments, or of each event's list"),
    "sum": Function(_reducer("sum"), 1, 1, "sum of each event's list"),
    "any": Function(_reducer("any"), 1, 1, "whether any of each event's list is true"),
    "all": Function(_reducer("all"), 1, 1, "whether all of each event's list are true"),
    "where": Function(_where, 3, 3, "second argument where the first is true, else the third"),
}

#: operators allowed in an expression, by their role in Python's grammar
BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
}

COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
