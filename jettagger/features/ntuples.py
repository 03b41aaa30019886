"""Variables of the CMS networks DeepDoubleX, DeepJet and Particle Transformer for AK4 jets.

The definitions follow the tag-info producers of CMSSW (``DeepFlavourTagInfoProducer``, ``DeepDoubleXTagInfoProducer``,
``ParticleTransformerAK4TagInfoProducer`` and their converters); names are those of the ntuples that the networks were
trained on. For charged candidates without track details, the momentum of the candidate replaces that of the track, the
quality is 1, chi2 is -1, and there are no impact parameters. Jets are uncorrected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from jettagger.features.cms import (
    CALORIMETER,
    distances,
    energy_ratio,
    etarel,
    in_plane,
    is_type,
    ratio,
    stored,
    track_parameters,
)
from jettagger.features.definition import Feature
from jettagger.features.rebuilt import hcal_fraction
from jettagger.kinematics import delta_phi, energy, px, py, pz
from jettagger.types import Array

__all__ = ["STORED_COLUMNS", "features"]

CONVERTERS = "CMSSW RecoBTag/FeatureTools, converters of DeepFlavour"
PRODUCER = "CMSSW DeepFlavourTagInfoProducer, DeepDoubleXTagInfoProducer"
STORED = "CMSSW ShallowTagInfo, as PFNano stores it"

PION = 0.13957

#: jet-level inputs of DeepDoubleX
DDX = (
    "jetNTracks",
    "tau1_trackEtaRel_0",
    "tau1_trackEtaRel_1",
    "tau1_vertexDeltaR",
    "tau1_vertexEnergyRatio",
)

#: jet-level inputs of DeepJet
DEEPCSV = (
    "trackSumJetEtRatio",
    "trackSumJetDeltaR",
    "vertexCategory",
    "trackSip2dValAboveCharm",
    "trackSip2dSigAboveCharm",
    "trackSip3dValAboveCharm",
    "trackSip3dSigAboveCharm",
    "jetNSelectedTracks",
    "jetNTracksEtaRel",
)

#: lists of tracks that PFNano stores with a fixed length, also beyond their end: list -> (entries, their number)
_TRACK_LISTS = {
    **dict.fromkeys(
        (
            "trackDecayLenVal",
            "trackDeltaR",
            "trackJetDistVal",
            "trackPtRatio",
            "trackPtRel",
            "trackSip2dSig",
            "trackSip3dSig",
        ),
        (6, "jetNSelectedTracks"),
    ),
    "trackEtaRel": (4, "jetNTracksEtaRel"),
}


#: prefix of stored jet-level variables -> names after the prefix
STORED_COLUMNS = {
    "DDX": DDX,
    "DeepCSV": (
        *DEEPCSV,
        *(f"{name}_{place}" for name, (length, _) in _TRACK_LISTS.items() for place in range(length)),
    ),
}


def _along(pt: Array, eta: Array, phi: Array, jet_eta: Array, jet_phi: Array) -> tuple[Array, Array]:
    """Momentum and its part along the jet axis, GeV."""
    # what lies across is the small difference of large numbers
    pt, eta, phi, jet_eta, jet_phi = (values.astype(np.float64) for values in (pt, eta, phi, jet_eta, jet_phi))
    along = pt * (np.cos(phi - jet_phi) + np.sinh(eta) * np.sinh(jet_eta)) / np.cosh(jet_eta)
    return pt * np.cosh(eta), along


def track_eta_rel(
    value: Array, has_track: Array, pt: Array, eta: Array, phi: Array, jet_eta: Array, jet_phi: Array
) -> Array:
    """Rapidity of the track along the jet axis; of the candidate, as a pion, if there are no track details."""
    total, along = _along(pt, eta, phi, jet_eta, jet_phi)
    full = np.sqrt(total**2 + PION**2)
    return np.where(has_track != 0, value, 0.5 * np.log((full + along) / (full - along)))


def track_pt_ratio(
    value: Array, has_track: Array, pt: Array, eta: Array, phi: Array, jet_eta: Array, jet_phi: Array
) -> Array:
    """Momentum of the track perpendicular to the jet axis, as a fraction; of the candidate without track details."""
    total, along = _along(pt, eta, phi, jet_eta, jet_phi)
    return np.where(has_track != 0, value, np.sqrt(np.maximum(1 - (along / total) ** 2, 0)))


def track_par_ratio(
    value: Array, has_track: Array, pt: Array, eta: Array, phi: Array, jet_eta: Array, jet_phi: Array
) -> Array:
    """Momentum of the track along the jet axis, as a fraction; of the candidate without track details."""
    total, along = _along(pt, eta, phi, jet_eta, jet_phi)
    return np.where(has_track != 0, value, along / total)


def _times_momentum(function: Callable[..., Array], text: str) -> Callable[..., Array]:
    def product(
        value: Array, has_track: Array, pt: Array, eta: Array, phi: Array, jet_eta: Array, jet_phi: Array
    ) -> Array:
        share: Array = function(value, has_track, pt, eta, phi, jet_eta, jet_phi)
        return share * (pt * np.cosh(eta.astype(np.float64)))

    product.__doc__ = text
    return product


def if_track(default: float, text: str) -> Callable[[Array, Array], Array]:
    """A function that returns a column for candidates with track details, and a constant for others."""

    def chosen(value: Array, has_track: Array) -> Array:
        return np.where(has_track != 0, value, np.float32(default))

    chosen.__doc__ = text
    return chosen


def absolute_difference(eta: Array, other: Array) -> Array:
    """Absolute distance from the jet axis in pseudorapidity."""
    return np.abs(eta - other)


def absolute_angle(phi: Array, other: Array) -> Array:
    """Absolute distance from the jet axis in azimuth."""
    return np.abs(delta_phi(phi, other))


def vertex_energy_ratio(ratio_: Array, share: Array) -> Array:
    """Energy of the vertex divided by that of the uncorrected jet."""
    return ratio_ / share


def listed(place: int, text: str) -> Callable[[Array, Array], Array]:
    """A function that returns an entry of a stored list of tracks, and 0 beyond its end."""

    def entry(value: Array, number: Array) -> Array:
        return np.where((place < number) & (value != -999), value, np.float32(0))

    entry.__doc__ = text
    return entry


def _common(object_: str, stem: str) -> Iterator[Feature]:
    yield from distances(object_, stem, PRODUCER)
    jet = ("jet.uncorrected_pt", "jet.eta", "jet.uncorrected_mass")
    yield Feature(f"{stem}_erel", object_, ("pt", "eta", "mass", *jet), energy_ratio, "1", PRODUCER)
    yield Feature(f"{stem}_ptrel", object_, ("pt", "jet.uncorrected_pt"), ratio, "1", PRODUCER)
    yield Feature(f"{stem}_puppiw", object_, ("puppiWeight",), stored("PUPPI weight."), "1", PRODUCER)
    yield Feature(f"{stem}_px", object_, ("pt", "phi"), px, "GeV", PRODUCER)
    yield Feature(f"{stem}_py", object_, ("pt", "phi"), py, "GeV", PRODUCER)
    yield Feature(f"{stem}_pz", object_, ("pt", "eta"), pz, "GeV", PRODUCER)
    yield Feature(f"{stem}_e", object_, ("pt", "eta", "mass"), energy, "GeV", PRODUCER)


def _charged() -> Iterator[Feature]:
    stem = "Cpfcan"
    yield from _common("cpf", stem)
    momentum = ("hasTrack", "pt", "eta", "phi", "jet.eta", "jet.phi")
    for name, column, function, unit in (
        ("EtaRel", "btagEtaRel", track_eta_rel, "1"),
        ("PtRatio", "btagPtRatio", track_pt_ratio, "1"),
        ("PParRatio", "btagPParRatio", track_par_ratio, "1"),
        ("PtRel", "btagPtRatio", _times_momentum(track_pt_ratio, "Momentum across the jet axis."), "GeV"),
        ("PPar", "btagPParRatio", _times_momentum(track_par_ratio, "Momentum along the jet axis."), "GeV"),
    ):
        yield Feature(f"{stem}_BtagPf_track{name}", "cpf", (column, *momentum), function, unit, CONVERTERS)
    for name, unit, text in (
        ("Sip3dVal", "cm", "Signed impact parameter in space; 0 without track details."),
        ("Sip3dSig", "1", "Signed impact parameter in space over its error; 0 without track details."),
        ("JetDistVal", "cm", "Distance of the track from the jet axis; 0 without track details."),
    ):
        needs = (f"btag{name}", "hasTrack")
        yield Feature(f"{stem}_BtagPf_track{name}", "cpf", needs, if_track(0, text), unit, CONVERTERS)
    yield from in_plane("cpf", stem, "BtagPf_track", CONVERTERS)
    yield from track_parameters("cpf", stem, CONVERTERS)
    yield Feature(f"{stem}_etarel", "cpf", ("eta", "jet.eta"), etarel, "1", PRODUCER)
    chi2 = if_track(-1, "Normalised chi2 of the track fit, not rounded; -1 without track details.")
    yield Feature(f"{stem}_chi2", "cpf", ("chi2", "hasTrack"), chi2, "1", CONVERTERS)
    quality = if_track(1, "Quality flags of the track; 1 without track details.")
    yield Feature(f"{stem}_quality", "cpf", ("trkQuality", "hasTrack"), quality, "bit mask", CONVERTERS)
    association = stored("Quality of the association to the primary vertex.")
    yield Feature(f"{stem}_VTX_ass", "cpf", ("pvAssocQuality",), association, "code 0 to 7", CONVERTERS)


def _neutral() -> Iterator[Feature]:
    stem = "Npfcan"
    yield from _common("npf", stem)
    yield Feature(f"{stem}_isGamma", "npf", ("pdgId",), is_type(22), "1", CONVERTERS)
    yield Feature(f"{stem}_HadFrac", "npf", ("pdgId",), hcal_fraction, "1", CONVERTERS, approximate=CALORIMETER)
    yield Feature(f"{stem}_etarel", "npf", ("eta", "jet.eta"), absolute_difference, "1", CONVERTERS)
    yield Feature(f"{stem}_phirel", "npf", ("phi", "jet.phi"), absolute_angle, "rad", CONVERTERS)


def _vertices() -> Iterator[Feature]:
    yield Feature(
        "sv_deltaR_clipped",
        "sv",
        ("clipped_deltaR",),
        stored("Distance from the jet axis minus 0.5, at most 0."),
        "1",
        CONVERTERS,
    )
    yield Feature("sv_enratio", "sv", ("enration", "jet.uncorrected_share"), vertex_energy_ratio, "1", CONVERTERS)
    yield Feature("sv_etarel_abs", "sv", ("eta", "jet.eta"), absolute_difference, "1", CONVERTERS)
    yield Feature("sv_phirel_abs", "sv", ("phi", "jet.phi"), absolute_angle, "rad", CONVERTERS)


def _jets() -> Iterator[Feature]:
    for name, column, unit, text in (
        ("uncorrected_pt", "uncorrected_pt", "GeV", "Transverse momentum before the correction."),
        ("nCpfcand", "n_charged", "1", "Number of charged candidates of 0.95 GeV and more."),
        ("nNpfcand", "n_neutral", "1", "Number of neutral candidates of 0.95 GeV and more."),
        ("nsv", "n_vertices", "1", "Number of vertices in the jet."),
        ("npv", "n_primary_vertices", "1", "Number of primary vertices of the event."),
    ):
        yield Feature(f"jet_{name}", "jet", (column,), stored(text), unit, PRODUCER)
    for name in DDX:
        yield Feature(f"jet_DDX_{name}", "jet", (f"DDX_{name}",), stored(f"{name} as stored."), "1", STORED)
    for name in DEEPCSV:
        yield Feature(f"jet_DeepCSV_{name}", "jet", (f"DeepCSV_{name}",), stored(f"{name} as stored."), "1", STORED)
    for name, (length, number) in _TRACK_LISTS.items():
        for place in range(length):
            needs = (f"DeepCSV_{name}_{place}", f"DeepCSV_{number}")
            text = f"{name} of track {place}; 0 beyond the tracks that {number} counts."
            yield Feature(f"jet_DeepCSV_{name}_{place}", "jet", needs, listed(place, text), "1", STORED)


def features() -> Iterator[Feature]:
    """All features of the family.

    Yields
    ------
    Feature

    Examples
    --------
    >>> sorted({feature.object for feature in features()})
    ['cpf', 'jet', 'npf', 'sv']
    """
    yield from _charged()
    yield from _neutral()
    yield from _vertices()
    yield from _jets()
