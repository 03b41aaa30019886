"""No sum or difference of the data that are shown is the number of events in a blind signal region."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jettagger.search.blinding import blind_rows
from jettagger.search.definition import Region

CUTS = ("a", "b", "c", "d")
#: all ways to pass and fail the cuts, each with a number of events of its own
ATOMS = list(itertools.product([True, False], repeat=len(CUTS)))


def inside(region: Region, number: int) -> np.ndarray:
    """1 for each atom in a row of the cutflow, after so many cuts."""
    wanted = [(cut, True) for cut in region.passes] + [(cut, False) for cut in region.fails]
    passed = [all(atom[CUTS.index(cut)] is value for cut, value in wanted[:number]) for atom in ATOMS]
    return np.asarray(passed, dtype=float)


def shown_and_blind(regions: Mapping[str, Region]) -> tuple[np.ndarray, np.ndarray]:
    hidden = blind_rows(regions)
    blind = [inside(region, 9) for region in regions.values() if region.kind == "signal"]
    anywhere = np.any(blind, axis=0)
    shown = [inside(region, 9) * ~anywhere for region in regions.values() if region.kind != "signal"]
    for name, region in regions.items():
        for number, cut in enumerate(("jets", *region.cuts)):
            if cut not in hidden[name]:
                shown.append(inside(region, number))
    return np.reshape(shown, (-1, len(ATOMS))), np.asarray(blind)


@st.composite
def some_regions(draw: st.DrawFn) -> dict[str, Region]:
    kinds = ["signal", *draw(st.lists(st.sampled_from(["signal", "control", "validation", "inclusive"]), max_size=4))]
    found = {}
    for number, kind in enumerate(kinds):
        used = draw(st.lists(st.sampled_from(CUTS), unique=True, max_size=4))
        split = draw(st.integers(0, len(used)))
        found[f"R{number}"] = Region(kind, used[:split], used[split:])
    return found


@pytest.mark.slow
@settings(max_examples=150)
@given(regions=some_regions())
def test_no_combination_of_what_is_shown_is_blind(regions: dict[str, Region]) -> None:
    shown, blind = shown_and_blind(regions)
    last = [list(region.cuts)[-1] if region.cuts else "jets" for region in regions.values()]
    hidden = blind_rows(regions)
    for (name, region), cut in zip(regions.items(), last, strict=True):
        assert region.kind != "signal" or cut in hidden[name] or not inside(region, 9).any()
    rank = np.linalg.matrix_rank
    histograms = shown[: sum(region.kind != "signal" for region in regions.values())]

    def follows(rows: np.ndarray) -> int:
        return int(rank(rows) if len(rows) else 0) + int(rank(blind)) - int(rank(np.concatenate([rows, blind])))

    # what the histograms of the regions alone would give is the choice of the regions
    assert follows(shown) == follows(histograms)


@pytest.mark.parametrize(
    ("regions", "hidden"),
    [
        ({"SR": Region("signal", ["a", "b"])}, {"SR": ["b"]}),
        (
            {"SR": Region("signal", ["a", "b", "c"]), "VR": Region("validation", ["a", "b"], ["c"])},
            {"SR": ["b", "c"], "VR": ["b"]},
        ),
        (
            # histograms of all events have those outside of SR
            {"SR": Region("signal", ["a", "b"]), "CR": Region("control", ["a"], ["b"]), "all": Region("inclusive")},
            {"SR": ["jets", "a", "b"], "CR": ["jets", "a"], "all": ["jets"]},
        ),
        # another region that is not the rest of any row
        ({"SR": Region("signal", ["a", "b"]), "CR": Region("control", ["c"], ["d"])}, {"SR": ["b"], "CR": []}),
        # the two regions together are a row
        (
            {"S1": Region("signal", ["a", "b"]), "S2": Region("signal", ["a"], ["b"])},
            {"S1": ["a", "b"], "S2": ["a", "not b"]},
        ),
    ],
)
def test_as_by_hand(regions: dict[str, Region], hidden: dict[str, list[str]]) -> None:
    assert blind_rows(regions) == hidden


def test_too_many_cuts_to_follow_are_all_blind() -> None:
    many = [f"cut{number}" for number in range(14)]
    regions = {"SR": Region("signal", ["a"]), "CR": Region("control", ["a"], many)}
    assert blind_rows(regions) == {"SR": ["jets", "a"], "CR": ["jets", "a", *(f"not {cut}" for cut in many)]}
