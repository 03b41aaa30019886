"""CPU time of gradients, in units of a forward pass in ONNX Runtime, on one core; memory of attributions.

    python -m benchmarks.explain inclParTToyV1 ../shared/data/models/part-ak8-2023 --jets 2000
    python -m benchmarks.explain inclParTToyV1 --events test.root --jets 20000

Random jets with lengths of a sample, in the batches that a tagger makes for ONNX Runtime; for gradients several of
these together, padded to the longest. One output column is derived with respect to all inputs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import jettagger as jt
from jettagger.bundles.bundle import Bundle
from jettagger.explain import COLUMNS
from jettagger.explain.gradients import gradients
from jettagger.inference.network import evaluate
from jettagger.inference.padding import as_run
from jettagger.inference.sample_jets import usual_jets
from jettagger.sessions import open_onnx

#: jets in a batch with gradients
TOGETHER = 16

#: jets whose gradients are timed, and numbers of jets between which memory may grow
TIMED, GROWTH = 2000, (2000, 20000)

#: bytes of a block of jets, which both numbers of jets fill
BLOCK = 20_000_000

Inputs = Mapping[str, Any]


class FirstColumn:
    """The first output column."""

    needs: tuple[str, ...] = (COLUMNS,)

    def __call__(self, outputs: Mapping[str, Any]) -> Any:
        return outputs[COLUMNS][:, 0]


def joined(runs: Sequence[Inputs], together: int) -> list[Inputs]:
    """Neighbouring batches as one, padded with zeros."""
    made: list[Inputs] = []
    part: list[Inputs] = []
    for run in runs:
        part.append(run)
        if sum(len(next(iter(item.values()))) for item in part) >= together or run is runs[-1]:
            made.append({name: _stacked([item[name] for item in part]) for name in run})
            part = []
    return made


def _stacked(arrays: Sequence[Any]) -> Any:
    length = max(array.shape[-1] for array in arrays)
    widths = [[(0, 0)] * (array.ndim - 1) + [(0, length - array.shape[-1])] for array in arrays]
    return np.concatenate([np.pad(array, width) for array, width in zip(arrays, widths, strict=True)])


def cost(bundle: Bundle, n_jets: int, repeats: int = 3) -> list[tuple[float, float]]:
    """CPU seconds of a forward pass and of gradients, in turn."""
    runs = usual_jets(bundle, n_jets)
    batches = joined(runs, TOGETHER)
    session = open_onnx(bundle.require_graph(), 1)
    target = FirstColumn()
    evaluate(bundle, session, runs[0])
    gradients(bundle, batches[0], target, check=False)
    found = []
    for _ in range(repeats):
        start = time.process_time()
        for run in runs:
            evaluate(bundle, session, run)
        middle = time.process_time()
        for batch in batches:
            gradients(bundle, batch, target, check=False)
        found.append((middle - start, time.process_time() - middle))
    return found


def memory(model: str, path: Path, n_jets: int) -> dict[str, float]:
    """Memory in MB that an attribution of the first jets of a file takes, in this process.

    Parameters
    ----------
    model : str
    path : Path
        Events; they are repeated if there are not enough.
    n_jets : int

    Returns
    -------
    dict of str to float
        ``jets``, ``block``: size of a block, ``events``: that of the columns in memory, ``columns``: that of the new
        ones, ``peak``: growth of the peak of resident memory by the attribution.
    """
    import awkward as ak

    from jettagger.explain import attribute

    tagger = jt.load_tagger(model, threads=1, block_bytes=BLOCK)
    attribute(tagger, _events(tagger, path, 20), "log HbbvsQCD")  # loads the libraries, builds the network
    events = _events(tagger, path, n_jets)
    before = _peak()
    explained = attribute(tagger, events, "log HbbvsQCD", prefix="measured")
    growth = _peak() - before
    columns = [
        ak.to_packed(explained[name][field])
        for name in ("FatJetPFCands", "FatJetSVs", "FatJet")
        for field in explained[name].fields
        if field.startswith("measured")
    ]
    return {
        "jets": int(ak.count(events.FatJet.pt)),
        "block": BLOCK / 2**20,
        "events": sum(ak.to_packed(events[name]).nbytes for name in events.fields) / 2**20,
        "columns": sum(column.nbytes for column in columns) / 2**20,
        "peak": growth,
    }


def _events(tagger: jt.Tagger, path: Path, n_jets: int) -> Any:
    """The first events of a file, repeated, with as many jets."""
    import awkward as ak

    with jt.EventFile(path) as file:
        names = sorted(set(tagger.check(file, str(path)).columns))
        events = file.read(names, 0, min(file.n_events, n_jets))
    counts = np.cumsum(ak.to_numpy(ak.num(events.FatJet.pt)))
    whole, rest = divmod(n_jets, int(counts[-1]))
    parts = [events] * whole + [events[: int(np.searchsorted(counts, rest)) + 1]] * bool(rest)
    return ak.to_packed(ak.concatenate(parts))


def _peak() -> float:
    """Largest resident memory of this process so far, in MB."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(line for line in text.splitlines() if line.startswith("VmHWM"))
    return float(peak.split()[1]) / 1024


def costs(models: Sequence[str], path: Path) -> dict[str, Any]:
    """CPU time of gradients of several models, and memory of attributions of the first.

    Parameters
    ----------
    models : sequence of str
    path : Path
        A file of events.

    Returns
    -------
    dict
    """
    import torch

    torch.set_num_threads(1)
    found: dict[str, Any] = {"jets": TIMED, "ratios": {}, "memory": []}
    for model in models:
        bundle = as_run(jt.load_bundle(model))
        times = cost(bundle, TIMED)
        found["ratios"][bundle.name] = {
            "forward": [1000 * forward / TIMED for forward, _ in times],
            "gradients": [1000 * slopes / TIMED for _, slopes in times],
        }
    for n_jets in GROWTH:
        line = [sys.executable, "-W", "ignore", "-m", "benchmarks.explain", models[0]]
        line += ["--events", str(path), "--jets", str(n_jets)]
        found["memory"].append(json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the cost for some models."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--jets", type=int, default=2000)
    parser.add_argument("--events", type=Path, metavar="FILE", help="measure memory with these events")
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if chosen.events is not None:
        print(json.dumps(memory(chosen.models[0], chosen.events, chosen.jets)), flush=True)
        return
    for model in chosen.models:
        bundle = as_run(jt.load_bundle(model))
        found = cost(bundle, chosen.jets, chosen.repeats)
        ratios = sorted(slopes / forward for forward, slopes in found)
        forward, slopes = (1000 * min(item[n] for item in found) / chosen.jets for n in range(2))
        print(
            f"{bundle.name}: forward {forward:.2f} ms/jet, gradients {slopes:.2f} ms/jet of CPU time, "
            f"{ratios[len(ratios) // 2]:.1f} times as much ({ratios[0]:.1f} to {ratios[-1]:.1f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
