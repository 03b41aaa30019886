"""One batch of events, from the generator to labelled jets: the common input of both output formats."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jettagger.display import Brief
from jettagger.kinematics import delta_r
from jettagger.simulation import labels as truth_labels
from jettagger.simulation.cards import DetectorCard
from jettagger.simulation.detector import Candidates, Vertices, primary_vertices, reconstruct
from jettagger.simulation.generate import Truth, emptied, is_neutrino
from jettagger.simulation.jets import ClusteredJets, Substructure, Vectors, cluster, substructure
from jettagger.simulation.labels import Hadrons, Resonances
from jettagger.simulation.pileup import Pool, add_pileup
from jettagger.simulation.processes import LABELS, Process
from jettagger.simulation.vertices import SecondaryVertices, secondary_vertices
from jettagger.truth.matching import pairs
from jettagger.types import Bools, Floats, Ints

__all__ = ["SimulatedEvents", "match", "process_batch", "pt_with_neutrinos"]

FAT_RADIUS, SMALL_RADIUS = 0.8, 0.4
FAT_MAX_ETA, SMALL_MAX_ETA = 2.4, 4.7
FAT_MIN_PT, SMALL_MIN_PT = 170.0, 20.0
GEN_FAT_MIN_PT, GEN_SMALL_MIN_PT = 100.0, 10.0


@dataclass(frozen=True)
class SimulatedEvents(Brief):
    """All information on a batch of events; jets refer to rows of ``candidates``.

    Attributes
    ----------
    process : Process
    card : DetectorCard
    truth : Truth
    vertices : Vertices
    candidates : Candidates
    fat, small : ClusteredJets
        Stored AK8 and AK4 jets; momenta are uncorrected.
    fat_shape : Substructure
    fat_truth : dict
        See `jettagger.simulation.labels.label_jets`.
    gen : int64[n]
        Truth particles clustered into generator jets.
    gen_fat, gen_small : ClusteredJets
        Generator jets; ``members`` refer to ``gen``.
    gen_fat_mass : float64[n]
        Their soft-drop masses.
    gen_small_pt_nu : float64[n]
        Transverse momenta of the small generator jets with the neutrinos of decays inside, GeV.
    fat_match, small_match : int64[n]
        Row of the generator jet, -1 for none.
    secondary : SecondaryVertices
    resonances : Resonances
    hadrons : Hadrons
    n_pileup : int64[n_events]
        Numbers of pile-up interactions.
    other_event, other_z : int64[n], float64[n]
        Event and z (cm) of the reconstructed pile-up vertices.
    keep : bool[n_events]
        Events that are written.
    """

    process: Process
    card: DetectorCard
    truth: Truth
    vertices: Vertices
    candidates: Candidates
    fat: ClusteredJets
    fat_shape: Substructure
    fat_truth: dict[str, NDArray[Any]]
    small: ClusteredJets
    gen: Ints
    gen_fat: ClusteredJets
    gen_small: ClusteredJets
    gen_fat_mass: Floats
    gen_small_pt_nu: Floats
    fat_match: Ints
    small_match: Ints
    secondary: SecondaryVertices
    resonances: Resonances
    hadrons: Hadrons
    n_pileup: Ints
    other_event: Ints
    other_z: Floats
    keep: Bools


def match(first: ClusteredJets, second: ClusteredJets, n_events: int, cone: float) -> Ints:
    """The jet of ``second`` nearest to each jet of ``first`` in the same event, within ``cone``; -1 for none."""
    left, right = pairs(first.event, second.event, n_events)
    distance = delta_r(first.eta[left], first.phi[left], second.eta[right], second.phi[right])
    near = distance < cone
    left, right, distance = left[near], right[near], distance[near]
    order = np.lexsort((distance, left))
    left, right = left[order], right[order]
    result = np.full(len(first), -1, np.int64)
    rows, position = np.unique(left, return_index=True)
    result[rows] = right[position]
    return result


def process_batch(
    truth: Truth,
    process: Process,
    card: DetectorCard,
    pt_range: tuple[float, float],
    rng: np.random.Generator,
    pool: Pool | None = None,
) -> SimulatedEvents:
    """Detector simulation, jets, labels and vertices of a batch of generated events.

    Parameters
    ----------
    truth : Truth
    process : Process
    card : DetectorCard
    pt_range : tuple of float
        Range of corrected transverse momentum (GeV) of a fat jet that is required to keep an event.
    rng : numpy.random.Generator
    pool : Pool, optional
        Minimum-bias events to overlay.

    Returns
    -------
    SimulatedEvents
    """
    n_events = truth.n_events
    wanted = np.ones(n_events, bool)
    if process.further_b:
        wanted = truth_labels.further_b_quarks(truth) >= process.further_b
        truth = emptied(truth, wanted)  # the detector is simulated for the others only
    vertices = primary_vertices(card, n_events, rng)
    candidates = reconstruct(truth, vertices, card, rng)
    n_pileup, other_event, other_z = np.zeros(n_events, np.int64), np.zeros(0, np.int64), np.zeros(0)
    if pool is not None:
        candidates, n_pileup, other_event, other_z = add_pileup(candidates, vertices, pool, card, rng)
    correction = card["jets"]["correction"]
    momenta = (candidates.px, candidates.py, candidates.pz, candidates.energy)
    weighted = Vectors(*(candidates.puppi * axis for axis in momenta))
    floor = pt_range[0] if process.keep else min(FAT_MIN_PT, pt_range[0])
    fat = _clustered(candidates, weighted, candidates.puppi > 0, n_events, FAT_RADIUS, floor / correction)
    fat = fat.take(np.abs(fat.eta) < FAT_MAX_ETA)
    found = truth_labels.resonances(truth)
    hadrons = truth_labels.heavy_hadrons(truth)
    kind = truth_labels.label_jets(
        fat.event, fat.eta, fat.phi, found, hadrons, n_events, cone=FAT_RADIUS, qcd=process.qcd_labels
    )
    inside = (correction * fat.pt >= pt_range[0]) & (correction * fat.pt < pt_range[1])
    if process.keep:
        stored = inside & np.isin(kind["label"], [LABELS[name] for name in process.keep])
        fat = fat.take(stored)
        kind = {name: values[stored] for name, values in kind.items()}
        inside = inside[stored]
    if process.fatjet:
        keep = np.bincount(fat.event[inside], minlength=n_events) > 0
    else:
        keep = wanted.copy()
    alive = keep[fat.event]
    fat = fat.take(alive)
    kind = {name: values[alive] for name, values in kind.items()}

    used = keep[candidates.event] & (candidates.puppi > 0)
    small = _clustered(candidates, weighted, used, n_events, SMALL_RADIUS, SMALL_MIN_PT / correction)
    small = small.take(np.abs(small.eta) < SMALL_MAX_ETA)

    gen = _generator_particles(truth, keep)
    gen_vectors = Vectors(truth.px, truth.py, truth.pz, truth.energy).take(gen)
    gen_event = truth.event[gen]
    gen_fat = cluster(gen_event, gen_vectors, n_events, radius=FAT_RADIUS, min_pt=GEN_FAT_MIN_PT)
    gen_small = cluster(gen_event, gen_vectors, n_events, radius=SMALL_RADIUS, min_pt=GEN_SMALL_MIN_PT)
    fat_match = match(fat, gen_fat, n_events, 0.5 * FAT_RADIUS)
    small_match = match(small, gen_small, n_events, 0.5 * SMALL_RADIUS)
    needed = np.isin(np.arange(len(gen_fat)), fat_match) | (not process.keep)
    gen_fat_mass = np.full(len(gen_fat), -1.0)
    gen_fat_mass[needed] = substructure(gen_fat.take(needed), gen_vectors, full=False).softdrop_mass
    qcd = kind["genResonanceMass"] < 0
    qcd &= (kind["label"] >= LABELS["QCDbb"]) & (kind["label"] <= LABELS["QCDothers"]) & (fat_match >= 0)
    kind["genResonanceMass"] = np.where(qcd, _pick(gen_fat_mass, fat_match), kind["genResonanceMass"])
    return SimulatedEvents(
        process, card, truth, vertices, candidates, fat, substructure(fat, weighted), kind, small, gen,
        gen_fat, gen_small, gen_fat_mass, pt_with_neutrinos(gen_small, truth, SMALL_RADIUS), fat_match, small_match,
        secondary_vertices(truth, candidates, vertices), found, hadrons, n_pileup, other_event, other_z, keep,
    )  # fmt: skip


def _clustered(
    candidates: Candidates,
    vectors: Vectors,
    used: Bools,
    n_events: int,
    radius: float,
    min_pt: float,
) -> ClusteredJets:
    """Jets of some of the candidates, their members as indices into all."""
    rows = np.flatnonzero(used)
    found = cluster(candidates.event[rows], vectors.take(rows), n_events, radius=radius, min_pt=min_pt)
    return replace(found, members=rows[found.members])


def _pick(values: Floats, index: Ints) -> Floats:
    """Values at indices, -1 where the index is -1."""
    if len(values) == 0:
        return np.full(len(index), -1.0)
    return np.where(index >= 0, values[np.maximum(index, 0)], -1.0)


def pt_with_neutrinos(jets: ClusteredJets, truth: Truth, radius: float) -> Floats:
    """Transverse momenta of generator jets with the neutrinos of decays of hadrons and taus inside.

    Each neutrino is added to the nearest jet axis within the radius. Neutrinos of W, Z and Higgs bosons are not part of
    a jet, as in CMS's generator jets with neutrinos.

    Parameters
    ----------
    jets : ClusteredJets
        Jets of visible particles.
    truth : Truth
    radius : float
        Of the jets.

    Returns
    -------
    float64[n_jets]
        In GeV.
    """
    index = np.flatnonzero((truth.status > 0) & is_neutrino(truth.id))
    parent = truth.mother[index]
    for _ in range(60):
        copies = (parent >= 0) & (truth.id[np.maximum(parent, 0)] == truth.id[index])
        if not np.any(copies):
            break
        parent = np.where(copies, truth.mother[np.maximum(parent, 0)], parent)
    kind = np.abs(truth.id[np.maximum(parent, 0)])
    index = index[(parent >= 0) & ((kind == 15) | ((kind > 100) & (kind < 1_000_000)))]
    px, py = jets.pt * np.cos(jets.phi), jets.pt * np.sin(jets.phi)
    pt = np.hypot(truth.px[index], truth.py[index])
    eta = np.arcsinh(truth.pz[index] / np.maximum(pt, 1e-12))
    phi = np.arctan2(truth.py[index], truth.px[index])
    event = truth.event[index]
    left, right = pairs(event, jets.event, truth.n_events)
    distance = delta_r(eta[left], phi[left], jets.eta[right], jets.phi[right])
    near = distance < radius
    left, right, distance = left[near], right[near], distance[near]
    order = np.lexsort((distance, left))
    rows, first = np.unique(left[order], return_index=True)
    owner = right[order][first]
    px = px + np.bincount(owner, weights=truth.px[index[rows]], minlength=len(jets))
    py = py + np.bincount(owner, weights=truth.py[index[rows]], minlength=len(jets))
    return np.asarray(np.hypot(px, py))


def _generator_particles(truth: Truth, keep: Bools) -> Ints:
    """Visible final particles of selected events, sorted by event and decreasing pt."""
    index = np.flatnonzero((truth.status > 0) & ~is_neutrino(truth.id) & keep[truth.event])
    pt = np.hypot(truth.px[index], truth.py[index])
    near = (np.abs(truth.pz[index]) < np.sinh(5.0) * pt) & (pt > 1e-3)
    index, pt = index[near], pt[near]
    return index[np.lexsort((-pt, truth.event[index]))]
