"""Performance of a head on held-out jets, compared with the tagger's own discriminants and mass."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jettagger.arguments import Numbers, guard
from jettagger.discriminants import Measured, Roc, roc
from jettagger.display import Brief
from jettagger.errors import InvalidValues
from jettagger.finetuning.dependence import ScoreDependence, dependences
from jettagger.finetuning.losses import mass_loss, mass_losses
from jettagger.finetuning.prepare import Prepared
from jettagger.finetuning.protected import signals_of
from jettagger.finetuning.schema import Loss
from jettagger.heads import Head
from jettagger.training import cross_entropies, cross_entropy
from jettagger.types import Floats

__all__ = ["EFFICIENCIES", "Comparison", "Measures", "Network", "Response", "measure", "plain", "response", "unseen"]


#: signal efficiencies at which rejections are given
EFFICIENCIES = (0.3, 0.5)

#: maximum number of jets for the evaluation, and for the importance of inputs
_MOST, _PERMUTED = 300_000, 10_000

#: minimum number of jets per bin of mass or pt
_FEWEST = 30


@dataclass(frozen=True)
class Comparison(Brief):
    """One class against another.

    Parameters
    ----------
    signal, background : str
    curves : dict of str to Roc
        ``head`` is ``p_s / (p_s + p_b)``, followed by the best plain score and the configured discriminants. Jets have
        their own weights, without flattening.
    pt : Roc, optional
        Curve of the transverse momentum alone, whose spectra differ; None if the skims do not contain it.
    """

    signal: str
    background: str
    curves: Mapping[str, Roc]
    pt: Roc | None = None

    def summary(self) -> dict[str, Any]:
        """Rejections and areas as plain numbers."""
        found: dict[str, Any] = {}
        alone = {} if self.pt is None else {"pt alone": self.pt}
        for name, curve in {**self.curves, **alone}.items():
            row: dict[str, Any] = {"auc": plain(curve.auc)}
            for value in EFFICIENCIES:
                row[f"rejection at {value:g}"] = plain(curve.rejection_at(value))
            found[name] = row
        return found


@dataclass(frozen=True)
class Response(Brief):
    """The response ``mass / target`` of some jets.

    Parameters
    ----------
    jets : int
    median : Measured
    width : Measured
        Interquartile range divided by the median.
    """

    jets: int
    median: Measured
    width: Measured


@dataclass(frozen=True)
class Network(Brief):
    """One of the networks (or ensembles of trees) of a head, evaluated on jets that it was not trained on.

    Parameters
    ----------
    loss, prior : float
        Loss of the network, and of the prior.
    uncertainty : float
        Statistical uncertainty of their difference, one standard deviation.
    """

    loss: float
    prior: float
    uncertainty: float


@dataclass(frozen=True)
class Measures(Brief):
    """All results.

    Parameters
    ----------
    kind : str
    loss : float
        Loss of the head, weighted as in training.
    own_loss : float
        Loss for equal probabilities, or for the tagger's own mass.
    prior_loss : float
        Loss of a prediction without inputs: equal probabilities (all classes have the same weight), or one mass for all
        jets, the median of the training targets (their quantile for a quantile loss).
    networks : tuple of Network
        One per fold.
    comparisons : tuple of Comparison
        For classes.
    calibration : dict of str to list of (mean output, fraction, uncertainty, jets)
        For classes; with the training weights.
    responses : dict of str to dict of str to Response
        For masses: class -> ``head`` and ``tagger``.
    profiles : dict
        For masses: ``mass`` and ``pt`` -> class -> ``edges`` and, for ``head`` and ``tagger``, a `Response` per bin.
    features : dict of str to float
        Increase of the loss if an input, or a group of inputs, is shuffled among the jets.
    ratios : dict of str to array
        For masses: ``head`` and ``tagger`` -> response of each jet.
    dependence : tuple of ScoreDependence
        For heads with `decorrelate`.
    """

    kind: str
    loss: float
    own_loss: float
    prior_loss: float
    networks: tuple[Network, ...]
    comparisons: tuple[Comparison, ...] = ()
    calibration: Mapping[str, list[tuple[float, float, float, int]]] | None = None
    responses: Mapping[str, Mapping[str, Response]] | None = None
    profiles: Mapping[str, Mapping[str, Any]] | None = None
    features: Mapping[str, float] | None = None
    ratios: Mapping[str, Floats] | None = None
    dependence: tuple[ScoreDependence, ...] = ()

    def summary(self) -> dict[str, Any]:
        """The main numbers, for the description of the head."""
        found: dict[str, Any] = {
            "loss": self.loss,
            "loss without the head": self.own_loss,
            "loss of the prior": self.prior_loss,
        }
        if self.kind == "classes":
            found["comparisons"] = {f"{item.signal} vs {item.background}": item.summary() for item in self.comparisons}
            if self.dependence:
                found["dependence"] = [item.summary() for item in self.dependence]
        else:
            found["responses"] = _responses(self.responses or {})
        return found

    def content(self) -> dict[str, Any]:
        """All numbers, for JSON."""
        found = self.summary() | {"networks": [asdict(item) for item in self.networks]}
        found |= {"features": dict(self.features or {})}
        if self.calibration is not None:
            keys = ("mean output", "fraction", "uncertainty", "jets")
            found["calibration"] = {
                name: [dict(zip(keys, point, strict=True)) for point in points]
                for name, points in self.calibration.items()
            }
        if self.profiles is not None:
            found["profiles"] = {
                axis: {
                    name: {"edges": part["edges"], **{k: [_response(r) for r in part[k]] for k in ("head", "tagger")}}
                    for name, part in by_class.items()
                }
                for axis, by_class in self.profiles.items()
            }
        return found


def plain(value: Measured) -> list[float | None]:
    """A measured number for JSON.

    Parameters
    ----------
    value : Measured

    Returns
    -------
    list
        Value and uncertainty, None if infinite; followed by the lower bound if that is more informative.
    """
    shown = [value.value, value.uncertainty] + ([] if value.above is None else [value.above])
    return [float(x) if math.isfinite(x) else None for x in shown]


def _response(item: Response | None) -> dict[str, Any] | None:
    if item is None:
        return None
    return {"jets": item.jets, "median": plain(item.median), "interquartile width": plain(item.width)}


def _responses(responses: Mapping[str, Mapping[str, Response]]) -> dict[str, Any]:
    return {name: {who: _response(item) for who, item in both.items()} for name, both in responses.items()}


def response(ratio: Numbers, weights: Numbers | None = None) -> Response:
    """Median and relative interquartile range of a response.

    Parameters
    ----------
    ratio : float[n]
        ``mass / target``.
    weights : float[n], optional

    Returns
    -------
    Response
        Uncertainties are those of sample quantiles, ``q (1 - q) / (n f**2)`` with the density f estimated from
        neighbouring quantiles, and their covariance (Cramer, Mathematical Methods of Statistics, 28.5); n is the
        effective number.

    Examples
    --------
    >>> response(np.linspace(0.5, 1.5, 1001)).width.value
    0.5
    """
    ratio = np.asarray(ratio, dtype=np.float64)
    weights = np.ones(len(ratio)) if weights is None else np.maximum(np.asarray(weights, dtype=np.float64), 0)
    order = np.argsort(ratio, kind="stable")
    values, sums = ratio[order], np.cumsum(weights[order])
    # positions such that equal weights give NumPy's quantiles
    places = (sums - weights[order]) / max(sums[-1] - weights[order][-1], 1e-300)

    def at(q: float) -> float:
        return float(np.interp(q, places, values))

    n = float(sums[-1] ** 2 / np.sum(weights**2))
    low, middle, high = at(0.25), at(0.5), at(0.75)
    slope = {q: (at(q + 0.05) - at(q - 0.05)) / 0.1 for q in (0.25, 0.5, 0.75)}  # 1 / density
    median = Measured(middle, slope[0.5] * math.sqrt(0.25 / n))
    spread = 0.1875 * (slope[0.25] ** 2 + slope[0.75] ** 2) - 2 * 0.0625 * slope[0.25] * slope[0.75]
    width = (high - low) / middle
    return Response(len(ratio), median, Measured(width, math.sqrt(max(spread, 0.0) / n) / abs(middle)))


def measure(head: Head, prepared: Prepared) -> Measures:
    """Apply a head to jets that its networks were not trained on, and compare.

    Parameters
    ----------
    head : Head
        The head as read from its files, so that exactly this head is evaluated.
    prepared : Prepared

    Returns
    -------
    Measures

    Raises
    ------
    InvalidValues
        If the sum of the weights of a network's test jets is not positive.
    """
    rows, fold = unseen(prepared)
    layout, config = prepared.layout, prepared.config
    weights = prepared.weights(rows).astype(np.float64)
    for number, total in enumerate(np.bincount(fold, weights, prepared.models)):
        if not total > 0:
            raise InvalidValues(
                f"{config.document.where('weight')}: the weights of the jets that test network {number} add up to "
                f"{total:g}, expected more than 0: it cannot be judged"
            )
    x = layout.x(rows)
    values = head.compute_folds(x, fold)
    label = rows[:, layout["label"]].astype(np.int64)
    if config.kind == "classes":
        loss = cross_entropy(values, label, weights)
        features = _features(head, prepared, rows, fold, lambda out, y: cross_entropy(out, label[y], weights[y]))
        own = math.log(len(config.classes))
        networks = _networks(cross_entropies(values, label), np.full(len(rows), own), weights, fold)
        calibration = _calibration(values, label, weights, list(config.classes))
        comparisons = _compare(values, label, rows, prepared)
        others = _not_decorrelated(rows, prepared, comparisons)
        dependence = dependences(values, rows, config, layout, others)
        return Measures(
            "classes", loss, own, own, networks, comparisons, calibration, features=features, dependence=dependence
        )
    target = rows[:, layout["target"]].astype(np.float64)
    own_mass = x[:, layout.inputs.index("mass")].astype(np.float64)

    def judged(out: Any, chosen: Any) -> float:
        return mass_loss(out[:, 0], target[chosen], weights[chosen], config.loss)

    ratios = {"head": values[:, 0] / target, "tagger": own_mass / target}
    names = list(config.classes) or ["all"]
    raw = rows[:, layout["weight"]].astype(np.float64)
    responses = {
        name: {who: response(ratio[label == i], raw[label == i]) for who, ratio in ratios.items()}
        for i, name in enumerate(names)
    }
    profiles: dict[str, dict[str, Any]] = {"mass": {}, "pt": {}}
    for axis, column in (("mass", target), ("pt", rows[:, layout[layout.pt]] if _has_pt(prepared) else None)):
        if column is None:
            del profiles[axis]
            continue
        for i, name in enumerate(names):
            profiles[axis][name] = _profile(
                column[label == i], {k: r[label == i] for k, r in ratios.items()}, raw[label == i]
            )
    constant = _constants(prepared)[fold]
    return Measures(
        "mass",
        judged(values, slice(None)),
        _own(own_mass, target, weights, config.loss),
        _own(constant, target, weights, config.loss),
        _networks(
            mass_losses(values[:, 0], target, config.loss), mass_losses(constant, target, config.loss), weights, fold
        ),
        responses=responses,
        profiles=profiles,
        features=_features(head, prepared, rows, fold, judged),
        ratios=ratios,
    )


def _own(own: Floats, target: Floats, weights: Floats, loss: Loss) -> float:
    return mass_loss(own, target, weights, loss)


def _networks(losses: Floats, priors: Floats, weights: Floats, fold: Any) -> tuple[Network, ...]:
    """Loss, loss of the prior, and uncertainty of the difference, for each network."""
    found = []
    for number in range(int(fold.max(initial=0)) + 1):
        loss, prior, w = (values[fold == number] for values in (losses, priors, weights))
        total = w.sum()
        mean = float(np.sum(w * (loss - prior)) / total)
        sigma = float(np.sqrt(np.sum((w * (loss - prior - mean)) ** 2)) / total)
        found.append(Network(float(np.sum(w * loss) / total), float(np.sum(w * prior) / total), sigma))
    return tuple(found)


def _constants(prepared: Prepared) -> Floats:
    """For each network, the constant mass with the lowest loss on its training jets: the median, or the quantile."""
    layout, loss = prepared.layout, prepared.config.loss
    found = []
    for model in range(prepared.models):
        parts = [prepared.part(rows, model, "train") for rows in prepared.store]
        target = np.concatenate([rows[:, layout["target"]] for rows in parts]).astype(np.float64)
        weights = np.maximum(np.concatenate([prepared.weights(rows) for rows in parts]), 0).astype(np.float64)
        order = np.argsort(target, kind="stable")
        sums = np.cumsum(weights[order])
        q = loss.q if loss.kind == "quantile" else 0.5
        found.append(target[order][min(int(np.searchsorted(sums, q * sums[-1])), len(target) - 1)])
    return np.asarray(found)


def _has_pt(prepared: Prepared) -> bool:
    return prepared.layout.pt in prepared.layout.extras


def unseen(prepared: Prepared) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Test jets, at most 300,000, each with the index of the network that was not trained on it.

    Parameters
    ----------
    prepared : Prepared

    Returns
    -------
    rows : float32[n, layout.width]
    fold : int64[n]
    """
    parts, folds, count = [], [], 0
    for rows in prepared.store:
        for model in range(prepared.models):
            mine = prepared.part(rows, model, "test")[: _MOST - count]
            parts.append(mine)
            folds.append(np.full(len(mine), model, dtype=np.int64))
            count += len(mine)
    return np.concatenate(parts), np.concatenate(folds)


def _compare(values: Any, label: Any, rows: Any, prepared: Prepared) -> tuple[Comparison, ...]:
    layout, config = prepared.layout, prepared.config
    raw = rows[:, layout["weight"]].astype(np.float64)
    scores = {name: rows[:, layout[name]].astype(np.float64) for name in layout.extras if name.startswith("prob")}
    plain = _plain_discriminants(scores)
    given = {name: rows[:, layout[f"compare:{name}"]].astype(np.float64) for name in config.compare}
    found = []
    names = list(config.classes)
    for s, b in itertools.permutations(range(len(names)), 2):
        if len(names) == 2 and s == 1:
            continue  # the same again
        signal, background = label == s, label == b
        pair = values[:, s].astype(np.float64) + values[:, b]
        curves = {"head": values[:, s] / np.maximum(pair, 1e-30)}
        best = _best(plain, signal, background, raw)
        if best:
            curves[f"best score: {best}"] = plain[best]
        curves |= given
        made = {
            name: roc(column[signal], column[background], raw[signal], raw[background])
            for name, column in curves.items()
        }
        pt = rows[:, layout[layout.pt]].astype(np.float64) if _has_pt(prepared) else None
        alone = None if pt is None else roc(pt[signal], pt[background], raw[signal], raw[background])
        found.append(Comparison(names[s], names[b], made, alone))
    return tuple(found)


def _not_decorrelated(rows: Any, prepared: Prepared, comparisons: Sequence[Comparison]) -> dict[str, dict[str, Floats]]:
    """For each decorrelated score of the head, the other discriminants of the same classes, float64[n]."""
    layout, config = prepared.layout, prepared.config
    if config.decorrelate is None or config.decorrelate.domains:
        return {}
    best = "best score: "
    plain = _plain_discriminants(
        {name: rows[:, layout[name]].astype(np.float64) for name in layout.extras if name.startswith("prob")}
    )
    found = {}
    for signal in signals_of(config):
        # two classes are compared once, in their order in the configuration
        pairs = {frozenset((item.signal, item.background)): item for item in reversed(comparisons)}
        exact = {(item.signal, item.background): item for item in comparisons}
        pair = exact.get((signal, config.decorrelate.of), pairs[frozenset((signal, config.decorrelate.of))])
        names = [name for name in pair.curves if name != "head"]
        found[signal] = {
            name: plain[name.removeprefix(best)]
            if name.startswith(best)
            else rows[:, layout[f"compare:{name}"]].astype(np.float64)
            for name in names
        }
    return found


def _plain_discriminants(scores: Mapping[str, Floats]) -> dict[str, Floats]:
    """Each score, each score against QCD, and one minus QCD."""
    found = dict(scores)
    qcd = sum((column for name, column in scores.items() if name.startswith("probQCD")), np.zeros(1))
    if len(qcd) > 1:
        for name, column in scores.items():
            if not name.startswith("probQCD"):
                found[f"{name} / ({name} + QCD)"] = column / np.maximum(column + qcd, 1e-30)
        found["1 - QCD"] = 1 - qcd
    return found


def _best(plain: Mapping[str, Floats], signal: Any, background: Any, weights: Floats) -> str:
    """The plain discriminant with the lowest background at a signal efficiency of one half."""

    def passing(column: Floats) -> float:
        order = np.argsort(-column[signal])
        sums = np.cumsum(weights[signal][order])
        cut = column[signal][order][min(int(np.searchsorted(sums, sums[-1] / 2)), len(order) - 1)]
        return float(weights[background][column[background] >= cut].sum())

    return min(plain, key=lambda name: passing(plain[name]), default="")


def _calibration(
    values: Any, label: Any, weights: Floats, names: Sequence[str], bins: int = 10
) -> dict[str, list[tuple[float, float, float, int]]]:
    found: dict[str, list[tuple[float, float, float, int]]] = {}
    for number, name in enumerate(names):
        output = values[:, number].astype(np.float64)
        place = np.clip((output * bins).astype(int), 0, bins - 1)
        points = []
        for bin_ in range(bins):
            inside = place == bin_
            w = weights[inside]
            if inside.sum() < 5 or w.sum() <= 0:
                continue
            fraction = float(w[label[inside] == number].sum() / w.sum())
            effective = float(w.sum() ** 2 / np.sum(w**2))
            sigma = math.sqrt(max(fraction * (1 - fraction), 1 / (effective + 1)) / effective)
            points.append((float(np.average(output[inside], weights=w)), fraction, sigma, int(inside.sum())))
        found[name] = points
    return found


def _profile(column: Any, ratios: Mapping[str, Floats], weights: Floats, most: int = 8) -> dict[str, Any]:
    bins = int(min(most, max(len(column) // _FEWEST, 1)))
    edges = np.unique(np.quantile(column, np.linspace(0, 1, bins + 1))) if len(column) else np.zeros(2)
    found: dict[str, Any] = {"edges": [float(edge) for edge in edges]}
    for who, ratio in ratios.items():
        found[who] = []
        for low, high in itertools.pairwise(edges):
            inside = (column >= low) & ((column < high) | (high == edges[-1]))
            enough = inside.sum() >= min(_FEWEST, 5)
            found[who].append(response(ratio[inside], weights[inside]) if enough else None)
    return found


def _features(head: Head, prepared: Prepared, rows: Any, fold: Any, judge: Any) -> dict[str, float]:
    """Increase of the loss when inputs are shuffled: groups first, then single inputs, in decreasing order."""
    layout = prepared.layout
    rng = np.random.default_rng(prepared.config.training.seed)
    chosen = rng.permutation(len(rows))[:_PERMUTED]
    x, fold = layout.x(rows)[chosen].copy(), fold[chosen]
    before = judge(head.compute_folds(x, fold), chosen)

    def grows(columns: list[int]) -> float:
        kept = x[:, columns].copy()
        x[:, columns] = kept[rng.permutation(len(x))]
        after = judge(head.compute_folds(x, fold), chosen)
        x[:, columns] = kept
        return float(after - before)

    kinds: dict[str, list[int]] = {}
    for column, name in enumerate(layout.inputs):
        kind = "hidden neurons" if name.startswith("hidNeuron") else "scores" if name.startswith("prob") else name
        kinds.setdefault(kind, []).append(column)
    groups = {f"all {kind}": grows(columns) for kind, columns in kinds.items() if len(columns) > 1}
    single = {name: grows([column]) for column, name in enumerate(layout.inputs)}
    ranked = sorted(single, key=lambda name: -single[name])
    return groups | {name: single[name] for name in ranked}


guard(globals(), "Comparison", "Measures", "Response", "response")
