"""Histograms from a skim: score files once, then fill as often as you like without any network.

Usage: python examples/skim_histograms.py [FOLDER]

The skim is what ``jettagger tag`` writes; here it is made with the same function from Python.
"""

from __future__ import annotations

import sys
from pathlib import Path

import awkward as ak

import jettagger as jt
from jettagger.histograms import AxisSpec, HistSpec, pick, save
from jettagger.provenance import Provenance
from jettagger.testing import write_pfnano

CUT = 0.2


def main(folder: str = "skim-example") -> None:
    """Make a skim, fill the soft-drop mass of jets that pass and fail a cut on HbbvsQCD."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    sample = write_pfnano(out / "events.root", 150, seed=1)
    skim = out / "scores.parquet"
    jt.tag_files([str(sample)], "tinyParT", str(skim), where="pt > 250", columns=["prob"], force=True)

    events = ak.from_parquet(skim)
    hbb = jt.discriminant("HbbvsQCD")(events)  # None where a jet was not scored
    spec = HistSpec(
        "mass",
        [AxisSpec("mass", bins=(20, 0, 200), label="soft-drop mass", unit="GeV")],
        categories=["dataset", "region"],
    )
    histogram = spec.make()
    for region, chosen in (("pass", hbb > CUT), ("fail", hbb <= CUT)):
        masses = events.FatJet_msoftdrop[ak.fill_none(chosen, False)]
        spec.fill(
            histogram,
            {"mass": masses},
            events.genWeight,
            events=events.event,
            dataset="sample",
            region=region,
        )
    made = Provenance.of_file(skim).then("histograms", [skim])
    save({"mass": histogram}, out / "histograms.json", {"cut": f"HbbvsQCD > {CUT}"}, provenance=made)
    for region in ("pass", "fail"):
        print(f"{region}: {pick(histogram, region=region).sum(flow=True).value:g} jets")
    print(out / "histograms.json")


if __name__ == "__main__":
    main(*sys.argv[1:2])
