"""Random jets of an energy calibration, as files of a location with their transforms, and a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jettagger.config.yamlfile import yaml_text
from jettagger.jec import RawJets, write_data, write_shard

CODES = (-211, 11, 211)

#: a configuration with everything that the data need, in `write_location`
CONFIG: dict[str, Any] = {
    "data": {"location": "jets", "split": [3, 1, -1], "batch_size": 5},
    "features": {
        "global": {"numerical": ["pt", "eta", "num_pv"]},
        "ch": {"numerical": ["ch_pt", "ch_rel_pt", "ch_deta", "ch_dphi", "ch_dr"], "categorical": ["ch_id"]},
        "sv": {"numerical": ["sv_num_tracks"]},
    },
    "model": {
        "ch": {"type": "mlp", "num_units": [4], "embeddings": {"ch_id": 2}},
        "sv": {"type": "mlp", "num_units": [3]},
        "head": {"type": "mlp", "num_units": [4]},
    },
    "loss": "mae",
    "train": {"steps_per_epoch": 2},
    "predict": True,
}

TRANSFORMS: dict[str, Any] = {
    "numerical": {
        "pt": [
            {"type": "arcsinh", "params": {"scale": 10.0}},
            {"type": "linear", "params": {"loc": 1.0, "scale": 4.0}},
        ],
        "ch_pt": [{"type": "arcsinh", "params": {"scale": 0.1}}],
        "ch_phi": [{"type": "abs"}],
        "sv_num_tracks": [{"type": "log"}],
    },
    "categorical": {"ch_id": list(CODES)},
}


def make_jets(number: int, seed: int = 1, most: int = 8) -> RawJets:
    """Jets with up to some charged constituents and two vertices; some have none."""
    rng = np.random.default_rng(seed)
    counts = {"ch": rng.integers(0, most + 1, number), "sv": rng.integers(0, 3, number)}
    charged, vertices = (int(counts[name].sum()) for name in ("ch", "sv"))
    pt = rng.uniform(20, 500, number).astype("f4")
    columns = {
        "pt": pt,
        "pt_gen": (pt * rng.normal(1, 0.1, number)).astype("f4"),
        "eta": rng.uniform(-3, 3, number).astype("f4"),
        "phi": rng.uniform(-np.pi, np.pi, number).astype("f4"),
        "num_pv": rng.integers(1, 60, number).astype("i4"),
        "ch_pt": rng.exponential(5, charged).astype("f4"),
        "ch_eta": rng.uniform(-3, 3, charged).astype("f4"),
        "ch_phi": rng.uniform(-np.pi, np.pi, charged).astype("f4"),
        "ch_id": rng.choice(CODES, charged).astype("i4"),
        "sv_num_tracks": rng.integers(2, 9, vertices).astype("i4"),
    }
    return RawJets(columns, counts)


def write_location(folder: Path, files: int = 5, jets: int = 10, seed: int = 1) -> Path:
    """A location with files of random jets."""
    (folder / "shards").mkdir(parents=True)
    for number in range(files):
        write_shard(folder / "shards" / f"{number}.root", make_jets(jets, seed * 1000 + number))
    write_data(folder, {f"shards/{number}.root": jets for number in range(files)})
    (folder / "transform.yaml").write_text(yaml_text(TRANSFORMS))
    return folder


def write_config(folder: Path, **changes: Any) -> Path:
    """A configuration beside the location ``jets``; changes replace keys of sections, as ``data={"split": ...}``."""
    content = {
        name: {**section, **changes.get(name, {})} if isinstance(section, dict) else changes.get(name, section)
        for name, section in CONFIG.items()
    }
    content.update({name: value for name, value in changes.items() if name not in content})
    path = folder / "config.yaml"
    path.write_text(yaml_text(content))
    return path
