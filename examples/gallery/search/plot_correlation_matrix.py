"""
Correlations of the parameters of a fit
=======================================

Parameters that change the same bins are correlated after a fit: the data know their sum better than each of them.
Left out are parameters whose correlations with all others are below 0.1.
"""

from jettagger import plots
from jettagger.statistics.searchfits import fit_search
from jettagger.statistics.templates import load_workspaces
from jettagger.testing import example_path

signals, workspaces, _ = load_workspaces(example_path("toy_search"))
fit = fit_search(workspaces["X1400"], signal="X1400", mass=1400.0)
figure = plots.correlation_matrix(fit, smallest=0.1, title="toy data")
figure

# %%
# Next: :ref:`sphx_glr_gallery_search_plot_fitted_pulls.py`.
