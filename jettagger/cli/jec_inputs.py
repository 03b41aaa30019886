"""Make a training set from simulated PFNano events: ROOT shards with one entry per matched jet, and data.yaml.

Jets are matched one to one to generator jets within half of their radius; jets without one are pile-up and left out.
With --sampling, files are read twice: first to count the jets in bins of true pt, |eta| and flavour, then to keep some
of them, such that the spectrum is flat in ln(pt) at low pt and falls above; the branch weight undoes it. The folder is
complete or not there.

sampling.yaml:
  keep: 0.2                            # of all jets
  flat_below: 200                      # GeV
  rise: 0                              # below, in ln(pt); 1: flat in pt, for medians near one in bins of true pt
  power: 1                             # above
  shares: {b: 1, c: 1, uds: 1, g: 1}   # of the flavours; null keeps those of the sample

examples:
  jettagger jec inputs qcd_*.root -o jets
  jettagger jec inputs qcd_*.root -o jets --sampling sampling.yaml --where "pt > 15"
  jettagger jec inputs qcd_*.root -o fatjets --kind AK8 --events-per-shard 10000
"""

from __future__ import annotations

import argparse

from jettagger.cli.console import Console
from jettagger.cli.options import counted, finite

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger jec inputs``."""
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="PFNano files with generator jets")
    add("-o", "--output", required=True, metavar="OUT/", help="folder to write")
    add("--kind", choices=("AK4", "AK8"), default="AK4", help="AK8 for fat jets of any radius (default: %(default)s)")
    add("--jets", metavar="NAME", help="collection of jets, if there are several of this kind")
    add("--where", metavar="CUT", help="cut in columns of the jets, e.g. 'pt > 15'")
    add("--branches", metavar="LIST", help="branches of the inputs, separated by commas (default: all of PFNano)")
    add(
        "--target",
        default="pt",
        metavar="COLUMN",
        help="column of the generator jets: pt, or ptNu with neutrinos (default: %(default)s)",
    )
    add("--cone", type=finite, metavar="DR", help="maximum distance of generator jets (default: half of the radius)")
    add("--format", metavar="NAME", help="flavour of PFNano: a name or a YAML file with names of columns")
    add("--sampling", metavar="FILE.yaml", help="down-sampling, see above")
    add("--events-per-shard", type=counted, metavar="N", help="events that are read at a time (default: 3000)")
    add("--force", action="store_true", help="replace an existing training set")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger jec inputs``."""
    from jettagger.config.models import validated
    from jettagger.config.yamlfile import read_yaml
    from jettagger.files import refuse_inputs
    from jettagger.files.root import EventFile
    from jettagger.jec import Sampling, ShardMaker, make_training_set
    from jettagger.jec.maker import DEFAULT_BRANCHES
    from jettagger.jec.making import EVENTS_PER_SHARD

    refuse_inputs(args.output, [*args.files, *([args.sampling] if args.sampling else [])])
    sampling = None if args.sampling is None else validated(Sampling, read_yaml(args.sampling))
    branches = [name.strip() for name in args.branches.split(",")] if args.branches else DEFAULT_BRANCHES
    maker = ShardMaker(
        kind=args.kind,
        jets=args.jets,
        branches=tuple(branches),
        where=args.where,
        cone=args.cone,
        target=args.target,
        format=args.format,
    )
    events = 0
    for path in args.files:
        with EventFile(path) as file:
            maker.plan(file, path)
            events += file.n_events
    with console.progress_bar("reading", events * (1 if sampling is None else 2), "events") as advance:
        counts = make_training_set(
            args.files,
            args.output,
            maker,
            sampling,
            events_per_shard=args.events_per_shard or EVENTS_PER_SHARD,
            force=args.force,
            progress=advance,
        )
    rows = [(name.replace("_", " "), number) for name, number in counts.to_dict().items() if number]
    console.counts("jets", rows)
    console.wrote(args.output, f"wrote {args.output}")
    return 0
