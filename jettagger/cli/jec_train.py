"""Train a calibration of the jet energy.

The configuration is that of ml-jec; docs/jec.md lists all keys. The folder DIR/ is complete or not there:

  model.onnx, inputs.json, bundle.json     the model, for 'jettagger tag --model DIR/' and load_tagger
  weights.npz, config.yaml, transform.yaml what it was made with; calibration.json is the record
  history.json, history.pdf, history_zoomed.pdf, network.txt
  prediction.npy                           ln(factor) for the test files, in their order, with 'predict: true'
  logs/                                    for TensorBoard, if it is installed

An interrupted training goes on with the same command: DIR.resume keeps its state until DIR/ is complete.

examples:
  jettagger jec train config.yaml -o out/ --dry-run
  jettagger jec train config.yaml -o out/
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack, redirect_stdout
from typing import TYPE_CHECKING

from jettagger.cli.console import Console
from jettagger.cli.trainings import add_training_options, kept_state

if TYPE_CHECKING:
    from jettagger.jec.configuration import JecConfig
    from jettagger.jec.training import JecTraining

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger jec train``."""
    add = parser.add_argument
    add("config", metavar="CONFIG.yaml", help="what to train, see above")
    add("--output", "-o", required=True, metavar="DIR/", help="folder to write")
    add_training_options(parser, "DIR", "the output of an earlier training")
    add("--dry-run", action="store_true", help="open the first files, check the configuration, and draw the network")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger jec train``."""
    from jettagger.files import check_folder
    from jettagger.jec.configuration import notes, read_config
    from jettagger.jec.training import MARKER, inputs_of, train
    from jettagger.training.live import live_table

    config = read_config(args.config)
    check_folder(args.output, marker=MARKER, force=args.force, inputs=[args.config, *inputs_of(config)])
    for note in notes(config):
        console.warn(note)
    if args.dry_run:
        _plan(console, config)
        return 0
    with ExitStack() as stack:
        stack.enter_context(kept_state(console, args.output, args.resume))
        stack.enter_context(redirect_stdout(sys.stderr))  # what libraries print is no result
        follow = stack.enter_context(live_table(interval=console.interval))
        result = train(
            config,
            args.output,
            force=args.force,
            plots=not args.no_plots,
            resume=args.resume,
            follow=follow,
            begin=lambda made, sets: console.tell(f"{len(sets.train)} jets, {made.parameters:,} parameters"),
        )
    _summary(console, args.output, result)
    return 0


def _plan(console: Console, config: JecConfig) -> None:
    from jettagger.jec.shards import open_data, split_files
    from jettagger.jec.training import architecture_for, loop_settings

    data = open_data(config.data.location, download=config.data.download)
    split = split_files(data.files, config.data.split, predict=config.predict, where="data.split")
    parts = {"training": split.train, "validation": split.validation, "test": split.test}
    rows = [(name, len(files), sum(file.count or 0 for file in files)) for name, files in parts.items()]
    console.table("jets", ("part", "files", "jets"), rows)
    architecture = architecture_for(config, data.checked_transforms(config))
    settings = loop_settings(config, sum(file.count or 0 for file in split.train))
    console.say("")
    console.say(architecture.drawing())
    console.say(
        f"at most {settings.epochs} epochs of {config.train.steps_per_epoch} steps of {config.data.batch_size} jets"
    )


def _summary(console: Console, output: str, result: JecTraining) -> None:
    history = result.history
    console.table("jets", ("part", "jets"), list(result.jets.items()))
    if result.dropped:
        console.say(f"left out: {result.dropped} jets without pt_gen above 0")
    console.say("")
    kept = history.epochs[history.best - 1].validation if history.best else history.epochs[0].start
    name = f"epoch {history.best}" if history.best else "before the training: no epoch was better"
    console.say(f"{len(history.epochs)} epochs; kept: {name}, validation loss {kept:.5f}")
    console.say(", ".join(f"{what} {seconds:.1f} s" for what, seconds in result.seconds.items()))
    for note in result.notes:
        console.warn(note)
    console.wrote(output, f"{output.rstrip('/')}/: the model, {result.architecture.parameters:,} parameters")
