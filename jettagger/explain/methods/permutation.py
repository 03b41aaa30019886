"""Permutation importance: the loss of rejection when variables are exchanged between constituents. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jettagger.arguments import guard, in_range
from jettagger.discriminants import Measured
from jettagger.display import Brief
from jettagger.errors import MismatchError, UnknownName
from jettagger.explain.jets import JetInputs, names_of_group
from jettagger.explain.scorer import Scorer
from jettagger.types import Array

__all__ = ["Importance", "permutation_importance"]

#: key of the order of images, in which a jet has one row
_IMAGES = b"images"


@dataclass(frozen=True)
class Importance(Brief):
    """What a group of variables contributes to the rejection of a number.

    Parameters
    ----------
    name : str
    rejection : Measured
        At the fixed signal efficiency, with the variables permuted.
    loss : Measured
        Decrease of the logarithm of the rejection by the permutation: 0 for variables that are not used, log(2) where
        half of the rejection is lost. The uncertainty is the standard deviation over replicas.
    """

    name: str
    rejection: Measured
    loss: Measured


def permutation_importance(
    scorer: Scorer,
    parts: Sequence[JetInputs],
    signal: Array,
    groups: Mapping[str, Sequence[str]],
    *,
    efficiency: float = 0.5,
    permutations: int = 3,
    replicas: int = 100,
    seed: int = 0,
) -> tuple[Measured, tuple[Importance, ...]]:
    """The loss of rejection at a fixed efficiency if groups of variables are permuted.

    Parameters
    ----------
    scorer : Scorer
        Large numbers mean signal.
    parts : sequence of JetInputs
        The jets, as batches.
    signal : bool[jets]
        Which of them are signal; the others are background. In the order of the batches.
    groups : mapping of str to sequence of str
        Name -> variables that are permuted together.
    efficiency : float
        Fraction of the signal that passes the cut.
    permutations : int
        Number of permutations of each group.
    replicas : int
        Number of replicas of the jets, drawn with replacement, for the uncertainties.
    seed : int

    Returns
    -------
    rejection : Measured
        One over the background efficiency, unchanged jets.
    importances : tuple of Importance
        In the order of ``groups``.

    Raises
    ------
    UnknownName
        If the network does not take a variable.
    MismatchError
        If ``signal`` has another length than the jets, or there is no signal or no background.

    Notes
    -----
    The variables of a group stay together: rows of constituents are exchanged over all jets, signal and background;
    variables of jets, and channels of images, among the jets. Breiman, Machine Learning 45 (2001) 5. The background
    efficiency counts half a jet more than passes, so that it never vanishes.
    """
    in_range(efficiency, "permutation_importance(), argument efficiency", 0, 1, above=True)
    in_range(permutations, "permutation_importance(), argument permutations", 1)
    in_range(replicas, "permutation_importance(), argument replicas", 2)
    signal = np.asarray(signal, dtype=bool)
    n_jets = sum(map(len, parts))
    if signal.shape != (n_jets,) or signal.all() or not signal.any():
        raise MismatchError(
            f"signal has {int(signal.sum())} of {list(signal.shape)} entries that are true for {n_jets} jets, expected "
            "one entry for each jet, and both signal and background"
        )
    known = parts[0].variables
    unknown = [name for variables in groups.values() for name in variables if name not in known]
    if unknown:
        raise UnknownName("variable", unknown, known, f"the inputs of {parts[0].bundle.name!r}")
    random = np.random.default_rng(seed)
    draws = [_draw(signal, random) for _ in range(replicas)]
    plain = np.concatenate([scorer.values(part) for part in parts])
    before = np.array([_log_rejection(plain, signal, draw, efficiency) for draw in draws])
    whole = np.arange(n_jets)
    importances = []
    for name, variables in groups.items():
        numbers = [_permuted(scorer, parts, variables, random) for _ in range(permutations)]
        after = np.array(
            [
                _log_rejection(numbers[place % permutations], signal, draw, efficiency)
                for place, draw in enumerate(draws)
            ]
        )
        center = float(np.mean([_log_rejection(values, signal, whole, efficiency) for values in numbers]))
        loss = _log_rejection(plain, signal, whole, efficiency) - center
        rejection = Measured(float(np.exp(center)), float(np.exp(center) * after.std(ddof=1)))
        importances.append(Importance(name, rejection, Measured(loss, float((before - after).std(ddof=1)))))
    value = float(np.exp(_log_rejection(plain, signal, whole, efficiency)))
    return Measured(value, float(value * before.std(ddof=1))), tuple(importances)


def _draw(signal: Array, random: np.random.Generator) -> Array:
    """Jets of a replica: as many of signal and of background as there are."""
    return np.concatenate([random.choice(np.flatnonzero(mask), int(mask.sum())) for mask in (signal, ~signal)])


def _log_rejection(values: Array, signal: Array, jets: Array, efficiency: float) -> float:
    """Logarithm of the rejection at a signal efficiency; numbers that are not finite fail each cut."""
    values = np.where(np.isfinite(values[jets]), values[jets], -np.inf)
    is_signal = signal[jets]
    of_signal = np.sort(values[is_signal])[::-1]
    cut = of_signal[max(int(np.ceil(efficiency * len(of_signal))) - 1, 0)]
    background = values[~is_signal]
    passing = np.count_nonzero(background > cut) + np.count_nonzero(background == cut) / 2
    return float(np.log(len(background) + 1) - np.log(passing + 0.5))


def _permuted(
    scorer: Scorer, parts: Sequence[JetInputs], variables: Sequence[str], random: np.random.Generator
) -> Array:
    """The number of all jets after one permutation."""
    changed: list[dict[str, Array]] = [{} for _ in parts]
    # the slots of one list of objects are exchanged in the same way in all groups, as far as they hold the same objects
    orders: dict[bytes, Array] = {}
    for name, group in parts[0].groups.items():
        places = [place for place, item in enumerate(names_of_group(group)) if item in variables]
        if not places:
            continue
        if group.image is not None:
            pixels = np.concatenate([part.values[name][:, places] for part in parts])
            if _IMAGES not in orders:
                orders[_IMAGES] = random.permutation(len(pixels))
            ends = np.cumsum([len(part) for part in parts])[:-1]
            for part, own, moved in zip(parts, changed, np.split(pixels[orders[_IMAGES]], ends), strict=True):
                own[name] = part.values[name].copy()
                own[name][:, places] = moved
            continue
        filled = [np.nonzero(part.ranks[name] >= 0) for part in parts]
        rows = np.concatenate(
            [part.values[name][jet, :, slot] for part, (jet, slot) in zip(parts, filled, strict=True)]
        )
        key = b"".join(part.ranks[name].tobytes() for part in parts)
        if key not in orders:
            orders[key] = random.permutation(len(rows))
        moved = rows[:, places][orders[key]]
        start = 0
        for part, own, (jet, slot) in zip(parts, changed, filled, strict=True):
            own[name] = part.values[name].copy()
            for column, place in enumerate(places):
                own[name][jet, place, slot] = moved[start : start + len(jet), column]
            start += len(jet)
    return np.concatenate([scorer.values(part, own) for part, own in zip(parts, changed, strict=True)])


guard(globals())
