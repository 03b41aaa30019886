"""The schema of the configuration of `jettagger decorrelate`: keys, types, defaults and descriptions."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from jettagger.arguments import is_number
from jettagger.config.models import Between, Expected, FileModel, Names, Shorthand, Shown, Size

__all__ = ["VERSION", "DecorrelateFile", "HeadKeys", "MapKeys", "ProtectedKeys", "StudyJetsKeys"]

#: version of the configuration files
VERSION = 1


def _text(value: Any) -> Any:
    """A number is an expression, too."""
    return str(value) if is_number(value) else value


def _rising(edges: tuple[float, ...]) -> tuple[float, ...]:
    if len(edges) < 3 or not all(low < high for low, high in pairwise(edges)):
        raise ValueError("at least 3 edges, which must rise")
    return edges


Formula = Annotated[str, BeforeValidator(_text, json_schema_input_type=str | float), Expected("an expression")]
Fraction = Annotated[float, Between(1e-6, 1 - 1e-6)]
Fractions = Annotated[
    tuple[Fraction, ...], Field(strict=False, min_length=1), Expected("a list of numbers between 0 and 1")
]
Edges = Annotated[
    tuple[float, ...],
    Field(strict=False),
    AfterValidator(_rising),
    Expected("a list of at least 3 rising bin edges"),
]
Binning = Annotated[
    tuple[float, float, float], Field(strict=False), Expected("a list: number of bins, lower and upper end")
]
Range = Annotated[tuple[float, float], Field(strict=False), Expected("a list: lower and upper end")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$"), Expected("a name of letters, digits, _ and -")]


class StudyJetsKeys(FileModel):
    """Jets of one kind."""

    files: Annotated[Names, Field(min_length=1)] = Field(
        description="skims, `.parquet` or `.root`, paths and globs; relative to the configuration"
    )
    select: Annotated[Formula | None, Shown("all")] = Field(
        default=None, description="selection of jets, an expression in columns of the skim"
    )
    weight: Annotated[Formula | None, Shown("1")] = Field(
        default=None, description="weight of a jet, an expression, e.g. `genWeight`"
    )


class ProtectedKeys(FileModel):
    """Bins of a protected column: `bins` or `edges`."""

    bins: Annotated[Binning | None, Shown("this or `edges`")] = Field(
        default=None, description="number of bins, lower and upper end"
    )
    edges: Annotated[Edges | None, Shown("this or `bins`")] = Field(default=None, description="rising bin edges")
    label: Annotated[str, Shown("the name")] = Field(default="", description="axis label, with its unit")

    @model_validator(mode="after")
    def _one_of_them(self) -> ProtectedKeys:
        if (self.bins is None) == (self.edges is None):
            raise ValueError("expected either 'bins' or 'edges'")
        if self.bins is not None and not (self.bins[0] >= 2 and self.bins[0] % 1 == 0 and self.bins[1] < self.bins[2]):
            raise ValueError("'bins' must be a number of at least 2, and a lower and an upper end, e.g. [22, 30, 250]")
        return self

    @property
    def values(self) -> tuple[float, ...]:
        """The bin edges."""
        if self.edges is not None:
            return self.edges
        assert self.bins is not None
        number, low, high = self.bins
        return tuple(np.linspace(low, high, int(number) + 1).tolist())


class MapKeys(FileModel):
    """A map, fitted to the background."""

    method: Literal["linear", "thresholds", "quantiles"] = Field(
        description="`linear`: slope in rho' = ln(m^2 / pt); `thresholds`: at constant background efficiency in bins; "
        "`quantiles`: the score is replaced by its conditional quantile"
    )
    of: Annotated[str, Shown("the discriminant")] = Field(
        default="", description="the head under `heads` to whose score it is fitted"
    )
    efficiencies: Annotated[Fractions | None, Shown("[0.1, 0.05, 0.02, 0.01]")] = Field(
        default=None, description="of `thresholds`: background efficiencies"
    )
    levels: Annotated[Fractions | None, Shown("what the jets resolve")] = Field(
        default=None, description="of `quantiles`: efficiencies at which scores are tabulated"
    )
    axes: Annotated[dict[str, int | Edges] | None, Shown("`{mass: 16, pt: 6}`")] = Field(
        default=None,
        description="of `thresholds` and `quantiles`: `mass`, `pt` or `rho` -> bin edges, or a number of bins with "
        "equal sums of weights",
    )
    smoothing: Annotated[Literal["gaussian", "neighbours", "monotone", "none"] | None, Shown("`gaussian`")] = Field(
        default=None, description="of `thresholds` and `quantiles`: smoothing between bins"
    )
    width: Annotated[float | None, Between(0), Shown("0.5")] = Field(
        default=None, description="of the Gaussian, in bins"
    )
    neighbours: Annotated[int | None, Between(1), Shown("5000")] = Field(
        default=None, description="number of nearest jets"
    )
    sparse: Annotated[Literal["merge", "refuse"] | None, Shown("`merge`")] = Field(
        default=None, description="what is done with bins that do not resolve an efficiency"
    )
    least: Annotated[float | None, Between(2), Shown("10")] = Field(
        default=None, description="minimum effective number of jets, see Maps"
    )
    statistic: Annotated[Literal["mean", "median"] | None, Shown("`mean`")] = Field(
        default=None, description="of `linear`: what the line is fitted to"
    )
    bins: Annotated[int | None, Between(3), Shown("20")] = Field(default=None, description="of `linear`: bins in rho'")
    range: Annotated[Range | None, Shown("2 % to 98 % of the jets")] = Field(
        default=None, description="of `linear`: range of rho' of the fit"
    )

    @property
    def options(self) -> dict[str, Any]:
        """The options that are given."""
        return self.model_dump(exclude={"method", "of"}, exclude_none=True)


class HeadKeys(FileModel):
    """A head that is trained with `jettagger finetune`."""

    config: Annotated[str, Field(min_length=1), Expected("text")] = Field(
        description="configuration of the training, relative to this file"
    )
    score: Annotated[Formula | None, Shown("the first class against all others")] = Field(
        default=None, description="expression in outputs of the head: `probXgg / (probXgg + probQCD)`"
    )
    decorrelate: Annotated[dict[str, Any] | None, Shown("that of the configuration")] = Field(
        default=None, description="replaces the key `decorrelate` of the training; one head per strength"
    )
    kinematics: Annotated[dict[str, Any] | None, Shown("that of the configuration")] = Field(
        default=None, description="replaces the key `kinematics` of the training"
    )


class DecorrelateFile(FileModel):
    """The configuration of a study of decorrelation."""

    version: Literal[1] = Field(description="1")
    title: str = Field(default="", description="one-line description, for the report")
    prefix: Annotated[str | None, Field(min_length=1), Expected("text"), Shown("the only tagger's")] = Field(
        default=None, description="prefix of the tagger's columns in the skims"
    )
    discriminant: Annotated[str, Field(min_length=1), Expected("text")] = Field(
        description="what is decorrelated, large for signal: a preset, an expression in scores or columns of the jets "
        "(`1 - tau2 / tau1`), or the name of a head below"
    )
    background: StudyJetsKeys = Field(description="background jets, see below")
    signal: StudyJetsKeys = Field(description="signal jets, with the same keys")
    protected: Annotated[dict[str, ProtectedKeys], Field(min_length=1)] = Field(
        description="column of the skim -> its bins, see below; the first one is the mass whose spectrum is compared, "
        "the second one pt"
    )
    maps: dict[Name, Annotated[MapKeys, Shorthand("method")]] = Field(
        default_factory=dict, description="name -> a map to fit: its method, or keys, see below"
    )
    heads: dict[Name, Annotated[HeadKeys, Shorthand("config")]] = Field(
        default_factory=dict, description="name -> a head to train: its configuration, or keys, see below"
    )
    signal_efficiency: Fraction = Field(default=0.5, description="signal efficiency of the comparison")
    background_efficiencies: Fractions = Field(
        default=(0.1, 0.05, 0.01), description="background efficiencies of further cuts"
    )
    test: Annotated[float, Between(0.05, 0.95)] = Field(
        default=0.5, description="fraction of the events for the comparison, which nothing is fitted to"
    )
    base: Annotated[float, Between(1.01)] = Field(default=2.0, description="base of the logarithm of the divergence")
    replicas: Annotated[int, Between(10)] = Field(default=200, description="number of bootstrap replicas")
    seed: Annotated[int, Between(0)] = Field(default=1, description="seed of the bootstrap")
    memory: Annotated[Size, Shown("`500MB`")] = Field(default=500_000_000, description="memory for a chunk of events")
