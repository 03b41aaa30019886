"""Records of trainings of `benchmarks.architectures`: rejections with uncertainties, and their ratios."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.architectures_names import TITLES
from benchmarks.rejections import FEWEST

__all__ = ["Group", "Sigma", "Study", "ratio"]


@dataclass(frozen=True)
class Sigma:
    """A number with its uncertainty.

    Parameters
    ----------
    value, sigma : float
    limit : bool
        Whether hardly any background passes, so that it is a lower limit.
    """

    value: float
    sigma: float
    limit: bool = False

    def __str__(self) -> str:
        digits = 0 if self.sigma >= 2 else 1 if self.sigma >= 0.2 else 2
        return f"{'> ' if self.limit else ''}{self.value:.{digits}f} ± {self.sigma:.{digits}f}"

    def plain(self) -> list[Any]:
        """For JSON."""
        return [round(self.value, 4), round(self.sigma, 4), self.limit]


@dataclass(frozen=True)
class Group:
    """Trainings that differ in their seed alone, on one test sample.

    Parameters
    ----------
    records : tuple of mapping
    test : str
    spread : float
        Standard deviation of ln(rejection) between seeds, for a training with one seed alone.
    """

    records: tuple[Mapping[str, Any], ...]
    test: str
    spread: float = 0.0

    @property
    def keys(self) -> list[str]:
        """Names of the rejections."""
        return list(self.records[0]["rejections"][self.test]["values"])

    def array(self, key: str) -> Any:
        """Rejections float64[seeds, 1 + replicas]."""
        return np.array([record["rejections"][self.test]["values"][key] for record in self.records])

    def rejection(self, key: str) -> Sigma:
        """Mean over the seeds; uncertainty of the test jets, and of the mean over the seeds."""
        values = self.array(key)
        mean = values.mean(axis=0)
        passing = np.mean([record["rejections"][self.test]["passing"][key] for record in self.records])
        of_seeds = mean[0] * self.of_seeds(np.log(values[:, 0]))
        return Sigma(float(mean[0]), float(np.hypot(mean[1:].std(), of_seeds)), bool(passing < FEWEST))

    def of_seeds(self, logarithms: Any) -> float:
        """Uncertainty of a mean of ln(rejection) over the seeds."""
        if len(logarithms) == 1:
            return self.spread
        return float(np.std(logarithms, ddof=1) / np.sqrt(len(logarithms)))

    def logarithm(self, keys: Sequence[str]) -> Any:
        """Mean logarithm of several rejections, float64[seeds, 1 + replicas]."""
        return np.mean([np.log(self.array(key)) for key in keys], axis=0)


def ratio(one: Group, other: Group, keys: Sequence[str]) -> Sigma:
    """Geometric mean of the ratios of rejections, on the same replicas if the test jets are the same."""
    first, second = one.logarithm(keys), other.logarithm(keys)
    values = first.mean(axis=0) - second.mean(axis=0)
    same = one.test == other.test
    spread = values[1:].std() if same else np.hypot(first.mean(axis=0)[1:].std(), second.mean(axis=0)[1:].std())
    sigma = np.sqrt(spread**2 + one.of_seeds(first[:, 0]) ** 2 + other.of_seeds(second[:, 0]) ** 2)
    value = float(np.exp(values[0]))
    return Sigma(value, value * float(sigma))


class Study:
    """All records, by what they are."""

    def __init__(self, records: Iterable[Mapping[str, Any]], costs: Mapping[str, Any]) -> None:
        self.costs = costs
        self._groups: dict[tuple[str, str, int, str], list[Mapping[str, Any]]] = {}
        for record in records:
            key = (record["task"], record["recipe"], record["size"], record["variant"])
            self._groups.setdefault(key, []).append(record)

    def sizes(self, task: str) -> list[int]:
        """Training sizes with the default sample and tests on it alone."""
        return sorted({size for name, _, size, variant in self._groups if name == task and variant == "default"})

    def largest(self, task: str, *recipes: str) -> list[int]:
        """Largest size with trainings of all these networks on the default sample, empty without any."""
        common = [size for size in self.sizes(task) if all(self.group(task, name, size) for name in recipes)]
        return common[-1:]

    def recipes(self, task: str, size: int, variant: str = "default") -> list[str]:
        """Networks that were trained, in the order of the tables."""
        there = {recipe for name, recipe, n, kind in self._groups if (name, n, kind) == (task, size, variant)}
        return [recipe for recipe in TITLES if recipe in there]

    def group(self, task: str, recipe: str, size: int, variant: str = "default", test: str = "default") -> Group | None:
        """Trainings of all seeds, None if there are none."""
        found = self._groups.get((task, recipe, size, variant), [])
        found = [record for record in found if test in record["rejections"]]
        if not found:
            return None
        return Group(tuple(found), test, self._spread(task, size) if len(found) == 1 else 0.0)

    def _spread(self, task: str, size: int) -> float:
        """Standard deviation of ln(rejection) between seeds: median over the networks that have several.

        Networks of the same size of training, else of the next smaller one, which spreads more.
        """
        for known in [number for number in self.sizes(task)[::-1] if number <= size]:
            spreads = [
                np.sqrt(np.mean([np.var(np.log(several.array(key)[:, 0]), ddof=1) for key in several.keys]))
                for recipe in self.recipes(task, known)
                if len(self.records(task, recipe, known)) > 1
                and (several := self.group(task, recipe, known)) is not None
            ]
            if spreads:
                return float(np.median(spreads))
        return 0.0

    def records(self, task: str, recipe: str, size: int) -> list[Mapping[str, Any]]:
        """Records of all seeds on the default sample."""
        return self._groups.get((task, recipe, size, "default"), [])

    def cost(self, task: str, recipe: str) -> Mapping[str, Any] | None:
        """Measured costs on a CPU."""
        found: Mapping[str, Any] | None = self.costs.get(f"{task}_{recipe}_cpu")
        return found

    def modelling_sizes(self, task: str) -> list[int]:
        """Training sizes for which another sample was trained on."""
        return sorted({size for name, _, size, variant in self._groups if name == task and variant != "default"})
