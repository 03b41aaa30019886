"""
Maps of constituents and features
=================================

Gradient times input of a discriminant, for each constituent and each of its features. Gradients are those of the ONNX
file, executed in torch: this example needs the extra ``train``, and a site that is built without it shows this page
without its picture.
"""

import numpy as np
from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

import jettagger as jt
from jettagger.explain import Scorer
from jettagger.explain.jets import jet_inputs
from jettagger.explain.methods import gradient_input
from jettagger.testing import example_path

PFNanoAODSchema.warn_missing_crossrefs = False  # these files have fewer collections than those of CMS

tagger = jt.load_tagger("inclParTToyV1", threads=1)
scorer = Scorer(tagger, "log HbbvsQCD")


def contributions(sample, slots=20):
    """Mean over jets, float64[features, slots]."""
    factory = NanoEventsFactory.from_root(
        {str(example_path(f"{sample}.root")): "Events"}, schemaclass=PFNanoAODSchema, mode="eager", entry_stop=60
    )
    total, number = 0, 0
    for jets in jet_inputs(tagger, tagger.request(factory.events(), where="pt > 300")):
        values = gradient_input(scorer, jets).values["pf_features"][:, :, :slots]  # empty slots contribute 0
        total = total + np.pad(values.sum(axis=0), ((0, 0), (0, slots - values.shape[2])))
        number += len(values)
    return total / number


# %%
# The features in the order of the network, constituents by falling transverse momentum.
from jettagger import plots

(features,) = (group for group in tagger.bundle.groups if group.name == "pf_features")
maps = {"X → HH → 4b": contributions("XHH-1000"), "multijets": contributions("QCD")}
names = [variable.feature.name for variable in features.variables]
figure = plots.feature_maps(maps, names, label="mean contribution to log HbbvsQCD", title="toy network")
figure

# %%
# Next: :doc:`/explain`.
