"""Networks and jets of the calibration for tests, and the reference arrays of the original."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "mljec"


def reference(name: str) -> dict[str, Any]:
    """Arrays of an archive of the original."""
    if not SHARED.is_dir():
        pytest.skip("the reference data are not here")
    with np.load(SHARED / name) as archive:
        return {key: archive[key] for key in archive.files}


def reference_model() -> dict[str, Any]:
    """The section ``model`` that belongs to its weights."""
    if not SHARED.is_dir():
        pytest.skip("the reference data are not here")
    content: dict[str, Any] = json.loads((SHARED / "model_mlp.json").read_text())
    return content


#: network with everything: embeddings (one also for jets), both types, batch normalisation, both kinds of bypass
MODEL: dict[str, Any] = {
    "ch": {"type": "resnet", "num_units": [6, 7, 5, 7, 4], "embeddings": {"ch_id": 3, "ch_pv_ass": 2}},
    "ne": {"type": "mlp", "num_units": [6, 4], "batch_norm": True, "dropout": 0.2, "embeddings": {"ne_id": 2}},
    "sv": {"type": "resnet", "num_units": [4, 2], "embeddings": {}},
    "head": {"type": "resnet", "num_units": [8, 16, 5], "embeddings": {"period": 2}},
}
NUMERICAL = {"global": 3, "ch": 4, "ne": 3, "sv": 2}
CATEGORICAL = {"global": {"period": 3}, "ch": {"ch_id": 4, "ch_pv_ass": 3}, "ne": {"ne_id": 2}, "sv": {}}


def blocks(counts: dict[str, Any], seed: int = 1) -> dict[str, Any]:
    """Random inputs of the network above, NumPy, unseen values among them; counts are those of the types."""
    rng = np.random.default_rng(seed)
    jets = len(next(iter(counts.values())))
    made: dict[str, Any] = {}
    for block, width in NUMERICAL.items():
        rows = jets if block == "global" else int(np.sum(counts[block]))
        sizes = list(CATEGORICAL[block].values())
        made[block] = {
            "numerical": rng.normal(size=(rows, width)).astype("f4"),
            "categorical": np.stack([rng.integers(0, size + 1, rows) for size in sizes], axis=1)
            if sizes
            else np.zeros((rows, 0), dtype="i8"),
        }
        if block != "global":
            made[block]["counts"] = np.asarray(counts[block], dtype="i8")
    return made
