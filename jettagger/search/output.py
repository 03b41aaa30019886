"""The output folder of a search: complete or absent."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import math
import os
import platform
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from jettagger._version import __version__
from jettagger.arguments import guard
from jettagger.discriminants import binned_roc
from jettagger.errors import OutputError
from jettagger.files import atomic as files
from jettagger.histograms import categories_of, pick, save, variables_of
from jettagger.provenance import KEY
from jettagger.search.cutflows import cutflow_table
from jettagger.search.files import files_read, to_dict
from jettagger.search.run import SearchResult
from jettagger.statistics.building import build
from jettagger.statistics.templates import Templates

__all__ = ["blind_regions", "check_folder", "make_templates", "record", "write_output"]

#: packages whose versions are in the record
PACKAGES = (
    "numpy",
    "awkward",
    "uproot",
    "coffea",
    "onnxruntime",
    "hist",
    "boost-histogram",
    "dask",
    "distributed",
)


#: a file in every output folder of a search
RECORD = "record.json"


def check_folder(target: str | os.PathLike[str], *, force: bool = False, inputs: Iterable[str] = ()) -> Path:
    """Refuse an output folder that cannot be written, before any work is done.

    Parameters
    ----------
    target : path
    force : bool
        Whether an existing folder may be replaced, if it is empty or was written by a search.
    inputs : iterable of str
        Inputs of the search; none of them may be in the folder.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    OutputError
    """
    files.refuse_inputs(target, inputs)
    target = Path(target)
    if target.is_dir():
        if not force:
            raise OutputError(f"{target} exists already; use --force (force=True) to replace it")
        if any(target.iterdir()) and not (target / RECORD).is_file():
            raise OutputError(f"{target} was not written by a search: it is not replaced")
    return files.check_folder(target, marker=RECORD, force=force)


def record(result: SearchResult) -> dict[str, Any]:
    """How a result was made, for JSON.

    Parameters
    ----------
    result : SearchResult

    Returns
    -------
    dict
        Configuration with its checksum, model with its checksum, versions, files, missing inputs, and notes.
    """
    versions = {"python": platform.python_version(), "jettagger": __version__}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "configuration": {
            "file": result.config.document.name,
            "sha256": result.config.digest,
            "content": result.config.document.data,
        },
        "model": result.model or None,
        KEY: result.provenance.to_dict(),
        "versions": versions,
        "executor": result.executor,
        "workers": result.workers,
        "seconds": round(result.seconds, 3),
        **to_dict(result.survey),
        "datasets": result.datasets,
        "blind": blind_regions(result),
        "missing": result.missing,
        "notes": list(result.notes),
    }


def blind_regions(result: SearchResult) -> list[str]:
    """The regions with blinded data; empty without data.

    Parameters
    ----------
    result : SearchResult

    Returns
    -------
    list of str
    """
    search = result.config.search
    if not search.blind or not any(sample.data for sample in search.samples.values()):
        return []
    return [name for name, region in search.regions.items() if region.kind == "signal"]


def make_templates(result: SearchResult) -> Templates | None:
    """The templates requested by the configuration.

    Parameters
    ----------
    result : SearchResult

    Returns
    -------
    Templates, or None
        None if there are none.
    """
    if result.config.templates is None:
        return None
    with result.config.document.at("templates"):
        return build(result.histograms[result.config.template_histogram], result.config.templates)


def write_output(
    result: SearchResult, folder: str | os.PathLike[str], *, force: bool = False, plots: bool = True
) -> dict[str, str]:
    """Write the output folder of a search.

    Parameters
    ----------
    result : SearchResult
    folder : path
        Must not exist, unless ``force`` is given.
    force : bool
        Whether the folder of an earlier search is replaced.
    plots : bool
        Whether plots are drawn, if mplhep is installed.

    Returns
    -------
    dict
        File, relative to the folder -> one-line description.

    Raises
    ------
    OutputError
        If it cannot be written completely, or contains inputs of the search; nothing is changed in these cases.
    """
    check_folder(folder, force=force, inputs=files_read(result.config, result.survey))
    templates = make_templates(result)
    made = record(result)
    if templates is not None:
        made["templates"] = list(templates.report)
    written = {
        "histograms.json": "histograms (UHI JSON; jettagger.histograms.load reads them)",
        "cutflow.txt": "events after each cut, as a table",
        "cutflow.md": "the same in Markdown",
        "cutflow.tex": "the same for LaTeX (booktabs)",
        "cutflow.json": "the same for programs",
        RECORD: "how it was made: configuration, model, versions, files",
    }
    with files.folder_complete_or_absent(folder, marker=RECORD, force=force) as part:
        short = {key: made[key] for key in ("configuration", "model", "versions", "datasets", "missing", "notes")}
        save(result.histograms, part / "histograms.json", short, provenance=result.provenance)
        for suffix, (form, note) in {"txt": ("text", ""), "md": ("markdown", ""), "tex": ("latex", "% ")}.items():
            table = f"{cutflow_table(result, form)}\n{note}{result.provenance}\n"
            (part / f"cutflow.{suffix}").write_text(table, encoding="utf-8")
        flows = {KEY: result.provenance.to_dict(), "cutflow": result.cutflow}
        (part / "cutflow.json").write_text(json.dumps(flows, indent=1), encoding="utf-8")
        (part / RECORD).write_text(json.dumps(made, indent=1), encoding="utf-8")
        if templates is not None:
            for path in templates.save(part, provenance=result.provenance):
                texts = {
                    ".root": "templates for CMS combine",
                    ".json": "workspace for pyhf",
                    ".txt": "card for CMS combine",
                }
                text = texts[path.suffix]
                written[path.name] = "list of the templates" if path.name == "templates.json" else text
        if plots and result.config.plots and importlib.util.find_spec("mplhep"):
            (part / "plots").mkdir()
            written |= {f"plots/{name}": text for name, text in _draw(result, part / "plots").items()}
    return written


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


def _draw(result: SearchResult, folder: Path) -> dict[str, str]:
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


guard(globals(), "make_templates", "record", "write_output")
