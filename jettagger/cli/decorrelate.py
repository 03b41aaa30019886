"""Compare scores that do not sculpt a spectrum: maps, heads and the discriminant itself, with one configuration.

The configuration is a YAML file. The inputs are skims, parquet or ROOT, with the scores of a tagger (of 'jettagger
tag'):

  version: 1
  discriminant: HbbvsQCD                   # a preset, an expression in scores, or the name of a head below
  background: {files: [qcd/*.parquet], weight: genWeight, select: "FatJet_pt > 250"}
  signal: {files: [hbb/*.parquet], select: "FatJet_pt > 250"}
  protected:                               # the first one is the mass whose spectrum is compared, then pt
    FatJet_msoftdrop: {bins: [22, 30, 250], label: "Soft-drop mass [GeV]"}
    FatJet_pt: {edges: [250, 300, 400, 500, 700, 1000], label: "pT [GeV]"}
  maps:
    linear: {method: linear}
    ddt: {method: thresholds, efficiencies: [0.1, 0.05, 0.01]}
    quantile: {method: quantiles}
  heads:                                   # trained with jettagger finetune; extra "train"
    plain: hbb.yaml
    disco: {config: hbb.yaml, decorrelate: {method: disco, from: [FatJet_msoftdrop], of: QCD, strength: [1, 10]}}

Events are divided by event number: maps and heads are fitted to one half, and all of them are compared on the other.
The folder OUT/ is complete or not there: report.json, report.md and pictures, maps/ (correctionlib JSON), heads/. Heads
that are finished are kept in OUT.resume/ until then: after an interrupt, the same command goes on from there.

examples:
  jettagger decorrelate study.yaml -o study --dry-run
  jettagger decorrelate study.yaml -o study
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from jettagger.cli.console import Console

if TYPE_CHECKING:
    from jettagger.studies import StudyConfig, StudyResult, StudySurvey
    from jettagger.training import Epoch

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger decorrelate``."""
    add = parser.add_argument
    add("config", metavar="CONFIG.yaml", help="what to compare, see above")
    add("--output", "-o", required=True, metavar="OUT/", help="folder to write")
    add("--no-plots", action="store_true", help="draw nothing")
    add("--force", action="store_true", help="replace an existing study")
    add("--dry-run", action="store_true", help="open the files, check the configuration, and say what would be done")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger decorrelate``."""
    from jettagger.files import check_folder, refuse_inputs
    from jettagger.studies import decorrelate, read_config, survey
    from jettagger.studies.sculpting.report import REPORT
    from jettagger.studies.sculpting.run import READING

    config = read_config(args.config)
    check_folder(args.output, marker=REPORT, force=args.force, inputs=[args.config])
    found = survey(config)
    refuse_inputs(args.output, found.files)
    _plan(console, config, found)
    if args.dry_run:
        console.say("dry run: nothing was read or written")
        return 0
    with ExitStack() as bar:
        advance = bar.enter_context(console.progress_bar("reading", found.events, "events"))

        def step(line: str) -> None:
            if line != READING:
                bar.close()  # the files of the study are read
            console.tell(line)

        result = decorrelate(
            config,
            args.output,
            force=args.force,
            plots=not args.no_plots,
            found=found,
            progress=advance,
            follow=_losses(console),
            step=step,
        )
    _summary(console, result, args.output)
    return 0


def _losses(console: Console) -> Callable[[Epoch], None]:
    """Losses of the head in training, a line at intervals."""
    last = time.monotonic()

    def line(epoch: Epoch) -> None:
        nonlocal last
        if time.monotonic() - last >= console.interval:
            last = time.monotonic()
            console.tell(f"epoch {epoch.number}: training {epoch.train:.5f}, validation {epoch.validation:.5f}")

    return line


def _plan(console: Console, config: StudyConfig, found: StudySurvey) -> None:
    rows = [
        (sample.kind, len(sample.skims), sample.events, ", ".join(_all_columns(sample)))
        for sample in (found.background, found.signal)
    ]
    console.table("samples", ("jets", "files", "events", "columns"), rows)
    methods: list[tuple[str, ...]] = [("map", name, keys.method) for name, keys in config.maps.items()]
    methods += [
        ("head", head.name, f"{head.method or 'plain'}, {found.heads[head.name].events} events")
        for head in config.heads
    ]
    console.table("to fit", ("kind", "name", "method"), methods)
    test = config.content.test
    console.say(f"{100 * (1 - test):g} % of the events to fit, {100 * test:g} % to compare")


def _all_columns(sample: Any) -> list[str]:
    return sorted({name for columns in sample.columns for name in columns})


def _summary(console: Console, result: StudyResult, output: str) -> None:
    rows = [(kind, counts["fit"], counts["test"]) for kind, counts in result.jets.items()]
    console.table("jets", ("kind", "fitted to", "compared"), rows)
    console.say("")
    console.say(result.table)
    console.say("")
    console.wrote(output, f"{output.rstrip('/')}/: {len(result.files)} files of the report, in {result.seconds:.0f} s")
