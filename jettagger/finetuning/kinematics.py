"""Spectra of the classes in a training: weights, gradient-boosted weights, and drawn jets, in constant memory.

The pass over the skims gives the spectra. What needs more than a factor for each bin goes over the shards once more:
drawn jets have their number of copies in a column, boosted weights their factor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from jettagger.decorrelation.reweighting import (
    CAP,
    BoostedWeights,
    Multiplicities,
    SpectrumBins,
    SpectrumChange,
    SpectrumTally,
    bin_factors,
    expected_multiplicities,
)
from jettagger.errors import InvalidValues
from jettagger.finetuning.schema import FLAT, Kinematics
from jettagger.types import Bools, Floats, Ints, Rows

if TYPE_CHECKING:
    from jettagger.finetuning.prepare import Prepared

__all__ = [
    "BOOSTED_JETS",
    "COPIES",
    "FACTOR",
    "OWN",
    "added_columns",
    "balance",
    "change_notes",
    "change_spectra",
    "change_table",
]

#: maximum number of jets of a class from which boosted weights are trained
BOOSTED_JETS = 50_000

#: columns of rows that are not in the skims: how often a training jet is drawn; the boosted factor
OWN = "kinematics:"
COPIES, FACTOR = f"{OWN}copies", f"{OWN}factor"


def added_columns(kinematics: Kinematics | None) -> tuple[str, ...]:
    """The columns of rows that a method needs: those of the skims, and its own, which start with ``kinematics:``."""
    if kinematics is None or kinematics.method == "weights":
        return ()
    return (*kinematics.columns, FACTOR) if kinematics.method == "boosted" else (COPIES,)


def balance(sums: Floats, total: float, to: int | None = None) -> Floats:
    """Factors on the weights by which all classes get the same spectrum and the same total weight.

    Parameters
    ----------
    sums : float64[classes, cells]
        Sums of the weights; for each class at least one must be positive.
    total : float
        Sum of all new weights.
    to : int, optional
        Index of the class whose spectrum all get; default: the same weight in all bins.

    Returns
    -------
    float64[classes, cells]
        0 for empty cells; the factor for a nearly empty cell is limited to 20 times the average.

    Raises
    ------
    InvalidValues
        If the spectra have no bin in common.

    Examples
    --------
    >>> balance(np.array([[1.0, 3.0], [2.0, 0.0]]), total=8).tolist()
    [[2.0, 0.6666666666666666], [2.0, 0.0]]
    >>> balance(np.array([[1.0, 3.0], [2.0, 2.0]]), total=16, to=1).tolist()
    [[4.0, 1.3333333333333333], [2.0, 2.0]]
    """
    sums = np.maximum(sums, 0.0)
    factors = np.zeros_like(sums)
    for number, row in enumerate(sums):
        factors[number] = bin_factors(row, None if to is None else sums[to])
        # every class has the same weight, whatever its number of jets
        factors[number] *= total / len(sums) / (factors[number] * row).sum()
    return factors


def change_spectra(prepared: Prepared, bins: SpectrumBins, sums: Floats) -> dict[str, SpectrumChange]:
    """Give the training jets the spectra of the configuration; columns and factors of ``prepared`` are completed.

    Parameters
    ----------
    prepared : Prepared
        With factors for the bins.
    bins : SpectrumBins
    sums : float64[classes, cells]
        Sums of the weights of the jets for training and validation.

    Returns
    -------
    dict of str to SpectrumChange
        Class -> effective numbers, weights and distances, of its jets for training and validation; of those for
        training where jets are drawn.

    Raises
    ------
    InvalidValues
        If fewer jets of a class are drawn than ``least_jets``.
    MissingExtra
        If hep_ml is not installed (for the method ``boosted``).
    """
    config = prepared.config
    kinematics = config.kinematics
    assert kinematics is not None
    names = list(config.classes) or ["all"]
    to = None if kinematics.to == FLAT else names.index(kinematics.to)
    capped = [int(np.count_nonzero(bin_factors(row, None if to is None else sums[to]) >= CAP)) for row in sums]
    random = np.random.default_rng([config.training.seed, 13])
    if kinematics.method == "boosted":
        _boost(prepared, bins, sums, to, random)
        capped = [0] * len(names)
    elif kinematics.method != "weights":
        _draw(prepared, kinematics.method, bins, to, random)
    copied = COPIES if COPIES in prepared.layout.extras else None
    tallies = [SpectrumTally(bins) for _ in names]
    for rows in prepared.store:
        mine = rows[_seen(prepared, rows) if copied is None else _trains(prepared, rows)]
        label, cell, own = (_whole(prepared, mine, "label"), _whole(prepared, mine, "cell"), _own(prepared, mine))
        copies = None if copied is None else _whole(prepared, mine, copied)
        after = prepared.weights(mine) if copies is None else copies
        for number, tally in enumerate(tallies):
            chosen = label == number
            tally.add(cell[chosen], own[chosen], after[chosen], None if copies is None else copies[chosen])
    for name, tally in zip(names, tallies, strict=True):
        if tally.kept < config.least_jets:
            raise InvalidValues(
                f"{config.document.where('kinematics')}: {tally.kept} of {tally.jets} training jets of the class "
                f"{name!r} are left, expected at least {config.least_jets} (least_jets): use wider bins, or method: "
                "weights"
            )
    target = None if to is None else tallies[to].before
    return {name: tally.change(target, capped[i]) for i, (name, tally) in enumerate(zip(names, tallies, strict=True))}


def _seen(prepared: Prepared, rows: Rows) -> Bools:
    """Which rows train or validate a network."""
    fold, held = rows[:, prepared.layout["fold"]], rows[:, prepared.layout["held"]]
    return np.asarray(((fold != 0) | (prepared.models > 1)) & (held < 2))


def _trains(prepared: Prepared, rows: Rows) -> Bools:
    """Which rows train a network."""
    return np.asarray(_seen(prepared, rows) & (rows[:, prepared.layout["held"]] == 0))


def _whole(prepared: Prepared, rows: Rows, name: str) -> Ints:
    return rows[:, prepared.layout[name]].astype(np.int64)


def _own(prepared: Prepared, rows: Rows) -> Floats:
    return rows[:, prepared.layout["weight"]].astype(np.float64)


def _draw(prepared: Prepared, method: str, bins: SpectrumBins, to: int | None, random: np.random.Generator) -> None:
    """Draw the training jets; each class then has equal weights."""
    classes = len(prepared.factors)
    counts, sums, largest = (np.zeros((classes, bins.cells)) for _ in range(3))
    for rows in prepared.store:
        mine = rows[_trains(prepared, rows)]
        place = _whole(prepared, mine, "label"), _whole(prepared, mine, "cell")
        np.add.at(counts, place, 1)
        np.add.at(sums, place, _own(prepared, mine))
        np.maximum.at(largest, place, _own(prepared, mine))
    # with the jets that are drawn alone, so that these have the spectrum to reach
    prepared.factors = balance(sums, counts.sum(), to)
    mean = (sums * prepared.factors).sum(axis=1) / counts.sum(axis=1)
    top = (largest * prepared.factors).max(axis=1)
    draw = Multiplicities(classes * bins.cells, random)
    drawn = np.zeros(classes)

    def with_copies(rows: Rows) -> Rows:
        chosen = np.flatnonzero(_trains(prepared, rows))
        mine = rows[chosen]
        label, cell, weights = _whole(prepared, mine, "label"), _whole(prepared, mine, "cell"), prepared.weights(mine)
        expected = np.zeros(len(mine))
        for number in np.unique(label):
            own = label == number
            expected[own] = expected_multiplicities(
                weights[own], method, mean=float(mean[number]), largest=float(top[number])
            )
        copies = draw(expected, label * bins.cells + cell)
        drawn[:] += np.bincount(label, copies, minlength=classes)
        changed = rows.copy()
        changed[:, prepared.layout[COPIES]] = 0
        changed[chosen, prepared.layout[COPIES]] = copies
        return changed

    prepared.store.update(with_copies)
    equal = drawn.sum() / classes / np.maximum(drawn, 1)
    prepared.factors = np.concatenate([prepared.factors, equal[:, None]], axis=1)


def _boost(prepared: Prepared, bins: SpectrumBins, sums: Floats, to: int | None, random: np.random.Generator) -> None:
    """Weights from trees, trained on a bounded number of jets of each class."""
    layout, classes = prepared.layout, len(sums)
    counts = np.zeros(classes)
    for rows in prepared.store:
        counts += np.bincount(_whole(prepared, rows[_trains(prepared, rows)], "label"), minlength=classes)
    share = np.minimum(BOOSTED_JETS / np.maximum(counts, 1), 1.0)
    choose = Multiplicities(classes, random)
    pieces: list[Rows] = []
    for rows in prepared.store:
        mine = rows[_trains(prepared, rows)]
        label = _whole(prepared, mine, "label")
        pieces.append(mine[choose(share[label], label) > 0])
    sample = np.concatenate(pieces)
    label, own = _whole(prepared, sample, "label"), _own(prepared, sample)
    values = _values(prepared, bins, sample)
    trained: dict[int, tuple[BoostedWeights, float]] = {}
    for number in range(classes):
        mine = label == number
        if number == to:
            continue
        if to is None:
            filled = np.flatnonzero(sums[number] > 0)
            goal, goal_weights = bins.uniform(filled[random.integers(0, len(filled), int(mine.sum()))], random), None
        else:
            goal, goal_weights = values[label == to], own[label == to]
        trees = BoostedWeights(seed=prepared.config.training.seed)
        trees.fit(values[mine], goal, own[mine], goal_weights)
        ratio = trees(values[mine])
        trained[number] = trees, float(CAP * np.average(ratio, weights=own[mine]))
    totals = np.zeros(classes)

    def with_factors(rows: Rows) -> Rows:
        label, changed = _whole(prepared, rows, "label"), rows.copy()
        for number, (trees, largest) in trained.items():
            mine = label == number
            if mine.any():
                ratio = np.minimum(trees(_values(prepared, bins, rows[mine])), largest)
                changed[mine, layout[FACTOR]] = ratio
        new = changed[:, layout["weight"]].astype(np.float64) * changed[:, layout[FACTOR]]
        seen = _seen(prepared, rows)
        totals[:] += np.bincount(label[seen], new[seen], minlength=classes)
        return changed

    prepared.store.update(with_factors)
    total = float((prepared.factors * np.maximum(sums, 0.0)).sum())
    prepared.factors = np.repeat((total / classes / totals)[:, None], bins.cells, axis=1)


def _values(prepared: Prepared, bins: SpectrumBins, rows: Rows) -> Floats:
    return bins.clipped({name: rows[:, prepared.layout[name]] for name in bins.edges})


def change_table(changes: Mapping[str, SpectrumChange], kinematics: Kinematics) -> list[tuple[str, ...]]:
    """What a method did to each class, as rows of text for tables, the first with the titles.

    Before -> after; for each column the Kolmogorov distance of the binned spectrum from the one to reach.

    Parameters
    ----------
    changes : mapping
        Class -> change.
    kinematics : Kinematics

    Returns
    -------
    list of tuple of str
    """
    found = [("class", "jets", "kept", "repeated", "effective", "largest weight", "JSD [bit]", *kinematics.columns)]
    for name, change in changes.items():
        pairs = [(change.distance_before[column], change.distance_after[column]) for column in kinematics.columns]
        found.append(
            (
                name,
                str(change.jets),
                str(change.kept),
                str(change.repeated),
                f"{change.effective_before:.0f} -> {change.effective_after:.0f}",
                f"{change.largest_before:.3g} -> {change.largest_after:.3g}",
                f"{_small(change.divergence_before)} -> {_small(change.divergence_after)}",
                *(f"{_small(before)} -> {_small(after)}" for before, after in pairs),
            )
        )
    return found


def _small(distance: float) -> str:
    """Two digits; rounding errors are 0."""
    return f"{distance:.2g}" if distance > 1e-6 else "0"


def change_notes(changes: Mapping[str, SpectrumChange], kinematics: Kinematics) -> list[str]:
    """What keeps a class from the spectrum to reach, one line each."""
    notes = []
    for name, change in changes.items():
        if change.empty:
            lost = f", {100 * change.unreachable:.2g} % of the jets of {kinematics.to}" if change.unreachable else ""
            notes.append(f"{name}: bins without jets: {change.empty}{lost}")
        if change.capped:
            notes.append(f"{name}: bins in which the factor is limited to {CAP:g} times the average: {change.capped}")
    return notes
