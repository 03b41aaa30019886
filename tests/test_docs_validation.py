"""docs/validation.md: its tables are those of the numbers, each number is that of a test, and each test is there."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from agreement import Agreement, assert_as_stored

from benchmarks.validation import PAGE, PLACE, ROOT, blocks, filled, measured_part, stored, summary, with_found
from benchmarks.validation_list import COMPARISONS, GROUPS

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_numbers() -> None:
    assert filled(TEXT, stored()) == TEXT
    assert {match["name"] for match in PLACE.finditer(TEXT)} == {name for name, _ in blocks(stored())}
    for title, _ in GROUPS.values():
        assert f"\n## {title}\n" in TEXT


def test_every_comparison_is_measured_and_has_nothing_else_beside_it() -> None:
    assert {f"{group}/{name}" for group, entries in stored().items() for name in entries} == set(COMPARISONS)
    assert list(stored()) == list(GROUPS)


@pytest.mark.parametrize("name", COMPARISONS)
def test_a_comparison_is_that_of_its_test(name: str) -> None:
    group, _, short = name.partition("/")
    entry, comparison = stored()[group][short], COMPARISONS[name]
    assert entry["test"] == comparison.test
    assert {key: entry[key] for key in summary(entry["parts"])} == summary(entry["parts"])
    assert set(entry["versions"]) == {"jettagger", *comparison.packages}
    assert all(entry["versions"].values())
    assert set(entry.get("sha256", {})) == set(comparison.files)
    for part in entry["parts"].values():
        assert part["maximum"] <= part["atol"] + part["rtol"] * part["scale"]
    file, _, function = comparison.test.partition("::")
    (test,) = (
        node
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name == function
    )
    assert "agrees" in [argument.arg for argument in test.args.args]
    assert any(ast.unparse(node.func) == "agrees" for node in ast.walk(test) if isinstance(node, ast.Call))


def test_differences_and_their_bounds() -> None:
    found = measured_part([1.0, 2.0, np.nan, 4.5], [1.0, 2.5, np.nan, 4.0], sample=4, atol=0.0, rtol=0.2)
    expected = {"sample": 4, "numbers": 3, "median": 0.5, "maximum": 0.5, "relative": 0.2, "scale": 4.0}
    assert found == {**expected, "atol": 0.0, "rtol": 0.2}
    name = next(iter(COMPARISONS))
    agrees = Agreement(COMPARISONS[name].test, {})
    agrees(name, [1.0], [1.0], sample=1, part="a")
    with pytest.raises(AssertionError, match="Mismatched elements: 1 / 1"):
        agrees(name, [1.0], [1.1], sample=1, atol=0.05, part="b")
    with pytest.raises(AssertionError, match=r"Mismatched elements|nan location"):
        agrees(name, [1.0, 1.0], [1.0, np.nan], sample=2, atol=0.05, part="b")
    assert agrees.record == {name: {"a": measured_part([1.0], [1.0], sample=1, atol=0.0, rtol=0.0)}}
    with pytest.raises(AssertionError, match="is a comparison of"):
        Agreement("tests/test_other.py::test_x", None)(name, [1.0], [1.0], sample=1)


@pytest.mark.parametrize(
    ("maximum", "same"), [(0.01, True), (0.04, True), (0.003, True), (0.2, False), (1e-3, False), (0.0, False)]
)
def test_what_is_measured_again_is_what_the_page_says(maximum: float, same: bool) -> None:
    kept = measured_part([0.5, 0.51], [0.5, 0.5], sample=2, atol=0.3, rtol=0.0)
    found = {**kept, "maximum": maximum}
    if same:
        assert_as_stored(found, kept, "x")
    else:
        with pytest.raises(AssertionError, match=r"python -m benchmarks\.validation"):
            assert_as_stored(found, kept, "x")


def test_rounding_of_other_processors_is_no_difference() -> None:
    kept = measured_part([1.0, 100.0], [1.0 + 1e-9, 100.0], sample=2, atol=1e-5, rtol=0.0)
    assert_as_stored({**kept, "maximum": 1e-6, "median": 0.0}, kept, "x")
    for change in ({"sample": 3}, {"atol": 1e-4}):
        with pytest.raises(AssertionError, match="writes the page"):
            assert_as_stored({**kept, **change}, kept, "x")
    with pytest.raises(AssertionError, match="writes the page"):
        assert_as_stored(kept, None, "x")


def test_numbers_that_cannot_be_measured_here_stay(tmp_path: Path) -> None:
    first = next(iter(COMPARISONS))
    group, _, short = first.partition("/")
    part = measured_part([1.0], [1.0], sample=1, atol=0.0, rtol=0.0)
    for file in COMPARISONS[first].files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"x")
    content = with_found({**stored(), "gone": {"x": {}}}, {first: {"a": part}}, tmp_path)
    assert content[group][short]["parts"] == {"a": part}
    assert set(content[group][short]["sha256"].values()) == {"2d711642b726b044"}
    content[group][short] = stored()[group][short]
    assert content == stored()
