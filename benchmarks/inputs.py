"""The jets that benchmarks run on: simulated where that can be done, else real ones with constituents dropped.

Files are kept in ``build/benchmarks`` and used again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

import jettagger as jt
from jettagger.bundles.bundle import Bundle
from jettagger.files import complete_or_absent
from jettagger.files.root import EventFile, write_tree
from jettagger.formats import split
from jettagger.inference.padding import as_run
from jettagger.inputs.batching import GroupValues, Objects, tabulate
from jettagger.inputs.group_rows import entering

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "benchmarks"

#: real events: 24 jets of 19 lengths
REAL = Path(os.environ.get("JETTAGGER_SHARED") or ROOT.parent / "shared" / "data") / "cms" / "pfnano.root"

#: what a skim passes on, besides what the models read
KEPT = ("run", "luminosityBlock", "event", "FatJet.mass", "FatJet.msoftdrop")


#: what models with a selection of candidates read besides
SELECTED_BY = "PFCands.puppiWeight"


def default_file(n_events: int = 1300) -> Path:
    """A file of so many events, made if it is not there; 1,300 simulated ones have 2,200 fat jets.

    Parameters
    ----------
    n_events : int

    Returns
    -------
    pathlib.Path
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    if find_spec("pythia8mc") and find_spec("fastjet"):
        path = FOLDER / f"QCDlight-{n_events}.root"
        if not path.exists():
            from jettagger.simulation import simulate

            simulate("QCDlight", n_events, path, workers=min(os.cpu_count() or 1, 2))
        return path
    path = FOLDER / f"thinned-{n_events}.root"
    if not path.exists():
        with complete_or_absent(path) as part:
            write_tree(part, [thinned(REAL, n_events, seed=1)])
    return path


def flat(events: Any, columns: Iterable[str]) -> dict[str, Any]:
    """Columns of events under their flat names.

    Parameters
    ----------
    events : awkward array
    columns : iterable of str
        ``"Collection.field"``, or plain names.

    Returns
    -------
    dict of str to awkward array
    """
    return {"_".join(filter(None, split(name))): events[tuple(filter(None, split(name)))] for name in columns}


def thinned(path: Path, n_events: int, seed: int) -> Mapping[str, Any]:
    """Events of a file over and over, each jet with a part of its constituents, so that all lengths occur.

    Parameters
    ----------
    path : path
        A PFNano file.
    n_events : int
    seed : int

    Returns
    -------
    dict of str to awkward array
        Flat columns: those that the models with an input description for PFNano read, and what a skim passes on.
    """
    with EventFile(path) as file:
        needed = {
            column
            for model in ("inclParTToyV1", "tinyParT")
            for column in jt.check_columns(jt.load_bundle(model), file).columns
        }
        columns = sorted(needed | {column for column in (*KEPT, SELECTED_BY) if file.has(column)})
        events = file.read(columns)
    events = events[np.resize(np.arange(len(events)), n_events)]
    rng = np.random.default_rng(seed)
    jets = ak.num(events.FatJet.pt)
    share = ak.unflatten(rng.uniform(0.1, 1, int(ak.sum(jets))), jets)
    links = events.FatJetPFCands
    drawn = ak.unflatten(rng.random(int(ak.sum(ak.num(links.jetIdx)))), ak.num(links.jetIdx))
    events["FatJetPFCands"] = links[drawn < share[links.jetIdx]]
    return {name: ak.to_packed(values) for name, values in flat(events, columns).items()}


def read(path: Path, columns: Iterable[str]) -> Any:
    """The events of a file with some columns, in memory."""
    with EventFile(path) as file:
        return ak.materialize(ak.to_packed(file.read(columns)))


def tiled(path: Path, n_events: int, folder: Path) -> Path:
    """A file with the events of another over and over.

    Parameters
    ----------
    path : path
    n_events : int
    folder : path

    Returns
    -------
    pathlib.Path
        In the folder, made if it is not there.
    """
    target = folder / f"{path.stem}-tiled-{n_events}.root"
    if not target.exists():
        with EventFile(path) as file:
            names = sorted(name for name in file.names if not (name.startswith("n") and file.fields(name[1:])))
            columns = [
                name.replace("_", ".", 1) if f"n{name.partition('_')[0]}" in file.names else name for name in names
            ]
            content = flat(file.read(columns), columns)
            n_read = file.n_events
        chunks = (
            {name: values[: n_events - start] for name, values in content.items()}
            for start in range(0, n_events, n_read)
        )
        with complete_or_absent(target) as part:
            write_tree(part, chunks)
    return target


def tables_of(bundle: Bundle, jets: Objects) -> tuple[GroupValues, ...]:
    """The inputs of the jets that a model scores, made of the constituents that it selects."""
    inside = entering(bundle, jets)
    tables = tabulate(as_run(bundle).groups, jets, bundle.card.nonfinite, rows=inside.rows)
    return tuple(table.of(inside.jets) for table in tables)
