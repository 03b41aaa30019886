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
from jettagger.simulation.generate import tabulate_interactions
from jettagger.simulation.run import make_block

RATES = Path(__file__).resolve().parent.parent / "jettagger" / "simulation" / "rates.json"


def rate(name: str, events: int, tables: Path) -> float:
    """Fat jets (events, where no fat jet is asked for) per second of CPU time over the blocks of a process."""
    run = plan(name, events)
    start = time.process_time()
    number = 0
    for block in run.blocks:
        _, facts = make_block(run, block, tables)
        number += facts["jets"] if PROCESSES[name].fatjet else facts["events"]
    return float(number / (time.process_time() - start))


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
    parser.add_argument("--write", action="store_true", help="store the rates for the list")
    parser.add_argument("--scaling", action="store_true", help="compare two processes with one instead")
    args = parser.parse_args()
    if args.scaling:
        one, two = scaling(5 * args.events)
        print(f"one process {one:.1f} s, two {two:.1f} s: factor {one / two:.2f}")
        return
    rates = {}
    with tempfile.TemporaryDirectory() as folder:
        tables = tabulate_interactions(load_card()["generator"]["tune_settings"], Path(folder) / "interactions.dat")
        rate("Hqq", 20, tables)  # imports
        for name in PROCESSES:
            rates[name] = round(rate(name, args.events, tables))
            print(f"| {name} | {rates[name]} |", flush=True)
    shares = MIXTURES["v1-types"].shares
    mean = sum(shares.values()) / sum(share / rates[name] for name, share in shares.items())
    print(f"| v1-types | {mean:.0f} |")
    if args.write:
        RATES.write_text(json.dumps({**rates, "v1-types": round(mean)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
