"""Physics sanity of simulated jets, on small samples: what would be wrong first if a part were broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettagger.errors import ConfigError
from jettagger.simulation import PROCESSES, label_id, load_card
from jettagger.simulation.processes import Point

pytest.importorskip("fastjet", reason="extra sim is not installed")
pythia8mc = pytest.importorskip("pythia8mc", reason="extra sim is not installed")


def _batch(
    name: str,
    events: int,
    mass: tuple[float, float] = (0.0, 0.0),
    hard: tuple[float, float] = (400.0, 1000.0),
) -> Any:
    from jettagger.simulation.block import process_batch
    from jettagger.simulation.generate import Generator

    process = PROCESSES[name]
    truth = Generator(process.settings(Point(hard, mass)), 11).next(events)
    return process_batch(truth, process, load_card(), (350.0, 2000.0), np.random.default_rng(1))


@pytest.fixture(scope="module")
def beauty() -> Any:
    return _batch("Hbb", 80, (80.0, 160.0))


@pytest.fixture(scope="module")
def light() -> Any:
    return _batch("QCDlight", 80)


@pytest.fixture(scope="module")
def tops() -> Any:
    return _batch("tt", 80, hard=(1000.0, 2000.0))


@pytest.fixture(scope="module")
def bosons() -> Any:
    return _batch("XZH", 80, (2000.0, 2000.0))


@pytest.fixture(scope="module")
def singles() -> Any:
    return _batch("Wqq", 80)


def _mass(batch: Any, *types: str) -> float:
    chosen = np.isin(batch.fat_truth["label"], [label_id(name) for name in types])
    assert np.sum(chosen) >= 15
    return float(np.median(batch.card["jets"]["correction"] * batch.fat_shape.softdrop_mass[chosen]))


def test_production_vertices_are_those_of_the_event_record() -> None:
    """``nextBatch`` of some versions of pythia8mc gives vertices to the wrong particles; a loop does not."""
    from jettagger.simulation.generate import COMMON, Generator

    settings = PROCESSES["Hbb"].settings(Point((300.0, 600.0), (100.0, 150.0)))
    truth = Generator(settings, 4).next(3)
    loop = pythia8mc.Pythia("", False)
    for line in (*COMMON, "Random:seed = 5", *settings):
        assert loop.readString(line)
    loop.init()
    rows: list[list[float]] = []
    for _ in range(3):
        assert loop.next()
        for index in range(loop.event.size()):
            particle = loop.event[index]
            rows.append(
                [particle.id(), particle.px(), particle.xProd(), particle.yProd(), particle.zProd(), particle.tProd()]
            )
    expected = np.array(rows)
    found = np.stack([truth.id, truth.px, truth.vx, truth.vy, truth.vz, truth.vt], axis=1)
    assert found.shape == expected.shape
    assert found == pytest.approx(expected, abs=1e-9)
    displaced = np.hypot(truth.vx, truth.vy)[truth.status > 0] > 0.01
    assert 0.02 < np.mean(displaced) < 0.5


def test_momentum_of_the_generated_events_balances(light: Any) -> None:
    truth = light.truth
    final = truth.status > 0
    for axis in (truth.px, truth.py):
        total = np.bincount(truth.event[final], weights=axis[final], minlength=truth.n_events)
        assert np.max(np.abs(total)) < 1e-3
    energy = np.bincount(truth.event[final], weights=truth.energy[final], minlength=truth.n_events)
    assert energy == pytest.approx(13600.0, abs=0.5)


def test_measured_momentum_balances(light: Any) -> None:
    candidates = light.candidates
    missing = np.hypot(
        *(np.bincount(candidates.event, weights=axis) for axis in (candidates.px, candidates.py))
    )  # fmt: skip
    # neutrinos are rare here: what is missing is resolution and acceptance
    assert np.median(missing) < 30.0


def test_mass_peaks(tops: Any, bosons: Any, singles: Any) -> None:
    assert _mass(singles, "Wqq", "Wcq") == pytest.approx(80.4, rel=0.08)
    assert _mass(tops, "TopbWqq0c", "TopbWqq1c") == pytest.approx(172.5, rel=0.06)
    assert _mass(bosons, "Zqq", "Zcc", "Zbb") == pytest.approx(91.2, rel=0.08)
    assert _mass(bosons, "Hbb") == pytest.approx(120.0, rel=0.08)


def _displaced(batch: Any) -> float:
    part = batch.candidates.take(batch.fat.members)
    tracks = part.details
    return float(np.mean(np.abs(part.d0[tracks]) > 5 * part.d0_error[tracks]))


def test_shares_of_displaced_tracks(beauty: Any, light: Any) -> None:
    assert 0.17 < _displaced(beauty) < 0.35
    assert 0.005 < _displaced(light) < 0.06


def test_secondary_vertices_where_they_belong(beauty: Any, light: Any) -> None:
    def per_jet(batch: Any) -> float:
        from jettagger.simulation.vertices import jet_vertices

        fat, found = batch.fat, batch.secondary
        _, vertex, _ = jet_vertices(fat.event, fat.eta, fat.phi, found, batch.truth.n_events, cone=0.8)
        return float(np.sum(found.d3d_sig[vertex] > 5)) / len(fat)

    assert per_jet(beauty) > 1.2
    assert per_jet(light) < 0.25
    found = beauty.secondary
    strong = found.d3d_sig > 10
    assert np.mean(found.cos_pointing[strong]) > 0.97
    assert 0.5 < np.median((found.chi2 / found.ndof)[strong]) < 1.5
    assert 0.6 < np.median(found.mass[strong]) < 4.0


def test_substructure_orders_the_prongs(beauty: Any, light: Any, tops: Any) -> None:
    def ratio(batch: Any, order: int, *types: str) -> float:
        tau = batch.fat_shape.tau
        if types:
            tau = tau[np.isin(batch.fat_truth["label"], [label_id(name) for name in types])]
        tau = tau[tau[:, order - 1] > 0]
        return float(np.median(tau[:, order] / tau[:, order - 1]))

    assert ratio(beauty, 1) < 0.75 * ratio(light, 1)
    assert ratio(tops, 2, "TopbWqq0c", "TopbWqq1c") < 0.9 * ratio(light, 2)


def test_response_against_generator_jets(light: Any, tops: Any) -> None:
    for batch in (light, tops):
        matched = batch.fat_match >= 0
        assert np.mean(matched) > 0.95
        true = batch.gen_fat.pt[batch.fat_match[matched]]
        response = batch.card["jets"]["correction"] * batch.fat.pt[matched] / true
        assert np.median(response) == pytest.approx(1.0, abs=0.02)
        assert 0.005 < np.std(np.clip(response, 0.8, 1.2)) < 0.08
    small = tops.small_match >= 0
    true = tops.gen_small.pt[tops.small_match[small]]
    hard = true > 50
    response = tops.card["jets"]["correction"] * tops.small.pt[small] / true
    assert np.median(response[hard]) == pytest.approx(1.0, abs=0.03)


def test_multiplicities_and_flavour(beauty: Any, light: Any) -> None:
    assert 30 < np.mean(light.fat.counts) < 80
    assert np.mean(beauty.fat_truth["nBHadrons"] == 2) > 0.9
    assert np.all(light.fat_truth["nBHadrons"] + light.fat_truth["nCHadrons"] == 0)
    mass = beauty.fat_truth["genResonanceMass"]
    assert 80.0 <= np.min(mass) <= np.max(mass) <= 160.0


def test_light_jets_carry_the_mass_of_their_generator_jet(light: Any) -> None:
    matched = light.fat_match >= 0
    mass = light.fat_truth["genResonanceMass"]
    assert mass[matched] == pytest.approx(light.gen_fat_mass[light.fat_match[matched]])
    assert np.all(mass[~matched] == -1)
    own = light.fat_shape.softdrop_mass
    heavy = matched & (mass > 20)
    assert np.median(own[heavy] / mass[heavy]) == pytest.approx(1.0, abs=0.1)


def test_cards_make_different_detectors() -> None:
    from jettagger.simulation.detector import primary_vertices, reconstruct
    from jettagger.simulation.generate import Generator

    truth = Generator(PROCESSES["QCDlight"].settings(Point((300.0, 600.0), (0.0, 0.0))), 3).next(30)
    widths, tracks = [], []
    for name in ("default", "alternative"):
        card, rng = load_card(name), np.random.default_rng(2)
        found = reconstruct(truth, primary_vertices(card, truth.n_events, rng), card, rng)
        widths.append(float(np.median(np.abs(found.shift_d0[found.charge != 0]))))
        tracks.append(int(np.sum(found.charge != 0)))
    assert widths[1] > 1.08 * widths[0]
    assert tracks[1] < tracks[0]


def test_events_of_several_generators_side_by_side() -> None:
    from jettagger.simulation.generate import Generator, concatenate

    settings = PROCESSES["Hbb"].settings(Point((200.0, 600.0), (80.0, 200.0)))
    truths = [Generator(settings, seed).next(3) for seed in (1, 2)]
    both = concatenate(truths)
    assert both.n_events == 6
    assert both.info["pthat"].shape == (6,)
    np.testing.assert_array_equal(both.event[-1], 5)
    for truth, rows in zip(truths, (both.event < 3, both.event >= 3), strict=True):
        for name in ("mother", "daughter1", "daughter2"):
            own, merged = getattr(truth, name), getattr(both, name)[rows]
            np.testing.assert_array_equal(own < 0, merged < 0)
            np.testing.assert_array_equal(truth.id[own[own >= 0]], both.id[merged[merged >= 0]])
            np.testing.assert_array_equal(truth.pz[own[own >= 0]], both.pz[merged[merged >= 0]])


def test_neutrinos_of_decays_are_added_to_generator_jets() -> None:
    from jettagger.simulation.block import match
    from jettagger.simulation.generate import is_neutrino
    from jettagger.simulation.jets import Vectors, cluster

    batch = _batch("ttHbb-resolved", 60, hard=(0.0, 2000.0))
    truth, jets, pt = batch.truth, batch.gen_small, batch.gen_small_pt_nu
    added = pt > 1.02 * jets.pt
    assert np.all(pt > 0.97 * jets.pt)
    assert 0.05 < np.mean(added) < 0.3
    # the same particles with the neutrinos clustered; a jet has few, and they are near its axis
    index = np.sort(np.concatenate([batch.gen, np.flatnonzero((truth.status > 0) & is_neutrino(truth.id))]))
    vectors = Vectors(truth.px, truth.py, truth.pz, truth.energy).take(index)
    clustered = cluster(truth.event[index], vectors, truth.n_events, radius=0.4, min_pt=10.0)
    nearest = match(jets, clustered, truth.n_events, 0.2)
    for mask in (added, ~added):
        chosen = mask & (nearest >= 0) & (jets.pt > 30) & (np.abs(jets.eta) < 2.5)
        ratio = clustered.pt[nearest[chosen]] / pt[chosen]
        assert np.sum(chosen) > 40
        # leptons of W are in a jet of their own, whose neutrinos are not added
        assert np.mean(np.abs(ratio - 1) < 0.02) > 0.85


@pytest.mark.parametrize(
    ("name", "quarks", "higgs"),
    [("tthad-resolved", 4, 0), ("ttsemilep-resolved", 2, 0), ("ttHbbsemilep-resolved", 2, 1)],
)
def test_decays_of_resolved_top_pairs(name: str, quarks: int, higgs: int) -> None:
    batch = _batch(name, 12, hard=(0.0, 2000.0))
    truth = batch.truth
    assert batch.keep.all()
    kinds, mothers = np.abs(truth.id), np.abs(truth.id[np.maximum(truth.mother, 0)])
    hard = (truth.mother >= 0) & (np.abs(truth.status) == 23)
    for event in range(truth.n_events):
        mine = hard & (truth.event == event)
        assert np.sum(mine & (mothers == 24) & (kinds < 6)) == quarks
        assert np.sum(mine & (mothers == 25) & (kinds == 5)) == 2 * higgs
    # forced channels of one sign each have half of the cross section
    assert PROCESSES[name].cross_section == (1.0 if quarks == 4 else 2.0)


@pytest.mark.slow
def test_further_b_quarks_beside_top_pairs() -> None:
    from jettagger.simulation.block import process_batch
    from jettagger.simulation.generate import Generator, emptied
    from jettagger.simulation.labels import further_b_quarks

    process = PROCESSES["ttbb-resolved"]
    truth = Generator(process.settings(Point((200.0, 1000.0), (0.0, 0.0))), 5).next(100)
    number = further_b_quarks(truth)
    assert 0 < np.mean(number >= 2) < 0.3
    kept = emptied(truth, number >= 2)
    rows = np.flatnonzero((number >= 2)[truth.event])
    np.testing.assert_array_equal(kept.counts, np.where(number >= 2, truth.counts, 0))
    np.testing.assert_array_equal(kept.id, truth.id[rows])
    for links in ("mother", "daughter1", "daughter2"):
        own, before = getattr(kept, links), getattr(truth, links)[rows]
        np.testing.assert_array_equal(np.where(own < 0, -1, rows[own]), before)
    batch = process_batch(truth, process, load_card(), (350.0, 2000.0), np.random.default_rng(1))
    np.testing.assert_array_equal(batch.keep, number >= 2)
    assert set(batch.small.event) == set(np.flatnonzero(batch.keep)) == set(batch.truth.event)


def test_tables_of_interactions_change_the_start_alone(tmp_path: Path) -> None:
    from jettagger.simulation.generate import Generator, tabulate_interactions

    tables = tabulate_interactions([], tmp_path / "tables.dat")
    settings = PROCESSES["QCDlight"].settings(Point((300.0, 600.0), (0.0, 0.0)))
    with_tables, without = Generator(settings, 3, tables).next(60), Generator(settings, 3).next(60)
    particles = np.sort(with_tables.counts), np.sort(without.counts)
    # other random numbers, the same physics: about 1500 particles an event, spread by half of that
    spread = np.std(particles[1]) / np.sqrt(60)
    assert abs(np.mean(particles[0]) - np.mean(particles[1])) < 5 * spread
    again = Generator(settings, 3, tables).next(60)
    np.testing.assert_array_equal(again.pz, with_tables.pz)
    with pytest.raises(ConfigError, match="does not initialise"):
        Generator(settings, 3, tmp_path / "absent.dat")


@pytest.mark.long
def test_tables_of_minimum_bias_change_the_start_alone(tmp_path: Path) -> None:
    from jettagger.simulation.generate import Generator, tabulate_interactions
    from jettagger.simulation.pileup import MINIMUM_BIAS

    tables = tabulate_interactions([], tmp_path / "soft.dat", MINIMUM_BIAS)
    with_tables, without = Generator(MINIMUM_BIAS, 3, tables).next(500), Generator(MINIMUM_BIAS, 4).next(500)
    for values in (lambda truth: truth.counts, lambda truth: np.bincount(truth.event, np.hypot(truth.px, truth.py))):
        first, second = values(with_tables), values(without)
        error = np.hypot(np.std(first), np.std(second)) / np.sqrt(500)
        assert abs(np.mean(first) - np.mean(second)) < 4 * error
    np.testing.assert_array_equal(
        Generator(MINIMUM_BIAS, 3, tables).next(20).pz, with_tables.pz[: np.sum(with_tables.counts[:20])]
    )


def test_neutral_keys_of_a_card_change_no_number() -> None:
    from jettagger.simulation.detector import hadron_response

    energy = np.array([0.1, 1.0, 20.0, 3000.0])
    for name in ("default", "alternative"):
        np.testing.assert_array_equal(hadron_response(energy, load_card(name)), 1.0)
    response = hadron_response(energy, load_card("noncompensating"))
    # h/e below E0, and 1 - (1 - h/e) (E / E0)^(k - 1) above
    np.testing.assert_allclose(response, [0.4, 0.4, 1 - 0.6 * 20.0**-0.18, 1 - 0.6 * 3000.0**-0.18])


def test_a_card_that_treats_flavours_differently(light: Any) -> None:
    from jettagger.simulation.block import process_batch

    medians = {}
    for name in ("default", "noncompensating"):
        batch = process_batch(light.truth, light.process, load_card(name), (300.0, 2000.0), np.random.default_rng(2))
        jets, match = batch.small, batch.small_match
        tracks = np.bincount(jets.owner, weights=batch.candidates.charge[jets.members] != 0)
        chosen = (match >= 0) & (np.abs(jets.eta) < 2.0) & (jets.pt > 100)
        gen = batch.gen_small
        ratio = jets.pt[chosen] / gen.pt[match[chosen]]
        many = gen.counts[match[chosen]] > np.median(gen.counts[match[chosen]])
        medians[name] = [np.median(ratio[many]), np.median(ratio[~many]), np.mean(tracks[chosen])]
    assert medians["default"][0] == pytest.approx(medians["default"][1], abs=0.01)
    # jets of many particles, as gluons give, lose more
    assert medians["noncompensating"][0] < medians["noncompensating"][1] - 0.015
    assert medians["noncompensating"][1] < 0.97
    assert medians["noncompensating"][2] < 0.95 * medians["default"][2]
