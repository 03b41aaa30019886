"""Networks on servers: addresses, requests that are sent again, other networks behind a name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from jettagger.bundles.registry import load_bundle
from jettagger.errors import ConfigError, RemoteError
from jettagger.inference.sample_jets import proof_jets
from jettagger.sessions import Traffic, flat_columns, kserve, open_onnx
from jettagger.sessions.graph import Graph
from jettagger.sessions.kserve import KServeSession, RequestFault
from jettagger.sessions.remote import Remote
from jettagger.types import Array


def graph_of(name: str = "tinyParT") -> Graph:
    graph = load_bundle(name).graph
    assert graph is not None
    return graph


GRAPH = graph_of()
INPUTS = proof_jets(load_bundle("tinyParT"))[0]


def described(graph: Graph) -> dict[str, Any]:
    """What a server says of a network."""
    return {
        kind: [{"name": tensor.name, "datatype": "FP32", "shape": [-1]} for tensor in tensors]
        for kind, tensors in (("inputs", graph.inputs), ("outputs", graph.outputs))
    }


class Server:
    """Answers with the network of the package; goes through a list of faults first."""

    def __init__(
        self, faults: tuple[RequestFault, ...] = (), limit: int = 0, served: dict[str, Any] | None = None
    ) -> None:
        self.faults, self.limit = list(faults), limit
        self.served = described(GRAPH) if served is None else served
        self.batches: list[int] = []
        self.connections = 0
        self.version = ""

    def connect(self, remote: Remote) -> Server:
        self.connections += 1
        return self

    def metadata(self) -> dict[str, Any]:
        return self.served

    def largest_batch(self) -> int:
        return self.limit

    def models(self) -> list[str]:
        return ["tinyParT (version 1)", "particlenet (version 2)"]

    def infer(self, inputs: Mapping[str, Array], outputs: list[str]) -> tuple[dict[str, Array], str]:
        if self.faults:
            raise self.faults.pop(0)
        self.batches.append(len(next(iter(inputs.values()))))
        found = open_onnx(GRAPH, 1).run(inputs)
        return {name: found[name] for name in outputs}, self.version


BUSY = RequestFault("UNAVAILABLE: not now", passing=True)


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits are noted down and time passes by them alone."""
    now, waits = [0.0], []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(kserve, "sleep", sleep)
    monkeypatch.setattr(kserve, "monotonic", lambda: now[0])
    return waits


def session(server: Server, **options: Any) -> KServeSession:
    return KServeSession(GRAPH, Remote.at("grpc://gpu7:8001/tinyParT", **options), server.connect)


@pytest.mark.parametrize(
    ("url", "address", "model", "version", "protocol", "encrypted"),
    [
        ("grpc://gpu7:8001/net", "gpu7:8001", "net", "", "grpc", False),
        ("grpcs://gpu7:443/net/versions/3", "gpu7:443", "net", "3", "grpc", True),
        ("http://127.0.0.1:8000/particle%20net/", "127.0.0.1:8000", "particle net", "", "http", False),
        ("https://[::1]:8000", "[::1]:8000", "fallback", "", "http", True),
    ],
)
def test_addresses(url: str, address: str, model: str, version: str, protocol: str, encrypted: bool) -> None:
    remote = Remote.at(url, "fallback")
    assert (remote.address, remote.model, remote.version) == (address, model, version)
    assert (remote.protocol, remote.encrypted) == (protocol, encrypted)


def test_an_address_is_read_as_it_is_written() -> None:
    for url in ("grpc://gpu7:8001/net", "https://gpu7:8000/net/versions/2"):
        assert Remote.at(Remote.at(url).url) == Remote.at(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("gpu7:8001/net", "scheme 'gpu7'"),
        ("grcp://gpu7:8001/net", "scheme 'grcp' .nearest: grpc, grpcs"),
        ("grpc://gpu7/net", "without host or port"),
        ("grpc://:8001/net", "without host or port"),
        ("grpc://gpu7:port/net", "Port could not be cast"),
        ("grpc://gpu7:8001", "without the model's name"),
        ("grpc://gpu7:8001/a/b", "without the model's name"),
        ("grpc://user:word@gpu7:8001/net", "with more than host, port and model"),
        ("grpc://gpu7:8001/net?version=2", "with more than host, port and model"),
    ],
)
def test_addresses_that_are_none(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Remote.at(url)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"timeout": 0}, "timeout of a remote model is 0, expected seconds above 0"),
        ({"patience": "long"}, "patience of a remote model is 'long'"),
        ({"in_flight": 0}, "in_flight of a remote model is 0"),
        ({"ca": "ca.pem"}, "ca is for a connection with TLS"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Remote.at("grpc://gpu7:8001/net", **options)


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(ConfigError, match="must be given together, got only the certificate"):
        Remote.at("grpcs://gpu7:8001/net", certificate="c.pem")


def test_the_answers_are_those_of_the_network() -> None:
    server = Server()
    answers, expected = session(server).run(INPUTS), open_onnx(GRAPH, 1).run(INPUTS)
    assert list(answers) == list(expected)
    assert all(np.array_equal(answers[name], expected[name]) for name in expected)
    assert server.batches == [6]


@pytest.mark.parametrize(("limit", "batches"), [(4, [4, 2]), (6, [6]), (1, [1] * 6)])
def test_no_request_is_larger_than_the_server_takes(limit: int, batches: list[int]) -> None:
    server = Server(limit=limit)
    answers, expected = session(server).run(INPUTS), open_onnx(GRAPH, 1).run(INPUTS)
    assert server.batches == batches
    for name in expected:
        np.testing.assert_allclose(answers[name], expected[name], rtol=1e-5, atol=1e-6)


def test_lost_requests_are_sent_again(no_waits: list[float]) -> None:
    server = Server((BUSY,) * 4)
    remote = session(server)
    expected = open_onnx(GRAPH, 1).run(INPUTS)
    assert all(np.array_equal(array, expected[name]) for name, array in remote.run(INPUTS).items())
    assert remote.traffic.resent == len(no_waits) == 4
    for number, wait in enumerate(no_waits):  # jitter: between half and all of a wait that doubles
        assert 0.05 * 2**number <= wait <= 0.1 * 2**number
    assert server.connections == 5  # a connection that failed is not used again


def test_patience_has_an_end(no_waits: list[float]) -> None:
    server = Server((BUSY,) * 1000)
    with pytest.raises(RemoteError, match=r"grpc://gpu7:8001/tinyParT failed at attempt \d+ for 6 jets .*given up"):
        session(server, patience=20.0).run(INPUTS)
    assert 15 < sum(no_waits) <= 20
    assert max(no_waits) <= 5


def test_a_refusal_is_final(no_waits: list[float]) -> None:
    server = Server((RequestFault("INVALID_ARGUMENT: unexpected shape"),))
    with pytest.raises(RemoteError, match=r"failed at attempt 1 for 6 jets .* INVALID_ARGUMENT: unexpected shape"):
        session(server).run(INPUTS)
    assert no_waits == []


def test_a_model_that_is_not_there_is_told_from_those_that_are() -> None:
    server = Server((RequestFault("NOT_FOUND: no tinyPart", unknown=True),))
    with pytest.raises(RemoteError, match=r"the server has tinyParT \(version 1\), particlenet \(version 2\)"):
        session(server).run(INPUTS)


@pytest.mark.usefixtures("no_waits")
def test_a_server_that_never_answers_is_given_up_early() -> None:
    def connect(remote: Remote) -> Any:
        raise BUSY

    with pytest.raises(RemoteError, match=r"given up after 15 s\. Is the server up, and is this its grpc port"):
        KServeSession(GRAPH, Remote.at("grpc://gpu7:8001/tinyParT"), connect)


def without(served: dict[str, Any], kind: str) -> dict[str, Any]:
    return served | {kind: served[kind][1:]}


def more(served: dict[str, Any]) -> dict[str, Any]:
    return served | {"inputs": [*served["inputs"], {"name": "jet_pt", "datatype": "FP32", "shape": [-1]}]}


def integers(served: dict[str, Any]) -> dict[str, Any]:
    return served | {"inputs": [{**entry, "datatype": "INT64"} for entry in served["inputs"]]}


@pytest.mark.parametrize(
    "change", [lambda served: without(served, "inputs"), lambda served: without(served, "outputs"), more, integers]
)
def test_another_network_behind_the_name(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    with pytest.raises(RemoteError, match="the server has another network of that name"):
        session(Server(served=change(described(GRAPH))))


@pytest.mark.parametrize("wrong", ["rows", "dtype", "missing"])
def test_answers_of_another_kind(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    infer = server.infer

    def other(inputs: Mapping[str, Array], outputs: list[str]) -> tuple[dict[str, Array], str]:
        found, version = infer(inputs, outputs)
        name = outputs[0]
        if wrong == "missing":
            return {key: array for key, array in found.items() if key != name}, version
        return found | {name: found[name][:-1] if wrong == "rows" else found[name].astype(np.float64)}, version

    monkeypatch.setattr(server, "infer", other)
    with pytest.raises(RemoteError, match="expected float32 for 6 jets"):
        session(server).run(INPUTS)


def test_other_runs_wait_on_where_one_is_abandoned() -> None:
    """Tasks of a dask worker share the session; an error in one is no reason to give up what another asks for."""
    server = Server((BUSY,) * 3)
    base, traffic = session(server), Traffic()
    one, other = base.for_run(Traffic()), base.for_run(traffic)
    one.abandon()
    assert list(other.run(INPUTS)) == list(open_onnx(GRAPH, 1).run(INPUTS))
    assert (traffic.requests, traffic.resent, list(traffic.servers)) == (1, 3, ["grpc://gpu7:8001/tinyParT"])
    assert (base.traffic.requests, base.traffic.resent) == (0, 0)


def test_answers_of_another_version_are_refused() -> None:
    server = Server()
    remote = session(server)
    for version in ("", "3", "", "3"):  # a server that does not say it
        server.version = version
        remote.run(INPUTS)
    assert list(remote.traffic.servers) == ["grpc://gpu7:8001/tinyParT", "grpc://gpu7:8001/tinyParT (version 3)"]
    server.version = "4"
    with pytest.raises(RemoteError, match="answered with version 4 of the model, expected 3"):
        remote.run(INPUTS)


def test_a_thread_has_a_connection_of_its_own() -> None:
    server = Server()
    remote = session(server)
    threads = [threading.Thread(target=remote.run, args=(INPUTS,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.connections == 4
    assert server.batches == [6, 6, 6]


def test_threads_keep_their_connections() -> None:
    server = Server()
    remote = session(server, in_flight=1)
    for _ in range(3):
        remote.pool.submit(remote.run, INPUTS).result()
    assert server.connections == 2  # of this thread, which asked for the description, and of the other one


def test_what_nobody_waits_for_is_not_asked_again() -> None:
    server = Server((BUSY,) * 1000)
    remote = session(server)
    answer = remote.pool.submit(remote.run, INPUTS)
    while not remote.traffic.resent:
        assert not answer.done()
    remote.abandon()
    with pytest.raises(RemoteError, match="UNAVAILABLE: not now"):
        answer.result(timeout=20)  # of the 120 s that it would be asked for
    server.faults.clear()
    assert list(remote.run(INPUTS)) == list(open_onnx(GRAPH, 1).run(INPUTS))


@pytest.mark.parametrize(("shape", "right"), [((6,), True), ((6, 3), True), ((1, 6, 3), True), ((5, 6), False)])
def test_the_axis_of_the_jets(shape: tuple[int, ...], right: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    name = GRAPH.outputs[0].name
    infer = server.infer
    monkeypatch.setattr(server, "infer", lambda *given: (infer(*given)[0] | {name: np.zeros(shape, np.float32)}, ""))
    remote = session(server)
    if right:
        assert remote.run(INPUTS)[name].shape == shape
    else:
        with pytest.raises(RemoteError, match=r"gave float32\[5, 6\] for .* expected float32 for 6 jets"):
            remote.run(INPUTS)


@pytest.mark.parametrize("limit", [1, 2, 4, 5, 6, 0])
@pytest.mark.parametrize("leading", [False, True])
def test_parts_of_a_request_are_joined_along_the_axis_of_the_jets(
    limit: int, leading: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For outputs of shape [jets, 1, columns] and [1, jets, columns]; also where the last part has one jet."""
    server = Server(limit=limit)
    name = GRAPH.outputs[0].name
    infer = server.infer

    def reshaped(inputs: Mapping[str, Array], outputs: list[str]) -> tuple[dict[str, Array], str]:
        found, version = infer(inputs, outputs)
        return found | {name: np.expand_dims(found[name], 0 if leading else 1)}, version

    monkeypatch.setattr(server, "infer", reshaped)
    expected = open_onnx(GRAPH, 1).run(INPUTS)[name]
    found = session(server).run(INPUTS)[name]
    assert sum(server.batches) == len(expected) == 6
    np.testing.assert_allclose(flat_columns(name, found, 6), expected, atol=1e-6)
    if limit != 1:
        assert found.shape == ((1, 6, *expected.shape[1:]) if leading else (6, 1, *expected.shape[1:]))


@pytest.mark.parametrize("limit", [0, 4])
def test_no_jets_are_one_request(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server says the shapes of its outputs."""
    server = Server(limit=limit)
    asked: list[dict[str, tuple[int, ...]]] = []

    def none(inputs: Mapping[str, Array], outputs: list[str]) -> tuple[dict[str, Array], str]:
        asked.append({name: array.shape for name, array in inputs.items()})
        return {name: np.zeros((0, 3), np.float32) for name in outputs}, ""

    monkeypatch.setattr(server, "infer", none)
    found = session(server).run({name: array[:0] for name, array in INPUTS.items()})
    assert asked == [{name: (0, *array.shape[1:]) for name, array in INPUTS.items()}]
    assert {name: array.shape for name, array in found.items()} == {tensor.name: (0, 3) for tensor in GRAPH.outputs}


def test_a_limit_that_cannot_be_asked_for_now_is_asked_for_again(
    no_waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that starts describes its model before it gives the configuration of it."""
    server, answers = Server(), [BUSY, BUSY, 3]

    def largest_batch() -> int:
        answer = answers.pop(0)
        if isinstance(answer, RequestFault):
            raise answer
        return answer

    monkeypatch.setattr(server, "largest_batch", largest_batch)
    remote = session(server)
    assert remote.largest_batch == 3
    assert (len(no_waits), remote.traffic.resent, remote.traffic.requests) == (2, 2, 0)
    remote.run(INPUTS)
    assert server.batches == [3, 3]


def test_a_model_that_is_not_there_without_a_list_of_models(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()

    def fails(*_: Any) -> Any:
        raise RequestFault("NOT_FOUND: no such model", unknown=True)

    monkeypatch.setattr(server, "metadata", fails)
    monkeypatch.setattr(server, "models", fails)
    with pytest.raises(RemoteError, match=r"NOT_FOUND: no such model; the server has no list of its models$"):
        session(server)
