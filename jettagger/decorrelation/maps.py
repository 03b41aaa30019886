"""Maps by their method, and from files."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any

from jettagger.arguments import guard
from jettagger.decorrelation.linear import LinearMap, fit_linear
from jettagger.decorrelation.mapfile import FORMAT, DecorrelationMap
from jettagger.decorrelation.quantiles import QuantileMap, fit_quantiles
from jettagger.decorrelation.thresholds import ThresholdMap, fit_thresholds
from jettagger.discriminants import Discriminant
from jettagger.errors import InputFileError, UnknownName
from jettagger.files.corrections import read_correction_text
from jettagger.files.jsonfile import parse_json

__all__ = ["METHODS", "fit_map", "load_map"]

#: method -> the function that fits its map
METHODS: Mapping[str, Callable[..., DecorrelationMap]] = {
    "linear": fit_linear,
    "thresholds": fit_thresholds,
    "quantiles": fit_quantiles,
}

_CLASSES: tuple[type[DecorrelationMap], ...] = (LinearMap, ThresholdMap, QuantileMap)


def fit_map(method: str, discriminant: Discriminant | str, background: Any, **options: Any) -> DecorrelationMap:
    """Fit a map of a given method.

    Parameters
    ----------
    method : {"linear", "thresholds", "quantiles"}
    discriminant, background
        As for `fit_linear`, `fit_thresholds` and `fit_quantiles`.
    **options
        Options of these.

    Returns
    -------
    LinearMap, ThresholdMap or QuantileMap

    Raises
    ------
    UnknownName
        If the method or an option does not exist; gives the nearest ones.
    ConfigError, InvalidValues, MissingColumns, MismatchError
        As for these functions.
    """
    if method not in METHODS:
        raise UnknownName("method of maps", method, METHODS)
    function = METHODS[method]
    allowed = [name for name in inspect.signature(function).parameters if name not in ("discriminant", "background")]
    unknown = [name for name in options if name not in allowed]
    if unknown:
        raise UnknownName("option", unknown, allowed, f"maps of {method}")
    return function(discriminant, background, **options)


def load_map(path: str | os.PathLike[str]) -> DecorrelationMap:
    """Read a map from its file; it is validated by correctionlib.

    Parameters
    ----------
    path : path
        Written by the ``save`` of a map.

    Returns
    -------
    LinearMap, ThresholdMap or QuantileMap

    Raises
    ------
    InputFileError
        If the file does not exist, is not valid, or is something else, such as working points.
    """
    name, text = os.fspath(path), read_correction_text(path)
    try:
        content = parse_json(text, f"{name}: not a map as jettagger writes it: its content", kind=dict)
        described = parse_json(content["description"], f"{name}: its description", kind=dict)["jettagger"]
        form, method = described["format"], described.get("method")
    except (ValueError, KeyError, TypeError) as error:
        raise InputFileError(f"{name}: not a map as jettagger writes it: {error!r}") from error
    if "method" not in described and "efficiencies" in described:
        raise InputFileError(f"{name}: these are working points, not a map: read them with WorkingPoints.load")
    if form != FORMAT:
        raise InputFileError(f"{name}: a map of the format {form!r}, expected {FORMAT!r}")
    for kind in _CLASSES:
        if kind.method == method:
            made = kind(text, name)
            _ = made.evaluator
            return made
    known = ", ".join(kind.method for kind in _CLASSES)
    raise InputFileError(f"{name}: a map of the unknown method {method!r}, expected one of {known}")


guard(globals())
