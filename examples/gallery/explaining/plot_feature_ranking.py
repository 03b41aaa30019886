"""
Which variables a score depends on
==================================

A group of variables is replaced in all constituents by the values of other constituents; the mean absolute change of
a discriminant is its importance.
"""

import numpy as np
from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

import jettagger as jt
from jettagger.explain import Scorer, other_constituents
from jettagger.explain.feature_groups import feature_groups
from jettagger.explain.jets import jet_inputs
from jettagger.explain.methods import occlude_variables
from jettagger.testing import example_path

PFNanoAODSchema.warn_missing_crossrefs = False  # these files have fewer collections than those of CMS

tagger = jt.load_tagger("inclParTToyV1", threads=1)
groups = feature_groups(tagger.bundle)
print({name: len(variables) for name, variables in groups.items()})


def effects(sample):
    """Changes of the discriminant of some jets of a file, float64[jets, groups]."""
    factory = NanoEventsFactory.from_root(
        {str(example_path(f"{sample}.root")): "Events"}, schemaclass=PFNanoAODSchema, mode="eager", entry_stop=60
    )
    scorer = Scorer(tagger, "log HbbvsQCD")
    parts = list(jet_inputs(tagger, tagger.request(factory.events(), where="pt > 300")))
    baseline = other_constituents(parts, seed=1)
    return np.concatenate([occlude_variables(scorer, jets, groups, baseline).values for jets in parts])


# %%
# Means over the jets with their statistical uncertainties.
from jettagger import plots
from jettagger.discriminants import Measured

rankings = {}
for label, sample in {"X → HH → 4b": "XHH-1000", "multijets": "QCD"}.items():
    sizes = abs(effects(sample))
    rankings[label] = {
        name: Measured(values.mean(), values.std() / np.sqrt(len(values)))
        for name, values in zip(groups, sizes.T, strict=True)
    }
figure = plots.feature_ranking(rankings, label="mean |change of log HbbvsQCD|", title="toy network")
figure

# %%
# Next: ``jettagger explain`` does this and more for files, see :doc:`/explain`, which says what such numbers mean.
