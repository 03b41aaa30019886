"""Dependence of the scores of a decorrelated head on protected columns, on held-out jets, before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jettagger.decorrelation.distance import DistanceCorrelation, measure_distance_correlation
from jettagger.display import Brief
from jettagger.finetuning.protected import PROTECTED, signals_of
from jettagger.types import Floats

if TYPE_CHECKING:
    from jettagger.finetuning.config import FinetuneConfig
    from jettagger.finetuning.prepare import RowLayout

__all__ = ["ScoreDependence", "dependences"]

#: maximum number of jets, for the time that uncertainties take
_MOST = 100_000

#: minimum number of jets
_FEWEST = 20


@dataclass(frozen=True)
class ScoreDependence(Brief):
    """Distance correlation of the scores of a class with a column.

    Parameters
    ----------
    signal, of : str
        The score is that of the class ``signal`` against ``of``; its jets are those of the class ``of``.
    column : str
        The protected column, or the score of another class against ``of``.
    correlations : dict of str to DistanceCorrelation
        ``head``, and the other discriminants of the comparison of these classes, which are not decorrelated. Scores
        that are the same for all jets are left out.
    """

    signal: str
    of: str
    column: str
    correlations: Mapping[str, DistanceCorrelation]

    def summary(self) -> dict[str, Any]:
        """All numbers, for JSON."""
        return {
            "signal": self.signal,
            "of": self.of,
            "column": self.column,
            "distance correlation": {
                name: {
                    "R": [found.biased.value, found.biased.uncertainty],
                    "R^2 without bias": [found.unbiased.value, found.unbiased.uncertainty],
                    "jets": found.rows,
                }
                for name, found in self.correlations.items()
            },
        }


def dependences(
    values: Any, rows: Any, config: FinetuneConfig, layout: RowLayout, others: Mapping[str, Mapping[str, Floats]]
) -> tuple[ScoreDependence, ...]:
    """The dependence of each decorrelated score on each protected column, and of the scores of a pair.

    Parameters
    ----------
    values : float[n, classes]
        Outputs of the head.
    rows : float32[n, layout.width]
        Held-out jets; they count with their own weights.
    config : FinetuneConfig
    layout : RowLayout
    others : dict of str to dict of str to float64[n]
        Signal -> discriminants to compare with.

    Returns
    -------
    tuple of ScoreDependence
        Empty without `decorrelate`, with its domains, or with fewer than 20 jets with a weight above 0 in the class.
    """
    decorrelate = config.decorrelate
    if decorrelate is None or decorrelate.domains:
        return ()
    places = {name: place for place, name in enumerate(config.classes)}
    of = decorrelate.of
    weight = rows[:, layout["weight"]].astype(np.float64)
    chosen = np.flatnonzero((rows[:, layout["label"]] == places[of]) & (weight > 0))[:_MOST]
    if len(chosen) < _FEWEST:
        return ()

    def score(signal: str) -> Floats:
        first, second = (values[:, places[name]].astype(np.float64) for name in (signal, of))
        return np.asarray(first / np.maximum(first + second, 1e-30))

    def measured(signal: str, column: str, against: Floats, scores: Mapping[str, Floats]) -> ScoreDependence:
        found = {
            name: measure_distance_correlation(item[chosen], against[chosen], weight[chosen])
            for name, item in scores.items()
            if np.ptp(item[chosen]) > 0 and np.ptp(against[chosen]) > 0
        }
        return ScoreDependence(signal, of, column, found)

    made = [
        measured(signal, name, rows[:, layout[f"{PROTECTED}{name}"]], {"head": score(signal), **others.get(signal, {})})
        for signal in signals_of(config)
        for name in config.protected
    ]
    if decorrelate.between:
        first, second = decorrelate.between
        made.append(measured(first, f"the score of {second}", score(second), {"head": score(first)}))
    return tuple(made)
