"""Compiled loops of the decoder over events; imported when something is decoded, since numba takes a second to load.

Distributions are passed as addresses: one compilation serves any number of particles and daughters. Numbers that are
not positive are ordered like their bits, read as integers, in reverse; minima of integers are vectorised without any
assumption about NaN, whose bits lie outside of the range. Cells of objects in use are excluded by setting their bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

__all__ = ["IMPOSSIBLE", "compiled", "decode_greedy", "decode_joint", "evaluate_masses"]

#: logarithms at or below are impossible; masked cells are -inf, or the lowest float32 after numpy.nan_to_num
IMPOSSIBLE = -1e30

#: logarithms of probabilities exceed 0 by rounding alone, also those of networks in half precision
_ROUNDING = 0.01

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """A function compiled by numba at its first call, without the lock of the interpreter.

    Parameters
    ----------
    function : callable

    Returns
    -------
    callable
        The machine code is kept on disk, beside the module or in the cache of the user, if one of them is writable.
    """
    try:
        return numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # no folder for the cache is writable
        return numba.njit(nogil=True, error_model="numpy")(function)


def _as_pointer(typing_context: Any, address: Any) -> Any:
    """Code for an address as a pointer."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from numba.core import cgutils

        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), build


#: an address as a pointer
_pointer: Any = intrinsic(_as_pointer)


@compiled
def _slots_of(flat: int, n_slots: int, number: int, slots: Any) -> None:
    """The objects of a cell."""
    for daughter in range(number - 1, -1, -1):
        slots[daughter] = flat % n_slots
        flat //= n_slots


@compiled
def _distinct(slots: Any, number: int) -> bool:
    for one in range(number):
        for other in range(one):
            if slots[one] == slots[other]:
                return False
    return True


@compiled
def _free(slots: Any, number: int, used: Any) -> bool:
    for daughter in range(number):  # noqa: SIM110 -- numba takes no generators
        if used[slots[daughter]]:
            return False
    return True


@compiled
def _scan(bits: Any, inner: int, row_minima: Any) -> tuple[Any, Any, int]:
    """The smallest and the largest integer, and the first row with the smallest."""
    lowest = bits[0]
    highest = bits[0]
    at = 0
    for row in range(row_minima.size):
        part = bits[row * inner : (row + 1) * inner]
        low = part[0]
        for cell in range(inner):
            low = min(low, part[cell])
            highest = max(highest, part[cell])
        row_minima[row] = low
        if low < lowest:
            lowest = low
            at = row
    return lowest, highest, at


@compiled
def _slow_maximum(values: Any, n_slots: int, number: int, used: Any, slots: Any) -> int:
    """The first of the largest cells of free, distinct objects, by a plain loop; -1 for none."""
    best = -1
    largest = IMPOSSIBLE
    for flat in range(values.size):
        if values[flat] > largest:
            _slots_of(flat, n_slots, number, slots)
            if _free(slots, number, used) and _distinct(slots, number):
                largest = float(values[flat])
                best = flat
    return best


@compiled
def _masked_maximum(bits: Any, limits: Any, number: int, used: Any, row_minima: Any, excluded: Any) -> int:
    """The first of the largest cells without objects in use; -1 for none. All numbers are negative."""
    n_slots = row_minima.size
    inner = 1
    excluded[0] = 0
    for _ in range(number - 1):
        for slot in range(n_slots - 1, -1, -1):
            for cell in range(inner):
                excluded[slot * inner + cell] = limits[1] if used[slot] else excluded[cell]
        inner *= n_slots
    mask = excluded[:inner]
    lowest = limits[0]
    at = -1
    for row in range(n_slots):
        if used[row] or row_minima[row] >= lowest:
            continue
        part = bits[row * inner : (row + 1) * inner]
        low = lowest
        for cell in range(inner):
            low = min(low, bits.dtype.type(part[cell] | mask[cell]))
        if low < lowest:
            lowest = low
            at = row
    if at < 0:
        return -1
    part = bits[at * inner : (at + 1) * inner]
    for cell in range(inner):
        if bits.dtype.type(part[cell] | mask[cell]) == lowest:
            return at * inner + cell
    return -1


@compiled
def _fault(values: Any) -> int:
    """What is wrong with a distribution: 1 for some NaN, 2 for a number above 0, 3 if it is NaN throughout, else 0."""
    missing = 0
    for value in values:
        if math.isnan(value):
            missing += 1
        elif value > _ROUNDING:
            return 2
    if missing == 0:
        return 0
    return 3 if missing == values.size else 1


@compiled
def _maximum(
    bits: Any, values: Any, limits: Any, n_slots: int, number: int, used: Any, row_minima: Any, slots: Any
) -> tuple[int, bool, int]:
    """The first of the largest cells, whether `_masked_maximum` may be used, and what is wrong."""
    inner = bits.size // n_slots
    lowest, highest, row = _scan(bits, inner, row_minima)
    if highest > limits[2]:  # NaN, or 0 with either sign: bits are not in order
        for place in range(row_minima.size):
            row_minima[place] = limits[3]
        fault = _fault(values)
        if fault:
            return -1, False, fault
        return _slow_maximum(values, n_slots, number, used, slots), False, 0
    if lowest >= limits[0]:
        return -1, True, 0
    part = bits[row * inner : (row + 1) * inner]
    flat = row * inner
    for cell in range(inner):
        if part[cell] == lowest:
            flat += cell
            break
    _slots_of(flat, n_slots, number, slots)
    if not _distinct(slots, number):
        return _slow_maximum(values, n_slots, number, used, slots), False, 0
    return flat, True, 0


@compiled
def _greedy_event(
    addresses: Any,
    cells: Any,
    daughters: Any,
    event: int,
    shift: Any,
    absent: Any,
    bit_like: Any,
    value_like: Any,
    limits: Any,
    used: Any,
    row_minima: Any,
    excluded: Any,
    slots: Any,
    first: Any,
    flats: Any,
    largest: Any,
    plain: Any,
) -> int:
    """One event of :func:`decode_greedy`; 0, or 4 * particle + what is wrong.

    Fills ``flats``, and ``first`` with the largest cells before any object is in use.
    """
    particles = daughters.size
    n_slots = used.size
    for slot in range(n_slots):
        used[slot] = 0
    for particle in range(particles):
        start = _pointer(addresses[particle] + event * cells[particle] * value_like.itemsize)
        bits = numba.carray(start, (cells[particle],), bit_like.dtype)
        values = numba.carray(start, (cells[particle],), value_like.dtype)
        flat, negative, fault = _maximum(
            bits, values, limits, n_slots, daughters[particle], used, row_minima[particle], slots[particle]
        )
        if fault == 1 or fault == 2:
            return 4 * particle + fault
        first[particle] = flat
        flats[particle] = flat
        plain[particle] = negative and fault == 0
        largest[particle] = -np.inf
        if flat >= 0:
            largest[particle] = values[flat] + shift[particle]
            _slots_of(flat, n_slots, daughters[particle], slots[particle])
    decided = 0  # bits of particles
    for _ in range(particles):
        best = -1
        weight = -np.inf
        for particle in range(particles):
            if decided >> particle & 1:
                continue
            option = max(largest[particle], absent[particle])
            if option > weight:
                best = particle
                weight = option
        if best < 0:
            break
        decided |= 1 << best
        if largest[best] < absent[best]:
            flats[best] = -1
            continue
        for daughter in range(daughters[best]):
            used[slots[best, daughter]] = 1
        for particle in range(particles):
            if decided >> particle & 1 or flats[particle] < 0:
                continue
            number = daughters[particle]
            if _free(slots[particle], number, used):
                continue
            start = _pointer(addresses[particle] + event * cells[particle] * value_like.itemsize)
            bits = numba.carray(start, (cells[particle],), bit_like.dtype)
            values = numba.carray(start, (cells[particle],), value_like.dtype)
            flat = -1
            if plain[particle]:
                flat = _masked_maximum(bits, limits, number, used, row_minima[particle], excluded)
                if flat >= 0:
                    _slots_of(flat, n_slots, number, slots[particle])
                    plain[particle] = _distinct(slots[particle], number)
            if not plain[particle]:
                flat = _slow_maximum(values, n_slots, number, used, slots[particle])
            flats[particle] = flat
            largest[particle] = -np.inf
            if flat >= 0:
                largest[particle] = values[flat] + shift[particle]
                _slots_of(flat, n_slots, number, slots[particle])
    for particle in range(particles):
        if not decided >> particle & 1:
            flats[particle] = -1
    return 0


@compiled
def decode_greedy(
    addresses: Any,
    daughters: Any,
    n_slots: int,
    events: int,
    shift: Any,
    absent: Any,
    bit_like: Any,
    value_like: Any,
    limits: Any,
    chosen: Any,
    logs: Any,
) -> tuple[int, int]:
    """The greedy assignment: the largest number of all particles, then of those left without its objects, and so on.

    Parameters
    ----------
    addresses : int64[particles]
        Of float[events, slots**daughters], in memory in this order.
    daughters : int64[particles]
    n_slots, events : int
    shift : float64[events or 1, particles]
        Added to the logarithms of each particle.
    absent : float64[events or 1, particles]
        Logarithm for the absence of a particle; -inf where it is not an option.
    bit_like, value_like : int[0], float[0]
        Arrays of the types of the distributions.
    limits : int[4]
        The bits of the largest impossible number, bits that exclude a cell, the bits of -inf, and the smallest integer.
    chosen : int64[events, total number of daughters]
        Filled: the objects, -1 for none.
    logs : float64[events, particles]
        Filled: the logarithms of the cells chosen, NaN for none.

    Returns
    -------
    int, int
        Event and 4 * particle + what is wrong (1: some numbers are NaN, 2: a number is positive); -1 and 0 if nothing
        is.
    """
    particles = daughters.size
    used = np.zeros(n_slots, np.uint8)
    cells = np.empty(particles, np.int64)
    max_daughters = 1
    for particle in range(particles):
        cells[particle] = n_slots ** daughters[particle]
        max_daughters = max(max_daughters, daughters[particle])
    row_minima = np.empty((particles, n_slots), bit_like.dtype)
    excluded = np.empty(n_slots ** (max_daughters - 1), bit_like.dtype)
    slots = np.empty((particles, max_daughters), np.int64)
    first = np.empty(particles, np.int64)
    flats = np.empty(particles, np.int64)
    largest = np.empty(particles, np.float64)
    plain = np.empty(particles, np.bool_)
    step = 1 if len(shift) > 1 else 0
    for event in range(events):
        fault = _greedy_event(
            addresses,
            cells,
            daughters,
            event,
            shift[event * step],
            absent[event * step],
            bit_like,
            value_like,
            limits,
            used,
            row_minima,
            excluded,
            slots,
            first,
            flats,
            largest,
            plain,
        )
        if fault:
            return event, fault
        column = 0
        for particle in range(particles):
            if flats[particle] < 0:
                logs[event, particle] = np.nan
            else:
                logs[event, particle] = largest[particle] - shift[event * step, particle]
            for daughter in range(daughters[particle]):
                chosen[event, column] = slots[particle, daughter] if flats[particle] >= 0 else -1
                column += 1
    return -1, 0


@compiled
def _later(flats: Any, weights: Any, one: int, other: int) -> bool:
    """Whether a candidate comes after another: by its weight, then by the order in memory."""
    if weights[one] != weights[other]:
        return weights[one] < weights[other]
    return flats[one] > flats[other]


@compiled
def _sort(flats: Any, weights: Any, size: int) -> None:
    """Heap sort of candidates, the largest weight first."""
    start = size // 2
    end = size
    while end > 1:
        if start > 0:
            start -= 1
        else:
            end -= 1
            flats[end], flats[0] = flats[0], flats[end]
            weights[end], weights[0] = weights[0], weights[end]
        root = start
        while 2 * root + 1 < end:
            child = 2 * root + 1
            if child + 1 < end and _later(flats, weights, child + 1, child):
                child += 1
            if not _later(flats, weights, child, root):
                break
            flats[root], flats[child] = flats[child], flats[root]
            weights[root], weights[child] = weights[child], weights[root]
            root = child


@compiled
def _image(slots: Any, group: Any, element: int, number: int, n_slots: int) -> int:
    """The cell in which an element of the group exchanges daughters."""
    flat = 0
    for daughter in range(number):
        flat = flat * n_slots + slots[group[element, daughter]]
    return flat


@compiled
def _candidates(
    values: Any,
    row_minima: Any,
    lowest: Any,
    lowest_bits: Any,
    group: Any,
    number: int,
    slots: Any,
    flats: Any,
    weights: Any,
    shift: float,
    sums: bool,
) -> int:
    """Fill in the possible cells at or above `lowest`: the largest of those that exchanges of daughters connect."""
    n_slots = row_minima.size
    inner = values.size // n_slots
    count = 0
    for row in range(n_slots):
        if row_minima[row] > lowest_bits:
            continue
        for flat in range(row * inner, (row + 1) * inner):
            value = values[flat]
            if value < lowest or value <= IMPOSSIBLE:
                continue
            _slots_of(flat, n_slots, number, slots)
            if not _distinct(slots, number):
                continue
            keep = True
            for element in range(1, len(group)):
                image = _image(slots, group, element, number, n_slots)
                if values[image] > value or (values[image] == value and image < flat):
                    keep = False
                    break
            if keep:
                flats[count] = flat
                weights[count] = math.exp(value + shift) if sums else value + shift
                count += 1
    _sort(flats, weights, count)
    return count


@compiled
def _beats(missing: int, value: float, other_missing: int, other_value: float, complete: bool) -> bool:
    """Whether a hypothesis is better than another: by its value, or if `complete`, first by fewer absent particles."""
    if complete and missing != other_missing:
        return missing < other_missing
    if value != other_value:
        return value > other_value
    return missing < other_missing


@compiled
def _class_of(flat: int, group: Any, number: int, n_slots: int, slots: Any) -> int:
    """The first cell that exchanges of symmetric daughters lead to."""
    if flat < 0:
        return -1
    _slots_of(flat, n_slots, number, slots)
    first = flat
    for element in range(1, len(group)):
        first = min(first, _image(slots, group, element, number, n_slots))
    return first


@compiled
def _same(one: Any, other: Any, exchanges: Any) -> bool:
    """Whether an exchange of particles makes two hypotheses equal."""
    for exchange in range(len(exchanges)):
        equal = True
        for particle in range(one.size):
            if one[particle] != other[exchanges[exchange, particle]]:
                equal = False
                break
        if equal:
            return True
    return False


@compiled
def _insert(
    flats: Any,
    classes: Any,
    missing: int,
    value: float,
    pinned: int,
    held: int,
    complete: bool,
    exchanges: Any,
    best_flats: Any,
    best_classes: Any,
    best_missing: Any,
    best_values: Any,
) -> int:
    """Insert a hypothesis among the best, in order, if it belongs there; returns their number."""
    room = best_values.size
    last = held  # the place that is given up
    if room > 1:
        for place in range(held):
            if _same(classes, best_classes[place], exchanges):
                last = place
                break
    if last < pinned:
        return held
    if last < held or held == room:
        last = min(last, room - 1)
        if not _beats(missing, value, best_missing[last], best_values[last], complete):
            return held
    else:
        held += 1
    while last > pinned and _beats(missing, value, best_missing[last - 1], best_values[last - 1], complete):
        best_missing[last] = best_missing[last - 1]
        best_values[last] = best_values[last - 1]
        for particle in range(flats.size):
            best_flats[last, particle] = best_flats[last - 1, particle]
            best_classes[last, particle] = best_classes[last - 1, particle]
        last -= 1
    best_missing[last] = missing
    best_values[last] = value
    for particle in range(flats.size):
        best_flats[last, particle] = flats[particle]
        best_classes[last, particle] = classes[particle]
    return held


@compiled
def decode_joint(
    addresses: Any,
    daughters: Any,
    n_slots: int,
    events: int,
    shift: Any,
    absent: Any,
    bit_like: Any,
    value_like: Any,
    limits: Any,
    chosen: Any,
    logs: Any,
    sums: bool,
    optional: bool,
    pinned: int,
    elements: Any,
    starts: Any,
    exchanges: Any,
    number: Any,
    number_bits: Any,
    found: Any,
    greedy_shift: Any,
) -> tuple[int, int]:
    """The hypotheses with the largest products or sums of probabilities, by branch and bound.

    Parameters
    ----------
    addresses, daughters, n_slots, events, shift, absent, bit_like, value_like, limits
        As for :func:`decode_greedy`.
    chosen : int64[events, k, total number of daughters]
        Filled: the objects, -1 for none.
    logs : float64[events, k, particles]
        Filled: the logarithms of the cells chosen, NaN for none.
    sums : bool
        Whether to maximise the sum of the probabilities, instead of their product.
    optional : bool
        Whether particles may be absent although they are possible.
    pinned : int
        1: the first hypothesis is the greedy one.
    elements, starts : int64[elements, daughters], int64[particles + 1]
        The groups of the daughters of all particles, each with the identity first, and where they start.
    exchanges : int64[elements, particles]
        The group of the particles.
    number, number_bits : float[1], int[1]
        Views of the same memory, in the types of the distributions.
    found : int64[events]
        Filled: the number of hypotheses.
    greedy_shift : float64[events or 1, particles]
        What the greedy assignment adds instead of ``shift``.

    Returns
    -------
    int, int
        As of :func:`decode_greedy`.
    """
    particles = daughters.size
    used = np.zeros(n_slots, np.uint8)
    cells = np.empty(particles, np.int64)
    max_daughters = 1
    max_cells = 1
    for particle in range(particles):
        cells[particle] = n_slots ** daughters[particle]
        max_daughters = max(max_daughters, daughters[particle])
        max_cells = max(max_cells, cells[particle])
    words = (n_slots + 63) // 64
    room = chosen.shape[1]
    row_minima = np.empty((particles, n_slots), bit_like.dtype)
    excluded = np.empty(max_cells // n_slots, bit_like.dtype)
    slots = np.empty((particles, max_daughters), np.int64)
    first = np.empty(particles, np.int64)
    flats = np.empty(particles, np.int64)
    largest = np.empty(particles, np.float64)
    plain = np.empty(particles, np.bool_)
    listed = np.empty((particles, max_cells), np.int64)
    weights = np.empty((particles, max_cells), np.float64)
    masks = np.empty((particles, max_cells, words), np.uint64)
    counts = np.empty(particles, np.int64)
    absence = np.empty(particles, np.float64)
    bound = np.empty(particles, np.float64)
    rest = np.zeros(particles + 1, np.float64)
    rest_missing = np.zeros(particles + 1, np.int64)
    position = np.zeros(particles + 1, np.int64)
    total = np.zeros(particles + 1, np.float64)
    missing = np.zeros(particles + 1, np.int64)
    taken = np.zeros((particles + 1, words), np.uint64)
    option = np.empty(particles, np.int64)
    classes = np.empty(particles, np.int64)
    best_flats = np.empty((room, particles), np.int64)
    best_classes = np.empty((room, particles), np.int64)
    best_missing = np.empty(room, np.int64)
    best_values = np.empty(room, np.float64)
    complete = not sums and not optional
    step = 1 if len(shift) > 1 else 0
    for event in range(events):
        shifts = shift[event * step]
        fault = _greedy_event(
            addresses,
            cells,
            daughters,
            event,
            greedy_shift[event * step],
            absent[event * step],
            bit_like,
            value_like,
            limits,
            used,
            row_minima,
            excluded,
            slots,
            first,
            flats,
            largest,
            plain,
        )
        if fault:
            return event, fault
        # the greedy assignment is what has to be beaten, and `upper` is what no assignment exceeds
        value = 0.0
        upper = 0.0
        absentees = 0
        impossible = 0
        for particle in range(particles):
            start = _pointer(addresses[particle] + event * cells[particle] * value_like.itemsize)
            values = numba.carray(start, (cells[particle],), value_like.dtype)
            alone = absent[event * step, particle]
            absence[particle] = (math.exp(alone) if sums else alone) if optional else 0.0
            if flats[particle] >= 0:
                weight = values[flats[particle]] + shifts[particle]
                value += math.exp(weight) if sums else weight
            else:
                value += absence[particle]
                absentees += 1
            bound[particle] = absence[particle]
            if first[particle] >= 0:
                weight = values[first[particle]] + shifts[particle]
                weight = math.exp(weight) if sums else weight
                bound[particle] = weight if complete else max(weight, absence[particle])
            else:
                impossible += 1
            upper += bound[particle]
        held = 0
        if room == 1 or pinned:
            held = 1
            best_missing[0] = absentees
            best_values[0] = value
            for particle in range(particles):
                best_flats[0, particle] = flats[particle]
                group = elements[starts[particle] : starts[particle + 1]]
                best_classes[0, particle] = _class_of(
                    flats[particle], group, daughters[particle], n_slots, slots[particle]
                )
        done = room == 1 and value >= upper - 1e-12 and (absentees == impossible or not complete)
        if not done:
            for particle in range(particles):
                # cells below cannot be in a better hypothesis, with a margin for rounding
                lowest = -np.inf
                if room == 1 and not (complete and absentees > 0):
                    lowest = value - (upper - bound[particle])
                    lowest -= 1e-9 * abs(lowest)
                    if sums:
                        lowest = math.log(lowest) if lowest > 0 else -np.inf
                    lowest -= shifts[particle]
                number[0] = min(max(lowest - 1e-6 * (1 + abs(lowest)), IMPOSSIBLE), -1e-30)
                start = _pointer(addresses[particle] + event * cells[particle] * value_like.itemsize)
                values = numba.carray(start, (cells[particle],), value_like.dtype)
                counts[particle] = 0
                if first[particle] >= 0:
                    counts[particle] = _candidates(
                        values,
                        row_minima[particle],
                        number[0],
                        number_bits[0],
                        elements[starts[particle] : starts[particle + 1]],
                        daughters[particle],
                        slots[particle],
                        listed[particle],
                        weights[particle],
                        shifts[particle],
                        sums,
                    )
                for place in range(counts[particle]):
                    _slots_of(listed[particle, place], n_slots, daughters[particle], slots[particle])
                    for word in range(words):
                        masks[particle, place, word] = 0
                    for daughter in range(daughters[particle]):
                        slot = slots[particle, daughter]
                        masks[particle, place, slot // 64] |= np.uint64(1) << np.uint64(slot % 64)
            for particle in range(particles - 1, -1, -1):
                rest_missing[particle] = rest_missing[particle + 1]
                rest[particle] = rest[particle + 1]
                if counts[particle] > 0:
                    weight = weights[particle, 0]
                    rest[particle] += weight if complete else max(weight, absence[particle])
                else:
                    rest[particle] += absence[particle]
                    rest_missing[particle] += 1 if complete else 0
            level = 0
            position[0] = 0
            while level >= 0:
                if level == particles:
                    level -= 1
                    whole = True
                    for particle in range(particles):
                        flats[particle] = -1
                        if option[particle] >= 0:
                            flats[particle] = listed[particle, option[particle]]
                        elif not optional:  # a particle is absent only if nothing is left for it
                            for place in range(counts[particle]):
                                clash = False
                                for word in range(words):
                                    if masks[particle, place, word] & taken[particles, word]:
                                        clash = True
                                if not clash:
                                    whole = False
                                    break
                    if not whole:
                        continue
                    if room > 1:
                        for particle in range(particles):
                            group = elements[starts[particle] : starts[particle + 1]]
                            classes[particle] = _class_of(
                                flats[particle], group, daughters[particle], n_slots, slots[particle]
                            )
                    held = _insert(
                        flats,
                        classes,
                        missing[particles],
                        total[particles],
                        pinned,
                        held,
                        complete,
                        exchanges,
                        best_flats,
                        best_classes,
                        best_missing,
                        best_values,
                    )
                    continue
                place = position[level]
                count = counts[level]
                if place > count:
                    level -= 1
                    continue
                position[level] = place + 1
                reached = total[level] + (weights[level, place] if place < count else absence[level])
                lost = missing[level] + (0 if place < count else 1)
                if held == room and not _beats(
                    lost + rest_missing[level + 1],
                    reached + rest[level + 1],
                    best_missing[room - 1],
                    best_values[room - 1],
                    complete,
                ):
                    # candidates are in order: those that follow are no better, but absence may be
                    position[level] = max(count, place + 1)
                    continue
                clash = False
                if place < count:
                    for word in range(words):
                        if masks[level, place, word] & taken[level, word]:
                            clash = True
                if clash:
                    continue
                for word in range(words):
                    taken[level + 1, word] = taken[level, word]
                    if place < count:
                        taken[level + 1, word] |= masks[level, place, word]
                option[level] = place if place < count else -1
                total[level + 1] = reached
                missing[level + 1] = lost
                level += 1
                position[level] = 0
        found[event] = held
        for place in range(room):
            column = 0
            for particle in range(particles):
                flat = best_flats[place, particle] if place < held else -1
                logs[event, place, particle] = np.nan
                if flat >= 0:
                    start = _pointer(addresses[particle] + event * cells[particle] * value_like.itemsize)
                    values = numba.carray(start, (cells[particle],), value_like.dtype)
                    logs[event, place, particle] = values[flat]
                    _slots_of(flat, n_slots, daughters[particle], slots[particle])
                for daughter in range(daughters[particle]):
                    chosen[event, place, column] = slots[particle, daughter] if flat >= 0 else -1
                    column += 1
    return -1, 0


@compiled
def evaluate_masses(
    vectors: Any, counts: Any, members: Any, masses: Any, widths: Any, tag_terms: Any, logs: Any
) -> None:
    """-chi-square / 2 of all tuples of objects.

    Parameters
    ----------
    vectors : float64[events, slots, 5]
        px, py, pz and energy in GeV, and 1 for objects with a tag.
    counts : int64[events]
        Number of objects.
    members : bool[terms, daughters]
        The daughters whose mass is in a term.
    masses, widths : float64[terms]
        GeV.
    tag_terms : float64[daughters, 2]
        What an object without and with a tag adds.
    logs : float64[events, slots**daughters]
        Filled; -inf for tuples that are impossible.
    """
    n_slots = vectors.shape[1]
    number = members.shape[1]
    slots = np.empty(number, np.int64)
    for event in range(vectors.shape[0]):
        for flat in range(logs.shape[1]):
            logs[event, flat] = -np.inf
            _slots_of(flat, n_slots, number, slots)
            real = True
            for daughter in range(number):
                if slots[daughter] >= counts[event]:
                    real = False
            if not real or not _distinct(slots, number):
                continue
            total = 0.0
            for daughter in range(number):
                total += tag_terms[daughter, 1 if vectors[event, slots[daughter], 4] > 0 else 0]
            if total == np.inf:
                continue
            for term in range(members.shape[0]):
                x = y = z = energy = 0.0
                for daughter in range(number):
                    if members[term, daughter]:
                        slot = slots[daughter]
                        x += vectors[event, slot, 0]
                        y += vectors[event, slot, 1]
                        z += vectors[event, slot, 2]
                        energy += vectors[event, slot, 3]
                mass = math.sqrt(max(energy * energy - x * x - y * y - z * z, 0.0))
                total += ((mass - masses[term]) / widths[term]) ** 2
            logs[event, flat] = -0.5 * total
