"""Unknown networks are tried in a separate process with limits on time and memory before they are used here.

A graph may contain an infinite loop, request a tensor of any size, or crash the process, e.g. by a division by zero.
Networks that passed are recorded in the user's cache, by content. Networks of the package, and those known by their
checksum, are not tried. ``JETTAGGER_TRIALS=off`` disables trials for all others, too.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np

from jettagger.bundles.places import CACHE, cache_folder
from jettagger.errors import ConfigError, ModelFileError
from jettagger.files.cache import DiskCache
from jettagger.files.jsonfile import parse_json
from jettagger.runtime.codedigest import code_digest
from jettagger.runtime.processcache import ProcessCache

__all__ = ["MEMORY", "SECONDS", "TRIALS", "Trial", "require_trial", "trial_seconds"]

_log = logging.getLogger(__name__)

#: ``off``: no trials; a number: limit on the CPU time of a trial in seconds
TRIALS = "JETTAGGER_TRIALS"

#: seconds of CPU time; a network of GloParT's size takes a few
SECONDS = 60.0

#: bytes that a trial may use in addition to Python's own and ten times the size of the model
MEMORY = 4_000_000_000

#: what is tried: reading a bundle, opening its sessions, a head, a network on whole events
Trial = Literal["bundle", "session", "head", "network"]

#: timeout in seconds for the start of a process
_START = 300.0

#: ratio of the wall-time limit of a trial to that on its CPU time, as other processes share the machine
_PATIENCE = 5

#: key of each trial in this process -> reason of refusal; empty if it passed
_VERDICTS: ProcessCache[str, str] = ProcessCache()


def trial_seconds() -> float | None:
    """Limit on the CPU time of a trial in seconds, from ``$JETTAGGER_TRIALS``.

    Returns
    -------
    float or None
        None: no trials.

    Raises
    ------
    ConfigError
        If the variable is neither ``off`` nor a positive number.
    """
    text = os.environ.get(TRIALS, "")
    if text == "off":
        return None
    try:
        seconds = float(text or SECONDS)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise ConfigError(f"{TRIALS} is {text!r}, expected 'off' or the seconds that the trial of a network may take")
    return seconds


def require_trial(what: Trial, path: Path, content: Iterable[str], **options: str) -> None:
    """Return if a model has passed a trial before or passes now.

    Parameters
    ----------
    what : {"bundle", "session", "head", "network"}
    path : pathlib.Path
        Its folder.
    content : iterable of str
        Digests of everything that the outcome depends on; with options and code they form the key in the cache.
    **options : str
        Options of the trial.

    Raises
    ------
    ModelFileError
        If the process exceeds its limit of time or memory, or crashes. Ordinary errors are not reported here, but when
        the model is used.

    Warns
    -----
    RuntimeWarning
        If no process can be started: the model is used without a trial.
    """
    seconds = trial_seconds()
    if seconds is None:
        return
    import onnxruntime

    said = json.dumps([what, code_digest(), onnxruntime.__version__, *content, sorted(options.items())])
    key = hashlib.sha256(said.encode(errors="surrogatepass")).hexdigest()
    if key not in _VERDICTS:
        folder = cache_folder()
        cache = None if folder is None else DiskCache(folder / "trials", 5_000_000)
        reason = ""
        if cache is None or cache.get(key) is None:
            request = {"what": what, "path": str(path), "options": options, "seconds": seconds}
            try:
                reason = _PROCESS.ask(request, seconds)
                _log.info("trial run of %s in a process of its own: %s", path, reason or "passed")
            except _NoProcess as error:
                warnings.warn(
                    f"{path} is used without a trial run in a separate process, which could not be started: {error}",
                    RuntimeWarning,
                )
                return
            if cache is not None and not reason:
                cache.put(key, {"passed": np.array(True)})
        _VERDICTS[key] = reason
    if _VERDICTS[key]:
        raise ModelFileError(
            f"the model in {path} is refused: in a trial run in a separate process it {_VERDICTS[key]}. "
            f"{TRIALS}=SECONDS gives it more time, {TRIALS}=off trusts it"
        )


class _NoProcess(Exception):
    """No process can be started."""


class _Process:
    """A Python process that tries models one after another; it ends when idle, with this process, or on failure."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0

    def ask(self, request: dict[str, object], seconds: float) -> str:
        """The reason why a trial failed; empty if it passed."""
        with self._lock:
            for _ in range(2):  # one that was idle may end just when it is asked
                process = self._started()
                reply = self._exchange(process, json.dumps(request), _PATIENCE * seconds + 10)
                if reply:
                    return str(parse_json(reply, "reply", ModelFileError, kind=dict)["failed"])
                if reply is None:
                    self.stop()
                    return f"did not end within {_PATIENCE * seconds + 10:g} s"
                status = process.wait()
                self.stop()
                if status:
                    return _ending(status, seconds)
            raise _NoProcess("it ended at once")

    def stop(self) -> None:
        """End the process, if it is a child of this one."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        with suppress(OSError):
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _started(self) -> subprocess.Popen[str]:
        if self._owner != os.getpid():  # that of another process, before a fork
            self._process, self._owner = None, os.getpid()
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.stop()
        if not sys.executable:
            raise _NoProcess("the path of the Python executable is not known")
        code = f"import sys; sys.path[:] = {sys.path!r}; from jettagger.tagging.trialprocess import serve; serve()"
        single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | single | {TRIALS: "off", CACHE: "off"},
                text=True,
            )
        except OSError as error:
            raise _NoProcess(str(error)) from error
        if not self._exchange(self._process, None, _START):
            self.stop()
            raise _NoProcess("it ended before it was ready")
        return self._process

    def _exchange(self, process: subprocess.Popen[str], request: str | None, seconds: float) -> str | None:
        """The next line from the process: empty if it has ended, None if it takes too long."""
        lines: queue.Queue[str] = queue.Queue()

        def wait() -> None:
            line = ""
            with suppress(OSError, ValueError):
                if request is not None and process.stdin is not None:
                    process.stdin.write(f"{request}\n")
                    process.stdin.flush()
                if process.stdout is not None:
                    line = process.stdout.readline()
            lines.put(line)

        threading.Thread(target=wait, daemon=True).start()
        try:
            return lines.get(timeout=seconds)
        except queue.Empty:
            return None
        except BaseException:  # an interrupt: what it does is of no interest any more
            self.stop()
            raise


def _ending(status: int, seconds: float) -> str:
    """Description of how a process ended without an answer."""
    if status > 0:
        return f"ended the process with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    if name in ("SIGXCPU", "SIGKILL"):
        return f"did not end within {seconds:g} s of processor time" if name == "SIGXCPU" else "was killed (SIGKILL)"
    return f"crashed ({name})"


_PROCESS = _Process()
atexit.register(_PROCESS.stop)
