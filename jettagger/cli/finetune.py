"""Train a head on hidden neurons, scores and columns of jets and events: new classes, or a better mass.

The configuration is a YAML file. The inputs are skims, parquet or ROOT, that hold the tagger's outputs (of 'jettagger
tag', or of jettagger.processors.FinetuneInputsProcessor, which adds labels from generator particles). Labels are
expressions in columns of the skim. One for classes:

  version: 1
  name: XggHead                            # also the prefix of the head's columns
  kind: classes                            # outputs probXgg, probQCD
  parent: inclParTToyV1                    # the model that made the skims
  files: [skims/*.parquet]
  inputs: [hidden, FatJet_pt]              # kinds and names of outputs, columns as named in the skim
  select: "FatJet_pt > 200"
  classes:
    Xgg: "FatJet_genResonance == 25 and FatJet_genGluons == 2"
    QCD: "FatJet_genResonance == 0"
  weight: "abs(genWeight)"                 # the classes are balanced in any case
  kinematics: {columns: {FatJet_pt: [200, 300, 400, 600, 1000]}, to: flat}
  model: {kind: mlp, layers: [64, 64]}     # or {kind: bdt, trees: 500, depth: 5}
  training: {epochs: 60, patience: 8, seed: 1}
  split: {validation: 0.15, test: 0.25}    # shares of the events; or {folds: 5}
  compare: {mine: "probHqq / (probHqq + probQCDothers)"}

and one for a mass, which starts from the tagger's own:

  version: 1
  name: TauMass
  kind: mass                               # output mass, GeV
  parent: inclParTToyV1
  files: [skims/*.parquet]
  inputs: [hidden, mass, MET_pt, FatJet_metDeltaPhi, FatJet_pt, FatJet_nLeptonsNear]
  target: FatJet_genResonanceMass          # GeV
  classes: {Htautau: "FatJet_genTaus == 2"}
  loss: {kind: log-cosh, scale: 0.1}       # or huber, or {kind: quantile, q: 0.5}

Scores of a head for classes that do not depend on columns such as the mass, one head for each strength:

  decorrelate: {method: disco, from: [FatJet_msoftdrop], of: QCD, strength: [0, 1, 3, 10]}

The folder HEAD/ is complete or not there: head.onnx, head.json and report/ with pictures, report.md and report.json.
An interrupted training of networks goes on with the same command: HEAD.resume keeps its state until HEAD/ is complete.
Use it with 'jettagger tag --head HEAD/', or in Python with tagger.with_heads("HEAD/").

examples:
  jettagger finetune xgg.yaml -o heads/XggHead --dry-run
  jettagger finetune xgg.yaml -o heads/XggHead
  jettagger finetune taumass.yaml -o heads/TauMass --no-plots --force
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack, redirect_stdout
from typing import TYPE_CHECKING, Any

from jettagger.cli.console import Console
from jettagger.cli.trainings import add_training_options, kept_state

if TYPE_CHECKING:
    from jettagger.finetuning import FinetuneConfig, FinetuneResult, SkimSurvey, StrengthScan

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger finetune``."""
    add = parser.add_argument
    add("config", metavar="CONFIG.yaml", help="what to train, see above")
    add("--output", "-o", required=True, metavar="HEAD/", help="folder to write")
    add_training_options(parser, "HEAD", "an existing head")
    add("--dry-run", action="store_true", help="open the files, check the configuration, and say what would be done")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger finetune``."""
    from jettagger.bundles.registry import load_bundle
    from jettagger.errors import JettaggerError
    from jettagger.files import check_folder, refuse_inputs
    from jettagger.finetuning import finetune, finetune_strengths, read_config, survey
    from jettagger.finetuning.prepare import files_read
    from jettagger.finetuning.report import STRENGTHS
    from jettagger.heads.description import DESCRIPTION
    from jettagger.training.live import live_table

    config = read_config(args.config)
    check_folder(
        args.output, marker=STRENGTHS if config.is_scan else DESCRIPTION, force=args.force, inputs=[args.config]
    )
    try:
        bundle = load_bundle(config.parent)
    except JettaggerError as error:
        raise error.placed(config.document.where("parent")) from error
    found = survey(config, bundle)
    refuse_inputs(args.output, files_read(bundle, found))
    _plan(console, config, found)
    if args.dry_run:
        return 0
    with ExitStack() as stack:
        stack.enter_context(kept_state(console, args.output, args.resume))
        stack.enter_context(redirect_stdout(sys.stderr))  # what libraries print is no result
        bar = stack.enter_context(ExitStack())  # ends before the table of losses begins
        advance = bar.enter_context(console.progress_bar("reading", found.events, "events"))
        options: dict[str, Any] = {
            "force": args.force,
            "plots": not args.no_plots,
            "resume": args.resume,
            "found": found,
            "progress": advance,
            "follow": stack.enter_context(live_table(interval=console.interval)),
            "begin": lambda _: bar.close(),
        }
        if config.is_scan:
            scan = finetune_strengths(
                config, args.output, start=lambda value: console.tell(f"strength {value:g}"), **options
            )
        else:
            result = finetune(config, args.output, **options)
    if config.is_scan:
        _scan_summary(console, config, scan, args.output)
    else:
        _summary(console, config, result, args.output)
    return 0


def _plan(console: Console, config: FinetuneConfig, found: SkimSurvey) -> None:
    inputs = found.layout.inputs
    shown = ", ".join(inputs[:4]) + (f", ... ({len(inputs)} inputs)" if len(inputs) > 4 else "")
    console.say(f"{config.name}: {shown} -> {', '.join(config.outputs)}")
    if config.is_scan:
        console.say(
            f"{len(config.strengths)} heads: {', '.join(config.with_strength(item).name for item in config.strengths)}"
        )
    console.say(f"{found.events} events in {len(found.skims)} files")
    for number, name in enumerate(config.decorrelate.domains if config.decorrelate is not None else ()):
        mine = [role for role in found.roles if role.domain == number]
        unlabelled = sum(not role.labelled for role in mine)
        unweighted = sum(not role.weighted for role in mine)
        notes = [f"{unlabelled} without classes"] if unlabelled else []
        notes += [f"{unweighted} without the columns of 'weight', whose jets have the weight 1"] if unweighted else []
        console.say(f"domain {name}: {len(mine)} files{''.join(f', {note}' for note in notes)}")
    if config.kinematics is not None:
        console.say(
            f"kinematics: {config.kinematics.method}, {', '.join(config.kinematics.columns)} to {config.kinematics.to}"
        )
    for path in found.unknown_model:
        console.warn(f"{path} does not say which model made its columns; taken for {config.parent}")


def _jets(console: Console, config: FinetuneConfig, result: FinetuneResult) -> None:
    from jettagger.finetuning.kinematics import change_notes, change_table

    rows = [(name, *row.values()) for name, row in result.jets.items()]
    console.table("jets", ("class", "training", "validation", "test"), rows)
    for why, number in result.left_out.items():
        console.say(f"left out: {number} jets {why}")
    if config.kinematics is not None:
        titles, *changes = change_table(result.kinematics, config.kinematics)
        console.table(f"kinematics: {config.kinematics.method}, to {config.kinematics.to}", titles, changes)
        for note in change_notes(result.kinematics, config.kinematics):
            console.say(note)
    console.say("")


def _scan_summary(console: Console, config: FinetuneConfig, scan: StrengthScan, output: str) -> None:
    from jettagger.finetuning.report import dependence_lines, strengths_table

    _jets(console, config, next(iter(scan.results.values())))
    dependence = {strength: result.dependence for strength, result in scan.results.items()}
    console.say(strengths_table({strength: result.measures for strength, result in scan.results.items()}, dependence))
    console.say("")
    for strength, result in scan.results.items():
        for text in dependence_lines(result.dependence):
            console.say(f"strength {strength:g}: {text}")
        console.wrote(
            f"{output.rstrip('/')}/{result.head.name}",
            f"{output.rstrip('/')}/{result.head.name}/: the head of the strength {strength:g}",
        )
    console.wrote(output, f"{output.rstrip('/')}/: {', '.join(scan.report)}")


def _summary(console: Console, config: FinetuneConfig, result: FinetuneResult, output: str) -> None:
    from jettagger.finetuning.report import dependence_lines, tables

    _jets(console, config, result)
    console.say(tables(result.measures))
    console.say("")
    measures = result.measures
    console.say(f"loss on jets that it has not seen: {measures.loss:.5f}, without the head {measures.own_loss:.5f}")
    for text in dependence_lines(result.dependence):
        console.say(text)
    console.say(", ".join(f"{what} {seconds:.1f} s" for what, seconds in result.seconds.items()))
    console.wrote(
        output, f"{output.rstrip('/')}/: the head {result.head.name!r}, columns {', '.join(result.head.columns)}"
    )
    console.say(f"{output.rstrip('/')}/report/: {len(result.report)} files")
