"""The benchmark of trainings in folds: what it sums up, and its table on the page."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from benchmarks.assignment_training import NUMBERS, PAGE, PLACE, summary, table_of


def written(folder: Path, kind: str, fold: int, right: int) -> None:
    out = folder / f"{kind}_{fold}_{fold + 1}"
    out.mkdir()
    content = {
        "kind": kind,
        "fold": fold,
        "seed": fold + 1,
        "events": {"*t": [100, right], "0t": [10, 10], "2t": [0, 0]},
    }
    (out / "result.json").write_text(json.dumps(content), encoding="utf-8")


def test_folds_that_all_kinds_have_are_compared(tmp_path: Path) -> None:
    for fold, right in ((0, 20), (1, 30), (2, 90)):
        written(tmp_path, "jettagger", fold, right)
    for fold, right in ((0, 10), (1, 20)):
        written(tmp_path, "original", fold, right)
    times = {"jettagger": [1.0, 5.0, 0.9], "original": [3.0, 3.5, 2.5]}
    (tmp_path / "timing.json").write_text(json.dumps(times), encoding="utf-8")
    found = summary(tmp_path, argparse.Namespace(epochs=2, folds=5))
    assert found["common"] == [[0, 1], [1, 2]]
    ours, theirs = found["kinds"]["jettagger"], found["kinds"]["original"]
    assert (ours["purities"]["*t"]["value"], theirs["purities"]["*t"]["value"]) == (0.25, 0.15)
    assert ours["purities"]["*t"]["spread"] == pytest.approx(0.05)
    assert "2t" not in ours["purities"]
    assert ours["trainings"] == 3
    assert (ours["epoch_cpu"], theirs["epoch_cpu"]) == (1.0, 3.0)
    text = table_of(found)
    assert "| SPANet | 2 | 0.150" in text
    assert "0.250 ± 0.031 (200 events)" in text


def test_the_page_has_the_numbers() -> None:
    results = json.loads(NUMBERS.read_text(encoding="utf-8"))
    match = PLACE.search(PAGE.read_text(encoding="utf-8"))
    assert match is not None
    assert table_of(results) in match[0]
    original = results["kinds"]["original"]
    assert original["largest_difference"] < 1e-4
