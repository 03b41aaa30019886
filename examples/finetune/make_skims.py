"""Training skims of simulated jets for the configurations beside this script.

Simulates each process (extra ``sim``), scores and labels the jets with `FinetuneInputsProcessor` in a coffea job, and
copies the configurations, so that they can be run where the skims are:

    python make_skims.py work --events 20000 --workers 8
    jettagger finetune work/xgg.yaml -o work/XggHead
    jettagger finetune work/xgg_bdt.yaml -o work/XggTrees
    jettagger finetune work/tau_mass.yaml -o work/MetMass
    jettagger tag nano.root --model inclParTToyV1 --head work/XggHead --head work/MetMass -o scores.parquet
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

#: what the configurations need
PROCESSES = ("Xgg", "HZgamma", "Hqq", "QCDlight", "Htauhtaue", "Htauhtaum", "Htauhtauh", "HWWev", "HWWmv")


def main(arguments: Sequence[str] | None = None) -> list[str]:
    """Do it, and return the skims."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where samples, skims and configurations go")
    parser.add_argument("--events", type=int, default=2000, help="of each process")
    parser.add_argument("--processes", nargs="+", default=list(PROCESSES))
    parser.add_argument("--model", default="inclParTToyV1")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(arguments)
    samples = args.folder / "samples"
    samples.mkdir(parents=True, exist_ok=True)
    files = {}
    for number, name in enumerate(args.processes):
        path = samples / f"{name}.root"
        if not path.exists():
            simulate(name, args.events, str(path), pt=(200, 1000), workers=args.workers, seed=args.seed + number)
        files[name] = [str(path)]
        print(f"{path}: {args.events} events")
    executor = processor.FuturesExecutor(workers=args.workers) if args.workers > 1 else processor.IterativeExecutor()
    run = processor.Runner(executor=executor, schema=PFNanoAODSchema, chunksize=5000)
    result = run(files, FinetuneInputsProcessor(args.model, args.folder / "skims"), treename="Events")
    for path in HERE.glob("*.yaml"):
        shutil.copy(path, args.folder / path.name)
    skims = [path for part in result.values() for path in part["files"]]
    print(f"{len(skims)} skims in {args.folder / 'skims'}")
    return skims


if __name__ == "__main__":
    main()
