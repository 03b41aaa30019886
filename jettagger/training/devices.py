"""Where a network is trained and in which precision: CPU or a GPU, single or mixed precision."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, get_args

from jettagger.errors import ProviderError, UnknownName, require

__all__ = ["DEVICE", "Precision", "autocast", "move", "open_device", "tree_map"]

#: names of devices: the CPU, the first GPU of NVIDIA or AMD, a certain one, that of Apple
DEVICE = re.compile(r"cpu|cuda(:\d+)?|mps")

#: ``float32``: single precision. The others are mixed precision: matrix products in 16 bits, the weights, the losses
#: and the steps in single precision
Precision = Literal["float32", "bfloat16", "float16"]


def open_device(name: str) -> Any:
    """A device of torch by its name.

    Parameters
    ----------
    name : str
        ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Returns
    -------
    torch.device

    Raises
    ------
    UnknownName
        If it is not the name of a device.
    ProviderError
        If this machine, or the installed torch, does not have it.
    MissingExtra
        If torch is not installed.
    """
    torch = require("torch", "train", "training a network")
    if not DEVICE.fullmatch(name):
        raise UnknownName("device", name, ["cpu", "cuda", "cuda:0", "mps"])
    device = torch.device(name)
    if device.type == "cuda":
        number = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= number:
            found = f"torch {torch.__version__} finds {number or 'no'} GPU{'s' if number > 1 else ''} here"
            raise ProviderError(
                f"the device {name!r} is not there: {found}; train on 'cpu', or on a machine with it",
                where=f"the device {name!r}",
                got=found,
                expected="'cpu', or a machine with it",
            )
    if device.type == "mps" and not torch.backends.mps.is_available():
        found = f"torch {torch.__version__} finds no GPU of Apple here"
        raise ProviderError(
            f"the device {name!r} is not there: {found}; train on 'cpu'",
            where=f"the device {name!r}",
            got=found,
            expected="'cpu'",
        )
    return device


def autocast(device: Any, precision: Precision) -> AbstractContextManager[Any]:
    """The context in which a network runs in a precision.

    Parameters
    ----------
    device : torch.device
    precision : str
        ``float32`` changes nothing.

    Returns
    -------
    context manager

    Raises
    ------
    UnknownName
        If it is not a precision.
    """
    if precision not in get_args(Precision):
        raise UnknownName("precision", precision, get_args(Precision))
    if precision == "float32":
        return nullcontext()
    torch = require("torch", "train", "training a network")
    context: AbstractContextManager[Any] = torch.autocast(device.type, dtype=getattr(torch, precision))
    return context


def tree_map(function: Callable[[Any], Any], value: Any) -> Any:
    """Apply a function to each array in tuples, lists and mappings.

    Examples
    --------
    >>> tree_map(abs, (-1, {"a": [-2, 3]}))
    (1, {'a': [2, 3]})
    """
    if isinstance(value, dict):
        return {name: tree_map(function, each) for name, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(tree_map(function, each) for each in value))
    if isinstance(value, (tuple, list)):
        return type(value)(tree_map(function, each) for each in value)
    return function(value)


def move(value: Any, device: Any) -> Any:
    """Arrays of NumPy or torch as tensors on a device, also in tuples, lists and mappings."""
    torch = require("torch", "train", "training a network")
    return tree_map(lambda each: torch.as_tensor(each, device=device), value)
