"""An editable network: nodes and constants, with shapes and values observed for probe inputs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jettagger.display import Brief
from jettagger.types import Array

__all__ = [
    "CONTRIB",
    "OLDEST",
    "Net",
    "Probe",
    "Shape",
    "attributes_of",
    "content_of",
    "graphs_of",
    "inputs_of",
    "rename_input",
    "replace_all",
    "sole_user",
]

CONTRIB = "com.microsoft"

#: the first operator set in which Slice takes tensors
OLDEST = 11

#: names that are given here
OWN = re.compile(r"jettagger_c?(\d+)")

Probe = Mapping[str, Array]
Shape = tuple[int, ...]


class Net(Brief):
    """An editable graph."""

    def __init__(self, model: Any) -> None:
        from onnx import numpy_helper

        self._model = model
        graph = model.graph
        self.nodes: list[Any] = list(graph.node)
        self.constants: dict[str, Array] = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        #: inputs of the network; old exporters include constants
        self.inputs = [item.name for item in graph.input if item.name not in self.constants]
        self.outputs = [item.name for item in graph.output]
        #: shapes for the probes, and the values of tensors that depend only on shapes
        self.shapes: dict[str, tuple[Shape, ...]] = {}
        self.values: dict[str, tuple[Array, ...]] = {}
        self.changed = False
        #: so that names are new, in a graph that was written here before, too
        names = [*self.constants, *(name for node in graph.node for name in node.output)]
        self._number = max(
            (int(name.rpartition("_")[2].strip("c")) for name in names if OWN.fullmatch(name)), default=0
        )

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
        inputs = [item for item in graph.input if item.name in self.inputs]
        del graph.node[:], graph.initializer[:], graph.value_info[:], graph.input[:]
        graph.input.extend(inputs)
        graph.node.extend(self._sorted())
        graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in self.constants.items())
        if not any(item.domain == CONTRIB for item in model.opset_import):
            model.opset_import.add(domain=CONTRIB, version=1)
        return bytes(model.SerializeToString())

    # -- edit

    def constant(self, value: Array) -> str:
        """The name of a new constant of this value, of any shape."""
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
        """Replace one tensor by another in all nodes; outputs of the network keep their name."""
        for node in self.nodes:
            rename_input(node, old, new)
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
        """Remove unused nodes and constants, and sort."""
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
                stack += inputs_of(node)
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
                waiting = [makers[name] for name in inputs_of(node) if name in makers and id(makers[name]) not in done]
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
        """Tensor -> node that produces it."""
        return {name: node for node in self.nodes for name in node.output if name}

    def users(self) -> dict[str, list[Any]]:
        """Tensor -> nodes that consume it."""
        found: dict[str, list[Any]] = {name: [] for name in self.outputs}
        for node in self.nodes:
            for name in dict.fromkeys(inputs_of(node)):
                found.setdefault(name, []).append(node)
        return found

    def scalar(self, name: str) -> float | None:
        """The value of a constant with one element."""
        value = self.constants.get(name)
        return float(value.reshape(())) if value is not None and value.size == 1 else None

    def rank(self, name: str) -> int:
        """Number of axes; -1 if it was not observed or differs between probes."""
        ranks = {len(shape) for shape in self.shapes.get(name, ())}
        return ranks.pop() if len(ranks) == 1 else -1

    def observe(self, probes: Sequence[Probe]) -> None:
        """Run the probes and store the shapes of all tensors, and the values of those that depend only on shapes."""
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
        """Tensors that depend only on the lengths of the inputs."""
        found: set[str] = set()
        for node in self.nodes:
            inputs = inputs_of(node)
            known = all(name in found or name in self.constants for name in inputs)
            if node.op_type == "Shape" or (known and any(name in found for name in inputs) and not graphs_of(node)):
                found.update(name for name in node.output if name)
        return found


def graphs_of(node: Any) -> list[Any]:
    """Graphs in a node's attributes (the branches of an If)."""
    return [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def inputs_of(node: Any) -> list[str]:
    """Inputs of a node, including those of its inner graphs."""
    names = [name for name in node.input if name]
    for graph in graphs_of(node):
        names += [name for inner in graph.node for name in inputs_of(inner)]
    return names


def rename_input(node: Any, old: str, new: str) -> None:
    """Replace an input of a node, also in its inner graphs."""
    for place, name in enumerate(node.input):
        if name == old:
            node.input[place] = new
    for graph in graphs_of(node):
        for inner in graph.node:
            rename_input(inner, old, new)


def attributes_of(node: Any) -> dict[str, Any]:
    """Values of a node's attributes by name."""
    from onnx import helper

    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


def content_of(values: Sequence[Array]) -> tuple[Any, ...]:
    """A key that is the same only for equal arrays: types, shapes and bytes."""
    return tuple((value.dtype.str, value.shape, value.tobytes()) for value in values)


def replace_all(net: Net, new: Mapping[str, str]) -> None:
    """Replace tensors in all nodes: old name -> new name."""
    for name in [name for name in new if name in net.outputs]:
        net.replace(name, new[name])
    for node in net.nodes:
        for name in set(inputs_of(node)) & new.keys():
            rename_input(node, name, new[name])


def sole_user(users: Mapping[str, list[Any]], net: Net, name: str) -> Any | None:
    """The only node that consumes a tensor, or None if there are several."""
    found = users.get(name, [])
    return found[0] if len(found) == 1 and name not in net.outputs else None
