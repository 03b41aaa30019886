"""Inputs that are columns of objects, or expressions in them, instead of registered variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jettagger.errors import ConfigError, UnknownName
from jettagger.expressions import parse
from jettagger.features import FEATURES, Feature, columns_of
from jettagger.features.jetclass import CONSTITUENT_COLUMNS
from jettagger.types import Array

__all__ = ["column_feature", "image_feature"]


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


def image_feature(name: str, object_: str, weight: str, place: str) -> Feature:
    """A column of constituents for images, with the names of JetClass-II without ``part_``.

    Parameters
    ----------
    name : str
        Columns that JetClass-II does not have are variables and canonical columns of the object.
    object_ : str
        One of `jettagger.features.CANDIDATES`.
    weight : str
        Expression in canonical columns that multiplies ``pt`` and ``energy``; empty: 1.
    place : str
        Place in the file, for errors.

    Returns
    -------
    Feature

    Raises
    ------
    UnknownName
        If there is no such column; gives the nearest ones.

    Examples
    --------
    >>> image_feature("d0val", "pf", "", "here").needs, image_feature("pt", "pf", "puppiWeight", "here").needs
    (('dxy',), ('pt', 'puppiWeight'))
    """
    if name in CONSTITUENT_COLUMNS:
        column = CONSTITUENT_COLUMNS[name]
        needs, function, unit = column.needs, column.function, column.unit
    elif name in FEATURES and FEATURES[name].object == object_:
        return FEATURES[name]
    elif name in columns_of(object_):
        needs, function, unit = (name,), _itself, "GeV" if name == "pt" else "as stored"
    else:
        own = [feature.name for feature in FEATURES.values() if feature.object == object_]
        known = [*CONSTITUENT_COLUMNS, *columns_of(object_), *own]
        raise UnknownName(f"column of the object {object_!r}", name, known, place)
    label = f"{object_}: {name}"
    if weight and name in ("pt", "energy"):
        label = f"{label} * {weight}"
        needs, function = _weighted(needs, function, weight)

    def value(*columns: Array) -> Array:
        return function(*columns)

    value.__doc__ = f"Column {name} of images."
    return Feature(label, object_, needs, value, unit, "JetClass-II" if name in CONSTITUENT_COLUMNS else "as stored")


def _itself(column: Array) -> Array:
    return column


def _weighted(
    needs: tuple[str, ...], function: Callable[..., Array], weight: str
) -> tuple[tuple[str, ...], Callable[..., Array]]:
    """A column and an expression that multiplies it."""
    expression = parse(weight)

    def product(*columns: Array) -> Array:
        values = dict(zip(expression.names, columns[len(needs) :], strict=True))
        found: Array = function(*columns[: len(needs)]) * expression.evaluate(values)
        return found

    return (*needs, *expression.names), product
