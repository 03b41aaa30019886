"""Training of boosted decision trees with XGBoost, from shards on disk."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jettagger.errors import require
from jettagger.finetuning.booster import trees_of
from jettagger.finetuning.prepare import Prepared
from jettagger.finetuning.schema import BdtModel
from jettagger.finetuning.verify import Trained
from jettagger.training import Epoch, Follow

__all__ = ["train_bdt"]


def train_bdt(prepared: Prepared, model: int, follow: Follow, folder: Path) -> Trained:
    """Train one ensemble of trees.

    Parameters
    ----------
    prepared : Prepared
        Jets for a head of the kind ``classes``, with non-negative weights.
    model : int
        Its index, equal to that of the fold held out.
    follow : callable
        Called with an `Epoch` after each tree.
    folder : pathlib.Path
        For XGBoost's quantised copy of the inputs.

    Returns
    -------
    Trained
        The trees up to the minimum of the validation loss.

    Raises
    ------
    MissingExtra
        If xgboost is not installed.
    """
    xgboost = require("xgboost", "train", "training a boosted decision tree")
    config = prepared.config
    shape, settings = config.model, config.training
    assert isinstance(shape, BdtModel)

    class Shards(xgboost.DataIter):  # type: ignore[misc, name-defined, unused-ignore]
        """The shards of the store, as XGBoost wants to see them: once for the quantiles, then as it likes."""

        def __init__(self, which: str) -> None:
            self.which = which
            self.position = 0
            super().__init__(cache_prefix=str(folder / f"{which}{model}"))

        def next(self, input_data: Any) -> bool:
            while self.position < prepared.store.shards:
                rows = prepared.part(prepared.store.shard(self.position), model, self.which)
                self.position += 1
                if len(rows):
                    layout = prepared.layout
                    label, weight = rows[:, layout["label"]], prepared.weights(rows)
                    input_data(data=np.ascontiguousarray(layout.x(rows)), label=label, weight=weight)
                    return True
            return False

        def reset(self) -> None:
            self.position = 0

    train = xgboost.ExtMemQuantileDMatrix(Shards("train"), nthread=settings.threads)
    held = xgboost.ExtMemQuantileDMatrix(Shards("validation"), ref=train, nthread=settings.threads)
    history: list[Epoch] = []
    start = math.log(len(config.outputs))  # the loss of equal probabilities

    class Live(xgboost.callback.TrainingCallback):  # type: ignore[misc, name-defined, unused-ignore]
        """Tells of each tree."""

        best = math.inf

        def after_iteration(self, model_: Any, epoch: int, evals_log: Any) -> bool:
            train_loss, loss = (float(evals_log[name]["mlogloss"][-1]) for name in ("train", "validation"))
            history.append(Epoch(model, epoch + 1, train_loss, loss, loss < self.best, start))
            follow(history[-1])
            self.best = min(self.best, loss)
            return False

    parameters = {
        "objective": "multi:softprob",
        "num_class": len(config.outputs),
        "eval_metric": "mlogloss",
        "tree_method": "hist",
        "max_depth": shape.depth,
        "eta": shape.rate,
        "subsample": shape.subsample,
        "colsample_bytree": shape.columns,
        "min_child_weight": shape.min_weight,
        "seed": settings.seed * 1000 + model,
        "nthread": settings.threads,
    }
    booster = xgboost.train(
        parameters,
        train,
        num_boost_round=shape.trees,
        evals=[(train, "train"), (held, "validation")],
        early_stopping_rounds=settings.patience,
        callbacks=[Live()],
        verbose_eval=False,
    )
    best = booster.best_iteration + 1

    def predict(x: NDArray[np.float32]) -> Any:
        return booster.predict(xgboost.DMatrix(x, nthread=settings.threads), iteration_range=(0, best))

    part = trees_of(booster[:best], len(prepared.layout.inputs), len(config.outputs))
    return Trained(part, predict, f"xgboost {xgboost.__version__}", tuple(history))
