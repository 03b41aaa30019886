"""One loop for any network of torch: early stopping with the best weights, checkpoints to go on from, a history.

The loop knows neither jets nor files. It is given a network, a loss and two ways to iterate over batches, and calls
these anew in each epoch::

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
    """Some rows. Arrays are NumPy's or torch's.

    Parameters
    ----------
    inputs : tuple of array
        What the network is called with; the first axis is that of the rows.
    targets : array
        What the loss compares with, as it wants it.
    weights : float[n]
    """

    inputs: tuple[Any, ...]
    targets: Any
    weights: Any


@dataclass(frozen=True)
class LoopSettings:
    """How a training goes.

    Parameters
    ----------
    epochs : int
        At most.
    rate : float
        Learning rate of AdamW (Loshchilov and Hutter 2019); it falls to a hundredth along a cosine.
    decay : float
        Weight decay of AdamW.
    patience : int
        Epochs without a better validation after which it ends.
    max_norm : float
        Longest gradient of a step; longer ones are shortened.
    """

    epochs: int = 60
    rate: float = 2e-3
    decay: float = 1e-3
    patience: int = 8
    max_norm: float = 5.0


#: network's outputs, targets, weights -> loss of each row times its weight, ``float[n]``
LossFunction = Callable[[Any, Any, Any], Any]

#: all outputs, targets and weights of the validation -> a number, smaller is better
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
    """Train a network in place; it has the weights of its best epoch afterwards, also after Ctrl-C or an error.

    Parameters
    ----------
    network : torch.nn.Module
        On the CPU, made within `seeded` if two runs shall agree.
    loss : callable, or torch.nn.Module
        From outputs, targets and weights to the loss of each row times its weight, ``float[n]``. A step goes along the
        mean over the rows of a batch; what is shown and judged is the sum over the sum of the weights. A term of the
        batch as a whole is added to each row, times its weight. A module (e.g. an adversary) is trained and kept with
        the network.
    train : callable
        Called with the number of the epoch, from 0; gives its batches. The order must depend on nothing else.
    validation : callable
        Gives the batches that early stopping is judged by.
    settings : LoopSettings
    metric : callable, optional
        What early stopping is judged by instead of the loss: from all outputs, targets and weights of the validation to
        a number, smaller is better.
    model : int
        Number of the network, for the history.
    follow : callable, optional
        Called with an `Epoch` after each epoch that was trained here.
    checkpoint : path, optional
        File that is written after each epoch, complete or not at all. If it is there, the training goes on from it: the
        network is the same in the end as without the break.
    subject : str
        What else the training depends on, e.g. a digest of data and configuration: the checkpoint of another subject is
        refused.

    Returns
    -------
    tuple of Epoch
        All epochs, those before a break too.

    Raises
    ------
    InvalidValues
        If the loss or the metric is not finite, or there are no rows.
    InputFileError
        If the checkpoint is damaged, or no checkpoint.
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
                    "try a smaller rate, or weights that differ less"
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
    """One pass; the weighted mean of the loss, while the network changes."""
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
