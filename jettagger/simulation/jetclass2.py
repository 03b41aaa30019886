"""Flat columns in JetClass-II format: one row per fat jet, every group of variables of the published table.

GeV; impact parameters and vertices in mm, times in mm/c, as published (arXiv:2405.12972). Additional columns that are
not in the table have other names: ``jet_v1label``, ``jet_genmass``, ``weight``, ``process``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jettagger.features.cms import eta_sign
from jettagger.jetclass2 import LABELS
from jettagger.kinematics import delta_phi, delta_r
from jettagger.simulation.block import SimulatedEvents
from jettagger.simulation.generate import Truth, local_index, offsets_of
from jettagger.simulation.labels import ELECTRON, GLUON, MUON, TAU_E, TAU_H, TAU_M
from jettagger.simulation.processes import LABELS as V1_LABELS
from jettagger.truth.matching import pairs
from jettagger.truth.records import last_copy
from jettagger.types import Floats, Ints

__all__ = ["JETCLASS2_LABELS", "columns", "jetclass2_label"]

MM_PER_CM = 10.0
QCD_MIN_PT = 5.0
LETTERS = {1: "q", 2: "q", 3: "s", 4: "c", 5: "b", GLUON: "g"}
LEPTONS = {ELECTRON: "e", MUON: "m", TAU_E: "taue", TAU_M: "taum", TAU_H: "tauh"}


#: The names of the 188 classes; the index is the value of ``jet_label``.
JETCLASS2_LABELS = LABELS

_BY_LEGS: dict[tuple[str, ...], int] = {}
for _index, _name in enumerate(JETCLASS2_LABELS[:161]):
    _legs = _name.split("_")[-1]
    if _name.startswith("X_YY_") and set(_legs) <= set("bcsqg"):
        _BY_LEGS[tuple(sorted(_legs))] = _index


def jetclass2_label(two_body: bool, codes: list[int], inside: list[int]) -> int:
    """The JetClass-II class of a jet from the legs of its resonance, -1 for none.

    Parameters
    ----------
    two_body : bool
        Whether the resonance decays to two legs directly (X), rather than through two intermediate particles (X -> YY).
    codes, inside : list of int
        All legs of the resonance and those in the jet, coded as in `jettagger.simulation.labels`.

    Returns
    -------
    int

    Examples
    --------
    >>> JETCLASS2_LABELS[jetclass2_label(True, [5, 5], [5, 5])]
    'X_bb'
    >>> JETCLASS2_LABELS[jetclass2_label(False, [3, 4, 1, 2], [3, 4, 2])]
    'X_YY_csq'
    """
    hadronic = sorted(LETTERS[code] for code in inside if code in LETTERS)
    leptons = [LEPTONS[code] for code in inside if code in LEPTONS]
    if len(hadronic) + len(leptons) != len(inside):
        return -1
    if two_body:
        if sorted(codes) != sorted(inside) or len(inside) != 2:
            return -1
        order = {"b": 0, "c": 1, "s": 2, "q": 3, "g": 4}
        legs = "".join(sorted(hadronic, key=order.__getitem__)) + "".join(sorted(leptons, reverse=True))
        if leptons and leptons[0].startswith("tau"):
            legs = "tauh" + next((lepton for lepton in leptons if lepton != "tauh"), "tauh")
        return _index_of(f"X_{legs}")
    n_leptons = sum(code in LEPTONS for code in codes)
    if n_leptons == 0:
        return _BY_LEGS.get(tuple(hadronic), -1) if len(hadronic) in (3, 4) else -1
    if n_leptons == 1 and len(hadronic) == 2 and len(leptons) == 1:
        order = {"b": 0, "c": 1, "s": 2, "q": 3, "g": 4}
        return _index_of(f"X_YY_{''.join(sorted(hadronic, key=order.__getitem__))}{leptons[0]}v")
    return -1


def _index_of(name: str) -> int:
    return JETCLASS2_LABELS.index(name) if name in JETCLASS2_LABELS else -1


def columns(batch: SimulatedEvents) -> dict[str, Any]:
    """All columns of the stored fat jets of the selected events.

    Parameters
    ----------
    batch : SimulatedEvents

    Returns
    -------
    dict
        Numbers and ragged arrays, one row per jet.
    """
    import awkward as ak

    fat = batch.fat
    rows = np.flatnonzero(batch.keep[fat.event])
    scale = batch.card["jets"]["correction"]
    result: dict[str, Any] = dict(_constituents(batch, rows))
    for name, values in (
        ("pt", scale * fat.pt), ("eta", fat.eta), ("phi", fat.phi), ("energy", scale * fat.energy),
        ("sdmass", scale * batch.fat_shape.softdrop_mass),
    ):  # fmt: skip
        result[f"jet_{name}"] = values[rows].astype(np.float32)
    result["jet_nparticles"] = fat.counts[rows].astype(np.int32)
    for index in range(4):
        result[f"jet_tau{index + 1}"] = batch.fat_shape.tau[rows, index].astype(np.float32)
    result["jet_label"] = _labels(batch)[rows].astype(np.int32)
    result.update(_generator_jets(batch, rows))
    result.update(_truth_particles(batch, rows))
    result["jet_v1label"] = batch.fat_truth["label"][rows].astype(np.int32)
    result["jet_genmass"] = batch.fat_truth["genResonanceMass"][rows].astype(np.float32)
    result["weight"] = batch.truth.weight[fat.event[rows]]
    result["process"] = np.full(len(rows), batch.process.number, np.int32)
    return {name: ak.Array(values) if isinstance(values, np.ndarray) else values for name, values in result.items()}


def _ragged(values: Any, counts: Ints, kind: Any = np.float32) -> Any:
    import awkward as ak

    return ak.unflatten(np.asarray(values).astype(kind), counts)


def _constituents(batch: SimulatedEvents, rows: Ints) -> dict[str, Any]:
    fat = batch.fat
    chosen = np.zeros(len(fat), bool)
    chosen[rows] = True
    part = fat.take(chosen)
    member, owner, counts = batch.candidates.take(part.members), part.owner, part.counts
    kind = np.abs(member.pdg_id)
    charged = member.charge != 0
    values: dict[str, Any] = {
        "px": member.puppi * member.px,
        "py": member.puppi * member.py,
        "pz": member.puppi * member.pz,
        "energy": member.puppi * member.energy,
        "deta": eta_sign(part.eta[owner]) * (member.eta - part.eta[owner]),  # mirrored, as in the published files
        "dphi": delta_phi(member.phi, part.phi[owner]),
        "d0val": MM_PER_CM * member.d0,
        "d0err": MM_PER_CM * member.d0_error,
        "dzval": MM_PER_CM * member.dz,
        "dzerr": MM_PER_CM * member.dz_error,
    }
    result = {f"part_{name}": _ragged(value, counts) for name, value in values.items()}
    result["part_charge"] = _ragged(member.charge, counts, np.int32)
    for name, flag in (
        ("isElectron", kind == 11), ("isMuon", kind == 13), ("isPhoton", kind == 22),
        ("isChargedHadron", charged & (kind != 11) & (kind != 13)),
        ("isNeutralHadron", ~charged & (kind != 22)),
    ):  # fmt: skip
        result[f"part_{name}"] = _ragged(flag, counts, np.bool_)
    return result


def _generator_jets(batch: SimulatedEvents, rows: Ints) -> dict[str, Any]:
    """The matched generator jet and its constituents: zeros and empty lists if there is none."""
    truth, gen_fat, fat = batch.truth, batch.gen_fat, batch.fat
    matched = batch.fat_match[rows]
    has = matched >= 0
    result: dict[str, Any] = {}
    for name, values in (
        ("pt", gen_fat.pt), ("eta", gen_fat.eta), ("phi", gen_fat.phi), ("energy", gen_fat.energy),
        ("sdmass", batch.gen_fat_mass),
    ):  # fmt: skip
        result[f"genjet_{name}"] = _where(values, matched).astype(np.float32)
    result["genjet_nparticles"] = _where(gen_fat.counts, matched).astype(np.int32)
    counts = np.where(has, _where(gen_fat.counts, matched), 0).astype(np.int64)
    start = offsets_of(gen_fat.counts)[:-1]
    owner = np.repeat(np.arange(len(rows)), counts)
    position = _where(start, matched).astype(np.int64)[owner] + local_index(owner, len(rows))
    particle = batch.gen[gen_fat.members[position]] if len(position) else np.zeros(0, np.int64)
    pt = np.hypot(truth.px[particle], truth.py[particle])
    eta = np.arcsinh(truth.pz[particle] / np.maximum(pt, 1e-12))
    phi = np.arctan2(truth.py[particle], truth.px[particle])
    jet = rows[owner]
    kinematics = {
        "px": truth.px[particle],
        "py": truth.py[particle],
        "pz": truth.pz[particle],
        "energy": truth.energy[particle],
        "jet_deta": eta_sign(fat.eta[jet]) * (eta - fat.eta[jet]),
        "jet_dphi": delta_phi(phi, fat.phi[jet]),
        "x": truth.vx[particle],
        "y": truth.vy[particle],
        "z": truth.vz[particle],
        "t": truth.vt[particle],
    }
    result.update({f"genpart_{name}": _ragged(value, counts) for name, value in kinematics.items()})
    result["genpart_pid"] = _ragged(truth.id[particle], counts, np.int32)
    return result


def _where(values: Any, index: Ints) -> Floats:
    """Values at indices, 0 where the index is -1."""
    if len(values) == 0:
        return np.zeros(len(index))
    return np.where(index >= 0, np.asarray(values)[np.maximum(index, 0)], 0.0)


def _qcd_partons(truth: Truth) -> Ints:
    """Partons above 5 GeV at the end of the shower."""
    kind = np.abs(truth.id)
    parton = ((kind <= 5) & (kind > 0)) | (kind == 21)
    first = truth.daughter1
    child = np.where(first >= 0, kind[np.maximum(first, 0)], 0)
    ends = parton & (child > 80) & (np.hypot(truth.px, truth.py) > QCD_MIN_PT)
    return np.flatnonzero(ends)


def _labels(batch: SimulatedEvents) -> NDArray[np.int32]:
    """Class of each fat jet: from the legs of its resonance, or from the quark flavours of a QCD jet."""
    fat, found = batch.fat, batch.resonances
    label = np.full(len(fat), -1, np.int32)
    owner = batch.fat_truth["resonance"]
    for row in np.flatnonzero(owner >= 0):
        which = int(owner[row])
        here = delta_r(found.leg_eta[which], found.leg_phi[which], fat.eta[row], np.array(fat.phi[row])) < 0.8
        codes = [int(code) for code in found.leg_code[which] if code > 0]
        inside = [int(code) for code, yes in zip(found.leg_code[which], here, strict=True) if yes and code > 0]
        direct = found.kind[which] in (23, 24, 37) or (found.kind[which] == 25 and found.via[which] == 0)
        # a top has a leg that is not from a W: three quarks are a type of the list, b and a lepton are not
        if found.kind[which] == 6 and any(code in LEPTONS for code in codes):
            continue
        label[row] = jetclass2_label(bool(direct), codes, inside)
    kind = batch.fat_truth["label"]
    qcd = (kind >= V1_LABELS["QCDbb"]) & (kind <= V1_LABELS["QCDothers"])
    if np.any(qcd):
        partons = _qcd_partons(batch.truth)
        left, right = _inside(batch, partons)
        flavour = np.abs(batch.truth.id[partons[right]])
        count = {quark: np.bincount(left[flavour == quark], minlength=len(fat)) for quark in (5, 4, 3)}
        index = sum(3**power * (2 - np.minimum(count[quark], 2)) for power, quark in ((2, 5), (1, 4), (0, 3)))
        label = np.where(qcd, 161 + index, label).astype(np.int32)
    return label


def _inside(batch: SimulatedEvents, particles: Ints) -> tuple[Ints, Ints]:
    """Pairs (fat jet, row of ``particles``) within 0.8."""
    truth, fat = batch.truth, batch.fat
    pt = np.hypot(truth.px[particles], truth.py[particles])
    eta = np.arcsinh(truth.pz[particles] / np.maximum(pt, 1e-9))
    phi = np.arctan2(truth.py[particles], truth.px[particles])
    left, right = pairs(fat.event, truth.event[particles], truth.n_events)
    near = delta_r(fat.eta[left], fat.phi[left], eta[right], phi[right]) < 0.8
    return left[near], right[near]


def _truth_particles(batch: SimulatedEvents, rows: Ints) -> dict[str, Any]:
    """Selected truth of each jet: its resonance with all products, or the partons of a QCD jet."""
    truth, found = batch.truth, batch.resonances
    owner = batch.fat_truth["resonance"]
    kind = batch.fat_truth["label"]
    qcd = (kind >= V1_LABELS["QCDbb"]) & (kind <= V1_LABELS["QCDothers"])
    partons = _qcd_partons(truth) if np.any(qcd) else np.zeros(0, np.int64)
    left, right = _inside(batch, partons)
    particles: list[int] = []
    flags: list[tuple[bool, bool, bool, bool, bool]] = []
    counts = []
    for row in rows:
        before = len(particles)
        if owner[row] >= 0:
            for particle, flag in _decay(truth, int(found.index[owner[row]])):
                particles.append(particle)
                flags.append(flag)
        elif qcd[row]:
            here = partons[right[left == row]]
            particles += here.tolist()
            flags += [(False, False, False, False, True)] * len(here)
        counts.append(len(particles) - before)
    index = np.array(particles, np.int64)
    table = np.array(flags, bool).reshape(-1, 5)
    size = np.array(counts, np.int64)
    pt = np.hypot(truth.px[index], truth.py[index])
    result = {
        "aux_genpart_pt": _ragged(pt, size),
        "aux_genpart_eta": _ragged(np.arcsinh(truth.pz[index] / np.maximum(pt, 1e-9)), size),
        "aux_genpart_phi": _ragged(np.arctan2(truth.py[index], truth.px[index]), size),
        "aux_genpart_mass": _ragged(truth.mass[index], size),
        "aux_genpart_pid": _ragged(truth.id[index], size, np.int32),
    }
    for column, name in enumerate(("isResX", "isResY", "isResDecayProd", "isTauDecayProd", "isQcdParton")):
        result[f"aux_genpart_{name}"] = _ragged(table[:, column], size, np.bool_)
    return result


def _decay(truth: Truth, resonance: int) -> list[tuple[int, tuple[bool, bool, bool, bool, bool]]]:
    """The resonance, its bosons, direct products and products of taus, each with the five flags."""
    rows = [(resonance, (True, False, False, False, False))]
    for child in range(int(truth.daughter1[resonance]), int(truth.daughter2[resonance]) + 1):
        if abs(int(truth.id[child])) in (23, 24):
            boson = int(last_copy(truth, np.array([child]))[0])
            rows.append((boson, (False, True, False, False, False)))
            children = range(int(truth.daughter1[boson]), int(truth.daughter2[boson]) + 1)
        else:
            children = range(child, child + 1)
        for product in children:
            rows.append((product, (False, False, True, False, False)))
            if abs(int(truth.id[product])) == 15:
                last = int(last_copy(truth, np.array([product]))[0])
                rows += [
                    (item, (False, False, False, True, False))
                    for item in range(int(truth.daughter1[last]), int(truth.daughter2[last]) + 1)
                ]
    return rows
