"""Cuts that are never or always true: ``150 < mass < 90``, ``abs(eta) < -1``, ``pt > 90 or pt < 150``, ``1 < 2``.

A cut is decomposed into bounds on equal parts of the expression. Reported cuts are certain; many others are not
detected, e.g. those that depend on relations between columns. Missing and NaN values, which fail every cut, are
ignored.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

from jettagger.expressions.expression import Expression, parse
from jettagger.expressions.grammar import names_in
from jettagger.expressions.text import chain_of, sides_of

__all__ = ["CutWarning", "always", "doubt", "never", "warn_doubt"]

#: functions with non-negative values
_POSITIVE = ("abs", "sqrt", "exp", "hypot")

_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
_MIRRORED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt,
    ast.Gt: ast.Lt,
    ast.LtE: ast.GtE,
    ast.GtE: ast.LtE,
}


class CutWarning(UserWarning):
    """A cut on jets that is never or always true for any jets."""


class _Bound(NamedTuple):
    """A comparison of a part of an expression with a number."""

    part: str
    kind: type[ast.cmpop]
    number: float
    positive: bool


def never(cut: Expression) -> bool:
    """Whether no value of the columns passes a cut.

    Parameters
    ----------
    cut : Expression

    Returns
    -------
    bool

    Examples
    --------
    >>> [never(parse(text)) for text in ("150 < m < 90", "pt > 5 and pt < 5", "90 < m < 150", "abs(eta) < 0")]
    [True, True, False, True]
    """
    return _certainly(cut, False)


def always(cut: Expression) -> bool:
    """Whether every value of the columns passes a cut.

    Parameters
    ----------
    cut : Expression

    Returns
    -------
    bool

    Examples
    --------
    >>> [always(parse(text)) for text in ("pt > 90 or pt < 150", "2 > 1", "abs(eta) >= 0", "pt > 0")]
    [True, True, True, False]
    """
    return _certainly(cut, True)


def doubt(cut: Expression) -> str:
    """The problem of a cut that is never or always true for any columns; else an empty string.

    Parameters
    ----------
    cut : Expression

    Returns
    -------
    str

    Examples
    --------
    >>> doubt(parse("150 < mass < 90"))
    "'150 < mass < 90' is never true"
    """
    word = "never" if never(cut) else "always" if always(cut) else ""
    return f"{cut.text.strip()!r} is {word} true" if word else ""


def warn_doubt(where: Any, place: str = "where", stacklevel: int = 3) -> None:
    """Issue a `CutWarning` for a cut in text that is never or always true; masks and None are ignored.

    Parameters
    ----------
    where : str or other
    place : str
        Name of the argument.
    stacklevel : int
        As for `warnings.warn`; by default the caller of the function that calls this one.

    Raises
    ------
    ConfigError
        If the text is not an expression.

    Examples
    --------
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warn_doubt("150 < pt < 90")
    >>> print(caught[0].message)
    where: '150 < pt < 90' is never true
    """
    text = doubt(parse(where, where=place)) if isinstance(where, str) else ""
    if text:
        warnings.warn(f"{place}: {text}", CutWarning, stacklevel=stacklevel)


def _certainly(cut: Expression, negated: bool) -> bool:
    try:
        return _never(cut.tree, negated)
    except RecursionError:  # sums of a thousand terms are not taken apart
        return False


def _never(node: ast.expr, negated: bool) -> bool:
    """Whether a part of a cut, or its complement, is never true."""
    number = _number(node)
    if number is not None:
        return bool(number) == negated
    parts, both = _parts(node, negated)
    if not both:
        return all(_never(part, flipped) for part, flipped in parts)
    if any(_never(part, flipped) for part, flipped in parts if part is not node):
        return True
    return not all(_possible(group) for group in _grouped(_bounds(node, negated)))


def _parts(node: ast.expr, negated: bool) -> tuple[list[tuple[ast.expr, bool]], bool]:
    """The operands of a cut, and whether all or any of them must be true."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.Invert)):
        return [(node.operand, not negated)], True
    if isinstance(node, ast.BoolOp):
        return [(value, negated) for value in node.values], isinstance(node.op, ast.And) != negated
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitAnd, ast.BitOr)) and _truths(node):
        alike = all(type(operation.op) is type(node.op) for operation in chain_of(node)[1])
        sides = sides_of(node) if alike else [node.left, node.right]
        return [(side, negated) for side in sides], isinstance(node.op, ast.BitAnd) != negated
    if isinstance(node, ast.Compare) and len(node.ops) > 1:
        sides = [node.left, *node.comparators]
        pairs = zip(sides[:-1], node.ops, sides[1:], strict=True)
        return [(ast.Compare(one, [kind], [other]), negated) for one, kind, other in pairs], not negated
    return [(node, negated)], True


def _truths(node: ast.expr) -> bool:
    """Whether a part of an expression is boolean, so that ``&`` and ``|`` are not bitwise operations."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitAnd, ast.BitOr)):
        bits = all(isinstance(operation.op, (ast.BitAnd, ast.BitOr)) for operation in chain_of(node)[1])
        return bits and all(map(_truths, sides_of(node)))
    return isinstance(node, (ast.Compare, ast.BoolOp)) or (
        isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.Invert))
    )


def _bounds(node: ast.expr, negated: bool) -> Iterator[_Bound]:
    """The comparisons with numbers that must all be true."""
    parts, both = _parts(node, negated)
    if not both:
        return
    for part, flipped in parts:
        if part is not node:
            yield from _bounds(part, flipped)
        elif isinstance(part, ast.Compare):
            left, right, kind = part.left, part.comparators[0], type(part.ops[0])
            if _number(left) is not None:
                left, right, kind = right, left, _MIRRORED.get(kind, kind)
            number = _number(right)
            if number is not None and kind in _OPPOSITE:
                positive = isinstance(left, ast.Call) and isinstance(left.func, ast.Name) and left.func.id in _POSITIVE
                yield _Bound(ast.dump(left), _OPPOSITE[kind] if flipped else kind, number, positive)


def _grouped(bounds: Iterator[_Bound]) -> list[list[_Bound]]:
    found: dict[str, list[_Bound]] = {}
    for bound in bounds:
        found.setdefault(bound.part, []).append(bound)
    return list(found.values())


def _possible(bounds: list[_Bound]) -> bool:
    """Whether a number exists within all bounds."""
    low, above = (0.0, False) if bounds[0].positive else (-math.inf, True)
    high, below = math.inf, True
    for bound in bounds:
        if bound.kind in (ast.Gt, ast.GtE, ast.Eq) and bound.number >= low:
            above = bound.kind is ast.Gt or (above and bound.number == low)
            low = bound.number
        if bound.kind in (ast.Lt, ast.LtE, ast.Eq) and bound.number <= high:
            below = bound.kind is ast.Lt or (below and bound.number == high)
            high = bound.number
    if any(bound.kind is ast.NotEq and low == bound.number == high for bound in bounds):
        return False
    return low < high or (low == high and not above and not below)


def _number(node: ast.expr) -> float | None:
    """The value of a part of an expression without columns."""
    if next(names_in(node), None) is not None:
        return None
    return float(parse(ast.unparse(node)).evaluate({}))
