"""The output folder of a search: complete or not there."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from jettagger._version import __version__
from jettagger.errors import InvalidValues, OutputError
from jettagger.histograms import categories_of, pick, save, variables_of
from jettagger.search.files import to_dict
from jettagger.search.run import SearchResult
from jettagger.templates import Templates, build

__all__ = ["cutflow_table", "folder_complete_or_absent", "make_templates", "record", "write_output"]

#: packages whose versions the record holds
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


@contextmanager
def folder_complete_or_absent(target: str | os.PathLike[str], *, force: bool = False) -> Iterator[Path]:
    """A temporary folder beside ``target`` that becomes ``target`` when the block ends without an error.

    Parameters
    ----------
    target : path
        The folder to write in the end.
    force : bool
        Whether an existing one may be replaced.

    Yields
    ------
    pathlib.Path

    Raises
    ------
    OutputError
        If it exists and ``force`` is not given, is a file, or cannot be written.
    """
    target = Path(target)
    check_folder(target, force=force)
    try:
        part = Path(tempfile.mkdtemp(prefix=f".{target.name}.part-", dir=target.parent))
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    try:
        yield part
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o777 & ~umask)
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
            os.replace(target, old / "old")
            os.replace(part, target)
            shutil.rmtree(old)
        else:
            os.replace(part, target)
    except OSError as error:
        raise OutputError(f"cannot write {target} completely: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_folder(target: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Refuse an output folder that cannot be written, before any work is done.

    Parameters
    ----------
    target : path
    force : bool
        Whether an existing folder may be replaced; only one that a search wrote.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    OutputError
    """
    target = Path(target)
    if target.exists() and not target.is_dir():
        raise OutputError(f"cannot write {target}: it is a file, expected the name of a folder")
    if not target.parent.is_dir():
        raise OutputError(f"cannot write {target}: the folder {target.parent} does not exist")
    if not os.access(target.parent, os.W_OK):
        raise OutputError(f"cannot write {target}: the folder {target.parent} is not writable")
    if target.exists():
        if not force:
            raise OutputError(f"{target} exists already; use --force (force=True) to replace it")
        if any(target.iterdir()) and not (target / "record.json").is_file():
            raise OutputError(f"{target} was not written by a search: it is not replaced")
    return target


def record(result: SearchResult) -> dict[str, Any]:
    """How a result was made, as JSON holds it.

    Parameters
    ----------
    result : SearchResult

    Returns
    -------
    dict
        Configuration with its checksum, model with its checksum, versions, files, what is missing, and notes.
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
        "versions": versions,
        "executor": result.executor,
        "workers": result.workers,
        "seconds": round(result.seconds, 3),
        **to_dict(result.survey),
        "datasets": result.datasets,
        "missing": result.missing,
        "notes": list(result.notes),
    }


def cutflow_table(result: SearchResult) -> str:
    """The cutflows as text: one table a region, one row a cut, for each data set events and weighted events.

    Parameters
    ----------
    result : SearchResult

    Returns
    -------
    str
    """
    blocks = []
    datasets = list(result.cutflow)
    for name, region in result.config.processor["regions"].items():
        rows = [["cut", *(text for dataset in datasets for text in (dataset, "weighted"))]]
        for cut in result.cutflow[datasets[0]][name]:
            row = [cut]
            for dataset in datasets:
                entry = result.cutflow[dataset][name][cut]
                row += [f"{entry['events']}", f"{entry['weighted']:.6g}"]
            rows.append(row)
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join(
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        blocks.append("\n".join([f"{name} ({region.kind} region)", *lines]))
    luminosity = result.config.processor["luminosity"]
    return "\n\n".join(blocks) + f"\n\nweighted: events at {luminosity:g} /fb\n"


def make_templates(result: SearchResult) -> Templates | None:
    """The templates that the configuration asks for.

    Parameters
    ----------
    result : SearchResult

    Returns
    -------
    Templates, or None
        None if it asks for none.
    """
    if result.config.templates is None:
        return None
    with result.config.at("templates"):
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
        Each file, relative to the folder, to one line on what it is.

    Raises
    ------
    OutputError
        If it cannot be written completely; nothing is left then.
    """
    templates = make_templates(result)
    made = record(result)
    if templates is not None:
        made["templates"] = list(templates.report)
    written = {
        "histograms.json": "histograms (UHI JSON; jettagger.histograms.load reads them)",
        "cutflow.txt": "events after each cut, as a table",
        "cutflow.json": "the same for programs",
        "record.json": "how it was made: configuration, model, versions, files",
    }
    with folder_complete_or_absent(folder, force=force) as part:
        short = {key: made[key] for key in ("configuration", "model", "versions", "datasets", "missing", "notes")}
        save(result.histograms, part / "histograms.json", short)
        (part / "cutflow.txt").write_text(cutflow_table(result), encoding="utf-8")
        (part / "cutflow.json").write_text(json.dumps(result.cutflow, indent=1), encoding="utf-8")
        (part / "record.json").write_text(json.dumps(made, indent=1), encoding="utf-8")
        if templates is not None:
            for path in templates.save(part):
                text = {".root": "templates for CMS combine", ".json": "workspace for pyhf"}[path.suffix]
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


def _draw(result: SearchResult, folder: Path) -> dict[str, str]:
    """Spectra of all histograms of one variable in all regions, shapes, and cutflows."""
    from jettagger.plots import cutflow, save_figure, shapes, spectrum

    backgrounds, signals, data = _groups(result)
    luminosity = f"{result.config.processor['luminosity']:g} fb$^{{-1}}$"
    written = {}
    for name, histogram in result.histograms.items():
        if len(variables_of(histogram)) != 1:
            continue
        for region in categories_of(histogram)["region"]:

            def part(datasets: Any, region: str = region, histogram: Any = histogram) -> Any:
                return pick(histogram, dataset=list(datasets), region=region, variation="nominal")

            stacked = {key: part(datasets) for key, datasets in backgrounds.items()}
            lines = {key: part(datasets) for key, datasets in signals.items()}
            observed = part(data) if data else None
            title = f"{region}, {luminosity}"
            filled = {key: item for key, item in {**stacked, **lines}.items() if item.values().sum() > 0}
            if any(key in filled for key in stacked):
                figure = spectrum(stacked, data=observed, signals=lines, title=title)
                save_figure(figure, folder / f"{name}_{region}.png")
                written[f"{name}_{region}.png"] = f"{name} in {region}"
            if filled:
                save_figure(shapes(filled, title=region, counted="Events"), folder / f"{name}_{region}_shapes.png")
                written[f"{name}_{region}_shapes.png"] = f"shapes of {name} in {region}"
    for region in result.config.processor["regions"]:
        yields = {
            dataset: {cut: row["weighted"] for cut, row in flows[region].items()}
            for dataset, flows in result.cutflow.items()
        }
        try:
            figure = cutflow(yields, title=f"{region}, {luminosity}")
        except InvalidValues:
            continue
        save_figure(figure, folder / f"cutflow_{region}.png")
        written[f"cutflow_{region}.png"] = f"cutflow of {region}"
    return written
