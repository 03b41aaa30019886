"""What each step of graph rewriting gains, and what other operators would gain in the place of those that are used.

    python -m benchmarks.rewriting --models part-ak8-2023 part-v1-size --json docs/measured.json

Ratios of CPU time on one thread, all variants alternately in one process: the median, and the smallest and largest of
all repetitions. For operators each variant is a graph of its own, for a batch of 18 jets with 46 objects.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import jettagger as jt
from benchmarks import inputs
from benchmarks.report import keep, machine, show
from benchmarks.throughput import exact_batches
from jettagger.files.root import EventFile
from jettagger.inference.padding import as_run
from jettagger.inference.sample_jets import probe_jets
from jettagger.inputs.source import check_columns
from jettagger.sessions import rewriting

JETS, OBJECTS, HEADS = 18, 46, 8

#: what is left out of the rewriting, by what it is called in the table
STEPS = {
    "biases with products": {"fuse_biases": None},
    "factors in the matrices": {"fold_scales": None, "fold_heads": None},
    "transpositions with products": {"fold_transpositions": None},
    "one half of the pairs, as rows": {"halve_pairs": None},
    "pairs in parts that fit the cache": {"PARTS": 1},
}

CONTRIB = "com.microsoft"

Ratio = tuple[float, float, float]
Node = tuple[str, str, str, Mapping[str, Any]]


class Trial(NamedTuple):
    """Operators in the place of others; nodes as (operator, inputs, output, attributes), from ``x`` to ``y``.

    ``same``: whether both compute the same, up to an approximation.
    """

    title: str
    shape: tuple[int, ...]
    used: Sequence[Node]
    tried: Sequence[Node]
    constants: Mapping[str, Any] = {}
    same: bool = True


def node(kind: str, taken: str = "x", made: str = "y", **attributes: Any) -> Node:
    return kind, taken, made, attributes


def trials() -> list[Trial]:
    """What was tried, at the shapes of the networks' tensors."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return rng.normal(size=shape).astype("f4")

    def number(value: float) -> Any:
        return np.array(value, dtype="f4")

    rows, pairs = JETS * OBJECTS, JETS * OBJECTS * (OBJECTS + 1) // 2
    scores = (JETS * HEADS, OBJECTS, OBJECTS)
    softmax = [node("Softmax", axis=-1)]
    exponentials = [node("Exp", made="e"), node("ReduceSum", "e last", "s"), node("Div", "e s")]
    centred = [node("ReduceMean", made="m", axes=[-1]), node("Sub", "x m", "c")]
    gelu = [node("Gelu", domain=CONTRIB)]
    polynomial = [
        node("Mul", "x x", "u"),
        *(node("Mul", "u a", "v"), node("Add", "v b", "w"), node("Mul", "w u", "p"), node("Add", "p c", "q")),
        *(node("Mul", "q x", "z"), node("Sigmoid", "z", "s"), node("Mul", "x s")),
    ]
    coefficients = {"a": number(-3e-4), "b": number(0.0713), "c": number(1.5958)}
    products = [
        node("Reshape", "x heads", "h"),
        node("FusedMatMul", "h h", "d", domain=CONTRIB, transBatchA=1, transBatchB=1, transB=1),
        node("Add", "d bias", "b"),
        node("Softmax", "b", "s", axis=-1),
        node("FusedMatMul", "s h", "t", domain=CONTRIB, transBatchB=1),
        node("Transpose", "t", perm=[1, 0, 2]),
    ]
    attention = [
        node("Transpose", "x", "r", perm=[1, 0, 2]),
        node("MultiHeadAttention", "r r r - - mask", "t", domain=CONTRIB, num_heads=HEADS, scale=1.0),
        node("Transpose", "t", perm=[1, 0, 2]),
    ]
    tokens = (OBJECTS, JETS, 64)
    bias = {"heads": np.array([OBJECTS, JETS * HEADS, 8]), "bias": normal(*scores)}
    bias["mask"] = bias["bias"].reshape(JETS, HEADS, OBJECTS, OBJECTS)
    layer = {"w": normal(64, 64), "b": normal(64), "k": normal(64, 64, 1)}
    matrix = [node("Gemm", "x w b")]
    norm = {"g": normal(64), "b": normal(64)}
    return [
        Trial("softmax as exponentials and their sum", scores, softmax, exponentials, {"last": np.array([-1])}),
        Trial(
            "rows of 48 in the softmax of 46",
            scores,
            softmax,
            [node("Pad", "x ends", "p"), node("Softmax", "p", axis=-1)],
            {"ends": np.array([0, 0, 0, 0, 0, 2])},
            same=False,
        ),
        Trial("GELU as sigmoid of a polynomial", (rows, 256), gelu, polynomial, coefficients),
        Trial("GELU by tanh", (rows, 256), gelu, [node("FastGelu", domain=CONTRIB)]),
        Trial(
            "layer norm as centring and root mean square",
            (rows, 64),
            [node("LayerNormalization", "x g b")],
            [*centred, node("SimplifiedLayerNormalization", "c g", "n"), node("Add", "n b")],
            norm,
        ),
        Trial(
            "layer norm and residual in one operator",
            (rows, 64),
            [node("Add", "x x", "a"), node("LayerNormalization", "a g b")],
            [node("SkipLayerNormalization", "x x g b", domain=CONTRIB)],
            norm,
        ),
        Trial("attention in one operator", tokens, products, attention, bias),
        Trial("products without a bias", (rows, 64), matrix, [node("MatMul", "x w")], layer, same=False),
        Trial(
            "convolutions in the place of products for pairs",
            (pairs, 64),
            matrix,
            [node("Reshape", "x jets", "j"), node("Conv", "j k b")],
            layer | {"jets": np.array([JETS, 64, -1])},
            same=False,
        ),
    ]


def session(nodes: Sequence[Node], shape: Sequence[int], constants: Mapping[str, Any]) -> Any:
    """The operators, and a small output, as what is copied out must not count."""
    made = [
        helper.make_node(kind, [name if name != "-" else "" for name in taken.split()], [output], **attributes)
        for kind, taken, output, attributes in (*nodes, node("ReduceMax", "y", "top", keepdims=0))
    ]
    taken = {name for one in made for name in one.input}
    graph = helper.make_graph(
        made,
        "trial",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("top", "y")],
        [numpy_helper.from_array(value, name) for name, value in constants.items() if name in taken],
    )
    sets = [helper.make_opsetid("", 17), helper.make_opsetid(CONTRIB, 1)]
    return opened(helper.make_model(graph, opset_imports=sets, ir_version=8).SerializeToString())


def opened(model: bytes) -> Any:
    """A session on one thread, with the options of the tagger's."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_mem_pattern = False
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def ratios(variants: Mapping[str, Callable[[], Any]], repetitions: int) -> dict[str, Ratio]:
    """CPU time of the first variant over that of each: median, smallest and largest of the repetitions."""
    for run in variants.values():
        run()
    spent: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repetitions):
        for name, run in variants.items():
            start = time.process_time()
            run()
            spent[name].append(time.process_time() - start)
    first = next(iter(spent.values()))
    quotients = {name: [one / own for one, own in zip(first, times, strict=True)] for name, times in spent.items()}
    return {name: (statistics.median(values), min(values), max(values)) for name, values in quotients.items()}


def operators(repetitions: int) -> dict[str, dict[str, Any]]:
    """How many times as fast each trial is, and the largest difference of what it computes."""
    rng = np.random.default_rng(1)
    found: dict[str, dict[str, Any]] = {}
    for trial in trials():
        x = rng.normal(size=trial.shape).astype("f4")
        used, tried = (session(nodes, trial.shape, trial.constants) for nodes in (trial.used, trial.tried))
        both = {"used": partial(used.run, ["top"], {"x": x}), "tried": partial(tried.run, ["top"], {"x": x})}
        found[trial.title] = {"faster": ratios(both, 10 * repetitions)["tried"]}
        if trial.same:
            one, other = (run.run(["y"], {"x": x})[0].ravel() for run in (used, tried))
            found[trial.title]["difference"] = float(np.abs(one - other).max())
    return found


def without(names: Mapping[str, Any], model: bytes, probes: Sequence[Any]) -> bytes:
    """The rewritten graph without some steps, or with another value of a constant."""
    with ExitStack() as stack:
        for name, value in names.items():
            new = (lambda net, **_: None) if value is None else value
            stack.enter_context(mock.patch.object(rewriting, name, new))
        return rewriting.rewrite(model, probes) or model


def steps(model: str, path: Path, repetitions: int, batches: int) -> dict[str, Ratio]:
    """How many times as fast as the file's graph the rewritten one is, and without each step."""
    bundle = as_run(jt.load_tagger(model).bundle)
    with EventFile(path) as file:
        columns = check_columns(bundle, file).columns
    every = exact_batches(bundle, inputs.read(path, sorted(columns)))
    chosen = every[:: max(len(every) // batches, 1)]
    content = bundle.require_weights().read_bytes()
    probes = [probe_jets(bundle, place) for place in range(3)]
    graphs = {"the file's graph": content, "all steps": without({}, content, probes)}
    graphs |= {f"without: {title}": without(names, content, probes) for title, names in STEPS.items()}
    runs = {}
    for name, graph in graphs.items():
        run = opened(graph).run
        runs[name] = lambda run=run: [run(None, dict(tensors)) for tensors, _ in chosen]
    found = ratios(runs, repetitions)
    return {name: value for name, value in found.items() if name != "the file's graph"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--models", nargs="*", default=[], help="names of models or folders")
    add("--file", type=Path, help="a PFNano file (default: simulated)")
    add("--repetitions", type=int, default=5, help="of each measurement (default: %(default)s)")
    add("--batches", type=int, default=20, help="of different lengths (default: %(default)s)")
    add("--json", type=Path, help="file of results to add to")
    args = parser.parse_args()
    path = args.file or inputs.default_file()
    results: dict[str, Any] = {}
    for model in args.models:
        name = jt.load_tagger(model).bundle.name
        results[name] = {"steps": steps(model, path, args.repetitions, args.batches), "machine": machine()}
    results["operators"] = {"trials": operators(args.repetitions), "machine": machine()}
    print(show("rewriting", results))
    for name, found in results.items():
        keep(args.json, "rewriting", name, found, here=False)


if __name__ == "__main__":
    main()
