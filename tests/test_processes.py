"""Jobs that are stopped, killed or stuck: no process outlives them, no output is half-written, all is said."""

from __future__ import annotations

import contextlib
import multiprocessing.process
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import awkward as ak
import pytest
from survivors import PATIENCE, ROOT, SIGNALS, SLOW, descendants, running, started, survivors, until

from jettagger.cli import main
from jettagger.cli.stopping import stop_signals
from jettagger.errors import ConfigError
from jettagger.files import complete_or_absent, folder_complete_or_absent
from jettagger.files.parts import StalePartWarning, drop_own, owned_by, part_prefix, process_start, remove_stale
from jettagger.runtime.workers import deadline, finished, start_process, submit, worker_pool
from jettagger.testing import write_pfnano

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are counted in /proc")


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_pfnano(tmp_path_factory.mktemp("nano") / "nano.root", 60, seed=1))


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    (tmp_path / "script").mkdir()
    (tmp_path / "work").mkdir()
    path = tmp_path / "script" / "slow.py"
    path.write_text(SLOW)
    return path


def arguments(nano: str, workers: int, suffix: str) -> list[str]:
    job = ["tag", nano, "-m", "tinyParT", "-o", f"scores{suffix}", "--columns", "mass"]
    return [*job, "--memory", f"{300 * workers}KB", "--workers", str(workers)]


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize(
    ("number", "status", "word", "group", "workers"),
    [
        (signal.SIGINT, 130, "interrupted", True, 2),
        pytest.param(signal.SIGINT, 130, "interrupted", False, 1, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, "terminated", False, 2, marks=pytest.mark.slow),
        (signal.SIGTERM, 143, "terminated", True, 1),
        pytest.param(signal.SIGHUP, 129, "hung up", True, 2, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_the_job_its_workers_and_its_files(
    number: signal.Signals, status: int, word: str, group: bool, workers: int, nano: str, slow: Path
) -> None:
    work, chunks = slow.parent.parent / "work", slow.parent / "chunks"
    suffix = ".root" if group else ".parquet"
    with running(slow, arguments(nano, workers, suffix), work, CHUNKS=str(chunks), HELD_AFTER="1") as process:
        until(chunks.exists, process)
        children = descendants(process.pid)
        assert len(children) >= (workers if workers > 1 else 0)
        (os.killpg if group else os.kill)(process.pid, number)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == status, said
    assert said == f"jettagger: {word}, nothing half-written is left\n"
    assert survivors(children) == []
    assert list(work.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "workers"),
    [
        (signal.SIGINT, 2),
        pytest.param(signal.SIGINT, 1, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 1, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 2, marks=pytest.mark.slow),
    ],
)
def test_a_second_signal_ends_it_at_once(number: signal.Signals, workers: int, nano: str, slow: Path) -> None:
    work, chunks = slow.parent.parent / "work", slow.parent / "chunks"
    settings = {"CHUNKS": str(chunks), "CHUNK_SECONDS": "5"}
    with running(slow, arguments(nano, workers, ".root"), work, **settings) as process:
        until(lambda: list(work.iterdir()) and len(descendants(process.pid)) >= workers - 1, process)
        time.sleep(1)  # they work
        children = descendants(process.pid)
        for _ in range(3):
            os.killpg(process.pid, number)
            time.sleep(0.1)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number, said
    # Python's tracker may tell of semaphores that it removes after this process has ended
    ours = [line for line in said.splitlines() if not re.search("resource_tracker|^  warnings", line)]
    assert len(ours) == 1, said
    assert ours[0].startswith("jettagger: ")
    assert ours[0].endswith("nothing half-written is left")
    assert survivors(children) == []
    assert list(work.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_killed_job_leaves_no_process_and_the_next_one_clears_up(workers: int, nano: str, slow: Path) -> None:
    work, chunks = slow.parent.parent / "work", slow.parent / "chunks"
    with running(slow, arguments(nano, workers, ".parquet"), work, CHUNKS=str(chunks), HELD_AFTER="1") as process:
        until(chunks.exists, process)
        children = descendants(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
    assert survivors(children) == []
    (part,) = work.iterdir()
    assert part.name.startswith(".scores.part-")
    command = [sys.executable, "-m", "jettagger", *arguments(nano, 1, ".parquet")]
    again = subprocess.run(
        command, cwd=work, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    assert re.fullmatch(
        rf"jettagger: warning: removed {part.name}, which process {process.pid} left half-written when it was killed\n",
        again.stderr,
    )
    assert [path.name for path in work.iterdir()] == ["scores.parquet"]
    assert len(ak.from_parquet(work / "scores.parquet")) == 60


@pytest.mark.slow
def test_a_worker_that_is_stopped_is_named(nano: str, slow: Path) -> None:
    work, chunks = slow.parent.parent / "work", slow.parent / "chunks"
    settings = {"CHUNKS": str(chunks), "JETTAGGER_DEADLINE": "5"}
    # 60 chunks, so that they work for seconds yet when they are stopped, also where that happens late
    job = [*arguments(nano, 2, ".parquet"), "--memory", "100KB"]
    with running(slow, job, work, **settings) as process:
        until(lambda: lines(chunks) >= 2, process)
        workers = {int(line) for line in chunks.read_text().split()}
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        children = descendants(process.pid)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2, said
    assert len(said.splitlines()) == 1, said
    found = re.search(
        r"error: for [\d.]+ s the workers (.*) have done nothing .*: at events \d+ to \d+ of .*nano", said
    )
    assert found, said
    assert {int(pid) for pid in re.findall(r"(\d+) \(stopped\)", found[1])} >= workers
    assert survivors(children) == []
    assert list(work.iterdir()) == []


def test_tests_start_processes_as_by_hand() -> None:
    """Also in the background of a shell and under nohup, where interrupts and hang-ups are ignored."""
    code = f"import signal; print([signal.getsignal(n) is signal.SIG_IGN for n in {[int(n) for n in SIGNALS]}])"
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        with started([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            said, _ = process.communicate(timeout=PATIENCE)
        assert [signal.getsignal(number) for number in SIGNALS] == [signal.SIG_IGN] * len(SIGNALS)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert said == f"{[False] * len(SIGNALS)}\n"


def test_signals_that_were_ignored_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.number == 0
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
            assert (stop.number, stop.status, stop.word) == (signal.SIGTERM, 143, "terminated")
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_waits_until_a_process_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half started, it would show a traceback; nobody would know it afterwards, so it ends."""
    started_processes, seen = [], []
    start = multiprocessing.process.BaseProcess.start

    def interrupted(process: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        start(process)
        seen.append(stop.number)
        started_processes.append(process)

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", interrupted)
    with stop_signals() as stop, pytest.raises(KeyboardInterrupt):
        start_process(_stays)
    assert seen == [0]
    assert stop.number == signal.SIGTERM
    (process,) = started_processes
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def _stays(pipe: Any) -> None:
    pipe.recv()


def test_an_error_that_a_library_makes_of_a_signal_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from jettagger.cli import discriminants

    def swallowed(*_: object) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        except KeyboardInterrupt:
            raise RuntimeError("cancelled") from None
        return 0

    monkeypatch.setattr(discriminants, "run", swallowed)
    assert main(["discriminants", "list"]) == 143
    assert capsys.readouterr().err == "jettagger: terminated, nothing half-written is left\n"


# ---------------------------------------------------------------------------------------- pools


def number_of(value: int) -> tuple[int, int]:
    return os.getpid(), value


def sleep(seconds: float) -> None:
    time.sleep(seconds)


@pytest.mark.slow
def test_a_pool_works_and_ends() -> None:
    with worker_pool(2) as pool:
        futures = {submit(pool, number_of, value) for value in range(5)}
        found = set()
        while futures:
            done = finished(futures, pool, "numbers")
            found |= {future.result() for future in done}
            futures -= done
    assert {value for _, value in found} == set(range(5))
    assert os.getpid() not in {pid for pid, _ in found}
    assert all(process_start(pid) is None for pid, _ in found)


def fail_at_work() -> None:
    with worker_pool(2) as pool:
        for _ in range(2):
            submit(pool, sleep, 10_000)
        raise ZeroDivisionError


def test_an_error_ends_a_pool_without_waiting_for_its_work() -> None:
    with worker_pool(1) as pool:  # starts what multiprocessing keeps for itself
        submit(pool, number_of, 1).result(timeout=PATIENCE)
    before = descendants(os.getpid())
    with pytest.raises(ZeroDivisionError):
        fail_at_work()
    # and what an earlier test has left may end meanwhile
    assert not descendants(os.getpid()).items() - before.items()


@pytest.mark.parametrize(("text", "seconds"), [("", 600.0), ("off", None), ("2.5", 2.5)])
def test_deadlines(text: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JETTAGGER_DEADLINE", text)
    assert deadline() == seconds


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e300", "soon"])
def test_deadlines_that_are_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JETTAGGER_DEADLINE", text)
    with pytest.raises(ConfigError, match=rf"JETTAGGER_DEADLINE must be a number of seconds .*'{text}'"):
        deadline()


# ---------------------------------------------------------------------------------------- parts


def dead() -> tuple[int, int]:
    """Number and start of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        start = process_start(process.pid)
        assert start is not None
    assert process_start(process.pid) is None
    return process.pid, start


def named(name: str, pid: int, start: int, kind: str = "part") -> str:
    """The name of a part as another process of this machine makes it."""
    mine = f"-{os.getpid()}-{process_start(os.getpid())}-"
    prefix = part_prefix(name, kind)
    assert prefix.endswith(mine)
    return prefix.removesuffix(mine) + f"-{pid}-{start}-abcd1234"


def test_only_parts_of_dead_processes_go(tmp_path: Path) -> None:
    pid, start = dead()
    mine = process_start(os.getpid())
    assert mine is not None
    machine = re.search(r"part-([0-9a-f]{8})-", part_prefix("a"))
    assert machine
    kept = [
        named("a", os.getpid(), mine) + ".root",
        named("a", pid, start).replace(machine[1], "0" * 8) + ".root",
        ".a.part-x.root",
        "a.part-00000000-1-1-x.root",
        "a.root",
    ]
    gone = [named("a", pid, start) + ".root", named("b", os.getpid(), mine + 1) + ".parquet"]
    for name in kept + gone:
        (tmp_path / name).write_text("half")
    folder = tmp_path / named("out", pid, start)
    folder.mkdir()
    (folder / "x").write_text("half")
    with pytest.warns(StalePartWarning) as said:
        remove_stale(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    assert len(said) == 3
    for name in [*gone, folder.name]:
        assert any(f"removed {tmp_path / name}, which process" in str(warning.message) for warning in said)
    remove_stale(tmp_path)
    remove_stale(tmp_path / "nowhere")


def test_an_output_that_was_being_replaced_is_put_back(tmp_path: Path) -> None:
    pid, start = dead()
    old = tmp_path / named("out", pid, start, "old") / "old"
    old.mkdir(parents=True)
    (old / "record").write_text("whole")
    with pytest.warns(StalePartWarning, match=rf"out is back: process {pid} was killed while it replaced it"):
        remove_stale(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "record").read_text() == "whole"


def test_writing_takes_stale_parts_away_quietly(tmp_path: Path) -> None:
    pid, start = dead()
    for number, write in enumerate([complete_or_absent, folder_complete_or_absent]):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / (named("x", pid, start) + ".txt")).touch()
        more = {"marker": "m"} if write is folder_complete_or_absent else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if more else "error", StalePartWarning)
            with write(folder / "x.txt", **more) as part:
                assert owned_by(part.name) == (os.getpid(), process_start(os.getpid()))
                (part / "m" if more else part).write_text("whole")
        assert [path.name for path in folder.iterdir()] == ["x.txt"]


def test_an_end_at_once_takes_the_parts_of_this_process_along(tmp_path: Path) -> None:
    with (
        contextlib.suppress(KeyboardInterrupt),
        complete_or_absent(tmp_path / "a.txt") as part,
        folder_complete_or_absent(tmp_path / "b", marker="m") as folder,
    ):
        part.write_text("half")
        (folder / "m").write_text("half")
        assert len(list(tmp_path.iterdir())) == 2
        drop_own()
        assert list(tmp_path.iterdir()) == []
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x" * 200, "\u03bc" * 100, "a.part-b"])
def test_long_names_have_parts_too(name: str, tmp_path: Path) -> None:
    with complete_or_absent(tmp_path / f"{name}.root") as part:
        assert len(part.name.encode()) < 255
        assert owned_by(part.name) is not None
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.root"]


class _Signalling:
    """Ends with a signal to its own process, from a destructor."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_that_falls_into_a_destructor_is_not_lost() -> None:
    """Python drops what is raised there."""

    def work() -> None:
        with stop_signals():
            resource = _Signalling()
            del resource
            for _ in range(500):
                time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        work()
