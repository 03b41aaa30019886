"""Checkpoints of a training on disk: tensors, numbers and text only, nothing executable."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from jettagger.errors import InputFileError, MismatchError, reason_of, require
from jettagger.files import complete_or_absent, refuse_special
from jettagger.training.history import Epoch

__all__ = ["VERSION", "Progress", "read_checkpoint", "write_checkpoint"]

#: type of a file, and version of its layout
_FORMAT = "jettagger checkpoint"
VERSION = 1


@dataclass
class Progress:
    """The progress of a training.

    Parameters
    ----------
    best : dict of str to torch.Tensor
        Weights of the best epoch; the initial weights if none was better.
    start : float
        Validation loss before the training.
    history : list of Epoch
    """

    best: dict[str, Any]
    start: float
    history: list[Epoch]

    @property
    def lowest(self) -> float:
        """The validation loss of the best weights."""
        return next((epoch.validation for epoch in reversed(self.history) if epoch.best), self.start)

    @property
    def since(self) -> int:
        """Number of epochs after the best one."""
        return sum(1 for _ in takewhile(lambda epoch: not epoch.best, reversed(self.history)))


def write_checkpoint(path: Path, trained: Any, optimiser: Any, progress: Progress, about: Mapping[str, Any]) -> None:
    """Write the state after an epoch, complete or not at all.

    Parameters
    ----------
    path : pathlib.Path
    trained : torch.nn.Module
    optimiser : torch.optim.Optimizer
    progress : Progress
    about : mapping of str to float, int or str
        What the training depends on.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    torch = require("torch", "train", "training a network")
    content = {
        "format": _FORMAT,
        "version": VERSION,
        "about": dict(about),
        "weights": trained.state_dict(),
        "optimiser": optimiser.state_dict(),
        "random": torch.get_rng_state(),
        "progress": asdict(progress),
    }
    with complete_or_absent(path) as part:
        torch.save(content, part)


def read_checkpoint(path: Path, trained: Any, optimiser: Any, about: Mapping[str, Any]) -> Progress:
    """Restore a network, its optimiser and torch's random state from a file.

    Parameters
    ----------
    path : pathlib.Path
    trained : torch.nn.Module
    optimiser : torch.optim.Optimizer
        Both are modified, but only if the file is valid.
    about : mapping of str to float, int or str
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
        if content["format"] != _FORMAT:
            raise ValueError(f"its format is {content['format']!r}, expected {_FORMAT!r}")
        version, found = content["version"], dict(content["about"])
        weights, progress = content["weights"], dict(content["progress"])
        progress["history"] = [Epoch(**epoch) for epoch in progress["history"]]
        made = Progress(**progress)
        shapes = [{name: tuple(value.shape) for name, value in state.items()} for state in (weights, made.best)]
    except Exception as error:  # whatever damage does to those who read it
        raise InputFileError(
            f"{path} is damaged, or not a checkpoint of a training: {reason_of(error)}; {advice}"
        ) from error
    if version != VERSION:
        raise InputFileError(
            f"{path} is a checkpoint of version {version}, this version of jettagger reads {VERSION}; {advice}"
        )
    names = [name for name in {**about, **found} if about.get(name) != found.get(name)]
    if names:
        shown = ", ".join(f"{name} was {found.get(name)!r} and is {about.get(name)!r}" for name in names)
        raise MismatchError(f"{path} is the checkpoint of another training: {shown}; {advice}")
    expected = {name: tuple(value.shape) for name, value in trained.state_dict().items()}
    for here in shapes:
        names = [name for name in {**expected, **here} if expected.get(name) != here.get(name)]
        if names:
            shown = ", ".join(f"{name} is {here.get(name)}, expected {expected.get(name)}" for name in names[:5])
            raise MismatchError(f"{path} is the checkpoint of another network: {shown}; {advice}")
    try:
        optimiser.load_state_dict(content["optimiser"])
        torch.set_rng_state(content["random"])
    except Exception as error:
        raise InputFileError(f"{path} is damaged: {reason_of(error)}; {advice}") from error
    trained.load_state_dict(weights)
    return made
