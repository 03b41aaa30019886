"""The small analysis samples in examples/data: X -> HH at three masses, tt and multijets, with truth, as PFNano files.

Each file keeps the fat jets with all that a tagger reads, their truth (`FatJet_label`, `FatJet_genResonanceMass`),
leptons, missing momentum, generator weights and the tree `Runs` with cross sections; small-radius jets, generator
particles and candidates outside of the fat jets are dropped, so that all files together stay below 5 MB.

Needs the extra `sim` (Pythia and FastJet).

Usage: python make_samples.py OUT_FOLDER [--scale 1.0]
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
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
    """What one file holds: a process, events, range of fat-jet pt in GeV, mass of X in GeV."""

    process: str
    events: int
    pt: tuple[float, float]
    seed: int
    mass: float | None = None


#: file name -> content; H, top and W decay as in the Standard Model
SAMPLES = {
    "XHH-1000": Sample("XHH", 300, (300.0, 2000.0), 501, 1000.0),
    "XHH-1500": Sample("XHH", 300, (300.0, 2000.0), 502, 1500.0),
    "XHH-2000": Sample("XHH", 300, (300.0, 2000.0), 503, 2000.0),
    "tt": Sample("tt", 350, (400.0, 2000.0), 504),
    "QCD": Sample("QCD", 650, (400.0, 2000.0), 505),
}

#: branches that are left out, by the beginning of their names
DROPPED = (
    "GenPart", "nGenPart", "GenJet", "nGenJet", "Jet", "nJet", "JetPFCands", "nJetPFCands", "JetSVs", "nJetSVs",
    "OtherPV", "nOtherPV", "Generator", "FatJet_genJetAK8Idx", "FatJetPFCands_pt",
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


def without_loose_candidates(columns: dict[str, Any]) -> dict[str, Any]:
    """Drop the candidates that belong to no fat jet; the links count anew."""
    links, candidates = columns["FatJetPFCands"], columns["PFCands"]
    counts = ak.to_numpy(ak.num(candidates.pt))
    starts = np.cumsum(counts) - counts
    index = links["pFCandsIdx"]
    rows = ak.to_numpy(ak.flatten(index)) + np.repeat(starts, ak.to_numpy(ak.num(index)))
    used = np.zeros(int(counts.sum()), dtype=bool)
    used[rows] = True
    kept = ak.unflatten(used, counts)
    position = np.cumsum(used) - 1
    n_kept = ak.to_numpy(ak.sum(kept, axis=1))
    first = np.cumsum(n_kept) - n_kept
    new = position[rows] - np.repeat(first, ak.to_numpy(ak.num(index)))
    renumbered = ak.unflatten(new.astype(np.int32), ak.num(index))
    return columns | {
        "PFCands": candidates[kept],
        "FatJetPFCands": ak.with_field(links, renumbered, "pFCandsIdx"),
    }


def slim(source: Path, target: Path) -> None:
    """Write the smaller file; it is there completely or not at all."""
    with uproot.open(source) as file:
        columns = without_loose_candidates(collections(file["Events"].arrays()))
        runs = file["Runs"].arrays(library="np")
    with complete_or_absent(target) as part, uproot.recreate(part, compression=uproot.LZMA(9)) as file:
        types = {name: array.type.content if array.ndim > 1 else array.layout.dtype for name, array in columns.items()}
        file.mktree("Events", types)
        file["Events"].extend(columns)
        file.mktree("Runs", {name: values.dtype for name, values in runs.items()})
        file["Runs"].extend(runs)


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
            slim(full, target)
        size = target.stat().st_size
        print(f"{target}: {summary.events} events, {summary.jets} fat jets, {size / 1e6:.2f} MB", flush=True)
    total = sum((args.out / f"{name}.root").stat().st_size for name in SAMPLES)
    print(f"{total / 1e6:.2f} MB in all")
    if total > MOST:
        raise SystemExit(f"{total} bytes in all, expected at most {MOST}: choose a smaller --scale")


if __name__ == "__main__":
    main()
