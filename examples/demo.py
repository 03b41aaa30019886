"""A first look: make events, tag their fat jets, draw what came out.

Usage: python examples/demo.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import awkward as ak
import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
import numpy as np

import jettagger as jt
from jettagger.testing import write_pfnano


def main(folder: str = "demo-output") -> None:
    """Write a sample, its skim and a picture into the folder."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    sample = write_pfnano(out / "events.root", 500, seed=1)
    result = jt.tag_files([str(sample)], "tinyParT", str(out / "scores.parquet"), where="pt > 250", force=True)
    print(f"{result.events} events, {result.report.jets} fat jets, {result.report.scored} scored -> {result.path}")

    skim = ak.from_parquet(result.path)
    fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axis, output, label, bins in (
        (axes[0], "probHbb", "probHbb", np.linspace(0, 0.1, 41)),
        (axes[1], "mass", "regressed mass [GeV]", np.linspace(95, 105, 41)),
    ):
        values = ak.to_numpy(ak.drop_none(ak.flatten(skim[f"FatJet_tinyParT_{output}"])))
        axis.hist(values, bins=bins, histtype="step", color="black")
        axis.set_xlabel(label)
        axis.set_ylabel("fat jets")
    fig.suptitle("random weights: the numbers mean nothing")
    fig.savefig(out / "scores.png", dpi=150)
    print(f"picture: {out / 'scores.png'}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
