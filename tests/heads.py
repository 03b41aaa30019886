"""Small heads that tests make without training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

import jettagger as jt
from jettagger.bundles.bundle import Bundle
from jettagger.heads import Head, Mlp, load_head, write_head

#: what a head may take: of the tagger, of the jet, of the event
INPUTS = (*(f"hidNeurons{i:03d}" for i in range(128)), "mass", "FatJet_pt", "MET_pt", "FatJet_metDeltaPhi")


def random_mlp(inputs: int, outputs: int, seed: int = 0, activation: str = "relu", scale: float = 1.0) -> Mlp:
    """A network with random weights for inputs of any size."""
    rng = np.random.default_rng(seed)
    layers = [
        (rng.normal(0, scale / np.sqrt(inputs), (8, inputs)), rng.normal(0, 0.1, 8)),
        (rng.normal(0, scale / np.sqrt(8), (outputs, 8)), rng.normal(0, 0.1, outputs)),
    ]
    return Mlp(rng.normal(0, 1, inputs), rng.uniform(1, 50, inputs), layers, activation)


def numbers(mlp: Mlp, x: np.ndarray, kind: str, mass: int = 0) -> np.ndarray:
    """What the network must give, in NumPy."""
    h = np.clip((x.astype(np.float64) - mlp.center) / mlp.width, -10, 10)
    for depth, (weights, bias) in enumerate(mlp.layers):
        if depth:
            h = {"relu": np.maximum(h, 0), "tanh": np.tanh(h), "silu": h / (1 + np.exp(-h))}[mlp.activation]
        h = h @ np.asarray(weights, dtype=np.float64).T + bias
    if kind == "mass":
        return np.asarray(x[:, [mass]] * np.exp(np.clip(h, -3, 3)))
    powers = np.exp(h - h.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def make_head(
    folder: Path,
    name: str = "Toy",
    *,
    kind: Literal["classes", "mass"] = "classes",
    parent: Bundle | None = None,
    inputs: Sequence[str] = INPUTS,
    parts: Sequence[Any] | None = None,
    folds: int = 1,
    **more: Any,
) -> Head:
    """A head with random weights in a folder."""
    outputs = ["probA", "probB"] if kind == "classes" else ["mass"]
    parts = parts or [random_mlp(len(inputs), len(outputs), seed) for seed in range(folds)]
    folder.mkdir(parents=True)
    bundle = parent or jt.load_bundle("inclParTToyV1")
    write_head(folder, name=name, kind=kind, parent=bundle, inputs=inputs, outputs=outputs, parts=parts, **more)
    return load_head(folder)
