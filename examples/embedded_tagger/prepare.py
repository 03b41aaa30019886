"""Step 2: from simulated PFNano files to compact training arrays, one npz a file.

The tensors are those that the tagger itself makes (`jettagger.make_inputs` with the input description of GloParT V1),
stored without padding. Features are kept in half precision: they are of order one and rounded to 11 bits in the files.

Usage: python prepare.py OUT_FOLDER FILE.root [FILE.root ...]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

import jettagger as jt

#: columns of the jets that go along: truth, kinematics, and the substructure that the boosted trees get
JET_COLUMNS = ("pt", "eta", "msoftdrop", "mass", "tau1", "tau2", "tau3", "tau4", "label", "genResonanceMass")
EVENT_COLUMNS = ("genWeight", "luminosityBlock", "event")


def load_events(path: str) -> Any:
    """The events of a ROOT file, with the columns that the inputs and the truth need."""
    bundle = jt.load_bundle("inclParTMDV1")
    with jt.EventFile(path) as file:
        plan = jt.check_columns(bundle, file, path)
        columns = {*plan.columns, *(f"FatJet.{name}" for name in JET_COLUMNS), *EVENT_COLUMNS}
        return file.read(sorted(columns))


def ragged(batches: list[Any], stem: str, order: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, four-vectors and lengths of one object without padding, in the order of the jets."""
    features, vectors, lengths = [], [], []
    for batch in batches:
        real = batch.inputs[f"{stem}_mask"][:, 0] > 0.5
        lengths.append(real.sum(axis=1))
        features.append(batch.inputs[f"{stem}_features"].transpose(0, 2, 1)[real])
        vectors.append(batch.inputs[f"{stem}_vectors"].transpose(0, 2, 1)[real])
    counts = np.concatenate(lengths)
    starts = np.cumsum(counts) - counts
    sorted_counts = counts[order]
    rows = np.repeat(starts[order] - (np.cumsum(sorted_counts) - sorted_counts), sorted_counts)
    rows += np.arange(len(rows))
    return (
        np.concatenate(features)[rows].astype(np.float16),
        np.concatenate(vectors)[rows].astype(np.float32),
        sorted_counts.astype(np.int16),
    )


def prepare(events: Any, lowest_pt: float = 200.0) -> dict[str, np.ndarray]:
    """The training arrays of some events; jets without one of the 37 labels are left out.

    Parameters
    ----------
    events : awkward array
    lowest_pt : float
        GeV.

    Returns
    -------
    dict of str to array
    """
    fatjets = events.FatJet
    where = (fatjets.label >= 0) & (fatjets.label < 37) & (fatjets.pt > lowest_pt)
    bundle = jt.load_bundle("inclParTMDV1")
    batches = list(jt.make_inputs(bundle, events, where, batch_size=512))
    if not batches:
        return {}
    jets = np.concatenate([batch.jets for batch in batches])
    order = np.argsort(jets)
    content: dict[str, np.ndarray] = {}
    for stem in ("pf", "sv"):
        features, vectors, lengths = ragged(batches, stem, order)
        content |= {stem: features, f"{stem}_p4": vectors, f"n_{stem}": lengths}
    index = jets[order]
    for name in JET_COLUMNS:
        content[name] = ak.to_numpy(ak.flatten(fatjets[name]))[index]
    event_of_jet = np.repeat(np.arange(len(events)), ak.to_numpy(ak.num(fatjets.pt)))[index]
    for name in EVENT_COLUMNS:
        content[name] = ak.to_numpy(events[name])[event_of_jet]
    return content


def main(out: str, *files: str) -> None:
    """Prepare each file once; what is there already is left alone."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        target = folder / f"{Path(path).stem}.npz"
        if target.exists():
            continue
        content = prepare(load_events(path))
        if content:
            part = target.with_suffix(".part.npz")
            np.savez(part, **content)
            part.rename(target)
            print(f"{path}: {len(content['label'])} jets")


if __name__ == "__main__":
    main(*sys.argv[1:])
