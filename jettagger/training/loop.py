"""A training loop for any torch network: early stopping with the best weights, checkpoints, history.

The loop is independent of jets and files. It takes a network, a loss and two functions that return batches, which are
called in each epoch::

    with seeded(seed, threads=2) as torch:
        network = torch.nn.Linear(3, 1)
        history = train_network(network, loss, train, validation, LoopSettings(epochs=20))
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from jettagger.display import Brief, briefly
from jettagger.errors import InvalidValues, require
from jettagger.runtime.memory import freed_memory_kept
from jettagger.training.checkpoints import Players, Progress, read_checkpoint, write_checkpoint
from jettagger.training.devices import Precision, autocast, move, open_device, tree_map
from jettagger.training.history import Epoch, Follow
from jettagger.training.opponents import Opponent
from jettagger.training.optimisers import AdamW, Optimiser
from jettagger.training.schedules import Cosine, Plateau, Restarts, Schedule

__all__ = ["LoopSettings", "Metric", "TrainingBatch", "learning_rate", "train_network"]

_log = logging.getLogger(__name__)


_COSINE, _ADAMW = Cosine(), AdamW()


@briefly
class TrainingBatch(NamedTuple):
    """A batch of rows. Arrays are those of NumPy or torch.

    Parameters
    ----------
    inputs : tuple
        Arguments of the network: arrays with the rows along the first axis, or tuples and mappings of them.
    targets : array, or tuple or mapping of arrays
        Targets in the form expected by the loss.
    weights : float[n]
    """

    inputs: tuple[Any, ...]
    targets: Any
    weights: Any


@dataclass(frozen=True)
class LoopSettings(Brief):
    """Settings of a training.

    Parameters
    ----------
    epochs : int
        Maximum number of epochs.
    rate : float
        Learning rate.
    decay : float
        Weight decay of AdamW.
    patience : int
        Early stopping: number of epochs without a better validation.
    max_norm : float
        Maximum norm of the gradient in a step; larger ones are clipped. Infinity: none are.
    schedule : Schedule
        Factor on the learning rate in each epoch, with `Restarts` in each step; default: cosine decay to a hundredth.
    warmup : int
        Number of steps in which the learning rate rises linearly, in addition to the schedule.
    least_epochs : int
        Number of epochs that never are the best and do not count for the patience, e.g. while a strength is ramped. If
        it is not 0, neither are the initial weights.
    device : str
        ``cpu``, ``cuda``, ``cuda:N`` or ``mps``. The network is on the CPU before and after.
    precision : str
        ``float32``, or mixed precision: ``bfloat16``, ``float16``.
    optimiser : Optimiser
        Default: AdamW (Loshchilov and Hutter 2019).
    min_delta : float, optional
        For the patience an epoch is better only if the validation has improved by more than this since the last such
        epoch; the first epoch always is. Default: the patience counts epochs after the best one.
    """

    epochs: int = 60
    rate: float = 2e-3
    decay: float = 1e-3
    patience: int = 8
    max_norm: float = 5.0
    schedule: Schedule = _COSINE
    warmup: int = 0
    least_epochs: int = 0
    device: str = "cpu"
    precision: Precision = "float32"
    optimiser: Optimiser = _ADAMW
    min_delta: float | None = None

    @property
    def about(self) -> dict[str, Any]:
        """All settings as numbers and text; without those of later versions where they are the default."""
        content = asdict(self)
        for item in fields(self)[-2:]:
            if getattr(self, item.name) == item.default:
                del content[item.name]
        if content["schedule"].get("min_delta", 0) is None:
            del content["schedule"]["min_delta"]
        return content


#: outputs of the network, targets, weights -> weighted loss of each row, ``float[n]``
LossFunction = Callable[[Any, Any, Any], Any]


@dataclass(frozen=True)
class Metric(Brief):
    """The criterion of early stopping and of the best weights, if it is not the loss.

    Parameters
    ----------
    name : str
    function : callable
        Function of all outputs, targets and weights of the validation sample, on the CPU, that returns a number; or a
        mapping of names to numbers, which are kept as measures of the epoch: that with the name of the metric is the
        criterion, and the loss if there is none.
    higher_is_better : bool
    reduce : callable, optional
        Function of outputs, targets and weights of a batch that returns what is kept of them, in the same form, where
        the outputs of the whole sample would not fit the memory.
    loss_decides_ties : bool
        Whether an epoch with an equal metric and a lower loss is better, for metrics that count few events.
    """

    name: str
    function: Callable[[Any, Any, Any], float | Mapping[str, float]]
    higher_is_better: bool = False
    reduce: Callable[[Any, Any, Any], tuple[Any, Any, Any]] | None = None
    loss_decides_ties: bool = False


def train_network(
    network: Any,
    loss: LossFunction,
    train: Callable[[int], Iterable[TrainingBatch]],
    validation: Callable[[], Iterable[TrainingBatch]],
    settings: LoopSettings,
    *,
    metric: Metric | None = None,
    opponents: Sequence[Opponent] = (),
    model: int = 0,
    follow: Follow | None = None,
    checkpoint: Path | None = None,
    subject: str = "",
    until: Callable[[], bool] | None = None,
) -> tuple[Epoch, ...]:
    """Train a network in place; it ends with the weights of its best epoch, also after Ctrl-C or an error.

    Parameters
    ----------
    network : torch.nn.Module
        On the CPU; made within `seeded` if the result is to be reproducible.
    loss : callable, or torch.nn.Module
        Function of outputs, targets and weights that returns the weighted loss of each row, ``float[n]``. The gradient
        is that of the mean over the rows of a batch; the reported value is the sum over the sum of the weights. A term
        of the batch as a whole is added to each row, times its weight. A module is trained and stored with the network.
    train : callable
        Called with the number of the epoch, from 0; returns its batches. Their order must depend on nothing else.
    validation : callable
        Returns the validation batches for early stopping.
    settings : LoopSettings
    metric : Metric, optional
        Criterion of early stopping instead of the loss.
    opponents : sequence of Opponent
        Networks with optimisers of their own that take turns with this one; on the CPU before and after.
    model : int
        Index of the network, for the history.
    follow : callable, optional
        Called with an `Epoch` after each epoch that was trained here.
    checkpoint : path, optional
        File written after each epoch, complete or not at all. If it exists, the training resumes from it; the final
        network is the same as without interruption.
    subject : str
        What else the training depends on, e.g. a digest of data and configuration: checkpoints of another subject are
        refused.
    until : callable, optional
        Called after each epoch that was trained here; the training ends if it returns True.

    Returns
    -------
    tuple of Epoch
        All epochs, including those before an interruption.

    Raises
    ------
    InvalidValues
        If the loss or the metric is not finite, or there are no rows.
    InputFileError
        If the checkpoint is damaged, or not a checkpoint.
    MismatchError
        If it is that of another training.
    ProviderError
        If the device is not there.
    UnknownName
        If there is no such device or precision.
    MissingExtra
        If torch is not installed.
    """
    torch = require("torch", "train", "training a network")
    game = _Game(torch, network, loss, settings, metric, opponents)
    about = {
        **settings.about,
        "metric": metric.name if metric is not None else "",
        "opponents": [opponent.about for opponent in opponents],
        "model": model,
        "subject": subject,
    }
    progress = None
    try:
        if checkpoint is not None and checkpoint.exists():
            progress = read_checkpoint(checkpoint, game.players, about)
        if progress is None:
            start = game.validate(validation())
            progress = Progress(game.copy(), start.loss, start.metric, [])
        _train(game, progress, train, validation, model, follow, checkpoint, about, until)
    finally:
        if progress is not None:
            game.players.trained.load_state_dict(progress.best)
        game.players.trained.cpu().eval()
    return tuple(progress.history)


@freed_memory_kept()
def _train(
    game: _Game,
    progress: Progress,
    train: Callable[[int], Iterable[TrainingBatch]],
    validation: Callable[[], Iterable[TrainingBatch]],
    model: int,
    follow: Follow | None,
    checkpoint: Path | None,
    about: dict[str, Any],
    until: Callable[[], bool] | None,
) -> None:
    settings, least = game.settings, game.settings.least_epochs
    higher = game.metric is not None and game.metric.higher_is_better
    ties = game.metric is not None and game.metric.loss_decides_ties
    while len(progress.history) < settings.epochs and game.waited(progress) < settings.patience:
        number = len(progress.history)
        shown = game.train(train(number), progress)
        found = game.validate(validation())
        value = found.loss if found.metric is None else found.metric
        if not all(map(math.isfinite, (shown, found.loss, value, *found.opponents))):
            against = "".join(f", {name} {loss}" for name, loss in zip(game.names, found.opponents, strict=True))
            criterion = "" if game.metric is None else f", {game.metric.name} {found.metric}"
            raise InvalidValues(
                f"epoch {number + 1}: the loss is not finite (training {shown}, validation {found.loss}"
                f"{criterion}{against}): try a smaller rate{' or strength' if game.opponents else ''}, or a narrower "
                "spread of the weights"
            )
        standard = progress.standard(least)
        better = number >= least and (
            standard is None
            or (value > standard if higher else value < standard)
            or (ties and value == standard and found.loss < progress.standard_loss())
        )
        if better:
            progress.best = game.copy()
        epoch = Epoch(
            model, number + 1, shown, found.loss, better, progress.start, found.metric, found.opponents, found.measures
        )
        progress.history.append(epoch)
        _log.info("epoch %d: training loss %.6g, validation loss %.6g", epoch.number, epoch.train, epoch.validation)
        if checkpoint is not None:
            write_checkpoint(checkpoint, game.players, progress, about)
        if follow is not None:
            follow(epoch)
        if until is not None and until():
            return


@briefly
class _Validation(NamedTuple):
    """Means over the validation sample."""

    loss: float
    metric: float | None
    opponents: tuple[float, ...]
    measures: dict[str, float]


class _Game:
    """A network, its loss and its opponents with their optimisers, on their device."""

    def __init__(
        self,
        torch: Any,
        network: Any,
        loss: LossFunction,
        settings: LoopSettings,
        metric: Metric | None,
        opponents: Sequence[Opponent],
    ) -> None:
        self.torch, self.network, self.loss, self.metric = torch, network, loss, metric
        self.settings, self.opponents = settings, list(opponents)
        self.names = [f"opponent {number + 1}" for number in range(len(self.opponents))]
        device = open_device(settings.device)
        self.mixed = autocast(device, settings.precision)
        own = [item for item in (network, loss) if isinstance(item, torch.nn.Module)]
        trained = torch.nn.ModuleList([*own, *(opponent.module for opponent in self.opponents)]).to(device)
        self.own = torch.nn.ModuleList(own)
        optimisers = [settings.optimiser.make(self.own.parameters(), settings.rate, settings.decay)]
        optimisers += [
            torch.optim.AdamW(opponent.module.parameters(), lr=opponent.rate, weight_decay=opponent.decay)
            for opponent in self.opponents
        ]
        scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "float16")
        self.players = Players(trained, optimisers, scaler, device)

    def copy(self) -> dict[str, Any]:
        """All weights."""
        return {name: value.detach().clone() for name, value in self.players.trained.state_dict().items()}

    def waited(self, progress: Progress) -> int:
        """Number of epochs without a better validation."""
        least, delta = self.settings.least_epochs, self.settings.min_delta
        if delta is None:
            return progress.since(least)
        higher = self.metric is not None and self.metric.higher_is_better
        return _last(_improvements(progress.history[least:], delta, higher))

    def outputs(self, inputs: Sequence[Any]) -> Any:
        """The outputs of the network, in single precision also where it runs in another."""
        with self.mixed:
            outputs = self.network(*inputs)
        if self.settings.precision == "float32":
            return outputs
        return tree_map(lambda each: each.float() if each.is_floating_point() else each, outputs)

    def batches(self, batches: Iterable[TrainingBatch]) -> Iterator[tuple[list[Any], Any, Any]]:
        """Batches as tensors on the device."""
        for batch in batches:
            yield [move(item, self.players.device) for item in batch.inputs], *move(batch[1:], self.players.device)

    def train(self, batches: Iterable[TrainingBatch], progress: Progress) -> float:
        """One epoch; the weighted mean of the loss of the network, averaged while it changes."""
        epoch, epochs, scaler = len(progress.history), self.settings.epochs, self.players.scaler
        better = [past.best for past in progress.history[self.settings.least_epochs :]]
        higher = self.metric is not None and self.metric.higher_is_better
        rate = learning_rate(self.settings, progress.history, higher_is_better=higher)
        strengths = [opponent.strength.factor(epoch, epochs, better) for opponent in self.opponents]
        optimiser, *others = self.players.optimisers
        for opponent, other in zip(self.opponents, others, strict=True):
            _set_rate(other, opponent.rate * opponent.schedule.factor(epoch, epochs, better))
        self.players.trained.train()
        total = weight = 0.0
        for inputs, targets, weights in self.batches(batches):
            _set_rate(optimiser, _rate_of_step(self.settings, rate, progress.steps))
            outputs = self.outputs(inputs)
            terms = self._oppose(outputs, targets, weights, strengths, others)
            values = self.loss(outputs, targets, weights)
            objective = values.mean()
            for term in terms:
                objective = objective - term
            optimiser.zero_grad(set_to_none=True)
            scaler.scale(objective).backward()
            scaler.unscale_(optimiser)
            if self.settings.max_norm < math.inf:
                self.torch.nn.utils.clip_grad_norm_(self.own.parameters(), self.settings.max_norm)
            scaler.step(optimiser)
            scaler.update()
            progress.steps += 1
            total += float(values.detach().double().sum())
            weight += float(weights.double().sum())
        return _mean(total, weight, "training")

    def _oppose(
        self, outputs: Any, targets: Any, weights: Any, strengths: list[float], optimisers: list[Any]
    ) -> list[Any]:
        """The turns of the opponents; what is then subtracted from the loss of the network."""
        terms = []
        fixed = tree_map(lambda each: each.detach(), outputs)
        for opponent, strength, optimiser in zip(self.opponents, strengths, optimisers, strict=True):
            mine = opponent.rows(targets, weights)
            norm = mine.sum()
            if not float(norm) > 0:
                continue
            for _ in range(opponent.steps):
                optimiser.zero_grad(set_to_none=True)
                (opponent.module(fixed, targets, mine).sum() / norm).backward()
                self.torch.nn.utils.clip_grad_norm_(opponent.module.parameters(), opponent.max_norm)
                optimiser.step()
            if strength:
                terms.append(strength * opponent.module(outputs, targets, mine).sum() / norm)
        return terms

    def validate(self, batches: Iterable[TrainingBatch]) -> _Validation:
        """The means over the validation sample, with all networks as they are used."""
        torch = self.torch
        self.players.trained.eval()
        total = weight = 0.0
        sums = [[0.0, 0.0] for _ in self.opponents]
        kept: list[tuple[Any, Any, Any]] = []
        with torch.no_grad():
            for inputs, targets, weights in self.batches(batches):
                outputs = self.outputs(inputs)
                total += float(self.loss(outputs, targets, weights).double().sum())
                weight += float(weights.double().sum())
                if self.metric is not None:
                    parts = tree_map(lambda each: each.cpu(), (outputs, targets, weights))
                    kept.append(self.metric.reduce(*parts) if self.metric.reduce is not None else parts)
                for opponent, both in zip(self.opponents, sums, strict=True):
                    mine = opponent.rows(targets, weights)
                    both[0] += float(opponent.module(outputs, targets, mine).double().sum())
                    both[1] += float(mine.double().sum())
            loss = _mean(total, weight, "validation")
            value, measures = None, {}
            if self.metric is not None:
                made = self.metric.function(*(_joined(torch, parts) for parts in zip(*kept, strict=True)))
                if isinstance(made, Mapping):
                    measures = {name: float(number) for name, number in made.items()}
                    value = measures.get(self.metric.name)
                else:
                    value = float(made)
        against = tuple(
            _mean(both[0], both[1], f"validation of {name}") for name, both in zip(self.names, sums, strict=True)
        )
        return _Validation(loss, value, against, measures)


def learning_rate(settings: LoopSettings, history: Sequence[Epoch], *, higher_is_better: bool = False) -> float:
    """The learning rate of the epoch after others, once it is warm; of its first step, if it changes with the steps.

    Parameters
    ----------
    settings : LoopSettings
    history : sequence of Epoch
        All epochs before it.
    higher_is_better : bool
        As that of the metric, if there is one.

    Returns
    -------
    float
    """
    schedule, past = settings.schedule, history[settings.least_epochs :]
    better = [epoch.best for epoch in past]
    if isinstance(schedule, Plateau) and schedule.min_delta is not None:
        better = _improvements(past, schedule.min_delta, higher_is_better)
    return settings.rate * schedule.factor(len(history), settings.epochs, better)


def _rate_of_step(settings: LoopSettings, rate: float, step: int) -> float:
    """The learning rate of a step, from 0, in an epoch with a rate."""
    if isinstance(settings.schedule, Restarts):
        rate = settings.rate * settings.schedule.at(step, settings.epochs)
    return rate * min((step + 1) / settings.warmup, 1.0) if settings.warmup else rate


def _improvements(epochs: Sequence[Epoch], min_delta: float, higher_is_better: bool) -> list[bool]:
    """Whether each validation is better than the last better one by more than a number; the first always is."""
    standard, flags = math.inf, []
    for epoch in epochs:
        value = -epoch.criterion if higher_is_better else epoch.criterion
        flags.append(value < standard - min_delta)
        standard = value if flags[-1] else standard
    return flags


def _last(flags: Sequence[bool]) -> int:
    """Number of entries after the last that is true."""
    return next((place for place, flag in enumerate(reversed(flags)) if flag), len(flags))


def _joined(torch: Any, parts: Sequence[Any]) -> Any:
    """Tensors of batches, or tuples and mappings of them, as one."""
    first = parts[0]
    if isinstance(first, dict):
        return {name: _joined(torch, [part[name] for part in parts]) for name in first}
    if isinstance(first, (tuple, list)):
        made = [_joined(torch, [part[place] for part in parts]) for place in range(len(first))]
        return type(first)(*made) if hasattr(first, "_fields") else type(first)(made)
    return torch.cat(parts)


def _set_rate(optimiser: Any, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate


def _mean(total: float, weight: float, what: str) -> float:
    if not weight > 0:
        raise InvalidValues(f"the weights of the {what} add up to {weight:g}, expected more than 0")
    return total / weight
