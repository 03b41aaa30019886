"""Training of assignment networks: the events of data sets, batches, learning rates, and validation by true purities.

The loop, its seeds and checkpoints are those of `jettagger.training`. The best epoch is that with the most right events
of the validation set, decoded as they are in use, with all symmetries; the original monitors a number that leaves out
exchanges of two daughters.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jettagger.arguments import guard
from jettagger.assignment.blocks import AssignmentEvents
from jettagger.assignment.datasets import AssignmentDataset
from jettagger.assignment.decoding import decode
from jettagger.assignment.losses import AssignmentLoss, AssignmentTargets
from jettagger.assignment.networks import build_network
from jettagger.assignment.purity import match_events
from jettagger.assignment.statistics import TrainingStatistics, log_inputs, training_statistics
from jettagger.assignment.training_options import AssignmentOptions
from jettagger.assignment.weights import LoadedWeights, load_weights
from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName, require
from jettagger.topology.eventfile import EventDescription
from jettagger.training.history import Epoch
from jettagger.training.loop import LoopSettings, Metric, TrainingBatch, train_network
from jettagger.training.seeds import epoch_random, seeded
from jettagger.types import Array

if TYPE_CHECKING:
    from jettagger.training.devices import Precision

__all__ = ["TrainedNetwork", "train_assignment", "training_rows"]

#: name of the criterion of the best epoch
PURITY = "event purity"


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network, see `train_assignment`.

    Parameters
    ----------
    network : torch.nn.Module
        With the weights of the best epoch, in the mode of evaluation.
    statistics : TrainingStatistics
        Of the training events.
    history : tuple of Epoch
        Losses of the training and the validation, and the event purity of the validation (``metric``).
    training_events, validation_events : int
        Numbers of events.
    loaded : LoadedWeights, optional
        What became of the weights that it started from.
    """

    network: Any
    statistics: TrainingStatistics
    history: tuple[Epoch, ...]
    training_events: int
    validation_events: int
    loaded: LoadedWeights | None = None


@dataclass(frozen=True)
class _NamedOptimiser:
    """An optimiser of torch by its name; biases have no weight decay."""

    name: str
    kind: Literal["named"] = "named"

    def make(self, parameters: Any, rate: float, decay: float) -> Any:
        torch = require("torch", "train", "training a network")
        names = [name for name, value in vars(torch.optim).items() if isinstance(value, type) and name != "Optimizer"]
        if self.name not in names:
            raise UnknownName("optimizer", self.name, names)
        groups: dict[bool, list[Any]] = {True: [], False: []}
        for parameter in parameters:
            groups[not getattr(parameter, "is_bias", False)].append(parameter)
        made = [{"params": group, "weight_decay": decay * decayed} for decayed, group in groups.items() if group]
        return getattr(torch.optim, self.name)(made, lr=rate)


@dataclass(frozen=True)
class _Cycles:
    """The learning rate of the original: linear decay to zero, or a cosine with hard restarts."""

    cycles: int = 0
    kind: Literal["cycles"] = "cycles"

    def factor(self, epoch: int, epochs: int, better: Any) -> float:
        share = epoch / epochs
        return 1 - share if self.cycles < 1 else 0.5 * (1 + math.cos(math.pi * (self.cycles * share % 1)))


def training_rows(
    events: int, options: AssignmentOptions, *, validation: bool = False
) -> tuple[tuple[int, ...] | range, tuple[int, ...] | range]:
    """The events of a data set that are trained on, and those that validate, as in the original.

    Parameters
    ----------
    events : int
        Number of events of the data set.
    options : AssignmentOptions
        ``dataset_limit``, ``train_validation_split``, ``dataset_randomization``.
    validation : bool
        Whether there is another data set for the validation: then all of the share is trained on.

    Returns
    -------
    training, validation : sequence of int
        Rising numbers of events.

    Examples
    --------
    >>> training_rows(10, AssignmentOptions(train_validation_split=0.8))
    (range(0, 8), range(8, 10))
    """
    split = 1.0 if validation else options.train_validation_split
    middle, end = round(options.dataset_limit * split * events), round(options.dataset_limit * events)
    if not options.dataset_randomization:
        return range(middle), range(middle, end)
    order = np.random.default_rng(options.dataset_randomization).permutation(events)
    chosen = (sorted(order[:middle].tolist()), sorted(order[middle:end].tolist()))
    return tuple(chosen[0]), tuple(chosen[1])


# ------------------------------------------------------------------------------------------------------------- events


def _taken(events: AssignmentEvents, rows: Any) -> AssignmentEvents:
    index = np.asarray(rows, dtype=np.int64)
    parts = ("values", "masks", "targets", "target_masks", "weights", "regressions", "classifications", "pair_values")
    made: dict[str, Any] = {
        part: {name: value[index] for name, value in getattr(events, part).items()} for part in parts
    }
    return AssignmentEvents(**made)


def _objects(events: AssignmentEvents, description: EventDescription) -> Array:
    return np.asarray(sum(events.masks[item.name].sum(1) for item in description.sequential), dtype=np.int64)


def _kept(events: AssignmentEvents, description: EventDescription, options: AssignmentOptions, full: bool) -> Any:
    """Events with all particles, or with a number of objects, if so wanted."""
    keep = np.ones(events.n_events, dtype=bool)
    if options.limit_to_num_jets:
        keep &= _objects(events, description) == options.limit_to_num_jets
    if full:
        keep &= np.all([events.target_masks[particle.name] for particle in description.particles], axis=0)
    return np.flatnonzero(keep)


class _Sample:
    """Events as tensors, in batches."""

    def __init__(self, torch: Any, events: AssignmentEvents, dataset: AssignmentDataset) -> None:
        description = dataset.event
        values = log_inputs(
            events.values,
            events.masks,
            description,
            pair_values=events.pair_values,
            pair_features=dataset.pair_features,
        )

        def tensors(arrays: Mapping[str, Array]) -> dict[str, Any]:
            return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}

        self.count = events.n_events
        self.inputs = (tensors(values), tensors(events.masks))
        self.targets = AssignmentTargets(
            tensors(events.targets),
            tensors(events.target_masks),
            tensors(events.weights),
            tensors(events.regressions),
            tensors(events.classifications),
            torch.from_numpy(_objects(events, description)),
            torch.ones(events.n_events),
        )
        self.torch = torch

    def batches(self, size: int, order: Any = None) -> Iterator[TrainingBatch]:
        torch = self.torch
        order = torch.arange(self.count) if order is None else torch.from_numpy(order)

        def taken(value: Any, rows: Any) -> Any:
            return {name: item[rows] for name, item in value.items()} if isinstance(value, dict) else value[rows]

        for first in range(0, self.count, size):
            rows = order[first : first + size]
            inputs = tuple(taken(part, rows) for part in self.inputs)
            targets = AssignmentTargets(*(taken(part, rows) for part in self.targets))
            yield TrainingBatch(inputs, targets, torch.ones(len(rows)))


class _Objective:
    """The loss of a batch for each of its events; says where a training diverges."""

    def __init__(self, loss: AssignmentLoss) -> None:
        self.loss, self.calls, self.last = loss, 0, math.nan

    def __call__(self, outputs: Any, targets: Any, weights: Any) -> Any:
        self.calls += 1
        try:
            total = self.loss(outputs, targets).total
        except InvalidValues as error:
            raise InvalidValues(f"batch {self.calls} (last finite loss {self.last:.6g}): {error}") from error
        self.last = float(total.detach())
        return total * weights


def _purity(description: EventDescription, threads: int) -> Metric:
    """The share of right events among those with particles."""

    def reduced(outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any, Any]:
        torch = require("torch", "train", "training a network")
        arrays = {name: value.float().numpy() for name, value in outputs.assignments.items()}
        made = decode(arrays, description, threads=threads).assignments
        true = {name: value.numpy() for name, value in targets.targets.items()}
        masks = {name: value.numpy() for name, value in targets.masks.items()}
        matched = match_events(made, true, masks, description)
        return torch.from_numpy(matched.right), torch.from_numpy(matched.any_present), weights

    def share(right: Any, there: Any, weights: Any) -> float:
        count = float((there * weights).sum())
        if not count:
            raise InvalidValues("no event of the validation set has a particle: there is no purity")
        return float((right & there).double().mul(weights).sum()) / count

    return Metric(PURITY, share, higher_is_better=True, reduce=reduced)


# ----------------------------------------------------------------------------------------------------------- training


def train_assignment(
    options: AssignmentOptions,
    training: AssignmentDataset,
    validation: AssignmentDataset | None = None,
    *,
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    precision: Precision = "float32",
    weights: Mapping[str, Any] | None = None,
    freeze: bool = False,
    follow: Callable[[Epoch], None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> TrainedNetwork:
    """Train an assignment network; the same seed, data and options give the same network on a machine.

    Parameters
    ----------
    options : AssignmentOptions
    training : AssignmentDataset
        Read into memory.
    validation : AssignmentDataset, optional
        Default: the end of the share of the training data set, see `training_rows`. Its events are all kept.
    seed : int
        Of weights and order.
    threads : int
        Threads of torch and of the decoder.
    device : str
        ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    precision : str
        ``float32``, or mixed precision: ``bfloat16``, ``float16``.
    weights : mapping of str to array, optional
        State dictionary to start from, with its normalisation; what does not fit is left out
        (`jettagger.assignment.weights.load_weights`).
    freeze : bool
        Whether weights that were loaded are left as they are.
    follow : callable, optional
        Called with an `Epoch` after each epoch.
    checkpoint : path, optional
        Written after each epoch; if it exists, the training resumes with the same result.

    Returns
    -------
    TrainedNetwork

    Raises
    ------
    InvalidValues
        If there are no events, targets that cannot be assigned, missing classes, or a loss that is not finite: gives
        the batch and the last finite loss.
    MismatchError
        If the validation data set has another event file, or no weight fits.
    ConfigError
        If the options contradict each other.
    UnknownName
        If there is no such optimiser or device.
    MissingExtra
        If torch is not installed.
    """
    torch = require("torch", "train", "training a network")
    description = training.event
    if validation is not None and validation.event != description:
        raise MismatchError(f"{validation.path} has another event file than {training.path}")
    if options.jettagger.event_weights:
        raise ConfigError("event_weights: data sets in the layout of the original have no weights of events")
    if freeze and weights is None:
        raise ConfigError("freeze needs weights to start from")
    rows, other = training_rows(training.n_events, options, validation=validation is not None)
    events = _taken(training.read(), rows)
    events = _taken(events, _kept(events, description, options, full=not options.partial_events))
    held = validation.read() if validation is not None else _taken(training.read(), other)
    held = _taken(held, _kept(held, description, options, full=False))
    for count, what, path in (
        (events.n_events, "training", training.path),
        (held.n_events, "validation", (validation or training).path),
    ):
        if not count:
            raise InvalidValues(
                f"no event of {path} is left for the {what}: see partial_events and the share of the data"
            )
    statistics = training_statistics(
        lambda: [events], description, normalize=options.normalize_features, pair_features=training.pair_features
    )
    sample, test = _Sample(torch, events, training), _Sample(torch, held, validation or training)
    steps = math.ceil(sample.count / options.batch_size)
    settings = LoopSettings(
        epochs=options.epochs,
        rate=options.learning_rate,
        decay=options.l2_penalty,
        patience=options.epochs + 1,
        max_norm=options.gradient_clip or math.inf,
        schedule=_Cycles(options.learning_rate_cycles),  # type: ignore[arg-type]
        warmup=round(steps * options.learning_rate_warmup_epochs),
        device=device,
        precision=precision,
        optimiser=_NamedOptimiser(options.optimizer),  # type: ignore[arg-type]
    )
    with seeded(seed, threads=threads, device=device):
        network = build_network(description, options, statistics=statistics)
        loaded = None
        if weights is not None:
            loaded = load_weights(network, weights, partial=True)
        for name, parameter in network.named_parameters():
            parameter.is_bias = name.endswith("bias")
            parameter.requires_grad_(not (freeze and loaded is not None and name in loaded.loaded))
        history = train_network(
            network,
            _Objective(AssignmentLoss(network, statistics)),
            lambda epoch: sample.batches(options.batch_size, epoch_random(seed, 0, epoch).permutation(sample.count)),
            lambda: test.batches(options.batch_size),
            settings,
            metric=_purity(description, threads),
            follow=follow,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            subject=f"{sample.count} and {test.count} events, seed {seed}, options {options.model_dump_json()}",
        )
    return TrainedNetwork(network, statistics, history, sample.count, test.count, loaded)


guard(globals())
