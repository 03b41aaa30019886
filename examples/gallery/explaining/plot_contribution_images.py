"""
Where in the jet contributions come from
========================================

What each constituent adds to a discriminant, as columns beside the constituents, summed in pixels around the axis
of the jet. Occlusion needs no torch: a constituent is left out, the network runs again, and the difference of the
discriminant with and without it is its effect.
"""

import awkward as ak
import numpy as np
from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

import jettagger as jt
from jettagger.explain import attribute
from jettagger.images import ImageSettings
from jettagger.testing import example_path

PFNanoAODSchema.warn_missing_crossrefs = False  # these files have fewer collections than those of CMS

settings = ImageSettings(size=16, range=0.8, channels=["all"])
tagger = jt.load_tagger("inclParTToyV1", threads=1)


def image(sample):
    factory = NanoEventsFactory.from_root(
        {str(example_path(f"{sample}.root")): "Events"}, schemaclass=PFNanoAODSchema, mode="eager", entry_stop=15
    )
    events = attribute(tagger, factory.events(), "log HbbvsQCD", method="occlusion", where="pt > 300", prefix="hbb")
    links = events.FatJetPFCands
    candidates, jets = events.PFCands[links.pFCandsIdx], events.FatJet[links.jetIdx]
    deta = ak.flatten(candidates.eta - jets.eta)
    dphi = ak.flatten((candidates.phi - jets.phi + np.pi) % (2 * np.pi) - np.pi)
    effect = ak.flatten(ak.fill_none(links.hbb_occlusion, 0))
    edges = np.linspace(-settings.range, settings.range, settings.size + 1)
    total, _, _ = np.histogram2d(dphi, deta, bins=(edges, edges), weights=effect)
    return total[None] / ak.count(events.FatJet.hbb)


# %%
# One row of panels for each channel, here one, of all constituents.
from jettagger import plots

images = {"X → HH → 4b": image("XHH-1000"), "multijets": image("QCD")}
figure = plots.contribution_images(images, settings, quantity="contribution to log HbbvsQCD", title="toy network")
figure

# %%
# Next: networks of images are explained in the same way: :doc:`/images`, :doc:`/explain`.
