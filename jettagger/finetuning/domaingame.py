"""Heads against an adversary that tells two domains apart by their scores, e.g. data and simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jettagger.decorrelation.adversary import adversary_gain, domain_adversary
from jettagger.decorrelation.referee import judge_domain
from jettagger.display import Brief
from jettagger.errors import InvalidValues, require
from jettagger.finetuning.domains import DOMAIN, seen_by_adversary
from jettagger.finetuning.game import Dependence
from jettagger.finetuning.prepare import Prepared
from jettagger.finetuning.protected import reference_of, scores, signals_of
from jettagger.training import Cosine, Opponent, ramp
from jettagger.types import Bools, Floats, Rows

__all__ = ["DomainGame"]

#: maximum number of test jets for the referee
_MOST = 300_000


class DomainGame(Brief):
    """The adversary of a head that tells two domains apart by its scores, made within `seeded`.

    It sees the jets of both domains with their own weights, the sums of which are made equal; of jets with classes only
    those of the class of the decorrelation, if there is one.

    Parameters
    ----------
    prepared : Prepared
        With `domains` and one strength.
    loss : callable
        The loss of the head: outputs, targets, weights -> weighted loss of each row.
    model : int
        Index of the network.

    Raises
    ------
    InvalidValues
        If the weights of a domain add up to 0.
    """

    def __init__(self, prepared: Prepared, loss: Callable[[Any, Any, Any], Any], model: int) -> None:
        config = prepared.config
        assert config.decorrelate is not None
        (self.strength,) = config.strengths
        self.keys, self.config, self.layout = config.decorrelate.adversary, config, prepared.layout
        self._loss, self._prepared, self._model = loss, prepared, model
        self.signals, self.of = signals_of(config), reference_of(config)
        totals, jets, labelled = np.zeros(2), 0, 0
        for rows in prepared.store:
            part = prepared.part(rows, model, "train", unlabelled=True)
            seen = self._seen(part)
            domain, weight = (part[seen, self.layout[name]] for name in (DOMAIN, "weight"))
            totals += np.bincount(domain.astype(np.int64), weights=weight, minlength=2)
            jets, labelled = jets + len(part), labelled + int(np.count_nonzero(part[:, self.layout["label"]] >= 0))
        for name, total in zip(config.decorrelate.domains, totals, strict=True):
            if not total > 0:
                where = config.document.where("decorrelate", "domains", name)
                raise InvalidValues(f"{where}: the weights of the domain {name!r} add up to {total:g}")
        self._factors: Floats = totals.sum() / 2 / totals
        self._dilution = jets / labelled
        self._module = None
        if self.strength:
            self._module = domain_adversary(
                self._score, lambda targets: targets[:, 1], scores=len(self.signals), layers=self.keys.layers
            )

    def _seen(self, rows: Rows) -> Bools:
        """The rows that the adversary may see."""
        label, domain = rows[:, self.layout["label"]], rows[:, self.layout[DOMAIN]]
        return np.asarray((domain >= 0) & seen_by_adversary(self.config, label))

    def _score(self, outputs: Any) -> Any:
        torch = require("torch", "train", "training a network")
        return torch.stack(scores(outputs.float(), self.config, self.signals, self.of), dim=1)

    @property
    def least_epochs(self) -> int:
        """Number of epochs that are not kept: the game has no best epoch, the last one counts."""
        return max(self.config.training.epochs - 1, 0)

    @property
    def opponents(self) -> list[Opponent]:
        """For `train_network`; none with the strength 0."""
        if self._module is None:
            return []
        return [
            Opponent(
                self._module,
                ramp(self.strength, self.keys.warmup, self.keys.ramp),
                rows=lambda targets, weights: targets[:, 2],
                steps=self.keys.steps,
                rate=self.keys.rate,
                schedule=Cosine(0.1),
            )
        ]

    def targets(self, rows: Rows) -> Rows:
        """Class, domain and weight for the adversary, float32[n, 3], of rows float32[n, layout.width]."""
        label, domain, weight = (rows[:, self.layout[name]] for name in ("label", DOMAIN, "weight"))
        domain = np.maximum(domain, 0)
        balanced = np.where(self._seen(rows), weight * self._factors[domain.astype(np.int64)], 0.0)
        return np.stack([label, domain, balanced], axis=1).astype(np.float32)

    def weights(self, rows: Rows) -> Rows:
        """The weights of the head's own loss, float32[n]: 0 without a class, with a mean of 1 over all jets."""
        weights: Rows = self._prepared.weights(rows) * np.float32(self._dilution)
        return weights

    def __call__(self, outputs: Any, targets: Any, weights: Any) -> Any:
        """Weighted loss of each row, that of the head alone."""
        return self._loss(outputs, targets[:, 0].long().clamp(min=0), weights)

    def judge(self, network: Callable[[Rows], Any]) -> Dependence:
        """How well the domains are told apart by the scores of the trained network, in its test jets, at most 300,000.

        Parameters
        ----------
        network : callable
            Function of rows that returns the outputs, ``torch.Tensor, float[n, classes]``.

        Returns
        -------
        Dependence

        Raises
        ------
        InvalidValues
            If there are too few jets.
        """
        torch = require("torch", "train", "training a network")
        assert self.config.decorrelate is not None
        parts: list[Any] = []
        numbers: list[Rows] = []
        with torch.no_grad():
            for rows in self._prepared.store:
                test = self._prepared.part(rows, self._model, "test", unlabelled=True)
                test = test[self._seen(test)][: _MOST - sum(map(len, numbers))]
                parts.append(network(test))
                numbers.append(self.targets(test))
            outputs, targets = torch.cat(parts), np.concatenate(numbers)
            weights, gain = targets[:, 2].astype(np.float64), None
            if self._module is not None:
                losses = self._module(outputs, torch.from_numpy(targets), torch.ones(len(targets))).numpy()
                gain = adversary_gain(losses, np.full(len(targets), math.log(2)), weights)
            judged = judge_domain(self._score(outputs).numpy(), targets[:, 1] == 1, weights)
        return Dependence(gain, {" vs ".join(self.config.decorrelate.domains): judged})
