"""Origin of fat jets from the generator particles of NanoAOD.

Labels are counts, so that classes are expressions (``FatJet_genResonance == 25 and FatJet_genGluons == 2``).

Matching of jets:

- A resonance is a generator particle with one of the PDG IDs in ``resonances`` that has legs.
- Its legs are the quarks, gluons, photons, electrons, muons and taus that are daughters of its last copy, and those of
  the resonances in its decay (the four fermions of H -> WW, the b and the fermions of t -> bW). Neutrinos do not count.
- A jet is matched to a resonance if the resonance and at least one of its legs are within ``radius`` of the jet axis.
  If several match, the one with most legs inside is taken, then one that does not come from another resonance, then
  the nearest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.errors import MissingColumns
from jettagger.kinematics import delta_r
from jettagger.truth.matching import pairs
from jettagger.truth.nanoaod import GeneratorParticles, particles_of
from jettagger.types import Array, Bools, Ints

__all__ = ["LEGS", "RESONANCES", "generator_labels", "legs_of"]

#: column -> absolute PDG IDs of the particles that it counts
LEGS: dict[str, tuple[int, ...]] = {
    "genBottoms": (5,),
    "genCharms": (4,),
    "genLights": (1, 2, 3),
    "genGluons": (21,),
    "genPhotons": (22,),
    "genElectrons": (11,),
    "genMuons": (13,),
    "genTaus": (15,),
}

#: Higgs boson and heavier Higgs bosons, W, Z, top
RESONANCES = (25, 35, 36, 37, 24, 23, 6)


def generator_labels(
    events: Any, resonances: Iterable[int] = RESONANCES, radius: float = 0.8, collection: str = "FatJet"
) -> dict[str, Any]:
    """The origin of each jet.

    Parameters
    ----------
    events : NanoEvents
        With the jets (eta, phi) and ``GenPart`` (eta, phi, mass, pdgId, mothers).
    resonances : iterable of int
        Absolute PDG IDs.
    radius : float
        Maximum distance of resonance and legs from the jet axis.
    collection : str
        The collection of jets.

    Returns
    -------
    dict of str to awkward array
        Jagged like the jets: ``genResonance`` (absolute PDG ID, 0 for none), ``genResonanceMass`` (GeV, -1 for none),
        ``genLegs`` (legs of the resonance), ``genInside`` (those inside the jet), and for each of `LEGS` the number of
        this kind inside.

    Raises
    ------
    MissingColumns
        If the events have no generator particles.
    """
    import awkward as ak

    if "GenPart" not in events.fields:
        raise MissingColumns("labels from generator particles need the collection GenPart, which these events lack")
    own = events[collection]
    counts = ak.to_numpy(ak.num(own.eta))
    jet_event = np.repeat(np.arange(len(counts)), counts)
    jet_eta, jet_phi = (ak.to_numpy(ak.flatten(own[name])) for name in ("eta", "phi"))
    parts = particles_of(events.GenPart)
    legs, owners = legs_of(parts, np.asarray(list(resonances)))
    unique, owner_of = np.unique(owners, return_inverse=True)
    # every resonance with every jet of its event
    jet, resonance = pairs(jet_event, parts.event[unique], len(counts))
    first = np.full((len(unique), 2), 0)
    by_resonance = np.argsort(resonance, kind="stable")
    first[:, 0] = np.searchsorted(resonance[by_resonance], np.arange(len(unique)), side="left")
    first[:, 1] = np.searchsorted(resonance[by_resonance], np.arange(len(unique)), side="right")
    # every leg with every pair of its resonance
    repeats = first[owner_of, 1] - first[owner_of, 0]
    leg = np.repeat(legs, repeats)
    start = np.repeat(first[owner_of, 0] - np.cumsum(repeats) + repeats, repeats)
    pair = by_resonance[start + np.arange(len(leg))]
    jets = (jet_eta, jet_phi)
    near = _distance(jets, jet[pair], parts, leg) < radius
    inside = np.bincount(pair[near], minlength=len(jet))
    distance = _distance(jets, jet, parts, unique[resonance])
    good = np.flatnonzero((distance < radius) & (inside > 0))
    above = _resonance_above(parts, unique, np.asarray(list(resonances)))
    order = good[np.lexsort((distance[good], above[resonance[good]], -inside[good], jet[good]))]
    found, position = np.unique(jet[order], return_index=True)
    chosen = order[position]
    columns = {
        name: np.zeros(len(jet_event), dtype=np.int32) for name in ("genResonance", "genLegs", "genInside", *LEGS)
    }
    mass = np.full(len(jet_event), -1, dtype=np.float32)
    columns["genResonance"][found] = np.abs(parts.number[unique[resonance[chosen]]])
    columns["genLegs"][found] = np.bincount(owner_of, minlength=len(unique))[resonance[chosen]]
    columns["genInside"][found] = inside[chosen]
    mass[found] = parts.mass[unique[resonance[chosen]]]
    for name, numbers in LEGS.items():
        mine = near & np.isin(np.abs(parts.number[leg]), numbers)
        columns[name][found] = np.bincount(pair[mine], minlength=len(jet))[chosen]
    everything = {"genResonance": columns.pop("genResonance"), "genResonanceMass": mass, **columns}
    return {name: ak.unflatten(values, counts) for name, values in everything.items()}


def legs_of(parts: GeneratorParticles, numbers: Ints) -> tuple[Ints, Ints]:
    """The legs of resonances, each with every resonance it comes from.

    Parameters
    ----------
    parts : GeneratorParticles
    numbers : int64[k]
        Absolute PDG IDs of the resonances.

    Returns
    -------
    int64[n], int64[n]
        Indices among the particles of the legs and of their resonances.
    """
    kind = np.abs(parts.number)
    resonant = np.isin(kind, numbers)
    copied = np.zeros(len(kind), dtype=bool)
    same = np.flatnonzero((parts.mother >= 0) & (parts.number == parts.number[parts.mother]))
    copied[parts.mother[same]] = True
    known = np.isin(kind, [number for group in LEGS.values() for number in group])
    direct = np.flatnonzero(known & (parts.mother >= 0))
    mother = parts.mother[direct]
    direct = direct[resonant[mother] & ~copied[mother]]
    legs, owners = [direct], [parts.mother[direct]]
    leg, here = direct, parts.mother[direct]
    while len(leg):
        up = parts.mother[here]
        going = (up >= 0) & resonant[up]
        leg, here, up = leg[going], here[going], up[going]
        other = parts.number[up] != parts.number[here]  # not a copy of the same
        legs.append(leg[other])
        owners.append(up[other])
        here = up
    return np.concatenate(legs), np.concatenate(owners)


def _resonance_above(parts: GeneratorParticles, index: Ints, numbers: Ints) -> Bools:
    """Whether a resonance comes from another one."""
    resonant = np.isin(np.abs(parts.number), numbers)
    found, here = np.zeros(len(index), dtype=bool), index.copy()
    going = np.arange(len(index))
    while len(going):
        up = parts.mother[here]
        alive = up >= 0
        going, here, up = going[alive], here[alive], up[alive]
        found[going[resonant[up] & (parts.number[up] != parts.number[here])]] = True
        here = up
    return found


def _distance(jets: tuple[Array, Array], jet: Ints, parts: GeneratorParticles, part: Ints) -> Array:
    return delta_r(jets[0][jet], jets[1][jet], parts.eta[part], parts.phi[part])


guard(globals())
