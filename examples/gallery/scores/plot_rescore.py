"""
Scores from hidden neurons
==========================

A skim that holds the hidden neurons of a network is enough for its scores at another temperature, or for other
frequencies of the classes, without running the network again.
"""

from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

import jettagger as jt
from jettagger.heads import Rescorer
from jettagger.testing import example_path

PFNanoAODSchema.warn_missing_crossrefs = False  # these files have fewer collections than those of CMS

factory = NanoEventsFactory.from_root(
    {str(example_path("XHH-1000.root")): "Events"}, schemaclass=PFNanoAODSchema, mode="eager"
)
tagger = jt.load_tagger("inclParTToyV1", threads=1)
events = tagger.attach(factory.events(), where="pt > 300")
rescorers = {
    "as trained": Rescorer(tagger.bundle),
    "temperature 2": Rescorer(tagger.bundle, temperature=2.0),
    "10 times more QCD": Rescorer(tagger.bundle, priors={"probQCD*": 10.0}),
}

# %%
# The scores of all three from the same neurons.
import awkward as ak
from hist import Hist

from jettagger import plots

histograms = {}
for name, rescorer in rescorers.items():
    scores = ak.drop_none(ak.flatten(rescorer(events).probHbb))
    print(f"{name}: mean probHbb {ak.mean(scores):.3f}")
    histograms[name] = Hist.new.Reg(20, 0, 1, name="score", label="probHbb").Weight().fill(scores)
figure = plots.shapes(histograms, title="X → HH → 4b, toy network", log=True)
figure

# %%
# Next: the same neurons train heads for new classes, see :doc:`/finetuning`.
