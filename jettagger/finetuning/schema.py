"""The schema of the configuration of a training: keys, types, defaults and descriptions."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from jettagger.arguments import is_number
from jettagger.config.models import Between, Expected, FileModel, Names, Shorthand, Shown, Size
from jettagger.heads.export import ACTIVATIONS

__all__ = ["VERSION", "BdtModel", "FinetuneFile", "Loss", "MlpModel", "Split", "Training"]

#: version of the configuration files
VERSION = 1


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


class Training(FileModel):
    """Options of the training."""

    epochs: Annotated[int, Between(0)] = Field(
        default=60, description="maximum number of epochs (networks; trees have `trees`)"
    )
    batch: Annotated[int, Between(1)] = Field(default=1024, description="jets per step")
    rate: Annotated[float, Between(1e-9, 10)] = Field(
        default=2e-3, description="learning rate of AdamW, with cosine decay to a hundredth of it"
    )
    decay: Annotated[float, Between(0)] = Field(default=1e-3, description="weight decay of AdamW")
    patience: Annotated[int, Between(1)] = Field(
        default=8, description="early stopping: epochs (or trees) without a lower validation loss"
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
    flatten: dict[str, Edges] = Field(
        default_factory=dict,
        description="column -> bin edges; each class has the same total weight in each bin (reweighted by a factor "
        "of 20 at most); jets outside are assigned to the nearest bin",
    )
    model: Annotated[
        Annotated[MlpModel | BdtModel, Field(discriminator="kind")],
        BeforeValidator(_with_kind, json_schema_input_type=MlpModel | BdtModel),
        Shown("`{kind: mlp}`"),
    ] = Field(default_factory=MlpModel, description="network or boosted decision trees, see below")
    loss: Annotated[Loss, Shorthand("kind"), Shown("`log-cosh`")] = Field(
        default_factory=Loss, description="loss of a mass head: its kind, or keys, see below"
    )
    training: Training = Field(default_factory=Training, description="options of the training, see below")
    split: Split = Field(default_factory=Split, description="training, validation and test events, see below")
    least_jets: Annotated[int, Between(1)] = Field(default=50, description="minimum number of training jets per class")
    compare: Annotated[dict[str, Formula], Shown("the best plain score is always included")] = Field(
        default_factory=dict, description="name -> expression in scores, compared with the head in the report"
    )
