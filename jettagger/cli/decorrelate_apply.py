"""Add the numbers of maps to a skim, without a network: scores whose background does not depend on the mass and pt.

Maps are correctionlib JSON of jettagger.decorrelation or of 'jettagger decorrelate'. A map of thresholds adds a column
for each of its efficiencies, <jets>_<name>_<efficiency>: the score minus the threshold, so that jets with at least 0
pass. Other maps add <jets>_<name>: the decorrelated score, or the quantile of the background, which is at least 0.99
for 1 % of it. Jets without a score get None. The output has all columns of the skim, and is complete or absent.

examples:
  jettagger decorrelate apply maps/ddt.json scores.parquet -o decorrelated.parquet
  jettagger decorrelate apply maps/*.json scores.root -o decorrelated.root --jets FatJet
"""

from __future__ import annotations

import argparse

from jettagger.cli.console import Console

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger decorrelate apply``."""
    add = parser.add_argument
    add("maps", nargs="+", metavar="MAP.json", help="one or several maps")
    add("skim", metavar="SKIM", help="skim with the scores, .parquet or .root")
    add("--output", "-o", required=True, metavar="OUT", help="file to write, .parquet or .root")
    add("--prefix", metavar="P", help="prefix of the tagger's columns; default: that of the scores of the map")
    add("--jets", metavar="NAME", help="name of the jets; default: those that the tagger scored")
    add("--force", action="store_true", help="replace an existing file")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger decorrelate apply``."""
    from jettagger.finetuning.skims import open_skim
    from jettagger.studies.applying import apply_maps

    with console.progress_bar("applying", open_skim(args.skim).events, "events") as advance:
        counts = apply_maps(
            args.maps,
            args.skim,
            args.output,
            prefix=args.prefix,
            collection=args.jets,
            force=args.force,
            progress=advance,
        )
    rows = [(name, item.jets, item.without_score, item.outside) for name, item in counts.items()]
    console.table("maps", ("map", "jets", "without a score", "outside"), rows)
    console.wrote(args.output, f"{args.output}: all columns of {args.skim} and those of the maps")
    return 0
