"""A recurrent network that no code of the package makes, and its two descriptions: a sequence and a vector."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from jettagger.formats.nesting import nest
from jettagger.testing import make_columns

SEQUENCE: dict[str, Any] = {
    "input": "tracks",
    "object": "charged",
    "kind": "sequence",
    "selection": "pt > 0.8",
    "order": [{"by": "abs(btagSip3dSig)", "missing": "drop"}],
    "length": 12,
    "axes": ["jets", "objects", "variables"],
    "variables": [{"name": "Cpfcan_puppiw"}, {"name": "Cpfcan_BtagPf_trackSip3dSig", "norm_factor": 0.1}],
    "columns": ["log(pt / jet.pt)", "abs(eta)"],
}
VECTOR: dict[str, Any] = {
    "input": "shape",
    "object": "jet",
    "axes": ["jets", "variables"],
    "columns": [
        {"name": "msoftdrop", "norm_factor": 0.01},
        {"name": "log(pt)", "median": 5},
        "tau2 / tau1",
        "genWeight",
    ],
}


def declared(*groups: Mapping[str, Any], **keys: Any) -> dict[str, Any]:
    return {"schema_version": 1, "name": "other", "groups": list(groups)} | keys


def recurrent(path: Path, *, slots: int | str = 12, width: int = 4, hidden: int = 5, extra: int = 4) -> dict[str, Any]:
    """A recurrent network (the operator RNN) and a vector behind it, made with onnx alone; its weights."""
    rng = np.random.default_rng(8)
    weights = {
        "W": rng.normal(0, 0.5, (1, hidden, width)),
        "R": rng.normal(0, 0.5, (1, hidden, hidden)),
        "B": rng.normal(0, 0.2, (1, 2 * hidden)),
        "V": rng.normal(0, 0.5, (hidden + extra, 3)),
    }
    weights = {name: array.astype(np.float32) for name, array in weights.items()}
    nodes = [
        helper.make_node("Transpose", ["tracks"], ["steps"], perm=[1, 0, 2]),
        helper.make_node("RNN", ["steps", "W", "R", "B"], ["", "last"], hidden_size=hidden),
        helper.make_node("Squeeze", ["last", "first"], ["state"]),
        helper.make_node("Concat", ["state", "shape"], ["joint"], axis=1),
        helper.make_node("MatMul", ["joint", "V"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "recurrent",
        [
            helper.make_tensor_value_info("tracks", TensorProto.FLOAT, ["N", slots, width]),
            helper.make_tensor_value_info("shape", TensorProto.FLOAT, ["N", extra]),
        ],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 3])],
        [
            *(numpy_helper.from_array(array, name) for name, array in weights.items()),
            numpy_helper.from_array(np.array([0]), "first"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return weights


def write(folder: Path, inputs: Mapping[str, Any], **card: Any) -> Path:
    """``bundle.json`` and ``inputs.json`` beside a network."""
    folder.mkdir(exist_ok=True)
    (folder / "inputs.json").write_text(json.dumps(inputs))
    content = {"schema_version": 1, "name": "other", "output_names": ["probb", "probc", "probl"]}
    content |= {"kinds": {"prob": ["prob*"]}} | card
    (folder / "bundle.json").write_text(json.dumps(content))
    return folder


def with_shapes(columns: dict[str, Any], jets: str = "FatJet") -> dict[str, Any]:
    """The columns of a file with N-subjettinesses and a soft-drop mass."""
    pt = columns[f"{jets}_pt"]
    more = {"tau1": 0.3 + 0 * pt, "tau2": 0.001 * pt, "msoftdrop": 0.2 * pt}
    return columns | {f"{jets}_{name}": ak.values_astype(values, np.float32) for name, values in more.items()}


def events_with_shapes(jets: str = "FatJet", n_events: int = 12) -> Any:
    return nest(with_shapes(make_columns(n_events, seed=5, constituents=20, ak4=True), jets))
