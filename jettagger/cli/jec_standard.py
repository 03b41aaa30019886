"""Derive a standard correction from simulated jets, or apply one: pile-up offset, then inverted median response.

The inputs are locations of shards (folders or URLs with data.yaml) or shards, with the branches pt eta area rho num_pv
and pt_gen. The offset is linear in rho * area and in num_pv; the response is a function of |eta| and pt. The result is
correctionlib JSON with the corrections offset and response and their product, standard. --fill copies a location with
the corrected pt in the branch pt_full_corr, which 'jettagger jec plot' compares with others.

examples:
  jettagger jec standard jets/ -o standard.json --files :8
  jettagger jec standard jets/ -o standard.json --fill filled/
  jettagger jec standard test/ --apply standard.json --fill test_filled/
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from jettagger.cli.console import Console
from jettagger.cli.jec_plot import add_files, edges_of
from jettagger.cli.options import counted, range_of

if TYPE_CHECKING:
    from jettagger.jec import StandardCorrection
    from jettagger.jec.standard import ClosureBin

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger jec standard``."""
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="locations with data.yaml, or shards")
    add("--output", "-o", metavar="FILE.json", help="correction to write; compressed if the name ends in .gz")
    add("--apply", metavar="FILE.json", help="take this correction instead of deriving one")
    add("--fill", metavar="OUT/", help="write the shards of the only location with the branch pt_full_corr")
    add_files(parser)
    add("--eta", metavar="E,E,...", help="edges of the bins of |eta|; default: 11 bins up to 5")
    add("--pt", metavar="P,P,...", help="edges of the bins of the true pt in GeV; default: 38 from 20 to 4000")
    add(
        "--min-jets",
        type=counted,
        default=100,
        metavar="N",
        help="jets in a bin, see docs/jec.md (default: %(default)s)",
    )
    add("--weight", default="", metavar="W", help="branch with weights; default: weight, if there is one")
    add("--force", action="store_true", help="replace existing outputs")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger jec standard``.

    Raises
    ------
    ConfigError
        If options exclude each other, or one is missing.
    OutputError
        If the output exists already.
    """
    from jettagger.errors import ConfigError, OutputError
    from jettagger.files import check_folder, refuse_inputs
    from jettagger.jec import StandardCorrection, derive_from_files, fill_standard
    from jettagger.jec.estimate_files import jet_files
    from jettagger.jec.shards import DATA
    from jettagger.jec.standard import STANDARD_ETA, STANDARD_PT

    if (args.output is None) == (args.apply is None):
        raise ConfigError("jec standard: expected --output for a correction to derive, or --apply with one, not both")
    if args.apply is not None and args.fill is None:
        raise ConfigError("jec standard: --apply needs --fill, the folder to write")
    start, stop = range_of("--files", args.files)
    lists = [os.path.join(path, DATA) for path in args.inputs if not path.endswith(".root")]
    read = [*(file.path for path in args.inputs for file in jet_files(path)), *lists]
    if args.fill is not None:
        if len(args.inputs) > 1 or not lists:
            raise ConfigError(
                f"jec standard: --fill copies one location with {DATA}, got {', '.join(args.inputs)}; other files can "
                "be listed in one"
            )
        check_folder(args.fill, marker=DATA, force=args.force, inputs=[*read, *([args.apply] if args.apply else [])])
    if args.output is not None:
        refuse_inputs(args.output, read)
        if os.path.exists(args.output) and not args.force:
            raise OutputError(f"{args.output} exists already; --force replaces it")
    if args.apply is not None:
        correction = StandardCorrection.load(args.apply)
    else:
        correction = derive_from_files(
            args.inputs,
            start=start,
            stop=stop,
            weight=args.weight,
            eta_edges=edges_of("--eta", args.eta) or STANDARD_ETA,
            pt_edges=edges_of("--pt", args.pt) or STANDARD_PT,
            min_jets=args.min_jets,
        )
        correction.save(args.output)
        _summary(console, correction)
        jets, left_out = correction.record["jets"], correction.record["left_out"]
        console.wrote(args.output, f"{args.output}: {jets} jets, {left_out} left out")
    if args.fill is not None:
        filled = fill_standard(correction, args.inputs[0], args.fill, force=args.force)
        console.wrote(args.fill, f"{args.fill}: {filled} jets")
    return 0


def _summary(console: Console, correction: StandardCorrection) -> None:
    by_eta: dict[tuple[float, float], list[ClosureBin]] = {}
    for row in correction.closure:
        by_eta.setdefault(row.eta, []).append(row)
    rows = []
    for (low, high), bins in by_eta.items():
        responses = [row.response for row in bins]
        largest = max(abs(row.closure - 1) for row in bins)
        span = f"{min(responses):.3f} - {max(responses):.3f}"
        rows.append((f"{low:g} - {high:g}", len(bins), sum(row.jets for row in bins), span, f"{largest:.1e}"))
    console.table(
        "standard correction", ("|eta|", "bins of pt", "jets", "median response", "largest deviation after"), rows
    )
