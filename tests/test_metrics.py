"""Efficiency, rejection, ROC, AUC and scans against scikit-learn and closed forms; weights refused."""

import dataclasses
import math
import re

import awkward as ak
import hist
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jettagger.discriminants import (
    Measured,
    as_rejection,
    auc,
    binned_roc,
    discriminant,
    efficiency,
    rejection,
    roc,
    scan,
)
from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName
from jettagger.weights import check_weights, flat


def gaussians(size, shift, seed):
    generator = np.random.default_rng(seed)
    return generator.normal(shift, 1, size), generator.normal(0, 1, size)


# ---------------------------------------------------------------------------------------- efficiency


def test_efficiency_is_binomial_without_weights():
    passes = np.arange(1000) < 123
    found = efficiency(passes)
    assert found.value == 0.123
    assert found.uncertainty == pytest.approx(math.sqrt(0.123 * 0.877 / 1000))
    assert rejection(passes).value == pytest.approx(1 / 0.123)
    assert rejection(passes).uncertainty == pytest.approx(found.uncertainty / 0.123**2)
    assert rejection(np.zeros(5)).value == math.inf


@pytest.mark.slow
def test_weighted_uncertainty_is_the_spread_of_repeated_experiments():
    generator = np.random.default_rng(7)
    found, stated = [], []
    for _ in range(2000):
        weights = generator.exponential(1, 200)
        item = efficiency(generator.random(200) < 0.3, weights)
        found.append(item.value)
        stated.append(item.uncertainty)
    spread = np.std(found, ddof=1)
    # the relative uncertainty of a standard deviation of n numbers is 1/sqrt(2n)
    assert np.mean(stated) == pytest.approx(spread, rel=4 / math.sqrt(2 * 2000))


def test_nested_and_missing():
    passes = ak.Array([[True, None], [], [False, True]])
    assert efficiency(passes).value == pytest.approx(2 / 3)
    assert efficiency(passes, [3.0, 1.0, 1.0]).value == pytest.approx(4 / 5)
    assert efficiency(passes, ak.Array([[3.0, 9.0], [], [1.0, 4.0]])).value == pytest.approx(7 / 8)


# ---------------------------------------------------------------------------------------- bounds


@given(st.integers(0, 30), st.integers(1, 400))
@settings(deadline=None, max_examples=30)
def test_bounds_are_those_of_clopper_and_pearson(passing, failing):
    """Without weights: SciPy's exact interval, at the confidence level of one side."""
    from scipy.stats import binomtest

    number = passing + failing
    interval = binomtest(passing, number).proportion_ci(0.9, method="exact")
    made = rejection(np.arange(number) < passing)
    assert (made.above is None) == (1 - passing / number <= passing / 4)  # the uncertainty is below half of the value
    if made.above is not None:
        assert made.above == pytest.approx(1 / interval.high)
        assert str(made).startswith("> ")
        assert str(made).endswith(" (95 % CL)")
    if passing == 0:
        assert made.value == math.inf
        assert efficiency(np.zeros(number)).below == pytest.approx(interval.high)
        assert efficiency(np.ones(number)).above == pytest.approx(1 - interval.high)


@pytest.mark.slow
def test_bounds_hold_in_repeated_experiments():
    """Few weighted events behind the cut: the true rejection exceeds the bound in 95 % of experiments, or more."""
    generator = np.random.default_rng(3)
    held = []
    for _ in range(400):
        weights = generator.exponential(1, 300)
        made = rejection(generator.random(300) < 1 / 250, weights)  # one event on average
        held.append(made.above is None or made.above < 250)
    assert np.mean(held) > 0.95 - 2 * math.sqrt(0.05 * 0.95 / 400)


@pytest.mark.slow
def test_bounds_of_curves_hold_in_repeated_experiments():
    """The same where the threshold is uncertain, too."""
    from scipy.stats import norm

    truth = norm.sf(2.5)  # of the background, at half of the signal
    held, bounds = [], 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        curve = roc(generator.normal(2.5, 1, 100), generator.normal(0, 1, 200), None, generator.exponential(1, 200))
        made = curve.rejection_at(0.5)
        bounds += made.above is not None
        held.append(made.above is None or made.above < 1 / truth)
    assert bounds > 100
    assert np.mean(held) > 0.95 - 2 * math.sqrt(0.05 * 0.95 / 200)


def test_small_weights_that_pass_do_not_make_a_bound_of_their_own():
    """Two of 1000 pass with tiny weights: an event of usual weight could be there as well."""
    weights = np.r_[1e-6, 1e-6, np.ones(998)]
    made = rejection(np.arange(1000) < 2, weights)
    assert made.value == pytest.approx(998 / 2e-6)
    assert made.above == pytest.approx(rejection(np.arange(998) < 0).above, rel=1e-3)
    # nor do opposite weights that cancel
    opposite = rejection(np.arange(1000) < 2, np.r_[3.0, -3.0, np.ones(998)])
    assert opposite.value == math.inf
    assert opposite.above == pytest.approx(1000 / (3 * math.sqrt(2) * 3), rel=0.02)  # three events that weigh so much


def test_a_number_with_its_bound():
    assert str(Measured(7449, 640656, above=120.4)) == "> 120 (95 % CL)"
    assert str(Measured(0.0, 0.0, below=0.012345)) == "< 0.0123 (95 % CL)"
    assert str(Measured(1e7, 1e7, above=123456.7)) == "> 123000 (95 % CL)"
    assert str(Measured(1.0, 0.0, above=0.999312)) == "> 0.99931 (95 % CL)"
    assert str(Measured(12.345, 0.678)) == "12.35 ± 0.68"
    assert as_rejection(Measured(0.01, 0.005), 1e4).above is None
    assert as_rejection(Measured(0.01, 0.0051), 1e4).above is not None


# ---------------------------------------------------------------------------------------- weights


def test_nan_weights_are_refused_with_the_event_number():
    values = ak.Array([[0.1], [0.2, 0.3], []])
    with pytest.raises(InvalidValues, match=r"weight of event at position 1 is nan; 1 of 3 are not finite"):
        efficiency(values, [1.0, np.nan, 1.0])
    with pytest.raises(InvalidValues, match=r"weight of event 502 \(position 1\) is inf; 1 of 3"):
        flat(values, ak.Array([[1.0], [2.0, np.inf], []]), events=[501, 502, 503])
    with pytest.raises(InvalidValues, match=r"pileup of event at position 0 is nan; 1 of 1"):
        check_weights(ak.Array([None]), name="pileup")
    with pytest.raises(InvalidValues, match=r"signal: weight of event at position 0"):
        roc([0.1], [0.2], [np.nan])


def test_weights_that_do_not_fit():
    with pytest.raises(MismatchError, match=r"2 weights for 3 entries"):
        efficiency([1, 0, 1], [1.0, 1.0])
    with pytest.raises(MismatchError, match=r"do not fit"):
        efficiency(ak.Array([[1, 0], [1]]), ak.Array([[1.0], [1.0]]))


def test_empty_and_cancelling_samples():
    with pytest.raises(InvalidValues, match=r"no jets with a score"):
        efficiency(np.array([np.nan]))
    with pytest.raises(InvalidValues, match=r"sum of weights is 0"):
        efficiency([1, 1], [1.0, -1.0])
    with pytest.raises(InvalidValues, match=r"background: no jets"):
        roc([0.1], [])


# ---------------------------------------------------------------------------------------- ROC and AUC


@given(
    st.lists(st.tuples(st.integers(0, 8), st.floats(0.01, 5)), min_size=1, max_size=40),
    st.lists(st.tuples(st.integers(0, 8), st.floats(0.01, 5)), min_size=1, max_size=40),
)
@settings(deadline=None)
def test_curve_and_area_are_those_of_scikit_learn(signal, background):
    metrics = pytest.importorskip("sklearn.metrics")
    (s, sw), (b, bw) = np.array(signal).T, np.array(background).T
    truth, scores, weights = np.r_[np.ones(len(s)), np.zeros(len(b))], np.r_[s, b], np.r_[sw, bw]
    mine = roc(s, b, sw, bw)
    theirs = metrics.roc_curve(truth, scores, sample_weight=weights, drop_intermediate=False)
    np.testing.assert_allclose(mine.background, theirs[0], atol=1e-12)
    np.testing.assert_allclose(mine.signal, theirs[1], atol=1e-12)
    np.testing.assert_array_equal(mine.thresholds, theirs[2])
    assert mine.auc.value == pytest.approx(metrics.roc_auc_score(truth, scores, sample_weight=weights), abs=1e-12)


def test_area_of_gaussians_is_the_closed_form():
    from scipy.stats import norm

    signal, background = gaussians(100_000, 1.5, 3)
    curve = roc(signal, background)
    expected = norm.cdf(1.5 / math.sqrt(2))
    assert abs(curve.auc.value - expected) < 4 * curve.auc.uncertainty < 0.01
    # at 50 % signal the cut is at the shift
    there = curve.background_at(0.5)
    assert abs(there.value - norm.sf(1.5)) < 4 * there.uncertainty < 0.01
    assert curve.threshold_at(0.5) == pytest.approx(1.5, abs=0.02)
    assert curve.rejection_at(0.5).value == pytest.approx(1 / there.value)


@pytest.mark.slow
def test_uncertainties_are_the_spread_of_repeated_experiments():
    found, stated = [], []
    for seed in range(400):
        signal, background = gaussians(300, 1.0, seed)
        weights = np.random.default_rng(seed + 10_000).exponential(1, 300)
        curve = roc(signal, background, weights, weights[::-1])
        there = curve.background_at(0.6)
        found.append((curve.auc.value, there.value))
        stated.append((curve.auc.uncertainty, there.uncertainty))
    ratio = np.mean(stated, axis=0) / np.std(found, axis=0, ddof=1)
    # a standard deviation of 400 numbers is known to 3.5 %; the slope of the curve adds to the second
    assert ratio[0] == pytest.approx(1, abs=0.15)
    assert ratio[1] == pytest.approx(1, abs=0.25)


def test_ends_of_the_curve():
    curve = roc(ak.Array([[0.9, None], [0.8]]), [0.1, np.nan, 0.2])
    assert curve.missing == (1, 1)
    assert curve.signal[0] == curve.background[0] == 0
    assert curve.signal[-1] == curve.background[-1] == 1
    assert curve.background_at(1).value == 0
    assert curve.rejection_at(1).value == math.inf
    assert curve.rejection_at(1).above == pytest.approx(1 / (1 - 0.05**0.5))  # none of two
    assert curve.background_at(0).value == 0
    assert curve.auc.value == 1
    # two of two on each side of a threshold, with 97.5 % each
    assert curve.auc.above == pytest.approx(0.025)
    assert roc([0.1], [0.2, 0.3]).auc.below == pytest.approx(1 - 0.025**1.5)
    with pytest.raises(ConfigError, match=r"between 0 and 1, got 2"):
        curve.threshold_at(2)


def test_an_efficiency_above_one_by_rounding():
    """The weights' running sum over their total comes out above one: the end of the curve can be read all the same."""
    weights = np.random.default_rng(1).exponential(size=1000)
    curve = roc(np.arange(1000.0), np.arange(1000.0), weights, weights)
    rounded = dataclasses.replace(curve, signal=curve.signal * (1 + 4e-16), signal_uncertainty=0 * curve.signal)
    assert rounded.signal[-1] > 1
    assert rounded.background_at(1).value == pytest.approx(1)


def test_negative_weights():
    generator = np.random.default_rng(5)
    signal, background = gaussians(20_000, 1.0, 5)
    sign = np.where(generator.random(20_000) < 0.2, -1.0, 1.0)
    weighted, plain = roc(signal, background, sign, sign), roc(signal, background)
    assert abs(weighted.auc.value - plain.auc.value) < 4 * math.hypot(weighted.auc.uncertainty, plain.auc.uncertainty)
    assert weighted.background_at(0.5).value == pytest.approx(plain.background_at(0.5).value, abs=0.02)


def test_curves_of_histograms_are_those_of_their_values():
    """Weighted, with a value a bin: nothing is lost, also beyond the ends."""
    generator = np.random.default_rng(5)
    s, b = generator.integers(-2, 13, 400) / 10.0, generator.integers(-4, 11, 300) / 10.0
    sw, bw = generator.uniform(0.5, 2, 400), generator.uniform(0.5, 2, 300)
    filled = [hist.Hist.new.Reg(25, -0.75, 1.75).Weight().fill(x, weight=w) for x, w in ((s, sw), (b, bw))]  # 0.1 wide
    found, exact = binned_roc(*filled), roc(s, b, sw, bw)
    assert found.auc.value == pytest.approx(exact.auc.value)
    assert found.auc.uncertainty == pytest.approx(exact.auc.uncertainty)
    for wanted in (0.2, 0.5, 0.9):
        mine, theirs = found.background_at(wanted), exact.background_at(wanted)
        assert mine.value == pytest.approx(theirs.value)
        assert found.threshold_at(wanted) == pytest.approx(exact.threshold_at(wanted), abs=0.06)
    narrow = [hist.Hist.new.Reg(5, 0.05, 0.55).Weight().fill(x, weight=w) for x, w in ((s, sw), (b, bw))]
    assert binned_roc(*narrow).signal[[0, -1]].tolist() == pytest.approx([0, 1])
    without = [hist.Hist.new.Reg(25, -0.75, 1.75, flow=False).Double().fill(x) for x in (s, b)]
    assert binned_roc(*without).auc.value == pytest.approx(roc(s, b).auc.value)


@given(st.integers(0, 1000), st.integers(1, 12))
@settings(deadline=None, max_examples=30)
def test_the_area_of_the_values_is_within_the_error_of_the_binning(seed, bins):
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(seed)
    s, b = generator.beta(3, 1, 80), generator.beta(1, 3, 60)
    sw, bw = generator.exponential(1, 80), generator.exponential(1, 60)
    made = binned_roc(*(hist.Hist.new.Reg(bins, 0, 1).Weight().fill(x, weight=w) for x, w in ((s, sw), (b, bw))))
    truth, scores, weights = np.r_[np.ones(80), np.zeros(60)], np.r_[s, b], np.r_[sw, bw]
    exact = metrics.roc_auc_score(truth, scores, sample_weight=weights)
    assert abs(made.auc.value - exact) <= made.binning + 1e-12
    assert roc(s, b, sw, bw).binning == 0
    # reached by the worst that a bin can hold: all signal above all background
    one = binned_roc(*(hist.Hist.new.Reg(1, 0, 1).Double().fill(x) for x in ([0.9], [0.1])))
    assert one.auc.value + one.binning == roc([0.9], [0.1]).auc.value


def test_curves_of_histograms_are_refused():
    one = hist.Hist.new.Reg(2, 0, 1).Double()
    with pytest.raises(MismatchError, match="one variable, got 1 and 2"):
        binned_roc(one, hist.Hist.new.Reg(2, 0, 1).Reg(2, 0, 1).Double())
    with pytest.raises(MismatchError, match="different bins"):
        binned_roc(one, hist.Hist.new.Reg(3, 0, 1).Double())
    with pytest.raises(InvalidValues, match="signal: the sum of weights is 0"):
        binned_roc(one, one)


def test_auc_is_that_of_the_curve():
    signal, background = gaussians(100, 1.0, 1)
    assert auc(signal, background) == roc(signal, background).auc
    assert auc(background, background).value == pytest.approx(0.5)


# ---------------------------------------------------------------------------------------- scans


def three_classes(size, seed):
    """Jets of three classes in a plane, with the exact posteriors for equal numbers as scores."""
    generator = np.random.default_rng(seed)
    centres = {"x": (0.0, 0.0), "y": (1.5, 0.0), "z": (0.0, 1.5)}
    samples = {}
    for name, centre in centres.items():
        points = generator.normal(centre, 1, (size, 2))
        density = np.stack([np.exp(-((points - np.array(c)) ** 2).sum(axis=1) / 2) for c in centres.values()])
        samples[name] = dict(zip(centres, density / density.sum(axis=0), strict=True))
    return samples


def test_scan_finds_the_mix():
    # For exact posteriors the best discriminant weights each background by its share (Neyman and Pearson).
    samples = three_classes(50_000, 11)
    item = discriminant("x / (x + alpha * y + beta * z)", alpha=1.0, beta=1.0)
    result = scan(
        item,
        samples["x"],
        {"Y": samples["y"], "Z": samples["z"]},
        {"Y": 8, "Z": 2},
        {"alpha": [0.8], "beta": [0.02, 0.2, 2.0]},
        signal_efficiency=0.6,
    )
    assert result.background.shape == (1, 3)
    assert result.best.parameters == {"alpha": 0.8, "beta": 0.2}
    best, other = result.background[0, 1], result.background[0, 0]
    assert other - best > 3 * result.uncertainty[0, 0]
    np.testing.assert_allclose(result.background, 0.8 * result.parts["Y"] + 0.2 * result.parts["Z"])
    by_hand = result.best(samples["x"])
    cut = np.quantile(by_hand, 0.4, method="lower")
    expected = 0.8 * np.mean(result.best(samples["y"]) >= cut) + 0.2 * np.mean(result.best(samples["z"]) >= cut)
    assert best == pytest.approx(expected, abs=2e-4)
    lines = str(result).splitlines()
    heads = ["alpha", "beta", "background", "uncertainty", "below (95 % CL)", "Y", "Z"]
    assert re.split(r"  +", lines[0].strip()) == heads
    assert (result.below > result.background).all()
    assert len(lines) == 4


def test_generator_weights_beside_the_jets_of_a_scan_are_used():
    samples = three_classes(300, 4)
    generator = np.random.default_rng(4)
    weights = {"signal": generator.exponential(1, 300), "Y": generator.exponential(1, 300)}
    item = discriminant("x / (x + alpha * y)", alpha=1.0)
    grid, mix = {"alpha": [0.5, 1.0]}, {"Y": 1}
    given = scan(item, samples["x"], {"Y": samples["y"]}, mix, grid, weights=weights)
    signal, background = ({**samples[k], "genWeight": weights[n]} for k, n in (("x", "signal"), ("y", "Y")))
    found = scan(item, signal, {"Y": background}, mix, grid)
    np.testing.assert_array_equal(found.background, given.background)
    assert found.background[0] != scan(item, samples["x"], {"Y": samples["y"]}, mix, grid).background[0]


def test_scan_refuses():
    samples = three_classes(20, 1)
    item = discriminant("x / (x + alpha * y)", alpha=1.0)
    backgrounds = {"Y": samples["y"]}
    with pytest.raises(UnknownName, match=r"unknown background: 'QCD'"):
        scan(item, samples["x"], backgrounds, {"QCD": 1}, {"alpha": [1]})
    with pytest.raises(ConfigError, match=r"the mix lacks Y"):
        scan(item, samples["x"], backgrounds, {}, {"alpha": [1]})
    with pytest.raises(ConfigError, match=r"nor all zero"):
        scan(item, samples["x"], backgrounds, {"Y": 0}, {"alpha": [1]})
    with pytest.raises(UnknownName, match=r"unknown parameter.*'gamma'"):
        scan(item, samples["x"], backgrounds, {"Y": 1}, {"gamma": [1]})
    with pytest.raises(InvalidValues, match=r"background: weight"):
        scan(item, samples["x"], backgrounds, {"Y": 1}, {"alpha": [1]}, weights={"Y": np.full(20, np.nan)})


# ---------------------------------------------------------------------------------------- what changes nothing


weighted_scores = st.lists(st.tuples(st.integers(-6, 6), st.integers(1, 12)), min_size=1, max_size=25)


def arrays(entries):
    """Scores with ties, and weights that are multiples of 1/4."""
    scores, quarters = np.array(entries, dtype=float).T
    return scores, quarters / 4


@given(weighted_scores, weighted_scores)
@settings(deadline=None, max_examples=15)
def test_only_the_order_of_scores_and_the_ratios_of_weights_matter(signal, background):
    (s, sw), (b, bw) = arrays(signal), arrays(background)
    curve, other = roc(s, b, sw, bw), roc(np.exp(3 * s) + 5, np.exp(3 * b) + 5, 8 * sw, bw / 2)
    for name in ("signal", "background", "signal_uncertainty", "background_uncertainty", "effective"):
        np.testing.assert_allclose(getattr(other, name), getattr(curve, name), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(other.thresholds, np.exp(3 * curve.thresholds) + 5)
    assert other.auc.value == pytest.approx(curve.auc.value, abs=1e-12)
    assert other.auc.uncertainty == pytest.approx(curve.auc.uncertainty, abs=1e-12)
    # in the opposite order, and with the samples exchanged, each pair counts the other way round
    for turned in (auc(-s, -b, sw, bw), auc(b, s, bw, sw)):
        assert turned.value == pytest.approx(1 - curve.auc.value, abs=1e-12)
        assert turned.uncertainty == pytest.approx(curve.auc.uncertainty, abs=1e-12)


@given(weighted_scores, weighted_scores)
@settings(deadline=None, max_examples=25)
def test_the_area_counts_pairs_and_is_that_below_the_curve(signal, background):
    (s, sw), (b, bw) = arrays(signal), arrays(background)
    curve = roc(s, b, sw, bw)
    pairs = (s[:, None] > b) + (s[:, None] == b) / 2
    assert curve.auc.value == pytest.approx((sw[:, None] * pairs * bw).sum() / sw.sum() / bw.sum(), abs=1e-12)
    trapezoids = np.diff(curve.background) * (curve.signal[1:] + curve.signal[:-1]) / 2
    assert curve.auc.value == pytest.approx(trapezoids.sum(), abs=1e-12)


@given(weighted_scores, st.floats(0, 1))
@settings(deadline=None, max_examples=25)
def test_the_threshold_is_the_highest_with_enough_signal(signal, wanted):
    s, sw = arrays(signal)
    curve = roc(s, s, sw, sw)
    threshold = curve.threshold_at(wanted)
    assert sw[s >= threshold].sum() / sw.sum() >= wanted - 1e-9
    higher = s[s > threshold]
    if len(higher):
        assert sw[s >= higher.min()].sum() / sw.sum() < wanted + 1e-9
    assert curve.background_at(wanted).value == pytest.approx(sw[s >= threshold].sum() / sw.sum())


@given(weighted_scores)
@settings(deadline=None, max_examples=25)
def test_equal_jets_together_are_one_of_their_weight(entries):
    """Splitting weights changes no efficiency, but the uncertainty: as many events as there are."""
    scores, weights = arrays(entries)
    passes = scores > 0
    whole, halves = (efficiency(np.tile(passes, n), np.tile(weights / n, n)) for n in (1, 2))
    assert halves.value == pytest.approx(whole.value)
    assert halves.uncertainty == pytest.approx(whole.uncertainty / math.sqrt(2))
    opposite = efficiency(~passes, weights)
    assert opposite.value == pytest.approx(1 - whole.value)
    assert opposite.uncertainty == pytest.approx(whole.uncertainty)
    if whole.value > 0 and whole.uncertainty <= whole.value / 2:
        made = rejection(passes, weights)
        assert made.value * whole.value == pytest.approx(1)
        assert made.uncertainty / made.value == pytest.approx(whole.uncertainty / whole.value)


@given(weighted_scores, weighted_scores)
@settings(deadline=None, max_examples=25)
def test_wider_bins_lose_order_but_no_jets(signal, background):
    (s, sw), (b, bw) = arrays(signal), arrays(background)
    fine = [hist.Hist.new.Reg(16, -8, 8).Weight().fill(x, weight=w) for x, w in ((s, sw), (b, bw))]
    exact, wide = binned_roc(*fine), binned_roc(*(h[:: hist.rebin(4)] for h in fine))
    assert abs(wide.auc.value - exact.auc.value) <= wide.binning + 1e-12
    assert wide.binning >= exact.binning - 1e-12
    np.testing.assert_allclose(wide.effective, exact.effective)
    # each of the thresholds that are left has the same efficiencies
    _, of_wide, of_fine = np.intersect1d(wide.thresholds, exact.thresholds, return_indices=True)
    assert len(of_wide) == 5 + 2
    np.testing.assert_allclose(wide.background[of_wide], exact.background[of_fine], atol=1e-12)
    np.testing.assert_allclose(wide.signal_uncertainty[of_wide], exact.signal_uncertainty[of_fine], atol=1e-12)


def test_one_jet_of_each():
    curve = roc([0.7], [0.2])
    assert curve.thresholds.tolist() == [math.inf, 0.7, 0.2]
    assert (curve.signal.tolist(), curve.background.tolist()) == ([0, 1, 1], [0, 0, 1])
    assert curve.effective == (1, 1)
    assert (curve.auc.value, curve.auc.uncertainty) == (1, 0)
    assert curve.auc.above == pytest.approx(0.025**2)
    tied = auc([0.5], [0.5])
    assert (tied.value, tied.bound) == (0.5, "")
    assert str(tied) == "0.5 ± 0"


def test_a_scan_of_no_and_of_two_parameters():
    samples = three_classes(40, 2)
    backgrounds, mix = {"Y": samples["y"], "Z": samples["z"]}, {"Y": 3, "Z": 1}
    item = discriminant("x / (x + alpha * y + beta * z)", alpha=0.5, beta=0.25)
    fixed = scan(item, samples["x"], backgrounds, mix, {})
    assert fixed.background.shape == ()
    assert fixed.best.parameters == item.parameters
    parts = {name: roc(item(samples["x"]), item(jets)).background_at(0.5) for name, jets in backgrounds.items()}
    assert fixed.background == pytest.approx(0.75 * parts["Y"].value + 0.25 * parts["Z"].value)
    assert fixed.uncertainty == pytest.approx(0.75 * parts["Y"].uncertainty + 0.25 * parts["Z"].uncertainty)
    both = scan(item, samples["x"], backgrounds, mix, {"beta": [0.25, 2], "alpha": [4, 0.5, 1]})
    assert both.background.shape == (2, 3)  # in the order of the parameters that were given
    assert both.background[0, 1] == fixed.background
    assert str(both).splitlines()[2].split()[:2] == ["0.25", "0.5"]
