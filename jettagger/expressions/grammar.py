"""The allowed nodes of syntax trees of expressions, and the names in them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from jettagger.arguments import is_number
from jettagger.errors import hint
from jettagger.expressions.operations import BINARY, COMPARE, Function
from jettagger.expressions.text import ExpressionText, sides_of

__all__ = ["check_tree", "dotted", "names_in"]

_ALLOWED = "numbers, names, + - * / // % **, comparisons, & | ~, and or not, and calls of functions"


def check_tree(source: ExpressionText, node: ast.expr, functions: Mapping[str, Function]) -> None:
    """Refuse nodes that are not allowed in an expression.

    Parameters
    ----------
    source : ExpressionText
        Text of the tree.
    node : ast.expr
    functions : mapping of str to Function
        Allowed functions.

    Raises
    ------
    ConfigError
        Gives the token, its position, and what is allowed.
    """
    if isinstance(node, ast.Constant):
        if not is_number(node.value):
            if not isinstance(node.value, bool):
                source.refuse(node, f"{source.segment(node)} is not allowed. Allowed: {_ALLOWED}")
        elif isinstance(node.value, int) and abs(node.value) > 2**63 - 1:
            source.refuse(node, f"the number {source.segment(node)} does not fit into 64 bits")
    elif isinstance(node, (ast.Name, ast.Attribute)):
        if dotted(node) is None:
            source.refuse(node, f"{source.segment(node)!r} is not the name of a column. Allowed: {_ALLOWED}")
    elif isinstance(node, ast.BinOp):
        source.check_operators(node, BINARY, _ALLOWED)
        for side in sides_of(node):
            check_tree(source, side, functions)
    elif isinstance(node, ast.UnaryOp):
        check_tree(source, node.operand, functions)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            check_tree(source, value, functions)
    elif isinstance(node, ast.Compare):
        _check_comparison(source, node)
        for value in (node.left, *node.comparators):
            check_tree(source, value, functions)
    elif isinstance(node, ast.Call):
        _check_call(source, node, functions)
        for value in node.args:
            check_tree(source, value, functions)
    else:
        source.refuse(node, f"{source.segment(node)!r} is not allowed. Allowed: {_ALLOWED}")


def _check_comparison(source: ExpressionText, node: ast.Compare) -> None:
    for symbol in node.ops:
        if type(symbol) not in COMPARE:
            source.refuse(node, f"{source.segment(node)!r}: allowed comparisons are < <= > >= == !=")
    for side in (node.left, *node.comparators):
        loose = isinstance(side, ast.BinOp) and isinstance(side.op, (ast.BitAnd, ast.BitOr))
        if loose and not source.bracketed(side):
            # & and | bind tighter than comparisons, so "pt > 200 & eta < 2" would compare with "200 & eta".
            source.refuse(
                side,
                f"{source.segment(side)!r} is evaluated first: put comparisons beside & and | in parentheses",
            )


def _check_call(source: ExpressionText, node: ast.Call, functions: Mapping[str, Function]) -> None:
    name = node.func.id if isinstance(node.func, ast.Name) else None
    if name is None or name not in functions:
        asked = source.segment(node.func)
        allowed = ", ".join(sorted(functions))
        source.refuse(node, f"unknown function {asked!r}{hint(asked, functions)}. Allowed: {allowed}")
    if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
        source.refuse(node, f"{name}(...) takes plain arguments only")
    function = functions[name]
    if not function.least <= len(node.args) <= function.most:
        wanted = str(function.least) if function.least == function.most else f"{function.least} to {function.most}"
        source.refuse(node, f"{name}(...) takes {wanted} argument(s), got {len(node.args)}")


def dotted(node: ast.expr) -> str | None:
    """The column name that a node represents, e.g. ``FatJet.pt``.

    Parameters
    ----------
    node : ast.expr

    Returns
    -------
    str or None
        None if it is not a name, or is a keyword of Python.
    """
    if isinstance(node, ast.Name):
        return node.id if not node.id.startswith("__") else None
    if isinstance(node, ast.Attribute) and not node.attr.startswith("__"):
        front = dotted(node.value)
        return None if front is None else f"{front}.{node.attr}"
    return None


def names_in(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """The names of columns in a tree, with their nodes, in the order of the text; names of functions are excluded.

    Parameters
    ----------
    node : ast.AST

    Yields
    ------
    name : str
    node : ast.AST
    """
    if isinstance(node, (ast.Name, ast.Attribute)):
        name = dotted(node)
        if name is not None:
            yield name, node
    elif isinstance(node, ast.Call):
        for argument in node.args:
            yield from names_in(argument)
    elif isinstance(node, ast.BinOp):
        for side in sides_of(node):
            yield from names_in(side)
    else:
        for child in ast.iter_child_nodes(node):
            yield from names_in(child)
