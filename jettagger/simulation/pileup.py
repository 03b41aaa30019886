"""Pile-up: interactions from a pool of minimum-bias events, and PUPPI-like weights.

The weights follow D. Bertolini, P. Harris, M. Low, N. Tran, Pileup per particle identification, arXiv:1407.6013, in
outline: charged candidates are weighted by their vertex, neutral ones by the momentum from the primary vertex near
them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jettagger.display import Brief
from jettagger.simulation.cards import DetectorCard
from jettagger.simulation.detector import (
    OTHER_VERTEX,
    USED_IN_FIT,
    Candidates,
    Vertices,
    concatenate,
    delta,
    reconstruct,
)
from jettagger.simulation.generate import Generator, local_index, offsets_of
from jettagger.types import Floats, Ints

__all__ = ["MINIMUM_BIAS", "Pool", "add_pileup", "make_pool", "puppi_weights"]

MINIMUM_BIAS = ("SoftQCD:inelastic = on",)
GRID_ETA, GRID_PHI, REACH = 100, 63, 5.0


@dataclass(frozen=True)
class Pool(Brief):
    """Reconstructed minimum-bias events at z = 0: candidates, their numbers and the start of each event."""

    candidates: Candidates
    counts: Ints
    starts: Ints


def make_pool(card: DetectorCard, seed: int, rng: np.random.Generator, tables: Path | None = None) -> Pool:
    """Generate and reconstruct the pool of a block.

    Parameters
    ----------
    card : DetectorCard
    seed : int
        Seed of Pythia.
    rng : numpy.random.Generator
        Random numbers of the detector simulation.
    tables : pathlib.Path, optional
        Tables written by `tabulate_interactions` for the tune of the card and `MINIMUM_BIAS`.

    Returns
    -------
    Pool
    """
    generator = Generator([*MINIMUM_BIAS, *card["generator"]["tune_settings"]], seed, tables)
    truth = generator.next(int(card["pileup"]["pool"]))
    zero = np.zeros(truth.n_events)
    candidates = reconstruct(truth, Vertices(zero, zero, zero, zero, zero, zero), card, rng)
    counts = np.bincount(candidates.event, minlength=truth.n_events)
    return Pool(candidates, counts, offsets_of(counts)[:-1])


def add_pileup(
    candidates: Candidates, vertices: Vertices, pool: Pool, card: DetectorCard, rng: np.random.Generator
) -> tuple[Candidates, Ints, Ints, Floats]:
    """Overlay pool events, with random rotations, on the events of the hard interaction.

    Returns
    -------
    candidates : Candidates
        All candidates, sorted, with PUPPI-like weights.
    n_pileup : int64[n_events]
        Interactions added to each event.
    vertex_event : int64[n_vertices]
        Event of each reconstructed pile-up vertex.
    vertex_z : float64[n_vertices]
        Its z in cm.
    """
    n_events = len(vertices.x)
    number = rng.poisson(card["pileup"]["mean"], n_events)
    event = np.repeat(np.arange(n_events), number)
    chosen = rng.integers(0, len(pool.counts), len(event))
    spot = card["beam_spot"]
    z = spot["z"] + spot["sigma_z"] * rng.standard_normal(len(event))
    rotation = rng.uniform(-np.pi, np.pi, len(event))
    sizes = pool.counts[chosen]
    overlay = np.repeat(np.arange(len(event)), sizes)
    index = pool.starts[chosen][overlay] + local_index(overlay, len(event))
    part = pool.candidates.take(index)
    moved = np.where(part.charge != 0, (z - vertices.z[event])[overlay], 0.0)
    dz = part.dz + moved
    near = np.abs(dz) < card["pileup"]["association_dz"]
    part = replace(
        part,
        event=event[overlay],
        phi=delta(part.phi + rotation[overlay]),
        phi0=delta(part.phi0 + rotation[overlay]),
        dz=dz,
        association=np.where((part.charge != 0) & ~near, OTHER_VERTEX, USED_IN_FIT),
        origin=np.full(len(part.event), -1),
    )
    merged = concatenate([candidates, part])
    pileup = np.concatenate([np.zeros(len(candidates.event), bool), np.ones(len(part.event), bool)])
    order = np.lexsort((-merged.pt, merged.event))
    merged, pileup = merged.take(order), pileup[order]
    charged = merged.charge != 0
    other = charged & (merged.association == OTHER_VERTEX) & pileup
    weight = puppi_weights(merged, charged & ~other, other, n_events, card)
    tracks = np.bincount(overlay, weights=part.charge != 0, minlength=len(event))
    visible = tracks >= 3
    return merged.with_puppi(weight), number, event[visible], z[visible]


def _padded_rows(cone: float) -> int:
    """Rows in eta with the empty ones behind them: at most twice the grid, a number that transforms fast."""
    reach = math.ceil(cone / (2 * REACH / GRID_ETA)) + 1
    return min(math.ceil((GRID_ETA + reach) / 12) * 12, 2 * GRID_ETA)


def _kernel(cone: float, rows: int) -> Floats:
    """1 / distance squared within the cone, on the grid with padded rows and periodic in both directions."""
    step_eta, step_phi = 2 * REACH / GRID_ETA, 2 * np.pi / GRID_PHI
    eta = np.minimum(np.arange(rows), rows - np.arange(rows)) * step_eta
    phi = np.minimum(np.arange(GRID_PHI), GRID_PHI - np.arange(GRID_PHI)) * step_phi
    distance = np.hypot(eta[:, None], phi[None, :])
    nearest = 0.4 * min(step_eta, step_phi)
    return np.where(distance < cone, 1.0 / np.maximum(distance, nearest) ** 2, 0.0)


def _neighbourhood(candidates: Candidates, chosen: Floats, n_events: int, cone: float) -> Floats:
    """Sum of (pt / distance)^2 of selected candidates around each candidate, on a grid, including itself."""
    row = np.clip(((candidates.eta + REACH) / (2 * REACH) * GRID_ETA).astype(np.int64), 0, GRID_ETA - 1)
    column = np.clip(((candidates.phi + np.pi) / (2 * np.pi) * GRID_PHI).astype(np.int64), 0, GRID_PHI - 1)
    cell = (candidates.event * GRID_ETA + row) * GRID_PHI + column
    grid = np.bincount(cell, weights=candidates.pt**2 * chosen, minlength=n_events * GRID_ETA * GRID_PHI)
    # with as many empty rows as the cone needs, the two ends in eta do not meet
    shape = (_padded_rows(cone), GRID_PHI)
    transformed = np.fft.rfft2(_kernel(cone, shape[0]))
    result = np.empty((n_events, GRID_ETA, GRID_PHI))
    for event, image in enumerate(grid.reshape(n_events, GRID_ETA, GRID_PHI)):
        result[event] = np.fft.irfft2(np.fft.rfft2(image, s=shape) * transformed, s=shape)[:GRID_ETA]
    return np.maximum(result.ravel()[cell], 0.0)


def puppi_weights(candidates: Candidates, own: Floats, other: Floats, n_events: int, card: DetectorCard) -> Floats:
    """PUPPI-like weights between 0 and 1.

    Parameters
    ----------
    candidates : Candidates
        Sorted by event.
    own, other : bool[n]
        Charged candidates of the primary and of other vertices.
    n_events : int
    card : DetectorCard

    Returns
    -------
    float64[n]
        1 and 0 for charged candidates; for neutral ones the chi-square probability that their surroundings contain more
        than pile-up, 0 below the minimum weight of the card.
    """
    from scipy.special import erf

    cone = card["pileup"]["alpha_cone"]
    central = np.abs(candidates.eta) < card["acceptance"]["tracker_max_abs_eta"]
    neutral = candidates.charge == 0
    tracks = _neighbourhood(candidates, own.astype(float), n_events, cone)
    everything = _neighbourhood(candidates, np.ones(len(own)), n_events, cone)
    # what a candidate adds to its own cell is not its neighbourhood
    step = 0.4 * min(2 * REACH / GRID_ETA, 2 * np.pi / GRID_PHI)
    everything = np.maximum(everything - (candidates.pt / step) ** 2, 0.0)
    alpha = np.log(np.maximum(np.where(central, tracks, everything), 1e-6))
    weight = np.where(other, 0.0, 1.0)
    edges = offsets_of(np.bincount(candidates.event, minlength=n_events))
    for event in range(n_events):
        here = slice(edges[event], edges[event + 1])
        for region in (central[here], ~central[here]):
            target = neutral[here] & region
            reference = other[here] & region if np.any(other[here] & region) else target
            values = alpha[here][reference]
            values = values[values > math.log(2e-6)]
            if len(values) < 3:
                continue
            median = float(np.median(values))
            below = values[values <= median] - median
            spread = max(float(np.sqrt(np.mean(below**2))), 0.1)
            excess = np.maximum(alpha[here][target] - median, 0.0) / (spread * math.sqrt(2.0))
            weight[here.start + np.flatnonzero(target)] = erf(excess)
    return np.where(weight < card["pileup"]["neutral_cone_min_weight"], 0.0, weight)
