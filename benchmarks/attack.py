"""What damaged files, odd values, hostile models and killed processes do: ``python -m benchmarks.attack [--quick]``.

Each attack ends in one clear error, in the same result, or in a failure: a result that changed without a word, another
exception, a hang, a process or a partial file that is left. ``--write`` puts the table that is printed into
``docs/robustness.md``. Everything depends on the seed alone, but for the moments at which processes are stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

import jettagger as jt
from benchmarks import hostile
from benchmarks.damage import basket_ranges, chunk_ranges, flipped_copies, page_ranges
from jettagger.bundles.trials import TRIALS
from jettagger.config.yamlfile import read_yaml
from jettagger.errors import JettaggerError
from jettagger.files import complete_or_absent
from jettagger.files.cache import DiskCache
from jettagger.files.root import EventFile
from jettagger.finetuning.skims import open_skim
from jettagger.formats import EventColumns
from jettagger.formats.nesting import nest
from jettagger.heads import Mlp, load_head, write_head
from jettagger.inputs.source import check_columns
from jettagger.skims.writers import write_skim
from jettagger.testing import make_columns, make_events, write_pfnano

__all__ = ["KINDS", "attack", "table"]

PAGE = Path(__file__).resolve().parent.parent / "docs" / "robustness.md"
#: written by ROOT's importer; not part of the project
RNTUPLE = PAGE.parents[2] / "shared" / "data" / "cms" / "pfnano_rntuple.root"

BEGIN, END = "<!-- attacks: begin -->", "<!-- attacks: end -->"

#: seconds after which a process counts as hanging
PATIENCE = 60

COLUMNS = ("event", "FatJet_pt", "FatJet_eta")
CODECS = {"zlib": uproot.ZLIB(4), "LZMA": uproot.LZMA(1), "LZ4": uproot.LZ4(4), "zstd": uproot.ZSTD(5), "plain": None}

#: ``same`` result, one ``error`` of the project, a warning that names the changed file; everything else is a failure
SURVIVED = ("same", "error", "said")

Kind = Callable[[Path, int, int], Iterable[str]]

#: what is attacked -> function of folder, number of attacks and seed that yields outcomes
KINDS: dict[str, Kind] = {}


def _kind(name: str) -> Callable[[Kind], Kind]:
    def add(function: Kind) -> Kind:
        KINDS[name] = function
        return function

    return add


def outcome(act: Callable[[], bytes], right: bytes) -> str:
    """How an attack ended: ``same``, ``error``, ``said`` (changed, with a warning that a file has), ``changed``, or the
    name of an exception that is not the project's.
    """
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = act()
    except JettaggerError:
        return "error"
    except Exception as error:  # counted
        return type(error).__name__
    if found == right:
        return "same"
    return "said" if any("has changed since" in str(warning.message) for warning in said) else "changed"


def content(array: Any) -> bytes:
    """All numbers of an array, to the bit."""
    buffers = ak.to_buffers(ak.to_packed(ak.without_parameters(array)))[2]
    return b"".join(np.asarray(buffers[name]).tobytes() for name in sorted(buffers))


def events_of(path: Path) -> bytes:
    """The columns of events."""
    with EventFile(path) as file:
        return content(file.read(COLUMNS))


def rows_of(path: Path, columns: tuple[str, ...] = COLUMNS) -> bytes:
    """The columns of a skim."""
    return content(ak.concatenate(list(open_skim(str(path)).read(columns, 150))))


def scores_of(model: Path, events: Any) -> bytes:
    """What a folder with a model gives: names and numbers."""
    scores = jt.load_tagger(model, backend="onnxruntime")(events)
    return f"{scores.fields}".encode() + content(scores)


def _chunk(seed: int, n_events: int = 300) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    counts = rng.poisson(2, n_events)
    pt, eta = rng.exponential(300, counts.sum()), rng.normal(size=counts.sum())
    lists = {f"FatJet_{name}": values.astype(np.float32) for name, values in (("pt", pt), ("eta", eta))}
    for values in lists.values():  # a short mantissa, as in NanoAOD, so that all codecs make them smaller
        values.view(np.uint32)[:] &= 0xFFFF0000
    return {"event": rng.integers(0, 2**40, n_events)} | {k: ak.unflatten(v, counts) for k, v in lists.items()}


def _tree(path: Path, codec: Any, seed: int) -> Path:
    with uproot.recreate(path, compression=codec) as file:
        kinds = {name: np.int64 if name == "event" else "var * float32" for name in COLUMNS}
        file.mktree("Events", kinds).extend(_chunk(seed))
    return path


def _rntuple(path: Path, codec: Any, seed: int) -> Path:
    with uproot.recreate(path, compression=codec) as file:
        file.mkrntuple("Events", ak.Array(_chunk(seed)))
    return path


def _skim(path: Path, seed: int) -> Path:
    write_skim(path, [_chunk(seed), _chunk(seed + 1)], '{"model": "some", "digest": "0"}')
    return path


def pfnano(path: Path, codec: Any, seed: int, *, rntuple: bool = False, n_events: int = 60) -> Path:
    """Events of PFNano shape, as a TTree or as an RNTuple that uproot writes."""
    columns = make_columns(n_events, seed=seed)
    with uproot.recreate(path, compression=codec) as file:
        if rntuple:
            file.mkrntuple("Events", columns)
        else:
            nested = nest(columns)
            kinds = {
                name: nested[name].type.content if nested[name].fields else ak.to_numpy(nested[name]).dtype
                for name in nested.fields
            }
            file.mktree("Events", kinds).extend({name: nested[name] for name in nested.fields})
    return path


def tagged(path: Path, *, verify: bool) -> bytes:
    """The scores of a file, by the way of ``jettagger tag``; what fails leaves nothing."""
    output = path.parent / "scores.parquet"
    output.unlink(missing_ok=True)
    try:
        jt.tag_files([str(path)], "tinyParT", str(output), columns=["prob"], verify=verify)
    except JettaggerError:
        if list(path.parent.glob("*scores*")):
            raise RuntimeError("something is left") from None
        raise
    return rows_of(output, ("event", "FatJet_pt", "FatJet_tinyParT_probHbb"))


def _model(folder: Path) -> Path:
    """The tiny network in a folder of its own, with its checksums in the card."""
    bundle = jt.load_bundle("tinyParT")
    target = folder / "model"
    target.mkdir()
    for name, path in bundle.files.items():
        shutil.copy(path, target / name)
    return target


def _flips(path: Path, number: int, ranges: Any, read: Callable[[Path], bytes], seed: int) -> Iterable[str]:
    right = read(path)
    folder = path.parent / "flipped"
    folder.mkdir()
    for copy in flipped_copies(path, folder, number, ranges, seed=seed):
        yield outcome(lambda copy=copy: read(copy), right)  # type: ignore[misc]


def _cuts(path: Path, number: int, read: Callable[[Path], bytes], seed: int) -> Iterable[str]:
    """The file cut short, at random."""
    right, whole = read(path), path.read_bytes()
    rng = np.random.default_rng(seed)
    short = path.parent / f"short{path.suffix}"
    for size in rng.integers(0, len(whole), number):
        short.unlink(missing_ok=True)
        short.write_bytes(whole[: int(size)])
        yield outcome(lambda: read(short), right)


def _register_files() -> None:
    """Kinds of files, cut short and with a flipped bit in what is read."""

    def add(title: str, make: Callable[[Path, int], Path | None], ranges: Callable[[Path], Any], read: Any) -> None:
        @_kind(f"{title}, cut short")
        def cut(folder: Path, number: int, seed: int) -> Iterable[str]:
            path = make(folder, seed)
            return [] if path is None else _cuts(path, number, read, seed)

        @_kind(f"{title}, one bit flipped")
        def flip(folder: Path, number: int, seed: int) -> Iterable[str]:
            path = make(folder, seed)
            return [] if path is None else _flips(path, number, ranges(path), read, seed)

    for name, codec in CODECS.items():
        add(
            f"TTree, {name}",
            lambda folder, seed, codec=codec: _tree(folder / "a.root", codec, seed),  # type: ignore[misc]
            lambda path: basket_ranges(path, COLUMNS),
            events_of,
        )
    for name in ("zstd", "plain"):
        add(
            f"RNTuple of uproot, {name}",
            lambda folder, seed, codec=CODECS[name]: _rntuple(folder / "a.root", codec, seed),  # type: ignore[misc]
            lambda path: page_ranges(path, COLUMNS),
            events_of,
        )
    add(
        "RNTuple of ROOT",
        lambda folder, seed: Path(shutil.copy(RNTUPLE, folder / "a.root")) if RNTUPLE.exists() else None,
        lambda path: page_ranges(path, COLUMNS),
        events_of,
    )
    add(
        "skim in ROOT",
        lambda folder, seed: _skim(folder / "a.root", seed),
        lambda path: basket_ranges(path, COLUMNS),
        rows_of,
    )
    add(
        "skim in parquet",
        lambda folder, seed: _skim(folder / "a.parquet", seed),
        lambda path: chunk_ranges(path, COLUMNS),
        rows_of,
    )


_register_files()


def inputs_of(path: Path) -> list[str]:
    """The flat names of the columns that the tiny network reads."""
    with EventFile(path) as file:
        return [name.replace(".", "_", 1) for name in jt.load_tagger("tinyParT").check(file).columns]


def _register_scores() -> None:
    """Events without checksums, with a flipped bit in what the network reads: what becomes of the scores."""

    def add(title: str, codec: str, *, rntuple: bool, verify: bool) -> None:
        @_kind(f"PFNano in {title}, {codec}, one bit flipped{', --verify' * verify}")
        def flip(folder: Path, number: int, seed: int) -> Iterable[str]:
            path = pfnano(folder / "a.root", CODECS[codec], seed, rntuple=rntuple)
            ranges = (page_ranges if rntuple else basket_ranges)(path, inputs_of(path))
            return _flips(path, number, ranges, partial(tagged, verify=verify), seed)

    for codec in ("zstd", "plain"):
        for title, rntuple in (("a TTree", False), ("an RNTuple of uproot", True)):
            for verify in (False, True):
                add(title, codec, rntuple=rntuple, verify=verify)


_register_scores()


#: what stands in a text for a value: wrong types, and what takes memory or time
HOSTILE_VALUES: tuple[Any, ...] = (
    None, True, [], {}, [[]], {"a": []}, "", "\x1b[2J", "x" * 1_000_000, ["x"] * 100_000, -1, 0, 2**70, 10**4000, 1e300,
    float("nan"), float("inf"), "../../etc/passwd", "a\0b", "\ud800",
)  # fmt: skip

#: the same as texts that do not depend on what is there
HOSTILE_TEXTS = (
    "",
    "[" * 200_000,
    '{"a":' * 200_000,
    "- " * 100_000 + "x",
    "a: &a [*a]",
    "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 20)),
    "a: [" + "1, " * 1_000_000 + "1]",
    "a: 1" + ":59" * 500_000,
    '{"a": "' + "x" * 20_000_000 + '"}',
    '{"a": ' + "9" * 1_000_000 + "}",
    "!!python/object/apply:os.system ['true']",
)


def _hostile_copies(path: Path, number: int, seed: int) -> Iterable[Path]:
    """Copies of a description in JSON or YAML with hostile values in some place, and hostile texts."""
    rng = np.random.default_rng(seed)
    text = path.read_text()
    whole = json.loads(text) if path.suffix == ".json" else read_yaml(text, name=path.name).data
    places: list[tuple[Any, ...]] = []

    def walk(part: Any, place: tuple[Any, ...]) -> None:
        for key in part if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ():
            places.append((*place, key))
            walk(part[key], (*place, key))

    walk(whole, ())
    folder = path.parent / "hostile"
    folder.mkdir()
    copy = folder / path.name
    for attempt in range(number):
        if attempt % 3 == 2:
            copy.write_text(HOSTILE_TEXTS[int(rng.integers(len(HOSTILE_TEXTS)))])
        else:
            changed = json.loads(json.dumps(whole))
            *front, last = places[int(rng.integers(len(places)))]
            part = changed
            for key in front:
                part = part[key]
            part[last] = HOSTILE_VALUES[int(rng.integers(len(HOSTILE_VALUES)))]
            copy.write_text(json.dumps(changed))  # YAML, too
        yield copy


def _damaged_model(
    folder: Path,
    number: int,
    seed: int,
    name: str,
    how: str,
    *,
    make: Callable[[Path], Path] = _model,
    score: Callable[[Path], bytes] | None = None,
    declared: bool = True,
) -> Iterable[str]:
    """A file of a folder that is made: cut short, with bits flipped, with hostile content."""
    model = make(folder)
    if not declared:
        card = json.loads((model / "bundle.json").read_text())
        del card["sha256"]
        (model / "bundle.json").write_text(json.dumps(card))
    events = make_events(2, seed=seed)
    path = model / name
    copy = folder / "whole" / name
    copy.parent.mkdir()
    shutil.copy(path, copy)

    def read(damaged: Path) -> bytes:
        path.unlink(missing_ok=True)
        shutil.copy(damaged, path)
        return scores_of(model, events) if score is None else score(model)

    if how == "cut short":
        yield from _cuts(copy, number, read, seed)
    elif how == "one bit flipped":
        yield from _flips(copy, number, None, read, seed)
    else:
        right = read(copy)
        for damaged in _hostile_copies(copy, number, seed):
            yield outcome(lambda damaged=damaged: read(damaged), right)  # type: ignore[misc]


def _head(folder: Path, *, checksum: bool = True) -> Path:
    """A head of random weights in a folder of its own."""
    rng = np.random.default_rng(5)
    layers = [(rng.normal(size=(4, 3)), rng.normal(size=4)), (rng.normal(size=(2, 4)), rng.normal(size=2))]
    target = folder / "head"
    target.mkdir()
    write_head(
        target,
        name="Toy",
        kind="classes",
        parent=jt.load_bundle("tinyParT"),
        inputs=("probHbb", "mass", "FatJet_pt"),
        outputs=("probA", "probB"),
        parts=[Mlp(np.zeros(3), np.ones(3), layers, "relu")],
        metrics={"auc": 0.9},
    )
    if not checksum:
        card = json.loads((target / "head.json").read_text())
        del card["checksum"]
        (target / "head.json").write_text(json.dumps(card))
    return target


def _head_gives(folder: Path) -> bytes:
    """What a head gives, and the names of its columns."""
    head = load_head(folder)
    rows = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    return f"{head.columns} {head.inputs}".encode() + head.compute(rows).tobytes()


def _weaver_model(folder: Path) -> Path:
    """A network that a data configuration of weaver describes."""
    return hostile.write("yaml-good", folder)


def _weaver_gives(folder: Path) -> bytes:
    lists = np.random.default_rng(1).exponential(10, (3, 12)).astype(np.float32)
    names = ("part_pt", "part_eta", "part_mask")
    jets = ak.Array({name: ak.unflatten(values, [5, 4, 3]) for name, values in zip(names, lists, strict=True)})
    return scores_of(folder, jets)


def _register_models() -> None:
    """Files of models and heads, damaged and hostile."""

    def add(title: str, name: str, *ways: str, **settings: Any) -> None:
        for how in ways:

            @_kind(f"{title}, {how}")
            def damage(folder: Path, number: int, seed: int, how: str = how) -> Iterable[str]:
                return _damaged_model(folder, number, seed, name, how, **settings)

    cut, flip, odd = "cut short", "one bit flipped", "hostile content"
    add("network with a declared checksum", "model.onnx", cut, flip)
    add("network without a declared checksum", "model.onnx", flip, declared=False)
    add("description of a model (JSON)", "preprocess.json", cut, flip)
    add("description of a model (JSON) without a declared checksum", "preprocess.json", flip, odd, declared=False)
    weaver = {"make": _weaver_model, "score": _weaver_gives}
    add("data configuration of weaver (YAML)", "data.yaml", cut, flip, odd, **weaver)
    head = {"make": _head, "score": _head_gives}
    add("network of a head", "head.onnx", cut, flip, **head)
    add("description of a head (JSON)", "head.json", cut, flip, **head)
    bare = {"make": lambda folder: _head(folder, checksum=False), "score": _head_gives}
    add("description of a head (JSON) without its checksum", "head.json", odd, **bare)


_register_models()


@_kind("entry of the score cache, one bit flipped")
def _cache(folder: Path, number: int, seed: int) -> Iterable[str]:
    store = DiskCache(folder / "cache", limit=10**8)
    store.put("ab" * 16, {"x": np.arange(500.0)})
    (path,) = (path for path in store.folder.rglob("*") if path.is_file())
    whole = path.read_bytes()
    right = np.arange(500.0).tobytes()
    for copy in flipped_copies(path, folder, number, seed=seed):
        path.unlink(missing_ok=True)
        shutil.copy(copy, path)

        def read() -> bytes:
            found = store.get("ab" * 16)
            return right if found is None else found["x"].tobytes()  # a miss is scored anew

        yield outcome(read, right)
        path.unlink(missing_ok=True)
        path.write_bytes(whole)


#: run for one hostile model in a process of its own
_LOAD = """
import sys, warnings
warnings.simplefilter("ignore")
import jettagger as jt
from jettagger.testing import make_events
try:
    jt.load_tagger(sys.argv[1])(make_events(2, seed=1))
except jt.JettaggerError as error:
    sys.exit(7 if len(str(error)) < 4000 else 8)
"""


@_kind("malformed and hostile models")
def _hostile(folder: Path, number: int, seed: int) -> Iterable[str]:
    names = np.random.default_rng(seed).permutation(sorted(hostile.HOSTILE))[:number]
    for name in names:
        model = hostile.write(str(name), folder, seed)
        # graphs without end are given up after the trial's time, 60 s unless said otherwise
        settings = os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), TRIALS: "5"}
        try:
            done = subprocess.run(
                [sys.executable, "-c", _LOAD, str(model)],
                env=settings,
                capture_output=True,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            yield "hang"
            continue
        yield {0: "same", 7: "error"}.get(done.returncode, "traceback" if done.returncode > 0 else "killed")


def _tag(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "jettagger", "tag", *arguments, "-m", "tinyParT", "-o", str(folder / "o.parquet")]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def _children(session: int) -> list[int]:
    """Processes of a session that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(path.parent.name))
    return found


#: events of the job that is stopped
N_EVENTS = 600


def _job(folder: Path) -> subprocess.Popen[bytes]:
    """A job with two workers."""
    folder.mkdir()
    nano = folder.parent / "nano.root"
    if not nano.exists():
        write_pfnano(nano, N_EVENTS, seed=1)
    return _tag(folder, str(nano), "--workers", "2", "--memory", "4MB")


def _stopped(folder: Path, moment: float, *signals: int) -> str:
    """A job that is stopped: what it leaves."""
    job = _job(folder)
    time.sleep(moment)
    for number in signals:
        job.send_signal(number)
        time.sleep(0.2)
    try:
        text = job.communicate(timeout=PATIENCE)[1]
        patience = time.monotonic() + 5
        while _children(job.pid) and time.monotonic() < patience:
            time.sleep(0.1)
        if _children(job.pid):
            return "orphan"
        parts = [path for path in folder.iterdir() if path.name.startswith(".")]
        if signals[0] != signal.SIGKILL and parts:
            return "partial file"
        output = folder / "o.parquet"
        if output.exists() and len(ak.from_parquet(output)) != N_EVENTS:
            return "partial output"
        return "traceback" if b"Traceback" in text else "same"
    except subprocess.TimeoutExpired:
        return "hang"
    finally:
        for pid in _children(job.pid):
            os.kill(pid, signal.SIGKILL)


@_kind("command with two workers, stopped by Ctrl-C, SIGTERM, kill -9 or two Ctrl-C")
def _processes(folder: Path, number: int, seed: int) -> Iterable[str]:
    """Moments are spread evenly over the run, as long as it takes here; each way has early and late ones."""
    rng = np.random.default_rng(seed)
    start = time.monotonic()
    _job(folder / "whole").communicate(timeout=5 * PATIENCE)
    seconds = min(time.monotonic() - start, 20.0)
    ways = [(signal.SIGINT,), (signal.SIGTERM,), (signal.SIGKILL,), (signal.SIGINT, signal.SIGINT)]
    attempts = max(4, 4 * (number // 10))
    for attempt in range(attempts):
        share = (attempt // 4 + rng.uniform()) / (attempts // 4)
        # before the first second Python itself starts, and answers an interrupt with a traceback
        yield _stopped(folder / str(attempt), 1 + share * max(seconds - 1, 0.0), *ways[attempt % 4])


@_kind("named pipe as an input")
def _pipe(folder: Path, number: int, seed: int) -> Iterable[str]:
    os.mkfifo(folder / "pipe.root")
    job = _tag(folder, str(folder / "pipe.root"))
    try:
        text = job.communicate(timeout=PATIENCE)[1]
        yield "traceback" if b"Traceback" in text else "error" if job.returncode else "changed"
    except subprocess.TimeoutExpired:
        job.kill()
        job.communicate()
        yield "hang"


@_kind("outputs that are links, and files of other threads")
def _links(folder: Path, number: int, seed: int) -> Iterable[str]:
    (folder / "plain").touch()
    expected = (folder / "plain").stat().st_mode & 0o777
    modes: set[int] = set()
    done = threading.Event()

    def others() -> None:
        while not done.is_set():
            place = folder / "other"
            place.touch()
            modes.add(place.stat().st_mode & 0o777)
            place.unlink()

    thread = threading.Thread(target=others)
    thread.start()
    try:
        for attempt in range(number):
            link, target = folder / f"link{attempt}", folder / f"target{attempt}"
            link.symlink_to(target)
            with complete_or_absent(link) as part:
                part.write_text("x")
                private = part.stat().st_mode & 0o077 == 0
            right = link.is_symlink() and not target.is_symlink() and target.read_text() == "x" and private
            yield "same" if right and target.stat().st_mode & 0o777 == expected else "changed"
    finally:
        done.set()
        thread.join()
    yield "same" if modes <= {expected} else "changed"


@_kind("odd values in columns that are read")
def _values(folder: Path, number: int, seed: int) -> Iterable[str]:
    """Other jets keep their scores, and all scores are finite."""
    tagger = jt.load_tagger("tinyParT")
    events = make_events(6, seed=seed + 5)
    rng = np.random.default_rng(seed)
    columns = check_columns(tagger.bundle, EventColumns(events)).columns

    def numbers(events: Any) -> list[list[float] | None]:
        """All outputs of each jet: probabilities, the mass, hidden neurons."""
        jets = ak.flatten(tagger(events), axis=1).tolist()
        return [None if jet is None else list(jet.values()) for jet in jets]

    plain = numbers(events)
    for _ in range(2 * number):
        collection, _, field = str(rng.choice(columns)).partition(".")
        array = events[collection, field]
        values = ak.to_numpy(ak.flatten(array)).copy()
        odd: list[float] = [np.nan, np.inf, -np.inf, 1e30, -1e30, -1.0, 0.0]
        if values.dtype.kind != "f":
            odd = [-(2**31), 2**31 - 1, -2, 10_000]
        if not len(values):
            continue
        values[int(rng.integers(len(values)))] = rng.choice(odd)
        changed = ak.with_field(events[collection], ak.unflatten(values, ak.num(array)), field)

        def read(changed: Any = changed, collection: str = collection) -> bytes:
            found = numbers(ak.with_field(events, changed, collection))
            other = [a is None or np.allclose(a, b, rtol=1e-5, atol=1e-5) for a, b in zip(found, plain, strict=True)]
            finite = all(a is None or np.isfinite(a).all() for a in found)
            return b"right" if finite and other.count(False) <= 1 else b"wrong"

        yield outcome(read, b"right")


def attack(kind: str, number: int, seed: int = 0) -> Counter[str]:
    """Try one kind and count the outcomes.

    Parameters
    ----------
    kind : str
        A key of `KINDS`.
    number : int
        Attacks, roughly.
    seed : int

    Returns
    -------
    Counter of str
    """
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Counter(KINDS[kind](Path(folder), number, seed))


def table(results: dict[str, Counter[str]]) -> str:
    """The outcomes as a table in markdown."""
    lines = ["| attack | tried | survived | what did not |", "|---|---|---|---|"]
    for kind, counts in results.items():
        failed = ", ".join(f"{n} {name}" for name, n in sorted(counts.items()) if name not in SURVIVED)
        lines.append(f"| {kind} | {counts.total()} | {sum(counts[name] for name in SURVIVED)} | {failed} |")
    return "\n".join(lines)


def main() -> None:
    """Try all kinds, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer attacks, about a minute")
    parser.add_argument("--number", type=int, default=40, help="attacks of a kind (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    args = parser.parse_args()
    results = {}
    for kind in KINDS:
        results[kind] = attack(kind, 5 if args.quick else args.number, args.seed)
        print(kind, dict(results[kind]), file=sys.stderr, flush=True)
    print(table(results))
    if args.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        with complete_or_absent(PAGE) as part:
            part.write_text(f"{before}{BEGIN}\n{table(results)}\n{END}{after}")


if __name__ == "__main__":
    main()
