"""Networks with optimisers of their own that take turns with the one that is trained, as in adversarial trainings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from jettagger.display import Brief, in_full
from jettagger.errors import InvalidValues
from jettagger.training.schedules import Constant, Piecewise, Schedule

__all__ = ["Opponent"]


_CONSTANT = Constant()


def _all_rows(targets: Any, weights: Any) -> Any:
    """The weights as they are."""
    return weights


@dataclass(frozen=True)
class Opponent(Brief):
    """A network that learns from the outputs of the trained one, which is trained to make its loss large.

    The trained network minimises its own loss minus the strength times the mean loss of the opponent over its rows.
    Before each of these steps, the opponent minimises its loss on the same batch, with the outputs held fixed.

    Parameters
    ----------
    module : torch.nn.Module
        Function of outputs, targets and weights that returns the weighted loss of each row, ``float[n]``.
    strength : Piecewise
        Strength in each epoch; a constant is ``Piecewise(((0, 1.0),))``, see also `ramp`. Where it is 0 only the
        opponent learns.
    rows : callable
        Function of targets and weights that returns the weights for the opponent; 0 for rows that it must not see,
        e.g. those of other classes. Default: the weights.
    steps : int
        Number of steps of the opponent before each step of the network.
    rate, decay : float
        Learning rate and weight decay of AdamW.
    schedule : Schedule
        Factor on the learning rate in each epoch.
    max_norm : float
        Maximum norm of its gradient.

    Raises
    ------
    InvalidValues
        If it takes no steps.
    """

    module: Any
    strength: Piecewise
    rows: Callable[[Any, Any], Any] = _all_rows
    steps: int = 1
    rate: float = 2e-3
    decay: float = 0.0
    schedule: Schedule = _CONSTANT
    max_norm: float = 5.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InvalidValues(f"an opponent takes {self.steps} steps before each of the network, expected 1 or more")

    @property
    def about(self) -> dict[str, Any]:
        """Its settings, as numbers and text."""
        return {
            item.name: in_full(getattr(self, item.name)) for item in fields(self) if item.name not in ("module", "rows")
        }
