"""
A search from files to a limit
==============================

One configuration, here that of ``make demo``, from files to histograms, templates and a limit. ``jettagger search``
and ``jettagger limit`` do the same from the shell, and write everything into a folder.
"""

from jettagger.search import make_templates, read_config, run_search
from jettagger.testing import example_path

result = run_search(read_config(example_path("QCD.root").parent.parent / "demo.yaml"))
for name, flow in result.cutflow.items():
    print(f"{name}: {flow['SR']['loose']['events']} simulated events are left in the signal region")

# %%
# Histograms have the categories ``dataset``, ``region`` and ``variation``.
from jettagger import plots
from jettagger.histograms import pick

styles = plots.process_styles(["multijets", "top quarks", "X(1000 GeV), 1 pb"])


def all_regions(name):
    return pick(result.histograms["mass"], dataset=name, region="all", variation="nominal")


figure = plots.spectrum(
    {"top quarks": all_regions("tt"), "multijets": all_regions("QCD")},
    signals={"X(1000 GeV), 1 pb": all_regions("X1000")},
    styles=styles,
    title="138 fb$^{-1}$ (13.6 TeV), toy network",
)
figure

# %%
# The templates of a signal are a workspace of pyhf, from which the limit is computed, in units of the assumed cross
# section. The samples are small, and the network is a toy: the limit only shows that the chain works.
from jettagger.statistics.limits import limit

templates = make_templates(result)
for note in templates.report[:3]:
    print("note:", note)
found = limit(templates.workspace("X1500"), signal="X1500", mass=1500.0, cross_section=1.0, asimov=True)
print(
    f"expected limit at 95 % CL: {found.expected[2]:.2g} pb, band {found.expected[1]:.2g} to {found.expected[3]:.2g} pb"
)

# %%
# Next: :doc:`/search/index` explains each key; :ref:`sphx_glr_gallery_search_plot_limit_band.py` has limits against
# the mass.
