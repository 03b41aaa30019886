"""
Spectra before and after a fit
==============================

Data and stacked processes in a region, with the total uncertainty, before or after the fit of the templates that a
search has written.
"""

from jettagger import plots
from jettagger.statistics.searchfits import fit_search
from jettagger.statistics.templates import load_workspaces
from jettagger.testing import example_path

signals, workspaces, _ = load_workspaces(example_path("toy_search"))
fit = fit_search(workspaces["X1400"], signal="X1400", mass=1400.0, toys=100, seed=1)
print(f"strength {fit.strength:.2f} ± {fit.uncertainty:.2f} of the assumed cross section")
print(f"goodness of fit: p = {fit.goodness.probability:.2f} of {fit.goodness.toys} toys")
edges, variable = [800, 1000, 1200, 1500, 1900, 2500], "Dijet mass [GeV]"
figure = plots.fitted_spectrum(
    fit, "SR", edges=edges, variable=variable, fitted=False, title="toy data, before the fit"
)
figure

# %%
# After the fit, with the signal on top. The uncertainty is smaller, as the data constrain the backgrounds.
figure = plots.fitted_spectrum(fit, "SR", edges=edges, variable=variable, title="toy data, after the fit")
figure

# %%
# Next: ``jettagger fit OUT/`` draws all regions of a search, see :doc:`/search/index`.
