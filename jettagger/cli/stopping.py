"""Ctrl-C and signals of batch systems: the first ends the work in an orderly way, the second at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from jettagger.files.parts import drop_own

__all__ = ["GRACE", "Stop", "stop_signals"]

#: time limit in seconds for an orderly end
GRACE = 20.0

_WORDS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung up"}


@dataclass
class Stop:
    """The state of a command with respect to signals.

    Parameters
    ----------
    number : int
        Number of the first signal; 0 if there was none.
    told : bool
        Whether the user has read of it.
    """

    number: int = 0
    told: bool = False

    @property
    def status(self) -> int:
        """The exit status by the convention of shells; that of Ctrl-C after an interrupt without a signal."""
        return 128 + (self.number or signal.SIGINT)

    @property
    def word(self) -> str:
        """The event in one word."""
        return _WORDS[signal.Signals(self.number or signal.SIGINT).name]


@contextmanager
def stop_signals(*, last: bool = False) -> Iterator[Stop]:
    """Handle SIGINT, SIGTERM and SIGHUP within a block, once.

    The first one raises KeyboardInterrupt, so that all cleanup runs. The second one, or the end of `GRACE` seconds,
    removes partial files and ends this process and its workers. Signals that were ignored before remain ignored
    (``nohup``, background jobs).

    Parameters
    ----------
    last : bool
        Whether the process ends after the block: further signals then do not disturb its end.

    Yields
    ------
    Stop
    """
    stop = Stop()
    timer: threading.Timer | None = None

    lost = False

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal timer, lost
        if lost:
            lost = False
            raise KeyboardInterrupt
        if stop.number:
            _end(stop)
        stop.number = number
        timer = threading.Timer(GRACE, _end, [stop])
        timer.daemon = True
        timer.start()
        raise KeyboardInterrupt

    def unraisable(problem: Any) -> None:
        nonlocal lost
        if not (stop.number and isinstance(problem.exc_value, KeyboardInterrupt)):
            shown(problem)
            return
        # raised in a destructor or a callback, where Python drops it: once more, a moment later
        lost = True
        again = threading.Timer(0.05, signal.raise_signal, [stop.number])
        again.daemon = True
        again.start()

    shown = sys.unraisablehook
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in _WORDS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handle)
    sys.unraisablehook = unraisable
    try:
        yield stop
    finally:
        sys.unraisablehook = shown
        ends = last and timer is not None
        if timer is not None and not ends:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if ends else handler)


def _end(stop: Stop) -> None:
    """End the process at once."""
    for process in multiprocessing.active_children():
        process.kill()
    drop_own()
    _forget_semaphores()
    if not stop.told:
        os.write(2, f"jettagger: {stop.word} and ended at once, nothing half-written is left\n".encode())
    os._exit(stop.status)


def _forget_semaphores() -> None:
    """Remove the semaphores of pools, which Python would warn of; in a thread, as the main one may hold their lock."""
    from multiprocessing import util

    run = getattr(util, "_run_finalizers", None)  # there is no public name
    if run is None:
        return
    thread = threading.Thread(target=run, args=(0,), daemon=True)
    thread.start()
    thread.join(0.5)
