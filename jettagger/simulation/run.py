"""Simulation in blocks: individually seeded, in several processes, resumable, with one complete output.

The blocks are stored in a folder next to the output until all are finished. The seed of a block depends only on the
seed of the run, the process and the number of the block, so that the arrays do not depend on the number of workers.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jettagger._version import __version__
from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import (
    ConfigError,
    InputFileError,
    JettaggerError,
    OutputError,
    UnknownName,
    output_exists,
    require,
)
from jettagger.files import complete_or_absent, refuse_inputs
from jettagger.files.basketsums import add_sums
from jettagger.files.jsonfile import parse_json, read_object
from jettagger.files.parquet import METADATA
from jettagger.files.parts import remove_stale
from jettagger.files.root import NOTE
from jettagger.provenance import KEY, Provenance
from jettagger.runtime.workers import finished, submit, worker_pool
from jettagger.simulation import processes
from jettagger.simulation.block import SimulatedEvents, process_batch
from jettagger.simulation.cards import DetectorCard, load_card
from jettagger.simulation.generate import Generator, concatenate, offsets_of, tabulate_interactions
from jettagger.simulation.pileup import MINIMUM_BIAS, Pool, make_pool
from jettagger.simulation.processes import PROCESSES, Point, Process

__all__ = ["BlockSpec", "RunPlan", "Summary", "make_block", "plan", "simulate"]

FORMATS = ("pfnano", "jetclass2")
BLOCK_EVENTS = 800
#: Where the mass varies, a block has a point of mass for so many events, and this many at least. Each needs a
#: Pythia of its own, whose start takes as long as twenty events.
POINT_EVENTS, FEWEST_POINTS = 134, 4
#: Generated events before an empty selection is called hopeless, and the acceptance that is.
PATIENCE, LEAST_ACCEPTANCE = 2000, 0.002
ATTEMPTS = 3
PARTS_PER_WRITE = 12

#: pages of parquet files have checksums
CHECKSUMS = {"write_page_checksum": True}
MOST_AT_ONCE = 400
TABLES, SOFT_TABLES = "interactions.dat", "minimum_bias.dat"


@dataclass(frozen=True)
class BlockSpec(Brief):
    """One block: ``index`` in the run, ``number`` among the blocks of its process, number of events to keep."""

    index: int
    process: str
    number: int
    events: int


@dataclass(frozen=True)
class RunPlan(Brief):
    """A run: everything that its arrays depend on."""

    process: str
    events: int
    pt: tuple[float, float]
    mass: tuple[float, float] | None
    seed: int
    card: str
    card_digest: str
    pileup: float
    format: str
    blocks: tuple[BlockSpec, ...]

    def describe(self) -> dict[str, Any]:
        """Content of the manifest, compared when a run is resumed."""
        content = asdict(self)
        content["blocks"] = len(self.blocks)
        content["versions"] = versions()
        plain: dict[str, Any] = parse_json(json.dumps(content), "plan", kind=dict)
        return plain


@dataclass(frozen=True)
class Summary(Brief):
    """The result of a run.

    Attributes
    ----------
    output : pathlib.Path
    events, jets : int
        Numbers of written events and fat jets.
    labels : dict of str to int
        Fat jets of each type.
    manifest : pathlib.Path
    """

    output: Path
    events: int
    jets: int
    labels: dict[str, int]
    manifest: Path


def versions() -> dict[str, str]:
    """Versions of the packages that the arrays depend on."""
    found = {"jettagger": __version__, "python": platform.python_version()}
    for name in ("pythia8mc", "fastjet", "numpy", "awkward", "uproot"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def plan(
    process: str,
    events: int,
    *,
    pt: tuple[float, float] = (200.0, 1000.0),
    mass: tuple[float, float] | None = None,
    seed: int = 1,
    card: str = "default",
    pileup: float | None = None,
    format: str = "pfnano",
) -> RunPlan:
    """Divide a run into blocks.

    Parameters
    ----------
    process : str
        A process or a mixture.
    events : int
        Number of events to write; in a mixture they are shared among the processes.
    pt : tuple of float
        Range of the transverse momentum of the fat jets, GeV.
    mass : tuple of float, optional
        Range of the mass of the resonance, GeV; default: that of the process.
    seed : int
    card : str
        Name or path of a detector card.
    pileup : float, optional
        Mean number of pile-up interactions, overriding the card.
    format : str
        ``"pfnano"`` or ``"jetclass2"``.

    Returns
    -------
    RunPlan

    Raises
    ------
    UnknownName
        If the process, the card or the format does not exist.
    ConfigError
        If a range is impossible or a number is not positive.

    Examples
    --------
    >>> [(block.process, block.events) for block in plan("Hbb", 300).blocks]
    [('Hbb', 300)]
    """
    shares = processes.members(process)
    if format not in FORMATS:
        raise UnknownName("format", format, FORMATS)
    if events < 1:
        raise ConfigError(f"got {events} events, expected at least 1")
    if seed < 0:
        raise ConfigError(f"got the seed {seed}, expected at least 0")
    processes.check_ranges(process, pt, mass)
    loaded = _card(card, pileup)
    ordered: list[tuple[float, str, int, int]] = []
    wanted = _shared(events, list(shares.values()))
    for (name, _), quota in zip(shares.items(), wanted, strict=True):
        if quota == 0:
            continue
        n_blocks = -(-quota // BLOCK_EVENTS)
        for number, size in enumerate(_shared(quota, [1] * n_blocks)):
            ordered.append(((number + 0.5) / n_blocks, name, number, size))
    ordered.sort()
    blocks = tuple(BlockSpec(index, name, number, size) for index, (_, name, number, size) in enumerate(ordered))
    return RunPlan(
        process,
        events,
        pt,
        mass,
        seed,
        str(card),
        loaded.digest,
        float(loaded["pileup"]["mean"]),
        format,
        blocks,
    )


def _card(name: str, pileup: float | None) -> DetectorCard:
    card = load_card(name)
    return card if pileup is None else card.with_pileup(pileup)


def _shared(total: int, shares: list[int]) -> list[int]:
    """A number divided into integers in proportion to given shares."""
    edges = np.floor(np.cumsum([0, *shares]) / sum(shares) * total + 0.5).astype(int)
    return [int(size) for size in np.diff(edges)]


def points_of(run: RunPlan, block: BlockSpec) -> list[tuple[Point, int]]:
    """Points of a block with their events; over all blocks they fill the square of mass and scale evenly."""
    process = PROCESSES[block.process]
    start = np.random.default_rng([run.seed, process.number, 7]).random(2)
    # the golden ratio leaves the smallest gaps in mass, however many points there are
    steps = np.array([0.5 * np.sqrt(5.0) - 0.5, np.sqrt(2.0) - 1.0])
    mass = run.mass or process.mass or (0.0, 0.0)
    n_points = min(max(FEWEST_POINTS, -(-block.events // POINT_EVENTS)), block.events) if mass[0] < mass[1] else 1
    points = []
    for place, events in enumerate(_shared(block.events, [1] * n_points)):
        number = block.number * n_points + place
        u_mass, u_scale = (start + number * steps) % 1.0
        points.append((Point(run.pt, mass, float(u_mass), float(u_scale), number % 2), events))
    return points


def write_tables(card: DetectorCard, folder: Path) -> Path:
    """Write the tables that blocks start from, for the hard process and for pile-up, unless they are there.

    Parameters
    ----------
    card : DetectorCard
    folder : pathlib.Path

    Returns
    -------
    pathlib.Path
        ``folder``.
    """
    tune = card["generator"]["tune_settings"]
    if not (folder / TABLES).is_file():
        tabulate_interactions(tune, folder / TABLES)
    if card["pileup"]["mean"] > 0 and not (folder / SOFT_TABLES).is_file():
        tabulate_interactions(tune, folder / SOFT_TABLES, MINIMUM_BIAS)
    return folder


def make_block(run: RunPlan, block: BlockSpec, tables: Path | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Generate, reconstruct and label one block.

    Parameters
    ----------
    run : RunPlan
    block : BlockSpec
    tables : pathlib.Path, optional
        Folder with the tables of `write_tables` for the card; by default they are written again.

    Returns
    -------
    columns : dict
        Columns in the format of the run.
    facts : dict
        Counts and weights of the block, for the tree ``Runs`` and the manifest.

    Raises
    ------
    ConfigError
        If hardly any generated event is accepted.
    """
    import awkward as ak

    process = PROCESSES[block.process]
    card = _card(run.card, run.pileup)
    seeds = np.random.SeedSequence([run.seed, process.number, block.number])
    rng = np.random.default_rng(seeds.spawn(1)[0])
    points = points_of(run, block)
    pool_seed, *pythia_seeds = (int(seed) for seed in seeds.generate_state(1 + len(points)))
    writer = _writer(run.format)
    tally = _Tally()
    parts: list[dict[str, Any]] = []
    with ExitStack() as stack:
        if tables is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            tables = write_tables(card, Path(folder))
        pool = make_pool(card, pool_seed, rng, tables / SOFT_TABLES) if card["pileup"]["mean"] > 0 else None
        sources = []
        for (point, wanted), pythia_seed in zip(points, pythia_seeds, strict=True):
            settings = [*process.settings(point), *card["generator"]["tune_settings"]]
            sources.append(_Source(Generator(settings, pythia_seed, tables / TABLES), wanted))
    while any(source.left for source in sources):
        batch = _next_batch(sources, process, card, run.pt, rng, pool, tally)
        if np.any(batch.keep):
            parts.append(writer(batch, block, tally.events))
            tally.add_jets(batch.fat_truth["label"][batch.keep[batch.fat.event]], int(np.sum(batch.keep)))
    section, error = sources[0].generator.cross_section
    facts = {
        "block": block.index, "process": block.process, "processNumber": process.number, "events": tally.events,
        "genEventCount": tally.tried, "genEventSumw": tally.sumw, "genEventSumw2": tally.sumw2, "jets": tally.jets,
        "crossSection": process.cross_section * section if process.cross_section else 1.0,
        "crossSectionError": process.cross_section * error,
        "labels": {processes.label_name(value): count for value, count in sorted(tally.labels.items())},
    }  # fmt: skip
    merged = {name: ak.concatenate([part[name] for part in parts]) for name in parts[0]}
    return merged, facts


@dataclass
class _Source:
    """A generator at one point, the requested events and those generated so far."""

    generator: Generator
    wanted: int
    accepted: int = 0
    tried: int = 0

    @property
    def left(self) -> int:
        return self.wanted - self.accepted

    @property
    def request(self) -> int:
        """Number of events to generate: slightly more than needed, so that few blocks take a third round."""
        expected = max(self.accepted, 1) / max(self.tried, 1)
        return int(np.clip(1.08 * self.left / expected + 3, 10, MOST_AT_ONCE))


@dataclass
class _Tally:
    """Counts of a block so far."""

    events: int = 0
    tried: int = 0
    jets: int = 0
    sumw: float = 0.0
    sumw2: float = 0.0
    labels: dict[int, int] = field(default_factory=dict)

    def add_tried(self, weights: NDArray[np.float64]) -> None:
        self.tried += len(weights)
        self.sumw += float(np.sum(weights))
        self.sumw2 += float(np.sum(weights**2))

    def add_jets(self, stored: NDArray[np.int64], events: int) -> None:
        self.events += events
        self.jets += len(stored)
        for value, count in zip(*np.unique(stored, return_counts=True), strict=True):
            self.labels[int(value)] = self.labels.get(int(value), 0) + int(count)


def _next_batch(
    sources: list[_Source],
    process: Process,
    card: DetectorCard,
    pt: tuple[float, float],
    rng: np.random.Generator,
    pool: Pool | None,
    tally: _Tally,
) -> SimulatedEvents:
    """More events of every unfinished source; surplus events are neither kept nor counted."""
    open_sources = [source for source in sources if source.left]
    truths = [source.generator.next(source.request) for source in open_sources]
    batch = process_batch(concatenate(truths), process, card, pt, rng, pool)
    ends = offsets_of(np.array([truth.n_events for truth in truths]))
    for source, truth, first, last in zip(open_sources, truths, ends[:-1], ends[1:], strict=True):
        enough = np.flatnonzero(np.cumsum(batch.keep[first:last]) >= source.left)
        used = int(enough[0]) + 1 if len(enough) else truth.n_events
        batch.keep[first + used : last] = False
        tally.add_tried(truth.weight[:used])
        source.tried += used
        source.accepted += int(np.sum(batch.keep[first:last]))
        if source.tried >= PATIENCE and source.accepted < LEAST_ACCEPTANCE * source.tried:
            raise ConfigError(
                f"process {process.name!r}: {source.accepted} of {source.tried} generated events have a jet of the "
                f"process with pt {pt[0]:g} to {pt[1]:g} GeV (acceptance {source.accepted / source.tried:.2%}, "
                f"expected at least {LEAST_ACCEPTANCE:.1%}); choose another range of pt or mass"
            )
    return batch


def _writer(format: str) -> Callable[[Any, BlockSpec, int], dict[str, Any]]:
    if format == "pfnano":
        from jettagger.simulation import pfnano

        return lambda batch, block, done: pfnano.columns(
            batch, first_event=block.index * 1_000_000 + done + 1, lumi=block.index + 1
        )
    from jettagger.simulation import jetclass2

    return lambda batch, block, done: jetclass2.columns(batch)


def _store_block(run: RunPlan, block: BlockSpec, folder: str) -> dict[str, Any]:
    """Make one block and store it in the folder; the task of a worker."""
    import awkward as ak

    data, facts = make_block(run, block, Path(folder))
    # list columns of records survive parquet as they are
    array = ak.zip(data, depth_limit=1)
    target = Path(folder) / f"block-{block.index:06d}.parquet"
    with complete_or_absent(target) as part:
        ak.to_parquet(array, part, compression="zstd", compression_level=1, parquet_extra_options=CHECKSUMS)
    with complete_or_absent(target.with_suffix(".json")) as part:
        part.write_text(json.dumps(facts))
    return facts


def simulate(
    process: str,
    events: int,
    output: str | os.PathLike[str],
    *,
    pt: tuple[float, float] = (200.0, 1000.0),
    mass: tuple[float, float] | None = None,
    seed: int = 1,
    card: str = "default",
    pileup: float | None = None,
    format: str = "pfnano",
    workers: int = 1,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Simulate jets into one file.

    Parameters
    ----------
    process : str
        A process or a mixture, see `jettagger.simulation.PROCESSES` and ``MIXTURES``.
    events : int
        Number of events to write.
    output : path
        ROOT file; for ``format="jetclass2"`` also ``.parquet``.
    pt : tuple of float
        Range of the transverse momentum of the fat jets, GeV.
    mass : tuple of float, optional
        Range of the mass of the resonance, GeV; default: that of the process.
    seed : int
        The same seed gives the same arrays for any number of workers.
    card : str
        Name or path of a detector card.
    pileup : float, optional
        Mean number of pile-up interactions, overriding the card.
    format : str
        ``"pfnano"`` or ``"jetclass2"``.
    workers : int
        Number of processes.
    force : bool
        Replace an existing output, and discard blocks of another run.
    progress : callable, optional
        Called with the numbers of finished and of all events.

    Returns
    -------
    Summary

    Raises
    ------
    UnknownName, ConfigError, MissingExtra
        See `plan` and `make_block`.
    OutputError
        If the output exists or is the card, if there is a folder with blocks of a different run, or if the disk is
        full.
    """
    target = Path(output)
    if not target.name:
        raise OutputError(f"output {os.fspath(output)!r} is not the name of a file")
    for path in (target, _blocks_folder(target), _manifest(target)):
        refuse_inputs(path, [card])
    require("pythia8mc", "sim", "simulating events")
    require("fastjet", "sim", "clustering jets")
    if workers < 1:
        raise ConfigError(f"got {workers} workers, expected at least 1")
    run = plan(process, events, pt=pt, mass=mass, seed=seed, card=card, pileup=pileup, format=format)
    suffixes = (".root",) if format == "pfnano" else (".root", ".parquet")
    if target.suffix not in suffixes:
        raise ConfigError(f"output {target}: format {format!r} is written to {' or '.join(suffixes)}")
    if target.exists() and not force:
        raise output_exists(target)
    remove_stale(target.parent)
    folder = _open_folder(target, run, force)
    report = progress or (lambda done, total: None)
    with _alone(folder):
        write_tables(_card(card, pileup), folder)
        facts = _all_blocks(run, folder, workers, report)
        _write(run, folder, target, facts)
        manifest = _write_manifest(run, target, facts)
        shutil.rmtree(folder)
    labels: dict[str, int] = {}
    for fact in facts:
        for name, count in fact["labels"].items():
            labels[name] = labels.get(name, 0) + count
    return Summary(target, sum(fact["events"] for fact in facts), sum(fact["jets"] for fact in facts), labels, manifest)


def _blocks_folder(target: Path) -> Path:
    return target.with_name(target.name + ".blocks")


def _manifest(target: Path) -> Path:
    return target.with_name(target.name + ".manifest.json")


def _open_folder(target: Path, run: RunPlan, force: bool) -> Path:
    folder = _blocks_folder(target)
    note = folder / "plan.json"
    wanted = run.describe()
    if note.is_file():
        try:
            found = read_object(note, OutputError)
        except OutputError as error:
            if not force:
                raise OutputError(f"{error}; use --force (force=True) to drop the blocks beside it") from error
            found = {}
        if found == wanted:
            return folder
        if not force:
            differing = [key for key in wanted if found.get(key) != wanted[key]]
            raise OutputError(
                f"{folder} holds blocks of another run (different: {', '.join(differing)}); "
                f"use --force (force=True) to drop them, or another output"
            )
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        with complete_or_absent(note) as part:
            part.write_text(json.dumps(wanted, indent=1))
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
    return folder


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock the folder for this run: two runs with the same output would interfere."""
    import fcntl

    with (folder / "plan.json").open() as note:
        try:
            fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(f"{folder} is in use: another run is writing the same output") from error
        yield


def _finished(run: RunPlan, folder: Path) -> dict[int, dict[str, Any]]:
    done = {}
    for block in run.blocks:
        note = folder / f"block-{block.index:06d}.json"
        if note.is_file() and note.with_suffix(".parquet").is_file():
            with suppress(InputFileError):  # made anew
                done[block.index] = read_object(note)
    return done


def _all_blocks(run: RunPlan, folder: Path, workers: int, report: Callable[[int, int], None]) -> list[dict[str, Any]]:
    done = _finished(run, folder)
    total = sum(block.events for block in run.blocks)
    report(sum(fact["events"] for fact in done.values()), total)
    waiting = [block for block in run.blocks if block.index not in done]
    made: Iterator[tuple[int, dict[str, Any]]]
    if workers == 1:
        made = ((block.index, _store_block(run, block, str(folder))) for block in waiting)
    else:
        made = _in_processes(run, waiting, folder, workers)
    for index, fact in made:
        done[index] = fact
        report(sum(item["events"] for item in done.values()), total)
    return [done[block.index] for block in run.blocks]


def _in_processes(
    run: RunPlan, waiting: list[BlockSpec], folder: Path, workers: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Make blocks in several processes; a block whose process was killed is repeated."""
    attempts: dict[int, int] = {}
    left = {block.index: block for block in waiting}
    while left:
        running: dict[Future[dict[str, Any]], BlockSpec] = {}
        queue = list(left.values())
        try:
            with worker_pool(workers) as pool:
                while queue or running:
                    while queue and len(running) < workers:
                        block = queue.pop(0)
                        running[submit(pool, _store_block, run, block, str(folder))] = block
                    for future in finished(running, pool, _named(running.values())):
                        block = running[future]
                        fact = future.result()
                        del running[future], left[block.index]
                        yield block.index, fact
        except BrokenProcessPool as error:
            for index in {block.index for block in running.values()} | {block.index}:
                attempts[index] = attempts.get(index, 0) + 1
            worst = max(attempts, key=lambda index: attempts[index])
            if attempts[worst] >= ATTEMPTS:
                raise JettaggerError(
                    f"block {worst} ({left[worst].process}) was not finished in {ATTEMPTS} attempts: its "
                    f"process was killed each time (out of memory?); finished blocks stay in {folder}"
                ) from error


def _named(blocks: Iterable[BlockSpec]) -> str:
    return f"at blocks {', '.join(f'{block.index} ({block.process})' for block in blocks)}"


def _chunks(run: RunPlan, folder: Path) -> Iterator[Any]:
    """The blocks in order, several at a time."""
    import awkward as ak
    import pyarrow.parquet

    def block(path: Path) -> Any:
        return ak.from_arrow(pyarrow.parquet.ParquetFile(path, page_checksum_verification=True).read())

    paths = [folder / f"block-{block.index:06d}.parquet" for block in run.blocks]
    for first in range(0, len(paths), PARTS_PER_WRITE):
        yield ak.concatenate([block(path) for path in paths[first : first + PARTS_PER_WRITE]])


def _write(run: RunPlan, folder: Path, target: Path, facts: list[dict[str, Any]]) -> None:
    if target.suffix == ".parquet":
        import awkward as ak
        import pyarrow.parquet

        table = ak.to_arrow_table(ak.concatenate(list(_chunks(run, folder))), extensionarray=False)
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), METADATA: _made(run).text})
        with complete_or_absent(target) as part:
            # as ak.to_parquet writes, which takes no metadata
            options = {**CHECKSUMS, "use_dictionary": False, "use_compliant_nested_type": False}
            pyarrow.parquet.write_table(table, part, compression="zstd", **options)
        return
    import uproot

    with complete_or_absent(target) as part:
        with uproot.recreate(part, compression=uproot.ZSTD(7)) as file:
            name = "Events" if run.format == "pfnano" else "tree"
            tree = None
            for chunk in _chunks(run, folder):
                branches = {field: chunk[field] for field in chunk.fields}
                if tree is None:
                    tree = file.mktree(name, {field: _type(array) for field, array in branches.items()})
                tree.extend(branches)
            if run.format == "pfnano":
                _write_runs(file, facts)
            file[NOTE] = _made(run).text
        add_sums(part)


def _made(run: RunPlan) -> Provenance:
    return Provenance("simulate", configuration=run.describe())


def _type(array: Any) -> Any:
    """The type with which uproot makes a branch, without the length of the chunk."""
    import awkward as ak

    return ak.type(array).content if array.ndim > 1 or array.fields else np.asarray(array).dtype


def _write_runs(file: Any, facts: list[dict[str, Any]]) -> None:
    """One entry per block: columns of CMS, the process, its cross section in pb (1 for toy resonances)."""
    columns: dict[str, Any] = {
        "run": np.ones(len(facts), np.uint32),
        "luminosityBlock": np.array([fact["block"] + 1 for fact in facts], np.uint32),
        "genProcess": np.array([fact["processNumber"] for fact in facts], np.int32),
        "genEventCount": np.array([fact["genEventCount"] for fact in facts], np.int64),
    }
    for name in ("genEventSumw", "genEventSumw2", "crossSection", "crossSectionError"):
        columns[name] = np.array([fact[name] for fact in facts], np.float64)
    tree = file.mktree("Runs", {name: values.dtype for name, values in columns.items()})
    tree.extend(columns)


def _write_manifest(run: RunPlan, target: Path, facts: list[dict[str, Any]]) -> Path:
    by_process: dict[str, dict[str, Any]] = {}
    for fact in facts:
        entry = by_process.setdefault(
            fact["process"],
            {"blocks": 0, "events": 0, "jets": 0, "genEventCount": 0, "genEventSumw": 0.0, "labels": {}},
        )
        entry["blocks"] += 1
        for key in ("events", "jets", "genEventCount", "genEventSumw"):
            entry[key] += fact[key]
        for name, count in fact["labels"].items():
            entry["labels"][name] = entry["labels"].get(name, 0) + count
    content = {"format": "jettagger-simulation/1", **run.describe(), "processes": by_process}
    content[KEY] = _made(run).to_dict()
    content["written"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    path = _manifest(target)
    with complete_or_absent(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n")
    return path


guard(globals(), "Summary", "plan", "simulate")
