"""Cuts that pass nothing or everything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettagger.expressions import parse
from jettagger.expressions.cutlogic import always, doubt, never


@pytest.mark.parametrize(
    "text",
    [
        "150 < mass < 90",
        "mass > 150 and mass < 90",
        "(mass > 150) & (mass < 90)",
        "pt > 0 and (mass > 150 and not mass > 90)",
        "mass > 5 and mass < 5",
        "5 < mass <= 5",
        "5 < mass < 5",
        "mass == 3 and mass == 4",
        "mass == 3 and mass != 3",
        "abs(eta) < 0",
        "abs(eta) <= -1e-3",
        "1 > 2",
        "2 < 1 < mass",
        "mass > 90 and False",
        "150 < mass < 90 or 3 < pt < 2",
        "not (mass < 150 or mass > 90)",
        "jet1.mass > 150 and jet1.mass < 90",
        "mass / pt > 2 and mass / pt < 1",
    ],
)
def test_what_nothing_passes(text: str) -> None:
    assert never(parse(text))
    assert not always(parse(text))
    assert always(parse(f"not ({text})"))
    assert doubt(parse(text)) == f"{text!r} is never true"


@pytest.mark.parametrize(
    "text",
    [
        "mass > 90 or mass < 150",
        "mass <= 5 or mass > 5",
        "abs(eta) >= 0",
        "sqrt(pt) > -1",
        "1 < 2",
        "True",
        "not 150 < mass < 90",
        "mass != 3 or mass == 3",
    ],
)
def test_what_everything_passes(text: str) -> None:
    assert always(parse(text))
    assert not never(parse(text))
    assert doubt(parse(text)) == f"{text!r} is always true"


@pytest.mark.parametrize(
    "text",
    [
        "90 < mass < 150",
        "mass >= 5 and mass <= 5",
        "mass > 150 and pt < 90",
        "jet1.mass > 150 and jet2.mass < 90",
        "mass > 150 or mass < 90",
        "abs(eta) > 0",
        "abs(eta) <= 0",
        "eta > -1",
        "(jetId & 2) > 0",
        "flag & 2",
        "flag",
        "mass",
        "where(pt > 150, mass, 0) < 90",
    ],
)
def test_what_may_be_meant(text: str) -> None:
    assert not never(parse(text))
    assert not always(parse(text))
    assert doubt(parse(text)) == ""


numbers = st.sampled_from([-1, 0, 1, 2])
atoms = st.builds(
    lambda name, kind, number, turned: f"{number} {kind} {name}" if turned else f"{name} {kind} {number}",
    st.sampled_from(["x", "y", "abs(x)"]),
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    numbers,
    st.booleans(),
)
chains = st.builds(lambda low, name, high: f"{low} < {name} <= {high}", numbers, st.sampled_from(["x", "y"]), numbers)
cuts = st.recursive(
    atoms | chains,
    lambda inner: st.builds(lambda one, word, other: f"({one}) {word} ({other})", inner,
                            st.sampled_from(["and", "or", "&", "|"]), inner)
    | inner.map(lambda text: f"not ({text})"),
    max_leaves=5,
)  # fmt: skip


@given(cuts)
def test_what_is_said_holds_for_all_values(text: str) -> None:
    grid = np.arange(-3, 3.1, 0.5)
    x, y = (axis.ravel() for axis in np.meshgrid(grid, grid))
    passed = np.asarray(parse(text).evaluate({"x": x, "y": y}))
    assert not (never(parse(text)) and passed.any())
    assert not (always(parse(text)) and not passed.all())


@given(numbers, numbers, st.sampled_from(["<", "<="]), st.sampled_from(["<", "<="]))
def test_an_interval_is_found_empty_exactly_where_it_is(low: int, high: int, first: str, second: str) -> None:
    text = f"{low} {first} x {second} {high}"
    assert never(parse(text)) == (low > high or (low == high and "<" in (first, second)))
