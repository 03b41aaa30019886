"""Event files and files of events for tests of the assignment of objects to particles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from jettagger.files.root import write_tree

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "assignment"


def top_pairs(n_events: int, seed: int = 1, first: int = 1, leptonic: bool = False) -> dict[str, Any]:
    """Columns of events with top pairs: jets near the quarks, others, and generator particles, as in PFNano files.

    Parameters
    ----------
    n_events : int
    seed : int
    first : int
        Number of the first event.
    leptonic : bool
        Whether one W decays to an electron and a neutrino.
    """
    rng = np.random.default_rng(seed)
    pdg = np.array([6, -6, 24, 5, -24, -5, 2, -1, *((11, -12) if leptonic else (3, -4))])
    mother = np.array([-1, -1, 0, 0, 1, 1, 2, 2, 4, 4])
    n = len(pdg)
    parts = {
        "pt": rng.uniform(30, 200, (n_events, n)),
        "eta": rng.uniform(-2, 2, (n_events, n)),
        "phi": rng.uniform(-np.pi, np.pi, (n_events, n)),
        "mass": np.broadcast_to(
            np.where(np.abs(pdg) == 6, 172.5, np.where(np.abs(pdg) == 24, 80.4, 0.0)), (n_events, n)
        ),
    }
    columns: dict[str, Any] = {
        f"GenPart_{name}": ak.from_regular(ak.Array(values.astype("f4"))) for name, values in parts.items()
    }
    for name, row in (("pdgId", pdg), ("genPartIdxMother", mother)):
        columns[f"GenPart_{name}"] = ak.from_regular(ak.Array(np.broadcast_to(row.astype("i4"), (n_events, n)).copy()))
    quarks = np.flatnonzero((np.abs(pdg) < 6) & (mother > 0) | (np.abs(pdg) == 5))
    seen = rng.random((n_events, len(quarks))) < 0.95
    more = rng.integers(0, 3, n_events)
    extra = int(more.sum())
    jets = {
        "pt": (parts["pt"][:, quarks] * rng.normal(1, 0.1, seen.shape), rng.uniform(30, 60, extra)),
        "eta": (parts["eta"][:, quarks] + rng.normal(0, 0.05, seen.shape), rng.uniform(-2, 2, extra)),
        "phi": (parts["phi"][:, quarks] + rng.normal(0, 0.05, seen.shape), rng.uniform(-3, 3, extra)),
        "mass": (rng.uniform(3, 20, seen.shape), rng.uniform(3, 20, extra)),
        "hadronFlavour": (np.broadcast_to(np.where(np.abs(pdg[quarks]) == 5, 5, 0), seen.shape), np.zeros(extra)),
    }
    for name, (near, other) in jets.items():
        kind = "i4" if name == "hadronFlavour" else "f4"
        lists = ak.unflatten(near[seen].astype(kind), seen.sum(axis=1))
        columns[f"Jet_{name}"] = ak.concatenate([lists, ak.unflatten(other.astype(kind), more)], axis=1)
    for name in ("Electron", "Muon"):
        count = np.full(n_events, int(leptonic and name == "Electron"))
        total = int(count.sum())
        lepton = {key: parts[key][:, 8] if total else np.zeros(0) for key in ("pt", "eta", "phi")}
        for key, values in {**lepton, "pfRelIso03_all": np.zeros(total)}.items():
            columns[f"{name}_{key}"] = ak.unflatten(values.astype("f4"), count)
    for name in ("pt", "phi", "sumEt"):
        columns[f"MET_{name}"] = rng.uniform(0, 3, n_events).astype("f4")
    columns["genWeight"] = rng.uniform(0.5, 1.5, n_events).astype("f4")
    columns["run"] = columns["luminosityBlock"] = np.ones(n_events, "u4")
    columns["event"] = np.arange(first, first + n_events)
    return columns


def top_pair_file(path: Path, n_events: int, **options: Any) -> Path:
    """A file of `top_pairs`."""
    write_tree(path, [top_pairs(n_events, **options)])
    return path
