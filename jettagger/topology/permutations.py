"""Groups of permutations: which particles of an event, and which daughters of a particle, may be exchanged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain, combinations, pairwise
from typing import Any

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import ConfigError

__all__ = ["PermutationGroup", "cycles_of", "permutation_of_cycles", "symmetric_generators"]

#: maximum number of elements of a group; 8 objects that may all be exchanged have 40,320
MAX_ORDER = 100_000

#: maximum number of subsets whose classes are listed: those of 16 particles
MAX_SUBSETS = 2**16


class PermutationGroup(Brief):
    """The group that permutations generate.

    Two groups are equal if they have the same elements, whatever generates them.

    Parameters
    ----------
    degree : int
        Number n of objects that are permuted, numbered from 0.
    generators : iterable of sequences of int
        Permutations in array form: position i goes to ``generator[i]``. None gives the trivial group.

    Attributes
    ----------
    degree : int
    generators : tuple of tuples of int
        As given.

    Raises
    ------
    ConfigError
        If a generator is not a permutation of 0 ... n - 1, or the group has more than 100,000 elements.

    Examples
    --------
    >>> PermutationGroup(3, [(1, 0, 2)])
    PermutationGroup of order 2: (0 1)(2)
    >>> PermutationGroup(3, [(1, 0, 1)])
    Traceback (most recent call last):
        ...
    jettagger.errors.ConfigError: (1, 0, 1) is no permutation of the numbers 0 to 2: 1 appears twice
    """

    def __init__(self, degree: int, generators: Iterable[Sequence[int]] = ()) -> None:
        if degree < 0:
            raise ConfigError(f"a group permutes a number of objects, got {degree}")
        self.degree = int(degree)
        self.generators = tuple(tuple(int(item) for item in generator) for generator in generators)
        for generator in self.generators:
            _check_permutation(generator, self.degree)

    @cached_property
    def elements(self) -> tuple[tuple[int, ...], ...]:
        """All permutations in array form, in lexicographic order: the identity first.

        Raises
        ------
        ConfigError
            If there are more than 100,000.
        """
        identity = tuple(range(self.degree))
        group, border = {identity}, [identity]
        while border:
            reached = []
            for element in border:
                for generator in self.generators:
                    product = tuple(generator[item] for item in element)
                    if product not in group:
                        group.add(product)
                        reached.append(product)
                if len(group) > MAX_ORDER:
                    raise ConfigError(
                        f"the permutations of {self.degree} objects generate more than {MAX_ORDER:,} elements, "
                        "expected at most that many: fewer objects that may be exchanged"
                    )
            border = reached
        return tuple(sorted(group))

    @property
    def order(self) -> int:
        """Number of elements."""
        return len(self.elements)

    @cached_property
    def orbits(self) -> tuple[tuple[int, ...], ...]:
        """Objects that some element exchanges, as ascending tuples, in the order of their first members."""
        orbit_of = list(range(self.degree))
        for generator in self.generators:
            for cycle in cycles_of(generator):
                for one, other in pairwise(cycle):
                    old, new = sorted((orbit_of[one], orbit_of[other]), reverse=True)
                    orbit_of = [new if item == old else item for item in orbit_of]
        members: dict[int, list[int]] = {}
        for position, orbit in enumerate(orbit_of):
            members.setdefault(orbit, []).append(position)
        return tuple(tuple(orbit) for orbit in members.values())

    @cached_property
    def transpositions(self) -> tuple[tuple[int, int], ...]:
        """The pairs into which the elements decompose, ascending, each once.

        A cycle (a b c ...) that begins with its smallest member is the product of (a b), (a c), ...; these pairs of all
        cycles of all elements are what the divergence term of SPANet's loss runs over.
        """
        pairs = {
            (min(cycle[0], other), max(cycle[0], other))
            for element in self.elements
            for cycle in cycles_of(element)
            for other in cycle[1:]
        }
        return tuple(sorted(pairs))

    @cached_property
    def equivalence_classes(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """The orbits of the subsets of the objects: which combinations of present particles count as the same.

        Returns
        -------
        tuple of classes
            Each class is a tuple of subsets, each subset an ascending tuple; smaller subsets come first.

        Raises
        ------
        ConfigError
            If there are more than 16 objects.

        Examples
        --------
        >>> PermutationGroup(2, [(1, 0)]).equivalence_classes
        (((),), ((0,), (1,)), ((0, 1),))
        """
        if 2**self.degree > MAX_SUBSETS:
            raise ConfigError(f"{self.degree} objects have 2^{self.degree} subsets, expected at most 16 objects")
        objects = range(self.degree)
        classes, listed = [], set()
        for subset in chain.from_iterable(combinations(objects, size) for size in range(self.degree + 1)):
            if subset not in listed:
                orbit = {tuple(sorted(element[item] for item in subset)) for element in self.elements}
                listed |= orbit
                classes.append(tuple(sorted(orbit)))
        return tuple(classes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PermutationGroup):
            return NotImplemented
        if self.degree != other.degree:
            return False
        return self.generators == other.generators or self.elements == other.elements

    def __hash__(self) -> int:
        return hash((self.degree, self.orbits))

    def __repr__(self) -> str:
        return f"PermutationGroup of order {self.order}: {''.join(f'({_spaced(orbit)})' for orbit in self.orbits)}"


def _spaced(orbit: Iterable[Any]) -> str:
    return " ".join(map(str, orbit))


def _check_permutation(generator: tuple[int, ...], degree: int) -> None:
    numbers = f"the numbers 0 to {degree - 1}" if degree else "nothing"
    if len(generator) != degree:
        raise ConfigError(f"{generator} is no permutation of {numbers}: it has {len(generator)} entries")
    for position, item in enumerate(generator):
        if not 0 <= item < degree:
            raise ConfigError(f"{generator} is no permutation of {numbers}: {item} is not among them")
        if item in generator[:position]:
            raise ConfigError(f"{generator} is no permutation of {numbers}: {item} appears twice")


def permutation_of_cycles(cycles: Iterable[Sequence[Any]], names: Sequence[Any]) -> tuple[int, ...]:
    """The array form of a product of disjoint cycles.

    Parameters
    ----------
    cycles : iterable of sequences
        Each cycle (a b c) takes a to b, b to c and c to a.
    names : sequence
        The objects in the order of their numbers; those that no cycle mentions stay.

    Returns
    -------
    tuple of int
        Position i goes to entry i.

    Raises
    ------
    ConfigError
        If the cycles are not disjoint: an object appears twice.

    Examples
    --------
    >>> permutation_of_cycles([["h1", "h2"], ["h3", "h4"]], ["h1", "h2", "h3", "h4"])
    (1, 0, 3, 2)
    """
    array, seen = list(range(len(names))), set()
    for cycle in cycles:
        numbers = [names.index(name) for name in cycle]
        for number in numbers:
            if number in seen:
                raise ConfigError(f"{names[number]!r} appears twice, so this is no permutation in disjoint cycles")
            seen.add(number)
        for one, other in zip(numbers, [*numbers[1:], *numbers[:1]], strict=True):
            array[one] = other
    return tuple(array)


def symmetric_generators(members: Sequence[Any], names: Sequence[Any]) -> list[tuple[int, ...]]:
    """Generators of the full symmetric group of some objects: the exchanges of neighbours.

    Parameters
    ----------
    members : sequence
        Objects that may all be exchanged with each other.
    names : sequence
        All objects in the order of their numbers.

    Returns
    -------
    list of tuples of int
        In array form.

    Raises
    ------
    ConfigError
        If an object appears twice.

    Examples
    --------
    >>> symmetric_generators(["a", "b", "c"], ["a", "b", "c", "d"])
    [(1, 0, 2, 3), (0, 2, 1, 3)]
    """
    for position, name in enumerate(members):
        if name in members[:position]:
            raise ConfigError(f"{name!r} appears twice among objects that may be exchanged")
    return [permutation_of_cycles([pair], names) for pair in pairwise(members)]


def cycles_of(permutation: Sequence[int]) -> list[tuple[int, ...]]:
    """The cycles of a permutation with more than one member; each begins with its smallest.

    Parameters
    ----------
    permutation : sequence of int
        In array form.

    Returns
    -------
    list of tuples of int

    Examples
    --------
    >>> cycles_of((1, 2, 0, 3))
    [(0, 1, 2)]
    """
    cycles, seen = [], set()
    for start in range(len(permutation)):
        if start in seen:
            continue
        cycle, item = [start], permutation[start]
        while item != start:
            cycle.append(item)
            item = permutation[item]
        seen.update(cycle)
        if len(cycle) > 1:
            cycles.append(tuple(cycle))
    return cycles


guard(globals())
