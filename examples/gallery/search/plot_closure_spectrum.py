"""
Closure of a background from data
=================================

Multijets in a tagged region are predicted from jets that fail the tag, with a transfer factor that is fitted. In
validation regions the prediction is compared with data. Here both are toys, with a ratio that rises with the mass.
"""

import numpy as np

from jettagger.histograms import AxisSpec, HistSpec

rng = np.random.default_rng(11)
edges = np.linspace(60, 180, 13)
spec = HistSpec("mass", [AxisSpec("mass", edges=tuple(edges), label="jet mass", unit="GeV")])
histogram = spec.make()


def fill(dataset, region, masses, weight=1.0):
    spec.fill(histogram, {"mass": masses}, weight, dataset=dataset, region=region, variation="nominal")


def multijets(number, passing):
    mass = 60 + 120 * rng.random(3 * number) ** 1.5
    ratio = 0.05 * (1 + mass / 200)
    return mass[rng.random(len(mass)) < (ratio if passing else 1 - ratio)]


for passing, failing, number in (("SR", "CR", 20_000), ("VR", "VF", 10_000)):
    fill("data", passing, multijets(number, passing=True))
    fill("data", failing, multijets(number, passing=False))
    for region, expected in ((passing, 400), (failing, 600)):
        fill("data", region, rng.normal(172, 15, rng.poisson(expected)))
        fill("tt", region, rng.normal(172, 15, 20_000), expected / 20_000)
        fill("H", region, rng.normal(125, 10, 5000), 50 / 5000)

# %%
# The transfer factor is a polynomial of first order; the validation regions have one of their own.
from jettagger.statistics.building import build
from jettagger.statistics.closure import closure_workspace, fit_closure
from jettagger.statistics.specification import Signal, TemplateSpec
from jettagger.statistics.transfer import TransferFactor

templates = build(
    histogram,
    TemplateSpec(
        processes={"multijets": (), "tt": ["tt"]},
        signals={"H": Signal(["H"], 125.0, 0.1)},
        regions=["SR", "CR"],
        data=["data"],
        from_data={"multijets": TransferFactor("SR", "CR", order=[1], validation=("VR", "VF"))},
    ),
)
closure = fit_closure(closure_workspace(templates.closures["multijets"]), "multijets")
print(f"chi-square {closure.statistic:.1f} for {closure.degrees} degrees of freedom, p = {closure.probability:.2f}")

# %%
# Data and prediction in the validation region that passes the tag.
from jettagger import plots

figure = plots.closure_spectrum(closure, "VR", edges=edges, variable="Jet mass [GeV]")
figure

# %%
# Next: :doc:`/search_backgrounds`; ``jettagger fit`` draws the closure of a search.
