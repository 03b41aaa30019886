"""The benchmark of the stability of trainings: spreads, redraws with another seed, and its table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import f
from test_finetuning_kinematics import made
from toyskims import write_toy

from benchmarks import report, stability
from jettagger.decorrelation.reweighting import SpectrumBins


@pytest.mark.parametrize("method", ["downsample", "resample"])
def test_another_seed_draws_other_jets_and_the_same_seed_the_same(tmp_path: Path, method: str) -> None:
    write_toy(tmp_path / "toy1.parquet", 1200)
    jets = made(tmp_path, tmp_path / "s", method, least_jets="10")

    def drawn(seed: int) -> Any:
        again = stability.seeded(jets, seed)
        rows = np.concatenate([again.part(rows, 0, "train") for rows in again.store])
        assert len({tuple(row) for row in again.factors.round(6).tolist()}) == 3
        return np.sort(rows[:, 0])

    first, again, other = (drawn(seed) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()
    assert abs(len(first) - len(other)) <= 27


def test_spectra_are_those_of_training_and_validation(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy1.parquet", 600)
    jets = made(tmp_path, tmp_path / "s", "weights")
    bins = SpectrumBins(jets.config.kinematics.columns)  # type: ignore[union-attr]
    sums = stability.spectra(jets, bins)
    # flat after the factors
    new = sums * jets.factors
    np.testing.assert_allclose(new, new.mean(), rtol=1e-5)


def test_the_spread_of_ten_numbers_has_an_uncertainty_of_a_quarter() -> None:
    values = np.random.default_rng(1).normal(3, 2, (2000, 10))
    found = [stability.spread(list(row)) for row in values]
    deviations = np.array([item.deviation for item in found])
    assert found[0].deviation == pytest.approx(np.std(values[0], ddof=1))
    assert found[0].deviation_uncertainty / found[0].deviation == pytest.approx(0.2357, abs=1e-4)
    assert deviations.std() == pytest.approx(0.2357 * 2, rel=0.1)
    assert np.std([item.mean for item in found]) == pytest.approx(2 / np.sqrt(10), rel=0.1)


def test_the_table_has_a_row_per_method(tmp_path: Path) -> None:
    path = tmp_path / "measured.json"
    report.keep(path, "stability", "machine", report.machine(), here=False)
    spreads = {key: vars(stability.spread([1.0, 2.0, 3.0])) for key in ("loss", "rejection_30", "rejection_50")}
    for name, effective in (("none", None), ("weights", [50.0, 40.0])):
        one = {"jets": {"A": 70, "B": 60}, "effective": effective, "spreads": spreads, "seeds": 3}
        report.keep(path, "stability", name, one, here=False)
    text = "<!-- measured: stability -->\nold\n<!-- end -->\n"
    page = report.page(text, json.loads(path.read_text()))
    assert "3 seeds, 70 of A and 60 of B for training" in page
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| ")]
    assert [row[1].strip() for row in rows] == ["kinematics", "none", "weights"]
    assert [row[2].strip() for row in rows] == ["effective jets", "70 + 60", "50 + 40"]
    assert rows[1][3].strip() == "2.00 ± 0.58"
    assert rows[1][4].strip() == "1.00 ± 0.50"


def test_the_spreads_are_compared_by_an_f_test() -> None:
    rng = np.random.default_rng(1)
    samples = {"weights": rng.normal(0, 1, 10), "resampling": rng.normal(0, 3, 10)}
    found: dict[str, Any] = {"machine": report.machine()}
    for name, values in samples.items():
        spreads = {key: vars(stability.spread(list(values))) for key in ("loss", "rejection_30", "rejection_50")}
        found[name] = {"jets": {"A": 7}, "effective": None, "spreads": spreads, "seeds": 10}
    ratio = np.std(samples["resampling"], ddof=1) / np.std(samples["weights"], ddof=1)
    p = 2 * f.sf(ratio**2, 9, 9)
    assert f"{ratio:.2f} (p = {p:.2f})" in report.show("stability", found)


def test_the_page_has_what_was_measured() -> None:
    docs = Path(__file__).resolve().parent.parent / "docs"
    text = (docs / "decorrelation.md").read_text(encoding="utf-8")
    results = json.loads((docs / "measured_decorrelation.json").read_text())
    assert report.page(text, results) == text, "python -m benchmarks.report docs/measured_decorrelation.json docs/..."
    assert set(stability.METHODS) == set(results["stability"]) - {"machine"}
