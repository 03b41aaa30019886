"""A calibration: from a configuration and histograms to scale factors, their files and the report."""

from __future__ import annotations

import json
import os
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jettagger.arguments import guard
from jettagger.calibration import EfficiencyMap, FormulaFactors, MassFactors, ScaleFactors, write_datacard
from jettagger.display import Brief
from jettagger.errors import MismatchError, UnknownName, require
from jettagger.files import check_folder, complete_or_absent, folder_complete_or_absent
from jettagger.files.retrying import RETRIES
from jettagger.histograms import add, load, save
from jettagger.provenance import Origin, Provenance, origin, provenance_of, read_provenance
from jettagger.search.definition import SearchWarning
from jettagger.studies.calibration.config import CalibrationConfig, read_calibration
from jettagger.studies.calibration.events import fill_probes, survey_probes
from jettagger.studies.calibration.fits import Fits, fit_bins
from jettagger.studies.calibration.mistags import measure_mistags, mistag_yields
from jettagger.studies.calibration.naming import REPORT, folder_of
from jettagger.studies.calibration.report import write_report
from jettagger.studies.calibration.results import (
    MassMean,
    efficiencies_of,
    mass_factors,
    mass_means,
    scale_factors,
)

if TYPE_CHECKING:
    from jettagger.search.files import Survey

__all__ = [
    "CalibrationInputs",
    "CalibrationResult",
    "calibrate",
    "check_output",
    "keep_histograms",
    "read_inputs",
    "survey_inputs",
]


@dataclass(frozen=True)
class CalibrationInputs(Brief):
    """Histograms of a calibration.

    Parameters
    ----------
    probes : hist.Hist
        Of the measurement.
    control : hist.Hist or None
        Of the control sample for mistags.
    origin : Origin or None
        The model of the scores, if all files record the same.
    notes : tuple of str
        What was left out of events that were read, and probable mistakes.
    cutflow : dict
        ``probes`` and ``control`` -> data set -> cut -> ``events`` and ``weighted``, where events were read.
    files : tuple of str
        Files of events.
    """

    probes: Any
    control: Any = None
    origin: Origin | None = None
    notes: tuple[str, ...] = ()
    cutflow: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class CalibrationResult(Brief):
    """The result of a calibration.

    Parameters
    ----------
    factors : ScaleFactors
    efficiencies : EfficiencyMap
        In simulation.
    fits : Fits
        Of all bins.
    mistags : FormulaFactors or None
    means : dict of str to MassMean
        Measured shapes.
    masses : MassFactors or None
    files : dict of str to str
        Files of the output folder -> description.
    seconds : float
    """

    factors: ScaleFactors
    efficiencies: EfficiencyMap
    fits: Fits
    mistags: FormulaFactors | None = None
    means: Mapping[str, MassMean] = field(default_factory=dict)
    masses: MassFactors | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def survey_inputs(
    config: CalibrationConfig,
    *,
    skip_broken: bool = False,
    retries: int = RETRIES,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Survey]:
    """Open the files of events of a calibration. No events are read.

    Parameters
    ----------
    config : CalibrationConfig
    skip_broken : bool
        Skip files that cannot be opened, and name them; otherwise they are an error.
    retries : int
        How often a file is opened again after a transient error.
    progress : callable, optional
        Called with 1 after each file.

    Returns
    -------
    dict of str to Survey
        ``probes`` and ``control``; empty if histograms are read.

    Raises
    ------
    ConfigError, InputFileError, MismatchError, MissingColumns
        If a file cannot be opened or lacks a column; gives the line.
    """
    return {
        name: survey_probes(
            probes, probes.make_processor(), skip_broken=skip_broken, retries=retries, progress=progress
        )
        for name, probes in config.events.items()
    }


def read_inputs(
    config: CalibrationConfig,
    found: Mapping[str, Survey] | None = None,
    *,
    executor: str = "iterative",
    workers: int = 1,
    scheduler: str | None = None,
    skip_broken: bool = False,
    retries: int = RETRIES,
    progress: Callable[[int], None] | None = None,
) -> CalibrationInputs:
    """Read the histograms of a calibration, or fill them from events.

    Parameters
    ----------
    config : CalibrationConfig
    found : mapping of str to Survey, optional
        Result of `survey_inputs`, if it was made before.
    executor, workers, scheduler, skip_broken, retries, progress
        As for `jettagger.search.run.run_search`.

    Returns
    -------
    CalibrationInputs

    Raises
    ------
    InputFileError
        If a file cannot be read.
    UnknownName
        If a file lacks the histogram.
    MismatchError
        If histograms of several files have different axes, or scores of different models.
    """
    content, document = config.content, config.document
    found = survey_inputs(config, skip_broken=skip_broken, retries=retries) if found is None else found
    origins: list[Origin | None] = []
    made: dict[str, Any] = {}
    cutflow: dict[str, Any] = {}
    notes: list[str] = []
    files: list[str] = []
    for name, probes in config.events.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SearchWarning)  # they are in the report
            filled = fill_probes(
                probes,
                found[name],
                executor=executor,
                workers=workers,
                scheduler=scheduler,
                skip_broken=skip_broken,
                retries=retries,
                progress=progress,
            )
        (made[name],) = filled.output["histograms"].values()
        notes += filled.notes
        notes += [f"{place} is left out: {reason}" for place, reason in filled.missing.items()]
        cutflow[name] = filled.output["cutflow"]
        files += [info.path for info in found[name].files]
        tagger = probes.make_processor().tagger
        origins.append(found[name].origin if tagger is None else origin(tagger))
    if "probes" not in made:
        with document.at("histograms"):
            made["probes"] = _added(config.paths(content.histograms), content.histogram, origins)
    if content.mistag is not None and "control" not in made:
        with document.at("mistag", "histograms"):
            made["control"] = _added(config.paths(content.mistag.histograms), content.mistag.histogram, origins)
    model = origins[0] if None not in origins else None
    return CalibrationInputs(made["probes"], made.get("control"), model, tuple(notes), cutflow, tuple(files))


def _added(paths: tuple[Path, ...], name: str, origins: list[Origin | None]) -> Any:
    """The sum of the histograms of several files; the models of their scores are appended."""
    total: dict[str, Any] = {}
    for path in paths:
        found, _ = load(path)
        if name not in found:
            raise UnknownName("histogram", name, found, str(path))
        made = origin(read_provenance(path))
        known = next((item for item in origins if item is not None), None)
        if made is not None and known is not None:
            known.check(made, f"the scores of {path}")
        origins.append(made)
        try:
            total = add(total, {name: found[name]}) if total else {name: found[name]}
        except MismatchError as error:
            raise MismatchError(f"{path}: {error}; data and simulation need the same bins") from error
    return total[name]


def check_output(
    config: CalibrationConfig, output: str | os.PathLike[str], *, force: bool = False, plots: bool = True
) -> None:
    """Refuse a calibration that could not be finished, before any work is done.

    Parameters
    ----------
    config : CalibrationConfig
    output, force, plots
        As for `calibrate`.

    Raises
    ------
    MissingExtra
        If pyhf, correctionlib or, for pictures, mplhep is not installed.
    OutputError
        If the folder cannot be written, or contains inputs.
    """
    check_folder(output, marker=REPORT, force=force, inputs=config.inputs)
    require("pyhf", "stats", "fits of scale factors")
    if plots:
        require("mplhep", "plot", "the pictures of the report")


def keep_histograms(
    config: CalibrationConfig, inputs: CalibrationInputs, output: str | os.PathLike[str]
) -> Path | None:
    """Keep histograms that were filled from events beside an output folder that is not written.

    Parameters
    ----------
    config : CalibrationConfig
    inputs : CalibrationInputs
    output : path
        The folder.

    Returns
    -------
    pathlib.Path or None
        The file with ``probe`` and ``control``, to be named as ``histograms``; None if no events were read.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    if not config.events:
        return None
    target = Path(output)
    kept = target.with_name(f"{target.name}.histograms.json.gz")
    save(_named(inputs), kept, provenance=_provenance(config, inputs))
    return kept


def _named(inputs: CalibrationInputs) -> dict[str, Any]:
    return {"probe": inputs.probes} | ({} if inputs.control is None else {"control": inputs.control})


def _provenance(config: CalibrationConfig, inputs: CalibrationInputs) -> Provenance:
    return provenance_of(
        inputs.origin,
        {},
        None,
        [*config.inputs[1:], *inputs.files],
        step="calibrate",
        configuration={"file": config.document.name, "digest": config.document.digest},
    )


def calibrate(
    config: CalibrationConfig | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    force: bool = False,
    plots: bool = True,
    inputs: CalibrationInputs | None = None,
    progress: Callable[[int], None] | None = None,
) -> CalibrationResult:
    """Measure scale factors and write them: ``jettagger calibrate`` as a function; needs the extra ``stats``.

    Parameters
    ----------
    config : CalibrationConfig or path
    output : path
        The folder to write, complete or absent.
    force : bool
        Whether an existing calibration may be replaced.
    plots : bool
        Whether pictures are drawn; needs the extra ``plot``.
    inputs : CalibrationInputs, optional
        Histograms, if they were read before.
    progress : callable, optional
        Called with 1 after each fitted bin.

    Returns
    -------
    CalibrationResult

    Raises
    ------
    ConfigError, InputFileError, MismatchError, UnknownName
        As for `read_calibration`, and if the histograms lack what it names; gives the line.
    InvalidValues
        If nothing can be measured in a bin that cannot join another.
    MissingExtra
        If pyhf or correctionlib is not installed.
    OutputError
        If the folder cannot be written, or contains inputs; nothing is changed in these cases.

    Examples
    --------
    >>> from jettagger.studies import calibrate
    >>> result = calibrate("calibration.yaml", "out")  # doctest: +SKIP
    >>> print(result.factors.table())  # doctest: +SKIP
    """
    start = time.perf_counter()
    if not isinstance(config, CalibrationConfig):
        config = read_calibration(config)
    check_output(config, output, force=force, plots=plots)
    inputs = read_inputs(config) if inputs is None else inputs
    provenance = _provenance(config, inputs)
    with folder_complete_or_absent(output, marker=REPORT, force=force) as folder:
        fits = fit_bins(config, inputs.probes, progress=progress)
        mistags, of_control = None, None
        if inputs.control is not None:
            mistags = measure_mistags(config, inputs.control, fits)
            *_, of_control = mistag_yields(config, inputs.control, fits.axes)
        record = {"provenance": provenance.to_dict()}
        means = mass_means(fits)
        result = CalibrationResult(
            scale_factors(config, fits, mistags, record=record, model=inputs.origin),
            _efficiencies(config, fits, of_control, inputs),
            fits,
            mistags,
            means,
            mass_factors(config, means),
        )
        written = _write_files(config, result, inputs, folder, provenance)
        written |= write_report(config, result, inputs, folder, provenance, plots=plots)
        if Path(config.document.name).is_file():
            shutil.copyfile(config.document.name, folder / "config.yaml")
            written["config.yaml"] = "the configuration"
    return CalibrationResult(
        result.factors,
        result.efficiencies,
        fits,
        mistags,
        means,
        result.masses,
        written,
        time.perf_counter() - start,
    )


def _efficiencies(
    config: CalibrationConfig, fits: Fits, control: Mapping[str, Any] | None, inputs: CalibrationInputs
) -> EfficiencyMap:
    with config.document.at("bins"):
        return efficiencies_of(config, fits, control, model=inputs.origin)


def _write_files(
    config: CalibrationConfig,
    result: CalibrationResult,
    inputs: CalibrationInputs,
    folder: Path,
    provenance: Provenance,
) -> dict[str, str]:
    """Factors in all layouts, efficiencies, histograms, and the models of the fits."""
    result.factors.save(folder / "scale_factors.json")
    written = {
        "scale_factors.json": "scale factors with all sources, in correctionlib's format",
        "scale_factors.csv": "the same as a table",
        "efficiencies.json": "efficiencies in simulation",
    }
    for layout in config.content.layouts:
        name = f"scale_factors_{layout}.json"
        flavors = dict(config.content.flavors) if layout == "b_tagging" else None
        with config.document.at("layouts"):
            result.factors.save(folder / name, layout, flavors=flavors, table=False)
        written[name] = f"scale factors in the layout {layout}"
    result.efficiencies.save(folder / "efficiencies.json")
    if result.masses is not None:
        result.masses.save(folder / "mass_factors.json")
        written["mass_factors.json"] = "scale and resolution of the mass, for variations of a search"
    save(_named(inputs), folder / "histograms.json.gz", provenance=provenance)
    written["histograms.json.gz"] = "the histograms that were read or filled"
    for place, item in result.fits.bins.items():
        name = f"fits/{folder_of(result.fits.axes, place)}"
        (folder / name).mkdir(parents=True)
        with complete_or_absent(folder / name / "workspace.json") as part:
            part.write_text(json.dumps(item.fit.model.workspace(), indent=1) + "\n", encoding="utf-8")
        written[f"{name}/workspace.json"] = "the model of the fit for pyhf"
        write_datacard(item.fit.model, folder / name, provenance=provenance)
        written[f"{name}/datacard.txt"] = "the same for CMS combine"
        written[f"{name}/templates.root"] = "its templates"
    return written


guard(globals())
