"""
ROC curves
==========

``jettagger.tag_files`` writes the scores of files into a skim, here in parquet format. A discriminant of the skims
gives a ROC curve with its statistical uncertainty.
"""

import tempfile

import awkward as ak

import jettagger as jt
from jettagger import discriminants, plots
from jettagger.testing import example_path

folder = tempfile.mkdtemp()
skims = {}
for sample in ("XHH-1000", "QCD"):
    path = f"{folder}/{sample}.parquet"
    jt.tag_files([str(example_path(f"{sample}.root"))], "inclParTToyV1", path, where="pt > 300", columns=["prob"])
    skims[sample] = ak.from_parquet(path)
signal, qcd = skims["XHH-1000"], skims["QCD"]

# %%
# Two discriminants of the same scores. Multijets have weights, one an event.
weights = ak.broadcast_arrays(qcd.genWeight, qcd.FatJet_pt)[0]
curves = {}
for name in ("HbbvsQCD", "HccvsQCD"):
    value = jt.discriminant(name)
    curves[name] = discriminants.roc(value(signal), value(qcd), background_weights=weights)
    print(f"{name}: area {curves[name].auc}, rejection at 50 % signal {curves[name].rejection_at(0.5)}")
figure = plots.roc_curves(curves, signal="X → HH → 4b", background="multijets", title="toy network, $p_T$ > 300 GeV")
figure

# %%
# Next: :doc:`/discriminants` has all presets, scans of parameters, and how the uncertainties are made.
