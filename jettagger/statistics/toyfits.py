"""Fits of many toys of one workspace, in several processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from jettagger.errors import InvalidValues
from jettagger.statistics.fits import Likelihood
from jettagger.types import Floats

__all__ = ["toy_deviances"]

#: toys of one task of a worker
TOYS = 10

#: bounds of the strength, and unit of the likelihood
Settings = tuple[tuple[float, float] | None, float | None]


def toy_deviances(
    likelihood: Likelihood,
    workspace: Mapping[str, Any],
    settings: Settings,
    point: Floats,
    toys: Floats,
    workers: int,
    advance: Callable[[int], Any],
) -> list[float | None]:
    """The minimum of -2 ln L, relative to the saturated model, of each toy.

    Parameters
    ----------
    likelihood : Likelihood
        Of the workspace.
    workspace : mapping
        In pyhf's JSON format, from which workers make the likelihood.
    settings : ((float, float) or None, float or None)
        Bounds and unit of the likelihood.
    point : float64[parameters]
        Where each fit starts.
    toys : float64[toys, data]
    workers : int
        Number of processes; with 1, this one. It does not change the results.
    advance : callable
        Called with the number of toys done.

    Returns
    -------
    list of float or None
        None for a toy whose fit does not converge.
    """
    if workers == 1 or len(toys) <= TOYS:
        fits = _Fits(likelihood, workspace, settings)
        found = []
        for data in toys:
            found.append(fits.minimum(data, point))
            advance(1)
        return found
    from jettagger.runtime.workers import finished, submit, worker_pool

    parts = [toys[first : first + TOYS] for first in range(0, len(toys), TOYS)]
    done: dict[int, list[float | None]] = {}
    with worker_pool(min(workers, len(parts))) as pool:
        tasks = {
            submit(pool, _minima, dict(workspace), settings, point, part): number for number, part in enumerate(parts)
        }
        while tasks:
            for task in finished(list(tasks), pool, "fitting toys"):
                number = tasks.pop(task)
                done[number] = task.result()
                advance(len(parts[number]))
    return [value for number in range(len(parts)) for value in done[number]]


class _Fits:
    """Fits of toys, as of the data: no bin is expected to have less than nothing."""

    def __init__(self, likelihood: Likelihood, workspace: Mapping[str, Any], settings: Settings) -> None:
        self.likelihood = likelihood
        self._workspace = workspace
        self._bounds, self._unit = settings

    @cached_property
    def _positive(self) -> Likelihood | None:
        """With a strength that is not negative; None if it cannot be."""
        if self._bounds is None or self._bounds[0] >= 0:
            return None
        return Likelihood(self._workspace, (0.0, self._bounds[1]), self._unit, validate=False)

    def minimum(self, data: Floats, point: Floats) -> float | None:
        """The minimum of -2 ln L; None if the fit does not converge."""
        try:
            found, value = self.likelihood.minimise(data, "a toy", start=point)
            if (self.likelihood.deviance.rates(found) < 0).any() and self._positive is not None:
                value = self._positive.minimise(data, "a toy")[1]
        except InvalidValues:
            return None
        return value


def _minima(workspace: Mapping[str, Any], settings: Settings, point: Floats, toys: Floats) -> list[float | None]:
    """Those of several toys, in a worker."""
    fits = _Fits(Likelihood(workspace, *settings, validate=False), workspace, settings)
    return [fits.minimum(data, point) for data in np.asarray(toys)]
