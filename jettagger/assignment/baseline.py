"""The smallest chi-square on events of data sets: the assignment without training beside those of networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jettagger.arguments import guard
from jettagger.assignment.blocks import AssignmentEvents, offsets_of
from jettagger.assignment.chisquare import BTag, MassTerm, chi_square, higgs_term, top_terms
from jettagger.assignment.networks import KinematicColumns, kinematic_columns
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues
from jettagger.expressions import Expression, parse
from jettagger.topology.eventfile import EventDescription, EventInput, Particle, PermutationEntry
from jettagger.types import Array, Ints

__all__ = ["ChiSquareBaseline", "parse_baseline"]

_FORMS = "PARTICLE=top, PARTICLE=higgs or PARTICLE/DAUGHTER+DAUGHTER=MASS,WIDTH"


@dataclass(frozen=True)
class ChiSquareBaseline(Brief):
    """Assignments with the smallest chi-square for events of data sets; made by `parse_baseline`.

    Attributes
    ----------
    event : EventDescription
        Only the particles that have terms.
    terms : tuple of MassTerm
    objects : EventInput
        The input whose objects are assigned.
    columns : KinematicColumns
        Its columns with momenta.
    tag : Expression or None
        In features of the input, true for objects with a b tag.
    b_tag : BTag or None
    max_objects : int
        The first objects in the order of pt are considered.
    """

    event: EventDescription
    terms: tuple[MassTerm, ...]
    objects: EventInput
    columns: KinematicColumns
    tag: Expression | None = None
    b_tag: BTag | None = None
    max_objects: int = 12

    def cut(self, block: AssignmentEvents) -> int:
        """Number of events with more objects than are considered.

        Parameters
        ----------
        block : AssignmentEvents

        Returns
        -------
        int
        """
        return int(np.count_nonzero(np.count_nonzero(block.masks[self.objects.name], axis=1) > self.max_objects))

    def assign(self, block: AssignmentEvents, threads: int | None = None) -> dict[str, Ints]:
        """The assignments of a block.

        Parameters
        ----------
        block : AssignmentEvents
        threads : int, optional

        Returns
        -------
        dict of str to int64[events, daughters]
            Particle -> slots of all sequential inputs, -1 where it is not assigned.

        Raises
        ------
        InvalidValues
            If the b tag is not a comparison, or a momentum is not finite.
        """
        import awkward as ak

        values = np.asarray(block.values[self.objects.name])
        mask = np.asarray(block.masks[self.objects.name])
        pt = np.where(mask, values[..., self.columns.pt], -np.inf)
        order = np.argsort(-pt, axis=1, kind="stable")
        values, mask = np.take_along_axis(values, order[..., None], axis=1), np.take_along_axis(mask, order, axis=1)
        flat, counts = values[mask], mask.sum(axis=1)

        def lists(array: Array) -> ak.Array:
            return ak.unflatten(array, counts)

        tags = None
        if self.tag is not None:
            features = {feature.name: flat[:, place] for place, feature in enumerate(self.objects.features)}
            passing = np.broadcast_to(np.asarray(self.tag.evaluate(features)), (len(flat),))
            if passing.dtype != np.bool_:
                raise InvalidValues(f"b tag {self.tag.text!r} is a number, expected a comparison such as btag > 0.5")
            tags = lists(passing)
        jets = self._jets(flat, lists)
        found = chi_square(jets, self.event, self.terms, self.b_tag, tags, self.max_objects, threads)
        slots_of = {item.name: np.shape(block.masks[item.name])[1] for item in self.event.sequential}
        offset = offsets_of(self.event, slots_of)[self.objects.name]
        made = {}
        for name, places in found.assignments.items():
            slots = np.take_along_axis(order, np.maximum(places, 0), axis=1) + offset
            made[name] = np.where(places >= 0, slots, -1)
        return made

    def _jets(self, flat: Array, lists: object) -> object:
        import awkward as ak

        columns = self.columns
        phi = (
            flat[:, columns.phi[0]]
            if len(columns.phi) == 1
            else np.arctan2(flat[:, columns.phi[0]], flat[:, columns.phi[1]])
        )
        mass = np.zeros(len(flat), np.float32) if columns.mass is None else flat[:, columns.mass]
        fields = {"pt": flat[:, columns.pt], "eta": flat[:, columns.eta], "phi": phi, "mass": mass}
        return ak.zip({name: lists(array) for name, array in fields.items()})  # type: ignore[operator]


def parse_baseline(
    event: EventDescription,
    texts: Sequence[str],
    b_tag: str | None = None,
    efficiency: float = 0.7,
    mistag: float = 0.04,
) -> ChiSquareBaseline:
    """The baseline of some particles, from text.

    Parameters
    ----------
    event : EventDescription
    texts : sequence of str
        ``ht=top``: the masses of W and top, whose quarks of the W boson are the daughters that may be exchanged;
        ``h=higgs``: the mass of both daughters; ``z/l1+l2=91.2,3``: a mass and its width in GeV, of some daughters.
    b_tag : str, optional
        Expression in the features of the objects, ``btag > 0.5``. Daughters of ``higgs``, and the daughter of ``top``
        that is not exchanged, are b quarks; others are not.
    efficiency, mistag : float
        Probabilities of a tag, see `BTag`.

    Returns
    -------
    ChiSquareBaseline

    Raises
    ------
    ConfigError
        If a text has another form, a particle does not have the daughters for it, the objects have no momenta, or
        daughters are of several inputs.
    UnknownName
        If a particle, daughter or feature does not exist; with the nearest name.

    Examples
    --------
    >>> from jettagger.topology.eventfile import parse_event_text
    >>> event = parse_event_text('''
    ... INPUTS: {SEQUENTIAL: {Jets: {pt: log, eta: none, phi: none, btag: none}}}
    ... EVENT: {lt: [b], ht: [b, q1, q2]}
    ... PERMUTATIONS: {ht: [[q1, q2]]}
    ... ''')
    >>> baseline = parse_baseline(event, ["ht=top"], "btag > 0.5")
    >>> [term.daughters for term in baseline.terms], baseline.b_tag.bottom
    ([('q1', 'q2'), ('q1', 'q2', 'b')], {'ht': ('b',)})
    """
    terms: list[MassTerm] = []
    bottom: dict[str, tuple[str, ...]] = {}
    for text in texts:
        left, _, right = (part.strip() for part in text.partition("="))
        name, _, daughters = left.partition("/")
        particle = event.particle(name)
        if right == "top" and not daughters:
            light, other = _top_daughters(event, particle, text)
            terms += top_terms(name, light, other)
            bottom[name] = (other,)
        elif right == "higgs" and not daughters:
            if len(particle.daughters) != 2:
                raise ConfigError(f"chi-square {text!r}: {name} has {len(particle.daughters)} daughters, expected 2")
            terms.append(higgs_term(name, particle.daughter_names))
            bottom[name] = particle.daughter_names
        else:
            terms.append(_mass_term(text, name, daughters, right))
    names = list(dict.fromkeys(term.particle for term in terms))
    if not names:
        raise ConfigError(f"chi-square: no terms, expected {_FORMS}")
    particles = tuple(particle for particle in event.particles if particle.name in names)
    objects, columns = _objects(event, particles)
    tag = None
    if b_tag is not None:
        tag = parse(b_tag, "b tag")
        tag.check(objects.feature_names, "feature")
    return ChiSquareBaseline(
        EventDescription(event.inputs, particles, _permutations(event, names)),
        tuple(terms),
        objects,
        columns,
        tag,
        None if tag is None else BTag(bottom, efficiency, mistag),
    )


def _permutations(event: EventDescription, particles: Sequence[str]) -> dict[str, tuple[PermutationEntry, ...]]:
    """Those of some particles, and exchanges among them."""
    made = {name: entries for name, entries in event.permutations.items() if name in particles}
    exchanges: list[PermutationEntry] = []
    for entry in event.permutations.get("EVENT", ()):
        names = [name for part in entry for name in ([part] if isinstance(part, str) else part)]
        if set(names) <= set(particles):
            exchanges.append(entry)
    return {**made, "EVENT": tuple(exchanges)} if exchanges else made


def _top_daughters(event: EventDescription, particle: Particle, text: str) -> tuple[tuple[str, ...], str]:
    """The daughters of the W boson, and the other one."""
    names = particle.daughter_names
    orbits = [orbit for orbit in event.daughter_group(particle.name).orbits if len(orbit) == 2]
    if len(names) != 3 or len(orbits) != 1:
        raise ConfigError(
            f"chi-square {text!r}: expected three daughters, of which two may be exchanged (the quarks of the W "
            f"boson); {particle.name} has {', '.join(names)}; give PARTICLE/DAUGHTER+DAUGHTER=MASS,WIDTH"
        )
    light = tuple(names[place] for place in orbits[0])
    return light, next(name for name in names if name not in light)


def _mass_term(text: str, name: str, daughters: str, numbers: str) -> MassTerm:
    try:
        mass, width = (float(number) for number in numbers.split(","))
    except ValueError:
        mass = width = math.nan
    if not daughters or not math.isfinite(mass + width):
        raise ConfigError(f"chi-square: got {text!r}, expected {_FORMS}")
    return MassTerm(name, tuple(part.strip() for part in daughters.split("+")), mass, width)


def _objects(event: EventDescription, particles: Sequence[Particle]) -> tuple[EventInput, KinematicColumns]:
    """The input that all daughters are objects of."""
    columns = kinematic_columns(event, "a chi-square needs")
    sources = {daughter.source for particle in particles for daughter in particle.daughters}
    named = sorted(name for name in sources if name is not None)
    candidates = [name for name in named or columns if name in columns]
    if len(candidates) != 1 or (None in sources and len(event.sequential) > 1) or len(named) > 1:
        raise ConfigError(
            "a chi-square needs daughters that are objects of one input with momenta; the event file names "
            f"{', '.join(named) or 'none'}, and inputs with momenta are {', '.join(columns)}"
        )
    return event.input(candidates[0]), columns[candidates[0]]


guard(globals())
