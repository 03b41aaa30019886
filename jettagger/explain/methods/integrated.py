"""Integrated gradients: attributions that add up to the difference of a number to that of a baseline."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jettagger.arguments import guard, in_range
from jettagger.explain.baselines import Baseline, no_constituents
from jettagger.explain.jets import JetInputs
from jettagger.explain.scorer import Attributions, InputGradients, Scorer, remarks_of
from jettagger.runtime.memory import freed_memory_kept
from jettagger.types import Array

__all__ = ["integrated"]

#: positions in a part of the path, from 0 to 1, and their weights: Gauss-Legendre of order four
_NODES, _WEIGHTS = (item / 2 for item in np.polynomial.legendre.leggauss(4))
_NODES = _NODES + 0.5

#: ends of the parts of the path at the beginning
_ENDS = (0.0, 1 / 16, 1.0)

#: ends of the parts into which the first part is divided, as fractions of its end: logarithms of vanishing inputs
#: change there in each power alike
_POWERS = (0.0, 2.0**-12, 2.0**-6, 1.0)

#: parts shorter than this fraction of their end are not divided: positions in single precision do not differ
_SHORTEST = 2.0**-20

#: maximum sum of the absolute errors of the parts, in units of the tolerance
_CANCELLED = 5.0

#: parts are divided if their error is at least this fraction of the largest one of the jet
_WORST = 0.1

#: ends of the first part below this are the baseline
_NEAREST = 1e-30

#: differences of the number below this times max(1, |number|) are rounding
_ROUNDING = 1e-6


@freed_memory_kept()
def integrated(
    scorer: Scorer,
    jets: JetInputs,
    baseline: Baseline | None = None,
    *,
    tolerance: float = 0.01,
    max_steps: int = 2048,
) -> Attributions:
    """Integrated gradients along the straight line from a baseline.

    Parameters
    ----------
    scorer : Scorer
    jets : JetInputs
    baseline : Baseline, optional
        Default: `jettagger.explain.no_constituents`.
    tolerance : float
        Steps are added until the sum of the attributions of a jet differs by at most this fraction from the difference
        of the number between jet and baseline.
    max_steps : int
        No part of the path of a jet is divided any more once it has as many derivatives.

    Returns
    -------
    Attributions
        With the number of the baseline, the residual and the steps of each jet; those that are not complete within the
        tolerance are in the remarks.

    Raises
    ------
    MismatchError, UnknownName
        If the baseline does not fit the inputs.
    MissingExtra
        If torch is not installed.

    Notes
    -----
    ``(x - x') int_0^1 dD/dx(x' + a (x - x')) da``; Sundararajan, Taly, Yan, arXiv:1703.01365. The path is divided into
    parts with four derivatives each, in the logarithm of a except for the first part. In each part the sum over the
    inputs is known: it is the difference of the number between its ends. The parts where this fails most are divided
    again.
    """
    in_range(tolerance, "integrated(), argument tolerance", 0, above=True)
    in_range(max_steps, "integrated(), argument max_steps", 8)
    start = (baseline or no_constituents(jets.bundle)).of(jets)
    path = _Path(scorer, jets, start, tolerance)
    parts = path.first()
    while True:
        chosen = path.failing(parts, max_steps)
        if not chosen.any():
            break
        parts = path.divided(parts, chosen)
    values = {name: np.zeros(array.shape, dtype=np.float64) for name, array in jets.values.items()}
    for name, change in path.change.items():
        total = np.zeros(change.shape, dtype=np.float64)
        np.add.at(total, parts.jet, parts.slopes[name])
        values[name] = total * change
    sums = np.sum([array.reshape(len(jets), -1).sum(axis=1) for array in values.values()], axis=0)
    residual = sums - (path.outputs - path.reference)
    incomplete = np.flatnonzero(~(np.abs(residual) <= tolerance * path.scale))
    remarks = list(remarks_of(scorer.target, path.own))
    if len(incomplete):
        remarks.append(
            f"the attributions of {len(incomplete)} of {len(jets)} jets do not add up within {tolerance:g} "
            f"(largest residual {np.abs(residual[incomplete]).max():.2g}; first jets: "
            f"{', '.join(map(str, incomplete[:5]))})"
        )
    return Attributions(
        jets,
        values,
        path.outputs,
        "integrated",
        reference=path.reference,
        residual=residual,
        not_finite=path.not_finite,
        steps=path.steps,
        reason=path.own.reason,
        remarks=tuple(remarks),
    )


def _nodes(first: Array, last: Array) -> tuple[Array, Array]:
    """Positions and weights in parts, float[parts, 4]: equidistant in the logarithm, linear in the first part."""
    linear = first == 0
    below = np.where(linear, last, first)
    logarithm = np.log(last / below)
    position = np.where(linear, last * _NODES, below * np.exp(logarithm * _NODES))
    return position, np.where(linear, last, position * logarithm) * _WEIGHTS


class _Parts:
    """Parts of the paths of jets: their ends, the number there, the integrated derivatives, the error of their sum."""

    def __init__(
        self,
        jet: Array,
        ends: tuple[Array, Array],
        numbers: tuple[Array, Array],
        slopes: dict[str, Array],
        error: Array,
    ) -> None:
        self.jet, self.ends, self.numbers, self.slopes, self.error = jet, ends, numbers, slopes, error

    def take(self, chosen: Array) -> _Parts:
        """Some of the parts."""
        first, last = (array[chosen] for array in self.ends)
        lower, upper = (array[chosen] for array in self.numbers)
        slopes = {name: array[chosen] for name, array in self.slopes.items()}
        return _Parts(self.jet[chosen], (first, last), (lower, upper), slopes, self.error[chosen])

    def and_also(self, others: _Parts) -> _Parts:
        """These and others."""
        return _Parts(
            np.concatenate([self.jet, others.jet]),
            _both(self.ends, others.ends),
            _both(self.numbers, others.numbers),
            {name: np.concatenate([array, others.slopes[name]]) for name, array in self.slopes.items()},
            np.concatenate([self.error, others.error]),
        )


def _both(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
    return np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]])


class _Path:
    """The straight lines between the baseline and the jets."""

    def __init__(self, scorer: Scorer, jets: JetInputs, start: Mapping[str, Array], tolerance: float) -> None:
        self.scorer, self.jets, self.start, self.tolerance = scorer, jets, start, tolerance
        self.change = {
            name: jets.values[name].astype(np.float64) - start[name]
            for name, group in jets.groups.items()
            if not group.is_mask
        }
        self.own: InputGradients = scorer.gradients(jets)
        self.outputs = scorer.values(jets)
        self.reference = scorer.values(jets, start)
        self.scale = np.abs(self.outputs - self.reference)
        self.scale = np.maximum(self.scale, _ROUNDING / tolerance * np.maximum(1, np.abs(self.outputs)))
        self.steps = np.zeros(len(jets), dtype=np.int64)
        self.not_finite = self.own.not_finite.copy()

    def first(self) -> _Parts:
        """The parts at the beginning."""
        n_jets = len(self.jets)
        edges = np.tile(np.array(_ENDS), (n_jets, 1))
        return self._made(np.arange(n_jets), edges, np.stack([self.reference, self.outputs], axis=1))

    def failing(self, parts: _Parts, max_steps: int) -> Array:
        """Mask of parts to divide: of the jets that are not complete, those with at least their share of the error."""
        n_jets = len(self.jets)
        error = np.abs(parts.error)
        total = np.bincount(parts.jet, weights=error, minlength=n_jets)
        residual = np.abs(np.bincount(parts.jet, weights=parts.error, minlength=n_jets))
        number = np.bincount(parts.jet, minlength=n_jets)
        allowed = self.tolerance * self.scale
        # errors of different sign may add up to nothing by chance, which says little of the single attributions
        going = ((residual > allowed) | (total > _CANCELLED * allowed)) & (self.steps + 2 * len(_NODES) <= max_steps)
        largest = np.zeros(n_jets, dtype=np.float64)
        np.maximum.at(largest, parts.jet, error)
        share = np.maximum(np.minimum(allowed, total) / np.maximum(number, 1), _WORST * largest)
        long = (parts.ends[1] - parts.ends[0] > _SHORTEST * parts.ends[1]) & (parts.ends[1] > _NEAREST)
        return np.asarray(going[parts.jet] & long & (error >= share[parts.jet]) & np.isfinite(error))

    def divided(self, parts: _Parts, chosen: Array) -> _Parts:
        """The parts with some of them divided."""
        whole = parts.take(chosen)
        result = parts.take(~chosen)
        for at_start in (True, False):
            here = whole.take((whole.ends[0] == 0) == at_start)
            if len(here.jet):
                first, last = here.ends
                edges = last[:, np.newaxis] * np.array(_POWERS)
                if not at_start:
                    edges = np.stack([first, np.sqrt(first * last), last], axis=1)
                result = result.and_also(self._made(here.jet, edges, np.stack(here.numbers, axis=1)))
        return result

    def _made(self, jet: Array, edges: Array, outer: Array) -> _Parts:
        """The parts between edges, float[lines, edges], with the numbers at the outer ones known, float[lines, 2]."""
        inner = edges[:, 1:-1]
        n_lines, n_inner = inner.shape
        between = self._numbers(np.repeat(jet, n_inner), inner.ravel()).reshape(n_lines, n_inner)
        numbers = np.concatenate([outer[:, :1], between, outer[:, 1:]], axis=1)
        per_line = edges.shape[1] - 1
        jet = np.repeat(jet, per_line)
        first, last = edges[:, :-1].ravel(), edges[:, 1:].ravel()
        slopes = self._slopes(jet, first, last)
        sums = np.zeros(len(jet), dtype=np.float64)
        for name, array in slopes.items():
            sums += (array * self.change[name][jet]).reshape(len(jet), -1).sum(axis=1)
        lower, upper = numbers[:, :-1].ravel(), numbers[:, 1:].ravel()
        return _Parts(jet, (first, last), (lower, upper), slopes, sums - (upper - lower))

    def _at(self, jet: Array, position: Array) -> tuple[JetInputs, dict[str, Array]]:
        """Inputs at positions of the lines of jets."""
        values = {}
        for name, change in self.change.items():
            share = position.reshape(-1, *([1] * (change.ndim - 1)))
            values[name] = (self.start[name][jet] + share * change[jet]).astype(np.float32)
        return self.jets.take(jet), values

    def _numbers(self, jet: Array, position: Array) -> Array:
        return self.scorer.values(*self._at(jet, position))

    def _slopes(self, jet: Array, first: Array, last: Array) -> dict[str, Array]:
        """Derivatives integrated over parts, in blocks of as many parts as fill a run."""
        found = {name: np.zeros((len(jet), *change.shape[1:])) for name, change in self.change.items()}
        for begin in range(0, len(jet), 64):
            rows = np.arange(begin, min(begin + 64, len(jet)))
            position, weights = _nodes(first[rows, np.newaxis], last[rows, np.newaxis])
            inputs, values = self._at(np.repeat(jet[rows], len(_NODES)), position.ravel())
            made = self.scorer.gradients(inputs, values, check=False)
            np.add.at(self.not_finite, np.repeat(jet[rows], len(_NODES)), made.not_finite)
            for name in found:
                slopes = made.values[name].reshape(len(rows), len(_NODES), *made.values[name].shape[1:])
                found[name][rows] = np.einsum("rn...,rn->r...", slopes, weights)
        np.add.at(self.steps, jet, len(_NODES))
        return found


guard(globals())
