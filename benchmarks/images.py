"""Jet images per second, and what rotation and pixels do to the mass.

Run: python -m benchmarks.images [FILE ...] [--jets 20000] [--rounds 7]

Random jets of 45 constituents on average, in the three prongs of a shower that falls with the distance; one thread, CPU
times, median and half the range of the middle half of the rounds. Sparse images are made in one call; dense ones also
hold the time of all batches of 512 jets. Of files (flat files,
PFNano, simulated events) the change of the mass is printed: the mass of massless constituents after each rotation, and
that of the pixels, divided by the mass before; mean and standard deviation over the jets.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jettagger.images import ImageSettings, make_images, table_columns, table_images
from jettagger.images.steps import JetSegments, canonical_positions
from jettagger.skims.flat_jets import FlatJets
from jettagger.types import Floats, Ints

__all__ = ["CASES", "mass_ratios", "measured_rates", "random_jets"]

BATCH = 512

STEPS = {"centre": "centroid", "rotate": "principal", "flip": "both"}
SUBJETS = {"centre": "leading", "rotate": "second", "flip": "eta"}
SIX = ["all", "charged", "neutral", "photons", "electrons", "muons"]

#: what is measured -> settings
CASES: dict[str, dict[str, Any]] = {
    "40 x 40, no steps": {},
    "40 x 40, all steps": {"steps": STEPS, "zoom": 500.0, "normalise": "image"},
    "40 x 40, subjets": {"steps": SUBJETS},
    "16 x 16, all steps": {"size": 16, "steps": STEPS, "normalise": "image"},
    "64 x 64, all steps": {"size": 64, "steps": STEPS, "normalise": "image"},
    "six channels, all steps": {"steps": STEPS, "channels": SIX, "normalise": "image"},
    "cells, all steps": {"steps": STEPS, "granularity": "cells", "normalise": "image"},
}


def random_jets(n_jets: int, seed: int = 1) -> tuple[dict[str, Any], Ints, dict[str, Any]]:
    """Flat columns of jets of three prongs, offsets, and columns of the jets, in single precision as in files."""
    random = np.random.default_rng(seed)
    counts = random.poisson(45, n_jets)
    number = int(counts.sum())
    owner = np.repeat(np.arange(n_jets), counts)
    prong = random.integers(0, 3, number)
    axes = random.normal(0, 0.25, (2, n_jets, 3))
    around = random.exponential(0.08, number)
    angle = random.uniform(-np.pi, np.pi, number)
    columns: dict[str, Any] = {
        "pt": random.exponential(1.0, number) ** 2 * 8 / (1 + 20 * around),
        "deta": axes[0][owner, prong] + around * np.cos(angle),
        "dphi": axes[1][owner, prong] + around * np.sin(angle),
    }
    jets = {
        "pt": np.bincount(owner, weights=columns["pt"], minlength=n_jets) + 1,
        "eta": random.uniform(-2, 2, n_jets),
        "phi": random.uniform(-np.pi, np.pi, n_jets),
    }
    columns["energy"] = columns["pt"] * np.cosh(jets["eta"][owner] + columns["deta"])
    kind = random.choice(5, number, p=[0.6, 0.1, 0.28, 0.01, 0.01])
    for index, name in enumerate(("ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon")):
        columns[f"is{name}"] = kind == index
    columns = {name: values.astype(np.float32) if values.dtype != bool else values for name, values in columns.items()}
    return columns, np.concatenate([[0], np.cumsum(counts)]), jets


def measured_rates(
    n_jets: int, rounds: int, clock: Callable[[], float] = time.process_time
) -> dict[str, tuple[list[float], list[float]]]:
    """Jets per second of CPU, sparse and dense, in each round."""
    columns, offsets, jets = random_jets(n_jets)
    rates: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in CASES}
    for _ in range(rounds):
        for name, keys in CASES.items():
            settings = ImageSettings.model_validate(keys)
            start = clock()
            images = make_images(settings, columns, offsets, jets)
            sparse = clock() - start
            for first in range(0, n_jets, BATCH):
                images.dense(slice(first, first + BATCH))
            whole = clock() - start
            rates[name][0].append(n_jets / sparse)
            rates[name][1].append(n_jets / whole)
    return rates


def _mass(pt: Floats, eta: Floats, phi: Floats, jets: JetSegments) -> Floats:
    """Mass of massless constituents in GeV."""
    px, py, pz = (jets.sum(pt * part) for part in (np.cos(phi), np.sin(phi), np.sinh(eta)))
    energy = jets.sum(pt * np.cosh(eta))
    return np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0.0))


def mass_ratios(path: str, steps: dict[str, Any], size: int | None = None) -> Floats:
    """Mass after the steps, of the constituents or of pixels, divided by the mass of the constituents before."""
    settings = ImageSettings.model_validate({"steps": steps, "size": size or 1, "range": 1.2})
    found = []
    for chunk in FlatJets(path).chunks([*table_columns(settings)]):
        import awkward as ak

        jets = chunk.jets[ak.num(chunk.jets.part_px) > 1]
        counts = ak.to_numpy(ak.num(jets.part_px))
        segments = JetSegments(np.cumsum(counts) - counts, counts)
        px, py, eta, phi = (
            ak.to_numpy(ak.flatten(jets[f"part_{name}"])).astype(np.float64) for name in ("px", "py", "deta", "dphi")
        )
        pt = np.hypot(px, py)
        before = _mass(pt, eta, phi, segments)
        if size is None:
            after = _mass(pt, *canonical_positions(settings.steps, pt, eta, phi, segments)[:2], segments)
        else:
            images = table_images(settings, jets)
            n_columns = images.shape[2]
            row, column = np.divmod(images.pixels, n_columns)
            width = 2.4 / size
            pixels = JetSegments(images.offsets[:-1], images.counts)
            position = (-1.2 + (place + 0.5) * width for place in (column, row))
            after = _mass(images.values.astype(np.float64), *position, pixels)
        found.append((after / before)[before > 1])
    return np.concatenate(found)


def _row(name: str, values: Sequence[float]) -> str:
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{name:<28} {middle:>10.0f} ± {(high - low) / 2:.0f}"


def main() -> None:
    """Print the rates, and the changes of the mass of files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE", help="files with jets, for the change of the mass")
    parser.add_argument("--jets", type=int, default=20_000, help="random jets (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds (default: %(default)s)")
    args = parser.parse_args()
    print(f"{args.jets} jets of about 45 constituents, jets per second of CPU")
    for name, (sparse, dense) in measured_rates(args.jets, args.rounds).items():
        print(_row(name, sparse), "sparse", _row("", dense).strip(), "dense")
    for path in args.files:
        print(f"{path}: mass after / before")
        for name, steps in (("principal axis", STEPS), ("second subjet", SUBJETS)):
            for size in (None, 64, 32, 16):
                ratio = mass_ratios(path, steps, size)
                label = "constituents" if size is None else f"pixels of {2.4 / size:.3f}"
                print(f"  {name}, {label:<18} {ratio.mean():.4f} ± {ratio.std():.4f} ({len(ratio)} jets)")


if __name__ == "__main__":
    main()
