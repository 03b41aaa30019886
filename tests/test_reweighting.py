"""Reweighting of kinematics: closure in bins, draws with as few copies as possible, boosted weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from agreement import Agreement
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from jettagger.decorrelation.reweighting import (
    METHODS,
    BoostedWeights,
    Multiplicities,
    SpectrumBins,
    SpectrumTally,
    bin_factors,
    expected_multiplicities,
    reweight,
)
from jettagger.errors import ConfigError, InvalidValues, JettaggerError, MismatchError

EDGES = {"pt": (200.0, 300.0, 400.0, 600.0, 1000.0), "mass": (0.0, 50.0, 100.0, 200.0)}


def jets(count: int, seed: int, slope: float = 150.0, mass: float = 90.0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    pt = 200 + rng.exponential(slope, count)
    return {"pt": pt, "mass": np.abs(rng.normal(mass, 40, count)) + 0.05 * pt}


def spectrum(columns: Any, weights: Any = None) -> Any:
    clipped = [np.clip(columns[name], e[0], np.nextafter(e[-1], 0)) for name, e in EDGES.items()]
    return np.histogram2d(*clipped, list(EDGES.values()), weights=weights)[0]


weights_of_jets = st.sampled_from(["none", "spread", "negative"])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), kind=weights_of_jets, flat=st.booleans())
def test_weights_close_exactly_in_each_bin(seed: int, kind: str, flat: bool) -> None:
    source, goal = jets(3000, seed), jets(2000, seed + 1, 250.0, 60.0)
    rng = np.random.default_rng(seed)
    own = {"none": None, "spread": rng.uniform(0.1, 3, 3000), "negative": rng.choice([1.0, -0.3], 3000, p=[0.8, 0.2])}
    new = reweight(source, EDGES, to=None if flat else goal, weights=own[kind], cap=1e9)
    before, after = spectrum(source, own[kind]), spectrum(source, new.weights)
    filled = before > 0
    wanted = np.where(filled, 1.0 if flat else spectrum(goal), 0)
    np.testing.assert_allclose(
        after[filled], (wanted / wanted.sum() * after[filled].sum())[filled], rtol=1e-9, atol=1e-9
    )
    assert new.weights.mean() == pytest.approx(1)
    assert new.copies is None


@settings(max_examples=40, deadline=None)
@given(
    expected=st.lists(st.floats(0, 5), min_size=1, max_size=200),
    strata=st.integers(1, 5),
    pieces=st.integers(1, 6),
    seed=st.integers(0, 10**6),
)
def test_multiplicities_are_floor_or_ceil_and_add_up(
    expected: list[float], strata: int, pieces: int, seed: int
) -> None:
    values = np.array(expected)
    stratum = np.random.default_rng(seed).integers(0, strata, len(values))
    draw = Multiplicities(strata, np.random.default_rng(seed))
    parts = zip(np.array_split(values, pieces), np.array_split(stratum, pieces), strict=True)
    counts = np.concatenate([draw(part, which) for part, which in parts])
    assert ((counts == np.floor(values)) | (counts == np.ceil(values))).all()
    for number in range(strata):
        mine = stratum == number
        assert abs(counts[mine].sum() - values[mine].sum()) < 1 + 1e-9


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), method=st.sampled_from(["downsample", "resample"]), flat=st.booleans())
def test_drawn_jets_have_the_spectrum_and_few_copies(seed: int, method: str, flat: bool) -> None:
    source, goal = jets(4000, seed), jets(3000, seed + 1, 250.0, 60.0)
    own = np.random.default_rng(seed).uniform(0.5, 1.5, 4000)
    drawn = reweight(source, EDGES, method=method, to=None if flat else goal, weights=own, seed=seed)
    assert drawn.copies is not None
    assert method == "resample" or drawn.copies.max() == 1
    factors = bin_factors(spectrum(source, own).ravel(), None if flat else spectrum(goal).ravel())
    weights = own * factors[SpectrumBins(EDGES).index(source)]
    mean, largest = float(weights.mean()), float(weights.max())
    expected = expected_multiplicities(weights, method, mean=mean, largest=largest)
    assert (np.abs(drawn.copies - expected) < 1).all()
    taken = {name: values[drawn.rows] for name, values in source.items()}
    in_bins = np.bincount(SpectrumBins(EDGES).index(source), expected, minlength=12).reshape(4, 3)
    assert (np.abs(spectrum(taken) - in_bins) <= 1 + 1e-6).all()


def test_a_jet_is_drawn_with_its_probability() -> None:
    source = jets(400, 3)
    own = np.random.default_rng(3).uniform(0.2, 1, 400)
    plain = reweight(source, EDGES, weights=own).weights
    expected = expected_multiplicities(plain, "downsample", mean=plain.mean(), largest=plain.max())
    copies = [reweight(source, EDGES, method="downsample", weights=own, seed=seed).copies for seed in range(200)]
    pulls = (np.mean(copies, axis=0) - expected) / np.sqrt(np.maximum(expected * (1 - expected), 1e-4) / 200)
    assert np.abs(pulls).max() < 5
    assert np.sqrt(np.mean(pulls**2)) < 1.2


def test_the_seed_decides_the_draw() -> None:
    one, again, other = (reweight(jets(500, 1), EDGES, method="resample", seed=seed).copies for seed in (1, 1, 2))
    assert one is not None
    assert one.tolist() == again.tolist() != other.tolist()


def test_factors_are_limited_and_bins_without_jets_are_counted(agrees: Agreement) -> None:
    columns = {"pt": np.repeat([250.0, 350.0], [990, 10])}
    edges = {"pt": (200.0, 300.0, 400.0, 500.0)}
    to = {"pt": np.repeat([250.0, 350.0, 450.0], [100, 800, 100])}
    found = reweight(columns, edges, to=to)
    assert found.weights.max() / found.weights.min() == pytest.approx(20 / (0.1 / 0.99))
    change = found.change
    assert (change.capped, change.empty, change.jets, change.kept) == (1, 1, 1000, 1000)
    assert change.unreachable == pytest.approx(0.1)
    # the report's numbers from their definitions
    weights = found.weights
    assert change.effective_after == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert change.largest_after == pytest.approx(weights.max() / weights.mean())
    made: list[tuple[float, float]] = []
    for sums, divergence, distance in (
        ([990, 10, 0], change.divergence_before, change.distance_before),
        ([weights[:990].sum(), weights[990:].sum(), 0], change.divergence_after, change.distance_after),
    ):
        p, q = np.array(sums) / np.sum(sums), np.array([0.1, 0.8, 0.1])
        made.append((divergence, jensenshannon(p, q, base=2) ** 2))
        assert distance == {"pt": pytest.approx(np.abs(np.cumsum(p - q)).max())}
    agrees("learning/divergence", *zip(*made, strict=True), sample=2, rtol=1e-6)


def test_a_tally_does_not_depend_on_the_pieces() -> None:
    bins, rng = SpectrumBins({"x": (0.0, 1.0, 2.0)}), np.random.default_rng(1)
    cell, before, after = rng.integers(0, 2, 100), rng.uniform(0, 1, 100), rng.integers(0, 3, 100)
    tallies = SpectrumTally(bins), SpectrumTally(bins)
    tallies[0].add(cell, before, after, after)
    for part in np.array_split(np.arange(100), 7):
        tallies[1].add(cell[part], before[part], after[part], after[part])
    one, other = (tally.change(None) for tally in tallies)
    assert one.repeated == other.repeated == np.count_nonzero(after == 2)
    assert one.effective_after == pytest.approx(other.effective_after)
    assert one.divergence_after == pytest.approx(other.divergence_after)


def hep_ml() -> Any:
    return pytest.importorskip("hep_ml.reweight", reason="the extra train is not installed")


def test_boosted_weights_are_those_of_hep_ml_and_bring_the_spectra_together(agrees: Agreement) -> None:
    module = hep_ml()
    source, goal = jets(3000, 1), jets(3000, 2, 220.0, 70.0)
    bins = SpectrumBins(EDGES)
    x, y = bins.clipped(source), bins.clipped(goal)
    theirs = module.GBReweighter(n_estimators=60, learning_rate=0.2, min_samples_leaf=200, gb_args={"random_state": 1})
    theirs.fit(x, y)
    ours = BoostedWeights().fit(x, y)
    agrees("learning/hep_ml", ours(x), theirs.predict_weights(x), sample=3000, rtol=1e-12)
    found = reweight(source, EDGES, method="boosted", to=goal, cap=1e9)
    expected = theirs.predict_weights(x)
    np.testing.assert_allclose(found.weights, expected / expected.mean(), rtol=1e-9)
    change = found.change
    assert change.divergence_after < 0.1 * change.divergence_before
    assert all(change.distance_after[name] < 0.3 * change.distance_before[name] for name in EDGES)
    fresh = jets(3000, 3)
    means = [np.average(fresh["mass"], weights=w) for w in (None, ours(bins.clipped(fresh)))]
    assert abs(means[1] - goal["mass"].mean()) < 0.2 * abs(means[0] - goal["mass"].mean())


def test_boosted_weights_make_a_spectrum_flat() -> None:
    hep_ml()
    change = reweight(jets(4000, 1), EDGES, method="boosted").change
    assert change.divergence_after < 0.3 * change.divergence_before


BAD: list[tuple[dict[str, Any], type[JettaggerError], str]] = [
    ({"method": "downsampel"}, ConfigError, r"'downsampel' \(nearest: downsample"),
    ({"edges": {"pt": (300.0, 200.0)}}, InvalidValues, r"'pt': expected at least two rising numbers, got \[300.0, 200"),
    ({"edges": {"pt": (300.0,)}}, InvalidValues, "at least two rising"),
    ({"edges": {"pt": (300.0, np.inf)}}, InvalidValues, "at least two rising"),
    ({"edges": {}}, InvalidValues, "no column to reweight"),
    ({"edges": {"ptt": (1.0, 2.0)}}, MismatchError, r"'ptt' \(nearest: pt\), but no such column among pt, mass"),
    ({"columns": {"pt": [np.nan, 250.0], "mass": [1.0, 2.0]}}, InvalidValues, "'pt' is NaN for 1 of 2 jets"),
    ({"columns": {"pt": [250.0, 250.0], "mass": [1.0, 2.0]}}, InvalidValues, "'pt' is 250 for all jets"),
    ({"columns": {"pt": [250.0], "mass": [1.0, 2.0]}}, MismatchError, "different lengths"),
    ({"columns": {"pt": [], "mass": []}}, InvalidValues, "no jets"),
    ({"weights": np.r_[-1.0, np.ones(99)], "method": "resample"}, InvalidValues, "1 of 100 weights are negative"),
    ({"weights": np.r_[np.nan, np.ones(99)]}, InvalidValues, "weights .* is nan"),
    ({"weights": -np.ones(100)}, InvalidValues, "no bin has a positive sum"),
    ({"columns": {"pt": [250.0, 260.0], "mass": [10.0, 20.0]}, "to": {"pt": [900, 950], "mass": [150, 160]}},
     InvalidValues, "no bin in common"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "error", "message"), BAD)
def test_what_cannot_be_reweighted_is_said(changes: Any, error: type[JettaggerError], message: str) -> None:
    arguments = {"columns": jets(100, 1), "edges": EDGES, **changes}
    with pytest.raises(error, match=message):
        reweight(**arguments)


@pytest.mark.parametrize("method", METHODS)
def test_negative_weights_are_for_weights_alone(method: str) -> None:
    own = np.r_[-1.0, np.ones(99)]
    if method == "weights":
        assert reweight(jets(100, 1), EDGES, weights=own).weights.sum() == pytest.approx(100)
    else:
        with pytest.raises(InvalidValues, match="use 'weights'"):
            reweight(jets(100, 1), EDGES, method=method, weights=own)
