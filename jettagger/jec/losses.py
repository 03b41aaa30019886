"""Losses of a calibration, and what they make of the outputs of the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from jettagger.errors import InvalidValues, require
from jettagger.training import residual_losses

__all__ = ["LossKind", "calibration_loss", "quantile_outputs"]

LossKind = Literal["mae", "huber", "log-cosh", "quantiles"]


def calibration_loss(
    kind: LossKind, *, scale: float = 0.1, quantiles: Sequence[float] = (), max_target: float = 1.0
) -> Callable[[Any, Any, Any], Any]:
    """The loss of each jet, for `jettagger.training.train_network`.

    Jets whose target is not between minus and plus the maximum have a loss of 0, but count in the mean, as in the
    original.

    Parameters
    ----------
    kind : str
        ``mae``: absolute error; ``huber``, ``log-cosh``, see `jettagger.training.residual_losses`; ``quantiles``: the
        sum of the losses of several quantiles.
    scale : float
        Of ``huber`` and ``log-cosh``.
    quantiles : sequence of float
        Of ``quantiles``, rising, with 0.5 among them.
    max_target : float

    Returns
    -------
    callable
        Function of outputs, float[jets, outputs], targets and weights, float[jets], that returns float[jets].

    Raises
    ------
    InvalidValues
        If the quantiles do not rise, or 0.5 is not among them.
    MissingExtra
        If torch is not installed.
    """
    torch = require("torch", "train", "a loss of tensors")
    middle = _middle(quantiles) if kind == "quantiles" else 0

    def loss(outputs: Any, targets: Any, weights: Any) -> Any:
        mask = (targets > -max_target) & (targets < max_target)
        targets = torch.where(mask, targets, 0)  # infinite ones, too
        if kind == "mae":
            values = (outputs[:, 0] - targets).abs()
        elif kind == "quantiles":
            residuals = quantile_outputs(outputs, middle) - targets[:, None]
            parts = [residual_losses(residuals[:, i], "quantile", q=q) for i, q in enumerate(quantiles)]
            values = torch.stack(parts, dim=1).sum(dim=1)
        else:
            values = residual_losses(outputs[:, 0] - targets, kind, scale=scale)
        return torch.where(mask, values, 0) * weights

    return loss


def quantile_outputs(outputs: Any, middle: int) -> Any:
    """Quantiles that cannot cross: the median, and positive distances to the next one on both sides.

    Parameters
    ----------
    outputs : torch.Tensor
        float[jets, quantiles].
    middle : int
        Index of the median.

    Returns
    -------
    torch.Tensor
        float[jets, quantiles], rising.

    Raises
    ------
    MissingExtra
        If torch is not installed.
    """
    torch = require("torch", "train", "a loss of tensors")
    distances = torch.nn.functional.softplus(outputs)
    median = outputs[:, middle : middle + 1]
    lower = median - distances[:, :middle].flip(1).cumsum(1).flip(1)
    return torch.cat([lower, median, median + distances[:, middle + 1 :].cumsum(1)], dim=1)


def _middle(quantiles: Sequence[float]) -> int:
    if 0.5 not in quantiles or list(quantiles) != sorted(set(quantiles)):
        raise InvalidValues(f"the quantiles are {list(quantiles)}, expected rising numbers with 0.5 among them")
    return list(quantiles).index(0.5)
