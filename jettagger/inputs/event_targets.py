"""Truth of whole events: objects matched to the decay products of generator particles, regressions, classes, weights.

Decay products are taken before radiation. All decay products of an event are matched together to all selected objects,
one to one: of the pairs within the radius the nearest first, then the nearest of what remains. An object that is in two
inputs is one object. What is matched to an object beyond the slots of its input is lost, not given to another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, MissingColumns, UnknownName
from jettagger.expressions import parse
from jettagger.formats import EventColumns
from jettagger.formats.base import Offer
from jettagger.inputs.event_tensors import EventTensors, event_column, missing_text, resolve
from jettagger.kinematics import delta_r
from jettagger.topology.mapping import EventMapping, TargetKeys
from jettagger.truth.decays import Decay, DecayFinder, names_of
from jettagger.truth.matching import nearest_first, pairs
from jettagger.types import Array, Bools, Floats, Ints

if TYPE_CHECKING:
    from jettagger.topology.eventfile import EventDescription

__all__ = ["EventTargets", "MatchingTable", "check_target_columns", "event_targets"]

#: quantities of generator particles in expressions of regressions
QUANTITIES = ("pt", "eta", "phi", "mass", "px", "py", "pz", "energy", "pdgId")

#: columns of generator particles for matching and momenta
MOMENTA = ("pt", "eta", "phi", "mass")

#: row of `MatchingTable` for all particles together
ALL = "all"


@dataclass(frozen=True)
class MatchingTable(Brief):
    """Numbers of events with each particle, by the number of selected objects; tables can be added.

    Parameters
    ----------
    events : dict of int to int
        Number of selected objects of all sequential inputs -> number of events.
    generated, matched : dict of str to dict of int to int
        Particle -> the same for events in which it is generated with all decay products, and in which an object is
        matched to each of its daughters; ``all`` for all particles at once.
    ambiguous : int
        Decay products whose nearest object is also the nearest of another one.
    beyond_slots : int
        Decay products that are matched to an object beyond the slots.

    Examples
    --------
    >>> one = MatchingTable({6: 10}, {"t1": {6: 10}}, {"t1": {6: 4}})
    >>> (one + one).efficiency("t1"), (one + one).rows()
    (0.4, [('6', 20, {'t1': (20, 8)})])
    """

    events: dict[int, int] = field(default_factory=dict)
    generated: dict[str, dict[int, int]] = field(default_factory=dict)
    matched: dict[str, dict[int, int]] = field(default_factory=dict)
    ambiguous: int = 0
    beyond_slots: int = 0

    def __add__(self, other: MatchingTable) -> MatchingTable:
        def nested(first: Mapping[str, dict[int, int]], second: Mapping[str, dict[int, int]]) -> Any:
            return {name: _sum(first.get(name, {}), second.get(name, {})) for name in {**first, **second}}

        return MatchingTable(
            _sum(self.events, other.events),
            nested(self.generated, other.generated),
            nested(self.matched, other.matched),
            self.ambiguous + other.ambiguous,
            self.beyond_slots + other.beyond_slots,
        )

    def efficiency(self, particle: str) -> float:
        """Share of the events with a generated particle in which all its daughters are matched; NaN if there are none.

        Parameters
        ----------
        particle : str

        Returns
        -------
        float

        Raises
        ------
        UnknownName
            If there is no such particle.
        """
        if particle not in self.generated:
            raise UnknownName("particle", particle, self.generated, "the matching table")
        number = sum(self.generated[particle].values())
        return sum(self.matched[particle].values()) / number if number else float("nan")

    def rows(self, most: int | None = None) -> list[tuple[str, int, dict[str, tuple[int, int]]]]:
        """The table.

        Parameters
        ----------
        most : int, optional
            Events with this number of objects or more are one row.

        Returns
        -------
        list of tuple
            Number of objects, events, and for each particle the events with it and those in which it is matched.
        """

        def binned(counts: Mapping[int, int]) -> dict[int, int]:
            found: dict[int, int] = {}
            for number, count in counts.items():
                place = number if most is None else min(number, most)
                found[place] = found.get(place, 0) + count
            return found

        events = binned(self.events)
        generated = {name: binned(counts) for name, counts in self.generated.items()}
        matched = {name: binned(counts) for name, counts in self.matched.items()}
        return [
            (
                f"{number}" + (" and more" if number == most else ""),
                events[number],
                {name: (generated[name].get(number, 0), matched[name].get(number, 0)) for name in generated},
            )
            for number in sorted(events)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Its content for JSON."""
        return {
            "events": {str(number): count for number, count in sorted(self.events.items())},
            "generated": {name: {str(n): c for n, c in sorted(row.items())} for name, row in self.generated.items()},
            "matched": {name: {str(n): c for n, c in sorted(row.items())} for name, row in self.matched.items()},
            "ambiguous": self.ambiguous,
            "beyond_slots": self.beyond_slots,
        }


def _sum(first: Mapping[int, int], second: Mapping[int, int]) -> dict[int, int]:
    return {number: first.get(number, 0) + second.get(number, 0) for number in sorted({*first, *second})}


@dataclass(frozen=True)
class EventTargets(Brief):
    """Truth of whole events, by the names of the event file.

    Attributes
    ----------
    targets : dict of str to int64[events, daughters]
        Slots over all sequential inputs, one after the other; -1 for daughters without an object.
    masks : dict of str to bool[events]
        Whether all daughters have an object.
    generated : dict of str to bool[events]
        Whether the generator particle exists with all decay products.
    regressions : dict of str to float32[events]
        NaN where the particle does not exist.
    classifications : dict of str to int64[events]
        -1 where it is not known.
    weights : float32[events]
        Of all particles.
    table : MatchingTable
    event_weights : float32[events] or None
    """

    targets: dict[str, Ints]
    masks: dict[str, Bools]
    generated: dict[str, Bools]
    regressions: dict[str, Array]
    classifications: dict[str, Ints]
    weights: Array
    table: MatchingTable
    event_weights: Array | None = None


def event_targets(
    events: Any, tensors: EventTensors, mapping: EventMapping, description: EventDescription, dataset: str = ""
) -> EventTargets:
    """The truth of events.

    Parameters
    ----------
    events : awkward array or EventColumns
        The events of ``tensors``.
    tensors : EventTensors
    mapping : EventMapping
        With the key ``targets``.
    description : EventDescription
    dataset : str
        Name of the data set, for classes that depend on it.

    Returns
    -------
    EventTargets

    Raises
    ------
    MissingColumns
        Lists all missing columns, what needs them, and the nearest ones.
    ConfigError
        If the mapping lacks targets, or a class for the data set.
    InvalidValues
        If a class is no whole number from 0, a weight is not finite, or that of the particles negative; names the
        event.
    """
    columns = events if isinstance(events, EventColumns) else EventColumns(events)
    keys = _keys(mapping)
    check_target_columns(columns, mapping, description, dataset)
    particles, counts = _particles(columns, keys)
    finder = DecayFinder(particles, counts)
    decays = {name: finder.find(keys.particles[name]) for name in keys.particles}
    slots, ambiguous, beyond = _matched(columns, tensors, keys, description, decays, particles)
    targets: dict[str, Ints] = {}
    masks: dict[str, Bools] = {}
    generated: dict[str, Bools] = {}
    for particle in description.particles:
        name = particle.name
        if name in slots:
            targets[name], generated[name] = slots[name], decays[name].particle >= 0
        else:
            targets[name] = np.full((len(columns), len(particle.daughters)), -1)
            generated[name] = np.zeros(len(columns), dtype=bool)
        masks[name] = np.asarray((targets[name] >= 0).all(axis=1))
    values = _Values(columns, keys, decays, particles)
    regressions = {path: values.of(keys.regressions[path], "f4") for path in description.regressions}
    classes = {
        path: _classes(columns, values, keys.classifications[path], path, dataset)
        for path in description.classifications
    }
    weights: Array = np.ones(len(columns), dtype=np.float32)
    if keys.weight is not None:
        weights = values.of(keys.weight, "f4")
    _refuse_weights(columns, weights, "weight", negative=False)
    event_weights = None
    if keys.event_weight is not None:
        event_weights = values.of(keys.event_weight, "f4")
        _refuse_weights(columns, event_weights, "event_weight", negative=True)
    table = _table(tensors, description, generated, masks, ambiguous, beyond)
    return EventTargets(targets, masks, generated, regressions, classes, weights, table, event_weights)


def _keys(mapping: EventMapping) -> TargetKeys:
    if mapping.targets is None:
        raise ConfigError("the mapping has no key 'targets', which data sets need")
    return mapping.targets


def check_target_columns(
    offer: Offer,
    mapping: EventMapping,
    description: EventDescription,
    dataset: str = "",
    source: str = "these events",
) -> tuple[str, ...]:
    """Compare the available columns with those that targets need; nothing is read.

    Parameters
    ----------
    offer : Offer
    mapping : EventMapping
    description : EventDescription
    dataset : str
        Name of the data set, for classes that depend on it.
    source : str
        Name of the input, for errors.

    Returns
    -------
    tuple of str
        The required columns, sorted.

    Raises
    ------
    MissingColumns
        Lists all missing columns, what needs them, and the nearest ones.
    ConfigError
        If the mapping lacks targets, a regression or classification of the event file, or a class for the data set.
    """
    keys = _keys(mapping)
    for kind in ("regressions", "classifications"):
        lacking = [path for path in getattr(description, kind) if path not in getattr(keys, kind)]
        if lacking:
            raise ConfigError(f"the mapping lacks {kind} of the event file: {', '.join(lacking)}")
    for path, value in keys.classifications.items():
        if isinstance(value, dict) and dataset not in value:
            raise ConfigError(f"classification {path!r}: {UnknownName('data set', dataset, value)}")
    found: set[str] = set()
    absent: dict[str, list[str]] = {}
    for column, resolved, use in _uses(offer, mapping, description):
        if resolved is None:
            absent.setdefault(column, []).append(use)
        else:
            found.add(resolved)
    if absent:
        raise MissingColumns(missing_text(source, offer, absent))
    return tuple(sorted(found))


def _uses(offer: Offer, mapping: EventMapping, description: EventDescription) -> Iterator[tuple[str, str | None, str]]:
    keys = _keys(mapping)
    if keys.particles:
        for name in sorted({*names_of(keys.particles.values()), *MOMENTA}):
            column = f"{keys.collection}.{name}"
            yield column, resolve(offer, name, keys.collection), "generator particles"
        owners = {mapping.inputs[item.name].collection for item in description.sequential}
        for owner in sorted(name for name in owners if name):
            for name in ("eta", "phi"):
                yield f"{owner}.{name}", resolve(offer, name, owner), "the matching"
    texts = [(text, f"regression {path!r}") for path, text in keys.regressions.items()]
    texts += [(t, f"classification {path!r}") for path, t in keys.classifications.items() if isinstance(t, str)]
    weights = (("weight", keys.weight), ("event_weight", keys.event_weight))
    texts += [(text, name) for name, text in weights if text is not None]
    texts += [(mapping.select, "select")] if mapping.select is not None else []
    names = _Values.names(keys)
    for text, use in texts:
        for name in parse(text).names:
            if name not in names:
                if name.partition(".")[0] in keys.particles:
                    near = [item for item in names if item.partition(".")[0] == name.partition(".")[0]]
                    raise ConfigError(f"{use}: {UnknownName('quantity of generator particles', name, near)}")
                yield name, resolve(offer, name), use


def _particles(columns: EventColumns, keys: TargetKeys) -> tuple[dict[str, Array], Ints]:
    """Columns of the generator particles, and their numbers in each event."""
    if not keys.particles:
        return {name: np.zeros(0, int) for name in (*names_of(()), *MOMENTA)}, np.zeros(len(columns), int)
    names = sorted({*names_of(keys.particles.values()), *MOMENTA})
    return {name: columns.flat(f"{keys.collection}.{name}") for name in names}, columns.counts(keys.collection)


def _matched(
    columns: EventColumns,
    tensors: EventTensors,
    keys: TargetKeys,
    description: EventDescription,
    decays: Mapping[str, Decay],
    particles: Mapping[str, Array],
) -> tuple[dict[str, Ints], int, int]:
    """Slots of the daughters, numbers of ambiguous decay products and of those beyond the slots."""
    sequential = [item.name for item in description.sequential]
    sizes = [tensors.masks[name].shape[1] for name in sequential]
    offsets = dict(zip(sequential, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))
    # objects of all sequential inputs: number of the object in its collection, and slot
    base: dict[str, int] = {}
    total = 0
    for name in sequential:
        collection = tensors.collections[name]
        if collection not in base:
            base[collection] = total
            total += int(columns.counts(collection).sum())
    legs: list[tuple[str, int, Ints, str | None, float]] = []
    for particle in description.particles:
        if particle.name not in decays:
            continue
        for place, daughter in enumerate(particle.daughters):
            radius = keys.particles[particle.name].daughters[daughter.name].radius
            leg = decays[particle.name].legs[daughter.name]
            legs.append((particle.name, place, leg, daughter.source, keys.radius if radius is None else radius))
    n_events = len(columns)
    first, second, distances = [], [], []
    slot_of: dict[str, Ints] = {}
    for number, (_, _, leg, source, radius) in enumerate(legs):
        event = np.flatnonzero(leg >= 0)
        for name in sequential if source is None else [source]:
            chosen, collection = tensors.selected[name], tensors.collections[name]
            left, right = pairs(event, chosen.event, n_events)
            rows = chosen.rows[right]
            eta, phi = (columns.flat(f"{collection}.{column}") for column in ("eta", "phi"))
            index = leg[event[left]]
            distance = delta_r(particles["eta"][index], particles["phi"][index], eta[rows], phi[rows])
            near = distance < radius
            first.append(number * n_events + event[left[near]])
            second.append(base[collection] + rows[near])
            distances.append(distance[near])
    slots = {
        particle.name: np.full((n_events, len(particle.daughters)), -1, dtype=np.int64)
        for particle in description.particles
        if particle.name in decays
    }
    if not first:
        return slots, 0, 0
    one, two, apart = np.concatenate(first), np.concatenate(second), np.concatenate(distances)
    # an object that is in several inputs is a partner once
    _, unique = np.unique(one * max(total, 1) + two, return_index=True)
    one, two, apart = one[unique], two[unique], apart[unique]
    order = np.lexsort((two, apart, one))
    nearest = order[np.unique(one[order], return_index=True)[1]]
    claims = np.bincount(two[nearest], minlength=max(total, 1))
    contested = claims[two[nearest]] > 1
    if keys.ambiguous == "nearest":
        partner = nearest_first(one, two, apart, len(legs) * n_events)
    else:
        partner = np.full(len(legs) * n_events, -1, dtype=np.int64)
        partner[one[nearest[~contested]]] = two[nearest[~contested]]
    beyond = 0
    for number, (name, place, _, source, _) in enumerate(legs):
        mine = partner[number * n_events : (number + 1) * n_events]
        found = np.full(n_events, -1, dtype=np.int64)
        for input_name in reversed(sequential if source is None else [source]):
            if input_name not in slot_of:
                chosen = tensors.selected[input_name]
                slot = np.full(max(total, 1), -1, dtype=np.int64)
                slot[base[tensors.collections[input_name]] + chosen.rows] = chosen.slot
                slot_of[input_name] = slot
            slot = np.where(mine >= 0, slot_of[input_name][mine], -1)
            inside = (slot >= 0) & (slot < tensors.masks[input_name].shape[1])
            found = np.where(inside, slot + offsets[input_name], found)
        beyond += int(np.count_nonzero((mine >= 0) & (found < 0)))
        slots[name][:, place] = found
    return slots, int(np.count_nonzero(contested)), beyond


class _Values:
    """Expressions in columns of the event and quantities of generator particles."""

    def __init__(
        self, columns: EventColumns, keys: TargetKeys, decays: Mapping[str, Decay], particles: Mapping[str, Array]
    ) -> None:
        self.columns, self.particles = columns, particles
        self.known = self.names(keys)
        self.index = {}
        for name, decay in decays.items():
            self.index[name] = decay.particle
            self.index |= {f"{name}.{leg}": index for leg, index in decay.legs.items()}

    @staticmethod
    def names(keys: TargetKeys) -> list[str]:
        """``t1.pt``, ``t1.b.pt`` and so on."""
        owners = []
        for name, particle in keys.particles.items():
            owners += [name, *(f"{name}.{leg}" for leg in (*particle.daughters, *particle.others))]
        return [f"{owner}.{quantity}" for owner in owners for quantity in QUANTITIES]

    def of(self, text: str, dtype: str = "f8") -> Array:
        """The values of an expression, NaN where a particle does not exist."""
        import awkward as ak

        expression = parse(text)
        values = {}
        absent = np.zeros(len(self.columns), dtype=bool)
        for name in expression.names:
            if name in self.known:
                owner, _, quantity = name.rpartition(".")
                absent |= self.index[owner] < 0
                values[name] = self._quantity(self.index[owner], quantity)
            else:
                values[name] = event_column(self.columns, name)
        found = expression.evaluate(values)
        if isinstance(found, ak.Array):
            found = ak.to_numpy(ak.fill_none(found, np.nan))
        # also where a comparison with NaN has given false
        return np.where(absent, np.nan, np.asarray(found)).astype(dtype)

    def _quantity(self, index: Ints, quantity: str) -> Floats:
        def column(name: str) -> Floats:
            values = self.particles[name].astype(np.float64)
            if not len(values):
                return np.full(len(index), np.nan)
            return np.where(index >= 0, values[np.maximum(index, 0)], np.nan)

        if quantity in ("pt", "eta", "phi", "mass", "pdgId"):
            return column(quantity)
        pt, eta, phi = column("pt"), column("eta"), column("phi")
        if quantity == "px":
            return np.asarray(pt * np.cos(phi))
        if quantity == "py":
            return np.asarray(pt * np.sin(phi))
        if quantity == "pz":
            return np.asarray(pt * np.sinh(eta))
        return np.sqrt((pt * np.cosh(eta)) ** 2 + column("mass") ** 2)


def _classes(
    columns: EventColumns, values: _Values, value: int | str | dict[str, int], path: str, dataset: str
) -> Ints:
    if isinstance(value, dict):
        value = value[dataset]
    if isinstance(value, int):
        return np.full(len(columns), value, dtype=np.int64)
    found = values.of(value)
    bad = np.flatnonzero(~np.isnan(found) & ((found < 0) | (found != np.floor(found))))
    if len(bad):
        raise InvalidValues(
            f"classification {path!r}: {value!r} gives {found[bad[0]]:g} in {_place(columns, int(bad[0]))}, expected a "
            "whole number from 0"
        )
    return np.where(np.isnan(found), -1, found).astype(np.int64)


def _refuse_weights(columns: EventColumns, weights: Array, key: str, *, negative: bool) -> None:
    advice = "; negative weights are for event_weight"
    for wrong, end in ((~np.isfinite(weights), ""), ((weights < 0) & (not negative), advice)):
        bad = np.flatnonzero(wrong & columns.valid)
        if len(bad):
            raise InvalidValues(
                f"the {key} is {weights[bad[0]]:g} in {len(bad)} of {len(columns)} events, first in "
                f"{_place(columns, int(bad[0]))}{end}"
            )


def _place(columns: EventColumns, entry: int) -> str:
    number = f"event number {int(event_column(columns, 'event')[entry])}, " if columns.has("event") else ""
    return f"{number}entry {columns.place(entry)} of {columns.source}"


def _table(
    tensors: EventTensors,
    description: EventDescription,
    generated: Mapping[str, Bools],
    masks: Mapping[str, Bools],
    ambiguous: int,
    beyond: int,
) -> MatchingTable:
    number = np.sum([tensors.counts[item.name] for item in description.sequential], axis=0)

    def counted(chosen: Bools) -> dict[int, int]:
        values, counts = np.unique(number[chosen], return_counts=True)
        return dict(zip(values.tolist(), counts.tolist(), strict=True))

    everything = np.ones(len(number), dtype=bool)
    both = {
        **{name: (generated[name], generated[name] & masks[name]) for name in masks},
        ALL: (
            np.logical_and.reduce([everything, *generated.values()]),
            np.logical_and.reduce([everything, *masks.values()]),
        ),
    }
    return MatchingTable(
        counted(everything),
        {name: counted(there) for name, (there, _) in both.items()},
        {name: counted(matched) for name, (_, matched) in both.items()},
        ambiguous,
        beyond,
    )


guard(globals(), "event_targets", "check_target_columns")
