"""JetClass-II classes from the generator particles of Delphes files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from jettagger.display import Brief
from jettagger.jetclass2 import LABELS
from jettagger.kinematics import delta_r
from jettagger.types import Array

__all__ = ["ROLES", "DelphesRecord", "class_of", "class_of_jet"]

_QCD_MIN_PT = 5.0
_QUARKS = {1: "q", 2: "q", 3: "s", 4: "c", 5: "b", 21: "g"}
_LEPTONS = {11: "e", 13: "m"}
_TAUS = {11: "taue", 13: "taum", 0: "tauh"}
_NEUTRINOS = (12, 14, 16)
_BOSONS = (23, 24, 25, 35, 36, 37)
_TOKENS = re.compile("tauh|taue|taum|[bcsqgemv]")


def _table() -> Mapping[tuple[bool, tuple[str, ...]], int]:
    """(whether X decays to two, legs in order of the alphabet) -> class."""
    found = {}
    for index, name in enumerate(LABELS[:161]):
        secondary = name.startswith("X_YY_")
        legs = tuple(sorted(_TOKENS.findall(name.rpartition("_")[2])))
        found[not secondary, legs] = index
    return found


_BY_LEGS = _table()


def class_of(legs: list[str], *, two_body: bool) -> int:
    """The class of a jet from the decay products of the resonance inside it, -1 for none.

    Parameters
    ----------
    legs : list of str
        ``b c s q g e m taue taum tauh``, and ``v`` for a neutrino that comes with a charged lepton.
    two_body : bool
        Whether the resonance decays to two legs directly, rather than through two intermediate particles.

    Returns
    -------
    int

    Examples
    --------
    >>> [LABELS[class_of(legs.split(), two_body=two)] for legs, two in (("b b", True), ("c s e v", False))]
    ['X_bb', 'X_YY_csev']
    """
    return _BY_LEGS.get((two_body, tuple(sorted(legs))), -1)


class DelphesRecord(Brief):
    """Generator particles of one Delphes event.

    Parameters
    ----------
    particles : awkward record
        The branch ``Particle`` of one event: ``PID Status D1 D2 M1 PT Eta Phi Mass``.
    """

    def __init__(self, particles: Any) -> None:
        self.pid = np.asarray(particles.PID)
        self.status = np.asarray(particles.Status)
        self.first, self.last = np.asarray(particles.D1), np.asarray(particles.D2)
        self.mother = np.asarray(particles.M1)
        self.pt, self.eta, self.phi = (np.asarray(particles[name]) for name in ("PT", "Eta", "Phi"))
        self.mass = np.asarray(particles.Mass)

    def daughters(self, index: int) -> list[int]:
        """Indices of the daughters of a particle."""
        first, last = int(self.first[index]), int(self.last[index])
        if first < 0:
            return []
        return list(range(first, max(last, first) + 1))

    def end(self, index: int) -> int:
        """The last copy of a particle in its record."""
        seen = {index}
        while True:
            same = [item for item in self.daughters(index) if self.pid[item] == self.pid[index] and item not in seen]
            if not same:
                return index
            index = same[0]
            seen.add(index)

    @cached_property
    def resonances(self) -> list[tuple[int, list[int], list[int]]]:
        """Each resonance X with its secondaries Y and the direct decay products, as last copies of X and Y."""
        found = []
        taken: set[int] = set()
        for index in np.flatnonzero(np.isin(np.abs(self.pid), _BOSONS)):
            mother = int(self.mother[index])
            if mother >= 0 and abs(int(self.pid[mother])) in (*_BOSONS, 6):
                continue  # a copy, a secondary, or from a top quark
            last = self.end(int(index))
            if last in taken:
                continue
            taken.add(last)
            children = self.daughters(last)
            seconds = [self.end(item) for item in children if abs(int(self.pid[item])) in _BOSONS]
            products = [item for second in seconds for item in self.daughters(second)]
            products += [item for item in children if abs(int(self.pid[item])) not in _BOSONS]
            found.append((last, seconds, [item for item in products if self._is_leg(item)]))
        return found

    def _is_leg(self, index: int) -> bool:
        kind = abs(int(self.pid[index]))
        return kind in _QUARKS or kind in (11, 12, 13, 14, 15, 16)

    def leg(self, index: int) -> str:
        """The letter of a decay product; of a tau according to its decay."""
        kind = abs(int(self.pid[index]))
        if kind == 15:
            light = [abs(int(self.pid[item])) for item in self.tau_products(index)]
            return _TAUS[next((code for code in light if code in (11, 13)), 0)]
        return _QUARKS.get(kind) or _LEPTONS.get(kind) or "v"

    def tau_products(self, index: int) -> list[int]:
        """The decay products of a tau."""
        return self.daughters(self.end(index))

    @cached_property
    def partons(self) -> Array:
        """Indices of partons above 5 GeV at the end of the shower, int64[n]."""
        kind = np.abs(self.pid)
        parton = ((kind >= 1) & (kind <= 5)) | (kind == 21)
        child = np.where(self.first >= 0, kind[np.clip(self.first, 0, len(kind) - 1)], 0)
        return np.flatnonzero(parton & ((child == 0) | (child > 80)) & (self.pt > _QCD_MIN_PT) & (self.status > 60))


#: reasons for which a particle is stored with a jet
ROLES = ("isResX", "isResY", "isResDecayProd", "isTauDecayProd", "isQcdParton")


def class_of_jet(truth: DelphesRecord, eta: float, phi: float, radius: float) -> tuple[int, list[tuple[int, str]]]:
    """The class of a jet, and its selected particles with their roles.

    Parameters
    ----------
    truth : DelphesRecord
    eta, phi : float
        Direction of the jet axis.
    radius : float
        Maximum distance of legs and partons from the jet axis.

    Returns
    -------
    int
        The class of JetClass-II, -1 for none.
    list of (int, str)
        Indices of particles, each with one of `ROLES`.
    """

    def inside(index: int) -> bool:
        return bool(delta_r(truth.eta[index], np.float64(truth.phi[index]), np.float64(eta), np.float64(phi)) < radius)

    best: tuple[int, list[str], int, list[int], list[int]] | None = None
    for last, seconds, products in truth.resonances:
        here = [item for item in products if inside(item) and abs(int(truth.pid[item])) not in _NEUTRINOS]
        legs = [truth.leg(item) for item in here]
        # the neutrino of a W stays with its charged lepton
        charged = any(abs(int(truth.pid[item])) in (11, 13, 15) for item in here)
        if charged and any(abs(int(truth.pid[item])) in _NEUTRINOS for item in products):
            legs.append("v")
        if legs and (best is None or len(legs) > len(best[1])):
            best = (last, legs, len(seconds), seconds, products)
    if best is not None:
        last, legs, n_seconds, seconds, products = best
        chosen = [(last, "isResX"), *((item, "isResY") for item in seconds), *((i, "isResDecayProd") for i in products)]
        for item in products:
            if abs(int(truth.pid[item])) == 15:
                chosen += [(child, "isTauDecayProd") for child in truth.tau_products(item)]
        return class_of(legs, two_body=n_seconds == 0), chosen
    near = [int(item) for item in truth.partons if inside(int(item))]
    chosen = [(item, "isQcdParton") for item in near]
    if truth.resonances or bool(np.any(np.abs(truth.pid) == 6)):
        return -1, chosen
    count = {quark: sum(abs(int(truth.pid[item])) == quark for item in near) for quark in (5, 4, 3)}
    index = sum(3**power * (2 - min(count[quark], 2)) for power, quark in ((2, 5), (1, 4), (0, 3)))
    return 161 + index, chosen
