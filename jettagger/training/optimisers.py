"""Optimisers as values; their learning rate is that of the training, times the schedule."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from jettagger.display import Brief
from jettagger.errors import InvalidValues, require

__all__ = ["Adam", "AdamW", "Optimiser", "RAdam", "Sgd"]


@dataclass(frozen=True)
class AdamW(Brief):
    """Adam with decoupled weight decay, that of `LoopSettings` (Loshchilov and Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"

    def make(self, parameters: Iterable[Any], rate: float, decay: float) -> Any:
        """An optimiser of torch.

        Parameters
        ----------
        parameters : iterable of torch.nn.Parameter
        rate : float
            Learning rate.
        decay : float
            Weight decay.

        Returns
        -------
        torch.optim.Optimizer
        """
        torch = require("torch", "train", "training a network")
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)


@dataclass(frozen=True)
class Adam(Brief):
    """Adam (Kingma and Ba 2015) without weight decay.

    Parameters
    ----------
    epsilon : float
        Added to the root of the second moment; 1e-7 is that of Keras.
    """

    epsilon: float = 1e-8
    kind: Literal["adam"] = "adam"

    def make(self, parameters: Iterable[Any], rate: float, decay: float) -> Any:
        """An optimiser of torch, see `AdamW.make`."""
        torch = require("torch", "train", "training a network")
        return torch.optim.Adam(parameters, lr=rate, eps=self.epsilon)


@dataclass(frozen=True)
class RAdam(Brief):
    """Adam with a rectified learning rate (Liu et al. 2020) without weight decay.

    Parameters
    ----------
    epsilon : float
        As for `Adam`.
    """

    epsilon: float = 1e-8
    kind: Literal["radam"] = "radam"

    def make(self, parameters: Iterable[Any], rate: float, decay: float) -> Any:
        """An optimiser of torch, see `AdamW.make`."""
        torch = require("torch", "train", "training a network")
        return torch.optim.RAdam(parameters, lr=rate, eps=self.epsilon)


@dataclass(frozen=True)
class Sgd(Brief):
    """Gradient descent, with momentum (Polyak 1964) or that of Nesterov (1983), without weight decay.

    Parameters
    ----------
    momentum : float
    nesterov : bool
        Takes a momentum above 0.

    Raises
    ------
    InvalidValues
        If the momentum is not from 0 to below 1, or Nesterov's is 0.
    """

    momentum: float = 0.0
    nesterov: bool = False
    kind: Literal["sgd"] = "sgd"

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1 or (self.nesterov and not self.momentum):
            raise InvalidValues(
                f"expected a momentum from 0 to below 1, above 0 with nesterov; got momentum {self.momentum}, "
                f"nesterov {self.nesterov}"
            )

    def make(self, parameters: Iterable[Any], rate: float, decay: float) -> Any:
        """An optimiser of torch, see `AdamW.make`."""
        torch = require("torch", "train", "training a network")
        return torch.optim.SGD(parameters, lr=rate, momentum=self.momentum, nesterov=self.nesterov)


Optimiser = AdamW | Adam | RAdam | Sgd
