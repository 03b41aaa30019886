"""A training loop for any torch network: early stopping with the best weights, checkpoints, history.

The loop is independent of jets and files. It takes a network, a loss and two functions that return batches, which are
called in each epoch::

    with seeded(seed, threads=2) as torch:
        network = torch.nn.Linear(3, 1)
        history = train_network(network, loss, train, validation, LoopSettings(epochs=20))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from jettagger.errors import InvalidValues, require
from jettagger.training.checkpoints import Progress, read_checkpoint, write_checkpoint
from jettagger.training.history import Epoch, Follow

__all__ = ["LoopSettings", "TrainingBatch", "train_network"]


class TrainingBatch(NamedTuple):
    """A batch of rows. Arrays are those of NumPy or torch.

    Parameters
    ----------
    inputs : tuple of array
        Arguments of the network; the first axis is that of the rows.
    targets : array
        Targets in the form expected by the loss.
    weights : float[n]
    """

    inputs: tuple[Any, ...]
    targets: Any
    weights: Any


@dataclass(frozen=True)
class LoopSettings:
    """Settings of a training.

    Parameters
    ----------
    epochs : int
        Maximum number of epochs.
    rate : float
        Learning rate of AdamW (Loshchilov and Hutter 2019), with cosine decay to a hundredth of it.
    decay : float
        Weight decay of AdamW.
    patience : int
        Early stopping: number of epochs without a better validation.
    max_norm : float
        Maximum norm of the gradient in a step; larger ones are clipped.
    """

    epochs: int = 60
    rate: float = 2e-3
    decay: float = 1e-3
    patience: int = 8
    max_norm: float = 5.0


#: outputs of the network, targets, weights -> weighted loss of each row, ``float[n]``
LossFunction = Callable[[Any, Any, Any], Any]

#: all outputs, targets and weights of the validation sample -> a number, smaller is better
Metric = Callable[[Any, Any, Any], float]


def train_network(
    network: Any,
    loss: LossFunction,
    train: Callable[[int], Iterable[TrainingBatch]],
    validation: Callable[[], Iterable[TrainingBatch]],
    settings: LoopSettings,
    *,
    metric: Metric | None = None,
    model: int = 0,
    follow: Follow | None = None,
    checkpoint: Path | None = None,
    subject: str = "",
) -> tuple[Epoch, ...]:
    """Train a network in place; it ends with the weights of its best epoch, also after Ctrl-C or an error.

    Parameters
    ----------
    network : torch.nn.Module
        On the CPU; made within `seeded` if the result is to be reproducible.
    loss : callable, or torch.nn.Module
        Function of outputs, targets and weights that returns the weighted loss of each row, ``float[n]``. The gradient
        is that of the mean over the rows of a batch; the reported value is the sum over the sum of the weights. A term
        of the batch as a whole is added to each row, times its weight. A module (e.g. an adversary) is trained and
        stored with the network.
    train : callable
        Called with the number of the epoch, from 0; returns its batches. Their order must depend on nothing else.
    validation : callable
        Returns the validation batches for early stopping.
    settings : LoopSettings
    metric : callable, optional
        Criterion of early stopping instead of the loss: a function of all outputs, targets and weights of the
        validation sample that returns a number, smaller is better.
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
    MissingExtra
        If torch is not installed.
    """
    torch = require("torch", "train", "training a network")
    trained = torch.nn.ModuleList([item for item in (network, loss) if isinstance(item, torch.nn.Module)])
    optimiser = torch.optim.AdamW(trained.parameters(), lr=settings.rate, weight_decay=settings.decay)
    about = {**asdict(settings), "model": model, "subject": subject}
    progress = None
    if checkpoint is not None and checkpoint.exists():
        progress = read_checkpoint(checkpoint, trained, optimiser, about)
    if progress is None:
        start = _validate(torch, network, trained, loss, validation, metric)
        progress = Progress(_copy(trained), start, [])
    try:
        while len(progress.history) < settings.epochs and progress.since < settings.patience:
            number = len(progress.history)
            _set_rate(optimiser, settings, number)
            shown = _train_epoch(torch, network, trained, loss, train(number), optimiser, settings.max_norm)
            found = _validate(torch, network, trained, loss, validation, metric)
            if not math.isfinite(shown) or not math.isfinite(found):
                raise InvalidValues(
                    f"epoch {number + 1}: the loss is not finite (training {shown}, validation {found}): "
                    "try a smaller rate, or a narrower spread of the weights"
                )
            better = found < progress.lowest
            if better:
                progress.best = _copy(trained)
            epoch = Epoch(model, number + 1, shown, found, better, progress.start)
            progress.history.append(epoch)
            if checkpoint is not None:
                write_checkpoint(checkpoint, trained, optimiser, progress, about)
            if follow is not None:
                follow(epoch)
    finally:
        trained.load_state_dict(progress.best)
        trained.eval()
    return tuple(progress.history)


def _set_rate(optimiser: Any, settings: LoopSettings, epoch: int) -> None:
    rate = settings.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * epoch / settings.epochs)))
    for group in optimiser.param_groups:
        group["lr"] = rate


def _tensors(torch: Any, batches: Iterable[TrainingBatch]) -> Iterator[tuple[list[Any], Any, Any]]:
    for batch in batches:
        yield [torch.as_tensor(item) for item in batch.inputs], *map(torch.as_tensor, batch[1:])


def _train_epoch(
    torch: Any,
    network: Any,
    trained: Any,
    loss: LossFunction,
    batches: Iterable[TrainingBatch],
    optimiser: Any,
    max_norm: float,
) -> float:
    """One epoch of training; the weighted mean of the loss, averaged while the network changes."""
    trained.train()
    total = weight = 0.0
    for inputs, targets, weights in _tensors(torch, batches):
        values = loss(network(*inputs), targets, weights)
        optimiser.zero_grad(set_to_none=True)
        values.mean().backward()
        torch.nn.utils.clip_grad_norm_(trained.parameters(), max_norm)
        optimiser.step()
        total += float(values.detach().double().sum())
        weight += float(weights.double().sum())
    return _mean(total, weight, "training")


def _validate(
    torch: Any,
    network: Any,
    trained: Any,
    loss: LossFunction,
    validation: Callable[[], Iterable[TrainingBatch]],
    metric: Metric | None,
) -> float:
    trained.eval()
    total = weight = 0.0
    kept: list[tuple[Any, Any, Any]] = []
    with torch.no_grad():
        for inputs, targets, weights in _tensors(torch, validation()):
            outputs = network(*inputs)
            if metric is not None:
                kept.append((outputs, targets, weights))
            else:
                total += float(loss(outputs, targets, weights).double().sum())
                weight += float(weights.double().sum())
        if metric is not None and kept:
            return float(metric(*(torch.cat(items) for items in zip(*kept, strict=True))))
    return _mean(total, weight, "validation")


def _mean(total: float, weight: float, what: str) -> float:
    if not weight > 0:
        raise InvalidValues(f"the weights of the {what} add up to {weight:g}, expected more than 0")
    return total / weight


def _copy(trained: Any) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in trained.state_dict().items()}
