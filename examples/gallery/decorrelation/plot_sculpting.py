"""
A map of thresholds that does not sculpt the mass
=================================================

A score that depends on the mass shapes the spectrum of the background that passes a cut. A map of thresholds in mass
and pt (DDT) has the same background efficiency everywhere. It is stored as correctionlib JSON.
"""

import tempfile

import numpy as np

from jettagger.decorrelation import fit_map, load_map

rng = np.random.default_rng(1)
number = 60_000
background = {"msoftdrop": 40 + rng.exponential(60, number), "pt": 300 + rng.exponential(100, number)}
background["score"] = 1 / (1 + np.exp(-rng.normal(background["msoftdrop"] / 50 - 3, 1)))  # rises with the mass

# one half for the map, the other one for the picture
first, second = ({name: values[half::2] for name, values in background.items()} for half in (0, 1))
path = f"{tempfile.mkdtemp()}/ddt.json"
fit_map(
    "thresholds", "score", first, axes={"mass": [40, 60, 80, 100, 130, 200, 400], "pt": 3}, efficiencies={"5 %": 0.05}
).save(path)
ddt = load_map(path)

# %%
# One threshold for all masses has the same efficiency, and another spectrum.
from hist import Hist

from jettagger import plots

threshold = np.quantile(first["score"], 0.95)
cuts = {
    "no cut": np.ones(number // 2, dtype=bool),
    "one threshold, 5 %": second["score"] > threshold,
    "map of thresholds, 5 %": ddt.passes(second, "5 %"),
}
spectra = {
    name: Hist.new.Reg(16, 40, 200, name="mass", label="Soft-drop mass [GeV]").Weight().fill(second["msoftdrop"][mask])
    for name, mask in cuts.items()
}
figure = plots.sculpting(spectra.pop("no cut"), spectra, title="mock background")
figure

# %%
# Next: :doc:`/decorrelation` on all kinds of maps, and what they cost.
