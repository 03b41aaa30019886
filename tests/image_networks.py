"""A network on images that no code of the package makes, and its description."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROWS, COLUMNS = 11, 15
IMAGE: dict[str, Any] = {
    "input": "image",
    "object": "candidates",
    "kind": "image",
    "selection": "puppiWeight > 0.1",
    "weight": "puppiWeight",
    "axes": ["jets", "channels", "rows", "columns"],
    "image": {
        "size": [ROWS, COLUMNS],
        "range": [0.31, 0.23],
        "channels": [
            "all",
            {"name": "charged", "selection": "charge != 0", "quantity": "count"},
            {"name": "displaced", "selection": "charge != 0", "quantity": "mean of abs(d0val)"},
        ],
        "normalise": "none",
    },
}


def convolutions(path: Path, *, shape: tuple[Any, ...] = ("N", 3, ROWS, COLUMNS), last: bool = False) -> dict[str, Any]:
    """A convolution, its mean over the image, and a softmax, made with onnx alone; its weights.

    ``last``: the channels are the last axis of the input.
    """
    rng = np.random.default_rng(12)
    channels = shape[3 if last else 1]
    weights = {
        "K": rng.normal(0, 0.4, (4, channels, 3, 3)),
        "b": rng.normal(0, 0.3, 4),
        "V": rng.normal(0, 0.5, (4, 3)),
    }
    weights = {name: array.astype(np.float32) for name, array in weights.items()}
    nodes = [helper.make_node("Transpose", ["image"], ["first"], perm=[0, 3, 1, 2])] if last else []
    nodes += [
        helper.make_node("Conv", ["first" if last else "image", "K", "b"], ["convolved"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["convolved"], ["positive"]),
        helper.make_node("ReduceMean", ["positive"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "V"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "convolutions",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [shape[0], 3])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return weights


def scores_by_hand(image: np.ndarray[Any, Any], weights: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The scores of `convolutions` for an image, float[channels, rows, columns], pixel by pixel."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    total = np.zeros(4)
    for row in range(image.shape[1]):
        for column in range(image.shape[2]):
            window = padded[:, row : row + 3, column : column + 3]
            total += np.maximum((weights["K"] * window).sum(axis=(1, 2, 3)) + weights["b"], 0)
    logits = total / (image.shape[1] * image.shape[2]) @ weights["V"]
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())
