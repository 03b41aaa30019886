"""The benchmark of matched jets and of the chi-square: its formula, its numbers, and its tables on the page."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from assignments import EXAMPLES, top_pair_file

from benchmarks.assignment import MASSES, NUMBERS, PAGE, PLACE, TAG_RATES, WIDTHS, log_likelihood, measure, table_of
from jettagger.assignment import AssignmentEvents, read_event_file


def test_the_chi_square_is_that_of_four_vectors() -> None:
    vector = pytest.importorskip("vector")
    event = read_event_file(EXAMPLES / "tthad" / "event.yaml")
    rng = np.random.default_rng(1)
    mass, pt, eta, phi = rng.uniform(0, 20, 5), rng.uniform(30, 200, 5), rng.normal(0, 1, 5), rng.uniform(-3, 3, 5)
    tag = rng.integers(0, 2, 5)
    values = np.stack([mass, pt, eta, np.sin(phi), np.cos(phi), tag], axis=-1).astype("f4")[np.newaxis]
    mask = np.array([[True, True, True, True, False]])
    logs = log_likelihood(AssignmentEvents({"Jets": values}, {"Jets": mask}), event)[0]
    jets = [vector.obj(pt=pt[k], eta=eta[k], phi=phi[k], mass=mass[k]) for k in range(4)]
    for b, q1, q2 in itertools.product(range(5), repeat=3):
        if len({b, q1, q2, 4}) < 4:
            assert logs[b, q1, q2] == -np.inf
            continue
        boson, top = (jets[q1] + jets[q2]).mass, (jets[b] + jets[q1] + jets[q2]).mass
        expected = ((boson - MASSES[0]) / WIDTHS[0]) ** 2 + ((top - MASSES[1]) / WIDTHS[1]) ** 2
        for jet, rate in ((b, TAG_RATES[0]), (q1, TAG_RATES[1]), (q2, TAG_RATES[1])):
            expected -= 2 * np.log(rate if tag[jet] else 1 - rate)
        assert logs[b, q1, q2] == pytest.approx(-expected / 2, rel=1e-4)


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
