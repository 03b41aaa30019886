"""
Jets as point clouds
====================

Constituents around the axis of a jet: their kinds, momenta and displacements, with the scores of a tagger. Coloured
by contributions they show what the score of this jet depends on.
"""

import awkward as ak
from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

import jettagger as jt
from jettagger import plots
from jettagger.explain import attribute
from jettagger.inputs.pfnano_tables import nano_table
from jettagger.testing import example_path

PFNanoAODSchema.warn_missing_crossrefs = False  # these files have fewer collections than those of CMS

path = str(example_path("XHH-1000.root"))
events = NanoEventsFactory.from_root(
    {path: "Events"}, schemaclass=PFNanoAODSchema, mode="eager", entry_start=150, entry_stop=151
).events()
tagger = jt.load_tagger("inclParTToyV1", threads=1)
jets = nano_table(events)[:2]  # one row for each jet, with the columns of JetClass-II
scored = ak.flatten(tagger(events))[:2]
names = [output.name for output in tagger.outputs if output.kind == "prob"]
scores = [{name: jet[name] for name in names} for jet in scored]
figure = plots.draw_jets(jets, scores, titles=["leading jet", "second jet"])
figure

# %%
# Coloured by what each constituent adds to a discriminant: its value minus that without the constituent.
# ``attribute`` adds a column to the links between jets and candidates, from which the rows of each jet are taken.
links = attribute(tagger, events, "log HbbvsQCD", method="occlusion", prefix="hbb").FatJetPFCands[0]
contributions = [ak.to_numpy(ak.fill_none(links.hbb_occlusion[links.jetIdx == jet], 0)) for jet in range(2)]
figure = plots.draw_jets(
    jets, titles=["leading jet", "second jet"], contributions=contributions, quantity="contribution to log HbbvsQCD"
)
figure

# %%
# Next: ``jettagger show jet`` draws jets of any file, see :doc:`/weaver` and :doc:`/delphes`; :doc:`/explain` on what
# contributions mean.
