"""A coffea job that goes on where it was interrupted.

Usage: python examples/frameworks/runner_checkpoints.py [FOLDER]

coffea's checkpointer keeps the result of each chunk and knows chunks by file and events alone, not by what was done
with them. The folder of the checkpoints is therefore named after the model and the code of this file: after a change
of either, everything runs again.

The samples are random jets and the network has random weights: put your own files and model in their place.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import awkward as ak
from coffea import processor
from coffea.nanoevents import PFNanoAODSchema
from coffea.processor import SimpleCheckpointer

import jettagger as jt
from jettagger.histograms import AxisSpec, HistSpec
from jettagger.testing import write_pfnano

MODEL = "tinyParT"
MASS = HistSpec(
    "mass", [AxisSpec("mass", bins=(20, 0, 200), label="soft-drop mass", unit="GeV")], categories=["dataset", "region"]
)


class MassOfTagged(processor.ProcessorABC):
    """The soft-drop mass of fat jets, for all and for those with a high discriminant."""

    def __init__(self, model: str = MODEL) -> None:
        self.tagger = jt.load_tagger(model, threads=1)
        self.hbb = jt.discriminant("HbbvsQCD", prefix=self.tagger.bundle.prefix)

    def process(self, events):
        """Fill the histogram of a chunk."""
        fatjets = self.tagger.attach(events, where="pt > 250").FatJet
        fatjets = fatjets[fatjets.pt > 250]
        tagged = ak.fill_none(self.hbb(fatjets) > 0.2, False)
        mass = MASS.make()
        for region, jets in {"all": fatjets, "tagged": fatjets[tagged]}.items():
            MASS.fill(mass, {"mass": jets.msoftdrop}, dataset=events.metadata["dataset"], region=region)
        return {"mass": mass, "events": len(events)}

    def postprocess(self, accumulator):
        """Nothing is left to do."""
        return accumulator


def digest_of(job: MassOfTagged) -> str:
    """A name of the model and of the code of this file."""
    return hashlib.sha256(job.tagger.bundle.digest.encode() + Path(__file__).read_bytes()).hexdigest()[:16]


def run(fileset: dict[str, list[str]], folder: Path, job: MassOfTagged) -> dict:
    """Run the job on files; finished chunks are in ``folder``."""
    kept = SimpleCheckpointer(str(folder / digest_of(job)))
    runner = processor.Runner(
        processor.IterativeExecutor(status=False), schema=PFNanoAODSchema, chunksize=50, checkpointer=kept
    )
    return runner(fileset, job, treename="Events")


def main(folder: str = "checkpoints-example") -> None:
    """Run the job twice: the second time, all chunks are there."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    fileset = {
        name: [str(write_pfnano(out / f"{name}.root", 120, seed=seed))] for seed, name in enumerate(("X", "QCD"), 1)
    }
    for _ in range(2):
        result = run(fileset, out / "checkpoints", MassOfTagged())
        chunks = len(list((out / "checkpoints").rglob("*.coffea")))
        print(f"{result['events']} events, {result['mass'].sum(flow=True).value:g} entries, {chunks} chunks kept")


if __name__ == "__main__":
    main(*sys.argv[1:2])
