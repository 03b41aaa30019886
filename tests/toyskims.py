"""Skims of invented jets in which the truth is known: what a head can learn, and what it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import awkward as ak
import numpy as np

import jettagger as jt

MODEL = "inclParTToyV1"
CLASSES = ("A", "B", "C")


def write_toy(
    path: Path,
    events: int = 1500,
    *,
    seed: int = 0,
    first: int = 0,
    model: str = MODEL,
    neurons: int = 10,
    digest: bool = True,
    changes: dict[str, float] | None = None,
    jets_are: str = "FatJet",
) -> Path:
    """A skim: one or two jets an event; class and target mass are seen in neurons 0 to 3 and in MET.

    Jets of the class A have neuron 0 higher by 2, those of B neuron 1. The tagger's mass lacks what MET carries off.
    """
    rng = np.random.default_rng([seed, first])
    counts = rng.integers(1, 3, events)
    jets = int(counts.sum())
    event = np.repeat(np.arange(events), counts)
    label = rng.integers(0, 3, jets)
    hidden = rng.normal(0, 1, (jets, 128)).astype("f4")
    hidden[:, 0] += 2 * (label == 0)
    hidden[:, 1] += 2 * (label == 1)
    pt = rng.uniform(200, 1000, jets)
    lost = rng.uniform(0, 0.5, events)
    target = rng.uniform(40, 200, jets)
    mass = target * (1 - lost[event]) * rng.normal(1, 0.03, jets)
    columns: dict[str, np.ndarray] = {
        "pt": pt,
        "eta": rng.normal(0, 1, jets),
        "phi": rng.uniform(-3, 3, jets),
        "msoftdrop": rng.exponential(80, jets),
        "truth": label,
        "genMass": target,
        f"{model}_mass": mass,
        # hints at A only
        f"{model}_probHbb": 1 / (1 + np.exp(-(hidden[:, 0] + rng.normal(0, 2, jets)))),
        f"{model}_probQCDothers": rng.uniform(0, 1, jets),
    }
    columns |= {f"{model}_hidNeurons{i:03d}": hidden[:, i] for i in range(neurons)}
    for name, value in (changes or {}).items():
        columns[name] = np.where(np.arange(jets) % 7 == 3, value, columns[name]) if np.isnan(value) else 0 * pt + value
    flat: dict[str, ak.Array] = {
        "event": ak.Array(np.arange(first, first + events, dtype="u8")),
        "genWeight": ak.Array(rng.uniform(0.5, 1.5, events)),
        "MET_pt": ak.Array((lost * 400).astype("f4")),
        "MET_phi": ak.Array(rng.uniform(-3, 3, events).astype("f4")),
    }
    for name, values in columns.items():
        kind = "i4" if name == "truth" else "f4"
        flat[f"{jets_are}_{name}"] = ak.unflatten(values.astype(kind), counts)
    record = {"model": model, "digest": jt.load_bundle(model).digest} if digest else {}
    jt.write_skim(path, [flat], json.dumps(record), force=True)
    return path


CONFIG = """\
version: 1
name: {name}
kind: classes
parent: inclParTToyV1
files: [toy*.parquet]
inputs: [hidden, FatJet_pt]
exclude: ["hidNeurons0[1-9]?", "hidNeurons1??"]
classes:
  A: FatJet_truth == 0
  B: FatJet_truth == 1
  C: FatJet_truth == 2
weight: genWeight
training: {{epochs: 8, batch: 64, rate: 5e-3, seed: 5, threads: 1, patience: 3}}
"""

MASS = """\
version: 1
name: MetMass
kind: mass
parent: inclParTToyV1
files: [toy*.parquet]
inputs: [hidNeurons000, hidNeurons001, mass, MET_pt, FatJet_pt]
classes: {A: FatJet_truth == 0, BC: FatJet_truth > 0}
target: FatJet_genMass
model: {layers: [32, 32], dropout: 0}
training: {epochs: 25, batch: 128, rate: 5e-3, seed: 5, threads: 1}
"""
