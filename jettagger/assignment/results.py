"""What an evaluation of networks found, and its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jettagger.arguments import guard
from jettagger.assignment.comparison import MethodComparison
from jettagger.assignment.purity import event_categories
from jettagger.assignment.resampling import Estimate
from jettagger.display import Brief, Displayed, Grid, ObjectSummary, aligned
from jettagger.errors import UnknownName

__all__ = ["AssignedRow", "ClassRow", "DetectionRow", "NetworkEvaluation", "PurityRow", "RegressionRow"]


@dataclass(frozen=True)
class PurityRow(Brief):
    """A purity of one method.

    Attributes
    ----------
    objects : str
        Bin of the number of objects of sequential inputs: ``"== 7"``, ``">= 9"``, ``"all"``.
    category : str
        As in `purities`: ``"1lt1ht*h"``.
    events : int
        Number of events of the category and bin.
    proportion : Estimate
        Fraction of the events of the bin that are in the category.
    measure : str
        ``"event"``, or the name of a cluster of particles.
    method : str
    total, right : int
        Number of events or particles, and of those that are right.
    purity : Estimate
    """

    objects: str
    category: str
    events: int
    proportion: Estimate
    measure: str
    method: str
    total: int
    right: int
    purity: Estimate


@dataclass(frozen=True)
class AssignedRow(Brief):
    """Particles that a method assigns in all events, whether they are there or not.

    Attributes
    ----------
    cluster, method : str
    present, assigned, right : int
        Number of particles that are there, that are assigned, and that are there and rightly assigned.
    precision : Estimate
        Fraction of the assigned ones that are right.
    """

    cluster: str
    method: str
    present: int
    assigned: int
    right: int
    precision: Estimate


@dataclass(frozen=True)
class DetectionRow(Brief):
    """Detection probabilities of a network for a cluster: whether at least ``number`` of its particles are there.

    Attributes
    ----------
    model, cluster : str
    number : int
    absent, present : int
        Number of events in which they are not there, and in which they are.
    sensitivity, specificity, accuracy : Estimate
        Fraction of events with a probability of at least 0.5 where they are there, below 0.5 where they are not, and on
        the right side of it.
    area : Estimate
        Area under the ROC curve.
    """

    model: str
    cluster: str
    number: int
    absent: int
    present: int
    sensitivity: Estimate
    specificity: Estimate
    accuracy: Estimate
    area: Estimate


@dataclass(frozen=True)
class RegressionRow(Brief):
    """Errors of a regression, in the unit of the target.

    Attributes
    ----------
    target, model : str
    events : int
    without_target, not_scored : int
        Number of events that are left out: without a target (NaN), and without an output.
    bias, absolute, rms : Estimate
        Mean of the error, of its absolute value, and root of the mean of its square.
    relative : Estimate
        Mean of the absolute value of the error over the target, of targets other than 0.
    spread : Estimate
        Standard deviation of the targets: the root mean square error of a constant.
    """

    target: str
    model: str
    events: int
    without_target: int
    not_scored: int
    bias: Estimate
    absolute: Estimate
    rms: Estimate
    relative: Estimate
    spread: Estimate


@dataclass(frozen=True)
class ClassRow(Brief):
    """Classes of a network.

    Attributes
    ----------
    target, model : str
    events : int
    without_target, not_scored : int
        Number of events that are left out: without a class (-1), and without an output.
    counts : tuple of int
        Number of events of each class.
    accuracy : Estimate
        Fraction of events whose class has the largest probability.
    by_class : tuple of Estimate
        The same of the events of each class.
    area : Estimate
        Area under the ROC curve of the probability of class 1, of two classes.
    """

    target: str
    model: str
    events: int
    without_target: int
    not_scored: int
    counts: tuple[int, ...]
    accuracy: Estimate
    by_class: tuple[Estimate, ...]
    area: Estimate


@dataclass(frozen=True, eq=False)
class NetworkEvaluation(Displayed):
    """Networks compared with the truth of a data set; made by `evaluate_networks`.

    Uncertainties are those of a bootstrap of the events. Differences are paired: of the same events.

    Attributes
    ----------
    path : str
    start, n_events : int
        Number of the first event, and of events.
    weighted : bool
        Whether events have weights: they are in all fractions and means, while numbers of events and particles count.
    models : tuple of str
    clusters : mapping of str to tuple of str
        Cluster -> its particles.
    bins : mapping of str to int
        Bin of the number of objects of sequential inputs -> number of events.
    purities : tuple of PurityRow
    comparisons : mapping of str to MethodComparison
        Network -> its methods compared with its first one; ``between networks`` -> the first methods of all.
    assigned : tuple of AssignedRow
    detections : tuple of DetectionRow
    regressions : tuple of RegressionRow
    classes : tuple of ClassRow
    cut, not_scored : mapping of str to int
        Network, or chi-square -> number of events that lose objects, and that it does not score; only where there are
        any.
    notes : tuple of str
        What is left out, and why.
    """

    path: str
    start: int
    n_events: int
    weighted: bool
    models: tuple[str, ...]
    clusters: Mapping[str, tuple[str, ...]]
    bins: Mapping[str, int]
    purities: tuple[PurityRow, ...]
    comparisons: Mapping[str, MethodComparison]
    assigned: tuple[AssignedRow, ...]
    detections: tuple[DetectionRow, ...]
    regressions: tuple[RegressionRow, ...]
    classes: tuple[ClassRow, ...]
    cut: Mapping[str, int]
    not_scored: Mapping[str, int]
    notes: tuple[str, ...]

    @property
    def methods(self) -> tuple[str, ...]:
        """All methods, in order."""
        return tuple(dict.fromkeys(row.method for row in self.purities))

    @property
    def categories(self) -> tuple[str, ...]:
        """Categories that have events."""
        return tuple(dict.fromkeys(row.category for row in self.purities))

    @property
    def summary_categories(self) -> tuple[str, str]:
        """The categories of events with any of the particles, and with all."""
        full = {name: len(members) for name, members in self.clusters.items()}
        names = [name for name, numbers in event_categories(self.clusters) if numbers == full]
        return next(event_categories(self.clusters))[0], names[0]

    def purity(
        self, method: str, measure: str = "event", category: str | None = None, objects: str = "all"
    ) -> Estimate:
        """One of the purities.

        Parameters
        ----------
        method : str
        measure : str
            ``"event"``, or a cluster.
        category : str, optional
            Default: events with any of the particles.
        objects : str

        Returns
        -------
        Estimate
            Without a value if there are no such events.

        Raises
        ------
        UnknownName
            If there is no such method, measure, category or bin with events.
        """
        category = self.summary_categories[0] if category is None else category
        wanted = {"objects": objects, "category": category, "measure": measure, "method": method}
        rows = list(self.purities)
        for name, value in wanted.items():
            values = list(dict.fromkeys(getattr(row, name) for row in rows))
            if value not in values:
                raise UnknownName(name, value, values, "the evaluation")
            rows = [row for row in rows if getattr(row, name) == value]
        return rows[0].purity

    def tables(self, categories: Sequence[str] | None = None) -> list[Grid]:
        """All tables.

        Parameters
        ----------
        categories : sequence of str, optional
            Of the table of purities; default: any particles present, and all.

        Returns
        -------
        list of Grid

        Raises
        ------
        UnknownName
            If there are no events of a category.
        """
        made = [self._bin_table(), self._purity_table(categories)]
        for name, found in self.comparisons.items():
            header, *rows = found.rows()
            title = f"differences {name}" if name not in self.models else f"differences between methods of {name}"
            made.append(Grid(title, header, rows, len(header) - 3))
        made.append(self._assigned_table())
        tables = (self._detection_table(), self._regression_table(), *self._class_tables())
        return made + [grid for grid in tables if grid.rows]

    def _bin_table(self) -> Grid:
        rows = [[name, str(events), f"{events / max(self.n_events, 1):.3f}"] for name, events in self.bins.items()]
        return Grid("events by number of objects", ["objects", "events", "share"], rows, 2)

    def _purity_table(self, categories: Sequence[str] | None) -> Grid:
        for name in categories or ():
            if name not in self.categories:
                raise UnknownName("category", name, self.categories, "the evaluation")
        shown = self.summary_categories if categories is None else categories
        cells: dict[tuple[str, str, str], list[PurityRow]] = {}
        for row in self.purities:
            if row.category in shown:
                cells.setdefault((row.objects, row.category, row.measure), []).append(row)
        rows = []
        for (objects, category, measure), found in cells.items():
            texts = {row.method: str(row.purity) for row in found}
            first = found[0]
            numbers = [str(first.events), f"{first.proportion.value or 0:.3f}", measure]
            rows.append([objects, category, *numbers, *(texts.get(method, "") for method in self.methods)])
        header = ["objects", "category", "events", "share", "purity of", *self.methods]
        return Grid("purities, with weights of events" if self.weighted else "purities", header, rows, 5)

    def _assigned_table(self) -> Grid:
        header = ["particle", "method", "present", "assigned", "right", "right of assigned"]
        rows = [
            [row.cluster, row.method, str(row.present), str(row.assigned), str(row.right), str(row.precision)]
            for row in self.assigned
        ]
        return Grid("assigned particles in all events", header, rows, 4)

    def _detection_table(self) -> Grid:
        header = ["particles", "network", "present", "absent", "sensitivity", "specificity", "accuracy", "AUC"]
        rows = [
            [
                row.cluster if row.number == 1 else f"{row.cluster}, at least {row.number}",
                row.model,
                str(row.present),
                str(row.absent),
                *map(str, (row.sensitivity, row.specificity, row.accuracy, row.area)),
            ]
            for row in self.detections
        ]
        return Grid("detections (probability of at least 0.5)", header, rows, 6)

    def _regression_table(self) -> Grid:
        header = ["target", "network", "events", "no target", "bias", "|error|", "rms", "|error / target|", "spread"]
        rows = [
            [
                row.target,
                row.model,
                str(row.events),
                str(row.without_target),
                *(item.text(".4g") for item in (row.bias, row.absolute, row.rms, row.relative, row.spread)),
            ]
            for row in self.regressions
        ]
        return Grid("regressions (mean of errors; spread of the targets)", header, rows, 7)

    def _class_tables(self) -> list[Grid]:
        made = []
        for target in dict.fromkeys(row.target for row in self.classes):
            own = [row for row in self.classes if row.target == target]
            number = max(len(row.counts) for row in own)
            header = ["network", "events", "no class", "accuracy", *(f"class {place}" for place in range(number))]
            rows = []
            for row in own:
                cells = [row.model, str(row.events), str(row.without_target), str(row.accuracy)]
                cells += [f"{value} of {count}" for value, count in zip(row.by_class, row.counts, strict=True)]
                cells += [""] * (number - len(row.counts))
                rows.append([*cells, *([str(row.area)] if number == 2 else [])])
            made.append(Grid(f"classes {target}", [*header, *(["AUC"] if number == 2 else [])], rows, len(header) - 1))
        return made

    def to_dict(self) -> dict[str, Any]:
        """All numbers, for JSON.

        Returns
        -------
        dict
            None where there are no events.
        """
        rows = ("purities", "assigned", "detections", "regressions", "classes")
        return {
            "dataset": self.path,
            "start": self.start,
            "events": self.n_events,
            "weighted": self.weighted,
            "networks": list(self.models),
            "clusters": {name: list(members) for name, members in self.clusters.items()},
            "bins": dict(self.bins),
            "cut": dict(self.cut),
            "not_scored": dict(self.not_scored),
            "notes": list(self.notes),
            **{name: [asdict(row) for row in getattr(self, name)] for name in rows},
            "comparisons": {name: found.to_dict() for name, found in self.comparisons.items()},
        }

    def to_table(self) -> str:
        """The tables as text.

        Returns
        -------
        str
        """
        return "\n\n".join("\n".join([grid.title, *aligned([grid.header, *grid.rows])]) for grid in self.tables())

    def __str__(self) -> str:
        return self.to_table()

    def summary(self) -> ObjectSummary:
        """The summary of the object, for notebooks and rich.

        Returns
        -------
        ObjectSummary
        """
        facts = [("data set", self.path), ("events", str(self.n_events)), ("networks", ", ".join(self.models))]
        return ObjectSummary("evaluation of assignment networks", facts, self.tables())


guard(globals())
