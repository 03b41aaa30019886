"""The content of a flavour file: names in a production that differ from those in the declaration of PFNano."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from jettagger.config.models import FileModel

__all__ = ["VERSION", "FlavourFile"]

#: version of these files
VERSION = 1

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class FlavourFile(FileModel):
    """A flavour of PFNano."""

    version: Literal[1] = Field(description="version of the file format, 1")
    name: str = Field(max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", description="name of the flavour")
    title: str = Field(default="", description="description for messages")
    collections: dict[str, Name] = Field(
        default_factory=dict,
        description="PFNano's name of a collection (`FatJet`, `PFCands`, `FatJetPFCands`, `FatJetSVs`, `SV`, `Jet`, "
        "`JetPFCands`, `JetSVs`) -> the name in the file",
    )
    columns: dict[str, Name] = Field(
        default_factory=dict,
        description="PFNano's name of a column with its collection (`FatJetPFCands.pFCandsIdx`) -> the field in the "
        "file",
    )
    absent: list[str] = Field(
        default_factory=list,
        description="indices that the file lacks, `FatJetSVs.sVIdx` or `JetSVs.sVIdx`: vertices are reconstructed "
        "from the link table",
    )
