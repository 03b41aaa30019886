"""Learning rates and strengths as functions of the epoch, or of the step.

All are values that depend on the history alone, so that an interrupted training needs nothing else to go on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from jettagger.display import Brief
from jettagger.errors import InvalidValues

__all__ = ["Constant", "Cosine", "Piecewise", "Plateau", "Restarts", "Schedule", "ramp"]


@dataclass(frozen=True)
class Constant(Brief):
    """The same factor in each epoch."""

    kind: Literal["constant"] = "constant"

    def factor(self, epoch: int, epochs: int, better: Sequence[bool]) -> float:
        """1, see `Cosine.factor`."""
        return 1.0


@dataclass(frozen=True)
class Cosine(Brief):
    """Half a period of a cosine over the maximum number of epochs (Loshchilov and Hutter 2017, without restarts).

    Parameters
    ----------
    last : float
        Factor at the end.
    """

    last: float = 0.01
    kind: Literal["cosine"] = "cosine"

    def factor(self, epoch: int, epochs: int, better: Sequence[bool]) -> float:
        """The factor on the learning rate.

        Parameters
        ----------
        epoch : int
            From 0.
        epochs : int
            Maximum number of epochs.
        better : sequence of bool
            Whether each previous epoch was the best until then.

        Returns
        -------
        float

        Examples
        --------
        >>> [round(Cosine().factor(epoch, 4, []), 3) for epoch in range(4)]
        [1.0, 0.855, 0.505, 0.155]
        """
        return self.last + (1 - self.last) * 0.5 * (1 + math.cos(math.pi * epoch / epochs))


@dataclass(frozen=True)
class Piecewise(Brief):
    """Straight lines between points, constant before the first and after the last.

    Parameters
    ----------
    points : sequence of (float, float)
        Epoch, from 0, and factor.

    Raises
    ------
    InvalidValues
        If there is no point, the epochs do not rise, or a number is negative or not finite.

    Examples
    --------
    >>> [Piecewise(((0, 0.5), (4, 1.0))).factor(epoch, 9, []) for epoch in (0, 2, 8)]
    [0.5, 0.75, 1.0]
    """

    points: tuple[tuple[float, float], ...]
    kind: Literal["piecewise"] = "piecewise"

    def __post_init__(self) -> None:
        epochs = [epoch for epoch, _ in self.points]
        if not epochs or not all(low < high for low, high in pairwise(epochs)):
            raise InvalidValues(f"expected points (epoch, factor) with rising epochs, got {self.points}")
        if not all(0 <= number < math.inf for point in self.points for number in point):
            raise InvalidValues(f"expected points (epoch, factor) with finite numbers from 0, got {self.points}")

    def factor(self, epoch: int, epochs: int, better: Sequence[bool]) -> float:
        """The factor in an epoch, see `Cosine.factor`."""
        return float(np.interp(epoch, *np.asarray(self.points, dtype=np.float64).T))


@dataclass(frozen=True)
class Plateau(Brief):
    """A smaller factor each time that the validation has not become better for some epochs.

    The rule is that of torch's ``ReduceLROnPlateau`` with a threshold of 0.

    Parameters
    ----------
    reduce : float
        Factor of a reduction.
    patience : int
        Number of epochs without a better validation that are tolerated before each of them.
    last : float
        Smallest factor.
    min_delta : float, optional
        An epoch is better only if the validation has improved by more than this since the last such epoch; the first
        epoch always is. Default: an epoch is better if it is the best so far.
    """

    reduce: float = 0.3
    patience: int = 3
    last: float = 1e-3
    min_delta: float | None = None
    kind: Literal["plateau"] = "plateau"

    def factor(self, epoch: int, epochs: int, better: Sequence[bool]) -> float:
        """The factor in an epoch, see `Cosine.factor`.

        Examples
        --------
        >>> Plateau(reduce=0.5, patience=1).factor(5, 60, [True, False, False, True, False])
        0.5
        """
        factor, bad = 1.0, 0
        for good in better:
            bad = 0 if good else bad + 1
            if bad > self.patience:
                factor, bad = max(factor * self.reduce, self.last), 0
        return factor


@dataclass(frozen=True)
class Restarts(Brief):
    """A linear warm-up, then a line or a cosine with hard restarts to zero, from step to step.

    The rule is that of SPANet, and of ``get_cosine_with_hard_restarts_schedule_with_warmup`` in transformers: the
    warm-up is the first part of the training, and the cycles share the rest of it (Loshchilov and Hutter 2017).

    Parameters
    ----------
    steps : int
        Number of steps of an epoch.
    warmup : int
        Number of steps in which the factor rises from 0, that of the first step, towards 1.
    cycles : int
        Number of half periods of a cosine, each of which begins at 1; 0: one straight line.
    """

    steps: int
    warmup: int = 0
    cycles: int = 0
    kind: Literal["restarts"] = "restarts"

    def at(self, step: int, epochs: int) -> float:
        """The factor in a step.

        Parameters
        ----------
        step : int
            From 0.
        epochs : int
            Maximum number of epochs.

        Returns
        -------
        float

        Examples
        --------
        >>> [Restarts(3, warmup=2).at(step, 2) for step in range(6)]
        [0.0, 0.5, 1.0, 0.75, 0.5, 0.25]
        >>> [round(Restarts(3, cycles=2).at(step, 2), 3) for step in range(6)]
        [1.0, 0.75, 0.25, 1.0, 0.75, 0.25]
        """
        if step < self.warmup:
            return step / self.warmup
        share = (step - self.warmup) / max(self.steps * epochs - self.warmup, 1)
        if share >= 1:
            return 0.0
        return 1 - share if self.cycles < 1 else 0.5 * (1 + math.cos(math.pi * (self.cycles * share % 1)))

    def factor(self, epoch: int, epochs: int, better: Sequence[bool]) -> float:
        """The factor in the first step of an epoch, see `Cosine.factor`."""
        return self.at(epoch * self.steps, epochs)


Schedule = Constant | Cosine | Piecewise | Plateau | Restarts


def ramp(strength: float, start: int, length: int) -> Piecewise:
    """A strength that is 0 up to an epoch and then rises linearly.

    Parameters
    ----------
    strength : float
        Final strength.
    start : int
        Number of epochs with strength 0.
    length : int
        Number of epochs from 0 to the final strength.

    Returns
    -------
    Piecewise

    Examples
    --------
    >>> [ramp(2.0, 1, 4).factor(epoch, 9, []) for epoch in range(7)]
    [0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.0]
    """
    if length <= 0:
        return Piecewise(((start, strength),)) if start <= 0 else Piecewise(((start - 1, 0.0), (start, strength)))
    return Piecewise(((start, 0.0), (start + length, strength)))
