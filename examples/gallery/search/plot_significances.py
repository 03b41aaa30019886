"""
Significance against the mass
=============================

Observed and expected significance of signals of several masses, from fits of the templates that a search has written.
The toy data have a signal at 1400 GeV.
"""

from jettagger import plots
from jettagger.statistics.searchfits import fit_search
from jettagger.statistics.templates import load_workspaces
from jettagger.testing import example_path

signals, workspaces, _ = load_workspaces(example_path("toy_search"))
fits = [fit_search(workspaces[name], signal=name, mass=signal.mass) for name, signal in signals.items()]
for fit in fits:
    print(f"{fit.signal}: strength {fit.strength:.2f} ± {fit.uncertainty:.2f}, {fit.significance:.1f} σ")
figure = plots.significances(fits, title="toy data")
figure

# %%
# Next: ``jettagger fit OUT/`` draws this for a search; :doc:`/search/index` says how significances are defined.
