"""
A coffea processor
==================

A tagger is a value, which a processor keeps; pickled, it is a path and a checksum. The same processor runs with any
executor.
"""

import awkward as ak
from coffea import processor
from coffea.nanoevents import PFNanoAODSchema
from hist import Hist

import jettagger as jt
from jettagger.testing import example_path

PFNanoAODSchema.warn_missing_crossrefs = False  # these files have fewer collections than those of CMS


class SoftDropMass(processor.ProcessorABC):
    """Soft-drop mass of jets that pass a cut on a discriminant, weighted as generated."""

    def __init__(self):
        self.tagger = jt.load_tagger("inclParTToyV1", threads=1)
        self.hbb = jt.discriminant("HbbvsQCD")

    def process(self, events):
        events = self.tagger.attach(events, where="pt > 300", columns=["prob"])
        jets = events.FatJet[ak.fill_none(self.hbb(events.FatJet) > 0.1, False)]
        weights = ak.broadcast_arrays(events.genWeight, jets.pt)[0]
        hist = Hist.new.Reg(20, 40, 200, name="mass", label="Soft-drop mass [GeV]").Weight()
        hist.fill(ak.flatten(jets.msoftdrop), weight=ak.flatten(weights))
        return {events.metadata["dataset"]: hist}

    def postprocess(self, accumulator):
        return accumulator


runner = processor.Runner(processor.IterativeExecutor(status=False), schema=PFNanoAODSchema)
files = {name: [str(example_path(f"{name}.root"))] for name in ("QCD", "tt", "XHH-1000")}
output = runner(files, SoftDropMass(), treename="Events")

# %%
# Each file has its own sum of weights. Here each background has the same area; a search has cross sections, see
# :doc:`/search/index`.
from jettagger import plots

scaled = {name: hist / hist.sum().value for name, hist in output.items()}
figure = plots.spectrum(
    {"multijets": scaled["QCD"], "top quarks": scaled["tt"]},
    signals={"X → HH → 4b": scaled["XHH-1000"]},
    title="HbbvsQCD > 0.1",
    log=False,
    counted="Jets",
)
figure

# %%
# Next: ready-made processors are in ``jettagger.processors``; dask and batch systems are in :doc:`/jobs`, their speed
# in :doc:`/scaling`.
