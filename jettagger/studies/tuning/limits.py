"""How long trials of a search may take: in all, and from epoch to epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from jettagger.arguments import guard, in_range
from jettagger.display import Brief

__all__ = ["TrialLimits"]

#: a longer time between two looks at the clock is one in which this process was suspended, most likely with its trials
_PAUSE = 5.0


@dataclass
class _Running:
    seconds: float
    silent: float = 0.0
    epoch: int = 0


class TrialLimits(Brief):
    """Which running trials have taken too long.

    Parameters
    ----------
    trial : float, optional
        Seconds of a trial, with those of earlier runs. Default: no limit.
    epoch : float, optional
        Seconds from one epoch to the next, or from the start to the first one. Default: no limit.
    clock : callable, optional
        Seconds, by default `time.monotonic`; steps of more than five are not counted further, as this process was
        suspended.

    Raises
    ------
    ConfigError
        If a limit is not above 0.

    Examples
    --------
    >>> now = iter([0.0, 1.0, 3.0, 5.0])
    >>> limits = TrialLimits(epoch=3, clock=lambda: next(now))
    >>> limits.begin(0)
    >>> limits.over()  # after 1 s
    {}
    >>> limits.heard(0, 1)
    >>> limits.over(), limits.over()  # after 3 s and 5 s
    ({}, {0: 'no epoch for 4 s after epoch 1, the limit is 3 s'})
    """

    def __init__(
        self, trial: float | None = None, epoch: float | None = None, clock: Callable[[], float] | None = None
    ) -> None:
        for name, limit in (("trial_limit", trial), ("epoch_limit", epoch)):
            if limit is not None:
                in_range(limit, name, 0, above=True)
        self.trial, self.epoch, self.clock = trial, epoch, clock or time.monotonic
        self._last = self.clock()
        self._running: dict[int, _Running] = {}

    def begin(self, number: int, seconds: float = 0.0) -> None:
        """A trial begins.

        Parameters
        ----------
        number : int
        seconds : float
            Of it in earlier runs.
        """
        self._running[number] = _Running(seconds)

    def heard(self, number: int, epoch: int) -> None:
        """A trial has ended an epoch."""
        found = self._running[number]
        found.silent, found.epoch = 0.0, epoch

    def seconds(self, number: int) -> float:
        """Seconds of a running trial, with those of earlier runs."""
        return self._running[number].seconds

    def end(self, number: int) -> None:
        """A trial has ended."""
        del self._running[number]

    def over(self) -> dict[int, str]:
        """Trials beyond a limit, and which one; to be called often.

        Returns
        -------
        dict of int to str
        """
        now = self.clock()
        step, self._last = min(now - self._last, _PAUSE), now
        found = {}
        for number, running in self._running.items():
            running.seconds += step
            running.silent += step
            after = f" after epoch {running.epoch}" if running.epoch else " since its start"
            if self.trial is not None and running.seconds > self.trial:
                found[number] = f"it has taken {running.seconds:.4g} s, the limit of a trial is {self.trial:g} s"
            elif self.epoch is not None and running.silent > self.epoch:
                found[number] = f"no epoch for {running.silent:.4g} s{after}, the limit is {self.epoch:g} s"
        return found


guard(globals())
