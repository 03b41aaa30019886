"""Expressions as values: parsed from text, validated, evaluated on columns; cuts on flat columns."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from jettagger.display import Brief
from jettagger.errors import ConfigError, MismatchError, UnknownName, reason_of
from jettagger.expressions.evaluation import ABSENT, evaluate, find, known_names
from jettagger.expressions.grammar import check_tree, names_in
from jettagger.expressions.operations import FUNCTIONS, Function
from jettagger.expressions.text import ExpressionText, place_of

__all__ = ["Expression", "parse", "select"]

#: operators of C++, as in TTree::Draw
_FOREIGN = re.compile(r"&&|\|\||!(?!=)")


@dataclass(frozen=True)
class Expression(Brief):
    """A validated expression that can be evaluated on arrays; made by :func:`parse`.

    It is a value: expressions with the same text are equal, and its pickle is its text.

    Attributes
    ----------
    text : str
        The text, on one line.
    where : str
        Place of the text.

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

    @property
    def tree(self) -> ast.expr:
        """The validated syntax tree."""
        return self._parsed[1]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the required columns, in order of appearance."""
        return tuple(dict.fromkeys(name for name, _ in names_in(self.tree)))

    def check(self, known: Iterable[str], kind: str = "column") -> None:
        """Refuse unknown names.

        Parameters
        ----------
        known : iterable of str
            The existing names.
        kind : str
            Description of the names, for the message.

        Raises
        ------
        UnknownName
            If the expression uses other names; gives them, their position in the text, and the nearest ones.
        """
        known = list(known)
        unknown = [name for name in self.names if name not in known]
        if unknown:
            source, tree = self._parsed
            offset = next(source.offset(node) for name, node in names_in(tree) if name == unknown[0])
            place = f"{place_of(self.where)}expression {self.text.strip()!r}, position {offset + 1}"
            raise UnknownName(kind, unknown, known, place)

    def evaluate(self, values: Any) -> Any:
        """The value of the expression.

        Parameters
        ----------
        values : mapping, or awkward record array
            Name -> array (NumPy, awkward, dask-awkward) or number. In a record array, ``FatJet.pt`` is the field ``pt``
            of the field ``FatJet``.

        Returns
        -------
        array or number
            Broadcast by the library of the arrays; None stays None. Division by zero and the logarithm of non-positive
            numbers give infinities and NaN, as in NumPy, without a warning.

        Raises
        ------
        UnknownName
            If a name does not exist.
        MismatchError
            If the shapes of the arrays are incompatible.
        """
        source, tree = self._parsed
        found = {name: find(values, name) for name in self.names}
        if any(value is ABSENT for value in found.values()):
            self.check([*known_names(values), *(name for name, value in found.items() if value is not ABSENT)])
        try:
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                return evaluate(tree, found, self.functions)
        except (ValueError, TypeError) as error:
            shapes = ", ".join(
                f"{name}: {getattr(value, 'type', None) or np.shape(value)}" for name, value in found.items()
            )
            text = f"{place_of(self.where)}expression {source.text.strip()!r} cannot be evaluated on {shapes}"
            raise MismatchError(f"{text}: {reason_of(error)}") from error


def parse(text: str, where: str = "", functions: Mapping[str, Function] = FUNCTIONS) -> Expression:
    """Parse an expression, refusing everything that is not on the list of allowed nodes.

    Parameters
    ----------
    text : str
        The expression, e.g. ``"(pt > 200) & (abs(eta) < 2.4)"``.
    where : str
        Origin of the text, e.g. ``"--where"``, for error messages.
    functions : mapping
        The allowed functions.

    Returns
    -------
    Expression

    Raises
    ------
    ConfigError
        If the text is not an expression or uses something that is not allowed; gives the token, its position, and what
        is allowed.

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
        text = f"{foreign[0]!r} is not an operator here: write {word!r}, or {mark!r} with each condition in parentheses"
        raise source.error_at(foreign.start(), text) from None
    check_tree(source, tree, functions)
    made = Expression(source.text, where, functions)
    vars(made)["_parsed"] = (source, tree)  # read once
    return made


def select(
    text: str, known: Iterable[str], get: Callable[[str], Any], count: int, kind: str = "column"
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Mask of the entries of flat columns that pass a cut.

    Parameters
    ----------
    text : str
        The cut, e.g. ``"pt > 200"``.
    known : iterable of str
        Names of the columns.
    get : callable
        Name -> column, one entry per object, NumPy or awkward.
    count : int
        Number of objects.
    kind : str
        Description of the columns, for messages.

    Returns
    -------
    bool[count]
        False if the value is missing.

    Raises
    ------
    UnknownName
        If the column does not exist; gives the nearest ones.
    ConfigError
        If it is not a cut.

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
        raise ConfigError(f"where: {text!r} is not a cut: it gives {flags.dtype}, expected true or false for each jet")
    return np.broadcast_to(flags, (count,)).copy()
