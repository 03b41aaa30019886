"""What a network on a server costs its client, against the same jets through the network on this machine; CPU time.

    python -m benchmarks.remote --model part-ak8-2023 --json docs/measured.json    # needs the extra 'remote'
    python -m benchmarks.remote --model part-ak8-2023 --triton /other/env/bin/python

The server is a process of its own whose time is not counted: one that answers what it was asked before at once
(`benchmarks.remote_server`), or with ``--triton`` a Triton server of a Python that has nvidia-pytriton and onnxruntime.
Counted is all CPU time of this process, in all its threads, from batches that are ready to the outputs of all jets;
making batches costs the same in both cases. Repetitions are interleaved.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import jettagger as jt
from benchmarks import inputs
from benchmarks.report import keep, show
from jettagger.bundles.bundle import Bundle
from jettagger.files.root import EventFile
from jettagger.inference.acceleration import cost_of
from jettagger.inference.network import deviation
from jettagger.inference.padding import as_run
from jettagger.inference.pending import Pending
from jettagger.inference.proof import ALLOWED
from jettagger.inputs.batching import Batch, Cost, make_batches
from jettagger.inputs.source import check_columns, select_jets
from jettagger.sessions import Session

TRITON = inputs.ROOT / "tests" / "triton_server.py"


@contextmanager
def serving(bundle: Bundle, triton: str | None) -> Iterator[dict[str, str]]:
    """A server of a model in another process; its addresses by name."""
    if triton is None:
        command = [sys.executable, "-m", "benchmarks.remote_server", str(bundle.folder)]
    else:
        ports = {}
        for name in ("http", "grpc"):
            with socket.socket() as place:
                place.bind(("127.0.0.1", 0))
                ports[name] = int(place.getsockname()[1])
        network = str(bundle.require_weights())
        command = [triton, str(TRITON), network, bundle.name, "1024", str(ports["http"]), str(ports["grpc"])]
    with subprocess.Popen(
        command, cwd=inputs.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        try:
            if triton is None:
                ports = json.loads(server.stdout.readline() or "{}")
                if not ports:
                    raise RuntimeError(f"no server of {bundle.name}: run '{' '.join(command)}' to see why")
            elif not any(line.strip() == "ready" for line in server.stdout):
                raise RuntimeError(f"no Triton server: run '{' '.join(command)}' to see why")
            yield {
                name: f"{'grpc' if name == 'grpc' else 'http'}://127.0.0.1:{port}/{bundle.name}"
                for name, port in ports.items()
            }
        finally:
            server.terminate()


def spent(bundle: Bundle, session: Session, batches: list[Batch], n_jets: int) -> tuple[float, Any]:
    """CPU seconds of this process for the outputs of all jets, and the outputs."""
    start = time.process_time()
    values = Pending(bundle, session, batches, n_jets).wait().values
    return time.process_time() - start, values


def measured(model: str, events: Any, repetitions: int, triton: str | None, batch_size: int | None) -> dict[str, Any]:
    """Milliseconds a jet, and over the network here, with uncertainties.

    Parameters
    ----------
    model : str
    events : awkward array
    repetitions : int
    triton : str, optional
    batch_size : int, optional
        Jets in a request at most; default: the tagger's.

    Returns
    -------
    dict
    """
    here = jt.load_tagger(model, threads=1, remote=False)
    bundle = as_run(here.bundle)
    tables = inputs.tables_of(here.bundle, select_jets(here.bundle, events).jets)
    n_jets = len(tables[0].counts)

    def batches(cost: Cost, size: int) -> list[Batch]:
        return list(make_batches(tables, batch_size=size, pad_mode=bundle.card.pad_mode, cost=cost))

    local, remote = cost_of(), cost_of(remote=True)
    requests = batches(remote, bundle.fixed_batch or batch_size or remote.jets)
    asked = {"here": (here.session, batches(local, bundle.fixed_batch or local.jets))}
    with serving(here.bundle, triton) as urls:
        for name, url in urls.items():
            asked[name] = (jt.load_tagger(model, threads=1, remote=url).session, requests)
        _, expected = spent(bundle, *asked["here"], n_jets)
        for name, (session, some) in asked.items():  # connections are made, answers are known
            off = deviation(bundle, spent(bundle, session, some, n_jets)[1], expected)
            if not off <= ALLOWED:
                raise RuntimeError(f"{name} gives other numbers, by {off:.3g} times the tolerance")
        times: dict[str, list[float]] = {name: [] for name in asked}
        for _ in range(repetitions):
            for name, (session, some) in asked.items():
                times[name].append(1e3 * spent(bundle, session, some, n_jets)[0] / n_jets)
    network = np.array(times.pop("here"))
    return {
        "jets": n_jets,
        "requests": len(requests),
        "jets_a_request": n_jets / len(requests),
        "kilobytes_a_jet": sum(array.nbytes for batch in requests for array in batch.inputs.values()) / 1e3 / n_jets,
        "server": "Triton" if triton else "answers at hand",
        "network_ms": summary(network),
        "clients": {
            name: {"ms": summary(np.array(client)), "over_network": summary(np.array(client) / network)}
            for name, client in times.items()
        },
    }


def summary(values: Sequence[float] | Any) -> dict[str, float]:
    """Median, and the standard error of it by the quartiles."""
    quartiles = statistics.quantiles(values, n=4)
    spread = (quartiles[2] - quartiles[0]) / 1.349
    return {"median": float(statistics.median(values)), "error": float(1.253 * spread / len(values) ** 0.5)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", default="inclParTToyV1", help="name of a model or folder (default: %(default)s)")
    add("--file", type=Path, help="a PFNano file (default: simulated)")
    add("--events", type=int, help="of the file, at most")
    add("--repetitions", type=int, default=9, help="of each measurement (default: %(default)s)")
    add("--batch-size", type=int, help="jets in a request at most (default: the tagger's)")
    add("--triton", metavar="PYTHON", help="serve with Triton, from a Python with nvidia-pytriton and onnxruntime")
    add("--json", type=Path, help="file of results to add to")
    args = parser.parse_args()
    path = args.file or inputs.default_file()
    bundle = jt.load_bundle(args.model)
    with EventFile(path) as file:
        columns = check_columns(bundle, file).columns
    events = inputs.read(path, columns)[: args.events]
    found = measured(args.model, events, max(args.repetitions, 2), args.triton, args.batch_size)
    print(show("remote", {bundle.name: found}))
    keep(args.json, "remote", f"{bundle.name}, {found['server']}", found)


if __name__ == "__main__":
    main()
