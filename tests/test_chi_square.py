"""The smallest chi-square of masses: plain loops over permutations, few objects, tags, bad input."""

from __future__ import annotations

import itertools
import math
from typing import Any

import awkward as ak
import numpy as np
import pytest
import vector

from jettagger.assignment import BTag, EventDescription, MassTerm, chi_square, higgs_term, parse_event_text, top_terms
from jettagger.errors import ConfigError, InvalidValues, MismatchError, MissingColumns, UnknownName

TEXT = "INPUTS: {SEQUENTIAL: {Jets: {pt: none}}}\nEVENT: %s\nPERMUTATIONS: %s\n"
TOP = parse_event_text(TEXT % ("{t1: [q1, q2, b]}", "{t1: [[q1, q2]]}"))
TOPS = parse_event_text(
    TEXT % ("{t1: [q1, q2, b], t2: [q1, q2, b]}", "{EVENT: [[t1, t2]], t1: [[q1, q2]], t2: [[q1, q2]]}")
)
TTH = parse_event_text(TEXT % ("{ht: [b, q1, q2], h: [b1, b2]}", "{ht: [[q1, q2]], h: [[b1, b2]]}"))


def jets(counts: list[int], seed: int) -> Any:
    random = np.random.default_rng(seed)
    total = sum(counts)
    columns = {
        "pt": 25 + random.exponential(50, total),
        "eta": random.normal(size=total),
        "phi": random.uniform(-np.pi, np.pi, total),
        "mass": random.uniform(2, 15, total),
        "tagged": random.uniform(size=total) < 0.4,
    }
    return ak.unflatten(ak.zip(columns), counts)


def smallest(row: Any, event: EventDescription, terms: list[MassTerm], b_tag: BTag | None) -> float:
    """The smallest sum over all orders of the objects; inf if there is none."""
    momenta = [vector.obj(pt=j.pt, eta=j.eta, phi=j.phi, mass=j.mass) for j in row]
    number = sum(len(particle.daughters) for particle in event.particles)
    best = math.inf
    for order in itertools.permutations(range(len(row)), number):
        rest, total = list(order), 0.0
        for particle in event.particles:
            of = {name: rest.pop(0) for name in particle.daughter_names}
            for term in terms:
                if term.particle == particle.name:
                    mass = sum((momenta[of[name]] for name in term.daughters[1:]), momenta[of[term.daughters[0]]]).mass
                    total += ((mass - term.mass) / term.width) ** 2
            for name, slot in of.items():
                if b_tag is not None:
                    bottom = name in b_tag.bottom.get(particle.name, ())
                    rate = b_tag.efficiency if bottom else b_tag.mistag
                    tagged = row[slot].tagged
                    if bottom and b_tag.required and not tagged:
                        total = math.inf
                    total -= 2 * math.log(rate if tagged else 1 - rate)
        best = min(best, total)
    return best


CASES = {
    "one top": (TOP, [*top_terms("t1")], [3, 4, 5, 2, 0], {"t1": ("b",)}),
    "two tops": (TOPS, [*top_terms("t1"), *top_terms("t2")], [6, 6], {"t1": ("b",), "t2": ("b",)}),
    "ttH": (TTH, [*top_terms("ht"), higgs_term("h")], [5, 6, 4], {"ht": ("b",), "h": ("b1", "b2")}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("tag", ["none", "rates", "required"])
def test_the_smallest_of_all_orders_is_found(case: str, tag: str) -> None:
    event, terms, counts, bottom = CASES[case]
    objects = jets(counts, seed=len(case))
    b_tag = None if tag == "none" else BTag(bottom, required=tag == "required")
    found = chi_square(objects, event, terms, b_tag, None if tag == "none" else objects.tagged)
    for row, expected in enumerate(smallest(row, event, terms, b_tag) for row in objects):
        chosen = np.concatenate([slots[row] for slots in found.assignments.values()])
        used = chosen[chosen >= 0]
        assert len(set(used)) == len(used)
        assert used.max(initial=-1) < counts[row]
        if math.isinf(expected):
            assert (chosen < 0).any()
            assert np.isnan(found.chi_square[row])
        else:
            assert found.chi_square[row] == pytest.approx(expected, rel=1e-9)
            parts = [values[row] for values in found.chi_squares.values()]
            assert sum(parts) == pytest.approx(expected)
    assert found.cut == 0


def test_of_two_tops_one_is_assigned_where_objects_are_few() -> None:
    objects = jets([4], seed=1)
    found = chi_square(objects, TOPS, [*top_terms("t1"), *top_terms("t2")])
    single = chi_square(objects, TOP, [*top_terms("t1")])
    assigned = [name for name, slots in found.assignments.items() if slots[0, 0] >= 0]
    assert len(assigned) == 1
    assert found.chi_squares[assigned[0]][0] == single.chi_square[0]
    assert np.isnan(found.chi_square[0])
    empty = chi_square(objects[:0], TOPS, [*top_terms("t1"), *top_terms("t2")])
    assert empty.assignments["t1"].shape == (0, 3)


def test_blocks_and_further_objects() -> None:
    objects = jets([7, 3, 12, 9] * 1100, seed=4)
    terms = [*top_terms("t1")]
    whole = chi_square(objects, TOP, terms, max_objects=8)
    assert whole.cut == 2200
    for rows in (slice(0, 4), slice(4094, 4100)):  # across the border of two blocks of events
        part = chi_square(objects[rows, :8], TOP, terms)
        assert part.cut == 0
        np.testing.assert_array_equal(whole.assignments["t1"][rows], part.assignments["t1"])
        np.testing.assert_array_equal(whole.chi_square[rows], part.chi_square)


def test_bad_input() -> None:
    objects = jets([4, 5], seed=1)
    terms = [*top_terms("t1")]
    with pytest.raises(MissingColumns, match="lack mass"):
        chi_square(objects[["pt", "eta", "phi"]], TOP, terms)
    with pytest.raises(MismatchError, match="1 axes"):
        chi_square(objects[0], TOP, terms)
    bad = ak.with_field(objects, ak.Array([[1.0] * 4, [1.0, np.nan, 1.0, 1.0, 1.0]]), "pt")
    with pytest.raises(InvalidValues, match="field pt of the objects, event 1: got nan"):
        chi_square(bad, TOP, terms)
    with pytest.raises(UnknownName, match="nearest: t1"):
        chi_square(objects, TOP, [*terms, MassTerm("t3", ("b",), 1.0, 1.0)])
    with pytest.raises(UnknownName, match="nearest: t1"):
        chi_square(objects, TOP, [*top_terms("t3")])
    with pytest.raises(UnknownName, match=r"'q3' \(nearest: q"):
        chi_square(objects, TOP, [MassTerm("t1", ("q3",), 1.0, 1.0)])
    with pytest.raises(UnknownName, match="unknown daughter in particle 't1'"):
        chi_square(objects, TOP, terms, BTag({"t1": ("bottom",)}), objects.tagged)
    with pytest.raises(ConfigError, match="no mass term of particle 't2'"):
        chi_square(objects, TOPS, terms)
    with pytest.raises(ConfigError, match="both of them or none"):
        chi_square(objects, TOP, terms, BTag())
    with pytest.raises(MismatchError, match="tags"):
        chi_square(objects, TOP, terms, BTag(), objects.tagged[:, :2])
    with pytest.raises(ConfigError, match="argument width"):
        MassTerm("t1", ("b",), 1.0, 0.0)
    with pytest.raises(ConfigError, match="each once"):
        MassTerm("t1", ("b", "b"), 1.0, 1.0)
    with pytest.raises(ConfigError, match="efficiency: got 1"):
        BTag(efficiency=1.0)
    with pytest.raises(ConfigError, match="max_objects: got 21"):
        chi_square(objects, TOP, terms, max_objects=21)
