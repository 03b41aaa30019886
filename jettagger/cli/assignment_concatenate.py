"""Write the events of several datasets of whole events (HDF5) into one, in the order of the files.

The files have the same datasets, features and numbers of slots. The record in the output has those of the files.

examples:
  jettagger assignment concatenate part_0.h5 part_1.h5 -o ttbar.h5
"""

from __future__ import annotations

import argparse

from jettagger.cli.console import Console

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger assignment concatenate``."""
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE.h5", help="datasets")
    add("--output", "-o", required=True, metavar="OUT.h5", help="file to write")
    add("--force", action="store_true", help="replace an existing output")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger assignment concatenate``."""
    from jettagger.assignment import concatenate_datasets

    with console.progress_bar("copying", 0, "events") as advance:
        made = concatenate_datasets(args.files, args.output, force=args.force, progress=advance)
    if made.left_out:
        console.warn(f"left out, as no reader takes them and they do not fit all files: {', '.join(made.left_out)}")
    console.wrote(
        args.output,
        f"{args.output}: {sum(made.events)} events of {len(made.events)} files ({', '.join(map(str, made.events))})",
    )
    return 0
