"""Adversaries and their referee: what they read, against closed forms, and that no head escapes unseen."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from jettagger.decorrelation.adversary import (
    KNOTS,
    adversary_gain,
    batch_ranks,
    binned_adversary,
    density_adversary,
    domain_adversary,
    normal_scores,
    weighted_edges,
)
from jettagger.decorrelation.referee import TOLERANCE, Judgement, judge_domain, judge_protected, verdict
from jettagger.discriminants import Measured
from jettagger.errors import InvalidValues
from jettagger.training import (
    Constant,
    Cosine,
    LoopSettings,
    Opponent,
    TrainingBatch,
    epoch_random,
    ramp,
    seeded,
    train_network,
)


def torch() -> Any:
    return pytest.importorskip("torch", reason="the extra train is not installed")


def sklearn() -> Any:
    return pytest.importorskip("sklearn", reason="scikit-learn is not installed")


# --------------------------------------------------------------------------------------------------------------- ranks


@settings(deadline=None)
@given(
    seed=st.integers(0, 100),
    rows=st.integers(100, 400),
    scale=st.sampled_from([1e-4, 1.0, 300.0]),
    shift=st.sampled_from([-5.0, 0.0, 20.0]),
)
def test_ranks_of_a_batch_do_not_know_its_scale(seed: int, rows: int, scale: float, shift: float) -> None:
    library = torch()
    rng = np.random.default_rng(seed)
    scores = library.tensor(scale * (rng.standard_t(2, rows) + shift), requires_grad=True)
    mask = library.tensor(rng.random(rows) < 0.7)
    ranks = batch_ranks(scores, mask)
    exact = np.searchsorted(np.sort(scores.detach()[mask].numpy()), scores.detach().numpy()) / int(mask.sum())
    assert np.abs(ranks.detach().numpy() - exact).max() < 1.5 / (KNOTS - 1) + 1 / int(mask.sum())
    # neither a shift nor a scale has a gradient
    coefficients = library.tensor(rng.normal(size=rows))
    (coefficients * ranks).sum().backward()
    gradient = scores.grad.numpy()
    assert abs(gradient.sum()) < 1e-8 * np.abs(gradient).sum()
    assert abs((gradient * scores.detach().numpy()).sum()) < 1e-8 * np.abs(gradient * scores.detach().numpy()).sum()


@pytest.mark.parametrize("function", [np.tanh, np.exp, lambda x: x**3, lambda x: 1e-6 * x + 1])
def test_squeezed_scores_have_the_same_ranks(function: Any) -> None:
    library = torch()
    scores = np.random.default_rng(1).normal(0, 1, 3000)
    mask = library.ones(3000, dtype=bool)
    ranks, squeezed = (batch_ranks(library.tensor(values), mask).numpy() for values in (scores, function(scores)))
    assert np.abs(ranks - squeezed).max() < 1 / (KNOTS - 1)


def test_equal_scores_have_finite_ranks_and_gradients() -> None:
    library = torch()
    for values in (np.zeros(50), np.repeat([0.0, 1.0], 25)):
        scores = library.tensor(values, requires_grad=True)
        ranks = batch_ranks(scores, library.ones(50, dtype=bool))
        ranks.sum().backward()
        assert np.isfinite(scores.grad.numpy()).all()
        assert ((ranks >= 0) & (ranks <= 1)).all()


@given(st.integers(0, 50))
def test_normal_scores_are_normal_and_rise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, weights = rng.exponential(80, 2000), rng.uniform(0, 2, 2000)
    found = normal_scores(values, values, weights)
    assert (np.diff(found[np.argsort(values)]) >= 0).all()
    mean = np.average(found, weights=weights)
    assert abs(mean) < 0.02
    assert np.average((found - mean) ** 2, weights=weights) == pytest.approx(1, abs=0.03)
    edges = weighted_edges(values, 5, weights)
    sums = np.histogram(values, edges, weights=weights)[0]
    np.testing.assert_allclose(sums, sums.mean(), atol=2 * weights.max())


@pytest.mark.parametrize("weights", [None, np.array([0.0, 0.0, 0.0]), np.array([1.0, 0.0, 0.0])])
def test_a_constant_protected_variable_is_refused(weights: Any) -> None:
    values = np.ones(3) if weights is None else np.arange(3.0)
    with pytest.raises(InvalidValues, match="the same value in all jets"):
        weighted_edges(values, 2, weights)


# ------------------------------------------------------------------------------------------------------- what they read

ROWS = 20_000


def pair(correlation: float, seed: int = 0, rows: int = ROWS) -> tuple[Any, Any]:
    """Two normal variables; their mutual information is -log(1 - correlation^2) / 2."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, rows)
    return x, correlation * x + math.sqrt(1 - correlation**2) * rng.normal(0, 1, rows)


def learned(module: Any, x: Any, target: Any, epochs: int = 8) -> Any:
    """The losses of an adversary of fixed scores on a second half, after it has learned from the first."""
    library = torch()
    half = len(x) // 2
    fixed = library.nn.Linear(1, 1)

    def batches(start: int, size: int) -> Any:
        for first in range(start, start + half, size):
            rows = slice(first, first + size)
            yield TrainingBatch((x[rows, None].astype("f4"),), target[rows], np.ones(len(x[rows]), "f4"))

    library.nn.init.ones_(fixed.weight)
    library.nn.init.zeros_(fixed.bias)
    opponent = Opponent(module, ramp(0.0, 0, 0), rate=5e-3, schedule=Cosine(0.1))
    steps = LoopSettings(epochs, rate=0.0, decay=0, schedule=Constant(), patience=99, least_epochs=epochs - 1)
    train_network(
        fixed, lambda out, _, weights: 0 * out[:, 0] * weights, lambda _: batches(0, 500), lambda: batches(half, half),
        steps, opponents=[opponent],
    )  # fmt: skip
    with library.no_grad():
        out = fixed(library.from_numpy(x[half:, None].astype("f4")))
        return module(out, library.from_numpy(target[half:]), library.ones(half)).numpy()


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_an_adversary_reads_the_mutual_information(correlation: float) -> None:
    torch()
    x, z = pair(correlation)
    information = -math.log(1 - correlation**2) / 2
    with seeded(1, threads=1):
        density = density_adversary(lambda out: out, lambda target: target[:, None])
        losses = learned(density, np.tanh(x), normal_scores(z, z).astype("f4"))
    gain = adversary_gain(losses, 0.5 * z[ROWS // 2 :] ** 2 + 0.5 * math.log(2 * math.pi), np.ones(ROWS // 2))
    assert gain.value == pytest.approx(information, abs=0.02 + 3 * gain.uncertainty)
    assert gain.uncertainty < 0.02
    edges = weighted_edges(z, 6)
    label = np.clip(np.searchsorted(edges, z) - 1, 0, 5)
    with seeded(1, threads=1):
        losses = learned(binned_adversary(lambda out: out, lambda target: target, 6), x, label)
    # of bins: by integration
    cuts = norm.ppf(np.linspace(0, 1, 7))
    grid = norm.ppf((np.arange(2000) + 0.5) / 2000)
    shares = np.diff(norm.cdf((cuts - correlation * grid[:, None]) / math.sqrt(1 - correlation**2)), axis=1)
    binned = float(np.mean(np.sum(shares * np.log(np.maximum(6 * shares, 1e-300)), axis=1)))
    gain = adversary_gain(losses, np.full(ROWS // 2, math.log(6)), np.ones(ROWS // 2))
    assert gain.value == pytest.approx(binned, abs=0.02 + 3 * gain.uncertainty)


@pytest.mark.parametrize("correlation", [0.0, 0.15, 0.5])
def test_the_referee_reads_no_more_than_there_is(correlation: float) -> None:
    sklearn()
    x, z = pair(correlation)
    information = -math.log(1 - correlation**2) / 2
    judged = judge_protected(x, z, bins=4)
    if correlation:
        assert judged == judge_protected(np.exp(x), z, bins=4)  # the ranks are the same
    assert judged.gain.value < information + 3 * judged.gain.uncertainty
    assert judged.gain.value > 0.7 * information - 0.001 - 3 * judged.gain.uncertainty
    assert judged.at_prior == (correlation == 0)
    assert judged.jets == ROWS


def test_the_referee_sees_what_is_no_linear_correlation() -> None:
    sklearn()
    rng = np.random.default_rng(3)
    score = rng.normal(0, 1, 5000)
    assert not judge_protected(score, np.abs(score) + rng.normal(0, 0.5, 5000), bins=2).at_prior
    # two scores that give nothing alone
    other = rng.normal(0, 1, 5000)
    protected = np.sign(score * other) + rng.normal(0, 0.5, 5000)
    assert judge_protected(score, protected, bins=2).at_prior
    assert not judge_protected(np.column_stack([score, other]), protected, bins=2).at_prior


def test_weights_are_those_of_repeated_jets() -> None:
    sklearn()
    x, z = pair(0.0, rows=4000)
    weights = np.where(x * z > 0, 3.0, 1.0)  # with them it depends
    assert judge_protected(x, z, bins=2).at_prior
    assert not judge_protected(x, z, weights, bins=2).at_prior


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_domains_are_told_apart_as_far_as_possible(shift: float) -> None:
    """Two normal distributions: the area is that of the best test, the likelihood ratio."""
    torch()
    sklearn()
    rng = np.random.default_rng(4)
    domain = rng.random(ROWS) < 0.3
    x = rng.normal(0, 1, ROWS) + shift * domain
    judged = judge_domain(x, domain)
    assert judged.auc is not None
    assert judged.auc.value == pytest.approx(norm.cdf(shift / math.sqrt(2)), abs=0.01 + 3 * judged.auc.uncertainty)
    assert judged.at_prior == (shift == 0)
    with seeded(1, threads=1):
        losses = learned(domain_adversary(lambda out: out, lambda target: target), x, domain.astype("i8"))
    share = domain.mean()
    prior = -np.log(np.where(domain[ROWS // 2 :], share, 1 - share))
    gain = adversary_gain(losses, prior, np.ones(ROWS // 2))
    assert (gain.value > 0.01) == (shift > 0)


def test_what_a_referee_cannot_judge() -> None:
    sklearn()
    x, z = pair(0.5, rows=300)
    with pytest.raises(
        InvalidValues, match=r"37 jets in a bin or domain, expected at least 50: take more jets, or fewer"
    ):
        judge_protected(x, z)
    with pytest.raises(InvalidValues, match=r"1 of 300 values of the protected variable are not finite, .* of jet 7"):
        judge_protected(x, np.where(np.arange(300) == 7, np.nan, z))
    with pytest.raises(InvalidValues, match="got 299 values of the protected variable for 300 scores"):
        judge_protected(x, z[1:])
    with pytest.raises(InvalidValues, match="2 of 300 weights are negative"):
        judge_protected(x, z, np.where(np.arange(300) < 2, -1.0, 1.0))
    with pytest.raises(InvalidValues, match="the weights of the second domain add up to 0"):
        judge_domain(x, np.zeros(300, dtype=bool))
    with pytest.raises(InvalidValues, match="same value in all jets"):
        judge_protected(x, np.ones(300))


def test_verdicts() -> None:
    nothing, something = Measured(0.001, 0.001), Measured(0.1, 0.01)
    assert verdict(nothing, Judgement(nothing, 9)) == "decorrelated"
    assert verdict(nothing, Judgement(something, 9)) == "failed"
    assert verdict(something, Judgement(something, 9)) == "dependent"
    assert verdict(something, Judgement(nothing, 9)) == "decorrelated"
    assert Judgement(Measured(TOLERANCE, 1e-5), 9).at_prior
    assert not Judgement(Measured(1.5 * TOLERANCE, 1e-5), 9).at_prior


def test_a_head_that_escapes_its_adversary_has_failed() -> None:
    """An adversary of the bare output does not resolve a squeezed one; the referee, and one of ranks, do."""
    library = torch()
    sklearn()
    x, z = pair(0.7)
    squeezed = 1e-3 * np.tanh(x / 4) + 0.3
    prior = 0.5 * z[ROWS // 2 :] ** 2 + 0.5 * math.log(2 * math.pi)
    gains = {}
    for name in ("bare", "ranks"):
        with seeded(1, threads=1):
            module = density_adversary(lambda out: out, lambda target: target[:, None])
            if name == "bare":
                network, ranked = module.network, module.forward

                class Bare(library.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
                    def __init__(self, network: Any, ranked: Any) -> None:
                        super().__init__()
                        self.network = network

                    def forward(self, out: Any, targets: Any, weights: Any) -> Any:
                        read = self.network(out)
                        logits, rest = read[:, :5], read[:, 5:].reshape(-1, 2, 5)
                        each = -0.5 * ((targets[:, None] - rest[:, 0]) * library.exp(-rest[:, 1])) ** 2 - rest[:, 1]
                        total = library.logsumexp(library.log_softmax(logits, dim=1) + each, dim=1)
                        return (0.5 * math.log(2 * math.pi) - total) * weights

                module = Bare(network, ranked)
            losses = learned(module, squeezed, z.astype("f4"))
        gains[name] = adversary_gain(losses, prior, np.ones(ROWS // 2))
    referee = judge_protected(squeezed[ROWS // 2 :], z[ROWS // 2 :], bins=2)
    assert verdict(gains["bare"], referee) == "failed"
    assert verdict(gains["ranks"], referee) == "dependent"


# ------------------------------------------------------------------------------------------------------- the pivot toy


def toy(rows: int, seed: int) -> tuple[Any, Any, Any]:
    """Class 0: unit width, correlation -0.5. Class 1: around (1, 1 + Z), Z normal. Half of each."""
    rng = np.random.default_rng(seed)
    half = rows // 2
    z = rng.normal(0, 1, half)
    nothing = rng.multivariate_normal([0, 0], [[1, -0.5], [-0.5, 1]], half)
    x = np.concatenate([nothing, rng.normal(0, 1, (half, 2)) + np.column_stack([np.ones(half), 1 + z])])
    return x.astype("f4"), np.repeat([0, 1], half), np.concatenate([np.zeros(half), z]).astype("f4")


def played(strength: float, *, rows: int, epochs: int, start: int, length: int) -> dict[str, Any]:
    """A head of the toy after the game: rejection, efficiencies for five values of Z, gain, referee."""
    library = torch()
    x, label, z = toy(rows, 1)
    held, held_label, held_z = toy(20_000, 2)

    def train(epoch: int) -> Any:
        order = epoch_random(1, 0, epoch).permutation(len(x))
        for first in range(0, len(x) - 1023, 1024):
            chosen = order[first : first + 1024]
            yield TrainingBatch((x[chosen],), (label[chosen], z[chosen]), np.ones(1024, "f4"))

    def validation() -> Any:
        yield TrainingBatch((held,), (held_label, held_z), np.ones(len(held), "f4"))

    def loss(outputs: Any, targets: Any, weights: Any) -> Any:
        return library.nn.functional.cross_entropy(outputs, targets[0], reduction="none") * weights

    with seeded(1, threads=1):
        nn = library.nn
        network = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
        module = density_adversary(lambda out: out[:, 1] - out[:, 0], lambda targets: targets[1][:, None])
        opponent = Opponent(
            module,
            ramp(strength, start, length),
            rows=lambda targets, weights: weights * (targets[0] == 1),
            steps=3,
            rate=5e-3,
            schedule=Cosine(0.1),
        )
        settings = LoopSettings(epochs, rate=3e-3, decay=1e-4, patience=999, least_epochs=epochs - 1)
        train_network(network, loss, train, validation, settings, opponents=[opponent])

        def score(points: Any) -> Any:
            with library.no_grad():
                out = network(library.from_numpy(points.astype("f4")))
            return (out[:, 1] - out[:, 0]).numpy()

        one = held_label == 1
        with library.no_grad():
            out = network(library.from_numpy(held[one]))
            targets = (library.ones(int(one.sum())), library.from_numpy(held_z[one]))
            losses = module(out, targets, library.ones(int(one.sum()))).numpy()
    points, truth, _ = toy(400_000, 3)
    found = score(points)
    cut = np.median(found[truth == 1])
    rng = np.random.default_rng(4)
    gain = adversary_gain(losses, 0.5 * held_z[one] ** 2 + 0.5 * math.log(2 * math.pi), np.ones(one.sum()))
    return {
        "rejection": 1 / np.mean(found[truth == 0] > cut),
        "efficiency": [
            float(np.mean(score(rng.normal([1, 1 + value], 1, (50_000, 2))) > cut)) for value in (-2, -1, 0, 1, 2)
        ],
        "gain": gain,
        "referee": judge_protected(score(held[one]), held_z[one], bins=4),
    }


def test_a_short_game_moves_a_head_towards_the_similar_test() -> None:
    torch()
    sklearn()
    plain = played(0.0, rows=16_384, epochs=6, start=9, length=1)
    against = played(30.0, rows=16_384, epochs=12, start=2, length=5)
    assert plain["rejection"] > 30
    assert plain["efficiency"][3] - plain["efficiency"][1] > 0.4
    assert verdict(plain["gain"], plain["referee"]) == "dependent"
    assert 4.5 < against["rejection"] < 12
    assert np.abs(np.subtract(against["efficiency"], 0.5)).max() < 0.15
    assert against["referee"].gain.value < 0.1 * plain["referee"].gain.value


@pytest.mark.long
def test_the_game_reaches_the_similar_test() -> None:
    """Rejection of the best test whose efficiency does not depend on Z: 6.519 at 50 %."""
    torch()
    sklearn()
    found = played(30.0, rows=60_000, epochs=30, start=4, length=12)
    assert found["rejection"] == pytest.approx(6.519, rel=0.2)
    assert np.abs(np.subtract(found["efficiency"], 0.5)).max() < 0.06
    assert verdict(found["gain"], found["referee"]) == "decorrelated", found
