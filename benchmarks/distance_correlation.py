"""CPU time of the distance correlation with weights, relative to that of dcor without weights.

Run: python -m benchmarks.distance_correlation [PAIRS] [--rounds N]

Both are measured alternately in one process, after dcor has compiled its functions. Printed are the times of each round
and the median of their ratio, and the difference of both without weights.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from jettagger.decorrelation import distance_correlation

__all__ = ["measured_ratio"]


def measured_ratio(pairs: int, rounds: int, say: Callable[[str], None] = print) -> float:
    """The median ratio of the CPU times, with weights over dcor without.

    Parameters
    ----------
    pairs : int
        Number of rows.
    rounds : int
    say : callable
        Called with a line for each round.

    Returns
    -------
    float
    """
    import dcor

    random = np.random.default_rng(1)
    x = random.normal(size=pairs)
    y = 0.3 * x + random.normal(size=pairs)
    weights = random.exponential(size=pairs)
    dcor.distance_correlation(x[:1000], y[:1000])  # compiles
    ratios = []
    for _ in range(rounds):
        start = time.process_time()
        theirs = float(dcor.distance_correlation(x, y))
        middle = time.process_time()
        distance_correlation(x, y, weights)
        end = time.process_time()
        ratios.append((end - middle) / (middle - start))
        say(f"{pairs} pairs: dcor {middle - start:.2f} s, with weights {end - middle:.2f} s, ratio {ratios[-1]:.3f}")
    ours = distance_correlation(x, y)
    say(f"without weights: {ours:.12f}, dcor {theirs:.12f}, difference {abs(ours - theirs):.1e}")
    return statistics.median(ratios)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="CPU time of the distance correlation relative to dcor.")
    parser.add_argument("pairs", type=int, nargs="?", default=1_000_000, help="number of rows")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"median ratio {measured_ratio(options.pairs, options.rounds):.3f}")


if __name__ == "__main__":
    main()
