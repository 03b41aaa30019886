"""
Masses of assigned jets
=======================

Events with four jets of two Higgs bosons and others. Which jets belong together? The smallest chi-square of the
masses is a simple method, with or without b tags; :doc:`/assignment` compares it with trained networks. The events
are toys: isotropic decays with smeared energies.
"""

import awkward as ak
import numpy as np
import vector
from hist import Hist

from jettagger.assignment import BTag, chi_square, higgs_term, parse_event_text

event = parse_event_text("""
INPUTS: {SEQUENTIAL: {Jets: {pt: log_normalize, eta: normalize}}}
EVENT: {h1: [b1: Jets, b2: Jets], h2: [b1: Jets, b2: Jets]}
PERMUTATIONS: {EVENT: [[h1, h2]], h1: [[b1, b2]], h2: [[b1, b2]]}
""")
rng = np.random.default_rng(7)
n_events = 2000


def decay(parents):
    """Two massless daughters, isotropic in the rest frame of the parent."""
    cos, phi = rng.uniform(-1, 1, len(parents)), rng.uniform(-np.pi, np.pi, len(parents))
    sin, energy = np.sqrt(1 - cos**2), parents.mass / 2
    momentum = {"px": energy * sin * np.cos(phi), "py": energy * sin * np.sin(phi), "pz": energy * cos}
    back = {name: -value for name, value in momentum.items()}
    return [vector.array({**one, "E": energy}).boost_p4(parents) for one in (momentum, back)]


jets = []
for _ in range(2):
    boson = {"pt": rng.exponential(80, n_events), "eta": rng.normal(0, 1, n_events)}
    boson |= {"phi": rng.uniform(-np.pi, np.pi, n_events), "mass": np.full(n_events, 125.0)}
    jets += decay(vector.array(boson))
other = {"pt": 25 + rng.exponential(30, n_events), "eta": rng.normal(0, 1.5, n_events)}
other |= {"phi": rng.uniform(-np.pi, np.pi, n_events), "mass": np.zeros(n_events)}
jets.append(vector.array(other))
smeared = np.stack([jet.pt * rng.normal(1, 0.12, n_events) for jet in jets], axis=1)
columns = {"pt": smeared, "eta": np.stack([jet.eta for jet in jets], axis=1)}
columns |= {"phi": np.stack([jet.phi for jet in jets], axis=1), "mass": np.zeros_like(smeared)}
objects = ak.zip({name: ak.from_regular(ak.Array(values)) for name, values in columns.items()})
tags = ak.from_regular(ak.Array(rng.random(smeared.shape) < np.array([0.8] * 4 + [0.05])))

# %%
# Without tags, other pairs have the right mass by chance and are chosen: the narrower peak is not the better method.
# How often the pair is right tells.
terms = [higgs_term("h1"), higgs_term("h2")]
found = {
    "chi-square": chi_square(objects, event, terms),
    "chi-square, b tags": chi_square(objects, event, terms, BTag({"h1": ("b1", "b2"), "h2": ("b1", "b2")}), tags=tags),
}
masses = (
    Hist.new.StrCat([], growth=True, name="method").Reg(40, 65, 185, name="mass", label="Mass of h1 [GeV]").Weight()
)
vectors = vector.zip({name: objects[name] for name in objects.fields})
for method, result in found.items():
    pair = result.assignments["h1"]
    assigned = (pair >= 0).all(axis=1)
    first, second = (vectors[assigned][np.arange(assigned.sum()), pair[assigned][:, place]] for place in (0, 1))
    right = np.isin(np.sort(pair, axis=1), [[0, 1], [2, 3]]).all(axis=1) & (pair.sum(axis=1) % 4 == 1)
    print(f"{method}: {right.mean():.1%} of the pairs are right")
    masses.fill(method=method, mass=ak.to_numpy((first + second).mass))

# %%
# A panel for each particle, here one.
from jettagger import plots

figure = plots.assigned_masses(
    {"h1": masses}, labels={"h1": "Higgs boson"}, true_masses={"h1": 125.0}, title="toy events"
)
figure

# %%
# Next: :doc:`/assignment`; how often the jets are the right ones is in
# :ref:`sphx_glr_gallery_events_plot_purities_by_objects.py`.
