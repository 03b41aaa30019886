"""The process in which networks are tried: one line per request, and one line per answer.

`jettagger.bundles.trials` starts it.
"""

from __future__ import annotations

import json
import os
import select
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.bundles.trials import MEMORY
from jettagger.files.jsonfile import parse_json
from jettagger.heads import load_head
from jettagger.inference.acceleration import open_session
from jettagger.inference.network import evaluate
from jettagger.inference.sample_jets import proof_jets
from jettagger.inference.slots import try_network
from jettagger.sessions import SHORT_OF_MEMORY, open_onnx

__all__ = ["serve", "tried"]

#: seconds without a request after which the process ends
IDLE = 20.0


def serve() -> None:
    """Answer requests until there are no more."""
    requests, replies = os.dup(0), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # libraries may print
        os.dup2(nothing, stream)
    print("ready", file=replies, flush=True)
    with os.fdopen(requests) as lines:
        while _waits(requests):
            line = lines.readline()
            if not line:
                return
            request = parse_json(line, "request", kind=dict)
            failed = tried(request["what"], Path(request["path"]), request["options"], request["seconds"])
            print(json.dumps({"failed": failed}), file=replies, flush=True)


def _waits(descriptor: int) -> bool:
    """Whether a request, or the end, arrives in time."""
    if sys.platform == "win32":  # pipes cannot be watched there: the end of who asks is the end
        return True
    return bool(select.select([descriptor], [], [], IDLE)[0])


def tried(what: str, path: Path, options: Mapping[str, str], seconds: float) -> str:
    """Use a model once, within limits.

    Parameters
    ----------
    what : {"bundle", "session", "head", "network"}
    path : pathlib.Path
    options : mapping of str to str
    seconds : float
        Limit on CPU time, after which the operating system ends the process.

    Returns
    -------
    str
        Reason for a refusal; empty if it passed. Only lack of memory counts: other errors are raised when the model is
        used.
    """
    SHORT_OF_MEMORY.clear()
    _limit(path, seconds)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _TRIALS[what](path, **options)
    except MemoryError:
        SHORT_OF_MEMORY.append(str(path))
    except Exception:
        return ""
    return f"asked for more than {MEMORY / 1e9:g} GB of memory" if SHORT_OF_MEMORY else ""


def _limit(path: Path, seconds: float) -> None:
    """Limit the resources of this process, if the system supports it."""
    if sys.platform == "win32":
        return
    import resource

    def lower(kind: int, value: float) -> None:
        hard = resource.getrlimit(kind)[1]
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (int(value) if hard == resource.RLIM_INFINITY else min(int(value), hard), hard))

    usage = resource.getrusage(resource.RUSAGE_SELF)
    lower(resource.RLIMIT_CPU, usage.ru_utime + usage.ru_stime + seconds + 1)
    lower(resource.RLIMIT_CORE, 0)
    with suppress(OSError, ValueError, IndexError):  # Linux says how much there is already
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        lower(resource.RLIMIT_AS, pages * resource.getpagesize() + MEMORY + 10 * size)


def _bundle(path: Path) -> None:
    Bundle.from_folder(path)


def _session(path: Path, backend: str) -> None:
    bundle = Bundle.from_folder(path)
    session = open_session(bundle, 1, None, backend)
    for inputs in proof_jets(bundle):
        evaluate(bundle, session, inputs)


def _head(path: Path) -> None:
    head = load_head(path)
    session = open_onnx(head.graph, 1)
    rows = np.random.default_rng(3).normal(size=(4, len(head.card.inputs))).astype(np.float32)
    session.run({tensor.name: rows for tensor in head.graph.inputs})


def _network(path: Path, name: str, slots: str) -> None:
    try_network(path / name, parse_json(slots, "slots", kind=dict))


_TRIALS: dict[str, Callable[..., Any]] = {"bundle": _bundle, "session": _session, "head": _head, "network": _network}
