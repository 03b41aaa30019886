"""A tagger in a configuration: a model and how it is applied, the keys of `TaggerOptions` in files."""

from __future__ import annotations

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
    """A model, and how it is applied."""

    model: str = Field(description="a name that `jettagger models list` shows, or a folder")
    backend: Literal["fast", "onnxruntime", "openvino"] = Field(
        default="fast",
        description="`fast`: ONNX Runtime with a graph that runs faster and is proven equal; `onnxruntime`: the file "
        "as it is; `openvino`",
    )
    remote: Annotated[
        str | bool | None, Expected("the address of a server, or false"), Shown("`$JETTAGGER_REMOTE`")
    ] = Field(default=None, description="server that runs the network, `grpc://host:8001/model`; `false`: none")
    cache: Annotated[bool | str, Expected("true, false or a folder")] = Field(
        default=False,
        description="where scores are kept, so that the same jets need the network once: `true` for the user's cache "
        "folder, or a folder",
    )
    threads: Annotated[int | None, Field(ge=1), Expected("a number of threads"), Shown("all cores")] = Field(
        default=None, description="of the network, in each process"
    )
    heads: Names = Field(default=(), description="folders of heads that run on the outputs of the model")
    provider: Annotated[str | None, Shown("`cpu`")] = Field(
        default=None, description="execution provider of ONNX Runtime, e.g. `cuda`"
    )
    jets: Annotated[str | None, Shown("that of the format")] = Field(
        default=None, description="the collection of jets, where events have several that the model can be applied to"
    )
    outside: Literal["score", "skip"] = Field(
        default="score",
        description="what happens to jets outside the training selection of a data configuration of weaver: they are "
        "flagged and scored, or flagged and left unscored",
    )
    min_pt_share: Annotated[Annotated[float, Between(0, 1)] | None, Shown("0.8, and no link may lead to nothing")] = (
        Field(
            default=None,
            description="share of a jet's transverse momentum that its constituents must carry to be scored",
        )
    )
    names: Annotated[dict[str, str | None] | None, AfterValidator(_known), Shown("those of PFNano")] = Field(
        default=None, description="collections and columns of PFNano -> what the files call them"
    )
    format: Annotated[str | None, Shown("recognised")] = Field(
        default=None, description="flavour of PFNano that declares such names: one of the package, or a YAML file"
    )
    batch_size: Annotated[int, Between(1)] = Field(
        default=TaggerOptions.batch_size, description="jets in one run of the network at most"
    )
    block_bytes: Annotated[Size, Shown("`150 MB`")] = Field(
        default=TaggerOptions.block_bytes,
        description="memory that what is made of a chunk takes at a time, roughly",
    )

    def options(self, folder: Path) -> TaggerOptions:
        """The options; relative folders start from that of the file.

        Parameters
        ----------
        folder : pathlib.Path

        Returns
        -------
        TaggerOptions
        """
        values: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields if name != "model"}
        values["heads"] = [str(folder / Path(head).expanduser()) for head in self.heads]
        if isinstance(self.cache, str):
            values["cache"] = str(folder / Path(self.cache).expanduser())
        if self.format is not None and self.format not in flavours():
            values["format"] = str(folder / Path(self.format).expanduser())
        return TaggerOptions(**values | ({"cache": None} if self.cache is False else {}))
