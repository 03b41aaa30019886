"""The benchmark of matched jets and of the chi-square: its numbers, and its tables on the page."""

from __future__ import annotations

import json
from pathlib import Path

from assignments import top_pair_file

from benchmarks.assignment import NUMBERS, PAGE, PLACE, measure, table_of


def test_it_measures(tmp_path: Path) -> None:
    found = measure("ttsemilep", str(top_pair_file(tmp_path / "tt.root", 40, leptonic=True)))
    assert found["events"] == 40
    assert sum(row["events"] for row in found["rows"]) <= 40
    assert any(row["matched"] for row in found["rows"])


def test_the_page_has_the_numbers() -> None:
    results = json.loads(NUMBERS.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    tables = {match["name"]: match[0] for match in PLACE.finditer(text)}
    assert set(tables) == set(results)
    for name, result in results.items():
        assert table_of(name, result) in tables[name]


def test_the_numbers_are_as_expected() -> None:
    """Of fully matched all-hadronic events with 6, 7 and more jets, and of hadronic tops with 4, 5 and more."""
    results = json.loads(NUMBERS.read_text(encoding="utf-8"))
    found = {name: [row["chi_square"][0] for row in result["rows"]] for name, result in results.items()}
    for value, expected, width in zip(found["tthad"], (0.60, 0.41, 0.24), (0.09, 0.08, 0.06), strict=True):
        assert abs(value - expected) < width
    for value, expected in zip(found["ttsemilep"], (0.60, 0.52, 0.42), strict=True):
        assert abs(value - expected) < 0.08
