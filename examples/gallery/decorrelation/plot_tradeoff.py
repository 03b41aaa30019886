"""
Rejection against sculpting
===========================

Each point is a score at a signal efficiency of 50 %: how much background it rejects, and how much the spectrum of the
rest differs from that of all (one over the Jensen-Shannon divergence). Here a score is corrected for a part of its
dependence on the mass. That first gains rejection, as heavy background no longer passes for its mass alone; the last
steps towards a flat score cost some, as a decorrelation does in most cases.
"""

import numpy as np

from jettagger import plots
from jettagger.decorrelation import operating_point

rng = np.random.default_rng(3)
mass, signal_mass = 40 + rng.exponential(60, 60_000), rng.normal(125, 12, 20_000)
score, signal = rng.normal(mass / 60, 1), rng.normal(1.5 + signal_mass / 60, 1)

edges = np.linspace(40, 250, 22)
points = {
    f"{share:g}": operating_point(signal - share * signal_mass / 60, score - share * mass / 60, mass, edges=edges)
    for share in (0, 0.5, 0.8, 0.95, 1)
}
for share, point in points.items():
    print(f"{share} of the dependence removed: rejection {point.rejection}, divergence {point.divergence.value}")
figure = plots.tradeoff({"correction of the score": points}, variable="mass", title="mock jets")
figure

# %%
# Next: :doc:`/decorrelation` compares maps, adversaries and other methods in this way.
