"""Type checks of arguments of public functions: a wrong type is one error, before anything is computed.

The accepted types are those of the annotations; nothing is declared twice. A module ends with ``guard(globals())``,
which wraps the functions and classes in its ``__all__``. Events are annotated as ``Any`` and are checked where their
columns are used; objects that several libraries can provide are a `Kind`.
"""

from __future__ import annotations

import builtins
import collections.abc as abc
import functools
import inspect
import numbers
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeGuard

import numpy as np

from jettagger.display import Brief
from jettagger.errors import ConfigError, WrongType

__all__ = [
    "Histogram",
    "Kind",
    "Model",
    "Numbers",
    "Records",
    "Workspace",
    "fits",
    "guard",
    "in_range",
    "in_words",
    "is_number",
    "of_type",
    "shown",
]


@dataclass(frozen=True)
class Kind(Brief):
    """Objects of several classes, recognised by their attributes.

    Parameters
    ----------
    text : str
        For messages.
    test : callable
        Predicate: whether a value is of this kind.
    """

    text: str
    test: Callable[[Any], bool]


def _has(*names: str) -> Callable[[Any], bool]:
    return lambda value: all(hasattr(value, name) for name in names)


def _are_numbers(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(isinstance(item, (numbers.Real, np.bool_)) for item in value)
    kind = getattr(value, "dtype", None)
    if isinstance(value, np.ndarray) and (value.ndim == 0 or kind is None or kind.kind not in "biufO"):
        return False
    return hasattr(value, "__array__") and hasattr(value, "__len__")


def _is_workspace(value: Any) -> bool:
    return isinstance(value, abc.Mapping) and {"channels", "measurements", "observations"} <= set(value)


Numbers = Annotated[Any, Kind("an array of numbers", _are_numbers)]
Records = Annotated[Any, Kind("an array with named columns", _has("fields", "__getitem__"))]
Histogram = Annotated[Any, Kind("a hist histogram", _has("axes", "values"))]
Workspace = Annotated[Mapping[str, Any], Kind("a pyhf workspace", _is_workspace)]
Model = Annotated[Any, Kind("a pyhf model", _has("config", "expected_data"))]

_WORDS: Mapping[Any, str] = {
    str: "text",
    bytes: "bytes",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    os.PathLike: "a path",
    type(None): "None",
}


def fits(value: Any, annotation: Any) -> bool:
    """Whether a value has the type of an annotation; elements of lists, tuples and mappings are checked, too.

    Parameters
    ----------
    value : object
    annotation : type or special form of `typing`
        Unsupported annotations match everything; for literals only the type is checked.

    Returns
    -------
    bool

    Examples
    --------
    >>> fits(["a", "b"], Iterable[str]), fits([1], Iterable[str]), fits(np.float32(1), float | None)
    (True, False, True)
    """
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return all(item.test(value) for item in inner[1:] if isinstance(item, Kind))
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, member) for member in inner)
    if origin is Literal:
        return any(fits(value, type(member)) for member in inner)
    kind = origin or annotation
    if kind is None:
        return value is None
    if not isinstance(kind, type) or kind in (Any, np.ndarray):
        return True
    if kind in (int, float):
        return isinstance(value, numbers.Integral if kind is int else numbers.Real)
    if kind is bool:
        return isinstance(value, (bool, np.bool_))
    if getattr(kind, "_is_protocol", False) and not kind.__module__.startswith(("collections", "os")):
        return all(hasattr(value, name) for name in _members(kind))
    if kind in (abc.Callable, type):
        return callable(value) if kind is not type else isinstance(value, type)
    if issubclass(kind, abc.Mapping):
        of_kind = isinstance(value, abc.Mapping)
        pairs = zip(*[value, value.values()], strict=True) if of_kind and len(inner) == 2 else ()
        return of_kind and all(fits(key, inner[0]) and fits(item, inner[1]) for key, item in pairs)
    if kind in (abc.Iterable, abc.Sequence, list, tuple, set, frozenset, abc.Iterator):
        return _fits_list(value, kind, inner)
    return isinstance(value, kind)


def _members(protocol: type) -> set[str]:
    """The names that a class of a protocol has."""
    parents = [parent for parent in protocol.__mro__ if getattr(parent, "_is_protocol", False)]
    names = {name for parent in parents for name in (*vars(parent), *vars(parent).get("__annotations__", ()))}
    return {name for name in names if not name.startswith("_") or name == "__call__"}


def _fits_list(value: Any, kind: type, inner: tuple[Any, ...]) -> bool:
    """Whether it can be gone through, and its elements fit where all of them are of one kind."""
    if isinstance(value, np.ndarray):
        if value.ndim == 0:
            return False
    elif not isinstance(value, abc.Iterable) or (isinstance(value, abc.Mapping) and kind is not abc.Iterable):
        return False
    if len(set(inner) - {...}) != 1:
        return True
    # of text and arrays the first element says it, what is made on the way is not touched
    members: Iterable[Any] = ()
    if isinstance(value, (list, tuple, abc.Mapping)):
        members = value
    elif isinstance(value, (str, bytes, np.ndarray)):
        members = value[:1]
    return all(fits(item, inner[0]) for item in members)


def in_words(annotation: Any) -> str:
    """An annotation in the words of an error message.

    Parameters
    ----------
    annotation : type or special form of `typing`

    Returns
    -------
    str

    Examples
    --------
    >>> in_words(str | os.PathLike[str] | None), in_words(Mapping[str, float])
    ('text, a path or None', 'a mapping of text to a number')
    """
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return next((item.text for item in inner[1:] if isinstance(item, Kind)), in_words(inner[0]))
    if origin in (typing.Union, types.UnionType):
        *first, last = dict.fromkeys(in_words(member) for member in inner)
        return f"{', '.join(first)} or {last}" if first else last
    if origin is Literal:
        return " or ".join(repr(member) for member in inner)
    kind = origin or annotation
    if kind is Any:
        return "anything"
    if kind in _WORDS or kind is None:
        return _WORDS.get(kind, "None")
    if kind is abc.Callable:
        return "a function"
    if isinstance(kind, type) and issubclass(kind, abc.Mapping):
        return "a mapping" + (f" of {in_words(inner[0])} to {in_words(inner[1])}" if len(inner) == 2 else "")
    if kind in (abc.Iterable, abc.Sequence, list, tuple, set, frozenset, abc.Iterator):
        members = dict.fromkeys(in_words(member) for member in inner if member is not ...)
        return "a list" + (f" of {' and '.join(members)}" if members else "")
    return f"a {getattr(kind, '__name__', kind)}"


def shown(value: Any) -> str:
    """A value in a message: its type, and itself where that is short.

    Parameters
    ----------
    value : object

    Returns
    -------
    str

    Examples
    --------
    >>> shown("a"), shown(np.arange(3.0)), shown(None)
    ("str 'a'", 'an array of float64[3]', 'None')
    """
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}{list(value.shape)}"
    text = repr(value)
    kind = type(value).__name__
    return "None" if value is None else f"{kind} {text}" if len(text) < 60 else kind


def of_type(value: Any, annotation: Any, where: str) -> None:
    """Refuse a value of another type.

    Parameters
    ----------
    value : object
    annotation : type or special form of `typing`
    where : str
        The function and the argument.

    Raises
    ------
    WrongType

    Examples
    --------
    >>> of_type(3, str | None, "load_tagger(), argument name_or_folder")
    Traceback (most recent call last):
        ...
    jettagger.errors.WrongType: load_tagger(), argument name_or_folder: got int 3, expected text or None
    """
    if not fits(value, annotation):
        got, expected = shown(value), in_words(annotation)
        raise WrongType(f"{where}: got {got}, expected {expected}", where=where, got=got, expected=expected)


def in_range(value: float, where: str, low: float, high: float = sys.float_info.max, *, above: bool = False) -> None:
    """Refuse a number outside a range; NaN and infinities are outside of each.

    Parameters
    ----------
    value : number
    where : str
        The function and the argument, or another place.
    low, high : float
        The range, with both ends.
    above : bool
        Whether ``low`` itself is outside.

    Raises
    ------
    ConfigError

    Examples
    --------
    >>> in_range(-2, "make_events(), argument n_events", 0)
    Traceback (most recent call last):
        ...
    jettagger.errors.ConfigError: make_events(), argument n_events: got -2, expected a number of at least 0
    """
    if low <= value <= high and not (above and value == low):
        return
    expected = f"above {low:g}" if above else f"of at least {low:g}"
    if high < sys.float_info.max:
        expected = f"{f'above {low:g} and up' if above else f'from {low:g}'} to {high:g}"
    text = f"{where}: got {value!r}, expected a number {expected}"
    raise ConfigError(text, where=where, got=repr(value), expected=f"a number {expected}")


def _hints(function: Any) -> dict[str, Any]:
    """The annotations of a function as types."""
    found: dict[str, Any] = {}
    names = getattr(function, "__globals__", {})
    for name, text in getattr(function, "__annotations__", {}).items():
        holder = types.SimpleNamespace(__annotations__={name: text}, __module__=function.__module__)
        try:
            hints = typing.get_type_hints(holder, globalns=names, localns=_Names(names), include_extras=True)
        except (TypeError, AttributeError):  # an annotation that cannot be evaluated says nothing
            continue
        found |= hints
    return found


class _Names(dict[str, Any]):
    """Names of annotations; what is imported for type checkers only may be anything."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        super().__init__()
        self._known = known

    def __missing__(self, name: str) -> Any:
        if name in self._known or hasattr(builtins, name):
            raise KeyError(name)
        return Any


def _checked(function: Any, name: str) -> Any:
    signature = inspect.signature(function)
    hints: dict[str, Any] = {}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not hints:
            hints.update(_hints(function) or {"return": None})
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # Python's own words for too many or too few arguments
        for argument, value in bound.arguments.items():
            if argument not in hints:
                continue
            parameter = signature.parameters[argument]
            if value is parameter.default:
                continue
            values: Iterable[Any] = (value,)
            if parameter.kind is parameter.VAR_POSITIONAL:
                values = value
            elif parameter.kind is parameter.VAR_KEYWORD:
                values = value.values()
            for one in values:
                of_type(one, hints[argument], f"{name}(), argument {argument}")
        return function(*args, **kwargs)

    return call


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a number; booleans are not, although Python treats them as integers.

    Parameters
    ----------
    value : object

    Returns
    -------
    bool

    Examples
    --------
    >>> is_number(3), is_number(0.5), is_number(True), is_number("3")
    (True, True, False, False)
    """
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def guard(module: dict[str, Any], *names: str) -> None:
    """Add type checks to the public functions of a module and to the methods of its classes.

    Parameters
    ----------
    module : dict
        Its ``globals()``, in which the functions are replaced.
    *names : str
        Public names; default: those in ``__all__``.

    Examples
    --------
    >>> def double(x: int) -> int:
    ...     return 2 * x
    >>> names = {"__all__": ["double"], "__name__": double.__module__, "double": double}
    >>> guard(names)
    >>> names["double"]("2")
    Traceback (most recent call last):
        ...
    jettagger.errors.WrongType: double(), argument x: got str '2', expected a whole number
    """
    for name in names or module["__all__"]:
        value = module[name]
        if getattr(value, "__module__", None) != module["__name__"]:
            continue
        if inspect.isfunction(value):
            module[name] = _checked(value, name)
        elif inspect.isclass(value) and not issubclass(value, BaseException) and not hasattr(value, "model_fields"):
            _guard_class(value)


def _guard_class(cls: type) -> None:
    made = "__post_init__" in vars(cls) or not hasattr(cls, "__dataclass_fields__")
    for name, member in list(vars(cls).items()):
        function: Callable[..., Any] | None = member if inspect.isfunction(member) else None
        if isinstance(member, classmethod):
            function = member.__func__
        if function is None or (name.startswith("_") and name not in ("__init__", "__call__")):
            continue
        if name == "__init__" and not made:
            continue
        shown = cls.__name__ if name == "__init__" else f"{cls.__name__}{'' if name == '__call__' else f'.{name}'}"
        wrapped = _checked(function, shown)
        setattr(cls, name, classmethod(wrapped) if isinstance(member, classmethod) else wrapped)


def __dir__() -> list[str]:
    return sorted(__all__)
