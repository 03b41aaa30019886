"""
Impacts on the strength
=======================

How much the fitted strength changes with each parameter, the largest first.
"""

from jettagger import plots
from jettagger.statistics.searchfits import fit_search
from jettagger.statistics.templates import load_workspaces
from jettagger.testing import example_path

signals, workspaces, _ = load_workspaces(example_path("toy_search"))
fit = fit_search(
    workspaces["X1400"],
    signal="X1400",
    mass=1400.0,
    groups={"theory": ["xsec_tt"], "jets": ["jes"], "luminosity": ["lumi"]},
)
print({name: round(size, 3) for name, size in fit.groups.items()})
figure = plots.strength_impacts(fit, number=10, title="toy data")
figure

# %%
# Next: :doc:`/search/index` on groups of uncertainties and what is in ``fits.json``.
