"""Checks before a head is written: agreement with the trainer's predictions, and a loss below that of the prior."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jettagger.display import Brief
from jettagger.errors import InvalidValues, MismatchError
from jettagger.finetuning.game import Dependence
from jettagger.finetuning.measure import Measures, unseen
from jettagger.finetuning.prepare import Prepared
from jettagger.heads import Head, Mlp, Trees
from jettagger.heads.export import COLUMNS
from jettagger.sessions import open_onnx
from jettagger.training import Epoch

__all__ = ["ABSOLUTE", "RELATIVE", "Trained", "check_export", "check_use"]

#: tolerance ABSOLUTE + RELATIVE * |prediction| between the file and the predictions of the trainer, due to sums of
#: hundreds of trees in another order in single precision
ABSOLUTE, RELATIVE = 1e-5, 1e-4

#: number of jets with missing inputs in the test, and fraction of missing values
_HOLED, _HOLES = 1000, 0.1

#: number of standard deviations by which one of several networks may be worse than its prior; the head as a whole may
#: not
_CLEARLY = 3.0

#: tolerance of a loss computed from outputs in single precision
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Trained(Brief):
    """The result of training one network.

    Parameters
    ----------
    part : Mlp or Trees
        The network to export.
    predict : callable
        The trainer's own prediction: function of the inputs, ``float32[n, inputs]``, that returns probabilities or a
        mass in GeV, ``float[n, outputs]``.
    by : str
        Name and version of the trainer, e.g. ``xgboost 3.2.0``.
    history : tuple of Epoch
        All epochs, or numbers of trees, also those before an interruption.
    dependence : Dependence, optional
        What an adversary and a referee read from its scores.
    """

    part: Mlp | Trees
    predict: Callable[[NDArray[np.float32]], Any]
    by: str
    history: tuple[Epoch, ...]
    dependence: Dependence | None = None


def check_export(head: Head, prepared: Prepared, trained: Sequence[Trained]) -> float:
    """Compare a head, as written, with the trainer's own predictions for held-out jets.

    Parameters
    ----------
    head : Head
    prepared : Prepared
    trained : sequence of Trained
        One per network.

    Returns
    -------
    float
        The maximum difference.

    Raises
    ------
    MismatchError
        If one exceeds ``ABSOLUTE + RELATIVE * |prediction|``, or if a number is not finite.

    Notes
    -----
    Trees are also compared for jets with missing inputs (NaN), by their graph alone: `Head.compute` gives NaN there.
    """
    rows, fold = unseen(prepared)
    x = np.ascontiguousarray(prepared.layout.x(rows))
    largest = 0.0
    for number, network in enumerate(trained):
        mine = x[fold == number]
        got = head.compute_folds(mine, np.full(len(mine), number))
        what = f"{len(mine)} jets held out"
        largest = max(largest, _compare(head, number, network, got, mine, what))
        if isinstance(network.part, Trees):
            holed = mine[:_HOLED].copy()
            holed[np.random.default_rng(number).random(holed.shape) < _HOLES] = np.nan
            got = open_onnx(head.graph).run({COLUMNS: holed})[f"fold{number}"]
            largest = max(
                largest, _compare(head, number, network, got, holed, f"{len(holed)} jets with missing inputs")
            )
    return largest


def _compare(head: Head, number: int, network: Trained, got: Any, x: NDArray[np.float32], what: str) -> float:
    expected = np.asarray(network.predict(x), dtype=np.float64)
    if expected.shape != got.shape:
        raise MismatchError(
            f"the head {head.name!r} gives numbers of the shape {list(got.shape)}, {network.by} {list(expected.shape)}"
        )
    away = np.abs(got.astype(np.float64) - expected)
    excess = away / (ABSOLUTE + RELATIVE * np.abs(expected))
    wrong = ~(excess <= 1)
    if wrong.any():
        row, column = np.unravel_index(int(np.argmax(np.where(np.isnan(excess), np.inf, excess))), away.shape)
        of = f"network {number}, " if head.card.folds > 1 else ""
        raise MismatchError(
            f"the head {head.name!r} does not give what was trained: {of}output {head.card.outputs[column]!r} of row "
            f"{row} is {got[row, column]:.7g}, expected {expected[row, column]:.7g} from {network.by}; "
            f"{int(wrong.any(axis=1).sum())} of {what} differ by more than {ABSOLUTE:g} + {RELATIVE:g} of the value. "
            "The head is not written; this is a fault of the export, not of the jets: report it with the configuration"
        )
    return float(away.max(initial=0.0))


def check_use(name: str, measures: Measures) -> None:
    """Refuse a head that is worse than its prior on held-out jets.

    Parameters
    ----------
    name : str
        Name of the head.
    measures : Measures

    Raises
    ------
    InvalidValues
        If the loss of the head, or significantly that of one of its networks, is larger than that of equal
        probabilities for the classes, or of one mass for all jets.
    """
    prior = "equal probabilities" if measures.kind == "classes" else "one mass for all jets"
    worse = []
    if not measures.loss <= measures.prior_loss + _ROUNDING:
        worse.append(("the head", measures.loss, measures.prior_loss, ""))
    for number, part in enumerate(measures.networks if len(measures.networks) > 1 else ()):
        if not part.loss - part.prior <= _CLEARLY * part.uncertainty:
            worse.append((f"its network {number}", part.loss, part.prior, f" (+- {part.uncertainty:.2g})"))
    if worse:
        parts = [f"{who} has a loss of {loss:.5f}{error}, {prior} of {own:.5f}" for who, loss, own, error in worse]
        shown = "; ".join(parts)
        raise InvalidValues(
            f"the head {name!r} is worse than its prior on jets that it has not seen: {shown}. It is not written: "
            "check the labels and the inputs, take more jets, or a smaller model or rate"
        )
