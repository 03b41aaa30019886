"""Worker processes: they end with this process, leave signals to it, and are named in an error if they hang."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from jettagger.display import Brief
from jettagger.errors import ConfigError, WorkerError

__all__ = [
    "DEADLINE",
    "IdleProcesses",
    "deadline",
    "finished",
    "follow_parent",
    "start_process",
    "submit",
    "watched",
    "worker_pool",
]

Result = TypeVar("Result")

#: environment variable with the number of seconds after which a process without CPU use counts as stuck
DEADLINE = "JETTAGGER_DEADLINE"
_USUAL = 600.0

#: minimum use of a core, as a fraction, by a process that computes or waits for slow data
_WORKING = 0.001

#: interval in seconds for checks of the parent, and timeout for workers asked to end
_LOOK = 0.5
_GRACE = 10.0


def deadline() -> float | None:
    """Time in seconds without use of CPU after which a worker counts as stuck.

    Returns
    -------
    float or None
        ``$JETTAGGER_DEADLINE``, else 600; None for ``off``.

    Raises
    ------
    ConfigError
        If the variable is neither a positive number nor ``off``.
    """
    text = os.environ.get(DEADLINE, "")
    if not text:
        return _USUAL
    if text == "off":
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < threading.TIMEOUT_MAX:
        raise ConfigError(f"${DEADLINE} must be a number of seconds above zero, or off; got {text[:80]!r}")
    return seconds


def follow_parent(parent: int) -> None:
    """Make this process end with its parent and ignore Ctrl-C; an initializer for pools.

    Parameters
    ----------
    parent : int
        Process ID of the parent.
    """
    # Ctrl-C reaches all processes of a terminal: the first one ends the others, which have nothing to say to it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), name="jettagger-parent", daemon=True).start()


def _end_with(parent: int) -> None:
    known = multiprocessing.parent_process()
    # a pipe that closes with the parent; processes of loky have none
    if known is not None and known.pid == parent and isinstance(known.sentinel, int):
        known.join()
    else:
        while os.getppid() == parent:
            time.sleep(_LOOK)
    os._exit(1)


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of new processes that end with the block: after their work, or at once after an error.

    Parameters
    ----------
    workers : int

    Yields
    ------
    concurrent.futures.ProcessPoolExecutor
        For use with `submit` and `finished`.
    """
    # a fork would inherit the threads of ONNX Runtime
    context = multiprocessing.get_context("spawn")
    with _deaf():
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=follow_parent, initargs=(os.getpid(),))
    try:
        yield pool
    except BaseException:
        _close(pool, kill=True)
        raise
    _close(pool, kill=False)


def _close(pool: ProcessPoolExecutor, *, kill: bool) -> None:
    """End the processes of a pool, and kill those that do not end by themselves."""
    processes = list(_processes(pool).values())
    if kill:
        for process in processes:
            process.kill()
    # the pool waits for its processes without a deadline, in a thread that is not waited for any longer than that
    closing = threading.Thread(target=pool.shutdown, kwargs={"cancel_futures": True}, daemon=True)
    closing.start()
    closing.join(_GRACE)
    if not closing.is_alive():
        return
    for process in processes:
        process.kill()
    closing.join(_GRACE)
    if closing.is_alive():
        named = ", ".join(f"{process.pid}{_state(process.pid)}" for process in processes if process.is_alive())
        warnings.warn(f"the workers {named} do not end even when they are killed", RuntimeWarning, stacklevel=2)


def _processes(pool: Any) -> dict[int, Any]:
    return dict(getattr(pool, "_processes", None) or {})


def submit(pool: ProcessPoolExecutor, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
    """Submit a task to a pool. Workers started by this ignore Ctrl-C.

    Parameters
    ----------
    pool : ProcessPoolExecutor
    function : callable
    *arguments

    Returns
    -------
    concurrent.futures.Future
    """
    with _deaf():
        return pool.submit(function, *arguments)


def start_process(function: Callable[..., None], *arguments: Any) -> tuple[Any, Connection]:
    """A new process for one task, which ends with this one and leaves signals to it.

    Parameters
    ----------
    function : callable
        Of a module; its first argument is the other end of the pipe.
    *arguments

    Returns
    -------
    process : multiprocessing.Process
    pipe : multiprocessing.connection.Connection
        To it; at its end when the process has ended.
    """
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_followed, args=(os.getpid(), function, theirs, *arguments), daemon=True)
    try:
        with _deaf():
            process.start()
    except BaseException:  # such as a signal that came in the meantime: nobody has this process yet
        if process.pid is not None:
            process.kill()
        raise
    finally:
        theirs.close()
    return process, mine


def _followed(parent: int, function: Callable[..., None], *arguments: Any) -> None:
    follow_parent(parent)
    function(*arguments)


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes started in this block ignore signals of the terminal, including that of multiprocessing itself.

    This process handles them after the block, and SIGTERM: a process that is only half started shows a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    terminal = {signal.SIGINT, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, terminal)  # inherited
    try:
        resource_tracker.ensure_running()  # lifts the mask for SIGINT
        signal.pthread_sigmask(signal.SIG_BLOCK, terminal)
        with _held(signal.SIGTERM):
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _held(number: int) -> Iterator[None]:
    """A signal with a handler of Python is handled after the block; unlike a mask, this is not inherited."""
    handler = signal.getsignal(number)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    came: list[int] = []
    signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(number, handler)
        if came:
            signal.raise_signal(number)


def finished(futures: Iterable[Future[Result]], pool: ProcessPoolExecutor, awaited: str) -> set[Future[Result]]:
    """Wait until one of several tasks is done, or until the workers are stuck.

    Parameters
    ----------
    futures : iterable of Future
    pool : ProcessPoolExecutor
        The pool in which they run.
    awaited : str
        Description of the task, for the message.

    Returns
    -------
    set of Future
        The tasks that are done.

    Raises
    ------
    WorkerError
        If none of the workers has used CPU time for `deadline` seconds: they are stopped, or wait for a disk or a
        server that does not answer. If the system does not provide CPU times, this is a RuntimeWarning when no task is
        finished for this time.
    """
    futures = list(futures)
    idle = IdleProcesses()
    while True:
        done, _ = wait(futures, timeout=idle.step, return_when=FIRST_COMPLETED)
        if done:
            return done
        text = idle.look(_processes(pool))
        if text:
            raise _lost(text, awaited)


def _lost(text: str, awaited: str) -> WorkerError:
    return WorkerError(f"{text}: {awaited}", where=awaited, got=text, expected="workers that finish")


@contextmanager
def watched(pool: Any, awaited: str) -> Iterator[None]:
    """Watch the workers of a pool that other code waits for; stuck workers are killed.

    Parameters
    ----------
    pool : concurrent.futures.ProcessPoolExecutor or loky's
    awaited : str
        Description of the task, for the message.

    Raises
    ------
    WorkerError
        If neither the workers nor the main thread have used CPU time for `deadline` seconds, or if a worker was killed.
    """
    idle = IdleProcesses(time.pthread_getcpuclockid(threading.main_thread().ident or 0) if _TIMES.exists() else None)
    leave = threading.Event()
    said: list[str] = []

    def watch() -> None:
        while not leave.wait(idle.step):
            processes = _processes(pool)
            text = idle.look(processes) if processes else ""
            if text:
                said.append(text)
                for process in processes.values():
                    process.kill()
                return

    thread = threading.Thread(target=watch, name="jettagger-watch", daemon=True)
    thread.start()
    try:
        yield
    except BrokenProcessPool as error:
        text = said[0] if said else "a worker died, most likely out of memory (fewer workers, or smaller chunks)"
        raise _lost(text, awaited) from error
    finally:
        leave.set()
        thread.join(_GRACE)


class IdleProcesses(Brief):
    """Whether processes have been idle for the time `deadline`.

    Steps are counted instead of the clock: if the whole job is suspended, no process counts as stuck.

    Parameters
    ----------
    clock : int, optional
        CPU clock of a thread that may also work.
    """

    def __init__(self, clock: int | None = None) -> None:
        self.limit = deadline()
        self.step = None if self.limit is None else min(self.limit / 4, 5.0)
        self.clock = clock
        self._waited = 0.0
        self._before: float | None = None

    @property
    def measures(self) -> bool:
        """Whether the system provides CPU times, and there is a limit."""
        return self.limit is not None and _TIMES.exists()

    def look(self, pids: Iterable[int]) -> str:
        """To be called after each ``step``; describes stuck processes, or returns nothing.

        Parameters
        ----------
        pids : iterable of int

        Returns
        -------
        str

        Warns
        -----
        RuntimeWarning
            If the system does not provide CPU times, so that they may be stuck.
        """
        if self.limit is None or self.step is None:
            return ""
        pids = sorted(pids)
        used = _processor_seconds(pids) + (0.0 if self.clock is None else time.clock_gettime(self.clock))
        self._waited += self.step
        if self._before is None or abs(used - self._before) > _WORKING * self._waited:
            self._before, self._waited = used, 0.0
        if self._waited < self.limit:
            return ""
        named = ", ".join(f"{pid}{_state(pid)}" for pid in pids)
        text = f"for {self._waited:g} s the workers {named} have done nothing (${DEADLINE}=seconds waits longer)"
        if _TIMES.exists():
            return text
        self._waited = 0.0
        warnings.warn(text.replace("done nothing", "finished nothing"), RuntimeWarning, stacklevel=3)
        return ""


_TIMES = Path("/proc/self/stat")
_STATES = {"T": " (stopped)", "t": " (stopped)", "D": " (waits for a disk)", "Z": " (ended)", "S": " (sleeps)"}


def _state(pid: int) -> str:
    try:
        return _STATES.get(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0], "")
    except OSError:
        return ""


def _processor_seconds(pids: Iterable[int]) -> float:
    """CPU time of some processes; 0 if the system does not provide it."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / (os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100)
