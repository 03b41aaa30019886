"""Efficiencies of a tagger in simulation, by sample and category of jets, as a correction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from jettagger._version import __version__
from jettagger.arguments import guard
from jettagger.calibration.binning import BinAxis, bin_label, check_axes, inside
from jettagger.calibration.correctionfile import CorrectionFile, described, validated_text
from jettagger.calibration.formula import BandYields, efficiencies
from jettagger.calibration.layouts import category_node
from jettagger.display import Grid, ObjectSummary, aligned, some
from jettagger.errors import ConfigError, InputFileError, InvalidValues, MismatchError, UnknownName
from jettagger.provenance import origin
from jettagger.statistics.bins import groups
from jettagger.types import Bools, Floats

__all__ = ["ALL_SAMPLES", "EfficiencyMap", "efficiency_map"]

_FORMAT = "efficiencies 1"

#: the sum of the samples, for samples that are not in the map
ALL_SAMPLES = "all"

_SYSTEMATICS = ("nominal", "up", "down")


class EfficiencyMap(CorrectionFile):
    """Efficiencies of working points in simulation, by sample and category. A value: its pickle is the JSON text.

    Made by :func:`efficiency_map` or :meth:`load`.

    Parameters
    ----------
    text : str
        The correctionlib JSON.
    name : str
        Its name in messages, e.g. that of the file.

    Attributes
    ----------
    name : str
        Of the correction.
    discriminant : str
    points : tuple of str
        The loosest first.
    thresholds : tuple of float
    axes : tuple of BinAxis
        Jets outside of the bins get the efficiency of the nearest one.
    cells : dict of str to tuple of str
        Sample -> its categories. The sample ``all`` is the sum of the samples.
    origin : Origin or None
        The model of the scores, if known.
    record : dict
        Merged bins, effective numbers of jets.

    Raises
    ------
    InputFileError
        If the text is not correctionlib JSON or was not written by jettagger.
    """

    title: ClassVar[str] = "efficiencies"

    def __init__(self, text: str, name: str = "") -> None:
        super().__init__(text, name)
        record = described(self._content, _FORMAT.rpartition(" ")[0])
        if record is None or record.get("format") != _FORMAT:
            raise InputFileError(
                f"{self._name}: not a map of efficiencies as jettagger writes them: found the corrections "
                f"{some([str(item.get('name')) for item in self._content['corrections']])}"
            )
        try:
            self.name = str(record["name"])
            self.discriminant = str(record["discriminant"])
            self.points = tuple(map(str, record["points"]))
            self.thresholds = tuple(map(float, record["thresholds"]))
            self.axes = tuple(BinAxis.from_dict(axis) for axis in record["axes"])
            self.cells = {str(sample): tuple(map(str, names)) for sample, names in record["cells"].items()}
            self.origin = None if record["model"] is None else origin(record["model"])
            self.record: dict[str, Any] = dict(record["record"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputFileError(f"{self._name}: damaged description of efficiencies: {error!r}") from error

    def __repr__(self) -> str:
        return f"<EfficiencyMap {self.name}: {', '.join(self.points)}; {some(list(self.cells))}>"

    @property
    def columns(self) -> dict[str, str]:
        """Axis -> column of the jets."""
        return {axis.name: axis.column for axis in self.axes}

    def sample(self, name: str) -> str:
        """The sample of the map that holds for a sample: itself, or the sum of all.

        Raises
        ------
        UnknownName
            If the map has neither.
        """
        if name in self.cells:
            return name
        if ALL_SAMPLES in self.cells:
            return ALL_SAMPLES
        raise UnknownName("sample", name, self.cells, self._name)

    def evaluate(
        self, sample: str, category: str, point: str, columns: Mapping[str, Any], systematic: str = "nominal"
    ) -> Floats:
        """The efficiencies for jets.

        Parameters
        ----------
        sample, category, point : str
        columns : mapping of str to float array
            Flat columns of the jets, see `columns`.
        systematic : {"nominal", "up", "down"}
            Shifted by the uncertainty due to the number of simulated jets, between 0 and 1.

        Returns
        -------
        float64[jets]
            NaN where a column is missing.

        Raises
        ------
        UnknownName
            If the sample, category, working point, systematic or column does not exist.
        """
        chosen = self.sample(sample)
        for kind, value, known in (
            ("category", category, self.cells[chosen]),
            ("working point", point, self.points),
            ("systematic", systematic, _SYSTEMATICS),
        ):
            if value not in known:
                where = f"{self._name}, sample {chosen!r}" if kind == "category" else self._name
                raise UnknownName(kind, value, known, where)
        missing = [axis.column for axis in self.axes if axis.column not in columns]
        if missing:
            raise UnknownName("column", missing, columns, f"the columns for {self._name}")
        numbers = [np.atleast_1d(axis.numbers(columns)) for axis in self.axes]
        good = np.logical_and.reduce([np.isfinite(array) for array in numbers])
        result = np.full(numbers[0].shape, np.nan)
        evaluate = self.corrections[self.name].evaluate
        result[good] = evaluate(chosen, category, point, systematic, *(array[good] for array in numbers))
        return result

    def is_outside(self, columns: Mapping[str, Any]) -> Bools:
        """Which jets are outside of the bins, bool[jets]."""
        return np.asarray(~inside(self.axes, columns))

    def table(self) -> str:
        """The efficiencies as text, one line per sample, category, working point and bin."""
        return "\n".join([*(f"{name}: {text}" for name, text in self._facts() if text), "", *aligned(self._rows())])

    def _facts(self) -> list[tuple[str, str]]:
        model = "not known" if self.origin is None else f"{self.origin.model}, digest {self.origin.digest}"
        points = ", ".join(f"{name} {cut:g}" for name, cut in zip(self.points, self.thresholds, strict=True))
        merged = "; ".join(f"{key}: {value}" for key, value in self.record.get("merged", {}).items())
        return [("discriminant", self.discriminant), ("model", model), ("points", points), ("merged bins", merged)]

    def _rows(self) -> list[list[str]]:
        grid = np.meshgrid(*(axis.inner for axis in self.axes), indexing="ij")
        columns = {axis.column: item.ravel() for axis, item in zip(self.axes, grid, strict=True)}
        places = list(np.ndindex(tuple(axis.size for axis in self.axes)))
        rows = [["sample", "category", "working point", "bin", "efficiency", "uncertainty"]]
        for sample, categories in self.cells.items():
            for category in categories:
                for point in self.points:
                    value, up, down = (self.evaluate(sample, category, point, columns, key) for key in _SYSTEMATICS)
                    for number, place in enumerate(places):
                        sigma = (up[number] - down[number]) / 2
                        where = bin_label(self.axes, place)
                        rows.append([sample, category, point, where, f"{value[number]:.4g}", f"{sigma:.2g}"])
        return rows

    def summary(self) -> ObjectSummary:
        """What they are, and the efficiencies, for display."""
        header, *rows = self._rows()
        return ObjectSummary(f"EfficiencyMap {self.name}", self._facts(), [Grid("Efficiencies", header, rows, 2)])


def efficiency_map(
    yields: Mapping[str, Mapping[str, BandYields]],
    *,
    name: str,
    points: Sequence[str],
    discriminant: str = "",
    min_effective_jets: float = 0.0,
    total: bool = True,
    model: Any = None,
) -> EfficiencyMap:
    """Efficiencies from counted jets of simulation.

    Parameters
    ----------
    yields : mapping of str to (mapping of str to BandYields)
        Sample -> category -> jets, all in the same bins, with axes and thresholds.
    name : str
        Of the correction.
    points : sequence of str
        Names of the working points, the loosest first.
    discriminant : str
        Name or formula.
    min_effective_jets : float
        Neighbouring bins in pt are merged until each has this effective number of jets, which is recorded. Without,
        a bin without jets is an error.
    total : bool
        Whether the sum of the samples is stored as ``all``, which holds for samples that are not in the map.
    model : path, mapping, Tagger or Bundle, optional
        Origin of the scores.

    Returns
    -------
    EfficiencyMap

    Raises
    ------
    ConfigError
        If there are no yields, they have no axes or thresholds, the number of points differs, or a sample has the
        reserved name.
    MismatchError
        If bins or thresholds differ.
    InvalidValues
        If a bin has no jets or a sum of weights is negative; gives sample, category and bin.

    Examples
    --------
    >>> jets = BandYields(np.array([[60.0, 50], [40, 50]]), axes=[BinAxis("pt", [200, 400, 800])], thresholds=[0.9])
    >>> made = efficiency_map({"tt": {"signal": jets}}, name="hbb", points=["tight"])
    >>> made.evaluate("tt", "signal", "tight", {"pt": [250.0, 1000.0]})
    array([0.4, 0.5])
    """
    filled = {sample: dict(parts) for sample, parts in yields.items() if parts}
    every = [(sample, category, part) for sample, parts in filled.items() for category, part in parts.items()]
    if not every:
        raise ConfigError("efficiencies: no yields of any sample and category")
    if total and ALL_SAMPLES in filled:
        raise ConfigError(f"efficiencies: a sample cannot be called {ALL_SAMPLES!r}, which is the sum; or total=False")
    first = every[0][2]
    check_axes(first.axes, "efficiencies")
    if len(first.thresholds) != len(points):
        raise ConfigError(
            f"efficiencies: {len(points)} working points ({', '.join(points)}) for {len(first.thresholds)} thresholds"
        )
    for sample, category, part in every:
        if part.values.shape != first.values.shape or not part.axes or part.thresholds != first.thresholds:
            raise MismatchError(
                f"efficiencies: {sample}, {category} has bands {part.thresholds} and bins of shape "
                f"{part.values.shape[1:]}, others {first.thresholds} and {first.values.shape[1:]}"
            )
        first.require_like(part)
    if total:
        sums: dict[str, BandYields] = {}
        for _, category, part in every:
            sums[category] = sums[category] + part if category in sums else part
        filled[ALL_SAMPLES] = sums
    merged: dict[str, str] = {}
    trees, counts = {}, {}
    for sample, parts in filled.items():
        numbers = {}
        for category, part in parts.items():
            label = f"{sample}, {category}"
            values, sigmas, effective, text = _of_cell(part, label, min_effective_jets)
            counts[label] = effective
            if text:
                merged[label] = text
            shifted = {"nominal": values, "up": np.minimum(values + sigmas, 1), "down": np.maximum(values - sigmas, 0)}
            numbers[category] = category_node(
                "working_point",
                {
                    point: category_node(
                        "systematic", {key: _leaf(array[place], first.axes) for key, array in shifted.items()}
                    )
                    for place, point in enumerate(points)
                },
            )
        trees[sample] = category_node("category", numbers)
    made = None if model is None else origin(model)
    record = {
        "format": _FORMAT,
        "name": name,
        "discriminant": discriminant,
        "points": list(points),
        "thresholds": list(first.thresholds),
        "axes": [axis.to_dict() for axis in first.axes],
        "cells": {sample: list(parts) for sample, parts in filled.items()},
        "model": None if made is None else made.to_dict(),
        "jettagger": __version__,
        "record": {"merged": merged, "effective_jets": counts},
    }
    inputs = [
        {"name": "sample", "type": "string", "description": ", ".join(filled)},
        {"name": "category", "type": "string", "description": ", ".join(dict.fromkeys(c for _, c, _ in every))},
        {"name": "working_point", "type": "string", "description": ", ".join(points)},
        {"name": "systematic", "type": "string", "description": "nominal, up, down (one standard deviation)"},
        *({"name": axis.name, "type": "real", "description": axis.column} for axis in first.axes),
    ]
    content = {
        "schema_version": 2,
        "description": json.dumps({"jettagger": record}, allow_nan=False),
        "corrections": [
            {
                "name": name,
                "description": f"Efficiency in simulation of {discriminant or name}; outside of the bins that of the "
                "nearest one.",
                "version": 1,
                "inputs": inputs,
                "output": {"name": "efficiency", "type": "real"},
                "data": category_node("sample", trees),
            }
        ],
    }
    return EfficiencyMap(validated_text(content), f"efficiencies {name!r}")


def _of_cell(part: BandYields, label: str, least: float) -> tuple[Floats, Floats, float, str]:
    """Efficiencies and uncertainties in all bins, the effective number of jets, and what was merged."""
    place = [axis.name for axis in part.axes].index("pt")
    size = part.axes[place].size
    sums = part.values.sum(axis=0), np.asarray(part.variances).sum(axis=0)
    total, squares = float(sums[0].sum()), float(sums[1].sum())
    if not total > 0:
        raise InvalidValues(f"efficiencies of {label}: no jets (sum of weights {total:g}): leave out the category")
    text = ""
    repeats = np.ones(size, dtype=int)
    used = part
    if least > 0:
        rows = [np.moveaxis(array, place, -1).reshape(-1, size) for array in sums]
        contents = {str(number): (rows[0][number], rows[1][number]) for number in range(len(rows[0]))}
        starts, lacking = groups(contents, least)
        if lacking:
            raise InvalidValues(
                f"efficiencies of {label}: effectively {min(lacking.values()):.3g} jets in all bins of pt together, "
                f"expected at least {least:g}: fewer bins in the other axes, or a larger sample"
            )
        if len(starts) < size:
            used = part.merged(starts)
            repeats = np.diff([*starts, size])
            text = ", ".join(used.axes[place].label(number) for number in range(len(starts)) if repeats[number] > 1)
    made = efficiencies(BandYields(used.values, used.variances, used.axes, used.thresholds, f"efficiencies of {label}"))
    wide = [np.repeat(array, repeats, axis=place + 1) for array in (made.values, made.uncertainties)]
    return wide[0], wide[1], total**2 / squares, text


def _leaf(array: Floats, axes: Sequence[BinAxis]) -> dict[str, Any]:
    return {
        "nodetype": "multibinning",
        "inputs": [axis.name for axis in axes],
        "edges": [axis.to_dict()["edges"] for axis in axes],
        "content": [float(number) for number in array.ravel()],
        "flow": "clamp",
    }


guard(globals())
