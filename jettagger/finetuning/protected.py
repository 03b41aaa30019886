"""Scores that do not depend on protected columns: checks of these columns, and the term of the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jettagger.decorrelation.disco import squared_distance_correlation
from jettagger.decorrelation.distance import distance_correlation
from jettagger.display import Brief
from jettagger.errors import InvalidValues
from jettagger.training import Metric, ramp
from jettagger.types import Floats, Rows

if TYPE_CHECKING:
    from jettagger.finetuning.config import FinetuneConfig
    from jettagger.finetuning.prepare import Prepared, RowLayout

__all__ = ["FEWEST", "PROTECTED", "Penalty", "Protection", "reference_of", "scores", "signals_of"]

#: front of the names of protected columns in a row
PROTECTED = "protected:"

#: minimum number of jets of the class in a batch: with fewer the term is mostly the bias, 3.3 / jets for Gaussians
FEWEST = 100

#: the strength is 0 in the first tenth of the epochs and rises linearly in the next half: from the start on, outputs
#: would become constant, as the correlation does not depend on their width
_START, _RISE = 10, 2


class Protection(Brief):
    """Checks of the protected columns in the class of a decorrelation, while the files are read.

    Parameters
    ----------
    config : FinetuneConfig
        With `decorrelate`.
    layout : RowLayout
    """

    def __init__(self, config: FinetuneConfig, layout: RowLayout) -> None:
        assert config.decorrelate is not None
        self.config, self.layout, self.of = config, layout, config.decorrelate.of
        self.columns = [layout[f"{PROTECTED}{name}"] for name in config.protected]
        self.low = np.full(len(self.columns), np.inf)
        self.high = np.full(len(self.columns), -np.inf)
        self.bad: dict[str, tuple[int, int, str]] = {}
        self.negative: tuple[int, int, str] | None = None

    def add(self, rows: Rows, event: Any, path: str) -> None:
        """Include the rows of a chunk, float32[n, layout.width], with their event numbers, int[n]."""
        mine = rows[:, self.layout["label"]] == list(self.config.classes).index(self.of)
        rows, event = rows[mine], event[mine]
        if not len(rows):
            return
        for place, name in enumerate(self.config.protected):
            values = rows[:, self.columns[place]]
            finite = np.isfinite(values)
            if not finite.all():
                count, first, where = self.bad.get(name, (0, int(event[~finite][0]), path))
                self.bad[name] = (count + int(np.count_nonzero(~finite)), first, where)
            self.low[place] = min(self.low[place], values[finite].min(initial=np.inf))
            self.high[place] = max(self.high[place], values[finite].max(initial=-np.inf))
        negative = rows[:, self.layout["weight"]] < 0
        if negative.any():
            count, first, where = self.negative or (0, int(event[negative][0]), path)
            self.negative = (count + int(np.count_nonzero(negative)), first, where)

    def check(self, jets: Mapping[str, int]) -> None:
        """Refuse what cannot be decorrelated.

        Parameters
        ----------
        jets : dict of str to int
            Class -> number of training jets.

        Raises
        ------
        InvalidValues
            If a protected column is constant or not finite, a weight is negative, or batches have too few jets.
        """
        where = self.config.document.where("decorrelate", "from")
        if self.bad:
            shown = [f"{name} ({n} jets, first in event {e} of {p})" for name, (n, e, p) in self.bad.items()]
            raise InvalidValues(
                f"{where}: protected columns that are missing or not finite in jets of the class {self.of!r}: "
                f"{'; '.join(shown)}. Leave these jets out with select:"
            )
        constant = [
            name for name, low, high in zip(self.config.protected, self.low, self.high, strict=True) if low >= high
        ]
        if constant:
            raise InvalidValues(
                f"{where}: protected columns with the same value in all jets of the class {self.of!r}: "
                f"{', '.join(constant)}. There is nothing to decorrelate from"
            )
        if self.negative is not None:
            count, event, path = self.negative
            assert self.config.decorrelate is not None
            disco = self.config.decorrelate.method == "disco"
            why = (
                "for which a distance correlation is not defined" if disco else "which the referee's trees cannot take"
            )
            raise InvalidValues(
                f"{self.config.document.where('weight')}: {count} jets of the class {self.of!r} have a negative weight "
                f"(first in event {event} of {path}), {why}; use weight: abs(...), or leave them out with select:"
            )
        batch, total = self.config.training.batch, sum(jets.values())
        expected = batch * jets[self.of] / total
        if expected < 2 * FEWEST:
            needed = -(-2 * FEWEST * total // max(jets[self.of], 1))
            raise InvalidValues(
                f"{self.config.document.where('training', 'batch')}: a batch of {batch} has about {expected:.0f} jets "
                f"of the class {self.of!r}, from which the dependence of scores is estimated in each step, expected at "
                f"least {2 * FEWEST}: use training: {{batch: {needed}}} or more"
            )


def signals_of(config: FinetuneConfig) -> tuple[str, ...]:
    """The classes whose scores are decorrelated, empty without `decorrelate`: those of the key, or all others."""
    if config.decorrelate is None:
        return ()
    reference = reference_of(config)
    return config.decorrelate.signals or tuple(name for name in config.classes if name != reference)


def reference_of(config: FinetuneConfig) -> str:
    """The class that the decorrelated scores compare with: that of the key, or the last one for domains without."""
    assert config.decorrelate is not None
    return config.decorrelate.of or list(config.classes)[-1]


def scores(outputs: Any, config: FinetuneConfig, names: tuple[str, ...], of: str) -> list[Any]:
    """``p_signal / (p_signal + p_of)`` of logits, one ``float[n]`` for each of some classes.

    Parameters
    ----------
    outputs : torch.Tensor, float[n, classes]
        Before the softmax.
    config : FinetuneConfig
    names : tuple of str
        The signals.
    of : str
        The class that they are compared with.

    Returns
    -------
    list of torch.Tensor
    """
    places = {name: place for place, name in enumerate(config.classes)}
    return [(outputs[:, places[name]] - outputs[:, places[of]]).sigmoid() for name in names]


class Penalty(Brief):
    """The loss of a head with the term of its decorrelation.

    Parameters
    ----------
    prepared : Prepared
        With one strength.
    loss : callable
        The loss of the head: outputs, targets, weights -> weighted loss of each row.
    """

    def __init__(self, prepared: Prepared, loss: Callable[[Any, Any, Any], Any]) -> None:
        config = prepared.config
        assert config.decorrelate is not None
        (self.strength,) = config.strengths
        self.config, self.layout, self.decorrelate, self._loss = config, prepared.layout, config.decorrelate, loss
        self.label = list(config.classes).index(self.decorrelate.of)
        self.epochs = config.training.epochs
        self.terms = 0
        self.schedule, self.factor = ramp(1.0, self.epochs // _START, self.epochs // _RISE), 1.0
        self.signals = signals_of(config)

    @property
    def least_epochs(self) -> int:
        """Number of epochs until the term has its full strength."""
        return self.epochs // _START + self.epochs // _RISE

    def begin(self, epoch: int) -> None:
        """Set the strength of an epoch of the training, from 0; in the validation it is always the full one.

        Raises
        ------
        InvalidValues
            If no batch so far had enough jets of the class, e.g. as few were drawn for the training.
        """
        if epoch and not self.terms:
            raise InvalidValues(
                f"no batch of the training has {FEWEST} jets of the class {self.decorrelate.of!r}, from which the "
                "dependence of scores is estimated: use larger batches, or more jets"
            )
        self.factor = self.schedule.factor(epoch, self.epochs, [])

    def targets(self, rows: Rows) -> Rows:
        """Class and protected columns, float32[n, 1 + columns], of rows float32[n, layout.width]."""
        columns = [self.layout["label"], *(self.layout[f"{PROTECTED}{name}"] for name in self.config.protected)]
        return np.ascontiguousarray(rows[:, columns])

    def __call__(self, outputs: Any, targets: Any, weights: Any) -> Any:
        """Weighted loss of each row, float[n]: that of the head, plus the term of the batch times the weight."""
        values = self._loss(outputs, targets[:, 0].long(), weights)
        mine = targets[:, 0] == self.label
        if int(mine.sum()) < FEWEST:  # the rest of an epoch
            return values
        term = self._term(outputs[mine], targets[mine, 1:], weights[mine], squared_distance_correlation)
        factor = 1.0
        if outputs.requires_grad:  # in the training
            factor, self.terms = self.factor, self.terms + 1
        return values + factor * self.strength * term * weights

    @property
    def metric(self) -> Metric:
        """The loss with the term of all validation jets together, which has hardly any bias."""
        return Metric("loss", self._of_all)

    def _of_all(self, outputs: Any, targets: Any, weights: Any) -> float:
        plain = float(self._loss(outputs, targets[:, 0].long(), weights).double().sum() / weights.double().sum())
        if not bool(outputs.isfinite().all()):
            return float("nan")
        mine = targets[:, 0] == self.label
        return plain + self.strength * self._term(outputs[mine], targets[mine, 1:], weights[mine], _squared)

    def _term(self, outputs: Any, columns: Any, weights: Any, squared: Callable[[Any, Any, Any], Any]) -> Any:
        """Sum over the protected columns, averaged over the signals, and that of the pair."""
        of, outputs = self.decorrelate.of, outputs.float()
        found = scores(outputs, self.config, self.signals, of)
        terms = [
            squared(score, columns[:, place], weights) / len(found)
            for score in found
            for place in range(columns.shape[1])
        ]
        if self.decorrelate.between:
            first, second = scores(outputs, self.config, self.decorrelate.between, of)
            terms.append(squared(first, second, weights))
        return sum(terms)


def _squared(x: Any, y: Any, weights: Any) -> float:
    """The squared distance correlation of tensors in O(n log n); 0 for a constant score, which depends on nothing."""
    columns: list[Floats] = [item.double().cpu().numpy() for item in (x, y, weights)]
    if any(np.ptp(column[columns[2] > 0]) == 0 for column in columns[:2]):
        return 0.0
    return distance_correlation(*columns) ** 2
