"""The output folder of a search: complete or absent."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from jettagger._version import __version__
from jettagger.arguments import guard
from jettagger.errors import OutputError, output_exists
from jettagger.files import atomic as files
from jettagger.histograms import save
from jettagger.provenance import KEY
from jettagger.search.cutflows import cutflow_table
from jettagger.search.drawing import draw_search, processes_of
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


def check_folder(
    target: str | os.PathLike[str], *, force: bool = False, inputs: Iterable[str] = (), marker: str = RECORD
) -> Path:
    """Refuse an output folder that cannot be written, before any work is done.

    Parameters
    ----------
    target : path
    force : bool
        Whether an existing folder may be replaced, if it is empty or was written by a search.
    inputs : iterable of str
        Inputs of the search; none of them may be in the folder.
    marker : str
        A file in every such folder.

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
            raise output_exists(target)
        if any(target.iterdir()) and not (target / marker).is_file():
            raise OutputError(f"{target} was not written by a search: it is not replaced")
    return files.check_folder(target, marker=marker, force=force)


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
        "processes": processes_of(result),
        "styles": {name: asdict(style) for name, style in result.config.styles.items()},
        "label": None if result.config.label is None else asdict(result.config.label),
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
            written |= {f"plots/{name}": text for name, text in draw_search(result, part / "plots").items()}
    return written


guard(globals(), "make_templates", "record", "write_output")
