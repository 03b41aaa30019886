"""The loss of a batch as the training loop takes it, with the step where it is not finite."""

from __future__ import annotations

import math
from typing import Any

from jettagger.arguments import guard
from jettagger.assignment.losses import AssignmentLoss
from jettagger.assignment.several_processes import ProcessGroup
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, require

__all__ = ["FROZEN", "TrainingObjective"]

#: what is wrong where no weight is trained
FROZEN = (
    "all weights that the loss depends on are loaded and frozen (-fsf, freeze=True): nothing is left to train; leave "
    "the flag out to train them further, or start a network with other parts from them"
)


class TrainingObjective(Brief):
    """The loss of a batch for each of its events; says where a training diverges.

    Parameters
    ----------
    loss : AssignmentLoss
    steps : int
        Of an epoch.
    group : ProcessGroup, optional
        The processes that have parts of the batch.
    """

    def __init__(self, loss: AssignmentLoss, steps: int, group: ProcessGroup | None = None) -> None:
        self.loss, self.steps, self.group = loss, steps, group
        self.step, self.last = 0, math.nan

    def begin(self, epoch: int) -> None:
        """Count from the first step of an epoch."""
        self.step = epoch * self.steps

    def __call__(self, outputs: Any, targets: Any, weights: Any) -> Any:
        """The loss of a batch, times the weight of each event.

        Parameters
        ----------
        outputs : AssignmentOutputs
        targets : AssignmentTargets
        weights : float[events]

        Returns
        -------
        float[events]

        Raises
        ------
        InvalidValues
            If a loss is not finite: gives the step and the last finite loss.
        ConfigError
            If all weights that it depends on are frozen.
        """
        torch = require("torch", "train", "training a network")
        trains = torch.is_grad_enabled()
        self.step += trains
        try:
            made = self.loss(outputs, targets)
            total = made.total
            if trains and self.group is not None:
                total = self.group.mean(total * self.group.size)
            value = float(total.detach())
            if not math.isfinite(value):
                wrong = [name for name, term in made.terms.items() if not math.isfinite(float(term.detach()))]
                raise InvalidValues(
                    f"the loss {', '.join(wrong)} is not finite: the training has diverged; try a lower learning rate"
                )
        except InvalidValues as error:
            epoch = max(self.step - 1, 0) // self.steps + 1
            place = f"step {self.step}" if trains else f"validation after step {self.step}"
            last = "" if math.isnan(self.last) else f", last finite loss {self.last:.6g}"
            raise InvalidValues(f"{place} (epoch {epoch}{last}): {error}") from error
        if trains:
            self.last = value
            if not total.requires_grad:
                raise ConfigError(FROZEN)
        return total * weights if len(weights) else total[None]


guard(globals())
