"""The text of an expression, and errors that point to a position in it."""

from __future__ import annotations

import ast
from collections.abc import Container
from typing import NoReturn

from jettagger.arguments import of_type
from jettagger.display import Brief
from jettagger.errors import ConfigError

__all__ = ["MAX_DEPTH", "ExpressionText", "chain_of", "place_of", "sides_of"]

#: maximum length of a text, in characters
MAX_LENGTH = 10_000

#: maximum depth of parentheses, calls, signs and negations; ``a + b + c`` is one level for any number of terms
MAX_DEPTH = 100


class ExpressionText(Brief):
    """A text with its origin, which turns syntax errors into errors that point to the position.

    Parameters
    ----------
    text : str
        The expression.
    where : str
        Origin of the text, e.g. ``"--where"`` or ``"search.yaml, line 12"``.

    Raises
    ------
    ConfigError
        If it is not a text, is too long, or uses something that is not allowed; gives the position.
    """

    def __init__(self, text: str, where: str = "") -> None:
        of_type(where, str, "an expression, argument where")
        if not isinstance(text, str):
            raise ConfigError(f"{place_of(where)}expected an expression as text, got {text!r}")
        if len(text) > MAX_LENGTH:
            raise ConfigError(
                f"{place_of(where)}an expression of {len(text)} characters, expected at most {MAX_LENGTH}"
            )
        self.text = " ".join(text.splitlines()).rstrip()
        self.where = where

    def tree(self, readable: str | None = None) -> ast.expr:
        """The syntax tree of the text.

        Parameters
        ----------
        readable : str, optional
            Text of the same length to parse instead, for notations that Python's grammar lacks.

        Raises
        ------
        ConfigError
            If the text is empty, is not an expression, or is nested more than `MAX_DEPTH` deep.
        """
        if not self.text.strip():
            raise ConfigError(f"{place_of(self.where)}the expression is empty")
        code = self.text if readable is None else readable
        # Leading blanks would be an indentation error; the offset keeps positions true.
        shift = len(code) - len(code.lstrip())
        self._shift = shift
        self._code = code[shift:]
        try:
            tree = ast.parse(self._code, mode="eval").body
        except SyntaxError as error:
            offset = shift + max((error.offset or 1) - 1, 0)
            raise self.error_at(min(offset, len(self.text)), f"cannot be read: {error.msg}") from None
        except (RecursionError, MemoryError):
            text = f"an expression of {len(code)} characters is too long or nested too deeply for Python's grammar"
            raise ConfigError(f"{place_of(self.where)}{text}: split it") from None
        except ValueError as error:
            raise ConfigError(f"{place_of(self.where)}the expression cannot be read: {error}") from None
        self._check_depth(tree)
        return tree

    def _check_depth(self, tree: ast.expr) -> None:
        """Refuse an expression that is nested too deep."""
        waiting: list[tuple[ast.AST, int]] = [(tree, 1)]
        while waiting:
            node, depth = waiting.pop()
            if depth > MAX_DEPTH:
                raise ConfigError(
                    f"{place_of(self.where)}position {self.offset(node) + 1}: the expression is nested more than "
                    f"{MAX_DEPTH} deep: split it, or give names to its parts"
                )
            for child in ast.iter_child_nodes(node):
                goes_on = isinstance(node, ast.BinOp) and child is node.left and isinstance(child, ast.BinOp)
                waiting.append((child, depth + (isinstance(child, ast.expr) and not goes_on)))

    def offset(self, node: ast.AST) -> int:
        """Start of a node in the text, in characters from 0."""
        in_bytes: int = getattr(node, "col_offset", 0)
        return self._shift + len(self._code.encode()[:in_bytes].decode(errors="ignore"))

    def end(self, node: ast.AST) -> int:
        """End of a node in the text, in characters from 0."""
        in_bytes: int = getattr(node, "end_col_offset", None) or 0
        return self._shift + len(self._code.encode()[:in_bytes].decode(errors="ignore"))

    def segment(self, node: ast.AST) -> str:
        """The text of a node."""
        return self.text[self.offset(node) : self.end(node)]

    def bracketed(self, node: ast.AST) -> bool:
        """Whether a node has its own parentheses."""
        before, after = self.text[: self.offset(node)].rstrip(), self.text[self.end(node) :].lstrip()
        return before.endswith("(") and after.startswith(")")

    def error_at(self, offset: int, message: str) -> ConfigError:
        """The error for a position: the message, the text, and a mark below the position."""
        mark = " " * offset + "^"
        return ConfigError(f"{place_of(self.where)}position {offset + 1}: {message}\n  {self.text}\n  {mark}")

    def refuse(self, node: ast.AST, message: str) -> NoReturn:
        """Raise the error for a node."""
        raise self.error_at(self.offset(node), message)

    def check_operators(self, node: ast.BinOp, known: Container[type[ast.operator]], allowed: str) -> None:
        """Refuse unknown operators in ``a + b - c``; ``allowed`` lists the allowed ones, for the message."""
        for operation in chain_of(node)[1][::-1]:
            if type(operation.op) not in known:
                text = f"the operator in {self.segment(operation)!r} is not allowed. Allowed: {allowed}"
                self.refuse(operation, text)


def place_of(where: str) -> str:
    """The beginning of a message: the origin of the text, and a colon; empty if there is no origin.

    Parameters
    ----------
    where : str

    Returns
    -------
    str
    """
    return f"{where}: " if where else ""


def chain_of(node: ast.BinOp) -> tuple[ast.expr, list[ast.BinOp]]:
    """The operations of ``a + b - c``, which are nested in Python's grammar, in order of evaluation.

    Parameters
    ----------
    node : ast.BinOp

    Returns
    -------
    first : ast.expr
        Left operand of the first operation.
    operations : list of ast.BinOp
        Each with its operator and its right operand.

    Examples
    --------
    >>> first, operations = chain_of(ast.parse("a + b - c", mode="eval").body)
    >>> ast.unparse(first), [ast.unparse(operation.right) for operation in operations]
    ('a', ['b', 'c'])
    """
    operations: list[ast.BinOp] = []
    left: ast.expr = node
    while isinstance(left, ast.BinOp):
        operations.append(left)
        left = left.left
    return left, operations[::-1]


def sides_of(node: ast.BinOp) -> list[ast.expr]:
    """The operands of ``a + b - c``, from left to right.

    Parameters
    ----------
    node : ast.BinOp

    Returns
    -------
    list of ast.expr

    Examples
    --------
    >>> [ast.unparse(side) for side in sides_of(ast.parse("a + b - c", mode="eval").body)]
    ['a', 'b', 'c']
    """
    first, operations = chain_of(node)
    return [first, *(operation.right for operation in operations)]
