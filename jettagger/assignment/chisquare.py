"""The smallest chi-square of masses: the assignment that needs no training, with which networks are compared.

Each particle has terms ((m - mass) / width)^2 of the masses of some of its daughters. Tuples of objects are evaluated
by a compiled function; the sum over particles without common objects is minimised as the decoder does it, exactly.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jettagger.arguments import Records, guard, in_range
from jettagger.assignment.decoding import decode, event_of
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, MismatchError, MissingColumns, UnknownName
from jettagger.kinematics import energy, px, py, pz
from jettagger.topology.eventfile import EventDescription
from jettagger.types import Array, Floats, Ints

__all__ = ["BTag", "ChiSquareAssignment", "MassTerm", "chi_square", "higgs_term", "top_terms"]

#: masses in GeV: W as measured (PDG 2024, 80.369), top as generated in most samples, Higgs boson (PDG 2024, 125.20)
W_MASS, TOP_MASS, HIGGS_MASS = 80.4, 172.5, 125.2

#: widths in GeV, near those of rightly assigned AK4 jets: half of the central 68 % is 10 (W), 18 (top) and 18 (Higgs
#: boson) in `tthad-resolved` and `ttHbbsemilep-resolved`
W_WIDTH, TOP_WIDTH, HIGGS_WIDTH = 12.0, 18.0, 18.0

#: fields of the objects, GeV and radians
_FIELDS = ("pt", "eta", "phi", "mass")

#: maximum number of bytes of the tuples of a block, and of events
_BLOCK_BYTES = 32 * 2**20
_BLOCK_EVENTS = 4096


@dataclass(frozen=True)
class MassTerm(Brief):
    """A term ((m - mass) / width)^2 of the chi-square, of the mass m of some daughters of a particle.

    Parameters
    ----------
    particle : str
    daughters : tuple of str
        Those whose four-vectors are added.
    mass, width : float
        GeV.

    Raises
    ------
    ConfigError
        If a width is not above 0, a mass below, or a daughter appears twice.

    Examples
    --------
    >>> MassTerm("t1", ("q1", "q2"), mass=80.4, width=12.0).width
    12.0
    """

    particle: str
    daughters: tuple[str, ...]
    mass: float
    width: float

    def __post_init__(self) -> None:
        place = f"MassTerm() of particle {self.particle!r}"
        in_range(self.mass, f"{place}, argument mass (GeV)", 0)
        in_range(self.width, f"{place}, argument width (GeV)", 0, above=True)
        if not self.daughters or len(set(self.daughters)) < len(self.daughters):
            raise ConfigError(f"{place}: got the daughters {self.daughters}, expected at least one, each once")


@dataclass(frozen=True)
class BTag(Brief):
    """How b tags enter the chi-square: -2 log of the probability of each tag, and tags that are required.

    Parameters
    ----------
    bottom : mapping of str to tuple of str
        Particle -> its daughters that are b quarks; the others are light.
    efficiency, mistag : float
        Probability that a b quark and a light quark is tagged, between 0 and 1.
    required : bool
        Whether objects without a tag cannot be b quarks.

    Raises
    ------
    ConfigError
        If a probability is not between 0 and 1.
    """

    bottom: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    efficiency: float = 0.7
    mistag: float = 0.04
    required: bool = False

    def __post_init__(self) -> None:
        for name in ("efficiency", "mistag"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise ConfigError(f"BTag(), argument {name}: got {value!r}, expected a probability between 0 and 1")


@dataclass(frozen=True, eq=False)
class ChiSquareAssignment(Brief):
    """Assignments with the smallest chi-square; made by :func:`chi_square`.

    Attributes
    ----------
    assignments : mapping of str to int64[events, daughters]
        Particle -> index of each daughter in the event's own list of objects, -1 for all daughters of a particle that
        is not assigned.
    chi_squares : mapping of str to float64[events]
        Particle -> its part of the chi-square, NaN if it is not assigned.
    chi_square : float64[events]
        The sum; NaN if one of the particles is not assigned.
    cut : int
        Number of events with more objects than were considered.
    """

    assignments: Mapping[str, Ints]
    chi_squares: Mapping[str, Floats]
    chi_square: Floats
    cut: int


def top_terms(
    particle: str,
    light: Sequence[str] = ("q1", "q2"),
    bottom: str = "b",
    w_mass: float = W_MASS,
    w_width: float = W_WIDTH,
    top_mass: float = TOP_MASS,
    top_width: float = TOP_WIDTH,
) -> tuple[MassTerm, MassTerm]:
    """The terms of a top quark that decays to quarks: masses of W and top.

    Parameters
    ----------
    particle : str
    light : sequence of str
        Both daughters of the W boson.
    bottom : str
    w_mass, w_width, top_mass, top_width : float
        GeV; widths are those of masses of rightly assigned AK4 jets in simulated top pairs.

    Returns
    -------
    tuple of MassTerm

    Examples
    --------
    >>> [term.daughters for term in top_terms("t1")]
    [('q1', 'q2'), ('q1', 'q2', 'b')]
    """
    quarks = tuple(light)
    return (
        MassTerm(particle, quarks, w_mass, w_width),
        MassTerm(particle, (*quarks, bottom), top_mass, top_width),
    )


def higgs_term(
    particle: str, daughters: Sequence[str] = ("b1", "b2"), mass: float = HIGGS_MASS, width: float = HIGGS_WIDTH
) -> MassTerm:
    """The term of a Higgs boson that decays to b quarks.

    Parameters
    ----------
    particle : str
    daughters : sequence of str
    mass, width : float
        GeV.

    Returns
    -------
    MassTerm
    """
    return MassTerm(particle, tuple(daughters), mass, width)


def chi_square(
    objects: Records,
    event: EventDescription | str | os.PathLike[str],
    terms: Sequence[MassTerm],
    b_tag: BTag | None = None,
    tags: Any = None,
    max_objects: int = 12,
    threads: int | None = None,
) -> ChiSquareAssignment:
    """Assign objects to particles with the smallest sum of the terms of all particles.

    Parameters
    ----------
    objects : awkward array of records
        A list per event, with the fields pt and mass in GeV, eta and phi.
    event : EventDescription or path
        All its particles are assigned, of daughters that are all among the objects.
    terms : sequence of MassTerm
        At least one for each particle; with their sum, particles are assigned together. As many particles as possible
        are assigned: in events with too few objects those with the smallest chi-square.
    b_tag : BTag, optional
        How tags enter.
    tags : awkward array of bool, optional
        Whether each object is tagged; needed with `b_tag`.
    max_objects : int
        The first objects of each event are considered, up to 20; sort them by pt.
    threads : int, optional
        As of `decode`.

    Returns
    -------
    ChiSquareAssignment

    Raises
    ------
    MissingColumns
        If a field is absent.
    UnknownName
        If a particle or daughter of a term does not exist; with the nearest name.
    ConfigError
        If a particle has no term, or tags and their meaning are not given together.
    MismatchError
        If tags are not aligned with the objects.
    InvalidValues
        If a number is not finite; with the event.

    Examples
    --------
    >>> import awkward as ak
    >>> from jettagger.topology.eventfile import parse_event_text
    >>> event = parse_event_text('''
    ... INPUTS: {SEQUENTIAL: {Jets: {pt: none}}}
    ... EVENT: {h: [b1, b2]}
    ... PERMUTATIONS: {h: [[b1, b2]]}
    ... ''')
    >>> jets = ak.Array([[{"pt": pt, "eta": 0.0, "phi": phi, "mass": 0.0} for pt, phi in
    ...                   [(62.6, 0.0), (40.0, 1.5), (62.6, np.pi)]], []])
    >>> found = chi_square(jets, event, [higgs_term("h")])
    >>> found.assignments["h"].tolist(), found.chi_square.round(3).tolist()
    ([[0, 2], [-1, -1]], [0.0, nan])
    """
    description = event_of(event)
    in_range(max_objects, "chi_square(), argument max_objects", 1, 20)
    if (b_tag is None) != (tags is None):
        raise ConfigError("chi_square(): b_tag says what tags mean, expected both of them or none")
    plan = [_Plan.of(description, number, terms, b_tag) for number in range(len(description.particles))]
    for term in terms:
        description.particle(term.particle)
    for name in (b_tag or BTag()).bottom:
        description.particle(name)
    columns, counts = _columns(objects, tags)
    starts = np.concatenate([[0], np.cumsum(counts)])
    considered = np.minimum(counts, max_objects)
    n_events = len(counts)
    assignments = {
        particle.name: np.full((n_events, len(particle.daughters)), -1, dtype=np.int64)
        for particle in description.particles
    }
    parts = {name: np.full(n_events, np.nan) for name in assignments}
    width = max(8 * max(int(considered.max(initial=1)), 1) ** len(p.daughters) for p in description.particles)
    size = max(min(_BLOCK_EVENTS, _BLOCK_BYTES // width), 1)
    for start in range(0, n_events, size):
        rows = slice(start, min(start + size, n_events))
        slots = int(considered[rows].max(initial=0))
        if not slots:
            continue
        vectors = _padded(columns, starts[rows], considered[rows], slots)
        logs: dict[str, Floats] = {}
        for number, item in enumerate(plan):
            earlier = plan.index(item)  # particles with the same terms, such as two tops, are evaluated once
            name = description.particles[number].name
            logs[name] = (
                item.evaluated(vectors, considered[rows], slots)
                if earlier == number
                else logs[description.particles[earlier].name]
            )
        decoded = decode(logs, description, "best", threads=threads)
        for name, chosen in decoded.assignments.items():
            assignments[name][rows] = chosen
            assigned = np.flatnonzero(chosen[:, 0] >= 0)
            cells = (assigned, *chosen[assigned].T)
            parts[name][start + assigned] = -2 * logs[name][cells]
    total = np.sum(list(parts.values()), axis=0) if n_events else np.zeros(0)
    return ChiSquareAssignment(assignments, parts, np.asarray(total), int((counts > max_objects).sum()))


@dataclass(frozen=True)
class _Plan:
    """The terms of a particle by the positions of its daughters."""

    daughters: int
    members: tuple[tuple[bool, ...], ...]
    masses: tuple[float, ...]
    widths: tuple[float, ...]
    tag_terms: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, description: EventDescription, number: int, terms: Sequence[MassTerm], b_tag: BTag | None) -> _Plan:
        particle = description.particles[number]
        names = particle.daughter_names
        mine = [term for term in terms if term.particle == particle.name]
        if not mine:
            unknown = [term.particle for term in terms if term.particle not in description.particle_names]
            if unknown:
                raise UnknownName("particle of a mass term", unknown, description.particle_names, "the event file")
            raise ConfigError(
                f"chi_square(): no mass term of particle {particle.name!r}, expected at least one of each"
            )
        bottom = () if b_tag is None else b_tag.bottom.get(particle.name, ())
        unknown = [name for term in mine for name in term.daughters if name not in names]
        unknown += [name for name in bottom if name not in names]
        if unknown:
            raise UnknownName("daughter", unknown, names, f"particle {particle.name!r}")
        return cls(
            len(names),
            tuple(tuple(name in term.daughters for name in names) for term in mine),
            tuple(float(term.mass) for term in mine),
            tuple(float(term.width) for term in mine),
            tuple((0.0, 0.0) if b_tag is None else _tag_terms(b_tag, name in bottom) for name in names),
        )

    def evaluated(self, vectors: Floats, counts: Ints, slots: int) -> Floats:
        """-chi-square / 2 of each tuple, -inf for those that are impossible; float64[events, slots, ..., slots]."""
        from jettagger.assignment.kernels import evaluate_masses

        logs = np.empty((len(counts), slots**self.daughters))
        evaluate_masses(
            vectors,
            counts,
            np.array(self.members),
            np.array(self.masses),
            np.array(self.widths),
            np.array(self.tag_terms),
            logs,
        )
        return logs.reshape(len(counts), *[slots] * self.daughters)


def _tag_terms(b_tag: BTag, bottom: bool) -> tuple[float, float]:
    """What an object without and with a tag adds."""
    rate = b_tag.efficiency if bottom else b_tag.mistag
    return math.inf if bottom and b_tag.required else -2 * math.log(1 - rate), -2 * math.log(rate)


def _columns(objects: Any, tags: Any) -> tuple[list[Array], Ints]:
    """Momenta, energies and tags of all objects, and the number of objects of each event."""
    import awkward as ak

    missing = [name for name in _FIELDS if name not in ak.fields(objects)]
    if missing:
        raise MissingColumns(
            f"objects of a chi-square lack {', '.join(missing)}; got the fields "
            f"{', '.join(ak.fields(objects)) or 'none'}, expected {', '.join(_FIELDS)}"
        )
    if objects.ndim != 2:
        raise MismatchError(f"objects of a chi-square: got an array of {objects.ndim} axes, expected lists of events")
    counts = ak.to_numpy(ak.num(objects.pt, axis=1)).astype(np.int64)
    flat = []
    for name in _FIELDS:
        values = ak.to_numpy(ak.fill_none(ak.flatten(objects[name], axis=1), np.nan)).astype(np.float64)
        bad = ~np.isfinite(values)
        if bad.any():
            place = int(np.argmax(bad))
            row = int(np.searchsorted(np.cumsum(counts), place, side="right"))
            raise InvalidValues(
                f"field {name} of the objects, event {row}: got {values[place]}, expected finite numbers"
            )
        flat.append(values)
    tagged = np.zeros(len(flat[0]))
    if tags is not None:
        if not np.array_equal(ak.to_numpy(ak.num(tags, axis=1)), counts):
            raise MismatchError("tags: the numbers of objects of the events are not those of the objects")
        tagged = ak.to_numpy(ak.flatten(tags, axis=1)).astype(bool).astype(np.float64)
    pt, eta, phi, mass = flat
    return [px(pt, phi), py(pt, phi), pz(pt, eta), energy(pt, eta, mass), tagged], counts


def _padded(columns: Sequence[Array], starts: Ints, counts: Ints, slots: int) -> Floats:
    """The columns of the first objects of events; float64[events, slots, columns]."""
    places = starts[: len(counts), None] + np.arange(slots)
    real = np.arange(slots) < counts[:, None]
    places = np.where(real, places, 0)
    return np.ascontiguousarray(np.stack([np.where(real, column[places], 0.0) for column in columns], axis=-1))


guard(globals())
