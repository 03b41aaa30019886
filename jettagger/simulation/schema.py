"""The schema of a detector card: sections and keys with their descriptions.

Keys added later have defaults that change nothing, so that cards of users stay valid.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from jettagger.config.models import Between, FileModel

__all__ = ["FORMAT", "DetectorFile"]

#: value of the key ``format`` of a card
FORMAT = "jettagger-detector-card/1"

#: a probability or a fraction
Share = Annotated[float, Between(0, 1)]


class GeneratorKeys(FileModel):
    """Fragmentation."""

    tune_settings: list[str] = Field(description="additional Pythia settings, e.g. a fragmentation tune")


class BeamSpotKeys(FileModel):
    """Beam spot."""

    x: float = Field(description="position in x, cm")
    y: float = Field(description="position in y, cm")
    z: float = Field(description="position in z, cm")
    sigma_xy: float = Field(description="width in x and y, cm")
    sigma_z: float = Field(description="width in z, cm")


class PrimaryVertexKeys(FileModel):
    """The reconstructed primary vertex."""

    resolution_xy: float = Field(description="position resolution in x and y, cm")
    resolution_z: float = Field(description="position resolution in z, cm")


class AcceptanceKeys(FileModel):
    """Detector acceptance."""

    max_abs_eta: float = Field(description="maximum absolute eta of the calorimeters")
    tracker_max_abs_eta: float = Field(description="maximum absolute eta of the tracker")
    track_min_pt: float = Field(description="minimum pt of tracks, GeV")
    photon_min_energy: float = Field(description="minimum energy of photons, GeV")
    hadron_min_energy: float = Field(description="minimum energy of neutral hadrons after merging into cells, GeV")


class TrackingKeys(FileModel):
    """Tracks."""

    magnetic_field: float = Field(description="magnetic field, T")
    efficiency_hadron: Share = Field(description="efficiency for charged hadrons above `track_min_pt`")
    efficiency_hadron_low: Share = Field(description="efficiency for charged hadrons below 1 GeV")
    efficiency_electron: Share = Field(description="efficiency for electrons")
    efficiency_muon: Share = Field(description="efficiency for muons")
    pt_resolution_constant: float = Field(
        description="constant term of the relative pt resolution, added in quadrature to slope * pt"
    )
    pt_resolution_slope: float = Field(description="slope of the relative pt resolution, 1/GeV")
    forward_factor: float = Field(
        description="resolution at an absolute eta of 2.5 relative to that at 0, quadratic in eta"
    )
    angle_resolution: float = Field(description="resolution of eta and phi, rad")
    details_min_pt: float = Field(
        description="pt in GeV below which tracks have no stored impact parameters, chi2 and quality (as in MiniAOD)"
    )
    tail_fraction: Share = Field(description="fraction of tracks in the tail of the impact-parameter resolution")
    tail_scale: float = Field(description="factor by which the resolution of these tracks exceeds their stored error")
    d0_constant: float = Field(
        description="constant term of the d0 resolution, cm: constant (+) slope / (p sin^1.5 theta)"
    )
    d0_slope: float = Field(description="slope of the d0 resolution, cm GeV")
    dz_constant: float = Field(description="constant term of the dz resolution, cm, of the same form")
    dz_slope: float = Field(description="slope of the dz resolution, cm GeV")
    error_spread: float = Field(description="relative spread of the stored errors around the true resolution")
    first_layer_radius: float = Field(
        description="radius in cm beyond which a track is produced without a hit in the first pixel layer"
    )
    lost_first_hit: Share = Field(description="fraction of the other tracks without this hit")
    dense_loss: Annotated[float, Between(0)] = Field(
        0.0, description="loss of tracks in dense jets: the efficiency is multiplied by exp(-loss * neighbours)"
    )
    dense_cone: Annotated[float, Between(0, 3)] = Field(
        0.1, description="radius in eta and phi within which other charged particles are neighbours"
    )


class CalorimeterKeys(FileModel):
    """Calorimeters."""

    ecal_stochastic: float = Field(description="ECAL: stochastic term, relative resolution times sqrt(E / GeV)")
    ecal_noise: float = Field(description="ECAL: noise term, GeV")
    ecal_constant: float = Field(description="ECAL: constant term, relative")
    hcal_stochastic: float = Field(description="HCAL: stochastic term, relative resolution times sqrt(E / GeV)")
    hcal_noise: float = Field(description="HCAL: noise term, GeV")
    hcal_constant: float = Field(description="HCAL: constant term, relative")
    ecal_cell: float = Field(
        description="ECAL: cell size in eta and phi up to an absolute eta of 3; 5 times larger beyond"
    )
    hcal_cell: float = Field(
        description="HCAL: cell size in eta and phi up to an absolute eta of 3; 2 times larger beyond"
    )
    cell_position: float = Field(description="position resolution of a cluster in units of the cell size")
    hcal_h_over_e: Annotated[float, Between(0, 2)] = Field(
        1.0, description="response to the hadronic part of a shower, relative to electrons; 1 if compensating"
    )
    hcal_shower_energy: Annotated[float, Between(0.01)] = Field(
        1.0, description="energy E0 in GeV below which hadrons make no electromagnetic showers"
    )
    hcal_shower_exponent: Annotated[float, Between(0, 1)] = Field(
        0.82, description="exponent k of the hadronic part of a shower, (E / E0)^(k - 1)"
    )


class LeptonsKeys(FileModel):
    """Electrons and muons."""

    electron_min_pt: float = Field(description="minimum pt of electrons, GeV")
    muon_min_pt: float = Field(description="minimum pt of muons, GeV")
    max_abs_eta: float = Field(description="maximum absolute eta of both")
    isolation_cone: float = Field(description="radius of the isolation cone in eta and phi")


class PileupKeys(FileModel):
    """Pile-up."""

    mean: Annotated[float, Between(0)] = Field(description="mean of the Poisson distribution of pile-up interactions")
    pool: Annotated[int, Between(1)] = Field(
        description="number of minimum-bias events per block, reused with random rotations"
    )
    association_dz: float = Field(
        description="maximum distance in z, cm, for the association of charged candidates with the primary vertex"
    )
    alpha_cone: float = Field(description="radius of the cone for the PUPPI-like weight of neutral candidates")
    neutral_cone_min_weight: float = Field(description="weights of neutral candidates below this value are set to 0")


class JetsOfCardKeys(FileModel):
    """Jets."""

    correction: float = Field(description="ratio of corrected to raw pt, the same for all jets")


class DetectorFile(FileModel):
    """A detector card. Lengths in cm, energies and momenta in GeV, angles in rad."""

    format: Literal["jettagger-detector-card/1"] = Field(description="`jettagger-detector-card/1`")
    name: str = Field(description="name of the card")
    version: Annotated[int, Between(1)] = Field(description="version, raised with every change of a number")
    description: str = Field(description="one-line description")
    generator: GeneratorKeys = Field(description="fragmentation, see below")
    beam_spot: BeamSpotKeys = Field(description="beam spot, see below")
    primary_vertex: PrimaryVertexKeys = Field(description="resolution of the primary vertex, see below")
    acceptance: AcceptanceKeys = Field(description="detector acceptance, see below")
    tracking: TrackingKeys = Field(description="tracks, see below")
    calorimeter: CalorimeterKeys = Field(description="calorimeters, see below")
    leptons: LeptonsKeys = Field(description="electrons and muons, see below")
    pileup: PileupKeys = Field(description="pile-up, see below")
    jets: JetsOfCardKeys = Field(description="jets, see below")
