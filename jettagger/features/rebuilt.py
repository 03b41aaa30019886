"""Variables that files do not store: signed transverse impact parameters, hadronic fractions, covariances.

The sign of an impact parameter is that of the scalar product of the point of closest approach with the jet direction
(CMSSW's ``IPTools::signedTransverseImpactParameter``). Fractions and covariances are parametrised by typical values;
the effect on scores is given in ``docs/models.md``.
"""

from __future__ import annotations

import numpy as np

from jettagger.kinematics import delta_phi
from jettagger.types import Array

__all__ = [
    "d_dxy_d_phi",
    "d_dz_d_lambda",
    "eta_variance",
    "hcal_fraction",
    "momentum_variance",
    "phi_variance",
    "sign_ambiguous",
    "sip2d",
    "sip2d_significance",
    "squared_error",
    "track_of_other_vertex",
]

#: step with which azimuths are stored; a track closer to the jet axis may be on either side
PHI_STEP = 6e-4


def sip2d(dxy: Array, phi: Array, jet_phi: Array) -> Array:
    """Transverse impact parameter in cm, positive if the point of closest approach is on the side of the jet.

    Parameters
    ----------
    dxy : float[tracks]
        Transverse impact parameter in cm, 0 without a track.
    phi, jet_phi : float[tracks]
        Azimuth of the track and of the jet, rad.

    Returns
    -------
    float32[tracks]

    Examples
    --------
    >>> one = np.ones(1)
    >>> sip2d(0.5 * one, 0 * one, 0.2 * one).tolist(), sip2d(0.5 * one, 0.2 * one, 0 * one).tolist()
    ([0.5], [-0.5])
    """
    forward = dxy * np.sin(np.float64(1) * jet_phi - phi) >= 0
    return np.where(forward, np.abs(dxy), -np.abs(dxy)).astype(np.float32)


def sip2d_significance(dxy: Array, dxyerr: Array, phi: Array, jet_phi: Array, vertex_error: Array) -> Array:
    """Significance of the transverse impact parameter; its uncertainty includes that of the primary vertex.

    Parameters
    ----------
    dxy, dxyerr : float[tracks]
        In cm, 0 without a track.
    phi, jet_phi : float[tracks]
        rad.
    vertex_error : float[tracks]
        Transverse uncertainty of the primary vertex, cm.

    Returns
    -------
    float32[tracks]
        0 without a track.
    """
    value = sip2d(dxy, phi, jet_phi)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(value == 0, np.float32(0), value / np.hypot(dxyerr, vertex_error)).astype(np.float32)


def hcal_fraction(pdg_id: Array) -> Array:
    """Fraction of the energy in the hadronic calorimeter by particle type: neutral hadrons 1, forward hadrons 0.8.

    Parameters
    ----------
    pdg_id : int[candidates]

    Returns
    -------
    float32[tracks]

    Examples
    --------
    >>> hcal_fraction(np.array([130, 1, 22, 211, 2])).tolist()
    [1.0, 0.800000011920929, 0.0, 0.0, 0.0]
    """
    code = np.abs(pdg_id)
    return np.where(code == 130, np.float32(1), np.where(code == 1, np.float32(0.8), np.float32(0)))


def _angle(pt: Array, eta: Array, constant: float, scattering: float) -> Array:
    """Uncertainty of a track angle, rad: a constant, and multiple scattering that decreases with momentum."""
    wide = pt.astype(np.float64)
    return np.sqrt(constant**2 + (scattering / wide) ** 2 * np.cosh(eta.astype(np.float64)))


def _phi_error(pt: Array, eta: Array) -> Array:
    return _angle(pt, eta, 2e-5, 1.8e-3)


def _lambda_error(pt: Array, eta: Array) -> Array:
    return _angle(pt, eta, 3e-4, 2.0e-3) / np.cosh(eta.astype(np.float64)) ** 2


def phi_variance(pt: Array, eta: Array, has_track: Array) -> Array:
    """Variance of a track's azimuth, rad^2; 0 without a track."""
    return np.where(has_track != 0, _phi_error(pt, eta) ** 2, 0)


def eta_variance(pt: Array, eta: Array, has_track: Array) -> Array:
    """Variance of a track's dip angle, rad^2; 0 without a track."""
    return np.where(has_track != 0, _lambda_error(pt, eta) ** 2, 0)


def d_dxy_d_phi(pt: Array, eta: Array, dxyerr: Array) -> Array:
    """Covariance of azimuth and transverse impact parameter, cm rad; 0 without a track."""
    return -0.85 * _phi_error(pt, eta) * dxyerr


def d_dz_d_lambda(pt: Array, eta: Array, dzerr: Array) -> Array:
    """Covariance of dip angle and longitudinal impact parameter, cm rad; 0 without a track."""
    return -0.85 * _lambda_error(pt, eta) * dzerr


def squared_error(error: Array) -> Array:
    """Squared uncertainty of an impact parameter, cm^2; 0 without a track."""
    return np.square(error.astype(np.float64))


def momentum_variance(pt: Array, eta: Array, has_track: Array) -> Array:
    """Variance of charge over momentum, 1/GeV^2; 0 without a track."""
    wide, direction = pt.astype(np.float64), eta.astype(np.float64)
    relative = (0.010 + 2.5e-5 * wide) * (1 + 0.6 * direction**2)
    return np.where(has_track != 0, (relative / (wide * np.cosh(direction))) ** 2, 0)


def sign_ambiguous(dxy: Array, phi: Array, jet_phi: Array) -> Array:
    """One for tracks so close to the jet axis that the rounding of azimuths makes the sign ambiguous.

    Parameters
    ----------
    dxy : float[tracks]
        Transverse impact parameter in cm.
    phi, jet_phi : float[tracks]
        rad.

    Returns
    -------
    float32[tracks]
    """
    return ((dxy != 0) & (np.abs(delta_phi(phi, jet_phi)) < PHI_STEP)).astype(np.float32)


def track_of_other_vertex(dxy: Array, dz: Array, eta: Array, sip3d: Array) -> Array:
    """One for tracks whose stored impact parameters refer to a vertex other than that of their signed 3D one.

    Parameters
    ----------
    dxy, dz : float[tracks]
        In cm.
    eta : float[tracks]
    sip3d : float[tracks]
        Signed 3D impact parameter, cm.

    Returns
    -------
    float32[tracks]
    """
    distance = np.hypot(dxy, dz / np.cosh(eta))
    return ((sip3d != 0) & (np.abs(distance / np.abs(sip3d) - 1) > 0.01)).astype(np.float32)
