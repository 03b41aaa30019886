"""Kinematics against the vector package: momenta, angles, distances; types, shapes and ends of the range."""

from __future__ import annotations

import math

import numpy as np
import pytest
import vector
from agreement import Agreement
from hypothesis import given, settings
from hypothesis import strategies as st

from jettagger.kinematics import delta_phi, delta_r, energy, px, py, pz

angles = st.floats(-20, 20)
rapidities = st.floats(-6, 6)


def particles(size: int, seed: int) -> dict[str, np.ndarray]:
    """Momenta of soft and hard, central and forward, massless and heavy particles."""
    generator = np.random.default_rng(seed)
    return {
        "pt": 10 ** generator.uniform(-1, 3, size),
        "eta": generator.uniform(-5, 5, size),
        "phi": generator.uniform(-math.pi, math.pi, size),
        "mass": generator.choice([0.0, 0.1396, 80.4], size),
    }


def test_momenta_are_those_of_vector(agrees: Agreement) -> None:
    columns = particles(500, 1)
    pt, eta, phi, mass = columns.values()
    expected = vector.array(columns)
    made = {"px": px(pt, phi), "py": py(pt, phi), "pz": pz(pt, eta), "E": energy(pt, eta, mass)}
    for name, values in made.items():
        wanted = getattr(expected, name)
        agrees("kinematics/momenta", values, wanted, sample=500, rtol=1e-12, atol=1e-12, part=name)


def test_distances_of_all_pairs_are_those_of_vector(agrees: Agreement) -> None:
    columns = particles(40, 2)
    eta, phi = columns["eta"], columns["phi"]
    rows = {name: values[:, None] for name, values in columns.items()}
    first, second = vector.array(rows), vector.array({name: values.T for name, values in rows.items()})
    np.testing.assert_allclose(delta_phi(phi[:, None], phi), first.deltaphi(second), atol=1e-12)
    distances = delta_r(eta[:, None], phi[:, None], eta, phi)
    assert distances.shape == (40, 40)
    agrees("kinematics/distances", distances, first.deltaR(second), sample=1600, atol=1e-12, rtol=1e-7)
    np.testing.assert_array_equal(np.diag(distances), 0)


@given(angles, angles)
@settings(max_examples=25)
def test_an_azimuthal_difference_is_wrapped_once(phi: float, other: float) -> None:
    difference = float(delta_phi(np.float64(phi), np.float64(other)))
    assert -math.pi - 1e-12 < difference <= math.pi + 1e-12
    assert math.cos(difference) == pytest.approx(math.cos(phi - other), abs=1e-12)
    assert math.sin(difference) == pytest.approx(math.sin(phi - other), abs=1e-12)


@pytest.mark.parametrize(("phi", "expected"), [(0.0, 0.0), (1.0, 1.0), (-1.0, -1.0), (4.0, 4.0 - 2 * math.pi)])
def test_whole_turns_change_nothing(phi: float, expected: float) -> None:
    turned = phi + 2 * np.pi * np.arange(-3, 4)
    np.testing.assert_allclose(delta_phi(turned, np.zeros(7)), expected, atol=1e-13)


def test_opposite_directions_differ_by_plus_pi() -> None:
    """The interval is open below and closed above, as in ROOT and in vector."""
    assert delta_phi(np.array([np.pi, -np.pi, 0.0]), np.array([0.0, 0.0, np.pi])).tolist() == [np.pi] * 3


@given(rapidities, angles, rapidities, angles, angles, rapidities)
@settings(max_examples=25)
def test_distances_are_symmetric_and_do_not_depend_on_the_frame(
    eta: float, phi: float, other_eta: float, other_phi: float, turn: float, boost: float
) -> None:
    numbers = [np.float64(value) for value in (eta, phi, other_eta, other_phi)]
    distance = delta_r(*numbers)
    assert distance == pytest.approx(delta_r(*numbers[2:], *numbers[:2]), abs=1e-12)
    moved = delta_r(numbers[0] + boost, numbers[1] + turn, numbers[2] + boost, numbers[3] + turn)
    assert moved == pytest.approx(distance, abs=1e-12)
    assert distance >= abs(eta - other_eta) - 1e-12


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_have_the_type_of_the_inputs(dtype: type) -> None:
    pt, eta, phi, mass = (values.astype(dtype) for values in particles(5, 3).values())
    results = [delta_phi(phi, phi[::-1]), delta_r(eta, phi, eta[::-1], phi[::-1]), energy(pt, eta, mass)]
    results += [px(pt, phi), py(pt, phi), pz(pt, eta)]
    assert {result.dtype for result in results} == {np.dtype(dtype)}
    assert all(len(result) == 0 for result in (delta_phi(phi[:0], phi[:0]), energy(pt[:0], eta[:0], mass[:0])))


def test_particles_at_rest_and_without_mass() -> None:
    zero = np.zeros(3)
    assert energy(zero, np.array([0.0, 2.0, -5.0]), np.full(3, 91.2)).tolist() == [91.2] * 3
    columns = particles(100, 4)
    pt, eta, phi = columns["pt"], columns["eta"], columns["phi"]
    momentum = np.sqrt(px(pt, phi) ** 2 + py(pt, phi) ** 2 + pz(pt, eta) ** 2)
    np.testing.assert_allclose(energy(pt, eta, np.zeros(100)), momentum, rtol=1e-12)


def test_a_missing_value_gives_no_number() -> None:
    phi = np.array([np.nan, 0.5])
    assert np.isnan(delta_phi(phi, np.zeros(2))).tolist() == [True, False]
    assert np.isnan(delta_r(np.zeros(2), phi, np.array([0.0, np.nan]), np.zeros(2))).all()
    assert np.isnan(energy(np.array([np.nan]), np.zeros(1), np.ones(1))).all()
