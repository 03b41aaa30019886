"""Trials of a search: trainings in processes of their own, on this machine or on the workers of a dask cluster.

After each epoch a trial tells its criterion to the process of the study, and is told whether it goes on. Trials end
with that process, and neither reads nor writes the study.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as ready
from typing import Any, NamedTuple, Protocol

from jettagger.arguments import guard
from jettagger.assignment.training import prepare_training, train_prepared
from jettagger.assignment.training_folder import open_datasets
from jettagger.assignment.training_options import AssignmentOptions
from jettagger.display import Brief, briefly
from jettagger.errors import ConfigError, InvalidValues, JettaggerError, WorkerError, reason_of, require
from jettagger.runtime.workers import IdleProcesses, start_process

__all__ = ["DaskTrials", "LocalTrials", "Message", "TrialRunner", "TrialTask", "run_trial"]

#: seconds that a trial on a cluster waits for an answer of the process of the study
_ANSWER = 600

#: seconds that a killed process has to end
_GRACE = 10.0

#: seconds between questions to a scheduler
_POLL = 0.05


@dataclass(frozen=True)
class TrialTask(Brief):
    """The training of a trial; pickles as text and numbers.

    Parameters
    ----------
    options : dict
        Content of an options file, with absolute paths.
    seed, threads, device, precision, monitor
        As for `jettagger.assignment.train_assignment`.
    checkpoint : str
        File.
    """

    options: Mapping[str, Any]
    seed: int
    threads: int
    device: str
    precision: Any
    monitor: str
    checkpoint: str


@briefly
class Message(NamedTuple):
    """What a trial tells.

    Parameters
    ----------
    number : int
        Of the trial.
    kind : str
        ``epoch``, to be answered; or how it has ended: ``complete``, ``diverged``, ``failed``.
    values : dict of int to float
        Epoch -> criterion.
    seconds : float
        Of training.
    text : str
        Why it has failed.
    notes : tuple of str
        Warnings.
    """

    number: int
    kind: str
    values: dict[int, float]
    seconds: float = 0.0
    text: str = ""
    notes: tuple[str, ...] = ()


Tell = Callable[[int, float, float], bool]


def run_trial(number: int, task: TrialTask, tell: Tell) -> Message:
    """Train; errors are part of the result.

    Parameters
    ----------
    number : int
        Of the trial.
    task : TrialTask
    tell : callable
        Takes epoch, criterion and seconds; returns whether the training goes on.

    Returns
    -------
    Message
    """
    start = time.monotonic()
    values: dict[int, float] = {}
    goes_on, trains = True, False

    def follow(epoch: Any) -> None:
        nonlocal goes_on
        values[epoch.number] = epoch.criterion
        goes_on = tell(epoch.number, epoch.criterion, time.monotonic() - start)

    notes: list[str] = []

    def ended(kind: str, text: str = "") -> Message:
        return Message(number, kind, values, time.monotonic() - start, text, tuple(dict.fromkeys(notes)))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            options = AssignmentOptions.model_validate(dict(task.options))
            data = prepare_training(options, *open_datasets(options))
            trains = True
            made = train_prepared(
                data,
                seed=task.seed,
                threads=task.threads,
                device=task.device,
                precision=task.precision,
                monitor=task.monitor,
                follow=follow,
                checkpoint=task.checkpoint,
                until=lambda: not goes_on,
            )
            values.update({epoch.number: epoch.criterion for epoch in made.history})
            return ended("complete")
        except InvalidValues as error:
            return ended("diverged" if trains else "failed", str(error))
        except JettaggerError as error:
            return ended("failed", str(error))
        except Exception as error:  # a trial that fails is no reason to lose the others
            return ended("failed", f"{type(error).__name__}: {reason_of(error)}")
        finally:
            notes += [str(item.message) for item in caught]


class TrialRunner(Protocol):
    """Runs trials, several at a time."""

    def start(self, number: int, task: TrialTask) -> None:
        """Begin a trial."""

    def messages(self, seconds: float) -> list[Message]:
        """What trials have told, within a time."""

    def answer(self, number: int, goes_on: bool) -> None:
        """Say to a trial that has ended an epoch whether it goes on."""

    def stop(self, number: int) -> None:
        """End a trial at once."""

    def close(self) -> None:
        """End all trials at once."""


# ------------------------------------------------------------------------------------------------------- this machine


class LocalTrials(Brief):
    """Trials in processes on this machine, one each.

    A process that has not used the CPU for the time of `jettagger.runtime.workers.deadline` is ended.
    """

    def __init__(self) -> None:
        self._running: dict[int, tuple[Any, Connection]] = {}
        self._idle: dict[int, IdleProcesses] = {}
        self._waited = 0.0

    def start(self, number: int, task: TrialTask) -> None:
        """Begin a trial."""
        self._running[number] = start_process(_run, number, task)

    def messages(self, seconds: float) -> list[Message]:
        """What trials have told, within a time; a process that has died, or does nothing, is a failed trial."""
        start = time.monotonic()
        found = self._told(seconds)
        self._waited += min(time.monotonic() - start, seconds)
        return [*found, *self._stuck()]

    def _stuck(self) -> list[Message]:
        """Trials whose processes do nothing; they are ended."""
        found = []
        watch = {number: self._idle.setdefault(number, IdleProcesses()) for number in self._running}
        self._idle = watch
        if not watch or not all(one.measures and self._waited >= (one.step or 0.0) for one in watch.values()):
            return []
        self._waited = 0.0
        for number, idle in watch.items():
            text = idle.look([self._running[number][0].pid])
            if text:
                self.stop(number)
                found.append(Message(number, "failed", {}, text=f"{text}: the process of the trial was ended"))
        return found

    def _told(self, seconds: float) -> list[Message]:
        pipes = {pipe: number for number, (_, pipe) in self._running.items()}
        found = []
        for pipe in [one for one in ready([*pipes], timeout=seconds) if isinstance(one, Connection)]:
            number = pipes[pipe]
            try:
                message: Message = pipe.recv()
            except (EOFError, OSError):
                process, _ = self._running.pop(number)
                process.join()
                code = process.exitcode
                text = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
                memory = ", most likely for lack of memory" if code == -9 else ""
                found.append(Message(number, "failed", {}, text=f"the process of the trial {text}{memory}"))
                continue
            if message.kind != "epoch":
                process, pipe = self._running.pop(number)
                process.join(_GRACE)
                process.kill()  # what hangs at its end
                pipe.close()
            found.append(message)
        return found

    def answer(self, number: int, goes_on: bool) -> None:
        """Say to a trial that has ended an epoch whether it goes on."""
        with suppress(OSError):  # it has died: that is a message of its own
            self._running[number][1].send(goes_on)

    def stop(self, number: int) -> None:
        """End a trial at once."""
        self._end([number])

    def close(self) -> None:
        """End all trials at once."""
        self._end([*self._running])

    def _end(self, numbers: list[int]) -> None:
        ended = [self._running.pop(number) for number in numbers]
        for process, _ in ended:
            process.kill()
        for process, pipe in ended:
            process.join(_GRACE)  # one that waits for a disk does not end
            pipe.close()


def _run(pipe: Connection, number: int, task: TrialTask) -> None:
    """A trial in its own process."""

    def tell(epoch: int, criterion: float, seconds: float) -> bool:
        pipe.send(Message(number, "epoch", {epoch: criterion}, seconds))
        return bool(pipe.recv())

    pipe.send(run_trial(number, task, tell))


# ---------------------------------------------------------------------------------------------------------- a cluster

#: torch has one random state in a process, whatever the number of threads of a worker
_ONE_AT_A_TIME = threading.Lock()


class DaskTrials(Brief):
    """Trials on the workers of a dask cluster, which see the files of events and of the study.

    Parameters
    ----------
    scheduler : str
        Address.

    Raises
    ------
    ConfigError
        If no scheduler answers there.
    MissingExtra
        If dask is not installed.
    """

    def __init__(self, scheduler: str) -> None:
        distributed = require("distributed", "dask", "running on dask")
        try:
            self._client = distributed.Client(scheduler, timeout="30s", set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise ConfigError(f"no dask scheduler answers at {scheduler}: {error}") from error
        self._distributed = distributed
        self._name = f"jettagger-{uuid.uuid4()}"
        self._told = distributed.Queue(self._name, client=self._client)
        self._answers: dict[int, Any] = {}
        self._futures: dict[int, Any] = {}

    def start(self, number: int, task: TrialTask) -> None:
        """Begin a trial."""
        self._answers[number] = self._distributed.Queue(f"{self._name}-{number}", client=self._client)
        self._futures[number] = self._client.submit(_run_on_worker, self._name, number, task, pure=False)

    def messages(self, seconds: float) -> list[Message]:
        """What trials have told, within a time; a task that dask gave up is a failed trial."""
        found: list[Message] = []
        end = time.monotonic() + seconds
        # asking for the number: a scheduler writes a traceback for each request that times out
        while not self._told.qsize() and time.monotonic() < end:
            time.sleep(_POLL)
        while self._told.qsize():
            found.append(Message(*self._told.get()))
        for number, future in [*self._futures.items()]:
            if future.status in ("error", "cancelled", "lost"):
                why = (
                    future.exception()
                    if future.status == "error"
                    else WorkerError(
                        f"the task is {future.status}", where="the task", got=f"is {future.status}", expected="finished"
                    )
                )
                text = f"{type(why).__name__}: {reason_of(why)}"
                found.append(Message(number, "failed", {}, text=text))
        for message in found:
            if message.kind != "epoch":
                self._futures.pop(message.number, None)
                self._answers.pop(message.number, None)
        return found

    def answer(self, number: int, goes_on: bool) -> None:
        """Say to a trial that has ended an epoch whether it goes on."""
        if number in self._answers:
            self._answers[number].put(goes_on)

    def stop(self, number: int) -> None:
        """End a trial: after its present epoch, if there is an end to it, as dask cannot stop a thread."""
        self._answers.pop(number).put(False)
        self._client.cancel([self._futures.pop(number)], force=True)

    def close(self) -> None:
        """End all trials: after their present epoch, as dask cannot stop a thread."""
        with suppress(Exception):  # the cluster may be gone
            for number in [*self._futures]:
                self._answers[number].put(False)
            self._client.cancel([*self._futures.values()], force=True)
        self._client.close()


def _run_on_worker(name: str, number: int, task: TrialTask) -> None:
    """A trial in a task of dask."""
    from distributed import Queue

    told, answers = Queue(name), Queue(f"{name}-{number}")

    def tell(epoch: int, criterion: float, seconds: float) -> bool:
        told.put(tuple(Message(number, "epoch", {epoch: criterion}, seconds)))
        return bool(answers.get(timeout=_ANSWER))

    with _ONE_AT_A_TIME:
        told.put(tuple(run_trial(number, task, tell)))


def absolute(options: AssignmentOptions) -> dict[str, Any]:
    """The content of an options file with absolute paths, for processes elsewhere."""
    content: dict[str, Any] = options.model_dump(mode="json")
    for key in ("event_info_file", "training_file", "validation_file"):
        if content[key]:
            content[key] = os.path.abspath(content[key])
    return content


guard(globals())
