"""Small searches that tests run: files and a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import awkward as ak
import numpy as np

from jettagger.files.root import write_tree
from jettagger.testing import make_columns

CONFIG = """\
version: 1
luminosity: 10
tagger: {model: tinyParT, threads: 1}
tree: Events
chunk_size: 12
samples:
  tt: {files: ["tt*.root"], cross_section: 2}
  X1: {files: X1.root, cross_section: 0.5}
  run: {files: [run.root], data: true}
jets:
  count: 2
  preselection: "pt > 220 and abs(eta) < 2.2"
  sort_by: HbbvsQCD
  mass: msoftdrop
discriminants:
  HbbvsQCD: HbbvsQCD
cuts:
  near: "abs(deta) < 2"
  tagged: "jet1.HbbvsQCD > 0.2"
regions:
  SR: {kind: signal, pass: [near, tagged]}
  CR: {kind: control, pass: [near], fail: [tagged]}
weights:
  pileup: {nominal: puWeight, up: puWeightUp, down: "2 * puWeight - puWeightUp"}
variations:
  jes:
    up: {pt: "pt * 1.1", mass: "mass * 1.1", msoftdrop: "msoftdrop * 1.1"}
    down: {pt: "pt * 0.9", mass: "mass * 0.9", msoftdrop: "msoftdrop * 0.9"}
histograms:
  mjj: {bins: [8, 200, 1800], label: dijet mass, unit: GeV}
  masses:
    axes:
      regressed: {bins: [4, 0, 200], unit: GeV, expression: jet1.tinyParT_mass}
      softdrop: {bins: [4, 0, 200], unit: GeV, expression: jet1.msoftdrop}
templates:
  histogram: mjj
  processes: {tt: [tt]}
  signals: {X1: {datasets: [X1], mass: 1000}}
  normalisation_uncertainties: {lumi: {tt: 0.02, X1: 0.02}}
"""


#: the same without what is varied: a fifth of the histograms
PLAIN = CONFIG.partition("weights:")[0] + "".join(CONFIG.partition("histograms:")[1:])


def columns(n_events: int, seed: int, *, data: bool = False, binary: bool = True) -> dict[str, Any]:
    """Columns of events with weights; ``binary`` weights have sums without rounding."""
    rng = np.random.default_rng(seed)
    made = make_columns(n_events, seed=seed, jets=2.6, constituents=15)
    if data:
        del made["genWeight"]
        return made
    sizes = [0.5, 1.0, -0.25, 2.0] if binary else rng.normal(1, 0.2, 64).tolist()
    made["genWeight"] = rng.choice(sizes, n_events).astype(np.float32)
    made["puWeight"] = (rng.integers(4, 12, n_events) / 8).astype(np.float32)
    made["puWeightUp"] = (rng.integers(4, 12, n_events) / 8).astype(np.float32)
    return made


def write(path: Path, made: Mapping[str, Any], **trees: Any) -> Path:
    """A file with these columns."""
    write_tree(path, [made])
    return path


def part(made: Mapping[str, Any], first: int, last: int) -> dict[str, Any]:
    """Some of the events."""
    return {
        name: ak.to_packed(array[first:last]) if isinstance(array, ak.Array) else array[first:last]
        for name, array in made.items()
    }


@cache
def content(n_events: int, seed: int, data: bool, binary: bool) -> bytes:
    """A file of `columns`, as writing hundreds of them takes longer than reading them."""
    with TemporaryDirectory() as folder:
        return write(Path(folder) / "events.root", columns(n_events, seed, data=data, binary=binary)).read_bytes()


def make_world(folder: Path, *, binary: bool = True, config: str = CONFIG) -> Path:
    """The files of `CONFIG`, and the configuration itself or another one."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"tt1": (30, 1, False), "tt2": (8, 2, False), "X1": (20, 3, False), "run": (15, 4, True)}
    for name, (n_events, seed, data) in files.items():
        (folder / f"{name}.root").write_bytes(content(n_events, seed, data, binary))
    (folder / "search.yaml").write_text(config)
    return folder / "search.yaml"
