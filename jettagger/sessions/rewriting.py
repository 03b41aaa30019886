"""Graph rewriting: equal ONNX graphs with fewer operators.

Written for graphs like those that weaver and PyTorch export of Particle Transformers, and works by local patterns, so
other graphs profit where they have them. The steps:

1. ONNX Runtime folds constants and fuses layer norms and GELUs.
2. Tensors that depend on the lengths of the inputs only are compared over probe inputs: equal ones are made once.
3. Nodes that do the same with the same are made once: attention masks are applied to the pair features one time, not
   in each block.
4. Products with matrices take their bias along; slices, scales and permutations behind or before them are folded into
   the matrices; transpositions into batched products.
5. Features of pairs of particles that are symmetric are made for one half of the pairs.

Nothing here proves that the result is equal: `jettagger.inference.acceleration` does, and drops what is not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.types import Array

__all__ = ["rewrite"]

CONTRIB = "com.microsoft"

#: the oldest operator set whose Slice takes tensors
OLDEST = 11

Probe = Mapping[str, Array]
Shape = tuple[int, ...]

#: element by element
PLAIN = frozenset(
    (
        *("Abs", "Add", "And", "Atan", "Cast", "Ceil", "Clip", "Cos", "Div", "Equal", "Erf", "Exp", "Floor", "Gelu"),
        *("Greater", "GreaterOrEqual", "Identity", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Min", "Mod"),
        *("Mul", "Neg", "Not", "Or", "Pow", "Reciprocal", "Relu", "Sigmoid", "Sign", "Sin", "Sqrt", "Sub", "Tanh"),
        "Where",
    )
)

#: row by row, with vectors along a row
ROWWISE = frozenset(("Add", "Gelu", "LayerNormalization", "Mul"))


def rewrite(model: bytes, probes: Sequence[Probe]) -> bytes | None:
    """A faster network with the same inputs and outputs.

    Parameters
    ----------
    model : bytes
        An ONNX file without external data.
    probes : sequence of dict of str to float32 array
        Inputs of different lengths and numbers of jets, at least two, all lengths of one different from each other.

    Returns
    -------
    bytes or None
        An ONNX file for the ONNX Runtime that is installed; None where nothing is known to be faster.
    """
    net = _Net(_simplified(model))
    if net.opset < OLDEST:
        return None
    before = net.size
    for step in (
        _merge_shapes,
        _merge_equal,
        _gemms,
        _merge_equal,
        _split,
        _scales,
        _heads,
        _batched,
        _halve_pairs,
        _rows,
    ):
        net.observe(probes)
        step(net)
        net.prune()
    net.observe(probes)
    _merge_shapes(net)
    _merge_equal(net)
    net.prune()
    return net.model() if net.changed or net.size < before else None


def _simplified(model: bytes) -> Any:
    """The graph after ONNX Runtime's own rewriting, as far as it does not depend on the machine."""
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "simplified.onnx"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 4  # what fails is raised
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return onnx.load(target)


class _Net:
    """A graph that can be edited."""

    def __init__(self, model: Any) -> None:
        from onnx import numpy_helper

        self._model = model
        graph = model.graph
        self.nodes: list[Any] = list(graph.node)
        self.constants: dict[str, Array] = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        self.outputs = [item.name for item in graph.output]
        #: shapes over the probes, and the values of what depends on shapes only
        self.shapes: dict[str, tuple[Shape, ...]] = {}
        self.values: dict[str, tuple[Array, ...]] = {}
        self.changed = False
        self._number = 0

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        return max((item.version for item in self._model.opset_import if item.domain in ("", "ai.onnx")), default=0)

    @property
    def size(self) -> int:
        """Number of nodes."""
        return len(self.nodes)

    def model(self) -> bytes:
        """The graph as an ONNX file."""
        import onnx
        from onnx import numpy_helper

        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        graph = model.graph
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self._sorted())
        graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in self.constants.items())
        if not any(item.domain == CONTRIB for item in model.opset_import):
            model.opset_import.add(domain=CONTRIB, version=1)
        return bytes(model.SerializeToString())

    # -- edit

    def constant(self, value: Array) -> str:
        """A new constant."""
        self._number += 1
        name = f"jettagger_c{self._number}"
        self.constants[name] = np.array(value, order="C")
        return name

    def add(self, kind: str, inputs: Sequence[str], domain: str = "", **attributes: Any) -> str:
        """A new node with one output."""
        from onnx import helper

        self._number += 1
        name = f"jettagger_{self._number}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, domain=domain, **attributes))
        return name

    def replace(self, old: str, new: str) -> None:
        """Let everything that takes one tensor take another; outputs of the network keep their name."""
        for node in self.nodes:
            _rename(node, old, new)
        if old in self.outputs:
            maker = self.makers()[old]
            self._number += 1
            maker.output[list(maker.output).index(old)] = f"{old}_before{self._number}"
            self.add_named("Identity", [new], old)
        self.changed = True

    def add_named(self, kind: str, inputs: Sequence[str], output: str) -> None:
        """A new node whose output has a given name."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, list(inputs), [output], f"{output}_node"))

    def prune(self) -> None:
        """Drop nodes and constants that nothing uses, and sort."""
        makers = self.makers()
        needed: set[int] = set()
        names: set[str] = set()
        stack = list(self.outputs)
        while stack:
            name = stack.pop()
            if name in names:
                continue
            names.add(name)
            node = makers.get(name)
            if node is not None and id(node) not in needed:
                needed.add(id(node))
                stack += _inputs(node)
        self.nodes = [node for node in self.nodes if id(node) in needed]
        self.constants = {name: value for name, value in self.constants.items() if name in names}
        self.nodes = self._sorted()

    def _sorted(self) -> list[Any]:
        makers = self.makers()
        result: list[Any] = []
        done: set[int] = set()
        for start in self.nodes:
            stack = [start]
            while stack:
                node = stack[-1]
                waiting = [makers[name] for name in _inputs(node) if name in makers and id(makers[name]) not in done]
                if waiting and id(node) not in done:
                    stack += waiting
                    continue
                stack.pop()
                if id(node) not in done:
                    done.add(id(node))
                    result.append(node)
        return result

    # -- look

    def makers(self) -> dict[str, Any]:
        """Tensor -> node that makes it."""
        return {name: node for node in self.nodes for name in node.output if name}

    def users(self) -> dict[str, list[Any]]:
        """Tensor -> nodes that take it."""
        found: dict[str, list[Any]] = {name: [] for name in self.outputs}
        for node in self.nodes:
            for name in dict.fromkeys(_inputs(node)):
                found.setdefault(name, []).append(node)
        return found

    def scalar(self, name: str) -> float | None:
        """The value of a constant with one element."""
        value = self.constants.get(name)
        return float(value.reshape(())) if value is not None and value.size == 1 else None

    def rank(self, name: str) -> int:
        """Number of axes; -1 where it was not observed or differs."""
        ranks = {len(shape) for shape in self.shapes.get(name, ())}
        return ranks.pop() if len(ranks) == 1 else -1

    def observe(self, probes: Sequence[Probe]) -> None:
        """Run the probes and keep the shapes of all tensors, and the values of those that depend on shapes only."""
        import onnx
        import onnxruntime

        only_shapes = self._of_shapes()
        model = onnx.ModelProto.FromString(self.model())
        known = {item.name for item in model.graph.output}
        names = [name for node in self.nodes for name in node.output if name]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 4  # what fails is raised
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        taken = {item.name for item in session.get_inputs()}
        shapes: dict[str, list[Shape]] = {}
        values: dict[str, list[Array]] = {}
        for probe in probes:
            inputs = {name: array for name, array in probe.items() if name in taken}
            for name, array in inputs.items():
                shapes.setdefault(name, []).append(array.shape)
            for name, array in zip(names, session.run(names, inputs), strict=True):
                shapes.setdefault(name, []).append(array.shape)
                if name in only_shapes:
                    values.setdefault(name, []).append(array)
        self.shapes = {name: tuple(found) for name, found in shapes.items()}
        self.values = {name: tuple(found) for name, found in values.items()}

    def _of_shapes(self) -> set[str]:
        """Tensors that depend on the lengths of the inputs only."""
        found: set[str] = set()
        for node in self.nodes:
            inputs = _inputs(node)
            known = all(name in found or name in self.constants for name in inputs)
            if node.op_type == "Shape" or (known and any(name in found for name in inputs) and not _graphs(node)):
                found.update(name for name in node.output if name)
        return found


def _graphs(node: Any) -> list[Any]:
    """Graphs in a node's attributes (the branches of an If)."""
    return [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def _inputs(node: Any) -> list[str]:
    """What a node takes, also from within its inner graphs."""
    names = [name for name in node.input if name]
    for graph in _graphs(node):
        names += [name for inner in graph.node for name in _inputs(inner)]
    return names


def _rename(node: Any, old: str, new: str) -> None:
    for place, name in enumerate(node.input):
        if name == old:
            node.input[place] = new
    for graph in _graphs(node):
        for inner in graph.node:
            _rename(inner, old, new)


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


def _identity(values: Sequence[Array]) -> tuple[Any, ...]:
    return tuple((value.dtype.str, value.shape, value.tobytes()) for value in values)


def _merge_shapes(net: _Net) -> None:
    """Make what depends on shapes only once; what is the same for all probes is a constant."""
    first: dict[tuple[Any, ...], str] = {}
    new: dict[str, str] = {}
    for node in net.nodes:
        for name in node.output:
            if name not in net.values:
                continue
            key = _identity(net.values[name])
            if key not in first:
                same = len(key) > 1 and len(set(key)) == 1
                first[key] = net.constant(net.values[name][0]) if same else name
            if first[key] != name:
                new[name] = first[key]
    _replace_all(net, new)


def _merge_equal(net: _Net) -> None:
    """Nodes that do the same with the same inputs become one."""
    contents: dict[tuple[Any, ...], str] = {}
    new = {}
    for name, value in net.constants.items():
        key = _identity([value])
        if contents.setdefault(key, name) != name:
            new[name] = contents[key]
    seen: dict[tuple[Any, ...], Any] = {}
    for node in net.nodes:
        if _graphs(node):
            continue
        attributes = sorted(item.SerializeToString() for item in node.attribute)
        key = (node.op_type, node.domain, *attributes, *(new.get(name, name) for name in node.input))
        twin = seen.setdefault(key, node)
        if twin is not node and len(twin.output) == len(node.output):
            new.update(zip(node.output, twin.output, strict=True))
    _replace_all(net, new)


def _replace_all(net: _Net, new: Mapping[str, str]) -> None:
    for name in [name for name in new if name in net.outputs]:
        net.replace(name, new[name])
    for node in net.nodes:
        for name in set(_inputs(node)) & new.keys():
            _rename(node, name, new[name])


def _sole(users: Mapping[str, list[Any]], net: _Net, name: str) -> Any | None:
    """The one node that takes a tensor, where there is just one."""
    found = users.get(name, [])
    return found[0] if len(found) == 1 and name not in net.outputs else None


def _gemms(net: _Net) -> None:
    """Products of stacked rows with a matrix, and the bias added to them, as one Gemm over all rows."""
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
        adder = _sole(users, net, output)
        if adder is not None and adder.op_type == "Add":
            other = net.constants.get(adder.input[1] if adder.input[0] == output else adder.input[0])
            if other is not None and other.shape == (columns,):
                bias, output = other, adder.output[0]
        rows = net.add("Reshape", [node.input[0], net.constant(np.array([-1, width]))])
        product = net.add("Gemm", [rows, net.constant(matrix), net.constant(bias)])
        net.replace(output, net.add("Reshape", [product, _stacked_shape(net, node.input[0], columns)]))


def _stacked_shape(net: _Net, like: str, columns: int) -> str:
    """The shape of a tensor with another last axis."""
    ends = [net.constant(np.array([value])) for value in (0, -1)]
    leading = net.add("Slice", [net.add("Shape", [like]), *ends])
    return net.add("Concat", [leading, net.constant(np.array([columns]))], axis=0)


def _upright(net: _Net, node: Any) -> None:
    """Turn the constant matrix of a Gemm, so that all have one row an input."""
    attributes = _attributes(node)
    matrix = net.constants.get(node.input[1])
    if matrix is None or not attributes.get("transB", 0) or attributes.get("transA", 0):
        return
    node.input[1] = net.constant(matrix.T)
    for item in node.attribute:
        if item.name == "transB":
            item.i = 0


def _layer(net: _Net, name: str, makers: Mapping[str, Any]) -> tuple[str, Array, Array] | None:
    """Input, matrix and bias of the plain Gemm that makes a tensor."""
    node = makers.get(name)
    if node is None or node.op_type != "Gemm" or len(node.input) < 3:
        return None
    attributes = _attributes(node)
    matrix, bias = net.constants.get(node.input[1]), net.constants.get(node.input[2])
    plain = attributes.get("alpha", 1.0) == attributes.get("beta", 1.0) == 1.0
    turned = attributes.get("transA", 0) or attributes.get("transB", 0)
    if matrix is None or bias is None or not plain or turned or bias.shape != (matrix.shape[1],):
        return None
    return node.input[0], matrix, bias


def _split(net: _Net) -> None:
    """A product that is cut into slices, as one product a slice."""
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


def _cuts(net: _Net, node: Any, name: str) -> list[tuple[str, slice]]:
    """What a Slice or Split cuts out of the last axis of a tensor; an entry without a name where it does not."""
    rank = net.rank(name)
    if node.op_type == "Split" and _attributes(node).get("axis", 0) in (-1, rank - 1):
        widths = [net.shapes[output][0][-1] for output in node.output]
        ends = np.cumsum([0, *widths])
        return [(output, slice(*ends[place : place + 2])) for place, output in enumerate(node.output)]
    bounds = _last_axis_bounds(net, node, name)
    return [(node.output[0], slice(*bounds)) if bounds else ("", slice(0))]


def _leading(net: _Net, shape: str) -> str:
    """A shape without its last entry."""
    return net.add("Slice", [shape, *(net.constant(np.array([value])) for value in (0, -1))])


def _last_axis_bounds(net: _Net, node: Any, name: str) -> tuple[int, int] | None:
    """From where to where a Slice cuts the last axis of a tensor."""
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


def _scales(net: _Net) -> None:
    """A constant factor on a product goes into the matrix."""
    for node in [node for node in net.nodes if node.op_type in ("Div", "Mul")]:
        makers, users = net.makers(), net.users()
        factor = net.scalar(node.input[1])
        if factor is None or not factor:
            continue
        chain = []
        name = node.input[0]
        while (
            _sole(users, net, name) is not None and name in makers and makers[name].op_type in ("Reshape", "Transpose")
        ):
            chain.append(makers[name])
            name = makers[name].input[0]
        layer = _layer(net, name, makers)
        if not chain or layer is None or _sole(users, net, name) is None:
            continue
        source, matrix, bias = layer
        if node.op_type == "Div":
            factor = 1 / factor
        scaled = [net.constant((value * np.float64(factor)).astype(value.dtype)) for value in (matrix, bias)]
        chain[-1].input[0] = net.add("Gemm", [source, *scaled])
        net.replace(node.output[0], node.input[0])


def _heads(net: _Net) -> None:
    """A factor for each head behind a product (the einsum ``tbhd,h->tbdh``) goes into the matrix."""
    makers, users = net.makers(), net.users()
    for node in [node for node in net.nodes if node.op_type == "Mul"]:
        factors = net.constants.get(node.input[1])
        turn = makers.get(node.input[0])
        last = _sole(users, net, node.output[0])
        if factors is None or turn is None or last is None or last.op_type != "Reshape":
            continue
        if turn.op_type != "Transpose" or _attributes(turn).get("perm") != [0, 1, 3, 2]:
            continue
        name = turn.input[0]
        while name in makers and makers[name].op_type == "Reshape" and _sole(users, net, name) is not None:
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


def _rows(net: _Net) -> None:
    """Work that is done row by row is done on the stacked rows, so that they are not reshaped back and forth."""
    for node in list(net.nodes):
        if node.op_type in ("Mul", "Div") and net.scalar(node.input[1]) == 1:
            net.replace(node.output[0], node.input[0])
    makers = net.makers()
    for node in list(net.nodes):
        shapes = net.shapes[node.output[0]]
        if node.op_type not in ROWWISE or net.rank(node.output[0]) < 3 or len({shape[-1] for shape in shapes}) > 1:
            continue
        if node.op_type == "LayerNormalization" and _attributes(node).get("axis", -1) != -1:
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
        made = net.add(node.op_type, inputs, node.domain, **_attributes(node))
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


def _stacks(net: _Net, node: Any) -> bool:
    """Whether a Reshape only splits the rows of a matrix."""
    if node.op_type != "Reshape" or net.rank(node.input[0]) != 2 or net.rank(node.output[0]) <= 2:
        return False
    before, after = net.shapes.get(node.input[0], ()), net.shapes.get(node.output[0], ())
    return all(a[-1] == b[-1] for a, b in zip(before, after, strict=False))


def _batched(net: _Net) -> None:
    """Transpositions before batched products are left to the product."""
    makers = net.makers()
    for node in [node for node in net.nodes if node.op_type in ("MatMul", "FusedMatMul")]:
        attributes = _attributes(node)
        if any(attributes.get(name) for name in ("transA", "transB", "transBatchA", "transBatchB")):
            continue
        sources = list(node.input)
        turned = {"transA": 0, "transB": 0, "transBatchA": 0, "transBatchB": 0, "alpha": attributes.get("alpha", 1.0)}
        for place, side in enumerate("AB"):
            turn = makers.get(sources[place])
            perm = _attributes(turn).get("perm") if turn is not None and turn.op_type == "Transpose" else None
            if turn is not None and perm in ([1, 0, 2], [1, 2, 0]):
                sources[place] = turn.input[0]
                turned[f"transBatch{side}"] = 1
                turned[f"trans{side}"] = int(perm == [1, 2, 0])
        if sources != list(node.input):
            net.replace(node.output[0], net.add("FusedMatMul", sources, CONTRIB, **turned))


def _halve_pairs(net: _Net) -> None:
    """Features of pairs are made for one half of the pairs, and spread to the other at the end."""
    for source in dict.fromkeys(node.input[0] for node in net.nodes if node.op_type == "Unsqueeze"):
        if net.rank(source) == 3 and len({shape[-1] for shape in net.shapes[source]}) > 1:
            region = _Pairs(net, source)
            if region.worthwhile:
                region.halve()


def _axes(net: _Net, node: Any) -> list[int] | None:
    if len(node.input) > 1:
        value = net.constants.get(node.input[1])
        return None if value is None else [int(item) for item in value.ravel()]
    return list(_attributes(node).get("axes", [])) or None


class _Pairs:
    """The part of a graph that works on all pairs of a jet's particles, made by broadcasting rows with columns.

    Tensors in it are ``row`` [.., particles, 1], ``column`` [.., 1, particles], ``pair`` [.., particles, particles] or
    ``flat`` [.., particles²].
    """

    def __init__(self, net: _Net, source: str) -> None:
        self.net = net
        self.source = source
        self.kinds: dict[str, str] = {}
        self.inside: list[Any] = []
        lengths = [shape[-1] for shape in net.shapes[source]]
        for node in net.nodes:
            if node.op_type == "Unsqueeze" and node.input[0] == source:
                self._start(node)
            elif any(name in self.kinds for name in node.input):
                self._follow(node, lengths)

    def _start(self, node: Any) -> None:
        axes = _axes(self.net, node)
        kind = {-1: "row", 3: "row", -2: "column", 2: "column"}.get(axes[0] if axes and len(axes) == 1 else 0)
        if kind:
            self.kinds[node.output[0]] = kind

    def _follow(self, node: Any, lengths: list[int]) -> None:
        """Take a node in if it treats each pair alone."""
        outputs = [name for name in node.output if name]
        kinds = {self._kind(self.net.shapes.get(name, ()), lengths) for name in outputs}
        data = node.input[:1] if node.op_type == "Reshape" else node.input
        others = [name for name in data if name and name not in self.kinds]
        given = {self.kinds[name] for name in node.input if name in self.kinds}
        if len(kinds) != 1 or None in kinds or not all(name in self.net.constants for name in others):
            return
        kind = kinds.pop() or ""
        constant = all(self.net.constants[name].size == 1 for name in others)
        if node.op_type in PLAIN:
            taken = constant and (kind != "flat" or given == {"flat"})
        elif node.op_type in ("Concat", "Split", "Slice", "ReduceSum"):
            taken = given == {kind} and kind != "flat" and self._along_channels(node)
        elif node.op_type == "Reshape":
            taken = kind == "flat" and given == {"pair"}
        elif node.op_type == "BatchNormalization":
            taken = kind == "flat" and given == {"flat"}
        elif node.op_type == "Conv":
            attributes = _attributes(node)
            alone = all(value == 1 for name in ("kernel_shape", "strides") for value in attributes.get(name, []))
            taken = kind == "flat" and given == {"flat"} and alone and not any(attributes.get("pads", []))
        else:
            taken = False
        if taken:
            self.kinds.update(dict.fromkeys(outputs, kind))
            if kind in ("pair", "flat"):
                self.inside.append(node)

    def _along_channels(self, node: Any) -> bool:
        if node.op_type == "Slice":
            found = self.net.constants.get(node.input[3]) if len(node.input) > 3 else None
            return found is not None and [int(item) for item in found] == [1]
        if node.op_type == "ReduceSum":
            return _axes(self.net, node) == [1]
        return _attributes(node).get("axis", 0) == 1

    @staticmethod
    def _kind(shapes: Sequence[Shape], lengths: Sequence[int]) -> str | None:
        def all_end_in(*ends: Callable[[int], int]) -> bool:
            return len(shapes) == len(lengths) and all(
                shape[len(shape) - len(ends) :] == tuple(end(length) for end in ends)
                for shape, length in zip(shapes, lengths, strict=True)
            )

        def one(_: int) -> int:
            return 1

        def full(length: int) -> int:
            return length

        ranks = {len(shape) for shape in shapes}
        if ranks == {4}:
            for kind, ends in (("pair", (full, full)), ("row", (full, one)), ("column", (one, full))):
                if all_end_in(*ends):
                    return kind
        return "flat" if ranks == {3} and all_end_in(lambda length: length * length) else None

    @property
    def worthwhile(self) -> bool:
        """Whether there are products with matrices in it."""
        return any(node.op_type == "Conv" for node in self.inside)

    def halve(self) -> None:
        """Write it anew for the pairs (i, j) with j not above i."""
        net = self.net
        users = net.users()
        inside = {id(node) for node in self.inside}
        first, second, spread = self._tables()
        new: dict[str, str] = {}

        makers = net.makers()

        def half(name: str) -> str:
            kind = self.kinds.get(name)
            if kind not in ("row", "column") or name in new:
                return new.get(name, name)
            maker = makers[name]
            if maker.op_type in ("Split", "Slice"):  # gathered together, cut afterwards
                inputs = [half(maker.input[0]), *maker.input[1:]]
                new.update(zip(maker.output, self._add(maker, inputs, _attributes(maker)), strict=True))
                return new[name]
            flat = net.add("Reshape", [name, net.constant(np.array([0, 0, -1]))])
            gathered = self._gathered(flat, first if kind == "row" else second)
            new[name] = net.add("Reshape", [gathered, net.constant(np.array([0, 0, 1, -1]))])
            return new[name]

        for node in self.inside:
            inputs = [half(name) for name in node.input]
            if node.op_type == "Reshape":
                inputs[1] = net.constant(np.array([0, 0, -1]))
            attributes = _attributes(node)
            for name, output in zip(node.output, self._add(node, inputs, attributes), strict=True):
                new[name] = output
        for node in self.inside:
            for name in node.output:
                leaving = [user for user in users.get(name, []) if id(user) not in inside]
                if not leaving and name not in net.outputs:
                    continue
                if self.kinds[name] == "pair":
                    half_flat = net.add("Reshape", [new[name], net.constant(np.array([0, 0, -1]))])
                else:
                    half_flat = new[name]
                whole = self._gathered(half_flat, spread)
                if self.kinds[name] == "pair":
                    whole = net.add("Reshape", [whole, net.add("Shape", [name])])
                for user in leaving:
                    _rename(user, name, whole)
        net.changed = True

    def _add(self, node: Any, inputs: list[str], attributes: Mapping[str, Any]) -> list[str]:
        name = self.net.add(node.op_type, inputs, node.domain, **attributes)
        made = self.net.nodes[-1]
        outputs = [name, *(f"{name}_{place}" for place in range(1, len(node.output)))]
        del made.output[:]
        made.output.extend(outputs)
        return outputs

    def _gathered(self, name: str, places: str) -> str:
        """Entries of the last axis of three; channels are moved together, which is faster than one by one."""
        rows = self.net.add("Transpose", [name], perm=[0, 2, 1])
        return self.net.add("Transpose", [self.net.add("Gather", [rows, places], axis=1)], perm=[0, 2, 1])

    def _tables(self) -> tuple[str, str, str]:
        """For each pair of one half its two particles; for each of all pairs its place in the half."""
        net = self.net
        shape = net.add("Shape", [self.source])
        length = net.add("Gather", [shape, net.constant(np.array(2))], axis=0)
        numbers = net.add("Range", [net.constant(np.array(0)), length, net.constant(np.array(1))])
        down = net.add("Reshape", [numbers, net.constant(np.array([-1, 1]))])
        across = net.add("Reshape", [numbers, net.constant(np.array([1, -1]))])
        lower = net.add("Not", [net.add("Less", [down, across])])
        places = net.add("NonZero", [lower])
        first, second = (net.add("Gather", [places, net.constant(np.array(row))], axis=0) for row in (0, 1))
        above = net.add("Less", [down, across])
        high = net.add("Where", [above, across, down])
        low = net.add("Where", [above, down, across])
        following = net.add("Add", [high, net.constant(np.array(1))])
        triangle = net.add("Div", [net.add("Mul", [high, following]), net.constant(np.array(2))])
        spread = net.add("Reshape", [net.add("Add", [triangle, low]), net.constant(np.array([-1]))])
        return first, second, spread
