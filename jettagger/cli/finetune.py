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
  flatten: {FatJet_pt: [200, 300, 400, 600, 1000]}
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

The folder HEAD/ is complete or not there: head.onnx, head.json and report/ with pictures, report.md and report.json.
Use it with 'jettagger tag --head HEAD/', or in Python with tagger.with_heads("HEAD/").

examples:
  jettagger finetune xgg.yaml -o heads/XggHead --dry-run
  jettagger finetune xgg.yaml -o heads/XggHead
  jettagger finetune taumass.yaml -o heads/TauMass --no-plots --force
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from jettagger.cli import console
from jettagger.cli.console import progress_bar, say, table, tell, warn

if TYPE_CHECKING:
    from jettagger.finetuning import Epoch, FinetuneConfig, FinetuneResult, SkimSurvey

__all__ = ["configure", "run"]

#: rows of the live table
_ROWS = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger finetune``."""
    add = parser.add_argument
    add("config", metavar="CONFIG.yaml", help="what to train, see above")
    add("--output", "-o", required=True, metavar="HEAD/", help="folder to write")
    add("--no-plots", action="store_true", help="draw nothing")
    add("--force", action="store_true", help="replace an existing head")
    add("--dry-run", action="store_true", help="open the files, check the configuration, and say what would be done")


def run(args: argparse.Namespace) -> int:
    """Run ``jettagger finetune``."""
    from jettagger.bundles.registry import load_bundle
    from jettagger.errors import JettaggerError
    from jettagger.files import check_folder, refuse_inputs
    from jettagger.finetuning import finetune, read_config, survey
    from jettagger.finetuning.prepare import files_read
    from jettagger.heads.description import DESCRIPTION

    config = read_config(args.config)
    check_folder(args.output, marker=DESCRIPTION, force=args.force, inputs=[args.config])
    try:
        bundle = load_bundle(config.parent)
    except JettaggerError as error:
        raise type(error)(f"{config.document.where('parent')}: {error}") from error
    found = survey(config, bundle)
    refuse_inputs(args.output, files_read(bundle, found))
    _plan(config, found)
    if args.dry_run:
        return 0
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(sys.stderr))  # what libraries print is no result
        bar = stack.enter_context(ExitStack())  # ends before the table of losses begins
        advance = bar.enter_context(progress_bar("reading", found.events, "events"))
        follow = stack.enter_context(_live())
        result = finetune(
            config,
            args.output,
            force=args.force,
            plots=not args.no_plots,
            found=found,
            progress=advance,
            follow=follow,
            begin=lambda _: bar.close(),
        )
    _summary(result, args.output)
    return 0


def _plan(config: FinetuneConfig, found: SkimSurvey) -> None:
    inputs = found.layout.inputs
    shown = ", ".join(inputs[:4]) + (f", ... ({len(inputs)} inputs)" if len(inputs) > 4 else "")
    say(f"{config.name}: {shown} -> {', '.join(config.outputs)}")
    say(f"{found.events} events in {len(found.skims)} files")
    for path in found.unknown_model:
        warn(f"{path} does not say which model made its columns; taken for {config.parent}")


@contextmanager
def _live() -> Iterator[Any]:
    """A growing table of losses: in place on a terminal, otherwise a line at intervals."""
    if not sys.stderr.isatty():
        first, last = True, time.monotonic()

        def line(epoch: Epoch) -> None:
            nonlocal first, last
            if first:
                tell("network  epoch  training    validation")
            elif time.monotonic() - last < console.INTERVAL:
                return
            first, last = False, time.monotonic()
            mark = "  best" if epoch.best else ""
            tell(f"{epoch.model:>7}  {epoch.number:>5}  {epoch.train:<10.5f}  {epoch.validation:<10.5f}{mark}")

        yield line
        return
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    epochs: list[Epoch] = []
    live: Live | None = None

    def grow(epoch: Epoch) -> None:
        nonlocal live
        epochs.append(epoch)
        shown = Table(title="losses")
        for title in ("network", "epoch", "training", "validation", ""):
            shown.add_column(title, justify="right")
        for item in epochs[-_ROWS:]:
            mark = "best" if item.best else ""
            shown.add_row(str(item.model), str(item.number), f"{item.train:.5f}", f"{item.validation:.5f}", mark)
        if live is None:
            live = Live(shown, console=Console(stderr=True), transient=False)
            live.start()
        live.update(shown)

    try:
        yield grow
    finally:
        if live is not None:
            live.stop()


def _summary(result: FinetuneResult, output: str) -> None:
    from jettagger.finetuning.report import tables

    rows = [(name, *(str(number) for number in row.values())) for name, row in result.jets.items()]
    table("jets", ("class", "training", "validation", "test"), rows)
    for why, number in result.left_out.items():
        say(f"left out: {number} jets {why}")
    say("")
    say(tables(result.measures))
    say("")
    measures = result.measures
    say(f"loss on jets that it has not seen: {measures.loss:.5f}, without the head {measures.own_loss:.5f}")
    say(", ".join(f"{what} {seconds:.1f} s" for what, seconds in result.seconds.items()))
    say(f"{output.rstrip('/')}/: the head {result.head.name!r}, columns {', '.join(result.head.columns)}")
    say(f"{output.rstrip('/')}/report/: {len(result.report)} files")
