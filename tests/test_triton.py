"""A real Triton server, where JETTAGGER_TRITON_PYTHON names a Python that has nvidia-pytriton and onnxruntime."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

import jettagger as jt
from jettagger.errors import RemoteError
from jettagger.testing import make_events

pytest.importorskip("tritonclient.grpc", reason="needs the extra 'remote'")
PYTHON = os.environ.get("JETTAGGER_TRITON_PYTHON", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="JETTAGGER_TRITON_PYTHON names no Python with nvidia-pytriton")


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    """Of a server of the network of the package."""
    found = {"http": free_port(), "grpc": free_port()}
    path = jt.load_bundle("tinyParT").require_weights()
    script = Path(__file__).with_name("triton_server.py")
    command = [PYTHON, str(script), str(path), "tinyParT", "64", str(found["http"]), str(found["grpc"])]
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as server:
        assert server.stdout is not None
        stop = threading.Timer(120, server.kill)
        stop.start()
        try:
            assert any(line.strip() == "ready" for line in server.stdout), "the server ended before it was ready"
            stop.cancel()
            yield found
        finally:
            stop.cancel()
            server.terminate()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_scores_are_the_same(protocol: str, ports: dict[str, int]) -> None:
    """The same library runs there and here, in batches of another size."""
    events = make_events(20, seed=4)

    def scores(**options: Any) -> Any:
        tagger = jt.load_tagger("tinyParT", batch_size=16, **options)
        return tagger.attach(events).FatJet

    there = scores(remote=f"{protocol}://127.0.0.1:{ports[protocol]}/tinyParT")
    here = scores(backend="onnxruntime", threads=1)
    for name in here.fields:
        if name.startswith("tinyParT_"):
            largest = np.max(np.abs(ak.to_numpy(ak.drop_none(ak.flatten(there[name] - here[name])))), initial=0)
            assert largest < 1e-5, name


def test_a_name_that_it_does_not_have(ports: dict[str, int]) -> None:
    tagger = jt.load_tagger("tinyParT", remote=f"grpc://127.0.0.1:{ports['grpc']}/tinyPart")
    with pytest.raises(RemoteError, match="NOT_FOUND: Request for unknown model: 'tinyPart'"):
        tagger.attach(make_events(2, seed=1))
