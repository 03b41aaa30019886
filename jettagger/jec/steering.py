"""Several trainings one after the other, each in a process of its own, with their outputs copied to a destination."""

from __future__ import annotations

import os
import posixpath
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import InvalidValues, JettaggerError, OutputError, reason_of
from jettagger.files import folder_complete_or_absent
from jettagger.files.jsonfile import read_object
from jettagger.jec.configuration import JecConfig, is_remote, read_config

__all__ = ["SteeredRun", "plan_runs", "steer"]

#: logs of a training beside its output
STDOUT, STDERR = "train.stdout", "train.stderr"


@dataclass(frozen=True)
class SteeredRun(Brief):
    """One training.

    Parameters
    ----------
    source : str
        Its configuration.
    name : str
    destination : str
        Folder or fsspec location of its logs and outputs.
    problem : str
        Why it failed, empty if it did not.
    epochs, best_epoch : int
        Number of epochs, and the one whose weights are kept.
    loss : float or None
        Validation loss of this epoch.
    seconds : float
        Wall time.
    """

    source: str
    name: str
    destination: str
    problem: str = ""
    epochs: int = 0
    best_epoch: int = 0
    loss: float | None = None
    seconds: float = 0.0


def plan_runs(
    configs: Sequence[str | os.PathLike[str]],
    store: str | os.PathLike[str] | None = None,
    moment: time.struct_time | None = None,
) -> list[SteeredRun]:
    """Names and destinations of trainings, and problems that are known before the first one starts.

    Parameters
    ----------
    configs : sequence of path
    store : path or str, optional
        Folder or fsspec location for all of them; default: ``run.storage`` of each.
    moment : time.struct_time, optional
        For the destinations; default: now.

    Returns
    -------
    list of SteeredRun
        With ``problem`` for configurations that are invalid, have no destination, or one that exists already.
    """
    stamp = time.strftime("%Y%m%dT%H%M%S", moment or time.localtime())
    runs: list[SteeredRun] = []
    for source in (os.fspath(config) for config in configs):
        try:
            config = read_config(source)
            name = config.run.name or Path(source).stem
            runs.append(SteeredRun(source, name, _destination(config, store, f"{stamp}_{name}", runs)))
        except JettaggerError as error:
            runs.append(SteeredRun(source, Path(source).stem, "", str(error)))
    return runs


def _destination(
    config: JecConfig, store: str | os.PathLike[str] | None, name: str, others: Sequence[SteeredRun]
) -> str:
    place = config.run.storage if store is None else os.fspath(store)
    if place is None:
        raise OutputError("no destination: add the key run.storage, or use --store LOCATION (store=...)")
    remote = is_remote(place)
    made = posixpath.join(place, name) if remote else os.path.join(os.path.abspath(place), name)
    for other in others:
        if other.destination == made:
            raise OutputError(f"the destination {made} is that of {other.source}, too: give them different run.name")
    if not remote and os.path.exists(made):
        raise OutputError(f"the destination {made} exists already")
    if remote and _remote(made)[0].exists(made):
        raise OutputError(f"the destination {made} exists already")
    return made


def steer(
    configs: Sequence[str | os.PathLike[str]],
    *,
    store: str | os.PathLike[str] | None = None,
    plots: bool = True,
    start: Callable[[SteeredRun], None] | None = None,
    end: Callable[[SteeredRun], None] | None = None,
) -> list[SteeredRun]:
    """Run ``jettagger jec train`` for several configurations; one that fails does not stop the others.

    Parameters
    ----------
    configs : sequence of path
    store : path or str, optional
        As for `plan_runs`.
    plots : bool
        Whether histories are drawn.
    start, end : callable, optional
        Called before and after each training.

    Returns
    -------
    list of SteeredRun
        In the order of the configurations. Logs ``train.stdout`` and ``train.stderr`` of a training that failed are at
        its destination, too.

    Raises
    ------
    InvalidValues
        If there are no configurations.
    """
    if not configs:
        raise InvalidValues("no configurations to train, expected at least one")
    done = []
    for run in plan_runs(configs, store):
        if start is not None:
            start(run)
        done.append(run if run.problem else _trained(run, plots))
        if end is not None:
            end(done[-1])
    return done


def _trained(run: SteeredRun, plots: bool) -> SteeredRun:
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="jettagger-steer-") as scratch:
        folder = Path(scratch) / "run"
        folder.mkdir()
        output = Path(scratch) / "output"
        command = [sys.executable, "-m", "jettagger", "jec", "train", run.source, "--output", str(output)]
        command += [] if plots else ["--no-plots"]
        with (folder / STDOUT).open("wb") as out, (folder / STDERR).open("wb") as err:
            status = subprocess.run(command, stdout=out, stderr=err, stdin=subprocess.DEVNULL, check=False).returncode
        problem, found = "", {}
        if status:
            problem = _last_line(folder / STDERR) or f"it ended with the status {status}"
        else:
            shutil.copytree(output, folder, dirs_exist_ok=True)
            found = _result(folder)
        try:
            _copy(folder, run.destination)
        except JettaggerError as error:
            problem = f"{problem}; {error}" if problem else str(error)
    seconds = time.perf_counter() - began
    return SteeredRun(run.source, run.name, run.destination, problem, **found, seconds=seconds)


def _last_line(path: Path) -> str:
    lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("jettagger: ").removeprefix("error: ") if lines else ""


def _result(folder: Path) -> dict[str, Any]:
    history = read_object(folder / "history.json")
    best = int(history["best_epoch"])
    loss = history["val_loss"][best - 1] if best else history["val_loss_before"]
    return {"epochs": len(history["val_loss"]), "best_epoch": best, "loss": loss}


def _copy(folder: Path, destination: str) -> None:
    """Copy a folder to a destination that does not exist; locally complete or not at all."""
    if is_remote(destination):
        system, place = _remote(destination)
        try:
            system.put(f"{folder}{os.sep}", place, recursive=True)
        except Exception as error:  # of any library for a file system
            raise OutputError(f"cannot write {destination}: {type(error).__name__}: {reason_of(error)}") from error
        return
    try:
        Path(destination).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {destination}: {error.strerror or error}") from error
    with folder_complete_or_absent(destination, marker=STDOUT) as part:
        shutil.copytree(folder, part, dirs_exist_ok=True)


def _remote(location: str) -> tuple[Any, str]:
    import fsspec

    try:
        system, place = fsspec.core.url_to_fs(location)
    except Exception as error:  # of any library for a file system
        raise OutputError(f"cannot write {location}: {type(error).__name__}: {reason_of(error)}") from error
    return system, str(place)


guard(globals())
