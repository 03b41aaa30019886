"""Histograms of probe jets with known factors, as the processor fills them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import hist
import numpy as np
from scipy.stats import norm

#: bins and bands
PT, SCORES, MASS = (300.0, 400.0, 500.0, 800.0), (0.0, 0.5, 0.9, 1.0), (50.0, 150.0)
#: jets of a category in all bins of pt together, fraction in each band, mean and width of the mass
CATEGORIES = {
    "signal": (12_000.0, (0.2, 0.3, 0.5), 82.0, 8.0),
    "partly_merged": (6_000.0, (0.6, 0.3, 0.1), 100.0, 30.0),
    "other": (20_000.0, (0.9, 0.08, 0.02), 0.0, 0.0),
}
#: fraction of the jets in each bin of pt
SPECTRUM = (0.6, 0.3, 0.1)
#: weight of a simulated jet; those of data have 1
WEIGHT = 0.1


def shape(mean: float, width: float, bins: int = 10) -> Any:
    """Fractions in bins of the mass, float64[bins]: a peak, or a falling spectrum without one."""
    edges = np.linspace(*MASS, bins + 1)
    made = np.diff(norm.cdf(edges, mean, width)) if width else -np.diff(np.exp(-edges / 60))
    return made / made.sum()


def fractions(category: str, factors: tuple[float, ...] = ()) -> Any:
    """Fractions in bands with factors on those above the lowest, whose sum is conserved; float64[3]."""
    made = np.array(CATEGORIES[category][1])
    if factors:
        made[1:] *= factors
        made[0] = 1 - made[1:].sum()
    return made


def empty(bins: int = 10) -> Any:
    """The histogram of the processor."""
    return hist.Hist(
        *(hist.axis.StrCategory([], growth=True, name=name) for name in ("dataset", "category", "variation")),
        hist.axis.Variable(PT, name="pt"),
        hist.axis.Variable(SCORES, name="score"),
        hist.axis.Regular(bins, *MASS, name="msoftdrop", label="soft-drop mass [GeV]"),
        storage=hist.storage.Weight(),
        name="probe",
    )


def expected(category: str, factors: tuple[float, ...] = (), scale: float = 1.0, bins: int = 10) -> Any:
    """Expected jets, float64[pt, band, mass]."""
    jets, _, mean, width = CATEGORIES[category]
    parts = np.multiply.outer(
        np.multiply.outer(SPECTRUM, fractions(category, factors)), shape(mean * scale, width * scale, bins)
    )
    return jets * parts


def put(histogram: Any, values: Any, variances: Any, **categories: str) -> None:
    """Add contents, float64[pt, band, mass]."""
    histogram.fill(**categories, pt=[-1.0], score=[0.5], msoftdrop=[100.0], weight=[0.0])
    part = histogram[categories].view()
    part["value"] += values
    part["variance"] += variances
    histogram[categories] = part


def probes(
    factors: Mapping[str, tuple[float, ...]] | None = None,
    *,
    seed: int | None = 3,
    scale: float = 1.0,
    data: bool = True,
    bins: int = 10,
) -> Any:
    """Simulation in the data set tt, and data with factors on the bands above the lowest in it."""
    histogram = empty(bins)
    for name in CATEGORIES:
        jets = expected(name, bins=bins)
        put(histogram, jets, jets * WEIGHT, dataset="tt", category=name, variation="nominal")
        for side, sign in (("Up", 1), ("Down", -1)):
            moved = expected(name, scale=1 + 0.02 * sign, bins=bins)
            put(histogram, moved, moved * WEIGHT, dataset="tt", category=name, variation=f"jms{side}")
    if data:
        parts = [expected(name, (factors or {}).get(name, ()), scale, bins) for name in CATEGORIES]
        total = np.sum(parts, axis=0)
        observed = total if seed is None else np.random.default_rng(seed).poisson(total).astype(np.float64)
        put(histogram, observed, observed, dataset="muon", category="data", variation="nominal")
    return histogram


CONFIG: dict[str, Any] = {
    "version": 1,
    "name": "top",
    "discriminant": "TopbqqvsQCD",
    "working_points": {"loose": 0.5, "tight": 0.9},
    "histograms": "probes.json.gz",
    "variable": "msoftdrop",
    "bins": {"pt": [300, 400, 500, 800]},
    "categories": {
        "signal": {"normalisation": 0.2},
        "partly_merged": {"factors": "fixed", "normalisation": 0.2},
        "other": {"factors": "fixed", "normalisation": "free"},
    },
    "normalisation_uncertainties": {"lumi": {"signal": 0.016, "partly_merged": 0.016}},
    "shapes": {"jms": {"size": 0.02}},
}


def emptied(histogram: Any, place: Any, **categories: str) -> Any:
    """The histogram without the jets at a place of [pt, band, mass], in all variations."""
    known = [
        name for name in histogram.axes["variation"] if histogram[{**categories, "variation": name}].sum().variance
    ]
    for variation in known:
        part = histogram[{**categories, "variation": variation}].view()
        for key in ("value", "variance"):
            part[key][place] = 0
        histogram[{**categories, "variation": variation}] = part
    return histogram
