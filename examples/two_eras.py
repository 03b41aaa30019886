"""A search in two eras with data, end to end, on samples that are simulated here (extra ``sim``).

Usage: python examples/two_eras.py [FOLDER] [EVENTS]

Simulation has the default detector card. Data are the same processes with the card ``alternative``, whose tracker and
fragmentation differ, unweighted to one luminosity and without what a generator knows. The second era has pile-up.
Multijets are taken from data (docs/search_backgrounds.md). With the default of 1,500 events of each sample it takes
several minutes.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import awkward as ak
import numpy as np
import uproot
from jettagger.processors.search import SearchWarning

from jettagger.cli import main as jettagger
from jettagger.files.root import write_tree
from jettagger.search import cutflow_table, read_config, run_search, write_output
from jettagger.simulation import simulate

#: era -> pile-up
ERAS = {"2022": 0.0, "2023": 10.0}
PROCESSES = ("QCD", "tt", "XHH")
PT = (400.0, 1300.0)
MASS = 1500.0

CONFIG = """\
version: 1
eras:
  2022: {{luminosity: {first:.6g}, energy: 13}}
  2023: {{luminosity: {second:.6g}, energy: 13}}
tagger: {{model: inclParTToyV1, threads: 1}}
samples:
  QCD_2022: {{files: QCD_2022.root, cross_section: Runs, sum_of_weights: Runs, era: 2022}}
  QCD_2023: {{files: QCD_2023.root, cross_section: Runs, sum_of_weights: Runs, era: 2023}}
  tt_2022: {{files: tt_2022.root, cross_section: Runs, sum_of_weights: Runs, era: 2022}}
  tt_2023: {{files: tt_2023.root, cross_section: Runs, sum_of_weights: Runs, era: 2023}}
  X_2022: {{files: XHH_2022.root, cross_section: 1, sum_of_weights: Runs, era: 2022}}
  X_2023: {{files: XHH_2023.root, cross_section: 1, sum_of_weights: Runs, era: 2023}}
  data_2022: {{files: data_2022.root, data: true, era: 2022}}
  data_2023: {{files: data_2023.root, data: true, era: 2023}}
jets:
  count: 2
  preselection: "300 < pt and pt < 1300 and abs(eta) < 2.4"
  sort_by: HbbvsQCD
discriminants: {{HbbvsQCD: HbbvsQCD}}
cuts:
  hard: "jet1.pt > 420 or jet2.pt > 420"
  near: "abs(deta) < 1.5"
  tagged: "jet1.HbbvsQCD > 0.003"
regions:
  all: {{kind: inclusive, pass: [hard]}}
  SR: {{kind: signal, pass: [hard, near, tagged]}}
  CR: {{kind: control, pass: [hard, near], fail: [tagged]}}
  VR: {{kind: validation, pass: [hard, tagged], fail: [near]}}
  VF: {{kind: validation, pass: [hard], fail: [near, tagged]}}
histograms:
  mjj: {{edges: [700, 1000, 1300, 1700, 2400], label: dijet mass, unit: GeV}}
  msoftdrop: {{bins: [10, 0, 200], expression: jet1.msoftdrop, label: soft-drop mass of jet 1, unit: GeV}}
variations:
  jes:
    up: {{pt: "pt * 1.03", mass: "mass * 1.03"}}
    down: {{pt: "pt * 0.97", mass: "mass * 0.97"}}
templates:
  histogram: mjj
  processes: {{QCD: [QCD_2022, QCD_2023], tt: [tt_2022, tt_2023]}}
  signals: {{X1500: {{datasets: [X_2022, X_2023], mass: 1500, cross_section: 1}}}}
  data: [data_2022, data_2023]
  backgrounds_from_data:
    QCD: {{pass: SR, fail: CR, method: polynomial, order: [1], validation: {{pass: VR, fail: VF}}}}
  normalisation_uncertainties: {{lumi: {{tt: 0.016, X1500: 0.016}}, xsec_tt: {{tt: 0.1}}}}
blind: false
"""


def make_samples(out: Path, events: int) -> dict[str, float]:
    """Simulate all samples; the luminosity of each era, in 1/fb, is what its data have."""
    luminosities = {}
    for number, (era, pileup) in enumerate(ERAS.items()):
        for position, process in enumerate(PROCESSES):
            options = {"pt": PT, "pileup": pileup, "seed": 10 * number + position + 1}
            if process == "XHH":
                options |= {"mass": (MASS, MASS)}
            simulate(process, events, out / f"{process}_{era}.root", **options)
        yields = {}
        for position, process in enumerate(PROCESSES[:2]):
            path = out / f"{process}_{era}_alternative.root"
            simulate(process, events, path, pt=PT, pileup=pileup, seed=100 + 10 * number + position, card="alternative")
            yields[path] = yields_of(path)
        # as much as unweighted events of the process with the largest rate allow
        luminosities[era] = 1 / max(float(values.max()) for values in yields.values())
        chances = {path: luminosities[era] * values for path, values in yields.items()}
        write_data(out / f"data_{era}.root", chances, number)
    return luminosities


def yields_of(path: Path) -> np.ndarray:
    """Expected events at 1/fb for each event of a simulated sample, float64[events]."""
    with uproot.open(path) as file:
        runs = file["Runs"].arrays(["crossSection", "genEventCount", "genEventSumw"], library="np")
        weights = file["Events"]["genWeight"].array(library="np")
    section = np.average(runs["crossSection"], weights=runs["genEventCount"])  # pb
    return 1000 * section * weights / runs["genEventSumw"].sum()


def write_data(path: Path, chances: dict[Path, np.ndarray], seed: int) -> None:
    """Write events of simulated samples as data, each with its chance, without what a generator knows."""
    generator = np.random.default_rng(seed)
    parts = []
    for source, chance in chances.items():
        with uproot.open(source) as file:
            events = file["Events"].arrays()
        parts.append(events[generator.random(len(events)) < chance])
    merged = ak.concatenate(parts)
    merged = merged[generator.permutation(len(merged))]
    known = [name for name in merged.fields if not name.startswith(("n", "gen", "Gen", "LHE", "Generator"))]
    known = [name for name in known if "gen" not in name.lower().partition("_")[2]]
    write_tree(path, [{name: ak.to_packed(merged[name]) for name in known}])


def main(folder: str = "two-eras", events: str = "1500") -> int:
    """Make samples, search, fit, and print what is found."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    luminosities = make_samples(out, int(events))
    config = out / "search.yaml"
    config.write_text(CONFIG.format(first=luminosities["2022"], second=luminosities["2023"]), encoding="utf-8")
    warnings.simplefilter("ignore", SearchWarning)  # the notes are in the record
    result = run_search(read_config(config))
    write_output(result, out / "search", force=True)
    print(cutflow_table(result))
    return jettagger(["fit", str(out / "search"), "--toys", "0"])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
