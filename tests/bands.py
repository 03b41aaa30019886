"""Jets of three categories in bands of a score, as smooth templates of the mass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import hist
import numpy as np
from scipy.stats import norm

from jettagger.calibration import BandTemplates
from jettagger.statistics.bins import Template
from jettagger.types import Floats

LOW, HIGH = 50.0, 150.0
#: size of the shifts of scale and resolution
SCALE, RESOLUTION = 0.02, 0.1

#: jets in bands from the lowest
TWO = {"signal": (1000.0, 2000.0), "merged": (800.0, 500.0), "other": (4000.0, 400.0)}
THREE = {"signal": (600.0, 900.0, 1500.0), "merged": (700.0, 400.0, 200.0), "other": (4000.0, 300.0, 100.0)}
NAMES = {2: ("fail", "pass"), 3: ("fail", "loose", "tight")}


def peak(edges: Floats, mean: float, width: float) -> Floats:
    return np.asarray(np.diff(norm.cdf(edges, mean, width)))


def falling(edges: Floats, slope: float) -> Floats:
    return -np.diff(np.exp(-edges / slope))


def template(shape: Floats, jets: float, weight: float, shifts: Mapping[str, tuple[Floats, Floats]]) -> Template:
    """With simulated jets of one weight; shifts are relative to the same total."""
    scale = jets / shape.sum()
    moved = {name: (up * scale, down * scale) for name, (up, down) in shifts.items()}
    return Template(shape * scale, shape * scale * weight, moved)


def templates(
    yields: Mapping[str, Sequence[float]] = TWO,
    *,
    weight: float = 0.05,
    seed: int | None = None,
    shifts: bool = True,
    bins: int = 20,
) -> BandTemplates:
    """Templates with the expectation as data, or random ones."""
    bands = NAMES[len(next(iter(yields.values())))]
    edges = np.linspace(LOW, HIGH, bins + 1)
    axis = hist.axis.Variable(edges, name="msoftdrop", label="jet mass [GeV]")
    moved = {
        "mass_scale": (peak(edges, 82 * (1 + SCALE), 8 * (1 + SCALE)), peak(edges, 82 * (1 - SCALE), 8 * (1 - SCALE))),
        "mass_resolution": (peak(edges, 82, 8 * (1 + RESOLUTION)), peak(edges, 82, 8 * (1 - RESOLUTION))),
    }
    nominal = falling(edges, 60)
    steep, shallow = falling(edges, 54), falling(edges, 66)
    tilt = {"tilt": (shallow * nominal.sum() / shallow.sum(), 1.02 * steep * nominal.sum() / steep.sum())}
    shapes = {
        "signal": (peak(edges, 82, 8), moved),
        "merged": (peak(edges, 100, 30), {}),
        "other": (nominal, tilt),
    }
    categories = {
        name: {
            band: template(shapes[name][0], jets, weight, shapes[name][1] if shifts else {})
            for band, jets in zip(bands, numbers, strict=True)
            if jets > 0
        }
        for name, numbers in yields.items()
    }
    expected = {
        band: np.sum([0 * edges[1:], *(parts[band].values for parts in categories.values() if band in parts)], axis=0)
        for band in bands
    }
    if seed is not None:
        generator = np.random.default_rng(seed)
        expected = {band: generator.poisson(content).astype(np.float64) for band, content in expected.items()}
    return BandTemplates("pt 300 to 400", axis, bands, expected, categories)
