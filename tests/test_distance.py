"""Distance correlation: its definition, `dcor`, uncertainties, and the term of a loss."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from agreement import Agreement
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.distance_correlation import measured_ratio
from jettagger.decorrelation import distance_correlation, measure_distance_correlation
from jettagger.decorrelation.disco import squared_distance_correlation
from jettagger.errors import InvalidValues, JettaggerError, MismatchError
from jettagger.types import Floats


def by_definition(x: Floats, y: Floats, w: Floats) -> float:
    """All pairs: the weighted mean of the product of centred distances, over its largest possible value."""
    w = w / w.sum()

    def centred(column: Floats) -> Floats:
        distances = np.abs(column[:, None] - column)
        rows = distances @ w
        return np.asarray(distances - rows[:, None] - rows + w @ rows)

    a, b = centred(x), centred(y)
    covariance, first, second = (float(w @ pairs @ w) for pairs in (a * b, a * a, b * b))
    return math.sqrt(max(covariance, 0) / math.sqrt(first * second))


def by_distinct_rows(x: Floats, y: Floats, w: Floats) -> float:
    """The bias-corrected square from all pairs, triples and quadruples of different rows."""

    def covariance(a: Floats, b: Floats) -> float:
        means = []
        for number, places in ((2, (0, 1)), (4, (2, 3)), (3, (0, 2))):
            rows = np.array(list(itertools.permutations(range(len(w)), number))).T
            product = a[rows[0], rows[1]] * b[rows[places[0]], rows[places[1]]]
            means.append(np.average(product, weights=np.prod(w[rows], axis=0)))
        return float(means[0] + means[1] - 2 * means[2])

    a, b = np.abs(x[:, None] - x), np.abs(y[:, None] - y)
    return covariance(a, b) / math.sqrt(covariance(a, a) * covariance(b, b))


def columns(n: int, seed: int, *, ties: bool, weighted: bool) -> tuple[Floats, Floats, Floats]:
    random = np.random.default_rng([n, seed])
    x = random.normal(100, 7, n)
    y = -0.1 * (x - 100) + random.standard_cauchy(n)
    w = random.exponential(size=n) + 0.01 if weighted else np.ones(n)
    if ties:
        x, y, w = np.round(x / 4), np.round(y), np.ceil(2 * w) / 2
    x[0], x[-1], y[0], y[-1] = x.min() - 1, x.max() + 1, y.max() + 1, y.min() - 1
    return x, y, w


@settings(max_examples=60)
@given(n=st.integers(2, 200), seed=st.integers(0, 9), ties=st.booleans(), weighted=st.booleans())
def test_it_is_the_definition_with_weights_and_ties(n: int, seed: int, ties: bool, weighted: bool) -> None:
    x, y, w = columns(n, seed, ties=ties, weighted=weighted)
    expected = by_definition(x, y, w)
    assert distance_correlation(x, y, w) == pytest.approx(expected, abs=1e-10)
    assert distance_correlation(y, x, 3 * w) == pytest.approx(expected, abs=1e-10)
    assert distance_correlation(1e6 - 2 * x, 1e-9 * y, w) == pytest.approx(expected, abs=1e-9)
    assert distance_correlation(x, -x, w) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("n", [16, 17, 31, 32, 33, 255, 256, 257, 1000])
def test_it_is_the_definition_for_all_lengths_of_blocks(n: int) -> None:
    x, y, w = columns(n, 1, ties=False, weighted=True)
    assert distance_correlation(x, y, w) == pytest.approx(by_definition(x, y, w), abs=1e-10)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [5, 8, 9])
def test_the_unbiased_form_is_that_of_distinct_rows(n: int, ties: bool) -> None:
    x, y, w = columns(n, 2, ties=ties, weighted=True)
    w = w + 1
    expected = by_distinct_rows(x, y, w)
    assert distance_correlation(x, y, w, unbiased=True) == pytest.approx(expected, abs=1e-10)


@pytest.mark.slow  # importing dcor takes 8 s
def test_both_forms_are_those_of_dcor(agrees: Agreement) -> None:
    dcor = pytest.importorskip("dcor", reason="the extra test is not installed")
    for n, ties in ((6, False), (20, False), (20, True), (500, True)):
        x, y, _ = columns(n, 3, ties=ties, weighted=False)
        expected = float(dcor.distance_correlation(x, y, method="naive"))  # the others are compiled first
        part = f"{n} rows{', with ties' if ties else ''}"
        agrees("learning/dcor", distance_correlation(x, y), expected, sample=500, atol=1e-10, part=part)
        expected = float(dcor.u_distance_correlation_sqr(x, y, method="naive"))
        assert distance_correlation(x, y, unbiased=True) == pytest.approx(expected, abs=1e-10)
        assert distance_correlation(x, y, np.full(n, 0.3), unbiased=True) == pytest.approx(expected, abs=1e-10)


def test_whole_weights_are_repeated_rows_of_the_biased_form() -> None:
    x, y, _ = columns(300, 4, ties=False, weighted=False)
    times = np.arange(300) % 4
    repeated = [np.repeat(column, times) for column in (x, y)]
    assert distance_correlation(x, y, times) == pytest.approx(distance_correlation(*repeated), abs=1e-12)
    with_weight = times > 0
    expected = distance_correlation(x[with_weight], y[with_weight], times[with_weight], unbiased=True)
    assert distance_correlation(x, y, times, unbiased=True) == expected


def test_independent_columns_have_a_bias_that_the_other_form_lacks() -> None:
    """The mean of the biased form falls as 1.8 over the root of the number of rows."""
    random = np.random.default_rng(5)
    samples = [random.normal(size=(2, 1000)) for _ in range(60)]
    biased = np.array([distance_correlation(x, y) for x, y in samples])
    assert biased.mean() * math.sqrt(1000) == pytest.approx(1.8, abs=0.1)
    unbiased = np.array([distance_correlation(x, y, unbiased=True) for x, y in samples])
    assert unbiased.mean() == pytest.approx(0, abs=3 * unbiased.std() / math.sqrt(60))
    assert (biased**2).mean() > 2 * unbiased.std()


@pytest.mark.parametrize("number", [0, 17, 59])
def test_uncertainties_come_from_the_values_without_one_row(number: int) -> None:
    from jettagger.decorrelation.distance import _Pair

    x, y, w = columns(60, 6, ties=True, weighted=True)
    order = np.argsort(x, kind="stable")
    x, y, w = (column[order] for column in (x, y, w))
    others = np.arange(60) != number
    biased, unbiased = _Pair.of(x, y, w, 5).left_out()
    assert math.sqrt(biased[number]) == pytest.approx(by_definition(x[others], y[others], w[others]), abs=1e-10)
    expected = distance_correlation(x[others], y[others], w[others], unbiased=True)
    assert unbiased[number] == pytest.approx(expected, abs=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(("slope", "low", "high"), [(0.5, 0.85, 1.2), (0.0, 1.1, 2.0)])
def test_uncertainties_are_the_spread_of_repetitions_and_never_less(slope: float, low: float, high: float) -> None:
    """Under independence twice the variance is expected, by the Efron-Stein inequality at least as much."""
    random = np.random.default_rng(8)
    found = []
    for _ in range(120):
        x = random.normal(size=400)
        found.append(measure_distance_correlation(x, slope * x + random.normal(size=400), random.exponential(size=400)))
    for name in ("biased", "unbiased"):
        spread = np.std([getattr(item, name).value for item in found])
        claimed = math.sqrt(np.mean([getattr(item, name).uncertainty ** 2 for item in found]))
        assert low < claimed / spread < high
    assert found[0].rows == 400
    assert found[0].effective == pytest.approx(200, rel=0.2)


GOOD = np.arange(6.0)


@pytest.mark.parametrize(
    ("x", "y", "w", "error", "message"),
    [
        (GOOD, GOOD[:5], None, MismatchError, r"same length, got the shapes x \[6\], y \[5\], weights \[6\]"),
        (GOOD, GOOD, GOOD[:2], MismatchError, r"weights \[2\]"),
        (GOOD[:, None], GOOD[:, None], None, MismatchError, r"x \[6, 1\]"),
        (
            GOOD,
            np.where(GOOD == 3, np.nan, GOOD),
            None,
            InvalidValues,
            r"1 of 6 y are not finite \(first: row 3, nan\)",
        ),
        (
            GOOD,
            GOOD,
            np.where(GOOD > 3, np.inf, 1),
            InvalidValues,
            r"2 of 6 weights are not finite \(first: row 4, inf",
        ),
        (GOOD, GOOD, GOOD - 1, InvalidValues, r"1 of 6 weights are negative \(first: row 0, -1\)"),
        (GOOD, GOOD, GOOD == 2, InvalidValues, "1 rows with a weight above 0, expected at least 2"),
        (GOOD[:0], GOOD[:0], None, InvalidValues, "0 rows with a weight above 0"),
        (np.full(6, 7.0), GOOD, None, InvalidValues, "all 6 values of x are 7: it is constant"),
        (np.maximum(GOOD, 5), GOOD, GOOD < 5, InvalidValues, "all 5 values of x are 5: it is constant"),
    ],
)
def test_what_has_no_distance_correlation(x: Any, y: Any, w: Any, error: type[JettaggerError], message: str) -> None:
    for function in (distance_correlation, measure_distance_correlation):
        with pytest.raises(error, match=message.replace("at least 2", r"at least \d")):
            function(x, y, w)


def test_too_few_rows_for_the_unbiased_form() -> None:
    with pytest.raises(InvalidValues, match="3 rows with a weight above 0, expected at least 4"):
        distance_correlation(GOOD[:3], GOOD[:3], unbiased=True)
    with pytest.raises(InvalidValues, match=r"the effective number of rows is 2, .* a few weights are much larger"):
        distance_correlation(GOOD, GOOD**2, [1, 1, 1e-9, 1e-9, 1e-9, 1e-9], unbiased=True)
    with pytest.raises(InvalidValues, match="4 rows with a weight above 0, expected at least 5"):
        measure_distance_correlation(GOOD[:4], GOOD[:4])


# ------------------------------------------------------------------------------------------------ as a term of the loss


def tensors(*arrays: Floats, dtype: str = "float64") -> list[Any]:
    torch = pytest.importorskip("torch", reason="the extra train is not installed")
    return [torch.tensor(array, dtype=getattr(torch, dtype)) for array in arrays]


@settings(max_examples=12)
@given(n=st.integers(2, 80), ties=st.booleans(), weighted=st.booleans())
def test_the_term_of_a_loss_is_the_square_of_the_measure(n: int, ties: bool, weighted: bool) -> None:
    x, y, w = columns(n, 7, ties=ties, weighted=weighted)
    expected = distance_correlation(x, y, w) ** 2
    assert float(squared_distance_correlation(*tensors(x, y, w))) == pytest.approx(expected, abs=1e-10)
    if not weighted:
        assert float(squared_distance_correlation(*tensors(x, y))) == pytest.approx(expected, abs=1e-10)


def test_single_precision_and_blocks_of_rows() -> None:
    """1000 rows are more than a block; the definition in one piece gives the same gradient."""
    x, y, w = columns(1000, 8, ties=False, weighted=True)
    y = np.clip(y, -5, 5)
    found = {}
    for dtype in ("float32", "float64"):
        a, b, weights = tensors(x, y, w, dtype=dtype)
        value = squared_distance_correlation(a.requires_grad_(), b, weights)
        value.backward()
        found[dtype] = a.grad.double().numpy()
        assert float(value.detach()) == pytest.approx(distance_correlation(x, y, w) ** 2, rel=1e-5)
    a, b, weights = tensors(x, y, w / w.sum())
    centred = []
    for column in (a.requires_grad_(), b):
        distances = (column[:, None] - column).abs()
        means = distances @ weights
        centred.append(distances - means[:, None] - means + means @ weights)
    products = [weights @ (one * two) @ weights for one, two in (centred, 2 * centred[:1], 2 * centred[1:])]
    (products[0] / (products[1] * products[2]).sqrt()).backward()
    expected = a.grad.numpy()
    for dtype, tolerance in (("float32", 1e-5), ("float64", 1e-12)):
        np.testing.assert_allclose(found[dtype], expected, atol=tolerance * float(np.abs(expected).max()))


def test_gradients_are_those_of_finite_differences() -> None:
    x, y, w = tensors(*columns(12, 9, ties=False, weighted=True))
    import torch

    x, y = (column.requires_grad_() for column in (x / 10, y))
    assert torch.autograd.gradcheck(lambda a, b: squared_distance_correlation(a, b, w), (x, y))
    assert torch.autograd.gradcheck(lambda a: squared_distance_correlation(a, a**2), (x,))


def test_gradients_at_ties_and_of_constants_are_finite() -> None:
    x, y, w = tensors(*columns(40, 10, ties=True, weighted=True))
    assert len(set(x.tolist())) < 20
    squared_distance_correlation(x.requires_grad_(), y.requires_grad_(), w).backward()
    assert bool(x.grad.isfinite().all())
    assert bool(y.grad.isfinite().all())
    assert float(x.grad.abs().sum()) > 0
    for constant in (x.detach() * 0 + 3, x.detach()[:1], x.detach()[:0]):
        constant.requires_grad_()
        found = squared_distance_correlation(constant, y.detach()[: len(constant)])
        found.backward()
        assert float(found.detach()) == 0
        assert constant.grad.tolist() == [0.0] * len(constant)
    with pytest.raises(MismatchError, match=r"three tensors of the same length, got the shapes \[40\], \[39\], \[40\]"):
        squared_distance_correlation(x, y[:39])


@pytest.mark.long  # importing dcor takes 8 s, each round 6 s
def test_a_million_weighted_pairs_take_less_than_dcor_without_weights() -> None:
    pytest.importorskip("dcor", reason="the extra test is not installed")
    assert measured_ratio(1_000_000, rounds=3) < 0.7
