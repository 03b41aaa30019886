"""The direction of vertices that are only in the link table of their jet."""

from __future__ import annotations

import numpy as np

from jettagger.kinematics import energy
from jettagger.types import Array

__all__ = ["vertex_eta"]

#: bounds applied by the producer to the stored distance of a vertex from its jet
DELTA_R_OFFSET = 0.5
SATURATED = -1e-3


def vertex_eta(
    pt: Array,
    mass: Array,
    energy_ratio: Array,
    delta_r: Array,
    phirel: Array,
    jet_pt: Array,
    jet_eta: Array,
    jet_phi: Array,
    jet_mass: Array,
    known: Array,
    *,
    radius: float = 0.8,
) -> Array:
    """Pseudorapidity of linked vertices, reconstructed if the vertex is not in the table ``SV``.

    The stored distance (offset by 0.5, saturating at 0) and azimuth give two solutions, one on each side of the jet
    axis; the stored energy fraction selects one. If the distance is saturated, the energy alone gives the absolute
    value, and the sign is the one for which the vertex lies between 0.5 and the radius from the axis (the nearer, if
    both do).

    Parameters
    ----------
    pt, mass : float[vertices]
        Those of the vertex, GeV.
    energy_ratio : float[vertices]
        Energy of the vertex divided by that of the jet.
    delta_r : float[vertices]
        Distance from the jet axis minus 0.5, at most 0.
    phirel : float[vertices]
        Azimuth relative to the jet, rad.
    jet_pt, jet_eta, jet_phi, jet_mass : float[vertices]
        Those of the jet of each vertex, GeV and rad.
    known : float[vertices]
        Stored pseudorapidity, NaN if there is none.
    radius : float
        Maximum distance of linked vertices from the jet axis.

    Returns
    -------
    float32[vertices]
        NaN if a non-finite value enters the reconstruction.

    Examples
    --------
    >>> one = np.ones(1)
    >>> eta = np.array([0.3])
    >>> ratio = energy(50 * one, eta, 2 * one) / energy(500 * one, 0.2 * one, 80 * one)
    >>> distance = np.hypot(0.1, 0.05) * one - 0.5
    >>> vertex_eta(50 * one, 2 * one, ratio, distance, 0.05 * one, 500 * one, 0.2 * one, one, 80 * one, np.nan * one)
    array([0.3], dtype=float32)
    """
    total = energy_ratio.astype(np.float64) * energy(jet_pt, jet_eta, jet_mass)
    with np.errstate(invalid="ignore", divide="ignore"):
        longitudinal = np.sqrt(np.maximum(total**2 - mass.astype(np.float64) ** 2 - pt.astype(np.float64) ** 2, 0))
        from_energy = np.arcsinh(longitudinal / pt)
        step = np.sqrt(
            np.maximum((delta_r.astype(np.float64) + DELTA_R_OFFSET) ** 2 - phirel.astype(np.float64) ** 2, 0)
        )
    above, below = jet_eta + step, jet_eta - step
    off_above = np.abs(energy(pt, above, mass) - total)
    off_below = np.abs(energy(pt, below, mass) - total)
    near = np.where(off_above <= off_below, above, below)
    # of the two directions with this energy, the one that lies between the saturation and the radius; else the nearer
    same, other = (np.hypot(eta - jet_eta, phirel) for eta in (from_energy, -from_energy))
    ring = (DELTA_R_OFFSET + radius) / 2
    off_same, off_other = (np.maximum(np.abs(x - ring) - (radius - DELTA_R_OFFSET) / 2, 0) for x in (same, other))
    chosen = (off_same < off_other) | ((off_same == off_other) & (same <= other))
    side = np.where(chosen, from_energy, -from_energy)
    rebuilt = np.where(delta_r >= SATURATED, side, near)
    rebuilt = np.where(np.isfinite(total + delta_r + phirel), rebuilt, np.nan)  # replaced and counted later
    return np.where(np.isnan(known), rebuilt, known).astype(np.float32)
