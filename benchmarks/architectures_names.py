"""What the networks and samples of `benchmarks.architectures` are called in tables and figures."""

from __future__ import annotations

__all__ = ["CHANGES", "TITLES"]

#: network -> title, in the order of the tables
TITLES = {
    "cnn1": "CNN, 1 channel, 32 x 32", "cnn6": "CNN, 6 channels, 32 x 32", "gru": "GRU, two streams",
    "cnn1d": "1D CNN, two streams", "deepset": "deep sets", "transformer": "embedded transformer",
    "dense": "dense, substructure", "trees": "boosted trees, substructure", "dense-shapes": "dense, substructure",
    "trees-shapes": "boosted trees, substructure", "rnnip": "RNNIP", "dips": "DIPS",
    "rnnip-ascending": "RNNIP, ascending significance", "rnnip-pt": "RNNIP, order: pt",
    "rnnip-distance": "RNNIP, order: distance", "rnnip-random": "RNNIP, order: random",
    **{f"cnn{n}-{size}": f"CNN, {n} channel{'s' * (n > 1)}, {size} x {size}" for n in (1, 6) for size in (16, 64)},
}  # fmt: skip

#: what the two parts of a variant are called
CHANGES = {"default": "default", "tune": "other tune", "card": "other card", "alternative": "other tune and card"}
