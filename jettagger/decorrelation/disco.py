"""Distance correlation as a term of the loss of a network (DisCo), in torch.

Single DisCo (Kasieczka and Shih, PRL 125 (2020) 122001, arXiv:2001.05310) adds to the loss of a classifier the squared
distance correlation of its score with a protected variable in the background, double DisCo (Kasieczka, Nachman,
Schwartz and Shih, PRD 103 (2021) 035021, arXiv:2007.14400) that of two scores, as needed for an estimate of backgrounds
with the ABCD method.
"""

from __future__ import annotations

import functools
from typing import Any

from jettagger.errors import MismatchError, require

__all__ = ["squared_distance_correlation"]

#: pairs in memory at a time
_PAIRS = 2**17

#: smallest distance variance, relative to the squared mean distance, above which a correlation is formed
_SMALLEST = 1e-12


def squared_distance_correlation(x: Any, y: Any, weights: Any = None) -> Any:
    """The squared distance correlation of two columns, biased, with gradients with respect to both.

    It equals the square of `jettagger.decorrelation.distance_correlation`. Time grows as n**2, memory as n.

    Parameters
    ----------
    x, y : torch.Tensor, float[n]
        Their units and offsets do not matter.
    weights : torch.Tensor, float[n], optional
        At least 0; no gradient. Default: the same for all rows.

    Returns
    -------
    torch.Tensor, float[]
        From 0 to 1; 0 without a gradient if a column is constant.

    Raises
    ------
    MismatchError
        If the lengths differ.
    MissingExtra
        If torch is not installed.

    Notes
    -----
    The distance covariance is the mean of ``A_ij B_ij`` over all pairs, where A and B are the distances minus the means
    of their rows and columns plus the total mean. Its derivative with respect to x_i is ``2 w_i`` times the mean of
    ``sign(x_i - x_j) B_ij`` over j; it is taken as 0 for ties, as the derivative of the absolute value.
    """
    torch = require("torch", "train", "the distance correlation of tensors")
    weights = torch.ones_like(x) if weights is None else weights.to(x.dtype)
    if x.ndim != 1 or x.shape != y.shape or x.shape != weights.shape:
        shapes = ", ".join(str(list(item.shape)) for item in (x, y, weights))
        raise MismatchError(f"distance correlation: expected three tensors of the same length, got the shapes {shapes}")
    y = y.to(x.dtype)
    if len(x) < 2 or not float(weights.sum()) > 0:
        return (x * 0).sum()
    weights = (weights / weights.sum()).detach()
    x, y = (_of_unit_width(torch, column, weights) for column in (x, y))
    covariance, first, second = _covariances().apply(x, y, weights)
    if not float(first.detach()) > _SMALLEST or not float(second.detach()) > _SMALLEST:
        return (x * 0).sum() + (y * 0).sum()
    return covariance / (first * second).sqrt()


def _of_unit_width(torch: Any, column: Any, weights: Any) -> Any:
    """A column divided by its mean distance from its mean: the correlation is the same, numbers are of order 1."""
    with torch.no_grad():
        mean = (weights * column).sum()
        width = (weights * (column - mean).abs()).sum()
        scale = torch.where(width > 0, width, torch.ones_like(width))
    return (column - mean) / scale


@functools.cache
def _covariances() -> Any:
    """The function of torch; made when it is needed, as torch is optional."""
    torch = require("torch", "train", "the distance correlation of tensors")

    class Covariances(torch.autograd.Function):  # type: ignore[name-defined]
        """Squared distance covariance and both variances for weights that add up to one, by blocks of rows."""

        @staticmethod
        def forward(context: Any, x: Any, y: Any, weights: Any) -> Any:
            means = tuple(_row_means(torch, column, weights) for column in (x, y))
            context.save_for_backward(x, y, weights, *means)
            sums = x.new_zeros(3)
            for rows in _blocks(len(x)):
                a, b = (_centred(column, mean, weights, rows) for column, mean in zip((x, y), means, strict=True))
                pairs = torch.stack([(a * b) @ weights, (a * a) @ weights, (b * b) @ weights])
                sums += pairs @ weights[rows]
            return sums.unbind()

        @staticmethod
        @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
        def backward(context: Any, of_covariance: Any, of_first: Any, of_second: Any) -> Any:
            x, y, weights, *means = context.saved_tensors
            x_wanted, y_wanted, _ = context.needs_input_grad
            gradients = torch.zeros_like(x), torch.zeros_like(y)
            for rows in _blocks(len(x)):
                a, b = (_centred(column, mean, weights, rows) for column, mean in zip((x, y), means, strict=True))
                if x_wanted:
                    slope = (of_covariance * b).add_(2 * of_first * a)
                    gradients[0][rows] = (torch.sign(x[rows, None] - x) * slope) @ weights
                if y_wanted:
                    slope = (of_covariance * a).add_(2 * of_second * b)
                    gradients[1][rows] = (torch.sign(y[rows, None] - y) * slope) @ weights
            return *(2 * weights * gradient for gradient in gradients), None

    return Covariances


def _blocks(n: int) -> list[slice]:
    size = max(1, _PAIRS // n)
    return [slice(start, start + size) for start in range(0, n, size)]


def _row_means(torch: Any, column: Any, weights: Any) -> Any:
    """``sum_j w_j |v_i - v_j|`` for each i, from sums over sorted values in double precision."""
    values, order = torch.sort(column.detach().double(), stable=True)
    w = weights[order].double()
    weight, moment = torch.cumsum(w, 0), torch.cumsum(w * values, 0)
    means = torch.empty_like(column)
    means[order] = (values * (2 * weight - weight[-1]) - (2 * moment - moment[-1])).to(column.dtype)
    return means


def _centred(column: Any, means: Any, weights: Any, rows: slice) -> Any:
    """Distances of some rows from all, minus means of rows and columns plus the total mean."""
    return (column[rows, None] - column).abs_().sub_(means).sub_((means[rows] - means @ weights)[:, None])
