"""Random numbers of a training: reproducible from a seed, and without side effects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from jettagger.errors import require
from jettagger.training.devices import open_device

__all__ = ["epoch_random", "seeded"]


@contextmanager
def seeded(seed: int, model: int = 0, *, threads: int, device: str = "cpu") -> Iterator[Any]:
    """torch with the random state of a seed and a number of threads; both are restored afterwards.

    A network made and trained in this context is reproducible with the same number of threads on the same machine.

    Parameters
    ----------
    seed : int
    model : int
        Index of the network, if several are trained: each has its own initial weights.
    threads : int
        Number of threads of torch.
    device : str
        Device of the training, whose random state is also restored.

    Yields
    ------
    module
        torch.

    Raises
    ------
    MissingExtra
        If torch is not installed.
    ProviderError
        If the device is not there.
    UnknownName
        If there is no such device.
    """
    torch = require("torch", "train", "training a network")
    where = open_device(device)
    kind, devices = ("cuda", []) if where.type == "cpu" else (where.type, [where.index or 0])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices, device_type=kind):
            torch.manual_seed(seed * 1000 + model)
            yield torch
    finally:
        torch.set_num_threads(before)


def epoch_random(seed: int, model: int, epoch: int) -> np.random.Generator:
    """Random numbers for the order of the rows in an epoch, independent of previous epochs.

    Parameters
    ----------
    seed, model : int
        As for `seeded`.
    epoch : int
        From 0.

    Returns
    -------
    numpy.random.Generator

    Examples
    --------
    >>> epoch_random(1, 0, 2).permutation(4).tolist() == epoch_random(1, 0, 2).permutation(4).tolist()
    True
    """
    return np.random.default_rng([seed, model, epoch])
