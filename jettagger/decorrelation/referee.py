"""A referee: boosted trees, trained afresh, that read a protected variable or the origin of jets from ranks of a score.

The adversary of a training is part of it and may be blind for reasons of the training. The referee sees the ranks,
which no monotonic function of the score changes, and is tested on jets that it was not trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from jettagger.arguments import Numbers, guard
from jettagger.decorrelation.adversary import adversary_gain, weighted_edges
from jettagger.discriminants import Measured, auc
from jettagger.display import Brief
from jettagger.errors import InvalidValues, require
from jettagger.types import Floats

__all__ = ["FEWEST", "TOLERANCE", "Judgement", "judge_domain", "judge_protected", "verdict"]

#: gain in nats that counts as nothing: normal variables with a correlation of 0.06
TOLERANCE = 0.002

#: number of standard errors by which something is there
_CLEARLY = 3.0

#: minimum number of jets per bin or domain
FEWEST = 50


@dataclass(frozen=True)
class Judgement(Brief):
    """What a referee reads from a score.

    Parameters
    ----------
    gain : Measured
        Mean by which its loss on jets that it has not seen is below that of the prior, in nats: the mutual information
        of score and protected variable (or domain), from below. Negative values are fluctuations of its training.
    jets : int
        Number of jets.
    auc : Measured or None
        For two domains: the area under its ROC curve, 0.5 if they cannot be told apart.
    """

    gain: Measured
    jets: int
    auc: Measured | None = None

    @property
    def at_prior(self) -> bool:
        """Whether it reads nothing, within three standard errors or `TOLERANCE`."""
        return self.gain.value <= max(_CLEARLY * self.gain.uncertainty, TOLERANCE)


def judge_protected(
    scores: Numbers,
    protected: Numbers,
    weights: Numbers | None = None,
    *,
    bins: int = 8,
    folds: int = 4,
    seed: int = 1,
) -> Judgement:
    """Read a protected variable from the ranks of scores, in jets of one class.

    Parameters
    ----------
    scores : float[n], or float[n, scores]
    protected : float[n]
        Finite.
    weights : float[n], optional
        Not negative.
    bins : int
        Number of bins of the protected variable, with equal sums of weights.
    folds : int
        Number of parts of the cross-validation.
    seed : int

    Returns
    -------
    Judgement

    Raises
    ------
    InvalidValues
        If numbers are not finite, weights are negative, the variable is constant, or there are too few jets.
    MissingExtra
        If scikit-learn is not installed.
    """
    ranks, weight = _ranks(scores, weights)
    values = _finite(protected, len(ranks), "protected variable")
    edges = np.unique(weighted_edges(values, bins, weight))
    label = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return _judge(ranks, np.unique(label, return_inverse=True)[1], weight, folds, seed)[0]


def judge_domain(
    scores: Numbers, domain: Numbers, weights: Numbers | None = None, *, folds: int = 4, seed: int = 1
) -> Judgement:
    """Tell two domains apart, e.g. data and simulation, by the ranks of scores.

    Parameters
    ----------
    scores : float[n], or float[n, scores]
    domain : bool[n]
        Whether a jet is of the second one.
    weights : float[n], optional
        Not negative; each domain gets the same sum.
    folds : int
        Number of parts of the cross-validation.
    seed : int

    Returns
    -------
    Judgement
        With the area under the ROC curve.

    Raises
    ------
    InvalidValues
        If numbers are not finite, weights are negative, or there are too few jets.
    MissingExtra
        If scikit-learn is not installed.
    """
    ranks, weight = _ranks(scores, weights)
    label = np.asarray(domain).astype(bool).astype(np.int64)
    if len(label) != len(ranks):
        raise InvalidValues(f"got {len(label)} domains for {len(ranks)} scores")
    for number in (0, 1):
        total = weight[label == number].sum()
        if not total > 0:
            raise InvalidValues(f"the weights of the {('first', 'second')[number]} domain add up to {total:g}")
        weight[label == number] *= len(label) / 2 / total
    judged, probability = _judge(ranks, label, weight, folds, seed)
    one, two = label == 1, label == 0
    area = auc(probability[one, 1], probability[two, 1], weight[one], weight[two])
    return Judgement(judged.gain, judged.jets, area)


def verdict(adversary: Measured, referee: Judgement) -> Literal["decorrelated", "failed", "dependent"]:
    """What is to be said about a head after an adversarial training.

    Parameters
    ----------
    adversary : Measured
        Gain of its own adversary, see `adversary_gain`.
    referee : Judgement

    Returns
    -------
    str
        ``decorrelated`` if the referee reads nothing; ``failed`` if it does, but not the adversary, which the head has
        escaped; ``dependent`` if both do.

    Examples
    --------
    >>> verdict(Measured(0.0001, 0.001), Judgement(Measured(0.2, 0.01), 1000))
    'failed'
    """
    if referee.at_prior:
        return "decorrelated"
    blind = Judgement(adversary, referee.jets).at_prior
    return "failed" if blind else "dependent"


def _finite(values: Numbers, length: int, what: str) -> Floats:
    found: Floats = np.asarray(values, dtype=np.float64)
    if len(found) != length:
        raise InvalidValues(f"got {len(found)} values of the {what} for {length} scores")
    bad = np.flatnonzero(~np.isfinite(found).reshape(length, -1).all(axis=1))
    if len(bad):
        raise InvalidValues(f"{len(bad)} of {length} values of the {what} are not finite, first that of jet {bad[0]}")
    return found


def _ranks(scores: Numbers, weights: Numbers | None) -> tuple[Floats, Floats]:
    """Ranks between 0 and 1, float64[n, scores], equal for equal scores; and the weights."""
    from scipy.stats import rankdata

    columns = np.asarray(scores, dtype=np.float64)
    columns = _finite(columns.reshape(len(columns), -1), len(columns), "score")
    weight = np.ones(len(columns)) if weights is None else _finite(weights, len(columns), "weight").copy()
    if (weight < 0).any():
        raise InvalidValues(f"{int((weight < 0).sum())} of {len(weight)} weights are negative, which trees cannot take")
    ranks: Floats = (rankdata(columns, axis=0) - 0.5) / max(len(columns), 1)
    return ranks, weight


def _judge(ranks: Floats, label: Any, weight: Floats, folds: int, seed: int) -> tuple[Judgement, Floats]:
    """The gain of boosted trees on parts that they were not trained on, and their probabilities.

    The trees are small and learn slowly: the noise that usual ones learn hides a correlation of 0.1 in 20,000 jets.
    """
    sklearn = require("sklearn.ensemble", "train", "the referee of a decorrelation")
    classes = int(label.max(initial=0)) + 1
    counts = np.bincount(label[weight > 0], minlength=classes)
    if classes < 2 or counts.min() < FEWEST:
        raise InvalidValues(
            f"a referee has {counts.min() if classes > 1 else 0} jets in a bin or domain, expected at least {FEWEST}: "
            "take more jets, or fewer bins"
        )
    fold = np.random.default_rng([seed, 11]).permutation(len(label)) % folds
    loss, prior, probability = np.zeros(len(label)), np.zeros(len(label)), np.zeros((len(label), classes))
    for number in range(folds):
        train, test = fold != number, fold == number
        trees = sklearn.HistGradientBoostingClassifier(
            max_iter=100,
            learning_rate=0.05,
            max_leaf_nodes=4,
            min_samples_leaf=max(FEWEST // 2, int(np.count_nonzero(train)) // 20),
            l2_regularization=10.0,
            early_stopping=True,
            validation_fraction=0.2,
            n_iter_no_change=3,
            random_state=seed,
        )
        trees.fit(ranks[train], label[train], sample_weight=weight[train])
        probability[test] = trees.predict_proba(ranks[test])
        shares = np.bincount(label[train], weights=weight[train], minlength=classes) / weight[train].sum()
        rows = np.flatnonzero(test)
        loss[rows] = -np.log(np.maximum(probability[rows, label[rows]], 1e-12))
        prior[rows] = -np.log(shares[label[rows]])
    gain = adversary_gain(loss, prior, weight)
    return Judgement(gain, len(label)), probability


guard(globals())
