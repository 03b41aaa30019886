"""Masses of the hadronic top and of H -> bb in ttH events: of the jets that a network assigns, and of the smallest
chi-square.

    jettagger simulate --process ttHbbsemilep-resolved --events 1000 -o tth.root
    python examples/assignment/masses.py tth.root -o masses

A trained network is a folder of ``jettagger assignment import``: ``--model FOLDER``. Without one, the script writes a
network that knows nothing but the masses and b tags of one particle at a time (``mass_network.py``).
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import hist
import numpy as np
from coffea import processor
from coffea.nanoevents import PFNanoAODSchema
from jettagger.processors import AssignmentProcessor, ChiSquareMethod
from mass_network import HADRONIC_TOP, HIGGS, LEPTONIC_TOP, write_mass_network

import jettagger as jt
from jettagger import plots
from jettagger.assignment import BTag, higgs_term, import_assigner, top_terms
from jettagger.histograms import save

EVENT = """\
INPUTS:
  SEQUENTIAL:
    Jets: {mass: log_normalize, pt: log_normalize, eta: normalize, sin_phi: none, cos_phi: none, btag: none}
  GLOBAL:
    Met: {met: log_normalize, sin_phi: none, cos_phi: none}
EVENT:
  lt: [b: Jets]
  ht: [b: Jets, q1: Jets, q2: Jets]
  h: [b1: Jets, b2: Jets]
PERMUTATIONS:
  ht: [[q1, q2]]
  h: [[b1, b2]]
REGRESSIONS:
  EVENT: [neutrino_px, neutrino_py]
CLASSIFICATIONS:
  EVENT: [signal]
"""

INPUTS = """\
version: 1
inputs:
  Jets:
    collection: Jet
    select: pt > 25 and abs(eta) < 2.5
    max_objects: 10
    features: {sin_phi: sin(phi), cos_phi: cos(phi)}
    tags:
      btag: {column: btagDeepFlavB > 0.2783, efficiencies: {5: 0.7, 4: 0.12, 0: 0.01}}
  Met:
    features: {met: MET.pt, sin_phi: sin(MET.phi), cos_phi: cos(MET.phi)}
"""

LABELS = {"ht": "hadronic top", "h": "H → bb", "network": "network", "chi-square": "smallest chi-square"}


def network_of_masses(folder: Path) -> Path:
    """A folder with a network that knows masses and b tags alone."""
    decays = {"lt": LEPTONIC_TOP, "ht": HADRONIC_TOP, "h": HIGGS}
    write_mass_network(folder / "masses.onnx", decays)
    for name, text in (("event.yaml", EVENT), ("inputs.yaml", INPUTS)):
        (folder / name).write_text(text, encoding="utf-8")
    import_assigner(
        folder / "masses.onnx",
        folder / "event.yaml",
        folder / "network",
        mapping=folder / "inputs.yaml",
        input_log=True,
        force=True,
    )
    return folder / "network"


def peak(histogram: hist.Hist, method: str) -> tuple[float, float, float]:
    """Number of events, median and half of the central 68 % of the masses inside the axis, in GeV."""
    row = histogram.project("method", "mass")[{"method": method}]
    values, edges = row.values(), row.axes[0].edges
    rising = np.concatenate([[0.0], np.cumsum(values)])
    low, middle, high = np.interp(np.array([0.1587, 0.5, 0.8413]) * rising[-1], rising, edges)
    return float(rising[-1]), float(middle), float(high - low) / 2


def main() -> None:
    """Fill, draw and save the masses, and print the peaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="ROOT files of events")
    parser.add_argument("--model", help="folder of jettagger assignment import, of a network with particles ht and h")
    parser.add_argument("-o", "--out", type=Path, default=Path("masses"), help="folder of the output")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    terms = (*top_terms("ht"), higgs_term("h"))
    instance = AssignmentProcessor(
        jt.load_assigner(args.model or network_of_masses(args.out)),
        particles=["ht", "h"],
        methods={"chi-square": ChiSquareMethod(terms, BTag({"ht": ("b",), "h": ("b1", "b2")}), tag="btag")},
    )
    runner = processor.Runner(processor.IterativeExecutor(), schema=PFNanoAODSchema, chunksize=2000)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=RuntimeWarning)  # coffea's, about cross-references
        result = runner({"ttH": args.files}, instance, treename="Events")
    print(result["reports"]["ttH"])
    print(f"\n{'particle':14}{'method':22}{'events':>9}{'median [GeV]':>14}{'half of 68 % [GeV]':>20}")
    for particle, histogram in result["histograms"].items():
        for method in histogram.axes["method"]:
            number, middle, width = peak(histogram, method)
            print(f"{LABELS[particle]:14}{LABELS[method]:22}{number:9.0f}{middle:14.1f}{width:20.1f}")
    save(result["histograms"], args.out / "histograms.json")
    figure = plots.assigned_masses(
        result["histograms"], labels=LABELS, true_masses={"ht": 172.5, "h": 125.0}, title="ttH, one lepton"
    )
    figure.savefig(args.out / "masses.png", dpi=80)


if __name__ == "__main__":
    main()
