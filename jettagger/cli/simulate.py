"""Simulate jets with known truth, with Pythia and FastJet.

examples:
  jettagger simulate --list
  jettagger simulate --process Hbb --events 10000 --pt 200 1000 -o hbb.root --workers 2
  jettagger simulate --process v1-types --events 500000 -o train.root --workers 8 --seed 1
  jettagger simulate --process QCDlight --events 5000 --format jetclass2 -o qcd.parquet

An interrupted run goes on where it was when the same command is given again.
"""

from __future__ import annotations

import argparse

from jettagger.cli.console import Console
from jettagger.cli.options import counted, finite, seed

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger simulate``."""
    add = parser.add_argument
    add("--list", action="store_true", help="show what can be simulated, and its rate")
    add("--process", metavar="NAME", help="a process or a mixture, see --list")
    add("--events", type=counted, default=10_000, metavar="N", help="events to write (default: %(default)s)")
    add(
        "--pt", type=finite, nargs=2, default=(200.0, 1000.0), metavar=("LOW", "HIGH"),
        help="pt of the fat jets in GeV (default: 200 1000)",
    )  # fmt: skip
    add(
        "--mass", type=finite, nargs="+", metavar="GEV",
        help="mass of the generated resonance in GeV: one number, or a range (default: see --list)",
    )  # fmt: skip
    add("-o", "--output", metavar="OUT", help="file to write: .root, or .parquet for jetclass2")
    add("--format", default="pfnano", metavar="NAME", help="pfnano or jetclass2 (default: %(default)s)")
    add(
        "--card", default="default", metavar="CARD", help="detector card: a name or a .yaml file (default: %(default)s)"
    )
    add("--pileup", type=finite, metavar="MU", help="mean number of further interactions (default: of the card)")
    add("--workers", type=counted, default=1, metavar="N", help="processes (default: %(default)s)")
    add("--seed", type=seed, default=1, metavar="N", help="same seed, same arrays (default: %(default)s)")
    add("--force", action="store_true", help="replace an existing output")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger simulate``.

    Raises
    ------
    ConfigError
        If process or output is missing, or more than two masses are given.
    """
    from jettagger.errors import ConfigError
    from jettagger.simulation import MIXTURES, PROCESSES, simulate
    from jettagger.simulation.processes import rates

    if args.list:
        rows = []
        for process in PROCESSES.values():
            mass = "-" if process.mass is None else " - ".join(f"{value:g}" for value in sorted({*process.mass}))
            rows.append((process.name, process.group, mass, rates().get(process.name, "-"), process.summary))
        for mixture in MIXTURES.values():
            rows.append((mixture.name, "mixture", "", rates().get(mixture.name, "-"), mixture.summary))
        console.table("what can be simulated", ("process", "kind", "mass [GeV]", "jets/s/core", "what it is"), rows)
        return 0
    if not args.process or not args.output:
        raise ConfigError("--process and --output are needed (or --list)")
    if args.mass and len(args.mass) > 2:
        raise ConfigError(f"--mass takes one or two numbers, got {len(args.mass)}")
    chosen = (args.mass[0], args.mass[-1]) if args.mass else None
    reported = 0
    with console.progress_bar(f"simulating {args.process}", args.events, "events") as advance:

        def follow(done: int, _: int) -> None:
            nonlocal reported
            advance(done - reported)
            reported = done

        summary = simulate(
            args.process,
            args.events,
            args.output,
            pt=tuple(args.pt),
            mass=chosen,
            seed=args.seed,
            card=args.card,
            pileup=args.pileup,
            format=args.format,
            workers=args.workers,
            force=args.force,
            progress=follow,
        )
    console.wrote(summary.output)
    title = f"{summary.output}: {summary.events} events, {summary.jets} fat jets"
    console.table(title, ("jet type", "jets"), list(summary.labels.items()))
    return 0
