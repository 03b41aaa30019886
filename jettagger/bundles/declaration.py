"""Declared inputs: networks with fixed inputs are described in a JSON file, without code.

The package has such files for families of CMS networks (``jettagger/families``). The key ``inputs`` of ``bundle.json``
names one of them, or a file of the user.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from jettagger.bundles.interface import LAYOUT, Group, Variable
from jettagger.bundles.places import PACKAGE
from jettagger.config.models import Between, Expected, FileModel, shown, validated_json
from jettagger.errors import BundleError, ConfigError, UnknownName
from jettagger.expressions import parse
from jettagger.features import FEATURES, columns_of
from jettagger.formats.base import JetKind
from jettagger.weaver.config import LONGEST_LIST

__all__ = [
    "FAMILIES",
    "DeclaredGroup",
    "DeclaredVariable",
    "InputDeclaration",
    "check_cut",
    "families",
    "read_declared",
]

FAMILIES = PACKAGE / "families"

SCHEMA_VERSION = 1

#: objects of groups: name in the file -> object
_OBJECTS = {"jet": "jet", "candidates": "pf", "charged": "cpf", "neutral": "npf", "vertices": "sv"}

_AXES = ("jets", "variables", "objects", "one")
Axis = Annotated[Literal["jets", "variables", "objects", "one"], Expected(f"one of {', '.join(_AXES)}", _AXES)]
_WORDS = tuple(_OBJECTS)
Length = Annotated[int, Between(1, LONGEST_LIST)]


class DeclaredVariable(FileModel, strict=False, allow_inf_nan=True):
    """One channel: non-finite values are replaced, then the value is centred, scaled and clipped."""

    name: str = Field(description="name of the variable")
    median: float = Field(default=0.0, description="subtracted from the value")
    norm_factor: float = Field(default=1.0, description="multiplies the difference")
    replace_inf_value: float = Field(default=0.0, description="replaces NaN and infinities, before the transformation")
    lower_bound: float = Field(default=-1e32, description="lower bound of the transformed value")
    upper_bound: float = Field(default=1e32, description="upper bound of the transformed value")
    pad: float = Field(default=0.0, description="value of empty slots")


class DeclaredGroup(FileModel):
    """One input tensor."""

    input: str = Field(description="name of the ONNX input")
    object: Annotated[
        Literal["jet", "candidates", "charged", "neutral", "vertices"], Expected(f"one of {', '.join(_WORDS)}", _WORDS)
    ] = Field(description="objects of the group")
    selection: str = Field(default="", description="cut in columns of the objects")
    sort: list[str] = Field(
        default_factory=list,
        description="sort keys, ascending: expressions in variables and columns; default: decreasing pt, vertices "
        "by decreasing dxysig",
    )
    length: Annotated[int | list[int], Expected("a number of slots, or the smallest and the largest: [1, 25]")] = Field(
        default=1, description="number of slots, or their minimum and maximum"
    )
    most: Length | None = Field(
        default=None, description="maximum number of objects, if smaller than the number of slots"
    )
    axes: list[Axis] = Field(description="order of the tensor's axes: jets, variables, objects, one (of length 1)")
    variables: list[str | DeclaredVariable] = Field(min_length=1, description="variables, in order")


class InputDeclaration(FileModel):
    """The inputs of a family of networks."""

    schema_version: Literal[1] = Field(description="version of this schema")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", description="name of the family")
    title: str = Field(default="", description="one-line description for lists")
    source: str = Field(default="", description="references for the declaration")
    jets: JetKind = Field(default="AK8", description="jets that the networks take")
    domain: str = Field(default="", description="cut in columns of the jets; jets that fail it are not scored")
    empty_jets: bool = Field(default=False, description="whether jets without any candidates are scored")
    groups: list[DeclaredGroup] = Field(min_length=1, description="input tensors")


def families() -> dict[str, Path]:
    """Families of networks with declared inputs: name -> file.

    Examples
    --------
    >>> "deepjet-v03" in families()
    True
    """
    return {path.stem: path for path in sorted(FAMILIES.glob("*.json"))}


def read_declared(path: Path, content: Mapping[str, Any]) -> tuple[InputDeclaration, tuple[Group, ...]]:
    """Read declared inputs.

    Parameters
    ----------
    path : pathlib.Path
        Path for error messages.
    content : mapping
        Its content.

    Returns
    -------
    InputDeclaration
    tuple of Group

    Raises
    ------
    BundleError
        Lists each problem with its place in the file and the nearest valid names.
    UnknownName
        If it contains unknown variables or columns; lists all of them with the nearest names.
    ConfigError
        If a selection is not a valid cut, or a sort key not a valid expression.
    """
    if content.get("schema_version") != SCHEMA_VERSION:
        version = shown(content.get("schema_version"))
        raise BundleError(f"{path}: schema_version is {version}, this version of jettagger reads {SCHEMA_VERSION}")
    declared = validated_json(InputDeclaration, path, content, BundleError, "declaration of inputs")
    names = [group.input for group in declared.groups]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise BundleError(f"{path}: inputs are declared twice: {', '.join(repeated)}")
    _refuse_unknown(declared, path)
    groups = tuple(_group(group, f"{path}: input {group.input!r}") for group in declared.groups)
    check_cut(declared.domain, "jet", f"{path}: domain")
    return declared, groups


def _refuse_unknown(declared: InputDeclaration, path: Path) -> None:
    """Refuse names that are not variables of their object, all at once."""
    wrong, known = [], set()
    for group in declared.groups:
        object_ = _OBJECTS[group.object]
        own = {name for name, feature in FEATURES.items() if feature.object == object_}
        known |= own
        wrong += [name for name in map(_name, group.variables) if name not in own]
    if wrong:
        raise UnknownName("variable of its object", list(dict.fromkeys(wrong)), sorted(known), str(path))


def _name(variable: str | DeclaredVariable) -> str:
    return variable if isinstance(variable, str) else variable.name


def _group(group: DeclaredGroup, place: str) -> Group:
    object_ = _OBJECTS[group.object]
    lengths = group.length if isinstance(group.length, list) else [group.length]
    if len(lengths) > 2 or not lengths or not 1 <= lengths[0] <= lengths[-1] <= LONGEST_LIST:
        raise BundleError(
            f"{place}: length is {group.length}, expected a number of slots from 1 to {LONGEST_LIST}, or the smallest "
            "and the largest"
        )
    shortest, longest = lengths[0], lengths[-1]
    layout = tuple(group.axes)
    doubled = [axis for axis in LAYOUT if layout.count(axis) > 1]
    if layout[:1] != ("jets",) or doubled or (object_ != "jet" and not {"objects", "variables"} <= set(layout)):
        raise BundleError(
            f"{place}: axes are {list(layout)}, expected for a tensor of {group.object}: jets first, then "
            f"variables and objects once each{' (a jet may lack objects)' if object_ == 'jet' else ''}"
        )
    if object_ == "jet" and (longest > 1 or group.selection or group.sort):
        raise BundleError(f"{place}: an input that describes the jet takes no length above 1, no selection and no sort")
    check_cut(group.selection, object_, f"{place}: selection")
    for key in group.sort:
        check_key(key, object_, f"{place}: sort")
    return Group(
        name=group.input,
        variables=tuple(_variable(item, place) for item in group.variables),
        min_length=shortest,
        max_length=longest,
        per_jet=object_ == "jet",
        selection=group.selection,
        sort=tuple(group.sort),
        most=group.most,
        layout=layout,
    )


def _variable(item: str | DeclaredVariable, place: str) -> Variable:
    if isinstance(item, str):
        return Variable(FEATURES[item])
    numbers = item.model_dump(exclude={"name"})
    bounds = (item.lower_bound, item.upper_bound)
    finite = np.isfinite([item.median, item.norm_factor, item.replace_inf_value, item.pad]).all()
    if not (finite and bounds[0] <= item.pad <= bounds[1]):
        raise BundleError(
            f"{place}, variable {item.name!r}: expected finite numbers and lower_bound <= pad <= upper_bound, "
            f"got {numbers}"
        )
    return Variable(FEATURES[item.name], **numbers)


def check_cut(text: str, object_: str, place: str) -> None:
    """Validate a cut in columns of an object; an empty text is valid.

    Parameters
    ----------
    text : str
    object_ : str
    place : str
        Place in the file, for errors.

    Raises
    ------
    ConfigError
        If it is not a valid cut.
    UnknownName
        If it contains unknown names; gives the nearest ones.
    """
    if text and _value(text, object_, place).dtype != np.bool_:
        raise ConfigError(f"{place}: {text!r} is not a cut, expected a condition such as 'pt >= 0.95'")


def check_key(text: str, object_: str, place: str) -> None:
    """Validate a sort key, an expression in columns of an object."""
    if _value(text, object_, place).dtype.kind not in "fiu":
        raise ConfigError(f"{place}: {text!r} is not a sort key, expected a number such as '-pt'")


def _value(text: str, object_: str, place: str) -> Any:
    expression = parse(text, where=place)
    own = {name for name, feature in FEATURES.items() if feature.object == object_}
    expression.check(sorted({*columns_of(object_), *own}), f"column or variable of the object {object_!r}")
    return np.asarray(expression.evaluate({name: np.ones(1, dtype=np.float32) for name in expression.names}))
