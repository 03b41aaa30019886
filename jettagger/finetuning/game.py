"""Heads against an adversary that reads protected columns from their scores, and the judgement of the result."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jettagger.decorrelation.adversary import (
    adversary_gain,
    binned_adversary,
    density_adversary,
    normal_scores,
    weighted_edges,
)
from jettagger.decorrelation.referee import Judgement, judge_protected, verdict
from jettagger.discriminants import Measured
from jettagger.display import Brief
from jettagger.errors import require
from jettagger.finetuning.prepare import Prepared
from jettagger.finetuning.protected import PROTECTED, scores
from jettagger.training import Cosine, Opponent, ramp
from jettagger.types import Floats, Rows

__all__ = ["Dependence", "Game"]


@dataclass(frozen=True)
class Dependence(Brief):
    """What can be read from the scores of one network about the protected columns, in jets it has not seen.

    Parameters
    ----------
    adversary : Measured or None
        Gain of its own adversary in nats; None with the strength 0.
    referee : dict of str to Judgement
        Protected column, or names of the domains -> what a fresh referee reads from the ranks of the scores.
    """

    adversary: Measured | None
    referee: dict[str, Judgement] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The worst of the columns: ``failed``, ``dependent`` or ``decorrelated``; see `verdict`."""
        own = Measured(math.inf, 0.0) if self.adversary is None else self.adversary
        found = {verdict(own, judged) for judged in self.referee.values()}
        return next(word for word in ("failed", "dependent", "decorrelated") if word in found)

    def summary(self) -> dict[str, Any]:
        """As numbers for a file."""

        def plain(value: Measured | None) -> list[float] | None:
            return None if value is None else [value.value, value.uncertainty]

        areas = {name: plain(judged.auc) for name, judged in self.referee.items() if judged.auc is not None}
        return {
            "verdict": self.verdict,
            "adversary": plain(self.adversary),
            "referee": {name: plain(judged.gain) for name, judged in self.referee.items()},
            **({"auc": areas} if areas else {}),
        }

    def __str__(self) -> str:
        own = "none" if self.adversary is None else f"{self.adversary.value:.4f} ± {self.adversary.uncertainty:.4f}"
        read = [
            f"{name} {judged.gain.value:.4f} ± {judged.gain.uncertainty:.4f}" for name, judged in self.referee.items()
        ]
        read += [
            f"AUC {judged.auc.value:.4f} ± {judged.auc.uncertainty:.4f}"
            for judged in self.referee.values()
            if judged.auc is not None
        ]
        return f"{self.verdict} (in nats: own adversary {own}; referee {', '.join(read)})"


class Game(Brief):
    """The adversary of a head, made within `seeded`.

    Parameters
    ----------
    prepared : Prepared
        With `decorrelate` of the method ``adversary`` and one strength.
    loss : callable
        The loss of the head: outputs, targets, weights -> weighted loss of each row.
    model : int
        Index of the network.
    """

    def __init__(self, prepared: Prepared, loss: Callable[[Any, Any, Any], Any], model: int) -> None:
        config = prepared.config
        assert config.decorrelate is not None
        (self.strength,) = config.strengths
        self.keys, self.config, self.layout = config.decorrelate.adversary, config, prepared.layout
        self.of, self._loss, self._prepared, self._model = config.decorrelate.of, loss, prepared, model
        self.label = list(config.classes).index(self.of)
        self.signals = config.decorrelate.signals or tuple(name for name in config.classes if name != self.of)
        self._columns = [self.layout[f"{PROTECTED}{name}"] for name in config.protected]
        reference = self._jets("train")
        self._maps = self._adversary_maps(reference)
        self._reference = reference if self.keys.reads == "bins" else reference[:0]
        self._module = self._adversary() if self.strength else None

    def _jets(self, which: str) -> Rows:
        """The rows of the class."""
        parts = [self._prepared.part(rows, self._model, which) for rows in self._prepared.store]
        rows: Rows = np.concatenate([part[part[:, self.layout["label"]] == self.label] for part in parts])
        return rows

    def _score(self, outputs: Any) -> Any:
        torch = require("torch", "train", "training a network")
        return torch.stack(scores(outputs.float(), self.config, self.signals, self.of), dim=1)

    def _adversary(self) -> Any:
        count, layers = len(self.signals), self.keys.layers
        if self.keys.reads == "bins":
            return binned_adversary(
                self._score, lambda targets: targets[:, 1], self.keys.bins, scores=count, layers=layers
            )
        return density_adversary(
            self._score, lambda targets: targets[:, 1:], scores=count, columns=len(self._columns), layers=layers
        )

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
                rows=lambda targets, weights: weights * (targets[:, 0] == self.label),
                steps=self.keys.steps,
                rate=self.keys.rate,
                schedule=Cosine(0.1),
            )
        ]

    def _adversary_maps(self, rows: Rows) -> list[Callable[[Floats], Floats]]:
        """What the adversary reads of each column, from the training jets of the class."""
        weights, bins = self._prepared.weights(rows).astype(np.float64), self.keys.bins

        def binned(edges: Floats) -> Callable[[Floats], Floats]:
            return lambda values: np.clip(np.searchsorted(edges, values, side="right") - 1, 0, bins - 1)

        def normal(reference: Floats) -> Callable[[Floats], Floats]:
            knots = np.unique(weighted_edges(reference, 199, weights))
            at = normal_scores(knots, reference, weights)

            def mapped(values: Floats) -> Floats:
                found: Floats = np.interp(values, knots, at)
                return found

            return mapped

        columns = [rows[:, column].astype(np.float64) for column in self._columns]
        if self.keys.reads == "bins":
            return [binned(weighted_edges(values, bins, weights)) for values in columns]
        return [normal(values) for values in columns]

    def targets(self, rows: Rows) -> Rows:
        """Class, and what the adversary reads, float32[n, 1 + columns], of rows float32[n, layout.width]."""
        label = rows[:, self.layout["label"]]
        # columns may be missing in other classes
        read = [
            np.where(label == self.label, one(np.nan_to_num(rows[:, column])), 0.0)
            for one, column in zip(self._maps, self._columns, strict=True)
        ]
        return np.stack([label, *read], axis=1).astype(np.float32)

    def _prior(self, label: Any) -> Floats:
        """Loss of the shares of the bins in the training, float64[n]."""
        there = self.targets(self._reference)[:, 1].astype(np.int64)
        shares = np.bincount(there, weights=self._prepared.weights(self._reference), minlength=self.keys.bins)
        loss: Floats = -np.log(np.maximum(shares / shares.sum(), 1e-12))
        return loss[label]

    def __call__(self, outputs: Any, targets: Any, weights: Any) -> Any:
        """Weighted loss of each row, that of the head alone."""
        return self._loss(outputs, targets[:, 0].long(), weights)

    def judge(self, network: Callable[[Rows], Any]) -> Dependence:
        """What can be read from the scores of the trained network, in its test jets.

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
        rows = self._jets("test")
        weights = self._prepared.weights(rows).astype(np.float64)
        gain = None
        with torch.no_grad():
            outputs = network(rows)
            if self._module is not None:
                targets = self.targets(rows)
                losses = self._module(outputs, torch.from_numpy(targets), torch.ones(len(rows))).numpy()
                if self.keys.reads == "bins":
                    prior = self._prior(targets[:, 1].astype(np.int64))
                else:
                    prior = (0.5 * targets[:, 1:].astype(np.float64) ** 2 + 0.5 * math.log(2 * math.pi)).sum(axis=1)
                gain = adversary_gain(losses, prior, weights)
            found = self._score(outputs).numpy()
        judged = {
            name: judge_protected(found, rows[:, column], weights, bins=4)
            for name, column in zip(self.config.protected, self._columns, strict=True)
        }
        return Dependence(gain, judged)
