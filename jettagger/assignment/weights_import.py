"""From a checkpoint of SPANet to a network file, without its training file."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jettagger.arguments import guard
from jettagger.assignment.training_options import read_options
from jettagger.assignment.weights import LoadedWeights, convert_weights, write_network
from jettagger.display import Brief
from jettagger.errors import ConfigError, InputFileError
from jettagger.files import refuse_inputs, refuse_special
from jettagger.topology.eventfile import read_event_file

__all__ = ["ImportedWeights", "import_weights"]

#: files beside the checkpoints of a training of the original
_EVENT, _OPTIONS, _CHECKPOINTS = "event.yaml", "options.json", "checkpoints"

#: what the original writes into the names of its checkpoints
_MONITOR = re.compile(r"validation_average_jet_accuracy=(\d*\.?\d+)")


@dataclass(frozen=True)
class ImportedWeights(Brief):
    """The result of `import_weights`.

    Parameters
    ----------
    path : pathlib.Path
        The network file.
    checkpoint, event, options : pathlib.Path
        Files that were read.
    network : torch.nn.Module
        In the mode of evaluation.
    loaded : LoadedWeights
    """

    path: Path
    checkpoint: Path
    event: Path
    options: Path
    network: Any
    loaded: LoadedWeights


def import_weights(
    weights: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    event: str | os.PathLike[str] | None = None,
    options: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> ImportedWeights:
    """Write a checkpoint of the original as a network file: ``jettagger assignment import-weights`` as a function.

    Parameters
    ----------
    weights : path
        A checkpoint or state dictionary, see `jettagger.assignment.read_state`; or the folder of a training of the
        original (``version_0``): of its checkpoints that with the highest accuracy in its name.
    output : path
        The network file to write, complete or absent; see `jettagger.assignment.read_network`.
    event, options : path, optional
        Event file and options of its training; default: ``event.yaml`` and ``options.json`` beside the checkpoint, or
        in the folder above it.
    force : bool
        Whether an existing file may be replaced.

    Returns
    -------
    ImportedWeights

    Raises
    ------
    InputFileError
        If a file cannot be read, or if its pickle holds anything but tensors and plain containers.
    MismatchError
        If the weights do not fit to event file and options: lists names and shapes.
    ConfigError
        If event file or options are not valid, or not found.
    OutputError
        If the file exists, is an input, or cannot be written.
    MissingExtra
        If torch is not installed.
    """
    given = [path for path in (weights, event, options) if path is not None]
    refuse_inputs(output, given)
    checkpoint = _checkpoint(Path(weights))
    event_file, option_file = (
        Path(path) if path is not None else _beside(checkpoint, name, flag)
        for path, name, flag in ((event, _EVENT, "--event"), (options, _OPTIONS, "--options"))
    )
    refuse_inputs(output, [checkpoint, event_file, option_file])
    description = read_event_file(event_file)
    network, loaded = convert_weights(checkpoint, description, read_options(option_file))
    path = write_network(output, network, force=force)
    return ImportedWeights(path, checkpoint, event_file, option_file, network, loaded)


def _checkpoint(place: Path) -> Path:
    """The file of a checkpoint; of a folder the best one."""
    refuse_special(place)
    try:
        if not place.is_dir():
            return place
    except (OSError, ValueError):  # a name too long, a zero byte
        return place
    folder = place / _CHECKPOINTS if (place / _CHECKPOINTS).is_dir() else place
    there = sorted(folder.glob("*.ckpt"))
    scores = {path: float(match[1]) for path in there if (match := _MONITOR.search(path.name))}
    if scores:
        return max(scores, key=lambda path: scores[path])
    if len(there) == 1:
        return there[0]
    found = ", ".join(path.name for path in there[:8]) or "no .ckpt"
    raise InputFileError(f"{folder} has {found}, expected one checkpoint, or names with their accuracy")


def _beside(checkpoint: Path, name: str, flag: str) -> Path:
    for folder in (checkpoint.parent, checkpoint.parent.parent):
        if (folder / name).is_file():
            return folder / name
    raise ConfigError(f"there is no {name} beside {checkpoint}, or in the folder above: give it with {flag}")


guard(globals())
