"""Matrix products: biases, slices, scales and permutations are absorbed into them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jettagger.sessions.rewriting.network import CONTRIB, Net, Shape, attributes_of, sole_user
from jettagger.types import Array

__all__ = [
    "fold_heads",
    "fold_scales",
    "fold_standards",
    "fold_transpositions",
    "fuse_biases",
    "join_rows",
    "split_products",
    "standard_of",
]

#: row-wise operators, with vectors along a row
ROWWISE = frozenset(("Add", "Gelu", "LayerNormalization", "Mul"))


def fuse_biases(net: Net) -> None:
    """Products of stacked rows with a matrix, followed by a bias, become one Gemm over all rows."""
    for node in [node for node in net.nodes if node.op_type == "BiasGelu"]:
        total = net.add("Add", list(node.input))
        net.replace(node.output[0], net.add("Gelu", [total], CONTRIB))
    for node in [node for node in net.nodes if node.op_type == "Gemm"]:
        _upright(net, node)
    net.prune()
    users = net.users()
    for node in [node for node in net.nodes if node.op_type == "MatMul"]:
        matrix = net.constants.get(node.input[1])
        if matrix is None or matrix.ndim != 2 or net.rank(node.input[0]) < 3:
            continue
        width, columns = matrix.shape
        bias = np.zeros(columns, dtype=matrix.dtype)
        output = node.output[0]
        adder = sole_user(users, net, output)
        if adder is not None and adder.op_type == "Add":
            other = net.constants.get(adder.input[1] if adder.input[0] == output else adder.input[0])
            if other is not None and other.shape == (columns,):
                bias, output = other, adder.output[0]
        rows = net.add("Reshape", [node.input[0], net.constant(np.array([-1, width]))])
        product = net.add("Gemm", [rows, net.constant(matrix), net.constant(bias)])
        net.replace(output, net.add("Reshape", [product, _stacked_shape(net, node.input[0], columns)]))


def _stacked_shape(net: Net, like: str, columns: int) -> str:
    """The shape of a tensor with another last axis."""
    ends = [net.constant(np.array([value])) for value in (0, -1)]
    leading = net.add("Slice", [net.add("Shape", [like]), *ends])
    return net.add("Concat", [leading, net.constant(np.array([columns]))], axis=0)


def _upright(net: Net, node: Any) -> None:
    """Transpose the constant matrix of a Gemm if needed, so that all have one row per input."""
    attributes = attributes_of(node)
    matrix = net.constants.get(node.input[1])
    if matrix is None or not attributes.get("transB", 0) or attributes.get("transA", 0):
        return
    node.input[1] = net.constant(matrix.T)
    for item in node.attribute:
        if item.name == "transB":
            item.i = 0


def _layer(net: Net, name: str, makers: Mapping[str, Any]) -> tuple[str, Array, Array] | None:
    """Input, matrix and bias of the plain Gemm that produces a tensor."""
    node = makers.get(name)
    if node is None or node.op_type != "Gemm" or len(node.input) < 3:
        return None
    attributes = attributes_of(node)
    matrix, bias = net.constants.get(node.input[1]), net.constants.get(node.input[2])
    plain = attributes.get("alpha", 1.0) == attributes.get("beta", 1.0) == 1.0
    turned = attributes.get("transA", 0) or attributes.get("transB", 0)
    if matrix is None or bias is None or not plain or turned or bias.shape != (matrix.shape[1],):
        return None
    return node.input[0], matrix, bias


def split_products(net: Net) -> None:
    """A product followed by slices becomes one product per slice."""
    makers, users = net.makers(), net.users()
    for node in [node for node in net.nodes if node.op_type == "Reshape"]:
        layer = _layer(net, node.input[0], makers)
        slices = users.get(node.output[0], [])
        if layer is None or not slices or node.output[0] in net.outputs:
            continue
        source, matrix, bias = layer
        cuts = [cut for item in slices for cut in _cuts(net, item, node.output[0])]
        if not all(output for output, _ in cuts):
            continue
        for output, part in cuts:
            columns = net.constant(matrix[:, part]), net.constant(bias[part])
            product = net.add("Gemm", [source, *columns])
            shape = net.add("Concat", [_leading(net, node.input[1]), net.constant(np.array([len(bias[part])]))], axis=0)
            net.replace(output, net.add("Reshape", [product, shape]))


def _cuts(net: Net, node: Any, name: str) -> list[tuple[str, slice]]:
    """Ranges of a tensor's last axis selected by a Slice or Split; without a name if it is another axis."""
    rank = net.rank(name)
    if node.op_type == "Split" and attributes_of(node).get("axis", 0) in (-1, rank - 1):
        widths = [net.shapes[output][0][-1] for output in node.output]
        ends = np.cumsum([0, *widths])
        return [(output, slice(*ends[place : place + 2])) for place, output in enumerate(node.output)]
    bounds = _last_axis_bounds(net, node, name)
    return [(node.output[0], slice(*bounds)) if bounds else ("", slice(0))]


def _leading(net: Net, shape: str) -> str:
    """A shape without its last entry."""
    return net.add("Slice", [shape, *(net.constant(np.array([value])) for value in (0, -1))])


def _last_axis_bounds(net: Net, node: Any, name: str) -> tuple[int, int] | None:
    """Start and end of a Slice on the last axis of a tensor."""
    if node.op_type != "Slice" or len(node.input) < 4:
        return None
    found = [net.constants.get(item) for item in node.input[1:]]
    if any(value is None or value.size != 1 for value in found):
        return None
    start, stop, axis, *step = (int(value.reshape(())) for value in found if value is not None)
    rank = net.rank(name)
    width = net.shapes[name][0][-1]
    if rank < 0 or axis not in (-1, rank - 1) or step not in ([], [1]) or start < 0:
        return None
    stop = min(stop, width) if stop >= 0 else width + stop
    return (start, stop) if start < stop else None


def fold_scales(net: Net) -> None:
    """A constant factor on a product, or one for each column, is absorbed into the matrix."""
    for node in [node for node in net.nodes if node.op_type in ("Div", "Mul")]:
        makers, users = net.makers(), net.users()
        factors = net.constants.get(node.input[1])
        if factors is None or not factors.all():
            continue
        chain = []
        name = node.input[0]
        while (
            sole_user(users, net, name) is not None
            and name in makers
            and makers[name].op_type in ("Reshape", "Transpose")
        ):
            chain.append(makers[name])
            name = makers[name].input[0]
        layer = _layer(net, name, makers)
        if not chain or layer is None or sole_user(users, net, name) is None:
            continue
        source, matrix, bias = layer
        scale = _of_columns(net, factors.astype(np.float64), node.input[0], matrix.shape[1])
        if scale is None or (scale.size > 1 and any(item.op_type == "Transpose" for item in chain)):
            continue
        if node.op_type == "Div":
            scale = 1 / scale
        scaled = [net.constant((value * scale).astype(value.dtype)) for value in (matrix, bias)]
        chain[-1].input[0] = net.add("Gemm", [source, *scaled])
        net.replace(node.output[0], node.input[0])


def _of_columns(net: Net, factors: Array, name: str, columns: int) -> Array | None:
    """Factors for the columns of a matrix, or one for all, of a tensor whose last axes are these columns."""
    if factors.size == 1:
        return factors.reshape(())
    for rank in range(1, net.rank(name) + 1):
        ends = {shape[-rank:] for shape in net.shapes[name]}
        end: Shape = next(iter(ends))
        last: Shape = (1,) * (rank - factors.ndim) + factors.shape[-rank:]
        fits = factors.size == np.prod(last) and all(own in (1, whole) for own, whole in zip(last, end, strict=True))
        if len(ends) == 1 and np.prod(end) == columns and fits:
            return np.broadcast_to(factors.reshape(last), end).ravel()
    return None


def fold_heads(net: Net) -> None:
    """A factor for each head after a product (the einsum ``tbhd,h->tbdh``) is absorbed into the matrix."""
    makers, users = net.makers(), net.users()
    for node in [node for node in net.nodes if node.op_type == "Mul"]:
        factors = net.constants.get(node.input[1])
        turn = makers.get(node.input[0])
        last = sole_user(users, net, node.output[0])
        if factors is None or turn is None or last is None or last.op_type != "Reshape":
            continue
        if turn.op_type != "Transpose" or attributes_of(turn).get("perm") != [0, 1, 3, 2]:
            continue
        name = turn.input[0]
        while name in makers and makers[name].op_type == "Reshape" and sole_user(users, net, name) is not None:
            name = makers[name].input[0]
        layer = _layer(net, name, makers)
        if layer is None or name == turn.input[0]:
            continue
        source, matrix, bias = layer
        columns = matrix.shape[1]
        heads, size = net.shapes[turn.input[0]][0][2:]
        whole = all(shape[-1] == columns for shape in net.shapes[last.output[0]])
        if heads * size != columns or not whole or factors.size != heads or factors.shape[-1:] != (heads,):
            continue
        order = np.arange(columns).reshape(heads, size).T.ravel()
        scale = np.tile(factors.ravel(), size)
        folded = [net.constant((value[..., order] * scale).astype(value.dtype)) for value in (matrix, bias)]
        product = net.add("Gemm", [source, *folded])
        net.replace(last.output[0], net.add("Reshape", [product, last.input[1]]))


def standard_of(net: Net, inputs: Sequence[str], attributes: Mapping[str, Any]) -> tuple[Array, Array]:
    """Factor and offset of each channel of a batch normalisation, one per channel: array[channels] each."""
    scale, shift, mean, variance = (net.constants[name].astype(np.float64) for name in inputs[1:5])
    factor = scale / np.sqrt(variance + attributes.get("epsilon", 1e-5))
    dtype = net.constants[inputs[1]].dtype
    return factor.astype(dtype), (shift - mean * factor).astype(dtype)


def fold_standards(net: Net) -> None:
    """A batch norm before a 1x1 convolution is absorbed into its matrix."""
    users = net.users()
    for node in [node for node in net.nodes if node.op_type == "BatchNormalization"]:
        convolution = sole_user(users, net, node.output[0])
        if convolution is None or convolution.op_type != "Conv" or convolution.input[0] != node.output[0]:
            continue
        attributes = attributes_of(convolution)
        weights = [net.constants.get(name) for name in [*node.input[1:], *convolution.input[1:]]]
        if (
            any(value is None for value in weights)
            or attributes.get("group", 1) != 1
            or any(attributes.get("pads", []))
        ):
            continue
        kernel = net.constants[convolution.input[1]]
        if kernel.size != kernel.shape[0] * kernel.shape[1]:
            continue
        factor, summand = standard_of(net, node.input, attributes_of(node))
        matrix = kernel.reshape(kernel.shape[:2]).astype(np.float64)
        bias = matrix @ summand
        if len(convolution.input) > 2:
            bias = bias + net.constants[convolution.input[2]]
        folded = [(matrix * factor).reshape(kernel.shape), bias]
        inputs = [node.input[0], *(net.constant(value.astype(kernel.dtype)) for value in folded)]
        net.replace(convolution.output[0], net.add("Conv", inputs, **attributes))


def join_rows(net: Net) -> None:
    """Row-wise operations are applied to the stacked rows, which avoids reshaping."""
    for node in list(net.nodes):
        if node.op_type in ("Mul", "Div") and net.scalar(node.input[1]) == 1:
            net.replace(node.output[0], node.input[0])
    makers = net.makers()
    for node in list(net.nodes):
        if node.op_type not in ROWWISE:
            continue
        shapes = net.shapes[node.output[0]]
        if net.rank(node.output[0]) < 3 or len({shape[-1] for shape in shapes}) > 1:
            continue
        if node.op_type == "LayerNormalization" and attributes_of(node).get("axis", -1) != -1:
            continue
        taken = [name for name in node.input if name not in net.constants]
        stacked = [makers[name] for name in taken if name in makers and _stacks(net, makers[name])]
        vectors = all(net.constants[name].ndim <= 1 for name in node.input if name in net.constants)
        if not stacked or not vectors or any(net.shapes[name] != shapes for name in taken):
            continue
        inputs = []
        for name in node.input:
            if name in taken:
                maker = makers.get(name)
                width = net.constant(np.array([-1, shapes[0][-1]]))
                known = maker is not None and maker in stacked
                name = maker.input[0] if known and maker is not None else net.add("Reshape", [name, width])
            inputs.append(name)
        made = net.add(node.op_type, inputs, node.domain, **attributes_of(node))
        back = net.add("Reshape", [made, stacked[0].input[1]])
        net.shapes[back], net.shapes[made] = shapes, net.shapes[stacked[0].input[0]]
        net.replace(node.output[0], back)
        makers = net.makers()
    for node in [node for node in net.nodes if node.op_type == "Reshape"]:
        target = [net.constants[node.input[1]]] if node.input[1] in net.constants else net.values.get(node.input[1])
        if not target or any((value == 0).any() for value in target):
            continue
        while node.input[0] in makers and makers[node.input[0]].op_type == "Reshape":
            node.input[0] = makers[node.input[0]].input[0]
            net.changed = True
        if net.shapes.get(node.output[0]) == net.shapes.get(node.input[0], ()):
            net.replace(node.output[0], node.input[0])


def _stacks(net: Net, node: Any) -> bool:
    """Whether a Reshape only splits the rows of a matrix."""
    if node.op_type != "Reshape" or net.rank(node.input[0]) != 2 or net.rank(node.output[0]) <= 2:
        return False
    before, after = net.shapes.get(node.input[0], ()), net.shapes.get(node.output[0], ())
    return all(a[-1] == b[-1] for a, b in zip(before, after, strict=False))


def fold_transpositions(net: Net) -> None:
    """Transpositions before batched products are absorbed into the product."""
    makers = net.makers()
    for node in [node for node in net.nodes if node.op_type in ("MatMul", "FusedMatMul")]:
        attributes = attributes_of(node)
        if any(attributes.get(name) for name in ("transA", "transB", "transBatchA", "transBatchB")):
            continue
        sources = list(node.input)
        turned = {"transA": 0, "transB": 0, "transBatchA": 0, "transBatchB": 0, "alpha": attributes.get("alpha", 1.0)}
        for place, side in enumerate("AB"):
            turn = makers.get(sources[place])
            perm = attributes_of(turn).get("perm") if turn is not None and turn.op_type == "Transpose" else None
            if turn is not None and perm in ([1, 0, 2], [1, 2, 0]):
                sources[place] = turn.input[0]
                turned[f"transBatch{side}"] = 1
                turned[f"trans{side}"] = int(perm == [1, 2, 0])
        if sources != list(node.input):
            net.replace(node.output[0], net.add("FusedMatMul", sources, CONTRIB, **turned))
