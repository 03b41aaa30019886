"""Response and resolution of estimates of the jet pt: pictures, and a table with uncertainties.

The inputs are of one kind: locations of shards (folders or URLs with data.yaml) or shards; NanoAOD-like files, also
central NanoAOD; skims of 'jettagger tag' (.parquet or .root) with the columns of the jets, genJetIdx and the generator
jets. Without --estimate, all estimates that the files offer are compared: pt_full_corr of shards; of events the pt as
it is (Standard) and the regressions in columns such as Jet_PNetRegPtRawCorr, Jet_UParTAK4RegPtRawCorr or
Jet_<prefix>_ptRawCorr. The folder OUT/ has performance.json and pictures, and is complete or not there.

examples:
  jettagger jec plot nano.root -o nano --pt 50,200 --eta 0,2.5
  jettagger jec plot nano.root -o nano --estimate "PNet + nu=raw_pt * PNetRegPtRawCorr * PNetRegPtRawCorrNeutrino"
  jettagger jec plot jets/ -o comparison --files 8: --prediction DNN=training/prediction.npy
  jettagger jec plot jets/ -o comparison --standard standard.json --prediction DNN=a.npy --prediction wide=b.npy
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from jettagger.cli.console import Console
from jettagger.cli.options import counted, finite, range_of, seed

if TYPE_CHECKING:
    from jettagger.jec import Performance

__all__ = ["add_files", "configure", "edges_of", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger jec plot``."""
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="shards, events, or skims")
    add("--output", "-o", required=True, metavar="OUT/", help="folder to write")
    add(
        "--estimate",
        action="append",
        default=[],
        metavar="LABEL=EXPRESSION",
        help="corrected pt in GeV, in branches of shards or columns of the jets; raw_pt is pt * (1 - rawFactor) "
        "(repeatable)",
    )
    add(
        "--prediction",
        action="append",
        default=[],
        metavar="LABEL=FILE",
        help="output of 'jettagger jec predict' for the shards in order, .npy or .npz (repeatable)",
    )
    add("--standard", default="", metavar="FILE.json", help="correction of 'jettagger jec standard', as Standard")
    add("--raw", action="store_true", help="show the uncorrected pt, too")
    add("--reference", metavar="LABEL", help="what others are compared with; default: Standard, else the first")
    add("--pt", metavar="P,P,...", help="edges of the bins of the true pt in GeV; default: 19 from 20 to 3000")
    add("--eta", metavar="E,E,...", help="edges of the bins of the true |eta|; default: 0,2.5,5")
    add("--flavour-pt", type=finite, default=30.0, metavar="P", help="lowest pt of flavours (default: %(default)s GeV)")
    add_files(parser)
    add("--collection", default="Jet", metavar="C", help="jets of events: Jet or FatJet (default: %(default)s)")
    add("--target", default="pt", metavar="COLUMN", help="true pt of the generator jets (default: %(default)s)")
    add("--weight", default="", metavar="W", help="weights: a branch, a column of events, or Jet.column")
    add("--replicas", type=counted, default=100, metavar="N", help="of the bootstrap (default: %(default)s)")
    add("--seed", type=seed, default=1, metavar="N", help="of the bootstrap (default: %(default)s)")
    add("--min-jets", type=counted, default=10, metavar="N", help="fewest jets of a bin (default: %(default)s)")
    add("--format", default="png", metavar="F", help="of the pictures: png, pdf or svg (default: %(default)s)")
    add("--no-plots", action="store_true", help="write the table only")
    add("--force", action="store_true", help="replace an existing folder of this command")


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the option with a range of files.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    """
    parser.add_argument(
        "--files", default=":", metavar="A:B", help="files of each location, counted from 0: 8: for all but the first 8"
    )


def edges_of(option: str, text: str | None) -> list[float] | None:
    """Bin edges of an option; None if it is not given.

    Parameters
    ----------
    option : str
    text : str or None

    Returns
    -------
    list of float or None

    Raises
    ------
    ConfigError
        If it is no list of rising numbers.

    Examples
    --------
    >>> edges_of("--eta", "0,1.3,2.5")
    [0.0, 1.3, 2.5]
    """
    from jettagger.errors import ConfigError

    if text is None:
        return None
    try:
        edges = [float(item) for item in text.split(",")]
    except ValueError:
        edges = []
    if len(edges) < 2 or not all(map(math.isfinite, edges)) or any(low >= high for low, high in pairwise(edges)):
        raise ConfigError(f"{option}: got {text!r}, expected rising edges such as 0,1.3,2.5")
    return edges


def _labelled(option: str, texts: Sequence[str]) -> dict[str, str]:
    from jettagger.errors import ConfigError

    found: dict[str, str] = {}
    for text in texts:
        label, equals, rest = (item.strip() for item in text.partition("="))
        if not (label and equals and rest):
            raise ConfigError(f"{option}: got {text!r}, expected LABEL=...")
        if label in found:
            raise ConfigError(f"{option}: the label {label!r} is given twice")
        found[label] = rest
    return found


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger jec plot``."""
    from jettagger.files import check_folder
    from jettagger.jec import EstimateSource, measure_estimates, read_estimates, write_performance
    from jettagger.jec.figures import TABLE
    from jettagger.jec.performance import ETA_EDGES, PT_EDGES
    from jettagger.provenance import provenance_of

    estimates, predictions = _labelled("--estimate", args.estimate), _labelled("--prediction", args.prediction)
    start, stop = range_of("--files", args.files)
    pt_edges, eta_edges = edges_of("--pt", args.pt) or PT_EDGES, edges_of("--eta", args.eta) or ETA_EDGES
    options = EstimateSource(
        estimates,
        predictions,
        args.standard,
        args.raw,
        args.collection,
        args.target,
        args.weight,
        start,
        stop,
    )
    read = [*args.inputs, *predictions.values(), *([args.standard] if args.standard else [])]
    check_folder(args.output, marker=TABLE, force=args.force, inputs=read)
    jets = read_estimates(args.inputs, options)
    for note in jets.notes:
        console.warn(note)
    found = measure_estimates(
        jets,
        pt_edges=pt_edges,
        eta_edges=eta_edges,
        reference=args.reference,
        flavour_pt=args.flavour_pt,
        replicas=args.replicas,
        seed=args.seed,
        min_jets=args.min_jets,
    )
    record = provenance_of(
        None, {}, None, read, step="jec plot", configuration={"estimates": estimates, "predictions": predictions}
    )
    written = write_performance(
        found,
        args.output,
        provenance=record.to_dict(),
        format=args.format,
        plots=not args.no_plots,
        force=args.force,
    )
    _summary(console, found)
    counts = "".join(f", {count} left out ({reason})" for reason, count in found.left_out.items())
    console.say(f"{len(jets)} jets{counts}")
    console.wrote(args.output, f"{args.output.rstrip('/')}/: {len(written)} files, all numbers in {TABLE}")
    return 0


def _summary(console: Console, found: Performance) -> None:
    """Medians and resolutions of all flavours, medians by flavour, and coverage of intervals."""
    content = found.content()
    rows = [
        (
            _range(row["eta"]),
            _range(row["pt"]),
            row["estimate"],
            row["jets"],
            _number(row["median"]),
            _number(row["resolution"]),
            _number(row.get("ratio")),
        )
        for row in content["summary"]
        if row["flavour"] == "all" and row["median"]["value"] is not None
    ]
    heads = ["|eta|", "pt [GeV]", "estimate", "jets", "median response", "resolution"]
    heads += [f"over {found.reference}"] if found.ratio else []
    console.table("all flavours", heads, [row[: len(heads)] for row in rows])
    by_flavour = [
        (
            row["flavour"],
            _range(row["eta"]),
            row["estimate"],
            row["jets"],
            _number(row["median"]),
            _number(row.get("minus_uds")),
        )
        for row in content["flavours"]
        if row["median"]["value"] is not None
    ]
    title = f"flavours above {found.flavour_pt:g} GeV"
    console.table(title, ("flavour", "|eta|", "estimate", "jets", "median response", "minus uds"), by_flavour)
    covered = [
        (row["estimate"], _range(row["eta"]), _range(row["pt"]), _number(row["coverage"]))
        for row in content["coverage"]
        if row["variable"] == "pt"
    ]
    if covered:
        console.table(
            "intervals that contain the true pt", ("estimate", "|eta|", "estimated pt [GeV]", "fraction"), covered
        )


def _range(edges: Sequence[float]) -> str:
    return f"{edges[0]:.4g} - {edges[1]:.4g}"


def _number(number: Any) -> str:
    if not number or number["value"] is None:
        return ""
    bar = "" if number["uncertainty"] is None else f" ± {number['uncertainty']:.3f}"
    return f"{number['value']:.3f}{bar}"
