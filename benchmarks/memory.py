"""Memory of tagging beyond what the imports, or the chunk itself, take.

    python -m benchmarks.memory --model ../shared/data/models/part-ak8-2023
    python -m benchmarks.memory --model part-ak8-2023 --json docs/measured.json

Each figure is from a process of its own. ``jettagger tag`` and 200 chunks run on simulated events, over and over where
there are not enough.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import inputs
from benchmarks.report import keep, show

#: what all programs below begin with
COMMON = """
import os, sys, warnings
warnings.simplefilter("ignore")
import awkward as ak, numpy, onnxruntime, pyarrow.parquet, uproot
import jettagger as jt, jettagger.skims.skim
model, path, folder, *more = sys.argv[1:]
# not ru_maxrss, which counts the parent before the start of this program, too
peak = lambda: 1024 * int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
now = lambda: int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
base = peak()
"""

TAG = """
jt.tag_files([path], jt.load_tagger(model, threads=1), f"{folder}/out.parquet", columns=more[0].split(","), force=True)
print(peak() - base)
"""

RUNNER = """
from coffea import processor
from coffea.nanoevents import PFNanoAODSchema

class Reading(processor.ProcessorABC):
    def __init__(self, tagger, scoring):
        self.tagger, self.scoring = tagger, scoring

    def process(self, events):
        for column in self.tagger.plan(events).columns:
            ak.materialize(events[tuple(column.split("."))])
        if self.scoring:
            self.tagger.attach(events)
        return {}

    def postprocess(self, accumulator):
        return accumulator

base = peak()
runner = processor.Runner(processor.IterativeExecutor(status=False), schema=PFNanoAODSchema, chunksize=int(more[0]))
tagger = jt.load_tagger(model, threads=1)
runner({"A": {"files": {path: "Events"}}}, processor_instance=Reading(tagger, more[1] == "scoring"))
print(peak() - base)
"""

CHUNKS = """
tagger = jt.load_tagger(model, threads=1)
job = jettagger.skims.skim.make_job([path], tagger, columns=["prob", "mass", "hidden"])
sizes = []
for number in range(200):
    start = number * 20 % (job.n_events - 20)
    job.process(jettagger.skims.skim.Chunk(path, start, start + 20))
    sizes.append(now())
print(max(sizes[100:]) - max(sizes[50:100]))
"""


def measured(program: str, model: str, path: Path, folder: Path, *more: str) -> int:
    """The number that a program prints in a process of its own.

    Parameters
    ----------
    program : str
    model : str
    path : path
        Of the events.
    folder : path
        For outputs.
    *more : str

    Returns
    -------
    int
        Bytes.
    """
    arguments = [sys.executable, "-c", COMMON + program, model, str(path), str(folder), *more]
    run = subprocess.run(arguments, capture_output=True, text=True, cwd=inputs.ROOT, check=False)
    if run.returncode:
        raise RuntimeError(run.stderr)
    return int(run.stdout.split()[-1])


def tagging(model: str, path: Path, folder: Path, columns: Sequence[str]) -> int:
    """Peak memory of ``jettagger tag`` over that of the imports, bytes."""
    return measured(TAG, model, path, folder, ",".join(columns))


def in_runner(model: str, path: Path, folder: Path, chunksize: int) -> int:
    """Peak memory of tagging inside coffea's Runner over that of reading the same columns, bytes."""
    reading, both = (measured(RUNNER, model, path, folder, str(chunksize), how) for how in ("reading", "scoring"))
    return both - reading


def growth(model: str, path: Path, folder: Path) -> int:
    """How much more memory 100 chunks of 20 events take than the 50 before them, bytes."""
    return measured(CHUNKS, model, path, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", default="inclParTToyV1", help="name of a model or its folder (default: %(default)s)")
    add("--file", type=Path, help="a PFNano file (default: simulated)")
    add("--events", type=int, default=20_000, help="(default: %(default)s)")
    add("--chunksize", type=int, default=10_000, help="of the Runner (default: %(default)s)")
    add("--json", type=Path, help="file of results to add to")
    args = parser.parse_args()
    path = args.file or inputs.default_file()
    inputs.FOLDER.mkdir(parents=True, exist_ok=True)
    many, chunk = (inputs.tiled(path, number, inputs.FOLDER) for number in (args.events, args.chunksize))
    tag, runner = f"`jettagger tag`, {args.events:,} events", f"coffea's Runner, chunks of {args.chunksize:,} events"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {
            f"{tag}, scores and mass": tagging(args.model, many, folder, ["prob", "mass"]),
            f"{tag}, hidden neurons, too": tagging(args.model, many, folder, ["prob", "mass", "hidden"]),
            f"{runner}, beyond the chunk": in_runner(args.model, chunk, folder, args.chunksize),
            "growth over 200 chunks in one process": growth(args.model, path, folder),
        }
    print(show("memory", {args.model: found}))
    keep(args.json, "memory", Path(args.model).name, found)


if __name__ == "__main__":
    main()
