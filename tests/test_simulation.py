"""The parts of the simulator: cards, processes, labels, geometry, jets, formats."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jettagger.errors import ConfigError, UnknownName
from jettagger.kinematics import delta_phi
from jettagger.simulation import (
    LABELS,
    MIXTURES,
    PROCESSES,
    V1_TYPES,
    card_names,
    label_id,
    label_name,
    load_card,
    plan,
)
from jettagger.simulation.detector import charges, impact_parameters
from jettagger.simulation.generate import local_index, offsets_of
from jettagger.simulation.labels import PHOTON, TAU_E, TAU_H, TAU_M, _type_of
from jettagger.simulation.pfnano import catchment_areas, reduced
from jettagger.simulation.vertices import fit_lines
from jettagger.truth.matching import pairs
from jettagger.truth.records import has_quark

fastjet = pytest.importorskip("fastjet", reason="extra sim is not installed")
pythia8mc = pytest.importorskip("pythia8mc", reason="extra sim is not installed")


def test_importing_loads_neither_generator_nor_clustering() -> None:
    code = (
        "import sys, jettagger.simulation; "
        "print([name for name in ('pythia8mc', 'fastjet', 'uproot', 'torch') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# ------------------------------------------------------------------------------------------------ cards


def test_two_cards_that_differ_in_tracking_and_fragmentation() -> None:
    default, other = load_card("default"), load_card("alternative")
    assert {"default", "alternative"} <= set(card_names())
    assert default["tracking"]["d0_slope"] < other["tracking"]["d0_slope"]
    assert default["generator"]["tune_settings"] == []
    assert other["generator"]["tune_settings"]
    assert default.digest != other.digest
    assert default.with_pileup(20.0)["pileup"]["mean"] == 20.0
    assert default["pileup"]["mean"] == 0.0


def test_keys_with_defaults_may_be_left_out_of_a_card(tmp_path: Path) -> None:
    from importlib import resources

    text = (resources.files("jettagger.simulation") / "cards" / "default.yaml").read_text()
    optional = ("dense_loss", "dense_cone", "hcal_h_over_e", "hcal_shower_energy", "hcal_shower_exponent")
    lines = [line for line in text.splitlines() if not line.strip().startswith(optional)]
    assert len(lines) == len(text.splitlines()) - len(optional)
    path = tmp_path / "older.yaml"
    path.write_text("\n".join(lines))
    assert load_card(path).values == load_card("default").values


def test_unknown_card_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"defalt.*nearest: default"):
        load_card("defalt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("format: jettagger-detector-card/1", "format: other/2"), "format is 'other/2'"),
        (
            ("magnetic_field: 3.8", "magnetic_feld: 3.8"),
            r"line 31: unknown key 'magnetic_feld' \(nearest: magnetic_field",
        ),
        (
            ("magnetic_field: 3.8", "magnetic_field: strong"),
            r"line 31: 'magnetic_field' must be a number, got 'strong'",
        ),
        (("magnetic_field: 3.8", "magnetic_field: .nan"), "'magnetic_field' must be a number, got nan"),
        (("  sigma_z: 3.5\n", ""), "line 12: the key 'sigma_z' is missing"),
        (("dense_loss: 0.0 ", "dense_loss: -1 "), "'dense_loss'.*got -1"),
        (("hcal_shower_exponent: 0.82", "hcal_shower_exponent: 1.5"), "'hcal_shower_exponent'.*got 1.5"),
        (("tracking:", "tracking: ["), "not valid YAML"),
    ],
)
def test_bad_cards(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    from importlib import resources

    text = (resources.files("jettagger.simulation") / "cards" / "default.yaml").read_text()
    assert change[0] in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(*change))
    with pytest.raises((ConfigError, UnknownName), match=message):
        load_card(path)


def test_missing_card_file_and_negative_pileup(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_card(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="pile-up interactions: got -1"):
        load_card().with_pileup(-1)


# -------------------------------------------------------------------------------------------- processes


def test_every_v1_type_is_kept_by_a_process_of_the_mixture() -> None:
    kept = set(itertools.chain.from_iterable(PROCESSES[name].keep for name in MIXTURES["v1-types"].shares))
    assert kept == set(V1_TYPES)
    numbers = [process.number for process in PROCESSES.values()]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.data
def test_types_are_in_the_order_of_the_published_description(shared: Path) -> None:
    content = json.loads((shared / "models" / "glopart-v1" / "preprocess.json").read_text())
    names = [name.removeprefix("label_").removeprefix("prob").replace("_", "") for name in content["output_names"]]
    assert tuple(names[:37]) == V1_TYPES


def test_label_names_and_numbers() -> None:
    assert label_id("QCDothers") == 27
    assert label_name(label_id("Xbc")) == "Xbc"
    assert min(number for name, number in LABELS.items() if name not in V1_TYPES) >= 100
    with pytest.raises(UnknownName, match=r"Hb.*nearest"):
        label_id("Hbc")
    with pytest.raises(UnknownName):
        label_name(99)


def test_unknown_process_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"'Hbbb'.*nearest: Hbb"):
        plan("Hbbb", 10)
    with pytest.raises(UnknownName, match="format"):
        plan("Hbb", 10, format="nanoaod")


@pytest.mark.parametrize(
    ("process", "arguments", "message"),
    [
        ("Hbb", {"pt": (1000.0, 200.0)}, "pt range 1000 to 200 GeV is impossible"),
        ("Hbb", {"pt": (200.0, 1e5)}, "pt range"),
        ("Hbb", {"pt": (float("nan"), 500.0)}, "pt range nan"),
        ("Hbb", {"mass": (5.0, 100.0)}, "mass .process Hbb. range 5 to 100 GeV is impossible: expected 15"),
        ("XHH", {"mass": (100.0, 100.0)}, "mass .process XHH."),
        ("tt", {"mass": (100.0, 200.0)}, "'tt' has no mass"),
        ("Hbb", {"seed": -1}, "got the seed -1"),
        ("Hbb", {"pileup": -3.0}, "pile-up"),
    ],
)
def test_impossible_plans(process: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(process, 100, **arguments)
    with pytest.raises(ConfigError, match="0 events"):
        plan(process, 0)


@given(st.integers(1, 20_000), st.sampled_from(["Hbb", "v1-types", "new-types", "tt"]))
@settings(max_examples=40, deadline=None)
def test_blocks_add_up_to_the_events(events: int, process: str) -> None:
    run = plan(process, events)
    assert sum(block.events for block in run.blocks) == events
    assert [block.index for block in run.blocks] == list(range(len(run.blocks)))
    assert len({(block.process, block.number) for block in run.blocks}) == len(run.blocks)
    assert all(0 < block.events <= 800 for block in run.blocks)


def test_every_process_initialises_in_pythia() -> None:
    from jettagger.simulation.generate import Generator
    from jettagger.simulation.processes import Point

    for process in PROCESSES.values():
        mass = process.mass or (0.0, 0.0)
        for u_mass in (0.0, 0.99):
            for line in process.settings(Point((200.0, 1000.0), mass, u_mass, 0.5)):
                assert pythia8mc_settings().readString(line, False) or "Channel" in line, (process.name, line)
    with pytest.raises(ConfigError, match="refuses the setting 'No:such = on'"):
        Generator(["No:such = on"], 1)


_SETTINGS: list[Any] = []


def pythia8mc_settings() -> Any:
    """One Pythia to read settings with."""
    if not _SETTINGS:
        _SETTINGS.append(pythia8mc.Pythia("", False))
    return _SETTINGS[0]


# ----------------------------------------------------------------------------------------------- labels

Q = [1, 2]
WW_CHARM = {0: [1, 2, 1, 2], 1: [3, 4, 1, 2], 2: [3, 4, 4, 3]}


def _cases() -> list[tuple[int, int, list[int], list[int], str]]:
    cases = []
    for charm, legs in WW_CHARM.items():
        cases.append((25, 24, legs, legs, f"HWqqWqq{charm}c"))
    cases += [
        (25, 24, [1, 2, 3, 4], [1, 2, 3], "HWqqWq0c"),
        (25, 24, [1, 2, 3, 4], [1, 2, 4], "HWqqWq1c"),
        (25, 24, [3, 4, 3, 4], [4, 3, 4], "HWqqWq2c"),
        (25, 24, [1, 2, 3, 4], [1, 2], ""),
        (25, 24, [1, 2, 11], [1, 2], ""),
        (25, 24, [1, 2, 11], [1, 11], ""),
        (25, 24, [11, 13], [11, 13], ""),
        (25, 23, [1, 1, 5, 5], [1, 1, 5, 5], ""),
    ]
    for code, name in ((11, "ev"), (13, "mv"), (TAU_E, "tauev"), (TAU_M, "taumv"), (TAU_H, "tauhv")):
        cases.append((25, 24, [1, 2, code], [1, 2, code], f"HWqqW{name}0c"))
        cases.append((25, 24, [3, 4, code], [3, 4, code], f"HWqqW{name}1c"))
        cases.append((6, 24, [5, code], [5, code], f"TopbW{name}"))
        cases.append((6, 24, [5, code], [5], ""))
    for quark, name in ((5, "Hbb"), (4, "Hcc"), (3, "Hss"), (2, "Hqq"), (1, "Hqq"), (21, "Xgg"), (PHOTON, "Hgamgam")):
        cases.append((25, 0, [quark, quark], [quark, quark], name))
        cases.append((25, 0, [quark, quark], [quark], ""))
    cases += [
        (25, 0, [TAU_H, TAU_E], [TAU_E, TAU_H], "Htauhtaue"),
        (25, 0, [TAU_H, TAU_M], [TAU_M, TAU_H], "Htauhtaum"),
        (25, 0, [TAU_H, TAU_H], [TAU_H, TAU_H], "Htauhtauh"),
        (25, 0, [TAU_E, TAU_E], [TAU_E, TAU_E], ""),
        (25, 23, [1, 1, PHOTON], [1, 1, PHOTON], "HZgamma"),
        (25, 23, [1, 1, PHOTON], [1, 1], ""),
        (6, 24, [5, 1, 2], [5, 1, 2], "TopbWqq0c"),
        (6, 24, [5, 3, 4], [5, 3, 4], "TopbWqq1c"),
        (6, 24, [5, 3, 4], [5, 3], "TopbWq0c"),
        (6, 24, [5, 3, 4], [5, 4], "TopbWq1c"),
        (6, 24, [5, 3, 4], [3, 4], ""),
        (37, 0, [4, 5], [4, 5], "Xbc"),
        (24, 0, [3, 4], [3, 4], "Wcq"),
        (24, 0, [1, 2], [1, 2], "Wqq"),
        (24, 0, [11], [11], ""),
        (23, 0, [5, 5], [5, 5], "Zbb"),
        (23, 0, [2, 2], [2, 2], "Zqq"),
    ]
    return cases


@pytest.mark.parametrize(("kind", "via", "codes", "inside", "name"), _cases())
def test_type_of_a_jet_from_the_legs_inside(
    kind: int, via: int, codes: list[int], inside: list[int], name: str
) -> None:
    assert _type_of(kind, via, codes, inside) == name
    assert not name or name in LABELS


def test_the_cases_reach_every_resonant_type() -> None:
    reached = {name for *_, name in _cases()}
    assert set(V1_TYPES) - reached == {"QCDbb", "QCDcc", "QCDb", "QCDc", "QCDothers"}


@given(st.lists(st.integers(0, 5), max_size=12), st.lists(st.integers(0, 5), max_size=12))
def test_pairs_are_all_pairs_within_events(first: list[int], second: list[int]) -> None:
    left, right = pairs(np.array(sorted(first), int), np.array(sorted(second), int), 6)
    expected = [
        (i, j) for i, a in enumerate(sorted(first)) for j, b in enumerate(sorted(second)) if a == b
    ]  # fmt: skip
    assert list(zip(left.tolist(), right.tolist(), strict=True)) == expected


def test_heavy_quark_content_agrees_with_pythia() -> None:
    table = pythia8mc.Pythia("", False).particleData
    identity = [code for code in _hadrons(table) if table.heaviestQuark(code) in (4, 5)]
    assert len(identity) > 60
    for quark in (4, 5):
        expected = [table.heaviestQuark(code) == quark for code in identity]
        assert has_quark(np.array(identity), quark).tolist() == expected


def test_charges_agree_with_pythia() -> None:
    table = pythia8mc.Pythia("", False).particleData
    identity = [*_hadrons(table), 11, 12, 13, 15, 16, 22, -11, -13]
    expected = [table.chargeType(code) // 3 for code in identity]
    assert charges(np.array(identity)).tolist() == expected


def _hadrons(table: Any) -> list[int]:
    positive = [code for code in range(101, 6000) if table.isParticle(code) and table.isHadron(code)]
    return positive + [-code for code in positive if table.hasAnti(code)]


# --------------------------------------------------------------------------------------------- geometry


@given(
    st.floats(-0.5, 0.5), st.floats(-5.0, 5.0), st.floats(0.5, 100.0), st.floats(-2.0, 2.0), st.floats(-3.1, 3.1),
    st.sampled_from([-1, 1]), st.floats(-0.4, 0.4),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_impact_parameters_of_a_known_helix(
    d0: float, dz: float, pt: float, eta: float, phi0: float, charge: int, turn: float
) -> None:
    """Walk along a helix from its point of closest approach: the parameters must come back."""
    radius = pt / (0.0029979 * 3.8)
    x0, y0 = -d0 * np.sin(phi0), d0 * np.cos(phi0)
    phi = phi0 - charge * turn
    x = x0 + charge * radius * (np.sin(phi0) - np.sin(phi))
    y = y0 - charge * radius * (np.cos(phi0) - np.cos(phi))
    z = dz + radius * turn * np.sinh(eta)
    found = impact_parameters(
        *(np.array([value]) for value in (x, y, z, pt, eta, phi)), np.array([charge]), 3.8
    )  # fmt: skip
    assert found[0][0] == pytest.approx(d0, abs=1e-7 * radius)
    assert found[1][0] == pytest.approx(dz, abs=1e-6 * radius)
    assert float(delta_phi(found[2], np.array([phi0]))[0]) == pytest.approx(0.0, abs=1e-7)


def test_vertex_fit_has_the_chi2_and_the_errors_of_its_measurements() -> None:
    rng = np.random.default_rng(5)
    n_groups, n_lines = 4000, 4
    group = np.repeat(np.arange(n_groups), n_lines)
    true = rng.normal(0, 0.5, (n_groups, 3))
    phi = rng.uniform(-0.4, 0.4, len(group))
    eta = rng.uniform(-0.5, 0.5, len(group))
    error_t, error_z = rng.uniform(0.002, 0.01, (2, len(group)))
    points = true[group].copy()
    shift = error_t * rng.standard_normal(len(group))
    points[:, 0] -= shift * np.sin(phi)
    points[:, 1] += shift * np.cos(phi)
    points[:, 2] += error_z * rng.standard_normal(len(group))
    position, covariance, chi2 = fit_lines(group, n_groups, points, phi, eta, error_t, error_z)
    pull = (position - true) / np.sqrt(np.einsum("nii->ni", covariance))
    # mean of chi2 with 2 * 4 - 3 degrees of freedom, and pulls of unit width, to five standard errors
    assert np.mean(chi2) == pytest.approx(5.0, abs=5 * np.sqrt(10 / n_groups))
    assert np.std(pull, axis=0) == pytest.approx(1.0, abs=5 / np.sqrt(2 * n_groups))


@given(st.floats(-(2.0**90), 2.0**90, width=32), st.integers(4, 20))
def test_reduced_mantissas(value: float, bits: int) -> None:
    found = reduced([value], bits)
    assert found.dtype == np.float32
    assert abs(float(found[0]) - value) <= abs(value) * 2.0 ** -(bits + 1) + 1e-38
    assert reduced(found, bits)[0] == found[0]


def test_reduced_keeps_what_is_not_a_number() -> None:
    found = reduced([np.nan, np.inf, -np.inf, 0.0])
    assert np.isnan(found[0])
    assert found[1:].tolist() == [np.inf, -np.inf, 0.0]


def test_row_arithmetic() -> None:
    rows = np.array([0, 0, 3, 3, 3])
    assert local_index(rows, 5).tolist() == [0, 1, 0, 1, 2]
    assert offsets_of(np.bincount(rows, minlength=5)).tolist() == [0, 2, 2, 2, 5, 5]


# ------------------------------------------------------------------------------------------------- jets


def _toy_jets(seed: int, n_jets: int) -> tuple[Any, Any]:
    from jettagger.simulation.jets import ClusteredJets, Vectors

    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 60, n_jets)
    total = int(np.sum(counts))
    pt = rng.exponential(5.0, total) + 0.2
    eta, phi = rng.normal(0.3, 0.3, total), rng.normal(1.0, 0.3, total)
    vectors = Vectors(pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta))
    zero = np.zeros(n_jets)
    jets = ClusteredJets(np.arange(n_jets), zero, zero, zero, zero, zero, counts, np.arange(total))
    return jets, vectors


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_soft_drop_is_fastjets_own(seed: int) -> None:
    from jettagger.simulation.jets import _records, substructure

    jets, vectors = _toy_jets(seed, 12)
    found = substructure(jets, vectors)
    sequence = fastjet.ClusterSequence(
        _records(vectors, jets.counts), fastjet.JetDefinition(fastjet.cambridge_algorithm, 1000.0)
    )
    expected = sequence.exclusive_jets_softdrop_grooming(njets=1, beta=0.0, symmetry_cut=0.1, R0=0.8)
    mass = ak.to_numpy(ak.ravel(expected.msoftdrop))
    assert found.softdrop_mass == pytest.approx(np.maximum(mass, 0.0), abs=1e-5)
    together = np.hypot(
        np.sum(found.subjet_pt * np.cos(found.subjet_phi), axis=1),
        np.sum(found.subjet_pt * np.sin(found.subjet_phi), axis=1),
    )
    assert together == pytest.approx(ak.to_numpy(ak.ravel(expected.ptsoftdrop)), rel=1e-6)
    assert np.all(found.subjet_pt[:, 0] >= found.subjet_pt[:, 1])


def test_clustering_agrees_with_one_event_at_a_time() -> None:
    from jettagger.simulation.jets import cluster

    jets, vectors = _toy_jets(3, 5)
    event = np.repeat(np.arange(5), jets.counts)
    found = cluster(event, vectors, 5, radius=0.4, min_pt=5.0)
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, 0.4)
    for number in range(5):
        rows = event == number
        one = ak.zip(
            {"px": vectors.px[rows], "py": vectors.py[rows], "pz": vectors.pz[rows], "E": vectors.energy[rows]},
            with_name="Momentum4D",
        )
        expected = fastjet.ClusterSequence(one, definition).inclusive_jets(min_pt=5.0)
        pt = np.sort(np.hypot(ak.to_numpy(expected.px), ak.to_numpy(expected.py)))[::-1]
        assert found.pt[found.event == number] == pytest.approx(pt)
    total = np.bincount(found.owner, weights=vectors.px[found.members])
    assert total == pytest.approx(found.pt * np.cos(found.phi), abs=1e-9)
    assert np.all(event[found.members] == found.event[found.owner])


def test_areas_in_closed_form() -> None:
    """Alone: the circle. Two equal jets: each half of the overlap is lost."""
    from jettagger.simulation.jets import ClusteredJets

    def jets(eta: list[float], pt: list[float], event: list[int]) -> ClusteredJets:
        zero = np.zeros(len(eta))
        return ClusteredJets(
            np.array(event), np.array(pt), np.array(eta), zero, zero, zero, np.ones(len(eta), int), zero
        )

    radius, gap = 0.4, 0.5
    alone, other = catchment_areas(jets([0.0, 0.0], [50.0, 50.0], [0, 1]), 2, radius)
    assert alone == other == pytest.approx(np.pi * radius**2)
    lens = 2 * radius**2 * np.arccos(gap / (2 * radius)) - gap / 2 * np.sqrt(4 * radius**2 - gap**2)
    pair = catchment_areas(jets([0.0, gap], [50.0, 50.0], [0, 0]), 1, radius)
    assert pair == pytest.approx(np.pi * radius**2 - lens / 2, rel=0.03)
    unequal = catchment_areas(jets([0.0, gap], [500.0, 5.0], [0, 0]), 1, radius)
    assert unequal[0] == pytest.approx(np.pi * radius**2, rel=0.02)
    assert unequal[1] == pytest.approx(np.pi * radius**2 - lens, rel=0.05)


# ------------------------------------------------------------------------------------------ JetClass-II


@pytest.mark.data
def test_jetclass2_labels_are_the_published_ones(shared: Path) -> None:
    from jettagger.simulation.jetclass2 import JETCLASS2_LABELS

    published = json.loads((shared / "sophon" / "labels.json").read_text())
    assert [f"label_{name}" for name in JETCLASS2_LABELS] == published


@pytest.mark.parametrize(
    ("two_body", "codes", "inside", "name"),
    [
        (True, [5, 4], [4, 5], "X_bc"),
        (True, [1, 2], [1, 2], "X_qq"),
        (True, [TAU_H, TAU_M], [TAU_M, TAU_H], "X_tauhtaum"),
        (True, [TAU_H, TAU_H], [TAU_H, TAU_H], "X_tauhtauh"),
        (True, [5, 5], [5], None),
        (True, [PHOTON, PHOTON], [PHOTON, PHOTON], None),
        (False, [3, 4, 4, 3], [3, 4, 4, 3], "X_YY_ccss"),
        (False, [1, 2, 3, 4], [1, 2, 4], "X_YY_qqc"),
        (False, [3, 4, 11], [3, 4, 11], "X_YY_csev"),
        (False, [1, 2, TAU_H], [1, 2, TAU_H], "X_YY_qqtauhv"),
        (False, [5, 3, 4], [5, 3, 4], "X_YY_bcs"),
        (False, [1, 2, 11], [1, 11], None),
    ],
)
def test_jetclass2_label_of_legs(two_body: bool, codes: list[int], inside: list[int], name: str | None) -> None:
    from jettagger.simulation.jetclass2 import JETCLASS2_LABELS, jetclass2_label

    found = jetclass2_label(two_body, codes, inside)
    assert (JETCLASS2_LABELS[found] if found >= 0 else None) == name
