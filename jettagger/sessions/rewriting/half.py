"""Matrix products in half precision; all other operations are unchanged."""

from __future__ import annotations

from typing import Any

import numpy as np

from jettagger.sessions.rewriting.network import Net, attributes_of, inputs_of, replace_all, sole_user

__all__ = ["half_products"]

#: matrix products
_PRODUCTS = frozenset(("FusedMatMul", "Gemm", "MatMul"))

#: operators that may be evaluated in half precision between two products
_PASSED = frozenset(("Gelu", "Identity", "Relu", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"))

#: element types of ONNX
_SINGLE, _HALF, _DOUBLE = 1, 10, 11


def half_products(model: bytes) -> bytes:
    """A network with matrix products in float16; its inputs, outputs and all other operations remain float32.

    Parameters
    ----------
    model : bytes
        An ONNX file without external data.

    Returns
    -------
    bytes
        An ONNX file. Sums within products are in float32 on CPUs and on tensor cores.
    """
    import onnx

    net = Net(onnx.load_from_string(model))
    halves: dict[str, str] = {}

    def half(name: str) -> str:
        """The same tensor in float16."""
        if name not in halves:
            constant = net.constants.get(name)
            if constant is None:
                halves[name] = net.add("Cast", [name], to=_HALF)
            else:
                with np.errstate(over="ignore"):  # the comparison with the file finds it
                    halves[name] = net.constant(constant.astype(np.float16))
        return halves[name]

    doubled, choosing = _doubled(net), _choosing(net)
    for node in [node for node in net.nodes if node.op_type in _PRODUCTS]:
        if doubled.intersection(node.input) or node.output[0] in choosing:
            continue
        inputs = [half(name) if name else "" for name in node.input]
        product = net.add(node.op_type, inputs, node.domain, **attributes_of(node))
        single = net.add("Cast", [product], to=_SINGLE)
        net.replace(node.output[0], single)
        halves = {single if name == node.output[0] else name: value for name, value in halves.items()}
    net.prune()
    while _shorten(net):
        net.prune()
    return net.model()


def _doubled(net: Net) -> set[str]:
    """Tensors in double precision, which stay that: what was made of one, or cast to it."""
    found = {name for name, value in net.constants.items() if value.dtype == np.float64}
    net.prune()  # sorts
    for node in net.nodes:
        cast = attributes_of(node).get("to")
        if (found.intersection(node.input) and cast is None) or cast == _DOUBLE:
            found.update(node.output)
    return found


def _choosing(net: Net) -> set[str]:
    """Products that decide, without another product between, which neighbours are the nearest: rounded, others are."""
    makers = net.makers()
    found: set[str] = set()
    seen: set[str] = set()
    stack = [node.input[0] for node in net.nodes if node.op_type in ("ArgMax", "ArgMin", "TopK")]
    while stack:
        name = stack.pop()
        node = makers.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type in _PRODUCTS:
            found.add(name)
        else:
            stack += inputs_of(node)
    return found


def _shorten(net: Net) -> bool:
    """Leave out casts there and back, also around operators that work on either; whether anything was done."""
    makers, users = net.makers(), net.users()
    new: dict[str, str] = {}
    for node in list(net.nodes):
        taken = node.output[0] if node.output else ""
        between = makers.get(node.input[0]) if _casts(node, _HALF) else None
        if between is None:
            continue
        if _casts(between, _SINGLE):
            new[taken] = between.input[0]
            continue
        if between.op_type not in _PASSED or sole_user(users, net, between.output[0]) is not node:
            continue
        before = makers.get(between.input[0])
        if before is not None and _casts(before, _SINGLE):
            inputs = [before.input[0], *between.input[1:]]
            new[taken] = net.add(between.op_type, inputs, between.domain, **attributes_of(between))
    for name in new:  # what takes the place of one may have been replaced, too
        while new[name] in new:
            new[name] = new[new[name]]
    replace_all(net, new)
    return bool(new)


def _casts(node: Any, kind: int) -> bool:
    return node.op_type == "Cast" and attributes_of(node)["to"] == kind
