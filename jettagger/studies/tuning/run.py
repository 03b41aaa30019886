"""Search for options of assignment networks: ``jettagger assignment tune`` as a function."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.resources import files as resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jettagger.arguments import guard, in_range
from jettagger.assignment.training import training_rows
from jettagger.assignment.training_folder import inputs_of, open_datasets
from jettagger.assignment.training_metrics import LOSS, PURITY, validation_metric
from jettagger.assignment.training_options import UNUSED, AssignmentOptions, read_options
from jettagger.display import Brief
from jettagger.errors import ConfigError, InputFileError, InvalidValues, UnknownName, WorkerError, require
from jettagger.files import check_folder, folder_complete_or_absent
from jettagger.files.resuming import lock_folder, resume_folder
from jettagger.provenance import Provenance
from jettagger.runtime.codedigest import digest_of
from jettagger.studies.tuning.limits import TrialLimits
from jettagger.studies.tuning.report import MARKER, STUDY, write_report
from jettagger.studies.tuning.spaces import SearchSpace, read_search_space
from jettagger.studies.tuning.study import PRUNERS, Study, Trial, open_study, optuna_library
from jettagger.studies.tuning.trials import DaskTrials, LocalTrials, Message, TrialRunner, TrialTask, absolute
from jettagger.training.devices import open_device

if TYPE_CHECKING:
    from jettagger.training.devices import Precision

__all__ = ["Tuning", "TuningPlan", "plan_tuning", "tune_assignment"]

#: trials that fail at the beginning of a run before it ends: then something else is wrong
_FAILURES = 3

#: seconds between looks at the clock
_LOOK = 0.5

#: keys that do not change the result of a trial
_IRRELEVANT = ("event_info_file", "testing_file", "training_file", "validation_file", "num_gpu", "verbose_output")


@dataclass(frozen=True)
class TuningPlan(Brief):
    """What will be searched; made by `plan_tuning`.

    Parameters
    ----------
    options : AssignmentOptions
        Of all trials, but for those that are searched.
    space : SearchSpace
    training_events, validation_events : int
        Numbers of events, before any are left out.
    first : dict of str to object
        Options of the first trial that are searched.
    first_options : AssignmentOptions or None
        All options of the first trial; None if they do not go together.
    problem : str
        Why.
    higher_is_better : bool
        Whether a larger criterion is a better one.
    """

    options: AssignmentOptions
    space: SearchSpace
    training_events: int
    validation_events: int
    first: dict[str, Any]
    first_options: AssignmentOptions | None
    problem: str
    higher_is_better: bool


@dataclass(frozen=True)
class Tuning(Brief):
    """The result of `tune_assignment`.

    Parameters
    ----------
    folder : pathlib.Path
    trials : tuple of Trial
    best : Trial
    options : AssignmentOptions
        Of the best trial.
    importances : dict of str to float
        Option -> share of the variance of the criterion; empty with few trials.
    monitor : str
        The criterion.
    higher_is_better : bool
    out_of_time : bool
        Whether the time ran out before the last trial.
    """

    folder: Path
    trials: tuple[Trial, ...]
    best: Trial
    options: AssignmentOptions
    importances: dict[str, float]
    monitor: str
    higher_is_better: bool
    out_of_time: bool


def plan_tuning(
    options: AssignmentOptions | str | os.PathLike[str],
    space: SearchSpace | str | os.PathLike[str],
    *,
    seed: int = 0,
    monitor: str = PURITY,
) -> TuningPlan:
    """Open the data sets, check space and criterion, and draw the options of the first trial.

    Parameters
    ----------
    options, space, seed, monitor
        As for `tune_assignment`.

    Returns
    -------
    TuningPlan

    Raises
    ------
    ConfigError, InputFileError, MissingColumns, MismatchError, UnknownName, MissingExtra
        As for `tune_assignment`.
    """
    options = options if isinstance(options, AssignmentOptions) else read_options(options)
    space = space if isinstance(space, SearchSpace) else read_search_space(space)
    in_range(seed, "seed", 0, 2**31 - 1)
    common = space.common(options)
    training, validation = open_datasets(common)
    if monitor == LOSS:
        _refuse_losses(space)
    drawn = _drawn(space, seed)
    first, problem = None, ""
    try:
        first = space.options(options, drawn)
    except ConfigError as error:
        problem = str(error)
    metric = validation_metric(monitor, training.event, first or common)
    rows, held = training_rows(training.n_events, common, validation=validation is not None)
    return TuningPlan(
        common,
        space,
        len(rows),
        len(held) if validation is None else validation.n_events,
        {item.key: item.value(drawn[item.key]) for item in space.ranges},
        first,
        problem,
        metric.higher_is_better,
    )


def _refuse_losses(space: SearchSpace) -> None:
    """Refuse a search for the lowest loss among options that define it."""
    defining = ("scale", "focal_gamma", "combine_pair_loss", "total_loss", "class_weights", "event_weights")
    found = [item.key for item in space.ranges if item.key.endswith(defining) or item.key.startswith("balance_")]
    found = [key for key in found if key != "transformer_dim_scale"]
    if found:
        raise ConfigError(
            f"the loss cannot decide between trials that define it differently ({', '.join(found)}): "
            f"choose another measure, such as {PURITY!r}"
        )


def _drawn(space: SearchSpace, seed: int) -> dict[str, Any]:
    """What the first trial of a study has for each option."""
    optuna = optuna_library()
    storage = optuna.storages.InMemoryStorage()
    study = Study(optuna.create_study(storage=storage), storage, space, seed=seed, workers=1)
    return study.parameters(study.begin())


# -------------------------------------------------------------------------------------------------------------- search


def tune_assignment(
    options: AssignmentOptions | str | os.PathLike[str],
    space: SearchSpace | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    trials: int = 10,
    seed: int = 0,
    monitor: str = PURITY,
    pruner: str = "halving",
    workers: int = 1,
    scheduler: str | None = None,
    threads: int = 1,
    devices: Sequence[str] = ("cpu",),
    precision: Precision = "float32",
    time_limit: float | None = None,
    trial_limit: float | None = None,
    epoch_limit: float | None = None,
    study: str | os.PathLike[str] | None = None,
    plots: bool = True,
    resume: bool = True,
    force: bool = False,
    follow: Callable[[Trial], None] | None = None,
    clock: Callable[[], float] | None = None,
) -> Tuning:
    """Search for options of a training: ``jettagger assignment tune`` as a function.

    Parameters
    ----------
    options : AssignmentOptions or path
        Of all trials, but for those that are searched; with event file and data sets.
    space : SearchSpace or path
        What is searched; its values override the options.
    output : path
        The folder to write; complete or absent.
    trials : int
        Number of trials, with those of an earlier run.
    seed : int
        Of the sampled options, and of each training. With one worker, the same seed gives the same trials.
    monitor : str
        The criterion, as for `jettagger.assignment.train_assignment`.
    pruner : str
        One of `jettagger.studies.tuning.study.PRUNERS`.
    workers : int
        Number of trials at a time, each in its own process.
    scheduler : str, optional
        Address of a dask scheduler, whose workers see the files of events and the folder ``OUTPUT.resume``.
    threads : int
        Of each trial.
    devices : sequence of str
        Those of `jettagger.assignment.train_assignment`; trials take them in turn.
    precision : str
        As for `jettagger.assignment.train_assignment`.
    time_limit : float, optional
        Seconds from now on; then running trials end, and the output is written.
    trial_limit, epoch_limit : float, optional
        Seconds of a trial, and from epoch to epoch of one: a trial beyond them is ended, has failed, and the search
        goes on. A process that does not use the CPU is ended in any case, see `jettagger.runtime.workers.deadline`.
    study : path, optional
        The study of an earlier search (its folder, or the file in it) with the same options, whose trials count.
    plots : bool
        Whether a picture is drawn.
    resume : bool
        Whether an interrupted run leaves its study and the state of its trials in ``OUTPUT.resume``, from where the
        next one goes on.
    force : bool
        Whether an existing output may be replaced.
    follow : callable, optional
        Called with each trial after each of its epochs, and when it has ended.
    clock : callable, optional
        Seconds; default: `time.monotonic`.

    Returns
    -------
    Tuning

    Raises
    ------
    ConfigError
        If options, space or numbers are not valid, or no scheduler answers.
    InputFileError, MissingColumns, MismatchError
        If the data sets cannot be read, or the study is that of another search.
    InvalidValues
        If no trial was complete: the study is kept.
    WorkerError
        If the first trials have all failed; gives the reasons.
    UnknownName
        If there is no such measure, pruner or device.
    ProviderError
        If the device is not there.
    MissingExtra
        If the extra ``train`` is not installed, or ``plot`` for the picture, or ``dask`` for a scheduler.
    OutputError
        If the folder exists or cannot be written, or another run is writing it.
    """
    for name, number in (("trials", trials), ("workers", workers), ("threads", threads)):
        in_range(number, name, 1)
    if time_limit is not None:
        in_range(time_limit, "time_limit", 0, above=True)
    limits = TrialLimits(trial_limit, epoch_limit, clock)
    if pruner not in PRUNERS:
        raise UnknownName("pruner", pruner, PRUNERS)
    plan = plan_tuning(options, space, seed=seed, monitor=monitor)
    named = [] if isinstance(options, AssignmentOptions) else [options]
    inputs = [*inputs_of(plan.options, *named, plan.space.name or None), *([] if study is None else [study])]
    check_folder(output, marker=MARKER, force=force, inputs=inputs)
    if scheduler is None:
        for device in devices:
            open_device(device)
    if plots:
        require("mplhep", "plot", "the picture of the search")
    kept = resume_folder(output)
    if not resume:
        shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(exist_ok=True)
    try:
        with closing(_lock(kept)), folder_complete_or_absent(output, marker=MARKER, force=force) as folder:
            if study is not None and not (kept / STUDY).exists():
                shutil.copyfile(_study_file(study), kept / STUDY)
            record = open_study(
                kept / STUDY,
                plan.space,
                _about(plan, monitor, pruner, precision, seed),
                seed=seed,
                workers=workers,
                pruner=pruner,
                epochs=plan.space.epochs(plan.options),
                higher_is_better=plan.higher_is_better,
            )
            task = TrialTask({}, seed, threads, "", precision, monitor, "")
            with closing(LocalTrials() if scheduler is None else DaskTrials(scheduler)) as runner:
                search = _Search(plan, record, runner, task, kept.resolve(), list(devices), limits, time_limit, follow)
                search.run(trials, workers)
            best = record.best()
            if best is None:
                raise InvalidValues(f"none of {_count(len(record.trials()))} was complete: {_reasons(record)}")
            result = Tuning(
                Path(output),
                record.trials(),
                best,
                plan.space.options(plan.options, record.parameters(best.number)),
                record.importances(),
                monitor,
                plan.higher_is_better,
                search.out_of_time,
            )
            settings = {
                **_about(plan, monitor, pruner, precision, seed),
                "trial_limit": trial_limit,
                "epoch_limit": epoch_limit,
            }
            made = Provenance(
                "assignment tune", files=tuple(os.fspath(path) for path in inputs), configuration=settings
            )
            shutil.copyfile(kept / STUDY, folder / STUDY)
            write_report(folder, result, plan.space, made, plots=plots)
    except BaseException:
        if not resume or not (kept / STUDY).exists():
            shutil.rmtree(kept, ignore_errors=True)
        raise
    shutil.rmtree(kept, ignore_errors=True)
    return result


def _lock(folder: Path) -> Any:
    """The lock of the folder, to be closed."""
    return lock_folder(folder) or io.BytesIO()


def _study_file(path: str | os.PathLike[str]) -> Path:
    file = Path(path)
    file = file / STUDY if file.is_dir() else file
    if not file.is_file():
        raise InputFileError(f"{file} is not there: expected the study of an earlier search, {STUDY} in its folder")
    return file


def _about(plan: TuningPlan, monitor: str, pruner: str, precision: str, seed: int) -> dict[str, Any]:
    """What the trials depend on, in JSON."""
    places = {key: getattr(plan.options, key) for key in ("event_info_file", "training_file", "validation_file")}
    return {
        "space": plan.space.content(),
        "options": plan.options.model_dump(mode="json", exclude={*_IRRELEVANT, *UNUSED}),
        "data": {key: _identity(path) for key, path in places.items() if path},
        "monitor": monitor,
        "pruner": pruner,
        "precision": precision,
        "seed": seed,
    }


def _identity(path: str) -> list[int]:
    """Size and time of a file."""
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns]


def _count(number: int) -> str:
    return f"{number} trial{'s' * (number != 1)}"


def _reasons(study: Study, numbers: Iterable[int] | None = None) -> str:
    trials = [trial for trial in study.trials() if numbers is None or trial.number in numbers]
    return "; ".join(f"trial {trial.number}: {trial.problem or trial.state}" for trial in trials[:_FAILURES])


class _Search:
    """Runs the trials of a study."""

    def __init__(
        self,
        plan: TuningPlan,
        study: Study,
        runner: TrialRunner,
        task: TrialTask,
        folder: Path,
        devices: list[str],
        limits: TrialLimits,
        time_limit: float | None,
        follow: Callable[[Trial], None] | None,
    ) -> None:
        self.plan, self.study, self.runner, self.task = plan, study, runner, task
        self.folder, self.devices, self.follow = folder, devices, follow
        self.limits = limits
        self.end = None if time_limit is None else limits.clock() + time_limit
        self.running: dict[int, int] = {}  # trial -> slot
        self.earlier: dict[int, float] = {}  # trial -> seconds in earlier runs
        self.ended: list[str] = []
        self.out_of_time = False

    def run(self, trials: int, workers: int) -> None:
        """Run until there is a number of trials, or the time is over."""
        interrupted = self.study.running()
        while True:
            while len(self.running) < workers and not self.out_of_time:
                if interrupted:
                    self._start(interrupted.pop(0), workers)
                elif len(self.study.trials()) < trials:
                    self._start(self.study.begin(), workers)
                else:
                    break
            if not self.running:
                return
            for message in self.runner.messages(_LOOK):
                self._take(message)
            for number, why in self.limits.over().items():
                self.runner.stop(number)
                self._take(Message(number, "failed", {}, self.limits.seconds(number) - self.earlier[number], why))
            if self.end is not None and self.limits.clock() > self.end:
                self._stop(interrupted)
                return
            if len(self.ended) >= _FAILURES and set(self.ended) == {"failed"}:
                failed = [trial.number for trial in self.study.trials() if trial.state == "failed"][-_FAILURES:]
                reasons = _reasons(self.study, failed)
                raise WorkerError(
                    f"the first {_FAILURES} trials have all failed: {reasons}. They are kept; "
                    "--no-resume (resume=False) starts anew",
                    where=f"the first {_FAILURES} trials",
                    got=f"have all failed: {reasons}",
                    expected="trials that train",
                )

    def _start(self, number: int, workers: int) -> None:
        try:
            options = self.plan.space.options(self.plan.options, self.study.parameters(number))
        except ConfigError as error:
            self.study.end(number, "invalid", str(error))
            self._say(number)
            return
        slot = next(slot for slot in range(workers) if slot not in self.running.values())
        self.running[number] = slot
        self.earlier[number] = self.study.trials()[number].seconds
        task = replace(
            self.task,
            options=absolute(options),
            device=self.devices[slot % len(self.devices)],
            checkpoint=str(self.folder / f"trial_{number}_{_code()[:12]}.pt"),
        )
        self._say(number)
        self.runner.start(number, task)
        self.limits.begin(number, self.earlier[number])

    def _take(self, message: Message) -> None:
        number = message.number
        if number not in self.running:  # one that was ended, on a cluster
            return
        if message.kind == "epoch":
            ((epoch, criterion),) = message.values.items()
            self.limits.heard(number, epoch)
            goes_on = self.study.report(number, epoch, criterion, self.earlier[number] + message.seconds)
            self.runner.answer(number, goes_on)
            if goes_on:
                self._say(number)
            return
        if message.kind == "complete":  # epochs that an interruption kept from being told
            for epoch, criterion in sorted(message.values.items()):
                self.study.report(number, epoch, criterion, self.earlier[number] + message.seconds)
        seconds = self.earlier[number] + message.seconds if message.seconds else None
        self.study.end(number, message.kind, message.text, message.notes, seconds)
        del self.running[number]
        self.limits.end(number)
        for file in self.folder.glob(f"trial_{number}_*.pt"):
            file.unlink()
        self.ended.append(message.kind)
        self._say(number)

    def _stop(self, interrupted: list[int]) -> None:
        """End all trials, as the time is over; if none is complete, they are left as they are, to go on with."""
        self.out_of_time = True
        self.runner.close()
        if self.study.best() is None:
            return
        for number in [*self.running, *interrupted]:
            epochs = self.study.trials()[number].epochs
            self.study.end(number, "out of time", f"after {epochs} of its epochs")
            self._say(number)

    def _say(self, number: int) -> None:
        if self.follow is not None:
            self.follow(self.study.trials()[number])


def _code() -> str:
    """Digest of what the state of a training belongs to."""
    code = [digest_of(resources("jettagger") / name) for name in ("assignment", "training", "topology")]
    return hashlib.sha256(json.dumps([code, version("torch"), version("numpy")]).encode()).hexdigest()


guard(globals())
