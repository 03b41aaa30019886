"""Training a network of dense layers with torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from jettagger.errors import InvalidValues, require
from jettagger.finetuning.history import Epoch, Follow
from jettagger.finetuning.prepare import Prepared
from jettagger.finetuning.schema import Loss, MlpModel
from jettagger.finetuning.verify import Trained
from jettagger.heads.export import CLIP, LARGEST, Mlp
from jettagger.types import Rows

__all__ = ["train_mlp"]


def _batches(
    prepared: Prepared, model: int, which: str, size: int, random: np.random.Generator | None
) -> Iterator[Rows]:
    """Rows of a part in batches that are full but for the last; in random order where ``random`` is given."""
    rest: Rows | None = None
    source = prepared.store if random is None else prepared.store.epoch(random)
    for rows in source:
        mine = prepared.part(rows, model, which)
        if rest is not None and len(rest):
            mine = np.concatenate([rest, mine])
        full = len(mine) // size * size
        for start in range(0, full, size):
            yield mine[start : start + size]
        rest = mine[full:]
    if rest is not None and len(rest):
        yield rest


def train_mlp(prepared: Prepared, model: int, follow: Follow) -> Trained:
    """Train one network.

    Parameters
    ----------
    prepared : Prepared
    model : int
        Its number, which is that of the fold that it does not see.
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
    torch = require("torch", "train", "training a network")
    config = prepared.config
    settings, shape = config.training, config.model
    assert isinstance(shape, MlpModel)
    before = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed * 1000 + model)
            return _train(torch, prepared, shape, model, follow)
    finally:
        torch.set_num_threads(before)


def _train(torch: Any, prepared: Prepared, shape: MlpModel, model: int, follow: Follow) -> Trained:
    config, layout = prepared.config, prepared.layout
    settings = config.training
    network = _network(torch, len(layout.inputs), shape, len(config.outputs), zero=config.kind == "mass")
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.rate, weight_decay=settings.decay)
    center = torch.from_numpy(prepared.center.astype(np.float32))
    width = torch.from_numpy(prepared.width.astype(np.float32))
    mass_column = layout.inputs.index("mass") if config.kind == "mass" else 0

    def forward(x: Any) -> Any:
        return network(((x - center) / width).clamp(-CLIP, CLIP))

    def losses(rows: Rows) -> tuple[Any, Any]:
        x = torch.from_numpy(np.ascontiguousarray(layout.x(rows)))
        weights = torch.from_numpy(prepared.weights(rows))
        out = forward(x)
        if config.kind == "classes":
            label = torch.from_numpy(rows[:, layout["label"]].astype(np.int64))
            return torch.nn.functional.cross_entropy(out, label, reduction="none") * weights, weights
        target = torch.from_numpy(np.ascontiguousarray(rows[:, layout["target"]]))
        r = out[:, 0].clamp(-LARGEST, LARGEST) + torch.log(x[:, mass_column] / target)
        return _of_ratio(torch, r, config.loss) * weights, weights

    def validate() -> float:
        network.eval()
        total = weight = 0.0
        with torch.no_grad():
            for rows in _batches(prepared, model, "validation", 8192, None):
                values, weights = losses(rows)
                total += float(values.double().sum())
                weight += float(weights.double().sum())
        network.train()
        return total / weight if weight > 0 else math.nan

    def copy() -> dict[str, Any]:
        return {name: value.detach().clone() for name, value in network.state_dict().items()}

    best, best_loss, since = copy(), validate(), 0
    start = best_loss
    for epoch in range(settings.epochs):
        rate = settings.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * epoch / settings.epochs)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        random = np.random.default_rng([settings.seed, model, epoch])
        total = weight = 0.0
        for rows in _batches(prepared, model, "train", settings.batch, random):
            values, weights = losses(rows)
            loss = values.mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            total += float(values.detach().double().sum())
            weight += float(weights.double().sum())
        found = validate()
        if not math.isfinite(total) or not math.isfinite(found):
            raise InvalidValues(
                f"epoch {epoch + 1}: the loss is not finite (training {total}, validation {found}): "
                "try a smaller rate, or flatten less"
            )
        better = found < best_loss
        if better:
            best, best_loss, since = copy(), found, 0
        else:
            since += 1
        train = total / weight if weight > 0 else math.nan
        follow(Epoch(model, epoch + 1, train, found, better, start))
        if since >= settings.patience:
            break
    network.load_state_dict(best)
    linear = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    layers = [(layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy()) for layer in linear]
    network.eval()

    def predict(rows: Rows) -> Any:
        x = torch.from_numpy(np.ascontiguousarray(rows))
        with torch.no_grad():
            out = forward(x)
            if config.kind == "classes":
                return torch.softmax(out, dim=1).numpy()
            return (x[:, [mass_column]] * out.clamp(-LARGEST, LARGEST).exp()).numpy()

    part = Mlp(prepared.center, prepared.width, layers, shape.activation)
    return Trained(part, predict, f"torch {torch.__version__}")


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


def _of_ratio(torch: Any, r: Any, loss: Loss) -> Any:
    """The same as `jettagger.finetuning.losses.mass_loss`, jet by jet, in torch."""
    if loss.kind == "quantile":
        return torch.maximum(-loss.q * r, (1 - loss.q) * r)
    s = r.abs() / loss.scale
    if loss.kind == "huber":
        return torch.where(s < 1, s**2 / 2, s - 0.5)
    return s + torch.log1p(torch.exp(-2 * s)) - math.log(2.0)
