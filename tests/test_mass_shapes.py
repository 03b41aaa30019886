"""Shifted and stretched masses, and the scale and resolution that fits find."""

from __future__ import annotations

import math
from dataclasses import replace

import hist
import numpy as np
import pytest
from bands import falling, peak, template
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jettagger.calibration import (
    BandTemplates,
    CategoryFactor,
    fit_factors,
    mass_factors,
    mass_shapes,
    peak_position,
    shifted_mass,
    with_mass_shapes,
)
from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName
from jettagger.types import Floats

pytest.importorskip("pyhf", reason="the extra stats is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:.*RefResolver.*:DeprecationWarning")

EDGES = np.linspace(40, 140, 51)
CATEGORIES = {"signal": CategoryFactor(normalisation="free"), "other": CategoryFactor(normalisation="free")}


def made(edges: Floats = EDGES, data: tuple[float, float] | None = None) -> BandTemplates:
    """A peak at 82 GeV, 8 GeV wide, on a falling spectrum; data with another mean and width of the peak."""
    bands, jets = ("fail", "pass"), {"signal": (4000.0, 8000.0), "other": (8000.0, 2000.0)}
    shapes = {"signal": peak(edges, 82, 8), "other": falling(edges, 60)}
    categories = {
        name: {band: template(shape, n, 0.01, {}) for band, n in zip(bands, jets[name], strict=True)}
        for name, shape in shapes.items()
    }
    seen = {**shapes, "signal": peak(edges, *(data or (82, 8)))}
    observed = {
        band: sum(shape / shape.sum() * jets[name][row] for name, shape in seen.items())
        for row, band in enumerate(bands)
    }
    axis = hist.axis.Variable(edges, name="msoftdrop", label="jet mass [GeV]")
    return BandTemplates("pt 300 to 400", axis, bands, observed, categories)


@given(scale=st.floats(0.9, 1.1), resolution=st.floats(0.8, 1.25))
@settings(max_examples=25)
def test_a_shifted_gaussian_is_a_gaussian(scale: float, resolution: float) -> None:
    nominal = peak(EDGES, 82, 8)
    moved = shifted_mass(EDGES, nominal, scale=scale, resolution=resolution, centre=82)
    expected = peak(EDGES, 82 * scale, 8 * scale * resolution)
    np.testing.assert_allclose(moved, expected, atol=0.02 * expected.max())
    assert abs(moved.sum() - expected.sum()) < 1e-3


@pytest.mark.slow
@given(
    values=st.lists(st.floats(0, 100), min_size=50, max_size=50),
    scale=st.floats(0.8, 1.2),
    resolution=st.floats(0.5, 1.5),
)
@example(values=[0.0] * 49 + [2.3e-311], scale=1.0, resolution=1.0)
@settings(max_examples=25)
def test_no_bin_is_negative_and_no_shift_changes_nothing(values: list[float], scale: float, resolution: float) -> None:
    jets = np.array(values)
    assert (shifted_mass(EDGES, jets, scale=scale, resolution=resolution, centre=90) >= 0).all()
    np.testing.assert_allclose(shifted_mass(EDGES, jets), jets, atol=1e-9)


def test_a_flat_spectrum_stays_flat_up_to_the_edges() -> None:
    moved = shifted_mass(EDGES, np.ones(50), scale=1.1)
    np.testing.assert_allclose(moved, 1 / 1.1, rtol=1e-9)


def test_sums_of_events_are_shifted_as_events() -> None:
    # single jets in a fine histogram
    masses = np.random.default_rng(1).normal(82, 8, 200_000)
    counts, _ = np.histogram(masses, EDGES)
    moved, _ = np.histogram(1.03 * (82 + 1.1 * (masses - 82)), EDGES)
    found = shifted_mass(EDGES, counts.astype(float), scale=1.03, resolution=1.1, centre=82)
    np.testing.assert_allclose(found, moved, atol=6 * math.sqrt(counts.max()))


@pytest.mark.parametrize(("scale", "resolution"), [(1.013, 1.06), (0.985, 0.93), (1.0, 1.0)])
def test_a_fit_finds_scale_and_resolution_between_the_templates(scale: float, resolution: float) -> None:
    # data of other masses; factors of the jets are one
    narrow = made(data=(82 * scale, 8 * scale * resolution))
    shapes = with_mass_shapes(narrow, ["signal"])
    assert peak_position(narrow, "signal") == pytest.approx(82, abs=0.5)
    fit = fit_factors(shapes.merged(3000), categories=CATEGORIES, shapes=mass_shapes())
    # the interpolation between shifts is exact at the templates, and good to a part of a per cent between
    assert fit.shapes["mass_scale"].value == pytest.approx(scale, abs=1e-3)
    assert fit.shapes["mass_resolution"].value == pytest.approx(resolution, abs=0.012)
    assert fit.factor("signal", "pass").value == pytest.approx(1, abs=5e-3)
    assert 0 < fit.shapes["mass_scale"].uncertainty < 2e-3
    factors = mass_factors(fit, "FatJet_msoftdrop", width=0.1, reference="genJetAK8.mass")
    assert (factors.scale, factors.resolution) == tuple(value.value for value in fit.shapes.values())
    assert factors.scale_uncertainty == fit.shapes["mass_scale"].uncertainty
    assert (factors.column, factors.reference) == ("FatJet_msoftdrop", "genJetAK8.mass")


def test_a_prior_limits_a_shape() -> None:
    shapes = with_mass_shapes(made(data=(84, 8)), ["signal"])
    free, tight = (
        fit_factors(shapes.merged(3000), categories=CATEGORIES, shapes=mass_shapes(prior=prior)).shapes["mass_scale"]
        for prior in (None, 0.02)
    )
    assert abs(tight.value - 1) < abs(free.value - 1)
    assert tight.uncertainty < 0.02 * 0.02


def test_what_cannot_be_shifted_is_refused() -> None:
    narrow = made()
    with pytest.raises(UnknownName, match="'W'"):
        with_mass_shapes(narrow, ["W"])
    with pytest.raises(ConfigError, match="at least one category"):
        with_mass_shapes(narrow, [])
    with pytest.raises(ConfigError, match="resolution"):
        with_mass_shapes(narrow, ["signal"], resolution=1.0)
    with pytest.raises(ConfigError, match="scale"):
        shifted_mass(EDGES, np.ones(50), scale=0.0)
    with pytest.raises(MismatchError, match="one for each bin"):
        shifted_mass(EDGES, np.ones(51))
    with pytest.raises(InvalidValues, match="not negative"):
        shifted_mass(EDGES, -np.ones(50))
    with pytest.raises(InvalidValues, match="increasing"):
        shifted_mass(EDGES[::-1], np.ones(50))
    with pytest.raises(InvalidValues, match="narrow bins"):
        with_mass_shapes(made(np.linspace(40, 140, 5)), ["signal"])
    fit = fit_factors(narrow.merged(3000), categories=CATEGORIES)
    with pytest.raises(UnknownName, match="mass_scale"):
        mass_factors(fit, "FatJet_msoftdrop", width=0.1)
    far = with_mass_shapes(made(data=(89, 8)), ["signal"], scale=0.01).merged(3000)
    far = replace(far, data={band: np.round(content) for band, content in far.data.items()})
    bound = fit_factors(far, categories=CATEGORIES, shapes=mass_shapes(scale=0.01))
    assert "mass_scale" in bound.at_bounds
    with pytest.raises(InvalidValues, match="at its bound"):
        mass_factors(bound, "FatJet_msoftdrop", width=0.1)
