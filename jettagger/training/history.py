"""What is told of a training while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Epoch", "Follow"]


@dataclass(frozen=True)
class Epoch:
    """One epoch of a network, or some trees.

    Parameters
    ----------
    model : int
        Number of the network, from 0.
    number : int
        Number of the epoch (or of the trees), from 1.
    train, validation : float
        Losses; that of training with dropout, while the network changes.
    best : bool
        Whether the validation loss is the lowest so far.
    start : float
        Validation loss before training.
    """

    model: int
    number: int
    train: float
    validation: float
    best: bool
    start: float


Follow = Callable[[Epoch], None]
