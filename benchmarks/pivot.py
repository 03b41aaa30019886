"""A toy with closed forms: how well classes can be told apart if the efficiency may not depend on a hidden number Z.

Class 0 has two Gaussian numbers x1 and x2 of unit width with correlation -0.5, class 1 unit Gaussians around
(1, 1 + Z), Z normal (Louppe, Kagan and Cranmer, "Learning to pivot with adversarial networks", NeurIPS 2017,
arXiv:1611.01046).

- The best test without a constraint is the likelihood ratio, whose efficiency rises with Z.
- As x2 of class 1 is complete for Z, an efficiency that does not depend on Z is the same for each x2 (a similar test).
  The best one is the likelihood ratio of x1 for given x2.
- x1 alone is independent of Z, too, but ignores the correlation in class 0.

All closed forms are integrals over Gaussians, made with `scipy.integrate`. Distance correlation on this toy::

    python -m benchmarks.pivot                    # half a minute on a core: one strength
    python -m benchmarks.pivot --strengths 0 1 10 100 --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.integrate import dblquad, quad
from scipy.optimize import brentq
from scipy.special import ndtr

from jettagger.discriminants import auc
from jettagger.types import Array, Floats

__all__ = [
    "Performance",
    "Toy",
    "log_ratio",
    "optimal_test",
    "performance",
    "similar_score",
    "similar_test",
    "toy",
    "train_disco",
    "x1_test",
]

#: correlation of x1 and x2 in class 0
CORRELATION = -0.5

#: range of integrals in standard deviations
_WIDE = 9.0


@dataclass(frozen=True)
class Toy:
    """Events of both classes.

    Parameters
    ----------
    x : float64[n, 2]
    label : int64[n]
    z : float64[n]
        The hidden number; of no meaning in class 0, where it is drawn from the same distribution.
    """

    x: Floats
    label: Array
    z: Floats


def toy(events: int, seed: int = 0) -> Toy:
    """Events, half of them of each class, in random order.

    Parameters
    ----------
    events : int
    seed : int

    Returns
    -------
    Toy
    """
    random = np.random.default_rng([seed, 11])
    label = random.permutation(np.arange(events) % 2)
    z, first, second = random.normal(size=(3, events))
    one = label == 1
    correlated = CORRELATION * first + math.sqrt(1 - CORRELATION**2) * second
    x = np.stack([first + one, np.where(one, 1 + z + second, correlated)], axis=1)
    return Toy(x, label, z)


def log_ratio(x: Floats) -> Floats:
    """Logarithm of the likelihood ratio of class 1, of all Z together, and class 0: float64[n] of float64[n, 2]."""
    x1, x2 = x[:, 0], x[:, 1]
    return _log_class_1(x1, x2) - _log_class_0(x1, x2)


def similar_score(x: Floats) -> Floats:
    """The fraction of class 1 with a larger likelihood ratio of x1 for given x2, subtracted from one: float64[n].

    It is uniform from 0 to 1 in class 1 for each x2, and thus for each Z.
    """
    x1, x2 = x[:, 0], x[:, 1]
    return 1 - _tails(np.abs(x1 - _vertex(x2)), x2)


def _log_class_0(x1: Any, x2: Any) -> Any:
    free = 1 - CORRELATION**2
    return -(x1**2 - 2 * CORRELATION * x1 * x2 + x2**2) / (2 * free) - 0.5 * math.log(free)


def _log_class_1(x1: Any, x2: Any) -> Any:
    """Unit width in x1; x2 has the variance of Z in addition."""
    return -((x1 - 1) ** 2) / 2 - (x2 - 1) ** 2 / 4 - 0.5 * math.log(2)


def _vertex(x2: Any) -> Any:
    """The x1 at which the likelihood ratio, for given x2 or not, is lowest: its logarithm is a parabola in x1."""
    return -3 - 2 * x2


def _tails(distance: Any, x2: Any) -> Any:
    """Fraction of class 1 further away from the vertex in x1."""
    vertex = _vertex(x2)
    return ndtr(vertex - distance - 1) + ndtr(1 - vertex - distance)


def _tails_of_class_0(distance: Any, x2: Any) -> Any:
    """The same of class 0, whose x1 depends on x2."""
    vertex, width = _vertex(x2) - CORRELATION * x2, math.sqrt(1 - CORRELATION**2)
    return ndtr((vertex - distance) / width) + ndtr((-vertex - distance) / width)


def _normal(x: float, mean: float, width: float) -> float:
    return math.exp(-(((x - mean) / width) ** 2) / 2) / (width * math.sqrt(2 * math.pi))


def _average(function: Callable[[float], float], mean: float, width: float) -> float:
    """The mean of a function of a Gaussian number."""

    def integrand(x: float) -> float:
        return function(x) * _normal(x, mean, width)

    found: float = quad(integrand, mean - _WIDE * width, mean + _WIDE * width, limit=200, epsabs=1e-10)[0]
    return found


@dataclass(frozen=True)
class Performance:
    """What a test reaches.

    Parameters
    ----------
    rejection : float
        One over the fraction of class 0 that passes where half of class 1 does.
    auc : float
        Area under the ROC curve.
    efficiencies : dict of float to float
        Z -> efficiency of class 1 at the same threshold.
    """

    rejection: float
    auc: float
    efficiencies: dict[float, float]


def optimal_test(at: tuple[float, ...] = (-1, 0, 1)) -> Performance:
    """The likelihood ratio: integrals over x2 of Gaussian tails in x1.

    Parameters
    ----------
    at : tuple of float
        Values of Z.

    Returns
    -------
    Performance
        Its area is NaN: it is not needed.
    """

    def distance(x2: float, threshold: float) -> float:
        vertex = _vertex(x2)
        lowest = _log_class_1(vertex, x2) - _log_class_0(vertex, x2)
        return math.sqrt(max(6 * (threshold - lowest), 0))  # the parabola rises as the square of the distance over 6

    def efficiency(threshold: float) -> float:
        return _average(lambda x2: _tails(distance(x2, threshold), x2), 1, math.sqrt(2))

    threshold = brentq(lambda value: efficiency(value) - 0.5, -5, 10, xtol=1e-12)
    passing = _average(lambda x2: _tails_of_class_0(distance(x2, threshold), x2), 0, 1)
    found = {z: _average(lambda x2: _tails(distance(x2, threshold), x2), 1 + z, 1) for z in at}
    return Performance(1 / passing, math.nan, found)


def similar_test(at: tuple[float, ...] = (-1, 0, 1)) -> Performance:
    """The likelihood ratio of x1 for given x2, with an efficiency of one half for each x2.

    Parameters
    ----------
    at : tuple of float
        Values of Z.

    Returns
    -------
    Performance
    """

    def half(x2: float) -> float:
        far = abs(_vertex(x2)) + 20
        return float(brentq(lambda distance: _tails(distance, x2) - 0.5, 0, far, xtol=1e-12))

    def larger(x1: float, x2: float) -> float:
        """Probability that an event of class 1 has a larger score than one of class 0."""
        below = _normal(x1, CORRELATION * x2, math.sqrt(1 - CORRELATION**2)) * _normal(x2, 0, 1)
        return float(_tails(abs(x1 - _vertex(x2)), x2)) * below

    passing = _average(lambda x2: _tails_of_class_0(half(x2), x2), 0, 1)
    found = {z: _average(lambda x2: _tails(half(x2), x2), 1 + z, 1) for z in at}
    area = dblquad(larger, -7, 7, -8, 8, epsabs=1e-6)[0]
    return Performance(1 / passing, area, found)


def x1_test(at: tuple[float, ...] = (-1, 0, 1)) -> Performance:
    """A threshold on x1, which ignores x2.

    Parameters
    ----------
    at : tuple of float
        Values of Z.

    Returns
    -------
    Performance
    """
    return Performance(float(1 / ndtr(-1)), float(ndtr(1 / math.sqrt(2))), dict.fromkeys(at, 0.5))


def performance(
    score: Callable[[Floats], Floats],
    at: tuple[float, ...] = (-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2),
    events: int = 400_000,
) -> Performance:
    """What a score reaches on independent events.

    Parameters
    ----------
    score : callable
        Function of float64[n, 2] that returns float[n], larger for class 1.
    at : tuple of float
        Values of Z.
    events : int
        Number of events of both classes, and of those of class 1 for each Z; the statistical uncertainties are
        ``0.7 / sqrt(events)`` for efficiencies.

    Returns
    -------
    Performance
    """
    test = toy(events, seed=99)
    values = np.asarray(score(test.x), dtype=np.float64)
    signal, background = values[test.label == 1], values[test.label == 0]
    threshold = np.median(signal)
    passing = float(np.mean(background > threshold))
    first, second = np.random.default_rng(98).normal(size=(2, events // 2))
    found = {}
    for z in at:
        found[z] = float(np.mean(np.asarray(score(np.stack([1 + first, 1 + z + second], axis=1))) > threshold))
    return Performance(1 / passing if passing else math.inf, auc(signal, background).value, found)


def train_disco(
    strength: float, *, seed: int = 0, events: int = 60_000, epochs: int = 20, batch: int = 2048
) -> Callable[[Floats], Floats]:
    """A network whose output does not depend on Z in class 1, by distance correlation.

    Parameters
    ----------
    strength : float
        Factor of the squared distance correlation in the loss.
    seed : int
    events : int
        Number of training events of both classes.
    epochs : int
    batch : int
        Events per step, half of which are of class 1.

    Returns
    -------
    callable
        Function of float64[n, 2] that returns the output, float[n].
    """
    from jettagger.decorrelation.disco import squared_distance_correlation
    from jettagger.training import LoopSettings, TrainingBatch, epoch_random, ramp, seeded, train_network

    # from the start on, the output would become constant instead
    start, length = epochs // 10, epochs // 2
    schedule, factor = ramp(1.0, start, length), 1.0
    sample, held = toy(events, seed), toy(20_000, seed + 1000)

    def batches(part: Toy, size: int, order: Array) -> Iterator[TrainingBatch]:
        targets = np.stack([part.label, part.z], axis=1).astype(np.float32)
        for start in range(0, len(order) - size + 1, size):
            rows = order[start : start + size]
            yield TrainingBatch((part.x[rows].astype(np.float32),), targets[rows], np.ones(size, dtype=np.float32))

    with seeded(seed, threads=1) as torch:
        network = torch.nn.Sequential(
            torch.nn.Linear(2, 32), torch.nn.SiLU(), torch.nn.Linear(32, 32), torch.nn.SiLU(), torch.nn.Linear(32, 1)
        )

        def loss(outputs: Any, targets: Any, weights: Any) -> Any:
            logits, label, z = outputs[:, 0], targets[:, 0], targets[:, 1]
            values = torch.nn.functional.binary_cross_entropy_with_logits(logits, label, reduction="none")
            one = label == 1
            if strength:
                now = strength * (factor if outputs.requires_grad else 1)  # all of it in the validation
                values = values + now * squared_distance_correlation(logits.sigmoid()[one], z[one])
            return values * weights

        def train(epoch: int) -> Iterator[TrainingBatch]:
            nonlocal factor
            factor = schedule.factor(epoch, epochs, [])
            return batches(sample, batch, epoch_random(seed, 0, epoch).permutation(events))

        train_network(
            network,
            loss,
            train,
            lambda: batches(held, 5000, np.arange(len(held.x))),
            LoopSettings(epochs=epochs, rate=5e-3, decay=1e-4, patience=epochs, least_epochs=start + length),
        )

    def score(x: Floats) -> Floats:
        with torch.no_grad():
            return np.asarray(network(torch.as_tensor(x, dtype=torch.float32))[:, 0], dtype=np.float64)

    return score


def main() -> None:
    """Print what distance correlation reaches, beside the closed forms."""
    parser = argparse.ArgumentParser(description="Distance correlation on the pivot toy.")
    parser.add_argument("--strengths", type=float, nargs="+", default=[30.0], help="factors of the term in the loss")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="trainings of each strength")
    options = parser.parse_args()

    def line(name: str, found: Performance) -> None:
        low, high = min(found.efficiencies.values()), max(found.efficiencies.values())
        print(f"{name:<24} rejection {found.rejection:6.3f}  AUC {found.auc:.4f}  efficiency {low:.3f} to {high:.3f}")

    at = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
    for name, test in (("optimal", optimal_test), ("similar", similar_test), ("x1 alone", x1_test)):
        line(name, test(at))
    for strength in options.strengths:
        for seed in options.seeds:
            line(f"strength {strength:g}, seed {seed}", performance(train_disco(strength, seed=seed), at))


if __name__ == "__main__":
    main()
