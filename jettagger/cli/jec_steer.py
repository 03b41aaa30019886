"""Train several calibrations one after the other, and copy logs and outputs to a destination.

Each training is 'jettagger jec train' in a process of its own. Its output, train.stdout and train.stderr are copied to
STORAGE/<time>_<name>, where STORAGE is the key run.storage of the configuration, or --store: a folder, or a location of
fsspec such as gs://bucket/results. The name is run.name, or that of the file. A training that fails does not stop the
others; a table at the end says what became of each.

examples:
  jettagger jec steer configs/*.yaml --dry-run
  jettagger jec steer configs/*.yaml --store results/
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jettagger.cli.console import Console

if TYPE_CHECKING:
    from jettagger.jec.steering import SteeredRun

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger jec steer``."""
    add = parser.add_argument
    add("configs", nargs="+", metavar="CONFIG.yaml", help="configurations of 'jettagger jec train'")
    add("--store", metavar="LOCATION", help="destination of all of them, instead of run.storage")
    add("--no-plots", action="store_true", help="draw nothing")
    add("--dry-run", action="store_true", help="check the configurations, and show the destinations")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger jec steer``."""
    from jettagger.jec.steering import plan_runs, steer

    if args.dry_run:
        runs = plan_runs(args.configs, args.store)
        _problems(console, runs)
        rows = [(run.name, "invalid" if run.problem else "", run.destination) for run in runs]
        console.table("trainings", ("name", "", "destination"), rows)
    else:
        runs = steer(
            args.configs,
            store=args.store,
            plots=not args.no_plots,
            start=lambda run: console.tell(f"{run.name}: {'skipped' if run.problem else run.source}"),
        )
        _problems(console, runs)
        header = ("name", "", "epochs", "kept", "validation loss", "seconds", "destination")
        console.table("trainings", header, [_row(console, run) for run in runs])
    return int(any(run.problem for run in runs))


def _problems(console: Console, runs: Sequence[SteeredRun]) -> None:
    for run in runs:
        if run.problem:
            console.warn(f"{run.source}: {run.problem}")


def _row(console: Console, run: SteeredRun) -> tuple[object, ...]:
    loss = "" if run.loss is None else f"{run.loss:.5f}"
    numbers = ("", "") if run.problem else (run.epochs, run.best_epoch)
    return (run.name, "failed" if run.problem else "done", *numbers, loss, f"{run.seconds:.0f}", run.destination)
