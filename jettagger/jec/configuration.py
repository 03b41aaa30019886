"""The master configuration of a calibration, with the keys of ml-jec: validated, with file and line of each mistake."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from jettagger.arguments import guard
from jettagger.config.models import Between, Expected, FileModel, Names, Shorthand, Shown, Size, validated
from jettagger.config.yamlfile import read_yaml
from jettagger.errors import ConfigError, hint
from jettagger.jec.constructed import GLOBAL, construction
from jettagger.training.devices import DEVICE, Precision

__all__ = [
    "DataSection",
    "FeatureBlock",
    "JecConfig",
    "LossSection",
    "NetworkPart",
    "NetworkSection",
    "OptimizerSection",
    "PiecewiseLinearSchedule",
    "TrainSection",
    "is_remote",
    "notes",
    "read_config",
]


class RunSection(FileModel):
    """Where `jettagger jec steer` puts the results."""

    storage: Annotated[str | None, Field(min_length=1)] = Field(
        default=None,
        description="destination of `jettagger jec steer`: the results are copied to `<storage>/<time>_<name>`; a "
        "folder or an fsspec location",
    )
    name: Annotated[str | None, Field(min_length=1), Shown("name of the file")] = Field(
        default=None, description="name of the run"
    )


def _split(value: tuple[int, ...]) -> tuple[int, ...]:
    if len(value) != 3 or min(value) < -1 or value.count(-1) > 1:
        raise ValueError("no split")
    return value


def _cache(value: Any) -> Any:
    if value is True:
        raise ValueError("true is not a folder")
    return None if value is False else value


class DataSection(FileModel):
    """Files of jets and their division."""

    location: Annotated[str, Field(min_length=1)] = Field(
        description="folder or fsspec location (`gs://...`) with `data.yaml`, `transform.yaml` and the files of jets"
    )
    split: Annotated[
        tuple[int, ...],
        Field(strict=False),
        AfterValidator(_split),
        Expected("three numbers of files [train, validation, test], at most one of them -1"),
    ] = Field(
        description="numbers of files for training, validation and test, in the order of `data.yaml`; at most one -1 "
        "stands for the rest"
    )
    batch_size: Annotated[int, Between(1)] = Field(description="jets per update")
    cache: Annotated[
        str | None,
        BeforeValidator(_cache, json_schema_input_type=str | Literal[False] | None),
        Expected("a folder, or false"),
        Shown("none"),
    ] = Field(
        default=None,
        description="folder in which the prepared training set is kept for further trainings with the same files, "
        "features and transforms",
    )
    download: Annotated[str | None, Field(min_length=1), Shown("none: files are read in place")] = Field(
        default=None, description="folder in which the files of a remote `location` are kept; not in the original"
    )
    jets: Literal["AK4", "AK8"] = Field(
        default="AK4",
        description="jets that these are: `AK4`, or `AK8` for fat jets of any radius; not in the original",
    )
    legacy_closure: bool = Field(
        default=False,
        description="transforms as the original computes them, for weights that were trained with it, see below; not "
        "in the original",
    )
    memory: Annotated[Size, Shown("`1GB`")] = Field(
        default=1_000_000_000, description="memory for the jets that are shuffled; not in the original"
    )


class FeatureBlock(FileModel):
    """Features of jets, or of one type of constituents."""

    numerical: Names = Field(default=(), description="numbers that the network reads, in this order")
    numerical_branches: Annotated[Names | None, Shown("`numerical`")] = Field(
        default=None, description="branches that are read for them"
    )
    categorical: Names = Field(default=(), description="integers that the network reads through embeddings")
    categorical_branches: Annotated[Names | None, Shown("`categorical`")] = Field(
        default=None, description="branches that are read for them"
    )


Widths = Annotated[
    tuple[Annotated[int, Field(gt=0)], ...], Field(strict=False), Expected("a list of widths, e.g. [100, 100]")
]


class NetworkPart(FileModel):
    """The layers for one type of constituents, or behind the sums."""

    type: Literal["mlp", "resnet"] = Field(
        description="`mlp`: dense layers; `resnet`: pairs of dense layers with a bypass"
    )
    num_units: Widths = Field(description="widths of the layers")
    batch_norm: bool = Field(default=False, description="`mlp`: batch normalisation")
    dropout: Annotated[float, Between(0, 0.99)] = Field(
        default=0.0, description="`mlp`: fraction of neurons dropped during training"
    )
    embeddings: dict[str, Annotated[int, Between(1)]] = Field(
        default_factory=dict, description="categorical feature -> number of values that stand for each of its values"
    )


class NetworkSection(FileModel):
    """The network: further keys are the types of constituents, each with the keys of `head`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, NetworkPart]

    head: Annotated[NetworkPart | None, Shown("required")] = Field(
        default=None, description="layers behind the sums over constituents"
    )
    load_weights: Annotated[str | None, Field(min_length=1)] = Field(
        default=None, description="file of weights from which the training starts, as `jettagger jec import` reads it"
    )
    saved: Annotated[str | None, Field(min_length=1)] = Field(
        default=None,
        description="output of an earlier training, whose network is trained further, instead of all other keys; "
        "`model: PATH` is the same",
    )

    @property
    def constituents(self) -> dict[str, NetworkPart]:
        """Type of constituents -> its layers, sorted by name."""
        return dict(sorted(self.__pydantic_extra__.items()))

    @property
    def parts(self) -> dict[str, NetworkPart]:
        """As `constituents`, with the head at the end as ``head``."""
        return {**self.constituents, **({} if self.head is None else {"head": self.head})}


def _quantiles(values: tuple[float, ...]) -> tuple[float, ...]:
    if not all(0 < value < 1 for value in values) or not all(low < high for low, high in pairwise(values)):
        raise ValueError("quantiles must rise")
    if 0.5 not in values:
        raise ValueError("no median")
    return values


class LossSection(FileModel):
    """The loss of the difference between prediction and target."""

    type: Literal["mae", "huber", "log-cosh", "quantiles"] = Field(
        description="`mae`: mean absolute error, the only one of the original; `huber`, `log-cosh`; `quantiles`: "
        "several quantiles at once"
    )
    scale: Annotated[float, Between(1e-6)] = Field(
        default=0.1, description="`huber`, `log-cosh`: difference at the transition from quadratic to linear"
    )
    quantiles: Annotated[
        tuple[float, ...],
        Field(strict=False),
        AfterValidator(_quantiles),
        Expected("a list of rising numbers between 0 and 1 with 0.5 among them"),
    ] = Field(default=(0.16, 0.5, 0.84), description="`quantiles`: which ones; 0.5 is the calibration")
    max_target: Annotated[float, Between(1e-6)] = Field(
        default=1.0,
        description="jets whose target is not between minus this and this add 0 to the loss, and count in its mean",
    )


class OptimizerSection(FileModel):
    """The optimiser."""

    algorithm: Literal["adam", "sgd", "radam"] = Field(default="adam", description="`adam`, `sgd` or `radam`")
    momentum: Annotated[float, Between(0, 1)] = Field(default=0.0, description="`sgd`: momentum")
    nesterov: bool = Field(default=False, description="`sgd`: momentum of Nesterov")


Rate = Annotated[float, Between(0, 100)]


class ReduceLrOnPlateau(FileModel):
    """A learning rate that falls when the validation loss no longer does."""

    factor: Annotated[float, Between(1e-6, 0.999999)] = Field(description="factor on the learning rate")
    patience: Annotated[int, Between(0)] = Field(description="epochs without a lower validation loss before it")
    min_delta: Annotated[float, Between(0)] = Field(description="smallest decrease that counts as one")
    min_lr: Rate = Field(default=0.0, description="smallest learning rate")


class EarlyStopping(FileModel):
    """The end of a training whose validation loss no longer falls."""

    patience: Annotated[int, Between(0)] = Field(description="epochs without a lower validation loss")
    min_delta: Annotated[float, Between(0)] = Field(description="smallest decrease that counts as one")


def _epochs(values: tuple[int, ...]) -> tuple[int, ...]:
    if len(values) < 2 or min(values) < 0 or not all(low < high for low, high in pairwise(values)):
        raise ValueError("epochs must rise")
    return values


class PiecewiseLinearSchedule(FileModel):
    """A learning rate of straight lines between points."""

    epochs: Annotated[
        tuple[int, ...],
        Field(strict=False),
        AfterValidator(_epochs),
        Expected("a list of at least two rising epochs"),
    ] = Field(description="epochs of the points, from 0; the training ends after the last one")
    learning_rate: Annotated[tuple[Rate, ...], Field(strict=False)] = Field(description="learning rates at the points")


def _device(name: str) -> str:
    if not DEVICE.fullmatch(name):
        raise ValueError("unknown")
    return name


class TrainSection(FileModel):
    """Options of the training."""

    steps_per_epoch: Annotated[int, Between(1)] = Field(
        description="updates in an epoch; the training set is repeated as often as needed"
    )
    max_epochs: Annotated[int | None, Between(1), Shown("as many as it takes to read the training set 10 times")] = (
        Field(default=None, description="maximum number of epochs")
    )
    learning_rate: Annotated[Rate | None, Shown("0.001; `sgd`: 0.01")] = Field(
        default=None, description="learning rate"
    )
    reduce_lr_on_plateau: Annotated[ReduceLrOnPlateau | None, Shown("none")] = Field(
        default=None, description="lower learning rates when the validation loss no longer falls, see below"
    )
    early_stopping: Annotated[EarlyStopping | None, Shown("none")] = Field(
        default=None, description="end of the training when the validation loss no longer falls, see below"
    )
    piecewise_linear_schedule: Annotated[PiecewiseLinearSchedule | None, Shown("none")] = Field(
        default=None,
        description="learning rates of straight lines, see below; not with `max_epochs`, `learning_rate`, "
        "`reduce_lr_on_plateau`, `early_stopping`",
    )
    seed: Annotated[int, Between(0)] = Field(
        default=1,
        description="two trainings with the same seed, files and threads give the same network; not in the original",
    )
    threads: Annotated[int, Between(1)] = Field(default=2, description="threads of torch; not in the original")
    device: Annotated[
        str, AfterValidator(_device), Expected("cpu, cuda, cuda:N or mps", ("cpu", "cuda", "cuda:0", "mps"))
    ] = Field(default="cpu", description="`cpu`, `cuda`, `cuda:N` or `mps`; not in the original")
    precision: Precision = Field(
        default="float32",
        description="`float32`, or mixed precision for GPUs: `bfloat16`, `float16`; not in the original",
    )

    def epochs(self, jets: int, batch_size: int) -> int:
        """The maximum number of epochs.

        Parameters
        ----------
        jets : int
            Number of jets in the training set.
        batch_size : int

        Returns
        -------
        int
        """
        if self.piecewise_linear_schedule is not None:
            return self.piecewise_linear_schedule.epochs[-1] + 1
        return self.max_epochs or math.ceil(10 * jets / (self.steps_per_epoch * batch_size))


class JecConfig(FileModel):
    """The master configuration."""

    run: Annotated[RunSection, Shown("those below")] = Field(
        default_factory=RunSection, description="destination and name, for `jettagger jec steer`, see below"
    )
    data: DataSection = Field(description="files of jets, see below")
    features: dict[str, FeatureBlock] = Field(
        description="block -> its features; `global` for the jet, other names are types of constituents, see below"
    )
    model: Annotated[NetworkSection, Shorthand("saved")] = Field(
        description="the network, or the path of an earlier training, see below"
    )
    loss: Annotated[LossSection, Shorthand("type")] = Field(
        description="`mae`, `huber`, `log-cosh`, `quantiles`, or keys, see below"
    )
    optimizer: Annotated[OptimizerSection, Shown("`adam`")] = Field(
        default_factory=OptimizerSection, description="the optimiser, see below"
    )
    train: TrainSection = Field(description="options of the training, see below")
    predict: bool = Field(description="whether the predictions for the test set are written")

    @property
    def constituents(self) -> tuple[str, ...]:
        """Types of constituents, sorted as in the network."""
        return tuple(sorted(set(self.features) - {GLOBAL}))


def read_config(
    source: str | os.PathLike[str], *, name: str = "", folder: str | os.PathLike[str] | None = None
) -> JecConfig:
    """Read and check a configuration.

    Parameters
    ----------
    source : path, or str
        The file; with ``name``, the text itself.
    name : str
        Name of the text in messages.
    folder : path, optional
        Folder of relative paths; default: that of the file. Inputs that are not there, but in the working directory
        as the original has it, are those.

    Returns
    -------
    JecConfig
        With absolute paths.

    Raises
    ------
    ConfigError
        Lists all problems with file, line and nearest valid name.

    Examples
    --------
    >>> text = '''
    ... data: {location: jets, split: [3, 1, -1], batch_size: 5}
    ... features: {global: {numerical: [pt, eta]}, ch: {numerical: [ch_rel_pt], categorical: [ch_id]}}
    ... model:
    ...   ch: {type: mlp, num_units: [10], embeddings: {ch_id: 2}}
    ...   head: {type: resnet, num_units: [16, 16]}
    ... loss: mae
    ... train: {steps_per_epoch: 10}
    ... predict: true
    ... '''
    >>> config = read_config(text, name="example")
    >>> config.constituents, config.model.constituents["ch"].num_units, config.loss.type
    (('ch',), (10,), 'mae')
    """
    document = read_yaml(source, name)
    config = validated(JecConfig, document)
    listed = [f"{document.where(*path)}: {text}" for path, text in _inconsistencies(config)]
    if listed:
        raise ConfigError("\n".join(listed))
    base = Path(folder or ("." if name else Path(source).parent))
    return _resolved(config, base, name or Path(source).stem)


def _resolved(config: JecConfig, base: Path, title: str) -> JecConfig:
    """With absolute paths and the name of the run."""

    def existing(path: str | None) -> str | None:
        """An input, from the working directory where only this has it."""
        if path is None or is_remote(path):
            return path
        inside = base / path
        chosen = Path(path) if Path(path).exists() and not inside.exists() else inside
        return os.path.abspath(chosen)

    def new(path: str | None) -> str | None:
        return path if path is None or is_remote(path) else os.path.abspath(base / path)

    run, data, model = config.run, config.data, config.model
    run_name = run.name or title
    return config.model_copy(
        update={
            "run": run.model_copy(update={"storage": new(run.storage), "name": run_name}),
            "data": data.model_copy(
                update={
                    "location": existing(data.location),
                    "cache": new(data.cache),
                    "download": new(data.download),
                }
            ),
            "model": model.model_copy(
                update={"load_weights": existing(model.load_weights), "saved": existing(model.saved)}
            ),
        }
    )


def is_remote(location: str) -> bool:
    """Whether a location is a URL, for fsspec, not a folder."""
    return "://" in location


#: keys of ``train`` that a piecewise linear schedule excludes
_EXCLUDED = ("max_epochs", "learning_rate", "reduce_lr_on_plateau", "early_stopping")

Problem = tuple[tuple[Any, ...], str]


def _inconsistencies(config: JecConfig) -> Iterator[Problem]:
    """Path and description of each contradiction between keys."""
    yield from _in_features(config.features)
    if config.model.saved is None:
        yield from _in_model(config.model, config.features)
    elif given := [key for key in ("load_weights", *config.model.parts) if key in config.model.model_fields_set]:
        yield ("model", given[0]), f"'saved' gives the whole network, so {', '.join(given)} cannot be given as well"
    schedule = config.train.piecewise_linear_schedule
    if schedule is not None:
        for key in _EXCLUDED:
            if getattr(config.train, key) is not None:
                yield ("train", key), f"{key!r} cannot be given together with 'piecewise_linear_schedule'"
        if len(schedule.epochs) != len(schedule.learning_rate):
            place = ("train", "piecewise_linear_schedule", "learning_rate")
            yield place, f"{len(schedule.learning_rate)} learning rates for {len(schedule.epochs)} epochs"


def _in_features(features: Mapping[str, FeatureBlock]) -> Iterator[Problem]:
    if GLOBAL not in features:
        yield ("features",), f"the block {GLOBAL!r} is missing{hint(GLOBAL, features)}"
    blocks: dict[str, str] = {}
    for block, content in features.items():
        for kind in ("numerical", "categorical"):
            names, branches = getattr(content, kind), getattr(content, f"{kind}_branches")
            for place, feature in enumerate(names):
                path = ("features", block, kind, place)
                if feature in blocks:
                    yield path, f"the feature {feature!r} appears twice, first in {blocks[feature]}"
                blocks.setdefault(feature, f"features.{block}.{kind}")
                made = construction(feature)
                if kind == "numerical" and made is not None:
                    if made.block != block:
                        yield (
                            path,
                            f"{feature!r} is constructed from {made.block}_*: it belongs to the block {made.block!r}",
                        )
                elif branches is not None and feature not in branches:
                    near = hint(feature, branches)
                    yield path, f"{feature!r} is neither constructed nor among the branches of {kind}_branches{near}"
        if block != GLOBAL and not (content.numerical or content.categorical):
            yield ("features", block), f"the block {block!r} has no features"


def _in_model(model: NetworkSection, features: Mapping[str, FeatureBlock]) -> Iterator[Problem]:
    types = sorted(set(features) - {GLOBAL})
    known = [*types, "head"]
    for name in model.constituents:
        if name not in types:
            yield (
                ("model", name),
                f"{name!r} is not a block of features{hint(name, known)}: expected {', '.join(known)}",
            )
    missing = [name for name in known if name not in model.parts]
    if missing:
        yield ("model",), f"no layers for {', '.join(missing)}"
    for name, part in model.parts.items():
        block = GLOBAL if name == "head" else name
        if block not in features:
            continue
        categorical = features[block].categorical
        for feature in part.embeddings:
            if feature not in categorical:
                near = hint(feature, categorical)
                yield (
                    ("model", name, "embeddings", feature),
                    f"an embedding of {feature!r}, which is not a categorical feature of {block!r}{near}",
                )
        absent = [feature for feature in categorical if feature not in part.embeddings]
        if absent:
            yield (
                ("model", name, "embeddings"),
                f"no embedding of {', '.join(absent)}: each categorical feature of {block!r} needs its number of "
                "values",
            )


def notes(config: JecConfig) -> list[str]:
    """Keys without effect, one line each.

    Parameters
    ----------
    config : JecConfig

    Returns
    -------
    list of str
    """
    lines = []
    for name, part in config.model.parts.items():
        if part.type == "resnet" and (part.batch_norm or part.dropout):
            lines.append(f"model.{name}: batch_norm and dropout have no effect on a resnet")
    optimizer = config.optimizer
    if optimizer.algorithm != "sgd" and (optimizer.momentum or optimizer.nesterov):
        lines.append(f"optimizer: momentum and nesterov have no effect on {optimizer.algorithm}")
    return lines


guard(globals())
