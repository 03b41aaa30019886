"""Run by `.ci/wheels`: the ready processor on a file, in coffea's Runner with one process more."""

import sys

from coffea import processor
from coffea.nanoevents import PFNanoAODSchema
from jettagger.processors import TaggingProcessor

if __name__ == "__main__":
    fileset = {"sample": {"files": {sys.argv[1]: "Events"}}}
    for executor in (processor.IterativeExecutor(status=False), processor.FuturesExecutor(workers=1, status=False)):
        run = processor.Runner(executor, schema=PFNanoAODSchema, chunksize=20)
        out = run(fileset, TaggingProcessor("tinyParT", where="pt > 300"))
        print(type(executor).__name__, sorted(out))
