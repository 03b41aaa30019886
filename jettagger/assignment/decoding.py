"""From distributions over tuples of objects to one assignment: greedy, jointly best, and several hypotheses.

A network gives each particle of an event a distribution over all ordered tuples of objects, one object for each of its
daughters. No two daughters may have the same object, so the distributions have to be decoded together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from jettagger.arguments import guard, in_range, shown
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName, WrongType
from jettagger.sessions.threads import default_threads
from jettagger.topology.eventfile import EventDescription, read_event_file
from jettagger.types import Array, Floats, Ints

__all__ = ["METHODS", "AssignmentFunction", "Decoded", "check_assignments", "decode", "event_of"]

#: how distributions are decoded
METHODS = ("greedy", "best", "sum")

#: a user's own assignment function: distributions of the particles -> objects of their daughters
AssignmentFunction = Callable[[Mapping[str, Any]], Mapping[str, Any]]

#: maximum number of hypotheses
_MAX_HYPOTHESES = 1000

#: maximum number of bytes of distributions in a block, and of events
_BLOCK_BYTES = 32 * 2**20
_BLOCK_EVENTS = 16384

#: probabilities of detection of 0 and 1 are taken as this close to them: such a particle may still be impossible
_CERTAIN = 1e-300


@dataclass(frozen=True, eq=False)
class Decoded(Brief):
    """Assignments of the objects of events to particles; made by :func:`decode`.

    Attributes
    ----------
    method : str
        ``"greedy"``, ``"best"``, ``"sum"``, or the name of the user's function.
    assignments : mapping of str to int64[events, daughters]
        Particle -> slot of each daughter in the axis of the distributions, -1 for all daughters of a particle that is
        not assigned. With several hypotheses int64[events, k, daughters].
    probabilities : mapping of str to float64[events]
        Particle -> probability of its assignment: the order of the group of its daughters times the probability of the
        tuple. NaN if it is not assigned. With several hypotheses float64[events, k].
    scores : float64[events]
        Total logarithm of the probabilities of the particles that are assigned, for ``"sum"`` their sum. With
        detection, probabilities include those of presence and absence. NaN where there is no further hypothesis. With
        several hypotheses float64[events, k].
    hypotheses : int64[events]
        Number of hypotheses, at most k.
    """

    method: str
    assignments: Mapping[str, Ints]
    probabilities: Mapping[str, Floats]
    scores: Floats
    hypotheses: Ints

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(self.hypotheses)


def event_of(event: EventDescription | str | os.PathLike[str]) -> EventDescription:
    """A description of the event, or the content of its file.

    Parameters
    ----------
    event : EventDescription or path

    Returns
    -------
    EventDescription
    """
    return event if isinstance(event, EventDescription) else read_event_file(event)


def decode(
    log_probabilities: Mapping[str, Any],
    event: EventDescription | str | os.PathLike[str],
    method: str | AssignmentFunction = "greedy",
    k: int = 1,
    detection: Mapping[str, Any] | None = None,
    threads: int | None = None,
) -> Decoded:
    """Assign objects to the daughters of all particles.

    ``"greedy"`` takes the largest number of all particles, then the largest of the other particles without the objects
    in use, and so on, as SPANet does; of equal numbers that of the first particle, and of its first tuple in the order
    of memory. ``"best"`` maximises the product of the probabilities of the particles, after the number of particles
    that are assigned. ``"sum"`` maximises the sum of their probabilities, which is the expected number of particles
    that are right. Where the greedy assignment is as good as any, all methods give it.

    No object is ever used twice, and a particle is not assigned only if no tuple of free objects is possible. Numbers
    that are -inf, or below -1e30, are impossible, and so is a distribution that is NaN throughout, which is what
    networks give for events with fewer objects than daughters.

    Parameters
    ----------
    log_probabilities : mapping of str to float[events, T, ..., T]
        Particle -> logarithm of the probability of each tuple of objects, one axis per daughter in the order of the
        event file, all of the same length T. Arrays, or what slices give arrays of, such as a data set of h5py, which
        is read in blocks.
    event : EventDescription or path
        The particles and their symmetries, or the event file.
    method : {"greedy", "best", "sum"} or callable
        A function takes the mapping of distributions and returns a mapping of particles to int[events, daughters], with
        -1 for all daughters of a particle that is not assigned. Its answer is checked.
    k : int
        Number of hypotheses, from 1 to 1000. They are in the order of what the method maximises. Those of ``"greedy"``
        are the greedy assignment, and after it the others in the order of the product of their probabilities.
        Hypotheses that exchanges of symmetric daughters or particles make equal count once, with their largest value.
    detection : mapping of str to float[events], optional
        Particle -> probability that it is present. A particle may then be absent: its tuples have the probability that
        it is present times that of the tuple (in any order of symmetric daughters), its absence that of not being
        present, and the method chooses among them, the greedy one also in its order. For ``"sum"`` an absent particle
        is right if it is declared absent.
    threads : int, optional
        Default: ``$JETTAGGER_THREADS``, one in a worker, otherwise all usable cores.

    Returns
    -------
    Decoded

    Raises
    ------
    UnknownName
        If a particle or method does not exist; with the nearest name.
    MismatchError
        If a particle is missing, or shapes disagree.
    InvalidValues
        If numbers are NaN or no logarithms of probabilities; with the event. If a function's answer is out of range or
        uses an object twice.
    ConfigError
        If an option is out of range.

    Examples
    --------
    >>> from jettagger.topology.eventfile import parse_event_text
    >>> event = parse_event_text('''
    ... INPUTS: {SEQUENTIAL: {Jets: {pt: log_normalize}}}
    ... EVENT: {h: [b1, b2], t: [b]}
    ... PERMUTATIONS: {h: [[b1, b2]]}
    ... ''')
    >>> pairs = np.log([[[0.0, 0.3, 0.0], [0.3, 0.0, 0.2], [0.0, 0.2, 0.0]]], where=[[[0, 1, 0], [1, 0, 1], [0, 1, 0]]],
    ...                out=np.full((1, 3, 3), -np.inf))
    >>> single = np.log([[0.1, 0.1, 0.8]])
    >>> decoded = decode({"h": pairs, "t": single}, event)
    >>> decoded.assignments["h"].tolist(), decoded.assignments["t"].tolist()
    ([[0, 1]], [[2]])
    >>> [round(float(value[0]), 3) for value in decoded.probabilities.values()]
    [0.6, 0.8]
    """
    description = event_of(event)
    problem = _Problem.of(log_probabilities, description, detection)
    in_range(k, "decode(), argument k", 1, _MAX_HYPOTHESES)
    if threads is not None:
        in_range(threads, "decode(), argument threads", 1)
    if not isinstance(method, str):
        if k != 1 or detection is not None:
            raise ConfigError(
                "decode(): a function of the user gives one assignment, without k and detection; "
                f"got k={k} and {'a' if detection is not None else 'no'} mapping of detection probabilities"
            )
        return _user_decoded(problem, method, log_probabilities)
    if method not in METHODS:
        raise UnknownName("method of decoding", method, METHODS)
    return problem.decoded(method, k, default_threads() if threads is None else threads)


@dataclass(frozen=True, eq=False)
class _Problem:
    """Distributions that were checked, but for their values."""

    description: EventDescription
    arrays: list[Any]
    n_events: int
    n_slots: int
    detection: Floats | None

    @classmethod
    def of(
        cls, log_probabilities: Mapping[str, Any], description: EventDescription, detection: Mapping[str, Any] | None
    ) -> _Problem:
        names = description.particle_names
        _check_names(log_probabilities, names, "distribution")
        arrays = [_array_of(log_probabilities[name], name) for name in names]
        n_events, n_slots = (arrays[0].shape[0], arrays[0].shape[1]) if arrays[0].ndim > 1 else (0, 0)
        for particle, array in zip(description.particles, arrays, strict=True):
            number = len(particle.daughters)
            expected = (n_events, *[n_slots] * number)
            if array.shape != expected:
                axes = ", ".join(["events", *[f"T ({name})" for name in particle.daughter_names]])
                raise MismatchError(
                    f"distribution of particle {particle.name!r}: got the shape {array.shape}, expected [{axes}], one "
                    f"axis for each daughter, all of the same length; by {names[0]!r} that is {expected}"
                )
        probabilities = None
        if detection is not None:
            _check_names(detection, names, "detection probability")
            probabilities = np.stack([_detection(detection[name], name, n_events) for name in names], axis=1)
        return cls(description, arrays, n_events, n_slots, probabilities)

    @property
    def daughters(self) -> list[int]:
        return [len(particle.daughters) for particle in self.description.particles]

    @property
    def orders(self) -> Floats:
        names = self.description.particle_names
        return np.array([self.description.daughter_group(name).order for name in names], dtype=np.float64)

    def decoded(self, method: str, k: int, threads: int) -> Decoded:
        """The assignments of one of the methods."""
        shape = (self.n_events, k)
        chosen = np.full((*shape, sum(self.daughters)), -1, dtype=np.int64)
        logs = np.full((*shape, len(self.arrays)), np.nan)
        found = np.ones(self.n_events, dtype=np.int64)
        if self.n_slots and self.n_events:
            self._fill(method, chosen, logs, found, threads)
        probabilities = np.exp(logs) * self.orders
        scores = self._scores(probabilities, method == "sum")
        scores[np.arange(k) >= found[:, None]] = np.nan
        if k == 1:
            chosen, probabilities, scores = chosen[:, 0], probabilities[:, 0], scores[:, 0]
        return self.result(method, chosen, probabilities, scores, found)

    def result(self, method: str, chosen: Ints, probabilities: Floats, scores: Floats, found: Ints) -> Decoded:
        """The same by particles."""
        names = self.description.particle_names
        ends = np.cumsum(self.daughters)
        return Decoded(
            method=method,
            assignments={
                name: chosen[..., end - number : end]
                for name, number, end in zip(names, self.daughters, ends, strict=True)
            },
            probabilities={name: probabilities[..., place] for place, name in enumerate(names)},
            scores=scores,
            hypotheses=found,
        )

    def _scores(self, probabilities: Floats, sums: bool) -> Floats:
        """What is maximised, for hypotheses that exist; float64[events, k]."""
        absent = np.isnan(probabilities)
        alone: Floats = np.full((self.n_events, 1, probabilities.shape[-1]), 0.0 if sums else 1.0)
        if self.detection is not None:
            present = np.clip(self.detection, _CERTAIN, None)[:, None, :]
            probabilities = probabilities * present
            alone = np.clip(1 - self.detection, _CERTAIN, None)[:, None, :]
        values = np.where(absent, alone, probabilities)
        if sums:
            return np.asarray(values.sum(axis=-1))
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(values).sum(axis=-1))

    def _fill(self, method: str, chosen: Ints, logs: Floats, found: Ints, threads: int) -> None:
        """Decode blocks of events in threads: compiled functions run without the lock of the interpreter."""
        blocks = list(self._blocks())
        run = _Run(self, method, chosen, logs, found)
        if threads == 1 or len(blocks) == 1:
            for start, stop in blocks:
                run(start, stop)
            return
        with ThreadPoolExecutor(min(threads, len(blocks))) as pool:
            for future in [pool.submit(run, start, stop) for start, stop in blocks]:
                future.result()

    def _blocks(self) -> Iterator[tuple[int, int]]:
        per_event = sum(8 * self.n_slots**number for number in self.daughters)
        size = max(min(_BLOCK_EVENTS, _BLOCK_BYTES // per_event), 1)
        for start in range(0, self.n_events, size):
            yield start, min(start + size, self.n_events)


class _Run:
    """Decodes blocks of events."""

    def __init__(self, problem: _Problem, method: str, chosen: Ints, logs: Floats, found: Ints) -> None:
        from jettagger.assignment import kernels

        self.kernels = kernels
        self.problem = problem
        self.method = method
        self.chosen = chosen
        self.logs = logs
        self.found = found
        wide = any(array.dtype.itemsize > 4 or array.dtype.kind != "f" for array in problem.arrays)
        self.value_type: np.dtype[Any] = np.dtype(np.float64 if wide else np.float32)
        self.bit_type: np.dtype[Any] = np.dtype(np.int64 if wide else np.int32)
        limits = np.array([kernels.IMPOSSIBLE, -np.inf], dtype=self.value_type).view(self.bit_type)
        whole = np.iinfo(self.bit_type)
        self.limits = np.array([limits[0], whole.max, limits[1], whole.min], dtype=self.bit_type)
        self.daughters = np.array(problem.daughters, dtype=np.int64)
        groups = [problem.description.daughter_group(name).elements for name in problem.description.particle_names]
        self.starts = np.cumsum([0, *map(len, groups)])
        self.elements = np.zeros((self.starts[-1], max(problem.daughters)), dtype=np.int64)
        for start, group in zip(self.starts, groups, strict=False):
            self.elements[start : start + len(group), : len(group[0])] = group
        self.exchanges = np.array(problem.description.event_group.elements, dtype=np.int64)

    def __call__(self, start: int, stop: int) -> None:
        problem = self.problem
        # contiguous, in the byte order of the machine; kept until the compiled function, which has addresses, is done
        arrays = [np.ascontiguousarray(array[start:stop], dtype=self.value_type) for array in problem.arrays]
        shift, greedy_shift, absent = self._options(start, stop)
        number = np.empty(1, dtype=self.value_type)
        addresses = np.array([array.ctypes.data for array in arrays], dtype=np.int64)
        size = (addresses, self.daughters, problem.n_slots, stop - start)
        types = (np.empty(0, dtype=self.bit_type), np.empty(0, dtype=self.value_type), self.limits)
        chosen, logs = self.chosen[start:stop], self.logs[start:stop]
        if self.method == "greedy" and chosen.shape[1] == 1:
            event, fault = self.kernels.decode_greedy(*size, greedy_shift, absent, *types, chosen[:, 0], logs[:, 0])
        else:
            event, fault = self.kernels.decode_joint(
                *size,
                shift,
                absent,
                *types,
                chosen,
                logs,
                self.method == "sum",
                problem.detection is not None,
                1 if self.method == "greedy" else 0,
                self.elements,
                self.starts,
                self.exchanges,
                number,
                number.view(self.bit_type),
                self.found[start:stop],
                greedy_shift,
            )
        if fault:
            self._refuse(arrays[fault // 4][event], problem.description.particle_names[fault // 4], start + event)

    def _options(self, start: int, stop: int) -> tuple[Floats, Floats, Floats]:
        """What is added to the logarithms, also for the greedy choice, and the logarithm for absence, by particles."""
        detection = self.problem.detection
        particles = len(self.problem.arrays)
        orders = np.log(self.problem.orders)
        if detection is None:
            return orders[None, :], np.zeros((1, particles)), np.full((1, particles), -np.inf)
        present = detection[start:stop]
        shift = orders + np.log(np.clip(present, _CERTAIN, None))
        return shift, shift, np.log(np.clip(1 - present, _CERTAIN, None))

    def _refuse(self, values: Array, name: str, event: int) -> None:
        place = f"distribution of particle {name!r}, event {event}"
        missing = int(np.isnan(values).sum())
        if missing:
            raise InvalidValues(
                f"{place}: {missing} of {values.size} numbers are NaN, expected logarithms of probabilities, -inf for "
                "tuples that are impossible (all are NaN only for an event that cannot have the particle)"
            )
        raise InvalidValues(
            f"{place}: got {float(np.nanmax(values)):.6g}, expected logarithms of probabilities, which are at most 0; "
            "of probabilities, take numpy.log"
        )


def _user_decoded(problem: _Problem, function: AssignmentFunction, log_probabilities: Mapping[str, Any]) -> Decoded:
    """The answer of a user's function, checked, with its probabilities."""
    label = getattr(function, "__name__", type(function).__name__)
    place = f"assignment function {label}()"
    answer = function(log_probabilities)
    if not isinstance(answer, Mapping):
        raise WrongType(
            f"{place}: returned {shown(answer)}, expected a mapping of particles to int[events, daughters]",
            where=place,
            got=shown(answer),
            expected="a mapping of particles to int[events, daughters]",
        )
    assignments = check_assignments(answer, problem.description, problem.n_events, problem.n_slots, place)
    probabilities = np.full((problem.n_events, len(problem.arrays)), np.nan)
    for column, (slots, array, order) in enumerate(
        zip(assignments.values(), problem.arrays, problem.orders, strict=True)
    ):
        for start, stop in problem._blocks():
            block = slots[start:stop]
            (rows,) = np.nonzero((block >= 0).all(axis=1))
            place_of = (rows, *block[rows].T)
            cells = np.asarray(array[start:stop], dtype=np.float64)[place_of]
            probabilities[start + rows, column] = order * np.exp(cells)
    scores = problem._scores(probabilities[:, None], False)[:, 0]
    chosen = np.concatenate(list(assignments.values()), axis=1)
    return problem.result(label, chosen, probabilities, scores, np.ones(problem.n_events, dtype=np.int64))


def check_assignments(
    assignments: Mapping[str, Any],
    event: EventDescription | str | os.PathLike[str],
    n_events: int,
    n_slots: int | None = None,
    place: str = "assignments",
) -> dict[str, Ints]:
    """Assignments that are valid: of the right shape, within the slots, and with no object used twice.

    Parameters
    ----------
    assignments : mapping of str to int[events, daughters]
        Particle -> slot of each daughter; -1 for all of them where the particle is not assigned.
    event : EventDescription or path
    n_events : int
    n_slots : int, optional
        Number of slots; by default any.
    place : str
        Where they come from, for messages.

    Returns
    -------
    dict of str to int64[events, daughters]
        In the order of the particles.

    Raises
    ------
    UnknownName, MismatchError, InvalidValues
    """
    description = event_of(event)
    _check_names(assignments, description.particle_names, "assignment", place)
    checked: dict[str, Ints] = {}
    for particle in description.particles:
        expected = (n_events, len(particle.daughters))
        slots = np.asarray(assignments[particle.name])
        if slots.shape != expected:
            raise MismatchError(
                f"{place}, particle {particle.name!r}: got the shape {slots.shape}, expected {expected}, "
                f"[events, daughters ({', '.join(particle.daughter_names)})]"
            )
        if slots.dtype.kind not in "iu":
            raise InvalidValues(
                f"{place}, particle {particle.name!r}: got numbers of type {slots.dtype}, expected whole numbers"
            )
        slots = slots.astype(np.int64)
        outside = slots < -1 if n_slots is None else (slots < -1) | (slots >= n_slots)
        known = "slots of at least 0" if n_slots is None else f"slots from 0 to {n_slots - 1}"
        _first(outside.any(axis=1), place, particle.name, slots, f"{known}, or -1 for a particle that is not assigned")
        partial = (slots < 0).any(axis=1) & (slots >= 0).any(axis=1)
        _first(partial, place, particle.name, slots, "objects for all daughters, or -1 for all of them")
        checked[particle.name] = slots
    together = np.concatenate(list(checked.values()), axis=1)
    ordered = np.sort(together, axis=1)
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(axis=1)
    if twice.any():
        row = int(np.argmax(twice))
        parts = "; ".join(f"{name} {slots[row].tolist()}" for name, slots in checked.items())
        raise InvalidValues(f"{place}, event {row}: an object is used twice: {parts}")
    return checked


def _first(bad: Any, place: str, name: str, slots: Ints, expected: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise InvalidValues(f"{place}, particle {name!r}, event {row}: got {slots[row].tolist()}, expected {expected}")


def _check_names(given: Mapping[str, Any], names: tuple[str, ...], what: str, place: str = "") -> None:
    where = f"{place}: " if place else ""
    unknown = [name for name in given if name not in names]
    if unknown:
        raise UnknownName(f"particle of a {what}", unknown, names, place or "the event file")
    absent = [name for name in names if name not in given]
    if absent:
        raise MismatchError(
            f"{where}no {what} of the particle{'s' if len(absent) > 1 else ''} {', '.join(absent)}; expected one of "
            f"each particle of the event file: {', '.join(names)}"
        )


def _array_of(values: Any, name: str) -> Any:
    """An array, or what has a shape and a type and can be sliced."""
    if not all(hasattr(values, attribute) for attribute in ("shape", "dtype", "ndim", "__getitem__")):
        try:
            values = np.asarray(values)
        except ValueError as error:
            raise MismatchError(f"distribution of particle {name!r}: no regular array of numbers ({error})") from None
    if values.dtype.kind not in "fiu":
        raise InvalidValues(
            f"distribution of particle {name!r}: got values of type {values.dtype}, expected logarithms"
        )
    return values


def _detection(values: Any, name: str, n_events: int) -> Floats:
    array = np.asarray(values)
    place = f"detection probability of particle {name!r}"
    if array.shape != (n_events,):
        raise MismatchError(f"{place}: got the shape {array.shape}, expected one number per event, ({n_events},)")
    if array.dtype.kind not in "fiu":
        raise InvalidValues(f"{place}: got values of type {array.dtype}, expected probabilities")
    array = array.astype(np.float64)
    bad = ~((array >= 0) & (array <= 1))
    if bad.any():
        row = int(np.argmax(bad))
        raise InvalidValues(f"{place}, event {row}: got {array[row]:.6g}, expected a probability, from 0 to 1")
    return array


guard(globals())
