"""Variables of the CMS networks DeepAK8, ParticleNet, Particle Transformer and GloParT.

The definitions follow the tag-info producers of CMSSW (``RecoBTag/FeatureTools`` and
``DeepBoostedJetTagInfoProducer``). All kinematic quantities are those of the original candidates, without PUPPI weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from jettagger.features.definition import Feature
from jettagger.features.rebuilt import (
    d_dxy_d_phi,
    d_dz_d_lambda,
    eta_variance,
    hcal_fraction,
    momentum_variance,
    phi_variance,
    sign_ambiguous,
    sip2d,
    sip2d_significance,
    squared_error,
    track_of_other_vertex,
)
from jettagger.kinematics import delta_phi, delta_r, energy, px, py, pz
from jettagger.types import Array

__all__ = ["distances", "eta_sign", "features", "in_plane", "track_parameters"]

PRODUCER = "CMSSW DeepBoostedJetTagInfoProducer"
TRACKS = "CMSSW TrackInfoBuilder; 0 for candidates without a track"
GLOBAL = "CMSSW GlobalParticleTransformerAK8TagInfoProducer"
ENCODING = "pat::PackedCandidate"

#: how variables that files do not store are approximated
IN_PLANE = "signed impact parameter in the plane, rebuilt from d0 and the azimuths"
IN_PLANE_ERROR = f"{IN_PLANE}; the error of the primary vertex is an estimate for each event"
CALORIMETER = "hadronic fraction by the type of the candidate"
COVARIANCE = "covariance of the track by a model in its momentum and pseudorapidity"
ALL_VERTICES = "vertices that are in no table of the file are unknown, the direction of some is rebuilt"

#: energy of the uncorrected jet
_RAW_JET = ("jet.uncorrected_pt", "jet.eta", "jet.uncorrected_mass")


def eta_sign(jet_eta: Array) -> Array:
    """Sign by which all jets are reflected to one hemisphere: +1 for eta > 0, else -1 (so -1 at 0).

    Parameters
    ----------
    jet_eta : float[n]
        Pseudorapidity of the jets.

    Returns
    -------
    float32[n]

    Examples
    --------
    >>> eta_sign(np.array([1.2, 0.0, -0.3])).tolist()
    [1.0, -1.0, -1.0]
    """
    return np.where(jet_eta > 0, np.float32(1), np.float32(-1))


def log_pt(pt: Array) -> Array:
    """Natural logarithm of the transverse momentum in GeV."""
    return np.log(pt)


def log_energy(pt: Array, eta: Array, mass: Array) -> Array:
    """Natural logarithm of the energy in GeV."""
    return np.log(energy(pt, eta, mass))


def log_mass(mass: Array) -> Array:
    """Natural logarithm of the mass in GeV."""
    return np.log(mass)


def etarel(eta: Array, jet_eta: Array) -> Array:
    """Pseudorapidity relative to the jet axis, multiplied by the sign of the jet's pseudorapidity."""
    return eta_sign(jet_eta) * (eta - jet_eta)


def phirel(phi: Array, jet_phi: Array) -> Array:
    """Azimuth relative to the jet axis."""
    return delta_phi(phi, jet_phi)


def distance(eta: Array, phi: Array, jet_eta: Array, jet_phi: Array) -> Array:
    """Distance from the jet axis in pseudorapidity and azimuth."""
    return delta_r(eta, phi, jet_eta, jet_phi)


def distance_or_missing(eta: Array, phi: Array, other_eta: Array, other_phi: Array) -> Array:
    """Distance from a subjet in pseudorapidity and azimuth; -1 if there is none."""
    found = delta_r(eta, phi, other_eta, other_phi)
    return np.where(np.isnan(other_eta), np.float32(-1), found)


def ratio(value: Array, reference: Array) -> Array:
    """A momentum divided by that of the uncorrected jet."""
    return value / reference


def log_ratio(value: Array, reference: Array) -> Array:
    """Natural logarithm of a momentum divided by that of the uncorrected jet."""
    return np.log(value / reference)


def energy_ratio(pt: Array, eta: Array, mass: Array, jet_pt: Array, jet_eta: Array, jet_mass: Array) -> Array:
    """Energy divided by that of the uncorrected jet."""
    return energy(pt, eta, mass) / energy(jet_pt, jet_eta, jet_mass)


def log_energy_ratio(pt: Array, eta: Array, mass: Array, jet_pt: Array, jet_eta: Array, jet_mass: Array) -> Array:
    """Natural logarithm of the energy divided by that of the uncorrected jet."""
    return np.log(energy_ratio(pt, eta, mass, jet_pt, jet_eta, jet_mass))


def weighted_log_pt(pt: Array, weight: Array) -> Array:
    """Natural logarithm of the transverse momentum in GeV times the PUPPI weight."""
    return np.log(pt * weight)


def weighted_log_ratio(pt: Array, weight: Array, jet_pt: Array) -> Array:
    """Natural logarithm of the weighted transverse momentum divided by that of the uncorrected jet."""
    return np.log(pt * weight / jet_pt)


def weighted_log_energy_ratio(
    pt: Array, eta: Array, mass: Array, weight: Array, jet_pt: Array, jet_eta: Array, jet_mass: Array
) -> Array:
    """Natural logarithm of the weighted energy divided by that of the uncorrected jet."""
    return np.log(weight * energy_ratio(pt, eta, mass, jet_pt, jet_eta, jet_mass))


def zero(pt: Array) -> Array:
    """Zero for every candidate."""
    return np.zeros(len(pt), dtype=np.float32)


def abseta(eta: Array) -> Array:
    """Absolute pseudorapidity."""
    return np.abs(eta)


def mask(pt: Array) -> Array:
    """One for each real entry; padding sets the others to zero."""
    return np.ones(len(pt), dtype=np.float32)


def floored(normchi2: Array) -> Array:
    """Normalised chi2 of the track fit, rounded down; 999 for candidates without a track."""
    return np.floor(normchi2)


def stored(text: str) -> Callable[[Array], Array]:
    """A function that returns a stored column; the text describes the column."""

    def same(value: Array) -> Array:
        return value

    same.__doc__ = text
    return same


def is_type(code: int) -> Callable[[Array], Array]:
    """A function that is 1 where the absolute PDG ID is ``code``, else 0."""

    def flag(pdg_id: Array) -> Array:
        return (np.abs(pdg_id) == code).astype(np.float32)

    flag.__doc__ = f"One for candidates whose absolute PDG code is {code}, else zero."
    return flag


def _kinematics(object_: str, stem: str) -> Iterator[Feature]:
    yield Feature(f"{stem}_etarel", object_, ("eta", "jet.eta"), etarel, "1", PRODUCER)
    yield Feature(f"{stem}_phirel", object_, ("phi", "jet.phi"), phirel, "rad", PRODUCER)
    yield Feature(f"{stem}_abseta", object_, ("eta",), abseta, "1", PRODUCER)
    yield Feature(f"{stem}_px", object_, ("pt", "phi"), px, "GeV", PRODUCER)
    yield Feature(f"{stem}_py", object_, ("pt", "phi"), py, "GeV", PRODUCER)
    yield Feature(f"{stem}_pz", object_, ("pt", "eta"), pz, "GeV", PRODUCER)
    yield Feature(f"{stem}_energy", object_, ("pt", "eta", "mass"), energy, "GeV", PRODUCER)
    yield Feature(f"{stem}_mask", object_, ("pt",), mask, "1", PRODUCER, is_mask=True)


def distances(object_: str, stem: str, source: str) -> Iterator[Feature]:
    """Distances of candidates from the axis of their jet, from its subjets and from the vertices of the event.

    Parameters
    ----------
    object_, stem, source : str
        As in `Feature`; names are ``<stem>_deltaR`` and so on.

    Yields
    ------
    Feature
    """
    yield Feature(f"{stem}_deltaR", object_, ("eta", "phi", "jet.eta", "jet.phi"), distance, "1", source)
    nearest = stored("Distance from the nearest secondary vertex of the event; infinite without any.")
    yield Feature(f"{stem}_drminsv", object_, ("drminsv",), nearest, "1", source, approximate=ALL_VERTICES)
    for number in (1, 2):
        axis = (f"jet.subjet{number}_eta", f"jet.subjet{number}_phi")
        yield Feature(f"{stem}_drsubjet{number}", object_, ("eta", "phi", *axis), distance_or_missing, "1", source)


def track_parameters(object_: str, stem: str, source: str) -> Iterator[Feature]:
    """Stored impact parameters of candidates.

    Parameters
    ----------
    object_, stem, source : str
        As for `distances`.

    Yields
    ------
    Feature
    """
    for name, unit, text in (
        ("dz", "cm", "Longitudinal impact parameter; 0 without a track."),
        ("dzsig", "1", "Longitudinal impact parameter over its error; 0 without a track."),
        ("dxy", "cm", "Transverse impact parameter; 0 without a track."),
        ("dxysig", "1", "Transverse impact parameter over its error; 0 without a track."),
    ):
        yield Feature(f"{stem}_{name}", object_, (name,), stored(text), unit, source)


def in_plane(object_: str, stem: str, front: str, source: str) -> Iterator[Feature]:
    """Signed transverse impact parameters, and flags of objects for which they are ambiguous.

    Parameters
    ----------
    object_, stem, source : str
        As for `distances`.
    front : str
        Prefix of ``Sip2dVal`` and ``Sip2dSig`` in the names.

    Yields
    ------
    Feature
    """
    plane = ("pv_dxy", "phi", "jet.phi")
    other = ("pv_dxy", "pv_dz", "eta", "btagSip3dVal")
    marks = (
        Feature(f"{stem}_signAmbiguous", object_, plane, sign_ambiguous, "1", "jettagger", counted="n_sign_ambiguous"),
        Feature(f"{stem}_otherVertex", object_, other, track_of_other_vertex, "1", "jettagger", counted="n_other_pv"),
    )
    yield from marks
    error = ("pv_dxy", "pv_dxyerr", "phi", "jet.phi", "jet.vertex_error")
    for name, needs, function, unit, how in (
        ("Sip2dVal", plane, sip2d, "cm", IN_PLANE),
        ("Sip2dSig", error, sip2d_significance, "1", IN_PLANE_ERROR),
    ):
        doubts = tuple(mark.name for mark in marks)
        yield Feature(f"{stem}_{front}{name}", object_, needs, function, unit, source, approximate=how, doubts=doubts)


def _candidates(object_: str, stem: str) -> Iterator[Feature]:
    yield from _kinematics(object_, stem)
    yield Feature(f"{stem}_pt_log_nopuppi", object_, ("pt",), log_pt, "ln GeV", PRODUCER)
    yield Feature(f"{stem}_e_log_nopuppi", object_, ("pt", "eta", "mass"), log_energy, "ln GeV", PRODUCER)
    for name, code in (("isEl", 11), ("isMu", 13), ("isGamma", 22), ("isChargedHad", 211), ("isNeutralHad", 130)):
        yield Feature(f"{stem}_{name}", object_, ("pdgId",), is_type(code), "1", PRODUCER)
    yield Feature(f"{stem}_puppiw", object_, ("puppiWeight",), stored("PUPPI weight."), "1", PRODUCER)


def _tracks(object_: str, stem: str) -> Iterator[Feature]:
    yield Feature(f"{stem}_charge", object_, ("charge",), stored("Electric charge."), "e", PRODUCER)
    yield Feature(
        f"{stem}_VTX_ass",
        object_,
        ("pvAssocQuality",),
        stored("Quality of the association to the primary vertex."),
        "code 0 to 7",
        ENCODING,
    )
    yield Feature(
        f"{stem}_lostInnerHits",
        object_,
        ("lostInnerHits",),
        stored("Missing hits in the innermost pixel layers."),
        "code -1 to 2",
        ENCODING,
    )
    yield Feature(
        f"{stem}_quality",
        object_,
        ("trkQuality",),
        stored("Quality flags of the track; 0 without one."),
        "bit mask",
        ENCODING,
    )
    yield Feature(f"{stem}_normchi2", object_, ("normchi2",), floored, "1", PRODUCER)
    yield from track_parameters(object_, stem, PRODUCER)
    for name, unit, text in (
        ("btagEtaRel", "1", "Rapidity of the track along the jet axis."),
        ("btagPtRatio", "1", "Momentum of the track across the jet axis over its momentum."),
        ("btagPParRatio", "1", "Momentum of the track along the jet axis over its momentum."),
        ("btagSip3dVal", "cm", "Signed impact parameter in space."),
        ("btagSip3dSig", "1", "Signed impact parameter in space over its error."),
        ("btagJetDistVal", "cm", "Distance of the track from the jet axis."),
    ):
        yield Feature(f"{stem}_{name}", object_, (name,), stored(text), unit, TRACKS)


def _candidates_in_jets(object_: str, stem: str) -> Iterator[Feature]:
    """Candidates relative to their jet, to its subjets and to the vertices of the event."""
    p4 = ("pt", "eta", "mass")
    yield Feature(f"{stem}_pt_log", object_, ("pt",), log_pt, "ln GeV", PRODUCER)
    yield Feature(f"{stem}_ptrel", object_, ("pt", "jet.uncorrected_pt"), ratio, "1", PRODUCER)
    yield Feature(f"{stem}_ptrel_log", object_, ("pt", "jet.uncorrected_pt"), log_ratio, "1", PRODUCER)
    yield Feature(f"{stem}_erel", object_, (*p4, *_RAW_JET), energy_ratio, "1", PRODUCER)
    yield Feature(f"{stem}_erel_log", object_, (*p4, *_RAW_JET), log_energy_ratio, "1", PRODUCER)
    weighted = ("pt", "puppiWeight")
    yield Feature(f"{stem}_pt_log_puppi", object_, weighted, weighted_log_pt, "ln GeV", PRODUCER)
    yield Feature(
        f"{stem}_ptrel_log_puppi", object_, (*weighted, "jet.uncorrected_pt"), weighted_log_ratio, "1", PRODUCER
    )
    yield Feature(
        f"{stem}_erel_log_puppi",
        object_,
        (*p4, "puppiWeight", *_RAW_JET),
        weighted_log_energy_ratio,
        "1",
        PRODUCER,
    )
    yield from distances(object_, stem, PRODUCER)
    yield Feature(f"{stem}_hcalFrac", object_, ("pdgId",), hcal_fraction, "1", PRODUCER, approximate=CALORIMETER)


def _errors(object_: str, stem: str) -> Iterator[Feature]:
    """Signed transverse impact parameters, and the covariance of the track."""
    yield from in_plane(object_, stem, "btag", TRACKS)
    track = ("pt", "eta", "hasTrack")
    yield Feature(f"{stem}_dxydxy", object_, ("dxyerr",), squared_error, "cm^2", PRODUCER)
    yield Feature(f"{stem}_dzdz", object_, ("dzerr",), squared_error, "cm^2", PRODUCER)
    for name, needs, function, unit in (
        ("dptdpt", track, momentum_variance, "1/GeV^2"),
        ("detadeta", track, eta_variance, "rad^2"),
        ("dphidphi", track, phi_variance, "rad^2"),
        ("dphidxy", ("pt", "eta", "dxyerr"), d_dxy_d_phi, "cm rad"),
        ("dlambdadz", ("pt", "eta", "dzerr"), d_dz_d_lambda, "cm rad"),
    ):
        yield Feature(f"{stem}_{name}", object_, needs, function, unit, PRODUCER, approximate=COVARIANCE)
    yield Feature(f"{stem}_dxydz", object_, ("pt",), zero, "cm^2", PRODUCER, approximate=COVARIANCE, constant=True)


def _hits(object_: str, stem: str) -> Iterator[Feature]:
    yield Feature(
        f"{stem}_isLostTrack", object_, ("isLostTrack",), stored("One for tracks that are no candidates."), "1", GLOBAL
    )
    for layers in ("pixelBarrel", "pixelEndcap", "stripTEC", "stripTIB", "stripTID", "stripTOB"):
        name = f"{layers}LayersWithMeasurement"
        yield Feature(f"{stem}_{name}", object_, (name,), stored(f"Layers with a hit: {layers}."), "layers", GLOBAL)


def _vertices() -> Iterator[Feature]:
    yield from _kinematics("sv", "sv")
    yield Feature("sv_pt_log", "sv", ("pt",), log_pt, "ln GeV", PRODUCER)
    for name, unit, text in (
        ("mass", "GeV", "Mass of the vertex."),
        ("ntracks", "1", "Number of its tracks."),
        ("normchi2", "1", "Normalised chi2 of its fit."),
        ("dxy", "cm", "Transverse distance from the primary vertex."),
        ("dxysig", "1", "Transverse distance from the primary vertex over its error."),
        ("d3d", "cm", "Distance from the primary vertex in space."),
        ("d3dsig", "1", "Distance from the primary vertex in space over its error."),
    ):
        yield Feature(f"sv_{name}", "sv", (name,), stored(text), unit, PRODUCER)
    p4 = ("pt", "eta", "mass")
    for name, needs, function, unit in (
        ("pt", ("pt",), stored("Transverse momentum of the vertex."), "GeV"),
        ("ptrel", ("pt", "jet.uncorrected_pt"), ratio, "1"),
        ("ptrel_log", ("pt", "jet.uncorrected_pt"), log_ratio, "1"),
        ("erel", (*p4, *_RAW_JET), energy_ratio, "1"),
        ("erel_log", (*p4, *_RAW_JET), log_energy_ratio, "1"),
        ("deltaR", ("eta", "phi", "jet.eta", "jet.phi"), distance, "1"),
        ("chi2", ("chi2",), stored("Chi2 of its fit."), "1"),
        (
            "costhetasvpv",
            ("costhetasvpv",),
            stored("Cosine of the angle between its momentum and its distance from the primary vertex."),
            "1",
        ),
    ):
        yield Feature(f"sv_{name}", "sv", needs, function, unit, PRODUCER)


def features() -> Iterator[Feature]:
    """All features of the family.

    Yields
    ------
    Feature

    Examples
    --------
    >>> next(features()).name
    'pfcand_etarel'
    """
    yield from _candidates("pf", "pfcand")
    yield from _tracks("pf", "pfcand")
    yield from _candidates_in_jets("pf", "pfcand")
    yield from _errors("pf", "pfcand")
    yield from _candidates("cpf", "cpfcandlt")
    yield from _tracks("cpf", "cpfcandlt")
    yield from _hits("cpf", "cpfcandlt")
    yield from _candidates("npf", "npfcand")
    yield from _vertices()
    yield Feature("jet_pt_log", "jet", ("pt",), log_pt, "ln GeV", GLOBAL)
    yield Feature("jet_mass_log", "jet", ("mass",), log_mass, "ln GeV", GLOBAL)
    yield Feature("jet_eta", "jet", ("eta",), stored("Pseudorapidity."), "1", GLOBAL)
