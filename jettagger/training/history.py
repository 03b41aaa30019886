"""Progress reports of a training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Epoch", "Follow"]


@dataclass(frozen=True)
class Epoch:
    """One epoch of a network, or a number of trees.

    Parameters
    ----------
    model : int
        Index of the network, from 0.
    number : int
        Number of the epoch (or of trees), from 1.
    train, validation : float
        Losses; the training loss is averaged during the epoch, with dropout.
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
