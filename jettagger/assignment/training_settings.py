"""The settings of the training loop that options of SPANet stand for: optimiser, learning rate, warm-up, clipping."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from jettagger.arguments import guard
from jettagger.assignment.training_options import AssignmentOptions
from jettagger.errors import UnknownName, require
from jettagger.training.loop import LoopSettings
from jettagger.training.schedules import Restarts

if TYPE_CHECKING:
    from jettagger.training.devices import Precision

__all__ = ["loop_settings"]


@dataclass(frozen=True)
class _NamedOptimiser:
    """An optimiser of torch by its name; biases have no weight decay."""

    name: str
    kind: Literal["named"] = "named"

    def make(self, parameters: Any, rate: float, decay: float) -> Any:
        torch = require("torch", "train", "training a network")
        names = [name for name, value in vars(torch.optim).items() if isinstance(value, type) and name != "Optimizer"]
        if self.name not in names:
            raise UnknownName("optimizer", self.name, names)
        groups: dict[bool, list[Any]] = {True: [], False: []}
        for parameter in parameters:
            groups[not getattr(parameter, "is_bias", False)].append(parameter)
        made = [{"params": group, "weight_decay": decay * decayed} for decayed, group in groups.items() if group]
        optimiser = getattr(torch.optim, self.name)
        # one call for all weights, where torch has it
        fused = {"fused": True} if "fused" in inspect.signature(optimiser).parameters else {}
        return optimiser(made, lr=rate, **fused)


def loop_settings(
    options: AssignmentOptions, steps: int, *, device: str = "cpu", precision: Precision = "float32"
) -> LoopSettings:
    """The settings of the loop.

    Parameters
    ----------
    options : AssignmentOptions
    steps : int
        Of an epoch.
    device, precision : str
        As for `train_assignment`.

    Returns
    -------
    LoopSettings
    """
    return LoopSettings(
        epochs=options.epochs,
        rate=options.learning_rate,
        decay=options.l2_penalty,
        patience=options.epochs + 1,
        max_norm=options.gradient_clip or math.inf,
        schedule=Restarts(steps, round(steps * options.learning_rate_warmup_epochs), options.learning_rate_cycles),
        device=device,
        precision=precision,
        optimiser=_NamedOptimiser(options.optimizer),  # type: ignore[arg-type]
    )


guard(globals())
