"""Searches that are stopped or lose a worker: no process outlives them, no output is half-written, no event is lost."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from pages import blocks
from searches import PLAIN, make_world
from survivors import PATIENCE, descendants, running, survivors, until

from jettagger.cli import main
from jettagger.search.kept import kept_number

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are counted in /proc")

#: `jettagger search` with chunks that take long; each leaves a line in "chunks", and the first may kill its worker.
#: Chunks that begin when it has HELD_AFTER lines wait for the signal, also where a busy machine sends it late.
#: With SEEN, a folder, chunks after that wait until three processes had one: the worker in its place is slow to start
SLOW = """
import os, signal, sys, time
from jettagger.processors.search import ResonanceSearchProcessor
from survivors import hold

class Slow(ResonanceSearchProcessor):
    def process(self, events):
        log = os.environ["CHUNKS"]
        done = len(open(log).readlines()) if os.path.exists(log) else 0
        held = done >= int(os.environ.get("HELD_AFTER", "1000000"))
        hold(600 if held else float(os.environ.get("CHUNK_SECONDS", "0.3")))
        result = super().process(events)
        if seen := os.environ.get("SEEN"):
            open(os.path.join(seen, str(os.getpid())), "w").close()
            end = time.monotonic() + 240
            while not os.path.exists(os.environ["FATAL"]) and len(os.listdir(seen)) < 3 and time.monotonic() < end:
                time.sleep(0.05)
        with open(os.environ["CHUNKS"], "a") as log:
            print(os.getpid(), file=log)
        try:
            os.unlink(os.environ.get("FATAL", "absent"))
        except FileNotFoundError:
            return result
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    import slow
    from jettagger.cli import main
    from jettagger.search.config import SearchConfig
    make = SearchConfig.make_processor
    SearchConfig.make_processor = lambda self, cls=None, samples=None: make(self, slow.Slow, samples)
    sys.exit(main())
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"), config=PLAIN, binary=False)


@pytest.fixture(scope="module")
def whole(world: Path) -> Path:
    """What the search gives without an accident."""
    assert main(["search", str(world), "-o", str(world.parent / "whole"), "--no-plots"]) == 0
    return world.parent / "whole"


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    (tmp_path / "script").mkdir()
    (tmp_path / "work").mkdir()
    (tmp_path / "script" / "slow.py").write_text(SLOW)
    return tmp_path / "script" / "slow.py"


#: chunks of the search
ALL = 6


def command(world: Path, executor: str) -> list[str]:
    if executor == "dask":
        pytest.importorskip("distributed", reason="extra dask is not installed")
    return ["search", str(world), "-o", "out", "--no-plots", "--executor", executor, "--workers", "2"]


def same(out: Path, whole: Path) -> None:
    for name in ("histograms.json", "cutflow.json", "cutflow.txt", "templates.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


WAYS = {
    "SIGINT": (signal.SIGINT,),
    "SIGTERM": (signal.SIGTERM,),
    "kill -9": (signal.SIGKILL,),
    "two Ctrl-C": (signal.SIGINT, signal.SIGINT),
}

#: tried in each run, and with --run-slow; the others with --run-long
FEW = {("futures", "kill -9")}
MORE = {("iterative", "SIGINT"), ("futures", "SIGINT"), ("futures", "two Ctrl-C"), ("dask", "SIGTERM")}


def marks_of(case: tuple[str, str]) -> Any:
    if case in FEW:
        return []
    return pytest.mark.slow if case in MORE else pytest.mark.long


@pytest.mark.parametrize(
    ("executor", "way"),
    [
        pytest.param(executor, way, marks=marks_of((executor, way)))
        for executor in ("iterative", "futures", "dask")
        for way in WAYS
    ],
)
def test_a_search_that_is_stopped_goes_on_from_its_finished_chunks(
    executor: str, way: str, world: Path, whole: Path, slow: Path
) -> None:
    work, chunks = slow.parent.parent / "work", slow.parent / "chunks"
    arguments, numbers = command(world, executor), WAYS[way]
    with running(slow, arguments, work, CHUNKS=str(chunks), CHUNK_SECONDS="0.6", HELD_AFTER="2") as process:
        until(chunks.exists, process)
        children = descendants(process.pid)
        assert len(children) >= (0 if executor == "iterative" else 2)
        for number in numbers:  # Ctrl-C reaches all processes of a terminal, others only the command
            (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
            time.sleep(0.2)
        _, said = process.communicate(timeout=PATIENCE)
    assert survivors(children) == []
    kept = kept_number(work / "out")
    left = [path.name for path in work.iterdir() if not path.name.startswith(".")]
    if kept:
        assert left == ["out.resume"]
    else:  # a process that is ended at once may leave the folder without a chunk
        assert left in ([], ["out.resume"])
    if way == "kill -9":
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 128 + numbers[0], said
        lines = said.splitlines()
        (page,) = blocks("docs/search_batch.md", "text", "finished chunks")
        shown = re.sub(r"\d+", str(kept), page).splitlines()
        assert sum(line.endswith(shown[1].partition(", ")[2]) for line in lines) == 1, said
        known = [line for line in lines if line == shown[0]]
        if len(numbers) == 1:
            assert len(known) == bool(kept), said
        if executor != "dask":  # its workers report how they were lost
            assert len(lines) == 1 + len(known), said
    before = len(chunks.read_text().split())
    with running(slow, arguments[:-4], work, CHUNKS=str(chunks), CHUNK_SECONDS="0") as process:
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert len(chunks.read_text().split()) - before == ALL - kept
    assert [path.name for path in work.iterdir()] == ["out"]
    same(work / "out", whole)


@pytest.mark.slow
def test_a_killed_worker_of_dask_changes_nothing(world: Path, whole: Path, slow: Path) -> None:
    work, chunks, fatal = slow.parent.parent / "work", slow.parent / "chunks", slow.parent / "fatal"
    fatal.touch()
    seen = slow.parent / "seen"
    seen.mkdir()
    with running(slow, command(world, "dask"), work, CHUNKS=str(chunks), FATAL=str(fatal), SEEN=str(seen)) as process:
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert not fatal.exists()
    assert len(set(chunks.read_text().split())) == 3, "one worker came in the place of another"
    same(work / "out", whole)


@pytest.mark.slow
def test_a_killed_worker_of_futures_ends_the_search(world: Path, slow: Path) -> None:
    work, chunks, fatal = slow.parent.parent / "work", slow.parent / "chunks", slow.parent / "fatal"
    fatal.touch()
    with running(slow, command(world, "futures"), work, CHUNKS=str(chunks), FATAL=str(fatal)) as process:
        until(chunks.exists, process)
        children = descendants(process.pid)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2, said
    assert not fatal.exists()
    assert len(said.splitlines()) <= 2, said
    assert said.splitlines()[-1].startswith("jettagger: error: a worker died")
    assert survivors(children) == []
    assert {path.name for path in work.iterdir()} <= {"out.resume"}
