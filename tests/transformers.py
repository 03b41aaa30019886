"""A small transformer with pair features, in the operators that PyTorch's exporter writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from networks import GROUPS, LENGTHS, NAMES, description
from onnx import TensorProto, helper, numpy_helper

WIDTH, HEADS, SIZE = 8, 2, 4


class Writer:
    """Nodes and constants of a graph."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def number(self, values: Any, kind: str = "i8") -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype=kind), name))
        return name

    def weight(self, *shape: int) -> str:
        return self.number(self.rng.normal(0, 0.5, shape), "f4")

    def __call__(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def length(self, tensor: str, axis: int) -> str:
        """One axis' length, asked for anew each time, as exporters do."""
        return self("Unsqueeze", self("Gather", self("Shape", tensor), self.number(axis)), self.number([0]))

    def shape(self, *parts: str | int) -> str:
        return self("Concat", *(part if isinstance(part, str) else self.number([part]) for part in parts), axis=0)

    def linear(self, x: str, n_in: int, n_out: int) -> str:
        return self("Add", self("MatMul", x, self.weight(n_in, n_out)), self.weight(n_out))

    def gelu(self, x: str) -> str:
        erf = self("Erf", self("Div", x, self.number(np.sqrt(2), "f4")))
        twice = self("Mul", x, self("Add", erf, self.number(1, "f4")))
        return self("Mul", twice, self.number(0.5, "f4"))

    def norm(self, x: str, width: int) -> str:
        centred = self("Sub", x, self("ReduceMean", x, axes=[-1]))
        square = self("ReduceMean", self("Pow", centred, self.number(2, "f4")), axes=[-1])
        root = self("Sqrt", self("Add", square, self.number(1e-5, "f4")))
        return self("Add", self("Mul", self("Div", centred, root), self.weight(width)), self.weight(width))

    def standard(self, x: str, width: int) -> str:
        shift, scale = self.weight(width), self.number(self.rng.uniform(0.5, 2, (2, width)), "f4")
        return self("BatchNormalization", x, self.part(scale, 0), shift, self.weight(width), self.part(scale, 1))

    def part(self, matrix: str, place: int) -> str:
        """A row of a constant, as a constant."""
        return self.number(numpy_helper.to_array(self.constants[int(matrix[1:])])[place], "f4")


def _pairs(write: Writer, symmetric: bool, transposed: bool) -> str:
    """A bias for each head and pair, [jets * heads, length, length]."""
    rows = write("Unsqueeze", "pf_features", write.number([-1]))
    if transposed:
        columns = write("Transpose", rows, perm=[0, 1, 3, 2])
    else:
        columns = write("Unsqueeze", "pf_features", write.number([-2]))
    difference = write("Sub", rows, columns)
    summed = write("Add", rows, columns)
    first = write("Mul", difference, difference) if symmetric else difference
    part = write("Slice", summed, write.number([0]), write.number([1]), write.number([1]))
    both = write("Concat", first, part, axis=1)
    length = write.length("pf_features", 2)
    flat = write("Reshape", both, write.shape(write.length("pf_features", 0), 4, write("Mul", length, length)))
    if transposed:
        flat = write.standard(flat, 4)
    hidden = write.gelu(write("Conv", flat, write.weight(6, 4, 1), write.weight(6), kernel_shape=[1]))
    if transposed:
        hidden = write.standard(write("Tanh", write.standard(hidden, 6)), 6)
    bias = write("Conv", hidden, write.weight(HEADS, 6, 1), write.weight(HEADS), kernel_shape=[1])
    return write("Reshape", bias, write.shape(-1, length, length))


def _block(write: Writer, x: str, bias: str, jets: str, length: str, transposed: bool) -> str:
    normed = write.norm(x, WIDTH)
    joint = write.linear(normed, WIDTH, 3 * WIDTH)
    rows = write.shape(length, write("Mul", jets, write.number([HEADS])), SIZE)
    parts = []
    for place in range(3):
        ends = [write.number([value]) for value in (place * WIDTH, (place + 1) * WIDTH, 2)]
        parts.append(write("Reshape", write("Slice", joint, *ends), rows))
    query = write("Div", write("Transpose", parts[0], perm=[1, 0, 2]), write.number(2, "f4"))
    product = write("MatMul", query, write("Transpose", parts[1], perm=[1, 2, 0]))
    keys = write("Transpose", "pf_mask", perm=[0, 1, 2])
    hide = write("Equal", keys, write.number(0, "f4"))
    hide = write("Expand", hide, write.shape(jets, HEADS, length))
    hide = write("Reshape", hide, write.shape(write("Mul", jets, write.number([HEADS])), 1, length))
    masked = write("Where", hide, write.number(-1e9, "f4"), bias)
    weights = write("Softmax", write("Add", product, masked), axis=2)
    attended = write("MatMul", weights, write("Transpose", parts[2], perm=[1, 0, 2]))
    stacked = write(
        "Reshape", write("Transpose", attended, perm=[1, 0, 2]), write.shape(write("Mul", length, jets), WIDTH)
    )
    out = write("Gemm", stacked, write.weight(WIDTH, WIDTH), write.weight(WIDTH), transB=1)
    whole = write.shape(length, jets, WIDTH)
    split = write("Reshape", write("Reshape", out, whole), write.number([0, 0, HEADS, SIZE]))
    if transposed:
        scaled = write("Div", split, write.number(write.rng.uniform(0.5, 2, (HEADS, 1)), "f4"))
    else:
        scaled = write("Mul", write("Transpose", split, perm=[0, 1, 3, 2]), write.weight(HEADS))
    x = write("Add", write.norm(write("Reshape", scaled, whole), WIDTH), x)
    wide = write.gelu(write.linear(write.norm(x, WIDTH), WIDTH, 2 * WIDTH))
    return write("Add", write.linear(wide, 2 * WIDTH, WIDTH), write("Mul", x, write.weight(WIDTH)))


def transformer(*, symmetric: bool = True, blocks: int = 2, seed: int = 0, transposed: bool = False) -> onnx.ModelProto:
    """Inputs as in `networks.GROUPS`, outputs as in `networks.NAMES`.

    ``symmetric``: whether the features of a pair do not know which of the two came first. ``transposed``: another way
    to write the same: columns of pairs are rows turned over, heads have their factor as they are, batch norms stand
    before, between and behind the products.
    """
    write = Writer(seed)
    bias = _pairs(write, symmetric, transposed)
    x = write.gelu(write.linear(write("Transpose", "pf_features", perm=[2, 0, 1]), 3, WIDTH))
    for _ in range(blocks):
        x = _block(write, x, bias, write.length("pf_features", 0), write.length("pf_features", 2), transposed)
    kept = write("Mul", x, write("Transpose", "pf_mask", perm=[2, 0, 1]))
    pooled = write("ReduceSum", kept, write.number([0]), keepdims=0)
    vertices = write("Mul", "sv_features", "sv_mask")
    sums = write("ReduceSum", vertices, write.number([2]), keepdims=0)
    joint = write("Concat", pooled, sums, axis=1)
    logits = write("MatMul", joint, write.weight(WIDTH + 2, 3))
    rest = write("MatMul", joint, write.weight(WIDTH + 2, 5))
    probabilities = write("Softmax", logits, axis=1)
    write.nodes.append(helper.make_node("Concat", [probabilities, rest], ["scores"], axis=1))
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", len(variables), f"n_{name[:2]}"])
        for name, variables in GROUPS.items()
    ]
    output = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 8])
    content = helper.make_graph(write.nodes, "transformer", inputs, [output], initializer=write.constants)
    return helper.make_model(content, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def write_transformer(folder: Path, **options: Any) -> Path:
    """A bundle with such a network."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(transformer(**options).SerializeToString())
    infos = {"sv_mass": {"norm_factor": 0.1}, "sv_ntracks": {"norm_factor": 0.1}}
    (folder / "preprocess.json").write_text(json.dumps(description(GROUPS, NAMES, LENGTHS, infos)))
    return folder


def probes(*sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Inputs of (jets, candidates, vertices); the last candidate of the first jet is padding."""
    rng = np.random.default_rng(sum(map(sum, sizes)))
    found = []
    for jets, n_pf, n_sv in sizes:
        inputs = {"pf_features": rng.normal(size=(jets, 3, n_pf)), "sv_features": rng.normal(size=(jets, 2, n_sv))}
        inputs |= {"pf_mask": np.ones((jets, 1, n_pf)), "sv_mask": np.ones((jets, 1, n_sv))}
        inputs["pf_mask"][0, 0, -1] = 0
        found.append({name: array.astype("f4") for name, array in inputs.items()})
    return found
