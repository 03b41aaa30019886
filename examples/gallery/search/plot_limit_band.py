"""
Upper limits against the mass
=============================

Upper limits on a cross section, with expected bands, from the templates that a search has written. They are computed
with pyhf's likelihood and asymptotic formulae; the toy data have a signal at 1400 GeV.
"""

from jettagger import plots
from jettagger.statistics.limits import limit
from jettagger.statistics.templates import load_workspaces
from jettagger.testing import example_path

signals, workspaces, asimov = load_workspaces(example_path("toy_search"))
limits = [
    limit(workspaces[name], signal=name, mass=signal.mass, cross_section=signal.cross_section, asimov=asimov)
    for name, signal in signals.items()
]
for found in limits:
    print(f"{found.mass:g} GeV: observed {found.observed:.3g}, expected {found.expected[2]:.3g} times the signal")
figure = plots.limit_band(limits, title="toy data", process="X → HH")
figure

# %%
# Next: ``jettagger limit OUT/`` does this for the output folder of a search, see :doc:`/search/index`.
