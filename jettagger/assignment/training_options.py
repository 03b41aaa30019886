"""The options of a training: SPANet's JSON file as one validated model, and options of our own.

Every key of the original is known, with its default. Keys without a use here are accepted, and named in a warning where
they differ from the default; unknown keys are refused.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler, model_validator
from pydantic_core import core_schema

from jettagger.arguments import guard
from jettagger.config.models import Between, Expected, FileModel, validated_json
from jettagger.display import Brief
from jettagger.errors import ConfigError, hint
from jettagger.files.jsonfile import read_object

__all__ = ["PAIR_FEATURES", "UNUSED", "AssignmentOptions", "OptionsWarning", "OwnOptions", "read_options"]

#: features of pairs of objects that may bias the attention, see `jettagger.assignment.networks`
PAIR_FEATURES = ("ln_delta_r", "ln_kt", "ln_z", "ln_mass")

#: keys of the original that have no use here
UNUSED = (
    "balance_losses",
    "combinatorial_scale",
    "linear_prelu_activation",
    "num_dataloader_workers",
    "transformer_dim",
    "trial_output_dir",
    "trial_time",
    "usable_gpus",
)


class OptionsWarning(UserWarning):
    """Warns about keys of an options file that have no use here."""


def _flag(value: Any) -> Any:
    """The original writes 0 and 1 for false and true."""
    return bool(value) if isinstance(value, (int, float)) and value in (0, 1) else value


def _whole(value: Any) -> Any:
    """Searches write whole numbers as 4.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class _Spelling(Brief):
    """Allows any spelling of the words of a literal that the original takes: without case, underscores and spaces."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        known = {word.lower(): word for word in get_args(source)}

        def spelt(value: Any) -> Any:
            if not isinstance(value, str):
                return value
            return known.get(value.lower().replace("_", "").replace(" ", ""), value)

        return core_schema.no_info_before_validator_function(spelt, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": "string"}


def _expanded(text: str) -> str:
    """A path with the values of environment variables."""
    for name in re.findall(r"\$(?:\{(\w+)\}|(\w+))", text):
        variable = name[0] or name[1]
        if variable not in os.environ:
            raise ValueError(f"the environment variable {variable} is not set{hint(variable, os.environ)}")
    return os.path.expanduser(os.path.expandvars(text))


def _split(value: bool) -> bool:
    if not value:
        raise ValueError(
            "attention that is not split is refused: the original's does not run (it returns one value where two are "
            "read) and there are no weights of it; remove the key or set it to true"
        )
    return value


_Flag = Annotated[bool, BeforeValidator(_flag, json_schema_input_type=bool | int)]
_Width = Annotated[int, Between(1, 65536), BeforeValidator(_whole)]
_Layers = Annotated[int, Between(0, 1000), BeforeValidator(_whole)]
_Count = Annotated[int, Between(0), BeforeValidator(_whole)]
_Scale = Annotated[float, Between(0)]
_Share = Annotated[float, Between(0, 1)]
_Text = Annotated[str, Expected("text")]
_File = Annotated[str, AfterValidator(_expanded)]

_PairFeature = Literal["ln_delta_r", "ln_kt", "ln_z", "ln_mass"]
_Block = Annotated[Literal["GRU", "Basic", "Resnet", "Gated"], _Spelling()]
_Transformer = Annotated[Literal["Gated", "GTrXL", "Standard", "NormFirst", "None"], _Spelling()]
_Activation = Annotated[Literal["GELU", "ReLU", "PReLU", "ELU", "CELU", "None"], _Spelling()]
_Normalization = Annotated[Literal["LayerNorm", "BatchNorm", "MaskedBatchNorm", "None"], _Spelling()]
_Masking = Annotated[Literal["Filling", "Multiplicative", "None"], _Spelling()]
_Combination = Annotated[Literal["min", "softmin", "mean"], _Spelling()]
_FeedForward = Annotated[Literal["gelu", "relu"], _Spelling()]


class OwnOptions(FileModel):
    """Options that the original does not have; by default nothing differs from it."""

    pair_features: Annotated[tuple[_PairFeature, ...], Field(strict=False)] = Field(
        default=(), description=f"features of pairs of objects that bias the attention: {', '.join(PAIR_FEATURES)}"
    )
    pair_embedding_dim: _Width = Field(default=32, description="width of the network of the pair features")
    mass_features: _Flag = Field(
        default=False,
        description="whether the logits of an assignment have a learned function of the masses of its objects",
    )
    mass_embedding_dim: _Width = Field(default=16, description="width of the network of the masses")
    restrict_to_collections: _Flag = Field(
        default=False,
        description="whether a daughter is assigned only to objects of its input in the event file",
    )
    augmentation: _Flag = Field(
        default=False,
        description="whether training events are rotated about the beam and reflected at random in each epoch",
    )
    event_weights: _Flag = Field(default=False, description="whether weights of events are in losses and metrics")
    class_weights: dict[str, Annotated[tuple[_Scale, ...], Field(strict=False)]] = Field(
        default_factory=dict, description="classification -> weight of each class in its loss"
    )
    classification_focal_gamma: _Scale = Field(
        default=0.0, description="exponent of the focal loss of classifications (Lin et al. 2017); 0: cross entropy"
    )
    total_loss: Annotated[Literal["mean", "sum"], _Spelling()] = Field(
        default="mean", description="total of the terms of the loss: `mean`, as the original, or `sum`"
    )


class AssignmentOptions(FileModel):
    """The options file of a training, as the original reads it (``-of``), with its defaults."""

    hidden_dim: _Width = Field(default=128, description="width of the network")
    transformer_dim: _Count = Field(default=128, description="no use")
    transformer_dim_scale: Annotated[float, Between(0.01, 1000)] = Field(
        2.0, description="width inside of blocks, relative to that of their input"
    )
    initial_embedding_dim: _Width = Field(default=16, description="width after the first block of an input")
    position_embedding_dim: _Width = Field(default=32, description="width of the learned vector of each input")
    num_embedding_layers: _Layers = Field(default=10, description="maximum number of blocks that double the width")
    num_encoder_layers: _Layers = Field(default=4, description="transformer layers of the event")
    num_branch_embedding_layers: _Layers = Field(default=4, description="blocks of each particle")
    num_branch_encoder_layers: _Layers = Field(default=4, description="transformer layers of each particle")
    num_jet_embedding_layers: _Layers = Field(default=0, description="blocks of each daughter")
    num_jet_encoder_layers: _Layers = Field(default=0, description="transformer layers of each daughter")
    num_detector_layers: _Layers = Field(default=1, description="blocks before the output of a detection")
    num_regression_layers: _Layers = Field(default=1, description="blocks before the output of a regression")
    num_classification_layers: _Layers = Field(default=1, description="blocks before the output of a classification")
    split_symmetric_attention: Annotated[_Flag, AfterValidator(_split)] = Field(
        True, description="one vector for each daughter; the alternative does not run in the original and is refused"
    )
    num_attention_heads: _Width = Field(default=4, description="heads of the attention")
    transformer_activation: _FeedForward = Field(
        default="gelu", description="of Standard and NormFirst: `gelu`, `relu`"
    )
    skip_connections: _Flag = Field(default=True, description="whether blocks have a residual")
    initial_embedding_skip_connections: _Flag = Field(default=True, description="whether those of inputs have one")
    linear_block_type: _Block = Field(default="GRU", description="`GRU`, `Basic`, `Resnet`, `Gated`")
    transformer_type: _Transformer = Field(
        default="Gated", description="`Gated` (or `GTrXL`), `Standard`, `NormFirst`, `None`"
    )
    linear_activation: _Activation = Field(default="GELU", description="`GELU`, `ReLU`, `PReLU`, `ELU`, `CELU`, `None`")
    normalization: _Normalization = Field(
        default="LayerNorm", description="`LayerNorm`, `BatchNorm`, `MaskedBatchNorm`, `None`"
    )
    masking: _Masking = Field(default="Filling", description="of empty slots: `Filling`, `Multiplicative`, `None`")
    linear_prelu_activation: _Flag = Field(default=True, description="no use")

    event_info_file: _File = Field(default="", description="event file")
    training_file: _File = Field(default="", description="data set of the training")
    validation_file: _File = Field(
        default="", description="data set of the validation; default: the end of the training's"
    )
    testing_file: _File = Field(default="", description="data set of the test")
    normalize_features: _Flag = Field(
        default=True, description="whether inputs are normalised, where the event file says so"
    )
    limit_to_num_jets: _Count = Field(default=0, description="exact number of objects of an event; 0: any")
    balance_particles: _Flag = Field(
        default=False, description="weights by the particles that are there; with partial events"
    )
    balance_jets: _Flag = Field(default=False, description="weights by the number of objects")
    balance_classifications: _Flag = Field(default=False, description="weights by class")
    partial_events: _Flag = Field(default=False, description="whether events without all particles are trained on")
    dataset_limit: _Share = Field(default=1.0, description="share of the data set that is read")
    dataset_randomization: _Count = Field(default=0, description="seed of the choice of events; 0: the first ones")
    train_validation_split: _Share = Field(
        default=0.95, description="share for the training, if there is no validation file"
    )
    batch_size: _Width = Field(default=4096, description="events in a step")
    num_dataloader_workers: _Count = Field(default=4, description="no use")

    mask_sequence_vectors: _Flag = Field(default=True, description="whether empty slots are masked between layers")
    combine_pair_loss: _Combination = Field(
        default="min", description="over permutations of the event: `min`, `softmin`, `mean`"
    )
    optimizer: _Text = Field(default="AdamW", description="name of the optimiser")
    learning_rate: _Scale = Field(default=1e-3, description="learning rate")
    focal_gamma: _Scale = Field(default=0.0, description="exponent of the focal loss of assignments (Lin et al. 2017)")
    combinatorial_scale: float = Field(default=0.0, description="no use")
    learning_rate_warmup_epochs: _Scale = Field(default=1.0, description="epochs in which the learning rate rises")
    learning_rate_cycles: _Count = Field(
        default=0, description="cosine cycles of the learning rate; 0: linear decay to zero"
    )
    assignment_loss_scale: _Scale = Field(default=1.0, description="factor of the losses of assignments")
    detection_loss_scale: _Scale = Field(default=0.0, description="factor of the losses of detections")
    kl_loss_scale: _Scale = Field(default=0.0, description="factor of the divergence of symmetric particles")
    regression_loss_scale: _Scale = Field(default=0.0, description="factor of the losses of regressions")
    classification_loss_scale: _Scale = Field(default=0.0, description="factor of the losses of classifications")
    balance_losses: _Flag = Field(default=True, description="no use")
    l2_penalty: _Scale = Field(default=0.0, description="weight decay of all but biases")
    gradient_clip: _Scale = Field(default=0.0, description="maximum norm of the gradient; 0: any")
    dropout: Annotated[float, Between(0, 0.99)] = Field(default=0.0, description="share of dropped values")
    epochs: Annotated[int, Between(1), BeforeValidator(_whole)] = Field(default=100, description="number of epochs")
    num_gpu: _Count = Field(default=1, description="number of GPUs")
    verbose_output: _Flag = Field(default=True, description="whether more is shown")
    usable_gpus: str = Field(default="", description="no use")
    trial_time: str = Field(default="", description="no use")
    trial_output_dir: str = Field(default="./test_output", description="no use")

    jettagger: OwnOptions = Field(default=OwnOptions(), description="options that the original does not have")

    @model_validator(mode="after")
    def _consistent(self) -> AssignmentOptions:
        if self.hidden_dim % self.num_attention_heads:
            raise ValueError(
                f"hidden_dim is {self.hidden_dim}, which num_attention_heads = {self.num_attention_heads} does not "
                "divide"
            )
        return self

    @property
    def unused(self) -> tuple[str, ...]:
        """Keys without a use here that differ from the default."""
        fields = type(self).model_fields
        return tuple(name for name in UNUSED if getattr(self, name) != fields[name].default)


def read_options(path: str | os.PathLike[str], *, without: Collection[str] = ()) -> AssignmentOptions:
    """Read an options file of the original, or of ours.

    Parameters
    ----------
    path : path
        JSON. Environment variables in its paths are replaced by their values; 0 and 1 are false and true.
    without : collection of str
        Keys that are not read, as others take their place: they have their defaults.

    Returns
    -------
    AssignmentOptions

    Raises
    ------
    InputFileError
        If it cannot be read.
    ConfigError
        If a key or a value is invalid; gives the line and the nearest valid name.

    Warns
    -----
    OptionsWarning
        If keys without a use differ from their defaults.

    Examples
    --------
    >>> from pathlib import Path
    >>> _ = Path("options.json").write_text('{"hidden_dim": 32, "skip_connections": 1, "linear_activation": "gelu"}')
    >>> options = read_options("options.json")
    >>> options.hidden_dim, options.skip_connections, options.linear_activation, options.batch_size
    (32, True, 'GELU', 4096)
    >>> _ = Path("options.json").write_text('{"hiden_dim": 32}')
    >>> read_options("options.json")
    Traceback (most recent call last):
        ...
    jettagger.errors.ConfigError: options.json is not a valid options file: line 1: unknown key 'hiden_dim' ...
    """
    file = Path(path)
    content = {key: value for key, value in read_object(file).items() if key not in without}
    options = validated_json(AssignmentOptions, file, content, ConfigError, "options file")
    if options.unused:
        warnings.warn(f"{file}: no use here: {', '.join(options.unused)}", OptionsWarning, stacklevel=3)
    return options


guard(globals())
