"""Central NanoAOD v15: discriminants from the scores that are in the file, without any network.

Usage: python examples/stored_scores.py NANO.root [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import awkward as ak
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

import jettagger as jt
from jettagger.histograms import AxisSpec, HistSpec, pick, save

PRESETS = ("HbbvsQCD", "HWW4qvsQCD", "TopvsQCD")


def main(path: str, folder: str = "stored-example") -> None:
    """Fill the discriminants of the fat jets above 200 GeV and save them."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    NanoAODSchema.warn_missing_crossrefs = False
    events = NanoEventsFactory.from_root({path: "Events"}, schemaclass=NanoAODSchema, mode="virtual").events()
    fatjets = events.FatJet
    chosen = fatjets.pt > 200

    histograms = {}
    for name in PRESETS:
        # several taggers may be stored: the prefix names the one that is meant
        values = jt.discriminant(name, prefix="globalParT3")(fatjets)[chosen]
        spec = HistSpec(name, [AxisSpec(name, bins=(25, 0, 1), label=f"GloParT 3 {name}")], categories=["dataset"])
        histograms[name] = spec.make()
        missing = spec.fill(histograms[name], {name: values}, events.genWeight, events=events.event, dataset="tt")
        number = int(ak.count(values))
        share = pick(histograms[name], dataset="tt")[{name: slice(20, None)}].sum().value
        share /= pick(histograms[name], dataset="tt").sum(flow=True).value
        print(f"{name}: {number} jets, {missing} without scores, {100 * share:.1f} % of the weight above 0.8")
    save(histograms, out / "histograms.json")
    print(out / "histograms.json")


if __name__ == "__main__":
    main(*sys.argv[1:3])
