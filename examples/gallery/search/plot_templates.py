"""
Templates from a histogram
==========================

A search fills one histogram with the categories ``dataset``, ``region`` and ``variation``.
``jettagger.statistics.building.build`` makes templates of it: a card for combine, and a workspace for pyhf and
cabinetry. Here the histogram is filled with toy data; :ref:`sphx_glr_gallery_search_plot_search.py` fills it from
files.
"""

import tempfile

import numpy as np

from jettagger.histograms import AxisSpec, HistSpec, pick

rng = np.random.default_rng(26)
spec = HistSpec("mjj", [AxisSpec("mjj", edges=(800, 1000, 1200, 1500, 1900, 2500), label="dijet mass", unit="GeV")])
histogram = spec.make()

# events expected in the signal region (SR) and in the control region (CR)
YIELDS = {"QCD": (400, 4000), "tt": (220, 300), "X1000": (40, 8), "X1400": (30, 6), "X1800": (20, 4)}


def masses(name, number):
    if name.startswith("X"):
        return rng.normal(float(name[1:]), 0.08 * float(name[1:]), number)
    return 800 + rng.exponential(350 if name == "QCD" else 280, number)


for name, yields in YIELDS.items():
    for region, expected in zip(("SR", "CR"), yields, strict=True):
        simulated = masses(name, 4000)
        for variation, scale in (("nominal", 1), ("jesUp", 1.02), ("jesDown", 0.98)):
            spec.fill(
                histogram,
                {"mjj": simulated * scale},
                expected / 4000,
                dataset=name,
                region=region,
                variation=variation,
            )

# toy data: fluctuations of the backgrounds, and a signal of 0.8 times the assumed cross section
for number, region in enumerate(("SR", "CR")):
    counts = {
        name: rng.poisson(YIELDS[name][number] * (0.8 if name == "X1400" else 1)) for name in ("QCD", "tt", "X1400")
    }
    for name, count in counts.items():
        spec.fill(histogram, {"mjj": masses(name, count)}, 1.0, dataset="data", region=region, variation="nominal")

# %%
# What is what: backgrounds, signals with their mass and cross section in pb, uncertainties.
from jettagger.statistics.building import build
from jettagger.statistics.specification import Signal, TemplateSpec

signals = {name: Signal([name], mass=float(name[1:]), cross_section=0.01) for name in YIELDS if name.startswith("X")}
templates = build(
    histogram,
    TemplateSpec(
        processes={"QCD": ["QCD"], "tt": ["tt"]},
        signals=signals,
        data=["data"],
        normalisations={"lumi": dict.fromkeys(("tt", *signals), 0.016), "xsec_tt": {"tt": 0.06}},
        free=["QCD"],
    ),
)
print(templates)
folder = tempfile.mkdtemp()
for path in sorted(templates.save(folder)):
    print(path.name)

# %%
# The same style for each process in all pictures of an analysis.
from jettagger import plots

styles = plots.process_styles(["QCD", "tt", *signals])


def in_signal_region(name):
    return pick(histogram, dataset=name, region="SR", variation="nominal")


figure = plots.spectrum(
    {name: in_signal_region(name) for name in ("tt", "QCD")},
    data=in_signal_region("data"),
    signals={name: in_signal_region(name) for name in signals},
    styles=styles,
    title="toy data, signal region",
)
figure

# %%
# Next: :doc:`/search/index` on the keys ``templates`` of a configuration, :doc:`/search_backgrounds` on backgrounds
# from data.
