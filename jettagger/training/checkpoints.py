"""Checkpoints of a training on disk: tensors, numbers and text only, nothing executable."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jettagger.display import Brief
from jettagger.errors import InputFileError, MismatchError, reason_of, require
from jettagger.files import complete_or_absent, refuse_special
from jettagger.training.history import Epoch

__all__ = ["FORMAT", "VERSION", "Players", "Progress", "read_checkpoint", "write_checkpoint"]

#: type of a file, and version of its layout
FORMAT = "jettagger checkpoint"
VERSION = 2


@dataclass
class Progress(Brief):
    """The progress of a training.

    Parameters
    ----------
    best : dict of str to torch.Tensor
        Weights of the best epoch; the initial weights if none was better.
    start : float
        Validation loss before the training.
    start_metric : float or None
        Metric before the training, if there is one.
    history : list of Epoch
    steps : int
        Number of steps.
    """

    best: dict[str, Any]
    start: float
    start_metric: float | None
    history: list[Epoch]
    steps: int = 0

    def standard(self, least_epochs: int) -> float | None:
        """The loss or metric of the best weights, to be surpassed; None if the next epoch is the best in any case.

        Parameters
        ----------
        least_epochs : int
            Number of epochs that never are the best; if it is not 0, the initial weights are not either.
        """
        for epoch in reversed(self.history):
            if epoch.best:
                return epoch.criterion
        if least_epochs:
            return None
        return self.start if self.start_metric is None else self.start_metric

    def standard_loss(self) -> float:
        """The validation loss of the best weights, which decides between equal metrics."""
        return next((epoch.validation for epoch in reversed(self.history) if epoch.best), self.start)

    def since(self, least_epochs: int) -> int:
        """Number of epochs after the best one, of those that can be the best."""
        last = max((epoch.number for epoch in self.history if epoch.best), default=0)
        return max(len(self.history) - max(last, least_epochs), 0)


@dataclass(frozen=True)
class Players(Brief):
    """All that changes in a training.

    Parameters
    ----------
    trained : torch.nn.Module
        All networks.
    optimisers : list of torch.optim.Optimizer
    scaler : torch.amp.GradScaler
        Of the losses in mixed precision with float16; otherwise without effect.
    device : torch.device
    """

    trained: Any
    optimisers: list[Any]
    scaler: Any
    device: Any


def write_checkpoint(path: Path, players: Players, progress: Progress, about: Mapping[str, Any]) -> None:
    """Write the state after an epoch, complete or not at all.

    Parameters
    ----------
    path : pathlib.Path
    players : Players
    progress : Progress
    about : mapping of str to float, int, str or containers of these
        What the training depends on.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    torch = require("torch", "train", "training a network")
    content = {
        "format": FORMAT,
        "version": VERSION,
        "about": dict(about),
        "weights": players.trained.state_dict(),
        "optimisers": [optimiser.state_dict() for optimiser in players.optimisers],
        "scaler": players.scaler.state_dict(),
        "random": {"cpu": torch.get_rng_state()},
        "progress": asdict(progress),
    }
    if players.device.type != "cpu":
        content["random"]["device"] = getattr(torch, players.device.type).get_rng_state()
    with complete_or_absent(path) as part:
        torch.save(content, part)


def read_checkpoint(path: Path, players: Players, about: Mapping[str, Any]) -> Progress:
    """Restore networks, optimisers and torch's random state from a file.

    Parameters
    ----------
    path : pathlib.Path
    players : Players
        Modified, but only if the file is valid.
    about : mapping of str to float, int, str or containers of these
        What the training depends on; must equal that in the file.

    Returns
    -------
    Progress

    Raises
    ------
    InputFileError
        If the file is damaged, or not a checkpoint.
    MismatchError
        If it is the checkpoint of another training or network.
    """
    torch = require("torch", "train", "training a network")
    refuse_special(path)
    advice = "delete it to train from the beginning"
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch does not compare the checksums
        if damaged is not None:
            raise ValueError(f"{damaged} in it is damaged")
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}, expected {FORMAT!r}")
        version = int(content["version"])
    except Exception as error:  # whatever damage does to those who read it
        raise _damaged(path, error, advice) from error
    if version != VERSION:
        raise InputFileError(
            f"{path} is a checkpoint of version {version}, this version of jettagger reads {VERSION}; {advice}"
        )
    try:
        found, weights, progress = dict(content["about"]), content["weights"], dict(content["progress"])
        progress["history"] = [Epoch(**epoch) for epoch in progress["history"]]
        made = Progress(**progress)
        shapes = [{name: tuple(value.shape) for name, value in state.items()} for state in (weights, made.best)]
    except Exception as error:
        raise _damaged(path, error, advice) from error
    names = [name for name in {**about, **found} if about.get(name) != found.get(name)]
    if names:
        shown = ", ".join(f"{name} was {found.get(name)!r} and is {about.get(name)!r}" for name in names)
        raise MismatchError(f"{path} is the checkpoint of another training: {shown}; {advice}")
    expected = {name: tuple(value.shape) for name, value in players.trained.state_dict().items()}
    for here in shapes:
        names = [name for name in {**expected, **here} if expected.get(name) != here.get(name)]
        if names:
            shown = ", ".join(f"{name} is {here.get(name)}, expected {expected.get(name)}" for name in names[:5])
            raise MismatchError(f"{path} is the checkpoint of another network: {shown}; {advice}")
    try:
        for optimiser, state in zip(players.optimisers, content["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        players.scaler.load_state_dict(content["scaler"])
        torch.set_rng_state(content["random"]["cpu"])
        if players.device.type != "cpu":
            getattr(torch, players.device.type).set_rng_state(content["random"]["device"])
    except Exception as error:
        raise InputFileError(f"{path} is damaged: {reason_of(error)}; {advice}") from error
    players.trained.load_state_dict(weights)
    return made


def _damaged(path: Path, error: Exception, advice: str) -> InputFileError:
    return InputFileError(f"{path} is damaged, or not a checkpoint of a training: {reason_of(error)}; {advice}")
