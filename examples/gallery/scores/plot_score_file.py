"""
Scores of a file
================

The shortest way from a PFNano file to scores: open it with coffea, load a model by its name, attach its outputs to
the jets. They become columns of ``FatJet``, next to those of the experiment.
"""

from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

import jettagger as jt
from jettagger.testing import example_path

PFNanoAODSchema.warn_missing_crossrefs = False  # these files have fewer collections than those of CMS


def open_events(name):
    path = str(example_path(name))
    return NanoEventsFactory.from_root({path: "Events"}, schemaclass=PFNanoAODSchema, mode="eager").events()


tagger = jt.load_tagger("inclParTToyV1", threads=1)
signal = tagger.attach(open_events("XHH-1000.root"), where="pt > 300", columns=["prob", "mass"])
multijets = tagger.attach(open_events("QCD.root"), where="pt > 300", columns=["prob", "mass"])
print(signal.FatJet.inclParTToyV1_probHbb[:3].tolist())

# %%
# A score is a column like any other. Jets that were not scored are None, and do not enter a histogram.
import awkward as ak
from hist import Hist

from jettagger import plots


def masses(events):
    mass = ak.drop_none(ak.flatten(events.FatJet.inclParTToyV1_mass))
    return Hist.new.Reg(30, 0, 240, name="mass", label="Regressed mass [GeV]").Weight().fill(mass)


samples = {"X → HH → 4b": masses(signal), "multijets": masses(multijets)}
figure = plots.shapes(samples, title="inclParTToyV1, $p_T$ > 300 GeV")
figure

# %%
# Next: :doc:`discriminants </discriminants>` combine scores; :doc:`/models` lists the networks, :doc:`/own_model` is
# on yours, :doc:`/central_nanoaod` on files without candidates; the command line does the same with ``jettagger tag
# nano.root --model inclParTToyV1 -o scores.parquet``.
