"""Transforms of features before the network: the file transform.yaml of ml-jec, read, written and applied.

A numerical feature has a list of steps: ``abs``, ``log``, ``arcsinh`` (asinh(x / scale)) and ``linear``
((x - loc) / scale). A categorical feature has the list of its values. In single precision, as in the original.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import AfterValidator, Field

from jettagger.arguments import guard
from jettagger.config.models import Expected, FileModel, Shown, validated
from jettagger.config.yamlfile import Document, read_yaml, yaml_text
from jettagger.display import Brief, briefly
from jettagger.errors import ConfigError, InvalidValues, UnknownName
from jettagger.files import complete_or_absent
from jettagger.types import Array, Ints, Rows

__all__ = [
    "TransformFile",
    "TransformStep",
    "Transforms",
    "read_transform",
    "write_transform",
]


#: types of steps -> their parameters
_PARAMETERS: Mapping[str, tuple[str, ...]] = {"abs": (), "log": (), "arcsinh": ("scale",), "linear": ("loc", "scale")}


@briefly
class TransformStep(NamedTuple):
    """One step of the transform of a numerical feature.

    Parameters
    ----------
    type : str
        ``abs``, ``log``, ``arcsinh`` or ``linear``.
    loc, scale : float
        Parameters of ``linear``; ``arcsinh`` has ``scale``.
    """

    type: str
    loc: float = 0.0
    scale: float = 1.0


class StepParams(FileModel):
    """Parameters of a step."""

    loc: Annotated[float | None, Shown("required for `linear`")] = Field(
        default=None, description="`linear`: what is subtracted"
    )
    scale: Annotated[float | None, Shown("required for `arcsinh` and `linear`")] = Field(
        default=None, description="what is divided by"
    )


class StepKeys(FileModel):
    """One step."""

    type: Literal["abs", "log", "arcsinh", "linear"] = Field(
        description="`abs`: absolute value; `log`: natural logarithm; `arcsinh`: asinh(x / scale); `linear`: "
        "(x - loc) / scale"
    )
    params: Annotated[StepParams, Shown("none")] = Field(
        default_factory=StepParams, description="parameters of `arcsinh` and `linear`"
    )


def _different(values: tuple[int, ...]) -> tuple[int, ...]:
    if not values or len(set(values)) < len(values):
        raise ValueError("repeated")
    return values


class TransformFile(FileModel):
    """The content of ``transform.yaml``."""

    numerical: dict[str, Annotated[tuple[StepKeys, ...], Field(strict=False)]] = Field(
        default_factory=dict, description="feature -> steps, which are applied one after the other, see below"
    )
    categorical: dict[
        str,
        Annotated[
            tuple[int, ...],
            Field(strict=False),
            AfterValidator(_different),
            Expected("a list of different whole numbers"),
        ],
    ] = Field(default_factory=dict, description="feature -> its values, in the order of the rows of the embedding")


@dataclass(frozen=True)
class Transforms(Brief):
    """The transforms of all features.

    Parameters
    ----------
    numerical : dict of str to tuple of steps
        Feature -> its steps; others are not transformed.
    categorical : dict of str to tuple of int
        Feature -> its values; the index of a value is its position, that of any other value is their number.
    legacy_closure : bool
        Computes the steps as ml-jec: ``arcsinh`` and ``linear`` take their parameters from the last step of the
        feature. Only for weights that were trained with it.
    where : str
        Name of the file, for messages.

    Raises
    ------
    ConfigError
        If a scale is 0, or with ``legacy_closure`` the last step of a feature has no parameter that the
        original takes from it.
    UnknownName
        If there is no such type of steps.

    Examples
    --------
    >>> steps = (TransformStep("arcsinh", scale=0.1), TransformStep("linear", loc=0.5, scale=10.0))
    >>> pt = np.array([1.0], dtype="f4")
    >>> Transforms({"ch_pt": steps}).apply("ch_pt", pt).round(4).tolist()
    [0.24979999661445618]
    >>> Transforms({"ch_pt": steps}, legacy_closure=True).apply("ch_pt", pt).round(4).tolist()
    [-0.03999999910593033]
    >>> Transforms(categorical={"ch_id": (-211, 211)}).index("ch_id", np.array([211, 13])).tolist()
    [1, 2]
    """

    numerical: Mapping[str, tuple[TransformStep, ...]] = field(default_factory=dict)
    categorical: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    legacy_closure: bool = False
    where: str = "transform.yaml"

    def __post_init__(self) -> None:
        for name, steps in self.numerical.items():
            for step in steps:
                if step.type not in _PARAMETERS:
                    raise UnknownName("type of a transform", step.type, _PARAMETERS, f"{self.where}, {name}")
                if step.scale == 0 or not math.isfinite(step.scale):
                    raise ConfigError(
                        f"{self.where}: {name}: the scale of {step.type!r} is {step.scale:g}, expected another number; "
                        "that of a constant feature is 0: leave it out of the features"
                    )
            self.steps(name)

    def steps(self, name: str) -> tuple[TransformStep, ...]:
        """The steps of a feature as they are computed, with ``legacy_closure`` those of the original.

        Parameters
        ----------
        name : str

        Returns
        -------
        tuple of TransformStep
            Empty without transforms.

        Raises
        ------
        ConfigError
            If the last step of a feature has no parameter that the original takes from it.
        """
        steps = self.numerical.get(name, ())
        if not self.legacy_closure:
            return steps
        last = steps[-1] if steps else TransformStep("abs")
        for step in steps:
            absent = [key for key in _PARAMETERS[step.type] if key not in _PARAMETERS[last.type]]
            if absent:
                raise ConfigError(
                    f"{self.where}: {name}: with legacy_closure, the parameters of {step.type!r} are those of the last "
                    f"step, {last.type!r}, which has no {' and no '.join(absent)}: the original fails, too"
                )
        return tuple(step._replace(**{key: getattr(last, key) for key in _PARAMETERS[step.type]}) for step in steps)

    def apply(self, name: str, values: Array) -> Rows:
        """The transformed values of a numerical feature.

        Parameters
        ----------
        name : str
            Features without transforms are only converted.
        values : float[n]

        Returns
        -------
        float32[n]

        Raises
        ------
        InvalidValues
            If the logarithm is taken of numbers at or below 0.
        """
        result: Rows = np.asarray(values, dtype=np.float32)
        for kind, loc, scale in self.steps(name):
            if kind == "abs":
                result = np.abs(result)
            elif kind == "arcsinh":
                result = np.arcsinh(result / np.float32(scale))
            elif kind == "linear":
                result = (result - np.float32(loc)) / np.float32(scale)
            else:
                bad = np.flatnonzero(result <= 0)
                if len(bad):
                    raise InvalidValues(
                        f"{name}: {self.where} takes the logarithm of {len(bad)} of {len(result)} values that are not "
                        f"above 0, the first is {result[bad[0]]:g}; use 'arcsinh' for it"
                    )
                result = np.log(result)
        return result

    def index(self, name: str, values: Array) -> Ints:
        """The rows of the embedding for values of a categorical feature.

        Parameters
        ----------
        name : str
        values : int[n]

        Returns
        -------
        int64[n]
            Position in the list of values; their number for all others.

        Raises
        ------
        UnknownName
            If the feature has no list of values.
        """
        allowed = np.asarray(self._values(name), dtype=np.int64)
        order = np.argsort(allowed)
        values = np.asarray(values)
        place = np.minimum(np.searchsorted(allowed, values, sorter=order), len(allowed) - 1)
        row: Ints = order[place].astype(np.int64)
        return np.where(allowed[row] == values, row, len(allowed))

    def rows(self, name: str) -> int:
        """The number of rows of the embedding of a categorical feature, that of unseen values included.

        Raises
        ------
        UnknownName
            If the feature has no list of values.
        """
        return len(self._values(name)) + 1

    def _values(self, name: str) -> tuple[int, ...]:
        if name not in self.categorical:
            raise UnknownName("categorical feature", name, self.categorical, self.where)
        return self.categorical[name]

    def check(self, numerical: Iterable[str], categorical: Iterable[str], known: Iterable[str]) -> None:
        """Compare the transforms with the features of a configuration.

        Parameters
        ----------
        numerical, categorical : iterable of str
            Features that are used.
        known : iterable of str
            Further names, those of the branches: their transforms are not used.

        Raises
        ------
        ConfigError
            If a transform belongs to no feature, or to one of the other kind, or a categorical feature has no values.
        """
        listed = list(self._mistakes(list(numerical), list(categorical), list(known)))
        if listed:
            raise ConfigError("\n".join(f"{self.where}: {text}" for text in listed))

    def _mistakes(self, numerical: list[str], categorical: list[str], known: list[str]) -> Iterator[str]:
        for name in categorical:
            if name not in self.categorical:
                yield f"no list of values of the categorical feature {name!r}"
        for kind, mine, others in (
            ("numerical", self.numerical, categorical),
            ("categorical", self.categorical, numerical),
        ):
            for name in mine:
                if name in others:
                    yield f"{name!r} is transformed as a {kind} feature, but used as the other kind"
                elif name not in {*numerical, *categorical, *known}:
                    unknown = UnknownName(f"{kind} feature", name, [*numerical, *categorical, *known])
                    yield str(unknown)


def read_transform(source: str | os.PathLike[str], *, name: str = "", legacy_closure: bool = False) -> Transforms:
    """Read transforms.

    Parameters
    ----------
    source : path, or str
        The file ``transform.yaml``; with ``name``, the text itself.
    name : str
        Name of the text in messages.
    legacy_closure : bool
        As for `Transforms`.

    Returns
    -------
    Transforms

    Raises
    ------
    ConfigError
        With file, line and expectation.

    Examples
    --------
    >>> read_transform("numerical: {eta: [{type: linear, params: {loc: -5.0, scale: 10}}]}", name="x").steps("eta")
    (TransformStep(type='linear', loc=-5.0, scale=10.0),)
    >>> read_transform("numerical: {eta: [{type: lin}]}", name="x")
    Traceback (most recent call last):
        ...
    jettagger.errors.ConfigError: x, line 1: unknown type 'lin' (nearest: linear), expected abs, log, arcsinh, linear
    """
    document = read_yaml(source, name)
    if document.data is None:  # no feature is transformed
        document = Document({}, document.name, document.lines)
    content = validated(TransformFile, document)
    listed = [f"{document.where(*path)}: {text}" for path, text in _mistaken_parameters(content)]
    if listed:
        raise ConfigError("\n".join(listed))
    numerical = {
        feature: tuple(TransformStep(step.type, **step.params.model_dump(exclude_none=True)) for step in steps)
        for feature, steps in content.numerical.items()
    }
    return Transforms(numerical, content.categorical, legacy_closure, document.name)


def _mistaken_parameters(content: TransformFile) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Path and description of each parameter that a step lacks or does not have, or that cannot be used."""
    for feature, steps in content.numerical.items():
        for place, step in enumerate(steps):
            path = ("numerical", feature, place)
            given = step.params.model_dump(exclude_none=True)
            expected = _PARAMETERS[step.type]
            if set(given) != set(expected):
                words = " and ".join(expected) or "no parameters"
                yield (*path, "params"), f"{feature}: {step.type!r} has {words}, got {', '.join(given) or 'none'}"
            elif given.get("scale") == 0:
                text = f"{feature}: the scale is 0, as of a constant feature: leave it out of the features"
                yield (*path, "params", "scale"), text


def write_transform(path: str | os.PathLike[str], transforms: Transforms, *, force: bool = False) -> None:
    """Write transforms.

    Parameters
    ----------
    path : path
        The file ``transform.yaml``.
    transforms : Transforms
    force : bool
        Whether an existing file is replaced.

    Raises
    ------
    OutputError
        If the file exists already, or cannot be written.
    """
    content: dict[str, Any] = {
        "categorical": {name: list(values) for name, values in sorted(transforms.categorical.items())},
        "numerical": {name: [_written(step) for step in steps] for name, steps in sorted(transforms.numerical.items())},
    }
    with complete_or_absent(path, force=force) as part:
        part.write_text(yaml_text(content), encoding="utf-8")


def _written(step: TransformStep) -> dict[str, Any]:
    params = {key: float(getattr(step, key)) for key in _PARAMETERS[step.type]}
    return {"type": step.type, **({"params": params} if params else {})}


guard(globals())
