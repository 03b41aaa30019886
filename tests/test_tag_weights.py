"""Event weights from scale factors: closure on pseudo-data with known factors, and what is conserved."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from coffea.analysis_tools import Weights
from hypothesis import given, settings
from hypothesis import strategies as st
from shown import check_shown

from jettagger.calibration import (
    BandYields,
    BinAxis,
    EfficiencyMap,
    ScaleFactors,
    TagCount,
    TagWeights,
    efficiency_map,
)
from jettagger.calibration.weights import band_factors
from jettagger.errors import ConfigError, InputFileError, InvalidValues, JettaggerError, MismatchError, UnknownName

PT = BinAxis("pt", [200, 400, 800])
CUTS = {"loose": 0.5, "medium": 0.75, "tight": 0.9}
CATEGORIES = ("signal", "other")


def events(seed: int, number: int = 40_000) -> dict[str, Any]:
    """Jagged jets with a score that depends on pt and category."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, number)
    size = int(counts.sum())
    pt = rng.uniform(200, 800, size)
    signal = rng.random(size) < 0.4
    power = np.where(signal, 0.6, 3.0) * np.where(pt < 400, 1.2, 0.9)
    scores = rng.random(size) ** power
    names = np.where(signal, "signal", "other")
    return {
        "scores": ak.unflatten(scores, counts),
        "columns": {"pt": ak.unflatten(pt, counts)},
        "categories": ak.unflatten(names, counts),
    }


def map_of(sample: dict[str, Any], points: dict[str, float] = CUTS, **options: Any) -> EfficiencyMap:
    pt, scores, names = (
        ak.to_numpy(ak.flatten(sample["columns"]["pt"])),
        ak.to_numpy(ak.flatten(sample["scores"])),
        np.array(ak.to_list(ak.flatten(sample["categories"]))),
    )
    yields = {
        name: BandYields.from_jets(scores[names == name], {"pt": pt[names == name]}, [PT], list(points.values()))
        for name in CATEGORIES
    }
    return efficiency_map({"tt": yields}, name="hbb", points=list(points), **options)


def factors(points: dict[str, float], kind: str = "points", **options: Any) -> ScaleFactors:
    """Known factors by category, point and pt."""
    rng = np.random.default_rng(1)
    values = np.array([0.75, 0.9])[:, None, None] + 0.05 * rng.standard_normal((2, len(points), 2))
    arguments = {"points": list(points), "thresholds": list(points.values()), "axes": [PT], "categories": CATEGORIES}
    sources = {"stat": (values * 1.1, values * 0.9), "jes": (values + 0.05, values - 0.02)}
    return ScaleFactors.make("hbb", values, sources, kind=kind, **{**arguments, **options})


def tagged(scores: Any, cut: float) -> Any:
    return ak.to_numpy(ak.sum(scores >= cut, axis=1))


def pseudo_data(sample: dict[str, Any], made: ScaleFactors, efficiencies: EfficiencyMap) -> Any:
    """Band of each jet, thrown with the efficiencies of data; jagged."""
    rng = np.random.default_rng(99)
    counts = ak.num(sample["scores"])
    columns = {"pt": ak.to_numpy(ak.flatten(sample["columns"]["pt"]))}
    names = np.array(ak.to_list(ak.flatten(sample["categories"])))
    reached = np.zeros((len(made.points), len(names)))
    for category in CATEGORIES:
        mine = names == category
        own = {"pt": columns["pt"][mine]}
        inside = np.stack([efficiencies.evaluate("tt", category, point, own) for point in made.points])
        scale = np.stack([made.evaluate(point, category, own) for point in made.points])
        if made.kind == "bands":
            fractions = inside - np.concatenate([inside[1:], np.zeros((1, inside.shape[1]))])
            reached[:, mine] = (scale * fractions)[::-1].cumsum(axis=0)[::-1]
        else:
            reached[:, mine] = scale * inside
    band = (rng.random(len(names)) < reached).sum(axis=0)
    return ak.unflatten(band, counts)


@pytest.mark.parametrize(
    ("points", "kind"),
    [({"medium": 0.75}, "points"), (CUTS, "points"), (CUTS, "bands")],
    ids=["one point", "three points", "bands"],
)
def test_numbers_of_tagged_jets_are_those_of_pseudo_data(points: dict[str, float], kind: str) -> None:
    """Events with 0, 1, 2 and more tagged jets, at each point, and the joint numbers at all points."""
    simulation = events(1)
    efficiencies, made = map_of(simulation, points), factors(points, kind)
    data = events(2)
    bands = pseudo_data(data, made, efficiencies)
    weights = TagWeights(made, efficiencies).event_weights(**simulation, sample="tt").nominal
    for number, cut in enumerate(points.values(), start=1):
        mine, theirs = tagged(simulation["scores"], cut), ak.to_numpy(ak.sum(bands >= number, axis=1))
        for count in (0, 1, 2):
            expected, observed = weights[mine == count].sum(), np.count_nonzero(theirs == count)
            sigma = np.sqrt((weights[mine == count] ** 2).sum() + observed)
            assert abs(expected - observed) < 3.5 * sigma
            if count == 1:
                unweighted = np.count_nonzero(mine == count)
                assert abs(unweighted - observed) > 5 * sigma, "without weights it fails, so that the test can"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_mean_factor_of_a_bin_is_one(data: st.DataObject) -> None:
    """Weighted by the fractions of the bands: sums of bands are conserved, for points and for bands, limited or not."""
    points = data.draw(st.integers(1, 5))
    fractions = np.array(data.draw(st.lists(st.floats(0.001, 1), min_size=points + 1, max_size=points + 1)))
    fractions /= fractions.sum()
    efficiencies = fractions[::-1].cumsum()[::-1][1:]
    own = np.array(data.draw(st.lists(st.floats(0, 5), min_size=points, max_size=points)))
    for kind in ("points", "bands"):
        band = np.arange(points + 1)
        made, undefined, limited = band_factors(
            band, np.repeat(efficiencies[:, None], points + 1, 1), np.repeat(own[:, None], points + 1, 1), kind
        )
        assert (fractions * made).sum() == pytest.approx(1, abs=1e-9)
        assert (made >= 0).all()
        assert not undefined.any()
        limited = limited.any()
        if not limited and kind == "bands":
            assert np.allclose(made[1:], own)
        if not limited and kind == "points":
            reached = (fractions * made)[::-1].cumsum()[::-1][1:]
            assert np.allclose(reached, own * efficiencies, atol=1e-12)
            assert made[-1] == own[-1]


@given(st.floats(0.01, 0.9), st.floats(0.1, 1.1))
@settings(max_examples=50, deadline=None)
def test_one_point_is_the_published_formula(efficiency: float, scale: float) -> None:
    made, _, limited = band_factors(np.array([0, 1]), np.full((1, 2), efficiency), np.full((1, 2), scale), "points")
    assert not limited.any()
    assert made[1] == scale
    assert made[0] == pytest.approx((1 - scale * efficiency) / (1 - efficiency), rel=1e-12)


def test_weights_of_the_sample_of_the_map_average_to_one() -> None:
    simulation = events(4, 5000)
    for kind in ("points", "bands"):
        made = TagWeights(factors(CUTS, kind), map_of(simulation))
        flat = {name: ak.flatten(item) for name, item in simulation["columns"].items()}
        names = np.array(ak.to_list(ak.flatten(simulation["categories"])))
        jets = made.jet_factors(ak.to_numpy(ak.flatten(simulation["scores"])), flat, names, "tt")
        assert jets.count.limited == 0
        assert np.mean(jets.nominal) == pytest.approx(1, abs=1e-9)
        for up, down in jets.shifts.values():
            assert np.mean(up) == pytest.approx(1, abs=1e-9)
            assert np.mean(down) == pytest.approx(1, abs=1e-9)


@pytest.mark.slow
def test_jets_of_one_bin_are_evaluated_once() -> None:
    """The same as jet by jet, also outside of the bins, where those of scale factors and efficiencies differ."""
    rng = np.random.default_rng(8)
    simulation = events(4, 3000)
    made = TagWeights(factors(CUTS, axes=[BinAxis("pt", [250, 500, 700])]), map_of(simulation))
    columns = {"pt": rng.uniform(150, 900, 400)}
    scores, names = rng.random(400), rng.choice(CATEGORIES, 400)
    together = made.jet_factors(scores, columns, names, "tt")
    one_by_one = [made.jet_factors(scores[[i]], {"pt": columns["pt"][[i]]}, names[[i]], "tt") for i in range(400)]
    assert together.nominal.tolist() == [item.nominal[0] for item in one_by_one]
    assert together.shifts["jes"][0].tolist() == [item.shifts["jes"][0][0] for item in one_by_one]
    total = one_by_one[0].count
    for item in one_by_one[1:]:
        total = total + item.count
    assert together.count == total
    assert 0 < total.outside < 400


def test_sources_become_variations_of_coffea() -> None:
    simulation = events(5, 500)
    made = TagWeights(factors(CUTS), map_of(simulation), points=["tight"])
    found = made.event_weights(**simulation, sample="tt")
    weights = Weights(500)
    weights.add("generator", np.full(500, 2.0))
    found.add_to(weights, "hbb")
    assert np.allclose(weights.weight(), 2 * found.nominal)
    assert weights.variations == {"hbb_statUp", "hbb_statDown", "hbb_jesUp", "hbb_jesDown"}
    assert np.allclose(weights.weight("hbb_jesDown"), 2 * found.shifts["jes"][1])
    assert (found.shifts["jes"][0] != found.nominal).any()
    alone = Weights(500)
    TagWeights(factors(CUTS), map_of(simulation), sources=[]).event_weights(**simulation, sample="tt").add_to(
        alone, "b"
    )
    assert not alone.variations
    total = TagWeights(factors(CUTS), map_of(simulation), sources=["total"])
    assert list(total.event_weights(**simulation, sample="tt").shifts) == ["total"]


def test_special_jets_are_counted() -> None:
    simulation = events(6, 2000)
    weights = TagWeights(factors(CUTS), map_of(simulation))
    scores = ak.Array([[0.95, None], [0.95, 0.1], [], [0.2]])
    columns = {"pt": ak.Array([[300.0, 300.0], [300.0, 1000.0], [], [None]])}
    names = ak.Array([["signal", "signal"], ["signal", "else"], [], ["other"]])
    found = weights.event_weights(scores, columns, names, "tt")
    tight = weights.factors.values[0, 2, 0]
    assert np.allclose(found.nominal, [tight, tight, 1, 1])
    count = TagCount(5, 1, 1, {"else": 1}, 0, 0, 0)
    assert found.count == count
    assert str(count) == "5 jets, 1 without a score, 1 without a column, 1 of 'else', without scale factors"
    twice = count + count
    assert twice == TagCount(10, 2, 2, {"else": 2})
    flat = weights.jet_factors(np.array([0.95, np.nan]), {"pt": [1000.0, 300.0]}, "signal", "tt")
    assert flat.nominal[0] == weights.factors.values[0, 2, 1]
    assert np.isnan(flat.nominal[1])
    assert flat.count.outside == 1
    # uncertainties are doubled there
    stat = weights.factors.sources["stat"][0]
    assert flat.shifts["stat"][0][0] == pytest.approx(tight_outside(weights.factors.values, stat))


def tight_outside(values: Any, up: Any) -> float:
    return float(values[0, 2, 1] + 2 * (up[0, 2, 1] - values[0, 2, 1]))


def test_efficiencies_of_zero_and_one_are_counted_not_divided_by() -> None:
    ones, zeros = np.ones((1, 2)), np.zeros((1, 2))
    made, undefined, limited = band_factors(np.array([0, 1]), ones, np.full((1, 2), 0.9), "points")
    assert (made.tolist(), undefined.tolist(), limited.any()) == ([1.0, 0.9], [True, False], False)
    made, undefined, limited = band_factors(np.array([0, 1]), zeros, np.full((1, 2), 0.9), "points")
    assert (made.tolist(), undefined.any(), limited.any()) == ([1.0, 0.9], False, False)
    made, undefined, limited = band_factors(np.array([0, 1]), np.full((1, 2), 0.95), np.full((1, 2), 1.1), "points")
    assert np.allclose(made, [0, 1 / 0.95])
    assert not undefined.any()
    assert limited.all()


def test_integer_categories_and_foreign_names() -> None:
    simulation = events(7, 3000)
    efficiencies = map_of(simulation)
    made = factors(CUTS, categories=("5", "0"))
    weights = TagWeights(made, efficiencies, categories={"5": "signal", "0": "other"})
    for names in (np.array([5, 0]), np.array([5.0, 0.0]), np.array(["5", "0"])):
        found = weights.jet_factors(np.array([0.95, 0.95]), {"pt": [300.0, 300.0]}, names, "tt")
        assert found.nominal.tolist() == made.values[:, 2, 0].tolist()
    flavors = ak.Array([[5, None], [0]])
    found_events = weights.event_weights(
        ak.Array([[0.95, 0.95], [0.95]]), {"pt": [[300.0, 300.0], [300.0]]}, flavors, "tt"
    )
    assert found_events.nominal.tolist() == made.values[:, 2, 0].tolist()
    assert found_events.count.without_factor == {"-1": 1}
    with pytest.raises(UnknownName, match=r"category in .*sample 'tt': '5'"):
        TagWeights(made, efficiencies).jet_factors(np.array([0.95]), {"pt": [300.0]}, "5", "tt")


# ------------------------------------------------------------------------------------------------ efficiencies


def test_a_map_is_read_again_and_knows_its_samples(tmp_path: Path) -> None:
    made = map_of(events(8, 3000), discriminant="HbbvsQCD", model={"model": "a", "digest": "1" * 64})
    made.save(tmp_path / "eff.json.gz")
    again = EfficiencyMap.load(tmp_path / "eff.json.gz")
    for one in (again, pickle.loads(pickle.dumps(again))):
        assert one == made
        assert (one.name, one.points, one.axes, one.discriminant) == ("hbb", tuple(CUTS), (PT,), "HbbvsQCD")
        assert one.cells == {"tt": CATEGORIES, "all": CATEGORIES}
    assert again.sample("qcd") == "all"
    columns = {"pt": [250.0, 250.0, np.nan]}
    value, up = (again.evaluate("qcd", "signal", "tight", columns, key)[0] for key in ("nominal", "up"))
    assert 0 < value < up < 1
    assert np.isnan(again.evaluate("tt", "signal", "tight", columns)[2])
    assert again.is_outside(columns).tolist() == [False, False, True]
    assert "signal" in again.table()
    assert again._repr_html_().count("<tr>") > 10
    check_shown(again)
    only = map_of(events(8, 3000), total=False)
    with pytest.raises(UnknownName, match=r"unknown sample .*'tw' .nearest: tt"):
        only.sample("tw")


def test_thin_bins_are_merged_and_recorded() -> None:
    axis = BinAxis("pt", [200, 300, 400, 800])
    jets = BandYields(np.array([[80.0, 3.0, 40.0], [20.0, 0.0, 30.0]]), axes=[axis], thresholds=[0.5])
    made = efficiency_map({"tt": {"signal": jets}}, name="b", points=["M"], min_effective_jets=10, total=False)
    values = made.evaluate("tt", "signal", "M", {"pt": [250.0, 350.0, 500.0]})
    assert values.tolist() == pytest.approx([20 / 103, 20 / 103, 30 / 70])
    assert made.record["merged"] == {"tt, signal": "pt 200 to 400 GeV"}
    assert made.record["effective_jets"] == {"tt, signal": pytest.approx(173)}


# ------------------------------------------------------------------------------------------------ bad input

SAMPLE = events(9, 300)
MAP = map_of(SAMPLE)
JETS = BandYields(np.array([[1.0, 1.0], [1, 1]]), axes=[PT], thresholds=[0.5])


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: TagWeights(factors(CUTS), MAP, points=["thight"]), UnknownName, "nearest: tight"),
        (
            lambda: TagWeights(factors({**CUTS, "vtight": 0.95}), MAP),
            UnknownName,
            "'vtight' .*efficiencies|efficiencies",
        ),
        (
            lambda: TagWeights(factors(CUTS, "bands"), MAP, points=["tight"]),
            ConfigError,
            "bands, which are used together",
        ),
        (lambda: TagWeights(factors(CUTS), MAP, sources=["stats"]), UnknownName, "nearest: stat"),
        (lambda: TagWeights(factors(CUTS), MAP, categories={"sig": "signal"}), UnknownName, "nearest: signal"),
        (
            lambda: TagWeights(factors({**CUTS, "tight": 0.91}), MAP),
            MismatchError,
            "'tight': the scale factors 'hbb' are for the threshold 0.91, the efficiencies 'hbb' for 0.9",
        ),
        (lambda: TagWeights(factors(CUTS), MAP).jet_factors([0.1], {"pt": [300.0]}), ConfigError, "give categories="),
        (lambda: TagWeights(factors(CUTS), MAP).jet_factors([0.1], {}, "other"), UnknownName, "column .*'pt'"),
        (lambda: TagWeights(factors(CUTS), MAP).event_weights([[0.1]], {}, "other"), UnknownName, "column .*'pt'"),
        (
            lambda: TagWeights(factors(CUTS), MAP).jet_factors([0.1], {"pt": [1.0, 2.0]}, "other"),
            MismatchError,
            "1 scores, 1 categories, 2 pt",
        ),
        (
            lambda: TagWeights(factors(CUTS), MAP).event_weights([[0.1]], {"pt": [[1.0, 2.0]]}, "other"),
            MismatchError,
            "pt: not as many jets in each event as scores",
        ),
        (lambda: MAP.evaluate("tt", "sgnal", "tight", {"pt": [300.0]}), UnknownName, "nearest: signal"),
        (lambda: MAP.evaluate("tt", "signal", "tigth", {"pt": [300.0]}), UnknownName, "nearest: tight"),
        (lambda: MAP.evaluate("tt", "signal", "tight", {}), UnknownName, "column"),
        (lambda: efficiency_map({}, name="b", points=["M"]), ConfigError, "no yields"),
        (lambda: efficiency_map({"all": {"s": JETS}}, name="b", points=["M"]), ConfigError, "cannot be called 'all'"),
        (lambda: efficiency_map({"tt": {"s": JETS}}, name="b", points=["M", "T"]), ConfigError, "2 working points"),
        (
            lambda: efficiency_map({"tt": {"s": JETS, "b": BandYields(JETS.values)}}, name="b", points=["M"]),
            MismatchError,
            r"tt, b has bands \(\)",
        ),
        (
            lambda: efficiency_map(
                {"tt": {"s": BandYields(np.array([[1.0, 0], [1, 0]]), axes=[PT], thresholds=[0.5])}},
                name="b",
                points=["M"],
            ),
            InvalidValues,
            "efficiencies of tt, s: no jets in pt 400 to 800 GeV",
        ),
        (
            lambda: efficiency_map({"tt": {"s": JETS}}, name="b", points=["M"], min_effective_jets=100),
            InvalidValues,
            "effectively 4 jets in all bins of pt together, expected at least 100",
        ),
        (lambda: EfficiencyMap(factors(CUTS).to_string()), InputFileError, "not a map of efficiencies.*found .* hbb"),
    ],
)
def test_what_cannot_be_used_is_refused(call: Any, kind: type[JettaggerError], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
