"""Training of assignment networks: the events of data sets, batches, learning rates, and validation by true purities.

The loop, its seeds and checkpoints are those of `jettagger.training`. The best epoch is that with the most right events
of the validation set, decoded as they are in use, with all symmetries; the original monitors a number that leaves out
exchanges of two daughters.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.resources import files as resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jettagger.arguments import guard
from jettagger.assignment.augmentation import Augmentation
from jettagger.assignment.blocks import AssignmentEvents
from jettagger.assignment.datasets import EVENT_WEIGHTS, AssignmentDataset
from jettagger.assignment.losses import AssignmentLoss, AssignmentTargets
from jettagger.assignment.networks import build_network
from jettagger.assignment.several_processes import ProcessGroup, check_processes, run_processes
from jettagger.assignment.statistics import TrainingStatistics, log_inputs, training_statistics
from jettagger.assignment.training_metrics import LOSS, PURITY, validation_metric
from jettagger.assignment.training_objective import FROZEN, TrainingObjective
from jettagger.assignment.training_options import UNUSED, AssignmentOptions
from jettagger.assignment.training_settings import loop_settings
from jettagger.assignment.weights import LoadedWeights, load_weights
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, MismatchError, require
from jettagger.runtime.codedigest import digest_of
from jettagger.topology.eventfile import EventDescription, event_text
from jettagger.training.curves import TrainingHistory
from jettagger.training.devices import tree_map
from jettagger.training.history import Epoch
from jettagger.training.loop import TrainingBatch, train_network
from jettagger.training.seeds import epoch_random, seeded
from jettagger.types import Array

if TYPE_CHECKING:
    from jettagger.training.devices import Precision

__all__ = [
    "TrainedNetwork",
    "TrainingData",
    "prepare_training",
    "train_assignment",
    "train_prepared",
    "training_rows",
    "training_subject",
]

#: options on which no trained weights depend
_NOT_TRAINED = (
    *UNUSED,
    "event_info_file",
    "num_gpu",
    "testing_file",
    "training_file",
    "validation_file",
    "verbose_output",
)


@dataclass(frozen=True)
class TrainedNetwork(Brief):
    """A trained network, see `train_assignment`.

    Parameters
    ----------
    network : torch.nn.Module
        With the weights of the best epoch, in the mode of evaluation.
    statistics : TrainingStatistics
        Of the training events.
    history : tuple of Epoch
        Losses of the training and the validation, and measures of the validation, of which one decides (``metric``).
    training_events, validation_events : int
        Numbers of events.
    loaded : LoadedWeights, optional
        What became of the weights that it started from.
    curves : TrainingHistory, optional
        The history with learning rates, for files and pictures.
    """

    network: Any
    statistics: TrainingStatistics
    history: tuple[Epoch, ...]
    training_events: int
    validation_events: int
    loaded: LoadedWeights | None = None
    curves: TrainingHistory | None = None


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


def _objects(events: AssignmentEvents, description: EventDescription) -> Array:
    return np.asarray(sum(events.masks[item.name].sum(1) for item in description.sequential), dtype=np.int64)


def _event_weights(events: AssignmentEvents) -> Array:
    return np.asarray(events.event_weights.get("EVENT", np.ones(events.n_events)), dtype=np.float32)


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
            torch.from_numpy(_event_weights(events)),
        )

    def batches(self, size: int, order: Any = None, group: ProcessGroup | None = None) -> Iterator[TrainingBatch]:
        torch = require("torch", "train", "training a network")
        order = torch.arange(self.count) if order is None else torch.from_numpy(order)

        def taken(value: Any, rows: Any) -> Any:
            return {name: item[rows] for name, item in value.items()} if isinstance(value, dict) else value[rows]

        for first in range(0, self.count, size):
            rows = order[first : first + size]
            if group is not None:
                rows = rows[group.rank :: group.size]
            inputs = tuple(taken(part, rows) for part in self.inputs)
            targets = AssignmentTargets(*(taken(part, rows) for part in self.targets))
            yield TrainingBatch(inputs, targets, torch.ones(len(rows)))


def _augmented(
    batches: Iterable[TrainingBatch], augmentation: Augmentation, draws: Array, size: int, group: ProcessGroup | None
) -> Iterator[TrainingBatch]:
    """The batches with rotated events; several processes have the events of one."""
    for number, ((values, masks), targets, weights) in enumerate(batches):
        part = draws[:, number * size : (number + 1) * size]
        changed, other = augmentation(values, targets, part if group is None else part[:, group.rank :: group.size])
        yield TrainingBatch((changed, masks), other, weights)


# ----------------------------------------------------------------------------------------------------------- training


@dataclass(frozen=True)
class TrainingData(Brief):
    """Events of a training in memory, with their statistics; made by `prepare_training`.

    Parameters
    ----------
    options : AssignmentOptions
    description : EventDescription
    statistics : TrainingStatistics
        Of the training events.
    training, validation : object
        Events as tensors, in batches.
    present : mapping of str to tuple of int
        Particle -> number of training events, and of validation events, with all of its daughters.
    left_out : int
        Number of events of the share for the training that are not trained on, as particles are missing or for the
        number of objects.
    digest : str
        SHA-256 of events and options.
    """

    options: AssignmentOptions
    description: EventDescription
    statistics: TrainingStatistics
    training: _Sample
    validation: _Sample
    present: Mapping[str, tuple[int, int]]
    left_out: int
    digest: str

    @property
    def steps(self) -> int:
        """Number of steps of an epoch."""
        return math.ceil(self.training.count / self.options.batch_size)

    def network(self) -> Any:
        """A network with initial weights from torch's random state."""
        return build_network(self.description, self.options, statistics=self.statistics)


def prepare_training(
    options: AssignmentOptions, training: AssignmentDataset, validation: AssignmentDataset | None = None
) -> TrainingData:
    """Read the events of a training, and check that they can be trained on.

    Parameters
    ----------
    options : AssignmentOptions
    training : AssignmentDataset
        Read into memory.
    validation : AssignmentDataset, optional
        Default: the end of the share of the training data set, see `training_rows`. Its events are all kept.

    Returns
    -------
    TrainingData

    Raises
    ------
    InvalidValues
        If there are no events, targets that cannot be assigned, or classes that are missing in the training events.
    MismatchError
        If the validation data set has another event file, or other features of pairs.
    ConfigError
        If the options contradict each other.
    MissingExtra
        If torch is not installed.
    """
    torch = require("torch", "train", "training a network")
    description = training.event
    if validation is not None:
        _refuse_other(training, validation)
    if options.jettagger.event_weights:
        _refuse_unweighted(training, validation)
    rows, other = training_rows(training.n_events, options, validation=validation is not None)
    every = training.read()
    events = every.take(rows)
    held = validation.read() if validation is not None else every.take(other)
    del every
    events = events.take(_kept(events, description, options, full=not options.partial_events))
    held = held.take(_kept(held, description, options, full=False))
    for count, what, path in (
        (events.n_events, "training", training.path),
        (held.n_events, "validation", (validation or training).path),
    ):
        if not count:
            raise InvalidValues(
                f"no event of {path} is left for the {what}: see partial_events and the share of the data"
            )
    try:
        statistics = training_statistics(
            lambda: [events], description, normalize=options.normalize_features, pair_features=training.pair_features
        )
    except InvalidValues as error:
        if events.n_events == len(rows):
            raise
        raise InvalidValues(
            f"{error} ({len(rows) - events.n_events} of {len(rows)} events are left out, see partial_events, -f and "
            "limit_to_num_jets)"
        ) from error
    _refuse_classes(held, statistics, (validation or training).path)
    sample, test = _Sample(torch, events, training), _Sample(torch, held, validation or training)
    present = {
        name: (int(events.target_masks[name].sum()), int(held.target_masks[name].sum()))
        for name in description.particle_names
    }
    digest = _digest(options, description, (sample, test))
    return TrainingData(options, description, statistics, sample, test, present, len(rows) - events.n_events, digest)


def _refuse_other(training: AssignmentDataset, validation: AssignmentDataset) -> None:
    """Refuse a validation data set that the network of the training data set cannot take."""
    if validation.event != training.event:
        raise MismatchError(f"{validation.path} has another event file than {training.path}")
    for name, features in training.pair_features.items():
        found = validation.pair_features[name]
        if found != features:
            said = [", ".join(each) or "none" for each in (found, features)]
            raise MismatchError(
                f"{validation.path}: INPUTS/{name} has the features of pairs {said[0]}, expected {said[1]} as in "
                f"{training.path}"
            )


def _refuse_unweighted(*datasets: AssignmentDataset | None) -> None:
    for dataset in datasets:
        if dataset is not None and EVENT_WEIGHTS not in dataset.optional:
            raise MismatchError(
                f"{dataset.path} has no weights of events ({EVENT_WEIGHTS}), which the option event_weights needs: "
                "'jettagger assignment inputs' writes them with the key event_weight of the mapping"
            )


def _refuse_classes(events: AssignmentEvents, statistics: TrainingStatistics, path: str) -> None:
    """Refuse classes that no training event has: the network has no output for them."""
    for key, count in statistics.class_counts.items():
        target = np.asarray(events.classifications[key])
        if (target >= count).any():
            row = int(np.argmax(target >= count))
            raise InvalidValues(
                f"{path}: classification {key} has the class {int(target[row])} in the validation, which no training "
                f"event has: classes are 0 to {count - 1} there"
            )


def _digest(options: AssignmentOptions, description: EventDescription, samples: Iterable[_Sample]) -> str:
    """SHA-256 of all that the trained weights depend on, but for the seed."""
    keys = options.model_dump(mode="json", exclude=set(_NOT_TRAINED))
    made = hashlib.sha256(json.dumps([keys, event_text(description)]).encode())
    for sample in samples:
        made.update(f"{sample.count}".encode())
        tree_map(lambda each: made.update(each.numpy().data), (*sample.inputs, tuple(sample.targets)))
    return made.hexdigest()


def train_assignment(
    options: AssignmentOptions,
    training: AssignmentDataset,
    validation: AssignmentDataset | None = None,
    *,
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    precision: Precision = "float32",
    monitor: str = PURITY,
    weights: Mapping[str, Any] | None = None,
    freeze: bool = False,
    follow: Callable[[Epoch], None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    until: Callable[[], bool] | None = None,
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
    monitor : str
        What decides about the best epoch, one of `jettagger.assignment.training_metrics.measure_names`.
    weights : mapping of str to array, optional
        State dictionary to start from, with its normalisation; what does not fit is left out
        (`jettagger.assignment.weights.load_weights`).
    freeze : bool
        Whether weights that were loaded are left as they are.
    follow : callable, optional
        Called with an `Epoch` after each epoch.
    checkpoint : path, optional
        Written after each epoch; if it exists, the training resumes with the same result.
    until : callable, optional
        Called after each epoch; the training ends if it returns True.

    Returns
    -------
    TrainedNetwork

    Raises
    ------
    InvalidValues
        As for `prepare_training`; if a loss is not finite: gives the step and the last finite loss.
    MismatchError
        If the validation data set has another event file, no weight fits, or the checkpoint is of another training.
    ConfigError
        If the options contradict each other.
    UnknownName
        If there is no such optimiser, device or measure.
    MissingExtra
        If torch is not installed.
    """
    if freeze and weights is None:
        raise ConfigError("freeze needs weights to start from")
    return train_prepared(
        prepare_training(options, training, validation),
        seed=seed,
        threads=threads,
        device=device,
        precision=precision,
        monitor=monitor,
        weights=weights,
        freeze=freeze,
        follow=follow,
        checkpoint=checkpoint,
        until=until,
    )


def train_prepared(
    data: TrainingData,
    *,
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    precision: Precision = "float32",
    monitor: str = PURITY,
    weights: Mapping[str, Any] | None = None,
    where: str = "the state dictionary",
    freeze: bool = False,
    follow: Callable[[Epoch], None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    until: Callable[[], bool] | None = None,
    processes: int = 1,
) -> TrainedNetwork:
    """Train a network on events in memory.

    Parameters
    ----------
    data : TrainingData
    seed, threads, device, precision, monitor, weights, freeze, follow, checkpoint, until
        As for `train_assignment`.
    where : str
        Name of the weights in messages.
    processes : int
        Number of processes that have parts of each batch; with ``cuda``, as many GPUs. The network is that of one
        process up to rounding, but for dropout.

    Returns
    -------
    TrainedNetwork

    Raises
    ------
    InvalidValues, MismatchError, ConfigError, UnknownName, MissingExtra
        As for `train_assignment`.
    ProviderError
        If there are fewer GPUs than processes, or a process ends.
    """
    check_processes(processes, device)
    place = None if checkpoint is None else Path(checkpoint)
    trained = partial(
        _trained,
        data,
        seed=seed,
        threads=threads,
        precision=precision,
        monitor=monitor,
        weights=weights,
        where=where,
        freeze=freeze,
    )
    if processes == 1:
        network, loaded, history = trained(device=device, follow=follow, until=until, checkpoint=place, group=None)
    else:
        state, (loaded, history) = run_processes(
            partial(_trained_part, trained), processes, device=device, follow=follow, until=until, checkpoint=place
        )
        network = data.network()
        network.load_state_dict(state)
        network.eval()
    settings = loop_settings(data.options, data.steps, device=device, precision=precision)
    curves = TrainingHistory.of(history, settings, "" if monitor == LOSS else monitor)
    return TrainedNetwork(network, data.statistics, history, data.training.count, data.validation.count, loaded, curves)


def _trained_part(trained: Callable[..., Any], **place: Any) -> tuple[dict[str, Any], Any]:
    """The weights, and what else a process has to say."""
    network, loaded, history = trained(**place)
    return {name: value.cpu() for name, value in network.state_dict().items()}, (loaded, history)


def _trained(
    data: TrainingData,
    *,
    seed: int,
    threads: int,
    device: str,
    precision: Precision,
    monitor: str,
    weights: Mapping[str, Any] | None,
    where: str,
    freeze: bool,
    follow: Callable[[Epoch], None] | None,
    until: Callable[[], bool] | None,
    checkpoint: Path | None,
    group: ProcessGroup | None,
) -> tuple[Any, LoadedWeights | None, tuple[Epoch, ...]]:
    """The network with its best weights, and its history; in one of the processes, if there are several."""
    options, sample, test = data.options, data.training, data.validation
    augmentation = Augmentation(data.description) if options.jettagger.augmentation else None
    with seeded(seed, threads=threads, device=device):
        network = data.network()
        loaded = None
        if weights is not None:
            loaded = load_weights(network, weights, partial=True, where=where)
        for name, parameter in network.named_parameters():
            parameter.is_bias = name.endswith("bias")
            parameter.requires_grad_(not (freeze and loaded is not None and name in loaded.loaded))
        if not any(parameter.requires_grad for parameter in network.parameters()):
            raise ConfigError(FROZEN)
        over = None if group is None else group.sum
        objective = TrainingObjective(AssignmentLoss(network, data.statistics, over), data.steps, group)

        def batches(epoch: int) -> Iterator[TrainingBatch]:
            objective.begin(epoch)
            random = epoch_random(seed, 0, epoch)
            order = random.permutation(sample.count)
            made = sample.batches(options.batch_size, order, group)
            if augmentation is None:
                return made
            draws = augmentation.draws(random, sample.count)
            return _augmented(made, augmentation, draws, options.batch_size, group)

        history = train_network(
            network if group is None else group.wrapped(network, device),
            objective,
            batches,
            lambda: test.batches(options.batch_size),
            loop_settings(
                options, data.steps, device=device.partition(":")[0] if group else device, precision=precision
            ),
            metric=validation_metric(monitor, data.description, options, threads=threads),
            follow=follow,
            checkpoint=checkpoint,
            subject=training_subject(
                data, seed, weights=weights, freeze=freeze, processes=1 if group is None else group.size
            ),
            until=until,
        )
    return network, loaded, history


def training_subject(
    data: TrainingData,
    seed: int,
    *,
    weights: Mapping[str, Any] | None = None,
    freeze: bool = False,
    processes: int = 1,
) -> str:
    """Digest of what a training depends on; its checkpoint belongs to it alone.

    Parameters
    ----------
    data : TrainingData
    seed, weights, freeze, processes
        As for `train_prepared`.

    Returns
    -------
    str
        SHA-256.
    """
    code = [digest_of(resources("jettagger") / name) for name in ("assignment", "training", "topology")]
    about = [data.digest, seed, freeze, processes, code, version("torch"), version("numpy")]
    made = hashlib.sha256(json.dumps(about).encode())
    for name, value in sorted((weights or {}).items()):
        made.update(name.encode() + np.ascontiguousarray(value).tobytes())
    return made.hexdigest()


guard(globals())
