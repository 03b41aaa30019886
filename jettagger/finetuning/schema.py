"""What the configuration of a training may hold: the keys, their types, defaults and descriptions."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from jettagger.arguments import is_number
from jettagger.config.models import Between, Expected, FileModel, Names, Shorthand, Shown, Size
from jettagger.heads.export import ACTIVATIONS

__all__ = ["VERSION", "BdtModel", "FinetuneFile", "Loss", "MlpModel", "Split", "Training"]

#: the version of the configuration files
VERSION = 1


def _text(value: Any) -> Any:
    """A number is an expression, too."""
    return str(value) if is_number(value) else value


def _rising(edges: tuple[float, ...]) -> tuple[float, ...]:
    if len(edges) < 2 or not all(low < high for low, high in pairwise(edges)):
        raise ValueError("edges do not rise")
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
        default=0.1, description="share of the neurons that are left out in training"
    )


class BdtModel(FileModel):
    """A boosted decision tree (XGBoost, histogram method)."""

    kind: Literal["bdt"] = Field(default="bdt", description="`bdt`")
    trees: Annotated[int, Between(1)] = Field(default=500, description="boosting rounds at most")
    depth: Annotated[int, Between(1)] = Field(default=5, description="of each tree")
    rate: Annotated[float, Between(1e-6, 1)] = Field(default=0.1, description="learning rate")
    subsample: Annotated[float, Between(0.01, 1)] = Field(default=0.8, description="share of the jets that a tree sees")
    columns: Annotated[float, Between(0.01, 1)] = Field(default=0.8, description="share of the inputs that a tree sees")
    min_weight: Annotated[float, Between(0)] = Field(
        default=1.0, description="least sum of second derivatives in a leaf"
    )


class Loss(FileModel):
    """What a mass regression minimises, a function of ``r = log(mass / target)``."""

    kind: Literal["log-cosh", "huber", "quantile"] = Field(
        default="log-cosh",
        description="`log-cosh`: `log(cosh(r / scale))`; `huber`: quadratic up to `scale`, then linear; `quantile`: "
        "its minimum is the quantile `q` of the mass; `r` is `log(mass / target)`",
    )
    scale: Annotated[float, Between(1e-6)] = Field(default=0.1, description="where quadratic becomes linear")
    q: Annotated[float, Between(0.001, 0.999)] = Field(default=0.5, description="the quantile")


class Training(FileModel):
    """How the training goes."""

    epochs: Annotated[int, Between(0)] = Field(default=60, description="at most (networks; trees have `trees`)")
    batch: Annotated[int, Between(1)] = Field(default=1024, description="jets in a step")
    rate: Annotated[float, Between(1e-9, 10)] = Field(
        default=2e-3, description="learning rate of AdamW; it falls to a hundredth along a cosine"
    )
    decay: Annotated[float, Between(0)] = Field(default=1e-3, description="weight decay of AdamW")
    patience: Annotated[int, Between(1)] = Field(
        default=8, description="epochs (or trees) without a better validation loss after which it ends"
    )
    seed: Annotated[int, Between(0)] = Field(
        default=1, description="two runs with the same seed, files and threads give the same head"
    )
    threads: Annotated[int, Between(1)] = Field(default=2, description="of torch and XGBoost")
    memory: Annotated[Size, Shown("`1GB`")] = Field(default=1_000_000_000, description="that the jets in work may take")


class Split(FileModel):
    """Which events train, validate and test, decided by the event number."""

    validation: Annotated[float, Between(0.01, 0.9)] = Field(
        default=0.15, description="share of the events for early stopping, of those that do not test"
    )
    test: Annotated[float, Between(0.01, 0.9)] = Field(
        default=0.25, description="share of the events that no training sees; not with folds"
    )
    use: Annotated[float, Between(1e-6, 1)] = Field(
        default=1.0,
        description="share of the events for training and validation that are used: how does the result depend on "
        "their number?",
    )
    folds: Annotated[int, Between(1)] = Field(
        default=1,
        description="more than 1: so many networks, each tested on the fold that it has not seen, and each event gets "
        "that one",
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
    ] = Field(description="of the head, and prefix of its columns")
    title: str = Field(default="", description="one line on the head")
    kind: Literal["classes", "mass"] = Field(description="`classes` or `mass`")
    parent: Annotated[str, Field(min_length=1), Expected("text")] = Field(
        description="the model that made the skims: its name or folder"
    )
    prefix: Annotated[str | None, Field(min_length=1), Expected("text"), Shown("the model's")] = Field(
        default=None, description="of its columns"
    )
    files: Annotated[Names, Field(min_length=1)] = Field(
        description="skims, `.parquet` or `.root`, paths and globs; relative to the configuration"
    )
    inputs: Annotated[Names, Field(min_length=1)] = Field(
        description="kinds (`hidden`, `prob`, `mass`) and names, see above"
    )
    exclude: Names = Field(default=(), description="patterns of inputs that are left out")
    classes: Annotated[dict[str, Formula], Shown("needed for classes")] = Field(
        default_factory=dict, description="name -> expression in columns of the skim; a jet is in one class at most"
    )
    target: Annotated[Formula | None, Shown("needed for a mass")] = Field(
        default=None, description="generated mass in GeV, an expression"
    )
    select: Annotated[Formula | None, Shown("all")] = Field(default=None, description="expression: which jets")
    weight: Annotated[Formula | None, Shown("1")] = Field(default=None, description="expression: with which weight")
    flatten: dict[str, Edges] = Field(
        default_factory=dict,
        description="column -> bin edges; each class gets the same weight in each bin (a factor of 20 at most); jets "
        "outside count to the nearest bin",
    )
    model: Annotated[
        Annotated[MlpModel | BdtModel, Field(discriminator="kind")],
        BeforeValidator(_with_kind, json_schema_input_type=MlpModel | BdtModel),
        Shown("`{kind: mlp}`"),
    ] = Field(default_factory=MlpModel, description="the network or the trees, see below")
    loss: Annotated[Loss, Shorthand("kind"), Shown("`log-cosh`")] = Field(
        default_factory=Loss, description="of a mass: its kind, or keys, see below"
    )
    training: Training = Field(default_factory=Training, description="how the training goes, see below")
    split: Split = Field(default_factory=Split, description="which events train, validate and test, see below")
    least_jets: Annotated[int, Between(1)] = Field(default=50, description="jets that a class must have for training")
    compare: Annotated[dict[str, Formula], Shown("the best plain score is always there")] = Field(
        default_factory=dict, description="name -> expression in scores, shown beside the head"
    )
