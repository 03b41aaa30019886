"""The benchmark of networks beside the chi-square: its physics, a run on few events, and its tables on the page."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import vector
from assignments import top_pair_file

from benchmarks.assignment_networks import (
    EXAMPLES,
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
from benchmarks.assignment_tree import (
    assignments_of_six,
    features_of,
    is_right,
    jets_of,
    tree_on_six_jets,
)
from jettagger.assignment import AssignmentEvents, EventDescription, parse_event_text


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


def six_jet_events(count: int, seed: int) -> tuple[AssignmentEvents, EventDescription]:
    """Pairs of tops that decay to six jets, in random order, with masses and b tags that tell them apart."""
    event = parse_event_text((EXAMPLES / "tthad" / "event.yaml").read_text(encoding="utf-8"))
    random = np.random.default_rng(seed)
    pt, eta, phi = (random.uniform(low, high, (count, 6)) for low, high in ((30, 200), (-2, 2), (-3, 3)))
    values = np.stack([np.full_like(pt, 8.0), pt, eta, np.sin(phi), np.cos(phi), np.zeros_like(pt)], -1)
    order = np.argsort(random.random((count, 6)), axis=1)
    rows = np.arange(count)
    for place in (0, 3):
        values[rows, order[:, place], 5] = 1
    targets = {"t1": order[:, :3], "t2": order[:, 3:]}
    masks = {name: np.ones(count, bool) for name in targets}
    jets = {"Jets": values.astype(np.float32)}
    return AssignmentEvents(jets, {"Jets": np.ones((count, 6), bool)}, targets, masks), event


def test_whole_assignments_of_six_jets() -> None:
    events, event = six_jet_events(50, seed=1)
    every = assignments_of_six()
    assert every.shape == (90, 6)
    assert np.array_equal(np.sort(every, axis=1), np.tile(np.arange(6), (90, 1)))
    # of all orders of six jets, eight are the same assignment: two tops, two times two quarks
    assert math.factorial(6) == 8 * len(every)
    assert np.array_equal(np.sum([is_right(events, each) for each in every], axis=0), np.ones(50))
    jets, tags = jets_of(events, event)
    features = features_of(jets, tags, every[7])
    b, q1, q2, *_ = every[7]
    first = (jets[:, q1] + jets[:, q2]).mass
    np.testing.assert_allclose(
        np.minimum(np.abs(features[:, 0] - first), np.abs(features[:, 16] - first)), 0, atol=1e-6
    )
    swapped = features_of(jets, tags, np.array([*every[7][3:], b, q2, q1]))
    np.testing.assert_allclose(np.delete(swapped, [2, 3, 18, 19], axis=1), np.delete(features, [2, 3, 18, 19], axis=1))


@pytest.mark.slow
def test_a_tree_finds_the_tagged_jets() -> None:
    """Only b tags tell anything here: they leave 6 of the 90 assignments, of which one is right."""
    train, test = (six_jet_events(count, seed)[0] for count, seed in ((150, 2), (400, 3)))
    right, number = tree_on_six_jets(train, test, six_jet_events(1, 0)[1])
    assert number == 150
    assert 0.04 < right.mean() < 0.3


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


def measured(example: str, name: str) -> dict[str, dict[str, list[float]]]:
    """Number of jets -> share of right events, and its ratio to that of the chi-square."""
    return json.loads(NUMBERS.read_text(encoding="utf-8"))[example]["rows"][name]


@pytest.mark.parametrize(("example", "events"), [("tthad", 60_000), ("ttH", 73_000)])
def test_networks_with_masses_are_above_the_chi_square(example: str, events: int) -> None:
    """By a quarter in every bin, or as much as a tree on whole assignments where that is the limit."""
    rows = measured(example, f"network, {events:,} events, pair and mass features, rotated events")
    assert all(row["right"][2] >= 200 for row in rows.values())
    ratios = {number: row["ratio"] for number, row in rows.items()}
    assert all(ratio - 3 * error > 1 for ratio, error in ratios.values())
    assert all(
        ratio + 2 * error > 1.25 for number, (ratio, error) in ratios.items() if (example, number) != ("tthad", "6")
    )
    if example == "tthad":
        tree = json.loads(NUMBERS.read_text(encoding="utf-8"))["tthad"]["tree"]["right"]
        value, error, _ = rows["6"]["right"]
        assert abs(value - tree[0]) < 2 * math.hypot(error, tree[1])


def test_ttH_is_told_from_ttbb_and_its_higgs_boson_found() -> None:
    result = json.loads(NUMBERS.read_text(encoding="utf-8"))["ttH"]
    value, error = result["separation"]["difference"]
    assert value > 3 * error
    network, other = (result["higgs"][name] for name in (result["network"], "chi-square"))
    assert network["right"][0] - other["right"][0] > 3 * math.hypot(network["right"][1], other["right"][1])
    assert network["half_width"][0] < other["half_width"][0]
