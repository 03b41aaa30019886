"""Attention weights of transformers, where their graph shows them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.errors import require
from jettagger.explain.gradients import torch_graph
from jettagger.types import Array

__all__ = ["attention_nodes", "attention_weights"]

#: nodes that hand weights on, between a softmax and the product with the values
_HANDED_ON = ("Cast", "Dropout", "Identity", "Where", "Reshape", "Mul")


def attention_nodes(bundle: Bundle) -> tuple[str, ...]:
    """The results of softmax in a graph that weight values: the left operand of a matrix product.

    Parameters
    ----------
    bundle : Bundle
        With weights.

    Returns
    -------
    tuple of str
        Names of tensors, in the order of the graph; empty if the network shows no attention.

    Raises
    ------
    MissingModelFile
        If the bundle has no weights.

    Examples
    --------
    >>> from jettagger import load_bundle
    >>> len(attention_nodes(load_bundle("inclParTToyV1"))) > 0
    True
    """
    import onnx

    graph = onnx.load(bundle.require_weights(), load_external_data=False).graph
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)

    def weights_values(name: str) -> bool:
        for node in users.get(name, ()):
            if node.op_type == "MatMul" and node.input[0] == name:
                return True
            if node.op_type == "Einsum" and name in node.input:
                return True
            if node.op_type in _HANDED_ON and weights_values(node.output[0]):
                return True
        return False

    found = [node.output[0] for node in graph.node if node.op_type == "Softmax"]
    return tuple(name for name in found if weights_values(name))


def attention_weights(bundle: Bundle, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The attention weights of each jet. They are what they are called, not contributions to an output.

    Parameters
    ----------
    bundle : Bundle
        With weights.
    inputs : mapping of str to float32[jets, ...]
        As a session gets them.

    Returns
    -------
    dict of str to float32[jets, heads, queries, keys]
        Tensor of the graph -> weights, whose sum over the keys is 1. Empty if the graph shows no attention.

    Raises
    ------
    MissingModelFile, Unsupported, ModelFileError, MissingExtra
        As for `jettagger.explain.TorchGraph`.

    Notes
    -----
    Vaswani et al., arXiv:1706.03762, equation 1. That weights do not say what an output depends on: Jain, Wallace,
    arXiv:1902.10186.
    """
    names = attention_nodes(bundle)
    require("torch", "train", "attention weights")
    import torch

    n_jets = len(next(iter(inputs.values())))
    if not names or not n_jets:
        return {}
    feeds = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in inputs.items()}
    with torch.no_grad():
        found = torch_graph(bundle).run(feeds, list(names))
    weights = {}
    for name, tensor in found.items():
        array = tensor.numpy()
        weights[name] = array.reshape(n_jets, -1, *array.shape[-2:])
    return weights


guard(globals(), "attention_nodes", "attention_weights")
