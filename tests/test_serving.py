"""Models as folders that a Triton server loads."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import onnx
import pytest

from jettagger.bundles.bundle import Bundle
from jettagger.bundles.registry import load_bundle
from jettagger.bundles.serving import serve_config, write_serving
from jettagger.cli import main
from jettagger.errors import MissingModelFile, OutputError

NAMES = ("tinyParT", "inclParTToyV1")


def parsed(text: str) -> Any:
    """As the server reads it."""
    text_format = pytest.importorskip("google.protobuf.text_format", reason="needs the extra 'remote'")
    messages = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="needs the extra 'remote'")
    return text_format.Parse(text, messages.ModelConfig())


@pytest.mark.parametrize("name", NAMES)
def test_the_configuration_is_that_of_the_network(name: str) -> None:
    bundle = load_bundle(name)
    config = parsed(serve_config(bundle, largest_batch=256))
    network = onnx.load(str(bundle.require_weights()))
    for entries, tensors in ((config.input, network.graph.input), (config.output, network.graph.output)):
        assert [entry.name for entry in entries] == [tensor.name for tensor in tensors]
        for entry, tensor in zip(entries, tensors, strict=True):
            axes = tensor.type.tensor_type.shape.dim
            assert list(entry.dims) == [axis.dim_value or -1 for axis in axes[1:]]
            assert entry.data_type == 11  # TYPE_FP32
    assert (config.name, config.backend, config.max_batch_size) == (name, "onnxruntime", 256)
    assert config.HasField("dynamic_batching")


def test_a_fixed_number_of_jets_is_no_batch_axis(tmp_path: Path) -> None:
    source = load_bundle("tinyParT")
    network = onnx.load(str(source.require_weights()))
    for tensor in (*network.graph.input, *network.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_value = 3
    (tmp_path / "preprocess.json").write_bytes((source.folder / "preprocess.json").read_bytes())
    onnx.save(network, str(tmp_path / "model.onnx"))
    config = parsed(serve_config(Bundle.from_folder(tmp_path)))
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert {entry.dims[0] for entry in (*config.input, *config.output)} == {3}


def test_the_folder_is_what_a_server_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "serve-config", "tinyParT", "-o", str(tmp_path / "repo"), "--name", "tiny"]) == 0
    folder = tmp_path / "repo" / "tiny"
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        "1/model.onnx",
        "config.pbtxt",
    ]
    bundle = load_bundle("tinyParT")
    assert bundle.graph is not None
    assert hashlib.sha256((folder / "1" / "model.onnx").read_bytes()).hexdigest() == bundle.graph.sha256
    assert (folder / "config.pbtxt").read_text() == serve_config(bundle, "tiny")
    assert "grpc://HOST:8001/tiny" in capsys.readouterr().out


def test_weights_in_files_beside_the_network_go_along(tmp_path: Path) -> None:
    source = load_bundle("tinyParT")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "preprocess.json").write_bytes((source.folder / "preprocess.json").read_bytes())
    onnx.save(
        onnx.load(str(source.require_weights())),
        str(tmp_path / "model" / "model.onnx"),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    folder = write_serving(Bundle.from_folder(tmp_path / "model"), tmp_path / "repo")
    assert (folder / "1" / "weights.bin").read_bytes() == (tmp_path / "model" / "weights.bin").read_bytes()


def test_what_is_there_stays(tmp_path: Path) -> None:
    bundle = load_bundle("tinyParT")
    folder = write_serving(bundle, tmp_path, largest_batch=8)
    with pytest.raises(OutputError, match="exists"):
        write_serving(bundle, tmp_path)
    assert "max_batch_size: 8" in (folder / "config.pbtxt").read_text()
    write_serving(bundle, tmp_path, force=True)
    assert "max_batch_size: 1024" in (folder / "config.pbtxt").read_text()
    with pytest.raises(OutputError, match="cannot be the name of a model on a server"):
        write_serving(bundle, tmp_path, name="../elsewhere")


def test_a_model_without_weights_is_refused(tmp_path: Path) -> None:
    source = load_bundle("tinyParT")
    (tmp_path / "preprocess.json").write_bytes((source.folder / "preprocess.json").read_bytes())
    (tmp_path / "bundle.json").write_bytes((source.folder / "bundle.json").read_bytes())
    with pytest.raises(MissingModelFile):
        write_serving(Bundle.from_folder(tmp_path), tmp_path / "repo")
    assert not (tmp_path / "repo").exists()
