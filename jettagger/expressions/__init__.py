"""Expressions on columns, as used for cuts: ``"pt > 200 and abs(eta) < 2.4"``.

A text is parsed with Python's own grammar and accepted only if every part of it is on a list; it is never evaluated as
code. Allowed are numbers, names of columns (with dots or underscores), ``+ - * / // % **``, comparisons (also chained,
``50 < mass < 150``), ``and or not`` and ``& | ~`` (all element by element; ``&`` and ``|`` act on the bits of integers,
so ``(jetId & 2) > 0`` works), and calls of the functions in :data:`FUNCTIONS`.
"""

from jettagger.expressions.expression import Expression, parse, select
from jettagger.expressions.operations import BINARY, COMPARE, FUNCTIONS, Function
from jettagger.expressions.text import ExpressionText

__all__ = ["BINARY", "COMPARE", "FUNCTIONS", "Expression", "ExpressionText", "Function", "parse", "select"]


def __dir__() -> list[str]:
    return sorted(__all__)
