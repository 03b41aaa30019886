"""Settings of jet images: size, channels, steps of the pre-processing, normalisation.

One model serves files of settings (`ImageFile`) and declarations of inputs of networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from jettagger.config.models import Between, Expected, FileModel, Shown, shown
from jettagger.errors import ConfigError, hint
from jettagger.expressions import Expression, parse
from jettagger.types import Floats

__all__ = ["PRESETS", "VERSION", "CellGrid", "ImageChannel", "ImageFile", "ImageSettings", "ImageSteps"]

#: version of files of settings
VERSION = 1

#: maximum number of pixels along an axis, and of numbers in an image
MAX_SIZE, MAX_NUMBERS = 1024, 1 << 24

#: quantities that are sums over the constituents of a pixel; others are means of an expression
SUMS = ("pt", "energy", "count")
MEAN = "mean of "

#: channels by name -> selection in columns of the constituents; the six channels of ImageTop (CMS-JME-18-002)
PRESETS: Mapping[str, str] = MappingProxyType(
    {
        "all": "",
        "charged": "isChargedHadron > 0",
        "neutral": "isNeutralHadron > 0",
        "photons": "isPhoton > 0",
        "electrons": "isElectron > 0",
        "muons": "isMuon > 0",
    }
)

ChannelName = Literal["all", "charged", "neutral", "photons", "electrons", "muons"]
_CENTRES = ("axis", "leading", "centroid")
_ROTATIONS = ("none", "principal", "second")
_FLIPS = ("none", "eta", "phi", "both")
_NORMALISATIONS = ("none", "image", "pixel", "both")
_GRANULARITIES = ("constituents", "tracks", "cells", "generator")


def _words(names: tuple[str, ...]) -> Expected:
    return Expected(f"one of {', '.join(names)}", names)


Size = Annotated[int, Between(1, MAX_SIZE)]
Width = Annotated[float, Field(strict=False), Between(1e-3, 10.0)]
CellSize = Annotated[float, Field(strict=False), Between(1e-3, 2.0)]
Centre = Annotated[Literal["axis", "leading", "centroid"], _words(_CENTRES)]
Rotation = Annotated[Literal["none", "principal", "second"], _words(_ROTATIONS)]
Flip = Annotated[Literal["none", "eta", "phi", "both"], _words(_FLIPS)]
Normalisation = Annotated[Literal["none", "image", "pixel", "both"], _words(_NORMALISATIONS)]
Granularity = Annotated[Literal["constituents", "tracks", "cells", "generator"], _words(_GRANULARITIES)]


class ImageChannel(FileModel):
    """One channel: which constituents, and which quantity of those in a pixel."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", description="name of the channel")
    selection: str = Field(default="", description="cut in columns of the constituents, e.g. `charge != 0`; none: all")
    quantity: str = Field(
        default="pt",
        description="`pt` or `energy` (sums in GeV), `count`, or `mean of` an expression in columns of the "
        "constituents, e.g. `mean of abs(d0val)`",
    )

    @model_validator(mode="after")
    def _check(self) -> ImageChannel:
        place = f"channel {self.name!r}"
        if self.selection and _kind_of(self.selection, f"{place}, selection") != "b":
            raise ValueError(f"{place}: {self.selection!r} is not a cut, expected a condition such as 'charge != 0'")
        if self.quantity in SUMS:
            return self
        if not self.quantity.startswith(MEAN):
            near = hint(self.quantity, SUMS)
            words = f"{', '.join(SUMS)} or 'mean of' an expression"
            raise ValueError(f"{place}: unknown quantity {shown(self.quantity)}{near}, expected {words}")
        text = self.quantity.removeprefix(MEAN)
        if _kind_of(text, f"{place}, quantity") not in "fiu":
            raise ValueError(f"{place}: {text!r} is not a number, expected an expression such as 'abs(d0val)'")
        return self

    @cached_property
    def cut(self) -> Expression | None:
        """The selection as an expression, None for all constituents."""
        return parse(self.selection, f"channel {self.name!r}, selection") if self.selection else None

    @cached_property
    def mean(self) -> Expression | None:
        """The expression whose mean is taken, None for sums."""
        if self.quantity in SUMS:
            return None
        return parse(self.quantity.removeprefix(MEAN), f"channel {self.name!r}, quantity")

    @property
    def unit(self) -> str:
        """Unit of the pixels: GeV, 1 for counts, empty for means of expressions."""
        return {"pt": "GeV", "energy": "GeV", "count": "1"}.get(self.quantity, "")


def _kind_of(text: str, place: str) -> str:
    """NumPy's kind of the values of an expression in columns that are not known yet."""
    try:
        expression = parse(text, place)
        value = expression.evaluate(dict.fromkeys(expression.names, np.ones(1, dtype=np.float32)))
    except ConfigError as error:
        raise ValueError(str(error)) from error
    return np.asarray(value).dtype.kind


def _preset(value: Any) -> Any:
    """A channel by name."""
    if not isinstance(value, str):
        return value
    if value not in PRESETS:
        raise ValueError(f"unknown channel {shown(value)}{hint(value, PRESETS)}, expected {', '.join(PRESETS)}")
    return {"name": value, "selection": PRESETS[value]}


class ImageSteps(FileModel):
    """Steps of the pre-processing, in the order in which they are applied; sums are weighted with pt."""

    centre: Centre = Field(
        default="axis",
        description="origin of the image: the `axis` of the jet, its `leading` subjet, or the `centroid` of its "
        "constituents",
    )
    rotate: Rotation = Field(
        default="none",
        description="turned into the direction of phi: nothing, the `principal` axis, with more pt above, or the "
        "direction from the leading to the `second` subjet, downwards",
    )
    flip: Flip = Field(
        default="none", description="axes that are mirrored where the half at lower `eta` or `phi` has more pt"
    )
    subjet_radius: Width = Field(
        default=0.2, description="radius of the subjets: cones around the hardest constituents"
    )


class CellGrid(FileModel):
    """Cells of calorimeters in eta and phi, as in the cards of the simulation; larger beyond ``|eta| = 3``."""

    ecal_cell: CellSize = Field(default=0.0174, description="width for photons and electrons")
    hcal_cell: CellSize = Field(default=0.087, description="width for all other constituents")


class ImageSettings(FileModel):
    """How jets become images.

    Examples
    --------
    >>> settings = ImageSettings(size=40, range=0.8, channels=["all", "muons"], steps={"centre": "centroid"})
    >>> settings.shape, settings.columns
    ((2, 40, 40), ('isMuon',))
    """

    size: Annotated[Size | list[Size], Expected(f"a number of pixels from 1 to {MAX_SIZE}, or [rows, columns]")] = (
        Field(default=40, description="pixels along an axis, or [rows, columns]: rows in phi, columns in eta")
    )
    range: Annotated[Width | list[Width], Expected("a half width from 0.001 to 10, or [eta, phi]")] = Field(
        default=0.8, description="half width in eta and phi, or [eta, phi]"
    )
    zoom: Annotated[float, Field(strict=False), Between(1e-3, 1e6)] | None = Field(
        default=None,
        description="pt in GeV; distances from the centre are multiplied by the pt of the jet divided by it",
    )
    mirrored: bool = Field(default=True, description="whether eta is multiplied by the sign of the jet's eta")
    granularity: Granularity = Field(
        default="constituents",
        description="what is put into pixels: `constituents`, `tracks` (the charged ones), `cells` of a calorimeter "
        "with the constituents in it, or particles of the `generator`",
    )
    cells: CellGrid | None = Field(default=None, description="cells for the granularity `cells`")
    channels: Annotated[
        list[Annotated[ImageChannel, BeforeValidator(_preset, json_schema_input_type=ChannelName | ImageChannel)]],
        Shown("`[all]`"),
    ] = Field(
        default_factory=lambda: [ImageChannel(name="all")],
        min_length=1,
        description=f"channels: {', '.join(PRESETS)}, or mappings with `name`, `selection` and `quantity`",
    )
    steps: ImageSteps = Field(default_factory=ImageSteps, description="steps of the pre-processing")
    normalise: Normalisation = Field(
        default="none",
        description="`image`: pt, energy and counts are divided by their sum over all constituents in the image; "
        "`pixel`: `mean` is subtracted and the difference divided by `std`; `both`: one after the other",
    )
    mean: list[list[list[float]]] | None = Field(
        default=None, description="for `pixel`: numbers of the pixels, [channels][rows][columns]"
    )
    std: list[list[list[float]]] | None = Field(default=None, description="for `pixel`: above 0, as `mean`")

    @model_validator(mode="after")
    def _check(self) -> ImageSettings:
        for key in ("size", "range"):
            value = getattr(self, key)
            if isinstance(value, list) and len(value) != 2:
                raise ValueError(f"{key} is {value}, expected one number or two")
        names = [channel.name for channel in self.channels]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"channels are declared twice: {', '.join(repeated)}")
        if np.prod(self.shape) > MAX_NUMBERS:
            raise ValueError(f"images of shape {self.shape} have more than {MAX_NUMBERS} numbers")
        if self.cells is not None and self.granularity != "cells":
            raise ValueError(f"cells are given, but granularity is {self.granularity!r}, expected 'cells'")
        per_pixel = self.normalise in ("pixel", "both")
        for key in ("mean", "std"):
            value = getattr(self, key)
            if per_pixel == (value is None):
                state = "missing" if per_pixel else "given"
                raise ValueError(f"{key} is {state}, but normalise is {self.normalise!r}")
            if value is not None:
                _check_numbers(key, value, self.shape)
        return self

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, rows (phi) and columns (eta) of an image."""
        rows, columns = self.size if isinstance(self.size, list) else (self.size, self.size)
        return len(self.channels), rows, columns

    @property
    def half_widths(self) -> tuple[float, float]:
        """Half widths of the image in eta and phi."""
        eta, phi = self.range if isinstance(self.range, list) else (self.range, self.range)
        return eta, phi

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the constituents beside ``pt``, ``energy``, ``deta`` and ``dphi``, in order of appearance."""
        names = {"tracks": ["charge"], "cells": ["isPhoton", "isElectron"]}.get(self.granularity, [])
        names += self._names
        return tuple(dict.fromkeys(name for name in names if name not in ("pt", "energy", "deta", "dphi")))

    @property
    def needs_energy(self) -> bool:
        """Whether the column ``energy`` of the constituents is used."""
        sums = any(channel.quantity == "energy" for channel in self.channels)
        return sums or self.granularity == "cells" or "energy" in self._names

    @property
    def _names(self) -> list[str]:
        """Columns in the expressions of the channels."""
        expressions = [expression for channel in self.channels for expression in (channel.cut, channel.mean)]
        return [name for expression in expressions if expression is not None for name in expression.names]

    @property
    def jet_columns(self) -> tuple[str, ...]:
        """Columns of the jets: ``pt`` for the zoom, ``eta`` and ``phi`` for cells, ``eta`` if it is not mirrored."""
        cells = self.granularity == "cells"
        wanted = {"pt": self.zoom is not None, "eta": cells or not self.mirrored, "phi": cells}
        return tuple(name for name, needed in wanted.items() if needed)

    @property
    def pixel_numbers(self) -> tuple[Floats, Floats] | None:
        """``mean`` and ``std`` as float64[channels, rows, columns]; None without a normalisation per pixel."""
        if self.mean is None or self.std is None:
            return None
        return np.asarray(self.mean, dtype=np.float64), np.asarray(self.std, dtype=np.float64)

    @property
    def blank(self) -> Floats:
        """What a network sees of a jet without constituents, float64[channels, rows, columns]: 0 before ``mean``."""
        numbers = self.pixel_numbers
        return np.zeros(self.shape) if numbers is None else -numbers[0] / numbers[1]


class ImageFile(FileModel):
    """A file of settings, YAML."""

    version: Literal[1] = Field(description="version of this schema")
    image: ImageSettings = Field(default_factory=ImageSettings, description="settings of the images")


def _check_numbers(key: str, value: list[list[list[float]]], shape: tuple[int, int, int]) -> None:
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except ValueError:
        raise ValueError(f"{key} has rows of different lengths, expected the shape {shape}") from None
    if numbers.shape != shape:
        raise ValueError(f"{key} has the shape {numbers.shape}, expected {shape}: channels, rows, columns")
    if key == "std" and not (numbers > 0).all():
        raise ValueError(f"std is {numbers.min():g} in a pixel, expected numbers above 0")
