"""Small models that tests build: an ONNX file, its input description and, if wanted, a bundle.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: the usual groups: name -> variables
GROUPS: dict[str, tuple[str, ...]] = {
    "pf_features": ("pfcand_pt_log_nopuppi", "pfcand_etarel", "pfcand_dz"),
    "pf_mask": ("pfcand_mask",),
    "sv_features": ("sv_mass", "sv_ntracks"),
    "sv_mask": ("sv_mask",),
}
LENGTHS: dict[str, dict[str, int]] = {
    "pf": {"min_length": 4, "max_length": 20},
    "sv": {"min_length": 1, "max_length": 5},
    "jet": {"var_length": 1},
}


class Head(NamedTuple):
    """Some columns of the output."""

    name: str
    width: int
    softmax: bool = False


#: the usual columns, as those of GloParT V1: probabilities, a mass, hidden neurons
HEADS = (Head("probabilities", 3, softmax=True), Head("mass", 1), Head("hidden", 4))
NAMES = [
    "label_H_bb",
    "label_H_cc",
    "label_QCD_others",
    "mass",
    "hidNeuron000",
    "hidNeuron001",
    "hidNeuron002",
    "hidNeuron003",
]


def stem(group: str) -> str:
    """``pf`` for ``pf_features``."""
    return group.split("_")[0]


def description(
    groups: Mapping[str, Sequence[str]] = GROUPS,
    output_names: Any = NAMES,
    lengths: Mapping[str, Mapping[str, int]] = LENGTHS,
    infos: Mapping[str, Mapping[str, float]] | None = None,
) -> dict[str, Any]:
    """The content of a ``preprocess.json``."""
    plain = {
        "median": 0.0,
        "norm_factor": 1.0,
        "replace_inf_value": 0.0,
        "lower_bound": -1e32,
        "upper_bound": 1e32,
    }
    content: dict[str, Any] = {"input_names": list(groups)}
    if output_names is not ...:
        content["output_names"] = output_names
    for group, variables in groups.items():
        content[group] = dict(lengths[stem(group)]) | {
            "var_names": list(variables),
            "var_infos": {name: plain | {"pad": 0.0} | dict((infos or {}).get(name, {})) for name in variables},
        }
    return content


def graph(
    groups: Mapping[str, Sequence[str]] = GROUPS,
    heads: Sequence[Head] = HEADS,
    *,
    joined: bool = True,
    batch: int | str = "N",
    axes: Mapping[str, int | str] | None = None,
    channels: Mapping[str, int] | None = None,
    fault: str = "",
    seed: int = 0,
    opset: int = 13,
) -> onnx.ModelProto:
    """A network that sums its inputs over the length, behind the mask if there is one, with linear heads.

    ``fault`` makes it misbehave: ``order`` (weights objects by their position), ``padding`` (takes the mean
    of all slots, mask or not), ``batch`` (subtracts the mean of the batch), ``empty`` (0/0 without vertices).
    """
    rng = np.random.default_rng(seed)
    nodes: list[Any] = []
    weights: list[Any] = []
    inputs: list[Any] = []

    def constant(name: str, values: Any) -> str:
        weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add(kind: str, sources: list[str], name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, sources, [name], **attributes))
        return name

    last = constant("last", np.array([2], dtype=np.int64))
    axes = {"pf": "n_pf", "sv": "n_sv", "jet": 1} | dict(axes or {})
    masks = {stem(group): group for group in groups if group.endswith("_mask")}
    pooled, total = [], 0
    for group, variables in groups.items():
        width = (channels or {}).get(group, len(variables))
        shape = [batch, width, axes[stem(group)]]
        inputs.append(helper.make_tensor_value_info(group, TensorProto.FLOAT, shape))
        tensor = group
        mask = masks.get(stem(group))
        if group == mask:
            continue
        if fault == "order" and mask:
            position = add("CumSum", [mask, constant(f"{group}_axis", np.array(2))], f"{group}_position")
            tensor = add("Mul", [tensor, position], f"{group}_weighted")
        if fault == "padding":
            total += width
            pooled.append(add("ReduceMean", [tensor], f"{group}_mean", axes=[2], keepdims=0))
            continue
        if mask:
            tensor = add("Mul", [tensor, mask], f"{group}_masked")
        summed = add("ReduceSum", [tensor, last], f"{group}_sum", keepdims=0)
        if fault == "empty" and mask:
            number = add("ReduceSum", [mask, last], f"{group}_number", keepdims=0)
            summed = add("Div", [summed, number], f"{group}_per")
        pooled.append(summed)
        total += width
    for unused in masks.values():  # ONNX Runtime wants every declared input to be used
        zero = add("Mul", [unused, constant(f"{unused}_zero", np.zeros(1, "f4"))], f"{unused}_nothing")
        pooled.append(add("ReduceSum", [zero, last], f"{unused}_sum", keepdims=0))
        total += 1
    joint = add("Concat", pooled, "pooled", axis=1) if len(pooled) > 1 else pooled[0]
    if fault == "batch":
        mean = add("ReduceMean", [joint], "batch_mean", axes=[0], keepdims=1)
        joint = add("Sub", [joint, mean], "centred")
    parts = []
    for head in heads:
        matrix = constant(f"{head.name}_w", rng.normal(0, 0.3 / np.sqrt(total), (total, head.width)).astype("f4"))
        part = add("MatMul", [joint, matrix], f"{head.name}_linear" if head.softmax else head.name)
        parts.append(add("Softmax", [part], head.name, axis=1) if head.softmax else part)
    names = [(head.name, head.width) for head in heads]
    if joined and len(parts) > 1:
        names = [(add("Concat", parts, "scores", axis=1), sum(head.width for head in heads))]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, width]) for name, width in names]
    content = helper.make_graph(nodes, "toy", inputs, outputs, initializer=weights)
    return helper.make_model(content, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def write_bundle(
    folder: Path,
    *,
    groups: Mapping[str, Sequence[str]] = GROUPS,
    heads: Sequence[Head] = HEADS,
    output_names: Any = NAMES,
    lengths: Mapping[str, Mapping[str, int]] = LENGTHS,
    infos: Mapping[str, Mapping[str, float]] | None = None,
    card: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """A folder with ``model.onnx`` and ``preprocess.json``, and ``bundle.json`` where ``card`` is given."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(graph(groups, heads, **changes).SerializeToString())
    (folder / "preprocess.json").write_text(json.dumps(description(groups, output_names, lengths, infos)))
    if card is not None:
        (folder / "bundle.json").write_text(json.dumps({"schema_version": 1, "name": "toy"} | dict(card)))
    return folder


#: weights of the sums over constituents in `ending`; the columns differ in sign
ENDING_WEIGHTS = np.array([[0.02, -0.03, 0.01]], dtype="f4")


def ending(kind: str, *, batch: int | str = "N") -> onnx.ModelProto:
    """A network with three numbers ``l = s W``, s the sum of ``pfcand_pt_log_nopuppi``, and an ending.

    ``softmax``, ``written out`` (exponentials over their sum), ``split`` (a softmax cut in two outputs), ``averaged``
    (the mean of two equal softmaxes), ``permuted`` (a softmax behind a product with a matrix), ``sigmoid``, ``two``
    (p and 1 - p), ``three axes`` and ``leading axis`` (a softmax of shape [N, 1, 3], [1, N, 3]), ``square``
    ([N, 3, 3]), ``untyped`` (a softmax without declared axes), ``linear``, ``small`` (linear, near 0.5), ``relu``,
    ``tanh``, ``over jets`` (a softmax over the jets), ``integers``, ``constant`` (0.25 for every jet).
    """
    nodes: list[Any] = []
    weights = [
        numpy_helper.from_array(ENDING_WEIGHTS * (1e-4 if kind == "small" else 1), "W"),
        numpy_helper.from_array(np.array([2], dtype=np.int64), "last"),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "columns"),
        numpy_helper.from_array(np.array([0], dtype=np.int64), "first"),
        numpy_helper.from_array(np.array(0.5, dtype="f4"), "half"),
        numpy_helper.from_array(np.array(0, dtype="f4"), "zero"),
        numpy_helper.from_array(np.array(0.25, dtype="f4"), "quarter"),
        numpy_helper.from_array(np.array(1, dtype="f4"), "one"),
        numpy_helper.from_array(np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype="f4"), "cycle"),
        numpy_helper.from_array(np.array([2, 1], dtype=np.int64), "parts"),
    ]

    def add(operator: str, sources: list[str], *names: str, **attributes: Any) -> None:
        nodes.append(helper.make_node(operator, sources, list(names), **attributes))

    add("Mul", ["pf_features", "pf_mask"], "masked")
    add("ReduceSum", ["masked", "last"], "s", keepdims=0)
    add("MatMul", ["s", "W"], "l")
    results: dict[str, list[int | str] | None] = {"out": [batch, 3]}
    if kind in ("softmax", "untyped"):
        add("Softmax", ["l"], "out", axis=1)
        if kind == "untyped":
            results = {"out": None}
    elif kind == "written out":
        add("Exp", ["l"], "e")
        add("ReduceSum", ["e", "columns"], "total", keepdims=1)
        add("Div", ["e", "total"], "out")
    elif kind == "split":
        add("Softmax", ["l"], "p", axis=1)
        add("Split", ["p", "parts"], "a", "b", axis=1)
        results = {"a": [batch, 2], "b": [batch, 1]}
    elif kind == "averaged":
        add("Softmax", ["l"], "p", axis=1)
        add("Add", ["p", "p"], "twice")
        add("Mul", ["twice", "half"], "out")
    elif kind == "permuted":
        add("Softmax", ["l"], "p", axis=1)
        add("MatMul", ["p", "cycle"], "out")
    elif kind in ("sigmoid", "tanh", "relu"):
        add({"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}[kind], ["l"], "out")
    elif kind == "two":
        add("Slice", ["l", "first", "columns", "columns"], "x")
        add("Sigmoid", ["x"], "p")
        add("Sub", ["one", "p"], "q")
        add("Concat", ["p", "q"], "out", axis=1)
        results = {"out": [batch, 2]}
    elif kind in ("three axes", "leading axis"):
        add("Softmax", ["l"], "p", axis=1)
        add("Unsqueeze", ["p", "columns" if kind == "three axes" else "first"], "out")
        results = {"out": [batch, 1, 3] if kind == "three axes" else [1, batch, 3]}
    elif kind == "square":
        add("Unsqueeze", ["l", "columns"], "row")
        add("Unsqueeze", ["l", "last"], "column")
        add("Mul", ["row", "column"], "out")
        results = {"out": [batch, 3, 3]}
    elif kind == "linear":
        add("Identity", ["l"], "out")
    elif kind == "small":
        add("Add", ["l", "half"], "out")
    elif kind == "over jets":
        add("Softmax", ["l"], "out", axis=0)
    elif kind == "integers":
        add("Cast", ["l"], "out", to=TensorProto.INT64)
    elif kind == "constant":
        add("Mul", ["l", "zero"], "nothing")
        add("Add", ["nothing", "quarter"], "out")
    info = helper.make_tensor_value_info
    inputs = [info(name, TensorProto.FLOAT, [batch, 1, "n_pf"]) for name in ("pf_features", "pf_mask")]
    dtype = TensorProto.INT64 if kind == "integers" else TensorProto.FLOAT
    outputs = [info(name, dtype, shape) for name, shape in results.items()]
    content = helper.make_graph(nodes, "ending", inputs, outputs, initializer=weights)
    return helper.make_model(content, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def write_ending(folder: Path, kind: str, names: Sequence[str], **options: Any) -> Path:
    """A folder with a network of `ending` and its input description."""
    groups = {"pf_features": ("pfcand_pt_log_nopuppi",), "pf_mask": ("pfcand_mask",)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(ending(kind, **options).SerializeToString())
    (folder / "preprocess.json").write_text(json.dumps(description(groups, list(names))))
    return folder


POOLED_WEIGHTS = {"sum": 0.02, "needs": 0.02, "slots": 0.02, "largest": 0.1}


def pooled(
    kind: str, *, k: int = 4, masked: bool = True, length: int | str = "n_pf", batch: int | str = "N", baked: int = 0
) -> onnx.ModelProto:
    """A network of one number a slot, x = ``pf_features`` (times ``pf_mask``), pooled to v; gives softmax(w v, -w v).

    w is that of `POOLED_WEIGHTS`, else 1.

    ``sum``; ``mean`` of all slots, padding included; ``last`` (a convolution over slots, then their mean); ``counted``
    (the sum over the number of slots that the mask tells); ``largest`` (the sum of the ``k`` largest); ``needs`` (the
    sum, by a network that refuses fewer than ``k`` slots); ``baked`` jets, or slots where ``kind`` is ``slots``, are
    built into the graph in spite of its symbolic axes.
    """
    nodes: list[Any] = []
    weight = POOLED_WEIGHTS.get(kind, 1.0)
    weights = [
        numpy_helper.from_array(np.array([2], dtype=np.int64), "last"),
        numpy_helper.from_array(np.array([k], dtype=np.int64), "k"),
        numpy_helper.from_array(np.array(0, dtype="f4"), "zero"),
        numpy_helper.from_array(np.array([[weight, -weight]], "f4"), "W"),
        numpy_helper.from_array(np.array([[[0.5, 1.0, 0.5]]], "f4"), "kernel"),
        numpy_helper.from_array(np.array([0.25], "f4"), "bias"),
        numpy_helper.from_array(np.array([baked or -1, 1, k if kind == "slots" else -1], dtype=np.int64), "shape"),
    ]

    def add(operator: str, sources: list[str], *names: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, sources, list(names), **attributes))
        return names[0]

    x = add("Mul", ["pf_features", "pf_mask"], "x") if masked else "pf_features"
    if baked or kind == "slots":
        x = add("Reshape", [x, "shape"], "reshaped")
    if kind in ("sum", "slots"):
        add("ReduceSum", [x, "last"], "v", keepdims=0)
    elif kind == "mean":
        add("ReduceMean", [x], "v", axes=[2], keepdims=0)
    elif kind == "last":
        add("Conv", [x, "kernel", "bias"], "c", pads=[1, 1])
        add("ReduceMean", ["c"], "v", axes=[2], keepdims=0)
    elif kind == "counted":
        add("ReduceSum", [x, "last"], "total", keepdims=0)
        add("ReduceSum", ["pf_mask", "last"], "number", keepdims=0)
        add("Div", ["total", "number"], "v")
    elif kind in ("largest", "needs"):
        add("TopK", [x, "k"], "top", "places", axis=2)
        add("ReduceSum", ["top", "last"], "v" if kind == "largest" else "of_top", keepdims=0)
        if kind == "needs":
            add("ReduceSum", [x, "last"], "total", keepdims=0)
            add("Mul", ["of_top", "zero"], "nothing")
            add("Add", ["total", "nothing"], "v")
    add("MatMul", ["v", "W"], "l")
    add("Softmax", ["l"], "softmax", axis=1)
    info = helper.make_tensor_value_info
    names = ("pf_features", "pf_mask") if masked else ("pf_features",)
    inputs = [info(name, TensorProto.FLOAT, [batch, 1, length]) for name in names]
    content = helper.make_graph(nodes, "pooled", inputs, [info("softmax", TensorProto.FLOAT, [batch, 2])], weights)
    return helper.make_model(content, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def write_pooled(folder: Path, kind: str, lengths: Mapping[str, int], **options: Any) -> Path:
    """A folder with a network of `pooled` and its input description; x is ``pfcand_pt_log_nopuppi`` minus 1."""
    groups = {"pf_features": ("pfcand_pt_log_nopuppi",), "pf_mask": ("pfcand_mask",)}
    if not options.get("masked", True):
        del groups["pf_mask"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(pooled(kind, **options).SerializeToString())
    content = description(groups, ["label_a", "label_b"], {"pf": lengths}, {"pfcand_pt_log_nopuppi": {"median": 1.0}})
    (folder / "preprocess.json").write_text(json.dumps(content))
    return folder


def pair_masses(axis: bool = False) -> onnx.ModelProto:
    """Two probabilities made of the mean logarithm of E² - p² of all pairs of candidates, in single precision.

    ``axis``: the four squares with their signs are summed over an axis, in the place of a difference of two numbers.
    """
    nodes: list[Any] = []
    weights = {
        "signs": np.array([-1, -1, -1, 1], "f4").reshape(1, 4, 1, 1),
        "least": np.array(1e-8, "f4"),
        "one": np.array([1], "i8"),
        "three": np.array([3], "i8"),
        "four": np.array([4], "i8"),
        "zero": np.array([0], "i8"),
        "last": np.array([-1], "i8"),
        "second": np.array([-2], "i8"),
        "both": np.array([2, 3], "i8"),
        "W": np.array([[0.4, -0.4]], "f4"),
    }

    def add(kind: str, *inputs: str, to: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [to], to, **attributes))
        return to

    total = add(
        "Add",
        add("Unsqueeze", "pf_vectors", "last", to="rows"),
        add("Unsqueeze", "pf_vectors", "second", to="columns"),
        to="total",
    )
    squares = add("Mul", total, total, to="squares")
    if axis:
        mass = add("ReduceSum", add("Mul", squares, "signs", to="signed"), "one", to="mass")
    else:
        energy = add("Slice", squares, "three", "four", "one", to="energy")
        momentum = add("ReduceSum", add("Slice", squares, "zero", "three", "one", to="parts"), "one", to="momentum")
        mass = add("Sub", energy, momentum, to="mass")
    log = add("Log", add("Clip", mass, "least", to="positive"), to="log")
    pairs = add(
        "Mul", add("Unsqueeze", "pf_mask", "last", to="m1"), add("Unsqueeze", "pf_mask", "second", to="m2"), to="pairs"
    )
    summed = add("ReduceSum", add("Mul", log, pairs, to="real"), "both", to="summed", keepdims=0)
    mean = add("Div", summed, add("ReduceSum", pairs, "both", to="number", keepdims=0), to="mean")
    add("Softmax", add("MatMul", mean, "W", to="logits"), to="scores", axis=1)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width, "n_pf"])
        for name, width in (("pf_vectors", 4), ("pf_mask", 1))
    ]
    output = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 2])
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    content = helper.make_graph(nodes, "pairs", inputs, [output], initializer=constants)
    return helper.make_model(content, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def write_pair_masses(folder: Path, **options: Any) -> Path:
    """A folder with a network of `pair_masses` and its input description."""
    groups = {
        "pf_vectors": tuple(f"pfcand_{name}" for name in ("px", "py", "pz", "energy")),
        "pf_mask": ("pfcand_mask",),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(pair_masses(**options).SerializeToString())
    content = description(groups, ["label_a", "label_b"], {"pf": {"min_length": 1, "max_length": 30}})
    (folder / "preprocess.json").write_text(json.dumps(content))
    return folder
