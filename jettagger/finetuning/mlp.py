"""Training of dense networks with torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.finetuning.criteria import criterion
from jettagger.finetuning.domaingame import DomainGame
from jettagger.finetuning.game import Game
from jettagger.finetuning.prepare import Prepared
from jettagger.finetuning.protected import Penalty
from jettagger.finetuning.schema import MlpModel
from jettagger.finetuning.schema import Training as TrainingKeys
from jettagger.finetuning.verify import Trained
from jettagger.heads.export import CLIP, LARGEST, Mlp
from jettagger.training import (
    Constant,
    Cosine,
    Follow,
    LoopSettings,
    Piecewise,
    Plateau,
    Schedule,
    TrainingBatch,
    epoch_random,
    full_batches,
    residual_losses,
    seeded,
    train_network,
)
from jettagger.types import Rows

__all__ = ["train_mlp"]

#: batch size outside of training
_VALIDATION_BATCH = 8192


def train_mlp(
    prepared: Prepared, model: int, follow: Follow, checkpoint: Path | None = None, subject: str = ""
) -> Trained:
    """Train one network.

    Parameters
    ----------
    prepared : Prepared
    model : int
        Its index, equal to that of the fold held out.
    follow : callable
        Called with an `Epoch` after each epoch.
    checkpoint : pathlib.Path, optional
        As for `train_network`.
    subject : str
        Digest of what the training depends on.

    Returns
    -------
    Trained
        The network of the epoch with the best validation loss.

    Raises
    ------
    InvalidValues
        If the loss is not finite.
    MissingExtra
        If torch is not installed.
    """
    settings = prepared.config.training
    with seeded(settings.seed, model, threads=settings.threads, device=settings.device) as torch:
        return _train(torch, prepared, model, follow, checkpoint, subject)


def _train(
    torch: Any, prepared: Prepared, model: int, follow: Follow, checkpoint: Path | None, subject: str
) -> Trained:
    config, layout = prepared.config, prepared.layout
    shape, settings = config.model, config.training
    assert isinstance(shape, MlpModel)
    network = _network(torch, len(layout.inputs), shape, len(config.outputs), zero=config.kind == "mass")
    center = torch.from_numpy(prepared.center.astype(np.float32))
    width = torch.from_numpy(prepared.width.astype(np.float32))
    loss = _loss(torch, prepared)
    term: Penalty | Game | DomainGame | None = None
    adversarial = config.decorrelate is not None and config.decorrelate.method == "adversary"
    if adversarial:
        with torch.random.fork_rng(devices=[]):  # with the strength 0 it is the head without
            game = _game(prepared, loss, model)
        term = game if game.strength else None
    elif any(config.strengths):
        term = Penalty(prepared, loss)
    mass_column = layout.inputs.index("mass") if config.kind == "mass" else 0

    def scaled(x: Any) -> Any:
        return ((x - center) / width).clamp(-CLIP, CLIP)

    def batches(pieces: Iterable[Rows], which: str, size: int) -> Iterator[TrainingBatch]:
        domains = term if isinstance(term, DomainGame) else None
        parts = (prepared.part(piece, model, which, unlabelled=domains is not None) for piece in pieces)
        for rows in full_batches(parts, size):
            x = torch.from_numpy(np.ascontiguousarray(layout.x(rows)))
            if term is not None:
                targets = torch.from_numpy(term.targets(rows))
            elif config.kind == "classes":
                targets = torch.from_numpy(rows[:, layout["label"]].astype(np.int64))
            else:
                target = torch.from_numpy(np.ascontiguousarray(rows[:, layout["target"]]))
                targets = torch.log(x[:, mass_column] / target)
            weights = prepared.weights(rows) if domains is None else domains.weights(rows)
            yield TrainingBatch((scaled(x),), targets, weights)

    def train(epoch: int) -> Iterator[TrainingBatch]:
        if isinstance(term, Penalty):
            term.begin(epoch)
        return batches(prepared.store.epoch(epoch_random(settings.seed, model, epoch)), "train", settings.batch)

    def validation() -> Iterator[TrainingBatch]:
        # the loss of a batch with a penalty depends on its size
        return batches(prepared.store, "validation", _VALIDATION_BATCH if term is None else settings.batch)

    steps = _loop_settings(settings, 0 if term is None else term.least_epochs)
    metric = term.metric if isinstance(term, Penalty) else criterion(settings.metric)
    opponents = [] if term is None or isinstance(term, Penalty) else term.opponents

    history = train_network(
        network,
        loss if term is None else term,
        train,
        validation,
        steps,
        metric=metric,
        opponents=opponents,
        model=model,
        follow=follow,
        checkpoint=checkpoint,
        subject=subject,
    )
    linear = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    layers = [(layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy()) for layer in linear]

    def predict(rows: Rows) -> Any:
        x = torch.from_numpy(np.ascontiguousarray(rows))
        with torch.no_grad():
            out = network(scaled(x))
            if config.kind == "classes":
                return torch.softmax(out, dim=1).numpy()
            return (x[:, [mass_column]] * out.clamp(-LARGEST, LARGEST).exp()).numpy()

    part = Mlp(prepared.center, prepared.width, layers, shape.activation)
    dependence = None
    if adversarial:
        dependence = game.judge(lambda rows: network(scaled(torch.from_numpy(np.ascontiguousarray(layout.x(rows))))))
    return Trained(part, predict, f"torch {torch.__version__}", history, dependence)


def _game(prepared: Prepared, loss: Callable[[Any, Any, Any], Any], model: int) -> Game | DomainGame:
    assert prepared.config.decorrelate is not None
    return (DomainGame if prepared.config.decorrelate.domains else Game)(prepared, loss, model)


def _loop_settings(keys: TrainingKeys, least_epochs: int = 0) -> LoopSettings:
    kinds = {"cosine": Cosine, "constant": Constant, "piecewise": Piecewise, "plateau": Plateau}
    schedule: Schedule = kinds[keys.schedule.kind](**keys.schedule.model_dump())
    return LoopSettings(
        keys.epochs,
        keys.rate,
        keys.decay,
        keys.patience,
        schedule=schedule,
        warmup=keys.warmup,
        least_epochs=least_epochs,
        device=keys.device,
        precision=keys.precision,
    )


def _loss(torch: Any, prepared: Prepared) -> Callable[[Any, Any, Any], Any]:
    """Weighted loss of each jet; the target of a mass is the log of the tagger's mass over the true one."""
    chosen = prepared.config.loss

    def of_classes(outputs: Any, label: Any, weights: Any) -> Any:
        return torch.nn.functional.cross_entropy(outputs, label, reduction="none") * weights

    def of_mass(outputs: Any, before: Any, weights: Any) -> Any:
        r = outputs[:, 0].clamp(-LARGEST, LARGEST) + before
        return residual_losses(r, chosen.kind, scale=chosen.scale, q=chosen.q) * weights

    return of_classes if prepared.config.kind == "classes" else of_mass


def _network(torch: Any, inputs: int, shape: MlpModel, outputs: int, *, zero: bool) -> Any:
    activation = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "silu": torch.nn.SiLU}[shape.activation]
    parts: list[Any] = []
    for size in shape.layers:
        parts += [torch.nn.Linear(inputs, size), activation(), torch.nn.Dropout(shape.dropout)]
        inputs = size
    last = torch.nn.Linear(inputs, outputs)
    if zero:  # an untrained head changes nothing
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
    return torch.nn.Sequential(*parts, last)
