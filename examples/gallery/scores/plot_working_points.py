"""
Working points
==============

Thresholds of a discriminant for wanted background efficiencies, in bins of the transverse momentum. They are stored
as correctionlib JSON, with an uncertainty from the size of the sample.
"""

import tempfile

import numpy as np

from jettagger.discriminants import Discriminant, WorkingPoints, derive

rng = np.random.default_rng(1)


def jets(number, mean):
    """Mock jets whose score rises with pt."""
    pt = 300 + rng.exponential(120, number)
    return {"pt": pt, "score": 1 / (1 + np.exp(-rng.normal(mean + pt / 400, 1, number)))}


background, signal = jets(60_000, -2), jets(20_000, 1)
made = derive(
    Discriminant.from_string("score"), background, {"loose": 0.1, "tight": 0.01}, pt=[300, 350, 400, 500, 700, np.inf]
)
path = f"{tempfile.mkdtemp()}/score_wp.json"
made.save(path)
points = WorkingPoints.load(path)
print(points.table())

# %%
# In the bins of the thresholds the background efficiency is the wanted one; that of the signal depends on pt.
from jettagger import plots
from jettagger.decorrelation import efficiency_profile

edges = [300, 350, 400, 500, 700, 1000]
samples = {
    name: {
        "$p_T$ [GeV]": {
            point: efficiency_profile(sample["pt"], points[point].passes(sample), edges=edges) for point in points
        }
    }
    for name, sample in {"background": background, "signal": signal}.items()
}
figure = plots.efficiency_curves(samples, title="working points of a mock score")
figure

# %%
# Next: :doc:`/working_points`, and the model they belong to; thresholds that depend on the mass, too, are in
# :ref:`sphx_glr_gallery_decorrelation_plot_sculpting.py`.
