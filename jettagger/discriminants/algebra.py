"""The algebra of named scores: nodes of expressions, their text and their evaluation.

A node is an immutable value. Python's operators combine nodes; :func:`write` gives the text of a node,
:func:`read` the node of a text, and :func:`evaluate` its value for given scores.
"""

from __future__ import annotations

import ast
import fnmatch
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import ConfigError, WrongType, hint
from jettagger.expressions import ExpressionText
from jettagger.expressions.text import chain_of

__all__ = [
    "LOG_FLOOR",
    "Call",
    "Chain",
    "Negative",
    "Node",
    "Number",
    "Parameter",
    "Score",
    "Sum",
    "combine",
    "evaluate",
    "group",
    "log",
    "log_ratio",
    "parameter",
    "ratio",
    "read",
    "score",
    "sum_of",
    "write",
]

#: logarithms are taken of ``max(x, LOG_FLOOR)``, so that an empty sum of scores gives a finite value
LOG_FLOOR = 1e-10

_NAME = re.compile(r"[A-Za-z_]\w*")
_PATTERN = re.compile(r"[A-Za-z_*?\[][\w*?\[\]!-]*")
_GLOB = frozenset("*?[")

#: precedence of operators
_STRENGTH = {"+": 1, "-": 1, "*": 2, "/": 2}


class Node(Brief):
    """An expression with a value for each jet; the base class of the algebra."""

    def __add__(self, other: Node | float) -> Node:
        return combine("+", self, as_node(other))

    def __radd__(self, other: float) -> Node:
        return combine("+", as_node(other), self)

    def __sub__(self, other: Node | float) -> Node:
        return combine("-", self, as_node(other))

    def __rsub__(self, other: float) -> Node:
        return combine("-", as_node(other), self)

    def __mul__(self, other: Node | float) -> Node:
        return combine("*", self, as_node(other))

    def __rmul__(self, other: float) -> Node:
        return combine("*", as_node(other), self)

    def __truediv__(self, other: Node | float) -> Node:
        return combine("/", self, as_node(other))

    def __rtruediv__(self, other: float) -> Node:
        return combine("/", as_node(other), self)

    def __neg__(self) -> Node:
        return Number(-self.value) if isinstance(self, Number) else Negative(self)

    def __str__(self) -> str:
        return write(self)

    @property
    def parts(self) -> tuple[Node, ...]:
        """The direct operands."""
        return ()

    def walk(self) -> Iterator[Node]:
        """This node and all nodes below it."""
        yield self
        for part in self.parts:
            yield from part.walk()


@dataclass(frozen=True)
class Number(Node):
    """A number."""

    value: float
    __str__ = Node.__str__


@dataclass(frozen=True)
class Score(Node):
    """One score by its name, e.g. ``probHbb``."""

    name: str
    __str__ = Node.__str__


@dataclass(frozen=True)
class Parameter(Node):
    """A named number with a value to be set later, e.g. ``alpha``."""

    name: str
    __str__ = Node.__str__


@dataclass(frozen=True)
class Sum(Node):
    """The sum of all scores matched by any of the patterns, each score once.

    A pattern is the name of a group of the model (``QCD``), the name of a score, or a glob (``probQCD*``).
    """

    patterns: tuple[str, ...]
    __str__ = Node.__str__


@dataclass(frozen=True)
class Negative(Node):
    """Minus a node."""

    operand: Node
    __str__ = Node.__str__

    @property
    def parts(self) -> tuple[Node, ...]:
        return (self.operand,)


@dataclass(frozen=True)
class Chain(Node):
    """Nodes joined by ``+`` and ``-``, or by ``*`` and ``/``, from left to right; made by `combine`.

    A sum of a thousand scores is one node instead of a thousand nested ones.
    """

    first: Node
    rest: tuple[tuple[str, Node], ...]
    __str__ = Node.__str__

    @property
    def parts(self) -> tuple[Node, ...]:
        return (self.first, *(node for _, node in self.rest))

    def split(self) -> tuple[Node, str, Node]:
        """The left operand of the last operation, its symbol, and the right operand; `combine` joins them again.

        Examples
        --------
        >>> before, symbol, behind = (score("a") / 2 * score("b")).split()
        >>> str(before), symbol, str(behind)
        ('a / 2', '*', 'b')
        """
        *front, (symbol, last) = self.rest
        return (Chain(self.first, tuple(front)) if front else self.first), symbol, last


@dataclass(frozen=True)
class Call(Node):
    """A function of nodes, one of :data:`CALLS`."""

    function: str
    arguments: tuple[Node, ...]
    __str__ = Node.__str__

    @property
    def parts(self) -> tuple[Node, ...]:
        return self.arguments


def _floored_log(value: Any) -> Any:
    return np.log(np.maximum(value, LOG_FLOOR))


#: functions allowed in a discriminant: name -> (function, number of arguments)
CALLS: dict[str, tuple[Callable[..., Any], int]] = {
    "log": (_floored_log, 1),
    "log_ratio": (lambda signal, background: _floored_log(signal) - _floored_log(background), 2),
    "exp": (np.exp, 1),
    "sqrt": (np.sqrt, 1),
    "abs": (np.abs, 1),
    "min": (np.minimum, 2),
    "max": (np.maximum, 2),
}


def combine(symbol: str, left: Node, right: Node) -> Chain:
    """Two nodes joined by one of ``+ - * /``; a chain on the left is extended.

    Parameters
    ----------
    symbol : str
    left, right : Node

    Returns
    -------
    Chain

    Examples
    --------
    >>> combine("-", score("a") + 1, score("b")) == Chain(score("a"), (("+", Number(1.0)), ("-", score("b"))))
    True
    """
    if isinstance(left, Chain) and _STRENGTH[left.rest[0][0]] == _STRENGTH[symbol]:
        return Chain(left.first, (*left.rest, (symbol, right)))
    return Chain(left, ((symbol, right),))


def as_node(value: Node | float) -> Node:
    """A node for a number; a node is returned as it is."""
    if isinstance(value, Node):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        got = f"{type(value).__name__} {value!r}"
        raise WrongType(
            f"a discriminant is made of scores and numbers, got {got}",
            where="a discriminant",
            got=got,
            expected="scores and numbers",
        )
    if not math.isfinite(value):
        raise ConfigError(f"a discriminant cannot contain the number {value}")
    return Number(float(value))


def score(name: str) -> Score:
    """One score by its name.

    Raises
    ------
    ConfigError
        If the name cannot be that of a score.

    Examples
    --------
    >>> print(score("probHbb") / (score("probHbb") + sum_of("probQCD*")))
    probHbb / (probHbb + sum(probQCD*))
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is not the name of a score: expected letters, digits and underscores")
    return Score(name)


def parameter(name: str) -> Parameter:
    """A named number, whose value is given to the discriminant.

    Raises
    ------
    ConfigError
        If the name cannot be that of a parameter.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is not the name of a parameter: expected letters, digits and underscores")
    return Parameter(name)


def sum_of(*patterns: str) -> Sum:
    """The sum of scores: by name, by group of the model, or by glob; each score counts once.

    Raises
    ------
    ConfigError
        If no name is given, or a name is neither a score, group nor glob.

    Examples
    --------
    >>> print(sum_of("QCD", "probTopbW*"))
    sum(QCD, probTopbW*)
    """
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise ConfigError(f"{pattern!r} is not the name of a score or group, nor a glob such as 'probQCD*'")
    if not patterns:
        raise ConfigError("sum() needs at least one name, group or glob")
    return Sum(tuple(patterns))


def group(name: str) -> Sum:
    """The sum over a group of the model, such as ``QCD``; the same as ``sum_of(name)``."""
    return sum_of(name)


def log(argument: Node | float) -> Call:
    """Natural logarithm of ``max(argument, LOG_FLOOR)``."""
    return Call("log", (as_node(argument),))


def ratio(signal: Node | float, background: Node | float) -> Node:
    """``signal / (signal + background)``."""
    signal = as_node(signal)
    return signal / (signal + as_node(background))


def log_ratio(signal: Node | float, background: Node | float) -> Call:
    """``log(signal / background)``, each of the two at least :data:`LOG_FLOOR`."""
    return Call("log_ratio", (as_node(signal), as_node(background)))


# ------------------------------------------------------------------------------------------------ writing


_UNARY = 3


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _write(node: Node) -> tuple[str, int]:
    """The text of a node and its precedence."""
    if isinstance(node, Number):
        return _number(node.value), _UNARY if node.value < 0 or str(node.value)[0] == "-" else 9
    if isinstance(node, (Score, Parameter)):
        return node.name, 9
    if isinstance(node, Sum):
        return f"sum({', '.join(node.patterns)})", 9
    if isinstance(node, Call):
        return f"{node.function}({', '.join(write(argument) for argument in node.arguments)})", 9
    if isinstance(node, Negative):
        inner, strength = _write(node.operand)
        return (f"-{inner}" if strength > _UNARY else f"-({inner})"), _UNARY
    assert isinstance(node, Chain)
    own = _STRENGTH[node.rest[0][0]]
    text, strength = _write(node.first)
    words = [text if strength >= own else f"({text})"]
    for symbol, part in node.rest:
        text, strength = _write(part)
        # The same strength on the right needs parentheses: a - (b - c), and a + (b + c) must stay that tree.
        words += [symbol, text if strength > own else f"({text})"]
    return " ".join(words), own


def write(node: Node) -> str:
    """The text of a node; :func:`read` turns it into an equal node.

    Examples
    --------
    >>> write(ratio(score("a"), 2 * sum_of("QCD")))
    'a / (a + 2 * sum(QCD))'
    """
    return _write(node)[0]


# ------------------------------------------------------------------------------------------------ reading


_ALLOWED = (
    "numbers, names of scores and parameters, + - * /, sum(...) of names, groups or globs, ratio(signal, "
    f"background), {', '.join(f'{name}(...)' for name in CALLS)}"
)


def _find_sums(source: ExpressionText) -> dict[int, tuple[int, tuple[str, ...], list[int]]]:
    """Calls of ``sum(``: offset -> (end, patterns, start of each pattern)."""
    sums: dict[int, tuple[int, tuple[str, ...], list[int]]] = {}
    for match in re.finditer(r"(?<![\w.])sum\s*\(", source.text):
        close = source.text.find(")", match.end())
        if close < 0:
            raise source.error_at(match.start(), "sum( is not closed")
        patterns, starts = [], []
        position = match.end()
        for part in source.text[match.end() : close].split(","):
            start = position + len(part) - len(part.lstrip())
            pattern = part.strip()
            if not _PATTERN.fullmatch(pattern):
                message = f"sum(...) takes names, groups and globs such as probQCD*, got {pattern!r}"
                raise source.error_at(start, message)
            patterns.append(pattern)
            starts.append(start)
            position += len(part) + 1
        sums[match.start()] = (close + 1, tuple(patterns), starts)
    return sums


def read(text: str, parameters: Mapping[str, float] | None = None, where: str = "") -> Node:
    """The node of a text; the text is parsed, never evaluated as code.

    Parameters
    ----------
    text : str
        E.g. ``"probHbb / (probHbb + alpha * sum(probQCD*))"``.
    parameters : mapping
        Names that are parameters; all others are scores.
    where : str
        Origin of the text, for error messages.

    Returns
    -------
    Node

    Raises
    ------
    ConfigError
        If the text is not valid; gives the token, its position, and what is allowed.

    Examples
    --------
    >>> read("x / (x + 2 * y)") == score("x") / (score("x") + 2 * score("y"))
    True
    """
    source = ExpressionText(text, where)
    sums = _find_sums(source)
    plain = list(source.text)
    for start, (end, _, _) in sums.items():
        # A glob is no Python: a name of the same length takes the place of sum(...) while the rest is parsed.
        plain[start:end] = "_" * (end - start)
    return _convert(source, source.tree("".join(plain)), dict(parameters or {}), sums)


_SYMBOLS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


def _convert(
    source: ExpressionText, node: ast.expr, parameters: Mapping[str, float], sums: Mapping[int, tuple[int, Any, Any]]
) -> Node:
    def deeper(part: ast.expr) -> Node:
        return _convert(source, part, parameters, sums)

    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        value = float(node.value)  # type: ignore[arg-type]
        if not math.isfinite(value):
            source.refuse(node, f"the number {source.segment(node)} is too large")
        return Number(value)
    if isinstance(node, ast.Name):
        start = source.offset(node)
        if start in sums:
            return Sum(sums[start][1])
        return Parameter(node.id) if node.id in parameters else Score(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        operand = deeper(node.operand)
        if isinstance(node.op, ast.UAdd):
            return operand
        return Number(-operand.value) if isinstance(operand, Number) else Negative(operand)
    if isinstance(node, ast.BinOp):
        return _convert_chain(source, node, parameters, sums)
    if isinstance(node, ast.Call):
        name = node.func.id if isinstance(node.func, ast.Name) else source.segment(node.func)
        known = [*CALLS, "ratio", "sum"]
        if name not in known:
            source.refuse(node, f"unknown function {name!r}{hint(name, known)}. Allowed: {', '.join(known)}")
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            source.refuse(node, f"{name}(...) takes plain arguments only")
        wanted = 2 if name == "ratio" else CALLS[name][1]
        if len(node.args) != wanted:
            source.refuse(node, f"{name}(...) takes {wanted} argument(s), got {len(node.args)}")
        arguments = [deeper(argument) for argument in node.args]
        return ratio(*arguments) if name == "ratio" else Call(name, tuple(arguments))
    return source.refuse(node, f"{source.segment(node)!r} is not allowed. Allowed: {_ALLOWED}")


def _convert_chain(
    source: ExpressionText, node: ast.BinOp, parameters: Mapping[str, float], sums: Mapping[int, tuple[int, Any, Any]]
) -> Node:
    first, operations = chain_of(node)
    for operation in operations[::-1]:
        if type(operation.op) not in _SYMBOLS:
            source.refuse(operation, f"{source.segment(operation)!r} is not allowed. Allowed: {_ALLOWED}")
    made = _convert(source, first, parameters, sums)
    for operation in operations:
        made = combine(_SYMBOLS[type(operation.op)], made, _convert(source, operation.right, parameters, sums))
    return made


# ------------------------------------------------------------------------------------------------ evaluation


def is_glob(pattern: str) -> bool:
    """Whether a pattern can match more than one name."""
    return not _GLOB.isdisjoint(pattern)


def match_glob(pattern: str, names: list[str] | tuple[str, ...]) -> list[str]:
    """The names matched by a glob, in their order."""
    return [name for name in names if fnmatch.fnmatchcase(name, pattern)]


def _divide(upper: Any, lower: Any, zero: float) -> Any:
    empty = lower == 0
    # Written without a "where" so that NumPy, awkward and dask arrays all take it and None stays None.
    return upper / (lower + empty) * (1.0 - empty) + zero * empty


def evaluate(
    node: Node,
    scores: Mapping[str, Any],
    members: Mapping[Sum, tuple[str, ...]],
    parameters: Mapping[str, float],
    zero: float,
) -> Any:
    """The value of a node.

    Parameters
    ----------
    node : Node
        The expression.
    scores : mapping
        Name of a score -> its values, float64 arrays of NumPy or awkward, or float64 numbers.
    members : mapping
        Each :class:`Sum` -> the names of its scores.
    parameters : mapping
        Values of the parameters.
    zero : float
        The value of a quotient whose denominator is zero.

    Returns
    -------
    array or float
        float64.
    """
    known: dict[Node, Any] = {}

    def value(part: Node) -> Any:
        if part not in known:
            known[part] = compute(part)
        return known[part]

    def compute(part: Node) -> Any:
        if isinstance(part, Number):
            return part.value
        if isinstance(part, Score):
            return scores[part.name]
        if isinstance(part, Parameter):
            return parameters[part.name]
        if isinstance(part, Sum):
            first, *others = members[part]
            total = scores[first]
            for name in others:
                total = total + scores[name]
            return total
        if isinstance(part, Negative):
            return -value(part.operand)
        if isinstance(part, Call):
            return CALLS[part.function][0](*(value(argument) for argument in part.arguments))
        assert isinstance(part, Chain)
        total = value(part.first)
        for symbol, following in part.rest:
            other = value(following)
            if symbol == "+":
                total = total + other
            elif symbol == "-":
                total = total - other
            elif symbol == "*":
                total = total * other
            else:
                total = _divide(total, other, zero)
        return total

    return value(node)


guard(globals(), "group", "log", "log_ratio", "parameter", "ratio", "score", "sum_of")
