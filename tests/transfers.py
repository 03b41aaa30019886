"""Searches with a background from data: events with a known transfer factor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import hist
import numpy as np

from jettagger.statistics.building import build
from jettagger.statistics.specification import Signal, TemplateSpec
from jettagger.statistics.templates import Templates
from jettagger.statistics.transfer import TransferFactor, bernstein
from jettagger.types import Floats

PT, MASS = np.array([400.0, 500, 600, 800]), np.linspace(60, 180, 13)
#: coefficients in pt and mass
TRUE = 0.08 * np.array([[0.8, 1.1, 1.2], [1.0, 1.4, 1.5]])


def scaled(edges: Floats) -> Floats:
    centres = (edges[1:] + edges[:-1]) / 2
    return np.asarray((centres - edges[0]) / (edges[-1] - edges[0]))


def transfer_factor() -> Floats:
    """In bins of pt and mass."""
    return np.asarray(bernstein(1, scaled(PT)).T @ TRUE @ bernstein(2, scaled(MASS)))


def spectra(multijet: float = 6e4, signal: float = 100.0) -> dict[tuple[str, str], Floats]:
    """Expected events of (region, process) in bins of pt and mass; CR fails, and B and D have half of the events."""
    pt, mass = scaled(PT)[:, None], scaled(MASS)[None, :]
    failing = np.exp(-2.5 * pt - 1.5 * mass)
    failing *= multijet / failing.sum()
    peak = np.exp(-0.5 * ((MASS[1:] + MASS[:-1]) / 2 - 125) ** 2 / 10**2)[None, :] * np.exp(-1.5 * pt)
    tt = np.exp(-2 * pt) * np.exp(-0.5 * ((MASS[1:] + MASS[:-1]) / 2 - 172) ** 2 / 18**2)[None, :]
    found = {}
    for passing, below, share in (("SR", "CR", 1.0), ("B", "D", 0.5)):
        found[below, "multijet"] = failing * share
        found[passing, "multijet"] = failing * share * transfer_factor()
        # a few events in each bin
        found[passing, "tt"], found[below, "tt"] = (0.3 + number * tt / tt.sum() * share for number in (500, 900))
        in_signal = signal if passing == "SR" else 0.02 * signal
        found[passing, "signal"], found[below, "signal"] = (
            in_signal * peak / peak.sum(),
            0.2 * signal * share * peak / peak.sum(),
        )
    return found


def histogram(
    expected: Mapping[tuple[str, str], Floats], *, strength: float = 0.0, seed: int | None = None, flat: bool = False
) -> Any:
    """Simulation, of 50 events per expected one, and data; with a seed, data fluctuate."""
    made = hist.Hist.new.StrCat([], growth=True, name="dataset").StrCat([], growth=True, name="region")
    made = made.StrCat([], growth=True, name="variation")
    counts = (made if flat else made.Var(PT, name="pt")).Var(MASS, name="mass", label="jet mass [GeV]").Weight()
    generator = np.random.default_rng(seed)

    def fill(contents: Floats, variances: Floats, dataset: str, region: str, variation: str) -> None:
        part = contents.sum(axis=0) if flat else contents
        spread = variances.sum(axis=0) if flat else variances
        centres = [(edges[1:] + edges[:-1]) / 2 for edges in (PT, MASS)]
        mesh = [axis.ravel() for axis in np.meshgrid(*centres[-part.ndim :], indexing="ij")]
        place = {"dataset": dataset, "region": region, "variation": variation}
        counts.fill(**place, **dict(zip(("pt", "mass")[-part.ndim :], mesh, strict=True)), weight=0.0)
        view = counts[place].view()
        view["value"], view["variance"] = part, spread
        counts[place] = view

    for region in dict.fromkeys(region for region, _ in expected):
        total = sum(v * (strength if p == "signal" else 1.0) for (r, p), v in expected.items() if r == region)
        for process in ("multijet", "tt", "signal"):
            values = expected[region, process]
            fill(values, values / 50, process, region, "nominal")
            if process == "tt":
                fill(values * 1.1, values / 50, process, region, "topUp")
                fill(values * 0.9, values / 50, process, region, "topDown")
        observed = np.asarray(total if seed is None else generator.poisson(total), dtype=float)
        fill(observed, observed, "data", region, "nominal")
    return counts


def searched(
    factor: TransferFactor | None = None,
    *,
    strength: float = 0.0,
    seed: int | None = None,
    flat: bool = False,
    **changes: Any,
) -> Templates:
    content: dict[str, Any] = {
        "processes": {"multijet": (), "tt": ["tt"]},
        "signals": {"H": Signal(["signal"], 125, 0.1)},
        "regions": ["SR", "CR"],
        "data": ["data"],
        "normalisations": {"lumi": {"tt": 0.016, "H": 0.016}},
        "from_data": {"multijet": factor or TransferFactor("SR", "CR", order=[2] if flat else [1, 2])},
    }
    signal = {k: changes.pop(k) for k in ("multijet", "signal") if k in changes}
    made = histogram(spectra(**signal), strength=strength, seed=seed, flat=flat)
    return build(made, TemplateSpec(**{**content, **changes}))
