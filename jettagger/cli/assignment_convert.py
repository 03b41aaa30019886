"""Write a dataset of the layout that SPANet had before 2022 in the present one.

The old layout has the groups source, with mask, and one for each particle, with mask. EVENT is the event file, YAML or
the old .ini; its only input with slots takes the features of source.

examples:
  jettagger assignment convert ttbar_2021.h5 --event ttbar.yaml -o ttbar.h5
"""

from __future__ import annotations

import argparse

from jettagger.cli.console import Console

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger assignment convert``."""
    add = parser.add_argument
    add("file", metavar="OLD.h5", help="dataset of the old layout")
    add("--event", required=True, metavar="EVENT.yaml", help="event file")
    add("--output", "-o", required=True, metavar="NEW.h5", help="file to write")
    add("--force", action="store_true", help="replace an existing output")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger assignment convert``."""
    from jettagger.assignment import convert_dataset

    with console.progress_bar("converting", 0, "events") as advance:
        events = convert_dataset(args.file, args.event, args.output, force=args.force, progress=advance)
    console.wrote(args.output, f"{args.output}: {events} events")
    return 0
