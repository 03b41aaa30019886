"""Columns in PFNano format: names, links, special values and precision as in CMS.

``-1`` marks track variables of candidates without track details, as in PFNano.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jettagger import kinematics
from jettagger.kinematics import delta_phi, delta_r
from jettagger.simulation.block import SimulatedEvents
from jettagger.simulation.detector import PION_MASS
from jettagger.simulation.generate import local_index
from jettagger.simulation.jets import ClusteredJets
from jettagger.simulation.labels import count_hadrons
from jettagger.simulation.vertices import jet_vertices, positions_in_event
from jettagger.truth.matching import pairs
from jettagger.truth.records import last_copy
from jettagger.types import Bools, Floats, Ints

__all__ = ["columns", "reduced"]

MIN_STORED_SIGNIFICANCE = 3.0
ANGLE_BITS, VALUE_BITS = 12, 10


def reduced(values: Any, bits: int = VALUE_BITS) -> NDArray[np.float32]:
    """Single-precision numbers with a shorter mantissa, rounded to nearest.

    Parameters
    ----------
    values : array_like of float
    bits : int
        Bits of the mantissa to keep, 1 to 23.

    Returns
    -------
    float32 array of the same shape

    Examples
    --------
    >>> reduced([1.0, 1.0009765625, 1.0001]).tolist()
    [1.0, 1.0009765625, 1.0]
    """
    number = np.ascontiguousarray(values, dtype=np.float32)
    shift = 23 - bits
    raw = number.view(np.uint32)
    rounded = (raw + np.uint32(1 << (shift - 1))) & np.uint32(0xFFFFFFFF ^ ((1 << shift) - 1))
    return np.where(np.isfinite(number), rounded.view(np.float32), number)


class _Table:
    """Columns of one collection, restricted to selected events."""

    def __init__(self, event: Ints, keep: Bools) -> None:
        import awkward as ak

        self._ak = ak
        self._rows = keep[event]
        self._counts = np.bincount(event[self._rows], minlength=len(keep))[keep]
        self.columns: dict[str, Any] = {}

    def add(self, name: str, values: Any, kind: str = "f") -> None:
        """A column; ``kind`` is f (10 bits), a (angle, 12 bits), i (int32), b (uint8) or ? (bool)."""
        array = np.asarray(values)[self._rows]
        if kind == "f":
            array = reduced(array)
        elif kind == "a":
            array = reduced(array, ANGLE_BITS)
        else:
            array = array.astype({"i": np.int32, "b": np.uint8, "?": np.bool_}[kind])
        self.columns[name] = array

    def done(self) -> Any:
        return self._ak.unflatten(self._ak.zip(self.columns), self._counts)


def columns(batch: SimulatedEvents, *, first_event: int, lumi: int) -> dict[str, Any]:
    """All branches of the selected events.

    Parameters
    ----------
    batch : SimulatedEvents
    first_event : int
        Number of the first selected event.
    lumi : int
        Luminosity block.

    Returns
    -------
    dict
        Collections as jagged records, others as arrays of numbers.
    """
    keep = batch.keep
    number = int(np.sum(keep))
    truth = batch.truth
    result: dict[str, Any] = {
        "run": np.ones(number, np.uint32),
        "luminosityBlock": np.full(number, lumi, np.uint32),
        "event": np.arange(first_event, first_event + number, dtype=np.uint64),
        "genWeight": truth.weight[keep],
        "genProcess": np.full(number, batch.process.number, np.int32),
        "Generator_weight": truth.weight[keep],
        "Generator_binvar": truth.info["pthat"][keep].astype(np.float32),
        "Generator_scalePDF": truth.info["scale"][keep].astype(np.float32),
        "Generator_x1": truth.info["x1"][keep].astype(np.float32),
        "Generator_x2": truth.info["x2"][keep].astype(np.float32),
        "Generator_id1": truth.info["id1"][keep].astype(np.int32),
        "Generator_id2": truth.info["id2"][keep].astype(np.int32),
        "Pileup_nPU": batch.n_pileup[keep].astype(np.int32),
        "Pileup_nTrueInt": np.full(number, batch.card["pileup"]["mean"], np.float32),
        "fixedGridRhoFastjetAll": reduced(grid_density(batch)[keep]),
    }
    gen_index = _kept_particles(batch)
    gen_position = np.full(len(truth.id), -1, np.int64)
    gen_position[gen_index] = local_index(truth.event[gen_index], truth.n_events)
    result["GenPart"] = _gen_particles(batch, gen_index, gen_position)
    result["GenJetAK8"] = _gen_jets(batch, batch.gen_fat, batch.gen_fat_mass, 0.8)
    result["GenJet"] = _gen_jets(batch, batch.gen_small, None, 0.4, batch.gen_small_pt_nu)
    result.update(_fat_jets(batch))
    result.update(_constituents(batch))
    result.update(_secondary(batch))
    result["Jet"] = _small_jets(batch, gen_position)
    result.update(_leptons_and_met(batch))
    result.update(_primary(batch))
    return result


def grid_density(batch: SimulatedEvents) -> Floats:
    """Median transverse-momentum density of the candidates on a grid (0.55 x 0.55, up to 5), GeV per unit area.

    The definition of CMS's ``fixedGridRhoFastjetAll``.
    """
    candidates, n_events = batch.candidates, batch.truth.n_events
    size, reach = 0.55, 5.0
    n_eta, n_phi = int(2 * reach / size), int(2 * np.pi / size)
    step_eta, step_phi = 2 * reach / n_eta, 2 * np.pi / n_phi
    row = np.clip(((candidates.eta + reach) / step_eta).astype(int), 0, n_eta - 1)
    column = np.clip(((candidates.phi + np.pi) / step_phi).astype(int), 0, n_phi - 1)
    cell = (candidates.event * n_eta + row) * n_phi + column
    total = np.bincount(cell, weights=candidates.pt, minlength=n_events * n_eta * n_phi)
    return np.median(total.reshape(n_events, -1), axis=1) / (step_eta * step_phi)


def _fat_jets(batch: SimulatedEvents) -> dict[str, Any]:
    fat, shape, keep = batch.fat, batch.fat_shape, batch.keep
    n_events = batch.truth.n_events
    scale = batch.card["jets"]["correction"]
    has_sub = shape.subjet_pt > 0
    sub_rows = np.repeat(np.arange(len(fat)), 2)[has_sub.ravel()]
    sub_event = fat.event[sub_rows]
    sub_local = np.full((len(fat), 2), -1, np.int64)
    sub_local[has_sub] = local_index(sub_event, n_events)
    table = _Table(fat.event, keep)
    table.add("pt", scale * fat.pt)
    table.add("eta", fat.eta, "a")
    table.add("phi", fat.phi, "a")
    table.add("mass", scale * fat.mass)
    table.add("msoftdrop", scale * shape.softdrop_mass)
    for index in range(4):
        table.add(f"tau{index + 1}", shape.tau[:, index])
    table.add("rawFactor", np.full(len(fat), 1.0 - 1.0 / scale))
    table.add("area", catchment_areas(fat, n_events, 0.8))
    table.add("subJetIdx1", sub_local[:, 0], "i")
    table.add("subJetIdx2", sub_local[:, 1], "i")
    table.add("nConstituents", fat.counts, "i")
    table.add("jetId", np.full(len(fat), 6), "i")
    beauty, charm = batch.fat_truth["nBHadrons"], batch.fat_truth["nCHadrons"]
    table.add("nBHadrons", beauty, "b")
    table.add("nCHadrons", charm, "b")
    table.add("hadronFlavour", np.where(beauty > 0, 5, np.where(charm > 0, 4, 0)), "i")
    table.add("genJetAK8Idx", _local(batch.gen_fat, batch.fat_match, n_events), "i")
    table.add("label", batch.fat_truth["label"], "i")
    table.add("genResonanceMass", batch.fat_truth["genResonanceMass"])
    sub = _Table(sub_event, keep)
    for name, values in (
        ("pt", scale * shape.subjet_pt),
        ("eta", shape.subjet_eta),
        ("phi", shape.subjet_phi),
        ("mass", scale * shape.subjet_mass),
    ):
        sub.add(name, values[has_sub], "a" if name in ("eta", "phi") else "f")
    sub.add("rawFactor", np.full(len(sub_rows), 1.0 - 1.0 / scale))
    return {"FatJet": table.done(), "SubJet": sub.done()}


def _local(jets: ClusteredJets, rows: Ints, n_events: int) -> Ints:
    """Flat rows of jets as indices within their events, -1 kept."""
    if len(jets) == 0:
        return np.full(len(rows), -1)
    local = local_index(jets.event, n_events)
    return np.where(rows >= 0, local[np.maximum(rows, 0)], -1)


def catchment_areas(jets: ClusteredJets, n_events: int, radius: float) -> Floats:
    """Passive areas of anti-kt jets: a ghost is assigned to the jet with the smallest distance / pt within the radius.

    Source: M. Cacciari, G. Salam, G. Soyez, The anti-kt jet clustering algorithm, arXiv:0802.1189.
    """
    steps = (np.arange(20) + 0.5) / 10.0 - 1.0
    grid_x, grid_y = (radius * axis.ravel() for axis in np.meshgrid(steps, steps))
    circle = np.hypot(grid_x, grid_y) < radius
    grid_x, grid_y = grid_x[circle], grid_y[circle]
    lost = np.zeros((len(jets), len(grid_x)), bool)
    left, right = pairs(jets.event, jets.event, n_events)
    gap = delta_r(jets.eta[left], jets.phi[left], jets.eta[right], jets.phi[right])
    close = (left != right) & (gap < 2 * radius)
    left, right = left[close], right[close]
    delta_eta = jets.eta[left] - jets.eta[right]
    delta_azimuth = delta_phi(jets.phi[left], jets.phi[right])
    other = np.hypot(delta_eta[:, None] + grid_x, delta_azimuth[:, None] + grid_y)
    own = np.hypot(grid_x, grid_y)
    taken = (other < radius) & (other * jets.pt[left][:, None] < own * jets.pt[right][:, None])
    np.logical_or.at(lost, left, taken)
    return np.pi * radius**2 * (1.0 - np.mean(lost, axis=1)) if len(jets) else np.zeros(0)


def _gen_jets(
    batch: SimulatedEvents, jets: ClusteredJets, softdrop: Floats | None, cone: float, pt_nu: Floats | None = None
) -> Any:
    table = _Table(jets.event, batch.keep)
    table.add("pt", jets.pt)
    table.add("eta", jets.eta, "a")
    table.add("phi", jets.phi, "a")
    table.add("mass", jets.mass)
    if softdrop is not None:
        table.add("msoftdrop", softdrop)
    if pt_nu is not None:
        table.add("ptNu", pt_nu)
    heavy = count_hadrons(jets.event, jets.eta, jets.phi, batch.hadrons, batch.truth.n_events, cone=cone, min_pt=5.0)
    table.add("hadronFlavour", np.where(heavy["nBHadrons"] > 0, 5, np.where(heavy["nCHadrons"] > 0, 4, 0)), "b")
    return table.done()


def _constituents(batch: SimulatedEvents) -> dict[str, Any]:
    candidates, fat, keep, n_events = batch.candidates, batch.fat, batch.keep, batch.truth.n_events
    stored = np.zeros(len(candidates.event), bool)
    stored[fat.members] = True
    both = batch.process.small_constituents
    if both:
        stored[batch.small.members] = True
    position = np.full(len(stored), -1, np.int64)
    position[stored] = local_index(candidates.event[stored], n_events)
    chosen = candidates.take(stored)
    table = _Table(chosen.event, keep)
    details = chosen.details
    table.add("pt", chosen.pt)
    table.add("eta", chosen.eta, "a")
    table.add("phi", chosen.phi, "a")
    table.add("mass", chosen.mass)
    table.add("charge", chosen.charge, "i")
    table.add("pdgId", chosen.pdg_id, "i")
    table.add("puppiWeight", chosen.puppi)
    for name, values in (
        ("d0", chosen.d0), ("d0Err", chosen.d0_error), ("dz", chosen.dz), ("dzErr", chosen.dz_error),
        ("trkChi2", chosen.chi2),
    ):  # fmt: skip
        table.add(name, np.where(details, values, -1.0))
    table.add("trkQuality", np.where(details, chosen.quality, 0), "i")
    table.add("pvAssocQuality", chosen.association, "i")
    table.add("lostInnerHits", chosen.lost_hits, "i")
    result = {"PFCands": table.done(), "FatJetPFCands": _links(batch, fat, position)}
    if both:
        result["JetPFCands"] = _links(batch, batch.small, position)
    return result


def _links(batch: SimulatedEvents, jets: ClusteredJets, position: Ints) -> Any:
    """Jet-constituent links with the track variables of flavour tagging."""
    candidates = batch.candidates
    owner, member = jets.owner, jets.members
    local = local_index(jets.event, batch.truth.n_events)
    table = _Table(jets.event[owner], batch.keep)
    table.add("jetIdx", local[owner], "i")
    table.add("pFCandsIdx", position[member], "i")
    table.add("pt", candidates.pt[member])
    for name, values in track_variables(batch, jets.eta[owner], jets.phi[owner], member).items():
        table.add(name, values)
    return table.done()


def track_variables(batch: SimulatedEvents, jet_eta: Floats, jet_phi: Floats, member: Ints) -> dict[str, Floats]:
    """Kinematics and signed impact parameters of tracks relative to a jet axis; 0 without track details.

    Definitions as in CMSSW's ``TrackInfoBuilder``: the distance of a track from the jet axis has a negative
    sign.
    """
    part = batch.candidates.take(member)
    axis = np.stack([np.cos(jet_phi), np.sin(jet_phi), np.sinh(jet_eta)], axis=1) / np.cosh(jet_eta)[:, None]
    momentum = np.stack([part.px, part.py, part.pz], axis=1)
    total = np.maximum(np.sqrt(np.sum(momentum**2, axis=1)), 1e-9)
    along = np.sum(momentum * axis, axis=1)
    across = np.sqrt(np.maximum(total**2 - along**2, 0.0))
    energy = np.sqrt(total**2 + PION_MASS**2)
    direction = np.stack([np.cos(part.phi0), np.sin(part.phi0), np.sinh(part.eta)], axis=1)
    direction /= np.cosh(part.eta)[:, None]
    point = np.stack([-part.d0 * np.sin(part.phi0), part.d0 * np.cos(part.phi0), part.dz], axis=1)
    nearest = point - np.sum(point * direction, axis=1)[:, None] * direction
    distance = np.sqrt(np.sum(nearest**2, axis=1))
    sine = 1.0 / np.cosh(part.eta)
    flat = part.dz * sine
    error = np.sqrt((part.d0 * part.d0_error) ** 2 + (flat * part.dz_error * sine) ** 2) / np.maximum(distance, 1e-9)
    sign = np.where(np.sum(nearest * axis, axis=1) >= 0, 1.0, -1.0)
    normal = np.cross(axis, direction)
    length = np.maximum(np.sqrt(np.sum(normal**2, axis=1)), 1e-9)
    to_axis = -np.abs(np.sum(point * normal, axis=1)) / length
    values = {
        "btagEtaRel": 0.5 * np.log(np.maximum(energy + along, 1e-9) / np.maximum(energy - along, 1e-9)),
        "btagPtRatio": across / total,
        "btagPParRatio": along / total,
        "btagSip3dVal": sign * distance,
        "btagSip3dSig": sign * distance / np.maximum(error, 1e-9),
        "btagJetDistVal": to_axis,
    }
    return {name: np.where(part.details, value, 0.0) for name, value in values.items()}


def _secondary(batch: SimulatedEvents) -> dict[str, Any]:
    found, fat, keep, n_events = batch.secondary, batch.fat, batch.keep, batch.truth.n_events
    stored = found.d3d_sig > MIN_STORED_SIGNIFICANCE
    position = positions_in_event(found, n_events, stored)
    part = found.take(stored)
    table = _Table(part.event, keep)
    primary = batch.vertices
    table.add("dlen", part.d3d)
    table.add("dlenSig", part.d3d_sig)
    table.add("dxy", part.dxy)
    table.add("dxySig", part.dxy_sig)
    # NanoAOD's angle has the opposite sense: pi for a vertex that points along its flight
    table.add("pAngle", np.arccos(-part.cos_pointing))
    table.add("chi2", part.chi2 / part.ndof)
    table.add("ndof", part.ndof)
    table.add("eta", part.eta, "a")
    table.add("phi", part.phi, "a")
    table.add("mass", part.mass)
    table.add("pt", part.pt)
    table.add("x", part.x + (primary.x + primary.error_x)[part.event])
    table.add("y", part.y + (primary.y + primary.error_y)[part.event])
    table.add("z", part.z + (primary.z + primary.error_z)[part.event])
    table.add("ntracks", part.n_tracks, "b")
    result = {"SV": table.done(), "FatJetSVs": _vertex_links(batch, fat, 0.8, position)}
    if batch.process.small_constituents:
        result["JetSVs"] = _vertex_links(batch, batch.small, 0.4, position)
    return result


def _vertex_links(batch: SimulatedEvents, jets: ClusteredJets, cone: float, position: Ints) -> Any:
    """Every vertex near a jet, including those that are not in the vertex table."""
    found, n_events = batch.secondary, batch.truth.n_events
    jet, vertex, distance = jet_vertices(jets.event, jets.eta, jets.phi, found, n_events, cone=cone)
    near = found.take(vertex)
    links = _Table(jets.event[jet], batch.keep)
    scale = batch.card["jets"]["correction"]
    energy = kinematics.energy(near.pt, near.eta, near.mass)
    links.add("mass", near.mass)
    links.add("pt", near.pt)
    links.add("ntracks", near.n_tracks.astype(float))
    links.add("chi2", near.chi2)
    links.add("normchi2", near.chi2 / near.ndof)
    links.add("dxy", near.dxy)
    links.add("dxysig", np.clip(near.dxy_sig, -1.0, 800.0))
    links.add("d3d", near.d3d)
    links.add("d3dsig", np.clip(near.d3d_sig, -1.0, 800.0))
    links.add("costhetasvpv", near.cos_pointing)
    links.add("phirel", delta_phi(near.phi, jets.phi[jet]))
    links.add("ptrel", near.pt / (scale * jets.pt[jet]))
    links.add("deltaR", np.clip(distance - 0.5, -2.0, 0.0))
    links.add("enration", energy / (scale * jets.energy[jet]))
    links.add("jetIdx", local_index(jets.event, n_events)[jet], "i")
    links.add("sVIdx", position[vertex], "i")
    return links.done()


def _partons(batch: SimulatedEvents, jets: ClusteredJets, cone: float) -> tuple[Ints, Ints]:
    """The hardest outgoing parton of the hard process or a resonance decay in each jet: particle and flavour.

    -1 and 0 where there is none.
    """
    truth, n_events = batch.truth, batch.truth.n_events
    kind = np.abs(truth.id)
    index = np.flatnonzero((np.abs(truth.status) == 23) & ((kind <= 5) | (kind == 21)))
    pt = np.hypot(truth.px[index], truth.py[index])
    index, pt = index[pt > 1.0], pt[pt > 1.0]
    eta = np.arcsinh(truth.pz[index] / pt)
    phi = np.arctan2(truth.py[index], truth.px[index])
    left, right = pairs(jets.event, truth.event[index], n_events)
    near = delta_r(jets.eta[left], jets.phi[left], eta[right], phi[right]) < cone
    left, right = left[near], right[near]
    order = np.lexsort((-pt[right], left))
    rows, first = np.unique(left[order], return_index=True)
    particle = np.full(len(jets), -1, np.int64)
    particle[rows] = index[right[order][first]]
    return particle, np.where(particle >= 0, truth.id[np.maximum(particle, 0)], 0)


def _small_jets(batch: SimulatedEvents, gen_position: Ints) -> Any:
    small, n_events = batch.small, batch.truth.n_events
    scale = batch.card["jets"]["correction"]
    table = _Table(small.event, batch.keep)
    table.add("pt", scale * small.pt)
    table.add("eta", small.eta, "a")
    table.add("phi", small.phi, "a")
    table.add("mass", scale * small.mass)
    table.add("rawFactor", np.full(len(small), 1.0 - 1.0 / scale))
    table.add("area", catchment_areas(small, n_events, 0.4))
    table.add("jetId", np.full(len(small), 6), "i")
    table.add("nConstituents", small.counts, "i")
    heavy = count_hadrons(small.event, small.eta, small.phi, batch.hadrons, n_events, cone=0.4, min_pt=5.0)
    table.add("hadronFlavour", np.where(heavy["nBHadrons"] > 0, 5, np.where(heavy["nCHadrons"] > 0, 4, 0)), "i")
    parton, flavour = _partons(batch, small, 0.4)
    table.add("partonFlavour", flavour, "i")
    table.add("genPartIdx", np.where(parton >= 0, gen_position[np.maximum(parton, 0)], -1), "i")
    table.add("genJetIdx", _local(batch.gen_small, batch.small_match, n_events), "i")
    return table.done()


def _leptons_and_met(batch: SimulatedEvents) -> dict[str, Any]:
    candidates, keep, n_events = batch.candidates, batch.keep, batch.truth.n_events
    card = batch.card["leptons"]
    result: dict[str, Any] = {}
    kind = np.abs(candidates.pdg_id)
    for name, number in (("Electron", 11), ("Muon", 13)):
        rows = np.flatnonzero(
            (kind == number)
            & (candidates.pt > card[f"{name.lower()}_min_pt"])
            & (np.abs(candidates.eta) < card["max_abs_eta"])
            & keep[candidates.event]
        )
        lepton = candidates.take(rows)
        left, right = pairs(lepton.event, candidates.event, n_events)
        distance = delta_r(lepton.eta[left], lepton.phi[left], candidates.eta[right], candidates.phi[right])
        near = (distance < card["isolation_cone"]) & (rows[left] != right)
        weight = (candidates.pt * candidates.puppi)[right] * near
        total = np.bincount(left, weights=weight, minlength=len(rows))
        charged = np.bincount(left, weights=weight * (candidates.charge[right] != 0), minlength=len(rows))
        table = _Table(lepton.event, keep)
        table.add("pt", lepton.pt)
        table.add("eta", lepton.eta, "a")
        table.add("phi", lepton.phi, "a")
        table.add("mass", lepton.mass)
        table.add("charge", lepton.charge, "i")
        table.add("pdgId", lepton.pdg_id, "i")
        table.add("dxy", lepton.d0)
        table.add("dxyErr", lepton.d0_error)
        table.add("dz", lepton.dz)
        table.add("dzErr", lepton.dz_error)
        table.add("pfRelIso03_all", total / lepton.pt)
        table.add("pfRelIso03_chg", charged / lepton.pt)
        result[name] = table.done()
    weight = candidates.puppi
    px = -np.bincount(candidates.event, weights=weight * candidates.px, minlength=n_events)
    py = -np.bincount(candidates.event, weights=weight * candidates.py, minlength=n_events)
    total = np.bincount(candidates.event, weights=weight * candidates.pt, minlength=n_events)
    truth = batch.truth
    invisible = np.flatnonzero((truth.status > 0) & np.isin(np.abs(truth.id), (12, 14, 16)))
    gen_x = np.bincount(truth.event[invisible], weights=truth.px[invisible], minlength=n_events)
    gen_y = np.bincount(truth.event[invisible], weights=truth.py[invisible], minlength=n_events)
    result["MET_pt"] = np.hypot(px, py)[keep].astype(np.float32)
    result["MET_phi"] = np.arctan2(py, px)[keep].astype(np.float32)
    result["MET_sumEt"] = total[keep].astype(np.float32)
    result["GenMET_pt"] = np.hypot(gen_x, gen_y)[keep].astype(np.float32)
    result["GenMET_phi"] = np.arctan2(gen_y, gen_x)[keep].astype(np.float32)
    return result


def _primary(batch: SimulatedEvents) -> dict[str, Any]:
    keep, vertices = batch.keep, batch.vertices
    other = _Table(batch.other_event, keep)
    other.add("z", batch.other_z)
    n_vertices = 1 + np.bincount(batch.other_event, minlength=len(keep))[keep].astype(np.int32)
    fitted = (batch.candidates.charge != 0) & (batch.candidates.association == 7)
    tracks = np.bincount(batch.candidates.event[fitted], minlength=batch.truth.n_events)
    return {
        "PV_x": (vertices.x + vertices.error_x)[keep].astype(np.float32),
        "PV_y": (vertices.y + vertices.error_y)[keep].astype(np.float32),
        "PV_z": (vertices.z + vertices.error_z)[keep].astype(np.float32),
        "PV_ndof": np.maximum(2.0 * tracks - 3.0, 1.0)[keep].astype(np.float32),
        "PV_npvs": n_vertices,
        "PV_npvsGood": n_vertices,
        "OtherPV": other.done(),
    }


def _kept_particles(batch: SimulatedEvents) -> Ints:
    """The truth particles worth storing: hard process, resonances, their products, taus, heavy hadrons."""
    truth = batch.truth
    status, kind = np.abs(truth.status), np.abs(truth.id)
    mother = np.maximum(truth.mother, 0)
    wanted = ((status >= 21) & (status <= 29)) & (kind < 10_000_000)
    if len(batch.resonances.index):
        wanted[batch.resonances.index] = True
        legs = batch.resonances.leg_particle[batch.resonances.leg_particle >= 0]
        wanted[legs] = True
        wanted[last_copy(truth, legs)] = True
    wanted |= (kind[mother] == 15) & (truth.mother >= 0) & wanted[mother]
    tau_children = (kind[mother] == 15) & (truth.mother >= 0) & ((kind < 17) | (truth.status > 0))
    wanted |= tau_children
    wanted[batch.hadrons.index] = True
    return np.flatnonzero(wanted & batch.keep[truth.event])


def _gen_particles(batch: SimulatedEvents, index: Ints, position: Ints) -> Any:
    truth = batch.truth
    current = truth.mother[index]
    for _ in range(60):
        missing = (current >= 0) & (position[np.maximum(current, 0)] < 0)
        if not np.any(missing):
            break
        current = np.where(missing, truth.mother[np.maximum(current, 0)], current)
    mother = np.where(current >= 0, position[np.maximum(current, 0)], -1)
    status = np.abs(truth.status[index])
    hard = (status >= 21) & (status <= 29)
    last = last_copy(truth, index) == index
    parent = truth.mother[index]
    first = (parent < 0) | (truth.id[np.maximum(parent, 0)] != truth.id[index])
    flags = hard.astype(int) * (1 + (1 << 7) + (1 << 8)) + (first << 12) + (last << 13)
    table = _Table(truth.event[index], batch.keep)
    pt = np.hypot(truth.px[index], truth.py[index])
    table.add("pt", pt)
    table.add("eta", np.clip(np.arcsinh(truth.pz[index] / np.maximum(pt, 1e-9)), -30, 30), "a")
    table.add("phi", np.arctan2(truth.py[index], truth.px[index]), "a")
    table.add("mass", np.maximum(truth.mass[index], 0.0))
    table.add("pdgId", truth.id[index], "i")
    table.add("status", np.where(truth.status[index] > 0, 1, status), "i")
    table.add("statusFlags", flags, "i")
    table.add("genPartIdxMother", mother, "i")
    return table.done()
