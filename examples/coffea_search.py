"""A search for X -> HH -> 4b in a coffea job, with one step of the physics replaced.

Usage: python examples/coffea_search.py [FOLDER]

The samples are random jets and the network has random weights: put your own files and model in their place.
"""

from __future__ import annotations

import sys
from pathlib import Path

from coffea import processor
from coffea.nanoevents import PFNanoAODSchema
from jettagger.processors.search import JetVariation, Region, ResonanceSearchProcessor, Sample

from jettagger.histograms import AxisSpec, HistSpec, save
from jettagger.testing import write_pfnano

# pb; the files hold all events that were generated
SAMPLES = {name: Sample(section, sum_of_weights="events") for name, section in {"X2000": 0.01, "QCD": 100.0}.items()}


class CentralSearch(ResonanceSearchProcessor):
    """Jets must be central besides what the preselection says."""

    def preselect(self, columns):
        return super().preselect(columns) & (abs(columns["eta"]) < 2.0)


def make_search(model: str = "tinyParT") -> ResonanceSearchProcessor:
    """The search: candidates, cuts, regions, histograms."""
    return CentralSearch(
        SAMPLES,
        regions={
            "SR": Region("signal", passes=["near", "tagged"]),
            "CR": Region("control", passes=["near"], fails=["tagged"]),
        },
        histograms=[
            HistSpec("mjj", [AxisSpec("mjj", bins=(20, 300, 1500), label="dijet mass", unit="GeV")], label="events"),
            HistSpec(
                "masses",
                [
                    AxisSpec("regressed", (20, 0, 200), unit="GeV", expression=f"jet1.{model}_mass"),
                    AxisSpec("softdrop", (20, 0, 200), unit="GeV", expression="jet1.msoftdrop"),
                ],
                label="events",
            ),
        ],
        cuts={"near": "abs(deta) < 1.5", "tagged": "jet1.HbbvsQCD > 0.2"},
        discriminants={"HbbvsQCD": "HbbvsQCD"},
        model=model,
        preselection="pt > 220 and abs(eta) < 2.4",
        order="HbbvsQCD",
        variations={
            "jes": JetVariation(
                up={"pt": "pt * 1.02", "mass": "mass * 1.02"}, down={"pt": "pt * 0.98", "mass": "mass * 0.98"}
            )
        },
        luminosity=138.0,  # 1/fb
    )


def make_fileset(folder: Path, events: int = 120) -> dict[str, list[str]]:
    """Data set -> files."""
    return {
        name: [str(write_pfnano(folder / f"{name}.root", events, seed=seed))] for seed, name in enumerate(SAMPLES, 1)
    }


def main(folder: str = "search-example") -> None:
    """Run the search and save its histograms."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    runner = processor.Runner(processor.IterativeExecutor(status=False), schema=PFNanoAODSchema, chunksize=100)
    result = runner(make_fileset(out), make_search(), treename="Events")
    save(result["histograms"], out / "histograms.json")
    for dataset, regions in result["cutflow"].items():
        for region, flow in regions.items():
            print(f"{dataset:6} {region}: " + ", ".join(f"{cut} {row['weighted']:.4g}" for cut, row in flow.items()))
    print(f"{out / 'histograms.json'}: {', '.join(result['histograms'])}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
