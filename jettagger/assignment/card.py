"""``assigner.json``, the card of a network that assigns objects to particles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from jettagger.config.models import FileModel, validated_json
from jettagger.errors import BundleError
from jettagger.files.jsonfile import read_object

__all__ = [
    "CARD",
    "EVENT_FILE",
    "NETWORK",
    "OPTION_FILE",
    "SCHEMA_VERSION",
    "AssignerCard",
    "Statistics",
    "card_text",
    "read_card",
]

SCHEMA_VERSION = 1

#: files of a folder
CARD, NETWORK, EVENT_FILE, OPTION_FILE = "assigner.json", "model.onnx", "event.yaml", "options.json"

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Statistics(FileModel, strict=False):
    """Normalisation of a feature inside the network, after the logarithm."""

    mean: float = Field(description="mean over the training set")
    std: float = Field(gt=0, description="standard deviation over the training set")


class AssignerCard(FileModel, strict=False):
    """The content of ``assigner.json``."""

    schema_version: Literal[1] = Field(description="version of this schema")
    name: str = Field(max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", description="name of the network")
    title: str = Field(default="", description="one-line description")
    input_log: bool = Field(
        description="whether the network itself takes ln(x + 1) of features with the option `log` (an option of the "
        "original's export); otherwise jettagger does"
    )
    output_log: bool = Field(
        description="whether probabilities come as logarithms (an option of the original's export)"
    )
    slots: dict[str, Annotated[int, Field(ge=1)] | None] = Field(
        description="sequential input -> number of objects that the network takes: others are cut or padded; none: any "
        "number"
    )
    inputs: dict[str, list[str]] = Field(description="input -> features, in the order of the network")
    outputs: list[str] = Field(min_length=1, description="outputs of the network, in its order")
    statistics: dict[str, dict[str, Statistics]] = Field(
        default_factory=dict, description="input -> feature -> normalisation inside the network, where it could be read"
    )
    sha256: dict[str, _Sha256] = Field(
        description=f"file -> SHA-256: {NETWORK}, {EVENT_FILE}, and where given {OPTION_FILE} and inputs.yaml"
    )
    provenance: dict[str, Any] = Field(default_factory=dict, description="how the folder was made")


def read_card(path: Path) -> AssignerCard:
    """Read and validate a card.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    AssignerCard

    Raises
    ------
    BundleError
        Lists every problem with its place in the file.
    """
    content = read_object(path, BundleError)
    if content.get("schema_version") != SCHEMA_VERSION:
        found = content.get("schema_version")
        raise BundleError(f"{path}: schema_version is {found!r}, this version of jettagger reads {SCHEMA_VERSION}")
    return validated_json(AssignerCard, path, content, BundleError, "card of an assigner")


def card_text(card: AssignerCard) -> str:
    """The content of the file."""
    return json.dumps(card.model_dump(), indent=2, ensure_ascii=False) + "\n"
