"""A server of models in this process, over gRPC and HTTP, that can be told to fail."""

from __future__ import annotations

import json
import pickle
import re
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from pages import blocks

import jettagger as jt
from jettagger.bundles.registry import load_bundle
from jettagger.errors import RemoteError
from jettagger.inference.sample_jets import proof_jets
from jettagger.sessions import open_onnx
from jettagger.sessions.kserve import KServeSession
from jettagger.sessions.remote import Remote
from jettagger.testing import make_events
from jettagger.types import Array

grpc = pytest.importorskip("grpc", reason="needs the extra 'remote'")
pytest.importorskip("tritonclient.grpc", reason="needs the extra 'remote'")
pytest.importorskip("tritonclient.http", reason="needs the extra 'remote'")

from tritonclient.grpc import service_pb2, service_pb2_grpc  # noqa: E402

BUNDLE = load_bundle("tinyParT")
GRAPH = BUNDLE.graph
assert GRAPH is not None
INPUTS = proof_jets(BUNDLE)[1]
EXPECTED = open_onnx(GRAPH, 1).run(INPUTS)


class Behaviour:
    """What the next requests meet; empty: an answer."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.requests = 0
        self.limit = 4
        self.together = 0
        self.most_together = 0
        self.lock = threading.Lock()
        self.factor = 1.0  # of another network's outputs
        self.version = "1"
        self.meet = False  # the first request waits until there is another one
        self.met = threading.Event()

    def next(self) -> str:
        with self.lock:
            self.requests += 1
            return self.faults.pop(0) if self.faults else ""

    def answer(self, inputs: dict[str, Array]) -> dict[str, Array]:
        assert GRAPH is not None
        with self.lock:
            self.together += 1
            self.most_together = max(self.most_together, self.together)
            if self.together > 1:
                self.met.set()
        try:
            if self.meet:
                self.met.wait(30)
            factor = np.float32(self.factor)
            return {name: factor * array for name, array in open_onnx(GRAPH, 1).run(inputs).items()}
        finally:
            with self.lock:
                self.together -= 1


class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
    """The parts of KServe v2 that a client asks for."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour

    def ModelMetadata(self, request: Any, context: Any) -> Any:
        if request.name != "tinyParT":
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{request.name}' is not found")
        answer = service_pb2.ModelMetadataResponse(name=request.name, versions=["1"], platform="onnx")
        for kind, tensors in (("inputs", GRAPH.inputs), ("outputs", GRAPH.outputs)):
            for tensor in tensors:
                getattr(answer, kind).add(name=tensor.name, datatype="FP32", shape=[-1])
        return answer

    def ModelConfig(self, request: Any, context: Any) -> Any:
        answer = service_pb2.ModelConfigResponse()
        answer.config.max_batch_size = self.behaviour.limit
        return answer

    def RepositoryIndex(self, request: Any, context: Any) -> Any:
        answer = service_pb2.RepositoryIndexResponse()
        answer.models.add(name="tinyParT", version="1", state="READY")
        return answer

    def ModelInfer(self, request: Any, context: Any) -> Any:
        fault = self.behaviour.next()
        if fault == "lost":
            context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset")
        if fault == "refused":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "unexpected shape for input 'pf_mask'")
        while fault == "slow" and context.is_active():  # until nobody waits any more
            time.sleep(0.02)
        inputs = {
            tensor.name: np.frombuffer(raw, np.float32).reshape(list(tensor.shape))
            for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        }
        answer = service_pb2.ModelInferResponse(model_name=request.model_name, model_version=self.behaviour.version)
        for name, array in self.behaviour.answer(inputs).items():
            array = array[:-1] if fault == "shape" else array
            answer.outputs.add(name=name, datatype="FP32", shape=list(array.shape))
            answer.raw_output_contents.append(np.ascontiguousarray(array).tobytes())
        return answer


class Handler(BaseHTTPRequestHandler):
    """KServe v2 over HTTP with numbers as JSON, as MLServer has it."""

    protocol_version = "HTTP/1.1"
    behaviour: Behaviour

    def reply(self, content: Any, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path == "/v2":
            self.reply({"name": "server", "version": "1", "extensions": []})
        elif self.path.startswith("/v2/models/tinyParT") and not self.path.endswith("config"):
            self.reply(
                {
                    "name": "tinyParT",
                    "inputs": [{"name": tensor.name, "datatype": "FP32", "shape": [-1]} for tensor in GRAPH.inputs],
                    "outputs": [{"name": tensor.name, "datatype": "FP32", "shape": [-1]} for tensor in GRAPH.outputs],
                }
            )
        else:
            self.reply({"error": f"Model {self.path} not found"}, 404)

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fault = self.behaviour.next()
        if fault == "lost":
            self.close_connection = True
            self.connection.close()
            return
        if fault == "busy":
            self.reply({"error": "overloaded"}, 503)
            return
        inputs = {
            tensor["name"]: np.array(tensor["data"], np.float32).reshape(tensor["shape"])
            for tensor in request["inputs"]
        }
        outputs = [
            {"name": name, "datatype": "FP32", "shape": list(array.shape), "data": array.ravel().tolist()}
            for name, array in self.behaviour.answer(inputs).items()
        ]
        self.reply({"model_name": "tinyParT", "outputs": outputs})

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing is printed."""


@pytest.fixture
def behaviour() -> Behaviour:
    return Behaviour()


@pytest.fixture
def grpc_url(behaviour: Behaviour) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(behaviour), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"grpc://127.0.0.1:{port}/tinyParT"
    server.stop(None).wait()


@pytest.fixture
def http_url(behaviour: Behaviour) -> Iterator[str]:
    handler = type("Handling", (Handler,), {"behaviour": behaviour})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/tinyParT"
    server.shutdown()
    server.server_close()
    thread.join()


def opened(url: str, **options: Any) -> KServeSession:
    assert GRAPH is not None
    return KServeSession(GRAPH, Remote.at(url, **options))


def same(answers: dict[str, Array]) -> bool:
    """Whether they are those of the network, but for batches of another size."""
    return all(np.allclose(answers[name], EXPECTED[name], rtol=1e-5, atol=1e-6) for name in EXPECTED)


def test_over_grpc(grpc_url: str, behaviour: Behaviour) -> None:
    session = opened(grpc_url)
    assert session.largest_batch == 4
    assert same(session.run(INPUTS))
    assert behaviour.requests == 2  # six jets, four at a time


def test_over_http_as_json(http_url: str, behaviour: Behaviour) -> None:
    session = opened(http_url)
    assert session.largest_batch == 0
    answers = session.run(INPUTS)
    assert all(np.array_equal(answers[name], EXPECTED[name]) for name in EXPECTED)
    assert behaviour.requests == 1


@pytest.mark.parametrize(
    ("fixture", "faults"),
    [("grpc_url", ["lost", "lost"]), ("grpc_url", ["slow"]), ("http_url", ["lost"]), ("http_url", ["busy", "lost"])],
)
def test_requests_that_were_lost_are_sent_again(
    fixture: str, faults: list[str], behaviour: Behaviour, request: pytest.FixtureRequest
) -> None:
    session = opened(request.getfixturevalue(fixture), timeout=3.0 if "slow" in faults else 60.0)
    behaviour.faults = list(faults)
    assert same(session.run(INPUTS))
    assert session.traffic.resent == len(faults)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("refused", "failed at attempt 1 .* INVALID_ARGUMENT: unexpected shape for input 'pf_mask'"),
        ("shape", "gave float32.* expected float32 for 4 jets"),
    ],
)
def test_what_is_wrong_is_not_asked_again(fault: str, said: str, grpc_url: str, behaviour: Behaviour) -> None:
    session = opened(grpc_url)
    behaviour.faults = [fault]
    with pytest.raises(RemoteError, match=said):
        session.run(INPUTS)
    assert session.traffic.resent == 0


def test_wrong_names(grpc_url: str, http_url: str) -> None:
    with pytest.raises(RemoteError, match=r"unknown model.*nearest: tinyParT.*the server has tinyParT \(version 1\)"):
        opened(grpc_url.replace("tinyParT", "tinyPart"))
    with pytest.raises(RemoteError, match=r"HTTP 404.*the server has no list of its models"):
        opened(http_url.replace("tinyParT", "tinyPart"))


@pytest.mark.parametrize(("scheme", "other"), [("grpc", "http_url"), ("http", "grpc_url")])
def test_the_port_of_the_other_protocol(scheme: str, other: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(other).replace(other[:4], scheme, 1)
    with pytest.raises(RemoteError, match=f"is this its {scheme} port"):
        opened(url, patience=0.5, timeout=2.0)


def test_a_server_that_is_started_anew(behaviour: Behaviour) -> None:
    """Nothing is lost while it is away."""

    def start(port: int) -> Any:
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=2), options=[("grpc.so_reuseport", 0)])
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(behaviour), server)
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        return server, bound

    server, port = start(0)
    session = opened(f"grpc://127.0.0.1:{port}/tinyParT")
    assert same(session.run(INPUTS))
    server.stop(None).wait()
    restarted: list[Any] = []  # a server ends with the last reference to it

    def restart() -> None:
        end = time.monotonic() + 120
        while not session.traffic.resent and time.monotonic() < end:
            time.sleep(0.02)
        restarted.append(start(port))

    later = threading.Thread(target=restart, daemon=True)
    later.start()
    assert same(session.run(INPUTS))
    assert session.traffic.resent > 0
    later.join()
    restarted[0][0].stop(None).wait()


def test_a_remote_is_a_value() -> None:
    remote = Remote.at("grpc://gpu7:8001/net", local=True)
    assert pickle.loads(pickle.dumps(remote)) == remote


EVENTS = make_events(6, seed=3)

#: nobody answers there
NOWHERE = "grpc://127.0.0.1:9/tinyParT"


@pytest.fixture
def here() -> Any:
    """Scores of the same jets by the network in this process."""
    return jt.load_tagger("tinyParT", backend="onnxruntime", threads=1).attach(EVENTS).FatJet


def equal(fat_jets: Any, here: Any) -> bool:
    """Whether scores agree but for batches of another size; jets that were not scored are the same."""
    names = [name for name in here.fields if name.startswith("tinyParT_")]
    assert names
    return all(ak.almost_equal(fat_jets[name], here[name], rtol=1e-4, atol=1e-5) for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("fixture", ["grpc_url", "http_url"])
def test_a_tagger_of_a_server(fixture: str, here: Any, behaviour: Behaviour, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(fixture)
    tagger = jt.load_tagger("tinyParT", remote=url)
    assert equal(tagger.attach(EVENTS).FatJet, here)
    first = behaviour.requests
    copy = pickle.loads(pickle.dumps(tagger))
    assert copy.options.remote == url
    assert equal(copy.attach(EVENTS).FatJet, here)
    assert 0 < behaviour.requests - first < first  # the first time the server was proven, too


@pytest.mark.slow
def test_the_environment_names_a_server(
    grpc_url: str, here: Any, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JETTAGGER_REMOTE", grpc_url.removesuffix("/tinyParT"))
    tagger = jt.load_tagger("tinyParT")
    monkeypatch.delenv("JETTAGGER_REMOTE")  # a worker need not have it
    assert equal(pickle.loads(pickle.dumps(tagger)).attach(EVENTS).FatJet, here)
    assert behaviour.requests > 0
    monkeypatch.setenv("JETTAGGER_REMOTE", "grpc://nowhere:1")
    assert equal(jt.load_tagger("tinyParT", remote=False).attach(EVENTS).FatJet, here)
    assert jt.load_tagger("tinyParT", backend="onnxruntime").options.remote is None


def test_requests_are_few_and_no_larger_than_asked_for(grpc_url: str, behaviour: Behaviour) -> None:
    """A request costs more than padding does, so jets of unlike length go together; ``batch_size`` limits them."""
    behaviour.limit = 0
    events = make_events(40, seed=5)
    report = jt.load_tagger("tinyParT", remote=grpc_url).run(events).report
    here = jt.load_tagger("tinyParT", threads=1).run(events).report
    assert report.scored == here.scored > 70
    assert 0 < 5 * report.requests <= len(list(jt.make_inputs(BUNDLE, events)))  # as they are cut for this machine
    assert report.slots > here.slots
    small = jt.load_tagger("tinyParT", remote=grpc_url, batch_size=10).run(events).report
    assert small.requests >= -(-small.scored // 10)


def test_batches_are_on_their_way_together(grpc_url: str, here: Any, behaviour: Behaviour) -> None:
    tagger = jt.load_tagger("tinyParT", remote=Remote.at(grpc_url, in_flight=3), batch_size=4)
    assert tagger.session  # proven, one request after the other
    behaviour.meet = True
    assert equal(tagger.attach(EVENTS).FatJet, here)
    assert 1 < behaviour.most_together <= 3


@pytest.mark.parametrize("local", [False, True])
def test_another_network_is_never_believed(local: bool, grpc_url: str, behaviour: Behaviour) -> None:
    behaviour.factor = 1.01
    tagger = jt.load_tagger("tinyParT", remote=Remote.at(grpc_url, local=local))
    with pytest.raises(RemoteError, match=r"does not give the outputs of 'tinyParT' .* times the tolerance"):
        tagger.attach(EVENTS)


@pytest.mark.slow
def test_this_machine_stands_in_where_it_is_allowed(grpc_url: str, here: Any, behaviour: Behaviour) -> None:
    tagger = jt.load_tagger("tinyParT", remote=Remote.at(grpc_url, local=True))
    assert equal(tagger.attach(EVENTS).FatJet, here)
    behaviour.faults = ["refused"] * 100
    with pytest.warns(RuntimeWarning, match=r"runs on this machine: grpc://.* INVALID_ARGUMENT"):
        assert equal(tagger.attach(EVENTS).FatJet, here)
    nowhere = Remote.at("grpc://127.0.0.1:9", "tinyParT", local=True, patience=0.2)
    absent = jt.load_tagger("tinyParT", remote=nowhere)
    with pytest.warns(RuntimeWarning, match=r"runs on this machine: grpc://127\.0\.0\.1:9/"):
        assert equal(absent.attach(EVENTS).FatJet, here)


@pytest.mark.parametrize(("fixture", "version"), [("grpc_url", " (version 1)"), ("http_url", "")])
def test_a_report_says_what_the_server_did(
    fixture: str, version: str, behaviour: Behaviour, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(fixture)
    tagger = jt.load_tagger("tinyParT", remote=url, batch_size=4)
    assert tagger.session  # proven: what that asks for is no part of a run
    before = behaviour.requests
    behaviour.faults = ["lost"]
    report = tagger.run(EVENTS).report
    assert (report.requests + report.resent, report.resent) == (behaviour.requests - before, 1)
    assert report.servers == (url + version,)
    assert report.runs_here == 0
    text = report._repr_html_()
    assert url in text
    assert "requests that were sent again" in text
    assert jt.load_tagger("tinyParT").run(EVENTS).report.servers == ()


def test_runs_at_the_same_time_are_counted_apart(grpc_url: str, behaviour: Behaviour) -> None:
    """Threads of a dask worker share the session of a process."""
    tagger = jt.load_tagger("tinyParT", remote=grpc_url, batch_size=4)
    alone = tagger.run(EVENTS).report
    before = behaviour.requests
    with futures.ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(lambda _: tagger.run(EVENTS).report, range(6)))
    assert [report.requests for report in reports] == [alone.requests] * 6
    assert behaviour.requests - before == 6 * alone.requests
    total = sum(reports, jt.Report())
    assert (total.requests, total.servers) == (6 * alone.requests, alone.servers)


def test_runs_in_the_place_of_a_server_are_counted(grpc_url: str, behaviour: Behaviour) -> None:
    tagger = jt.load_tagger("tinyParT", remote=Remote.at(grpc_url, local=True, in_flight=1), batch_size=4)
    whole = tagger.run(EVENTS).report
    assert (whole.runs_here, whole.requests > 2) == (0, True)
    behaviour.faults = ["", "refused"]
    with pytest.warns(RuntimeWarning, match="runs on this machine"):
        report = tagger.run(EVENTS).report
    assert (report.requests, report.runs_here) == (2, whole.requests - 1)
    again = tagger.run(EVENTS).report
    assert (again.requests, again.runs_here, again.servers) == (0, whole.requests, ())
    absent = jt.load_tagger("tinyParT", batch_size=4, remote=Remote.at(NOWHERE, local=True, patience=0.2, in_flight=1))
    with pytest.warns(RuntimeWarning, match="runs on this machine"):
        assert absent.run(EVENTS).report.runs_here == whole.requests


def test_a_model_that_is_replaced_is_not_believed(grpc_url: str, behaviour: Behaviour) -> None:
    """Only the version that was there at first was compared with the file."""
    tagger = jt.load_tagger("tinyParT", remote=grpc_url)
    assert tagger.run(EVENTS).report.servers == (f"{grpc_url} (version 1)",)
    behaviour.version = "2"
    with pytest.raises(RemoteError, match=r"answered with version 2 of the model, expected 1 .*/versions/1 stays"):
        tagger.run(EVENTS)


def test_scores_of_the_cache_ask_no_server(grpc_url: str, behaviour: Behaviour, tmp_path: Path) -> None:
    tagger = jt.load_tagger("tinyParT", remote=grpc_url, cache=tmp_path)
    assert tagger.run(EVENTS).report.requests > 0
    before = behaviour.requests
    report = tagger.run(EVENTS).report
    assert (report.requests, report.servers, report.cached) == (0, (), report.scored)
    assert behaviour.requests == before


def test_the_command_says_what_the_server_did(
    grpc_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from jettagger.cli import main
    from jettagger.testing import write_pfnano

    write_pfnano(tmp_path / "events.root", 6, seed=3)
    arguments = ["tag", str(tmp_path / "events.root"), "--model", "tinyParT", "-o", str(tmp_path / "scores.parquet")]
    assert main([*arguments, "--remote", grpc_url]) == 0
    said = capsys.readouterr()
    assert re.search(r"requests to the server\W+[1-9]", said.out + said.err)
    assert f"{grpc_url} (version 1)" in said.out + said.err


def test_without_a_server_nothing_is_scored() -> None:
    tagger = jt.load_tagger("tinyParT", remote=Remote.at("grpc://127.0.0.1:9", "tinyParT", patience=0.2))
    with pytest.raises(RemoteError, match=r"grpc://127.0.0.1:9/tinyParT failed at attempt \d+ for its description"):
        tagger.attach(EVENTS)


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_on_dask(scheduler: str, grpc_url: str, here: Any) -> None:
    dask = pytest.importorskip("dask", reason="needs the extra 'dask'")
    tagger = jt.load_tagger("tinyParT", remote=grpc_url)
    pieces = [EVENTS[:3], EVENTS[3:]]
    tasks = [dask.delayed(attached)(tagger, piece) for piece in pieces]
    jets = ak.concatenate(dask.compute(*tasks, scheduler=scheduler, num_workers=2))
    assert equal(jets, here)


def test_the_page_runs(grpc_url: str, here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With this server and the network of the package in the place of those that it names."""
    page = (Path(__file__).parent.parent / "docs" / "remote.md").read_text(encoding="utf-8")
    (block,) = blocks("docs/remote.md", "python")
    block = block.replace('"grpc://gpu7:8001/inclParTMDV1"', repr(grpc_url)).replace("inclParTMDV1", "tinyParT")
    names: dict[str, Any] = {"events": EVENTS}
    exec(compile(block, "docs/remote.md", "exec"), names)
    above = here.pt > 300
    assert equal(names["events"].FatJet, ak.mask(here, above))
    remote = re.search(r"`(Remote\.at\(.*?\))`", page)
    assert remote is not None
    names["Remote"] = Remote
    exec(f"remote = {remote[1]}", names)
    assert names["remote"].patience == 300


def attached(tagger: jt.Tagger, events: Any) -> Any:
    """The jets with their scores, as a process gives them back."""
    return ak.to_packed(tagger.attach(events).FatJet)
