"""Plots of a search: spectra, shapes, ROC curves, sculpting and cutflows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jettagger.discriminants import binned_roc
from jettagger.histograms import categories_of, pick, variables_of
from jettagger.search.run import SearchResult

__all__ = ["draw_search"]


def _groups(result: SearchResult) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Backgrounds and signals with their data sets, and the data sets of data."""
    samples, spec = result.config.samples, result.config.templates
    data = [name for name, sample in samples.items() if sample.data]
    if spec is None:
        return {name: [name] for name in samples if name not in data}, {}, data
    return dict(spec.processes), {name: signal.datasets for name, signal in spec.signals.items()}, data


def _is_discriminant(result: SearchResult, histogram: Any) -> bool:
    """Whether the variable of a histogram is a discriminant of a candidate."""
    front, _, column = _expression(result, histogram).partition(".")
    return front in ("jet1", "jet2") and column in result.config.search.discriminants


def _is_mass(result: SearchResult, histogram: Any) -> bool:
    """Whether the variable of a histogram is a mass of a candidate, by the name of the column."""
    front, _, column = _expression(result, histogram).partition(".")
    named = column in (result.config.search.mass, "msoftdrop") or "mass" in column.lower().split("_")
    return front in ("jet1", "jet2") and named


def _expression(result: SearchResult, histogram: Any) -> str:
    """The expression of a one-dimensional histogram."""
    (variable,) = variables_of(histogram)
    for spec in result.config.search.histograms:
        for axis in spec.axes:
            if axis.name == variable.name and result.histograms.get(spec.name) is histogram:
                return str(axis.expression or axis.name).strip()
    return ""


def draw_search(result: SearchResult, folder: Path) -> dict[str, str]:
    """Draw spectra of all one-dimensional histograms in all regions, and cutflows.

    In inclusive regions also shapes of all processes, ROC curves of discriminants, and the effect of the other regions
    on the masses of the candidates.
    """
    from jettagger.plots import cutflow, roc_curves, save_figure, sculpting, shapes, spectrum

    regions = result.config.search.regions
    inclusive = [name for name, region in regions.items() if region.kind == "inclusive"]
    blind = result.config.search.blind
    backgrounds, signals, data = _groups(result)
    luminosity = f"{result.config.search.luminosity:g} fb$^{{-1}}$"
    written: dict[str, str] = {}

    def keep(figure: Any, name: str, text: str) -> None:
        save_figure(figure, folder / f"{name}.png")
        written[f"{name}.png"] = text

    for name, histogram in result.histograms.items():
        if len(variables_of(histogram)) != 1:
            continue
        known = categories_of(histogram)["dataset"]

        def part(datasets: Any, region: str | list[str], histogram: Any = histogram, known: Any = known) -> Any:
            chosen = [dataset for dataset in datasets if dataset in known]
            return pick(histogram, dataset=chosen, region=region, variation="nominal") if chosen else None

        is_discriminant = _is_discriminant(result, histogram)
        for region, rules in regions.items():
            stacked = _filled(backgrounds, lambda datasets, region=region, part=part: part(datasets, region))
            lines = _filled(signals, lambda datasets, region=region, part=part: part(datasets, region))
            if stacked:
                hidden = blind and rules.kind == "signal"
                observed = None if hidden or not data else part(data, region)
                title = f"{region}, {luminosity}" + (", data blind" if hidden and data else "")
                figure = spectrum(stacked, data=observed, signals=lines, title=title)
                keep(figure, f"{name}_{region}", f"{name} in {region}")
            if {**stacked, **lines} and (rules.kind == "inclusive" or not inclusive):
                figure = shapes({**stacked, **lines}, title=region, log=is_discriminant, counted="Events")
                keep(figure, f"{name}_{region}_shapes", f"shapes of {name} in {region}")
            if rules.kind != "inclusive":
                continue
            for background, item in stacked.items():
                if lines and name in result.curves:
                    curves = _roc_curves(result, name, region, signals, backgrounds[background])
                    figure = roc_curves(curves, title=f"{name}, {region}", signal="signal", background=background)
                    text = (
                        f"ROC curves of {name} against {background}, of all events of {region}, without flattening in "
                        "pt or mass"
                    )
                    keep(figure, f"{name}_{region}_roc_{background}", text)
                after = {
                    other: part(backgrounds[background], other)
                    for other in regions
                    if _is_mass(result, histogram) and other not in inclusive
                }
                after = {other: values for other, values in after.items() if values.values().sum() > 0}
                if after:
                    figure = sculpting(item, after, title=f"{background}, {region}", counted="Events")
                    keep(
                        figure,
                        f"{name}_{region}_sculpting_{background}",
                        f"{name} of {background} before and after the cuts of the regions",
                    )
    for region in regions:
        yields = {
            dataset: {
                cut: math.nan if row["weighted"] is None else row["weighted"] for cut, row in flows[region].items()
            }
            for dataset, flows in result.cutflow.items()
        }
        keep(cutflow(yields, title=f"{region}, {luminosity}"), f"cutflow_{region}", f"cutflow of {region}")
    return written


def _roc_curves(
    result: SearchResult, name: str, region: str, signals: Mapping[str, Any], background: Any
) -> dict[str, Any]:
    """ROC curves of all signals with events, from the histogram with fine bins."""
    fine = result.curves[name]
    known = categories_of(fine)["dataset"]

    def part(datasets: Any) -> Any:
        chosen = [dataset for dataset in datasets if dataset in known]
        return pick(fine, dataset=chosen, region=region, variation="nominal") if chosen else None

    against = part(background)
    return {signal: binned_roc(values, against) for signal, values in _filled(signals, part).items()}


def _filled(processes: Mapping[str, Any], part: Any) -> dict[str, Any]:
    """The histograms of processes with events."""
    found = {name: part(datasets) for name, datasets in processes.items()}
    return {name: item for name, item in found.items() if item is not None and item.values().sum() > 0}
