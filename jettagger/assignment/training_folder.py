"""Trainings from options and data sets to a folder with networks, history and record; complete or absent.

An interrupted training goes on where it was: the state after each epoch is kept beside the folder until it is complete.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jettagger.arguments import guard, in_range
from jettagger.assignment.datasets import AssignmentDataset
from jettagger.assignment.ensembles import NETWORK_FILE, network_files, seed_file
from jettagger.assignment.several_processes import check_processes
from jettagger.assignment.training import (
    TrainedNetwork,
    TrainingData,
    prepare_training,
    train_prepared,
    training_subject,
)
from jettagger.assignment.training_metrics import PURITY, validation_metric
from jettagger.assignment.training_options import AssignmentOptions, read_options
from jettagger.assignment.training_settings import loop_settings
from jettagger.assignment.weights import is_torch_file, read_state, write_network
from jettagger.display import Brief
from jettagger.errors import ConfigError, InputFileError, MismatchError, reason_of, require
from jettagger.files import check_folder, complete_or_absent, folder_complete_or_absent, refuse_special
from jettagger.provenance import KEY, Provenance
from jettagger.topology.eventfile import write_event_file
from jettagger.training.curves import tensorboard
from jettagger.training.devices import open_device
from jettagger.training.history import Epoch, Follow
from jettagger.training.kept import kept_checkpoints

if TYPE_CHECKING:
    from jettagger.training.devices import Precision

__all__ = [
    "CHECKPOINT",
    "MARKER",
    "AssignmentTraining",
    "Deadline",
    "inputs_of",
    "open_datasets",
    "starting_weights",
    "train_to_folder",
]

#: file that only folders of trainings have: how the networks were made
MARKER = "training.json"

#: files in the folder, besides networks and history; the last one if the time ran out
OPTIONS, EVENT, CHECKPOINT = "options.json", "event.yaml", "checkpoint.pt"

#: what a training depends on, in words
DEPENDS_ON = "events, options, seed, weights or code"


@dataclass(frozen=True)
class AssignmentTraining(Brief):
    """The result of `train_to_folder`.

    Parameters
    ----------
    folder : pathlib.Path
    networks : mapping of str to TrainedNetwork
        File -> network.
    left_out : tuple of int
        Seeds that were not trained, as the time had run out.
    parameters : int
        Number of the weights of one network.
    monitor : str
        What decided about the best epoch.
    out_of_time : bool
        Whether the time ran out before the last epoch.
    """

    folder: Path
    networks: Mapping[str, TrainedNetwork]
    left_out: tuple[int, ...]
    parameters: int
    monitor: str
    out_of_time: bool


class Deadline(Brief):
    """Says after each epoch whether another one would last beyond a limit.

    Parameters
    ----------
    limit : float
        Seconds from now on.
    clock : callable, optional
        Seconds; default: `time.monotonic`.

    Examples
    --------
    >>> now = iter([0.0, 30.0, 70.0])
    >>> ended = Deadline(100, lambda: next(now))
    >>> ended(), ended()  # epochs of 30 and 40 seconds
    (False, True)
    """

    def __init__(self, limit: float, clock: Callable[[], float] | None = None) -> None:
        self.limit, self.clock = limit, clock or time.monotonic
        self.start = self.last = self.clock()
        self.longest = 0.0

    def __call__(self) -> bool:
        now = self.clock()
        self.longest = max(self.longest, now - self.last)
        self.last = now
        return now - self.start + self.longest > self.limit


# -------------------------------------------------------------------------------------------------------------- inputs


def inputs_of(options: AssignmentOptions, *others: str | os.PathLike[str] | None) -> list[str]:
    """What a training reads; nothing of it may be overwritten.

    Parameters
    ----------
    options : AssignmentOptions
    *others : path or None

    Returns
    -------
    list of str
    """
    named = (options.event_info_file, options.training_file, options.validation_file, *others)
    return [os.fspath(path) for path in named if path]


def open_datasets(options: AssignmentOptions) -> tuple[AssignmentDataset, AssignmentDataset | None]:
    """The data sets of a training, whose layout is compared with the event file.

    Parameters
    ----------
    options : AssignmentOptions

    Returns
    -------
    training : AssignmentDataset
    validation : AssignmentDataset or None
        None: the end of the training's.

    Raises
    ------
    ConfigError
        If no event file or no training file is named, or the event file is not valid.
    InputFileError, MissingColumns, MismatchError
        If a data set cannot be read, or has another layout than the event file needs.
    """
    for key, flag, what in (
        ("event_info_file", "-ef", "event file"),
        ("training_file", "-tf", "data set for the training"),
    ):
        if not getattr(options, key):
            raise ConfigError(f"no {what} is given: name it in the options ({key}) or with {flag}")
    training = AssignmentDataset(options.training_file, options.event_info_file)
    validation = AssignmentDataset(options.validation_file, training.event) if options.validation_file else None
    return training, validation


def starting_weights(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The state dictionary of a file: of the original, of a network, or of the folder of a training.

    Parameters
    ----------
    path : path
        See `jettagger.assignment.weights.read_state`; or a folder with one network.

    Returns
    -------
    dict of str to array

    Raises
    ------
    InputFileError
        If it cannot be read.
    ConfigError
        If the folder has several networks.
    """
    files = network_files(path)
    if len(files) > 1:
        raise ConfigError(f"{os.fspath(path)} has several networks ({', '.join(one.name for one in files)}): name one")
    return read_state(files[0])


# ------------------------------------------------------------------------------------------------------------ training


def train_to_folder(
    options: AssignmentOptions | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    seed: int = 0,
    seeds: int = 1,
    monitor: str = PURITY,
    threads: int = 1,
    device: str = "cpu",
    precision: Precision = "float32",
    processes: int = 1,
    weights: str | os.PathLike[str] | None = None,
    freeze: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    time_limit: float | None = None,
    resume: bool = False,
    plots: bool = True,
    force: bool = False,
    follow: Follow | None = None,
    begin: Callable[[TrainingData], None] | None = None,
    clock: Callable[[], float] | None = None,
) -> AssignmentTraining:
    """Train assignment networks: ``jettagger assignment train`` as a function.

    Parameters
    ----------
    options : AssignmentOptions or path
        With the paths of event file and data sets.
    output : path
        The folder to write, complete or absent: ``network.pt``, or ``network_<seed>.pt`` of several seeds, histories
        with pictures, ``options.json``, ``event.yaml``, the record ``training.json``, and ``logs/`` if TensorBoard is
        installed.
    seed : int
        Of weights and order.
    seeds : int
        Number of networks, of this and the next seeds, one after the other: an ensemble, see
        `jettagger.assignment.read_model`.
    monitor : str
        What decides about the best epoch, see `jettagger.assignment.training_metrics.measure_names`.
    threads, device, precision
        As for `jettagger.assignment.train_assignment`.
    processes : int
        Number of processes that have parts of each batch; with ``cuda``, as many GPUs.
    weights : path, optional
        State dictionary to start from, see `starting_weights`; what does not fit is left out.
    freeze : bool
        Whether weights that were loaded are left as they are.
    checkpoint : path, optional
        ``checkpoint.pt`` of a training that ran out of time, or the folder ``OUTPUT.resume`` of an interrupted one: the
        training goes on from there, with the same events, options and seed.
    time_limit : float, optional
        Seconds; the training ends before the epoch that would last longer, with the best weights so far and a
        ``checkpoint.pt``. At least one epoch is trained.
    resume : bool
        Store the state after each epoch in a folder ``OUTPUT.resume`` until the output is complete, and go on with
        that of an interrupted training: the networks are the same as without interruption.
    plots : bool
        Whether histories are drawn.
    force : bool
        Whether an existing folder may be replaced.
    follow : callable, optional
        Called with an `Epoch` after each epoch; its ``model`` counts the seeds.
    begin : callable, optional
        Called with the events when they are prepared.
    clock : callable, optional
        Seconds, for the time limit; default: `time.monotonic`.

    Returns
    -------
    AssignmentTraining

    Raises
    ------
    ConfigError, UnknownName
        If options contradict each other or are not valid.
    InputFileError, MissingColumns, MismatchError, InvalidValues
        If files cannot be used, weights fit nowhere, a checkpoint is of another training, or a loss is not finite; see
        `open_datasets` and `jettagger.assignment.train_assignment`.
    ProviderError
        If the device is not there.
    MissingExtra
        If the extra ``train`` is not installed, or ``plot`` for the pictures.
    OutputError
        If the folder exists or cannot be written.

    Warns
    -----
    ResumeWarning
        If there is a checkpoint of an earlier run: whether it is used, or discarded because something has changed.
    """
    options = options if isinstance(options, AssignmentOptions) else read_options(options)
    in_range(seeds, "seeds", 1)
    in_range(seed, "seed", 0)
    if freeze and weights is None:
        raise ConfigError("freeze needs weights to start from")
    if checkpoint is not None and seeds > 1:
        raise ConfigError("a checkpoint is that of one network: several seeds cannot start from it")
    check_folder(output, marker=MARKER, force=force, inputs=inputs_of(options, weights, checkpoint))
    require("torch", "train", "training a network")
    open_device(device)
    check_processes(processes, device)
    if plots:
        require("mplhep", "plot", "the pictures of the history")
    training, validation = open_datasets(options)
    validation_metric(monitor, training.event, options)
    state = None if weights is None else starting_weights(weights)
    data = prepare_training(options, training, validation)
    if begin is not None:
        begin(data)
    every = range(seed, seed + seeds)
    subjects = {one: training_subject(data, one, weights=state, freeze=freeze, processes=processes) for one in every}
    deadline = None if time_limit is None else Deadline(time_limit, clock)
    with (
        kept_checkpoints(output, [*subjects.values()] if resume else [], DEPENDS_ON) as kept,
        folder_complete_or_absent(output, marker=MARKER, force=force) as folder,
    ):
        states: dict[int, Path] = {}
        if kept is not None:
            states = {one: kept.path(f"network-{one}", subject) for one, subject in subjects.items()}
        elif deadline is not None or checkpoint is not None:
            states = {one: folder / f"network-{one}{CHECKPOINT}" for one in every}
        if checkpoint is not None and not states[seed].exists():
            source = _checked_checkpoint(checkpoint, subjects[seed])
            with complete_or_absent(states[seed]) as part:
                shutil.copyfile(source, part)
        made: dict[str, TrainedNetwork] = {}
        ended = False
        for number, one in enumerate(every):
            found = train_prepared(
                data,
                seed=one,
                threads=threads,
                device=device,
                precision=precision,
                monitor=monitor,
                weights=state,
                where=os.fspath(weights or ""),
                freeze=freeze,
                follow=_listeners(follow, folder, data, device, precision, number, "" if seeds == 1 else f"{one}"),
                checkpoint=states.get(one),
                until=deadline,
                processes=processes,
            )
            file = NETWORK_FILE if seeds == 1 else seed_file(one)
            made[file] = found
            write_network(folder / file, found.network)
            if found.curves is not None:
                found.curves.write(folder, plots=plots, name="history" if seeds == 1 else f"history_{one}")
            ended = len(found.history) < options.epochs
            if ended:
                break
        if ended and seeds == 1 and one in states:
            shutil.copyfile(states[one], folder / CHECKPOINT)
        if kept is None:
            for path in states.values():
                path.unlink(missing_ok=True)
        result = AssignmentTraining(
            Path(output),
            made,
            tuple(every[len(made) :]),
            sum(parameter.numel() for parameter in found.network.parameters()),
            monitor,
            ended,
        )
        settings = {
            "seed": seed,
            "seeds": seeds,
            "threads": threads,
            "device": device,
            "precision": precision,
            "processes": processes,
        }
        record = Provenance(
            "assignment train",
            files=tuple(inputs_of(options, weights)),
            configuration={
                **settings,
                "monitor": monitor,
                "freeze": freeze,
                "options": options.model_dump(mode="json"),
            },
        )
        _describe(folder, options, data, result, record)
    return result


def _listeners(
    follow: Follow | None, folder: Path, data: TrainingData, device: str, precision: Precision, number: int, seed: str
) -> Follow:
    """What is told of epochs: the caller, with the number of the network, and TensorBoard."""
    settings = loop_settings(data.options, data.steps, device=device, precision=precision)
    board = tensorboard(folder / "logs" / seed, settings)

    def tell(epoch: Epoch) -> None:
        numbered = Epoch(**{**vars(epoch), "model": number})
        for one in (follow, board):
            if one is not None:
                one(numbered)

    return tell


def _describe(
    folder: Path, options: AssignmentOptions, data: TrainingData, result: AssignmentTraining, record: Provenance
) -> None:
    """Write options, event file and record."""
    content = options.model_dump(mode="json")
    (folder / OPTIONS).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    write_event_file(folder / EVENT, data.description)
    networks = {}
    for file, network in result.networks.items():
        best = max((epoch for epoch in network.history if epoch.best), key=lambda epoch: epoch.number, default=None)
        networks[file] = {
            "epochs": len(network.history),
            "best_epoch": 0 if best is None else best.number,
            "measures": {} if best is None else {"loss": best.validation, **best.measures},
        }
    about = {
        KEY: record.to_dict(),
        "networks": networks,
        "monitor": result.monitor,
        "parameters": result.parameters,
        "events": {
            "training": data.training.count,
            "validation": data.validation.count,
            "left_out": data.left_out,
        },
        "out_of_time": result.out_of_time,
        "seeds_left_out": list(result.left_out),
    }
    (folder / MARKER).write_text(json.dumps(about, indent=1, allow_nan=False) + "\n", encoding="utf-8")


# ------------------------------------------------------------------------------------------------------------ resuming


def _checked_checkpoint(path: str | os.PathLike[str], subject: str) -> Path:
    """The file of a checkpoint of this training.

    Raises
    ------
    InputFileError
        If it is none.
    MismatchError
        If it is that of another training.
    """
    torch = require("torch", "train", "training a network")
    place = Path(path)
    if place.is_dir():
        inside = sorted([*place.glob(CHECKPOINT), *place.glob("network-*.pt")])
        if len(inside) != 1:
            raise InputFileError(f"{place} has {len(inside)} checkpoints, expected one: name its file")
        place = inside[0]
    refuse_special(place)
    if not place.is_file():
        raise InputFileError(f"no such file: {place}")
    advice = "weights of a network, or of a checkpoint of the original, are a start with -sf"
    try:
        if not is_torch_file(place):
            raise ValueError("no file of torch.save")
        content = torch.load(place, map_location="cpu", weights_only=True)
        about = dict(content["about"])
    except Exception as error:  # whatever damage does to those who read it
        raise InputFileError(f"{place} is no checkpoint of a training here ({reason_of(error)}); {advice}") from error
    if about.get("subject") != subject:
        raise MismatchError(
            f"{place} is the checkpoint of another training: events, options, seed, weights or code differ; {advice}"
        )
    return place


guard(globals())
