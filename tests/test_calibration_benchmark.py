"""The study of two cards, on histograms made here: known factors are found, and the page has its table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import calibration
from jettagger.histograms import AxisSpec, HistSpec, save

#: fractions of merged and partly merged jets in the bands, as simulated and in data
FRACTIONS = {
    "default": {"signal": (0.25, 0.2, 0.2, 0.35), "partly_merged": (0.7, 0.15, 0.1, 0.05)},
    "alternative": {"signal": (0.3, 0.22, 0.2, 0.28), "partly_merged": (0.76, 0.12, 0.08, 0.04)},
}


def write(folder: Path, jets: int) -> None:
    """Histograms of all samples: merged jets at 170 GeV, partly merged ones at 90 GeV, others flat."""
    (folder / "histograms").mkdir()
    edges = [0.0, *calibration.POINTS.values(), 1.0]
    axes = [
        AxisSpec("pt", edges=(400, 500, 600, 1000)),
        AxisSpec("score", edges=tuple(edges)),
        AxisSpec("msoftdrop", bins=(10, 50, 250)),
    ]
    rng = np.random.default_rng(1)
    for process in calibration.PROCESSES:
        spec = HistSpec("probe", axes, categories=("dataset", "category", "variation"))
        for low, high in calibration.BINS:
            for card in calibration.CARDS:
                histogram = spec.make()
                for category in ("signal", "partly_merged", "unmerged", "other"):
                    number = jets if process == "ttmu" and category != "other" else jets // 20
                    fractions = FRACTIONS[card].get(category, (0.9, 0.05, 0.03, 0.02))
                    centre, width = {"signal": (170, 12), "partly_merged": (90, 12)}.get(category, (150, 80))
                    found: dict[str, Any] = {
                        "pt": rng.uniform(low, high, number),
                        "score": np.array(edges)[rng.choice(4, number, p=fractions)] + 1e-4,
                    }
                    mass = rng.normal(centre, width, number)
                    for name, factor in (("nominal", 1.0), ("mass_scaleUp", 1.02), ("mass_scaleDown", 0.98)):
                        columns = found | {"msoftdrop": mass * factor}
                        spec.fill(histogram, columns, dataset=process, category=category, variation=name)
                    for name, factor in (("mass_resolutionUp", 1.15), ("mass_resolutionDown", 0.85)):
                        columns = found | {"msoftdrop": centre + factor * (mass - centre)}
                        spec.fill(histogram, columns, dataset=process, category=category, variation=name)
                rows = {"initial": {"events": 4 * jets}, "scored": {"events": 3 * jets}}
                record = {"generated": 10.0 * jets, "cross_section": 2.0, "cutflow": rows}
                name = calibration.name_of(process, low, card, 1)
                save({"probe": histogram}, folder / "histograms" / f"{name}.json.gz", record)


@pytest.mark.slow
def test_known_factors_are_found_and_shown(tmp_path: Path) -> None:
    pytest.importorskip("pyhf", reason="the extra stats is not installed")
    write(tmp_path, 3000)
    result = calibration.fit(tmp_path)
    assert len(result["rows"]) == 9
    for row in result["rows"]:
        number = list(calibration.POINTS).index(row["point"]) + 1
        before, after = (sum(FRACTIONS[card]["signal"][number:]) for card in ("default", "alternative"))
        assert row["true"] == pytest.approx(after / before, rel=0.08)
        assert abs(row["factor"] - row["true"]) < 4 * row["uncertainty"]
        assert 0.005 < row["uncertainty"] < 0.1
        assert 0 < row["contributions"]["statistics"] <= row["uncertainty"]
    assert result["chi2"][1] == 9
    assert result["chi2"][2] > 0.001
    text = calibration.table(result)
    assert text.count("\n| ") == 9
    page = tmp_path / "calibration.md"
    page.write_text("# A page\n<!-- two cards -->\n<!-- end of two cards -->\nmore\n")
    (tmp_path / "measured_calibration.json").write_text(calibration.json.dumps(result))
    calibration.write_page(tmp_path)
    assert page.read_text() == f"# A page\n<!-- two cards -->\n{text}\n<!-- end of two cards -->\nmore\n"


def test_efficiencies_and_their_errors() -> None:
    counts = np.array([40.0, 30.0, 20.0, 10.0])
    value, error = calibration.efficiencies(counts, counts)
    np.testing.assert_allclose(value, [0.6, 0.3, 0.1])
    np.testing.assert_allclose(error, np.sqrt(value * (1 - value) / 100))
    np.testing.assert_allclose(calibration.efficiencies(2 * counts, 4 * counts)[1], error)


def test_the_documented_figures_are_those_of_the_measurement() -> None:
    docs = Path(__file__).parent.parent / "docs"
    result = calibration.json.loads((docs / "measured_calibration.json").read_text(encoding="utf-8"))
    text = (docs / "calibration.md").read_text(encoding="utf-8")
    assert f"<!-- two cards -->\n{calibration.table(result)}\n<!-- end" in text, (
        "python -m benchmarks.calibration page docs"
    )
