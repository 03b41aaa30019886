# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # JetClass-II and Sophon
# Look at jets, score them, look at the scores. `jupytext --to ipynb notebook.py` makes a notebook of this file.
# `JETS` is a file of JetClass-II, `MODEL` a name or folder: Sophon with its authors' weights, or one from `convert.py`.

# %%
import os

import jettagger as jt
from jettagger import jetclass2
from jettagger.plots.jets import draw_jets

jets = jetclass2.read(os.environ.get("JETS", "JetClassII_example.parquet"))
jets.type.show()

# %% [markdown]
# Each row is a jet: `jet_*`, its constituents `part_*`, the generator jet and the selected truth particles.

# %%
for name in ("part_px", "part_d0val", "jet_sdmass", "aux_genpart_isResX"):
    column = jetclass2.COLUMNS[name]
    print(f"{name}: {column.doc} [{column.unit}]")
print(jetclass2.truth(jets.jet_label[:5]))

# %% [markdown]
# All scores, hidden neurons and whether the jet is one that the network was trained for.

# %%
tagger = jt.load_tagger(os.environ.get("MODEL", "Sophon"))
jets = tagger.attach(jets, prefix="sophon")
groups = jetclass2.coarse(jets, "sophon")
print({name: round(float(score[0]), 4) for name, score in groups.items()})

# %% [markdown]
# A discriminant of X -> bb against QCD, and a jet with its five highest scores.

# %%
xbb_vs_qcd = jets.sophon_probXbb / (jets.sophon_probXbb + groups["QCD"])
names = [name for name in jets.fields if name.startswith("sophon_prob")]
figure = draw_jets(jets[:2], [{name.removeprefix("sophon_"): jet[name] for name in names} for jet in jets[:2]])
figure  # noqa: B018
