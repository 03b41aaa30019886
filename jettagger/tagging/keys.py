"""A tagger in a configuration file: a model, and the fields of `TaggerOptions` as keys."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from jettagger.config.models import Between, Expected, FileModel, Names, Shown, Size
from jettagger.errors import JettaggerError
from jettagger.formats.pfnano import pfnano
from jettagger.inputs.flavours import flavours
from jettagger.tagging.options import TaggerOptions

__all__ = ["TaggerKeys"]


def _known(names: dict[str, str | None] | None) -> dict[str, str | None] | None:
    """Refuse names that PFNano does not have."""
    try:
        if names is not None:
            pfnano(names)
    except JettaggerError as error:
        raise ValueError(str(error)) from error
    return names


class TaggerKeys(FileModel):
    """A model and its options."""

    model: str = Field(description="name listed by `jettagger models list`, or a folder")
    backend: Literal["fast", "onnxruntime", "openvino"] = Field(
        default="fast",
        description="`fast`: ONNX Runtime with a faster graph that is checked to be equal; `onnxruntime`: the file "
        "as it is; `openvino`",
    )
    precision: Literal["float32", "float16"] = Field(
        default="float32",
        description="precision of matrix products; with `float16` probabilities may change by up to 0.05, which is "
        "checked",
    )
    remote: Annotated[
        str | bool | None, Expected("the address of a server, or false"), Shown("`$JETTAGGER_REMOTE`")
    ] = Field(default=None, description="inference server, `grpc://host:8001/model`; `false`: none")
    cache: Annotated[bool | str, Expected("true, false or a folder")] = Field(
        default=False,
        description="score cache, so that each jet runs through the network once: `true` for the user's cache "
        "folder, or a folder",
    )
    threads: Annotated[int | None, Field(ge=1), Expected("a number of threads"), Shown("all cores")] = Field(
        default=None, description="threads of the network in each process"
    )
    heads: Names = Field(default=(), description="folders of heads to run on the outputs of the model")
    provider: Annotated[str | None, Shown("`cpu`")] = Field(
        default=None, description="execution provider of ONNX Runtime, e.g. `cuda`, or `cuda,device_id=1`"
    )
    jets: Annotated[str | None, Shown("that of the format")] = Field(
        default=None, description="collection of jets, if the model applies to several in the events"
    )
    outside: Literal["score", "skip"] = Field(
        default="score",
        description="jets outside the training selection of a data configuration of weaver: flagged and scored, or "
        "flagged and not scored",
    )
    min_pt_share: Annotated[Annotated[float, Between(0, 1)] | None, Shown("0.8, and no dangling links")] = Field(
        default=None,
        description="minimum fraction of the transverse momentum of a jet that its constituents must carry for it "
        "to be scored",
    )
    names: Annotated[dict[str, str | None] | None, AfterValidator(_known), Shown("those of PFNano")] = Field(
        default=None, description="collections and columns of PFNano -> their names in the files"
    )
    format: Annotated[str | None, Shown("detected")] = Field(
        default=None, description="flavour of PFNano that declares such names: one of the package, or a YAML file"
    )
    batch_size: Annotated[Annotated[int, Between(1)] | None, Shown("64, on a GPU 4,096, on a server 256")] = Field(
        default=None, description="maximum number of jets per run of the network"
    )
    block_bytes: Annotated[Size, Shown("`150 MB`")] = Field(
        default=TaggerOptions.block_bytes,
        description="approximate memory for what is derived from a chunk at a time",
    )

    def options(self, folder: Path) -> TaggerOptions:
        """The options; relative folders are relative to that of the file.

        Parameters
        ----------
        folder : pathlib.Path

        Returns
        -------
        TaggerOptions
        """
        values: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields if name != "model"}
        values["heads"] = [str(folder / os.path.expanduser(head)) for head in self.heads]
        if isinstance(self.cache, str):
            values["cache"] = str(folder / os.path.expanduser(self.cache))
        if self.format is not None and self.format not in flavours():
            values["format"] = str(folder / os.path.expanduser(self.format))
        return TaggerOptions(**values | ({"cache": None} if self.cache is False else {}))
