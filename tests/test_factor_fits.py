"""Factors on efficiencies from fits of bands: conservation, closure, pulls, sources, bounds, bad input."""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import hist
import numpy as np
import pytest
from bands import RESOLUTION, SCALE, THREE, TWO, templates
from hypothesis import given, settings
from hypothesis import strategies as st
from shown import check_shown

from jettagger.calibration import (
    BandTemplates,
    BandYields,
    CategoryFactor,
    FactorModel,
    ShapeFactor,
    fit_factors,
    formula_factors,
    pseudo_experiments,
)
from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName
from jettagger.statistics.bins import Template
from jettagger.statistics.fits import Likelihood

pytest.importorskip("pyhf", reason="the extra stats is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:.*RefResolver.*:DeprecationWarning")

SHAPES = {"mass_scale": ShapeFactor(SCALE), "mass_resolution": ShapeFactor(RESOLUTION)}
CATEGORIES = {
    "signal": CategoryFactor(normalisation="free"),
    "merged": CategoryFactor("fixed", normalisation=0.2),
    "other": CategoryFactor(normalisation=0.3),
}
SETUP: dict[str, Any] = {"categories": CATEGORIES, "shapes": SHAPES, "normalisations": {"lumi": {"merged": 0.02}}}


def one_bin(*contents: float) -> hist.axis.Variable:
    return hist.axis.Variable(np.arange(len(contents) + 1.0), name="x")


def flat(*contents: float, relative: float = 0.0, shifts: Mapping[str, Any] | None = None) -> Template:
    values = np.array(contents)
    return Template(values, np.square(values * relative) + 1e-12, dict(shifts or {}))


def injected(made: BandTemplates, changes: Mapping[str, float], **setup: Any) -> BandTemplates:
    """With the expectation for other values of parameters as data."""
    model = FactorModel(made, **setup)
    likelihood = Likelihood(model.workspace(), None, None)
    point = likelihood.start.copy()
    for name, value in changes.items():
        point[likelihood.model.config.par_names.index(name)] = value
    rates, slices = likelihood.deviance.rates(point), likelihood.model.config.channel_slices
    return replace(made, data={band: rates[slices[band]] for band in made.bands})


# ---------------------------------------------------------------------------------------- the model

numbers = st.lists(st.floats(0.01, 1e4), min_size=2, max_size=5)


@given(jets=numbers, others=numbers, seed=st.integers(0, 100))
@settings(max_examples=25)
def test_factors_conserve_the_jets_of_each_category(jets: list[float], others: list[float], seed: int) -> None:
    number = min(len(jets), len(others))
    bands = [f"band{i}" for i in range(number)]
    parts = {
        name: {band: flat(value, 2 * value) for band, value in zip(bands, values, strict=False)}
        for name, values in (("a", jets), ("b", others))
    }
    made = BandTemplates("bin", one_bin(0, 0), bands, {band: np.ones(2) for band in bands}, parts)
    model = FactorModel(made, {"b": CategoryFactor("tied", tied_to="a")}, simulated_statistics=False)
    names = list(model.factor_parameters)
    point = np.random.default_rng(seed).uniform(0, 1.5, len(names))
    constant, slopes = model.factors(names)
    factors = constant + slopes @ point
    yields = model.yields
    np.testing.assert_allclose((factors * yields).sum(axis=1), yields.sum(axis=1), rtol=1e-9)
    inclusive = (factors * yields)[:, ::-1].cumsum(axis=1)
    np.testing.assert_allclose(inclusive[:, -1], yields.sum(axis=1), rtol=1e-9)


@pytest.mark.parametrize("share", [0.02, 0.6, 0.97])
def test_pyhf_expects_all_jets_and_no_negative_ones_within_the_bounds(share: float) -> None:
    # the other category does not move; its jets keep the variations of the signal from negative bins
    made = templates({"signal": (1000 * (1 - share), 1000 * share), "merged": (500, 500)})
    likelihood = Likelihood(
        FactorModel(made, {"merged": CategoryFactor("fixed")}, shapes=SHAPES).workspace(), None, None
    )
    names, generator = likelihood.model.config.par_names, np.random.default_rng(1)
    kappa = names.index("kappa_signal_pass")
    assert likelihood.high[kappa] == pytest.approx(min(1 / share, 10))
    for place in (0, 0.3, 1, *generator.uniform(0, 1, 10)):
        point = likelihood.start.copy()
        point[kappa] = place * likelihood.high[kappa]
        assert likelihood.deviance.rates(point).sum() == pytest.approx(2000, rel=1e-9)
        for name in ("mass_scale", "mass_resolution"):
            position = names.index(name)
            point[position] = generator.uniform(likelihood.low[position], likelihood.high[position]) / 2
        rates = likelihood.deviance.rates(point)
        assert rates.min() > 0
        theirs = np.asarray(likelihood.model.expected_data(point, include_auxdata=False))
        np.testing.assert_allclose(rates, theirs, rtol=1e-9)


def test_a_variation_ends_where_it_would_make_bins_negative_and_that_is_said() -> None:
    model = FactorModel(templates({"signal": (400.0, 600.0)}), shapes=SHAPES)
    assert any(line.startswith("mass_scale") and "negative" in line for line in model.report)
    assert not FactorModel(templates(), shapes=SHAPES).report


def test_measured_shapes_are_the_templates_at_one_variation_and_quadratic_between() -> None:
    made = templates()
    for prior in (None, 0.05, SCALE, 0.01):
        model = FactorModel(made, shapes={"mass_scale": ShapeFactor(SCALE, prior)})
        likelihood = Likelihood(model.workspace(), None, None)
        point = likelihood.start.copy()
        position = likelihood.model.config.par_names.index("mass_scale")
        signal = made.categories["signal"]["pass"]
        up, down = signal.shifts["mass_scale"]
        for alpha in (-1, -0.5, 0, 0.5, 1):
            point[position] = alpha / model.shapes["mass_scale"].width
            jets = likelihood.deviance.rates(point)[likelihood.model.config.channel_slices["pass"]]
            others = made.total("pass")[0] - signal.values
            expected = signal.values + alpha * (up - down) / 2 + alpha**2 * ((up + down) / 2 - signal.values)
            if alpha in (-1, 0, 1):
                np.testing.assert_allclose(jets - others, expected, rtol=1e-9, atol=1e-9)
            elif prior is None:
                np.testing.assert_allclose(jets - others, expected, atol=0.005 * np.abs(up - signal.values).max())


def test_the_reference_is_the_lowest_of_two_bands_and_the_largest_of_more() -> None:
    model = FactorModel(templates(TWO), CATEGORIES)
    assert [model.reference(name) for name in TWO] == ["fail", None, "fail"]
    model = FactorModel(templates(THREE), CATEGORIES)
    assert [model.reference(name) for name in THREE] == ["tight", None, "fail"]
    assert list(model.factor_parameters) == [
        *(f"kappa_signal_{band}" for band in ("fail", "loose")),
        *(f"kappa_other_{band}" for band in ("loose", "tight")),
    ]


# ---------------------------------------------------------------------------------------- closure


def test_the_fit_is_the_formula_where_both_apply() -> None:
    # one bin, a known background: eff(data) = (N_pass - B_pass) / (N - B)
    parts = {
        "signal": {"fail": flat(300.0), "pass": flat(700.0)},
        "other": {"fail": flat(400.0), "pass": flat(100.0)},
    }
    data = {"fail": np.array([810.0]), "pass": np.array([690.0])}
    made = BandTemplates("bin", one_bin(0), ["fail", "pass"], data, parts)
    setup = {"signal": CategoryFactor(normalisation="free"), "other": CategoryFactor("fixed")}
    fit = fit_factors(made, categories=setup, simulated_statistics=False)
    passing, failing = 690 - 100, 810 - 400
    efficiency = passing / (passing + failing)
    found = fit.factor("signal", "pass")
    assert found.value == pytest.approx(efficiency / 0.7, rel=1e-5)
    spread = math.sqrt(690 * failing**2 + 810 * passing**2) / (passing + failing) ** 2
    assert found.uncertainty == pytest.approx(spread / 0.7, rel=1e-4)
    assert fit.factor("signal", "fail").value == pytest.approx((1 - efficiency) / 0.3, rel=1e-5)
    assert fit.normalisations["signal"].value == pytest.approx((passing + failing) / 1000, rel=1e-5)
    assert fit.goodness.degrees_of_freedom == 0
    assert math.isnan(fit.goodness.probability)
    assert fit.goodness.statistic == pytest.approx(0, abs=1e-4)


def test_the_fit_and_the_formula_have_the_same_sources() -> None:
    signal, other = np.array([300.0, 400.0, 300.0]), np.array([400.0, 70.0, 30.0])
    bands, weight = ["fail", "loose", "tight"], 0.1
    parts = {
        name: {
            band: Template(jets[[row]], weight * jets[[row]] if name == "signal" else np.zeros(1), {})
            for row, band in enumerate(bands)
        }
        for name, jets in (("signal", signal), ("other", other))
    }
    parts["other"]["fail"] = replace(parts["other"]["fail"], variances=np.array([1e-9]))
    seen = np.array([705.0, 468.0, 327.0])
    made = BandTemplates("bin", one_bin(0), bands, dict(zip(bands, seen[:, None], strict=True)), parts)
    setup = {"signal": CategoryFactor(normalisation="free"), "other": CategoryFactor("fixed")}
    fit = fit_factors(made, categories=setup)
    simulation = BandYields(signal, weight * signal)
    for kind, factors in (("points", fit.inclusive()), ("bands", fit.factors)):
        formula = formula_factors(BandYields(seen), simulation, BandYields(other, np.zeros(3)), kind=kind)
        np.testing.assert_allclose(factors.values[0, -2:], formula.values, rtol=1e-5)
        # limited simulation scales the sum of the categories in the fit, and the signal in the formula
        np.testing.assert_allclose(factors.uncertainties[0, -2:], formula.uncertainties, rtol=0.03)
        for source in ("statistics", "simulation"):
            theirs = np.asarray(formula.sources[source][0]) - formula.values
            np.testing.assert_allclose(factors.contributions[source][0][0, -2:], np.abs(theirs), rtol=0.05)


def test_the_score_itself_is_fitted_as_a_mixture() -> None:
    # bands are the bins of the score, the variable has one bin: data are a mixture with a known background
    bands = [f"bin{i}" for i in range(5)]
    signal, other = np.array([50.0, 80, 120, 250, 500]), np.array([900.0, 300, 150, 100, 50])
    truth = np.array([1.4, 1.3, 1.1, 1.0, 0.888])
    parts = {
        name: {band: flat(value, relative=1e-4) for band, value in zip(bands, jets, strict=True)}
        for name, jets in (("signal", signal), ("other", other))
    }
    data = {band: np.array([value]) for band, value in zip(bands, 1.2 * truth * signal + other, strict=True)}
    made = BandTemplates("bin", one_bin(0), bands, data, parts)
    setup = {"signal": CategoryFactor(normalisation="free"), "other": CategoryFactor("fixed")}
    fit = fit_factors(made, categories=setup)
    expected = truth / ((truth * signal).sum() / signal.sum())
    np.testing.assert_allclose(fit.values[0], expected, rtol=1e-3)
    assert fit.normalisations["signal"].value == pytest.approx(1.2 * (truth * signal).sum() / 1000, rel=1e-3)


def test_bins_without_any_jets_do_not_matter() -> None:
    parts = {
        "signal": {"fail": flat(300.0, 0.0, 20.0), "pass": flat(700.0, 30.0, 0.0)},
        "other": {"fail": flat(30.0, 0.0, 200.0), "pass": flat(7.0, 30.0, 0.0)},
    }
    data = {"fail": np.array([330.0, 0.0, 220.0]), "pass": np.array([707.0, 60.0, 0.0])}
    made = BandTemplates("bin", one_bin(0, 0, 0), ["fail", "pass"], data, parts)
    fit = fit_factors(made)
    np.testing.assert_allclose(fit.values, 1, atol=1e-3)
    assert np.isfinite(fit.uncertainties).all()
    assert "mcstat_fail[1]" not in fit.impacts


def test_what_is_injected_is_found() -> None:
    truth = {
        "kappa_signal_pass": 0.85,
        "kappa_other_pass": 1.2,
        "norm_signal": 1.1,
        "mass_scale": 1 / SHAPES["mass_scale"].width,
        "mass_resolution": -0.5 / SHAPES["mass_resolution"].width,
    }
    fit = fit_factors(injected(templates(), truth, **SETUP), **SETUP)
    expected = [[1 + 0.15 * 2, 0.85], [1, 1], [1 - 0.2 * 0.1, 1.2]]
    np.testing.assert_allclose(fit.values, expected, atol=2e-3)
    assert fit.shapes["mass_scale"].value == pytest.approx(1 + SCALE, abs=2e-4)
    assert fit.shapes["mass_resolution"].value == pytest.approx(1 - RESOLUTION / 2, abs=2e-3)
    assert fit.normalisations["signal"].value == pytest.approx(1.1, abs=2e-3)
    assert fit.normalisations["merged"].value == pytest.approx(1, abs=1e-2)
    assert fit.goodness.statistic < 0.1
    assert fit.goodness.degrees_of_freedom == 40 - 5
    assert not fit.at_bounds
    assert set(fit.normalisations) == {"signal", "merged", "other"}


@pytest.mark.parametrize("treatment", ["free", "tied"])
def test_three_bands_and_their_inclusive_points(treatment: str) -> None:
    categories = {
        **CATEGORIES,
        "merged": CategoryFactor("free", normalisation=0.1)
        if treatment == "free"
        else CategoryFactor("tied", tied_to="signal", normalisation=0.1),
    }
    truth = {"kappa_signal_fail": 1.2, "kappa_signal_loose": 1.1}
    made = injected(templates(THREE, bins=8), truth, categories=categories)
    fit = fit_factors(made, categories=categories)
    tight = (1500 - 0.2 * 600 - 0.1 * 900) / 1500
    np.testing.assert_allclose(fit.values[0], [1.2, 1.1, tight], atol=2e-3)
    yields = fit.model.yields
    np.testing.assert_allclose((fit.values * yields).sum(axis=1), yields.sum(axis=1), rtol=1e-9)
    inclusive = fit.inclusive()
    assert (inclusive.points, inclusive.kind) == (("loose", "tight"), "points")
    np.testing.assert_allclose(inclusive.values[0, 0], (900 * fit.values[0, 1] + 1500 * fit.values[0, 2]) / 2400)
    np.testing.assert_allclose(inclusive.values[:, 1], fit.values[:, 2])
    covariance = fit.factors.covariance[1:3, 1:3]
    weights = np.array([900, 1500]) / 2400
    assert inclusive.uncertainties[0, 0] == pytest.approx(math.sqrt(weights @ covariance @ weights))
    # all that pass the loosest point are what the lowest band lacks
    lowest = fit.factors.uncertainties[0, 0] * 600 / 2400
    assert inclusive.uncertainties[0, 0] == pytest.approx(lowest, rel=1e-6)
    correlation = inclusive.correlation
    assert 0 < correlation[0, 1] < 1
    assert correlation[0, 0] == pytest.approx(1)
    if treatment == "tied":
        np.testing.assert_allclose(fit.values[1, :2], fit.values[0, :2])
        assert fit.factors.correlation[0, 3] == pytest.approx(1)


def test_pyhf_alone_finds_the_same_factor() -> None:
    import pyhf

    # few bins, as pyhf's own derivatives are differences
    fit = fit_factors(templates(seed=4, bins=6), **SETUP)
    opened = pyhf.Workspace(fit.model.workspace())
    model = opened.model()
    pyhf.set_backend("numpy", pyhf.optimize.scipy_optimizer(maxiter=2000, solver_options={"ftol": 1e-12}))
    theirs = pyhf.infer.mle.fit(opened.data(model), model)
    for band in ("fail", "pass"):
        value = theirs[model.config.par_names.index("kappa_signal_pass")]
        value = value if band == "pass" else 1 + 2 * (1 - value)
        found = fit.factor("signal", band)
        assert abs(found.value - value) < 0.01 * found.uncertainty


# ---------------------------------------------------------------------------------------- pseudo-experiments


def check(found: Any, number: int) -> None:
    assert not found.failures
    pulls = found.pulls
    assert np.isfinite(pulls).all()
    mean, width = pulls.mean(axis=0), pulls.std(axis=0, ddof=1)
    assert (np.abs(mean) < 3 / math.sqrt(number)).all(), dict(zip(found.names, mean, strict=True))
    assert (np.abs(width - 1) < 3 / math.sqrt(2 * number)).all(), dict(zip(found.names, width, strict=True))


def experiments(value: float, number: int, seed: int) -> Any:
    model = FactorModel(templates(bins=10), CATEGORIES, shapes=SHAPES)
    moved = {"mass_scale": 1.0, "mass_resolution": 1.0, "tilt": 1.0}
    return pseudo_experiments(model, number, seed, factors={"signal": {"pass": value}}, variations=moved)


@pytest.mark.slow
def test_pulls_of_few_pseudo_experiments() -> None:
    found = experiments(0.8, 20, 1)
    assert found.names == (
        "signal/fail", "signal/pass", "other/fail", "other/pass", "mass_scale", "mass_resolution",
    )  # fmt: skip
    np.testing.assert_allclose(found.truth, [1.4, 0.8, 1, 1, 1 + SCALE, 1 + RESOLUTION])
    check(found, 20)
    again = experiments(0.8, 2, 1)
    assert np.array_equal(again.values, experiments(0.8, 2, 1).values)


def covers(covered: Any, names: tuple[str, ...]) -> None:
    coverage = covered.mean(axis=0)
    assert ((coverage > 0.6) & (coverage < 0.76)).all(), dict(zip(names, coverage, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    "value", [pytest.param(0.8, marks=pytest.mark.long), 1.0, pytest.param(1.1, marks=pytest.mark.long)]
)
def test_pulls_and_coverage_of_many_pseudo_experiments(value: float) -> None:
    found = experiments(value, 300, 2)
    check(found, 300)
    covers(np.abs(found.pulls) < 1, found.names)


@pytest.mark.long
def test_coverage_of_intervals_of_the_likelihood() -> None:
    # few jets and bins: each interval takes ten more fits
    few = {name: tuple(jets / 10 for jets in yields) for name, yields in TWO.items()}
    setup = {**CATEGORIES, "other": CategoryFactor("fixed", normalisation="free")}
    model = FactorModel(templates(few, bins=5, shifts=False), setup)
    found = pseudo_experiments(model, 300, 2, factors={"signal": {"pass": 0.8}}, intervals=True)
    assert found.names == ("signal/fail", "signal/pass")
    check(found, 300)
    covers(found.covered, found.names)


# ---------------------------------------------------------------------------------------- sources


def test_contributions_add_up_to_the_variance_and_shift_all_factors() -> None:
    fit = fit_factors(templates(THREE, seed=3, bins=10), **SETUP)
    parts = fit.contributions
    assert list(parts)[:2] == ["statistics", "simulation"]
    assert set(parts) == {"statistics", "simulation", "tilt", "norm_merged", "norm_other", "lumi"}
    squares = sum(np.square((up - down) / 2) for up, down in parts.values())
    free = fit.uncertainties > 0
    np.testing.assert_allclose(np.sqrt(squares)[free], fit.uncertainties[free], rtol=0.02)
    inclusive = fit.inclusive()
    squares = sum(np.square(size) for size in inclusive.sizes().values())
    np.testing.assert_allclose(np.sqrt(squares)[0], inclusive.uncertainties[0], rtol=0.02)
    assert set(inclusive.parts) == {"statistics", "simulation"}
    # a source moves jets between bands: its changes conserve them, as do those of inclusive points
    changes = np.array([up for source, (up, _) in parts.items() if source not in ("statistics", "simulation")])
    np.testing.assert_allclose((changes * fit.model.yields).sum(axis=2), 0, atol=1e-6)
    assert not fit.factors.contributions["tilt"][0][1].any()
    without = fit_factors(templates(THREE, seed=3, bins=10), **SETUP, simulated_statistics=False)
    assert not without.contributions["simulation"][0].any()
    assert (without.uncertainties[free] < fit.uncertainties[free]).all()


def test_a_contribution_is_the_change_by_its_external_measurement() -> None:
    fit = fit_factors(templates(seed=6), **SETUP)
    names, (_, slopes) = list(fit.parameters), fit.model.factors(list(fit.parameters))
    for name in ("tilt", "norm_other", "lumi"):
        up, down = fit.contributions[name]
        # the limit for small changes: the covariance with the parameter over the width of its constraint
        linear = slopes @ fit.parameter_covariance[:, names.index(name)]
        np.testing.assert_allclose(up, linear, atol=0.05 * np.abs(linear).max() + 2e-5)
        np.testing.assert_allclose(down, -linear, atol=0.05 * np.abs(linear).max() + 2e-5)
        assert np.sign(up[0, 0]) == -np.sign(up[0, 1])


def test_impacts_are_fits_with_a_parameter_held() -> None:
    fit = fit_factors(templates(seed=5, bins=10), **SETUP)
    impacts = fit.impacts
    assert {"tilt", "norm_merged", "norm_other", "lumi", "mcstat_fail[0]"} <= set(impacts)
    assert not {"mass_scale", "norm_signal"} & set(impacts)
    names = list(fit.parameters)
    covariance = fit.parameter_covariance
    _, slopes = fit.model.factors(names)
    for name in ("tilt", "norm_other"):
        impact, position = impacts[name], names.index(name)
        sigma = math.sqrt(covariance[position, position])
        assert impact.uncertainty == pytest.approx(sigma)
        assert impact.value == pytest.approx(fit.parameters[name])
        linear = slopes @ covariance[:, position] / sigma
        np.testing.assert_allclose(impact.up, linear, atol=0.15 * np.abs(linear).max() + 1e-4)
        np.testing.assert_allclose(impact.down, -linear, atol=0.15 * np.abs(linear).max() + 1e-4)
        assert np.abs(impact.prefit_up[0, 1]) >= np.abs(impact.up[0, 1]) * 0.99


def test_a_fit_of_a_source_that_does_not_converge(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = fit_factors(templates(bins=8), **SETUP)
    expected, again = fit.contributions["tilt"], pickle.loads(pickle.dumps(fit))
    vars(again).pop("contributions")

    def fails(self: Any, *args: Any, **keywords: Any) -> Any:
        raise InvalidValues("the fit does not converge")

    monkeypatch.setattr(Likelihood, "minimise", fails)
    np.testing.assert_allclose(again.contributions["tilt"][0], expected[0], rtol=0.15, atol=1e-6)
    assert np.isnan(again.impacts["tilt"].up).all()
    assert np.isfinite(again.impacts["mcstat_fail[0]"].up).all()


def test_intervals_are_the_likelihood_and_nearly_symmetric_with_many_jets() -> None:
    # the factor of the tight band follows from the others
    fixed = {**CATEGORIES, "other": CategoryFactor("fixed")}
    fit = fit_factors(templates(THREE, bins=6), categories=fixed)
    ends = fit.intervals()
    for end, sign in ((0, -1), (1, 1)):
        expected = fit.values + sign * fit.uncertainties
        np.testing.assert_allclose(ends[..., end], expected, atol=0.15 * np.nanmax(fit.uncertainties))
    assert (ends[1:] == 1).all()
    fit = fit_factors(templates(bins=6), categories=fixed)
    wide, narrow = fit.intervals(0.95), fit.intervals(0.5)
    assert (wide[0, :, 0] < narrow[0, :, 0]).all()
    assert (wide[0, :, 1] > narrow[0, :, 1]).all()
    # of two bands one follows from the other
    np.testing.assert_allclose(wide[0, 0], 1 + 2 * (1 - wide[0, 1, ::-1]), rtol=1e-6)
    with pytest.raises(ConfigError, match="level"):
        fit.intervals(1.0)


def test_sources_are_grouped_in_quadrature() -> None:
    factors = fit_factors(templates(bins=8), **SETUP).factors
    groups = {"composition": ["norm_merged", "norm_other"], "none": []}
    sizes = factors.sizes(groups)
    assert list(sizes) == ["statistics", "simulation", "tilt", "lumi", "composition"]
    single = factors.sizes()
    np.testing.assert_allclose(sizes["composition"], np.hypot(single["norm_merged"], single["norm_other"]), rtol=1e-12)
    total = np.sqrt(sum(np.square(size) for size in sizes.values()))
    np.testing.assert_allclose(total[0], factors.uncertainties[0], rtol=0.02)
    with pytest.raises(UnknownName, match="'fsr'"):
        factors.sizes({"modelling": ["fsr"]})
    for groups in ({"a": ["tilt"], "b": ["tilt"]}, {"lumi": ["tilt"]}):
        with pytest.raises(ConfigError, match="counted twice"):
            factors.sizes(groups)


def test_further_sources_enter_the_covariance() -> None:
    factors = fit_factors(templates(), **SETUP).factors
    change = np.array([[-0.06, 0.03], [0.0, 0.0], [0.0, 0.0]])
    more = factors.with_contribution("modelling", change, -change)
    assert more.uncertainties[0, 1] == pytest.approx(math.hypot(factors.uncertainties[0, 1], 0.03))
    assert more.correlation[0, 1] == pytest.approx(-1)
    assert np.array_equal(more.contributions["modelling"][0], change)
    with pytest.raises(ConfigError, match="already"):
        more.with_contribution("modelling", change, -change)
    with pytest.raises(InvalidValues, match="shape"):
        factors.with_contribution("method", change[0], change[0])


# ---------------------------------------------------------------------------------------- bounds, missing jets


def test_factors_at_bounds_are_said() -> None:
    parts = {"signal": {"fail": flat(5.0, 5.0), "pass": flat(95.0, 5.0)}}
    data = {"fail": np.array([5.0, 5.0]), "pass": np.array([0.0, 0.0])}
    made = BandTemplates("bin", one_bin(0, 0), ["fail", "pass"], data, parts)
    fit = fit_factors(made, categories={"signal": CategoryFactor(normalisation="free")})
    assert fit.at_bounds == ("kappa_signal_pass",)
    assert fit.values[0, 1] == pytest.approx(0, abs=1e-3)
    assert np.isnan(fit.uncertainties[0]).all()
    low, high = fit.intervals()[0, 1]
    assert low == 0
    assert 0 < high < 1
    assert ("at bounds", "kappa_signal_pass") in fit.summary().facts
    check_shown(fit)
    check_shown(fit.inclusive())
    assert fit.inclusive().at_bounds == fit.at_bounds
    assert np.isnan(fit.inclusive().uncertainties[0]).all()


def test_a_factor_that_follows_and_is_below_zero_is_said() -> None:
    parts = {"signal": {"a": flat(40.0), "b": flat(30.0), "c": flat(50.0)}}
    data = {"a": np.array([60.0]), "b": np.array([60.0]), "c": np.array([0.0])}
    made = BandTemplates("bin", one_bin(0), ["a", "b", "c"], data, parts)
    fit = fit_factors(made, simulated_statistics=False)
    assert fit.at_bounds == ("kappa_signal_c",)
    np.testing.assert_allclose(fit.values[0], [1.5, 2, 0], atol=1e-3)
    assert fit.model.reference("signal") != "c"


def test_a_category_that_one_band_lacks() -> None:
    made = templates({**TWO, "merged": (800.0, 0.0)})
    fit = fit_factors(
        made, categories={"signal": CategoryFactor(normalisation="free"), "other": CategoryFactor("fixed")}
    )
    assert fit.values[1].tolist()[0] == 1
    assert math.isnan(fit.values[1, 1])
    assert fit.uncertainties[1, 0] == 0
    assert np.isnan(fit.inclusive().values[1]).all()
    assert fit.summary().grids[0].rows[1] == ("merged", "1 (fixed)", "no jets")
    with pytest.raises(InvalidValues, match="'merged' has no simulated jets in band 'fail'"):
        FactorModel(templates({**TWO, "merged": (0.0, 10.0)}), {"merged": CategoryFactor("tied", tied_to="signal")})
    with pytest.raises(ConfigError, match="no factor can be measured"):
        FactorModel(templates({"signal": (100.0, 0.0)}))


def test_a_fit_is_sent_to_another_process() -> None:
    fit = fit_factors(templates(bins=8), **SETUP)
    assert fit.contributions
    text = pickle.dumps(fit)
    assert len(text) < 50_000
    again = pickle.loads(text)
    assert np.array_equal(again.values, fit.values)
    assert again.goodness == fit.goodness


def test_expectations_before_and_after_the_fit() -> None:
    fit = fit_factors(templates(seed=2), **SETUP)
    for fitted in (False, True):
        for expected in fit.expectations(fitted=fitted):
            np.testing.assert_allclose(sum(expected.categories.values()), expected.total, rtol=1e-9)
            np.testing.assert_array_equal(expected.data, fit.model.templates.data[expected.band])
            assert list(expected.categories) == ["signal", "merged", "other"]
            assert (expected.uncertainty > 0).all()
    before, after = (fit.expectations(fitted=fitted)[0] for fitted in (False, True))
    np.testing.assert_allclose(before.total, fit.model.templates.total("fail")[0], rtol=1e-9)
    assert after.uncertainty.sum() < before.uncertainty.sum()


# ---------------------------------------------------------------------------------------- bad input


def test_bad_templates_are_refused() -> None:
    good = templates()

    def changed(category: str = "signal", band: str = "pass", **changes: Any) -> dict[str, Any]:
        parts = {name: dict(bands) for name, bands in good.categories.items()}
        parts[category][band] = replace(parts[category][band], **changes)
        return {"categories": parts}

    values = good.categories["signal"]["pass"].values
    shifts = good.categories["signal"]["pass"].shifts
    one = np.arange(20) == 3
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (InvalidValues, r"signal in band 'pass'.*-[0-9.]+ in bins 3 \(65 to 70\)", changed(values=values - 500 * one)),
        (InvalidValues, "nan in bins 3", changed(values=np.where(one, np.nan, values))),
        (InvalidValues, "variances of signal", changed(variances=-values)),
        (MismatchError, "need the same bins", changed(values=values[:-1])),
        (InvalidValues, "one side", changed(shifts={**shifts, "x": (values, 0 * values)})),
        (InvalidValues, "1 sides", changed(shifts={"x": (values,)})),
        (MismatchError, "need the same bins", {"data": {"fail": np.ones(20), "pass": np.ones(10)}}),
        (InvalidValues, "data in band 'pass'", {"data": {"fail": np.ones(20), "pass": -np.ones(20)}}),
        (MismatchError, "data in the bands", {"data": {"fail": np.ones(20)}}),
        (ConfigError, "two bands", {"bands": ["fail"]}),
        (ConfigError, "two bands", {"bands": ["fail", "fail"]}),
        (ConfigError, "at least one category", {"categories": {}}),
        (UnknownName, "band .*'tight'", {"categories": {"signal": {"tight": good.categories["signal"]["pass"]}}}),
        (InvalidValues, "no jets in any band", {"categories": {"signal": {"pass": flat(*np.zeros(20))}}}),
        (
            InvalidValues,
            "no statistical uncertainties",
            {"categories": {"signal": {"pass": Template(values, np.zeros(20), {})}}},
        ),
    ]  # fmt: skip
    for error, message, changes in cases:
        with pytest.raises(error, match=message):
            replace(good, **changes)


def test_bad_models_are_refused() -> None:
    made, fixed = templates(), {"merged": CategoryFactor("fixed")}
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (UnknownName, "'sginal'.*signal", {"categories": {"sginal": CategoryFactor()}}),
        (UnknownName, "'top'", {"normalisations": {"lumi": {"top": 0.1}}}),
        (ConfigError, "'lumi' of signal", {"normalisations": {"lumi": {"signal": 0.0}}}),
        (UnknownName, "'scale'", {"shapes": {"scale": ShapeFactor(0.1)}}),
        (UnknownName, "can be tied to", {"categories": {"signal": CategoryFactor("tied", tied_to="merged"), **fixed}}),
        (ConfigError, "used for two", {"normalisations": {"tilt": {"signal": 0.1}}}),
        (ConfigError, "no factor", {"categories": {name: CategoryFactor("fixed") for name in TWO}}),
        (UnknownName, "band .*'tight'", {"references": {"signal": "tight"}}),
    ]  # fmt: skip
    for error, message, changes in cases:
        with pytest.raises(error, match=message):
            FactorModel(made, **changes)
    for values, message in [
        (("none",), "'free', 'fixed' or 'tied'"),
        (("tied",), "tied_to"),
        (("free", "signal"), "tied_to"),
        (("free", None, "log"), "'free', a relative"),
        (("free", None, -0.1), "between 0 and 10"),
    ]:
        with pytest.raises(ConfigError, match=message):
            CategoryFactor(*values)
    with pytest.raises(ConfigError, match="size"):
        ShapeFactor(0.0)
    with pytest.raises(ConfigError, match="prior"):
        ShapeFactor(0.1, -1.0)


def test_data_without_simulated_jets_are_refused_and_bins_are_merged_on_request() -> None:
    few = {"signal": {"fail": flat(0.0, 20.0, 20.0), "pass": flat(0.0, 50.0, 9.0, relative=0.5)}}
    data = {"fail": np.array([3.0, 20.0, 20.0]), "pass": np.array([0.0, 50.0, 9.0])}
    made = BandTemplates("bin", one_bin(0, 0, 0), ["fail", "pass"], data, few)
    with pytest.raises(InvalidValues, match=r"band 'fail': 3 jets in data .* bins 0 \(0 to 1\)"):
        FactorModel(made)
    merged = made.merged(3.9)
    assert "3 bins of x merged to 2" in merged.report[0]
    assert merged.data["fail"].tolist() == [23.0, 20.0]
    assert merged.yields("signal").tolist() == made.yields("signal").tolist()
    assert merged.merged(3.9) is merged
    with pytest.raises(InvalidValues, match=r"cannot be merged .* band 'pass' has"):
        made.merged(100.0)


def test_what_the_data_do_not_determine_is_said() -> None:
    # one bin in each band cannot tell two free categories apart
    parts = {name: {"fail": flat(100.0), "pass": flat(100.0)} for name in ("a", "b")}
    made = BandTemplates(
        "bin", one_bin(0), ["fail", "pass"], {"fail": np.array([190.0]), "pass": np.array([210.0])}, parts
    )
    with pytest.raises(InvalidValues, match=r"do not determine kappa_"):
        fit_factors(made, simulated_statistics=False)


def test_pseudo_experiments_name_what_they_do_not_know() -> None:
    model = FactorModel(templates(), CATEGORIES, shapes=SHAPES)
    with pytest.raises(UnknownName, match="'merged'"):
        pseudo_experiments(model, 1, 1, factors={"merged": {"pass": 1.0}})
    with pytest.raises(UnknownName, match="'fail'"):
        pseudo_experiments(model, 1, 1, factors={"signal": {"fail": 1.0}})
    with pytest.raises(UnknownName, match="'jes'"):
        pseudo_experiments(model, 1, 1, variations={"jes": 1.0})
    with pytest.raises(ConfigError, match="number"):
        pseudo_experiments(model, 0, 1)
    with pytest.raises(InvalidValues, match="negative"):
        pseudo_experiments(model, 1, 1, factors={"signal": {"pass": -1.0}})


# ---------------------------------------------------------------------------------------- templates


def test_variations_without_migration_keep_fractions_and_shapes() -> None:
    made = templates(bins=8)
    parts = made.categories["signal"]
    moved = {
        "fail": {"shower": (parts["fail"].values * 0.7, parts["fail"].values * 1.2)},
        "pass": {"shower": (parts["pass"].shifts["mass_scale"][0] * 1.25, parts["pass"].values * 0.9)},
    }
    made = made.with_shapes({"signal": moved})
    kept = made.without_migration(["shower"])
    total = made.yields("signal").sum()
    for side in (0, 1):
        before = [made.categories["signal"][band].shifts["shower"][side].sum() for band in made.bands]
        after = [kept.categories["signal"][band].shifts["shower"][side].sum() for band in made.bands]
        assert sum(after) == pytest.approx(sum(before))
        np.testing.assert_allclose(np.array(after) / sum(after), made.yields("signal") / total)
    shape = kept.categories["signal"]["pass"].shifts["shower"][0]
    np.testing.assert_allclose(
        shape / shape.sum(), moved["pass"]["shower"][0] / moved["pass"]["shower"][0].sum(), rtol=1e-12
    )
    assert kept.categories["signal"]["pass"].shifts["mass_scale"] == parts["pass"].shifts["mass_scale"]
    with pytest.raises(UnknownName, match=r"'showr'.*shower"):
        made.without_migration(["showr"])
    # a shower that moves jets is an uncertainty of the factor, one that does not hardly is
    sizes = [fit_factors(version, **SETUP).contributions["shower"][0][0, 1] for version in (made, kept)]
    assert abs(sizes[1]) < 0.3 * abs(sizes[0])


def test_templates_are_shown() -> None:
    made = templates()
    assert (
        repr(made) == "<BandTemplates of pt 300 to 400: 20 bins of msoftdrop, bands fail, pass; signal, merged, other>"
    )
    (grid,) = made.summary().grids
    assert grid.rows[0] == ("signal", "1000", "2000", "3000")
    assert "msoftdrop" in made._repr_html_()
    check_shown(made)
    assert "signal" in repr(fit_factors(made, **SETUP))
