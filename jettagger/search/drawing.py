"""Plots of a search: spectra, shapes, ROC curves, sculpting and cutflows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jettagger.discriminants import binned_roc
from jettagger.histograms import categories_of, pick, variables_of
from jettagger.plots.style import DASHES, ProcessStyle, Styles
from jettagger.search.run import SearchResult

__all__ = ["draw_search", "processes_of"]

#: formats of the plots
SUFFIXES = (".png", ".pdf")


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
    from jettagger.plots import curve_styles, cutflow, roc_curves, save_figure, sculpting, shapes, spectrum

    regions = result.config.search.regions
    inclusive = [name for name, region in regions.items() if region.kind == "inclusive"]
    blind = result.config.search.blind
    backgrounds, signals, data = _groups(result)
    label = result.config.label
    luminosity = "" if label else f", {result.config.search.luminosity:g} fb$^{{-1}}$"
    styles = result.config.styles
    of_regions = curve_styles(name for name in regions if name not in inclusive)
    written: dict[str, str] = {}

    def keep(figure: Any, name: str, text: str) -> None:
        for suffix in SUFFIXES:
            save_figure(figure, folder / f"{name}{suffix}")
            written[f"{name}{suffix}"] = text

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
                title = f"{region}{luminosity}" + (", data blind" if hidden and data else "")
                figure = spectrum(stacked, data=observed, signals=lines, title=title, styles=styles, label=label)
                keep(figure, f"{name}_{region}", f"{name} in {region}")
            if {**stacked, **lines} and (rules.kind == "inclusive" or not inclusive):
                texts: dict[str, Any] = {"title": region, "counted": "Events", "styles": styles, "label": label}
                figure = shapes({**stacked, **lines}, log=is_discriminant, **texts)
                keep(figure, f"{name}_{region}_shapes", f"shapes of {name} in {region}")
            if rules.kind != "inclusive":
                continue
            for background in stacked:
                if lines and name in result.curves:
                    curves = _roc_curves(result, name, region, signals, backgrounds[background])
                    texts = {"title": f"{name}, {region}", "signal": "signal", "background": background}
                    figure = roc_curves(curves, **texts, styles=styles, label=label)
                    text = (
                        f"ROC curves of {name} against {background}, of all events of {region}, without flattening in "
                        "pt or mass"
                    )
                    keep(figure, f"{name}_{region}_roc_{background}", text)
                if name not in result.masses:
                    continue
                before, after = _masses(result.masses[name], backgrounds[background], region, regions)
                if before is not None and after:
                    texts = {"title": f"{background}, {region} without mass cuts", "counted": "Events", "label": label}
                    fill = styles[background].colour
                    figure = sculpting(before, after, **texts, fill=fill, styles=of_regions)
                    keep(
                        figure,
                        f"{name}_{region}_sculpting_{background}",
                        f"{name} of {background} before and after the cuts of the regions, all without cuts on masses",
                    )
    for region in regions:
        yields = {
            dataset: {
                cut: math.nan if row["weighted"] is None else row["weighted"] for cut, row in flows[region].items()
            }
            for dataset, flows in result.cutflow.items()
        }
        figure = cutflow(
            yields, title=f"{region}{luminosity}", styles=_of_datasets(result, styles), label=label, data=bool(data)
        )
        keep(figure, f"cutflow_{region}", f"cutflow of {region}")
    return written


def _masses(histogram: Any, datasets: Any, region: str, regions: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The mass of a background in an inclusive region, and in the others that have events."""
    known = categories_of(histogram)
    chosen = [dataset for dataset in datasets if dataset in known["dataset"]]
    filled = {}
    for name, item in regions.items():
        if chosen and name in known["region"] and (name == region or item.kind != "inclusive"):
            values = pick(histogram, dataset=chosen, region=name, variation="nominal")
            if values.values().sum() > 0:
                filled[name] = values
    return filled.pop(region, None), filled


def _of_datasets(result: SearchResult, styles: Styles) -> dict[str, ProcessStyle]:
    """The style of each data set: that of its process, with other lines for further ones; data are black."""
    backgrounds, signals, data = _groups(result)
    found = dict.fromkeys(data, ProcessStyle("black"))
    for process, datasets in {**backgrounds, **signals}.items():
        style = styles[process]
        others = [line for line in DASHES if line != style.line]
        for number, dataset in enumerate(datasets):
            line = others[(number - 1) % len(others)] if number else style.line
            found.setdefault(dataset, replace(style, line=line))
    return found


def processes_of(result: SearchResult) -> list[str]:
    """Backgrounds and signals in the order of their colours."""
    backgrounds, signals, _ = _groups(result)
    return [*backgrounds, *signals]


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
