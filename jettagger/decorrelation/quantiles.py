"""Maps to conditional quantiles: the fraction of the background with a lower score at the same protected columns.

The result is uniform in (0, 1) for the background at every value of the columns: for one score this is the monotone
optimal transport to a uniform distribution, which normalising flows approximate.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from jettagger.arguments import guard, in_range, is_number
from jettagger.decorrelation.grid import (
    AXES,
    ColumnGrid,
    at_nodes,
    binned_curves,
    binning_node,
    distinct,
    formula_node,
    inputs_of,
    make_grid,
    multilinear,
    multilinear_text,
)
from jettagger.decorrelation.mapfile import DecorrelationMap, as_discriminant, category, map_text, variables
from jettagger.decorrelation.thresholds import check_options, grid_lines, grid_record
from jettagger.discriminants import Discriminant
from jettagger.discriminants.derived import BackgroundSample, ThresholdCurve, background_sample
from jettagger.errors import ConfigError, InvalidValues
from jettagger.types import Floats

__all__ = ["LEVELS", "OUTSIDE", "QuantileMap", "fit_quantiles"]

#: efficiencies at which scores are tabulated by default, as far as the sample resolves them: ten a decade (R10)
LEVELS: tuple[float, ...] = (
    *(0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.315, 0.25, 0.2, 0.16, 0.125),
    *(0.1, 0.08, 0.063, 0.05, 0.04, 0.0315, 0.025, 0.02, 0.016, 0.0125),
    *(0.01, 0.008, 0.0063, 0.005, 0.004, 0.00315, 0.0025, 0.002, 0.0016, 0.00125, 0.001),
)

#: the number for jets outside of the map
OUTSIDE = -1.0

#: quantiles are within this distance from 0 and 1
MARGIN = 1e-6


#: levels of all passes but the last
_COARSE = frozenset((0.99, 0.95, 0.8, 0.6, 0.4, 0.25, 0.16, 0.1, 0.063, 0.04, 0.025, 0.016, 0.01, 0.005, 0.002))


@dataclass(frozen=True)
class _Pass:
    """One transformation of the score to quantiles.

    Attributes
    ----------
    nodes : float64[levels, nodes]
        The scores.
    quantiles : float64[levels]
        From 0 to 1.
    """

    nodes: Floats
    quantiles: Floats

    @property
    def levels(self) -> list[float]:
        """The efficiencies between."""
        return [round(float(1 - value), 12) for value in self.quantiles[1:-1]]


class QuantileMap(DecorrelationMap):
    """The conditional quantile of a score in the background, within (0, 1), larger for signal.

    A jet passes at the background efficiency e if its number is at least 1 - e.
    """

    method: ClassVar[str] = "quantiles"

    def cut(self, efficiency: str | float | None = None) -> float:
        """The lowest number of jets that pass: 1 minus the efficiency.

        Raises
        ------
        ConfigError
            If the efficiency is not a number between 0 and 1.
        """
        if isinstance(efficiency, str):
            try:
                efficiency = float(efficiency)
            except ValueError:
                efficiency = None
        if not is_number(efficiency) or not 0 < efficiency < 1:
            raise ConfigError(
                f"{self._name}: a map of quantiles takes any background efficiency between 0 and 1, got {efficiency!r}"
            )
        return 1 - efficiency

    def _is_outside(self, numbers: Any) -> Any:
        return numbers < 0

    def _rows(self) -> list[list[str]]:
        levels = self.record["passes"][0]["levels"]
        curves = np.asarray(self.record["passes"][0]["curves"])
        rows = [["efficiency", "lowest threshold", "highest threshold"]]
        for level, row in zip(levels, curves[1:-1], strict=True):
            rows.append([f"{level:g}", f"{row.min():.6g}", f"{row.max():.6g}"])
        return rows

    def _context(self) -> list[str]:
        return [*super()._context(), *grid_lines(self.record)]


def fit_quantiles(
    discriminant: Discriminant | str,
    background: Any,
    *,
    weights: Any = None,
    axes: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
    levels: Sequence[float] | None = None,
    smoothing: str = "gaussian",
    width: float = 0.5,
    neighbours: int = 5000,
    passes: int = 3,
    sparse: str = "merge",
    least: float = 10.0,
    prefix: str | None = None,
    collection: str = "FatJet",
    model: Any = None,
    name: str = "",
) -> QuantileMap:
    """Fit a map to conditional quantiles of a background.

    In each bin the scores at many efficiencies are determined. Between them the quantile is linear in the score,
    between bins it is linear in the columns.

    Parameters
    ----------
    discriminant, background, weights, axes, columns, smoothing, width, neighbours, sparse, least, prefix, collection, \
model, name
        As for `fit_thresholds`.
    levels : sequence of float, optional
        Efficiencies at which the scores are tabulated and that must be resolved in each bin. Default: those of `LEVELS`
        that three quarters of the bins resolve; the others are merged, as far as possible. The tails beyond are
        tabulated, too, but are as precise as the number of jets in them.
    passes : int
        The first pass takes the scores at some of the levels to quantiles. Where the score depends on the columns
        within a bin, these still depend on them a little; each further pass takes the quantiles of the one before to
        their own quantiles.

    Returns
    -------
    QuantileMap

    Raises
    ------
    ConfigError, UnknownName, InvalidValues, MissingColumns, MismatchError
        As for `fit_thresholds`.

    Examples
    --------
    >>> random = np.random.default_rng(1)
    >>> jets = {"msoftdrop": random.uniform(50, 200, 20000), "pt": random.uniform(300, 600, 20000)}
    >>> jets["x"] = random.random(20000) * jets["msoftdrop"] / 200
    >>> made = fit_quantiles("x", jets, axes={"mass": 5})
    >>> round(made({"x": 0.45, "msoftdrop": 100.0}), 1)
    0.9
    """
    item = as_discriminant(discriminant)
    axes = AXES if axes is None else axes
    check_options("fit_quantiles()", smoothing=smoothing, sparse=sparse, width=width, least=least)
    inputs = inputs_of(axes, columns)
    sample = background_sample(
        item, background, inputs, weights=weights, prefix=prefix, collection=collection, model=model
    )
    grid = make_grid(axes, sample)
    used = _default_levels(grid, sample, least) if levels is None else _checked_levels(levels)
    in_range(passes, "fit_quantiles(), argument passes", 1, 5)
    steps: list[_Pass] = []
    current = sample
    for number in range(1, passes + 1):
        every = [*used, *(value for value in LEVELS if value < used[-1] / 1.1)]
        of_pass = every if number == passes else [value for value in every if value in _COARSE]
        curves = binned_curves(
            grid,
            current,
            of_pass,
            resolved=used,
            strict=levels is not None,
            least=least,
            sparse=sparse,
            neighbours=neighbours if smoothing == "neighbours" else None,
        )
        nodes, _, _, relative = at_nodes(grid, curves, smoothing, width)
        steps.append(_Pass(nodes, np.array([0.0, *(1 - value for value in of_pass), 1.0])))
        if number < passes:
            current = _transformed(item, grid, steps, relative, inputs, sample)
    record = {
        **grid_record(grid, sample, curves, smoothing=smoothing, width=width, neighbours=neighbours, least=least),
        "levels": list(used),
        "passes": [{"levels": step.levels, "curves": step.nodes.tolist()} for step in steps],
        "effective_jets": (1 / relative).tolist(),
    }

    def corrections(title: str) -> list[dict[str, Any]]:
        return [_correction(title, item, grid, steps, relative, inputs)]

    return QuantileMap(
        map_text(
            "quantiles",
            item,
            sample,
            name=name,
            inputs=inputs,
            record=record,
            corrections=corrections,
            outside=OUTSIDE,
            efficiencies={},
        )
    )


def _checked_levels(levels: Sequence[float]) -> list[float]:
    for value in levels:
        if not is_number(value) or not 0 < value < 1:
            raise ConfigError(f"levels: an efficiency lies between 0 and 1, got {value!r}")
    made = sorted({float(value) for value in levels}, reverse=True)
    if len(made) < 2:
        raise ConfigError(f"levels: expected at least two different efficiencies, got {list(levels)}")
    return made


def _default_levels(grid: ColumnGrid, sample: BackgroundSample, least: float) -> list[float]:
    """Those that three quarters of the bins with jets resolve."""
    index = grid.index(sample.columns)
    used = np.isfinite(sample.scores) & (index >= 0)
    sums = np.bincount(index[used], sample.weights[used], grid.size)
    squares = np.bincount(index[used], sample.weights[used] ** 2, grid.size)
    effective = np.where(sums > 0, sums, 0) ** 2 / np.where(squares > 0, squares, 1)
    filled = effective[effective > 0]
    usual = float(np.quantile(filled, 0.25)) if len(filled) else 0.0
    resolved = [value for value in LEVELS if usual * min(value, 1 - value) >= least]
    if len(resolved) < 2:
        curve = ThresholdCurve(sample.scores[used], sample.weights[used])
        needed = least / min(LEVELS[6], 1 - LEVELS[6])
        raise InvalidValues(
            f"{curve.jets} jets (effectively {curve.effective:.0f}) in {grid.size} bins are too few for quantiles: a "
            f"quarter of the bins has less than {usual:.0f} effective jets, it takes {needed:.0f}: fewer bins, or a "
            "larger sample"
        )
    return resolved


def _correction(
    title: str,
    item: Discriminant,
    grid: ColumnGrid,
    steps: Sequence[_Pass],
    relative: Floats,
    inputs: Mapping[str, str],
) -> dict[str, Any]:
    """The tree: the score becomes its quantile in each pass, which is shifted for the systematic variations."""
    axes = [axis.input for axis in grid.axes]
    letters = ["y", "z", "t"][: len(axes)]
    half = 2 ** len(axes)
    value = multilinear_text(len(axes), 1, letters)
    slope = multilinear_text(len(axes), 1 + half, letters)
    # the slope belongs to the distance from the lower end, which keeps steep parts exact
    segment = {**formula_node(f"{value}+(x-[0])*{slope}", ["score", *axes]), "parameters": []}
    sigma = f"sqrt(max(x*(1-x)*{multilinear_text(len(axes), 0, letters)},0))"
    shifts: dict[str, list[Any]] = {"up": [], "down": []}
    for place, corners in grid.cells():
        coefficients = multilinear(relative[corners], place).tolist()
        for key, sign in (("up", "-"), ("down", "+")):
            text = f"max(min(x{sign}{sigma},{1 - MARGIN!r}),{MARGIN!r})"
            shifts[key].append(formula_node(text, ["score", *axes], coefficients))
    tree: Any = category(
        "systematic",
        {
            "nominal": formula_node("x", ["score"]),
            **{key: grid.in_cells_only(contents, OUTSIDE) for key, contents in shifts.items()},
        },
    )
    for step in reversed(steps):
        cells = [_score_tree(step.nodes[:, corners], step.quantiles, place) for place, corners in grid.cells()]
        rule = grid.in_cells_only(cells, OUTSIDE)
        tree = {"nodetype": "transform", "input": "score", "rule": rule, "content": tree}
    return {
        "name": title,
        "description": f"Quantile of {item} in the background at the same "
        f"{', '.join(axis.name for axis in grid.axes)}; a jet passes at the "
        f"background efficiency e if it is at least 1 - e. {OUTSIDE:g} outside.",
        "version": 1,
        "inputs": variables(inputs, score=str(item)),
        "output": {"name": "quantile", "type": "real", "description": "uniform for the background"},
        "generic_formulas": [segment],
        "data": grid.guarded(grid.in_coordinates(tree, OUTSIDE), OUTSIDE),
    }


def _transformed(
    item: Discriminant,
    grid: ColumnGrid,
    steps: Sequence[_Pass],
    relative: Floats,
    inputs: Mapping[str, str],
    sample: BackgroundSample,
) -> BackgroundSample:
    """The sample with quantiles instead of scores; NaN outside of the map."""
    import correctionlib

    content = {"schema_version": 2, "corrections": [_correction("pass", item, grid, steps, relative, inputs)]}
    evaluator = correctionlib.CorrectionSet.from_string(json.dumps(content))["pass"]
    numbers = evaluator.evaluate("nominal", sample.scores, *(sample.columns[name] for name in inputs))
    return replace(sample, scores=np.where(np.isfinite(sample.scores) & (numbers >= 0), numbers, np.nan))


def _score_tree(thresholds: Floats, quantiles: Floats, place: Sequence[int]) -> dict[str, Any]:
    """The quantile as a function of the score in one cell: linear between the thresholds of all its corners."""
    edges = distinct(thresholds)
    starts, ends = edges[:-1], edges[1:]
    low = np.stack([_at(thresholds[:, corner], quantiles, starts, "right") for corner in range(thresholds.shape[1])], 1)
    high = np.stack([_at(thresholds[:, corner], quantiles, ends, "left") for corner in range(thresholds.shape[1])], 1)
    steep = (high - low) / (ends - starts)[:, None]
    parameters = np.hstack([starts[:, None], multilinear(low, place), multilinear(steep, place)])
    # never 0 or 1, also outside of the range of the scores
    flat = (1 - 2 * MARGIN) * parameters[:, 1:]
    flat[:, 0] += MARGIN
    contents: list[Any] = [MARGIN]
    for numbers in np.hstack([starts[:, None], _digits(flat, 10)]).tolist():
        contents.append({"nodetype": "formularef", "index": 0, "parameters": numbers})
    return binning_node("score", [-np.inf, *edges, np.inf], [*contents, 1 - MARGIN], OUTSIDE)


def _digits(numbers: Floats, digits: int) -> Floats:
    """Numbers with so many digits, for shorter files."""
    safe = np.where(numbers == 0, 1.0, np.abs(numbers))
    scale = 10.0 ** (digits - 1 - np.floor(np.log10(safe)))
    return np.asarray(np.round(numbers * scale) / scale)


def _at(thresholds: Floats, quantiles: Floats, scores: Floats, side: str) -> Floats:
    """The quantiles of one curve at scores, or the limit from below; thresholds may be equal."""
    if side == "right":
        place = np.searchsorted(thresholds, scores, side="right") - 1
        below, above = np.maximum(place, 0), np.minimum(place + 1, len(thresholds) - 1)
    else:
        place = np.searchsorted(thresholds, scores, side="left")
        below, above = np.maximum(place - 1, 0), np.minimum(place, len(thresholds) - 1)
    distance = thresholds[above] - thresholds[below]
    fraction = np.clip((scores - thresholds[below]) / np.where(distance > 0, distance, 1), 0, 1)
    inside = quantiles[below] + fraction * (quantiles[above] - quantiles[below])
    return np.where(scores < thresholds[0], 0.0, np.where(scores > thresholds[-1], 1.0, inside))


guard(globals(), "fit_quantiles")
