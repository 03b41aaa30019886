"""Graphs for GPUs: 1x1 convolutions as matrix products; standard operators instead of those that exist only on CPUs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jettagger.sessions.rewriting.network import Net, attributes_of

__all__ = ["fit_gpu"]

#: activations without parameters, which ONNX Runtime fuses into products on the CPU
_ACTIVATIONS = ("Relu", "Sigmoid", "Tanh")


def fit_gpu(net: Net) -> None:
    """Replace 1x1 convolutions, which cuDNN refuses for many jets, and fused operators that run on CPUs only."""
    for node in list(net.nodes):
        attributes = attributes_of(node)
        activation = bytes(attributes.pop("activation", b"")).decode()
        if activation and activation not in _ACTIVATIONS:
            continue
        made = ""
        if node.op_type in ("Conv", "FusedConv"):
            made = _product(net, node, attributes)
        elif node.op_type == "FusedGemm":
            plain = {name: value for name, value in attributes.items() if not name.startswith("activation")}
            made = net.add("Gemm", list(node.input), **plain)
        if made:
            net.replace(node.output[0], net.add(activation, [made]) if activation else made)


def _product(net: Net, node: Any, attributes: Mapping[str, Any]) -> str:
    """A 1x1 convolution as a matrix that multiplies the channels; empty for other convolutions."""
    source, kernel, *more = node.input
    weights, rank = net.constants.get(kernel), net.rank(node.output[0])
    if weights is None or rank < 3 or weights.shape[2:] != (1,) * (rank - 2) or attributes.get("group", 1) != 1:
        return ""
    if any(stride != 1 for stride in attributes.get("strides", [])) or any(attributes.get("pads", [])):
        return ""
    if any(name and name not in net.constants for name in more[:1]):
        return ""
    matrix = weights.reshape(len(weights), -1)
    positions = source
    if rank > 3:
        positions = net.add("Reshape", [source, net.constant(np.array([0, matrix.shape[1], -1]))])
    made = net.add("MatMul", [net.constant(matrix), positions])
    if more and more[0]:
        made = net.add("Add", [made, net.constant(net.constants[more[0]][:, np.newaxis])])
    if rank > 3:
        shape = net.add("Shape", [source])
        first, last = (
            net.add("Slice", [shape, *(net.constant(np.array([end])) for end in ends)]) for ends in ((0, 1), (2, rank))
        )
        whole = net.add("Concat", [first, net.constant(np.array([len(matrix)])), last], axis=0)
        made = net.add("Reshape", [made, whole])
    return net.add("Add", [made, more[1]]) if len(more) > 1 else made
