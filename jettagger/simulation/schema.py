"""What a detector card holds: its sections and keys with their descriptions; a card has all of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from jettagger.config.models import Between, FileModel

__all__ = ["FORMAT", "DetectorFile"]

#: what the key ``format`` of a card says
FORMAT = "jettagger-detector-card/1"

#: a probability or a part of something
Share = Annotated[float, Between(0, 1)]


class GeneratorKeys(FileModel):
    """Fragmentation."""

    tune_settings: list[str] = Field(description="further settings of Pythia, e.g. a fragmentation tune")


class BeamSpotKeys(FileModel):
    """Where protons collide."""

    x: float = Field(description="position in cm")
    y: float = Field(description="position in cm")
    z: float = Field(description="position in cm")
    sigma_xy: float = Field(description="width in x and in y, cm")
    sigma_z: float = Field(description="width in z, cm")


class PrimaryVertexKeys(FileModel):
    """The reconstructed primary vertex."""

    resolution_xy: float = Field(description="of its position in x and in y, cm")
    resolution_z: float = Field(description="of its position in z, cm")


class AcceptanceKeys(FileModel):
    """What is seen at all."""

    max_abs_eta: float = Field(description="of the calorimeters")
    tracker_max_abs_eta: float = Field(description="of the tracker")
    track_min_pt: float = Field(description="of tracks, GeV")
    photon_min_energy: float = Field(description="of photons, GeV")
    hadron_min_energy: float = Field(description="of neutral hadrons after merging into cells, GeV")


class TrackingKeys(FileModel):
    """Tracks."""

    magnetic_field: float = Field(description="T")
    efficiency_hadron: Share = Field(description="of charged hadrons above `track_min_pt`")
    efficiency_hadron_low: Share = Field(description="of charged hadrons below 1 GeV")
    efficiency_electron: Share = Field(description="of electrons")
    efficiency_muon: Share = Field(description="of muons")
    pt_resolution_constant: float = Field(description="relative, added in quadrature to slope * pt")
    pt_resolution_slope: float = Field(description="1/GeV")
    forward_factor: float = Field(
        description="resolution at an absolute eta of 2.5 relative to the centre, quadratic in eta"
    )
    angle_resolution: float = Field(description="of eta and phi, rad")
    details_min_pt: float = Field(
        description="tracks below, GeV, have no stored impact parameters, chi2 and quality (as in MiniAOD)"
    )
    tail_fraction: Share = Field(description="tracks whose impact parameters are smeared by `tail_scale` times more")
    tail_scale: float = Field(description="than their error says")
    d0_constant: float = Field(description="error of d0, cm: constant (+) slope / (p sin^1.5 theta)")
    d0_slope: float = Field(description="cm GeV")
    dz_constant: float = Field(description="error of dz, cm, in the same way")
    dz_slope: float = Field(description="cm GeV")
    error_spread: float = Field(description="relative spread of the stored errors around the true resolution")
    first_layer_radius: float = Field(
        description="a track from beyond this radius, cm, has no hit in the first pixel layer"
    )
    lost_first_hit: Share = Field(description="share of other tracks without it")


class CalorimeterKeys(FileModel):
    """Calorimeters."""

    ecal_stochastic: float = Field(description="ECAL: relative resolution / sqrt(E / GeV)")
    ecal_noise: float = Field(description="ECAL: GeV")
    ecal_constant: float = Field(description="ECAL: relative")
    hcal_stochastic: float = Field(description="HCAL: relative resolution / sqrt(E / GeV)")
    hcal_noise: float = Field(description="HCAL: GeV")
    hcal_constant: float = Field(description="HCAL: relative")
    ecal_cell: float = Field(description="eta and phi, up to an absolute eta of 3; 5 times more beyond")
    hcal_cell: float = Field(description="eta and phi, up to an absolute eta of 3; 2 times more beyond")
    cell_position: float = Field(description="resolution of a cluster's position in units of the cell")


class LeptonsKeys(FileModel):
    """Electrons and muons."""

    electron_min_pt: float = Field(description="GeV")
    muon_min_pt: float = Field(description="GeV")
    max_abs_eta: float = Field(description="of both")
    isolation_cone: float = Field(description="radius in eta and phi")


class PileupKeys(FileModel):
    """Further interactions."""

    mean: Annotated[float, Between(0)] = Field(description="of the Poisson distribution of further interactions")
    pool: Annotated[int, Between(1)] = Field(
        description="different minimum-bias events kept in a block, reused with random rotations"
    )
    association_dz: float = Field(
        description="charged candidates this near to the primary vertex in z, cm, count as its own"
    )
    alpha_cone: float = Field(description="neighbourhood of the PUPPI-like weight of neutral candidates")
    neutral_cone_min_weight: float = Field(description="weights of neutral candidates below count as 0")


class JetsOfCardKeys(FileModel):
    """Jets."""

    correction: float = Field(description="corrected pt / raw pt of all jets, one constant")


class DetectorFile(FileModel):
    """A detector card. Lengths in cm, energies and momenta in GeV, angles in rad."""

    format: Literal["jettagger-detector-card/1"] = Field(description="`jettagger-detector-card/1`")
    name: str = Field(description="of the card")
    version: Annotated[int, Between(1)] = Field(description="raised with every change of a number")
    description: str = Field(description="one line")
    generator: GeneratorKeys = Field(description="fragmentation, see below")
    beam_spot: BeamSpotKeys = Field(description="where protons collide, see below")
    primary_vertex: PrimaryVertexKeys = Field(description="its reconstruction, see below")
    acceptance: AcceptanceKeys = Field(description="what is seen at all, see below")
    tracking: TrackingKeys = Field(description="tracks, see below")
    calorimeter: CalorimeterKeys = Field(description="calorimeters, see below")
    leptons: LeptonsKeys = Field(description="electrons and muons, see below")
    pileup: PileupKeys = Field(description="further interactions, see below")
    jets: JetsOfCardKeys = Field(description="jets, see below")
