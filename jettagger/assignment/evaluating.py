"""Networks on a data set with truth: purities of all decoders side by side, detections, regressions, classes.

Events are read in blocks. What is kept of them are sums over events with equal outcomes, and bootstrap replicas of
these sums (`jettagger.assignment.resampling`), in which all methods and networks vary together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.arguments import guard, in_range
from jettagger.assignment.baseline import ChiSquareBaseline
from jettagger.assignment.blocks import AssignmentEvents
from jettagger.assignment.datasets import EVENT_WEIGHTS, AssignmentDataset
from jettagger.assignment.decoding import METHODS, AssignmentFunction, decode
from jettagger.assignment.measures import ClassSums, DetectionSums, RegressionSums
from jettagger.assignment.model_outputs import AssignmentModel, ModelOutputs
from jettagger.assignment.outcomes import NETWORKS, MethodColumn, OutcomeSums
from jettagger.assignment.resampling import Draws
from jettagger.assignment.results import NetworkEvaluation
from jettagger.assignment.training import training_rows
from jettagger.assignment.training_options import AssignmentOptions
from jettagger.display import Brief
from jettagger.errors import ConfigError, MismatchError, UnknownName
from jettagger.topology.eventfile import EventDescription
from jettagger.types import Array, Ints

__all__ = ["CHI_SQUARE", "EvaluationPlan", "evaluate_networks", "plan_evaluation"]

#: name of the baseline among the methods
CHI_SQUARE = "chi-square"

#: events of a block, and bytes of its distributions
_EVENTS, _BYTES = 4096, 64 * 2**20


@dataclass(frozen=True)
class _Decoder:
    """A way to decode the distributions of a network."""

    method: str | AssignmentFunction
    detection: bool

    @property
    def name(self) -> str:
        method = self.method if isinstance(self.method, str) else getattr(self.method, "__name__", "own")
        return f"{method}, detection" if self.detection else method


@dataclass(frozen=True)
class EvaluationPlan(Brief):
    """What is evaluated; made by `plan_evaluation`.

    Attributes
    ----------
    models : dict of str to AssignmentModel
    datasets : dict of str to AssignmentDataset
        Model -> the data set, with the inputs of the model.
    decoders : dict of str to tuple
        Model -> its ways of decoding.
    baseline : ChiSquareBaseline or None
    start, stop : int
        Range of events.
    weights : bool
        Whether events have the weights of the data set.
    notes : tuple of str
        Outputs that are left out, and why; events that a network was trained on.
    """

    models: dict[str, AssignmentModel]
    datasets: dict[str, AssignmentDataset]
    decoders: dict[str, tuple[_Decoder, ...]]
    baseline: ChiSquareBaseline | None
    start: int
    stop: int
    weights: bool
    notes: tuple[str, ...]

    @property
    def n_events(self) -> int:
        """Number of events."""
        return self.stop - self.start

    @property
    def path(self) -> str:
        """The data set."""
        return next(iter(self.datasets.values())).path

    @property
    def event(self) -> EventDescription:
        """Event file of the first network."""
        return next(iter(self.models.values())).event

    def label(self, model: str, decoder: str) -> str:
        """Name of a column: that of the decoder, after that of the network if there are several."""
        return f"{model}: {decoder}" if len(self.models) > 1 else decoder

    @property
    def columns(self) -> tuple[MethodColumn, ...]:
        """All methods, in order."""
        made = []
        for model, decoders in self.decoders.items():
            made += [MethodColumn(self.label(model, one.name), model, self.event) for one in decoders]
        if self.baseline is not None:
            made.append(MethodColumn(CHI_SQUARE, "", self.baseline.event))
        return tuple(made)

    @property
    def sources(self) -> tuple[Path, ...]:
        """All files that are read."""
        return (Path(self.path), *(path for model in self.models.values() for path in model.sources))


def plan_evaluation(
    models: Mapping[str, AssignmentModel],
    path: str | os.PathLike[str],
    *,
    methods: Sequence[str | AssignmentFunction] = METHODS,
    detection: bool | None = None,
    baseline: ChiSquareBaseline | None = None,
    start: int = 0,
    stop: int | None = None,
    weights: bool = False,
) -> EvaluationPlan:
    """Compare networks with each other and with a data set; no event is read.

    Parameters
    ----------
    models : mapping of str to AssignmentModel
        Name -> network, of `open_model`. All assign the same particles.
    path : path
        Data set with targets.
    methods : sequence of str or callable
        As of `decode`; differences are to the first one.
    detection : bool, optional
        Whether each method is also used with detection probabilities; default: if the network was trained for them.
    baseline : ChiSquareBaseline, optional
        Of `parse_baseline`, as a further method.
    start, stop : int
        Range of events, as in a list; default: all.
    weights : bool
        Whether events have the weights of the data set.

    Returns
    -------
    EvaluationPlan

    Raises
    ------
    MismatchError
        If there is no network, event files have different particles or inputs with slots, or the range is empty.
    ConfigError
        If a method is given twice, if detections are asked for and a network has none, or weights and the data set has
        none.
    UnknownName
        If there is no such method.
    InputFileError, MissingColumns
        As `AssignmentDataset`.
    """
    if not models:
        raise MismatchError("no networks, expected at least one")
    for method in methods:
        if isinstance(method, str) and method not in METHODS:
            raise UnknownName("method", method, METHODS)
    if NETWORKS in models:
        raise ConfigError(f"a network cannot be called {NETWORKS!r}: that is the comparison of several")
    names = [_Decoder(method, False).name for method in methods]
    if not names or len(set(names)) < len(names) or CHI_SQUARE in names:
        raise ConfigError(f"methods are {', '.join(names) or 'none'}; expected different ones, at least one")
    first = next(iter(models.values()))
    datasets: dict[str, AssignmentDataset] = {}
    decoders, notes = {}, []
    for name, model in models.items():
        if _topology(model.event) != _topology(first.event):
            raise MismatchError(
                f"{name} and {next(iter(models))} cannot be compared: their event files differ in particles, "
                "permutations, or inputs with slots"
            )
        datasets[name] = next(
            (made for other, made in datasets.items() if models[other].event == model.event), None
        ) or AssignmentDataset(path, model.event)
        with_detection = detection
        if "detection" in model.untrained:
            if detection:
                raise ConfigError(
                    f"{name} was not trained for detections (detection_loss_scale 0): leave detection out"
                )
            with_detection = False
        own = [method for method in methods if isinstance(method, str)]
        decoders[name] = tuple(_Decoder(method, False) for method in methods) + tuple(
            _Decoder(method, True) for method in own if with_detection is not False
        )
        notes += [f"{name}: {part} left out, the training had none" for part in sorted(model.untrained)]
    first_set = next(iter(datasets.values()))
    low, high, _ = slice(start, stop).indices(first_set.n_events)
    if low >= high:
        where = "" if stop is None else f" to {stop}"
        raise MismatchError(f"{first_set.path} has {first_set.n_events} events: none from {start or 0}{where}")
    if weights and EVENT_WEIGHTS not in first_set.optional:
        raise ConfigError(f"{first_set.path} has no weights of events ({EVENT_WEIGHTS}): leave weights out")
    if not weights and EVENT_WEIGHTS in first_set.optional:
        notes.append(f"{first_set.path} has weights of events: they are not used; weights=True (--weights) does")
    for name, model in models.items():
        trained = _trained_events(model, first_set, low, high)
        if trained:
            notes.append(f"{name} was trained with {trained} of the {high - low} events: purities of them tell nothing")
    return EvaluationPlan(dict(models), datasets, decoders, baseline, low, high, weights, tuple(notes))


def _trained_events(model: AssignmentModel, dataset: AssignmentDataset, start: int, stop: int) -> int:
    """How many of the events are those of the training of a network, as far as its options tell."""
    keys = ("training_file", "validation_file", "dataset_limit", "dataset_randomization", "train_validation_split")
    known = {key: model.options[key] for key in keys if key in model.options}
    try:
        if not os.path.samefile(known.get("training_file", ""), dataset.path):
            return 0
        options = AssignmentOptions(**known)
    except (OSError, TypeError, ValueError):
        return 0  # a file of another place or machine, or options of another version
    rows, _ = training_rows(dataset.n_events, options, validation=bool(options.validation_file))
    if isinstance(rows, range):
        return max(min(stop, rows.stop) - max(start, rows.start), 0)
    return int(np.count_nonzero((np.asarray(rows) >= start) & (np.asarray(rows) < stop)))


def _topology(event: EventDescription) -> Any:
    """What has to be equal so that assignments can be compared."""
    return event.particles, dict(event.permutations), [item.name for item in event.sequential]


def evaluate_networks(
    plan: EvaluationPlan,
    *,
    lines: int = 2,
    replicas: int = 200,
    seed: int = 1,
    threads: int | None = None,
    size: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> NetworkEvaluation:
    """Run networks on a data set and compare them with the truth, at constant memory.

    Parameters
    ----------
    plan : EvaluationPlan
        Of `plan_evaluation`.
    lines : int
        Bins of one number of objects each, from the smallest one on; one more has all larger numbers.
    replicas : int
        Of the bootstrap; 0: no uncertainties.
    seed : int
        Of the bootstrap.
    threads : int, optional
        Of the decoder.
    size : int, optional
        Events in memory; default: 4096, fewer with large distributions.
    progress : callable, optional
        Called with the number of events of each block that is done.

    Returns
    -------
    NetworkEvaluation

    Raises
    ------
    InputFileError, InvalidValues
        If the data set is damaged, or has events that cannot be used; gives their numbers.
    ModelFileError
        If a network cannot be run.
    ConfigError
        If an option is out of range, or a network has no detection probabilities, which a method needs.
    """
    for value, option, low in ((lines, "lines", 0), (replicas, "replicas", 0), (seed, "seed", 0)):
        in_range(value, f"evaluate_networks(), argument {option}", low)
    size = _block_size(plan) if size is None else size
    in_range(size, "evaluate_networks(), argument size", 1)
    draws = Draws(replicas, seed)
    found = _Found(plan, replicas)
    for blocks in _blocks(plan, size):
        block = blocks[next(iter(blocks))]
        weights = block.event_weights["EVENT"] if plan.weights else np.ones(block.n_events)
        factors = draws.of(block.start, weights)
        found.add(blocks, factors, threads)
        if progress is not None:
            progress(block.n_events)
    return found.result(lines)


def _block_size(plan: EvaluationPlan) -> int:
    dataset = next(iter(plan.datasets.values()))
    slots = sum(dataset.slots[item.name] for item in plan.event.sequential)
    per_event = 4 * sum(slots ** len(particle.daughters) for particle in plan.event.particles)
    return max(min(_EVENTS, _BYTES // max(per_event, 1)), 1)


def _blocks(plan: EvaluationPlan, size: int) -> Iterator[dict[str, AssignmentEvents]]:
    """Model -> the same events with its inputs."""
    readers = {
        id(dataset): dataset.blocks(size, start=plan.start, stop=plan.stop) for dataset in plan.datasets.values()
    }
    for _ in range(plan.start, plan.stop, size):
        made = {key: next(reader) for key, reader in readers.items()}
        yield {name: made[id(dataset)] for name, dataset in plan.datasets.items()}


class _Found:
    """The sums of all that is measured."""

    def __init__(self, plan: EvaluationPlan, replicas: int) -> None:
        self.plan, self.replicas = plan, replicas
        event = plan.event
        self.purities = OutcomeSums(event, plan.columns, replicas)
        self.detections: dict[str, DetectionSums] = {}
        self.regressions: dict[tuple[str, str], RegressionSums] = {}
        self.classes: dict[tuple[str, str], ClassSums] = {}
        self.cut = dict.fromkeys(plan.models, 0)
        self.not_scored = dict.fromkeys(plan.models, 0)

    def add(self, blocks: Mapping[str, AssignmentEvents], factors: Array, threads: int | None) -> None:
        plan = self.plan
        assignments: dict[str, Mapping[str, Ints]] = {}
        block = blocks[next(iter(blocks))]
        for name, model in plan.models.items():
            made = model.outputs(blocks[name])
            self.cut[name] += int(np.count_nonzero(made.cut))
            self.not_scored[name] += int(np.count_nonzero(~made.scored))
            for decoder in plan.decoders[name]:
                label = plan.label(name, decoder.name)
                assignments[label] = _decoded(made, decoder, model.event, threads)
            self._add_heads(name, blocks[name], made, factors)
        if plan.baseline is not None:
            self.cut[CHI_SQUARE] = self.cut.get(CHI_SQUARE, 0) + plan.baseline.cut(block)
            own = plan.baseline.assign(block, threads)
            assignments[CHI_SQUARE] = {
                particle.name: own.get(particle.name, np.full((block.n_events, len(particle.daughters)), -1))
                for particle in plan.event.particles
            }
        objects = sum(np.count_nonzero(block.masks[item.name], axis=1) for item in plan.event.sequential)
        self.purities.add(assignments, block, np.asarray(objects), factors)

    def _add_heads(self, name: str, block: AssignmentEvents, made: ModelOutputs, factors: Array) -> None:
        untrained = self.plan.models[name].untrained
        if made.detection and "detection" not in untrained:
            sums = self.detections.setdefault(name, DetectionSums(self.plan.event, self.replicas))
            sums.add(made.detection, block.target_masks, factors)
        for path, values in made.regressions.items() if "regressions" not in untrained else ():
            self.regressions.setdefault((path, name), RegressionSums(self.replicas)).add(
                values, block.regressions[path], factors
            )
        for path, values in made.classes.items() if "classes" not in untrained else ():
            self.classes.setdefault((path, name), ClassSums(self.replicas)).add(
                values, block.classifications[path], factors, f"{self.plan.path}, CLASSIFICATIONS/{path}", block.start
            )

    def result(self, lines: int) -> NetworkEvaluation:
        return NetworkEvaluation(
            path=self.plan.path,
            start=self.plan.start,
            n_events=self.plan.n_events,
            weighted=self.plan.weights,
            models=tuple(self.plan.models),
            clusters=self.purities.clusters,
            bins=self.purities.bins(lines),
            purities=self.purities.rows(lines),
            comparisons=self.purities.comparisons(),
            assigned=self.purities.assigned(),
            detections=tuple(row for name, sums in self.detections.items() for row in sums.rows(name)),
            regressions=tuple(sums.row(path, name) for (path, name), sums in sorted(self.regressions.items())),
            classes=tuple(sums.row(path, name) for (path, name), sums in sorted(self.classes.items())),
            cut={name: count for name, count in self.cut.items() if count},
            not_scored={name: count for name, count in self.not_scored.items() if count},
            notes=self.plan.notes,
        )


def _decoded(made: ModelOutputs, decoder: _Decoder, event: EventDescription, threads: int | None) -> Mapping[str, Ints]:
    detection = None
    if decoder.detection:
        detection = {name: np.nan_to_num(values, nan=0.0) for name, values in made.detection.items()}
    return decode(made.log_probabilities, event, decoder.method, detection=detection, threads=threads).assignments


guard(globals(), "evaluate_networks", "plan_evaluation")
