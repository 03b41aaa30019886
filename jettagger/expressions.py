"""Small expressions on columns, as users write them for cuts: ``"pt > 200 and abs(eta) < 2.4"``.

A text is parsed with Python's own grammar and accepted only if every part of it is on a short list; it is
never evaluated as code. What is allowed: numbers, names of columns (with dots or underscores),
``+ - * / // % **``, comparisons (also chained, ``50 < mass < 150``), ``and or not`` and ``& | ~`` (all
element by element; ``&`` and ``|`` act on the bits of integers, so ``(jetId & 2) > 0`` works), and calls of
the functions in :data:`FUNCTIONS`.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

import numpy as np

from jettagger.arguments import of_type
from jettagger.errors import ConfigError, MismatchError, UnknownName, hint

__all__ = ["BINARY", "COMPARE", "FUNCTIONS", "Expression", "ExpressionText", "Function", "parse", "select"]

#: the longest text that is read, in characters
MAX_LENGTH = 10_000


@dataclass(frozen=True)
class Function:
    """A function that an expression may call.

    Parameters
    ----------
    call : callable
        Takes and returns arrays.
    least, most : int
        The smallest and the largest number of arguments.
    text : str
        What it does, for help texts.
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
                f"{name}(...) in an expression reduces the list of each event: expected a column with a list "
                f"an event, got one with {getattr(values, 'ndim', 0)} dimension(s)"
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


#: the functions that an expression may call, by name
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

#: the operators that an expression may use, by their place in Python's grammar
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
#: operators of C++, as TTree::Draw takes them
_FOREIGN = re.compile(r"&&|\|\||!(?!=)")
_ALLOWED = "numbers, names, + - * / // % **, comparisons, & | ~, and or not, and calls of functions"


class ExpressionText:
    """A text with the place where it was written, which turns syntax into errors that point at it.

    Parameters
    ----------
    text : str
        The expression.
    where : str
        Where it was written, e.g. ``"--where"`` or ``"search.yaml, line 12"``.

    Raises
    ------
    ConfigError
        If it is no text, too long, or uses what is not allowed; says where.
    """

    def __init__(self, text: str, where: str = "") -> None:
        of_type(where, str, "an expression, argument where")
        if not isinstance(text, str):
            raise ConfigError(f"{_place(where)}expected an expression as text, got {text!r}")
        if len(text) > MAX_LENGTH:
            raise ConfigError(f"{_place(where)}an expression of {len(text)} characters, at most {MAX_LENGTH}")
        self.text = " ".join(text.splitlines()).rstrip()
        self.where = where

    def tree(self, readable: str | None = None) -> ast.expr:
        """The syntax tree of the text.

        Parameters
        ----------
        readable : str, optional
            What to parse instead of the text, of the same length; for notations that Python's grammar lacks.

        Raises
        ------
        ConfigError
            If the text is empty or is no expression.
        """
        if not self.text.strip():
            raise ConfigError(f"{_place(self.where)}the expression is empty")
        code = self.text if readable is None else readable
        # Leading blanks would be an indentation error; the offset keeps positions true.
        shift = len(code) - len(code.lstrip())
        self._shift = shift
        self._code = code[shift:]
        try:
            return ast.parse(self._code, mode="eval").body
        except SyntaxError as error:
            offset = shift + max((error.offset or 1) - 1, 0)
            raise self.error_at(min(offset, len(self.text)), f"cannot be read: {error.msg}") from None
        except (RecursionError, MemoryError, ValueError) as error:
            raise ConfigError(f"{_place(self.where)}the expression cannot be read: {error}") from None

    def offset(self, node: ast.AST) -> int:
        """Where a node begins in the text, in characters from 0."""
        in_bytes: int = getattr(node, "col_offset", 0)
        return self._shift + len(self._code.encode()[:in_bytes].decode(errors="ignore"))

    def end(self, node: ast.AST) -> int:
        """Where a node ends in the text, in characters from 0."""
        in_bytes: int = getattr(node, "end_col_offset", None) or 0
        return self._shift + len(self._code.encode()[:in_bytes].decode(errors="ignore"))

    def segment(self, node: ast.AST) -> str:
        """The text of a node."""
        return self.text[self.offset(node) : self.end(node)]

    def bracketed(self, node: ast.AST) -> bool:
        """Whether a node stands in parentheses of its own."""
        before, after = self.text[: self.offset(node)].rstrip(), self.text[self.end(node) :].lstrip()
        return before.endswith("(") and after.startswith(")")

    def error_at(self, offset: int, message: str) -> ConfigError:
        """The error for a position: the message, the text, and a mark under the position."""
        mark = " " * offset + "^"
        return ConfigError(f"{_place(self.where)}position {offset + 1}: {message}\n  {self.text}\n  {mark}")

    def refuse(self, node: ast.AST, message: str) -> NoReturn:
        """Raise the error for a node."""
        raise self.error_at(self.offset(node), message)


def _place(where: str) -> str:
    return f"{where}: " if where else ""


@dataclass(frozen=True)
class Expression:
    """An expression that was checked and can be evaluated on arrays; made by :func:`parse`.

    It is a value: two expressions of the same text are equal, and a pickled one is its text.

    Attributes
    ----------
    text : str
        As it was written, on one line.
    where : str
        Where it was written.

    Examples
    --------
    >>> cut = parse("pt > 200 and abs(eta) < 2.4")
    >>> cut.names
    ('pt', 'eta')
    >>> cut.evaluate({"pt": np.array([150.0, 300.0]), "eta": np.array([0.1, -2.0])}).tolist()
    [False, True]
    """

    text: str
    where: str = field(default="", compare=False)
    functions: Mapping[str, Function] = field(default_factory=lambda: FUNCTIONS, compare=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.functions is not FUNCTIONS:
            raise TypeError("an expression with functions of its own cannot be pickled: pickle its text")
        return (parse, (self.text, self.where))

    def __str__(self) -> str:
        return self.text

    @cached_property
    def _parsed(self) -> tuple[ExpressionText, ast.expr]:
        source = ExpressionText(self.text, self.where)
        return source, source.tree()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the columns that it needs, in the order in which they appear."""
        return tuple(dict.fromkeys(name for name, _ in _names(self._parsed[1])))

    def check(self, known: Iterable[str], kind: str = "column") -> None:
        """Refuse names that do not exist.

        Parameters
        ----------
        known : iterable of str
            The names that exist.
        kind : str
            What they are, for the message.

        Raises
        ------
        UnknownName
            If the expression needs others; says which, where in the text, and the nearest.
        """
        known = list(known)
        unknown = [name for name in self.names if name not in known]
        if unknown:
            source, tree = self._parsed
            offset = next(source.offset(node) for name, node in _names(tree) if name == unknown[0])
            place = f"{_place(self.where)}expression {self.text.strip()!r}, position {offset + 1}"
            raise UnknownName(kind, unknown, known, place)

    def evaluate(self, values: Any) -> Any:
        """The value of the expression.

        Parameters
        ----------
        values : mapping, or awkward record array
            Name to array (NumPy, awkward, dask-awkward) or number. In a record array, ``FatJet.pt`` is the
            field ``pt`` of the field ``FatJet``.

        Returns
        -------
        array or number
            Broadcast as the arrays' own library does; None stays None. Division by zero and the logarithm of
            what is not positive give infinities and NaN, as in NumPy, without a warning.

        Raises
        ------
        UnknownName
            If a name is not there.
        MismatchError
            If the arrays do not fit together.
        """
        source, tree = self._parsed
        found = {name: _find(values, name) for name in self.names}
        if any(value is _ABSENT for value in found.values()):
            self.check([*_known(values), *(name for name, value in found.items() if value is not _ABSENT)])
        try:
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                return _evaluate(tree, found, self.functions)
        except (ValueError, TypeError) as error:
            reason = str(error).strip().splitlines()
            shapes = ", ".join(
                f"{name}: {getattr(value, 'type', None) or np.shape(value)}" for name, value in found.items()
            )
            text = f"{_place(self.where)}expression {source.text.strip()!r} cannot be evaluated on {shapes}"
            raise MismatchError(f"{text}: {reason[0] if reason else error!r}") from error


def parse(text: str, where: str = "", functions: Mapping[str, Function] = FUNCTIONS) -> Expression:
    """Read an expression and refuse all that is not on the list of what is allowed.

    Parameters
    ----------
    text : str
        The expression, e.g. ``"(pt > 200) & (abs(eta) < 2.4)"``.
    where : str
        Where it was written, e.g. ``"--where"``, for error messages.
    functions : mapping
        The functions that may be called.

    Returns
    -------
    Expression

    Raises
    ------
    ConfigError
        If the text is no expression or uses what is not allowed; says which token, at which position, and
        what is allowed.

    Examples
    --------
    >>> parse("50 < mass < 150").names
    ('mass',)
    >>> parse("system('ls')")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    jettagger.errors.ConfigError: position 1: unknown function 'system'. Allowed: abs, ...
    """
    source = ExpressionText(text, where)
    try:
        tree = source.tree()
    except ConfigError:
        foreign = _FOREIGN.search(source.text)
        if foreign is None:
            raise
        word = {"&&": "and", "||": "or", "!": "not"}[foreign[0]]
        mark = {"&&": "&", "||": "|", "!": "~"}[foreign[0]]
        text = f"{foreign[0]!r} is no operator here: write {word!r}, or {mark!r} with each condition in parentheses"
        raise source.error_at(foreign.start(), text) from None
    _check(source, tree, functions)
    made = Expression(source.text, where, functions)
    vars(made)["_parsed"] = (source, tree)  # read once
    return made


def select(
    text: str, known: Iterable[str], get: Callable[[str], Any], count: int, kind: str = "column"
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which entries of flat columns pass a cut.

    Parameters
    ----------
    text : str
        The cut, e.g. ``"pt > 200"``.
    known : iterable of str
        Names of the columns.
    get : callable
        Name to column, one entry an object, NumPy or awkward.
    count : int
        Number of objects.
    kind : str
        What the columns are, for messages.

    Returns
    -------
    bool[count]
        False where the value is missing.

    Raises
    ------
    UnknownName
        If there is no such column; with the nearest.
    ConfigError
        If it is no cut.

    Examples
    --------
    >>> select("pt > 200", ["pt"], {"pt": np.array([150.0, 250.0])}.__getitem__, 2).tolist()
    [False, True]
    """
    expression = parse(text, where="where")
    expression.check(known, kind)
    found = expression.evaluate({name: get(name) for name in expression.names})
    if type(found).__module__.partition(".")[0] == "awkward":
        import awkward as ak

        found = ak.to_numpy(ak.fill_none(found, False)) if found.ndim == 1 else np.empty((0, 0))
    flags = np.asarray(found)
    if flags.dtype != np.bool_ or flags.ndim > 1:
        raise ConfigError(f"where: {text!r} is no cut: it gives {flags.dtype}, expected true or false for each jet")
    return np.broadcast_to(flags, (count,)).copy()


def _check(source: ExpressionText, node: ast.expr, functions: Mapping[str, Function]) -> None:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
            if not isinstance(node.value, bool):
                source.refuse(node, f"{source.segment(node)} is not allowed. Allowed: {_ALLOWED}")
        elif isinstance(node.value, int) and abs(node.value) > 2**63 - 1:
            source.refuse(node, f"the number {source.segment(node)} does not fit into 64 bits")
    elif isinstance(node, (ast.Name, ast.Attribute)):
        if _dotted(node) is None:
            source.refuse(node, f"{source.segment(node)!r} is no name of a column. Allowed: {_ALLOWED}")
    elif isinstance(node, ast.BinOp):
        if type(node.op) not in BINARY:
            source.refuse(node, f"the operator in {source.segment(node)!r} is not allowed. Allowed: {_ALLOWED}")
        _check(source, node.left, functions)
        _check(source, node.right, functions)
    elif isinstance(node, ast.UnaryOp):
        _check(source, node.operand, functions)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            _check(source, value, functions)
    elif isinstance(node, ast.Compare):
        _check_comparison(source, node)
        for value in (node.left, *node.comparators):
            _check(source, value, functions)
    elif isinstance(node, ast.Call):
        _check_call(source, node, functions)
        for value in node.args:
            _check(source, value, functions)
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
                f"{source.segment(side)!r} is taken together: put comparisons beside & and | in parentheses",
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


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id if not node.id.startswith("__") else None
    if isinstance(node, ast.Attribute) and not node.attr.startswith("__"):
        front = _dotted(node.value)
        return None if front is None else f"{front}.{node.attr}"
    return None


def _names(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, (ast.Name, ast.Attribute)):
        name = _dotted(node)
        if name is not None:
            yield name, node
    elif isinstance(node, ast.Call):
        for argument in node.args:
            yield from _names(argument)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _names(child)


_ABSENT = object()


def _known(values: Any) -> list[str]:
    return list(values) if isinstance(values, Mapping) else list(getattr(values, "fields", []))


def _find(values: Any, name: str) -> Any:
    if name in _known(values):
        return values[name]
    front, _, rest = name.partition(".")
    if rest and front in _known(values):
        return _find(values[front], rest)
    return _ABSENT


def _evaluate(node: ast.expr, values: Mapping[str, Any], functions: Mapping[str, Function]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, (ast.Name, ast.Attribute)):
        return values[_dotted(node) or ""]
    if isinstance(node, ast.BinOp):
        left, right = _evaluate(node.left, values, functions), _evaluate(node.right, values, functions)
        if isinstance(node.op, (ast.BitAnd, ast.BitOr)) or not isinstance(left, (int, float)):
            return BINARY[type(node.op)](left, right)
        if not isinstance(right, (int, float)):
            return BINARY[type(node.op)](left, right)
        # Python's own integers grow without bound and divide by zero with an exception; the result is a plain
        # number again so that it does not widen float32 columns.
        return float(BINARY[type(node.op)](np.float64(left), np.float64(right)))
    if isinstance(node, ast.UnaryOp):
        operand = _evaluate(node.operand, values, functions)
        if isinstance(node.op, ast.USub):
            return -operand
        if isinstance(node.op, ast.UAdd):
            return operand
        return np.logical_not(operand)
    if isinstance(node, ast.BoolOp):
        combine = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        result = _evaluate(node.values[0], values, functions)
        for value in node.values[1:]:
            result = combine(result, _evaluate(value, values, functions))
        return result
    if isinstance(node, ast.Compare):
        sides = [_evaluate(side, values, functions) for side in (node.left, *node.comparators)]
        result = None
        for symbol, left, right in zip(node.ops, sides[:-1], sides[1:], strict=True):
            part = COMPARE[type(symbol)](left, right)
            result = part if result is None else result & part
        return result
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)  # noqa: PT018
    return functions[node.func.id].call(*(_evaluate(value, values, functions) for value in node.args))
