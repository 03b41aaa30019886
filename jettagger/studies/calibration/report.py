"""The report of a calibration: numbers as JSON, tables as Markdown, pictures."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jettagger.arguments import guard
from jettagger.calibration.binning import bin_label
from jettagger.provenance import KEY, Provenance
from jettagger.studies.calibration.config import CalibrationConfig
from jettagger.studies.calibration.figures import figures
from jettagger.studies.calibration.fits import BinFit
from jettagger.studies.calibration.naming import REPORT, folder_of
from jettagger.studies.calibration.results import SIMULATION, STATISTICS, systematic

if TYPE_CHECKING:
    from jettagger.studies.calibration.run import CalibrationInputs, CalibrationResult

__all__ = ["factor_rows", "table", "write_report"]


def factor_rows(config: CalibrationConfig, result: CalibrationResult) -> list[dict[str, Any]]:
    """The factors, one row per category, working point and bin.

    Parameters
    ----------
    config : CalibrationConfig
    result : CalibrationResult

    Returns
    -------
    list of dict
        ``category``, ``point``, ``bin``, ``factor``, ``up`` and ``down`` (all sources, changes), ``statistics``,
        ``simulation``, ``systematic`` (half of the difference between up and down), ``efficiency_simulation``,
        ``efficiency_data``.
    """
    factors = result.factors
    axes = factors.axes or ()
    sources = factors.sources
    half = {name: (up - down) / 2 for name, (up, down) in sources.items()}
    rest = systematic(factors)
    sides = np.stack([np.stack(pair) - factors.values for pair in sources.values()])  # [source, side, ...]
    up = np.sqrt(np.square(np.maximum(sides, 0).max(axis=1)).sum(axis=0))
    down = np.sqrt(np.square(np.minimum(sides, 0).min(axis=1)).sum(axis=0))
    rows = []
    for cell in np.ndindex(factors.values.shape):
        category, point, place = factors.categories[cell[0]], factors.points[cell[1]], cell[2:]
        efficiency = _efficiency(config, result, category, cell[1], place)
        value = float(factors.values[cell])
        rows.append(
            {
                "category": category,
                "point": point,
                "bin": bin_label(axes, place),
                "factor": value,
                "up": float(up[cell]),
                "down": float(down[cell]),
                STATISTICS: float(half[STATISTICS][cell]),
                SIMULATION: float(half[SIMULATION][cell]),
                "systematic": float(rest[cell]),
                "efficiency_simulation": efficiency,
                "efficiency_data": efficiency * value,
            }
        )
    return rows


def _efficiency(
    config: CalibrationConfig, result: CalibrationResult, category: str, point: int, place: tuple[int, ...]
) -> float:
    """The efficiency in simulation to which a factor is relative."""
    if result.mistags is not None and category not in config.measured:
        cell: Any = (point, *place)
        return float(result.mistags.simulation.values[cell])
    yields = result.fits.bins[place].fit.model.templates.yields(category)
    passing = yields[point + 1 :].sum() if config.content.kind == "points" else yields[point + 1]
    return float(passing / yields.sum())


def table(config: CalibrationConfig, result: CalibrationResult) -> str:
    """The factors as Markdown.

    Parameters
    ----------
    config : CalibrationConfig
    result : CalibrationResult

    Returns
    -------
    str
    """
    heads = ("category", config.content.kind[:-1], "bin", "factor", "up", "down", STATISTICS, "simulated statistics",
             "systematic", "efficiency in simulation", "in data")  # fmt: skip
    lines = [_line(*heads), _line(*["---"] * len(heads))]
    for row in factor_rows(config, result):
        lines.append(
            _line(
                row["category"],
                row["point"],
                row["bin"],
                f"{row['factor']:.4g}",
                f"+{row['up']:.2g}",
                f"-{row['down']:.2g}",
                *(f"{row[key]:.2g}" for key in (STATISTICS, SIMULATION, "systematic")),
                *(f"{row[f'efficiency_{key}']:.4g}" for key in ("simulation", "data")),
            )
        )
    return "\n".join(lines)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


def _bin_content(item: BinFit, folder: str, impacts: bool) -> dict[str, Any]:
    """One fit for JSON; impacts take a fit for each side of each parameter."""
    fit = item.fit
    goodness = fit.goodness
    return {
        "name": item.name,
        "folder": f"fits/{folder}",
        "data": {band: float(content.sum()) for band, content in fit.model.templates.data.items()},
        "simulation": {
            category: dict(zip(fit.model.templates.bands, fit.model.templates.yields(category).tolist(), strict=True))
            for category in fit.model.categories
        },
        "goodness": {
            "statistic": goodness.statistic,
            "degrees_of_freedom": goodness.degrees_of_freedom,
            "probability": _finite(goodness.probability),
        },
        "parameters": {name: _finite(value) for name, value in fit.parameters.items()},
        "factors": dict(zip(fit.names, (_finite(value) for value in fit.values.ravel()), strict=True)),
        "correlation": [[_finite(value) for value in row] for row in fit.correlation],
        "shapes": {
            name: {"value": value.value, "uncertainty": _finite(value.uncertainty)}
            for name, value in fit.shapes.items()
        },
        "normalisations": {
            name: {"value": value.value, "uncertainty": _finite(value.uncertainty)}
            for name, value in fit.normalisations.items()
        },
        "at_bounds": list(fit.at_bounds),
        "impacts": _impacts(item) if impacts else None,
        "report": [*fit.model.report],
    }


def _impacts(item: BinFit) -> dict[str, Any]:
    """Parameter -> its fitted value, and the changes of all factors after the fit."""
    names = item.fit.names
    return {
        name: {
            "value": _finite(impact.value),
            "uncertainty": _finite(impact.uncertainty),
            "up": dict(zip(names, map(_finite, impact.up.ravel()), strict=True)),
            "down": dict(zip(names, map(_finite, impact.down.ravel()), strict=True)),
        }
        for name, impact in item.fit.impacts.items()
    }


def write_report(
    config: CalibrationConfig,
    result: CalibrationResult,
    inputs: CalibrationInputs,
    folder: Path,
    provenance: Provenance,
    *,
    plots: bool = True,
) -> dict[str, str]:
    """Write ``report.json``, ``report.md`` and the pictures.

    Parameters
    ----------
    config : CalibrationConfig
    result : CalibrationResult
    inputs : CalibrationInputs
    folder : pathlib.Path
        An existing folder.
    provenance : Provenance
    plots : bool

    Returns
    -------
    dict of str to str
        File -> description.
    """
    fits, factors = result.fits, result.factors
    content = {
        KEY: provenance.to_dict(),
        "title": config.content.title,
        "name": factors.name,
        "discriminant": factors.discriminant,
        "kind": factors.kind,
        "thresholds": dict(config.thresholds),
        "axes": [axis.to_dict() for axis in fits.axes],
        "correlated": sorted(factors.correlated),
        "outside": str(factors.outside),
        "factors": factor_rows(config, result),
        "sources": {
            name: {"up": (up - factors.values).tolist(), "down": (down - factors.values).tolist()}
            for name, (up, down) in factors.sources.items()
        },
        "bins": [_bin_content(item, folder_of(fits.axes, place), plots) for place, item in fits.bins.items()],
        "shapes": {
            name: {
                "value": mean.mean.value,
                "uncertainty": mean.mean.uncertainty,
                "chi_square": mean.chi_square,
                "bins": {place: [value.value, value.uncertainty] for place, value in mean.bins.items()},
                "at_bounds": list(mean.at_bounds),
            }
            for name, mean in result.means.items()
        },
        "cutflow": dict(inputs.cutflow),
        "notes": list(inputs.notes),
        "report": fits.report,
    }
    text = json.dumps(content, indent=1, allow_nan=False)
    (folder / REPORT).write_text(f"{text}\n", encoding="utf-8")
    written = {REPORT: "all numbers", "report.md": "tables and pictures"}
    if plots:
        from jettagger.plots import save_figure

        for name, what, figure in figures(config, result):
            save_figure(figure, folder / name)
            written[name] = what
    (folder / "report.md").write_text(f"{_page(config, result, inputs, written)}\n{provenance}\n", encoding="utf-8")
    return written


def _page(
    config: CalibrationConfig, result: CalibrationResult, inputs: CalibrationInputs, written: dict[str, str]
) -> str:
    factors = result.factors
    cuts = ", ".join(f"{name} {cut:g}" for name, cut in config.thresholds.items())
    lines = [
        f"# {config.content.title or f'Calibration of {factors.name}'}",
        "",
        f"Scale factors on {factors.discriminant}, working points {cuts}; jets outside of the bins get "
        f"{factors.outside}.",
        "",
        table(config, result),
        "",
        "The columns statistics, simulated statistics and systematic are halves of up minus down; their squares add "
        "up. Efficiencies in simulation are those of the templates, to which the factors are relative.",
        "",
        _line("fit of", "jets in data", "chi-square", "degrees of freedom", "probability", "at bounds"),
        _line(*["---"] * 6),
    ]
    for item in result.fits.bins.values():
        goodness = item.fit.goodness
        lines.append(
            _line(
                item.name,
                f"{sum(content.sum() for content in item.fit.model.templates.data.values()):.7g}",
                f"{goodness.statistic:.4g}",
                str(goodness.degrees_of_freedom),
                f"{goodness.probability:.2g}" if goodness.degrees_of_freedom > 0 else "",
                ", ".join(item.fit.at_bounds) or "none",
            )
        )
    bounds = [item.name for item in result.fits.bins.values() if item.fit.at_bounds]
    if bounds:
        lines += [
            "",
            f"**Parameters at bounds of the fit in {'; '.join(bounds)}.** The uncertainties of factors there are ends "
            "of the profile likelihood interval.",
        ]
    if result.means:
        lines += ["", _line("shape", "bin", "factor", "uncertainty"), _line(*["---"] * 4)]
        for name, mean in result.means.items():
            rows = [*mean.bins.items(), (f"mean, chi-square {mean.chi_square:.3g}", mean.mean)]
            lines += [_line(name, place, f"{value.value:.4f}", f"{value.uncertainty:.2g}") for place, value in rows]
    for name, flows in inputs.cutflow.items():
        for dataset, rows in flows.items():
            lines += ["", _line(f"{name}, {dataset}", "events", "weighted"), _line(*["---"] * 3)]
            lines += [_line(cut, str(row["events"]), f"{row['weighted']:.6g}") for cut, row in rows.items()]
    notes = [
        *inputs.notes,
        *result.fits.report,
        *(line for item in result.fits.bins.values() for line in item.fit.model.report),
    ]
    notes += [f"efficiencies, {cell}: merged {text}" for cell, text in result.efficiencies.record["merged"].items()]
    if notes:
        lines += ["", "Merged, corrected or left out:", "", *(f"- {line}" for line in dict.fromkeys(notes))]
    lines += ["", *(f"![{what}]({name})" for name, what in written.items() if name.endswith(".png")), ""]
    return "\n".join(lines)


guard(globals(), "write_report")
