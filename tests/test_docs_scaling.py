"""The page on scaling shows what was measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

from benchmarks.report import cost_of, keep, page, show, table

DOCS = Path(__file__).resolve().parent.parent / "docs"


def test_the_tables_are_those_of_the_results() -> None:
    text = (DOCS / "scaling.md").read_text()
    results = json.loads((DOCS / "measured.json").read_text())
    assert page(text, results) == text, "python -m benchmarks.report docs/measured.json docs/scaling.md"
    assert set(re.findall(r"<!-- measured: (\w+) -->", text)) >= set(results)


def test_the_tables_of_clients_are_those_of_the_results() -> None:
    text = (DOCS / "remote.md").read_text()
    results = json.loads((DOCS / "measured_remote.json").read_text())
    assert page(text, results) == text, "python -m benchmarks.report docs/measured_remote.json docs/remote.md"
    shares = [
        one["clients"]["grpc"]["over_network"]["median"] + 2 * one["clients"]["grpc"]["over_network"]["error"]
        for one in results["remote"].values()
    ]
    assert shares
    assert max(shares) <= 0.04  # the page says so


def test_tables() -> None:
    assert table([("a", "b"), ("long", "c")]) == "| a    | b |\n|------|---|\n| long | c |"


def test_the_cost_of_many_jets() -> None:
    assert cost_of(1e9, 3.6) == "1,000"
    assert cost_of(1e9, 1.93) == "540"


def test_results_are_added_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "measured.json"
    keep(path, "cache", "one", {"hit_over_inference": 0.0123456})
    keep(path, "cache", "two", {"hit_over_inference": 0.02})
    keep(path, "cache", "two", {"hit_over_inference": 0.03})
    found = json.loads(path.read_text())
    assert found["cache"] == {"one": {"hit_over_inference": 0.01235}, "two": {"hit_over_inference": 0.03}}
    assert found["machine"]["cores"] > 0
    assert "| one   | 1.2 %" in show("cache", found["cache"])
    assert page("<!-- measured: cache -->\nold\n<!-- end -->", found).count("%") == 2
    assert "Not measured yet." in page("<!-- measured: dask -->\n<!-- end -->", found)
    keep(None, "cache", "one", {})
