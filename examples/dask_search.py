"""The search of coffea_search.py on a dask cluster: here one of two processes on this machine.

Usage: python examples/dask_search.py [FOLDER]

A tagger is sent to the workers as a path and a checksum; the model's folder must be readable there.
"""

from __future__ import annotations

import sys
from pathlib import Path

from coffea import processor
from coffea.nanoevents import PFNanoAODSchema
from distributed import Client, LocalCluster
from jettagger.processors.search import Region, ResonanceSearchProcessor, Sample

from jettagger.histograms import AxisSpec, HistSpec, pick, save
from jettagger.testing import write_pfnano

# pb; the files hold all events that were generated
SAMPLES = {name: Sample(section, sum_of_weights="events") for name, section in {"X2000": 0.01, "QCD": 100.0}.items()}


def make_search() -> ResonanceSearchProcessor:
    """One candidate, one region with a tag and one without."""
    return ResonanceSearchProcessor(
        SAMPLES,
        regions={"pass": Region("signal", passes=["tagged"]), "fail": Region("control", fails=["tagged"])},
        histograms=[
            HistSpec(
                "mass",
                [AxisSpec("mass", (20, 0, 200), unit="GeV", expression="jet1.msoftdrop")],
                label="events",
            )
        ],
        cuts={"tagged": "jet1.HbbvsQCD > 0.2"},
        discriminants={"HbbvsQCD": "HbbvsQCD"},
        model="tinyParT",
        n_jets=1,
        preselection="pt > 250",
        luminosity=138.0,  # 1/fb
    )


def main(folder: str = "dask-example") -> None:
    """Run the search on a local cluster and save its histograms."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    fileset = {name: [str(write_pfnano(out / f"{name}.root", 120, seed=seed))] for seed, name in enumerate(SAMPLES, 1)}
    # your own cluster: Client("tcp://scheduler:8786")
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        executor = processor.DaskExecutor(client=client, status=False)
        runner = processor.Runner(executor, schema=PFNanoAODSchema, chunksize=60)
        result = runner(fileset, make_search(), treename="Events")
    save(result["histograms"], out / "histograms.json")
    for dataset in SAMPLES:
        for region in ("pass", "fail"):
            mass = pick(result["histograms"]["mass"], dataset=dataset, region=region, variation="nominal")
            print(f"{dataset:6} {region}: {mass.sum().value:.4g} events")
    print(out / "histograms.json")


if __name__ == "__main__":
    main(*sys.argv[1:2])
