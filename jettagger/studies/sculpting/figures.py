"""Figures of a study; needs the extra ``plot``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jettagger.decorrelation.sculpting import Spectrum
from jettagger.discriminants import Measured
from jettagger.plots import curve_styles, dependence_curves, efficiency_curves, sculpting, tradeoff
from jettagger.studies.sculpting.config import StudyConfig
from jettagger.studies.sculpting.measure import MethodResult

__all__ = ["figures"]


def figures(config: StudyConfig, results: Sequence[MethodResult]) -> dict[str, tuple[str, Any]]:
    """All figures.

    Parameters
    ----------
    config : StudyConfig
    results : sequence of MethodResult

    Returns
    -------
    dict of str to (str, matplotlib.figure.Figure)
        File -> description and figure.
    """
    title, labels = config.content.title, {name: axis.label or name for name, axis in config.content.protected.items()}
    mass = _without_unit(labels[config.mass])
    points: dict[str, dict[str, Any]] = {}
    for result in results:
        family, strength = _family(result)
        points.setdefault(family, {})[strength] = result.point
    styles = curve_styles([*points, *(result.method.name for result in results)])
    made = {
        "comparison.png": (
            "rejection against sculpting",
            tradeoff(points, efficiency=config.content.signal_efficiency, variable=mass, title=title, styles=styles),
        )
    }
    for number, cut in enumerate(results[0].cuts):
        before = cut.divergence.before
        after = {
            result.method.name: _histogram(result.cuts[number].divergence.after, labels[config.mass])
            for result in results
            # bins are merged where weights are negative
            if np.array_equal(result.cuts[number].divergence.after.edges, before.edges)
        }
        spectra = sculpting(_histogram(before, labels[config.mass]), after, title=cut.name, styles=styles)
        made[f"mass_{_word(cut.name)}.png"] = (f"mass behind the cut, {cut.name}", spectra)
    profiles = {
        kind.capitalize(): {
            labels[column]: {result.method.name: result.cuts[0].profiles[kind][column] for result in results}
            for column in labels
        }
        for kind in ("background", "signal")
    }
    made["efficiencies.png"] = (
        f"efficiencies, {results[0].cuts[0].name}",
        efficiency_curves(profiles, title=results[0].cuts[0].name, styles=styles),
    )
    for column, label in labels.items():
        curves, references = _dependence(results, column)
        if curves:
            variable = _without_unit(label)
            figure = dependence_curves(curves, references=references, variable=variable, title=title, styles=styles)
            made[f"dependence_{column}.png"] = (f"distance correlation with {column}", figure)
    return made


def _family(result: MethodResult) -> tuple[str, str]:
    """The curve of a score, and what is written beside its point."""
    method = result.method
    mark = " (failed)" if method.failure else ""
    if method.strength is None:
        return f"{method.name}{mark}", ""
    return method.method, f"{method.strength:g}{mark}"


def _dependence(
    results: Sequence[MethodResult], column: str
) -> tuple[dict[str, dict[float, Measured]], dict[str, Measured]]:
    """Distance correlations of heads by strength, and those of other scores."""
    curves: dict[str, dict[float, Measured]] = {}
    references: dict[str, Measured] = {}
    for result in results:
        value = result.distance[column]
        if value is None:
            continue
        if result.method.strength is None:
            references[result.method.name] = value
        else:
            curves.setdefault(result.method.method, {})[result.method.strength] = value
    return curves, references


def _histogram(spectrum: Spectrum, label: str) -> Any:
    import hist

    made = hist.Hist(hist.axis.Variable(spectrum.edges, label=label), storage=hist.storage.Weight())
    made.values()[...] = spectrum.fractions
    made.variances()[...] = spectrum.uncertainties**2
    return made


def _without_unit(label: str) -> str:
    return label.partition(" [")[0]


def _word(name: str) -> str:
    return name.replace(" %", "").replace(" ", "_").replace(".", "p")
