"""Training skims of simulated jets for the configurations beside this script.

Simulates each process (extra ``sim``), scores and labels the jets with `FinetuneInputsProcessor` in a coffea job, and
copies the configurations, so that they can be run where the skims are:

    python make_skims.py work --events 20000 --workers 8
    jettagger finetune work/xgg.yaml -o work/XggHead
    jettagger finetune work/xgg_bdt.yaml -o work/XggTrees
    jettagger finetune work/tau_mass.yaml -o work/MetMass
    jettagger tag nano.root --model inclParTToyV1 --head work/XggHead --head work/MetMass -o scores.parquet

Samples that are there are left alone: after another training of the tagger, the same command makes new skims of them
within minutes. ``--simulate-only`` ends before the tagger is needed. More samples of a process lie beside the first:
``--seed 200 --suffix -more`` makes ``samples/Xgg-more.root``.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from coffea import processor
from coffea.nanoevents import PFNanoAODSchema
from jettagger.processors import FinetuneInputsProcessor

from jettagger.simulation import simulate

HERE = Path(__file__).resolve().parent

#: what the configurations and benchmarks/finetuning.py need
PROCESSES = (
    *("Xgg", "HZgamma", "Xbc", "Hqq", "QCDlight", "QCDsplit", "QCDbbbar", "QCDccbar"),
    *("Htauhtaue", "Htauhtaum", "Htauhtauh", "HWWev", "HWWmv", "HWWtauev", "HWWtaumv", "HWWtauhv"),
    *("Topbev", "Topbmv", "Topbtauhv"),
)


def make_samples(folder: Path, processes: Sequence[str], suffix: str, events: int, workers: int, seed: int) -> None:
    """Simulate what is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(processes):
        path = folder / f"{name}{suffix}.root"
        if path.exists():
            print(f"{path} exists already")
            continue
        made = simulate(name, events, str(path), pt=(200, 1000), workers=workers, seed=seed + number)
        print(f"{path}: {made.events} events, {made.jets} jets", flush=True)


def make_skims(work: Path, model: str, workers: int) -> list[str]:
    """Score and label all samples; skims of an earlier run go."""
    files = {path.stem: [str(path)] for path in sorted((work / "samples").glob("*.root"))}
    shutil.rmtree(work / "skims", ignore_errors=True)
    executor = processor.FuturesExecutor(workers=workers) if workers > 1 else processor.IterativeExecutor()
    run = processor.Runner(executor=executor, schema=PFNanoAODSchema, chunksize=5000)
    job = FinetuneInputsProcessor(model, work / "skims", keep=["MET_pt", "MET_phi", "FatJet_label"])
    result = run(files, job, treename="Events")
    for name, part in result.items():
        print(f"{name}: {part['jets']} jets of {part['events']} events in {len(part['files'])} skims")
    return [path for part in result.values() for path in part["files"]]


def main(arguments: Sequence[str] | None = None) -> list[str]:
    """Do it, and return the skims."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where samples, skims and configurations go")
    parser.add_argument("--events", type=int, default=2000, help="events of each process (default: %(default)s)")
    parser.add_argument("--processes", nargs="*", default=list(PROCESSES))
    parser.add_argument("--suffix", default="", help="of the samples' names, e.g. -more")
    parser.add_argument("--model", default="inclParTToyV1")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--simulate-only", action="store_true", help="make no skims")
    args = parser.parse_args(arguments)
    make_samples(args.folder / "samples", args.processes, args.suffix, args.events, args.workers, args.seed)
    for path in HERE.glob("*.yaml"):
        shutil.copy(path, args.folder / path.name)
    return [] if args.simulate_only else make_skims(args.folder, args.model, args.workers)


if __name__ == "__main__":
    main()
