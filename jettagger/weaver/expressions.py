"""Expressions of a weaver data configuration: checked against a list of allowed nodes, then evaluated on arrays."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import MismatchError, hint, reason_of
from jettagger.expressions import BINARY, COMPARE, ExpressionText
from jettagger.expressions.text import chain_of, sides_of
from jettagger.weaver.functions import (
    CHOICES,
    DTYPES,
    HELPERS,
    KEYWORDS,
    LEGACY,
    METHODS,
    MODULES,
    PROPERTIES,
    known_names,
    modern,
    resolve,
)

__all__ = ["Formula", "parse_formula"]

_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    **BINARY,
    ast.BitXor: operator.xor,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Invert: operator.invert,
}
_ALLOWED = (
    "numbers, names of columns, + - * / // % **, comparisons, & | ^ ~, indexing, lists, and calls of functions of np, "
    "ak and math and of weaver's helpers"
)

#: maximum shift of an integer in bits, and maximum power of a number
_MAX_SHIFT = 63
_MAX_POWER = 1e300


@dataclass(frozen=True)
class Formula(Brief):
    """A validated expression; made by `parse_formula`.

    Parameters
    ----------
    text : str
        The text, on one line.
    where : str
        Place of its definition.

    Examples
    --------
    >>> import awkward as ak
    >>> formula = parse_formula("np.hypot(part_px, part_py) / jet_pt")
    >>> formula.names
    ('part_px', 'part_py', 'jet_pt')
    >>> columns = {"part_px": ak.Array([[3.0], []]), "part_py": ak.Array([[4.0], []]), "jet_pt": ak.Array([10.0, 1.0])}
    >>> formula.evaluate(columns.__getitem__).tolist()
    [[0.5], []]
    """

    text: str
    where: str = field(default="", compare=False)

    @cached_property
    def _parsed(self) -> tuple[ExpressionText, ast.expr]:
        source = ExpressionText(self.text, self.where)
        return source, _Legacy().visit(source.tree())

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns and variables that it uses, in order of appearance."""
        found: dict[str, int] = {}
        for node in ast.walk(self._parsed[1]):
            if isinstance(node, ast.Name) and node.id not in MODULES and node.id not in HELPERS:
                found.setdefault(node.id, self._parsed[0].offset(node))
        return tuple(sorted(found, key=found.__getitem__))

    @cached_property
    def is_ones(self) -> bool:
        """Whether it is 1 for each entry of a column: ``ak.ones_like(x)``, also with another element type."""
        node = self._parsed[1]
        while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            if node.func.attr == "ones_like":
                return True
            if node.func.attr != "values_astype":
                break
            node = node.args[0]
        return False

    def evaluate(self, value: Callable[[str], Any]) -> Any:
        """The value of the expression.

        Parameters
        ----------
        value : callable
            Name -> array, awkward or NumPy.

        Returns
        -------
        array or number

        Raises
        ------
        MismatchError
            If the arrays have different shapes; gives the expression and its place.
        """
        found = {name: value(name) for name in self.names}
        try:
            with np.errstate(all="ignore"):
                return _evaluate(self._parsed[1], found)
        except Exception as error:  # any function of the lists may refuse its arguments in its own way
            reason = reason_of(error)
            types = ", ".join(
                f"{name}: {getattr(array, 'type', type(array).__name__)}" for name, array in found.items()
            )
            place = f"{self.where}: " if self.where else ""
            on = f" on {types}" if types else ""
            raise MismatchError(f"{place}{self.text.strip()!r} cannot be evaluated{on}: {reason}") from error


def parse_formula(text: str, where: str = "") -> Formula:
    """Parse an expression, refusing everything that is not on the list of allowed nodes.

    Parameters
    ----------
    text : str
    where : str
        Place of its definition, e.g. ``"data.yaml, line 12"``, for error messages.

    Returns
    -------
    Formula

    Raises
    ------
    ConfigError
        Gives the position and what is allowed.

    Examples
    --------
    >>> parse_formula("np.fromfile('x')")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    jettagger.errors.ConfigError: position 1: unknown function 'np.fromfile'...
    """
    formula = Formula(ExpressionText(text, where).text, where)
    _check(*formula._parsed)
    return formula


def _check(source: ExpressionText, node: ast.expr) -> None:
    if isinstance(node, ast.Constant):
        _check_constant(source, node)
    elif isinstance(node, ast.Name):
        if node.id in MODULES or node.id in HELPERS or node.id.startswith("_"):
            close = hint(node.id, HELPERS) if node.id not in HELPERS else ""
            source.refuse(node, f"{node.id!r} is not the name of a column{close}. Allowed: {_ALLOWED}")
    elif isinstance(node, ast.Attribute):
        _check_attribute(source, node)
    elif isinstance(node, ast.BinOp):
        source.check_operators(node, _BINARY, _ALLOWED)
        for side in sides_of(node):
            _check(source, side)
    elif isinstance(node, ast.UnaryOp):
        if type(node.op) not in _UNARY:
            source.refuse(node, f"{source.segment(node)!r}: write ~ for 'not', arrays have no single truth")
        _check(source, node.operand)
    elif isinstance(node, ast.Compare):
        if len(node.ops) > 1 or type(node.ops[0]) not in COMPARE:
            text = f"{source.segment(node)!r}: one of < <= > >= == != is allowed; join two comparisons with &"
            source.refuse(node, text)
        _check(source, node.left)
        _check(source, node.comparators[0])
    elif isinstance(node, ast.Subscript):
        _check(source, node.value)
        _check_index(source, node.slice)
    elif isinstance(node, ast.Call):
        _check_call(source, node)
    elif isinstance(node, (ast.List, ast.Tuple)):
        for item in node.elts:
            _check(source, item)
    else:
        word = "; write & and | for 'and' and 'or'" if isinstance(node, ast.BoolOp) else ""
        source.refuse(node, f"{source.segment(node)!r} is not allowed{word}. Allowed: {_ALLOWED}")


def _check_constant(source: ExpressionText, node: ast.Constant) -> None:
    value = node.value
    if isinstance(value, int) and abs(value) > 2**63 - 1:
        source.refuse(node, f"the number {source.segment(node)} does not fit into 64 bits")
    if not isinstance(value, (bool, int, float, type(None))):
        source.refuse(node, f"{source.segment(node)} is not allowed. Allowed: {_ALLOWED}")


def _module(node: ast.expr) -> str | None:
    return node.id if isinstance(node, ast.Name) and node.id in MODULES else None


def _check_attribute(source: ExpressionText, node: ast.Attribute) -> None:
    module = _module(node.value)
    if (node.attr not in PROPERTIES or _is_jagged(node)) and (text := _today(source, node)):
        source.refuse(node, text)
    if module is None:
        if node.attr not in PROPERTIES:
            close = hint(node.attr, PROPERTIES)
            source.refuse(node, f"{source.segment(node)!r}: {node.attr!r} is not a property of a four-momentum{close}")
        _check(source, node.value)
    elif node.attr not in MODULES[module][2]:
        constants = ", ".join(f"{module}.{name}" for name in sorted(MODULES[module][2])) or "none"
        source.refuse(node, f"{source.segment(node)!r} is neither called nor a constant; constants: {constants}")


def _check_index(source: ExpressionText, node: ast.expr) -> None:
    if isinstance(node, ast.Slice):
        for part in (node.lower, node.upper, node.step):
            if part is not None:
                _check(source, part)
    elif isinstance(node, ast.Tuple):
        for item in node.elts:
            _check_index(source, item)
    elif not (isinstance(node, ast.Constant) and node.value is Ellipsis):
        _check(source, node)


def _check_call(source: ExpressionText, node: ast.Call) -> None:
    function = node.func
    asked = source.segment(function)
    if isinstance(function, ast.Attribute):
        module = _module(function.value)
        known = function.attr in (METHODS if module is None else MODULES[module][1])
        if known and module is None:
            _check(source, function.value)
    else:
        known = isinstance(function, ast.Name) and function.id in HELPERS
    if not known:
        if isinstance(function, ast.Attribute) and (text := _today(source, function)):
            source.refuse(node, text)
        names = known_names()
        listed = "np.*, ak.*, math.* (elementwise functions, sums, sorting) and " + ", ".join(HELPERS)
        source.refuse(node, f"unknown function {asked!r}{hint(asked, names)}. Allowed: {listed}")
    for argument in node.args:
        _check_argument(source, argument)
    for keyword in node.keywords:
        if keyword.arg not in KEYWORDS:
            source.refuse(node, f"{asked}(...): the argument {keyword.arg or '**'!r} is not allowed")
        words = CHOICES.get(keyword.arg)
        if words is None:
            _check_argument(source, keyword.value)
        elif not isinstance(keyword.value, ast.Constant) or keyword.value.value not in words:
            source.refuse(node, f"{asked}(...): {keyword.arg} is one of {', '.join(sorted(words))}")


def _check_argument(source: ExpressionText, node: ast.expr) -> None:
    """Like the general check, but text may name an element type."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        if node.value not in DTYPES:
            source.refuse(node, f"{source.segment(node)} names no element type{hint(node.value, DTYPES)}")
        return
    if isinstance(node, ast.Starred):
        source.refuse(node, "arguments cannot be unpacked")
    _check(source, node)


class _Legacy(ast.NodeTransformer):
    """Converts ``awkward.JaggedArray.ones_like`` and similar to ``ak.ones_like``."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        first, operations = chain_of(node)
        operations[0].left = self.visit(first)
        for operation in operations:
            operation.right = self.visit(operation.right)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if node.attr in LEGACY and _is_jagged(node.value):
            name = ast.copy_location(ast.Name("ak", ast.Load()), node.value)
            return ast.copy_location(ast.Attribute(name, node.attr, node.ctx), node)
        return node


def _is_jagged(node: ast.expr) -> bool:
    """Whether this is awkward's ``JaggedArray``, under any of its names."""
    module = _module(node.value) if isinstance(node, ast.Attribute) and node.attr == "JaggedArray" else None
    return module is not None and MODULES[module][0] == "awkward"


def _today(source: ExpressionText, node: ast.Attribute) -> str:
    """The replacement of a name of awkward 0; empty if there is none."""
    of_class = _is_jagged(node.value) or _module(node.value) == "awkward0"
    text = modern(node.attr, "..." if of_class else source.segment(node.value))
    if of_class or (text and _module(node.value) is None):
        return f"{source.segment(node)!r} is of awkward 0, which is not supported" + (f": write {text}" if text else "")
    return ""


def _plain(value: Any) -> bool:
    return isinstance(value, (int, float))


def _binary(node: ast.BinOp, left: Any, right: Any) -> Any:
    """Python's integers are unbounded: those of the text are limited to the range of machine numbers."""
    if _plain(left) and _plain(right):
        if isinstance(node.op, ast.Pow) and isinstance(left, int) and isinstance(right, int):
            try:
                large = abs(float(left)) ** float(right) > _MAX_POWER
            except OverflowError:
                large = True
            if large:
                raise ValueError("the power is too large")
        elif isinstance(node.op, ast.LShift) and right > _MAX_SHIFT:
            raise ValueError("the shift is too large")
    return _BINARY[type(node.op)](left, right)


def _evaluate(node: ast.expr, values: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return values[node.id]
    if isinstance(node, ast.Attribute):
        module = _module(node.value)
        return resolve(module, node.attr) if module else getattr(_evaluate(node.value, values), node.attr)
    if isinstance(node, ast.BinOp):
        first, operations = chain_of(node)
        result = _evaluate(first, values)
        for operation in operations:
            result = _binary(operation, result, _evaluate(operation.right, values))
        return result
    if isinstance(node, ast.UnaryOp):
        return _UNARY[type(node.op)](_evaluate(node.operand, values))
    if isinstance(node, ast.Compare):
        return COMPARE[type(node.ops[0])](_evaluate(node.left, values), _evaluate(node.comparators[0], values))
    if isinstance(node, ast.Subscript):
        return _evaluate(node.value, values)[_index(node.slice, values)]
    if isinstance(node, ast.List):
        return [_evaluate(item, values) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_evaluate(item, values) for item in node.elts)
    if not isinstance(node, ast.Call):
        raise TypeError(f"{type(node).__name__} was not checked")
    arguments = [_evaluate(item, values) for item in node.args]
    keywords = {item.arg: _evaluate(item.value, values) for item in node.keywords if item.arg is not None}
    return _function(node.func, values)(*arguments, **keywords)


def _function(node: ast.expr, values: Mapping[str, Any]) -> Callable[..., Any]:
    if isinstance(node, ast.Attribute):
        module = _module(node.value)
        found: Callable[..., Any] = (
            resolve(module, node.attr) if module else getattr(_evaluate(node.value, values), node.attr)
        )
        return found
    if not isinstance(node, ast.Name):
        raise TypeError(f"{type(node).__name__} was not checked")
    return HELPERS[node.id]


def _index(node: ast.expr, values: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Slice):
        parts = (None if part is None else _evaluate(part, values) for part in (node.lower, node.upper, node.step))
        return slice(*parts)
    if isinstance(node, ast.Tuple):
        return tuple(_index(item, values) for item in node.elts)
    return _evaluate(node, values)


guard(globals())
