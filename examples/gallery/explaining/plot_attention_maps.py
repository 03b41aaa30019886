"""
Attention of a Particle Transformer
===================================

Mean attention weights of the layers of the toy network: how much of each constituent (columns) goes into each other
one (rows). These are weights of a mean, not contributions to a score.
"""

from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

import jettagger as jt
from jettagger.explain.attention import attention_nodes, attention_weights
from jettagger.explain.jets import jet_inputs
from jettagger.testing import example_path

PFNanoAODSchema.warn_missing_crossrefs = False  # these files have fewer collections than those of CMS

tagger = jt.load_tagger("inclParTToyV1", threads=1)
print("\n".join(attention_nodes(tagger.bundle)))
factory = NanoEventsFactory.from_root(
    {str(example_path("XHH-1000.root")): "Events"}, schemaclass=PFNanoAODSchema, mode="eager", entry_stop=40
)
sums, number = {}, 0
for jets in jet_inputs(tagger, tagger.request(factory.events(), where="pt > 300")):
    full = jets.values["pf_mask"].sum(axis=(1, 2)) >= 25  # jets with that many candidates
    if not full.any():
        continue
    for node, weights in attention_weights(tagger.bundle, jets.values).items():
        if "class" not in node:  # attention among the constituents
            sums[node] = sums.get(node, 0) + weights[full].mean(axis=1)[:, :25, :25].sum(axis=0)
    number += full.sum()

# %%
# Of the first 25 constituents, mean over heads and jets.
from jettagger import plots

layers = {f"layer {place + 1}": total / number for place, total in enumerate(sums.values())}
figure = plots.attention_maps(layers, order="constituent, by falling $p_T$", title="X → HH → 4b, toy network")
figure

# %%
# Next: :doc:`/explain`.
