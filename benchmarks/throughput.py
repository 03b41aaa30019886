"""What a jet costs: the usual way, jettagger, and the bound of the network alone, side by side in one run.

    python -m benchmarks.throughput --models ../shared/data/models/part-ak8-2023
    python -m benchmarks.throughput --models part-ak8-2023 part-v1-size --json docs/measured.json
    python -m benchmarks.throughput --models part-ak8-2023 --only reading,files
    python -m benchmarks.throughput --models part-ak8-2023 --cost   # what a run costs by length and number of jets

``python -m benchmarks.v1_size part-v1-size`` writes a network of the size of GloParT V1. Without ``--file`` the jets
are simulated, or, without the extra ``sim``, those of a real file with constituents dropped at random. Repetitions are
interleaved and medians are taken. What is measured:

network   for each model, on one thread, in CPU time, with the columns in memory: ``peer``, for each jet index, each
          variable padded to the fixed length on its own, batches of 192; ``tagger``, ``tagger(events)`` with the
          file's graph as it is; ``bound``, only the network, on full batches of jets of exactly the same lengths,
          inputs ready; ``fast``, the same two as they are by default, with the graph rewritten; ``openvino``
reading   the columns of the first model alone, by format and codec
files     from a file to parquet on two cores: reading, inference, and both with ``jettagger tag``
second    what each of two models costs when they run together, over its network alone
cache     a hit of the score cache over the network
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

import jettagger as jt
from benchmarks import inputs
from benchmarks.report import keep, show, table
from jettagger.bundles.bundle import Bundle
from jettagger.files.root import EventFile, write_tree
from jettagger.inference.acceleration import open_session
from jettagger.inference.network import deviation, evaluate
from jettagger.inputs.batching import BATCH_SIZE, COST, make_batches, transform
from jettagger.inputs.group_rows import entering
from jettagger.inputs.source import check_columns, select_jets
from jettagger.sessions import Session
from jettagger.skims.skim import Job, make_job, run_job
from jettagger.tagging.tagger import Tagger

#: jets in one request of the usual way
PEER_BATCH = 192

SECTIONS = ("network", "reading", "files", "second", "cache")


class Clock:
    """CPU and wall seconds of what was done, by name; one entry a repetition."""

    def __init__(self) -> None:
        self.cpu: dict[str, list[float]] = {}
        self.wall: dict[str, list[float]] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.add(name, time.process_time() - cpu, time.perf_counter() - wall)

    def add(self, name: str, cpu: float, wall: float) -> None:
        """What was measured elsewhere."""
        self.cpu.setdefault(name, []).append(cpu)
        self.wall.setdefault(name, []).append(wall)

    def ratio(self, one: str, other: str) -> float:
        """CPU time of one over another's, repetition by repetition."""
        pairs = zip(self.cpu[one], self.cpu[other], strict=False)
        return statistics.median(a / b for a, b in pairs)


class Timed:
    """A session that adds up what its runs cost."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.cpu = 0.0

    def run(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """As the session does."""
        start = time.process_time()
        result = self.session.run(tensors)
        self.cpu += time.process_time() - start
        return result

    def taken(self) -> float:
        """CPU seconds since this was asked last."""
        spent, self.cpu = self.cpu, 0.0
        return spent


def peer(bundle: Bundle, session: Session, events: Any) -> Any:
    """The usual way of processors in the field, with its masks mended so that it gives the right scores."""
    local = ak.local_index(events.FatJet.pt)
    flat_local = ak.to_numpy(ak.flatten(local))
    values = np.full((len(flat_local), len(bundle.outputs)), np.nan, dtype=np.float32)
    for place in range(int(ak.max(local)) + 1):
        selection = select_jets(bundle, events, local == place)
        jets = selection.jets
        inside = entering(bundle, jets)
        tensors = {}
        for group in bundle.groups:
            rows = inside.rows.get(group.name)
            counts, channels = jets.counts(group.object) if rows is None else rows.counts, []
            for variable in group.variables:
                columns = (jets.column(variable.feature.object, need) for need in variable.feature.needs)
                one, _ = transform(variable.feature(*columns), variable, bundle.card.nonfinite)
                one = one if rows is None else one[rows.index]
                padded = ak.pad_none(ak.unflatten(one, counts), group.max_length, clip=True)
                channels.append(ak.to_numpy(ak.fill_none(padded, np.float32(variable.pad))).astype(np.float32))
            tensors[group.name] = np.stack(channels, axis=1)[inside.jets]
        index = selection.index[inside.jets]
        for start in range(0, len(index), PEER_BATCH):
            part = slice(start, start + PEER_BATCH)
            batch = {name: np.ascontiguousarray(array[part]) for name, array in tensors.items()}
            values[index[part]] = evaluate(bundle, session, batch)
    return values


def exact_batches(bundle: Bundle, events: Any) -> list[tuple[dict[str, Any], float]]:
    """Batches of jets of the same lengths, filled up with copies, and the share of each that is no copy."""
    tables = inputs.tables_of(bundle, select_jets(bundle, events).jets)
    found = []
    for batch in make_batches(tables, cost=replace(COST, fixed=1e-6)):
        n_jets = len(batch.jets)
        length = sum({group.object: batch.inputs[group.name].shape[2] for group in bundle.groups}.values())
        full = max(min(int(COST.cells / length**2), 16), n_jets)
        rows = np.arange(full) % n_jets
        found.append(({name: np.ascontiguousarray(array[rows]) for name, array in batch.inputs.items()}, n_jets / full))
    return found


def bare(session: Session, batches: list[tuple[dict[str, Any], float]]) -> tuple[float, float]:
    """CPU and wall time in the network for all jets; copies do not count."""
    cpu = wall = 0.0
    for tensors, share in batches:
        wall_start, start = time.perf_counter(), time.process_time()
        session.run(tensors)
        cpu += share * (time.process_time() - start)
        wall += share * (time.perf_counter() - wall_start)
    return cpu, wall


def flat_scores(scores: Any, outputs: Sequence[str]) -> Any:
    """Jagged records as a matrix, NaN where a jet was not scored."""
    flat = ak.flatten(scores, axis=1)
    return np.stack([ak.to_numpy(ak.fill_none(flat[name], np.nan)) for name in outputs], axis=1)


def network(bundle: Bundle, events: Any, repetitions: int, peers: int) -> dict[str, Any]:
    """All variants on the same jets, one thread."""
    names = [output.name for output in bundle.outputs]
    backends = {"": "onnxruntime", " fast": "fast"} | ({" openvino": "openvino"} if find_spec("openvino") else {})
    sessions = {name: open_session(bundle, threads=1, backend=backend) for name, backend in backends.items()}
    timed = {name: Timed(session) for name, session in sessions.items()}
    taggers = {name: Tagger(bundle, session=timed[name], backend=backend) for name, backend in backends.items()}
    batches = exact_batches(bundle, events)
    few = events[: max(len(events) // 20, 1)]
    for tagger in taggers.values():
        tagger(few)
    clock = Clock()
    scores: dict[str, Any] = {}
    shares: dict[str, list[float]] = {}
    for turn in range(repetitions):
        if turn < peers:
            with clock("peer"):
                scores["peer"] = peer(bundle, sessions[""], events)
        for name, tagger in taggers.items():
            timed[name].taken()
            with clock(f"tagger{name}"):
                result = tagger.run(events)
            whole = clock.cpu[f"tagger{name}"][-1]
            shares.setdefault(f"tagger{name}", []).append(1 - timed[name].taken() / whole)
            scores[f"tagger{name}"] = flat_scores(result.scores, names)
            clock.add(f"bound{name}", *bare(sessions[name], batches))
    report = result.report
    first = next(iter(scores))
    variants = {}
    for name in ["peer"] * bool(peers) + [f"{kind}{name}" for name in backends for kind in ("tagger", "bound")]:
        variants[name] = {
            "cpu_ms": 1e3 * statistics.median(clock.cpu[name]) / report.scored,
            "wall_ms": 1e3 * statistics.median(clock.wall[name]) / report.scored,
        }
        if name in scores:
            variants[name]["difference"] = deviation(bundle, scores[name], scores[first])
        if name in shares:
            variants[name]["own_share"] = statistics.median(shares[name])
            variants[name]["over_bound"] = clock.ratio(name, "bound" + name.removeprefix("tagger"))
            if peers:
                variants[name]["over_peer"] = clock.ratio("peer", name)
        elif name != "bound" and name != "peer":
            variants[name]["over_file"] = clock.ratio("bound", name)
    lengths = report.filled / report.scored
    return {"jets": report.scored, "constituents": lengths, "truncated": report.truncated, "variants": variants}


def reading(path: Path, columns: Sequence[str], repetitions: int) -> dict[str, Any]:
    """Reading the columns of a model alone, by format and codec."""
    import uproot

    events = inputs.read(path, columns)
    n_jets = int(ak.sum(ak.num(events.FatJet.pt)))
    content = inputs.flat(events, columns)
    codecs = {"lzma": uproot.LZMA(4), "zlib": uproot.ZLIB(4), "zstd": uproot.ZSTD(5)}
    clock = Clock()
    sizes = {}
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for name, codec in codecs.items():
            files[f"TTree, {name}"] = tree = Path(folder) / f"tree-{name}.root"
            write_tree(tree, [content], compression=name)
            files[f"RNTuple, {name}"] = ntuple = Path(folder) / f"ntuple-{name}.root"
            with uproot.recreate(ntuple, compression=codec) as file:
                file["Events"] = content
        for name, file_path in files.items():
            sizes[name] = file_path.stat().st_size
        for _ in range(repetitions):
            for name, file_path in files.items():
                with EventFile(file_path) as opened, clock(name):
                    opened.read(columns)
    return {
        name: {"megabytes": sizes[name] / 1e6, "cpu_ms": 1e3 * statistics.median(clock.cpu[name]) / n_jets}
        for name in sorted(sizes, reverse=True)
    }


def files(path: Path, model: str, repetitions: int) -> dict[str, Any]:
    """From a file to parquet: wall time of reading, of inference, and of both by ``jettagger tag``, on two cores."""
    found = {}
    tagger = jt.load_tagger(model, threads=1)
    with EventFile(path) as file:
        columns = sorted({*check_columns(tagger.bundle, file).columns, *(c for c in inputs.KEPT if file.has(c))})
    content = inputs.flat(inputs.read(path, columns), columns)
    n_events = len(content["FatJet_pt"])
    with tempfile.TemporaryDirectory() as folder:
        for codec in ("lzma", "zstd"):
            source = Path(folder) / f"{codec}.root"
            step = n_events // 8
            parts = ({k: v[at : at + step] for k, v in content.items()} for at in range(0, n_events, step))
            write_tree(source, parts, compression=codec)
            job = make_job([str(source)], tagger, memory=30_000_000)
            clock = Clock()
            loaded = [job.read(chunk) for chunk in job.chunks]
            job.score(loaded[0])
            for _ in range(repetitions):
                with clock("reading"):
                    for chunk in job.chunks:
                        job.read(chunk)
                with clock("inference"):
                    jets = sum(_scored(job, one) for one in loaded)
                with clock("tag"):
                    run_job(job, f"{folder}/out.parquet", force=True)
            wall = {name: 1e3 * statistics.median(times) / jets for name, times in clock.wall.items()}
            over = statistics.median(
                both / max(one, other)
                for both, one, other in zip(*(clock.wall[n] for n in ("tag", "reading", "inference")), strict=True)
            )
            found[codec] = {"chunks": len(job.chunks), "wall_ms": wall, "over_larger": over}
    return found


def _scored(job: Job, loaded: Any) -> int:
    return job.score(loaded)[1].scored


def second(models: Sequence[str], events: Any, repetitions: int) -> dict[str, Any]:
    """What each of two models costs beyond what both share, over its network alone; CPU time."""
    found = {}
    for first, other in (models, models[::-1]):
        bundles = [jt.load_tagger(model).bundle for model in (first, other)]
        sessions = [Timed(open_session(bundle, threads=1)) for bundle in bundles]
        taggers = [Tagger(bundle, session=session) for bundle, session in zip(bundles, sessions, strict=True)]
        own = 0.0
        real = {name: getattr(taggers[1], name) for name in ("begin", "assembled")}

        def counted(name: str, real: Mapping[str, Any] = real) -> Callable[..., Any]:
            def call(*arguments: Any) -> Any:
                nonlocal own
                start = time.process_time()
                result = real[name](*arguments)
                own += time.process_time() - start
                return result

            return call

        for name in real:
            setattr(taggers[1], name, counted(name))
        both = jt.Taggers(taggers)
        both(events[: max(len(events) // 20, 1)])
        ratios = []
        for _ in range(repetitions):
            own = 0.0
            sessions[1].taken()
            both(events)
            ratios.append(own / sessions[1].taken())
        found[f"{bundles[1].name} after {bundles[0].name}"] = statistics.median(ratios)
    return found


def cache(model: str, events: Any, repetitions: int) -> dict[str, float]:
    """CPU time of a hit over that of the network."""
    with tempfile.TemporaryDirectory() as folder:
        tagger = jt.load_tagger(model, threads=1, cache=folder)
        clock = Clock()
        for _ in range(repetitions):
            with clock("network"):
                jt.load_tagger(model, threads=1).run(events)
        missed = tagger.run(events).report
        for _ in range(repetitions):
            with clock("hit"):
                report = tagger.run(events).report
        if missed.cached or report.cached != report.scored:
            raise RuntimeError("the cache was not hit")
        return {"hit_over_inference": clock.ratio("hit", "network")}


def cost(bundle: Bundle, events: Any, repetitions: int) -> None:
    """Milliseconds a jet by length and number of jets in a run."""
    session = open_session(bundle, threads=1)
    tables = inputs.tables_of(bundle, select_jets(bundle, events).jets)
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
            tensors = {name: np.ascontiguousarray(array[taken]) for name, array in batch.inputs.items()}
            times = []
            for _ in range(repetitions + 2):
                start = time.process_time()
                session.run(tensors)
                times.append(time.process_time() - start)
            row.append(f"{1e3 * statistics.median(times) / number:.3f}")
        rows.append(tuple(row))
    print(table(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--models", nargs="+", default=["inclParTToyV1"], help="names of models or folders (default: %(default)s)")
    add("--file", type=Path, help="a PFNano file (default: simulated)")
    add("--events", type=int, help="of the file, at most")
    add("--repetitions", type=int, default=3, help="of each measurement (default: %(default)s)")
    add("--peers", type=int, default=1, help="repetitions of the usual way, which takes longest (default: %(default)s)")
    add("--only", default=",".join(SECTIONS), help="what to measure (default: %(default)s)")
    add("--json", type=Path, help="file of results to add to")
    add("--cost", action="store_true", help="measure what a run costs instead")
    args = parser.parse_args()
    path = args.file or inputs.default_file()
    bundles = [jt.load_tagger(model).bundle for model in args.models]
    with EventFile(path) as file:
        plans = [check_columns(bundle, file) for bundle in bundles]
    events = inputs.read(path, sorted({column for plan in plans for column in plan.columns}))[: args.events]
    if args.cost:
        cost(bundles[0], events, args.repetitions)
        return
    wanted = args.only.split(",")

    def done(section: str, name: str, found: Any) -> None:
        print(show(section, {name: found}), flush=True)
        keep(args.json, section, name, found)

    if "network" in wanted:
        print(f"batches of at most {BATCH_SIZE} jets and {COST.cells:g} jets x length²\n")
        for bundle in bundles:
            done("network", bundle.name, network(bundle, events, args.repetitions, args.peers))
    if "reading" in wanted:
        done("reading", bundles[0].name, reading(path, plans[0].columns, args.repetitions))
    if "files" in wanted:
        done("files", bundles[0].name, files(path, args.models[0], args.repetitions))
    if "second" in wanted and len(bundles) > 1:
        done("second", "CPU time", second(args.models[:2], events, args.repetitions))
    if "cache" in wanted:
        for bundle, model in zip(bundles, args.models, strict=True):
            done("cache", bundle.name, cache(model, events, args.repetitions))


if __name__ == "__main__":
    main()
