"""Truth from generator particles: the walks through records and the pairing, against plain loops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jettagger.errors import MissingColumns
from jettagger.truth import LEGS, generator_labels
from jettagger.truth.matching import pairs
from jettagger.truth.nanoaod import LAST_COPY, decays, mothers_among_all, particles_of
from jettagger.truth.records import descends, has_quark, last_copy


@dataclass
class Chain:
    """A record of particles in which each one's daughters come after it."""

    id: Any
    mother: Any
    daughter1: Any
    daughter2: Any


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    """Copies of particles, and decays to two others."""
    number = draw(st.integers(1, 25))
    identity = [draw(st.sampled_from([25, 24, 5, 21]))]
    mother, first, last = [-1], [-1], [-1]
    for _ in range(number):
        parent = len(identity) - 1
        copied = draw(st.booleans())
        born = (
            [identity[parent]] if copied else draw(st.lists(st.sampled_from([5, -5, 21, 511]), min_size=2, max_size=2))
        )
        first[parent], last[parent] = len(identity), len(identity) + len(born) - 1
        for code in born:
            identity.append(code)
            mother.append(parent)
            first.append(-1)
            last.append(-1)
    return Chain(*(np.array(values) for values in (identity, mother, first, last)))


@given(chains())
def test_the_last_copy_is_the_end_of_its_chain(record: Chain) -> None:
    everything = np.arange(len(record.id))
    ends = last_copy(record, everything)
    assert (record.id[ends] == record.id).all()
    assert (last_copy(record, ends) == ends).all()
    for start, end in zip(everything, ends, strict=True):
        here = end
        while here != start:  # back through copies only
            assert record.id[here] == record.id[start]
            here = record.mother[here]
            assert here >= 0
        children = [i for i in (record.daughter1[end], record.daughter2[end]) if i >= 0]
        assert all(record.id[child] != record.id[end] for child in children)


@given(chains())
def test_descent_is_found_by_walking_up(record: Chain) -> None:
    flagged = np.abs(record.id) == 25
    found = descends(record, np.arange(len(record.id)), flagged)
    for index, answer in enumerate(found):
        here, steps, expected = record.mother[index], 0, False
        while here >= 0 and steps < 30:
            expected |= bool(flagged[here])
            here, steps = record.mother[here], steps + 1
        assert answer == expected


@given(
    first=st.lists(st.integers(0, 5), max_size=12),
    second=st.lists(st.integers(0, 5), max_size=12).map(sorted),
)
def test_pairs_are_those_of_two_loops(first: list[int], second: list[int]) -> None:
    left, right = pairs(np.array(first, dtype=int), np.array(second, dtype=int), 6)
    expected = [(i, j) for i, one in enumerate(first) for j, other in enumerate(second) if one == other]
    assert list(zip(left.tolist(), right.tolist(), strict=True)) == expected


@pytest.mark.parametrize(
    ("identity", "quark", "expected"),
    [
        (511, 5, True),
        (-5122, 5, True),
        (411, 5, False),
        (411, 4, True),
        (10_511, 5, True),
        (5, 5, False),
        (21, 4, False),
    ],
)
def test_hadrons_by_their_heaviest_quark(identity: int, quark: int, expected: bool) -> None:
    assert has_quark(np.array([identity]), quark).tolist() == [expected]


@given(st.lists(st.lists(st.integers(-1, 6), max_size=6), min_size=1, max_size=5))
def test_mothers_are_those_of_their_event(local: list[list[int]]) -> None:
    local = [[min(number, len(event) - 1) for number in event] for event in local]
    counts = np.array([len(event) for event in local])
    found = mothers_among_all(np.array([number for event in local for number in event], dtype=int), counts)
    before, expected = 0, []
    for event in local:
        expected += [before + number if number >= 0 else -1 for number in event]
        before += len(event)
    assert found.tolist() == expected


def test_decays_are_last_copies_and_their_products() -> None:
    #                   H     H     b     W     gluon of nothing
    columns = {
        "pdgId": np.array([25, 25, 5, 24, 21]),
        "statusFlags": np.array([0, LAST_COPY, 0, 0, LAST_COPY]),
        "genPartIdxMother": np.array([-1, 0, 1, 1, -1]),
    }
    expected = [False, True, True, False, False]
    assert decays(columns, np.array([5]), (25, 24)).tolist() == expected
    twice = {name: np.tile(values, 2) for name, values in columns.items()}
    assert decays(twice, np.array([5, 5]), (25, 24)).tolist() == 2 * expected


PARTICLES = {
    # H -> H -> b b~ in one event, a gluon in the next one
    "pdgId": [[25, 25, 5, -5], [21]],
    "genPartIdxMother": [[-1, 0, 1, 1], [-1]],
    "eta": [[0.0, 0.0, 0.1, -0.1], [0.0]],
    "phi": [[3.1, 3.1, 3.1, -3.1], [0.0]],
    "mass": [[125.0, 125.0, 4.8, 4.8], [0.0]],
}


def events(jets: list[list[tuple[float, float]]]) -> Any:
    eta, phi = ([[jet[axis] for jet in event] for event in jets] for axis in (0, 1))
    return ak.zip(
        {"FatJet": ak.zip({"eta": ak.values_astype(eta, "f4"), "phi": ak.values_astype(phi, "f4")}),
         "GenPart": ak.zip(PARTICLES)},
        depth_limit=1,
    )  # fmt: skip


@pytest.mark.slow
@settings(max_examples=40)
@given(turn=st.floats(-3.1, 3.1), shift=st.floats(-1.5, 1.5))
def test_labels_do_not_depend_on_where_the_event_points(turn: float, shift: float) -> None:
    """A Higgs boson with both legs within the jet, one jet elsewhere: anywhere in the detector."""
    made = events([[(0.0, 3.1), (2.5, 0.0)], [(0.0, 0.0)]])
    for collection in ("FatJet", "GenPart"):
        objects = made[collection]
        objects = ak.with_field(objects, objects.eta + shift, "eta")
        objects = ak.with_field(objects, (objects.phi + turn + np.pi) % (2 * np.pi) - np.pi, "phi")
        made = ak.with_field(made, objects, collection)
    found = {name: values.tolist() for name, values in generator_labels(made).items()}
    assert found["genResonance"] == [[25, 0], [0]]
    assert found["genResonanceMass"] == [[125.0, -1.0], [-1.0]]
    assert found["genLegs"] == found["genInside"] == found["genBottoms"] == [[2, 0], [0]]
    assert all(found[name] == [[0, 0], [0]] for name in LEGS if name != "genBottoms")


def test_events_without_particles_are_refused() -> None:
    made = events([[(0.0, 3.1)], []])
    with pytest.raises(MissingColumns, match="need the collection GenPart"):
        generator_labels(ak.without_field(made, "GenPart"))
    assert particles_of(made.GenPart).mother.tolist() == [-1, 0, 1, 1, -1]
