"""``head.json``: inputs and outputs of a head, its parent model, and how it was trained."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from jettagger.config.models import FileModel, validated_json
from jettagger.errors import BundleError, MissingModelFile
from jettagger.files import refuse_special
from jettagger.files.jsonfile import parse_json, read_object

__all__ = [
    "DESCRIPTION",
    "NETWORK",
    "SCHEMA_VERSION",
    "HeadCard",
    "Input",
    "Parent",
    "check_checksum",
    "read_head_card",
    "write_head_card",
]

SCHEMA_VERSION = 1
DESCRIPTION, NETWORK = "head.json", "head.onnx"


class Parent(FileModel, strict=False, allow_inf_nan=True):
    """The model whose outputs are inputs of the head."""

    name: str = Field(description="name of the model")
    version: str = Field(default="", description="its version")
    prefix: str = Field(description="prefix of its columns in the training skims")
    digest: str = Field(pattern=r"^[0-9a-f]{64}$", description="digest of its bundle, weights and descriptions")


class Input(FileModel, strict=False, allow_inf_nan=True):
    """One input column."""

    name: str = Field(min_length=1, description="an output of the tagger, or a column by its name in the skim")
    source: Literal["tagger", "event"] = Field(description="whether the tagger gives it or the events hold it")


class HeadCard(FileModel, strict=False, allow_inf_nan=True):
    """The content of ``head.json``."""

    schema_version: Literal[1] = Field(description="version of this schema")
    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", description="name of the head and prefix of its columns")
    title: str = Field(default="", description="one-line description of the head")
    kind: Literal["classes", "mass"] = Field(description="class probabilities, or a mass in GeV")
    model: Literal["mlp", "bdt"] = Field(description="dense network or boosted decision trees")
    parent: Parent = Field(description="model whose outputs are the inputs")
    inputs: list[Input] = Field(min_length=1, description="input columns, in the order of the network's inputs")
    outputs: list[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]] = Field(
        min_length=1, description="output names, in the order of the network's outputs"
    )
    folds: int = Field(
        ge=1, description="number of networks, each for the events that it was not trained on; 1: one for all"
    )
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description=f"SHA-256 of {NETWORK}")
    training: dict[str, Any] = Field(default_factory=dict, description="configuration of the training")
    metrics: dict[str, Any] = Field(default_factory=dict, description="performance on held-out jets")
    jettagger: str = Field(default="", description="version of jettagger that wrote the file")
    checksum: str = Field(
        default="",
        pattern=r"^([0-9a-f]{64})?$",
        description="SHA-256 of the rest of the file; if absent, nothing is checked",
    )

    @model_validator(mode="after")
    def _distinct(self) -> HeadCard:
        names = [item.name for item in self.inputs]
        for what, given in (("inputs", names), ("outputs", self.outputs)):
            twice = sorted({name for name in given if given.count(name) > 1})
            if twice:
                raise ValueError(f"{what} appear twice: {', '.join(twice)}")
        return self


def read_head_card(folder: Path) -> HeadCard:
    """Read and validate the description in a folder.

    Parameters
    ----------
    folder : pathlib.Path

    Returns
    -------
    HeadCard

    Raises
    ------
    MissingModelFile
        If the folder or the file does not exist.
    BundleError
        If the description is not valid; lists every problem with its place in the file.
    """
    path = folder / DESCRIPTION
    if not os.path.isdir(folder):
        expected = f"one of a head with {DESCRIPTION} and {NETWORK}"
        raise MissingModelFile(
            f"{folder} is not a folder, expected {expected}",
            where=f"{folder}",
            got="is not a folder",
            expected=expected,
        )
    for inside in sorted(folder.iterdir()):
        refuse_special(inside, BundleError)
    if not path.is_file():
        found = sorted(item.name for item in folder.iterdir())
        holds = ", ".join(found) or "nothing"
        raise MissingModelFile(
            f"{folder} has no {DESCRIPTION}, so it is not a head; it holds {holds}",
            where=f"{folder}",
            got=holds,
            expected=DESCRIPTION,
        )
    content = read_object(path, BundleError, finite=False)  # metrics may be NaN
    if content.get("schema_version") != SCHEMA_VERSION:
        got = content.get("schema_version")
        raise BundleError(f"{path}: schema_version is {got!r}, this version of jettagger reads {SCHEMA_VERSION}")
    return validated_json(HeadCard, path, content, BundleError, "description of a head")


def check_checksum(card: HeadCard, folder: Path) -> None:
    """Compare a description with its stored checksum, if it has one.

    Raises
    ------
    BundleError
    """
    if card.checksum and card.checksum != _checksum(card):
        raise BundleError(
            f"{folder / DESCRIPTION} is damaged or was edited: its content does not match its 'checksum'. Get a "
            "new copy, or remove the key 'checksum' to use it as it is"
        )


def _checksum(card: HeadCard) -> str:
    """SHA-256 of a description, independent of its formatting."""
    text = json.dumps(card.model_dump(exclude={"checksum"}))
    content = parse_json(text, card.name, BundleError, finite=False)  # keys are text, as when it is read
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_head_card(card: HeadCard, folder: Path) -> None:
    """Write the description into a folder, with its checksum.

    Parameters
    ----------
    card : HeadCard
    folder : pathlib.Path
    """
    text = json.dumps(card.model_dump() | {"checksum": _checksum(card)}, indent=2, ensure_ascii=False)
    (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
