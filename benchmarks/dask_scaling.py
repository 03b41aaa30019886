"""Jets per second on dask: one process, two processes, one process with two task slots.

    python -m benchmarks.dask_scaling --model ../shared/data/models/part-ak8-2023
    python -m benchmarks.dask_scaling --model part-ak8-2023 --json docs/measured.json

Simulated events are scored in tasks of 50. The figure to look at is the factor over one process: with two
cores that nobody else uses it should be near two for two workers. ``--unbudgeted`` gives each network all cores, to see
what the budget is for.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import distributed

import jettagger as jt
from benchmarks import inputs
from benchmarks.report import keep, show
from jettagger.dask import install
from jettagger.files.root import EventFile

#: events in a task
STEP = 50

#: what is compared: worker processes, and task slots of each
SETUPS = {"1 process": (1, 1), "2 processes": (2, 1), "1 process, 2 slots": (1, 2)}


def task(tagger: jt.Tagger, path: str, start: int, stop: int) -> int:
    """Score a range of events; the number of jets."""
    with EventFile(path) as file:
        events = file.read(jt.check_columns(tagger.bundle, file).columns, start, stop)
    return tagger.run(events).report.scored


def rate(tagger: jt.Tagger, path: Path, workers: int, slots: int, events: int) -> float:
    """Jets per second of wall time, after a warm-up."""
    with EventFile(path) as file:
        events = min(events, file.n_events)
    todo = [(str(path), start, min(start + STEP, events)) for start in range(0, events, STEP)]
    with (
        tempfile.TemporaryDirectory() as folder,
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=slots, dashboard_address=":0", local_directory=folder
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        install(client, tagger)
        client.gather([client.submit(task, tagger, *todo[0], pure=False) for _ in range(2 * workers * slots)])
        start = time.perf_counter()
        jets = sum(client.gather([client.submit(task, tagger, *one, pure=False) for one in todo]))
        return float(jets / (time.perf_counter() - start))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="inclParTToyV1", help="name of a model or its folder (default: %(default)s)")
    parser.add_argument("--file", type=Path, help="a PFNano file (default: simulated)")
    parser.add_argument("--events", type=int, default=1300, help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file of results to add to")
    parser.add_argument("--unbudgeted", action="store_true", help="all cores for each network")
    args = parser.parse_args()
    tagger = jt.load_tagger(args.model, threads=os.cpu_count() if args.unbudgeted else None)
    path = args.file or inputs.default_file()
    found = {}
    for name, (workers, slots) in SETUPS.items():
        found[name] = rate(tagger, path, workers, slots, args.events)
    print(show("dask", {tagger.bundle.name: found}))
    keep(args.json, "dask", tagger.bundle.name, found)


if __name__ == "__main__":
    main()
