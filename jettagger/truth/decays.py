"""Particles and their decay products among the generator particles of NanoAOD, found by cuts as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from jettagger.display import Brief
from jettagger.errors import ConfigError
from jettagger.expressions import parse
from jettagger.topology.mapping import LegKeys, ParticleKeys
from jettagger.truth.nanoaod import mothers_among_all
from jettagger.types import Array, Bools, Ints

__all__ = ["Decay", "DecayFinder", "names_of"]


@dataclass(frozen=True)
class Decay(Brief):
    """One particle and its decay products in each event.

    Attributes
    ----------
    particle : int64[events]
        Index of its last copy among the particles of all events; -1 where there is none with all decay products.
    legs : dict of str to int64[events]
        Daughters and others, before radiation; -1 where there is no particle.
    """

    particle: Ints
    legs: dict[str, Ints]


class DecayFinder(Brief):
    """Finds particles with given decay products.

    Parameters
    ----------
    columns : mapping of str to array[n]
        Columns of the particles of all events, concatenated; ``pdgId`` and ``genPartIdxMother`` at least.
    counts : int64[events]
        Number of particles per event.

    Examples
    --------
    >>> columns = {"pdgId": np.array([6, 6, 24, 5, 2, -1]), "genPartIdxMother": np.array([-1, 0, 1, 1, 2, 2])}
    >>> quark = {"select": "abs(pdgId) <= 5", "via": ("abs(pdgId) == 24",)}
    >>> daughters = {"b": {"select": "pdgId == 5"}, "q1": quark, "q2": {**quark, "index": 1}}
    >>> keys = ParticleKeys.model_validate({"select": "pdgId == 6", "daughters": daughters})
    >>> decay = DecayFinder(columns, np.array([6])).find(keys)
    >>> decay.particle.tolist(), {name: leg.tolist() for name, leg in decay.legs.items()}
    ([1], {'b': [3], 'q1': [4], 'q2': [5]})
    """

    def __init__(self, columns: Mapping[str, Array], counts: Ints) -> None:
        self.columns = columns
        self.counts = np.asarray(counts)
        self.event = np.repeat(np.arange(len(self.counts)), self.counts)
        number = np.asarray(columns["pdgId"]).astype(np.int64)
        self._mother = mothers_among_all(np.asarray(columns["genPartIdxMother"]).astype(np.int64), self.counts)
        up = self._mother
        copies = np.flatnonzero((up >= 0) & (number == number[up]))
        self._last = np.arange(len(number))
        self._last[up[copies]] = copies
        while not np.array_equal(following := self._last[self._last], self._last):
            self._last = following

    def find(self, keys: ParticleKeys) -> Decay:
        """A particle in each event, the one of several that the keys say.

        Parameters
        ----------
        keys : ParticleKeys

        Returns
        -------
        Decay
        """
        chosen = self._passes(keys.select) & (self._last == np.arange(len(self.event)))
        particles = np.flatnonzero(chosen)
        legs = {name: self._leg(particles, leg) for name, leg in {**keys.daughters, **keys.others}.items()}
        complete = np.ones(len(particles), dtype=bool)
        for leg in legs.values():
            complete &= leg >= 0
        rows = np.flatnonzero(complete)
        sorting = [self._values(text)[particles[rows]] for text in keys.order]
        rows = rows[np.lexsort((*reversed(sorting), self.event[particles[rows]]))]
        row = _nth(self.event[particles[rows]], rows, keys.index, len(self.counts))
        found = row >= 0
        return Decay(
            np.where(found, particles[row], -1) if len(particles) else row,
            {name: np.where(found, leg[row], -1) if len(leg) else row for name, leg in legs.items()},
        )

    def _values(self, text: str) -> Array:
        expression = parse(text)
        expression.check(self.columns, "column of generator particles")
        values = expression.evaluate({name: self.columns[name] for name in expression.names})
        return np.broadcast_to(np.asarray(values), (len(self.event),))

    def _passes(self, text: str) -> Bools:
        flags = self._values(text)
        if flags.dtype != np.bool_:
            raise ConfigError(f"{text!r} is not a cut: it gives {flags.dtype}, expected true or false for particles")
        return flags

    def _leg(self, particles: Ints, keys: LegKeys) -> Ints:
        """The decay product of each of some particles, -1 for none."""
        owner = np.full(len(self.event), -1)
        owner[particles] = np.arange(len(particles))
        for text in keys.via:
            children = self._children(owner, self._passes(text))
            below = np.full(len(owner), -1)
            below[self._last[children]] = owner[self._mother[children]]
            owner = below
        children = self._children(owner, self._passes(keys.select))
        of = owner[self._mother[children]]
        order = np.argsort(of, kind="stable")
        return _nth(of[order], children[order], keys.index, len(particles))

    def _children(self, owner: Ints, passes: Bools) -> Ints:
        """Decay products, that pass a cut, of the last copies with an owner."""
        return np.flatnonzero(passes & (self._mother >= 0) & (owner[self._mother] >= 0))


def _nth(groups: Ints, values: Ints, index: int, n_groups: int) -> Ints:
    """The entry at an index of each group, from sorted groups; -1 for none."""
    counts = np.bincount(groups, minlength=n_groups)
    place = np.cumsum(counts) - counts + index
    found = np.full(n_groups, -1, dtype=np.int64)
    there = counts > index
    found[there] = values[place[there]]
    return found


def names_of(keys: Iterable[ParticleKeys]) -> tuple[str, ...]:
    """The columns of generator particles that cuts need, sorted.

    Parameters
    ----------
    keys : iterable of ParticleKeys

    Returns
    -------
    tuple of str
    """
    found = {"pdgId", "genPartIdxMother"}
    for particle in keys:
        legs = (*particle.daughters.values(), *particle.others.values())
        texts = [particle.select, *particle.order]
        for leg in legs:
            texts += [leg.select, *leg.via]
        found |= {name for text in texts for name in parse(text).names}
    return tuple(sorted(found))
