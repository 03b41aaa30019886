"""Variables of the CMS networks DeepAK8, ParticleNet, Particle Transformer and GloParT.

The definitions follow the tag-info producers of CMSSW (``RecoBTag/FeatureTools`` and
``DeepBoostedJetTagInfoProducer``). All kinematic quantities are those of the original candidates, without PUPPI weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from jettagger.features.definition import Feature
from jettagger.kinematics import delta_phi, energy, px, py, pz
from jettagger.types import Array

__all__ = ["eta_sign", "features"]

PRODUCER = "CMSSW DeepBoostedJetTagInfoProducer"
TRACKS = "CMSSW TrackInfoBuilder; 0 for candidates without a track"
GLOBAL = "CMSSW GlobalParticleTransformerAK8TagInfoProducer"
ENCODING = "pat::PackedCandidate"


def eta_sign(jet_eta: Array) -> Array:
    """Sign that mirrors all jets to one hemisphere: +1 for eta > 0, else -1 (so -1 at 0).

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
    """Pseudorapidity relative to the jet axis, mirrored with the sign of the jet's."""
    return eta_sign(jet_eta) * (eta - jet_eta)


def phirel(phi: Array, jet_phi: Array) -> Array:
    """Azimuth relative to the jet axis."""
    return delta_phi(phi, jet_phi)


def abseta(eta: Array) -> Array:
    """Absolute pseudorapidity."""
    return np.abs(eta)


def mask(pt: Array) -> Array:
    """One for each real entry; padding turns the rest to zero."""
    return np.ones(len(pt), dtype=np.float32)


def floored(normchi2: Array) -> Array:
    """Normalised chi2 of the track fit, rounded down; 999 for candidates without a track."""
    return np.floor(normchi2)


def stored(text: str) -> Callable[[Array], Array]:
    """A function that passes a column on as it is; the text says what the column is."""

    def same(value: Array) -> Array:
        return value

    same.__doc__ = text
    return same


def is_type(code: int) -> Callable[[Array], Array]:
    """A function that is 1 where the absolute PDG code is ``code``, else 0."""

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
    for name, unit, text in (
        ("dz", "cm", "Longitudinal impact parameter; 0 without a track."),
        ("dzsig", "1", "Longitudinal impact parameter over its error; 0 without a track."),
        ("dxy", "cm", "Transverse impact parameter; 0 without a track."),
        ("dxysig", "1", "Transverse impact parameter over its error; 0 without a track."),
    ):
        yield Feature(f"{stem}_{name}", object_, (name,), stored(text), unit, PRODUCER)
    for name, unit, text in (
        ("btagEtaRel", "1", "Rapidity of the track along the jet axis."),
        ("btagPtRatio", "1", "Momentum of the track across the jet axis over its momentum."),
        ("btagPParRatio", "1", "Momentum of the track along the jet axis over its momentum."),
        ("btagSip3dVal", "cm", "Signed impact parameter in space."),
        ("btagSip3dSig", "1", "Signed impact parameter in space over its error."),
        ("btagJetDistVal", "cm", "Distance of the track from the jet axis."),
    ):
        yield Feature(f"{stem}_{name}", object_, (name,), stored(text), unit, TRACKS)


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


def features() -> Iterator[Feature]:
    """All features of the family.

    Yields
    ------
    Feature

    Examples
    --------
    >>> sum(feature.object == "sv" for feature in features())
    16
    """
    yield from _candidates("pf", "pfcand")
    yield from _tracks("pf", "pfcand")
    yield from _candidates("cpf", "cpfcandlt")
    yield from _tracks("cpf", "cpfcandlt")
    yield from _hits("cpf", "cpfcandlt")
    yield from _candidates("npf", "npfcand")
    yield from _vertices()
    yield Feature("jet_pt_log", "jet", ("pt",), log_pt, "ln GeV", GLOBAL)
    yield Feature("jet_mass_log", "jet", ("mass",), log_mass, "ln GeV", GLOBAL)
    yield Feature("jet_eta", "jet", ("eta",), stored("Pseudorapidity."), "1", GLOBAL)
