"""Random jets with which networks are compared: their lengths, their masks, the same on every machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import GROUPS, write_bundle

from jettagger.bundles.bundle import Bundle
from jettagger.inference.sample_jets import USUAL, probe_jets, proof_jets, usual_jets
from jettagger.inputs.random_jets import ToyJets, toy_table
from jettagger.kinematics import delta_phi
from jettagger.weaver.config import read_config


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Between 4 and 20 candidates, between 1 and 5 vertices."""
    return Bundle.from_folder(write_bundle(tmp_path_factory.mktemp("sample") / "toy"))


def lengths(inputs: Any) -> tuple[int, int]:
    return inputs["pf_mask"].shape[2], inputs["sv_mask"].shape[2]


def test_probes_have_one_length_each_and_no_two_the_same(bundle: Bundle) -> None:
    """So that a tensor that depends on a length, or on the number of jets, is told from a constant."""
    probes = [probe_jets(bundle, place) for place in range(3)]
    assert [len(probe["pf_mask"]) for probe in probes] == [2, 3, 5]
    assert [lengths(probe)[0] for probe in probes] == [4 + 2, 4 + 7, 4 + 13]
    assert [lengths(probe)[1] for probe in probes] == [5, 5, 5]  # the limit: there is no room for other lengths
    for probe in probes:
        assert all(probe[name].all() for name in ("pf_mask", "sv_mask"))
        assert list(probe) == list(GROUPS)
        assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in probe.values())


def test_proofs_have_short_and_long_jets_together(bundle: Bundle) -> None:
    runs = proof_jets(bundle)
    assert [len(run["pf_mask"]) for run in runs] == [6, 6, 6]
    # 15, 40 and 100 % of 20, at least the shortest input; vertices may be absent
    assert [int(run["pf_mask"].sum(axis=2).max()) for run in runs] == [4, 8, 20]
    assert all(run["pf_mask"].sum(axis=2).min() >= 1 for run in runs)
    assert min(run["sv_mask"].sum(axis=2).min() for run in runs) == 0
    assert [lengths(run)[0] for run in runs] == [4, 8, 20]
    for run in runs:
        padding = np.broadcast_to(run["pf_mask"] == 0, run["pf_features"].shape)
        assert not run["pf_features"][padding].any()
        assert run["pf_features"][~padding].all()


@pytest.mark.parametrize("n_jets", [1, 40, USUAL])
def test_usual_jets_are_all_there_once(bundle: Bundle, n_jets: int) -> None:
    """In batches; a third of the slots on average, within the limits."""
    runs = usual_jets(bundle, n_jets)
    candidates = np.concatenate([run["pf_mask"].sum(axis=(1, 2)) for run in runs])
    assert len(candidates) == n_jets
    assert candidates.min() >= 4
    assert candidates.max() <= 20
    if n_jets == USUAL:
        assert 0.3 * 20 < candidates.mean() < 0.45 * 20
        assert len(np.unique(candidates)) > 8
        slots = sum(run["pf_mask"].size for run in runs)
        assert candidates.sum() > 0.8 * slots  # batches of similar jets
        features = np.concatenate([run["pf_features"][:, :, 0] for run in runs])
        assert len(np.unique(features, axis=0)) == n_jets


def test_they_are_the_same_each_time_and_fit_a_fixed_number_of_jets(bundle: Bundle, tmp_path: Path) -> None:
    for made in (proof_jets, usual_jets):
        for first, second in zip(made(bundle), made(bundle), strict=True):
            assert all(np.array_equal(first[name], second[name]) for name in first)
    fixed = Bundle.from_folder(write_bundle(tmp_path / "fixed", batch=4))
    assert {len(run["pf_mask"]) for run in proof_jets(fixed)} == {4}
    assert {len(probe_jets(fixed, place)["pf_mask"]) for place in range(3)} == {4}
    assert sum(len(run["pf_mask"]) for run in usual_jets(fixed, 10)) == 10
    assert max(len(run["pf_mask"]) for run in usual_jets(fixed, 10)) <= 4


def test_a_network_of_the_jet_alone_gets_jets(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "jet", groups={"jet_features": ("jet_eta", "jet_mass_log")})
    bundle = Bundle.from_folder(folder)
    assert bundle.limits == {}
    assert [len(probe_jets(bundle, place)["jet_features"]) for place in range(3)] == [2, 3, 5]
    assert len(np.concatenate([run["jet_features"] for run in proof_jets(bundle)])) == 3 * 6


@settings(max_examples=25)
@given(counts=st.lists(st.integers(0, 4), min_size=1, max_size=5), seed=st.integers(0, 9), jet=st.integers(0, 4))
def test_a_jet_does_not_depend_on_those_after_it(counts: list[int], seed: int, jet: int) -> None:
    few, many = (ToyJets({"pf": np.array(numbers)}, seed) for numbers in (counts[: jet + 1], counts))
    number = sum(counts[: jet + 1])
    for name in ("pt", "eta", "phi", "pdgId", "of no known name", "jet.pt"):
        column = many.column("pf", name)
        assert (column.dtype, column.shape) == (np.float32, (sum(counts),))
        np.testing.assert_array_equal(few.column("pf", name), column[:number])


def test_objects_lie_around_the_axis_of_their_jet() -> None:
    """Also across the seam in azimuth; the width is that which was asked for."""
    for width in (0.1, 0.25):
        toys = ToyJets({"pf": np.full(40, 50)}, seed=3, width=width)
        phi = toys.column("pf", "phi")
        assert np.abs(phi).max() <= np.float32(np.pi)
        around = [toys.column("pf", "eta") - toys.column("pf", "jet.eta"), delta_phi(phi, toys.column("pf", "jet.phi"))]
        for values in around:
            assert np.std(values) == pytest.approx(width, rel=0.1)
            assert np.abs(values).max() < 6 * width
    none = ToyJets({"pf": np.zeros(0, dtype=int), "sv": np.zeros(0, dtype=int)})
    assert (len(none), none.column("sv", "mass").shape, none.column("jet", "pt").shape) == (0, (0,), (0,))


def test_a_table_for_a_configuration_is_consistent() -> None:
    """Four-momenta on their mass shell, flags of one kind of particle, numbers of the jet beside lists."""
    config = read_config(
        text="""
        new_variables: {part_pt: "np.hypot(part_px, part_py)"}
        inputs:
          pf: {length: 8, vars: [part_pt, part_pz, part_energy, part_mass, part_isElectron, part_isMuon, part_isPhoton]}
          jet: {length: null, vars: [jet_pt, jet_sdmass, jet_mass]}"""
    )
    counts = np.array([3, 0, 40])
    table = toy_table(config, {"pf": counts}, seed=5)
    assert set(table) == {
        *(f"part_{name}" for name in ("px", "py", "pz", "energy", "mass", "isElectron", "isMuon", "isPhoton")),
        *("jet_pt", "jet_sdmass", "jet_mass"),
    }
    lists = {name: table[name] for name in table if name.startswith("part_")}
    assert all(ak.num(column).tolist() == counts.tolist() for column in lists.values())
    flat = {name: ak.to_numpy(ak.flatten(column)).astype("f8") for name, column in lists.items()}
    squares = sum(flat[f"part_{name}"] ** 2 for name in ("px", "py", "pz", "mass"))
    np.testing.assert_allclose(flat["part_energy"] ** 2, squares, rtol=1e-5)
    assert (flat["part_isElectron"] + flat["part_isMuon"] + flat["part_isPhoton"]).max() == 1
    np.testing.assert_allclose(table["jet_sdmass"], 0.7 * ak.to_numpy(table["jet_mass"]), rtol=1e-6)
    assert str(table["jet_pt"].type) == "3 * float32"
