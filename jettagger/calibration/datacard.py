"""Fits of factors as cards of CMS combine with rate parameters.

The format is that of https://cms-analysis.github.io/HiggsAnalysis-CombinedLimit. Each factor is a rate parameter of a
category in a band; the one of the reference band is a formula of the others, as in
:mod:`jettagger.calibration.model`. Numbers of expected jets are those of the workspace for all factors and
normalisations, and for variations up and down by one standard deviation; between these combine interpolates slightly
differently. Measured shapes without a prior are ``shapeU``. Limited simulated events are left to ``autoMCStats``.
"""

from __future__ import annotations

import os
from pathlib import Path

from jettagger.arguments import guard
from jettagger.calibration.model import FREE, LARGEST, FactorModel
from jettagger.files import complete_or_absent
from jettagger.provenance import Provenance
from jettagger.statistics.datacards import EVENTS, check_names
from jettagger.statistics.datacards import row as _row
from jettagger.statistics.templates import write_templates

__all__ = ["write_datacard"]


def write_datacard(
    model: FactorModel, folder: str | os.PathLike[str], *, provenance: Provenance | None = None
) -> tuple[Path, Path]:
    """Write the model as ``datacard.txt`` and its templates as ``templates.root``.

    Parameters
    ----------
    model : FactorModel
    folder : path
        An existing folder.
    provenance : Provenance, optional
        How the histograms were made; stored in the ROOT file.

    Returns
    -------
    card, templates : pathlib.Path
        The comment at the head of the card gives the command for the fit.

    Raises
    ------
    ConfigError
        If a name of a band, category or uncertainty has characters that combine does not read.
    OutputError
        If a file cannot be written.
    """
    names = [*model.templates.bands, *model.categories, *model.templates.variations, *model.normalisations]
    check_names(names, model.templates.name)
    folder = Path(folder)
    paths = folder / "datacard.txt", folder / "templates.root"
    templates = model.templates
    nominal = {
        band: {category: parts[band] for category, parts in templates.categories.items() if band in parts}
        for band in templates.bands
    }
    write_templates(paths[1], templates.variable, nominal, templates.data, provenance=provenance)
    with complete_or_absent(paths[0]) as part:
        part.write_text(_card(model, paths[1].name), encoding="utf-8")
    return paths


def _card(model: FactorModel, root: str) -> str:
    templates = model.templates
    columns = [
        (band, category)
        for band in templates.bands
        for category in model.categories
        if band in templates.categories[category]
    ]
    processes = list(model.categories)
    interest = ",".join(model.factor_parameters)
    free = [name for name in templates.variations if name in model.shapes and model.shapes[name].prior is None]
    # combine takes -1 to 1 for what is uniform
    ranges = ":".join(f"{name}={low:g},{high:g}" for name in free for low, high in [model.range_of(name)])
    lines = [
        f"# Factors on efficiencies, {' '.join(templates.name.split())}",
        "# text2workspace.py datacard.txt -o workspace.root",
        f"# combine -M MultiDimFit workspace.root --redefineSignalPOIs {interest} --setParameters r=1 "
        f"--freezeParameters r{' --setParameterRanges ' + ranges if ranges else ''} --algo singles",
        f"imax {len(templates.bands)}",
        f"jmax {len(processes) - 1}",
        "kmax *",
        "-" * 20,
        f"shapes * * {root} $CHANNEL/$PROCESS $CHANNEL/$PROCESS_$SYSTEMATIC",
        f"shapes data_obs * {root} $CHANNEL/data_obs",
        "-" * 20,
        _row("bin", templates.bands),
        _row("observation", [f"{content.sum():.10g}" for content in templates.data.values()]),
        "-" * 20,
        _row("bin", [band for band, _ in columns]),
        _row("process", [category for _, category in columns]),
        # one process has to be a signal
        _row("process", [str(processes.index(category)) for _, category in columns]),
        _row("rate", ["-1"] * len(columns)),
        "-" * 20,
    ]
    for variation in templates.variations:
        # a constraint of another width: the templates are those of 1 / width standard deviations
        width = 1.0 if variation in free or variation not in model.shapes else model.shapes[variation].width
        shifted = [variation in templates.categories[category][band].shifts for band, category in columns]
        kind = "shapeU" if variation in free else "shape"
        lines.append(_row(f"{variation} {kind}", [f"{width:.10g}" if there else "-" for there in shifted]))
    sizes = {category: model.sizes(category) for category in processes}
    for uncertainty in dict.fromkeys(name for listed in sizes.values() for name in listed):
        cells = [
            f"{1 + sizes[category][uncertainty]:.10g}" if uncertainty in sizes[category] else "-"
            for _, category in columns
        ]
        lines.append(_row(f"{uncertainty} lnN", cells))
    lines += _rates(model)
    lines += [f"{band} autoMCStats {EVENTS}" for band in templates.bands if model.simulated_statistics]
    return "\n".join(lines) + "\n"


def _rates(model: FactorModel) -> list[str]:
    """Rate parameters of factors and free normalisations."""
    lines = []
    for category, chosen in model.categories.items():
        for band, name in model.moved[category].items():
            lines.append(f"{name} rateParam {band} {category} 1 [0,{model.factor_parameters[name]:.10g}]")
        if chosen.normalisation == FREE:
            lines.append(f"norm_{category} rateParam * {category} 1 [0,{LARGEST:g}]")
    # formulae follow the parameters that they need
    for category in model.categories:
        reference, parameters = model.reference(category), model.moved[category]
        if reference is None or not parameters:
            continue
        jets = dict(zip(model.templates.bands, model.templates.yields(category), strict=True))
        terms = [f"(1-@{i})*{jets[band] / jets[reference]:.15g}" for i, band in enumerate(parameters)]
        formula = "+".join(["1", *terms])
        lines.append(
            f"kappa_{category}_{reference} rateParam {reference} {category} ({formula}) {','.join(parameters.values())}"
        )
    return lines


guard(globals())
