"""The only reader of JSON: limits, and a common wording of errors."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jettagger.errors import LONGEST_NAME, InputFileError, JettaggerError, visible
from jettagger.files import refuse_special

__all__ = ["DEEPEST", "parse_json", "read_object"]

#: maximum depth of lists and objects
DEEPEST = 100

#: tokens that determine the depth; in valid JSON a string always ends
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)

_KINDS = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}


def parse_json(
    text: str | bytes,
    where: str,
    error: type[JettaggerError] = InputFileError,
    *,
    kind: type | None = None,
    finite: bool = True,
    hook: Callable[[dict[str, Any]], Any] | None = None,
) -> Any:
    """The content of a JSON text.

    Parameters
    ----------
    text : str or bytes
        Bytes are UTF-8.
    where : str
        Name in messages, e.g. that of the file.
    error : type
        Class of the exception.
    kind : type, optional
        ``dict`` or ``list``: the expected type.
    finite : bool
        Whether to refuse NaN and infinities, which are not valid JSON but are written by Python; a number beyond the
        range of floats is infinite.
    hook : callable, optional
        Function of an object that returns its replacement.

    Returns
    -------
    object
        Dictionaries, lists, strings, numbers, booleans and None.

    Raises
    ------
    JettaggerError
        Of the type ``error``, if it is not JSON, has a key twice with different values, is nested more than `DEEPEST`
        deep, or is not of the type ``kind``.

    Examples
    --------
    >>> parse_json('{"a": [1, 2.5]}', "example")
    {'a': [1, 2.5]}
    >>> parse_json('{"a": NaN}', "example")
    Traceback (most recent call last):
        ...
    jettagger.errors.InputFileError: example is not valid JSON: NaN is not a finite number
    """

    def made(pairs: list[tuple[str, Any]]) -> Any:
        content: dict[str, Any] = {}
        for key, value in pairs:
            if key in content and content[key] != value:
                raise ValueError(f"the key {visible(key, LONGEST_NAME)!r} appears twice, with different values")
            content[key] = value
        return content if hook is None else hook(content)

    limits: dict[str, Any] = {"parse_float": _finite, "parse_constant": _finite} if finite else {}
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        content = json.loads(text, object_pairs_hook=made, **limits)
        if _depth(text) > DEEPEST:
            raise RecursionError
    except json.JSONDecodeError as problem:
        place = f"line {problem.lineno}, column {problem.colno}"
        raise error(f"{where} is not valid JSON: {place}: {problem.msg}") from problem
    except RecursionError as problem:
        raise error(f"{where} is not valid JSON: nested too deeply, {DEEPEST} levels are read at most") from problem
    except (ValueError, TypeError, KeyError) as problem:  # also numbers of thousands of digits, and what a hook refuses
        raise error(f"{where} is not valid JSON: {problem}") from problem
    if kind is not None and not isinstance(content, kind):
        found = _KINDS.get(type(content), "a number")
        raise error(f"{where} holds {found}, expected {_KINDS[kind]}")
    return content


def read_object(
    path: Path,
    error: type[JettaggerError] = InputFileError,
    *,
    finite: bool = True,
) -> dict[str, Any]:
    """The JSON object in a file.

    Parameters
    ----------
    path : pathlib.Path
    error, finite
        See `parse_json`.

    Returns
    -------
    dict

    Raises
    ------
    JettaggerError
        Of the type ``error``, also if the file cannot be read.
    """
    refuse_special(path, error)
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as problem:  # also a name with a zero byte, and bytes that are no text
        raise error(f"cannot read {path}: {getattr(problem, 'strerror', None) or problem}") from problem
    found: dict[str, Any] = parse_json(content, str(path), error, kind=dict, finite=finite)
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{visible(text, 40)} is not a finite number")
    return number


def _depth(text: str) -> int:
    """Maximum depth of lists and objects in a valid text."""
    number = text.count("[") + text.count("{")
    if number <= DEEPEST:
        return number
    depth = deepest = 0
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in ("[", "{"):
            depth += 1
            deepest = max(deepest, depth)
        elif mark in ("]", "}"):
            depth -= 1
    return deepest
