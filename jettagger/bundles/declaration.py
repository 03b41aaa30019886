"""Declared inputs: networks with fixed inputs are described in a JSON file, without code.

The package has such files for families of CMS networks (``jettagger/families``). The key ``inputs`` of ``bundle.json``
names one of them, or a file of the user.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from jettagger.bundles.columns import column_feature, image_feature
from jettagger.bundles.interface import IMAGE_LAYOUT, LAYOUT, Group, InputKind, Order, Variable, names_of_image
from jettagger.bundles.places import PACKAGE
from jettagger.config.models import Between, Expected, FileModel, Shorthand, shown, validated_json
from jettagger.errors import BundleError, ConfigError, UnknownName
from jettagger.expressions import parse
from jettagger.features import CANDIDATES, FEATURES, Feature, columns_of
from jettagger.formats.base import JetKind
from jettagger.images import ImageSettings
from jettagger.weaver.config import LONGEST_LIST

__all__ = [
    "FAMILIES",
    "DeclaredGroup",
    "DeclaredOrder",
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

_AXES = ("jets", "variables", "objects", "channels", "rows", "columns", "one")
Axis = Annotated[
    Literal["jets", "variables", "objects", "channels", "rows", "columns", "one"],
    Expected(f"one of {', '.join(_AXES)}", _AXES),
]
_WORDS = tuple(_OBJECTS)
Length = Annotated[int, Between(1, LONGEST_LIST)]

_KINDS = ("sequence", "set", "vector", "image")
_Kind = Annotated[Literal["sequence", "set", "vector", "image"], Expected(f"one of {', '.join(_KINDS)}", _KINDS)]
_DIRECTIONS = ("descending", "ascending")
_MISSING = ("last", "first", "drop")


class DeclaredVariable(FileModel, strict=False, allow_inf_nan=True):
    """One channel: non-finite values are replaced, then the value is centred, scaled and clipped."""

    name: str = Field(description="name of the variable; in `columns`, the expression")
    median: float = Field(default=0.0, description="subtracted from the value")
    norm_factor: float = Field(default=1.0, description="multiplies the difference")
    replace_inf_value: float = Field(default=0.0, description="replaces NaN and infinities, before the transformation")
    lower_bound: float = Field(default=-1e32, description="lower bound of the transformed value")
    upper_bound: float = Field(default=1e32, description="upper bound of the transformed value")
    pad: float = Field(default=0.0, description="value of empty slots")


class DeclaredOrder(FileModel):
    """One key of the order of objects."""

    by: str = Field(description="expression in variables and columns of the objects")
    direction: Annotated[
        Literal["descending", "ascending"], Expected(f"one of {', '.join(_DIRECTIONS)}", _DIRECTIONS)
    ] = Field(default="descending", description="`descending`: large values first; `ascending`: small ones")
    missing: Annotated[Literal["last", "first", "drop"], Expected(f"one of {', '.join(_MISSING)}", _MISSING)] = Field(
        default="last", description="place of objects whose value is NaN: `last`, `first`, or `drop`, left out"
    )


class DeclaredGroup(FileModel):
    """One input tensor."""

    input: str = Field(description="name of the ONNX input")
    object: Annotated[
        Literal["jet", "candidates", "charged", "neutral", "vertices"], Expected(f"one of {', '.join(_WORDS)}", _WORDS)
    ] = Field(description="`jet`, `candidates`, `charged`, `neutral` or `vertices`")
    kind: (
        Annotated[Literal["sequence", "set", "vector", "image"], Expected(f"one of {', '.join(_KINDS)}", _KINDS)] | None
    ) = Field(
        default=None,
        description="`sequence`: the scores depend on the order of the objects; `set`: they do not, nor on empty "
        "slots; `vector`: numbers of the jet; `image`: pixels. `jettagger models check` verifies it",
    )
    selection: str = Field(default="", description="cut in columns of the objects: `pt >= 0.95`")
    order: list[Annotated[DeclaredOrder, Shorthand("by")]] = Field(
        default_factory=list,
        description="keys of the order, each an expression in variables and columns (`pt`), or a mapping with `by`, "
        "`direction` and `missing` (below); ties by decreasing `pt`, then as in the file. Default: decreasing `pt`, "
        "vertices by decreasing `dxysig`",
    )
    sort: list[str] = Field(
        default_factory=list,
        description="the same as a list of expressions, all ascending, NaN last, without further keys: "
        '`["-Cpfcan_BtagPf_trackSip2dSig", "-pt"]`',
    )
    length: Annotated[int | list[int], Expected("a number of slots, or the smallest and the largest: [1, 25]")] = Field(
        default=1, description="number of slots, or their minimum and maximum: `[1, 25]`"
    )
    most: Length | None = Field(
        default=None,
        description="maximum number of objects, if smaller than the number of slots; in an image, the first in pt",
    )
    axes: list[Axis] = Field(
        description="order of the tensor's axes: `jets`, `variables`, `objects`, `one` (an axis of length 1); of "
        "images `jets`, `channels`, `rows` (phi), `columns` (eta), `one`"
    )
    variables: list[str | DeclaredVariable] = Field(
        default_factory=list,
        description="names of variables, or mappings with `name`, `median`, `norm_factor`, `replace_inf_value`, "
        "`lower_bound`, `upper_bound`, `pad` (below)",
    )
    columns: list[str | DeclaredVariable] = Field(
        default_factory=list,
        description="expressions in columns, after the `variables`, with the same keys. Of jets: any column of the "
        "jets in the file, and of the event (`msoftdrop`, `tau2 / tau1`, `MET_pt`); of other objects: the columns that "
        "variables are made of, and those of their jet (`abs(eta)`, `pt / jet.pt`)",
    )
    image: ImageSettings | None = Field(
        default=None, description="settings of an image of the candidates, instead of variables and columns"
    )
    weight: str = Field(
        default="",
        description="expression in columns of the candidates by which pt and energy in an image are multiplied: "
        "`puppiWeight`",
    )


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
    groups = _with_axes(_group(group, f"{path}: input {group.input!r}") for group in declared.groups)
    check_cut(declared.domain, "jet", f"{path}: domain")
    return declared, groups


def _refuse_unknown(declared: InputDeclaration, path: Path) -> None:
    """Refuse names that are not variables of their object, all at once."""
    wrong, known = [], set()
    for group in declared.groups:
        own = _variables_of(_OBJECTS[group.object])
        known |= own
        wrong += [name for name in map(_name, group.variables) if name not in own]
    if wrong:
        raise UnknownName("variable of its object", list(dict.fromkeys(wrong)), sorted(known), str(path))


def _name(variable: str | DeclaredVariable) -> str:
    return variable if isinstance(variable, str) else variable.name


def _variables_of(object_: str) -> set[str]:
    return {name for name, feature in FEATURES.items() if feature.object == object_}


def _group(group: DeclaredGroup, place: str) -> Group:
    object_ = _OBJECTS[group.object]
    if group.image is not None:
        return _image(group, group.image, place)
    if group.kind == "image" or group.weight:
        given = "kind is 'image'" if group.kind == "image" else "weight is given"
        raise BundleError(f"{place}: {given}, but there are no settings of an image (key image)")
    lengths = group.length if isinstance(group.length, list) else [group.length]
    if len(lengths) > 2 or not lengths or not 1 <= lengths[0] <= lengths[-1] <= LONGEST_LIST:
        raise BundleError(
            f"{place}: length is {group.length}, expected a number of slots from 1 to {LONGEST_LIST}, or the smallest "
            "and the largest"
        )
    shortest, longest = lengths[0], lengths[-1]
    layout = tuple(group.axes)
    doubled = [axis for axis in LAYOUT if layout.count(axis) > 1] + [
        axis for axis in layout if axis in IMAGE_LAYOUT[1:]
    ]
    if layout[:1] != ("jets",) or doubled or (object_ != "jet" and not {"objects", "variables"} <= set(layout)):
        raise BundleError(
            f"{place}: axes are {list(layout)}, expected for a tensor of {group.object}: jets first, then "
            f"variables and objects once each{' (a jet may lack objects)' if object_ == 'jet' else ''}"
        )
    chosen = group.selection or group.sort or group.order
    if object_ == "jet" and (longest > 1 or chosen or group.kind not in (None, "vector")):
        raise BundleError(
            f"{place}: an input that describes the jet is a vector; it takes no length above 1, no selection, no order "
            "and no sort"
        )
    if object_ != "jet" and group.kind == "vector":
        raise BundleError(f"{place}: kind is 'vector', expected for {group.object} 'sequence' or 'set'")
    if group.sort and group.order:
        raise BundleError(f"{place}: both order and sort are given, expected one of them")
    if not (group.variables or group.columns):
        raise BundleError(f"{place}: no variables and no columns, expected at least one")
    check_cut(group.selection, object_, f"{place}: selection")
    for key in group.sort:
        check_key(key, object_, f"{place}: sort")
    for item in group.order:
        check_key(item.by, object_, f"{place}: order")
    variables = [_variable(item, FEATURES[_name(item)], place) for item in group.variables]
    variables += [_variable(item, _column(_name(item), object_, place), place) for item in group.columns]
    return Group(
        name=group.input,
        variables=tuple(variables),
        min_length=shortest,
        max_length=longest,
        per_jet=object_ == "jet",
        selection=group.selection,
        sort=tuple(group.sort),
        order=tuple(Order(item.by, item.direction == "ascending", item.missing) for item in group.order),
        kind=_kind(group),
        most=group.most,
        layout=layout,
    )


def _image(group: DeclaredGroup, settings: ImageSettings, place: str) -> Group:
    """An image of the candidates of a jet."""
    object_ = _OBJECTS[group.object]
    if object_ not in CANDIDATES:
        raise BundleError(f"{place}: an image of {group.object}, expected one of candidates, charged or neutral")
    unused = ("kind", "order", "sort", "length", "variables", "columns")
    default = {name: DeclaredGroup.model_fields[name].get_default(call_default_factory=True) for name in unused}
    given = [name for name in unused if getattr(group, name) not in (default[name], *(["image"] * (name == "kind")))]
    if given:
        raise BundleError(f"{place}: {', '.join(given)} has no meaning for an image: its settings say what is in it")
    if settings.granularity == "generator":
        raise BundleError(
            f"{place}: granularity is 'generator', expected constituents, tracks or cells: networks take reconstructed "
            "jets"
        )
    layout = tuple(group.axes)
    needed = {*IMAGE_LAYOUT} - ({"channels"} if len(settings.channels) == 1 else set())
    known = [axis for axis in layout if axis != "one"]
    if layout[:1] != ("jets",) or not needed <= set(known) <= set(IMAGE_LAYOUT) or len(set(known)) != len(known):
        absent = "" if "channels" in needed else " (channels may be absent)"
        raise BundleError(
            f"{place}: axes are {list(layout)}, expected for an image of {len(settings.channels)} channels: jets "
            f"first, then {', '.join(IMAGE_LAYOUT[1:])} once each{absent}"
        )
    check_cut(group.selection, object_, f"{place}: selection")
    if group.weight:
        check_key(group.weight, object_, f"{place}: weight", variables=False)
    features = [image_feature(name, object_, group.weight, f"{place}: image") for name in names_of_image(settings)]
    return Group(
        name=group.input,
        variables=tuple(map(Variable, features)),
        min_length=1,
        max_length=1,
        axis=group.input,
        per_jet=True,
        selection=group.selection,
        order=() if group.most is None else (Order("pt"),),
        most=group.most,
        kind="image",
        layout=layout,
        image=settings,
    )


def _with_axes(groups: Iterable[Group]) -> tuple[Group, ...]:
    """Groups of an object that differ in length, or in what their order means, do not share an axis."""
    found: list[Group] = []
    axes: dict[tuple[object, ...], str] = {}
    for group in groups:
        if group.image is not None:
            found.append(group)
            continue
        key = (group.object, group.min_length, group.max_length, group.kind)
        taken = group.object in axes.values()
        axis = axes.setdefault(key, f"{group.object} of {group.name}" if taken else group.object)
        found.append(replace(group, axis=axis))
    return tuple(found)


def _kind(group: DeclaredGroup) -> InputKind:
    return group.kind or ("vector" if group.object == "jet" else "")


def _column(text: str, object_: str, place: str) -> Feature:
    """A variable that is an expression in columns, or a variable by its name."""
    if text in _variables_of(object_):
        return FEATURES[text]
    return column_feature(text, object_, f"{place}: columns")


def _variable(item: str | DeclaredVariable, feature: Feature, place: str) -> Variable:
    if isinstance(item, str):
        return Variable(feature)
    numbers = item.model_dump(exclude={"name"})
    bounds = (item.lower_bound, item.upper_bound)
    finite = np.isfinite([item.median, item.norm_factor, item.replace_inf_value, item.pad]).all()
    if not (finite and bounds[0] <= item.pad <= bounds[1]):
        raise BundleError(
            f"{place}, variable {item.name!r}: expected finite numbers and lower_bound <= pad <= upper_bound, "
            f"got {numbers}"
        )
    return Variable(feature, **numbers)


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


def check_key(text: str, object_: str, place: str, *, variables: bool = True) -> None:
    """Validate a sort key or a weight, an expression in columns, and in variables, of an object."""
    if _value(text, object_, place, variables=variables).dtype.kind not in "fiu":
        expected = "a sort key, expected a number such as '-pt'" if variables else "a number"
        raise ConfigError(f"{place}: {text!r} is not {expected}")


def _value(text: str, object_: str, place: str, *, variables: bool = True) -> Any:
    expression = parse(text, where=place)
    known = sorted({*columns_of(object_), *(_variables_of(object_) if variables else ())})
    expression.check(known, f"column {'or variable ' * variables}of the object {object_!r}")
    return np.asarray(expression.evaluate({name: np.ones(1, dtype=np.float32) for name in expression.names}))
