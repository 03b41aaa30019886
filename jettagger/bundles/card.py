"""``bundle.json``, the card of a model: information beyond its input description.

The schema is versioned and refuses unknown keys, so that misspelt keys are found when the bundle is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from jettagger.config.models import Expected, FileModel, shown, validated_json
from jettagger.errors import BundleError
from jettagger.files.jsonfile import read_object
from jettagger.formats.base import JetKind

__all__ = ["KINDS", "SCHEMA_VERSION", "BundleCard", "Domain", "Kind", "Mass", "Rounding", "read_card"]

SCHEMA_VERSION = 1

Kind = Literal["prob", "logit", "mass", "regression", "hidden", "other"]

_LISTS = ("sequence", "set")
ListKind = Annotated[Literal["sequence", "set"], Expected(f"one of {', '.join(_LISTS)}", _LISTS)]

#: kinds of outputs, in the order of display
KINDS: tuple[Kind, ...] = ("prob", "logit", "mass", "regression", "hidden", "other")

Patterns = list[Annotated[str, Field(min_length=1)]]
Range = tuple[float, float]


class Mass(FileModel, strict=False, allow_inf_nan=True):
    """Meaning of the regressed mass."""

    unit: Literal["GeV", "factor"] = Field(description="GeV, or a factor on the mass named in `scales`")
    scales: str | None = Field(
        default=None,
        description="expression in jet columns to be multiplied by the factor, e.g. 'mass * (1 - rawFactor)'",
    )
    target: str = Field(default="", description="target of the regression")


class Domain(FileModel, strict=False, allow_inf_nan=True):
    """Domain of the training jets; open ends are omitted."""

    pt: Range | None = Field(default=None, description="range of transverse momentum in GeV")
    abseta: Range | None = Field(default=None, description="range of absolute pseudorapidity")
    msoftdrop: Range | None = Field(default=None, description="range of soft-drop mass in GeV")

    @field_validator("pt", "abseta", "msoftdrop")
    @classmethod
    def _ordered(cls, value: Range | None) -> Range | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError(f"expected [from, to] with from below to, got {list(value)}")
        return value


class Rounding(FileModel, strict=False):
    """Response of probabilities to one unit in the last place, of inputs or of a step with cancellation."""

    jets: int = Field(gt=0, description="number of jets in the measurement")
    median: float = Field(ge=0, description="median change of a probability")
    q99: float = Field(ge=0, description="99 % quantile of the change")
    largest: float = Field(ge=0, description="maximum change")


class BundleCard(FileModel, strict=False, allow_inf_nan=True):
    """The content of ``bundle.json``."""

    schema_version: Literal[1] = Field(description="version of this schema")
    name: str = Field(max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", description="name of the model")
    version: str = Field(default="", description="version of the model")
    title: str = Field(default="", description="one-line description for lists")
    prefix: str | None = Field(
        default=None, pattern=r"^[A-Za-z][A-Za-z0-9_]*$", description="default prefix of the columns"
    )
    inputs: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][^/\\]*$",
        description="file in the same folder with the input description, or a family of networks whose inputs "
        "jettagger declares; default: preprocess.json, inputs.json, or the only YAML file",
    )
    jets: JetKind = Field(
        default="AK8", description="jets that the model takes: AK4, or AK8 for large-radius jets of any radius"
    )
    output_names: list[str] | None = Field(
        default=None, description="names of the output columns, in order; default: those of the input description"
    )
    kinds: dict[Kind, Patterns] = Field(
        default_factory=dict, description="kind -> patterns of output names (shell style); the first match applies"
    )
    softmax: Patterns = Field(
        default_factory=list, description="outputs without a softmax in the graph; a joint softmax is applied to them"
    )
    aliases: dict[str, str] = Field(default_factory=dict, description="other name -> canonical output name")
    mass: Mass | None = Field(default=None, description="meaning of outputs of kind mass")
    domain: Domain = Field(default_factory=Domain, description="training domain")
    nonfinite: Literal["cmssw", "weaver"] = Field(
        default="cmssw",
        description="cmssw: NaN, infinities and |x| > 1e32 are replaced before the transformation; "
        "weaver: NaN becomes 0 after it, infinities are clipped",
    )
    pad_mode: Literal["constant", "wrap"] = Field(
        default="constant",
        description="constant: fill with the pad value; wrap: repeat the constituents; masks are never repeated",
    )
    selection: str | None = Field(
        default=None,
        description="cut on the candidates in their columns, e.g. 'puppiWeight >= 0.01'; none: no cut; default for "
        "preprocess.json: puppiWeight >= 0.01, as in CMSSW's producer",
    )
    lists: dict[str, ListKind] = Field(
        default_factory=dict,
        description="input -> sequence or set: whether the scores depend on the order of its objects, which jettagger "
        "models check verifies; default: what the input description says",
    )
    rounding: Rounding | None = Field(
        default=None,
        description="response of probabilities to a change in the last place: jets, median, q99, largest; measured "
        "by jettagger models check",
    )
    licence: str = Field(default="", description="licence of the weights")
    citation: str = Field(default="", description="citation")
    source: str = Field(default="", description="origin of the model")
    get_weights: str = Field(default="", description="how to obtain weights that may not be redistributed")
    sha256: dict[str, str] = Field(default_factory=dict, description="file name -> expected SHA-256")
    golden: str | None = Field(
        default=None, pattern=r"^[^/\\]+\.npz$", description="file in the same folder with inputs and expected outputs"
    )
    notes: str = Field(default="", description="further notes for users")


def read_card(path: Path) -> BundleCard:
    """Read and validate a ``bundle.json``.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    BundleCard

    Raises
    ------
    BundleError
        Lists every problem with its place in the file; unknown keys with the nearest valid ones.
    """
    content = read_object(path, BundleError, finite=False)
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise BundleError(
            f"{path}: schema_version is {shown(version)}, this version of jettagger reads {SCHEMA_VERSION}"
        )
    return validated_json(BundleCard, path, content, BundleError, "bundle description")
