"""Jet clustering with FastJet on whole arrays."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from jettagger.display import Brief, briefly
from jettagger.errors import require
from jettagger.simulation.generate import offsets_of
from jettagger.types import Floats, Ints

__all__ = ["ClusteredJets", "Substructure", "Vectors", "cluster", "substructure"]


@briefly
class Vectors(NamedTuple):
    """Four-vectors as flat arrays, float64[n], in GeV."""

    px: Floats
    py: Floats
    pz: Floats
    energy: Floats

    def take(self, index: Any) -> Vectors:
        """A selection or reordering."""
        return Vectors(*(axis[index] for axis in self))


@dataclass(frozen=True)
class ClusteredJets(Brief):
    """Jets, flat, sorted by event and decreasing transverse momentum.

    Attributes
    ----------
    event : int64[n]
    pt, eta, phi, mass, energy : float64[n]
        Those of the sum of the constituents, GeV.
    counts : int64[n]
        Number of constituents.
    members : int64[sum(counts)]
        Constituents as flat indices into the input of `cluster`, in decreasing order of transverse momentum if the
        input is sorted in this way.
    """

    event: Ints
    pt: Floats
    eta: Floats
    phi: Floats
    mass: Floats
    energy: Floats
    counts: Ints
    members: Ints

    def __len__(self) -> int:
        return len(self.event)

    @property
    def owner(self) -> Ints:
        """The jet of each entry of ``members``."""
        return np.repeat(np.arange(len(self.event)), self.counts)

    def take(self, keep: Any) -> ClusteredJets:
        """Jets where the mask is true."""
        return ClusteredJets(
            self.event[keep], self.pt[keep], self.eta[keep], self.phi[keep], self.mass[keep],
            self.energy[keep], self.counts[keep], self.members[np.repeat(keep, self.counts)],
        )  # fmt: skip


@cache
def _fastjet() -> Any:
    """FastJet, without its banner (which asks to cite EPJC 72 (2012) 1896) in the output of commands."""
    import awkward as ak

    module = require("fastjet", "sim", "clustering jets")
    one = ak.Array([{"px": 1.0, "py": 0.0, "pz": 0.0, "E": 1.0}], with_name="Momentum4D")
    sys.stdout.flush()
    saved, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        module.ClusterSequence(one, module.JetDefinition(module.antikt_algorithm, 0.4))
        ctypes.CDLL(None).fflush(None)
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(nowhere)
    return module


def _records(vectors: Vectors, counts: Ints) -> Any:
    import awkward as ak

    columns = {"px": vectors.px, "py": vectors.py, "pz": vectors.pz, "E": vectors.energy}
    return ak.unflatten(ak.zip(columns, with_name="Momentum4D"), counts)


def cluster(event: Ints, vectors: Vectors, n_events: int, *, radius: float, min_pt: float) -> ClusteredJets:
    """Anti-kt jets of all events.

    Parameters
    ----------
    event : int64[n]
        Event of each input, sorted.
    vectors : Vectors
    n_events : int
    radius : float
    min_pt : float
        Minimum transverse momentum of jets, GeV.

    Returns
    -------
    ClusteredJets

    Raises
    ------
    MissingExtra
        If fastjet is not installed.
    """
    import awkward as ak

    fastjet = _fastjet()
    counts = np.bincount(event, minlength=n_events)
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    sequence = fastjet.ClusterSequence(_records(vectors, counts), definition)
    index = sequence.constituent_index(min_pt=min_pt)
    per_event = ak.to_numpy(ak.num(index, axis=1))
    sizes = ak.to_numpy(ak.flatten(ak.num(index, axis=2))).astype(np.int64)
    jet_event = np.repeat(np.arange(n_events), per_event)
    start = offsets_of(counts)[:-1]
    owner = np.repeat(np.arange(len(sizes)), sizes)
    members = ak.to_numpy(ak.flatten(index, axis=None)).astype(np.int64) + start[jet_event[owner]]
    # fastjet lists constituents as it merged them; the input's own order is by pt
    members = members[np.lexsort((members, owner))]

    def total(axis: Floats) -> Floats:
        return np.bincount(owner, weights=axis[members], minlength=len(sizes)).astype(np.float64)

    sums = [total(axis) for axis in vectors]
    pt = np.hypot(sums[0], sums[1])
    order = np.lexsort((-pt, jet_event))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    moved = np.argsort(rank[owner], kind="stable")
    mass2 = sums[3] ** 2 - sums[0] ** 2 - sums[1] ** 2 - sums[2] ** 2
    return ClusteredJets(
        jet_event[order],
        pt[order],
        np.arcsinh(sums[2] / np.maximum(pt, 1e-12))[order],
        np.arctan2(sums[1], sums[0])[order],
        np.sqrt(np.maximum(mass2, 0.0))[order],
        sums[3][order],
        sizes[order],
        members[moved],
    )


@dataclass(frozen=True)
class Substructure(Brief):
    """Groomed mass (soft drop, beta 0, zcut 0.1), N-subjettiness 1 to 4 and the two soft-drop subjets of jets.

    ``subjet_*`` are float64[n, 2], 0 if there is no second one; ``tau`` is float64[n, 4].
    """

    softdrop_mass: Floats
    tau: Floats
    subjet_pt: Floats
    subjet_eta: Floats
    subjet_phi: Floats
    subjet_mass: Floats


def substructure(jets: ClusteredJets, vectors: Vectors, *, radius: float = 0.8, full: bool = True) -> Substructure:
    """Substructure of jets from their constituents.

    Parameters
    ----------
    jets : ClusteredJets
    vectors : Vectors
        The input that ``jets.members`` refers to.
    radius : float
    full : bool
        Whether to compute N-subjettiness and subjets in addition to the soft-drop mass.

    Returns
    -------
    Substructure
    """
    number = len(jets)
    tau = np.zeros((number, 4))
    sub = {name: np.zeros((number, 2)) for name in ("pt", "eta", "phi", "mass")}
    if number == 0:
        return Substructure(np.zeros(0), tau, sub["pt"], sub["eta"], sub["phi"], sub["mass"])
    vectors = vectors.take(jets.members)
    mass, parts = _soft_drop(vectors, jets.counts)
    if full:
        fastjet = _fastjet()
        aachen = fastjet.JetDefinition(fastjet.cambridge_algorithm, 1000.0)
        sequence = fastjet.ClusterSequence(_records(vectors, jets.counts), aachen)
        tau = np.asarray(sequence.njettiness(njets=(1, 2, 3, 4), R0=radius), dtype=np.float64).reshape(number, 4)
        pt = np.hypot(parts[0], parts[1])
        order = np.argsort(-pt, axis=1)
        values = {
            "pt": pt,
            "eta": np.arcsinh(parts[2] / np.maximum(pt, 1e-12)),
            "phi": np.arctan2(parts[1], parts[0]),
            "mass": np.sqrt(np.maximum(parts[3] ** 2 - pt**2 - parts[2] ** 2, 0.0)),
        }
        sub = {name: np.take_along_axis(value, order, axis=1) for name, value in values.items()}
    return Substructure(mass, tau, sub["pt"], sub["eta"], sub["phi"], sub["mass"])


def _soft_drop(vectors: Vectors, counts: Ints, z_cut: float = 0.1) -> tuple[Floats, Floats]:
    """Soft drop with beta 0: undo the Cambridge-Aachen clustering until both parts carry enough pt.

    All jets are declustered by one step at a time; clustering a branch alone gives the same branch as in the full jet,
    so it can be clustered again. FastJet's own tool gives the same result, but is several times slower when called from
    Python.

    Returns
    -------
    mass : float64[n_jets]
    parts : float64[4, n_jets, 2]
        Four-vectors of the two branches at the end; zeros for the second if a single particle is left.
    """
    import awkward as ak

    fastjet = _fastjet()
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, 1000.0)
    number = len(counts)
    parts = np.zeros((4, number, 2))
    rows = np.arange(number)
    current, sizes = vectors, counts.copy()
    while len(rows):
        single = sizes == 1
        if np.any(single):
            flat = np.repeat(single, sizes)
            parts[:, rows[single], 0] = [axis[flat] for axis in current]
            current = current.take(~flat)
            rows, sizes = rows[~single], sizes[~single]
        if len(rows) == 0:
            break
        sequence = fastjet.ClusterSequence(_records(current, sizes), definition)
        index = sequence.exclusive_jets_constituent_index(njets=2)
        start = offsets_of(sizes)[:-1]
        lengths = ak.to_numpy(ak.num(index, axis=2)).astype(np.int64)
        branch = np.repeat(np.arange(2 * len(rows)), lengths.ravel())
        member = ak.to_numpy(ak.flatten(index, axis=None)).astype(np.int64) + start[branch // 2]
        sums = np.stack([np.bincount(branch, weights=axis[member], minlength=2 * len(rows)) for axis in current])
        sums = sums.reshape(4, len(rows), 2)
        pt = np.hypot(sums[0], sums[1])
        stop = np.min(pt, axis=1) > z_cut * np.sum(pt, axis=1)
        parts[:, rows[stop]] = sums[:, stop]
        harder = np.argmax(pt, axis=1)
        keep = ~stop[branch // 2] & (branch % 2 == harder[branch // 2])
        current = current.take(member[keep])
        sizes = lengths[~stop, harder[~stop]]
        rows = rows[~stop]
    total = np.sum(parts, axis=2)
    mass2 = total[3] ** 2 - total[0] ** 2 - total[1] ** 2 - total[2] ** 2
    return np.sqrt(np.maximum(mass2, 0.0)), parts
