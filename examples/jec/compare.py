"""The regression beside a standard correction of coffea's jetmet_tools, on simulated events with generator jets.

Usage: python examples/jec/compare.py EVENTS.root MODEL JEC.txt...

MODEL is the folder of a calibration, JEC.txt are text files of CMS (``<campaign>_L2Relative_AK4PFPuppi.jec.txt`` and
so on), or corrections made by others in this format. All estimates start from the raw momentum, pt (1 - rawFactor).
"""

from __future__ import annotations

import sys
from pathlib import Path

import awkward as ak
import numpy as np
from coffea.jetmet_tools import FactorizedJetCorrector
from coffea.lookup_tools import extractor
from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

import jettagger as jt
from jettagger import jec


def standard_pt(jets: ak.Array, rho: ak.Array, files: list[str]) -> ak.Array:
    """The momentum after corrections in text files, in their order."""
    lookups = extractor()
    lookups.add_weight_sets([f"* * {path}" for path in files])
    lookups.finalize()
    evaluator = lookups.make_evaluator()
    names = [Path(path).name.partition(".")[0] for path in files]
    corrector = FactorizedJetCorrector(**{name: evaluator[name] for name in names})
    raw = jets.pt * (1 - jets.rawFactor)
    inputs = {"JetPt": raw, "JetEta": jets.eta, "JetA": jets.area, "Rho": ak.broadcast_arrays(rho, raw)[0]}
    return raw * corrector.getCorrection(**{name: inputs[name] for name in corrector.signature})


def compare(events_file: str, model: str, files: list[str]) -> dict[str, tuple[float, float]]:
    """Median and relative width (interquartile range over median) of the response of each estimate."""
    events = NanoEventsFactory.from_root({events_file: "Events"}, schemaclass=PFNanoAODSchema).events()
    events = jt.load_tagger(model).attach(events, prefix="mine")
    jets = events.Jet
    estimates = {
        "raw": jets.pt * (1 - jets.rawFactor),
        "standard": standard_pt(jets, events.fixedGridRhoFastjetAll, files),
        "regression": jec.corrected(jets, "mine").pt,
    }
    matched = (jets.genJetIdx >= 0) & (jets.genJetIdx < ak.num(events.GenJet))
    true = events.GenJet[jets.genJetIdx[matched]].pt
    found = {}
    for name, pt in estimates.items():
        response = ak.flatten(pt[matched] / true)
        low, median, high = np.percentile(ak.to_numpy(ak.drop_none(response)), [25, 50, 75])
        found[name] = (float(median), float((high - low) / median))
    return found


def main(arguments: list[str]) -> None:
    """Compare, and print a table."""
    events_file, model, *files = arguments
    for name, (median, width) in compare(events_file, model, files).items():
        print(f"{name:12s} median {median:.3f}, width {width:.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
