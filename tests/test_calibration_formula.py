"""Scale factors by the formula: against binomial statistics, pseudo-experiments and a control sample."""

from __future__ import annotations

from typing import Any

import hist
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jettagger.calibration import (
    BandYields,
    BinAxis,
    Contamination,
    YieldVariation,
    efficiencies,
    formula_factors,
    mistag_factors,
)
from jettagger.discriminants.metrics import efficiency
from jettagger.errors import ConfigError, InvalidValues, JettaggerError, MismatchError, UnknownName

PT = BinAxis("pt", [200, 300, 400, 800])


def jets(seed: int, number: int = 2000) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "scores": rng.random(number) ** 2,
        "columns": {"pt": rng.uniform(150, 900, number)},
        "weights": rng.exponential(1.0, number),
    }


# ------------------------------------------------------------------------------------------------ efficiencies


def test_weighted_efficiencies_are_those_of_the_metrics() -> None:
    sample = jets(1)
    yields = BandYields.from_jets(**sample, axes=[PT], thresholds=[0.3, 0.6])
    made = efficiencies(yields)
    pt = sample["columns"]["pt"]
    for number, (low, high) in enumerate(zip(PT.edges, PT.edges[1:], strict=False)):
        inside = (pt >= low) & (pt < high)
        for point, threshold in enumerate((0.3, 0.6)):
            expected = efficiency(sample["scores"][inside] >= threshold, sample["weights"][inside])
            assert made.values[point, number] == pytest.approx(expected.value, rel=1e-12)
            assert made.uncertainties[point, number] == pytest.approx(expected.uncertainty, rel=1e-9)


def test_the_covariance_of_nested_points_is_multinomial() -> None:
    made = efficiencies(BandYields(np.array([50.0, 30.0, 20.0])))
    first, second = made.values
    assert np.allclose([first, second], [0.5, 0.2])
    # cov of nested fractions of n events: e_tight (1 - e_loose) / n
    assert made.covariance[0, 1] == pytest.approx(second * (1 - first) / 100)
    assert np.allclose(made.covariance, made.covariance.T)


def test_an_efficiency_of_zero_or_one_has_an_uncertainty() -> None:
    for counts in ([0.0, 40.0], [40.0, 0.0]):
        made = efficiencies(BandYields(np.array(counts)))
        assert made.values[0] in (0.0, 1.0)
        assert made.uncertainties[0] == pytest.approx(1 / 40, rel=0.05)


@given(st.lists(st.floats(0.1, 1e4), min_size=2, max_size=6), st.floats(0.01, 100))
@settings(max_examples=50, deadline=None)
def test_bands_sum_to_points_and_scale(counts: list[float], factor: float) -> None:
    yields = BandYields(np.array(counts))
    bands, points = efficiencies(yields, "bands"), efficiencies(yields)
    assert np.allclose(points.values, np.cumsum(bands.values[::-1])[::-1], rtol=1e-12)
    assert bands.values.sum() + counts[0] / sum(counts) == pytest.approx(1, abs=1e-12)
    scaled = efficiencies(yields.scaled(factor))
    assert np.allclose(scaled.values, points.values)
    assert np.allclose(scaled.covariance, points.covariance)


# ------------------------------------------------------------------------------------------------ the formula


def test_pulls_of_pseudo_experiments_have_unit_width() -> None:
    rng = np.random.default_rng(7)
    truth, kappa = np.array([600.0, 250.0, 150.0]), 0.9
    contamination = np.array([200.0, 60.0, 15.0])
    upper = truth[1:] * kappa
    signal = np.array([truth.sum() - upper.sum(), *upper])
    number = 4000  # pseudo-experiments, as bins

    def thrown(means: Any, scale: float) -> BandYields:
        counts = rng.poisson(np.repeat(scale * np.asarray(means)[:, None], number, axis=1))
        return BandYields(counts / scale, counts / scale**2)

    made = formula_factors(thrown(signal + contamination, 1), thrown(truth, 4), thrown(contamination, 2))
    expected = upper[::-1].cumsum()[::-1] / truth[1:][::-1].cumsum()[::-1]
    pulls = (made.values - expected[:, None]) / made.uncertainties
    assert np.all(np.abs(np.std(pulls, axis=1) - 1) < 3 / np.sqrt(2 * number))
    # the ratio of two random numbers is biased by the relative variance of the second
    bias = (made.simulation.uncertainties / made.simulation.values) ** 2 * made.values / made.uncertainties
    assert np.all(np.abs(pulls.mean(axis=1) - bias.mean(axis=1)) < 3 / np.sqrt(number))


def test_variations_enter_up_and_down_and_the_covariance() -> None:
    data = BandYields(np.array([[700.0, 300.0], [300.0, 200.0]]), axes=[BinAxis("pt", [200, 300, 400])])
    simulation = BandYields(np.array([[80.0, 60.0], [20.0, 40.0]]), axes=data.axes)
    up, down = (simulation.with_factors(np.full((1, 2), f)) for f in (1.1, 0.9))
    variations = {"shower": (YieldVariation(simulation=up), YieldVariation(simulation=down))}
    made = formula_factors(data, simulation, variations=variations)
    assert np.allclose(made.values, [[0.3 / 0.2, 0.4 / 0.4]])
    assert np.allclose(made.shifts["shower"][0], made.values / 1.1)
    alone = formula_factors(data, simulation, variations=variations, correlated=[])
    half = (made.shifts["shower"][0] - made.shifts["shower"][1]).ravel() / 2
    difference = made.covariance() - alone.covariance()
    assert difference[0, 1] == pytest.approx(half[0] * half[1])
    assert np.allclose(np.diag(difference), 0)
    assert np.allclose(np.diag(made.covariance()), made.uncertainties.ravel() ** 2)
    assert list(made.sources) == ["statistics", "simulation", "shower"]


def test_factors_of_bands_conserve_the_sum_of_a_bin() -> None:
    rng = np.random.default_rng(3)
    data, simulation = (BandYields(rng.uniform(50, 500, (4, 3))) for _ in range(2))
    made = formula_factors(data, simulation, kind="bands")
    moved = simulation.with_factors(made.values)
    assert np.allclose(moved.total, simulation.total, rtol=1e-12)
    # and the fractions are those of data
    assert np.allclose(moved.values / moved.total, data.values / data.total, rtol=1e-12)


@pytest.mark.parametrize("kappa", [0.8, 1.0, 1.1])
def test_the_formula_and_the_fit_agree_where_both_apply(kappa: float) -> None:
    """One bin of mass, a known background, large simulation: two bands determine factor and normalisation."""
    pytest.importorskip("pyhf")
    from jettagger.calibration import BandTemplates, CategoryFactor, fit_factors
    from jettagger.statistics.bins import Template

    truth, other = np.array([6000.0, 3000.0]), np.array([500.0, 100.0])
    counts = np.round([truth[0] + (1 - kappa) * truth[1] + other[0], kappa * truth[1] + other[1]])
    background = BandYields(other, np.zeros(2))
    made = formula_factors(BandYields(counts), BandYields(truth, np.zeros(2)), background)

    def templates(numbers: Any) -> dict[str, Template]:
        return {
            name: Template(np.array([n]), np.array([n]) * 1e-6, {})
            for name, n in zip(("fail", "pass"), numbers, strict=True)
        }

    fit = fit_factors(
        BandTemplates(
            "all", hist.axis.Regular(1, 50, 130, name="msoftdrop"), ["fail", "pass"],
            {"fail": counts[:1], "pass": counts[1:]}, {"signal": templates(truth), "other": templates(other)},
        ),
        categories={"signal": CategoryFactor(normalisation="free"), "other": CategoryFactor("fixed")},
        simulated_statistics=False,
    )  # fmt: skip
    factor = fit.factor("signal", "pass")
    assert factor.value == pytest.approx(made.values[0], rel=1e-4)
    assert factor.uncertainty == pytest.approx(made.uncertainties[0], rel=1e-2)


# ------------------------------------------------------------------------------------------------ mistag rates


def test_mistag_rates_with_a_known_contamination() -> None:
    rate, tops = np.array([0.04, 0.06]), np.array([[20.0, 30.0], [60.0, 90.0]])
    multijets = np.array([[960.0, 1880.0], [40.0, 120.0]])
    factor = 0.8
    upper = tops[1] * factor
    data = BandYields(multijets + np.stack([tops.sum(axis=0) - upper, upper]))
    simulation = BandYields(np.array([[95.0, 95.0], [5.0, 5.0]]))
    contamination = {"top": Contamination(BandYields(tops), 0.3, factor, 0.1)}
    made = mistag_factors(data, simulation, contamination)
    assert np.allclose(made.data.values[0], rate)
    assert np.allclose(made.values[0], rate / 0.05)
    assert list(made.sources) == ["statistics", "simulation", "top_normalisation", "top_factor"]
    assert made.correlated == {"top_normalisation", "top_factor"}
    up, down = made.shifts["top_normalisation"]
    assert (up < made.values).all()
    assert (down > made.values).all()
    plain = mistag_factors(data, simulation)
    assert (plain.values > made.values).all()
    side = YieldVariation()
    with pytest.raises(ConfigError, match="cannot be called 'top_factor'"):
        mistag_factors(data, simulation, contamination, variations={"top_factor": (side, side)})


# ------------------------------------------------------------------------------------------------ histograms


def test_yields_of_a_histogram_are_those_of_its_jets() -> None:
    sample = jets(5)
    score = np.minimum(sample["scores"], 1.0)
    score[:3] = [1.0, -0.5, 1.5]
    filled = hist.Hist(
        hist.axis.StrCategory(["tt", "qcd"], name="dataset"),
        hist.axis.Variable(PT.edges, name="pt"),
        hist.axis.Variable([0, 0.3, 0.6, 1], name="score"),
        hist.axis.Regular(4, 0, 200, name="msoftdrop"),
        storage=hist.storage.Weight(),
    )
    mass = np.linspace(-10, 300, len(score))
    arguments = {"pt": sample["columns"]["pt"], "score": score, "msoftdrop": mass, "weight": sample["weights"]}
    filled.fill(dataset="tt", **arguments)
    expected = BandYields.from_jets(score, sample["columns"], [PT], [0.3, 0.6], sample["weights"])
    made = BandYields.from_histogram(filled, dataset="tt")
    assert np.allclose(made.values, expected.values)
    assert np.allclose(made.variances, expected.variances)
    assert made.thresholds == (0.3, 0.6)
    made.require_like(expected)
    assert BandYields.from_histogram(filled, dataset="qcd").total.sum() == 0
    with pytest.raises(UnknownName, match=r"'ptt' \(nearest: pt\)"):
        BandYields.from_histogram(filled, ["ptt"], dataset="tt")


def test_merged_bins_keep_the_sums() -> None:
    yields = BandYields.from_jets(**jets(2), axes=[BinAxis("mass", [0, 1e3], "pt"), PT], thresholds=[0.5])
    made = yields.merged([0, 2])
    assert made.axes[1].edges == (200, 400, 800)
    assert np.allclose(made.values[..., 0], yields.values[..., :2].sum(axis=-1))
    assert np.allclose(made.total.sum(), yields.total.sum())
    for starts in ([1], [0, 0], [0, 3], []):
        with pytest.raises(ConfigError, match="begin at increasing numbers"):
            yields.merged(starts)


# ------------------------------------------------------------------------------------------------ bad input

GOOD = BandYields(np.array([[90.0, 80.0, 70.0], [10.0, 20.0, 30.0]]), axes=[PT], what="simulation")


def like(values: Any, **more: Any) -> BandYields:
    return BandYields(np.array(values), **{"axes": [PT], "what": "data", **more})


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: like([[1.0, np.nan, 1], [1, 1, 1]]), InvalidValues, r"band 0, pt 300 to 400 GeV, is nan; 1 of 6"),
        (lambda: like([[1.0, 1, 1]]), MismatchError, "at least two bands"),
        (lambda: like([[1.0], [1]]), MismatchError, r"bins of shape \(1,\), the axes have \(3,\)"),
        (lambda: like([[1.0, 1, 1]] * 2, variances=[[-1, 0, 0]] * 2), InvalidValues, "variance in band 0.* is -1"),
        (lambda: like([[1.0, 1, 1]] * 2, variances=[[1.0]] * 2), MismatchError, "variances of shape"),
        (lambda: like([[1.0, 1, 1]] * 2, thresholds=[0.1, 0.2]), MismatchError, "2 thresholds for 2 bands"),
        (lambda: efficiencies(like([[0.0, 1, 1], [0, 1, 1]])), InvalidValues, "no jets in pt 200 to 300 GeV .*1 of 3"),
        (lambda: like([[3.0, 2, 2], [-1, 1, 1]]), InvalidValues, "yield in band 1, pt 200 to 300 GeV, is -1"),
        (
            lambda: efficiencies(like([[3.0, 2, 2], [-1, 1, 1]], variances=[[3.0] * 3] * 2)),
            InvalidValues,
            "band 1, pt 200.* sum up to -1",
        ),
        (lambda: efficiencies(GOOD, "point"), UnknownName, r"'point' \(nearest: points"),
        (
            lambda: formula_factors(GOOD, GOOD, like([[1.0, 1, 1], [1, 21, 1]], what="multijets")),
            InvalidValues,
            "background exceeds the data in band 1, pt 300 to 400 GeV: multijets 21, simulation 20; in 1 of 6",
        ),
        (
            lambda: formula_factors(GOOD, BandYields(GOOD.values, axes=[BinAxis("pt", [200, 300, 500, 800])])),
            MismatchError,
            "edges 200, 300, 400, 800, yields 200, 300, 500, 800",
        ),
        (lambda: formula_factors(GOOD, BandYields(np.ones((3, 3)))), MismatchError, "2 bands .* has 3"),
        (
            lambda: formula_factors(GOOD, BandYields(GOOD.values, axes=[BinAxis("mass", PT.edges)])),
            MismatchError,
            "has bins in pt, yields in mass",
        ),
        (lambda: formula_factors(GOOD, like([[1.0, 1, 1], [1, 0, 1]])), InvalidValues, "passes working point 1"),
        (
            lambda: formula_factors(GOOD, GOOD, variations={"jes": (YieldVariation(), None)}),
            ConfigError,
            "'jes': up or down is missing",
        ),
        (
            lambda: formula_factors(GOOD, GOOD, variations={"statistics": (YieldVariation(),) * 2}),
            ConfigError,
            "cannot be called 'statistics'",
        ),
        (lambda: formula_factors(GOOD, GOOD, correlated=["jes"]), UnknownName, "unknown variation.*'jes'"),
        (lambda: GOOD.with_factors(np.full((1, 3), 20.0)), InvalidValues, "need more jets than there are"),
        (lambda: Contamination(GOOD, -0.1), InvalidValues, "uncertainty: got -0.1"),
        (lambda: BinAxis("pt", [300, 200]), ConfigError, "two increasing numbers"),
        (lambda: BinAxis("ptt", [300, 400]), UnknownName, "nearest: pt"),
        (
            lambda: BandYields.from_jets([0.1], {"pt": [1.0, 2]}, [PT], [0.5]),
            MismatchError,
            "1 scores, 1 weights, 2 pt",
        ),
        (lambda: BandYields.from_jets([0.1], {"pt": [1.0]}, [PT], []), ConfigError, "increasing thresholds"),
        (
            lambda: BandYields.from_jets([0.1], {"pt": [1.0]}, [PT], [0.5], [np.inf]),
            InvalidValues,
            "weight of jet 0 is inf; 1 are not finite",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(call: Any, kind: type[JettaggerError], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
