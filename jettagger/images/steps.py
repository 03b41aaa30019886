"""Positions of constituents in canonical images: translated, rotated, scaled, mirrored.

Sources: J. Cogan et al., arXiv:1407.5675 and L. de Oliveira et al., arXiv:1511.05190 (leading subjet, second subjet
below, mirrored to the side with more momentum); S. Macaluso and D. Shih, arXiv:1803.00107 and G. Kasieczka et al.,
arXiv:1902.09914 (centroid, principal axis, before pixels are filled).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jettagger.arguments import guard
from jettagger.display import briefly
from jettagger.images.settings import ImageSteps
from jettagger.types import Array, Bools, Floats, Ints

__all__ = ["LATTICE", "JetSegments", "canonical_positions"]

#: positions are rounded to multiples of this, so that rounding errors move nothing across an axis
LATTICE = 2.0**-16

#: moments differ if their difference exceeds this fraction of their sum
_ISOTROPIC = 1e-6


@briefly
class JetSegments(NamedTuple):
    """Constituents of jets, one jet after the other; no jet is empty."""

    starts: Ints
    counts: Ints

    def sum(self, values: Array) -> Floats:
        """Sum for each jet, float64[jets], of float64[constituents]."""
        return np.add.reduceat(values, self.starts)

    def spread(self, values: Array) -> Array:
        """The value of its jet for each constituent."""
        return np.repeat(values, self.counts)

    def hardest(self, values: Array) -> Ints:
        """The first constituent with the largest value, int64[jets]."""
        peaks = np.flatnonzero(values == self.spread(np.maximum.reduceat(values, self.starts)))
        # the first peak at or after the first constituent
        return peaks[np.searchsorted(peaks, self.starts)]


def canonical_positions(
    steps: ImageSteps, pt: Floats, eta: Floats, phi: Floats, jets: JetSegments, scale: Floats | None = None
) -> tuple[Floats, Floats, Bools]:
    """The positions after all steps, in their order: translation, rotation, scale, reflections.

    Parameters
    ----------
    steps : ImageSteps
    pt, eta, phi : float64[constituents]
        GeV; relative to the axis of the jet, phi in radians.
    jets : JetSegments
    scale : float64[jets], optional
        Factors on the distances from the centre.

    Returns
    -------
    eta, phi : float64[constituents]
        Multiples of `LATTICE`.
    rotated : bool[jets]
        False for jets without a direction, and without a rotation.

    Examples
    --------
    >>> steps = ImageSteps(centre="centroid", rotate="principal")
    >>> pt, eta = np.array([2.0, 1.0]), np.array([0.3, -0.3])
    >>> jet = JetSegments(np.array([0]), np.array([2]))
    >>> eta, phi, _ = canonical_positions(steps, pt, eta, np.zeros(2), jet)
    >>> abs(eta.round(3)).tolist(), phi.round(3).tolist()
    ([0.0, 0.0], [0.2, -0.4])
    """
    rotated = np.zeros(len(jets.starts), dtype=bool)
    subjets = None
    if steps.centre == "leading" or steps.rotate == "second":
        subjets = _subjets(steps.subjet_radius, pt, eta, phi, jets)
    if steps.centre == "centroid":
        eta, phi = _shifted(eta, phi, *_centroid(pt, eta, phi, jets), jets)
    elif steps.centre == "leading" and subjets is not None:
        eta, phi = _shifted(eta, phi, *subjets.leading, jets)
    if steps.rotate != "none":
        cosine, sine, rotated = _principal(pt, eta, phi, jets)
        by_axis = rotated
        if subjets is not None and steps.rotate == "second":
            # the direction to the second subjet becomes that of decreasing phi
            x, y = (subjets.second[axis] - subjets.leading[axis] for axis in (0, 1))
            length = np.hypot(x, y)
            found = subjets.two & (length > LATTICE)
            length = np.where(found, length, 1.0)
            cosine, sine = np.where(found, -y / length, cosine), np.where(found, -x / length, sine)
            rotated, by_axis = rotated | found, rotated & ~found
        if scale is not None:
            cosine, sine = cosine * scale, sine * scale
        cosine, sine = jets.spread(cosine), jets.spread(sine)
        eta, phi = cosine * eta - sine * phi, sine * eta + cosine * phi
    elif scale is not None:
        factor = jets.spread(scale)
        eta, phi = eta * factor, phi * factor
    eta, phi = np.rint(eta / LATTICE) * LATTICE, np.rint(phi / LATTICE) * LATTICE
    margin = _ISOTROPIC * jets.sum(pt)
    if steps.rotate != "none" and by_axis.any():  # a line has two directions: that of more pt is the upper one
        upwards = np.where(by_axis, _half(pt, phi, jets, margin), 1.0)
        if (upwards < 0).any():
            turn = jets.spread(upwards)
            eta, phi = eta * turn, phi * turn
    if steps.flip in ("eta", "both"):
        eta = eta * jets.spread(_half(pt, eta, jets, margin))
    if steps.flip in ("phi", "both"):
        phi = phi * jets.spread(_half(pt, phi, jets, margin))
    return eta, phi, rotated


def _half(pt: Floats, position: Floats, jets: JetSegments, margin: Floats) -> Floats:
    """-1 for jets with more pt at negative positions, else 1; constituents at zero are in neither half."""
    return np.where(jets.sum(np.sign(position) * pt) < -margin, -1.0, 1.0)


def _shifted(eta: Floats, phi: Floats, to_eta: Floats, to_phi: Floats, jets: JetSegments) -> tuple[Floats, Floats]:
    return eta - jets.spread(to_eta), phi - jets.spread(to_phi)


def _centroid(pt: Floats, eta: Floats, phi: Floats, jets: JetSegments) -> tuple[Floats, Floats]:
    """Means weighted with pt; zero for jets without pt."""
    total = jets.sum(pt)
    total = np.where(total > 0, total, 1.0)
    return jets.sum(pt * eta) / total, jets.sum(pt * phi) / total


def _principal(pt: Floats, eta: Floats, phi: Floats, jets: JetSegments) -> tuple[Floats, Floats, Bools]:
    """Cosine and sine of the rotation of the principal axis to that of phi, and whether there is such an axis."""
    weighted_eta, weighted_phi = pt * eta, pt * phi
    eta_eta, phi_phi = jets.sum(weighted_eta * eta), jets.sum(weighted_phi * phi)
    difference, mixed = eta_eta - phi_phi, 2 * jets.sum(weighted_eta * phi)
    total = jets.sum(pt)
    size = np.hypot(difference, mixed)
    found = (size > _ISOTROPIC * (eta_eta + phi_phi)) & (size > LATTICE**2 * total)
    angle = np.where(found, np.pi / 2 - 0.5 * np.arctan2(mixed, difference), 0.0)
    return np.cos(angle), np.sin(angle), found


@briefly
class _Subjets(NamedTuple):
    """Centroids of the two subjets (eta, phi), and whether there is a second one."""

    leading: tuple[Floats, Floats]
    second: tuple[Floats, Floats]
    two: Bools


def _subjets(radius: float, pt: Floats, eta: Floats, phi: Floats, jets: JetSegments) -> _Subjets:
    """Cones around the hardest constituent, and around the hardest one outside of the first cone."""
    # centres of cells lie on a grid: some distances equal the radius, but for rounding
    edge = (radius + 0.5 * LATTICE) ** 2

    def cone(seed: Ints) -> Bools:
        return (eta - jets.spread(eta[seed])) ** 2 + (phi - jets.spread(phi[seed])) ** 2 <= edge

    first = cone(jets.hardest(pt))
    rest = np.where(first, -1.0, pt)  # of the first cone, should nothing be left
    seed = jets.hardest(rest)
    return _Subjets(
        _centroid(pt * first, eta, phi, jets), _centroid(pt * (cone(seed) & ~first), eta, phi, jets), rest[seed] > 0
    )


# not the methods of JetSegments, which are called for every few jets
guard(globals(), "canonical_positions")
