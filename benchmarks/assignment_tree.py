"""How many all-hadronic top pairs with six jets can be assigned right: a boosted tree that sees whole assignments.

The tree compares all 90 assignments of six jets by what a physicist would take: masses, distances, momenta, b tags and
the balance of both tops. It is neither a network nor factorised into particles; where it is no better than a network,
the events are the limit. ``benchmarks/assignment_networks.py`` puts it beside the networks.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import vector

from jettagger.assignment import AssignmentEvents, EventDescription

__all__ = ["SIX", "assignments_of_six", "six_jets", "tree_on_six_jets"]

SIX = 6

#: share of wrong assignments that the tree is trained with
_WRONG = 0.33


def assignments_of_six() -> Any:
    """All assignments of six jets to two tops of (b, q1, q2), int64[90, 6]; symmetric ones once."""
    made = []
    for first in combinations(range(SIX), 3):
        if 0 not in first:
            continue
        second = [jet for jet in range(SIX) if jet not in first]
        for b in first:
            for other in second:
                quarks = [[jet for jet in top if jet != own] for top, own in ((first, b), (second, other))]
                made.append([b, *quarks[0], other, *quarks[1]])
    return np.array(made)


def six_jets(events: AssignmentEvents) -> AssignmentEvents:
    """Fully matched events with six jets, which are in the first slots."""
    mask = events.masks["Jets"]
    whole = np.all(list(events.target_masks.values()), axis=0)
    return events.take(np.flatnonzero(whole & mask[:, :SIX].all(axis=1) & (mask.sum(axis=1) == SIX)))


def jets_of(events: AssignmentEvents, event: EventDescription) -> tuple[Any, Any]:
    """Momenta (GeV) and b tags of six jets, [events, 6]."""
    names = event.input("Jets").feature_names
    values = {name: events.values["Jets"][:, :SIX, place].astype(np.float64) for place, name in enumerate(names)}
    phi = np.arctan2(values["sin_phi"], values["cos_phi"])
    jets = vector.array({"pt": values["pt"], "eta": values["eta"], "phi": phi, "mass": values["mass"]})
    return jets, values["btag"]


def features_of(jets: Any, tags: Any, assignment: Any) -> Any:
    """What the tree knows of an assignment, float64[events, 35]; the top of larger pt comes first."""
    tops, rows = [], []
    for b, q1, q2 in (assignment[:3], assignment[3:]):
        bottom, quarks = jets[:, b], (jets[:, q1], jets[:, q2])
        boson = quarks[0] + quarks[1]
        top = boson + bottom
        momenta = np.sort([quark.pt for quark in quarks], axis=0)
        rows.append([
            boson.mass, top.mass, *((bottom + quark).mass for quark in quarks), boson.mass / top.mass,
            quarks[0].deltaR(quarks[1]), np.min([bottom.deltaR(quark) for quark in quarks], axis=0),
            boson.pt, top.pt, bottom.pt, *momenta, tags[:, b], tags[:, q1] + tags[:, q2], bottom.mass, top.rapidity,
        ])  # fmt: skip
        tops.append(top)
    first = tops[0].pt > tops[1].pt
    columns = [np.where(first, *pair) for pair in zip(*rows, strict=True)]
    columns += [np.where(first, *pair[::-1]) for pair in zip(*rows, strict=True)]
    columns += [
        np.abs(tops[0].rapidity - tops[1].rapidity),
        np.abs(tops[0].deltaphi(tops[1])),
        (tops[0] + tops[1]).mass,
    ]
    return np.stack(columns, axis=1)


def is_right(events: AssignmentEvents, assignment: Any) -> Any:
    """Whether an assignment is that of the truth, for any order of tops and quarks, bool[events]."""

    def same(name: str, jets: Any) -> Any:
        target = events.targets[name]
        return (target[:, 0] == jets[0]) & (np.sort(target[:, 1:], axis=1) == np.sort(jets[1:])).all(axis=1)

    both = (assignment[:3], assignment[3:])
    return (same("t1", both[0]) & same("t2", both[1])) | (same("t1", both[1]) & same("t2", both[0]))


def tree_on_six_jets(training: AssignmentEvents, test: AssignmentEvents, event: EventDescription) -> tuple[Any, int]:
    """Whether the best assignment of a boosted tree is right, bool[events], and the number of training events.

    Parameters
    ----------
    training, test : AssignmentEvents
        From `six_jets`.
    event : EventDescription
        With the tops ``t1`` and ``t2`` of (b, q1, q2).
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    random = np.random.default_rng(0)
    jets, tags = jets_of(training, event)
    inputs, labels = [], []
    for assignment in assignments_of_six():
        right = is_right(training, assignment)
        kept = right | (random.random(len(right)) < _WRONG)
        inputs.append(features_of(jets[kept], tags[kept], assignment))
        labels.append(right[kept])
    tree = HistGradientBoostingClassifier(
        max_iter=600, learning_rate=0.06, max_leaf_nodes=40, l2_regularization=1.0, early_stopping=True, random_state=0
    )
    tree.fit(np.concatenate(inputs), np.concatenate(labels))
    jets, tags = jets_of(test, event)
    every = assignments_of_six()
    scores = np.stack([tree.predict_proba(features_of(jets, tags, each))[:, 1] for each in every], axis=1)
    right = np.stack([is_right(test, each) for each in every], axis=1)
    return right[np.arange(len(right)), scores.argmax(axis=1)], training.n_events
