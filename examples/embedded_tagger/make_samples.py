"""The small analysis samples in examples/data: X -> HH at three masses, tt and multijets, with truth, as PFNano files.

All files together stay below 5 MB, and yet a search finds events in them that look like its signal:

- events: looser than the cuts of a search with pt from 300 to 1300 GeV, |eta| < 2.4, soft-drop masses from 50 to 200
  GeV and |deta| < 1.5 by more than an energy scale varied by 3 % moves a jet, so that no variation misses events that
  were cut away here. The cuts (`Preselection`) stand in the file, as JSON under the name `preselection`. The tree
  `Runs` counts all generated events: cross sections stay right.
- columns: the fat jets within the ranges of pt and eta with all that a tagger reads, their truth (`FatJet_label`,
  `FatJet_genResonanceMass`), leptons, missing momentum and generator weights. Other fat jets, small-radius jets,
  generator particles and candidates outside of the jets are dropped.
- precision: candidates are sorted by jet and pt, and what is known of a track to a few per cent has 6 bits of mantissa.

Needs the extra `sim` (Pythia and FastJet).

Usage: python make_samples.py OUT_FOLDER [--scale 1.0]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from jettagger.files import complete_or_absent
from jettagger.simulation import simulate

#: bytes; all files together
MOST = 5_000_000


@dataclass(frozen=True)
class Sample:
    """What one file is made of: a process, events before the cuts, range of fat-jet pt and mass of X in GeV."""

    process: str
    events: int
    pt: tuple[float, float]
    seed: int
    mass: float | None = None


#: file name -> content; H, top and W decay as in the Standard Model
SAMPLES = {
    "XHH-1000": Sample("XHH", 420, (400.0, 2000.0), 501, 1000.0),
    "XHH-1500": Sample("XHH", 340, (400.0, 2000.0), 502, 1500.0),
    "XHH-2000": Sample("XHH", 340, (400.0, 2000.0), 503, 2000.0),
    "tt": Sample("tt", 900, (400.0, 2000.0), 504),
    "QCD": Sample("QCD", 16000, (400.0, 2000.0), 505),
}


@dataclass(frozen=True)
class Preselection:
    """Which fat jets and events are kept: ranges in GeV, ends excluded.

    Jets are kept within the ranges of pt and eta, down to the second with a pt within ``surely`` and |eta| below
    ``central``, so that none further down is ever among the two leading ones; events with two of them that have a
    soft-drop mass within its range and are less than ``deta`` apart in eta. Events start from a jet of pt ``start``.
    """

    pt: tuple[float, float] = (288.0, 1355.0)
    surely: tuple[float, float] = (312.0, 1250.0)
    eta: float = 2.42
    central: float = 2.4
    msoftdrop: tuple[float, float] = (48.0, 208.5)
    deta: float = 1.52
    start: float = 400.0


#: bits of mantissa that are kept of what is measured of tracks; PFNano itself has 10
BITS = 6

#: branches that are left out, by the beginning of their names
DROPPED = (
    "GenPart", "nGenPart", "GenJet", "nGenJet", "Jet", "nJet", "JetPFCands", "nJetPFCands", "JetSVs", "nJetSVs",
    "GenMET", "OtherPV", "nOtherPV", "Generator", "FatJet_genJetAK8Idx", "FatJetPFCands_pt",
)  # fmt: skip


def collections(events: Any) -> dict[str, Any]:
    """Flat NanoAOD branches -> jagged records and plain columns, without counters and what is dropped."""
    names = [name for name in events.fields if not name.startswith(DROPPED)]
    jagged = [name for name in names if events[name].ndim > 1]
    stems = list(dict.fromkeys(name.partition("_")[0] for name in jagged))
    columns: dict[str, Any] = {name: events[name] for name in names if name not in jagged and name[1:] not in stems}
    for stem in stems:
        mine = [name for name in jagged if name.partition("_")[0] == stem]
        columns[stem] = ak.zip({name.partition("_")[2]: events[name] for name in mine})
    return columns


def before(flags: Any) -> Any:
    """How many jets of its event before each one have a flag, int64[events][jets]."""
    counts = ak.num(flags)
    ahead = np.concatenate([[0], np.cumsum(ak.to_numpy(ak.flatten(flags)))])
    starts = np.concatenate([[0], np.cumsum(ak.to_numpy(counts))])[:-1]
    return ak.unflatten(ahead[:-1] - np.repeat(ahead[starts], ak.to_numpy(counts)), counts)


def choose(jets: Any, cuts: Preselection) -> tuple[Any, Any]:
    """Which fat jets and which events are kept: bool[events][jets] and bool[events]."""
    good = (jets.pt > cuts.pt[0]) & (jets.pt < cuts.pt[1]) & (abs(jets.eta) < cuts.eta)
    sure = good & (jets.pt > cuts.surely[0]) & (jets.pt < cuts.surely[1]) & (abs(jets.eta) < cuts.central)
    good = good & (before(sure) < 2)
    heavy = jets[good & (jets.msoftdrop > cuts.msoftdrop[0]) & (jets.msoftdrop < cuts.msoftdrop[1])]
    one, other = ak.unzip(ak.combinations(heavy.eta, 2))
    return good, ak.any(abs(one - other) < cuts.deta, axis=1)


def chosen_jets(columns: dict[str, Any], good: Any) -> dict[str, Any]:
    """Keep what belongs to some fat jets; candidates are sorted by jet and pt, and the links count anew."""
    place = before(good)

    def kept(links: Any) -> Any:
        links = links[good[links.jetIdx]]
        return ak.with_field(links, ak.values_astype(place[links.jetIdx], np.int32), "jetIdx")

    links = kept(columns["FatJetPFCands"])
    linked = columns["PFCands"][links.pFCandsIdx]
    order = ak.argsort(linked.pt, axis=1, ascending=False, stable=True)
    order = order[ak.argsort(links.jetIdx[order], axis=1, stable=True)]
    jets = columns["FatJet"][good]
    pieces = columns["SubJet"]
    used = ak.max(ak.where(jets.subJetIdx2 >= 0, jets.subJetIdx2, jets.subJetIdx1), axis=1)
    return columns | {
        "FatJet": jets,
        "SubJet": pieces[ak.local_index(pieces.pt) <= ak.fill_none(used, -1)],
        "FatJetSVs": kept(columns["FatJetSVs"]),
        "PFCands": linked[order],
        "FatJetPFCands": ak.with_field(links[order], ak.local_index(order), "pFCandsIdx"),
    }


def rounded(values: Any) -> Any:
    """float32 with fewer bits of mantissa, which compress better."""
    bits = ak.to_numpy(ak.flatten(values)).astype(np.float32).view(np.uint32)
    drop = 23 - BITS
    kept = ((bits + (1 << (drop - 1))) >> drop << drop).astype(np.uint32).view(np.float32)
    return ak.unflatten(kept, ak.num(values))


def rounded_tracks(columns: dict[str, Any]) -> dict[str, Any]:
    """Round the columns of `PFCands` and their links that come from tracks."""
    found = dict(columns)
    for name, parts in (("PFCands", ("d0", "dz", "trkChi2")), ("FatJetPFCands", ("btag",))):
        for field in found[name].fields:
            if field.startswith(parts):
                found[name] = ak.with_field(found[name], rounded(found[name][field]), field)
    return found


def slim(source: Path, target: Path, cuts: Preselection) -> int:
    """Write the smaller file, which is there completely or not at all; the number of its events."""
    parts = []
    with uproot.open(source) as file:
        for events in file["Events"].iterate(step_size=1000):
            columns = collections(events)
            good, chosen = choose(columns["FatJet"], cuts)
            columns = {name: array[chosen] for name, array in columns.items()}
            parts.append(rounded_tracks(chosen_jets(columns, good[chosen])))
        runs = file["Runs"].arrays(library="np")
    columns = {name: ak.concatenate([part[name] for part in parts]) for name in parts[0]}
    with complete_or_absent(target) as part, uproot.recreate(part, compression=uproot.LZMA(9)) as file:
        types = {name: array.type.content if array.ndim > 1 else array.layout.dtype for name, array in columns.items()}
        file.mktree("Events", types)
        file["Events"].extend(columns)
        file.mktree("Runs", {name: values.dtype for name, values in runs.items()})
        file["Runs"].extend(runs)
        file["preselection"] = json.dumps(asdict(cuts))
    return len(columns["genWeight"])


def main() -> None:
    """Simulate what is missing; say the sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the numbers of events")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name, sample in SAMPLES.items():
        target = args.out / f"{name}.root"
        if target.exists():
            continue
        with tempfile.TemporaryDirectory() as folder:
            full = Path(folder) / "full.root"
            summary = simulate(
                sample.process,
                max(round(args.scale * sample.events), 1),
                full,
                pt=sample.pt,
                mass=None if sample.mass is None else (sample.mass, sample.mass),
                seed=sample.seed,
            )
            events = slim(full, target, Preselection(start=sample.pt[0]))
        size = target.stat().st_size
        print(f"{target}: {events} of {summary.events} events, {size / 1e6:.2f} MB", flush=True)
    total = sum((args.out / f"{name}.root").stat().st_size for name in SAMPLES)
    print(f"{total / 1e6:.2f} MB in all")
    if total > MOST:
        raise SystemExit(f"{total} bytes in all, expected at most {MOST}: choose a smaller --scale")


if __name__ == "__main__":
    main()
