"""Whole events as the source of a network's inputs, and what the network finds as columns of these events.

As a source of jets (`jettagger.inputs.source.Source`) it compares columns, makes a request for an input, and puts
results back; its rows are events, as the tensors of `jettagger.inputs.event_tensors`, so that it is none (see
ARCHITECTURE.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from jettagger.display import Brief
from jettagger.errors import MismatchError, MissingColumns, UnknownName, hint
from jettagger.formats import EventColumns
from jettagger.formats.attach import with_fields
from jettagger.inputs.event_tensors import EventTensors, check_columns, event_tensors
from jettagger.types import Array, Floats, Ints

if TYPE_CHECKING:
    from jettagger.assignment.assigner import Assigned
    from jettagger.topology.eventfile import EventDescription
    from jettagger.topology.mapping import EventMapping

__all__ = [
    "PROBABILITIES",
    "VECTOR",
    "EventRequest",
    "WholeEvents",
    "check_prefix",
    "empty_columns",
    "named_vectors",
    "refuse_taken",
]

#: fields of a particle
VECTOR = ("pt", "eta", "phi", "mass")
PROBABILITIES = ("assignment_probability", "detection_probability", "marginal_probability")


@dataclass(frozen=True)
class WholeEvents(Brief):
    """The source of inputs of networks on whole events.

    Parameters
    ----------
    event : EventDescription
    mapping : EventMapping
    slots : dict of str to int or None
        Sequential input -> number of objects that the network takes.
    """

    event: EventDescription
    mapping: EventMapping
    slots: Mapping[str, int | None]

    @property
    def collections(self) -> dict[str, str]:
        """Sequential input -> collection of its objects."""
        return {item.name: self.mapping.inputs[item.name].collection or "" for item in self.event.sequential}

    def check(self, offer: Any, source: str = "these events") -> tuple[str, ...]:
        """Compare the available columns with the required ones; nothing is read.

        Parameters
        ----------
        offer : Offer
            Events or an open file.
        source : str
            Name of the input, for messages.

        Returns
        -------
        tuple of str
            The columns that are read, sorted: those of the mapping, and the four-vectors of the objects (``mass`` only
            where there is one).

        Raises
        ------
        MissingColumns
            Lists all missing columns, and what needs them.
        """
        columns = set(check_columns(offer, self.mapping, self.event, source))
        missing = []
        for name, collection in self.collections.items():
            for field in VECTOR:
                column = f"{collection}.{field}"
                if offer.has(column):
                    columns.add(column)
                elif field != "mass":
                    fields = getattr(offer, "fields", None)
                    near = [f"{collection}.{other}" for other in fields(collection)] if callable(fields) else []
                    missing.append(f"  {column}{hint(column, near)}, for the four-vectors of {name}")
        if missing:
            raise MissingColumns(f"{source} lack columns of four-vectors:\n" + "\n".join(missing))
        return tuple(sorted(columns))

    def request(self, events: Any) -> EventRequest:
        """The inputs of events in memory, or virtual ones.

        Parameters
        ----------
        events : awkward array

        Returns
        -------
        EventRequest

        Raises
        ------
        MissingColumns
            As for `check`.
        InvalidValues
            If a feature is None or not finite, and the mapping does not say what stands for it.
        """
        columns = EventColumns(events)
        self.check(columns)
        return EventRequest(columns, self, event_tensors(columns, self.mapping, self.event))


@dataclass(frozen=True)
class EventRequest(Brief):
    """The inputs of events, and where results are put.

    Parameters
    ----------
    columns : EventColumns
    source : WholeEvents
    tensors : EventTensors
    """

    columns: EventColumns
    source: WholeEvents
    tensors: EventTensors

    def lost(self, slots: Mapping[str, int]) -> dict[str, int]:
        """Sequential input -> events with more selected objects than the slots of mapping and network.

        Parameters
        ----------
        slots : mapping of str to int
            Of the network.

        Returns
        -------
        dict of str to int
        """
        tensors = self.tensors
        return {
            name: int(np.count_nonzero(tensors.counts[name] > min(size, tensors.masks[name].shape[1])))
            for name, size in slots.items()
        }

    @cached_property
    def first_slots(self) -> dict[str, int]:
        """Sequential input -> its first slot."""
        starts, first = {}, 0
        for item in self.source.event.sequential:
            starts[item.name] = first
            first += self.tensors.masks[item.name].shape[1]
        return starts

    def places(self, slots: Ints) -> tuple[Ints, Ints]:
        """Inputs and indices of objects that are given by their slots.

        Parameters
        ----------
        slots : int64[events]
            Over all sequential inputs; -1: none.

        Returns
        -------
        number : int64[events]
            Number of the input among all of the event file; -1: none.
        index : int64[events]
            Index in the event's own collection; -1: none.
        """
        number, index = np.full(len(slots), -1), np.full(len(slots), -1)
        rows = np.arange(len(slots))
        for place, item in enumerate(self.source.event.inputs):
            if item.name not in self.first_slots:
                continue
            first, own = self.first_slots[item.name], self.tensors.indices[item.name]
            inside = (slots >= first) & (slots < first + own.shape[1])
            number[inside] = place
            index[inside] = own[rows[inside], slots[inside] - first]
        return number, index

    def vectors(self, assignments: Ints) -> dict[str, Floats]:
        """Four-vectors of sums of objects.

        Parameters
        ----------
        assignments : int64[events, daughters]
            Slots; -1: none.

        Returns
        -------
        dict of str to float64[events]
            ``pt``, ``eta``, ``phi``, ``mass`` (GeV); NaN where an object is missing. Objects without a mass are
            massless.
        """
        total = np.zeros((4, len(assignments)))
        missing = (assignments < 0).any(axis=1)
        names = [item.name for item in self.source.event.inputs]
        for slots in assignments.T:
            number, index = self.places(slots)
            for name, collection in self.source.collections.items():
                rows = np.flatnonzero((number == names.index(name)) & ~missing)
                at = self.columns.places(collection, rows, index[rows])
                total[:, rows] += _cartesian(*(self._flat(collection, field)[at] for field in VECTOR))
        total[:, missing] = np.nan
        energy, px, py, pz = total
        pt = np.hypot(px, py)
        mass = np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0))
        with np.errstate(divide="ignore", invalid="ignore"):
            eta = np.arcsinh(pz / pt)
        return {"pt": pt, "eta": eta, "phi": np.arctan2(py, px), "mass": np.where(missing, np.nan, mass)}

    def objects(self, name: str) -> Any:
        """The four-vectors of the objects of one input, in the order of its slots.

        Parameters
        ----------
        name : str
            A sequential input with a collection.

        Returns
        -------
        awkward array
            ``events * var * {pt, eta, phi, mass}``, GeV; objects without a mass are massless.

        Raises
        ------
        UnknownName
            If there is no such input.
        """
        import awkward as ak

        collections = {
            key: self.source.collections[key] for key in self.first_slots if self.source.collections.get(key)
        }
        if name not in collections:
            raise UnknownName("sequential input", name, collections, "the event file")
        mask = self.tensors.masks[name]
        rows, indices = np.nonzero(mask)[0], self.tensors.indices[name][mask]
        at = self.columns.places(collections[name], rows, indices)
        fields = {field: self._flat(collections[name], field)[at] for field in VECTOR}
        return ak.unflatten(ak.zip(fields), mask.sum(axis=1))

    def _flat(self, collection: str, field: str) -> Floats:
        column = f"{collection}.{field}"
        if column not in self._values:
            has = self.columns.has(column)
            size = int(self.columns.counts(collection).sum())
            self._values[column] = self.columns.flat(column).astype(np.float64) if has else np.zeros(size)
        return self._values[column]

    @cached_property
    def _values(self) -> dict[str, Floats]:
        return {}

    def put_back(self, events: Any, found: Assigned, prefix: str, names: Iterable[str]) -> Any:
        """Events with what was found.

        Parameters
        ----------
        events : awkward array
        found : Assigned
            For these events.
        prefix : str
        names : iterable of str
            Fields of the record ``<prefix>``.

        Returns
        -------
        awkward array
            See `Assigner.attach`.

        Raises
        ------
        MismatchError
            If a column of that name exists already.
        """
        event = self.source.event
        refuse_taken(events.fields, event, prefix)
        behavior, vector = named_vectors(events.behavior)
        several = len(event.sequential) > 1
        new = {}
        for particle in event.particles:
            slots = found.assignments[particle.name]
            fields = {name: _option(values) for name, values in self.vectors(slots).items()}
            for daughter, own in zip(particle.daughters, slots.T, strict=True):
                number, index = self.places(own)
                fields[f"{daughter.name}Idx"] = _option(index.astype(np.int32), index >= 0)
                if several:
                    fields[f"{daughter.name}Input"] = _option(number.astype(np.int8), number >= 0)
            for name in PROBABILITIES:
                fields[name] = _option(getattr(found, name)[particle.name].astype(np.float32))
            new[f"{prefix}_{particle.name}"] = _record(fields, vector)
        values: dict[str, Any] = {"scored": _numbers(found.scored)}
        for path, array in found.regressions.items():
            values[path.replace("/", "_")] = _option(array, found.scored)
        for front, arrays in (("", found.classes), ("embedding_", found.embeddings)):
            for path, array in arrays.items():
                values[f"{front}{path.replace('/', '_')}"] = _lists(array, found.scored)
        nothing = np.zeros((len(found.scored), 0), dtype=np.float32)
        # without any scored event, the network says nothing of its classes
        new[prefix] = _record({name: values.get(name, _lists(nothing, found.scored)) for name in names})
        made = with_fields(events, new)
        if behavior is not None:
            made.behavior = behavior
        return made


def _cartesian(pt: Array, eta: Array, phi: Array, mass: Array) -> Floats:
    """E, px, py, pz; float64[4, n]."""
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    return np.array([np.sqrt(px**2 + py**2 + pz**2 + mass**2), px, py, pz])


def check_prefix(prefix: str) -> None:
    """Refuse a front of names that is no name.

    Parameters
    ----------
    prefix : str

    Raises
    ------
    MismatchError
    """
    if not prefix.isidentifier():
        raise MismatchError(f"a prefix of letters, digits and _ is required, got {prefix!r}")


def refuse_taken(fields: Iterable[str], event: EventDescription, prefix: str) -> None:
    """Refuse names that the events have already.

    Parameters
    ----------
    fields : iterable of str
        Of the events.
    event : EventDescription
    prefix : str

    Raises
    ------
    MismatchError
    """
    wanted = {prefix, *(f"{prefix}_{particle.name}" for particle in event.particles)}
    if taken := sorted(wanted & set(fields)):
        raise MismatchError(f"the events have {', '.join(taken)} already: give another prefix=")


def named_vectors(behavior: Any) -> tuple[Any, str | None]:
    """The behaviours of events with those of four-vectors, and the name of records that have them.

    Parameters
    ----------
    behavior : mapping or None

    Returns
    -------
    behavior : dict or None
        None if nothing has to be added.
    name : str or None
        None if there are no such behaviours: the package vector is not installed.
    """
    if behavior is not None and "PtEtaPhiMLorentzVector" in behavior:  # NanoEvents
        return None, "PtEtaPhiMLorentzVector"
    try:
        from vector.backends.awkward import behavior as vectors
    except ImportError:
        return None, None
    return {**(behavior or {}), **vectors}, "Momentum4D"


def _numbers(values: Array) -> Any:
    import awkward as ak

    return ak.contents.NumpyArray(np.ascontiguousarray(values))


def _option(values: Array, present: Array | None = None) -> Any:
    """Numbers, None where they are absent (default: NaN)."""
    import awkward as ak

    present = ~np.isnan(values) if present is None else present
    index = np.where(present, np.arange(len(values)), -1).astype(np.int64)
    return ak.contents.IndexedOptionArray(ak.index.Index64(index), _numbers(values))


def _lists(values: Array, present: Array) -> Any:
    """Rows of a matrix as lists, None where they are absent."""
    import awkward as ak

    offsets = np.arange(len(values) + 1, dtype=np.int64) * values.shape[1]
    lists = ak.contents.ListOffsetArray(ak.index.Index64(offsets), _numbers(values.astype(np.float32).reshape(-1)))
    index = np.where(present, np.arange(len(values)), -1).astype(np.int64)
    return ak.contents.IndexedOptionArray(ak.index.Index64(index), lists)


def _record(fields: Mapping[str, Any], name: str | None = None) -> Any:
    import awkward as ak

    parameters = None if name is None else {"__record__": name}
    return ak.contents.RecordArray(list(fields.values()), list(fields), parameters=parameters)


def empty_columns(event: EventDescription, prefix: str, names: Iterable[str], vector: str | None) -> dict[str, Any]:
    """The columns of `EventRequest.put_back` for no events, from which their form is known.

    Parameters
    ----------
    event : EventDescription
    prefix : str
    names : iterable of str
        Fields of the record ``<prefix>``.
    vector : str or None
        Name of the records of particles.

    Returns
    -------
    dict of str to awkward layout
    """
    several = len(event.sequential) > 1
    real, no = np.zeros(0, dtype=np.float64), np.zeros(0, dtype=bool)
    new = {}
    for particle in event.particles:
        fields = {name: _option(real) for name in VECTOR}
        for daughter in particle.daughters:
            fields[f"{daughter.name}Idx"] = _option(no.astype(np.int32), no)
            if several:
                fields[f"{daughter.name}Input"] = _option(no.astype(np.int8), no)
        fields |= {name: _option(real.astype(np.float32)) for name in PROBABILITIES}
        new[f"{prefix}_{particle.name}"] = _record(fields, vector)
    numbers = {path.replace("/", "_") for path in event.regressions}
    values: dict[str, Any] = {}
    for name in names:
        if name == "scored":
            values[name] = _numbers(no)
        elif name in numbers:
            values[name] = _option(real.astype(np.float32))
        else:
            values[name] = _lists(np.zeros((0, 0), dtype=np.float32), no)
    new[prefix] = _record(values)
    return new
