"""Right and wrong assignments of several methods, as sums over events with equal outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.assignment.blocks import AssignmentEvents
from jettagger.assignment.comparison import MethodComparison, MethodPurity, same_assignments
from jettagger.assignment.purity import clusters_of, event_categories, match_events
from jettagger.assignment.resampling import CellSums, estimate
from jettagger.assignment.results import AssignedRow, PurityRow
from jettagger.display import Brief
from jettagger.topology.eventfile import EventDescription
from jettagger.types import Array, Bools, Floats, Ints

__all__ = ["NETWORKS", "MethodColumn", "OutcomeSums"]

#: name of the comparison of several networks
NETWORKS = "between networks"


@dataclass(frozen=True)
class MethodColumn(Brief):
    """A method whose assignments are compared with the truth.

    Attributes
    ----------
    label : str
    group : str
        The network whose distributions it decodes; empty for a method without one.
    event : EventDescription
        The particles that it assigns; others are not compared.
    """

    label: str
    group: str
    event: EventDescription

    @property
    def particles(self) -> tuple[str, ...]:
        """Names of the particles that it assigns."""
        return self.event.particle_names


class OutcomeSums(Brief):
    """Outcomes of the events of a data set: number of objects, what is present, what each method has right.

    Parameters
    ----------
    event : EventDescription
    columns : sequence of MethodColumn
        Methods of a network one after the other; those of a network are compared with its first, the first of each
        network, and methods without one, with the first of all.
    replicas : int
    """

    def __init__(self, event: EventDescription, columns: Sequence[MethodColumn], replicas: int) -> None:
        self.event, self.columns = event, tuple(columns)
        self.clusters = clusters_of(event)
        self.bases: dict[str, MethodColumn] = {}
        for column in self.columns:
            if column.group:
                self.bases.setdefault(column.group, column)
        number = len(self.clusters)
        # objects, present in each cluster; for each method: right, other than its reference, matched and assigned
        self.cells = CellSums(1 + number + len(self.columns) * (2 + 2 * number), replicas)

    def add(
        self, assignments: Mapping[str, Mapping[str, Any]], block: AssignmentEvents, objects: Ints, factors: Floats
    ) -> None:
        """Add a block of events.

        Parameters
        ----------
        assignments : mapping of str to mapping of str to int[events, daughters]
            Method -> particle -> slots.
        block : AssignmentEvents
            With the truth.
        objects : int[events]
            Number of objects of sequential inputs.
        factors : float64[events, 1 + replicas]
            Of `Draws.of`.

        Raises
        ------
        InvalidValues
            If a particle that is present has a daughter without a slot, or an assignment uses an object twice.
        """
        parts: list[Any] = [objects]
        for column in self.columns:
            chosen = assignments[column.label]
            matched = match_events(chosen, block.targets, block.target_masks, self.event)
            if len(parts) == 1:
                parts += matched.present.values()
            reference = assignments[self._reference(column).label]
            parts += [matched.right, ~same_assignments(chosen, reference, column.event)]
            parts += matched.matched.values()
            parts += [
                sum((np.asarray(chosen[name]) >= 0).all(axis=1).astype(np.int64) for name in members)
                for members in self.clusters.values()
            ]
        self.cells.add(np.stack(parts, axis=1).astype(np.int64), factors)

    def _reference(self, column: MethodColumn) -> MethodColumn:
        base = self.bases.get(column.group)
        return base if base is not None and base is not column else next(iter(self.bases.values()))

    # ------------------------------------------------------------------------------------------------------ columns

    @property
    def _objects(self) -> Ints:
        return self.cells.outcomes[:, 0]

    @property
    def _present(self) -> dict[str, Ints]:
        return {name: self.cells.outcomes[:, 1 + place] for place, name in enumerate(self.clusters)}

    def _of(self, column: MethodColumn, what: str, cluster: str = "") -> Ints:
        number = len(self.clusters)
        first = 1 + number + self.columns.index(column) * (2 + 2 * number)
        offset = {"right": 0, "differs": 1, "matched": 2, "assigned": 2 + number}[what]
        return self.cells.outcomes[:, first + offset + (list(self.clusters).index(cluster) if cluster else 0)]

    def _bins(self, lines: int) -> dict[str, Bools]:
        objects = self._objects
        if not len(objects):
            return {"all": np.zeros(0, dtype=bool)}
        least = int(objects.min())
        made = {f"== {least + line}": objects == least + line for line in range(lines)}
        if lines:
            made[f">= {least + lines}"] = objects >= least + lines
        return {**made, "all": np.ones(len(objects), dtype=bool)}

    def _measures(self, column: MethodColumn) -> Iterator[tuple[str, Ints, Ints]]:
        """Name, what is right, and what there is to be right; for what the method assigns."""
        present = self._present
        if len(column.particles) == len(self.event.particles):
            yield "event", self._of(column, "right"), np.ones_like(self._objects)
        for name, members in self.clusters.items():
            if set(members) <= set(column.particles):
                yield name, self._of(column, "matched", name), present[name]

    def _sums(self, rows: Bools) -> CellSums:
        part = CellSums(self.cells.outcomes.shape[1], 0)
        part.outcomes, part.counts, part.sums = (
            self.cells.outcomes[rows],
            self.cells.counts[rows],
            self.cells.sums[rows],
        )
        return part

    # ------------------------------------------------------------------------------------------------------ results

    def bins(self, lines: int) -> dict[str, int]:
        """Number of events in bins of the number of objects.

        Parameters
        ----------
        lines : int
            Bins of one number of objects each.

        Returns
        -------
        dict of str to int
        """
        return {label: int(self.cells.counts[inside].sum()) for label, inside in self._bins(lines).items()}

    def rows(self, lines: int) -> tuple[PurityRow, ...]:
        """Purities of all methods by number of objects and category.

        Parameters
        ----------
        lines : int
            Bins of one number of objects each.

        Returns
        -------
        tuple of PurityRow
            Categories without events are left out.
        """
        made = []
        for label, inside in self._bins(lines).items():
            for category, numbers in event_categories(self.clusters):
                rows = inside & self._in_category(numbers)
                part = self._sums(rows)
                events = int(part.counts.sum())
                if not events:
                    continue
                share = estimate(self.cells.ratio(rows.astype(float), inside.astype(float)))
                for column in self.columns:
                    for measure, right, present in self._measures(column):
                        made.append(
                            PurityRow(
                                objects=label,
                                category=category,
                                events=events,
                                proportion=share,
                                measure=measure,
                                method=column.label,
                                total=int(part.counts @ present[rows]),
                                right=int(part.counts @ right[rows]),
                                purity=estimate(part.ratio(right[rows], present[rows])),
                            )
                        )
        return tuple(made)

    def _in_category(self, numbers: Mapping[str, int | None]) -> Bools:
        present = self._present
        inside = np.ones(len(self._objects), dtype=bool)
        for name, number in numbers.items():
            if number is not None:
                inside &= present[name] == number
        if None in numbers.values():
            inside &= np.sum(list(present.values()), axis=0) > 0
        return inside

    def assigned(self) -> tuple[AssignedRow, ...]:
        """How many particles each method assigns, and how many of these are right, in all events.

        Returns
        -------
        tuple of AssignedRow
        """
        made = []
        for column in self.columns:
            for measure, right, present in self._measures(column):
                if measure == "event":
                    continue
                assigned = self._of(column, "assigned", measure)
                made.append(
                    AssignedRow(
                        cluster=measure,
                        method=column.label,
                        present=int(self.cells.counts @ present),
                        assigned=int(self.cells.counts @ assigned),
                        right=int(self.cells.counts @ right),
                        precision=estimate(self.cells.ratio(right, assigned)),
                    )
                )
        return tuple(made)

    def comparisons(self) -> dict[str, MethodComparison]:
        """Paired differences: the methods of each network to its first one, and those of networks to each other.

        Returns
        -------
        dict of str to MethodComparison
            Network -> its methods, and methods without a network if there is only one; with several networks, their
            first methods and those without a network under `NETWORKS`.
        """
        without = [column for column in self.columns if not column.group]
        made = {}
        for group in self.bases:
            own = [column for column in self.columns if column.group == group]
            compared = [*own, *(without if len(self.bases) == 1 else [])]
            if len(compared) > 1:
                made[group] = self._comparison(compared)
        if len(self.bases) > 1:
            made[NETWORKS] = self._comparison([*self.bases.values(), *without])
        return made

    def _comparison(self, columns: Sequence[MethodColumn]) -> MethodComparison:
        base = columns[0]
        purities = []
        for category, numbers in event_categories(self.clusters):
            free = all(number is None for number in numbers.values())
            full = all(number == len(self.clusters[name]) for name, number in numbers.items())
            if free or full:
                rows = self._in_category(numbers)
                part = self._sums(rows)
                reference = {measure: right for measure, right, _ in self._measures(base)}
                for column in columns:
                    purities += [
                        _paired(
                            category, measure, column.label, part, right[rows], reference[measure][rows], total[rows]
                        )
                        for measure, right, total in self._measures(column)
                    ]
        differing = {
            column.label: 0 if column is base else int(self.cells.counts @ self._of(column, "differs"))
            for column in columns
        }
        return MethodComparison(base.label, int(self.cells.counts.sum()), differing, tuple(purities))


def _paired(
    category: str, measure: str, method: str, part: CellSums, right: Array, reference: Array, total: Array
) -> MethodPurity:
    purity, difference = estimate(part.ratio(right, total)), estimate(part.ratio(right - reference, total))
    return MethodPurity(
        category=category,
        measure=measure,
        method=method,
        total=int(part.counts @ total),
        right=int(part.counts @ right),
        purity=purity.value,
        uncertainty=purity.uncertainty,
        difference=difference.value,
        difference_uncertainty=difference.uncertainty,
        gained=int(part.counts @ (right > reference)),
        lost=int(part.counts @ (right < reference)),
    )


guard(globals())
