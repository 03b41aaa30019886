"""
Purities of assignments
=======================

A network gives a probability for each pair of jets and each particle. Decoding them makes an assignment in which no
jet is used twice; its purity is how often it is right. The distributions are toys: the right pair is more probable,
with noise.
"""

import numpy as np

from jettagger.assignment import decode, parse_event_text, purities

event = parse_event_text("""
INPUTS: {SEQUENTIAL: {Jets: {pt: log_normalize, eta: normalize}}}
EVENT: {h1: [b1: Jets, b2: Jets], h2: [b1: Jets, b2: Jets]}
PERMUTATIONS: {EVENT: [[h1, h2]], h1: [[b1, b2]], h2: [[b1, b2]]}
""")
rng = np.random.default_rng(3)
n_events, slots = 4000, 7
counts = rng.integers(4, slots + 1, n_events)  # jets of each event
is_there = np.arange(slots) < counts[:, None]
targets = {"h1": np.tile([0, 1], (n_events, 1)), "h2": np.tile([2, 3], (n_events, 1))}


def distribution(right):
    """Symmetric in the pair, float64[events, jets, jets]; -inf where a jet does not exist or is used twice."""
    noise = rng.normal(0, 1.5, (n_events, slots, slots))
    logs = noise + noise.transpose(0, 2, 1)
    logs[:, right[0], right[1]] += 3
    logs[:, right[1], right[0]] += 3
    logs[~(is_there[:, :, None] & is_there[:, None, :])] = -np.inf
    logs[:, np.arange(slots), np.arange(slots)] = -np.inf
    return logs - np.log(np.exp(logs).sum(axis=(1, 2), keepdims=True))


logs = {"h1": distribution((0, 1)), "h2": distribution((2, 3))}
present = {name: np.ones(n_events, dtype=bool) for name in targets}
found = {
    method: purities(decode(logs, event, method).assignments, targets, present, event, counts=counts)
    for method in ("greedy", "best")
}
print(found["best"])

# %%
# Purities of events (all particles right) and of the Higgs bosons against the number of jets.
from jettagger import plots

bins = list(found["best"].bins)


def curve(method, purity):
    right, number = np.array([purity(found[method].bins[name]["2h"]) for name in bins]).T
    values = right / number
    return values, np.sqrt(values * (1 - values) / number)


panels = {
    "event": {method: curve(method, lambda row: (row.right, row.events)) for method in found},
    "h": {method: curve(method, lambda row: (row.matched["h"], row.particles["h"])) for method in found},
}
figure = plots.purities_by_objects(panels, bins, labels={"event": "events", "h": "Higgs bosons"}, title="toy events")
figure

# %%
# Next: ``jettagger assignment evaluate`` compares trained networks in this way, see :doc:`/assignment`.
