"""Convert event files to flat files with one row a jet, as JetClass-II has them.

Delphes: the fat jets of a collection with their candidates (cleaned, sorted by pt, longitudinal impact parameters
relative to the primary vertex): part_*, jet_*; where the file has generator particles, also genjet_*, genpart_*,
aux_genpart_* and the class of the jet in jet_label (-1: none of the 188). GeV and mm.

examples:
  jettagger convert delphes events.root -o jets.root
  jettagger convert delphes events.root --jets JetPUPPIAK15 -o jets.parquet
"""

from __future__ import annotations

import argparse

from jettagger.cli.console import Console

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add = parser.add_argument
    add("format", choices=("delphes",), help="format of the input")
    add("file", metavar="FILE", help="ROOT file that Delphes wrote")
    add("--output", "-o", required=True, metavar="OUT", help="file to write, .root or .parquet")
    add("--jets", metavar="NAME", help="collection of jets (default: JetPUPPIAK8, or the only one)")
    add("--force", action="store_true", help="replace an existing output")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger convert``."""
    from jettagger.files.delphes import DelphesFile
    from jettagger.skims.convert import convert_delphes
    from jettagger.skims.writers import check_target

    check_target(args.output, force=args.force, inputs=[args.file])
    with DelphesFile(args.file) as file:
        n_events = file.n_events
    with console.progress_bar("converting", n_events, "events") as advance:
        done = convert_delphes(args.file, args.output, jets=args.jets, force=args.force, progress=advance)
    rows = [
        ("events", done.events),
        ("jets", done.jets),
        ("jets with a class", done.labelled),
        ("not written: no constituents", done.empty),
        ("not written: only a part of the constituents", done.partial),
        ("dangling references", done.dangling),
    ]
    console.wrote(done.path)
    console.counts(f"{done.path}", rows)
    return 0
