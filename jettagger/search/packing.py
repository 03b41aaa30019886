"""Results of chunks as bytes, without loss: sent by workers, kept on disk, put together from parts."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from jettagger.errors import InputFileError, WrongType
from jettagger.files.jsonfile import parse_json

__all__ = ["pack", "unpack"]

#: bytes of the number that gives the length of the description in front of the arrays
_LENGTH = 8

#: containers that JSON does not tell apart
_KINDS: dict[str, type[Any]] = {"list": list, "tuple": tuple, "set": set}


def pack(result: Any) -> bytes:
    """The result of a chunk as bytes.

    Parameters
    ----------
    result : object
        Dictionaries, lists, tuples and sets of numbers, text, NumPy arrays and ``hist.Hist``. Histograms take space for
        bins with content only.

    Returns
    -------
    bytes

    Raises
    ------
    WrongType
        For anything else; says where it is.

    Examples
    --------
    >>> unpack(pack({"sums": {("tt", "SR"): 0.1}, "files": {"tt.root": 3}}))
    {'sums': {('tt', 'SR'): 0.1}, 'files': {'tt.root': 3}}
    """
    arrays: list[Any] = []
    content = _described(result, arrays, "the result")
    shapes = [[array.dtype.str, list(array.shape)] for array in arrays]
    text = json.dumps({"content": content, "arrays": shapes}).encode()
    parts = [len(text).to_bytes(_LENGTH, "little"), text, *(array.tobytes() for array in arrays)]
    return zlib.compress(b"".join(parts), level=1)


def unpack(packed: bytes) -> Any:
    """The result of a chunk from the bytes made by `pack`.

    Parameters
    ----------
    packed : bytes

    Returns
    -------
    object

    Raises
    ------
    InputFileError
        If they are not complete.
    """
    try:
        content = zlib.decompress(packed)
        first = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
        described = parse_json(content[_LENGTH:first], "the result of a chunk", kind=dict, finite=False)
        arrays = []
        for name, shape in described["arrays"]:
            dtype, size = np.dtype(name), int(np.prod(shape, dtype=int))
            found = np.frombuffer(content, dtype, size, first)
            arrays.append(found.reshape(shape).copy())
            first += found.nbytes
        return _made(described["content"], arrays)
    except (zlib.error, KeyError, ValueError, TypeError, IndexError) as error:
        raise InputFileError(f"the result of a chunk is damaged: {error}") from error


def _described(value: Any, arrays: list[Any], place: str) -> Any:
    """A value for JSON, whose arrays are put aside."""
    import hist
    import uhi.io

    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is dict:
        return {
            "dict": [
                [_described(key, arrays, place), _described(item, arrays, f"{place}[{key!r}]")]
                for key, item in value.items()
            ]
        }
    for name, kind in _KINDS.items():
        if type(value) is kind:
            return {name: [_described(item, arrays, place) for item in value]}
    if isinstance(value, (np.ndarray, np.generic)) and not value.dtype.hasobject:
        arrays.append(np.asarray(value))
        return {"array" if isinstance(value, np.ndarray) else "number": len(arrays) - 1}
    if type(value) is hist.Hist:
        return {"hist": _described(_plain(uhi.io.to_sparse(value._to_uhi_())), arrays, place)}
    got, expected = type(value).__name__, "dictionaries and lists of numbers, text, arrays and hist.Hist"
    raise WrongType(f"{place} is of the class {got}; expected {expected}", where=place, got=got, expected=expected)


def _plain(value: Any) -> Any:
    """The description of a histogram, in dictionaries and lists."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _made(value: Any, arrays: list[Any]) -> Any:
    import hist
    import uhi.io

    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dict":
        return {_made(key, arrays): _made(item, arrays) for key, item in content}
    if kind in _KINDS:
        return _KINDS[kind](_made(item, arrays) for item in content)
    if kind == "hist":
        return hist.Hist(uhi.io.from_sparse(_made(content, arrays)))
    return arrays[content] if kind == "array" else arrays[content][()]
