"""The first scores: jets of X -> HH -> 4b in a file that comes with the package. Run it in a clone."""

import awkward as ak
from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

import jettagger as jt

PFNanoAODSchema.warn_missing_crossrefs = False  # the file has few collections
file = {"examples/data/XHH-1000.root": "Events"}
events = NanoEventsFactory.from_root(file, schemaclass=PFNanoAODSchema).events()

tagger = jt.load_tagger("inclParTToyV1")  # a name, or a folder with a network
events = tagger.attach(events, where=events.FatJet.pt > 450)  # only these are scored
jets = events.FatJet  # now with inclParTToyV1_probHbb, inclParTToyV1_mass, ...
hbb = jt.discriminant("HbbvsQCD")(jets)  # probHbb / (probHbb + all probQCD)

table = ak.zip({"pt": jets.pt, "mass": jets.inclParTToyV1_mass, "HbbvsQCD": hbb})
table[:6].show(limit_cols=100)  # pt and mass in GeV; None: not scored
