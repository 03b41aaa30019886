"""Malformed and hostile models, each a function that writes a folder: damage, contradictions, graphs that never end.

Nothing here is dangerous to keep; loading it must end in a usable model or in one error. The files depend on the seed
alone. ``attack.py`` and the tests go through all of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["HOSTILE", "description", "good_model", "write", "write_all"]

Writer = Callable[[Path, np.random.Generator], None]

#: name -> function that fills an empty folder with ``model.onnx`` and descriptions
HOSTILE: dict[str, Writer] = {}

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
MEGABYTE = 1_000_000
OUTPUTS = ("probHbb", "probHcc", "probQCDothers")


def write(name: str, folder: Path, seed: int = 0) -> Path:
    """Write one of these models.

    Parameters
    ----------
    name : str
        A key of `HOSTILE`.
    folder : pathlib.Path
        In which its folder is made.
    seed : int

    Returns
    -------
    pathlib.Path
        The folder of the model.
    """
    target = folder / name
    target.mkdir(parents=True)
    HOSTILE[name](target, np.random.default_rng([seed, sorted(HOSTILE).index(name)]))
    return target


def write_all(folder: Path, seed: int = 0) -> dict[str, Path]:
    """Write all of them, name -> folder of the model."""
    return {name: write(name, folder, seed) for name in HOSTILE}


# --- a network that is fine, and what it is made of ---


def description(**changes: Any) -> dict[str, Any]:
    """The content of a ``preprocess.json`` that fits `good_model`, with other entries at the top where named."""
    plain = {"median": 0.0, "norm_factor": 1.0, "replace_inf_value": 0.0, "lower_bound": -1e32, "upper_bound": 1e32}
    groups = {"pf_features": ["pfcand_pt_log_nopuppi", "pfcand_etarel"], "pf_mask": ["pfcand_mask"]}
    content: dict[str, Any] = {"input_names": list(groups), "output_names": list(OUTPUTS)}
    for group, names in groups.items():
        infos = {name: {**plain, "pad": 0.0} for name in names}
        content[group] = {"min_length": 4, "max_length": 16, "var_names": names, "var_infos": infos}
    return content | changes


def _inputs(**shapes: Any) -> list[Any]:
    usual = {"pf_features": ["N", 2, "n_pf"], "pf_mask": ["N", 1, "n_pf"]}
    return [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in (usual | shapes).items()]


def _pooled() -> list[Any]:
    """Nodes that give ``pooled``, float32[N, 2]: sums behind the mask."""
    return [
        helper.make_node("Mul", ["pf_features", "pf_mask"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "last"], ["pooled"], keepdims=0),
    ]


def _weights() -> list[Any]:
    rng = np.random.default_rng(5)
    return [
        numpy_helper.from_array(np.array([2], dtype=np.int64), "last"),
        numpy_helper.from_array(rng.normal(size=(2, 3)).astype(np.float32), "W"),
    ]


def _ending(source: str = "pooled") -> list[Any]:
    return [
        helper.make_node("MatMul", [source, "W"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["y"], axis=1),
    ]


def _constant(name: str, values: Any, dtype: Any = np.int64) -> Any:
    return numpy_helper.from_array(np.asarray(values, dtype=dtype), name)


def _model(
    nodes: Sequence[Any] | None = None,
    *,
    more: Iterable[Any] = (),
    inputs: Sequence[Any] | None = None,
    outputs: Sequence[Any] | None = None,
    weights: Sequence[Any] | None = None,
    functions: Sequence[Any] = (),
    opsets: Sequence[tuple[str, int]] = (("", 13),),
    ir: int = 8,
) -> Any:
    graph = helper.make_graph(
        list(nodes) if nodes is not None else [*_pooled(), *_ending()],
        "network",
        list(inputs) if inputs is not None else _inputs(),
        list(outputs) if outputs is not None else [helper.make_tensor_value_info("y", FLOAT, ["N", 3])],
        [*(weights if weights is not None else _weights()), *more],
    )
    model = helper.make_model(
        graph, functions=list(functions), opset_imports=[helper.make_opsetid(*opset) for opset in opsets]
    )
    model.ir_version = ir
    return model


def good_model() -> bytes:
    """A network that is fine: three probabilities from masked sums over candidates."""
    return bytes(_model().SerializeToString())


def _save(folder: Path, model: Any = None, content: Any = None) -> None:
    """Write a network (a model, or bytes) and a description (a dictionary, or text)."""
    data = good_model() if model is None else model if isinstance(model, bytes) else model.SerializeToString()
    (folder / "model.onnx").write_bytes(data)
    content = description() if content is None else content
    if isinstance(content, bytes):
        (folder / "preprocess.json").write_bytes(content)
    else:
        (folder / "preprocess.json").write_text(content if isinstance(content, str) else json.dumps(content))


def _add(name: str, writer: Writer) -> None:
    if name in HOSTILE:
        raise ValueError(f"there are two models {name!r}")
    HOSTILE[name] = writer


def _graph(name: str, make: Callable[[], Any]) -> None:
    """A model that differs in its network alone."""
    _add(name, lambda folder, rng: _save(folder, make()))


def _text(name: str, make: Callable[[], Any]) -> None:
    """A model that differs in its ``preprocess.json`` alone."""
    _add(name, lambda folder, rng: _save(folder, None, make()))


def _card(name: str, make: Callable[[], Any]) -> None:
    """A model with this ``bundle.json``."""

    def writer(folder: Path, rng: np.random.Generator) -> None:
        _save(folder)
        content = make()
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / "bundle.json").write_bytes(data)

    _add(name, writer)


# --- bytes ---


def _truncated(share: float) -> Callable[[], bytes]:
    return lambda: good_model()[: max(1, int(share * len(good_model())))]


for _share in (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99):
    _graph(f"truncated-{_share:g}", _truncated(_share))

_graph("empty", lambda: b"")
_graph("one-byte", lambda: b"\x08")
_graph("zeros", lambda: bytes(MEGABYTE))
_graph("ones", lambda: b"\xff" * 65_536)
_graph("twice", lambda: good_model() * 2)
_graph("tail", lambda: good_model() + b"\x00\xff" * 100)
_graph("length-beyond", lambda: b"\x3a\xff\xff\xff\xff\x7f" + good_model())
_graph("nested-bytes", lambda: b"\x3a\x7f" * 60_000)
for _name, _magic in {
    "png": b"\x89PNG\r\n\x1a\n",
    "zip": b"PK\x03\x04",
    "hdf5": b"\x89HDF\r\n\x1a\n",
    "root": b"root\x00\x00\xf6\xdc",
    "pickle": b"\x80\x04\x95",
    "html": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
}.items():
    _graph(f"magic-{_name}", lambda magic=_magic: magic + good_model())  # type: ignore[misc]


def _random_bytes(folder: Path, rng: np.random.Generator) -> None:
    _save(folder, rng.bytes(4096))


def _flipped(count: int) -> Writer:
    def writer(folder: Path, rng: np.random.Generator) -> None:
        data = np.frombuffer(good_model(), dtype=np.uint8).copy()
        data[rng.integers(0, len(data), count)] ^= (1 << rng.integers(0, 8, count)).astype(np.uint8)
        _save(folder, data.tobytes())

    return writer


_add("random-bytes", _random_bytes)
for _count in (1, 3, 10, 30, 100):
    _add(f"flipped-{_count}", _flipped(_count))


def _instead(make: Callable[[Path], object]) -> Writer:
    """Something else in the place of the file."""

    def writer(folder: Path, rng: np.random.Generator) -> None:
        _save(folder)
        (folder / "model.onnx").unlink()
        make(folder / "model.onnx")

    return writer


_add("file-folder", _instead(lambda path: path.mkdir()))
_add("file-pipe", _instead(lambda path: os.mkfifo(path)))
_add("file-link-dangling", _instead(lambda path: path.symlink_to("absent.onnx")))
_add("file-link-loop", _instead(lambda path: path.symlink_to(path)))
_add("file-link-device", _instead(lambda path: path.symlink_to("/dev/zero")))


# --- structure ---


def _changed(change: Callable[[Any], object]) -> Callable[[], Any]:
    def make() -> Any:
        model = _model()
        change(model)
        return model

    return make


def _chain(depth: int, first: str = "x") -> list[Any]:
    return [helper.make_node("Identity", [f"{first}{n}"], [f"{first}{n + 1}"]) for n in range(depth)]


_graph("no-graph", _changed(lambda model: model.ClearField("graph")))
_graph("no-nodes", _changed(lambda model: model.graph.ClearField("node")))
_graph("no-outputs", _changed(lambda model: model.graph.ClearField("output")))
_graph("no-inputs", _changed(lambda model: model.graph.ClearField("input")))
_graph("no-opset", _changed(lambda model: model.ClearField("opset_import")))
_graph("missing-weights", _changed(lambda model: model.graph.ClearField("initializer")))
_graph("dangling-input", lambda: _model([*_pooled(), *_ending("nowhere")]))
_graph("output-of-nothing", lambda: _model(outputs=[helper.make_tensor_value_info("z", FLOAT, ["N", 3])]))
_graph("output-is-input", lambda: _model(outputs=[helper.make_tensor_value_info("pf_mask", FLOAT, ["N", 1, "n_pf"])]))
_graph(
    "cycle",
    lambda: _model(
        [
            helper.make_node("Add", ["pooled", "b"], ["a"]),
            helper.make_node("Relu", ["a"], ["b"]),
            *_pooled(),
            *_ending("b"),
        ]
    ),
)
_graph("cycle-of-one", lambda: _model([*_pooled(), helper.make_node("Add", ["pooled", "a"], ["a"]), *_ending("a")]))
_graph("cycle-identity", lambda: _model([*_pooled(), helper.make_node("Identity", ["y"], ["y"])]))
_graph("wrong-order", lambda: _model([*_ending(), *_pooled()]))
_graph("same-output-twice", lambda: _model([*_pooled(), *_ending(), *_ending()]))
_graph("same-input-twice", lambda: _model(inputs=[*_inputs(), *_inputs()]))
_graph("same-weight-twice", lambda: _model(more=_weights()))
_graph("outputs-twice", lambda: _model(outputs=[helper.make_tensor_value_info("y", FLOAT, ["N", 3])] * 2))
_graph("node-without-inputs", lambda: _model([*_pooled(), helper.make_node("MatMul", [], ["scores"]), _ending()[1]]))
_graph("identity-without-inputs", lambda: _model([*_pooled(), helper.make_node("Identity", [], ["y"])]))
_graph("node-without-outputs", lambda: _model([*_pooled(), *_ending(), helper.make_node("Relu", ["pooled"], [])]))
_graph("node-without-operator", lambda: _model([*_pooled(), helper.make_node("", ["pooled"], ["a"]), *_ending("a")]))
_graph(
    "operator-unknown", lambda: _model([*_pooled(), helper.make_node("Frobnicate", ["pooled"], ["a"]), *_ending("a")])
)
_graph(
    "operator-custom",
    lambda: _model(
        [*_pooled(), helper.make_node("Secret", ["pooled"], ["a"], domain="org.example"), *_ending("a")],
        opsets=[("", 13), ("org.example", 1)],
    ),
)
_graph("many-inputs", lambda: _model([*_pooled(), helper.make_node("Sum", ["pooled"] * 20_000, ["a"]), *_ending("a")]))
_graph(
    "long-chain",
    lambda: _model([*_pooled(), helper.make_node("Identity", ["pooled"], ["x0"]), *_chain(20_000), *_ending("x20000")]),
)
_graph(
    "fan-of-concats",
    lambda: _model(
        [
            *_pooled(),
            helper.make_node("Slice", ["pooled", "zero", "zero", "one"], ["x0"]),
            *(helper.make_node("Concat", [f"x{n}"] * 2, [f"x{n + 1}"], axis=1) for n in range(60)),
        ],
        more=[_constant("zero", [0]), _constant("one", [1])],
        outputs=[helper.make_tensor_value_info("x60", FLOAT, ["N", None])],
    ),
)
for _version in (-1, 0, 1, 999, 2**31):
    _graph(f"opset-{_version}", lambda version=_version: _model(opsets=[("", version)]))  # type: ignore[misc]
for _version in (-1, 0, 1, 999):
    _graph(f"ir-{_version}", lambda version=_version: _model(ir=version))  # type: ignore[misc]
_graph("opset-twice", lambda: _model(opsets=[("", 13), ("", 9)]))


def _function(name: str, calls: Sequence[str]) -> Any:
    """A function of one argument that calls others, one after the other."""
    nodes = [
        helper.make_node(call, [f"v{number}"], [f"v{number + 1}"], domain="local") for number, call in enumerate(calls)
    ]
    nodes += [helper.make_node("Relu", [f"v{len(calls)}"], ["out"])]
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("local", 1)]
    return helper.make_function("local", name, ["v0"], ["out"], nodes, opsets)


def _with_functions(functions: dict[str, Sequence[str]]) -> Callable[[], Any]:
    return lambda: _model(
        [*_pooled(), helper.make_node("f0", ["pooled"], ["a"], domain="local"), *_ending("a")],
        functions=[_function(name, calls) for name, calls in functions.items()],
        opsets=[("", 13), ("local", 1)],
        ir=9,
    )


_graph("function-recursive", _with_functions({"f0": ["f0"]}))
_graph("functions-recursive", _with_functions({"f0": ["f1"], "f1": ["f2"], "f2": ["f0"]}))
_graph("functions-doubling", _with_functions({f"f{n}": [f"f{n + 1}"] * 2 for n in range(26)} | {"f26": []}))
_graph("functions-deep", _with_functions({f"f{n}": [f"f{n + 1}"] for n in range(400)} | {"f400": []}))
_graph("function-absent", _with_functions({"f1": []}))


# --- names ---


def _renamed(old: str, new: bytes) -> Callable[[], bytes]:
    """The file with one name replaced by another of the same length, which need not be text."""

    def make() -> bytes:
        data = _model(
            [*_pooled(), helper.make_node("Identity", ["pooled"], ["aaaaaaaa"]), *_ending("aaaaaaaa")]
        ).SerializeToString()
        return bytes(data).replace(old.encode(), new)

    return make


_graph("name-no-utf8", _renamed("aaaaaaaa", b"\xff\xfe\xc0\x80\xed\xa0\x80\xf5"))
_graph("name-input-no-utf8", _renamed("pf_features", b"pf_feat\xff\xfe\xc0\x80"))
_graph("name-operator-no-utf8", _renamed("Identity", b"Iden\xff\xfe\xc0\x80"))
_graph("name-nul", _renamed("aaaaaaaa", b"aaa\x00aaaa"))


def _output_called(name: str) -> Callable[[], Any]:
    def make() -> Any:
        nodes = [*_pooled(), _ending()[0], helper.make_node("Softmax", ["scores"], [name], axis=1)]
        return _model(nodes, outputs=[helper.make_tensor_value_info(name, FLOAT, ["N", 3])])

    return make


def _more_input(name: str) -> Callable[[], Any]:
    return lambda: _model(inputs=[*_inputs(), helper.make_tensor_value_info(name, FLOAT, ["N", 1, "n_pf"])])


_graph("name-output-megabyte", _output_called("y" * MEGABYTE))
_graph("name-output-control", _output_called("\x1b]0;owned\x07\x1b[2J\ny"))
_graph("name-output-empty", _output_called(""))
_graph("name-input-megabyte", _more_input("x" * MEGABYTE))
_graph("name-input-control", _more_input("\x1b[31mred\x1b[0m\r\n\x00"))
_graph("name-input-empty", _more_input(""))
_graph(
    "name-operator-megabyte",
    lambda: _model([*_pooled(), helper.make_node("R" * MEGABYTE, ["pooled"], ["a"]), *_ending("a")]),
)
_graph(
    "name-operator-control",
    lambda: _model([*_pooled(), helper.make_node("\x1b[2J\nRelu", ["pooled"], ["a"]), *_ending("a")]),
)
_graph(
    "name-node-megabyte",
    lambda: _model([*_pooled(), helper.make_node("Frobnicate", ["pooled"], ["a"], name="n" * MEGABYTE), *_ending("a")]),
)
_graph("name-axis-megabyte", lambda: _model(inputs=_inputs(pf_features=["N", 2, "n" * MEGABYTE])))
_graph(
    "many-outputs",
    lambda: _model(outputs=[helper.make_tensor_value_info(f"y{n}", FLOAT, ["N", 1]) for n in range(5000)]),
)


# --- types and shapes of inputs and outputs ---


def _typed(name: str, info: Any) -> Callable[[], Any]:
    """The input, or output, of that name with another type."""

    def make() -> Any:
        model = _model()
        for values in (model.graph.input, model.graph.output):
            for value in values:
                if value.name == name:
                    value.CopyFrom(info)
        return model

    return make


for _kind in ("INT64", "STRING", "DOUBLE", "FLOAT16", "BOOL", "COMPLEX64"):
    for _name in ("pf_features", "y"):
        _shape = ["N", 2, "n_pf"] if _name == "pf_features" else ["N", 3]
        _info = helper.make_tensor_value_info(_name, getattr(TensorProto, _kind), _shape)
        _graph(f"type-{_name}-{_kind.lower()}", _typed(_name, _info))
for _name in ("pf_features", "y"):
    _tensor = helper.make_tensor_type_proto(FLOAT, ["N", 2, "n_pf"])
    for _kind, _type in {
        "sequence": helper.make_sequence_type_proto(_tensor),
        "optional": helper.make_optional_type_proto(_tensor),
        "map": helper.make_map_type_proto(INT64, _tensor),
        "sparse": helper.make_sparse_tensor_type_proto(FLOAT, ["N", 2]),
        "absent": onnx.TypeProto(),
        "unknown": helper.make_tensor_type_proto(9999, ["N", 2, "n_pf"]),
        "undefined": helper.make_tensor_type_proto(0, ["N", 2, "n_pf"]),
        "shapeless": helper.make_tensor_type_proto(FLOAT, None),
    }.items():
        _graph(f"type-{_name}-{_kind}", _typed(_name, helper.make_value_info(_name, _type)))
for _label, _shape in {
    "scalar": [],
    "rank-1": ["N"],
    "rank-5": ["N", 2, "n_pf", 1, 1],
    "negative": ["N", 2, -5],
    "negative-batch": [-1, 2, "n_pf"],
    "zero": ["N", 2, 0],
    "zero-batch": [0, 2, "n_pf"],
    "huge": ["N", 2, 2**40],
    "huge-batch": [2**40, 2, "n_pf"],
    "huge-channels": ["N", 2**40, "n_pf"],
    "batch-million": [1_000_000_000, 2, "n_pf"],
    "channels": ["N", 7, "n_pf"],
}.items():
    _graph(f"shape-{_label}", lambda shape=_shape: _model(inputs=_inputs(pf_features=shape)))  # type: ignore[misc]


def _ending_in(*nodes: Any, more: Iterable[Any] = (), shape: Any = ("N", 3), dtype: int = FLOAT) -> Callable[[], Any]:
    """A network whose last nodes, from ``scores`` to ``z``, are these."""
    return lambda: _model(
        [*_pooled(), *_ending(), *nodes],
        more=more,
        outputs=[helper.make_tensor_value_info("z", dtype, shape)],
    )


_graph("output-single", _ending_in(helper.make_node("ReduceSum", ["y"], ["z"], keepdims=0), shape=[]))
_graph(
    "output-empty",
    _ending_in(
        helper.make_node("Slice", ["y", "o", "o", "i"], ["z"]),
        more=[_constant("o", [0]), _constant("i", [1])],
        shape=["N", 0],
    ),
)
_graph("output-rows", _ending_in(helper.make_node("Concat", ["y", "y"], ["z"], axis=0), shape=["M", 3]))
_graph(
    "output-rank-4",
    _ending_in(
        helper.make_node("Reshape", ["pf_features", "to"], ["z"]),
        more=[_constant("to", [0, 1, 2, -1])],
        shape=["N", 1, 2, "n"],
    ),
)
_graph("output-random", _ending_in(helper.make_node("RandomUniformLike", ["y"], ["z"])))
_graph(
    "output-nan",
    _ending_in(
        helper.make_node("Div", ["y", "nil"], ["a"]),
        helper.make_node("Sub", ["a", "a"], ["z"]),
        more=[_constant("nil", [0], np.float32)],
    ),
)
_graph(
    "output-names",
    lambda: _model(
        weights=[_weights()[0], _constant("W", np.ones((2, 7)), np.float32)],
        outputs=[helper.make_tensor_value_info("y", FLOAT, ["N", 7])],
    ),
)
_graph(
    "output-text", _ending_in(helper.make_node("Cast", ["y"], ["z"], to=TensorProto.STRING), dtype=TensorProto.STRING)
)


# --- weights ---


def _with_weights(change: Callable[[Any], object]) -> Callable[[], Any]:
    """The matrix of the network changed."""
    return _changed(lambda model: change(model.graph.initializer[1]))


def _filled(value: float) -> Callable[[Any], object]:
    return lambda tensor: tensor.CopyFrom(_constant("W", np.full((2, 3), value), np.float32))


def _dims(*dims: int) -> Callable[[Any], object]:
    def change(tensor: Any) -> None:
        del tensor.dims[:]
        tensor.dims.extend(dims)

    return change


def _typed_data(dtype: int) -> Callable[[Any], object]:
    return lambda tensor: setattr(tensor, "data_type", dtype)


_graph("weights-nan", _with_weights(_filled(np.nan)))
_graph("weights-infinite", _with_weights(_filled(np.inf)))
_graph("weights-largest", _with_weights(_filled(3e38)))
_graph("weights-short", _with_weights(lambda tensor: setattr(tensor, "raw_data", tensor.raw_data[:5])))
_graph("weights-long", _with_weights(lambda tensor: setattr(tensor, "raw_data", tensor.raw_data * 9)))
_graph("weights-absent", _with_weights(lambda tensor: tensor.ClearField("raw_data")))
_graph("weights-dims-negative", _with_weights(_dims(-2, 3)))
_graph("weights-dims-huge", _with_weights(_dims(2**40, 2**40)))
_graph("weights-dims-overflow", _with_weights(_dims(2**62, 2**62, 2**62)))
_graph("weights-dims-zero", _with_weights(_dims(0, 3)))
_graph("weights-rank-1000", _with_weights(_dims(*[1] * 1000)))
for _dtype in (0, 7, 8, 11, 16, 99, -1):
    _graph(f"weights-type-{_dtype}", _with_weights(_typed_data(_dtype)))
_graph("weights-axis", lambda: _model(weights=[_constant("last", [2**62]), _weights()[1]]))


def _sparse() -> Any:
    model = _model(weights=_weights()[:1])
    values, indices = _constant("W", [1.0, 2.0], np.float32), _constant("W_indices", [5, 2**40])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2, 3]))
    return model


_graph("weights-sparse-beyond", _sparse)


# --- external data ---


def _external(location: str, make: Callable[[Path], object] | None = None, **more: str) -> Writer:
    """The matrix in another file."""

    def writer(folder: Path, rng: np.random.Generator) -> None:
        model = _model()
        tensor = model.graph.initializer[1]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **more}.items():
            tensor.external_data.add(key=key, value=value)
        _save(folder, model)
        if make is not None:
            make(folder)

    return writer


def _beside(folder: Path) -> None:
    (folder / "data.bin").write_bytes(np.ones(6, dtype=np.float32).tobytes())


def _in_constant(folder: Path, rng: np.random.Generator) -> None:
    tensor = _constant("hidden", np.ones((1, 3)), np.float32)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    node = helper.make_node("Constant", [], ["c"], value=tensor)
    _save(folder, _ending_in(node, helper.make_node("Add", ["y", "c"], ["z"]))())


for _label, _arguments in {
    "absolute": ("/etc/passwd",),
    "above": ("../../../../../../etc/passwd",),
    "hidden-above": ("data/../../secret.bin",),
    "missing": ("absent.bin",),
    "nothing": ("",),
    "nul": ("data\x00.bin",),
    "long": ("d" * 5000,),
    "megabyte": ("d" * MEGABYTE,),
    "control": ("\x1b[2Jdata.bin",),
    "url": ("https://example.org/data.bin",),
    "link": ("link.bin", lambda folder: (folder / "link.bin").symlink_to("/etc/passwd")),
    "link-loop": ("link.bin", lambda folder: (folder / "link.bin").symlink_to("link.bin")),
    "link-device": ("link.bin", lambda folder: (folder / "link.bin").symlink_to("/dev/zero")),
    "folder": ("data.bin", lambda folder: (folder / "data.bin").mkdir()),
    "pipe": ("data.bin", lambda folder: os.mkfifo(folder / "data.bin")),
    "short": ("data.bin", lambda folder: (folder / "data.bin").write_bytes(b"\0" * 7)),
    "itself": ("model.onnx",),
}.items():
    _add(f"external-{_label}", _external(*_arguments))  # type: ignore[arg-type]
for _label, _more in {
    "offset-negative": {"offset": "-4"},
    "offset-beyond": {"offset": "1000000"},
    "offset-text": {"offset": "four"},
    "offset-huge": {"offset": "9" * 40},
    "length-huge": {"length": str(2**62)},
    "length-negative": {"length": "-1"},
}.items():
    _add(f"external-{_label}", _external("data.bin", _beside, **_more))
_add("external-constant", _in_constant)


# --- graphs that do not end, or want more than there is ---


def _body(*nodes: Any, keep: bool = False, level: str = "") -> Any:
    """The body of a loop over a matrix, ``before`` to ``after``; names of inner loops carry their level."""
    outputs = [
        helper.make_tensor_value_info(f"go_on{level}", TensorProto.BOOL, []),
        helper.make_tensor_value_info(f"after{level}", FLOAT, ["N", 3]),
    ]
    if keep:
        outputs.append(helper.make_tensor_value_info("kept", FLOAT, ["N", 3]))
    return helper.make_graph(
        [helper.make_node("Identity", [f"condition{level}"], [f"go_on{level}"]), *nodes],
        f"body{level}",
        [
            helper.make_tensor_value_info(f"number{level}", INT64, []),
            helper.make_tensor_value_info(f"condition{level}", TensorProto.BOOL, []),
            helper.make_tensor_value_info(f"before{level}", FLOAT, ["N", 3]),
        ],
        outputs,
    )


def _loop(trips: int | None, *, keep: bool = False, nested: int = 0, measured: bool = False) -> Callable[[], Any]:
    """A loop with so many trips, and others within; None: as long as true is true."""

    def make() -> Any:
        nodes = [helper.make_node("Softmax", ["before"], ["after"], axis=1)]
        for number in range(nested, 0, -1):
            level = f"_{number}"
            inside = [helper.make_node("Relu", [f"before{level}"], [f"after{level}"])] if number == nested else nodes
            body = _body(*inside, level=level)
            outer = f"_{number - 1}" if number > 1 else ""
            nodes = [helper.make_node("Loop", ["trips", "yes", f"before{outer}"], [f"after{outer}"], body=body)]
        if keep:
            nodes.append(helper.make_node("Identity", ["after"], ["kept"]))
        count = "trips" if trips is not None else ""
        before: list[Any] = []
        if measured:  # what the loop does depends on the number of jets
            before = [
                helper.make_node("Size", ["y"], ["size"]),
                helper.make_node("Mul", ["size", "trips"], ["many"]),
            ]
            count = "many"
        loop = helper.make_node(
            "Loop", [count, "yes", "y"], ["z", "all"] if keep else ["z"], body=_body(*nodes, keep=keep)
        )
        more = [_constant("yes", True, np.bool_), _constant("trips", trips or 0)]
        return _ending_in(*before, loop, more=more)()

    return make


_graph("loop-huge", _loop(2**62))
_graph("loop-billion", _loop(1_000_000_000))
_graph("loop-for-ever", _loop(None))
_graph("loop-keeping", _loop(2**40, keep=True))
_graph("loop-nested", _loop(100_000, nested=3))
_graph("loop-deep", _loop(3, nested=12))
_graph("loop-nest-25", _loop(1, nested=25))
_graph("loop-of-size", _loop(1_000_000_000, measured=True))
_graph("loop-negative", _loop(-5))
_graph("loop-short", _loop(3))


def _branches(depth: int) -> Callable[[], Any]:
    """Ifs within ifs."""

    def make() -> Any:
        output = helper.make_tensor_value_info("z", FLOAT, ["N", 3])
        inner = helper.make_graph([helper.make_node("Identity", ["y"], ["z"])], "leaf", [], [output])
        for _ in range(depth):
            branches = {"then_branch": inner, "else_branch": inner}
            node = helper.make_node("If", ["yes"], ["z"], **branches)
            inner = helper.make_graph([node], "branch", [], [output])
        return _ending_in(*inner.node, more=[_constant("yes", True, np.bool_)])()

    return make


_graph("if-nest-10", _branches(10))
_graph(
    "if-without-branches", _ending_in(helper.make_node("If", ["yes"], ["z"]), more=[_constant("yes", True, np.bool_)])
)


def _deep(depth: int) -> Callable[[], Any]:
    """Loops within loops, deeper than any reader follows, each level once."""

    def make() -> Any:
        data = _loop(1, nested=2)()
        node = data.graph.node[-1]
        inner = node.attribute[0].g.SerializeToString()
        for _ in range(depth):  # graph { node { attribute { g } } }, by hand as the library refuses this depth
            for tag in (b"\x32", b"\x2a", b"\x0a"):
                inner = tag + _varint(len(inner)) + inner
        return b"\x08\x08\x3a" + _varint(len(inner)) + inner

    return make


def _varint(number: int) -> bytes:
    found = b""
    while number > 127:
        found += bytes([number & 127 | 128])
        number >>= 7
    return found + bytes([number])


_graph("nest-5000", _deep(5000))


def _scan(length: int) -> Callable[[], Any]:
    body = helper.make_graph(
        [helper.make_node("Add", ["state", "step"], ["next"])],
        "body",
        [helper.make_tensor_value_info("state", FLOAT, ["N", 3]), helper.make_tensor_value_info("step", FLOAT, [])],
        [helper.make_tensor_value_info("next", FLOAT, ["N", 3])],
    )
    return _ending_in(
        helper.make_node("ConstantOfShape", ["length"], ["steps"]),
        helper.make_node("Scan", ["y", "steps"], ["z"], body=body, num_scan_inputs=1),
        more=[_constant("length", [length])],
    )


_graph("scan-long", _scan(200_000_000))
_graph("scan-without-body", _ending_in(helper.make_node("Scan", ["y", "y"], ["z"], num_scan_inputs=1)))


def _added(node: Any, *nodes: Any, more: Iterable[Any] = ()) -> Callable[[], Any]:
    """A tensor ``big`` whose sum is added to the scores."""
    return _ending_in(
        node,
        *nodes,
        helper.make_node("ReduceSum", ["big"], ["total"], keepdims=0),
        helper.make_node("Add", ["y", "total"], ["z"]),
        more=more,
    )


_shape_of = {"terabyte": [2**38], "plane": [2**20, 2**20], "overflow": [2**40, 2**40], "negative": [-3, 5]}
for _label, _dimensions in _shape_of.items():
    _to = [_constant("to", _dimensions)]
    _graph(f"constant-of-shape-{_label}", _added(helper.make_node("ConstantOfShape", ["to"], ["big"]), more=_to))
    _graph(
        f"expand-{_label}",
        _added(helper.make_node("Expand", ["W2", "to"], ["big"]), more=[*_to, _constant("W2", [[1.0]], np.float32)]),
    )
_graph(
    "expand-by-jets",
    _added(
        helper.make_node("Shape", ["pf_features"], ["sizes"]),
        helper.make_node("Mul", ["sizes", "factor"], ["to"]),
        helper.make_node("ConstantOfShape", ["to"], ["big"]),
        more=[_constant("factor", [2**13, 2**13, 2**13])],
    ),
)
_graph("tile", _added(helper.make_node("Tile", ["y", "times"], ["big"]), more=[_constant("times", [2**20, 2**20])]))
_graph(
    "range",
    _added(
        helper.make_node("Range", ["from", "to", "step"], ["whole"]),
        helper.make_node("Cast", ["whole"], ["big"], to=FLOAT),
        more=[_constant("from", 0), _constant("to", 2**50), _constant("step", 1)],
    ),
)
_graph(
    "range-zero",
    _added(
        helper.make_node("Range", ["a0", "a1", "a0"], ["big"]),
        more=[_constant("a0", 0, np.float32), _constant("a1", 1, np.float32)],
    ),
)
_graph("pad", _added(helper.make_node("Pad", ["y", "pads"], ["big"]), more=[_constant("pads", [0, 0, 2**30, 2**20])]))
_graph("random-normal", _added(helper.make_node("RandomNormal", [], ["big"], shape=[2**20, 2**20])))
_graph(
    "one-hot",
    _added(
        helper.make_node("OneHot", ["places", "depth", "off-on"], ["big"]),
        more=[_constant("places", [1, 2]), _constant("depth", 2**40), _constant("off-on", [0, 1], np.float32)],
    ),
)
_graph(
    "resize",
    _added(
        helper.make_node("Resize", ["pf_features", "", "scales"], ["big"]),
        more=[_constant("scales", [1, 2**20, 2**20], np.float32)],
    ),
)
_graph(
    "outer-product",
    _added(
        helper.make_node("ConstantOfShape", ["to"], ["column"]),
        helper.make_node("Transpose", ["column"], ["row"]),
        helper.make_node("MatMul", ["column", "row"], ["big"]),
        more=[_constant("to", [2**20, 1])],
    ),
)
_graph(
    "slow-products",
    _added(
        helper.make_node("ConstantOfShape", ["to"], ["m0"]),
        *(helper.make_node("MatMul", [f"m{n}", f"m{n}"], [f"m{n + 1}"]) for n in range(200)),
        helper.make_node("Identity", ["m200"], ["big"]),
        more=[_constant("to", [5000, 5000])],
    ),
)
_graph(
    "doubling",
    _added(
        helper.make_node("Identity", ["y"], ["x0"]),
        *(helper.make_node("Concat", [f"x{n}"] * 2, [f"x{n + 1}"], axis=1) for n in range(50)),
        helper.make_node("Identity", ["x50"], ["big"]),
    ),
)
_graph("top-k", _added(helper.make_node("TopK", ["y", "k"], ["big", "places"]), more=[_constant("k", [2**62])]))


# --- operators with numbers that they must not have ---

_whole = helper.make_node("Cast", ["y"], ["whole"], to=INT64)
for _operator in ("Div", "Mod"):
    _graph(
        f"{_operator.lower()}-by-zero",
        _added(
            _whole,
            helper.make_node(_operator, ["whole", "nil"], ["ratio"]),
            helper.make_node("Cast", ["ratio"], ["big"], to=FLOAT),
            more=[_constant("nil", [0])],
        ),
    )
_graph(
    "div-by-zero-constant",
    _added(
        helper.make_node("Div", ["one", "nil"], ["ratio"]),
        helper.make_node("Cast", ["ratio"], ["big"], to=FLOAT),
        more=[_constant("nil", [0]), _constant("one", [1])],
    ),
)
_graph(
    "conv-groups-zero",
    _added(
        helper.make_node("Conv", ["pf_features", "K"], ["big"], group=0),
        more=[_constant("K", np.ones((1, 2, 1)), np.float32)],
    ),
)
_graph(
    "conv-strides-zero",
    _added(
        helper.make_node("Conv", ["pf_features", "K"], ["big"], strides=[0]),
        more=[_constant("K", np.ones((1, 2, 1)), np.float32)],
    ),
)
_graph(
    "conv-kernel-huge",
    _added(
        helper.make_node("Conv", ["pf_features", "K"], ["big"], pads=[2**40, 2**40]),
        more=[_constant("K", np.ones((1, 2, 1)), np.float32)],
    ),
)
_graph("pool-kernel-zero", _added(helper.make_node("MaxPool", ["pf_features"], ["big"], kernel_shape=[0])))
_graph("pool-kernel-negative", _added(helper.make_node("AveragePool", ["pf_features"], ["big"], kernel_shape=[-7])))
_graph("softmax-axis", _ending_in(helper.make_node("Softmax", ["scores"], ["z"], axis=99)))
_graph("transpose-twice", _ending_in(helper.make_node("Transpose", ["y"], ["z"], perm=[1, 1])))
_graph(
    "reshape-negative", _ending_in(helper.make_node("Reshape", ["y", "to"], ["z"]), more=[_constant("to", [-5, -7])])
)
_graph(
    "reshape-unknowns", _ending_in(helper.make_node("Reshape", ["y", "to"], ["z"]), more=[_constant("to", [-1, -1])])
)
_graph(
    "gather-beyond",
    _ending_in(helper.make_node("Gather", ["y", "at"], ["z"], axis=1), more=[_constant("at", [0, 1, 2**40])]),
)
_graph("attribute-type", _ending_in(helper.make_node("Softmax", ["scores"], ["z"], axis="one")))
_graph("attribute-unknown", _ending_in(helper.make_node("Softmax", ["scores"], ["z"], colour=3)))
_graph(
    "split-zero",
    _ending_in(helper.make_node("Split", ["y", "at"], ["z", "rest"], axis=1), more=[_constant("at", [0, 0])]),
)


# --- descriptions ---


def _group(**changes: Any) -> dict[str, Any]:
    content = description()
    content["pf_features"] |= changes
    return content


def _variable(**changes: Any) -> dict[str, Any]:
    content = description()
    content["pf_features"]["var_infos"]["pfcand_etarel"] |= changes
    return content


_usual = json.dumps(description())
_text("json-empty", lambda: "")
_text("json-truncated", lambda: _usual[: len(_usual) // 2])
_text("json-list", lambda: "[]")
_text("json-deep", lambda: "[" * 200_000)
_text("json-deep-inside", lambda: _usual[:-1] + ', "x": ' + "[" * 50_000 + "]" * 50_000 + "}")
_text("json-no-utf8", lambda: b"\xff\xfe{" + _usual.encode("utf-16"))
_text("json-bom", lambda: b"\xef\xbb\xbf" + _usual.encode())
_text("json-huge-number", lambda: _usual.replace('"median": 0.0', f'"median": {"9" * 6000}', 1))
_text("json-number-beyond", lambda: _usual.replace('"median": 0.0', '"median": 1e999', 1))
_text("json-nan", lambda: _usual.replace('"median": 0.0', '"median": NaN', 1))
_text("json-twice", lambda: _usual.replace('"median": 0.0', '"median": 0.0, "median": 5.0', 1))
_text("json-megabyte-key", lambda: description(**{"k" * MEGABYTE: 1}))
_text("json-no-groups", lambda: description(input_names=[]))
_text("json-groups-number", lambda: description(input_names=7))
_text("json-groups-nested", lambda: description(input_names=[["pf_features"]]))
_text("json-group-absent", lambda: description(input_names=["pf_features", "pf_mask", "sv_features"]))
_text("json-group-control", lambda: description(input_names=["\x1b[2Jpf_features", "pf_mask"]))
_text("json-group-megabyte", lambda: description(input_names=["g" * MEGABYTE, "pf_mask"]))
_text("json-outputs-twice", lambda: description(output_names=["probHbb", "probHbb", "probHcc"]))
_text("json-outputs-number", lambda: description(output_names=[1, 2, 3]))
_text("json-outputs-long", lambda: description(output_names=["prob" + "x" * MEGABYTE, "a", "b"]))
_text("json-outputs-many", lambda: description(output_names=[f"prob{n}" for n in range(100_000)]))
_text("json-outputs-control", lambda: description(output_names=["\x1b]0;owned\x07", "a\nb", "\x00"]))
_text("json-lengths-huge", lambda: _group(max_length=10**12))
_text("json-lengths-beyond", lambda: _group(max_length=10**400))
_text("json-lengths-negative", lambda: _group(min_length=-4))
_text("json-lengths-float", lambda: _group(max_length=1e400))
_text("json-variables-text", lambda: _group(var_names="pfcand_etarel"))
_text("json-variables-megabyte", lambda: _group(var_names=["v" * MEGABYTE, "pfcand_etarel"]))
_text("json-variables-control", lambda: _group(var_names=["\x1b[31mpfcand\r", "pfcand_etarel"]))
_text("json-infos-list", lambda: _group(var_infos=[]))
_text("json-factor-text", lambda: _variable(norm_factor="1"))
_text("json-factor-huge", lambda: _variable(norm_factor=10**400))
_text("json-bounds-crossed", lambda: _variable(lower_bound=5, upper_bound=-5))
_text("json-median-megabyte", lambda: _variable(median="m" * MEGABYTE))

_plain_card = {"schema_version": 1, "name": "hostile"}
_card("card-no-json", lambda: b"{")
_card("card-deep", lambda: b'{"notes": ' + b"[" * 100_000)
_card("card-name-path", lambda: _plain_card | {"name": "../../etc"})
_card("card-name-long", lambda: _plain_card | {"name": "n" * 5000})
_card("card-name-megabyte", lambda: _plain_card | {"name": " " * MEGABYTE})
_card("card-title-control", lambda: _plain_card | {"title": "\x1b]0;owned\x07\x1b[2J\nline"})
_card("card-notes-megabyte", lambda: _plain_card | {"notes": "n" * MEGABYTE})
_card("card-inputs-above", lambda: _plain_card | {"inputs": "../preprocess.json"})
_card("card-inputs-long", lambda: _plain_card | {"inputs": "i" * 5000 + ".json"})
_card("card-unknown-megabyte", lambda: _plain_card | {"u" * MEGABYTE: 1})
_card("card-version-huge", lambda: _plain_card | {"schema_version": 10**400})
_card("card-kinds-pattern", lambda: _plain_card | {"kinds": {"prob": ["*" * 3000 + "x"]}})
_card("card-aliases-loop", lambda: _plain_card | {"aliases": {"a": "b", "b": "a"}})
_card("card-sha256", lambda: _plain_card | {"sha256": {"../../../etc/passwd": "0" * 64}})
_card("card-sha256-long", lambda: _plain_card | {"sha256": {"s" * 5000: "0" * 64}})
_card("card-sha256-nul", lambda: _plain_card | {"sha256": {"a\x00b": "0" * 64}})
_card("card-domain-nan", lambda: b'{"schema_version": 1, "name": "x", "domain": {"pt": [NaN, 1e999]}}')
_card("card-golden", lambda: _plain_card | {"golden": "absent.npz"})
_card("card-surrogate", lambda: b'{"schema_version": 1, "name": "x", "title": "\\ud800"}')


def _yaml(name: str, text: str) -> None:
    """A model that a data configuration of weaver describes."""

    def writer(folder: Path, rng: np.random.Generator) -> None:
        (folder / "model.onnx").write_bytes(good_model())
        (folder / "data.yaml").write_text(text)

    _add(name, writer)


_LAUGHS = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
_GOOD_YAML = """inputs:
  pf_features: {length: 16, pad_mode: constant, vars: [[part_pt, null], [part_eta, null]]}
  pf_mask: {length: 16, pad_mode: constant, vars: [[part_mask, null]]}
labels: {type: simple, value: [label_a, label_b, label_c]}
"""
_yaml("yaml-good", _GOOD_YAML)
_yaml("yaml-laughs", _LAUGHS + _GOOD_YAML)
_yaml("yaml-laughs-inside", _GOOD_YAML + "new_variables: &a {x: 1}\nselection: *a\n" + _LAUGHS)
_yaml("yaml-loop", "a: &a [*a]\n" + _GOOD_YAML)
_yaml("yaml-deep", "a: " + "[" * 20_000)
_yaml("yaml-object", "a: !!python/object/apply:os.system ['true']\n" + _GOOD_YAML)
_yaml("yaml-expression-deep", _GOOD_YAML + "new_variables: {part_mask: '" + "(" * 20_000 + "'}\n")
_yaml("yaml-expression-power", _GOOD_YAML + "new_variables: {part_mask: '9**9**9**9'}\n")
_yaml("yaml-expression-import", _GOOD_YAML + 'new_variables: {part_mask: \'__import__("os").system("true")\'}\n')
_yaml("yaml-length-huge", _GOOD_YAML.replace("length: 16", "length: 1000000000000"))
_yaml("yaml-control", _GOOD_YAML + '"\\e[2J": 1\n')
