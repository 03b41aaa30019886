"""How much of a resonance that decays to quarks is inside each jet."""

from __future__ import annotations

from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.errors import MissingColumns
from jettagger.kinematics import delta_r
from jettagger.truth.labels import RESONANCES, legs_of
from jettagger.truth.matching import pairs
from jettagger.truth.nanoaod import particles_of

__all__ = ["merging_labels"]


def merging_labels(events: Any, resonance: int = 6, radius: float = 0.8, collection: str = "FatJet") -> dict[str, Any]:
    """The quarks of a resonance inside each jet.

    Legs are those of `generator_labels`: quarks and charged leptons of the last copy and of the resonances in its decay
    (the b and the fermions of t -> bW). Resonances with a leg that is not a quark do not count.

    Parameters
    ----------
    events : NanoEvents
        With the jets (eta, phi) and ``GenPart`` (eta, phi, mass, pdgId, mothers).
    resonance : int
        Its absolute PDG ID: 6 for top quarks, 24 for W bosons, 25 for Higgs bosons.
    radius : float
        Maximum distance of a quark from the jet axis.
    collection : str
        The collection of jets.

    Returns
    -------
    dict of str to int32 awkward array
        Jagged like the jets: ``genQuarks``, the quarks of the resonance of which most are inside the jet, or of any if
        none has one inside (0: no such resonance in the event), and ``genQuarksInside``, those inside.

    Raises
    ------
    MissingColumns
        If the events have no generator particles.
    """
    import awkward as ak

    if "GenPart" not in events.fields:
        raise MissingColumns("labels from generator particles need the collection GenPart, which these events lack")
    jets = events[collection]
    counts = ak.to_numpy(ak.num(jets.eta))
    jet_event = np.repeat(np.arange(len(counts)), counts)
    jet_eta, jet_phi = (ak.to_numpy(ak.flatten(jets[name])) for name in ("eta", "phi"))
    parts = particles_of(events.GenPart)
    legs, owners = legs_of(parts, np.asarray(RESONANCES))
    mine = np.abs(parts.number[owners]) == resonance
    legs, (unique, owner) = legs[mine], np.unique(owners[mine], return_inverse=True)
    n_legs = np.bincount(owner, minlength=len(unique))
    quarks = np.bincount(owner, weights=np.abs(parts.number[legs]) <= 5, minlength=len(unique))
    hadronic = (quarks == n_legs)[owner]
    order = np.argsort(legs[hadronic], kind="stable")  # by event, as particles are
    legs, owner = legs[hadronic][order], owner[hadronic][order]
    here = np.zeros(len(counts), dtype=np.int64)
    np.maximum.at(here, parts.event[legs], n_legs[owner])
    of_jet, inside = here[jet_event], np.zeros(len(jet_event), dtype=np.int64)
    jet, leg = pairs(jet_event, parts.event[legs], len(counts))
    near = delta_r(jet_eta[jet], jet_phi[jet], parts.eta[legs[leg]], parts.phi[legs[leg]]) < radius
    # one entry per jet and resonance with a leg inside, the fewest legs first
    pair, number = np.unique(jet[near] * max(len(unique), 1) + owner[leg[near]], return_counts=True)
    rank = np.argsort(number, kind="stable")
    jet, which = np.divmod(pair[rank], max(len(unique), 1))
    inside[jet], of_jet[jet] = number[rank], n_legs[which]
    found = {"genQuarks": of_jet, "genQuarksInside": inside}
    return {name: ak.unflatten(values.astype(np.int32), counts) for name, values in found.items()}


guard(globals())
