"""Methods of decoding on the same events: purities of each, and paired differences to one of them.

A method that is better in probability is not better in physics: the jointly best assignment gives up particles that the
network is sure of for others that may not be reconstructable. Differences between methods are smaller than the
uncertainties of their purities, but in most events they agree, so paired differences are precise.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.assignment.decoding import AssignmentFunction, Decoded, decode, event_of
from jettagger.assignment.purity import MatchedEvents, markdown, match_events
from jettagger.display import Brief, Displayed, Grid, ObjectSummary, aligned
from jettagger.errors import ConfigError, UnknownName
from jettagger.topology.eventfile import EventDescription
from jettagger.types import Bools, Floats, Ints

__all__ = ["MethodComparison", "MethodPurity", "compare_assignments", "compare_methods", "same_assignments"]


@dataclass(frozen=True)
class MethodPurity(Brief):
    """A purity of one method in one category, and its paired difference to that of the reference.

    Attributes
    ----------
    category : str
        As in `purities`: any of the particles present (``*``), or all of them.
    measure : str
        ``"event"``, or the name of a cluster.
    method : str
    total, right : int
        Number of events or particles, and of those that are right.
    purity : float or None
        None without any.
    uncertainty : float or None
        One standard deviation.
    difference, difference_uncertainty : float or None
        Purity minus that of the reference, and the standard deviation of the paired difference.
    gained, lost : int
        Number of events with more and fewer right than with the reference.
    """

    category: str
    measure: str
    method: str
    total: int
    right: int
    purity: float | None
    uncertainty: float | None
    difference: float | None
    difference_uncertainty: float | None
    gained: int
    lost: int


@dataclass(frozen=True, eq=False)
class MethodComparison(Displayed):
    """Purities of several methods on the same events; made by :func:`compare_methods`.

    Attributes
    ----------
    reference : str
        The method that others are compared with.
    n_events : int
    differing : mapping of str to int
        Method -> number of events whose assignment differs from that of the reference by more than exchanges of
        symmetric daughters and particles.
    purities : tuple of MethodPurity
    """

    reference: str
    n_events: int
    differing: Mapping[str, int]
    purities: tuple[MethodPurity, ...]

    def rows(self) -> list[list[str]]:
        """The cells of a table, with a header.

        Returns
        -------
        list of list of str
        """
        header = ["category", "purity of", "method", "total", "purity", f"minus {self.reference}", "gained", "lost"]
        rows = [[*header, "events that differ"]]
        for found in self.purities:
            share = self.differing[found.method] / self.n_events if self.n_events else 0.0
            same = found.method == self.reference
            rows.append(
                [
                    found.category,
                    found.measure,
                    found.method,
                    str(found.total),
                    _text(found.purity, found.uncertainty, "%.4f"),
                    "" if same else _text(found.difference, found.difference_uncertainty, "%+.4f"),
                    "" if same else str(found.gained),
                    "" if same else str(found.lost),
                    "" if same else f"{100 * share:.1f} %",
                ]
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

    def to_dict(self) -> dict[str, Any]:
        """All numbers, for JSON.

        Returns
        -------
        dict
            None where a category has no events.
        """
        return {
            "reference": self.reference,
            "events": self.n_events,
            "differing": dict(self.differing),
            "purities": [asdict(found) for found in self.purities],
        }

    def __str__(self) -> str:
        return self.to_table()

    def summary(self) -> ObjectSummary:
        """The summary of the object, for notebooks and rich.

        Returns
        -------
        ObjectSummary
        """
        header, *rows = self.rows()
        grid = Grid("paired differences", header, rows, len(header) - 3)
        return ObjectSummary("methods of decoding", [("events", str(self.n_events))], [grid])


def _text(value: float | None, uncertainty: float | None, form: str) -> str:
    return "-" if value is None else f"{form % value} ± {uncertainty or 0:.4f}"


def compare_methods(
    log_probabilities: Mapping[str, Any],
    targets: Mapping[str, Any],
    target_masks: Mapping[str, Any],
    event: EventDescription | str | os.PathLike[str],
    methods: Sequence[str | AssignmentFunction] = ("greedy", "best", "sum"),
    reference: str = "greedy",
    detection: Mapping[str, Any] | None = None,
    threads: int | None = None,
) -> MethodComparison:
    """Purities of methods of decoding on the same distributions, and their paired differences.

    Parameters
    ----------
    log_probabilities : mapping of str to float[events, T, ..., T]
        As for :func:`~jettagger.assignment.decode`.
    targets : mapping of str to int[events, daughters]
    target_masks : mapping of str to bool[events]
        As for :func:`~jettagger.assignment.purities`.
    event : EventDescription or path
    methods : sequence of str or callable
        Functions of the user appear under their names.
    reference : str
        The one that others are compared with.
    detection : mapping of str to float[events], optional
        For all methods but functions of the user.
    threads : int, optional

    Returns
    -------
    MethodComparison
        For the events in which any, and in which all particles are present.

    Raises
    ------
    UnknownName
        If the reference is not among the methods.
    ConfigError
        If two methods have the same name.
    MismatchError, InvalidValues
        As of `decode` and `purities`.
    """
    found: dict[str, Mapping[str, Ints]] = {}
    for method in methods:
        if isinstance(method, str):
            decoded: Decoded = decode(log_probabilities, event, method, 1, detection, threads)
        else:
            decoded = decode(log_probabilities, event, method, threads=threads)
        if decoded.method in found:
            raise ConfigError(f"two of the methods are called {decoded.method!r}, expected different names")
        found[decoded.method] = decoded.assignments
    return compare_assignments(found, targets, target_masks, event, reference)


def compare_assignments(
    assignments: Mapping[str, Mapping[str, Any]],
    targets: Mapping[str, Any],
    target_masks: Mapping[str, Any],
    event: EventDescription | str | os.PathLike[str],
    reference: str = "greedy",
) -> MethodComparison:
    """The same for assignments, also those of a chi-square or of other networks, of the same events.

    Parameters
    ----------
    assignments : mapping of str to mapping of str to int[events, daughters]
        Method -> particle -> slot of each daughter, -1 where it is not assigned.
    targets : mapping of str to int[events, daughters]
    target_masks : mapping of str to bool[events]
    event : EventDescription or path
    reference : str
        The method that others are compared with.

    Returns
    -------
    MethodComparison

    Raises
    ------
    UnknownName, MismatchError, InvalidValues
    """
    description = event_of(event)
    if reference not in assignments:
        raise UnknownName("method to compare with", reference, assignments)
    matched = {method: match_events(found, targets, target_masks, description) for method, found in assignments.items()}
    base = matched[reference]
    purities = []
    for category, numbers in base.categories:
        free = all(number is None for number in numbers.values())
        full = all(number == len(base.clusters[name]) for name, number in numbers.items())
        if free or full:
            rows = base.in_category(numbers)
            for method, found in matched.items():
                purities += _purities(category, method, found, base, rows)
    differing = {
        method: int((~same_assignments(found, assignments[reference], description)).sum())
        for method, found in assignments.items()
    }
    return MethodComparison(reference, len(base.right), differing, tuple(purities))


def _purities(category: str, method: str, found: MatchedEvents, base: MatchedEvents, rows: Bools) -> list[MethodPurity]:
    ones = np.ones(int(rows.sum()))
    measures: dict[str, tuple[Floats, Floats, Floats]] = {
        "event": (found.right[rows].astype(float), base.right[rows].astype(float), ones)
    }
    for cluster in found.clusters:
        measures[cluster] = (
            found.matched[cluster][rows].astype(float),
            base.matched[cluster][rows].astype(float),
            base.present[cluster][rows].astype(float),
        )
    result = []
    for measure, (right, other, total) in measures.items():
        purity, uncertainty = _ratio(right, total)
        difference, paired = _ratio(right - other, total)
        result.append(
            MethodPurity(
                category=category,
                measure=measure,
                method=method,
                total=int(total.sum()),
                right=int(right.sum()),
                purity=purity,
                uncertainty=uncertainty,
                difference=difference,
                difference_uncertainty=paired,
                gained=int((right > other).sum()),
                lost=int((right < other).sum()),
            )
        )
    return result


def _ratio(values: Floats, total: Floats) -> tuple[float | None, float | None]:
    """A ratio of sums over events, and its standard deviation with the events as independent units."""
    whole = float(total.sum())
    if not whole:
        return None, None
    ratio = float(values.sum()) / whole
    return ratio, math.sqrt(float(((values - ratio * total) ** 2).sum())) / whole


def same_assignments(one: Mapping[str, Any], other: Mapping[str, Any], description: EventDescription) -> Bools:
    """Whether exchanges of daughters and particles make assignments equal, event by event.

    Parameters
    ----------
    one, other : mapping of str to int[events, daughters]
        Particle -> slots.
    description : EventDescription

    Returns
    -------
    bool[events]
    """
    names = description.particle_names
    first, second = ([np.asarray(found[name]) for name in names] for found in (one, other))
    groups = [np.array(description.daughter_group(name).elements) for name in names]
    same = np.zeros(len(first[0]), dtype=bool)
    for element in description.event_group.elements:
        equal = np.ones(len(same), dtype=bool)
        for place, image in enumerate(element):
            if first[place].shape != second[image].shape:
                equal[:] = False
                continue
            equal &= (first[place][:, None, :] == second[image][:, groups[image]]).all(axis=2).any(axis=1)
        same |= equal
    return same


guard(globals())
