"""A network of the original's interface that knows nothing but masses: its distributions are exp(-chi2/2).

It is an ONNX graph without trained weights. For each particle, chi2 has a term ((m - mean)/width)^2 for given sums of
daughters, and each daughter has the weight of a b tag (0.01 + btag), or of none (1.01 - btag). Probabilities of all
tuples of different jets add up to one, as in the original; the detection probability is a logistic function of the best
chi2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

JET_FEATURES = ("mass", "pt", "eta", "sin_phi", "cos_phi", "btag")
MET_FEATURES = ("met", "sin_phi", "cos_phi")


class MassTerm(NamedTuple):
    """A sum of daughters with its mass and resolution in GeV."""

    daughters: Sequence[int]
    mean: float
    width: float


class Decay(NamedTuple):
    """What is known of a particle: number of daughters, those with a b quark, and masses."""

    daughters: int
    b_quarks: Sequence[int]
    masses: Sequence[MassTerm]


#: t -> b q q and H -> b b; the other top has only a b quark among the jets, and no mass
HADRONIC_TOP = Decay(3, [0], [MassTerm([1, 2], 80.4, 12.0), MassTerm([0, 1, 2], 172.5, 20.0)])
HIGGS = Decay(2, [0, 1], [MassTerm([0, 1], 125.0, 15.0)])
LEPTONIC_TOP = Decay(1, [0], [])


class _Graph:
    """Nodes of a graph; each method adds one and returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        name = output or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def total(self, kind: str, parts: Sequence[str]) -> str:
        made = parts[0]
        for part in parts[1:]:
            made = self.add(kind, made, part)
        return made

    def column(self, tensor: str, number: int) -> str:
        return self.add("Gather", tensor, self.constant(number, np.int64), axis=2)

    def along(self, tensor: str, axis: int, axes: int) -> str:
        """[events, jets] as [events, 1, ..., jets, ..., 1]."""
        others = [1 + place for place in range(axes) if place != axis]
        return self.add("Unsqueeze", tensor, self.constant(others, np.int64)) if others else tensor

    def squared(self, tensor: str) -> str:
        return self.add("Mul", tensor, tensor)


def write_mass_network(
    path: Path,
    decays: Mapping[str, Decay],
    *,
    slots: int | None = None,
    input_log: bool = True,
    output_log: bool = False,
    embeddings: bool = False,
) -> None:
    """Write the network.

    Parameters
    ----------
    path : pathlib.Path
        The ONNX file.
    decays : mapping of str to Decay
        By the names of the particles.
    slots : int, optional
        Number of jets that it takes; default: any.
    input_log : bool
        Whether it takes mass, pt and met as they are; otherwise it takes their ln(x + 1).
    output_log, embeddings : bool
        As the options of the original's export.
    """
    graph = _Graph()
    jets = [graph.column("Jets_data", number) for number in range(len(JET_FEATURES))]
    mass, pt, eta, sin_phi, cos_phi, btag = jets
    met = graph.column("Met_data", 0)
    if not input_log:
        one = graph.constant(1)
        mass, pt, met = (graph.add("Sub", graph.add("Exp", name), one) for name in (mass, pt, met))
    px, py = graph.add("Mul", pt, cos_phi), graph.add("Mul", pt, sin_phi)
    pz = graph.add("Mul", pt, graph.add("Sinh", eta))
    energy = graph.add("Sqrt", graph.total("Add", [graph.squared(name) for name in (px, py, pz, mass)]))
    tagged = graph.add("Log", graph.add("Add", btag, graph.constant(0.01)))
    untagged = graph.add("Log", graph.add("Sub", graph.constant(1.01), btag))
    count = graph.add("Gather", graph.add("Shape", pt), graph.constant(1, np.int64), axis=0)
    numbers = graph.add(
        "Unsqueeze",
        graph.add("Range", graph.constant(0, np.int64), count, graph.constant(1, np.int64)),
        graph.constant([0], np.int64),
    )
    shapes: dict[str, list[Any]] = {}
    best: dict[str, str] = {}
    ending = "log_probability" if output_log else "probability"
    for particle, decay in decays.items():
        axes = decay.daughters
        terms = [graph.along(tagged if number in decay.b_quarks else untagged, number, axes) for number in range(axes)]
        for daughters, mean, width in decay.masses:
            parts = [
                graph.total("Add", [graph.along(name, number, axes) for number in daughters])
                for name in (energy, px, py, pz)
            ]
            squares = [graph.squared(name) for name in parts]
            square = graph.add("Sub", squares[0], graph.total("Add", squares[1:]))
            found = graph.add("Sqrt", graph.add("Max", square, graph.constant(0)))
            pull = graph.add("Div", graph.add("Sub", found, graph.constant(mean)), graph.constant(width))
            terms.append(graph.add("Mul", graph.squared(pull), graph.constant(-0.5)))
        allowed = [graph.along("Jets_mask", number, axes) for number in range(axes)]
        for one in range(axes):
            for two in range(one):
                same = graph.add("Equal", graph.along(numbers, one, axes), graph.along(numbers, two, axes))
                allowed.append(graph.add("Not", same))
        score = graph.add("Where", graph.total("And", allowed), graph.total("Add", terms), graph.constant(-np.inf))
        flat = graph.add("Flatten", score, axis=1)
        kind = "LogSoftmax" if output_log else "Softmax"
        name = f"{particle}_assignment_{ending}"
        graph.add("Reshape", graph.add(kind, flat, axis=1), graph.add("Shape", score), output=name)
        shapes[name] = ["events", *[slots or "jets"] * axes]
        best[particle] = graph.add("ReduceMax", flat, axes=[1], keepdims=0)
    for particle, largest in best.items():
        name = f"{particle}_detection_{ending}"
        present = graph.add("Sigmoid", graph.add("Add", largest, graph.constant(4)), output="" if output_log else name)
        if output_log:
            graph.add("Log", present, output=name)
        shapes[name] = ["events"]
    for number, axis in ((2, "px"), (1, "py")):
        value = graph.add("Mul", met, graph.column("Met_data", number))
        graph.add("Squeeze", value, graph.constant([1], np.int64), output=f"EVENT/neutrino_{axis}")
        shapes[f"EVENT/neutrino_{axis}"] = ["events"]
    last = graph.add("Max", best[list(decays)[-1]], graph.constant(-50))
    pair = [graph.add("Unsqueeze", name, graph.constant([1], np.int64)) for name in (graph.add("Neg", last), last)]
    graph.add(
        "LogSoftmax" if output_log else "Softmax", graph.add("Concat", *pair, axis=1), axis=1, output="EVENT/signal"
    )
    shapes["EVENT/signal"] = ["events", 2]
    if embeddings:
        graph.add("Concat", *pair, axis=1, output="EVENT/embedding_vector")
        shapes["EVENT/embedding_vector"] = ["events", 2]
    inputs = [
        helper.make_tensor_value_info("Jets_data", TensorProto.FLOAT, ["events", slots or "jets", len(JET_FEATURES)]),
        helper.make_tensor_value_info("Jets_mask", TensorProto.BOOL, ["events", slots or "jets"]),
        helper.make_tensor_value_info("Met_data", TensorProto.FLOAT, ["events", 1, len(MET_FEATURES)]),
        helper.make_tensor_value_info("Met_mask", TensorProto.BOOL, ["events", 1]),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    # the graph has to name all of its inputs, used or not
    made = helper.make_graph(graph.nodes, "masses", inputs, outputs, graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
