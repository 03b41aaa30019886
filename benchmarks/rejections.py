"""Rejections of backgrounds at fixed efficiencies of signals, with replicas of the test jets.

Replicas are Poisson weights (bootstrap) from the position of a jet in its sample alone: those of two networks are the
same, so that differences of networks on the same jets are known better than each of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from examples.architectures.inputs import Task
from examples.architectures.samples import NUMBERS, flat_weights
from jettagger.training import RaggedRows

__all__ = ["EFFICIENCIES", "REPLICAS", "discriminants", "measured_rejections", "rejections"]

#: of signals, by task
EFFICIENCIES: Mapping[str, tuple[float, ...]] = {"fat": (0.3, 0.5), "quark": (0.3, 0.5), "btag": (0.85, 0.7)}

REPLICAS = 50

#: share of charm jets in the background of b tagging, as in DL1 and DIPS
CHARM = 0.08

#: jets that pass, below which a rejection is a lower limit rather than a number
FEWEST = 5


def discriminants(scores: Any, task: Task) -> dict[tuple[str, str], Any]:
    """Signal and background -> number that separates them, float64[jets].

    Parameters
    ----------
    scores : float32[jets, classes]
    task : Task

    Returns
    -------
    dict of (str, str) to float64[jets]
    """
    p = np.asarray(scores, dtype=np.float64)
    if task.name == "btag":
        values = p[:, 2] / np.maximum(CHARM * p[:, 1] + (1 - CHARM) * p[:, 0], 1e-300)
        return {("beauty", "light"): values, ("beauty", "charm"): values}
    background = task.classes[0]
    return {
        (name, background): p[:, place] / np.maximum(p[:, place] + p[:, 0], 1e-300)
        for place, name in enumerate(task.classes)
        if place
    }


def rejections(values: Any, signal: Any, background: Any, weights: Any, efficiencies: tuple[float, ...]) -> Any:
    """Inverse efficiencies of a background at efficiencies of a signal, for each of several sets of weights.

    Parameters
    ----------
    values : float64[jets]
        Larger for signal.
    signal, background : bool[jets]
    weights : float64[sets, jets]
    efficiencies : tuple of float

    Returns
    -------
    float64[efficiencies, sets]
        A background of which nothing passes counts as half a jet.
    """
    made = np.empty((len(efficiencies), len(weights)))
    order = np.flatnonzero(signal)[np.argsort(-values[signal], kind="stable")]
    others = np.flatnonzero(background)[np.argsort(-values[background], kind="stable")]
    falling = values[others]
    for number, mine in enumerate(weights):
        passing, total = np.cumsum(mine[order]), np.cumsum(mine[others])
        for place, efficiency in enumerate(efficiencies):
            last = min(int(np.searchsorted(passing, efficiency * passing[-1])), len(order) - 1)
            # jets with the value of the last signal jet pass, too
            index = int(np.searchsorted(-falling, -values[order[last]], side="right"))
            found = total[index - 1] if index else 0.0
            half = 0.5 * total[-1] / max(len(others), 1)
            made[place, number] = total[-1] / max(found, half)
    return made


def measured_rejections(scores: Any, rows: RaggedRows, task: Task) -> dict[str, Any]:
    """Rejections in all ranges of pt: nominal, then the replicas.

    Parameters
    ----------
    scores : float32[jets, classes]
    rows : RaggedRows
        Test jets.
    task : Task

    Returns
    -------
    dict
        ``values``: "signal against background, range, efficiency" -> list of numbers; ``passing``: background jets
        that pass, by the same names; ``jets``: numbers by class.
    """
    label = rows.numbers[:, NUMBERS.index("label")].astype(int)
    pt = rows.numbers[:, NUMBERS.index("pt")]
    random = np.random.default_rng([zlib.crc32(task.name.encode()), len(rows)])
    nominal = flat_weights(rows, task).astype(np.float64)
    weights = np.concatenate([nominal[None], nominal * random.poisson(1.0, (REPLICAS, len(rows)))])
    made: dict[str, Any] = {"values": {}, "passing": {}}
    for (signal, background), values in discriminants(scores, task).items():
        for low, high in task.ranges:
            inside = (pt >= low) & (pt < high)
            masks = [inside & (label == task.classes.index(name)) for name in (signal, background)]
            if not all(mask.any() for mask in masks):
                continue
            found = rejections(values, *masks, weights, EFFICIENCIES[task.name])
            number = int(masks[1].sum())
            for efficiency, numbers in zip(EFFICIENCIES[task.name], found, strict=True):
                key = f"{signal} against {background}, {low:g}-{high:g} GeV, {efficiency:g}"
                made["values"][key] = [float(f"{one:.5g}") for one in numbers]
                made["passing"][key] = round(number / numbers[0], 1)
    made["jets"] = dict(zip(task.classes, np.bincount(label, minlength=len(task.classes)).tolist(), strict=True))
    return made
