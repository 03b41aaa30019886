"""Detections, regressions and classes compared with the truth, as sums over events."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jettagger.arguments import guard
from jettagger.assignment.purity import clusters_of
from jettagger.assignment.resampling import Estimate, ScoreSums, estimate
from jettagger.assignment.results import ClassRow, DetectionRow, RegressionRow
from jettagger.display import Brief
from jettagger.errors import InvalidValues
from jettagger.topology.eventfile import EventDescription
from jettagger.types import Array, Bools, Floats

__all__ = ["ClassSums", "DetectionSums", "RegressionSums"]


class DetectionSums(Brief):
    """Detection probabilities of clusters: whether at least n of its particles are there.

    The score for n particles of a cluster is the n-th largest of their probabilities, as it does not matter which of
    particles that may be exchanged is which.

    Parameters
    ----------
    event : EventDescription
    replicas : int
    """

    def __init__(self, event: EventDescription, replicas: int) -> None:
        self.clusters = clusters_of(event)
        self.scores = {
            (name, number): ScoreSums(replicas)
            for name, members in self.clusters.items()
            for number in range(1, len(members) + 1)
        }

    def add(self, detection: Mapping[str, Array], present: Mapping[str, Bools], factors: Floats) -> None:
        """Add a block of events.

        Parameters
        ----------
        detection : mapping of str to float[events]
            Particle -> probability; NaN: not scored, left out.
        present : mapping of str to bool[events]
            Particle -> whether it is there.
        factors : float64[events, 1 + replicas]
        """
        for name, members in self.clusters.items():
            ordered = np.sort(np.stack([detection[member] for member in members], axis=1), axis=1)
            count = np.sum([present[member] for member in members], axis=0)
            for number in range(1, len(members) + 1):
                self.scores[name, number].add(ordered[:, -number], count >= number, factors)

    def rows(self, model: str) -> tuple[DetectionRow, ...]:
        """The measures of all clusters.

        Parameters
        ----------
        model : str

        Returns
        -------
        tuple of DetectionRow
        """
        return tuple(
            DetectionRow(
                model=model,
                cluster=name,
                number=number,
                absent=int(sums.counts[0]),
                present=int(sums.counts[1]),
                sensitivity=estimate(sums.sensitivity()),
                specificity=estimate(sums.specificity()),
                accuracy=estimate(sums.accuracy()),
                area=estimate(sums.area()),
            )
            for (name, number), sums in self.scores.items()
        )


class RegressionSums(Brief):
    """Errors of a regression; events without a target, or that are not scored, are left out.

    Parameters
    ----------
    replicas : int
    """

    def __init__(self, replicas: int) -> None:
        self.events = self.without_target = self.not_scored = 0
        #: sums of 1, error, |error|, error^2, target, target^2, and of 1 and |error / target| where it is not 0
        self.sums: Floats = np.zeros((8, 1 + replicas))

    def add(self, values: Array, targets: Array, factors: Floats) -> None:
        """Add a block of events.

        Parameters
        ----------
        values : float[events]
            Of the network; NaN: not scored.
        targets : float[events]
            NaN where it is unknown.
        factors : float64[events, 1 + replicas]
        """
        known, scored = ~np.isnan(targets), ~np.isnan(values)
        rows = known & scored
        self.events += int(np.count_nonzero(rows))
        self.without_target += int(np.count_nonzero(~known))
        self.not_scored += int(np.count_nonzero(known & ~scored))
        target, value = targets[rows].astype(np.float64), values[rows].astype(np.float64)
        error, there = value - target, target != 0
        relative = np.divide(np.abs(error), np.abs(target), out=np.zeros_like(error), where=there)
        terms = [np.ones_like(error), error, np.abs(error), error**2, target, target**2, there.astype(float), relative]
        self.sums += np.stack(terms) @ factors[rows]

    def row(self, target: str, model: str) -> RegressionRow:
        """The measures.

        Parameters
        ----------
        target, model : str

        Returns
        -------
        RegressionRow
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            count, error, absolute, square, total, total_square, there, relative = self.sums
            mean = total / count
            measures = {
                "bias": error / count,
                "absolute": absolute / count,
                "rms": np.sqrt(square / count),
                "relative": relative / there,
                "spread": np.sqrt(np.maximum(total_square / count - mean**2, 0)),
            }
        return RegressionRow(
            target=target,
            model=model,
            events=self.events,
            without_target=self.without_target,
            not_scored=self.not_scored,
            **{name: estimate(value) for name, value in measures.items()},
        )


class ClassSums(Brief):
    """Classes compared with the truth; events without one, or that are not scored, are left out.

    Parameters
    ----------
    replicas : int
    """

    def __init__(self, replicas: int) -> None:
        self.replicas = replicas
        self.without_target = self.not_scored = 0
        self.counts: Array = np.zeros(0, dtype=np.int64)
        #: true class, class with the largest probability
        self.sums: Floats = np.zeros((0, 0, 1 + replicas))
        self.scores = ScoreSums(replicas)

    def add(self, probabilities: Array, classes: Array, factors: Floats, where: str, start: int) -> None:
        """Add a block of events.

        Parameters
        ----------
        probabilities : float[events, classes]
            NaN: not scored.
        classes : int[events]
            -1 where it is unknown.
        factors : float64[events, 1 + replicas]
        where : str
            The data set, for messages.
        start : int
            Number of the first event.

        Raises
        ------
        InvalidValues
            If a class is none of those of the network; gives the event.
        """
        number = probabilities.shape[1]
        beyond = classes >= number
        if beyond.any():
            row = int(np.argmax(beyond))
            raise InvalidValues(
                f"{where}: event {start + row} has class {int(classes[row])}, the network has those from 0 "
                f"to {number - 1}"
            )
        if not len(self.counts):
            self.counts, self.sums = np.zeros(number, dtype=np.int64), np.zeros((number, number, 1 + self.replicas))
        known, scored = classes >= 0, ~np.isnan(probabilities).any(axis=1)
        rows = known & scored
        self.without_target += int(np.count_nonzero(~known))
        self.not_scored += int(np.count_nonzero(known & ~scored))
        truth, chosen = classes[rows].astype(np.int64), probabilities[rows].argmax(axis=1)
        self.counts += np.bincount(truth, minlength=number)
        for one in range(number):
            for other in range(number):
                self.sums[one, other] += factors[rows][(truth == one) & (chosen == other)].sum(axis=0)
        if number == 2:
            self.scores.add(probabilities[rows][:, 1], truth == 1, factors[rows])

    def row(self, target: str, model: str) -> ClassRow:
        """The measures.

        Parameters
        ----------
        target, model : str

        Returns
        -------
        ClassRow
        """
        right = np.array([self.sums[place, place] for place in range(len(self.counts))])
        with np.errstate(divide="ignore", invalid="ignore"):
            accuracy = right.sum(axis=0) / self.sums.sum(axis=(0, 1))
            by_class = right / self.sums.sum(axis=1)
        return ClassRow(
            target=target,
            model=model,
            events=int(self.counts.sum()),
            without_target=self.without_target,
            not_scored=self.not_scored,
            counts=tuple(int(count) for count in self.counts),
            accuracy=estimate(accuracy),
            by_class=tuple(estimate(values) for values in by_class),
            area=estimate(self.scores.area()) if len(self.counts) == 2 else Estimate(None, None),
        )


guard(globals())
