"""Progress reports of a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from jettagger.display import Brief

__all__ = ["Epoch", "Follow"]


@dataclass(frozen=True)
class Epoch(Brief):
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
        Whether the validation loss, or the metric if there is one, is the best so far.
    start : float
        Validation loss before training.
    metric : float, optional
        The metric of the validation sample that decides about the best epoch, if it is not the loss.
    opponents : tuple of float
        Validation losses of the opponents, averaged over their own rows.
    measures : mapping of str to float
        Further numbers of the validation sample, see `jettagger.training.Metric`; NaN where there is none.
    """

    model: int
    number: int
    train: float
    validation: float
    best: bool
    start: float
    metric: float | None = None
    opponents: tuple[float, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)

    @property
    def criterion(self) -> float:
        """What decides about the best epoch: the metric, or the validation loss."""
        return self.validation if self.metric is None else self.metric


Follow = Callable[[Epoch], None]
