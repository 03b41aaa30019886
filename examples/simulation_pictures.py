"""Simulate a few samples and draw what a physicist looks at first: masses, displacement, response, substructure.

    python examples/simulation_pictures.py --events 2000 --workers 2 pictures/

Samples that lie in the folder already are used as they are. The figures of ``docs/simulation.md`` come from here.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path
from typing import Any

import awkward as ak
import matplotlib as mpl
import numpy as np
import uproot

from jettagger.simulation import LABELS, V1_TYPES, simulate

mpl.use("Agg")

SAMPLES: dict[str, dict[str, Any]] = {
    "tt": {"pt": (400.0, 1000.0)},
    "XZH": {"mass": (2000.0, 2000.0)},
    "QCD": {},
    "v1-types": {},
}
BEYOND = 5.0


def load(folder: Path, events: int, workers: int) -> dict[str, Any]:
    """The samples, simulated where they are missing."""
    loaded = {}
    for name, options in SAMPLES.items():
        path = folder / f"{name}.root"
        if not path.exists():
            print(f"simulating {events} events of {name}")
            simulate(name, events, path, workers=workers, **options)
        loaded[name] = uproot.open(path)["Events"].arrays()
    return loaded


def of_type(events: Any, column: str, *types: str) -> np.ndarray:
    """A fat-jet column of the jets of some types, flat."""
    chosen = np.isin(ak.to_numpy(ak.flatten(events.FatJet_label)), [LABELS[name] for name in types])
    return ak.to_numpy(ak.flatten(events[column]))[chosen]


def width(values: np.ndarray) -> float:
    """Half the central 68 %."""
    low, high = np.percentile(values, [16, 84])
    return float(high - low) / 2


def tracks(events: Any, *types: str) -> np.ndarray:
    """Signed impact-parameter significances of the tracks in the jets of some types."""
    label = events.FatJet_label[events.FatJetPFCands_jetIdx]
    chosen = np.isin(ak.to_numpy(ak.flatten(label)), [LABELS[name] for name in types])
    value = ak.to_numpy(ak.flatten(events.FatJetPFCands_btagSip3dSig))[chosen]
    return value[value != 0]


def impact(events: Any, *types: str) -> float:
    """Share of tracks whose transverse impact parameter is beyond 5 of its errors."""
    index = events.FatJetPFCands_pFCandsIdx
    label = ak.to_numpy(ak.flatten(events.FatJet_label[events.FatJetPFCands_jetIdx]))
    value, error = (ak.to_numpy(ak.flatten(events[f"PFCands_{name}"][index])) for name in ("d0", "d0Err"))
    chosen = np.isin(label, [LABELS[name] for name in types]) & (error > 0)
    return float(np.mean(np.abs(value[chosen] / error[chosen]) > BEYOND))


def draw(samples: dict[str, Any], folder: Path) -> list[tuple[str, str]]:
    """All pictures in one figure, and the numbers for the table."""
    import matplotlib.pyplot as plt

    tops, pair, qcd, types = (samples[name] for name in SAMPLES)
    rows: list[tuple[str, str]] = []
    figure, axes = plt.subplots(2, 4, figsize=(20, 9), layout="constrained")

    axis = axes[0, 0]
    for events, names, title, true in (
        (tops, ("Wqq", "Wcq"), "W", 80.4), (pair, ("Zqq", "Zcc", "Zbb"), "Z", 91.2), (pair, ("Hbb",), "H to bb", 125.0),
        (tops, ("TopbWqq0c", "TopbWqq1c"), "t", 172.5),
    ):  # fmt: skip
        mass = of_type(events, "FatJet_msoftdrop", *names)
        axis.hist(mass, bins=50, range=(0, 250), histtype="step", density=True, label=f"{title} ({true:g} GeV)")
        rows.append((f"soft-drop mass, {title}", f"{np.median(mass):.1f} +- {width(mass):.1f} GeV ({len(mass)} jets)"))
    axis.set_xlabel("soft-drop mass [GeV]")
    axis.legend()

    axis = axes[0, 1]
    for names in (("Hbb",), ("Hcc",), ("Hqq",), ("QCDothers",)):
        axis.hist(np.clip(tracks(types, *names), -30, 30), bins=60, histtype="step", density=True, label=names[0])
        rows.append((f"tracks with |d0| beyond 5 sigma, {names[0]}", f"{impact(types, *names):.1%}"))
    axis.set_xlabel("signed 3-D impact-parameter significance")
    axis.set_yscale("log")
    axis.legend()

    axis = axes[0, 2]
    index = qcd.FatJet_genJetAK8Idx
    true = ak.to_numpy(ak.flatten(qcd.GenJetAK8_pt[index[index >= 0]]))
    response = ak.to_numpy(ak.flatten(qcd.FatJet_pt[index >= 0])) / true
    edges = np.array([200, 250, 300, 400, 500, 650, 1000])
    centres = np.sqrt(edges[1:] * edges[:-1])
    groups = [response[(true >= low) & (true < high)] for low, high in pairwise(edges)]
    axis.errorbar(
        centres, [np.median(group) for group in groups], [width(group) for group in groups], fmt="o", capsize=3,
        label="median and half the central 68 %",
    )  # fmt: skip
    axis.axhline(1.0, color="grey", lw=0.8)
    axis.set_xlabel("generator jet pt [GeV]")
    axis.set_ylabel("jet pt / generator jet pt")
    axis.legend()
    rows.append(("AK8 response, QCD", f"{np.median(response):.3f}, resolution {width(response):.1%}"))

    axis = axes[0, 3]
    for names in (("QCDothers",), ("Hbb",), ("HWqqWqq1c",), ("TopbWqq1c",)):
        count = of_type(types, "FatJet_nConstituents", *names)
        axis.hist(count, bins=40, range=(0, 160), histtype="step", density=True, label=names[0])
        rows.append((f"constituents, {names[0]}", f"{np.mean(count):.0f}"))
    axis.set_xlabel("constituents of a jet")
    axis.legend()

    for axis, order, names in (
        (axes[1, 0], 1, ("QCDothers", "Hbb")),
        (axes[1, 1], 2, ("QCDothers", "Hbb", "TopbWqq1c")),
    ):
        for name in names:
            low, high = (of_type(types, f"FatJet_tau{number}", name) for number in (order, order + 1))
            ratio = high[low > 0] / low[low > 0]
            axis.hist(ratio, bins=40, range=(0, 1), histtype="step", density=True, label=name)
            rows.append((f"median tau{order + 1}{order}, {name}", f"{np.median(ratio):.2f}"))
        axis.set_xlabel(f"tau{order + 1} / tau{order}")
        axis.legend()

    axis = axes[1, 2]
    axis.scatter(tops.GenMET_pt, tops.MET_pt, s=4)
    axis.plot([0, 500], [0, 500], color="grey", lw=0.8)
    axis.set(
        xlim=(0, 500), ylim=(0, 500), xlabel="pt of all neutrinos [GeV]", ylabel="missing transverse momentum [GeV]"
    )
    strong = ak.to_numpy(tops.GenMET_pt) > 100
    offset = ak.to_numpy(tops.MET_pt - tops.GenMET_pt)[strong]
    rows.append(("MET - neutrinos above 100 GeV, tt", f"{np.median(offset):.1f} +- {width(offset):.1f} GeV"))

    axis = axes[1, 3]
    label = ak.to_numpy(ak.flatten(types.FatJet_label))
    share = np.bincount(label, minlength=len(V1_TYPES)) / len(label)
    axis.barh(np.arange(len(V1_TYPES)), share)
    axis.set_yticks(np.arange(len(V1_TYPES)), V1_TYPES, fontsize=6)
    axis.set_xlabel("share of the jets of v1-types")
    rows.append(("smallest and largest share of a type in v1-types", f"{share.min():.2%}, {share.max():.1%}"))

    figure.savefig(folder / "simulation.png", dpi=80)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the samples and the figure go")
    parser.add_argument("--events", type=int, default=2000, help="events of each sample (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, value in draw(load(args.folder, args.events, args.workers), args.folder):
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
