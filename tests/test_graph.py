"""ONNX files seen from outside: corrupt ones, data beside them, softmaxes in them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from networks import Head, graph, write_bundle
from onnx import TensorProto, helper, numpy_helper

from jettagger.bundles.bundle import Bundle
from jettagger.errors import BundleError, MissingModelFile, ModelFileError
from jettagger.sessions import open_onnx
from jettagger.sessions.graph import file_sha256, inspect
from jettagger.tagging.tagger import load_tagger
from jettagger.testing import make_events


def external(name: str, location: str, length: int = 12) -> onnx.TensorProto:
    """A tensor of three float32 numbers whose data lie elsewhere."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def model_with(place: Callable[[onnx.ModelProto, onnx.TensorProto], None], tensor: onnx.TensorProto) -> bytes:
    model = graph()
    place(model, tensor)
    content: bytes = model.SerializeToString()
    return content


def as_initializer(model: Any, tensor: Any) -> None:
    model.graph.initializer.append(tensor)


def as_attribute(model: Any, tensor: Any) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["constant"], value=tensor))


def in_tensor_list(model: Any, tensor: Any) -> None:
    node = helper.make_node("Custom", [], ["constant"], domain="toy")
    node.attribute.add(name="values", type=onnx.AttributeProto.TENSORS).tensors.append(tensor)
    model.graph.node.append(node)


def in_sparse_initializer(model: Any, tensor: Any) -> None:
    indices = numpy_helper.from_array(np.array([0, 1, 2]), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, indices, [3]))


def in_sparse_attribute(model: Any, tensor: Any) -> None:
    indices = numpy_helper.from_array(np.array([0, 1, 2]), "indices")
    sparse = helper.make_sparse_tensor(tensor, indices, [3])
    model.graph.node.append(helper.make_node("Constant", [], ["constant"], sparse_value=sparse))


def in_subgraph(model: Any, tensor: Any) -> None:
    inner = helper.make_graph([], "inner", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])], [tensor])
    outer_node = helper.make_node("If", ["condition"], ["x"], then_branch=inner, else_branch=inner)
    outer = helper.make_graph([outer_node], "outer", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])])
    model.graph.node.append(helper.make_node("If", ["condition"], ["y"], then_branch=outer, else_branch=outer))


def in_function(model: Any, tensor: Any) -> None:
    node = helper.make_node("Constant", [], ["y"], value=tensor)
    opset = [helper.make_opsetid("", 13)]
    model.functions.append(helper.make_function("toy", "constant", [], ["y"], [node], opset))


def in_graph_of_a_function(model: Any, tensor: Any) -> None:
    inner = helper.make_graph([], "inner", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])], [tensor])
    node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    opset = [helper.make_opsetid("", 13)]
    model.functions.append(helper.make_function("toy", "branch", ["c"], ["y"], [node], opset))


def in_training(model: Any, tensor: Any) -> None:
    model.training_info.add().initialization.initializer.append(tensor)


PLACES = [
    as_initializer,
    as_attribute,
    in_tensor_list,
    in_sparse_initializer,
    in_sparse_attribute,
    in_subgraph,
    in_function,
    in_graph_of_a_function,
    in_training,
]


class TestExternalData:
    @pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
    @pytest.mark.parametrize(
        "location",
        ["../secret.bin", "{absolute}", "sub/../../secret.bin", "", "link.bin", "linked/secret.bin"],
    )
    def test_outside_is_refused(self, tmp_path: Path, place: Any, location: str) -> None:
        (tmp_path / "secret.bin").write_bytes(b"\0" * 12)
        folder = tmp_path / "model"
        folder.mkdir()
        (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
        (folder / "linked").symlink_to(tmp_path)
        location = location.format(absolute=tmp_path / "secret.bin")
        (folder / "model.onnx").write_bytes(model_with(place, external("weights", location)))
        with pytest.raises(ModelFileError, match="outside the model's folder; refused") as info:
            inspect(folder / "model.onnx")
        assert "'weights'" in str(info.value)
        assert repr(location) in str(info.value)
        assert str(folder / "model.onnx") in str(info.value)

    def test_the_bundle_and_the_tagger_refuse_it(self, tmp_path: Path) -> None:
        (tmp_path / "secret.bin").write_bytes(b"\0" * 12)
        folder = write_bundle(tmp_path / "model")
        (folder / "model.onnx").write_bytes(model_with(as_initializer, external("weights", "../secret.bin")))
        for reader in (Bundle.from_folder, load_tagger):
            with pytest.raises(BundleError, match="refused"):
                reader(folder)

    @pytest.mark.parametrize("order", [1, -1])
    def test_a_second_location_counts(self, tmp_path: Path, order: int) -> None:
        (tmp_path / "weights.bin").write_bytes(b"\0" * 12)
        tensor = external("weights", "weights.bin")
        tensor.external_data.add(key="location", value="../secret.bin")
        entries = list(tensor.external_data)[::order]
        del tensor.external_data[:]
        tensor.external_data.extend(entries)
        (tmp_path / "model.onnx").write_bytes(model_with(as_initializer, tensor))
        with pytest.raises(ModelFileError, match="refused"):
            inspect(tmp_path / "model.onnx")

    def test_data_in_memory_is_refused(self, tmp_path: Path) -> None:
        """ONNX Runtime reads this location as an address in its own process."""
        tensor = external("weights", "*/_ORT_MEM_ADDR_/*")
        (tmp_path / "model.onnx").write_bytes(model_with(as_initializer, tensor))
        with pytest.raises(ModelFileError, match="which is missing"):
            inspect(tmp_path / "model.onnx")

    def test_missing(self, tmp_path: Path) -> None:
        (tmp_path / "model.onnx").write_bytes(model_with(as_initializer, external("weights", "weights.bin")))
        with pytest.raises(ModelFileError, match=r"'weights' needs the file .*weights\.bin, which is missing"):
            inspect(tmp_path / "model.onnx")

    @pytest.mark.parametrize("location", ["weights.bin", "data/weights.bin"])
    def test_beside_it_works(self, tmp_path: Path, location: str) -> None:
        plain, split = write_bundle(tmp_path / "plain"), write_bundle(tmp_path / "split")
        (split / location).parent.mkdir(exist_ok=True)
        onnx.save(graph(), split / "model.onnx", save_as_external_data=True, location=location, size_threshold=45)
        assert (split / location).stat().st_size > 0
        graph_ = inspect(split / "model.onnx")
        assert graph_.external
        assert graph_.sha256 != inspect(plain / "model.onnx").sha256
        events = make_events(4, seed=1)
        assert load_tagger(split)(events).mass.tolist() == load_tagger(plain)(events).mass.tolist()

    def test_checksum_in_the_card_is_that_of_the_file(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "m")
        onnx.save(graph(), folder / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=45)
        content = (folder / "model.onnx").read_bytes()
        names = ("model.onnx", "w.bin")
        declared = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
        write_bundle(folder, card={"sha256": declared})
        (folder / "model.onnx").write_bytes(content)
        first = Bundle.from_folder(folder)
        (folder / "w.bin").write_bytes(b"\1" + (folder / "w.bin").read_bytes()[1:])
        with pytest.raises(BundleError, match=r"w\.bin: its SHA-256 is"):
            Bundle.from_folder(folder)
        (folder / "bundle.json").unlink()
        assert Bundle.from_folder(folder).digest != first.digest


class TestBadFiles:
    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "is empty, expected an ONNX model"),
            (b"this is no protobuf", "is not a readable ONNX model"),
            (b"\x00" * 100, "is not a readable ONNX model"),
            (onnx.ModelProto(ir_version=8).SerializeToString(), "holds no graph with outputs"),
            (graph().SerializeToString()[:-200], "is not a readable ONNX model"),
        ],
        ids=["empty", "text", "zeros", "no graph", "truncated"],
    )
    def test_refused(self, tmp_path: Path, content: bytes, said: str) -> None:
        folder = write_bundle(tmp_path / "m")
        (folder / "model.onnx").write_bytes(content)
        with pytest.raises(ModelFileError, match=said) as info:
            Bundle.from_folder(folder)
        assert str(folder / "model.onnx") in str(info.value)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(MissingModelFile, match="no ONNX file at"):
            inspect(tmp_path / "model.onnx")

    def test_an_operator_that_does_not_exist(self, tmp_path: Path) -> None:
        """It parses, but ONNX Runtime refuses it."""
        folder = write_bundle(tmp_path / "m")
        model = graph()
        model.graph.node[0].op_type = "Fold"
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        bundle = Bundle.from_folder(folder)
        assert bundle.graph is not None
        with pytest.raises(ModelFileError, match=r"ONNX Runtime cannot load .*model\.onnx"):
            open_onnx(bundle.graph)

    def test_changed_behind_our_back(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "m", seed=122)  # no session of this process knows these weights
        bundle = Bundle.from_folder(folder)
        write_bundle(folder, seed=123)
        assert bundle.graph is not None
        with pytest.raises(ModelFileError, match="has changed since it was described"):
            open_onnx(bundle.graph)


class TestInterface:
    def test_shapes(self, tmp_path: Path) -> None:
        write_bundle(tmp_path, batch=4, axes={"pf": 20, "sv": "vertices"})
        found = inspect(tmp_path / "model.onnx")
        assert [(tensor.name, tensor.shape, tensor.dtype) for tensor in found.inputs] == [
            ("pf_features", (4, 3, 20), "float32"),
            ("pf_mask", (4, 1, 20), "float32"),
            ("sv_features", (4, 2, "vertices"), "float32"),
            ("sv_mask", (4, 1, "vertices"), "float32"),
        ]
        assert [(tensor.name, tensor.shape) for tensor in found.outputs] == [("scores", (4, 8))]
        assert (found.opset, found.external) == (13, ())

    def test_constants_are_no_inputs(self, tmp_path: Path) -> None:
        """Old exporters list the weights among the inputs."""
        model = graph()
        model.graph.input.append(helper.make_tensor_value_info("mass_w", TensorProto.FLOAT, [7, 1]))
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        assert len(inspect(tmp_path / "model.onnx").inputs) == 4

    @pytest.mark.parametrize("value", [-1, None])
    def test_unnamed_axes(self, tmp_path: Path, value: int | None) -> None:
        model = graph()
        axis = model.graph.input[0].type.tensor_type.shape.dim[2]
        axis.Clear()
        if value is not None:
            axis.dim_value = value
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        assert inspect(tmp_path / "model.onnx").inputs[0].shape == ("N", 3, "?")

    @pytest.mark.parametrize(
        ("heads", "joined", "expected"),
        [
            ((Head("a", 3, True), Head("b", 2)), True, {"scores": ((0, 3),)}),
            (
                (Head("a", 3), Head("b", 2, True), Head("c", 1), Head("d", 2, True)),
                True,
                {"scores": ((3, 5), (6, 8))},
            ),
            ((Head("a", 3, True), Head("b", 2)), False, {"a": ((0, 3),), "b": ()}),
            ((Head("a", 3, True),), True, {"a": ((0, 3),)}),
            ((Head("a", 3),), True, {"a": ()}),
        ],
    )
    def test_softmaxed(self, tmp_path: Path, heads: Any, joined: bool, expected: Any) -> None:
        write_bundle(tmp_path, heads=heads, joined=joined)
        assert inspect(tmp_path / "model.onnx").softmaxed == expected

    @pytest.mark.parametrize("kind", ["Identity", "Cast", "Relu", "Log"])
    def test_behind_the_softmax(self, tmp_path: Path, kind: str) -> None:
        """What only passes values on keeps probabilities, anything else does not."""
        model = graph(heads=(Head("a", 3, True),))
        attributes = {"to": TensorProto.FLOAT} if kind == "Cast" else {}
        model.graph.node.append(helper.make_node(kind, ["a"], ["b"], **attributes))
        model.graph.output[0].name = "b"
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        expected = ((0, 3),) if kind in ("Identity", "Cast") else ()
        assert inspect(tmp_path / "model.onnx").softmaxed == {"b": expected}

    def test_checksum(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"some")
        (tmp_path / "b").write_bytes(b"thing")
        assert file_sha256(tmp_path / "a", tmp_path / "b") == hashlib.sha256(b"something").hexdigest()
