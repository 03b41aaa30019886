"""Variables of jet energy calibrations by deep sets, with the meaning that they have in the shards of ml-jec.

Momenta are those of the original candidates; the PUPPI weight is a variable of its own. Jets are uncorrected.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jettagger.features.cms import mask, stored
from jettagger.features.definition import Feature
from jettagger.types import Array

__all__ = ["features"]

SOURCE = "shards of ml-jec"
ENCODING = "pat::PackedCandidate"

#: normalised chi2 of candidates without track details
NO_TRACK = 100.0


def absolute_significance(significance: Array) -> Array:
    """Absolute transverse impact parameter over its error; 0 without track details."""
    return np.abs(significance)


def chi2_or_maximum(chi2: Array, has_track: Array) -> Array:
    """Normalised chi2 of the track fit; 100 without track details."""
    return np.where(has_track != 0, chi2, np.float32(NO_TRACK))


def _kinematics(object_: str, stem: str) -> Iterator[Feature]:
    for name, unit, text in (
        ("pt", "GeV", "Transverse momentum, without PUPPI weight."),
        ("eta", "1", "Pseudorapidity."),
        ("phi", "rad", "Azimuth around the beam."),
    ):
        yield Feature(f"{stem}_{name}", object_, (name,), stored(text), unit, SOURCE)
    yield Feature(f"{stem}_id", object_, ("pdgId",), stored("PDG ID of the candidate."), "code", SOURCE)
    yield Feature(f"{stem}_puppi_weight", object_, ("puppiWeight",), stored("PUPPI weight."), "1", "jettagger")
    yield Feature(f"{stem}_mask", object_, ("pt",), mask, "1", "jettagger", is_mask=True)


def _charged() -> Iterator[Feature]:
    yield from _kinematics("cpf", "ch")
    for name, column, unit, text in (
        ("dxy", "dxy", "cm", "Transverse impact parameter; 0 without track details."),
        ("dz", "dz", "cm", "Longitudinal impact parameter; 0 without track details."),
        ("num_hits", "num_hits", "1", "Number of hits of the track."),
        ("num_pixel_hits", "num_pixel_hits", "1", "Number of pixel hits of the track."),
    ):
        yield Feature(f"ch_{name}", "cpf", (column,), stored(text), unit, SOURCE)
    for name, column, unit, text in (
        ("lost_hits", "lostInnerHits", "code -1 to 2", "Missing hits in the innermost pixel layers."),
        ("pv_ass", "pvAssocQuality", "code 0 to 7", "Quality of the association to the primary vertex."),
    ):
        yield Feature(f"ch_{name}", "cpf", (column,), stored(text), unit, ENCODING)
    yield Feature("ch_dxy_significance", "cpf", ("dxysig",), absolute_significance, "1", SOURCE)
    yield Feature("ch_norm_chi2", "cpf", ("chi2", "hasTrack"), chi2_or_maximum, "1", SOURCE)


def features() -> Iterator[Feature]:
    """All features of the family that no other one has.

    Yields
    ------
    Feature

    Examples
    --------
    >>> [feature.name for feature in features() if feature.object == "sv"]
    ['sv_distance', 'sv_significance', 'sv_num_tracks']
    """
    yield from _charged()
    yield from _kinematics("npf", "ne")
    hadronic = stored("Fraction of the energy in the hadronic calorimeter.")
    yield Feature("ne_hcal_frac", "npf", ("hcal_frac",), hadronic, "1", SOURCE)
    for name, column, unit, text in (
        ("distance", "d3d", "cm", "Distance from the primary vertex in space."),
        ("significance", "d3dsig", "1", "Distance from the primary vertex in space over its error."),
        ("num_tracks", "ntracks", "1", "Number of its tracks."),
    ):
        yield Feature(f"sv_{name}", "sv", (column,), stored(text), unit, SOURCE)
    for name, column, unit, text in (
        ("phi", "phi", "rad", "Azimuth around the beam."),
        ("uncorrected_mass", "uncorrected_mass", "GeV", "Mass before the correction."),
        ("area", "area", "1", "Catchment area."),
        ("rho", "rho", "GeV", "Median density of transverse momentum of the event."),
    ):
        yield Feature(f"jet_{name}", "jet", (column,), stored(text), unit, SOURCE)
