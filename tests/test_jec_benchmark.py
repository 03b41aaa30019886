"""The study of calibrated jets, on jets made here: known resolutions and masses come out, and the page has them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vector

from benchmarks import jec, jec_page
from benchmarks.jec_page import NETWORK, RAW, STANDARD, TREE
from jettagger.jec import jet_estimates, measure_estimates


def made(jets: int, gluons: float) -> dict[str, Any]:
    """Results of a sample in which the network has 0.7 and the tree 0.9 of the standard resolution."""
    rng = np.random.default_rng(3)
    pt, eta = np.exp(rng.uniform(np.log(20), np.log(1500), jets)), rng.uniform(-2.4, 2.4, jets)
    flavour = rng.choice([1, 4, 5, 21], jets)
    noise = rng.normal(size=(2, jets))
    shift = np.where(flavour == 21, gluons, 1.0)

    def estimate(width: float, factor: Any = 1.0) -> Any:
        return pt * factor * np.exp(width * (0.6 * noise[0] + 0.8 * noise[1]))

    estimates = {
        RAW: estimate(0.1, 0.9 * shift),
        STANDARD: estimate(0.1, shift),
        TREE: estimate(0.09, shift),
        NETWORK: estimate(0.07),
    }
    intervals = {NETWORK: (estimates[NETWORK] * np.exp(-0.07), estimates[NETWORK] * np.exp(0.07))}
    found = jet_estimates(pt, eta, flavour, estimates, intervals=intervals)
    of_reference = {
        label: measure_estimates(
            found, pt_edges=jec.PT_EDGES, eta_edges=(0, 1.3, 2.5), flavours=jec.FLAVOURS, reference=label, replicas=20
        )
        for label in (STANDARD, TREE)
    }
    rows = list(jec.bins(of_reference))
    return {
        "jets": jets,
        "matched_jets": 12 * jets,
        "training_jets": 10 * jets,
        "bins": rows,
        "wide": rows,
        "flavours": list(jec.flavour_rows(of_reference[STANDARD])),
    }


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    rng = np.random.default_rng(4)
    mass = rng.normal(size=4000)
    masses = {
        RAW: 110 * np.exp(0.15 * mass),
        STANDARD: 120 * np.exp(0.15 * mass),
        NETWORK: 118 * np.exp(0.12 * mass),
        "Deep set with neutrinos": 125 * np.exp(0.09 * mass),
    }
    return {
        "test": made(12000, 1.0),
        "noncompensating-test": made(12000, 0.95),
        "higgs": jec.widths(masses, 20),
        "throughput": {
            "jets_per_second": 5000.0,
            "loading": 0.1,
            "preparing": 20000.0,
            "memory": {
                "tenth": {"jets": 10, "megabytes": 300.0},
                "all": {"jets": 100, "megabytes": 310.0},
            },
        },
    }


def test_known_resolutions_flavours_and_coverage_come_out(results: dict[str, Any]) -> None:
    rows = [row for row in results["test"]["bins"] if row["flavour"] == "all"]
    assert len(rows) == 2 * (len(jec.PT_EDGES) - 1)
    for row in rows:
        for key, wanted in (("to_standard", 0.7), ("to_tree", 0.7 / 0.9)):
            value, uncertainty = row[key][NETWORK]
            # the response is log-normal: half of the interquartile range grows with the square of the width
            assert value == pytest.approx(wanted, abs=4 * uncertainty + 0.005)
        assert row["coverage"][0] == pytest.approx(0.683, abs=0.05)
    for sample, expected in (("test", 1.0), ("noncompensating-test", 0.95)):
        rows = {(row["estimate"], row["flavour"]): row["median"] for row in results[sample]["flavours"]}
        assert rows[STANDARD, "g"][0] == pytest.approx(expected, abs=4 * rows[STANDARD, "g"][1])
        assert rows[NETWORK, "g"][0] == pytest.approx(1.0, abs=4 * rows[NETWORK, "g"][1])


def test_widths_of_masses_have_common_replicas(results: dict[str, Any]) -> None:
    found = results["higgs"]["masses"]
    assert found[NETWORK]["to_standard"][0] == pytest.approx(0.8, abs=0.01)
    assert found["Deep set with neutrinos"]["to_network"][0] == pytest.approx(0.75, abs=0.01)
    # the same pairs: the ratio is known far better than the widths
    assert found[NETWORK]["to_standard"][1] < 0.1 * found[NETWORK]["width"][1] / found[NETWORK]["width"][0]
    assert results["higgs"]["left_out"] == 0


def test_mass_of_a_pair_is_that_of_vector() -> None:
    rng = np.random.default_rng(5)
    pair = [tuple(rng.uniform(low, high, 20) for low, high in ((30, 99), (-2, 2), (-3, 3), (3, 9))) for _ in range(2)]
    one, two = (vector.array(dict(zip(("pt", "eta", "phi", "mass"), item, strict=True))) for item in pair)
    np.testing.assert_allclose(jec._pair_mass(pair), (one + two).mass)


def test_events_of_different_files_are_different() -> None:
    found = jec.distinct_events(np.array([1, 1, 2, 9, 1, 3], dtype=np.uint64))
    assert len(np.unique(found)) == 5
    assert found[0] == found[1]


@pytest.mark.slow
def test_the_page_has_the_numbers(tmp_path: Path, results: dict[str, Any]) -> None:
    texts = jec_page.tables(results)
    assert texts["resolution"].count("\n| ") == 2 * (len(jec.PT_EDGES) - 1)
    assert "none |" in next(line for line in texts["goals"].splitlines() if "in no bin wider" in line)
    line = next(line for line in texts["goals"].splitlines() if "0.80 of the standard" in line)
    assert re.search(r"at most 0\.(69|7[0-3])\d ± 0\.0", line), line
    assert "two standard deviations | none |" in texts["goals"]
    assert "5000 jets per second of CPU" in texts["throughput"]
    assert texts["flavours"].count("| noncompensating |") == len(jec.FLAVOURS)
    page = "# Jets\n<!-- study goals -->\nold\n<!-- end of study -->\n<!-- study other -->\n<!-- end of study -->\n"
    new = jec_page.filled(page, results)
    assert f"<!-- study goals -->\n{texts['goals']}\n<!-- end" in new
    assert "not measured" in new
    assert jec_page.filled(new, results) == new
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    jec_page.draw(results, tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 10_000


def test_the_documented_figures_are_those_of_the_measurement() -> None:
    docs = Path(__file__).parent.parent / "docs"
    results = jec.json.loads((docs / "measured_jec.json").read_text(encoding="utf-8"))
    text = (docs / "jec.md").read_text(encoding="utf-8")
    assert jec_page.filled(text, results) == text, "python -m benchmarks.jec page WORK docs"
    assert "not measured" not in text
