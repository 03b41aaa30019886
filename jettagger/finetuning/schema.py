"""The schema of the configuration of a training: keys, types, defaults and descriptions."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from jettagger.arguments import is_number
from jettagger.config.models import Between, Expected, FileModel, Names, Shorthand, Shown, Size
from jettagger.heads.export import ACTIVATIONS
from jettagger.training.devices import DEVICE

__all__ = [
    "FLAT",
    "RENAMED",
    "VERSION",
    "BdtModel",
    "Decorrelation",
    "FinetuneFile",
    "Kinematics",
    "Loss",
    "MlpModel",
    "Split",
    "Training",
]

#: version of the configuration files
VERSION = 1

#: former names of keys -> current names
RENAMED: dict[tuple[str, ...], str | tuple[str, ...]] = {("flatten",): ("kinematics", "columns")}

#: alternative to a class for ``kinematics: {to: ...}``
FLAT = "flat"


def _text(value: Any) -> Any:
    """A number is an expression, too."""
    return str(value) if is_number(value) else value


def _rising(edges: tuple[float, ...]) -> tuple[float, ...]:
    if len(edges) < 2 or not all(low < high for low, high in pairwise(edges)):
        raise ValueError("edges must rise")
    return edges


def _activation(name: str) -> str:
    if name not in ACTIVATIONS:
        raise ValueError("unknown")
    return name


Formula = Annotated[str, BeforeValidator(_text, json_schema_input_type=str | float), Expected("an expression")]
Edges = Annotated[
    tuple[float, ...], Field(strict=False), AfterValidator(_rising), Expected("a list of rising bin edges")
]


class MlpModel(FileModel):
    """A network of dense layers."""

    kind: Literal["mlp"] = Field(default="mlp", description="`mlp`")
    layers: Annotated[
        tuple[Annotated[int, Field(gt=0)], ...], Field(strict=False), Expected("a list of widths, e.g. [64, 64]")
    ] = Field(default=(64, 64), description="widths of the hidden layers; empty: a linear model")
    activation: Annotated[
        str, AfterValidator(_activation), Expected(f"one of {', '.join(ACTIVATIONS)}", tuple(ACTIVATIONS))
    ] = Field(default="relu", description=", ".join(f"`{name}`" for name in ACTIVATIONS))
    dropout: Annotated[float, Between(0, 0.9)] = Field(
        default=0.1, description="fraction of neurons dropped during training"
    )


class BdtModel(FileModel):
    """A boosted decision tree (XGBoost, histogram method)."""

    kind: Literal["bdt"] = Field(default="bdt", description="`bdt`")
    trees: Annotated[int, Between(1)] = Field(default=500, description="maximum number of boosting rounds")
    depth: Annotated[int, Between(1)] = Field(default=5, description="maximum depth of a tree")
    rate: Annotated[float, Between(1e-6, 1)] = Field(default=0.1, description="learning rate")
    subsample: Annotated[float, Between(0.01, 1)] = Field(
        default=0.8, description="fraction of the jets used for each tree"
    )
    columns: Annotated[float, Between(0.01, 1)] = Field(
        default=0.8, description="fraction of the inputs used for each tree"
    )
    min_weight: Annotated[float, Between(0)] = Field(
        default=1.0, description="minimum sum of second derivatives in a leaf"
    )


def _strengths(value: Any) -> Any:
    """One number or a list of numbers, each at least 0 and given once."""
    numbers = value if isinstance(value, (list, tuple)) else [value]
    if not numbers or not all(is_number(number) and 0 <= number < math.inf for number in numbers):
        raise ValueError("no strengths")
    if len(set(numbers)) < len(numbers):
        raise ValueError("repeated")
    return tuple(map(float, value)) if isinstance(value, (list, tuple)) else float(value)


Strength = Annotated[
    float | tuple[float, ...],
    BeforeValidator(_strengths, json_schema_input_type=float | list[float]),
    Expected("a number of at least 0, or a list of different ones"),
]


class AdversaryKeys(FileModel):
    """The adversary of a head."""

    reads: Literal["density", "bins"] = Field(
        default="density",
        description="`density`: a mixture of Gaussians; `bins`: probabilities of bins of one protected column",
    )
    bins: Annotated[int, Between(2, 100)] = Field(default=10, description="number of bins, with equal sums of weights")
    layers: Annotated[
        tuple[Annotated[int, Field(gt=0)], ...], Field(strict=False), Expected("a list of widths, e.g. [64, 64]")
    ] = Field(default=(64, 64), description="widths of its layers")
    steps: Annotated[int, Between(1, 100)] = Field(default=3, description="its steps before each of the head")
    rate: Annotated[float, Between(1e-9, 10)] = Field(
        default=5e-3, description="its learning rate, with cosine decay to a tenth of it"
    )
    warmup: Annotated[int, Between(0)] = Field(
        default=5, description="epochs in which it learns and the head does not notice it"
    )
    ramp: Annotated[int, Between(0)] = Field(
        default=20, description="epochs in which the strength then rises to its value"
    )


class Decorrelation(FileModel):
    """A term of the loss against the dependence of scores on protected columns in one class, or on the domain."""

    method: Literal["disco", "adversary"] = Field(
        description="`disco`: squared distance correlation; `adversary`: a network that reads the columns, or tells "
        "domains apart; see below"
    )
    columns: Annotated[Names, Shown("none; required without `between` or `domains`")] = Field(
        default=(), alias="from", description="protected columns, or expressions in columns, e.g. `FatJet_msoftdrop`"
    )
    of: Annotated[str, Expected("the name of a class"), Shown("required; with `domains`: all classes")] = Field(
        default="", description="the class, usually the background, in which scores must not depend on them"
    )
    domains: Annotated[dict[str, Names], Shown("none")] = Field(
        default_factory=dict,
        description="instead of `from`, for method `adversary`: two names, each with its skims (paths and globs), in "
        "which scores must not differ, e.g. `{simulation: [mc*.parquet], data: [data*.parquet]}`; jets of skims that "
        "are not among `files` have no class",
    )
    signals: Annotated[Names, Shown("all other classes")] = Field(
        default=(),
        description="the classes whose scores are decorrelated: `prob<signal> / (prob<signal> + prob<of>)`, the "
        "discriminant of the report; the average over several",
    )
    between: Annotated[Names, Shown("none")] = Field(
        default=(), description="two classes whose scores must not depend on each other (ABCD, double DisCo)"
    )
    strength: Strength = Field(
        description="factor of the term, which is added to the loss; a list: one head for each, "
        "in folders `<name>Disco<strength>` or `<name>Adversary<strength>`"
    )
    adversary: Annotated[AdversaryKeys, Shown("those below")] = Field(
        default_factory=AdversaryKeys, description="options of the adversary, see below"
    )

    def record(self) -> dict[str, Any]:
        """The keys for a file; a decorrelation without domains is described without them."""
        return self.model_dump(mode="json", by_alias=True, exclude=None if self.domains else {"domains"})

    @property
    def strengths(self) -> tuple[float, ...]:
        """All strengths."""
        return self.strength if isinstance(self.strength, tuple) else (self.strength,)


class Loss(FileModel):
    """The loss of a mass regression, a function of ``r = log(mass / target)``."""

    kind: Literal["log-cosh", "huber", "quantile"] = Field(
        default="log-cosh",
        description="`log-cosh`: `log(cosh(r / scale))`; `huber`: quadratic up to `scale`, then linear; `quantile`: "
        "minimised by the quantile `q` of the mass; `r` is `log(mass / target)`",
    )
    scale: Annotated[float, Between(1e-6)] = Field(
        default=0.1, description="value of `r` at the transition from quadratic to linear"
    )
    q: Annotated[float, Between(0.001, 0.999)] = Field(default=0.5, description="the quantile")


def _schedule_points(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    if not points or not all(low[0] < high[0] for low, high in pairwise(points)) or min(map(min, points)) < 0:
        raise ValueError("epochs must rise")
    return points


class CosineSchedule(FileModel):
    """A learning rate that falls along half a period of a cosine."""

    kind: Literal["cosine"] = Field(default="cosine", description="`cosine`: half a period over `epochs`")
    last: Annotated[float, Between(0, 1)] = Field(default=0.01, description="factor on the rate at the end")


class ConstantSchedule(FileModel):
    """A constant learning rate."""

    kind: Literal["constant"] = Field(default="constant", description="`constant`")


class PiecewiseSchedule(FileModel):
    """A learning rate of straight lines between points."""

    kind: Literal["piecewise"] = Field(default="piecewise", description="`piecewise`: straight lines between points")
    points: Annotated[
        tuple[Annotated[tuple[float, float], Field(strict=False)], ...],
        Field(strict=False),
        AfterValidator(_schedule_points),
        Expected("a list of [epoch, factor] with rising epochs, factors of at least 0"),
    ] = Field(description="list of `[epoch, factor on the rate]`; epochs from 0")


class PlateauSchedule(FileModel):
    """A learning rate that falls when the validation no longer becomes better."""

    kind: Literal["plateau"] = Field(
        default="plateau", description="`plateau`: lower each time that the validation gets no better"
    )
    reduce: Annotated[float, Between(0.001, 0.999)] = Field(default=0.3, description="factor of a reduction")
    patience: Annotated[int, Between(0)] = Field(
        default=3, description="epochs without a better validation before it; less than that of the training"
    )
    last: Annotated[float, Between(0, 1)] = Field(default=1e-3, description="smallest factor on the rate")


def _device(name: str) -> str:
    if not DEVICE.fullmatch(name):
        raise ValueError("unknown")
    return name


class Training(FileModel):
    """Options of the training."""

    epochs: Annotated[int, Between(0)] = Field(
        default=60, description="maximum number of epochs (networks; trees have `trees`)"
    )
    batch: Annotated[int, Between(1)] = Field(default=1024, description="jets per step")
    rate: Annotated[float, Between(1e-9, 10)] = Field(
        default=2e-3, description="learning rate of AdamW, times the factor of `schedule`"
    )
    schedule: Annotated[
        Annotated[CosineSchedule | ConstantSchedule | PiecewiseSchedule | PlateauSchedule, Field(discriminator="kind")],
        Shorthand("kind"),
        Shown("`cosine`"),
    ] = Field(
        default_factory=CosineSchedule,
        description="networks: `cosine`, `constant`, `piecewise`, `plateau`, or keys, see below",
    )
    warmup: Annotated[int, Between(0)] = Field(
        default=0, description="networks: steps in which the rate rises linearly, in addition to the schedule"
    )
    decay: Annotated[float, Between(0)] = Field(default=1e-3, description="weight decay of AdamW")
    patience: Annotated[int, Between(1)] = Field(
        default=8, description="early stopping: epochs (or trees) without a better validation"
    )
    metric: Literal["loss", "accuracy", "auc", "width"] = Field(
        default="loss",
        description="networks: what decides about the best epoch, `loss`; for classes `accuracy`, or `auc`, averaged "
        "over the pairs of classes; for a mass `width`, the interquartile range of `mass / target` over its median",
    )
    device: Annotated[
        str, AfterValidator(_device), Expected("cpu, cuda, cuda:N or mps", ("cpu", "cuda", "cuda:0", "mps"))
    ] = Field(default="cpu", description="networks: `cpu`, a GPU `cuda` or `cuda:N`, that of Apple `mps`")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="networks: single or mixed precision, the latter for GPUs"
    )
    seed: Annotated[int, Between(0)] = Field(
        default=1, description="two runs with the same seed, files and threads give the same head"
    )
    threads: Annotated[int, Between(1)] = Field(default=2, description="threads of torch and XGBoost")
    memory: Annotated[Size, Shown("`1GB`")] = Field(
        default=1_000_000_000, description="memory for the jets being processed"
    )


class Split(FileModel):
    """Division into training, validation and test events by event number."""

    validation: Annotated[float, Between(0.01, 0.9)] = Field(
        default=0.15, description="fraction for early stopping, of the events that are not for testing"
    )
    test: Annotated[float, Between(0.01, 0.9)] = Field(
        default=0.25, description="fraction of the events held out from training; not with folds"
    )
    use: Annotated[float, Between(1e-6, 1)] = Field(
        default=1.0,
        description="fraction of the training and validation events to use, to study the dependence on their number",
    )
    folds: Annotated[int, Between(1)] = Field(
        default=1,
        description="above 1: number of networks in cross-validation; each event gets the one that was not trained "
        "on it",
    )


class Kinematics(FileModel):
    """Spectra that the classes have in the training."""

    method: Literal["weights", "boosted", "downsample", "resample"] = Field(
        default="weights",
        description="`weights`: a factor for each bin (20 at most); `boosted`: gradient-boosted weights of hep_ml, "
        "without bins; `downsample`: each jet at most once, without weights; `resample`: jets are repeated, each as "
        "often as expected or once more, without weights",
    )
    columns: Annotated[dict[str, Edges], Field(min_length=1)] = Field(
        description="column -> bin edges; jets outside are assigned to the nearest bin"
    )
    to: Annotated[str, Field(min_length=1), Expected("flat or a class")] = Field(
        default=FLAT,
        description="`flat`: the same total weight in all bins with jets; or the class whose spectrum all get",
    )


def _with_kind(value: Any) -> Any:
    """A model without a kind is a network."""
    return {"kind": "mlp", **value} if isinstance(value, dict) else value


class FinetuneFile(FileModel):
    """The configuration of a training."""

    version: Literal[1] = Field(description="1")
    name: Annotated[
        str,
        Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$"),
        Expected("text: a name of letters, digits and _ is required"),
    ] = Field(description="name of the head and prefix of its columns")
    title: str = Field(default="", description="one-line description of the head")
    kind: Literal["classes", "mass"] = Field(description="`classes` or `mass`")
    parent: Annotated[str, Field(min_length=1), Expected("text")] = Field(
        description="the model that made the skims: its name or folder"
    )
    prefix: Annotated[str | None, Field(min_length=1), Expected("text"), Shown("the model's")] = Field(
        default=None, description="prefix of its columns"
    )
    files: Annotated[Names, Field(min_length=1)] = Field(
        description="skims, `.parquet` or `.root`, paths and globs; relative to the configuration"
    )
    inputs: Annotated[Names, Field(min_length=1)] = Field(
        description="kinds (`hidden`, `prob`, `mass`) and names, see above"
    )
    exclude: Names = Field(default=(), description="patterns of inputs to leave out")
    classes: Annotated[dict[str, Formula], Shown("required for classes")] = Field(
        default_factory=dict, description="name -> expression in columns of the skim; the classes are disjoint"
    )
    target: Annotated[Formula | None, Shown("required for a mass")] = Field(
        default=None, description="generated mass in GeV, an expression"
    )
    select: Annotated[Formula | None, Shown("all")] = Field(
        default=None, description="selection of jets, an expression"
    )
    weight: Annotated[Formula | None, Shown("1")] = Field(default=None, description="weight of a jet, an expression")
    kinematics: Annotated[Kinematics | None, Shown("those of the jets")] = Field(
        default=None, description="spectra of pt, mass or others that the classes have in the training, see below"
    )
    model: Annotated[
        Annotated[MlpModel | BdtModel, Field(discriminator="kind")],
        BeforeValidator(_with_kind, json_schema_input_type=MlpModel | BdtModel),
        Shown("`{kind: mlp}`"),
    ] = Field(default_factory=MlpModel, description="network or boosted decision trees, see below")
    loss: Annotated[Loss, Shorthand("kind"), Shown("`log-cosh`")] = Field(
        default_factory=Loss, description="loss of a mass head: its kind, or keys, see below"
    )
    decorrelate: Annotated[Decorrelation | None, Shown("none")] = Field(
        default=None, description="scores that do not depend on protected columns such as the mass, see below"
    )
    training: Training = Field(default_factory=Training, description="options of the training, see below")
    split: Split = Field(default_factory=Split, description="training, validation and test events, see below")
    least_jets: Annotated[int, Between(1)] = Field(default=50, description="minimum number of training jets per class")
    compare: Annotated[dict[str, Formula], Shown("the best plain score is always included")] = Field(
        default_factory=dict, description="name -> expression in scores, compared with the head in the report"
    )
