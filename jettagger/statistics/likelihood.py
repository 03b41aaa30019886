"""The likelihood of pyhf's models with its derivatives, in NumPy.

pyhf's NumPy backend has no derivatives, and ``-2 ln L`` of 10^7 events in a bin is a difference of terms ``n ln n``
that leave few digits for a minimiser. Here the gradient is exact, and the value is the one relative to the saturated
model (S. Baker and R. D. Cousins, 1984), which has all digits near the minimum.

The expectation of a sample in a bin is ``(nominal + sum of shifts) * product of factors`` (HistFactory,
CERN-OPEN-2012-016), with the interpolations that pyhf uses by default: ``code4p`` for shifts and ``code4`` for changes
of the yield.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jettagger.display import Brief
from jettagger.errors import InvalidValues
from jettagger.types import Floats

__all__ = ["Deviance"]

Indices = NDArray[np.intp]

#: relative difference from pyhf's expectation that rounding may leave
ROUNDING = 1e-9


@dataclass(frozen=True)
class _Evaluation:
    """Everything that one set of parameters gives, and what its derivatives need."""

    #: nominal contents with shifts, and their derivatives, float64[cells] and float64[shifts, cells]
    shifted: Floats
    shift_slopes: Floats
    #: change of the yield of each sample, and its derivatives, float64[samples] and float64[changes, samples]
    yields: Floats
    yield_slopes: Floats
    #: products of the other factors, and the same without one factor, float64[cells] and float64[layers, cells]
    factors: Floats
    others: Floats
    #: expected events, float64[bins]
    rates: Floats


def _without_one(values: Floats) -> tuple[Floats, Floats]:
    """The product over the first axis, and the products without one row; zeros are allowed."""
    before, after = np.ones_like(values), np.ones_like(values)
    for row in range(1, len(values)):
        before[row] = before[row - 1] * values[row - 1]
        after[-1 - row] = after[-row] * values[-row]
    product = before[-1] * values[-1] if len(values) else np.ones(values.shape[1:])
    return product, before * after


class Deviance(Brief):
    """``-2 ln(L / L of the saturated model)`` of a pyhf model, with first and second derivatives.

    Parameters
    ----------
    model : pyhf.Model
        With pyhf's default interpolations, without batches.

    Raises
    ------
    InvalidValues
        If pyhf expects other numbers of events, e.g. because of a modifier that is unknown here.
    """

    def __init__(self, model: Any) -> None:
        config = model.config
        self._number = config.npars
        bins = config.channel_slices
        self._bins = sum(config.channel_nbins.values())
        cells = list(self._cells(model))
        self._nominal = np.concatenate([np.asarray(sample["data"], dtype=np.float64) for _, sample in cells])
        lengths = [len(sample["data"]) for _, sample in cells]
        self._ends = np.cumsum([0, *lengths])
        self._sample = np.repeat(np.arange(len(cells)), lengths)
        self._bin = np.concatenate([np.arange(self._bins)[bins[channel]] for channel, _ in cells])
        self._set_shifts(config, cells)
        self._set_yields(config, cells)
        self._set_factors(config, cells)
        self._set_constraints(config)
        self._compare(model)

    @staticmethod
    def _cells(model: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """The samples of all channels."""
        for channel in model.spec["channels"]:
            for sample in channel["samples"]:
                yield channel["name"], sample

    def _instances(self, cells: list[tuple[str, dict[str, Any]]], kind: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """The modifiers of a kind, each with the position of its sample."""
        for position, (_, sample) in enumerate(cells):
            for modifier in sample["modifiers"]:
                if modifier["type"] == kind:
                    yield position, modifier

    def _set_shifts(self, config: Any, cells: list[tuple[str, dict[str, Any]]]) -> None:
        """Both sides of each shift (``histosys``), float64[shifts, cells]."""
        found = list(self._instances(cells, "histosys"))
        names = list(dict.fromkeys(modifier["name"] for _, modifier in found))
        self._shift_parameters = np.asarray([config.par_slice(name).start for name in names], dtype=np.intp)
        self._above, self._below = np.zeros((2, len(names), len(self._nominal)))
        for position, modifier in found:
            where = slice(self._ends[position], self._ends[position + 1])
            row, data = names.index(modifier["name"]), modifier["data"]
            self._above[row, where] = np.asarray(data["hi_data"], dtype=np.float64) - self._nominal[where]
            self._below[row, where] = self._nominal[where] - np.asarray(data["lo_data"], dtype=np.float64)
        self._half, self._sixteenth = (self._above + self._below) / 2, (self._above - self._below) / 16

    def _set_yields(self, config: Any, cells: list[tuple[str, dict[str, Any]]]) -> None:
        """Logarithms of both sides of each change of a yield (``normsys``), float64[changes, samples]."""
        found = list(self._instances(cells, "normsys"))
        names = list(dict.fromkeys(modifier["name"] for _, modifier in found))
        self._yield_parameters = np.asarray([config.par_slice(name).start for name in names], dtype=np.intp)
        high, low = np.ones((2, len(names), len(cells)))
        for position, modifier in found:
            row = names.index(modifier["name"])
            high[row, position], low[row, position] = modifier["data"]["hi"], modifier["data"]["lo"]
        with np.errstate(divide="ignore"):
            self._log_high, self._log_low = np.log(high), np.log(low)
        # the polynomial of sixth order that is smooth at one deviation up to its second derivative
        powers = np.arange(1, 7)
        sides = np.asarray([1.0, -1.0])[:, None]
        conditions = np.concatenate(
            [sides**powers, powers * sides ** (powers - 1), powers * (powers - 1) * sides ** (powers - 2)]
        )
        up, down = self._log_high, self._log_low
        with np.errstate(invalid="ignore"):
            values = np.stack([high - 1, low - 1, high * up, -low * down, high * up**2, low * down**2])
        powers_of_alpha = np.linalg.solve(conditions, values.reshape(6, -1)).reshape(values.shape)
        self._polynomial = np.concatenate([np.ones_like(values[:1]), powers_of_alpha])

    def _set_factors(self, config: Any, cells: list[tuple[str, dict[str, Any]]]) -> None:
        """Positions of the parameters that are factors, int[layers, cells]; one more parameter is always 1."""
        layers: list[list[Indices]] = [[] for _ in cells]
        for kind in ("normfactor", "lumi"):
            for position, modifier in self._instances(cells, kind):
                length = len(cells[position][1]["data"])
                layers[position].append(np.full(length, config.par_slice(modifier["name"]).start))
        for position, modifier in self._instances(cells, "shapefactor"):
            # the same parameters in each region
            length = len(cells[position][1]["data"])
            layers[position].append(config.par_slice(modifier["name"]).start + np.arange(length))
        for kind in ("staterror", "shapesys"):
            found = list(self._instances(cells, kind))
            for name in dict.fromkeys(modifier["name"] for _, modifier in found):
                # one parameter for each bin that any sample has, in the order of the bins
                positions = [position for position, modifier in found if modifier["name"] == name]
                where = [self._bin[self._ends[position] : self._ends[position + 1]] for position in positions]
                known = np.unique(np.concatenate(where))
                for position, inside in zip(positions, where, strict=True):
                    layers[position].append(config.par_slice(name).start + np.searchsorted(known, inside))
        depth = max(map(len, layers), default=0)
        self._layers = np.full((depth, len(self._nominal)), self._number, dtype=np.intp)
        for position, rows in enumerate(layers):
            for row, parameters in enumerate(rows):
                self._layers[row, self._ends[position] : self._ends[position + 1]] = parameters

    def _set_constraints(self, config: Any) -> None:
        """Parameters of the auxiliary data, with widths or numbers of events."""
        normal: list[tuple[int, int, float]] = []
        poisson: list[tuple[int, int, float]] = []
        position = self._bins
        for name in config.auxdata_order:
            parameter, start = config.param_set(name), config.par_slice(name).start
            gaussian = parameter.pdf_type == "normal"
            sizes = parameter.width() if gaussian else parameter.factors
            for offset in range(parameter.n_parameters):
                rows = normal if gaussian else poisson
                rows.append((position + offset, start + offset, float(sizes[offset])))
            position += parameter.n_parameters

        def columns(rows: list[tuple[int, int, float]]) -> tuple[Indices, Indices, Floats]:
            data, parameters, numbers = zip(*rows, strict=True) if rows else ((), (), ())
            return np.asarray(data, np.intp), np.asarray(parameters, np.intp), np.asarray(numbers, np.float64)

        self._normal, self._poisson = columns(normal), columns(poisson)

    def _compare(self, model: Any) -> None:
        """Refuse a model of which pyhf expects something else."""
        generator = np.random.default_rng(1)
        point = np.asarray(model.config.suggested_init(), dtype=np.float64)
        point = point * generator.uniform(0.7, 1.3, len(point)) + np.where(
            point == 0, generator.uniform(-1.6, 1.6, len(point)), 0
        )
        ours = self.rates(point)
        theirs = np.asarray(model.expected_data(point, include_auxdata=False), dtype=np.float64)
        if not np.allclose(ours, theirs, rtol=ROUNDING, atol=ROUNDING * float(np.max(np.abs(theirs)))):
            kinds = sorted({modifier["type"] for _, sample in self._cells(model) for modifier in sample["modifiers"]})
            raise InvalidValues(
                "the workspace: pyhf expects other numbers of events than jettagger for the same parameters "
                f"({theirs[:5].tolist()} and {ours[:5].tolist()} in the first bins; modifiers: {', '.join(kinds)}); "
                "limits and fits need pyhf's default interpolations (code4 and code4p) and a backend of 64 bits"
            )

    def _evaluate(self, point: Floats) -> _Evaluation:
        """Expected events, with everything that derivatives need."""
        alpha = point[self._shift_parameters][:, None]
        square = alpha * alpha
        inner = square <= 1
        outer = np.where(alpha > 0, self._above, self._below)
        bend, slope = square * (15 + square * (3 * square - 10)), alpha * (30 + square * (18 * square - 40))
        shifts = np.where(inner, alpha * self._half + bend * self._sixteenth, alpha * outer)
        slopes = np.where(inner, self._half + slope * self._sixteenth, outer)
        shifted = self._nominal + shifts.sum(axis=0)

        alpha = point[self._yield_parameters][:, None]
        inner = np.abs(alpha) <= 1
        changes = change_slopes = np.zeros_like(self._log_high)
        for coefficient in self._polynomial[::-1]:
            change_slopes = changes + alpha * change_slopes
            changes = coefficient + alpha * changes
        if not inner.all():
            # beyond one deviation an exponential; within it the exponent may be anything
            logs = np.where(inner, 0.0, np.where(alpha > 0, self._log_high, -self._log_low))
            exponential = np.exp(alpha * logs)
            changes = np.where(inner, changes, exponential)
            change_slopes = np.where(inner, change_slopes, logs * exponential)
        yields, others = _without_one(changes)

        factors, without = _without_one(np.append(point, 1.0)[self._layers])
        cells = shifted * factors * yields[self._sample]
        rates = np.bincount(self._bin, cells, self._bins).astype(np.float64, copy=False)
        return _Evaluation(shifted, slopes, yields, change_slopes * others, factors, without, rates)

    def rates(self, point: Floats) -> Floats:
        """Expected events, float64[bins], for float64[parameters]."""
        return self._evaluate(point).rates

    @property
    def constraints(self) -> tuple[Indices, Indices, Floats]:
        """Normal constraints: positions in the data and of their parameters, int[n] each, and widths, float64[n]."""
        return self._normal

    def contents(self, point: Floats) -> list[Floats]:
        """Expected events of each sample, float64[bins of its channel], in the order of channels and their samples."""
        found = self._evaluate(point)
        cells = found.shifted * found.factors * found.yields[self._sample]
        return np.split(cells, self._ends[1:-1])

    def jacobian(self, point: Floats) -> Floats:
        """First derivatives of the expected events, float64[bins, parameters], for float64[parameters]."""
        return self._jacobian(self._evaluate(point))

    def _jacobian(self, found: _Evaluation) -> Floats:
        return np.stack([self._pull_back(found, weights) for weights in np.eye(self._bins)])

    def _pull_back(self, found: _Evaluation, weights: Floats) -> Floats:
        """Derivatives of the sum of expected events times weights, float64[parameters], for float64[bins]."""
        of_cells = weights[self._bin]
        scaled = of_cells * found.yields[self._sample]
        of_factors = (scaled * found.shifted * found.others).ravel()
        sums = np.bincount(self._layers.ravel(), of_factors, self._number + 1).astype(np.float64, copy=False)
        result: Floats = sums[: self._number]
        result[self._shift_parameters] += found.shift_slopes @ (scaled * found.factors)
        samples = np.bincount(self._sample, of_cells * found.shifted * found.factors, len(found.yields))
        result[self._yield_parameters] += found.yield_slopes @ samples
        return result

    @staticmethod
    def _poisson_terms(rates: Floats, data: Floats) -> tuple[Floats, Floats, Floats]:
        """``2 (rate - n + n ln(n / rate))`` with its first and second derivatives."""
        some = data > 0
        safe = np.where(some, data, 1.0)
        distance = np.where(some, (rates - data) / safe, 0.0)
        # a bin without data has no logarithm, as in pyhf, also where its rate is below zero
        values = np.where(some, data * (distance - np.log1p(distance)), rates)
        slopes = np.where(some, distance / (1 + distance), 1.0)
        curvatures = np.where(some, 1 / (safe * np.square(1 + distance)), 0.0)
        return 2 * values, 2 * slopes, 2 * curvatures

    def __call__(self, point: Floats, data: Floats) -> tuple[float, Floats]:
        """Value and gradient, float64[parameters].

        Parameters
        ----------
        point : float64[parameters]
        data : float64[data]
            Observations and auxiliary data.
        """
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            found = self._evaluate(point)
            values, slopes, _ = self._poisson_terms(found.rates, data[: self._bins])
            gradient = self._pull_back(found, slopes)
            total = float(values.sum())
            where, parameters, widths = self._normal
            distance = (point[parameters] - data[where]) / widths
            total += float(distance @ distance)
            gradient[parameters] += 2 * distance / widths
            where, parameters, events = self._poisson
            values, slopes, _ = self._poisson_terms(events * point[parameters], data[where])
            gradient[parameters] += events * slopes
        return total + float(values.sum()), gradient

    def hessian(self, point: Floats, data: Floats, scale: Floats) -> Floats:
        """Second derivatives, float64[parameters, parameters].

        The large part, ``2 n / rate^2`` times products of first derivatives of the rates, is exact. Differences of
        gradients are taken for the rest alone, which vanishes where data and expectation agree.

        Parameters
        ----------
        point : float64[parameters]
        data : float64[data]
            Observations and auxiliary data.
        scale : float64[parameters]
            Typical sizes of changes.
        """
        found = self._evaluate(point)
        _, slopes, curvatures = self._poisson_terms(found.rates, data[: self._bins])
        jacobian = self._jacobian(found)
        result = jacobian.T @ (curvatures[:, None] * jacobian)
        rest = np.empty_like(result)
        for parameter, step in enumerate(1e-4 * scale):
            change = np.zeros(self._number)
            change[parameter] = step
            above, below = self._evaluate(point + change), self._evaluate(point - change)
            rest[parameter] = (self._pull_back(above, slopes) - self._pull_back(below, slopes)) / (2 * step)
        result += (rest + rest.T) / 2
        _, parameters, widths = self._normal
        result[parameters, parameters] += 2 / np.square(widths)
        where, parameters, events = self._poisson
        _, _, curvatures = self._poisson_terms(events * point[parameters], data[where])
        result[parameters, parameters] += np.square(events) * curvatures
        return np.asarray(result)
