"""
Which jets are scored, and None
===============================

``where`` selects the jets that run through the network. All others, and jets that lack what the network needs, get
None: a missing score is never a made-up number. ``Tagger.run`` gives the scores with a report that counts them.
"""

import awkward as ak

import jettagger as jt
from jettagger.testing import make_events

events = make_events(300, seed=1)  # mock data in PFNano format, some jets without constituents
tagger = jt.load_tagger("tinyParT", threads=1)
where = "pt > 300 and abs(eta) < 2.0"
score = tagger.attach(events, where=where, columns=["probHbb"]).FatJet.tinyParT_probHbb
print("scores:", score[:4].tolist())
report = tagger.run(events, where=where).report
print(f"{report.jets} jets: {report.not_selected} not selected, {report.without_constituents} without constituents")

# %%
# The three numbers of jets as a cut flow.
from jettagger import plots

selected = (events.FatJet.pt > 300) & (abs(events.FatJet.eta) < 2.0)
counts = {
    "all": ak.count(events.FatJet.pt),
    "pt > 300 GeV, |eta| < 2": ak.sum(selected),
    "scored": ak.sum(~ak.is_none(score, axis=1)),
}
figure = plots.cutflow({"mock jets": {cut: float(number) for cut, number in counts.items()}}, counted="Jets")
figure

# %%
# Cuts on scores handle None: a comparison with None is None, and ``ak.fill_none`` says what that means for an
# analysis, here that a jet without a score does not pass.
passing = ak.fill_none(score > 0.02, False)
print(f"{ak.sum(passing)} of {ak.count(events.FatJet.pt)} jets pass")

# %%
# Next: :doc:`/pfnano` on the files that can be read, :doc:`/robustness` on incomplete ones, :doc:`/errors` on what
# errors say.
