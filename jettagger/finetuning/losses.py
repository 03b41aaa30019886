"""The losses of a mass head, functions of ``log(mass / target)``."""

from __future__ import annotations

from typing import Any

import numpy as np

from jettagger.finetuning.schema import Loss
from jettagger.training import residual_losses
from jettagger.types import Floats

__all__ = ["mass_loss", "mass_losses"]


def mass_losses(mass: Any, target: Any, loss: Loss) -> Floats:
    """The loss of ``r = log(mass / target)`` for each jet; masses in GeV.

    Parameters
    ----------
    mass, target : float[n]
    loss : Loss

    Returns
    -------
    float64[n]
    """
    r = np.log(np.maximum(np.asarray(mass, dtype=np.float64), 1e-3) / np.asarray(target, dtype=np.float64))
    values: Floats = residual_losses(r, loss.kind, scale=loss.scale, q=loss.q)
    return values


def mass_loss(mass: Any, target: Any, weights: Any, loss: Loss) -> float:
    """Weighted mean of the loss of ``r = log(mass / target)``; masses in GeV.

    Parameters
    ----------
    mass, target, weights : float[n]
    loss : Loss

    Returns
    -------
    float

    Examples
    --------
    >>> mass_loss(np.array([100.0]), np.array([100.0]), np.ones(1), Loss())
    0.0
    """
    return float(np.average(mass_losses(mass, target, loss), weights=weights))
