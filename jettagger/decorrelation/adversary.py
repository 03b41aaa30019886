"""Adversaries: networks that read a protected variable, or the origin of a jet, from a score; extra ``train``.

A network is trained to minimise its own loss minus a strength times the loss of an adversary, which learns in turn
(Louppe, Kagan, Cranmer 2017; for two domains Ganin et al. 2016)::

    adversary = density_adversary(score, protected)
    opponent = Opponent(adversary, ramp(10.0, 4, 12), rows=of_class, steps=3, rate=5e-3)
    train_network(network, loss, train, validation, settings, opponents=[opponent])

The adversary sees the ranks of the score in the batch, between 0 and 1, as a differentiable function of all scores of
the batch. A monotonic function of the score has the same ranks, so that the network cannot escape by squeezing its
output into a range that the adversary does not resolve. `jettagger.decorrelation.referee` judges the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from jettagger.discriminants import Measured
from jettagger.errors import InvalidValues, require
from jettagger.types import Floats

__all__ = [
    "adversary_gain",
    "batch_ranks",
    "binned_adversary",
    "density_adversary",
    "domain_adversary",
    "normal_scores",
    "weighted_edges",
]

#: number of quantiles of the scores of a batch, between which ranks are interpolated
KNOTS = 65

#: smallest distance of two of them, in units of their range: scores that are equal have ranks without a gradient
_LEAST = 1e-5

#: limits of the logarithm of the width of a Gaussian, in units of the protected variable
_NARROW, _WIDE = -4.0, 3.0

_LOG_ROOT = 0.5 * math.log(2 * math.pi)


def batch_ranks(scores: Any, mask: Any, knots: int = KNOTS) -> Any:
    """The ranks of scores among those of a batch, between 0 and 1, differentiable in all of them.

    Parameters
    ----------
    scores : torch.Tensor, float[n]
    mask : torch.Tensor, bool[n]
        The rows of the reference; at least two.
    knots : int
        Number of quantiles of the reference, between which the ranks are linear.

    Returns
    -------
    torch.Tensor, float[n]
        A rising linear function of the scores leaves the ranks and their gradients as they are, another monotonic one
        changes them by less than the distance of two knots.
    """
    torch = require("torch", "train", "an adversary")
    levels = torch.linspace(0, 1, knots, dtype=scores.dtype, device=scores.device)
    places = torch.quantile(scores[mask], levels)
    lower = torch.searchsorted(places[1:-1].detach().contiguous(), scores.detach().contiguous())
    start, width = places[lower], places[lower + 1] - places[lower]
    least = _LEAST * (places[-1] - places[0]).detach() + torch.finfo(scores.dtype).tiny
    within = (scores - start) / torch.maximum(width, least)
    return (lower + within.clamp(0, 1)) / (knots - 1)


def normal_scores(values: Floats, reference: Floats, weights: Floats | None = None, knots: int = 200) -> Floats:
    """Values mapped so that those of a reference are normally distributed, for `density_adversary`.

    Parameters
    ----------
    values : float[n]
    reference : float[m]
    weights : float[m], optional
        Weights of the reference; negative ones count as 0.
    knots : int
        Number of quantiles, between which the map is linear.

    Returns
    -------
    float64[n]
        Between about -3 and 3.

    Raises
    ------
    InvalidValues
        If the reference is constant, or nothing has a positive weight.

    Examples
    --------
    >>> normal_scores(np.array([0.0, 50.0, 100.0]), np.arange(101.0), knots=11).round(3).tolist()
    [-1.96, 0.0, 1.96]
    """
    from scipy.stats import norm

    levels = np.linspace(0, 1, knots)
    places = weighted_edges(reference, knots - 1, weights)
    inner = norm.ppf(np.clip(levels, 0.25 / (knots - 1), 1 - 0.25 / (knots - 1)))
    distinct = np.concatenate([[True], np.diff(places) > 0])
    mapped: Floats = np.interp(np.asarray(values, dtype=np.float64), places[distinct], inner[distinct])
    return mapped


def weighted_edges(values: Floats, bins: int, weights: Floats | None = None) -> Floats:
    """Edges of bins with equal sums of weights.

    Parameters
    ----------
    values : float[n]
    bins : int
    weights : float[n], optional
        Negative ones count as 0.

    Returns
    -------
    float64[bins + 1]

    Raises
    ------
    InvalidValues
        If the values are constant, or nothing has a positive weight.

    Examples
    --------
    >>> weighted_edges(np.arange(5.0), 2).tolist()
    [0.0, 2.0, 4.0]
    """
    values = np.asarray(values, dtype=np.float64)
    weights = np.ones(len(values)) if weights is None else np.maximum(np.asarray(weights, dtype=np.float64), 0)
    order = np.argsort(values, kind="stable")
    order = order[weights[order] > 0]
    if not len(order) or values[order[0]] == values[order[-1]]:
        raise InvalidValues("a protected variable has the same value in all jets, so that no score can depend on it")
    sums = np.cumsum(weights[order])
    places = (sums - weights[order]) / (sums[-1] - weights[order][-1])
    edges: Floats = np.interp(np.linspace(0, 1, bins + 1), places, values[order])
    return edges


Reading = Callable[[Any], Any]


def density_adversary(
    score: Reading, protected: Reading, *, scores: int = 1, columns: int = 1, layers: Sequence[int] = (64, 64),
    components: int = 5,
) -> Any:  # fmt: skip
    """An adversary that gives the density of protected variables, a mixture of Gaussians (Bishop 1994).

    Parameters
    ----------
    score : callable
        Function of the outputs of the network that returns scores, ``float[n, scores]``.
    protected : callable
        Function of the targets that returns the protected variables, ``float[n, columns]``, in units of about their
        standard deviation, see `normal_scores`.
    scores, columns : int
    layers : sequence of int
        Widths of its layers.
    components : int
        Number of Gaussians.

    Returns
    -------
    torch.nn.Module
        Function of outputs, targets and weights, see `jettagger.training.Opponent`: minus the logarithm of the density.

    Raises
    ------
    MissingExtra
        If torch is not installed.
    """

    def density(torch: Any, read: Any, targets: Any) -> Any:
        z = protected(targets).to(read.dtype)
        logits, rest = read[:, :components], read[:, components:].reshape(-1, 2, components, columns)
        centre, log_width = rest[:, 0], rest[:, 1].clamp(_NARROW, _WIDE)
        each = -0.5 * ((z[:, None, :] - centre) * torch.exp(-log_width)) ** 2 - log_width - _LOG_ROOT
        return -torch.logsumexp(torch.log_softmax(logits, dim=1) + each.sum(dim=2), dim=1)

    return _adversary(score, scores, layers, components * (1 + 2 * columns), density)


def binned_adversary(
    score: Reading, label: Reading, bins: int, *, scores: int = 1, layers: Sequence[int] = (64, 64)
) -> Any:
    """An adversary that gives the probabilities of bins of a protected variable, e.g. those of `weighted_edges`.

    Parameters
    ----------
    score : callable
        Function of the outputs of the network that returns scores, ``float[n, scores]``.
    label : callable
        Function of the targets that returns the indices of the bins, ``int[n]``.
    bins, scores : int
    layers : sequence of int
        Widths of its layers.

    Returns
    -------
    torch.nn.Module
        Function of outputs, targets and weights, see `jettagger.training.Opponent`: the cross-entropy.

    Raises
    ------
    MissingExtra
        If torch is not installed.
    """

    def entropy(torch: Any, read: Any, targets: Any) -> Any:
        return torch.nn.functional.cross_entropy(read, label(targets).long(), reduction="none")

    return _adversary(score, scores, layers, bins, entropy)


def domain_adversary(score: Reading, domain: Reading, *, scores: int = 1, layers: Sequence[int] = (64, 64)) -> Any:
    """An adversary that tells data from simulation; as `binned_adversary` with two bins.

    Parameters
    ----------
    score : callable
        Function of the outputs of the network that returns scores, ``float[n, scores]``.
    domain : callable
        Function of the targets that returns 0 or 1 for each row, ``int[n]``.
    scores : int
    layers : sequence of int
        Widths of its layers.

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    MissingExtra
        If torch is not installed.
    """
    return binned_adversary(score, domain, 2, scores=scores, layers=layers)


def _adversary(score: Reading, scores: int, layers: Sequence[int], outputs: int, loss: Callable[..., Any]) -> Any:
    """Dense layers on the ranks of scores, with a loss of what they give."""
    torch = require("torch", "train", "an adversary")
    nn = torch.nn

    class Adversary(nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        """Reads from ranks."""

        def __init__(self) -> None:
            super().__init__()
            widths, parts = [scores, *layers], []
            for before, after in pairwise(widths):
                parts += [nn.Linear(before, after), nn.Tanh()]
            self.network = nn.Sequential(*parts, nn.Linear(widths[-1], outputs))

        def forward(self, found: Any, targets: Any, weights: Any) -> Any:
            seen, mask = score(found).reshape(len(weights), scores), weights > 0
            if int(mask.sum()) < 2:
                return 0 * weights * seen[:, 0]
            ranks = torch.stack([batch_ranks(seen[:, column], mask) for column in range(scores)], dim=1)
            standard = (ranks - 0.5) * math.sqrt(12)  # of unit width
            return loss(torch, self.network(standard), targets) * weights

    return Adversary()


def adversary_gain(losses: Any, prior: Any, weights: Any) -> Measured:
    """How much an adversary knows: the mean by which its loss is below that of its prior, in nats.

    Parameters
    ----------
    losses, prior : float[n]
        Loss of the adversary, and of a constant prediction, for jets that neither was trained on.
    weights : float[n]

    Returns
    -------
    Measured
        An estimate of the mutual information from below; its uncertainty is that of the mean of the differences.

    Raises
    ------
    InvalidValues
        If no weight is positive.

    Examples
    --------
    >>> print(adversary_gain(np.array([0.5, 0.7]), np.array([0.7, 0.7]), np.ones(2)))
    0.1 ± 0.071
    """
    gains = np.asarray(prior, dtype=np.float64) - np.asarray(losses, dtype=np.float64)
    weights = np.asarray(weights, dtype=np.float64)
    total = weights.sum()
    if not total > 0:
        raise InvalidValues(f"the weights of the jets of an adversary add up to {total:g}, expected more than 0")
    mean = float((gains * weights).sum() / total)
    spread = math.sqrt(float((weights**2 * (gains - mean) ** 2).sum())) / float(total)
    return Measured(mean, spread)
