"""Truth of a jet: its type, the mass of its resonance, its heavy hadrons.

A jet is matched to a resonance (H, X, t, W, Z) if the resonance and the visible legs of its decay lie within ``cone``
of the jet axis. Legs are quarks, gluons and photons before their showers, electrons and muons before radiation, and for
a tau the electron or muon, or the sum of its visible daughters. Neutrinos need not be inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jettagger.display import Brief
from jettagger.kinematics import delta_r
from jettagger.simulation.generate import Truth, is_neutrino
from jettagger.simulation.processes import LABELS
from jettagger.truth.matching import pairs
from jettagger.truth.records import descends, has_quark, last_copy
from jettagger.types import Bools, Floats, Ints

__all__ = ["Hadrons", "Resonances", "further_b_quarks", "heavy_hadrons", "label_jets", "resonances"]

# Codes of legs: quarks by their PDG number, and these.
GLUON, PHOTON, ELECTRON, MUON, TAU_E, TAU_M, TAU_H = 21, 22, 11, 13, 151, 152, 153
LEPTON_NAMES = {ELECTRON: "ev", MUON: "mv", TAU_E: "tauev", TAU_M: "taumv", TAU_H: "tauhv"}
MAX_LEGS = 4


@dataclass(frozen=True)
class Resonances(Brief):
    """Decayed heavy resonances.

    Attributes
    ----------
    index : int64[n]
        Index of the last copy in the truth.
    event, kind : int64[n]
        Event and absolute PDG ID.
    mass, eta, phi : float64[n]
    from_decay : bool[n]
        Whether it comes from another resonance of the list (a W from a top).
    leg_code : int64[n, 4]
        Type of each leg, 0 for none.
    leg_eta, leg_phi : float64[n, 4]
    leg_particle : int64[n, 4]
        Index in the truth, -1 for none.
    via : int64[n]
        Absolute PDG ID of intermediate bosons: 24 for H -> WW and t -> bW, 23 for H -> ZZ or Z gamma, 0 for none.
    """

    index: Ints
    event: Ints
    kind: Ints
    mass: Floats
    eta: Floats
    phi: Floats
    from_decay: Bools
    leg_code: Ints
    leg_eta: Floats
    leg_phi: Floats
    leg_particle: Ints
    via: Ints


def _legs(truth: Truth, index: Ints) -> list[tuple[int, float, float, int]]:
    """Legs of one resonance: code, eta, phi, particle."""
    found: list[tuple[int, float, float, int]] = []
    for child in range(int(truth.daughter1[index]), int(truth.daughter2[index]) + 1):
        kind = abs(int(truth.id[child]))
        if kind in (23, 24):
            found += _legs(truth, last_copy(truth, np.array([child]))[0])
        elif kind == 15:
            found.append(_tau_leg(truth, child))
        elif kind <= 5 or kind in (ELECTRON, MUON, GLUON, PHOTON):
            found.append((kind, float(_eta(truth, child)), float(_phi(truth, child)), child))
    return found


def _eta(truth: Truth, index: int) -> Floats:
    return np.arcsinh(truth.pz[index] / max(np.hypot(truth.px[index], truth.py[index]), 1e-12))


def _phi(truth: Truth, index: int) -> Floats:
    return np.arctan2(truth.py[index], truth.px[index])


def _tau_leg(truth: Truth, index: int) -> tuple[int, float, float, int]:
    last = int(last_copy(truth, np.array([index]))[0])
    children = np.arange(truth.daughter1[last], truth.daughter2[last] + 1)
    kinds = np.abs(truth.id[children])
    code = TAU_H
    visible = children[~is_neutrino(kinds)]
    for lepton, name in ((ELECTRON, TAU_E), (MUON, TAU_M)):
        if np.any(kinds == lepton) and np.any(kinds == lepton + 1):
            code, visible = name, children[kinds == lepton]
    px, py, pz = (float(np.sum(axis[visible])) for axis in (truth.px, truth.py, truth.pz))
    return code, float(np.arcsinh(pz / max(np.hypot(px, py), 1e-12))), float(np.arctan2(py, px)), index


def resonances(truth: Truth) -> Resonances:
    """All resonances of the events with their legs."""
    kinds = np.abs(truth.id)
    first = np.flatnonzero(np.isin(kinds, (6, 23, 24, 25, 37)) & (np.abs(truth.status) == 22))
    index = last_copy(truth, first)
    number = len(index)
    code = np.zeros((number, MAX_LEGS), np.int64)
    eta = np.zeros((number, MAX_LEGS))
    phi = np.zeros((number, MAX_LEGS))
    particle = np.full((number, MAX_LEGS), -1, np.int64)
    for row, position in enumerate(index):
        for column, leg in enumerate(_legs(truth, position)[:MAX_LEGS]):
            code[row, column], eta[row, column], phi[row, column], particle[row, column] = leg
    mother = np.abs(truth.id[np.maximum(truth.mother[first], 0)])
    pt = np.hypot(truth.px[index], truth.py[index])
    return Resonances(
        index,
        truth.event[index],
        kinds[index],
        truth.mass[index],
        np.arcsinh(truth.pz[index] / np.maximum(pt, 1e-12)),
        np.arctan2(truth.py[index], truth.px[index]),
        np.isin(mother, (6, 25, 37)) & (truth.mother[first] >= 0),
        code,
        eta,
        phi,
        particle,
        _via(truth, index),
    )


def _via(truth: Truth, index: Ints) -> Ints:
    """24, 23 or 0, the first of them among the direct daughters."""
    bosons = np.zeros(len(index), np.int64)
    for child in (truth.daughter1[index], truth.daughter2[index]):
        kind = np.where(child >= 0, np.abs(truth.id[np.maximum(child, 0)]), 0)
        bosons = np.maximum(bosons, np.where(np.isin(kind, (23, 24)), kind, 0))
    return bosons


def _type_of(kind: int, via: int, codes: list[int], inside: list[int]) -> str:
    """Name of the jet type of one (jet, resonance) pair, empty for none.

    ``via`` is the boson that the resonance decays to, ``codes`` are all legs, ``inside`` those in the jet.
    """
    quarks = [code for code in inside if code <= 5]
    leptons = [code for code in inside if code in LEPTON_NAMES]
    charm = quarks.count(4)
    whole = sorted(inside) == sorted(codes)
    if kind == 6:
        if quarks.count(5) < 1:
            return ""
        light = len(quarks) - 1
        if leptons:
            return f"TopbW{LEPTON_NAMES[leptons[0]]}"
        if light in (1, 2):
            return f"TopbW{'q' * light}{min(charm, 1)}c"
        return ""
    if kind == 25 and via == 23 and PHOTON not in codes:
        return ""
    if kind == 25 and via:
        n_leptons = sum(code in LEPTON_NAMES for code in codes)
        if PHOTON in codes:
            return "HZgamma" if whole and len(quarks) == 2 else ""
        if n_leptons == 0 and len(quarks) in (3, 4):
            return f"HWqqW{'q' * (len(quarks) - 2)}{min(charm, 2)}c"
        if n_leptons == 1 and len(quarks) == 2 and leptons:
            return f"HWqqW{LEPTON_NAMES[leptons[0]]}{min(charm, 1)}c"
        return ""
    if not whole or len(codes) != 2:
        return ""
    pair = (min(codes), max(codes))
    if kind == 37:
        return "Xbc" if pair == (4, 5) else ""
    if kind == 24:
        return "Wcq" if 4 in pair else ("Wqq" if len(quarks) == 2 else "")
    if kind == 23:
        names = {(5, 5): "Zbb", (4, 4): "Zcc"}
        if len(quarks) == 2:
            return names.get(pair, "Zqq")
        return "Ztautau" if pair[0] >= TAU_E else ""
    names = {
        (5, 5): "Hbb", (4, 4): "Hcc", (3, 3): "Hss", (GLUON, GLUON): "Xgg", (PHOTON, PHOTON): "Hgamgam",
        (TAU_E, TAU_H): "Htauhtaue", (TAU_M, TAU_H): "Htauhtaum", (TAU_H, TAU_H): "Htauhtauh",
    }  # fmt: skip
    if pair in names:
        return names[pair]
    return "Hqq" if len(quarks) == 2 and max(pair) <= 2 else ""


@dataclass(frozen=True)
class Hadrons(Brief):
    """Weakly decaying heavy hadrons: the last ones with their heavy quark.

    Attributes
    ----------
    index, event, flavour : int64[n]
        Flavour 5 for beauty, 4 for charm that does not come from beauty.
    pt, eta, phi : float64[n]
    """

    index: Ints
    event: Ints
    flavour: Ints
    pt: Floats
    eta: Floats
    phi: Floats


def heavy_hadrons(truth: Truth) -> Hadrons:
    """The last beauty hadrons, and the last charm hadrons that do not come from beauty."""
    parts = []
    for flavour in (5, 4):
        flagged = has_quark(truth.id, flavour)
        index = np.flatnonzero(flagged)
        child_first, child_last = truth.daughter1[index], truth.daughter2[index]
        has_child = (child_first >= 0) & (flagged[np.maximum(child_first, 0)] | flagged[np.maximum(child_last, 0)])
        index = index[~has_child]
        if flavour == 4:
            index = index[~descends(truth, index, has_quark(truth.id, 5))]
        parts.append((index, np.full(len(index), flavour)))
    index = np.concatenate([part[0] for part in parts])
    pt = np.hypot(truth.px[index], truth.py[index])
    return Hadrons(
        index,
        truth.event[index],
        np.concatenate([part[1] for part in parts]),
        pt,
        np.arcsinh(truth.pz[index] / np.maximum(pt, 1e-12)),
        np.arctan2(truth.py[index], truth.px[index]),
    )


def further_b_quarks(truth: Truth) -> Ints:
    """Numbers of b quarks that do not come from top quarks, after their radiation, with pt > 20 GeV and |eta| < 2.5.

    Parameters
    ----------
    truth : Truth

    Returns
    -------
    int64[n_events]
    """
    index = np.flatnonzero(np.abs(truth.id) == 5)
    first, last = np.maximum(truth.daughter1[index], 0), np.maximum(truth.daughter2[index], 0)
    index = index[(truth.id[first] != truth.id[index]) & (truth.id[last] != truth.id[index])]
    pt = np.hypot(truth.px[index], truth.py[index])
    index = index[(pt > 20.0) & (np.abs(truth.pz[index]) < np.sinh(2.5) * pt)]
    index = index[~descends(truth, index, np.abs(truth.id) == 6)]
    return np.bincount(truth.event[index], minlength=truth.n_events)


def label_jets(
    jet_event: Ints,
    jet_eta: Floats,
    jet_phi: Floats,
    found: Resonances,
    hadrons: Hadrons,
    n_events: int,
    *,
    cone: float = 0.8,
    qcd: bool = False,
    hadron_min_pt: float = 5.0,
) -> dict[str, NDArray[Any]]:
    """Type, resonance mass and heavy hadrons of each jet.

    Parameters
    ----------
    jet_event : int64[n]
        Event of each jet.
    jet_eta, jet_phi : float64[n]
    found : Resonances
    hadrons : Hadrons
    n_events : int
    cone : float
        Maximum distance of legs and hadrons from the jet axis.
    qcd : bool
        Whether a jet without any leg of a resonance inside gets one of the five QCD types.
    hadron_min_pt : float
        Minimum transverse momentum of heavy hadrons, GeV.

    Returns
    -------
    dict
        ``label`` int32[n] (see `jettagger.simulation.LABELS`, -1 for none), ``genResonanceMass`` float64[n]
        (-1 for none), ``resonance`` int64[n] (row in ``found``, -1), ``nBHadrons`` and ``nCHadrons``
        int64[n].
    """
    number = len(jet_event)
    label = np.full(number, -1, np.int32)
    mass = np.full(number, -1.0)
    owner = np.full(number, -1, np.int64)
    touched = np.zeros(number, bool)
    best = np.full(number, -1.0)
    order = np.argsort(found.event, kind="stable")
    left, right = pairs(jet_event, found.event[order], n_events)
    right = order[right] if len(right) else right
    distance = delta_r(jet_eta[left], jet_phi[left], found.eta[right], found.phi[right])
    legs = delta_r(jet_eta[left][:, None], jet_phi[left][:, None], found.leg_eta[right], found.leg_phi[right])
    inside = (legs < cone) & (found.leg_code[right] > 0)
    for row in np.flatnonzero(np.any(inside, axis=1)):
        jet, which = left[row], right[row]
        touched[jet] = True
        if distance[row] >= cone:
            continue
        codes = [int(code) for code in found.leg_code[which] if code > 0]
        here = [int(code) for code, yes in zip(found.leg_code[which], inside[row], strict=True) if yes]
        name = _type_of(int(found.kind[which]), int(found.via[which]), codes, here)
        if not name:
            continue
        # Most legs win, a resonance before one of its own decay products, then the nearer one.
        score = len(here) + (0.0 if found.from_decay[which] else 0.5) + 0.4 * (1.0 - distance[row] / cone)
        if score > best[jet]:
            best[jet], label[jet] = score, LABELS[name]
            mass[jet], owner[jet] = found.mass[which], which
    result = count_hadrons(jet_event, jet_eta, jet_phi, hadrons, n_events, cone=cone, min_pt=hadron_min_pt)
    if qcd:
        beauty, charm = result["nBHadrons"], result["nCHadrons"]
        kind = np.select(
            [beauty >= 2, beauty == 1, charm >= 2, charm == 1],
            [LABELS["QCDbb"], LABELS["QCDb"], LABELS["QCDcc"], LABELS["QCDc"]],
            LABELS["QCDothers"],
        )
        label = np.where((label == -1) & ~touched, kind, label).astype(np.int32)
    return {"label": label, "genResonanceMass": mass, "resonance": owner, **result}


def count_hadrons(
    jet_event: Ints,
    jet_eta: Floats,
    jet_phi: Floats,
    hadrons: Hadrons,
    n_events: int,
    *,
    cone: float,
    min_pt: float,
) -> dict[str, NDArray[Any]]:
    """Numbers of beauty and charm hadrons within ``cone`` of each jet, without charm from beauty decays."""
    order = np.argsort(hadrons.event, kind="stable")
    left, right = pairs(jet_event, hadrons.event[order], n_events)
    right = order[right] if len(right) else right
    near = delta_r(jet_eta[left], jet_phi[left], hadrons.eta[right], hadrons.phi[right]) < cone
    near &= hadrons.pt[right] > min_pt
    return {
        name: np.bincount(left[near & (hadrons.flavour[right] == flavour)], minlength=len(jet_event))
        for name, flavour in (("nBHadrons", 5), ("nCHadrons", 4))
    }
