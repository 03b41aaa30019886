"""Purities of assignments by event categories, as the evaluation of SPANet defines them.

A cluster is an orbit of the exchanges of particles, such as both top quarks. A category fixes the number of particles
of each cluster that are present in the truth, or leaves it open (``*``): ``1lt1ht*h``.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.assignment.decoding import check_assignments, event_of
from jettagger.display import Brief, Displayed, Grid, ObjectSummary, aligned
from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName
from jettagger.topology.eventfile import EventDescription
from jettagger.types import Bools, Ints

__all__ = ["CategoryPurity", "MatchedEvents", "Purities", "clusters_of", "event_categories", "match_events", "purities"]

#: maximum number of particles of a cluster: all their orders are tried
_MAX_CLUSTER = 8


@dataclass(frozen=True, eq=False)
class MatchedEvents(Brief):
    """Right and wrong assignments of each event; made by :func:`match_events`.

    Attributes
    ----------
    clusters : mapping of str to tuple of str
        Cluster -> its particles.
    present : mapping of str to int64[events]
        Cluster -> number of particles that are present in the truth.
    matched : mapping of str to int64[events]
        Cluster -> number of those that are right, in the order of the particles of the cluster that has most.
    right : bool[events]
        Whether all particles that are present are right, in one of the allowed exchanges of particles. True if none is.
    """

    clusters: Mapping[str, tuple[str, ...]]
    present: Mapping[str, Ints]
    matched: Mapping[str, Ints]
    right: Bools

    @property
    def any_present(self) -> Bools:
        """bool[events], whether at least one particle is present."""
        return np.asarray(np.sum(list(self.present.values()), axis=0) > 0)

    @property
    def categories(self) -> Iterator[tuple[str, Mapping[str, int | None]]]:
        """Name of each category, and the number of particles of each cluster, None for any."""
        return event_categories(self.clusters)

    def in_category(self, numbers: Mapping[str, int | None]) -> Bools:
        """The events of a category.

        Parameters
        ----------
        numbers : mapping of str to int or None
            Cluster -> number of particles that are present; None for any, but then at least one of the event.

        Returns
        -------
        bool[events]
        """
        inside = np.ones(len(self.right), dtype=bool)
        for name, number in numbers.items():
            if number is not None:
                inside &= self.present[name] == number
        if any(number is None for number in numbers.values()):
            inside &= self.any_present
        return inside


@dataclass(frozen=True)
class CategoryPurity(Brief):
    """Purities of the events of one category.

    Attributes
    ----------
    category : str
        ``"1lt1ht*h"``.
    events, right : int
        Number of events in the category, and of those in which all particles that are present are right.
    all_events : int
        Number of events of the bin.
    particles, matched : mapping of str to int
        Cluster -> number of particles that are present, and of those that are right.
    """

    category: str
    events: int
    right: int
    all_events: int
    particles: Mapping[str, int]
    matched: Mapping[str, int]

    @property
    def event_purity(self) -> float | None:
        """Fraction of the events of the category that are right; None without events."""
        return self.right / self.events if self.events else None

    @property
    def event_purity_uncertainty(self) -> float | None:
        """Binomial standard deviation of the event purity; None without events."""
        return _binomial(self.right, self.events)

    @property
    def event_proportion(self) -> float | None:
        """Fraction of all events of the bin that are in the category; None if the bin has none."""
        return self.events / self.all_events if self.all_events else None

    @property
    def cluster_purity(self) -> dict[str, float | None]:
        """Cluster -> fraction of its particles that are right, the efficiency in publications; None without any."""
        return {name: self.matched[name] / number if number else None for name, number in self.particles.items()}

    def values(self) -> dict[str, float | None]:
        """All numbers under the names of SPANet: ``"1lt1ht*h/event_purity"``, ``"1lt1ht*h/lt_purity"``.

        Returns
        -------
        dict of str to float or None
        """
        numbers = {"event_purity": self.event_purity, "event_proportion": self.event_proportion}
        numbers |= {f"{name}_purity": value for name, value in self.cluster_purity.items()}
        return {f"{self.category}/{name}": value for name, value in numbers.items()}


@dataclass(frozen=True, eq=False)
class Purities(Displayed):
    """Purities in bins of the number of objects; made by :func:`purities`.

    Attributes
    ----------
    clusters : mapping of str to tuple of str
        Cluster -> its particles.
    bins : mapping of str to mapping of str to CategoryPurity
        Bin (``"== 7"``, ``">= 9"``, ``"all"``) -> category -> its purities.
    """

    clusters: Mapping[str, tuple[str, ...]]
    bins: Mapping[str, Mapping[str, CategoryPurity]] = field(repr=False)

    def __getitem__(self, category: str) -> CategoryPurity:
        """The purities of a category in all events.

        Parameters
        ----------
        category : str

        Returns
        -------
        CategoryPurity

        Raises
        ------
        UnknownName
        """
        found = self.bins["all"]
        if category not in found:
            raise UnknownName("category", category, found)
        return found[category]

    def to_dict(self) -> dict[str, Any]:
        """All numbers, for JSON.

        Returns
        -------
        dict
            ``clusters``, and for each bin and category the counts and fractions; None where nothing is.
        """
        return {
            "clusters": {name: list(members) for name, members in self.clusters.items()},
            "bins": {
                label: {
                    name: {
                        "events": found.events,
                        "right": found.right,
                        "event_purity": found.event_purity,
                        "event_purity_uncertainty": found.event_purity_uncertainty,
                        "event_proportion": found.event_proportion,
                        "particles": dict(found.particles),
                        "matched": dict(found.matched),
                        "purity": found.cluster_purity,
                    }
                    for name, found in categories.items()
                }
                for label, categories in self.bins.items()
            },
        }

    def rows(self) -> list[list[str]]:
        """The cells of a table, with a header; categories without events are left out.

        Returns
        -------
        list of list of str
        """
        rows = [
            ["objects", "category", "events", "proportion", "event purity", *[f"{n} purity" for n in self.clusters]]
        ]
        for label, categories in self.bins.items():
            for name, found in categories.items():
                if found.events:
                    fractions = [_text(value, None) for value in found.cluster_purity.values()]
                    purity = _text(found.event_purity, found.event_purity_uncertainty)
                    rows.append(
                        [label, name, str(found.events), _text(found.event_proportion, None), purity, *fractions]
                    )
        return rows

    def to_table(self) -> str:
        """A table of text.

        Returns
        -------
        str
        """
        return "\n".join(aligned(self.rows()))

    def to_markdown(self) -> str:
        """The same table in Markdown.

        Returns
        -------
        str
        """
        return markdown(self.rows())

    def __str__(self) -> str:
        return self.to_table()

    def summary(self) -> ObjectSummary:
        """The summary of the object, for notebooks and rich.

        Returns
        -------
        ObjectSummary
        """
        header, *rows = self.rows()
        return ObjectSummary("purities", grids=[Grid("categories with events", header, rows, len(header) - 2)])


def event_categories(clusters: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, Mapping[str, int | None]]]:
    """The categories of events.

    Parameters
    ----------
    clusters : mapping of str to tuple of str
        Cluster -> its particles.

    Yields
    ------
    str
        Name, ``"1lt*t"``.
    mapping of str to int or None
        Cluster -> number of particles that are present, None for any.

    Examples
    --------
    >>> [name for name, _ in event_categories({"t": ("t1", "t2")})]
    ['*t', '0t', '1t', '2t']
    """
    options = [[None, *range(len(members) + 1)] for members in clusters.values()]
    for choice in itertools.product(*options):
        numbers = dict(zip(clusters, choice, strict=True))
        yield "".join(f"{'*' if n is None else n}{name}" for name, n in numbers.items()), numbers


def markdown(rows: list[list[str]]) -> str:
    """Cells as a table in Markdown.

    Parameters
    ----------
    rows : list of list of str
        The first is the header.

    Returns
    -------
    str
    """
    cells = [[cell.replace("|", "\\|").replace("*", "\\*") for cell in row] for row in rows]
    cells.insert(1, ["---"] * len(rows[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _text(value: float | None, uncertainty: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if uncertainty is None else f"{value:.3f} ± {uncertainty:.3f}"


def _binomial(passing: int, total: int) -> float | None:
    if not total:
        return None
    fraction = passing / total
    return math.sqrt(fraction * (1 - fraction) / total)


def clusters_of(event: EventDescription | str | os.PathLike[str]) -> dict[str, tuple[str, ...]]:
    """The clusters of particles that may be exchanged, with their names.

    Parameters
    ----------
    event : EventDescription or path

    Returns
    -------
    dict of str to tuple of str
        Name -> particles. The name is the longest common part of the names of the particles (``t`` of ``t1`` and
        ``t2``); if there is none, or another cluster has the same, it is all names, joined by ``+``.

    Examples
    --------
    >>> from jettagger.topology.eventfile import parse_event_text
    >>> clusters_of(parse_event_text('''
    ... INPUTS: {SEQUENTIAL: {Jets: {pt: none}}}
    ... EVENT: {t1: [b], t2: [b], h: [b1, b2]}
    ... PERMUTATIONS: {EVENT: [[t1, t2]]}
    ... '''))
    {'t': ('t1', 't2'), 'h': ('h',)}
    """
    description = event_of(event)
    names = description.particle_names
    orbits = [tuple(names[item] for item in orbit) for orbit in description.event_group.orbits]
    common = [_longest_common(orbit) for orbit in orbits]
    return {
        "+".join(orbit) if not name or common.count(name) > 1 else name: orbit
        for name, orbit in zip(common, orbits, strict=True)
    }


def _longest_common(names: tuple[str, ...]) -> str:
    """The longest part that all names have, the first of several."""
    first = names[0]
    for length in range(len(first), 0, -1):
        for start in range(len(first) - length + 1):
            part = first[start : start + length]
            if all(part in name for name in names):
                return part
    return ""


def match_events(
    assignments: Mapping[str, Any],
    targets: Mapping[str, Any],
    target_masks: Mapping[str, Any],
    event: EventDescription | str | os.PathLike[str],
) -> MatchedEvents:
    """Compare assignments with the truth, event by event.

    Parameters
    ----------
    assignments : mapping of str to int[events, daughters]
        Particle -> slot of each daughter, -1 where it is not assigned.
    targets : mapping of str to int[events, daughters]
        The same of the truth.
    target_masks : mapping of str to bool[events]
        Whether the particle is present in the truth. Particles that are not are not compared.
    event : EventDescription or path

    Returns
    -------
    MatchedEvents

    Raises
    ------
    UnknownName, MismatchError
        If particles or shapes disagree.
    InvalidValues
        If a particle that is present has a daughter without a slot, or an assignment uses an object twice.
    ConfigError
        If a cluster has more than 8 particles.
    """
    description = event_of(event)
    names = description.particle_names
    n_events = len(next(iter(assignments.values()))) if assignments else 0
    chosen = check_assignments(assignments, description, n_events)
    truth, present = _truth(targets, target_masks, description, n_events)
    # equal[of, to]: whether the assignment of one particle is the truth of another
    equal = np.zeros((len(names), len(names), n_events), dtype=bool)
    for to, name in enumerate(names):
        group = np.array(description.daughter_group(name).elements)
        images = truth[name][:, group]
        for of, other in enumerate(names):
            if chosen[other].shape == truth[name].shape:
                same = (chosen[other][:, None, :] == images).all(axis=2).any(axis=1)
                equal[of, to] = same & present[name]
    clusters = clusters_of(description)
    matched: dict[str, Ints] = {}
    number: dict[str, Ints] = {}
    for cluster, members in clusters.items():
        if len(members) > _MAX_CLUSTER:
            raise ConfigError(
                f"cluster {cluster!r} has {len(members)} particles, expected at most {_MAX_CLUSTER} (all orders)"
            )
        places = [names.index(name) for name in members]
        counts = [
            sum(equal[of, to].astype(np.int64) for of, to in zip(order, places, strict=True))
            for order in itertools.permutations(places)
        ]
        matched[cluster] = np.asarray(np.max(counts, axis=0))
        number[cluster] = np.asarray(np.sum([present[name] for name in members], axis=0, dtype=np.int64))
    most = np.max(
        [
            sum(equal[of, to].astype(np.int64) for to, of in enumerate(element))
            for element in description.event_group.elements
        ],
        axis=0,
    )
    return MatchedEvents(clusters, number, matched, np.asarray(most == sum(number.values())))


def _truth(
    targets: Mapping[str, Any], target_masks: Mapping[str, Any], description: EventDescription, n_events: int
) -> tuple[dict[str, Ints], dict[str, Bools]]:
    truth, present = {}, {}
    for what, found in (("target", targets), ("target mask", target_masks)):
        unknown = [name for name in found if name not in description.particle_names]
        if unknown:
            raise UnknownName(f"particle of a {what}", unknown, description.particle_names, "the event file")
    for particle in description.particles:
        name = particle.name
        for what, found, shape in (
            ("targets", targets, (n_events, len(particle.daughters))),
            ("target mask", target_masks, (n_events,)),
        ):
            if name not in found:
                raise MismatchError(f"no {what} of particle {name!r}, expected those of all particles")
            if np.shape(found[name]) != shape:
                raise MismatchError(
                    f"{what} of particle {name!r}: got the shape {np.shape(found[name])}, expected {shape}"
                )
        truth[name] = np.asarray(targets[name], dtype=np.int64)
        present[name] = np.asarray(target_masks[name], dtype=bool)
        bad = present[name] & (truth[name] < 0).any(axis=1)
        if bad.any():
            row = int(np.argmax(bad))
            raise InvalidValues(
                f"targets of particle {name!r}, event {row}: {truth[name][row].tolist()} although the particle is "
                "present by its mask, expected a slot for each daughter"
            )
    return truth, present


def purities(
    assignments: Mapping[str, Any],
    targets: Mapping[str, Any],
    target_masks: Mapping[str, Any],
    event: EventDescription | str | os.PathLike[str],
    counts: Any = None,
) -> Purities:
    """Purities of assignments, as the evaluation of SPANet defines them.

    Parameters
    ----------
    assignments, targets : mapping of str to int[events, daughters]
        Particle -> slot of each daughter, -1 for none.
    target_masks : mapping of str to bool[events]
        Particle -> whether it is present in the truth.
    event : EventDescription or path
    counts : int[events], optional
        Number of objects of sequential inputs. There are bins for the smallest number, the next, and all larger ones,
        besides that of all events.

    Returns
    -------
    Purities
        In each category the proportion of all events, the event purity (the fraction of the events in which all
        particles that are present are right, for the best exchange of particles), and for each cluster the fraction of
        the particles that are right (for the best order of its particles). A particle is right if its objects are those
        of the truth, up to exchanges of its daughters. Assignments of particles that are absent are not counted.

    Raises
    ------
    UnknownName, MismatchError, InvalidValues
        As of :func:`match_events`.

    Examples
    --------
    >>> from jettagger.topology.eventfile import parse_event_text
    >>> event = parse_event_text('''
    ... INPUTS: {SEQUENTIAL: {Jets: {pt: none}}}
    ... EVENT: {h: [b1, b2]}
    ... PERMUTATIONS: {h: [[b1, b2]]}
    ... ''')
    >>> found = purities({"h": np.array([[0, 1], [0, 2]])}, {"h": [[1, 0], [1, 2]]}, {"h": [True, True]}, event)
    >>> found["1h"].event_purity
    0.5
    """
    matched = match_events(assignments, targets, target_masks, event)
    n_events = len(matched.right)
    bins = {"all": np.ones(n_events, dtype=bool)}
    if counts is not None:
        numbers = np.asarray(counts)
        if numbers.shape != (n_events,):
            raise MismatchError(f"counts: got the shape {numbers.shape}, expected {(n_events,)}")
        if n_events:
            least = int(numbers.min())
            bins = {
                f"== {least}": numbers == least,
                f"== {least + 1}": numbers == least + 1,
                f">= {least + 2}": numbers >= least + 2,
                **bins,
            }
    return Purities(
        matched.clusters,
        {
            label: {name: _purity(matched, name, numbers, inside) for name, numbers in matched.categories}
            for label, inside in bins.items()
        },
    )


def _purity(matched: MatchedEvents, name: str, numbers: Mapping[str, int | None], inside: Bools) -> CategoryPurity:
    rows = inside & matched.in_category(numbers)
    return CategoryPurity(
        category=name,
        events=int(rows.sum()),
        right=int(matched.right[rows].sum()),
        all_events=int(inside.sum()),
        particles={cluster: int(number[rows].sum()) for cluster, number in matched.present.items()},
        matched={cluster: int(number[rows].sum()) for cluster, number in matched.matched.items()},
    )


guard(globals())
