"""Ensembles of assignment networks: the mean of their distributions as one network, and the folders of trainings."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from jettagger.arguments import Kind, guard
from jettagger.assignment.networks import AssignmentOutputs
from jettagger.assignment.weights import read_network
from jettagger.errors import InputFileError, InvalidValues, MismatchError, require
from jettagger.files import refuse_special

__all__ = ["NETWORK_FILE", "mean_network", "network_files", "read_model", "seed_file"]

_Network = Annotated[Any, Kind("a network of build_network", lambda value: hasattr(value, "class_counts"))]

#: network in the folder of a training
NETWORK_FILE = "network.pt"

#: networks of several seeds
_SEED_FILE = re.compile(r"network_(\d+)\.pt")

#: stands for minus infinity where it is subtracted
_LOWEST = -1e30


def seed_file(seed: int) -> str:
    """Name of the network of a seed in the folder of a training with several.

    Parameters
    ----------
    seed : int

    Returns
    -------
    str

    Examples
    --------
    >>> seed_file(3)
    'network_3.pt'
    """
    return f"network_{seed}.pt"


def mean_network(networks: Sequence[_Network]) -> Any:
    """An ensemble as one network, whose distributions are the means of those of its members.

    Parameters
    ----------
    networks : sequence of torch.nn.Module
        Of `jettagger.assignment.networks.build_network`, with the same event file and classes; their options may
        differ. They are members of the result, not copies.

    Returns
    -------
    torch.nn.Module
        In the mode of evaluation; a single network is returned as it is. A function of ``values`` and ``masks`` that
        returns `AssignmentOutputs`: logarithms of the mean probabilities of assignments and classes, logits of the mean
        probabilities of detections, mean regressions, and embeddings one after the other. Has ``description``,
        ``options`` (of the first) and ``class_counts``, so that `jettagger.assignment.export_network` exports it.

    Raises
    ------
    InvalidValues
        If there are none.
    MismatchError
        If event files or numbers of classes differ.
    MissingExtra
        If torch is not installed.
    """
    networks = list(networks)
    if not networks:
        raise InvalidValues("an ensemble of no networks")
    first = networks[0]
    for place, network in enumerate(networks[1:], 2):
        if network.description != first.description:
            raise MismatchError(f"network {place} of the ensemble has another event file than the first")
        if network.class_counts != first.class_counts:
            raise MismatchError(
                f"network {place} of the ensemble has the classes {network.class_counts}, the first "
                f"{first.class_counts}"
            )
    return first.eval() if len(networks) == 1 else _ensemble(networks).eval()


def _ensemble(networks: list[Any]) -> Any:
    torch = require("torch", "train", "an assignment network")
    functional = torch.nn.functional

    def log_mean(values: list[Any]) -> Any:
        """Logarithm of the mean of exponentials; minus infinity where all are."""
        stacked = torch.stack(values)
        top = stacked.amax(0).clamp(min=_LOWEST)
        return top + torch.log(torch.exp(stacked - top).sum(0)) - math.log(len(values))

    def logit_of_mean(logits: list[Any]) -> Any:
        # as of `exporting`: a logarithm of a sigmoid is minus infinity in ONNX below -88
        there = log_mean([-functional.softplus(-value) for value in logits])
        return there - log_mean([-functional.softplus(value) for value in logits])

    class MeanNetwork(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.networks = torch.nn.ModuleList(networks)
            first = networks[0]
            self.description, self.options, self.class_counts = first.description, first.options, first.class_counts

        def forward(self, values: Any, masks: Any) -> AssignmentOutputs:
            made = [network(values, masks) for network in self.networks]
            first = made[0]
            return AssignmentOutputs(
                {name: log_mean([one.assignments[name] for one in made]) for name in first.assignments},
                {name: logit_of_mean([one.detections[name] for one in made]) for name in first.detections},
                {key: torch.stack([one.regressions[key] for one in made]).mean(0) for key in first.regressions},
                {
                    key: log_mean([torch.log_softmax(one.classifications[key], 1) for one in made])
                    for key in first.classifications
                },
                {key: torch.cat([one.vectors[key] for one in made], 1) for key in first.vectors},
            )

    return MeanNetwork()


def network_files(path: str | os.PathLike[str]) -> tuple[Path, ...]:
    """The network files that a path stands for.

    Parameters
    ----------
    path : path
        A file of `write_network`, or the folder of a training.

    Returns
    -------
    tuple of pathlib.Path
        The file; ``network.pt`` of the folder, or its ``network_<seed>.pt`` in the order of the seeds.

    Raises
    ------
    InputFileError
        If there is none.
    """
    place = Path(path)
    try:
        refuse_special(place)
        is_folder, exists = place.is_dir(), place.exists()
    except (OSError, ValueError):  # a name too long, a zero byte
        is_folder = exists = False
    if not exists:
        raise InputFileError(f"no such file or folder: {place}")
    if not is_folder:
        return (place,)
    names = {inside.name for inside in place.iterdir()}
    seeds = sorted(int(match[1]) for match in map(_SEED_FILE.fullmatch, names) if match)
    if NETWORK_FILE in names:
        return (place / NETWORK_FILE,)
    if seeds:
        return tuple(place / seed_file(seed) for seed in seeds)
    found = ", ".join(sorted(names)[:8]) or "nothing"
    raise InputFileError(
        f"{place} is not the folder of a training: expected {NETWORK_FILE}, or {seed_file(0)} and so on; it has {found}"
    )


def read_model(path: str | os.PathLike[str]) -> Any:
    """A network from its file, or from the folder of a training: the mean of all, if it has several.

    Parameters
    ----------
    path : path
        As for `network_files`.

    Returns
    -------
    torch.nn.Module
        On the CPU, in the mode of evaluation; see `mean_network` for several.

    Raises
    ------
    InputFileError
        If there is no network, or it is damaged.
    MismatchError
        If networks of the folder have different event files or classes.
    MissingExtra
        If torch is not installed.
    """
    return mean_network([read_network(file) for file in network_files(path)])


guard(globals())
