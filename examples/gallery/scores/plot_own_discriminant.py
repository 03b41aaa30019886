"""
A discriminant of your own
==========================

Text with names of scores becomes a discriminant with a parameter; a scan finds its value with the lowest background
efficiency for a mixture of backgrounds.
"""

import numpy as np

from jettagger.discriminants import Discriminant, scan

rng = np.random.default_rng(2)


def jets(*alphas):
    """Mock scores that add up to one."""
    return dict(zip(("probHbb", "probQCD", "probTop"), rng.dirichlet(alphas, 8000).T, strict=True))


signal, qcd, top = jets(4, 1, 1.5), jets(1, 4, 1), jets(1.5, 1, 3)
mine = Discriminant.from_string("probHbb / (probHbb + alpha * probQCD + probTop) where alpha = 1", name="mine")
found = scan(
    mine,
    signal,
    {"QCD": qcd, "top": top},
    mix={"QCD": 0.8, "top": 0.2},
    parameters={"alpha": [0.1, 0.3, 1, 3, 10]},
)
print(found.best)

# %%
# Shapes of the best discriminant.
from hist import Hist

from jettagger import plots

histograms = {
    name: Hist.new.Reg(25, 0, 1, name="x", label="mine").Weight().fill(found.best(sample))
    for name, sample in {"signal": signal, "QCD": qcd, "top": top}.items()
}
figure = plots.shapes(histograms, title="mock scores", log=True)
figure

# %%
# Next: :doc:`/discriminants` has presets, groups of scores, and files of discriminants that a search reads.
