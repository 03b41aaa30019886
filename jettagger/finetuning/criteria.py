"""What may decide about the best epoch of a network, besides its loss."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from jettagger.discriminants import auc
from jettagger.finetuning.measure import response
from jettagger.heads.export import LARGEST
from jettagger.training import Metric

__all__ = ["criterion"]


def criterion(name: str) -> Metric | None:
    """The metric of a configuration's ``training: {metric: NAME}``.

    Parameters
    ----------
    name : str
        ``loss``; ``accuracy`` or ``auc`` for classes; ``width`` for a mass.

    Returns
    -------
    Metric or None
        None for the loss. Its outputs are the logits of the classes, or the log of the factor on the tagger's mass; its
        targets are the labels, or the log of the tagger's mass over the true one.
    """
    if name == "loss":
        return None
    function, higher = {"accuracy": (_accuracy, True), "auc": (_auc, True), "width": (_width, False)}[name]
    return Metric(name, function, higher)


def _arrays(*tensors: Any) -> list[Any]:
    return [np.asarray(tensor, dtype=np.float64) for tensor in tensors]


def _accuracy(outputs: Any, labels: Any, weights: Any) -> float:
    """Weighted fraction of the jets whose true class has the highest output."""
    logits, label, weight = _arrays(outputs, labels, weights)
    return float(np.average(logits.argmax(axis=1) == label, weights=weight))


def _auc(outputs: Any, labels: Any, weights: Any) -> float:
    """Area under the ROC curve of ``log(p_i / p_j)``, averaged over all pairs of classes."""
    logits, label, weight = _arrays(outputs, labels, weights)
    areas = []
    for one, two in combinations(range(logits.shape[1]), 2):
        score = logits[:, one] - logits[:, two]
        signal, background = label == one, label == two
        areas.append(auc(score[signal], score[background], weight[signal], weight[background]).value)
    return float(np.mean(areas))


def _width(outputs: Any, before: Any, weights: Any) -> float:
    """Interquartile range of mass over target, divided by its median."""
    log_factor, log_ratio, weight = _arrays(outputs[:, 0], before, weights)
    ratio = np.exp(np.clip(log_factor, -LARGEST, LARGEST) + log_ratio)
    return float(response(ratio, weight).width.value)
