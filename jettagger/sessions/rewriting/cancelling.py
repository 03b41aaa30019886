"""Steps of a network with cancellation: differences of nearly equal numbers.

There a change in the last place of an operand changes the leading digits of the result. An example is the mass of a
pair of particles in single precision, E² - p²: at 100 GeV its squares have steps of 0.001 GeV².
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jettagger.sessions.cpusteps import CutNetwork
from jettagger.sessions.rewriting.network import attributes_of, inputs_of
from jettagger.types import Array

__all__ = ["KNOB", "cancelling_steps", "cut_at", "with_knobs"]

#: name of the input that scales a step, by its number; 1 leaves it unchanged
KNOB = "jettagger_knob{}"

#: a result this much smaller than its operands has lost ten of 24 binary digits
CANCELLED = 2.0**-10

#: minimum fraction of results with cancellation for a step to count
SHARE, FEWEST = 0.002, 10

#: operators that move numbers to other positions
MOVED = frozenset(("Expand", "Identity", "Reshape", "Transpose", "Unsqueeze"))

#: operators with weights after which a step belongs to the network itself, not to its features
HEAVY = frozenset(
    ("Attention", "Conv", "ConvTranspose", "Einsum", "Gemm", "GRU", "If", "Loop", "LSTM", "MatMul", "Scan")
)


def cancelling_steps(model: Any, probes: Sequence[Mapping[str, Array]]) -> list[str]:
    """Sums and differences in single precision whose results are much smaller than their operands.

    Parameters
    ----------
    model : onnx.ModelProto
        With all weights included. Inner graphs are not searched.
    probes : sequence of dict of str to float32[jets, ...]
        Inputs of runs.

    Returns
    -------
    list of str
        Outputs of the nodes, in the order of the graph. Results that are exactly zero are ignored: the difference of a
        number and itself has no rounding. So are steps with a constant operand.
    """
    constant = _constants(model)
    steps = [
        node
        for node in model.graph.node
        if (node.op_type in ("Add", "Sub") and not constant & set(node.input))
        or (node.op_type == "ReduceSum" and node.input[0] not in constant)
    ]
    if not steps:
        return []
    names = dict.fromkeys(
        name for node in steps for name in (*node.input, *node.output) if name and name not in constant
    )
    axes = _small_constants(model)
    lost, number = np.zeros(len(steps)), np.zeros(len(steps))
    for values in _values(model, list(names), probes):
        for place, node in enumerate(steps):
            result, operands = values[node.output[0]], [values[name] for name in node.input if name in values]
            if result.dtype != np.float32:
                continue
            with np.errstate(invalid="ignore"):
                largest = _largest(node, operands, axes.get(node.input[-1]))
                real = np.isfinite(largest) & (result != 0)
                number[place] += np.count_nonzero(real)
                lost[place] += np.count_nonzero(real & (np.abs(result) < CANCELLED * largest))
    return [
        str(node.output[0]) for node, some in zip(steps, lost > np.maximum(SHARE * number, FEWEST), strict=True) if some
    ]


def with_knobs(model: Any, steps: Sequence[str]) -> bytes:
    """A network in which one operand of each step is scaled by an additional input.

    Parameters
    ----------
    model : onnx.ModelProto
    steps : sequence of str
        As returned by `cancelling_steps`.

    Returns
    -------
    bytes
        An ONNX file. ``KNOB.format(number)``, float32[], is an additional input for each step; with 1 nothing changes.
        Differences between the same quantity of two rows stay zero if the rows are the same, as on any machine; for a
        sum over an axis the positive terms are scaled.
    """
    import onnx
    from onnx import TensorProto, helper

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    knobs = {name: KNOB.format(number) for number, name in enumerate(steps)}
    made_of = _Origins(model)
    graph.input.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in knobs.values())
    nodes: list[Any] = []
    for node in graph.node:
        result = node.output[0] if node.output else ""
        if result not in knobs:
            nodes.append(node)
            continue

        def add(kind: str, *inputs: str, to: str, copied: Any = None) -> str:
            made = onnx.NodeProto()
            if copied is not None:
                made.CopyFrom(copied)
            del made.input[:], made.output[:]
            made.op_type, made.name = kind, to
            made.input.extend(inputs)
            made.output.append(to)
            nodes.append(made)
            return to

        knob = knobs[result]
        own = f"{knob}_{{}}".format
        first, *others = node.input
        if node.op_type == "ReduceSum":
            one = helper.make_node("Constant", [], [own("one")], value_float=1.0)
            nodes.append(one)
            more = add(
                "Mul", add("Relu", first, to=own("up")), add("Sub", knob, own("one"), to=own("by")), to=own("more")
            )
            add("ReduceSum", add("Add", first, more, to=own("terms")), *others, to=result, copied=node)
            continue
        scaled = add("Mul", first, knob, to=own("scaled"))
        if node.op_type == "Add" or made_of(first) != made_of(others[0]):
            add(node.op_type, scaled, others[0], to=result)
            continue
        plain = add("Sub", first, others[0], to=own("plain"))
        moved = add("Sub", scaled, others[0], to=own("moved"))
        add("Where", add("Equal", first, others[0], to=own("equal")), plain, moved, to=result)
    del graph.node[:]
    graph.node.extend(nodes)
    return bytes(changed.SerializeToString())


def cut_at(model: Any, steps: Sequence[str], probe: Mapping[str, Array]) -> CutNetwork | None:
    """A network in two parts: the first computes the results of some steps, the second takes them as inputs.

    Parameters
    ----------
    model : onnx.ModelProto
    steps : sequence of str
        As returned by `cancelling_steps`; steps after matrix products with weights stay in the second part.
    probe : dict of str to float32[jets, ...]
        Inputs of a run.

    Returns
    -------
    CutNetwork or None
        The second part has the inputs and outputs of the network, and the steps as additional inputs. None if no step
        can be separated.
    """
    import onnx
    from onnx import TensorProto, helper

    makers = {name: node for node in model.graph.node for name in node.output if name}
    constant = _constants(model)

    def weighted(node: Any) -> bool:
        return node.op_type in HEAVY and (node.op_type != "MatMul" or bool(constant & set(node.input)))

    chosen = [name for name in steps if not any(weighted(node) for node in _before([name], makers))]
    if not chosen:
        return None
    (values,) = _values(model, chosen, [probe])
    tensors = [
        helper.make_tensor_value_info(
            name, TensorProto.FLOAT, [f"{KNOB.format(place)}_{axis}" for axis in range(values[name].ndim)]
        )
        for place, name in enumerate(chosen)
    ]

    def part(outputs: Sequence[Any], given: Sequence[Any]) -> bytes:
        made = onnx.ModelProto()
        made.CopyFrom(model)
        graph = made.graph
        names = {item.name for item in given}
        kept = _before(
            [item.name for item in outputs], {name: node for name, node in makers.items() if name not in names}
        )
        places = {id(node) for node in kept}
        used = {name for node in kept for name in inputs_of(node)}
        inputs = [item for item in model.graph.input if given or item.name in used]
        weights = [item for item in model.graph.initializer if item.name in used]
        del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:], graph.initializer[:]
        graph.node.extend(node for node in model.graph.node if id(node) in places)
        graph.input.extend([*inputs, *given])
        graph.output.extend(outputs)
        graph.initializer.extend(weights)
        return bytes(made.SerializeToString())

    first, rest = part(tensors, ()), part(list(model.graph.output), tensors)
    needed = {name for node in _before(chosen, makers) for name in inputs_of(node)}
    inputs = tuple(item.name for item in model.graph.input if item.name in needed - constant)
    return CutNetwork(tuple(chosen), inputs, first, rest)


class _Origins:
    """Definitions of tensors as texts, equal for tensors that differ only in the positions of their numbers."""

    def __init__(self, model: Any) -> None:
        self.makers = {name: node for node in model.graph.node for name in node.output if name}
        self.texts = {
            item.name: hashlib.sha256(item.raw_data or item.SerializeToString()).hexdigest()
            for item in model.graph.initializer
        }

    def __call__(self, name: str) -> str:
        stack = [name]
        while stack:  # graphs are deeper than Python's stack
            top = stack[-1]
            node = self.makers.get(top)
            if top in self.texts or node is None:
                self.texts.setdefault(top, top)
                stack.pop()
                continue
            inputs = list(node.input[:1] if node.op_type in MOVED else inputs_of(node))
            waiting = [source for source in inputs if source and source not in self.texts]
            if waiting:
                stack += waiting
                continue
            stack.pop()
            if node.op_type in MOVED:
                self.texts[top] = self.texts[inputs[0]]
                continue
            said = [node.op_type, *(self.texts.get(source, "") for source in inputs)]
            said += [item.SerializeToString().hex() for item in node.attribute]
            for place, output in enumerate(node.output):
                self.texts[output] = hashlib.sha256("\n".join([*said, str(place)]).encode()).hexdigest()
        return self.texts[name]


def _constants(model: Any) -> set[str]:
    constant = {item.name for item in model.graph.initializer}
    return constant | {name for node in model.graph.node if node.op_type == "Constant" for name in node.output}


def _before(names: Sequence[str], makers: Mapping[str, Any]) -> list[Any]:
    """All nodes on which some tensors depend."""
    found: dict[int, Any] = {}
    stack = list(names)
    while stack:
        node = makers.get(stack.pop())
        if node is not None and id(node) not in found:
            found[id(node)] = node
            stack += inputs_of(node)
    return list(found.values())


def _small_constants(model: Any) -> dict[str, list[int]]:
    """Constants that may be axes, by name."""
    from onnx import numpy_helper

    tensors = {item.name: item for item in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensors[node.output[0]] = node.attribute[0].t
    return {
        name: numpy_helper.to_array(item).tolist()
        for name, item in tensors.items()
        if item.data_type == item.INT64 and len(item.dims) == 1 and item.dims[0] < 8
    }


def _largest(node: Any, operands: Sequence[Array], last: list[int] | None) -> Array:
    """The maximum absolute value of the operands of each result."""
    if node.op_type != "ReduceSum":
        return np.maximum(*(np.abs(value) for value in operands))
    attributes = attributes_of(node)
    axes = attributes.get("axes", last if len(node.input) > 1 else None)
    return np.abs(operands[0]).max(
        axis=None if not axes else tuple(axes), keepdims=bool(attributes.get("keepdims", 1)), initial=0
    )


def _values(model: Any, names: Sequence[str], probes: Sequence[Mapping[str, Array]]) -> Iterator[dict[str, Array]]:
    """The values of tensors of an unmodified graph, for one probe after another."""
    import onnx
    import onnxruntime

    looked = onnx.ModelProto()
    looked.CopyFrom(model)
    outputs = {item.name for item in looked.graph.output}
    looked.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in outputs)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised
    session = onnxruntime.InferenceSession(looked.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for inputs in probes:
        yield dict(zip(names, session.run(list(names), dict(inputs)), strict=True))
