"""
The same colours in all pictures
================================

``jettagger.plots.process_styles`` gives each process a colour and a line style that all pictures of an analysis
share, and that can be told apart without colours. A label names the experiment, energy and luminosity.
"""

import numpy as np
from hist import Hist

from jettagger import plots
from jettagger.discriminants import roc

rng = np.random.default_rng(1)
styles = plots.process_styles(["multijets", "top quarks", "X → HH"])
label = plots.PlotLabel("ABC", "Preliminary", "13", 138.0)


def spectrum(values, weight):
    hist = Hist.new.Reg(20, 0, 200, name="mass", label="Jet mass [GeV]").Weight()
    return hist.fill(values, weight=weight)


multijets = spectrum(rng.exponential(60, 20_000), 0.5)
top = spectrum(rng.normal(172, 18, 4_000), 0.2)
signal = spectrum(rng.normal(125, 12, 4_000), 0.1)
figure = plots.spectrum(
    {"top quarks": top, "multijets": multijets},
    signals={"X → HH": signal},
    styles=styles,
    label=label,
    title="mock jets",
)
figure

# %%
# Another picture with fewer processes: colours and lines stay.
score = {"multijets": rng.normal(0, 1, 5000), "top quarks": rng.normal(0.8, 1, 5000), "X → HH": rng.normal(2, 1, 5000)}
curves = {name: roc(score["X → HH"], score[name]) for name in ("top quarks", "multijets")}
figure = plots.roc_curves(curves, signal="X → HH", styles=styles, label=label, title="mock scores")
figure

# %%
# Next: in the configuration of a search the key ``label`` sets the label of all pictures, see :doc:`/search/index`;
# ``jettagger.plots.save_figure`` writes png, pdf or svg.
