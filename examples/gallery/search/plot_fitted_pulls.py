"""
Pulls of a fit
==============

Fitted nuisance parameters and their uncertainties, in units of those before the fit: points far from 0 are pulled,
bars shorter than 1 are constrained by the data.
"""

from jettagger import plots
from jettagger.statistics.searchfits import fit_search
from jettagger.statistics.templates import load_workspaces
from jettagger.testing import example_path

signals, workspaces, _ = load_workspaces(example_path("toy_search"))
fit = fit_search(workspaces["X1400"], signal="X1400", mass=1400.0)
figure = plots.fitted_pulls(fit, title="toy data")
figure

# %%
# Next: :ref:`sphx_glr_gallery_search_plot_strength_impacts.py` shows which of them matter.
