"""Measure scale factors of a tagger: from histograms of probe jets to correctionlib files, tables and a report.

The configuration is a YAML file. The histogram of probe jets is one that jettagger.processors.ScaleFactorProcessor
fills, or it is filled here from files of events (key events instead of histograms, see docs/calibration.md):

  version: 1
  name: top                                # of the correction
  discriminant: TopbqqvsQCD
  working_points: {loose: 0.6, tight: 0.9} # thresholds, edges of the axis score
  histograms: probes.json.gz               # file or files, which are added
  variable: msoftdrop                      # what is fitted, in all bands of the score together
  bins: {pt: [300, 400, 500, 800]}         # mass and abseta, too
  categories:                              # by truth
    signal: {normalisation: 0.2}           # factors of its own
    merged: {from: [partly_merged], factors: fixed, normalisation: 0.2}
    other: {from: [unmerged, other], factors: fixed, normalisation: free}
  normalisation_uncertainties: {lumi: {signal: 0.016, merged: 0.016}}
  shapes: {jms: {size: 0.02}}              # a variation whose size is measured
  mass_factors: {column: msoftdrop, scale: jms}
  layouts: [b_tagging]
  flavors: {signal: 6}

In each kinematic bin all bands are fitted together. Factors move jets between the bands and keep their sum. Bins in
which nothing can be measured join their neighbours in pt, and the report says so. The folder OUT/ is complete or not
there: scale_factors.json and .csv, further layouts, efficiencies.json, mass_factors.json, histograms.json.gz, fits/
(workspaces for pyhf, datacards), report.json, report.md and pictures.

examples:
  jettagger calibrate calibration.yaml -o calibration --dry-run
  jettagger calibrate calibration.yaml -o calibration
  jettagger calibrate calibration.yaml -o calibration --executor futures --workers 8
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from jettagger.cli.console import Console
from jettagger.cli.options import add_run_options

if TYPE_CHECKING:
    from jettagger.search.files import Survey
    from jettagger.studies import CalibrationConfig, CalibrationResult
    from jettagger.studies.calibration.fits import Plan

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger calibrate``."""
    add = parser.add_argument
    add("config", metavar="CONFIG.yaml", help="what to measure, see above")
    add("--output", "-o", required=True, metavar="OUT/", help="folder to write")
    add_run_options(parser)
    add("--no-plots", action="store_true", help="draw nothing")
    add("--force", action="store_true", help="replace an existing calibration")
    add(
        "--dry-run",
        action="store_true",
        help="read the histograms, check the configuration, and say what would be done",
    )


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger calibrate``."""
    from jettagger.errors import JettaggerError
    from jettagger.files import refuse_inputs
    from jettagger.search.run import check_executor
    from jettagger.studies import calibrate, read_calibration, read_inputs, survey_inputs
    from jettagger.studies.calibration.fits import plan
    from jettagger.studies.calibration.run import check_output, keep_histograms

    check_executor(args.executor, args.workers, args.scheduler, args.retries)
    config = read_calibration(args.config)
    check_output(config, args.output, force=args.force, plots=not args.no_plots)
    found = {}
    if config.events:
        patterns = sum(len(files.patterns) for probes in config.events.values() for files in probes.files.values())
        with console.progress_bar("opening files", patterns, "files") as advance:
            found = survey_inputs(config, skip_broken=args.skip_broken, retries=args.retries, progress=advance)
        refuse_inputs(args.output, [info.path for survey in found.values() for info in survey.files])
        _files(console, found)
    if args.dry_run and config.events:
        console.say("dry run: no events were read, nothing was fitted or written")
        return 0
    events = sum(survey.events for survey in found.values())
    with console.progress_bar("reading", events, "events") as advance:
        inputs = read_inputs(
            config,
            found,
            executor=args.executor,
            workers=args.workers,
            scheduler=args.scheduler,
            skip_broken=args.skip_broken,
            retries=args.retries,
            progress=advance,
        )
    for note in inputs.notes:
        console.warn(note)
    try:
        planned = plan(config, inputs.probes)
        _plan(console, config, planned)
        if args.dry_run:
            console.say("dry run: nothing was fitted or written")
            return 0
        with console.progress_bar("fitting", len(planned.templates), "bins") as advance:
            result = calibrate(
                config, args.output, force=args.force, plots=not args.no_plots, inputs=inputs, progress=advance
            )
    except (JettaggerError, KeyboardInterrupt):
        if (kept := keep_histograms(config, inputs, args.output)) is not None:
            console.warn(f"the histograms that were filled are kept in {kept}: give 'histograms' instead of 'events'")
        raise
    _summary(console, config, result, args.output)
    return 0


def _files(console: Console, found: Mapping[str, Survey]) -> None:
    rows = []
    for name, survey in found.items():
        for dataset, sample in survey.samples.items():
            mine = [info for info in survey.files if info.dataset == dataset]
            section = "data" if sample.data else f"{sample.cross_section:g}"
            rows.append((name, dataset, section, len(mine), sum(info.events for info in mine)))
    console.table("samples", ("selection", "dataset", "cross section [pb]", "files", "events"), rows)


def _plan(console: Console, config: CalibrationConfig, planned: Plan) -> None:
    rows = []
    for templates in planned.templates:
        counts = [f"{sum(content.sum() for content in templates.data.values()):.7g}"]
        for category in config.content.categories:
            there = category in templates.categories
            counts.append(f"{templates.yields(category).sum():.5g}" if there else "0")
        rows.append((templates.name, *counts, len(templates.variable.edges) - 1))
    console.table("jets", ("bin", "data", *config.content.categories, f"bins of {config.content.variable}"), rows)
    for line in planned.report:
        console.say(line)
    console.say(f"fits {', '.join(config.bands)} together; data sets of data: {', '.join(planned.data)}")


def _summary(console: Console, config: CalibrationConfig, result: CalibrationResult, output: str) -> None:
    console.say("")
    console.say(result.factors.table())
    console.say("")
    for item in result.fits.bins.values():
        goodness = item.fit.goodness
        known = goodness.degrees_of_freedom > 0
        console.say(
            f"{item.name}: goodness of fit {f'{goodness.probability:.2g}' if known else 'not known, no bin to spare'}"
        )
        if item.fit.at_bounds:
            console.warn(f"{item.name}: at a bound of the fit: {', '.join(item.fit.at_bounds)}")
    for name, mean in result.means.items():
        console.say(f"{name}: {mean.mean}")
    for name, text in result.files.items():
        if "/" not in name:
            console.wrote(f"{output.rstrip('/')}/{name}", f"{output.rstrip('/')}/{name}: {text}")
    place = f"{output.rstrip('/')}/fits/"
    console.wrote(place, f"{place}: {len(result.fits.bins)} fits, in {result.seconds:.0f} s")
