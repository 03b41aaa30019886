"""From generated particles to particle-flow candidates, according to a detector card."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from jettagger import kinematics
from jettagger.display import Brief
from jettagger.simulation.cards import DetectorCard
from jettagger.simulation.generate import Truth, is_neutrino
from jettagger.types import Bools, Floats, Ints

__all__ = ["Candidates", "Vertices", "primary_vertices", "reconstruct"]

PION_MASS = 0.13957
#: CMSSW's codes of pvAssociationQuality: used in the fit of the primary vertex, displaced, from another vertex
USED_IN_FIT, COMPATIBLE, OTHER_VERTEX = 7, 6, 0


@dataclass(frozen=True)
class Vertices(Brief):
    """Primary vertices of the events in cm: true positions, and residuals of their reconstruction."""

    x: Floats
    y: Floats
    z: Floats
    error_x: Floats
    error_y: Floats
    error_z: Floats


@dataclass(frozen=True)
class Candidates(Brief):
    """Particle-flow candidates, flat, sorted by event and decreasing transverse momentum.

    Attributes
    ----------
    event : int64[n]
    pt, eta, phi, mass : float64[n]
        In GeV.
    charge, pdg_id : int64[n]
        ``pdg_id`` as assigned by particle flow: 11, 13, 22, 130, 211 with sign.
    puppi : float64[n]
        PUPPI-like weight.
    details : bool[n]
        Whether the track parameters are stored.
    d0, d0_error, dz, dz_error : float64[n]
        Impact parameters with respect to the reconstructed primary vertex in cm; 0 without a track.
    phi0 : float64[n]
        Azimuth of the track at its closest approach to the vertex.
    chi2, quality, association, lost_hits : int64[n]
        Normalised chi2 (integer, as in packed candidates) and the codes of packed candidates.
    origin : int64[n]
        Truth particle of the track, -1 for calorimeter clusters and pile-up.
    shift_d0, shift_dz : float64[n]
        Measured minus true impact parameters in cm.
    """

    event: Ints
    pt: Floats
    eta: Floats
    phi: Floats
    mass: Floats
    charge: Ints
    pdg_id: Ints
    puppi: Floats
    details: Bools
    d0: Floats
    d0_error: Floats
    dz: Floats
    dz_error: Floats
    phi0: Floats
    chi2: Ints
    quality: Ints
    association: Ints
    lost_hits: Ints
    origin: Ints
    shift_d0: Floats
    shift_dz: Floats

    def take(self, index: Any) -> Candidates:
        """A selection or reordering of the candidates."""
        return Candidates(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    def with_puppi(self, weight: Floats) -> Candidates:
        """The same candidates with given PUPPI weights, float64[candidates]."""
        return replace(self, puppi=weight)

    @property
    def px(self) -> Floats:
        """Momentum along x in GeV, one entry per candidate."""
        return kinematics.px(self.pt, self.phi)

    @property
    def py(self) -> Floats:
        """Momentum along y in GeV, one entry per candidate."""
        return kinematics.py(self.pt, self.phi)

    @property
    def pz(self) -> Floats:
        """Momentum along the beam in GeV, one entry per candidate."""
        return kinematics.pz(self.pt, self.eta)

    @property
    def energy(self) -> Floats:
        """Energy in GeV, one entry per candidate."""
        return kinematics.energy(self.pt, self.eta, self.mass)


def concatenate(parts: list[Candidates]) -> Candidates:
    """Several sets of candidates concatenated, unsorted."""
    return Candidates(
        **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Candidates)}
    )


def primary_vertices(card: DetectorCard, n_events: int, rng: np.random.Generator) -> Vertices:
    """Positions of the interactions, and residuals of their reconstruction."""
    spot, resolution = card["beam_spot"], card["primary_vertex"]
    return Vertices(
        spot["x"] + spot["sigma_xy"] * rng.standard_normal(n_events),
        spot["y"] + spot["sigma_xy"] * rng.standard_normal(n_events),
        spot["z"] + spot["sigma_z"] * rng.standard_normal(n_events),
        resolution["resolution_xy"] * rng.standard_normal(n_events),
        resolution["resolution_xy"] * rng.standard_normal(n_events),
        resolution["resolution_z"] * rng.standard_normal(n_events),
    )


def impact_parameters(
    x: Floats, y: Floats, z: Floats, pt: Floats, eta: Floats, phi: Floats, charge: Ints, field: float
) -> tuple[Floats, Floats, Floats]:
    """Impact parameters of helices through given points.

    Parameters
    ----------
    x, y, z : float64[n]
        A point on the track relative to the vertex, in cm.
    pt, eta, phi : float64[n]
        Momentum at that point, GeV.
    charge : int64[n]
        Not 0.
    field : float
        Magnetic field along z, in T.

    Returns
    -------
    d0, dz, phi0 : float64[n]
        ``d0 = -x sin(phi0) + y cos(phi0)`` and ``z`` at the closest approach to the vertex in the transverse plane
        (cm), and the azimuth of the momentum there.

    Examples
    --------
    A track along x that starts 1 cm from the axis in y, with a momentum so large that it is straight:

    >>> one = np.ones(1)
    >>> d0, dz, phi0 = impact_parameters(5 * one, one, 2 * one, 1e6 * one, 0 * one, 0 * one, one, 3.8)
    >>> float(d0[0].round(3)), float(dz[0].round(3))
    (1.0, 2.0)
    """
    radius = pt / (0.0029979 * field)
    centre_x = x + charge * radius * np.sin(phi)
    centre_y = y - charge * radius * np.cos(phi)
    distance = np.hypot(centre_x, centre_y)
    d0 = charge * (radius - distance)
    phi0 = np.arctan2(charge * centre_x, -charge * centre_y)
    turned = (phi - phi0 + np.pi) % (2 * np.pi) - np.pi
    dz = z + charge * radius * turned * np.sinh(eta)
    return d0, dz, phi0


def _track_errors(card: DetectorCard, pt: Floats, eta: Floats) -> tuple[Floats, Floats, Floats]:
    """Resolutions: relative pt, d0 and dz (cm)."""
    track = card["tracking"]
    forward = 1.0 + (track["forward_factor"] - 1.0) * (eta / 2.5) ** 2
    momentum = np.hypot(track["pt_resolution_constant"], track["pt_resolution_slope"] * pt) * forward
    # p sin^1.5(theta) = pt sqrt(cosh(eta)): multiple scattering in a cylinder at small radius
    scattering = pt * np.sqrt(np.cosh(eta))
    d0 = np.hypot(track["d0_constant"], track["d0_slope"] / scattering)
    dz = np.hypot(track["dz_constant"], track["dz_slope"] / scattering * np.sqrt(np.cosh(eta)))
    return momentum, d0, dz


def reconstruct(truth: Truth, vertices: Vertices, card: DetectorCard, rng: np.random.Generator) -> Candidates:
    """Candidates of the hard interaction, with ``puppi`` 1.

    Parameters
    ----------
    truth : Truth
    vertices : Vertices
    card : DetectorCard
    rng : numpy.random.Generator

    Returns
    -------
    Candidates
    """
    limits, track = card["acceptance"], card["tracking"]
    kinds = np.abs(truth.id)
    index = np.flatnonzero((truth.status > 0) & ~is_neutrino(truth.id))
    pt = np.hypot(truth.px[index], truth.py[index])
    eta = np.arcsinh(truth.pz[index] / np.maximum(pt, 1e-12))
    near = (np.abs(eta) < limits["max_abs_eta"]) & (pt > 0.05)
    index, pt, eta = index[near], pt[near], eta[near]
    event = truth.event[index]
    kind = kinds[index]
    phi = np.arctan2(truth.py[index], truth.px[index])
    charge = charges(truth.id[index])

    efficiency = np.where(pt < 1.0, track["efficiency_hadron_low"], track["efficiency_hadron"])
    efficiency = np.where(kind == 11, track["efficiency_electron"], efficiency)
    efficiency = np.where(kind == 13, track["efficiency_muon"], efficiency)
    tracked = (charge != 0) & (np.abs(eta) < limits["tracker_max_abs_eta"]) & (pt > limits["track_min_pt"])
    tracked &= rng.random(len(index)) < efficiency * _crowding(event, eta, phi, charge, card)

    tracks = _tracks(truth, index[tracked], event[tracked], pt[tracked], eta[tracked], phi[tracked],
                     charge[tracked], vertices, card, rng)  # fmt: skip
    rest = ~tracked & (kind != 13)
    electromagnetic = (kind == 22) | (kind == 11)
    energy = truth.energy[index]
    energy = np.where(electromagnetic, energy, energy * hadron_response(energy, card))
    clusters = [
        _clusters(event[which], energy[which], eta[which], phi[which], card, rng, electromagnetic=flag)
        for which, flag in ((rest & electromagnetic, True), (rest & ~electromagnetic, False))
    ]
    everything = concatenate([tracks, *clusters])
    return everything.take(np.lexsort((-everything.pt, everything.event)))


def hadron_response(energy: Floats, card: DetectorCard) -> Floats:
    """Mean response of the calorimeter to hadrons, relative to that to electrons.

    The electromagnetic fraction of a shower of energy E is 1 - (E / E0)^(k - 1), and the rest is measured with h/e.
    Source: D. Groom, Energy flow in a hadronic cascade, arXiv:physics/0605164.

    Parameters
    ----------
    energy : float64[n]
        In GeV; below E0 there is no electromagnetic fraction.
    card : DetectorCard

    Returns
    -------
    float64[n]
        1 for a compensating calorimeter (h/e = 1).

    Examples
    --------
    >>> from jettagger.simulation import load_card
    >>> hadron_response(np.array([1.0, 10.0, 100.0]), load_card("noncompensating")).round(2).tolist()
    [0.4, 0.6, 0.74]
    """
    calorimeter = card["calorimeter"]
    scaled = np.maximum(energy / calorimeter["hcal_shower_energy"], 1.0)
    hadronic = scaled ** (calorimeter["hcal_shower_exponent"] - 1.0)
    return np.asarray(1.0 - (1.0 - calorimeter["hcal_h_over_e"]) * hadronic)


def _crowding(event: Ints, eta: Floats, phi: Floats, charge: Ints, card: DetectorCard) -> Floats:
    """Factor on the efficiency of tracks, exp(-loss * neighbours), with the charged particles nearby as neighbours."""
    loss = card["tracking"]["dense_loss"]
    factor = np.ones(len(event))
    if loss == 0:
        return factor
    from scipy.spatial import cKDTree

    charged = np.flatnonzero(charge != 0)
    cone = card["tracking"]["dense_cone"]
    # events lie far apart along the first axis; phi is periodic
    points = np.stack([10.0 * event[charged], eta[charged], phi[charged] % (2 * np.pi)], axis=1)
    points[:, 2] = np.where(points[:, 2] < 2 * np.pi, points[:, 2], 0.0)
    far = 10.0 * (np.max(event, initial=0) + 10.0)
    points[:, 1] += 20.0
    tree = cKDTree(points, boxsize=[far, 100.0, 2 * np.pi])
    neighbours = np.asarray(tree.query_ball_point(points, cone, return_length=True)) - 1
    factor[charged] = np.exp(-loss * neighbours)
    return factor


def charges(identity: Ints) -> Ints:
    """Charge of final particles from their PDG ID, in units of e.

    Examples
    --------
    >>> charges(np.array([211, -11, 22, 2112, 3112, -2212, 310, 3334])).tolist()
    [1, 1, 0, 0, -1, -1, 0, -1]
    """
    kind = np.abs(identity)
    thrice = np.zeros(len(identity), np.int64)
    lepton = (kind >= 11) & (kind <= 16)
    thrice = np.where(lepton & (kind % 2 == 1), -3, thrice)
    thrice = np.where(kind == 24, 3, thrice)
    first, second, third = (kind // 1000) % 10, (kind // 100) % 10, (kind // 10) % 10

    def quark(number: Ints) -> Ints:
        return np.where(number == 0, 0, np.where(number % 2 == 0, 2, -1))

    hadron = (kind > 100) & (kind < 10_000_000)
    meson = hadron & (first == 0)
    # in a meson number the up-type quark is the quark, unless both are of the same type
    heavy, light = quark(second), quark(third)
    sign = np.where((second % 2 == 1) & (second != third), -1, 1)
    thrice = np.where(meson, sign * (heavy - light), thrice)
    thrice = np.where(hadron & ~meson, quark(first) + heavy + light, thrice)
    thrice = np.where(np.isin(kind, (130, 310)), 0, thrice)
    return np.sign(identity) * thrice // 3


def _tracks(
    truth: Truth, index: Ints, event: Ints, pt: Floats, eta: Floats, phi: Floats, charge: Ints,
    vertices: Vertices, card: DetectorCard, rng: np.random.Generator,
) -> Candidates:  # fmt: skip
    track = card["tracking"]
    number = len(index)
    kind = np.abs(truth.id[index])
    x, y, z = (0.1 * axis[index] for axis in (truth.vx, truth.vy, truth.vz))
    d0, dz, phi0 = impact_parameters(
        x - vertices.error_x[event],
        y - vertices.error_y[event],
        z - vertices.error_z[event],
        pt, eta, phi, charge, track["magnetic_field"],
    )  # fmt: skip
    momentum, d0_error, dz_error = _track_errors(card, pt, eta)
    tail = np.where(rng.random(number) < track["tail_fraction"], track["tail_scale"], 1.0)
    shift_d0 = d0_error * tail * rng.standard_normal(number)
    shift_dz = dz_error * tail * rng.standard_normal(number)
    spread = np.clip(1.0 + track["error_spread"] * rng.standard_normal((2, number)), 0.5, 2.0)
    measured = pt * np.clip(1.0 + momentum * rng.standard_normal(number), 0.05, 3.0)
    angle = track["angle_resolution"] * rng.standard_normal((2, number))
    details = measured > track["details_min_pt"]
    radius = np.hypot(x, y)
    lost = np.where(radius > track["first_layer_radius"], 1 + (radius > 2.2 * track["first_layer_radius"]), -1)
    lost = np.where((lost == -1) & (rng.random(number) < track["lost_first_hit"]), 0, lost)
    degrees = np.maximum(rng.poisson(18.0, number), 4)
    chi2 = np.floor(rng.chisquare(degrees) / degrees).astype(np.int64)
    d0_measured, dz_measured = d0 + shift_d0, dz + shift_dz
    d0_stored, dz_stored = d0_error * spread[0], dz_error * spread[1]
    displaced = np.hypot(d0_measured / d0_stored, dz_measured / dz_stored) > 5.0
    code = np.where(kind == 11, 11, np.where(kind == 13, 13, 211))
    return Candidates(
        event=event,
        pt=measured,
        eta=eta + angle[0],
        phi=delta(phi + angle[1]),
        mass=np.where(kind == 11, 0.000511, np.where(kind == 13, 0.10566, PION_MASS)),
        charge=charge,
        pdg_id=np.where(code == 211, 1, -1) * charge * code,
        puppi=np.ones(number),
        details=details,
        d0=d0_measured,
        d0_error=d0_stored,
        dz=dz_measured,
        dz_error=dz_stored,
        phi0=delta(phi0 + angle[1]),
        chi2=chi2,
        quality=np.full(number, 5),
        association=np.where(displaced, COMPATIBLE, USED_IN_FIT),
        lost_hits=lost,
        origin=index,
        shift_d0=shift_d0,
        shift_dz=shift_dz,
    )


def delta(angle: Floats) -> Floats:
    """An angle wrapped to [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _clusters(
    event: Ints, energy: Floats, eta: Floats, phi: Floats, card: DetectorCard, rng: np.random.Generator,
    *, electromagnetic: bool,
) -> Candidates:  # fmt: skip
    """Merge deposits in the same cell of the calorimeter, smear, and apply thresholds."""
    calorimeter, limits = card["calorimeter"], card["acceptance"]
    name, forward = ("ecal", 5.0) if electromagnetic else ("hcal", 2.0)
    size = calorimeter[f"{name}_cell"] * np.where(np.abs(eta) < 3.0, 1.0, forward)
    row = np.floor((eta + 6.0) / size).astype(np.int64)
    column = np.floor((phi + np.pi) / size).astype(np.int64)
    key = (event * 20_000 + row) * 2_000 + column
    cells, first, member = np.unique(key, return_index=True, return_inverse=True)
    number = len(cells)
    total = np.bincount(member, weights=energy, minlength=number)
    mean_eta = np.bincount(member, weights=energy * eta, minlength=number) / total
    mean_phi = np.bincount(member, weights=energy * phi, minlength=number) / total
    resolution = np.sqrt(
        calorimeter[f"{name}_stochastic"] ** 2 / np.maximum(total, 0.1)
        + (calorimeter[f"{name}_noise"] / np.maximum(total, 0.1)) ** 2
        + calorimeter[f"{name}_constant"] ** 2
    )
    measured = total * (1.0 + resolution * rng.standard_normal(number))
    position = calorimeter["cell_position"] * size[first] * rng.standard_normal((2, number))
    mean_eta = mean_eta + position[0]
    least = limits["photon_min_energy"] if electromagnetic else limits["hadron_min_energy"]
    keep = measured > least
    n_kept = int(np.sum(keep))
    zeros, nothing = np.zeros(n_kept), np.zeros(n_kept, np.int64)
    mean_phi = delta(mean_phi + position[1])
    return Candidates(
        event=event[first][keep],
        pt=measured[keep] / np.cosh(mean_eta[keep]),
        eta=mean_eta[keep],
        phi=mean_phi[keep],
        mass=zeros,
        charge=nothing,
        pdg_id=np.full(n_kept, 22 if electromagnetic else 130),
        puppi=np.ones(n_kept),
        details=np.zeros(n_kept, bool),
        d0=zeros,
        d0_error=zeros,
        dz=zeros,
        dz_error=zeros,
        phi0=mean_phi[keep],
        chi2=nothing,
        quality=nothing,
        association=np.full(n_kept, USED_IN_FIT),
        lost_hits=np.full(n_kept, -1),
        origin=np.full(n_kept, -1),
        shift_d0=zeros,
        shift_dz=zeros,
    )
