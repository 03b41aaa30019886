"""Groups of explained jets in numbers: rankings with uncertainties, maps, differences; as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.discriminants import Measured
from jettagger.display import Brief
from jettagger.explain.collecting import JetNumbers
from jettagger.statistics.bootstrap import event_replicas
from jettagger.types import Array, Floats

__all__ = [
    "VERSION",
    "Difference",
    "ExplainedGroup",
    "Explanation",
    "Ranked",
    "difference_of",
    "explained_groups",
]

#: version of the report in JSON
VERSION = 1

#: replicas of the jets for uncertainties
REPLICAS = 200


@dataclass(frozen=True)
class Ranked(Brief):
    """What one thing contributes in a group of jets.

    Parameters
    ----------
    name : str
        A variable, a group of variables, a kind of constituents.
    importance : Measured
        Mean over the jets of the sum of absolute attributions over the constituents; of what is left out as a whole,
        mean absolute change of the number.
    signed : Measured
        Mean over the jets of the sum of attributions.
    share : Measured
        Fraction of the importances of the ranking.
    """

    name: str
    importance: Measured
    signed: Measured
    share: Measured


@dataclass(frozen=True)
class ExplainedGroup(Brief):
    """A group of jets.

    Parameters
    ----------
    name : str
    sample : str
    jets : int
    output : Measured
        Mean of the number that is explained.
    rankings : mapping of str to tuple of Ranked
        Ranking -> what is ranked, by decreasing importance.
    maps : mapping of str to float64[variables, slots]
        Input -> mean attributions over the jets; NaN in slots that are empty in all jets. Of images
        [channels, rows, columns].
    absolute_maps : mapping of str to float64[variables, slots]
        Means of absolute values.
    """

    name: str
    sample: str
    jets: int
    output: Measured
    rankings: Mapping[str, tuple[Ranked, ...]]
    maps: Mapping[str, Floats]
    absolute_maps: Mapping[str, Floats]

    def to_dict(self) -> dict[str, Any]:
        """Content for JSON."""
        return {
            "name": self.name,
            "sample": self.sample,
            "jets": self.jets,
            "output": _plain(self.output),
            "rankings": {
                title: [
                    {"name": row.name, **{key: _plain(getattr(row, key)) for key in ("importance", "signed", "share")}}
                    for row in rows
                ]
                for title, rows in self.rankings.items()
            },
            "maps": {name: _listed(values) for name, values in self.maps.items()},
            "absolute_maps": {name: _listed(values) for name, values in self.absolute_maps.items()},
        }


@dataclass(frozen=True)
class Difference(Brief):
    """The same group of jets in two samples.

    Parameters
    ----------
    name : str
        Of the group.
    samples : (str, str)
    rankings : mapping of str to mapping of str to Measured
        Ranking -> name -> importance in the first sample minus that in the second.
    output : Measured
        Difference of the means of the number.
    """

    name: str
    samples: tuple[str, str]
    rankings: Mapping[str, Mapping[str, Measured]]
    output: Measured

    def to_dict(self) -> dict[str, Any]:
        """Content for JSON."""
        return {
            "name": self.name,
            "samples": list(self.samples),
            "output": _plain(self.output),
            "rankings": {
                title: {name: _plain(value) for name, value in rows.items()} for title, rows in self.rankings.items()
            },
        }


@dataclass(frozen=True)
class Explanation(Brief):
    """What a network looks at in some jets.

    Parameters
    ----------
    model, target, unit, method : str
    variables : mapping of str to tuple of str
        Input -> names of the rows of its maps.
    order : str
        What the order of the constituents in maps is.
    groups : tuple of ExplainedGroup
    differences : tuple of Difference
    losses : mapping of str to Measured
        Of permutation: variable or group of variables -> decrease of the logarithm of the rejection.
    rejection : Measured, optional
        Of permutation: without it.
    curves : mapping of str to mapping of str to tuple
        Of occlusion: group of jets -> what is kept -> numbers of constituents, means of the number, uncertainties.
    attention : mapping of str to mapping of str to float64[queries, keys]
        Group of jets -> layer -> mean weights.
    counts : mapping of str to int
        Jets by what became of them.
    checks : mapping of str to float
        Of the method: residuals, agreement with ONNX Runtime.
    remarks : tuple of str
    """

    model: str
    target: str
    unit: str
    method: str
    variables: Mapping[str, tuple[str, ...]]
    order: str
    groups: tuple[ExplainedGroup, ...]
    differences: tuple[Difference, ...] = ()
    losses: Mapping[str, Measured] = field(default_factory=dict)
    rejection: Measured | None = None
    curves: Mapping[str, Mapping[str, tuple[Floats, Floats, Floats]]] = field(default_factory=dict)
    attention: Mapping[str, Mapping[str, Floats]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    checks: Mapping[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Content for JSON."""
        return {
            "version": VERSION,
            "model": self.model,
            "target": self.target,
            "unit": self.unit,
            "method": self.method,
            "variables": {name: list(names) for name, names in self.variables.items()},
            "order": self.order,
            "counts": dict(self.counts),
            "checks": {name: _finite(value) for name, value in self.checks.items()},
            "remarks": list(self.remarks),
            "groups": [group.to_dict() for group in self.groups],
            "differences": [item.to_dict() for item in self.differences],
            "rejection": None if self.rejection is None else _plain(self.rejection),
            "losses": {name: _plain(value) for name, value in self.losses.items()},
            "curves": {
                name: {what: [_listed(np.asarray(column)) for column in columns] for what, columns in curves.items()}
                for name, curves in self.curves.items()
            },
            "attention": {
                name: {layer: _listed(values) for layer, values in layers.items()}
                for name, layers in self.attention.items()
            },
        }


def explained_groups(
    numbers: JetNumbers, categories: Sequence[str], sample: str = "", *, replicas: int = REPLICAS, seed: int = 1
) -> tuple[ExplainedGroup, ...]:
    """The groups of jets in numbers.

    Parameters
    ----------
    numbers : JetNumbers
    categories : sequence of str
        Name of the group of each jet; jets with an empty name are in none.
    sample : str
        Name of the sample.
    replicas : int
        Replicas of the jets for the uncertainties, with Poisson weights of mean one.
    seed : int

    Returns
    -------
    tuple of ExplainedGroup
        By decreasing number of jets.
    """
    groups = []
    every = np.asarray(categories, dtype=object)
    names, counts = np.unique(every[every != ""].astype(str), return_counts=True)
    for name in names[np.argsort(-counts, kind="stable")]:
        part = numbers.take(np.flatnonzero(every == name))
        draw = event_replicas(np.arange(len(part)), seed)
        weights = np.stack([np.ones(len(part)), *(draw(number) for number in range(replicas))])
        sums = weights.sum(axis=1)
        weights = weights[sums > 0] / sums[sums > 0, np.newaxis]
        rankings = {}
        for title, things in part.names.items():
            importance, signed = weights @ part.absolute[title], weights @ part.signed[title]
            total = importance.sum(axis=1, keepdims=True)
            share = np.divide(importance, total, out=np.zeros_like(importance), where=total > 0)
            rows = [
                Ranked(thing, *(_measured(values[:, place]) for values in (importance, signed, share)))
                for place, thing in enumerate(things)
            ]
            rankings[title] = tuple(sorted(rows, key=lambda row: -row.importance.value))
        groups.append(
            ExplainedGroup(
                str(name),
                sample,
                len(part),
                _measured(weights @ part.outputs),
                rankings,
                {title: _mean(values) for title, values in part.maps.items()},
                {title: _mean(np.abs(values)) for title, values in part.maps.items()},
            )
        )
    return tuple(groups)


def _measured(values: Floats) -> Measured:
    """The first number, and the standard deviation of the others."""
    return Measured(float(values[0]), float(np.std(values[1:], ddof=1)) if len(values) > 2 else math.nan)


def _mean(values: Array) -> Floats:
    """Means over all jets; empty slots count as 0, and those that are empty in all jets are NaN."""
    array = np.asarray(values, dtype=np.float64)
    empty = np.isnan(array).all(axis=0)
    return np.where(empty, np.nan, np.nansum(array, axis=0) / max(len(array), 1))


def difference_of(one: ExplainedGroup, other: ExplainedGroup) -> Difference:
    """A group of jets in one sample minus that in another, which is independent.

    Parameters
    ----------
    one, other : ExplainedGroup

    Returns
    -------
    Difference
    """
    rankings = {}
    for title, rows in one.rankings.items():
        theirs = {row.name: row.importance for row in other.rankings.get(title, ())}
        rankings[title] = {row.name: _minus(row.importance, theirs[row.name]) for row in rows if row.name in theirs}
    return Difference(one.name, (one.sample, other.sample), rankings, _minus(one.output, other.output))


def _minus(one: Measured, other: Measured) -> Measured:
    return Measured(one.value - other.value, math.hypot(one.uncertainty, other.uncertainty))


def _plain(value: Measured) -> list[float | None]:
    return [_finite(value.value), _finite(value.uncertainty)]


def _finite(number: float) -> float | None:
    return float(f"{number:.6g}") if math.isfinite(number) else None


def _listed(values: Array) -> Any:
    """Nested lists with six digits; None for NaN."""
    array = np.asarray(values, dtype=np.float64)
    return [_finite(float(item)) if np.ndim(item) == 0 else _listed(item) for item in array]


guard(globals(), "difference_of", "explained_groups")
