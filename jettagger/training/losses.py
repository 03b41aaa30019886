"""Losses per row and as weighted means; the reported losses are those that are minimised."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from jettagger.errors import require
from jettagger.types import Floats

__all__ = ["ResidualLoss", "cross_entropies", "cross_entropy", "residual_losses"]

ResidualLoss = Literal["log-cosh", "huber", "quantile"]


def cross_entropies(probabilities: Any, label: Any) -> Floats:
    """``-log p`` of the true class, one per row.

    Parameters
    ----------
    probabilities : float[n, classes]
    label : int[n]

    Returns
    -------
    float64[n]
    """
    chosen = np.take_along_axis(np.asarray(probabilities, dtype=np.float64), np.asarray(label)[:, None], axis=1)[:, 0]
    values: Floats = -np.log(np.maximum(chosen, 1e-30))
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


def residual_losses(residuals: Any, kind: ResidualLoss, *, scale: float = 1.0, q: float = 0.5) -> Any:
    """The loss of a regression, one per row.

    With ``s = |r| / scale``: ``log-cosh`` is ``log(cosh(s))``, ``huber`` is ``s^2 / 2`` below 1 and ``s - 1/2`` above
    (Huber 1964), ``quantile`` is ``-q r`` for negative residuals and ``(1 - q) r`` for positive ones (Koenker and
    Bassett 1978): at its minimum a fraction q of the true values lies below the prediction.

    Parameters
    ----------
    residuals : float[n], NumPy or torch
        Prediction minus truth.
    kind : str
        ``log-cosh``, ``huber`` or ``quantile``.
    scale : float
        For ``log-cosh`` and ``huber``, in units of the residuals: the loss is quadratic below and linear above.
    q : float
        For ``quantile``.

    Returns
    -------
    float[n], of the same library and precision

    Examples
    --------
    >>> residual_losses(np.array([-2.0, 0.0, 1.0]), "quantile", q=0.25).tolist()
    [0.5, 0.0, 0.75]
    """
    library: Any = np
    if not isinstance(residuals, np.ndarray):
        library = require("torch", "train", "a loss of tensors")
    if kind == "quantile":
        return library.maximum(-q * residuals, (1 - q) * residuals)
    s = library.abs(residuals) / scale
    if kind == "huber":
        return library.where(s < 1, s**2 / 2, s - 0.5)
    return s + library.log1p(library.exp(-2 * s)) - math.log(2.0)  # log(cosh(s)) without overflow
