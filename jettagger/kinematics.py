"""Kinematics of particles and of pairs, in the floating-point type of the inputs: GeV, radians."""

from __future__ import annotations

import numpy as np

from jettagger.types import Array

__all__ = ["delta_phi", "delta_r", "energy", "px", "py", "pz"]


def delta_phi(phi: Array, other: Array) -> Array:
    """The difference ``phi - other`` in radians, wrapped to (-pi, pi].

    Parameters
    ----------
    phi, other : float array
        Azimuths in radians, of any shapes that broadcast.

    Returns
    -------
    float array
        Of the broadcast shape, in the floating-point type of the inputs.

    Examples
    --------
    >>> delta_phi(np.array([3.0]), np.array([-3.0])).round(4).tolist()
    [-0.2832]
    """
    two_pi = 2 * np.pi
    difference = phi - other
    return difference - two_pi * np.ceil((difference - np.pi) / two_pi)


def delta_r(eta: Array, phi: Array, other_eta: Array, other_phi: Array) -> Array:
    """The distance sqrt(deta^2 + dphi^2) in pseudorapidity and azimuth.

    Parameters
    ----------
    eta, phi, other_eta, other_phi : float array
        Pseudorapidities, and azimuths in radians, of any shapes that broadcast.

    Returns
    -------
    float array
        Of the broadcast shape.

    Examples
    --------
    >>> delta_r(np.array([0.3]), np.array([3.0]), np.array([0.0]), np.array([3.0 - 2 * np.pi + 0.4])).round(4).tolist()
    [0.5]
    """
    return np.hypot(eta - other_eta, delta_phi(phi, other_phi))


def energy(pt: Array, eta: Array, mass: Array) -> Array:
    """Energy in GeV from transverse momentum, pseudorapidity and mass.

    Parameters
    ----------
    pt, eta, mass : float array
        In GeV, 1, GeV, of any shapes that broadcast.

    Returns
    -------
    float array
        Of the broadcast shape, in GeV.

    Examples
    --------
    >>> energy(np.array([3.0]), np.array([0.0]), np.array([4.0])).tolist()
    [5.0]
    """
    momentum = pt * np.cosh(eta)
    return np.sqrt(momentum * momentum + mass * mass)


def px(pt: Array, phi: Array) -> Array:
    """Momentum along x in GeV; pt in GeV and phi in radians are broadcast."""
    return pt * np.cos(phi)


def py(pt: Array, phi: Array) -> Array:
    """Momentum along y in GeV; pt in GeV and phi in radians are broadcast."""
    return pt * np.sin(phi)


def pz(pt: Array, eta: Array) -> Array:
    """Momentum along the beam in GeV; pt in GeV and eta are broadcast."""
    return pt * np.sinh(eta)


def __dir__() -> list[str]:
    return sorted(__all__)
