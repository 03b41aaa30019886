"""Inputs of random jets for measurements of networks and comparisons of sessions."""

from __future__ import annotations

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.inputs.batching import BATCH_SIZE, COST, Cost, make_batches, tabulate
from jettagger.inputs.random_jets import ToyJets, limited, object_counts
from jettagger.types import Array

__all__ = ["Inputs", "probe_jets", "proof_jets", "sized_jets", "usual_jets"]

Inputs = dict[str, Array]

#: number of jets that represent a sample, sufficient for a 99 % quantile
USUAL = 128

#: average fraction of filled slots
FILLED = 0.35


def _inputs(
    bundle: Bundle, counts: dict[str, Array], seed: int, cost: Cost | None = None, width: float = 0.25
) -> list[Inputs]:
    """Batches of random jets with given numbers of objects; without a cost one batch if all objects have a mask."""
    n_jets = len(next(iter(counts.values())))
    objects = object_counts(bundle.groups, counts, n_jets)
    tables = limited(tabulate(bundle.groups, ToyJets(objects, seed, width), bundle.card.nonfinite), counts)
    size = bundle.fixed_batch or (n_jets if cost is None else BATCH_SIZE)
    batches = make_batches(tables, batch_size=size, pad_mode=bundle.card.pad_mode, cost=cost)
    return [dict(batch.inputs) for batch in batches]


def probe_jets(bundle: Bundle, place: int) -> Inputs:
    """Jets of one length; lengths differ from probe to probe and from object to object.

    Parameters
    ----------
    bundle : Bundle
    place : {0, 1, 2}

    Returns
    -------
    dict of str to float32[jets, variables, length]
        Inputs of one run.
    """
    n_jets = bundle.fixed_batch or (2, 3, 5)[place]
    counts = {}
    for number, (name, (low, high)) in enumerate(bundle.limits.items()):
        length = min(max(low, 1) + (2, 7, 13)[place] + number * (3, 2, 4)[place], high)
        counts[name] = np.full(n_jets, length)
    return _inputs(bundle, counts or {"jet": np.ones(n_jets, dtype=np.int64)}, seed=place)[0]


def proof_jets(bundle: Bundle) -> list[Inputs]:
    """Random jets of all lengths, with up to 15, 40 and 100 % of the slots filled, short and long ones together.

    Parameters
    ----------
    bundle : Bundle

    Returns
    -------
    list of dict of str to float32[jets, variables, length]
        Inputs of the network, one entry per run.
    """
    n_jets = bundle.fixed_batch or 6
    rng = np.random.default_rng(2023)
    found: list[Inputs] = []
    for share in (0.15, 0.4, 1.0):
        counts = {}
        for name, (low, high) in bundle.limits.items():
            top = max(low, round(high * share), 1)
            counts[name] = rng.integers(0 if name == "sv" else 1, top + 1, n_jets)
            counts[name][0] = top
        found += _inputs(bundle, counts or {"jet": np.ones(n_jets, dtype=np.int64)}, seed=100)
    return found


def sized_jets(bundle: Bundle, objects: int, n_jets: int) -> list[Inputs]:
    """Random jets with a given number of objects of each kind, as far as the network takes so few or many.

    Parameters
    ----------
    bundle : Bundle
    objects : int
        May be 0.
    n_jets : int

    Returns
    -------
    list of dict of str to float32[jets, variables, length]
        Inputs of the network, one entry per run.
    """
    counts = {name: np.full(n_jets, min(objects, high)) for name, (_, high) in bundle.limits.items()}
    return _inputs(bundle, counts or {"jet": np.ones(n_jets, dtype=np.int64)}, seed=7)


def usual_jets(bundle: Bundle, n_jets: int = USUAL) -> list[Inputs]:
    """Random jets with numbers of objects typical of a sample: a third of the slots on average, with a long tail.

    Parameters
    ----------
    bundle : Bundle
    n_jets : int

    Returns
    -------
    list of dict of str to float32[jets, variables, length]
        Inputs of the network, one entry per run, each jet once.
    """
    rng = np.random.default_rng(45)
    width = 0.1 if bundle.card.jets == "AK4" else 0.25
    counts = {}
    for name, (low, high) in bundle.limits.items():
        drawn = rng.gamma(4, max(FILLED * high, 1) / 4, n_jets).astype(np.int64)
        counts[name] = np.clip(drawn, 0 if name == "sv" else max(low, 1), high)
    return _inputs(bundle, counts or {"jet": np.ones(n_jets, dtype=np.int64)}, seed=45, cost=COST, width=width)
