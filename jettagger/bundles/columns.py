"""Inputs that are columns of objects, or expressions in them, instead of registered variables."""

from __future__ import annotations

from typing import Any

import numpy as np

from jettagger.errors import ConfigError
from jettagger.expressions import parse
from jettagger.features import Feature, columns_of
from jettagger.types import Array

__all__ = ["column_feature"]


def column_feature(text: str, object_: str, place: str) -> Feature:
    """A variable that is an expression in columns.

    Parameters
    ----------
    text : str
        For jets, names of any columns of the jets or of the event in the file; for other objects, canonical columns of
        theirs, and of their jet as ``jet.pt``.
    object_ : str
        One of `jettagger.features.OBJECTS`.
    place : str
        Place in the file, for errors.

    Returns
    -------
    Feature
        Float32 values, in the units of the columns.

    Raises
    ------
    ConfigError
        If it is not a numeric expression with at least one column.
    UnknownName
        If it names columns that objects other than jets do not have; gives the nearest ones.

    Examples
    --------
    >>> feature = column_feature("tau2 / tau1", "jet", "here")
    >>> feature.needs, feature(np.array([0.2]), np.array([0.4])).tolist()
    (('tau2', 'tau1'), [0.5])
    """
    expression = parse(text, where=place)
    if not expression.names:
        raise ConfigError(f"{place}: {text!r} names no column, expected an expression such as 'tau2 / tau1'")
    if object_ != "jet":
        known = [*columns_of(object_), *(f"jet.{name}" for name in columns_of("jet"))]
        expression.check(sorted(known), f"column of the object {object_!r}")
    values = np.asarray(expression.evaluate({name: np.ones(1, dtype=np.float32) for name in expression.names}))
    if values.dtype.kind not in "biuf":
        raise ConfigError(f"{place}: {text!r} is not a number, expected an expression such as 'tau2 / tau1'")

    def value(*columns: Array) -> Any:
        return expression.evaluate(dict(zip(expression.names, columns, strict=True)))

    plain = text.strip()
    value.__doc__ = f"= {plain}" if plain != expression.names[0] else "Column as stored."
    source = "columns of the file" if object_ == "jet" else "the model's description"
    name = plain if object_ == "jet" else f"{object_}: {plain}"
    return Feature(name, object_, expression.names, value, "as stored", source)
