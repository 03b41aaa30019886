"""Maps: against closed forms, other fits and correctionlib alone; bad samples and files."""

import json
import math
import pickle
import re
from functools import cache

import awkward as ak
import numpy as np
import pytest
from scipy.stats import chi2, kstest, norm
from shown import check_shown

from jettagger.decorrelation import (
    LinearMap,
    QuantileMap,
    ThresholdMap,
    fit_linear,
    fit_map,
    fit_quantiles,
    fit_thresholds,
    load_map,
)
from jettagger.decorrelation.mapfile import _Evaluate
from jettagger.discriminants import Discriminant, derive
from jettagger.errors import (
    ConfigError,
    InputFileError,
    InvalidValues,
    MismatchError,
    MissingColumns,
    UnknownName,
)

#: weights of the toy
WEIGHTS = ("none", "positive", "some negative")
SLOW = [("quantiles", "none"), ("quantiles", "positive"), ("quantiles", "some negative")]


def toy(size, seed, weights="none"):
    """A background whose score sculpts the mass and pt, its weights, and the exact conditional quantile."""
    generator = np.random.default_rng(seed)
    pt = 300 - 100 * np.log(1 - generator.random(size) * (1 - math.exp(-6)))  # falling, up to 900 GeV
    mass = generator.uniform(30, 250, size)
    middle = 1.5 * np.sin(mass / 70) + 0.003 * (pt - 400)
    spread = 1 + 0.3 * np.cos(mass / 50)
    score = generator.normal(middle, spread)
    weight = np.ones(size)
    if weights != "none":
        weight = generator.exponential(1, size)
    if weights == "some negative":
        weight = np.where(generator.random(size) < 0.1, -weight, weight)
    jets = {"msoftdrop": mass, "pt": pt, "x": norm.cdf(score)}
    return jets, weight, norm.cdf((score - middle) / spread)


def probability(passing, weights, values, efficiency, fitted, fitted_weights, bins=20):
    """The chi-square probability that an efficiency is the same in all bins of a column.

    Both samples fluctuate: that on which the map was fitted, and that to which it is applied.
    """
    edges = np.quantile(fitted, np.linspace(0, 1, bins + 1))
    total = 0.0
    inside = (values >= edges[0]) & (values < edges[-1])
    place, place_fit = (np.clip(np.digitize(v, edges) - 1, 0, bins - 1) for v in (values, fitted))
    for number in range(bins):
        weight = weights[inside & (place == number)]
        passed = passing[inside & (place == number)]
        other = fitted_weights[place_fit == number]
        relative = sum(float((w**2).sum() / w.sum() ** 2) for w in (weight, other))
        found = float(weight[passed].sum() / weight.sum())
        total += (found - efficiency) ** 2 / (efficiency * (1 - efficiency) * relative)
    return float(chi2.sf(total, bins))


@cache
def halves(weights="none"):
    return toy(120_000, 1, weights), toy(120_000, 2, weights)


@cache
def made_map(method, weights="none"):
    jets, weight, _ = halves(weights)[0]
    return fit_map(method, "x", jets, weights=weight)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "weights"),
    [
        pytest.param(method, weights, marks=[pytest.mark.slow] if (method, weights) in SLOW else [])
        for method in ("quantiles", "thresholds")
        for weights in WEIGHTS
    ],
)
def test_efficiencies_are_flat_on_the_other_half(method, weights):
    (jets, fit_weights, _), (others, other_weights, _) = halves(weights)
    made = made_map(method, weights)
    for efficiency in (0.1, 0.05, 0.02, 0.01):
        passing = made.passes(others, efficiency)
        for column in ("msoftdrop", "pt"):
            arguments = (other_weights, others[column], efficiency, jets[column], fit_weights)
            assert probability(passing, *arguments) > 0.01, (efficiency, column)
    # the score itself sculpts, so that the test can fail
    raw = others["x"] >= np.quantile(jets["x"], 0.9)
    assert probability(raw, other_weights, others["pt"], 0.1, jets["pt"], fit_weights) < 1e-30


@pytest.mark.slow
def test_quantiles_are_those_of_the_closed_form():
    _, (others, _, exact) = halves()
    found = made_map("quantiles")(others)
    assert made_map("quantiles").count(others).outside < 20
    inside = found >= 0
    # 120 000 jets in 96 bins give quantiles to about 1 %
    assert np.std(found[inside] - exact[inside]) < 0.015
    assert abs(np.mean(found[inside] - exact[inside])) < 0.003
    # two samples of 120 000: 0.1 % of the distances are above 0.008
    assert kstest(found[inside], "uniform").statistic < 0.008
    assert found[inside].min() > 0
    assert found[inside].max() < 1


@pytest.mark.parametrize("method", ["linear", pytest.param("quantiles", marks=pytest.mark.slow), "thresholds"])
def test_correctionlib_alone_decides_as_we_do(tmp_path, method):
    correctionlib = pytest.importorskip("correctionlib")
    (jets, weights, _), (others, _, _) = halves("positive")
    axes = {} if method == "linear" else {"axes": {"rho": 8, "pt": [300, 350, 450, 900]}}
    made = fit_map(method, "x", jets, weights=weights, name="ddt", **axes)
    made.save(tmp_path / "map.json")
    again = load_map(tmp_path / "map.json")
    theirs = correctionlib.CorrectionSet.from_file(str(tmp_path / "map.json"))["ddt"]
    names = [item.name for item in theirs.inputs]
    assert names[-4:] == ["systematic", "score", "mass", "pt"]
    others = {name: column[:100_000].copy() for name, column in others.items()}
    others["msoftdrop"][:3] = [0.0, -1.0, np.nan]
    others["pt"][3:6] = [300.0, 450.0, np.nextafter(900.0, 0)]
    columns = [others[name] for name in ("x", "msoftdrop", "pt")]
    for systematic in ("nominal", "up", "down"):
        for efficiency in (0.1, 0.01) if method != "linear" else (None,):
            points = ["eff10" if efficiency == 0.1 else "eff1"] if method == "thresholds" else []
            numbers = theirs.evaluate(*points, systematic, *columns)
            of_map = [efficiency] if method == "thresholds" else []
            np.testing.assert_array_equal(again(others, *of_map, systematic=systematic), numbers)
            if method != "linear":
                passing = again.passes(others, efficiency, systematic=systematic)
                least = 0.0 if method == "thresholds" else 1 - efficiency
                np.testing.assert_array_equal(passing, numbers >= least)
                assert not passing[:3].any()
            assert (numbers[:3] == again.outside).all()
            assert again.count_of(numbers).outside >= 3


def test_the_linear_form_is_an_independent_fit():
    (jets, weights, _), _ = halves("positive")
    made = fit_linear("x", jets, weights=weights, range=(1.5, 4.5), bins=25)
    rho = np.log(jets["msoftdrop"] ** 2 / jets["pt"])
    place = np.digitize(rho, np.linspace(1.5, 4.5, 26)) - 1
    points = []
    for number in range(25):
        w, x, r = weights[place == number], jets["x"][place == number], rho[place == number]
        mean = np.average(x, weights=w)
        points.append((np.average(r, weights=w), mean, np.sqrt(np.sum(w**2 * (x - mean) ** 2)) / w.sum()))
    r, x, sigma = np.transpose(points)
    (slope, offset), covariance = np.polyfit(r, x, 1, w=1 / sigma, cov="unscaled")
    assert made.slope == pytest.approx(slope, rel=1e-9)
    assert made.offset == pytest.approx(offset, rel=1e-9)
    assert made.slope_uncertainty == pytest.approx(math.sqrt(covariance[0, 0]), rel=1e-9)
    assert made.record["chi2"] == pytest.approx(float((((x - offset - slope * r) / sigma) ** 2).sum()), rel=1e-9)
    np.testing.assert_allclose(made(jets), jets["x"] - slope * rho, rtol=0, atol=1e-9)
    shifted = fit_linear("x", jets, weights=weights, range=(1.5, 4.5), bins=25, pivot=3.0)
    np.testing.assert_allclose(shifted(jets), jets["x"] - slope * (rho - 3), rtol=0, atol=1e-9)


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_a_line_is_found_again(statistic):
    generator = np.random.default_rng(3)
    jets = {"mass": generator.uniform(40, 200, 20_000), "pt": generator.uniform(300, 700, 20_000)}
    rho = np.log(jets["mass"] ** 2 / jets["pt"])
    jets["tau1"] = generator.uniform(0.2, 0.3, 20_000)
    jets["tau2"] = (0.65 - 0.07 * rho + 0.1 * generator.normal(size=20_000)) * jets["tau1"]
    made = fit_linear("tau2 / tau1", jets, columns={"mass": "mass"}, statistic=statistic, signal="low")
    assert abs(made.slope + 0.07) < 4 * made.slope_uncertainty < 0.01
    # tau21' does not depend on rho' any more, and jets without a mass fail a cut from above
    assert abs(np.polyfit(rho, made(jets), 1)[0]) < 4 * made.slope_uncertainty
    assert made({"tau1": 0.2, "tau2": 0.1, "mass": 0.0, "pt": 400.0}) == 1e30
    with pytest.raises(ConfigError, match="a linear map has no efficiencies: cut on its number"):
        made.passes(jets, 0.1)


def small_maps():
    """A map of each method, with few bins."""
    jets = small()
    yield fit_linear("x", jets)
    yield fit_thresholds("x", jets, axes={"mass": 3, "pt": [300, 400, 1000]}, least=2)
    yield fit_quantiles("x", jets, axes={"mass": 3, "pt": [300, 400, 1000]}, levels=[0.5, 0.1], passes=2)


def test_values(tmp_path):
    for made, kind in zip(small_maps(), (LinearMap, ThresholdMap, QuantileMap), strict=True):
        made.save(tmp_path / "map.json")
        again = load_map(tmp_path / "map.json")
        assert type(again) is kind
        assert again == made == pickle.loads(pickle.dumps(made))
        assert made != fit_linear("x", small(seed=8))
        assert again.record == made.record
        assert str(again.discriminant) == "x"
        assert "jets outside of the map get" in again.table()
        assert json.loads(json.dumps(again.report()))["method"] == made.method
        assert made.summary().title.startswith(kind.__name__)
        check_shown(made)


def test_the_file_follows_the_schema():
    schemav2 = pytest.importorskip("correctionlib.schemav2")
    for made in small_maps():
        schemav2.CorrectionSet.model_validate_json(made.to_string())


# ------------------------------------------------------------------------------------------------ jets of any layout


def test_none_stays_none_and_jets_outside_are_counted():
    jets = ak.Array(
        [
            [{"x": 0.5, "pt": 400.0, "msoftdrop": 100.0}, {"x": None, "pt": 400.0, "msoftdrop": 100.0}],
            [],
            [{"x": 0.9, "pt": 100.0, "msoftdrop": 100.0}, {"x": 0.9, "pt": None, "msoftdrop": 100.0}],
        ]
    )
    for made in list(small_maps())[1:]:
        point = ["eff10"] if made.efficiencies else []
        numbers = made(jets, *point)
        assert numbers.to_list()[0][1] is None
        assert numbers.to_list()[1] == []
        assert numbers.to_list()[2] == [made.outside] * 2
        assert ak.num(numbers).to_list() == [2, 0, 2]
        counts = made.count(jets)
        assert (counts.jets, counts.without_score, counts.outside) == (4, 1, 2)
        assert made.passes(jets, 0.1).to_list()[2] == [False, False]
        flat = made({"x": np.array([0.5, np.nan]), "pt": np.full(2, 400.0), "msoftdrop": np.full(2, 100.0)}, *point)
        assert flat[0] == numbers[0, 0]
        assert math.isnan(flat[1])
        assert made(jets[0, 0], *point) == numbers[0, 0]
        assert made(jets[0, 1], *point) is None
        assert made(jets[:0], *point).to_list() == []
        events = ak.Array([jets[0].to_list(), None, jets[2].to_list()])
        assert made(events, *point).to_list() == [numbers[0].to_list(), None, numbers[2].to_list()]
        assert made.count(events).jets == 4


def test_dask_awkward():
    dask_awkward = pytest.importorskip("dask_awkward", reason="dask-awkward is not installed")
    jets = ak.unflatten(ak.Array(toy(200, 3)[0]), 2)
    for made in list(small_maps())[1:]:
        point = ["eff10"] if made.efficiencies else []
        lazy = made(dask_awkward.from_awkward(jets, 2), *point)
        assert isinstance(lazy, dask_awkward.Array)
        assert lazy.compute().to_list() == made(jets, *point).to_list()
        assert made.passes(dask_awkward.from_awkward(jets, 2), 0.1).compute().to_list() == (
            made.passes(jets, 0.1).to_list()
        )


# ------------------------------------------------------------------------------------------------ the pivot toy


def pivot_score(x1, x2):
    """The logarithm of the exact likelihood ratio: x2 of class 1 is a Gaussian around 1 with variance 2."""
    ratio = norm.logpdf(x1, 1) + norm.logpdf(x2, 1, math.sqrt(2))
    return ratio - norm.logpdf(x1, -0.5 * x2, math.sqrt(0.75)) - norm.logpdf(x2)


def test_a_map_in_the_nuisance_reaches_the_best_similar_test():
    """Class 0: unit Gaussians with correlation -0.5; class 1: unit Gaussians around (1, 1 + Z), Z normal.

    The best test whose efficiency for class 1 does not depend on Z is the likelihood ratio conditional on x2: at each
    x2 the half of class 1 with the largest ratio passes.
    """
    generator = np.random.default_rng(4)
    size = 300_000
    zeros = generator.multivariate_normal([0, 0], [[1, -0.5], [-0.5, 1]], size).T
    nuisance = generator.normal(size=size)
    ones = (generator.normal(1, 1, size), generator.normal(1 + nuisance, 1))
    class0, class1 = ({"llr": pivot_score(*pair), "x2": pair[1]} for pair in (zeros, ones))
    fitted, test = ({key: column[start::2] for key, column in class1.items()} for start in (0, 1))
    made = fit_quantiles("llr", fitted, axes={"x2": 30})
    passing0, passing1 = made.passes(class0, 0.5), made.passes(test, 0.5)
    assert np.mean(passing1) == pytest.approx(0.5, abs=0.006)
    # by integration: the fraction of class 0 that passes at each x2
    x2 = np.linspace(-5, 5, 201)
    x1 = np.linspace(-8, 9, 1701)[:, None]
    order = np.argsort(-pivot_score(x1, x2), axis=0)
    steps = x1[1, 0] - x1[0, 0]
    reached = np.cumsum(np.take_along_axis(norm.pdf(x1, 1) + 0 * x2, order, 0), axis=0) * steps
    passed = np.cumsum(np.take_along_axis(norm.pdf(x1, -0.5 * x2, math.sqrt(0.75)), order, 0), axis=0) * steps
    fractions = [np.interp(0.5, reached[:, column], passed[:, column]) for column in range(len(x2))]
    best = 1 / np.sum(fractions * norm.pdf(x2) * (x2[1] - x2[0]))
    assert best == pytest.approx(6.519, abs=0.01)
    assert 1 / np.mean(passing0) == pytest.approx(best, rel=0.02)
    # the efficiency does not depend on Z, where that of the ratio itself goes from 0.24 to 0.76
    z = nuisance[1::2]
    cut = np.median(test["llr"])
    found, raw = [], []
    for value in (-1, 0, 1):
        near = np.abs(z - value) < 0.1
        found.append(np.mean(passing1[near]))
        raw.append(np.mean(test["llr"][near] >= cut))
    assert found == pytest.approx([0.5] * 3, abs=0.02)
    assert raw == pytest.approx([0.238, 0.5, 0.76], abs=0.02)


# ------------------------------------------------------------------------------------------------ bad samples


def small(size=4000, seed=7):
    jets, _, _ = toy(size, seed)
    return jets


@pytest.mark.parametrize("method", ["linear", "quantiles", "thresholds"])
def test_protected_columns_that_are_no_use(method):
    jets = small()
    axes = {} if method == "linear" else {"axes": {"mass": 4}}
    constant = {"msoftdrop": np.full(4000, 80.0), "pt": np.full(4000, 400.0)}
    with pytest.raises(InvalidValues, match=r"single value .* in all 4000 jets"):
        fit_map(method, "x", {**jets, **constant}, **axes)
    with pytest.raises(InvalidValues, match=r"is defined for none of 4000|has no finite value in 4000 jets"):
        fit_map(method, "x", {**jets, "msoftdrop": np.full(4000, np.nan)}, **axes)
    with pytest.raises(MissingColumns, match=r"need the column 'msoftdrop', which these jets lack"):
        fit_map(method, "x", {key: jets[key] for key in ("x", "pt")}, **axes)
    # some missing values are left out, and said
    holes = jets["msoftdrop"].copy()
    holes[:50] = np.nan
    made = fit_map(method, "x", {**jets, "msoftdrop": holes}, **axes)
    assert made.record["outside"] == 50
    assert made.record["jets"] == 3950
    scores = jets["x"].copy()
    scores[:7] = np.nan
    assert fit_map(method, "x", {**jets, "x": scores}, **axes).record["without_score"] == 7


@pytest.mark.parametrize("fit", [fit_thresholds, fit_quantiles])
def test_bins_without_background(fit):
    jets = small()
    jets["msoftdrop"] = np.where(jets["msoftdrop"] < 100, jets["msoftdrop"], jets["msoftdrop"] + 100)
    axes = {"mass": [30, 100, 150, 250, 350]}  # none from 100 to 200
    options = {"efficiencies": [0.1]} if fit is fit_thresholds else {"levels": [0.5, 0.1]}
    made = fit("x", jets, axes=axes, **options)
    assert made.record["empty"] == 1
    assert [entry["bin"] for entry in made.record["merged"]] == ["mass 100 to 150"]
    assert "bins with jets of those around them: 1 of 4, 1 without jets" in made.table()
    assert made({**jets, "msoftdrop": np.full(4000, 120.0)}).min() > -2
    with pytest.raises(InvalidValues, match=r"bin mass 100 to 150: 0 jets .* too few for an efficiency of 0.1"):
        fit("x", jets, axes=axes, sparse="refuse", **options)


def test_efficiencies_that_the_sample_does_not_resolve():
    jets = small()
    with pytest.raises(InvalidValues, match=r"efficiency of 0.0001; .* which takes 100000 effective jets"):
        fit_thresholds("x", jets, {"tight": 1e-4}, axes={"mass": 2})
    with pytest.raises(InvalidValues, match=r"are too few for an efficiency of 0.001"):
        fit_quantiles("x", jets, levels=[0.1, 0.001], axes={"mass": 2}, sparse="refuse")
    with pytest.raises(InvalidValues, match=r"a quarter of the bins has less than .* effective jets, it takes"):
        fit_quantiles("x", {key: column[:40] for key, column in jets.items()})
    with pytest.raises(InvalidValues, match=r"have 10 effective jets: expected at least three"):
        fit_linear("x", {key: column[:20] for key, column in jets.items()})


def test_bins_of_negative_weight_are_named():
    jets = small()
    weights = np.where((jets["msoftdrop"] > 100) & (jets["msoftdrop"] < 150), -1.0, 1.0)
    arguments = {"axes": {"mass": [30, 100, 150, 250]}, "weights": weights}
    with pytest.raises(InvalidValues, match=r"bin mass 100 to 150: the sum of the weights of \d+ jets is -\d+"):
        fit_thresholds("x", jets, [0.1], sparse="refuse", **arguments)
    merged = fit_thresholds("x", jets, [0.1], **arguments).record["merged"]
    assert merged[0]["bin"] == "mass 100 to 150"
    with pytest.raises(InvalidValues, match=r"weight of event at position 3 is nan"):
        fit_thresholds("x", jets, [0.1], weights=[1, 1, 1, np.nan] + [1] * 3996)


def test_options_that_do_not_exist():
    jets = small()
    with pytest.raises(UnknownName, match=r"unknown method of maps.*'quantile' \(nearest: quantiles"):
        fit_map("quantile", "x", jets)
    with pytest.raises(UnknownName, match=r"unknown option.*'smoothin' \(nearest: smoothing"):
        fit_map("thresholds", "x", jets, smoothin="gaussian")
    with pytest.raises(UnknownName, match=r"unknown smoothing.*'gauss' \(nearest: gaussian"):
        fit_thresholds("x", jets, smoothing="gauss")
    with pytest.raises(UnknownName, match=r"unknown treatment of sparse bins.*'merged'"):
        fit_quantiles("x", jets, sparse="merged")
    with pytest.raises(UnknownName, match=r"unknown axis.*'masss'"):
        fit_quantiles("x", jets, columns={"masss": "msoftdrop"})
    with pytest.raises(UnknownName, match=r"unknown statistic.*'modian' \(nearest: median"):
        fit_linear("x", jets, statistic="modian")
    with pytest.raises(ConfigError, match=r"rho is computed from the mass and pt: give rho or mass"):
        fit_thresholds("x", jets, axes={"rho": 3, "mass": 3})
    with pytest.raises(ConfigError, match=r"bins in mass: expected at least two rising edges or a number of bins"):
        fit_thresholds("x", jets, axes={"mass": [100, 30]})
    with pytest.raises(ConfigError, match=r"'eff150': an efficiency lies between 0 and 1"):
        fit_thresholds("x", jets, [1.5])
    made = fit_thresholds("x", jets, [0.2, 0.1], axes={"mass": 3})
    with pytest.raises(ConfigError, match=r"choose one of the efficiencies eff20, eff10"):
        made(jets)
    with pytest.raises(UnknownName, match=r"unknown efficiency.*'eff30'"):
        made(jets, "eff30")
    with pytest.raises(ConfigError, match=r"has no efficiency 0.3, expected one of 0.2, 0.1"):
        made.passes(jets, 0.3)
    with pytest.raises(UnknownName, match=r"unknown systematic: 'upp' \(nearest: up"):
        made(jets, "eff20", systematic="upp")
    with pytest.raises(MissingColumns, match=r"read mass from the column 'msoftdrop', which these jets lack"):
        made({"x": np.ones(2)}, "eff20")
    quantiles = fit_quantiles("x", jets, axes={"mass": 3})
    with pytest.raises(ConfigError, match=r"any background efficiency between 0 and 1, got 1.5"):
        quantiles.passes(jets, 1.5)


# ------------------------------------------------------------------------------------------------ whose map it is


def test_a_map_for_other_scores_is_refused():
    generator = np.random.default_rng(5)
    jets = {"a_probHbb": generator.random(2000), "msoftdrop": generator.uniform(30, 200, 2000)}
    model = {"model": "M", "digest": "1" * 64}
    item = Discriminant.from_string("probHbb", name="hbb")
    made = fit_thresholds(item, jets, [0.1], axes={"mass": 3}, model=model)
    assert made.origin.model == "M"
    assert "model: M" in made.table()
    with pytest.raises(MismatchError, match=r"belong to the model 'M' .*, but these scores are of 'N'"):
        made(jets, model={"model": "N", "digest": "2" * 64})
    other = {"b_probHbb": jets["a_probHbb"], "msoftdrop": jets["msoftdrop"]}
    with pytest.raises(MismatchError, match=r"with the prefix 'a', these have 'b'"):
        made.passes(other)
    np.testing.assert_array_equal(made(other, model=model), made(jets))
    with pytest.raises(MissingColumns, match=r"lacks|has all of its scores|have no scores"):
        made({"a_probQCD": np.ones(2), "msoftdrop": np.ones(2)})


def test_files_that_are_not_maps(tmp_path):
    path = tmp_path / "map.json"
    with pytest.raises(InputFileError, match="cannot read"):
        load_map(path)
    for text in ("{", "[]", '{"description": 3}', '{"description": "{}"}'):
        path.write_text(text)
        with pytest.raises(InputFileError, match=r"map.json"):
            load_map(path)
    derive(Discriminant.from_string("x"), small(), {"M": 0.1}).save(path)
    with pytest.raises(InputFileError, match=r"working points, not a map: read them with WorkingPoints.load"):
        load_map(path)
    made = fit_thresholds("x", small(), [0.1], axes={"mass": 3})
    content = json.loads(made.to_string())
    described = json.loads(content["description"])
    for key, value, message in (("format", "map 9", "format 'map 9'"), ("method", "cubic", "unknown method 'cubic'")):
        changed = {"jettagger": {**described["jettagger"], key: value}}
        path.write_text(json.dumps({**content, "description": json.dumps(changed)}))
        with pytest.raises(InputFileError, match=message):
            load_map(path)
    content["corrections"][0]["data"] = {"nodetype": "nothing"}
    path.write_text(json.dumps(content))
    with pytest.raises(InputFileError, match="correctionlib refuses it"):
        load_map(path)


# ------------------------------------------------------------------------------------------------ properties


def test_tighter_thresholds_are_never_lower_and_the_uncertainty_is_the_spread():
    spread, stated = [], []
    for seed in range(25):
        made = fit_thresholds("x", small(3000, seed), [0.3, 0.2, 0.1], axes={"mass": [30, 100, 170, 250]}, passes=1)
        rows = np.array([made.record["thresholds"][key]["nominal"] for key in ("eff30", "eff20", "eff10")])
        assert (np.diff(rows, axis=0) >= 0).all()
        point = {"mass": 130.0}
        spread.append(made.threshold("eff20", **point))
        stated.append(made.threshold("eff20", systematic="up", **point) - made.threshold("eff20", **point))
    # the spread of 25 numbers is known to 14 %
    assert np.mean(stated) == pytest.approx(np.std(spread, ddof=1), rel=0.5)


@pytest.mark.parametrize("smoothing", ["none", "gaussian", "neighbours", "monotone"])
def test_every_smoothing_finds_a_score_that_does_not_sculpt(smoothing):
    """Thresholds of a score that is independent of the mass are the same everywhere."""
    generator = np.random.default_rng(8)
    jets = {"x": generator.random(20_000), "msoftdrop": generator.uniform(30, 250, 20_000)}
    made = fit_thresholds("x", jets, [0.1], axes={"mass": 8}, smoothing=smoothing, neighbours=2500)
    thresholds = np.array(made.record["thresholds"]["eff10"]["nominal"])
    np.testing.assert_allclose(thresholds, 0.9, atol=0.03)
    rank = fit_quantiles("x", jets, axes={"mass": 8}, smoothing=smoothing, neighbours=2500)
    np.testing.assert_allclose(rank(jets), jets["x"], atol=0.04)


def test_edges_belong_to_the_bin_above():
    mass = np.repeat([100.0, 200.0], 400)
    scores = np.tile(np.arange(400) / 400, 2) + (mass >= 200)
    jets = {"x": scores, "msoftdrop": mass}
    made = fit_thresholds("x", jets, [0.25], axes={"mass": [100, 200, 300]}, interpolate=False, smoothing="none")
    low = made.threshold("eff25", mass=np.array([100.0, np.nextafter(200.0, 0)]))
    high = made.threshold("eff25", mass=np.array([200.0, np.nextafter(300.0, 0)]))
    assert low.tolist() == pytest.approx([0.75] * 2)
    assert high.tolist() == pytest.approx([1.75] * 2)
    assert made.threshold("eff25", mass=np.array([99.9, 300.0, np.nan])).tolist() == [1e30] * 3


def test_the_form_of_numbers_is_known_without_jets():
    """What dask-awkward asks for: the same form for arrays without content, for which nothing is evaluated."""
    jets = ak.unflatten(ak.Array({**small(200), "hole": np.where(np.arange(200) % 9 == 0, np.nan, 1.0)}), [2] * 100)
    made = fit_thresholds("x / hole", jets, [0.2], axes={"mass": 3})
    values = made.discriminant(jets)
    evaluate = _Evaluate(made, "eff20", "nominal")
    for others in ([jets.msoftdrop], [ak.values_astype(ak.mask(jets.msoftdrop, jets.pt > 350), np.float32)]):
        for function in (evaluate.numbers, evaluate.decisions):
            real = function(values, *others)
            traced = function(*(ak.to_backend(array, "typetracer") for array in (values, *others)))
            assert traced.layout.form.type == real.layout.form.type
    copy = pickle.loads(pickle.dumps(evaluate.numbers))
    assert copy(values, jets.msoftdrop).to_list() == evaluate.numbers(values, jets.msoftdrop).to_list()
    assert ak.any(ak.is_none(evaluate.numbers(values, jets.msoftdrop), axis=1))


def test_equal_scores_are_said():
    generator = np.random.default_rng(9)
    jets = {"x": np.minimum(generator.random(4000) * 1.05, 1.0), "msoftdrop": generator.uniform(30, 250, 4000)}
    made = fit_thresholds("x", jets, [0.3], axes={"mass": 2})
    assert made.record["largest_tie"] == pytest.approx(np.mean(jets["x"] == 1.0))
    assert re.search(r"equal scores: 4.\d % of the jets have the same one", made.table())
    assert "equal scores" not in fit_thresholds("x", small(), [0.3], axes={"mass": 2}).table()
