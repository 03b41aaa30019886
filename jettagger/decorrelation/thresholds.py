"""Maps of thresholds: at constant background efficiency in bins of protected columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from jettagger.arguments import guard, in_range, is_number
from jettagger.decorrelation.grid import (
    AXES,
    SMOOTHINGS,
    BinnedCurves,
    ColumnGrid,
    at_nodes,
    binned_curves,
    inputs_of,
    make_grid,
    multilinear,
    multilinear_text,
)
from jettagger.decorrelation.mapfile import DecorrelationMap, as_discriminant, category, map_text, variables
from jettagger.discriminants import Discriminant
from jettagger.discriminants.derived import NEVER, SYSTEMATICS, BackgroundSample, background_sample
from jettagger.errors import ConfigError, UnknownName
from jettagger.types import Floats

__all__ = ["EFFICIENCIES", "ThresholdMap", "fit_thresholds"]

#: default background efficiencies
EFFICIENCIES: Mapping[str, float] = {"eff10": 0.1, "eff5": 0.05, "eff2": 0.02, "eff1": 0.01}


#: fraction of jets with one score above which a table says so
TIED = 0.002


class ThresholdMap(DecorrelationMap):
    """Thresholds on a discriminant at constant background efficiency in protected columns.

    The number of a jet is its score minus the threshold of an efficiency: jets with numbers of at least 0 pass.
    """

    method: ClassVar[str] = "thresholds"

    def _selected(self, efficiency: str | float | None) -> str:
        if efficiency is None and len(self.efficiencies) == 1:
            return next(iter(self.efficiencies))
        if efficiency is None:
            raise ConfigError(f"{self._name}: choose one of the efficiencies {', '.join(self.efficiencies)}")
        if isinstance(efficiency, str):
            if efficiency not in self.efficiencies:
                raise UnknownName("efficiency", efficiency, self.efficiencies, self._name)
            return efficiency
        for key, value in self.efficiencies.items():
            if value == efficiency:
                return key
        listed = ", ".join(f"{value:g}" for value in self.efficiencies.values())
        raise ConfigError(f"{self._name}: has no efficiency {efficiency:g}, expected one of {listed}")

    def cut(self, efficiency: str | float | None = None) -> float:
        """The lowest number of jets that pass: 0.

        Raises
        ------
        UnknownName, ConfigError
            If the efficiency does not exist.
        """
        self._selected(efficiency)
        return 0.0

    def threshold(self, efficiency: str | float, *, systematic: str = "nominal", **columns: Any) -> Any:
        """The threshold for given protected columns.

        Parameters
        ----------
        efficiency : str or float
        systematic : {"nominal", "up", "down"}
        **columns : array or float
            The inputs, e.g. ``mass=..., pt=...`` in GeV.

        Returns
        -------
        array or float
            1e30 outside of the map.

        Raises
        ------
        ConfigError
            If an input is missing.
        UnknownName
            If an input, the efficiency or the systematic does not exist.
        """
        unknown = [key for key in columns if key not in self.inputs]
        if unknown:
            raise UnknownName("input", unknown, self.inputs, self._name)
        missing = [key for key in self.inputs if key not in columns]
        if missing:
            raise ConfigError(f"{self._name}: depends on {missing[0]}: give {missing[0]}=...")
        if systematic not in SYSTEMATICS:
            raise UnknownName("systematic", systematic, SYSTEMATICS)
        point = self._selected(efficiency)
        others = [columns[key] for key in self.inputs]
        return self.corrections[f"{self.name}_threshold"].evaluate(point, systematic, *others)

    def _rows(self) -> list[list[str]]:
        axes = self.record["axes"]
        rows = [["efficiency", "value", "lowest threshold", "highest threshold", "largest uncertainty", "bins"]]
        bins = " x ".join(str(len(axis["edges"]) - 1) for axis in axes.values())
        for key, value in self.efficiencies.items():
            entry = self.record["thresholds"][key]
            low, high = min(entry["nominal"]), max(entry["nominal"])
            sigma = max((up - down) / 2 for up, down in zip(entry["up"], entry["down"], strict=True))
            rows.append([key, f"{value:g}", f"{low:.6g}", f"{high:.6g}", f"{sigma:.2g}", bins])
        return rows

    def _context(self) -> list[str]:
        return [*super()._context(), *grid_lines(self.record)]


def fit_thresholds(
    discriminant: Discriminant | str,
    background: Any,
    efficiencies: Mapping[str, float] | Sequence[float] | None = None,
    *,
    weights: Any = None,
    axes: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
    smoothing: str = "gaussian",
    width: float = 0.5,
    neighbours: int = 5000,
    interpolate: bool = True,
    passes: int = 3,
    sparse: str = "merge",
    least: float = 10.0,
    prefix: str | None = None,
    collection: str = "FatJet",
    model: Any = None,
    name: str = "",
) -> ThresholdMap:
    """Fit a map of thresholds at constant background efficiency.

    Parameters
    ----------
    discriminant : Discriminant or str
        The score, larger for signal; as text a preset, an expression (``1 - tau2 / tau1``) or the name of a column.
    background : jets
        A background sample, in any form accepted by discriminants.
    efficiencies : mapping or sequence of float, optional
        Name -> background efficiency; of a sequence the names are ``eff10`` for 0.1 and so on. Default: 10, 5, 2, 1 %.
    weights : array or False, optional
        One per jet or one per event; default: the generator weights of the table, if any. False: none.
    axes : mapping, optional
        ``mass``, ``pt``, ``rho`` (``ln(m^2 / pt^2)``) or the name of any column -> bin edges, or a number of bins
        within the range of the sample, equidistant in the mean of rank and value. One to three; default:
        ``{"mass": 16, "pt": 6}``.
    columns : mapping, optional
        The columns of axes; default: ``msoftdrop`` for mass, otherwise the name of the axis.
    smoothing : {"gaussian", "neighbours", "monotone", "none"}
        Between bins. ``gaussian``: for each bin a local linear fit to the thresholds around it with Gaussian weights
        and effective numbers of jets; ``monotone``: the same with the inverse variance of each threshold;
        ``neighbours``: thresholds of the jets nearest to the centre of each bin. In all cases an isotonic regression
        keeps thresholds from falling with falling efficiency.
    width : float
        Of the Gaussian, in bins.
    neighbours : int
        Number of nearest jets.
    interpolate : bool
        Whether thresholds are linear between the centres of the bins, and constant beyond half a bin from the last;
        otherwise they are constant in each bin.
    passes : int
        With interpolation: each pass after the first moves the thresholds such that the interpolated ones have the
        efficiency in each bin.
    sparse : {"merge", "refuse"}
        What is done with bins that do not resolve an efficiency: jets of up to three bins around are added, and the
        record says so, or it is an error.
    least : float
        Minimum effective number of passing jets, and of failing jets, per efficiency and bin.
    prefix, collection, model
        As for discriminants and working points.
    name : str
        Of the map; default: that of the discriminant.

    Returns
    -------
    ThresholdMap

    Raises
    ------
    ConfigError, UnknownName
        If an option is invalid.
    InvalidValues
        If a bin has too few jets (says how many it takes), or a protected column is constant or missing everywhere.
    MissingColumns, MismatchError
        As for `jettagger.discriminants.derive`.

    Examples
    --------
    >>> random = np.random.default_rng(1)
    >>> jets = {"msoftdrop": random.uniform(50, 200, 20000), "pt": random.uniform(300, 600, 20000)}
    >>> jets["x"] = random.random(20000) * jets["msoftdrop"] / 200
    >>> made = fit_thresholds("x", jets, {"tight": 0.1}, axes={"mass": 5})
    >>> round(float(made.threshold("tight", mass=150.0)), 1)
    0.7
    """
    item = as_discriminant(discriminant)
    axes = AXES if axes is None else axes
    wanted = named_efficiencies(EFFICIENCIES if efficiencies is None else efficiencies)
    check_options("fit_thresholds()", smoothing=smoothing, sparse=sparse, width=width, least=least)
    inputs = inputs_of(axes, columns)
    sample = background_sample(
        item, background, inputs, weights=weights, prefix=prefix, collection=collection, model=model
    )
    grid = make_grid(axes, sample)
    falling = sorted(wanted, key=lambda key: -wanted[key])
    in_range(passes, "fit_thresholds(), argument passes", 1, 10)
    nearest = neighbours if smoothing == "neighbours" else None
    numbers = [wanted[key] for key in falling]
    curves = binned_curves(grid, sample, numbers, least=least, sparse=sparse, neighbours=nearest)
    for _ in range(passes - 1 if interpolate else 0):
        # the efficiency of interpolated thresholds differs from that of the thresholds of bins: correct the bins
        smooth, *_ = at_nodes(grid, curves, smoothing, width)
        shifts_of_bins = []
        for efficiency, row in zip(numbers, smooth[1:-1], strict=True):
            above = replace(sample, scores=sample.scores - grid.interpolated(row, sample.columns))
            again = binned_curves(grid, above, [efficiency], least=least, sparse=sparse, neighbours=nearest)
            shifts_of_bins.append(again.thresholds[0])
        curves = curves.shifted(np.stack(shifts_of_bins))
    nodes = at_nodes(grid, curves, smoothing, width, interpolate=interpolate)
    shifts = dict(zip(SYSTEMATICS, nodes[:3], strict=True))
    record = {
        **grid_record(grid, sample, curves, smoothing=smoothing, width=width, neighbours=neighbours, least=least),
        "interpolate": interpolate,
        "passes": passes,
        "thresholds": {
            key: {shift: rows[1 + number].tolist() for shift, rows in shifts.items()}
            for number, key in enumerate(falling)
        },
    }

    def tree(rows: Floats, formula: str, variable: Sequence[str]) -> Any:
        """Thresholds, or what a formula makes of them."""
        if not interpolate:
            contents = [_leaf(float(value), formula, variable) for value in rows]
            return grid.in_bins(contents, NEVER)
        contents = []
        for place, corners in grid.cells():
            values = rows[corners]
            if np.ptp(values) == 0:
                contents.append(_leaf(float(values[0]), formula, variable))
                continue
            contents.append(_cell(multilinear(values, place), formula, variable, [axis.input for axis in grid.axes]))
        return grid.in_cells(contents, NEVER)

    def corrections(title: str) -> list[dict[str, Any]]:
        listed = ", ".join(f"{key} {value:g}" for key, value in wanted.items())
        point = {"name": "WorkingPoint", "type": "string", "description": f"background efficiency: {listed}"}
        made = []
        for kind, formula, variable, outside in (("", "x", ["score"], -NEVER), ("_threshold", "", [], NEVER)):
            data = category(
                "WorkingPoint",
                {
                    key: category(
                        "systematic",
                        {
                            shift: tree(shifts[shift][1 + falling.index(key)], formula, variable)
                            for shift in SYSTEMATICS
                        },
                    )
                    for key in wanted
                },
            )
            meaning = f"{item} minus its threshold: a jet passes if it is at least 0" if not kind else "on the score"
            made.append(
                {
                    "name": f"{title}{kind}",
                    "description": f"Threshold on {item} at constant background efficiency; {outside:g} outside.",
                    "version": 1,
                    "inputs": variables(inputs, point, score=str(item) if not kind else ""),
                    "output": {"name": "threshold" if kind else "number", "type": "real", "description": meaning},
                    "data": grid.guarded(data, outside),
                }
            )
        return made

    return ThresholdMap(
        map_text(
            "thresholds",
            item,
            sample,
            name=name,
            inputs=inputs,
            record=record,
            corrections=corrections,
            outside=-NEVER,
            efficiencies=wanted,
        )
    )


def _leaf(threshold: float, formula: str, variable: Sequence[str]) -> Any:
    if not formula:
        return threshold
    return {
        "nodetype": "formula",
        "expression": f"{formula}-[0]",
        "parser": "TFormula",
        "variables": list(variable),
        "parameters": [threshold],
    }


def _cell(parameters: Floats, formula: str, variable: Sequence[str], inputs: Sequence[str]) -> Any:
    letters = ["x", "y", "z", "t"][len(variable) :][: len(inputs)]
    text = multilinear_text(len(inputs), 0, letters)
    return {
        "nodetype": "formula",
        "expression": f"{formula}-{text}" if formula else text,
        "parser": "TFormula",
        "variables": [*variable, *inputs],
        "parameters": parameters.tolist(),
    }


def named_efficiencies(given: Mapping[str, float] | Sequence[float]) -> dict[str, float]:
    """Efficiencies by name.

    Raises
    ------
    ConfigError
        If there are none, or one is not between 0 and 1, or two have the same name.

    Examples
    --------
    >>> named_efficiencies([0.1, 0.005])
    {'eff10': 0.1, 'eff0p5': 0.005}
    """
    if not isinstance(given, Mapping):
        listed = list(given)
        given = {f"eff{100 * value:g}".replace(".", "p") if is_number(value) else str(value): value for value in listed}
        if len(given) < len(listed):
            raise ConfigError(f"the same efficiency twice: {listed}")
    if not given:
        raise ConfigError("got no efficiencies, expected names and numbers such as {'loose': 0.05}")
    for key, value in given.items():
        if not is_number(value) or not 0 < value < 1:
            raise ConfigError(f"efficiency {key!r}: an efficiency lies between 0 and 1, got {value!r}")
    return {str(key): float(value) for key, value in given.items()}


def check_options(what: str, *, smoothing: str, sparse: str, width: float, least: float) -> None:
    """Refuse unknown options.

    Raises
    ------
    UnknownName, ConfigError
    """
    if smoothing not in SMOOTHINGS:
        raise UnknownName("smoothing", smoothing, SMOOTHINGS, what)
    if sparse not in ("merge", "refuse"):
        raise UnknownName("treatment of sparse bins", sparse, ("merge", "refuse"), what)
    in_range(least, f"{what}, argument least", 0)
    if not width > 0:
        raise ConfigError(f"{what}, argument width: expected a number of bins above zero, got {width!r}")


def grid_record(
    grid: ColumnGrid,
    sample: BackgroundSample,
    curves: BinnedCurves,
    **options: Any,
) -> dict[str, Any]:
    """What a record says about the bins."""
    scored = np.isfinite(sample.scores)
    inside = scored & (grid.index(sample.columns) >= 0)
    _, inverse = np.unique(sample.scores[inside], return_inverse=True)
    shares = np.bincount(inverse, np.abs(sample.weights[inside]))
    merged = [
        {
            "bin": grid.label(int(number)),
            "jets": int(curves.jets[number]),
            "bins_to_each_side": int(curves.reach[number]),
        }
        for number in np.flatnonzero(curves.reach)
    ]
    return {
        "jets": int(inside.sum()),
        "outside": int((scored & ~inside).sum()),
        "largest_tie": float(shares.max() / shares.sum()),
        "axes": {
            axis.name: {"edges": axis.edges.tolist(), "centres": axis.centres.tolist(), "nodes": axis.nodes.tolist()}
            for axis in grid.axes
        },
        **options,
        "bin_jets": curves.jets.tolist(),
        "bin_effective": curves.effective.tolist(),
        "merged": merged,
        "empty": int((curves.jets == 0).sum()),
    }


def grid_lines(record: Mapping[str, Any]) -> list[str]:
    """What a table says about the bins."""
    lines = [
        f"{name}: {len(axis['edges']) - 1} bins from {float(axis['edges'][0]):.6g} to {float(axis['edges'][-1]):.6g}"
        for name, axis in record["axes"].items()
    ]
    count = len(record["merged"])
    if record["largest_tie"] > TIED:
        lines.append(
            f"equal scores: {100 * record['largest_tie']:.2g} % of the jets have the same one; efficiencies that "
            "would divide them are not reached"
        )
    text = f"smoothing: {record['smoothing']}"
    text += f", width {record['width']:g} bins" if record["smoothing"] in ("gaussian", "monotone") else ""
    text += f", {record['neighbours']} jets" if record["smoothing"] == "neighbours" else ""
    lines.append(text)
    if count:
        lines.append(
            f"bins with jets of those around them: {count} of {len(record['bin_jets'])}, {record['empty']} without jets"
        )
    return lines


guard(globals(), "fit_thresholds")
