"""Data configurations and bundles of weaver's kind that tests build, and weaver itself where it is there."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from networks import Head, graph

REPOSITORY = Path(__file__).resolve().parent.parent

#: a short configuration on JetClass columns: three classes, one selection
CONFIG = """\
selection: (jet_pt > 200) & (jet_sdmass > 20)
new_variables:
   part_mask: ak.ones_like(part_energy)
   part_pt: np.hypot(part_px, part_py)
   part_logpt: np.log(part_pt)
   label_a: jet_label == 0
   label_b: (jet_label > 0) & (jet_label < 100)
   label_c: jet_label >= 100
preprocess: {method: manual}
inputs:
   pf_points: {length: 20, pad_mode: wrap, vars: [[part_deta, null], [part_dphi, null]]}
   pf_features:
      length: 20
      pad_mode: wrap
      vars:
         - [part_logpt, 1.7, 0.7]
         - part_charge
         - [part_d0err, 0, 1, 0, 1]
   pf_mask: {length: 20, pad_mode: constant, vars: [[part_mask, null]]}
labels: {type: simple, value: [label_a, label_b, label_c]}
observers: [jet_pt, jet_sdmass]
"""
HEADS = (Head("softmax", 3, softmax=True),)


def table(n_jets: int = 6, seed: int = 0) -> Any:
    """A flat table with the columns of `CONFIG`; the last jet has no constituents, the one before has 25."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 15, n_jets)
    counts[-2:] = (25, 0)
    total = int(counts.sum())

    def ragged(values: Any) -> Any:
        return ak.unflatten(np.asarray(values).astype(np.float32), counts)

    momentum = rng.normal(0, 20, (3, total))
    return ak.Array(
        {
            "jet_pt": rng.uniform(150, 800, n_jets).astype(np.float32),
            "jet_sdmass": rng.uniform(10, 200, n_jets).astype(np.float32),
            "jet_label": rng.integers(0, 188, n_jets).astype(np.int32),
            "part_px": ragged(momentum[0]),
            "part_py": ragged(momentum[1]),
            "part_pz": ragged(momentum[2]),
            "part_energy": ragged(np.sqrt((momentum**2).sum(axis=0))),
            "part_deta": ragged(rng.normal(0, 0.2, total)),
            "part_dphi": ragged(rng.normal(0, 0.2, total)),
            "part_charge": ragged(rng.integers(-1, 2, total)),
            "part_d0err": ragged(rng.exponential(0.5, total)),
        }
    )


def weaver_bundle(
    folder: Path,
    config: str = CONFIG,
    groups: Mapping[str, Sequence[str]] | None = None,
    heads: Sequence[Head] = HEADS,
    card: Mapping[str, Any] | None = None,
    name: str = "data.yaml",
    **changes: Any,
) -> Path:
    """A folder with ``model.onnx`` and a data configuration; the network has no input ``pf_points``."""
    folder.mkdir(parents=True, exist_ok=True)
    groups = groups or {"pf_features": ("", "", ""), "pf_mask": ("",)}
    (folder / "model.onnx").write_bytes(graph(groups, heads, **changes).SerializeToString())
    (folder / name).write_text(config)
    if card is not None:
        (folder / "bundle.json").write_text(json.dumps({"schema_version": 1, "name": "toy"} | dict(card)))
    return folder


def weaver_python() -> str:
    """An interpreter that has weaver-core; skips the test where there is none."""
    named = os.environ.get("JETTAGGER_WEAVER_PYTHON")
    for candidate in (named, str(REPOSITORY / ".venv-weaver" / "bin" / "python")):
        if candidate and Path(candidate).exists():
            return candidate
    if importlib.util.find_spec("weaver") is None:
        text = "no environment with weaver-core: 'make weaver' makes one, or JETTAGGER_WEAVER_PYTHON names another"
        pytest.importorskip("weaver", reason=text)
    return sys.executable


def run_in_weaver(script: Path, *arguments: str, cwd: Path, together: bool = False) -> str:
    """Run a script there; returns what it printed, with what it said on the error stream if ``together``."""
    path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    settings = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path}
    command = [weaver_python(), str(script), *arguments]
    errors = subprocess.STDOUT if together else subprocess.PIPE
    done = subprocess.run(command, cwd=cwd, env=settings, stdout=subprocess.PIPE, stderr=errors, text=True, check=False)
    assert done.returncode == 0, (done.stderr or done.stdout)[-3000:]
    return done.stdout
