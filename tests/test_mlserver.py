"""A real MLServer, where JETTAGGER_MLSERVER_PYTHON names a Python that has mlserver and onnxruntime."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import awkward as ak
import numpy as np
import pytest

import jettagger as jt
from jettagger.errors import RemoteError
from jettagger.sessions.remote import Remote
from jettagger.testing import make_events

pytest.importorskip("tritonclient.http", reason="needs the extra 'remote'")
pytest.importorskip("tritonclient.grpc", reason="needs the extra 'remote'")
PYTHON = os.environ.get("JETTAGGER_MLSERVER_PYTHON", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="JETTAGGER_MLSERVER_PYTHON names no Python with mlserver")


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """Of a server of the network of the package; the client waits until it is there."""
    folder = tmp_path_factory.mktemp("mlserver")
    found = {"http": free_port(), "grpc": free_port()}
    graph = jt.load_bundle("tinyParT").graph
    assert graph is not None
    shutil.copy(graph.path, folder / "model.onnx")
    shutil.copy(Path(__file__).with_name("mlserver_runtime.py"), folder)
    (folder / "settings.json").write_text(
        json.dumps(
            {
                "host": "127.0.0.1",
                "http_port": found["http"],
                "grpc_port": found["grpc"],
                "metrics_port": free_port(),
                "parallel_workers": 0,
            }
        )
    )
    tensors = {
        kind: [{"name": tensor.name, "datatype": "FP32", "shape": [-1] * len(tensor.shape)} for tensor in some]
        for kind, some in (("inputs", graph.inputs), ("outputs", graph.outputs))
    }
    (folder / "model-settings.json").write_text(
        json.dumps(
            {
                "name": "tinyParT",
                "implementation": "mlserver_runtime.OnnxModel",
                "parameters": {"uri": "./model.onnx", "version": "v3"},
                **tensors,
            }
        )
    )
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    command = [PYTHON, "-c", "from mlserver.cli import main; main()", "start", "."]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            yield found
        finally:
            server.terminate()


def remote(protocol: str, ports: dict[str, int], name: str = "tinyParT") -> Remote:
    return Remote.at(f"{protocol}://127.0.0.1:{ports[protocol]}/{name}")


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_scores_are_the_same(protocol: str, ports: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Over HTTP the numbers go as JSON."""
    monkeypatch.setattr("jettagger.sessions.kserve.FIRST_CONTACT", 100.0)  # it starts slowly
    events = make_events(20, seed=4)
    tagger = jt.load_tagger("tinyParT", batch_size=16, remote=remote(protocol, ports))
    there, here = (one.run(events) for one in (tagger, jt.load_tagger("tinyParT", backend="onnxruntime", threads=1)))
    assert there.scores.fields == here.scores.fields
    for name in here.scores.fields:
        off = np.abs(ak.to_numpy(ak.drop_none(ak.flatten(there.scores[name] - here.scores[name]))))
        assert np.max(off, initial=0) < 1e-5, name
    assert there.report.servers == (f"{remote(protocol, ports).url} (version v3)",)
    assert there.report.requests > 1


def test_a_name_that_it_does_not_have(ports: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jettagger.sessions.kserve.FIRST_CONTACT", 100.0)
    tagger = jt.load_tagger("tinyParT", remote=remote("http", ports, "tinyPart"))
    with pytest.raises(RemoteError, match=r"HTTP 404: Model tinyPart not found; the server has no list of its models"):
        tagger.attach(make_events(2, seed=1))
