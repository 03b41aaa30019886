"""CPU time of a jet: the usual way, jettagger, and the bound of the network alone, side by side in one run.

    python -m benchmarks.throughput --model ../shared/data/models/part-ak8-2023
    python -m benchmarks.throughput --model part-v1-size            # from python -m benchmarks.v1_size part-v1-size
    python -m benchmarks.throughput --model part-ak8-2023 --cost    # what a run costs by length and number of jets
    python -m benchmarks.throughput --model part-ak8-2023 --reading # reading alone, by format and codec

Without ``--files`` the simulated PFNano files of the examples are read. All variants run on one thread; repetitions are
interleaved and medians are taken. The variants:

peer          for each jet index, each variable padded to the fixed length on its own, batches of 192
tagger        ``tagger(events)`` with the columns in memory, the file's graph as it is
bound         only the network, on full batches of jets of exactly the same lengths, inputs ready
tagger fast   ``tagger(events)`` as it is by default: the graph rewritten
bound fast    the bound with the rewritten graph
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

import jettagger as jt
from jettagger.acceleration import best_session
from jettagger.batching import BATCH_SIZE, COST, make_batches, tabulate, transform
from jettagger.bundle import Bundle
from jettagger.network import PROB_TOLERANCE, deviation, evaluate
from jettagger.rootfile import EventFile, write_tree
from jettagger.selection import check_columns, select_jets
from jettagger.sessions import Session

FILES = sorted(str(path) for path in (Path(__file__).parent.parent / "examples" / "data").glob("*.root"))

#: jets in one request of the usual way
PEER_BATCH = 192


def read_events(files: Sequence[str], columns: Sequence[str], n_jets: int) -> Any:
    """Events of all files alike, with about so many fat jets."""
    parts = []
    for path in files:
        with EventFile(path) as file:
            parts.append(file.read(columns))
    counts = [int(ak.sum(ak.num(part.FatJet.pt))) for part in parts]
    share = min(n_jets / sum(counts), 1)
    parts = [part[: max(round(len(part) * share), 1)] for part in parts]
    return ak.materialize(ak.to_packed(ak.concatenate(parts)))


def peer(bundle: Bundle, session: Session, events: Any) -> Any:
    """The usual way of processors in the field, with its masks mended so that it gives the right scores."""
    local = ak.local_index(events.FatJet.pt)
    flat_local = ak.to_numpy(ak.flatten(local))
    values = np.full((len(flat_local), len(bundle.outputs)), np.nan, dtype=np.float32)
    for place in range(int(ak.max(local)) + 1):
        jets = select_jets(bundle, events, local == place).jets
        inputs = {}
        for group in bundle.groups:
            counts, channels = jets.counts(group.object), []
            for variable in group.variables:
                columns = (jets.column(variable.feature.object, need) for need in variable.feature.needs)
                one, _ = transform(variable.feature(*columns), variable, bundle.card.nonfinite)
                padded = ak.pad_none(ak.unflatten(one, counts), group.max_length, clip=True)
                channels.append(ak.to_numpy(ak.fill_none(padded, np.float32(variable.pad))).astype(np.float32))
            inputs[group.name] = np.stack(channels, axis=1)
        for start in range(0, len(jets), PEER_BATCH):
            part = slice(start, start + PEER_BATCH)
            batch = {name: np.ascontiguousarray(array[part]) for name, array in inputs.items()}
            values[jets.index[part]] = evaluate(bundle, session, batch)
    return values


def exact_batches(bundle: Bundle, events: Any) -> list[tuple[dict[str, Any], float]]:
    """Batches of jets of the same lengths, filled up with copies, and the share of each that is no copy."""
    jets = select_jets(bundle, events).jets
    tables = tabulate(bundle.groups, jets, bundle.card.nonfinite)
    found = []
    for batch in make_batches(tables, cost=replace(COST, fixed=1e-6)):
        n_jets = len(batch.jets)
        length = sum({group.object: batch.inputs[group.name].shape[2] for group in bundle.groups}.values())
        full = max(min(int(COST.cells / length**2), 8), n_jets)
        rows = np.arange(full) % n_jets
        found.append(({name: np.ascontiguousarray(array[rows]) for name, array in batch.inputs.items()}, n_jets / full))
    return found


def bare(session: Session, batches: list[tuple[dict[str, Any], float]]) -> tuple[float, float]:
    """CPU and wall time in the network for all jets; copies do not count."""
    cpu = wall = 0.0
    for inputs, share in batches:
        wall_start, start = time.perf_counter(), time.process_time()
        session.run(inputs)
        cpu += share * (time.process_time() - start)
        wall += share * (time.perf_counter() - wall_start)
    return cpu, wall


def table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows as a Markdown table, the first as its head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def flat_scores(scores: Any, outputs: Sequence[str]) -> Any:
    """Jagged records as a matrix, NaN where a jet was not scored."""
    flat = ak.flatten(scores, axis=1)
    return np.stack([ak.to_numpy(ak.fill_none(flat[name], np.nan)) for name in outputs], axis=1)


def compare(bundle: Bundle, events: Any, repetitions: int, peers: bool, openvino: bool) -> None:
    """The table of variants."""
    names = [output.name for output in bundle.outputs]
    plain, fast = (best_session(bundle, threads=1, backend=backend) for backend in ("onnxruntime", "fast"))
    taggers = {
        "tagger": jt.Tagger(bundle, threads=1, backend="onnxruntime"),
        "tagger fast": jt.Tagger(bundle, threads=1),
    }
    sessions = {"bound": plain, "bound fast": fast}
    if openvino:
        taggers["tagger openvino"] = jt.Tagger(bundle, threads=1, backend="openvino")
        sessions["bound openvino"] = best_session(bundle, threads=1, backend="openvino")
    batches = exact_batches(bundle, events)
    scores: dict[str, Any] = {}
    cpu: dict[str, list[float]] = {}
    wall: dict[str, list[float]] = {}

    def timed(name: str, function: Callable[[], Any]) -> Any:
        wall_start, start = time.perf_counter(), time.process_time()
        result = function()
        cpu.setdefault(name, []).append(time.process_time() - start)
        wall.setdefault(name, []).append(time.perf_counter() - wall_start)
        return result

    few = events[: max(len(events) // 20, 1)]
    for tagger in taggers.values():
        tagger(few)
    for _ in range(repetitions):
        if peers:
            scores["peer"] = timed("peer", lambda: peer(bundle, plain, events))
        for (name, tagger), (bound, session) in zip(taggers.items(), sessions.items(), strict=True):
            result = timed(name, lambda tagger=tagger: tagger.run(events))
            scores[name] = flat_scores(result.scores, names)
            for times, spent in zip((cpu, wall), bare(session, batches), strict=True):
                times.setdefault(bound, []).append(spent)
        timed("link, features, batches", lambda: list(jt.make_inputs(bundle, events)))
    scored = result.report.scored
    first = next(iter(scores))
    rows = [("variant", "CPU ms/jet", "wall ms/jet", "CPU over bound", "difference from the first / tolerance")]
    for name in ("peer", "tagger", "bound", "tagger fast", "bound fast", "tagger openvino", "bound openvino"):
        if name not in cpu:
            continue
        bound = "bound" + name.removeprefix("tagger") if name.startswith("tagger") else "bound"
        over = statistics.median(a / b for a, b in zip(cpu[name], cpu[bound], strict=True))
        off = f"{deviation(bundle, scores[name], scores[first]):.2g}" if name in scores else ""
        each = [f"{1e3 * statistics.median(times[name]) / scored:.3f}" for times in (cpu, wall)]
        rows.append((name, *each, f"{over:.3f}", off))
    print(f"{bundle.name}: {scored} jets, {result.report.truncated} with more constituents than the network takes")
    table(rows)
    own = statistics.median(cpu["link, features, batches"])
    gain = statistics.median(a / b for a, b in zip(cpu["bound"], cpu["bound fast"], strict=True))
    for name in ("tagger", "tagger fast"):
        share = own / statistics.median(cpu[name])
        times = statistics.median(a / b for a, b in zip(cpu["peer"], cpu[name], strict=True)) if peers else float("nan")
        print(f"{name}: linking, features and batches {100 * share:.1f} %; {times:.2f} times as fast as the peer")
    print(f"the rewritten network is {gain:.2f} times as fast; probabilities may differ by {PROB_TOLERANCE:g}")


def cost(bundle: Bundle, events: Any, repetitions: int) -> None:
    """Milliseconds a jet by length and number of jets in a run."""
    session = best_session(bundle, threads=1)
    jets = select_jets(bundle, events).jets
    tables = tabulate(bundle.groups, jets, bundle.card.nonfinite)
    rows = [("length", *(f"{number} jets" for number in (1, 4, 8, 16, 32, 64)))]
    seen: set[int] = set()
    for batch in make_batches(tables, cost=replace(COST, fixed=1e-6)):
        length = next(array.shape[2] for array in batch.inputs.values())
        if length in seen or length % 16:
            continue
        seen.add(length)
        row = [str(length)]
        for number in (1, 4, 8, 16, 32, 64):
            taken = np.arange(number) % len(batch.jets)
            inputs = {name: np.ascontiguousarray(array[taken]) for name, array in batch.inputs.items()}
            times = []
            for _ in range(repetitions + 2):
                start = time.process_time()
                session.run(inputs)
                times.append(time.process_time() - start)
            row.append(f"{1e3 * statistics.median(times) / number:.3f}")
        rows.append(tuple(row))
    table(rows)


def reading(events: Any, columns: Sequence[str], n_jets: int, repetitions: int) -> None:
    """Reading the columns of a model alone, by format and codec."""
    import uproot

    codecs = {"lzma": uproot.LZMA(4), "zlib": uproot.ZLIB(4), "zstd": uproot.ZSTD(5)}
    content = {column.replace(".", "_", 1): events[tuple(column.split("."))] for column in columns}
    rows = [("file", "MB", "CPU ms/jet", "wall ms/jet")]
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("TTree", "RNTuple"):
            for name, codec in codecs.items():
                path = Path(folder) / f"{kind}-{name}.root"
                if kind == "TTree":
                    write_tree(path, [content], compression=name)
                else:
                    with uproot.recreate(path, compression=codec) as file:
                        file["Events"] = content
                cpu, wall = [], []
                for _ in range(repetitions):
                    with EventFile(path) as opened:
                        wall_start, start = time.perf_counter(), time.process_time()
                        opened.read(columns)
                        cpu.append(time.process_time() - start)
                        wall.append(time.perf_counter() - wall_start)
                each = [f"{1e3 * statistics.median(times) / n_jets:.3f}" for times in (cpu, wall)]
                rows.append((f"{kind}, {name}", f"{path.stat().st_size / 1e6:.1f}", *each))
    table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", default="inclParTToyV1", help="name of a model or its folder (default: %(default)s)")
    add("--files", nargs="+", default=FILES, help="PFNano files (default: those of the examples)")
    add("--jets", type=int, default=2000, help="fat jets at most (default: %(default)s)")
    add("--repetitions", type=int, default=3, help="of each measurement (default: %(default)s)")
    add("--no-peer", action="store_true", help="leave out the usual way, which takes longest")
    add("--openvino", action="store_true", help="measure the backend openvino, too")
    add("--cost", action="store_true", help="measure what a run costs instead")
    add("--reading", action="store_true", help="measure reading instead")
    args = parser.parse_args()
    bundle = jt.load_tagger(args.model).bundle
    with EventFile(args.files[0]) as file:
        plan = check_columns(bundle, file)
    events = read_events(args.files, plan.columns, args.jets)
    n_jets = int(ak.sum(ak.num(events.FatJet.pt)))
    if args.cost:
        cost(bundle, events, args.repetitions)
    elif args.reading:
        reading(events, plan.columns, n_jets, args.repetitions)
    else:
        print(f"batches of at most {BATCH_SIZE} jets and {COST.cells:g} jets x length², one thread")
        compare(bundle, events, args.repetitions, not args.no_peer, args.openvino)


if __name__ == "__main__":
    main()
