"""Training of dense networks with torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from jettagger.finetuning.prepare import Prepared
from jettagger.finetuning.schema import MlpModel
from jettagger.finetuning.verify import Trained
from jettagger.heads.export import CLIP, LARGEST, Mlp
from jettagger.training import (
    Follow,
    LoopSettings,
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


def train_mlp(prepared: Prepared, model: int, follow: Follow) -> Trained:
    """Train one network.

    Parameters
    ----------
    prepared : Prepared
    model : int
        Its index, equal to that of the fold held out.
    follow : callable
        Called with an `Epoch` after each epoch.

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
    with seeded(settings.seed, model, threads=settings.threads) as torch:
        return _train(torch, prepared, model, follow)


def _train(torch: Any, prepared: Prepared, model: int, follow: Follow) -> Trained:
    config, layout = prepared.config, prepared.layout
    shape, settings = config.model, config.training
    assert isinstance(shape, MlpModel)
    network = _network(torch, len(layout.inputs), shape, len(config.outputs), zero=config.kind == "mass")
    center = torch.from_numpy(prepared.center.astype(np.float32))
    width = torch.from_numpy(prepared.width.astype(np.float32))
    mass_column = layout.inputs.index("mass") if config.kind == "mass" else 0

    def scaled(x: Any) -> Any:
        return ((x - center) / width).clamp(-CLIP, CLIP)

    def batches(pieces: Iterable[Rows], which: str, size: int) -> Iterator[TrainingBatch]:
        for rows in full_batches((prepared.part(piece, model, which) for piece in pieces), size):
            x = torch.from_numpy(np.ascontiguousarray(layout.x(rows)))
            if config.kind == "classes":
                targets = torch.from_numpy(rows[:, layout["label"]].astype(np.int64))
            else:
                target = torch.from_numpy(np.ascontiguousarray(rows[:, layout["target"]]))
                targets = torch.log(x[:, mass_column] / target)
            yield TrainingBatch((scaled(x),), targets, prepared.weights(rows))

    def train(epoch: int) -> Iterator[TrainingBatch]:
        return batches(prepared.store.epoch(epoch_random(settings.seed, model, epoch)), "train", settings.batch)

    def validation() -> Iterator[TrainingBatch]:
        return batches(prepared.store, "validation", _VALIDATION_BATCH)

    steps = LoopSettings(settings.epochs, settings.rate, settings.decay, settings.patience)
    train_network(network, _loss(torch, prepared), train, validation, steps, model=model, follow=follow)
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
    return Trained(part, predict, f"torch {torch.__version__}")


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
