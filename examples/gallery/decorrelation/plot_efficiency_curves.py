"""
Efficiency against the mass
===========================

How flat a cut is: efficiencies of background and signal against mass and pt, for one threshold and for a map that
turns a score into its quantile among background jets of the same mass and pt.
"""

import numpy as np

from jettagger.decorrelation import efficiency_profile, fit_map

rng = np.random.default_rng(2)


def jets(masses, mean):
    pt = 300 + rng.exponential(100, len(masses))
    return {"msoftdrop": masses, "pt": pt, "score": rng.normal(mean + masses / 80, 1)}


for_the_map, background = (jets(40 + rng.exponential(60, 60_000), 0) for _ in range(2))
signal = jets(rng.normal(125, 12, 20_000), 1.5)
quantile = fit_map("quantiles", "score", for_the_map, axes={"mass": [40, 60, 80, 100, 130, 200, 400], "pt": 3})

# %%
# Each cut keeps half of the signal.
from jettagger import plots
from jettagger.decorrelation import cut_at

scores = {
    "score": (signal["score"], background["score"]),
    "quantile map": (quantile(signal), quantile(background)),
}
variables = {
    "Soft-drop mass [GeV]": ("msoftdrop", [40, 55, 70, 85, 100, 115, 130, 150, 200]),
    "$p_T$ [GeV]": ("pt", [300, 350, 400, 500, 700]),
}
samples = {"background": {}, "signal": {}}
for label, (name, edges) in variables.items():
    for place, (sample, columns) in enumerate({"signal": signal, "background": background}.items()):
        samples[sample][label] = {
            method: efficiency_profile(columns[name], both[place] > cut_at(both[0], 0.5), edges=edges)
            for method, both in scores.items()
        }
for method, profile in samples["background"]["Soft-drop mass [GeV]"].items():
    print(f"{method}: probability that the background efficiency is flat in mass: {profile.probability:.2g}")
figure = plots.efficiency_curves(samples, title="cuts at 50 % signal efficiency, mock jets")
figure

# %%
# Next: :doc:`/decorrelation`.
