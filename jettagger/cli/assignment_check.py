"""Check a dataset of whole events (HDF5) against its event file; exit status 1 if events cannot be used.

Prints shapes, the share of events in which each particle and each combination can be reconstructed, by number of
objects, classes, and all that is wrong, with the number of events and the first of them: features that are not finite,
targets out of range, on padded slots, or twice in an event.

examples:
  jettagger assignment check ttbar.h5 --event ttbar.yaml
  jettagger assignment check ttbar.h5 --event ttbar.yaml -o check.json
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from jettagger.cli.console import Console

if TYPE_CHECKING:
    from jettagger.assignment import DatasetReport

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger assignment check``."""
    add = parser.add_argument
    add("file", metavar="FILE.h5", help="dataset")
    add("--event", required=True, metavar="EVENT.yaml", help="event file")
    add("--output", "-o", metavar="OUT.json", help="file to write, with all numbers")
    add("--no-labels", action="store_true", help="the dataset has no targets: check its inputs only")
    add("--force", action="store_true", help="replace an existing output")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger assignment check``.

    Raises
    ------
    OutputError
        If the output is an input, or exists already.
    """
    from jettagger.assignment import AssignmentDataset, check_dataset
    from jettagger.assignment.checking import write_report
    from jettagger.errors import OutputError
    from jettagger.files import refuse_inputs

    if args.output is not None:
        refuse_inputs(args.output, [args.file, args.event])
        if os.path.exists(args.output) and not args.force:
            raise OutputError(f"{args.output} exists already; --force replaces it")
    dataset = AssignmentDataset(args.file, args.event, labels=not args.no_labels)
    with console.progress_bar("checking", dataset.n_events, "events") as advance:
        report = check_dataset(dataset, progress=advance)
    _print(console, report)
    if args.output is not None:
        write_report(args.output, report, event=args.event)
        console.wrote(args.output, f"{args.output}: written")
    return 0 if report.usable else 1


def _print(console: Console, report: DatasetReport) -> None:
    console.say(f"{report.path}: {report.events} events")
    rows: list[tuple[object, ...]]
    rows = [(name, report.slots[name], " ".join(features)) for name, features in report.features.items()]
    console.table("inputs", ("name", "slots", "features"), rows)
    if report.particles:
        rows = [
            (name, share.events, str(share), report.partly[name].events) for name, share in report.particles.items()
        ]
        console.table("particles", ("name", "events", "share", "some daughters only"), rows)
        rows = [(label, share.events, str(share)) for label, share in report.combinations.items() if share.events]
        console.table("combinations", ("particles", "events", "share"), rows)
    header = ("objects", "events", *report.particles, *(["all"] if report.particles else []))
    rows_by_objects = []
    for row in report.by_objects:
        shares = [str(row.particles[name]) for name in report.particles]
        rows_by_objects.append((row.objects, row.events, *shares, *([str(row.complete)] if report.particles else [])))
    console.table("matching efficiency by number of objects", header, rows_by_objects)
    for path, classes in report.classes.items():
        rows = [("unknown" if value == -1 else str(value), count) for value, count in classes.items()]
        console.table(f"classes {path}", ("class", "events"), rows)
    if report.regressions:
        rows = [(path, share.events, str(share)) for path, share in report.regressions.items()]
        console.table("regressions", ("target", "events with a value", "share"), rows)
    if report.weights:
        rows = [(name, *(f"{value:.4g}" for value in values)) for name, values in report.weights.items()]
        console.table("weights", ("of", "min", "mean", "max"), rows)
    if report.problems:
        rows = [
            (
                "unusable" if problem.fatal else "note",
                problem.dataset,
                problem.what,
                problem.events,
                problem.first,
            )
            for problem in report.problems
        ]
        console.table("problems", ("kind", "dataset", "problem", "events", "first event"), rows)
    else:
        console.say("no problems")
