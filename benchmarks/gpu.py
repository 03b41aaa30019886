"""Networks on a GPU: are the scores right, and how many jets a second, beside the CPU of the same machine.

    python -m benchmarks.gpu --models part-ak8-2023 particlenet-ak8-md --json docs/measured.json
    python -m benchmarks.gpu --models part-ak8-2023 --wheels WHEELS    # on a machine with torch and nothing else
    python -m benchmarks.gpu --dry-run                                 # what would be done, and what is missing

It takes less than five minutes (``--seconds``), prints one table and needs no network. ``--wheels`` unpacks all wheels
of a folder (jettagger, awkward, awkward-cpp, onnxruntime-gpu, onnx, pydantic, PyYAML and what these need). The
libraries of CUDA come with torch or with NVIDIA's wheels. Events are those of `jettagger.testing`.

differences  scores of the whole tagger against the CPU's, with TF32 off as by default and with TF32 on: quantiles of
             the largest change of a jet, in units of the tolerance (1e-5 for probabilities, 1e-4 relative for the rest)
network      the network alone by batch size, inputs ready on the CPU, outputs back there
tagger       from events to scores, as by default
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # started as a file
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.report import keep, machine, show

#: jets in a batch of the network alone
SIZES = (64, 256, 1024, 4096)

#: what the whole tagger should reach with the 2023 transformer, and its share of the network alone
GOAL, SHARE = 10_000, 0.5

#: seconds of each timing
TURN = 3.0

#: what is imported
NEEDED = ("numpy", "awkward", "onnx", "onnxruntime", "pydantic", "platformdirs", "yaml", "jettagger")


class Clock:
    """The time that is left."""

    def __init__(self, seconds: float) -> None:
        self.end = time.perf_counter() + seconds

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - time.perf_counter()


def device() -> dict[str, str]:
    """Name, driver and memory of the GPU, as its driver says; empty where that cannot be asked."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(zip(("name", "driver", "memory"), said.splitlines()[0].split(", "), strict=False)) if said else {}


@contextmanager
def unpacked(wheels: Path | None) -> Iterator[None]:
    """All wheels of a folder, found by imports and by processes that this one starts."""
    if wheels is None:
        yield
        return
    files = sorted(wheels.glob("*.whl"))
    if not files:
        sys.exit(f"there are no wheels in {wheels}")
    with tempfile.TemporaryDirectory(prefix="jettagger-gpu-") as folder:
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", folder]
        subprocess.run([*install, *map(str, files)], check=True)
        sys.path.insert(0, folder)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))
        try:
            yield
        finally:
            sys.path.remove(folder)


def missing() -> list[str]:
    """What has to be there before anything can be measured."""
    found = [f"the package {name}" for name in NEEDED if find_spec(name) is None]
    if found:
        return found
    import onnxruntime

    from jettagger.errors import JettaggerError
    from jettagger.sessions.providers import Provider

    provider = Provider.of("cuda")
    try:
        if find_spec("torch") and provider.name in onnxruntime.get_available_providers():
            import torch  # noqa: F401 -- with CUDA's libraries
        provider.require()
    except JettaggerError as error:
        return [str(error)]
    return [] if device() else ["a GPU: nvidia-smi names none"]


def rate(run: Any, n_jets: int, seconds: float) -> float:
    """Jets a second of something that takes so many of them, after one turn that does not count."""
    run()
    start, turns = time.perf_counter(), 0
    while not turns or time.perf_counter() - start < seconds:
        run()
        turns += 1
    return turns * n_jets / (time.perf_counter() - start)


def differences(bundle: Any, scores: Any, reference: Any) -> dict[str, float]:
    """Quantiles of the largest change of a jet's outputs, in units of the tolerance."""
    import awkward as ak
    import numpy as np

    from jettagger.inference.network import deviation

    names = [output.name for output in bundle.outputs]
    first, second = (
        np.stack([ak.to_numpy(ak.fill_none(ak.flatten(scored[name]), np.nan)) for name in names], axis=1)
        for scored in (scores, reference)
    )
    change = [deviation(bundle, one[None], other[None]) for one, other in zip(first, second, strict=True)]
    return {name: float(np.quantile(change, at)) for name, at in {"median": 0.5, "99 %": 0.99, "largest": 1}.items()}


def measure(model: str, events: Any, clock: Clock, turn: float = TURN) -> dict[str, Any]:
    """Everything for one model; what there was no time for is absent."""
    import jettagger as jt
    from benchmarks.inputs import tables_of
    from jettagger.inference.acceleration import GPU_COST
    from jettagger.inference.padding import as_run
    from jettagger.inputs.batching import make_batches
    from jettagger.inputs.source import select_jets

    few = events[: max(len(events) // 10, 1)]
    cpu, gpu = jt.load_tagger(model, threads=1, remote=False), jt.load_tagger(model, provider="cuda", remote=False)
    bundle = as_run(gpu.bundle)
    reference, found = cpu.run(few), gpu.run(few)
    result: dict[str, Any] = {
        "device": device(),
        "machine": machine() | {"system": platform.system()},
        "jets": gpu.run(events).report.scored,
        "differences": {"TF32 off": differences(bundle, found.scores, reference.scores)},
        "rates": {},
    }
    rates = result["rates"]
    n_few = reference.report.scored
    rates["tagger, CPU, 1 thread"] = rate(lambda: cpu(few), n_few, turn)
    tables = tables_of(gpu.bundle, select_jets(gpu.bundle, events).jets)
    session = gpu.session
    for size in SIZES:
        if clock.left < 4 * turn:
            return result
        if size > 2 * result["jets"]:
            continue
        batches = make_batches(tables, batch_size=size, pad_mode=bundle.card.pad_mode, cost=GPU_COST)
        many = [batch.inputs for batch in itertools.islice(batches, 64)]
        count = sum(len(next(iter(inputs.values()))) for inputs in many)

        def run(many: list[Any] = many) -> None:
            list(session.pool.map(session.run, many)) if hasattr(session, "pool") else list(map(session.run, many))

        rates[f"network, GPU, batches of {size}"] = rate(run, count, turn)
    rates["tagger, GPU"] = rate(lambda: gpu(events), result["jets"], turn)
    if clock.left > 4 * turn:
        all_threads = jt.load_tagger(model, remote=False)
        rates[f"tagger, CPU, {os.cpu_count()} threads"] = rate(lambda: all_threads(few), n_few, turn)
    if clock.left > 4 * turn:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that TF32 is on
            rounded = jt.load_tagger(model, provider="cuda,use_tf32=1", remote=False)
            result["differences"]["TF32 on"] = differences(bundle, rounded(few), reference.scores)
    return result


def verdict(name: str, found: dict[str, Any]) -> str:
    """Whether a model is as right and as fast as it should be."""
    rates = found["rates"]
    alone = max((value for what, value in rates.items() if what.startswith("network")), default=0.0)
    whole = rates.get("tagger, GPU", 0.0)
    text = f"{name}: scores within {found['differences']['TF32 off']['largest']:.3g} tolerances of the CPU's"
    if alone and whole:
        text += f"; whole tagger {whole:,.0f} jets/s, {whole / alone:.0%} of the network alone"
        text += f" (goals: {GOAL:,} jets/s for part-ak8-2023, {SHARE:.0%})"
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--models", nargs="+", default=["inclParTToyV1"], help="names of models or folders (default: %(default)s)")
    add("--events", type=int, default=4000, help="with some 2.2 jets each (default: %(default)s)")
    add("--seconds", type=float, default=280, help="after which nothing more is begun (default: %(default)s)")
    add("--turn", type=float, default=TURN, help="seconds of each timing (default: %(default)s)")
    add("--wheels", type=Path, help="folder of wheels to use")
    add("--json", type=Path, help="file of results to add to")
    add("--dry-run", action="store_true", help="say what would be done, and what is missing")
    args = parser.parse_args(arguments)
    clock = Clock(args.seconds)
    with unpacked(args.wheels):
        lacking = missing()
        if args.dry_run:
            print(f"would measure {', '.join(args.models)} on {args.events} events, batches of {SIZES}")
            print(f"GPU: {device().get('name', 'none')}")
        for text in lacking:
            print(f"missing: {text}")
        if lacking or args.dry_run:
            return int(bool(lacking) and not args.dry_run)
        from jettagger.errors import JettaggerError
        from jettagger.testing import make_events

        events = make_events(args.events, seed=3)
        results, failed = {}, False
        for model in args.models:
            if clock.left < 4 * args.turn:
                print(f"no time is left for {model}")
                failed = True
                continue
            name = Path(model).name
            try:
                results[name] = measure(model, events, clock, args.turn)
            except JettaggerError as error:
                print(f"{name}: {error}")
                failed = True
                continue
            keep(args.json, "gpu", name, results[name], here=False)
        if results:
            print(show("gpu", results))
            print("\n".join(verdict(name, found) for name, found in results.items()))
        return int(failed)


if __name__ == "__main__":
    sys.exit(main())
