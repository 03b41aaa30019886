"""Rates of the simulator: fat jets per second of CPU time, and of two processes against one.

    python benchmarks/simulation_rates.py            # prints a table
    python benchmarks/simulation_rates.py --write    # and stores it for ``jettagger simulate --list``

CPU time does not count what other work on the machine takes away, though work on the same core's other thread slows
both. The comparison of one and two processes (``--scaling``) needs a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from jettagger.simulation import MIXTURES, PROCESSES, load_card, plan, simulate
from jettagger.simulation.processes import members
from jettagger.simulation.run import make_block, write_tables

RATES = Path(__file__).resolve().parent.parent / "jettagger" / "simulation" / "rates.json"
ORDER = (*PROCESSES, *MIXTURES)


def measure(name: str, events: int, tables: Path) -> tuple[int, float]:
    """Fat jets (events, where no fat jet is asked for) of a process and the CPU time they took, seconds."""
    run = plan(name, events)
    start = time.process_time()
    number = 0
    for block in run.blocks:
        _, facts = make_block(run, block, tables)
        number += facts["jets"] if PROCESSES[name].fatjet else facts["events"]
    return number, time.process_time() - start


def mixture_rate(name: str, measured: dict[str, tuple[int, float]]) -> float:
    """Fat jets per second of CPU time of a mixture, from those of its processes for equal numbers of events."""
    shares = MIXTURES[name].shares
    jets = sum(share * measured[process][0] for process, share in shares.items())
    return jets / sum(share * measured[process][1] for process, share in shares.items())


def scaling(events: int) -> tuple[float, float]:
    """Wall time of one and of two processes for the same sample."""
    times = []
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            simulate("QCDlight", events, Path(folder) / "x.root", workers=workers)
            times.append(time.perf_counter() - start)
    return times[0], times[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=800, help="of each process (default: %(default)s)")
    parser.add_argument("--only", nargs="+", metavar="PROCESS", help="these processes, or those of these mixtures")
    parser.add_argument("--write", action="store_true", help="store the rates for the list, each when it is known")
    parser.add_argument("--scaling", action="store_true", help="compare two processes with one instead")
    args = parser.parse_args()
    if args.scaling:
        one, two = scaling(5 * args.events)
        print(f"one process {one:.1f} s, two {two:.1f} s: factor {one / two:.2f}")
        return
    names = list(dict.fromkeys(member for name in args.only or PROCESSES for member in members(name)))
    measured: dict[str, tuple[int, float]] = {}
    rates = json.loads(RATES.read_text())

    def report(name: str, value: float) -> None:
        print(f"| {name} | {value:.0f} |", flush=True)
        rates[name] = round(value)
        if args.write:
            RATES.write_text(json.dumps({known: rates[known] for known in ORDER if known in rates}, indent=1) + "\n")

    with tempfile.TemporaryDirectory() as folder:
        tables = write_tables(load_card(), Path(folder))
        measure("Hqq", 20, tables)  # imports
        for name in names:
            measured[name] = measure(name, args.events, tables)
            report(name, measured[name][0] / measured[name][1])
    for name in MIXTURES:
        if set(members(name)) <= set(measured):
            report(name, mixture_rate(name, measured))


if __name__ == "__main__":
    main()
