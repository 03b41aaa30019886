"""Decoded events per second of all methods, beside another decoder on the same distributions.

Run: python -m benchmarks.decoding [EVENTS] [--objects 10] [--rounds 7] [--reference MODULE:FUNCTION]

Two top quarks with three daughters each, symmetric in two of them and in the particles; distributions are those of
random embeddings, in events with 6 to all of the slots filled, and in most events both tops prefer the same objects.
All run with one thread in one process and alternate; what is compiled is compiled before. Times are CPU times. Printed
are the median rate, half the range of the middle half of the rounds, and the median ratio to the rate of the reference
in the same round, also for four times as many events. A reference is a function of a list of float32 arrays
[events, T, T, T], such as SPANet's spanet.network.prediction_selection:extract_predictions.
"""

from __future__ import annotations

import argparse
import importlib
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from jettagger.assignment import METHODS, EventDescription, decode, parse_event_text

__all__ = ["distributions", "measured_rates", "top_pair"]

#: label of the function that is compared with
REFERENCE = "reference"

#: length of the random embeddings of objects
_LENGTH = 16


def top_pair() -> EventDescription:
    """The topology of a fully hadronic top pair."""
    return parse_event_text(
        "INPUTS: {SEQUENTIAL: {Jets: {pt: log_normalize}}}\n"
        "EVENT: {t1: [q1, q2, b], t2: [q1, q2, b]}\n"
        "PERMUTATIONS: {EVENT: [[t1, t2]], t1: [[q1, q2]], t2: [[q1, q2]]}\n"
    )


def distributions(events: int, objects: int, seed: int = 1) -> dict[str, Any]:
    """Log-probabilities of both tops, float32[events, objects, objects, objects]."""
    random = np.random.default_rng(seed)
    first, second, third = np.indices([objects] * 3)
    distinct = (first != second) & (first != third) & (second != third)
    real = np.arange(objects) < random.integers(min(6, objects), objects + 1, size=events)[:, None]
    allowed = distinct & real[:, :, None, None] & real[:, None, :, None] & real[:, None, None, :]
    common: Any = 0.0
    found = {}
    for weight, name in ((1.0, "t1"), (0.4, "t2")):
        light, bottom = random.normal(size=(2, events, objects, _LENGTH)).astype(np.float32)
        # the product of three embeddings, as in the network; both tops are attracted by the same objects
        scores = np.einsum("nid,njd,nkd->nijk", light, light, bottom, optimize=True) / np.float32(2)
        scores = weight * scores + common
        common = 0.8 * scores
        scores = np.where(allowed, scores, -np.inf).astype(np.float32)
        largest = scores.max(axis=(1, 2, 3), keepdims=True)
        total = np.log(np.exp(scores - largest).sum(axis=(1, 2, 3), keepdims=True))
        found[name] = np.ascontiguousarray(scores - largest - total)
    return found


def measured_rates(
    logs: dict[str, Any],
    rounds: int,
    reference: Callable[[list[Any]], Any] | None = None,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
    """Events per second of CPU time of each round, of each method and of the reference."""
    event = top_pair()
    runs: dict[str, Callable[[], Any]] = (
        {} if reference is None else {REFERENCE: lambda: reference(list(logs.values()))}
    )
    for method in METHODS:
        runs[method] = lambda method=method: decode(logs, event, method, threads=1)  # type: ignore[misc]
    for run in runs.values():
        run()  # compiles
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = clock()
            run()
            rates[name].append(len(next(iter(logs.values()))) / max(clock() - start, 1e-9))
    return rates


def rows(rates: dict[str, list[float]]) -> list[str]:
    """Lines of the table."""
    lines = []
    base = np.array(rates.get(REFERENCE, rates["greedy"]))
    for name, values in rates.items():
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        ratio = np.median(np.array(values) / base)
        lines.append(f"{name:10s} {middle:>12,.0f} ± {(high - low) / 2:>8,.0f} {ratio:>8.2f}")
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Decoded events per second, one thread.")
    parser.add_argument("events", type=int, nargs="?", default=20_000, help="number of events, and four times as many")
    parser.add_argument("--objects", type=int, default=10, help="number of slots")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--reference", help="MODULE:FUNCTION of a list of arrays")
    options = parser.parse_args()
    reference = None
    if options.reference:
        import numba

        numba.set_num_threads(1)
        module, _, function = options.reference.partition(":")
        reference = getattr(importlib.import_module(module), function)
    for events in (options.events, 4 * options.events):
        logs = distributions(events, options.objects)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"{events:,} events, {options.objects} objects: events per second of CPU time, ratio to the first line")
        print("\n".join(rows(measured_rates(logs, options.rounds, reference))))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(f"peak memory beyond the distributions: {grown / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
