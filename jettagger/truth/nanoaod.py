"""Generator particles of NanoAOD, with one mother each and status flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jettagger.display import Brief
from jettagger.types import Array, Bools, Ints

__all__ = ["FIELDS", "GeneratorParticles", "decays", "particles_of"]

#: bit of ``statusFlags`` for the last copy of a particle
LAST_COPY = 1 << 13

#: columns of ``GenPart`` that identify particles and their mothers
FIELDS = ("pt", "eta", "phi", "mass", "pdgId", "statusFlags", "genPartIdxMother")


@dataclass(frozen=True)
class GeneratorParticles(Brief):
    """Particles of all events, concatenated.

    Attributes
    ----------
    event : int64[n]
    number : int64[n]
        PDG IDs.
    mother : int64[n]
        Indices among all particles, -1 for none.
    eta, phi : float32[n]
    mass : float32[n]
        GeV.
    """

    event: Ints
    number: Ints
    mother: Ints
    eta: Array
    phi: Array
    mass: Array


def mothers_among_all(local: Ints, counts: Ints) -> Ints:
    """Indices of mothers among the particles of all events, from those within their event.

    Parameters
    ----------
    local : int64[n]
        -1 for none.
    counts : int64[events]
        Number of particles per event.

    Returns
    -------
    int64[n]

    Examples
    --------
    >>> mothers_among_all(np.array([-1, 0, -1, 0]), np.array([2, 2])).tolist()
    [-1, 0, -1, 2]
    """
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    return np.where(local >= 0, local + starts, -1)


def particles_of(collection: Any) -> GeneratorParticles:
    """The particles of a jagged collection ``GenPart``.

    Parameters
    ----------
    collection : awkward array
        With ``eta phi mass pdgId genPartIdxMother``.

    Returns
    -------
    GeneratorParticles
    """
    import awkward as ak

    counts = ak.to_numpy(ak.num(collection.eta))
    eta, phi, mass = (ak.to_numpy(ak.flatten(collection[name])) for name in ("eta", "phi", "mass"))
    number = ak.to_numpy(ak.flatten(collection.pdgId)).astype(np.int64)
    local = ak.to_numpy(ak.flatten(collection.genPartIdxMother)).astype(np.int64)
    event = np.repeat(np.arange(len(counts)), counts)
    return GeneratorParticles(event, number, mothers_among_all(local, counts), eta, phi, mass)


def decays(columns: Mapping[str, Array], counts: Ints, resonances: tuple[int, ...]) -> Bools:
    """Mask of particles that are last copies of resonances, or their decay products.

    Parameters
    ----------
    columns : mapping of str to array[n]
        ``pdgId statusFlags genPartIdxMother`` of the particles of all events, concatenated.
    counts : int64[events]
        Number of particles per event.
    resonances : tuple of int
        Absolute PDG IDs.

    Returns
    -------
    bool[n]
    """
    number, flags, local = (columns[name].astype(np.int64) for name in ("pdgId", "statusFlags", "genPartIdxMother"))
    mother = mothers_among_all(local, counts)
    heavy = np.isin(np.abs(number), resonances)
    last = heavy & ((flags & LAST_COPY) != 0)
    return last | ((mother >= 0) & last[mother] & ~heavy)
