"""The benchmark of networks beside the chi-square: its physics, a run on few events, and its tables on the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import vector
from assignments import top_pair_file

from benchmarks.assignment_networks import (
    NUMBERS,
    PAGE,
    PLACE,
    gain,
    half_width,
    main,
    mass_of,
    neutrino_solution,
    share,
    table_of,
)
from jettagger.assignment import AssignmentEvents, parse_event_text


def test_the_neutrino_gives_the_mass_of_the_w_boson() -> None:
    random = np.random.default_rng(5)
    # decays of a W boson at rest, boosted
    direction = random.normal(size=(200, 3))
    direction *= 40.2 / np.linalg.norm(direction, axis=1)[:, None]
    boost = random.uniform(-0.5, 0.5, (200, 3))
    x, y, z = direction.T
    legs = [vector.array({"px": sign * x, "py": sign * y, "pz": sign * z, "mass": np.zeros(200)}) for sign in (1, -1)]
    velocity = vector.array({"x": boost[:, 0], "y": boost[:, 1], "z": boost[:, 2]})
    lepton, neutrino = (leg.boost_beta3(velocity) for leg in legs)
    momenta = np.stack([lepton.E, lepton.px, lepton.py, lepton.pz], axis=1)
    made = neutrino_solution(momenta, neutrino.px, neutrino.py)
    solved = vector.array({"px": neutrino.px, "py": neutrino.py, "pz": made, "mass": np.zeros(200)})
    np.testing.assert_allclose((lepton + solved).mass, 80.4, rtol=1e-4)
    assert (np.abs(made) <= np.abs(neutrino.pz) + 1e-3).all()
    assert np.isclose(made, neutrino.pz, rtol=1e-3).mean() > 0.4


def test_masses_of_slots_are_those_of_vector() -> None:
    event = parse_event_text(
        "INPUTS: {SEQUENTIAL: {Jets: {mass: none, pt: none, eta: none, sin_phi: none, cos_phi: none}}}\n"
        "EVENT: {h: [a, b]}"
    )
    random = np.random.default_rng(2)
    pt, eta, phi, mass = (random.uniform(low, high, (4, 3)) for low, high in ((20, 90), (-2, 2), (-3, 3), (1, 9)))
    values = np.stack([mass, pt, eta, np.sin(phi), np.cos(phi)], -1).astype(np.float32)
    events = AssignmentEvents({"Jets": values}, {"Jets": np.ones((4, 3), bool)})
    found = mass_of(events, event, np.array([[0, 2], [1, 2], [2, 0], [1, -1]]))
    jets = vector.array({"pt": pt, "eta": eta, "phi": phi, "mass": mass})
    expected = [(jets[row, i] + jets[row, j]).mass for row, (i, j) in enumerate(((0, 2), (1, 2), (2, 0)))]
    np.testing.assert_allclose(found[:3], expected, rtol=1e-5)
    assert np.isnan(found[3])


def test_shares_and_widths() -> None:
    assert share(np.array([True, False, True, True])) == (0.75, pytest.approx(0.2165, abs=1e-4), 4)
    assert half_width(np.random.default_rng(0).normal(0, 3, 100_000)) == pytest.approx(3, rel=0.02)
    base = np.arange(400) % 4 == 0
    ratio, error = gain(base | (np.arange(400) % 4 == 1), base)
    assert ratio == 2
    assert 0.1 < error < 0.3


@pytest.mark.slow
def test_it_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("h5py")
    files = [str(top_pair_file(tmp_path / f"{seed}.root", 90, seed=seed)) for seed in (1, 2)]
    line = ["tthad", str(tmp_path / "out"), "--training", files[0], "--test", files[1], "--sizes", "20"]
    line += ["--epochs", "1", "--variants", "pair and mass features"]
    main(line)
    first = capsys.readouterr().out
    assert "| network, 20 events, pair and mass features |" in first
    main([*line, "--no-training"])
    assert capsys.readouterr().out.rpartition("| |")[2] == first.rpartition("| |")[2]


def test_the_page_has_the_numbers() -> None:
    results = json.loads(NUMBERS.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    tables = {match["name"]: match[0] for match in PLACE.finditer(text)}
    assert set(tables) == set(results)
    for name, result in results.items():
        assert table_of(result, name) in tables[name]


def test_networks_with_masses_are_above_the_chi_square() -> None:
    """In all-hadronic top pairs; the training on ttH is too short."""
    rows = json.loads(NUMBERS.read_text(encoding="utf-8"))["tthad"]["rows"]
    ratios = [numbers["ratio"] for numbers in rows["network, 60,000 events, pair and mass features"].values()]
    assert all(ratio > 1 for ratio, _ in ratios)
    assert all(ratio - 3 * error > 1 for ratio, error in ratios[1:])
