"""Pythia events as flat NumPy arrays."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.display import Brief
from jettagger.errors import ConfigError, require
from jettagger.files import complete_or_absent
from jettagger.types import Bools, Floats, Ints

__all__ = [
    "Generator",
    "Truth",
    "concatenate",
    "emptied",
    "is_neutrino",
    "local_index",
    "offsets_of",
    "tabulate_interactions",
]


#: What every process is made with: proton beams, and decays within 10 mm only. Photons radiated by incoming
#: quarks, a seventh of the time, are left out: few are in a jet.
COMMON = (
    "SpaceShower:QEDshowerByQ = off",
    "Beams:eCM = 13600.",
    "Print:quiet = on",
    "ParticleDecays:limitTau0 = on",
    "ParticleDecays:tau0Max = 10.",
    "Random:setSeed = on",
)


#: The process for whose tables the interactions of all hard processes are initialised.
HARD_PROCESS = ("HardQCD:all = on", "PhaseSpace:pTHatMin = 100.")

#: Pythia's numbers for what it does with a file of tables.
WRITE_TABLES, READ_TABLES = 1, 2


@dataclass(frozen=True)
class Truth(Brief):
    """Generated events; all particle arrays are flat, event by event.

    Attributes
    ----------
    counts : int64[n_events]
        Particles of each event.
    id, status : int64[n]
        PDG ID and Pythia's status (positive: final).
    mother, daughter1, daughter2 : int64[n]
        Flat indices of the first mother, the first and the last daughter; -1 for none.
    px, py, pz, energy, mass : float64[n]
        In GeV.
    vx, vy, vz, vt : float64[n]
        Production vertex in mm and mm/c, with the interaction at the origin.
    weight : float64[n_events]
        Pythia's event weight.
    info : dict of str to float64[n_events]
        ``x1 x2 id1 id2 scale pthat``.
    """

    counts: Ints
    id: Ints
    status: Ints
    mother: Ints
    daughter1: Ints
    daughter2: Ints
    px: Floats
    py: Floats
    pz: Floats
    energy: Floats
    mass: Floats
    vx: Floats
    vy: Floats
    vz: Floats
    vt: Floats
    weight: Floats
    info: dict[str, Floats]

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(self.counts)

    @cached_property
    def event(self) -> Ints:
        """The event of each particle."""
        return np.repeat(np.arange(self.n_events), self.counts)


def offsets_of(counts: Ints) -> Ints:
    """Start of each row, and the end of the last; int64[rows + 1] from counts, int64[rows].

    Examples
    --------
    >>> offsets_of(np.array([2, 0, 3])).tolist()
    [0, 2, 2, 5]
    """
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def concatenate(truths: Sequence[Truth]) -> Truth:
    """Events of several generators, concatenated."""
    if len(truths) == 1:
        return truths[0]
    shifts = offsets_of(np.array([len(truth.id) for truth in truths]))
    columns: dict[str, Any] = {}
    for entry in fields(Truth):
        values = [getattr(truth, entry.name) for truth in truths]
        if entry.name == "info":
            columns["info"] = {name: np.concatenate([value[name] for value in values]) for name in values[0]}
            continue
        if entry.name in ("mother", "daughter1", "daughter2"):
            values = [np.where(value < 0, -1, value + shift) for value, shift in zip(values, shifts, strict=False)]
        columns[entry.name] = np.concatenate(values)
    return Truth(**columns)


def emptied(truth: Truth, keep: Bools) -> Truth:
    """The same events, without the particles of those that are dropped.

    Parameters
    ----------
    truth : Truth
    keep : bool[n_events]

    Returns
    -------
    Truth
    """
    used = keep[truth.event]
    index = np.cumsum(used) - 1
    columns: dict[str, Any] = {
        entry.name: getattr(truth, entry.name)
        if entry.name in ("weight", "info")
        else np.where(keep, truth.counts, 0)
        if entry.name == "counts"
        else getattr(truth, entry.name)[used]
        for entry in fields(Truth)
    }
    for name in ("mother", "daughter1", "daughter2"):
        columns[name] = np.where(columns[name] < 0, -1, index[columns[name]])
    return Truth(**columns)


def is_neutrino(identity: Ints) -> Bools:
    """Whether particles are neutrinos, one entry per particle.

    Examples
    --------
    >>> is_neutrino(np.array([12, -16, 11])).tolist()
    [True, True, False]
    """
    kind = np.abs(identity)
    return (kind == 12) | (kind == 14) | (kind == 16)


def local_index(rows: Ints, n_rows: int) -> Ints:
    """Index within its row of each entry of sorted row numbers, int64[entries].

    Examples
    --------
    >>> local_index(np.array([0, 0, 2]), 3).tolist()
    [0, 1, 0]
    """
    starts = offsets_of(np.bincount(rows, minlength=n_rows))
    return np.arange(len(rows)) - starts[rows]


class Generator(Brief):
    """Pythia with given settings and seed.

    Parameters
    ----------
    settings : sequence of str
        Pythia settings beyond `COMMON`.
    seed : int
        Between 1 and 900,000,000.
    tables : path, optional
        Tables written by `tabulate_interactions` for the same tune and kind of process, which halve the initialisation
        time of hard processes and take that of minimum bias from 9 s to 0.3 s. Events with and without tables agree
        only within the rounding of the tables: use one or the other.

    Raises
    ------
    MissingExtra
        If pythia8mc is not installed.
    ConfigError
        If Pythia refuses a setting or does not initialise.
    """

    def __init__(self, settings: Sequence[str], seed: int, tables: str | os.PathLike[str] | None = None) -> None:
        module = require("pythia8mc", "sim", "simulating events")
        start = _defaults()
        self.pythia = module.Pythia(start.settings, start.particleData, False)
        self.tried = 0
        reuse = () if tables is None else _reuse(READ_TABLES, tables)
        for line in (*COMMON, f"Random:seed = {1 + seed % 900_000_000}", *reuse, *settings):
            if not self.pythia.readString(line, False):
                raise ConfigError(f"Pythia refuses the setting {line!r}")
        if not self.pythia.init():
            raise ConfigError(f"Pythia does not initialise with the settings {list(settings)}")

    def next(self, n_events: int) -> Truth:
        """At most ``n_events`` further events; events rejected by Pythia itself are left out."""
        import awkward as ak

        batch = self.pythia.nextBatch(n_events)
        self.tried += n_events
        return _flat(batch, ak)

    @property
    def cross_section(self) -> tuple[float, float]:
        """Pythia's current estimate of the cross section and its uncertainty, in pb."""
        info = self.pythia.infoPython()
        return float(info.sigmaGen()) * 1e9, float(info.sigmaErr()) * 1e9


@cache
def _defaults() -> Any:
    """Pythia without any settings; reading its particle data from XML takes a third of the initialisation time."""
    return require("pythia8mc", "sim", "simulating events").Pythia("", False)


def tabulate_interactions(tune: Sequence[str], path: Path, process: Sequence[str] = HARD_PROCESS) -> Path:
    """Write tables of Pythia's initialisation of multiparton interactions.

    They depend on the beams and on the tune, and are the same for all hard processes; minimum-bias events, with their
    diffractive systems, need tables of their own.

    Parameters
    ----------
    tune : sequence of str
        The Pythia settings of the card.
    path : pathlib.Path
        File to write.
    process : sequence of str
        Pythia settings of the process; those of `pileup.MINIMUM_BIAS` for pile-up.

    Returns
    -------
    pathlib.Path
        ``path``.
    """
    with complete_or_absent(path) as part:
        Generator([*_reuse(WRITE_TABLES, part), *process, *tune], 1)
    return path


def _reuse(mode: int, path: str | os.PathLike[str]) -> tuple[str, str]:
    return f"MultipartonInteractions:reuseInit = {mode}", f"MultipartonInteractions:initFile = {path}"


def _flat(batch: Any, ak: Any) -> Truth:
    particles, info = batch.prt, batch.info
    counts = ak.to_numpy(ak.num(particles.id)).astype(np.int64)
    start = np.repeat(offsets_of(counts)[:-1], counts)

    def column(array: Any) -> Any:
        return ak.to_numpy(ak.flatten(array))

    def link(array: Any) -> Ints:
        index = column(array).astype(np.int64)
        return np.where(index > 0, index + start, -1)

    def vertex(name: str) -> Floats:
        return np.nan_to_num(ak.to_numpy(ak.fill_none(ak.flatten(particles.vProd[name]), 0.0)).astype(np.float64))

    first = link(particles.daughter1)
    last = link(particles.daughter2)
    momentum = particles.p
    return Truth(
        counts,
        column(particles.id).astype(np.int64),
        column(particles.status).astype(np.int64),
        link(particles.mother1),
        first,
        np.where(last < first, first, last),
        column(momentum.px).astype(np.float64),
        column(momentum.py).astype(np.float64),
        column(momentum.pz).astype(np.float64),
        column(momentum.e).astype(np.float64),
        column(particles.m).astype(np.float64),
        vertex("px"),
        vertex("py"),
        vertex("pz"),
        vertex("e"),
        ak.to_numpy(info.weights[:, 0]).astype(np.float64),
        {
            "x1": ak.to_numpy(info.x1).astype(np.float64),
            "x2": ak.to_numpy(info.x2).astype(np.float64),
            "id1": ak.to_numpy(info.id1).astype(np.float64),
            "id2": ak.to_numpy(info.id2).astype(np.float64),
            "scale": np.sqrt(ak.to_numpy(info.Q2Fac).astype(np.float64)),
            "pthat": np.sqrt(ak.to_numpy(info.pT2Hat).astype(np.float64)),
        },
    )
