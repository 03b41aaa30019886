"""
Cut flow
========

Events after each cut, one line for each sample. A search counts them for each region; here cuts are applied by hand
to the jets of files.
"""

import awkward as ak
import uproot

from jettagger import plots
from jettagger.testing import example_path

COLUMNS = ["FatJet_pt", "FatJet_eta", "FatJet_msoftdrop", "genWeight"]
#: cross sections in pb and sums of weights of all generated events are in the files
CUTS = {
    "two jets": lambda events: ak.num(events.FatJet_pt) > 1,
    "$p_T$ > 420 GeV": lambda events: ak.max(events.FatJet_pt, axis=1) > 420,
    "|η| < 2": lambda events: ak.all(abs(events.FatJet_eta[:, :2]) < 2, axis=1),
    "100 < m < 150 GeV": lambda events: ak.any(
        (events.FatJet_msoftdrop > 100) & (events.FatJet_msoftdrop < 150), axis=1
    ),
}


def flow(name):
    with uproot.open(example_path(f"{name}.root")) as file:
        events = file["Events"].arrays(COLUMNS)
        runs = file["Runs"].arrays(["genEventSumw", "crossSection"])
    section = ak.sum(runs.crossSection * runs.genEventSumw) / ak.sum(runs.genEventSumw)
    weights = events.genWeight * section / ak.sum(runs.genEventSumw) * 138_000  # 138 fb-1
    yields = {"in the file": float(ak.sum(weights))}
    passing = ak.ones_like(events.genWeight, dtype=bool)
    for label, cut in CUTS.items():
        passing = passing & ak.fill_none(cut(events), False)
        yields[label] = float(ak.sum(weights[passing]))
    return yields


samples = {"multijets": "QCD", "top quarks": "tt", "X(1000 GeV), 1 pb": "XHH-1000"}
figure = plots.cutflow({label: flow(name) for label, name in samples.items()}, title="138 fb$^{-1}$, shipped samples")
figure

# %%
# Next: a search makes the cut flow of each region, as text, Markdown and LaTeX, too: :doc:`/search/index`.
