"""The study of a search: its trials, which set of options comes next, which trials end early, and its file.

The file is the journal of optuna: one line of JSON for each change. It is written by one process, that of the command,
which holds the lock of its folder; its own lock is a link, which works on network disks where those of SQLite do not.
Nothing in it is a pickle. A line that a killed process left incomplete is removed.

The samples of a trial depend on the seed, its number and the trials before it, whether they were run at once or after
an interruption.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import InputFileError, MismatchError, UnknownName, reason_of, require
from jettagger.files import refuse_special
from jettagger.studies.tuning.spaces import SearchSpace

__all__ = ["PRUNERS", "STATES", "Study", "Trial", "open_study", "optuna_library"]

#: how trials are ended early: successive halving (as in the original), below the median of the others, not at all
PRUNERS = ("halving", "median", "none")

#: states of trials
STATES = ("complete", "pruned", "invalid", "diverged", "out of time", "failed", "running")

#: name of the study in its file
_NAME = "jettagger"

#: trials before the median of the others counts
_STARTUP = 5


def optuna_library() -> Any:
    """The library, whose messages are left to jettagger.

    Raises
    ------
    MissingExtra
        If it is not installed.
    """
    optuna = require("optuna", "train", "searching options")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


@dataclass(frozen=True)
class Trial(Brief):
    """A set of options, and what became of it.

    Parameters
    ----------
    number : int
        From 0.
    state : str
        One of `STATES`.
    parameters : mapping of str to object
        Option -> its value.
    values : mapping of int to float
        Epoch -> criterion: the best one up to it.
    value : float or None
        The best one of all epochs; None if there is none.
    seconds : float
        Of training, in wall time.
    problem : str
        Why it is not complete.
    notes : tuple of str
        Warnings.
    """

    number: int
    state: str
    parameters: Mapping[str, Any]
    values: Mapping[int, float] = field(default_factory=dict)
    value: float | None = None
    seconds: float = 0.0
    problem: str = ""
    notes: tuple[str, ...] = ()

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return max(self.values, default=0)

    def to_dict(self) -> dict[str, Any]:
        """Content for JSON."""
        return {
            "number": self.number,
            "state": self.state,
            "value": self.value,
            "epochs": self.epochs,
            "seconds": round(self.seconds, 3),
            "parameters": dict(self.parameters),
            "values": {str(epoch): value for epoch, value in self.values.items()},
            **({"problem": self.problem} if self.problem else {}),
            **({"notes": list(self.notes)} if self.notes else {}),
        }


class Study(Brief):
    """The trials of a search; made by `open_study`.

    Parameters
    ----------
    study : optuna.Study
    storage : optuna.storages.BaseStorage
        Of the study.
    space : SearchSpace
    seed : int
    workers : int
        Number of trials at a time.
    """

    def __init__(self, study: Any, storage: Any, space: SearchSpace, *, seed: int, workers: int) -> None:
        self._optuna = optuna_library()
        self._study, self.space, self.seed, self.workers = study, space, seed, workers
        self._storage = storage
        self._key = storage.get_study_id_from_name(study.study_name)
        self._states = self._optuna.trial.TrialState

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger criterion is a better one."""
        return bool(self._study.direction == self._optuna.study.StudyDirection.MAXIMIZE)

    def trials(self) -> tuple[Trial, ...]:
        """All trials."""
        return tuple(map(self._trial, self._study.get_trials(deepcopy=False)))

    def running(self) -> list[int]:
        """Numbers of trials that are not ended; those of an interrupted run when the study is opened."""
        return [frozen.number for frozen in self._study.get_trials(deepcopy=False) if not frozen.state.is_finished()]

    def _trial(self, frozen: Any) -> Trial:
        about = frozen.user_attrs
        ranges = {item.key: item for item in self.space.ranges}
        state = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}.get(frozen.state.name, "running")
        return Trial(
            frozen.number,
            about.get("state", state) if frozen.state.is_finished() else state,
            {key: ranges[key].value(value) for key, value in frozen.params.items()},
            dict(sorted(frozen.intermediate_values.items())),
            self._best(frozen.intermediate_values),
            float(about.get("seconds", 0.0)),
            about.get("problem", ""),
            tuple(about.get("notes", ())),
        )

    def _best(self, values: Mapping[int, float]) -> float | None:
        return (max if self.higher_is_better else min)(values.values(), default=None)

    def best(self) -> Trial | None:
        """The best of the complete trials, the first of equal ones; None if there is none."""
        sign = -1 if self.higher_is_better else 1
        complete = [trial for trial in self.trials() if trial.state == "complete"]
        return min(complete, key=lambda trial: (sign * (trial.value or 0.0), trial.number), default=None)

    def begin(self) -> int:
        """A new trial: its number. Its options are those of `parameters`."""
        number = len(self._study.get_trials(deepcopy=False))
        self._study.sampler = self._sampler(number)
        made = self._study.ask()
        self.parameters(made.number)
        return int(made.number)

    def parameters(self, number: int) -> dict[str, Any]:
        """What the study has for each option; what is missing after an interruption is drawn.

        Parameters
        ----------
        number : int
            Of the trial.

        Returns
        -------
        dict of str to object
            For `SearchSpace.options`.
        """
        frozen = self._study.get_trials(deepcopy=False)[number]
        if all(item.key in frozen.params for item in self.space.ranges):
            return {item.key: frozen.params[item.key] for item in self.space.ranges}
        self._study.sampler = self._sampler(number)
        trial = self._open(number)
        return {item.key: item.suggested(trial) for item in self.space.ranges}

    def _sampler(self, number: int) -> Any:
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is an experiment of optuna
            return self._optuna.samplers.TPESampler(seed=seed, constant_liar=self.workers > 1)

    def _open(self, number: int) -> Any:
        key = self._storage.get_trial_id_from_study_id_trial_number(self._key, number)
        return self._optuna.trial.Trial(self._study, key)

    def report(self, number: int, epoch: int, criterion: float, seconds: float) -> bool:
        """Add an epoch of a trial.

        Parameters
        ----------
        number : int
            Of the trial.
        epoch : int
            From 1; one that is there already is left as it is.
        criterion : float
        seconds : float
            Of the training so far.

        Returns
        -------
        bool
            Whether the trial goes on.
        """
        frozen = self._study.get_trials(deepcopy=False)[number]
        if frozen.state.is_finished():
            return False
        if epoch in frozen.intermediate_values:
            return True
        best = self._best({**frozen.intermediate_values, epoch: criterion})
        trial = self._open(number)
        trial.report(best, epoch)
        trial.set_user_attr("seconds", seconds)
        if not trial.should_prune():
            return True
        self._end(number, "pruned", f"others were better after {epoch} epoch{'s' * (epoch > 1)}")
        return False

    def end(
        self, number: int, state: str, problem: str = "", notes: tuple[str, ...] = (), seconds: float | None = None
    ) -> None:
        """End a trial; one that has ended already is left as it is.

        Parameters
        ----------
        number : int
            Of the trial.
        state : str
            One of `STATES`.
        problem : str
            Why it is not complete.
        notes : tuple of str
            Warnings.
        seconds : float, optional
            Of the training. Default: those of its last report.
        """
        if self._study.get_trials(deepcopy=False)[number].state.is_finished():
            return
        if seconds is not None:
            self._open(number).set_user_attr("seconds", seconds)
        self._end(number, state, problem, notes)

    def _end(self, number: int, state: str, problem: str, notes: tuple[str, ...] = ()) -> None:
        trial = self._open(number)
        for key, text in (("state", state), ("problem", problem), ("notes", list(notes))):
            if text:
                trial.set_user_attr(key, text)
        frozen = self._study.get_trials(deepcopy=False)[number]
        value = self._best(frozen.intermediate_values)
        if state == "complete":
            self._study.tell(number, value)
        elif state == "failed":
            self._study.tell(number, state=self._states.FAIL)
        else:  # also to be avoided by the sampler; the value is the last one reported
            self._study.tell(number, state=self._states.PRUNED)

    def importances(self) -> dict[str, float]:
        """Share of the variance of the criterion for each option (functional ANOVA, Hutter et al. 2014).

        Returns
        -------
        dict of str to float
            Empty with fewer than five complete trials, or if all are equally good.
        """
        values = [trial.value for trial in self.trials() if trial.state == "complete"]
        if len(values) < _STARTUP or len(set(values)) < 2:
            return {}
        evaluator = self._optuna.importance.FanovaImportanceEvaluator(seed=self.seed)
        found = self._optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        return {key: float(value) for key, value in found.items() if math.isfinite(value)}


def open_study(
    path: str | os.PathLike[str],
    space: SearchSpace,
    about: Mapping[str, Any],
    *,
    seed: int = 0,
    workers: int = 1,
    pruner: str = "halving",
    epochs: int = 1,
    higher_is_better: bool = True,
) -> Study:
    """Open the file of a study, or make one.

    Parameters
    ----------
    path : path
        The caller has the lock of its folder.
    space : SearchSpace
    about : mapping of str to object
        What the results depend on, for JSON; must be that of the file.
    seed : int
        Of the sampled options.
    workers : int
        Number of trials at a time.
    pruner : str
        One of `PRUNERS`; none ends a trial in the first quarter of its epochs.
    epochs : int
        Of a trial.
    higher_is_better : bool

    Returns
    -------
    Study

    Raises
    ------
    InputFileError
        If the file is damaged, or not a study.
    MismatchError
        If it is that of another search; says what differs.
    UnknownName
        If there is no such pruner.
    MissingExtra
        If optuna is not installed.
    """
    optuna = optuna_library()
    if pruner not in PRUNERS:
        raise UnknownName("pruner", pruner, PRUNERS)
    first = max(1, epochs // 4)
    made: Any = {
        "halving": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=2),
        "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=_STARTUP, n_warmup_steps=first),
        "none": optuna.pruners.NopPruner,
    }[pruner]()
    file = Path(path)
    refuse_special(file)
    _whole_lines(file)
    Path(f"{file}.lock").unlink(missing_ok=True)  # of a killed process
    try:
        journal = require("optuna.storages.journal", "train", "searching options")
        storage = optuna.storages.JournalStorage(journal.JournalFileBackend(str(file)))
        study = optuna.create_study(
            storage=storage,
            study_name=_NAME,
            direction="maximize" if higher_is_better else "minimize",
            pruner=made,
            load_if_exists=True,
        )
        found = study.user_attrs.get("about")
        study.get_trials(deepcopy=False)
    except Exception as error:  # whatever damage does to those who read it
        raise InputFileError(f"{file} is damaged, or not a study: {reason_of(error)}") from error
    if found is None:
        study.set_user_attr("about", dict(about))
    elif found != about:
        names = [name for name in {**about, **found} if about.get(name) != found.get(name)]
        raise MismatchError(f"{file} is the study of another search: other {', '.join(names)}")
    return Study(study, storage, space, seed=seed, workers=workers)


def _whole_lines(file: Path) -> None:
    """Remove what follows the last end of a line: a killed process did not write it completely."""
    try:
        with file.open("r+b") as opened:
            content = opened.read()
            end = content.rfind(b"\n") + 1
            if end < len(content):
                opened.truncate(end)
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputFileError(f"cannot read {file}: {error.strerror or error}") from error


guard(globals())
