"""Generator jets of reconstructed jets, one to one, and their flavours.

Of all pairs of a jet and a generator jet of an event within the cone, the nearest is matched first, then the nearest
pair of the remaining ones, and so on. A jet without a partner is a pile-up jet.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jettagger.kinematics import delta_r
from jettagger.truth.matching import nearest_first, pairs
from jettagger.types import Array, Ints

__all__ = ["hard_parton_flavour", "matched_generator_jets"]

#: status of outgoing particles of the hard process
_OUTGOING = 23


def matched_generator_jets(
    jet_event: Ints,
    jet_eta: Array,
    jet_phi: Array,
    gen_event: Ints,
    gen_eta: Array,
    gen_phi: Array,
    n_events: int,
    cone: float,
) -> Ints:
    """The generator jet of each jet.

    Parameters
    ----------
    jet_event, gen_event : int64[jets], int64[generator jets]
        Event of each, in increasing order.
    jet_eta, jet_phi, gen_eta, gen_phi : float[jets], float[generator jets]
    n_events : int
    cone : float
        Maximum distance in pseudorapidity and azimuth.

    Returns
    -------
    int64[jets]
        Index among all generator jets; -1 for pile-up jets.

    Examples
    --------
    >>> zero = np.zeros(2, dtype=int)
    >>> eta, phi = np.array([0.0, 0.15]), np.zeros(2)
    >>> matched_generator_jets(zero, eta, phi, zero[:1], np.array([0.1]), phi[:1], 1, 0.2).tolist()
    [-1, 0]
    """
    jet, gen = pairs(jet_event, gen_event, n_events)
    distance = delta_r(jet_eta[jet], jet_phi[jet], gen_eta[gen], gen_phi[gen])
    near = distance < cone
    return nearest_first(jet[near], gen[near], distance[near], len(jet_event))


def hard_parton_flavour(
    jet_event: Ints,
    jet_eta: Array,
    jet_phi: Array,
    event: Ints,
    particles: Mapping[str, Array],
    n_events: int,
    cone: float,
) -> Ints:
    """The flavour of the hardest outgoing quark or gluon of the hard process in each jet.

    Parameters
    ----------
    jet_event : int64[jets]
    jet_eta, jet_phi : float[jets]
    event : int64[particles]
        Event of each generator particle, in increasing order.
    particles : mapping of str to array[particles]
        ``pt eta phi pdgId status`` of ``GenPart``.
    n_events : int
    cone : float

    Returns
    -------
    int64[jets]
        PDG ID; 0 for none.
    """
    pt, eta, phi, number, status = (particles[name] for name in ("pt", "eta", "phi", "pdgId", "status"))
    kind = np.abs(number)
    index = np.flatnonzero((status == _OUTGOING) & (((kind >= 1) & (kind <= 5)) | (kind == 21)))
    jet, parton = pairs(jet_event, event[index], n_events)
    parton = index[parton]
    inside = delta_r(jet_eta[jet], jet_phi[jet], eta[parton], phi[parton]) < cone
    jet, parton = jet[inside], parton[inside]
    order = np.lexsort((-pt[parton], jet))
    rows, first = np.unique(jet[order], return_index=True)
    found = np.zeros(len(jet_event), dtype=np.int64)
    found[rows] = number[parton[order][first]]
    return found
