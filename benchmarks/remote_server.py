"""A server that speaks KServe v2 and answers a request that it knows at once: what it costs is the client.

    python -m benchmarks.remote_server MODEL

It prints a line of JSON with its ports: ``grpc``, ``http`` (numbers as bytes, as Triton takes them) and ``json``. The
network runs once for each request, so that the client's proof and scores are real.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Callable
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

import jettagger as jt
from jettagger.inference.padding import as_run
from jettagger.sessions import open_onnx
from jettagger.sessions.graph import Graph

HEADER = "Inference-Header-Content-Length"


class Network:
    """What a model gives for requests, kept by their content."""

    def __init__(self, name: str, graph: Graph) -> None:
        self.name, self.graph = name, graph
        self._session = open_onnx(graph, 1)
        self._answers: dict[bytes, Any] = {}
        self._lock = threading.Lock()

    def answer(self, request: bytes, made: Callable[[], Any]) -> Any:
        """The answer to a request, made where it is not known."""
        key = hashlib.sha1(request).digest()
        with self._lock:
            if key not in self._answers:
                self._answers[key] = made()
            return self._answers[key]

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Evaluate the network."""
        return self._session.run(inputs)

    def metadata(self) -> dict[str, Any]:
        """As a server describes it."""
        return {
            kind: [
                {
                    "name": tensor.name,
                    "datatype": "FP32",
                    "shape": [size if isinstance(size, int) else -1 for size in tensor.shape],
                }
                for tensor in tensors
            ]
            for kind, tensors in (("inputs", self.graph.inputs), ("outputs", self.graph.outputs))
        }


class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
    """gRPC."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        answer = service_pb2.ModelMetadataResponse(name=self.network.name)
        for kind, tensors in self.network.metadata().items():
            for tensor in tensors:
                getattr(answer, kind).add(**tensor)
        return answer

    def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        answer = service_pb2.ModelConfigResponse()
        answer.config.max_batch_size = 1024
        return answer

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        def made() -> Any:
            inputs = {
                tensor.name: np.frombuffer(raw, np.float32).reshape(list(tensor.shape))
                for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
            }
            answer = service_pb2.ModelInferResponse(model_name=self.network.name)
            for name, array in self.network.run(inputs).items():
                answer.outputs.add(name=name, datatype="FP32", shape=list(array.shape))
                answer.raw_output_contents.append(np.ascontiguousarray(array).tobytes())
            return answer

        return self.network.answer(b"".join(request.raw_input_contents), made)


class Handler(BaseHTTPRequestHandler):
    """HTTP."""

    protocol_version = "HTTP/1.1"
    network: Network
    binary: bool

    def reply(self, body: bytes, header: int | None = None) -> None:
        self.send_response(200)
        if header is not None:
            self.send_header(HEADER, str(header))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path == "/v2":
            self.reply(json.dumps({"extensions": ["binary_tensor_data"] if self.binary else []}).encode())
        elif self.path.endswith("config"):
            self.reply(json.dumps({"max_batch_size": 1024}).encode())
        else:
            self.reply(json.dumps(self.network.metadata()).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        size = int(self.headers.get(HEADER, len(body)))
        self.reply(*self.network.answer(body, lambda: self.made(json.loads(body[:size]), body[size:])))

    def made(self, request: Any, raw: bytes) -> tuple[bytes, int | None]:
        inputs, at = {}, 0
        for tensor in request["inputs"]:
            if self.binary:
                end = at + tensor["parameters"]["binary_data_size"]
                values, at = np.frombuffer(raw[at:end], np.float32), end
            else:
                values = np.array(tensor["data"], np.float32)
            inputs[tensor["name"]] = values.reshape(tensor["shape"])
        outputs: list[dict[str, Any]] = []
        parts = []
        for name, array in self.network.run(inputs).items():
            outputs.append({"name": name, "datatype": "FP32", "shape": list(array.shape)})
            if self.binary:
                outputs[-1]["parameters"] = {"binary_data_size": array.nbytes}
                parts.append(np.ascontiguousarray(array).tobytes())
            else:
                outputs[-1]["data"] = array.ravel().tolist()
        text = json.dumps({"model_name": self.network.name, "outputs": outputs}).encode()
        return b"".join([text, *parts]), len(text) if self.binary else None

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing is printed."""


def main(model: str) -> None:
    """Serve until standard input ends."""
    bundle = as_run(jt.load_bundle(model))
    graph = bundle.graph
    if graph is None:
        raise RuntimeError(f"{model} has no network")
    network = Network(bundle.name, graph)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=[("grpc.max_receive_message_length", -1)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(network), server)
    ports = {"grpc": server.add_insecure_port("127.0.0.1:0")}
    server.start()
    for name, binary in (("http", True), ("json", False)):
        handler = type("Handling", (Handler,), {"network": network, "binary": binary})
        web = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=web.serve_forever, daemon=True).start()
        ports[name] = web.server_address[1]
    print(json.dumps(ports), flush=True)
    sys.stdin.read()
    server.stop(None)


if __name__ == "__main__":
    main(*sys.argv[1:])
