"""Secondary vertices: truth-assisted grouping of tracks, followed by a vertex fit.

The assignment of displaced tracks to vertices is taken from the truth (same decay point; nearby decays of one cascade
are merged); position, uncertainties and chi2 come from a least-squares fit to the measured tracks. Tracks from the
primary vertex with large measured impact parameters that are close in angle are tried as well: they give the fake
vertices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jettagger import kinematics
from jettagger.display import Brief
from jettagger.kinematics import delta_r
from jettagger.simulation.detector import PION_MASS, Candidates, Vertices
from jettagger.simulation.generate import Truth, local_index
from jettagger.truth.matching import pairs
from jettagger.truth.records import has_quark
from jettagger.types import Bools, Floats, Ints

__all__ = ["SecondaryVertices", "fit_lines", "secondary_vertices"]

MIN_DISTANCE = 0.002  # cm: decays nearer to the primary vertex are not looked for
MERGE_DISTANCE = 0.04  # cm: decays of one cascade nearer to each other than this become one vertex
FAKE_CELL = 0.2  # eta and phi within which displaced-looking primary tracks are tried together
FAKE_SIGNIFICANCE = 2.5
MAX_NORM_CHI2 = 8.0
MIN_SIGNIFICANCE = 0.5


@dataclass(frozen=True)
class SecondaryVertices(Brief):
    """Fitted secondary vertices, flat, sorted by event.

    Attributes
    ----------
    event : int64[n]
    x, y, z : float64[n]
        Position relative to the reconstructed primary vertex, cm.
    pt, eta, phi, mass : float64[n]
        Those of the sum of the tracks with pion masses, GeV.
    n_tracks : int64[n]
    chi2, ndof : float64[n]
    dxy, dxy_sig, d3d, d3d_sig : float64[n]
        Distances from the primary vertex (cm) and their significances.
    cos_pointing : float64[n]
        Cosine between the momentum and the flight direction.
    """

    event: Ints
    x: Floats
    y: Floats
    z: Floats
    pt: Floats
    eta: Floats
    phi: Floats
    mass: Floats
    n_tracks: Ints
    chi2: Floats
    ndof: Floats
    dxy: Floats
    dxy_sig: Floats
    d3d: Floats
    d3d_sig: Floats
    cos_pointing: Floats

    def take(self, index: Any) -> SecondaryVertices:
        """A selection or reordering."""
        return SecondaryVertices(**{name: getattr(self, name)[index] for name in self.__dataclass_fields__})


def fit_lines(
    group: Ints, n_groups: int, points: Floats, phi: Floats, eta: Floats, error_t: Floats, error_z: Floats
) -> tuple[Floats, Floats, Floats]:
    """Least-squares common points of groups of straight lines.

    Parameters
    ----------
    group : int64[n]
        Group of each line.
    n_groups : int
    points : float64[n, 3]
        A measured point of each line, cm.
    phi, eta : float64[n]
        Direction of each line.
    error_t, error_z : float64[n]
        Uncertainties perpendicular to the line in the transverse plane, and along z (cm).

    Returns
    -------
    position : float64[n_groups, 3]
    covariance : float64[n_groups, 3, 3]
    chi2 : float64[n_groups]

    Examples
    --------
    >>> points = np.array([[0.0, 1.0, 0.0], [2.0, 0.0, 0.0]])
    >>> position, _, chi2 = fit_lines(np.zeros(2, int), 1, points, np.array([0.0, np.pi / 2]), np.zeros(2),
    ...                               np.full(2, 0.01), np.full(2, 0.01))
    >>> position.round(3).tolist(), float(chi2[0].round(6))
    ([[2.0, 1.0, 0.0]], 0.0)
    """
    sine, cosine = np.sin(phi), np.cos(phi)
    sin_theta, tanh = 1.0 / np.cosh(eta), np.tanh(eta)
    zero = np.zeros_like(phi)
    across = np.stack([-sine, cosine, zero], axis=1)
    other = np.stack([-tanh * cosine, -tanh * sine, sin_theta], axis=1)
    matrix = np.zeros((n_groups, 3, 3))
    vector = np.zeros((n_groups, 3))
    constant = np.zeros(n_groups)
    for normal, error in ((across, error_t), (other, error_z * sin_theta)):
        weight = 1.0 / error**2
        offset = np.sum(normal * points, axis=1)
        np.add.at(matrix, group, weight[:, None, None] * normal[:, :, None] * normal[:, None, :])
        np.add.at(vector, group, (weight * offset)[:, None] * normal)
        np.add.at(constant, group, weight * offset**2)
    # parallel lines leave a direction open: a very weak constraint keeps the matrix regular
    covariance: Floats = np.linalg.inv(matrix + 1e-4 * np.eye(3)).astype(np.float64)
    position: Floats = np.einsum("nij,nj->ni", covariance, vector)
    chi2 = constant - 2 * np.einsum("ni,ni->n", position, vector)
    chi2 += np.einsum("ni,nij,nj->n", position, matrix, position)
    return position, covariance, np.maximum(chi2, 0.0)


def _heavy_ancestor(truth: Truth, index: Ints) -> Ints:
    """The most upstream heavy hadron or tau among the ancestors of each particle, or the mother."""
    heavy = has_quark(truth.id, 5) | has_quark(truth.id, 4) | (np.abs(truth.id) == 15)
    current = truth.mother[index]
    found = current.copy()
    for _ in range(30):
        alive = current >= 0
        if not np.any(alive):
            break
        safe = np.maximum(current, 0)
        found = np.where(alive & heavy[safe], safe, found)
        current = np.where(alive, truth.mother[safe], -1)
    return found


def secondary_vertices(
    truth: Truth, candidates: Candidates, vertices: Vertices, min_pt: float = 0.95
) -> SecondaryVertices:
    """Find and fit the secondary vertices of all events.

    Parameters
    ----------
    truth : Truth
    candidates : Candidates
    vertices : Vertices
    min_pt : float
        Minimum transverse momentum of the tracks, GeV.

    Returns
    -------
    SecondaryVertices
    """
    tracks = np.flatnonzero(candidates.details & (candidates.origin >= 0) & (candidates.pt > min_pt))
    origin = candidates.origin[tracks]
    place = 0.1 * np.stack([truth.vx[origin], truth.vy[origin], truth.vz[origin]], axis=1)
    distance = np.sqrt(np.sum(place**2, axis=1))
    displaced = (distance > MIN_DISTANCE) & (np.hypot(place[:, 0], place[:, 1]) < 50.0)
    first = _displaced_groups(truth, candidates.event[tracks], origin, distance, displaced)
    significance = np.hypot(
        candidates.d0[tracks] / candidates.d0_error[tracks],
        candidates.dz[tracks] / candidates.dz_error[tracks],
    )
    fakes = ~displaced & (significance > FAKE_SIGNIFICANCE) & (significance < 20.0)
    second = _cell_groups(candidates, tracks, fakes)
    group = np.where(displaced, first, np.where(fakes, second + (first.max(initial=0) + 1), -1))
    chosen = group >= 0
    names, group = np.unique(group[chosen], return_inverse=True)
    counts = np.bincount(group, minlength=len(names))
    several = counts >= 2
    renumber = np.cumsum(several) - 1
    keep = several[group]
    tracks, group = tracks[chosen][keep], renumber[group[keep]]
    return _fit(candidates, vertices, tracks, group, int(np.sum(several)), place[chosen][keep])


def _displaced_groups(truth: Truth, event: Ints, origin: Ints, distance: Floats, displaced: Bools) -> Ints:
    """Index of the decay of each displaced track; nearby decays of one cascade are merged."""
    group = np.full(len(event), -1, np.int64)
    rows = np.flatnonzero(displaced)
    if len(rows) == 0:
        return group
    ancestor = _heavy_ancestor(truth, origin[rows])
    order = np.lexsort((distance[rows], ancestor))
    rows, ancestor = rows[order], ancestor[order]
    far = np.diff(distance[rows], prepend=distance[rows[0]]) > MERGE_DISTANCE
    new = np.diff(ancestor, prepend=-2) != 0
    group[rows] = np.cumsum(far | new) - 1
    return group


def _cell_groups(candidates: Candidates, tracks: Ints, chosen: Bools) -> Ints:
    row = np.floor((candidates.eta[tracks] + 6.0) / FAKE_CELL).astype(np.int64)
    column = np.floor((candidates.phi[tracks] + np.pi) / FAKE_CELL).astype(np.int64)
    key = (candidates.event[tracks] * 100 + row) * 100 + column
    return np.unique(np.where(chosen, key, -1), return_inverse=True)[1].astype(np.int64)


def _fit(
    candidates: Candidates, vertices: Vertices, tracks: Ints, group: Ints, number: int, place: Floats
) -> SecondaryVertices:
    event = np.zeros(number, np.int64)
    event[group] = candidates.event[tracks]
    phi, eta = candidates.phi[tracks], candidates.eta[tracks]
    # The line passes the true point, moved by what the measurement is off: no curvature to care about.
    points = place.copy()
    points[:, 0] += -candidates.shift_d0[tracks] * np.sin(phi) - vertices.error_x[candidates.event[tracks]]
    points[:, 1] += candidates.shift_d0[tracks] * np.cos(phi) - vertices.error_y[candidates.event[tracks]]
    points[:, 2] += candidates.shift_dz[tracks] - vertices.error_z[candidates.event[tracks]]
    position, covariance, chi2 = fit_lines(
        group, number, points, phi, eta, candidates.d0_error[tracks], candidates.dz_error[tracks]
    )
    n_tracks = np.bincount(group, minlength=number)

    def total(values: Floats) -> Floats:
        return np.bincount(group, weights=values, minlength=number).astype(np.float64)

    pt = candidates.pt[tracks]
    px, py, pz = total(kinematics.px(pt, phi)), total(kinematics.py(pt, phi)), total(kinematics.pz(pt, eta))
    energy = total(kinematics.energy(pt, eta, np.full_like(pt, PION_MASS)))
    sum_pt = np.maximum(np.hypot(px, py), 1e-9)
    momentum = np.sqrt(sum_pt**2 + pz**2)
    d3d: Floats = np.maximum(np.sqrt(np.sum(position**2, axis=1)), 1e-9)
    dxy = np.maximum(np.hypot(position[:, 0], position[:, 1]), 1e-9)
    # errors along the flight direction, with the primary vertex's own
    along = position / d3d[:, None]
    flat = np.stack([position[:, 0] / dxy, position[:, 1] / dxy], axis=1)
    primary = np.array([1e-3, 1e-3, 1.5e-3]) ** 2
    var3d = np.einsum("ni,nij,nj->n", along, covariance, along) + along**2 @ primary
    var2d = np.einsum("ni,nij,nj->n", flat, covariance[:, :2, :2], flat) + flat**2 @ primary[:2]
    pointing = (position[:, 0] * px + position[:, 1] * py + position[:, 2] * pz) / (d3d * momentum)
    ndof = 2.0 * n_tracks.astype(np.float64) - 3.0
    found = SecondaryVertices(
        event,
        position[:, 0],
        position[:, 1],
        position[:, 2],
        sum_pt,
        np.arcsinh(pz / sum_pt),
        np.arctan2(py, px),
        np.sqrt(np.maximum(energy**2 - momentum**2, 0.0)),
        n_tracks,
        chi2,
        ndof,
        dxy,
        dxy / np.sqrt(var2d),
        d3d,
        d3d / np.sqrt(var3d),
        np.clip(pointing, -1.0, 1.0),
    )
    good = (chi2 / ndof < MAX_NORM_CHI2) & (found.d3d_sig > MIN_SIGNIFICANCE) & (pointing > 0.0)
    found = found.take(good)
    order = np.lexsort((-found.d3d_sig, found.event))
    return found.take(order)


def jet_vertices(
    jet_event: Ints, jet_eta: Floats, jet_phi: Floats, found: SecondaryVertices, n_events: int, *, cone: float
) -> tuple[Ints, Ints, Floats]:
    """Vertices within ``cone`` of each jet, sorted by jet and decreasing ``dxy_sig``: jet, vertex, distance."""
    left, right = pairs(jet_event, found.event, n_events)
    distance = delta_r(jet_eta[left], jet_phi[left], found.eta[right], found.phi[right])
    near = distance < cone
    left, right, distance = left[near], right[near], distance[near]
    order = np.lexsort((-found.dxy_sig[right], left))
    return left[order], right[order], distance[order]


def positions_in_event(found: SecondaryVertices, n_events: int, stored: Bools) -> Ints:
    """Index of each vertex among the stored ones of its event, -1 if it is not stored."""
    index = np.full(len(found.event), -1, np.int64)
    index[stored] = local_index(found.event[stored], n_events)
    return index
