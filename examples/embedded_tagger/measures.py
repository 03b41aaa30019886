"""The figures of merit, as plain numbers: weights in, values with statistical uncertainties out.

Uncertainties are one standard deviation. Those of ratios, medians and divergences come from a bootstrap over events
(all jets of an event together, with Poisson multiplicities), in which both taggers see the same replicas.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from data import HADRONIC, MASS_EDGES, PT_EDGES, QCD, TYPES, Sample

from jettagger.decorrelation.sculpting import REPLICAS, cut_at, divergence, effective_number, event_replicas
from jettagger.discriminants import Roc, roc

__all__ = [
    "CHARM_COUNTS",
    "CURVE",
    "LEAST_BACKGROUND",
    "LEAST_SCULPTING",
    "MASS_BINS",
    "MIXTURE",
    "NEUTRINOS",
    "REPLICAS",
    "WHOLE",
    "accuracy",
    "calibration",
    "charm_confusion",
    "compare_rejection",
    "event_numbers",
    "mass_response",
    "qcd_weights",
    "sculpting",
    "share_found",
]

#: jets of the background that must be left behind a cut
LEAST_BACKGROUND = 100

#: effective jets of the background behind a cut with fewer of which its spectrum says nothing
LEAST_SCULPTING = 100

#: the mixture of processes that the network is trained on
MIXTURE = "v1-types"

#: signal efficiencies of the curves
CURVE = tuple(np.round(np.arange(0.1, 1.0, 0.05), 2).tolist())

#: GeV, of the generated resonance; the first and the last bin are the edges of what was trained
MASS_BINS = (15.0, 40.0, 60.0, 80.0, 100.0, 120.0, 140.0, 160.0, 180.0, 200.0, 250.0)

#: GeV, of the soft-drop mass in which sculpting is looked for
SCULPTING_BINS = np.arange(30.0, 251.0, 10.0)

#: hadronic types that hold all quarks of their resonance
WHOLE = tuple(index for index in HADRONIC if not re.search(r"Wq\dc$", TYPES[index]))

#: types with a neutrino of a W or tau
NEUTRINOS = tuple(index for index in range(len(TYPES)) if index not in (*HADRONIC, *QCD))

#: groups of types that differ only in the number of charm quarks
CHARM_COUNTS = {
    "H -> WW -> qqqq": ("HWqqWqq0c", "HWqqWqq1c", "HWqqWqq2c"),
    "H -> WW -> qqq": ("HWqqWq0c", "HWqqWq1c", "HWqqWq2c"),
    "H -> WW -> e nu qq": ("HWqqWev0c", "HWqqWev1c"),
    "H -> WW -> mu nu qq": ("HWqqWmv0c", "HWqqWmv1c"),
    "H -> WW -> tau(e) nu qq": ("HWqqWtauev0c", "HWqqWtauev1c"),
    "H -> WW -> tau(mu) nu qq": ("HWqqWtaumv0c", "HWqqWtaumv1c"),
    "H -> WW -> tau(h) nu qq": ("HWqqWtauhv0c", "HWqqWtauhv1c"),
    "t -> bqq": ("TopbWqq0c", "TopbWqq1c"),
    "t -> bq": ("TopbWq0c", "TopbWq1c"),
}


def event_numbers(sample: Sample) -> np.ndarray:
    """The event of each jet, counted from 0; jets of an event lie side by side."""
    keys = [sample.columns[name].astype(np.int64) for name in ("block", "event")]
    new = np.any([np.diff(key) != 0 for key in keys], axis=0)
    return np.concatenate([[0], np.cumsum(new)])


def qcd_weights(sample: Sample, generated: np.ndarray, *, flat_mass: bool) -> np.ndarray:
    """Weights of the multijet background; zero for other jets.

    Parameters
    ----------
    sample : Sample
    generated : float64[jets]
        Weights with which the flavours of QCD jets stand as in nature, e.g. in pb.
    flat_mass : bool
        Flat in (pt, soft-drop mass); otherwise flat in pt alone, with the natural spectrum of the mass.

    Returns
    -------
    float64[jets]
        With a sum of one.
    """
    columns = sample.columns
    jets = np.flatnonzero(np.isin(columns["label"], QCD))
    i_pt = np.digitize(columns["pt"][jets], PT_EDGES) - 1
    i_mass = np.digitize(columns["msoftdrop"][jets], MASS_EDGES) - 1 if flat_mass else np.zeros_like(i_pt)
    plane = np.zeros((len(PT_EDGES), len(MASS_EDGES)))
    np.add.at(plane, (i_pt, i_mass), generated[jets])
    part = generated[jets] / plane[i_pt, i_mass]
    # a cell with a handful of jets must not decide alone
    part = np.minimum(part, 12.0 * part.mean())
    result = np.zeros(len(sample))
    result[jets] = part / part.sum()
    return result


def _passing(scores: np.ndarray, weights: np.ndarray, cut: float) -> float:
    return float(weights[scores >= cut].sum())


def _left(signal: np.ndarray, weights: np.ndarray, background: np.ndarray) -> float:
    """The signal efficiency at which so many jets of the background are left as are required."""
    if len(background) < LEAST_BACKGROUND:
        return 1.0
    cut = np.partition(background, -LEAST_BACKGROUND)[-LEAST_BACKGROUND]
    below = signal[signal <= cut]
    # a cut is where a signal jet lies: the next one below leaves at least as many
    return _passing(signal, weights, below.max()) / float(weights.sum()) if len(below) else 1.0


def _on_curve(curve: Roc, background: np.ndarray, efficiency: float, least: int = 10) -> float | None:
    """Background efficiency at a signal efficiency, None where hardly a jet is left."""
    if np.count_nonzero(background >= curve.threshold_at(efficiency)) < least:
        return None
    return curve.background_at(efficiency).value


def compare_rejection(
    network: np.ndarray,
    tree: np.ndarray,
    signal_weights: np.ndarray,
    background_weights: np.ndarray,
    events: np.ndarray,
    seed: int = 1,
) -> dict[str, Any]:
    """Background rejection of two discriminants at the same signal efficiency, on the same jets.

    The efficiency is 50 %, or more if fewer than 100 jets of the background (counted without weights) were
    left otherwise.

    Parameters
    ----------
    network, tree : float[jets]
        The two discriminants.
    signal_weights, background_weights : float64[jets]
        Zero for jets that are not of the kind.
    events : int[jets]
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        Efficiency, and for each: rejection with uncertainty, jets left, AUC; the ratio of the rejections.
    """
    s, b = np.flatnonzero(signal_weights > 0), np.flatnonzero(background_weights > 0)
    sw, bw = signal_weights[s], background_weights[b]
    both = {"network": network, "tree": tree}
    target = max(0.5, *(_left(scores[s], sw, scores[b]) for scores in both.values()))
    result: dict[str, Any] = {
        "signal_efficiency": target,
        "signal_jets": len(s),
        "signal_effective": effective_number(sw),
        "background_jets": len(b),
        "background_effective": effective_number(bw),
    }
    for name, scores in both.items():
        curve = roc(scores[s], scores[b], sw, bw)
        left = scores[b] >= curve.threshold_at(target)
        half = curve.rejection_at(0.5)
        result[name] = {
            "rejection": [curve.rejection_at(target).value],
            "rejection_at_half": [half.value, half.uncertainty],
            "jets_left": int(left.sum()),
            "effective_left": effective_number(bw[left]),
            "jets_left_at_half": int((scores[b] >= curve.threshold_at(0.5)).sum()),
            "auc": [curve.auc.value, curve.auc.uncertainty],
            "curve": [_on_curve(curve, scores[b], point) for point in CURVE],
        }
    draw = event_replicas(events, seed)
    logs = []
    for number in range(REPLICAS):
        times = draw(number)
        rates = []
        for scores in both.values():
            cut = cut_at(scores[s], target, sw * times[s])
            rates.append(_passing(scores[b], bw * times[b], cut))
        if min(rates) > 0:
            logs.append([np.log(rates[1] / rates[0]), *np.log(rates)])
    ratio = result["network"]["rejection"][0] / result["tree"]["rejection"][0]
    # with hardly a replica that leaves any background there is no telling
    spreads = np.std(logs, axis=0) if len(logs) >= REPLICAS // 2 else np.full(3, np.inf)
    result["ratio"] = [ratio, ratio * float(spreads[0])]
    for name, spread in zip(both, spreads[1:], strict=True):
        result[name]["rejection"].append(result[name]["rejection"][0] * float(spread))
    return result


def share_found(scores: np.ndarray, label: np.ndarray) -> dict[str, Any]:
    """Share of jets whose most probable type is the true one, with its binomial uncertainty.

    Parameters
    ----------
    scores : float[jets, 37]
    label : int[jets]

    Returns
    -------
    dict
    """
    share = float((scores.argmax(axis=1) == label).mean())
    return {"share": [share, float(np.sqrt(share * (1 - share) / len(label)))], "jets": len(label)}


def accuracy(scores: np.ndarray, label: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    """Share of jets whose most probable type is the true one, and the confusion of the types.

    Parameters
    ----------
    scores : float[jets, 37]
    label : int[jets]
    weights : float64[jets]
        Those of training.

    Returns
    -------
    dict
        With uncertainties, binomial; ``confusion`` holds rows of the true type with a sum of one.
    """
    found = scores.argmax(axis=1)
    right = found == label
    share = float(right.mean())
    top3 = float((np.argsort(-scores, axis=1)[:, :3] == label[:, np.newaxis]).any(axis=1).mean())
    weighted = float(weights[right].sum() / weights.sum())
    table = np.zeros((len(TYPES), len(TYPES)))
    np.add.at(table, (label, found), 1.0)
    jets = table.sum(axis=1)
    confusion = table / np.maximum(jets, 1)[:, np.newaxis]
    recall = confusion.diagonal()
    return {
        "as_generated": [share, float(np.sqrt(share * (1 - share) / len(label)))],
        "top3": [top3, float(np.sqrt(top3 * (1 - top3) / len(label)))],
        "as_in_training": [weighted, float(np.sqrt(weighted * (1 - weighted) / effective_number(weights)))],
        "jets": len(label),
        "effective": effective_number(weights),
        "by_type": {
            name: {
                "jets": int(jets[index]),
                "recall": [
                    float(recall[index]),
                    float(np.sqrt(recall[index] * (1 - recall[index]) / max(jets[index], 1))),
                ],
            }
            for index, name in enumerate(TYPES)
        },
        "confusion": confusion.tolist(),
    }


def charm_confusion(scores: np.ndarray, label: np.ndarray) -> dict[str, Any]:
    """How often the number of charm quarks is right, among types that differ in nothing else.

    Each group is looked at alone: its jets, and the most probable of its types.
    """
    result = {}
    for title, names in CHARM_COUNTS.items():
        members = np.array([TYPES.index(name) for name in names])
        jets = np.flatnonzero(np.isin(label, members))
        found = scores[jets][:, members].argmax(axis=1)
        rows = []
        for index, member in enumerate(members):
            mine = found[label[jets] == member]
            shares = np.bincount(mine, minlength=len(members)) / max(len(mine), 1)
            rows.append(
                {
                    "type": names[index],
                    "jets": len(mine),
                    "found": [[float(p), float(np.sqrt(p * (1 - p) / max(len(mine), 1)))] for p in shares],
                }
            )
        result[title] = rows
    return result


def _calibration_error(confidence: np.ndarray, right: np.ndarray, weights: np.ndarray, bins: int) -> float:
    i_bin = np.minimum((confidence * bins).astype(int), bins - 1)
    total = np.bincount(i_bin, weights, bins)
    gap = np.abs(np.bincount(i_bin, weights * right, bins) - np.bincount(i_bin, weights * confidence, bins))
    return float(gap.sum() / total.sum())


def calibration(
    confidence: np.ndarray,
    right: np.ndarray,
    weights: np.ndarray,
    events: np.ndarray,
    bins: int = 15,
    seed: int = 1,
) -> dict[str, Any]:
    """Expected calibration error in equal bins of the probability, its floor, and the reliability curve.

    The floor is what a perfectly calibrated network would show on as many jets: it is found with outcomes
    drawn from the
    probabilities themselves.

    Parameters
    ----------
    confidence : float[jets]
        Probability of a statement.
    right : bool[jets]
        Whether it is true.
    weights : float64[jets]
        Those of training, for which the network is calibrated.
    events : int[jets]
    bins, seed : int

    Returns
    -------
    dict
    """
    draw = event_replicas(events, seed)
    varied = [_calibration_error(confidence, right, weights * draw(number), bins) for number in range(REPLICAS)]
    rng = np.random.default_rng(seed)
    floors = [
        _calibration_error(confidence, rng.random(len(confidence)) < confidence, weights, bins) for _ in range(REPLICAS)
    ]
    curve = []
    i_bin = np.minimum((confidence * bins).astype(int), bins - 1)
    for index in range(bins):
        mine = i_bin == index
        if mine.any():
            w = weights[mine]
            share = float((w * right[mine]).sum() / w.sum())
            curve.append(
                {
                    "probability": float((w * confidence[mine]).sum() / w.sum()),
                    "share": [share, float(np.sqrt(max(share * (1 - share), 0.25 / len(w)) / effective_number(w)))],
                    "jets": int(mine.sum()),
                }
            )
    return {
        "error": [_calibration_error(confidence, right, weights, bins), float(np.std(varied))],
        "floor": [float(np.mean(floors)), float(np.std(floors))],
        "bins": bins,
        "curve": curve,
    }


def _spread(values: np.ndarray) -> tuple[float, float]:
    """Median, and interquartile width over it."""
    low, median, high = np.percentile(values, [25, 50, 75])
    return float(median), float((high - low) / median) if median > 0 else float("inf")


def mass_response(
    mass: np.ndarray, softdrop: np.ndarray, truth: np.ndarray, seed: int = 1, least: int = 30
) -> dict[str, Any] | None:
    """Median and interquartile width of mass over generated mass, for the regressed and the soft-drop mass.

    Parameters
    ----------
    mass, softdrop, truth : float[jets]
        GeV; of one type and in one range of the generated mass.
    seed : int
    least : int
        With fewer jets there is no answer.

    Returns
    -------
    dict or None
        The widths are those of responses scaled to a median of one. ``gain`` is the width of the soft-drop
        mass over that of
        the regressed one.
    """
    if len(mass) < least:
        return None
    responses = {"network": mass / truth, "softdrop": softdrop / truth}
    found = {name: _spread(values) for name, values in responses.items()}
    rng = np.random.default_rng(seed)
    varied: dict[str, list[tuple[float, float]]] = {name: [] for name in responses}
    for _ in range(REPLICAS):
        drawn = rng.integers(0, len(mass), len(mass))
        for name, values in responses.items():
            varied[name].append(_spread(values[drawn]))
    result: dict[str, Any] = {"jets": len(mass)}
    for name, (median, width) in found.items():
        medians, widths = np.array(varied[name]).T
        result[name] = {
            "median": [median, float(np.std(medians))],
            "width": [width, float(np.std(widths[np.isfinite(widths)]))],
        }
    gains = np.array(varied["softdrop"])[:, 1] / np.array(varied["network"])[:, 1]
    result["gain"] = [
        found["softdrop"][1] / found["network"][1],
        float(np.std(gains[np.isfinite(gains)])),
    ]
    return result


def sculpting(
    scores: np.ndarray,
    signal_weights: np.ndarray,
    background_weights: np.ndarray,
    softdrop: np.ndarray,
    events: np.ndarray,
    seed: int = 1,
) -> dict[str, Any] | None:
    """How much a cut at 50 % signal efficiency changes the spectrum of the background's soft-drop mass.

    The floor is the divergence of random subsamples that have the same effective number of jets as those
    behind the cut.

    Parameters
    ----------
    scores : float[jets]
    signal_weights, background_weights : float64[jets]
    softdrop : float[jets]
        GeV.
    events : int[jets]
    seed : int

    Returns
    -------
    dict or None
        None if no jet of the background passes.
    """
    s, b = np.flatnonzero(signal_weights > 0), np.flatnonzero(background_weights > 0)
    if not len(s):
        return None
    passed = scores[b] >= cut_at(scores[s], 0.5, signal_weights[s])
    inside = (softdrop[b] >= SCULPTING_BINS[0]) & (softdrop[b] < SCULPTING_BINS[-1])
    if not (passed & inside).any():
        return None
    found = divergence(softdrop[b], passed, background_weights[b], events[b], edges=SCULPTING_BINS, seed=seed)
    return {
        "divergence": [found.value.value, found.value.uncertainty],
        "floor": [found.floor.value, found.floor.uncertainty],
        "background_efficiency": found.efficiency,
        "jets_left": found.after.jets,
        "effective_left": found.after.effective,
        "edges": found.after.edges.tolist(),
        "before": found.before.fractions.tolist(),
        "after": found.after.fractions.tolist(),
        "after_uncertainty": found.after.uncertainties.tolist(),
    }
