"""Functions allowed in expressions of a weaver data configuration: those of NumPy, awkward, math, and weaver itself."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

__all__ = [
    "CHOICES",
    "DTYPES",
    "HELPERS",
    "KEYWORDS",
    "LEGACY",
    "METHODS",
    "MODULES",
    "PROPERTIES",
    "known_names",
    "modern",
    "resolve",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: other names of element types, in current and former versions of NumPy
_TYPES = MappingProxyType(
    {"bool_": "bool", "int_": "int64", "float_": "float64", "single": "float32", "double": "float64"}
)

#: names of functions before NumPy 2
_FORMER = MappingProxyType({"trapezoid": "trapz"})

#: allowed element types, as text or as ``np.float32``
DTYPES = _words("bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64") | set(_TYPES)

_CONSTANTS = _words("pi e inf nan newaxis")

# nothing that reads or writes files, draws random numbers or allocates arrays of any size
_NUMPY = _words(
    """
    abs absolute add all any arccos arccosh arcsin arcsinh arctan arctan2 arctanh argmax argmin argsort around
    bitwise_and bitwise_or bitwise_xor cbrt ceil clip column_stack concatenate copysign cos cosh count_nonzero cumprod
    cumsum deg2rad degrees diff digitize divide dstack equal exp exp2 expand_dims expm1 fabs flip floor floor_divide
    fmax fmin fmod full_like greater greater_equal heaviside hstack hypot invert isclose isfinite isin isinf isnan
    isneginf isposinf less less_equal log log10 log1p log2 logaddexp logical_and logical_not logical_or logical_xor max
    maximum mean median min minimum mod multiply nan_to_num nanmax nanmean nanmin nansum negative not_equal ones_like
    percentile positive power prod rad2deg radians reciprocal remainder rint round searchsorted sign signbit sin sinh
    sort sqrt square squeeze stack std subtract sum take_along_axis tan tanh transpose trapezoid true_divide trunc var
    vstack where zeros_like
    """
)
_AWKWARD = _words(
    """
    all any argmax argmin argsort broadcast_arrays concatenate count count_nonzero drop_none fill_none firsts flatten
    from_regular full_like is_none isclose local_index mask max mean min moment nan_to_none nan_to_num num ones_like
    pad_none prod ptp ravel singletons softmax sort std sum to_numpy to_packed to_regular unflatten values_astype var
    where zeros_like
    """
)
_MATH = _words(
    """
    acos acosh asin asinh atan atan2 atanh ceil copysign cos cosh degrees erf exp expm1 fabs floor fmod hypot log
    log10 log1p log2 pow radians sin sinh sqrt tan tanh
    """
)

#: module as written in an expression -> its full name, the allowed functions, the constants
MODULES: Mapping[str, tuple[str, frozenset[str], frozenset[str]]] = MappingProxyType(
    {
        "np": ("numpy", _NUMPY, _CONSTANTS | DTYPES),
        "numpy": ("numpy", _NUMPY, _CONSTANTS | DTYPES),
        "ak": ("awkward", _AWKWARD, frozenset()),
        "awkward": ("awkward", _AWKWARD, frozenset()),
        "awkward0": ("awkward", frozenset(), frozenset()),
        "math": ("math", _MATH, frozenset({"pi", "e", "inf", "nan", "tau"})),
    }
)

#: functions of awkward 0's ``JaggedArray`` used for masks in weaver's first configurations; their current versions
LEGACY = _words("ones_like zeros_like")

_MODERN: Mapping[str, str] = MappingProxyType(
    {
        **{name: f"ak.{name}({{array}}, axis=-1)" for name in ("sum", "prod", "max", "min", "mean", "std", "var")},
        **{name: f"ak.{name}({{array}}, axis=-1)" for name in ("any", "all", "count", "argmax", "argmin", "argsort")},
        **{name: f"ak.{name}({{array}})" for name in ("ones_like", "zeros_like", "flatten", "ravel")},
        "counts": "ak.num({array})",
        "size": "ak.num({array})",
        "content": "ak.flatten({array})",
        "pad": "_pad({array}, length)",
        "fillna": "ak.fill_none({array}, value)",
        "regular": "ak.to_regular({array})",
        "compact": "ak.to_packed({array})",
        "astype": "ak.values_astype({array}, type)",
        "fromcounts": "ak.unflatten(values, counts)",
        "fromoffsets": "ak.unflatten(values, counts)",
        "concatenate": "ak.concatenate([...], axis=1)",
    }
)

#: allowed keyword arguments
KEYWORDS = _words("axis keepdims mask_identity ascending stable clip copy nan posinf neginf decimals value dtype side")

#: arguments with a fixed set of words
CHOICES: Mapping[str, frozenset[str]] = MappingProxyType({"side": _words("left right")})

#: allowed attributes and methods of a four-momentum
PROPERTIES = _words(
    """
    x y z t px py pz pt pt2 p p2 mag rho phi eta theta costheta cottheta rapidity e E energy m M mass mass2 tau et mt
    Et Mt beta gamma
    """
)
METHODS = _words("deltaphi deltaeta deltaR deltaR2 deltaRapidityPhi deltaangle dot")


def _clip(array: Any, low: Any, high: Any) -> Any:
    """Values clipped to two bounds."""
    return np.minimum(np.maximum(array, low), high)


def _rows(array: Any) -> tuple[Any, Any]:
    import awkward as ak

    array = ak.Array(array)
    if array.ndim == 1:
        return np.ones(len(array), dtype=np.int64), ak.to_numpy(array)
    return ak.to_numpy(ak.num(array, axis=1)), ak.to_numpy(ak.flatten(array, axis=1))


def _pad(array: Any, maxlen: int, value: float = 0, dtype: Any = "float32") -> Any:
    """The first entries of each list, padded with a value."""
    counts, flat = _rows(array)
    result = np.full((len(counts), maxlen), value, dtype=dtype)
    row = np.repeat(np.arange(len(counts)), counts)
    slot = np.arange(len(flat)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = slot < maxlen
    result[row[kept], slot[kept]] = flat[kept]
    return result


def _repeat_pad(array: Any, maxlen: int, dtype: Any = "float32") -> Any:
    """Each list repeated up to a length; zeros for empty ones."""
    counts, flat = _rows(array)
    result = np.zeros((len(counts), maxlen), dtype=dtype)
    filled = counts > 0
    starts = (np.cumsum(counts) - counts)[filled, np.newaxis]
    result[filled] = flat[starts + np.arange(maxlen) % counts[filled, np.newaxis]]
    return result


def _concat(arrays: Any, axis: int = 0) -> Any:
    """Concatenated arrays."""
    import awkward as ak

    return ak.concatenate(arrays, axis=axis)


def _stack(arrays: Any, axis: int = 1) -> Any:
    """Arrays stacked along a new axis."""
    import awkward as ak

    if all(isinstance(array, np.ndarray) for array in arrays):
        return np.stack(arrays, axis=axis)
    before = (slice(None),) * axis
    place = (*before, np.newaxis)
    return ak.concatenate([array[place] for array in arrays], axis=axis)


def _hash(*arrays: Any) -> Any:
    """A number for each combination of values; the same on every machine."""
    return np.array([hash(values) for values in zip(*(np.asarray(array).tolist() for array in arrays), strict=True)])


def _batch_argsort(array: Any) -> Any:
    """Indices that sort each list in increasing order."""
    import awkward as ak

    return ak.argsort(array)


def _batch_gather(array: Any, indices: Any) -> Any:
    """The entries of each list at given indices."""
    return array[indices]


def _vectors(**components: Any) -> Any:
    import vector

    vector.register_awkward()
    return vector.zip(components)


def _p4_from_pxpypze(px: Any, py: Any, pz: Any, energy: Any) -> Any:
    """Four-momenta."""
    return _vectors(px=px, py=py, pz=pz, energy=energy)


def _p4_from_ptetaphie(pt: Any, eta: Any, phi: Any, energy: Any) -> Any:
    """Four-momenta."""
    return _vectors(pt=pt, eta=eta, phi=phi, energy=energy)


def _p4_from_ptetaphim(pt: Any, eta: Any, phi: Any, mass: Any) -> Any:
    """Four-momenta."""
    return _vectors(pt=pt, eta=eta, phi=phi, mass=mass)


#: functions called without a module
HELPERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "len": len,
        "_clip": _clip,
        "_pad": _pad,
        "_repeat_pad": _repeat_pad,
        "_concat": _concat,
        "_stack": _stack,
        "_hash": _hash,
        "_batch_argsort": _batch_argsort,
        "_batch_gather": _batch_gather,
        "_p4_from_pxpypze": _p4_from_pxpypze,
        "_p4_from_ptetaphie": _p4_from_ptetaphie,
        "_p4_from_ptetaphim": _p4_from_ptetaphim,
    }
)


def known_names() -> list[str]:
    """All functions allowed in an expression, in their spelling there.

    Returns
    -------
    list of str

    Examples
    --------
    >>> {"np.hypot", "ak.num", "math.sqrt", "_clip"} <= set(known_names())
    True
    """
    short = {name: functions for name, (_, functions, _) in MODULES.items() if name in ("np", "ak", "math")}
    return [*HELPERS, *(f"{module}.{name}" for module, functions in short.items() for name in sorted(functions))]


def modern(name: str, array: str = "x") -> str:
    """The current spelling of a function or method of awkward 0.

    Parameters
    ----------
    name : str
    array : str
        The array it was applied to.

    Returns
    -------
    str
        Empty if awkward 0 had no function of this name, or if it has no counterpart in expressions.

    Examples
    --------
    >>> modern("counts", "pfcand_pt")
    'ak.num(pfcand_pt)'
    """
    text = _MODERN.get(name, f"ak.{name}({{array}})" if name in _AWKWARD else "")
    return text.replace("{array}", array)


def resolve(module: str, name: str) -> Any:
    """The function or constant ``module.name``.

    Parameters
    ----------
    module, name : str
        Both must be on the lists.

    Returns
    -------
    object

    Examples
    --------
    >>> resolve("np", "hypot")(3.0, 4.0)
    np.float64(5.0)
    """
    if name in DTYPES and MODULES[module][0] == "numpy":
        return np.dtype(_TYPES.get(name, name)).type
    library = importlib.import_module(MODULES[module][0])
    return getattr(library, name if hasattr(library, name) else _FORMER.get(name, name))
