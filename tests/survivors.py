"""Commands in processes of their own: stopped by signals, with all that they started counted by their numbers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jettagger
from jettagger.files.parts import process_start

ROOT = Path(jettagger.__file__).resolve().parent.parent

#: seconds after which a test gives up
PATIENCE = 300.0

#: a command line of jettagger whose chunks take long, also in workers; each one leaves a line in the file "chunks".
#: Chunks that begin when it has HELD_AFTER lines wait for the signal, also where a busy machine sends it late
SLOW = """
import os, sys, time
from jettagger.skims import skim
from survivors import hold
real = skim.Job.score

def slow(*arguments):
    log = os.environ["CHUNKS"]
    done = len(open(log).readlines()) if os.path.exists(log) else 0
    held = done >= int(os.environ.get("HELD_AFTER", "1000000"))
    hold(600 if held else float(os.environ.get("CHUNK_SECONDS", "0.3")))
    result = real(*arguments)
    with open(os.environ["CHUNKS"], "a") as log:
        print(os.getpid(), file=log)
    return result

skim.Job.score = slow
if __name__ == "__main__":
    from jettagger.cli import main
    sys.exit(main())
"""


def hold(seconds: float) -> None:
    """Wait for a signal, in steps: one that comes just before a long sleep, or to a library's thread, cannot end it."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.05))


def descendants(pid: int) -> dict[int, int]:
    """Number and start of all processes that a process has started, and those have."""
    parents: dict[int, int] = {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
    known, new = {}, {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new}
        known |= {child: start for child in new if (start := process_start(child)) is not None}
    return known


def survivors(processes: dict[int, int], within: float = 30.0) -> list[int]:
    """Those of some processes that still run after a while; they are killed then."""
    end = time.monotonic() + within
    left = dict(processes)
    while left and time.monotonic() < end:
        left = {pid: start for pid, start in left.items() if process_start(pid) == start}
        time.sleep(0.05)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return sorted(left)


def until(condition: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    """Wait for something, but not for ever, and not for a process that has ended."""
    end = time.monotonic() + PATIENCE
    while not condition() and (process is None or process.poll() is None) and time.monotonic() < end:
        time.sleep(0.02)


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a process has written to both streams, once it has ended; if it does not, how it stands with signals."""
    try:
        return process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        state = ", ".join(
            " ".join(line.split()) for line in lines if line.startswith(("State", "Threads", "Sig", "Shd"))
        )
        raise AssertionError(f"process {process.pid} has not ended after {PATIENCE:g} s: {state}") from None


#: how a command takes them that somebody starts by hand; jobs in the background and under nohup inherit less
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def started(command: Sequence[object], **options: Any) -> subprocess.Popen[str]:
    """A process that takes signals as one that is started by hand, however the tests were started."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number, handler in before.items():
            if handler is signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        return subprocess.Popen(list(map(str, command)), text=True, **options)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def running(
    script: Path, arguments: Iterable[object], folder: Path, **environment: str
) -> Iterator[subprocess.Popen[str]]:
    """A script in a session of its own, as a terminal starts it; nothing of it is left behind."""
    paths = os.pathsep.join([str(script.parent), str(ROOT), str(Path(__file__).parent)])
    with started(
        [sys.executable, script, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
