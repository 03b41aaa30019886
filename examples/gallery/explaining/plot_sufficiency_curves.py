"""
How many constituents suffice
=============================

A discriminant from the leading constituents alone: in the order of their transverse momenta, and in the order of
their effects if they are left out.
"""

import numpy as np
from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

import jettagger as jt
from jettagger.explain import Scorer
from jettagger.explain.jets import jet_inputs
from jettagger.explain.methods import cumulative, occlude_constituents
from jettagger.testing import example_path

PFNanoAODSchema.warn_missing_crossrefs = False  # these files have fewer collections than those of CMS

tagger = jt.load_tagger("inclParTToyV1", threads=1)
scorer = Scorer(tagger, "log HbbvsQCD")
factory = NanoEventsFactory.from_root(
    {str(example_path("XHH-1000.root")): "Events"}, schemaclass=PFNanoAODSchema, mode="eager", entry_stop=12
)
found, outputs = {"largest effect": [], "leading in pt": []}, []
for jets in jet_inputs(tagger, tagger.request(factory.events(), where="pt > 300")):
    effects = occlude_constituents(scorer, jets)
    outputs.append(effects.outputs)
    order = -np.arange(effects.values.shape[1]) + 0 * effects.values  # constituents are stored by falling pt
    for name, ranking in {"largest effect": abs(effects.values), "leading in pt": order}.items():
        found[name].append(cumulative(scorer, jets, ranking, most=40).kept)

# %%
# Means over the jets, and the value with all constituents.
from jettagger import plots

numbers = np.array([0, 1, 2, 5, 10, 20, 30, 40])
curves = {}
for name, parts in found.items():
    kept = np.concatenate(parts)[:, numbers]
    curves[name] = (numbers, kept.mean(axis=0), kept.std(axis=0) / np.sqrt(len(kept)))
whole = {"largest effect": float(np.concatenate(outputs).mean())}
figure = plots.sufficiency_curves(curves, whole=whole, label="mean log HbbvsQCD", title="X → HH → 4b, toy network")
figure

# %%
# Next: :doc:`/explain`.
