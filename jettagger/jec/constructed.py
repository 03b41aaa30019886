"""Features constructed from raw branches: momenta and directions of constituents relative to the jet; the target.

``X`` is a type of constituents. As in ml-jec, the values are in single precision and untransformed:

- ``X_rel_pt``: X_pt / pt
- ``X_deta``: (X_eta - eta) * sign(eta), with sign(0) = 0
- ``X_dphi``: X_phi - phi, within [-pi, pi]
- ``X_dr``: sqrt(X_deta**2 + X_dphi**2)
- target: ln(pt_gen / pt)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jettagger.display import briefly
from jettagger.types import Array, Rows

__all__ = ["GLOBAL", "PT", "PT_GEN", "Construction", "construct", "construction", "log_response"]

#: the block with the features of the jet
GLOBAL = "global"

#: branches of the jet's raw transverse momentum and of the true one, in GeV
PT, PT_GEN = "pt", "pt_gen"


@briefly
class Construction(NamedTuple):
    """How a feature is constructed.

    Parameters
    ----------
    block : str
        Type of constituents.
    quantity : str
        ``rel_pt``, ``deta``, ``dphi`` or ``dr``.
    """

    block: str
    quantity: str

    @property
    def jet(self) -> tuple[str, ...]:
        """Branches of the jet that are needed."""
        return _NEEDED[self.quantity]

    @property
    def constituents(self) -> tuple[str, ...]:
        """Branches of the constituents that are needed."""
        return tuple(f"{self.block}_{name}" for name in self.jet)


_NEEDED = {"rel_pt": (PT,), "deta": ("eta",), "dphi": ("phi",), "dr": ("eta", "phi")}


def construction(feature: str) -> Construction | None:
    """How a feature is constructed, by its name.

    Parameters
    ----------
    feature : str

    Returns
    -------
    Construction or None
        None for all other names, which are those of branches.

    Examples
    --------
    >>> construction("ch_rel_pt"), construction("ch_pt")
    (Construction(block='ch', quantity='rel_pt'), None)
    """
    for quantity in _NEEDED:
        block = feature.removesuffix(f"_{quantity}")
        if block not in ("", feature):
            return Construction(block, quantity)
    return None


def construct(made: Construction, columns: Mapping[str, Array], counts: Array) -> Rows:
    """The values of a constructed feature.

    Parameters
    ----------
    made : Construction
    columns : mapping of str to float[n]
        Branches: those of the jet with one value per jet, those of the constituents with those of all jets.
    counts : int[jets]
        Number of constituents in each jet.

    Returns
    -------
    float32[sum of counts]

    Examples
    --------
    >>> jets = {"eta": np.array([-1.0, 1.0]), "ch_eta": np.array([-1.5, 0.5, 1.5])}
    >>> construct(Construction("ch", "deta"), jets, np.array([1, 2])).tolist()
    [0.5, -0.5, 0.5]
    """

    def both(name: str) -> tuple[Rows, Rows]:
        jet: Rows = np.repeat(np.asarray(columns[name], dtype=np.float32), counts)
        return np.asarray(columns[f"{made.block}_{name}"], dtype=np.float32), jet

    if made.quantity == "rel_pt":
        pt, jet_pt = both(PT)
        return np.divide(pt, jet_pt, dtype=np.float32)
    if made.quantity == "deta":
        return _delta_eta(*both("eta"))
    if made.quantity == "dphi":
        return _delta_phi(*both("phi"))
    deta, dphi = _delta_eta(*both("eta")), _delta_phi(*both("phi"))
    return np.sqrt(deta * deta + dphi * dphi, dtype=np.float32)


def _delta_eta(eta: Rows, jet: Rows) -> Rows:
    return (eta - jet) * np.sign(jet)


def _delta_phi(phi: Rows, jet: Rows) -> Rows:
    pi, turn = np.float32(np.pi), np.float32(2 * np.pi)
    delta = phi - jet
    delta = np.where(delta > pi, delta - turn, delta)
    wrapped: Rows = np.where(delta < -pi, delta + turn, delta)
    return wrapped


def log_response(pt_gen: Array, pt: Array) -> Rows:
    """The target, ln(pt_gen / pt).

    Parameters
    ----------
    pt_gen, pt : float[jets]
        True and raw transverse momentum in GeV, above 0.

    Returns
    -------
    float32[jets]
    """
    ratio = np.asarray(pt_gen, dtype=np.float32) / np.asarray(pt, dtype=np.float32)
    return np.log(ratio, dtype=np.float32)
