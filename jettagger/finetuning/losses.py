"""Losses as numbers: what is shown while a head is trained, and what its inputs are judged by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jettagger.finetuning.schema import Loss

__all__ = ["cross_entropies", "cross_entropy", "mass_loss", "mass_losses"]


def cross_entropies(probabilities: Any, label: Any) -> NDArray[np.float64]:
    """``-log p`` of the true class, jet by jet.

    Parameters
    ----------
    probabilities : float[n, classes]
    label : int[n]

    Returns
    -------
    float64[n]
    """
    chosen = np.take_along_axis(np.asarray(probabilities, dtype=np.float64), np.asarray(label)[:, None], axis=1)[:, 0]
    values: NDArray[np.float64] = -np.log(np.maximum(chosen, 1e-30))
    return values


def cross_entropy(probabilities: Any, label: Any, weights: Any) -> float:
    """Weighted mean of ``-log p`` of the true class.

    Parameters
    ----------
    probabilities : float[n, classes]
    label : int[n]
    weights : float[n]

    Returns
    -------
    float

    Examples
    --------
    >>> round(cross_entropy(np.array([[0.5, 0.5]]), np.array([1]), np.ones(1)), 4)
    0.6931
    """
    return float(np.average(cross_entropies(probabilities, label), weights=weights))


def mass_losses(mass: Any, target: Any, loss: Loss) -> NDArray[np.float64]:
    """The loss of ``r = log(mass / target)``, jet by jet; masses in GeV.

    Parameters
    ----------
    mass, target : float[n]
    loss : Loss

    Returns
    -------
    float64[n]
    """
    r = np.log(np.maximum(np.asarray(mass, dtype=np.float64), 1e-3) / np.asarray(target, dtype=np.float64))
    values: NDArray[np.float64]
    if loss.kind == "quantile":
        values = np.maximum(-loss.q * r, (1 - loss.q) * r)
    else:
        s = np.abs(r / loss.scale)
        if loss.kind == "huber":
            values = np.where(s < 1, s**2 / 2, s - 0.5)
        else:  # log(cosh(s)) without overflow
            values = s + np.log1p(np.exp(-2 * s)) - np.log(2.0)
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
