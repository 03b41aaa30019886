"""The schemas of files of calibrations: keys, types and descriptions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from jettagger.config.models import Expected, FileModel

__all__ = ["MassFactorsFile"]

Number = Annotated[float, Expected("a number")]


class MassFactorsFile(FileModel):
    """Scale and resolution of a jet mass in data relative to simulation."""

    format: Literal["jettagger-mass-factors/1"] = Field(description="`jettagger-mass-factors/1`")
    column: str = Field(description="mass of the jets, e.g. `msoftdrop`")
    scale: Number = Field(default=1.0, description="ratio of the positions of the peak in data and simulation")
    scale_uncertainty: Number = Field(default=0.0, description="its standard deviation")
    resolution: Number = Field(
        default=1.0, description="ratio of the relative widths of the peak in data and simulation"
    )
    resolution_uncertainty: Number = Field(default=0.0, description="its standard deviation")
    width: Number = Field(default=0.1, description="relative width of the peak in simulation, for the smearing")
    reference: str | None = Field(
        default=None,
        description="column of the jets with the mass without detector effects, or of the matched generator jets "
        "(`genJetAK8.msoftdrop`); where it is known, the distance to it is scaled instead of a smearing",
    )
